//! What to answer, decided by a chat server in place of a flow: any that speaks OpenAI's chat completions, as nearly all do
//! that serve language models. What was said goes there as messages; the answer comes in pieces, and its first sentence is
//! spoken while the rest is still to come.
//!
//! <https://platform.openai.com/docs/api-reference/chat/create>
//!
//! All but [`Server`] is pure: what is asked ([`request`]), what comes back ([`stream`]), function calls put together of
//! their pieces ([`calls`]), and what of a text can be spoken ([`aloud`]).

pub mod aloud;
pub mod calls;
pub mod request;
mod server;
pub mod stream;

use std::time::Duration;

pub use server::{Answering, Server};

/// How long a chat server may take, and how much is exchanged with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From the request to the first words, and between words. Thinking and signs of life are none.
    pub silence_max: Duration,
    /// From the request to the answer's end.
    pub answer_max: Duration,
    /// Characters of one answer; the rest is not asked for any more.
    pub characters_max: usize,
    /// Messages of the conversation that are sent, the newest; instructions not counted.
    pub messages_max: usize,
}

/// A piece of an answer. [`Piece::End`] is the last.
#[derive(Clone, PartialEq, Debug)]
pub enum Piece {
    Text(String),
    Call(calls::CallPiece),
    End(Result<Finish, Failure>),
}

/// How an answer ends that did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    Completed,
    /// It was longer than it may be.
    Cut,
    /// The server's filter stopped it.
    Filtered,
}

/// Why there is no answer, or no whole one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// As the Realtime protocol names it; whether asking again is of use depends on it.
    pub code: &'static str,
    /// Never has in it what was said, nor what the server sent.
    pub message: String,
}

impl Failure {
    /// Of the machine, the server or the way there: the next attempt may have more luck.
    pub fn passing(message: impl Into<String>) -> Failure {
        Failure { code: "server_error", message: message.into() }
    }
}
