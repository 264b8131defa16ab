//! Where tests find the weights, and what they do without.
#![allow(dead_code, reason = "not every test uses all of it")]

pub mod sounds;
pub mod understanding;

use std::path::{Path, PathBuf};

use voice::Weights;
use voice::recognise::Size;
use voice::sentences::Sentences;
use voice::turn_end::TurnEnd;

/// The folder that the tests' weights are fetched into: outside git, beside the workspace's other working folders.
pub fn folder() -> PathBuf {
    let named = std::env::var_os("PATCHCORD_VOICE_MODELS").map(PathBuf::from);
    named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.voice-models"))
}

/// The weights with each recogniser that is there; none after having said so. Where `CI=true` the smaller one has to be.
pub fn recognisers(test: &str) -> Vec<Weights> {
    let Some(tiny) = weights(test) else { return Vec::new() };
    match tiny.clone().recognising_with(Size::Base) {
        Ok(base) => vec![tiny, base],
        Err(error) => {
            println!("SKIPPED {test} with the better recogniser: {error}");
            vec![tiny]
        }
    }
}

/// The weights with the smaller recogniser, or `None` after having said so. Where `CI=true` they have to be there.
pub fn weights(test: &str) -> Option<Weights> {
    match Weights::open(&folder()).and_then(|weights| weights.recognising_with(Size::Tiny)) {
        Ok(weights) => Some(weights),
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs the weights: {error}");
            println!("SKIPPED {test}: {error} (scripts/voice-models fetches them)");
            None
        }
    }
}

/// What judges whether a turn is over, or `None` after having said so. Where `CI=true` it has to be there.
pub fn turn_end(weights: &Weights, test: &str) -> Option<TurnEnd> {
    let turn_end = weights.turn_end().expect("its weights are damaged");
    if turn_end.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs the weights of the end of turn");
        println!("SKIPPED {test}: no weights of the end of turn (scripts/voice-models fetches them)");
    }
    turn_end
}

/// What reads sentences, or `None` after having said so. Where `CI=true` it has to be there.
pub fn sentences(weights: &Weights, test: &str) -> Option<Sentences> {
    let sentences = weights.sentences().expect("its weights are damaged");
    if sentences.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs the weights that read sentences");
        println!("SKIPPED {test}: no weights that read sentences (scripts/voice-models fetches them)");
    }
    sentences
}

/// A folder with the weights that everybody needs, as links to them.
#[cfg(unix)]
pub fn needed_only() -> tempfile::TempDir {
    let links = tempfile::tempdir().expect("no temporary folder");
    let whole = std::path::absolute(folder()).expect("the weights' folder");
    for file in voice::models::files() {
        link(&whole, links.path(), file);
    }
    links
}

/// A link to a file of the weights in another folder of them.
#[cfg(unix)]
pub fn link(whole: &Path, links: &Path, file: &voice::models::File) {
    let path = links.join(file.path);
    std::fs::create_dir_all(path.parent().expect("files lie in folders")).expect("no folder");
    std::os::unix::fs::symlink(whole.join(file.path), path).expect("no link");
}

/// A turn (8 kHz) that breaks off in the middle: where it is quietest, between four and seven tenths of it.
pub fn broken_off(turn: &[f32]) -> &[f32] {
    const QUIET: usize = 240;
    let (from, until) = (turn.len() * 4 / 10, turn.len() * 7 / 10);
    let energy = |at: &usize| turn[at - QUIET / 2..at + QUIET / 2].iter().map(|sample| sample * sample).sum::<f32>();
    let quietest = (from..until).min_by(|one, other| energy(one).total_cmp(&energy(other)));
    &turn[..quietest.unwrap_or(until)]
}

/// From its first sample that is heard to its last.
pub fn audible(samples: &[f32]) -> &[f32] {
    let heard = |sample: &f32| sample.abs() > 0.01;
    match (samples.iter().position(heard), samples.iter().rposition(heard)) {
        (Some(from), Some(until)) => &samples[from..=until],
        _ => &[],
    }
}

/// Insertions, deletions and substitutions between two rows (Levenshtein).
pub fn edits<T: PartialEq>(wanted: &[T], found: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=found.len()).collect();
    for (at, one) in wanted.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, other) in found.iter().enumerate() {
            let substituted = diagonal + usize::from(one != other);
            diagonal = row[place + 1];
            row[place + 1] = substituted.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[found.len()]
}

/// Small letters and figures only: what two writings of one sentence have in common.
pub fn words(text: &str) -> Vec<String> {
    let spoken = text.to_lowercase().replace('\'', "");
    spoken
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}
