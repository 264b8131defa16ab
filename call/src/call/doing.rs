//! What is done about it: each of these says something to the carrier, the model or the log.

use super::{Call, Greeting, Overtaken, TONE_BYTES};
use crate::edits::Edit;
use crate::ending::{Bound, Goodbye, HangUp, Life, Pending};
use crate::id::{CommandId, Epoch, ItemId, RequestId};
use crate::input::ItemKind;
use crate::model::Link;
use crate::output::{Command, DropReason, EndReason, Local, ModelOutput, Note, Output, Reason, Via};
use crate::planted::{Fault, planted};
use crate::playback::playing_time;
use crate::response::{Active, Again, Ended, Slot, Waiting};

impl Call {
    /// Nothing more is said until it is known whether the caller meant it (B4).
    pub(super) fn hold(&mut self) {
        self.floor.open_hold(self.now);
        self.stop_playing();
        self.note(Note::Held);
    }

    /// The caller interrupts: one atomic step, in this order (B1).
    pub(super) fn interrupt(&mut self) {
        let unheard_ms = playing_time(self.playback.unheard_bytes(self.now)).as_millis() as u32;
        self.stop_playing();
        if !planted(Fault::GoodbyeSurvivesInterruption) {
            self.withdraw_goodbye();
        }
        // Nor is what was said before it a goodbye, if that becomes known later (H7).
        if !planted(Fault::InterruptedGoodbyeLater) {
            self.memory.pass();
        }
        self.take_back_unheard();
        let announced = self.announced_messages();
        let response = self.slot.occupant().map(|active| active.response).or(self.speaking.back().copied());
        self.cancel_response();
        let mut heard_ms = 0;
        let items = self.playback.discard();
        for heard in &items {
            self.transcript.agent_cut(*heard, self.now);
            let item = heard.item;
            let item_ms = playing_time(heard.heard_bytes).as_millis() as u32;
            heard_ms = item_ms;
            if item_ms == 0 && planted(Fault::UnheardItemsStay) {
                continue;
            } else if item_ms == 0 {
                self.transcript.forget(item);
                self.edit(Edit::Delete { item });
            } else if heard.heard_bytes < heard.accepted_bytes || !heard.complete {
                let unconfirmed = self.playback.unconfirmed().min(heard.heard_bytes);
                self.tally.truncate_error(playing_time(unconfirmed));
                self.edit(Edit::Truncate { item, heard_ms: item_ms });
            }
        }
        for item in announced {
            if !items.iter().any(|heard| heard.item == item) {
                self.edit(Edit::Delete { item });
            }
        }
        self.tally.interruptions.meant += 1;
        self.note(Note::Interrupted { response, heard_ms, unheard_ms });
    }

    /// Stops sending and empties the carrier's buffer; what was not heard is back in the queue.
    pub(super) fn stop_playing(&mut self) {
        if self.playback.clear(self.now) {
            self.outputs.push_back(Output::Clear);
        }
    }

    /// Messages announced by the response in the slot, of which nothing may have been accepted.
    pub(super) fn announced_messages(&self) -> Vec<ItemId> {
        let Some(active) = self.slot.active() else { return Vec::new() };
        let spoken = |item: &ItemId| self.transcript.has_audio(*item);
        active
            .items
            .iter()
            .filter(|(item, kind)| *kind == ItemKind::Message && !spoken(item))
            .map(|(item, _)| *item)
            .collect()
    }

    /// A response of which nothing was sent leaves its reason behind, to be answered with the next (T1).
    pub(super) fn take_back_unheard(&mut self) {
        let ask = match &self.slot {
            Slot::Requested { ask, cancel: false } => Some(ask),
            Slot::Active(active) if !active.sent && !active.called_tools => active.ask.as_ref(),
            Slot::Idle | Slot::Requested { .. } | Slot::Active(_) | Slot::Cancelling { .. } => None,
        };
        // A greeting is said once, heard or not (G1).
        if let Some(ask) = ask.filter(|ask| ask.reason != Reason::Greeting).cloned() {
            self.waiting.put_back(&ask, ask.again);
        }
    }

    /// One cancel per response; before its `created` it is remembered (B6).
    pub(super) fn cancel_response(&mut self) {
        match std::mem::take(&mut self.slot) {
            Slot::Requested { ask, .. } => {
                self.slot = Slot::Requested { ask, cancel: !planted(Fault::EarlyCancelForgotten) };
            }
            Slot::Active(active) => {
                self.substitute_answered(&active);
                let request = self.request();
                let response = active.response;
                self.slot = Slot::Cancelling { active, since: self.now, request };
                if self.config.abilities.cancels {
                    self.outputs.push_back(Output::Model(ModelOutput::CancelResponse { request, response }));
                }
                if self.ending.goodbye.is_bound_to(response) && !planted(Fault::CancelledGoodbyeCounts) {
                    self.withdraw_goodbye();
                }
            }
            other @ (Slot::Idle | Slot::Cancelling { .. }) => self.slot = other,
        }
    }

    /// A response that the model began by itself stood for one that we had asked for: it was heard, or interrupted. If
    /// ours begins after all, it would answer a second time (R8, B6).
    pub(super) fn substitute_answered(&mut self, active: &Active) {
        let request = active.ask.as_ref().map(|ask| ask.request);
        if let Some(Overtaken { ask, cancel }) = &mut self.overtaken
            && Some(ask.request) == request
            && !std::mem::replace(cancel, true)
            && ask.tool
        {
            // The substitute knew nothing of a tool's result.
            self.waiting.tool = Some(Again(ask.again));
        }
    }

    /// The response is over; nothing of it will be accepted any more.
    pub(super) fn retire(&mut self, active: Active, cancelled: bool) {
        let response = active.response;
        self.playback.close_response(response);
        let answers = active.ask.as_ref().and_then(|ask| ask.answers);
        self.note(Note::ResponseEnded { response, cancelled });
        let ended = Ended { response, answers, cancelled, said: active.said };
        let goodbye = self.ending.goodbye.response().filter(|_| !planted(Fault::GoodbyeForgotten));
        self.memory.remember(ended, goodbye);
        if cancelled && self.ending.goodbye.is_bound_to(response) && !planted(Fault::CancelledGoodbyeCounts) {
            self.withdraw_goodbye();
        }
        self.slot = Slot::Idle;
    }

    pub(super) fn want_goodbye(&mut self, why: EndReason) {
        self.ending.goodbye = Goodbye::Wanted { why, again: false };
        self.note(Note::GoodbyeWanted { why });
    }

    /// The goodbye is in this response. `complete`: its audio was complete when that became known (H6).
    ///
    /// A caller who has taken the floor since has moved on; that response is not a goodbye any more (H7).
    pub(super) fn pend_goodbye(&mut self, why: EndReason, bound: Bound, complete: bool) {
        if self.has_moved_on(bound) {
            return;
        }
        // One that was wanted for another reason keeps it.
        let why = self.ending.goodbye.why().unwrap_or(why);
        let via = if complete { Via::TranscriptDone } else { Via::AudioDone };
        self.ending.goodbye = Goodbye::Pending(Pending { why, bound, via, again: false });
        let response = match bound {
            Bound::Response(response) => Some(response),
            Bound::Request(_) => None,
        };
        self.note(Note::GoodbyePending { response });
    }

    /// Whether the conversation has left this response behind.
    fn has_moved_on(&self, bound: Bound) -> bool {
        let is_newest = match (bound, &self.slot) {
            (Bound::Request(bound), _) => self.slot.ask().is_some_and(|ask| ask.request == bound),
            (Bound::Response(_), Slot::Requested { .. }) => false,
            (Bound::Response(bound), Slot::Active(active) | Slot::Cancelling { active, .. }) => {
                active.response == bound
            }
            (Bound::Response(bound), Slot::Idle) => self.memory.last() == Some(bound),
        };
        !is_newest || self.waiting.turn.is_some() || self.is_caller_going_on()
    }

    /// The caller has the floor, and it is not in doubt.
    pub(super) fn is_caller_going_on(&self) -> bool {
        self.floor.is_caller_speaking() && !self.floor.is_held()
    }

    fn withdraw_goodbye(&mut self) {
        // Without a model there is nothing to go on with.
        if self.ending.goodbye != Goodbye::None && self.link != Link::Gone {
            self.ending.goodbye = Goodbye::None;
            self.note(Note::GoodbyeWithdrawn);
        }
    }

    /// The response that was to say goodbye failed, or said nothing: once more, then without words (H2).
    pub(super) fn goodbye_came_to_nothing(&mut self) {
        if let Goodbye::Pending(Pending { why, again, .. }) = self.ending.goodbye {
            self.ending.goodbye = if again { Goodbye::Unspoken { why } } else { Goodbye::Wanted { why, again: true } };
        }
    }

    pub(super) fn is_goodbye_asked_by(&self, request: RequestId) -> bool {
        matches!(self.ending.goodbye, Goodbye::Pending(Pending { bound: Bound::Request(asked), .. }) if asked == request)
    }

    pub(super) fn want_greeting(&mut self) {
        self.greeting = Greeting::Asked;
        self.waiting.greeting = Some(Again(false));
    }

    /// Ends the call for somebody who does not wait for a goodbye.
    pub(super) fn stop(&mut self, reason: EndReason) {
        match self.ending.life {
            // One that rings, or whose stream is on its way, is there too.
            Life::Announced { .. } | Life::Streaming { .. } => self.hang_up(reason),
            Life::Made | Life::StreamLost { .. } | Life::Ended(_) => self.end(reason),
        }
    }

    /// The one executor of hang-ups (H1).
    pub(super) fn hang_up(&mut self, reason: EndReason) {
        if !self.ending.hang_up.is_issued() || planted(Fault::IssuedTooLate) {
            self.ask_to_hang_up(reason, 1);
        }
    }

    pub(super) fn ask_to_hang_up(&mut self, reason: EndReason, attempt: u32) {
        let command = self.command();
        // Issued before it is asked for (H3).
        self.ending.hang_up = HangUp::Asked { reason, attempt, command, since: self.now };
        self.note(Note::HangingUp { reason, attempt });
        self.outputs.push_back(Output::Do(command, Command::HangUp));
    }

    pub(super) fn hang_up_failed(&mut self) {
        if let HangUp::Asked { reason, attempt, .. } = self.ending.hang_up {
            if planted(Fault::HangUpNotRepeated) {
                self.ending.hang_up = HangUp::Accepted { reason, since: self.now + self.config.call_max };
            } else if attempt < self.config.hang_up_attempts {
                let at = self.now + self.config.hang_up_retry;
                self.ending.hang_up = HangUp::Retry { reason, attempt, at };
            } else {
                // The socket is the last resort; the carrier's document ends the call (H10).
                self.end(reason);
            }
        }
    }

    /// Ends the call, once (L7, L9).
    pub(super) fn end(&mut self, reason: EndReason) {
        if self.ending.is_over() {
            return;
        }
        let socket_open = self.ending.is_streaming();
        if socket_open {
            self.playback.clear(self.now);
        }
        for heard in self.playback.discard() {
            self.transcript.agent_cut(heard, self.now);
        }
        self.settle_turns();
        self.ending.life = Life::Ended(reason);
        self.ending.goodbye = Goodbye::None;
        self.waiting = Waiting::default();
        self.slot = Slot::Idle;
        self.speaking.clear();
        if socket_open {
            self.outputs.push_back(Output::CloseCarrier);
        }
        if self.link.epoch().is_some() {
            self.outputs.push_back(Output::CloseModel);
        }
        self.link = Link::Gone;
        self.outputs.push_back(Output::Ended(reason));
    }

    pub(super) fn connect_model(&mut self) {
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        self.link = Link::Connecting { epoch, since: self.now };
        let command = self.command();
        self.outputs.push_back(Output::Do(command, Command::ConnectModel { epoch }));
    }

    /// No hope of the model: what was accepted plays out, then the call is hung up (R9, R10).
    pub(super) fn give_the_model_up(&mut self) {
        if self.link == Link::Gone {
            return;
        }
        if self.link.epoch().is_some() {
            self.outputs.push_back(Output::CloseModel);
        }
        self.link = Link::Gone;
        self.outage = None;
        self.uplink.forget_held();
        self.forget_session();
        self.tools.forget();
        self.waiting = Waiting::default();
        // One of which all audio was taken is still heard, and ends the call by itself.
        if !self.ending.goodbye.is_pending() && !self.ending.hang_up.is_issued() {
            self.say_local(Local::Apology);
            self.ending.goodbye = Goodbye::Unspoken { why: EndReason::ModelFailed };
        }
    }

    /// Something of ours is to be heard, behind all that is there.
    pub(super) fn say_local(&mut self, local: Local) {
        let bytes = match &local {
            Local::Filler => self.config.clips.filler,
            Local::Apology => self.config.clips.apology,
            Local::Tones(keys) => TONE_BYTES * u32::try_from(keys.len()).unwrap_or(0),
        };
        if bytes > 0 {
            self.playback.accept_local(bytes);
            self.outputs.push_back(Output::KeepLocal(local));
        }
    }

    pub(super) fn delete_caller_item(&mut self, item: ItemId) {
        self.transcript.forget(item);
        self.edit(Edit::Delete { item });
    }

    /// Tells the model what was not heard (B1).
    pub(super) fn edit(&mut self, edit: Edit) {
        let (Edit::Truncate { item, .. } | Edit::Delete { item }) = edit;
        // A session knows nothing of the items of another (N4).
        let is_known = self.lost_items.is_none_or(|lost| item > lost) && self.link.is_open();
        if self.config.abilities.truncates && is_known {
            let request = self.request();
            self.edits.sent(request, edit);
            self.outputs.push_back(Output::Model(edit.as_output(request)));
        }
    }

    pub(super) fn drop_audio(&mut self, reason: DropReason, bytes: u32) {
        self.tally.dropped(reason);
        self.note(Note::Dropped { reason, bytes });
    }

    pub(super) fn note(&mut self, note: Note) {
        self.outputs.push_back(Output::Note(note));
    }

    pub(super) fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    pub(super) fn command(&mut self) -> CommandId {
        self.next_command += 1;
        CommandId(self.next_command)
    }
}
