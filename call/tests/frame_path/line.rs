//! A call in the middle of an answer, driven as the server drives it, without a socket: for counting what a frame costs.
//! Whatever this itself needs, it has before the counting begins.
#![allow(dead_code, reason = "the test and the example each use a part")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::bridge::{Bridge, Clips, Effect, Outgoing, Wants};
use call::config::{CallConfig, CallFacts, Direction};
use call::wire::openai::SessionSettings;
use call::{CallTime, Epoch, Input, ModelInput};

/// 20 ms of µ-law.
pub const FRAME_BYTES: usize = 160;

/// Audio in one of the model's deltas, in frames; and how many of them it is ahead of what is heard.
pub const DELTA_FRAMES: usize = 10;
const DELTAS_AHEAD: usize = 10;

pub struct Line {
    bridge: Bridge,
    now: CallTime,
    timestamp_ms: u64,
    payload: String,
    delta: String,
    /// Marks at the carrier, with when they will have been reached.
    marks: VecDeque<(CallTime, String)>,
    spare: Vec<String>,
    text: String,
    played_until: CallTime,
    pub counted: Counted,
}

/// What went through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    pub to_model: u64,
    pub audio: u64,
    pub marks: u64,
    pub deltas: u64,
}

impl Line {
    /// The caller has asked something, and the answer begins.
    pub fn answering(wants: Wants) -> Line {
        Line::answering_in_groups(wants, 1)
    }

    /// The same with so many frames in a message, each way.
    pub fn answering_in_groups(wants: Wants, frames: u32) -> Line {
        let facts = CallFacts { direction: Direction::Inbound };
        let config = CallConfig { group_frames: frames, ..CallConfig::default() };
        let mut bridge = Bridge::new(config, facts, SessionSettings::default(), Clips::default(), wants);
        bridge.group_appends(frames);
        let delta = STANDARD.encode([0x55; DELTA_FRAMES * FRAME_BYTES]);
        let mut line = Line {
            bridge,
            now: CallTime::ZERO,
            timestamp_ms: 0,
            payload: STANDARD.encode([0x7E; FRAME_BYTES]),
            delta: format!(
                r#"{{"type":"response.output_audio.delta","event_id":"e","response_id":"resp_1","item_id":"item_1","output_index":0,"content_index":0,"delta":"{delta}"}}"#
            ),
            marks: VecDeque::with_capacity(64),
            spare: (0..64).map(|_| String::with_capacity(32)).collect(),
            text: String::with_capacity(4_096),
            played_until: CallTime::ZERO,
            counted: Counted::default(),
        };
        line.bridge.handle_input(Input::Announced, line.now);
        line.drain();
        line.bridge.handle_input(Input::Model(Epoch(1), ModelInput::Connected), line.now);
        line.drain();
        line.model(r#"{"type":"session.updated","session":{}}"#);
        line.carrier(
            r#"{"event":"start","sequenceNumber":"1","streamSid":"MZ00000000000000000000000000000001","start":{"streamSid":"MZ00000000000000000000000000000001","accountSid":"AC1","callSid":"CA1","tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},"customParameters":{}}}"#,
        );
        for _ in 0..50 {
            line.tick();
        }
        line.model(r#"{"type":"input_audio_buffer.speech_started","audio_start_ms":100,"item_id":"turn_1"}"#);
        line.model(r#"{"type":"input_audio_buffer.speech_stopped","audio_end_ms":900,"item_id":"turn_1"}"#);
        line.model(r#"{"type":"input_audio_buffer.committed","previous_item_id":null,"item_id":"turn_1"}"#);
        let request = line.text.split_once(r#""patchcord_request":""#).and_then(|(_, rest)| rest.split_once('"'));
        let request = request.expect("the model is asked for a response").0.to_owned();
        line.model(&format!(
            r#"{{"type":"response.created","response":{{"id":"resp_1","conversation_id":"conv_1","metadata":{{"patchcord_request":"{request}"}}}}}}"#
        ));
        line.model(
            r#"{"type":"response.output_item.added","response_id":"resp_1","output_index":0,"item":{"id":"item_1","type":"message"}}"#,
        );
        for _ in 0..DELTAS_AHEAD {
            line.delta();
        }
        line
    }

    /// 20 ms of the call: a frame of the caller, and what is due of the agent.
    pub fn tick(&mut self) {
        self.caller_frame();
        self.until(self.now + Duration::from_millis(20));
    }

    /// A frame of the caller, and all that comes of it.
    pub fn caller_frame(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let (number, timestamp) = (self.timestamp_ms / 20 + 2, self.timestamp_ms);
        write!(
            text,
            r#"{{"event":"media","sequenceNumber":"{number}","media":{{"track":"inbound","chunk":"{number}","timestamp":"{timestamp}","payload":"{}"}},"streamSid":"MZ00000000000000000000000000000001"}}"#,
            self.payload,
        )
        .expect("writing to a String does not fail");
        self.timestamp_ms += 20;
        self.bridge.handle_carrier(&text, self.now);
        self.text = text;
        self.drain();
    }

    /// A piece of the answer.
    pub fn delta(&mut self) {
        self.bridge.handle_model(&self.delta, self.now);
        self.counted.deltas += 1;
        self.drain();
    }

    /// All of it was given.
    pub fn answer_is_over(&mut self) {
        self.model(
            r#"{"type":"response.output_audio.done","response_id":"resp_1","item_id":"item_1","output_index":0,"content_index":0}"#,
        );
        self.model(r#"{"type":"response.done","response":{"id":"resp_1","status":"completed","output":[]}}"#);
    }

    /// So many ticks without anything of the model.
    pub fn quiet_ticks(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.tick();
        }
    }

    /// So many ticks, the answer coming as fast as it is heard: a model that says no more while it answers is lost.
    pub fn ticks(&mut self, ticks: u64) {
        for tick in 0..ticks {
            if tick % DELTA_FRAMES as u64 == 0 {
                self.delta();
            }
            self.tick();
        }
    }

    /// Whatever is due until then, and the marks that are reached.
    fn until(&mut self, until: CallTime) {
        loop {
            let mark = self.marks.front().map(|(at, _)| *at);
            let timeout = self.bridge.poll_timeout();
            let Some(at) = [mark, timeout].into_iter().flatten().min().filter(|at| *at <= until) else { break };
            self.now = at.max(self.now);
            if mark == Some(at) {
                self.return_mark();
            } else {
                self.bridge.handle_input(Input::TimePassed, self.now);
            }
            self.drain();
        }
        self.now = until;
    }

    fn return_mark(&mut self) {
        let Some((_, name)) = self.marks.pop_front() else { return };
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.push_str(
            r#"{"event":"mark","sequenceNumber":"9","streamSid":"MZ00000000000000000000000000000001","mark":{"name":""#,
        );
        text.push_str(&name);
        text.push_str(r#""}}"#);
        self.bridge.handle_carrier(&text, self.now);
        self.text = text;
        self.spare.push(name);
    }

    fn carrier(&mut self, text: &str) {
        self.bridge.handle_carrier(text, self.now);
        self.drain();
    }

    fn model(&mut self, text: &str) {
        self.bridge.handle_model(text, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        let frame = Duration::from_millis(20);
        while let Some(effect) = self.bridge.poll() {
            match effect {
                Effect::ToCarrier(Outgoing::Audio, text) => {
                    self.counted.audio += 1;
                    // One frame, or more: 213 characters each, and less than 200 around them.
                    let frames = text.len() as u32 / 213;
                    self.played_until = self.played_until.max(self.now) + frames * frame;
                }
                Effect::ToCarrier(Outgoing::Mark, text) => {
                    self.counted.marks += 1;
                    let mut name = self.spare.pop().expect("marks come back");
                    name.clear();
                    name.push_str(text.rsplit('"').nth(1).unwrap_or_default());
                    self.marks.push_back((self.played_until, name));
                }
                Effect::ToModel(text) => {
                    self.counted.to_model += 1;
                    self.text.clear();
                    self.text.push_str(text);
                }
                Effect::ToCarrier(Outgoing::Clear, _)
                | Effect::Do(..)
                | Effect::CloseCarrier
                | Effect::CloseModel
                | Effect::ResumeStream
                | Effect::RecordCaller { .. }
                | Effect::RecordAgent { .. }
                | Effect::RecordCleared { .. }
                | Effect::Note(_)
                | Effect::Trace(_)
                | Effect::Ended(_) => {}
            }
        }
    }
}
