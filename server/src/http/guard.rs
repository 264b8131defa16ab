//! Who may use a route: seen to before its handler, and once for all of them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, FromRequest, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::problem::Problem;
use super::signature::{self, Content, Fields, Untrusted};
use super::{App, BODY_MAX};
use crate::config::Verify;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Guard {
    /// Everybody: only what tells nothing.
    None,
    /// The carrier, by its signature. The handler finds a [`Form`] among the request's extensions.
    Carrier,
    /// The carrier, which signs the address of a media socket as `wss`.
    CarrierSocket,
    /// Who has `PATCHCORD_API_KEY`; without one set, who is on this machine.
    Key,
}

/// What the carrier says in a webhook, known to be the carrier's.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    fields: Fields,
    /// The delivery's name: the same one again is the same delivery (N3).
    pub delivery: Option<String>,
}

/// Twilio's name of a delivery, the same in each attempt at it (twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
const IDEMPOTENCY_TOKEN: &str = "i-twilio-idempotency-token";

/// Longer names are none of Twilio's, and are not kept.
const DELIVERY_MAX: usize = 128;

pub(super) async fn webhook(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let body = Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await.map_err(unread)?;
    let path_and_query = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path_and_query}", origin(&app.public_url));
    let in_url = matches!(parts.method, Method::GET | Method::HEAD);
    let fields = match in_url {
        true => parse(parts.uri.query().unwrap_or_default().as_bytes()),
        false if is_form(&parts.headers) => parse(&body),
        false => Fields::new(),
    };
    let content = match in_url {
        true => Content::None,
        false if is_form(&parts.headers) => Content::Form(&fields),
        false => Content::Other(&body),
    };
    verify(&app, peer, &parts.headers, &url, content)?;
    if matches!(content, Content::Other(_)) {
        let detail = "Webhooks are forms (application/x-www-form-urlencoded), or GET with their fields in the query.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let form = Form::new(fields, delivery(&parts.headers));
    if let (Some(ours), Some(theirs)) = (&app.config.twilio.account_sid, form.get("AccountSid"))
        && ours != theirs
    {
        tracing::warn!("a webhook of another account was refused; TWILIO_ACCOUNT_SID says which one is served");
        return Err(Problem::new(StatusCode::FORBIDDEN, "AccountSid is not the account that is served here."));
    }
    parts.extensions.insert(form);
    Ok(next.run(Request::from_parts(parts, Body::empty())).await)
}

pub(super) async fn media_socket(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let path_and_query = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path_and_query}", socket_origin(&app));
    verify(&app, peer, request.headers(), &url, Content::None)?;
    Ok(next.run(request).await)
}

pub(super) async fn key(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let headers = request.headers();
    match &app.config.api_key {
        Some(key) => {
            let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
            if !given.is_some_and(|given| given.ct_eq(key.reveal().as_bytes()).into()) {
                let detail = "Send PATCHCORD_API_KEY's value as Authorization: Bearer.";
                return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
            }
        }
        None if is_local(peer, headers) => {}
        None => {
            let detail = "The API answers on loopback only, until PATCHCORD_API_KEY is set.";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
    }
    Ok(next.run(request).await)
}

impl Form {
    pub(super) fn new(fields: Fields, delivery: Option<String>) -> Self {
        Form { fields, delivery }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The call's name, which goes into REST paths and so has to be a name.
    pub(crate) fn call_sid(&self) -> Result<&str, Problem> {
        self.sid("CallSid")
    }

    /// A name of one of the carrier's things.
    pub(crate) fn sid(&self, field: &str) -> Result<&str, Problem> {
        let plausible =
            |sid: &&str| (1..=64).contains(&sid.len()) && sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        self.get(field).filter(plausible).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, format!("The form field {field} is missing or not an id."))
        })
    }

    /// A whole number; `None` also if it is none, since nothing hangs on those that we read.
    pub(crate) fn number<T: std::str::FromStr>(&self, field: &str) -> Option<T> {
        self.get(field)?.parse().ok()
    }
}

fn verify(app: &App, peer: SocketAddr, headers: &HeaderMap, url: &str, content: Content<'_>) -> Result<(), Problem> {
    match signature::check(&app.config.twilio, headers, url, content) {
        Ok(()) => Ok(()),
        Err(Untrusted::Unsigned)
            if app.config.twilio.verify == Verify::UnlessLoopback && app.on_loopback && is_local(peer, headers) =>
        {
            Ok(())
        }
        Err(why) => {
            // The token in a media socket's path is nobody's business.
            let path = url.split(['?', '#']).next().unwrap_or_default();
            let path = path.split_once("/twilio/media/").map_or(path, |(before, _)| before);
            tracing::warn!(path, %why, "a request was refused that is not known to be the carrier's");
            Err(Problem::new(StatusCode::FORBIDDEN, format!("The request was refused: {why}.")))
        }
    }
}

fn unread(rejection: BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("A webhook has at most {BODY_MAX} bytes."))
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "The body ended before it was complete."),
    }
}

pub(super) fn parse(text: &[u8]) -> Fields {
    form_urlencoded::parse(text).into_owned().collect()
}

/// What does not say what it is, is what Twilio sends.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|kind| {
        let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    })
}

pub(super) fn delivery(headers: &HeaderMap) -> Option<String> {
    let name = headers.get(IDEMPOTENCY_TOKEN)?.to_str().ok()?;
    (1..=DELIVERY_MAX).contains(&name.len()).then(|| name.to_owned())
}

/// Whether a request comes from this very machine, and not through a proxy on it.
pub(super) fn is_local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let proxied = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    peer.ip().to_canonical().is_loopback() && !proxied.iter().any(|name| headers.contains_key(*name))
}

/// Scheme, host and port, without the slash that a URL ends in.
pub(super) fn origin(url: &reqwest::Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// `https` is `wss`, and `http`, on this machine, is `ws`.
pub(super) fn socket_origin(app: &App) -> String {
    origin(&app.public_url).replacen("http", "ws", 1)
}
