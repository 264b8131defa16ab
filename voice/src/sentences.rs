//! What a text is about, as a vector, by a network that reads the sentence (all-MiniLM-L6-v2): the order of words counts, and
//! what one word does to another. It takes milliseconds where [`word_vectors`](crate::word_vectors) take microseconds.

use std::collections::HashMap;
use std::path::Path;

use ort::session::Session;
use ort::value::Tensor;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::error::{Error, Result, read};
use crate::models::convert::{PLACES, TOKENS, VECTOR};
use crate::runtime::Runtime;

/// Tokens of a sentence that are read, the two around it among them: it was taught with no more.
const TOKENS_MAX: usize = 128;

/// The reader of sentences. It holds some 30 MB, remembers nothing, and works on one thing at a time.
pub struct Sentences {
    session: Session,
    pieces: WordPieces,
}

impl Sentences {
    /// Loads the files of [`models::SENTENCES`](crate::models::SENTENCES) in this folder.
    ///
    /// # Errors
    /// If one is missing or damaged.
    pub(crate) fn load(runtime: &Runtime, folder: &Path) -> Result<Sentences> {
        let vocabulary = folder.join("vocab.txt");
        let pieces = WordPieces::read(&read(&vocabulary)?).map_err(|why| Error::damaged(&vocabulary, why))?;
        Ok(Sentences { session: runtime.session(&folder.join("encoder.onnx"))?, pieces })
    }

    /// The tokens of these words, which are letters, digits and apostrophes, and those that begin and end a sentence.
    pub fn tokens(&self, words: &[String]) -> Vec<u32> {
        self.pieces.of(words)
    }

    /// What these words are about.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn vector(&mut self, words: &[String]) -> Result<Vec<f32>> {
        let tokens: Vec<i64> = self.tokens(words).into_iter().map(i64::from).collect();
        let places: Vec<i64> = (0..tokens.len() as i64).collect();
        let outputs = self.session.run(ort::inputs![
            TOKENS => Tensor::from_array(([tokens.len()], tokens))?,
            PLACES => Tensor::from_array(([places.len()], places))?,
        ])?;
        Ok(outputs[VECTOR].try_extract_tensor::<f32>()?.1.to_vec())
    }
}

/// Word pieces: of a word, the longest piece at its beginning that is in the vocabulary, then the longest that goes on from
/// there (`##` before it), to its end.
struct WordPieces {
    ids: HashMap<String, u32>,
    begin: u32,
    end: u32,
    unknown: u32,
}

/// A longer word is unknown, whatever its pieces.
const WORD_MAX: usize = 100;

impl WordPieces {
    /// A piece on each line, known by the line's number.
    fn read(file: &[u8]) -> std::result::Result<WordPieces, String> {
        let text = str::from_utf8(file).map_err(|error| error.to_string())?;
        let ids: HashMap<String, u32> = text.lines().map(str::to_owned).zip(0..).collect();
        let known = |piece: &str| ids.get(piece).copied().ok_or_else(|| format!("it has no {piece}"));
        let [begin, end, unknown] = [known("[CLS]")?, known("[SEP]")?, known("[UNK]")?];
        Ok(WordPieces { ids, begin, end, unknown })
    }

    fn of(&self, words: &[String]) -> Vec<u32> {
        let mut tokens = vec![self.begin];
        for word in words {
            // Accents are not written in this vocabulary.
            let plain = word.nfd().filter(|character| !is_combining_mark(*character)).flat_map(char::to_lowercase);
            let plain: Vec<char> = plain.collect();
            let alone = |character: char| character == '\'' || is_ideograph(character);
            for part in plain.chunk_by(|&one, &other| !alone(one) && !alone(other)) {
                self.word(part, &mut tokens);
            }
        }
        tokens.truncate(TOKENS_MAX - 1);
        tokens.push(self.end);
        tokens
    }

    fn word(&self, word: &[char], tokens: &mut Vec<u32>) {
        let (before, mut from) = (tokens.len(), 0);
        while from < word.len() && word.len() <= WORD_MAX {
            let piece = |to: usize| {
                let mark = if from > 0 { "##" } else { "" };
                self.ids.get(&(mark.to_owned() + &String::from_iter(&word[from..to])))
            };
            let Some((to, id)) = (from + 1..=word.len()).rev().find_map(|to| Some((to, *piece(to)?))) else { break };
            tokens.push(id);
            from = to;
        }
        if from < word.len() {
            tokens.truncate(before);
            tokens.push(self.unknown);
        }
    }
}

/// A character that is a word by itself: the blocks of Chinese ones.
fn is_ideograph(character: char) -> bool {
    matches!(u32::from(character),
        0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..=0x2_A6DF | 0x2_A700..=0x2_CEAF | 0x2_F800..=0x2_FA1F)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(words: &[&str]) -> Vec<u32> {
        let file = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nre\n##new\n##n\n##ew\nnew\n'\nt\ncafe\n\u{65e5}\n##s";
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        WordPieces::read(file.as_bytes()).unwrap().of(&words)
    }

    #[test]
    fn a_word_is_its_longest_pieces_from_its_beginning() {
        assert_eq!(pieces(&[]), [2, 3]);
        assert_eq!(pieces(&["renew", "new"]), [2, 4, 5, 8, 3]);
        // What cannot be read to its end is unknown as a whole.
        assert_eq!(pieces(&["renewal", "new"]), [2, 1, 8, 3]);
        assert_eq!(pieces(&["new't", "Caf\u{e9}s"]), [2, 8, 9, 10, 11, 13, 3]);
        assert_eq!(pieces(&["\u{65e5}\u{65e5}new"]), [2, 12, 12, 8, 3]);
        assert_eq!(
            pieces(&[&format!("re{}", "n".repeat(WORD_MAX - 2)), &format!("re{}", "n".repeat(WORD_MAX - 1))]).len(),
            2 + 99 + 1
        );
    }

    #[test]
    fn of_a_long_sentence_the_beginning_is_read() {
        let tokens = pieces(&["new"; 500]);
        assert_eq!((tokens.len(), tokens[TOKENS_MAX - 2], tokens[TOKENS_MAX - 1]), (TOKENS_MAX, 8, 3));
    }

    #[test]
    fn a_vocabulary_without_the_pieces_that_are_needed_is_damaged() {
        assert_eq!(WordPieces::read(b"[CLS]\n[SEP]\nnew").err().unwrap(), "it has no [UNK]");
        assert!(WordPieces::read(&[0xFF]).is_err());
    }
}
