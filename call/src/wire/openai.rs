//! OpenAI Realtime, generally available shape: its JSON events in both directions, over a WebSocket, with G.711 µ-law.
//!
//! Written from the generated types of OpenAI's own SDKs and from what servers were seen to send; the words of the
//! reference are <https://platform.openai.com/docs/api-reference/realtime-client-events> and `…-server-events`.
//!
//! Four things live here:
//! * [`Realtime`]: the translator of one call. It reads server events into [`ModelInput`](crate::ModelInput) and writes
//!   [`ModelOutput`](crate::ModelOutput) as client events; it alone knows the vendor's id strings.
//! * [`write_append`]: the caller's audio on its way to the model, 50 times a second, so by hand.
//! * [`ClientEvent`] and [`ServerEvent`]: the same spelling seen from the other side, for whoever plays the model (the
//!   simulator, the embedded voice). `Realtime` writes through `ClientEvent`, so each event is spelled once. [`Session`]
//!   knows the reference's defaults and refuses what it refuses.
//! * [`SessionSettings`]: what a session is configured with.
//!
//! Names of the retired beta are still read (`response.audio.delta`, …): dated Azure endpoints and some compatible
//! servers use them. They are never written.

mod client;
mod json;
mod names;
mod read;
mod server;
mod session;
mod settings;
mod write;

pub use client::{
    AudioFormat, AudioSettings, ClientEvent, ClientEventError, Content, InputAudio, Item, NoiseReductionSettings,
    OutputAudio, Reasoning, ResponseParams, Session, Tool, Transcription, TurnDetectionSettings,
};
pub use read::{Read, ReadError, Realtime};
pub use server::{
    ErrorBody, InputTokens, OutputTokens, RateLimit, Response, ServerEvent, SessionObject, StatusDetails, TokenUsage,
    TranscriptionUsage,
};
pub use session::{Format, Modality, Refused};
pub use settings::{Eagerness, NoiseReduction, SessionSettings, ToolSpec, TurnDetection};
pub use write::{Asked, literal_text, pressed_keys, write_append, write_append_bytes};

/// Whether a connection that closed with this code is not worth replacing: a normal closure (1000), a policy violation
/// (1008), or the retired beta shape (4000). `None`: no close frame came, the connection broke.
pub fn close_is_fatal(code: Option<u16>) -> bool {
    matches!(code, Some(1000 | 1008 | 4000))
}
