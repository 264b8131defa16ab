//! What goes wrong around a call, as plain data.

use std::ops::Range;
use std::time::Duration;

use call::OperatorInput;
use call::input::{Answerer, CallStatus};

use crate::ears::EarsPlan;

/// What goes wrong between the peers. The default is a good day.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Faults {
    /// Of the dice that jitter and shuffling are drawn from.
    pub seed: u64,
    pub to_carrier: LinkFaults,
    pub from_carrier: LinkFaults,
    pub to_model: LinkFaults,
    pub from_model: LinkFaults,
    /// Our process stands still: nothing is handled, then everything at once.
    pub freezes: Vec<Range<Duration>>,
    /// Our clock leaps forward, as after a suspended machine: at these times of everybody else's, by so much, in order.
    pub leaps: Vec<(Duration, Duration)>,
    /// What has arrived at one moment is handled in any order, its order on each link kept.
    pub shuffled: bool,
    /// One for each attempt to reach the model; those after work.
    pub connects: Vec<ConnectFault>,
    /// At these times the model's session that is open then is lost.
    pub model_breaks: Vec<(Duration, ModelBreak)>,
    /// One for each attempt to hang up; those after work.
    pub hang_ups: Vec<HangUpFault>,
    /// One for each tool that is run, over and over; none: all answer after `command_delay`.
    pub tools: Vec<ToolFault>,
    /// The carrier's stream never comes.
    pub no_stream: bool,
    /// The carrier's socket breaks at these times, and what the carrier says then: that the call goes on, that it is
    /// over, or nothing.
    pub stream_breaks: Vec<(Duration, Option<CallStatus>)>,
    /// How long the carrier's document takes to bring a stream back (N6). `None`: it does not.
    pub comes_back_after: Option<Duration>,
    /// Whether the carrier's news that its stream has ended get lost.
    pub no_last_status: bool,
    /// What else the carrier says about the call, and when.
    pub statuses: Vec<(Duration, CallStatus)>,
    /// Who the carrier says answered, and when it does.
    pub answered_by: Option<(Duration, Answerer)>,
    pub operator: Vec<(Duration, OperatorInput)>,
    /// Ears of our own, which are never quite right. `None`: there are none.
    pub ears: Option<EarsPlan>,
}

impl Faults {
    /// How long connecting, and a message there and back, may take because of them.
    pub fn slowest(&self) -> Duration {
        let connect = self.connects.iter().map(|connect| match connect {
            ConnectFault::Takes(time) => *time,
            ConnectFault::None | ConnectFault::Fails { .. } | ConnectFault::Hangs => Duration::ZERO,
        });
        let connect = connect.max().unwrap_or_default();
        let links = [&self.to_model, &self.from_model].map(LinkFaults::uneven);
        connect + links.iter().sum::<Duration>() + self.frozen()
    }

    /// How long our process stands still, or takes itself to have.
    pub fn frozen(&self) -> Duration {
        let stood = self.freezes.iter().map(|freeze| freeze.end - freeze.start);
        stood.chain(self.leaps.iter().map(|(_, by)| *by)).sum()
    }

    /// What our clock shows at this time.
    pub fn shown(&self, at: Duration) -> Duration {
        at + self.leaps.iter().filter(|(when, _)| *when <= at).map(|(_, by)| *by).sum::<Duration>()
    }

    /// The first moment at which our clock shows this, or more.
    pub fn real(&self, shown: Duration) -> Duration {
        let mut leapt = Duration::ZERO;
        for (when, by) in &self.leaps {
            if shown < *when + leapt {
                break;
            }
            leapt += *by;
            if shown <= *when + leapt {
                return *when;
            }
        }
        shown - leapt
    }
}

impl LinkFaults {
    /// How much later than another one message may come.
    pub fn uneven(&self) -> Duration {
        let stalls: Duration = self.stalls.iter().map(|stall| stall.end - stall.start).sum();
        self.jitter + self.burst.unwrap_or_default() + stalls
    }
}

/// What goes wrong on one link. Messages keep their order whatever happens.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LinkFaults {
    /// Up to so much is added to a message's delay.
    pub jitter: Duration,
    /// Messages arrive in bursts, so far apart.
    pub burst: Option<Duration>,
    /// Nothing arrives meanwhile.
    pub stalls: Vec<Range<Duration>>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum ConnectFault {
    #[default]
    None,
    Takes(Duration),
    Fails {
        fatal: bool,
    },
    /// Neither connected nor refused.
    Hangs,
}

/// How a session of the model is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModelBreak {
    /// Its socket breaks, and what was on its way is gone.
    Drops,
    /// Nothing comes through any more, either way, and nobody says so.
    Silent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HangUpFault {
    Fails,
    /// It fails, and the call ends all the same.
    FailsAndWorks,
    /// No answer comes, and nothing happens.
    Hangs,
    /// It is accepted, and the stream goes on.
    Ignored,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ToolFault {
    Answers(Duration),
    Fails(Duration),
    /// With something else the second time.
    AnswersTwice(Duration),
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_leaps_shows_no_moment_twice() {
        let s = Duration::from_secs;
        let faults = Faults { leaps: vec![(s(3), s(10)), (s(5), s(1))], ..Faults::default() };
        assert_eq!([2, 3, 4, 5, 6].map(|at| faults.shown(s(at))), [2, 13, 14, 16, 17].map(s));
        assert_eq!([2, 3, 12, 13, 14, 15, 16, 17].map(|at| faults.real(s(at))), [2, 3, 3, 3, 4, 5, 5, 6].map(s));
    }
}
