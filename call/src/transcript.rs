//! Who said what, when, and how much of it was heard.

use crate::fingerprint::Fingerprint;
use crate::id::{ItemId, ResponseId};
use crate::output::Remembered;
use crate::playback::{ItemHeard, playing_time};
use crate::summary::{Turn, Who};
use crate::time::CallTime;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Transcript {
    /// In the order in which they began. Bounded by `ENTRIES_MAX`.
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Entry {
    who: Who,
    item: ItemId,
    response: Option<ResponseId>,
    text: String,
    /// For the agent: once its first frame was sent.
    times: Option<(CallTime, CallTime)>,
    /// Of its audio, in bytes.
    accepted: u64,
    /// Where hearing was cut off.
    cut_at: Option<u64>,
    /// Its end was told.
    told: bool,
}

/// Turns in a record. Eight hours of conversation have fewer.
const ENTRIES_MAX: usize = 4_096;

impl Transcript {
    pub fn caller_started(&mut self, item: ItemId, now: CallTime) {
        if let Some(entry) = self.entry(item, Who::Caller) {
            entry.times = Some((now, now));
        }
    }

    pub fn caller_stopped(&mut self, item: ItemId, now: CallTime) {
        if let Some(entry) = self.entry(item, Who::Caller)
            && let Some((_, end)) = &mut entry.times
        {
            *end = now;
        }
    }

    pub fn caller_said(&mut self, item: ItemId, text: &str) {
        if let Some(entry) = self.entry(item, Who::Caller) {
            entry.text = text.to_owned();
        }
    }

    /// It was noise, or nothing of it was heard.
    pub fn forget(&mut self, item: ItemId) {
        self.entries.retain(|entry| entry.item != item);
    }

    pub fn agent_accepted(&mut self, response: ResponseId, item: ItemId, bytes: u32) {
        if let Some(entry) = self.entry(item, Who::Agent) {
            entry.response = Some(response);
            entry.accepted += u64::from(bytes);
        }
    }

    pub fn agent_said_more(&mut self, item: ItemId, text: &str) {
        if let Some(entry) = self.entry(item, Who::Agent) {
            entry.text.push_str(text);
        }
    }

    pub fn agent_said(&mut self, item: ItemId, text: &str) {
        if let Some(entry) = self.entry(item, Who::Agent) {
            text.clone_into(&mut entry.text);
        }
    }

    /// A frame of the item was sent, to play from one moment to another.
    pub fn agent_plays(&mut self, item: ItemId, from: CallTime, to: CallTime) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.item == item) {
            let (_, end) = entry.times.get_or_insert((from, to));
            *end = to;
        }
    }

    /// Hearing of the item ended here.
    pub fn agent_cut(&mut self, heard: ItemHeard, now: CallTime) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.item == heard.item) {
            if let Some((_, end)) = &mut entry.times {
                *end = (*end).min(now);
            }
            if heard.heard_bytes < heard.accepted_bytes || !heard.complete {
                entry.cut_at = Some(heard.heard_bytes);
            }
        }
    }

    /// Whether audio of this item was ever accepted.
    pub fn has_audio(&self, item: ItemId) -> bool {
        self.entries.iter().rev().any(|entry| entry.item == item && entry.accepted > 0)
    }

    /// The next of the agent's turns that has ended, once each. `playing`: what is not over yet.
    pub fn next_ended(&mut self, playing: impl Fn(ItemId) -> bool) -> Option<ItemId> {
        // Turns end in their order, so those not told are the last few.
        let from = self.entries.iter().rposition(|entry| entry.told).map_or(0, |told| told + 1);
        let ended = |entry: &&mut Entry| entry.who == Who::Agent && entry.times.is_some() && !playing(entry.item);
        let entry = self.entries.get_mut(from..)?.iter_mut().find(ended)?;
        entry.told = true;
        Some(entry.item)
    }

    /// The turns as the record has them: times since `start`, the agent's words as far as they were heard.
    pub fn turns(&self, start: CallTime) -> Vec<Turn> {
        let mut turns: Vec<Turn> = self.entries.iter().filter_map(|entry| entry.turn(start)).collect();
        turns.sort_by_key(|turn| turn.start_ms);
        turns
    }

    /// What was said so far and when it began, for a session of the model that knows nothing of it (N4). What was
    /// accepted plays out and counts as heard; what of it has not begun comes last.
    pub fn history(&self) -> impl Iterator<Item = (CallTime, Remembered)> + '_ {
        self.entries.iter().filter_map(move |entry| {
            let begun = entry.times.map(|(at, _)| at);
            // What waits to be played comes after everything, the frames included that are about to play.
            let at = begun.or((entry.accepted > 0).then_some(CallTime::NEVER))?;
            let text = entry.heard_text();
            // Of a word that was cut off, nothing is told.
            let is_worth_telling = !text.trim().is_empty();
            let said = match entry.who {
                Who::Caller => Remembered::Caller(text),
                Who::Agent => Remembered::Agent(text),
            };
            is_worth_telling.then_some((at, said))
        })
    }

    pub fn turn(&self, item: ItemId, start: CallTime) -> Option<Turn> {
        self.entries.iter().rev().find(|entry| entry.item == item)?.turn(start)
    }

    /// Nothing: a transcript is for the record. The one decision that reads it asks whether an item of the response in
    /// the slot has audio, and the slot puts that in.
    pub fn fingerprint(&self, _print: &mut Fingerprint<'_>) {
        let Transcript { entries: _ } = self;
    }

    fn entry(&mut self, item: ItemId, who: Who) -> Option<&mut Entry> {
        if let Some(index) = self.entries.iter().rposition(|entry| entry.item == item) {
            return self.entries.get_mut(index);
        }
        if self.entries.len() >= ENTRIES_MAX {
            return None;
        }
        self.entries.push(Entry {
            who,
            item,
            response: None,
            text: String::new(),
            times: None,
            accepted: 0,
            cut_at: None,
            told: false,
        });
        self.entries.last_mut()
    }
}

impl Entry {
    fn heard_text(&self) -> String {
        match self.cut_at {
            Some(cut) => heard_text(&self.text, cut, self.accepted),
            None => self.text.clone(),
        }
    }

    fn turn(&self, start: CallTime) -> Option<Turn> {
        let (from, to) = self.times?;
        let heard = self.cut_at.unwrap_or(self.accepted);
        Some(Turn {
            who: self.who,
            text: self.heard_text(),
            start_ms: from.since(start).as_millis() as u64,
            end_ms: to.since(start).as_millis() as u64,
            heard_ms: match self.who {
                Who::Agent => playing_time(heard).as_millis() as u64,
                Who::Caller => to.since(from).as_millis() as u64,
            },
            interrupted: self.cut_at.is_some(),
        })
    }
}

/// The part of a text that was heard: cut at the last word boundary before its share of the audio (O7).
fn heard_text(text: &str, heard: u64, accepted: u64) -> String {
    if heard == 0 || accepted == 0 {
        return String::new();
    }
    let chars = text.chars().count() as u64;
    let share = usize::try_from(chars * heard.min(accepted) / accepted).unwrap_or(0);
    let Some((cut, _)) = text.char_indices().nth(share) else { return text.to_owned() };
    if text[cut..].starts_with(char::is_whitespace) {
        return text[..cut].to_owned();
    }
    text[..cut].rfind(char::is_whitespace).map_or_else(String::new, |space| text[..space].trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::heard_text;

    #[test]
    fn o7_text_is_cut_at_the_last_word_that_was_heard() {
        assert_eq!(heard_text("one two three", 0, 100), "");
        assert_eq!(heard_text("one two three", 20, 100), "");
        assert_eq!(heard_text("one two three", 24, 100), "one");
        assert_eq!(heard_text("one two three", 60, 100), "one two");
        assert_eq!(heard_text("one two three", 99, 100), "one two");
        assert_eq!(heard_text("one two three", 100, 100), "one two three");
        assert_eq!(heard_text("שלום וברכה", 60, 100), "שלום");
        assert_eq!(heard_text("", 50, 100), "");
    }
}
