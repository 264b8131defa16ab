//! From sound to text: Moonshine, an encoder over raw audio and a decoder that writes one token after the other.
//!
//! The decoder has two halves in one graph: its first step computes what it remembers of the audio, the later ones are
//! given that back. What it remembers is moved from step to step and never copied.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor};

use crate::error::{Error, Result, read};
use crate::runtime::Runtime;

/// Of the audio that it wants, a second.
pub const RATE: u32 = 16_000;

/// Beginning and end of a text.
const BEGIN: i64 = 1;
const END: i64 = 2;

/// Nobody speaks faster, so what is written beyond that is made up.
const TOKENS_PER_SECOND: f32 = 6.5;

/// Less audio than this makes no frame of the encoder.
const SHORTEST: usize = RATE as usize / 10;

/// Longer turns are cut: the model was trained on less, and its time grows with the square.
pub const LONGEST: usize = 30 * RATE as usize;

/// Speech of this length says something: an empty text is asked again, with the end forbidden as its first token. What
/// is shorter may have been a cough, and that has no text.
const SAYS_SOMETHING: Duration = Duration::from_millis(250);

/// Which of Moonshine's models: `docs/voice.md` has what each costs, and how often it errs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    Tiny,
    Base,
}

/// A recogniser. It holds some 120 MB, or 150 MB if it is the larger one, and works on one thing at a time.
pub struct Recogniser {
    encoder: Session,
    decoder: Session,
    vocabulary: Vec<Vec<u8>>,
    memories: Vec<Memory>,
    /// Heads of the attention, and numbers of each.
    heads: usize,
    width: usize,
}

/// One of the tensors that the decoder is given back.
struct Memory {
    input: String,
    output: String,
    /// It is about the text, and so changes with each token. The others are about the audio and stay.
    grows: bool,
}

impl Recogniser {
    /// Loads the model in `folder`: `encoder_model.ort`, `decoder_model_merged.ort`, `tokenizer.bin` (or the first two
    /// with the ending `onnx`).
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn load(runtime: &Runtime, folder: &Path) -> Result<Recogniser> {
        let model = |name: &str| {
            let converted = folder.join(name).with_extension("onnx");
            if converted.exists() { converted } else { folder.join(name).with_extension("ort") }
        };
        let encoder = runtime.session(&model("encoder_model"))?;
        let decoder_path: PathBuf = model("decoder_model_merged");
        let decoder = runtime.session(&decoder_path)?;
        let past = decoder.inputs().iter().filter(|input| input.name().starts_with("past_key_values"));
        let shape = past.clone().next().and_then(|input| input.dtype().tensor_shape().map(|shape| shape.to_vec()));
        let Some([_, heads, _, width]) = shape.as_deref() else {
            return Err(Error::damaged(&decoder_path, "it remembers nothing"));
        };
        let (heads, width) = (*heads as usize, *width as usize);
        let memories = past.map(|input| Memory {
            input: input.name().to_owned(),
            output: input.name().replace("past_key_values", "present"),
            grows: input.name().contains(".decoder."),
        });
        let memories = memories.collect();
        let vocabulary_path = folder.join("tokenizer.bin");
        let vocabulary = vocabulary(&read(&vocabulary_path)?)
            .ok_or_else(|| Error::damaged(&vocabulary_path, "it ends in the middle of a token"))?;
        Ok(Recogniser { encoder, decoder, vocabulary, memories, heads, width })
    }

    /// The words in `samples` (16 kHz, ±1): what a speech detector took for speech, with at most 0.3 s of silence after
    /// it. Without speech in it the model may write what nobody said. `speech`: from the beginning to the end of what the
    /// detector took for speech in it.
    ///
    /// Empty if nothing was understood.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn recognise(&mut self, samples: &[f32], speech: Duration) -> Result<String> {
        let samples = &samples[..samples.len().min(LONGEST)];
        if samples.len() < SHORTEST {
            return Ok(String::new());
        }
        let heard = self.encode(samples)?;
        let tokens_max = (samples.len() as f32 / RATE as f32 * TOKENS_PER_SECOND) as usize + 2;
        let text = self.decode(&heard, samples.len(), tokens_max, Empty::Allowed)?;
        if text.is_empty() && speech >= SAYS_SOMETHING {
            return self.decode(&heard, samples.len(), tokens_max, Empty::Forbidden);
        }
        Ok(text)
    }

    fn encode(&mut self, samples: &[f32]) -> Result<DynValue> {
        let names: Vec<String> = self.encoder.inputs().iter().map(|input| input.name().to_owned()).collect();
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let value = match at {
                0 => Tensor::from_array(([1, samples.len()], samples.to_vec()))?.into_dyn(),
                _ => mask(samples.len())?,
            };
            inputs.push((name.into(), value.into()));
        }
        let mut outputs = self.encoder.run(inputs)?;
        let name = outputs.keys().next().map(str::to_owned).unwrap_or_default();
        outputs.remove(&name).ok_or_else(|| Error::Inference("the encoder gave nothing".into()))
    }

    fn decode(&mut self, heard: &DynValue, samples: usize, tokens_max: usize, empty: Empty) -> Result<String> {
        let wants_mask = self.decoder.inputs().iter().any(|input| input.name() == "encoder_attention_mask");
        let mask = if wants_mask { Some(mask(samples)?) } else { None };
        let mut remembered: Vec<DynValue> = Vec::with_capacity(self.memories.len());
        for _ in &self.memories {
            // The first step does not look at it; its shape has to be right.
            let nothing = vec![0.0_f32; self.heads * self.width];
            remembered.push(Tensor::from_array(([1, self.heads, 1, self.width], nothing))?.into_dyn());
        }
        let mut text = Vec::new();
        let mut token = BEGIN;
        for step in 0..tokens_max {
            let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = vec![
                ("input_ids".into(), Tensor::from_array(([1, 1], vec![token]))?.into()),
                ("encoder_hidden_states".into(), heard.into()),
                ("use_cache_branch".into(), Tensor::from_array(([1], vec![step > 0]))?.into()),
            ];
            if let Some(mask) = &mask {
                inputs.push(("encoder_attention_mask".into(), mask.into()));
            }
            for (memory, value) in self.memories.iter().zip(&remembered) {
                inputs.push((memory.input.as_str().into(), value.into()));
            }
            let mut outputs = self.decoder.run(inputs)?;
            let forbidden = (step == 0 && empty == Empty::Forbidden).then_some(END);
            token = likeliest(outputs["logits"].try_extract_tensor::<f32>()?.1, forbidden);
            if token == END {
                break;
            }
            for (memory, value) in self.memories.iter().zip(&mut remembered) {
                if memory.grows || step == 0 {
                    let grown = outputs.remove(&memory.output);
                    *value = grown.ok_or_else(|| Error::Inference("the decoder forgot".into()))?;
                }
            }
            let piece = usize::try_from(token).ok().and_then(|token| self.vocabulary.get(token));
            text.extend_from_slice(piece.map_or(&[], Vec::as_slice));
        }
        // A word begins with a lower one eighth block, as SentencePiece has it.
        Ok(String::from_utf8_lossy(&text).replace('\u{2581}', " ").trim().to_owned())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Allowed,
    Forbidden,
}

fn mask(samples: usize) -> Result<DynValue> {
    Ok(Tensor::from_array(([1, samples], vec![1_i64; samples]))?.into_dyn())
}

fn likeliest(scores: &[f32], forbidden: Option<i64>) -> i64 {
    let mut best = (END, f32::NEG_INFINITY);
    for (token, &score) in (0_i64..).zip(scores) {
        if score > best.1 && Some(token) != forbidden {
            best = (token, score);
        }
    }
    best.0
}

/// The tokens of a `tokenizer.bin`: each with its length before it, in one byte, or in two from 128 on (low part first).
/// `None` if the last one is not all there.
fn vocabulary(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut tokens = Vec::new();
    let mut rest = bytes;
    while let Some((&low, after)) = rest.split_first() {
        rest = after;
        let mut length = usize::from(low);
        if length >= 128 {
            let (&high, after) = rest.split_first()?;
            rest = after;
            length = length - 128 + 128 * usize::from(high);
        }
        let (token, after) = rest.split_at_checked(length)?;
        tokens.push(token.to_vec());
        rest = after;
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_with_short_and_long_lengths() {
        let mut file = vec![0, 2, b'h', b'i', 128 + 3, 1];
        file.extend([b'x'; 131]);
        let tokens = vocabulary(&file).unwrap();
        assert_eq!(tokens, [b"".to_vec(), b"hi".to_vec(), vec![b'x'; 131]]);
        assert_eq!(vocabulary(&file[..20]), None);
        assert_eq!(vocabulary(&[130]), None);
    }

    #[test]
    fn the_likeliest_token_wins_unless_it_is_forbidden() {
        assert_eq!(likeliest(&[0.1, 0.3, 0.9, 0.2], None), END);
        assert_eq!(likeliest(&[0.1, 0.3, 0.9, 0.2], Some(END)), 1);
        assert_eq!(likeliest(&[f32::NAN; 3], None), END);
    }
}
