//! Reads a trace as somebody who knows the rules and nothing of how they are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use call::config::{Direction, Keys, Turns};
use call::input::{CarrierInput, Input, ModelError, ModelInput};
use call::trace::Event;
use call::{CallTime, END_CALL, EarInput, Epoch, ItemId, Note, RequestId, ResponseId, ToolCallId};

use super::{Doubt, Judgement, broken, ms, since_made};
use crate::joined::Line;
use crate::seed::Plan;
use crate::world::World;

pub(super) struct Referee<'a> {
    plan: &'a Plan,
    doubt: &'a Doubt,
    /// The connection to the model, being made or made.
    epoch: Option<Epoch>,
    configured: bool,
    /// When the last connection was closed, and whether it was configured then.
    closed: Option<(Duration, bool)>,
    streaming: bool,
    ended: bool,
    caller_speaks: bool,
    /// Which session each came from (N4).
    items: BTreeMap<ItemId, Epoch>,
    responses: BTreeMap<ResponseId, Epoch>,
    /// Why each create was asked for.
    reasons: BTreeMap<RequestId, String>,
    /// A response was asked of this session already.
    session_asked: bool,
    /// The response that greets, and whether any of it was spoken to a session that is still there.
    greeting: Option<ResponseId>,
    greeted: bool,
    /// Our create that was neither answered nor rejected, and since when.
    requested: Option<(RequestId, Duration)>,
    active: Option<ResponseId>,
    /// The create that the active response answers.
    active_request: Option<RequestId>,
    cancelled: BTreeSet<ResponseId>,
    /// What each cancel was of.
    cancels: BTreeMap<RequestId, ResponseId>,
    /// A goodbye was announced, and no create since.
    goodbye_announced: bool,
    goodbye_pending: bool,
    /// The model's own response came before the one that was to say it.
    goodbye_overtaken: bool,
    /// What the pending goodbye is in: asked for, then begun.
    goodbye_request: Option<RequestId>,
    goodbye_response: Option<ResponseId>,
    /// Responses of which audio came.
    spoke: BTreeSet<ResponseId>,
    hang_ups: u32,
    /// Tool calls that exist, by whom and when.
    tools: BTreeMap<ToolCallId, Tool>,
    tools_told: BTreeSet<ToolCallId>,
    /// Those that this session was reminded of.
    tools_remembered: BTreeSet<ToolCallId>,
    responses_done: BTreeMap<ResponseId, Duration>,
    /// Turns of the caller that were not answered yet.
    unanswered: BTreeMap<ItemId, Duration>,
    held_since: Option<Duration>,
    /// It was opened by our own ears, and the model reported nothing since.
    ears_only: bool,
    /// Our own ears hear no voice, or nothing loud enough for one; and the bytes of the frame that came with that (O3).
    ears_silent: bool,
    too_quiet: bool,
    frame: Frame,
    /// Reasons to speak that were stopped by a guard, in the words of the notes.
    waiting: BTreeSet<String>,
    /// Since when no guard of R2 stops anything.
    free_since: Option<Duration>,
    /// The last moment at which something happened that a goodbye has to wait for.
    goodbye_waited_until: Duration,
    pub(super) goodbye_done: Option<Duration>,
    /// The model was told about hearing when the stream was gone already.
    pub(super) told_after_stream: bool,
    /// A create that was interrupted before its response began, and whether that has begun since the last input.
    taken_back: Option<RequestId>,
    began_taken_back: bool,
    /// Kinds of outputs seen since the last input, for the order of an interruption.
    batch: Vec<&'static str>,
    /// Keys pressed, those of them that only end an entry aside; keys told; and when the last was pressed (N10).
    pressed: u64,
    told_keys: u64,
    last_key: Duration,
    /// Where the caller's next audio should begin, whether the gap before it was filled already, and the silence that the
    /// last audio asks for (N7).
    expected_ms: Option<u64>,
    gap_filled: bool,
    silence_due: Option<u64>,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

/// The caller's frame just told: whether it may be withheld from the model, silence in its place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Goes,
    MayStay(u64),
    Stays(u64),
}

/// A function call.
#[derive(Clone, Copy)]
struct Tool {
    response: ResponseId,
    since: Duration,
    epoch: Epoch,
    ends_call: bool,
}

impl<'a> Referee<'a> {
    pub(super) fn new(plan: &'a Plan, doubt: &'a Doubt) -> Self {
        Referee {
            plan,
            doubt,
            epoch: None,
            configured: false,
            closed: None,
            items: BTreeMap::new(),
            responses: BTreeMap::new(),
            reasons: BTreeMap::new(),
            session_asked: false,
            greeting: None,
            greeted: false,
            active_request: None,
            tools_remembered: BTreeSet::new(),
            pressed: 0,
            told_keys: 0,
            last_key: Duration::ZERO,
            expected_ms: None,
            gap_filled: false,
            silence_due: None,
            streaming: false,
            ended: false,
            caller_speaks: false,
            requested: None,
            active: None,
            cancelled: BTreeSet::new(),
            cancels: BTreeMap::new(),
            goodbye_announced: false,
            goodbye_pending: false,
            goodbye_overtaken: false,
            goodbye_request: None,
            goodbye_response: None,
            spoke: BTreeSet::new(),
            hang_ups: 0,
            tools: BTreeMap::new(),
            tools_told: BTreeSet::new(),
            responses_done: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            held_since: None,
            ears_only: false,
            ears_silent: false,
            too_quiet: false,
            frame: Frame::Goes,
            waiting: BTreeSet::new(),
            free_since: None,
            goodbye_waited_until: Duration::ZERO,
            goodbye_done: None,
            told_after_stream: false,
            taken_back: None,
            began_taken_back: false,
            batch: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    pub(super) fn see(&mut self, at: CallTime, event: &Event) -> Judgement {
        let now = since_made(at);
        match event {
            Event::Input(input) => {
                self.judge_batch(now)?;
                self.judge_waiting(now)?;
                if !self.ended {
                    self.input(input, now);
                }
                Ok(())
            }
            Event::Output(words) => self.output(words, now),
        }
    }

    fn input(&mut self, input: &Input, now: Duration) {
        let (epoch, input) = match input {
            Input::Model(epoch, input) if self.epoch == Some(*epoch) => (*epoch, input),
            // What an older connection says is not about this conversation any more (R11).
            Input::Model(..) => return,
            Input::Carrier(input) => return self.carrier_input(input, now),
            Input::Ears(input) => return self.ears_input(*input),
            _ => return,
        };
        match input {
            ModelInput::SpeechStarted { item, .. }
            | ModelInput::Committed { item }
            | ModelInput::ItemAdded { item, .. }
            | ModelInput::Audio { item, .. } => {
                self.items.entry(*item).or_insert(epoch);
            }
            ModelInput::ResponseCreated { response, .. } => {
                self.responses.entry(*response).or_insert(epoch);
            }
            _ => {}
        }
        match input {
            ModelInput::Configured => self.configured = true,
            ModelInput::SpeechStarted { .. } => {
                self.caller_speaks = true;
                self.ears_only = false;
                // Who speaks again will be answered later.
                self.unanswered.clear();
            }
            ModelInput::SpeechStopped { .. } => {
                self.caller_speaks = false;
                self.goodbye_waited_until = now;
            }
            ModelInput::Committed { item } if self.plan.config.turns == Turns::Client => {
                self.unanswered.insert(*item, now);
            }
            ModelInput::ResponseCreated { response, request } => {
                self.began_taken_back = request.is_some() && *request == self.taken_back;
                // If it is not ours, ours was overtaken: what becomes of it the model may say late, or never (R8).
                let overtaken = self.requested.take().map(|(asked, _)| asked).filter(|asked| Some(*asked) != *request);
                if overtaken.is_some() && overtaken == self.goodbye_request {
                    self.goodbye_overtaken = std::mem::take(&mut self.goodbye_pending);
                }
                if request.is_some() && *request == self.goodbye_request {
                    self.goodbye_response = Some(*response);
                    // It was not rejected after all.
                    self.goodbye_pending |= std::mem::take(&mut self.goodbye_overtaken);
                }
                self.active = Some(*response);
                self.active_request = *request;
                let greets = |request: RequestId| self.reasons.get(&request).is_some_and(|reason| reason == "Greeting");
                if request.is_some_and(greets) {
                    self.greeting = Some(*response);
                }
            }
            ModelInput::ResponseDone { response, .. } => {
                self.active.take_if(|active| active == response);
                self.responses_done.insert(*response, now);
                if self.goodbye_response == Some(*response) && !self.spoke.contains(response) {
                    // It came to nothing, and is wanted again (H2).
                    (self.goodbye_pending, self.goodbye_response) = (false, None);
                }
                self.goodbye_waited_until = now;
            }
            ModelInput::Audio { response, .. } => {
                self.spoke.insert(*response);
            }
            ModelInput::TranscriptDone { .. } | ModelInput::CallerTranscript { .. } => self.goodbye_waited_until = now,
            ModelInput::ToolCall { response, call, name, .. } if self.active == Some(*response) => {
                let ends_call = name == END_CALL;
                self.tools.entry(*call).or_insert(Tool { response: *response, since: now, epoch, ends_call });
            }
            ModelInput::Error { request, error } => {
                if request.is_some() && *request == self.requested.map(|(request, _)| request) {
                    self.requested = None;
                    if *request == self.goodbye_request {
                        self.goodbye_pending = false;
                    }
                } else if *error == ModelError::NothingToCancel {
                    // As good as cancelled (B6), and it alone: the response before it may have ended by itself.
                    let none = request.and_then(|request| self.cancels.get(&request));
                    self.active.take_if(|active| none == Some(active));
                }
            }
            _ => {}
        }
    }

    fn carrier_input(&mut self, input: &CarrierInput, now: Duration) {
        match input {
            CarrierInput::Started if !self.streaming => {
                self.streaming = true;
                self.goodbye_waited_until = now;
                // A stream that came back: nobody could be answered meanwhile (N6).
                self.unanswered.values_mut().for_each(|since| *since = now);
                (self.expected_ms, self.gap_filled) = (None, false);
            }
            CarrierInput::Stopped | CarrierInput::Closed => self.stream_gone(),
            CarrierInput::Dtmf(key) => {
                let ends =
                    matches!(self.plan.config.keys, Keys::Collect { terminator, .. } if terminator == Some(*key));
                self.pressed += u64::from(!ends);
                self.last_key = now;
            }
            CarrierInput::Audio { bytes, timestamp_ms } => {
                let gap_ms = self.expected_ms.map_or(0, |expected| timestamp_ms.saturating_sub(expected));
                self.expected_ms = Some(timestamp_ms + u64::from(*bytes) / 8);
                let fills = !std::mem::take(&mut self.gap_filled) && gap_ms > 0 && self.configured;
                self.silence_due = Some(if fills { gap_ms.min(10_000) * 8 } else { 0 });
                let bytes = u64::from(*bytes);
                let guarded = self.plan.config.audio_guard && self.ears_silent && !self.caller_speaks;
                self.frame = match (self.too_quiet, guarded) {
                    (true, _) => Frame::Stays(bytes),
                    (false, true) => Frame::MayStay(bytes),
                    (false, false) => Frame::Goes,
                };
            }
            _ => {}
        }
    }

    fn ears_input(&mut self, input: EarInput) {
        if !self.streaming {
            return;
        }
        match input {
            EarInput::Listening | EarInput::SpeechStopped => self.ears_silent = true,
            EarInput::SpeechStarted | EarInput::Deaf => self.ears_silent = false,
            EarInput::Quiet => self.too_quiet = true,
            EarInput::Loud => self.too_quiet = false,
        }
    }

    fn stream_gone(&mut self) {
        (self.ears_silent, self.too_quiet) = (false, false);
        (self.streaming, self.caller_speaks) = (false, false);
    }

    /// What the session was asked to do is to be asked of the next (N4).
    fn model_gone(&mut self, now: Duration) {
        let asked = self.requested.map(|(request, _)| request);
        let speaking_tools = self.tools.values().any(|tool| Some(tool.response) == self.active && !tool.ends_call);
        let was_goodbye = self.goodbye_pending
            && (asked.is_some_and(|asked| Some(asked) == self.goodbye_request)
                || self.active.is_some_and(|active| Some(active) == self.goodbye_response));
        if was_goodbye {
            (self.goodbye_pending, self.goodbye_request, self.goodbye_response) = (false, None, None);
            self.waiting.insert("Farewell".to_owned());
        } else if !self.goodbye_pending {
            let request = asked.or(self.active_request.filter(|_| self.active.is_some() && !speaking_tools));
            let cancelled = self.active.is_some_and(|active| self.cancelled.contains(&active));
            let reason = request.filter(|_| !cancelled).and_then(|request| self.reasons.get(&request));
            if let Some(reason @ ("CallerTurn" | "ToolResult")) = reason.map(String::as_str) {
                self.waiting.insert(reason.to_owned());
            }
            // What was said in a hold that was not decided, nobody will ever understand.
            if let Some(held) = self.held_since {
                self.unanswered.retain(|_, since| *since < held);
            }
            if !self.unanswered.is_empty() && !speaking_tools && self.plan.config.turns == Turns::Client {
                self.waiting.insert("CallerTurn".to_owned());
            }
        }
        self.unanswered.clear();
        // Of less than a second nobody says that it was heard.
        (self.held_since, self.caller_speaks, self.greeted) = (None, false, false);
        (self.active, self.active_request, self.requested, self.taken_back) = (None, None, None, None);
        self.closed = Some((now, self.configured));
        (self.epoch, self.configured, self.session_asked) = (None, false, false);
        self.tools_remembered.clear();
        self.goodbye_waited_until = now;
    }

    fn output(&mut self, words: &str, now: Duration) -> Judgement {
        if self.ended {
            // `AlreadyEnded` is an answer to the operator.
            return if words == "note AlreadyEnded" {
                Ok(())
            } else {
                broken("L7", now, format!("after the end: {words}"))
            };
        }
        let mut parts = words.split(' ');
        let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let number = name.get(1..).and_then(|digits| digits.parse::<u32>().ok());
        let to_model = matches!(
            kind,
            "create" | "cancel" | "truncate" | "delete" | "tool" | "configure" | "forward" | "remember" | "pressed"
        );
        if to_model && self.epoch.is_none() {
            return broken("N4", now, format!("to a model that is gone: {words}"));
        }
        let session_of = match kind {
            "truncate" | "delete" => self.items.get(&ItemId(number.unwrap_or(u32::MAX))),
            "cancel" => self.responses.get(&ResponseId(number.unwrap_or(u32::MAX))),
            _ => None,
        };
        if session_of.is_some() && session_of != self.epoch.as_ref() {
            return broken("N4", now, format!("{words}: that was in another session"));
        }
        self.told_after_stream |= matches!(kind, "truncate" | "delete") && !self.streaming;
        match kind {
            "create" => {
                self.saw("create");
                return self.create(RequestId(number.unwrap_or(u32::MAX)), parts.next().unwrap_or_default(), now);
            }
            "cancel" => {
                self.saw("cancel");
                let response = ResponseId(number.unwrap_or(u32::MAX));
                let request = number_after(words, " q").and_then(|number| u32::try_from(number).ok());
                self.cancels.extend(request.map(|request| (RequestId(request), response)));
                if !self.cancelled.insert(response) {
                    return broken("B6", now, format!("cancelled twice: {name}"));
                }
            }
            "audio" if self.held_since.is_some() => {
                return broken("B4", now, "played while it is open whether the caller meant to interrupt");
            }
            "clear" => self.saw("clear"),
            "truncate" => self.saw("truncate"),
            "delete" => {
                self.saw("delete");
                self.unanswered.remove(&ItemId(number.unwrap_or(u32::MAX)));
            }
            "tool" => {
                let number = words.rsplit('t').next().and_then(|digits| digits.parse().ok()).unwrap_or(u32::MAX);
                return self.tool_output(ToolCallId(number), now);
            }
            "remember" => return self.remember(words, now),
            "pressed" => {
                self.saw("pressed");
                self.told_keys += number_after(words, "pressed ").unwrap_or(0);
            }
            "forward" if name == "silence" => {
                self.saw("forward silence");
                let bytes = number_after(words, "silence ").unwrap_or(0);
                let Some(due) = self.silence_due else {
                    self.gap_filled = true;
                    return Ok(());
                };
                match self.frame {
                    Frame::Stays(frame) | Frame::MayStay(frame) if bytes == due + frame => {
                        self.saw("silence for what is withheld");
                    }
                    Frame::Goes | Frame::MayStay(_) if bytes == due => {}
                    Frame::Goes | Frame::MayStay(_) | Frame::Stays(_) => {
                        return broken("N7", now, format!("{bytes} bytes of silence for a gap of {due}"));
                    }
                }
                self.silence_due = Some(0);
            }
            "forward" if name.is_empty() && matches!(self.frame, Frame::Stays(_)) => {
                return broken("O3", now, "what is too quiet to be a voice reached the model");
            }
            "forward" if name.is_empty() && self.silence_due.is_some_and(|due| due > 0) => {
                return broken("N7", now, format!("a gap of {:?} bytes is not filled", self.silence_due));
            }
            "keep" if name == "filler" => self.saw("filler"),
            "keep" if name == "apology" => self.saw("apology"),
            "keep" if name == "tones" => self.saw("tones"),
            "resume" => self.saw("resume stream"),
            "do" if words.contains("connect model") => {
                self.epoch = words.rsplit('e').next().and_then(|digits| digits.parse().ok()).map(Epoch);
            }
            "do" if words.ends_with("hang up") => {
                self.hang_ups += 1;
                if self.hang_ups > self.plan.config.hang_up_attempts {
                    return broken("H10", now, format!("{} attempts to hang up", self.hang_ups));
                }
            }
            "close" if name == "model" => self.model_gone(now),
            "close" if name == "carrier" => self.stream_gone(),
            "ended" => self.ended = true,
            // What a model begins by itself may stand for the response that was to say goodbye (H9, R8).
            "note"
                if name == "GoodbyeDone"
                    && !self.goodbye_pending
                    && !words.contains("Unspoken")
                    && self.plan.config.turns == Turns::Client
                    && self.plan.behaviours().all(|behaviour| behaviour.spontaneous.is_empty()) =>
            {
                return broken("H2", now, "a goodbye was carried out that was not pending");
            }
            "note"
                if name == "ModelLost"
                    && self.epoch.is_none_or(|epoch| !words.contains(&format!("epoch: {epoch},"))) =>
            {
                return broken("R11", now, format!("{words}, and that is not the connection that is there"));
            }
            "note" if name == "GoodbyeDone" && (self.caller_speaks || self.active.is_some()) => {
                return broken("H2", now, "a goodbye was carried out over somebody who speaks");
            }
            "note" if name == "Resumed" && self.caller_speaks && self.streaming => {
                return broken("B4", now, "played on while the caller speaks");
            }
            "note" if name == "Interrupted" && self.ears_only && self.held_since.is_some() => {
                return broken("B4", now, "interrupted by what the model never heard");
            }
            "note" => self.note(words, name, now),
            _ => {}
        }
        Ok(())
    }

    fn saw(&mut self, kind: &'static str) {
        self.batch.push(kind);
        *self.counts.entry(kind).or_default() += 1;
    }

    fn note(&mut self, words: &str, name: &str, now: Duration) {
        match name {
            // Also when the floor was freed without the model's saying so.
            "CallerStopped" => self.caller_speaks = false,
            "AgentStarted" => {
                self.unanswered.clear();
                self.greeted |= self.greeting.is_some() && self.greeting == self.active;
            }
            "EarsHeard" => {
                self.ears_only = true;
                self.saw("our own ears open a hold");
            }
            "Held" => self.held_since = Some(now),
            "Resumed" => {
                if std::mem::take(&mut self.ears_only) {
                    self.saw("what only our own ears heard is nothing");
                }
                // What was said in the hold was nothing.
                if let Some(held) = self.held_since.take() {
                    self.unanswered.retain(|_, since| *since < held);
                }
                self.goodbye_waited_until = now;
            }
            "Interrupted" => {
                self.held_since = None;
                self.taken_back = self.requested.map(|(request, _)| request);
                // A model that cannot be told goes on with it all the same.
                self.active_request = None;
                self.batch.push("interrupted");
            }
            "Dropped" if words.contains("QueueFull") => self.batch.push("runaway"),
            "GoodbyeWithdrawn" => {
                self.held_since = None;
                self.waiting.remove("Farewell");
                (self.goodbye_announced, self.goodbye_pending, self.goodbye_overtaken) = (false, false, false);
            }
            "GoodbyeWanted" => {
                self.held_since = None;
                self.unanswered.clear();
                // A caller who said nothing but goodbye is answered by a goodbye (H9).
                self.waiting.remove("CallerTurn");
            }
            "NotAsking" if words.contains("waits: true") => {
                let reason = words.split("reason: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
                self.waiting.insert(reason.to_owned());
            }
            "GoodbyePending" => {
                self.unanswered.clear();
                self.waiting.remove("Farewell");
                (self.goodbye_pending, self.goodbye_overtaken) = (true, false);
                // In a response that was asked for already, or in one that is asked for right now.
                let asked = self.requested.map(|(request, _)| request);
                self.goodbye_announced = words.contains("response: None") && asked.is_none();
                let bound = words.split("Some(r").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
                (self.goodbye_request, self.goodbye_response) = (asked, bound.map(ResponseId));
            }
            "GoodbyeDone" if !words.contains("Unspoken") => self.goodbye_done = Some(now),
            // The rules know of no more than two attempts (R10).
            _ if words.contains("came to nothing twice") => self.unanswered.clear(),
            _ => {}
        }
    }

    /// R1, R2: one gate, one slot, five guards.
    fn create(&mut self, request: RequestId, reason: &str, now: Duration) -> Judgement {
        if !self.configured {
            return broken("R2", now, "asked of a model that is not configured");
        }
        if self.caller_speaks && reason != "Greeting" {
            return broken("R2", now, format!("{reason} asked for while the caller speaks"));
        }
        if self.goodbye_pending && !(reason == "Farewell" && self.goodbye_announced) {
            return broken("R2", now, format!("{reason} asked for while a goodbye is pending"));
        }
        if self.hang_ups > 0 {
            return broken("R2", now, format!("{reason} asked for while hanging up"));
        }
        if let Some(active) = self.active {
            return broken("R2", now, format!("{reason} asked for while {active} is active"));
        }
        if let Some((outstanding, since)) = self.requested
            && now < since + self.plan.config.requested_timeout
        {
            return broken("R1", now, format!("{reason} asked for while {outstanding} is not answered"));
        }
        if reason == "Greeting" && self.greeted {
            return broken("G1", now, "greeted a second time");
        }
        self.reasons.insert(request, reason.to_owned());
        if reason == "Greeting" && self.plan.direction == Direction::Outbound {
            // It answers the callee's "Hello?" (G1).
            self.unanswered.clear();
        }
        self.session_asked = true;
        if std::mem::take(&mut self.goodbye_announced) {
            self.goodbye_request = Some(request);
        }
        self.held_since = None;
        self.waiting.remove(reason);
        if matches!(reason, "CallerTurn" | "ToolResult") {
            // One plain create answers both (R3).
            self.waiting.remove("CallerTurn");
            self.waiting.remove("ToolResult");
        }
        self.requested = Some((request, now));
        Ok(())
    }

    /// N2: exactly one, when the response that called is over.
    fn tool_output(&mut self, call: ToolCallId, now: Duration) -> Judgement {
        let Some(Tool { response, epoch, .. }) = self.tools.get(&call) else {
            return broken("N2", now, format!("an output for {call}, which nobody called"));
        };
        if self.active == Some(*response) {
            return broken("N2", now, format!("an output for {call} while {response} goes on"));
        }
        if Some(*epoch) != self.epoch {
            return broken("N4", now, format!("an output for {call}, which another session called"));
        }
        if !self.tools_told.insert(call) {
            return broken("N2", now, format!("a second output for {call}"));
        }
        *self.counts.entry("tool output").or_default() += 1;
        let ours = |tool: &&Tool| Some(tool.epoch) == self.epoch && !tool.ends_call;
        let all_told = self.tools.iter().filter(|(_, tool)| ours(tool)).all(|(call, _)| self.tools_told.contains(call));
        if all_told && self.tools.get(&call).as_ref().is_some_and(ours) {
            // To be spoken about, as soon as nothing stops it.
            self.waiting.insert("ToolResult".to_owned());
        }
        Ok(())
    }

    /// N4: what a session is told that was not there.
    fn remember(&mut self, words: &str, now: Duration) -> Judgement {
        let call = words.rsplit('t').next().and_then(|digits| digits.parse().ok()).map(ToolCallId);
        if words.starts_with("remember output") {
            self.saw("remember output");
            let call = call.unwrap_or(ToolCallId(u32::MAX));
            if !self.tools.contains_key(&call) || !self.tools_remembered.insert(call) {
                return broken("N4", now, format!("{words}: unknown, or a second time"));
            }
            self.tools_told.insert(call);
        } else if !words.starts_with("remember call ") && !words.ends_with(" keys") {
            self.saw("remember");
            if self.session_asked {
                return broken("N4", now, format!("{words}: after it was asked to speak"));
            }
        }
        Ok(())
    }

    /// B1: stop, clear, cancel, then tell what was heard.
    fn judge_batch(&mut self, now: Duration) -> Judgement {
        let batch = std::mem::take(&mut self.batch);
        self.silence_due = None;
        if batch.contains(&"create") && self.configured {
            // What a tool answered is remembered before anything is asked.
            let forgotten = self.tools.iter().find(|(call, tool)| {
                !tool.ends_call
                    && Some(tool.epoch) != self.epoch
                    && self.tools_told.contains(call)
                    && !self.tools_remembered.contains(call)
            });
            if let Some((call, _)) = forgotten {
                return broken("N4", now, format!("{call} and its output are not told to the new session"));
            }
        }
        let cancels = self.plan.config.abilities.cancels;
        if std::mem::take(&mut self.began_taken_back) && cancels && !batch.contains(&"cancel") {
            return broken("B6", now, "what was interrupted before it began was not cancelled when it did");
        }
        // A runaway is cancelled before that lets something else interrupt it (A1).
        if batch.contains(&"interrupted") && !batch.contains(&"runaway") {
            let rank = |kind: &str| ["clear", "cancel", "truncate"].iter().position(|known| *known == kind);
            let ranks: Vec<usize> = batch.iter().filter_map(|kind| rank(kind)).collect();
            if !ranks.is_sorted() {
                return broken("B1", now, format!("in the wrong order: {batch:?}"));
            }
        }
        Ok(())
    }

    /// What waits must not wait for ever.
    fn judge_waiting(&mut self, now: Duration) -> Judgement {
        let (config, behaviour) = (&self.plan.config, &self.plan.behaviour);
        let guarded = !self.configured
            || !self.streaming
            || self.caller_speaks
            || self.held_since.is_some()
            || self.goodbye_pending
            || self.hang_ups > 0
            || self.requested.is_some_and(|(_, since)| now < since + config.requested_timeout)
            || self.active.is_some();
        if guarded {
            self.free_since = None;
        } else if !self.waiting.is_empty() {
            let since = *self.free_since.get_or_insert(now);
            // The model may have asked for patience (R8, R10).
            if now > since + config.requested_timeout + self.doubt.frozen + ms(100) {
                return broken("R3", now, format!("{:?} waits since {since:?}, and nothing stops it", self.waiting));
            }
        }
        // The model may report at the last moment what our own ears heard, and say as late that it ended.
        let ears = if self.plan.faults.ears.is_some() { config.vad_silence + config.ears_report_max } else { ms(0) };
        if let Some(since) = self.held_since
            // A second utterance within the hold may begin when the first is waiting for its transcript.
            && now > since + config.hold_max + config.hold_transcript_wait * 2 + ears + self.doubt.frozen + ms(20)
        {
            return broken("B4", now, format!("a hold since {since:?} is not decided"));
        }
        let answering =
            behaviour.create_latency + behaviour.first_audio + behaviour.done_latency + behaviour.cancel_latency;
        let patience = answering * 3 + config.tool_timeout * 2 + Duration::from_secs(15) + self.doubt.all;
        if !self.streaming {
            return Ok(());
        }
        if let Some((item, since)) = self.unanswered.iter().find(|(_, since)| now > **since + patience) {
            return broken("T1", now, format!("{item}, committed at {since:?}, is not answered"));
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, world: &World, line: &Line) -> Judgement {
        let now = world.now();
        self.judge_batch(now)?;
        let Some((ended_at, _)) = world.ended else { return Ok(()) };
        if !self.ended {
            return broken("L7", now, "the trace has no end");
        }
        for (call, Tool { response, since, ends_call, .. }) in &self.tools {
            let lost = self.last_ready_after(world, *since);
            let done = match (self.responses_done.get(response), lost) {
                (_, Lost::ForGood) => continue,
                // A request to end the call is not one of the next session's.
                (_, Lost::Since(_)) if *ends_call => continue,
                (Some(done), Lost::Since(ready)) => ready.max(*done),
                (None, Lost::Since(ready)) => ready,
                (Some(done), Lost::Never) => *done,
                (None, Lost::Never) => continue,
            };
            let due = (*since).max(done) + self.plan.config.tool_timeout + self.doubt.frozen + ms(50);
            if !self.tools_told.contains(call) && due < ended_at {
                return broken("N2", due, format!("{call} never got an output"));
            }
        }
        // Keys come in at a model that is there.
        let pause = if let Keys::Collect { pause, .. } = self.plan.config.keys { pause } else { Duration::ZERO };
        let told = self.told_keys;
        let came = self.closed == Some((ended_at, true));
        if told > self.pressed
            || (came && told < self.pressed && self.last_key + pause + self.doubt.frozen + ms(100) < ended_at)
        {
            return broken("N10", now, format!("{} keys were pressed, {told} were told", self.pressed));
        }
        self.judge_goodbye(line)
    }

    /// Whether the model was lost after this moment, and since when one is there again for the last time.
    fn last_ready_after(&self, world: &World, at: Duration) -> Lost {
        let mut state = Lost::Never;
        for (noted, note) in &world.notes {
            match note {
                Note::ModelLost { .. } if *noted >= at => state = Lost::ForGood,
                Note::ModelReady { .. } if state != Lost::Never => state = Lost::Since(*noted),
                _ => {}
            }
        }
        // It may have been given up without being lost; one that is there is closed by the end.
        let ended = world.ended.map(|(at, _)| at);
        if self.closed.map(|(at, _)| at) == ended { state } else { Lost::ForGood }
    }

    /// A goodbye that was heard ends the call: within a second, or when marks are lost, when their time is over (A8).
    fn judge_goodbye(&self, line: &Line) -> Judgement {
        let Some(done) = self.goodbye_done else { return Ok(()) };
        let stream = &self.plan.stream;
        // A carrier that is gone without a word returns none either.
        let vanished = stream.close_without_stop && stream.stop_without_close;
        let marks = stream.marks_never || !stream.marks_lost.is_empty();
        let grace = if marks { self.plan.config.mark_grace } else { Duration::ZERO };
        let heard = line.audible.last().map_or(Duration::ZERO, |span| span.end);
        if vanished {
            return Ok(());
        }
        let due = heard.max(self.goodbye_waited_until) + Duration::from_secs(1) + grace + self.doubt.all;
        if done > due {
            return broken(
                "H8",
                done,
                format!("goodbye was heard at {heard:?}, and nothing else to wait for by {due:?}"),
            );
        }
        Ok(())
    }
}

/// Whether the model was lost, and is there again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Never,
    Since(Duration),
    ForGood,
}

fn number_after(words: &str, what: &str) -> Option<u64> {
    words.split_once(what)?.1.split(' ').next()?.parse().ok()
}
