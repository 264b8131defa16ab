//! Twilio over real sockets, against a server of a few lines. Nothing sleeps: each step waits for what it needs.

#![expect(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use call::MarkId;
use call::wire::twilio::{self as wire, FromCarrier};
use sim::carrier::signature::sign;
use sim::carrier::stream::{CallerStep, StreamEnd, StreamOptions};
use sim::carrier::twilio::{CallOptions, CallReport, EndedBy, FakeTwilio, HangUpFault, Settings};

const PUBLIC: &str = "https://calls.example.org";

#[tokio::test]
async fn a_call_that_the_server_hangs_up() {
    let settings = Settings { hang_up_fault: Some((HangUpFault::Fails, 1)), ..public() };
    let server = Server::start(settings, |_| stream_document(""), Talk::HangUpByRest).await;
    let options = CallOptions {
        status_callback: Some("/twilio/status".into()),
        form: vec![("CallerName".into(), "Åsa & co".into())],
        ..Default::default()
    };
    let report = server.call([CallerStep::Press('1')], options).await;

    assert_eq!(report.problems, [""; 0]);
    assert_eq!((report.ended_by, report.status), (EndedBy::Rest, "completed"));
    let stream = &report.streams[0];
    assert_eq!(stream.end, Some(StreamEnd::Stopped));
    assert_eq!(stream.violations, [""; 0]);
    assert_eq!((stream.received.frames, stream.received.late), (1, 0));
    assert!(stream.marks[0].returned_at >= Some(stream.audible[0].end), "not before the audio was played");
    assert!(stream.played.windows(800).any(|heard| heard == [0x55; 800]));
    assert_eq!(
        report.rest.iter().map(|request| request.answered).collect::<Vec<_>>(),
        [Some(500), Some(200), Some(400)]
    );

    // The action is asked although the call is over; callbacks came as often as the call changed.
    let asked = report.documents.iter().map(|document| (&*document.url, document.field("CallStatus").unwrap()));
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [
            ("https://calls.example.org/twilio/voice", "ringing"),
            ("https://calls.example.org/twilio/after-stream", "completed"),
        ]
    );
    assert_eq!(progress(&report), ["0 initiated", "1 ringing", "2 in-progress", "3 completed"]);
    assert_eq!(
        server.seen(),
        ["start token=<1>", "dtmf 1", "mark 0.1", "rest 500", "rest 200", "rest 400", "stop", "closed"]
    );
}

#[tokio::test]
async fn a_call_that_is_taken_up_again() {
    // The server closes the socket; the document after the stream connects a second one.
    let after_stream = |status: &str| match status {
        "completed" => String::from("<Response/>"),
        _ => stream_document(""),
    };
    let server = Server::start(Settings::default(), after_stream, Talk::CloseFirst).await;
    let script = [
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(10) },
        CallerStep::Pause(Duration::from_millis(30)),
        CallerStep::HangUp,
    ];
    let report = server.call(script, CallOptions::default()).await;

    assert_eq!(report.problems, [""; 0]);
    assert_eq!(report.ended_by, EndedBy::Caller);
    let ends: Vec<_> = report.streams.iter().map(|stream| stream.end.unwrap()).collect();
    assert_eq!(ends, [StreamEnd::ServerClosed, StreamEnd::CallerHungUp]);
    assert_ne!(report.streams[0].stream_sid, report.streams[1].stream_sid);
    let asked: Vec<_> = report.documents.iter().map(|document| document.field("CallStatus").unwrap()).collect();
    assert_eq!(asked, ["ringing", "in-progress", "completed"]);
}

#[tokio::test]
async fn a_hang_up_that_is_never_answered_leaves_the_call_alone() {
    let settings = Settings { hang_up_fault: Some((HangUpFault::Hangs, 1)), ..Default::default() };
    let document = |status: &str| match status {
        "ringing" => stream_document(""),
        _ => String::from("<Response><Say>Goodbye</Say></Response>"),
    };
    let server = Server::start(settings, document, Talk::HangUpAndClose).await;
    let report = server.call([], CallOptions::default()).await;
    assert_eq!(report.ended_by, EndedBy::Document);
    assert_eq!(report.streams[0].end, Some(StreamEnd::ServerClosed));
    assert_eq!(report.rest.iter().map(|request| request.answered).collect::<Vec<_>>(), [None]);
    assert_eq!(report.said, ["Goodbye"]);
}

#[tokio::test]
async fn streams_have_callbacks_of_their_own() {
    let document = |_: &str| stream_document("").replace("<Stream", "<Stream statusCallback=\"/twilio/status\"");
    let server = Server::start(public(), document, Talk::Listen).await;
    let report = server.call([CallerStep::HangUp], CallOptions::default()).await;
    let mut events: Vec<_> =
        report.callbacks.iter().map(|callback| (callback.status, callback.field("StreamEvent").unwrap())).collect();
    events.sort_unstable();
    assert_eq!(events, [(Some(204), "stream-started"), (Some(204), "stream-stopped")]);
}

#[tokio::test]
async fn frames_come_at_absolute_times() {
    let server = Server::start(Settings::default(), |_| stream_document(""), Talk::Listen).await;
    let options = CallOptions {
        stream: StreamOptions { limit: Duration::from_millis(505), ..Default::default() },
        ..Default::default()
    };
    let report = server.call([], options).await;
    assert_eq!((report.ended_by, report.streams[0].frames_sent), (EndedBy::Limit, 25));
    let lasted = report.streams[0].ended_at.unwrap() - report.streams[0].started_at;
    assert_eq!(lasted, Duration::from_millis(505), "each thing happens at its own time, however late it is looked at");
}

#[tokio::test]
async fn a_call_that_is_turned_away() {
    let reject = |_: &str| String::from("<Response><Reject reason=\"busy\"/></Response>");
    let server = Server::start(Settings::default(), reject, Talk::Listen).await;
    let options = CallOptions { status_callback: Some("/twilio/status".into()), ..Default::default() };
    let report = server.call([], options).await;
    assert_eq!((report.ended_by, report.status, report.answered_at), (EndedBy::Document, "busy", None));
    assert_eq!(progress(&report), ["0 initiated", "1 ringing", "2 busy"]);
}

#[tokio::test]
async fn a_server_that_is_wrong_in_every_way_ends_the_call() {
    for (document, problem) in [
        ("<Response><Connect><Stream url='ws://example.org/'/></Connect></Response>", "31922"),
        ("<Response><Connect><Stream url='wss://192.0.2.1/'/></Connect></Response>", "31910"),
        ("<Response><Connect><Stream url='ws://127.0.0.1:1/'/></Connect></Response>", "31902"),
        ("<Response><Connect><Stream url='nowhere'/></Connect></Response>", "31920"),
        ("<Response><Connect><Stream url='ws://127.0.0.1:1/?a=1'/></Connect></Response>", "query"),
        ("<Response><Redirect>/twilio/voice</Redirect></Response>", "more than 20 documents"),
        ("<Response><Redirect>/twilio/status</Redirect></Response>", "answered 204"),
        ("<Response><Redirect>/plain</Redirect></Response>", "12300"),
        ("<Response><Redirect>/nowhere</Redirect></Response>", "answered 404"),
        ("<Response><Enqueue/></Response>", "<Enqueue>"),
        ("{}", "12100"),
    ] {
        let server = Server::start(Settings::default(), |_| document.to_owned(), Talk::Listen).await;
        let report = server.call([], CallOptions::default()).await;
        assert!(report.problems.iter().any(|text| text.contains(problem)), "{problem}: {:?}", report.problems);
        assert!(matches!(report.ended_by, EndedBy::Document | EndedBy::Failure));
    }
    // Nobody there at all.
    let twilio = FakeTwilio::start(Settings::default()).await.unwrap();
    let report =
        twilio.call("http://127.0.0.1:1", "+15005550001", "+15005550006", vec![], CallOptions::default()).await;
    assert_eq!((report.ended_by, report.documents[0].status), (EndedBy::Failure, None));
}

#[tokio::test]
async fn the_rest_api_knows_its_account_and_its_calls() {
    let twilio = FakeTwilio::start(Settings::default()).await.unwrap();
    let account = Settings::default().account_sid;
    for (account, token, call, expected) in [
        (&*account, "0123456789abcdef0123456789abcdef", "CA9.json", (404, 20404)),
        (&*account, "wrong", "CA9.json", (401, 20003)),
        ("AC2", "0123456789abcdef0123456789abcdef", "CA9.json", (404, 20404)),
        (&*account, "0123456789abcdef0123456789abcdef", "CA9", (404, 20404)),
    ] {
        let url = format!("{}/2010-04-01/Accounts/{account}/Calls/{call}", twilio.api_url());
        assert_eq!(hang_up(&url, account, token).await, expected, "{url}");
    }
}

// Helpers.

/// What the server does with a media stream.
#[derive(Clone, Copy, PartialEq)]
enum Talk {
    Listen,
    /// Plays 100 ms, and hangs up by REST, thrice, when they were heard.
    HangUpByRest,
    /// Asks once for a hang-up, and closes the socket without an answer.
    HangUpAndClose,
    /// Closes the first socket; on the second it plays.
    CloseFirst,
}

/// A server under test, with its Twilio.
struct Server {
    twilio: FakeTwilio,
    base: String,
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    talk: Talk,
    api: String,
    base: String,
    document: Box<dyn Fn(&str) -> String + Send + Sync>,
    seen: Mutex<Vec<String>>,
}

impl Server {
    /// `document` gives what to do by `CallStatus`.
    async fn start(settings: Settings, document: impl Fn(&str) -> String + Send + Sync + 'static, talk: Talk) -> Self {
        let twilio = FakeTwilio::start(settings.clone()).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            settings,
            talk,
            api: twilio.api_url(),
            base: base.clone(),
            document: Box::new(document),
            seen: Mutex::default(),
        });
        let router = Router::new()
            .route("/twilio/voice", post(document_for))
            .route("/twilio/after-stream", post(document_for))
            .route("/twilio/status", post(async || StatusCode::NO_CONTENT))
            .route("/plain", post(async || "<Response/>"))
            .route("/twilio/media", get(media))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { twilio, base, shared }
    }

    async fn call(&self, script: impl Into<Vec<CallerStep>>, options: CallOptions) -> CallReport {
        fn can_be_spawned<T: Send>(task: T) -> T {
            task
        }
        let call = self.twilio.call(&self.base, "+15005550001", "+15005550006", script.into(), options);
        let call = can_be_spawned(call);
        tokio::time::timeout(Duration::from_secs(20), call).await.expect("a call ends")
    }

    fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Shared {
    fn see(&self, what: impl Into<String>) {
        self.seen.lock().unwrap().push(what.into());
    }

    fn public(&self) -> String {
        self.settings.public_origin.clone().unwrap_or_else(|| self.base.clone())
    }
}

async fn document_for(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Response {
    let url = format!("{}{uri}", shared.public());
    if headers["x-twilio-signature"] != sign(&shared.settings.auth_token, &url, &form) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let status = form.iter().find(|(name, _)| name == "CallStatus").unwrap();
    let ws = shared.public().replacen("http", "ws", 1);
    ([("content-type", "text/xml")], (shared.document)(&status.1).replace("WS", &ws)).into_response()
}

async fn media(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let url = format!("{}{uri}", shared.public().replacen("http", "ws", 1));
    if headers["x-twilio-signature"] != sign(&shared.settings.auth_token, &url, &[]) {
        return StatusCode::FORBIDDEN.into_response();
    }
    upgrade.on_upgrade(async move |socket| talk(shared, socket).await)
}

async fn talk(shared: Arc<Shared>, mut socket: WebSocket) {
    let (mut call_sid, mut out) = (String::new(), String::new());
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        match wire::read(&text).unwrap() {
            FromCarrier::Start(start) => {
                let (name, value) = &start.custom_parameters[0];
                shared.see(format!("start {name}={value}"));
                call_sid = start.call_sid.into_owned();
                let first = shared.seen.lock().unwrap().len() == 1;
                if shared.talk == Talk::CloseFirst && first {
                    return;
                }
                if shared.talk != Talk::Listen {
                    wire::write_media(&mut out, &start.stream_sid, &[0x55; 800]);
                    socket.send(Message::text(std::mem::take(&mut out))).await.unwrap();
                    wire::write_mark(&mut out, &start.stream_sid, MarkId { epoch: 0, seq: 1 });
                    socket.send(Message::text(std::mem::take(&mut out))).await.unwrap();
                }
            }
            FromCarrier::Mark { name, .. } => {
                shared.see(format!("mark {name}"));
                let account = &shared.settings.account_sid;
                let url = format!("{}/2010-04-01/Accounts/{account}/Calls/{call_sid}.json", shared.api);
                let hang_up = || hang_up(&url, account, &shared.settings.auth_token);
                if shared.talk == Talk::HangUpAndClose {
                    _ = tokio::time::timeout(Duration::from_millis(500), hang_up()).await.expect_err("no answer");
                    return;
                }
                let times = if shared.talk == Talk::HangUpByRest { 3 } else { 0 };
                for _ in 0..times {
                    let (status, _) = hang_up().await;
                    shared.see(format!("rest {status}"));
                }
            }
            FromCarrier::Dtmf { digit, .. } => shared.see(format!("dtmf {digit}")),
            FromCarrier::Stop { .. } => shared.see("stop"),
            FromCarrier::Connected | FromCarrier::Media { .. } | FromCarrier::Unknown => {}
        }
    }
    shared.see("closed");
}

/// Asks for the end of a call; the status, and Twilio's code.
async fn hang_up(url: &str, account: &str, token: &str) -> (u16, u64) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.post(url).basic_auth(account, Some(token)).form(&[("Status", "completed")]);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body: serde_json::Value = response.json().await.unwrap();
    (status, body["code"].as_u64().unwrap_or_default())
}

fn public() -> Settings {
    Settings { public_origin: Some(PUBLIC.into()), ..Default::default() }
}

fn stream_document(after: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><Response><Connect action="/twilio/after-stream"><Stream url="WS/twilio/media">
           <Parameter name="token" value="&lt;1&gt;"/></Stream></Connect>{after}</Response>"#
    )
}

/// The call's status callbacks in the order in which they were meant, all of them answered.
fn progress(report: &CallReport) -> Vec<String> {
    let callbacks = report.callbacks.iter();
    let mut seen: Vec<_> = callbacks
        .map(|callback| {
            assert_eq!(callback.status, Some(204));
            assert!(callback.field("Timestamp").unwrap().ends_with("+0000"), "{callback:?}");
            format!("{} {}", callback.field("SequenceNumber").unwrap(), callback.field("CallStatus").unwrap())
        })
        .collect();
    seen.sort();
    seen
}
