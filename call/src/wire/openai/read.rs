//! Server events as facts.

use std::borrow::Cow;

use serde::Deserialize;

use super::json::{List, Object, Scalar};
use super::names::Names;
use crate::id::{ItemId, RequestId, ResponseId, ToolCallId};
use crate::input::{ItemKind, ModelError, ModelInput, ResponseStatus, Usage};
use crate::wire::payload::payload_len;
use crate::wire::plain::is_plain;

/// The key of a response's metadata under which we name our request: only `response.created` and `response.done` carry
/// metadata, and nothing else says which `response.create` was answered.
pub(super) const REQUEST_KEY: &str = "patchcord_request";

/// How long to wait when the server says "too much" but not for how long.
const RETRY_AFTER_DEFAULT_MS: u64 = 1_000;

/// Longest id that is taken. The reference allows 512 characters for ours; the server's have about 30.
const ID_LEN_MAX: usize = 512;

/// The translator of one call. It survives reconnects: its numbers never come twice within a call.
#[derive(Clone, Debug, Default)]
pub struct Realtime {
    pub(super) responses: Names,
    pub(super) items: Names,
    pub(super) calls: Names,
    /// When the tightest exhausted limit of the last `rate_limits.updated` is full again. `None`: none was exhausted.
    reset_ms: Option<u64>,
}

/// What a text of the server comes to.
#[derive(Clone, PartialEq, Debug)]
pub enum Read<'a> {
    Input(ModelInput),
    /// Agent audio: `input` is [`ModelInput::Audio`], `payload` its µ-law in base64, checked to be that.
    Audio {
        input: ModelInput,
        payload: Cow<'a, str>,
    },
    /// Known and not telling anything, or not known.
    Nothing,
    Malformed(ReadError),
}

/// Why a text says nothing. Holds none of the text: it may be what a person said.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    #[error("not a JSON object (line {line}, column {column})")]
    NotAnObject { line: usize, column: usize },
    #[error("no `{0}`")]
    Missing(&'static str),
    #[error("the audio is not base64")]
    NotBase64,
    #[error("an id of {0} bytes")]
    LongId(usize),
}

impl Realtime {
    pub fn new() -> Self {
        Self::default()
    }

    /// The connection was replaced: a new session knows nothing of the old one's ids.
    pub fn reconnected(&mut self) {
        self.responses.forget();
        self.items.forget();
        self.calls.forget();
        self.reset_ms = None;
    }

    /// Reads one text message of the server. Copies nothing of an audio delta whose ids are known.
    pub fn read<'a>(&mut self, text: &'a str) -> Read<'a> {
        match usual_delta(text) {
            Some(delta) => self.audio(delta).unwrap_or_else(Read::Malformed),
            None => self.read_any(text),
        }
    }

    fn read_any<'a>(&mut self, text: &'a str) -> Read<'a> {
        match serde_json::from_str(text) {
            Ok(Object(Some(frame))) => self.frame(frame).unwrap_or_else(Read::Malformed),
            Ok(Object(None)) => Read::Malformed(ReadError::NotAnObject { line: 0, column: 0 }),
            Err(error) => Read::Malformed(ReadError::NotAnObject { line: error.line(), column: error.column() }),
        }
    }

    fn frame<'a>(&mut self, frame: Frame<'a>) -> Result<Read<'a>, ReadError> {
        let input = match frame.kind.text().ok_or(ReadError::Missing("type"))? {
            "response.output_audio.delta" | "response.audio.delta" => {
                let payload = frame.delta.into_text().ok_or(ReadError::Missing("delta"))?;
                let bytes = payload_len(&payload).ok_or(ReadError::NotBase64)?;
                let (response_id, item_id) = (id(&frame.response_id, "response id")?, id(&frame.item_id, "item id")?);
                return self.audio(Delta { response_id, item_id, payload, bytes });
            }
            "session.updated" => ModelInput::Configured,
            "input_audio_buffer.speech_started" => {
                ModelInput::SpeechStarted { item: self.item(&frame.item_id)?, at_ms: frame.audio_start_ms.count() }
            }
            "input_audio_buffer.speech_stopped" => {
                ModelInput::SpeechStopped { item: self.item(&frame.item_id)?, at_ms: frame.audio_end_ms.count() }
            }
            "input_audio_buffer.committed" => ModelInput::Committed { item: self.item(&frame.item_id)? },
            "conversation.item.input_audio_transcription.completed" => ModelInput::CallerTranscript {
                item: self.item(&frame.item_id)?,
                text: frame.transcript.into_text().map(Cow::into_owned),
            },
            "conversation.item.input_audio_transcription.failed" => {
                ModelInput::CallerTranscript { item: self.item(&frame.item_id)?, text: None }
            }
            "response.created" => {
                let response = frame.response.0.ok_or(ReadError::Missing("response"))?;
                if response.is_somebody_elses() {
                    return Ok(Read::Nothing);
                }
                ModelInput::ResponseCreated { response: self.response(&response.id)?, request: response.request() }
            }
            "response.output_item.added" => {
                let item = frame.item.0.ok_or(ReadError::Missing("item"))?;
                ModelInput::ItemAdded {
                    response: self.response(&frame.response_id)?,
                    item: self.item(&item.id)?,
                    kind: match item.kind.text() {
                        Some("message") => ItemKind::Message,
                        Some("function_call") => ItemKind::FunctionCall,
                        _ => ItemKind::Other,
                    },
                }
            }
            "response.output_audio.done" | "response.audio.done" => {
                ModelInput::AudioDone { response: self.response(&frame.response_id)?, item: self.item(&frame.item_id)? }
            }
            "response.output_audio_transcript.delta" | "response.audio_transcript.delta" => {
                ModelInput::TranscriptDelta {
                    response: self.response(&frame.response_id)?,
                    item: self.item(&frame.item_id)?,
                    text: frame.delta.into_text().ok_or(ReadError::Missing("delta"))?.into_owned(),
                }
            }
            "response.output_audio_transcript.done" | "response.audio_transcript.done" => ModelInput::TranscriptDone {
                response: self.response(&frame.response_id)?,
                item: self.item(&frame.item_id)?,
                text: frame.transcript.into_text().ok_or(ReadError::Missing("transcript"))?.into_owned(),
            },
            "response.output_item.done" => {
                let item = frame.item.0.ok_or(ReadError::Missing("item"))?;
                // The arguments of a call that is not completed may end anywhere: it is not run (N2).
                if item.kind.text() != Some("function_call") || item.status.text() != Some("completed") {
                    return Ok(Read::Nothing);
                }
                ModelInput::ToolCall {
                    response: self.response(&frame.response_id)?,
                    item: self.item(&item.id)?,
                    call: ToolCallId(self.calls.number(id(&item.call_id, "call_id")?)),
                    name: item.name.into_text().ok_or(ReadError::Missing("name"))?.into_owned(),
                    arguments: item.arguments.into_text().unwrap_or_default().into_owned(),
                }
            }
            "response.done" => {
                let response = frame.response.0.ok_or(ReadError::Missing("response"))?;
                if response.is_somebody_elses() {
                    return Ok(Read::Nothing);
                }
                ModelInput::ResponseDone {
                    response: self.response(&response.id)?,
                    status: self.status(&response),
                    usage: response.usage.0.map(UsageFrame::usage).unwrap_or_default(),
                }
            }
            "error" => {
                let error = frame.error.0.unwrap_or_default();
                ModelInput::Error { request: error.event_id.text().and_then(request_id), error: self.classify(&error) }
            }
            "rate_limits.updated" => {
                self.reset_ms = frame.rate_limits.0.iter().filter_map(|limit| limit.0.as_ref()?.reset_ms()).max();
                return Ok(Read::Nothing);
            }
            // `session.created` among them: whoever made the connection tells that it stands.
            _ => return Ok(Read::Nothing),
        };
        Ok(Read::Input(input))
    }

    fn audio<'a>(&mut self, delta: Delta<'_, 'a>) -> Result<Read<'a>, ReadError> {
        let Delta { response_id, item_id, payload, bytes } = delta;
        let response = ResponseId(self.responses.number(short(response_id)?));
        let item = ItemId(self.items.number(short(item_id)?));
        if bytes == 0 {
            return Ok(Read::Nothing);
        }
        Ok(Read::Audio { input: ModelInput::Audio { response, item, bytes }, payload })
    }

    fn response(&mut self, name: &Scalar<'_>) -> Result<ResponseId, ReadError> {
        id(name, "response id").map(|name| ResponseId(self.responses.number(name)))
    }

    fn item(&mut self, name: &Scalar<'_>) -> Result<ItemId, ReadError> {
        id(name, "item id").map(|name| ItemId(self.items.number(name)))
    }

    fn status(&self, response: &ResponseFrame<'_>) -> ResponseStatus {
        match response.status.text() {
            Some("completed") => ResponseStatus::Completed,
            Some("cancelled") => ResponseStatus::Cancelled,
            Some("failed") => {
                let details = response.status_details.0.as_ref();
                let error = details.and_then(|details| details.error.0.as_ref());
                ResponseStatus::Failed(error.map_or(ModelError::Other, |error| self.classify(error)))
            }
            // "incomplete", and whatever else may be said of a response that ended without being completed.
            _ => ResponseStatus::Incomplete,
        }
    }

    /// What can be done about an error (R9). Codes are documented loosely and null on some servers, so the words of the
    /// message count where there is no code.
    fn classify(&self, error: &ErrorFrame<'_>) -> ModelError {
        let message = error.message.text().unwrap_or_default();
        match error.code.text().or(error.kind.text()).unwrap_or_default() {
            "conversation_already_has_active_response" => return ModelError::Collision,
            "response_cancel_not_active" => return ModelError::NothingToCancel,
            "rate_limit_exceeded" | "inference_rate_limit_exceeded" => {
                let retry_after_ms = retry_after_ms(message).or(self.reset_ms).unwrap_or(RETRY_AFTER_DEFAULT_MS);
                return ModelError::RateLimited { retry_after_ms };
            }
            "session_expired" => return ModelError::SessionExpired,
            "insufficient_quota"
            | "invalid_api_key"
            | "account_deactivated"
            | "billing_hard_limit_reached"
            | "beta_api_shape_disabled"
            | "model_not_found" => return ModelError::Fatal,
            _ => {}
        }
        let says = |words: &str| message.to_ascii_lowercase().contains(words);
        if says("already has an active response") {
            ModelError::Collision
        } else if says("no active response found") {
            ModelError::NothingToCancel
        } else if says("maximum duration of") {
            ModelError::SessionExpired
        } else {
            ModelError::Other
        }
    }
}

fn id<'a>(name: &'a Scalar<'_>, what: &'static str) -> Result<&'a str, ReadError> {
    short(name.text().ok_or(ReadError::Missing(what))?)
}

fn short(name: &str) -> Result<&str, ReadError> {
    if name.len() > ID_LEN_MAX { Err(ReadError::LongId(name.len())) } else { Ok(name) }
}

/// A piece of the agent's audio.
#[derive(PartialEq, Debug)]
struct Delta<'i, 'a> {
    response_id: &'i str,
    item_id: &'i str,
    payload: Cow<'a, str>,
    /// Of the payload, which was checked.
    bytes: u32,
}

/// A piece of audio as OpenAI writes it, field for field and without a space, at a third of what a reader of JSON takes.
/// `None`, if a single character is not as expected: [`Realtime::read_any`] says what it is then, and of what is read here it
/// says the same.
fn usual_delta(text: &str) -> Option<Delta<'_, '_>> {
    let rest = text.strip_prefix(r#"{"type":"response.output_audio.delta","event_id":""#)?;
    let (event_id, rest) = rest.split_once('"')?;
    let (response_id, rest) = rest.strip_prefix(r#","response_id":""#)?.split_once('"')?;
    let (item_id, rest) = rest.strip_prefix(r#","item_id":""#)?.split_once('"')?;
    let rest = usual_index(rest.strip_prefix(r#","output_index":"#)?)?.strip_prefix(r#","content_index":"#)?;
    let payload = usual_index(rest)?.strip_prefix(r#","delta":""#)?.strip_suffix(r#""}"#)?;
    let bytes = payload_len(payload)?;
    [event_id, response_id, item_id].into_iter().all(is_plain).then_some(Delta {
        response_id,
        item_id,
        payload: Cow::Borrowed(payload),
        bytes,
    })
}

/// What is behind a number of one digit.
fn usual_index(text: &str) -> Option<&str> {
    text.strip_prefix(|c: char| c.is_ascii_digit())
}

/// `q17` → 17.
fn request_id(text: &str) -> Option<RequestId> {
    let digits = text.strip_prefix('q')?;
    // `parse` would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok().map(RequestId)).flatten()
}

/// The wait in "… Please try again in 1.2s. …" or "… in 20ms. …".
fn retry_after_ms(message: &str) -> Option<u64> {
    let (_, wait) = message.split_once("try again in ")?;
    let number_len = wait.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = wait.split_at(number_len);
    let number: f64 = number.parse().ok()?;
    let ms_each = if unit.starts_with("ms") {
        1.0
    } else if unit.starts_with('s') {
        1_000.0
    } else if unit.starts_with('m') {
        60_000.0
    } else {
        return None;
    };
    Some((number * ms_each).ceil() as u64)
}

/// Every field that we look at in any event, read in one pass. Events that we do not know may use the same names for
/// other things, hence nothing here can fail.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Scalar<'a>,
    #[serde(borrow, default)]
    response_id: Scalar<'a>,
    #[serde(borrow, default)]
    item_id: Scalar<'a>,
    #[serde(borrow, default)]
    delta: Scalar<'a>,
    #[serde(borrow, default)]
    transcript: Scalar<'a>,
    #[serde(borrow, default)]
    audio_start_ms: Scalar<'a>,
    #[serde(borrow, default)]
    audio_end_ms: Scalar<'a>,
    #[serde(borrow, default)]
    item: Object<ItemFrame<'a>>,
    #[serde(borrow, default)]
    response: Object<ResponseFrame<'a>>,
    #[serde(borrow, default)]
    error: Object<ErrorFrame<'a>>,
    #[serde(borrow, default)]
    rate_limits: List<Object<RateLimitFrame<'a>>>,
}

#[derive(Deserialize)]
struct ItemFrame<'a> {
    #[serde(borrow, default)]
    id: Scalar<'a>,
    #[serde(rename = "type", borrow, default)]
    kind: Scalar<'a>,
    #[serde(borrow, default)]
    status: Scalar<'a>,
    #[serde(borrow, default)]
    call_id: Scalar<'a>,
    #[serde(borrow, default)]
    name: Scalar<'a>,
    #[serde(borrow, default)]
    arguments: Scalar<'a>,
}

#[derive(Deserialize)]
struct ResponseFrame<'a> {
    #[serde(borrow, default)]
    id: Scalar<'a>,
    #[serde(borrow, default)]
    status: Scalar<'a>,
    #[serde(borrow, default)]
    status_details: Object<StatusDetailsFrame<'a>>,
    #[serde(borrow, default)]
    conversation_id: Scalar<'a>,
    #[serde(borrow, default)]
    metadata: Object<MetadataFrame<'a>>,
    #[serde(borrow, default)]
    usage: Object<UsageFrame<'a>>,
}

impl ResponseFrame<'_> {
    fn request(&self) -> Option<RequestId> {
        self.metadata.0.as_ref()?.patchcord_request.text().and_then(request_id)
    }

    /// A response outside the conversation that another client of the session asked for: it occupies nothing and is not
    /// to be heard. Such responses are told apart by their metadata, so one without any is taken for the model's own:
    /// some servers name no conversation.
    fn is_somebody_elses(&self) -> bool {
        self.conversation_id == Scalar::Null && self.metadata.0.is_some() && self.request().is_none()
    }
}

#[derive(Deserialize)]
struct StatusDetailsFrame<'a> {
    #[serde(borrow, default)]
    error: Object<ErrorFrame<'a>>,
}

#[derive(Default, Deserialize)]
struct ErrorFrame<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Scalar<'a>,
    #[serde(borrow, default)]
    code: Scalar<'a>,
    #[serde(borrow, default)]
    message: Scalar<'a>,
    #[serde(borrow, default)]
    event_id: Scalar<'a>,
}

#[derive(Deserialize)]
struct MetadataFrame<'a> {
    // Named as REQUEST_KEY says.
    #[serde(borrow, default)]
    patchcord_request: Scalar<'a>,
}

#[derive(Deserialize)]
struct UsageFrame<'a> {
    #[serde(borrow, default)]
    input_token_details: Object<TokensFrame<'a>>,
    #[serde(borrow, default)]
    output_token_details: Object<TokensFrame<'a>>,
}

impl UsageFrame<'_> {
    fn usage(self) -> Usage {
        let input = self.input_token_details.0.unwrap_or_default();
        let output = self.output_token_details.0.unwrap_or_default();
        Usage {
            input_text: input.text_tokens.count(),
            input_audio: input.audio_tokens.count(),
            input_cached: input.cached_tokens.count(),
            output_text: output.text_tokens.count(),
            output_audio: output.audio_tokens.count(),
        }
    }
}

#[derive(Default, Deserialize)]
struct TokensFrame<'a> {
    #[serde(borrow, default)]
    text_tokens: Scalar<'a>,
    #[serde(borrow, default)]
    audio_tokens: Scalar<'a>,
    #[serde(borrow, default)]
    cached_tokens: Scalar<'a>,
}

#[derive(Deserialize)]
struct RateLimitFrame<'a> {
    #[serde(borrow, default)]
    remaining: Scalar<'a>,
    #[serde(borrow, default)]
    reset_seconds: Scalar<'a>,
}

impl RateLimitFrame<'_> {
    /// When the limit is full again, if it is exhausted.
    fn reset_ms(&self) -> Option<u64> {
        let exhausted = self.remaining.number()? <= 0.0;
        exhausted.then(|| self.reset_seconds.number().map(|seconds| (seconds * 1_000.0).ceil() as u64)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::plain::nearly;

    const USUAL: &str = r#"{"type":"response.output_audio.delta","event_id":"event_1","response_id":"resp_1","item_id":"item_1","output_index":0,"content_index":0,"delta":"//79/w=="}"#;

    #[test]
    fn audio_as_it_usually_comes_is_read_the_short_way() {
        assert!(usual_delta(USUAL).is_some());
        let read = Realtime::new().read(USUAL);
        assert!(matches!(&read, Read::Audio { payload, .. } if payload == "//79/w=="), "{read:?}");
        assert_eq!(read, Realtime::new().read_any(USUAL));
    }

    proptest! {
        #[test]
        fn the_short_way_reads_nothing_that_the_long_one_reads_otherwise(text in nearly(USUAL)) {
            prop_assert_eq!(Realtime::new().read(&text), Realtime::new().read_any(&text));
        }
    }
}
