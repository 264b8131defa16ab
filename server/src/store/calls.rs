//! Calls as rows: written whole, read by what they are looked for.

use call::config::Direction;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sqlx::sqlite::{Sqlite, SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row as _, SqliteConnection};
use uuid::Uuid;

use crate::record::{self, CallFacts, CallRecord};

/// A call as it is written.
#[derive(Debug)]
pub(super) struct Row {
    facts: CallFacts,
    answered_ms: Option<i64>,
    ended: Option<Ended>,
    record: String,
}

#[derive(Debug)]
struct Ended {
    ended_ms: i64,
    reason: String,
    by: String,
}

/// Which calls. `None` is any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Filter {
    pub live: Option<bool>,
    pub agent: Option<String>,
    pub direction: Option<Direction>,
    pub from: Option<String>,
    pub to: Option<String>,
    /// Began at or after this moment.
    pub since: Option<Timestamp>,
    /// Began before this moment.
    pub until: Option<Timestamp>,
    /// Older than this call.
    pub before: Option<Uuid>,
    pub limit: u32,
}

/// A call in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Outline {
    pub id: Uuid,
    pub carrier: String,
    #[serde(serialize_with = "record::null_if_empty")]
    pub call_sid: String,
    pub direction: String,
    pub from: String,
    pub to: String,
    pub agent: String,
    #[serde(serialize_with = "record::rfc3339")]
    pub started_at: Timestamp,
    #[serde(serialize_with = "record::rfc3339_or_null")]
    pub answered_at: Option<Timestamp>,
    #[serde(serialize_with = "record::rfc3339_or_null")]
    pub ended_at: Option<Timestamp>,
    pub ended_reason: Option<String>,
    pub ended_by: Option<String>,
}

impl Row {
    pub(super) fn begun(facts: &CallFacts) -> Self {
        Row { facts: facts.clone(), answered_ms: None, ended: None, record: json(facts) }
    }

    pub(super) fn ended(record: &CallRecord) -> Self {
        Row {
            facts: record.facts.clone(),
            answered_ms: record.answered_at.map(Timestamp::as_millisecond),
            ended: Some(Ended {
                ended_ms: record.ended_at.as_millisecond(),
                reason: word(&record.ended_reason),
                by: word(&record.ended_by),
            }),
            record: json(record),
        }
    }
}

/// Writes a row. What is written of a call's end stays, whatever comes late; what is learnt later of the same end is
/// added.
pub(super) async fn put(connection: &mut SqliteConnection, row: &Row) -> sqlx::Result<()> {
    const PUT: &str = "INSERT INTO calls (id, carrier, call_sid, direction, caller, called, agent, started_ms, \
                       answered_ms, ended_ms, ended_reason, ended_by, record) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
                       ON CONFLICT (id) DO UPDATE SET call_sid = excluded.call_sid, \
                       answered_ms = excluded.answered_ms, ended_ms = excluded.ended_ms, \
                       ended_reason = excluded.ended_reason, ended_by = excluded.ended_by, record = excluded.record \
                       WHERE calls.ended_ms IS NULL OR (calls.ended_ms = excluded.ended_ms \
                       AND calls.ended_reason = excluded.ended_reason)";
    let (facts, ended) = (&row.facts, row.ended.as_ref());
    sqlx::query(PUT)
        .bind(facts.id.to_string())
        .bind(facts.carrier)
        .bind(&facts.call_sid)
        .bind(record::direction_word(facts.direction))
        .bind(&facts.from)
        .bind(&facts.to)
        .bind(&facts.agent)
        .bind(facts.started_at.as_millisecond())
        .bind(row.answered_ms)
        .bind(ended.map(|ended| ended.ended_ms))
        .bind(ended.map(|ended| &ended.reason))
        .bind(ended.map(|ended| &ended.by))
        .bind(&row.record)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn record(pool: &SqlitePool, id: Uuid) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT record FROM calls WHERE id = $1").bind(id.to_string()).fetch_optional(pool).await
}

pub(super) async fn list(pool: &SqlitePool, filter: &Filter) -> sqlx::Result<Vec<Outline>> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT id, carrier, call_sid, direction, caller, called, agent, started_ms, answered_ms, ended_ms, \
         ended_reason, ended_by FROM calls WHERE 1 = 1",
    );
    match filter.live {
        Some(true) => _ = query.push(" AND ended_ms IS NULL"),
        Some(false) => _ = query.push(" AND ended_ms IS NOT NULL"),
        None => {}
    }
    let texts = [(" AND agent = ", &filter.agent), (" AND caller = ", &filter.from), (" AND called = ", &filter.to)];
    for (condition, wanted) in texts {
        if let Some(wanted) = wanted {
            query.push(condition).push_bind(wanted);
        }
    }
    if let Some(direction) = filter.direction {
        query.push(" AND direction = ").push_bind(record::direction_word(direction));
    }
    if let Some(since) = filter.since {
        query.push(" AND started_ms >= ").push_bind(since.as_millisecond());
    }
    if let Some(until) = filter.until {
        query.push(" AND started_ms < ").push_bind(until.as_millisecond());
    }
    if let Some(before) = filter.before {
        query.push(" AND id < ").push_bind(before.to_string());
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(filter.limit));
    query.build().fetch_all(pool).await?.iter().map(outline).collect()
}

/// Calls without an end, and what was known of them when they began.
pub(super) async fn live(pool: &SqlitePool) -> sqlx::Result<Vec<(Uuid, String)>> {
    let rows = sqlx::query("SELECT id, record FROM calls WHERE ended_ms IS NULL").fetch_all(pool).await?;
    rows.iter().map(|row| Ok((id(row)?, row.try_get("record")?))).collect()
}

/// Ends a call of which nobody else will write the end.
pub(super) async fn close(pool: &SqlitePool, id: Uuid, record: &Value) -> sqlx::Result<()> {
    const CLOSE: &str = "UPDATE calls SET answered_ms = $2, ended_ms = $3, ended_reason = $4, ended_by = $5, \
                         record = $6 WHERE id = $1";
    let time = |name: &str| record[name].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let ended_at = time("ended_at").unwrap_or_else(Timestamp::now);
    sqlx::query(CLOSE)
        .bind(id.to_string())
        .bind(time("answered_at").map(Timestamp::as_millisecond))
        .bind(ended_at.as_millisecond())
        .bind(record["ended_reason"].as_str())
        .bind(record["ended_by"].as_str())
        .bind(record.to_string())
        .execute(pool)
        .await?;
    Ok(())
}

fn outline(row: &SqliteRow) -> sqlx::Result<Outline> {
    let time = |name: &str| -> sqlx::Result<Option<Timestamp>> {
        let ms: Option<i64> = row.try_get(name)?;
        ms.map(Timestamp::from_millisecond).transpose().map_err(|error| sqlx::Error::Decode(Box::new(error)))
    };
    Ok(Outline {
        id: id(row)?,
        carrier: row.try_get("carrier")?,
        call_sid: row.try_get("call_sid")?,
        direction: row.try_get("direction")?,
        from: row.try_get("caller")?,
        to: row.try_get("called")?,
        agent: row.try_get("agent")?,
        started_at: time("started_ms")?.unwrap_or_default(),
        answered_at: time("answered_ms")?,
        ended_at: time("ended_ms")?,
        ended_reason: row.try_get("ended_reason")?,
        ended_by: row.try_get("ended_by")?,
    })
}

fn id(row: &SqliteRow) -> sqlx::Result<Uuid> {
    let id: String = row.try_get("id")?;
    id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// A record has nothing that JSON could not say.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// An enum's word, as the record spells it.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
