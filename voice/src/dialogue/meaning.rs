//! Which intent is a sentence about? By vectors, which see that "bring it back" and "return" are alike: of a network that reads
//! [sentences](crate::sentences), or the mean of those of [words](crate::word_vectors). An intent is as near as the mean of its
//! examples: that has what they have in common, and little of what one of them merely mentions. Or as near as the nearest few.

use std::collections::BTreeMap;

use super::nearest::says_nothing;

/// What a sentence is taken for, by its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meant {
    Clearly(usize),
    /// Nothing else is nearer, but it takes the caller to say whether it is meant.
    Perhaps(usize),
}

impl Meant {
    pub fn intent(self) -> usize {
        let (Meant::Clearly(intent) | Meant::Perhaps(intent)) = self;
        intent
    }
}

/// What is near enough. All of it by `tests/data/understanding`.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Nearness (the cosine, at most 1) and so many times the lead over the second intent have to be this together: what is far
    /// from all others may be further away.
    clear: f32,
    /// The same, to ask whether it is meant.
    perhaps: f32,
    lead_counts: f32,
    /// With less of a lead, two may be meant; and with more, the others have little to do with it, or there are none.
    lead_min: f32,
    lead_max: f32,
    /// What the nearest examples have to be nearer than the mean of them all.
    alone: f32,
    /// Of so many examples one has to be near, of twice as many two: among many, there is one that is near to anything.
    one_of: usize,
}

/// For the means of words' vectors.
pub const WORDS: Rule = Rule {
    clear: 0.58,
    perhaps: 0.35,
    lead_counts: 1.5,
    lead_min: 0.05,
    lead_max: 0.2,
    alone: 0.2,
    one_of: usize::MAX,
};

/// For vectors of sentences, which tell more things apart: what is meant is near one example as well as the mean.
pub const SENTENCES: Rule =
    Rule { clear: 0.44, perhaps: 0.35, lead_counts: 0.0, lead_min: 0.07, lead_max: 0.2, alone: 0.0, one_of: 5 };

/// What intents are about, by their examples.
#[derive(Clone, Debug)]
pub struct Meanings {
    rule: Rule,
    intents: BTreeMap<usize, Meaning>,
}

/// One intent's. The vectors are of length 1.
#[derive(Clone, Debug)]
struct Meaning {
    examples: Vec<(String, Vec<f32>)>,
    mean: Vec<f32>,
}

impl Meanings {
    /// # Errors
    /// If `vector`, which tells what words are about, has one.
    pub fn new<'a, E>(
        rule: Rule,
        examples: impl Iterator<Item = (usize, &'a [String])>,
        mut vector: impl FnMut(&[String]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut intents = BTreeMap::new();
        for (intent, words) in examples {
            let vector = vector(words)?;
            let meaning =
                intents.entry(intent).or_insert(Meaning { examples: Vec::new(), mean: vec![0.0; vector.len()] });
            meaning.mean.iter_mut().zip(&vector).for_each(|(sum, value)| *sum += value);
            meaning.examples.push((words.join(" "), unit(vector)));
        }
        for meaning in intents.values_mut() {
            meaning.mean = unit(std::mem::take(&mut meaning.mean));
        }
        Ok(Meanings { rule, intents })
    }

    /// The intent that is meant by these words, which are about `vector`.
    pub fn nearest(&self, words: &[String], vector: Vec<f32>) -> Option<Meant> {
        let text = words.join(" ");
        // Whatever else is as near: an example is known by its words.
        let is_whole = |meaning: &Meaning| meaning.examples.iter().any(|(example, _)| *example == text);
        if let Some((&intent, _)) = self.intents.iter().find(|(_, meaning)| is_whole(meaning)) {
            return Some(Meant::Clearly(intent));
        }
        if says_nothing(words) {
            return None;
        }
        let vector = unit(vector);
        let Rule { clear, perhaps, lead_counts, lead_min, lead_max, alone, one_of } = self.rule;
        let nearness = |meaning: &Meaning| {
            let mut examples: Vec<f32> = meaning.examples.iter().map(|(_, example)| dot(&vector, example)).collect();
            examples.sort_by(|one, other| other.total_cmp(one));
            examples.truncate((examples.len() / one_of).max(1));
            let nearest = examples.iter().sum::<f32>() / examples.len() as f32;
            dot(&vector, &meaning.mean).max(nearest - alone)
        };
        let mut all: Vec<(f32, usize)> =
            self.intents.iter().map(|(&intent, meaning)| (nearness(meaning), intent)).collect();
        all.sort_by(|one, other| other.0.total_cmp(&one.0));
        let &(near, intent) = all.first()?;
        let lead = all.get(1).map_or(lead_max, |second| near - second.0).min(lead_max);
        let sure = near + lead_counts * lead;
        if lead >= lead_min && sure >= clear {
            return Some(Meant::Clearly(intent));
        }
        (sure >= perhaps).then_some(Meant::Perhaps(intent))
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
