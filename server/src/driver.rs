//! One call, one task, one loop: tells the call what arrived and does what it asks.
//!
//! Nothing is decided here, and nothing is waited for but the next thing to happen: writes are queued (`socket.rs`),
//! commands run elsewhere (`commands.rs`), disks are written by other tasks (`record/`). Dropping the driver closes
//! both sockets and ends its helpers; that is all the cleaning up there is.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use call::bridge::{Bridge, Effect, Wants};
use call::config::{CallConfig, OnMachine};
use call::pipeline::Line;
use call::wire::openai::close_is_fatal;
use call::{
    CallStatus, CallTime, CarrierInput, Command, CommandId, EarInput, EndReason, Epoch, Input, ModelInput, Note,
    Outcome, Summary,
};
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use crate::agent::{Agent, Tool};
use crate::calls::{CallEvent, Happening};
use crate::carrier::CarrierSocket;
use crate::commands::Commands;
use crate::ears::{Admitted, CallEars, Ears};
use crate::inbox::Inbox;
use crate::log;
use crate::meter::{Meter, Source};
use crate::metrics::Metrics;
use crate::model::{Endpoint, ModelConnection, ModelSocket, Refused};
use crate::record::{CallFacts, Recorder, Tracer};
use crate::socket::Received;
use crate::spans::Spans;

/// What helper tasks get at the end of a call (L8).
const WIND_DOWN: Duration = Duration::from_secs(1);

/// Tools of one call that may run at once. A model that asks for more is told to try again.
const TOOLS_MAX: usize = 16;

/// Time passes for the call at most this often: a deadline that stays due would otherwise take the core for itself.
const TICK: Duration = Duration::from_millis(1);

/// What reaches a call from outside its sockets.
#[derive(Debug)]
pub(crate) enum Mail {
    /// The carrier's media socket.
    Media(Box<WebSocket>),
    /// The carrier's stream is over, says its webhook. `goes_on`: whether the call wants another one (N6).
    AfterStream { status: CallStatus, goes_on: oneshot::Sender<bool> },
    /// In a box: a channel has room for several at any time.
    Input(Box<Input>),
}

/// What the server gives to a call.
pub(crate) struct Setup {
    pub agent: Agent,
    pub model: Endpoint,
    pub commands: Commands,
    pub socket_backlog_max: usize,
    /// Outbound: what whoever placed the call wants done about a machine.
    pub on_machine: OnMachine,
    pub ears: Option<Ears>,
}

/// Who looks on.
pub(crate) struct Onlookers {
    pub metrics: Metrics,
    pub spans: Spans,
}

/// What a call came to.
pub(crate) struct Ended {
    pub reason: EndReason,
    pub summary: Summary,
    pub answered_at: Option<Timestamp>,
    /// Helpers that did not end in time.
    pub abandoned: usize,
}

pub(crate) struct Driver {
    bridge: Bridge,
    shell: Shell,
    mail: Inbox<Mail>,
    started: Instant,
    last_tick: Instant,
}

/// All of the driver that effects act upon; apart from the bridge, from which they borrow.
struct Shell {
    id: Uuid,
    call_sid: String,
    /// Of the agent, what is asked for again and again.
    recording: bool,
    append_frames: u32,
    tools_offered: Vec<Tool>,
    endpoint: Endpoint,
    commands: Commands,
    recorder: Recorder,
    tracer: Tracer,
    ears: CallEars,
    carrier: CarrierSocket,
    model: ModelSocket,
    /// Of the connection that there is or that is being made; a connection of any other comes too late.
    model_epoch: Option<Epoch>,
    connecting: Option<AbortHandle>,
    tool_timeout: Duration,
    helpers: JoinSet<Finished>,
    /// Apart from the helpers: they outlive the call (L8).
    tools: JoinSet<Finished>,
    /// Facts that came of effects, to be told once these are done.
    to_tell: VecDeque<Input>,
    /// Whoever watches calls.
    events: broadcast::Sender<CallEvent>,
    /// Of this round, to be told to them.
    noted: Vec<Note>,
    meter: Meter,
    spans: Spans,
    /// Noted in this round, and to be measured with what the bridge knows (O2).
    line: Option<Line>,
    /// To be logged, with what the bridge knows of the stream (O5).
    media_started: bool,
    answered_at: Option<Timestamp>,
    ended: Option<EndReason>,
}

/// What a helper task came to.
enum Finished {
    Connected(Epoch, Box<Result<ModelConnection, Refused>>),
    Done(CommandId, Outcome),
    Closed,
}

impl Driver {
    pub(crate) fn new(
        facts: &CallFacts,
        setup: Box<Setup>,
        mail: mpsc::Receiver<Mail>,
        recorder: Recorder,
        tracer: Tracer,
        events: broadcast::Sender<CallEvent>,
        onlookers: Onlookers,
    ) -> Self {
        // Whole and here, so that its memory is not kept for as long as the call lasts.
        let setup = *setup;
        let agent = setup.agent;
        let config = CallConfig { on_machine: setup.on_machine, ..agent.call_config() };
        let tool_timeout = config.tool_timeout;
        let direction = call::CallFacts { direction: facts.direction };
        let (ears, admitted) = CallEars::new(&agent, setup.ears.as_ref());
        if admitted == Admitted::TooMany {
            tracing::warn!("a call is not listened to by an ear of our own; ears_max is the limit");
            onlookers.metrics.ear_refused();
        }
        let wants = Wants { samples: agent.recording || ears.are_there(), trace: agent.trace };
        let mut bridge = Bridge::new(config, direction, agent.session(), agent.clips, wants);
        bridge.bind(&facts.call_sid);
        bridge.group_appends(agent.audio.append_frames);
        let now = Instant::now();
        let model = ModelSocket::absent(setup.socket_backlog_max).pinged(setup.model.pings());
        let shell = Shell {
            id: facts.id,
            call_sid: facts.call_sid.clone(),
            recording: agent.recording,
            append_frames: agent.audio.append_frames,
            tools_offered: agent.tools,
            endpoint: setup.model,
            commands: setup.commands,
            recorder,
            tracer,
            ears,
            carrier: CarrierSocket::absent(setup.socket_backlog_max),
            model,
            model_epoch: None,
            connecting: None,
            tool_timeout,
            helpers: JoinSet::new(),
            tools: JoinSet::new(),
            to_tell: VecDeque::new(),
            events,
            noted: Vec::new(),
            meter: Meter::new(onlookers.metrics),
            spans: onlookers.spans,
            line: None,
            media_started: false,
            answered_at: None,
            ended: None,
        };
        Driver { bridge, shell, mail: Inbox::new(mail), started: now, last_tick: now }
    }

    /// Runs the call to its end.
    pub(crate) async fn run(mut self: Box<Self>) -> Ended {
        self.tell(Input::Announced);
        // One for the whole call: to make one each round costs the runtime's timer two locks. To put it off costs none.
        let mut alarm = pin!(sleep_until(Instant::now() + FAR));
        let reason = loop {
            if let Some(reason) = self.settle() {
                break reason;
            }
            let due = self.due();
            let now = Instant::now();
            // Asked of the clock and not of the sleep: with a peer that always has something to say, the sleep might
            // never get its turn.
            if due.is_some_and(|due| due <= now) {
                self.last_tick = now;
                let blocked = self.shell.carrier.take_blocked();
                // One after the other: what is asked for after the first is done, and traced, before the second (N11).
                if let Ok(ms @ 1..) = u32::try_from(blocked.as_millis()) {
                    self.shell.to_tell.push_back(Input::Carrier(CarrierInput::WriteBlocked { ms }));
                }
                self.shell.to_tell.push_back(Input::TimePassed);
                continue;
            }
            // What was read together lies there together: it takes no round of its own.
            if self.bridge.is_gathering()
                && let Some(received) = self.shell.carrier.received().await
            {
                self.carrier_said(received);
                continue;
            }
            let due = due.unwrap_or(now + FAR);
            if due != alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(due);
            }
            tokio::select! {
                received = self.shell.carrier.receive() => self.carrier_said(received),
                received = self.shell.model.receive() => self.model_said(received),
                Some(mail) = self.mail.recv() => self.mail_came(mail),
                Some(finished) = self.shell.helpers.join_next() => self.helper_finished(finished),
                Some(finished) = self.shell.tools.join_next() => self.helper_finished(finished),
                Some(fact) = self.shell.ears.next() => self.ear_told(fact),
                () = &mut alarm => {}
            }
        };
        self.shell.spans.ended(reason);
        let ended_at = Instant::now();
        // Whoever waits for an answer has it now, and not when the helpers have ended.
        drop(self.mail);
        let abandoned = self.shell.wind_down().await;
        let mut summary = self.bridge.summary();
        summary.latency = self.shell.meter.end(self.bridge.call(), ended_at);
        Ended { reason, summary, answered_at: self.shell.answered_at, abandoned }
    }

    /// Does what the call asks until it asks for nothing more.
    fn settle(&mut self) -> Option<EndReason> {
        loop {
            while let Some(effect) = self.bridge.poll() {
                self.shell.perform(effect);
            }
            if std::mem::take(&mut self.shell.media_started) {
                tracing::info!(stream_known = self.bridge.stream_sid().is_some(), "media started");
                // Not for ears of our own, which are there to be quick.
                if !self.shell.ears.are_there() {
                    self.shell.carrier.read_together(self.shell.append_frames);
                }
            }
            if let Some(line) = self.shell.line.take() {
                self.shell.meter.line(&line, self.bridge.call());
            }
            self.tell_observers();
            if self.shell.ended.is_some() {
                return self.shell.ended;
            }
            let Some(input) = self.shell.to_tell.pop_front() else { break };
            self.tell(input);
        }
        self.shell.meter.handled(self.bridge.call());
        self.shell.measure_written();
        if let Some(together) = self.shell.carrier.together() {
            let mark = self.bridge.call().mark_expected();
            together.made(mark.map(|at| self.started + at.since(CallTime::ZERO)), self.bridge.is_gathering());
        }
        None
    }

    fn tell_observers(&mut self) {
        for note in self.shell.noted.drain(..) {
            let what = match note {
                Note::TurnEnded { item } => match self.bridge.call().turn(item) {
                    Some(turn) => Happening::Turn(turn),
                    None => continue,
                },
                note => Happening::Note(note),
            };
            // Nobody may be left who watches.
            let _ = self.shell.events.send(CallEvent { call: self.shell.id, what });
        }
    }

    fn tell(&mut self, input: Input) {
        self.bridge.handle_input(input, self.at(Instant::now()));
    }

    fn carrier_said(&mut self, received: Received<axum::extract::ws::Utf8Bytes>) {
        match received {
            Received::Text(text) => {
                let now = Instant::now();
                self.shell.meter.received(Source::Carrier, now);
                self.bridge.handle_carrier(&text, self.at(now));
            }
            Received::Closed(_) => self.tell(Input::Carrier(CarrierInput::Closed)),
            Received::Lost(why) => {
                tracing::warn!(why, "the carrier's media socket is lost");
                self.tell(Input::Carrier(CarrierInput::Closed));
            }
        }
    }

    fn model_said(&mut self, received: Received<tokio_tungstenite::tungstenite::Utf8Bytes>) {
        let fatal = match received {
            Received::Text(text) => {
                let now = Instant::now();
                self.shell.meter.received(Source::Model, now);
                return self.bridge.handle_model(&text, self.at(now));
            }
            Received::Closed(code) => {
                tracing::debug!(?code, "the model closed its socket");
                close_is_fatal(code)
            }
            Received::Lost(why) => {
                tracing::warn!(why, "the model's socket is lost");
                false
            }
        };
        // Only a connection says anything, and it has an epoch.
        if let Some(epoch) = self.shell.model_epoch {
            self.tell(Input::Model(epoch, ModelInput::Lost { fatal }));
        }
    }

    fn ear_told(&mut self, fact: EarInput) {
        if fact == EarInput::Deaf {
            self.shell.meter.ear_is_deaf();
        }
        self.tell(Input::Ears(fact));
    }

    fn mail_came(&mut self, mail: Mail) {
        match mail {
            Mail::Input(input) => self.tell(*input),
            Mail::AfterStream { status, goes_on } => {
                self.tell(Input::Carrier(CarrierInput::AfterStream(status)));
                // The webhook may have been given up meanwhile.
                let _ = goes_on.send(self.bridge.call().is_resuming());
            }
            // The token already admits one stream only; this is what keeps a second from disturbing the first (L5).
            Mail::Media(_) if self.shell.carrier.is_attached() => {
                tracing::warn!("a second media stream was refused");
            }
            Mail::Media(socket) => self.shell.carrier.attach(*socket),
        }
    }

    fn helper_finished(&mut self, finished: Result<Finished, tokio::task::JoinError>) {
        match finished {
            Ok(Finished::Done(id, outcome)) => self.tell(Input::Done(id, outcome)),
            // A connection that was given up meanwhile is dropped.
            Ok(Finished::Connected(epoch, _)) if self.shell.model_epoch != Some(epoch) => {}
            Ok(Finished::Connected(epoch, connection)) => match *connection {
                Ok(connection) => {
                    self.shell.model.attach(connection);
                    self.tell(Input::Model(epoch, ModelInput::Connected));
                }
                Err(Refused { fatal, why, .. }) => {
                    tracing::warn!(why, fatal, "the model cannot be reached");
                    self.tell(Input::Model(epoch, ModelInput::Lost { fatal }));
                }
            },
            Ok(Finished::Closed) => {}
            // The call's own time limits notice what did not come back.
            Err(error) if error.is_panic() => tracing::error!(%error, "a helper task panicked"),
            Err(_) => {}
        }
    }

    fn at(&self, now: Instant) -> CallTime {
        CallTime::ZERO + (now - self.started)
    }

    fn due(&self) -> Option<Instant> {
        let due = self.started + self.bridge.poll_timeout()?.since(CallTime::ZERO);
        Some(due.max(self.last_tick + TICK))
    }
}

/// A sleep that is as good as none, for a call without deadlines.
const FAR: Duration = Duration::from_secs(3_600);

impl Shell {
    fn perform(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::ToCarrier(what, text) => {
                let stamp = self.meter.sends_to_carrier(what, Instant::now());
                self.carrier.send(text, stamp);
            }
            Effect::ToModel(text) => self.model.send(text, self.meter.sends_to_model()),
            Effect::Do(id, command) => self.start(id, command),
            Effect::CloseCarrier => {
                if self.close_carrier() {
                    self.to_tell.push_back(Input::Carrier(CarrierInput::Closed));
                }
            }
            Effect::CloseModel => self.close_model(),
            // The webhook that asked is answered with it: see `Mail::AfterStream`.
            Effect::ResumeStream => tracing::warn!("the stream broke and is asked for again"),
            Effect::RecordCaller { at, audio } => {
                self.to_tell.extend(self.ears.caller(at, audio).map(Input::Ears));
                if self.recording {
                    self.recorder.caller(at, audio);
                }
            }
            Effect::RecordAgent { at, audio } => {
                self.ears.agent(at, audio);
                if self.recording {
                    self.recorder.agent(at, audio);
                }
            }
            Effect::RecordCleared { at } => {
                self.ears.cleared(at);
                if self.recording {
                    self.recorder.cleared(at);
                }
            }
            Effect::Note(note) => {
                if note == Note::MediaStarted {
                    self.media_started = true;
                    self.to_tell.extend(self.ears.stream_began().map(Input::Ears));
                    self.answered_at.get_or_insert_with(Timestamp::now);
                    if self.recording {
                        self.recorder.started(Instant::now());
                    }
                }
                log::note(&note);
                self.meter.note(&note, Instant::now());
                self.spans.note(&note);
                if let Note::Pipeline(line) = note {
                    self.line = Some(line);
                }
                if self.events.receiver_count() > 0 {
                    self.noted.push(note);
                }
            }
            Effect::Trace(line) => self.tracer.line(line),
            Effect::Ended(reason) => self.ended = Some(reason),
        }
    }

    fn start(&mut self, id: CommandId, command: Command) {
        let commands = self.commands.clone();
        match command {
            Command::ConnectModel { epoch } => {
                self.close_model();
                self.model_epoch = Some(epoch);
                let connect = self.endpoint.clone().connect();
                let connect = async move { Finished::Connected(epoch, Box::new(connect.await)) };
                self.connecting = Some(self.helpers.spawn(connect));
            }
            Command::HangUp => {
                let hang_up = commands.hang_up(self.call_sid.clone());
                self.helpers.spawn(async move { Finished::Done(id, hang_up.await) });
            }
            Command::StartRecording => {
                let start = commands.start_recording(self.call_sid.clone());
                self.helpers.spawn(async move { Finished::Done(id, start.await) });
            }
            Command::RunTool { call, name, arguments } => {
                let refused = |why: &str| Input::Done(id, Outcome::ToolFailed(why.to_owned()));
                let Some(tool) = self.tools_offered.iter().find(|tool| tool.name == name) else {
                    return self.to_tell.push_back(refused("There is no such tool."));
                };
                if self.tools.len() >= TOOLS_MAX {
                    return self.to_tell.push_back(refused("Too many tools are running. Try again later."));
                }
                self.spans.tool_named(call, &name);
                let run = commands.run_tool(tool.clone(), self.id, arguments, self.tool_timeout);
                self.tools.spawn(async move { Finished::Done(id, run.await) });
            }
        }
    }

    fn measure_written(&mut self) {
        while let Some((stamp, after)) = self.carrier.next_written().or_else(|| self.model.next_written()) {
            self.meter.written(stamp.measure, after);
        }
    }

    /// Whether there was anything to close.
    fn close_carrier(&mut self) -> bool {
        let Some(close) = self.carrier.close() else { return false };
        self.helpers.spawn(async move {
            close.await;
            Finished::Closed
        });
        true
    }

    fn close_model(&mut self) {
        // The connection may be made, and only wait to be told of.
        self.model_epoch = None;
        if let Some(connecting) = self.connecting.take() {
            connecting.abort();
        }
        if let Some(close) = self.model.close() {
            self.helpers.spawn(async move {
                close.await;
                Finished::Closed
            });
        }
    }

    /// Closes what is open and gives the helpers their time. Returns how many did not take the hint.
    async fn wind_down(&mut self) -> usize {
        self.close_carrier();
        self.close_model();
        let all = async { while self.helpers.join_next().await.is_some() {} };
        let _ = timeout(WIND_DOWN, all).await;
        let abandoned = self.helpers.len();
        if abandoned > 0 {
            tracing::warn!(abandoned, "helper tasks did not end in time");
        }
        self.tools.detach_all();
        abandoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Commands;
    use crate::config::{Config, Secret};
    use sim::model::server::ModelServer;
    use sim::model::{Behaviour, FakeModel, Script};

    /// A driver that was not run: what happens to it is up to the test.
    fn driver(model: &ModelServer) -> Driver {
        let config = Config::default();
        let tls = crate::model::tls(None).unwrap();
        let openai =
            crate::config::OpenAi { url: model.url().parse().unwrap(), key: Some(Secret::new("key")), ..config.openai };
        let setup = Box::new(Setup {
            agent: Agent::default(),
            model: Endpoint::new(&openai, "m", tls).unwrap(),
            commands: Commands::new(reqwest::Client::new(), config.twilio, None),
            socket_backlog_max: config.socket_backlog_max,
            on_machine: OnMachine::Continue,
            ears: None,
        });
        let facts = CallFacts {
            id: Uuid::nil(),
            carrier: "twilio",
            call_sid: "CA1".to_owned(),
            direction: call::config::Direction::Inbound,
            from: String::new(),
            to: String::new(),
            agent: String::new(),
            started_at: Timestamp::UNIX_EPOCH,
        };
        let (_, mail) = mpsc::channel(1);
        let disk = crate::record::Disk::default();
        let (recorder, _) = Recorder::new(std::path::PathBuf::new(), &disk);
        let (tracer, _) = Tracer::new(std::path::PathBuf::new(), &disk);
        let onlookers = Onlookers { metrics: Metrics::default(), spans: Spans::new(&facts, None) };
        Driver::new(&facts, setup, mail, recorder, tracer, broadcast::channel(1).0, onlookers)
    }

    /// What every call holds, in one piece: allocators have the next larger one at 10 KiB.
    #[test]
    fn a_driver_takes_no_more_than_8_kib() {
        assert!(size_of::<Driver>() <= 8 * 1024, "{}", size_of::<Driver>());
    }

    #[tokio::test]
    async fn a_connection_that_was_given_up_just_as_it_was_made_is_dropped() {
        let session = |_: &_| FakeModel::new("m", Script::default(), Behaviour::default());
        let model = ModelServer::start("key", session).await.unwrap();
        let mut driver = driver(&model);
        let mut connected = async |closes: bool| {
            driver.shell.perform(Effect::Do(CommandId(1), Command::ConnectModel { epoch: Epoch(1) }));
            let connecting = driver.shell.connecting.clone().unwrap();
            while !connecting.is_finished() {
                tokio::task::yield_now().await;
            }
            if closes {
                driver.shell.perform(Effect::CloseModel);
            }
            let finished = driver.shell.helpers.join_next().await.unwrap();
            driver.helper_finished(finished);
            driver.shell.model.is_attached()
        };
        assert!(connected(false).await);
        assert!(!connected(true).await);
    }
}
