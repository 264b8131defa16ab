//! Speech detection by loudness, on the clock of the appended audio.

use call::wire::openai::TurnDetectionSettings;

use super::mulaw;

/// Samples of one frame: 10 ms.
const FRAME: usize = 80;

/// Loud frames in a row that are speech: shorter is a click.
const ONSET_FRAMES: u64 = 3;

/// What was heard; positions in samples at 8 kHz since the beginning of the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Loudness began here.
    Started { at: u64 },
    /// Silence lasted long enough, here.
    Stopped { at: u64 },
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct VadSettings {
    /// Mean square of a loud frame.
    pub power: f64,
    /// Samples of silence that end speech.
    pub silence: u64,
}

impl VadSettings {
    /// `threshold` as the session has it, 0 to 1: here −60 to −20 dBFS.
    pub fn new(threshold: f64, silence_ms: u32) -> Self {
        let dbfs = -60.0 + 40.0 * threshold;
        VadSettings { power: 32_768.0_f64.powi(2) * 10.0_f64.powf(dbfs / 10.0), silence: u64::from(silence_ms) * 8 }
    }

    /// As the session has it.
    pub fn of(detection: &TurnDetectionSettings) -> Self {
        let silence_ms = match detection.kind.as_str() {
            // It would wait for the sense of what is said; here it waits longer or shorter.
            "semantic_vad" => match detection.eagerness.as_deref() {
                Some("low") => 1_200,
                Some("high") => 300,
                _ => 600,
            },
            _ => detection.silence_duration_ms.unwrap_or(500),
        };
        VadSettings::new(detection.threshold.unwrap_or(0.5), silence_ms)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Vad {
    /// Samples seen, the incomplete frame included.
    position: u64,
    frame: Vec<u8>,
    loud_frames: u64,
    speaking: bool,
    /// Since when it is silent.
    silent_since: u64,
}

impl Vad {
    /// Takes the audio in and tells what was heard in it, in order.
    pub fn hear(&mut self, audio: &[u8], settings: VadSettings) -> Vec<Heard> {
        let mut heard = Vec::new();
        for &byte in audio {
            self.frame.push(byte);
            self.position += 1;
            if self.frame.len() == FRAME {
                let power = self.frame.iter().map(|&byte| f64::from(mulaw::decode(byte)).powi(2)).sum::<f64>();
                self.frame.clear();
                heard.extend(self.frame_heard(power / FRAME as f64 >= settings.power, settings.silence));
            }
        }
        heard
    }

    /// Forgets speech that is under way.
    pub fn reset(&mut self) {
        self.speaking = false;
        self.loud_frames = 0;
    }

    fn frame_heard(&mut self, loud: bool, silence: u64) -> Option<Heard> {
        if loud {
            self.loud_frames += 1;
            self.silent_since = self.position;
        } else {
            self.loud_frames = 0;
        }
        if !self.speaking && self.loud_frames == ONSET_FRAMES {
            self.speaking = true;
            return Some(Heard::Started { at: self.position - ONSET_FRAMES * FRAME as u64 });
        }
        if self.speaking && self.position - self.silent_since >= silence {
            self.speaking = false;
            return Some(Heard::Stopped { at: self.position });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Heard, Vad, VadSettings};
    use crate::model::voice::hum;

    #[test]
    fn a_sentence_is_one_turn_and_a_click_is_none() {
        let settings = VadSettings::new(0.5, 500);
        let mut vad = Vad::default();
        assert_eq!(vad.hear(&[0xff; 8_000], settings), []);
        assert_eq!(vad.hear(&[0x80; 160], settings), []);
        assert_eq!(vad.hear(&[0xff; 1_440], settings), []);
        let speech = hum("Good morning, when do you open?");
        let mut heard = vad.hear(&speech, settings);
        heard.extend(vad.hear(&[0xff; 8_000], settings));
        let [Heard::Started { at }, Heard::Stopped { at: end }] = heard[..] else { panic!("{heard:?}") };
        assert!((9_600..10_000).contains(&at), "{at}");
        assert!(end > 9_600 + speech.len() as u64 && end < 9_600 + speech.len() as u64 + 4_100, "{end}");
    }
}
