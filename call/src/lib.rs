//! A phone call with an AI agent, as a plain value: told what happened and when, it answers with what should be done.

pub mod bridge;
pub mod config;
pub mod farewell;
pub mod id;
pub mod input;
pub mod output;
pub mod summary;
pub mod time;
pub mod wire;

pub use id::{CommandId, Epoch, ItemId, MarkId, RequestId, ResponseId, ToolCallId};
pub use input::{CallStatus, CarrierInput, Input, ModelInput, OperatorInput, Outcome};
pub use output::{Command, EndReason, EndedBy, ModelOutput, Note, Output, Reason, Span};
pub use summary::Summary;
pub use time::CallTime;
