//! What Whisper and its kin take for sound: how much energy is in each of 80 bands, 100 times a second, as a logarithm.
//!
//! The bands are triangles that overlap by half, evenly spaced on the mel scale as Slaney's Auditory Toolbox has it
//! (linear below 1 kHz, logarithmic above), each of area one. The numbers are those of OpenAI's Whisper: a logarithm to
//! base 10, no more than 8 below the loudest, then shifted and scaled to about ±1.

use std::f32::consts::PI;
use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use crate::spectrum::mirrored;

/// Samples a second of what is analysed.
pub const RATE: u32 = 16_000;

/// Bands of a frame, from 0 Hz to half the rate.
pub const BANDS: usize = 80;

/// Samples from one frame to the next: 10 ms.
pub const HOP: usize = 160;

/// Samples that a frame looks at: 25 ms.
const WINDOW: usize = 400;

/// Computes the features; it keeps what does not depend on the sound.
pub struct LogMel {
    window: Vec<f32>,
    bands: Vec<Band>,
    fft: Arc<dyn Fft<f32>>,
}

/// What a band takes of the bins of a spectrum.
struct Band {
    first: usize,
    weights: Vec<f32>,
}

impl Default for LogMel {
    fn default() -> Self {
        let window = (0..WINDOW).map(|at| 0.5 - 0.5 * (2.0 * PI * at as f32 / WINDOW as f32).cos()).collect();
        LogMel { window, bands: bands(), fft: FftPlanner::new().plan_fft_forward(WINDOW) }
    }
}

impl LogMel {
    /// The features of `samples` (at [`RATE`]; any level and offset, both are taken out): [`BANDS`] rows, each with one
    /// number for every whole [`HOP`]. Frame n is centred on sample n · [`HOP`]; beyond its ends the sound is mirrored.
    ///
    /// # Panics
    /// If there are no samples.
    pub fn features(&self, samples: &[f32]) -> Vec<f32> {
        assert!(!samples.is_empty(), "nothing has no loudest band");
        let samples = normalised(samples);
        let frames = samples.len() / HOP;
        let mut scratch = vec![Complex32::default(); self.fft.get_inplace_scratch_len()];
        let mut spectrum = vec![Complex32::default(); WINDOW];
        let mut features = vec![0.0; BANDS * frames];
        for frame in 0..frames {
            for (at, value) in spectrum.iter_mut().enumerate() {
                let sample = mirrored(&samples, (frame * HOP + at) as isize - WINDOW as isize / 2);
                *value = Complex32::new(sample * self.window[at], 0.0);
            }
            self.fft.process_with_scratch(&mut spectrum, &mut scratch);
            for (row, band) in self.bands.iter().enumerate() {
                let bins = spectrum[band.first..].iter().zip(&band.weights);
                let energy: f32 = bins.map(|(bin, weight)| bin.norm_sqr() * weight).sum();
                features[row * frames + frame] = energy.max(1e-10).log10();
            }
        }
        let loudest = features.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for feature in &mut features {
            *feature = (feature.max(loudest - 8.0) + 4.0) / 4.0;
        }
        features
    }
}

/// Mean 0 and variance 1.
fn normalised(samples: &[f32]) -> Vec<f32> {
    let count = samples.len() as f64;
    let mean = samples.iter().map(|&sample| f64::from(sample)).sum::<f64>() / count;
    let variance = samples.iter().map(|&sample| (f64::from(sample) - mean).powi(2)).sum::<f64>() / count;
    // Silence stays silence.
    let scale = 1.0 / (variance + 1e-7).sqrt();
    samples.iter().map(|&sample| ((f64::from(sample) - mean) * scale) as f32).collect()
}

fn bands() -> Vec<Band> {
    let bin_hz = f64::from(RATE) / WINDOW as f64;
    let last_mel = mel(f64::from(RATE) / 2.0);
    // Each triangle begins at the top of the one before, and ends at the top of the next.
    let corner = |at: usize| hertz(last_mel * at as f64 / (BANDS + 1) as f64);
    let band = |at: usize| {
        let (from, top, until) = (corner(at), corner(at + 1), corner(at + 2));
        let weight = |bin: usize| {
            let frequency = bin as f64 * bin_hz;
            let height = ((frequency - from) / (top - from)).min((until - frequency) / (until - top));
            (height.max(0.0) * 2.0 / (until - from)) as f32
        };
        let first = (from / bin_hz).floor() as usize;
        let last = ((until / bin_hz).ceil() as usize).min(WINDOW / 2);
        Band { first, weights: (first..=last).map(weight).collect() }
    };
    (0..BANDS).map(band).collect()
}

/// Where the mel scale turns from linear to logarithmic.
const CORNER_HZ: f64 = 1_000.0;
const CORNER_MEL: f64 = 15.0;

/// Natural logarithm of the ratio of two frequencies that are one mel apart, above the corner.
fn mel_step() -> f64 {
    6.4_f64.ln() / 27.0
}

fn mel(hertz: f64) -> f64 {
    if hertz < CORNER_HZ { hertz * CORNER_MEL / CORNER_HZ } else { CORNER_MEL + (hertz / CORNER_HZ).ln() / mel_step() }
}

fn hertz(mel: f64) -> f64 {
    if mel < CORNER_MEL { mel * CORNER_HZ / CORNER_MEL } else { CORNER_HZ * ((mel - CORNER_MEL) * mel_step()).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight seconds that any language computes alike: silence, then bursts of a sweep over a hiss, with an offset.
    fn sound() -> Vec<f32> {
        let sample = |at: i64| {
            let hiss = (at * 7_919 + at * at % 1_009 * 613) % 257 - 128;
            let sweep = if at / 12_000 % 3 == 2 { (at * at / 900) % 2_001 - 1_000 } else { 0 };
            if at < 20_000 { 0.0 } else { (8 * sweep + hiss + 100) as f32 / 16_384.0 }
        };
        (0..8 * i64::from(RATE)).map(sample).collect()
    }

    /// Every 131st feature by `tests/data/log_mel.py`, which computes them another way, in double precision.
    #[test]
    fn features_are_those_of_an_independent_computation() {
        let wanted: Vec<f32> =
            include_str!("../tests/data/log_mel.txt").lines().map(|line| line.parse().unwrap()).collect();
        let found = LogMel::default().features(&sound());
        assert_eq!(found.len(), BANDS * 800);
        assert_eq!(wanted.len(), found.len().div_ceil(131));
        for (at, (wanted, found)) in wanted.iter().zip(found.iter().step_by(131)).enumerate() {
            assert!((wanted - found).abs() < 1e-3, "number {at}: {found} instead of {wanted}");
        }
    }

    #[test]
    fn neither_level_nor_offset_matters() {
        let features = LogMel::default();
        let sound = sound();
        let other: Vec<f32> = sound.iter().map(|sample| 0.25 * sample - 0.1).collect();
        let pairs = features.features(&sound).into_iter().zip(features.features(&other));
        let worst = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        assert!(worst < 0.01, "{worst}");
    }

    #[test]
    fn silence_is_the_same_everywhere() {
        let features = LogMel::default().features(&[0.1; 16_000]);
        assert!(
            features.len() == BANDS * 100 && features.iter().all(|feature| *feature == features[0]),
            "{features:?}"
        );
    }
}
