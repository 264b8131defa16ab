//! A channel that seldom has anything, waited for beside sockets that often do.
//!
//! Whoever waits for several things asks each of them whenever one is ready. To ask a channel is to look at half a dozen
//! places in memory that nobody has lately used; with hundreds of calls on a core, that was a twentieth of what they cost.
//! So it rings a bell when it has something, and only the bell is looked at.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::sync::mpsc;

pub(crate) struct Inbox<T> {
    channel: mpsc::Receiver<T>,
    bell: Arc<Bell>,
    /// The same, as the channel rings it.
    waker: Waker,
}

struct Bell {
    rang: AtomicBool,
    /// The task that waits.
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<T> Inbox<T> {
    pub(crate) fn new(channel: mpsc::Receiver<T>) -> Self {
        // The channel does not know the bell before it has been asked once.
        let bell = Arc::new(Bell { rang: AtomicBool::new(true), task: AtomicWaker::new() });
        Inbox { channel, waker: bell.clone().into(), bell }
    }

    /// As the channel's own. May be dropped at any await.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        // Before the bell is looked at: it may ring in between.
        self.bell.task.register(cx.waker());
        if !self.bell.rang.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        let polled = self.channel.poll_recv(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            // There may be more.
            self.bell.rang.store(true, Ordering::Release);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when the bell is looked at too early, forgets that there is more, or rings for nobody.
    #[tokio::test]
    async fn what_is_sent_comes_whoever_waits_and_whenever() {
        let (sender, channel) = mpsc::channel(8);
        let mut inbox = Inbox::new(channel);
        // Asked, and given up.
        for _ in 0..3 {
            assert!(futures_util::FutureExt::now_or_never(inbox.recv()).is_none());
        }
        sender.send(1).await.unwrap();
        sender.send(2).await.unwrap();
        assert_eq!((inbox.recv().await, inbox.recv().await), (Some(1), Some(2)));
        // By a task that sleeps meanwhile, and not by the one that asked before.
        assert!(futures_util::FutureExt::now_or_never(inbox.recv()).is_none());
        let waits = tokio::spawn(async move { (inbox.recv().await, inbox.recv().await, inbox.recv().await) });
        tokio::task::yield_now().await;
        sender.send(3).await.unwrap();
        tokio::task::yield_now().await;
        sender.send(4).await.unwrap();
        tokio::task::yield_now().await;
        drop(sender);
        assert_eq!(waits.await.unwrap(), (Some(3), Some(4), None));
    }
}
