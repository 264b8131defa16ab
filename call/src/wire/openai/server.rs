//! What a server sends, as values: for whoever plays the model.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::client::{Content, Item, Session};

/// A server event with all the fields of the reference. Absent fields that the reference allows to be null are null.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "type")]
pub enum ServerEvent {
    #[serde(rename = "error")]
    Error { error: ErrorBody },
    #[serde(rename = "session.created")]
    SessionCreated { session: SessionObject },
    #[serde(rename = "session.updated")]
    SessionUpdated { session: SessionObject },
    #[serde(rename = "conversation.item.added")]
    ItemAdded { previous_item_id: Option<String>, item: Item },
    #[serde(rename = "conversation.item.done")]
    ItemDone { previous_item_id: Option<String>, item: Item },
    #[serde(rename = "conversation.item.retrieved")]
    ItemRetrieved { item: Item },
    #[serde(rename = "conversation.item.deleted")]
    ItemDeleted { item_id: String },
    #[serde(rename = "conversation.item.truncated")]
    ItemTruncated { item_id: String, content_index: u32, audio_end_ms: u32 },
    #[serde(rename = "conversation.item.input_audio_transcription.delta")]
    TranscriptionDelta { item_id: String, content_index: u32, delta: String },
    #[serde(rename = "conversation.item.input_audio_transcription.completed")]
    TranscriptionCompleted { item_id: String, content_index: u32, transcript: String, usage: TranscriptionUsage },
    #[serde(rename = "conversation.item.input_audio_transcription.failed")]
    TranscriptionFailed { item_id: String, content_index: u32, error: ErrorBody },
    #[serde(rename = "input_audio_buffer.committed")]
    Committed { item_id: String, previous_item_id: Option<String> },
    #[serde(rename = "input_audio_buffer.cleared")]
    Cleared {},
    #[serde(rename = "input_audio_buffer.speech_started")]
    SpeechStarted {
        item_id: String,
        /// Position in all the audio appended to the session, prefix padding included.
        audio_start_ms: u64,
    },
    #[serde(rename = "input_audio_buffer.speech_stopped")]
    SpeechStopped {
        item_id: String,
        /// Position in all the audio appended to the session, closing silence included.
        audio_end_ms: u64,
    },
    /// Nobody spoke for as long as `idle_timeout_ms` says; the item and a response follow.
    #[serde(rename = "input_audio_buffer.timeout_triggered")]
    TimeoutTriggered { item_id: String, audio_start_ms: u64, audio_end_ms: u64 },
    #[serde(rename = "response.created")]
    ResponseCreated { response: Response },
    #[serde(rename = "response.done")]
    ResponseDone { response: Response },
    #[serde(rename = "response.output_item.added")]
    OutputItemAdded { response_id: String, output_index: u32, item: Item },
    #[serde(rename = "response.output_item.done")]
    OutputItemDone { response_id: String, output_index: u32, item: Item },
    #[serde(rename = "response.content_part.added")]
    ContentPartAdded { response_id: String, item_id: String, output_index: u32, content_index: u32, part: Content },
    #[serde(rename = "response.content_part.done")]
    ContentPartDone { response_id: String, item_id: String, output_index: u32, content_index: u32, part: Content },
    #[serde(rename = "response.output_text.delta")]
    TextDelta { response_id: String, item_id: String, output_index: u32, content_index: u32, delta: String },
    #[serde(rename = "response.output_text.done")]
    TextDone { response_id: String, item_id: String, output_index: u32, content_index: u32, text: String },
    #[serde(rename = "response.output_audio.delta")]
    AudioDelta {
        response_id: String,
        item_id: String,
        output_index: u32,
        content_index: u32,
        /// Base64, in the session's output format.
        delta: String,
    },
    #[serde(rename = "response.output_audio.done")]
    AudioDone { response_id: String, item_id: String, output_index: u32, content_index: u32 },
    #[serde(rename = "response.output_audio_transcript.delta")]
    TranscriptDelta { response_id: String, item_id: String, output_index: u32, content_index: u32, delta: String },
    #[serde(rename = "response.output_audio_transcript.done")]
    TranscriptDone { response_id: String, item_id: String, output_index: u32, content_index: u32, transcript: String },
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta { response_id: String, item_id: String, output_index: u32, call_id: String, delta: String },
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone {
        response_id: String,
        item_id: String,
        output_index: u32,
        call_id: String,
        name: String,
        arguments: String,
    },
    #[serde(rename = "rate_limits.updated")]
    RateLimits { rate_limits: Vec<RateLimit> },
}

impl ServerEvent {
    /// Appends the event to `out` as one JSON text.
    pub fn write(&self, event_id: &str, out: &mut String) {
        #[derive(Serialize)]
        struct Message<'a> {
            #[serde(flatten)]
            event: &'a ServerEvent,
            event_id: &'a str,
        }
        let message = Message { event: self, event_id };
        out.push_str(&serde_json::to_string(&message).expect("every map here has texts as keys"));
    }
}

/// A session as the server shows it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SessionObject {
    pub id: String,
    /// `realtime.session`.
    pub object: &'static str,
    /// Unix time in seconds.
    pub expires_at: u64,
    #[serde(flatten)]
    pub settings: Session,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ErrorBody {
    #[serde(rename = "type")]
    pub kind: String,
    pub code: Option<String>,
    pub message: String,
    pub param: Option<String>,
    /// The client event that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Response {
    pub id: String,
    /// `realtime.response`.
    pub object: &'static str,
    /// `in_progress`, `completed`, `cancelled`, `incomplete` or `failed`.
    pub status: &'static str,
    pub status_details: Option<StatusDetails>,
    pub output: Vec<Item>,
    /// `None`: outside the conversation.
    pub conversation_id: Option<String>,
    pub output_modalities: Vec<String>,
    pub audio: Value,
    pub max_output_tokens: Value,
    pub metadata: Option<BTreeMap<String, String>>,
    pub usage: Option<TokenUsage>,
}

/// How a response ended that was not completed.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct StatusDetails {
    /// The status again.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `turn_detected`, `client_cancelled`, `max_output_tokens` or `content_filter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TokenUsage {
    pub total_tokens: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub input_token_details: InputTokens,
    pub output_token_details: OutputTokens,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct InputTokens {
    pub text_tokens: u64,
    pub audio_tokens: u64,
    pub image_tokens: u64,
    /// Part of the three above.
    pub cached_tokens: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OutputTokens {
    pub text_tokens: u64,
    pub audio_tokens: u64,
}

impl TokenUsage {
    pub fn new(input: InputTokens, output: OutputTokens) -> Self {
        let input_tokens = input.text_tokens + input.audio_tokens + input.image_tokens;
        let output_tokens = output.text_tokens + output.audio_tokens;
        TokenUsage {
            total_tokens: input_tokens + output_tokens,
            input_tokens,
            output_tokens,
            input_token_details: input,
            output_token_details: output,
        }
    }
}

/// Transcription is billed apart, here by length.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(tag = "type", rename = "duration")]
pub struct TranscriptionUsage {
    pub seconds: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RateLimit {
    /// `requests` or `tokens`.
    pub name: &'static str,
    pub limit: u64,
    pub remaining: u64,
    pub reset_seconds: f64,
}
