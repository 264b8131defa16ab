//! What an ear tells of a caller's line: of speech, at once; of coughs, clicks, keys, music and our own echo, nothing
//! (B4, B7, O3). What comes of it in a call is in `interruptions.rs`.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::time::Duration;

use call::EarInput::{self, SpeechStarted};
use common::sounds::{
    RATE, RECORDINGS, begins, disturbances, hold_music, long_speech, over, recorded, shifted, telephone,
};
use voice::detect::Detector;
use voice::ears::{EarSettings, Ears, Listener};

const PLAIN: EarSettings = EarSettings { threshold: 0.5, echo_gate: true, music: false };

/// One call: what the ear told, and when, of this audio of the caller while that of the agent plays.
fn told(detector: &mut Detector, settings: EarSettings, caller: &[f32], agent: &[f32]) -> Vec<(f32, EarInput)> {
    let (caller, agent) = (telephone(caller), telephone(agent));
    let mut listener = Listener::new(settings);
    let mut told = Vec::new();
    for (index, frame) in caller.chunks(160).enumerate() {
        let at = Duration::from_millis(20 * index as u64);
        // Sent 200 ms ahead.
        for ahead in if index == 0 { 0..=10 } else { index + 10..=index + 10 } {
            if let Some(audio) = agent.chunks(160).nth(ahead) {
                listener.agent(Duration::from_millis(20 * ahead as u64), audio);
            }
        }
        let facts = listener.caller(detector, at, frame).unwrap();
        // A frame is there when it has been spoken.
        told.extend(facts.into_iter().map(|fact| (at.as_secs_f32() + 0.02, fact)));
    }
    told
}

fn starts(told: &[(f32, EarInput)]) -> Vec<f32> {
    told.iter().filter(|(_, fact)| *fact == SpeechStarted).map(|(at, _)| *at).collect()
}

#[test]
fn b4_what_is_no_speech_opens_no_hold() {
    let Some(weights) = common::weights("b4_what_is_no_speech_opens_no_hold") else { return };
    let mut detector = weights.detector().unwrap();
    for (name, sound) in disturbances() {
        for gain in [0.3, 1.0] {
            let sound = shifted(&sound, RATE, gain, sound.len() + 2 * RATE);
            assert_eq!(starts(&told(&mut detector, PLAIN, &sound, &[])), [0.0; 0], "{name} × {gain}");
        }
    }
}

/// Prints how soon.
#[test]
fn b4_speech_is_told_at_once_also_over_what_is_none() {
    let Some(weights) = common::weights("b4_speech_is_told_at_once_also_over_what_is_none") else { return };
    let mut detector = weights.detector().unwrap();
    let (mut heard, mut all, mut late) = (0, 0, Vec::new());
    let mut backgrounds = disturbances();
    backgrounds.push(("silence", Vec::new()));
    for (name, background) in &backgrounds {
        for recording in RECORDINGS {
            let speech = recorded(recording);
            for offset in [RATE / 2, RATE / 2 + 1_111] {
                let spoken = shifted(&speech, offset, 1.0, speech.len() + offset + RATE);
                let line = over(&spoken, &shifted(background, 0, 0.3, background.len()));
                let began = begins(&spoken);
                let found = starts(&told(&mut detector, PLAIN, &line, &[]));
                all += 1;
                match found.first() {
                    // Before the recording is done, and not by what lay before it.
                    Some(at) if *at >= began && *at < began + 1.0 => {
                        heard += 1;
                        late.push(at - began);
                    }
                    _ => println!("missed over {name}: {recording} from {began} s, told {found:?}"),
                }
            }
        }
    }
    late.sort_by(f32::total_cmp);
    let at = |percent: usize| late[(late.len() - 1) * percent / 100];
    println!(
        "{heard} of {all} told; after 5 ms above −34 dBFS by p50 {:.3} s, p90 {:.3} s, most {:.3} s",
        at(50),
        at(90),
        at(100)
    );
    assert!(heard * 100 >= all * 95, "{heard} of {all}");
    assert!(at(50) <= 0.2, "{} s", at(50));
}

/// The agent speaks, and 20 dB below it comes back after this way, as it is or through a room. Breaks without the gate,
/// which is shown too.
#[test]
fn b7_our_own_echo_is_not_the_caller() {
    let Some(weights) = common::weights("b7_our_own_echo_is_not_the_caller") else { return };
    let mut detector = weights.detector().unwrap();
    let agent = long_speech();
    let ungated = EarSettings { echo_gate: false, ..PLAIN };
    let mut without = 0;
    let mut with = Vec::new();
    for way_ms in [0, 37, 120, 250, 440] {
        for room in [false, true] {
            let way = way_ms * RATE / 1_000;
            let mut echo = shifted(&agent, way, 0.1, agent.len() + RATE);
            if room {
                // The same again a little later, from the walls.
                for (later, gain) in [(13, 0.4), (31, -0.25), (67, 0.15)] {
                    echo = over(&echo, &shifted(&agent, way + later, 0.1 * gain, agent.len() + RATE));
                }
            }
            without += usize::from(!starts(&told(&mut detector, ungated, &echo, &agent)).is_empty());
            let found = starts(&told(&mut detector, PLAIN, &echo, &agent));
            if !found.is_empty() {
                with.push((way_ms, room, found));
            }
        }
    }
    println!("of 10 echoes at −20 dB, {without} are heard as speech without the gate, {} with it", with.len());
    assert!(without > 5, "{without}: nothing is shown");
    assert!(with.is_empty(), "{with:?}");
}

#[test]
fn b7_a_caller_who_speaks_over_the_echo_is_heard() {
    let Some(weights) = common::weights("b7_a_caller_who_speaks_over_the_echo_is_heard") else { return };
    let mut detector = weights.detector().unwrap();
    let agent = long_speech();
    let (mut heard, mut all, mut late) = (0, 0, Vec::new());
    for recording in RECORDINGS {
        let speech = recorded(recording);
        for way_ms in [37, 250] {
            for offset_ms in [900, 1_700, 2_600, 3_300] {
                let echo = shifted(&agent, way_ms * RATE / 1_000, 0.1, agent.len() + RATE);
                let spoken = shifted(&speech, offset_ms * RATE / 1_000, 1.0, agent.len() + RATE);
                let found = starts(&told(&mut detector, PLAIN, &over(&echo, &spoken), &agent));
                let began = begins(&spoken);
                all += 1;
                match found.iter().find(|at| **at >= began - 0.05 && **at < began + 1.0) {
                    Some(at) => {
                        heard += 1;
                        late.push(at - began);
                    }
                    None => println!("missed: {recording}, {way_ms} ms, from {began} s: {found:?}"),
                }
            }
        }
    }
    late.sort_by(f32::total_cmp);
    println!(
        "{heard} of {all} told over an echo, by p50 {:.3} s, most {:.3} s",
        late[late.len() / 2],
        late[late.len() - 1]
    );
    assert!(heard * 100 >= all * 95, "{heard} of {all}");
}

/// A sung vowel over the chords: what a plain ear takes for a caller. Breaks when music mode changes nothing, or hears
/// nobody any more.
#[test]
fn o3_music_mode_takes_longer_and_more_to_believe() {
    let Some(weights) = common::weights("o3_music_mode_takes_longer_and_more_to_believe") else { return };
    let mut detector = weights.detector().unwrap();
    let music = EarSettings { music: true, ..PLAIN };
    // A word that is shorter than a quarter of a second, as it stands between lines of a song.
    let word = &recorded(RECORDINGS[0])[..];
    let began = (begins(word) * RATE as f32) as usize;
    let word = shifted(&word[began..began + 1_760], RATE, 1.0, 3 * RATE);
    assert_eq!(starts(&told(&mut detector, PLAIN, &word, &[])).len(), 1);
    assert_eq!(starts(&told(&mut detector, music, &word, &[])), [0.0; 0]);
    for recording in RECORDINGS {
        let line = over(&shifted(&recorded(recording), RATE, 1.0, 4 * RATE), &shifted(&hold_music(), 0, 0.3, 4 * RATE));
        assert!(!starts(&told(&mut detector, music, &line, &[])).is_empty(), "{recording}");
    }
}

/// Breaks when more calls are listened to than may be, or a place is not given back.
#[test]
fn n12_there_are_so_many_ears_and_no_more() {
    let Some(weights) = common::weights("n12_there_are_so_many_ears_and_no_more") else { return };
    let ears = Ears::start(&weights, 2, 10).unwrap();
    let (first, _first) = ears.ear(PLAIN).unwrap();
    let second = ears.ear(PLAIN).unwrap();
    assert!(ears.ear(PLAIN).is_none());
    drop(first);
    assert!(ears.ear(PLAIN).is_some());
    drop(second);
    assert_eq!(ears.taken(), 0);
}

/// Frames come much faster than they can be listened to. Breaks when that waits, is not counted, or is not told; or when
/// an ear that was deaf hears nothing again.
#[test]
fn n12_an_ear_that_cannot_follow_is_deaf_says_so_and_begins_anew() {
    let Some(weights) = common::weights("n12_an_ear_that_cannot_follow_is_deaf_says_so_and_begins_anew") else {
        return;
    };
    let ears = Ears::start(&weights, 1, 5).unwrap();
    let (mut ear, mut facts) = ears.ear(PLAIN).unwrap();
    let speech = telephone(&recorded(RECORDINGS[0]));
    let frame = |index: usize| Duration::from_millis(20 * index as u64);
    let (mut index, mut told) = (0, Vec::new());
    // Until it has been deaf, and listens again: a bound on frames, none on time.
    while !told.windows(2).any(|two| two == [EarInput::Deaf, EarInput::Listening]) {
        ear.caller(frame(index), speech.chunks(160).nth(index % 80).unwrap());
        index += 1;
        while let Ok(fact) = facts.try_recv() {
            told.push(fact);
        }
        assert!(index < 10_000_000, "{told:?}");
    }
    assert_eq!(told[0], EarInput::Listening);
    assert!(ears.missed() > 0);
}
