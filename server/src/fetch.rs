//! Copies the carrier's recordings into their calls' folders, after the calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::calls::Calls;
use crate::commands::{Commands, NotFetched};

/// At once: each is one download, and calls come first.
const AT_ONCE: usize = 4;

/// More than this that wait are more than the downloads keep up with; the carrier still has the recordings.
const WAITING_MAX: usize = 1_024;

/// The carrier may announce a recording a moment before it has it, and its network has bad minutes. Doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 6;

/// Name of the copy in the call's folder.
const FILE: &str = "carrier-recording.wav";

/// Its downloads end with it.
pub(crate) struct Fetcher {
    calls: Calls,
    commands: Commands,
    downloads: Mutex<JoinSet<()>>,
    at_once: Arc<Semaphore>,
}

impl Fetcher {
    pub(crate) fn new(calls: Calls, commands: Commands) -> Self {
        Fetcher { calls, commands, downloads: Mutex::default(), at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Fetches a recording that is complete, by and by.
    pub(crate) fn fetch(&self, call: Uuid, recording_sid: String) {
        let mut downloads = self.downloads.lock().unwrap_or_else(PoisonError::into_inner);
        while downloads.try_join_next().is_some() {}
        if downloads.len() >= WAITING_MAX {
            tracing::warn!(%call, "the carrier's recording is not fetched: {WAITING_MAX} others wait");
            return;
        }
        let (calls, commands, at_once) = (self.calls.clone(), self.commands.clone(), self.at_once.clone());
        downloads.spawn(async move {
            // The semaphore is never closed.
            let Ok(_permit) = at_once.acquire().await else { return };
            let to = calls.folder(call).join(FILE);
            let mut pause = FIRST_PAUSE;
            for attempt in 1..=ATTEMPTS {
                match commands.fetch_recording(&recording_sid, &to).await {
                    Ok(bytes) => {
                        tracing::info!(%call, bytes, "the carrier's recording was fetched");
                        return calls.carrier_recording_fetched(call, &recording_sid, FILE).await;
                    }
                    Err(NotFetched { again: true, why }) if attempt < ATTEMPTS => {
                        tracing::debug!(%call, why, attempt, "the carrier's recording could not be fetched yet");
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                    }
                    Err(NotFetched { why, .. }) => {
                        return tracing::warn!(%call, why, "the carrier's recording could not be fetched");
                    }
                }
            }
        });
    }
}
