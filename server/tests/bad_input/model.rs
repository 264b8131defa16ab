//! The model's socket. A call that has lost its model may end by that; here its caller hangs up first.

use std::collections::VecDeque;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt, stream};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use uuid::Uuid;

use super::{AT_ONCE, Door, HOSTILE_MODEL, PATIENCE, hostile};

/// Who asks for this model gets a hostile one.
pub const HOSTILE: &str = "hostile";

struct Case {
    name: String,
    messages: Vec<Message>,
    odd: bool,
}

/// A case on its way to a session.
struct Waiting {
    messages: Vec<Message>,
    /// There is a session for it.
    take: oneshot::Sender<()>,
    /// The server has read all of it, or closed.
    read: oneshot::Sender<()>,
}

type Queue = Arc<Mutex<VecDeque<Waiting>>>;

/// Stands before the simulated model, and lets through who does not ask for the hostile one.
pub struct Front {
    waiting: Queue,
    order: tokio::sync::Mutex<()>,
    accepting: JoinHandle<()>,
}

impl Front {
    pub fn before(behind: &Url) -> (Front, Url) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let waiting = Queue::default();
        let behind_address = SocketAddr::from(([127, 0, 0, 1], behind.port().unwrap()));
        let given = waiting.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(session(stream, behind_address, given.clone()));
            }
        });
        let url = Url::parse(&format!("ws://{address}{}", behind.path())).unwrap();
        (Front { waiting, order: tokio::sync::Mutex::default(), accepting }, url)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn session(mut stream: TcpStream, behind: SocketAddr, waiting: Queue) {
    let mut head = [0; 2_048];
    let peeked = stream.peek(&mut head).await.unwrap_or(0);
    if !String::from_utf8_lossy(&head[..peeked]).contains(&format!("model={HOSTILE}")) {
        let mut behind = TcpStream::connect(behind).await.unwrap();
        stream.set_nodelay(true).unwrap();
        behind.set_nodelay(true).unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
        return;
    }
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    // One that is connected again after a case has nothing hostile left to say.
    let Some(Waiting { messages, take, read }) = waiting.lock().unwrap().pop_front() else { return };
    let _ = take.send(());
    while let Some(Ok(message)) = socket.next().await {
        if message.to_text().is_ok_and(|text| text.contains("session.update")) {
            break;
        }
    }
    let configured = json!({ "type": "session.updated", "event_id": "e0", "session": {} });
    let configured = Message::text(configured.to_string());
    for message in std::iter::once(configured).chain(messages).chain([Message::Ping("all of it".into())]) {
        if socket.send(message).await.is_err() {
            break;
        }
    }
    while let Some(Ok(message)) = socket.next().await {
        if message.is_pong() {
            break;
        }
    }
    let _ = read.send(());
    while let Some(Ok(_)) = socket.next().await {}
}

/// Returns those of which the log has to have a word.
pub async fn all(door: Arc<Door>, front: Arc<Front>) -> Vec<(String, Uuid)> {
    let (door, front) = (&*door, &*front);
    let cases = cases();
    assert!(cases.len() >= 300, "{}", cases.len());
    let calls = stream::iter(cases.into_iter().enumerate()).map(|(number, case)| async move {
        let Case { name, messages, odd } = case;
        let call_sid = format!("CAmodel{number}");
        let (take, taken) = oneshot::channel();
        let (read, was_read) = oneshot::channel();
        // Sessions take the cases in turn. For the log it matters whose is whose, so one at a time is connected.
        let order = front.order.lock().await;
        front.waiting.lock().unwrap().push_back(Waiting { messages, take, read });
        let _url = door.announce(&call_sid, HOSTILE_MODEL).await;
        let taken = tokio::time::timeout(PATIENCE, taken).await;
        assert!(matches!(taken, Ok(Ok(()))), "{name}: no session");
        drop(order);
        let was_read = tokio::time::timeout(PATIENCE, was_read).await;
        assert!(matches!(was_read, Ok(Ok(()))), "{name}: neither read nor closed");
        door.complete(&call_sid).await;
        let id = door.id_of(&call_sid).await;
        odd.then_some((name, id))
    });
    calls.buffer_unordered(AT_ONCE).filter_map(ready).collect().await
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for event in events() {
        let kind = event["type"].as_str().unwrap().to_owned();
        for (what, text) in hostile::mutations(&event) {
            cases.push(Case { name: format!("{kind} {what}"), messages: with_a_response(&text), odd: false });
        }
    }
    for (what, text) in hostile::truncations(&events()[0]) {
        cases.push(Case { name: format!("cut: {what}"), messages: vec![Message::text(text)], odd: true });
    }
    for (index, value) in hostile::some(60, hostile::any_json()).into_iter().enumerate() {
        let odd = !value.is_object();
        cases.push(Case { name: format!("any JSON {index}"), messages: vec![Message::text(value.to_string())], odd });
    }
    let mut add = |name: &str, messages: Vec<Message>, odd| cases.push(Case { name: name.to_owned(), messages, odd });
    let frame = |bytes: &[u8]| Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(Data::Text), true));
    add("empty", vec![Message::text("")], true);
    add("deep", vec![Message::text("[".repeat(100_000))], true);
    add("binary", vec![Message::binary(vec![1_u8; 1_000])], false);
    add("not UTF-8", vec![frame(b"{\"type\":\"\xff\"}")], false);
    add("too long", vec![Message::text(format!("{{\"type\":\"{}\"}}", "x".repeat(17 << 20)))], false);
    add("closed", vec![Message::Close(None)], false);
    let all: Vec<Message> = events().iter().rev().map(|event| Message::text(event.to_string())).collect();
    add("out of order", all.clone(), false);
    add("a hundred times", all.iter().cycle().take(all.len() * 100).cloned().collect(), false);
    for payload in ["!", "A", "AA=A", "\"}", "AB==", "AAAA\n"] {
        let mut delta = events().into_iter().find(|event| event["type"] == "response.output_audio.delta").unwrap();
        delta["delta"] = payload.into();
        add(&format!("audio {payload:?}"), with_a_response(&delta.to_string()), false);
    }
    cases
}

/// The event in the middle of a response.
fn with_a_response(text: &str) -> Vec<Message> {
    let events = events();
    let mut messages: Vec<Message> = events[..2].iter().map(|event| Message::text(event.to_string())).collect();
    messages.push(Message::text(text));
    messages.extend(events.last().map(|event| Message::text(event.to_string())));
    messages
}

/// One of each that we listen to: those of a response, in order.
fn events() -> Vec<Value> {
    let of = |kind: &str, more: Value| {
        let mut event = json!({ "type": kind, "event_id": "e1", "response_id": "resp_1", "item_id": "item_1",
            "output_index": 0, "content_index": 0 });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let audio = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [0x55; 480]);
    let usage = json!({ "input_tokens": 5, "output_tokens": 7, "input_token_details": { "audio_tokens": 1, "text_tokens": 2 },
        "output_token_details": { "audio_tokens": 7 } });
    let call = json!({ "id": "item_2", "type": "function_call", "status": "completed", "call_id": "call_1",
        "name": "end_call", "arguments": "{}" });
    vec![
        json!({ "type": "response.created", "response": { "id": "resp_1", "status": "in_progress", "output": [],
            "metadata": { "request": "1" } } }),
        of("response.output_item.added", json!({ "item": { "id": "item_1", "type": "message", "role": "assistant" } })),
        of("response.output_audio.delta", json!({ "delta": audio })),
        of("response.output_audio_transcript.delta", json!({ "delta": "Hello" })),
        of("response.output_audio.done", json!({})),
        of("response.output_audio_transcript.done", json!({ "transcript": "Hello there." })),
        of("response.output_item.done", json!({ "item": call })),
        json!({ "type": "input_audio_buffer.speech_started", "item_id": "item_3", "audio_start_ms": 100 }),
        json!({ "type": "input_audio_buffer.speech_stopped", "item_id": "item_3", "audio_end_ms": 900 }),
        json!({ "type": "input_audio_buffer.committed", "item_id": "item_3", "previous_item_id": null }),
        json!({ "type": "conversation.item.input_audio_transcription.completed", "item_id": "item_3", "content_index": 0,
            "transcript": "Hi." }),
        json!({ "type": "error", "error": { "type": "invalid_request_error", "code": "x", "message": "m", "event_id": "e" } }),
        json!({ "type": "response.done", "response": { "id": "resp_1", "status": "completed", "output": [],
            "usage": usage } }),
    ]
}
