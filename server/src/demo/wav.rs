//! WAV files to what a telephone carries: µ-law, 8 kHz, one channel.
//!
//! Reads 16-bit PCM and µ-law, at any rate, any number of channels (mixed to one). Files that are 8 kHz mono µ-law already
//! keep their bytes; anything else is resampled with a windowed-sinc low-pass, so that what lies above the telephone band
//! is gone and not folded into it.

use std::f64::consts::{PI, TAU};
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail, ensure};

use call::g711;

/// Samples a second on the line.
const LINE_RATE: u32 = 8_000;

/// Rates that recordings have. Below, no speech is left; above, the filter grows for nothing.
const RATES: RangeInclusive<u32> = 4_000..=192_000;

/// Reads a whole WAV file into µ-law, 8 kHz, mono.
///
/// Fails on anything that is not a WAV file of 16-bit PCM or µ-law between 4 and 192 kHz, saying what it is instead. A file
/// that ends before its header says is taken as far as it goes: recordings are cut off, and streams cannot know.
pub fn read(file: &[u8]) -> Result<Vec<u8>> {
    let Wav { format, data } = parse(file)?;
    if format == (Format { coding: Coding::Ulaw, channels: 1, rate: LINE_RATE }) {
        return Ok(data.to_vec());
    }
    let samples = mixed_down(data, format);
    let samples = if format.rate == LINE_RATE { samples } else { resample(&samples, format.rate) };
    Ok(samples.into_iter().map(|sample| g711::encode(sample.round() as i16)).collect())
}

/// Both voices of a call's recording: µ-law, 8 kHz.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stereo {
    pub left: Vec<u8>,
    pub right: Vec<u8>,
}

/// Reads the recording of a call: two channels of µ-law at 8 kHz, as the server writes them.
pub fn read_recording(file: &[u8]) -> Result<Stereo> {
    let Wav { format, data } = parse(file)?;
    ensure!(
        format == Format { coding: Coding::Ulaw, channels: 2, rate: LINE_RATE },
        "not a recording of a call: two channels of 8 kHz µ-law are expected"
    );
    let channel = |channel| data.chunks_exact(2).map(|pair| pair[channel]).collect();
    Ok(Stereo { left: channel(0), right: channel(1) })
}

struct Wav<'a> {
    format: Format,
    data: &'a [u8],
}

#[derive(Clone, Copy, PartialEq)]
struct Format {
    coding: Coding,
    channels: u16,
    rate: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Coding {
    Pcm16,
    Ulaw,
}

impl Coding {
    fn bytes(self) -> usize {
        match self {
            Coding::Pcm16 => 2,
            Coding::Ulaw => 1,
        }
    }
}

/// RIFF: after 12 bytes of header, chunks of a four-letter name, a length, and that many bytes, padded to even.
fn parse(file: &[u8]) -> Result<Wav<'_>> {
    ensure!(file.len() >= 12 && &file[..4] == b"RIFF" && &file[8..12] == b"WAVE", "not a WAV file");
    let mut rest = &file[12..];
    let mut format = None;
    while let Some((header, body)) = rest.split_at_checked(8) {
        let length = u32_at(header, 4)? as usize;
        let chunk = &body[..length.min(body.len())];
        match &header[..4] {
            b"fmt " => format = Some(parse_format(chunk)?),
            b"data" => {
                let format = format.context("damaged WAV file: samples come before their format")?;
                return Ok(Wav { format, data: chunk });
            }
            _ => {}
        }
        rest = body.get(length + length % 2..).unwrap_or_default();
    }
    bail!("damaged WAV file: it has no samples")
}

fn parse_format(chunk: &[u8]) -> Result<Format> {
    const PCM: u16 = 1;
    const ULAW: u16 = 7;
    /// The real coding follows at byte 24: what programs write that put more than the old header can say.
    const EXTENSIBLE: u16 = 0xFFFE;

    let tag = match u16_at(chunk, 0)? {
        EXTENSIBLE => u16_at(chunk, 24)?,
        tag => tag,
    };
    let channels = u16_at(chunk, 2)?;
    let rate = u32_at(chunk, 4)?;
    let bits = u16_at(chunk, 14)?;
    let coding = match (tag, bits) {
        (PCM, 16) => Coding::Pcm16,
        (ULAW, 8) => Coding::Ulaw,
        (PCM, bits) => bail!("a WAV file of {bits}-bit samples; 16-bit PCM or µ-law is needed"),
        (tag, _) => bail!("a WAV file of coding {tag}; 16-bit PCM or µ-law is needed"),
    };
    ensure!(channels > 0, "damaged WAV file: it has no channels");
    ensure!(RATES.contains(&rate), "a WAV file of {rate} samples a second; 4,000 to 192,000 are understood");
    Ok(Format { coding, channels, rate })
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let bytes = bytes.get(at..at + 2).context("damaged WAV file: its header is cut short")?;
    Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from(u16_at(bytes, at)?) | u32::from(u16_at(bytes, at + 2)?) << 16)
}

/// One channel, the mean of all. A last, incomplete sample is left out.
fn mixed_down(data: &[u8], format: Format) -> Vec<f32> {
    let channels = usize::from(format.channels);
    data.chunks_exact(format.coding.bytes() * channels)
        .map(|moment| {
            let sum: f32 = match format.coding {
                Coding::Pcm16 => moment.chunks_exact(2).map(|s| f32::from(i16::from_le_bytes([s[0], s[1]]))).sum(),
                Coding::Ulaw => moment.iter().map(|&byte| f32::from(g711::decode(byte))).sum(),
            };
            sum / channels as f32
        })
        .collect()
}

/// Brings samples to 8 kHz.
///
/// Each sample of the result is the input around its moment, weighted by a sinc (the ideal low-pass) under a Blackman window
/// (which makes it finite; −74 dB in the stop band). The moments fall on a few places between input samples only, one for
/// 48 kHz, 80 for 44.1 kHz, so the weights for each place are worked out once. Nothing is delayed.
fn resample(input: &[f32], rate: u32) -> Vec<f32> {
    let common = gcd(rate, LINE_RATE);
    // `up` samples of the result last as long as `down` of the input.
    let (up, down) = ((LINE_RATE / common) as usize, (rate / common) as usize);
    let filters: Vec<Filter> = (0..up).map(|place| Filter::new(place as f64 / up as f64, rate)).collect();
    let length = input.len() * up / down;
    (0..length).map(|n| filters[n * down % up].apply(input, n * down / up)).collect()
}

/// Weights of the input samples from `-reach + 1` to `reach` around one of them.
struct Filter {
    weights: Vec<f32>,
    reach: usize,
}

impl Filter {
    /// For a moment that lies `fraction` of a sample after the one it is applied at.
    fn new(fraction: f64, rate: u32) -> Filter {
        // Half of the lower rate is where folding begins. The band is cut 8 % below, halfway through the filter's slope:
        // flat to 3.4 kHz, the end of the telephone band, and down where 4.1 kHz would come out as 3.9.
        let fold_hz = f64::from(rate.min(LINE_RATE)) / 2.0;
        let cutoff = 0.92 * fold_hz / f64::from(rate);
        // The slope of a Blackman window is 5.5 / (its length in seconds) wide: 16 % of the band.
        let reach = (5.5 / (0.16 * fold_hz) / 2.0 * f64::from(rate)).ceil();
        let weights: Vec<f64> = (0..2 * reach as usize)
            .map(|tap| {
                let distance = tap as f64 - (reach - 1.0) - fraction;
                let phase = PI * distance / reach;
                let window = 0.42 + 0.5 * phase.cos() + 0.08 * (2.0 * phase).cos();
                let angle = TAU * cutoff * distance;
                if angle == 0.0 { window } else { window * angle.sin() / angle }
            })
            .collect();
        // Every place gets the same gain, exactly, or a constant would come out as a tone.
        let gain: f64 = weights.iter().sum();
        Filter { weights: weights.into_iter().map(|weight| (weight / gain) as f32).collect(), reach: reach as usize }
    }

    /// Beyond its ends the input is silent.
    fn apply(&self, input: &[f32], at: usize) -> f32 {
        let before = self.reach - 1;
        let skipped = before.saturating_sub(at);
        let first = at.saturating_sub(before);
        input[first..].iter().zip(&self.weights[skipped..]).map(|(sample, weight)| sample * weight).sum()
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telephone_audio_keeps_its_bytes() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(read(&wav(7, 1, 8_000, 8, &bytes)).unwrap(), bytes);
    }

    #[test]
    fn sixteen_bit_samples_at_the_same_rate_are_only_encoded() {
        let samples: [i16; 4] = [0, 1_000, -1_000, i16::MAX];
        let expected: Vec<u8> = samples.iter().map(|&s| g711::encode(s)).collect();
        assert_eq!(read(&wav(1, 1, 8_000, 16, &pcm(&samples))).unwrap(), expected);
    }

    #[test]
    fn channels_are_mixed() {
        let stereo = pcm(&[1_000, 3_000, -4_000, 4_000]);
        assert_eq!(read(&wav(1, 2, 8_000, 16, &stereo)).unwrap(), [g711::encode(2_000), g711::encode(0)]);
    }

    #[test]
    fn unknown_chunks_and_odd_lengths_are_passed_over() {
        let mut file = wav(7, 1, 8_000, 8, &[1, 2, 3]);
        let info = [&b"LIST"[..], &3u32.to_le_bytes(), b"abc\0"].concat();
        file.splice(12..12, info);
        assert_eq!(read(&file).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn an_extensible_header_is_understood() {
        let mut format =
            [&1u16.to_le_bytes()[..], &8_000u32.to_le_bytes(), &16_000u32.to_le_bytes(), &2u16.to_le_bytes()].concat();
        format.splice(0..0, 0xFFFEu16.to_le_bytes());
        format.extend([16, 0, 22, 0, 16, 0, 4, 0, 0, 0, 1, 0]);
        format.extend([0; 14]);
        let file =
            [&b"RIFF\0\0\0\0WAVEfmt "[..], &(format.len() as u32).to_le_bytes(), &format, b"data\x02\0\0\0\xE8\x03"]
                .concat();
        assert_eq!(read(&file).unwrap(), [g711::encode(1_000)]);
    }

    #[test]
    fn a_file_cut_short_is_taken_as_far_as_it_goes() {
        let mut file = wav(7, 1, 8_000, 8, &[5; 100]);
        file.truncate(file.len() - 40);
        assert_eq!(read(&file).unwrap(), [5; 60]);
    }

    #[test]
    fn what_is_no_wav_file_is_refused_and_named() {
        let complaint = |file: &[u8]| read(file).unwrap_err().to_string();
        assert_eq!(complaint(b""), "not a WAV file");
        assert_eq!(complaint(b"ID3\x04 and so on, an MP3"), "not a WAV file");
        assert!(complaint(&wav(3, 1, 8_000, 32, &[])).contains("coding 3"));
        assert!(complaint(&wav(1, 1, 8_000, 24, &[])).contains("24-bit"));
        assert!(complaint(&wav(1, 0, 8_000, 16, &[])).contains("no channels"));
        assert!(complaint(&wav(1, 1, 0, 16, &[])).contains("0 samples a second"));
        assert!(complaint(&wav(1, 1, 8_000, 16, &[])[..30]).contains("cut short"));
        assert!(complaint(&wav(1, 1, 8_000, 16, &[])[..36]).contains("no samples"));
    }

    #[test]
    fn no_file_makes_it_panic() {
        let file = wav(1, 2, 44_100, 16, &pcm(&[1; 100]));
        for end in 0..file.len() {
            let _ = read(&file[..end]);
        }
        for at in 0..44 {
            for byte in [0, 1, 0x7F, 0xFF] {
                let mut damaged = file.clone();
                damaged[at] = byte;
                let _ = read(&damaged);
            }
        }
    }

    #[test]
    fn lengths_follow_the_rates() {
        for rate in [4_000, 8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 44_101, 192_000] {
            let two_seconds = vec![0; rate as usize * 2];
            let length = read(&wav(1, 1, rate, 16, &pcm(&two_seconds))).unwrap().len();
            assert_eq!(length, 16_000, "{rate}");
        }
    }

    #[test]
    fn the_telephone_band_passes_unchanged() {
        for rate in [11_025, 16_000, 24_000, 44_100, 48_000] {
            for hz in [50, 300, 1_000, 2_000, 3_000, 3_300] {
                let level = level_db(&resample(&sine(f64::from(hz), rate), rate));
                assert!(level.abs() < 0.1, "{hz} Hz at {rate}: {level:.2} dB");
            }
        }
    }

    #[test]
    fn what_would_fold_into_the_band_is_gone() {
        for rate in [11_025, 16_000, 24_000, 44_100, 48_000] {
            for hz in (4_100..=rate / 2 - 200).step_by(171) {
                let level = level_db(&resample(&sine(f64::from(hz), rate), rate));
                assert!(level < -55.0, "{hz} Hz at {rate}: {level:.1} dB");
            }
        }
    }

    #[test]
    fn nothing_is_delayed() {
        for rate in [6_000, 16_000, 44_100] {
            let resampled = resample(&sine(440.0, rate), rate);
            for (n, &sample) in resampled.iter().enumerate().skip(100).take(4_000) {
                let expected = AMPLITUDE * (TAU * 440.0 * n as f64 / 8_000.0).sin();
                assert!((f64::from(sample) - expected).abs() < 0.01 * AMPLITUDE, "{rate}: sample {n}");
            }
        }
    }

    const AMPLITUDE: f64 = 10_000.0;

    /// One second.
    fn sine(hz: f64, rate: u32) -> Vec<f32> {
        (0..rate).map(|n| (AMPLITUDE * (TAU * hz * f64::from(n) / f64::from(rate)).sin()) as f32).collect()
    }

    /// Loudness against that of [`sine`], its first and last 20 ms left out.
    fn level_db(samples: &[f32]) -> f64 {
        let middle = &samples[160..samples.len() - 160];
        let power = middle.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / middle.len() as f64;
        10.0 * (power / (AMPLITUDE * AMPLITUDE / 2.0)).log10()
    }

    fn pcm(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|s| s.to_le_bytes()).collect()
    }

    fn wav(tag: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let frame = channels * bits / 8;
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        file.extend(tag.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend((rate * u32::from(frame)).to_le_bytes());
        file.extend(frame.to_le_bytes());
        file.extend(bits.to_le_bytes());
        file.extend(b"data");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    }
}
