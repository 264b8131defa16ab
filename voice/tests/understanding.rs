//! Other words for the same, over flows of several trades: what is understood, and what is asked again.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::sync::Arc;

use common::understanding::{self, Asked, Understanding};
use voice::dialogue::Flow;
use voice::word_vectors::WordVectors;

fn vectors(test: &str) -> Option<Arc<WordVectors>> {
    let vectors = WordVectors::open(&common::folder()).unwrap();
    if vectors.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs the word vectors");
        println!("SKIPPED {test}: no word vectors (scripts/voice-models fetches them)");
    }
    vectors
}

/// By `data/word_tokens.py`, which asks the library that the file is written for.
#[test]
fn tokens_are_those_of_the_weights_own_library() {
    let Some(vectors) = vectors("tokens_are_those_of_the_weights_own_library") else { return };
    for line in include_str!("data/word_tokens.txt").lines() {
        let (tokens, text) = line.split_once('\t').unwrap();
        let tokens: Vec<u32> = tokens.split(' ').map(|token| token.parse().unwrap()).collect();
        assert_eq!(vectors.tokens(text), tokens, "{text}");
    }
}

/// What was reached when it was tuned, and may not be lost again.
#[test]
fn flows_understand_other_words_and_ask_again_about_the_rest() {
    let Some(vectors) = vectors("flows_understand_other_words_and_ask_again_about_the_rest") else { return };
    let mut sums = [0; 5];
    for set in understanding::tuning() {
        let flow = Arc::new(Flow::read(set.flow).unwrap().with_word_vectors(vectors.clone()));
        let mut understanding = Understanding::by(&flow);
        set.asked.iter().for_each(|asked| _ = understanding.misses(asked));
        sums.iter_mut().zip(understanding.counts()).for_each(|(sum, count)| *sum += count);
    }
    let [right, again, wrong, quiet, invented] = sums;
    println!(
        "{right} understood, {again} asked again, {wrong} taken for something else; nothing meant: {quiet} asked again, \
         {invented} answered"
    );
    assert_eq!((right + again + wrong, quiet + invented), (193, 600));
    assert!(right >= 71 && wrong <= 8 && invented <= 12, "{sums:?}");
}

/// Word for word, however alike another intent's examples are, and whatever else they might be.
#[test]
fn examples_are_always_understood() {
    let Some(vectors) = vectors("examples_are_always_understood") else { return };
    let flow = r#"
        [[intent]]
        name = "there"
        examples = ["from the station to the airport", "well"]
        answer = "there"

        [[intent]]
        name = "back"
        examples = ["from the airport to the station"]
        answer = "back"
    "#;
    let flow = Arc::new(Flow::read(flow).unwrap().with_word_vectors(vectors));
    for (intent, text) in [
        ("there", "From the station to the airport."),
        ("back", "From the airport to the station!"),
        ("there", "Well."),
    ] {
        assert_eq!(Understanding::by(&flow).misses(&Asked::of(intent, text)), None, "{text}");
    }
}
