//! The control API. Every error is problem JSON (RFC 9457) and says what to do; every answer about a call is its record,
//! or, while it goes on, the part of it that is known.

mod list;
mod place;
mod strict;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use call::{Input, OperatorInput};
use serde::Serialize;
use uuid::Uuid;

use super::App;
use super::problem::Problem;
use crate::metrics;
use crate::outbound::Progress;
use crate::record::CallFacts;

pub(super) use list::calls;
pub(super) use place::call as place;

/// What is known of a call that goes on. The names are those of its record.
#[derive(Serialize)]
struct LiveCall {
    #[serde(flatten)]
    facts: CallFacts,
    progress: LiveProgress,
    /// `null`, which is how live calls are told from those that are over.
    ended_at: (),
}

#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
enum LiveProgress {
    Placed(Progress),
    Connected(Connected),
}

/// The carrier's document was fetched: the call has its driver.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Connected {
    Connected,
}

impl LiveCall {
    fn find(app: &App, id: Uuid) -> Option<Self> {
        let facts = app.calls.facts(id)?;
        Some(LiveCall { progress: LiveProgress::of(app, id), facts, ended_at: () })
    }
}

impl LiveProgress {
    fn of(app: &App, id: Uuid) -> Self {
        app.outbound.progress(id).map_or(LiveProgress::Connected(Connected::Connected), LiveProgress::Placed)
    }
}

/// A call's record; while it goes on, what is known of it.
pub(super) async fn call(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = call_id(id)?;
    if let Some(live) = LiveCall::find(&app, id) {
        return Ok(Json(live).into_response());
    }
    match record(&app, id).await? {
        Some(json) => Ok(([(CONTENT_TYPE, "application/json")], json).into_response()),
        None => Err(unknown_call()),
    }
}

/// Ends a call now, or takes back one that rings. The answer does not wait for the end.
pub(super) async fn hang_up(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = call_id(id)?;
    let live = LiveCall::find(&app, id);
    if app.outbound.hang_up(id) {
        return Ok((StatusCode::ACCEPTED, Json(live)).into_response());
    }
    match app.calls.tell_id(id, Input::Operator(OperatorInput::HangUp)) {
        Some(true) => Ok((StatusCode::ACCEPTED, Json(live)).into_response()),
        Some(false) => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The call does not listen now. Try again in a second."))
        }
        None if record(&app, id).await?.is_some() => {
            Err(Problem::new(StatusCode::CONFLICT, "The call has ended already."))
        }
        None => Err(unknown_call()),
    }
}

/// What was measured so far, for Prometheus. Served like the API: what a server does is nobody else's business.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    match app.calls.metrics().encode() {
        Ok(text) => Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()),
        Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be written.")),
    }
}

/// The record of a call that is over, from memory, the database, or, should the database not have it, its folder.
async fn record(app: &App, id: Uuid) -> Result<Option<String>, Problem> {
    if let Some(record) = app.calls.record(id) {
        return serde_json::to_string(&*record).map(Some).map_err(unreadable);
    }
    if let Some(json) = app.store.record(id).await.map_err(unreadable)? {
        return Ok(Some(json));
    }
    let json = crate::record::Folder::of(&app.config.data, id).record().await.map_err(unreadable)?;
    json.map(String::from_utf8).transpose().map_err(unreadable)
}

fn call_id(id: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    id.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(unknown_call)
}

fn unknown_call() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is no such call.")
}

fn unreadable(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "the calls that are kept cannot be read");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The calls that are kept cannot be read; the server's log says why.",
    )
}
