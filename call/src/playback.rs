//! What the caller hears: the paced queue, the audio lying at the carrier, and how much of it was heard (A1–A8).
//!
//! All accepted audio has a *place*: its distance in bytes from the first byte ever accepted, in the order in which it
//! is to be played. Three places move along it, `heard ≤ sent ≤ accepted`, and everything that depends on "what did
//! they hear" is a question about them: truncation, going on after a hold, goodbye, the transcript.
//!
//! ```text
//!          confirmed        heard(now)        sent                accepted
//!  ────────────┼────────────────┼───────────────┼────────────────────┤
//!   by marks   │ by the clock   │ at the carrier│ the paced queue    │
//! ```
//!
//! Two clocks run over sent audio. The *pace* decides when the next frame goes; it knows only when frames were sent, so
//! a slow mark can never hold audio back (A3). The *hearing* decides what was heard; it is the same chain, put right by
//! every mark that comes back (A7).

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::CallConfig;
use crate::fingerprint::Fingerprint;
use crate::id::{ItemId, MarkId, ResponseId};
use crate::output::Span;
use crate::planted::{Fault, planted};
use crate::time::CallTime;

/// 20 ms of G.711.
pub const FRAME_BYTES: u32 = 160;

/// How long `bytes` of G.711 take to play.
pub const fn playing_time(bytes: u64) -> Duration {
    Duration::from_micros(bytes * 125)
}

/// How many whole bytes of G.711 play in this time.
const fn bytes_in(duration: Duration) -> u64 {
    duration.as_micros() as u64 / 125
}

/// How much later than it could a message of this duration may go, with whatever else is done meanwhile: with the caller's
/// frames, most of the time, so that a call is woken once for both directions. A single frame waits for nothing (A3); and of
/// what lies unplayed, most is to be left.
fn patience(duration: Duration, config: &CallConfig) -> Duration {
    if duration <= playing_time(u64::from(FRAME_BYTES)) {
        return Duration::ZERO;
    }
    (config.lead.saturating_sub(duration) / 4).min(PATIENCE_MAX)
}

/// What makes the pace walk by a frame until it falls in with the caller's: a group that went so late leaves room for
/// another frame.
const PATIENCE_MAX: Duration = playing_time(FRAME_BYTES as u64);

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Playback {
    /// Accepted audio of which something was not confirmed yet, in playing order.
    segments: VecDeque<Segment>,
    /// Frames at the carrier, not confirmed yet. Bounded by the lead and `mark_grace`.
    in_flight: VecDeque<InFlight>,
    accepted: u64,
    sent: u64,
    confirmed: u64,
    /// When the last frame sent would have been played if all had gone as sent.
    pace_end: CallTime,
    epoch: u32,
    marks_sent: u32,
    bytes_since_mark: u32,
    /// Sending stopped, while it is not known whether the caller meant to interrupt (B4).
    paused: bool,
    /// Frames ever sent.
    frames_sent: u64,
    /// At the last `clear`, as long as nothing was sent since: how much of what counts as heard rests on the clock,
    /// without a mark that says so.
    unconfirmed: u64,
}

/// A stretch of one item's audio, contiguous at the driver.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Segment {
    place: u64,
    len: u64,
    owner: Owner,
    /// Bytes of the item before this segment.
    item_offset: u64,
    /// No more audio of the item will follow.
    closed: bool,
}

impl Segment {
    fn end(&self) -> u64 {
        self.place + self.len
    }

    /// How much of its item was heard, as far as this segment tells, if everything before this place was. Of an item
    /// that something of ours came between, the segments before may be forgotten: they were heard.
    fn item_heard(&self, heard: u64) -> Option<ItemHeard> {
        let Owner::Item { response, item } = self.owner else { return None };
        let begun = heard > self.place;
        Some(ItemHeard {
            response,
            item,
            heard_bytes: if begun { self.item_offset + heard.min(self.end()) - self.place } else { self.item_offset },
            accepted_bytes: self.item_offset + self.len,
            complete: self.closed,
        })
    }
}

/// Whose audio it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    Item {
        response: ResponseId,
        item: ItemId,
    },
    /// A local item: a clip, or tones. The model knows nothing of it.
    Local,
}

impl Owner {
    fn response(self) -> Option<ResponseId> {
        match self {
            Owner::Item { response, .. } => Some(response),
            Owner::Local => None,
        }
    }

    fn item(self) -> Option<ItemId> {
        match self {
            Owner::Item { item, .. } => Some(item),
            Owner::Local => None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct InFlight {
    /// Place of its end.
    end: u64,
    audio_bytes: u32,
    /// With the silence that fills up a tail.
    played_bytes: u32,
    sent_at: CallTime,
    play_end: CallTime,
    mark: Option<u32>,
}

impl InFlight {
    fn duration(&self) -> Duration {
        playing_time(u64::from(self.played_bytes))
    }
}

/// What goes to the carrier next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sending {
    Audio { span: Span, pad: u32, plays_at: CallTime, owner: Owner },
    Mark(MarkId),
}

/// How much of an item was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemHeard {
    pub response: ResponseId,
    pub item: ItemId,
    pub heard_bytes: u64,
    pub accepted_bytes: u64,
    /// All audio of the item had been given.
    pub complete: bool,
}

impl Playback {
    /// Takes audio of an item at the end of the queue. False, and nothing taken, when the response would have more
    /// waiting than `response_audio_max` (A1).
    pub fn accept(&mut self, response: ResponseId, item: ItemId, bytes: u32, config: &CallConfig) -> bool {
        let waiting: u64 = self
            .segments
            .iter()
            .filter(|segment| segment.owner.response() == Some(response))
            .map(|segment| segment.end().saturating_sub(segment.place.max(self.sent)))
            .sum();
        if playing_time(waiting + u64::from(bytes)) > config.response_audio_max {
            return false;
        }
        match self.segments.back_mut() {
            Some(last) if last.owner.item() == Some(item) && !last.closed => last.len += u64::from(bytes),
            _ => {
                let item_offset = self
                    .segments
                    .iter()
                    .rev()
                    .find(|segment| segment.owner.item() == Some(item))
                    .map_or(0, |segment| segment.item_offset + segment.len);
                self.segments.push_back(Segment {
                    place: self.accepted,
                    len: u64::from(bytes),
                    owner: Owner::Item { response, item },
                    item_offset,
                    closed: false,
                });
            }
        }
        self.accepted += u64::from(bytes);
        true
    }

    /// Takes audio of ours at the end of the queue, all of it at once.
    pub fn accept_local(&mut self, bytes: u32) {
        self.segments.push_back(Segment {
            place: self.accepted,
            len: u64::from(bytes),
            owner: Owner::Local,
            item_offset: 0,
            closed: true,
        });
        self.accepted += u64::from(bytes);
    }

    /// All audio of this item was given.
    pub fn close_item(&mut self, item: ItemId) {
        for segment in self.segments.iter_mut().filter(|segment| segment.owner.item() == Some(item)) {
            segment.closed = true;
        }
    }

    /// All audio of this response was given.
    pub fn close_response(&mut self, response: ResponseId) {
        for segment in self.segments.iter_mut().filter(|segment| segment.owner.response() == Some(response)) {
            segment.closed = true;
        }
    }

    /// What may be sent at this moment, noted as sent. Call until `None`.
    pub fn send(&mut self, now: CallTime, config: &CallConfig) -> Option<Sending> {
        if let Some(mark) = self.mark_due(config) {
            return Some(Sending::Mark(mark));
        }
        let (index, audio_bytes, pad) = self.next_frame(now, config)?;
        let played_bytes = audio_bytes + pad;
        let duration = playing_time(u64::from(played_bytes));
        if now < self.pace_end_for(duration, config) {
            return None;
        }
        let heard_from = self.hearing_end().max(now);
        // For the recording, which wants its frames end to end: without what marks put right.
        let plays_at = if planted(Fault::CatchesUpTooMuch) { self.pace_end } else { self.pace_end.max(now) };
        self.pace_end = plays_at + duration;
        let segment = &self.segments[index];
        let sending =
            Sending::Audio { span: Span { start: self.sent, len: audio_bytes }, pad, plays_at, owner: segment.owner };
        // The first frame of an utterance is marked at once, so that the clock starts right.
        let first = self.in_flight.is_empty() || self.hearing_end() < now;
        self.unconfirmed = 0;
        self.sent += u64::from(audio_bytes);
        self.frames_sent += u64::from(played_bytes.div_ceil(FRAME_BYTES));
        self.bytes_since_mark = if first { u32::MAX } else { self.bytes_since_mark.saturating_add(played_bytes) };
        self.in_flight.push_back(InFlight {
            end: self.sent,
            audio_bytes,
            played_bytes,
            sent_at: now,
            play_end: heard_from + duration,
            mark: None,
        });
        Some(sending)
    }

    /// The moment at which `send` is to be asked again, `None` while only new audio could change what it says. Of a group it
    /// may have something before.
    pub fn next_send(&self, now: CallTime, config: &CallConfig) -> Option<CallTime> {
        let (_, audio_bytes, pad) = self.next_frame(now, config)?;
        let duration = playing_time(u64::from(audio_bytes + pad));
        Some((self.pace_end_for(duration, config) + patience(duration, config)).max(now))
    }

    /// A mark came back. One of an older epoch was flushed by a `clear` and says nothing about what was heard.
    pub fn mark_returned(&mut self, mark: MarkId, now: CallTime) {
        if mark.epoch != self.epoch {
            return;
        }
        let Some(index) = self.in_flight.iter().position(|frame| frame.mark == Some(mark.seq)) else {
            return;
        };
        self.confirmed = self.in_flight[index].end;
        self.in_flight.drain(..=index);
        let mut before = now;
        for frame in &mut self.in_flight {
            frame.play_end = frame.sent_at.max(before) + frame.duration();
            before = frame.play_end;
        }
        self.forget_heard();
    }

    /// Gives up waiting for marks that are overdue (A8).
    pub fn expire_marks(&mut self, now: CallTime, config: &CallConfig) {
        while let Some(frame) = self.in_flight.front()
            && frame.play_end + config.mark_grace <= now
        {
            self.confirmed = frame.end;
            self.in_flight.pop_front();
        }
        self.forget_heard();
    }

    /// When the oldest mark should come back.
    pub fn mark_expected(&self) -> Option<CallTime> {
        self.in_flight.iter().find(|frame| frame.mark.is_some()).map(|frame| frame.play_end)
    }

    /// How long the oldest mark is overdue.
    pub fn mark_late(&self, now: CallTime) -> Duration {
        self.mark_expected().map_or(Duration::ZERO, |at| now.since(at))
    }

    /// Bytes ever accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// When the next wait for a mark ends (A8).
    pub fn marks_expire(&self, config: &CallConfig) -> Option<CallTime> {
        self.in_flight.front().map(|frame| frame.play_end + config.mark_grace)
    }

    /// The carrier's buffer is emptied now: what was sent and not heard is back in the queue. False when nothing can
    /// be in that buffer.
    pub fn clear(&mut self, now: CallTime) -> bool {
        if self.in_flight.is_empty() {
            return false;
        }
        let heard = if planted(Fault::FlushedIsHeard) { self.sent } else { self.heard(now) };
        self.unconfirmed = heard - self.confirmed;
        self.epoch += 1;
        self.in_flight.clear();
        self.bytes_since_mark = 0;
        self.confirmed = heard;
        self.sent = heard;
        self.pace_end = now;
        self.forget_heard();
        true
    }

    /// Whether what is left stays here. What lies at the carrier is cleared first.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Throws away everything not heard and says of each item what was heard of it. `clear` comes first.
    pub fn discard(&mut self) -> Vec<ItemHeard> {
        debug_assert!(self.in_flight.is_empty(), "clear comes first");
        let items = self.items_heard(self.confirmed);
        self.segments.clear();
        self.confirmed = self.accepted;
        self.sent = self.accepted;
        items
    }

    /// Every item of which something may be unheard.
    pub fn items(&self, now: CallTime) -> impl Iterator<Item = ItemHeard> + '_ {
        self.items_heard(self.heard(now)).into_iter()
    }

    fn items_heard(&self, heard: u64) -> Vec<ItemHeard> {
        let mut items: Vec<ItemHeard> = Vec::new();
        for part in self.segments.iter().filter_map(|segment| segment.item_heard(heard)) {
            match items.iter_mut().find(|known| known.item == part.item) {
                Some(known) => {
                    // Where hearing stopped in one segment, nothing of the next was heard.
                    if known.heard_bytes == known.accepted_bytes {
                        known.heard_bytes = part.heard_bytes;
                    }
                    known.accepted_bytes = part.accepted_bytes;
                    known.complete = part.complete;
                }
                None => items.push(part),
            }
        }
        items
    }

    /// Whether the caller hears the agent, or will without anybody doing anything more.
    pub fn is_audible(&self, now: CallTime) -> bool {
        self.heard(now) < self.accepted
    }

    /// When the caller will have heard all that was sent.
    pub fn heard_out(&self, now: CallTime) -> Option<CallTime> {
        self.in_flight.back().map(|frame| frame.play_end).filter(|end| *end > now)
    }

    /// Whether nothing is queued, at the carrier, or in doubt (H2, A8).
    pub fn is_finished(&self) -> bool {
        self.confirmed == self.accepted
    }

    /// Whether audio of this response waits or plays by the clock, marks aside.
    pub fn is_response_audible(&self, response: ResponseId, now: CallTime) -> bool {
        let heard = self.heard(now);
        self.segments.iter().any(|segment| segment.owner.response() == Some(response) && heard < segment.end())
    }

    /// Whether something of this item was not heard for certain.
    pub fn has_item(&self, item: ItemId) -> bool {
        self.segments.iter().any(|segment| segment.owner.item() == Some(item))
    }

    /// Whether everything accepted was sent.
    pub fn is_drained(&self) -> bool {
        self.sent == self.accepted
    }

    /// Frames in the paced queue, and behind it (A1).
    pub fn queues(&self, config: &CallConfig) -> (u32, u32) {
        let frames = u32::try_from((self.accepted - self.sent).div_ceil(u64::from(FRAME_BYTES))).unwrap_or(u32::MAX);
        let paced = frames.min(config.queue_frames);
        (paced, frames - paced)
    }

    /// Bytes that counted as heard at the last `clear` without a mark to show for it: at most so far is what was said
    /// to be heard from what was.
    pub fn unconfirmed(&self) -> u64 {
        self.unconfirmed
    }

    /// Bytes sent and not heard.
    pub fn unplayed_bytes(&self, now: CallTime) -> u64 {
        self.sent - self.heard(now)
    }

    /// Bytes accepted and not heard.
    pub fn unheard_bytes(&self, now: CallTime) -> u64 {
        self.accepted - self.heard(now)
    }

    /// The driver may forget kept audio before this place: no `clear` can bring it back into the queue.
    pub fn needed_from(&self) -> u64 {
        self.confirmed
    }

    pub fn frames_sent(&self) -> u64 {
        self.frames_sent
    }

    /// Heard = last confirmed mark, and the clock since, never above what was sent (A7).
    pub fn heard(&self, now: CallTime) -> u64 {
        let mut heard = self.confirmed;
        if planted(Fault::SentIsHeard) {
            return self.sent;
        }
        for frame in &self.in_flight {
            if frame.play_end <= now {
                heard = frame.end;
                continue;
            }
            let begins = frame.play_end - frame.duration();
            let played = bytes_in(now.since(begins)).min(u64::from(frame.audio_bytes));
            heard = heard.max(frame.end - u64::from(frame.audio_bytes) + played);
            break;
        }
        heard
    }

    /// What must always hold. Said as a sentence when it does not.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(self.confirmed <= self.sent && self.sent <= self.accepted) {
            return Err("A7: confirmed ≤ sent ≤ accepted");
        }
        if !self.in_flight.is_empty() && self.paused {
            return Err("B4: nothing lies at the carrier during a hold");
        }
        if !self.in_flight.iter().is_sorted_by(|a, b| a.end <= b.end && a.play_end <= b.play_end) {
            return Err("A2: frames are played in order");
        }
        Ok(())
    }

    fn hearing_end(&self) -> CallTime {
        self.in_flight.back().map_or(CallTime::ZERO, |frame| frame.play_end)
    }

    /// When a message of this duration may go, so that no more than the lead lies unplayed.
    fn pace_end_for(&self, duration: Duration, config: &CallConfig) -> CallTime {
        if planted(Fault::EverythingAtOnce) {
            return CallTime::ZERO;
        }
        (self.pace_end + duration) - config.lead.max(duration)
    }

    /// Whole frames for which a group that went this moment, and could have gone before, left room: the lead would otherwise
    /// never be full again.
    fn left_by_group(&self, group: u64, now: CallTime, config: &CallConfig) -> Option<u64> {
        if group == 1 || self.in_flight.back().is_none_or(|frame| frame.sent_at != now) {
            return None;
        }
        let room = bytes_in((now + config.lead).since(self.pace_end.max(now)));
        Some(room / u64::from(FRAME_BYTES)).filter(|frames| *frames > 0)
    }

    /// Index of its segment, bytes of audio and bytes of padding of what comes next, if enough is there.
    fn next_frame(&self, now: CallTime, config: &CallConfig) -> Option<(usize, u32, u32)> {
        if self.paused || self.is_drained() {
            return None;
        }
        let index = self.segments.iter().position(|segment| self.sent < segment.end())?;
        let segment = &self.segments[index];
        let left = segment.end() - self.sent;
        if left < u64::from(FRAME_BYTES) {
            let more_may_come = !segment.closed && index + 1 == self.segments.len();
            let left = u32::try_from(left).unwrap_or(FRAME_BYTES);
            return (!more_may_come).then_some((index, left, FRAME_BYTES - left));
        }
        let group = u64::from(config.group_frames.max(1));
        let frames = if self.hearing_end() <= now {
            1
        } else {
            self.left_by_group(group, now, config).unwrap_or(group).min(group)
        };
        let whole = (left / u64::from(FRAME_BYTES)).min(frames);
        Some((index, u32::try_from(whole).unwrap_or(1) * FRAME_BYTES, 0))
    }

    /// The mark that belongs behind the last frame sent, if it has none and needs one: the first of an utterance, one
    /// in every `mark_every`, and the last of an item, which may turn out to be the last only after it was sent.
    fn mark_due(&mut self, config: &CallConfig) -> Option<MarkId> {
        let sent = self.sent;
        let last = self.in_flight.back_mut().filter(|frame| frame.mark.is_none())?;
        let ends_item = self.segments.iter().any(|segment| segment.closed && segment.end() == sent);
        if !ends_item && playing_time(u64::from(self.bytes_since_mark)) < config.mark_every {
            return None;
        }
        self.marks_sent += 1;
        last.mark = Some(self.marks_sent);
        self.bytes_since_mark = 0;
        Some(MarkId { epoch: self.epoch, seq: self.marks_sent })
    }

    fn forget_heard(&mut self) {
        while let Some(segment) = self.segments.front()
            && segment.closed
            && segment.end() <= self.confirmed
        {
            self.segments.pop_front();
        }
    }

    pub fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        let Playback {
            segments,
            in_flight,
            accepted,
            sent,
            confirmed,
            pace_end,
            // Only whether a mark is of this epoch matters, and marks are names.
            epoch,
            marks_sent: _,
            bytes_since_mark,
            paused,
            frames_sent: _,
            // For the record.
            unconfirmed: _,
        } = self;
        // Places count from what was confirmed.
        print.put((*accepted - *confirmed, *sent - *confirmed, *paused));
        // A pace that lies behind does not hold the next frame up, and is caught up with by it.
        print.until(*pace_end);
        // Enough for a mark, or not yet.
        print.put(playing_time(u64::from(*bytes_since_mark)).min(config.mark_every));
        print.put(segments.len());
        for Segment { place, len, owner, item_offset, closed } in segments {
            print.put((place.wrapping_sub(*confirmed), *len, *item_offset, *closed));
            print.id_of(owner.response());
            print.id_of(owner.item());
        }
        print.put(in_flight.len());
        // When a frame was sent is asked only to keep `play_end` from lying before, when a later moment is known.
        for InFlight { end, audio_bytes, played_bytes, sent_at: _, play_end, mark } in in_flight {
            print.put((*end - *confirmed, *audio_bytes, *played_bytes));
            // Of one that was played, the grace is what is left.
            print.until(*play_end + config.mark_grace);
            print.id_of(mark.map(|seq| MarkId { epoch: *epoch, seq }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(end: u64, play_end: u64) -> InFlight {
        InFlight {
            end,
            audio_bytes: FRAME_BYTES,
            played_bytes: FRAME_BYTES,
            sent_at: CallTime::ZERO,
            play_end: CallTime::from_millis(play_end),
            mark: None,
        }
    }

    /// No input leads there: what `check` says of it is all there is to be seen.
    #[test]
    fn what_must_not_be_is_said() {
        let sound = Playback { accepted: 480, sent: 320, confirmed: 0, ..Playback::default() };
        let in_flight = |frames: [InFlight; 2]| Playback { in_flight: frames.into(), ..sound.clone() };
        let well = in_flight([frame(160, 20), frame(320, 40)]);
        for sound in [sound.clone(), well.clone(), in_flight([frame(160, 20), frame(160, 20)])] {
            assert_eq!(sound.check(), Ok(()));
        }
        assert_eq!(Playback { paused: true, ..sound.clone() }.check(), Ok(()));
        for broken in [
            Playback { confirmed: 321, ..sound.clone() },
            Playback { sent: 481, ..sound.clone() },
            Playback { paused: true, ..well },
            in_flight([frame(320, 20), frame(160, 40)]),
            in_flight([frame(160, 40), frame(320, 20)]),
        ] {
            assert!(broken.check().is_err(), "{broken:?}");
        }
    }
}
