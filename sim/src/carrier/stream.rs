//! Twilio's end of one media stream, and the caller behind it, without a socket or a clock.
//!
//! Times are `Duration`s since a zero of the user's choosing; what is told and asked must not go back in time. Contract,
//! as for the call itself: after everything told to it, [`FakeStream::poll`] until it gives `None`, then wait for the next
//! message or for [`FakeStream::poll_timeout`].
//!
//! Playback is reckoned in bytes since the stream began: at 8,000 µ-law bytes a second, byte `n` plays from `n` × 125 µs.
//! So "what has played by now" is a division, nothing ticks while audio plays, and the timeline of what the caller heard
//! is written when the audio comes and cut when a `clear` comes. One stream is one run of its inputs: it has no randomness.
//!
//! Behaviour is that of twilio.com/docs/voice/media-streams/websocket-messages. Where that leaves things open (how much
//! plays after a `clear`, whether a `stop` comes when the server closes) there is an option, or a comment.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use call::g711;
use call::wire::payload;
use call::wire::twilio::{self as wire, ToCarrier};

/// What the caller does next. Steps are taken in order; the line carries silence meanwhile, and after the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallerStep {
    /// Say nothing for this long.
    Pause(Duration),
    /// Say this: µ-law, 8,000 bytes a second. Begins with the next 20 ms frame, ends with the frame that has its end.
    Say(Arc<[u8]>),
    /// Wait until the agent is audible, and has been for this long. Gaps shorter than [`BREATH`] do not count as such.
    AwaitAgentSpeech {
        for_at_least: Duration,
    },
    /// Wait until nothing was played for this long, something having been played since the last step of this kind.
    AwaitAgentQuiet(Duration),
    /// Press a key.
    Press(char),
    HangUp,
}

/// Which stream of which call this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamFacts {
    pub account_sid: String,
    pub call_sid: String,
    pub stream_sid: String,
    /// The `<Parameter>`s of the document.
    pub custom_parameters: Vec<(String, String)>,
}

/// How the carrier misbehaves, and how long anybody waits. The default behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamOptions {
    /// No mark ever comes back.
    pub marks_never: bool,
    /// Marks that do not come back: the n-th that we received, from 0.
    pub marks_lost: Vec<usize>,
    /// Marks come back so much later than they were reached or flushed.
    pub marks_delay: Duration,
    /// So much of what a `clear` found still plays: audio that has gone out to the caller's network already. The marks
    /// in it come back at once all the same.
    pub post_clear_tail: Duration,
    /// Audio of these times (since the stream's start) is not sent; the timestamps jump.
    pub media_gaps: Vec<Range<Duration>>,
    /// Delay of each frame after its 20 ms have passed, in turn and over again. Frames keep their order.
    pub frame_jitter: Vec<Duration>,
    pub duplicate_start: bool,
    pub media_before_start: bool,
    /// After every tenth frame, a message that no documentation has.
    pub unknown_events: bool,
    pub close_without_stop: bool,
    pub stop_without_close: bool,
    /// What the caller's line gives back of what it is played, added to what the caller says.
    pub echoes: Vec<Echo>,
    /// How long the caller waits for the agent to speak, or to stop, before hanging up.
    pub patience: Duration,
    /// The stream ends after this long whatever happens.
    pub limit: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            marks_never: false,
            marks_lost: Vec::new(),
            marks_delay: Duration::ZERO,
            post_clear_tail: Duration::ZERO,
            media_gaps: Vec::new(),
            frame_jitter: Vec::new(),
            duplicate_start: false,
            media_before_start: false,
            unknown_events: false,
            close_without_stop: false,
            stop_without_close: false,
            echoes: Vec::new(),
            patience: Duration::from_secs(30),
            limit: Duration::from_secs(3_600),
        }
    }
}

/// One way back from the caller's ear into the line. Several are a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// From the sample played to the sample sent.
    pub way: Duration,
    /// Of the amplitude: 100 is −20 dB. Below zero it comes back upside down.
    pub gain_permille: i32,
}

/// What the carrier does to its socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// A text message.
    Text(String),
    /// Closes the socket. Nothing follows.
    Close,
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamEnd {
    /// By the script.
    CallerHungUp,
    /// The caller waited for the agent in vain.
    CallerGaveUp,
    /// The carrier ended it: [`FakeStream::stop`].
    Stopped,
    /// The server closed the socket, or it broke.
    ServerClosed,
    /// [`StreamOptions::limit`].
    TooLong,
}

/// Everything that happened, for oracles. Times are on the clock of the `now` arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamReport {
    pub stream_sid: String,
    pub started_at: Duration,
    pub ended_at: Option<Duration>,
    pub end: Option<StreamEnd>,
    /// What the caller heard, from the stream's start: µ-law, 8,000 bytes a second, silence where nothing played. While
    /// the stream goes on it reaches into the future by what is buffered.
    pub played: Vec<u8>,
    /// When anything of the agent's played. Spans that touch are one.
    pub audible: Vec<Range<Duration>>,
    /// What the caller sent, from the stream's start, gaps included.
    pub said: Vec<u8>,
    /// The steps that were begun.
    pub steps: Vec<StepTaken>,
    pub marks: Vec<MarkTaken>,
    pub clears: Vec<Clear>,
    pub received: Received,
    /// Audio frames sent.
    pub frames_sent: u64,
    /// The agent's audio, message by message.
    pub pieces: Vec<Piece>,
    /// What Twilio would have warned about, by its error code. At most [`MOST_VIOLATIONS`].
    pub violations: Vec<String>,
}

impl StreamReport {
    /// The most that lay unplayed at any time (A3).
    pub fn most_buffered(&self) -> Duration {
        self.pieces.iter().map(Piece::lies).max().unwrap_or_default()
    }
}

/// One message of the agent's audio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    pub received_at: Duration,
    /// When its first byte plays, if no `clear` comes before.
    pub plays_at: Duration,
    pub bytes: u64,
}

impl Piece {
    /// When it has been played.
    pub fn ends_at(&self) -> Duration {
        self.plays_at + Duration::from_micros(self.bytes * BYTE_MICROS)
    }

    /// How much lies unplayed when it has come.
    pub fn lies(&self) -> Duration {
        self.ends_at() - self.received_at
    }
}

/// When a step of the script was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepTaken {
    pub began_at: Duration,
    pub ended_at: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkTaken {
    pub name: String,
    pub received_at: Duration,
    pub returned_at: Option<Duration>,
    /// A `clear` came before it was reached.
    pub flushed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clear {
    pub at: Duration,
    /// Bytes of the agent's audio that had played by then, since the stream began.
    pub played_bytes: u64,
    /// Bytes that will not be played.
    pub discarded_bytes: u64,
}

/// Counts of what the server sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Received {
    pub frames: u64,
    pub audio_bytes: u64,
    pub marks: u64,
    pub clears: u64,
    /// Messages that came after the end: a race, not a mistake.
    pub late: u64,
}

/// Twilio's end of a stream.
pub struct FakeStream {
    facts: StreamFacts,
    script: Vec<CallerStep>,
    options: StreamOptions,
    report: StreamReport,
    now: Duration,
    outbox: VecDeque<Sent>,
    /// Messages so far, `connected` not counted.
    sequence: u64,
    chunks: u64,

    /// Frames whose 20 ms have passed, sent or not.
    captured: u64,
    /// Captured frames that jitter holds back: when they go out, and when they began, in ms.
    delayed: VecDeque<(Duration, u64, Vec<u8>)>,

    /// The byte after the last one buffered; the buffer is empty once it has been reached.
    buffer_end: u64,
    /// The byte at which playing began, after the last time it had stopped.
    buffer_start: u64,
    /// The same with pauses below [`BREATH`] overlooked.
    speech_start: u64,
    /// Bytes accepted, without those discarded.
    accepted: u64,
    /// Marks to come back, as indices of `report.marks`, with the byte each waits for.
    pending: VecDeque<Pending>,

    /// Bytes of the current `Say` that were said.
    said: usize,
    /// The last byte that an `AwaitAgentQuiet` has taken note of.
    quiet_after: u64,
}

struct Pending {
    mark: usize,
    byte: u64,
    due: Duration,
}

/// A caller does not take a shorter pause for the end of what the agent says: it may be a late packet.
pub const BREATH: Duration = Duration::from_millis(100);

/// Enough to see what is wrong; a server that violates the protocol usually does so in every message.
pub const MOST_VIOLATIONS: usize = 100;

const FRAME_MS: u64 = 20;
const FRAME_BYTES: usize = 160;
const BYTE_MICROS: u64 = 125;
const SILENCE: u8 = 0xFF;

/// Twilio buffers "more than ten minutes" of audio before it drops any (31931).
const MOST_BUFFERED_BYTES: u64 = 600 * 8_000;

impl FakeStream {
    /// A stream whose socket was opened at `now`. `connected` and `start` are due at once.
    pub fn new(facts: StreamFacts, script: Vec<CallerStep>, options: StreamOptions, now: Duration) -> Self {
        let report = StreamReport {
            stream_sid: facts.stream_sid.clone(),
            started_at: now,
            ended_at: None,
            end: None,
            played: Vec::new(),
            audible: Vec::new(),
            said: Vec::new(),
            steps: vec![StepTaken { began_at: now, ended_at: None }],
            marks: Vec::new(),
            clears: Vec::new(),
            received: Received::default(),
            frames_sent: 0,
            pieces: Vec::new(),
            violations: Vec::new(),
        };
        let mut stream = Self {
            facts,
            script,
            options,
            report,
            now,
            outbox: VecDeque::new(),
            sequence: 0,
            chunks: 0,
            captured: 0,
            delayed: VecDeque::new(),
            buffer_end: 0,
            buffer_start: 0,
            speech_start: 0,
            accepted: 0,
            pending: VecDeque::new(),
            said: 0,
            quiet_after: 0,
        };
        stream.open();
        stream.take_steps();
        stream
    }

    /// A text message from the server.
    pub fn receive(&mut self, text: &str, now: Duration) {
        self.advance(now);
        if self.is_over() {
            self.report.received.late += 1;
            return;
        }
        match wire::read_to_carrier(text) {
            Ok(message) if *stream_sid_of(&message) != self.facts.stream_sid => {
                self.violated("31951: the streamSid of another stream", text);
            }
            Ok(ToCarrier::Media { payload, .. }) => {
                let mut audio = Vec::new();
                match payload::decode_into(&payload, &mut audio) {
                    Ok(()) => self.buffer(&audio),
                    Err(error) => self.violated(&format!("31951: {error}"), text),
                }
            }
            Ok(ToCarrier::Mark { name, .. }) => self.mark(&name),
            Ok(ToCarrier::Clear { .. }) => self.clear(),
            Err(error) => self.violated(&format!("31951: {error}"), text),
        }
        self.advance(self.now);
    }

    /// A binary message from the server, which Twilio cannot read (31950).
    pub fn receive_binary(&mut self, now: Duration) {
        self.advance(now);
        self.violated("31950: a binary message", "");
    }

    /// The server closed the socket, or it broke. No `stop` follows: whether Twilio sends one is not documented.
    pub fn receive_close(&mut self, now: Duration) {
        self.advance(now);
        self.end(StreamEnd::ServerClosed);
    }

    /// The call is ended by the carrier, or leaves the stream for another document.
    pub fn stop(&mut self, now: Duration) {
        self.advance(now);
        self.end(StreamEnd::Stopped);
    }

    /// What the carrier does next, `None` if nothing is due.
    pub fn poll(&mut self, now: Duration) -> Option<Sent> {
        self.advance(now);
        self.outbox.pop_front()
    }

    /// When [`FakeStream::poll`] has something next, or needs to look; `None` once the stream is over and told.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.outbox.is_empty() { self.next_event() } else { Some(self.now) }
    }

    /// Whether the stream ended. There may still be something to [`FakeStream::poll`].
    pub fn is_over(&self) -> bool {
        self.report.end.is_some()
    }

    pub fn report(&self) -> &StreamReport {
        &self.report
    }

    /// The report, and what the caller has yet to do: the script of the call's next stream, if it gets one.
    pub fn into_report(mut self) -> (StreamReport, Vec<CallerStep>) {
        if !self.is_over() {
            self.cut_playback(self.byte_now());
        }
        let rest = self.rest();
        (self.report, rest)
    }

    /// The call's next stream, opened now: the same caller goes on with what is left to do.
    pub fn next_stream(&self, stream_sid: &str, now: Duration) -> FakeStream {
        let facts = StreamFacts { stream_sid: stream_sid.to_owned(), ..self.facts.clone() };
        FakeStream::new(facts, self.rest(), self.options.clone(), now)
    }

    fn rest(&self) -> Vec<CallerStep> {
        let mut rest = self.script[self.step().min(self.script.len())..].to_vec();
        if let Some(CallerStep::Say(audio)) = rest.first_mut() {
            *audio = audio[self.said.min(audio.len())..].into();
        }
        rest
    }

    // What happens by itself.

    /// Lets everything happen that is due by `now`, each thing at its own time.
    fn advance(&mut self, now: Duration) {
        let now = now.max(self.now);
        while let Some(due) = self.next_event().filter(|&due| due <= now) {
            self.now = self.now.max(due);
            self.return_marks();
            self.capture();
            self.send_delayed();
            self.take_steps();
            if self.now >= self.report.started_at + self.options.limit {
                self.end(StreamEnd::TooLong);
            }
        }
        self.now = now;
    }

    fn next_event(&self) -> Option<Duration> {
        if self.is_over() {
            return None;
        }
        let delayed = self.delayed.front().map(|&(due, ..)| due);
        let mark = self.pending.front().map(|pending| pending.due);
        let limit = self.report.started_at + self.options.limit;
        [Some(self.next_capture()), delayed, mark, self.step_due(), Some(limit)].into_iter().flatten().min()
    }

    fn open(&mut self) {
        let mut connected = String::new();
        wire::write_connected(&mut connected);
        self.outbox.push_back(Sent::Text(connected));
        if self.options.media_before_start {
            self.send_frame(0, &[SILENCE; FRAME_BYTES]);
        }
        self.send_start();
        if self.options.duplicate_start {
            self.send_start();
        }
    }

    fn return_marks(&mut self) {
        while let Some(Pending { mark, .. }) = self.pending.pop_front_if(|pending| pending.due <= self.now) {
            self.report.marks[mark].returned_at = Some(self.now);
            let name = self.report.marks[mark].name.clone();
            self.send(|out, sequence, facts| wire::write_mark_returned(out, sequence, &facts.stream_sid, &name));
        }
    }

    fn next_capture(&self) -> Duration {
        self.report.started_at + Duration::from_millis((self.captured + 1) * FRAME_MS)
    }

    /// Ends the current 20 ms of the caller's line.
    fn capture(&mut self) {
        if self.now < self.next_capture() {
            return;
        }
        let nominal = self.next_capture();
        let timestamp_ms = self.captured * FRAME_MS;
        let offset = Duration::from_millis(timestamp_ms);
        let began = self.report.started_at + offset;
        let mut frame = vec![SILENCE; FRAME_BYTES];
        if let Some(CallerStep::Say(audio)) = self.script.get(self.step())
            && self.step_began() <= began
        {
            let rest = &audio[self.said..];
            let len = rest.len().min(FRAME_BYTES);
            frame[..len].copy_from_slice(&rest[..len]);
            self.said += len;
        }
        if !self.options.echoes.is_empty() {
            self.add_echoes(&mut frame);
        }
        self.report.said.extend_from_slice(&frame);
        if !self.options.media_gaps.iter().any(|gap| gap.contains(&offset)) {
            let jitter = &self.options.frame_jitter;
            let delay = if jitter.is_empty() {
                Duration::ZERO
            } else {
                jitter[usize::try_from(self.captured).unwrap_or(usize::MAX) % jitter.len()]
            };
            let after = self.delayed.back().map_or(Duration::ZERO, |&(due, ..)| due);
            self.delayed.push_back(((nominal + delay).max(after), timestamp_ms, frame));
        }
        self.captured += 1;
    }

    fn add_echoes(&self, frame: &mut [u8]) {
        for (byte, at) in frame.iter_mut().zip(self.captured * FRAME_BYTES as u64..) {
            let echoes = self.options.echoes.iter().filter_map(|echo| {
                let played = at.checked_sub(bytes_in(echo.way)).and_then(|at| self.report.played.get(index(at)))?;
                Some(i32::from(g711::decode(*played)) * echo.gain_permille / 1_000)
            });
            let sum = i32::from(g711::decode(*byte)) + echoes.sum::<i32>();
            *byte = g711::encode(sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16);
        }
    }

    fn send_delayed(&mut self) {
        while let Some((_, timestamp_ms, frame)) = self.delayed.pop_front_if(|&mut (due, ..)| due <= self.now) {
            self.send_frame(timestamp_ms, &frame);
            if self.options.unknown_events && self.report.frames_sent.is_multiple_of(10) {
                self.send(|out, sequence, facts| {
                    let sid = &facts.stream_sid;
                    out.push_str(&format!(
                        r#"{{"event":"weather","sequenceNumber":"{sequence}","streamSid":"{sid}","media":"sunny","mark":7}}"#
                    ));
                });
            }
        }
    }

    // The caller.

    /// Takes steps until one has to wait.
    fn take_steps(&mut self) {
        while !self.is_over()
            && let Some(step) = self.script.get(self.step())
        {
            let done = match step {
                CallerStep::Say(audio) => self.said >= audio.len(),
                CallerStep::Pause(_) | CallerStep::AwaitAgentSpeech { .. } | CallerStep::AwaitAgentQuiet(_) => {
                    self.wait_over().is_some_and(|at| at <= self.now)
                }
                CallerStep::Press(_) | CallerStep::HangUp => true,
            };
            if !done {
                let waits_for_agent =
                    matches!(step, CallerStep::AwaitAgentSpeech { .. } | CallerStep::AwaitAgentQuiet(_));
                if waits_for_agent && self.now >= self.step_began() + self.options.patience {
                    self.end(StreamEnd::CallerGaveUp);
                }
                return;
            }
            match *step {
                CallerStep::Press(digit) => {
                    self.send(|out, sequence, facts| wire::write_dtmf(out, sequence, &facts.stream_sid, digit));
                }
                CallerStep::HangUp => self.end(StreamEnd::CallerHungUp),
                CallerStep::AwaitAgentQuiet(_) => self.quiet_after = self.buffer_end,
                CallerStep::Pause(_) | CallerStep::Say(_) | CallerStep::AwaitAgentSpeech { .. } => {}
            }
            self.said = 0;
            if let Some(taken) = self.report.steps.last_mut() {
                taken.ended_at = Some(self.now);
            }
            self.report.steps.push(StepTaken { began_at: self.now, ended_at: None });
        }
    }

    /// When the current step has to be looked at again, as far as can be told now.
    fn step_due(&self) -> Option<Duration> {
        let patience = self.step_began() + self.options.patience;
        match self.script.get(self.step())? {
            CallerStep::Pause(_) => self.wait_over(),
            CallerStep::AwaitAgentSpeech { .. } | CallerStep::AwaitAgentQuiet(_) => {
                Some(self.wait_over().map_or(patience, |at| at.min(patience)))
            }
            // Frames carry what is said; the others do not wait.
            CallerStep::Say(_) | CallerStep::Press(_) | CallerStep::HangUp => None,
        }
    }

    /// When what the current step waits for has happened, if nothing else comes.
    fn wait_over(&self) -> Option<Duration> {
        let began = self.step_began();
        match *self.script.get(self.step())? {
            CallerStep::Pause(pause) => Some(began + pause),
            CallerStep::AwaitAgentSpeech { for_at_least } => {
                let (start, end) = (self.time_of(self.speech_start), self.time_of(self.buffer_end));
                let long_enough = start + for_at_least;
                // What had stopped before this step began is not what it waits for.
                (self.buffer_end > self.speech_start && long_enough <= end && end > began)
                    .then_some(long_enough.max(began))
            }
            CallerStep::AwaitAgentQuiet(quiet) => {
                (self.buffer_end > self.quiet_after).then(|| (self.time_of(self.buffer_end) + quiet).max(began))
            }
            CallerStep::Say(_) | CallerStep::Press(_) | CallerStep::HangUp => None,
        }
    }

    /// The index of the current step, which is past the script once all is done.
    fn step(&self) -> usize {
        self.report.steps.len() - 1
    }

    fn step_began(&self) -> Duration {
        self.report.steps[self.step()].began_at
    }

    // Playback.

    fn buffer(&mut self, audio: &[u8]) {
        self.report.received.frames += 1;
        self.report.received.audio_bytes += audio.len() as u64;
        if audio.is_empty() {
            return;
        }
        // A byte that has begun cannot be filled any more.
        let soonest = self.byte_after_now();
        let start = self.buffer_end.max(soonest);
        if start - soonest + audio.len() as u64 > MOST_BUFFERED_BYTES {
            self.violated("31931: more than ten minutes of audio", "");
            return;
        }
        let last_end = self.report.audible.last().map(|span| span.end);
        if last_end != Some(self.time_of(start)) {
            self.buffer_start = start;
            if last_end.is_none_or(|end| self.time_of(start) - end >= BREATH) {
                self.speech_start = start;
            }
            self.report.audible.push(self.time_of(start)..self.time_of(start));
        }
        self.accepted += audio.len() as u64;
        self.buffer_end = start + audio.len() as u64;
        self.report.played.resize(index(start), SILENCE);
        self.report.played.extend_from_slice(audio);
        let end = self.time_of(self.buffer_end);
        if let Some(span) = self.report.audible.last_mut() {
            span.end = end;
        }
        let (received_at, plays_at) = (self.now, self.time_of(start));
        self.report.pieces.push(Piece { received_at, plays_at, bytes: audio.len() as u64 });
    }

    fn mark(&mut self, name: &str) {
        let ordinal = self.report.marks.len();
        self.report.received.marks += 1;
        self.report.marks.push(MarkTaken {
            name: name.to_owned(),
            received_at: self.now,
            returned_at: None,
            flushed: false,
        });
        if self.options.marks_never || self.options.marks_lost.contains(&ordinal) {
            return;
        }
        let reached = self.time_of(self.buffer_end).max(self.now);
        let after = self.pending.back().map_or(Duration::ZERO, |pending| pending.due);
        let due = (reached + self.options.marks_delay).max(after);
        self.pending.push_back(Pending { mark: ordinal, byte: self.buffer_end, due });
    }

    fn clear(&mut self) {
        self.report.received.clears += 1;
        let byte = self.byte_now();
        // What was begun is played to its end, byte or tail.
        let tail = bytes_in(self.options.post_clear_tail);
        let discarded_bytes = self.cut_playback(self.byte_after_now() + tail);
        let unplayed = self.buffer_end.saturating_sub(byte.max(self.buffer_start));
        self.report.clears.push(Clear { at: self.now, played_bytes: self.accepted - unplayed, discarded_bytes });

        let due = self.now + self.options.marks_delay;
        for pending in &mut self.pending {
            if pending.byte > byte {
                self.report.marks[pending.mark].flushed = true;
                pending.due = pending.due.min(due);
            }
        }
    }

    /// Forgets what would play at `byte` and later; says how much that was.
    fn cut_playback(&mut self, byte: u64) -> u64 {
        // Before the buffer's start there is only what has played long since.
        let end = self.buffer_end.min(byte.max(self.buffer_start));
        let discarded = self.buffer_end - end;
        if discarded > 0 {
            self.buffer_end = end;
            self.accepted -= discarded;
            self.report.played.truncate(index(end));
            let end = self.time_of(end);
            if let Some(span) = self.report.audible.last_mut() {
                span.end = end;
            }
            self.report.audible.pop_if(|span| span.is_empty());
        }
        discarded
    }

    // The end.

    fn end(&mut self, end: StreamEnd) {
        if self.is_over() {
            return;
        }
        self.report.end = Some(end);
        self.report.ended_at = Some(self.now);
        let byte = self.byte_now();
        self.cut_playback(byte);
        self.report.played.resize(index(byte), SILENCE);
        self.pending.clear();
        self.delayed.clear();
        if end == StreamEnd::ServerClosed {
            self.outbox.clear();
            return;
        }
        if !self.options.close_without_stop {
            self.send(|out, sequence, facts| {
                wire::write_stop(out, sequence, &facts.stream_sid, &facts.account_sid, &facts.call_sid);
            });
        }
        if !self.options.stop_without_close {
            self.outbox.push_back(Sent::Close);
        }
    }

    // Messages.

    fn send_start(&mut self) {
        self.send(|out, sequence, facts| {
            let parameters = &facts.custom_parameters;
            let start = wire::Start {
                stream_sid: facts.stream_sid.as_str().into(),
                call_sid: facts.call_sid.as_str().into(),
                account_sid: Some(facts.account_sid.as_str().into()),
                tracks: vec![wire::Track::Inbound],
                encoding: None,
                sample_rate: None,
                channels: None,
                custom_parameters: parameters.iter().map(|(n, v)| (n.as_str().into(), v.as_str().into())).collect(),
            };
            wire::write_start(out, sequence, &start);
        });
    }

    fn send_frame(&mut self, timestamp_ms: u64, audio: &[u8]) {
        self.chunks += 1;
        self.report.frames_sent += 1;
        let chunk = self.chunks;
        self.send(|out, sequence, facts| {
            wire::write_caller_media(out, sequence, &facts.stream_sid, chunk, timestamp_ms, audio);
        });
    }

    fn send(&mut self, write: impl FnOnce(&mut String, u64, &StreamFacts)) {
        self.sequence += 1;
        let mut text = String::new();
        write(&mut text, self.sequence, &self.facts);
        self.outbox.push_back(Sent::Text(text));
    }

    fn violated(&mut self, what: &str, text: &str) {
        if self.report.violations.len() < MOST_VIOLATIONS {
            let text: String = text.chars().take(120).collect();
            self.report.violations.push(if text.is_empty() { what.to_owned() } else { format!("{what}: {text}") });
        }
    }

    // Bytes and time.

    fn time_of(&self, byte: u64) -> Duration {
        self.report.started_at + Duration::from_micros(byte * BYTE_MICROS)
    }

    /// The byte that plays now: those before it have been heard.
    fn byte_now(&self) -> u64 {
        bytes_in(self.now.saturating_sub(self.report.started_at))
    }

    /// The first byte that has not begun to play.
    fn byte_after_now(&self) -> u64 {
        let byte = self.byte_now();
        if self.time_of(byte) < self.now { byte + 1 } else { byte }
    }
}

fn stream_sid_of<'a>(message: &'a ToCarrier<'_>) -> &'a str {
    match message {
        ToCarrier::Media { stream_sid, .. } | ToCarrier::Mark { stream_sid, .. } | ToCarrier::Clear { stream_sid } => {
            stream_sid
        }
    }
}

/// Whole bytes that play in this time.
fn bytes_in(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX) / BYTE_MICROS
}

/// Where a byte of the stream is in memory.
fn index(byte: u64) -> usize {
    usize::try_from(byte).expect("a stream is shorter than memory: StreamOptions::limit")
}
