//! The carrier's side of HTTP, over a real socket.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::path::Path;

use futures_util::{SinkExt, stream};
use patchcord::config::{Config, Secret, Verify};
use patchcord::{Calls, Server};
use reqwest::{Response, StatusCode, Url};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite;

/// A server on a free port, stopped when dropped.
struct Running {
    origin: String,
    calls: Calls,
    _stop: oneshot::Sender<()>,
    data: tempfile::TempDir,
}

impl Running {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config { data: data.path().to_owned(), ..Config::default() };
        config.twilio.verify = Verify::UnlessLoopback;
        // Nobody listens there.
        config.openai.url = Url::parse("ws://127.0.0.1:1").unwrap();
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(config, listener).unwrap();
        let (origin, calls) = (format!("http://{}", server.address()), server.calls());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(stream::once(async {
            let _ = stopped.await;
        })));
        Running { origin, calls, _stop: stop, data }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let client = reqwest::Client::new();
        client.post(format!("{}{path}", self.origin)).form(form).send().await.unwrap()
    }

    async fn announce(&self, call_sid: &str) -> String {
        let form = [("CallSid", call_sid), ("From", "+15005550001"), ("To", "+15005550006"), ("CallStatus", "ringing")];
        let response = self.post("/twilio/voice", &form).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/xml"));
        response.text().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        reqwest::get(format!("{}{path}", self.origin)).await.unwrap()
    }
}

#[tokio::test]
#[cfg(feature = "voice")]
async fn an_agent_whose_model_has_no_weights_answers_as_if_it_were_busy() {
    let server = Running::start(|config| {
        config.agents[0].model.provider = patchcord::agent::Provider::Local;
        config.agents[0].busy =
            Some(patchcord::answer::Answer::Say { text: "Nobody is here.".to_owned(), voice: None, language: None });
    })
    .await;
    assert!(server.announce("CA1").await.contains("Nobody is here."));
    // It serves all the same.
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_call_is_connected_to_a_stream_of_its_own() {
    let server = Running::start(|_| {}).await;
    let twiml = server.announce("CA1").await;
    let host = server.origin.trim_start_matches("http://");
    assert!(twiml.contains(&format!("<Connect action=\"http://{host}/twilio/after-stream\">")), "{twiml}");
    let token = twiml.split("/twilio/media/").nth(1).unwrap().split('"').next().unwrap();
    assert!(twiml.contains(&format!("<Stream url=\"ws://{host}/twilio/media/{token}\"")), "{twiml}");
    assert!(token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    assert_ne!(twiml, server.announce("CA2").await);
}

#[tokio::test]
async fn the_public_url_is_what_the_carrier_is_told() {
    let server = Running::start(|config| config.public_url = Url::parse("https://calls.example.org").ok()).await;
    let twiml = server.announce("CA1").await;
    assert!(twiml.contains("action=\"https://calls.example.org/twilio/after-stream\""), "{twiml}");
    assert!(twiml.contains("url=\"wss://calls.example.org/twilio/media/"), "{twiml}");
}

#[tokio::test]
async fn a_delivery_that_comes_twice_is_answered_with_the_same_bytes_and_is_one_call() {
    let server = Running::start(|_| {}).await;
    let (first, second) = tokio::join!(server.announce("CA1"), server.announce("CA1"));
    assert_eq!(first, second);
    assert_eq!(server.calls.live() + server.calls.finished().len(), 1);
    assert_eq!(first, server.announce("CA1").await);
}

#[tokio::test]
async fn a_number_that_nobody_answers_is_rejected() {
    let server = Running::start(|config| {
        config.agents[0].default = false;
        config.agents[0].numbers = vec!["+15005550009".to_owned()];
    })
    .await;
    assert!(server.announce("CA1").await.contains("<Reject reason=\"rejected\"/>"));
    assert_eq!(server.calls.live(), 0);
}

#[tokio::test]
async fn only_the_carriers_signature_is_believed() {
    let server = Running::start(|config| {
        config.public_url = Url::parse("https://calls.example.org").ok();
        config.twilio.verify = Verify::Always;
        config.twilio.auth_token = Some(Secret::new("0123456789abcdef0123456789abcdef"));
    })
    .await;
    let form = [
        ("AccountSid", "AC00000000000000000000000000000001"),
        ("ApiVersion", "2010-04-01"),
        ("CallSid", "CA00000000000000000000000000000002"),
        ("CallStatus", "ringing"),
        ("Called", "+15005550006"),
        ("Caller", "+15005550001"),
        ("Direction", "inbound"),
        ("From", "+15005550001"),
        ("To", "+15005550006"),
    ];
    let url = format!("{}/twilio/voice?tenant=acme%20co&v=2", server.origin);
    let client = reqwest::Client::new();
    let post = |signature: Option<&'static str>| {
        let request = client.post(&url).form(&form);
        signature.into_iter().fold(request, |request, value| request.header("X-Twilio-Signature", value)).send()
    };
    assert_eq!(post(Some("Pn4sqQIOcB4UgYIHAJ28Ua6P75E=")).await.unwrap().status(), StatusCode::OK);
    for wrong in [None, Some("qeFMiBqYeceOgKc1FbvE9kIQvCF=")] {
        let refused = post(wrong).await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        let problem: serde_json::Value = refused.json().await.unwrap();
        assert_eq!((&problem["status"], &problem["title"]), (&403.into(), &"Forbidden".into()));
    }
    let socket = format!("{}/twilio/media/0", server.origin.replacen("http", "ws", 1));
    assert_eq!(refused_socket(&socket).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_wrong_signature_is_not_excused_on_loopback_either() {
    let server = Running::start(|config| config.twilio.auth_token = Some(Secret::new("token"))).await;
    let response = reqwest::Client::new()
        .post(format!("{}/twilio/status", server.origin))
        .header("X-Twilio-Signature", "AAAA")
        .form(&[("CallSid", "CA1"), ("CallStatus", "completed")])
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_request_through_a_proxy_on_this_machine_is_not_local() {
    let server = Running::start(|_| {}).await;
    let client = reqwest::Client::new();
    let proxied = client.get(format!("{}/api/v1/calls/x", server.origin)).header("X-Forwarded-For", "192.0.2.1");
    assert_eq!(proxied.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_stream_that_no_call_waits_for_is_refused() {
    let server = Running::start(|_| {}).await;
    let socket = format!("{}/twilio/media/{}", server.origin.replacen("http", "ws", 1), "0".repeat(32));
    assert_eq!(refused_socket(&socket).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn callbacks_about_unknown_calls_are_taken_and_change_nothing() {
    let server = Running::start(|_| {}).await;
    let form = [("CallSid", "CA404"), ("CallStatus", "completed"), ("StreamEvent", "stream-error")];
    assert_eq!(server.post("/twilio/status", &form).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(server.post("/twilio/stream-status", &form).await.status(), StatusCode::NO_CONTENT);
    let after = server.post("/twilio/after-stream", &form).await.text().await.unwrap();
    assert!(after.ends_with("<Response><Hangup/></Response>"), "{after}");
}

#[tokio::test]
async fn forms_that_are_none_are_told_what_is_missing() {
    let server = Running::start(|_| {}).await;
    for form in [&[][..], &[("CallSid", "../../evil")], &[("CallSid", "")]] {
        let response = server.post("/twilio/voice", form).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert!(response.text().await.unwrap().contains("CallSid"));
    }
    let huge = "x".repeat(100_000);
    assert_eq!(server.post("/twilio/voice", &[("CallSid", &huge)]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_api_shows_records_and_asks_for_its_key() {
    let server = Running::start(|_| {}).await;
    let id = "0192d3a0-0000-7000-8000-000000000001";
    assert_eq!(server.get(&format!("/api/v1/calls/{id}")).await.status(), StatusCode::NOT_FOUND);
    write_record(server.data.path(), id);
    let shown: serde_json::Value = server.get(&format!("/api/v1/calls/{id}")).await.json().await.unwrap();
    assert_eq!(shown["id"], id);

    let locked = Running::start(|config| config.api_key = Some(Secret::new("key"))).await;
    write_record(locked.data.path(), id);
    let url = format!("{}/api/v1/calls/{id}", locked.origin);
    let client = reqwest::Client::new();
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(client.get(&url).bearer_auth("kex").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(client.get(&url).bearer_auth("key").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn health_says_alive_and_ready() {
    let server = Running::start(|_| {}).await;
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
    assert_eq!(server.get("/readyz").await.status(), StatusCode::OK);
    let nothing = server.get("/nothing").await;
    assert_eq!(nothing.status(), StatusCode::NOT_FOUND);
    assert_eq!(nothing.headers()["content-type"], "application/problem+json");
}

/// Callbacks come in any order, and a call's socket may die without a word: the newest status counts.
#[tokio::test]
async fn l7_a_status_ends_a_call_whose_socket_died() {
    let server = Running::start(|_| {}).await;
    let twiml = server.announce("CA1").await;
    let url = twiml.split("<Stream url=\"").nth(1).unwrap().split('"').next().unwrap();
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let format = serde_json::json!({ "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 });
    let start = serde_json::json!({ "event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": {
        "streamSid": "MZ1", "accountSid": "AC1", "callSid": "CA1", "tracks": ["inbound"], "mediaFormat": format,
        "customParameters": {} } });
    socket.send(tungstenite::Message::text(start.to_string())).await.unwrap();
    drop(socket);
    let began = tokio::time::Instant::now();
    for (status, number) in [("ringing", "1"), ("completed", "3"), ("in-progress", "2"), ("completed", "3")] {
        let form = [("CallSid", "CA1"), ("CallStatus", status), ("SequenceNumber", number)];
        assert_eq!(server.post("/twilio/status", &form).await.status(), StatusCode::NO_CONTENT);
    }
    let record = server.calls.wait_for_finished(1).await.unwrap();
    assert_eq!(record.ended_reason, call::EndReason::CallerHungUp);
    // Nobody waited to see whether the stream comes back.
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn n3_a_delivery_is_known_by_its_token() {
    let server = Running::start(|_| {}).await;
    let deliver = async |token: &str| {
        let request = reqwest::Client::new().post(format!("{}/twilio/voice", server.origin));
        let form = [("CallSid", "CA1"), ("From", "+15005550001"), ("To", "+15005550006"), ("CallStatus", "ringing")];
        request.header("I-Twilio-Idempotency-Token", token).form(&form).send().await.unwrap().text().await.unwrap()
    };
    let first = deliver("a").await;
    assert_eq!(first, deliver("a").await);
    server.post("/twilio/status", &[("CallSid", "CA1"), ("CallStatus", "completed")]).await;
    server.calls.wait_for_finished(1).await;
    assert_eq!(first, deliver("a").await, "the late twin of a delivery");
    assert_eq!(server.calls.held().calls, 0);
    // The caller is given back to us, as after a transfer that nobody answered.
    let again = deliver("b").await;
    assert_ne!(first, again);
    assert_eq!((again == deliver("b").await, server.calls.held().calls), (true, 1));
}

#[tokio::test]
async fn another_accounts_calls_are_refused() {
    let server = Running::start(|config| {
        config.twilio.account_sid = Some("AC1".to_owned());
        config.twilio.auth_token = Some(Secret::new("token"));
    })
    .await;
    let voice = |account| [("AccountSid", account), ("CallSid", "CA1"), ("To", "+15005550006")];
    let refused = server.post("/twilio/voice", &voice("AC2")).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.text().await.unwrap().contains("AccountSid"));
    assert_eq!(server.calls.held(), patchcord::Held::default());
    assert_eq!(server.post("/twilio/voice", &voice("AC1")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn webhooks_come_by_get_too_and_never_as_json() {
    let server = Running::start(|_| {}).await;
    let twiml = server.get("/twilio/voice?CallSid=CA1&To=%2B15005550006").await;
    assert!(twiml.text().await.unwrap().contains("<Connect"));
    assert_eq!(server.get("/twilio/status?CallSid=CA1&CallStatus=completed").await.status(), StatusCode::NO_CONTENT);
    let record = server.calls.wait_for_finished(1).await.unwrap();
    assert_eq!((record.facts.to.as_str(), record.ended_reason), ("+15005550006", call::EndReason::CallerHungUp));

    let url = format!("{}/twilio/status", server.origin);
    let json = reqwest::Client::new().post(&url).json(&serde_json::json!({ "CallSid": "CA1" })).send().await.unwrap();
    assert_eq!(json.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn the_carriers_recording_is_told_before_the_call_and_after_it() {
    let server = Running::start(|_| {}).await;
    server.announce("CA1").await;
    let tell = async |status: &str, duration: &str| {
        let form = [
            ("CallSid", "CA1"),
            ("RecordingSid", "RE1"),
            ("RecordingStatus", status),
            ("RecordingDuration", duration),
            ("RecordingUrl", "https://api.twilio.com/RE1"),
        ];
        assert_eq!(server.post("/twilio/recording", &form).await.status(), StatusCode::NO_CONTENT);
    };
    tell("in-progress", "").await;
    server.post("/twilio/status", &[("CallSid", "CA1"), ("CallStatus", "completed")]).await;
    let record = server.calls.wait_for_finished(1).await.unwrap();
    assert_eq!(record.carrier_recording.as_ref().unwrap().duration_ms, None);
    for status in ["completed", "completed", "in-progress", "unheard-of"] {
        tell(status, "7").await;
    }
    let shown: serde_json::Value =
        server.get(&format!("/api/v1/calls/{}", record.facts.id)).await.json().await.unwrap();
    let recording = &shown["carrier_recording"];
    assert_eq!(
        (&recording["status"], &recording["duration_ms"], &recording["sid"]),
        (&"completed".into(), &7_000.into(), &"RE1".into())
    );
    let on_disk = std::fs::read(server.data.path().join(format!("calls/{}/call.json", record.facts.id))).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&on_disk).unwrap(), shown);
    assert_eq!(server.post("/twilio/recording", &[("CallSid", "CA1")]).await.status(), StatusCode::BAD_REQUEST);
}

fn write_record(data: &Path, id: &str) {
    let folder = data.join("calls").join(id);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("call.json"), format!("{{\"id\":\"{id}\"}}")).unwrap();
}

async fn refused_socket(url: &str) -> StatusCode {
    match tokio_tungstenite::connect_async(url).await {
        Err(tungstenite::Error::Http(response)) => response.status(),
        other => panic!("the socket was not refused: {other:?}"),
    }
}
