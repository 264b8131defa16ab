//! A socket of the load: it never waits, and may speak TLS.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustls::ServerConnection;

/// What may wait to be sent to one peer. A peer that lets so much wait has given up its call.
const UNSENT_MAX: usize = 1 << 20;

pub(super) struct Socket {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
    epoll: Rc<OwnedFd>,
    token: u64,
    /// Came, and was not taken out yet.
    pub unread: Vec<u8>,
    unsent: Vec<u8>,
    /// The system is asked to tell when there is room.
    waits_for_room: bool,
    /// It is asked to tell when there is something to read.
    reads: bool,
}

/// What the system keeps, at least, of what is not read: the rest waits at the peer.
const UNREAD_MIN: usize = 4 * 1024;

impl Socket {
    /// `token` is what the system calls it when it has something to say.
    pub(super) fn new(
        epoll: Rc<OwnedFd>,
        stream: TcpStream,
        token: u64,
        tls: Option<ServerConnection>,
    ) -> io::Result<Socket> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll::add(&*epoll, &stream, EventData::new_u64(token), EventFlags::IN)?;
        let tls = tls.map(|mut tls| {
            tls.set_buffer_limit(Some(UNSENT_MAX));
            Box::new(tls)
        });
        Ok(Socket {
            stream,
            tls,
            epoll,
            token,
            unread: Vec::new(),
            unsent: Vec::new(),
            waits_for_room: false,
            reads: true,
        })
    }

    /// Takes in what has come. Whether the peer may still have more to say.
    pub(super) fn fill(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return loop {
                match self.stream.read(scratch) {
                    Ok(0) => break Ok(false),
                    Ok(len) => {
                        self.unread.extend_from_slice(&scratch[..len]);
                        if len < scratch.len() {
                            break Ok(true);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(true),
                    Err(error) => break Err(error),
                }
            };
        };
        let open = match tls.read_tls(&mut self.stream) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) => return Err(error),
        };
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            let len = tls.reader().read(scratch)?;
            self.unread.extend_from_slice(&scratch[..len]);
            left = left.saturating_sub(len.max(1));
        }
        self.flush()?;
        Ok(open && !state.peer_has_closed())
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return self.flush();
        }
        let mut bytes = bytes;
        if self.unsent.is_empty() {
            match self.stream.write(bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if !bytes.is_empty() {
            if self.unsent.len() + bytes.len() > UNSENT_MAX {
                return Err(io::Error::other("it reads nothing"));
            }
            self.unsent.extend_from_slice(bytes);
            self.ask_for_room(true)?;
        }
        Ok(())
    }

    /// Writes what waits, as far as there is room.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let all_sent = loop {
            let written = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut self.stream),
                None if !self.unsent.is_empty() => self.stream.write(&self.unsent),
                Some(_) | None => break true,
            };
            match written {
                Ok(len) if self.tls.is_none() => drop(self.unsent.drain(..len)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(error) => return Err(error),
            }
        };
        self.ask_for_room(!all_sent)
    }

    /// What comes from now on is left to lie, and fills the peer's buffers.
    pub(super) fn stop_reading(&mut self) -> io::Result<()> {
        rustix::net::sockopt::set_socket_recv_buffer_size(&self.stream, UNREAD_MIN)?;
        self.reads = false;
        self.ask()
    }

    pub(super) fn read_again(&mut self) -> io::Result<()> {
        self.reads = true;
        self.ask()
    }

    fn ask_for_room(&mut self, wanted: bool) -> io::Result<()> {
        if self.waits_for_room != wanted {
            self.waits_for_room = wanted;
            self.ask()?;
        }
        Ok(())
    }

    fn ask(&self) -> io::Result<()> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.reads);
        flags.set(EventFlags::OUT, self.waits_for_room);
        Ok(epoll::modify(&*self.epoll, &self.stream, EventData::new_u64(self.token), flags)?)
    }
}
