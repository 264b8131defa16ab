//! A whole call in virtual time: the real bridge between the simulated carrier and the simulated model, over links that
//! may be slow or break, in a process that may stand still. Everything is a value; the same settings give the same call,
//! to the byte.
//!
//! A call may need several streams of the carrier and several sessions of the model; [`crate::joined`] makes one of them.

use std::sync::Arc;
use std::time::Duration;

use call::bridge::{Bridge, Clips, Effect, Wants};
use call::config::{CallConfig, CallFacts, Direction};
use call::input::{CallStatus, CarrierInput, Input, Outcome};
use call::trace::Words;
use call::wire::openai::{SessionSettings, close_is_fatal};
use call::{CallTime, Command, CommandId, EarInput, EndReason, Epoch, ModelInput, Note, Summary};

use crate::carrier::stream::{self as carrier, FakeStream, StreamReport};
use crate::dice::Dice;
use crate::ears::{Ears, Listen};
pub use crate::faults::{ConnectFault, Faults, HangUpFault, LinkFaults, ModelBreak, ToolFault};
use crate::link::{Agenda, Link};
use crate::model::{self, FakeModel};

/// More than anybody has to do at one moment.
const STEPS_AT_ONCE: u32 = 10_000;

/// For calls in which a lost model is not to be heard of.
pub fn no_clips() -> Clips {
    Clips { filler: Arc::from([]), apology: Arc::from([]) }
}

/// What a world is made of.
pub struct Setup {
    pub config: CallConfig,
    pub direction: Direction,
    pub settings: SessionSettings,
    /// Frames of the caller that go to the model in one message.
    pub append_frames: u32,
    pub carrier: FakeStream,
    /// The sessions that the model gives, one for each connection; when they have run out, it is not to be reached.
    pub sessions: Vec<FakeModel>,
    pub clips: Clips,
    /// One way, between the bridge and each peer.
    pub carrier_delay: Duration,
    pub model_delay: Duration,
    /// Between the webhook and the media stream's beginning.
    pub answer_delay: Duration,
    /// How long a command takes.
    pub command_delay: Duration,
    /// What tools answer, whichever is called.
    pub tool_output: String,
    /// Whether the recording's samples are wanted.
    pub recorded: bool,
    pub faults: Faults,
}

enum FromPeer {
    Text(String),
    Close,
    /// The model's connection ended with this code, or broke.
    CloseWith(Option<u16>),
}

/// What the driver may look at next.
#[derive(Clone, Copy)]
enum Source {
    Carrier,
    Model,
    /// Commands that are done, callbacks, the operator.
    Rest,
    Time,
}

/// A session of the model, from its opening on.
pub struct Session {
    pub epoch: Epoch,
    pub opened: Duration,
    /// When we closed it, or heard that it was closed.
    pub closed: Option<Duration>,
    pub model: FakeModel,
    /// Since when nothing comes through any more.
    pub silent: Option<Duration>,
}

pub struct World {
    bridge: Bridge,
    /// The stream of now, and those before it.
    pub carrier: FakeStream,
    pub earlier: Vec<StreamReport>,
    /// Every session that was opened.
    pub sessions: Vec<Session>,
    supply: std::vec::IntoIter<FakeModel>,
    faults: Faults,
    ears: Option<Ears>,
    listener: Option<Box<dyn Listen + Send>>,
    /// From a frame to what the listener tells of it.
    listening_takes: Duration,
    dice: Dice,
    to_carrier: Link<FromPeer>,
    from_carrier: Link<FromPeer>,
    to_model: Link<(Epoch, String)>,
    from_model: Link<(Epoch, FromPeer)>,
    /// What is told by neither socket.
    inputs: Agenda<Input>,
    command_delay: Duration,
    carrier_open: bool,
    /// The connection that is wanted: being made, or open.
    wanted: Option<Epoch>,
    connects_asked: usize,
    stream_begins: Duration,
    stream_began: bool,
    /// When the carrier's document brings the stream back.
    comes_back: Option<Duration>,
    tool_output: String,
    hang_ups_asked: usize,
    tools_run: usize,
    now: Duration,

    /// Everything that was decided, with its time.
    pub notes: Vec<(Duration, Note)>,
    pub commands_seen: Vec<(Duration, Command)>,
    pub trace: String,
    /// µ-law of both voices as a recording has them.
    pub recorded_caller: Vec<(Duration, Vec<u8>)>,
    pub recorded_agent: Vec<RecordedAgent>,
    pub ended: Option<(Duration, EndReason)>,
    /// The model's names of responses and of items with audio, as the bridge was first told of each.
    pub responses_told: Vec<String>,
    pub items_told: Vec<String>,
    /// Media messages of the carrier that the bridge was given after the stream's beginning.
    pub media_in: u64,
    /// Agent audio that still lay at the carrier when our hang-up ended the stream.
    pub cut_by_hang_up: Option<Duration>,
    /// Outputs that came after the end of the call.
    pub after_end: usize,
}

/// What the shell was told about the agent's side of the recording.
pub enum RecordedAgent {
    Audio { at: Duration, audio: Vec<u8> },
    Cleared { at: Duration },
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let wants = Wants { samples: setup.recorded, trace: Some(Words::Full) };
        let facts = CallFacts { direction: setup.direction };
        let faults = setup.faults;
        let mut dice = Dice::new(faults.seed);
        let mut inputs = Agenda::new();
        for (at, input) in &faults.operator {
            inputs.put(*at, Input::Operator(input.clone()));
        }
        for (at, status) in &faults.statuses {
            inputs.put(*at, Input::Carrier(CarrierInput::Status(*status)));
        }
        if let Some((at, answerer)) = faults.answered_by {
            inputs.put(at, Input::Carrier(CarrierInput::AnsweredBy(answerer)));
        }
        if let Some(ears) = &faults.ears {
            for (at, input) in &ears.wrong {
                inputs.put(*at, Input::Ears(*input));
            }
            for quiet in &ears.quiet {
                inputs.put(quiet.start, Input::Ears(EarInput::Quiet));
                inputs.put(quiet.end, Input::Ears(EarInput::Loud));
            }
        }
        let mut bridge = Bridge::new(setup.config, facts, setup.settings, setup.clips, wants);
        bridge.group_appends(setup.append_frames);
        World {
            ears: faults.ears.clone().map(Ears::new),
            listener: None,
            listening_takes: Duration::ZERO,
            bridge,
            carrier: setup.carrier,
            earlier: Vec::new(),
            sessions: Vec::new(),
            supply: setup.sessions.into_iter(),
            to_carrier: Link::new(setup.carrier_delay, faults.to_carrier.clone(), dice.split()),
            from_carrier: Link::new(setup.carrier_delay, faults.from_carrier.clone(), dice.split()),
            to_model: Link::new(setup.model_delay, faults.to_model.clone(), dice.split()),
            from_model: Link::new(setup.model_delay, faults.from_model.clone(), dice.split()),
            dice,
            inputs,
            command_delay: setup.command_delay,
            carrier_open: true,
            wanted: None,
            connects_asked: 0,
            comes_back: None,
            stream_begins: if faults.no_stream { Duration::MAX } else { setup.answer_delay },
            stream_began: false,
            tool_output: setup.tool_output,
            hang_ups_asked: 0,
            tools_run: 0,
            now: Duration::ZERO,
            faults,
            notes: Vec::new(),
            commands_seen: Vec::new(),
            trace: String::new(),
            recorded_caller: Vec::new(),
            recorded_agent: Vec::new(),
            ended: None,
            responses_told: Vec::new(),
            items_told: Vec::new(),
            media_in: 0,
            cut_by_hang_up: None,
            after_end: 0,
        }
    }

    /// Gives the call this ear of our own, which tells of each frame so much later. It hears what is recorded:
    /// [`Setup::recorded`].
    pub fn listen(&mut self, listener: Box<dyn Listen + Send>, takes: Duration) {
        (self.listener, self.listening_takes) = (Some(listener), takes);
    }

    /// Runs until the call has ended, or `limit` has passed. True if it ended.
    pub fn run(&mut self, limit: Duration) -> bool {
        self.tell(Input::Announced);
        let mut steps_now = 0;
        while self.ended.is_none() {
            let Some(next) = self.next_event().filter(|next| *next <= limit) else { return false };
            steps_now = if next > self.now { 0 } else { steps_now + 1 };
            assert!(steps_now < STEPS_AT_ONCE, "N12: time stands still, somebody is woken for nothing over and over");
            self.now = self.now.max(next);
            self.step();
        }
        true
    }

    /// After the end: peers go on for so long, and everything that they say still arrives. Nothing may come of it.
    pub fn linger(&mut self, time: Duration) {
        let until = self.now + time;
        let mut last = 0;
        while let Some(next) = self.next_event().filter(|next| *next <= until) {
            // What has nothing more to do keeps its time; a peer that is closed is not polled for ever.
            last = if next <= self.now { last + 1 } else { 0 };
            if last > 1_000 {
                return;
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    pub fn summary(&self) -> Summary {
        self.bridge.summary()
    }

    fn next_event(&self) -> Option<Duration> {
        let carrier = if self.stream_began {
            self.carrier.poll_timeout()
        } else {
            Some(self.stream_begins).filter(|begins| *begins < Duration::MAX)
        };
        let model = self.session().and_then(|session| Some(session.opened + session.model.poll_timeout()?));
        let breaks = self.faults.stream_breaks.iter().map(|(at, _)| *at).min();
        let model_breaks = self.faults.model_breaks.iter().map(|(at, _)| *at).min();
        let bridge = self.bridge.poll_timeout().map(|at| self.faults.real(Duration::from_micros(at.as_micros())));
        let told = [self.from_carrier.due(), self.from_model.due(), self.inputs.due(), bridge];
        let told = told.into_iter().flatten().map(|due| self.thawed(due));
        let links = [self.to_carrier.due(), self.to_model.due()];
        let peers = [carrier, model, breaks, model_breaks, self.comes_back].into_iter().chain(links);
        peers.flatten().chain(told).min()
    }

    /// The first moment from this on at which our process runs.
    fn thawed(&self, at: Duration) -> Duration {
        let at = at.max(self.now);
        self.faults.freezes.iter().find(|freeze| freeze.contains(&at)).map_or(at, |freeze| freeze.end)
    }

    /// Does everything that is due now, peers first.
    fn step(&mut self) {
        self.step_peers();
        if self.thawed(self.now) > self.now {
            return;
        }
        let mut sources = [Source::Carrier, Source::Model, Source::Rest, Source::Time];
        if self.faults.shuffled {
            self.dice.shuffle(&mut sources);
        }
        for source in sources {
            match source {
                Source::Carrier => self.hear_carrier(),
                Source::Model => self.hear_model(),
                Source::Rest => {
                    while let Some(input) = self.inputs.take(self.now) {
                        let input = match input {
                            Input::Model(epoch, ModelInput::Connected) if self.wanted == Some(epoch) => {
                                self.open_session(epoch)
                            }
                            input => input,
                        };
                        self.tell(input);
                    }
                }
                Source::Time => {
                    if self.bridge.poll_timeout().is_some_and(|due| due <= self.call_time()) {
                        self.tell(Input::TimePassed);
                    }
                }
            }
        }
    }

    fn step_peers(&mut self) {
        let now = self.now;
        self.stream_began |= self.stream_begins <= now;
        while let Some(what) = self.to_carrier.receive(now) {
            match what {
                FromPeer::Text(text) => self.carrier.receive(&text, now),
                FromPeer::Close | FromPeer::CloseWith(_) => self.carrier.receive_close(now),
            }
        }
        while let Some((epoch, text)) = self.to_model.receive(now) {
            if let Some(session) =
                self.session_mut().filter(|session| session.epoch == epoch && session.silent.is_none())
            {
                session.model.receive(&text, now - session.opened);
            }
        }
        self.break_links();
        if self.stream_began {
            while let Some(sent) = self.carrier.poll(now) {
                let what = match sent {
                    carrier::Sent::Text(text) => FromPeer::Text(text),
                    carrier::Sent::Close => {
                        if !self.faults.no_last_status {
                            let status = Input::Carrier(CarrierInput::Status(CallStatus::Completed));
                            self.inputs.put(now + self.command_delay, status);
                        }
                        FromPeer::Close
                    }
                };
                self.from_carrier.send(what, now);
            }
        }
        if let Some(session) = self.sessions.last_mut().filter(|session| session.closed.is_none()) {
            while let Some(sent) = session.model.poll(now - session.opened) {
                let what = match sent {
                    model::Sent::Text(text) => FromPeer::Text(text),
                    model::Sent::Close(code) => FromPeer::CloseWith(code),
                };
                if session.silent.is_none() {
                    self.from_model.send((session.epoch, what), now);
                }
            }
        }
    }

    fn break_links(&mut self) {
        let now = self.now;
        let faults = &mut self.faults;
        for (_, says) in faults.stream_breaks.extract_if(.., |(at, _)| *at <= now) {
            if self.carrier.is_over() || self.comes_back.is_some() {
                continue;
            }
            self.carrier.receive_close(now);
            self.from_carrier.send(FromPeer::Close, now);
            if let Some(status) = says {
                self.inputs.put(now + self.command_delay, Input::Carrier(CarrierInput::AfterStream(status)));
            }
        }
        for (_, how) in faults.model_breaks.extract_if(.., |(at, _)| *at <= now) {
            let Some(session) = self.sessions.last_mut().filter(|session| session.closed.is_none()) else { continue };
            session.silent.get_or_insert(now);
            if how == ModelBreak::Drops {
                self.from_model.lose();
                self.from_model.send((session.epoch, FromPeer::CloseWith(None)), now);
            }
        }
        if self.comes_back.take_if(|at| *at <= now).is_some() && self.ended.is_none() {
            let next = self.carrier.next_stream(&format!("MZ{}", self.earlier.len() + 2), now);
            let before = std::mem::replace(&mut self.carrier, next);
            self.earlier.push(before.into_report().0);
            self.to_carrier.lose();
            self.from_carrier.lose();
            self.carrier_open = true;
        }
    }

    /// The session that is open.
    fn session(&self) -> Option<&Session> {
        self.sessions.last().filter(|session| session.closed.is_none())
    }

    fn session_mut(&mut self) -> Option<&mut Session> {
        self.sessions.last_mut().filter(|session| session.closed.is_none())
    }

    /// The model takes the connection, if it has another session to give.
    fn open_session(&mut self, epoch: Epoch) -> Input {
        let Some(model) = self.supply.next() else { return Input::Model(epoch, ModelInput::Lost { fatal: false }) };
        self.sessions.push(Session { epoch, opened: self.now, closed: None, model, silent: None });
        Input::Model(epoch, ModelInput::Connected)
    }

    fn hear_carrier(&mut self) {
        let at = self.call_time();
        while let Some(what) = self.from_carrier.receive(self.now) {
            if !self.carrier_open {
                continue;
            }
            match what {
                FromPeer::Text(text) => {
                    let ours = self.bridge.stream_sid().is_some_and(|sid| text.contains(sid));
                    let live = ours && self.ended.is_none();
                    self.media_in += u64::from(live && text.contains(r#""event":"media""#));
                    self.bridge.handle_carrier(&text, at);
                    self.drain();
                    for (delay, fact) in self.ears.iter_mut().flat_map(|ears| ears.hear(&text)) {
                        self.inputs.put(self.now + delay, Input::Ears(fact));
                    }
                }
                FromPeer::Close | FromPeer::CloseWith(_) => self.tell(Input::Carrier(CarrierInput::Closed)),
            }
        }
    }

    fn hear_model(&mut self) {
        let at = self.call_time();
        while let Some((epoch, what)) = self.from_model.receive(self.now) {
            let open = self.session().is_some_and(|session| session.epoch == epoch);
            let fatal = match what {
                // What was still on its way when we closed reaches nobody.
                FromPeer::Text(_) if !open => continue,
                FromPeer::Text(text) => {
                    self.note_names(&text);
                    self.bridge.handle_model(&text, at);
                    self.drain();
                    continue;
                }
                FromPeer::Close => false,
                FromPeer::CloseWith(code) => close_is_fatal(code),
            };
            self.tell(Input::Model(epoch, ModelInput::Lost { fatal }));
        }
    }

    fn note_names(&mut self, text: &str) {
        let value = |key: &str| {
            let at = text.find(key)? + key.len();
            text[at..].split('"').next()
        };
        if text.contains(r#""response.created""#) {
            self.responses_told.extend(value(r#""response":{"id":""#).map(str::to_owned));
        } else if text.contains(r#""response.output_audio.delta""#)
            && let Some(item) = value(r#""item_id":""#)
            && self.items_told.last().is_none_or(|last| last != item)
        {
            self.items_told.push(item.to_owned());
        }
    }

    fn tell(&mut self, input: Input) {
        let at = self.call_time();
        self.bridge.handle_input(input, at);
        self.drain();
    }

    fn drain(&mut self) {
        let now = self.now;
        let over = self.ended.is_some();
        while let Some(effect) = self.bridge.poll() {
            if over && !matches!(effect, Effect::Note(_) | Effect::Trace(_)) {
                self.after_end += 1;
            }
            match effect {
                Effect::ToCarrier(_, text) => self.to_carrier.send(FromPeer::Text(text.to_owned()), now),
                Effect::ToModel(text) => {
                    let session = self.sessions.last().filter(|session| session.closed.is_none());
                    if let Some(session) = session {
                        self.to_model.send((session.epoch, text.to_owned()), now);
                    }
                }
                Effect::CloseCarrier => {
                    self.carrier_open = false;
                    self.to_carrier.send(FromPeer::Close, now);
                }
                Effect::CloseModel => {
                    self.wanted = None;
                    if let Some(session) = self.sessions.last_mut().filter(|session| session.closed.is_none()) {
                        session.closed = Some(now);
                        // Its socket says so when others have followed it (R11).
                        let lost = Input::Model(session.epoch, ModelInput::Lost { fatal: false });
                        self.inputs.put(now + self.command_delay * 2, lost);
                    }
                }
                Effect::ResumeStream => self.comes_back = self.faults.comes_back_after.map(|after| now + after),
                Effect::RecordCaller { at, audio } => {
                    for fact in self.listener.iter_mut().flat_map(|listener| listener.caller(at, audio)) {
                        self.inputs.put(now + self.listening_takes, Input::Ears(fact));
                    }
                    self.recorded_caller.push((at, audio.to_vec()));
                }
                Effect::RecordAgent { at, audio } => {
                    if let Some(listener) = &mut self.listener {
                        listener.agent(at, audio);
                    }
                    self.recorded_agent.push(RecordedAgent::Audio { at, audio: audio.to_vec() });
                }
                Effect::RecordCleared { at } => {
                    if let Some(listener) = &mut self.listener {
                        listener.cleared(at);
                    }
                    self.recorded_agent.push(RecordedAgent::Cleared { at });
                }
                Effect::Note(note) => {
                    if let Some(listener) = self.listener.as_mut().filter(|_| note == Note::MediaStarted) {
                        listener.stream_began();
                    }
                    self.notes.push((now, note));
                }
                Effect::Trace(lines) => self.trace.push_str(lines),
                Effect::Ended(reason) => self.ended = Some((now, reason)),
                Effect::Do(id, command) => {
                    self.commands_seen.push((now, command.clone()));
                    match command {
                        Command::ConnectModel { epoch } => self.connect(epoch),
                        Command::HangUp => self.hang_up(id),
                        Command::StartRecording => {
                            self.inputs.put(now + self.command_delay, Input::Done(id, Outcome::RecordingStarted));
                        }
                        Command::RunTool { .. } => self.run_tool(id),
                    }
                }
            }
        }
    }

    fn connect(&mut self, epoch: Epoch) {
        self.wanted = Some(epoch);
        let fault = self.faults.connects.get(self.connects_asked).copied().unwrap_or_default();
        self.connects_asked += 1;
        let soon = self.now + self.command_delay;
        match fault {
            ConnectFault::None => self.inputs.put(soon, Input::Model(epoch, ModelInput::Connected)),
            ConnectFault::Takes(time) => self.inputs.put(self.now + time, Input::Model(epoch, ModelInput::Connected)),
            ConnectFault::Fails { fatal } => self.inputs.put(soon, Input::Model(epoch, ModelInput::Lost { fatal })),
            ConnectFault::Hangs => {}
        }
    }

    fn hang_up(&mut self, id: CommandId) {
        let fault = self.faults.hang_ups.get(self.hang_ups_asked).copied();
        self.hang_ups_asked += 1;
        if !self.stream_began {
            // A call that rings has no stream yet, and will get none.
            self.stream_begins = Duration::MAX;
            let status = Input::Carrier(CarrierInput::Status(CallStatus::Canceled));
            self.inputs.put(self.now + self.command_delay, status);
        } else if matches!(fault, None | Some(HangUpFault::FailsAndWorks)) && !self.carrier.is_over() {
            let audible_until = self.carrier.report().audible.last().map_or(Duration::ZERO, |span| span.end);
            self.cut_by_hang_up.get_or_insert(audible_until.saturating_sub(self.now));
            self.carrier.stop(self.now);
        }
        let outcome = match fault {
            None | Some(HangUpFault::Ignored) => Outcome::HungUp,
            Some(HangUpFault::Fails | HangUpFault::FailsAndWorks) => Outcome::HangUpFailed,
            Some(HangUpFault::Hangs) => return,
        };
        self.inputs.put(self.now + self.command_delay, Input::Done(id, outcome));
    }

    fn run_tool(&mut self, id: CommandId) {
        let fault = self.faults.tools.get(self.tools_run % self.faults.tools.len().max(1)).copied();
        self.tools_run += 1;
        let answer = Outcome::ToolAnswered(self.tool_output.clone());
        match fault.unwrap_or(ToolFault::Answers(self.command_delay)) {
            ToolFault::Answers(after) => self.inputs.put(self.now + after, Input::Done(id, answer)),
            ToolFault::Fails(after) => {
                let failed = Outcome::ToolFailed(r#"{"error":"no such thing"}"#.into());
                self.inputs.put(self.now + after, Input::Done(id, failed));
            }
            ToolFault::AnswersTwice(after) => {
                self.inputs.put(self.now + after, Input::Done(id, answer));
                let second = Outcome::ToolAnswered(r#"{"again":true}"#.into());
                self.inputs.put(self.now + after * 2, Input::Done(id, second));
            }
            ToolFault::Never => {}
        }
    }

    fn call_time(&self) -> CallTime {
        CallTime::from_micros(u64::try_from(self.faults.shown(self.now).as_micros()).unwrap_or(u64::MAX))
    }
}
