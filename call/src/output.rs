//! What a call wants done. Outputs are intentions; each vendor's file in `wire` turns them into messages, or into nothing.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{CommandId, Epoch, ItemId, MarkId, RequestId, ResponseId, ToolCallId};
use crate::input::CallStatus;
use crate::pipeline::{Line, Queue};
use crate::time::CallTime;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Output {
    /// Send these bytes of the agent's audio to the carrier, followed by `pad` bytes of silence.
    SendAudio {
        span: Span,
        pad: u32,
        plays_at: CallTime,
    },
    SendMark(MarkId),
    /// Empty the carrier's playback buffer.
    Clear,
    /// The agent's audio just told was accepted: append it to what is held, until `Call::audio_needed_from` passes it.
    KeepAudio,
    /// Audio of ours that the model knows nothing of: append it likewise.
    KeepLocal(Local),
    /// The caller's audio just told goes to the model now.
    ForwardAudio,
    /// The caller's audio just told is to be kept: the model is not ready (T2).
    HoldAudio,
    /// The oldest kept audio of the caller goes to the model now.
    ForwardHeld {
        bytes: u32,
    },
    /// The oldest kept audio of the caller is to be forgotten.
    DropHeld {
        bytes: u32,
    },
    /// Silence goes to the model, in place of audio that the carrier did not send (N7).
    ForwardSilence {
        bytes: u32,
    },
    Model(ModelOutput),
    Do(CommandId, Command),
    CloseCarrier,
    CloseModel,
    /// The answer to what comes after the stream (N6): bring it back. Without this output: nothing more.
    ResumeStream,
    /// Something worth knowing: for the log, the trace, the metrics. Nothing has to be done about it.
    Note(Note),
    /// The call is over. Nothing follows.
    Ended(EndReason),
}

/// Where bytes of the agent's audio are: `start` counts the bytes ever kept by [`Output::KeepAudio`], in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Span {
    pub start: u64,
    pub len: u32,
}

/// Audio of ours (A3, N4, N10). How long each is, both sides know from [`crate::config::CallConfig`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Local {
    /// "One moment, please."
    Filler,
    /// "I am sorry, something went wrong."
    Apology,
    /// Keys, as in-band tones of 100 ms with pauses of 100 ms.
    Tones(String),
}

/// What was said before this session of the model began (N4).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Remembered {
    Caller(String),
    /// As far as it was heard.
    Agent(String),
    /// Keys that the caller pressed (N10).
    Keys(String),
    ToolCall {
        call: ToolCallId,
        name: String,
        arguments: String,
    },
    ToolOutput {
        call: ToolCallId,
        output: String,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ModelOutput {
    /// Configure the session as the agent's settings say.
    Configure { request: RequestId },
    /// Ask for a response.
    CreateResponse { request: RequestId, reason: Reason, text: Option<String> },
    /// Stop the response that is being generated.
    CancelResponse { request: RequestId, response: ResponseId },
    /// The caller heard only this much of the item; the rest never happened. At least 1 ms.
    Truncate { request: RequestId, item: ItemId, heard_ms: u32 },
    /// The item never happened: nothing of it was heard, or it was noise.
    DeleteItem { request: RequestId, item: ItemId },
    /// Part of the conversation so far, told to a new session (N4).
    Remember { request: RequestId, what: Remembered },
    /// Keys that the caller pressed, as part of the conversation (N10).
    CallerPressed { request: RequestId, digits: String },
    /// What a function call came to.
    ToolOutput { request: RequestId, call: ToolCallId, output: String },
}

/// Why a response was asked for (R1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Greeting,
    CallerTurn,
    ToolResult,
    Farewell,
    Say,
    IdlePrompt,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Command {
    /// Open a connection to the model. Its inputs carry this epoch.
    ConnectModel {
        epoch: Epoch,
    },
    /// End the call at the carrier.
    HangUp,
    /// Start the carrier's recording (C1, C2).
    StartRecording,
    RunTool {
        call: ToolCallId,
        name: String,
        arguments: String,
    },
}

/// Why a call ended. A closed list (L10).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The caller hung up.
    CallerHungUp,
    /// Goodbye was said and heard.
    Goodbye,
    /// Nobody spoke for too long, and goodbye was said.
    Silence,
    /// The call reached its maximum length.
    MaxDuration,
    OperatorHungUp,
    /// The server was stopped, and goodbye was said before.
    Stopped,
    /// The carrier's stream broke and did not come back.
    StreamLost,
    /// The carrier announced the call, but it never came.
    NeverStarted,
    /// Outbound: it rang, and nobody answered.
    NotAnswered,
    /// Outbound: the line was busy.
    Busy,
    /// Outbound: the carrier could not, or would not, reach that number.
    Unreachable,
    /// Outbound: taken back at the carrier before anybody answered.
    Canceled,
    /// Outbound: a machine answered, and whoever placed the call wanted a human.
    Machine,
    /// The model could not be reached, or refused for good.
    ModelFailed,
    /// Our fault.
    Fault,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    Caller,
    Agent,
    Operator,
    Carrier,
    Model,
    Limit,
    Us,
}

impl EndReason {
    /// What an outbound call came to that has this status and never had a stream; `None` while it may still have one.
    pub fn unanswered(status: CallStatus) -> Option<Self> {
        match status {
            CallStatus::Ringing | CallStatus::InProgress => None,
            // Answered, and hung up at once.
            CallStatus::Completed => Some(EndReason::CallerHungUp),
            CallStatus::Busy => Some(EndReason::Busy),
            CallStatus::NoAnswer => Some(EndReason::NotAnswered),
            CallStatus::Failed => Some(EndReason::Unreachable),
            CallStatus::Canceled => Some(EndReason::Canceled),
        }
    }

    pub fn by(self) -> EndedBy {
        match self {
            EndReason::CallerHungUp => EndedBy::Caller,
            EndReason::Goodbye => EndedBy::Agent,
            EndReason::Silence | EndReason::MaxDuration => EndedBy::Limit,
            // The last two by what whoever owns the account, or placed the call, has said.
            EndReason::OperatorHungUp | EndReason::Stopped | EndReason::Canceled | EndReason::Machine => {
                EndedBy::Operator
            }
            EndReason::StreamLost
            | EndReason::NeverStarted
            | EndReason::NotAnswered
            | EndReason::Busy
            | EndReason::Unreachable => EndedBy::Carrier,
            EndReason::ModelFailed => EndedBy::Model,
            EndReason::Fault => EndedBy::Us,
        }
    }
}

/// Why audio was not passed on (L2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Caller audio that waited too long for the model's configuration (T2).
    ModelNotReady,
    /// Caller audio after the model was given up or the call was ending.
    NoModel,
    /// Agent audio of a response that is not, or no longer, the active one (R6, B2).
    StaleResponse,
    /// Agent audio that came after its item was closed by an interruption.
    Interrupted,
    /// Agent audio beyond the most that one response may have waiting (A1).
    QueueFull,
    /// Caller audio that was too quiet or too short to be a voice; silence went to the model in its place (O3).
    NoiseGate,
    /// Caller audio in which our own ears heard no speech while the agent was heard; silence likewise (O3).
    NoSpeech,
}

/// Which guard stopped a request to speak (R2), in the order in which they are asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    NoConnection,
    NotConfigured,
    CallerSpeaking,
    GoodbyePending,
    ResponseActive,
}

/// What was said last before the hang-up was due (H5, H6): the goodbye's words, or the end of its audio.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Via {
    #[serde(rename = "audio.done")]
    AudioDone,
    #[serde(rename = "transcript.done")]
    TranscriptDone,
    /// The words never came: the goodbye was asked for by us, and could not be spoken.
    #[serde(rename = "unspoken")]
    Unspoken,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Note {
    /// The media path is up; whether the carrier named its stream (O5).
    MediaStarted,
    /// The session is configured; the model listens.
    ModelReady {
        epoch: Epoch,
    },
    /// The conversation goes on without this connection.
    ModelLost {
        epoch: Epoch,
        fatal: bool,
    },
    /// A response is about to be asked for (R4).
    Asking {
        request: RequestId,
        reason: Reason,
        previous: Option<ResponseId>,
        agent_speaking: bool,
        tx_queue: u32,
        out_queue: u32,
    },
    /// A response was not asked for, or not yet (R4).
    NotAsking {
        reason: Reason,
        guard: Guard,
        waits: bool,
    },
    /// A create was rejected because another response was active; it waits (R8).
    Collided {
        request: RequestId,
        reason: Reason,
    },
    /// The model began a response: to what we asked for, or (no reason) by itself (R1).
    ResponseBegan {
        response: ResponseId,
        reason: Option<Reason>,
    },
    /// Nothing more of this response is accepted; what was accepted may still play (R6).
    ResponseEnded {
        response: ResponseId,
        cancelled: bool,
    },
    /// The agent began to be heard: the first audio of this response was accepted (R5).
    AgentStarted {
        response: ResponseId,
    },
    /// The last of this response was heard, or discarded (R7).
    AgentStopped {
        response: ResponseId,
    },
    CallerStarted,
    CallerStopped,
    /// Somebody's turn is complete: its words are known, and how much of them was heard. [`crate::Call::turn`] has them.
    TurnEnded {
        item: ItemId,
    },
    /// Our own ears hear the caller speak over the agent before the model reports it; [`Note::Held`] follows (B4).
    EarsHeard,
    /// Speech during the agent's: playing stopped until it is known whether it was meant (B4).
    Held,
    /// It was not meant; playing goes on where hearing stopped (B4).
    Resumed {
        back_channel: bool,
    },
    /// It was meant: the agent was interrupted (B1).
    Interrupted {
        response: Option<ResponseId>,
        heard_ms: u32,
        unheard_ms: u32,
    },
    /// Audio was dropped (L2, R6).
    Dropped {
        reason: DropReason,
        bytes: u32,
    },
    /// Words of goodbye were recognised in a response, or a goodbye became wanted (H2, O4).
    GoodbyeWanted {
        why: EndReason,
    },
    GoodbyePending {
        response: Option<ResponseId>,
    },
    GoodbyeWithdrawn,
    /// The goodbye was heard; the hang-up goes out (O4).
    GoodbyeDone {
        via: Via,
    },
    HangingUp {
        reason: EndReason,
        attempt: u32,
    },
    /// A second end was asked for (L7).
    AlreadyEnded,
    ToolStarted {
        call: ToolCallId,
        response: ResponseId,
    },
    ToolFinished {
        call: ToolCallId,
        after: Duration,
        failed: bool,
    },
    Dtmf,
    /// How the audio flows, every 3 s (O2).
    Pipeline(Line),
    /// A queue has grown past what is usual (O1).
    Backlog {
        queue: Queue,
        waiting: Duration,
        line: Line,
    },
    /// The first condition that a pending goodbye waits for has changed (H2, O4).
    GoodbyeWaits {
        waits_for: &'static str,
    },
    /// The model reported an error that changes nothing (R9).
    ModelComplained {
        request: Option<RequestId>,
        error: crate::input::ModelError,
    },
    /// Something the rules say cannot be: worth a look, not worth the call.
    Odd(&'static str),
}

/// One line, for traces and for tests in words.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::SendAudio { span, pad: 0, .. } => write!(f, "audio {}+{}", span.start, span.len),
            Output::SendAudio { span, pad, .. } => write!(f, "audio {}+{} pad {pad}", span.start, span.len),
            Output::SendMark(mark) => write!(f, "mark {mark}"),
            Output::Clear => f.write_str("clear"),
            Output::KeepAudio => f.write_str("keep"),
            Output::KeepLocal(local) => write!(f, "keep {local}"),
            Output::ForwardAudio => f.write_str("forward"),
            Output::HoldAudio => f.write_str("hold"),
            Output::ForwardHeld { bytes } => write!(f, "forward held {bytes}"),
            Output::DropHeld { bytes } => write!(f, "drop held {bytes}"),
            Output::ForwardSilence { bytes } => write!(f, "forward silence {bytes}"),
            Output::Model(model) => model.fmt(f),
            Output::Do(id, command) => write!(f, "do {id} {command}"),
            Output::CloseCarrier => f.write_str("close carrier"),
            Output::CloseModel => f.write_str("close model"),
            Output::ResumeStream => f.write_str("resume stream"),
            Output::Note(note) => write!(f, "note {note:?}"),
            Output::Ended(reason) => write!(f, "ended {reason:?}"),
        }
    }
}

impl fmt::Display for ModelOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelOutput::Configure { .. } => f.write_str("configure"),
            ModelOutput::CreateResponse { request, reason, .. } => write!(f, "create {request} {reason:?}"),
            ModelOutput::CancelResponse { request, response } => write!(f, "cancel {response} {request}"),
            ModelOutput::Truncate { item, heard_ms, .. } => write!(f, "truncate {item} {heard_ms}ms"),
            ModelOutput::DeleteItem { item, .. } => write!(f, "delete {item}"),
            ModelOutput::Remember { what, .. } => write!(f, "remember {what}"),
            ModelOutput::CallerPressed { digits, .. } => write!(f, "pressed {} keys", digits.len()),
            ModelOutput::ToolOutput { call, .. } => write!(f, "tool output {call}"),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::ConnectModel { epoch } => write!(f, "connect model {epoch}"),
            Command::HangUp => f.write_str("hang up"),
            Command::StartRecording => f.write_str("start recording"),
            Command::RunTool { call, name, .. } => write!(f, "run tool {call} {name}"),
        }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Local::Filler => f.write_str("filler"),
            Local::Apology => f.write_str("apology"),
            Local::Tones(keys) => write!(f, "tones for {} keys", keys.len()),
        }
    }
}

/// Who said something, and how much; not what.
impl fmt::Display for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remembered::Caller(text) => write!(f, "caller {}", text.chars().count()),
            Remembered::Agent(text) => write!(f, "agent {}", text.chars().count()),
            Remembered::Keys(keys) => write!(f, "{} keys", keys.len()),
            Remembered::ToolCall { call, .. } => write!(f, "call {call}"),
            Remembered::ToolOutput { call, .. } => write!(f, "output {call}"),
        }
    }
}
