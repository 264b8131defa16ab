//! Numbers, rows of digits, telephone numbers.

use std::ops::Range;

use super::words::{Word, at};
use crate::g2p::numbers::{ONES, TENS};

/// The words that numbers are made of.
pub fn expected() -> impl Iterator<Item = &'static str> {
    ONES.into_iter().chain(TENS.into_iter().filter(|tens| !tens.is_empty())).chain(["hundred", "thousand"])
}

/// The value of one number word or of figures.
pub fn value_of(word: &str) -> Option<u64> {
    // The first two of the tens have no word.
    let place_in = |table: &[&str]| table.iter().position(|&known| known == word && !word.is_empty());
    let small = place_in(&ONES).or_else(|| place_in(&TENS).map(|tens| tens * 10)).map(|value| value as u64);
    small.or_else(|| word.parse().ok().filter(|_| is_figures(word)))
}

fn is_figures(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// The first whole number, and its words.
pub fn number(words: &[Word]) -> Option<(u64, Range<usize>)> {
    // "The blue one", "this one": no number.
    const BEFORE_ONE: [&str; 8] = ["the", "this", "that", "which", "another", "no", "any", "every"];
    let pointed_at = |from: usize| (from.saturating_sub(2)..from).any(|place| BEFORE_ONE.contains(&at(words, place)));
    let counts = |from: usize| at(words, from) != "one" || !pointed_at(from);
    let from = (0..words.len()).find(|&from| counts(from) && begins_number(words, from))?;
    number_at(words, from).map(|(value, to)| (value, from..to))
}

fn begins_number(words: &[Word], from: usize) -> bool {
    let unit = |word: &str| matches!(word, "hundred" | "thousand" | "million" | "dozen" | "couple");
    let word = at(words, from);
    value_of(word).is_some() || unit(word) || (matches!(word, "a" | "an") && unit(at(words, from + 1)))
}

/// The number that begins here, and where it ends: "two hundred and five", "twenty five", "a dozen". Two numbers in a row
/// are two.
pub fn number_at(words: &[Word], from: usize) -> Option<(u64, usize)> {
    let (mut total, mut part): (u64, Option<u64>) = (0, None);
    let mut place = from;
    if matches!(at(words, from), "a" | "an") {
        if !begins_number(words, from) {
            return None;
        }
        place += 1;
    }
    loop {
        let word = at(words, place);
        match (word, part) {
            ("hundred", _) if part.is_none_or(|part| part < 100) => part = Some(part.unwrap_or(1) * 100),
            ("thousand" | "million", _) if part.is_some() || total == 0 => {
                let unit = if word == "thousand" { 1_000 } else { 1_000_000 };
                total = total.checked_add(part.unwrap_or(1).checked_mul(unit)?)?;
                part = None;
            }
            ("dozen", None | Some(1..100)) => part = Some(part.unwrap_or(1) * 12),
            ("couple", None) if total == 0 => part = Some(2),
            ("and", _) if (part.is_some_and(|part| part % 100 == 0) || (part.is_none() && total > 0)) => {
                if value_of(at(words, place + 1)).is_none_or(|value| value >= 100) {
                    break;
                }
            }
            _ => match (value_of(word), part) {
                (Some(value), None) if total == 0 || value < 1_000 => part = Some(value),
                (Some(value), Some(hundreds)) if hundreds >= 100 && hundreds % 100 == 0 && value < 100 => {
                    part = Some(hundreds.checked_add(value)?);
                }
                (Some(ones @ 1..10), Some(tens)) if tens % 100 >= 20 && tens % 10 == 0 && !is_figures(word) => {
                    part = Some(tens + ones);
                }
                _ => break,
            },
        }
        place += 1;
    }
    let value = total.checked_add(part.unwrap_or_default())?;
    (part.is_some() || total > 0).then_some((value, place))
}

/// The longest row of digits, however they were grouped: "thirty-three four six", "double oh seven", "eight hundred".
pub fn digits(words: &[Word]) -> Option<(String, Range<usize>)> {
    let mut best: Option<(String, Range<usize>)> = None;
    let mut from = 0;
    while from < words.len() {
        let (row, to) = digits_at(words, from);
        let only_an_oh = words[from..to.max(from)].iter().all(|word| matches!(word.text.as_str(), "oh" | "o"));
        if !row.is_empty() && !only_an_oh && best.as_ref().is_none_or(|(longest, _)| row.len() > longest.len()) {
            best = Some((row, from..to));
        }
        from = to.max(from + 1);
    }
    best
}

fn digits_at(words: &[Word], from: usize) -> (String, usize) {
    const BETWEEN: [&str; 8] = ["and", "then", "dash", "hyphen", "minus", "um", "uh", "space"];
    let mut row = String::new();
    // After the last digit: words between digits belong to the row, those after it do not.
    let mut end = from;
    let mut place = from;
    while place < words.len() {
        let word = at(words, place);
        let times = match word {
            "double" => 2,
            "triple" => 3,
            _ => 1,
        };
        if times > 1 {
            place += 1;
        }
        match digit_group(words, place) {
            Some((group, next)) if times == 1 || group.len() == 1 => {
                row.push_str(&group.repeat(times));
                (place, end) = (next, next);
            }
            None if times == 1 && end > from && BETWEEN.contains(&word) => place += 1,
            _ => break,
        }
    }
    (row, end)
}

/// What was said in one breath: a figure, a number word, "ninety two", "eight hundred".
fn digit_group(words: &[Word], place: usize) -> Option<(String, usize)> {
    let word = at(words, place);
    if matches!(word, "oh" | "o") {
        return Some(("0".to_owned(), place + 1));
    }
    let value = value_of(word)?;
    let next = at(words, place + 1);
    if is_figures(word) {
        return Some((word.to_owned(), place + 1));
    }
    match value_of(next).filter(|ones| (1..10).contains(ones) && !is_figures(next)) {
        Some(ones) if value >= 20 => Some(((value + ones).to_string(), place + 2)),
        _ if next == "hundred" && value < 10 => Some(((value * 100).to_string(), place + 2)),
        _ => Some((value.to_string(), place + 1)),
    }
}

/// A telephone number: 7 to 15 digits (ITU-T E.164), with its plus if that was said.
pub fn phone(words: &[Word]) -> Option<(String, Range<usize>)> {
    let (row, range) = digits(words)?;
    if !(7..=15).contains(&row.len()) {
        return None;
    }
    match range.start.checked_sub(1).filter(|&before| at(words, before) == "plus") {
        Some(plus) => Some((format!("+{row}"), plus..range.end)),
        None => Some((row, range)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    #[test]
    fn numbers_are_read() {
        for (heard, wanted) in [
            ("go forward ten meters", Some(10)),
            ("twenty-five please", Some(25)),
            ("two hundred and five", Some(205)),
            ("1,200 dollars", Some(1_200)),
            ("three thousand four hundred", Some(3_400)),
            ("a hundred and one", Some(101)),
            ("a dozen", Some(12)),
            ("a couple of them", Some(2)),
            ("two million", Some(2_000_000)),
            ("a table for 4", Some(4)),
            ("four or five", Some(4)),
            ("four, five", Some(4)),
            ("the blue one", None),
            ("one please", Some(1)),
            ("some", None),
            ("", None),
            ("18446744073709551615 thousand", None),
        ] {
            assert_eq!(number(&words(heard)).map(|(value, _)| value), wanted, "{heard}");
        }
    }

    #[test]
    fn digits_are_read_however_they_were_grouped() {
        for (heard, wanted) in [
            ("thirty-three four six ninety-two", Some("334692")),
            ("33, 4, 6, 92.", Some("334692")),
            ("33 4692", Some("334692")),
            ("five five five, two one three, eight six four seven", Some("5552138647")),
            ("oh seven double two", Some("0722")),
            ("double five", Some("55")),
            ("triple oh seven", Some("0007")),
            ("it is 12 and then 7, for all 3 of us", Some("127")),
            ("eight hundred 55", Some("80055")),
            ("ninety one", Some("91")),
            ("oh well", None),
            ("none at all", None),
        ] {
            assert_eq!(digits(&words(heard)).map(|(row, _)| row).as_deref(), wanted, "{heard}");
        }
    }

    #[test]
    fn telephone_numbers_have_enough_digits_and_not_too_many() {
        for (heard, wanted) in [
            ("it's five five five, oh one double nine", Some("5550199")),
            ("plus one, 555 213 8647 thank you", Some("+15552138647")),
            ("+44 20 7946 0000", Some("+442079460000")),
            ("555", None),
            ("1234 5678 9012 3456", None),
        ] {
            assert_eq!(phone(&words(heard)).map(|(row, _)| row).as_deref(), wanted, "{heard}");
        }
    }
}
