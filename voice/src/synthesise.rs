//! From phonemes to sound: Hibari's network and the [vocoder](crate::spectrum) after it.

use std::collections::HashMap;
use std::path::Path;

use ort::session::Session;
use ort::value::Tensor;

use crate::error::{Error, Result, read};
use crate::runtime::Runtime;
use crate::spectrum::{Prediction, Vocoder};

/// More phonemes than this are said in several pieces: the network was trained on no more.
pub const PHONEMES_MAX: usize = 400;

/// A voice: one female speaker of American English.
pub struct Synthesizer {
    session: Session,
    vocabulary: HashMap<char, i64>,
    vocoder: Vocoder,
}

impl Synthesizer {
    /// Loads the model in `folder`: `hibari.onnx`, `vocab.json`.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn load(runtime: &Runtime, folder: &Path) -> Result<Synthesizer> {
        let path = folder.join("vocab.json");
        let names: HashMap<String, i64> =
            serde_json::from_slice(&read(&path)?).map_err(|error| Error::damaged(&path, error))?;
        let one = |(name, id): (String, i64)| {
            let mut characters = name.chars();
            characters.next().filter(|_| characters.next().is_none()).map(|character| (character, id))
        };
        Ok(Synthesizer {
            session: runtime.session(&folder.join("hibari.onnx"))?,
            vocabulary: names.into_iter().filter_map(one).collect(),
            vocoder: Vocoder::default(),
        })
    }

    /// One sentence as samples at 24 kHz, as loud as they come. `speed` 1 is the speaker's own, 0.5 half of it. What is
    /// no phoneme is passed over; no phonemes, no samples.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn say(&mut self, phonemes: &str, speed: f32) -> Result<Vec<f32>> {
        const EDGE: i64 = 0;
        let known = phonemes.chars().filter_map(|phoneme| self.vocabulary.get(&phoneme)).take(PHONEMES_MAX);
        let ids: Vec<i64> = [EDGE].into_iter().chain(known.copied()).chain([EDGE]).collect();
        if ids.len() == 2 {
            return Ok(Vec::new());
        }
        let outputs = self.session.run(ort::inputs![
            "ids" => Tensor::from_array(([1, ids.len()], ids))?,
            "speed" => Tensor::from_array(([1], vec![speed]))?,
        ])?;
        let part = |name: &str| -> Result<&[f32]> { Ok(outputs[name].try_extract_tensor::<f32>()?.1) };
        let prediction = Prediction {
            harmonics: part("lh")?,
            harmonics_phase: part("theta")?,
            noise: part("ln")?,
            rest: part("lr")?,
            rest_phase: part("phi")?,
            f0: part("f0")?,
        };
        if !prediction.is_whole() {
            return Err(Error::Inference("the synthesis gave parts of different lengths".into()));
        }
        // The same words always sound the same.
        let seed = phonemes
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Ok(self.vocoder.waveform(&prediction, seed))
    }
}
