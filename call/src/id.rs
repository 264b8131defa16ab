//! Names of things within one call. Small numbers: the vendor's own ids are strings, and stay in `wire`.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// A response of the model, numbered in the order in which the call first heard of it.
    ResponseId,
    "r"
);
id!(
    /// A conversation item of the model: a message of either side, or a function call.
    ItemId,
    "i"
);
id!(
    /// A function call that the model made.
    ToolCallId,
    "t"
);
id!(
    /// A request of ours to the model. The wire spells it as the event id, so that a rejection finds its way back (R8).
    RequestId,
    "q"
);
id!(
    /// A side effect that was asked for; its result comes back under the same id.
    CommandId,
    "c"
);
id!(
    /// A connection to the model, counted from 1. Inputs of an older one are ignored (R11).
    Epoch,
    "e"
);

/// A mark in the carrier's playback. The epoch rises at every `clear`, so that a mark returned because it was flushed
/// is told from one that was reached (A7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MarkId {
    pub epoch: u32,
    pub seq: u32,
}

impl fmt::Display for MarkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}
