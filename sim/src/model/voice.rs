//! A voice for those who have none: a text hummed, so that it can be told from every other text.

use std::f64::consts::TAU;

use super::mulaw;
use crate::dice::Dice;

const RATE: f64 = 8_000.0;

/// Samples of one character: 15 characters a second, about as fast as people speak.
const CHARACTER: usize = 533;

/// Level of the loud parts: −20 dBFS.
const LEVEL: f64 = 3_276.8;

/// µ-law at 8 kHz for `text`: a stack of harmonics between 120 and 220 Hz, louder on vowels, silent at punctuation,
/// with formants by letter. Its pitch wanders as the whole text decides, so that two texts, or two places of one text,
/// do not correlate.
pub fn hum(text: &str) -> Vec<u8> {
    let mut noise = Noise(fnv(text));
    let [drift, swing] = [noise.next() * TAU, noise.next() * TAU];
    let mut formants = (500.0, 1_500.0);
    let mut gain = 0.0;
    let mut phase = 0.0_f64;
    let mut samples = Vec::new();
    for letter in text.chars() {
        let target = articulation(letter);
        let letter_hash = fnv(letter.to_lowercase().to_string().as_str());
        let wanted = (300.0 + (letter_hash % 500) as f64, 900.0 + (letter_hash / 500 % 1_400) as f64);
        for _ in 0..CHARACTER + pause(letter) {
            // A mouth moves within about 10 ms.
            gain += (target - gain) / 80.0;
            formants.0 += (wanted.0 - formants.0) / 80.0;
            formants.1 += (wanted.1 - formants.1) / 80.0;
            let time = samples.len() as f64 / RATE;
            let pitch = 170.0 + 35.0 * (TAU * 0.37 * time + drift).sin() + 15.0 * (TAU * 1.13 * time + swing).sin();
            phase = (phase + TAU * pitch / RATE) % TAU;
            let breath = 0.02 * (noise.next() - 0.5);
            samples.push(gain * (voiced(phase, pitch, formants) + breath));
        }
    }
    let loudest = samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len().max(1) as f64;
    let scale = if loudest > 0.0 { LEVEL / loudest.sqrt() } else { 0.0 };
    samples.iter().map(|sample| mulaw::encode((sample * scale).clamp(-32_000.0, 32_000.0) as i16)).collect()
}

/// µ-law in which no byte is silent, and no few bytes come twice: what was played of it can be told byte by byte. It costs
/// next to nothing.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut audio = Vec::with_capacity(bytes + 8);
    while audio.len() < bytes {
        // Both zeros of µ-law have all lower bits set: those bytes, eight at once, lose the lowest.
        let word = dice.draw();
        let zeros = ((word & 0x7F7F_7F7F_7F7F_7F7F) + 0x0101_0101_0101_0101) >> 7 & 0x0101_0101_0101_0101;
        audio.extend((word ^ zeros).to_le_bytes());
    }
    audio.truncate(bytes);
    audio
}

/// The harmonics up to the edge of a telephone line, each weighted by how near it is to a formant.
fn voiced(phase: f64, pitch: f64, formants: (f64, f64)) -> f64 {
    let near = |frequency: f64, formant: f64, width: f64| 1.0 / (1.0 + ((frequency - formant) / width).powi(2));
    // sin(h·phase) from the two before it.
    let (mut before, mut sine) = (0.0, phase.sin());
    let twice_cosine = 2.0 * phase.cos();
    let mut sum = 0.0;
    let mut frequency = pitch;
    while frequency < 3_400.0 {
        sum += sine * (near(frequency, formants.0, 120.0) + 0.4 * near(frequency, formants.1, 200.0) + 0.02);
        (before, sine) = (sine, twice_cosine * sine - before);
        frequency += pitch;
    }
    sum
}

fn articulation(letter: char) -> f64 {
    match letter.to_ascii_lowercase() {
        'a' | 'e' | 'i' | 'o' | 'u' | 'y' => 1.0,
        letter if letter.is_alphanumeric() => 0.6,
        letter if letter.is_whitespace() => 0.2,
        _ => 0.0,
    }
}

/// Samples of silence after this character.
fn pause(letter: char) -> usize {
    match letter {
        '.' | '!' | '?' => 1_600,
        ',' | ';' | ':' => 800,
        _ => 0,
    }
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Numbers from 0 to 1 that look random and are not (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{hum, mulaw};

    fn correlation(a: &[u8], b: &[u8]) -> f64 {
        let dot = |a: &[u8], b: &[u8]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(mulaw::decode(a)) * f64::from(mulaw::decode(b))).sum()
        };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn a_text_has_one_voice_of_its_length_and_level() {
        let text = "We are open from nine to five, Monday to Friday.";
        let audio = hum(text);
        assert_eq!(audio, hum(text));
        let seconds = audio.len() as f64 / 8_000.0;
        assert!((3.0..4.0).contains(&seconds), "{seconds} s");
        let power = audio.iter().map(|&byte| f64::from(mulaw::decode(byte)).powi(2)).sum::<f64>() / audio.len() as f64;
        let dbfs = 10.0 * (power / 32_768.0_f64.powi(2)).log10();
        assert!((-21.0..-19.0).contains(&dbfs), "{dbfs} dBFS");
        assert!(hum("").is_empty());
    }

    #[test]
    fn it_is_found_at_one_place_only() {
        let audio = hum("Let me see what I can do for you there, one moment please.");
        let from = 12_000;
        let piece = &audio[from..from + 1_600];
        for at in (0..audio.len() - piece.len()).filter(|at| at.abs_diff(from) > 8) {
            let similar = correlation(piece, &audio[at..at + piece.len()]);
            assert!(similar < 0.9, "at {at}: {similar}");
        }
    }
}
