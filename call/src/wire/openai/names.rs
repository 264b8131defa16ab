//! The vendor's id strings, each given a small number for the call.

use std::collections::VecDeque;

/// Strings that are remembered at most. An hour of conversation has a few hundred items; what is older than this many
/// is neither cancelled nor truncated any more.
const CAPACITY: usize = 4096;

/// A table of id strings, numbered in the order in which they were first seen. Numbers never restart within a call.
///
/// Searched from the newest: nearly every event is about something that was just announced.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    names: VecDeque<Box<str>>,
    /// The number of `names[0]`. The rest follow it without a gap.
    first: u32,
}

impl Names {
    /// The number of this string, a new one if it was not seen lately.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(back) = self.names.iter().rev().position(|known| **known == *name) {
            return self.number_at(self.names.len() - 1 - back);
        }
        if self.names.len() == CAPACITY {
            self.names.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        self.names.push_back(name.into());
        self.number_at(self.names.len() - 1)
    }

    /// The string with this number, if it is remembered.
    pub fn name(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        self.names.get(index).map(|name| &**name)
    }

    /// Forgets the strings, not the count.
    pub fn forget(&mut self) {
        self.first = self.number_at(self.names.len());
        self.names.clear();
    }

    fn number_at(&self, index: usize) -> u32 {
        // CAPACITY is far below u32::MAX, so nothing is cut here.
        self.first.wrapping_add(index as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, Names};

    #[test]
    fn numbers_are_stable_and_the_oldest_is_forgotten() {
        let mut names = Names::default();
        assert_eq!((names.number("a"), names.number("b"), names.number("a")), (0, 1, 0));
        assert_eq!((names.name(1), names.name(2)), (Some("b"), None));
        for n in 2..=CAPACITY {
            assert_eq!(names.number(&format!("x{n}")), n as u32);
        }
        assert_eq!(names.name(0), None);
        assert_eq!(names.name(1), Some("b"));
        assert_eq!(names.number("a"), CAPACITY as u32 + 1);
    }

    #[test]
    fn forgetting_does_not_restart_the_count() {
        let mut names = Names::default();
        names.number("a");
        names.number("b");
        names.forget();
        assert_eq!((names.name(0), names.name(1)), (None, None));
        assert_eq!(names.number("b"), 2);
    }
}
