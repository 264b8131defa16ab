//! What a call comes to: the part of the call record that the core knows. Names as in the record.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::input::{Answerer, Usage};
use crate::output::DropReason;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Summary {
    /// Carrier media messages, counted before any filter (L2).
    pub audio_in: u64,
    /// Model audio deltas that were accepted (L2).
    pub audio_out: u64,
    /// Frames of 20 ms sent to the carrier, repeats after a hold included.
    pub frames_sent: u64,
    /// Messages or deltas dropped, by reason (L2).
    pub dropped: BTreeMap<DropReason, u64>,
    pub turns: Vec<Turn>,
    pub interruptions: Interruptions,
    pub latency: Latency,
    pub tools: Vec<ToolRun>,
    pub usage: Usage,
    /// Outbound, and asked for: who answered, as far as the carrier can tell.
    pub answered_by: Option<Answerer>,
}

/// One turn of the conversation.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Turn {
    pub who: Who,
    /// What was said. An agent's interrupted text is cut where hearing stopped (O7).
    pub text: String,
    /// When the caller began to speak, or the agent to be heard; ms since the carrier's `start`.
    pub start_ms: u64,
    pub end_ms: u64,
    /// Agent: how much of it the caller heard. Caller: its length.
    pub heard_ms: u64,
    pub interrupted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    Caller,
    Agent,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Interruptions {
    /// The caller meant it.
    pub meant: u32,
    /// Noise, or nothing: undone (B4).
    pub false_alarm: u32,
    /// A mere "mhm": undone (B4).
    pub back_channel: u32,
}

/// What a call has counted so far: cheap to ask for while it goes on. Meanings as in [`Summary`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub audio_in: u64,
    pub audio_out: u64,
    pub frames_sent: u64,
    pub dropped: BTreeMap<DropReason, u64>,
}

/// Latencies in ms, one entry per occasion, oldest first, at most 512 of each. The core fills the first four; the rest
/// is measured at the sockets and from the recording, by whoever drives the call.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Latency {
    /// Carrier `start` → first frame sent.
    pub first_agent_speech: Option<u32>,
    /// `response.create` → first accepted audio.
    pub model_first_audio: Vec<u32>,
    /// End of caller speech as the model reports it → first frame sent.
    pub response_latency: Vec<u32>,
    /// Where an item was truncated minus how much of it marks had confirmed as heard: an upper bound of the error.
    pub truncate_error: Vec<u32>,
    /// The caller's last loud sample → the agent's first one, in the recording.
    pub voice_to_voice: Vec<u32>,
    /// Speech over the agent's reported → `clear` written to the carrier's socket.
    pub barge_in_stop: Vec<u32>,
    /// Stretches of more than 3 s in which nobody spoke.
    pub dead_air: Vec<u32>,
    /// The carrier's message read → the message to the model written; the model's audio read → its first frame written
    /// to the carrier.
    pub relay_to_model: Spread,
    pub relay_to_carrier: Spread,
    /// Between two audio messages to the carrier, the second of which waited when the first went.
    pub tx_gap: Spread,
    /// Audio sent and not heard yet, looked at every 3 s while the agent speaks.
    pub playout_lag: Spread,
}

/// What came out of many measurements of one kind, in µs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Spread {
    pub count: u64,
    pub mean_us: u64,
    pub max_us: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct ToolRun {
    pub name: String,
    pub start_ms: u64,
    pub took_ms: Option<u64>,
    pub failed: bool,
}
