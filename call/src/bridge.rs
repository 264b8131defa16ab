//! A call joined to its two wires: messages in, messages out, still without a socket or a clock.
//!
//! The driver of the server and the simulated world of `sim` both run this, so what is proved in virtual time is what
//! answers the phone. Contract, after everything that was told to it: call [`Bridge::poll`] until it returns `None`,
//! then wait for the next message or for [`Bridge::poll_timeout`].

use std::time::Duration;

use crate::config::{CallConfig, CallFacts};
use crate::id::CommandId;
use crate::input::Input;
use crate::output::{Command, EndReason, Note};
use crate::summary::Summary;
use crate::time::CallTime;
use crate::wire::openai::SessionSettings;

/// What the shell has to do. Texts are borrowed from buffers that the next `poll` reuses.
#[derive(Debug)]
pub enum Effect<'a> {
    /// One text message on the carrier's media socket.
    ToCarrier(&'a str),
    /// One text message on the model's socket.
    ToModel(&'a str),
    /// Do this elsewhere and tell the outcome by [`Bridge::handle_input`] with [`Input::Done`].
    Do(CommandId, Command),
    CloseCarrier,
    CloseModel,
    /// For the recording: µ-law of the caller at this moment of the stream (time zero is the carrier's `start`).
    RecordCaller { at: Duration, audio: &'a [u8] },
    /// For the recording: µ-law of the agent, expected to begin playing at this moment.
    RecordAgent { at: Duration, audio: &'a [u8] },
    /// For the recording: nothing of the agent after this moment was played.
    RecordCleared { at: Duration },
    Note(Note),
    /// A line of the call's trace (N11), with its line end.
    Trace(&'a str),
    /// The call is over; nothing follows.
    Ended(EndReason),
}

/// Which optional effects the shell wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wants {
    /// `Effect::Record…`: costs a base64 decode of each of the caller's frames.
    pub samples: bool,
    /// `Effect::Trace`.
    pub trace: bool,
}

pub struct Bridge {}

impl Bridge {
    pub fn new(_config: CallConfig, _facts: CallFacts, _session: SessionSettings, _wants: Wants) -> Self {
        todo!()
    }

    /// A text message of the carrier's media socket.
    pub fn handle_carrier(&mut self, _text: &str, _now: CallTime) {
        todo!()
    }

    /// A text message of the model's socket. The connection it came on is the current one; the shell drops what is
    /// left of older ones.
    pub fn handle_model(&mut self, _text: &str, _now: CallTime) {
        todo!()
    }

    /// Anything that is not a message: sockets opened and lost, commands done, the operator, callbacks, time.
    pub fn handle_input(&mut self, _input: Input, _now: CallTime) {
        todo!()
    }

    pub fn poll(&mut self) -> Option<Effect<'_>> {
        todo!()
    }

    pub fn poll_timeout(&self) -> Option<CallTime> {
        todo!()
    }

    /// What the call has come to so far.
    pub fn summary(&self) -> &Summary {
        todo!()
    }

    /// The carrier's name of the call's media stream, once it has begun.
    pub fn stream_sid(&self) -> Option<&str> {
        todo!()
    }
}
