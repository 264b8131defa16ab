//! A WebSocket whose writes are never waited for.
//!
//! Messages queue up and go out whenever the socket is polled, reading or not, so that a peer that does not read
//! cannot keep us from hearing the other one. The queue has a bound; a peer that lets it fill up is lost.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::str::Utf8Error;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::bell::Bell;
use crate::meter::Stamp;
use crate::together::Together;

/// Time for the last messages and the close frame to be written. After it, the connection is simply dropped. At the end of
/// a call that is before the call's helpers are given up and reported, of which closing is one (L8).
const CLOSE_MAX: Duration = Duration::from_millis(800);

/// One end of one of the two protocols' messages; axum and tungstenite each have their own type.
pub(crate) trait Message: Sized {
    type Text: Deref<Target = str>;

    fn text(text: OutText) -> Self;

    fn ping() -> Self;

    /// `None`: nothing that we listen to.
    fn received(self) -> Option<Received<Self::Text>>;
}

/// The text of a message to be sent.
pub(crate) struct OutText(Bytes);

/// What the calls of a thread say in some rounds of their loops.
const ROOM: usize = 4 * 1_024;

thread_local! {
    /// Where texts are laid out to be sent: one after the other in one piece of memory, which is begun anew when all of them
    /// have gone. So peers that take what they are given cost no allocation, and what one call wrote is still in the
    /// processor's cache when the next one writes there.
    static LAID_OUT: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(ROOM));
}

impl OutText {
    /// Of a message that goes at once.
    fn laid_out(text: &str) -> Self {
        if text.len() > ROOM {
            return OutText::kept(text);
        }
        LAID_OUT.with_borrow_mut(|room| {
            room.extend_from_slice(text.as_bytes());
            OutText(room.split().freeze())
        })
    }

    /// Of one that may wait for long: in as much memory as it takes.
    fn kept(text: &str) -> Self {
        OutText(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// As tungstenite has it. It looks through the text once more, which costs less than the allocation that is saved.
    pub(crate) fn into_utf8<T: TryFrom<Bytes, Error = Utf8Error>>(self) -> T {
        T::try_from(self.0).expect("it was made of a str")
    }
}

#[derive(Debug)]
pub(crate) enum Received<T> {
    Text(T),
    /// The peer closed, with this code.
    Closed(Option<u16>),
    /// The connection broke, or the peer took nothing for too long.
    Lost(&'static str),
}

/// How a peer that says nothing is asked whether it is still there. A connection that dies without a word shows itself by
/// nothing else: what is written to it goes nowhere for minutes before the system gives it up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pings {
    /// Silence after which it is asked. A peer that speaks is not.
    pub every: Duration,
    /// How long it may take to say anything then.
    pub answer_max: Duration,
}

/// When what was heard of a peer, and what it was asked.
struct Watch {
    pings: Pings,
    heard_at: Instant,
    /// Since then nothing was heard.
    asked_at: Option<Instant>,
    /// Set anew only when it fires: most messages need no timer touched.
    due: Pin<Box<Sleep>>,
}

impl Watch {
    fn new(pings: Pings) -> Self {
        let now = Instant::now();
        Watch { pings, heard_at: now, asked_at: None, due: Box::pin(sleep_until(now + pings.every)) }
    }

    fn heard(&mut self) {
        self.heard_at = Instant::now();
        self.asked_at = None;
    }

    /// Ready when there is something to be done about the peer's silence.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Silence> {
        loop {
            ready!(self.due.as_mut().poll(cx));
            let now = Instant::now();
            let due = match self.asked_at {
                Some(asked_at) => asked_at + self.pings.answer_max,
                None => self.heard_at + self.pings.every,
            };
            if due > now {
                self.due.as_mut().reset(due);
                continue;
            }
            if self.asked_at.is_some() {
                return Poll::Ready(Silence::Unanswered);
            }
            self.asked_at = Some(now);
            self.due.as_mut().reset(now + self.pings.answer_max);
            return Poll::Ready(Silence::Ask);
        }
    }
}

enum Silence {
    Ask,
    Unanswered,
}

/// A socket that may not be there (yet, or any more).
pub(crate) struct Socket<S, M> {
    connection: Option<S>,
    /// Rung by the connection, and by whatever else here is waited for.
    bell: Bell,
    /// It rang, and all that lies there was not read since.
    readable: bool,
    /// Each with its length, and what is measured by it.
    waiting: VecDeque<(M, usize, Option<Stamp>)>,
    /// Of messages that the connection has taken, but not all of which it has written.
    unwritten: Vec<Stamp>,
    /// Of messages that were written, and how long that took.
    written: Vec<(Stamp, Duration)>,
    waiting_bytes: usize,
    waiting_bytes_max: usize,
    overflowed: bool,
    /// The connection was given something since it last had written all.
    unflushed: bool,
    /// The peer takes nothing, since this moment.
    blocked_since: Option<Instant>,
    blocked: Duration,
    pings: Option<Pings>,
    /// While there are a connection and pings.
    watch: Option<Watch>,
    /// While it has nothing to say that cannot be read a little later, together with what follows.
    together: Option<Together>,
}

impl<S, M, E> Socket<S, M>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    M: Message,
{
    pub(crate) fn absent(waiting_bytes_max: usize) -> Self {
        Socket {
            connection: None,
            bell: Bell::new(),
            readable: false,
            waiting: VecDeque::new(),
            unwritten: Vec::new(),
            written: Vec::new(),
            waiting_bytes: 0,
            waiting_bytes_max,
            overflowed: false,
            unflushed: false,
            blocked_since: None,
            blocked: Duration::ZERO,
            pings: None,
            watch: None,
            together: None,
        }
    }

    /// The same, asking its peers whether they are still there.
    pub(crate) fn pinged(self, pings: Pings) -> Self {
        Socket { pings: Some(pings), ..self }
    }

    /// The same without connection and memory.
    fn emptied(&self) -> Self {
        Socket { pings: self.pings, ..Socket::absent(self.waiting_bytes_max) }
    }

    pub(crate) fn attach(&mut self, connection: S) {
        let watch = self.pings.map(Watch::new);
        *self = Socket { connection: Some(connection), watch, ..self.emptied() };
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.connection.is_some()
    }

    /// From now on what the peer says is read some frames of 20 ms at a time.
    pub(crate) fn read_together(&mut self, frames: u32) {
        self.together = (frames > 1).then(|| Together::new(frames));
    }

    /// How that stands, if it is so.
    pub(crate) fn together(&mut self) -> Option<&mut Together> {
        self.together.as_mut()
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
        let laid_out = if self.blocked_since.is_some() { OutText::kept(text) } else { OutText::laid_out(text) };
        self.waiting.push_back((M::text(laid_out), text.len(), stamp));
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

    /// The same if it has been said already.
    pub(crate) async fn received(&mut self) -> Option<Received<M::Text>> {
        poll_fn(|cx| match self.poll_receive(cx) {
            Poll::Ready(received) => Poll::Ready(Some(received)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Writes what waits and closes, elsewhere than here, within [`CLOSE_MAX`].
    pub(crate) fn close(&mut self) -> Option<impl Future<Output = ()> + use<S, M, E>> {
        let emptied = self.emptied();
        let mut closing = std::mem::replace(self, emptied);
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
            self.watch = None;
            self.waiting.clear();
        }
        Poll::Ready(received)
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Received<M::Text>> {
        let Some(connection) = &mut self.connection else { return Poll::Pending };
        if self.overflowed {
            return Poll::Ready(Received::Lost("it took nothing for too long"));
        }
        // Before it is asked whether it rang.
        self.bell.unmute();
        let rang = self.bell.rang(cx);
        self.readable |= rang;
        let listening = &mut self.bell.context();
        while rang && let Some(Poll::Ready(silence)) = self.watch.as_mut().map(|watch| watch.poll(listening)) {
            match silence {
                Silence::Ask => self.waiting.push_back((M::ping(), 0, None)),
                // What it said may lie here unread, if we were late ourselves.
                Silence::Unanswered => match connection.poll_next_unpin(listening) {
                    Poll::Ready(Some(Ok(message))) => {
                        self.watch.as_mut().map(Watch::heard);
                        if let Some(received) = message.received() {
                            // To watch on.
                            self.bell.ring();
                            return Poll::Ready(received);
                        }
                    }
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Received::Lost("reading failed")),
                    Poll::Ready(None) => return Poll::Ready(Received::Closed(None)),
                    Poll::Pending => return Poll::Ready(Received::Lost("it did not answer a ping")),
                },
            }
        }
        while !self.waiting.is_empty() {
            match connection.poll_ready_unpin(listening) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Poll::Ready(Received::Lost("writing failed")),
                Poll::Ready(Ok(())) => {
                    let Some((message, len, stamp)) = self.waiting.pop_front() else { break };
                    self.waiting_bytes -= len;
                    if connection.start_send_unpin(message).is_err() {
                        return Poll::Ready(Received::Lost("writing failed"));
                    }
                    self.unwritten.extend(stamp);
                    self.unflushed = true;
                }
            }
        }
        if self.unflushed {
            self.unflushed = match connection.poll_flush_unpin(listening) {
                Poll::Ready(Err(_)) => return Poll::Ready(Received::Lost("writing failed")),
                Poll::Ready(Ok(())) => false,
                Poll::Pending => true,
            };
        }
        let flushed = !self.unflushed;
        if flushed && !self.unwritten.is_empty() {
            let now = Instant::now();
            self.written.extend(self.unwritten.drain(..).map(|stamp| (stamp, now - stamp.since)));
        }
        let wrote_all = flushed && self.waiting.is_empty();
        if wrote_all {
            if let Some(since) = self.blocked_since.take() {
                self.blocked += since.elapsed();
            }
        } else if self.blocked_since.is_none() {
            self.blocked_since = Some(Instant::now());
        }
        let mut rests = self.together.as_mut().is_some_and(|together| together.poll(cx).is_pending());
        while self.readable && !rests {
            let Poll::Ready(message) = connection.poll_next_unpin(listening) else {
                self.readable = false;
                break;
            };
            match message {
                None => return Poll::Ready(Received::Closed(None)),
                Some(Err(_)) => return Poll::Ready(Received::Lost("reading failed")),
                Some(Ok(message)) => {
                    if let Some(watch) = &mut self.watch {
                        watch.heard();
                    }
                    if let Some(received) = message.received() {
                        return Poll::Ready(received);
                    }
                }
            }
        }
        if let Some(together) = &mut self.together
            && !rests
        {
            together.found_nothing(Instant::now());
            rests = together.poll(cx).is_pending();
        }
        // That something lies there is of no interest before then. That there is room for what waits is.
        if rests && wrote_all {
            self.bell.mute();
        }
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use super::*;
    use crate::metrics::Measure;

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
        fn text(text: OutText) -> Self {
            String::from_utf8(text.0.into()).unwrap()
        }
        fn ping() -> Self {
            "ping".to_owned()
        }
        fn received(self) -> Option<Received<String>> {
            (!["ping", "pong"].contains(&&*self)).then_some(Received::Text(self))
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

    impl Message for Bytes {
        type Text = &'static str;
        fn text(text: OutText) -> Self {
            text.0
        }
        fn ping() -> Self {
            Bytes::new()
        }
        fn received(self) -> Option<Received<&'static str>> {
            None
        }
    }

    /// A peer that takes nothing and says nothing.
    struct Stuck;

    impl Stream for Stuck {
        type Item = Result<Bytes, ()>;
        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Pending
        }
    }

    impl Sink<Bytes> for Stuck {
        type Error = ();
        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Pending
        }
        fn start_send(self: Pin<&mut Self>, _: Bytes) -> Result<(), ()> {
            unreachable!("never ready")
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Pending
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Pending
        }
    }

    /// Breaks when what waits for one peer keeps the memory in which all calls of the thread lay out what they say.
    #[tokio::test]
    async fn what_waits_for_a_peer_that_takes_nothing_takes_as_much_memory_as_it_has_bytes() {
        let mut socket = Socket::absent(1_000);
        socket.attach(Stuck);
        socket.send("first", None);
        assert!(socket.received().await.is_none());
        socket.send("second", None);
        let (second, ..) = socket.waiting.pop_back().unwrap();
        assert_eq!(second.try_into_mut().unwrap().capacity(), 6);
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

    /// A peer that takes everything, answers pings if it is asked to, and says something every so often.
    struct Distant {
        answers: bool,
        speaks: Option<tokio::time::Interval>,
        pings: Vec<Instant>,
        unread: VecDeque<String>,
    }

    impl Stream for Distant {
        type Item = Result<String, ()>;
        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            if let Some(text) = self.unread.pop_front() {
                return Poll::Ready(Some(Ok(text)));
            }
            let Some(speaks) = &mut self.speaks else { return Poll::Pending };
            speaks.poll_tick(cx).map(|_| Some(Ok("hello".to_owned())))
        }
    }

    impl Sink<String> for Distant {
        type Error = ();
        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }
        fn start_send(mut self: Pin<&mut Self>, message: String) -> Result<(), ()> {
            if message == "ping" {
                self.pings.push(Instant::now());
                if self.answers {
                    self.unread.push_back("pong".to_owned());
                }
            }
            Ok(())
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn far_away(answers: bool, speaks: Option<Duration>) -> Socket<Distant, String> {
        let (every, answer_max) = (Duration::from_secs(10), Duration::from_secs(4));
        let mut socket = Socket::absent(100).pinged(Pings { every, answer_max });
        let speaks = speaks.map(tokio::time::interval);
        socket.attach(Distant { answers, speaks, pings: Vec::new(), unread: VecDeque::new() });
        socket
    }

    fn asked(socket: &Socket<Distant, String>) -> usize {
        socket.connection.as_ref().map_or(0, |peer| peer.pings.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_silently_gone_is_lost_when_it_answers_no_ping() {
        let mut socket = far_away(false, None);
        // That we speak to it shows nothing.
        socket.send("are you there?", None);
        let began = Instant::now();
        assert!(matches!(socket.receive().await, Received::Lost("it did not answer a ping")));
        assert_eq!((began.elapsed(), socket.is_attached()), (Duration::from_secs(14), false));
        // The next connection is watched from its own beginning.
        tokio::time::advance(Duration::from_secs(60)).await;
        socket.attach(far_away(false, None).connection.unwrap());
        let began = Instant::now();
        assert!(matches!(socket.receive().await, Received::Lost(_)));
        assert_eq!(began.elapsed(), Duration::from_secs(14));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_pings_may_be_silent_for_ever() {
        let mut socket = far_away(true, None);
        let hour = Duration::from_secs(3_600);
        assert!(tokio::time::timeout(hour, socket.receive()).await.is_err());
        assert_eq!(asked(&socket), 360);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_speaks_is_not_asked() {
        let mut socket = far_away(false, Some(Duration::from_secs(9)));
        for _ in 0..100 {
            assert!(matches!(socket.receive().await, Received::Text(_)));
        }
        assert_eq!(asked(&socket), 0);
        // One that speaks again after it was asked has answered.
        let mut socket = far_away(false, Some(Duration::from_secs(13)));
        for _ in 0..100 {
            assert!(matches!(socket.receive().await, Received::Text(_)));
        }
        assert_eq!(asked(&socket), 99);
    }

    /// Breaks when each message is looked for, or nobody looks again.
    #[tokio::test(start_paused = true)]
    async fn what_is_read_together_is_read_soon_after_the_last_of_it_came() {
        let frame = Duration::from_millis(20);
        let mut socket = far_away(false, Some(frame));
        socket.read_together(3);
        let (began, mut looks, mut looked) = (Instant::now(), 0, None);
        for message in 0..600 {
            let received = tokio::time::timeout(Duration::from_secs(1), socket.receive()).await;
            assert!(matches!(received, Ok(Received::Text(_))), "{received:?}");
            let late = Instant::now() - (began + message * frame);
            assert!(late <= 2 * frame + Duration::from_millis(5), "{message}: {late:?}");
            looks += u32::from(looked.replace(Instant::now()) != Some(Instant::now()));
            socket.together().unwrap().made(None, message % 3 != 2);
        }
        assert!((200..260).contains(&looks), "{looks}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_peer_said_while_we_were_away_counts() {
        let mut socket = far_away(true, None);
        assert!(tokio::time::timeout(Duration::from_secs(11), socket.receive()).await.is_err());
        let peer = socket.connection.as_mut().unwrap();
        peer.answers = false;
        assert!(tokio::time::timeout(Duration::from_secs(10), socket.receive()).await.is_err());
        assert_eq!(asked(&socket), 2);
        socket.connection.as_mut().unwrap().unread.push_back("hello".to_owned());
        // Nobody polled for a minute.
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(matches!(socket.receive().await, Received::Text(_)));
        assert!(socket.is_attached());
        // And it is watched on.
        let began = Instant::now();
        let received = tokio::time::timeout(Duration::from_secs(60), socket.receive()).await;
        assert!(matches!(received, Ok(Received::Lost("it did not answer a ping"))), "{received:?}");
        assert_eq!(began.elapsed(), Duration::from_secs(14));
    }

    /// A peer that says one thing, and takes nothing until there is room.
    #[derive(Clone, Default)]
    struct Full(Arc<Mutex<FullState>>);

    #[derive(Default)]
    struct FullState {
        said: bool,
        room: bool,
        writer: Option<Waker>,
    }

    impl Stream for Full {
        type Item = Result<String, ()>;
        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            let said = std::mem::replace(&mut self.0.lock().unwrap().said, true);
            if said { Poll::Pending } else { Poll::Ready(Some(Ok("hello".to_owned()))) }
        }
    }

    impl Sink<String> for Full {
        type Error = ();
        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }
        fn start_send(self: Pin<&mut Self>, _: String) -> Result<(), ()> {
            Ok(())
        }
        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
            let mut state = self.0.lock().unwrap();
            state.writer = Some(cx.waker().clone());
            if state.room { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Breaks when a socket that is left alone for a while is deaf to there being room again.
    #[tokio::test(start_paused = true)]
    async fn what_waits_is_written_as_soon_as_there_is_room_though_nothing_is_to_be_read_yet() {
        let mut socket = Socket::absent(100);
        socket.attach(Full::default());
        socket.read_together(3);
        assert!(matches!(socket.receive().await, Received::Text(_)));
        socket.together().unwrap().made(None, true);
        socket.together().unwrap().made(None, false);
        let peer = socket.connection.clone().unwrap();
        assert!(socket.received().await.is_none());
        let began = Instant::now();
        socket.send("wait", Some(Stamp { measure: Measure::RelayToCarrier, since: began }));
        let room = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(7)).await;
            let mut state = peer.0.lock().unwrap();
            state.room = true;
            state.writer.take().unwrap().wake();
        });
        assert!(tokio::time::timeout(Duration::from_secs(1), socket.receive()).await.is_err());
        room.await.unwrap();
        assert_eq!(socket.next_written().unwrap().1, Duration::from_millis(7));
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
