//! The stages with their weights: what is said is heard and understood again; what is no speech is not.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use voice::detect::{Hearing, Turn, TurnSettings, Turns};
use voice::dialogue::Flow;
use voice::expected::Expected;
use voice::level::{LOUDNESS, PEAK, loudness};
use voice::models::{SENTENCES, TURN_END};
use voice::recognise::{Recogniser, Size};
use voice::resample::Resampler;
use voice::server::engine::{Engine, Found, What, Work};
use voice::speak::{Rate, Said};
use voice::{Weights, speak};

const SETTINGS: TurnSettings = TurnSettings { threshold: 0.5, silence: 4_000 };

/// As a telephone line carries it.
fn telephone(samples: &[f32]) -> Vec<f32> {
    let coded = samples.iter().map(|sample| call::g711::encode((sample * 32_767.0) as i16));
    coded.map(|byte| f32::from(call::g711::decode(byte)) / 32_768.0).collect()
}

fn length(samples: &[f32]) -> Duration {
    Duration::from_micros(125 * samples.len() as u64)
}

fn turns(weights: &Weights, samples: &[f32]) -> Vec<Turn> {
    let mut probabilities = Vec::new();
    // In pieces as a carrier sends them.
    let mut hearing = Hearing::default();
    let mut detector = weights.detector().unwrap();
    for frame in samples.chunks(160) {
        detector.hear(&mut hearing, frame, &mut probabilities).unwrap();
    }
    let mut turns = Turns::default();
    probabilities.into_iter().filter_map(|probability| turns.step(probability, SETTINGS)).collect()
}

#[test]
fn what_is_said_is_heard_as_one_turn_and_understood() {
    let all = common::recognisers("what_is_said_is_heard_as_one_turn_and_understood");
    let Some(weights) = all.first() else { return };
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let mut recognisers: Vec<Recogniser> = all.iter().map(|weights| weights.recogniser().unwrap()).collect();
    for line in ["I have a table for four on Friday.", "Can I get your phone number?", "We are open from nine to five."]
    {
        let spoken = speaker.say(line, Rate::Telephone, 1.0).unwrap();
        let heard = telephone(&spoken);
        for (recogniser, weights) in recognisers.iter_mut().zip(&all) {
            let text = recogniser
                .recognise(&Resampler::convert(8_000, 16_000, &heard), length(&heard), &Expected::default())
                .unwrap();
            assert_eq!(common::words(&text), common::words(line), "{:?}", weights.recogniser_size());
        }
        let mut call = vec![0.0; 4_000];
        call.extend(&heard);
        call.extend([0.0; 8_000]);
        let turns: Vec<Turn> = turns(weights, &call)
            .into_iter()
            .filter(|turn| matches!(turn, Turn::Started { .. } | Turn::Stopped { .. }))
            .collect();
        let [Turn::Started { at }, Turn::Stopped { at: end }] = turns[..] else { panic!("{line}: {turns:?}") };
        assert!((3_000..6_400).contains(&at), "{line}: began at {at}");
        let ended = 4_000 + heard.len() as u64;
        assert!((ended + 1_000..ended + 5_000).contains(&end), "{line}: ended at {end}, spoken until {ended}");
    }
}

/// Breaks when what is expected counts nothing, or makes other words of what sounds only a little like it.
#[tokio::test]
async fn what_is_expected_is_written_if_it_sounds_like_it() {
    for weights in common::recognisers("what_is_expected_is_written_if_it_sounds_like_it") {
        let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
        let engine = Engine::start(&weights, 1, 2).unwrap();
        let (results, mut found) = tokio::sync::mpsc::channel(1);
        let choices = "['Smyth', 'Thwaite', 'Knight', 'Myer', 'Americano']";
        let flow = format!("[[intent]]\nname = 'a'\nexamples = ['b']\nanswer = 'c'\nslots = {{ which = {choices} }}");
        let expected = Flow::read(&flow).unwrap().expected();
        let mut hear = async |line: &str| {
            let samples = telephone(&speaker.say(line, Rate::Telephone, 1.0).unwrap());
            let mut heard = Vec::new();
            for expected in [Arc::default(), expected.clone()] {
                let speech = Some(samples.len() as u64);
                let what = What::Recognise { samples: samples.clone(), speech, expected };
                engine.ask(Work { id: 1, what }, &results);
                let Ok(Found::Text(text)) = found.recv().await.unwrap().found else { panic!("{line}") };
                heard.push(common::words(&text));
            }
            <[Vec<String>; 2]>::try_from(heard).unwrap()
        };
        let mut helped = 0;
        for (line, choice) in [
            ("I want to speak to Smyth.", "smyth"),
            ("I want to see doctor Thwaite.", "thwaite"),
            ("A shot of maricano.", "americano"),
        ] {
            let choice = choice.to_owned();
            let [without, with] = hear(line).await;
            helped += usize::from(!without.contains(&choice) && with.contains(&choice));
        }
        assert!(helped >= 2, "{:?}: {helped} of 3", weights.recogniser_size());
        for line in ["I was there last night.", "Put me through tomorrow.", "We are open from nine to five."] {
            assert_eq!(hear(line).await, [common::words(line), common::words(line)]);
        }
    }
}

/// Lines of which the network is sure: how often it is wrong, `measure/turn_ends.rs` counts.
#[tokio::test]
async fn a_whole_sentence_is_over_and_one_that_breaks_off_is_not() {
    let test = "a_whole_sentence_is_over_and_one_that_breaks_off_is_not";
    let Some(weights) = common::weights(test) else { return };
    if common::turn_end(&weights, test).is_none() {
        return;
    }
    let engine = Engine::start(&weights, 1, 1).unwrap();
    let (results, mut found) = tokio::sync::mpsc::channel(1);
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    for line in [
        "You can return the shoes within thirty days.",
        "What is the name on the account?",
        "The first one leaves at six fifteen.",
        "All our lines are busy at the moment.",
    ] {
        let spoken = speaker.say(line, Rate::Telephone, 1.0).unwrap();
        let whole = common::audible(&spoken);
        for (turn, is_over) in [(whole, true), (common::broken_off(whole), false)] {
            let mut samples = telephone(turn);
            samples.resize(samples.len() + 1_000, 0.0);
            engine.ask(Work { id: 1, what: What::TurnEnd { samples } }, &results);
            let Ok(Found::TurnEnd(Some(over))) = found.recv().await.unwrap().found else { panic!("{line}") };
            assert_eq!(over > 0.5, is_over, "{line}: {over}");
        }
    }
}

/// What judges turns is no part of an engine of which nobody asks that: its file is of no use while the engine starts and
/// works, and is the right one only when it is asked.
#[cfg(unix)]
#[tokio::test]
async fn what_judges_turns_is_loaded_when_it_is_first_asked() {
    let test = "what_judges_turns_is_loaded_when_it_is_first_asked";
    let Some(weights) = common::weights(test) else { return };
    if common::turn_end(&weights, test).is_none() {
        return;
    }
    let folder = common::needed_only();
    let damaged = |file: &voice::models::File| {
        let path = folder.path().join(file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(file.size).unwrap();
    };
    TURN_END.files.iter().for_each(damaged);
    let weights = Weights::open(folder.path()).unwrap();
    assert!(weights.turn_end().is_err(), "the file would do");
    let engine = Engine::start(&weights, 1, 1).unwrap();
    let (results, mut found) = tokio::sync::mpsc::channel(1);
    let sentence = "All our lines are busy at the moment.".to_owned();
    engine.ask(Work { id: 1, what: What::Speak { sentence, rate: Rate::Telephone, speed: 1.0 } }, &results);
    let Ok(Found::Sound(spoken)) = found.recv().await.unwrap().found else { panic!("it does not speak") };

    let whole = std::path::absolute(common::folder()).unwrap();
    for file in TURN_END.files {
        std::fs::remove_file(folder.path().join(file.path)).unwrap();
        common::link(&whole, folder.path(), file);
    }
    let mut samples = telephone(common::audible(&spoken));
    samples.resize(samples.len() + 500, 0.0);
    engine.ask(Work { id: 2, what: What::TurnEnd { samples } }, &results);
    let judged = found.recv().await.unwrap().found;
    assert!(matches!(judged, Ok(Found::TurnEnd(Some(_)))), "{judged:?}");
}

/// The same of what reads sentences. A damaged one is told of where a flow needs it, and costs an engine nothing but that.
#[cfg(unix)]
#[tokio::test]
async fn what_reads_sentences_is_loaded_when_it_is_first_asked() {
    let test = "what_reads_sentences_is_loaded_when_it_is_first_asked";
    let Some(weights) = common::weights(test) else { return };
    if common::sentences(&weights, test).is_none() {
        return;
    }
    let folder = common::needed_only();
    for file in SENTENCES.files {
        let path = folder.path().join(file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(file.size).unwrap();
    }
    let weights = Weights::open(folder.path()).unwrap();
    let damaged = weights.sentences().err().unwrap().to_string();
    assert!(damaged.contains("minilm/") && damaged.contains("patchcord models verify"), "{damaged}");
    let (results, mut found) = tokio::sync::mpsc::channel(1);
    let words = || What::Understand { words: vec!["good".to_owned(), "morning".to_owned()] };
    let [without, with] = [(), ()].map(|()| Engine::start(&weights, 1, 1).unwrap());
    without.ask(Work { id: 1, what: words() }, &results);
    assert_eq!(found.recv().await.unwrap().found, Ok(Found::About(None)));

    let whole = std::path::absolute(common::folder()).unwrap();
    for file in SENTENCES.files {
        std::fs::remove_file(folder.path().join(file.path)).unwrap();
        common::link(&whole, folder.path(), file);
    }
    with.ask(Work { id: 2, what: words() }, &results);
    let Ok(Found::About(Some(vector))) = found.recv().await.unwrap().found else { panic!("it cannot read") };
    assert_eq!(vector.len(), 384);
}

#[test]
fn lines_are_alike_in_loudness_and_none_is_clipped() {
    let Some(weights) = common::weights("lines_are_alike_in_loudness_and_none_is_clipped") else { return };
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    for text in
        ["Hello!", "No.", "Your confirmation number is A 4 7 2 9, and the total is $45.50.", "Are you still there?"]
    {
        for rate in [Rate::Telephone, Rate::Wide] {
            for sentence in speak::sentences(text) {
                let samples = speaker.say(&sentence, rate, 1.0).unwrap();
                let decibels = 20.0 * (loudness(&samples, rate.hz()).unwrap() / LOUDNESS).log10();
                assert!(decibels.abs() < 1.0, "{sentence} is {decibels} dB off at {rate:?}");
                assert!(samples.iter().all(|sample| sample.abs() <= PEAK), "{sentence} is too loud");
                assert!(samples[0].abs() < 0.01 && samples[samples.len() - 1].abs() < 0.01, "{sentence} clicks");
            }
        }
    }
}

/// What a line carries that nobody says: 4 s of each.
fn no_speech() -> [(&'static str, Vec<f32>); 7] {
    const SAMPLES: usize = 4 * 8_000;
    let tone = |frequencies: &'static [f32], on: usize, off: usize| {
        (0..SAMPLES).map(move |at| {
            let time = at as f32 / 8_000.0;
            let gate = if at % (on + off) < on { 0.3 } else { 0.0 };
            gate * frequencies.iter().map(|frequency| (std::f32::consts::TAU * frequency * time).sin()).sum::<f32>()
                / frequencies.len() as f32
        })
    };
    let mut dice = 0x9E37_79B9_u32;
    let mut white = move || {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        dice as f32 / u32::MAX as f32 * 0.2 - 0.1
    };
    let noise: Vec<f32> = (0..SAMPLES).map(|_| white()).collect();
    // Falls towards high frequencies, as the noise of rooms and streets does.
    let rumble = noise.iter().scan(0.0, |low: &mut f32, sample| {
        *low += 0.05 * (sample - *low);
        Some(4.0 * *low)
    });
    [
        ("silence", vec![0.0; SAMPLES]),
        ("rumble", rumble.collect()),
        ("noise", noise),
        ("a ringing tone", tone(&[440.0, 480.0], 16_000, 16_000).collect()),
        ("keys", tone(&[770.0, 1_336.0], 800, 800).collect()),
        ("a chord", tone(&[262.0, 330.0, 392.0], SAMPLES, 1).collect()),
        ("clicks", (0..SAMPLES).map(|at| if at % 4_000 == 0 { 0.9 } else { 0.0 }).collect()),
    ]
}

#[test]
fn noise_tones_and_silence_are_no_speech() {
    let Some(weights) = common::weights("noise_tones_and_silence_are_no_speech") else { return };
    for (name, samples) in no_speech() {
        assert_eq!(turns(&weights, &telephone(&samples)), [], "{name}");
    }
}

/// A client that commits whatever it has gets no words of what is none: the recogniser itself would make some up.
#[tokio::test]
async fn what_is_no_speech_has_no_text() {
    for weights in common::recognisers("what_is_no_speech_has_no_text") {
        let engine = Engine::start(&weights, 1, 2).unwrap();
        let (results, mut found) = tokio::sync::mpsc::channel(1);
        for (name, samples) in no_speech() {
            let what = What::Recognise { samples: telephone(&samples), speech: None, expected: Arc::default() };
            engine.ask(Work { id: 1, what }, &results);
            let found = found.recv().await.unwrap().found;
            assert_eq!(found, Ok(Found::Text(String::new())), "{name}, {:?}", weights.recogniser_size());
        }
    }
}

/// What the recogniser makes nothing of: said for a quarter of a second or longer it is asked again, and something has
/// been said; shorter it may have been a cough. Breaks when there is no second question, or always one.
#[test]
fn what_lasts_a_quarter_of_a_second_is_not_nothing() {
    for weights in common::recognisers("what_lasts_a_quarter_of_a_second_is_not_nothing") {
        let mut recogniser = weights.recogniser().unwrap();
        let mut asked_again = 0;
        for (name, samples) in no_speech() {
            let wide = Resampler::convert(8_000, 16_000, &telephone(&samples[..8_000]));
            let text = recogniser.recognise(&wide, Duration::from_millis(249), &Expected::default()).unwrap();
            let again = recogniser.recognise(&wide, Duration::from_millis(250), &Expected::default()).unwrap();
            assert!(text.is_empty() || text == again, "{name}: {text} {again}");
            asked_again += usize::from(text != again);
        }
        println!("{:?}: {asked_again} of 7 asked again", weights.recogniser_size());
        // The smaller one always writes something; what a detector takes for no speech never comes to it.
        let shown = asked_again > 0 || weights.recogniser_size() == Size::Tiny;
        assert!(shown, "{:?}: nothing is shown", weights.recogniser_size());
    }
}

#[test]
fn fifty_lines_are_within_two_decibels_and_none_is_clipped() {
    let Some(weights) = common::weights("fifty_lines_are_within_two_decibels_and_none_is_clipped") else { return };
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let (mut quietest, mut loudest, mut lines) = (f32::INFINITY, 0.0_f32, 0);
    for line in include_str!("data/lines.txt").lines() {
        let mut samples = Vec::new();
        for sentence in speak::sentences(line) {
            samples.extend_from_slice(&speaker.say(&sentence, Rate::Telephone, 1.0).unwrap());
        }
        assert!(samples.iter().all(|sample| sample.abs() < 1.0), "{line} is clipped");
        let level = loudness(&samples, 8_000).unwrap();
        (quietest, loudest, lines) = (quietest.min(level), loudest.max(level), lines + 1);
    }
    let decibels = 20.0 * (loudest / quietest).log10();
    assert!(lines == 50 && decibels < 2.0, "{lines} lines, {decibels} dB");
}
