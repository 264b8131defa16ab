//! Twilio's webhooks and its media socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use call::{CallStatus, CarrierInput, Input};
use jiff::Timestamp;
use uuid::Uuid;

use super::problem::Problem;
use super::signature::{self, Fields};
use super::{App, is_local, twiml};
use crate::calls::{Announced, NoStream};
use crate::carrier;
use crate::config::Verify;
use crate::driver::{Mail, Setup};
use crate::metrics::Rejected;
use crate::model::Endpoint;
use crate::record::CallFacts;

/// How long an upgraded socket waits for its call to take it. The call's loop takes it at once, or never.
const HAND_OVER_MAX: Duration = Duration::from_secs(1);

/// A call arrives.
pub(crate) async fn voice(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let form = Form::verified(&app, peer, &uri, &headers, &body)?;
    let call_sid = form.call_sid()?;
    let to = form.get("To").or_else(|| form.get("Called")).unwrap_or_default();
    if app.draining.load(Ordering::Relaxed) {
        app.calls.metrics().rejected(Rejected::Draining);
        return Ok(twiml::answer(twiml::BUSY));
    }
    let Some(agent) = app.config.agent_for(to) else {
        app.calls.metrics().rejected(Rejected::NoAgent);
        tracing::warn!("a call to a number that no agent answers was rejected; add it to an agent's `numbers`");
        return Ok(twiml::answer(twiml::REJECTED));
    };
    let model = Endpoint::new(&app.config.openai, &agent.model.name, app.tls.clone()).map_err(our_fault)?;
    let facts = CallFacts {
        id: Uuid::now_v7(),
        carrier: "twilio",
        call_sid: call_sid.to_owned(),
        direction: "inbound",
        from: form.get("From").unwrap_or_default().to_owned(),
        to: to.to_owned(),
        agent: agent.name.clone(),
        started_at: Timestamp::now(),
    };
    let (id, agent) = (facts.id, agent.clone());
    let announced = app.calls.announce(facts, |token| connect(&app, token), || twiml::BUSY.to_owned());
    match announced.map_err(our_fault)? {
        Announced::Again { answer } => Ok(twiml::answer(answer)),
        Announced::New { answer, call } => {
            tracing::info!(call = %id, agent = agent.name, "call announced");
            let setup = Setup {
                agent,
                model,
                commands: app.commands.clone(),
                socket_backlog_max: app.config.socket_backlog_max,
            };
            tokio::spawn(app.calls.clone().run(call, setup));
            Ok(twiml::answer(answer))
        }
    }
}

/// The call's audio.
pub(crate) async fn media(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(token): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    verify(&app, peer, &headers, &format!("{}{uri}", socket_origin(&app)), &Fields::new())?;
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
pub(crate) async fn after_stream(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let form = Form::verified(&app, peer, &uri, &headers, &body)?;
    if let Some(status) = form.status() {
        app.calls.tell(form.call_sid()?, Input::Carrier(CarrierInput::AfterStream(status)));
    }
    Ok(twiml::answer(twiml::HANG_UP))
}

/// How the call stands. Comes in any order, and any number of times.
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let form = Form::verified(&app, peer, &uri, &headers, &body)?;
    if let Some(status) = form.status() {
        app.calls.tell(form.call_sid()?, Input::Carrier(CarrierInput::Status(status)));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// How the media stream stands: the socket itself says as much, except for what went wrong before it.
pub(crate) async fn stream_status(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let form = Form::verified(&app, peer, &uri, &headers, &body)?;
    if form.get("StreamEvent") == Some("stream-error") {
        tracing::warn!(error = form.get("StreamError"), "the carrier reports a stream error");
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A webhook's form, known to be the carrier's.
struct Form(Fields);

impl Form {
    fn verified(app: &App, peer: SocketAddr, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        let fields = form_urlencoded::parse(body).into_owned().collect();
        verify(app, peer, headers, &format!("{}{uri}", origin(&app.public_url)), &fields)?;
        Ok(Form(fields))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The call's name, which goes into REST paths and so has to be a name.
    fn call_sid(&self) -> Result<&str, Problem> {
        let plausible =
            |sid: &&str| (1..=64).contains(&sid.len()) && sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        self.get("CallSid").filter(plausible).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "The form field CallSid is missing or not a call's id.")
        })
    }

    fn status(&self) -> Option<CallStatus> {
        let status = self.get("CallStatus")?;
        match status {
            "queued" | "initiated" | "ringing" => Some(CallStatus::Ringing),
            "in-progress" | "answered" => Some(CallStatus::InProgress),
            "completed" => Some(CallStatus::Completed),
            "busy" => Some(CallStatus::Busy),
            "no-answer" => Some(CallStatus::NoAnswer),
            "failed" => Some(CallStatus::Failed),
            "canceled" => Some(CallStatus::Canceled),
            _ => {
                tracing::warn!(status, "a call status that we do not know");
                None
            }
        }
    }
}

fn verify(app: &App, peer: SocketAddr, headers: &HeaderMap, url: &str, fields: &Fields) -> Result<(), Problem> {
    let signature = headers.get(signature::HEADER);
    let excused = app.config.twilio.verify == Verify::UnlessLoopback && app.on_loopback && is_local(peer, headers);
    if signature.is_none() && excused {
        return Ok(());
    }
    let valid = match (&app.config.twilio.auth_token, signature.and_then(|value| value.to_str().ok())) {
        (Some(token), Some(signature)) => signature::is_valid(token.reveal(), url, fields, signature),
        _ => false,
    };
    if valid {
        return Ok(());
    }
    tracing::warn!(
        path = url.split(['?', '#']).next(),
        signed = signature.is_some(),
        "a request was refused that the carrier did not sign, or not for this URL and TWILIO_AUTH_TOKEN; \
         is public_url what the carrier is configured with?"
    );
    Err(Problem::new(StatusCode::FORBIDDEN, "X-Twilio-Signature is missing or does not fit this request."))
}

fn connect(app: &App, token: &str) -> String {
    let origin = origin(&app.public_url);
    twiml::connect(
        &format!("{}/twilio/media/{token}", socket_origin(app)),
        &format!("{origin}/twilio/after-stream"),
        &format!("{origin}/twilio/stream-status"),
    )
}

/// Scheme, host and port, without the slash that a URL ends in.
fn origin(url: &reqwest::Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// `https` is `wss`, and `http`, on this machine, is `ws`.
fn socket_origin(app: &App) -> String {
    origin(&app.public_url).replacen("http", "ws", 1)
}

fn our_fault(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "a call could not be taken");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The call could not be taken; the server's log says why.")
}
