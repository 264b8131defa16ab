//! What has become due, asked of the state after every input.

use std::time::Duration;

use super::from_model::told_as;
use super::{Call, Greeting, Recording};
use crate::ending::{Bound, Facts, Goodbye, HangUp, Life, Pending};
use crate::id::{ItemId, ResponseId};
use crate::idle::Silence;
use crate::model::Link;
use crate::output::{Command, EndReason, Guard, Local, ModelOutput, Note, Output, Reason, Via};
use crate::pipeline::{self};
use crate::planted::{Fault, planted};
use crate::playback::{Owner, Sending, playing_time};
use crate::response::{Again, Ask, Slot, Taken};
use crate::time::CallTime;
use crate::tools::Tell;
use crate::turn::Verdict;
use crate::uplink::GAP_FILL;

impl Call {
    /// What the carrier owes us (L7, H1, H10, N1, N7).
    pub(super) fn settle_carrier(&mut self) {
        while self.ending.deadline(&self.config).is_some_and(|at| at <= self.now) {
            match (self.ending.life, self.ending.hang_up) {
                (Life::StreamLost { .. }, _) => self.end(EndReason::StreamLost),
                (Life::Announced { .. }, HangUp::No) => self.end(EndReason::NeverStarted),
                (Life::Announced { .. } | Life::Streaming { .. }, HangUp::Asked { .. }) => self.hang_up_failed(),
                (Life::Announced { .. } | Life::Streaming { .. }, HangUp::Retry { reason, attempt, .. }) => {
                    self.ask_to_hang_up(reason, attempt + 1);
                }
                // The carrier agreed, and did nothing.
                (Life::Announced { .. } | Life::Streaming { .. }, HangUp::Accepted { reason, .. }) => self.end(reason),
                // Nothing is due.
                (Life::Streaming { .. }, HangUp::No) | (Life::Made | Life::Ended(_), _) => return,
            }
        }
        if self.ending.is_streaming() {
            if self.uplink.is_silent(self.now, &self.config) {
                self.on_stream_gone();
            } else if self.gap_deadline().is_some_and(|at| at <= self.now) {
                self.uplink.fill_gap();
                let bytes = (GAP_FILL.as_millis() as u32) * 8;
                self.outputs.push_back(Output::ForwardSilence { bytes });
            }
        }
    }

    /// What the model owes us (R10).
    pub(super) fn settle_model(&mut self) {
        let late = [self.link.deadline(&self.config), self.slot_deadline()];
        if late.into_iter().flatten().any(|at| at <= self.now)
            && let Some(epoch) = self.link.epoch()
        {
            self.on_lost(epoch, false);
        }
        if let Link::Lost { again_at } = self.link
            && again_at <= self.now
        {
            self.connect_model();
        }
        let filler_due = self.filler_deadline().is_some_and(|at| at <= self.now);
        if self.outage.and_then(|outage| outage.ends(&self.config)).is_some_and(|at| at <= self.now) {
            self.give_the_model_up();
        } else if filler_due && let Some(outage) = &mut self.outage {
            outage.filled = true;
            self.say_local(Local::Filler);
        }
        if self.overtaken_deadline().is_some_and(|at| at <= self.now) {
            self.overtaken_came_to_nothing();
        }
    }

    /// Whether the caller meant it (B4, B5).
    pub(super) fn settle_floor(&mut self) {
        if self.floor.speaks_into_protection() && !self.is_protected() {
            self.floor.protection_ended();
            if self.playback.is_audible(self.now) {
                self.caller_took_the_floor();
            }
        }
        if self.floor.free_the_floor(self.now, &self.config) {
            self.note(Note::CallerStopped);
        }
        let goodbye = self.ending.goodbye != Goodbye::None;
        if let Some(verdict) = self.floor.decide(goodbye, self.now, &self.config) {
            self.apply(verdict);
        }
    }

    fn apply(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Meant { items, farewell } => {
                self.interrupt();
                if farewell {
                    return self.want_goodbye(EndReason::Goodbye);
                }
                for item in items {
                    self.want_turn(item);
                }
            }
            Verdict::Nothing { items, back_channel } => {
                if back_channel {
                    self.tally.interruptions.back_channel += 1;
                } else {
                    self.tally.interruptions.false_alarm += 1;
                }
                self.note(Note::Resumed { back_channel });
                for item in items {
                    self.delete_caller_item(item);
                }
            }
        }
    }

    pub(super) fn settle_tools(&mut self) {
        while let Some(finished) = self.tools.expire(self.now, &self.config) {
            self.tool_finished(&finished, true);
        }
        if !self.link.is_ready() {
            return;
        }
        let generating = self.slot.occupant().map(|active| active.response).filter(|_| !planted(Fault::OutputTooEarly));
        while let Some(tell) = self.tools.tell(generating) {
            match tell {
                Tell::Output(call, output) => {
                    let request = self.request();
                    self.outputs.push_back(Output::Model(ModelOutput::ToolOutput { request, call, output }));
                }
                Tell::Whole(told) => {
                    for what in told_as(told) {
                        self.remember(what);
                    }
                }
            }
        }
        let dropped = planted(Fault::ResultLostToCaller) && self.floor.is_caller_speaking();
        if self.tools.all_told() && !dropped {
            self.waiting.tool = Some(Again(false));
        }
    }

    /// Keys are part of the conversation, and are answered like a turn (N10).
    pub(super) fn settle_keys(&mut self) {
        self.keypad.expire(self.now, &self.config);
        while self.link.is_ready()
            && let Some(digits) = self.keypad.next_entry(self.now)
            && !planted(Fault::KeysLost)
        {
            let request = self.request();
            self.outputs.push_back(Output::Model(ModelOutput::CallerPressed { request, digits }));
            self.waiting.want_turn(None);
        }
    }

    /// Silence, and the length of the call (N8).
    pub(super) fn settle_silence(&mut self) {
        let quiet = !planted(Fault::SilenceUnnoticed)
            && self.ending.is_streaming()
            && self.link.is_ready()
            && !self.floor.is_caller_speaking()
            && !self.floor.is_held()
            && self.slot.is_idle()
            && self.waiting.is_empty()
            && !self.tools.any_running()
            && !self.playback.is_audible(self.now)
            && self.ending.goodbye == Goodbye::None
            && !self.ending.hang_up.is_issued();
        match self.idle.observe(quiet, self.now, &self.config) {
            None => {}
            Some(Silence::Ask) => self.waiting.idle_prompt = true,
            Some(Silence::SayGoodbye) => self.want_goodbye(EndReason::Silence),
        }
        while self.call_length_deadline().is_some_and(|at| at <= self.now) {
            if std::mem::replace(&mut self.call_max_reached, true) {
                self.hang_up(EndReason::MaxDuration);
            } else if self.ending.goodbye == Goodbye::None {
                self.want_goodbye(EndReason::MaxDuration);
            }
        }
        if let Greeting::AfterCallee { until } = self.greeting
            && until <= self.now
        {
            self.want_greeting();
        }
    }

    /// Was the goodbye heard? (H2)
    pub(super) fn settle_goodbye(&mut self) {
        if self.ending.goodbye_is_due(self.goodbye_facts()) {
            let (reason, via) = match self.ending.goodbye {
                Goodbye::Pending(Pending { why, via, .. }) => (why, via),
                Goodbye::Unspoken { why } => (why, Via::Unspoken),
                Goodbye::None | Goodbye::Wanted { .. } => return,
            };
            self.note(Note::GoodbyeDone { via });
            self.hang_up(reason);
        }
    }

    pub(super) fn goodbye_facts(&self) -> Facts {
        let (audio_complete, heard) = match self.ending.goodbye {
            Goodbye::Pending(Pending { bound: Bound::Response(response), .. }) => {
                (self.is_complete(response), self.playback.is_finished() || planted(Fault::SentGoodbyeIsHeard))
            }
            Goodbye::Unspoken { .. } => (true, !self.playback.is_audible(self.now)),
            Goodbye::None | Goodbye::Wanted { .. } | Goodbye::Pending(_) => (false, false),
        };
        Facts {
            audio_complete,
            drained: self.playback.is_drained(),
            heard,
            caller_speaking: self.floor.is_caller_speaking() && !planted(Fault::HungUpOverCaller),
            held: self.floor.is_held() && !planted(Fault::HungUpDuringHold),
            slot_idle: self.slot.is_idle()
                || planted(Fault::AnyResponseIsGoodbye)
                || planted(Fault::HungUpOverResponse)
                || planted(Fault::HungUpBeforeDone),
        }
    }

    /// Whether all audio of this response was given, and the response not cancelled.
    fn is_complete(&self, response: ResponseId) -> bool {
        if planted(Fault::AnyResponseIsGoodbye) {
            return self.memory.last().is_some();
        }
        match self.memory.get(response) {
            Some(ended) => !ended.cancelled || planted(Fault::CancelledGoodbyeCounts),
            None => planted(Fault::HungUpBeforeDone) && self.slot.active().is_some_and(|active| active.spoke),
        }
    }

    pub(super) fn settle_edits(&mut self) {
        if !self.slot.is_idle() || !self.link.is_ready() {
            return;
        }
        while let Some(edit) = self.edits.next_repeat() {
            let request = self.request();
            self.outputs.push_back(Output::Model(edit.as_output(request)));
        }
    }

    /// Asks for what waits, as far as the guards let it (R1–R3).
    pub(super) fn settle_asking(&mut self) {
        let Some(reason) = self.next_reason() else {
            self.refused = None;
            return;
        };
        // It passes the fifth guard, and no other: what is active or unheard is interrupted (R3).
        if self.waiting.is_forced()
            && matches!(self.guard(reason), None | Some(Guard::ResponseActive))
            && ((!self.slot.is_idle() && !self.slot.is_cancelled()) || self.playback.is_audible(self.now))
        {
            self.interrupt();
        }
        if let Some(guard) = self.guard(reason) {
            let waits = reason != Reason::IdlePrompt;
            if !waits {
                self.waiting.idle_prompt = false;
            }
            if self.refused != Some((reason, guard)) {
                self.refused = waits.then_some((reason, guard));
                self.note(Note::NotAsking { reason, guard, waits });
            }
            return;
        }
        self.refused = None;
        let request = self.request();
        let Taken { text, answers, tool, again } = match reason {
            Reason::Greeting => Taken { text: self.config.greeting.clone(), ..self.waiting.take(reason) },
            Reason::CallerTurn | Reason::ToolResult | Reason::Say | Reason::IdlePrompt => self.waiting.take(reason),
            Reason::Farewell => match self.ending.goodbye {
                Goodbye::Wanted { why, again } => {
                    self.ending.goodbye =
                        Goodbye::Pending(Pending { why, bound: Bound::Request(request), via: Via::AudioDone, again });
                    self.note(Note::GoodbyePending { response: None });
                    Taken { again, ..Taken::default() }
                }
                Goodbye::None | Goodbye::Pending(_) | Goodbye::Unspoken { .. } => return,
            },
        };
        let (tx_queue, out_queue) = self.playback.queues(&self.config);
        self.note(Note::Asking {
            request,
            reason,
            previous: self.memory.last(),
            agent_speaking: !self.speaking.is_empty(),
            tx_queue,
            out_queue,
        });
        let output = ModelOutput::CreateResponse { request, reason, text: text.clone() };
        self.outputs.push_back(Output::Model(output));
        let ask = Ask { request, reason, text, answers, tool, at: self.now, again };
        self.slot = Slot::Requested { ask, cancel: false };
    }

    /// Reasons to speak, in their order: a goodbye comes after what is still to be said.
    pub(super) fn next_reason(&self) -> Option<Reason> {
        let farewell = matches!(self.ending.goodbye, Goodbye::Wanted { .. }).then_some(Reason::Farewell);
        match self.waiting.first() {
            Some(Reason::IdlePrompt) | None => farewell.or(self.waiting.first()),
            first => first,
        }
    }

    /// The guards of R2, in their order.
    pub(super) fn guard(&self, reason: Reason) -> Option<Guard> {
        if !self.link.is_open() || !self.ending.is_streaming() {
            return Some(Guard::NoConnection);
        }
        if !self.link.is_ready() {
            return Some(Guard::NotConfigured);
        }
        if reason != Reason::Greeting && (self.floor.is_caller_speaking() || self.floor.is_held()) {
            return Some(Guard::CallerSpeaking);
        }
        if self.ending.goodbye.is_pending() || self.ending.hang_up.is_issued() {
            return Some(Guard::GoodbyePending);
        }
        (!self.slot.is_idle() || self.overtaken.is_some() || self.not_before.is_some_and(|at| self.now < at))
            .then_some(Guard::ResponseActive)
    }

    pub(super) fn settle_sending(&mut self) {
        // Nobody hears it, or it waits for a verdict (N6, B4).
        let held = self.floor.is_held() && !planted(Fault::HoldPlaysOn);
        self.playback.set_paused(!self.ending.is_streaming() || held);
        while let Some(sending) = self.playback.send(self.now, &self.config) {
            match sending {
                Sending::Mark(mark) => self.outputs.push_back(Output::SendMark(mark)),
                Sending::Audio { span, pad, plays_at, owner } => {
                    self.outputs.push_back(Output::SendAudio { span, pad, plays_at });
                    if let Owner::Item { response, item } = owner {
                        self.sent_frame(response, item, plays_at, playing_time(u64::from(span.len)));
                    }
                }
            }
        }
    }

    /// Takes note of a frame that went out; everything else that it sets off is a command (A5).
    fn sent_frame(&mut self, response: ResponseId, item: ItemId, plays_at: CallTime, duration: Duration) {
        self.transcript.agent_plays(item, plays_at, plays_at + duration);
        self.tally.agent_spoke(self.now.since(self.stream_started.unwrap_or_default()));
        if let Some(active) = self.slot.active_mut().filter(|active| active.response == response) {
            active.sent = true;
        }
        if self.greeting_response == Some(response) {
            self.greeting_began.get_or_insert(self.now);
        }
        if self.caller_stopped.is_some() && self.answers_caller(response) {
            let stopped = self.caller_stopped.take().unwrap_or(self.now);
            self.tally.response_latency(self.now.since(stopped));
        }
        if self.carrier_recording == Recording::Wanted {
            // The first frame was sent, not merely accepted (C2).
            self.carrier_recording = Recording::Asked;
            let command = self.command();
            self.outputs.push_back(Output::Do(command, Command::StartRecording));
        }
    }

    /// Who the caller hears (R7).
    pub(super) fn settle_speaking(&mut self) {
        while let Some(response) = self.speaking.front().copied() {
            let generating = self.slot.active().is_some_and(|active| active.response == response);
            if generating || self.playback.is_response_audible(response, self.now) {
                break;
            }
            self.speaking.pop_front();
            self.note(Note::AgentStopped { response });
        }
    }

    /// Turns of the agent that were heard to their end, or cut off.
    pub(super) fn settle_turns(&mut self) {
        while let Some(item) = self.transcript.next_ended(|item| self.playback.has_item(item)) {
            self.note(Note::TurnEnded { item });
        }
    }

    /// How the audio flows, and what a goodbye waits for: for the log (O1, O2, O4).
    pub(super) fn settle_pipeline(&mut self) {
        let waits = self.goodbye_waits_for();
        if waits != self.goodbye_waits {
            self.goodbye_waits = waits;
            if let Some(waits_for) = waits {
                self.note(Note::GoodbyeWaits { waits_for });
            }
        }
        if !self.ending.is_streaming() {
            return;
        }
        let facts = self.pipeline_facts();
        if let Some(line) = self.pipeline.observe(facts, self.now, &self.config) {
            self.note(Note::Pipeline(line));
            while let Some((queue, waiting)) = self.pipeline.backlog(facts, &line, self.now, &self.config) {
                self.note(Note::Backlog { queue, waiting, line });
            }
        }
    }

    fn pipeline_facts(&self) -> pipeline::Facts {
        let (tx_queue, out_queue) = self.queues();
        let audible = self.playback.is_audible(self.now);
        pipeline::Facts {
            tx_queue,
            out_queue,
            frames_sent: self.playback.frames_sent(),
            agent_bytes: self.playback.accepted(),
            caller_held: self.uplink.held(),
            speaking: !self.speaking.is_empty(),
            starving: !audible && self.slot.active().is_some_and(|active| active.spoke),
            mark_late: self.playback.mark_late(self.now),
        }
    }
}
