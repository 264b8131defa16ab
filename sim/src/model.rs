//! A fake Realtime server: it behaves as OpenAI's does, misbehaviour included.
//!
//! [`session::FakeModel`] is one session as a plain value in virtual time; [`server`] puts it behind a real WebSocket.
//! What it says and what it hears comes from a [`script::Script`], how it errs from a [`script::Behaviour`]. The same
//! texts at the same times give the same texts back.

mod generation;
mod mulaw;
pub mod script;
pub mod server;
pub mod session;
pub(crate) mod vad;
pub mod voice;

pub use script::{
    Behaviour, HOSTED_SPEECH_LATENCY, Reply, ReplyCall, ReplyEnd, ReplyItem, Script, TranscriptOrder,
    TranscriptionTiming, Voice,
};
pub use session::{ClientError, FakeModel, GeneratedItem, Record, Sent};
