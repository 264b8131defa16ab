//! Writes a call's trace (N11).

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::disk::{Disk, Work};

/// Lines are written in lots of this size: some half a second of a call. A lot is written early when the call ends, by
/// whatever way.
const LOT: usize = 4 * 1024;

/// A lot, and what is said until the next sweep.
const ROOM: usize = LOT + 2 * 1024;

/// What may wait for a slow disk. Beyond, the trace ends: one with a hole would replay into something else.
const WAITING_MAX: usize = 256 * 1024;

/// The call's end of it. Nothing here waits; dropping it finishes the trace.
pub(crate) struct Tracer {
    lines: Arc<Lines>,
    /// Tells that there is something to be written, until there is.
    start: Option<oneshot::Sender<()>>,
    disk: Disk,
}

impl Tracer {
    /// A tracer and whether there is a trace, which is known when the tracer has been dropped. Nothing is written before
    /// this is awaited.
    pub(crate) fn new(path: PathBuf, disk: &Disk) -> (Self, impl Future<Output = io::Result<bool>> + Send + 'static) {
        let lines = Arc::new(Lines::default());
        let (start, started) = oneshot::channel();
        let tracer = Tracer { lines: lines.clone(), start: Some(start), disk: disk.clone() };
        (tracer, write(path, lines, started, disk.clone()))
    }

    pub(crate) fn line(&mut self, line: &str) {
        if let Some(start) = self.start.take() {
            // Nobody may be there to write it, who has said why.
            let _ = start.send(());
        }
        let mut waiting = self.lines.lock();
        if waiting.over {
            return;
        }
        if waiting.text.len() + line.len() > WAITING_MAX {
            waiting.over = true;
            drop(waiting);
            return tracing::warn!("the trace ends early: is the disk slow?");
        }
        if waiting.text.capacity() == 0 {
            waiting.text.reserve_exact(ROOM);
        }
        waiting.text.push_str(line);
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.lines.lock().over = true;
        self.disk.hurry();
    }
}

/// What is not written yet. The lock is between one call and the writer, who holds it to take or to give back memory.
#[derive(Default)]
struct Lines(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    text: String,
    /// There will be no more.
    over: bool,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room of a lot that was written, unless the call has taken other room meanwhile.
    fn give_back(&self, mut lot: String) {
        lot.clear();
        // What a slow disk took is not kept.
        lot.shrink_to(ROOM);
        let mut waiting = self.lock();
        if waiting.text.capacity() == 0 {
            waiting.text = lot;
        }
    }
}

async fn write(path: PathBuf, lines: Arc<Lines>, started: oneshot::Receiver<()>, disk: Disk) -> io::Result<bool> {
    if started.await.is_err() {
        return Ok(false);
    }
    disk.take(Writing { path, lines, file: None }).await.map(|()| true)
}

/// A trace in the making.
struct Writing {
    path: PathBuf,
    lines: Arc<Lines>,
    file: Option<File>,
}

impl Work for Writing {
    type Done = ();

    fn write(&mut self, _: Instant) -> io::Result<Option<()>> {
        let (lot, over) = {
            let mut waiting = self.lines.lock();
            if waiting.text.len() < LOT && !waiting.over {
                return Ok(None);
            }
            (std::mem::take(&mut waiting.text), waiting.over)
        };
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::create(&self.path)?),
        };
        file.write_all(lot.as_bytes())?;
        if !over {
            self.lines.give_back(lot);
        }
        Ok(over.then_some(()))
    }

    fn give_up(&mut self) {
        *self.lines.lock() = Waiting { over: true, ..Waiting::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_lines_are_written_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.trace");
        let (mut tracer, work) = Tracer::new(path.clone(), &Disk::default());
        tracer.line("one\n");
        tracer.line("two\n");
        drop(tracer);
        assert!(work.await.unwrap());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }

    #[tokio::test]
    async fn a_call_that_is_not_traced_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.trace");
        let (tracer, work) = Tracer::new(path.clone(), &Disk::default());
        drop(tracer);
        assert!(!work.await.unwrap());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_trace_that_the_disk_cannot_keep_up_with_ends_without_a_hole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.trace");
        let (mut tracer, work) = Tracer::new(path.clone(), &Disk::default());
        let line = format!("{}\n", "x".repeat(1_023));
        // As long as this is not awaited, nothing is written.
        for _ in 0..2 * WAITING_MAX / line.len() {
            tracer.line(&line);
        }
        tracer.line("short\n");
        drop(tracer);
        assert!(work.await.unwrap());
        assert_eq!(std::fs::read_to_string(path).unwrap(), line.repeat(WAITING_MAX / line.len()));
    }
}
