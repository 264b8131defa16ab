//! The HTTP side: the carrier's webhooks and media socket, the control API, health.

mod api;
mod problem;
mod signature;
mod twilio;
mod twiml;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use reqwest::Url;

use crate::calls::Calls;
use crate::commands::Commands;
use crate::config::Config;
use problem::Problem;

/// A webhook is a few hundred bytes; caller name and geography included it stays far below this.
const BODY_MAX: usize = 64 * 1024;

/// From a request's head to our answer. The carrier gives up after 15 s.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// What every request may look at.
pub(crate) struct App {
    pub config: Config,
    /// Where the carrier reaches us: configured, or the listener's own address.
    pub public_url: Url,
    /// Whether we listen where only this machine reaches us.
    pub on_loopback: bool,
    pub calls: Calls,
    pub commands: Commands,
    pub tls: Arc<rustls::ClientConfig>,
    pub draining: AtomicBool,
}

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/twilio/voice", post(twilio::voice))
        .route("/twilio/media/{token}", get(twilio::media))
        .route("/twilio/after-stream", post(twilio::after_stream))
        .route("/twilio/status", post(twilio::status))
        .route("/twilio/stream-status", post(twilio::stream_status))
        .route("/api/v1/calls/{id}", get(api::call))
        .route("/metrics", get(api::metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path.") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This path exists, but not for this method.")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(in_time))
        .with_state(app)
}

/// Whether we may be sent calls.
async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.draining.load(Ordering::Relaxed) {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The server is stopping.").into_response()
    } else if !app.calls.has_room() {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "All lines are busy; max_calls is the limit.").into_response()
    } else {
        "ready\n".into_response()
    }
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "The request took too long to arrive.").into_response(),
    }
}

/// Whether a request comes from this very machine, and not through a proxy on it.
fn is_local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let proxied = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    peer.ip().to_canonical().is_loopback() && !proxied.iter().any(|name| headers.contains_key(*name))
}
