//! What a client sends, as values: written by [`Realtime`](super::Realtime), read by whoever plays the model.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::settings::ToolSpec;
use crate::wire::payload::payload_len;

/// A client event with the fields of the reference. A field that is `None` is not in the message; where the reference
/// lets `null` switch something off, the field is an option of an option.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ClientEvent {
    #[serde(rename = "session.update")]
    SessionUpdate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<String>,
        session: Box<Session>,
    },
    #[serde(rename = "input_audio_buffer.append")]
    Append {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<String>,
        /// Base64, in the session's input format.
        audio: String,
    },
    #[serde(rename = "input_audio_buffer.commit")]
    Commit {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<String>,
    },
    #[serde(rename = "input_audio_buffer.clear")]
    Clear {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<String>,
    },
    #[serde(rename = "conversation.item.create")]
    ItemCreate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<String>,
        /// `root`: first. `None`: last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_item_id: Option<String>,
        item: Box<Item>,
    },
    #[serde(rename = "conversation.item.retrieve")]
    ItemRetrieve {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<String>,
        item_id: String,
    },
    #[serde(rename = "conversation.item.delete")]
    ItemDelete {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<String>,
        item_id: String,
    },
    #[serde(rename = "conversation.item.truncate")]
    ItemTruncate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<String>,
        item_id: String,
        content_index: u32,
        audio_end_ms: u32,
    },
    #[serde(rename = "response.create")]
    ResponseCreate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response: Option<Box<ResponseParams>>,
    },
    #[serde(rename = "response.cancel")]
    ResponseCancel {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<String>,
        /// `None`: the one that is active.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response_id: Option<String>,
    },
}

/// Why a text is no client event, as the server would say it in its `error` event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ClientEventError {
    /// `invalid_json`, `invalid_value`, `unknown_parameter`, `missing_required_parameter` or `invalid_type`.
    pub code: &'static str,
    pub message: String,
    /// The dotted path of what is wrong, where it is known.
    pub param: Option<String>,
    /// The event's own id, if it could be read.
    pub event_id: Option<String>,
}

impl ClientEvent {
    /// Reads what we may send: anything undocumented is an error. For a server that plays the model to our own client.
    pub fn read(text: &str) -> Result<ClientEvent, ClientEventError> {
        ClientEvent::read_as(text, Unknown::Refused)
    }

    /// Reads what others' clients send: undocumented fields are passed over.
    pub fn read_lenient(text: &str) -> Result<ClientEvent, ClientEventError> {
        ClientEvent::read_as(text, Unknown::Ignored)
    }

    pub fn event_id(&self) -> Option<&str> {
        match self {
            ClientEvent::SessionUpdate { event_id, .. }
            | ClientEvent::Append { event_id, .. }
            | ClientEvent::Commit { event_id }
            | ClientEvent::Clear { event_id }
            | ClientEvent::ItemCreate { event_id, .. }
            | ClientEvent::ItemRetrieve { event_id, .. }
            | ClientEvent::ItemDelete { event_id, .. }
            | ClientEvent::ItemTruncate { event_id, .. }
            | ClientEvent::ResponseCreate { event_id, .. }
            | ClientEvent::ResponseCancel { event_id, .. } => event_id.as_deref(),
        }
    }

    /// Appends the event to `out` as one JSON text.
    pub fn write(&self, out: &mut String) {
        out.push_str(&serde_json::to_string(self).expect("every map here has texts as keys"));
    }

    fn read_as(text: &str, unknown: Unknown) -> Result<ClientEvent, ClientEventError> {
        if let Some(audio) = appended(text) {
            return Ok(ClientEvent::Append { event_id: None, audio: audio.to_owned() });
        }
        let value: Value = serde_json::from_str(text).map_err(|error| ClientEventError {
            code: "invalid_json",
            message: format!("The event is not valid JSON: {error}."),
            param: None,
            event_id: None,
        })?;
        let event_id = value.get("event_id").and_then(Value::as_str).map(str::to_owned);
        let event: ClientEvent = match serde_json::from_value(value.clone()) {
            Ok(event) => event,
            Err(error) => return Err(ClientEventError { event_id, ..unreadable(&value, &error.to_string()) }),
        };
        if unknown == Unknown::Refused {
            // What we know survives being written again; what does not, we do not know.
            let known = serde_json::to_value(&event).expect("every map here has texts as keys");
            if let Some(param) = first_not_in(&value, &known) {
                return Err(ClientEventError {
                    code: "unknown_parameter",
                    message: format!("Unknown parameter: '{param}'."),
                    param: Some(param),
                    event_id,
                });
            }
        }
        Ok(event)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Refused,
    Ignored,
}

/// The audio of an append spelled exactly as [`write_append`](super::write_append) does: nearly everything a client
/// sends, so worth a short way.
fn appended(text: &str) -> Option<&str> {
    let audio = text.strip_prefix(super::write::APPEND_START)?.strip_suffix(super::write::APPEND_END)?;
    payload_len(audio).map(|_| audio)
}

/// The reason for which a JSON value is no client event. serde says it in words only.
fn unreadable(value: &Value, error: &str) -> ClientEventError {
    let quoted = || error.split('`').nth(1).map(str::to_owned);
    let (code, message, param) = match value.get("type").and_then(Value::as_str) {
        None => {
            ("missing_required_parameter", "Missing required parameter: 'type'.".to_owned(), Some("type".to_owned()))
        }
        Some(kind) if error.starts_with("unknown variant") => {
            ("invalid_value", format!("Invalid value: '{kind}'."), Some("type".to_owned()))
        }
        Some(_) if error.starts_with("missing field") => {
            let param = quoted();
            let name = param.clone().unwrap_or_default();
            ("missing_required_parameter", format!("Missing required parameter: '{name}'."), param)
        }
        Some(_) => ("invalid_type", format!("Invalid type: {error}."), None),
    };
    ClientEventError { code, message, param, event_id: None }
}

/// The path of the first thing in `value` that is not in `known`: a field, or an element of a list.
fn first_not_in(value: &Value, known: &Value) -> Option<String> {
    let inside = |at: String, value: &Value, known: Option<&Value>| match known {
        None => Some(at),
        Some(known) => first_not_in(value, known).map(|rest| {
            let dot = if rest.starts_with('[') { "" } else { "." };
            format!("{at}{dot}{rest}")
        }),
    };
    if let Some(fields) = value.as_object() {
        return fields.iter().find_map(|(name, value)| inside(name.clone(), value, known.get(name)));
    }
    let elements = value.as_array()?;
    elements.iter().enumerate().find_map(|(index, value)| inside(format!("[{index}]"), value, known.get(index)))
}

/// A session, or the part of it that is to change.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Session {
    /// `realtime`, or `transcription` for sessions that only listen.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `["audio"]` or `["text"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_modalities: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioSettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
    /// `none`, `auto`, `required`, or an object that names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Option<Reasoning>>,
    /// A number from 1 to 4,096, or `"inf"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation: Option<Value>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Option<Value>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub include: Option<Option<Vec<String>>>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct AudioSettings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputAudio>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputAudio>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct InputAudio {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<AudioFormat>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub noise_reduction: Option<Option<NoiseReductionSettings>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub transcription: Option<Option<Transcription>>,
    /// `Some(None)`: nothing is detected; the client commits.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub turn_detection: Option<Option<TurnDetectionSettings>>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct OutputAudio {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<AudioFormat>,
    /// A name, or `{"id": …}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct AudioFormat {
    /// `audio/pcmu`, `audio/pcma` (8 kHz) or `audio/pcm` (16 bits little-endian, 24 kHz).
    #[serde(rename = "type")]
    pub kind: String,
    /// Of `audio/pcm` only: 24,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct NoiseReductionSettings {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Transcription {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub languages: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keywords: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
}

/// Both kinds of detection in one: the fields of the other kind are `None`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TurnDetectionSettings {
    /// `server_vad` or `semantic_vad`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_padding_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_duration_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eagerness: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<Option<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_response: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt_response: Option<bool>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Reasoning {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
}

/// A tool as the session lists it. Tools other than functions are carried as they came.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tool {
    Function {
        /// `function`.
        #[serde(rename = "type")]
        kind: FunctionKind,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameters: Option<Value>,
    },
    Other(Value),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FunctionKind {
    Function,
}

impl Tool {
    pub(super) fn function(spec: &ToolSpec) -> Tool {
        Tool::Function {
            kind: FunctionKind::Function,
            name: spec.name.clone(),
            description: Some(spec.description.clone()),
            parameters: Some(spec.parameters.clone()),
        }
    }
}

/// An item of the conversation, of any type; which fields there are depends on the type.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Item {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `realtime.item`, in what a server sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// `message`, `function_call`, `function_call_output`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `in_progress`, `completed` or `incomplete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Of a message: `system`, `user` or `assistant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Vec<Content>>,
    /// Of a function call and its output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// JSON, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// A part of a message.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Content {
    /// `input_text`, `input_audio`, `output_text`, `output_audio`; in `response.content_part.…` also `audio`, `text`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// `null` while a transcription is still to come.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Option<String>>,
}

/// What one response does differently from the session. Its `instructions` replace the session's.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ResponseParams {
    /// `auto`, or `none` for a response outside the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_modalities: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Reasoning>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<Value>,
    /// At most 16 keys of 64 characters, values of 512. Comes back in `response.created` and `response.done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Value>,
}

/// Tells a field that is `null` from one that is absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
