//! A channel that seldom has anything, waited for beside sockets that often do: looked at when its bell rang.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::bell::Bell;

pub(crate) struct Inbox<T> {
    channel: mpsc::Receiver<T>,
    bell: Bell,
    /// It rang, and there may be more than was taken since.
    rang: bool,
}

impl<T> Inbox<T> {
    pub(crate) fn new(channel: mpsc::Receiver<T>) -> Self {
        Inbox { channel, bell: Bell::new(), rang: false }
    }

    /// As the channel's own. May be dropped at any await.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Option<T>> {
        self.rang |= self.bell.rang(cx);
        if !self.rang {
            return Poll::Pending;
        }
        let polled = self.channel.poll_recv(&mut self.bell.context());
        self.rang = polled.is_ready();
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
