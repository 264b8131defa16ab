//! Which intent does a sentence mean most? Without word vectors ([`meaning`](super::meaning)): two measures, by the examples of
//! each.
//!
//! *Similarity* to the nearest example: words, pairs of words, and groups of three letters, which forgive an ending or a
//! misheard letter. *Coverage*: how much of what the caller said the intent's examples have at all, wherever it stands; words
//! that only one intent has weigh most, words that none has little. Other words for the same are seldom similar, but they
//! nearly always share a telling word.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Longer turns are not compared whole: nobody means one thing with more words.
const WORDS_MAX: usize = 60;

/// Similarity, 0 to 1, from which on an example is believed by itself.
const SIMILAR: f32 = 0.42;

/// Coverage, 0 to 1, from which on an intent is believed by itself.
const COVERED: f32 = 0.4;

/// The two together have to be this much more for the best intent than for the second.
const AHEAD: f32 = 0.1;

/// What a word counts that no intent has, as part of one that only one has: people say more than they have to.
const UNKNOWN: f32 = 0.35;

/// What a word counts that is another form of one in the examples, as part of that one.
const OTHER_FORM: f32 = 0.8;

/// The words of a text: small letters, numbers as one word each.
pub fn words(text: &str) -> Vec<String> {
    let apart = |character: char| !(character.is_alphanumeric() || character == '\'');
    text.split(apart)
        .map(|word| word.trim_matches('\'').trim_end_matches("'s").to_lowercase())
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
    texts: Vec<(usize, Vec<String>)>,
    /// Those of the texts, in their order.
    vectors: Vec<(usize, Vector)>,
    /// In how many examples a feature is.
    counts: HashMap<String, f32>,
    /// The telling words of each intent.
    words: BTreeMap<usize, HashSet<String>>,
}

type Vector = HashMap<String, f32>;

impl Examples {
    pub fn new<'a>(examples: impl Iterator<Item = (usize, &'a str)>) -> Self {
        let texts: Vec<(usize, Vec<String>)> = examples.map(|(intent, text)| (intent, words(text))).collect();
        let mut all = Examples::default();
        for (intent, words) in &texts {
            all.words.entry(*intent).or_default().extend(telling(words).map(str::to_owned));
            for feature in features(words).into_keys() {
                *all.counts.entry(feature).or_default() += 1.0;
            }
        }
        all.vectors = texts.iter().map(|(intent, words)| (*intent, all.vector(words, texts.len()))).collect();
        Examples { texts, ..all }
    }

    /// The words of each, with its intent.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[String])> {
        self.texts.iter().map(|(intent, words)| (*intent, words.as_slice()))
    }

    /// The intent that is meant, if one is clearly.
    pub fn nearest(&self, words: &[String]) -> Option<usize> {
        if says_nothing(words) {
            return None;
        }
        let vector = self.vector(words, self.vectors.len());
        let mut scores: Vec<(f32, f32, usize)> = Vec::with_capacity(self.words.len());
        for &intent in self.words.keys() {
            let examples = self.vectors.iter().filter(|(of, _)| *of == intent);
            let similarity = examples.map(|(_, example)| dot(&vector, example)).fold(0.0, f32::max);
            scores.push((similarity, self.coverage(words, intent), intent));
        }
        scores.sort_by(|a, b| (b.0 + b.1).total_cmp(&(a.0 + a.1)));
        let &(similarity, coverage, intent) = scores.first()?;
        let second = scores.get(1).map_or(0.0, |second| second.0 + second.1);
        let believed = similarity >= SIMILAR || coverage >= COVERED;
        (believed && similarity + coverage >= second + AHEAD).then_some(intent)
    }

    /// The part of what was said that the intent's examples have.
    fn coverage(&self, words: &[String], intent: usize) -> f32 {
        let intents = self.words.len() as f32;
        let rarity = |count: usize| ((intents + 1.0) / (count as f32 + 0.5)).ln();
        let (mut covered, mut all) = (0.0, 0.0);
        for word in telling(words) {
            let having = |form: fn(&str, &str) -> bool| {
                let known = move |words: &HashSet<String>| words.iter().any(|known| form(known, word));
                let count = self.words.values().filter(|words| known(words)).count();
                (count, self.words.get(&intent).is_some_and(known))
            };
            let (same, here) = having(|known, word| known == word);
            let (count, here, factor) = if same > 0 {
                (same, here, 1.0)
            } else {
                let (alike, here) = having(other_form);
                (alike, here, OTHER_FORM)
            };
            let weight = if count > 0 { rarity(count) } else { rarity(1) * UNKNOWN };
            all += weight;
            covered += if here { weight * factor } else { 0.0 };
        }
        if all > 0.0 { covered / all } else { 0.0 }
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

/// Whether no wish can be in these words, whatever they are near to.
pub fn says_nothing(words: &[String]) -> bool {
    telling(words).all(|word| NOT_UNDERSTOOD.contains(&word))
}

/// The words that are not in every other sentence, numbers as one.
pub fn telling(words: &[String]) -> impl Iterator<Item = &str> {
    let word = |word: &'_ String| !COMMON.contains(&word.as_str());
    words.iter().filter(move |text| word(text)).map(|text| if is_number(text) { "#" } else { text.as_str() })
}

/// "Park" and "parking", "reserve" and "reservation": the first half is the same, and at least four letters.
fn other_form(a: &str, b: &str) -> bool {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    common >= 4 && 2 * common >= a.chars().count().max(b.chars().count())
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
const COMMON: [&str; 45] = [
    "what", "we", "us", "am", "was", "will", "has", "not", "there", "some", "any", "tell", "yes", "a", "an", "the",
    "i", "you", "your", "my", "me", "is", "are", "do", "does", "to", "of", "in", "on", "for", "and", "it", "can",
    "could", "would", "like", "please", "have", "be", "that", "this", "with", "at", "i'd", "want",
];

/// Words that are no wish: a number alone (`#`), a no, and what those say who did not understand us or are still thinking.
const NOT_UNDERSTOOD: [&str; 11] = ["#", "no", "pardon", "sorry", "excuse", "huh", "hm", "hmm", "um", "uh", "well"];

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
            [
                (0, "I want a refund for my order"),
                (1, "where is my order"),
                (2, "I need to talk to a person"),
                (3, "what do you sell"),
                (4, "there is no sound"),
            ]
            .into_iter(),
        );
        let nearest = |text: &str| examples.nearest(&words(text));
        assert_eq!(nearest("where's my order?"), Some(1));
        assert_eq!(nearest("I would like a refund please"), Some(0));
        assert_eq!(nearest("Can I talk to a real person?"), Some(2));
        assert_eq!(nearest("I have never seen the person, and nobody else did"), None);
        assert_eq!(nearest("How about refunding it?"), Some(0));
        assert_eq!(nearest("what is the weather like"), None);
        assert_eq!(nearest("Hmm, what?"), None);
        assert_eq!(nearest("No."), None);
        assert_eq!(nearest(""), None);
        assert_eq!(Examples::default().nearest(&words("hello")), None);
    }

    #[test]
    fn phrases_are_found_between_words_only() {
        assert!(contains(&words("Please, the code is 5."), &words("The code is")));
        assert!(!contains(&words("recode isle"), &words("code is")));
    }
}
