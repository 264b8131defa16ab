//! Is the model there? (R11, N1)

use crate::config::CallConfig;
use crate::fingerprint::Fingerprint;
use crate::id::{Epoch, RequestId};
use crate::time::CallTime;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Link {
    /// Never asked for.
    #[default]
    None,
    Connecting { epoch: Epoch, since: CallTime },
    Configuring { epoch: Epoch, since: CallTime, request: RequestId },
    Ready { epoch: Epoch },
    /// Gone, with no hope of another.
    Gone,
}

impl Link {
    /// The connection whose inputs count (R11).
    pub fn epoch(self) -> Option<Epoch> {
        match self {
            Link::Connecting { epoch, .. } | Link::Configuring { epoch, .. } | Link::Ready { epoch } => Some(epoch),
            Link::None | Link::Gone => None,
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
        }
        print.until_some(self.deadline(config));
    }
}
