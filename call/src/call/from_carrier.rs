//! What the carrier, the tools and the operator told: noted, part by part. What follows from it is `due`'s.

use std::time::Duration;

use super::{Call, Greeting};
use crate::config::{Direction, OnMachine};
use crate::ending::{Goodbye, HangUp, Life};
use crate::id::CommandId;
use crate::input::{Answerer, CallStatus, CarrierInput, EarInput, OperatorInput, Outcome};
use crate::model::Link;
use crate::output::{DropReason, EndReason, Guard, Local, Note, Output, Reason};
use crate::planted::{Fault, planted};
use crate::response::Say;
use crate::tools::Finished;
use crate::uplink::Fate;

impl Call {
    pub(super) fn on_announced(&mut self) {
        if self.ending.life != Life::Made {
            return self.note(Note::Odd("announced twice"));
        }
        self.ending.life = Life::Announced { since: self.now };
        self.connect_model();
    }

    pub(super) fn on_carrier(&mut self, input: CarrierInput) {
        match input {
            CarrierInput::Started => self.on_started(),
            CarrierInput::Audio { bytes, timestamp_ms } => self.on_caller_audio(bytes, timestamp_ms),
            CarrierInput::MarkReturned(mark) => {
                self.uplink.carrier_spoke(self.now);
                self.playback.mark_returned(mark, self.now);
            }
            CarrierInput::Dtmf(key) => {
                self.uplink.carrier_spoke(self.now);
                self.idle.caller_spoke();
                self.keypad.press(key, self.now, &self.config);
                self.note(Note::Dtmf);
            }
            CarrierInput::WriteBlocked { ms } => self.pipeline.write_blocked(Duration::from_millis(u64::from(ms))),
            CarrierInput::Stopped | CarrierInput::Closed => self.on_stream_gone(),
            CarrierInput::Status(status) => self.on_status(status, false),
            CarrierInput::AfterStream(status) => self.on_status(status, true),
            CarrierInput::AnsweredBy(answerer) => {
                self.tally.answered_by.get_or_insert(answerer);
                if answerer == Answerer::Machine && self.config.on_machine == OnMachine::HangUp {
                    self.stop(EndReason::Machine);
                }
            }
        }
    }

    fn on_started(&mut self) {
        match self.ending.life {
            Life::Made | Life::Announced { .. } => {}
            Life::Streaming { .. } if planted(Fault::SecondStart) => self.greeting = Greeting::Due,
            Life::StreamLost { resuming: true, .. } => return self.on_resumed(),
            Life::Streaming { .. } | Life::StreamLost { .. } | Life::Ended(_) => {
                return self.note(Note::Odd("a second start"));
            }
        }
        self.ending.life = Life::Streaming { since: self.now };
        self.stream_started = Some(self.now);
        self.uplink.carrier_spoke(self.now);
        self.note(Note::MediaStarted);
        self.pipeline.begin(self.now, &self.config);
        if self.link == Link::None {
            self.connect_model();
        }
        if self.greeting == Greeting::Due {
            match self.facts.direction {
                Direction::Inbound => self.want_greeting(),
                Direction::Outbound => {
                    self.greeting = Greeting::AfterCallee { until: self.now + self.config.callee_first_max };
                }
            }
        }
    }

    /// The stream is back, and the conversation goes on from where hearing stopped (N6). Nobody is greeted again.
    fn on_resumed(&mut self) {
        self.ending.life = Life::Streaming { since: self.now };
        self.uplink.new_stream(self.now);
        if planted(Fault::GreetedAgain) && self.config.greeting.is_some() {
            self.want_greeting();
        }
        self.note(Note::MediaStarted);
        self.pipeline.begin(self.now, &self.config);
    }

    fn on_caller_audio(&mut self, bytes: u32, timestamp_ms: u64) {
        let withheld = self.withheld();
        let fate = match self.link {
            Link::Ready { .. } => withheld.map_or(Fate::Forward, Fate::Drop),
            Link::None | Link::Connecting { .. } | Link::Configuring { .. } | Link::Lost { .. } => Fate::Hold,
            Link::Gone => Fate::Drop(DropReason::NoModel),
        };
        let fill = self.uplink.audio(bytes, timestamp_ms, fate, self.now);
        match fate {
            Fate::Forward => {
                if fill > 0 {
                    self.outputs.push_back(Output::ForwardSilence { bytes: fill });
                }
                self.outputs.push_back(Output::ForwardAudio);
            }
            // The model's clock goes on by as much (L2). Fifty a second: counted, and not noted.
            Fate::Drop(_) if self.link.is_ready() => {
                self.outputs.push_back(Output::ForwardSilence { bytes: fill.saturating_add(bytes) });
            }
            Fate::Hold => {
                self.outputs.push_back(Output::HoldAudio);
                while let Some(bytes) = self.uplink.overflow(&self.config) {
                    self.outputs.push_back(Output::DropHeld { bytes });
                    self.note(Note::Dropped { reason: DropReason::ModelNotReady, bytes });
                }
            }
            Fate::Drop(reason) => self.note(Note::Dropped { reason, bytes }),
        }
    }

    /// What our own ears tell. They may stop a sentence for a moment; what the caller said, the model alone decides (B4).
    pub(super) fn on_ears(&mut self, input: EarInput) {
        if !self.ending.is_streaming() {
            return;
        }
        match input {
            EarInput::Quiet => self.uplink.quiet = true,
            EarInput::Loud => self.uplink.quiet = false,
            EarInput::Listening | EarInput::Deaf | EarInput::SpeechStarted | EarInput::SpeechStopped => {
                self.floor.ears_heard(input);
            }
        }
        if input == EarInput::SpeechStarted && !planted(Fault::EarsOpenNothing) {
            self.ears_heard_speech();
        }
    }

    /// A model that cannot say what became of it is not interrupted for it, nor one that said already that the caller
    /// speaks.
    fn ears_heard_speech(&mut self) {
        if !self.config.ears_hold {
            return;
        }
        let model_hears = self.floor.is_caller_speaking() || self.floor.is_held();
        if self.may_hold() && self.link.is_ready() && !model_hears && !self.is_protected() && self.is_interruptible() {
            self.note(Note::EarsHeard);
            self.hold();
        }
    }

    /// The stream stopped, or its socket closed: by our hang-up, or for a reason still to be learnt (L7).
    pub(super) fn on_stream_gone(&mut self) {
        if !self.ending.is_streaming() {
            return;
        }
        if let Some(reason) = self.ending.hang_up.reason() {
            return self.end(reason);
        }
        // What was on its way is not heard any more; it is kept for a stream that may come back.
        self.playback.clear(self.now);
        if planted(Fault::StreamLossEatsAudio) {
            self.playback.discard();
        }
        // Nobody says any more when the caller stops.
        self.floor.caller_is_gone(self.now);
        self.ending.life = Life::StreamLost { since: self.now, resuming: false, in_progress: false };
        self.outputs.push_back(Output::CloseCarrier);
    }

    fn on_status(&mut self, status: CallStatus, after_stream: bool) {
        if !status.is_terminal() {
            if after_stream {
                self.on_stream_gone();
                if let Life::StreamLost { in_progress, resuming, .. } = &mut self.ending.life {
                    *in_progress = true;
                    if self.config.resume_max.is_some() && !std::mem::replace(resuming, true) {
                        self.outputs.push_back(Output::ResumeStream);
                    }
                }
            }
            return;
        }
        let reason = match (self.ending.hang_up.reason(), self.ending.life) {
            (Some(reason), _) => reason,
            (None, Life::StreamLost { in_progress: true, .. }) => EndReason::StreamLost,
            (None, Life::Made | Life::Announced { .. }) if self.facts.direction == Direction::Outbound => {
                // It is terminal, so there is a reason.
                EndReason::unanswered(status).unwrap_or(EndReason::CallerHungUp)
            }
            (None, _) => EndReason::CallerHungUp,
        };
        self.end(reason);
    }

    pub(super) fn on_done(&mut self, command: CommandId, outcome: Outcome) {
        match outcome {
            Outcome::HungUp => {
                // Of an earlier attempt, too, that was given up too soon: the carrier agreed (H1).
                if let HangUp::Asked { reason, .. } | HangUp::Retry { reason, .. } = self.ending.hang_up {
                    self.ending.hang_up = HangUp::Accepted { reason, since: self.now };
                }
            }
            Outcome::HangUpFailed => {
                if let HangUp::Asked { command: asked, .. } = self.ending.hang_up
                    && asked == command
                {
                    self.hang_up_failed();
                }
            }
            Outcome::RecordingStarted | Outcome::RecordingFailed => {}
            Outcome::ToolAnswered(output) => {
                if let Some(finished) = self.tools.done(command, output) {
                    self.tool_finished(&finished, false);
                }
            }
            Outcome::ToolFailed(output) => {
                if let Some(finished) = self.tools.done(command, output) {
                    self.tool_finished(&finished, true);
                }
            }
        }
    }

    pub(super) fn tool_finished(&mut self, finished: &Finished, failed: bool) {
        let after = self.now.since(finished.since);
        let at = finished.since.since(self.stream_started.unwrap_or_default());
        self.tally.tool_finished(&finished.name, at, after, failed);
        self.note(Note::ToolFinished { call: finished.call, after, failed });
    }

    pub(super) fn on_operator(&mut self, input: OperatorInput) {
        match input {
            OperatorInput::HangUp => self.stop(EndReason::OperatorHungUp),
            OperatorInput::SayGoodbye => match self.ending.life {
                Life::Streaming { .. } if self.ending.goodbye == Goodbye::None => {
                    self.want_goodbye(EndReason::Stopped);
                }
                // A goodbye is under way already.
                Life::Streaming { .. } => {}
                Life::Made | Life::Announced { .. } | Life::StreamLost { .. } | Life::Ended(_) => {
                    self.stop(EndReason::Stopped);
                }
            },
            OperatorInput::Press(keys) => self.say_local(Local::Tones(keys)),
            OperatorInput::Say { text, force } => {
                if self.waiting.says.len() >= self.config.says_max {
                    return self.note(Note::NotAsking {
                        reason: Reason::Say,
                        guard: Guard::ResponseActive,
                        waits: false,
                    });
                }
                let says = &mut self.waiting.says;
                // In their order among themselves, before all others.
                let index = if force { says.iter().take_while(|say| say.force).count() } else { says.len() };
                says.insert(index, Say { text, force, again: false });
            }
        }
    }
}
