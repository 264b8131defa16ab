//! The webhooks. Whatever the carrier signs is answered below 500, whatever it does not sign is refused.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{AT_ONCE, Door, HOSTILE_CARRIER, PATIENCE, form, hostile};

const PATHS: [&str; 6] = [
    "/twilio/voice",
    "/twilio/after-stream",
    "/twilio/status",
    "/twilio/stream-status",
    "/twilio/recording",
    "/twilio/amd",
];

/// All that the carrier sends, to any of them.
const FIELDS: [(&str, &str); 22] = [
    ("AccountSid", "AC00000000000000000000000000000001"),
    ("AnsweredBy", "machine_end_beep"),
    ("ApiVersion", "2010-04-01"),
    ("CallDuration", "3"),
    ("CallSid", "CA0"),
    ("CallStatus", "in-progress"),
    ("Called", "+15005550006"),
    ("Direction", "inbound"),
    ("From", "+15005550001"),
    ("MachineDetectionDuration", "3000"),
    ("RecordingChannels", "2"),
    ("RecordingDuration", "3"),
    ("RecordingSid", "RE0"),
    ("RecordingStatus", "completed"),
    ("RecordingUrl", "https://api.twilio.com/x"),
    ("SequenceNumber", "1"),
    ("StreamError", "31920"),
    ("StreamEvent", "stream-error"),
    ("StreamName", "MZ0"),
    ("StreamSid", "MZ0"),
    ("Timestamp", "Sat, 21 Nov 2026 07:00:00 +0000"),
    ("To", HOSTILE_CARRIER),
];

struct Case {
    path: &'static str,
    /// The hostile one.
    field: &'static str,
    fields: Vec<(String, String)>,
}

/// Returns how many requests there were.
pub async fn all(door: Arc<Door>) -> usize {
    let cases = cases();
    let count = cases.len();
    let signed = stream::iter(cases.into_iter().enumerate())
        .for_each_concurrent(AT_ONCE, |(number, case)| signed(door.clone(), number, case));
    let (bodies, raw) = (bodies(&door), requests(&door));
    tokio::join!(bodies, raw, signed);
    count
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for path in PATHS {
        let before = cases.len();
        for (index, (field, _)) in FIELDS.iter().enumerate() {
            for text in hostile::texts() {
                let mut fields = form(&FIELDS);
                fields[index].1 = text;
                cases.push(Case { path, field, fields });
            }
            let mut fields = form(&FIELDS);
            fields.remove(index);
            cases.push(Case { path, field, fields });
            let twice = [form(&FIELDS), vec![((*field).to_owned(), "another".to_owned())]].concat();
            cases.push(Case { path, field, fields: twice });
        }
        let name =
            prop_oneof![prop::sample::select(FIELDS.map(|(name, _)| name).to_vec()).prop_map(str::to_owned), ".{0,20}"];
        let fields = prop::collection::vec((name, ".{0,60}"), 0..12);
        cases.extend(hostile::some(60, fields).into_iter().map(|fields| Case { path, field: "any", fields }));
        assert!(cases.len() - before >= 300);
    }
    cases
}

/// One request that the carrier signed.
async fn signed(door: Arc<Door>, number: usize, case: Case) {
    let Case { path, field, mut fields } = case;
    // Each is a call of its own, unless the case is about that.
    for (name, value) in &mut fields {
        if name == "CallSid" && value == "CA0" {
            *value = format!("CAweb{number}");
        }
    }
    let call_sid = fields.iter().find(|(name, _)| name == "CallSid").map(|(_, value)| value.clone());
    let response = door.post(path, &fields).await;
    let status = response.status();
    let body = response.text().await.unwrap();
    let defined = match (path, status) {
        ("/twilio/voice" | "/twilio/after-stream", StatusCode::OK) => body.contains("<Response>"),
        (_, StatusCode::NO_CONTENT) => body.is_empty(),
        // What it was refused for is said.
        (_, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE) => {
            body.contains("\"detail\"")
        }
        _ => false,
    };
    assert!(defined, "{path} with {field} hostile: {status} {body}");
    if body.contains("<Connect") {
        door.complete(&call_sid.unwrap()).await;
    }
}

/// Bodies that are no forms, that are too long, or that nobody signed.
async fn bodies(door: &Door) {
    let form_type = "application/x-www-form-urlencoded";
    let long = format!("CallSid=CA1&From={}", "x".repeat(70_000));
    let many = "a=1&".repeat(15_000);
    let bodies: [(&str, &[u8], u16); 9] = [
        (form_type, b"CallSid=%ff%fe&To=%c3%28", 403),
        (form_type, b"\xff\xfe\x00CallSid", 403),
        (form_type, b"%%%&&&===;;;", 403),
        (form_type, long.as_bytes(), 413),
        (form_type, many.as_bytes(), 403),
        ("application/json", br#"{"CallSid":"CA1"}"#, 403),
        ("text/xml", b"<Response/>", 403),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--", 403),
        ("\u{ff}nonsense", b"CallSid=CA1", 403),
    ];
    for path in PATHS {
        let url = format!("{}{path}", door.base);
        for (kind, body, expected) in &bodies {
            let kind = reqwest::header::HeaderValue::from_bytes(kind.as_bytes()).unwrap();
            let post = |signature: Option<String>| {
                let request = door.client.post(&url).header("content-type", kind.clone()).body(body.to_vec());
                signature.into_iter().fold(request, |request, value| request.header("X-Twilio-Signature", value)).send()
            };
            // Signed for the URL alone, or for nothing at all.
            for signature in [None, Some(door.sign(&url, &[])), Some("!".repeat(500)), Some(String::new())] {
                let status = post(signature).await.unwrap().status();
                assert_eq!(status.as_u16(), *expected, "{path} {kind:?}");
            }
        }
        // A body whose hash is signed is the carrier's, and no webhook.
        let body = br#"{"CallSid":"CA1"}"#;
        let url = format!("{url}?bodySHA256=4d2f04f4a2ae03cc1c9b1c1b9bd0f0d0");
        let request = door.client.post(&url).header("content-type", "application/json").body(body.to_vec());
        let status = request.header("X-Twilio-Signature", door.sign(&url, &[])).send().await.unwrap().status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: a hash of another body");
        // By GET, the fields are in the URL.
        let url = format!("{}{path}?CallSid=CAget&RecordingSid=RE1&To=nobody", door.base);
        let get = door.client.get(&url).header("X-Twilio-Signature", door.sign(&url, &[])).send().await.unwrap();
        assert!(get.status().is_success(), "{path} by GET: {}", get.status());
        assert_eq!(door.client.get(&url).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    }
}

/// What is no request at all. The connection is closed, or an error of the sender's is answered; never anything else.
async fn requests(door: &Door) {
    let address = door.base.strip_prefix("http://").unwrap();
    let requests = malformed();
    for request in &requests {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // A server that has seen enough may have closed before we are done.
        let _ = socket.write_all(request).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "still open: {:?}", String::from_utf8_lossy(request).get(..80));
        let answer = String::from_utf8_lossy(&answer);
        let refused = answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4");
        assert!(answer.is_empty() || refused, "{:?} was answered {answer}", String::from_utf8_lossy(request));
    }
}

fn malformed() -> Vec<Vec<u8>> {
    let head = "POST /twilio/status HTTP/1.1\r\nHost: x\r\n";
    let mut requests: Vec<Vec<u8>> = [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET http://evil.example/twilio/status HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /twilio/media/x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "GET /\u{0} HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for more in [
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 99999999999999999999\r\n\r\n",
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Expect: 200-maybe\r\nContent-Length: 1\r\n\r\nx",
    ] {
        requests.push(format!("{head}{more}").into_bytes());
    }
    requests.push(format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000)).into_bytes());
    requests.push(format!("{head}X: {}\r\n\r\n", "a".repeat(100_000)).into_bytes());
    requests.push(format!("{head}{}\r\n\r\n", "X: 1\r\n".repeat(500)).into_bytes());
    requests.extend((0..head.len()).step_by(9).map(|cut| head.as_bytes()[..cut].to_vec()));
    requests.extend(hostile::some(40, prop::collection::vec(any::<u8>(), 1..300)));
    requests
}
