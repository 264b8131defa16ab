//! The call: told what happened and when, it answers with what should be done.
//!
//! The parts (`response`, `turn`, `playback`, `ending`, …) do not know each other. Each holds its own facts and answers
//! questions about them; this file alone turns the answers into outputs, so that the order in which things go out,
//! where races live, can be read in one place.
//!
//! Every input is handled in two steps. First it is *noted*: the part that it concerns learns the fact. Then what has
//! become *due* is done: [`Call::settle`] asks the state, not the event, whether a hold can be decided, a goodbye was
//! heard, a response may be asked for, a frame may go. An obligation is never remembered from an event, so an event
//! cannot arrive too early or too late for it.
//!
//! Contract: after every [`Call::handle_input`], take [`Call::poll_output`] until `None`, then wait for the next input
//! or for [`Call::poll_timeout`], at which [`Input::TimePassed`] is due.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::{CallConfig, CallFacts, Direction, OnMachine, ProtectGreeting, Turns};
use crate::edits::{Edit, Edits};
use crate::ending::{Bound, Ending, Facts, Goodbye, HangUp, Life, Pending};
use crate::farewell;
use crate::fingerprint::Fingerprint;
use crate::id::{CommandId, Epoch, ItemId, RequestId, ResponseId};
use crate::idle::{Idle, Silence};
use crate::input::{
    Answerer, CallStatus, CarrierInput, Input, ItemKind, ModelError, ModelInput, OperatorInput, Outcome,
    ResponseStatus, Usage,
};
use crate::keypad::Keypad;
use crate::model::{Link, Outage};
use crate::output::{Command, DropReason, EndReason, Guard, Local, ModelOutput, Note, Output, Reason, Remembered, Via};
use crate::pipeline::{self, Pipeline};
use crate::planted::{Fault, planted};
use crate::playback::{Owner, Playback, Sending, playing_time};
use crate::response::{Active, Again, Ask, Ended, Memory, Say, Slot, Taken, Waiting};
use crate::summary::{Counts, Latency, Summary, Turn};
use crate::tally::Tally;
use crate::time::CallTime;
use crate::tools::{Finished, Tell, Told, Tools};
use crate::transcript::Transcript;
use crate::turn::{Commit, Floor, Verdict};
use crate::uplink::{Fate, GAP_FILL, Uplink};

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline {
    pub at: CallTime,
    pub reason: DeadlineReason,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
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
        }
    }

    /// Tells the call what happened. Never fails and never waits; time does not run backwards.
    ///
    /// # Panics
    /// When an invariant of `docs/rules.md` does not hold afterwards: a defect of this crate. It costs this call.
    pub fn handle_input(&mut self, input: Input, now: CallTime) {
        let late = self.poll_timeout().map_or(Duration::ZERO, |deadline| now.since(deadline.at));
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
            Input::Done(command, outcome) => self.on_done(command, outcome),
            Input::Operator(input) => self.on_operator(input),
            Input::TimePassed => self.pipeline.woken_late(late),
        }
        self.settle();
        self.check();
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next moment at which [`Input::TimePassed`] is due. `None` only before anything was told, and after the end.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.ending.is_over() {
            return None;
        }
        let config = &self.config;
        let deadlines = [
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
        ];
        deadlines.into_iter().filter_map(|(at, reason)| Some(Deadline { at: at?, reason })).min()
    }

    /// The driver may forget kept audio before this position (see [`crate::output::Span`]).
    pub fn audio_needed_from(&self) -> u64 {
        self.playback.needed_from()
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

    // ── What happened ────────────────────────────────────────────────────────────────────────────────────────────

    fn on_announced(&mut self) {
        if self.ending.life != Life::Made {
            return self.note(Note::Odd("announced twice"));
        }
        self.ending.life = Life::Announced { since: self.now };
        self.connect_model();
    }

    fn on_carrier(&mut self, input: CarrierInput) {
        match input {
            CarrierInput::Started => self.on_started(),
            CarrierInput::Audio { bytes, timestamp_ms } => self.on_caller_audio(bytes, timestamp_ms),
            CarrierInput::MarkReturned(mark) => {
                self.uplink.carrier_spoke(self.now);
                self.playback.mark_returned(mark, self.now);
            }
            CarrierInput::Dtmf(key) => {
                self.uplink.carrier_spoke(self.now);
                self.idle.caller_spoke();
                self.keypad.press(key, self.now, &self.config);
                self.note(Note::Dtmf);
            }
            CarrierInput::WriteBlocked { ms } => self.pipeline.write_blocked(Duration::from_millis(u64::from(ms))),
            CarrierInput::Stopped | CarrierInput::Closed => self.on_stream_gone(),
            CarrierInput::Status(status) => self.on_status(status, false),
            CarrierInput::AfterStream(status) => self.on_status(status, true),
            CarrierInput::AnsweredBy(answerer) => {
                self.tally.answered_by.get_or_insert(answerer);
                if answerer == Answerer::Machine && self.config.on_machine == OnMachine::HangUp {
                    self.stop(EndReason::Machine);
                }
            }
        }
    }

    fn on_started(&mut self) {
        match self.ending.life {
            Life::Made | Life::Announced { .. } => {}
            Life::Streaming { .. } if planted(Fault::SecondStart) => self.greeting = Greeting::Due,
            Life::StreamLost { resuming: true, .. } => return self.on_resumed(),
            Life::Streaming { .. } | Life::StreamLost { .. } | Life::Ended(_) => {
                return self.note(Note::Odd("a second start"));
            }
        }
        self.ending.life = Life::Streaming { since: self.now };
        self.stream_started = Some(self.now);
        self.uplink.carrier_spoke(self.now);
        self.note(Note::MediaStarted);
        self.pipeline.begin(self.now, &self.config);
        if self.link == Link::None {
            self.connect_model();
        }
        if self.greeting == Greeting::Due {
            match self.facts.direction {
                Direction::Inbound => self.want_greeting(),
                Direction::Outbound => {
                    self.greeting = Greeting::AfterCallee { until: self.now + self.config.callee_first_max };
                }
            }
        }
    }

    /// The stream is back, and the conversation goes on from where hearing stopped (N6). Nobody is greeted again.
    fn on_resumed(&mut self) {
        self.ending.life = Life::Streaming { since: self.now };
        self.uplink.new_stream(self.now);
        if planted(Fault::GreetedAgain) && self.config.greeting.is_some() {
            self.want_greeting();
        }
        self.note(Note::MediaStarted);
        self.pipeline.begin(self.now, &self.config);
    }

    fn on_caller_audio(&mut self, bytes: u32, timestamp_ms: u64) {
        let fate = match self.link {
            Link::Ready { .. } => Fate::Forward,
            Link::None | Link::Connecting { .. } | Link::Configuring { .. } | Link::Lost { .. } => Fate::Hold,
            Link::Gone => Fate::Drop(DropReason::NoModel),
        };
        let fill = self.uplink.audio(bytes, timestamp_ms, fate, self.now);
        match fate {
            Fate::Forward => {
                if fill > 0 {
                    self.outputs.push_back(Output::ForwardSilence { bytes: fill });
                }
                self.outputs.push_back(Output::ForwardAudio);
            }
            Fate::Hold => {
                self.outputs.push_back(Output::HoldAudio);
                while let Some(bytes) = self.uplink.overflow(&self.config) {
                    self.outputs.push_back(Output::DropHeld { bytes });
                    self.note(Note::Dropped { reason: DropReason::ModelNotReady, bytes });
                }
            }
            Fate::Drop(reason) => self.note(Note::Dropped { reason, bytes }),
        }
    }

    /// The stream stopped, or its socket closed: by our hang-up, or for a reason still to be learnt (L7).
    fn on_stream_gone(&mut self) {
        if !self.ending.is_streaming() {
            return;
        }
        if let Some(reason) = self.ending.hang_up.reason() {
            return self.end(reason);
        }
        // What was on its way is not heard any more; it is kept for a stream that may come back.
        self.playback.clear(self.now);
        if planted(Fault::StreamLossEatsAudio) {
            self.playback.discard();
        }
        // Nobody says any more when the caller stops.
        self.floor.caller_is_gone(self.now);
        self.ending.life = Life::StreamLost { since: self.now, resuming: false, in_progress: false };
        self.outputs.push_back(Output::CloseCarrier);
    }

    fn on_status(&mut self, status: CallStatus, after_stream: bool) {
        if !status.is_terminal() {
            if after_stream {
                self.on_stream_gone();
                if let Life::StreamLost { in_progress, resuming, .. } = &mut self.ending.life {
                    *in_progress = true;
                    if self.config.resume_max.is_some() && !std::mem::replace(resuming, true) {
                        self.outputs.push_back(Output::ResumeStream);
                    }
                }
            }
            return;
        }
        let reason = match (self.ending.hang_up.reason(), self.ending.life) {
            (Some(reason), _) => reason,
            (None, Life::StreamLost { in_progress: true, .. }) => EndReason::StreamLost,
            (None, Life::Made | Life::Announced { .. }) if self.facts.direction == Direction::Outbound => {
                // It is terminal, so there is a reason.
                EndReason::unanswered(status).unwrap_or(EndReason::CallerHungUp)
            }
            (None, _) => EndReason::CallerHungUp,
        };
        self.end(reason);
    }

    fn on_model(&mut self, epoch: Epoch, input: ModelInput) {
        match input {
            ModelInput::Connected => self.on_connected(epoch),
            ModelInput::Lost { fatal } => self.on_lost(epoch, fatal),
            ModelInput::Configured => self.on_configured(epoch),
            ModelInput::SpeechStarted { item, at_ms } => self.on_speech_started(item, at_ms),
            ModelInput::SpeechStopped { item, at_ms } => self.on_speech_stopped(item, at_ms),
            ModelInput::Committed { item } => self.on_committed(item),
            ModelInput::CallerTranscript { item, text } => self.on_caller_transcript(item, text.as_deref()),
            ModelInput::ResponseCreated { response, request } => self.on_response_created(response, request),
            ModelInput::ItemAdded { response, item, kind } => self.on_item_added(response, item, kind),
            ModelInput::Audio { response, item, bytes } => self.on_audio(response, item, bytes),
            ModelInput::AudioDone { response, item } => {
                self.goes_on(response);
                self.playback.close_item(item);
                if planted(Fault::RetiredOnItemDone)
                    && let Slot::Active(active) = std::mem::take(&mut self.slot)
                {
                    self.finish(active, ResponseStatus::Completed);
                }
            }
            ModelInput::TranscriptDelta { response, item, text } => {
                self.goes_on(response);
                if self.is_known(response) {
                    self.transcript.agent_said_more(item, &text);
                }
            }
            ModelInput::TranscriptDone { response, item, text } => self.on_transcript_done(response, item, text),
            ModelInput::ToolCall { response, call, name, arguments, .. } => {
                self.on_tool_call(response, call, name, arguments);
            }
            ModelInput::ResponseDone { response, status, usage } => self.on_response_done(response, status, usage),
            ModelInput::Error { request, error } => self.on_error(request, error),
        }
    }

    fn on_connected(&mut self, epoch: Epoch) {
        if let Link::Connecting { .. } = self.link {
            let request = self.request();
            self.link = Link::Configuring { epoch, since: self.now, request };
            self.outputs.push_back(Output::Model(ModelOutput::Configure { request }));
        }
    }

    fn on_configured(&mut self, epoch: Epoch) {
        if let Link::Configuring { .. } = self.link {
            self.link = Link::Ready { epoch };
            self.note(Note::ModelReady { epoch });
            self.outage = None;
            // The first has nothing to be told yet.
            self.tell_history();
            let bytes = self.uplink.release();
            if bytes > 0 {
                self.outputs.push_back(Output::ForwardHeld { bytes });
            }
        }
    }

    /// The connection is gone: another is made, if that can help, and told what was said (N4).
    fn on_lost(&mut self, epoch: Epoch, fatal: bool) {
        self.note(Note::ModelLost { epoch, fatal });
        let now = self.now;
        let mut outage = self.outage.unwrap_or(Outage::new(now));
        let again_at = outage.next_attempt(now, &self.config);
        if fatal || outage.ends(&self.config).is_none_or(|ends| ends <= again_at) {
            return self.give_the_model_up();
        }
        self.outage = Some(outage);
        self.outputs.push_back(Output::CloseModel);
        self.link = Link::Lost { again_at };
        self.forget_session();
    }

    /// What a session knew, and we of it, is void; what it left undone is to be done by the next (N4).
    fn forget_session(&mut self) {
        self.lost_items = self.last_item.filter(|_| !planted(Fault::OldItemsSpokenOf));
        self.edits = Edits::default();
        self.tools.lose_session();
        self.not_before = None;
        if let Some(Overtaken { ask, cancel: false }) = self.overtaken.take() {
            self.ask_later(&ask);
        }
        match std::mem::take(&mut self.slot) {
            Slot::Idle => {}
            Slot::Requested { ask, cancel: false } => self.ask_later(&ask),
            Slot::Requested { cancel: true, .. } => {}
            Slot::Cancelling { active, .. } => self.retire(active, true),
            Slot::Active(active) => {
                // What was accepted plays out; a goodbye of which more was to come is said again, and answers for all.
                let was_goodbye = self.ending.goodbye.is_bound_to(active.response);
                if was_goodbye && let Goodbye::Pending(Pending { why, again, .. }) = self.ending.goodbye {
                    self.ending.goodbye = Goodbye::Wanted { why, again };
                }
                let ask = active.ask.clone().filter(|_| !was_goodbye);
                let unsaid = !active.spoke;
                let runs_tools = self.tools.will_speak_of(active.response);
                self.retire(active, true);
                if let Some(ask) = ask {
                    self.ask_again_after_loss(&ask, unsaid, runs_tools);
                }
            }
        }
        self.floor.forget();
    }

    fn ask_again_after_loss(&mut self, ask: &Ask, unsaid: bool, runs_tools: bool) {
        let greeted = self.greeting_began.is_some_and(|began| began + GREETED <= self.now);
        let again = match ask.reason {
            // A tool that runs on is not asked for twice: its result will be the answer (N2).
            Reason::CallerTurn | Reason::ToolResult => !runs_tools,
            Reason::Greeting => !greeted,
            Reason::Say => unsaid,
            Reason::Farewell | Reason::IdlePrompt => false,
        };
        if again && !planted(Fault::TurnLostWithModel) {
            self.waiting.put_back(ask, ask.again);
        }
    }

    /// What was said so far, in its order, for a session that was not there (N4).
    fn tell_history(&mut self) {
        let tools = self.tools.told().flat_map(|(at, told)| told_as(told.clone()).map(|what| (*at, what)));
        let keys = self.keypad.told().map(|(at, keys)| (*at, Remembered::Keys(keys.clone())));
        let mut history: Vec<_> = self.transcript.history().chain(tools).chain(keys).collect();
        history.sort_by_key(|(at, _)| *at);
        let most = if planted(Fault::NewSessionKnowsNothing) { 0 } else { self.config.history_turns };
        let skip = history.len().saturating_sub(most);
        for (_, what) in history.into_iter().skip(skip) {
            self.remember(what);
        }
    }

    fn remember(&mut self, what: Remembered) {
        let request = self.request();
        self.outputs.push_back(Output::Model(ModelOutput::Remember { request, what }));
    }

    fn on_speech_started(&mut self, item: ItemId, at_ms: u64) {
        self.last_item = self.last_item.max(Some(item));
        self.note(Note::CallerStarted);
        self.idle.caller_spoke();
        self.transcript.caller_started(item, self.now);
        self.floor.speech_started(item, at_ms, self.is_protected(), self.now);
        self.caller_took_the_floor();
    }

    /// The caller speaks, and nothing forbids that it counts.
    fn caller_took_the_floor(&mut self) {
        if self.is_protected() || self.floor.is_held() {
            return;
        }
        // An answer that pauses is being heard too: more of it is coming (R7).
        let pausing = self.slot.active().is_some_and(|active| active.spoke);
        let audible = self.playback.is_audible(self.now) || pausing;
        let goodbye = self.ending.goodbye != Goodbye::None && !planted(Fault::HungUpOverCaller);
        if self.config.hold && self.config.turns == Turns::Client && (audible || goodbye) {
            self.floor.open_hold(self.now);
            self.stop_playing();
            self.note(Note::Held);
        } else if audible || goodbye {
            self.interrupt();
        } else if self.slot.ask().is_some_and(|ask| ask.reason != Reason::Greeting) && !self.slot.is_cancelled() {
            // Nothing of it was sent yet: both turns are answered together (T1).
            self.take_back_unheard();
            let announced = self.announced_messages();
            self.cancel_response();
            for item in announced {
                self.edit(Edit::Delete { item });
            }
        }
    }

    fn on_speech_stopped(&mut self, item: ItemId, at_ms: u64) {
        self.note(Note::CallerStopped);
        self.caller_stopped = Some(self.now);
        self.transcript.caller_stopped(item, self.now);
        self.floor.speech_stopped(item, at_ms, self.now, &self.config);
    }

    fn on_committed(&mut self, item: ItemId) {
        self.last_item = self.last_item.max(Some(item));
        match self.floor.committed(item) {
            Commit::Undecided => {}
            Commit::Turn if planted(Fault::ProtectedSpeechLost) && self.is_protected() => {}
            Commit::Unwanted => self.delete_caller_item(item),
            Commit::Turn => self.want_turn(item),
        }
    }

    fn want_turn(&mut self, item: ItemId) {
        // The callee's "Hello?" is answered by the greeting (G1).
        if let Greeting::AfterCallee { .. } = self.greeting {
            return self.want_greeting();
        }
        if self.config.turns == Turns::Model {
            return;
        }
        self.last_turn = Some(item);
        match &mut self.slot {
            // It was in the conversation before the response began: the same response answers it (T1).
            Slot::Requested { ask, cancel: false } if ask.text.is_none() => ask.answers = Some(item),
            Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. } => {
                self.waiting.want_turn(Some(item));
            }
        }
    }

    fn on_caller_transcript(&mut self, item: ItemId, text: Option<&str>) {
        if let Some(text) = text {
            self.transcript.caller_said(item, text);
            self.note(Note::TurnEnded { item });
        }
        if self.floor.is_in_hold(item) {
            return self.floor.transcript(item, text, &self.config);
        }
        // A caller who says only goodbye is answered by one, and by no other (H9).
        if self.ending.goodbye != Goodbye::None
            || planted(Fault::CallerFarewellIgnored)
            || self.last_turn.is_some_and(|turn| turn != item)
            || !text.is_some_and(|text| farewell::is_only_farewell(text, &self.config.languages))
        {
            return;
        }
        if self.waiting.turn.is_some_and(|turn| turn.item == Some(item)) {
            self.waiting.turn = None;
            return self.want_goodbye(EndReason::Goodbye);
        }
        let answered_by = match &self.slot {
            Slot::Requested { ask, cancel: false } if ask.answers == Some(item) => Some(Bound::Request(ask.request)),
            Slot::Active(active) if active.ask.as_ref().is_some_and(|ask| ask.answers == Some(item)) => {
                Some(Bound::Response(active.response))
            }
            Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. } => self
                .memory
                .answering(item)
                .filter(|ended| !ended.cancelled && self.playback.is_response_audible(ended.response, self.now))
                .map(|ended| Bound::Response(ended.response)),
        };
        match answered_by {
            Some(bound) => self.pend_goodbye(EndReason::Goodbye, bound, false),
            // Who speaks again already has more to say than goodbye.
            None if self.is_caller_going_on() => {}
            None => self.want_goodbye(EndReason::Goodbye),
        }
    }

    fn on_response_created(&mut self, response: ResponseId, request: Option<RequestId>) {
        if let Some(Overtaken { ask, cancel }) =
            self.overtaken.take_if(|overtaken| Some(overtaken.ask.request) == request)
        {
            // It was not rejected after all: the one that overtook it is over.
            if let Slot::Active(active) | Slot::Cancelling { active, .. } = std::mem::take(&mut self.slot) {
                self.note(Note::Odd("a response began before the one before it was done"));
                self.retire(active, true);
            }
            self.activate(response, Some(ask));
            if cancel {
                self.cancel_response();
            }
            return;
        }
        if self.is_known(response) {
            return self.note(Note::Odd("a response began twice"));
        }
        match std::mem::take(&mut self.slot) {
            Slot::Requested { ask, cancel } if request == Some(ask.request) => {
                self.activate(response, Some(ask));
                if cancel {
                    self.cancel_response();
                }
            }
            Slot::Requested { ask, cancel } => {
                // The model was faster. Its own response answers the caller just as well; a tool's result it does not
                // know of (RACES a). Ours will be rejected.
                let automatic = (ask.reason == Reason::CallerTurn).then(|| ask.clone());
                self.overtaken = Some(Overtaken { ask, cancel });
                self.activate(response, automatic);
                if cancel {
                    self.cancel_response();
                }
            }
            Slot::Idle => self.activate(response, None),
            Slot::Active(active) | Slot::Cancelling { active, .. } => {
                self.note(Note::Odd("a response began before the one before it was done"));
                self.retire(active, true);
                self.activate(response, None);
            }
        }
    }

    fn activate(&mut self, response: ResponseId, ask: Option<Ask>) {
        if let (Some(ask), Goodbye::Pending(pending)) = (&ask, &mut self.ending.goodbye)
            && pending.bound == Bound::Request(ask.request)
        {
            pending.bound = Bound::Response(response);
        }
        if ask.as_ref().is_some_and(|ask| ask.reason == Reason::Greeting) {
            self.greeting_response = Some(response);
        }
        self.note(Note::ResponseBegan { response, reason: ask.as_ref().map(|ask| ask.reason) });
        self.slot = Slot::Active(Active::new(response, ask, self.now));
    }

    /// A sign that the model works on this response (R10).
    fn goes_on(&mut self, response: ResponseId) {
        let now = self.now;
        if let Some(active) = self.slot.occupant_mut().filter(|active| active.response == response) {
            active.last_output = now;
        }
    }

    fn on_item_added(&mut self, response: ResponseId, item: ItemId, kind: ItemKind) {
        self.goes_on(response);
        self.last_item = self.last_item.max(Some(item));
        match &mut self.slot {
            Slot::Active(active) if active.response == response => active.note_item(item, kind),
            // Announced after its response was cancelled: it never happened (B1).
            Slot::Cancelling { active, .. } if active.response == response && kind == ItemKind::Message => {
                self.edit(Edit::Delete { item });
            }
            Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. } => {}
        }
    }

    fn on_audio(&mut self, response: ResponseId, item: ItemId, bytes: u32) {
        let now = self.now;
        self.goes_on(response);
        let audible = if planted(Fault::StaleAudioPlayed) { self.slot.occupant_mut() } else { self.slot.active_mut() };
        let Some(active) = audible.filter(|active| active.response == response) else {
            return self.drop_audio(DropReason::StaleResponse, bytes);
        };
        if bytes == 0 {
            return;
        }
        if !self.playback.accept(response, item, bytes, &self.config) {
            self.drop_audio(DropReason::QueueFull, bytes);
            return self.cancel_response();
        }
        self.outputs.push_back(Output::KeepAudio);
        self.last_item = self.last_item.max(Some(item));
        self.tally.audio_out += 1;
        self.transcript.agent_accepted(response, item, bytes);
        active.first_output.get_or_insert(now);
        if !std::mem::replace(&mut active.spoke, true) {
            if let Some(ask) = &active.ask {
                self.tally.model_first_audio(now.since(ask.at));
            }
            self.speaking.push_back(response);
            self.note(Note::AgentStarted { response });
        }
    }

    fn on_transcript_done(&mut self, response: ResponseId, item: ItemId, text: String) {
        if !self.is_known(response) {
            return;
        }
        self.goes_on(response);
        self.transcript.agent_said(item, &text);
        let (said, cancelled) = match &mut self.slot {
            Slot::Active(active) if active.response == response => (&mut active.said, false),
            Slot::Cancelling { active, .. } if active.response == response => (&mut active.said, true),
            Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. } => {
                match self.memory.get_mut(response).filter(|_| !planted(Fault::TranscriptLastForgotten)) {
                    Some(ended) => (&mut ended.said, ended.cancelled),
                    None => return,
                }
            }
        };
        match said.iter_mut().find(|(known, _)| *known == item) {
            Some((_, known)) => *known = text,
            None => said.push((item, text)),
        }
        if cancelled || self.ending.goodbye.is_pending() {
            return;
        }
        let all = said.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
        if farewell::says_farewell(&all, &self.config.languages) {
            let complete = self.slot.occupant().is_none_or(|active| active.response != response);
            if !complete && planted(Fault::TranscriptFirstForgotten) {
                return;
            }
            self.pend_goodbye(EndReason::Goodbye, Bound::Response(response), complete);
        }
    }

    fn on_tool_call(&mut self, response: ResponseId, call: crate::id::ToolCallId, name: String, arguments: String) {
        let now = self.now;
        // One that was complete before its response was cancelled exists, and is owed its output (N2).
        let cancelled = self.slot.is_cancelled();
        let Some(active) = self.slot.occupant_mut().filter(|active| active.response == response) else {
            return self.note(Note::Odd("a function call of a response that is not active"));
        };
        active.first_output.get_or_insert(now);
        active.last_output = now;
        active.called_tools = true;
        if name == END_CALL {
            self.tools.answered_at_once(call, response, "{\"ok\":true}", now);
            if cancelled {
                return;
            }
            if active.spoke {
                if !self.ending.goodbye.is_pending() {
                    self.pend_goodbye(EndReason::Goodbye, Bound::Response(response), false);
                }
            } else {
                // Speech may still follow in the same response; then the goodbye is in it (H11).
                active.ends_call = !planted(Fault::EndCallIgnored);
            }
            return;
        }
        let command = self.command();
        if self.tools.started(call, response, &name, &arguments, command, now) {
            self.tally.tool_started(&name, now.since(self.stream_started.unwrap_or_default()));
            self.note(Note::ToolStarted { call, response });
            self.outputs.push_back(Output::Do(command, Command::RunTool { call, name, arguments }));
        }
    }

    fn on_response_done(&mut self, response: ResponseId, status: ResponseStatus, usage: Usage) {
        self.tally.used(usage);
        self.not_before = None;
        match std::mem::take(&mut self.slot) {
            Slot::Active(active) if active.response == response => {
                self.finish(active, status);
            }
            Slot::Cancelling { active, .. } if active.response == response => self.retire(active, true),
            other @ (Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. }) => {
                self.slot = other
            }
        }
    }

    /// A response ended that we had not cancelled.
    fn finish(&mut self, mut active: Active, status: ResponseStatus) {
        let ask = active.ask.clone();
        let response = active.response;
        let (spoke, called_tools) = (active.spoke, active.called_tools);
        let ends_call = std::mem::take(&mut active.ends_call);
        if spoke {
            self.substitute_answered(&active);
        }
        self.retire(active, status == ResponseStatus::Cancelled);
        if status == ResponseStatus::Cancelled {
            // By the model itself, before it said anything: that answers nobody (R10). One that hears turns by itself
            // does so when the caller goes on, and answers by itself.
            if let Some(ask) = ask.filter(|_| !spoke && !called_tools && self.config.turns == Turns::Client) {
                self.try_again(&ask);
            }
            return;
        }
        if let ResponseStatus::Failed(ModelError::Fatal) = status {
            return self.give_the_model_up();
        }
        if ends_call && !self.ending.goodbye.is_pending() {
            return if spoke {
                self.pend_goodbye(EndReason::Goodbye, Bound::Response(response), true);
            } else {
                self.want_goodbye(EndReason::Goodbye);
            };
        }
        let was_goodbye = self.ending.goodbye.is_bound_to(response);
        if spoke || (called_tools && !was_goodbye) {
            return;
        }
        // It failed, or came back empty (R10, H2).
        let patience = match status {
            ResponseStatus::Failed(error) => patience(error),
            ResponseStatus::Completed | ResponseStatus::Cancelled | ResponseStatus::Incomplete => Duration::ZERO,
        };
        self.wait_for(patience);
        if was_goodbye {
            self.goodbye_came_to_nothing();
        } else if let Some(ask) = ask {
            self.try_again(&ask);
        }
    }

    /// Asks once more for what came to nothing; the second time it is given up.
    fn try_again(&mut self, ask: &Ask) {
        if !ask.again {
            return self.waiting.put_back(ask, true);
        }
        self.note(Note::Odd("a response came to nothing twice"));
        if ask.reason == Reason::CallerTurn {
            self.say_local(Local::Apology);
        }
    }

    /// Nothing is asked of the model for so long (R10).
    fn wait_for(&mut self, patience: Duration) {
        if patience > Duration::ZERO {
            self.not_before = Some(self.now + patience);
        }
    }

    fn on_error(&mut self, request: Option<RequestId>, error: ModelError) {
        if error == ModelError::Fatal {
            return self.give_the_model_up();
        }
        if let Link::Configuring { request: configure, .. } = self.link
            && request == Some(configure)
        {
            // A rejected configuration is our mistake; nothing will come of asking again.
            return self.give_the_model_up();
        }
        if self.overtaken.as_ref().is_some_and(|overtaken| Some(overtaken.ask.request) == request) {
            return self.overtaken_came_to_nothing();
        }
        if error == ModelError::NothingToCancel && !self.is_cancelled_by(request) {
            // It had ended by itself before our cancel arrived (B6).
            return;
        }
        match std::mem::take(&mut self.slot) {
            Slot::Requested { ask, cancel } if Some(ask.request) == request => {
                if cancel {
                    return;
                }
                if error == ModelError::Collision {
                    self.note(Note::Collided { request: ask.request, reason: ask.reason });
                    self.wait_for(self.config.requested_timeout);
                    if planted(Fault::CollisionForgotten) {
                        return;
                    }
                    return self.ask_later(&ask);
                }
                self.wait_for(patience(error));
                if self.is_goodbye_asked_by(ask.request) {
                    return self.goodbye_came_to_nothing();
                }
                self.try_again(&ask);
            }
            Slot::Cancelling { active, request: cancel, .. }
                if Some(cancel) == request && error == ModelError::NothingToCancel =>
            {
                // As good as cancelled (B6).
                self.retire(active, true);
            }
            other @ (Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. }) => {
                self.slot = other;
                if !request.is_some_and(|request| self.edits.rejected(request)) {
                    self.note(Note::ModelComplained { request, error });
                }
            }
        }
    }

    /// The model's own response came first, and ours was rejected: that one answered the caller just as well, but it
    /// knew of nothing else (RACES a).
    fn overtaken_came_to_nothing(&mut self) {
        let Some(Overtaken { ask, cancel }) = self.overtaken.take() else { return };
        if cancel || planted(Fault::OwnResponseAnswersAll) {
            return;
        }
        self.note(Note::Collided { request: ask.request, reason: ask.reason });
        if ask.reason != Reason::CallerTurn {
            self.ask_later(&ask);
        } else if ask.tool {
            self.waiting.tool = Some(Again(ask.again));
        }
    }

    /// Puts back what was asked for at the wrong moment.
    fn ask_later(&mut self, ask: &Ask) {
        if self.is_goodbye_asked_by(ask.request) {
            if let Goodbye::Pending(Pending { why, again, .. }) = self.ending.goodbye {
                self.ending.goodbye = Goodbye::Wanted { why, again };
            }
        } else {
            self.waiting.put_back(ask, ask.again);
        }
    }

    fn on_done(&mut self, command: CommandId, outcome: Outcome) {
        match outcome {
            Outcome::HungUp => {
                // Of an earlier attempt, too, that was given up too soon: the carrier agreed (H1).
                if let HangUp::Asked { reason, .. } | HangUp::Retry { reason, .. } = self.ending.hang_up {
                    self.ending.hang_up = HangUp::Accepted { reason, since: self.now };
                }
            }
            Outcome::HangUpFailed => {
                if let HangUp::Asked { command: asked, .. } = self.ending.hang_up
                    && asked == command
                {
                    self.hang_up_failed();
                }
            }
            Outcome::RecordingStarted | Outcome::RecordingFailed => {}
            Outcome::ToolAnswered(output) => {
                if let Some(finished) = self.tools.done(command, output) {
                    self.tool_finished(&finished, false);
                }
            }
            Outcome::ToolFailed(output) => {
                if let Some(finished) = self.tools.done(command, output) {
                    self.tool_finished(&finished, true);
                }
            }
        }
    }

    fn tool_finished(&mut self, finished: &Finished, failed: bool) {
        let after = self.now.since(finished.since);
        let at = finished.since.since(self.stream_started.unwrap_or_default());
        self.tally.tool_finished(&finished.name, at, after, failed);
        self.note(Note::ToolFinished { call: finished.call, after, failed });
    }

    fn on_operator(&mut self, input: OperatorInput) {
        match input {
            OperatorInput::HangUp => self.stop(EndReason::OperatorHungUp),
            OperatorInput::SayGoodbye => match self.ending.life {
                Life::Streaming { .. } if self.ending.goodbye == Goodbye::None => {
                    self.want_goodbye(EndReason::Stopped);
                }
                // A goodbye is under way already.
                Life::Streaming { .. } => {}
                Life::Made | Life::Announced { .. } | Life::StreamLost { .. } | Life::Ended(_) => {
                    self.stop(EndReason::Stopped);
                }
            },
            OperatorInput::Press(keys) => self.say_local(Local::Tones(keys)),
            OperatorInput::Say { text, force } => {
                if self.waiting.says.len() >= self.config.says_max {
                    return self.note(Note::NotAsking {
                        reason: Reason::Say,
                        guard: Guard::ResponseActive,
                        waits: false,
                    });
                }
                let says = &mut self.waiting.says;
                // In their order among themselves, before all others.
                let index = if force { says.iter().take_while(|say| say.force).count() } else { says.len() };
                says.insert(index, Say { text, force, again: false });
            }
        }
    }

    // ── What has become due ──────────────────────────────────────────────────────────────────────────────────────

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

    /// What the carrier owes us (L7, H1, H10, N1, N7).
    fn settle_carrier(&mut self) {
        while self.ending.deadline(&self.config).is_some_and(|at| at <= self.now) {
            match (self.ending.life, self.ending.hang_up) {
                (Life::StreamLost { .. }, _) => self.end(EndReason::StreamLost),
                (Life::Announced { .. }, HangUp::No) => self.end(EndReason::NeverStarted),
                (Life::Announced { .. } | Life::Streaming { .. }, HangUp::Asked { .. }) => self.hang_up_failed(),
                (Life::Announced { .. } | Life::Streaming { .. }, HangUp::Retry { reason, attempt, .. }) => {
                    self.ask_to_hang_up(reason, attempt + 1);
                }
                // The carrier agreed, and did nothing.
                (Life::Announced { .. } | Life::Streaming { .. }, HangUp::Accepted { reason, .. }) => self.end(reason),
                // Nothing is due.
                (Life::Streaming { .. }, HangUp::No) | (Life::Made | Life::Ended(_), _) => return,
            }
        }
        if self.ending.is_streaming() {
            if self.uplink.is_silent(self.now, &self.config) {
                self.on_stream_gone();
            } else if self.gap_deadline().is_some_and(|at| at <= self.now) {
                self.uplink.fill_gap();
                let bytes = (GAP_FILL.as_millis() as u32) * 8;
                self.outputs.push_back(Output::ForwardSilence { bytes });
            }
        }
    }

    /// What the model owes us (R10).
    fn settle_model(&mut self) {
        let late = [self.link.deadline(&self.config), self.slot_deadline()];
        if late.into_iter().flatten().any(|at| at <= self.now)
            && let Some(epoch) = self.link.epoch()
        {
            self.on_lost(epoch, false);
        }
        if let Link::Lost { again_at } = self.link
            && again_at <= self.now
        {
            self.connect_model();
        }
        let filler_due = self.filler_deadline().is_some_and(|at| at <= self.now);
        if self.outage.and_then(|outage| outage.ends(&self.config)).is_some_and(|at| at <= self.now) {
            self.give_the_model_up();
        } else if filler_due && let Some(outage) = &mut self.outage {
            outage.filled = true;
            self.say_local(Local::Filler);
        }
        if self.overtaken_deadline().is_some_and(|at| at <= self.now) {
            self.overtaken_came_to_nothing();
        }
    }

    /// Whether the caller meant it (B4, B5).
    fn settle_floor(&mut self) {
        if self.floor.speaks_into_protection() && !self.is_protected() {
            self.floor.protection_ended();
            if self.playback.is_audible(self.now) {
                self.caller_took_the_floor();
            }
        }
        if self.floor.free_the_floor(self.now, &self.config) {
            self.note(Note::CallerStopped);
        }
        let goodbye = self.ending.goodbye != Goodbye::None;
        if let Some(verdict) = self.floor.decide(goodbye, self.now, &self.config) {
            self.apply(verdict);
        }
    }

    fn apply(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Meant { items, farewell } => {
                self.interrupt();
                if farewell {
                    return self.want_goodbye(EndReason::Goodbye);
                }
                for item in items {
                    self.want_turn(item);
                }
            }
            Verdict::Nothing { items, back_channel } => {
                if back_channel {
                    self.tally.interruptions.back_channel += 1;
                } else {
                    self.tally.interruptions.false_alarm += 1;
                }
                self.note(Note::Resumed { back_channel });
                for item in items {
                    self.delete_caller_item(item);
                }
            }
        }
    }

    fn settle_tools(&mut self) {
        while let Some(finished) = self.tools.expire(self.now, &self.config) {
            self.tool_finished(&finished, true);
        }
        if !self.link.is_ready() {
            return;
        }
        let generating = self.slot.occupant().map(|active| active.response).filter(|_| !planted(Fault::OutputTooEarly));
        while let Some(tell) = self.tools.tell(generating) {
            match tell {
                Tell::Output(call, output) => {
                    let request = self.request();
                    self.outputs.push_back(Output::Model(ModelOutput::ToolOutput { request, call, output }));
                }
                Tell::Whole(told) => {
                    for what in told_as(told) {
                        self.remember(what);
                    }
                }
            }
        }
        let dropped = planted(Fault::ResultLostToCaller) && self.floor.is_caller_speaking();
        if self.tools.all_told() && !dropped {
            self.waiting.tool = Some(Again(false));
        }
    }

    /// Keys are part of the conversation, and are answered like a turn (N10).
    fn settle_keys(&mut self) {
        self.keypad.expire(self.now, &self.config);
        while self.link.is_ready()
            && let Some(digits) = self.keypad.next_entry(self.now)
            && !planted(Fault::KeysLost)
        {
            let request = self.request();
            self.outputs.push_back(Output::Model(ModelOutput::CallerPressed { request, digits }));
            self.waiting.want_turn(None);
        }
    }

    /// Silence, and the length of the call (N8).
    fn settle_silence(&mut self) {
        let quiet = !planted(Fault::SilenceUnnoticed)
            && self.ending.is_streaming()
            && self.link.is_ready()
            && !self.floor.is_caller_speaking()
            && !self.floor.is_held()
            && self.slot.is_idle()
            && self.waiting.is_empty()
            && !self.tools.any_running()
            && !self.playback.is_audible(self.now)
            && self.ending.goodbye == Goodbye::None
            && !self.ending.hang_up.is_issued();
        match self.idle.observe(quiet, self.now, &self.config) {
            None => {}
            Some(Silence::Ask) => self.waiting.idle_prompt = true,
            Some(Silence::SayGoodbye) => self.want_goodbye(EndReason::Silence),
        }
        while self.call_length_deadline().is_some_and(|at| at <= self.now) {
            if std::mem::replace(&mut self.call_max_reached, true) {
                self.hang_up(EndReason::MaxDuration);
            } else if self.ending.goodbye == Goodbye::None {
                self.want_goodbye(EndReason::MaxDuration);
            }
        }
        if let Greeting::AfterCallee { until } = self.greeting
            && until <= self.now
        {
            self.want_greeting();
        }
    }

    /// Was the goodbye heard? (H2)
    fn settle_goodbye(&mut self) {
        if self.ending.goodbye_is_due(self.goodbye_facts()) {
            let (reason, via) = match self.ending.goodbye {
                Goodbye::Pending(Pending { why, via, .. }) => (why, via),
                Goodbye::Unspoken { why } => (why, Via::Unspoken),
                Goodbye::None | Goodbye::Wanted { .. } => return,
            };
            self.note(Note::GoodbyeDone { via });
            self.hang_up(reason);
        }
    }

    fn goodbye_facts(&self) -> Facts {
        let (audio_complete, heard) = match self.ending.goodbye {
            Goodbye::Pending(Pending { bound: Bound::Response(response), .. }) => {
                (self.is_complete(response), self.playback.is_finished() || planted(Fault::SentGoodbyeIsHeard))
            }
            Goodbye::Unspoken { .. } => (true, !self.playback.is_audible(self.now)),
            Goodbye::None | Goodbye::Wanted { .. } | Goodbye::Pending(_) => (false, false),
        };
        Facts {
            audio_complete,
            drained: self.playback.is_drained(),
            heard,
            caller_speaking: self.floor.is_caller_speaking() && !planted(Fault::HungUpOverCaller),
            held: self.floor.is_held() && !planted(Fault::HungUpDuringHold),
            slot_idle: self.slot.is_idle()
                || planted(Fault::AnyResponseIsGoodbye)
                || planted(Fault::HungUpOverResponse)
                || planted(Fault::HungUpBeforeDone),
        }
    }

    /// Whether all audio of this response was given, and the response not cancelled.
    fn is_complete(&self, response: ResponseId) -> bool {
        if planted(Fault::AnyResponseIsGoodbye) {
            return self.memory.last().is_some();
        }
        match self.memory.get(response) {
            Some(ended) => !ended.cancelled || planted(Fault::CancelledGoodbyeCounts),
            None => planted(Fault::HungUpBeforeDone) && self.slot.active().is_some_and(|active| active.spoke),
        }
    }

    fn settle_edits(&mut self) {
        if !self.slot.is_idle() || !self.link.is_ready() {
            return;
        }
        while let Some(edit) = self.edits.next_repeat() {
            let request = self.request();
            self.outputs.push_back(Output::Model(edit.as_output(request)));
        }
    }

    /// Asks for what waits, as far as the guards let it (R1–R3).
    fn settle_asking(&mut self) {
        let Some(reason) = self.next_reason() else {
            self.refused = None;
            return;
        };
        // It passes the fifth guard, and no other: what is active or unheard is interrupted (R3).
        if self.waiting.is_forced()
            && matches!(self.guard(reason), None | Some(Guard::ResponseActive))
            && ((!self.slot.is_idle() && !self.slot.is_cancelled()) || self.playback.is_audible(self.now))
        {
            self.interrupt();
        }
        if let Some(guard) = self.guard(reason) {
            let waits = reason != Reason::IdlePrompt;
            if !waits {
                self.waiting.idle_prompt = false;
            }
            if self.refused != Some((reason, guard)) {
                self.refused = waits.then_some((reason, guard));
                self.note(Note::NotAsking { reason, guard, waits });
            }
            return;
        }
        self.refused = None;
        let request = self.request();
        let Taken { text, answers, tool, again } = match reason {
            Reason::Greeting => Taken { text: self.config.greeting.clone(), ..self.waiting.take(reason) },
            Reason::CallerTurn | Reason::ToolResult | Reason::Say | Reason::IdlePrompt => self.waiting.take(reason),
            Reason::Farewell => match self.ending.goodbye {
                Goodbye::Wanted { why, again } => {
                    self.ending.goodbye =
                        Goodbye::Pending(Pending { why, bound: Bound::Request(request), via: Via::AudioDone, again });
                    self.note(Note::GoodbyePending { response: None });
                    Taken { again, ..Taken::default() }
                }
                Goodbye::None | Goodbye::Pending(_) | Goodbye::Unspoken { .. } => return,
            },
        };
        let (tx_queue, out_queue) = self.playback.queues(&self.config);
        self.note(Note::Asking {
            request,
            reason,
            previous: self.memory.last(),
            agent_speaking: !self.speaking.is_empty(),
            tx_queue,
            out_queue,
        });
        let output = ModelOutput::CreateResponse { request, reason, text: text.clone() };
        self.outputs.push_back(Output::Model(output));
        let ask = Ask { request, reason, text, answers, tool, at: self.now, again };
        self.slot = Slot::Requested { ask, cancel: false };
    }

    /// Reasons to speak, in their order: a goodbye comes after what is still to be said.
    fn next_reason(&self) -> Option<Reason> {
        let farewell = matches!(self.ending.goodbye, Goodbye::Wanted { .. }).then_some(Reason::Farewell);
        match self.waiting.first() {
            Some(Reason::IdlePrompt) | None => farewell.or(self.waiting.first()),
            first => first,
        }
    }

    /// The guards of R2, in their order.
    fn guard(&self, reason: Reason) -> Option<Guard> {
        if !self.link.is_open() || !self.ending.is_streaming() {
            return Some(Guard::NoConnection);
        }
        if !self.link.is_ready() {
            return Some(Guard::NotConfigured);
        }
        if reason != Reason::Greeting && (self.floor.is_caller_speaking() || self.floor.is_held()) {
            return Some(Guard::CallerSpeaking);
        }
        if self.ending.goodbye.is_pending() || self.ending.hang_up.is_issued() {
            return Some(Guard::GoodbyePending);
        }
        (!self.slot.is_idle() || self.overtaken.is_some() || self.not_before.is_some_and(|at| self.now < at))
            .then_some(Guard::ResponseActive)
    }

    fn settle_sending(&mut self) {
        // Nobody hears it, or it waits for a verdict (N6, B4).
        let held = self.floor.is_held() && !planted(Fault::HoldPlaysOn);
        self.playback.set_paused(!self.ending.is_streaming() || held);
        while let Some(sending) = self.playback.send(self.now, &self.config) {
            match sending {
                Sending::Mark(mark) => self.outputs.push_back(Output::SendMark(mark)),
                Sending::Audio { span, pad, plays_at, owner } => {
                    self.outputs.push_back(Output::SendAudio { span, pad, plays_at });
                    if let Owner::Item { response, item } = owner {
                        self.sent_frame(response, item, plays_at, playing_time(u64::from(span.len)));
                    }
                }
            }
        }
    }

    /// Takes note of a frame that went out; everything else that it sets off is a command (A5).
    fn sent_frame(&mut self, response: ResponseId, item: ItemId, plays_at: CallTime, duration: Duration) {
        self.transcript.agent_plays(item, plays_at, plays_at + duration);
        self.tally.agent_spoke(self.now.since(self.stream_started.unwrap_or_default()));
        if let Some(active) = self.slot.active_mut().filter(|active| active.response == response) {
            active.sent = true;
        }
        if self.greeting_response == Some(response) {
            self.greeting_began.get_or_insert(self.now);
        }
        if self.caller_stopped.is_some() && self.answers_caller(response) {
            let stopped = self.caller_stopped.take().unwrap_or(self.now);
            self.tally.response_latency(self.now.since(stopped));
        }
        if self.carrier_recording == Recording::Wanted {
            // The first frame was sent, not merely accepted (C2).
            self.carrier_recording = Recording::Asked;
            let command = self.command();
            self.outputs.push_back(Output::Do(command, Command::StartRecording));
        }
    }

    /// Who the caller hears (R7).
    fn settle_speaking(&mut self) {
        while let Some(response) = self.speaking.front().copied() {
            let generating = self.slot.active().is_some_and(|active| active.response == response);
            if generating || self.playback.is_response_audible(response, self.now) {
                break;
            }
            self.speaking.pop_front();
            self.note(Note::AgentStopped { response });
        }
    }

    /// Turns of the agent that were heard to their end, or cut off.
    fn settle_turns(&mut self) {
        while let Some(item) = self.transcript.next_ended(|item| self.playback.has_item(item)) {
            self.note(Note::TurnEnded { item });
        }
    }

    /// How the audio flows, and what a goodbye waits for: for the log (O1, O2, O4).
    fn settle_pipeline(&mut self) {
        let waits = self.goodbye_waits_for();
        if waits != self.goodbye_waits {
            self.goodbye_waits = waits;
            if let Some(waits_for) = waits {
                self.note(Note::GoodbyeWaits { waits_for });
            }
        }
        if !self.ending.is_streaming() {
            return;
        }
        let facts = self.pipeline_facts();
        if let Some(line) = self.pipeline.observe(facts, self.now, &self.config) {
            self.note(Note::Pipeline(line));
            while let Some((queue, waiting)) = self.pipeline.backlog(facts, &line, self.now, &self.config) {
                self.note(Note::Backlog { queue, waiting, line });
            }
        }
    }

    fn pipeline_facts(&self) -> pipeline::Facts {
        let (tx_queue, out_queue) = self.queues();
        let audible = self.playback.is_audible(self.now);
        pipeline::Facts {
            tx_queue,
            out_queue,
            frames_sent: self.playback.frames_sent(),
            agent_bytes: self.playback.accepted(),
            caller_held: self.uplink.held(),
            speaking: !self.speaking.is_empty(),
            starving: !audible && self.slot.active().is_some_and(|active| active.spoke),
            mark_late: self.playback.mark_late(self.now),
        }
    }

    // ── What is done ─────────────────────────────────────────────────────────────────────────────────────────────

    /// The caller interrupts: one atomic step, in this order (B1).
    fn interrupt(&mut self) {
        let unheard_ms = playing_time(self.playback.unheard_bytes(self.now)).as_millis() as u32;
        self.stop_playing();
        if !planted(Fault::GoodbyeSurvivesInterruption) {
            self.withdraw_goodbye();
        }
        // Nor is what was said before it a goodbye, if that becomes known later (H7).
        if !planted(Fault::InterruptedGoodbyeLater) {
            self.memory.pass();
        }
        self.take_back_unheard();
        let announced = self.announced_messages();
        let response = self.slot.occupant().map(|active| active.response).or(self.speaking.back().copied());
        self.cancel_response();
        let mut heard_ms = 0;
        let items = self.playback.discard();
        for heard in &items {
            self.transcript.agent_cut(*heard, self.now);
            let item = heard.item;
            let item_ms = playing_time(heard.heard_bytes).as_millis() as u32;
            heard_ms = item_ms;
            if item_ms == 0 && planted(Fault::UnheardItemsStay) {
                continue;
            } else if item_ms == 0 {
                self.transcript.forget(item);
                self.edit(Edit::Delete { item });
            } else if heard.heard_bytes < heard.accepted_bytes || !heard.complete {
                let unconfirmed = self.playback.unconfirmed().min(heard.heard_bytes);
                self.tally.truncate_error(playing_time(unconfirmed));
                self.edit(Edit::Truncate { item, heard_ms: item_ms });
            }
        }
        for item in announced {
            if !items.iter().any(|heard| heard.item == item) {
                self.edit(Edit::Delete { item });
            }
        }
        self.tally.interruptions.meant += 1;
        self.note(Note::Interrupted { response, heard_ms, unheard_ms });
    }

    /// Stops sending and empties the carrier's buffer; what was not heard is back in the queue.
    fn stop_playing(&mut self) {
        if self.playback.clear(self.now) {
            self.outputs.push_back(Output::Clear);
        }
    }

    /// Messages announced by the response in the slot, of which nothing may have been accepted.
    fn announced_messages(&self) -> Vec<ItemId> {
        let Some(active) = self.slot.active() else { return Vec::new() };
        let spoken = |item: &ItemId| self.transcript.has_audio(*item);
        active
            .items
            .iter()
            .filter(|(item, kind)| *kind == ItemKind::Message && !spoken(item))
            .map(|(item, _)| *item)
            .collect()
    }

    /// A response of which nothing was sent leaves its reason behind, to be answered with the next (T1).
    fn take_back_unheard(&mut self) {
        let ask = match &self.slot {
            Slot::Requested { ask, cancel: false } => Some(ask),
            Slot::Active(active) if !active.sent && !active.called_tools => active.ask.as_ref(),
            Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. } => None,
        };
        // A greeting is said once, heard or not (G1).
        if let Some(ask) = ask.filter(|ask| ask.reason != Reason::Greeting).cloned() {
            self.waiting.put_back(&ask, ask.again);
        }
    }

    /// One cancel per response; before its `created` it is remembered (B6).
    fn cancel_response(&mut self) {
        match std::mem::take(&mut self.slot) {
            Slot::Requested { ask, .. } => {
                self.slot = Slot::Requested { ask, cancel: !planted(Fault::EarlyCancelForgotten) };
            }
            Slot::Active(active) => {
                self.substitute_answered(&active);
                let request = self.request();
                let response = active.response;
                self.slot = Slot::Cancelling { active, since: self.now, request };
                if self.config.abilities.cancels {
                    self.outputs.push_back(Output::Model(ModelOutput::CancelResponse { request, response }));
                }
                if self.ending.goodbye.is_bound_to(response) && !planted(Fault::CancelledGoodbyeCounts) {
                    self.withdraw_goodbye();
                }
            }
            other @ (Slot::Idle | Slot::Cancelling { .. }) => self.slot = other,
        }
    }

    /// A response that the model began by itself stood for one that we had asked for: it was heard, or interrupted. If
    /// ours begins after all, it would answer a second time (R8, B6).
    fn substitute_answered(&mut self, active: &Active) {
        let request = active.ask.as_ref().map(|ask| ask.request);
        if let Some(Overtaken { ask, cancel }) = &mut self.overtaken
            && Some(ask.request) == request
            && !std::mem::replace(cancel, true)
            && ask.tool
        {
            // The substitute knew nothing of a tool's result.
            self.waiting.tool = Some(Again(ask.again));
        }
    }

    /// The response is over; nothing of it will be accepted any more.
    fn retire(&mut self, active: Active, cancelled: bool) {
        let response = active.response;
        self.playback.close_response(response);
        let answers = active.ask.as_ref().and_then(|ask| ask.answers);
        self.note(Note::ResponseEnded { response, cancelled });
        let ended = Ended { response, answers, cancelled, said: active.said };
        let goodbye = self.ending.goodbye.response().filter(|_| !planted(Fault::GoodbyeForgotten));
        self.memory.remember(ended, goodbye);
        if cancelled && self.ending.goodbye.is_bound_to(response) && !planted(Fault::CancelledGoodbyeCounts) {
            self.withdraw_goodbye();
        }
        self.slot = Slot::Idle;
    }

    fn want_goodbye(&mut self, why: EndReason) {
        self.ending.goodbye = Goodbye::Wanted { why, again: false };
        self.note(Note::GoodbyeWanted { why });
    }

    /// The goodbye is in this response. `complete`: its audio was complete when that became known (H6).
    ///
    /// A caller who has taken the floor since has moved on; that response is not a goodbye any more (H7).
    fn pend_goodbye(&mut self, why: EndReason, bound: Bound, complete: bool) {
        if self.has_moved_on(bound) {
            return;
        }
        // One that was wanted for another reason keeps it.
        let why = self.ending.goodbye.why().unwrap_or(why);
        let via = if complete { Via::TranscriptDone } else { Via::AudioDone };
        self.ending.goodbye = Goodbye::Pending(Pending { why, bound, via, again: false });
        let response = match bound {
            Bound::Response(response) => Some(response),
            Bound::Request(_) => None,
        };
        self.note(Note::GoodbyePending { response });
    }

    /// Whether the conversation has left this response behind.
    fn has_moved_on(&self, bound: Bound) -> bool {
        let is_newest = match (bound, &self.slot) {
            (Bound::Request(bound), _) => self.slot.ask().is_some_and(|ask| ask.request == bound),
            (Bound::Response(_), Slot::Requested { .. }) => false,
            (Bound::Response(bound), Slot::Active(active) | Slot::Cancelling { active, .. }) => {
                active.response == bound
            }
            (Bound::Response(bound), Slot::Idle) => self.memory.last() == Some(bound),
        };
        !is_newest || self.waiting.turn.is_some() || self.is_caller_going_on()
    }

    /// The caller has the floor, and it is not in doubt.
    fn is_caller_going_on(&self) -> bool {
        self.floor.is_caller_speaking() && !self.floor.is_held()
    }

    fn withdraw_goodbye(&mut self) {
        // Without a model there is nothing to go on with.
        if self.ending.goodbye != Goodbye::None && self.link != Link::Gone {
            self.ending.goodbye = Goodbye::None;
            self.note(Note::GoodbyeWithdrawn);
        }
    }

    /// The response that was to say goodbye failed, or said nothing: once more, then without words (H2).
    fn goodbye_came_to_nothing(&mut self) {
        if let Goodbye::Pending(Pending { why, again, .. }) = self.ending.goodbye {
            self.ending.goodbye = if again { Goodbye::Unspoken { why } } else { Goodbye::Wanted { why, again: true } };
        }
    }

    fn is_goodbye_asked_by(&self, request: RequestId) -> bool {
        matches!(self.ending.goodbye, Goodbye::Pending(Pending { bound: Bound::Request(asked), .. }) if asked == request)
    }

    fn want_greeting(&mut self) {
        self.greeting = Greeting::Asked;
        self.waiting.greeting = Some(Again(false));
    }

    /// Ends the call for somebody who does not wait for a goodbye.
    fn stop(&mut self, reason: EndReason) {
        match self.ending.life {
            // One that rings, or whose stream is on its way, is there too.
            Life::Announced { .. } | Life::Streaming { .. } => self.hang_up(reason),
            Life::Made | Life::StreamLost { .. } | Life::Ended(_) => self.end(reason),
        }
    }

    /// The one executor of hang-ups (H1).
    fn hang_up(&mut self, reason: EndReason) {
        if !self.ending.hang_up.is_issued() || planted(Fault::IssuedTooLate) {
            self.ask_to_hang_up(reason, 1);
        }
    }

    fn ask_to_hang_up(&mut self, reason: EndReason, attempt: u32) {
        let command = self.command();
        // Issued before it is asked for (H3).
        self.ending.hang_up = HangUp::Asked { reason, attempt, command, since: self.now };
        self.note(Note::HangingUp { reason, attempt });
        self.outputs.push_back(Output::Do(command, Command::HangUp));
    }

    fn hang_up_failed(&mut self) {
        if let HangUp::Asked { reason, attempt, .. } = self.ending.hang_up {
            if planted(Fault::HangUpNotRepeated) {
                self.ending.hang_up = HangUp::Accepted { reason, since: self.now + self.config.call_max };
            } else if attempt < self.config.hang_up_attempts {
                let at = self.now + self.config.hang_up_retry;
                self.ending.hang_up = HangUp::Retry { reason, attempt, at };
            } else {
                // The socket is the last resort; the carrier's document ends the call (H10).
                self.end(reason);
            }
        }
    }

    /// Ends the call, once (L7, L9).
    fn end(&mut self, reason: EndReason) {
        if self.ending.is_over() {
            return;
        }
        let socket_open = self.ending.is_streaming();
        if socket_open {
            self.playback.clear(self.now);
        }
        for heard in self.playback.discard() {
            self.transcript.agent_cut(heard, self.now);
        }
        self.settle_turns();
        self.ending.life = Life::Ended(reason);
        self.ending.goodbye = Goodbye::None;
        self.waiting = Waiting::default();
        self.slot = Slot::Idle;
        self.speaking.clear();
        if socket_open {
            self.outputs.push_back(Output::CloseCarrier);
        }
        if self.link.epoch().is_some() {
            self.outputs.push_back(Output::CloseModel);
        }
        self.link = Link::Gone;
        self.outputs.push_back(Output::Ended(reason));
    }

    fn connect_model(&mut self) {
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        self.link = Link::Connecting { epoch, since: self.now };
        let command = self.command();
        self.outputs.push_back(Output::Do(command, Command::ConnectModel { epoch }));
    }

    /// No hope of the model: what was accepted plays out, then the call is hung up (R9, R10).
    fn give_the_model_up(&mut self) {
        if self.link == Link::Gone {
            return;
        }
        if self.link.epoch().is_some() {
            self.outputs.push_back(Output::CloseModel);
        }
        self.link = Link::Gone;
        self.outage = None;
        self.uplink.forget_held();
        self.forget_session();
        self.tools.forget();
        self.waiting = Waiting::default();
        // One of which all audio was taken is still heard, and ends the call by itself.
        if !self.ending.goodbye.is_pending() && !self.ending.hang_up.is_issued() {
            self.say_local(Local::Apology);
            self.ending.goodbye = Goodbye::Unspoken { why: EndReason::ModelFailed };
        }
    }

    /// Something of ours is to be heard, behind all that is there.
    fn say_local(&mut self, local: Local) {
        let bytes = match &local {
            Local::Filler => self.config.clips.filler,
            Local::Apology => self.config.clips.apology,
            Local::Tones(keys) => TONE_BYTES * u32::try_from(keys.len()).unwrap_or(0),
        };
        if bytes > 0 {
            self.playback.accept_local(bytes);
            self.outputs.push_back(Output::KeepLocal(local));
        }
    }

    fn delete_caller_item(&mut self, item: ItemId) {
        self.transcript.forget(item);
        self.edit(Edit::Delete { item });
    }

    /// Tells the model what was not heard (B1).
    fn edit(&mut self, edit: Edit) {
        let (Edit::Truncate { item, .. } | Edit::Delete { item }) = edit;
        // A session knows nothing of the items of another (N4).
        let is_known = self.lost_items.is_none_or(|lost| item > lost) && self.link.is_open();
        if self.config.abilities.truncates && is_known {
            let request = self.request();
            self.edits.sent(request, edit);
            self.outputs.push_back(Output::Model(edit.as_output(request)));
        }
    }

    fn drop_audio(&mut self, reason: DropReason, bytes: u32) {
        self.tally.dropped(reason);
        self.note(Note::Dropped { reason, bytes });
    }

    fn note(&mut self, note: Note) {
        self.outputs.push_back(Output::Note(note));
    }

    fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    fn command(&mut self) -> CommandId {
        self.next_command += 1;
        CommandId(self.next_command)
    }

    // ── Questions ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Whether the response in the slot is being cancelled by this request.
    fn is_cancelled_by(&self, request: Option<RequestId>) -> bool {
        matches!(&self.slot, Slot::Cancelling { request: cancel, .. } if Some(*cancel) == request)
    }

    /// Whether the response is in the slot or remembered.
    fn is_known(&self, response: ResponseId) -> bool {
        self.slot.occupant().is_some_and(|active| active.response == response) || self.memory.get(response).is_some()
    }

    /// Whether this response answers a turn of the caller.
    fn answers_caller(&self, response: ResponseId) -> bool {
        match self.slot.occupant() {
            Some(active) if active.response == response => {
                active.ask.as_ref().is_none_or(|ask| ask.reason == Reason::CallerTurn)
            }
            _ => self.memory.get(response).is_some_and(|ended| ended.answers.is_some()),
        }
    }

    /// The greeting is being heard, and may not be interrupted now (B5).
    fn is_protected(&self) -> bool {
        self.protected_until().is_some_and(|until| self.now < until)
    }

    fn protected_until(&self) -> Option<CallTime> {
        let limit = match self.config.protect_greeting {
            ProtectGreeting::None => return None,
            ProtectGreeting::First(duration) => Some(duration),
            ProtectGreeting::All => None,
        };
        let started = self.stream_started?;
        let greeting_asked = self.slot.ask().is_some_and(|ask| ask.reason == Reason::Greeting);
        let greeting_heard = self.greeting_response.is_some_and(|greeting| self.speaking.contains(&greeting));
        if !(greeting_asked || greeting_heard || self.waiting.greeting.is_some()) {
            return None;
        }
        match limit {
            Some(limit) => Some(self.greeting_began.unwrap_or(self.now).max(started) + limit),
            None => Some(CallTime::from_micros(u64::MAX)),
        }
    }

    fn protection_ends(&self) -> Option<CallTime> {
        let at = self.protected_until()?;
        (self.floor.speaks_into_protection() && at > self.now && at != CallTime::from_micros(u64::MAX)).then_some(at)
    }

    fn slot_deadline(&self) -> Option<CallTime> {
        match &self.slot {
            _ if planted(Fault::SilentModelTrusted) => None,
            Slot::Idle => None,
            Slot::Requested { ask, .. } => Some(ask.at + self.config.requested_timeout),
            Slot::Active(active) if active.first_output.is_none() => {
                Some(active.since + self.config.first_audio_timeout)
            }
            Slot::Active(active) => {
                let whole = active.since + self.config.response_max;
                Some(whole.min(active.last_output + self.config.next_output_timeout))
            }
            Slot::Cancelling { since, .. } if self.config.abilities.cancels => {
                Some(*since + self.config.cancel_timeout)
            }
            // It was not told, and goes on to its end.
            Slot::Cancelling { active, .. } => {
                let first = self.config.first_audio_timeout.max(self.config.next_output_timeout);
                Some((active.since + self.config.response_max).min(active.last_output + first))
            }
        }
    }

    /// When the caller, hearing nothing, is to be asked to wait for a model that is lost (N4).
    fn filler_deadline(&self) -> Option<CallTime> {
        let outage = self.outage.filter(|outage| !outage.filled)?;
        let silent = self.ending.is_streaming() && !self.playback.is_audible(self.now);
        // Whoever has heard goodbye is not asked to wait.
        let waiting = !self.ending.goodbye.is_pending() && !self.ending.hang_up.is_issued();
        (silent && waiting && self.config.clips.filler > 0).then_some(outage.since + self.config.filler_after)
    }

    fn gap_deadline(&self) -> Option<CallTime> {
        let listening = self.ending.is_streaming() && self.link.is_ready();
        let gap = (listening && self.floor.is_caller_speaking()).then(|| self.uplink.gap_deadline(&self.config));
        let lost = self.ending.is_streaming().then(|| self.uplink.silence_deadline(&self.config));
        [gap.flatten(), lost.flatten()].into_iter().flatten().min()
    }

    fn call_length_deadline(&self) -> Option<CallTime> {
        let since = self.stream_started.filter(|_| self.ending.is_streaming() && !self.ending.hang_up.is_issued())?;
        let grace = if self.call_max_reached { self.config.call_max_grace } else { Duration::ZERO };
        Some(since + self.config.call_max + grace)
    }

    fn waiting_deadline(&self) -> Option<CallTime> {
        let patience = self.not_before.filter(|at| *at > self.now && self.next_reason().is_some());
        [patience, self.overtaken_deadline()].into_iter().flatten().min()
    }

    /// When a create that was overtaken must have been rejected, or begun (R10).
    fn overtaken_deadline(&self) -> Option<CallTime> {
        self.overtaken.as_ref().map(|overtaken| overtaken.ask.at + self.config.requested_timeout)
    }

    fn pipeline_deadline(&self) -> Option<CallTime> {
        self.ending.is_streaming().then(|| self.pipeline.deadline()).flatten()
    }

    fn greeting_deadline(&self) -> Option<CallTime> {
        match self.greeting {
            Greeting::AfterCallee { until } => Some(until),
            Greeting::Due | Greeting::Asked => None,
        }
    }

    fn next_frame(&self) -> Option<CallTime> {
        self.ending.is_streaming().then(|| self.playback.next_send(self.now, &self.config)).flatten()
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
        if !over && self.poll_timeout().is_none_or(|deadline| deadline.at <= self.now) && self.ending.life != Life::Made
        {
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

/// How long the model wants to be left alone after this (R10).
fn patience(error: ModelError) -> Duration {
    match error {
        ModelError::RateLimited { retry_after_ms } => Duration::from_millis(retry_after_ms).min(PATIENCE_MAX),
        ModelError::Collision
        | ModelError::NothingToCancel
        | ModelError::SessionExpired
        | ModelError::Fatal
        | ModelError::Other => Duration::ZERO,
    }
}

/// A caller does not wait longer than this for an answer.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// A call of a tool, as two things that were said.
fn told_as(told: Told) -> [Remembered; 2] {
    let Told { call, name, arguments, output } = told;
    [Remembered::ToolCall { call, name, arguments }, Remembered::ToolOutput { call, output }]
}

/// A greeting of which this much was heard is not said again (G1).
const GREETED: Duration = Duration::from_secs(1);

/// 100 ms of a key's tones and 100 ms of silence (N10).
pub const TONE_BYTES: u32 = 1_600;

/// The function by which the agent ends a call (H11).
pub const END_CALL: &str = "end_call";
