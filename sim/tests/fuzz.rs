//! Every fuzz target with its corpus, with mutations of it, and with noise. The seed is fixed: a failure comes again.
//! `FUZZ_RUNS` sets how many mutations; `FUZZ_SEED` begins elsewhere.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::fuzz::{self, Mutator, TARGETS, Target, corpus};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs a target, and says what it was fed with if it fails.
fn feed(name: &str, target: Target, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
        panic!("{name} fails on {}", bytes.escape_ascii());
    }
}

fn fuzz(name: &str, runs: u64) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let examples = corpus(name);
    for example in &examples {
        feed(name, target, example);
    }
    let mut mutator = Mutator::new(setting("FUZZ_SEED", 1));
    for _ in 0..setting("FUZZ_RUNS", runs) {
        feed(name, target, &mutator.mutate(&examples));
    }
}

#[test]
fn from_carrier() {
    fuzz("from-carrier", 100_000);
}

#[test]
fn to_carrier() {
    fuzz("to-carrier", 100_000);
}

#[test]
fn from_model() {
    fuzz("from-model", 100_000);
}

#[test]
fn to_model() {
    fuzz("to-model", 60_000);
}

#[test]
fn trace() {
    fuzz("trace", 2_000);
}

#[test]
fn r9_session() {
    fuzz("session", 2_000);
}

/// The core by arbitrary inputs: its own invariants judge.
#[test]
fn call() {
    let mut mutator = Mutator::new(setting("FUZZ_SEED", 1));
    for _ in 0..setting("FUZZ_RUNS", 5_000) {
        feed("call", fuzz::call, &mutator.noise(1_200));
    }
}

/// The corpus is read by what it is for: examples that are refused at once would teach a fuzzer nothing.
#[test]
fn every_example_is_well_formed() {
    for example in corpus("from-carrier") {
        call::wire::twilio::read(std::str::from_utf8(&example).unwrap()).unwrap();
    }
    for example in corpus("to-carrier") {
        call::wire::twilio::read_to_carrier(std::str::from_utf8(&example).unwrap()).unwrap();
    }
    for example in corpus("from-model") {
        let read = call::wire::openai::Realtime::new();
        let text = std::str::from_utf8(&example).unwrap();
        assert!(!matches!({ read }.read(text), call::wire::openai::Read::Malformed(_)), "{text}");
    }
    for example in corpus("to-model") {
        call::wire::openai::ClientEvent::read(std::str::from_utf8(&example).unwrap()).unwrap();
    }
    for example in corpus("trace") {
        call::trace::Trace::read(std::str::from_utf8(&example).unwrap()).unwrap();
    }
}
