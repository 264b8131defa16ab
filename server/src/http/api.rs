//! The control API.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::problem::Problem;
use super::{App, is_local};
use crate::metrics::CONTENT_TYPE as CONTENT_TYPE_METRICS;
use crate::record::Folder;

/// A call's record; while it goes on, what is known of it.
pub(crate) async fn call(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    authorize(&app, peer, &headers)?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "There is no such call.");
    let id: Uuid = id.parse().map_err(|_| unknown())?;
    if let Some(facts) = app.calls.facts(id) {
        return Ok(Json(facts).into_response());
    }
    if let Some(record) = app.calls.record(id) {
        return Ok(Json(&*record).into_response());
    }
    match Folder::of(&app.config.data, id).record().await {
        Ok(Some(json)) => Ok(([(CONTENT_TYPE, "application/json")], json).into_response()),
        Ok(None) => Err(unknown()),
        Err(error) => {
            tracing::error!(call = %id, %error, "a call's record could not be read");
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The record could not be read; the server's log says why.",
            ))
        }
    }
}

/// What was measured so far, for Prometheus. Served like the API: what a server does is nobody else's business.
pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    authorize(&app, peer, &headers)?;
    match app.calls.metrics().encode() {
        Ok(text) => Ok(([(CONTENT_TYPE, CONTENT_TYPE_METRICS)], text).into_response()),
        Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be written.")),
    }
}

/// With the key; without one configured, from this machine only.
fn authorize(app: &App, peer: SocketAddr, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(key) = &app.config.api_key else {
        return if is_local(peer, headers) {
            Ok(())
        } else {
            let detail = "The API answers on loopback only, until PATCHCORD_API_KEY is set.";
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        };
    };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if given.is_some_and(|given| given.ct_eq(key.reveal().as_bytes()).into()) {
        return Ok(());
    }
    let detail = "Send PATCHCORD_API_KEY's value as Authorization: Bearer.";
    Err(Problem::new(StatusCode::UNAUTHORIZED, detail))
}
