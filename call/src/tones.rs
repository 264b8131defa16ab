//! Sounds that need no recording: keys as in-band tones (N10), and what a caller hears when there is no clip to play (N4).
//! µ-law, 8,000 bytes a second.

use std::f64::consts::TAU;

use crate::g711;

/// 100 ms.
const KEY_SAMPLES: usize = 800;

/// Samples over which a tone swells and fades, so that it does not click: 5 ms.
const EDGE: usize = 40;

/// The keys as dual tones of 100 ms, each followed by 100 ms of silence (ITU-T Q.23, Q.24). What is no key is silence.
pub fn keys(keys: &str) -> Vec<u8> {
    let mut audio = Vec::with_capacity(keys.len() * KEY_SAMPLES * 2);
    for key in keys.chars() {
        match frequencies(key) {
            // −9 dBFS in all: each tone at half of that leaves room for their sum.
            Some((low, high)) => tone(&mut audio, KEY_SAMPLES, &[low, high], 5_800.0),
            None => audio.resize(audio.len() + KEY_SAMPLES, g711::SILENCE),
        }
        audio.resize(audio.len() + KEY_SAMPLES, g711::SILENCE);
    }
    audio
}

/// Two soft beeps: somebody is still there.
pub fn filler() -> Vec<u8> {
    let mut audio = Vec::new();
    for _ in 0..2 {
        tone(&mut audio, 1_200, &[440.0], 3_000.0);
        audio.resize(audio.len() + 1_200, g711::SILENCE);
    }
    audio
}

/// Three falling tones: the call cannot go on.
pub fn apology() -> Vec<u8> {
    let mut audio = Vec::new();
    for frequency in [660.0, 550.0, 440.0] {
        tone(&mut audio, 2_400, &[frequency], 4_000.0);
        audio.resize(audio.len() + 400, g711::SILENCE);
    }
    audio
}

/// The two frequencies of a key, in Hz.
fn frequencies(key: char) -> Option<(f64, f64)> {
    const ROWS: [(f64, [char; 4]); 4] = [
        (697.0, ['1', '2', '3', 'A']),
        (770.0, ['4', '5', '6', 'B']),
        (852.0, ['7', '8', '9', 'C']),
        (941.0, ['*', '0', '#', 'D']),
    ];
    const COLUMNS: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
    ROWS.into_iter().find_map(|(low, row)| {
        let column = row.iter().position(|known| *known == key.to_ascii_uppercase())?;
        Some((low, COLUMNS[column]))
    })
}

fn tone(audio: &mut Vec<u8>, samples: usize, frequencies: &[f64], amplitude: f64) {
    audio.extend((0..samples).map(|index| {
        let time = index as f64 / 8_000.0;
        let edge = (index.min(samples - 1 - index) as f64 / EDGE as f64).min(1.0);
        let sum: f64 = frequencies.iter().map(|frequency| (TAU * frequency * time).sin()).sum();
        g711::encode((amplitude * edge * sum) as i16)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Power of one frequency, by Goertzel's algorithm.
    fn power(audio: &[u8], frequency: f64) -> f64 {
        let coefficient = 2.0 * (TAU * frequency / 8_000.0).cos();
        let (mut one, mut two) = (0.0, 0.0);
        for byte in audio {
            (one, two) = (f64::from(g711::decode(*byte)) + coefficient * one - two, one);
        }
        one * one + two * two - coefficient * one * two
    }

    #[test]
    fn n10_each_key_has_its_two_frequencies_and_no_other() {
        const ALL: [f64; 8] = [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0];
        for key in "0123456789*#ABCD".chars() {
            let audio = keys(&key.to_string());
            assert_eq!(audio.len(), crate::call::TONE_BYTES as usize);
            let (tone, silence) = audio.split_at(KEY_SAMPLES);
            assert!(silence.iter().all(|byte| *byte == g711::SILENCE));
            let mut loudest: Vec<_> = ALL.into_iter().map(|frequency| (power(tone, frequency), frequency)).collect();
            loudest.sort_by(|a, b| b.0.total_cmp(&a.0));
            let (low, high) = frequencies(key).unwrap();
            let mut found = [loudest[0].1, loudest[1].1];
            found.sort_by(f64::total_cmp);
            assert_eq!(found, [low, high], "{key}");
            assert!(loudest[1].0 > 100.0 * loudest[2].0, "{key}: {loudest:?}");
        }
    }
}
