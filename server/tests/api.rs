//! The control API: what it lists, what it places and how often, and what it says of mistakes.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::Stage;
use patchcord::config::{Config, Secret};
use patchcord::{Calls, Server};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::outbound::{Callee, Outcome};
use sim::carrier::twilio::{CallOptions, FakeTwilio, Settings};
use sim::model::{Behaviour, FakeModel, Script};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const OURS: &str = "+15005550006";
const THEIRS: &str = "+15005550001";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_listed_the_newest_first_by_what_is_asked_for() {
    let stage = stage(|_| {}).await;
    stage.carrier.callees(|create| match create.to.as_str() {
        "+15005550009" => Callee { rings: Duration::from_secs(60), ..Callee::default() },
        _ => Callee::is(Outcome::Busy),
    });
    for to in ["+15005550002", "+15005550003", "+15005550002"] {
        stage.place(json!({ "to": to })).await;
    }
    stage.calls.wait_for_finished(3).await;
    let caller = vec![CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(20) }, CallerStep::HangUp];
    let came = stage.carrier.call(&stage.base, THEIRS, OURS, caller, CallOptions::default()).await;
    assert_eq!(came.problems, [""; 0]);
    stage.calls.wait_for_finished(4).await;
    let ringing = stage.place(json!({ "to": "+15005550009" })).await;

    let all = list(&stage, "").await;
    assert_eq!(all.len(), 5);
    assert_eq!(all[0]["id"], ringing["id"]);
    let ids: Vec<&str> = all.iter().map(|call| call["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted_by(|newer, older| newer > older));
    assert_eq!(all[1]["ended_by"], "caller");
    assert!(all[1]["answered_at"].is_string() && all[2]["answered_at"].is_null());
    assert_eq!((&all[2]["ended_reason"], &all[2]["to"]), (&json!("busy"), &json!("+15005550002")));

    let second = all[3]["started_at"].as_str().unwrap();
    let since = format!("since={second}");
    let until = format!("until={second}");
    for (query, found) in [
        ("state=live", &[0][..]),
        ("state=ended", &[1, 2, 3, 4]),
        ("direction=inbound", &[1]),
        ("direction=outbound&state=ended", &[2, 3, 4]),
        ("to=%2B15005550002", &[2, 4]),
        ("from=%2B15005550001", &[1]),
        ("agent=default", &[0, 1, 2, 3, 4]),
        ("agent=nobody", &[]),
        (&since, &[0, 1, 2, 3]),
        (&until, &[4]),
        ("limit=2", &[0, 1]),
    ] {
        let wanted: Vec<&Value> = found.iter().map(|index| &all[*index]["id"]).collect();
        let listed = list(&stage, query).await;
        assert_eq!(listed.iter().map(|call| &call["id"]).collect::<Vec<_>>(), wanted, "{query}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_cursor_is_not_disturbed_by_calls_that_begin_meanwhile() {
    let stage = stage(|_| {}).await;
    stage.carrier.callees(|_| Callee::is(Outcome::Busy));
    for _ in 0..5 {
        stage.place(json!({ "to": THEIRS })).await;
    }
    let all: Vec<Value> = list(&stage, "").await.iter().map(|call| call["id"].clone()).collect();
    let (mut seen, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let page = stage.get(&format!("/api/v1/calls?{query}")).await;
        seen.extend(page["calls"].as_array().unwrap().iter().map(|call| call["id"].clone()));
        stage.place(json!({ "to": THEIRS })).await;
        let Some(next) = page["next"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(seen, all);
    stage.strike().await;
}

#[tokio::test]
async fn a_request_with_a_key_places_one_call_however_often_it_comes() {
    let stage = stage(|_| {}).await;
    stage.carrier.callees(|_| Callee::is(Outcome::Busy));
    let wanted = json!({ "to": THEIRS, "agent": "default" });
    let burst = (0..20).map(|_| stage.post("/api/v1/calls", Some(wanted.clone()), Some("key-1")));
    let answers = futures_util::future::join_all(burst).await;
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == StatusCode::CREATED), "{answers:#?}");
    stage.calls.wait_for_finished(1).await;
    // Also when it is over, and however the request is written.
    let text = format!(r#"{{ "agent" : "default",   "to":"{THEIRS}" }}"#);
    let request = reqwest::Client::new().post(format!("{}/api/v1/calls", stage.base)).body(text);
    let request = request.header("Content-Type", "application/json").header("Idempotency-Key", "key-1");
    let again = request.send().await.unwrap();
    assert_eq!(again.headers()["location"].to_str().unwrap().rsplit('/').next(), answers[0].1["id"].as_str());
    assert_eq!(again.json::<Value>().await.unwrap(), answers[0].1);
    assert_eq!(stage.carrier.creates().len(), 1);

    let (status, problem) = stage.post("/api/v1/calls", Some(json!({ "to": "+15005550002" })), Some("key-1")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem["detail"].as_str().unwrap().contains("Idempotency-Key"), "{problem}");
    let other = stage.post("/api/v1/calls", Some(wanted), Some("key-2")).await;
    assert_ne!(other.1["id"], answers[0].1["id"]);
    stage.strike().await;
}

/// A request that was refused has not used up its key, and a place that was not used is free again.
#[tokio::test]
async fn a_key_is_kept_with_its_call_and_not_before() {
    let stage = stage(|config| config.max_calls = 1).await;
    stage.carrier.callees(|_| Callee { rings: Duration::from_secs(60), ..Callee::default() });
    let wanted = || Some(json!({ "to": THEIRS }));
    let (status, first) = stage.post("/api/v1/calls", wanted(), Some("first")).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(stage.post("/api/v1/calls", wanted(), Some("second")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    // The first one's answer is had although there is no room.
    assert_eq!(stage.post("/api/v1/calls", wanted(), Some("first")).await, (StatusCode::CREATED, first.clone()));
    stage.post(&format!("/api/v1/calls/{}/hangup", first["id"].as_str().unwrap()), None, None).await;
    stage.calls.wait_for_finished(1).await;
    let (status, second) = stage.post("/api/v1/calls", wanted(), Some("second")).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_ne!(first["id"], second["id"]);
    stage.strike().await;
}

#[tokio::test]
async fn a_key_outlives_the_server() {
    let carrier = FakeTwilio::start(Settings::default()).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let wanted = json!({ "to": THEIRS });
    let mut answers = Vec::new();
    for _ in 0..2 {
        let (calls, base, stop, server) = serve(&carrier, data.path());
        let request = reqwest::Client::new().post(format!("{base}/api/v1/calls")).json(&wanted);
        let answer = request.header("Idempotency-Key", "key").send().await.unwrap().text().await.unwrap();
        if answers.is_empty() {
            calls.wait_for_finished(1).await;
        }
        let id = serde_json::from_str::<Value>(&answer).unwrap()["id"].as_str().unwrap().to_owned();
        // The record of the first one's call is had from the second one, too.
        let record = reqwest::get(format!("{base}/api/v1/calls/{id}")).await.unwrap();
        assert_eq!(record.json::<Value>().await.unwrap()["ended_reason"], "not_answered");
        answers.push(answer);
        drop(stop);
        server.await.unwrap().unwrap();
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(carrier.creates().len(), 1);
}

#[tokio::test]
async fn every_mistake_is_a_problem_that_says_what_to_do() {
    let stage = stage(|config| {
        let mut other = config.agents[0].clone();
        other.name = "front-desk".to_owned();
        other.numbers.clear();
        config.agents.push(other);
    })
    .await;
    let path = "/api/v1/calls";
    let place = |body: &str| (Method::POST, path.to_owned(), body.to_owned());
    let list = |query: &str| (Method::GET, format!("{path}?{query}"), String::new());
    let long = format!(r#"{{"to": "{}"}}"#, "1".repeat(100_000));
    let at_length = format!(r#"{{"to": "sip:{}@example.org"}}"#, "a".repeat(300));
    let cases = [
        (place(""), 400, "not JSON"),
        (place("{"), 400, "not JSON"),
        (place("{\"to\": \"\u{7}\"}"), 400, "not JSON"),
        (place(r#"{"to": "+15005550001"} {}"#), 400, "goes on"),
        (place(&long), 413, "length limit"),
        (place("[]"), 422, "invalid"),
        (place("7"), 422, "invalid type"),
        (place("{}"), 422, "missing field `to`"),
        (place(r#"{"to": null}"#), 422, "`to`: invalid type: null"),
        (place(r#"{"to": 15005550001}"#), 422, "`to`: invalid type: integer"),
        (place(r#"{"to": "+15005550001", "too": 1}"#), 422, "`too`: no such field; did you mean `to`?"),
        (place(r#"{"to": "+15005550001", "agnet": "x"}"#), 422, "did you mean `agent`?"),
        (place(r#"{"to": "+15005550001", "to": "+15005550001"}"#), 422, "duplicate field `to`"),
        (place(r#"{"to": ""}"#), 422, "`to`: not a number as +15005550006"),
        (place(r#"{"to": "15005550001"}"#), 422, "`to`: not a number"),
        (place(r#"{"to": "+0005550001"}"#), 422, "`to`: not a number"),
        (place(r#"{"to": "+1500555000112345"}"#), 422, "`to`: not a number"),
        (place(r#"{"to": "+150055"}"#), 422, "`to`: not a number"),
        (place(r#"{"to": "+1500 5550001"}"#), 422, "`to`: not a number"),
        (place(r#"{"to": "+١٥٠٠٥٥٥٠٠٠١"}"#), 422, "`to`: not a number"),
        (place(r#"{"to": "client:bob"}"#), 422, "`to`: not a number"),
        (place(r#"{"to": "sip:example.org"}"#), 422, "`to`: not a number"),
        (place(r#"{"to": "sip:a b@example.org"}"#), 422, "`to`: not a number"),
        (place(&at_length), 422, "`to`: not a number"),
        (place(r#"{"to": "+15005550001", "from": "me"}"#), 422, "`from`: not a number"),
        (place(r#"{"to": "+15005550001", "agent": "frontdesk"}"#), 422, "there are default, front-desk"),
        (place(r#"{"to": "+15005550001", "agent": "front-desk"}"#), 422, "`caller_id`"),
        (place(r#"{"to": "+15005550001", "ring_max_ms": 0}"#), 422, "`ring_max_ms`"),
        (place(r#"{"to": "+15005550001", "ring_max_ms": 900000}"#), 422, "`ring_max_ms`"),
        (place(r#"{"to": "+15005550001", "ring_max_ms": -1}"#), 422, "`ring_max_ms`: invalid"),
        (place(r#"{"to": "+15005550001", "on_machine": "hangup"}"#), 422, "expected `continue` or `hang_up`"),
        (list("stat=live"), 400, "`stat`: no such parameter; did you mean `state`?"),
        (list("state=past"), 400, "`past` is not `live` or `ended`"),
        (list("direction=up"), 400, "`inbound` or `outbound`"),
        (list("since=yesterday"), 400, "a time as 2027-01-15T08:00:00Z"),
        (list("until=2027-01-15"), 400, "a time as"),
        (list("limit=0"), 400, "1 to 200"),
        (list("limit=201"), 400, "1 to 200"),
        (list("limit=many"), 400, "1 to 200"),
        (list("limit=1&limit=2"), 400, "given twice"),
        (list("cursor=x"), 400, "what a page gave as `next`"),
        (list("cursor=AQIDBA"), 400, "what a page gave as `next`"),
        (list("cursor=%00%FF"), 400, "what a page gave as `next`"),
        ((Method::GET, format!("{path}/7"), String::new()), 404, "no such call"),
        ((Method::GET, format!("{path}/%FF"), String::new()), 404, "no such call"),
        ((Method::GET, format!("{path}/00000000-0000-0000-0000-000000000000"), String::new()), 404, "no such call"),
        ((Method::POST, format!("{path}/00000000-0000-0000-0000-000000000000/hangup"), String::new()), 404, "no such"),
        ((Method::DELETE, path.to_owned(), String::new()), 405, "not for this method"),
        ((Method::GET, format!("{path}/7/hangup"), String::new()), 405, "not for this method"),
    ];
    let client = reqwest::Client::new();
    for ((method, path, body), status, part) in cases {
        let request = client.request(method.clone(), format!("{}{path}", stage.base)).body(body.clone());
        let response = request.header("Content-Type", "application/json").send().await.unwrap();
        assert_problem(response, status, part, &format!("{method} {path} {body:.60}")).await;
    }
    let post = || client.post(format!("{}{path}", stage.base)).body(r#"{"to": "+15005550001"}"#);
    assert_problem(post().send().await.unwrap(), 415, "Content-Type: application/json", "no type").await;
    let typed = || post().header("Content-Type", "application/json; charset=utf-8");
    for key in [&b""[..], &[b'k'; 256], b"caf\xe9"] {
        let response = typed().header("Idempotency-Key", key).send().await.unwrap();
        assert_problem(response, 400, "1 to 255 printable", &format!("{key:?}")).await;
    }
    let response = typed().header("Idempotency-Key", "a").header("Idempotency-Key", "b").send().await.unwrap();
    assert_problem(response, 400, "given twice", "two keys").await;
    assert_eq!((stage.carrier.creates().len(), stage.calls.live()), (0, 0));
    stage.strike().await;
}

#[tokio::test]
async fn every_route_wants_the_key_and_says_which() {
    let stage = stage(|config| config.api_key = Some(Secret::new("right"))).await;
    let id = "00000000-0000-0000-0000-000000000000";
    let routes = [
        (Method::GET, "/api/v1/calls".to_owned(), 200),
        (Method::POST, "/api/v1/calls".to_owned(), 415),
        (Method::GET, format!("/api/v1/calls/{id}"), 404),
        (Method::POST, format!("/api/v1/calls/{id}/hangup"), 404),
    ];
    for (method, path, with_key) in routes {
        let ask = |key: Option<&str>| {
            let request = reqwest::Client::new().request(method.clone(), format!("{}{path}", stage.base));
            match key {
                Some(key) => request.header("Authorization", key).send(),
                None => request.send(),
            }
        };
        for key in [None, Some("Bearer wrong"), Some("right"), Some("Basic right"), Some("Bearer right right")] {
            assert_problem(ask(key).await.unwrap(), 401, "PATCHCORD_API_KEY", &format!("{method} {path} {key:?}"))
                .await;
        }
        assert_eq!(ask(Some("Bearer right")).await.unwrap().status().as_u16(), with_key, "{method} {path}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn without_a_carrier_there_is_nothing_to_call_with() {
    let stage = stage(|config| config.twilio.account_sid = None).await;
    let (status, problem) = stage.post("/api/v1/calls", Some(json!({ "to": THEIRS })), None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(problem["detail"].as_str().unwrap().contains("TWILIO_ACCOUNT_SID"), "{problem}");
    stage.strike().await;
}

async fn assert_problem(response: reqwest::Response, status: u16, part: &str, case: &str) {
    assert_eq!(response.status().as_u16(), status, "{case}");
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{case}");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status, "{case}");
    assert!(problem["detail"].as_str().unwrap().contains(part), "{case}: {problem}");
}

async fn list(stage: &Stage, query: &str) -> Vec<Value> {
    stage.get(&format!("/api/v1/calls?{query}")).await["calls"].as_array().unwrap().clone()
}

async fn stage(change: impl FnOnce(&mut Config)) -> Stage {
    let session = |_: &_| FakeModel::new("s", Script::default(), Behaviour::default());
    Stage::with(session, |config| {
        config.agents[0].numbers = vec![OURS.to_owned()];
        change(config);
    })
    .await
}

/// A server without a model, on this data.
fn serve(carrier: &FakeTwilio, data: &Path) -> (Calls, String, oneshot::Sender<()>, JoinHandle<anyhow::Result<()>>) {
    let settings = Settings::default();
    let mut config = Config { data: data.to_owned(), ..Config::default() };
    config.twilio.account_sid = Some(settings.account_sid);
    config.twilio.auth_token = Some(Secret::new(settings.auth_token));
    config.twilio.api_url = carrier.api_url().parse().unwrap();
    config.agents[0].numbers = vec![OURS.to_owned()];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let server = Server::new(config, TcpListener::from_std(listener).unwrap()).unwrap();
    let (calls, base) = (server.calls(), format!("http://{}", server.address()));
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(server.run(futures_util::stream::once(async {
        let _ = stopped.await;
    })));
    (calls, base, stop, server)
}
