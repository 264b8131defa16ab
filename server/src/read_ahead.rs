//! Reading all that lies at a socket in one call to the system, however little of it is asked for.
//!
//! A WebSocket reads into the room that its buffer has left, which is a part of a message as often as not, and then reads
//! again for the rest. The system call is most of what that costs. A larger buffer for each call would be cleared at each
//! read and be kept in memory; so all sockets of a thread read into one, and what was not asked for yet waits here.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// At most so much is read at once: a second of audio of the model's, four times over.
const ROOM: usize = 16 * 1024;

/// Who has so much room reads for itself.
const ENOUGH: usize = 4 * 1024;

/// What is kept for what waits: the rest of a message of 200 ms.
const KEPT: usize = 2 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8; ROOM]>> = RefCell::new(Box::new([0; ROOM]));
}

pub(crate) struct ReadAhead<S> {
    stream: S,
    /// What was read and not asked for yet, from `next` on.
    waiting: Vec<u8>,
    next: usize,
}

impl<S> ReadAhead<S> {
    pub(crate) fn new(stream: S) -> Self {
        ReadAhead { stream, waiting: Vec::new(), next: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let ReadAhead { stream, waiting, next } = self.get_mut();
        if *next < waiting.len() {
            let given = buffer.remaining().min(waiting.len() - *next);
            buffer.put_slice(&waiting[*next..*next + given]);
            *next += given;
            if *next == waiting.len() {
                waiting.clear();
                waiting.shrink_to(KEPT);
                *next = 0;
            }
            return Poll::Ready(Ok(()));
        }
        if buffer.remaining() >= ENOUGH {
            return Pin::new(stream).poll_read(cx, buffer);
        }
        READ.with_borrow_mut(|room| {
            let mut read = ReadBuf::new(room.as_mut_slice());
            ready!(Pin::new(stream).poll_read(cx, &mut read))?;
            let read = read.filled();
            let (now, later) = read.split_at(buffer.remaining().min(read.len()));
            buffer.put_slice(now);
            waiting.extend_from_slice(later);
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Gives all that it has at each read, as a socket does, and counts them.
    struct Source {
        unread: Vec<Vec<u8>>,
        reads: usize,
    }

    impl AsyncRead for Source {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.reads += 1;
            let Some(bytes) = self.unread.first_mut() else { return Poll::Ready(Ok(())) };
            let given = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..given]);
            bytes.drain(..given);
            if bytes.is_empty() {
                self.unread.remove(0);
            }
            Poll::Ready(Ok(()))
        }
    }

    fn ahead(unread: Vec<Vec<u8>>) -> ReadAhead<Source> {
        ReadAhead::new(Source { unread, reads: 0 })
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|byte| byte as u8).collect()
    }

    /// Breaks when each of them asks the system.
    #[tokio::test]
    async fn what_lies_there_is_read_once_however_little_is_asked_for() {
        let mut ahead = ahead(vec![bytes(2_479), bytes(10)]);
        let mut read = vec![0; 2_479];
        for part in read.chunks_mut(612) {
            ahead.read_exact(part).await.unwrap();
        }
        assert_eq!((read, ahead.stream.reads), (bytes(2_479), 1));
        ahead.read_exact(&mut [0; 10]).await.unwrap();
        assert_eq!(ahead.stream.reads, 2);
    }

    /// Breaks when bytes are lost, doubled or exchanged between what waits, what is read, and what is read past both.
    #[tokio::test]
    async fn all_comes_in_its_order_whatever_the_sizes() {
        for seed in 1..200_usize {
            let mut state = seed;
            let mut any = |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let sent = bytes(100_000 + any(1_000));
            let mut unread = Vec::new();
            let mut left = &sent[..];
            while !left.is_empty() {
                let (piece, rest) = left.split_at((1 + any(3 * ROOM)).min(left.len()));
                unread.push(piece.to_vec());
                left = rest;
            }
            let mut ahead = ahead(unread);
            let (mut read, mut part) = (Vec::new(), vec![0; 2 * ENOUGH]);
            loop {
                let size = 1 + any(2 * ENOUGH);
                let count = ahead.read(&mut part[..size]).await.unwrap();
                if count == 0 {
                    break;
                }
                read.extend_from_slice(&part[..count]);
                assert!(ahead.waiting.len() <= ROOM);
            }
            assert!(read == sent, "seed {seed}");
            assert!(ahead.waiting.is_empty() && ahead.waiting.capacity() <= KEPT);
        }
    }

    #[tokio::test]
    async fn an_error_and_an_end_are_passed_on_after_what_came_before() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut ahead = ReadAhead::new(ours);
        theirs.write_all(b"last words").await.unwrap();
        drop(theirs);
        let mut four = [0; 4];
        ahead.read_exact(&mut four).await.unwrap();
        let mut rest = String::new();
        ahead.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&four, &*rest), (b"last", " words"));
        assert!(ahead.write_all(b"too late").await.is_err());
    }
}
