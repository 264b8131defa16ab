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
use crate::expected::{Expected, Place};
use crate::runtime::Runtime;

/// Of the audio that it wants, a second.
pub const RATE: u32 = 16_000;

/// Beginning and end of a text.
const BEGIN: i64 = 1;
const END: i64 = 2;

/// Nobody speaks faster, so what is written beyond that is made up.
const TOKENS_PER_SECOND: f32 = 6.5;

/// Texts that are followed at once: what sounds likeliest at first may not be in the end. The second to fourth cost little, since
/// the weights are read once for all.
const TEXTS: usize = 4;

/// Tokens that each of them may go on with.
const NEXT: usize = 8;

/// What each token makes a text less likely by (natural logarithm): of two that sound as likely, that of fewer words is right more
/// often. By the turns of one word.
const TOKEN: f32 = 0.4;

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
    /// Of what sounds nearly as likely, what is `expected` is written. Empty if nothing was understood.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn recognise(&mut self, samples: &[f32], speech: Duration, expected: &Expected) -> Result<String> {
        let samples = &samples[..samples.len().min(LONGEST)];
        if samples.len() < SHORTEST {
            return Ok(String::new());
        }
        let heard = self.encode(samples)?;
        let tokens_max = (samples.len() as f32 / RATE as f32 * TOKENS_PER_SECOND) as usize + 2;
        let text = self.decode(&heard, samples.len(), tokens_max, Empty::Allowed, expected)?;
        if text.is_empty() && speech >= SAYS_SOMETHING {
            return self.decode(&heard, samples.len(), tokens_max, Empty::Forbidden, expected);
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

    fn decode(
        &mut self,
        heard: &DynValue,
        samples: usize,
        tokens_max: usize,
        empty: Empty,
        expected: &Expected,
    ) -> Result<String> {
        let wants_mask = self.decoder.inputs().iter().any(|input| input.name() == "encoder_attention_mask");
        let mask = if wants_mask { Some(mask(samples)?) } else { None };
        let mut remembered: Vec<DynValue> = Vec::with_capacity(self.memories.len());
        for _ in &self.memories {
            // The first step does not look at it; its shape has to be right.
            let nothing = vec![0.0_f32; self.heads * self.width];
            remembered.push(Tensor::from_array(([1, self.heads, 1, self.width], nothing))?.into_dyn());
        }
        let mut texts = vec![Text::default()];
        let mut over: Option<Text> = None;
        for step in 0..tokens_max {
            let last: Vec<i64> = texts.iter().map(|text| text.last).collect();
            // What is about the audio is there once, for all texts.
            let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = vec![
                ("input_ids".into(), Tensor::from_array(([last.len(), 1], last))?.into()),
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
            let scores = outputs["logits"].try_extract_tensor::<f32>()?.1;
            let mut longer: Vec<(usize, Text)> = Vec::with_capacity(texts.len() * NEXT);
            for (from, (text, scores)) in
                texts.iter().zip(scores.chunks((scores.len() / texts.len()).max(1))).enumerate()
            {
                for (token, likelihood) in likeliest(scores, forbidden) {
                    let piece = usize::try_from(token).ok().and_then(|token| self.vocabulary.get(token));
                    longer.push((from, text.with(token, likelihood, piece.map_or(&[], Vec::as_slice), expected)));
                }
            }
            let from = follow(longer, &mut texts, &mut over);
            // A text only gets less likely, but for what is expected, and the beginning of that counts already.
            let Some(likeliest) = texts.first() else { break };
            if over.as_ref().is_some_and(|over| over.likelihood >= likeliest.likelihood) {
                break;
            }
            for (memory, value) in self.memories.iter().zip(&mut remembered) {
                if memory.grows || step == 0 {
                    let grown = outputs.remove(&memory.output);
                    let grown = grown.ok_or_else(|| Error::Inference("the decoder forgot".into()))?;
                    *value = if memory.grows { rows(grown, &from)? } else { grown };
                }
            }
        }
        // Where none is over in time, the likeliest is cut.
        let text = over.or_else(|| texts.into_iter().next()).unwrap_or_default();
        // A word begins with a lower one eighth block, as SentencePiece has it.
        Ok(String::from_utf8_lossy(&text.written).replace('\u{2581}', " ").trim().to_owned())
    }
}

/// What may have been said, as far as it is written.
#[derive(Clone)]
struct Text {
    written: Vec<u8>,
    last: i64,
    /// Natural logarithm, less what tokens cost, and more by what is expected.
    likelihood: f32,
    place: Place,
}

impl Default for Text {
    fn default() -> Self {
        Text { written: Vec::new(), last: BEGIN, likelihood: 0.0, place: Place::BEGIN }
    }
}

impl Text {
    /// The text that goes on with this token.
    fn with(&self, token: i64, likelihood: f32, piece: &[u8], expected: &Expected) -> Text {
        let likelihood = self.likelihood + likelihood - TOKEN;
        if token == END {
            return Text { last: token, likelihood: likelihood + expected.end(self.place), ..self.clone() };
        }
        let (place, likelier) = expected.after(self.place, &String::from_utf8_lossy(piece));
        let written = [&self.written, piece].concat();
        Text { written, last: token, likelihood: likelihood + likelier, place }
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

/// Of these, each longer than one of the texts, the likeliest become the texts; which they were before. What is over is kept if
/// it is likelier than what was over before.
fn follow(mut longer: Vec<(usize, Text)>, texts: &mut Vec<Text>, over: &mut Option<Text>) -> Vec<usize> {
    longer.sort_by(|(_, one), (_, other)| other.likelihood.total_cmp(&one.likelihood));
    texts.clear();
    let mut from = Vec::with_capacity(TEXTS);
    for (before, text) in longer {
        if texts.len() == TEXTS {
            break;
        }
        if text.last != END {
            from.push(before);
            texts.push(text);
        } else if over.as_ref().is_none_or(|over| text.likelihood > over.likelihood) {
            *over = Some(text);
        }
    }
    from
}

/// A tensor of some of the rows of this one, in this order.
fn rows(value: DynValue, of: &[usize]) -> Result<DynValue> {
    let (shape, numbers) = value.try_extract_tensor::<f32>()?;
    let count = shape.first().map_or(0, |&rows| rows as usize);
    if (0..count).eq(of.iter().copied()) {
        return Ok(value);
    }
    let width = numbers.len() / count.max(1);
    let taken: Vec<f32> = of.iter().flat_map(|row| &numbers[row * width..][..width]).copied().collect();
    let mut shape = shape.to_vec();
    shape[0] = of.len() as i64;
    Ok(Tensor::from_array((shape, taken))?.into_dyn())
}

/// The likeliest tokens, each with the logarithm of how likely it is; the first of equal ones first.
fn likeliest(scores: &[f32], forbidden: Option<i64>) -> Vec<(i64, f32)> {
    let mut best: Vec<(i64, f32)> = Vec::with_capacity(NEXT + 1);
    for (token, &score) in (0_i64..).zip(scores) {
        let is_among = best.len() < NEXT || best.last().is_some_and(|(_, last)| score > *last);
        if is_among && !score.is_nan() && Some(token) != forbidden {
            let at = best.partition_point(|(_, other)| *other >= score);
            best.insert(at, (token, score));
            best.truncate(NEXT);
        }
    }
    let most = best.first().map_or(0.0, |(_, score)| *score);
    // What is that much less likely adds nothing.
    let near = scores.iter().filter(|score| **score > most - 16.0);
    let all = most + near.map(|score| (score - most).exp()).sum::<f32>().ln();
    best.into_iter().map(|(token, score)| (token, score - all)).collect()
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

    /// Breaks when only what is likeliest at first is followed, or a text is over because a less likely one is.
    #[test]
    fn the_likeliest_texts_are_followed_and_the_likeliest_that_is_over_is_kept() {
        let text = |last, likelihood| Text { last, likelihood, ..Text::default() };
        let longer =
            [(0, text(7, -3.0)), (1, text(8, -1.0)), (1, text(END, -2.0)), (0, text(9, -1.5)), (2, text(END, -9.0))];
        let more = (10..20).map(|token| (3, text(token, -4.0)));
        let (mut texts, mut over) = (vec![Text::default()], Some(text(END, -2.5)));
        let from = follow(longer.into_iter().chain(more).collect(), &mut texts, &mut over);
        assert_eq!(from, [1, 0, 0, 3]);
        assert_eq!(texts.iter().map(|text| text.last).collect::<Vec<_>>(), [8, 9, 7, 10]);
        assert_eq!(over.unwrap().likelihood, -2.0);
        // Later than any that is followed: too unlikely to be looked at.
        let mut over = None;
        follow(
            (10..20).map(|token| (0, text(token, -1.0))).chain([(0, text(END, -2.0))]).collect(),
            &mut texts,
            &mut over,
        );
        assert!(over.is_none());
    }

    /// Breaks when what was expected but did not come goes on counting.
    #[test]
    fn a_text_is_as_likely_as_its_tokens_and_more_by_what_is_expected() {
        let expected = Expected::new([("mocha", 1.0)]);
        let is =
            |text: &Text, likelihood: f32| assert!((text.likelihood - likelihood).abs() < 1e-5, "{}", text.likelihood);
        let begun = Text::default().with(5, -1.0, "\u{2581}Mo".as_bytes(), &expected);
        is(&begun, -1.0 - TOKEN + 2.0);
        let all = begun.with(6, -2.0, b"cha", &expected).with(END, -0.5, &[], &expected);
        assert_eq!((all.written.as_slice(), all.last), ("\u{2581}Mocha".as_bytes(), END));
        is(&all, -3.5 - 3.0 * TOKEN + 5.0);
        is(&begun.with(7, -1.0, b"cker", &expected), -2.0 - 2.0 * TOKEN);
        is(&begun.with(END, -1.0, &[], &expected), -2.0 - 2.0 * TOKEN);
    }

    #[test]
    fn the_likeliest_tokens_come_first_and_none_that_is_forbidden() {
        let tokens = |scores: &[f32], forbidden| {
            likeliest(scores, forbidden).into_iter().map(|(token, _)| token).collect::<Vec<_>>()
        };
        assert_eq!(tokens(&[0.1, 0.3, 0.9, 0.2], None), [2, 1, 3, 0]);
        assert_eq!(tokens(&[0.1, 0.3, 0.9, 0.2], Some(END)), [1, 3, 0]);
        assert_eq!(tokens(&[0.5; 20], None), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(tokens(&[f32::NAN; 3], None), [0; 0]);
        let likely: Vec<f32> =
            likeliest(&[1.0, 1.0, -60.0], None).into_iter().map(|(_, likelihood)| likelihood).collect();
        assert!((likely[0].exp() - 0.5).abs() < 1e-6 && likely[2] < -60.0, "{likely:?}");
    }
}
