//! Whom the server itself turns to: the model, the carrier's REST API, and the tools.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use reqwest::Request;
use sim::faults::{ConnectFault, HangUpFault, ModelBreak, ToolFault};
use sim::model::FakeModel;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Response};
use tokio_tungstenite::tungstenite::http::{self, Uri};

use super::plan::CallPlan;
use super::rough::{Rough, Weather};
use crate::outside::memory::World;

/// Between the two ends of the model's socket.
const MODEL_BUFFER: usize = 64 * 1024;

/// One call, as its peers have it.
pub struct Line {
    pub plan: CallPlan,
    pub call_sid: String,
    pub rings_at: Instant,
    /// A request to the REST API ended it.
    pub hung_up: watch::Sender<bool>,
    /// Every session of the model that was opened.
    pub sessions: RefCell<Vec<Arc<Mutex<FakeModel>>>>,
    supply: RefCell<VecDeque<FakeModel>>,
    connects: Cell<usize>,
    pub hang_ups: Cell<usize>,
    pub tools_begun: Cell<usize>,
    pub tools_answered: Cell<usize>,
    pub recordings: Cell<usize>,
}

impl Line {
    pub fn new(index: usize, plan: &CallPlan, zero: Instant) -> Self {
        Line {
            call_sid: format!("CA{index:032x}"),
            rings_at: zero + plan.rings_at,
            hung_up: watch::channel(false).0,
            sessions: RefCell::default(),
            supply: RefCell::new(plan.call.sessions().into()),
            connects: Cell::default(),
            hang_ups: Cell::default(),
            tools_begun: Cell::default(),
            tools_answered: Cell::default(),
            recordings: Cell::default(),
            plan: plan.clone(),
        }
    }

    fn next(counter: &Cell<usize>) -> usize {
        counter.replace(counter.get() + 1)
    }

    async fn connect(self: Rc<Self>, ends: watch::Receiver<bool>) -> io::Result<DuplexStream> {
        let faults = &self.plan.call.faults;
        let refused = || Err(io::ErrorKind::ConnectionRefused.into());
        match faults.connects.get(Line::next(&self.connects)).copied().unwrap_or_default() {
            ConnectFault::None => {}
            ConnectFault::Takes(time) => sleep(time).await,
            ConnectFault::Fails { fatal: false } => return refused(),
            ConnectFault::Fails { fatal: true } => return Ok(self.open(None, ends)),
            ConnectFault::Hangs => std::future::pending().await,
        }
        let Some(session) = self.supply.borrow_mut().pop_front() else { return refused() };
        Ok(self.open(Some(session), ends))
    }

    /// Opens a session; without one, the handshake is refused for good.
    fn open(self: Rc<Self>, session: Option<FakeModel>, mut ends: watch::Receiver<bool>) -> DuplexStream {
        let (ours, theirs) = duplex(MODEL_BUFFER);
        let now = Instant::now();
        let faults = &self.plan.call.faults;
        let breaks = faults.model_breaks.iter().map(|(at, how)| (self.rings_at + *at, *how));
        let (at, how) = breaks.filter(|(at, _)| *at > now).min_by_key(|(at, _)| *at).unzip();
        let stalls = self.plan.model_stalls.iter();
        let weather = Weather {
            stalls: stalls.map(|span| self.rings_at + span.start..self.rings_at + span.end).collect(),
            breaks_at: at.filter(|_| how == Some(ModelBreak::Drops)),
            silent_from: at.filter(|_| how == Some(ModelBreak::Silent)),
        };
        tokio::task::spawn_local(async move {
            let refuses = session.is_none();
            #[expect(clippy::result_large_err, reason = "the library's own type")]
            let check = |_: &_, answer: Response| {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = http::StatusCode::UNAUTHORIZED;
                if refuses { Err(refusal) } else { Ok(answer) }
            };
            let Ok(socket) = accept_hdr_async(Rough::new(theirs, weather), check).await else { return };
            let Some(session) = session else { return };
            let session = Arc::new(Mutex::new(session));
            self.sessions.borrow_mut().push(session.clone());
            sim::model::server::run(socket, &session, &mut ends).await;
        });
        ours
    }

    async fn hang_up(self: Rc<Self>) -> u16 {
        let fault = self.plan.call.faults.hang_ups.get(Line::next(&self.hang_ups)).copied();
        sleep(self.plan.call.command_delay).await;
        if matches!(fault, None | Some(HangUpFault::FailsAndWorks)) {
            self.hung_up.send_replace(true);
        }
        match fault {
            None | Some(HangUpFault::Ignored) => 200,
            Some(HangUpFault::Fails | HangUpFault::FailsAndWorks) => 500,
            Some(HangUpFault::Hangs) => std::future::pending().await,
        }
    }

    async fn run_tool(self: Rc<Self>) -> u16 {
        let faults = &self.plan.call.faults.tools;
        let fault = faults.get(Line::next(&self.tools_begun) % faults.len().max(1)).copied();
        match fault.unwrap_or(ToolFault::Answers(Duration::ZERO)) {
            // Over HTTP there is one answer to a request.
            ToolFault::Answers(after) | ToolFault::AnswersTwice(after) => {
                sleep(after).await;
                Line::next(&self.tools_answered);
                200
            }
            ToolFault::Fails(after) => {
                sleep(after).await;
                500
            }
            ToolFault::Never => std::future::pending().await,
        }
    }
}

pub struct Peers {
    pub lines: Vec<Rc<Line>>,
    /// Ends the model's sessions when nobody is left.
    pub ends: watch::Receiver<bool>,
}

impl World for Peers {
    fn dialled(&self, url: &Uri) -> LocalBoxFuture<'static, io::Result<DuplexStream>> {
        let model = url.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("model=m")));
        let line = model.and_then(|index| self.lines.get(index.parse::<usize>().ok()?)).expect("a model of ours");
        line.clone().connect(self.ends.clone()).boxed_local()
    }

    fn asked(&self, request: Request) -> LocalBoxFuture<'static, http::Response<&'static str>> {
        let path = request.url().path().to_owned();
        let parts: Vec<&str> = path.split(['/', '.']).filter(|part| !part.is_empty()).collect();
        let answer = |status: u16, body: &'static str| {
            http::Response::builder().status(status).body(body).expect("a status and a body")
        };
        match (request.url().host_str(), parts.as_slice()) {
            (Some("tools.invalid"), [index, _]) => {
                let line = self.lines[index.parse::<usize>().expect("an index")].clone();
                async move { answer(line.run_tool().await, r#"{"ok":true}"#) }.boxed_local()
            }
            (Some("carrier.invalid"), [_, "Accounts", "AC1", "Calls", sid, rest @ ..]) => {
                let line = self.lines.iter().find(|line| line.call_sid == *sid).expect("a call of ours").clone();
                if rest == ["Recordings", "json"] {
                    Line::next(&line.recordings);
                    return async move { answer(201, "{}") }.boxed_local();
                }
                async move { answer(line.hang_up().await, "{}") }.boxed_local()
            }
            _ => panic!("nobody is asked for {path}"),
        }
    }
}
