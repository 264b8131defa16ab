//! The call: told what happened and when, it answers with what should be done.
//!
//! The parts (`response`, `turn`, `playback`, `ending`, …) do not know each other. Each holds its own facts and answers
//! questions about them; this file and its modules alone turn the answers into outputs, so that the order in which things
//! go out, where races live, can be read in one place: [`Call::settle`].
//!
//! Every input is handled in two steps. First it is *noted*: the part that it concerns learns the fact. Then what has
//! become *due* is done: [`Call::settle`] asks the state, not the event, whether a hold can be decided, a goodbye was
//! heard, a response may be asked for, a frame may go. An obligation is never remembered from an event, so an event
//! cannot arrive too early or too late for it.
//!
//! Contract: after every [`Call::handle_input`], take [`Call::poll_output`] until `None`, then wait for the next input
//! or for [`Call::poll_timeout`], at which [`Input::TimePassed`] is due.

mod doing;
mod due;
mod from_carrier;
mod from_model;
mod questions;

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::{CallConfig, CallFacts, ProtectGreeting};
use crate::edits::Edits;
use crate::ending::{Ending, Goodbye, Life};
use crate::fingerprint::Fingerprint;
use crate::id::{ItemId, ResponseId};
use crate::idle::Idle;
use crate::input::{Input, OperatorInput};
use crate::keypad::Keypad;
use crate::model::{Link, Outage};
use crate::output::{Guard, Note, Output, Reason};
use crate::pipeline::Pipeline;
use crate::planted::{Fault, planted};
use crate::playback::{Playback, playing_time};
use crate::response::{Ask, Memory, Slot, Waiting};
use crate::summary::{Counts, Latency, Summary, Turn};
use crate::tally::Tally;
use crate::time::CallTime;
use crate::tools::Tools;
use crate::transcript::Transcript;
use crate::turn::Floor;
use crate::uplink::Uplink;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Call {
    config: CallConfig,
    facts: CallFacts,
    now: CallTime,
    outputs: VecDeque<Output>,

    ending: Ending,
    link: Link,
    /// Connections to the model so far; the last one's number (R11).
    epochs: u32,
    outage: Option<Outage>,
    /// The highest item so far, and the highest of the sessions before: those are not spoken of to this one (N4).
    last_item: Option<ItemId>,
    lost_items: Option<ItemId>,
    uplink: Uplink,
    floor: Floor,
    slot: Slot,
    waiting: Waiting,
    /// Asked for, but the model began another response by itself first: its rejection is on the way (R8).
    overtaken: Option<Overtaken>,
    /// No create goes out before this moment: one collided with a response that we know nothing of (the end of any
    /// response frees it too), or the model asked for patience.
    not_before: Option<CallTime>,
    memory: Memory,
    playback: Playback,
    /// Responses that the caller hears, or is about to, in order (R5, R7).
    speaking: VecDeque<ResponseId>,
    edits: Edits,
    tools: Tools,
    keypad: Keypad,
    pipeline: Pipeline,
    /// What a goodbye was last said to wait for (O4).
    goodbye_waits: Option<&'static str>,
    idle: Idle,
    transcript: Transcript,
    /// The caller's last committed turn.
    last_turn: Option<ItemId>,
    greeting: Greeting,
    /// The response that greets, and when its first frame was sent (B5).
    greeting_response: Option<ResponseId>,
    greeting_began: Option<CallTime>,
    carrier_recording: Recording,
    call_max_reached: bool,
    /// The refusal last noted, so that waiting is noted once (R4).
    refused: Option<(Reason, Guard)>,
    /// When the caller last stopped, until it was answered: for `response_latency`.
    caller_stopped: Option<CallTime>,

    next_request: u32,
    next_command: u32,

    stream_started: Option<CallTime>,
    tally: Tally,

    /// What the rest of the state last said of it. Three ask after every input: the check, whoever drives the call, and
    /// the next input.
    deadline: Option<Deadline>,
}

/// Whether the greeting was asked for (G1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Greeting {
    /// Not before the stream begins.
    Due,
    /// Outbound: the callee's first words are waited for.
    AfterCallee {
        until: CallTime,
    },
    Asked,
}

/// A create to which the model has not answered, and which does not occupy the slot any more.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Overtaken {
    ask: Ask,
    /// To be cancelled if it begins after all (B6); its reason waits already.
    cancel: bool,
}

/// Whether the carrier's recording was asked for (C1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Recording {
    Unwanted,
    Wanted,
    Asked,
}

/// The moment at which a call must look again, and why.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Deadline {
    pub at: CallTime,
    pub reason: DeadlineReason,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DeadlineReason {
    /// The next frame goes to the carrier (A3).
    Frame,
    /// The caller will have heard everything sent (R7).
    Heard,
    /// A mark is overdue (A8).
    Mark,
    /// A hold must be decided, or the floor freed (B4, R10).
    Floor,
    /// The protection of the greeting ends (B5).
    Protection,
    /// The model must be configured, begin, speak, or stop (R10).
    Model,
    /// The carrier must start, stop, or explain itself (L7, H1, N1).
    Carrier,
    /// A tool must have answered (N2).
    Tool,
    /// Keys are collected no longer (N10).
    Keys,
    /// Nobody speaks (N8).
    Silence,
    /// The pipeline is looked at (O2).
    Pipeline,
    /// The carrier's audio has a gap (N7).
    Gap,
    /// The call has lasted long enough (N8).
    CallLength,
    /// A reason that waits may be tried again (R8, R10).
    Waiting,
    /// The callee did not speak first (G1).
    Greeting,
}

impl Call {
    pub fn new(config: CallConfig, facts: CallFacts) -> Self {
        let carrier_recording = if config.carrier_recording { Recording::Wanted } else { Recording::Unwanted };
        let greeting = if config.greeting.is_some() { Greeting::Due } else { Greeting::Asked };
        Call {
            config,
            facts,
            now: CallTime::ZERO,
            outputs: VecDeque::new(),
            ending: Ending::default(),
            link: Link::default(),
            epochs: 0,
            outage: None,
            last_item: None,
            lost_items: None,
            uplink: Uplink::default(),
            floor: Floor::default(),
            slot: Slot::default(),
            waiting: Waiting::default(),
            overtaken: None,
            not_before: None,
            memory: Memory::default(),
            playback: Playback::default(),
            speaking: VecDeque::new(),
            edits: Edits::default(),
            tools: Tools::default(),
            keypad: Keypad::default(),
            pipeline: Pipeline::default(),
            goodbye_waits: None,
            idle: Idle::default(),
            transcript: Transcript::default(),
            last_turn: None,
            greeting,
            greeting_response: None,
            greeting_began: None,
            carrier_recording,
            call_max_reached: false,
            refused: None,
            caller_stopped: None,
            next_request: 0,
            next_command: 0,
            stream_started: None,
            tally: Tally::default(),
            deadline: None,
        }
    }

    /// Tells the call what happened. Never fails and never waits; time does not run backwards.
    ///
    /// # Panics
    /// When an invariant of `docs/rules.md` does not hold afterwards: a defect of this crate. It costs this call.
    pub fn handle_input(&mut self, input: Input, now: CallTime) {
        self.now = self.now.max(now);
        if self.ending.is_over() && !planted(Fault::LifeAfterDeath) {
            if matches!(input, Input::Operator(OperatorInput::HangUp)) {
                self.note(Note::AlreadyEnded);
            }
            return;
        }
        match input {
            Input::Announced => self.on_announced(),
            Input::Carrier(input) => self.on_carrier(input),
            // What an older connection still says is not about this conversation any more (R11).
            Input::Model(epoch, input) if self.link.epoch() == Some(epoch) || planted(Fault::OldSessionHeard) => {
                self.on_model(epoch, input);
            }
            Input::Model(..) => {}
            Input::Ears(input) => self.on_ears(input),
            Input::Done(command, outcome) => self.on_done(command, outcome),
            Input::Operator(input) => self.on_operator(input),
            Input::TimePassed => {
                let late = self.deadline.map_or(Duration::ZERO, |deadline| now.since(deadline.at));
                self.pipeline.woken_late(late);
            }
        }
        self.settle();
        self.deadline = self.next_deadline();
        self.check();
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next moment at which [`Input::TimePassed`] is due. `None` only before anything was told, and after the end.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.deadline
    }

    /// The driver may forget kept audio before this position (see [`crate::output::Span`]).
    pub fn audio_needed_from(&self) -> u64 {
        self.playback.needed_from()
    }

    /// When the carrier's next mark should come, if one is out: whoever reads its messages only now and then reads that one
    /// when it comes, because the moment says what was heard (A7).
    pub fn mark_expected(&self) -> Option<CallTime> {
        self.playback.mark_expected()
    }

    /// Frames of 20 ms in the paced queue, and behind it (A1).
    pub fn queues(&self) -> (u32, u32) {
        self.playback.queues(&self.config)
    }

    /// The first condition that a pending goodbye still waits for, for the verbose log (H2, O4).
    pub fn goodbye_waits_for(&self) -> Option<&'static str> {
        self.ending.goodbye_waits_for(self.goodbye_facts())
    }

    /// Whether a media stream may begin now: the first, or one that comes back (N6).
    pub fn expects_stream(&self) -> bool {
        matches!(self.ending.life, Life::Made | Life::Announced { .. } | Life::StreamLost { resuming: true, .. })
    }

    /// Whether the carrier's document is to bring the stream back (N6).
    pub fn is_resuming(&self) -> bool {
        matches!(self.ending.life, Life::StreamLost { resuming: true, .. })
    }

    pub fn has_ended(&self) -> bool {
        self.ending.is_over()
    }

    pub fn config(&self) -> &CallConfig {
        &self.config
    }

    /// What the call has come to so far.
    pub fn summary(&self) -> Summary {
        let Counts { audio_in, audio_out, frames_sent, dropped } = self.counts();
        let mut transcript = self.transcript.clone();
        for item in self.playback.items(self.now) {
            transcript.agent_cut(item, self.now);
        }
        Summary {
            audio_in,
            audio_out,
            frames_sent,
            dropped,
            turns: transcript.turns(self.stream_started.unwrap_or_default()),
            interruptions: self.tally.interruptions,
            latency: self.tally.latency.clone(),
            tools: self.tally.tools.clone(),
            usage: self.tally.usage,
            answered_by: self.tally.answered_by,
        }
    }

    /// What was counted so far, for metrics: [`Call::summary`] without the conversation.
    pub fn counts(&self) -> Counts {
        let mut dropped = self.uplink.dropped().clone();
        for (reason, count) in &self.tally.dropped_out {
            *dropped.entry(*reason).or_default() += count;
        }
        Counts {
            audio_in: self.uplink.messages,
            audio_out: self.tally.audio_out,
            frames_sent: self.playback.frames_sent(),
            dropped,
        }
    }

    /// The latencies that the call knows itself, so far.
    pub fn latency(&self) -> &Latency {
        &self.tally.latency
    }

    /// Audio sent and not heard yet (A7).
    pub fn playout_lag(&self) -> Duration {
        playing_time(self.playback.unplayed_bytes(self.now))
    }

    /// One turn of the conversation, as far as it is known; times since the stream's beginning.
    pub fn turn(&self, item: ItemId) -> Option<Turn> {
        self.transcript.turn(item, self.stream_started.unwrap_or_default())
    }

    fn next_deadline(&self) -> Option<Deadline> {
        if self.ending.is_over() {
            return None;
        }
        let config = &self.config;
        // Moments first: reasons are compared only where two are due at once.
        let mut next: Option<Deadline> = None;
        for (at, reason) in [
            (self.ending.deadline(config), DeadlineReason::Carrier),
            (self.link.deadline(config), DeadlineReason::Model),
            (self.slot_deadline(), DeadlineReason::Model),
            (self.outage.and_then(|outage| outage.ends(config)), DeadlineReason::Model),
            (self.filler_deadline(), DeadlineReason::Model),
            (self.floor.deadline(config), DeadlineReason::Floor),
            (self.protection_ends(), DeadlineReason::Protection),
            (self.tools.deadline(config), DeadlineReason::Tool),
            (self.keypad.deadline(config), DeadlineReason::Keys),
            (self.pipeline_deadline(), DeadlineReason::Pipeline),
            (self.idle.deadline(config), DeadlineReason::Silence),
            (self.gap_deadline(), DeadlineReason::Gap),
            (self.call_length_deadline(), DeadlineReason::CallLength),
            (self.waiting_deadline(), DeadlineReason::Waiting),
            (self.greeting_deadline(), DeadlineReason::Greeting),
            (self.next_frame(), DeadlineReason::Frame),
            (self.playback.heard_out(self.now), DeadlineReason::Heard),
            (self.playback.marks_expire(config), DeadlineReason::Mark),
        ] {
            if let Some(at) = at
                && next.is_none_or(|next| Deadline { at, reason } < next)
            {
                next = Some(Deadline { at, reason });
            }
        }
        next
    }

    /// Does everything that the state asks for now. The order is the order of the outputs.
    fn settle(&mut self) {
        self.playback.expire_marks(self.now, &self.config);
        self.settle_carrier();
        if self.ending.is_over() {
            // Whatever else was due at this moment is not any more (L9).
            return;
        }
        self.settle_model();
        self.settle_floor();
        self.settle_tools();
        self.settle_keys();
        self.settle_silence();
        self.settle_edits();
        self.settle_asking();
        self.settle_sending();
        // After sending: it may have waited for the last frame of another response to go.
        self.settle_goodbye();
        self.settle_speaking();
        self.settle_turns();
        self.settle_pipeline();
    }

    /// What must hold after every input, in release too: a call that breaks a rule is given up rather than continued.
    fn check(&self) {
        if let Some(broken) = self.broken_rule() {
            panic!("at {}: {broken}", self.now);
        }
    }

    /// The rule that this call breaks, if it breaks one: what [`Call::handle_input`] asserts, and exploration looks for.
    pub fn broken_rule(&self) -> Option<&'static str> {
        [self.playback.check(), self.uplink.check(), self.check_whole()].into_iter().find_map(Result::err)
    }

    fn check_whole(&self) -> Result<(), &'static str> {
        let over = self.ending.is_over();
        if over && (self.ending.goodbye != Goodbye::None || !self.slot.is_idle() || !self.waiting.is_empty()) {
            return Err("L9: ending withdraws the goodbye and everything that waits");
        }
        if self.ending.goodbye_is_due(self.goodbye_facts()) {
            return Err("H2: a goodbye that is due was not carried out");
        }
        if !over && self.deadline.is_none_or(|deadline| deadline.at <= self.now) && self.ending.life != Life::Made {
            return Err("N12: something waits without a limit, or a deadline stayed due");
        }
        Ok(())
    }
}

/// What a call is to exploration (see [`crate::fingerprint`]).
impl Call {
    pub fn fingerprint(&self, print: &mut Fingerprint<'_>) {
        let Call {
            // One world, one kind of call.
            config,
            facts: _,
            now,
            // Taken before anything else happens: that is the contract.
            outputs: _,
            ending,
            link,
            // The next connection is a fresh one, whatever its number.
            epochs: _,
            outage,
            // Only whether what is known is of a lost session, below.
            last_item: _,
            lost_items,
            uplink,
            floor,
            slot,
            waiting,
            overtaken,
            not_before,
            memory,
            playback,
            speaking,
            edits,
            tools,
            keypad,
            // Both only look, and tell.
            pipeline: _,
            goodbye_waits: _,
            idle,
            transcript,
            last_turn,
            greeting,
            greeting_response,
            greeting_began,
            carrier_recording,
            call_max_reached,
            // Whether a refusal is noted again.
            refused: _,
            // For the record.
            caller_stopped: _,
            // What they name is fresh, whatever the number.
            next_request: _,
            next_command: _,
            // That it began is in `ending`; when is for the record, and no earlier than the greeting (B5).
            stream_started: _,
            tally: _,
            // Made of the rest.
            deadline: _,
        } = self;
        ending.fingerprint(print, config);
        link.fingerprint(print, config);
        uplink.fingerprint(print, config);
        slot.fingerprint(print, config, |item| transcript.has_audio(item));
        floor.fingerprint(print, config);
        waiting.fingerprint(print);
        print.put(overtaken.is_some());
        if let Some(Overtaken { ask, cancel }) = overtaken {
            print.put(*cancel);
            ask.fingerprint(print);
        }
        print.until_some(self.overtaken_deadline());
        print.until_some(not_before.filter(|at| at > now));
        playback.fingerprint(print, config);
        memory.fingerprint(print);
        print.ids(speaking.iter().copied());
        tools.fingerprint(print, config);
        keypad.fingerprint(print, config);
        print.put(outage.is_some());
        if let Some(outage) = outage {
            outage.fingerprint(print, config);
        }
        for part in playback.items(*now) {
            print.put(lost_items.is_some_and(|lost| part.item <= lost));
        }
        print.put(lost_items.is_some());
        edits.fingerprint(print);
        idle.fingerprint(print, config);
        transcript.fingerprint(print);
        print.id_of(*last_turn);
        match *greeting {
            Greeting::Due => print.put(0),
            Greeting::AfterCallee { until } => {
                print.put(1);
                print.until(until);
            }
            Greeting::Asked => print.put(2),
        }
        // Which response greets matters to its protection alone.
        if config.protect_greeting != ProtectGreeting::None {
            print.id_of(*greeting_response);
            print.put(greeting_began.is_some());
            print.until_some(self.protected_until());
        }
        print.put((*carrier_recording, *call_max_reached));
        print.until_some(self.call_length_deadline());
    }
}

/// 100 ms of a key's tones and 100 ms of silence (N10).
pub const TONE_BYTES: u32 = 1_600;

/// The function by which the agent ends a call (H11).
pub const END_CALL: &str = "end_call";
