//! Recordings of the simulated carrier (twilio.com/docs/voice/api/recording): made by REST, told of by callbacks, fetched
//! as files. What they have is a header and silence.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::twilio::{Answer, Exchange, Poster, RestRequest, Shared, authorized, refusal};

/// A second of two channels of 16 bits at 8 kHz.
const BYTES_A_SECOND: usize = 32_000;

pub(super) struct Recordings {
    by_sid: Mutex<BTreeMap<String, Recording>>,
    not_yet: AtomicU32,
    callbacks: watch::Sender<Vec<Exchange>>,
}

struct Recording {
    call_sid: String,
    status: &'static str,
    seconds: u64,
}

impl Recordings {
    pub(super) fn new(not_yet: u32) -> Self {
        let (callbacks, _) = watch::channel(Vec::new());
        Recordings { by_sid: Mutex::default(), not_yet: AtomicU32::new(not_yet), callbacks }
    }

    pub(super) async fn callbacks(&self, count: usize) -> Vec<Exchange> {
        let mut callbacks = self.callbacks.subscribe();
        // The sender is ours, so it is there.
        callbacks.wait_for(|callbacks| callbacks.len() >= count).await.map(|told| told.clone()).unwrap_or_default()
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Recording>) -> T) -> T {
        act(&mut self.by_sid.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Recording {
    fn json(&self, account: &str, sid: &str) -> Value {
        json!({
            "sid": sid,
            "account_sid": account,
            "call_sid": self.call_sid,
            "status": self.status,
            "channels": 2,
            "duration": self.seconds.to_string(),
            "source": "StartCallRecordingAPI",
            "uri": format!("/2010-04-01/Accounts/{account}/Recordings/{sid}.json"),
        })
    }
}

/// POST `/Calls/{sid}/Recordings.json`.
pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    Path((account, call)): Path<(String, String)>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Answer {
    if !authorized(&shared.settings, &headers) {
        return refusal(StatusCode::UNAUTHORIZED, 20003, "Authenticate");
    }
    let sid = shared.name("RE");
    let mut calls = shared.calls();
    let Some(registered) = calls.get_mut(&call).filter(|_| account == shared.settings.account_sid) else {
        return refusal(StatusCode::NOT_FOUND, 20404, "the requested resource was not found");
    };
    let answer = if registered.end.borrow().is_some() {
        refusal(StatusCode::BAD_REQUEST, 21220, "the call is not in progress")
    } else {
        let recording = Recording { call_sid: call.clone(), status: "in-progress", seconds: 0 };
        let json = recording.json(&account, &sid);
        shared.recordings.with(|recordings| recordings.insert(sid.clone(), recording));
        let told = about(&form).map(|(url, events)| (registered.post.clone(), url, events));
        let mut end = registered.end.subscribe();
        let (shared, account, call) = (shared.clone(), account.clone(), call.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            tell(&shared, &told, &account, &call, &sid).await;
            // A call that is gone without an end has a recording without one.
            if end.wait_for(Option::is_some).await.is_ok() {
                shared.recordings.with(|recordings| {
                    if let Some(recording) = recordings.get_mut(&sid) {
                        recording.status = "completed";
                        recording.seconds = began.elapsed().as_secs().max(1);
                    }
                });
                tell(&shared, &told, &account, &call, &sid).await;
            }
        });
        (StatusCode::CREATED, Json(json))
    };
    let answered = Some(answer.0.as_u16());
    registered.rest.push(RestRequest { resource: format!("Calls/{call}/Recordings"), form, answered });
    answer
}

/// GET `/Calls/{sid}/Recordings.json`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Path((account, call)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    if !authorized(&shared.settings, &headers) {
        return refusal(StatusCode::UNAUTHORIZED, 20003, "Authenticate");
    }
    let of_call = shared.recordings.with(|recordings| {
        let mut of_call = Vec::new();
        for (sid, recording) in recordings.iter().filter(|(_, recording)| recording.call_sid == call) {
            of_call.push(recording.json(&account, sid));
        }
        of_call
    });
    (StatusCode::OK, Json(json!({ "recordings": of_call, "page": 0, "page_size": 50, "next_page_uri": null })))
}

/// GET `/Recordings/{sid}.json` and the file, `/Recordings/{sid}.wav`.
pub(super) async fn fetch(
    State(shared): State<Arc<Shared>>,
    Path((account, resource)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if !authorized(&shared.settings, &headers) {
        return refusal(StatusCode::UNAUTHORIZED, 20003, "Authenticate").into_response();
    }
    let (sid, kind) = resource.split_once('.').unwrap_or((&resource, ""));
    let found = shared.recordings.with(|recordings| {
        let recording = recordings.get(sid)?;
        Some((recording.json(&account, sid), recording.status == "completed", recording.seconds))
    });
    let not_yet = || {
        let one_less = |left: u32| left.checked_sub(1);
        shared.recordings.not_yet.try_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    };
    match (found, kind) {
        (Some((json, ..)), "json") => Json(json).into_response(),
        (Some((_, true, seconds)), "wav") if !not_yet() => {
            ([(header::CONTENT_TYPE, "audio/x-wav")], wav(seconds)).into_response()
        }
        _ => refusal(StatusCode::NOT_FOUND, 20404, "the requested resource was not found").into_response(),
    }
}

/// Where to tell, and of what.
fn about(form: &[(String, String)]) -> Option<(Url, String)> {
    let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let url = Url::parse(field("RecordingStatusCallback")?).ok()?;
    Some((url, field("RecordingStatusCallbackEvent").unwrap_or("completed").to_owned()))
}

async fn tell(shared: &Shared, told: &Option<(Poster, Url, String)>, account: &str, call: &str, sid: &str) {
    let Some((post, url, events)) = told else { return };
    let Some((status, seconds)) =
        shared.recordings.with(|recordings| recordings.get(sid).map(|it| (it.status, it.seconds)))
    else {
        return;
    };
    if !events.split(' ').any(|event| event == status) {
        return;
    }
    let form = [
        ("AccountSid", account),
        ("CallSid", call),
        ("RecordingSid", sid),
        ("RecordingUrl", &format!("https://api.twilio.com/2010-04-01/Accounts/{account}/Recordings/{sid}")),
        ("RecordingStatus", status),
        ("RecordingDuration", &seconds.to_string()),
        ("RecordingChannels", "2"),
        ("RecordingSource", "StartCallRecordingAPI"),
    ];
    let form = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let exchange = post.post(url.clone(), form).await;
    shared.recordings.callbacks.send_modify(|callbacks| callbacks.push(exchange));
}

/// Silence: 16 bits, 8 kHz, two channels.
fn wav(seconds: u64) -> Vec<u8> {
    let data = usize::try_from(seconds).unwrap_or(0).saturating_mul(BYTES_A_SECOND);
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut wav = Vec::with_capacity(44 + data);
    wav.extend(b"RIFF");
    wav.extend(length(36 + data));
    wav.extend(b"WAVEfmt ");
    wav.extend(length(16));
    wav.extend([1, 0, 2, 0]);
    wav.extend(length(8_000));
    wav.extend(length(BYTES_A_SECOND));
    wav.extend([4, 0, 16, 0]);
    wav.extend(b"data");
    wav.extend(length(data));
    wav.resize(44 + data, 0);
    wav
}
