//! Whether a turn is over, by its sound.

use std::sync::Arc;
use std::time::Instant;

use voice::Weights;
use voice::detect::{Hearing, Turn, TurnSettings, Turns};
use voice::resample::Resampler;
use voice::speak::{Rate, Said, sentences};
use voice::turn_end::{self, silence_ms};

use crate::{common, prompts};

/// Turns that are complete, and turns that break off: how many are taken for which, and how long each then waits.
/// Recorded prompts of one whole sentence of at least five words (`PATCHCORD_PROMPTS` as above; left out without it), and
/// lines that the synthesis speaks. The prompts by halves: [`turn_end::TAIL_MS`] was chosen by the first.
#[test]
#[ignore = "a measurement"]
fn turn_ends() {
    let weights = Weights::open(&common::folder()).unwrap();
    let mut judge = weights.turn_end().unwrap().expect("scripts/voice-models fetches its weights");
    let mut detector = weights.detector().unwrap();
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let mut sets = Vec::new();
    if std::env::var_os("PATCHCORD_PROMPTS").is_some() {
        let whole = |text: &str| {
            let inside = &text[..text.len() - 1];
            text.starts_with(|first: char| first.is_ascii_uppercase())
                && text.ends_with(['.', '?', '!'])
                && !inside.contains(['.', '?', '!', ':'])
                && text.split_whitespace().count() >= 5
        };
        let prompts = prompts().into_iter().filter(|(text, _)| whole(text.trim()));
        let (first, second): (Vec<_>, Vec<_>) = prompts.enumerate().partition(|(at, _)| at % 2 == 0);
        for (name, half) in [("prompts, first half", first), ("prompts, second half", second)] {
            sets.push((name, half.into_iter().map(|(_, (_, samples))| samples).collect::<Vec<_>>()));
        }
    }
    let mut say = |line: &str| {
        sentences(line).iter().flat_map(|one| speaker.say(one, Rate::Telephone, 1.0).unwrap().to_vec()).collect()
    };
    sets.push(("spoken lines", include_str!("../data/lines.txt").lines().map(&mut say).collect()));
    let mut took = Vec::new();
    for (name, turns) in sets {
        for whole in [true, false] {
            // By the silence that the judge is given.
            for tail_ms in [turn_end::TAIL_MS, 200, 400, 800, 1_600] {
                let mut found = Vec::new();
                for turn in &turns {
                    let turn = common::audible(turn);
                    let turn = if whole { turn } else { common::broken_off(turn) };
                    let heard = heard_until_pause(&mut detector, turn, tail_ms);
                    let began = Instant::now();
                    found.push(judge.judge(&Resampler::convert(8_000, turn_end::RATE, &heard)).unwrap());
                    took.push(began.elapsed());
                }
                let likely = found.iter().filter(|over| **over > 0.5).count();
                // Of medium eagerness, and never before the pause is noticed.
                let mut waits: Vec<u32> = found.iter().map(|over| silence_ms(*over, 4_000).max(192)).collect();
                waits.sort_unstable();
                let within = |ms: u32| waits.iter().filter(|wait| **wait <= ms).count();
                println!(
                    "{name}, {}, {tail_ms} ms of silence: {likely} of {} likely over; ended within 250 ms {}, within \
                     700 ms {}, median {} ms, mean {} ms",
                    if whole { "whole" } else { "broken off" },
                    found.len(),
                    within(250),
                    within(700),
                    waits[waits.len() / 2],
                    waits.iter().sum::<u32>() / waits.len() as u32
                );
            }
        }
    }
    took.sort_unstable();
    println!(
        "{} judgements: median {} ms, slowest {} ms",
        took.len(),
        took[took.len() / 2].as_millis(),
        took[took.len() - 1].as_millis()
    );
}

/// What a session gives to the judge in the last pause of this turn, with so much silence.
fn heard_until_pause(detector: &mut voice::detect::Detector, turn: &[f32], tail_ms: u64) -> Vec<f32> {
    let mut samples = vec![0.0; 4_000];
    samples.extend(
        turn.iter()
            .map(|sample| f32::from(call::g711::decode(call::g711::encode((sample * 32_767.0) as i16))) / 32_768.0),
    );
    samples.resize(samples.len() + 16_000, 0.0);
    let mut probabilities = Vec::new();
    detector.hear(&mut Hearing::default(), &samples, &mut probabilities).unwrap();
    let mut turns = Turns::default();
    let (mut from, mut until) = (0, 0);
    for probability in probabilities {
        match turns.step(probability, TurnSettings { threshold: 0.5, silence: 64_000 }) {
            Some(Turn::Started { at }) => from = (at as usize).saturating_sub(2_400),
            Some(Turn::Paused { at }) => until = at as usize + tail_ms as usize * 8,
            _ => {}
        }
    }
    let until = until.min(samples.len());
    samples[from.max(until.saturating_sub(64_000))..until].to_vec()
}
