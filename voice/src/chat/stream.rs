//! The bytes of an answer: server-sent events, each with a piece of it as JSON.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>

use serde_json::Value;

use super::calls::CallPiece;
use super::{Failure, Finish, Piece};

/// Bytes of one event. A piece of an answer has a few hundred.
const EVENT_MAX: usize = 256 << 10;

/// Finds the events in a stream, wherever the bytes are cut.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    data: Option<String>,
    /// The last byte was a carriage return: a line feed after it ends no other line.
    returned: bool,
}

impl Events {
    /// The data of each event that ends in `bytes`.
    ///
    /// # Errors
    /// If an event is too long.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<String>, Failure> {
        let mut found = Vec::new();
        for &byte in bytes {
            let returned = std::mem::replace(&mut self.returned, byte == b'\r');
            match byte {
                b'\n' if returned => {}
                b'\n' | b'\r' => found.extend(self.line_ended()),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > EVENT_MAX {
                return Err(Failure::passing("The chat server sent an event that is too long."));
            }
        }
        Ok(found)
    }

    fn line_ended(&mut self) -> Option<String> {
        if self.line.is_empty() {
            return self.data.take();
        }
        let line = String::from_utf8_lossy(&self.line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        // Other fields say nothing here; a line that begins with a colon is a sign of life.
        if field.trim_start_matches('\u{feff}') == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => self.data = Some(value.to_owned()),
            }
        }
        self.line.clear();
        None
    }
}

/// An answer that is being received.
#[derive(Debug, Default)]
pub struct Answer {
    events: Events,
    thoughts: Thoughts,
    finish: Option<Finish>,
    over: bool,
}

impl Answer {
    /// The pieces in these bytes.
    ///
    /// # Errors
    /// If it is none of an answer, or the server says what went wrong.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Piece>, Failure> {
        let mut pieces = Vec::new();
        for data in self.events.take(bytes)? {
            if data.trim() == "[DONE]" {
                self.over = true;
            } else {
                self.event(&data, &mut pieces)?;
            }
        }
        Ok(pieces)
    }

    /// Whether the server has said that nothing more comes.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// How it ended, if nothing more comes.
    pub fn finish(&self) -> Option<Finish> {
        self.finish.or_else(|| self.over.then_some(Finish::Completed))
    }

    fn event(&mut self, data: &str, pieces: &mut Vec<Piece>) -> Result<(), Failure> {
        let garbage = || Failure::passing("The chat server sent an event that is no JSON object.");
        let event: Value = serde_json::from_str(data).ok().filter(Value::is_object).ok_or_else(garbage)?;
        if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
            return Err(Failure {
                code: known_code(error).unwrap_or("server_error"),
                message: "The chat server broke its answer off with an error.".to_owned(),
            });
        }
        // The last event may have figures only.
        let choice = &event["choices"][0];
        let delta = &choice["delta"];
        if let Some(text) = delta["content"].as_str().or(delta["refusal"].as_str()) {
            let words = self.thoughts.without(text);
            if !words.is_empty() {
                pieces.push(Piece::Text(words));
            }
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let arguments = match &call["function"]["arguments"] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                whole => whole.to_string(),
            };
            pieces.push(Piece::Call(CallPiece {
                index: call["index"].as_u64(),
                id: text(&call["id"]),
                name: text(&call["function"]["name"]),
                arguments,
            }));
        }
        match choice["finish_reason"].as_str() {
            None => {}
            Some("length") => self.finish = Some(Finish::Cut),
            Some("content_filter") => self.finish = Some(Finish::Filtered),
            Some(_) => self.finish = Some(Finish::Completed),
        }
        Ok(())
    }
}

/// The codes of errors that mean the same in both protocols, and that whoever asked acts on.
pub(super) fn known_code(error: &Value) -> Option<&'static str> {
    let code = error["code"].as_str().or(error["type"].as_str())?;
    ["insufficient_quota", "invalid_api_key", "model_not_found", "rate_limit_exceeded"]
        .into_iter()
        .find(|known| *known == code)
}

/// Models that think aloud do so at the beginning, between tags, where their server does not keep it apart.
#[derive(Debug)]
enum Thoughts {
    /// What has come may still become the tag.
    Perhaps(String),
    /// The last that was thought, in which the closing tag may have begun.
    Thinking(String),
    Over,
}

impl Default for Thoughts {
    fn default() -> Self {
        Thoughts::Perhaps(String::new())
    }
}

impl Thoughts {
    const OPEN: &str = "<think>";
    const CLOSE: &str = "</think>";

    /// The words in `text` that are to be said.
    fn without(&mut self, text: &str) -> String {
        match self {
            Thoughts::Over => text.to_owned(),
            Thoughts::Perhaps(held) => {
                held.push_str(text);
                let begun = held.trim_start();
                if let Some(thought) = begun.strip_prefix(Self::OPEN) {
                    let thought = thought.to_owned();
                    *self = Thoughts::Thinking(String::new());
                    self.without(&thought)
                } else if Self::OPEN.starts_with(begun) {
                    String::new()
                } else {
                    let words = std::mem::take(held);
                    *self = Thoughts::Over;
                    words
                }
            }
            Thoughts::Thinking(last) => {
                last.push_str(text);
                match last.split_once(Self::CLOSE) {
                    Some((_, words)) => {
                        let words = words.trim_start().to_owned();
                        *self = Thoughts::Over;
                        words
                    }
                    None => {
                        let kept = last.floor_char_boundary(last.len().saturating_sub(Self::CLOSE.len() - 1));
                        last.drain(..kept);
                        String::new()
                    }
                }
            }
        }
    }
}
