//! Yes or no. Both, or neither, is none.

use std::ops::Range;

use super::words::{Word, has, is_at};

/// Rows that say yes although they have a no in them.
const YES_AFTER_ALL: [&str; 4] = ["no problem", "why not", "no doubt", "not a problem"];

/// Rows that say nothing, although they have a yes or a no in them.
const UNDECIDED: [&str; 6] = ["don't know", "do not know", "not sure", "no idea", "no opinion", "not certain"];

const YES: [&str; 28] = [
    "yes",
    "yeah",
    "yep",
    "yup",
    "yes please",
    "sure",
    "correct",
    "right",
    "exactly",
    "okay",
    "ok",
    "of course",
    "absolutely",
    "definitely",
    "certainly",
    "indeed",
    "please do",
    "do it",
    "go ahead",
    "go on",
    "sounds good",
    "that's fine",
    "that is fine",
    "perfect",
    "affirmative",
    "uh huh",
    "mm hmm",
    "all right",
];

const NO: [&str; 14] = [
    "no",
    "nope",
    "nah",
    "not",
    "wrong",
    "incorrect",
    "don't",
    "do not",
    "never",
    "negative",
    "isn't",
    "doesn't",
    "rather not",
    "stop",
];

/// Whether they said yes (`true`) or no, and its words.
pub fn yes(words: &[Word]) -> Option<(bool, Range<usize>)> {
    let says = |rows: &[&str]| rows.iter().any(|row| has(words, row));
    if says(&UNDECIDED) {
        return None;
    }
    if let Some(found) = range(words, &YES_AFTER_ALL) {
        return Some((true, found));
    }
    match (range(words, &YES), range(words, &NO)) {
        (Some(range), None) => Some((true, range)),
        // "That is not right."
        (Some(yes), Some(no))
            if no.start < yes.start && yes.start <= no.end + 1 && !is_at(words, no.start, &["no"]) =>
        {
            Some((false, no.start..yes.end))
        }
        (None, Some(range)) => Some((false, range)),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn range(words: &[Word], rows: &[&str]) -> Option<Range<usize>> {
    (0..words.len()).find_map(|place| {
        rows.iter().find_map(|row| {
            let row: Vec<&str> = row.split(' ').collect();
            is_at(words, place, &row).then(|| place..place + row.len())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    #[test]
    fn yes_and_no_are_read() {
        for (heard, wanted) in [
            ("Yes, please.", Some(true)),
            ("yeah", Some(true)),
            ("That's right.", Some(true)),
            ("okay, go ahead", Some(true)),
            ("no problem", Some(true)),
            ("sounds good", Some(true)),
            ("No.", Some(false)),
            ("nope", Some(false)),
            ("that is not right", Some(false)),
            ("please don't", Some(false)),
            ("that's wrong", Some(false)),
            ("No, Thursday.", Some(false)),
            ("I don't know", None),
            ("I'm not sure", None),
            ("yes, I mean no", None),
            ("no, that's right", None),
            ("Thursday", None),
            ("", None),
        ] {
            assert_eq!(yes(&words(heard)).map(|(yes, _)| yes), wanted, "{heard}");
        }
    }
}
