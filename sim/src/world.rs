//! A whole call in virtual time: the real bridge between the simulated carrier and the simulated model, over links that
//! may be slow, in a process that may stand still. Everything is a value; the same settings give the same call, to the
//! byte.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use call::bridge::{Bridge, Clips, Effect, Wants};
use call::config::{CallConfig, CallFacts, Direction};
use call::input::{CallStatus, CarrierInput, Input, Outcome};
use call::trace::Words;
use call::wire::openai::{SessionSettings, close_is_fatal};
use call::{CallTime, Command, CommandId, EndReason, Epoch, ModelInput, Note, OperatorInput, Summary};

use crate::carrier::stream::{self as carrier, FakeStream};
use crate::dice::Dice;
use crate::model::{self, FakeModel};

/// Whoever judges what was played compares it with what the model gave; sounds of our own would only be in the way.
fn no_clips() -> Clips {
    Clips { filler: Arc::from([]), apology: Arc::from([]) }
}

/// What a world is made of.
pub struct Setup {
    pub config: CallConfig,
    pub direction: Direction,
    pub settings: SessionSettings,
    pub carrier: FakeStream,
    pub model: FakeModel,
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

/// What goes wrong between the peers. The default is a good day.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Faults {
    /// Of the dice that jitter and shuffling are drawn from.
    pub seed: u64,
    pub to_carrier: LinkFaults,
    pub from_carrier: LinkFaults,
    pub to_model: LinkFaults,
    pub from_model: LinkFaults,
    /// Our process stands still: nothing is handled, then everything at once.
    pub freezes: Vec<Range<Duration>>,
    /// What has arrived at one moment is handled in any order, its order on each link kept.
    pub shuffled: bool,
    pub connect: ConnectFault,
    /// One for each attempt to hang up; those after work.
    pub hang_ups: Vec<HangUpFault>,
    /// One for each tool that is run, over and over; none: all answer after `command_delay`.
    pub tools: Vec<ToolFault>,
    /// The carrier's stream never comes.
    pub no_stream: bool,
    /// The carrier's socket breaks at this time, and what the carrier says then: that the call goes on, that it is
    /// over, or nothing.
    pub stream_breaks: Option<(Duration, Option<CallStatus>)>,
    /// Whether the carrier's news that its stream has ended get lost.
    pub no_last_status: bool,
    /// What else the carrier says about the call, and when.
    pub statuses: Vec<(Duration, CallStatus)>,
    pub operator: Vec<(Duration, OperatorInput)>,
}

impl Faults {
    /// How long connecting, and a message there and back, may take because of them.
    pub fn slowest(&self) -> Duration {
        let connect = if let ConnectFault::Takes(time) = self.connect { time } else { Duration::ZERO };
        let links = [&self.to_model, &self.from_model].map(LinkFaults::uneven);
        connect + links.iter().sum::<Duration>() + self.frozen()
    }

    /// How long our process stands still.
    pub fn frozen(&self) -> Duration {
        self.freezes.iter().map(|freeze| freeze.end - freeze.start).sum()
    }
}

impl LinkFaults {
    /// How much later than another one message may come.
    pub fn uneven(&self) -> Duration {
        let stalls: Duration = self.stalls.iter().map(|stall| stall.end - stall.start).sum();
        self.jitter + self.burst.unwrap_or_default() + stalls
    }
}

/// What goes wrong on one link. Messages keep their order whatever happens.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LinkFaults {
    /// Up to so much is added to a message's delay.
    pub jitter: Duration,
    /// Messages arrive in bursts, so far apart.
    pub burst: Option<Duration>,
    /// Nothing arrives meanwhile.
    pub stalls: Vec<Range<Duration>>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum ConnectFault {
    #[default]
    None,
    Takes(Duration),
    Fails {
        fatal: bool,
    },
    /// Neither connected nor refused.
    Hangs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HangUpFault {
    Fails,
    /// It fails, and the call ends all the same.
    FailsAndWorks,
    /// No answer comes, and nothing happens.
    Hangs,
    /// It is accepted, and the stream goes on.
    Ignored,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ToolFault {
    Answers(Duration),
    Fails(Duration),
    /// With something else the second time.
    AnswersTwice(Duration),
    Never,
}

/// A message on its way.
struct Late<T> {
    due: Duration,
    what: T,
}

/// First in, first out.
struct Link<T> {
    delay: Duration,
    faults: LinkFaults,
    dice: Dice,
    queue: VecDeque<Late<T>>,
}

impl<T> Link<T> {
    fn new(delay: Duration, faults: LinkFaults, dice: Dice) -> Self {
        Link { delay, faults, dice, queue: VecDeque::new() }
    }

    fn send(&mut self, what: T, now: Duration) {
        let mut due = now + self.delay + self.dice.up_to(self.faults.jitter);
        if let Some(burst) = self.faults.burst.filter(|burst| !burst.is_zero()) {
            due = burst * u32::try_from(due.as_micros().div_ceil(burst.as_micros())).unwrap_or(u32::MAX);
        }
        if let Some(stall) = self.faults.stalls.iter().find(|stall| stall.contains(&due)) {
            due = stall.end;
        }
        let after = self.queue.back().map_or(Duration::ZERO, |late| late.due);
        self.queue.push_back(Late { due: due.max(after), what });
    }

    fn receive(&mut self, now: Duration) -> Option<T> {
        self.queue.pop_front_if(|late| late.due <= now).map(|late| late.what)
    }

    fn due(&self) -> Option<Duration> {
        self.queue.front().map(|late| late.due)
    }
}

/// What comes at its own time, each apart from the others. What is due at once comes in the order in which it was put.
struct Agenda<T>(Vec<Late<T>>);

impl<T> Agenda<T> {
    fn put(&mut self, due: Duration, what: T) {
        self.0.push(Late { due, what });
    }

    fn take(&mut self, now: Duration) -> Option<T> {
        let due = self.due().filter(|due| *due <= now)?;
        let index = self.0.iter().position(|late| late.due == due)?;
        Some(self.0.remove(index).what)
    }

    fn due(&self) -> Option<Duration> {
        self.0.iter().map(|late| late.due).min()
    }
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

pub struct World {
    bridge: Bridge,
    pub carrier: FakeStream,
    pub model: FakeModel,
    faults: Faults,
    dice: Dice,
    to_carrier: Link<FromPeer>,
    from_carrier: Link<FromPeer>,
    to_model: Link<String>,
    from_model: Link<FromPeer>,
    /// What is told by neither socket.
    inputs: Agenda<Input>,
    command_delay: Duration,
    carrier_open: bool,
    model_open: Option<Epoch>,
    stream_begins: Duration,
    stream_began: bool,
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
        let mut inputs = Agenda(Vec::new());
        for (at, input) in &faults.operator {
            inputs.put(*at, Input::Operator(input.clone()));
        }
        for (at, status) in &faults.statuses {
            inputs.put(*at, Input::Carrier(CarrierInput::Status(*status)));
        }
        World {
            bridge: Bridge::new(setup.config, facts, setup.settings, no_clips(), wants),
            carrier: setup.carrier,
            model: setup.model,
            to_carrier: Link::new(setup.carrier_delay, faults.to_carrier.clone(), dice.split()),
            from_carrier: Link::new(setup.carrier_delay, faults.from_carrier.clone(), dice.split()),
            to_model: Link::new(setup.model_delay, faults.to_model.clone(), dice.split()),
            from_model: Link::new(setup.model_delay, faults.from_model.clone(), dice.split()),
            dice,
            inputs,
            command_delay: setup.command_delay,
            carrier_open: true,
            model_open: None,
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
            media_in: 0,
            cut_by_hang_up: None,
            after_end: 0,
        }
    }

    /// Runs until the call has ended, or `limit` has passed. True if it ended.
    pub fn run(&mut self, limit: Duration) -> bool {
        self.tell(Input::Announced);
        while self.ended.is_none() {
            let Some(next) = self.next_event().filter(|next| *next <= limit) else { return false };
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
        let model = self.model_open.and_then(|_| self.model.poll_timeout());
        let breaks = self.faults.stream_breaks.map(|(at, _)| at);
        let bridge = self.bridge.poll_timeout().map(|at| Duration::from_micros(at.as_micros()));
        let told = [self.from_carrier.due(), self.from_model.due(), self.inputs.due(), bridge];
        let told = told.into_iter().flatten().map(|due| self.thawed(due));
        let peers = [carrier, model, breaks, self.to_carrier.due(), self.to_model.due()];
        peers.into_iter().flatten().chain(told).min()
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
                        if let Input::Model(epoch, ModelInput::Connected) = input {
                            self.model_open = Some(epoch);
                        }
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
        while let Some(text) = self.to_model.receive(now) {
            self.model.receive(&text, now);
        }
        if let Some((_, says)) = self.faults.stream_breaks.take_if(|(at, _)| *at <= now)
            && !self.carrier.is_over()
        {
            self.carrier.receive_close(now);
            self.from_carrier.send(FromPeer::Close, now);
            if let Some(status) = says {
                self.inputs.put(now + self.command_delay, Input::Carrier(CarrierInput::AfterStream(status)));
            }
        }
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
        if self.model_open.is_some() {
            while let Some(sent) = self.model.poll(now) {
                let what = match sent {
                    model::Sent::Text(text) => FromPeer::Text(text),
                    model::Sent::Close(code) => FromPeer::CloseWith(code),
                };
                self.from_model.send(what, now);
            }
        }
    }

    fn hear_carrier(&mut self) {
        let at = self.call_time();
        while let Some(what) = self.from_carrier.receive(self.now) {
            if !self.carrier_open {
                continue;
            }
            match what {
                FromPeer::Text(text) => {
                    let live = self.bridge.stream_sid().is_some() && self.ended.is_none();
                    self.media_in += u64::from(live && text.contains(r#""event":"media""#));
                    self.bridge.handle_carrier(&text, at);
                    self.drain();
                }
                FromPeer::Close | FromPeer::CloseWith(_) => self.tell(Input::Carrier(CarrierInput::Closed)),
            }
        }
    }

    fn hear_model(&mut self) {
        let at = self.call_time();
        while let Some(what) = self.from_model.receive(self.now) {
            // What was still on its way when we closed reaches nobody.
            let Some(epoch) = self.model_open else { continue };
            match what {
                FromPeer::Text(text) => {
                    self.bridge.handle_model(&text, at);
                    self.drain();
                }
                FromPeer::Close => self.tell(Input::Model(epoch, ModelInput::Lost { fatal: false })),
                FromPeer::CloseWith(code) => {
                    self.tell(Input::Model(epoch, ModelInput::Lost { fatal: close_is_fatal(code) }));
                }
            }
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
                Effect::ToModel(text) => self.to_model.send(text.to_owned(), now),
                Effect::CloseCarrier => {
                    self.carrier_open = false;
                    self.to_carrier.send(FromPeer::Close, now);
                }
                Effect::CloseModel => self.model_open = None,
                Effect::ResumeStream => {}
                Effect::RecordCaller { at, audio } => self.recorded_caller.push((at, audio.to_vec())),
                Effect::RecordAgent { at, audio } => {
                    self.recorded_agent.push(RecordedAgent::Audio { at, audio: audio.to_vec() });
                }
                Effect::RecordCleared { at } => self.recorded_agent.push(RecordedAgent::Cleared { at }),
                Effect::Note(note) => self.notes.push((now, note)),
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
        let soon = self.now + self.command_delay;
        match self.faults.connect {
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
        CallTime::from_micros(u64::try_from(self.now.as_micros()).unwrap_or(u64::MAX))
    }
}
