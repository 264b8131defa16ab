//! What the state says of the call: asked by `due`, and for the next deadline.

use std::time::Duration;

use super::{Call, Greeting};
use crate::config::{ProtectGreeting, Turns};
use crate::ending::Goodbye;
use crate::id::{RequestId, ResponseId};
use crate::output::{DropReason, Reason};
use crate::planted::{Fault, planted};
use crate::response::Slot;
use crate::time::CallTime;

impl Call {
    /// Whether the response in the slot is being cancelled by this request.
    pub(super) fn is_cancelled_by(&self, request: Option<RequestId>) -> bool {
        matches!(&self.slot, Slot::Cancelling { request: cancel, .. } if Some(*cancel) == request)
    }

    /// Whether the response is in the slot or remembered.
    pub(super) fn is_known(&self, response: ResponseId) -> bool {
        self.slot.occupant().is_some_and(|active| active.response == response) || self.memory.get(response).is_some()
    }

    /// Whether this response answers a turn of the caller.
    pub(super) fn answers_caller(&self, response: ResponseId) -> bool {
        match self.slot.occupant() {
            Some(active) if active.response == response => {
                active.ask.as_ref().is_none_or(|ask| ask.reason == Reason::CallerTurn)
            }
            _ => self.memory.get(response).is_some_and(|ended| ended.answers.is_some()),
        }
    }

    /// Whether what the caller says now would be an interruption: of the agent, or of a goodbye (B3, H7).
    pub(super) fn is_interruptible(&self) -> bool {
        // An answer that pauses is being heard too: more of it is coming (R7).
        let pausing = self.slot.active().is_some_and(|active| active.spoke);
        let audible = self.playback.is_audible(self.now) || pausing;
        audible || (self.ending.goodbye != Goodbye::None && !planted(Fault::HungUpOverCaller))
    }

    /// Whether an interruption may turn out to be none (B4).
    pub(super) fn may_hold(&self) -> bool {
        self.config.hold && self.config.turns == Turns::Client
    }

    /// Why the caller's audio does not reach the model now, if it does not (O3).
    pub(super) fn withheld(&self) -> Option<DropReason> {
        if self.uplink.quiet {
            return Some(DropReason::NoiseGate);
        }
        let nobody = !self.floor.is_caller_speaking() && !self.floor.is_held() && self.floor.ears_hear_nothing();
        (self.config.audio_guard && nobody && self.playback.is_audible(self.now)).then_some(DropReason::NoSpeech)
    }

    /// The greeting is being heard, and may not be interrupted now (B5).
    pub(super) fn is_protected(&self) -> bool {
        self.protected_until().is_some_and(|until| self.now < until)
    }

    pub(super) fn protected_until(&self) -> Option<CallTime> {
        let limit = match self.config.protect_greeting {
            ProtectGreeting::None => return None,
            ProtectGreeting::First(duration) => Some(duration),
            ProtectGreeting::All => None,
        };
        let started = self.stream_started?;
        let greeting_asked = self.slot.ask().is_some_and(|ask| ask.reason == Reason::Greeting);
        let greeting_heard = self.greeting_response.is_some_and(|greeting| self.speaking.contains(&greeting));
        if !(greeting_asked || greeting_heard || self.waiting.greeting.is_some()) {
            return None;
        }
        match limit {
            Some(limit) => Some(self.greeting_began.unwrap_or(self.now).max(started) + limit),
            None => Some(CallTime::from_micros(u64::MAX)),
        }
    }

    pub(super) fn protection_ends(&self) -> Option<CallTime> {
        let at = self.protected_until()?;
        (self.floor.speaks_into_protection() && at > self.now && at != CallTime::from_micros(u64::MAX)).then_some(at)
    }

    pub(super) fn slot_deadline(&self) -> Option<CallTime> {
        match &self.slot {
            _ if planted(Fault::SilentModelTrusted) => None,
            Slot::Idle => None,
            Slot::Requested { ask, .. } => Some(ask.at + self.config.requested_timeout),
            Slot::Active(active) if active.first_output.is_none() => {
                Some(active.since + self.config.first_audio_timeout)
            }
            Slot::Active(active) => {
                let whole = active.since + self.config.response_max;
                Some(whole.min(active.last_output + self.config.next_output_timeout))
            }
            Slot::Cancelling { since, .. } if self.config.abilities.cancels => {
                Some(*since + self.config.cancel_timeout)
            }
            // It was not told, and goes on to its end.
            Slot::Cancelling { active, .. } => {
                let first = self.config.first_audio_timeout.max(self.config.next_output_timeout);
                Some((active.since + self.config.response_max).min(active.last_output + first))
            }
        }
    }

    /// When the caller, hearing nothing, is to be asked to wait for a model that is lost (N4).
    pub(super) fn filler_deadline(&self) -> Option<CallTime> {
        let outage = self.outage.filter(|outage| !outage.filled)?;
        let silent = self.ending.is_streaming() && !self.playback.is_audible(self.now);
        // Whoever has heard goodbye is not asked to wait.
        let waiting = !self.ending.goodbye.is_pending() && !self.ending.hang_up.is_issued();
        (silent && waiting && self.config.clips.filler > 0).then_some(outage.since + self.config.filler_after)
    }

    pub(super) fn gap_deadline(&self) -> Option<CallTime> {
        let listening = self.ending.is_streaming() && self.link.is_ready();
        let gap = (listening && self.floor.is_caller_speaking()).then(|| self.uplink.gap_deadline(&self.config));
        let lost = self.ending.is_streaming().then(|| self.uplink.silence_deadline(&self.config));
        [gap.flatten(), lost.flatten()].into_iter().flatten().min()
    }

    pub(super) fn call_length_deadline(&self) -> Option<CallTime> {
        let since = self.stream_started.filter(|_| self.ending.is_streaming() && !self.ending.hang_up.is_issued())?;
        let grace = if self.call_max_reached { self.config.call_max_grace } else { Duration::ZERO };
        Some(since + self.config.call_max + grace)
    }

    pub(super) fn waiting_deadline(&self) -> Option<CallTime> {
        let patience = self.not_before.filter(|at| *at > self.now && self.next_reason().is_some());
        [patience, self.overtaken_deadline()].into_iter().flatten().min()
    }

    /// When a create that was overtaken must have been rejected, or begun (R10).
    pub(super) fn overtaken_deadline(&self) -> Option<CallTime> {
        self.overtaken.as_ref().map(|overtaken| overtaken.ask.at + self.config.requested_timeout)
    }

    pub(super) fn pipeline_deadline(&self) -> Option<CallTime> {
        self.ending.is_streaming().then(|| self.pipeline.deadline()).flatten()
    }

    pub(super) fn greeting_deadline(&self) -> Option<CallTime> {
        match self.greeting {
            Greeting::AfterCallee { until } => Some(until),
            Greeting::Due | Greeting::Asked => None,
        }
    }

    pub(super) fn next_frame(&self) -> Option<CallTime> {
        self.ending.is_streaming().then(|| self.playback.next_send(self.now, &self.config)).flatten()
    }
}
