//! Writes a call's trace (N11).

use std::io;
use std::path::PathBuf;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Lines are handed over in lots of this size: some two seconds of a call. A lot is handed over early when the call
/// ends, by whatever way.
const LOT: usize = 16 * 1024;

/// Lots that may wait for a slow disk. Beyond, the trace ends: one with a hole would replay into something else.
const LOTS_MAX: usize = 16;

/// The call's end of it. Nothing here waits; dropping it finishes the trace.
pub(crate) struct Tracer {
    lots: Option<mpsc::Sender<String>>,
    lot: String,
}

impl Tracer {
    /// A tracer and the work of writing, which ends when the tracer is dropped, and tells whether there is a trace.
    pub(crate) fn new(path: PathBuf) -> (Self, impl Future<Output = io::Result<bool>> + Send + 'static) {
        let (lots, inbox) = mpsc::channel(LOTS_MAX);
        (Tracer { lots: Some(lots), lot: String::new() }, write(path, inbox))
    }

    pub(crate) fn line(&mut self, line: &str) {
        if self.lots.is_none() {
            return;
        }
        self.lot.push_str(line);
        if self.lot.len() >= LOT {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let Some(lots) = &self.lots else { return };
        match lots.try_send(std::mem::take(&mut self.lot)) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => tracing::warn!("the trace ends early: is the disk slow?"),
            // The writer has said why.
            Err(TrySendError::Closed(_)) => {}
        }
        self.lots = None;
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if !self.lot.is_empty() {
            self.hand_over();
        }
    }
}

async fn write(path: PathBuf, mut lots: mpsc::Receiver<String>) -> io::Result<bool> {
    let Some(mut lot) = lots.recv().await else { return Ok(false) };
    let mut file = tokio::fs::File::create(&path).await?;
    loop {
        file.write_all(lot.as_bytes()).await?;
        file.flush().await?;
        match lots.recv().await {
            Some(next) => lot = next,
            None => return Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_lines_are_written_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.trace");
        let (mut tracer, work) = Tracer::new(path.clone());
        tracer.line("one\n");
        tracer.line("two\n");
        drop(tracer);
        assert!(work.await.unwrap());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }
}
