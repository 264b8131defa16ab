//! The store under a disk that fails, or takes nothing.

use call::EndReason;
use call::config::Direction;
use sqlx::SqliteConnection;

use super::*;

#[tokio::test]
async fn a_disk_that_fails_is_tried_again_until_it_works() {
    let data = tempfile::tempdir().unwrap();
    let (store, mut disk) = opened(data.path()).await;
    sqlx::query("ALTER TABLE calls RENAME TO away").execute(&mut disk).await.unwrap();
    let facts = facts();
    store.begun(&facts);
    store.ended(&CallRecord::without_stream(facts.clone(), EndReason::Busy, None));
    // The first attempt has failed when a barrier behind it does not come back.
    assert!(timeout(Duration::from_millis(50), store.written()).await.is_err());
    sqlx::query("ALTER TABLE away RENAME TO calls").execute(&mut disk).await.unwrap();
    store.written().await;
    let record: Value = serde_json::from_str(&store.record(facts.id).await.unwrap().unwrap()).unwrap();
    assert_eq!(record["ended_reason"], "busy");
    assert_eq!(store.0.lost.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_costs_rows_and_nobody_waits() {
    let data = tempfile::tempdir().unwrap();
    let (store, mut disk) = opened(data.path()).await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut disk).await.unwrap();
    let facts = facts();
    // What the writer has taken already is not in the queue any more.
    let most = QUEUE_MAX + 200;
    for _ in 0..most + 100 {
        store.begun(&facts);
    }
    let lost = store.0.lost.load(Ordering::Relaxed);
    assert!((100..=300).contains(&lost), "{lost}");
    sqlx::query("COMMIT").execute(&mut disk).await.unwrap();
    store.written().await;
    store.ended(&CallRecord::without_stream(facts.clone(), EndReason::Busy, None));
    assert!(store.record(facts.id).await.unwrap().unwrap().contains("busy"));
}

#[tokio::test]
async fn what_is_written_of_an_end_stays() {
    let data = tempfile::tempdir().unwrap();
    let (store, _disk) = opened(data.path()).await;
    let facts = facts();
    store.ended(&CallRecord::without_stream(facts.clone(), EndReason::Busy, None));
    store.begun(&facts);
    store.ended(&CallRecord::without_stream(facts.clone(), EndReason::Fault, None));
    let listed = store.list(&Filter { limit: 10, ..Filter::default() }).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].ended_reason.as_deref(), Some("busy"));
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let data = tempfile::tempdir().unwrap();
    let (store, mut disk) = opened(data.path()).await;
    let placed = |digest: &str| Placed { digest: digest.to_owned(), call: Uuid::now_v7(), answer: "{}".to_owned() };
    let (first, facts) = (placed("1"), facts());
    assert_eq!(store.place_once("key", &first, &facts).await.unwrap(), None);
    assert!(store.record(facts.id).await.unwrap().is_some(), "the call is kept with it");
    assert_eq!(store.place_once("key", &placed("2"), &facts).await.unwrap(), Some(first));
    sqlx::query("UPDATE placed_once SET made_ms = made_ms - 86400001").execute(&mut disk).await.unwrap();
    assert_eq!(store.placed("key").await.unwrap(), None);
    assert_eq!(store.place_once("key", &placed("3"), &facts).await.unwrap(), None);
}

/// An open store, and another's connection to its file.
async fn opened(data: &Path) -> (Store, SqliteConnection) {
    let file = data.join(FILE);
    let store = Store::new(&file, data);
    store.open().await.unwrap();
    (store, SqliteConnectOptions::new().filename(&file).connect().await.unwrap())
}

fn facts() -> CallFacts {
    CallFacts {
        id: Uuid::now_v7(),
        carrier: "twilio",
        call_sid: "CA1".to_owned(),
        direction: Direction::Inbound,
        from: "+15005550001".to_owned(),
        to: "+15005550006".to_owned(),
        agent: "default".to_owned(),
        started_at: Timestamp::now(),
    }
}
