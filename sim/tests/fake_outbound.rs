//! Calls that a server places at the simulated carrier: what is refused, what is shown, and how callbacks come.

#![expect(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use sim::carrier::twilio::outbound::{Callee, Outcome};
use sim::carrier::twilio::{FakeTwilio, Settings};

const OURS: &str = "+15005550006";
const THEIRS: &str = "+15005550001";

type Heard = Arc<Mutex<Vec<Vec<(String, String)>>>>;

#[tokio::test]
async fn a_create_is_checked_as_twilio_checks_it() {
    let carrier = FakeTwilio::start(Settings::default()).await.unwrap();
    let good = [("To", THEIRS), ("From", OURS), ("Url", "https://calls.example.org/twilio/voice")];
    let without = |name: &str| good.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>();
    let with = |name, value| without(name).into_iter().chain([(name, value)]).collect::<Vec<_>>();
    for (form, code) in [
        (without("To"), 21201),
        (without("From"), 21213),
        (without("Url"), 21205),
        (with("To", "15005550001"), 21211),
        (with("From", "me"), 21212),
        (with("Url", "/twilio/voice"), 21205),
        (with("Url", "https://calls_1.example.org/"), 21205),
        (with("StatusCallback", "status"), 21609),
        (with("StatusCallbackEvent", "in-progress"), 21626),
        (with("Timeout", "601"), 20001),
        (with("MachineDetection", "true"), 20001),
        (with("AsyncAmd", "yes"), 20001),
    ] {
        let (status, body) = create(&carrier, &form).await;
        assert_eq!((status.as_u16(), body["code"].as_u64()), (400, Some(code)), "{form:?}");
    }
    assert_eq!((carrier.creates().len(), carrier.calls_made()), (0, 0));
    let (status, call) = create(&carrier, &with("Colour", "red")).await;
    assert_eq!((status, call["direction"].as_str()), (StatusCode::CREATED, Some("outbound-api")));
    assert_eq!(carrier.desk_problems().len(), 1);
    let unsigned = reqwest::Client::new().post(url(&carrier, "Calls.json")).form(&good).send().await.unwrap();
    assert_eq!(unsigned.status(), StatusCode::UNAUTHORIZED);

    carrier.placed(1).await;
    let sid = call["sid"].as_str().unwrap();
    let shown = get(&carrier, &format!("Calls/{sid}.json")).await;
    assert_eq!((&shown["status"], &shown["to"]), (&"no-answer".into(), &THEIRS.into()));
    let list = |query: &str| get_owned(&carrier, format!("Calls.json?{query}"));
    assert_eq!(list("To=%2B15005550001&From=%2B15005550006").await["calls"][0]["sid"], sid);
    assert_eq!(list("To=%2B15005550002").await["calls"].as_array().unwrap().len(), 0);
    assert_eq!(list("Status=in-progress").await["calls"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn callbacks_come_for_the_events_asked_for_late_twice_and_numbered() {
    let heard = Heard::default();
    let router = Router::new().route("/status", post(hear)).with_state(heard.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    let carrier = FakeTwilio::start(Settings::default()).await.unwrap();
    carrier.callees(|_| Callee {
        callbacks_late: vec![Duration::from_millis(120), Duration::from_millis(60), Duration::ZERO],
        callbacks_twice: Some(Duration::from_millis(200)),
        ..Callee::is(Outcome::Fails(404))
    });
    let (voice, status) = (format!("{base}/voice"), format!("{base}/status"));
    let mut form = vec![("To", THEIRS), ("From", OURS), ("Url", voice.as_str()), ("StatusCallback", status.as_str())];
    form.extend(["initiated", "ringing", "completed"].map(|event| ("StatusCallbackEvent", event)));
    create(&carrier, &form).await;
    let report = carrier.placed(1).await.remove(0);
    assert_eq!((report.problems.len(), report.documents.len()), (0, 0));

    let heard = heard.lock().unwrap();
    let told: Vec<String> =
        heard.iter().map(|form| ["SequenceNumber", "CallStatus"].map(|name| field(form, name)).join(" ")).collect();
    assert_eq!(told.len(), 6);
    assert_eq!(&told[..3], ["2 failed", "1 ringing", "0 initiated"], "the later overtook the earlier");
    for told_once in ["0 initiated", "1 ringing", "2 failed"] {
        assert_eq!(told.iter().filter(|told| *told == told_once).count(), 2);
    }
    assert_eq!(field(&heard[0], "SipResponseCode"), "404");
    assert_eq!(field(&heard[0], "Direction"), "outbound-api");
}

async fn hear(State(heard): State<Heard>, Form(form): Form<Vec<(String, String)>>) -> StatusCode {
    heard.lock().unwrap().push(form);
    StatusCode::NO_CONTENT
}

fn field(form: &[(String, String)], name: &str) -> String {
    form.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

fn url(carrier: &FakeTwilio, path: &str) -> String {
    format!("{}/2010-04-01/Accounts/{}/{path}", carrier.api_url(), Settings::default().account_sid)
}

async fn create(carrier: &FakeTwilio, form: &[(&str, &str)]) -> (StatusCode, Value) {
    let Settings { account_sid, auth_token, .. } = Settings::default();
    let request = reqwest::Client::new().post(url(carrier, "Calls.json")).basic_auth(account_sid, Some(auth_token));
    let response = request.form(form).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn get(carrier: &FakeTwilio, path: &str) -> Value {
    let Settings { account_sid, auth_token, .. } = Settings::default();
    let request = reqwest::Client::new().get(url(carrier, path)).basic_auth(account_sid, Some(auth_token));
    request.send().await.unwrap().json().await.unwrap()
}

async fn get_owned(carrier: &FakeTwilio, path: String) -> Value {
    get(carrier, &path).await
}
