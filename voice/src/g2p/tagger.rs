//! Which part of speech is a word here? "They *record* a *record*."
//!
//! An averaged perceptron over the word, its neighbours and the two tags before it (Penn Treebank tags). Its features and
//! weights are the package's; frequent words with one tag are in a dictionary.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Tagger {
    tags: Vec<String>,
    #[serde(rename = "tagdict")]
    certain: HashMap<String, String>,
    vocab: HashSet<String>,
    /// By feature: what it says for each tag.
    weights: HashMap<String, HashMap<String, f32>>,
}

/// Stands in for the words before the first and after the last.
const BEFORE: [&str; 2] = ["-START2-", "-START-"];
const AFTER: [&str; 2] = ["-END-", "-END2-"];

impl Tagger {
    /// One tag for each word. Punctuation marks are words too.
    pub fn tags(&self, words: &[&str]) -> Vec<String> {
        let seen = words.iter().map(|word| self.seen_as(word));
        let context: Vec<String> = BEFORE
            .iter()
            .map(|&edge| edge.to_owned())
            .chain(seen)
            .chain(AFTER.iter().map(|&edge| edge.to_owned()))
            .collect();
        let mut tags: Vec<String> = Vec::with_capacity(words.len());
        for (at, word) in words.iter().enumerate() {
            let before = |back: usize| match at.checked_sub(back) {
                Some(place) => tags[place].as_str(),
                None => BEFORE[1 + at - back],
            };
            let tag = match self.certain.get(*word) {
                Some(tag) => tag.clone(),
                None => self.likeliest(&features(
                    at,
                    word,
                    &context,
                    before(1),
                    if at == 0 { BEFORE[0] } else { before(2) },
                )),
            };
            tags.push(tag);
        }
        tags
    }

    fn likeliest(&self, features: &[String]) -> String {
        let mut scores: HashMap<&str, f32> = HashMap::new();
        for weights in features.iter().filter_map(|feature| self.weights.get(feature)) {
            for (tag, weight) in weights {
                *scores.entry(tag).or_default() += weight;
            }
        }
        if scores.is_empty() {
            return "NN".to_owned();
        }
        let score = |tag: &str| scores.get(tag).copied().unwrap_or_default();
        // Of two with the same score, the later one of the alphabet.
        let best = self.tags.iter().max_by(|a, b| score(a).total_cmp(&score(b)).then(a.cmp(b)));
        best.cloned().unwrap_or_else(|| "NN".to_owned())
    }

    /// A word as its neighbours see it: rare ones by their shape.
    fn seen_as(&self, word: &str) -> String {
        let digits = word.chars().all(|character| character.is_ascii_digit());
        let normal = if word.contains('-') && !word.starts_with('-') {
            "!HYPHEN".to_owned()
        } else if digits && word.len() == 4 {
            "!YEAR".to_owned()
        } else if word.starts_with(|character: char| character.is_ascii_digit()) {
            "!DIGITS".to_owned()
        } else {
            word.to_lowercase()
        };
        if self.vocab.contains(&normal) { normal } else { format!("<{}>", shape(word)) }
    }
}

fn features(at: usize, word: &str, context: &[String], before: &str, before_that: &str) -> [String; 15] {
    let here = at + 2;
    [
        "b".to_owned(),
        format!("s3={}", ending(word)),
        format!("p1={}", word.chars().next().unwrap_or_default()),
        format!("w={}", context[here]),
        format!("sh={}", shape(word)),
        if at == 0 { "i0" } else { "i+" }.to_owned(),
        format!("t-1={before}"),
        format!("t-2={before_that}"),
        format!("t-12={before},{before_that}"),
        format!("w-1={}", context[here - 1]),
        format!("s3-1={}", ending(&context[here - 1])),
        format!("w-2={}", context[here - 2]),
        format!("w+1={}", context[here + 1]),
        format!("s3+1={}", ending(&context[here + 1])),
        format!("w+2={}", context[here + 2]),
    ]
}

/// The last three characters.
fn ending(word: &str) -> &str {
    let from = word.char_indices().rev().nth(2).map_or(0, |(at, _)| at);
    &word[from..]
}

fn shape(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next();
    if word.chars().all(char::is_alphabetic) {
        let kind = if word.chars().all(char::is_lowercase) {
            "x"
        } else if word.chars().all(char::is_uppercase) {
            if word.chars().count() > 1 { "XX" } else { "X1" }
        } else if first.is_some_and(char::is_uppercase) && letters.all(char::is_lowercase) {
            "Xx"
        } else {
            "xX"
        };
        return kind.to_owned();
    }
    if word.chars().all(|character| character.is_ascii_digit()) {
        return "d".to_owned();
    }
    let one = |character: char| match character {
        _ if character.is_numeric() => 'd',
        _ if character.is_alphabetic() => 'x',
        other => other,
    };
    word.chars().take(4).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagger() -> Tagger {
        serde_json::from_value(serde_json::json!({
            "tags": ["DT", "NN", "PRP", "VB", "VBP"],
            "tagdict": {"the": "DT", "they": "PRP"},
            "vocab": ["the", "they", "record"],
            "weights": {
                "w=record": {"NN": 1.0, "VBP": 1.0},
                "t-1=DT": {"NN": 1.0},
                "t-1=PRP": {"VBP": 1.0},
                "sh=xX": {"VB": 3.0},
            },
        }))
        .unwrap()
    }

    #[test]
    fn what_is_before_decides() {
        assert_eq!(tagger().tags(&["they", "record", "the", "record"]), ["PRP", "VBP", "DT", "NN"]);
        assert_eq!(tagger().tags(&["iPad"]), ["VB"]);
        assert_eq!(tagger().tags(&["?"]), ["NN"]);
        assert!(tagger().tags(&[]).is_empty());
    }

    #[test]
    fn words_have_shapes_and_endings() {
        for (word, wanted) in [
            ("cat", "x"),
            ("Cat", "Xx"),
            ("CAT", "XX"),
            ("I", "X1"),
            ("iPad", "xX"),
            ("2026", "d"),
            ("10am", "ddxx"),
            ("n't", "x'x"),
        ] {
            assert_eq!(shape(word), wanted);
        }
        assert_eq!((ending("charged"), ending("at"), ending("été")), ("ged", "at", "été"));
    }
}
