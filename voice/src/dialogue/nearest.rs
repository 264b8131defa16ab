//! Which example does a sentence resemble most? By words and pairs of words, and by groups of three letters, which
//! forgive an ending or a misheard letter. Rare ones weigh more than common ones.

use std::collections::HashMap;

/// Longer turns are not compared whole: nobody means one thing with more words.
const WORDS_MAX: usize = 60;

/// Similarity, 0 to 1, from which on an example is believed.
const NEAR: f32 = 0.42;

/// The words of a text: small letters, numbers as one word each.
pub fn words(text: &str) -> Vec<String> {
    let apart = |character: char| !(character.is_alphanumeric() || character == '\'');
    text.split(apart)
        .map(|word| word.trim_matches('\'').to_lowercase())
        .filter(|word| !word.is_empty())
        .take(WORDS_MAX)
        .collect()
}

/// Whether `phrase` occurs in `words`, word for word.
pub fn contains(words: &[String], phrase: &[String]) -> bool {
    words.windows(phrase.len()).any(|window| window == phrase)
}

/// Example sentences, each of an intent.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    vectors: Vec<(usize, Vector)>,
    /// In how many examples a feature is.
    counts: HashMap<String, f32>,
}

type Vector = HashMap<String, f32>;

impl Examples {
    pub fn new<'a>(examples: impl Iterator<Item = (usize, &'a str)>) -> Self {
        let texts: Vec<(usize, Vec<String>)> = examples.map(|(intent, text)| (intent, words(text))).collect();
        let mut all = Examples::default();
        for (_, words) in &texts {
            for feature in features(words).into_keys() {
                *all.counts.entry(feature).or_default() += 1.0;
            }
        }
        all.vectors = texts.iter().map(|(intent, words)| (*intent, all.vector(words, texts.len()))).collect();
        all
    }

    /// The intent of the example that is nearest, if it is near.
    pub fn nearest(&self, words: &[String]) -> Option<usize> {
        let vector = self.vector(words, self.vectors.len());
        let near = |(intent, example): &(usize, Vector)| (*intent, dot(&vector, example));
        let best = self.vectors.iter().map(near).max_by(|a, b| a.1.total_cmp(&b.1))?;
        (best.1 >= NEAR).then_some(best.0)
    }

    /// Of length 1.
    fn vector(&self, words: &[String], examples: usize) -> Vector {
        let mut vector = features(words);
        for (feature, value) in &mut vector {
            let count = self.counts.get(feature).copied().unwrap_or_default();
            *value *= ((examples as f32 + 1.0) / (count + 1.0)).ln() + 1.0;
        }
        let length = dot(&vector, &vector).sqrt();
        if length > 0.0 {
            vector.values_mut().for_each(|value| *value /= length);
        }
        vector
    }
}

/// What a sentence is made of, and how much each counts.
fn features(words: &[String]) -> Vector {
    let mut features = Vector::new();
    let words: Vec<&str> = words.iter().map(|word| if is_number(word) { "#" } else { word }).collect();
    for word in &words {
        let weight = if COMMON.contains(word) { 0.3 } else { 1.0 };
        *features.entry(format!("w:{word}")).or_default() += weight;
        let padded: Vec<char> = format!(" {word} ").chars().collect();
        for three in padded.windows(3) {
            *features.entry(format!("c:{}", String::from_iter(three))).or_default() += weight * 0.4;
        }
    }
    for pair in words.windows(2) {
        *features.entry(format!("p:{} {}", pair[0], pair[1])).or_default() += 0.4;
    }
    features
}

/// Words that are in every other sentence.
const COMMON: [&str; 32] = [
    "a", "an", "the", "i", "you", "your", "my", "me", "is", "are", "do", "does", "to", "of", "in", "on", "for", "and",
    "it", "can", "could", "would", "like", "please", "have", "be", "that", "this", "with", "at", "i'd", "want",
];

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit()) || super::slots::value_of(word).is_some()
}

fn dot(a: &Vector, b: &Vector) -> f32 {
    a.iter().filter_map(|(feature, value)| b.get(feature).map(|other| value * other)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_example_wins_and_a_far_one_does_not() {
        let examples = Examples::new(
            [(0, "I want a refund for my order"), (1, "where is my order"), (2, "I need to talk to a person")]
                .into_iter(),
        );
        let nearest = |text: &str| examples.nearest(&words(text));
        assert_eq!(nearest("where's my order?"), Some(1));
        assert_eq!(nearest("I would like a refund please"), Some(0));
        assert_eq!(nearest("Can I talk to a real person?"), Some(2));
        assert_eq!(nearest("what is the weather like"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(Examples::default().nearest(&words("hello")), None);
    }

    #[test]
    fn phrases_are_found_between_words_only() {
        assert!(contains(&words("Please, the code is 5."), &words("The code is")));
        assert!(!contains(&words("recode isle"), &words("code is")));
    }
}
