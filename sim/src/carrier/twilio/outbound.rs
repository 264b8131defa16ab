//! Calls that the server places: `POST Calls.json`, what the callee does, and the callbacks about it.
//!
//! Relied on: twilio.com/docs/voice/api/call-resource, /docs/voice/answering-machine-detection. Error codes are those that
//! are commonly reported. Left out: `Twiml` and `ApplicationSid`, synchronous machine detection, the queue of one call a
//! second, recording by the create's parameters.

use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Form, Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Answer, Aside, CallOptions, CallReport, Callbacks, CallerStep, EndedBy, FakeTwilio, Parties, Poster, Registered,
    Shared, authorized, refusal,
};

/// What becomes of a call that the server places. The default: it rings for a moment, and nobody answers.
#[derive(Clone, Debug)]
pub struct Callee {
    pub create: CreateAnswer,
    pub outcome: Outcome,
    /// From the create to the first ring.
    pub queued: Duration,
    /// From the first ring to the outcome.
    pub rings: Duration,
    /// `AnsweredBy`, and how long after the answer that is known; told if the server asked for it.
    pub answered_by: (&'static str, Duration),
    /// How late the status callbacks come, in turn and over again: so they overtake one another.
    pub callbacks_late: Vec<Duration>,
    /// Each status callback comes twice, the second this much later.
    pub callbacks_twice: Option<Duration>,
    /// No status callback comes at all.
    pub callbacks_lost: bool,
    /// Of an answered call. Its status callback is what the server asks for.
    pub options: CallOptions,
}

impl Default for Callee {
    fn default() -> Self {
        Callee {
            create: CreateAnswer::Created,
            outcome: Outcome::NoAnswer,
            queued: Duration::ZERO,
            rings: Duration::from_millis(5),
            answered_by: ("human", Duration::from_millis(5)),
            callbacks_late: Vec::new(),
            callbacks_twice: None,
            callbacks_lost: false,
            options: CallOptions::default(),
        }
    }
}

impl Callee {
    /// One who answers, and then does this.
    pub fn answers(script: Vec<CallerStep>) -> Self {
        Callee { outcome: Outcome::Answers(script), ..Callee::default() }
    }

    pub fn is(outcome: Outcome) -> Self {
        Callee { outcome, ..Callee::default() }
    }
}

#[derive(Clone, Debug)]
pub enum Outcome {
    Answers(Vec<CallerStep>),
    Busy,
    NoAnswer,
    /// The network says no, with this SIP status.
    Fails(u16),
    /// Somebody takes it back in the carrier's console.
    Canceled,
}

/// How a create is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateAnswer {
    Created,
    /// The call is made; the answer never comes.
    CreatedButHangs,
    /// The call is made; the answer is status 500.
    CreatedButFails,
    /// No call is made, and no answer comes.
    Hangs,
    /// No call is made: status 429.
    TooMany,
    /// No call is made: status 400, and the carrier's code.
    Refused(u32),
}

/// A request to place a call that was found good.
#[derive(Clone, Debug)]
pub struct Create {
    pub from: String,
    pub to: String,
    pub form: Vec<(String, String)>,
    /// Creates to this number before this one.
    pub earlier: usize,
}

type Casting = dyn Fn(&Create) -> Callee + Send + Sync;

/// Where calls are placed.
pub(super) struct Desk {
    casting: Mutex<Option<Arc<Casting>>>,
    /// Every create that was found good, those that made no call among them.
    creates: Mutex<Vec<Create>>,
    /// Calls that were made, when they are over.
    reports: Mutex<Vec<CallReport>>,
    /// How many of these there are.
    over: watch::Sender<usize>,
    tasks: Mutex<JoinSet<()>>,
    /// Where the server really is, if it is known by another origin.
    server: Mutex<Option<String>>,
    /// What Twilio would ignore or warn about.
    problems: Mutex<Vec<String>>,
}

impl Default for Desk {
    fn default() -> Self {
        Desk {
            casting: Mutex::default(),
            creates: Mutex::default(),
            reports: Mutex::default(),
            over: watch::channel(0).0,
            tasks: Mutex::default(),
            server: Mutex::default(),
            problems: Mutex::default(),
        }
    }
}

impl Desk {
    pub(super) fn close(&self) {
        locked(&self.tasks).abort_all();
    }

    /// Notes what Twilio would ignore.
    pub(super) fn note(&self, problem: String) {
        locked(&self.problems).push(problem);
    }

    /// Where on this machine the server is that is known by this origin.
    pub(super) fn server_for(&self, origin: &str) -> String {
        locked(&self.server).clone().unwrap_or_else(|| origin.to_owned())
    }
}

impl FakeTwilio {
    /// Who is called when the server calls somebody. Until this is said, nobody answers.
    pub fn callees(&self, casting: impl Fn(&Create) -> Callee + Send + Sync + 'static) {
        *locked(&self.shared.desk.casting) = Some(Arc::new(casting));
    }

    /// Where the server really is, for calls that it places, or that are dialled, while it believes to be reached by
    /// [`super::Settings::public_origin`].
    pub fn server_is_at(&self, base: &str) {
        *locked(&self.shared.desk.server) = Some(base.trim_end_matches('/').to_owned());
    }

    /// The creates so far that were found good, whatever was answered.
    pub fn creates(&self) -> Vec<Create> {
        locked(&self.shared.desk.creates).clone()
    }

    /// How many calls there are or were, in either direction.
    pub fn calls_made(&self) -> usize {
        self.shared.calls().len()
    }

    /// Waits until so many calls that the server placed are over, callbacks included, and returns their reports.
    pub async fn placed(&self, count: usize) -> Vec<CallReport> {
        let mut over = self.shared.desk.over.subscribe();
        // The sender is there as long as we are.
        let _ = over.wait_for(|over| *over >= count).await;
        locked(&self.shared.desk.reports).clone()
    }

    /// What Twilio would have ignored or warned about in requests to its REST API.
    pub fn desk_problems(&self) -> Vec<String> {
        locked(&self.shared.desk.problems).clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// The call resource.

/// A call as the REST API shows it.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    sid: String,
    from: String,
    to: String,
    direction: &'static str,
    /// RFC 2822.
    created: String,
    pub status: &'static str,
}

impl Resource {
    pub(super) fn new(sid: &str, from: &str, to: &str, direction: &'static str) -> Self {
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
        Resource {
            sid: sid.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            direction,
            created: jiff::fmt::rfc2822::to_string(&now).unwrap_or_default(),
            status: "queued",
        }
    }

    fn json(&self, account: &str) -> Value {
        let uri = format!("/2010-04-01/Accounts/{account}/Calls/{}", self.sid);
        json!({
            "sid": self.sid, "account_sid": account, "parent_call_sid": null, "to": self.to, "to_formatted": self.to,
            "from": self.from, "from_formatted": self.from, "phone_number_sid": null, "status": self.status,
            "start_time": null, "end_time": null, "duration": null, "price": null, "price_unit": "USD",
            "direction": self.direction, "answered_by": null, "api_version": "2010-04-01", "forwarded_from": null,
            "group_sid": null, "caller_name": null, "queue_time": "0", "trunk_sid": null, "uri": format!("{uri}.json"),
            "date_created": self.created, "date_updated": self.created,
            "subresource_uris": { "recordings": format!("{uri}/Recordings.json") },
        })
    }
}

// The REST API.

const EVENTS: [&str; 4] = ["initiated", "ringing", "answered", "completed"];

/// Parameters of the create that Twilio knows (6.1 of our notes), those among them that nothing is done with here too.
const PARAMETERS: [&str; 32] = [
    "To",
    "From",
    "Url",
    "Method",
    "FallbackUrl",
    "FallbackMethod",
    "StatusCallback",
    "StatusCallbackMethod",
    "StatusCallbackEvent",
    "Timeout",
    "TimeLimit",
    "SendDigits",
    "Record",
    "RecordingChannels",
    "RecordingTrack",
    "RecordingStatusCallback",
    "RecordingStatusCallbackMethod",
    "RecordingStatusCallbackEvent",
    "Trim",
    "MachineDetection",
    "MachineDetectionTimeout",
    "MachineDetectionSpeechThreshold",
    "MachineDetectionSpeechEndThreshold",
    "MachineDetectionSilenceTimeout",
    "AsyncAmd",
    "AsyncAmdStatusCallback",
    "AsyncAmdStatusCallbackMethod",
    "CallerId",
    "CallToken",
    "CallReason",
    "Byoc",
    "ClientNotificationUrl",
];

/// POST `/Calls.json`.
pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Answer {
    if let Err(answer) = may(&shared, &account, &headers) {
        return answer;
    }
    let (from, to, url) = match check(&form) {
        Ok(checked) => checked,
        Err((code, message)) => return refusal(StatusCode::BAD_REQUEST, code, &message),
    };
    for (name, _) in form.iter().filter(|(name, _)| !PARAMETERS.contains(&name.as_str())) {
        shared.desk.note(format!("the create has a parameter that Twilio does not know: {name}"));
    }
    let create = {
        let mut creates = locked(&shared.desk.creates);
        let earlier = creates.iter().filter(|earlier| earlier.to == to).count();
        let create = Create { from, to, form, earlier };
        creates.push(create.clone());
        create
    };
    let casting = locked(&shared.desk.casting).clone();
    let callee = casting.map(|casting| casting(&create)).unwrap_or_default();
    let answer = callee.create;
    match answer {
        CreateAnswer::Hangs => return std::future::pending().await,
        CreateAnswer::TooMany => return refusal(StatusCode::TOO_MANY_REQUESTS, 20429, "Too Many Requests"),
        CreateAnswer::Refused(code) => {
            return refusal(StatusCode::BAD_REQUEST, code, &format!("{} cannot be called", create.to));
        }
        CreateAnswer::Created | CreateAnswer::CreatedButHangs | CreateAnswer::CreatedButFails => {}
    }
    let made = place(&shared, create, callee, url);
    match answer {
        CreateAnswer::CreatedButHangs => std::future::pending().await,
        CreateAnswer::CreatedButFails => refusal(StatusCode::INTERNAL_SERVER_ERROR, 20500, "internal error"),
        _ => (StatusCode::CREATED, Json(made.json(&account))),
    }
}

/// GET `/Calls.json`: of its parameters, `To`, `From`, `Status` and `PageSize`. The newest first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    if let Err(answer) = may(&shared, &account, &headers) {
        return answer;
    }
    let query = pairs(query);
    let wanted = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let fits = |name, value: &str| wanted(name).is_none_or(|wanted| wanted == value);
    let size = wanted("PageSize").and_then(|size| size.parse().ok()).unwrap_or(50).min(1_000);
    let calls = shared.calls();
    let found = calls
        .values()
        .rev()
        .map(|registered| &registered.resource)
        .filter(|call| fits("To", &call.to) && fits("From", &call.from) && fits("Status", call.status));
    let found: Vec<Value> = found.take(size).map(|call| call.json(&account)).collect();
    (StatusCode::OK, Json(json!({ "calls": found, "page": 0, "page_size": size, "next_page_uri": null })))
}

/// The parameters of a query.
pub(super) fn pairs(query: Option<String>) -> Vec<(String, String)> {
    let query = Url::parse(&format!("http://list/?{}", query.unwrap_or_default()));
    query.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

/// GET `/Calls/{sid}.json`.
pub(super) async fn fetch(
    State(shared): State<Arc<Shared>>,
    Path((account, call)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    if let Err(answer) = may(&shared, &account, &headers) {
        return answer;
    }
    let calls = shared.calls();
    match call.strip_suffix(".json").and_then(|sid| calls.get(sid)) {
        Some(registered) => (StatusCode::OK, Json(registered.resource.json(&account))),
        None => refusal(StatusCode::NOT_FOUND, 20404, "the requested resource was not found"),
    }
}

pub(super) fn may(shared: &Shared, account: &str, headers: &HeaderMap) -> Result<(), Answer> {
    if !authorized(&shared.settings, headers) {
        return Err(refusal(StatusCode::UNAUTHORIZED, 20003, "Authenticate"));
    }
    if account != shared.settings.account_sid {
        return Err(refusal(StatusCode::NOT_FOUND, 20404, "the requested resource was not found"));
    }
    Ok(())
}

/// `From`, `To` and `Url`, or the carrier's code and words.
fn check(form: &[(String, String)]) -> Result<(String, String, Url), (u32, String)> {
    let get = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let wrong = |code, what: &str| Err((code, what.to_owned()));
    let is_number = |text: &str| {
        let digits = text
            .strip_prefix('+')
            .is_some_and(|digits| (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits || text.starts_with("sip:") || text.starts_with("client:")
    };
    let is_address = |text: &str| {
        Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.contains('_'))
        })
    };
    let Some(to) = get("To") else { return wrong(21201, "No 'To' number is specified") };
    let Some(from) = get("From") else { return wrong(21213, "No 'From' number is specified") };
    if !is_number(to) {
        return Err((21211, format!("The phone number you are attempting to call, {to}, is not valid.")));
    }
    if !is_number(from) {
        return Err((21212, format!("The source phone number provided, {from}, is not valid.")));
    }
    let Some(url) = get("Url").filter(|url| is_address(url)).and_then(|url| Url::parse(url).ok()) else {
        return wrong(21205, "Url is not a valid URL");
    };
    for name in ["StatusCallback", "AsyncAmdStatusCallback"] {
        if get(name).is_some_and(|callback| !is_address(callback)) {
            return Err((21609, format!("{name} is not a valid URL")));
        }
    }
    let events = form.iter().filter(|(name, _)| name == "StatusCallbackEvent");
    if let Some((_, event)) = events.into_iter().find(|(_, event)| !EVENTS.contains(&event.as_str())) {
        return Err((21626, format!("{event} is no StatusCallbackEvent")));
    }
    let one_of = |name, allowed: &[&str]| get(name).is_none_or(|value| allowed.contains(&value));
    let within = |name, most: u32| {
        get(name).is_none_or(|text| text.parse::<u32>().is_ok_and(|value| (1..=most).contains(&value)))
    };
    let methods = ["GET", "POST"];
    if !(one_of("MachineDetection", &["Enable", "DetectMessageEnd"])
        && one_of("AsyncAmd", &["true", "false"])
        && one_of("Method", &methods)
        && one_of("StatusCallbackMethod", &methods)
        && one_of("AsyncAmdStatusCallbackMethod", &methods)
        && within("Timeout", 600)
        && within("TimeLimit", 86_400))
    {
        return wrong(20001, "a parameter is not valid");
    }
    Ok((from.to_owned(), to.to_owned(), url))
}

// The call.

/// Makes a call and lets it run.
fn place(shared: &Arc<Shared>, create: Create, callee: Callee, url: Url) -> Resource {
    let Create { from, to, form, .. } = create;
    let get = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let all = |name: &str| form.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect();
    let mut events: Vec<String> = all("StatusCallbackEvent");
    if events.is_empty() {
        events.push("completed".to_owned());
    }
    let is_async = get("MachineDetection").is_some() && get("AsyncAmd").as_deref() == Some("true");
    let amd_callback = get("AsyncAmdStatusCallback").filter(|_| is_async).and_then(|url| Url::parse(&url).ok());
    let options = CallOptions { status_callback: get("StatusCallback"), ..callee.options.clone() };

    let call_sid = shared.name("CA");
    let resource = Resource::new(&call_sid, &from, &to, "outbound-api");
    let (end, _) = watch::channel(None);
    let origin = url.origin().ascii_serialization();
    let base = shared.desk.server_for(&origin);
    let post = Poster { shared: Arc::clone(shared), base, zero: Instant::now(), limit: options.request_limit };
    let registered = Registered { end: end.clone(), rest: Vec::new(), resource: resource.clone(), post: post.clone() };
    shared.calls().insert(call_sid.clone(), registered);
    let parties = Parties { call_sid, from: &from, to: &to, direction: "outbound-api" };
    let mut run = super::Run::new(post, Callbacks::every(origin), parties, Vec::new(), options, end);
    run.placed = Some(Run { callee, events, amd_callback });
    let shared_too = Arc::clone(shared);
    locked(&shared.desk.tasks).spawn(async move {
        let report = run.ring(url).await;
        locked(&shared_too.desk.reports).push(report);
        shared_too.desk.over.send_modify(|over| *over += 1);
    });
    resource
}

/// What is special about the run of a call that the server placed.
pub(super) struct Run {
    callee: Callee,
    events: Vec<String>,
    /// Where who answered is told, if it was asked for.
    amd_callback: Option<Url>,
}

impl Run {
    /// Whether the server asked for the callback of this status.
    pub(super) fn wants(&self, status: &str, is_over: bool) -> bool {
        let event = match status {
            "in-progress" => "answered",
            // Whatever the end.
            _ if is_over => "completed",
            status => status,
        };
        self.events.iter().any(|wanted| wanted == event)
    }

    pub(super) fn sip_response(&self, is_over: bool) -> Option<(String, String)> {
        match self.callee.outcome {
            Outcome::Fails(code) if is_over => Some(("SipResponseCode".to_owned(), code.to_string())),
            _ => None,
        }
    }

    /// How late this callback comes, each time that it does.
    pub(super) fn deliveries(&self, sequence: u32) -> Vec<Duration> {
        if self.callee.callbacks_lost {
            return Vec::new();
        }
        let late = &self.callee.callbacks_late;
        let first = late.get(sequence as usize % late.len().max(1)).copied().unwrap_or_default();
        iter::once(first).chain(self.callee.callbacks_twice.map(|later| first + later)).collect()
    }
}

impl super::Run {
    /// Rings, and does what the callee does.
    async fn ring(mut self, url: Url) -> CallReport {
        let callee = match &self.placed {
            Some(placed) => placed.callee.clone(),
            None => Callee::default(),
        };
        self.progress("initiated");
        self.wait(callee.queued).await;
        self.progress("ringing");
        self.wait(callee.rings).await;
        let taken_back = self.end.borrow().is_some();
        let by = match callee.outcome {
            // It is over; by whom is known.
            _ if taken_back => EndedBy::Rest,
            Outcome::Answers(script) => {
                self.script = script;
                self.answer();
                self.detect(callee.answered_by);
                self.follow(Method::POST, url).await
            }
            Outcome::Busy => self.not_answered("busy"),
            Outcome::NoAnswer => self.not_answered("no-answer"),
            Outcome::Fails(_) => self.not_answered("failed"),
            Outcome::Canceled => self.not_answered("canceled"),
        };
        self.end(by).await
    }

    fn not_answered(&mut self, status: &'static str) -> EndedBy {
        self.report.status = status;
        EndedBy::Failure
    }

    async fn wait(&self, duration: Duration) {
        let mut end = self.end.subscribe();
        tokio::select! {
            () = sleep_until(Instant::now() + duration) => {}
            _ = end.wait_for(Option::is_some) => {}
        }
    }

    /// Tells who answered, if that was asked for.
    fn detect(&mut self, (answered_by, after): (&'static str, Duration)) {
        let Some(url) = self.placed.as_ref().and_then(|placed| placed.amd_callback.clone()) else { return };
        let mut form = vec![
            ("AccountSid".to_owned(), self.post.shared.settings.account_sid.clone()),
            ("CallSid".to_owned(), self.report.call_sid.clone()),
        ];
        form.push(("AnsweredBy".to_owned(), answered_by.to_owned()));
        form.push(("MachineDetectionDuration".to_owned(), after.as_millis().to_string()));
        self.call_back_later(after, url, form);
    }

    pub(super) fn call_back_later(&mut self, delay: Duration, url: Url, form: Vec<(String, String)>) {
        let post = self.post.clone();
        self.background.spawn(async move {
            sleep(delay).await;
            Aside::Callback(post.post(url, form).await)
        });
    }
}
