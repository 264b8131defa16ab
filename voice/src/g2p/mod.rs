//! From text to phonemes, in the alphabet of the [synthesis](crate::synthesise): American English.
//!
//! [`written`] makes words of what is written, [`tagger`] tells their parts of speech, [`lexicon`] pronounces them, from the
//! last to the first, since some sound otherwise before a vowel; [`unknown`] reads what the lexicon has not.

mod lexicon;
pub(crate) mod numbers;
mod stress;
mod tagger;
mod unknown;
mod written;

use std::path::Path;

use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result, read};
use crate::runtime::Runtime;

use lexicon::{Asked, Dictionary, Following, Lexicon};
use stress::{Emphasis, PRIMARY, emphasised, is_consonant, is_vowel, weight};
use tagger::Tagger;
use unknown::Unknown;
use written::Token;

/// Pronounces texts.
pub struct Pronouncer {
    lexicon: Lexicon,
    tagger: Tagger,
    unknown: Unknown,
}

impl Pronouncer {
    /// Loads the dictionaries, the tagger and the network for unknown words in `folder`.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn load(runtime: &Runtime, folder: &Path) -> Result<Pronouncer> {
        let gold: Dictionary = unpacked(&folder.join("lexicon_us_gold.json.gz"))?;
        let silver: Dictionary = unpacked(&folder.join("lexicon_us_silver.json.gz"))?;
        Ok(Pronouncer {
            lexicon: Lexicon::new(gold, silver),
            tagger: unpacked(&folder.join("tagger.json.gz"))?,
            unknown: Unknown::load(runtime, folder)?,
        })
    }

    /// The phonemes of one sentence, with its marks.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn phonemes(&mut self, sentence: &str) -> Result<String> {
        let tokens = written::tokens(sentence);
        let tags = self.tags(&tokens);
        let mut following = Following::default();
        let mut said: Vec<String> = Vec::with_capacity(tokens.len());
        for (token, tag) in tokens.iter().zip(&tags).rev() {
            match token {
                Token::Mark { mark, .. } => {
                    said.push(mark.to_string());
                    if !"“”()".contains(*mark) {
                        following = Following::default();
                    }
                }
                Token::Word { text, emphasis, .. } => {
                    let phonemes = self.word(text, tag, *emphasis, following)?;
                    let first = phonemes.chars().find(|&sound| is_vowel(sound) || is_consonant(sound));
                    following = Following {
                        vowel: first.map_or(following.vowel, |sound| Some(is_vowel(sound))),
                        to: matches!(text.as_str(), "to" | "To"),
                    };
                    said.push(phonemes);
                }
            }
        }
        let mut out = String::new();
        for (token, phonemes) in tokens.iter().zip(said.iter().rev()) {
            let (Token::Word { spaced, .. } | Token::Mark { spaced, .. }) = token;
            if *spaced && !out.is_empty() {
                out.push(' ');
            }
            // The synthesis was trained with one letter for each flap, and with no glottal stop.
            out.extend(phonemes.chars().map(|sound| match sound {
                'ɾ' => 'T',
                'ʔ' => 't',
                other => other,
            }));
        }
        Ok(out)
    }

    /// One tag for each token. Words are tagged in the parts that the tagger was trained with: "do", "n't".
    fn tags(&self, tokens: &[Token]) -> Vec<String> {
        let mut parts: Vec<(usize, String)> = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Mark { mark, .. } => parts.push((at, mark.to_string())),
                Token::Word { text, .. } => {
                    parts.extend(split_for_tags(text).into_iter().map(|part| (at, part.to_owned())))
                }
            }
        }
        let words: Vec<&str> = parts.iter().map(|(_, part)| part.as_str()).collect();
        let mut tags = vec![String::new(); tokens.len()];
        let mut weights = vec![0; tokens.len()];
        for ((at, part), tag) in parts.iter().zip(self.tagger.tags(&words)) {
            // The longest part speaks for the word; capitals count twice.
            let weight: usize = part.chars().map(|character| if character.is_uppercase() { 2 } else { 1 }).sum();
            if weight > weights[*at] {
                weights[*at] = weight;
                tags[*at] = tag;
            }
        }
        tags
    }

    fn word(&mut self, text: &str, tag: &str, emphasis: Option<Emphasis>, following: Following) -> Result<String> {
        if let Some(phonemes) = self.known(text, tag, following) {
            return Ok(emphasised(&phonemes, emphasis));
        }
        let parts = parts(text);
        if parts.len() > 1 {
            let mut following = following;
            let mut said = Vec::with_capacity(parts.len());
            for part in parts.iter().rev() {
                let phonemes = match self.known(part, tag, following) {
                    Some(phonemes) => phonemes,
                    None => self.unknown.pronounce(part)?,
                };
                let first = phonemes.chars().find(|&sound| is_vowel(sound) || is_consonant(sound));
                following = Following { vowel: first.map(is_vowel).or(following.vowel), to: *part == "to" };
                said.push((part.len(), phonemes));
            }
            said.reverse();
            return Ok(compound(said));
        }
        self.unknown.pronounce(text)
    }

    fn known(&self, word: &str, tag: &str, following: Following) -> Option<String> {
        let emphasis = match word {
            _ if word == word.to_lowercase() => None,
            _ if word == word.to_uppercase() => Some(Emphasis::Strong),
            _ => Some(Emphasis::Some),
        };
        self.lexicon.pronounce(Asked { word, tag, emphasis, following })
    }
}

/// The words of a text as they are said: numbers, dates and abbreviations written out.
pub fn spoken(text: &str) -> Vec<String> {
    let word = |token| match token {
        Token::Word { text, .. } => Some(text),
        Token::Mark { .. } => None,
    };
    written::tokens(text).into_iter().filter_map(word).collect()
}

/// One word of several: only about half of its parts keep their stress, the longer ones.
fn compound(mut parts: Vec<(usize, String)>) -> String {
    let mut by_weight: Vec<(bool, usize, usize)> = parts
        .iter()
        .enumerate()
        .filter(|(_, (_, phonemes))| !phonemes.is_empty())
        .map(|(at, (_, phonemes))| (phonemes.contains(PRIMARY), weight(phonemes), at))
        .collect();
    let reduce =
        |parts: &mut Vec<(usize, String)>, at: usize| parts[at].1 = emphasised(&parts[at].1, Some(Emphasis::Reduced));
    let stressed = by_weight.iter().filter(|(stressed, _, _)| *stressed).count();
    if by_weight.len() == 2 && parts[by_weight[0].2].0 == 1 {
        // A letter before a word: "T-shirt".
        reduce(&mut parts, by_weight[1].2);
    } else if by_weight.len() >= 2 && stressed > by_weight.len().div_ceil(2) {
        by_weight.sort_unstable();
        for &(_, _, at) in &by_weight[..by_weight.len() / 2] {
            reduce(&mut parts, at);
        }
    }
    parts.into_iter().map(|(_, phonemes)| phonemes).collect()
}

/// The words that a word is made of: at hyphens, and where a capital follows a small letter.
fn parts(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for piece in word.split(['-', '.']).filter(|piece| !piece.is_empty()) {
        let mut from = 0;
        let mut before: Option<char> = None;
        for (at, character) in piece.char_indices() {
            if character.is_uppercase() && before.is_some_and(char::is_lowercase) {
                parts.push(&piece[from..at]);
                from = at;
            }
            before = Some(character);
        }
        parts.push(&piece[from..]);
    }
    parts
}

/// "don't" as "do" and "n't", "we'll" as "we" and "'ll", "two-bedroom" at its hyphen.
fn split_for_tags(word: &str) -> Vec<&str> {
    let lower = word.to_lowercase();
    for ending in ["n't", "'s", "'m", "'re", "'ve", "'ll", "'d"] {
        if lower.ends_with(ending) && lower.len() > ending.len() && lower.len() == word.len() {
            let (stem, ending) = word.split_at(word.len() - ending.len());
            return vec![stem, ending];
        }
    }
    if word.contains('-') && word.len() > 1 {
        let mut parts = Vec::new();
        for (at, part) in word.split('-').enumerate() {
            if at > 0 {
                parts.push("-");
            }
            if !part.is_empty() {
                parts.push(part);
            }
        }
        return parts;
    }
    vec![word]
}

/// JSON in a gzip file.
fn unpacked<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let packed = read(path)?;
    // The tagger has 8 MB; nothing here has ten times that.
    let limited = std::io::Read::take(GzDecoder::new(packed.as_slice()), 80 << 20);
    serde_json::from_reader(std::io::BufReader::new(limited)).map_err(|error| Error::damaged(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart() {
        assert_eq!(parts("two-bedroom"), ["two", "bedroom"]);
        assert_eq!(parts("YouTube"), ["You", "Tube"]);
        assert_eq!(parts("plain"), ["plain"]);
        assert_eq!(split_for_tags("don't"), ["do", "n't"]);
        assert_eq!(split_for_tags("I'm"), ["I", "'m"]);
        assert_eq!(split_for_tags("check-in"), ["check", "-", "in"]);
        assert_eq!(split_for_tags("n't"), ["n't"]);
    }

    #[test]
    fn a_compound_has_one_main_stress_for_two_words() {
        let of = |parts: &[&str]| compound(parts.iter().map(|part| (part.len(), (*part).to_owned())).collect());
        assert_eq!(of(&["tˈu", "bˈɛdɹˌum"]), "tˌubˈɛdɹˌum");
        assert_eq!(of(&["ðə", "kˈæt"]), "ðəkˈæt");
        assert_eq!(of(&["kˈæt"]), "kˈæt");
    }
}
