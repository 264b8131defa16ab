//! What a text is about, as a vector: the mean of its tokens' vectors, each looked up in a table. Texts about the same thing
//! have vectors of like direction, also where they share no word; the order of the words is lost.
//!
//! Tokens are made here and not by the crate that the file is written for: of its many models this needs one, byte-pair
//! encoding of single words, which is shorter than that crate's list of dependencies.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::error::{Error, Result, read};
use crate::models;
use crate::safetensors::Tensors;

/// Characters of a word that are looked at: what goes on is no word, and the work grows with the square.
const WORD_MAX: usize = 64;

/// What the table is called in its file.
const TABLE: &str = "embedding.weight";

/// What this vocabulary has for the space before a word.
const SPACE: char = '\u{2581}';

/// The table, and what makes tokens of a text. 16 MB: one for all flows.
pub struct WordVectors {
    tokens: Tokens,
    /// Halves (IEEE 754 binary16), little-endian, one token after the other.
    table: Vec<u8>,
    width: usize,
}

impl WordVectors {
    /// Those in the weights' folder. `None` if they are not here.
    ///
    /// # Errors
    /// If they are damaged.
    pub fn open(folder: &Path) -> Result<Option<Arc<WordVectors>>> {
        let load = || {
            WordVectors::load(&folder.join("wordllama/vectors.safetensors"), &folder.join("wordllama/tokenizer.json"))
        };
        models::WORD_VECTORS.is_here(folder).then(load).transpose().map(|vectors| vectors.map(Arc::new))
    }

    fn load(vectors: &Path, tokenizer: &Path) -> Result<WordVectors> {
        let file = read(vectors)?;
        let table = Tensors::read(&file).and_then(|tensors| tensors.get(TABLE, "F16"));
        let ([rows, width], table) = table.map_err(|why| Error::damaged(vectors, why))?;
        let tokens = Tokens::read(&read(tokenizer)?, rows).map_err(|why| Error::damaged(tokenizer, why))?;
        Ok(WordVectors { tokens, table: table.to_vec(), width })
    }

    /// The tokens of a text, word by word.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        // No token of this vocabulary begins in one word and ends in the next.
        text.split_whitespace().flat_map(|word| self.tokens.of(word)).collect()
    }

    /// The mean of a text's tokens. Its length is of no meaning; 0, if there are none.
    pub fn vector(&self, text: &str) -> Vec<f32> {
        let tokens = self.tokens(text);
        let mut mean = vec![0.0; self.width];
        for &token in &tokens {
            let row = &self.table[token as usize * self.width * 2..][..self.width * 2];
            for (sum, &half) in mean.iter_mut().zip(row.as_chunks().0) {
                *sum += float(u16::from_le_bytes(half)) / tokens.len() as f32;
            }
        }
        mean
    }
}

impl fmt::Debug for WordVectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WordVectors").field("width", &self.width).finish_non_exhaustive()
    }
}

/// A half as a float: the same bits, 112 powers of two apart. What would be infinite is merely large.
fn float(half: u16) -> f32 {
    let size = f32::from_bits(u32::from(half & 0x7FFF) << 13) * f32::from_bits((127 + 112) << 23);
    if half >> 15 == 0 { size } else { -size }
}

/// Byte-pair encoding: a word is its characters, then the pair that comes first in the list is made one token, until no pair is
/// in the list. A character that is no token is its bytes.
struct Tokens {
    characters: HashMap<char, u32>,
    bytes: Vec<u32>,
    /// The pair's place in the list, and the token that it becomes.
    merges: HashMap<(u32, u32), (usize, u32)>,
}

impl Tokens {
    /// Reads a tokenizer.json whose tokens are all below `limit`.
    fn read(file: &[u8], limit: usize) -> std::result::Result<Tokens, String> {
        #[derive(Deserialize)]
        struct File {
            model: Model,
        }
        #[derive(Deserialize)]
        struct Model {
            vocab: HashMap<String, u32>,
            merges: Vec<String>,
        }
        let File { model: Model { vocab, merges } } =
            serde_json::from_slice(file).map_err(|error| error.to_string())?;
        let known = |token: &str| match vocab.get(token) {
            Some(&id) if (id as usize) < limit => Ok(id),
            _ => Err(format!("{token:?} has no vector")),
        };
        let bytes =
            (0..=u8::MAX).map(|byte| known(&format!("<0x{byte:02X}>"))).collect::<std::result::Result<_, _>>()?;
        let mut characters = HashMap::new();
        for token in vocab.keys() {
            let mut inside = token.chars();
            if let (Some(character), None) = (inside.next(), inside.next()) {
                characters.insert(character, known(token)?);
            }
        }
        let merge = |(place, pair): (usize, &String)| {
            let (first, second) = pair.split_once(' ').ok_or_else(|| format!("{pair:?} is not a pair"))?;
            Ok(((known(first)?, known(second)?), (place, known(&format!("{first}{second}"))?)))
        };
        let merges = merges.iter().enumerate().map(merge).collect::<std::result::Result<_, String>>()?;
        Ok(Tokens { characters, bytes, merges })
    }

    fn of(&self, word: &str) -> Vec<u32> {
        let mut row = Vec::new();
        for character in std::iter::once(SPACE).chain(word.chars().take(WORD_MAX)) {
            match self.characters.get(&character) {
                Some(&token) => row.push(token),
                None => {
                    row.extend(character.encode_utf8(&mut [0; 4]).bytes().map(|byte| self.bytes[usize::from(byte)]))
                }
            }
        }
        loop {
            let pairs = row.windows(2).enumerate();
            let found = pairs.filter_map(|(at, pair)| {
                self.merges.get(&(pair[0], pair[1])).map(|&(place, token)| (place, at, token))
            });
            let Some((_, at, token)) = found.min() else { return row };
            row[at] = token;
            row.remove(at + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::safetensors;

    const TOKENS: &str = r#""\u2581": 256, "a": 257, "b": 258, "ab": 259, "\u2581ab": 260, "ba": 261"#;
    const MERGES: &str = r#""b a", "a b", "\u2581 ab""#;

    fn tokenizer(tokens: &str, merges: &str) -> Vec<u8> {
        let bytes: Vec<String> = (0..256).map(|byte| format!("\"<0x{byte:02X}>\": {byte}")).collect();
        format!(r#"{{"model": {{"vocab": {{{}, {tokens}}}, "merges": [{merges}]}}}}"#, bytes.join(", ")).into_bytes()
    }

    #[test]
    fn the_first_pair_of_the_list_is_joined_first() {
        let tokens = Tokens::read(&tokenizer(TOKENS, MERGES), 262).unwrap();
        assert_eq!(tokens.of("ab"), [260]);
        assert_eq!(tokens.of("aba"), [256, 257, 261]);
        // Two bytes, and no characters.
        assert_eq!(tokens.of("\u{e9}a"), [256, 0xC3, 0xA9, 257]);
        assert_eq!(tokens.of(&"a".repeat(9_999)).len(), 1 + WORD_MAX);
    }

    #[test]
    fn halves_are_what_they_mean() {
        let cases = [
            (0x0000, 0.0),
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7BFF, 65_504.0),
            (0x0001, 5.960_464_5e-8),
        ];
        for (half, value) in cases {
            assert!((float(half) - value).abs() <= value.abs() * 1e-7, "{half:04x}: {} and not {value}", float(half));
        }
    }

    #[test]
    fn a_text_is_the_mean_of_its_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let [vectors, words] = ["v", "t"].map(|name| folder.path().join(name));
        // Each token is one and the number of its row.
        let numbers: Vec<u8> =
            (0..262).flat_map(|row| [0x00, 0x3C, 0x00, if row == 260 { 0x40 } else { 0x3C }]).collect();
        std::fs::write(&vectors, safetensors::tests::file(&[(TABLE, "F16", &[262, 2], &numbers)])).unwrap();
        std::fs::write(&words, tokenizer(TOKENS, MERGES)).unwrap();
        let loaded = WordVectors::load(&vectors, &words).unwrap();
        assert_eq!(loaded.vector("ab"), [1.0, 2.0]);
        assert_eq!(loaded.tokens(" ab  ba "), [260, 256, 261]);
        assert_eq!(loaded.vector(""), [0.0, 0.0]);
        std::fs::write(&words, "{}").unwrap();
        let refused = WordVectors::load(&vectors, &words).unwrap_err().to_string();
        assert!(refused.contains("missing field `model`") && refused.contains("patchcord models verify"), "{refused}");
    }

    #[test]
    fn damaged_tokens_are_refused() {
        let refused =
            |tokens: &str, merges: &str, limit| Tokens::read(&tokenizer(tokens, merges), limit).err().unwrap();
        assert_eq!(refused(TOKENS, "\"ab\"", 262), "\"ab\" is not a pair");
        assert_eq!(refused(TOKENS, "\"a a\"", 262), "\"aa\" has no vector");
        assert_eq!(refused(TOKENS, MERGES, 261), "\"ba\" has no vector");
        assert_eq!(refused(TOKENS, MERGES, 255), "\"<0xFF>\" has no vector");
    }
}
