//! A WebSocket whose writes are never waited for.
//!
//! Messages queue up and go out whenever the socket is polled, reading or not, so that a peer that does not read
//! cannot keep us from hearing the other one. The queue has a bound; a peer that lets it fill up is lost.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Deref;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::Instant;

use crate::meter::Stamp;

/// Time for the last messages and the close frame to be written. After it, the connection is simply dropped.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// One end of one of the two protocols' messages; axum and tungstenite each have their own type.
pub(crate) trait Message: Sized {
    type Text: Deref<Target = str>;

    fn text(text: &str) -> Self;

    /// `None`: nothing that we listen to.
    fn received(self) -> Option<Received<Self::Text>>;
}

#[derive(Debug)]
pub(crate) enum Received<T> {
    Text(T),
    /// The peer closed, with this code.
    Closed(Option<u16>),
    /// The connection broke, or the peer took nothing for too long.
    Lost(&'static str),
}

/// A socket that may not be there (yet, or any more).
pub(crate) struct Socket<S, M> {
    connection: Option<S>,
    /// Each with its length, and what is measured by it.
    waiting: VecDeque<(M, usize, Option<Stamp>)>,
    /// Of messages that the connection has taken, but not all of which it has written.
    unwritten: Vec<Stamp>,
    /// Of messages that were written, and how long that took.
    written: Vec<(Stamp, Duration)>,
    waiting_bytes: usize,
    waiting_bytes_max: usize,
    overflowed: bool,
    /// The peer takes nothing, since this moment.
    blocked_since: Option<Instant>,
    blocked: Duration,
}

impl<S, M, E> Socket<S, M>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    M: Message,
{
    pub(crate) fn absent(waiting_bytes_max: usize) -> Self {
        Socket {
            connection: None,
            waiting: VecDeque::new(),
            unwritten: Vec::new(),
            written: Vec::new(),
            waiting_bytes: 0,
            waiting_bytes_max,
            overflowed: false,
            blocked_since: None,
            blocked: Duration::ZERO,
        }
    }

    pub(crate) fn attach(&mut self, connection: S) {
        *self = Socket { connection: Some(connection), ..Socket::absent(self.waiting_bytes_max) };
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.connection.is_some()
    }

    /// Queues a message. Without a connection it goes nowhere: the call has been told, or is about to be. When it has
    /// been written, [`Socket::next_written`] has its stamp.
    pub(crate) fn send(&mut self, text: &str, stamp: Option<Stamp>) {
        if self.connection.is_none() {
            return;
        }
        self.waiting_bytes += text.len();
        if self.waiting_bytes > self.waiting_bytes_max {
            self.overflowed = true;
            return;
        }
        self.waiting.push_back((M::text(text), text.len(), stamp));
    }

    /// A message that was written, and how long after the beginning of its stamp.
    pub(crate) fn next_written(&mut self) -> Option<(Stamp, Duration)> {
        self.written.pop()
    }

    /// How long messages have waited for the peer to take them, since this was last asked (O2).
    pub(crate) fn take_blocked(&mut self) -> Duration {
        if let Some(since) = &mut self.blocked_since {
            let now = Instant::now();
            self.blocked += now - *since;
            *since = now;
        }
        std::mem::take(&mut self.blocked)
    }

    /// The next thing that the peer says, writing what waits meanwhile. Never ready without a connection; after
    /// `Closed` and `Lost` there is none. May be dropped at any await.
    pub(crate) async fn receive(&mut self) -> Received<M::Text> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Writes what waits and closes, elsewhere than here, within [`CLOSE_MAX`].
    pub(crate) fn close(&mut self) -> Option<impl Future<Output = ()> + use<S, M, E>> {
        let mut closing = std::mem::replace(self, Socket::absent(self.waiting_bytes_max));
        let mut connection = closing.connection.take()?;
        Some(async move {
            let close = async {
                for (message, ..) in closing.waiting {
                    if connection.feed(message).await.is_err() {
                        return;
                    }
                }
                // An error here is a peer that closed first.
                let _ = connection.close().await;
            };
            let _ = tokio::time::timeout(CLOSE_MAX, close).await;
        })
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received<M::Text>> {
        if self.connection.is_none() {
            return Poll::Pending;
        }
        let received = ready!(self.poll_connection(cx));
        if !matches!(received, Received::Text(_)) {
            self.connection = None;
            self.waiting.clear();
        }
        Poll::Ready(received)
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Received<M::Text>> {
        let Some(connection) = &mut self.connection else { return Poll::Pending };
        if self.overflowed {
            return Poll::Ready(Received::Lost("it took nothing for too long"));
        }
        while !self.waiting.is_empty() {
            match connection.poll_ready_unpin(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Poll::Ready(Received::Lost("writing failed")),
                Poll::Ready(Ok(())) => {
                    let Some((message, len, stamp)) = self.waiting.pop_front() else { break };
                    self.waiting_bytes -= len;
                    if connection.start_send_unpin(message).is_err() {
                        return Poll::Ready(Received::Lost("writing failed"));
                    }
                    self.unwritten.extend(stamp);
                }
            }
        }
        let flushed = match connection.poll_flush_unpin(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Received::Lost("writing failed")),
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        if flushed && !self.unwritten.is_empty() {
            let now = Instant::now();
            self.written.extend(self.unwritten.drain(..).map(|stamp| (stamp, now - stamp.since)));
        }
        if flushed && self.waiting.is_empty() {
            if let Some(since) = self.blocked_since.take() {
                self.blocked += since.elapsed();
            }
        } else if self.blocked_since.is_none() {
            self.blocked_since = Some(Instant::now());
        }
        loop {
            match ready!(connection.poll_next_unpin(cx)) {
                None => return Poll::Ready(Received::Closed(None)),
                Some(Err(_)) => return Poll::Ready(Received::Lost("reading failed")),
                Some(Ok(message)) => {
                    if let Some(received) = message.received() {
                        return Poll::Ready(received);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Measure;
    use std::pin::Pin;

    /// A peer that never reads, and says what it is given to say.
    struct Deaf(VecDeque<&'static str>);

    impl Stream for Deaf {
        type Item = Result<String, ()>;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.0.pop_front().map_or(Poll::Pending, |text| Poll::Ready(Some(Ok(text.to_owned()))))
        }
    }

    impl Sink<String> for Deaf {
        type Error = ();
        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Pending
        }
        fn start_send(self: Pin<&mut Self>, _: String) -> Result<(), ()> {
            unreachable!("never ready")
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Pending
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Pending
        }
    }

    impl Message for String {
        type Text = String;
        fn text(text: &str) -> Self {
            text.to_owned()
        }
        fn received(self) -> Option<Received<String>> {
            (self != "ping").then_some(Received::Text(self))
        }
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_still_heard() {
        let mut socket = Socket::absent(100);
        socket.attach(Deaf(VecDeque::from(["ping", "hello"])));
        socket.send("unread", None);
        assert!(matches!(socket.receive().await, Received::Text(text) if text == "hello"));
    }

    #[tokio::test(start_paused = true)]
    async fn o2_waiting_for_a_peer_is_measured() {
        let mut socket = Socket::absent(100);
        socket.attach(Deaf(VecDeque::from(["one", "two"])));
        assert_eq!(socket.take_blocked(), Duration::ZERO);
        socket.send("unread", None);
        socket.receive().await;
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!(socket.take_blocked(), Duration::from_millis(300));
        tokio::time::advance(Duration::from_millis(50)).await;
        socket.receive().await;
        assert_eq!(socket.take_blocked(), Duration::from_millis(50));
    }

    /// A peer that takes what it is given as long as there is room.
    struct Narrow {
        room: usize,
    }

    impl Stream for Narrow {
        type Item = Result<String, ()>;
        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(Some(Ok("hello".to_owned())))
        }
    }

    impl Sink<String> for Narrow {
        type Error = ();
        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            if self.room > 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
        fn start_send(mut self: Pin<&mut Self>, _: String) -> Result<(), ()> {
            self.room -= 1;
            Ok(())
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_message_took_is_known_when_it_was_written_and_not_before() {
        let stamp = |measure| Some(Stamp { measure, since: Instant::now() });
        let mut socket = Socket::absent(100);
        socket.attach(Narrow { room: 1 });
        socket.send("one", stamp(Measure::RelayToCarrier));
        socket.send("two", None);
        socket.send("three", stamp(Measure::BargeInStop));
        tokio::time::advance(Duration::from_millis(5)).await;
        socket.receive().await;
        let (written, after) = socket.next_written().unwrap();
        assert_eq!((written.measure, after), (Measure::RelayToCarrier, Duration::from_millis(5)));
        assert_eq!(socket.next_written(), None);

        tokio::time::advance(Duration::from_millis(70)).await;
        socket.connection.as_mut().unwrap().room = 9;
        socket.receive().await;
        let (written, after) = socket.next_written().unwrap();
        assert_eq!((written.measure, after), (Measure::BargeInStop, Duration::from_millis(75)));
        assert_eq!(socket.next_written(), None);
    }

    #[tokio::test]
    async fn a_peer_that_lets_the_queue_fill_up_is_lost() {
        let mut socket = Socket::absent(10);
        socket.attach(Deaf(VecDeque::new()));
        socket.send("0123456789", None);
        assert!(!socket.overflowed);
        socket.send("x", None);
        assert!(matches!(socket.receive().await, Received::Lost(_)));
        assert!(!socket.is_attached());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_a_deaf_peer_ends() {
        let mut socket = Socket::absent(100);
        socket.attach(Deaf(VecDeque::new()));
        socket.send("last words", None);
        socket.close().expect("it was attached").await;
    }
}
