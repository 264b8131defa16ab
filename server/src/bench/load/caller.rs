//! A virtual carrier with its caller: announces a call, streams the caller's frames, plays what it is given and returns
//! the marks, as Twilio does; and notes how the agent's audio arrived.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::frame::{self, Kind, Side};
use super::socket::Socket;
use super::stamp::{FRAME_BYTES, Stamp, decoded_len};
use super::{Due, Shared, token_of_caller};

/// Connecting on loopback: at once, or the listener's queue is full.
const CONNECT_MAX: Duration = Duration::from_secs(5);

pub(super) const FRAME_MICROS: u64 = 20_000;

/// After the first frame of an utterance, for how long more of it may come at once: the lead that the carrier is given.
const LEAD_FILLED: u64 = 300_000;

/// A frame that came so late was missed by nobody: the time that it takes to look at the clock.
const UNDERRUN_MIN: u64 = 500;

pub(super) struct Caller {
    number: u16,
    line: Line,
    call_sid: String,
    stream_sid: String,
    /// When the dialogue begins, and all other times: µs on the load's clock.
    begins: u64,
    posted: u64,
    stream_began: u64,
    sequence: u64,
    player: Player,
    /// What the model said last, and when.
    pub first_delta: Option<(u16, u64)>,
    pub speech_told: Option<u64>,
    /// What was heard of the utterance that was playing at the last `clear`.
    pub cleared: Option<(u16, u64)>,
    /// Given so far by the model.
    pub utterances: u16,
    /// Bytes of audio that the model has given and the carrier was not given yet.
    pub queued: u64,
    /// It reads nothing from the moment on at which it was told so.
    blocked: bool,
}

enum Line {
    /// Not announced yet.
    Idle,
    Announcing(Socket),
    Joining(Socket),
    Streaming(Socket),
    /// It hung up: the stream waits to be closed by the server, the webhook that says so to be answered.
    Leaving {
        stream: Option<Socket>,
        webhook: Option<Socket>,
    },
    Ended,
}

/// What lies at the carrier.
#[derive(Default)]
struct Player {
    /// When all of it will have been played.
    end: u64,
    last: Option<LastAudio>,
    /// Each with when it is due.
    marks: VecDeque<(u64, Vec<u8>)>,
}

struct LastAudio {
    utterance: u16,
    /// Of the utterance, with this message.
    bytes: u64,
    at: u64,
    utterance_began: u64,
}

/// How calls reach what is under load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Door {
    /// By webhook, whose answer says where the stream goes.
    Webhook,
    /// A stream, and nothing before it.
    Stream,
}

impl Caller {
    pub(super) fn new(number: u16, begins: u64) -> Caller {
        Caller {
            number,
            line: Line::Idle,
            call_sid: format!("CA{number:032x}"),
            stream_sid: format!("MZ{number:032x}"),
            begins,
            posted: 0,
            stream_began: 0,
            sequence: 0,
            player: Player::default(),
            first_delta: None,
            speech_told: None,
            cleared: None,
            utterances: 0,
            queued: 0,
            blocked: false,
        }
    }

    /// Whether it reads nothing, and is not among those that are measured.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// From now on nothing is read of what it is sent, while it goes on talking.
    pub(super) fn block(&mut self) -> io::Result<()> {
        self.blocked = true;
        match &mut self.line {
            Line::Streaming(socket) => socket.stop_reading(),
            Line::Idle | Line::Announcing(_) | Line::Joining(_) | Line::Leaving { .. } | Line::Ended => Ok(()),
        }
    }

    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.line, Line::Streaming(_))
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.line, Line::Ended)
    }

    pub(super) fn announce(&mut self, target: SocketAddr, door: Door, shared: &mut Shared) -> io::Result<()> {
        self.posted = shared.now();
        if door == Door::Stream {
            return self.join(target, "/media", shared);
        }
        self.line = Line::Announcing(self.post(target, "/twilio/voice", "ringing", shared)?);
        Ok(())
    }

    fn post(&self, target: SocketAddr, path: &str, status: &str, shared: &Shared) -> io::Result<Socket> {
        let body = format!(
            "CallSid={}&AccountSid=AC{:032x}&From=%2B1500555{:04}&To=%2B15005550006&CallStatus={status}&\
             Direction=inbound&ApiVersion=2010-04-01",
            self.call_sid,
            0,
            self.number % 10_000,
        );
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {target}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = self.connect(target, shared)?;
        socket.send(request.as_bytes())?;
        Ok(socket)
    }

    fn join(&mut self, target: SocketAddr, path: &str, shared: &mut Shared) -> io::Result<()> {
        let mut socket = self.connect(target, shared)?;
        socket.send(&frame::handshake(&target.to_string(), path))?;
        self.line = Line::Joining(socket);
        Ok(())
    }

    fn connect(&self, target: SocketAddr, shared: &Shared) -> io::Result<Socket> {
        let stream = TcpStream::connect_timeout(&target, CONNECT_MAX)?;
        Socket::new(shared.epoll.clone(), stream, token_of_caller(self.number), None)
    }

    /// The system has something to say about the socket. An error ends the call.
    pub(super) fn ready(&mut self, target: SocketAddr, shared: &mut Shared) -> io::Result<()> {
        let open = match &mut self.line {
            Line::Announcing(socket) | Line::Joining(socket) | Line::Streaming(socket) => {
                socket.flush()?;
                if self.blocked {
                    return Ok(());
                }
                socket.fill(&mut shared.scratch)?
            }
            Line::Leaving { .. } | Line::Idle | Line::Ended => false,
        };
        match &mut self.line {
            Line::Announcing(socket) => match answer(&socket.unread)? {
                None => still(open),
                Some(Answer::Stream(path)) => self.join(target, &path, shared),
                Some(Answer::Busy) => {
                    self.line = Line::Ended;
                    shared.refused += 1;
                    Ok(())
                }
            },
            Line::Joining(socket) => {
                let Some((head, end)) = frame::whole_head(&socket.unread) else { return still(open) };
                if !head.starts_with("HTTP/1.1 101") {
                    return Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned()));
                }
                socket.unread.drain(..end);
                self.begin(shared)
            }
            Line::Streaming(socket) => {
                let mut unread = std::mem::take(&mut socket.unread);
                let closed = self.messages(&mut unread, shared)?;
                if let Line::Streaming(socket) = &mut self.line {
                    socket.unread = unread;
                }
                if closed { Err(io::Error::other("the stream was closed")) } else { still(open) }
            }
            Line::Leaving { stream, webhook } => {
                for place in [&mut *stream, &mut *webhook] {
                    if place.as_mut().is_some_and(|socket| !goes_on(socket, &mut shared.scratch)) {
                        *place = None;
                    }
                }
                if stream.is_none() && webhook.is_none() {
                    self.line = Line::Ended;
                }
                Ok(())
            }
            Line::Idle | Line::Ended => Ok(()),
        }
    }

    /// The stream stands.
    fn begin(&mut self, shared: &mut Shared) -> io::Result<()> {
        let now = shared.now();
        if shared.measuring {
            shared.measured.setup.add(now - self.posted);
        }
        let Line::Joining(mut socket) = std::mem::replace(&mut self.line, Line::Ended) else { return Ok(()) };
        self.stream_began = now;
        let connected = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#;
        self.sequence = 1;
        let start = format!(
            r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"AC{:032x}","streamSid":"{sid}","callSid":"{}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{{}}}},"streamSid":"{sid}"}}"#,
            0,
            self.call_sid,
            sid = self.stream_sid,
        );
        let mut bytes = Vec::new();
        frame::write_text(&mut bytes, Side::Client, connected.as_bytes());
        frame::write_text(&mut bytes, Side::Client, start.as_bytes());
        socket.send(&bytes)?;
        self.line = Line::Streaming(socket);
        // So that the frames of all calls are spread over the 20 ms.
        let offset = u64::from(self.number) * 7_919 % FRAME_MICROS;
        shared.schedule(now + offset, Due::Frame { call: self.number });
        Ok(())
    }

    /// The next 20 ms of the caller, due at `due`.
    pub(super) fn frame(&mut self, due: u64, shared: &mut Shared) -> io::Result<()> {
        let Line::Streaming(socket) = &mut self.line else { return Ok(()) };
        let now = shared.now();
        let speech = due.checked_sub(self.begins).is_some_and(|since| shared.dialogue.speaks(since));
        // 32 bits of the clock are 71 minutes.
        Stamp { call: self.number, speech, number: now as u32 }.write_over_payload(&mut shared.payload);
        self.sequence += 1;
        let text = &mut shared.text;
        text.clear();
        text.extend_from_slice(br#"{"event":"media","sequenceNumber":""#);
        number(text, self.sequence);
        text.extend_from_slice(br#"","media":{"track":"inbound","chunk":""#);
        number(text, self.sequence - 1);
        text.extend_from_slice(br#"","timestamp":""#);
        number(text, (self.sequence - 2) * 20);
        text.extend_from_slice(br#"","payload":""#);
        text.extend_from_slice(&shared.payload);
        text.extend_from_slice(br#""},"streamSid":""#);
        text.extend_from_slice(self.stream_sid.as_bytes());
        text.extend_from_slice(br#""}"#);
        shared.frame.clear();
        frame::write_text(&mut shared.frame, Side::Client, &shared.text);
        socket.send(&shared.frame)?;
        if shared.measuring {
            shared.measured.frames_up += 1;
            shared.measured.lateness.add(now.saturating_sub(due));
        }
        shared.schedule(due + FRAME_MICROS, Due::Frame { call: self.number });
        Ok(())
    }

    /// Marks that were reached go back.
    pub(super) fn marks(&mut self, shared: &mut Shared) -> io::Result<()> {
        let now = shared.now();
        while self.player.marks.front().is_some_and(|(due, _)| *due <= now) {
            self.return_mark(shared)?;
        }
        Ok(())
    }

    fn return_mark(&mut self, shared: &mut Shared) -> io::Result<()> {
        let Some((_, name)) = self.player.marks.pop_front() else { return Ok(()) };
        let Line::Streaming(socket) = &mut self.line else { return Ok(()) };
        let text = &mut shared.text;
        text.clear();
        // Counted with the media messages by Twilio; nobody relies on it.
        text.extend_from_slice(br#"{"event":"mark","sequenceNumber":""#);
        number(text, self.sequence);
        text.extend_from_slice(br#"","streamSid":""#);
        text.extend_from_slice(self.stream_sid.as_bytes());
        text.extend_from_slice(br#"","mark":{"name":""#);
        text.extend_from_slice(&name);
        text.extend_from_slice(br#""}}"#);
        shared.frame.clear();
        frame::write_text(&mut shared.frame, Side::Client, &shared.text);
        if shared.measuring {
            shared.measured.marks += 1;
        }
        socket.send(&shared.frame)
    }

    /// Takes all whole messages out of the buffer. Whether the stream was closed.
    fn messages(&mut self, unread: &mut Vec<u8>, shared: &mut Shared) -> io::Result<bool> {
        let mut at = 0;
        while let Some(found) = frame::find(unread, at) {
            at = found.end;
            match found.kind {
                Kind::Text => self.message(&unread[found.payload], shared)?,
                Kind::Ping => {
                    let mut pong = Vec::new();
                    frame::write_pong(&mut pong, Side::Client, &unread[found.payload]);
                    if let Line::Streaming(socket) = &mut self.line {
                        socket.send(&pong)?;
                    }
                }
                Kind::Close => return Ok(true),
                Kind::Other => {}
            }
        }
        unread.drain(..at);
        Ok(false)
    }

    fn message(&mut self, text: &[u8], shared: &mut Shared) -> io::Result<()> {
        let now = shared.now();
        let (event, rest) =
            text.strip_prefix(br#"{"event":""#).and_then(|rest| rest.split_at_checked(2)).unwrap_or_default();
        match event {
            b"me" => {
                let payload = value(rest, br#""payload":""#);
                self.audio(payload, now, shared);
            }
            b"ma" => {
                let name = value(rest, br#""name":""#).to_owned();
                let due = self.player.end.max(now);
                self.player.marks.push_back((due, name));
                shared.schedule(due, Due::Mark { call: self.number });
            }
            b"cl" => {
                if let Some(told) = self.speech_told.take()
                    && shared.measuring
                {
                    shared.measured.clear.add(now - told);
                    shared.measured.barge_ins += 1;
                }
                self.cleared = self.player.clear(now);
                // An interruption: what had not been sent is thrown away.
                self.queued = 0;
                // What was flushed comes back, too.
                while !self.player.marks.is_empty() {
                    self.return_mark(shared)?;
                }
            }
            _ => shared.problem(format!("call {}: a message that no carrier knows", self.number)),
        }
        Ok(())
    }

    fn audio(&mut self, payload: &[u8], now: u64, shared: &mut Shared) {
        let bytes = decoded_len(payload) as u64;
        let stamp = Stamp::of_payload(payload);
        if stamp.is_some_and(|stamp| stamp.call != self.number) {
            shared.problem(format!("call {} was given another call's audio", self.number));
        }
        let duration = bytes * 125;
        self.queued = self.queued.saturating_sub(bytes);
        let (before, player) = (self.player.end, &mut self.player);
        player.end = before.max(now) + duration;
        let utterance = stamp.map(Stamp::utterance).or(player.last.as_ref().map(|last| last.utterance)).unwrap_or(0);
        let measured = &mut shared.measured;
        if shared.measuring {
            measured.frames_down += bytes.div_ceil(FRAME_BYTES as u64);
            measured.messages_down += 1;
        }
        match &mut player.last {
            Some(last) if last.utterance == utterance => {
                if shared.measuring {
                    let gap = now - last.at;
                    measured.gap.add(gap);
                    if last.at - last.utterance_began > LEAD_FILLED {
                        measured.jitter.add(gap.abs_diff(duration));
                    }
                    if now > before + UNDERRUN_MIN {
                        measured.underruns += 1;
                        measured.starved_micros += now - before;
                    }
                }
                last.bytes += bytes;
                last.at = now;
            }
            last => {
                let first = stamp.filter(|stamp| stamp.frame() == 0);
                if let (Some(_), Some((of, given))) = (first, self.first_delta)
                    && of == utterance
                    && shared.measuring
                {
                    measured.first_frame.add(now - given);
                }
                // The rest of an utterance after a `clear` begins where its first frame says.
                let before = stamp.map_or(0, |stamp| u64::from(stamp.frame()) * FRAME_BYTES as u64);
                *last = Some(LastAudio { utterance, bytes: before + bytes, at: now, utterance_began: now });
            }
        }
    }

    /// Hangs up in the middle of whatever is going on: the stream is stopped, and the webhook told what became of the call.
    pub(super) fn hang_up(&mut self, target: SocketAddr, door: Door, shared: &mut Shared) -> io::Result<()> {
        let Line::Streaming(mut socket) = std::mem::replace(&mut self.line, Line::Ended) else { return Ok(()) };
        if self.blocked {
            socket.read_again()?;
        }
        let stop = format!(
            r#"{{"event":"stop","sequenceNumber":"{}","streamSid":"{}","stop":{{"accountSid":"AC{:032x}","callSid":"{}"}}}}"#,
            self.sequence + 1,
            self.stream_sid,
            0,
            self.call_sid
        );
        shared.frame.clear();
        frame::write_text(&mut shared.frame, Side::Client, stop.as_bytes());
        frame::write_close(&mut shared.frame, Side::Client);
        socket.send(&shared.frame)?;
        let webhook = match door {
            Door::Webhook => Some(self.post(target, "/twilio/after-stream", "completed", shared)?),
            Door::Stream => None,
        };
        self.line = Line::Leaving { stream: Some(socket), webhook };
        Ok(())
    }

    /// The call broke. Says how far it had come.
    pub(super) fn lose(&mut self) -> &'static str {
        match std::mem::replace(&mut self.line, Line::Ended) {
            Line::Idle | Line::Ended => "not begun",
            Line::Announcing(_) => "announced",
            Line::Joining(_) => "joining its stream",
            Line::Streaming(_) => "streaming",
            Line::Leaving { .. } => "hanging up",
        }
    }

    /// Whether the caller hears the agent at this moment.
    pub(super) fn hears_agent(&self, now: u64) -> bool {
        self.player.end > now
    }
}

impl Player {
    /// The buffer is emptied. What was heard of the utterance in it: µs.
    fn clear(&mut self, now: u64) -> Option<(u16, u64)> {
        let unplayed = self.end.saturating_sub(now);
        self.end = now;
        let last = self.last.take()?;
        Some((last.utterance, (last.bytes * 125).saturating_sub(unplayed)))
    }
}

/// Whether the peer of a call that is over is still there. What it has to say is of no interest.
fn goes_on(socket: &mut Socket, scratch: &mut [u8]) -> bool {
    let open = socket.flush().is_ok() && socket.fill(scratch).unwrap_or(false);
    socket.unread.clear();
    open
}

/// Nothing more to do now, if the peer is still there.
fn still(open: bool) -> io::Result<()> {
    if open { Ok(()) } else { Err(io::Error::other("it ended the connection")) }
}

/// What a webhook is answered with.
#[derive(PartialEq, Eq, Debug)]
enum Answer {
    /// The path of the stream.
    Stream(String),
    /// As many calls as are admitted go on.
    Busy,
}

/// The webhook's answer; `None` while that is not whole.
fn answer(answer: &[u8]) -> io::Result<Option<Answer>> {
    let Some((head, end)) = frame::whole_head(answer) else { return Ok(None) };
    let body = String::from_utf8_lossy(&answer[end..]);
    let length: usize = frame::header(head, "content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
    if body.len() < length {
        return Ok(None);
    }
    let path = body.split_once("<Stream url=\"ws://").and_then(|(_, url)| url.split_once('/'));
    match path.and_then(|(_, path)| path.split_once('"')) {
        Some((path, _)) => Ok(Some(Answer::Stream(format!("/{path}")))),
        None if body.contains("<Reject") => Ok(Some(Answer::Busy)),
        None => Err(io::Error::other(format!("no stream: {}", head.lines().next().unwrap_or_default()))),
    }
}

/// The text between `key` and the next quotation mark.
fn value<'a>(text: &'a [u8], key: &[u8]) -> &'a [u8] {
    let Some(start) = text.windows(key.len()).position(|window| window == key) else { return &[] };
    let rest = &text[start + key.len()..];
    &rest[..rest.iter().position(|byte| *byte == b'"').unwrap_or(0)]
}

fn number(text: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for n in [0, 7, 10, 1_234_567_890, u64::MAX] {
            let mut text = Vec::new();
            number(&mut text, n);
            assert_eq!(String::from_utf8(text).unwrap(), n.to_string());
        }
    }

    #[test]
    fn the_stream_is_where_the_answer_says() {
        let body = r#"<Response><Connect><Stream url="ws://h:1/twilio/media/abc" x=""/></Connect></Response>"#;
        let answered = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let stream = answered(body);
        assert_eq!(answer(stream.as_bytes()).unwrap(), Some(Answer::Stream("/twilio/media/abc".to_owned())));
        assert_eq!(answer(&stream.as_bytes()[..stream.len() - 1]).unwrap(), None);
        let busy = answered(r#"<Response><Reject reason="busy"/></Response>"#);
        assert_eq!(answer(busy.as_bytes()).unwrap(), Some(Answer::Busy));
        assert!(answer(b"HTTP/1.1 503 Busy\r\n\r\n").is_err());
    }

    #[test]
    fn what_was_heard_is_what_was_played_before_the_clear() {
        let mut player = Player { end: 1_000_000, ..Player::default() };
        player.last = Some(LastAudio { utterance: 4, bytes: 8_000, at: 0, utterance_began: 0 });
        assert_eq!(player.clear(700_000), Some((4, 700_000)));
        assert_eq!((player.end, player.clear(800_000)), (700_000, None));
    }
}
