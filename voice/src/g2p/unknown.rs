//! Words that no dictionary has, names above all: a small network reads their letters.

use std::collections::HashMap;
use std::path::Path;

use ort::session::Session;
use ort::value::Tensor;
use serde::Deserialize;

use crate::error::{Error, Result, read};
use crate::runtime::Runtime;

pub struct Unknown {
    session: Session,
    letters: HashMap<char, i64>,
    /// By number; 0 is "nothing here".
    phonemes: Vec<String>,
    longest: usize,
}

#[derive(Deserialize)]
struct Alphabets {
    #[serde(rename = "in")]
    letters: Vec<char>,
    #[serde(rename = "out")]
    phonemes: Vec<String>,
    #[serde(rename = "maxlen")]
    longest: usize,
}

impl Unknown {
    /// Loads `oov.onnx` and `oov.json` in `folder`.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn load(runtime: &Runtime, folder: &Path) -> Result<Unknown> {
        let path = folder.join("oov.json");
        let alphabets: Alphabets =
            serde_json::from_slice(&read(&path)?).map_err(|error| Error::damaged(&path, error))?;
        Ok(Unknown {
            session: runtime.session(&folder.join("oov.onnx"))?,
            letters: alphabets.letters.into_iter().zip(1..).collect(),
            phonemes: alphabets.phonemes,
            longest: alphabets.longest,
        })
    }

    /// The phonemes of a word; empty if none of its letters is known.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn pronounce(&mut self, word: &str) -> Result<String> {
        let ids: Vec<i64> =
            word.chars().filter_map(|letter| self.letters.get(&letter).copied()).take(self.longest).collect();
        if ids.is_empty() {
            return Ok(String::new());
        }
        let outputs = self.session.run(ort::inputs!["chars" => Tensor::from_array(([1, ids.len()], ids))?])?;
        let values = outputs.values().next().ok_or_else(|| Error::Inference("no phonemes came".into()))?;
        Ok(collapsed(values.try_extract_tensor::<i64>()?.1, &self.phonemes))
    }
}

/// Repetitions are one, and gaps are none (connectionist temporal classification).
fn collapsed(path: &[i64], phonemes: &[String]) -> String {
    let mut before = 0;
    let mut out = String::new();
    for &id in path {
        if id != before && id > 0 {
            out.push_str(phonemes.get(id as usize - 1).map_or("", String::as_str));
        }
        before = id;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_one_unless_a_gap_is_between() {
        let phonemes = ["a", "b"].map(str::to_owned);
        assert_eq!(collapsed(&[1, 1, 0, 1, 2, 2, 0, 9], &phonemes), "aab");
    }
}
