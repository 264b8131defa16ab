//! An agent as the configuration describes it, and what a call needs to know of it.

use std::path::PathBuf;
use std::time::Duration;

use call::bridge::Clips;
use call::config::CallConfig;
use call::farewell::Language;
use call::trace::Words;
use call::wire::openai::{NoiseReduction, SessionSettings, ToolSpec};
use reqwest::Url;

use crate::answer::Answer;
use crate::config::{Audio, NamedSecret};

#[derive(Clone, PartialEq, Debug)]
pub struct Agent {
    pub name: String,
    /// The called numbers that it answers, as the carrier spells them.
    pub numbers: Vec<String>,
    /// The number that its calls are from, unless whoever places one says another. `None`: the first of its numbers.
    pub caller_id: Option<String>,
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
    /// Languages whose farewells and back-channel words are listened for. None: that of `language`, or English.
    pub farewell_languages: Vec<Language>,
    pub audio: Audio,
    /// Sounds of our own. Tones, where no file was given.
    pub clips: Clips,
    /// How its calls go. What is said of languages, greeting and audio above is put in by [`Agent::call_config`].
    pub call: CallConfig,
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
    /// What the embedded model answers. `None`: its manners only, unless a chat server decides.
    pub flow: Option<PathBuf>,
    pub chat: Chat,
    /// The model that transcribes the caller.
    pub transcription: Option<String>,
    /// Of speech, 0.25 to 1.5.
    pub speed: Option<f64>,
    /// Of one response.
    pub max_output_tokens: Option<u32>,
    pub reasoning_effort: Option<String>,
    /// What the model does to the caller's audio before it listens.
    pub noise_reduction: Option<NoiseReduction>,
}

/// A chat server that decides what the embedded model answers.
#[derive(Clone, PartialEq, Debug)]
pub struct Chat {
    /// Of its chat completions. `None`: there is none.
    pub url: Option<Url>,
    /// As the server spells it.
    pub model: Option<String>,
    pub key: Option<NamedSecret>,
    /// From the request to the first words, and between words.
    pub silence_max: Duration,
    /// From the request to the answer's end.
    pub answer_max: Duration,
    /// Of one answer.
    pub characters_max: usize,
    /// Messages of the conversation that are sent.
    pub messages_max: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
        Agent {
            name: "default".to_owned(),
            numbers: Vec::new(),
            caller_id: None,
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
                flow: None,
                chat: Chat::default(),
                transcription: None,
                speed: None,
                max_output_tokens: None,
                reasoning_effort: None,
                noise_reduction: None,
            },
            farewell_languages: Vec::new(),
            audio: Audio::default(),
            clips: Clips::default(),
            call: CallConfig::default(),
            recording: true,
            trace: Some(Words::Masked),
            tools: Vec::new(),
        }
    }
}

impl Default for Chat {
    fn default() -> Self {
        Chat {
            url: None,
            model: None,
            key: None,
            silence_max: Duration::from_secs(6),
            answer_max: Duration::from_secs(60),
            characters_max: 1_500,
            messages_max: 40,
        }
    }
}

impl Agent {
    pub fn call_config(&self) -> CallConfig {
        let spoken = self.language.as_deref().and_then(Language::from_code);
        CallConfig {
            languages: match spoken {
                _ if !self.farewell_languages.is_empty() => self.farewell_languages.clone(),
                Some(language) => vec![language],
                None => vec![Language::ENGLISH],
            },
            greeting: self.greeting.clone(),
            vad_prefix: self.audio.vad_prefix,
            vad_silence: self.audio.vad_silence,
            min_speech: self.audio.min_speech,
            ears_hold: self.audio.local_ears,
            audio_guard: self.audio.audio_guard && !self.audio.simple_mode,
            ..self.call.clone()
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
            turn_detection: self.audio.turn_detection(),
            turns: self.call.turns,
            noise_reduction: self.model.noise_reduction,
            speed: self.model.speed,
            max_output_tokens: self.model.max_output_tokens,
            reasoning_effort: self.model.reasoning_effort.clone(),
            tools,
        }
    }
}
