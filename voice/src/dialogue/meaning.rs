//! Which intent is a sentence about? By [word vectors](crate::word_vectors), which see that "bring it back" and "return" are
//! alike. An intent is as near as the mean of its examples: that has what they have in common, and little of what one of them
//! merely mentions. Where the examples have little in common, one of them alone may be near, but has to be nearer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::nearest::says_nothing;
use crate::word_vectors::WordVectors;

/// Nearness (the cosine, at most 1) and so many times the lead over the second intent have to be this together: what is far
/// from all others may be further away. Both from `tests/data/understanding`, as the rest here.
const CLEAR: f32 = 0.58;
const LEAD_COUNTS: f32 = 1.5;

/// With less of a lead, two may be meant; and with more, the others have little to do with it, or there are none.
const LEAD_MIN: f32 = 0.05;
const LEAD_MAX: f32 = 0.2;

/// What a single example has to be nearer than the mean of them all.
const ALONE: f32 = 0.2;

/// What intents are about, by their examples.
#[derive(Clone, Debug)]
pub struct Meanings {
    vectors: Arc<WordVectors>,
    intents: BTreeMap<usize, Meaning>,
}

/// One intent's. The vectors are of length 1.
#[derive(Clone, Debug)]
struct Meaning {
    examples: Vec<(String, Vec<f32>)>,
    mean: Vec<f32>,
}

impl Meanings {
    pub fn new<'a>(vectors: Arc<WordVectors>, examples: impl Iterator<Item = (usize, &'a [String])>) -> Self {
        let mut intents = BTreeMap::new();
        for (intent, words) in examples {
            let text = words.join(" ");
            let vector = vectors.vector(&text);
            let meaning =
                intents.entry(intent).or_insert(Meaning { examples: Vec::new(), mean: vec![0.0; vector.len()] });
            meaning.mean.iter_mut().zip(&vector).for_each(|(sum, value)| *sum += value);
            meaning.examples.push((text, unit(vector)));
        }
        for meaning in intents.values_mut() {
            meaning.mean = unit(std::mem::take(&mut meaning.mean));
        }
        Meanings { vectors, intents }
    }

    /// The intent that is meant, if one is clearly.
    pub fn nearest(&self, words: &[String]) -> Option<usize> {
        let text = words.join(" ");
        // What differs only in the order of its words has the same vector: a whole example is known by its words.
        let is_whole = |meaning: &Meaning| meaning.examples.iter().any(|(example, _)| *example == text);
        if let Some((&intent, _)) = self.intents.iter().find(|(_, meaning)| is_whole(meaning)) {
            return Some(intent);
        }
        if says_nothing(words) {
            return None;
        }
        let vector = unit(self.vectors.vector(&text));
        let nearness = |meaning: &Meaning| {
            let alone = meaning.examples.iter().map(|(_, example)| dot(&vector, example) - ALONE);
            alone.fold(dot(&vector, &meaning.mean), f32::max)
        };
        let mut all: Vec<(f32, usize)> =
            self.intents.iter().map(|(&intent, meaning)| (nearness(meaning), intent)).collect();
        all.sort_by(|one, other| other.0.total_cmp(&one.0));
        let &(near, intent) = all.first()?;
        let lead = all.get(1).map_or(LEAD_MAX, |second| near - second.0).min(LEAD_MAX);
        (lead >= LEAD_MIN && near + LEAD_COUNTS * lead >= CLEAR).then_some(intent)
    }
}

/// The same direction, of length 1; 0 stays 0.
fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}
