//! Whatever bytes a webhook may bring, and whatever texts go into our documents. A target is a plain function of bytes that
//! panics if something is wrong, as those of `sim/src/fuzz`, fed with its corpus, mutations of it, and noise.
//! `FUZZ_RUNS` sets how many mutations, `FUZZ_SEED` begins elsewhere.

use std::panic::catch_unwind;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use sim::fuzz::Mutator;

use super::guard::{Form, delivery, is_form, parse};
use super::signature::{Content, Fields, Untrusted, check};
use super::twiml::{connect, instead};
use crate::answer::Answer;
use crate::config::{Config, Secret, SharedKey, SharedKeys, Twilio};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A URL's query, the headers that we read, and the form, a line each; the form may have more.
fn webhook(bytes: &[u8]) {
    let mut lines = bytes.splitn(5, |byte| *byte == b'\n');
    let [query, settings, kind, name, body] = std::array::from_fn(|_| lines.next().unwrap_or_default());

    let fields = parse(body);
    assert_eq!(fields, read_form(body), "two readers of forms disagree");
    let mut headers = HeaderMap::new();
    put(&mut headers, "content-type", kind);
    put(&mut headers, "i-twilio-idempotency-token", name);
    assert!(is_form(&headers) || headers.contains_key("content-type"));
    let form = Form::new(fields.clone(), delivery(&headers));
    assert!(form.delivery.as_ref().is_none_or(|name| (1..=128).contains(&name.len())));
    for field in ["CallSid", "RecordingSid"] {
        if let Ok(sid) = form.sid(field) {
            assert!(sid.len() <= 64 && sid.bytes().all(|byte| byte.is_ascii_alphanumeric()), "no name: {sid}");
        }
    }
    let _ = (form.number::<u32>("SequenceNumber"), form.get("To"));
    signed(&String::from_utf8_lossy(query), settings, &fields);
}

/// What the carrier signed is believed, by either scheme; what somebody else did is not.
fn signed(query: &str, settings: &[u8], fields: &Fields) {
    let (key, algorithm) = ("webhooks_sharedkey_1", sim::carrier::signature::Algorithm::HmacSha256);
    let shared = |secret: &str| sim::carrier::signature::SharedKey { id: key.into(), secret: secret.into(), algorithm };
    let shared_keys = SharedKeys(vec![SharedKey { id: key.into(), secret: Secret::new(TOKEN) }]);
    let twilio = Twilio { auth_token: Some(Secret::new(TOKEN)), shared_keys, ..Config::default().twilio };
    let url = format!("https://calls.example.org/twilio/voice?{query}");
    let judged = |signature: String, settings: &[u8]| {
        let mut headers = HeaderMap::new();
        put(&mut headers, "x-twilio-signature", signature.as_bytes());
        put(&mut headers, "x-twilio-webhooks-signature-settings", settings);
        check(&twilio, &headers, &url, Content::Form(fields))
    };
    let sign = sim::carrier::signature::sign;
    assert_eq!(judged(sign(TOKEN, &url, fields), b""), Ok(()));
    assert_eq!(judged(sign("another", &url, fields), b""), Err(Untrusted::Mismatch));
    let known = shared(TOKEN).settings();
    assert_eq!(judged(shared(TOKEN).sign(&url, fields), known.as_bytes()), Ok(()));
    assert_eq!(judged(shared("another").sign(&url, fields), known.as_bytes()), Err(Untrusted::Mismatch));
    // Whatever it says of its key, nobody else's signature is good.
    assert!(judged(shared("another").sign(&url, fields), settings).is_err());
}

/// If it can be a header's value, which not all bytes can.
fn put(headers: &mut HeaderMap, name: &'static str, value: &[u8]) {
    if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_bytes(value)) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// A form as the standard says (url.spec.whatwg.org/#concept-urlencoded-parser), letter by letter.
fn read_form(body: &[u8]) -> Fields {
    let decoded = |text: &[u8]| {
        let hex = |at: usize| text.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let (mut bytes, mut at) = (Vec::new(), 0);
        while let Some(byte) = text.get(at) {
            match (byte, hex(at + 1).zip(hex(at + 2))) {
                (b'%', Some((high, low))) => {
                    bytes.push((high * 16 + low) as u8);
                    at += 2;
                }
                (b'+', _) => bytes.push(b' '),
                (other, _) => bytes.push(*other),
            }
            at += 1;
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let fields = body.split(|byte| *byte == b'&').filter(|field| !field.is_empty());
    let pairs = fields.map(|field| match field.iter().position(|byte| *byte == b'=') {
        Some(at) => (decoded(&field[..at]), decoded(&field[at + 1..])),
        None => (decoded(field), String::new()),
    });
    pairs.collect()
}

/// Documents say what they were given, to a parser of somebody else's.
fn twiml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(3, '|').map(str::to_owned);
    let [one, two, three] = std::array::from_fn(|_| parts.next().unwrap_or_default());

    let document = connect(&one, &two, &three);
    let tree = roxmltree::Document::parse(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
    let attribute = |element: &str, name: &str| {
        let found = tree.descendants().find(|node| node.has_tag_name(element)).expect("the element");
        found.attribute(name).unwrap_or_default().to_owned()
    };
    assert_eq!(attribute("Stream", "url"), writable(&one));
    assert_eq!(attribute("Connect", "action"), writable(&two));
    assert_eq!(attribute("Stream", "statusCallback"), writable(&three));

    let say = Answer::Say { text: one.clone(), voice: Some(two.clone()), language: Some(three.clone()) };
    let document = instead(&say);
    let tree = roxmltree::Document::parse(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
    let said = tree.descendants().find(|node| node.has_tag_name("Say")).expect("what is said");
    assert_eq!(said.text().unwrap_or_default(), writable(&one));
    assert_eq!(said.attribute("voice").unwrap_or_default(), writable(&two));
    assert_eq!(said.attribute("language").unwrap_or_default(), writable(&three));
    let verbs: Vec<_> = tree.root_element().children().map(|node| node.tag_name().name().to_owned()).collect();
    assert_eq!(verbs, ["Say", "Hangup"]);

    let document = instead(&Answer::Dial(one.clone()));
    let tree = roxmltree::Document::parse(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
    let innermost = tree.descendants().rfind(roxmltree::Node::is_element).expect("an element");
    assert_eq!(innermost.text().unwrap_or_default(), writable(&one));
}

/// What XML has a way to write (w3.org/TR/xml/#charsets).
fn writable(text: &str) -> String {
    let is_char = |letter: &char| matches!(letter, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().filter(is_char).collect()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn fuzz(target: fn(&[u8]), corpus: &str) {
    // An example is a paragraph.
    let examples: Vec<Vec<u8>> = corpus.split("\n\n").map(|example| example.as_bytes().to_vec()).collect();
    let feed = |bytes: &[u8]| {
        if catch_unwind(|| target(bytes)).is_err() {
            panic!("fails on {}", bytes.escape_ascii());
        }
    };
    examples.iter().for_each(|example| feed(example));
    let mut mutator = Mutator::new(setting("FUZZ_SEED", 1));
    for _ in 0..setting("FUZZ_RUNS", 5_000) {
        feed(&mutator.mutate(&examples));
        feed(&mutator.noise(200));
    }
}

#[test]
fn webhooks() {
    fuzz(webhook, include_str!("corpus/webhook.txt"));
}

#[test]
fn documents() {
    fuzz(twiml, include_str!("corpus/twiml.txt"));
}
