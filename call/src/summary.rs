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

/// Latencies in ms, one entry per occasion, oldest first, at most 512 of each.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Latency {
    /// Carrier `start` → first frame sent.
    pub first_agent_speech: Option<u32>,
    /// `response.create` → first accepted audio.
    pub model_first_audio: Vec<u32>,
    /// End of caller speech as the model reports it → first frame sent.
    pub response_latency: Vec<u32>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct ToolRun {
    pub name: String,
    pub start_ms: u64,
    pub took_ms: Option<u64>,
    pub failed: bool,
}
