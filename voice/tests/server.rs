//! The Realtime server with its weights, over a real socket: a caller is heard, understood, answered, and interrupts.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use voice::dialogue::Flow;
use voice::server::engine::Engine;
use voice::server::{Model, Offer, serve};
use voice::speak::{Rate, Said};

const FLOW: &str = r#"
    greeting = "Good morning, this is the bike shop."

    [[intent]]
    name = "hours"
    examples = ["when are you open", "what are your opening hours"]
    answer = "We are open from nine to five."
"#;

/// Longer than the slowest machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn start(engine: Engine, sessions_max: usize) -> String {
    start_with(std::future::ready(Ok(engine)), sessions_max).await
}

async fn start_with(
    engine: impl Future<Output = voice::Result<Engine>> + Send + 'static,
    sessions_max: usize,
) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("ws://{}/v1/realtime?model=any", listener.local_addr().unwrap());
    let flow = Arc::new(Flow::read(FLOW).unwrap());
    let offer =
        Offer { models: BTreeMap::new(), otherwise: Some(Model::Flow(flow)), key: Some("secret".into()), sessions_max };
    tokio::spawn(serve(listener, engine, offer));
    url
}

async fn connect(url: &str, key: &str) -> Result<Socket, Error> {
    connect_from(None, url, key).await
}

async fn connect_from(origin: Option<&str>, url: &str, key: &str) -> Result<Socket, Error> {
    let mut request = url.into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    connect_async(request).await.map(|(socket, _)| socket)
}

async fn send(socket: &mut Socket, event: Value) {
    socket.send(Message::text(event.to_string())).await.unwrap();
}

/// The events until one of this type, which is the last.
async fn until(socket: &mut Socket, kind: &str) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await;
        let message = message.unwrap_or_else(|_| panic!("no {kind}: {events:?}")).unwrap().unwrap();
        let Message::Text(text) = message else { continue };
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(event["type"], "error", "{event}");
        let last = event["type"] == kind;
        events.push(event);
        if last {
            return events;
        }
    }
}

fn status(refused: Result<Socket, Error>) -> u16 {
    match refused {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_heard_and_answered_in_both_codings() {
    let Some(weights) = common::weights("a_caller_is_heard_and_answered_in_both_codings") else { return };
    let url = start(Engine::start(&weights, 1, 2).unwrap(), 2).await;
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    for (format, rate) in
        [(json!({"type": "audio/pcmu"}), Rate::Telephone), (json!({"type": "audio/pcm", "rate": 24_000}), Rate::Wide)]
    {
        let mut socket = connect(&url, "secret").await.unwrap();
        until(&mut socket, "session.created").await;
        let audio = json!({
            "input": {"format": format, "transcription": {"model": "any"}}, "output": {"format": format}
        });
        send(&mut socket, json!({"type": "session.update", "session": {"type": "realtime", "audio": audio}})).await;
        until(&mut socket, "session.updated").await;
        let mut samples = speaker.say("What are your opening hours?", rate, 1.0).unwrap().to_vec();
        samples.resize(samples.len() + rate.hz() as usize, 0.0);
        for frame in samples.chunks(rate.hz() as usize / 50) {
            let whole = frame.iter().map(|sample| (sample * 32_767.0) as i16);
            let bytes: Vec<u8> = match rate {
                Rate::Telephone => whole.map(call::g711::encode).collect(),
                Rate::Wide => whole.flat_map(i16::to_le_bytes).collect(),
            };
            send(&mut socket, json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode(bytes)})).await;
        }
        let events = until(&mut socket, "response.done").await;
        let find =
            |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind}"));
        let heard = find("conversation.item.input_audio_transcription.completed")["transcript"].as_str().unwrap();
        assert_eq!(common::words(heard), ["what", "are", "your", "opening", "hours"]);
        assert_eq!(find("response.output_audio_transcript.done")["transcript"], "We are open from nine to five.");
        let answer: usize = events
            .iter()
            .filter(|event| event["type"] == "response.output_audio.delta")
            .map(|event| STANDARD.decode(event["delta"].as_str().unwrap()).unwrap().len())
            .sum();
        let bytes_per_sample = if rate == Rate::Wide { 2 } else { 1 };
        let seconds = answer as f64 / f64::from(rate.hz()) / f64::from(bytes_per_sample);
        assert!((1.0..4.0).contains(&seconds), "{seconds} s");
    }
}

/// The thread that judges turns is there, with its weights, once a session may ask it, and not for any other.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_judges_turns_is_loaded_for_the_first_session_that_wants_it() {
    let test = "what_judges_turns_is_loaded_for_the_first_session_that_wants_it";
    let Some(weights) = common::weights(test) else { return };
    let is_there = || {
        let mut tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path().join("comm"));
        tasks.any(|comm| std::fs::read_to_string(comm).is_ok_and(|name| name.trim() == "voice-judge"))
    };
    let url = start(Engine::start(&weights, 1, 1).unwrap(), 1).await;
    let mut socket = connect(&url, "secret").await.unwrap();
    for kind in ["server_vad", "semantic_vad"] {
        let input = json!({"format": {"type": "audio/pcmu"}, "turn_detection": {"type": kind}});
        send(
            &mut socket,
            json!({"type": "session.update", "session": {"type": "realtime", "audio": {"input": input}}}),
        )
        .await;
        until(&mut socket, "session.updated").await;
        let silence = STANDARD.encode([0xFF; 8_000]);
        send(&mut socket, json!({"type": "input_audio_buffer.append", "audio": silence})).await;
        send(&mut socket, json!({"type": "input_audio_buffer.clear"})).await;
        until(&mut socket, "input_audio_buffer.cleared").await;
        assert_eq!(is_there(), kind == "semantic_vad", "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_those_who_are_too_many_are_refused() {
    let Some(weights) = common::weights("strangers_and_those_who_are_too_many_are_refused") else { return };
    let url = start(Engine::start(&weights, 1, 1).unwrap(), 1).await;
    assert_eq!(status(connect(&url, "wrong").await), 401);
    assert_eq!(status(connect(&url.replace("/v1/realtime", "/v2"), "secret").await), 404);
    assert_eq!(status(connect(&url.replace("?model=any", ""), "secret").await), 400);
    let mut first = connect(&url, "secret").await.unwrap();
    until(&mut first, "session.created").await;
    assert_eq!(status(connect(&url, "secret").await), 429);
    first.close(None).await.unwrap();
    // The place is free once the server has seen the end.
    let asked = Instant::now();
    loop {
        match connect(&url, "secret").await {
            Ok(_) => break,
            Err(_) => assert!(asked.elapsed() < PATIENCE, "the place was never free again"),
        }
    }
}

/// Without weights a session hears and says nothing, and is a session all the same.
#[tokio::test]
async fn clients_wait_for_an_engine_that_is_being_loaded() {
    let (loaded, loading) = tokio::sync::oneshot::channel::<()>();
    let engine = async move {
        loading.await.expect("the test says when");
        Ok(Engine::without_weights(2))
    };
    let url = start_with(engine, 2).await;
    let waiting = tokio::spawn({
        let url = url.clone();
        async move { connect(&url, "secret").await }
    });
    tokio::task::yield_now().await;
    loaded.send(()).unwrap();
    let mut socket = waiting.await.unwrap().unwrap();
    until(&mut socket, "session.created").await;
    let audio = STANDARD.encode([0x80; 16_000]);
    send(&mut socket, json!({"type": "input_audio_buffer.append", "audio": audio})).await;
    send(&mut socket, json!({"type": "response.create"})).await;
    let said = until(&mut socket, "response.done").await;
    assert!(!said.iter().any(|event| event["type"] == "input_audio_buffer.speech_started"), "{said:?}");
    assert!(said.iter().any(|event| event["type"] == "response.output_audio.delta"));
}

/// Python's `websocket-client` says where it is from, though it is no browser.
#[tokio::test]
async fn pages_of_browsers_are_refused_and_clients_that_name_the_address_are_not() {
    let url = start(Engine::without_weights(1), 1).await;
    let address = url.strip_prefix("ws://").and_then(|url| url.split_once('/')).unwrap().0;
    let port = address.rsplit_once(':').unwrap().1;
    for page in
        ["https://example.com", "null", "http://127.0.0.1", "http://127.0.0.1:1", &format!("http://localhost:{port}")]
    {
        assert_eq!(status(connect_from(Some(page), &url, "secret").await), 403, "{page}");
    }
    // A name that somebody has point here is told by the page and by the browser.
    let mut request = url.as_str().into_client_request().unwrap();
    let name = format!("rebound.example:{port}");
    request.headers_mut().insert("host", name.parse().unwrap());
    request.headers_mut().insert("origin", format!("http://{name}").parse().unwrap());
    request.headers_mut().insert("authorization", "Bearer secret".parse().unwrap());
    assert_eq!(status(connect_async(request).await.map(|(socket, _)| socket)), 403);
    let mut socket = connect_from(Some(&format!("http://{address}")), &url, "secret").await.unwrap();
    until(&mut socket, "session.created").await;
}

#[tokio::test]
async fn an_engine_that_cannot_be_loaded_refuses_clients() {
    let url = start_with(std::future::ready(Err(voice::Error::Missing("silero".into()))), 1).await;
    assert_eq!(status(connect(&url, "secret").await), 503);
}
