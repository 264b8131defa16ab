//! The carrier and the caller of one call: rings, follows the documents it is given, runs the media streams, calls back.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use call::{CallStatus, Input, OperatorInput};
use futures_util::{SinkExt, StreamExt};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use sim::carrier::signature::sign;
use sim::carrier::stream::{FakeStream, Sent, StreamEnd, StreamFacts, StreamReport};
use sim::carrier::twiml::{self, Verb};
use tokio::io::duplex;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::peers::Line;
use super::plan::{AUTH_TOKEN, MEDIA_BUFFER, number};
use super::rough::{Rough, Weather};
use crate::Calls;
use crate::http::listen::{Limits, serve_one};

/// How long the server may take to close a stream that the carrier has stopped.
const CLOSE_MAX: Duration = Duration::from_secs(20);

/// What came of one call.
#[derive(Default)]
pub struct Outcome {
    pub admitted: bool,
    pub streams: Vec<StreamReport>,
    /// The wire was cut, or not read for a while, so that nobody knows to the frame what was heard.
    pub disturbed: bool,
    /// What should not have happened.
    pub problems: Vec<String>,
}

pub struct Carrier {
    pub index: usize,
    pub line: Rc<Line>,
    pub router: Router,
    /// Where the server believes to be reached.
    pub origin: String,
    pub calls: Calls,
    pub max_calls: usize,
    /// The clock of the streams.
    pub zero: Instant,
    /// When the server is first asked to stop.
    pub stops: Option<Instant>,
    pub outcome: Outcome,
}

impl Carrier {
    pub async fn run(mut self) -> Outcome {
        sleep_until(self.line.rings_at).await;
        let Some(answer) = self.announce().await else { return self.outcome };
        let (line, router, origin) = (self.line.clone(), self.router.clone(), self.origin.clone());
        tokio::task::spawn_local(happenings(line, router, origin, self.calls.clone()));
        if let Some(url) = self.stream_of(&answer) {
            self.outcome.admitted = true;
            self.streams(url).await;
        }
        self.outcome
    }

    fn problem(&mut self, what: impl Into<String>) {
        self.outcome.problems.push(format!("call {}: {}", self.index, what.into()));
    }

    /// Delivers the webhook, perhaps more than once, and returns the answer. Deciding and entering are one step (N9).
    async fn announce(&mut self) -> Option<String> {
        let form = form(&self.line.call_sid, self.index, "ringing");
        let mut first = None;
        for _ in 0..self.line.plan.deliveries {
            let before = self.calls.live();
            let stopping = self.stops.is_some_and(|at| at <= Instant::now());
            let (status, body) = post(&self.router, &self.origin, "/twilio/voice", &form).await;
            let now = self.calls.live();
            if status != 200 {
                self.problem(format!("the webhook was answered {status}"));
            }
            if now > self.max_calls {
                self.problem(format!("N9: {now} calls, where {} are admitted", self.max_calls));
            }
            match &first {
                None if body.contains("<Reject") && before < self.max_calls && !stopping => {
                    self.problem(format!("N9: refused, with {before} calls of {}", self.max_calls));
                }
                None => {}
                Some(first) if *first != body => self.problem("N3: the same delivery was answered differently"),
                Some(_) if now != before => self.problem("N3: the same delivery started something twice"),
                Some(_) => {}
            }
            first.get_or_insert(body);
        }
        first
    }

    /// Where a document connects the call to.
    fn stream_of(&mut self, document: &str) -> Option<String> {
        match twiml::parse(document) {
            Ok(verbs) => verbs.into_iter().find_map(|verb| match verb {
                Verb::Connect { stream, .. } => Some(stream.url),
                _ => None,
            }),
            Err(error) => {
                self.problem(format!("no document: {error}"));
                None
            }
        }
    }

    async fn streams(&mut self, mut url: String) {
        let call = self.line.plan.call.clone();
        let mut hung_up = self.line.hung_up.subscribe();
        if call.faults.no_stream {
            return;
        }
        tokio::select! {
            biased;
            // Who hangs up while it rings gets no stream.
            _ = hung_up.wait_for(|over| *over) => return self.status("canceled").await,
            () = sleep(call.answer_delay) => {}
        }
        let facts = StreamFacts {
            account_sid: "AC1".into(),
            call_sid: self.line.call_sid.clone(),
            stream_sid: "MZ1".into(),
            custom_parameters: Vec::new(),
        };
        let mut stream = FakeStream::new(facts, call.steps(), call.stream.clone(), self.zero.elapsed());
        for number in 2.. {
            let (weather, says) = self.weather();
            let Ok(mut socket) = self.dial(&url, weather.clone()).await else {
                // The call may have ended meanwhile, for one of many reasons.
                return self.over("completed").await;
            };
            if self.line.plan.tries_token_again {
                let again = self.dial(&url, Weather::default()).await;
                if !matches!(again, Err(404 | 409 | 410)) {
                    self.problem("L5: the token was good for a second stream");
                }
            }
            self.run_stream(&mut stream, &mut socket).await;
            drop(socket);
            let broke = stream.report().end == Some(StreamEnd::ServerClosed);
            self.outcome.disturbed |= broke || !weather.stalls.is_empty();
            self.outcome.streams.push(stream.report().clone());
            let says = if broke && weather.breaks_at.is_some_and(|at| at <= Instant::now()) {
                match says {
                    Some(says) => says,
                    // Not a word about it.
                    None => return,
                }
            } else if broke && !*self.line.hung_up.borrow() {
                CallStatus::InProgress
            } else {
                CallStatus::Completed
            };
            let word = if says == CallStatus::InProgress { "in-progress" } else { "completed" };
            let document = self.after_stream(word).await;
            match self.stream_of(&document) {
                None => return self.over("completed").await,
                Some(_) if says == CallStatus::Completed => self.problem("L7: a call that was over was taken up again"),
                Some(next) => url = next,
            }
            let Some(back) = call.faults.comes_back_after else { return };
            sleep(back).await;
            stream = stream.next_stream(&format!("MZ{number}"), self.zero.elapsed());
        }
    }

    /// How the next stream's wire is, and what is said when it breaks.
    fn weather(&self) -> (Weather, Option<CallStatus>) {
        let rings = self.line.rings_at;
        let now = Instant::now();
        let breaks = self.line.plan.call.faults.stream_breaks.iter().map(|(at, says)| (rings + *at, *says));
        let (breaks_at, says) = breaks.filter(|(at, _)| *at > now).min_by_key(|(at, _)| *at).unzip();
        let stalls = self.line.plan.carrier_stalls.iter();
        let stalls = stalls.map(|span| rings + span.start..rings + span.end).collect();
        (Weather { stalls, breaks_at, silent_from: None }, says.flatten())
    }

    /// The media socket, or the status by which it is refused.
    async fn dial(&self, url: &str, weather: Weather) -> Result<WebSocketStream<Rough>, u16> {
        let (ours, theirs) = duplex(MEDIA_BUFFER);
        let limits = Limits { connections: 1, head: Duration::from_secs(10) };
        tokio::task::spawn_local(serve_one(theirs, self.router.clone(), limits));
        let mut request = url.into_client_request().expect("a URL");
        let signature = HeaderValue::try_from(sign(AUTH_TOKEN, url, &[])).expect("base64");
        request.headers_mut().insert("x-twilio-signature", signature);
        match client_async(request, Rough::new(ours, weather)).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(_) => Err(0),
        }
    }

    async fn run_stream(&self, stream: &mut FakeStream, socket: &mut WebSocketStream<Rough>) {
        let mut hung_up = self.line.hung_up.subscribe();
        let garbage = self.line.plan.garbage.iter().map(|at| self.line.rings_at + *at);
        let mut garbage: Vec<Instant> = garbage.filter(|at| *at > Instant::now()).collect();
        garbage.sort();
        garbage.reverse();
        let mut stopped_at = None;
        let (mut sink, mut source) = socket.split();
        loop {
            while let Some(sent) = stream.poll(self.zero.elapsed()) {
                match sent {
                    Sent::Text(text) => {
                        let mut sending = pin!(sink.send(Message::text(text)));
                        // What comes is read also where nothing can be written.
                        let written = loop {
                            tokio::select! {
                                biased;
                                written = &mut sending => break written,
                                received = source.next() => if !self.take(stream, received) { return },
                            }
                        };
                        if written.is_err() {
                            return stream.receive_close(self.zero.elapsed());
                        }
                    }
                    Sent::Close => {
                        let drained = async {
                            let _ = sink.close().await;
                            while let Some(Ok(_)) = source.next().await {}
                        };
                        let _ = timeout(CLOSE_MAX, drained).await;
                        return;
                    }
                }
            }
            if stream.is_over() {
                stopped_at.get_or_insert(Instant::now() + CLOSE_MAX);
            }
            let due = stream.poll_timeout().map(|due| self.zero + due).into_iter();
            let due = due.chain(garbage.last().copied()).chain(stopped_at).min();
            let due = due.unwrap_or_else(|| Instant::now() + CLOSE_MAX);
            tokio::select! {
                biased;
                _ = hung_up.wait_for(|over| *over), if !stream.is_over() => stream.stop(self.zero.elapsed()),
                received = source.next() => if !self.take(stream, received) { return },
                () = sleep_until(due) => {
                    if stopped_at.is_some_and(|at| at <= Instant::now()) {
                        return;
                    }
                    if garbage.last().is_some_and(|at| *at <= Instant::now()) {
                        let nonsense = [Message::text("{\"event\":"), Message::binary(vec![0, 159]), Message::text("[]")];
                        let at = garbage.len();
                        garbage.pop();
                        let _ = sink.send(nonsense[at % 3].clone()).await;
                    }
                }
            }
        }
    }

    /// What came of the server. False: nothing more will.
    fn take(&self, stream: &mut FakeStream, received: Option<Result<Message, Error>>) -> bool {
        let now = self.zero.elapsed();
        match received {
            Some(Ok(Message::Text(text))) => stream.receive(&text, now),
            Some(Ok(Message::Binary(_))) => stream.receive_binary(now),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => {
                stream.receive_close(now);
                return false;
            }
        }
        true
    }

    async fn after_stream(&mut self, word: &str) -> String {
        let form = form(&self.line.call_sid, self.index, word);
        let (status, document) = post(&self.router, &self.origin, "/twilio/after-stream", &form).await;
        if status != 200 {
            self.problem(format!("after-stream was answered {status}"));
        }
        document
    }

    /// Says that the call is over, unless that gets lost.
    async fn over(&mut self, word: &str) {
        if !self.line.plan.call.faults.no_last_status {
            self.status(word).await;
        }
    }

    async fn status(&mut self, word: &str) {
        let form = form(&self.line.call_sid, self.index, word);
        let (status, _) = post(&self.router, &self.origin, "/twilio/status", &form).await;
        if status != 204 {
            self.problem(format!("a status was answered {status}"));
        }
    }
}

/// What happens to a call besides: status callbacks, and the operator.
async fn happenings(line: Rc<Line>, router: Router, origin: String, calls: Calls) {
    let faults = &line.plan.call.faults;
    let statuses = faults.statuses.iter().map(|(at, status)| (*at, Err(*status)));
    // What was played is compared with what the model said, and tones are ours.
    let operator = faults.operator.iter().filter(|(_, input)| !matches!(input, OperatorInput::Press(_)));
    let operator = operator.map(|(at, input)| (*at, Ok(input.clone())));
    let mut all: Vec<(Duration, Result<OperatorInput, CallStatus>)> = statuses.chain(operator).collect();
    all.sort_by_key(|(at, _)| *at);
    for (number, (at, what)) in all.into_iter().enumerate() {
        sleep_until(line.rings_at + at).await;
        match what {
            Ok(input) => _ = calls.tell(&line.call_sid, Input::Operator(input)),
            Err(status) => {
                let mut form = form(&line.call_sid, 0, word(status));
                form.push(("SequenceNumber".into(), number.to_string()));
                post(&router, &origin, "/twilio/status", &form).await;
            }
        }
    }
}

fn word(status: CallStatus) -> &'static str {
    match status {
        CallStatus::Ringing => "ringing",
        CallStatus::InProgress => "in-progress",
        CallStatus::Completed => "completed",
        CallStatus::Busy => "busy",
        CallStatus::NoAnswer => "no-answer",
        CallStatus::Failed => "failed",
        CallStatus::Canceled => "canceled",
    }
}

fn form(call_sid: &str, index: usize, status: &str) -> Vec<(String, String)> {
    let fields = [
        ("AccountSid", "AC1"),
        ("CallSid", call_sid),
        ("From", "+15005550001"),
        ("To", &number(index)),
        ("CallStatus", status),
    ];
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// A signed webhook; its answer is there before anything else happens.
async fn post(router: &Router, origin: &str, path: &str, form: &[(String, String)]) -> (u16, String) {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-twilio-signature", sign(AUTH_TOKEN, &format!("{origin}{path}"), form))
        .extension(ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 1))))
        .body(Body::from(body))
        .expect("a request");
    let Ok(answer) = TowerToHyperService::new(router.clone()).call(request).await;
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 64 * 1024).await.unwrap_or_default();
    (status, String::from_utf8_lossy(&body).into_owned())
}
