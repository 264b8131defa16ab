//! Words of goodbye end the call, and so does the tool that is there for it (H5, H6, H9, H11): whoever says them, and
//! whichever comes last, the words or the audio.
//!
//! Judged where nothing else is going on; what withdraws a goodbye, or keeps words from being one, is the worlds' to try.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use call::config::{CallConfig, Turns};
use call::farewell;
use call::input::ResponseStatus;
use call::trace::Event;
use call::{END_CALL, Epoch, Input, ItemId, ModelInput, ResponseId};

use super::{Judgement, broken};

#[derive(Default)]
pub(super) struct Farewells {
    epoch: Option<Epoch>,
    /// The response that is going on, or the last that was done, and what it said. None once anything came after it.
    newest: Option<ResponseId>,
    done: bool,
    /// It called the tool that ends the call.
    ends_call: bool,
    said: BTreeMap<ItemId, String>,
    /// A turn, spoken or pressed, waits for its own answer, or is being spoken.
    behind: bool,
    /// So do keys: who pressed some has said more than goodbye.
    keys: bool,
    caller_speaks: bool,
    /// What the caller said last, and what was said in holds that came to nothing: no turns, whenever they are committed.
    spoken: Option<ItemId>,
    held: bool,
    undone: BTreeSet<ItemId>,
    /// The caller's last turn, while nothing but an answer to it came after it.
    turn: Option<ItemId>,
    /// A goodbye is under way.
    goodbye: bool,
    /// What was just understood has to make one so.
    due: Option<&'static str>,
}

impl Farewells {
    pub(super) fn see(&mut self, now: Duration, event: &Event, config: &CallConfig) -> Judgement {
        match event {
            Event::Input(input) => {
                if let Some(rule) = self.due.take()
                    && !self.goodbye
                {
                    return broken(rule, now, "words of goodbye were understood, and nothing came of it");
                }
                if let Input::Model(epoch, input) = input
                    && Some(*epoch) == self.epoch
                {
                    self.model_says(input, config);
                } else if !matches!(input, Input::Model(..) | Input::TimePassed | Input::Done(..)) {
                    self.carrier_says(input);
                }
            }
            Event::Output(words) => self.did(words),
        }
        Ok(())
    }

    fn model_says(&mut self, input: &ModelInput, config: &CallConfig) {
        match input {
            ModelInput::ResponseCreated { response, request } => {
                // What the model begins by itself changes the subject.
                self.turn.take_if(|_| request.is_none());
                (self.done, self.ends_call) = (false, false);
                // One of the model's own may stand for any of ours, or come before it (R8).
                let ours = request.is_some() && !self.behind && !self.caller_speaks;
                (self.newest, self.said) = (ours.then_some(*response), BTreeMap::new());
            }
            // The caller has more to say than was said so far.
            ModelInput::SpeechStarted { item, .. } => {
                (self.newest, self.turn, self.caller_speaks, self.spoken) = (None, None, true, Some(*item));
                if self.held {
                    self.undone.insert(*item);
                }
            }
            ModelInput::Committed { item } => {
                self.newest = None;
                let is_turn = config.turns == Turns::Client && !self.undone.contains(item) && !self.keys;
                self.turn = is_turn.then_some(*item);
            }
            ModelInput::TranscriptDone { response, item, text } if self.newest == Some(*response) => {
                self.said.insert(*item, text.clone());
                let all = self.said.values().map(String::as_str).collect::<Vec<_>>().join(" ");
                let rule = if self.done { "H6" } else { "H5" };
                self.due = farewell::says_farewell(&all, &config.languages).then_some(rule);
            }
            ModelInput::CallerTranscript { item, text: Some(text) } if self.turn == Some(*item) => {
                self.due = farewell::is_only_farewell(text, &config.languages).then_some("H9");
            }
            ModelInput::ToolCall { response, name, .. } if self.newest == Some(*response) => {
                self.ends_call |= name == END_CALL;
            }
            ModelInput::ResponseDone { response, status, .. } if self.newest == Some(*response) => {
                self.done = true;
                self.newest.take_if(|_| *status != ResponseStatus::Completed);
                self.due = (self.ends_call && self.newest.is_some()).then_some("H11");
            }
            _ => {}
        }
    }

    /// A stream that is gone, or whatever an operator wants, ends what was under way.
    fn carrier_says(&mut self, input: &Input) {
        let heard = matches!(
            input,
            Input::Ears(_) | Input::Carrier(call::CarrierInput::Audio { .. } | call::CarrierInput::MarkReturned(_))
        );
        if !heard {
            (self.newest, self.turn) = (None, None);
            // What an operator wants said may come before all else.
            self.behind |= matches!(input, Input::Operator(_));
        }
    }

    fn did(&mut self, words: &str) {
        let mut parts = words.split(' ');
        match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
            ("note", "GoodbyeWanted" | "GoodbyePending" | "HangingUp") | ("ended", _) => self.goodbye = true,
            ("note", "GoodbyeWithdrawn") => self.goodbye = false,
            ("note", "NotAsking") => self.behind |= words.contains("reason: CallerTurn"),
            ("note", "CallerStopped") => self.caller_speaks = false,
            ("note", "Held") => {
                (self.newest, self.turn, self.held) = (None, None, true);
                self.undone.extend(self.spoken);
            }
            ("note", "Resumed") => (self.newest, self.turn, self.held) = (None, None, false),
            ("note", "Interrupted") => {
                (self.newest, self.turn, self.held) = (None, None, false);
                self.undone.clear();
            }
            // Of what was cancelled, nothing is heard.
            ("note", "Dropped") | ("cancel" | "remember" | "pressed", _) => {
                (self.newest, self.turn) = (None, None);
                // Keys are a turn too.
                self.keys |= words.starts_with("pressed");
                self.behind |= self.keys;
            }
            // The caller's, it was not meant as one.
            ("delete", name) => {
                self.turn.take_if(|turn| name == turn.to_string());
            }
            // Whatever is asked for now comes after what was said; only an answer to the turn does not change it.
            ("create", _) => {
                self.newest = None;
                if words.ends_with("CallerTurn") {
                    (self.behind, self.keys) = (false, false);
                } else {
                    self.turn = None;
                }
            }
            ("close", "model") => *self = Farewells { goodbye: self.goodbye, ..Farewells::default() },
            ("do", _) if words.contains("connect model") => {
                self.epoch = words.rsplit('e').next().and_then(|digits| digits.parse().ok()).map(Epoch);
            }
            _ => {}
        }
    }
}
