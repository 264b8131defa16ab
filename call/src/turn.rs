//! Who has the floor: what the caller is doing, and whether it was meant (T1, B3–B5).
//!
//! Speech while the agent is heard opens a *hold*: playing stops at once, the model is told nothing, and it is found
//! out whether the caller meant it. The verdict is a function of what is known at a moment, asked after every input.

use std::time::Duration;

use crate::config::CallConfig;
use crate::farewell;
use crate::fingerprint::Fingerprint;
use crate::id::ItemId;
use crate::input::EarInput;
use crate::planted::{Fault, planted};
use crate::time::CallTime;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Floor {
    caller: Caller,
    ears: Ears,
    hold: Option<Hold>,
    /// Items that were decided to be nothing before they were committed. Bounded by `UTTERANCES_MAX`.
    unwanted: Vec<ItemId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum Caller {
    #[default]
    Silent,
    Speaking {
        since: CallTime,
        item: ItemId,
        /// Position of the detector's report, in the audio appended.
        at_ms: u64,
        /// The agent's greeting could not be interrupted when it began (B5).
        protected: bool,
    },
}

/// What our own ears hear of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum Ears {
    /// There are none, or they cannot follow.
    #[default]
    Deaf,
    Silence,
    Speech,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Hold {
    since: CallTime,
    /// Our own ears heard speech within it, so that they know when it ended.
    heard_by_ears: bool,
    /// The caller fell silent again within it.
    silent_since: Option<CallTime>,
    /// What the model heard the caller say within it; nothing while only our own ears heard anything. Bounded by
    /// `UTTERANCES_MAX`.
    utterances: Vec<Utterance>,
}

/// More than fits into a hold's two seconds.
const UTTERANCES_MAX: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Utterance {
    item: ItemId,
    committed: bool,
    /// Of the speech itself, without what the detector adds on both sides; zero until it stopped.
    length: Duration,
    meaning: Option<Meaning>,
}

/// What a transcript of the caller means to a hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Meaning {
    Nothing,
    BackChannel,
    Farewell,
    Words,
    /// The transcription failed.
    Unknown,
}

/// How a hold ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The caller meant it. `farewell`: and said only goodbye (H9).
    Meant { items: Vec<ItemId>, farewell: bool },
    /// It was noise, a back-channel word, or (in answer to a goodbye) a farewell. The items are to be forgotten.
    Nothing { items: Vec<ItemId>, back_channel: bool },
}

impl Floor {
    pub fn speech_started(&mut self, item: ItemId, at_ms: u64, protected: bool, now: CallTime) {
        self.caller = Caller::Speaking { since: now, item, at_ms, protected };
        if let Some(hold) = &mut self.hold {
            // Twice in one hold: it goes on, and still counts from its beginning.
            hold.silent_since = None;
            if !planted(Fault::ReportNotJoined) || !hold.utterances.is_empty() {
                hold.note(item);
            }
        }
    }

    /// Our own ears told something about speech.
    pub fn ears_heard(&mut self, input: EarInput) {
        self.ears = match input {
            EarInput::Listening | EarInput::SpeechStopped => Ears::Silence,
            EarInput::SpeechStarted => Ears::Speech,
            EarInput::Deaf => Ears::Deaf,
            EarInput::Quiet | EarInput::Loud => return,
        };
        if let Some(hold) = &mut self.hold {
            hold.heard_by_ears |= self.ears == Ears::Speech;
        }
    }

    pub fn speech_stopped(&mut self, item: ItemId, at_ms: u64, now: CallTime, config: &CallConfig) {
        let Caller::Speaking { at_ms: began_ms, .. } = self.caller else { return };
        self.caller = Caller::Silent;
        if let Some(hold) = &mut self.hold {
            let whole = Duration::from_millis(at_ms.saturating_sub(began_ms));
            let length = whole.saturating_sub(config.vad_prefix).saturating_sub(config.vad_silence);
            hold.silent_since = Some(now);
            if let Some(utterance) = hold.utterance(item) {
                utterance.length = length;
            }
        }
    }

    pub fn committed(&mut self, item: ItemId) -> Commit {
        if let Some(index) = self.unwanted.iter().position(|unwanted| *unwanted == item) {
            self.unwanted.remove(index);
            return Commit::Unwanted;
        }
        match self.hold.as_mut().and_then(|hold| hold.utterance(item)) {
            Some(utterance) => {
                utterance.committed = true;
                Commit::Undecided
            }
            None => Commit::Turn,
        }
    }

    pub fn transcript(&mut self, item: ItemId, text: Option<&str>, config: &CallConfig) {
        let Some(utterance) = self.hold.as_mut().and_then(|hold| hold.utterance(item)) else { return };
        utterance.meaning = Some(match text {
            None => Meaning::Unknown,
            Some(text) if !text.chars().any(char::is_alphanumeric) => Meaning::Nothing,
            Some(text) if farewell::is_back_channel(text, &config.languages) => Meaning::BackChannel,
            Some(text) if farewell::is_only_farewell(text, &config.languages) => Meaning::Farewell,
            Some(_) => Meaning::Words,
        });
    }

    pub fn open_hold(&mut self, now: CallTime) {
        debug_assert!(self.hold.is_none());
        let heard_by_ears = self.ears == Ears::Speech;
        let mut hold = Hold { since: now, heard_by_ears, silent_since: None, utterances: Vec::new() };
        if let Caller::Speaking { item, .. } = self.caller {
            hold.note(item);
        }
        self.hold = Some(hold);
    }

    /// Ends the hold if it can be decided now (B4). `goodbye`: one is under way, and a farewell in answer to it is not an
    /// interruption (H7).
    pub fn decide(&mut self, goodbye: bool, now: CallTime, config: &CallConfig) -> Option<Verdict> {
        let hold = self.hold.as_ref()?;
        let said = |meaning: Meaning| hold.utterances.iter().any(|utterance| utterance.meaning == Some(meaning));
        let is_unclear = |utterance: &Utterance| matches!(utterance.meaning, None | Some(Meaning::Unknown));
        let is_long = |utterance: &Utterance| is_unclear(utterance) && utterance.length >= config.min_speech;
        let is_meant = said(Meaning::Words)
            || (said(Meaning::Farewell) && !goodbye)
            || match hold.silent_since {
                _ if !hold.is_reported() => {
                    if now < hold.since + config.ears_report_max || planted(Fault::EarsTrustedForEver) {
                        return None;
                    }
                    planted(Fault::EarsBelieved)
                }
                None if now < self.goes_on_until(hold, config) || planted(Fault::HoldNeverDecided) => return None,
                None => true,
                Some(silent_since) => {
                    let waits = hold.utterances.iter().any(|utterance| utterance.meaning.is_none());
                    let waited_out = now >= silent_since + config.hold_transcript_wait;
                    if waits && (!waited_out || planted(Fault::TranscriptWaitedFor)) {
                        return None;
                    }
                    hold.utterances.iter().any(is_long)
                }
            };
        let farewell = said(Meaning::Farewell) && !said(Meaning::Words) && !hold.utterances.iter().any(is_long);
        let back_channel = said(Meaning::BackChannel) || said(Meaning::Farewell);
        let hold = self.hold.take()?;
        let items = hold.committed();
        if is_meant {
            return Some(Verdict::Meant { items, farewell });
        }
        // Their commits are still to come.
        self.unwanted = hold.utterances.iter().map(|said| said.item).filter(|item| !items.contains(item)).collect();
        Some(Verdict::Nothing { items, back_channel })
    }

    /// When `decide` or `free_the_floor` will have something to say.
    pub fn deadline(&self, config: &CallConfig) -> Option<CallTime> {
        let hold = self.hold.as_ref().map(|hold| match hold.silent_since {
            _ if !hold.is_reported() && planted(Fault::EarsTrustedForEver) => CallTime::NEVER,
            _ if !hold.is_reported() => hold.since + config.ears_report_max,
            Some(_) if planted(Fault::TranscriptWaitedFor) => CallTime::NEVER,
            None if planted(Fault::HoldNeverDecided) => CallTime::NEVER,
            Some(silent_since) => silent_since + config.hold_transcript_wait,
            None => self.goes_on_until(hold, config),
        });
        let floor = match self.caller {
            Caller::Silent => None,
            Caller::Speaking { since, .. } => Some(since + config.floor_max),
        };
        [hold, floor].into_iter().flatten().min()
    }

    /// When speech has gone on for so long that it was meant. Of an end that our own ears heard already, the model, which
    /// waits for a closing silence, is still to speak: the time until then is not the caller's.
    fn goes_on_until(&self, hold: &Hold, config: &CallConfig) -> CallTime {
        let ended = hold.heard_by_ears && self.ears == Ears::Silence;
        hold.since + config.hold_max + if ended { config.vad_silence } else { Duration::ZERO }
    }

    /// Our own ears follow, and hear no speech.
    pub fn ears_hear_nothing(&self) -> bool {
        self.ears == Ears::Silence
    }

    /// Speech that never stops is noise on the line: the caller counts as silent again (R10).
    pub fn free_the_floor(&mut self, now: CallTime, config: &CallConfig) -> bool {
        match self.caller {
            Caller::Speaking { since, .. } if since + config.floor_max <= now => {
                self.caller = Caller::Silent;
                true
            }
            Caller::Speaking { .. } | Caller::Silent => false,
        }
    }

    /// The connection was lost: nobody can say any more when the caller stops (N4).
    pub fn forget(&mut self) {
        self.caller = Caller::Silent;
        self.unwanted.clear();
        self.hold = None;
    }

    /// The stream is gone, and nothing more of the caller is heard for now. What was said in a hold is still to be
    /// understood (N6).
    pub fn caller_is_gone(&mut self, now: CallTime) {
        self.caller = Caller::Silent;
        self.ears = Ears::Deaf;
        if let Some(hold) = &mut self.hold {
            hold.silent_since.get_or_insert(now);
        }
    }

    /// The caller began to speak while the greeting was protected, and goes on (B5).
    pub fn speaks_into_protection(&self) -> bool {
        matches!(self.caller, Caller::Speaking { protected: true, .. })
    }

    /// What the caller says from now on counts, though it began while it did not (B5).
    pub fn protection_ended(&mut self) {
        if let Caller::Speaking { protected, .. } = &mut self.caller {
            *protected = false;
        }
    }

    /// Whether this item of the caller is part of an undecided hold.
    pub fn is_in_hold(&self, item: ItemId) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.utterances.iter().any(|utterance| utterance.item == item))
    }

    pub fn is_caller_speaking(&self) -> bool {
        matches!(self.caller, Caller::Speaking { .. })
    }

    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    pub fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        let Floor { caller, ears, hold, unwanted } = self;
        print.put(*ears);
        match *caller {
            Caller::Silent => print.put(0),
            Caller::Speaking { since, item, at_ms, protected } => {
                print.put((1, at_ms, protected));
                print.until(since + config.floor_max);
                print.id(item);
            }
        }
        print.put(hold.is_some());
        if let Some(hold) = hold {
            hold.fingerprint(print, config);
        }
        // One whose commit can come no more is never asked for.
        let unwanted: Vec<ItemId> = unwanted.iter().copied().filter(|item| print.knows(*item)).collect();
        print.ids(unwanted.into_iter());
    }
}

impl Hold {
    fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        let Hold { since, heard_by_ears, silent_since, utterances } = self;
        print.until(*since + config.hold_max);
        print.put((*heard_by_ears, self.is_reported()));
        if *heard_by_ears {
            print.until(*since + config.hold_max + config.vad_silence);
        }
        if !self.is_reported() {
            print.until(*since + config.ears_report_max);
        }
        print.until_some(silent_since.map(|since| since + config.hold_transcript_wait));
        print.put(utterances.len());
        for Utterance { item, committed, length, meaning } in utterances {
            print.id(*item);
            // A length is long enough, or it is not.
            print.put((*committed, *length >= config.min_speech, *meaning));
        }
    }

    /// Whether the model heard it too.
    fn is_reported(&self) -> bool {
        !self.utterances.is_empty()
    }

    fn note(&mut self, item: ItemId) {
        if self.utterances.len() < UTTERANCES_MAX && self.utterance(item).is_none() {
            let length = Duration::ZERO;
            self.utterances.push(Utterance { item, committed: false, length, meaning: None });
        }
    }

    fn utterance(&mut self, item: ItemId) -> Option<&mut Utterance> {
        self.utterances.iter_mut().find(|utterance| utterance.item == item)
    }

    fn committed(&self) -> Vec<ItemId> {
        self.utterances.iter().filter(|utterance| utterance.committed).map(|utterance| utterance.item).collect()
    }
}

/// What to do with an item of the caller that the model committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Commit {
    /// Answer it.
    Turn,
    /// It belongs to a hold; that decides.
    Undecided,
    /// It was decided to be nothing before it came.
    Unwanted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_a_hold_is_kept_once_and_no_more_than_there_is_room_for() {
        let mut hold = Hold { since: CallTime::ZERO, heard_by_ears: false, silent_since: None, utterances: Vec::new() };
        for item in (0..=UTTERANCES_MAX as u32).chain([0, 7]) {
            hold.note(ItemId(item));
        }
        let kept: Vec<u32> = hold.utterances.iter().map(|utterance| utterance.item.0).collect();
        assert_eq!(kept, (0..UTTERANCES_MAX as u32).collect::<Vec<_>>());
        hold.utterances.pop();
        hold.note(ItemId(7));
        assert_eq!(hold.utterances.len(), UTTERANCES_MAX - 1);
    }
}
