//! Is somebody speaking? Silero's detector says how likely that is, 31 times a second; [`Turns`] makes turns of it.

use std::path::Path;

use ort::session::Session;
use ort::value::Tensor;

use crate::error::Result;
use crate::runtime::Runtime;

/// Samples of one step at 8 kHz: 32 ms.
pub const STEP: usize = 256;

/// What the network wants to see again of the step before.
const CONTEXT: usize = 32;

/// Two layers of 128 numbers: what the network remembers of one stream.
const MEMORY: usize = 2 * 128;

/// The speech detector: one for all streams, since it remembers nothing by itself.
pub struct Detector {
    session: Session,
}

/// What the detector has heard of one stream so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Hearing {
    memory: Vec<f32>,
    context: [f32; CONTEXT],
    /// Audio that does not fill a step yet.
    rest: Vec<f32>,
}

impl Default for Hearing {
    fn default() -> Self {
        Hearing { memory: vec![0.0; MEMORY], context: [0.0; CONTEXT], rest: Vec::with_capacity(STEP) }
    }
}

impl Detector {
    /// Loads the model, `silero_vad.onnx`.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn load(runtime: &Runtime, path: &Path) -> Result<Detector> {
        Ok(Detector { session: runtime.session(path)? })
    }

    /// Appends to `out` the probability of speech, 0 to 1, of each step of [`STEP`] samples that `samples` (8 kHz, ±1)
    /// completes.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn hear(&mut self, hearing: &mut Hearing, samples: &[f32], out: &mut Vec<f32>) -> Result<()> {
        hearing.rest.extend_from_slice(samples);
        let steps = hearing.rest.len() / STEP;
        for step in 0..steps {
            let audio = &hearing.rest[step * STEP..(step + 1) * STEP];
            let mut input = Vec::with_capacity(CONTEXT + STEP);
            input.extend_from_slice(&hearing.context);
            input.extend_from_slice(audio);
            hearing.context.copy_from_slice(&audio[STEP - CONTEXT..]);
            let outputs = self.session.run(ort::inputs![
                "input" => Tensor::from_array(([1, CONTEXT + STEP], input))?,
                "state" => Tensor::from_array(([2, 1, MEMORY / 2], std::mem::take(&mut hearing.memory)))?,
                "sr" => Tensor::from_array(([0_usize; 0], vec![8_000_i64]))?,
            ])?;
            out.push(outputs["output"].try_extract_tensor::<f32>()?.1[0]);
            hearing.memory = outputs["stateN"].try_extract_tensor::<f32>()?.1.to_vec();
        }
        hearing.rest.drain(..steps * STEP);
        Ok(())
    }
}

/// What was noticed of a turn. Positions are samples at 8 kHz since the stream began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Speech began here.
    Started { at: u64 },
    /// The speech under way has ended here, perhaps: recognition may begin. [`Turn::Stopped`] or [`Turn::Resumed`] tells.
    Paused { at: u64 },
    /// It was a pause within the turn.
    Resumed,
    /// Silence has lasted long enough; this is where it was decided.
    Stopped { at: u64 },
}

/// When probabilities become turns.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TurnSettings {
    /// Speech begins at this probability, and goes on until it is [`RELEASE`] below.
    pub threshold: f32,
    /// Samples (8 kHz) of silence that end a turn.
    pub silence: u64,
}

/// A speaker's voice falls towards the end; a lower bar keeps the last syllable in.
pub const RELEASE: f32 = 0.15;

/// Steps above the threshold before speech is believed: 64 ms. A click has one.
const ONSET_STEPS: u32 = 2;

/// Silence after which recognition is worth beginning: a stop consonant is shorter, and if speech goes on, only work was
/// wasted.
const PAUSE: u64 = 5 * STEP as u64;

/// Makes turns of probabilities. Pure: it sees numbers only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turns {
    /// Samples judged.
    position: u64,
    /// Steps above the threshold in a row, while nobody speaks.
    onset: u32,
    speaking: bool,
    /// Where the speech under way began, or the last.
    began: u64,
    /// The end of the last step that was speech.
    last_speech: u64,
    paused: bool,
}

impl Turns {
    /// Judges one step.
    pub fn step(&mut self, probability: f32, settings: TurnSettings) -> Option<Turn> {
        self.position += STEP as u64;
        let bar = if self.speaking { settings.threshold - RELEASE } else { settings.threshold };
        let speech = probability >= bar.max(0.01);
        if !self.speaking {
            self.onset = if speech { self.onset + 1 } else { 0 };
            if self.onset < ONSET_STEPS {
                return None;
            }
            (self.speaking, self.paused, self.onset) = (true, false, 0);
            self.last_speech = self.position;
            self.began = self.position - u64::from(ONSET_STEPS) * STEP as u64;
            return Some(Turn::Started { at: self.began });
        }
        if speech {
            self.last_speech = self.position;
            return std::mem::take(&mut self.paused).then_some(Turn::Resumed);
        }
        let silent = self.position - self.last_speech;
        if silent >= settings.silence {
            self.speaking = false;
            return Some(Turn::Stopped { at: self.position });
        }
        if silent >= PAUSE && !self.paused {
            self.paused = true;
            return Some(Turn::Paused { at: self.last_speech });
        }
        None
    }

    /// Whether somebody speaks, and is silent at the moment.
    pub fn is_pausing(&self) -> bool {
        self.speaking && self.last_speech < self.position
    }

    /// Forgets a turn that is under way; the position stays.
    pub fn reset(&mut self) {
        *self = Turns { position: self.position, ..Turns::default() };
    }

    /// Samples that were judged.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Samples from the beginning of this turn's speech to its end so far.
    pub fn spoken(&self) -> u64 {
        self.last_speech - self.began
    }

    /// The end of the last speech in this turn.
    pub fn last_speech(&self) -> u64 {
        self.last_speech
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: TurnSettings = TurnSettings { threshold: 0.5, silence: 4_000 };

    fn turns(probabilities: &[(f32, usize)]) -> Vec<Turn> {
        let mut turns = Turns::default();
        let steps = probabilities.iter().flat_map(|&(probability, steps)| std::iter::repeat_n(probability, steps));
        steps.filter_map(|probability| turns.step(probability, SETTINGS)).collect()
    }

    #[test]
    fn a_sentence_is_a_turn() {
        let step = STEP as u64;
        assert_eq!(
            turns(&[(0.1, 10), (0.9, 30), (0.1, 20)]),
            [Turn::Started { at: 10 * step }, Turn::Paused { at: 40 * step }, Turn::Stopped { at: 56 * step },]
        );
    }

    #[test]
    fn a_click_is_none_and_a_pause_does_not_end_one() {
        assert_eq!(turns(&[(0.1, 10), (0.9, 1), (0.1, 40)]), []);
        let events = turns(&[(0.9, 20), (0.1, 10), (0.9, 20), (0.1, 10)]);
        let [Turn::Started { .. }, Turn::Paused { .. }, Turn::Resumed, Turn::Paused { .. }] = events[..] else {
            panic!("{events:?}")
        };
    }

    #[test]
    fn a_falling_voice_is_still_heard() {
        assert_eq!(turns(&[(0.9, 5), (0.4, 50)]), [Turn::Started { at: 0 }]);
        assert_eq!(turns(&[(0.4, 50)]), []);
    }

    #[test]
    fn what_is_reset_can_begin_again() {
        let mut turns = Turns::default();
        let started = |turns: &mut Turns| (0..3).find_map(|_| turns.step(0.9, SETTINGS));
        assert_eq!(started(&mut turns), Some(Turn::Started { at: 0 }));
        assert_eq!(turns.step(0.9, SETTINGS), None);
        let position = turns.position();
        turns.reset();
        assert_eq!(turns.position(), position);
        assert_eq!(started(&mut turns), Some(Turn::Started { at: position }));
    }
}
