//! Is the model there? (R11, N1, N4)

use std::time::Duration;

use crate::config::CallConfig;
use crate::fingerprint::Fingerprint;
use crate::id::{Epoch, RequestId};
use crate::time::CallTime;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Link {
    /// Never asked for.
    #[default]
    None,
    Connecting {
        epoch: Epoch,
        since: CallTime,
    },
    Configuring {
        epoch: Epoch,
        since: CallTime,
        request: RequestId,
    },
    Ready {
        epoch: Epoch,
    },
    /// Lost; to be connected again at this time (N4).
    Lost {
        again_at: CallTime,
    },
    /// Gone, with no hope of another.
    Gone,
}

impl Link {
    /// The connection whose inputs count (R11).
    pub fn epoch(self) -> Option<Epoch> {
        match self {
            Link::Connecting { epoch, .. } | Link::Configuring { epoch, .. } | Link::Ready { epoch } => Some(epoch),
            Link::None | Link::Lost { .. } | Link::Gone => None,
        }
    }

    pub fn is_open(self) -> bool {
        matches!(self, Link::Configuring { .. } | Link::Ready { .. })
    }

    pub fn is_ready(self) -> bool {
        matches!(self, Link::Ready { .. })
    }

    /// Connecting and confirming the configuration have one limit each (R10).
    pub fn deadline(self, config: &CallConfig) -> Option<CallTime> {
        match self {
            Link::Connecting { since, .. } | Link::Configuring { since, .. } => Some(since + config.configure_timeout),
            Link::Lost { again_at } => Some(again_at),
            Link::None | Link::Ready { .. } | Link::Gone => None,
        }
    }

    pub fn fingerprint(self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        match self {
            Link::None => print.put(0),
            Link::Connecting { epoch, since: _ } => print.put((1, epoch)),
            Link::Configuring { epoch, since: _, request } => {
                print.put((2, epoch));
                print.id(request);
            }
            Link::Ready { epoch } => print.put((3, epoch)),
            Link::Gone => print.put(4),
            Link::Lost { again_at: _ } => print.put(5),
        }
        print.until_some(self.deadline(config));
    }
}

/// The time without a model, from its loss until it is configured again (N4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Outage {
    pub since: CallTime,
    attempts: u32,
    /// The caller was told to wait.
    pub filled: bool,
}

impl Outage {
    pub fn new(since: CallTime) -> Self {
        Outage { since, attempts: 0, filled: false }
    }

    /// When to try again; each time the pause doubles, from none.
    pub fn next_attempt(&mut self, now: CallTime, config: &CallConfig) -> CallTime {
        let pause = match self.attempts {
            0 => Duration::ZERO,
            attempts => config.reconnect_pause * (1 << (attempts - 1).min(4)),
        };
        self.attempts += 1;
        now + pause
    }

    /// When there is no hope any more.
    pub fn ends(&self, config: &CallConfig) -> Option<CallTime> {
        Some(self.since + config.reconnect_max?)
    }

    pub fn fingerprint(self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        let Outage { since, attempts, filled } = self;
        print.put((attempts, filled));
        print.until(since + config.filler_after);
        print.until_some(self.ends(config));
    }
}
