//! From what the synthesis network predicts to a waveform: a spectrum each 12.5 ms, turned into sound.
//!
//! The network gives three parts of each spectrum. *Harmonics*: a train of pulses at the voice's pitch, filtered in loudness
//! and phase. *Noise*: loudness only. *Rest*: loudness and phase, free. Their sum, frame by frame, is transformed back and
//! overlapped (window of 1,200 samples, 300 apart, Hann).

use std::f32::consts::PI;
use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

/// Samples a second of what comes out.
pub const RATE: u32 = 24_000;

/// Samples from one spectrum to the next.
pub const HOP: usize = 300;

const WINDOW: usize = 4 * HOP;

/// Frequencies of one spectrum, 0 Hz and 12 kHz included.
pub const BINS: usize = WINDOW / 2 + 1;

/// Below this pitch (Hz) the network means: no voice here.
const VOICED: f32 = 40.0;

/// No harmonic above this (Hz).
const HIGHEST: f32 = 11_000.0;

/// Logarithms of loudness are held below this, whatever was predicted.
const LOUDEST: f32 = 7.0;

/// What the network predicts: `f0` one number a frame (Hz), the others [`BINS`] rows of one number a frame.
#[derive(Clone, Copy, Debug)]
pub struct Prediction<'a> {
    /// Natural logarithm of the harmonics' loudness, and their phase before `tanh`, in half turns.
    pub harmonics: &'a [f32],
    pub harmonics_phase: &'a [f32],
    /// Logarithm of the noise's loudness.
    pub noise: &'a [f32],
    /// The same of the rest, and its phase in radians.
    pub rest: &'a [f32],
    pub rest_phase: &'a [f32],
    pub f0: &'a [f32],
}

impl Prediction<'_> {
    /// Whether every part is as long as the pitch says.
    pub fn is_whole(&self) -> bool {
        let parts = [self.harmonics, self.harmonics_phase, self.noise, self.rest, self.rest_phase];
        parts.iter().all(|part| part.len() == BINS * self.f0.len())
    }
}

/// Makes waveforms; it keeps what does not depend on the text.
pub struct Vocoder {
    window: Vec<f32>,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
}

impl Default for Vocoder {
    fn default() -> Self {
        let mut planner = FftPlanner::new();
        let window = (0..WINDOW).map(|at| 0.5 - 0.5 * (2.0 * PI * at as f32 / WINDOW as f32).cos()).collect();
        Vocoder { window, forward: planner.plan_fft_forward(WINDOW), inverse: planner.plan_fft_inverse(WINDOW) }
    }
}

impl Vocoder {
    /// The waveform: [`HOP`] samples for each frame. The same prediction and seed give the same samples.
    ///
    /// # Panics
    /// If the prediction [is not whole](Prediction::is_whole).
    pub fn waveform(&self, prediction: &Prediction<'_>, seed: u64) -> Vec<f32> {
        assert!(prediction.is_whole(), "parts of different lengths");
        let frames = prediction.f0.len();
        let pulses = pulses(prediction.f0);
        let mut dice = Dice(seed | 1);
        let mut scratch = vec![
            Complex32::default();
            self.forward.get_inplace_scratch_len().max(self.inverse.get_inplace_scratch_len())
        ];
        let mut spectrum = vec![Complex32::default(); WINDOW];
        let mut sum = vec![0.0; (frames + 3) * HOP];
        let mut weight = vec![0.0; (frames + 3) * HOP];
        for frame in 0..frames {
            for (at, value) in spectrum.iter_mut().enumerate() {
                let sample = mirrored(&pulses, (frame * HOP + at) as isize - WINDOW as isize / 2);
                // A cosine of amplitude one is to have loudness one.
                *value = Complex32::new(sample * self.window[at] / HOP as f32, 0.0);
            }
            self.forward.process_with_scratch(&mut spectrum, &mut scratch);
            for (bin, value) in spectrum.iter_mut().take(BINS).enumerate() {
                let at = bin * frames + frame;
                let loudness = |part: &[f32]| part[at].min(LOUDEST).exp();
                let filter =
                    Complex32::from_polar(loudness(prediction.harmonics), PI * prediction.harmonics_phase[at].tanh());
                let rest = Complex32::from_polar(loudness(prediction.rest), prediction.rest_phase[at]);
                *value = *value * filter + dice.normal() * loudness(prediction.noise) + rest;
            }
            // A real signal has a symmetric spectrum.
            spectrum[0].im = 0.0;
            spectrum[BINS - 1].im = 0.0;
            for bin in 1..BINS - 1 {
                spectrum[WINDOW - bin] = spectrum[bin].conj();
            }
            self.inverse.process_with_scratch(&mut spectrum, &mut scratch);
            let from = frame * HOP;
            for (at, value) in spectrum.iter().enumerate() {
                sum[from + at] += value.re / WINDOW as f32 * self.window[at];
                weight[from + at] += self.window[at] * self.window[at];
            }
        }
        // The first half window lies before the first frame's centre.
        let centred = WINDOW / 2..WINDOW / 2 + frames * HOP;
        sum[centred.clone()].iter().zip(&weight[centred]).map(|(sum, weight)| sum / weight.max(1e-9)).collect()
    }
}

/// Pulses at the pitch's rate, made of all its harmonics up to [`HIGHEST`] and nothing above: their sum has a closed form.
fn pulses(f0: &[f32]) -> Vec<f32> {
    let mut pulses = Vec::with_capacity(f0.len() * HOP);
    let mut turns = 0.0_f64;
    for at in 0..f0.len() * HOP {
        let pitch = pitch_at(f0, at);
        let voice = pitch.max(VOICED);
        turns = (turns + f64::from(voice) / f64::from(RATE)).fract();
        if pitch <= VOICED {
            pulses.push(0.0);
            continue;
        }
        let phase = (turns * std::f64::consts::TAU) as f32;
        let count = (HIGHEST / voice).floor() + 0.5;
        let divisor = 2.0 * (phase / 2.0).sin();
        let value = if divisor.abs() <= 2e-3 { count } else { (count * phase).sin() / divisor };
        pulses.push(value - 0.5);
    }
    pulses
}

/// The pitch at a sample, between the centres of frames.
fn pitch_at(f0: &[f32], at: usize) -> f32 {
    let place = (at as f32 + 0.5) / HOP as f32 - 0.5;
    let last = f0.len() - 1;
    let before = (place.floor().max(0.0) as usize).min(last);
    let after = ((place.floor() + 1.0).max(0.0) as usize).min(last);
    let between = place - place.floor();
    f0[before] * (1.0 - between) + f0[after] * between
}

/// The sample at a place, the signal being mirrored at both ends.
pub(crate) fn mirrored(samples: &[f32], at: isize) -> f32 {
    let length = samples.len() as isize;
    let at = at.abs();
    let at = if at < length { at } else { 2 * (length - 1) - at };
    samples[at.clamp(0, length - 1) as usize]
}

/// Noise that is the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 40) as f32 + 0.5) / (1 << 24) as f32
    }

    /// Two independent numbers with a normal distribution, by Box and Muller.
    fn normal(&mut self) -> Complex32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        Complex32::from_polar(radius, 2.0 * PI * self.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: usize = 40;

    struct Parts {
        silent: Vec<f32>,
        flat: Vec<f32>,
        zero: Vec<f32>,
        f0: Vec<f32>,
    }

    fn parts(pitch: f32) -> Parts {
        let all = |value| vec![value; BINS * FRAMES];
        Parts { silent: all(-30.0), flat: all(0.0), zero: all(0.0), f0: vec![pitch; FRAMES] }
    }

    fn rms(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn harmonics_alone_are_a_tone_of_the_pitch() {
        let Parts { silent, mut flat, zero, f0 } = parts(200.0);
        // Only the lowest harmonic is let through.
        for bin in 15..BINS {
            flat[bin * FRAMES..(bin + 1) * FRAMES].fill(-30.0);
        }
        let prediction = Prediction {
            harmonics: &flat,
            harmonics_phase: &zero,
            noise: &silent,
            rest: &silent,
            rest_phase: &zero,
            f0: &f0,
        };
        let samples = Vocoder::default().waveform(&prediction, 1);
        assert_eq!(samples.len(), FRAMES * HOP);
        let middle = &samples[2_400..9_600];
        let rises = middle.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
        assert!((59..=61).contains(&rises), "{rises} periods in 0.3 s");
    }

    #[test]
    fn noise_is_the_same_for_a_seed_and_differs_between_two() {
        let Parts { silent, flat, zero, f0 } = parts(0.0);
        let prediction = Prediction {
            harmonics: &silent,
            harmonics_phase: &zero,
            noise: &flat,
            rest: &silent,
            rest_phase: &zero,
            f0: &f0,
        };
        let vocoder = Vocoder::default();
        let (first, again, other) =
            (vocoder.waveform(&prediction, 7), vocoder.waveform(&prediction, 7), vocoder.waveform(&prediction, 9));
        assert_eq!(first, again);
        assert!(rms(&first) > 0.0);
        let difference: Vec<f32> = first.iter().zip(&other).map(|(a, b)| a - b).collect();
        assert!(rms(&difference) > rms(&first));
    }

    #[test]
    fn no_pitch_is_no_pulses() {
        assert!(pulses(&[0.0; 5]).iter().all(|&sample| sample == 0.0));
        assert!(rms(&pulses(&[100.0; 5])) > 0.1);
    }
}
