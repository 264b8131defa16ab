//! The settings of a call. Every wait and every bound of `docs/rules.md` is one of them, with its default and its reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::farewell::Language;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a call is told once, when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct CallFacts {
    pub direction: Direction,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Direction {
    Inbound,
    Outbound,
}

// A setting that a trace does not know yet had its default.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct CallConfig {
    pub abilities: ModelAbilities,
    pub turns: Turns,
    /// Languages whose farewells and back-channel words are listened for.
    pub languages: Vec<Language>,
    /// Said first, word for word (G1). `None`: the caller begins.
    pub greeting: Option<String>,
    pub protect_greeting: ProtectGreeting,
    /// Whether the carrier is to record the call too (C1, C2).
    pub carrier_recording: bool,

    /// Most audio that may lie unplayed at the carrier (A3). Enough to ride out a stall of the process; not so much
    /// that a `clear` has much to throw away. 0 sends each frame when the one before has been played.
    pub lead: Duration,
    /// Frames in one message after the first of an utterance, 1 to 3 (A3). More cost less and delay more.
    pub group_frames: u32,
    /// Frames of 20 ms in the paced queue (A1); what is beyond waits behind it. A measure of backlog, not a limit.
    pub queue_frames: u32,
    /// Most audio of one response that may wait to be played (A1): five minutes of speech is a runaway.
    pub response_audio_max: Duration,
    /// Audio between two marks (A7): often enough to correct the clock, rarely enough to cost little.
    pub mark_every: Duration,
    /// How long after the expected end of playback a mark is still waited for (A8).
    pub mark_grace: Duration,

    /// Caller audio kept until the model is configured (T2).
    pub held_audio_max: Duration,
    /// How long a lost model is tried to be reached again (N4): as long as a person waits on a silent line. `None`: not
    /// at all.
    pub reconnect_max: Option<Duration>,
    /// Pause before the second attempt; it doubles from there.
    pub reconnect_pause: Duration,
    /// How long the caller hears nothing of an outage before being asked to wait.
    pub filler_after: Duration,
    /// Length of our own clips, in bytes; 0: there is none.
    pub clips: ClipLengths,
    /// Turns that a new session of the model is told of, the last ones: what it needs, and what it takes in at once.
    pub history_turns: usize,
    /// Connecting and confirming the configuration (R10).
    pub configure_timeout: Duration,
    /// From asking for a response to hearing that it began (R10).
    pub requested_timeout: Duration,
    /// From the beginning of a response to its first audio or tool call (R10).
    pub first_audio_timeout: Duration,
    /// From one sign of a response that goes on to the next, or to its end: a model that stops in the middle of a word
    /// is as lost as one that never began (R10).
    pub next_output_timeout: Duration,
    /// From the beginning of a response to its end, whatever it says: it outlasts every bound on its audio (R10).
    pub response_max: Duration,
    /// From cancelling a response to its end (R10).
    pub cancel_timeout: Duration,
    /// Caller speech that never stops frees the floor after this (R10).
    pub floor_max: Duration,
    /// Operator texts that may wait to be said (R3).
    pub says_max: usize,

    /// Whether speech during the agent's may turn out to be nothing (B4).
    pub hold: bool,
    /// Speech that goes on for this long is an interruption (B4).
    pub hold_max: Duration,
    /// How long after short speech its transcript is waited for (B4).
    pub hold_transcript_wait: Duration,
    /// Shortest speech without transcript that counts as meant (B4).
    pub min_speech: Duration,
    /// What the model's detector puts before and after speech, in its positions; not speech (B4).
    pub vad_prefix: Duration,
    pub vad_silence: Duration,

    /// Whether what our own ears hear opens holds, where there are any (B4).
    pub ears_hold: bool,
    /// How long what only our own ears heard is held before it counts as nothing: longer than the model takes to report
    /// the same speech, and no longer than a pause that a listener forgives (B4).
    pub ears_report_max: Duration,
    /// Whether the caller's audio reaches the model, while the agent is heard, only while our own ears hear speech in it;
    /// silence stands for the rest (O3).
    pub audio_guard: bool,

    /// How long an announced call may stay away (N1).
    pub announced_max: Duration,
    /// How long after its stream was lost a call may still be explained by a status (L7).
    pub stream_lost_grace: Duration,
    /// How long a stream that broke may take to be brought back by the carrier's document (N6): its webhook may take
    /// 15 s, and then it dials. `None`: it is not asked for, and the call ends.
    pub resume_max: Option<Duration>,
    /// Attempts to hang up by REST before our side of the socket is closed (H10).
    pub hang_up_attempts: u32,
    /// Between two of them.
    pub hang_up_retry: Duration,
    /// How long one attempt may take.
    pub hang_up_timeout: Duration,
    /// How long after a successful hang-up the stream may take to stop (H1).
    pub hang_up_grace: Duration,

    /// How keys that the caller presses reach the agent (N10).
    pub keys: Keys,
    /// How long a tool may run before the model is told that it did not answer (N2).
    pub tool_timeout: Duration,
    /// Silence after which the agent asks; after the second, it says goodbye (N8). `None`: never.
    pub silence_max: Option<Duration>,
    /// Longest call; then goodbye is said (N8).
    pub call_max: Duration,
    /// How much longer a call may take to say it, the caller talking on; then it is hung up.
    pub call_max_grace: Duration,
    /// Outbound: what to do when the carrier finds that a machine answered.
    pub on_machine: OnMachine,
    /// Outbound: how long the callee's first words are waited for before greeting (G1).
    pub callee_first_max: Duration,
    /// Gap in the carrier's audio, while the caller speaks, after which silence is sent so that the turn can close (N7).
    pub gap_fill_after: Duration,
    /// How often the pipeline is looked at (O2). `None`: never.
    pub pipeline_every: Option<Duration>,
    /// More than this waiting is worth a warning (O1): of the agent's audio, of the caller's, and for the socket.
    pub backlog_agent: Duration,
    pub backlog_caller: Duration,
    pub backlog_socket: Duration,
    /// Between two warnings about one queue.
    pub backlog_pause: Duration,
    /// No message at all from the carrier for this long is a lost socket (N7).
    pub carrier_silence_max: Duration,
}

/// How keys that the caller presses reach the agent (N10).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Keys {
    /// Each by itself, at once.
    Single,
    /// Together, until a key that ends them (not part of them), a number of them, or a pause.
    Collect { terminator: Option<char>, length: Option<u32>, pause: Duration },
}

/// What to do when a machine answers a call that we placed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMachine {
    /// Speak to it as to anybody: a message is left.
    Continue,
    HangUp,
}

/// How long our own clips are: µ-law bytes, 8,000 a second (N4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct ClipLengths {
    pub filler: u32,
    pub apology: u32,
}

/// What a model can do. Some own their turns entirely and can do none of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ModelAbilities {
    /// It can be told to stop generating.
    pub cancels: bool,
    /// It can be told how much of an item was heard, and that an item never happened.
    pub truncates: bool,
}

/// Who asks for the responses to the caller's turns (T1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Turns {
    /// The model hears and commits, we ask.
    Client,
    /// The model asks by itself, and interrupts by itself.
    Model,
}

/// How much of the greeting cannot be interrupted (B5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ProtectGreeting {
    None,
    First(Duration),
    All,
}

impl Default for CallConfig {
    fn default() -> Self {
        CallConfig {
            abilities: ModelAbilities { cancels: true, truncates: true },
            turns: Turns::Client,
            languages: vec![Language::ENGLISH],
            greeting: None,
            protect_greeting: ProtectGreeting::None,
            carrier_recording: false,
            lead: ms(200),
            group_frames: 1,
            queue_frames: 400,
            response_audio_max: ms(300_000),
            mark_every: ms(100),
            mark_grace: ms(2_000),
            held_audio_max: ms(5_000),
            reconnect_max: Some(ms(15_000)),
            reconnect_pause: ms(500),
            filler_after: ms(700),
            clips: ClipLengths::default(),
            history_turns: 100,
            configure_timeout: ms(5_000),
            requested_timeout: ms(5_000),
            first_audio_timeout: ms(8_000),
            next_output_timeout: ms(8_000),
            response_max: ms(330_000),
            cancel_timeout: ms(3_000),
            floor_max: ms(60_000),
            says_max: 4,
            hold: true,
            hold_max: ms(1_200),
            hold_transcript_wait: ms(700),
            min_speech: ms(300),
            vad_prefix: ms(300),
            vad_silence: ms(500),
            ears_hold: true,
            ears_report_max: ms(700),
            audio_guard: false,
            announced_max: ms(60_000),
            stream_lost_grace: ms(5_000),
            resume_max: Some(ms(20_000)),
            hang_up_attempts: 3,
            hang_up_retry: ms(500),
            hang_up_timeout: ms(5_000),
            hang_up_grace: ms(3_000),
            keys: Keys::Single,
            tool_timeout: ms(20_000),
            silence_max: Some(ms(20_000)),
            call_max: ms(3_600_000),
            call_max_grace: ms(120_000),
            on_machine: OnMachine::Continue,
            callee_first_max: ms(2_000),
            gap_fill_after: ms(750),
            pipeline_every: Some(ms(3_000)),
            backlog_agent: ms(60_000),
            backlog_caller: ms(2_000),
            backlog_socket: ms(1_000),
            backlog_pause: ms(30_000),
            carrier_silence_max: ms(15_000),
        }
    }
}
