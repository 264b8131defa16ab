//! Writes rows to the database: one task, one transaction for all that waits.

use std::time::Duration;

use sqlx::sqlite::SqlitePool;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::calls::{self, Row};

/// Rows of one transaction: enough that its write to the disk is shared, not so many that readers wait for it.
const BATCH_MAX: usize = 128;

/// Pauses after a write that failed: the first, and the longest to which they double.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) enum Write {
    Call(Box<Row>),
    /// Everything before it is written.
    Barrier(oneshot::Sender<()>),
}

impl Write {
    pub(super) fn call(row: Row) -> Self {
        Write::Call(Box::new(row))
    }
}

/// Writes until nobody can queue any more.
pub(super) async fn run(mut queue: mpsc::Receiver<Write>, pool: SqlitePool) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut pause = RETRY_FIRST;
        while let Err(error) = write(&pool, &batch).await {
            if pause == RETRY_FIRST {
                tracing::error!(%error, "calls cannot be written to the database; it is tried again until they can");
            }
            sleep(pause).await;
            pause = (2 * pause).min(RETRY_MAX);
        }
        if pause > RETRY_FIRST {
            tracing::warn!("calls are written to the database again");
        }
        for write in batch.drain(..) {
            if let Write::Barrier(written) = write {
                // Whoever waited may have lost patience.
                let _ = written.send(());
            }
        }
    }
}

async fn write(pool: &SqlitePool, batch: &[Write]) -> sqlx::Result<()> {
    let mut rows = batch.iter().filter_map(|write| match write {
        Write::Call(row) => Some(row),
        Write::Barrier(_) => None,
    });
    let Some(first) = rows.next() else { return Ok(()) };
    let mut transaction = pool.begin().await?;
    for row in std::iter::once(first).chain(rows) {
        calls::put(&mut transaction, row).await?;
    }
    transaction.commit().await
}
