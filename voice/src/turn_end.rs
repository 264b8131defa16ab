//! Is the caller's turn over, or only a pause in it? Smart Turn tells by how the speech sounds up to the pause.
//!
//! What follows the speech counts for the network: the longer the silence that it is given, the surer it is that a turn is
//! over, also of one that broke off in the middle of a sentence (`docs/voice.md` has figures). So it is given the same
//! little silence always, and asked once in a pause.

use std::path::Path;

use ort::session::Session;
use ort::value::Tensor;

use crate::error::Result;
use crate::log_mel::{BANDS, HOP, LogMel};
use crate::runtime::Runtime;

/// Of the audio that it wants, a second.
pub const RATE: u32 = crate::log_mel::RATE;

/// So much of a turn is heard at most, in seconds: its end.
pub const SECONDS_MAX: usize = 8;

/// Silence that it should be given after the speech, in milliseconds from where the detector heard speech last. With
/// more, turns that broke off sound complete; with less, complete ones do not.
pub const TAIL_MS: u64 = 64;

/// Samples of its input.
const INPUT: usize = SECONDS_MAX * RATE as usize;

/// Silence after which a turn ends that is `over` so likely (0 to 1), in milliseconds, of `longest` at most. What is surely
/// over ends at once; where the judge cannot tell (0.5), it is a quarter of the longest: not much more than is waited
/// without a judge.
pub fn silence_ms(over: f32, longest: u32) -> u32 {
    (longest as f32 * (1.0 - over.clamp(0.0, 1.0)).powi(2)) as u32
}

/// The judge of turns. It holds some 55 MB, remembers nothing, and works on one thing at a time.
pub struct TurnEnd {
    session: Session,
    features: LogMel,
}

impl TurnEnd {
    /// Loads the model, `smart-turn-v3.2-cpu.onnx`.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn load(runtime: &Runtime, path: &Path) -> Result<TurnEnd> {
        Ok(TurnEnd { session: runtime.session(path)?, features: LogMel::default() })
    }

    /// How likely it is that a turn is over, 0 to 1. `samples` (16 kHz, ±1) are all of it up to its last speech, and
    /// [`TAIL_MS`] more.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn judge(&mut self, samples: &[f32]) -> Result<f32> {
        let end = &samples[samples.len().saturating_sub(INPUT)..];
        // Shorter turns stand at the end of the input.
        let mut input = vec![0.0; INPUT - end.len()];
        input.extend_from_slice(end);
        let features = self.features.features(&input);
        let outputs = self.session.run(ort::inputs![
            "input_features" => Tensor::from_array(([1, BANDS, INPUT / HOP], features))?,
        ])?;
        // Called so, though a sigmoid is the network's last step.
        Ok(outputs["logits"].try_extract_tensor::<f32>()?.1[0])
    }
}
