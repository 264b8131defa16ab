//! The load: as many virtual carriers and models as there are calls, in one thread with one loop, all of it by readiness
//! and without a task a call. It has to be cheaper than what it measures, since both share a machine: messages are
//! composed of prepared parts, audio is never decoded, JSON is parsed for the few events that are not audio.

mod caller;
mod frame;
mod model;
mod socket;
mod stamp;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;

use super::measure::Measured;
use caller::Caller;
pub(crate) use caller::Door;
use model::Model;
pub(crate) use model::{ANSWER_MS, DELTA_MS, FASTER};
use socket::Socket;

/// Connections that wait to be accepted: all calls of a burst may dial at once.
const LISTEN_BACKLOG: i32 = 4_096;

/// Calls that a stamp can tell apart.
pub(crate) const CALLS_MAX: usize = 10_000;

/// Things that went wrong, of which the report tells; more of them say nothing new.
const PROBLEMS_MAX: usize = 8;

/// One look at the system takes so many events.
const EVENTS_MAX: usize = 512;

const LISTENER: u64 = u64::MAX;
const MODELS: u64 = 1 << 32;

/// When the caller speaks: for [`Dialogue::SPEECH`] at the beginning of each of these stretches, over and over.
#[derive(Clone, Debug)]
pub(crate) struct Dialogue {
    stretches: Vec<u64>,
}

impl Dialogue {
    pub(crate) const SPEECH: Duration = Duration::from_millis(1_600);

    pub(crate) fn new(stretches: &[Duration]) -> Dialogue {
        Dialogue { stretches: stretches.iter().map(|stretch| stretch.as_micros() as u64).collect() }
    }

    pub(crate) fn length(&self) -> Duration {
        Duration::from_micros(self.stretches.iter().sum())
    }

    /// Whether the caller speaks, so many µs after the dialogue began.
    fn speaks(&self, since: u64) -> bool {
        let mut at = since % self.stretches.iter().sum::<u64>().max(1);
        for stretch in &self.stretches {
            if at < *stretch {
                return at < Self::SPEECH.as_micros() as u64;
            }
            at -= stretch;
        }
        false
    }
}

pub(crate) struct Load {
    listener: TcpListener,
    model_tls: Option<Arc<rustls::ServerConfig>>,
    target: SocketAddr,
    door: Door,
    callers: Vec<Caller>,
    models: Vec<Option<Model>>,
    sessions: u32,
    shared: Shared,
}

/// What callers and models have in common.
struct Shared {
    epoll: Rc<OwnedFd>,
    zero: Instant,
    dialogue: Dialogue,
    due: BinaryHeap<Reverse<(u64, Due)>>,
    measuring: bool,
    measured: Measured,
    problems: Vec<String>,
    lost: usize,
    refused: usize,
    /// Buffers to be used again.
    scratch: Box<[u8]>,
    text: Vec<u8>,
    utf8: String,
    frame: Vec<u8>,
    payload: Vec<u8>,
    audio: Vec<u8>,
}

/// What is to be done at some moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    Arrive { call: u16 },
    Frame { call: u16 },
    Mark { call: u16 },
    Delta { model: u32, serial: u32, response: u32 },
    Transcript { model: u32, serial: u32 },
}

impl Shared {
    /// µs since the load began.
    fn now(&self) -> u64 {
        self.zero.elapsed().as_micros() as u64
    }

    fn schedule(&mut self, at: u64, what: Due) {
        self.due.push(Reverse((at, what)));
    }

    fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what);
        }
    }
}

impl Load {
    /// Models listen on a free port of loopback, with this configuration of TLS if there is one.
    pub(crate) fn new(dialogue: Dialogue, model_tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Load> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, LISTEN_BACKLOG)?;
        let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC)?);
        epoll::add(&*epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let shared = Shared {
            epoll,
            zero: Instant::now(),
            dialogue,
            due: BinaryHeap::new(),
            measuring: false,
            measured: Measured::default(),
            problems: Vec::new(),
            lost: 0,
            refused: 0,
            scratch: vec![0; 64 * 1024].into(),
            text: Vec::new(),
            utf8: String::new(),
            frame: Vec::new(),
            payload: stamp::blank_payload(),
            audio: Vec::new(),
        };
        let target = SocketAddr::from(([127, 0, 0, 1], 0));
        let (callers, models) = (Vec::new(), Vec::new());
        Ok(Load { listener, model_tls, target, door: Door::Stream, callers, models, sessions: 0, shared })
    }

    pub(crate) fn model_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Whom calls are for from now on.
    pub(crate) fn aim(&mut self, target: SocketAddr, door: Door) {
        (self.target, self.door) = (target, door);
    }

    /// So many more calls arrive, evenly over this time. Their dialogues are spread over the whole of one.
    pub(crate) fn arrive(&mut self, calls: usize, within: Duration) {
        let now = self.shared.now();
        let (within, length) = (within.as_micros() as u64, self.shared.dialogue.length().as_micros() as u64);
        for index in 0..calls as u64 {
            let Ok(number) = u16::try_from(self.callers.len()) else { return };
            self.callers.push(Caller::new(number, now + index * length / calls as u64));
            self.shared.schedule(now + index * within / calls as u64, Due::Arrive { call: number });
        }
    }

    /// Goes on for this long, or until `enough`, which is asked now and then.
    pub(crate) fn run(&mut self, most: Duration, enough: impl Fn(&Load) -> bool) -> io::Result<()> {
        let end = self.shared.now() + most.as_micros() as u64;
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while self.shared.now() < end && !enough(self) {
            // Whole ms, rounded up: what is due at about the same time is done at once.
            let next = self.shared.due.peek().map_or(end, |Reverse((at, _))| *at).min(end);
            let wait_ms = next.saturating_sub(self.shared.now()).div_ceil(1_000).min(50);
            let wait = Timespec { tv_sec: 0, tv_nsec: wait_ms as i64 * 1_000_000 };
            events.clear();
            match epoll::wait(&*self.shared.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    token @ ..MODELS => {
                        self.caller(token as u16, |caller, target, shared| caller.ready(target, shared))
                    }
                    token => {
                        self.model((token - MODELS) as u32, None, |model, callers, shared| model.ready(callers, shared))
                    }
                }
            }
            self.do_what_is_due();
        }
        Ok(())
    }

    fn do_what_is_due(&mut self) {
        let now = self.shared.now();
        while let Some(Reverse((at, what))) = self.shared.due.peek().copied()
            && at <= now
        {
            self.shared.due.pop();
            match what {
                Due::Arrive { call } => {
                    let door = self.door;
                    self.caller(call, |caller, target, shared| caller.announce(target, door, shared));
                }
                Due::Frame { call } => self.caller(call, |caller, _, shared| caller.frame(at, shared)),
                Due::Mark { call } => self.caller(call, |caller, _, shared| caller.marks(shared)),
                Due::Delta { model, serial, response } => self.model(model, Some(serial), |model, callers, shared| {
                    model.delta(at, response, callers, shared).map(|()| true)
                }),
                Due::Transcript { model, serial } => {
                    self.model(model, Some(serial), |model, _, shared| model.transcribe(shared).map(|()| true));
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let index = self.models.iter().position(Option::is_none).unwrap_or(self.models.len());
            let token = MODELS + index as u64;
            let tls = self.model_tls.clone().map(rustls::ServerConnection::new).transpose();
            let socket = tls
                .map_err(io::Error::other)
                .and_then(|tls| Socket::new(self.shared.epoll.clone(), stream, token, tls));
            match socket {
                Ok(socket) => {
                    self.sessions = self.sessions.wrapping_add(1);
                    let model = Some(Model::new(index as u32, self.sessions, socket));
                    match self.models.get_mut(index) {
                        Some(place) => *place = model,
                        None => self.models.push(model),
                    }
                }
                Err(error) => self.shared.problem(format!("a model could not be dialled: {error}")),
            }
        }
    }

    fn caller(&mut self, call: u16, act: impl FnOnce(&mut Caller, SocketAddr, &mut Shared) -> io::Result<()>) {
        let Some(caller) = self.callers.get_mut(usize::from(call)) else { return };
        if let Err(error) = act(caller, self.target, &mut self.shared) {
            let stage = caller.lose();
            // Whoever reads nothing is given up, sooner or later.
            if caller.is_blocked() {
                return;
            }
            self.shared.lost += 1;
            self.shared.problem(format!("call {call} was lost, {stage}: {error}"));
        }
    }

    /// Acts on a session, if it is still this one. What it returns: whether the session goes on.
    fn model(
        &mut self,
        index: u32,
        serial: Option<u32>,
        act: impl FnOnce(&mut Model, &mut [Caller], &mut Shared) -> io::Result<bool>,
    ) {
        let Some(place) = self.models.get_mut(index as usize) else { return };
        let Some(model) = place.as_mut().filter(|model| serial.is_none_or(|serial| model.is(serial))) else { return };
        // A session that breaks is one that ended; if its call did not, the call will have something to say.
        if !act(model, &mut self.callers, &mut self.shared).unwrap_or(false) {
            *place = None;
        }
    }

    /// What happens from now on is measured, and nothing before.
    pub(crate) fn measure(&mut self) {
        self.shared.measured = Measured::default();
        self.shared.measuring = true;
    }

    pub(crate) fn measured(&mut self) -> Measured {
        self.shared.measuring = false;
        std::mem::take(&mut self.shared.measured)
    }

    /// All callers hang up.
    pub(crate) fn hang_up(&mut self) {
        for call in 0..self.callers.len() {
            let door = self.door;
            self.caller(call as u16, |caller, target, shared| caller.hang_up(target, door, shared));
        }
    }

    /// The last so many callers read nothing from now on.
    pub(crate) fn block(&mut self, calls: usize) -> io::Result<()> {
        self.callers.iter_mut().rev().take(calls).try_for_each(Caller::block)
    }

    /// Callers that are talking, without those that read nothing.
    pub(crate) fn streaming(&self) -> usize {
        self.callers.iter().filter(|caller| caller.is_streaming() && !caller.is_blocked()).count()
    }

    /// Bytes of audio that wait in what is under load.
    pub(crate) fn queued(&self) -> u64 {
        self.callers.iter().map(|caller| caller.queued).sum()
    }

    /// Callers that were told that the line is busy.
    pub(crate) fn refused(&self) -> usize {
        self.shared.refused
    }

    /// Callers that are not through, and sessions that are open.
    pub(crate) fn open(&self) -> usize {
        self.callers.iter().filter(|caller| !caller.has_ended()).count() + self.models.iter().flatten().count()
    }

    /// Calls that broke, and the first things that went wrong.
    pub(crate) fn problems(&self) -> (usize, Vec<String>) {
        (self.shared.lost, self.shared.problems.clone())
    }
}

fn token_of_caller(number: u16) -> u64 {
    u64::from(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_speaks_at_the_beginning_of_each_stretch() {
        let dialogue = Dialogue::new(&[Duration::from_secs(3), Duration::from_secs(5)]);
        assert_eq!(dialogue.length(), Duration::from_secs(8));
        let spoken: Vec<u64> = (0..24).filter(|second| dialogue.speaks(second * 1_000_000)).collect();
        assert_eq!(spoken, [0, 1, 3, 4, 8, 9, 11, 12, 16, 17, 19, 20]);
    }
}
