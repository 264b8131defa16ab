//! Bytes that are nearly right.

use crate::dice::Dice;

/// What has broken readers before.
const TOKENS: [&str; 28] = [
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "null",
    "true",
    "[]",
    "{}",
    "[[[[[[[[",
    "-1",
    "-0",
    "0",
    "1e308",
    "1e-400",
    "NaN",
    "18446744073709551615",
    "18446744073709551616",
    "9007199254740993",
    "4294967295",
    "2147483648",
    "\"\"",
    "=",
    "====",
    "\n",
    ",",
];

/// Longest that a mutation grows to: beyond, only its length is new.
const LEN_MAX: usize = 32 * 1024;

pub struct Mutator {
    dice: Dice,
}

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Mutator { dice: Dice::new(seed) }
    }

    /// One of the examples, changed in a few places.
    pub fn mutate(&mut self, examples: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.dice.pick(examples);
        for _ in 0..self.dice.between(1..=6) {
            self.change(&mut bytes, examples);
        }
        bytes.truncate(LEN_MAX);
        bytes
    }

    /// Noise, for what needs no form.
    pub fn noise(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.dice.draw() as u8).collect()
    }

    fn change(&mut self, bytes: &mut Vec<u8>, examples: &[Vec<u8>]) {
        let at = self.place(bytes.len());
        let (from, to) = self.stretch(bytes.len());
        match self.dice.between(0..=9) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(from..to)),
            2 => {
                let again = bytes[from..to].to_vec();
                bytes.splice(at..at, again);
            }
            3 => {
                let token = self.dice.pick(&TOKENS);
                bytes.splice(at..at, token.bytes());
            }
            // The value of some field becomes something else.
            4 | 5 => {
                let token = self.dice.pick(&TOKENS);
                if let Some((from, to)) = value_after(bytes, at) {
                    bytes.splice(from..to, token.bytes());
                }
            }
            6 => {
                let other = self.dice.pick(examples);
                let (from, to) = self.stretch(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            7 => {
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                if let Some(last) = lines.len().checked_sub(1) {
                    lines.swap(self.place(last), self.place(last));
                    *bytes = lines.concat();
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = if self.dice.percent(50) {
                        *byte ^ (1 << self.dice.between(0..=7))
                    } else {
                        self.dice.draw() as u8
                    };
                }
            }
        }
    }

    /// From 0 to `len`.
    fn place(&mut self, len: usize) -> usize {
        self.dice.between(0..=len as u64) as usize
    }

    /// Usually a short one.
    fn stretch(&mut self, len: usize) -> (usize, usize) {
        let from = self.place(len);
        let most = if self.dice.percent(80) { 16 } else { len as u64 };
        (from, (from + self.dice.between(0..=most) as usize).min(len))
    }
}

/// The JSON value that follows the next colon, if it is not an object or a list.
fn value_after(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let colon = at + bytes[at..].iter().position(|byte| *byte == b':')?;
    let from = colon + 1;
    let len = bytes[from..].iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b'\n'))?;
    Some((from, from + len))
}
