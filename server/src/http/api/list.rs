//! `GET /api/v1/calls`: calls, the newest first, those that go on and those that are over.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use call::config::Direction;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::strict::{self, bad_parameter};
use super::{App, LiveProgress, Problem, unreadable};
use crate::store::{Filter, Outline};

const PARAMETERS: [&str; 9] = ["state", "agent", "direction", "from", "to", "since", "until", "limit", "cursor"];

/// Calls of a page: one screen, unless asked otherwise; a page stays below some 100 KiB.
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 200;

/// What a cursor begins with, so that another kind can be told from this one.
const CURSOR_VERSION: u8 = 1;

#[derive(Serialize)]
pub(in crate::http) struct Page {
    calls: Vec<Listed>,
    /// The `cursor` of the next page. Calls that begin meanwhile shift nothing.
    next: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    outline: Outline,
    /// While it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<LiveProgress>,
}

pub(in crate::http) async fn calls(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Page>, Problem> {
    let mut filter = filter(uri.query())?;
    let limit = filter.limit;
    // One more, to know whether there is a next page.
    filter.limit += 1;
    let mut outlines = app.store.list(&filter).await.map_err(unreadable)?;
    let more = outlines.len() > limit as usize;
    outlines.truncate(limit as usize);
    let next = outlines.last().filter(|_| more).map(|last| cursor(last.id));
    let listed = |mut outline: Outline| {
        let facts = app.calls.facts(outline.id).filter(|_| outline.ended_at.is_none());
        let progress = facts.is_some().then(|| LiveProgress::of(&app, outline.id));
        if let Some(facts) = facts {
            outline.call_sid = facts.call_sid;
        }
        Listed { outline, progress }
    };
    Ok(Json(Page { calls: outlines.into_iter().map(listed).collect(), next }))
}

fn filter(query: Option<&str>) -> Result<Filter, Problem> {
    let mut filter = Filter { limit: LIMIT, ..Filter::default() };
    for (name, value) in strict::query(query, &PARAMETERS)? {
        let wrong = |wanted: &str| bad_parameter(&name, &format!("`{value}` is not {wanted}"));
        let time = || value.parse::<Timestamp>().map_err(|_| wrong("a time as 2027-01-15T08:00:00Z"));
        match name.as_str() {
            "state" => {
                filter.live = Some(match value.as_str() {
                    "live" => true,
                    "ended" => false,
                    _ => return Err(wrong("`live` or `ended`")),
                });
            }
            "direction" => {
                filter.direction = Some(match value.as_str() {
                    "inbound" => Direction::Inbound,
                    "outbound" => Direction::Outbound,
                    _ => return Err(wrong("`inbound` or `outbound`")),
                });
            }
            "agent" => filter.agent = Some(value),
            "from" => filter.from = Some(value),
            "to" => filter.to = Some(value),
            "since" => filter.since = Some(time()?),
            "until" => filter.until = Some(time()?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                filter.limit = limit.ok_or_else(|| wrong("a number from 1 to 200"))?;
            }
            // `cursor`: the others are refused above.
            _ => filter.before = Some(read_cursor(&value).ok_or_else(|| wrong("what a page gave as `next`"))?),
        }
    }
    Ok(filter)
}

fn cursor(last: Uuid) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(last.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor(text: &str) -> Option<Uuid> {
    match BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.split_first()? {
        (&CURSOR_VERSION, id) => Uuid::from_slice(id).ok(),
        _ => None,
    }
}
