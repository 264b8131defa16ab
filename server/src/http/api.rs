//! The control API.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::App;
use super::problem::Problem;
use crate::record::Folder;

/// A call's record; while it goes on, what is known of it.
pub(crate) async fn call(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
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
