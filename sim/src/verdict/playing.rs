//! What was heard: what was accepted, in its order, and the model told where it was not.

use std::time::Duration;

use call::Note;
use call::config::CallConfig;
use call::output::DropReason;

use super::{Doubt, Judgement, broken, frame_group, ms, taken_for_played};
use crate::joined::{Accepted, Line, Stretch, What};
use crate::model::{GeneratedItem, Record};
use crate::oracle::is_silent;
use crate::seed::Plan;
use crate::world::World;

/// A part of a stretch that was played without a break.
pub(super) struct Piece {
    pub stretch: usize,
    /// Its first byte, in the stretch.
    from: usize,
    /// Where it was played, in bytes since the first stream's start.
    pub at: usize,
    pub bytes: usize,
}

impl Piece {
    pub fn reaches(&self) -> usize {
        self.from + self.bytes
    }
}

/// What was played is the stretches in their order, each from its beginning, going on where it had stopped.
fn pieces(played: &[u8], items: &[Stretch], doubt: usize) -> Result<Vec<Piece>, (usize, Vec<Piece>)> {
    /// So many bytes of noise are no accident.
    const SURE: usize = 4;
    let mut pieces: Vec<Piece> = Vec::new();
    // The item that plays, and how much of it has.
    let (mut item, mut reached) = (0_usize, 0_usize);
    let mut at = 0;
    loop {
        let Some(silent) = played[at..].iter().position(|byte| !is_silent(*byte)) else { return Ok(pieces) };
        at += silent;
        // Sounds of ours have silence in them, and of silence nobody can say whether it was theirs.
        let (before, pause) = items.get(item).and_then(|item| item.audio.split_at_checked(reached)).unwrap_or_default();
        let sounded = before.iter().rposition(|byte| !is_silent(*byte)).map_or(0, |last| last + 1);
        reached += pause.iter().take(silent).take_while(|byte| is_silent(**byte)).count();
        let run = played[at..].iter().position(|byte| is_silent(*byte)).unwrap_or(played.len() - at);
        let matching = |at: usize, index: usize, from: usize| {
            let audio: &[u8] = items.get(index).map_or(&[], |item| &item.audio);
            played[at..].iter().zip(audio.get(from..).unwrap_or_default()).take_while(|(a, b)| a == b).count()
        };
        let best = |at: usize| {
            let near = (sounded.saturating_sub(doubt)..=reached + doubt).map(|from| (item, from));
            // The end of the item before may be in doubt too, when only the beginning of this one was played; and of those
            // before it, if they are short.
            let mut since = sounded;
            let before = (0..item).rev().map_while(move |index| {
                let (length, left) = (items[index].audio.len(), doubt.checked_sub(since).filter(|left| *left > 0)?);
                since += length;
                Some((length.saturating_sub(left)..length).map(move |from| (index, from)))
            });
            let before = before.flatten();
            let later = (item + 1..items.len()).flat_map(|index| (0..=doubt).map(move |from| (index, from)));
            near.chain(before)
                .chain(later)
                .map(|(index, from)| (matching(at, index, from), index, from))
                // Of two that are the same, the earlier.
                .reduce(|best, found| if found.0 > best.0 { found } else { best })
        };
        let going_on = matching(at, item, reached);
        let mut found = (going_on >= SURE.min(run)).then_some((going_on, item, reached));
        if found.is_none() {
            found = best(at).filter(|found| found.0 >= SURE.min(run));
        }
        // The end of one piece may continue, by accident, with what begins the next.
        for back in 1..SURE {
            if found.is_some() || pieces.last().is_none_or(|piece| piece.bytes <= back || piece.at + piece.bytes != at)
            {
                break;
            }
            found = best(at - back).filter(|found| found.0 >= SURE + back);
            if found.is_some() {
                at -= back;
                if let Some(last) = pieces.last_mut() {
                    last.bytes -= back;
                }
            }
        }
        let Some((bytes, index, from)) = found else { return Err((at, pieces)) };
        pieces.push(Piece { stretch: index, from, at, bytes });
        (item, reached) = (index, from + bytes);
        at += bytes;
    }
}

/// Whether what was played is these sounds in their order, each from its beginning, going on where it had stopped give or
/// take `doubt`, or not played at all.
///
/// # Errors
/// The byte at which something else begins.
pub fn in_order(played: &[u8], sounds: &[Stretch], doubt: Duration) -> Result<(), usize> {
    pieces(played, sounds, bytes_of(doubt)).map(drop).map_err(|(at, _)| at)
}

/// What was played of what was accepted.
pub(super) struct Heard<'a> {
    pub line: &'a Line,
    pub accepted: &'a Accepted,
    pub pieces: Vec<Piece>,
}

impl<'a> Heard<'a> {
    /// # Errors
    /// A2, when something was played that was not accepted, or not in its order.
    pub fn find(
        plan: &Plan,
        line: &'a Line,
        accepted: &'a Accepted,
        record: &Record,
        doubt: &Doubt,
    ) -> Result<Heard<'a>, super::Violation> {
        let tolerance = doubt.hearing(plan);
        match pieces(&line.played, &accepted.stretches, bytes_of(tolerance)) {
            Ok(pieces) => Ok(Heard { line, accepted, pieces }),
            Err((at, before)) => {
                let known = accepted.stretches.iter().enumerate().find_map(|(index, stretch)| {
                    let reached =
                        before.iter().filter(|piece| piece.stretch == index).map(Piece::reaches).max().unwrap_or(0);
                    let from = find(&stretch.audio, &line.played[at..])?;
                    let name = match stretch.what {
                        What::Item(item) => &record.generated[item].item_id,
                        What::Local(name) => name,
                    };
                    Some(format!("{name} from byte {from}, of which {reached} were played (± {tolerance:?})"))
                });
                let what = format!("played out of order: {}", known.as_deref().unwrap_or("nothing that was accepted"));
                Err(super::Violation { rule: "A2", what, at: line.time_of(at) })
            }
        }
    }

    /// How far the item was heard, in bytes of it, by this time.
    pub fn reached(&self, item: usize, by: Duration) -> usize {
        let of_item = |piece: &&Piece| self.accepted.stretches[piece.stretch].what == What::Item(item);
        let reached = self.pieces.iter().filter(of_item).filter_map(|piece| {
            let played = by.checked_sub(self.line.time_of(piece.at))?;
            let from = self.accepted.stretches[piece.stretch].from + piece.from;
            Some(from + piece.bytes.min(bytes_of(played)))
        });
        reached.max().unwrap_or(0)
    }

    /// How much of the item was accepted by this time.
    pub fn accepted(&self, item: usize, by: Duration) -> usize {
        let of_item = |stretch: &&Stretch| stretch.what == What::Item(item) && stretch.since <= by;
        self.accepted
            .stretches
            .iter()
            .filter(of_item)
            .map(|stretch| stretch.from + stretch.audio.len())
            .max()
            .unwrap_or(0)
    }
}

fn bytes_of(time: Duration) -> usize {
    usize::try_from(time.as_micros() / 125).unwrap_or(usize::MAX)
}

pub(super) fn judge_playing(
    plan: &Plan,
    world: &World,
    record: &Record,
    heard: &Heard<'_>,
    doubt: &Doubt,
    told_after_stream: bool,
) -> Judgement {
    let Heard { line, accepted, pieces } = heard;
    let tolerance = doubt.hearing(plan);

    // Who takes everything sent for played sends as much again.
    let lead = plan.config.lead.max(frame_group(plan)) * (1 + plan.faults.leaps.len() as u32);
    let allowed = lead + doubt.there_uneven + plan.stream.post_clear_tail + ms(1);
    if line.most_buffered > allowed {
        let what = format!("{:?} lay at the carrier, {allowed:?} are allowed", line.most_buffered);
        return broken("A3", world.now(), what);
    }

    for (at, note) in &world.notes {
        let Note::Interrupted { response: Some(response), .. } = note else { continue };
        let Some(name) = accepted.responses.get(response) else { continue };
        let over = *at + doubt.there + plan.stream.post_clear_tail + taken_for_played(plan, *at) + ms(1);
        // A few bytes may be those of another by chance.
        let zombie = pieces.iter().filter(|piece| piece.bytes >= 8).find_map(|piece| {
            let What::Item(item) = accepted.stretches[piece.stretch].what else { return None };
            let until = line.time_of(piece.at + piece.bytes - 1);
            (record.generated[item].response_id == *name && until > over).then_some((item, until))
        });
        if let Some((item, until)) = zombie {
            let what = format!("{} of {name} played until {until:?}", record.generated[item].item_id);
            return broken("B2", *at, what);
        }
    }

    let cut_short =
        world.notes.iter().any(|(_, note)| matches!(note, Note::Dropped { reason: DropReason::QueueFull, .. }));
    if cut_short && plan.config.response_audio_max == CallConfig::default().response_audio_max {
        return broken("A1", world.now(), "audio was refused, of which no response had five minutes");
    }
    let last_played = pieces.last().map_or(0, |piece| piece.stretch);
    judge_stretches(world, heard, tolerance, last_played)?;
    // What the model is told once the stream is gone is of no use to any conversation, and is not always right: how much
    // of an item was heard is not known any more when the rest of it comes.
    // Nor is it when the carrier is gone without a word: that nothing is heard any more shows late.
    let vanished = plan.stream.close_without_stop && plan.stream.stop_without_close;
    if told_after_stream || vanished {
        return Ok(());
    }
    for (index, item) in record.generated.iter().enumerate() {
        let last = accepted.stretches.iter().rposition(|stretch| stretch.what == What::Item(index));
        let passed = last.is_some_and(|last| last < last_played);
        let lost = world.sessions.iter().any(|session| {
            // The call's end closes the last one.
            let closed = session.closed.is_some_and(|closed| world.ended.is_none_or(|(ended, _)| closed < ended));
            (closed || session.silent.is_some())
                && session.model.record().generated.iter().any(|known| known.item_id == item.item_id)
        });
        let reached = heard.reached(index, Duration::MAX);
        // It is repeated once, perhaps too late, and then only warned about (B1).
        let tellable = !lost && item.edits_rejected == 0;
        judge_item(plan, world, item, reached, tolerance, passed && !cut_short && tellable)?;
    }
    Ok(())
}

/// What was accepted is heard, unless somebody interrupted it (A2), whatever became of the session that gave it (N4).
fn judge_stretches(world: &World, heard: &Heard<'_>, tolerance: Duration, last_played: usize) -> Judgement {
    let Heard { line, accepted, pieces } = heard;
    for (index, stretch) in accepted.stretches.iter().enumerate().take(last_played) {
        // Of two clips that are the same, nobody can tell which was played.
        let same = accepted.stretches.iter().filter(|other| other.what == stretch.what).count();
        if matches!(stretch.what, What::Local(_)) && same > 1 {
            continue;
        }
        let of_it = || pieces.iter().filter(|piece| piece.stretch == index);
        let reached = of_it().map(Piece::reaches).max().unwrap_or(0);
        // Of silence nobody can say whether it was heard.
        let Some(last) = stretch.audio[reached..].iter().rposition(|byte| !is_silent(*byte)) else { continue };
        let rest = last + 1;
        if rest <= bytes_of(tolerance) {
            continue;
        }
        let next = pieces.iter().find(|piece| piece.stretch > index).map(|piece| line.time_of(piece.at));
        let until = next.unwrap_or(Duration::MAX);
        let interrupted = world
            .notes
            .iter()
            .any(|(at, note)| matches!(note, Note::Interrupted { .. }) && *at >= stretch.since && *at <= until);
        if !interrupted {
            let what =
                format!("{rest} bytes of {:?} were accepted and not heard, and nobody interrupted", stretch.what);
            return broken("A2", until, what);
        }
    }
    Ok(())
}

/// What the model was told about an item is what was heard of it.
fn judge_item(
    plan: &Plan,
    world: &World,
    item: &GeneratedItem,
    reached: usize,
    tolerance: Duration,
    passed: bool,
) -> Judgement {
    let name = &item.item_id;
    let at = world.now();
    let tolerance_ms = u32::try_from(tolerance.as_millis()).unwrap_or(u32::MAX);
    let reached_ms = u32::try_from(reached / 8).unwrap_or(u32::MAX);
    if let Some(told) = item.truncated_to_ms {
        if told == 0 {
            return broken("B1", at, format!("{name} was truncated to nothing"));
        }
        if reached_ms.abs_diff(told) > tolerance_ms {
            let what = format!("{reached_ms} ms of {name} were heard, the model was told {told} ms (± {tolerance_ms})");
            return broken("B1", at, what);
        }
    } else if item.deleted {
        if reached_ms > tolerance_ms {
            return broken("B1", at, format!("{reached_ms} ms of {name} were heard, and it was deleted"));
        }
    } else if passed && reached < item.audio.len() && plan.config.abilities.truncates {
        // Something after it was played, so nobody waits for the rest of it any more.
        let rest_ms = u32::try_from((item.audio.len() - reached) / 8).unwrap_or(u32::MAX);
        if rest_ms > tolerance_ms {
            let what =
                format!("{reached} of {} bytes of {name} were heard, and the model was not told", item.audio.len());
            return broken("A2", at, what);
        }
    }
    Ok(())
}

fn find(audio: &[u8], played: &[u8]) -> Option<usize> {
    let key = &played[..played.len().min(8)];
    audio.windows(key.len().max(1)).position(|window| window == key)
}
