//! The weights: fetched as users fetch them, and which of them are used.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use voice::models::{self, BASE, Happening, Package, SENTENCES, State, TURN_END, WORD_VECTORS};
use voice::recognise::Size;
use voice::word_vectors::WordVectors;
use voice::{Error, Weights};

/// Run by `scripts/voice-models` before the tests that need weights: it downloads what is missing, so it is not among the
/// tests that everybody runs.
#[test]
#[ignore = "downloads 197 MB"]
fn they_are_fetched_and_converted() {
    fetch(&[TURN_END, SENTENCES]);
}

/// The same with the better recogniser: `scripts/voice-models base`.
#[test]
#[ignore = "downloads 252 MB"]
fn the_better_recogniser_is_fetched_too() {
    fetch(&[BASE, TURN_END, SENTENCES]);
}

fn fetch(extras: &[&Package]) {
    let folder = common::folder();
    let mut told = Vec::new();
    models::pull(&folder, extras, |happening| match happening {
        Happening::Fetched(..) => {}
        other => told.push(other),
    })
    .unwrap_or_else(|error| panic!("{error}"));
    assert!(models::are_complete(&folder) && extras.iter().all(|extra| extra.is_here(&folder)));
    for (file, state) in models::verify(&folder) {
        assert_eq!(state, State::Good, "{}", file.path);
    }
    // A second time there is nothing to do.
    let mut again = Vec::new();
    models::pull(&folder, extras, |happening| again.push(happening)).unwrap();
    assert!(again.iter().all(|happening| matches!(happening, Happening::AlreadyHere(_))), "{again:?}");
}

/// In a folder that has what everybody needs, then what is fetched by default, and no more, until files of the better
/// recogniser's sizes lie beside them.
#[cfg(unix)]
#[test]
fn the_better_recogniser_is_used_when_it_is_here() {
    if common::weights("the_better_recogniser_is_used_when_it_is_here").is_none() {
        return;
    }
    let folder = common::needed_only();
    let whole = std::path::absolute(common::folder()).unwrap();
    // As an older pull left it: it starts, and what is missing is fetched by the next.
    assert!(Weights::open(folder.path()).is_ok() && WordVectors::open(folder.path()).unwrap().is_none());
    assert!(models::are_here(folder.path()) && !models::are_complete(folder.path()));
    WORD_VECTORS.files.iter().for_each(|file| common::link(&whole, folder.path(), file));
    assert!(models::are_complete(folder.path()));
    let weights = Weights::open(folder.path()).unwrap();
    assert_eq!(weights.recogniser_size(), Size::Tiny);
    assert!(weights.turn_end().unwrap().is_none() && weights.sentences().unwrap().is_none());
    let refused = weights.recognising_with(Size::Base).err().unwrap();
    assert!(matches!(refused, Error::MissingBase(_)), "{refused}");
    assert!(refused.to_string().contains("patchcord models pull --recogniser base"), "{refused}");
    assert!(models::verify(folder.path()).iter().all(|(_, state)| *state == State::Good));
    for file in BASE.files {
        let path = folder.path().join(file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(file.size).unwrap();
    }
    let weights = Weights::open(folder.path()).unwrap();
    assert_eq!(weights.recogniser_size(), Size::Base);
    assert_eq!(weights.recognising_with(Size::Tiny).unwrap().recogniser_size(), Size::Tiny);
    // What they are, only their hashes tell; and what is wrong is then wanted right.
    let found = models::verify(folder.path());
    let wrong: Vec<&str> = found.iter().filter(|(_, state)| *state != State::Good).map(|(file, _)| file.path).collect();
    assert_eq!(wrong, BASE.files.iter().map(|file| file.path).collect::<Vec<_>>());
}
