//! What stands between the public internet and a call, over real sockets: whose requests are believed, how many calls and
//! connections there may be, how a call ends whose socket or carrier fails.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use call::EndReason;
use common::Stage;
use patchcord::Config;
use patchcord::answer::Answer;
use patchcord::config::{Secret, SharedKey, SharedKeys};
use patchcord::record::RecordingStatus;
use sim::carrier::signature::{self, Algorithm};
use sim::carrier::stream::{CallerStep, StreamOptions};
use sim::carrier::twilio::{CallOptions, CallReport, EndedBy, HangUpFault, Settings};
use sim::model::server::Opening;
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Says hello, answers one thing with a goodbye.
fn polite(opening: &Opening) -> FakeModel {
    let script = Script::says(["That was all, goodbye!"]).hears(["Is that all?"]);
    FakeModel::new(&format!("s{}", opening.number), script, Behaviour::default())
}

/// Asks one thing, and listens to the answer.
fn asks() -> Vec<CallerStep> {
    vec![
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(100) },
        CallerStep::AwaitAgentQuiet(Duration::from_millis(200)),
        CallerStep::Say(hum("is that all").into()),
        CallerStep::AwaitAgentQuiet(Duration::from_secs(20)),
    ]
}

fn listens() -> Vec<CallerStep> {
    vec![CallerStep::AwaitAgentQuiet(Duration::from_secs(50))]
}

fn options() -> CallOptions {
    let limit = Duration::from_secs(60);
    CallOptions { limit, status_callback: Some("/twilio/status".to_owned()), ..CallOptions::default() }
}

async fn call(stage: &Stage, caller: Vec<CallerStep>, options: CallOptions) -> CallReport {
    stage.carrier.call(&stage.base, "+15005550001", "+15005550006", caller, options).await
}

fn hang_ups(report: &CallReport) -> Vec<Option<u16>> {
    let is_hang_up = |(name, value): &(String, String)| name == "Status" && value == "completed";
    report.rest.iter().filter(|request| request.form.iter().any(is_hang_up)).map(|request| request.answered).collect()
}

/// Through a proxy with another name: every webhook and the handshake are signed for that name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_call_signed_with_a_shared_key_for_the_public_origin() {
    let key = signature::SharedKey {
        id: "webhooks_sharedkey_01k0000000000000000000000a".to_owned(),
        secret: "a customer's own".to_owned(),
        algorithm: Algorithm::HmacSha256,
    };
    let ours = SharedKey { id: key.id.clone(), secret: Secret::new(key.secret.clone()) };
    let origin = "https://calls.example.org";
    let settings = Settings {
        shared_key: Some(key),
        public_origin: Some(origin.to_owned()),
        api_key: Some(("SK1".to_owned(), "revocable".to_owned())),
        ..Settings::default()
    };
    let change = |config: &mut Config| {
        config.public_url = origin.parse().ok();
        config.twilio.auth_token = None;
        config.twilio.shared_keys = SharedKeys(vec![ours]);
        config.twilio.api_key_sid = Some("SK1".to_owned());
        config.twilio.api_key_secret = Some(Secret::new("revocable"));
    };
    let stage = Stage::at(settings, change, polite).await;
    let report = call(&stage, asks(), options()).await;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(report.streams[0].violations.is_empty(), "{:?}", report.streams[0].violations);
    assert!(report.documents.iter().all(|document| document.url.starts_with(origin)));
    // The hang-up went out with the API key: the token is not known to the server.
    assert_eq!((report.ended_by, hang_ups(&report)), (EndedBy::Rest, vec![Some(200)]));
    assert_eq!(stage.calls.wait_for_finished(1).await.unwrap().ended_reason, EndReason::Goodbye);
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_secret_gets_no_call() {
    let change = |config: &mut Config| config.twilio.auth_token = Some(Secret::new("another"));
    let stage = Stage::at(Settings::default(), change, polite).await;
    let report = call(&stage, listens(), CallOptions::default()).await;
    assert_eq!(report.documents[0].status, Some(403));
    assert_eq!((report.ended_by, stage.calls.held().calls), (EndedBy::Failure, 0));
    assert!(report.documents[0].body.contains("does not fit"), "{}", report.documents[0].body);
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_a_hang_up_that_fails_is_tried_again() {
    let settings = Settings { hang_up_fault: Some((HangUpFault::Fails, 1)), ..Settings::default() };
    let stage = Stage::at(settings, |_| {}, polite).await;
    let report = call(&stage, asks(), options()).await;
    assert_eq!((report.ended_by, hang_ups(&report)), (EndedBy::Rest, vec![Some(500), Some(200)]));
    assert_eq!(stage.calls.wait_for_finished(1).await.unwrap().ended_reason, EndReason::Goodbye);
    stage.strike().await;
}

/// REST never answers: the socket is closed, and the carrier's document ends the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_the_socket_is_the_last_resort() {
    let settings = Settings { hang_up_fault: Some((HangUpFault::Hangs, u32::MAX)), ..Settings::default() };
    let change = |config: &mut Config| config.twilio.api_timeout = Duration::from_millis(200);
    let stage = Stage::at(settings, change, polite).await;
    let report = call(&stage, asks(), options()).await;
    assert_eq!(report.ended_by, EndedBy::Document);
    let asked = hang_ups(&report);
    assert!(asked.len() >= 2 && asked.iter().all(Option::is_none), "{asked:?}");
    assert_eq!(report.documents.last().unwrap().body.matches("<Hangup/>").count(), 1);
    assert_eq!(stage.calls.wait_for_finished(1).await.unwrap().ended_reason, EndReason::Goodbye);
    stage.strike().await;
}

/// The carrier's socket breaks without a word, and the caller hangs up: the status says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a_status_ends_a_call_whose_socket_died() {
    let stage = Stage::set(polite).await;
    let stream = StreamOptions { close_without_stop: true, ..StreamOptions::default() };
    let caller = vec![CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(100) }, CallerStep::HangUp];
    let report = call(&stage, caller, CallOptions { stream, ..options() }).await;
    let record = stage.calls.wait_for_finished(1).await.unwrap();
    assert_eq!((report.ended_by, record.ended_reason), (EndedBy::Caller, EndReason::CallerHungUp));
    // Without the status it would have been the carrier, 5 s later.
    let lost_for =
        record.ended_at.duration_since(record.facts.started_at).as_millis() - report.ended_at.as_millis() as i128;
    assert!(lost_for < 2_500, "it took {lost_for} ms");
    assert!(hang_ups(&report).is_empty());
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_the_carriers_recording_is_in_the_record_and_its_file_in_the_folder() {
    let settings = Settings { recordings_not_yet: 1, ..Settings::default() };
    let change = |config: &mut Config| {
        config.agents[0].call.carrier_recording = true;
        config.twilio.fetch_recordings = true;
    };
    let stage = Stage::at(settings, change, polite).await;
    let report = call(&stage, asks(), options()).await;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let told = stage.carrier.recording_callbacks(2).await;
    assert_eq!(told.iter().map(|told| told.status).collect::<Vec<_>>(), [Some(204), Some(204)]);
    let record = stage
        .calls
        .wait_for_record(|record| record.carrier_recording.as_ref().is_some_and(|recording| recording.file.is_some()))
        .await;
    let recording = record.carrier_recording.as_ref().unwrap();
    assert_eq!((recording.status, recording.channels), (RecordingStatus::Completed, Some(2)));
    assert!(recording.duration_ms >= Some(1_000) && recording.url.as_ref().unwrap().contains(&recording.sid));
    let folder = stage.calls.folder(record.facts.id);
    let wav = std::fs::read(folder.join(recording.file.as_ref().unwrap())).unwrap();
    assert!(wav.starts_with(b"RIFF") && wav.len() as u64 == 44 + 32 * recording.duration_ms.unwrap());
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("call.json")).unwrap()).unwrap();
    assert_eq!(json["carrier_recording"], serde_json::to_value(recording).unwrap());
    let started = report.rest.iter().filter(|request| request.resource.ends_with("Recordings")).count();
    assert_eq!(started, 1);
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_a_recording_above_the_limit_is_left_with_the_carrier() {
    let change = |config: &mut Config| {
        config.agents[0].call.carrier_recording = true;
        config.twilio.fetch_recordings = true;
        config.twilio.recording_bytes_max = 1_000;
    };
    let stage = Stage::at(Settings::default(), change, polite).await;
    call(&stage, asks(), options()).await;
    stage.carrier.recording_callbacks(2).await;
    let completed = |record: &patchcord::record::CallRecord| {
        record.carrier_recording.as_ref().is_some_and(|recording| recording.status == RecordingStatus::Completed)
    };
    let record = stage.calls.wait_for_record(completed).await;
    let folder = stage.calls.folder(record.facts.id);
    stage.strike().await;
    assert_eq!(record.carrier_recording.as_ref().unwrap().file, None);
    let files: Vec<_> = std::fs::read_dir(folder)
        .map(|files| files.flatten().map(|file| file.file_name()).collect())
        .unwrap_or_default();
    assert!(!files.iter().any(|file| file.to_string_lossy().contains("carrier-recording")), "{files:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_without_an_agent_get_what_was_configured() {
    let said = Answer::Say { text: "We are closed & sorry.".to_owned(), voice: None, language: None };
    let (unknown, busy) = (said, Answer::Dial("+15005550009".to_owned()));
    let change = |config: &mut Config| {
        config.twilio.unknown_number = unknown;
        config.agents[0].default = false;
        config.agents[0].numbers = vec!["+15005550006".to_owned()];
        config.agents[0].max_calls = Some(1);
        config.agents[0].busy = Some(busy);
        let another = patchcord::agent::Agent {
            name: "another".to_owned(),
            numbers: vec!["+15005550007".to_owned()],
            ..config.agents[0].clone()
        };
        config.agents.push(another);
    };
    let stage = Stage::at(Settings::default(), change, polite).await;
    let ring =
        |to: &'static str| stage.carrier.call(&stage.base, "+15005550001", to, listens(), CallOptions::default());
    let report = ring("+15005550008").await;
    assert_eq!(
        (report.said.as_slice(), report.problems.as_slice()),
        (&["We are closed & sorry.".to_owned()][..], &[][..])
    );

    // One call with the agent, another dialled away; the other agent has its own limit.
    let call_with_agent = call(&stage, asks(), options());
    let others = async {
        let mut events = stage.calls.watch();
        events.recv().await.unwrap();
        let dialled = ring("+15005550006").await;
        assert_eq!((dialled.dialled, dialled.problems), (vec!["+15005550009".to_owned()], vec![]));
        assert_eq!(stage.calls.held().calls, 1);
        let caller =
            vec![CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(100) }, CallerStep::HangUp];
        stage.carrier.call(&stage.base, "+15005550002", "+15005550007", caller, options()).await
    };
    let (first, other) = tokio::join!(call_with_agent, others);
    assert_eq!((first.streams.len(), other.streams.len()), (1, 1));
    assert!(first.problems.is_empty(), "{:?}", first.problems);
    stage.calls.wait_for_finished(2).await;
    stage.strike().await;
}

/// 1,000 webhooks at once, 50 lines: 50 calls, and 950 callers who are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n9_a_burst_is_admitted_exactly() {
    let few_lines = |config: &mut Config| {
        config.max_calls = 50;
        // Nobody comes to the 50: they need not be waited for.
        config.drain_max = Duration::ZERO;
        config.goodbye_max = Duration::ZERO;
        config.shutdown_max = Duration::from_millis(100);
    };
    let stage = Stage::at(Settings::default(), few_lines, |opening| {
        FakeModel::new(&format!("s{}", opening.number), Script::default(), Behaviour::default())
    })
    .await;
    let client = reqwest::Client::new();
    let url = format!("{}/twilio/voice", stage.base);
    let ring = |number: usize| {
        let form = form(&[
            ("CallSid", &format!("CA{number:04}")),
            ("From", "+15005550001"),
            ("To", "+15005550006"),
            ("CallStatus", "ringing"),
        ]);
        let request = client
            .post(&url)
            .header("X-Twilio-Signature", signature::sign(&Settings::default().auth_token, &url, &form))
            .form(&form);
        async move {
            // Whoever has not written half a second after it connected makes room for others; on a machine with more to do
            // that may be one of these, and it asks again.
            for _ in 0..10 {
                let Ok(response) = request.try_clone().unwrap().send().await else { continue };
                assert_eq!(response.status(), 200);
                return response.text().await.unwrap();
            }
            panic!("no answer");
        }
    };
    // Each twice, at the same time: the carrier tries again.
    let answers = futures_util::future::join_all((0..2_000).map(|number| ring(number / 2))).await;
    let (mut connected, mut busy) = (0, 0);
    for twins in answers.chunks(2) {
        assert_eq!(twins[0], twins[1], "the same delivery got two answers (N3)");
        connected += usize::from(twins[0].contains("<Connect"));
        busy += usize::from(twins[0].contains("<Reject reason=\"busy\"/>"));
    }
    assert_eq!((connected, busy), (50, 950));
    let held = stage.calls.held();
    assert_eq!((held.calls, held.call_sids, held.tokens), (50, 50, 50));
    stage.strike().await;
}

fn form(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The model behind TLS, with a certificate that only `ca_file` makes good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_is_reached_by_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let ca_file = files.path().join("ca.pem");
    std::fs::write(&ca_file, certified.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (set, plain) = tokio::sync::watch::channel(None::<std::net::SocketAddr>);
    let proxy = tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        while let Ok((outside, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), *plain.borrow());
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(outside).await else { return };
                let mut inside = TcpStream::connect(plain.unwrap()).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    for trusted in [true, false] {
        let change = |config: &mut Config| {
            let plain = &config.openai.url;
            set.send_replace(Some(([127, 0, 0, 1], plain.port().unwrap()).into()));
            config.openai.url = format!("wss://localhost:{port}{}", plain.path()).parse().unwrap();
            config.openai.ca_file = trusted.then(|| ca_file.clone());
        };
        let stage = Stage::at(Settings::default(), change, polite).await;
        if trusted {
            let report = call(&stage, asks(), options()).await;
            assert!(report.problems.is_empty(), "{:?}", report.problems);
            assert_eq!(stage.calls.wait_for_finished(1).await.unwrap().ended_reason, EndReason::Goodbye);
            assert_eq!(stage.model.sessions().len(), 1);
        } else {
            let caller = vec![CallerStep::Pause(Duration::from_millis(300)), CallerStep::HangUp];
            call(&stage, caller, options()).await;
            stage.calls.wait_for_finished(1).await;
            assert_eq!(stage.model.sessions().len(), 0, "a certificate of nobody was believed");
        }
        stage.strike().await;
    }
    proxy.abort();
}

/// Sockets that say nothing, or a byte now and then, are closed; whoever comes meanwhile is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_silent_connections_end_and_cost_nobody_else_anything() {
    let head_max = Duration::from_secs(3);
    let change = |config: &mut Config| {
        config.connections_max = 16;
        config.request_head_max = head_max;
    };
    let stage = Stage::at(Settings::default(), change, polite).await;
    let address = stage.base.strip_prefix("http://").unwrap().to_owned();
    let began = std::time::Instant::now();
    let mut ends = tokio::task::JoinSet::new();
    // Eight say nothing, eight dribble a head that never ends.
    for number in 0..16 {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        ends.spawn(async move {
            if number % 2 == 1 {
                socket.write_all(b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
            }
            let mut dribble = tokio::time::interval(Duration::from_millis(20));
            let mut byte = [0; 512];
            loop {
                tokio::select! {
                    read = socket.read(&mut byte) => if matches!(read, Ok(0) | Err(_)) { return },
                    _ = dribble.tick() => if number % 2 == 1 && socket.write_all(b"x").await.is_err() { return },
                }
            }
        });
    }
    // All places are taken, and yet: one answer after another, each on a connection of its own.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    for _ in 0..40 {
        let one = client.get(format!("{}/healthz", stage.base)).timeout(Duration::from_secs(5)).send().await.unwrap();
        assert_eq!(one.status(), 200);
    }
    // One of the silent ones made room; nobody waited for their time to be up.
    assert!(began.elapsed() < head_max, "{:?}", began.elapsed());
    let done = tokio::time::timeout(Duration::from_secs(10), async { while ends.join_next().await.is_some() {} });
    done.await.expect("every one of them is closed");
    assert!(began.elapsed() < 2 * head_max, "{:?}", began.elapsed());
    stage.strike().await;
}

/// A body that is announced and does not come is a request that took too long, for its sender only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_idle_connections_does_not_end_a_call() {
    let change = |config: &mut Config| config.connections_max = 16;
    let stage = Stage::at(Settings::default(), change, polite).await;
    let address = stage.base.strip_prefix("http://").unwrap().to_owned();
    let flood = async {
        let mut events = stage.calls.watch();
        events.recv().await.unwrap();
        let mut sockets = Vec::new();
        for number in 0..200 {
            let mut socket = TcpStream::connect(&address).await.unwrap();
            if number % 2 == 0 {
                let head = "POST /twilio/voice HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nCallSid=";
                socket.write_all(head.as_bytes()).await.unwrap();
            }
            sockets.push(socket);
        }
        sockets
    };
    let (report, sockets) = tokio::join!(call(&stage, asks(), options()), flood);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(stage.calls.wait_for_finished(1).await.unwrap().ended_reason, EndReason::Goodbye);
    drop(sockets);
    stage.strike().await;
}
