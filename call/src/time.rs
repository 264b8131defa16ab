//! Time as the call knows it: microseconds since the call was made.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, counted in microseconds from the making of the call. The driver's clock is monotonic; so is this.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallTime(u64);

impl CallTime {
    pub const ZERO: CallTime = CallTime(0);
    /// The end of time: where a deadline with a limit of [`Duration::MAX`] lies.
    pub const NEVER: CallTime = CallTime(u64::MAX);

    pub const fn from_micros(micros: u64) -> Self {
        CallTime(micros)
    }

    pub const fn from_millis(millis: u64) -> Self {
        CallTime(millis * 1_000)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// The time from `earlier` to this, zero if `earlier` is later.
    pub const fn since(self, earlier: CallTime) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for CallTime {
    type Output = CallTime;

    fn add(self, duration: Duration) -> CallTime {
        CallTime(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Earlier by `duration`, but never before the call was made.
impl Sub<Duration> for CallTime {
    type Output = CallTime;

    fn sub(self, duration: Duration) -> CallTime {
        CallTime(self.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Seconds with six decimals, as traces and assertions show it.
impl fmt::Display for CallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Debug for CallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
