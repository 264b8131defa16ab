//! Keys that the caller presses, one by one or collected (N10).

use std::collections::VecDeque;

use crate::config::{CallConfig, Keys};
use crate::fingerprint::Fingerprint;
use crate::time::CallTime;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Keypad {
    /// Not complete yet.
    pressed: String,
    last: CallTime,
    /// Complete, and not told to the model yet. Bounded by `ENTRIES_MAX`.
    entries: VecDeque<String>,
    /// The last that the model was told, for a session that was not there (N4). Bounded by `ENTRIES_MAX`.
    told: VecDeque<(CallTime, String)>,
}

/// Entries that wait for a model; a caller who goes on pressing meanwhile is not heard anyway.
const ENTRIES_MAX: usize = 16;

/// Keys collected without a length or terminator.
const LENGTH_MAX: usize = 64;

impl Keypad {
    pub fn press(&mut self, key: char, now: CallTime, config: &CallConfig) {
        self.last = now;
        match config.keys {
            Keys::Single => self.complete(key.to_string()),
            Keys::Collect { terminator, length, .. } => {
                let ends = terminator == Some(key);
                if !ends {
                    self.pressed.push(key);
                }
                let length = length.map_or(LENGTH_MAX, |length| (length as usize).min(LENGTH_MAX));
                if ends || self.pressed.len() >= length {
                    self.complete_pressed();
                }
            }
        }
    }

    /// A pause ends what was pressed.
    pub fn expire(&mut self, now: CallTime, config: &CallConfig) {
        if self.deadline(config).is_some_and(|at| at <= now) {
            self.complete_pressed();
        }
    }

    pub fn deadline(&self, config: &CallConfig) -> Option<CallTime> {
        match config.keys {
            Keys::Collect { pause, .. } if !self.pressed.is_empty() => Some(self.last + pause),
            Keys::Single | Keys::Collect { .. } => None,
        }
    }

    /// The next entry for the model.
    pub fn next_entry(&mut self, now: CallTime) -> Option<String> {
        let entry = self.entries.pop_front()?;
        if self.told.len() == ENTRIES_MAX {
            self.told.pop_front();
        }
        self.told.push_back((now, entry.clone()));
        Some(entry)
    }

    /// What the model was told, and when.
    pub fn told(&self) -> impl Iterator<Item = &(CallTime, String)> {
        self.told.iter()
    }

    fn complete_pressed(&mut self) {
        let pressed = std::mem::take(&mut self.pressed);
        self.complete(pressed);
    }

    fn complete(&mut self, entry: String) {
        if !entry.is_empty() && self.entries.len() < ENTRIES_MAX {
            self.entries.push_back(entry);
        }
    }

    pub fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        // Which keys they are, is told and not looked at.
        let Keypad { pressed, last: _, entries, told: _ } = self;
        print.put((pressed.len(), entries.len()));
        print.until_some(self.deadline(config));
    }
}
