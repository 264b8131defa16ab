//! A call joined to its two wires: messages in, messages out, still without a socket or a clock.
//!
//! The driver of the server and the simulated world of `sim` both run this, so what is proved in virtual time is what
//! answers the phone. It decides nothing about a call: it reads, holds the bytes that the call speaks of, and writes.
//!
//! Contract, after everything that was told to it: call [`Bridge::poll`] until it returns `None`, then wait for the next
//! message or for [`Bridge::poll_timeout`].

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::audio_queue::AudioQueue;
use crate::call::Call;
use crate::config::{CallConfig, CallFacts, ClipLengths};
use crate::id::{CommandId, Epoch};
use crate::input::{CarrierInput, Input, ModelInput};
use crate::output::{Command, EndReason, Local, Note, Output};
use crate::summary::Summary;
use crate::time::CallTime;
use crate::tones;
use crate::trace::{TraceWriter, Words};
use crate::wire::openai::{self, Realtime, SessionSettings};
use crate::wire::payload;
use crate::wire::twilio::{self, FromCarrier, Track};

/// Silence in G.711 µ-law.
pub const SILENCE: u8 = 0xFF;

/// What the shell has to do. Texts are borrowed from buffers that the next `poll` reuses.
#[derive(Debug)]
pub enum Effect<'a> {
    /// One text message on the carrier's media socket.
    ToCarrier(Outgoing, &'a str),
    /// One text message on the model's socket.
    ToModel(&'a str),
    /// Do this elsewhere and tell the outcome by [`Bridge::handle_input`] with [`Input::Done`].
    Do(CommandId, Command),
    CloseCarrier,
    CloseModel,
    /// The answer to what comes after the stream: bring it back (N6). [`Call::is_resuming`] says the same.
    ResumeStream,
    /// For the recording: µ-law of the caller at this moment of the stream (time zero is the carrier's `start`).
    RecordCaller {
        at: Duration,
        audio: &'a [u8],
    },
    /// For the recording: µ-law of the agent, expected to begin playing at this moment.
    RecordAgent {
        at: Duration,
        audio: &'a [u8],
    },
    /// For the recording: nothing of the agent after this moment was played.
    RecordCleared {
        at: Duration,
    },
    Note(Note),
    /// Lines of the call's trace (N11), with their line ends.
    Trace(&'a str),
    /// The call is over; nothing follows.
    Ended(EndReason),
}

/// What a message to the carrier is, for whoever measures how it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outgoing {
    Audio,
    Mark,
    Clear,
}

/// Which optional effects the shell wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wants {
    /// `Effect::Record…`: costs a base64 decode of each of the caller's frames.
    pub samples: bool,
    /// `Effect::Trace`, and with which words.
    pub trace: Option<Words>,
}

/// Sounds of our own: µ-law, 8,000 bytes a second.
#[derive(Clone, PartialEq, Eq)]
pub struct Clips {
    /// Asks the caller to wait while the model is away.
    pub filler: Arc<[u8]>,
    /// Says that it will not come back, before the call ends.
    pub apology: Arc<[u8]>,
}

/// Nobody reads samples.
impl fmt::Debug for Clips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clips {{ filler: {} bytes, apology: {} bytes }}", self.filler.len(), self.apology.len())
    }
}

/// Tones, for want of a voice.
impl Default for Clips {
    fn default() -> Self {
        Clips { filler: tones::filler().into(), apology: tones::apology().into() }
    }
}

#[derive(Debug)]
pub struct Bridge {
    call: Call,
    clips: Clips,
    settings: SessionSettings,
    realtime: Realtime,
    epoch: Option<Epoch>,
    wants: Wants,
    trace: Option<TraceWriter>,
    now: CallTime,
    stream: Option<Stream>,

    /// The agent's accepted audio, from position `kept_from` on.
    kept: AudioQueue,
    kept_from: u64,
    /// The caller's audio that waits for the model (T2).
    held: AudioQueue,
    /// The caller's audio that was forwarded and waits for its group to be whole; how many frames it is, and are in one.
    gathered: Vec<u8>,
    gathered_frames: u32,
    append_frames: u32,
    /// What has to wait until that is written: the model hears things in their order.
    postponed: Option<Output>,
    /// While `poll` has more to give.
    scratch: Option<Box<Scratch>>,

    /// What `poll` still has to give before it asks the call again.
    record_caller: Option<Duration>,
    record_agent: Option<Duration>,
    record_cleared: Option<Duration>,
    ended: Option<EndReason>,
    odd: VecDeque<&'static str>,
    /// The only call whose stream is taken.
    call_sid: Option<String>,
}

/// What is needed from when a message comes until all that follows from it was polled.
#[derive(Debug, Default)]
struct Scratch {
    /// The caller's audio, as it came and decoded.
    caller_payload: String,
    caller_audio: Vec<u8>,
    /// The agent's audio.
    agent_audio: Vec<u8>,
    /// What `poll` gives.
    text: String,
    frame: Vec<u8>,
}

thread_local! {
    /// The calls of a thread take turns with it. If each had its own, it would have left the processor's cache whenever it is
    /// needed again; and hold for as long as the call lasts what its longest message took.
    static SCRATCH: Cell<Option<Box<Scratch>>> = Cell::default();
}

/// What of it is kept between messages: 60 ms of audio are 800 bytes, the model's messages some thousand.
const SCRATCH_ROOM: usize = 64 * 1_024;

/// The scratch of the thread, for as long as `poll` has more to give.
fn lent(scratch: &mut Option<Box<Scratch>>) -> &mut Scratch {
    scratch.get_or_insert_with(|| SCRATCH.take().unwrap_or_default())
}

impl Scratch {
    fn decoded_caller(&mut self) -> &[u8] {
        if self.caller_audio.is_empty() {
            // Its alphabet was checked when it came; what cannot be decoded all the same is no audio.
            let _ = payload::decode_into(&self.caller_payload, &mut self.caller_audio);
        }
        &self.caller_audio
    }

    fn room(&self) -> usize {
        let Scratch { caller_payload, caller_audio, agent_audio, text, frame } = self;
        let audio = caller_audio.capacity() + agent_audio.capacity() + frame.capacity();
        caller_payload.capacity() + text.capacity() + audio
    }
}

#[derive(Debug)]
struct Stream {
    sid: String,
    began: CallTime,
    /// When the call's first stream began: time zero of the recording (C3).
    call_began: CallTime,
}

/// Whether this becomes a message to the model, the caller's next frame aside.
fn goes_to_model(output: &Output) -> bool {
    matches!(output, Output::Model(_) | Output::ForwardHeld { .. } | Output::ForwardSilence { .. })
}

/// Oddities of peers that wait to be noted; more at once say nothing new.
const ODD_MAX: usize = 16;

impl Bridge {
    /// The lengths of `clips` become those of the settings.
    pub fn new(
        mut config: CallConfig,
        facts: CallFacts,
        settings: SessionSettings,
        clips: Clips,
        wants: Wants,
    ) -> Self {
        let length = |clip: &[u8]| u32::try_from(clip.len()).unwrap_or(0);
        config.clips = ClipLengths { filler: length(&clips.filler), apology: length(&clips.apology) };
        Bridge {
            trace: wants.trace.map(|words| TraceWriter::new(&config, &facts, words)),
            call: Call::new(config, facts),
            clips,
            settings,
            realtime: Realtime::new(),
            epoch: None,
            wants,
            now: CallTime::ZERO,
            stream: None,
            kept: AudioQueue::default(),
            kept_from: 0,
            held: AudioQueue::default(),
            gathered: Vec::new(),
            gathered_frames: 0,
            append_frames: 1,
            postponed: None,
            scratch: None,
            record_caller: None,
            record_agent: None,
            record_cleared: None,
            ended: None,
            odd: VecDeque::new(),
            call_sid: None,
        }
    }

    /// From now on only a stream of this call is taken: `CA…`, as the carrier names it.
    pub fn bind(&mut self, call_sid: &str) {
        self.call_sid = Some(call_sid.to_owned());
    }

    /// So many frames of the caller go to the model in one message: 1, the default, sends each at once. What is gathered
    /// goes before anything else that the model is told; with a session that is lost it is lost, as if on its way.
    pub fn group_appends(&mut self, frames: u32) {
        self.append_frames = frames;
    }

    /// Whether frames of the caller wait for the rest of their group.
    pub fn is_gathering(&self) -> bool {
        self.gathered_frames > 0
    }

    /// A text message of the carrier's media socket.
    pub fn handle_carrier(&mut self, text: &str, now: CallTime) {
        let message = match twilio::read(text) {
            Ok(message) => message,
            Err(_) => return self.odd("a message of the carrier that cannot be read"),
        };
        match message {
            FromCarrier::Connected | FromCarrier::Unknown => {}
            FromCarrier::Start(start) => {
                // A second start of a stream that goes on is not to disturb it (L5).
                if self.call.expects_stream() {
                    if self.call_sid.as_deref().is_some_and(|ours| ours != start.call_sid) {
                        self.odd("a stream of another call");
                        return self.handle_input(Input::Carrier(CarrierInput::Closed), now);
                    }
                    if start.encoding.as_deref().is_some_and(|encoding| encoding != "audio/x-mulaw")
                        || start.sample_rate.is_some_and(|rate| rate != 8_000)
                        || start.channels.is_some_and(|channels| channels != 1)
                    {
                        self.odd("a stream that is not 8 kHz µ-law");
                        return self.handle_input(Input::Carrier(CarrierInput::Closed), now);
                    }
                    let call_began = self.stream.as_ref().map_or(now, |stream| stream.call_began);
                    self.stream = Some(Stream { sid: start.stream_sid.into_owned(), began: now, call_began });
                }
                self.handle_input(Input::Carrier(CarrierInput::Started), now);
            }
            FromCarrier::Media { stream_sid, track, timestamp_ms, payload, .. } => {
                if !self.is_ours(stream_sid.as_deref()) || track == Track::Outbound {
                    return self.odd("audio of another stream");
                }
                let decodes = self.wants.samples || self.append_frames > 1;
                let scratch = lent(&mut self.scratch);
                scratch.caller_audio.clear();
                scratch.caller_payload.clear();
                // Both say the same of what is base64, and one of them is enough.
                let bytes = if decodes {
                    let decoded = payload::decode_into(&payload, &mut scratch.caller_audio);
                    decoded.ok().and_then(|()| u32::try_from(scratch.caller_audio.len()).ok())
                } else {
                    payload::payload_len(&payload)
                };
                let Some(bytes) = bytes else {
                    return self.odd("audio that is not base64");
                };
                scratch.caller_payload.push_str(&payload);
                if self.wants.samples {
                    self.record_caller = self
                        .stream
                        .as_ref()
                        .map(|stream| stream.began.since(stream.call_began) + Duration::from_millis(timestamp_ms));
                }
                self.handle_input(Input::Carrier(CarrierInput::Audio { bytes, timestamp_ms }), now);
            }
            FromCarrier::Mark { stream_sid, name } => match twilio::mark_id(&name) {
                Some(mark) if self.is_ours(stream_sid.as_deref()) => {
                    self.handle_input(Input::Carrier(CarrierInput::MarkReturned(mark)), now);
                }
                Some(_) | None => self.odd("a mark that is not ours"),
            },
            FromCarrier::Dtmf { stream_sid, digit } => {
                if self.is_ours(stream_sid.as_deref()) {
                    self.handle_input(Input::Carrier(CarrierInput::Dtmf(digit)), now);
                }
            }
            FromCarrier::Stop { stream_sid, .. } => {
                if self.is_ours(stream_sid.as_deref()) {
                    self.handle_input(Input::Carrier(CarrierInput::Stopped), now);
                }
            }
        }
    }

    /// A text message of the model's socket. The connection it came on is the current one; the shell drops what is
    /// left of older ones.
    pub fn handle_model(&mut self, text: &str, now: CallTime) {
        let Some(epoch) = self.epoch else { return };
        match self.realtime.read(text) {
            openai::Read::Input(input) => self.handle_input(Input::Model(epoch, input), now),
            openai::Read::Audio { input, payload } => {
                let scratch = lent(&mut self.scratch);
                scratch.agent_audio.clear();
                if payload::decode_into(&payload, &mut scratch.agent_audio).is_ok() {
                    self.handle_input(Input::Model(epoch, input), now);
                }
            }
            openai::Read::Nothing => {}
            openai::Read::Malformed(_) => self.odd("an event of the model that cannot be read"),
        }
    }

    /// Anything that is not a message: sockets opened and lost, commands done, the operator, callbacks, time.
    pub fn handle_input(&mut self, input: Input, now: CallTime) {
        self.now = now;
        // One that was given up may stand after its successor; it is not to be mistaken for that (R11).
        if let Input::Model(epoch, ModelInput::Connected) = input
            && self.epoch.is_none_or(|known| known < epoch)
        {
            if self.epoch.is_some() {
                self.realtime.reconnected();
            }
            self.forget_gathered();
            self.epoch = Some(epoch);
        }
        if let Some(trace) = &mut self.trace {
            trace.input(&input, now);
        }
        self.call.handle_input(input, now);
    }

    pub fn poll(&mut self) -> Option<Effect<'_>> {
        if let Some(at) = self.record_caller.take() {
            return Some(Effect::RecordCaller { at, audio: &lent(&mut self.scratch).caller_audio });
        }
        if let Some(at) = self.record_agent.take() {
            return Some(Effect::RecordAgent { at, audio: &lent(&mut self.scratch).frame });
        }
        if let Some(at) = self.record_cleared.take() {
            return Some(Effect::RecordCleared { at });
        }
        if let Some(what) = self.odd.pop_front() {
            return Some(Effect::Note(Note::Odd(what)));
        }
        while let Some(output) = self.next_output() {
            let scratch = lent(&mut self.scratch);
            scratch.text.clear();
            if self.gathered_frames > 0 && goes_to_model(&output) {
                self.postponed = Some(output);
                self.write_gathered();
                return Some(Effect::ToModel(self.text()));
            }
            match output {
                Output::SendAudio { span, pad, plays_at } => {
                    let Some(stream) = &self.stream else { continue };
                    scratch.frame.clear();
                    let from = usize::try_from(span.start - self.kept_from).unwrap_or(usize::MAX);
                    self.kept.copy_range(from, span.len as usize, &mut scratch.frame);
                    scratch.frame.resize((span.len + pad) as usize, SILENCE);
                    twilio::write_media(&mut scratch.text, &stream.sid, &scratch.frame);
                    if self.wants.samples {
                        self.record_agent = Some(plays_at.since(stream.call_began));
                    }
                    return Some(Effect::ToCarrier(Outgoing::Audio, self.text()));
                }
                Output::SendMark(mark) => {
                    let Some(stream) = &self.stream else { continue };
                    twilio::write_mark(&mut scratch.text, &stream.sid, mark);
                    return Some(Effect::ToCarrier(Outgoing::Mark, self.text()));
                }
                Output::Clear => {
                    let Some(stream) = &self.stream else { continue };
                    if self.wants.samples {
                        self.record_cleared = Some(self.now.since(stream.call_began));
                    }
                    twilio::write_clear(&mut scratch.text, &stream.sid);
                    return Some(Effect::ToCarrier(Outgoing::Clear, self.text()));
                }
                Output::KeepAudio => self.kept.push(&scratch.agent_audio),
                Output::KeepLocal(Local::Filler) => self.kept.push(&self.clips.filler),
                Output::KeepLocal(Local::Apology) => self.kept.push(&self.clips.apology),
                Output::KeepLocal(Local::Tones(keys)) => self.kept.push(&tones::keys(&keys)),
                Output::ForwardAudio if self.append_frames > 1 => {
                    self.gathered.extend_from_slice(scratch.decoded_caller());
                    self.gathered_frames += 1;
                    if self.gathered_frames >= self.append_frames {
                        self.write_gathered();
                        return Some(Effect::ToModel(self.text()));
                    }
                }
                Output::ForwardAudio => {
                    openai::write_append(&mut scratch.text, &scratch.caller_payload);
                    return Some(Effect::ToModel(self.text()));
                }
                Output::HoldAudio => {
                    self.held.push(scratch.decoded_caller());
                }
                Output::ForwardHeld { bytes } => {
                    scratch.frame.clear();
                    self.held.copy_range(0, bytes as usize, &mut scratch.frame);
                    self.held.drop_front(bytes as usize);
                    openai::write_append_bytes(&mut scratch.text, &scratch.frame);
                    return Some(Effect::ToModel(self.text()));
                }
                Output::DropHeld { bytes } => self.held.drop_front(bytes as usize),
                Output::ForwardSilence { bytes } => {
                    scratch.frame.clear();
                    scratch.frame.resize(bytes as usize, SILENCE);
                    openai::write_append_bytes(&mut scratch.text, &scratch.frame);
                    return Some(Effect::ToModel(self.text()));
                }
                Output::Model(output) => {
                    if self.realtime.write(&output, &self.settings, &mut scratch.text) {
                        return Some(Effect::ToModel(self.text()));
                    }
                }
                Output::Do(id, command) => return Some(Effect::Do(id, command)),
                Output::CloseCarrier => {
                    if let Some(stream) = self.stream.as_ref().filter(|_| self.wants.samples) {
                        self.record_cleared = Some(self.now.since(stream.call_began));
                    }
                    return Some(Effect::CloseCarrier);
                }
                Output::CloseModel => {
                    self.forget_gathered();
                    return Some(Effect::CloseModel);
                }
                Output::ResumeStream => return Some(Effect::ResumeStream),
                Output::Note(note) => return Some(Effect::Note(note)),
                Output::Ended(reason) => self.ended = Some(reason),
            }
        }
        self.forget_heard();
        if let Some(trace) = &mut self.trace {
            if self.ended.is_some() {
                trace.flush();
            }
            if trace.take(&mut lent(&mut self.scratch).text) {
                return Some(Effect::Trace(self.text()));
            }
        }
        if let Some(reason) = self.ended.take() {
            return Some(Effect::Ended(reason));
        }
        let scratch = self.scratch.take();
        if scratch.as_ref().is_some_and(|scratch| scratch.room() <= SCRATCH_ROOM) {
            SCRATCH.set(scratch);
        }
        None
    }

    pub fn poll_timeout(&self) -> Option<CallTime> {
        self.call.poll_timeout().map(|deadline| deadline.at)
    }

    /// What the call has come to so far.
    pub fn summary(&self) -> Summary {
        self.call.summary()
    }

    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The carrier's name of the call's media stream, once it has begun.
    pub fn stream_sid(&self) -> Option<&str> {
        self.stream.as_ref().map(|stream| stream.sid.as_str())
    }

    /// Whether a message belongs to our stream. One that does not say is taken at its word.
    fn is_ours(&self, sid: Option<&str>) -> bool {
        self.stream.as_ref().is_some_and(|stream| sid.is_none_or(|sid| sid == stream.sid))
    }

    /// The next thing that the call wants, traced once.
    fn next_output(&mut self) -> Option<Output> {
        if let Some(postponed) = self.postponed.take() {
            return Some(postponed);
        }
        let output = self.call.poll_output()?;
        if let Some(trace) = &mut self.trace {
            trace.output(&output, self.now);
        }
        Some(output)
    }

    fn write_gathered(&mut self) {
        openai::write_append_bytes(&mut lent(&mut self.scratch).text, &self.gathered);
        self.forget_gathered();
    }

    fn forget_gathered(&mut self) {
        self.gathered.clear();
        self.gathered_frames = 0;
    }

    /// The message that was made last.
    fn text(&self) -> &str {
        self.scratch.as_ref().map_or("", |scratch| &scratch.text)
    }

    fn forget_heard(&mut self) {
        let needed = self.call.audio_needed_from();
        let heard = usize::try_from(needed.saturating_sub(self.kept_from)).unwrap_or(usize::MAX);
        self.kept.drop_front(heard);
        self.kept_from = needed;
    }

    fn odd(&mut self, what: &'static str) {
        if self.odd.len() < ODD_MAX {
            self.odd.push_back(what);
        }
    }
}
