//! A bell that whatever is waited for rings when there is something, and that remembers having been rung.
//!
//! Whoever waits for several things asks each of them whenever one is ready. To ask a socket or a channel is to look at a
//! dozen places in memory that nobody has lately used; with hundreds of calls on a core, that was a tenth of what they
//! cost. So each has a bell, and only the bell is looked at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

pub(crate) struct Bell {
    line: Arc<Line>,
    /// The same, as it is given to what rings it.
    waker: Waker,
    /// Whom it wakes. A task keeps its waker for as long as it lives, so that the lock is not taken again.
    listener: Waker,
}

struct Line {
    rang: AtomicBool,
    muted: AtomicBool,
    listener: Mutex<Waker>,
}

/// Where another thread may come in between, in the search through all orders.
fn step() {
    #[cfg(test)]
    crate::handoffs::others_may_go_first();
}

impl Wake for Line {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    // With `Bell::rang` and `Bell::unmute`, this is an exchange of the kind "I say, then look whether you said": each side
    // has to see what the other said, or be seen by it, which is what the strictest ordering is for.
    fn wake_by_ref(self: &Arc<Self>) {
        step();
        self.rang.store(true, Ordering::SeqCst);
        step();
        if !self.muted.load(Ordering::SeqCst) {
            step();
            let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
            listener.wake();
        }
    }
}

impl Bell {
    /// One that has rung: what is to ring it has to be asked once before it knows it.
    pub(crate) fn new() -> Self {
        let line = Line {
            rang: AtomicBool::new(true),
            muted: AtomicBool::new(false),
            listener: Mutex::new(Waker::noop().clone()),
        };
        let line = Arc::new(line);
        Bell { waker: line.clone().into(), line, listener: Waker::noop().clone() }
    }

    /// Whether it rang since this was last asked. From now on it wakes whoever asked.
    pub(crate) fn rang(&mut self, cx: &Context<'_>) -> bool {
        // Before the bell is looked at: it may ring in between.
        if !self.listener.will_wake(cx.waker()) {
            self.listener.clone_from(cx.waker());
            step();
            self.line.listener.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        }
        step();
        self.line.rang.load(Ordering::SeqCst) && self.line.rang.swap(false, Ordering::SeqCst)
    }

    /// As if it had rung: there may be more than was looked at. Wakes nobody.
    pub(crate) fn ring(&self) {
        self.line.rang.store(true, Ordering::SeqCst);
    }

    /// What is to ring it is asked with this.
    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// From now on it wakes nobody, but goes on remembering.
    pub(crate) fn mute(&self) {
        step();
        self.line.muted.store(true, Ordering::SeqCst);
    }

    /// It wakes again. Whether it rang meanwhile is to be asked after this.
    pub(crate) fn unmute(&self) {
        step();
        self.line.muted.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use shuttle::thread;

    use super::*;
    use crate::handoffs::in_every_order;

    /// Whether a task was woken.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// A bell is rung while a task does something with it, and asks whether it rang: it rang, or the task is woken and then
    /// it rang.
    fn is_heard(meanwhile: fn(&Bell)) {
        in_every_order(move || {
            let mut bell = Bell::new();
            assert!(bell.rang(&Context::from_waker(Waker::noop())));
            let rings = bell.waker.clone();
            let rings = thread::spawn(move || rings.wake());
            meanwhile(&bell);
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(woken.clone());
            let rang = bell.rang(&Context::from_waker(&waker));
            rings.join().unwrap();
            assert!(rang || (woken.0.load(Ordering::SeqCst) && bell.rang(&Context::from_waker(&waker))));
        });
    }

    #[test]
    fn nobody_waits_for_a_bell_that_has_rung() {
        is_heard(|_| {});
    }

    #[test]
    fn what_rang_while_it_was_muted_is_remembered() {
        is_heard(|bell| {
            bell.mute();
            bell.unmute();
        });
    }

    #[test]
    fn a_muted_bell_wakes_nobody() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let mut bell = Bell::new();
        assert!(bell.rang(&cx) && !bell.rang(&cx));
        bell.mute();
        bell.waker.wake_by_ref();
        assert!(!woken.0.load(Ordering::SeqCst));
        bell.unmute();
        assert!(bell.rang(&cx) && !bell.rang(&cx));
        bell.waker.wake_by_ref();
        assert!(woken.0.load(Ordering::SeqCst));
    }
}
