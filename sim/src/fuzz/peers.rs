//! The readers of both protocols, each against `serde_json::Value`.

use call::ModelInput;
use call::wire::openai::{ClientEvent, Read, Realtime, Session};
use call::wire::twilio::{self, FromCarrier, ToCarrier};
use serde_json::Value;

/// What a carrier sends.
pub fn from_carrier(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(message) = twilio::read(&text) else { return };
    let Some(value) = value(&text) else { return };
    let event = value["event"].as_str();
    match message {
        FromCarrier::Connected => assert_eq!(event, Some("connected")),
        FromCarrier::Start(start) => {
            assert_eq!(event, Some("start"));
            assert!(is_text(&value["start"]["callSid"], &start.call_sid), "{text}");
        }
        FromCarrier::Media { payload, timestamp_ms, .. } => {
            assert_eq!(event, Some("media"));
            assert!(is_text(&value["media"]["payload"], &payload), "{text}");
            assert!(is_number(&value["media"]["timestamp"], timestamp_ms), "{text}");
            if let Some(len) = call::wire::payload::payload_len(&payload) {
                let decoded = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, payload.as_bytes());
                assert_eq!(decoded.map(|decoded| decoded.len()), Ok(len as usize), "{payload}");
            }
        }
        FromCarrier::Mark { name, .. } => {
            assert_eq!(event, Some("mark"));
            assert!(is_text(&value["mark"]["name"], &name), "{text}");
            // Whatever it is called, asking is harmless.
            let _ = twilio::mark_id(&name);
        }
        FromCarrier::Dtmf { digit, .. } => {
            assert_eq!(event, Some("dtmf"));
            assert!("0123456789*#ABCD".contains(digit), "{text}");
        }
        FromCarrier::Stop { .. } => assert_eq!(event, Some("stop")),
        FromCarrier::Unknown => {
            assert!(
                !["connected", "start", "media", "mark", "dtmf", "stop"].contains(&event.unwrap_or_default()),
                "{text}"
            );
        }
    }
}

/// What we send to a carrier: the simulated one reads it.
pub fn to_carrier(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(message) = twilio::read_to_carrier(&text) else { return };
    let Some(value) = value(&text) else { return };
    let event = match message {
        ToCarrier::Media { .. } => "media",
        ToCarrier::Mark { .. } => "mark",
        ToCarrier::Clear { .. } => "clear",
    };
    assert_eq!(value["event"].as_str(), Some(event));
}

/// What a model sends. Twice, since the second time all ids are known.
pub fn from_model(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut realtime = Realtime::new();
    for _ in 0..2 {
        match realtime.read(&text) {
            Read::Audio { payload, input } => {
                let Some(value) = value(&text) else { return };
                assert!(is_text(&value["delta"], &payload), "{text}");
                let len = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, payload.as_bytes())
                    .expect("what was read is base64")
                    .len();
                assert!(matches!(input, ModelInput::Audio { bytes, .. } if bytes as usize == len), "{text}");
            }
            Read::Input(_) => {
                let Some(value) = value(&text) else { return };
                assert!(value["type"].is_string(), "{text}");
            }
            Read::Nothing | Read::Malformed(_) => {}
        }
    }
}

/// What we send to a model: the simulated one reads it. What was read and written again reads the same; a session takes it
/// or is left as it was.
pub fn to_model(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(event) = ClientEvent::read(&text) else { return };
    let mut written = String::new();
    event.write(&mut written);
    let again = ClientEvent::read(&written).unwrap_or_else(|error| panic!("{error:?}: {written}"));
    let mut twice = String::new();
    again.write(&mut twice);
    assert_eq!(written, twice);
    let id = event.event_id().map(str::to_owned);
    assert_eq!(id.as_deref(), value(&written).as_ref().and_then(|written| written["event_id"].as_str()));
    if let ClientEvent::SessionUpdate { session, .. } = event {
        update(*session);
    }
}

fn update(update: Session) {
    let fresh = Session::of_model("m");
    let mut session = fresh.clone();
    match session.update(update.clone()) {
        Ok(()) => {
            let once = session.clone();
            assert!(session.update(update).is_ok() && session == once, "what was taken once is not taken again");
            assert!((0.25..=1.5).contains(&session.speed()), "{}", session.speed());
        }
        Err(refused) => assert!(session == fresh && refused.param.starts_with("session."), "{refused:?}"),
    }
}

/// What was read is JSON to others, too. `None`: but for half a surrogate pair or a number beyond all bounds, in a field
/// that we skip and others read.
fn value(text: &str) -> Option<Value> {
    const SKIPPED: [&str; 3] = ["surrogate", "hex escape", "number out of range"];
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(error) if SKIPPED.iter().any(|what| error.to_string().contains(what)) => None,
        Err(error) => panic!("read, but no JSON ({error}): {text}"),
    }
}

fn is_text(value: &Value, text: &str) -> bool {
    value.as_str() == Some(text) || *value.to_string() == *text
}

fn is_number(value: &Value, number: u64) -> bool {
    match value {
        Value::String(text) => text.trim().parse() == Ok(number),
        other => other.as_u64() == Some(number) || other.as_f64().is_some_and(|float| float as u64 == number),
    }
}
