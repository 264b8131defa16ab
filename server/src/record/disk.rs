//! One writer for the files of all calls.
//!
//! A file operation costs a hand-over to another thread, which costs more than the writing. So the calls leave what they
//! have to write in memory of their own, and ten times a second one sweep on one thread writes what is there, of all of
//! them. Nothing waits for the sweep: when the disk stalls it, what each call may leave is bounded, and the call knows.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

/// Between two sweeps.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// A file in the making.
pub(crate) trait Work: Send {
    /// What is known of a file that is complete.
    type Done: Send;

    /// Writes what is there. `None`: more is to come. May block.
    fn write(&mut self, now: Instant) -> io::Result<Option<Self::Done>>;

    /// The disk has refused, and there will be no file. What is still to come is not to be kept for it.
    fn give_up(&mut self);
}

/// Work of any kind, and whoever waits for it.
trait Unfinished: Send {
    /// Whether more is to come.
    fn go_on(&mut self, now: Instant) -> bool;
}

struct Awaited<W: Work> {
    work: W,
    done: Option<oneshot::Sender<io::Result<W::Done>>>,
}

impl<W: Work> Unfinished for Awaited<W> {
    fn go_on(&mut self, now: Instant) -> bool {
        let outcome = match self.work.write(now) {
            Ok(None) => return true,
            Ok(Some(done)) => Ok(done),
            Err(error) => {
                self.work.give_up();
                Err(error)
            }
        };
        if let Some(done) = self.done.take() {
            // Whoever waited may have lost patience.
            let _ = done.send(outcome);
        }
        false
    }
}

/// Where files in the making are left to be written. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Desk>);

#[derive(Default)]
struct Desk {
    inbox: Mutex<Inbox>,
    /// Something is complete: nobody should have to wait for the next sweep.
    hurry: Notify,
}

#[derive(Default)]
struct Inbox {
    /// Since the last sweep.
    new: Vec<Box<dyn Unfinished>>,
    /// There is a task that sweeps. It ends when nothing is left to write.
    swept: bool,
}

impl Disk {
    /// From now on this is written, until it is complete or the disk refuses. Needs a runtime.
    pub(crate) fn take<W: Work + 'static>(&self, work: W) -> impl Future<Output = io::Result<W::Done>> + use<W> {
        let (done, outcome) = oneshot::channel();
        {
            let mut inbox = self.inbox();
            inbox.new.push(Box::new(Awaited { work, done: Some(done) }));
            if !std::mem::replace(&mut inbox.swept, true) {
                tokio::spawn(self.clone().sweep());
            }
        }
        async { outcome.await.unwrap_or_else(|_| Err(io::Error::other("its writer failed"))) }
    }

    /// Sweeps before it is time.
    pub(crate) fn hurry(&self) {
        self.0.hurry.notify_one();
    }

    async fn sweep(self) {
        let mut all: Vec<Box<dyn Unfinished>> = Vec::new();
        loop {
            let next = Instant::now() + SWEEP_EVERY;
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.0.hurry.notified() => {}
            }
            {
                let mut inbox = self.inbox();
                all.append(&mut inbox.new);
                if all.is_empty() {
                    inbox.swept = false;
                    return;
                }
            }
            let now = Instant::now();
            let swept = tokio::task::spawn_blocking(move || {
                all.retain_mut(|work| is_unfinished(work.as_mut(), now));
                all
            });
            // It does not panic; a runtime that ends takes no more work, and takes this task along.
            let Ok(left) = swept.await else { return };
            all = left;
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bug in one file is not to cost the others.
fn is_unfinished(work: &mut dyn Unfinished, now: Instant) -> bool {
    catch_unwind(AssertUnwindSafe(|| work.go_on(now))).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// Is complete after so many sweeps, or does something else in the first.
    struct Sweeps {
        left: u32,
        does: Does,
        told: mpsc::UnboundedSender<u32>,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Does {
        Write,
        Fail,
        Panic,
    }

    const GIVEN_UP: u32 = 99;

    impl Work for Sweeps {
        type Done = &'static str;

        fn write(&mut self, _: Instant) -> io::Result<Option<&'static str>> {
            assert!(self.does != Does::Panic);
            if self.does == Does::Fail {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.left -= 1;
            let _ = self.told.send(self.left);
            Ok((self.left == 0).then_some("all of it"))
        }

        fn give_up(&mut self) {
            let _ = self.told.send(GIVEN_UP);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_swept_until_it_is_complete_whatever_happens_to_another() {
        let disk = Disk::default();
        let (told, mut heard) = mpsc::unbounded_channel();
        let panicked = disk.take(Sweeps { left: 9, does: Does::Panic, told: told.clone() });
        let refused = disk.take(Sweeps { left: 9, does: Does::Fail, told: told.clone() });
        let written = disk.take(Sweeps { left: 3, does: Does::Write, told: told.clone() });
        let began = Instant::now();
        for left in [GIVEN_UP, 2, 1, 0] {
            assert_eq!(heard.recv().await, Some(left));
        }
        assert_eq!(began.elapsed(), 3 * SWEEP_EVERY);
        assert_eq!(written.await.unwrap(), "all of it");
        assert_eq!(refused.await.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(panicked.await.unwrap_err().kind(), io::ErrorKind::Other);
        // Nobody sweeps an empty desk, and the next file finds somebody who does.
        tokio::time::sleep(3 * SWEEP_EVERY).await;
        assert!(!disk.inbox().swept);
        let later = disk.take(Sweeps { left: 1, does: Does::Write, told });
        assert_eq!(later.await.unwrap(), "all of it");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_in_a_hurry_is_not_kept_waiting() {
        let disk = Disk::default();
        let (told, _heard) = mpsc::unbounded_channel();
        let written = disk.take(Sweeps { left: 1, does: Does::Write, told });
        disk.hurry();
        let began = Instant::now();
        assert!(written.await.is_ok());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
