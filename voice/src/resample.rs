//! From one sample rate to another, by a ratio of small numbers: 24 kHz of the synthesis to the telephone's 8 kHz, 8 kHz
//! to the 16 kHz that the recogniser was trained on.
//!
//! A polyphase filter: a sinc under a Kaiser window, cut at the lower of both Nyquist frequencies. The image and alias
//! band lies 75 dB down; the tests measure it. Positions are kept, the filter's delay is taken out: sample n of the
//! output is the instant of sample `n * from / to` of the input.

use std::f64::consts::PI;

/// Zero crossings of the sinc on each side. The transition band is about a tenth of the lower Nyquist frequency.
const CROSSINGS: usize = 32;

/// Of the Kaiser window: 80 dB of attenuation.
const BETA: f64 = 7.86;

/// Where the filter is at -6 dB, as part of the lower Nyquist frequency: the transition band ends just above it, and
/// what leaks there is above 3.9 kHz, which no telephone line carries.
const CUTOFF: f64 = 0.925;

/// Converts one stream of samples. Feed it pieces of any length, then [`finish`](Resampler::finish).
#[derive(Clone, Debug)]
pub struct Resampler {
    up: usize,
    down: usize,
    /// At the common multiple of both rates, centred on `half`.
    taps: Vec<f32>,
    half: usize,
    /// Input that is still needed.
    kept: Vec<f32>,
    /// Position of `kept[0]` in the input.
    kept_from: usize,
    /// Of the next output sample.
    next: usize,
}

impl Resampler {
    /// From `from` to `to` samples a second.
    ///
    /// # Panics
    /// If one of them is zero.
    pub fn new(from: u32, to: u32) -> Self {
        let divisor = gcd(from, to);
        let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
        let wide = up.max(down);
        let half = CROSSINGS * wide;
        let taps = (0..=2 * half)
            .map(|at| {
                let from_centre = at as f64 - half as f64;
                let x = CUTOFF * from_centre / wide as f64;
                let sinc = if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
                let window = bessel_i0(BETA * (1.0 - (from_centre / half as f64).powi(2)).max(0.0).sqrt());
                (sinc * window / bessel_i0(BETA) * CUTOFF * up as f64 / wide as f64) as f32
            })
            .collect();
        Resampler { up, down, taps, half, kept: Vec::new(), kept_from: 0, next: 0 }
    }

    /// Appends to `out` what can be said now; the filter looks ahead, so the last [`CROSSINGS`] periods of the lower rate
    /// come with the next piece.
    pub fn process(&mut self, input: &[f32], out: &mut Vec<f32>) {
        self.kept.extend_from_slice(input);
        let received = self.kept_from + self.kept.len();
        while (self.next * self.down + self.half) / self.up < received {
            out.push(self.sample());
        }
        let needed_from = (self.next * self.down).saturating_sub(self.half).div_ceil(self.up);
        let spent = needed_from.saturating_sub(self.kept_from).min(self.kept.len());
        self.kept.drain(..spent);
        self.kept_from += spent;
    }

    /// Appends the rest, as if silence followed, and begins anew.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let total = ((self.kept_from + self.kept.len()) * self.up).div_ceil(self.down);
        while self.next < total {
            out.push(self.sample());
        }
        self.kept.clear();
        (self.kept_from, self.next) = (0, 0);
    }

    /// A whole recording at once.
    pub fn convert(from: u32, to: u32, input: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to);
        let mut out = Vec::with_capacity(input.len() * to as usize / from as usize + 1);
        resampler.process(input, &mut out);
        resampler.finish(&mut out);
        out
    }

    fn sample(&mut self) -> f32 {
        // Of the stretched input, only every `up`th sample is not zero.
        let centre = self.next * self.down;
        self.next += 1;
        let first = centre.saturating_sub(self.half).div_ceil(self.up).max(self.kept_from);
        let last =
            ((centre + self.half) / self.up).min(self.kept_from + self.kept.len() - usize::from(!self.kept.is_empty()));
        let mut sum = 0.0;
        for at in first..=last {
            if let Some(sample) = self.kept.get(at - self.kept_from) {
                sum += sample * self.taps[centre + self.half - at * self.up];
            }
        }
        sum
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    assert!(a > 0 && b > 0, "a rate of zero");
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The modified Bessel function of the first kind and order zero, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while term > 1e-12 * sum {
        term *= (x / 2.0 / n).powi(2);
        sum += term;
        n += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn tone(rate: f64, frequency: f64, samples: usize) -> Vec<f32> {
        (0..samples).map(|at| (TAU * frequency * at as f64 / rate).sin() as f32).collect()
    }

    /// Root mean square, without the ends, where the filter sees silence.
    fn level_db(samples: &[f32]) -> f32 {
        let middle = &samples[200..samples.len() - 200];
        10.0 * (2.0 * middle.iter().map(|sample| sample * sample).sum::<f32>() / middle.len() as f32).log10()
    }

    #[test]
    fn the_telephone_band_passes_and_what_would_alias_does_not() {
        for frequency in [100.0, 1_000.0, 2_500.0, 3_300.0] {
            let level = level_db(&Resampler::convert(24_000, 8_000, &tone(24_000.0, frequency, 24_000)));
            assert!(level.abs() < 0.1, "{frequency} Hz: {level} dB");
        }
        for frequency in [4_200.0, 5_000.0, 7_900.0, 11_000.0] {
            let level = level_db(&Resampler::convert(24_000, 8_000, &tone(24_000.0, frequency, 24_000)));
            assert!(level < -75.0, "{frequency} Hz: {level} dB");
        }
    }

    #[test]
    fn a_tone_stays_where_it_was() {
        for (from, to) in [(24_000, 8_000), (8_000, 16_000), (8_000, 24_000)] {
            let out = Resampler::convert(from, to, &tone(f64::from(from), 700.0, from as usize));
            assert_eq!(out.len(), to as usize);
            let wanted = tone(f64::from(to), 700.0, to as usize);
            let worst = out.iter().zip(&wanted).skip(300).take(to as usize - 600).map(|(a, b)| (a - b).abs());
            let worst = worst.fold(0.0, f32::max);
            assert!(worst < 0.002, "{from} to {to}: off by {worst}");
        }
    }

    #[test]
    fn pieces_give_the_same_samples_as_the_whole() {
        let input = tone(24_000.0, 440.0, 5_000);
        let whole = Resampler::convert(24_000, 8_000, &input);
        let mut resampler = Resampler::new(24_000, 8_000);
        for _ in 0..2 {
            let mut out = Vec::new();
            for piece in input.chunks(37) {
                resampler.process(piece, &mut out);
            }
            assert!(out.len() + CROSSINGS + 1 >= whole.len(), "it waits longer than it has to");
            resampler.finish(&mut out);
            assert_eq!(out, whole);
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(Resampler::convert(24_000, 8_000, &[]).is_empty());
    }
}
