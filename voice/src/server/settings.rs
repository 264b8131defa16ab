//! What a session's settings mean for the stages: samples as a client writes them, and when a turn ends.

use call::g711;
use call::wire::openai::{Format, Session, TurnDetectionSettings};

use super::alaw;
use crate::detect::TurnSettings;
use crate::speak::Rate;
use crate::turn_end;

/// Turn detection by how a turn sounds.
pub const SEMANTIC: &str = "semantic_vad";

/// A new session. Nobody follows instructions that were not given.
pub fn defaults(model: &str) -> Session {
    let mut session = Session { instructions: Some(String::new()), ..Session::of_model(model) };
    if let Some(output) = session.audio.as_mut().and_then(|audio| audio.output.as_mut()) {
        output.voice = Some("heart".into());
    }
    session
}

pub fn rate(format: Format) -> Rate {
    match format {
        Format::MuLaw | Format::ALaw => Rate::Telephone,
        Format::Pcm => Rate::Wide,
    }
}

/// The samples (±1) of a client's bytes.
pub fn read(format: Format, bytes: &[u8]) -> Vec<f32> {
    let sample = |whole: i16| f32::from(whole) / 32_768.0;
    match format {
        Format::MuLaw => bytes.iter().map(|&byte| sample(g711::decode(byte))).collect(),
        Format::ALaw => bytes.iter().map(|&byte| sample(alaw::decode(byte))).collect(),
        Format::Pcm => bytes.as_chunks().0.iter().map(|&pair| sample(i16::from_le_bytes(pair))).collect(),
    }
}

/// Samples (±1) as the client wants them.
pub fn write(format: Format, samples: &[f32]) -> Vec<u8> {
    let whole = samples.iter().map(|sample| (sample * 32_767.0).clamp(-32_768.0, 32_767.0) as i16);
    match format {
        Format::MuLaw => whole.map(g711::encode).collect(),
        Format::ALaw => whole.map(alaw::encode).collect(),
        Format::Pcm => whole.flat_map(i16::to_le_bytes).collect(),
    }
}

/// When a turn ends. `over` is how likely it is that the turn is over, 0 to 1, by what is heard up to the pause that the
/// caller is in; `None`: that is not known, or not yet.
pub fn turn_settings(detection: &TurnDetectionSettings, over: Option<f32>) -> TurnSettings {
    let silence_ms = if detection.kind == SEMANTIC {
        // The longest waits are the vendor's.
        let (unknown, longest) = match detection.eagerness.as_deref() {
            Some("low") => (1_200, 8_000),
            Some("high") => (350, 2_000),
            _ => (700, 4_000),
        };
        over.map_or(unknown, |over| turn_end::silence_ms(over, longest))
    } else {
        detection.silence_duration_ms.unwrap_or(500)
    };
    TurnSettings { threshold: detection.threshold.unwrap_or(0.5) as f32, silence: u64::from(silence_ms) * 8 }
}
