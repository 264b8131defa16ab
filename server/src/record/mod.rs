//! What a call leaves: a folder with its record, transcript, recording and trace.

mod call_record;
mod disk;
mod recorder;
mod timeline;
mod trace;
mod voices;
mod wav;

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

pub use call_record::{CallFacts, CallRecord, CarrierRecording, RecordingStatus};
pub(crate) use call_record::{direction_word, null_if_empty, rfc3339, rfc3339_or_null};
pub(crate) use disk::Disk;
pub use recorder::Recording;
pub(crate) use recorder::{Recorded, Recorder};
pub(crate) use trace::Tracer;

const RECORD: &str = "call.json";
const TRANSCRIPT: &str = "transcript.txt";
const RECORDING: &str = "recording.wav";
pub(crate) const TRACE: &str = "call.trace";

/// The folder of one call.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn of(data: &Path, call: Uuid) -> Self {
        Folder(data.join("calls").join(call.to_string()))
    }

    /// Makes it, for our eyes only: what people say on the phone is theirs.
    pub(crate) async fn create(&self) -> io::Result<()> {
        let mut builder = tokio::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        builder.mode(0o700);
        builder.create(&self.0).await
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn recording(&self) -> PathBuf {
        self.0.join(RECORDING)
    }

    pub(crate) fn trace(&self) -> PathBuf {
        self.0.join(TRACE)
    }

    /// Writes record and transcript. The record comes last and at once, so that a folder with a record is complete.
    pub(crate) async fn finish(&self, record: &CallRecord) -> io::Result<()> {
        tokio::fs::write(self.0.join(TRANSCRIPT), record.transcript()).await?;
        let json = serde_json::to_vec_pretty(record)?;
        let draft = self.0.join(format!(".{RECORD}.draft"));
        let mut file = tokio::fs::File::create(&draft).await?;
        tokio::io::AsyncWriteExt::write_all(&mut file, &json).await?;
        file.sync_all().await?;
        tokio::fs::rename(&draft, self.0.join(RECORD)).await
    }

    /// The record's JSON, if there is one.
    pub(crate) async fn record(&self) -> io::Result<Option<Vec<u8>>> {
        match tokio::fs::read(self.0.join(RECORD)).await {
            Ok(json) => Ok(Some(json)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
