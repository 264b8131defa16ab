//! One loudness for everything that is said, no clipping, no clicks.

/// Of speech, pauses left out: root mean square, as part of full scale (-20 dBFS). A telephone's usual level, with the
/// 12 to 15 dB of headroom that speech needs.
pub const LOUDNESS: f32 = 0.1;

/// No sample beyond this (-1.4 dBFS): µ-law has room for no more, and a decoder may overshoot.
pub const PEAK: f32 = 0.85;

/// Over how much of a second the ends fade: 4 ms, too short to be heard as a fade.
const FADES: u32 = 250;

/// Measurements a second: 20 ms each.
const FRAMES: u32 = 50;

/// Frames this much quieter than the loudest one are pauses (-30 dB).
const PAUSE: f32 = 0.001;

/// Brings speech, of `rate` samples a second, to [`LOUDNESS`] with no sample beyond [`PEAK`], and lets both ends fade. Silence stays silence.
pub fn level(samples: &mut [f32], rate: u32) {
    let Some(loudness) = loudness(samples, rate) else { return };
    let gain = LOUDNESS / loudness;
    for sample in samples.iter_mut() {
        *sample = soft(*sample * gain);
    }
    let fade = ((rate / FADES) as usize).min(samples.len() / 2);
    for at in 0..fade {
        let part = at as f32 / fade as f32;
        samples[at] *= part;
        let last = samples.len() - 1 - at;
        samples[last] *= part;
    }
}

/// The root mean square of what is no pause. `None`: it is all silent.
pub fn loudness(samples: &[f32], rate: u32) -> Option<f32> {
    let powers: Vec<f32> = samples
        .chunks((rate / FRAMES).max(1) as usize)
        .map(|frame| frame.iter().map(|sample| sample * sample).sum::<f32>() / frame.len() as f32)
        .collect();
    let loudest = powers.iter().copied().fold(0.0, f32::max);
    let spoken: Vec<f32> = powers.into_iter().filter(|&power| power > 0.0 && power >= loudest * PAUSE).collect();
    (loudest > 1e-10).then(|| (spoken.iter().sum::<f32>() / spoken.len() as f32).sqrt())
}

/// Unchanged in its lower two thirds, then bent so that it never reaches beyond [`PEAK`]. One loud moment does not make
/// the whole sentence quiet.
fn soft(sample: f32) -> f32 {
    const KNEE: f32 = 0.6;
    let magnitude = sample.abs();
    if magnitude <= KNEE {
        return sample;
    }
    let room = PEAK - KNEE;
    (KNEE + room * ((magnitude - KNEE) / room).tanh()).copysign(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(amplitude: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|at| amplitude * (at as f32 * 0.3).sin()).collect()
    }

    #[test]
    fn quiet_and_loud_come_out_alike() {
        for amplitude in [0.01, 0.2, 3.0] {
            let mut speech = tone(amplitude, 8_000);
            speech.extend([0.0; 8_000]);
            level(&mut speech, 8_000);
            let decibels = 20.0 * (loudness(&speech, 8_000).unwrap() / LOUDNESS).log10();
            assert!(decibels.abs() < 0.2, "{amplitude}: {decibels} dB off");
        }
    }

    #[test]
    fn a_loud_moment_is_bent_and_not_clipped() {
        let mut speech = tone(0.1, 8_000);
        speech[4_000] = 1.0;
        speech[4_010] = 5.0;
        level(&mut speech, 8_000);
        assert!(speech[4_000] < speech[4_010] + 1e-3 && speech[4_010] <= PEAK);
        assert!(speech.iter().all(|sample| sample.abs() <= PEAK));
    }

    #[test]
    fn it_begins_and_ends_in_silence() {
        let mut speech = vec![0.3; 4_000];
        level(&mut speech, 8_000);
        assert_eq!((speech[0], speech[3_999]), (0.0, 0.0));
        assert!(speech.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.02));
    }

    #[test]
    fn silence_stays_silence() {
        let mut silence = vec![0.0; 500];
        level(&mut silence, 8_000);
        assert_eq!(silence, [0.0; 500]);
    }
}
