//! Audio that waits, in pieces of memory of one size.
//!
//! In one piece it would hold twice what waits whenever it grows, or be copied whole to give some of that back. A call
//! holds little more than its queue, and what each holds is multiplied by all calls.

use std::collections::VecDeque;

/// An eighth of a second of G.711; a size that allocators have without waste.
const PIECE: usize = 1_024;

/// Pieces that are kept, so that a model that speaks as fast as it is heard, 250 ms at a time, costs no allocations.
const SPARE: usize = 2;

/// Places for pieces that are kept when nothing waits. A long answer needs eighty.
const PLACES_KEPT: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct AudioQueue {
    /// The spare ones are the last.
    pieces: VecDeque<Box<[u8; PIECE]>>,
    /// Of the first piece, what was dropped.
    gone: usize,
    /// Bytes that wait.
    len: usize,
}

impl AudioQueue {
    pub(crate) fn push(&mut self, mut audio: &[u8]) {
        while !audio.is_empty() {
            let (piece, at) = Self::place(self.gone + self.len);
            if piece == self.pieces.len() {
                self.pieces.push_back(Box::new([0; PIECE]));
            }
            let (fits, rest) = audio.split_at(audio.len().min(PIECE - at));
            self.pieces[piece][at..at + fits.len()].copy_from_slice(fits);
            self.len += fits.len();
            audio = rest;
        }
    }

    /// Drops the first `bytes`, or all if there are fewer.
    pub(crate) fn drop_front(&mut self, bytes: usize) {
        let bytes = bytes.min(self.len);
        self.len -= bytes;
        let (free, gone) = Self::place(self.gone + bytes);
        self.pieces.rotate_left(free);
        self.gone = gone;
        if self.len == 0 {
            self.gone = 0;
        }
        self.pieces.truncate((self.gone + self.len).div_ceil(PIECE) + SPARE);
        if self.len == 0 {
            self.pieces.shrink_to(PLACES_KEPT);
        }
    }

    /// Appends to `out` what lies at `from..from + len`, as far as it is there.
    pub(crate) fn copy_range(&self, from: usize, len: usize, out: &mut Vec<u8>) {
        let end = from.saturating_add(len).min(self.len);
        let mut from = from;
        while from < end {
            let (piece, at) = Self::place(self.gone + from);
            let len = (end - from).min(PIECE - at);
            out.extend_from_slice(&self.pieces[piece][at..at + len]);
            from += len;
        }
    }

    fn place(position: usize) -> (usize, usize) {
        (position / PIECE, position % PIECE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_pushed_and_not_dropped_and_little_memory_more(
            steps in prop::collection::vec((0..3 * PIECE, 0..3 * PIECE, 0..3 * PIECE), 1..20),
        ) {
            let (mut queue, mut expected) = (AudioQueue::default(), Vec::new());
            for (pushed, dropped, from) in steps {
                let audio: Vec<u8> = (0..pushed).map(|at| (at % 251) as u8).collect();
                queue.push(&audio);
                expected.extend(audio);
                queue.drop_front(dropped);
                expected.drain(..dropped.min(expected.len()));
                prop_assert_eq!(queue.len, expected.len());
                let mut copied = vec![9];
                queue.copy_range(from, dropped, &mut copied);
                let there = expected.iter().skip(from).take(dropped).copied();
                prop_assert_eq!(copied, std::iter::once(9).chain(there).collect::<Vec<_>>());
                prop_assert!(queue.pieces.len() * PIECE < expected.len() + (2 + SPARE) * PIECE);
            }
            queue.drop_front(usize::MAX);
            prop_assert!(queue.pieces.len() <= SPARE);
        }
    }
}
