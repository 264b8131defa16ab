//! Measurements whose results are in docs/voice.md. They judge nothing, so they are run by hand:
//!
//! ```sh
//! cargo test -p patchcord-voice --test measure -- --ignored --nocapture
//! ```
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

#[path = "../common/mod.rs"]
mod common;
mod costs;
mod intents;
mod turn_ends;
mod values;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use voice::Weights;
use voice::detect::{Hearing, Turn, TurnSettings, Turns};
use voice::dialogue::Flow;
use voice::expected::Expected;
use voice::recognise::Size;
use voice::resample::Resampler;
use voice::sentences::Sentences;
use voice::word_vectors::WordVectors;

use common::understanding;

/// What a server does with a caller's audio, without the server: turns, each recognised.
struct Ear {
    detector: voice::detect::Detector,
    recogniser: voice::recognise::Recogniser,
    /// How long each recognition took, and how long its audio was.
    took: Vec<(Duration, f32)>,
    /// Turns with less than a quarter of a second of speech.
    short: usize,
    /// What is not understood is not asked again.
    once: bool,
}

impl Ear {
    fn new(weights: &Weights) -> Self {
        Ear {
            detector: weights.detector().unwrap(),
            recogniser: weights.recogniser().unwrap(),
            took: Vec::new(),
            short: 0,
            once: false,
        }
    }

    /// One with each recogniser that is there.
    fn each() -> Vec<(Size, Ear)> {
        let all = common::recognisers("a measurement");
        all.iter().map(|weights| (weights.recogniser_size(), Ear::new(weights))).collect()
    }

    fn hear(&mut self, line: &[f32], expected: &Expected) -> String {
        let mut samples = vec![0.0; 4_000];
        samples
            .extend(line.iter().map(|sample| {
                f32::from(call::g711::decode(call::g711::encode((sample * 32_767.0) as i16))) / 32_768.0
            }));
        samples.resize(samples.len() + 8_000, 0.0);
        let mut probabilities = Vec::new();
        self.detector.hear(&mut Hearing::default(), &samples, &mut probabilities).unwrap();
        let mut turns = Turns::default();
        let mut from = 0;
        let mut texts = Vec::new();
        for probability in probabilities {
            match turns.step(probability, TurnSettings { threshold: 0.5, silence: 4_000 }) {
                Some(Turn::Started { at }) => from = (at as usize).saturating_sub(2_400),
                Some(Turn::Stopped { .. }) => {
                    let until = (turns.last_speech() as usize + 1_600).min(samples.len());
                    let spoken = Duration::from_micros(125 * turns.spoken());
                    self.short += usize::from(spoken < Duration::from_millis(250));
                    let spoken = if self.once { Duration::ZERO } else { spoken };
                    let began = Instant::now();
                    let wide = Resampler::convert(8_000, 16_000, &samples[from..until]);
                    texts.push(self.recogniser.recognise(&wide, spoken, expected).unwrap());
                    self.took.push((began.elapsed(), (until - from) as f32 / 8_000.0));
                }
                _ => {}
            }
        }
        texts.join(" ")
    }

    fn print_times(&mut self) {
        self.took.sort_by_key(|(took, _)| *took);
        let audio: f32 = self.took.iter().map(|(_, seconds)| seconds).sum();
        let all: Duration = self.took.iter().map(|(took, _)| took).sum();
        println!(
            "recognition: {} turns, {audio:.0} s of audio, {:.3} of real time, median {} ms, slowest {} ms",
            self.took.len(),
            all.as_secs_f32() / audio,
            self.took[self.took.len() / 2].0.as_millis(),
            self.took[self.took.len() - 1].0.as_millis()
        );
    }
}

/// Between white and what rooms and streets have: falls by half from 1 kHz to 3 kHz.
struct Noise {
    dice: u32,
}

impl Default for Noise {
    fn default() -> Self {
        Noise { dice: 0x9E37_79B9 }
    }
}

impl Noise {
    /// Of this part of the speech's power.
    fn add_to(&mut self, samples: &mut [f32], part: f32) {
        let mut low = 0.0;
        let noise: Vec<f32> = samples
            .iter()
            .map(|_| {
                self.dice ^= self.dice << 13;
                self.dice ^= self.dice >> 17;
                self.dice ^= self.dice << 5;
                low += 0.5 * (self.dice as f32 / u32::MAX as f32 - 0.5 - low);
                low
            })
            .collect();
        let power = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32;
        let gain = (part * power(samples) / power(&noise)).sqrt();
        samples.iter_mut().zip(noise).for_each(|(sample, noise)| *sample += gain * noise);
    }
}

fn prompts() -> Vec<(String, Vec<f32>)> {
    listed(include_str!("../data/prompts.txt"))
}

/// The prompts of a list with their texts, at 8 kHz.
fn listed(names: &str) -> Vec<(String, Vec<f32>)> {
    let folder = PathBuf::from(std::env::var("PATCHCORD_PROMPTS").expect("PATCHCORD_PROMPTS names no folder"));
    let packed = std::fs::read(folder.join("usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")).unwrap();
    let mut texts = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut texts).unwrap();
    let texts: BTreeMap<&str, &str> = texts.lines().filter_map(|line| line.split_once(": ")).collect();
    let names = names.lines().filter(|line| !line.starts_with('#'));
    names
        .map(|name| {
            let path = folder.join(format!("usr/share/asterisk/sounds/en_US_f_Allison/{name}.wav"));
            (texts[name].to_owned(), samples_of(&path))
        })
        .collect()
}

const FETCH: &str = "scripts/voice-models fetches it";

/// Draws that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// So many, none twice, in any order.
    fn some<'a, T>(&mut self, of: &'a [T], count: usize) -> Vec<&'a T> {
        let mut left: Vec<&T> = of.iter().collect();
        (0..count).map(|_| left.swap_remove((self.roll() % left.len() as u64) as usize)).collect()
    }
}

/// A flow with each way to understand it, and the reader of the first.
fn flows(text: &str) -> (Ways, Arc<Mutex<Sentences>>) {
    let mut sentences = Weights::open(&common::folder()).unwrap().sentences().unwrap().expect(FETCH);
    let vectors = WordVectors::open(&common::folder()).unwrap().expect(FETCH);
    let flow = understanding::flow(text);
    let by_sentences = flow.clone().with_sentences(|words| sentences.vector(words)).unwrap();
    let by_words = flow.clone().with_word_vectors(vectors);
    let ways = [("by sentences", by_sentences), ("by word vectors", by_words), ("without", flow)];
    (ways.map(|(way, flow)| (way, Arc::new(flow))), Arc::new(Mutex::new(sentences)))
}

type Ways = [(&'static str, Arc<Flow>); 3];

/// Those of a WAV file of 16 bits.
fn samples_of(path: &Path) -> Vec<f32> {
    let file = std::fs::read(path).unwrap();
    let data = file.windows(4).position(|window| window == b"data").unwrap() + 8;
    let samples = file[data..].as_chunks().0.iter();
    samples.map(|&pair| f32::from(i16::from_le_bytes(pair)) / 32_768.0).collect()
}
