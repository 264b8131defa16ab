//! A phone call with an AI agent, as a plain value: told what happened and when, it answers with what should be done.

mod audio_queue;
pub mod bridge;
mod call;
pub mod config;
mod edits;
mod ending;
pub mod farewell;
pub mod fingerprint;
pub mod g711;
pub mod id;
mod idle;
pub mod input;
mod keypad;
pub mod mistakes;
mod model;
pub mod output;
pub mod pipeline;
#[cfg_attr(not(feature = "planted"), allow(dead_code))]
pub mod planted;
mod playback;
mod response;
pub mod summary;
mod tally;
pub mod time;
pub mod tones;
mod tools;
pub mod trace;
mod transcript;
mod turn;
mod uplink;
pub mod wire;

pub use call::{Call, Deadline, DeadlineReason, END_CALL};
pub use config::{CallConfig, CallFacts};
pub use id::{CommandId, Epoch, ItemId, MarkId, RequestId, ResponseId, ToolCallId};
pub use input::{Answerer, CallStatus, CarrierInput, EarInput, Input, ModelInput, OperatorInput, Outcome};
pub use output::{Command, EndReason, EndedBy, ModelOutput, Note, Output, Reason, Span};
pub use summary::Summary;
pub use time::CallTime;
