//! Other words for the same, over flows of several trades: what is understood, and what is asked again.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::sync::{Arc, Mutex};

use common::understanding::{self, Asked, Counts, Set, Understanding};
use voice::dialogue::Flow;
use voice::sentences::Sentences;
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

fn sentences(test: &str) -> Option<Arc<Mutex<Sentences>>> {
    common::weights(test)
        .and_then(|weights| common::sentences(&weights, test))
        .map(|reader| Arc::new(Mutex::new(reader)))
}

/// By `data/sentences.py`, which asks the library that the vocabulary is written for.
#[test]
fn word_pieces_are_those_of_the_vocabulary_s_own_library() {
    let Some(sentences) = sentences("word_pieces_are_those_of_the_vocabulary_s_own_library") else { return };
    for line in include_str!("data/word_pieces.txt").lines() {
        let (tokens, text) = line.split_once('\t').unwrap();
        let tokens: Vec<u32> = tokens.split(' ').map(|token| token.parse().unwrap()).collect();
        assert_eq!(sentences.lock().unwrap().tokens(&split(text)), tokens, "{text}");
    }
}

/// By the same, which computes in floats: ours are rounded to bytes.
#[test]
fn sentences_are_as_near_as_by_the_published_floats() {
    let Some(sentences) = sentences("sentences_are_as_near_as_by_the_published_floats") else { return };
    let mut sentences = sentences.lock().unwrap();
    for line in include_str!("data/sentence_nearness.txt").lines() {
        let (wanted, pair) = line.split_once('\t').unwrap();
        let [one, other] = [pair.split_once('|').unwrap().0, pair.split_once('|').unwrap().1]
            .map(|text| sentences.vector(&split(text)).unwrap());
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let near = dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt();
        assert!((near - wanted.parse::<f32>().unwrap()).abs() < 0.04, "{pair}: {near} and not {wanted}");
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Over the flows by which it is tuned.
fn tuned(sets: &[Set], understanding: impl Fn(Flow) -> Understanding) -> Counts {
    let mut sums = Counts::default();
    for set in sets {
        let mut understanding = understanding(understanding::flow(set.flow));
        set.asked.iter().for_each(|asked| _ = understanding.misses(asked));
        sums.iter_mut().zip(understanding.counts()).for_each(|(sum, count)| *sum += count);
    }
    println!("{}", understanding::told(&sums));
    sums
}

/// Written when word vectors had been tuned.
const LATER: [&str; 3] = ["tuning_gym", "tuning_town", "tuning_parcel"];

/// What was reached when it was tuned, and may not be lost again.
#[test]
fn flows_understand_other_words_and_ask_again_about_the_rest() {
    let Some(vectors) = vectors("flows_understand_other_words_and_ask_again_about_the_rest") else { return };
    let tuned =
        |sets: &[Set]| tuned(sets, |flow| Understanding::by(&Arc::new(flow.with_word_vectors(vectors.clone()))));
    let (later, first): (Vec<Set>, Vec<Set>) =
        understanding::tuning().into_iter().partition(|set| LATER.contains(&set.name));
    let sums = tuned(&first);
    let [right, whether, another, again, wrong, quiet, asked, invented] = sums;
    assert_eq!((right + whether + another + again + wrong, quiet + asked + invented), (193, 600));
    assert!(right >= 71 && wrong <= 8 && invented <= 12, "{sums:?}");
    let sums: Vec<usize> = sums.iter().zip(tuned(&later)).map(|(sum, more)| sum + more).collect();
    let [right, whether, another, again, wrong, quiet, asked, invented] = sums[..] else {
        unreachable!("as many as before")
    };
    assert_eq!((right + whether + another + again + wrong, quiet + asked + invented), (301, 963));
    assert!(right >= 81 && wrong <= 10 && invented <= 21, "{sums:?}");
    assert!(whether >= 40 && another <= 35 && asked <= 88, "{sums:?}");
}

/// The same: more is understood than by words, and no more is taken for something else or made up.
#[test]
fn flows_understand_sentences_better_than_words() {
    let Some(sentences) = sentences("flows_understand_sentences_better_than_words") else { return };
    let sums = tuned(&understanding::tuning(), |flow| {
        let flow = flow.with_sentences(|words| sentences.lock().unwrap().vector(words)).unwrap();
        Understanding::by(&Arc::new(flow)).reading(&sentences)
    });
    let [right, whether, another, _, wrong, _, asked, invented] = sums;
    assert!(right >= 129 && wrong <= 8 && invented <= 14, "{sums:?}");
    assert!(whether >= 61 && another <= 39 && asked <= 64, "{sums:?}");
}

/// Word for word, however alike another intent's examples are, and whatever else they might be.
#[test]
fn examples_are_always_understood() {
    let test = "examples_are_always_understood";
    let (Some(vectors), Some(sentences)) = (vectors(test), sentences(test)) else { return };
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
    let flow = Flow::read(flow).unwrap();
    let by_sentences = flow.clone().with_sentences(|words| sentences.lock().unwrap().vector(words)).unwrap();
    let flows = [flow.with_word_vectors(vectors), by_sentences].map(Arc::new);
    for (intent, text) in [
        ("there", "From the station to the airport."),
        ("back", "From the airport to the station!"),
        ("there", "Well."),
    ] {
        for flow in &flows {
            let mut understanding = Understanding::by(flow).reading(&sentences);
            assert_eq!(understanding.misses(&Asked::of(intent, text)), None, "{text}");
        }
    }
}
