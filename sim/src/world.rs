//! A whole call in virtual time: the real bridge between the simulated carrier and the simulated model, over links that
//! may be slow. Everything is a value; the same settings give the same call, to the byte.

use std::collections::VecDeque;
use std::time::Duration;

use call::bridge::{Bridge, Clips, Effect, Wants};
use call::config::{CallConfig, CallFacts, Direction};
use call::input::{CallStatus, CarrierInput, Input, Outcome};
use call::trace::Words;
use call::wire::openai::SessionSettings;
use call::{CallTime, Command, CommandId, EndReason, Epoch, ModelInput, Note, Summary};

use crate::carrier::stream::{self as carrier, FakeStream};
use crate::model::{self, FakeModel};

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
}

/// A message on its way.
struct Late<T> {
    due: Duration,
    what: T,
}

/// First in, first out, each message after a fixed delay.
struct Link<T> {
    delay: Duration,
    queue: VecDeque<Late<T>>,
}

impl<T> Link<T> {
    fn new(delay: Duration) -> Self {
        Link { delay, queue: VecDeque::new() }
    }

    fn send(&mut self, what: T, now: Duration) {
        self.queue.push_back(Late { due: now + self.delay, what });
    }

    fn receive(&mut self, now: Duration) -> Option<T> {
        self.queue.pop_front_if(|late| late.due <= now).map(|late| late.what)
    }

    fn due(&self) -> Option<Duration> {
        self.queue.front().map(|late| late.due)
    }
}

enum FromPeer {
    Text(String),
    Close,
}

pub struct World {
    bridge: Bridge,
    pub carrier: FakeStream,
    pub model: FakeModel,
    to_carrier: Link<FromPeer>,
    from_carrier: Link<FromPeer>,
    to_model: Link<String>,
    from_model: Link<FromPeer>,
    commands: Link<(CommandId, Outcome)>,
    /// The carrier's own news of the call, which do not come by its socket.
    statuses: Link<CallStatus>,
    connecting: Option<(Duration, Epoch)>,
    carrier_open: bool,
    model_open: bool,
    stream_begins: Duration,
    stream_began: bool,
    tool_output: String,
    now: Duration,

    /// Everything that was decided, with its time.
    pub notes: Vec<(Duration, Note)>,
    pub commands_seen: Vec<(Duration, Command)>,
    pub trace: String,
    /// µ-law of both voices as a recording has them.
    pub recorded_caller: Vec<(Duration, Vec<u8>)>,
    pub recorded_agent: Vec<RecordedAgent>,
    pub ended: Option<(Duration, EndReason)>,
}

/// What the shell was told about the agent's side of the recording.
pub enum RecordedAgent {
    Audio { at: Duration, audio: Vec<u8> },
    Cleared { at: Duration },
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let wants = Wants { samples: true, trace: Some(Words::Full) };
        let facts = CallFacts { direction: setup.direction };
        World {
            bridge: Bridge::new(setup.config, facts, setup.settings, Clips::default(), wants),
            carrier: setup.carrier,
            model: setup.model,
            to_carrier: Link::new(setup.carrier_delay),
            from_carrier: Link::new(setup.carrier_delay),
            to_model: Link::new(setup.model_delay),
            from_model: Link::new(setup.model_delay),
            commands: Link::new(setup.command_delay),
            statuses: Link::new(setup.command_delay),
            connecting: None,
            carrier_open: true,
            model_open: false,
            stream_begins: setup.answer_delay,
            stream_began: false,
            tool_output: setup.tool_output,
            now: Duration::ZERO,
            notes: Vec::new(),
            commands_seen: Vec::new(),
            trace: String::new(),
            recorded_caller: Vec::new(),
            recorded_agent: Vec::new(),
            ended: None,
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

    pub fn now(&self) -> Duration {
        self.now
    }

    pub fn summary(&self) -> Summary {
        self.bridge.summary()
    }

    fn next_event(&self) -> Option<Duration> {
        let carrier = if self.stream_began { self.carrier.poll_timeout() } else { Some(self.stream_begins) };
        let model = self.model_open.then(|| self.model.poll_timeout()).flatten();
        let bridge = self.bridge.poll_timeout().map(|at| Duration::from_micros(at.as_micros()));
        [
            carrier,
            model,
            bridge,
            self.connecting.map(|(at, _)| at),
            self.to_carrier.due(),
            self.from_carrier.due(),
            self.to_model.due(),
            self.from_model.due(),
            self.commands.due(),
            self.statuses.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does everything that is due now, peers first.
    fn step(&mut self) {
        let now = self.now;
        self.stream_began |= self.stream_begins <= now;
        while let Some(what) = self.to_carrier.receive(now) {
            match what {
                FromPeer::Text(text) => self.carrier.receive(&text, now),
                FromPeer::Close => self.carrier.receive_close(now),
            }
        }
        while let Some(text) = self.to_model.receive(now) {
            self.model.receive(&text, now);
        }
        if self.stream_began {
            while let Some(sent) = self.carrier.poll(now) {
                let what = match sent {
                    carrier::Sent::Text(text) => FromPeer::Text(text),
                    carrier::Sent::Close => {
                        self.statuses.send(CallStatus::Completed, now);
                        FromPeer::Close
                    }
                };
                self.from_carrier.send(what, now);
            }
        }
        if self.model_open {
            while let Some(sent) = self.model.poll(now) {
                let what = match sent {
                    model::Sent::Text(text) => FromPeer::Text(text),
                    model::Sent::Close(_) => FromPeer::Close,
                };
                self.from_model.send(what, now);
            }
        }
        let at = self.call_time();
        if let Some((_, epoch)) = self.connecting.take_if(|(due, _)| *due <= now) {
            self.model_open = true;
            self.tell(Input::Model(epoch, ModelInput::Connected));
        }
        while let Some(what) = self.from_carrier.receive(now) {
            if !self.carrier_open {
                continue;
            }
            match what {
                FromPeer::Text(text) => {
                    self.bridge.handle_carrier(&text, at);
                    self.drain();
                }
                FromPeer::Close => self.tell(Input::Carrier(CarrierInput::Closed)),
            }
        }
        while let Some(what) = self.from_model.receive(now) {
            match what {
                FromPeer::Text(text) => {
                    self.bridge.handle_model(&text, at);
                    self.drain();
                }
                FromPeer::Close => self.tell(Input::Model(Epoch(1), ModelInput::Lost { fatal: false })),
            }
        }
        while let Some((id, outcome)) = self.commands.receive(now) {
            self.tell(Input::Done(id, outcome));
        }
        while let Some(status) = self.statuses.receive(now) {
            self.tell(Input::Carrier(CarrierInput::Status(status)));
        }
        if self.bridge.poll_timeout().is_some_and(|due| due <= at) {
            self.tell(Input::TimePassed);
        }
    }

    fn tell(&mut self, input: Input) {
        let at = self.call_time();
        self.bridge.handle_input(input, at);
        self.drain();
    }

    fn drain(&mut self) {
        let now = self.now;
        while let Some(effect) = self.bridge.poll() {
            match effect {
                Effect::ToCarrier(text) => self.to_carrier.send(FromPeer::Text(text.to_owned()), now),
                Effect::ToModel(text) => self.to_model.send(text.to_owned(), now),
                Effect::CloseCarrier => {
                    self.carrier_open = false;
                    self.to_carrier.send(FromPeer::Close, now);
                }
                Effect::CloseModel => self.model_open = false,
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
                        Command::ConnectModel { epoch } => self.connecting = Some((now + self.commands.delay, epoch)),
                        Command::HangUp => {
                            self.carrier.stop(now);
                            self.commands.send((id, Outcome::HungUp), now);
                        }
                        Command::StartRecording => self.commands.send((id, Outcome::RecordingStarted), now),
                        Command::RunTool { .. } => {
                            self.commands.send((id, Outcome::ToolAnswered(self.tool_output.clone())), now);
                        }
                    }
                }
            }
        }
    }

    fn call_time(&self) -> CallTime {
        CallTime::from_micros(u64::try_from(self.now.as_micros()).unwrap_or(u64::MAX))
    }
}
