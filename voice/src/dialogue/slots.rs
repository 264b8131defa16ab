//! Values in what a caller said: numbers, rows of digits, one of some words.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Slots;
use super::nearest::words;

/// What a slot takes.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(untagged)]
pub enum Kind {
    Simple(Simple),
    /// One of these words.
    OneOf(Vec<String>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Simple {
    /// A whole number: "ten", "twenty five", "1,200".
    Number,
    /// Digits in a row, however they were grouped: "thirty-three four six" is 3346.
    Digits,
    /// All that was said.
    Text,
}

/// What was said for a slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum Value {
    Number(u64),
    Digits(String),
    Text(String),
}

/// As it is said: digits one by one.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => number.fmt(f),
            Value::Text(text) => text.fmt(f),
            Value::Digits(digits) => {
                for (at, digit) in digits.chars().enumerate() {
                    write!(f, "{}{digit}", if at > 0 { " " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// All slots from one text; `None` if one of them is not in it.
pub fn fill(kinds: &BTreeMap<String, Kind>, heard: &str) -> Option<Slots> {
    kinds.iter().map(|(name, kind)| Some((name.clone(), value(kind, heard)?))).collect()
}

fn value(kind: &Kind, heard: &str) -> Option<Value> {
    let words = words(&heard.replace(',', if heard.contains(", ") { " " } else { "" }));
    match kind {
        Kind::Simple(Simple::Number) => number(&words).map(Value::Number),
        Kind::Simple(Simple::Digits) => Some(digits(&words)).filter(|digits| !digits.is_empty()).map(Value::Digits),
        Kind::Simple(Simple::Text) => Some(Value::Text(heard.trim().to_owned())),
        Kind::OneOf(choices) => {
            let said = |choice: &&String| super::nearest::contains(&words, &super::nearest::words(choice));
            choices.iter().find(said).cloned().map(Value::Text)
        }
    }
}

/// The value of one number word or of figures.
pub fn value_of(word: &str) -> Option<u64> {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let small = SMALL.iter().position(|&small| small == word).map(|at| at as u64);
    let tens = || TENS.iter().position(|&tens| tens == word).map(|at| 10 * (at as u64 + 2));
    small.or_else(tens).or_else(|| word.parse().ok().filter(|_| word.bytes().all(|byte| byte.is_ascii_digit())))
}

/// The first whole number.
fn number(words: &[String]) -> Option<u64> {
    let from = words.iter().position(|word| value_of(word).is_some())?;
    let (mut total, mut part) = (0_u64, 0_u64);
    for word in &words[from..] {
        match (word.as_str(), value_of(word)) {
            ("hundred", _) => part = part.max(1).checked_mul(100)?,
            ("thousand", _) => {
                total = total.checked_add(part.max(1).checked_mul(1_000)?)?;
                part = 0;
            }
            ("and", _) => {}
            (_, Some(value)) => part = part.checked_add(value)?,
            _ => break,
        }
    }
    total.checked_add(part)
}

/// All digits in their order: figures as they are, number words as one would write them.
fn digits(words: &[String]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < words.len() {
        let word = words[at].as_str();
        at += 1;
        match value_of(word) {
            Some(value) if word.starts_with(|first: char| first.is_ascii_digit()) => {
                let _ = value;
                out.push_str(word);
            }
            // "ninety two" is one number, "ninety" alone another.
            Some(tens) if tens >= 20 => {
                let ones = words.get(at).and_then(|next| {
                    value_of(next)
                        .filter(|ones| (1..10).contains(ones) && !next.starts_with(|c: char| c.is_ascii_digit()))
                });
                at += usize::from(ones.is_some());
                out.push_str(&(tens + ones.unwrap_or_default()).to_string());
            }
            Some(value) => out.push_str(&value.to_string()),
            None if matches!(word, "oh" | "o") => out.push('0'),
            None if word == "double" => {
                if let Some(value) = words.get(at).and_then(|next| value_of(next)).filter(|value| *value < 10) {
                    out.push_str(&value.to_string());
                }
            }
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Simple, heard: &str) -> Option<Value> {
        value(&Kind::Simple(kind), heard)
    }

    #[test]
    fn numbers_are_read() {
        for (heard, wanted) in [
            ("go forward ten meters", 10),
            ("twenty-five please", 25),
            ("two hundred and five", 205),
            ("1,200 dollars", 1_200),
            ("three thousand four hundred", 3_400),
            ("a table for 4", 4),
        ] {
            assert_eq!(of(Simple::Number, heard), Some(Value::Number(wanted)), "{heard}");
        }
        assert_eq!(of(Simple::Number, "some"), None);
        assert_eq!(of(Simple::Number, &format!("{} {}", u64::MAX, u64::MAX)), None);
    }

    #[test]
    fn digits_are_read_however_they_were_grouped() {
        for (heard, wanted) in [
            ("thirty-three four six ninety-two", "334692"),
            ("33, 4, 6, 92.", "334692"),
            ("33 4692", "334692"),
            ("five five five, two one three, eight six four seven", "5552138647"),
            ("oh seven double two", "0722"),
            ("ninety one", "91"),
        ] {
            assert_eq!(of(Simple::Digits, heard), Some(Value::Digits(wanted.into())), "{heard}");
        }
        assert_eq!(of(Simple::Digits, "none at all"), None);
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        let kind = Kind::OneOf(vec!["forward".into(), "backward".into()]);
        assert_eq!(value(&kind, "Go backward!"), Some(Value::Text("backward".into())));
        assert_eq!(value(&kind, "go back"), None);
    }
}
