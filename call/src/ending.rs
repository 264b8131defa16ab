//! How a call ends: a goodbye that was heard, or a stream that is gone (H1–H11, L7–L10).
//!
//! Nothing here is a latch set by one event and read at another. What is remembered is what happened; whether to hang
//! up now is asked of the state after every input ([`Ending::goodbye_is_due`]), so the order of events cannot matter.

use crate::config::CallConfig;
use crate::fingerprint::Fingerprint;
use crate::id::{CommandId, RequestId, ResponseId};
use crate::output::{EndReason, Via};
use crate::planted::{Fault, planted};
use crate::time::CallTime;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ending {
    pub life: Life,
    pub goodbye: Goodbye,
    pub hang_up: HangUp,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Life {
    /// Made; nothing has happened.
    #[default]
    Made,
    /// The carrier announced it; its stream is to come.
    Announced {
        since: CallTime,
    },
    Streaming {
        since: CallTime,
    },
    /// The stream is gone; it is not known yet why (L7).
    StreamLost {
        since: CallTime,
        /// The carrier's document brings the stream back (N6).
        resuming: bool,
        /// The carrier said that the call itself went on: so it was the stream that broke.
        in_progress: bool,
    },
    Ended(EndReason),
}

/// The goodbye, from wanted to heard (H2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Goodbye {
    #[default]
    None,
    /// To be asked of the model. `again`: it was asked for once, and came to nothing.
    Wanted {
        why: EndReason,
        again: bool,
    },
    Pending(Pending),
    /// Asked for twice and never said: it ends without words.
    Unspoken {
        why: EndReason,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pending {
    pub why: EndReason,
    pub bound: Bound,
    /// What came last: the end of the audio, or the knowledge that it is a goodbye (H5, H6).
    pub via: Via,
    pub again: bool,
}

/// The response whose hearing ends the call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bound {
    /// Asked for, not yet begun.
    Request(RequestId),
    Response(ResponseId),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HangUp {
    #[default]
    No,
    /// The carrier was asked; its answer is to come.
    Asked { reason: EndReason, attempt: u32, command: CommandId, since: CallTime },
    /// It failed; once more at this time.
    Retry { reason: EndReason, attempt: u32, at: CallTime },
    /// The carrier agreed; its stream should stop.
    Accepted { reason: EndReason, since: CallTime },
}

impl HangUp {
    pub fn reason(self) -> Option<EndReason> {
        match self {
            HangUp::No => None,
            HangUp::Asked { reason, .. } | HangUp::Retry { reason, .. } | HangUp::Accepted { reason, .. } => {
                Some(reason)
            }
        }
    }

    pub fn is_issued(self) -> bool {
        self != HangUp::No
    }

    pub fn deadline(self, config: &CallConfig) -> Option<CallTime> {
        match self {
            HangUp::No => None,
            HangUp::Asked { since, .. } => Some(since + config.hang_up_timeout),
            HangUp::Retry { at, .. } => Some(at),
            HangUp::Accepted { .. } if planted(Fault::HangUpAgreedIsDone) => None,
            HangUp::Accepted { since, .. } => Some(since + config.hang_up_grace),
        }
    }
}

/// What the rest of the call knows that matters to a goodbye.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Of the response it is bound to: done, and all its audio taken.
    pub audio_complete: bool,
    /// The paced queue is empty and nothing waits behind it.
    pub drained: bool,
    /// Its last frame was heard, and whatever follows it: by its mark, or by the end of the wait for one (A8).
    pub heard: bool,
    pub caller_speaking: bool,
    pub held: bool,
    /// Another response is on its way.
    pub slot_idle: bool,
}

impl Ending {
    /// All conditions of H2 at once.
    pub fn goodbye_is_due(&self, facts: Facts) -> bool {
        let said = match self.goodbye {
            Goodbye::None | Goodbye::Wanted { .. } => return false,
            Goodbye::Pending(_) => facts.audio_complete && facts.heard,
            Goodbye::Unspoken { .. } => facts.heard,
        };
        said && facts.drained
            && facts.slot_idle
            && !facts.caller_speaking
            && !facts.held
            && !self.hang_up.is_issued()
            && matches!(self.life, Life::Streaming { .. })
    }

    /// The first condition of H2 that is not met, for the verbose log (O4).
    pub fn goodbye_waits_for(&self, facts: Facts) -> Option<&'static str> {
        let Goodbye::Pending(_) = self.goodbye else { return None };
        [
            (facts.audio_complete, "its audio to be complete"),
            (facts.drained, "the queue to drain"),
            (facts.heard, "its last frame to be heard"),
            (facts.slot_idle, "another response"),
            (!facts.caller_speaking, "the caller to stop speaking"),
            (!facts.held, "a hold to be decided"),
        ]
        .into_iter()
        .find_map(|(met, what)| (!met).then_some(what))
    }

    pub fn deadline(&self, config: &CallConfig) -> Option<CallTime> {
        match self.life {
            Life::Made | Life::Ended(_) => None,
            Life::Announced { since } => self.hang_up.deadline(config).or(Some(since + config.announced_max)),
            Life::Streaming { .. } => self.hang_up.deadline(config),
            Life::StreamLost { since, resuming, .. } => {
                let grace = config.resume_max.filter(|_| resuming).unwrap_or(config.stream_lost_grace);
                Some(since + grace)
            }
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.life, Life::Ended(_))
    }

    pub fn is_streaming(&self) -> bool {
        matches!(self.life, Life::Streaming { .. })
    }

    pub fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        let Ending { life, goodbye, hang_up } = self;
        match *life {
            Life::Made => print.put(0),
            Life::Announced { since } => {
                print.put(1);
                print.until(since + config.announced_max);
            }
            // Since when matters to the length of the call, which `Call` puts in.
            Life::Streaming { since: _ } => print.put(2),
            Life::StreamLost { since: _, resuming, in_progress } => {
                print.put((3, resuming, in_progress));
                print.until_some(self.deadline(config));
            }
            Life::Ended(reason) => print.put((4, reason)),
        }
        match *goodbye {
            Goodbye::None => print.put(0),
            Goodbye::Wanted { why, again } => print.put((1, why, again)),
            Goodbye::Pending(Pending { why, bound, via, again }) => {
                print.put((2, why, via, again));
                match bound {
                    Bound::Request(request) => print.id(request),
                    Bound::Response(response) => print.id(response),
                }
                print.put(matches!(bound, Bound::Response(_)));
            }
            Goodbye::Unspoken { why } => print.put((3, why)),
        }
        match *hang_up {
            HangUp::No => print.put(0),
            HangUp::Asked { reason, attempt, command, since: _ } => {
                print.put((1, reason, attempt));
                print.id(command);
            }
            HangUp::Retry { reason, attempt, at: _ } => print.put((2, reason, attempt)),
            HangUp::Accepted { reason, since: _ } => print.put((3, reason)),
        }
        print.until_some(hang_up.deadline(config));
    }
}

impl Goodbye {
    pub fn is_pending(self) -> bool {
        matches!(self, Goodbye::Pending(_) | Goodbye::Unspoken { .. })
    }

    pub fn is_bound_to(self, response: ResponseId) -> bool {
        self.response() == Some(response)
    }

    /// The response that it is in.
    pub fn response(self) -> Option<ResponseId> {
        match self {
            Goodbye::Pending(Pending { bound: Bound::Response(response), .. }) => Some(response),
            Goodbye::None | Goodbye::Wanted { .. } | Goodbye::Pending(_) | Goodbye::Unspoken { .. } => None,
        }
    }

    pub fn why(self) -> Option<EndReason> {
        match self {
            Goodbye::None => None,
            Goodbye::Wanted { why, .. } | Goodbye::Pending(Pending { why, .. }) | Goodbye::Unspoken { why } => {
                Some(why)
            }
        }
    }
}
