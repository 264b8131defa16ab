//! What is kept of calls when they are over: SQLite, in one file of the data folder.
//!
//! Nobody who serves a call waits for the disk. Rows go through a bounded queue to one task that writes them in batches
//! (`writer.rs`); a disk that fails is tried again, and a queue that is full loses rows, counted, but never a call.
//! Reading and the idempotency keys wait, being answers to people, and have limits.
//!
//! One process has one database: a second one would take the first one's live calls for its own dead ones. A lock on a
//! file beside the database sees to that.
//!
//! SQL is in this folder only, and is of the kind that PostgreSQL understands too (`$1`, `ON CONFLICT`, BIGINT, JSON as
//! text), so that another database can be put behind these methods.

mod calls;
mod placed_once;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::record::{CallFacts, CallRecord, Folder};
pub(crate) use calls::{Filter, Outline};
pub(crate) use placed_once::Placed;
use writer::Write;

/// The database's file in the data folder, unless another was configured.
pub(crate) const FILE: &str = "patchcord.db";

/// Rows that wait for the disk: two for each call of the busiest minute that one node is meant for.
const QUEUE_MAX: usize = 4_096;

/// Connections, each a thread: one writes, the others answer the API.
const CONNECTIONS_MAX: u32 = 4;

/// For a connection, and for another process (`sqlite3`, a backup) to let go of the file.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// How long whoever reads waits for what was queued before; beyond, the answer is a little old.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// What the writer gets for its last rows when the server stops.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// In order, each once. A file that was released is never changed: another one is added.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "calls", include_str!("migrations/0001_calls.sql"))];

/// The store. Clones are the same store.
#[derive(Clone)]
pub(crate) struct Store(Arc<Shared>);

struct Shared {
    path: PathBuf,
    /// Folders of calls lie here.
    data: PathBuf,
    pool: SqlitePool,
    queue: mpsc::Sender<Write>,
    /// Until [`Store::open`] takes it.
    unopened: Mutex<Option<mpsc::Receiver<Write>>>,
    writer: Mutex<Option<(AbortHandle, File)>>,
    /// Rows that found the queue full.
    lost: AtomicU64,
    losing: AtomicBool,
}

impl Store {
    /// A store that is not open yet. `path` is the database's file, `data` the folder in which calls have theirs.
    pub(crate) fn new(path: &Path, data: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // Rows come in batches, so that a real write for each costs little, and an idempotency key that was
            // answered for outlives the machine's power.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_MAX)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(BUSY_MAX)
            .connect_lazy_with(options);
        let (queue, unopened) = mpsc::channel(QUEUE_MAX);
        Store(Arc::new(Shared {
            path: path.to_owned(),
            data: data.to_owned(),
            pool,
            queue,
            unopened: Mutex::new(Some(unopened)),
            writer: Mutex::default(),
            lost: AtomicU64::new(0),
            losing: AtomicBool::new(false),
        }))
    }

    /// Makes the file or brings it up to date, closes calls that a crash left live, and begins to write.
    ///
    /// # Errors
    /// If the file cannot be used, or another process uses it.
    pub(crate) async fn open(&self) -> anyhow::Result<()> {
        let Shared { path, pool, unopened, writer, .. } = &*self.0;
        let shown = path.display();
        let Some(queue) = unopened.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            bail!("the database {shown} is open already");
        };
        let lock = prepare(path).with_context(|| format!("the database {shown} cannot be used"))?;
        let migrations = MIGRATIONS.map(|(version, name, sql)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        });
        let migrated = Migrator::with_migrations(migrations.into()).run(pool).await;
        migrated.with_context(|| format!("the database {shown} cannot be opened; is it one of Patchcord's?"))?;
        let closed = self.close_left_behind().await.with_context(|| format!("the database {shown}"))?;
        if closed > 0 {
            tracing::warn!(calls = closed, "calls that were going on when the server died are closed as our fault");
        }
        let task = tokio::spawn(writer::run(queue, pool.clone()));
        *writer.lock().unwrap_or_else(PoisonError::into_inner) = Some((task.abort_handle(), lock));
        Ok(())
    }

    /// A call exists, or more is known of it.
    pub(crate) fn begun(&self, facts: &CallFacts) {
        self.queue(Write::call(calls::Row::begun(facts)));
    }

    /// A call is over.
    pub(crate) fn ended(&self, record: &CallRecord) {
        self.queue(Write::call(calls::Row::ended(record)));
    }

    /// A call's JSON.
    pub(crate) async fn record(&self, id: Uuid) -> sqlx::Result<Option<String>> {
        self.flush().await;
        calls::record(&self.0.pool, id).await
    }

    /// Calls, the newest first.
    pub(crate) async fn list(&self, filter: &Filter) -> sqlx::Result<Vec<Outline>> {
        self.flush().await;
        calls::list(&self.0.pool, filter).await
    }

    /// How a request with this key was answered.
    pub(crate) async fn placed(&self, key: &str) -> sqlx::Result<Option<Placed>> {
        placed_once::find(&self.0.pool, key).await
    }

    /// Keeps the answer to a request with this key, and its call. If there is an answer already, nothing is changed and
    /// it is returned.
    pub(crate) async fn place_once(
        &self,
        key: &str,
        placed: &Placed,
        facts: &CallFacts,
    ) -> sqlx::Result<Option<Placed>> {
        placed_once::keep(&self.0.pool, key, placed, &calls::Row::begun(facts)).await
    }

    /// Writes what waits, as far as time allows, and lets go of the file.
    pub(crate) async fn close(&self) {
        if timeout(CLOSE_MAX, self.written()).await.is_err() {
            tracing::error!("the last calls could not be written to the database");
        }
        let lost = self.0.lost.load(Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(rows = lost, "rows about calls were lost, as the database did not take them");
        }
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((writer, _lock)) = &writer {
            writer.abort();
        }
        // A connection that hangs in the disk is left to the end of the process.
        let _ = timeout(CLOSE_MAX, self.0.pool.close()).await;
        drop(writer);
    }

    fn queue(&self, write: Write) {
        if self.0.queue.try_send(write).is_ok() {
            self.0.losing.store(false, Ordering::Relaxed);
            return;
        }
        self.0.lost.fetch_add(1, Ordering::Relaxed);
        if !self.0.losing.swap(true, Ordering::Relaxed) {
            tracing::error!("calls are not kept in the database: it does not take them, and {QUEUE_MAX} wait already");
        }
    }

    async fn flush(&self) {
        let _ = timeout(FLUSH_MAX, self.written()).await;
    }

    /// Waits until everything that was queued before is written.
    async fn written(&self) {
        let (write, written) = oneshot::channel();
        if self.0.queue.send(Write::Barrier(write)).await.is_ok() {
            // An error is a writer that has ended.
            let _ = written.await;
        }
    }

    /// Calls without an end, of a process that is no more. Returns how many.
    async fn close_left_behind(&self) -> anyhow::Result<usize> {
        let left = calls::live(&self.0.pool).await?;
        for (id, facts) in &left {
            let folder = Folder::of(&self.0.data, *id);
            let whole = folder.record().await.ok().flatten().and_then(|json| serde_json::from_slice(&json).ok());
            // The call may have ended in good order, and only its row be missing.
            let record = match whole {
                Some(record) => record,
                None => {
                    let facts: Value = serde_json::from_str(facts).unwrap_or_default();
                    CallRecord::of_a_crash(facts, Timestamp::now())
                }
            };
            calls::close(&self.0.pool, *id, &record).await?;
        }
        Ok(left.len())
    }
}

/// Makes the file, for our eyes only, and takes its lock.
fn prepare(path: &Path) -> anyhow::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    let mut private = OpenOptions::new();
    private.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut private, 0o600);
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = private.open(lock)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another process uses it; give each its own PATCHCORD_DATA"),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    // SQLite gives its other files the mode of this one.
    private.open(path)?;
    Ok(lock)
}

#[cfg(test)]
mod tests;
