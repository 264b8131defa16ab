//! Twilio's webhooks and its media socket. Whoever reaches these functions is the carrier (`guard.rs`).
//!
//! A callback comes any number of times, in any order, about calls that there may not be (any more); none of that is an
//! error to answer with, since the carrier would do nothing about it but try again.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, State, WebSocketUpgrade};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use call::config::{Direction, OnMachine};
use call::{Answerer, CallStatus, CarrierInput, Input};
use jiff::Timestamp;
use uuid::Uuid;

use super::guard::{Form, origin, socket_origin};
use super::problem::Problem;
use super::{App, twiml};
use crate::agent::Agent;
use crate::calls::{Announced, Announcement, NoPlace, NoStream};
use crate::carrier;
use crate::driver::{Mail, Setup};
use crate::metrics::Rejected;
use crate::model::Endpoint;
use crate::outbound;
use crate::record::{CallFacts, CarrierRecording, RecordingStatus};

/// How long an upgraded socket waits for its call to take it. The call's loop takes it at once, or never.
const HAND_OVER_MAX: Duration = Duration::from_secs(1);

/// As much of a text of the carrier's as goes to the log.
const LOGGED_MAX: usize = 200;

/// A call arrives.
pub(super) async fn voice(
    State(app): State<Arc<App>>,
    uri: Uri,
    Extension(form): Extension<Form>,
) -> Result<Response, Problem> {
    let call_sid = form.call_sid()?;
    if let Some(token) = placed_token(&uri) {
        return answered(&app, &token, call_sid, &form);
    }
    let to = form.get("To").or_else(|| form.get("Called")).unwrap_or_default();
    let twilio = &app.config.twilio;
    let Some(agent) = app.config.agent_for(to) else {
        app.calls.metrics().rejected(Rejected::NoAgent);
        tracing::warn!("a call to a number that no agent answers; add it to an agent's `numbers`");
        return Ok(twiml::answer(twiml::instead(&twilio.unknown_number)));
    };
    let facts = CallFacts {
        id: Uuid::now_v7(),
        carrier: "twilio",
        call_sid: call_sid.to_owned(),
        direction: Direction::Inbound,
        from: form.get("From").unwrap_or_default().to_owned(),
        to: to.to_owned(),
        agent: agent.name.clone(),
        started_at: Timestamp::now(),
    };
    begin(&app, facts, agent.clone(), OnMachine::Continue, &form)
}

/// A call that we placed was answered.
fn answered(app: &App, token: &str, call_sid: &str, form: &Form) -> Result<Response, Problem> {
    let Some(placed) = app.outbound.answered(token, call_sid) else {
        // The same delivery again; or a call that was given up, and has nobody to talk to.
        return Ok(twiml::answer(app.calls.answered(call_sid).unwrap_or_else(|| twiml::HANG_UP.to_owned())));
    };
    let id = placed.facts.id;
    let answer = begin(app, placed.facts, placed.agent, placed.on_machine, form);
    if answer.is_err() {
        app.outbound.not_taken(id);
        return answer;
    }
    for input in app.outbound.taken(id) {
        app.calls.tell(call_sid, input);
    }
    answer
}

/// Whoever dialled: the call is admitted, its driver runs, the carrier is told to connect its stream.
fn begin(app: &App, facts: CallFacts, agent: Agent, on_machine: OnMachine, form: &Form) -> Result<Response, Problem> {
    let Some((account, name)) = app.model_of(&agent) else {
        tracing::error!(
            agent = agent.name,
            "a caller got no agent: the embedded model has no weights; `patchcord check` says what to run"
        );
        return Ok(twiml::answer(twiml::instead(agent.busy.as_ref().unwrap_or(&app.config.twilio.busy))));
    };
    let model = Endpoint::new(account, name, app.tls.clone()).map_err(our_fault)?;
    let id = facts.id;
    let announcement = Announcement { facts, delivery: form.delivery.clone(), agent_calls_max: agent.max_calls };
    let refuse = |why| {
        if why == NoPlace::Full {
            tracing::warn!(agent = agent.name, "a caller was one too many; max_calls is the limit");
        }
        twiml::instead(agent.busy.as_ref().unwrap_or(&app.config.twilio.busy))
    };
    let announced = app.calls.announce(announcement, |token| connect(app, token), refuse);
    match announced.map_err(our_fault)? {
        Announced::Again { answer } => Ok(twiml::answer(answer)),
        Announced::New { answer, call } => {
            tracing::info!(call = %id, agent = agent.name, "call announced");
            let setup = Setup {
                agent,
                model,
                commands: app.commands.clone(),
                socket_backlog_max: app.config.socket_backlog_max,
                on_machine,
                ears: app.ears.clone(),
            };
            tokio::spawn(app.calls.clone().run(call, Box::new(setup)));
            Ok(twiml::answer(answer))
        }
    }
}

/// The call's audio.
pub(super) async fn media(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let mail = app.calls.redeem(&token).map_err(|refused| {
        tracing::warn!(why = ?refused, "a media stream was refused");
        match refused {
            NoStream::Unknown => Problem::new(StatusCode::NOT_FOUND, "No call is waiting for this stream."),
            NoStream::Expired => Problem::new(StatusCode::GONE, "This stream came too late for its call."),
            NoStream::Used => Problem::new(StatusCode::CONFLICT, "This call has its stream already."),
        }
    })?;
    let hand_over = |socket| async move {
        if mail.send_timeout(Mail::Media(Box::new(socket)), HAND_OVER_MAX).await.is_err() {
            tracing::warn!("a media stream came for a call that is over");
        }
    };
    Ok(carrier::limited(upgrade).on_upgrade(hand_over))
}

/// The media stream ended: what now?
pub(super) async fn after_stream(
    State(app): State<Arc<App>>,
    Extension(form): Extension<Form>,
) -> Result<Response, Problem> {
    let call_sid = form.call_sid()?;
    let Some(status) = call_status(&form) else { return Ok(twiml::answer(twiml::HANG_UP)) };
    match app.calls.after_stream(call_sid, status).await {
        Some(token) => Ok(twiml::answer(connect(&app, &token))),
        None => Ok(twiml::answer(twiml::HANG_UP)),
    }
}

/// How the call stands. Comes in any order, and any number of times.
pub(super) async fn status(
    State(app): State<Arc<App>>,
    uri: Uri,
    Extension(form): Extension<Form>,
) -> Result<StatusCode, Problem> {
    let call_sid = form.call_sid()?;
    if let (Some(token), Some(word)) = (placed_token(&uri), form.get("CallStatus")) {
        app.outbound.status(&token, call_sid, word, form.get("SipResponseCode"));
    }
    if let Some(status) = call_status(&form) {
        app.calls.tell_status(call_sid, form.number("SequenceNumber"), status);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Who answered a call that we placed: the carrier's asynchronous verdict
/// (twilio.com/docs/voice/answering-machine-detection).
pub(super) async fn amd(
    State(app): State<Arc<App>>,
    uri: Uri,
    Extension(form): Extension<Form>,
) -> Result<StatusCode, Problem> {
    let call_sid = form.call_sid()?;
    let answerer = match form.get("AnsweredBy").unwrap_or_default() {
        "human" => Answerer::Human,
        "fax" => Answerer::Machine,
        // `machine_start`, `machine_end_beep`, …
        machine if machine.starts_with("machine") => Answerer::Machine,
        _ => Answerer::Unknown,
    };
    let early = placed_token(&uri).is_some_and(|token| app.outbound.answered_by(&token, call_sid, answerer));
    if !early {
        app.calls.tell(call_sid, Input::Carrier(CarrierInput::AnsweredBy(answerer)));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// How the media stream stands: the socket itself says as much, except for what went wrong before it.
pub(super) async fn stream_status(Extension(form): Extension<Form>) -> StatusCode {
    if form.get("StreamEvent") == Some("stream-error") {
        tracing::warn!(error = form.get("StreamError").map(logged), "the carrier reports a stream error");
    }
    StatusCode::NO_CONTENT
}

/// How the carrier's own recording stands (C2). The file may come long after the call.
pub(super) async fn recording(
    State(app): State<Arc<App>>,
    Extension(form): Extension<Form>,
) -> Result<StatusCode, Problem> {
    let (call_sid, sid) = (form.call_sid()?, form.sid("RecordingSid")?);
    let status = match form.get("RecordingStatus") {
        Some("in-progress") => RecordingStatus::InProgress,
        Some("completed") => RecordingStatus::Completed,
        Some("absent") => RecordingStatus::Absent,
        status => {
            tracing::warn!(status = status.map(logged), "a recording's status that we do not know");
            return Ok(StatusCode::NO_CONTENT);
        }
    };
    let recording = CarrierRecording {
        sid: sid.to_owned(),
        status,
        url: form.get("RecordingUrl").filter(|url| !url.is_empty()).map(str::to_owned),
        duration_ms: form.number::<u64>("RecordingDuration").map(|seconds| seconds.saturating_mul(1_000)),
        channels: form.number("RecordingChannels"),
        file: None,
    };
    let call = app.calls.carrier_recorded(call_sid, recording).await;
    if status == RecordingStatus::Completed
        && app.config.twilio.fetch_recordings
        && let Some(call) = call
    {
        app.fetcher.fetch(call, sid.to_owned());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The token by which we know a call that we placed.
fn placed_token(uri: &Uri) -> Option<String> {
    let mut query = form_urlencoded::parse(uri.query()?.as_bytes());
    query.find(|(name, _)| name == outbound::TOKEN).map(|(_, token)| token.into_owned())
}

fn call_status(form: &Form) -> Option<CallStatus> {
    let word = form.get("CallStatus")?;
    let status = outbound::status(word);
    if status.is_none() {
        tracing::warn!(status = logged(word), "a call status that we do not know");
    }
    status
}

fn connect(app: &App, token: &str) -> String {
    let origin = origin(&app.public_url);
    twiml::connect(
        &format!("{}/twilio/media/{token}", socket_origin(app)),
        &format!("{origin}/twilio/after-stream"),
        &format!("{origin}/twilio/stream-status"),
    )
}

fn logged(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOGGED_MAX)]
}

fn our_fault(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "a call could not be taken");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The call could not be taken; the server's log says why.")
}
