//! Chat servers over real sockets: what is asked of them, how they answer, and all the ways in which they do not.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use voice::chat::request::{Request, Turn};
use voice::chat::stream::{Answer, Events};
use voice::chat::{Failure, Finish, Limits, Piece, Server};
use voice::server::engine::Engine;
use voice::server::{Model, Offer, serve};
use voice::speak::{Rate, Said};

/// Longer than the slowest machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

const LIMITS: Limits = Limits { silence_max: PATIENCE, answer_max: PATIENCE, characters_max: 1_000, messages_max: 40 };

/// What a chat server does with one request.
enum Does {
    /// Sends this, byte by byte, and closes.
    Answer(String),
    /// Sends this, and then nothing.
    Stall(String),
    /// Begins to answer, and sends this again and again, until nobody takes it.
    GoOn(String),
}

/// A chat server that does one thing after the other, a connection each.
struct Fake {
    url: reqwest::Url,
    /// Head and body of each request.
    requests: mpsc::UnboundedReceiver<(String, Value)>,
    /// A connection that was stalled is closed by the client.
    gone: mpsc::UnboundedReceiver<()>,
}

impl Fake {
    async fn start(script: Vec<Does>) -> Fake {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap()).parse().unwrap();
        let (told, requests) = mpsc::unbounded_channel();
        let (left, gone) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for does in script {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let _ = told.send(request(&mut stream).await);
                match does {
                    Does::Answer(text) => {
                        for byte in text.bytes() {
                            // The client may have heard enough.
                            let _ = stream.write_all(&[byte]).await;
                        }
                    }
                    Does::Stall(text) => {
                        stream.write_all(text.as_bytes()).await.unwrap();
                        while !matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)) {}
                        let _ = left.send(());
                    }
                    Does::GoOn(text) => {
                        stream.write_all(OK.as_bytes()).await.unwrap();
                        while stream.write_all(text.as_bytes()).await.is_ok() {}
                    }
                }
            }
        });
        Fake { url, requests, gone }
    }

    fn server(&self, limits: Limits) -> Server {
        Server::new(http(), self.url.clone(), "llama", Some("sk-secret"), limits).unwrap()
    }
}

fn http() -> reqwest::Client {
    // Whoever comes second finds the first one's.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn request(stream: &mut TcpStream) -> (String, Value) {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 4_096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "a request that ends before it is whole");
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if let Ok(body) = serde_json::from_str(body) {
            return (head.to_lowercase(), body);
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn delta(delta: Value) -> String {
    format!("data: {}\r\n\r\n", json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
}

fn words(text: &str) -> String {
    delta(json!({"content": text}))
}

fn finish(reason: &str) -> String {
    let event = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    format!("data: {event}\n\ndata: [DONE]\n\n")
}

fn ask() -> Request {
    Request {
        instructions: "Be brief.".into(),
        turns: vec![Turn::Caller("My number is 555 0199.".into())],
        ..Request::default()
    }
}

/// All that is answered, the texts as one.
async fn answer(server: &Server) -> (String, Result<Finish, Failure>) {
    let mut answering = server.ask(&ask());
    let mut said = String::new();
    loop {
        match tokio::time::timeout(PATIENCE, answering.next()).await.unwrap() {
            Piece::Text(text) => said.push_str(&text),
            Piece::Call(call) => panic!("{call:?}"),
            Piece::End(end) => return (said, end),
        }
    }
}

#[tokio::test]
async fn an_answer_comes_in_pieces_of_any_size() {
    let text =
        format!("{OK}: hello\n\n{}{}event: x\n{}{}", words("Grüß "), words("Gott"), words(" 🎉"), finish("stop"));
    let mut fake = Fake::start(vec![Does::Answer(text)]).await;
    assert_eq!(answer(&fake.server(LIMITS)).await, ("Grüß Gott 🎉".to_owned(), Ok(Finish::Completed)));
    let (head, body) = fake.requests.recv().await.unwrap();
    assert!(
        head.starts_with("post /v1/chat/completions") && head.contains("authorization: bearer sk-secret"),
        "{head}"
    );
    let messages =
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "My number is 555 0199."}]);
    assert_eq!(body, json!({"model": "llama", "stream": true, "messages": messages}));
}

#[tokio::test]
async fn what_is_thought_aloud_is_not_said() {
    let thought = format!("{OK}{}{}{}", words("\n<thi"), words("nk>Is it 9? </th"), words("ink>\n\nAt nine."));
    let fake = Fake::start(vec![Does::Answer(thought + &finish("length"))]).await;
    assert_eq!(answer(&fake.server(LIMITS)).await, ("At nine.".to_owned(), Ok(Finish::Cut)));
}

#[tokio::test]
async fn what_goes_wrong_is_told_by_the_hosted_models_codes() {
    let status = |line: &str, body: &str| Does::Answer(format!("HTTP/1.1 {line}\r\nconnection: close\r\n\r\n{body}"));
    let answered = |text: &str| Does::Answer(format!("{OK}{text}"));
    let quota = r#"{"error": {"code": "insufficient_quota", "message": "sk-secret"}}"#;
    let long = r#"{"error": {"code": 400, "type": "exceed_context_size_error", "message": "sk-secret"}}"#;
    let long_too = r#"{"error": {"code": "context_length_exceeded", "type": "invalid_request_error"}}"#;
    let broken_off = r#"data: {"error": {"message": "sk-secret", "code": 500}}"#;
    let cases = [
        (status("401 Unauthorized", "{\"error\": \"sk-secret\"}"), "invalid_api_key", "401"),
        (status("403 Forbidden", ""), "invalid_api_key", "403"),
        (status("404 Not Found", "<html>sk-secret"), "model_not_found", "404"),
        (status("429 Too Many Requests\r\nretry-after: 3", "{}"), "rate_limit_exceeded", "Please try again in 3s."),
        (status("429 Too Many Requests", quota), "insufficient_quota", "429"),
        (status("400 Bad Request", long), "server_error", "lower model.chat.messages_max"),
        (status("400 Bad Request", long_too), "server_error", "lower model.chat.messages_max"),
        (status("500 Internal Server Error", "sk-secret"), "server_error", "500"),
        (status("302 Found\r\nlocation: http://127.0.0.1:1/", ""), "server_error", "302"),
        (answered("data: sk-secret\n\n"), "server_error", "no JSON object"),
        (answered("<html>sk-secret</html>"), "server_error", "no stream of events"),
        (answered(&format!("{broken_off}\n\n")), "server_error", "with an error"),
        (answered(&words("We open at")), "server_error", "ended in the middle"),
        (answered(&format!("data: {}", "x".repeat(300_000))), "server_error", "too long"),
    ];
    for (does, code, why) in cases {
        let fake = Fake::start(vec![does]).await;
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let _ = http();
        let server =
            Server::new(client.build().unwrap(), fake.url.clone(), "llama", Some("sk-secret"), LIMITS).unwrap();
        let (_, end) = answer(&server).await;
        let failure = end.unwrap_err();
        assert_eq!(failure.code, code, "{failure:?}");
        assert!(failure.message.contains(why) && !failure.message.contains("sk-secret"), "{why}: {failure:?}");
    }
    // Nobody listens there.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/v1?key=sk-secret", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let (_, end) = answer(&Server::new(http(), url, "llama", None, LIMITS).unwrap()).await;
    let failure = end.unwrap_err();
    assert!(failure.message.contains("not reached") && !failure.message.contains("sk-secret"), "{failure:?}");
}

#[tokio::test]
async fn waiting_has_limits() {
    let short = Duration::from_millis(50);
    let silent = Limits { silence_max: short, ..LIMITS };
    for (text, said) in [("", ""), (OK, ""), (&format!("{OK}{}", words("We open")), "We open")] {
        let mut fake = Fake::start(vec![Does::Stall(text.to_owned())]).await;
        let (heard, end) = answer(&fake.server(silent)).await;
        assert_eq!(
            (heard.as_str(), end.unwrap_err().message.as_str()),
            (said, "The chat server said nothing for 50 ms.")
        );
        fake.gone.recv().await.unwrap();
    }
    // Signs of life and thoughts are no words.
    for silence in [": ping\n\n".to_owned(), words("<think>"), delta(json!({"reasoning_content": "Hm"}))] {
        let fake = Fake::start(vec![Does::GoOn(silence)]).await;
        let (_, end) = answer(&fake.server(silent)).await;
        assert!(end.unwrap_err().message.contains("nothing for 50 ms"));
    }
    let fake = Fake::start(vec![Does::GoOn(words("and on "))]).await;
    let mut answering = fake.server(Limits { answer_max: short, ..LIMITS }).ask(&ask());
    let end = loop {
        if let Piece::End(end) = answering.next().await {
            break end;
        }
    };
    assert_eq!(end.unwrap_err().message, "The chat server's answer was not over within 50 ms.");
    // What was finished is not lost for want of a last line.
    let finished = finish("stop").replace("data: [DONE]\n\n", "");
    let fake = Fake::start(vec![Does::Stall(format!("{OK}{}{finished}", words("Bye.")))]).await;
    assert_eq!(answer(&fake.server(silent)).await, ("Bye.".to_owned(), Ok(Finish::Completed)));
}

#[tokio::test]
async fn whoever_asked_and_goes_away_ends_the_request() {
    let mut fake = Fake::start(vec![Does::Stall(format!("{OK}{}", words("We")))]).await;
    let mut answering = fake.server(LIMITS).ask(&ask());
    assert_eq!(answering.next().await, Piece::Text("We".to_owned()));
    drop(answering);
    tokio::time::timeout(PATIENCE, fake.gone.recv()).await.unwrap().unwrap();
}

proptest! {
    /// Wherever the bytes are cut, in the middle of a line's end or of a letter, the same events are found.
    #[test]
    fn events_do_not_depend_on_how_they_are_cut(
        events in prop::collection::vec("[a-zé🎉 :]{1,12}", 1..8),
        ends in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\r"]), 8),
        cuts in prop::collection::vec(1..6_usize, 1..20),
    ) {
        let mut text = String::from("\u{feff}");
        for (event, end) in events.iter().zip(&ends) {
            text.push_str(&format!(": sign of life{end}id: 7{end}data: {event}{end}{end}"));
        }
        let mut reader = Events::default();
        let mut found = Vec::new();
        let (mut rest, mut cuts) = (text.as_bytes(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            found.extend(reader.take(piece).unwrap());
            rest = after;
        }
        prop_assert_eq!(found, events);
    }

    /// Whatever comes is read or refused.
    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}\":,a-z0-9]{0,40}") {
        let _ = Events::default().take(&bytes);
        let _ = Answer::default().take(&bytes);
        let _ = Answer::default().take(format!("data: {json}\n\n").as_bytes());
        let choices = format!("data: {{\"choices\":[{{\"delta\":{json}}}]}}\n\n");
        let _ = Answer::default().take(choices.as_bytes());
    }
}

#[test]
fn data_of_several_lines_is_one_event() {
    let found = Events::default().take(b"data: {\ndata:  \"a\": 1\ndata\ndata:}\n\n\n").unwrap();
    assert_eq!(found, ["{\n \"a\": 1\n\n}"]);
}

// Through the Realtime server.

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn session(fake: &Fake, engine: Engine) -> Socket {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("ws://{}/v1/realtime?model=any", listener.local_addr().unwrap());
    let model = Model::Chat(Arc::new(fake.server(LIMITS)));
    let offer = Offer { models: BTreeMap::new(), otherwise: Some(model), key: None, sessions_max: 1 };
    tokio::spawn(serve(listener, std::future::ready(Ok(engine)), offer));
    connect_async(url).await.unwrap().0
}

async fn send(socket: &mut Socket, event: Value) {
    socket.send(Message::text(event.to_string())).await.unwrap();
}

/// The first event of this type.
async fn until(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await;
        let message = message.unwrap_or_else(|_| panic!("no {kind}")).unwrap().unwrap();
        let Message::Text(text) = message else { continue };
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(event["type"], "error", "{event}");
        if event["type"] == kind {
            return event;
        }
    }
}

async fn types(socket: &mut Socket, text: &str) {
    let content = json!([{"type": "input_text", "text": text}]);
    let item = json!({"type": "message", "role": "user", "content": content});
    send(socket, json!({"type": "conversation.item.create", "item": item})).await;
    send(socket, json!({"type": "response.create"})).await;
}

#[tokio::test]
async fn a_conversation_goes_there_and_back() {
    let call = |id: Value, name: Value, arguments: &str| {
        delta(json!({"tool_calls": [{"index": 0, "id": id, "function": {"name": name, "arguments": arguments}}]}))
    };
    let (begun, went_on) = (call("call_7".into(), "book".into(), "{\"day\""), call(json!(null), json!(null), ":1}"));
    let mut fake = Fake::start(vec![
        Does::Answer(format!("{OK}{}{begun}{went_on}{}", words("A moment."), finish("tool_calls"))),
        Does::Answer(format!("{OK}{}{}", words("Done."), finish("stop"))),
        Does::Answer("HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n".to_owned()),
        Does::Stall(format!("{OK}{}", words("Well"))),
    ])
    .await;
    let mut socket = session(&fake, Engine::without_weights(1)).await;
    let tools = json!([{"type": "function", "name": "book", "parameters": {"type": "object"}}]);
    let settings =
        json!({"type": "realtime", "output_modalities": ["text"], "instructions": "Be brief.", "tools": tools});
    send(&mut socket, json!({"type": "session.update", "session": settings})).await;
    types(&mut socket, "Book it.").await;
    let called = until(&mut socket, "response.function_call_arguments.done").await;
    assert_eq!((&called["name"], &called["arguments"]), (&json!("book"), &json!(r#"{"day":1}"#)));
    until(&mut socket, "response.done").await;
    assert_eq!(fake.requests.recv().await.unwrap().1["tools"][0]["function"]["name"], "book");

    let item = json!({"type": "function_call_output", "call_id": called["call_id"], "output": "booked"});
    send(&mut socket, json!({"type": "conversation.item.create", "item": item})).await;
    send(&mut socket, json!({"type": "response.create"})).await;
    assert_eq!(until(&mut socket, "response.output_text.done").await["text"], "Done.");
    let messages = fake.requests.recv().await.unwrap().1["messages"].clone();
    let function = json!({"name": "book", "arguments": r#"{"day":1}"#});
    assert_eq!(
        messages,
        json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Book it."},
            {"role": "assistant", "content": "A moment.",
             "tool_calls": [{"id": "call_7", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": "call_7", "content": "booked"},
        ])
    );
    until(&mut socket, "response.done").await;

    types(&mut socket, "Thanks.").await;
    let done = until(&mut socket, "response.done").await["response"].clone();
    let error = &done["status_details"]["error"];
    assert_eq!((&done["status"], &error["code"]), (&json!("failed"), &json!("invalid_api_key")));

    types(&mut socket, "Wait!").await;
    until(&mut socket, "response.output_text.delta").await;
    send(&mut socket, json!({"type": "response.cancel"})).await;
    let done = until(&mut socket, "response.done").await["response"].clone();
    assert_eq!(done["status"], "cancelled");
    tokio::time::timeout(PATIENCE, fake.gone.recv()).await.unwrap().unwrap();
}

/// A caller who hangs up leaves no request behind.
#[tokio::test]
async fn a_session_that_ends_ends_its_request() {
    let mut fake = Fake::start(vec![Does::Stall(OK.to_owned())]).await;
    let mut socket = session(&fake, Engine::without_weights(1)).await;
    types(&mut socket, "Hello.").await;
    fake.requests.recv().await.unwrap();
    drop(socket);
    tokio::time::timeout(PATIENCE, fake.gone.recv()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_heard_and_hears_the_first_sentence_before_the_last_is_written() {
    let Some(weights) = common::weights("a_caller_is_heard_and_hears_the_first_sentence") else { return };
    let mut fake = Fake::start(vec![Does::Stall(format!("{OK}{}", words("We open at nine. And then")))]).await;
    let mut socket = session(&fake, Engine::start(&weights, 1, 1).unwrap()).await;
    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let format = json!({"type": "audio/pcmu"});
    let audio = json!({"input": {"format": format}, "output": {"format": format}});
    send(&mut socket, json!({"type": "session.update", "session": {"type": "realtime", "audio": audio}})).await;
    let mut samples = speaker.say("What are your opening hours?", Rate::Telephone, 1.0).unwrap().to_vec();
    samples.resize(samples.len() + 8_000, 0.0);
    for frame in samples.chunks(160) {
        let bytes: Vec<u8> = frame.iter().map(|sample| call::g711::encode((sample * 32_767.0) as i16)).collect();
        send(&mut socket, json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode(bytes)})).await;
    }
    // The server has written no more, and is still connected.
    let delta = until(&mut socket, "response.output_audio_transcript.delta").await;
    assert_eq!(delta["delta"], "We open at nine.");
    until(&mut socket, "response.output_audio.delta").await;
    let messages = fake.requests.recv().await.unwrap().1["messages"].clone();
    let heard = messages[0]["content"].as_str().unwrap();
    assert_eq!(common::words(heard), ["what", "are", "your", "opening", "hours"]);
    assert!(fake.gone.try_recv().is_err());
}
