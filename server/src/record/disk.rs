//! One writer for the files of all calls.
//!
//! A file operation costs a hand-over to another thread, which costs more than the writing. So the calls leave what they
//! have to write in memory of their own, and ten times a second one sweep on one thread writes what is there, of all of
//! them. Nothing waits for the sweep: when the disk stalls it, what each call may leave is bounded, and the call knows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Between two sweeps.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// A file in the making.
pub(crate) trait Work: Send {
    /// Writes what is there. Returns whether more is to come. May block.
    fn go_on(&mut self, now: Instant) -> bool;
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
    new: Vec<Box<dyn Work>>,
    /// There is a task that sweeps. It ends when nothing is left to write.
    swept: bool,
}

impl Disk {
    /// From now on this is written, until it is complete. Needs a runtime.
    pub(crate) fn take(&self, work: impl Work + 'static) {
        let mut inbox = self.inbox();
        inbox.new.push(Box::new(work));
        if !std::mem::replace(&mut inbox.swept, true) {
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Sweeps before it is time.
    pub(crate) fn hurry(&self) {
        self.0.hurry.notify_one();
    }

    async fn sweep(self) {
        let mut all: Vec<Box<dyn Work>> = Vec::new();
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
fn is_unfinished(work: &mut dyn Work, now: Instant) -> bool {
    catch_unwind(AssertUnwindSafe(|| work.go_on(now))).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// Is complete after so many sweeps, or panics in the first.
    struct Sweeps {
        left: u32,
        panics: bool,
        told: mpsc::UnboundedSender<u32>,
    }

    impl Work for Sweeps {
        fn go_on(&mut self, _: Instant) -> bool {
            assert!(!self.panics);
            self.left -= 1;
            let _ = self.told.send(self.left);
            self.left > 0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_swept_until_it_is_complete_whatever_happens_to_another() {
        let disk = Disk::default();
        let (told, mut heard) = mpsc::unbounded_channel();
        disk.take(Sweeps { left: 9, panics: true, told: told.clone() });
        disk.take(Sweeps { left: 3, panics: false, told: told.clone() });
        let began = Instant::now();
        for left in [2, 1, 0] {
            assert_eq!(heard.recv().await, Some(left));
        }
        assert_eq!(began.elapsed(), 3 * SWEEP_EVERY);
        // Nobody sweeps an empty desk, and the next file finds somebody who does.
        tokio::time::sleep(3 * SWEEP_EVERY).await;
        assert!(!disk.inbox().swept);
        disk.take(Sweeps { left: 1, panics: false, told });
        assert_eq!(heard.recv().await, Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_in_a_hurry_is_not_kept_waiting() {
        let disk = Disk::default();
        let (told, mut heard) = mpsc::unbounded_channel();
        disk.take(Sweeps { left: 1, panics: false, told });
        disk.hurry();
        let began = Instant::now();
        assert_eq!(heard.recv().await, Some(0));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
