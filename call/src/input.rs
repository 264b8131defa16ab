//! What a call can be told. Inputs are facts, named for what a peer said, never for what we conclude from it.
//!
//! Audio comes without its samples: a length, and for the caller a timestamp. Whoever drives the call holds the bytes.

use serde::{Deserialize, Serialize};

use crate::id::{CommandId, Epoch, ItemId, MarkId, RequestId, ResponseId, ToolCallId};

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The carrier's webhook announced the call (or we placed it); its media stream is still to come (N1).
    Announced,
    Carrier(CarrierInput),
    /// From the model, on the connection with this epoch (R11).
    Model(Epoch, ModelInput),
    /// From ears of our own beside the model's, where there are any (B4, O3).
    Ears(EarInput),
    /// A command ended.
    Done(CommandId, Outcome),
    Operator(OperatorInput),
    /// A deadline of `Call::poll_timeout` has come. Harmless at any other time.
    TimePassed,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarrierInput {
    /// The media stream began: the carrier's `start`.
    Started,
    /// Audio of the caller: G.711, 8,000 bytes a second. The timestamp is the carrier's, in ms since the stream began.
    Audio { bytes: u32, timestamp_ms: u64 },
    /// Our mark came back: it was reached, or it was flushed by a `clear`.
    MarkReturned(MarkId),
    /// The caller pressed a key: one of `0`–`9`, `*`, `#`, `A`–`D`.
    Dtmf(char),
    /// Messages of ours waited for its socket to take them, for so long in all since this was last told (O2).
    WriteBlocked { ms: u32 },
    /// The stream stopped: the carrier's `stop`.
    Stopped,
    /// The carrier's media socket closed or broke.
    Closed,
    /// A status callback for the call.
    Status(CallStatus),
    /// The carrier asks what comes after the stream, and says how the call stands.
    AfterStream(CallStatus),
    /// Outbound: who answered, as far as the carrier can tell. Comes seconds after the answer, or never.
    AnsweredBy(Answerer),
}

/// What our own ears hear in the caller's audio. They see each frame before the model does, and say nothing of echo (B7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EarInput {
    /// They follow the caller's audio, and hear no speech in it.
    Listening,
    /// They cannot follow, or there is nothing to listen to: nothing is known until they listen again.
    Deaf,
    SpeechStarted,
    SpeechStopped,
    /// From the next frame on the caller's audio is too quiet to be a voice, or loud for too short a time (O3).
    Quiet,
    /// From the next frame on it may be a voice.
    Loud,
}

/// Who answers a call that we placed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answerer {
    Human,
    /// A voice mailbox, a fax: nobody who would talk.
    Machine,
    Unknown,
}

/// How the carrier says the call stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// Queued, initiated or ringing.
    Ringing,
    InProgress,
    Completed,
    Busy,
    NoAnswer,
    Failed,
    Canceled,
}

impl CallStatus {
    /// Whether the call is over by this status.
    pub fn is_terminal(self) -> bool {
        !matches!(self, CallStatus::Ringing | CallStatus::InProgress)
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelInput {
    /// The connection stands; nothing is configured yet.
    Connected,
    /// The connection could not be made, closed, or broke.
    Lost {
        /// Trying again is useless: a rejected key, an exhausted quota, a retired protocol (R9).
        fatal: bool,
    },
    /// The session's configuration was confirmed.
    Configured,
    /// The model's detector heard the caller begin. Position in the audio appended so far, prefix padding included.
    SpeechStarted { item: ItemId, at_ms: u64 },
    /// The model's detector heard the caller stop. Position in the audio appended so far, closing silence included.
    SpeechStopped { item: ItemId, at_ms: u64 },
    /// The caller's speech became an item of the conversation.
    Committed { item: ItemId },
    /// What the caller said; `None` when transcription failed. May come at any time after the commit, or never.
    CallerTranscript { item: ItemId, text: Option<String> },
    /// A response began. `request` is ours, read back from its metadata; `None` when the model began it by itself.
    ResponseCreated { response: ResponseId, request: Option<RequestId> },
    /// An item of a response was announced; it may never get content.
    ItemAdded { response: ResponseId, item: ItemId, kind: ItemKind },
    /// Audio of the agent: G.711, 8,000 bytes a second.
    Audio { response: ResponseId, item: ItemId, bytes: u32 },
    /// All audio of this item was given.
    AudioDone { response: ResponseId, item: ItemId },
    /// More of what the agent says in this item.
    TranscriptDelta { response: ResponseId, item: ItemId, text: String },
    /// All that the agent says in this item.
    TranscriptDone { response: ResponseId, item: ItemId, text: String },
    /// A function call is complete (N2). `arguments` is as the model wrote it: JSON if all is well.
    ToolCall { response: ResponseId, item: ItemId, call: ToolCallId, name: String, arguments: String },
    /// The response ended. Nothing of it follows.
    ResponseDone { response: ResponseId, status: ResponseStatus, usage: Usage },
    /// The model reported an error; `request` says which of ours it is about, if it said so (R8, R9).
    Error { request: Option<RequestId>, error: ModelError },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// Speech (or text) of the agent.
    Message,
    FunctionCall,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    Completed,
    Cancelled,
    /// Cut short by the model: token limit or content filter.
    Incomplete,
    Failed(ModelError),
}

/// What the model complained about, by what can be done about it (R9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelError {
    /// A response is already active. The create waits for its end (R8).
    Collision,
    /// Nothing to cancel: as good as cancelled (B6).
    NothingToCancel,
    /// Too much at once; may be tried again after this many ms.
    RateLimited { retry_after_ms: u64 },
    /// The session reached its maximum age; the connection will close.
    SessionExpired,
    /// No retry and no reconnect can help.
    Fatal,
    /// Anything else: worth a warning, not worth the call.
    Other,
}

/// Tokens of one response, as the model counts them. Zero where it said nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    pub input_text: u64,
    pub input_audio: u64,
    /// Part of the two above.
    pub input_cached: u64,
    pub output_text: u64,
    pub output_audio: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The carrier accepted the hang-up, or the call was over already.
    HungUp,
    HangUpFailed,
    RecordingStarted,
    RecordingFailed,
    /// What the tool answered, to be given to the model word for word.
    ToolAnswered(String),
    /// The tool failed; the text tells the model how.
    ToolFailed(String),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorInput {
    /// End the call now.
    HangUp,
    /// The server is about to stop: end the call soon, and politely.
    SayGoodbye,
    /// Send these keys to the other side, as in-band tones (N10): `0`–`9`, `*`, `#`, `A`–`D`.
    Press(String),
    /// Have the agent say this, word for word.
    Say { text: String, force: bool },
}
