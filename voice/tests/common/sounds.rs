//! What a caller's line carries, for tests of ears. The speech is recorded (`server/assets/demo`); everything else is
//! made here, by arithmetic. Samples are ±1 at [`RATE`].
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use call::g711;

pub const RATE: usize = 8_000;

/// A µ-law file of the demo's caller, ±1.
pub fn recorded(name: &str) -> Vec<f32> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/assets/demo").join(name);
    let wav = std::fs::read(path).unwrap();
    let data = wav.windows(4).position(|word| word == b"data").unwrap() + 8;
    wav[data..].iter().map(|&byte| f32::from(g711::decode(byte)) / 32_768.0).collect()
}

pub const RECORDINGS: [&str; 3] =
    ["go-forward-ten-meters.wav", "go-somewhere-and-do-something.wav", "thirty-three-four-six-ninety-two.wav"];

pub fn telephone(samples: &[f32]) -> Vec<u8> {
    samples.iter().map(|sample| g711::encode((sample.clamp(-1.0, 1.0) * 32_767.0) as i16)).collect()
}

/// Noise, ±1, always the same.
fn noise(length: usize) -> Vec<f32> {
    let mut dice = 0x9E37_79B9_u32;
    let mut next = || {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        dice as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

fn tones(seconds: f32, at: impl Fn(f32) -> f32) -> Vec<f32> {
    (0..(seconds * RATE as f32) as usize).map(|sample| at(sample as f32 / RATE as f32)).collect()
}

fn sine(frequency: f32, time: f32) -> f32 {
    (std::f32::consts::TAU * frequency * time).sin()
}

/// Two bursts of noise, low-passed, that rise at once and fade within 150 ms.
fn cough() -> Vec<f32> {
    let mut low = 0.0;
    let bursts = noise(RATE).into_iter().enumerate().map(|(sample, noise)| {
        low += 0.35 * (noise - low);
        let since = (sample % 2_800) as f32 / RATE as f32;
        if sample < 5_600 { low * 1.2 * (-since / 0.06).exp() } else { 0.0 }
    });
    bursts.collect()
}

fn clicks() -> Vec<f32> {
    (0..2 * RATE).map(|sample| if sample % 3_000 < 4 { 0.9 } else { 0.0 }).collect()
}

fn keys() -> Vec<f32> {
    tones(2.0, |time| if time % 0.2 < 0.1 { 0.25 * (sine(770.0, time) + sine(1_336.0, time)) } else { 0.0 })
}

fn ring_back() -> Vec<f32> {
    tones(4.0, |time| if time % 3.0 < 1.0 { 0.15 * (sine(440.0, time) + sine(480.0, time)) } else { 0.0 })
}

/// A tune over chords, each note struck and fading, with overtones.
pub fn hold_music() -> Vec<f32> {
    const TUNE: [f32; 8] = [523.3, 659.3, 784.0, 659.3, 587.3, 698.5, 880.0, 784.0];
    const CHORDS: [[f32; 3]; 2] = [[261.6, 329.6, 392.0], [293.7, 349.2, 440.0]];
    tones(6.0, |time| {
        let (note, since) = ((time / 0.4) as usize, time % 0.4);
        let struck = |frequency: f32, fades: f32| {
            let overtones = (1..5).map(|number| sine(frequency * number as f32, time) / (number * number) as f32);
            overtones.sum::<f32>() * (-since / fades).exp()
        };
        let chord: f32 = CHORDS[note / 4 % 2].iter().map(|frequency| struck(*frequency, 0.8)).sum();
        0.15 * struck(TUNE[note % 8], 0.25) + 0.05 * chord
    })
}

pub fn disturbances() -> Vec<(&'static str, Vec<f32>)> {
    vec![
        ("a cough", cough()),
        ("clicks", clicks()),
        ("keys", keys()),
        ("a ring-back tone", ring_back()),
        ("hold music", hold_music()),
    ]
}

pub fn shifted(samples: &[f32], by: usize, gain: f32, length: usize) -> Vec<f32> {
    let moved = std::iter::repeat_n(0.0, by).chain(samples.iter().map(|sample| sample * gain));
    moved.chain(std::iter::repeat(0.0)).take(length).collect()
}

pub fn over(one: &[f32], other: &[f32]) -> Vec<f32> {
    let length = one.len().max(other.len());
    let at = |samples: &[f32], index: usize| samples.get(index).copied().unwrap_or(0.0);
    (0..length).map(|index| at(one, index) + at(other, index)).collect()
}

/// When somebody is loud first: 5 ms above −34 dBFS.
pub fn begins(samples: &[f32]) -> f32 {
    let loud = |window: &[f32]| window.iter().map(|sample| sample * sample).sum::<f32>() / 40.0 > 4e-4;
    samples.chunks(40).position(loud).unwrap() as f32 * 0.005
}

pub fn long_speech() -> Vec<f32> {
    RECORDINGS.iter().flat_map(|name| recorded(name)).collect()
}
