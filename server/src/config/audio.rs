//! What is done to the caller's audio, and from when on it counts as speech: the one place that has it (O3).

use std::fmt;
use std::time::Duration;

use call::wire::openai::{Eagerness, TurnDetection};

/// The audio settings of an agent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Audio {
    /// The caller's audio passes through, and the model's speech detection is trusted: none of the seven below does
    /// anything.
    pub simple_mode: bool,
    /// Whether an ear of our own opens holds before the model reports speech (B4).
    pub local_ears: bool,
    /// Whether what it hears is compared with what is being played (B7).
    pub echo_gate: bool,
    /// Probability at which it takes a sound for speech, 0 to 1.
    pub ears_threshold: f64,
    /// Whether the model hears, while the agent is heard, only what an ear of our own takes for speech.
    pub audio_guard: bool,
    /// Whether music on the line is expected.
    pub music_mode: bool,
    /// Frames of 20 ms that have to be loud before any passes. 0: all pass.
    pub noise_gate_min_frames: u32,
    /// How loud that is, in dB of full scale.
    pub noise_gate_dbfs: f64,
    /// Frames of 20 ms in one message to the model, 1 to 3.
    pub append_frames: u32,
    pub vad: Vad,
    /// How loud speech has to be for [`Vad::Server`], 0 to 1.
    pub vad_threshold: f64,
    /// How soon [`Vad::Semantic`] takes a pause for the end.
    pub vad_eagerness: Eagerness,
    /// What the detector puts before speech, and the silence that ends it.
    pub vad_prefix: Duration,
    pub vad_silence: Duration,
    /// Shortest speech without transcript that counts as meant (B4).
    pub min_speech: Duration,
}

/// How the model hears that a turn begins and ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vad {
    /// By loudness and silence.
    Server,
    /// By what was said.
    Semantic,
}

impl Default for Audio {
    fn default() -> Self {
        let call = call::config::CallConfig::default();
        Audio {
            simple_mode: true,
            local_ears: false,
            echo_gate: true,
            ears_threshold: 0.5,
            audio_guard: false,
            music_mode: false,
            noise_gate_min_frames: 0,
            noise_gate_dbfs: -45.0,
            append_frames: 1,
            vad: Vad::Server,
            vad_threshold: 0.5,
            vad_eagerness: Eagerness::Medium,
            vad_prefix: call.vad_prefix,
            vad_silence: call.vad_silence,
            min_speech: call.min_speech,
        }
    }
}

impl Audio {
    /// Whether a speech detector of our own is to listen.
    pub(crate) fn wants_ears(&self) -> bool {
        !self.simple_mode && (self.local_ears || self.audio_guard)
    }

    #[cfg(feature = "voice")]
    pub(crate) fn ear_settings(&self) -> ::voice::ears::EarSettings {
        ::voice::ears::EarSettings {
            threshold: self.ears_threshold as f32,
            echo_gate: self.echo_gate,
            music: self.music_mode,
        }
    }

    /// The filters that are set to no effect: the key, and why.
    pub(crate) fn without_effect(&self) -> Vec<(&'static str, String)> {
        let filters = [
            ("local_ears", self.local_ears),
            ("audio_guard", self.audio_guard),
            ("music_mode", self.music_mode),
            ("noise_gate_min_frames", self.noise_gate_min_frames > 0),
        ];
        let set = filters.into_iter().filter(|(_, set)| *set);
        if self.simple_mode {
            let what = "does nothing with simple_mode, which lets all audio through (O3): set simple_mode = false too";
            return set.map(|(key, _)| (key, what.to_owned())).collect();
        }
        let ears = self.local_ears || self.audio_guard;
        let mut wrong = Vec::new();
        if ears && cfg!(not(feature = "voice")) {
            let key = if self.local_ears { "local_ears" } else { "audio_guard" };
            wrong.push((key, "is not in this build, which lacks the feature voice; leave it out".to_owned()));
        }
        if self.music_mode && !ears {
            let what = "tells our own ears what to expect: set local_ears or audio_guard too (O3)";
            wrong.push(("music_mode", what.to_owned()));
        }
        wrong
    }

    pub(crate) fn turn_detection(&self) -> TurnDetection {
        let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        match self.vad {
            Vad::Server => TurnDetection::ServerVad {
                threshold: self.vad_threshold,
                prefix_padding_ms: ms(self.vad_prefix),
                silence_duration_ms: ms(self.vad_silence),
            },
            Vad::Semantic => TurnDetection::SemanticVad { eagerness: self.vad_eagerness },
        }
    }
}

/// All of it, in one line.
impl fmt::Display for Audio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Audio { simple_mode, local_ears, audio_guard, music_mode, noise_gate_min_frames, .. } = self;
        write!(
            f,
            "simple_mode={simple_mode} audio_guard={audio_guard} music_mode={music_mode} \
             noise_gate_min_frames={noise_gate_min_frames} "
        )?;
        if !simple_mode {
            let Audio { echo_gate, ears_threshold, noise_gate_dbfs, .. } = self;
            write!(
                f,
                "local_ears={local_ears} echo_gate={echo_gate} ears_threshold={ears_threshold} \
                 noise_gate_dbfs={noise_gate_dbfs} "
            )?;
        }
        match self.vad {
            Vad::Server => write!(
                f,
                "vad=server vad_threshold={} vad_prefix_ms={} vad_silence_ms={}",
                self.vad_threshold,
                self.vad_prefix.as_millis(),
                self.vad_silence.as_millis()
            )?,
            Vad::Semantic => {
                let eagerness = format!("{:?}", self.vad_eagerness).to_lowercase();
                write!(f, "vad=semantic vad_eagerness={eagerness}")?;
            }
        }
        write!(f, " min_speech_ms={}", self.min_speech.as_millis())
    }
}
