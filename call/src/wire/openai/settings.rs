//! What a session is configured with.

use serde::{Deserialize, Serialize};

use super::client::{
    AudioFormat, AudioSettings, InputAudio, NoiseReductionSettings, OutputAudio, Reasoning, Session, Tool,
    Transcription, TurnDetectionSettings,
};
use crate::config::Turns;

/// The settings of a session, sent as one `session.update` once the connection stands.
///
/// The server's own idle prompt (`idle_timeout_ms`) has no setting: silence is ours to act on (N8).
#[derive(Clone, PartialEq, Debug)]
pub struct SessionSettings {
    /// Chosen in the URL of the connection; a session cannot change it.
    pub model: String,
    /// Cannot change after the first audio.
    pub voice: String,
    /// Empty: the server's default text.
    pub instructions: String,
    /// `None`: the caller's words are not transcribed.
    pub transcription_model: Option<String>,
    /// A hint to the transcription, as ISO 639-1.
    pub language: Option<String>,
    pub turn_detection: TurnDetection,
    pub turns: Turns,
    pub noise_reduction: Option<NoiseReduction>,
    /// 0.25 to 1.5.
    pub speed: Option<f64>,
    /// Of one response, tool calls included: 1 to 4,096. `None`: no limit but the model's.
    pub max_output_tokens: Option<u32>,
    /// `minimal`, `low`, `medium`, `high` or `xhigh`; models without reasoning refuse it.
    pub reasoning_effort: Option<String>,
    pub tools: Vec<ToolSpec>,
}

/// A function that the model may call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: serde_json::Value,
}

/// How the model hears that the caller began and ended a turn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum TurnDetection {
    /// By silence.
    ServerVad {
        /// 0 to 1; higher wants louder speech.
        threshold: f64,
        /// Audio kept from before speech was noticed.
        prefix_padding_ms: u32,
        /// Silence that ends a turn.
        silence_duration_ms: u32,
    },
    /// By what was said.
    SemanticVad { eagerness: Eagerness },
}

/// How soon a pause is taken for the end of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Eagerness {
    /// Waits up to 8 s.
    Low,
    /// Waits up to 4 s; also the server's `auto`.
    Medium,
    /// Waits up to 2 s.
    High,
}

/// Cleaning of the caller's audio before the detector hears it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoiseReduction {
    /// A microphone near the mouth: handsets, headsets.
    NearField,
    /// A microphone in the room: speakerphones, laptops.
    FarField,
}

impl Default for SessionSettings {
    fn default() -> Self {
        SessionSettings {
            model: "gpt-realtime-2.1".into(),
            voice: "marin".into(),
            instructions: String::new(),
            transcription_model: Some("gpt-realtime-whisper".into()),
            language: None,
            turn_detection: TurnDetection::default(),
            turns: Turns::Client,
            noise_reduction: None,
            speed: None,
            max_output_tokens: None,
            reasoning_effort: None,
            tools: Vec::new(),
        }
    }
}

/// The server's own defaults.
impl Default for TurnDetection {
    fn default() -> Self {
        TurnDetection::ServerVad { threshold: 0.5, prefix_padding_ms: 300, silence_duration_ms: 500 }
    }
}

impl SessionSettings {
    /// The `session` of a `session.update`. What has no setting is left out, which leaves the server's default.
    pub(super) fn session(&self) -> Session {
        let set = |text: &str| Some(text.to_owned());
        let pcmu = || Some(AudioFormat { kind: "audio/pcmu".into(), rate: None });
        Session {
            kind: set("realtime"),
            output_modalities: Some(vec!["audio".into()]),
            instructions: Some(self.instructions.clone()).filter(|text| !text.is_empty()),
            audio: Some(AudioSettings {
                input: Some(InputAudio {
                    format: pcmu(),
                    noise_reduction: self
                        .noise_reduction
                        .map(|kind| Some(NoiseReductionSettings { kind: kind.as_str().into(), strength: None })),
                    transcription: self.transcription_model.as_ref().map(|model| {
                        Some(Transcription {
                            model: Some(model.clone()),
                            language: self.language.clone(),
                            ..Default::default()
                        })
                    }),
                    turn_detection: Some(Some(self.turn_detection.settings(self.turns))),
                }),
                output: Some(OutputAudio { format: pcmu(), voice: Some(self.voice.clone().into()), speed: self.speed }),
            }),
            tools: (!self.tools.is_empty()).then(|| self.tools.iter().map(Tool::function).collect()),
            tool_choice: (!self.tools.is_empty()).then(|| "auto".into()),
            reasoning: self.reasoning_effort.as_ref().map(|effort| Some(Reasoning { effort: Some(effort.clone()) })),
            max_output_tokens: self.max_output_tokens.map(Into::into),
            ..Default::default()
        }
    }
}

impl TurnDetection {
    fn settings(self, turns: Turns) -> TurnDetectionSettings {
        let automatic = match turns {
            Turns::Client => false,
            Turns::Model => true,
        };
        let both = TurnDetectionSettings {
            create_response: Some(automatic),
            interrupt_response: Some(automatic),
            ..Default::default()
        };
        match self {
            TurnDetection::ServerVad { threshold, prefix_padding_ms, silence_duration_ms } => TurnDetectionSettings {
                kind: "server_vad".into(),
                threshold: Some(threshold),
                prefix_padding_ms: Some(prefix_padding_ms),
                silence_duration_ms: Some(silence_duration_ms),
                ..both
            },
            TurnDetection::SemanticVad { eagerness } => TurnDetectionSettings {
                kind: "semantic_vad".into(),
                eagerness: Some(eagerness.as_str().into()),
                ..both
            },
        }
    }
}

impl Eagerness {
    fn as_str(self) -> &'static str {
        match self {
            Eagerness::Low => "low",
            Eagerness::Medium => "medium",
            Eagerness::High => "high",
        }
    }
}

impl NoiseReduction {
    fn as_str(self) -> &'static str {
        match self {
            NoiseReduction::NearField => "near_field",
            NoiseReduction::FarField => "far_field",
        }
    }
}
