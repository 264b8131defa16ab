//! Twilio over real sockets: it rings, follows the documents it is given, runs the media streams they ask for in real
//! time, calls back, and has its REST API on a port of this machine.
//!
//! Relied on: twilio.com/docs/voice/twiml (what a document does), /docs/voice/media-streams, /docs/voice/api/call-resource
//! (hang-up, status callbacks), /docs/usage/webhooks/webhooks-security. Left out: TLS, fallback URLs, and the verbs that
//! [`twiml::Verb`] does not have. Calls that the server places are in [`outbound`].
//!
//! Whatever the server under test does is written down in the [`CallReport`]; nothing it does makes this panic or wait
//! without end.

mod numbers;
pub mod outbound;

use std::collections::BTreeMap;
use std::future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Form, Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next as Handler};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

use super::recordings::{self, Recordings};
use super::signature::{SharedKey, sign};
use super::stream::{CallerStep, FakeStream, Sent, StreamEnd, StreamFacts, StreamOptions, StreamReport};
use super::twiml::{self, Verb};
use numbers::Numbers;
use outbound::{Desk, Resource};

/// The account, and how its carrier treats everybody.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `AC…`: user of the REST API.
    pub account_sid: String,
    /// Its password, and the key of the signatures.
    pub auth_token: String,
    /// Signs in place of the auth token.
    pub shared_key: Option<SharedKey>,
    /// `SK…` and its secret: what the REST API wants in place of account and token.
    pub api_key: Option<(String, String)>,
    /// Origin that the server believes to be reached by, `https://calls.example.org`. Requests to it are signed as such
    /// and sent to the base given to [`FakeTwilio::call`]. `None`: that base itself.
    pub public_origin: Option<String>,
    /// What becomes of the first hang-up requests, and of how many.
    pub hang_up_fault: Option<(HangUpFault, u32)>,
    /// So many times a recording that is complete is not to be had yet.
    pub recordings_not_yet: u32,
    /// How far its clock is ahead of ours, in seconds; negative if it is behind.
    pub clock_ahead_s: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            account_sid: "AC00000000000000000000000000000001".into(),
            auth_token: "0123456789abcdef0123456789abcdef".into(),
            shared_key: None,
            api_key: None,
            public_origin: None,
            hang_up_fault: None,
            recordings_not_yet: 0,
            clock_ahead_s: 0,
        }
    }
}

/// How a hang-up request fails. The call goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HangUpFault {
    /// Answered with status 500.
    Fails,
    /// Never answered.
    Hangs,
}

/// What one call is like. The default is a well-behaved call without callbacks.
#[derive(Clone, Debug)]
pub struct CallOptions {
    pub stream: StreamOptions,
    /// Where the call's progress is posted: `initiated`, `ringing`, `in-progress`, `completed`. Absolute, or a path.
    pub status_callback: Option<String>,
    /// More fields of the webhook: `StirVerstat`, `CallerName`, `FromCity`, …
    pub form: Vec<(String, String)>,
    /// The call ends after this long.
    pub limit: Duration,
    /// How long a request may take. Twilio waits 15 s.
    pub request_limit: Duration,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            stream: StreamOptions::default(),
            status_callback: None,
            form: Vec::new(),
            limit: Duration::from_secs(600),
            request_limit: Duration::from_secs(15),
        }
    }
}

/// Everything that happened in a call. Times are since [`FakeTwilio::call`] began; those of the streams, too.
#[derive(Clone, Debug)]
pub struct CallReport {
    pub call_sid: String,
    /// In order; more than one if the server took the call up again.
    pub streams: Vec<StreamReport>,
    /// Requests for documents, and what came back.
    pub documents: Vec<Exchange>,
    /// Status callbacks of the call and its streams, as they were answered: order them by `SequenceNumber`.
    pub callbacks: Vec<Exchange>,
    /// Texts of `<Say>`.
    pub said: Vec<String>,
    /// Numbers of `<Dial>`.
    pub dialled: Vec<String>,
    /// Requests to the REST API about this call.
    pub rest: Vec<RestRequest>,
    pub answered_at: Option<Duration>,
    pub ended_at: Duration,
    pub ended_by: EndedBy,
    /// The last `CallStatus`.
    pub status: &'static str,
    /// What Twilio would have complained about, or a caller, other than violations of the streams.
    pub problems: Vec<String>,
}

/// A request of Twilio's.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The URL as it was signed.
    pub url: String,
    pub form: Vec<(String, String)>,
    pub at: Duration,
    pub took: Duration,
    /// `None`: no answer, and `body` says why.
    pub status: Option<u16>,
    /// Without its parameters; empty if there was none.
    pub content_type: String,
    pub body: String,
}

impl Exchange {
    /// The value of a field of the form.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A request to Twilio's REST API that named a call of ours and had the right password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestRequest {
    /// `Calls/{sid}` or `Calls/{sid}/Recordings`.
    pub resource: String,
    pub form: Vec<(String, String)>,
    /// `None`: it was left without an answer.
    pub answered: Option<u16>,
}

/// Whose doing the end of a call was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndedBy {
    /// The script, or the caller's patience.
    Caller,
    /// A request to the REST API.
    Rest,
    /// `<Hangup>`, `<Reject>`, or nothing left to do.
    Document,
    /// [`CallOptions::limit`].
    Limit,
    /// No document could be had.
    Failure,
}

/// A Twilio of one account. Its REST API ends with it.
pub struct FakeTwilio {
    shared: Arc<Shared>,
    api: SocketAddr,
    server: JoinHandle<()>,
}

pub(super) struct Shared {
    pub(super) settings: Settings,
    faults_left: AtomicU32,
    rest_is_dead: AtomicBool,
    /// Calls and streams are numbered.
    named: AtomicU64,
    /// For requests to the server.
    http: reqwest::Client,
    /// Where calls are placed.
    desk: Desk,
    numbers: Numbers,
    /// Calls that are, and calls that were: a hang-up is answered differently.
    calls: Mutex<BTreeMap<String, Registered>>,
    pub(super) recordings: Recordings,
}

pub(super) struct Registered {
    /// Set once, by whoever ends the call first.
    pub(super) end: watch::Sender<Option<EndedBy>>,
    pub(super) rest: Vec<RestRequest>,
    resource: Resource,
    /// For callbacks that are not of the call's own making.
    pub(super) post: Poster,
}

impl FakeTwilio {
    /// Opens the REST API on a free port of the loopback interface.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        // The only provider in the process; whoever comes second finds the first one's.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // The server under test is on this machine: a proxy from the environment would only be in the way.
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        let shared = Arc::new(Shared {
            http,
            desk: Desk::default(),
            numbers: Numbers::default(),
            rest_is_dead: AtomicBool::new(false),
            faults_left: AtomicU32::new(settings.hang_up_fault.map_or(0, |(_, times)| times)),
            recordings: Recordings::new(settings.recordings_not_yet),
            settings,
            named: AtomicU64::new(0),
            calls: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let api = listener.local_addr()?;
        let router = Router::new()
            .route("/2010-04-01/Accounts/{account}", get(show_account))
            .route("/2010-04-01/Accounts/{account}/Calls.json", post(outbound::create).get(outbound::list))
            .route("/2010-04-01/Accounts/{account}/Calls/{call}", post(update_call).get(outbound::fetch))
            .route(
                "/2010-04-01/Accounts/{account}/Calls/{call}/Recordings.json",
                post(recordings::create).get(recordings::list),
            )
            .route("/2010-04-01/Accounts/{account}/Recordings/{recording}", get(recordings::fetch))
            .route("/2010-04-01/Accounts/{account}/IncomingPhoneNumbers.json", get(numbers::list))
            .route(
                "/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{number}",
                get(numbers::fetch).post(numbers::update),
            )
            .layer(middleware::from_fn_with_state(Arc::clone(&shared), unless_dead))
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // Ends with the task; an error of one connection is that connection's.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { shared, api, server })
    }

    /// Origin of the REST API, in place of `https://api.twilio.com`.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// From now on the REST API answers nothing but status 503. Calls go on, and webhooks.
    pub fn kill_rest(&self) {
        self.shared.rest_is_dead.store(true, Ordering::Relaxed);
    }

    /// Names of the calls that there were and are, in order.
    pub fn call_sids(&self) -> Vec<String> {
        self.shared.calls().keys().cloned().collect()
    }

    /// Waits until so many callbacks about recordings were answered, and returns them.
    pub async fn recording_callbacks(&self, count: usize) -> Vec<Exchange> {
        self.shared.recordings.callbacks(count).await
    }

    /// Calls `to` from `from`: asks `{base}/twilio/voice` what to do, and does it until the call is over. `base` is an
    /// origin, `http://127.0.0.1:8080`.
    pub async fn call(
        &self,
        base: &str,
        from: &str,
        to: &str,
        script: Vec<CallerStep>,
        options: CallOptions,
    ) -> CallReport {
        let origin = self.shared.settings.public_origin.as_deref().unwrap_or(base).trim_end_matches('/').to_owned();
        let url = Url::parse(&format!("{origin}/twilio/voice"));
        let webhook = Webhook {
            method: Method::POST,
            url: url.map_err(|error| format!("11200: the base is no origin: {error}")),
        };
        self.ring(base, (from, to), script, options, webhook, Callbacks::every(origin)).await
    }

    /// Somebody calls: asks the webhook what to do, and does it until the call is over.
    async fn ring(
        &self,
        base: &str,
        (from, to): (&str, &str),
        script: Vec<CallerStep>,
        options: CallOptions,
        webhook: Webhook,
        callbacks: Callbacks,
    ) -> CallReport {
        let call_sid = self.shared.name("CA");
        let (end, _) = watch::channel(None);
        let post = Poster {
            shared: Arc::clone(&self.shared),
            base: base.trim_end_matches('/').to_owned(),
            zero: Instant::now(),
            limit: options.request_limit,
        };
        let resource = Resource::new(&call_sid, from, to, "inbound");
        let registered = Registered { end: end.clone(), rest: Vec::new(), resource, post: post.clone() };
        self.shared.calls().insert(call_sid.clone(), registered);
        let parties = Parties { call_sid, from, to, direction: "inbound" };
        Run::new(post, callbacks, parties, script, options, end).call(webhook).await
    }
}

impl Drop for FakeTwilio {
    fn drop(&mut self) {
        self.server.abort();
        self.shared.desk.close();
        // They know this Twilio, which knows them.
        self.shared.calls().clear();
    }
}

impl Shared {
    /// A sid that nothing else of this Twilio has.
    pub(super) fn name(&self, prefix: &str) -> String {
        format!("{prefix}{:032x}", self.named.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The headers that say whose request this is.
    fn signatures(&self, url: &str, form: &[(String, String)]) -> Vec<(&'static str, String)> {
        match &self.settings.shared_key {
            None => vec![("x-twilio-signature", sign(&self.settings.auth_token, url, form))],
            Some(key) => vec![
                ("x-twilio-signature", key.sign(url, form)),
                ("x-twilio-webhooks-signature-settings", key.settings()),
            ],
        }
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, BTreeMap<String, Registered>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a call, if nobody has.
fn end_call(end: &watch::Sender<Option<EndedBy>>, by: EndedBy) -> bool {
    end.send_if_modified(|ended| {
        let first = ended.is_none();
        ended.get_or_insert(by);
        first
    })
}

// A call.

/// Redirects in a circle end here.
const MOST_DOCUMENTS: usize = 20;

/// Twilio's limit of a document, 64 KB.
const MOST_DOCUMENT_BYTES: usize = 64 * 1_024;

/// What a document of ours may call itself.
const DOCUMENT_TYPES: [&str; 2] = ["text/xml", "application/xml"];

/// How long the server may take for the other half of a close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// A server that does not read for so long is too slow (31930).
const SEND_LIMIT: Duration = Duration::from_secs(1);

struct Run {
    post: Poster,
    callbacks: Callbacks,
    zero: Instant,
    deadline: Instant,
    options: CallOptions,
    /// What the caller has yet to do.
    script: Vec<CallerStep>,
    end: watch::Sender<Option<EndedBy>>,
    /// Fields of every request about the call, but its status.
    base_form: Vec<(String, String)>,
    /// Number of the next status callback.
    progress: u32,
    /// The end was noted.
    is_over: bool,
    /// What goes on beside the call: callbacks, and sockets until they are closed.
    background: JoinSet<Aside>,
    /// What is special about a call that the server placed.
    placed: Option<outbound::Run>,
    report: CallReport,
}

/// Who calls whom.
struct Parties<'a> {
    call_sid: String,
    from: &'a str,
    to: &'a str,
    direction: &'static str,
}

/// Where it is asked what to do with a call, or why nobody can be.
struct Webhook {
    method: Method,
    url: Result<Url, String>,
}

/// How the call's progress is told.
struct Callbacks {
    method: Method,
    /// As the server is known to the public; a callback may be a path.
    origin: String,
    /// Only the end is told, which is all that a number's `StatusCallback` hears of.
    only_completed: bool,
}

impl Callbacks {
    fn every(origin: String) -> Self {
        Callbacks { method: Method::POST, origin, only_completed: false }
    }
}

enum Aside {
    Callback(Exchange),
    Closed { stream: usize, late: u64, in_time: bool },
}

/// What comes after a verb.
enum Next {
    Verb,
    Document(Url),
    End(EndedBy),
}

impl Run {
    fn new(
        post: Poster,
        callbacks: Callbacks,
        parties: Parties<'_>,
        script: Vec<CallerStep>,
        options: CallOptions,
        end: watch::Sender<Option<EndedBy>>,
    ) -> Self {
        let Parties { call_sid, from, to, direction } = parties;
        let mut base_form = Vec::new();
        for (name, value) in [
            ("AccountSid", post.shared.settings.account_sid.as_str()),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", &call_sid),
            ("Called", to),
            ("Caller", from),
            ("Direction", direction),
            ("From", from),
            ("To", to),
        ] {
            base_form.push((name.to_owned(), value.to_owned()));
        }
        base_form.extend(options.form.iter().cloned());
        let zero = post.zero;
        Run {
            post,
            callbacks,
            zero,
            deadline: zero + options.limit,
            options,
            script,
            end,
            base_form,
            progress: 0,
            is_over: false,
            background: JoinSet::new(),
            placed: None,
            report: CallReport {
                call_sid,
                streams: Vec::new(),
                documents: Vec::new(),
                callbacks: Vec::new(),
                said: Vec::new(),
                dialled: Vec::new(),
                rest: Vec::new(),
                answered_at: None,
                ended_at: Duration::ZERO,
                ended_by: EndedBy::Failure,
                status: "queued",
                problems: Vec::new(),
            },
        }
    }

    async fn call(mut self, webhook: Webhook) -> CallReport {
        self.progress("initiated");
        self.progress("ringing");
        let by = match webhook.url {
            Ok(url) => self.follow(webhook.method, url).await,
            Err(problem) => self.fail(problem),
        };
        self.end(by).await
    }

    /// The call is over, by whoever was first; what goes on beside it is waited for.
    async fn end(mut self, by: EndedBy) -> CallReport {
        end_call(&self.end, by);
        self.over();
        while let Some(aside) = self.background.join_next().await {
            match aside {
                Ok(Aside::Callback(exchange)) => {
                    if !exchange.status.is_some_and(|status| (200..300).contains(&status)) {
                        self.report.problems.push(format!("15003: {} answered {:?}", exchange.url, exchange.status));
                    }
                    self.report.callbacks.push(exchange);
                }
                Ok(Aside::Closed { stream, late, in_time }) => {
                    self.report.streams[stream].received.late += late;
                    if !in_time {
                        self.report.problems.push(format!("stream {stream}: the server did not close its socket"));
                    }
                }
                Err(error) => self.report.problems.push(format!("the fake itself failed: {error}")),
            }
        }
        if let Some(registered) = self.post.shared.calls().get_mut(&self.report.call_sid) {
            self.report.rest = std::mem::take(&mut registered.rest);
        }
        self.report
    }

    /// Follows documents, beginning with that of `url`, until the call is over.
    async fn follow(&mut self, mut method: Method, mut url: Url) -> EndedBy {
        for _ in 0..MOST_DOCUMENTS {
            let Some(verbs) = self.fetch(method, &url).await else { return EndedBy::Failure };
            // That of the first: the verbs of a document have no other here.
            method = Method::POST;
            let mut next = Next::Verb;
            for verb in verbs {
                if let Some(by) = *self.end.borrow() {
                    return by;
                }
                next = self.execute(verb, &url).await;
                if !matches!(next, Next::Verb) {
                    break;
                }
            }
            match next {
                Next::Verb => return EndedBy::Document,
                Next::Document(another) => url = another,
                Next::End(by) => return by,
            }
        }
        self.fail(format!("more than {MOST_DOCUMENTS} documents"))
    }

    async fn execute(&mut self, verb: Verb, document: &Url) -> Next {
        match verb {
            Verb::Hangup => Next::End(EndedBy::Document),
            Verb::Reject { busy } => {
                if self.report.answered_at.is_some() {
                    self.report.problems.push("<Reject> of a call that was answered".into());
                } else {
                    // What status a plain rejection leaves is not documented.
                    self.report.status = if busy { "busy" } else { "no-answer" };
                }
                Next::End(EndedBy::Document)
            }
            Verb::Redirect(to) => match document.join(&to) {
                Ok(url) => Next::Document(url),
                Err(error) => Next::End(self.fail(format!("12100: <Redirect>: {error}"))),
            },
            Verb::Pause(pause) => {
                self.answer();
                let until = (Instant::now() + pause).min(self.deadline);
                let mut end = self.end.subscribe();
                tokio::select! {
                    () = sleep_until(until) => {}
                    _ = end.wait_for(Option::is_some) => {}
                }
                if Instant::now() >= self.deadline { Next::End(EndedBy::Limit) } else { Next::Verb }
            }
            Verb::Say(text) => {
                self.answer();
                self.report.said.push(text);
                Next::Verb
            }
            Verb::Dial(number) => {
                self.answer();
                self.report.dialled.push(number);
                Next::Verb
            }
            Verb::Other(name) => {
                self.report.problems.push(format!("12200: <{name}> is more than this carrier can do"));
                Next::Verb
            }
            Verb::Connect { action, stream } => {
                self.answer();
                self.run_stream(stream, document).await;
                let over = *self.end.borrow();
                if over.is_some() {
                    self.over();
                }
                if let Some(action) = action {
                    match document.join(&action) {
                        // Asked in any case; what it answers is for a call that still is.
                        Ok(url) if over.is_none() => return Next::Document(url),
                        Ok(url) => _ = self.fetch(Method::POST, &url).await,
                        Err(error) => self.report.problems.push(format!("12100: action: {error}")),
                    }
                }
                over.map_or(Next::Verb, Next::End)
            }
        }
    }

    /// Asks for a document.
    async fn fetch(&mut self, method: Method, url: &Url) -> Option<Vec<Verb>> {
        let exchange = self.post.send(method, url.clone(), self.form()).await;
        let verbs = match exchange.status {
            Some(200) if !DOCUMENT_TYPES.contains(&&*exchange.content_type) => {
                Err(format!("12300: {url} answered with {:?}", exchange.content_type))
            }
            Some(200) => twiml::parse(&exchange.body).map_err(|error| format!("12100: {url}: {error}")),
            Some(status) => Err(format!("11200: {url} answered {status}")),
            None => Err(format!("11200: {url}: {}", exchange.body)),
        };
        self.report.documents.push(exchange);
        match verbs {
            Ok(verbs) => Some(verbs),
            Err(problem) => {
                self.report.problems.push(problem);
                None
            }
        }
    }

    fn form(&self) -> Vec<(String, String)> {
        let mut form = self.base_form.clone();
        form.push(("CallStatus".into(), self.report.status.into()));
        form
    }

    fn answer(&mut self) {
        if self.report.answered_at.is_none() {
            self.report.answered_at = Some(self.zero.elapsed());
            self.progress("in-progress");
        }
    }

    /// Notes, once, that the call is over, and tells.
    fn over(&mut self) {
        let Some(by) = *self.end.borrow() else { return };
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.report.ended_at = self.zero.elapsed();
        self.report.ended_by = by;
        let canceled = self.placed.is_some() && self.report.answered_at.is_none();
        match self.report.status {
            "busy" | "no-answer" | "failed" | "canceled" => self.progress(self.report.status),
            _ if canceled => self.progress("canceled"),
            _ => self.progress("completed"),
        }
    }

    /// Posts a status callback, and does not wait for its answer.
    fn progress(&mut self, status: &'static str) {
        // `initiated` exists in callbacks only.
        self.report.status = if status == "initiated" { "queued" } else { status };
        let sequence = self.progress;
        self.progress += 1;
        if let Some(registered) = self.post.shared.calls().get_mut(&self.report.call_sid) {
            registered.resource.status = self.report.status;
        }
        if self.placed.as_ref().is_some_and(|placed| !placed.wants(status, self.is_over)) {
            return;
        }
        if self.callbacks.only_completed && !self.is_over {
            return;
        }
        let Some(callback) = &self.options.status_callback else { return };
        let url = match Url::parse(&self.callbacks.origin).and_then(|origin| origin.join(callback)) {
            Ok(url) => url,
            Err(error) => return self.report.problems.push(format!("the status callback is no URL: {error}")),
        };
        let mut form = self.base_form.clone();
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
        form.push(("CallStatus".into(), status.into()));
        form.push(("CallbackSource".into(), "call-progress-events".into()));
        form.push(("SequenceNumber".into(), sequence.to_string()));
        form.push(("Timestamp".into(), jiff::fmt::rfc2822::to_string(&now).unwrap_or_default()));
        if self.is_over {
            let talked = self.report.answered_at.map_or(Duration::ZERO, |at| self.report.ended_at - at);
            form.push(("CallDuration".into(), talked.as_secs().to_string()));
            form.push(("Duration".into(), talked.as_secs().div_ceil(60).to_string()));
        }
        if let Some(placed) = &self.placed {
            form.extend(placed.sip_response(self.is_over));
            for delay in placed.deliveries(sequence) {
                self.call_back_later(delay, url.clone(), form.clone());
            }
            return;
        }
        let (post, method) = (self.post.clone(), self.callbacks.method.clone());
        self.background.spawn(async move { Aside::Callback(post.send(method, url, form).await) });
    }

    fn call_back(&mut self, url: Url, form: Vec<(String, String)>) {
        let post = self.post.clone();
        self.background.spawn(async move { Aside::Callback(post.post(url, form).await) });
    }

    fn fail(&mut self, problem: String) -> EndedBy {
        self.report.problems.push(problem);
        EndedBy::Failure
    }

    // A stream.

    /// Runs a media stream until either side ends it. Whether the call is over, too, `self.end` says afterwards.
    async fn run_stream(&mut self, stream: twiml::Stream, document: &Url) {
        let stream_sid = self.post.shared.name("MZ");
        let about = vec![
            ("AccountSid".to_owned(), self.post.shared.settings.account_sid.clone()),
            ("CallSid".to_owned(), self.report.call_sid.clone()),
            ("StreamSid".to_owned(), stream_sid.clone()),
            ("StreamName".to_owned(), stream.name.clone().unwrap_or_else(|| stream_sid.clone())),
        ];
        let callback = stream.status_callback.as_ref().and_then(|callback| document.join(callback).ok());
        let mut socket = match self.dial(&stream.url).await {
            Ok(socket) => socket,
            Err(error) => {
                self.stream_event(callback, about, "stream-error", Some(&error));
                self.report.problems.push(error);
                return;
            }
        };
        self.stream_event(callback.clone(), about.clone(), "stream-started", None);

        let facts = StreamFacts {
            account_sid: self.post.shared.settings.account_sid.clone(),
            call_sid: self.report.call_sid.clone(),
            stream_sid,
            custom_parameters: stream.parameters,
        };
        let mut options = self.options.stream.clone();
        options.limit = options.limit.min(self.deadline.saturating_duration_since(Instant::now()));
        let mut fake = FakeStream::new(facts, std::mem::take(&mut self.script), options, self.zero.elapsed());
        self.drive(&mut fake, &mut socket).await;

        let by = match fake.report().end {
            Some(StreamEnd::CallerHungUp | StreamEnd::CallerGaveUp) => Some(EndedBy::Caller),
            Some(StreamEnd::TooLong) => Some(EndedBy::Limit),
            Some(StreamEnd::Stopped | StreamEnd::ServerClosed) | None => None,
        };
        if let Some(by) = by {
            end_call(&self.end, by);
        }
        let (report, rest) = fake.into_report();
        self.script = rest;
        self.report.streams.push(report);
        let stream = self.report.streams.len() - 1;
        self.background.spawn(async move {
            let mut late = 0;
            let closed = timeout(CLOSE_LIMIT, async {
                while let Some(Ok(message)) = socket.next().await {
                    late += u64::from(message.is_text());
                }
            });
            let in_time = closed.await.is_ok();
            Aside::Closed { stream, late, in_time }
        });
        self.stream_event(callback, about, "stream-stopped", None);
    }

    /// Opens the socket of a stream. The error is Twilio's.
    async fn dial(&mut self, url: &str) -> Result<WebSocketStream<TcpStream>, String> {
        let mut url = Url::parse(url).map_err(|error| format!("31920: the stream's URL: {error}"))?;
        if url.query().is_some() {
            self.report.problems.push("the stream's URL had a query, which Twilio drops".into());
            url.set_query(None);
        }
        let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if url.scheme() != "wss" && !(url.scheme() == "ws" && loopback) {
            return Err(format!("31922: a stream by {}", url.scheme()));
        }
        let signatures = self.post.shared.signatures(url.as_str(), &[]);
        let local = self.post.local(&url);
        if local.scheme() != "ws" {
            return Err(format!("31910: {local} is neither public origin nor plain, and this carrier has no TLS"));
        }
        let address = (local.host_str().unwrap_or_default().to_owned(), local.port_or_known_default().unwrap_or(80));
        let mut request = local.as_str().into_client_request().map_err(|error| format!("31920: {error}"))?;
        let headers = request.headers_mut();
        headers.insert("user-agent", HeaderValue::from_static("Twilio.TmeWs/1.0"));
        for (name, value) in signatures {
            headers.insert(name, HeaderValue::from_str(&value).map_err(|error| format!("31920: {error}"))?);
        }
        // Small, since a bench has thousands of these and tungstenite fills the whole of it at each read.
        let config = WebSocketConfig::default().read_buffer_size(4_096);
        let handshake = async {
            let tcp = TcpStream::connect(address).await.map_err(|error| format!("31902: {error}"))?;
            tcp.set_nodelay(true).map_err(|error| format!("31902: {error}"))?;
            tokio_tungstenite::client_async_with_config(request, tcp, Some(config))
                .await
                .map(|(socket, _)| socket)
                .map_err(|error| format!("31920: {error}"))
        };
        timeout(HANDSHAKE_LIMIT, handshake).await.unwrap_or_else(|_| Err("31901: the handshake took too long".into()))
    }

    /// Joins the stream to its socket until it is over. Its deadlines are absolute: lateness does not add up.
    async fn drive(&mut self, fake: &mut FakeStream, socket: &mut WebSocketStream<TcpStream>) {
        let mut end = self.end.subscribe();
        loop {
            while let Some(sent) = fake.poll(self.zero.elapsed()) {
                let message = match sent {
                    Sent::Text(text) => Message::text(text),
                    Sent::Close => Message::Close(None),
                };
                match timeout(SEND_LIMIT, socket.send(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => fake.receive_close(self.zero.elapsed()),
                    // The message may still go out later; what Twilio drops in its place is not documented.
                    Err(_) => self.report.problems.push("31930: the server does not read".into()),
                }
            }
            let Some(due) = fake.poll_timeout() else { return };
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => fake.receive(&text, self.zero.elapsed()),
                    Some(Ok(Message::Binary(_))) => fake.receive_binary(self.zero.elapsed()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => fake.receive_close(self.zero.elapsed()),
                },
                () = sleep_until(self.zero + due) => {}
                _ = end.wait_for(Option::is_some), if !fake.is_over() => fake.stop(self.zero.elapsed()),
            }
        }
    }

    /// Posts a callback of the stream (twilio.com/docs/voice/twiml/stream), if it wants any.
    fn stream_event(
        &mut self,
        callback: Option<Url>,
        mut form: Vec<(String, String)>,
        event: &str,
        error: Option<&str>,
    ) {
        let Some(url) = callback else { return };
        form.push(("StreamEvent".into(), event.into()));
        form.extend(error.map(|error| ("StreamError".into(), error.into())));
        form.push(("Timestamp".into(), jiff::Timestamp::now().to_string()));
        self.call_back(url, form);
    }
}

// Requests to the server.

#[derive(Clone)]
pub(super) struct Poster {
    shared: Arc<Shared>,
    /// Where the server really is.
    base: String,
    zero: Instant,
    limit: Duration,
}

impl Poster {
    pub(super) async fn post(&self, url: Url, form: Vec<(String, String)>) -> Exchange {
        self.send(Method::POST, url, form).await
    }

    /// Sends a signed form; by GET in the query. A failure is an exchange without a status, whose body says why.
    async fn send(&self, method: Method, mut url: Url, form: Vec<(String, String)>) -> Exchange {
        url.set_fragment(None);
        let at = self.zero.elapsed();
        let body = if method == Method::GET {
            url.query_pairs_mut().extend_pairs(&form);
            Vec::new()
        } else {
            form.clone()
        };
        let signatures = self.shared.signatures(url.as_str(), &body);
        let answer = async {
            let mut request = self.shared.http.request(method.clone(), self.local(&url));
            if method != Method::GET {
                request = request.form(&body);
            }
            let mut response = signatures
                .into_iter()
                .fold(request, |request, (name, value)| request.header(name, value))
                .header("I-Twilio-Idempotency-Token", self.shared.name("idempotency-"))
                .header(header::USER_AGENT, "TwilioProxy/1.1")
                .send()
                .await?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() > MOST_DOCUMENT_BYTES {
                    break;
                }
            }
            let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let content_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().to_owned();
            let body = String::from_utf8_lossy(&body).into_owned();
            Ok::<_, reqwest::Error>((Some(response.status().as_u16()), content_type, body))
        };
        let none = |why: String| (None, String::new(), why);
        let (status, content_type, body) = match timeout(self.limit, answer).await {
            Ok(answer) => answer.unwrap_or_else(|error| none(error.to_string())),
            Err(_) => none("no answer in time".into()),
        };
        Exchange { url: url.into(), form, at, took: self.zero.elapsed() - at, status, content_type, body }
    }

    /// Where a URL of the public origin is on this machine; others stay as they are.
    fn local(&self, url: &Url) -> Url {
        let public = self.shared.settings.public_origin.as_deref().and_then(|origin| Url::parse(origin).ok());
        let (Some(public), Ok(base)) = (public, Url::parse(&self.base)) else { return url.clone() };
        let same_host = public.host() == url.host() && public.port_or_known_default() == url.port_or_known_default();
        if !same_host {
            return url.clone();
        }
        let mut local = url.clone();
        let scheme = if url.scheme().starts_with("ws") { "ws" } else { "http" };
        let moved = local.set_scheme(scheme).and_then(|()| {
            local.set_host(base.host_str()).map_err(drop)?;
            local.set_port(base.port())
        });
        moved.map_or_else(|()| url.clone(), |()| local)
    }
}

// The REST API.

pub(super) type Answer = (StatusCode, Json<Value>);

async fn unless_dead(State(shared): State<Arc<Shared>>, request: Request, next: Handler) -> Response {
    if shared.rest_is_dead.load(Ordering::Relaxed) {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, 20503, "Service unavailable").into_response();
    }
    next.run(request).await
}

/// The account itself (twilio.com/docs/iam/api/account), dated by this Twilio's clock. An API key may not see it, unless it
/// is of the kind "Main" (twilio.com/docs/iam/api-keys/keys-in-console), which ours is not.
async fn show_account(State(shared): State<Arc<Shared>>, Path(account): Path<String>, headers: HeaderMap) -> Response {
    let settings = &shared.settings;
    let answer = if account.strip_suffix(".json") != Some(&settings.account_sid) {
        refusal(StatusCode::NOT_FOUND, 20404, "not found")
    } else if !shows(&headers, &settings.account_sid, &settings.auth_token) {
        refusal(StatusCode::UNAUTHORIZED, 20003, "Authenticate")
    } else {
        (StatusCode::OK, Json(json!({ "sid": settings.account_sid, "status": "active", "type": "Full" })))
    };
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(settings.clock_ahead_s);
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    ([(header::DATE, date)], answer).into_response()
}

/// POST `/Calls/{sid}.json`: of its fields, only `Status=completed` does anything here.
async fn update_call(
    State(shared): State<Arc<Shared>>,
    Path((account, call)): Path<(String, String)>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Answer {
    let Some(call) = call.strip_suffix(".json").filter(|_| account == shared.settings.account_sid) else {
        return refusal(StatusCode::NOT_FOUND, 20404, "not found");
    };
    if !authorized(&shared.settings, &headers) {
        return refusal(StatusCode::UNAUTHORIZED, 20003, "Authenticate");
    }
    let asked_for = |status| form.iter().any(|(name, value)| name == "Status" && value == status);
    let canceled = asked_for("canceled");
    let hang_up = canceled || asked_for("completed");
    let fault = if hang_up { take_fault(&shared) } else { None };
    let answer = {
        let mut calls = shared.calls();
        let Some(registered) = calls.get_mut(call) else {
            return refusal(StatusCode::NOT_FOUND, 20404, "the requested resource was not found");
        };
        let answer = match fault {
            Some(HangUpFault::Hangs) => None,
            Some(HangUpFault::Fails) => Some(refusal(StatusCode::INTERNAL_SERVER_ERROR, 20500, "internal error")),
            None if registered.end.borrow().is_some() => {
                Some(refusal(StatusCode::BAD_REQUEST, 21220, "Call is not in-progress. Cannot redirect."))
            }
            None => {
                let answered = registered.resource.status == "in-progress";
                // A call that was answered is not canceled any more.
                let hang_up = hang_up && !(canceled && answered);
                if hang_up {
                    end_call(&registered.end, EndedBy::Rest);
                    // Whoever asks right after this is told what this answers, though the call has still to find out.
                    if answered {
                        registered.resource.status = "completed";
                    }
                }
                let status = if hang_up { "completed" } else { registered.resource.status };
                Some((StatusCode::OK, Json(json!({ "sid": call, "account_sid": account, "status": status }))))
            }
        };
        registered.rest.push(RestRequest {
            resource: format!("Calls/{call}"),
            form,
            answered: answer.as_ref().map(|(status, _)| status.as_u16()),
        });
        answer
    };
    match answer {
        Some(answer) => answer,
        // Until the client gives up.
        None => future::pending().await,
    }
}

/// With the auth token, or with the API key; one that has an API key does not take the token.
pub(super) fn authorized(settings: &Settings, headers: &HeaderMap) -> bool {
    let (user, password) = match &settings.api_key {
        Some((sid, secret)) => (sid, secret),
        None => (&settings.account_sid, &settings.auth_token),
    };
    shows(headers, user, password)
}

fn shows(headers: &HeaderMap, user: &str, password: &str) -> bool {
    let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    headers.get(header::AUTHORIZATION).is_some_and(|value| value.as_bytes() == expected.as_bytes())
}

fn take_fault(shared: &Shared) -> Option<HangUpFault> {
    let (fault, _) = shared.settings.hang_up_fault?;
    let left = shared.faults_left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    left.is_ok().then_some(fault)
}

/// An error as the 2010-04-01 API words it.
pub(super) fn refusal(status: StatusCode, code: u32, message: &str) -> Answer {
    let body = json!({
        "code": code,
        "message": message,
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        "status": status.as_u16(),
    });
    (status, Json(body))
}
