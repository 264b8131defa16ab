//! A call in virtual time, and words for what is told to it and what comes out.
//!
//! ```ignore
//! let mut scene = Scene::ready(config());
//! scene.when(1.0, committed(I1));
//! scene.expect(["create q2 CallerTurn"]);
//! ```
//!
//! Between two inputs every deadline is kept, at exactly its time. `expect` names everything that came out since the
//! last one, notes aside; frames and marks in a row are one line, `plays 200ms`. Numbers of requests count from the
//! configuration, which is `q1`; numbers of commands from the model's connection, which is `c1`.

#![allow(dead_code)]

use std::collections::VecDeque;
use std::time::Duration;

use call::config::{CallConfig, CallFacts, Direction};
use call::input::{ItemKind, ModelError, ResponseStatus, Usage};
use call::{
    Call, CallStatus, CallTime, CarrierInput, CommandId, Epoch, Input, ItemId, MarkId, ModelInput, OperatorInput,
    Outcome, Output, RequestId, ResponseId, ToolCallId,
};

pub const E1: Epoch = Epoch(1);

pub const R1: ResponseId = ResponseId(1);
pub const R2: ResponseId = ResponseId(2);
pub const R3: ResponseId = ResponseId(3);
pub const R4: ResponseId = ResponseId(4);

/// Items of the caller are `I1`…, of the agent `A1`….
pub const I1: ItemId = ItemId(1);
pub const I2: ItemId = ItemId(2);
pub const I3: ItemId = ItemId(3);
/// Of a later session: higher than any before.
pub const I9: ItemId = ItemId(909);
pub const A1: ItemId = ItemId(101);
pub const A2: ItemId = ItemId(102);
pub const A3: ItemId = ItemId(103);

/// The first request after the configuration.
pub const Q2: RequestId = RequestId(2);
pub const Q3: RequestId = RequestId(3);
pub const Q4: RequestId = RequestId(4);
pub const Q5: RequestId = RequestId(5);
pub const Q6: RequestId = RequestId(6);
pub const Q7: RequestId = RequestId(7);

pub const T1: ToolCallId = ToolCallId(1);
pub const T2: ToolCallId = ToolCallId(2);

pub const C2: CommandId = CommandId(2);
pub const C3: CommandId = CommandId(3);
pub const C4: CommandId = CommandId(4);

pub const INBOUND: CallFacts = CallFacts { direction: Direction::Inbound };
pub const OUTBOUND: CallFacts = CallFacts { direction: Direction::Outbound };

/// The defaults, without the two clocks that would have every scene feed audio: the carrier's silence and the caller's.
pub fn config() -> CallConfig {
    CallConfig { silence_max: None, carrier_silence_max: Duration::from_secs(3_600), ..CallConfig::default() }
}

/// A model that is lost is not looked for again.
pub fn hopeless() -> CallConfig {
    CallConfig { reconnect_max: None, ..config() }
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn seconds(seconds: f64) -> CallTime {
    CallTime::from_micros((seconds * 1e6).round() as u64)
}

/// A call, the time, and what came out of it.
#[derive(Clone)]
pub struct Scene {
    pub call: Call,
    pub now: CallTime,
    /// Not expected yet.
    fresh: Vec<Output>,
    /// Everything, with its time.
    pub log: Vec<(CallTime, Output)>,
    /// Everything told, with its time (N11).
    pub told: Vec<(CallTime, Input)>,
    carrier: Option<Carrier>,
    /// The driver sleeps longer than it should: deadlines are kept only at multiples of this.
    pub wakes_every: Option<Duration>,
}

/// A carrier that plays what it gets and returns each mark when the audio before it was played, or flushed.
#[derive(Clone, Default)]
pub struct Carrier {
    play_end: CallTime,
    pending: VecDeque<(CallTime, MarkId)>,
}

impl Scene {
    /// A call of which nothing was told yet.
    pub fn made(config: CallConfig, facts: CallFacts) -> Self {
        Scene {
            call: Call::new(config, facts),
            now: CallTime::ZERO,
            fresh: Vec::new(),
            log: Vec::new(),
            told: Vec::new(),
            carrier: None,
            wakes_every: None,
        }
    }

    /// Announced, connected, configured and streaming at time zero.
    pub fn ready(config: CallConfig) -> Self {
        let mut scene = Scene::made(config, INBOUND);
        scene.get_ready();
        scene
    }

    /// The same, with a carrier that returns marks.
    pub fn with_carrier(config: CallConfig) -> Self {
        let mut scene = Scene::made(config, INBOUND);
        scene.carrier = Some(Carrier::default());
        scene.get_ready();
        scene
    }

    fn get_ready(&mut self) {
        for input in [Input::Announced, connected(), configured(), started()] {
            self.give(input);
        }
        self.fresh.clear();
    }

    /// At this time, after everything that is due before it.
    #[track_caller]
    pub fn when(&mut self, at: f64, input: Input) {
        self.until(at);
        self.give(input);
    }

    /// Nobody says anything until then.
    #[track_caller]
    pub fn until(&mut self, at: f64) {
        let at = seconds(at);
        assert!(at >= self.now, "time does not run backwards: {at} is before {}", self.now);
        loop {
            let mark = self.carrier.as_ref().and_then(|carrier| carrier.pending.front().map(|(due, _)| *due));
            let wake = self.call.poll_timeout().map(|deadline| self.oversleep(deadline.at));
            match [mark, wake].into_iter().flatten().min() {
                Some(next) if next <= at => {
                    self.now = self.now.max(next);
                    let returned =
                        mark.filter(|due| *due == next).and_then(|_| self.carrier.as_mut()?.pending.pop_front());
                    self.give(match returned {
                        Some((_, mark)) => mark_returned(mark),
                        None => Input::TimePassed,
                    });
                }
                _ => break,
            }
        }
        self.now = at;
    }

    /// Everything that came out since the last `expect`, notes aside, is this.
    #[track_caller]
    pub fn expect<const N: usize>(&mut self, expected: [&str; N]) {
        let came = self.came();
        assert_eq!(came, expected, "at {}", self.now);
    }

    /// The same, without looking: for what a test is not about.
    pub fn skip(&mut self) {
        self.fresh.clear();
    }

    /// What came out since the last `expect`, in words.
    pub fn came(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut playing: Option<u64> = None;
        for output in self.fresh.drain(..) {
            if matches!(output, Output::Note(_)) {
                continue;
            }
            let bytes = if let Output::SendAudio { span, pad, .. } = &output {
                Some(u64::from(span.len + pad))
            } else {
                matches!(output, Output::SendMark(_)).then_some(0)
            };
            if let Some(bytes) = bytes {
                if let Some(before) = playing {
                    lines.pop();
                    playing = Some(before + bytes);
                } else {
                    playing = Some(bytes);
                }
                lines.push(match playing {
                    Some(0) => "mark".to_owned(),
                    playing => format!("plays {}ms", playing.unwrap_or_default() / 8),
                });
                continue;
            }
            let line = output.to_string();
            playing = None;
            if !(matches!(line.as_str(), "keep" | "forward" | "hold") && lines.last() == Some(&line)) {
                lines.push(line);
            }
        }
        lines
    }

    /// Whether a note containing this was ever made.
    pub fn has_noted(&self, what: &str) -> bool {
        self.notes().any(|note| note.contains(what))
    }

    #[track_caller]
    pub fn noted(&self, what: &str) {
        assert!(self.has_noted(what), "not noted: {what}\n{}", self.notes().collect::<Vec<_>>().join("\n"));
    }

    #[track_caller]
    pub fn not_noted(&self, what: &str) {
        assert!(!self.has_noted(what), "noted: {what}");
    }

    pub fn times_noted(&self, what: &str) -> usize {
        self.notes().filter(|note| note.contains(what)).count()
    }

    fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.log.iter().filter(|(_, output)| matches!(output, Output::Note(_))).map(|(_, output)| output.to_string())
    }

    pub fn now_seconds(&self) -> f64 {
        self.now.as_micros() as f64 / 1e6
    }

    /// When each output whose words contain this came out, in seconds.
    pub fn times_with(&self, words: &str) -> Vec<f64> {
        let came = self.log.iter().filter(|(_, output)| !matches!(output, Output::Note(_)));
        let came = came.filter(|(_, output)| output.to_string().contains(words));
        came.map(|(at, _)| at.as_micros() as f64 / 1e6).collect()
    }

    /// When each output whose words begin with this came out, in seconds.
    pub fn times_of(&self, words: &str) -> Vec<f64> {
        let came = self.log.iter().filter(|(_, output)| output.to_string().starts_with(words));
        came.map(|(at, _)| at.as_micros() as f64 / 1e6).collect()
    }

    /// Frames sent: when, and how long they play, in ms.
    pub fn frames(&self) -> Vec<(u64, u64)> {
        let mut frames = Vec::new();
        for (at, output) in &self.log {
            if let Output::SendAudio { span, pad, .. } = output {
                frames.push((at.as_millis(), u64::from(span.len + pad) / 8));
            }
        }
        frames
    }

    /// Where in what was kept each frame began, and how many bytes of it it was.
    pub fn spans(&self) -> Vec<(u64, u64)> {
        let mut spans = Vec::new();
        for (_, output) in &self.log {
            if let Output::SendAudio { span, .. } = output {
                spans.push((span.start, u64::from(span.len)));
            }
        }
        spans
    }

    /// The marks sent so far, oldest first.
    pub fn marks(&self) -> Vec<MarkId> {
        let mut marks = Vec::new();
        for (_, output) in &self.log {
            if let Output::SendMark(mark) = output {
                marks.push(*mark);
            }
        }
        marks
    }

    /// The caller says something for a second and is heard to have said it: two inputs and the commit.
    #[track_caller]
    pub fn caller_says(&mut self, at: f64, item: ItemId) {
        self.when(at, speech_started(item));
        self.when(at + 1.0, speech_stopped(item));
        self.when(at + 1.0, committed(item));
    }

    /// The model answers at once with one item of speech, complete.
    #[track_caller]
    pub fn model_says(&mut self, at: f64, request: RequestId, response: ResponseId, item: ItemId, millis: u32) {
        self.when(at, created(response, request));
        self.when(at, item_added(response, item));
        self.when(at, audio(response, item, millis));
        self.when(at, audio_done(response, item));
        self.when(at, done(response));
    }

    /// Told at this very moment.
    #[track_caller]
    pub fn give(&mut self, input: Input) {
        self.told.push((self.now, input.clone()));
        self.call.handle_input(input, self.now);
        while let Some(output) = self.call.poll_output() {
            if let Some(carrier) = &mut self.carrier {
                carrier.take(&output, self.now);
            }
            self.log.push((self.now, output.clone()));
            self.fresh.push(output);
        }
        match self.call.poll_timeout() {
            Some(deadline) => assert!(deadline.at > self.now, "at {} still due: {deadline:?}", self.now),
            None => assert!(self.call.has_ended() || self.told.len() <= 1, "a call that waits for nothing"),
        }
    }

    fn oversleep(&self, at: CallTime) -> CallTime {
        match self.wakes_every {
            None => at,
            Some(every) => {
                let every = every.as_micros() as u64;
                CallTime::from_micros(at.as_micros().div_ceil(every) * every)
            }
        }
    }
}

impl Carrier {
    fn take(&mut self, output: &Output, now: CallTime) {
        if let Output::SendAudio { span, pad, .. } = output {
            self.play_end = self.play_end.max(now) + Duration::from_micros(u64::from(span.len + pad) * 125);
        } else if let Output::SendMark(mark) = output {
            self.pending.push_back((self.play_end.max(now), *mark));
        } else if *output == Output::Clear {
            self.play_end = now;
            for (due, _) in &mut self.pending {
                *due = now;
            }
        }
    }
}

// ── Inputs, in words ─────────────────────────────────────────────────────────────────────────────────────────────────

fn model(input: ModelInput) -> Input {
    Input::Model(E1, input)
}

pub fn connected() -> Input {
    model(ModelInput::Connected)
}

pub fn configured() -> Input {
    model(ModelInput::Configured)
}

pub fn model_lost() -> Input {
    model(ModelInput::Lost { fatal: false })
}

pub fn speech_started(item: ItemId) -> Input {
    model(ModelInput::SpeechStarted { item, at_ms: 0 })
}

/// After 1.2 s of speech, as the detector counts it.
pub fn speech_stopped(item: ItemId) -> Input {
    spoke_for(item, 1_200)
}

/// The caller stops after this much speech, the detector's padding and closing silence aside.
pub fn spoke_for(item: ItemId, millis: u64) -> Input {
    model(ModelInput::SpeechStopped { item, at_ms: millis + 800 })
}

pub fn committed(item: ItemId) -> Input {
    model(ModelInput::Committed { item })
}

pub fn caller_said(item: ItemId, text: &str) -> Input {
    model(ModelInput::CallerTranscript { item, text: Some(text.to_owned()) })
}

pub fn transcription_failed(item: ItemId) -> Input {
    model(ModelInput::CallerTranscript { item, text: None })
}

pub fn created(response: ResponseId, request: RequestId) -> Input {
    model(ModelInput::ResponseCreated { response, request: Some(request) })
}

/// The model began it by itself.
pub fn created_by_itself(response: ResponseId) -> Input {
    model(ModelInput::ResponseCreated { response, request: None })
}

pub fn item_added(response: ResponseId, item: ItemId) -> Input {
    model(ModelInput::ItemAdded { response, item, kind: ItemKind::Message })
}

pub fn function_added(response: ResponseId, item: ItemId) -> Input {
    model(ModelInput::ItemAdded { response, item, kind: ItemKind::FunctionCall })
}

pub fn audio(response: ResponseId, item: ItemId, millis: u32) -> Input {
    audio_bytes(response, item, millis * 8)
}

pub fn audio_bytes(response: ResponseId, item: ItemId, bytes: u32) -> Input {
    model(ModelInput::Audio { response, item, bytes })
}

pub fn audio_done(response: ResponseId, item: ItemId) -> Input {
    model(ModelInput::AudioDone { response, item })
}

pub fn transcript(response: ResponseId, item: ItemId, text: &str) -> Input {
    model(ModelInput::TranscriptDone { response, item, text: text.to_owned() })
}

pub fn tool_call(response: ResponseId, call: ToolCallId, name: &str) -> Input {
    let (name, arguments) = (name.to_owned(), "{}".to_owned());
    model(ModelInput::ToolCall { response, item: ItemId(900 + call.0), call, name, arguments })
}

pub fn done(response: ResponseId) -> Input {
    done_with(response, ResponseStatus::Completed)
}

pub fn done_cancelled(response: ResponseId) -> Input {
    done_with(response, ResponseStatus::Cancelled)
}

pub fn failed(response: ResponseId) -> Input {
    done_with(response, ResponseStatus::Failed(ModelError::Other))
}

pub fn done_with(response: ResponseId, status: ResponseStatus) -> Input {
    model(ModelInput::ResponseDone { response, status, usage: Usage::default() })
}

pub fn error(request: RequestId, error: ModelError) -> Input {
    model(ModelInput::Error { request: Some(request), error })
}

pub fn collision(request: RequestId) -> Input {
    error(request, ModelError::Collision)
}

pub fn started() -> Input {
    Input::Carrier(CarrierInput::Started)
}

pub fn caller_audio(timestamp_ms: u64) -> Input {
    Input::Carrier(CarrierInput::Audio { bytes: 160, timestamp_ms })
}

pub fn dtmf(key: char) -> Input {
    Input::Carrier(CarrierInput::Dtmf(key))
}

pub fn mark_returned(mark: MarkId) -> Input {
    Input::Carrier(CarrierInput::MarkReturned(mark))
}

pub fn stopped() -> Input {
    Input::Carrier(CarrierInput::Stopped)
}

pub fn closed() -> Input {
    Input::Carrier(CarrierInput::Closed)
}

pub fn status(status: CallStatus) -> Input {
    Input::Carrier(CarrierInput::Status(status))
}

pub fn after_stream(status: CallStatus) -> Input {
    Input::Carrier(CarrierInput::AfterStream(status))
}

pub fn hung_up(command: CommandId) -> Input {
    Input::Done(command, Outcome::HungUp)
}

pub fn hang_up_failed(command: CommandId) -> Input {
    Input::Done(command, Outcome::HangUpFailed)
}

pub fn tool_answered(command: CommandId) -> Input {
    Input::Done(command, Outcome::ToolAnswered("{}".to_owned()))
}

pub fn says_goodbye() -> Input {
    Input::Operator(OperatorInput::SayGoodbye)
}

pub fn operator_hangs_up() -> Input {
    Input::Operator(OperatorInput::HangUp)
}

pub fn say(text: &str) -> Input {
    Input::Operator(OperatorInput::Say { text: text.to_owned(), force: false })
}

pub fn say_now(text: &str) -> Input {
    Input::Operator(OperatorInput::Say { text: text.to_owned(), force: true })
}
