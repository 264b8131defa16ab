//! Connections: accepted, bounded in number and in patience, and given to the router.
//!
//! Whoever can reach the port can open connections and then say nothing, dribble a request's head, or stop reading in
//! the middle of an answer. None of that may cost the others more than a few kilobytes for a while:
//!
//! * A head has to be complete within a limit, counted from the answer before it; so idle connections end by it, too.
//! * A peer that takes nothing of what is written to it for [`WRITE_STALL_MAX`] is gone.
//! * At the limit of connections the next one waits to be accepted, and the one that has gone longest without an answer
//!   makes room, once that is longer than [`HONEST_MAX`]. So a burst is served in turn, and a flood of silence is not
//!   waited for.
//!
//! A connection that becomes a media socket leaves all this: its call, of which there is a bounded number, owns it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use futures_util::future::{Either, select};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::read_ahead::ReadAhead;

/// What is read of a request before its head has to be complete. Twilio's heads are below 2 KiB.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// A peer's network may be away for so long. A TCP that gets no acknowledgement gives up after minutes only.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// From its connection, or the answer before it, to its own answer, an honest request takes less than this, also where
/// it crosses an ocean. And a connection that idles for so long is one that its client can do without.
const HONEST_MAX: Duration = Duration::from_millis(500);

/// When the system gives us no more sockets, asking at once again is of no use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much is accepted, and how patiently.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub connections: usize,
    /// For a request's head, from the connection's beginning or the answer before it on.
    pub head: Duration,
}

/// Serves until dropped, which closes every connection that is not a media socket.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits) -> Infallible {
    let patience = Patience::default();
    let service = TowerToHyperService::new(router);
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_peer(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "no connection could be accepted");
                sleep(ACCEPT_PAUSE).await;
                patience.end_the_longest_wait();
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        while connections.len() >= limits.connections {
            // Whichever comes first: somebody goes, or somebody has been waited for long enough.
            let enough = pin!(sleep_until(patience.longest_wait_since() + HONEST_MAX));
            if let Either::Right(_) = select(pin!(connections.join_next()), enough).await {
                patience.end_the_longest_wait();
            }
        }
        // Frames of 20 ms must not wait to be grouped.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        connections.spawn(connection(stream, peer, service.clone(), limits.head, patience.clone()));
    }
}

/// One connection, over whatever carries bytes.
#[cfg(test)]
pub(crate) async fn serve_one(stream: tokio::io::DuplexStream, router: Router, limits: Limits) {
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    connection(stream, peer, TowerToHyperService::new(router), limits.head, Patience::default()).await;
}

/// The connection broke before it was ours; the next one may be well.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    peer: SocketAddr,
    router: TowerToHyperService<Router>,
    head_max: Duration,
    patience: Patience,
) {
    let waiting = patience.begin();
    let end = waiting.end.clone();
    let answer = service_fn(|request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = router.call(request);
        let waiting = &waiting;
        async move {
            let answer = answer.await;
            waiting.renew();
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_max)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Impatient { stream: ReadAhead::new(stream), stalled: None }), answer)
        .with_upgrades();
    // What ends a connection is its peer's affair: an error here is for the curious.
    match select(pin!(served), pin!(end.notified())).await {
        Either::Left((Ok(()), _)) => {}
        Either::Left((Err(error), _)) => tracing::debug!(%error, "a connection ended"),
        Either::Right(_) => tracing::debug!("a connection made room for another"),
    }
}

/// Who has gone longest without an answer.
#[derive(Clone, Default)]
struct Patience(Arc<Mutex<Waits>>);

#[derive(Default)]
struct Waits {
    /// By the order in which the waits began.
    by_turn: BTreeMap<u64, (Instant, Arc<Notify>)>,
    next: u64,
}

/// One connection's wait, which ends with it.
struct Wait {
    patience: Patience,
    turn: Mutex<u64>,
    end: Arc<Notify>,
}

impl Patience {
    fn begin(&self) -> Wait {
        let end = Arc::new(Notify::new());
        let turn = self.waits().insert(end.clone());
        Wait { patience: self.clone(), turn: Mutex::new(turn), end }
    }

    fn end_the_longest_wait(&self) {
        if let Some((_, (_, end))) = self.waits().by_turn.pop_first() {
            end.notify_one();
        }
    }

    /// Now, if nobody waits: all are on their way out.
    fn longest_wait_since(&self) -> Instant {
        self.waits().by_turn.first_key_value().map_or_else(Instant::now, |(_, (since, _))| *since)
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waits {
    fn insert(&mut self, end: Arc<Notify>) -> u64 {
        let turn = self.next;
        self.next += 1;
        self.by_turn.insert(turn, (Instant::now(), end));
        turn
    }
}

impl Wait {
    /// It was answered, so it is the last in the row.
    fn renew(&self) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waits = self.patience.waits();
        if waits.by_turn.remove(&turn).is_some() {
            *turn = waits.insert(self.end.clone());
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let turn = *self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.patience.waits().by_turn.remove(&turn);
    }
}

/// A socket whose writes fail when its peer takes nothing for too long.
struct Impatient<S> {
    stream: S,
    /// Since a write had to wait.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn judge<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_STALL_MAX)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
