//! From text to speech at the rate that is wanted, sentence by sentence, as loud as speech on a telephone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::g2p::Pronouncer;
use crate::level::level;
use crate::resample::Resampler;
use crate::spectrum;
use crate::synthesise::Synthesizer;

/// Samples a second of what is said.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rate {
    /// 8,000: telephones.
    Telephone,
    /// 24,000.
    Wide,
}

impl Rate {
    pub fn hz(self) -> u32 {
        match self {
            Rate::Telephone => 8_000,
            Rate::Wide => spectrum::RATE,
        }
    }
}

/// A voice with a tongue: pronounces and synthesizes. It holds some 70 MB, and works on one thing at a time.
pub struct Speaker {
    pronouncer: Pronouncer,
    synthesizer: Synthesizer,
    said: Arc<Said>,
}

/// Sentences longer than this are said in pieces, cut at commas or between words: what is heard first is heard sooner, and
/// the synthesis was trained on no more.
const SENTENCE_MAX: usize = 160;

/// Below this a sample at the ends is no speech yet (-46 dBFS).
const AUDIBLE: f32 = 0.005;

/// What is left before the first audible sample, and after the last: a breath between sentences.
const LEAD_MS: u32 = 20;
const TAIL_MS: u32 = 160;

impl Speaker {
    /// `said` is shared by speakers, so that what one has said the others need not say again.
    pub fn new(pronouncer: Pronouncer, synthesizer: Synthesizer, said: Arc<Said>) -> Self {
        Speaker { pronouncer, synthesizer, said }
    }

    /// One of the [`sentences`] of a text as samples, ±1. `speed` 1 is the speaker's own.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn say(&mut self, sentence: &str, rate: Rate, speed: f32) -> Result<Arc<[f32]>> {
        let key = (sentence.to_owned(), rate, speed.to_bits());
        if let Some(samples) = self.said.get(&key) {
            return Ok(samples);
        }
        let phonemes = self.pronouncer.phonemes(sentence)?;
        let mut samples = trimmed(self.synthesizer.say(&phonemes, speed)?);
        if rate == Rate::Telephone {
            samples = Resampler::convert(spectrum::RATE, rate.hz(), &samples);
        }
        // Last, since the filter rings a little beyond what goes in.
        level(&mut samples, rate.hz());
        let samples: Arc<[f32]> = samples.into();
        self.said.put(key, samples.clone());
        Ok(samples)
    }
}

/// Without the silence that the synthesis begins and ends with.
fn trimmed(mut samples: Vec<f32>) -> Vec<f32> {
    let audible = |sample: &f32| sample.abs() >= AUDIBLE;
    let (Some(first), Some(last)) = (samples.iter().position(audible), samples.iter().rposition(audible)) else {
        return Vec::new();
    };
    let ms = |ms: u32| (spectrum::RATE / 1_000 * ms) as usize;
    samples.resize((last + 1 + ms(TAIL_MS)).max(samples.len()), 0.0);
    samples.truncate(last + 1 + ms(TAIL_MS));
    samples.drain(..first.saturating_sub(ms(LEAD_MS)));
    samples
}

/// The sentences of a text, in pieces that can be said at once.
pub fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut sentence = String::new();
    let words: Vec<&str> = text.split_whitespace().collect();
    for (at, word) in words.iter().enumerate() {
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
        let long = sentence.len() >= SENTENCE_MAX;
        let clause = sentence.len() >= SENTENCE_MAX / 2 && word.ends_with([',', ';', ':', '—']);
        let next_begins = words.get(at + 1).is_some_and(|next| next.starts_with(|first: char| !first.is_lowercase()));
        if long || clause || (next_begins && ends_sentence(word)) {
            sentences.push(std::mem::take(&mut sentence));
        }
    }
    if !sentence.is_empty() {
        sentences.push(sentence);
    }
    sentences
}

/// Whether a word's period is the sentence's. Titles and initials have their own.
fn ends_sentence(word: &str) -> bool {
    const TITLES: [&str; 12] = ["Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Mt", "Gen", "Sen", "Capt", "Lt", "No"];
    let bare = word.trim_end_matches(['"', '”', '\'', ')', ']']);
    let Some(stem) = bare.strip_suffix('.') else { return bare.ends_with(['!', '?', '…']) };
    !(TITLES.contains(&stem) || (stem.len() == 1 && stem.chars().all(char::is_uppercase)))
}

type Key = (String, Rate, u32);

/// What was said, and will be said again: greetings, questions, goodbyes. The oldest is forgotten first.
#[derive(Default)]
pub struct Said {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    samples: HashMap<Key, Arc<[f32]>>,
    order: VecDeque<Key>,
    total: usize,
}

/// Samples kept: 8 MB, some four minutes of telephone speech.
const KEPT_MAX: usize = 2 << 20;

impl Said {
    fn get(&self, key: &Key) -> Option<Arc<[f32]>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).samples.get(key).cloned()
    }

    fn put(&self, key: Key, samples: Arc<[f32]>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.total += samples.len();
        if inner.samples.insert(key.clone(), samples).is_none() {
            inner.order.push_back(key);
        }
        while inner.total > KEPT_MAX {
            let Some(oldest) = inner.order.pop_front() else { break };
            let forgotten = inner.samples.remove(&oldest).map_or(0, |samples| samples.len());
            inner.total = inner.total.saturating_sub(forgotten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_said_sentence_by_sentence() {
        assert_eq!(
            sentences("Hi. Dr. Smith is in! Are you, J. Doe?  Yes..."),
            ["Hi.", "Dr. Smith is in!", "Are you, J. Doe?", "Yes..."]
        );
        assert_eq!(sentences("at 3 p.m. on Friday"), ["at 3 p.m. on Friday"]);
        assert!(sentences("  ").is_empty());
        let long = sentences(&"many words without an end ".repeat(40));
        assert!(long.len() > 4 && long.iter().all(|piece| piece.len() < SENTENCE_MAX + 20));
        let clauses = sentences(&"so it goes, ".repeat(20));
        assert!(clauses.len() > 1 && clauses[0].ends_with(','));
    }

    #[test]
    fn silence_around_speech_is_cut() {
        let mut samples = vec![0.0; 12_000];
        samples.extend([0.5; 2_400]);
        samples.extend([0.0; 1_000]);
        let cut = trimmed(samples);
        assert_eq!(cut.len(), 480 + 2_400 + 3_840);
        assert_eq!((cut[479], cut[480]), (0.0, 0.5));
        assert!(trimmed(vec![0.0; 100]).is_empty());
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_is_too_much() {
        let said = Said::default();
        let key = |name: u32| (name.to_string(), Rate::Wide, 0);
        for name in 0..5 {
            said.put(key(name), vec![0.0; KEPT_MAX / 4].into());
        }
        assert!(said.get(&key(0)).is_none() && (1..5).all(|name| said.get(&key(name)).is_some()));
    }
}
