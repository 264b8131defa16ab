//! The carrier's media socket. The call ends when its caller hangs up, whatever was said on it before.

use std::future::ready;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use uuid::Uuid;

use super::{AT_ONCE, Door, HOSTILE_CARRIER, PATIENCE, hostile};

pub type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// In a case, the call that it will be.
const ITS_CALL: &str = "CA?";

struct Case {
    name: String,
    /// Whether the stream begins as it should before that.
    begun: bool,
    messages: Vec<Message>,
    /// The log has a word about it.
    odd: bool,
}

/// Returns those of which the log has to have a word.
pub async fn all(door: Arc<Door>) -> Vec<(String, Uuid)> {
    let door = &*door;
    tokens(door).await;
    let cases = cases();
    assert!(cases.len() >= 300, "{}", cases.len());
    let calls = stream::iter(cases.into_iter().enumerate()).map(|(number, case)| async move {
        let call_sid = format!("CAmedia{number}");
        let url = door.announce(&call_sid, HOSTILE_CARRIER).await;
        let mut stream = door.dial(&url, &door.sign(&url, &[])).await.unwrap();
        let before = if case.begun { vec![connected(), start(&call_sid)] } else { vec![connected()] };
        let before = before.into_iter().map(|message| Message::text(message.to_string()));
        // A socket that is closed for what came on it takes no more of it.
        for message in before.chain(case.messages) {
            let message = match message {
                Message::Text(text) => Message::text(text.replace(ITS_CALL, &call_sid)),
                other => other,
            };
            if stream.send(message).await.is_err() {
                break;
            }
        }
        heard(&mut stream, &case.name).await;
        door.complete(&call_sid).await;
        // The peer does not hang about to close: half of them never say another word.
        if number % 2 == 0 {
            drop(stream);
        }
        let id = door.id_of(&call_sid).await;
        case.odd.then_some((case.name, id))
    });
    calls.buffer_unordered(AT_ONCE).filter_map(ready).collect().await
}

/// Waits until the server has read all that was sent, or has closed.
async fn heard(stream: &mut Stream, name: &str) {
    if stream.send(Message::Ping("all of it".into())).await.is_err() {
        return;
    }
    let answered = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Pong(_) | Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, answered).await.is_ok(), "{name}: neither read nor closed");
}

/// Who has the address of a stream has one call's, once.
async fn tokens(door: &Door) {
    let refused = |result: Result<Stream, tungstenite::Error>| match result {
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        other => panic!("not refused: {other:?}"),
    };
    let url = door.announce("CAtoken", HOSTILE_CARRIER).await;
    let right = door.sign(&url, &[]);
    let (before, token) = url.rsplit_once('/').unwrap();
    // Without the signature the token is of no use, and is not used up.
    assert_eq!(refused(door.dial(&url, "").await), 403);
    assert_eq!(refused(door.dial(&url, &door.sign(&url.replace("ws:", "http:"), &[])).await), 403);
    for other in ["0", "x", &token[1..], &token.to_uppercase(), &"0".repeat(5_000), "%00", &"0".repeat(32)] {
        let url = format!("{before}/{other}");
        let status = refused(door.dial(&url, &door.sign(&url, &[])).await);
        // All digits have no capitals.
        assert!(status == 404 || other == token, "{other}: {status}");
    }
    let mut stream = door.dial(&url, &right).await.unwrap();
    for message in [connected(), start("CAtoken")] {
        stream.send(Message::text(message.to_string())).await.unwrap();
    }
    heard(&mut stream, "the first stream").await;
    assert_eq!(refused(door.dial(&url, &right).await), 409, "a second stream");
    heard(&mut stream, "the first stream, undisturbed").await;
    door.complete("CAtoken").await;
    door.id_of("CAtoken").await;
    assert_eq!(refused(door.dial(&url, &right).await), 404, "the token of a call that is over");
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, begun: bool, messages: Vec<Message>, odd: bool| {
        cases.push(Case { name, begun, messages, odd });
    };
    let unreadable = |text: &str| call::wire::twilio::read(text).is_err();
    for message in [start(ITS_CALL), media(20, "MZ1"), mark(), dtmf(), stop()] {
        let event = message["event"].as_str().unwrap().to_owned();
        for (what, text) in hostile::mutations(&message).into_iter().chain(hostile::truncations(&message)) {
            let odd = unreadable(&text);
            add(format!("{event} {what}"), event != "start", vec![Message::text(text)], odd);
        }
    }
    for (index, value) in hostile::some(60, hostile::any_json()).into_iter().enumerate() {
        let text = value.to_string();
        let odd = unreadable(&text);
        add(format!("any JSON {index}"), true, vec![Message::text(text)], odd);
    }
    for (index, text) in hostile::some(40, ".{0,200}").into_iter().enumerate() {
        let odd = unreadable(&text);
        add(format!("any text {index}"), true, vec![Message::text(text)], odd);
    }
    for payload in ["!", "A", "AA", "AAA", "AA=A", "====", "AAAA\n", "\"},{\"", "////=", "AB==", "ÄÄÄÄ", "AAAA AAAA"]
    {
        let mut message = media(20, "MZ1");
        message["media"]["payload"] = payload.into();
        add(format!("audio {payload:?}"), true, vec![Message::text(message.to_string())], true);
    }
    let media_at = |timestamp: Value| {
        let mut message = media(0, "MZ1");
        message["media"]["timestamp"] = timestamp;
        Message::text(message.to_string())
    };
    let times =
        [json!("0"), json!("18446744073709551615"), json!("5"), json!("1"), json!("9007199254740993"), json!("20")];
    add("times out of order".into(), true, times.into_iter().map(media_at).collect(), false);
    let text = |message: Value| Message::text(message.to_string());
    add("audio before its start".into(), false, vec![text(media(20, "MZ1"))], true);
    add("another stream's audio".into(), true, vec![text(media(20, "MZ2"))], true);
    add("another stream's stop".into(), true, vec![text(json!({ "event": "stop", "streamSid": "MZ2" }))], false);
    add("a second start".into(), true, vec![text(start(ITS_CALL)), text(media(20, "MZ1"))], false);
    add("a start without a stream".into(), false, vec![text(json!({ "event": "start", "start": {} }))], true);
    add(
        "nothing after the stop".into(),
        true,
        vec![text(stop()), text(media(20, "MZ1")), text(start(ITS_CALL))],
        false,
    );
    add("not our coding".into(), false, vec![text(wideband())], true);
    add("another call's start".into(), false, vec![text(start("CAother")), text(media(20, "MZ1"))], true);
    for marks in [1, 300] {
        add(format!("{marks} marks of nobody"), true, vec![text(mark()); marks], false);
    }
    add("a flood of audio".into(), true, (0..600).map(|n| text(media(n * 20, "MZ1"))).collect(), false);
    add("a flood of keys".into(), true, vec![text(dtmf()); 300], false);
    let huge = format!("{{\"event\":\"{}\"}}", "x".repeat(70_000));
    add("too long".into(), true, vec![Message::text(huge)], false);
    add("binary".into(), true, vec![Message::binary(vec![0_u8; 300]), Message::binary(vec![])], false);
    add("empty".into(), true, vec![Message::text("")], true);
    add("deep".into(), true, vec![Message::text("[".repeat(30_000))], true);
    let frame = |opcode, is_final: bool, bytes: &[u8]| {
        let header = FrameHeader { opcode, is_final, ..FrameHeader::default() };
        Message::Frame(Frame::from_payload(header, bytes.to_vec().into()))
    };
    let text_frame = OpCode::Data(Data::Text);
    add("not UTF-8".into(), true, vec![frame(text_frame, true, b"{\"event\":\"\xff\xfe\"}")], false);
    add("begun and not ended".into(), true, vec![frame(text_frame, false, b"{\"event\":")], false);
    add("continued and not begun".into(), true, vec![frame(OpCode::Data(Data::Continue), true, b"x")], false);
    add("begun twice".into(), true, vec![frame(text_frame, false, b"a"), frame(text_frame, false, b"b")], false);
    add("a long ping".into(), true, vec![frame(OpCode::Control(Control::Ping), true, &[0; 200])], false);
    add("a ping in pieces".into(), true, vec![frame(OpCode::Control(Control::Ping), false, b"x")], false);
    add("reserved opcode".into(), true, vec![frame(OpCode::Data(Data::Reserved(5)), true, b"x")], false);
    add("a close that is none".into(), true, vec![frame(OpCode::Control(Control::Close), true, b"\x03")], false);
    add("closed".into(), true, vec![Message::Close(None)], false);
    cases
}

fn connected() -> Value {
    json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" })
}

fn start(call_sid: &str) -> Value {
    let format = json!({ "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 });
    let start = json!({ "streamSid": "MZ1", "accountSid": "AC1", "callSid": call_sid, "tracks": ["inbound"],
        "mediaFormat": format, "customParameters": { "a": "b" } });
    json!({ "event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": start })
}

fn wideband() -> Value {
    let mut start = start(ITS_CALL);
    start["start"]["mediaFormat"]["sampleRate"] = 16_000.into();
    start
}

fn media(timestamp: u64, stream_sid: &str) -> Value {
    let payload = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [0xff; 160]);
    json!({ "event": "media", "sequenceNumber": "2", "streamSid": stream_sid,
        "media": { "track": "inbound", "chunk": "1", "timestamp": timestamp.to_string(), "payload": payload } })
}

fn mark() -> Value {
    json!({ "event": "mark", "sequenceNumber": "3", "streamSid": "MZ1", "mark": { "name": "0.1" } })
}

fn dtmf() -> Value {
    json!({ "event": "dtmf", "sequenceNumber": "4", "streamSid": "MZ1", "dtmf": { "track": "inbound_track", "digit": "5" } })
}

fn stop() -> Value {
    json!({ "event": "stop", "sequenceNumber": "5", "streamSid": "MZ1", "stop": { "accountSid": "AC1", "callSid": ITS_CALL } })
}
