//! What the model told: noted, part by part. What follows from it is `due`'s.

use std::time::Duration;

use super::{Call, END_CALL, Greeting, Overtaken};
use crate::config::Turns;
use crate::edits::{Edit, Edits};
use crate::ending::{Bound, Goodbye, Pending};
use crate::farewell;
use crate::id::{Epoch, ItemId, RequestId, ResponseId};
use crate::input::{ItemKind, ModelError, ModelInput, ResponseStatus, Usage};
use crate::model::{Link, Outage};
use crate::output::{Command, DropReason, EndReason, Local, ModelOutput, Note, Output, Reason, Remembered};
use crate::planted::{Fault, planted};
use crate::response::{Active, Again, Ask, Slot};
use crate::tools::Told;
use crate::turn::Commit;

impl Call {
    pub(super) fn on_model(&mut self, epoch: Epoch, input: ModelInput) {
        match input {
            ModelInput::Connected => self.on_connected(epoch),
            ModelInput::Lost { fatal } => self.on_lost(epoch, fatal),
            ModelInput::Configured => self.on_configured(epoch),
            ModelInput::SpeechStarted { item, at_ms } => self.on_speech_started(item, at_ms),
            ModelInput::SpeechStopped { item, at_ms } => self.on_speech_stopped(item, at_ms),
            ModelInput::Committed { item } => self.on_committed(item),
            ModelInput::CallerTranscript { item, text } => self.on_caller_transcript(item, text.as_deref()),
            ModelInput::ResponseCreated { response, request } => self.on_response_created(response, request),
            ModelInput::ItemAdded { response, item, kind } => self.on_item_added(response, item, kind),
            ModelInput::Audio { response, item, bytes } => self.on_audio(response, item, bytes),
            ModelInput::AudioDone { response, item } => {
                self.goes_on(response);
                self.playback.close_item(item);
                if planted(Fault::RetiredOnItemDone)
                    && let Slot::Active(active) = std::mem::take(&mut self.slot)
                {
                    self.finish(active, ResponseStatus::Completed);
                }
            }
            ModelInput::TranscriptDelta { response, item, text } => {
                self.goes_on(response);
                if self.is_known(response) {
                    self.transcript.agent_said_more(item, &text);
                }
            }
            ModelInput::TranscriptDone { response, item, text } => self.on_transcript_done(response, item, text),
            ModelInput::ToolCall { response, call, name, arguments, .. } => {
                self.on_tool_call(response, call, name, arguments);
            }
            ModelInput::ResponseDone { response, status, usage } => self.on_response_done(response, status, usage),
            ModelInput::Error { request, error } => self.on_error(request, error),
        }
    }

    fn on_connected(&mut self, epoch: Epoch) {
        if let Link::Connecting { .. } = self.link {
            let request = self.request();
            self.link = Link::Configuring { epoch, since: self.now, request };
            self.outputs.push_back(Output::Model(ModelOutput::Configure { request }));
        }
    }

    fn on_configured(&mut self, epoch: Epoch) {
        if let Link::Configuring { .. } = self.link {
            self.link = Link::Ready { epoch };
            self.note(Note::ModelReady { epoch });
            self.outage = None;
            // The first has nothing to be told yet.
            self.tell_history();
            let bytes = self.uplink.release();
            if bytes > 0 {
                self.outputs.push_back(Output::ForwardHeld { bytes });
            }
        }
    }

    /// The connection is gone: another is made, if that can help, and told what was said (N4).
    pub(super) fn on_lost(&mut self, epoch: Epoch, fatal: bool) {
        self.note(Note::ModelLost { epoch, fatal });
        let now = self.now;
        let mut outage = self.outage.unwrap_or(Outage::new(now));
        let again_at = outage.next_attempt(now, &self.config);
        if fatal || outage.ends(&self.config).is_none_or(|ends| ends <= again_at) {
            return self.give_the_model_up();
        }
        self.outage = Some(outage);
        self.outputs.push_back(Output::CloseModel);
        self.link = Link::Lost { again_at };
        self.forget_session();
    }

    /// What a session knew, and we of it, is void; what it left undone is to be done by the next (N4).
    pub(super) fn forget_session(&mut self) {
        self.lost_items = self.last_item.filter(|_| !planted(Fault::OldItemsSpokenOf));
        self.edits = Edits::default();
        self.tools.lose_session();
        self.not_before = None;
        if let Some(Overtaken { ask, cancel: false }) = self.overtaken.take() {
            self.ask_later(&ask);
        }
        match std::mem::take(&mut self.slot) {
            Slot::Idle => {}
            Slot::Requested { ask, cancel: false } => self.ask_later(&ask),
            Slot::Requested { cancel: true, .. } => {}
            Slot::Cancelling { active, .. } => self.retire(active, true),
            Slot::Active(active) => {
                // What was accepted plays out; a goodbye of which more was to come is said again, and answers for all.
                let was_goodbye = self.ending.goodbye.is_bound_to(active.response);
                if was_goodbye && let Goodbye::Pending(Pending { why, again, .. }) = self.ending.goodbye {
                    self.ending.goodbye = Goodbye::Wanted { why, again };
                }
                let ask = active.ask.clone().filter(|_| !was_goodbye);
                let unsaid = !active.spoke;
                let runs_tools = self.tools.will_speak_of(active.response);
                self.retire(active, true);
                if let Some(ask) = ask {
                    self.ask_again_after_loss(&ask, unsaid, runs_tools);
                }
            }
        }
        self.floor.forget();
    }

    fn ask_again_after_loss(&mut self, ask: &Ask, unsaid: bool, runs_tools: bool) {
        let greeted = self.greeting_began.is_some_and(|began| began + GREETED <= self.now);
        let again = match ask.reason {
            // A tool that runs on is not asked for twice: its result will be the answer (N2).
            Reason::CallerTurn | Reason::ToolResult => !runs_tools,
            Reason::Greeting => !greeted,
            Reason::Say => unsaid,
            Reason::Farewell | Reason::IdlePrompt => false,
        };
        if again && !planted(Fault::TurnLostWithModel) {
            self.waiting.put_back(ask, ask.again);
        }
    }

    /// What was said so far, in its order, for a session that was not there (N4).
    fn tell_history(&mut self) {
        let tools = self.tools.told().flat_map(|(at, told)| told_as(told.clone()).map(|what| (*at, what)));
        let keys = self.keypad.told().map(|(at, keys)| (*at, Remembered::Keys(keys.clone())));
        let mut history: Vec<_> = self.transcript.history().chain(tools).chain(keys).collect();
        history.sort_by_key(|(at, _)| *at);
        let most = if planted(Fault::NewSessionKnowsNothing) { 0 } else { self.config.history_turns };
        let skip = history.len().saturating_sub(most);
        for (_, what) in history.into_iter().skip(skip) {
            self.remember(what);
        }
    }

    pub(super) fn remember(&mut self, what: Remembered) {
        let request = self.request();
        self.outputs.push_back(Output::Model(ModelOutput::Remember { request, what }));
    }

    fn on_speech_started(&mut self, item: ItemId, at_ms: u64) {
        self.last_item = self.last_item.max(Some(item));
        self.note(Note::CallerStarted);
        self.idle.caller_spoke();
        self.transcript.caller_started(item, self.now);
        self.floor.speech_started(item, at_ms, self.is_protected(), self.now);
        self.caller_took_the_floor();
    }

    /// The caller speaks, and nothing forbids that it counts.
    pub(super) fn caller_took_the_floor(&mut self) {
        if self.is_protected() || self.floor.is_held() {
            return;
        }
        if self.is_interruptible() {
            if self.may_hold() { self.hold() } else { self.interrupt() }
        } else if self.slot.ask().is_some_and(|ask| ask.reason != Reason::Greeting) && !self.slot.is_cancelled() {
            // Nothing of it was sent yet: both turns are answered together (T1).
            self.take_back_unheard();
            let announced = self.announced_messages();
            self.cancel_response();
            for item in announced {
                self.edit(Edit::Delete { item });
            }
        }
    }

    fn on_speech_stopped(&mut self, item: ItemId, at_ms: u64) {
        self.note(Note::CallerStopped);
        self.caller_stopped = Some(self.now);
        self.transcript.caller_stopped(item, self.now);
        self.floor.speech_stopped(item, at_ms, self.now, &self.config);
    }

    fn on_committed(&mut self, item: ItemId) {
        self.last_item = self.last_item.max(Some(item));
        match self.floor.committed(item) {
            Commit::Undecided => {}
            Commit::Turn if planted(Fault::ProtectedSpeechLost) && self.is_protected() => {}
            Commit::Unwanted => self.delete_caller_item(item),
            Commit::Turn => self.want_turn(item),
        }
    }

    pub(super) fn want_turn(&mut self, item: ItemId) {
        // The callee's "Hello?" is answered by the greeting (G1).
        if let Greeting::AfterCallee { .. } = self.greeting {
            return self.want_greeting();
        }
        if self.config.turns == Turns::Model {
            return;
        }
        self.last_turn = Some(item);
        match &mut self.slot {
            // It was in the conversation before the response began: the same response answers it (T1).
            Slot::Requested { ask, cancel: false } if ask.text.is_none() => ask.answers = Some(item),
            Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. } => {
                self.waiting.want_turn(Some(item));
            }
        }
    }

    fn on_caller_transcript(&mut self, item: ItemId, text: Option<&str>) {
        if let Some(text) = text {
            self.transcript.caller_said(item, text);
            self.note(Note::TurnEnded { item });
        }
        if self.floor.is_in_hold(item) {
            return self.floor.transcript(item, text, &self.config);
        }
        // A caller who says only goodbye is answered by one, and by no other (H9).
        if self.ending.goodbye != Goodbye::None
            || planted(Fault::CallerFarewellIgnored)
            || self.last_turn.is_some_and(|turn| turn != item)
            || !text.is_some_and(|text| farewell::is_only_farewell(text, &self.config.languages))
        {
            return;
        }
        if self.waiting.turn.is_some_and(|turn| turn.item == Some(item)) {
            self.waiting.turn = None;
            return self.want_goodbye(EndReason::Goodbye);
        }
        let answered_by = match &self.slot {
            Slot::Requested { ask, cancel: false } if ask.answers == Some(item) => Some(Bound::Request(ask.request)),
            Slot::Active(active) if active.ask.as_ref().is_some_and(|ask| ask.answers == Some(item)) => {
                Some(Bound::Response(active.response))
            }
            Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. } => self
                .memory
                .answering(item)
                .filter(|ended| !ended.cancelled && self.playback.is_response_audible(ended.response, self.now))
                .map(|ended| Bound::Response(ended.response)),
        };
        match answered_by {
            Some(bound) => self.pend_goodbye(EndReason::Goodbye, bound, false),
            // Who speaks again already has more to say than goodbye.
            None if self.is_caller_going_on() => {}
            None => self.want_goodbye(EndReason::Goodbye),
        }
    }

    fn on_response_created(&mut self, response: ResponseId, request: Option<RequestId>) {
        if let Some(Overtaken { ask, cancel }) =
            self.overtaken.take_if(|overtaken| Some(overtaken.ask.request) == request)
        {
            // It was not rejected after all: the one that overtook it is over.
            if let Slot::Active(active) | Slot::Cancelling { active, .. } = std::mem::take(&mut self.slot) {
                self.note(Note::Odd("a response began before the one before it was done"));
                self.retire(active, true);
            }
            self.activate(response, Some(ask));
            if cancel {
                self.cancel_response();
            }
            return;
        }
        if self.is_known(response) {
            return self.note(Note::Odd("a response began twice"));
        }
        match std::mem::take(&mut self.slot) {
            Slot::Requested { ask, cancel } if request == Some(ask.request) => {
                self.activate(response, Some(ask));
                if cancel {
                    self.cancel_response();
                }
            }
            Slot::Requested { ask, cancel } => {
                // The model was faster. Its own response answers the caller just as well; a tool's result it does not
                // know of (RACES a). Ours will be rejected.
                let automatic = (ask.reason == Reason::CallerTurn).then(|| ask.clone());
                self.overtaken = Some(Overtaken { ask, cancel });
                self.activate(response, automatic);
                if cancel {
                    self.cancel_response();
                }
            }
            Slot::Idle => self.activate(response, None),
            Slot::Active(active) | Slot::Cancelling { active, .. } => {
                self.note(Note::Odd("a response began before the one before it was done"));
                self.retire(active, true);
                self.activate(response, None);
            }
        }
    }

    fn activate(&mut self, response: ResponseId, ask: Option<Ask>) {
        if let (Some(ask), Goodbye::Pending(pending)) = (&ask, &mut self.ending.goodbye)
            && pending.bound == Bound::Request(ask.request)
        {
            pending.bound = Bound::Response(response);
        }
        if ask.as_ref().is_some_and(|ask| ask.reason == Reason::Greeting) {
            self.greeting_response = Some(response);
        }
        self.note(Note::ResponseBegan { response, reason: ask.as_ref().map(|ask| ask.reason) });
        self.slot = Slot::Active(Active::new(response, ask, self.now));
    }

    /// A sign that the model works on this response (R10).
    fn goes_on(&mut self, response: ResponseId) {
        let now = self.now;
        if let Some(active) = self.slot.occupant_mut().filter(|active| active.response == response) {
            active.last_output = now;
        }
    }

    fn on_item_added(&mut self, response: ResponseId, item: ItemId, kind: ItemKind) {
        self.goes_on(response);
        self.last_item = self.last_item.max(Some(item));
        match &mut self.slot {
            Slot::Active(active) if active.response == response => active.note_item(item, kind),
            // Announced after its response was cancelled: it never happened (B1).
            Slot::Cancelling { active, .. } if active.response == response && kind == ItemKind::Message => {
                self.edit(Edit::Delete { item });
            }
            Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. } => {}
        }
    }

    fn on_audio(&mut self, response: ResponseId, item: ItemId, bytes: u32) {
        let now = self.now;
        self.goes_on(response);
        let audible = if planted(Fault::StaleAudioPlayed) { self.slot.occupant_mut() } else { self.slot.active_mut() };
        let Some(active) = audible.filter(|active| active.response == response) else {
            return self.drop_audio(DropReason::StaleResponse, bytes);
        };
        if bytes == 0 {
            return;
        }
        if !self.playback.accept(response, item, bytes, &self.config) {
            self.drop_audio(DropReason::QueueFull, bytes);
            return self.cancel_response();
        }
        self.outputs.push_back(Output::KeepAudio);
        self.last_item = self.last_item.max(Some(item));
        self.tally.audio_out += 1;
        self.transcript.agent_accepted(response, item, bytes);
        active.first_output.get_or_insert(now);
        if !std::mem::replace(&mut active.spoke, true) {
            if let Some(ask) = &active.ask {
                self.tally.model_first_audio(now.since(ask.at));
            }
            self.speaking.push_back(response);
            self.note(Note::AgentStarted { response });
        }
    }

    fn on_transcript_done(&mut self, response: ResponseId, item: ItemId, text: String) {
        if !self.is_known(response) {
            return;
        }
        self.goes_on(response);
        self.transcript.agent_said(item, &text);
        let (said, cancelled) = match &mut self.slot {
            Slot::Active(active) if active.response == response => (&mut active.said, false),
            Slot::Cancelling { active, .. } if active.response == response => (&mut active.said, true),
            Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. } => {
                match self.memory.get_mut(response).filter(|_| !planted(Fault::TranscriptLastForgotten)) {
                    Some(ended) => (&mut ended.said, ended.cancelled),
                    None => return,
                }
            }
        };
        match said.iter_mut().find(|(known, _)| *known == item) {
            Some((_, known)) => *known = text,
            None => said.push((item, text)),
        }
        if cancelled || self.ending.goodbye.is_pending() {
            return;
        }
        let all = said.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
        if farewell::says_farewell(&all, &self.config.languages) {
            let complete = self.slot.occupant().is_none_or(|active| active.response != response);
            if !complete && planted(Fault::TranscriptFirstForgotten) {
                return;
            }
            self.pend_goodbye(EndReason::Goodbye, Bound::Response(response), complete);
        }
    }

    fn on_tool_call(&mut self, response: ResponseId, call: crate::id::ToolCallId, name: String, arguments: String) {
        let now = self.now;
        // One that was complete before its response was cancelled exists, and is owed its output (N2).
        let cancelled = self.slot.is_cancelled();
        let Some(active) = self.slot.occupant_mut().filter(|active| active.response == response) else {
            return self.note(Note::Odd("a function call of a response that is not active"));
        };
        active.first_output.get_or_insert(now);
        active.last_output = now;
        active.called_tools = true;
        if name == END_CALL {
            self.tools.answered_at_once(call, response, "{\"ok\":true}", now);
            if cancelled {
                return;
            }
            if active.spoke {
                if !self.ending.goodbye.is_pending() {
                    self.pend_goodbye(EndReason::Goodbye, Bound::Response(response), false);
                }
            } else {
                // Speech may still follow in the same response; then the goodbye is in it (H11).
                active.ends_call = !planted(Fault::EndCallIgnored);
            }
            return;
        }
        let command = self.command();
        if self.tools.started(call, response, &name, &arguments, command, now) {
            self.tally.tool_started(&name, now.since(self.stream_started.unwrap_or_default()));
            self.note(Note::ToolStarted { call, response });
            self.outputs.push_back(Output::Do(command, Command::RunTool { call, name, arguments }));
        }
    }

    fn on_response_done(&mut self, response: ResponseId, status: ResponseStatus, usage: Usage) {
        self.tally.used(usage);
        self.not_before = None;
        match std::mem::take(&mut self.slot) {
            Slot::Active(active) if active.response == response => {
                self.finish(active, status);
            }
            Slot::Cancelling { active, .. } if active.response == response => self.retire(active, true),
            other @ (Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. }) => {
                self.slot = other
            }
        }
    }

    /// A response ended that we had not cancelled.
    fn finish(&mut self, mut active: Active, status: ResponseStatus) {
        let ask = active.ask.clone();
        let response = active.response;
        let (spoke, called_tools) = (active.spoke, active.called_tools);
        let ends_call = std::mem::take(&mut active.ends_call);
        if spoke {
            self.substitute_answered(&active);
        }
        self.retire(active, status == ResponseStatus::Cancelled);
        if status == ResponseStatus::Cancelled {
            // By the model itself, before it said anything: that answers nobody (R10). One that hears turns by itself
            // does so when the caller goes on, and answers by itself.
            if let Some(ask) = ask.filter(|_| !spoke && !called_tools && self.config.turns == Turns::Client) {
                self.try_again(&ask);
            }
            return;
        }
        if let ResponseStatus::Failed(ModelError::Fatal) = status {
            return self.give_the_model_up();
        }
        if ends_call && !self.ending.goodbye.is_pending() {
            return if spoke {
                self.pend_goodbye(EndReason::Goodbye, Bound::Response(response), true);
            } else {
                self.want_goodbye(EndReason::Goodbye);
            };
        }
        let was_goodbye = self.ending.goodbye.is_bound_to(response);
        if spoke || (called_tools && !was_goodbye) {
            return;
        }
        // It failed, or came back empty (R10, H2).
        let patience = match status {
            ResponseStatus::Failed(error) => patience(error),
            ResponseStatus::Completed | ResponseStatus::Cancelled | ResponseStatus::Incomplete => Duration::ZERO,
        };
        self.wait_for(patience);
        if was_goodbye {
            self.goodbye_came_to_nothing();
        } else if let Some(ask) = ask {
            self.try_again(&ask);
        }
    }

    /// Asks once more for what came to nothing; the second time it is given up.
    fn try_again(&mut self, ask: &Ask) {
        if !ask.again {
            return self.waiting.put_back(ask, true);
        }
        self.note(Note::Odd("a response came to nothing twice"));
        if ask.reason == Reason::CallerTurn {
            self.say_local(Local::Apology);
        }
    }

    /// Nothing is asked of the model for so long (R10).
    fn wait_for(&mut self, patience: Duration) {
        if patience > Duration::ZERO {
            self.not_before = Some(self.now + patience);
        }
    }

    fn on_error(&mut self, request: Option<RequestId>, error: ModelError) {
        if error == ModelError::Fatal {
            return self.give_the_model_up();
        }
        if let Link::Configuring { request: configure, .. } = self.link
            && request == Some(configure)
        {
            // A rejected configuration is our mistake; nothing will come of asking again.
            return self.give_the_model_up();
        }
        if self.overtaken.as_ref().is_some_and(|overtaken| Some(overtaken.ask.request) == request) {
            return self.overtaken_came_to_nothing();
        }
        if error == ModelError::NothingToCancel && !self.is_cancelled_by(request) {
            // It had ended by itself before our cancel arrived (B6).
            return;
        }
        match std::mem::take(&mut self.slot) {
            Slot::Requested { ask, cancel } if Some(ask.request) == request => {
                if cancel {
                    return;
                }
                if error == ModelError::Collision {
                    self.note(Note::Collided { request: ask.request, reason: ask.reason });
                    self.wait_for(self.config.requested_timeout);
                    if planted(Fault::CollisionForgotten) {
                        return;
                    }
                    return self.ask_later(&ask);
                }
                self.wait_for(patience(error));
                if self.is_goodbye_asked_by(ask.request) {
                    return self.goodbye_came_to_nothing();
                }
                self.try_again(&ask);
            }
            Slot::Cancelling { active, request: cancel, .. }
                if Some(cancel) == request && error == ModelError::NothingToCancel =>
            {
                // As good as cancelled (B6).
                self.retire(active, true);
            }
            other @ (Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. }) => {
                self.slot = other;
                if !request.is_some_and(|request| self.edits.rejected(request)) {
                    self.note(Note::ModelComplained { request, error });
                }
            }
        }
    }

    /// The model's own response came first, and ours was rejected: that one answered the caller just as well, but it
    /// knew of nothing else (RACES a).
    pub(super) fn overtaken_came_to_nothing(&mut self) {
        let Some(Overtaken { ask, cancel }) = self.overtaken.take() else { return };
        if cancel || planted(Fault::OwnResponseAnswersAll) {
            return;
        }
        self.note(Note::Collided { request: ask.request, reason: ask.reason });
        if ask.reason != Reason::CallerTurn {
            self.ask_later(&ask);
        } else if ask.tool {
            self.waiting.tool = Some(Again(ask.again));
        }
    }

    /// Puts back what was asked for at the wrong moment.
    fn ask_later(&mut self, ask: &Ask) {
        if self.is_goodbye_asked_by(ask.request) {
            if let Goodbye::Pending(Pending { why, again, .. }) = self.ending.goodbye {
                self.ending.goodbye = Goodbye::Wanted { why, again };
            }
        } else {
            self.waiting.put_back(ask, ask.again);
        }
    }
}

/// How long the model wants to be left alone after this (R10).
fn patience(error: ModelError) -> Duration {
    match error {
        ModelError::RateLimited { retry_after_ms } => Duration::from_millis(retry_after_ms).min(PATIENCE_MAX),
        ModelError::Collision
        | ModelError::NothingToCancel
        | ModelError::SessionExpired
        | ModelError::Fatal
        | ModelError::Other => Duration::ZERO,
    }
}

/// A caller does not wait longer than this for an answer.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// A call of a tool, as two things that were said.
pub(super) fn told_as(told: Told) -> [Remembered; 2] {
    let Told { call, name, arguments, output } = told;
    [Remembered::ToolCall { call, name, arguments }, Remembered::ToolOutput { call, output }]
}

/// A greeting of which this much was heard is not said again (G1).
const GREETED: Duration = Duration::from_secs(1);
