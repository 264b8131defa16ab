//! An agent as the configuration describes it, and what a call needs to know of it.

use std::time::Duration;

use call::config::{CallConfig, CallFacts, Direction};
use call::farewell::Language;
use call::trace::Words;
use call::wire::openai::{SessionSettings, ToolSpec};
use reqwest::Url;
use serde::Deserialize;

use crate::answer::Answer;

#[derive(Clone, PartialEq, Debug)]
pub struct Agent {
    pub name: String,
    /// The called numbers that it answers, as the carrier spells them.
    pub numbers: Vec<String>,
    /// Whether it answers the numbers that no other agent does.
    pub default: bool,
    /// Calls at once with this agent (N9). `None`: as many as the server takes.
    pub max_calls: Option<usize>,
    /// What the caller gets who is one too many for it, or for the server. `None`: what [`Twilio::busy`] says.
    ///
    /// [`Twilio::busy`]: crate::config::Twilio::busy
    pub busy: Option<Answer>,
    pub instructions: String,
    /// Said first, word for word. `None`: the caller begins.
    pub greeting: Option<String>,
    /// Language tag. `None`: whatever the caller speaks, English farewells.
    pub language: Option<String>,
    pub model: Model,
    /// Whether a false alarm lets the agent go on speaking (B4).
    pub hold: bool,
    /// `None`: silence is never asked about (N8).
    pub silence_max: Option<Duration>,
    pub call_max: Duration,
    /// Whether the carrier records too (C2).
    pub carrier_recording: bool,
    /// Whether we record (C3).
    pub recording: bool,
    /// The trace from which the call can be replayed (N11), and what it keeps of what people said. `None`: no trace.
    pub trace: Option<Words>,
    pub tools: Vec<Tool>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    pub provider: Provider,
    /// As the vendor spells it; not checked, since vendors add models.
    pub name: String,
    pub voice: String,
    /// The model that transcribes the caller.
    pub transcription: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    OpenAi,
    Local,
}

/// A tool that is an HTTP service: `{call, name, arguments}` is posted to it, its answer's body goes to the model.
#[derive(Clone, PartialEq, Debug)]
pub struct Tool {
    pub name: String,
    pub description: String,
    /// JSON schema of the arguments.
    pub parameters: serde_json::Value,
    pub url: Url,
}

impl Default for Agent {
    fn default() -> Self {
        let call = CallConfig::default();
        Agent {
            name: "default".to_owned(),
            numbers: Vec::new(),
            default: true,
            max_calls: None,
            busy: None,
            instructions: "You answer the phone. Be friendly, brief and helpful.".to_owned(),
            greeting: None,
            language: None,
            model: Model {
                provider: Provider::OpenAi,
                name: "gpt-realtime-2.1".to_owned(),
                voice: "marin".to_owned(),
                transcription: None,
            },
            hold: call.hold,
            silence_max: call.silence_max,
            call_max: call.call_max,
            carrier_recording: call.carrier_recording,
            recording: true,
            trace: Some(Words::Masked),
            tools: Vec::new(),
        }
    }
}

impl Agent {
    pub fn call_config(&self) -> CallConfig {
        let default = CallConfig::default();
        CallConfig {
            languages: match self.language.as_deref().and_then(Language::from_code) {
                Some(language) => vec![language],
                None => default.languages,
            },
            greeting: self.greeting.clone(),
            carrier_recording: self.carrier_recording,
            hold: self.hold,
            silence_max: self.silence_max,
            call_max: self.call_max,
            ..default
        }
    }

    pub fn session(&self) -> SessionSettings {
        let default = SessionSettings::default();
        let mut tools: Vec<ToolSpec> = self
            .tools
            .iter()
            .map(|tool| ToolSpec {
                name: tool.name.clone(),
                description: tool.description.clone(),
                parameters: tool.parameters.clone(),
            })
            .collect();
        tools.push(ToolSpec {
            name: call::END_CALL.to_owned(),
            description: "Ends the call. Say goodbye in the same breath.".to_owned(),
            parameters: serde_json::json!({"type": "object", "properties": {}}),
        });
        SessionSettings {
            model: self.model.name.clone(),
            voice: self.model.voice.clone(),
            instructions: self.instructions.clone(),
            transcription_model: self.model.transcription.clone().or(default.transcription_model),
            // The transcription wants the language, not the country.
            language: self.language.as_deref().and_then(|tag| tag.split('-').next()).map(str::to_owned),
            tools,
            ..default
        }
    }
}

/// A call that came to us.
pub(crate) const INBOUND: CallFacts = CallFacts { direction: Direction::Inbound };
