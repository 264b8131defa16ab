//! One end of a connection in memory, on a bad day.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What becomes of a connection, and when.
#[derive(Clone, Default)]
pub struct Weather {
    /// Its owner does not read meanwhile.
    pub stalls: Vec<Range<Instant>>,
    /// It breaks, and both ends notice.
    pub breaks_at: Option<Instant>,
    /// From then on nothing comes through, either way, and nobody says so.
    pub silent_from: Option<Instant>,
}

pub struct Rough {
    /// Until it breaks.
    inner: Option<DuplexStream>,
    weather: Weather,
    /// Rings at the next change.
    alarm: Pin<Box<Sleep>>,
}

impl Rough {
    pub fn new(inner: DuplexStream, weather: Weather) -> Self {
        Rough { inner: Some(inner), weather, alarm: Box::pin(sleep_until(Instant::now())) }
    }

    fn is_silent(&self) -> bool {
        self.weather.silent_from.is_some_and(|from| from <= Instant::now())
    }

    /// The connection, unless it is broken by now.
    fn whole(&mut self) -> io::Result<Pin<&mut DuplexStream>> {
        if self.weather.breaks_at.is_some_and(|at| at <= Instant::now()) {
            self.inner = None;
        }
        self.inner.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    /// Pending while its owner does not read, woken at the next change.
    fn poll_reads(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let stall = self.weather.stalls.iter().find(|stall| stall.contains(&now));
            let changes = self.weather.stalls.iter().map(|stall| stall.start);
            let changes = changes.chain(stall.map(|stall| stall.end)).chain(self.weather.breaks_at);
            let Some(next) = changes.filter(|change| *change > now).min() else { return Poll::Ready(()) };
            let stalled = stall.is_some();
            self.alarm.as_mut().reset(next);
            if self.alarm.as_mut().poll(cx).is_pending() {
                return if stalled { Poll::Pending } else { Poll::Ready(()) };
            }
        }
    }
}

impl AsyncRead for Rough {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let reads = self.poll_reads(cx);
        let silent = self.is_silent();
        let inner = self.whole()?;
        if silent || reads.is_pending() { Poll::Pending } else { inner.poll_read(cx, buffer) }
    }
}

impl AsyncWrite for Rough {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let silent = self.is_silent();
        let inner = self.whole()?;
        if silent { Poll::Ready(Ok(bytes.len())) } else { inner.poll_write(cx, bytes) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?.poll_shutdown(cx)
    }
}
