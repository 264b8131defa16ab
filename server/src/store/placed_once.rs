//! Requests that place a call and may come twice.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqlitePool;
use uuid::Uuid;

use super::calls::{self, Row};

/// How long a key is remembered: nobody repeats a request a day later and means the same call.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// How a request was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    /// Of what was asked for.
    pub digest: String,
    pub call: Uuid,
    /// The body, byte for byte.
    pub answer: String,
}

pub(super) async fn find(pool: &SqlitePool, key: &str) -> sqlx::Result<Option<Placed>> {
    let found = sqlx::query("SELECT request, call_id, answer FROM placed_once WHERE key = $1 AND made_ms > $2")
        .bind(key)
        .bind(oldest())
        .fetch_optional(pool)
        .await?;
    let Some(row) = found else { return Ok(None) };
    let call: String = row.try_get("call_id")?;
    let call = call.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Some(Placed { digest: row.try_get("request")?, call, answer: row.try_get("answer")? }))
}

/// `None`: it is kept now, and so is the call: should we die before it is placed, the next start closes it. Otherwise the
/// answer that was there.
pub(super) async fn keep(pool: &SqlitePool, key: &str, placed: &Placed, call: &Row) -> sqlx::Result<Option<Placed>> {
    // It writes, and says so at once: a transaction that begins by reading may not be let write any more.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let forget = sqlx::query("DELETE FROM placed_once WHERE made_ms <= $1");
    forget.bind(oldest()).execute(&mut *transaction).await?;
    let insert = "INSERT INTO placed_once (key, request, call_id, answer, made_ms) VALUES ($1, $2, $3, $4, $5) \
                  ON CONFLICT (key) DO NOTHING";
    let inserted = sqlx::query(insert)
        .bind(key)
        .bind(&placed.digest)
        .bind(placed.call.to_string())
        .bind(&placed.answer)
        .bind(Timestamp::now().as_millisecond())
        .execute(&mut *transaction)
        .await?;
    if inserted.rows_affected() == 0 {
        drop(transaction);
        return find(pool, key).await;
    }
    calls::put(&mut transaction, call).await?;
    transaction.commit().await?;
    Ok(None)
}

fn oldest() -> i64 {
    Timestamp::now().as_millisecond().saturating_sub(KEPT.as_millis() as i64)
}
