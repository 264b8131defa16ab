//! Ears beside a model that is elsewhere: is somebody speaking, and is it the caller or our own echo? (B4, B7)
//!
//! A [`Listener`] follows one call: the caller's audio, and the agent's as it is played. [`Ears`] is the thread that does
//! the listening for all calls, behind a bounded queue. Whoever carries a call gives each frame away and never waits; when
//! there is no room the ear is deaf, says so, and begins anew with the next frame that finds some.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use call::EarInput;
use call::g711;
use tokio::sync::mpsc;

use crate::detect::{Detector, Hearing, Turn, TurnSettings, Turns};
use crate::error::Result;
use crate::threads::{Jobs, Queue};
use crate::weights::Weights;

/// How one call is listened to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EarSettings {
    /// Probability at which a sound counts as speech, 0 to 1.
    pub threshold: f32,
    /// What sounds like what is being played is our own echo, and not the caller (B7).
    pub echo_gate: bool,
    /// Music is expected: singing is not the caller (O3).
    pub music: bool,
}

/// Probability of speech below which music may still be singing. Silero hears a voice in it now and then, never for long.
const MUSIC_THRESHOLD: f32 = 0.8;

/// Steps of 32 ms for which speech has to go on, once it was noticed, where music is expected: a quarter of a second.
const MUSIC_STEPS: u32 = 8;

/// Samples of silence that end speech for an ear: 256 ms. A pause between words is shorter, and nothing waits for it.
const SILENCE: u64 = 2_048;

/// One call, listened to. Without threads and without a clock.
#[derive(Clone, Debug)]
pub struct Listener {
    settings: EarSettings,
    hearing: Hearing,
    turns: Turns,
    speech: Speech,
    echo: Echo,
    probabilities: Vec<f32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Speech {
    None,
    /// For so many steps, and not told: too short yet, or our own echo.
    Suspected(u32),
    Told,
}

impl Listener {
    pub fn new(settings: EarSettings) -> Self {
        Listener {
            settings,
            hearing: Hearing::default(),
            turns: Turns::default(),
            speech: Speech::None,
            echo: Echo::default(),
            probabilities: Vec::with_capacity(2),
        }
    }

    /// The agent's audio (µ-law, 8 kHz) that is expected to begin playing at this moment of the call.
    pub fn agent(&mut self, at: Duration, audio: &[u8]) {
        self.echo.played(position(at), audio);
    }

    /// Nothing of the agent after this moment is played.
    pub fn cleared(&mut self, at: Duration) {
        self.echo.cleared(position(at));
    }

    /// The caller's audio (µ-law, 8 kHz) from this moment of the call, and what is to be told of it.
    ///
    /// # Errors
    /// If the detector's runtime refuses.
    pub fn caller(&mut self, detector: &mut Detector, at: Duration, audio: &[u8]) -> Result<Vec<EarInput>> {
        let samples: Vec<f32> = audio.iter().map(|&byte| sample(byte)).collect();
        self.echo.heard(position(at), &samples);
        self.probabilities.clear();
        detector.hear(&mut self.hearing, &samples, &mut self.probabilities)?;
        let probabilities = std::mem::take(&mut self.probabilities);
        let facts = probabilities.iter().filter_map(|probability| self.step(*probability)).collect();
        self.probabilities = probabilities;
        Ok(facts)
    }

    fn step(&mut self, probability: f32) -> Option<EarInput> {
        let EarSettings { threshold, music, .. } = self.settings;
        let threshold = if music { threshold.max(MUSIC_THRESHOLD) } else { threshold };
        match self.turns.step(probability, TurnSettings { threshold, silence: SILENCE }) {
            Some(Turn::Started { .. }) => self.speech = Speech::Suspected(0),
            Some(Turn::Stopped { .. }) => {
                let told = std::mem::replace(&mut self.speech, Speech::None) == Speech::Told;
                return told.then_some(EarInput::SpeechStopped);
            }
            Some(Turn::Paused { .. } | Turn::Resumed) | None => {}
        }
        let Speech::Suspected(steps) = self.speech else { return None };
        self.speech = Speech::Suspected(steps + 1);
        let long_enough = !music || steps >= MUSIC_STEPS;
        // Speech that is ending is not worth a hold any more.
        if !long_enough || self.turns.is_pausing() || (self.settings.echo_gate && self.echo.is_all()) {
            return None;
        }
        self.speech = Speech::Told;
        Some(EarInput::SpeechStarted)
    }
}

fn position(at: Duration) -> u64 {
    u64::try_from(at.as_micros() / 125).unwrap_or(u64::MAX)
}

fn sample(byte: u8) -> f32 {
    f32::from(g711::decode(byte)) / 32_768.0
}

/// Samples that are compared: 128 ms, longer than a period of any voice, and short enough to notice who speaks over it.
const WINDOW: usize = 1_024;

/// The longest way of an echo, in samples: half a second is the network there and back, and the room.
const WAY_MAX: usize = 4_000;

/// Samples around a way that was found, in which it is looked for first: clocks drift, and marks correct ours.
const WAY_NEAR: usize = 48;

/// Correlation from which on a sound is what was played. One voice with another, whatever the delay, stays below; a
/// copy stays above until something of the same loudness is said over it.
const ALIKE: f64 = 0.7;

/// A sample of the agent that can be heard: −50 dBFS.
const AUDIBLE: f32 = 0.003;

/// Power of a window in which nothing can be heard: −70 dBFS.
const SILENT: f64 = 1e-7 * WINDOW as f64;

/// Power of a window of the caller so quiet that, while the agent is heard, nobody could tell it from the rounding of an
/// echo: −50 dBFS. The first consonant of a loud caller is soon followed by more.
const UNCLEAR: f64 = 1e-5 * WINDOW as f64;

/// Samples of the agent that are kept: the window, the way, and what is sent ahead.
const PLAYED_MAX: usize = 16_000;

/// Compares what the caller's line carries with what was played into it. Positions are samples since the call began.
#[derive(Clone, Debug, Default)]
struct Echo {
    played: Stretch,
    heard: Stretch,
    /// How far behind the echo was when one was last found.
    way: Option<usize>,
}

/// Samples from a position on.
#[derive(Clone, Debug, Default)]
struct Stretch {
    from: u64,
    samples: VecDeque<f32>,
}

impl Stretch {
    fn end(&self) -> u64 {
        self.from + self.samples.len() as u64
    }

    /// Puts samples at their place: what was there is replaced, what is missing before them is silence.
    fn put(&mut self, at: u64, samples: impl Iterator<Item = f32>, max: usize) {
        if at < self.from || at > self.end() + max as u64 {
            *self = Stretch { from: at, samples: VecDeque::new() };
        }
        self.samples.resize((at - self.from) as usize, 0.0);
        self.samples.extend(samples);
        let over = self.samples.len().saturating_sub(max);
        self.samples.drain(..over);
        self.from += over as u64;
    }

    fn at(&self, position: i64) -> f32 {
        let index = usize::try_from(position - self.from as i64).ok();
        index.and_then(|index| self.samples.get(index)).copied().unwrap_or(0.0)
    }
}

impl Echo {
    fn played(&mut self, at: u64, audio: &[u8]) {
        self.played.put(at, audio.iter().map(|&byte| sample(byte)), PLAYED_MAX);
    }

    fn cleared(&mut self, at: u64) {
        if at < self.played.end() {
            self.played.samples.truncate(at.saturating_sub(self.played.from) as usize);
        }
    }

    fn heard(&mut self, at: u64, samples: &[f32]) {
        self.heard.put(at, samples.iter().copied(), WINDOW);
    }

    /// Whether what was heard last is what was played, and nothing else.
    fn is_all(&mut self) -> bool {
        let heard_power: f64 = self.heard.samples.iter().map(|sample| f64::from(sample * sample)).sum();
        let agent_speaks = self.played.samples.iter().any(|sample| sample.abs() > AUDIBLE);
        if agent_speaks && heard_power < UNCLEAR {
            return true;
        }
        let near = self.way.map(|way| way.saturating_sub(WAY_NEAR)..=(way + WAY_NEAR).min(WAY_MAX));
        self.way = near.and_then(|ways| self.look(ways)).or_else(|| self.look(0..=WAY_MAX));
        self.way.is_some()
    }

    /// The way by which what was heard is most alike what was played, if it is alike enough.
    fn look(&self, ways: std::ops::RangeInclusive<usize>) -> Option<usize> {
        let (first, last) = (*ways.start(), *ways.end());
        let heard: Vec<f32> = self.heard.samples.iter().copied().collect();
        let end = self.heard.end() as i64;
        let from = end - (heard.len() + last) as i64;
        let played: Vec<f32> = (from..end - first as i64).map(|position| self.played.at(position)).collect();
        // Of all that lies before each sample.
        let powers: Vec<f64> = std::iter::once(0.0)
            .chain(played.iter().scan(0.0, |sum, sample| {
                *sum += f64::from(sample * sample);
                Some(*sum)
            }))
            .collect();
        let heard_power = f64::from(product(&heard, &heard));
        let alike = |way: usize| {
            let window = last - way..last - way + heard.len();
            let power = powers[window.end] - powers[window.start];
            // An echo may come upside down. Of what is as good as silent, there is none.
            let product = f64::from(product(&played[window], &heard).abs());
            if power.min(heard_power) < SILENT { 0.0 } else { product / (heard_power * power).sqrt() }
        };
        let (way, most) = ways.map(|way| (way, alike(way))).max_by(|one, other| one.1.total_cmp(&other.1))?;
        (most >= ALIKE).then_some(way)
    }
}

/// Eight sums beside each other: the compiler may not reorder one.
fn product(one: &[f32], other: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    for (one, other) in one.chunks_exact(LANES).zip(other.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let rest = one.len() / LANES * LANES;
    sums.iter().sum::<f32>() + one[rest..].iter().zip(&other[rest..]).map(|(one, other)| one * other).sum::<f32>()
}

// ── The thread ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// The thread that listens for all calls. The last of this's clones and of all ears waits for its end.
#[derive(Clone)]
pub struct Ears {
    jobs: Arc<Queue<Job>>,
    places: Arc<Places>,
}

#[derive(Debug)]
struct Places {
    taken: AtomicUsize,
    max: usize,
    /// Frames that found no room, in all calls.
    missed: AtomicU64,
}

/// One call's ear.
pub struct Ear {
    jobs: Arc<Queue<Job>>,
    places: Arc<Places>,
    shared: Arc<Mutex<Listener>>,
    settings: EarSettings,
    facts: mpsc::Sender<EarInput>,
    /// The last frame found no room, and the listener has to begin anew; what still waits is not to be told.
    deaf: Arc<AtomicBool>,
}

struct Job {
    listener: Arc<Mutex<Listener>>,
    /// What the listener heard before is of no use.
    anew: Option<EarSettings>,
    what: What,
    facts: mpsc::Sender<EarInput>,
    deaf: Arc<AtomicBool>,
}

enum What {
    Caller { at: Duration, audio: Vec<u8> },
    Agent { at: Duration, audio: Vec<u8> },
    Cleared { at: Duration },
}

/// Facts of one ear that may wait to be taken: a few are all that a second has.
const FACTS_MAX: usize = 64;

impl Ears {
    /// Loads the detector and starts the thread. `ears_max`: calls that are listened to at once; `backlog_frames`: frames
    /// of each that may wait.
    ///
    /// # Errors
    /// If the detector is missing or damaged.
    pub fn start(weights: &Weights, ears_max: usize, backlog_frames: usize) -> Result<Ears> {
        let mut detector = weights.detector()?;
        // Twice: the agent's audio comes with the caller's.
        let room = 2 * ears_max.max(1) * backlog_frames.max(1);
        let work = move |jobs: Jobs<Job>| jobs.for_each(|job| listen(&mut detector, job));
        let jobs = Queue::start("ears", room, [work]);
        let places = Places { taken: AtomicUsize::new(0), max: ears_max, missed: AtomicU64::new(0) };
        Ok(Ears { jobs, places: Arc::new(places) })
    }

    /// An ear for one more call, and where it tells what it hears. `None`: as many calls as may be are listened to.
    pub fn ear(&self, settings: EarSettings) -> Option<(Ear, mpsc::Receiver<EarInput>)> {
        let more = |taken: usize| (taken < self.places.max).then_some(taken + 1);
        self.places.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let (facts, told) = mpsc::channel(FACTS_MAX);
        let ear = Ear {
            jobs: self.jobs.clone(),
            places: self.places.clone(),
            shared: Arc::new(Mutex::new(Listener::new(settings))),
            settings,
            facts,
            deaf: Arc::new(AtomicBool::new(true)),
        };
        Some((ear, told))
    }

    /// Frames so far that were not listened to because there was more to do than one thread can.
    pub fn missed(&self) -> u64 {
        self.places.missed.load(Ordering::Relaxed)
    }

    /// Calls that are listened to now.
    pub fn taken(&self) -> usize {
        self.places.taken.load(Ordering::Relaxed)
    }
}

impl Ear {
    /// The caller's audio from this moment of the call. Never waits.
    pub fn caller(&mut self, at: Duration, audio: &[u8]) {
        self.give(What::Caller { at, audio: audio.to_vec() });
    }

    /// The agent's audio that is expected to begin playing at this moment of the call. Never waits.
    pub fn agent(&mut self, at: Duration, audio: &[u8]) {
        self.give(What::Agent { at, audio: audio.to_vec() });
    }

    /// Nothing of the agent after this moment is played. Never waits.
    pub fn cleared(&mut self, at: Duration) {
        self.give(What::Cleared { at });
    }

    /// Another stream of the same call: what was heard before says nothing of it.
    pub fn begin_anew(&mut self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    fn give(&mut self, what: What) {
        // The listener clears it, when it begins anew.
        let anew = self.deaf.load(Ordering::Relaxed).then_some(self.settings);
        let job = Job { listener: self.shared.clone(), anew, what, facts: self.facts.clone(), deaf: self.deaf.clone() };
        if self.jobs.give(job).is_err() {
            self.places.missed.fetch_add(1, Ordering::Relaxed);
            if !self.deaf.swap(true, Ordering::Relaxed) {
                // If even that finds no room, nobody has taken what was told for a second.
                let _ = self.facts.try_send(EarInput::Deaf);
            }
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

fn listen(detector: &mut Detector, job: Job) {
    let Job { listener, anew, what, facts, deaf } = job;
    if facts.is_closed() {
        return;
    }
    let mut listener = listener.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(settings) = anew
        && deaf.swap(false, Ordering::Relaxed)
    {
        *listener = Listener::new(settings);
        let _ = facts.try_send(EarInput::Listening);
    }
    match what {
        What::Agent { at, audio } => listener.agent(at, &audio),
        What::Cleared { at } => listener.cleared(at),
        What::Caller { at, audio } => match listener.caller(detector, at, &audio) {
            Ok(_) if deaf.load(Ordering::Relaxed) => {}
            Ok(told) => {
                for fact in told {
                    // Whoever takes no facts for so long has more to worry about.
                    let _ = facts.try_send(fact);
                }
            }
            Err(error) => {
                tracing::error!(%error, "an ear cannot listen");
                let _ = facts.try_send(EarInput::Deaf);
            }
        },
    }
}
