//! Inference, away from everything that must not wait: threads of lower priority, fed by bounded queues.
//!
//! One thread hears: the speech detector is quick, and has to keep up with all callers. Others recognise and speak, which
//! takes up to a few hundred milliseconds a turn. One more judges whether turns are over, and one reads sentences; each is
//! started, and loads what it needs for that, when a session first asks it, since most never do. Whoever asks is told through
//! a channel of their own, and never waits.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::detect::{Detector, Hearing, STEP};
use crate::error::{Error, Result};
use crate::expected::Expected;
use crate::recognise::{self, Recogniser};
use crate::resample::Resampler;
use crate::sentences::Sentences;
use crate::speak::{Rate, Said, Speaker};
use crate::threads::{Jobs, Queue};
use crate::turn_end::{self, TurnEnd};
use crate::weights::Weights;

/// Something to be found out for a session.
#[derive(Clone, PartialEq, Debug)]
pub struct Work {
    /// The session's own name for it.
    pub id: u64,
    pub what: What,
}

#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// How likely is speech in each step of this audio (8 kHz, ±1)?
    Detect { hearing: Box<Hearing>, samples: Vec<f32> },
    /// Is the turn in this audio (8 kHz, ±1) over? See [`TurnEnd::judge`].
    TurnEnd { samples: Vec<f32> },
    /// What was said in this audio (8 kHz, ±1)?
    Recognise {
        samples: Vec<f32>,
        /// How many of the samples are speech. `None`: nobody has looked yet whether any are.
        speech: Option<u64>,
        expected: Arc<Expected>,
    },
    /// What are these words about? See [`Sentences::vector`].
    Understand { words: Vec<String> },
    /// How does this sentence sound?
    Speak { sentence: String, rate: Rate, speed: f32 },
}

/// What was found out.
#[derive(Clone, PartialEq, Debug)]
pub struct Done {
    pub id: u64,
    pub found: std::result::Result<Found, String>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Found {
    Speech {
        hearing: Box<Hearing>,
        probabilities: Vec<f32>,
    },
    /// How likely it is that the turn is over, 0 to 1. `None`: the weights for that are not here.
    TurnEnd(Option<f32>),
    Text(String),
    /// `None`: the weights for that are not here.
    About(Option<Vec<f32>>),
    /// ±1, at the rate that was asked for.
    Sound(Arc<[f32]>),
}

/// Where a session's results go. A session has only a few things under way at a time; its queue is larger than that.
pub type Results = mpsc::Sender<Done>;

type Job = (Work, Results);

/// The threads. The last clone of this waits for their end.
#[derive(Clone)]
pub struct Engine {
    hearing: Arc<Queue<Job>>,
    turns: Arc<Queue<Job>>,
    judging: Later,
    understanding: Later,
}

/// A thread that is started when it is first needed.
type Later = Arc<LazyLock<Arc<Queue<Job>>, Start>>;

type Start = Box<dyn FnOnce() -> Arc<Queue<Job>> + Send>;

/// Speech that a probability of less is none of, when nobody has looked before.
const SPEECH: f32 = 0.5;

/// Samples of speech below which there is nothing to recognise: 96 ms.
const SPEECH_MIN: u64 = 3 * STEP as u64;

impl Engine {
    /// Loads the models and starts `workers` threads for turns and speech, and one for hearing. `sessions` is how
    /// many there will be at once; the queues have room for what those can ask. The models that judge turns and read sentences
    /// are loaded when they are first asked, or by [`Engine::expect_judging`] and [`Engine::expect_understanding`].
    ///
    /// # Errors
    /// If a model is missing or damaged.
    pub fn start(weights: &Weights, workers: usize, sessions: usize) -> Result<Engine> {
        let room = 4 * sessions.max(1);
        let mut detector = weights.detector()?;
        let hearing = Queue::start("voice-hear", room, [answering(move |what| detect(&mut detector, what))]);
        let said = Arc::new(Said::default());
        let worker = || {
            let detector = weights.detector()?;
            Ok(Worker { detector, recogniser: weights.recogniser()?, speaker: weights.speaker(said.clone())? })
        };
        let workers = (0..workers.max(1)).map(|_| worker()).collect::<Result<Vec<_>>>()?;
        let workers = workers.into_iter().map(|mut worker| answering(move |what| worker.turn(what)));
        let turns = Queue::start("voice-turn", room, workers);
        let [one, other] = [weights.clone(), weights.clone()];
        let judging = later(move || judge(one, room));
        let understanding = later(move || understand(other, room));
        Ok(Engine { hearing, turns, judging, understanding })
    }

    /// Loads the model that judges turns, on its own thread, so that the first who asks does not wait for that too.
    pub fn expect_judging(&self) {
        LazyLock::force(&self.judging);
    }

    /// The same of the model that reads sentences.
    pub fn expect_understanding(&self) {
        LazyLock::force(&self.understanding);
    }

    /// Loads the models as [`Engine::start`] does, on a thread of its own: it takes seconds, and nobody who carries calls
    /// may wait for it.
    ///
    /// # Errors
    /// If a model is missing or damaged.
    pub async fn load(weights: Weights, workers: usize, sessions: usize) -> Result<Engine> {
        let loading = tokio::task::spawn_blocking(move || Engine::start(&weights, workers, sessions));
        loading.await.unwrap_or_else(|panicked| Err(Error::Inference(panicked.to_string())))
    }

    /// An engine that needs no weights: it hears no speech, understands none, and says every sentence as two beeps. With
    /// it, a flow is a menu: of keys and of the clips that the operator recorded.
    pub fn without_weights(sessions: usize) -> Engine {
        let menu = Queue::start("voice-menu", 4 * sessions.max(1), [answering(|what| Ok(beep(what)))]);
        let [one, other] = [menu.clone(), menu.clone()];
        Engine { hearing: menu.clone(), turns: menu, judging: later(move || one), understanding: later(move || other) }
    }

    /// Has something found out. If there is no room, the answer says so at once.
    pub fn ask(&self, work: Work, results: &Results) {
        let queue = match work.what {
            What::Detect { .. } => &self.hearing,
            What::TurnEnd { .. } => &*self.judging,
            What::Understand { .. } => &*self.understanding,
            What::Recognise { .. } | What::Speak { .. } => &self.turns,
        };
        if let Err((work, _)) = queue.give((work, results.clone())) {
            // A session that is not there any more needs no answer.
            let _ = results.try_send(Done { id: work.id, found: Err("the machine has more to do than it can".into()) });
        }
    }
}

fn later(start: impl FnOnce() -> Arc<Queue<Job>> + Send + 'static) -> Later {
    Arc::new(LazyLock::new(Box::new(start)))
}

/// What a thread does: it answers one after another.
fn answering(mut find: impl FnMut(What) -> Result<Found> + Send + 'static) -> impl FnOnce(Jobs<Job>) + Send + 'static {
    move |jobs| {
        // Those who are gone by now need no answer.
        for (work, results) in jobs.filter(|(_, results)| !results.is_closed()) {
            let found = find(work.what).map_err(|error| error.to_string());
            if let Err(error) = &found {
                tracing::error!(%error, "inference failed");
            }
            let _ = results.try_send(Done { id: work.id, found });
        }
    }
}

/// What is found without weights.
fn beep(what: What) -> Found {
    match what {
        What::Detect { hearing, samples } => {
            let probabilities = vec![0.0; samples.len() / STEP];
            Found::Speech { hearing, probabilities }
        }
        What::TurnEnd { .. } => Found::TurnEnd(None),
        What::Understand { .. } => Found::About(None),
        What::Recognise { .. } => Found::Text(String::new()),
        What::Speak { rate, .. } => {
            let samples: Vec<f32> =
                call::tones::filler().iter().map(|&byte| f32::from(call::g711::decode(byte)) / 32_768.0).collect();
            Found::Sound(at_rate(samples.into(), rate))
        }
    }
}

/// Telephone samples at the rate that is wanted.
pub fn at_rate(samples: Arc<[f32]>, rate: Rate) -> Arc<[f32]> {
    match rate {
        Rate::Telephone => samples,
        Rate::Wide => Resampler::convert(Rate::Telephone.hz(), rate.hz(), &samples).into(),
    }
}

/// Starts the thread that judges turns: it loads its model, then answers. Without it, and where it is damaged, nothing is
/// judged.
fn judge(weights: Weights, room: usize) -> Arc<Queue<Job>> {
    let work = move |jobs: Jobs<Job>| {
        let mut turn_end = weights.turn_end().unwrap_or_else(|error| {
            tracing::error!(%error, "silence alone ends turns; run `patchcord models pull`, which puts right what is damaged");
            None
        });
        answering(move |what| is_over(turn_end.as_mut(), what))(jobs);
    };
    Queue::start("voice-judge", room, [work])
}

fn is_over(turn_end: Option<&mut TurnEnd>, what: What) -> Result<Found> {
    let (Some(turn_end), What::TurnEnd { samples }) = (turn_end, what) else { return Ok(Found::TurnEnd(None)) };
    let wide = Resampler::convert(Rate::Telephone.hz(), turn_end::RATE, &samples);
    turn_end.judge(&wide).map(|probability| Found::TurnEnd(Some(probability)))
}

/// Starts the thread that reads sentences: it loads its model, then answers. Without it, nobody can tell what words are about.
fn understand(weights: Weights, room: usize) -> Arc<Queue<Job>> {
    let work = move |jobs: Jobs<Job>| {
        let mut sentences = weights.sentences().unwrap_or_else(|error| {
            tracing::error!(%error, "flows understand by letters and words alone");
            None
        });
        answering(move |what| about(sentences.as_mut(), what))(jobs);
    };
    Queue::start("voice-understand", room, [work])
}

fn about(sentences: Option<&mut Sentences>, what: What) -> Result<Found> {
    let (Some(sentences), What::Understand { words }) = (sentences, what) else { return Ok(Found::About(None)) };
    sentences.vector(&words).map(|vector| Found::About(Some(vector)))
}

struct Worker {
    detector: Detector,
    recogniser: Recogniser,
    speaker: Speaker,
}

impl Worker {
    fn turn(&mut self, what: What) -> Result<Found> {
        match what {
            What::Detect { .. } => detect(&mut self.detector, what),
            What::TurnEnd { .. } => is_over(None, what),
            What::Understand { .. } => about(None, what),
            What::Recognise { samples, speech, expected } => {
                let speech = match speech {
                    Some(speech) => speech,
                    None => match self.speech_in(&samples)? {
                        0..SPEECH_MIN => return Ok(Found::Text(String::new())),
                        speech => speech,
                    },
                };
                let wide = Resampler::convert(Rate::Telephone.hz(), recognise::RATE, &samples);
                self.recogniser.recognise(&wide, Duration::from_micros(125 * speech), &expected).map(Found::Text)
            }
            What::Speak { sentence, rate, speed } => self.speaker.say(&sentence, rate, speed).map(Found::Sound),
        }
    }

    fn speech_in(&mut self, samples: &[f32]) -> Result<u64> {
        let mut probabilities = Vec::new();
        self.detector.hear(&mut Hearing::default(), samples, &mut probabilities)?;
        let steps = probabilities.iter().filter(|&&probability| probability >= SPEECH).count();
        Ok((steps * STEP) as u64)
    }
}

fn detect(detector: &mut Detector, what: What) -> Result<Found> {
    let What::Detect { mut hearing, samples } = what else { return Ok(Found::Text(String::new())) };
    let mut probabilities = Vec::new();
    detector.hear(&mut hearing, &samples, &mut probabilities)?;
    Ok(Found::Speech { hearing, probabilities })
}
