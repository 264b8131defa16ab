//! The caller's audio on its way to the model: counted, kept until the model is ready, its gaps filled (L2, T2, N7).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::CallConfig;
use crate::fingerprint::Fingerprint;
use crate::output::DropReason;
use crate::planted::{Fault, planted};
use crate::playback::playing_time;
use crate::time::CallTime;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Uplink {
    /// Carrier media messages, before any filter.
    pub messages: u64,
    forwarded: u64,
    dropped: BTreeMap<DropReason, u64>,
    /// Sizes of the messages kept by the driver, oldest first.
    held: std::collections::VecDeque<u32>,
    held_bytes: u64,
    /// Where the carrier's next message should begin, on its own clock.
    expected_ms: Option<u64>,
    last_audio: Option<CallTime>,
    /// Anything at all from the carrier.
    last_message: Option<CallTime>,
    /// The present gap was filled already; the jump of the timestamp is not to fill it again.
    gap_filled: bool,
    /// What comes is too quiet, or too short, to be a voice (O3).
    pub quiet: bool,
}

/// What happens to one message of audio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Forward,
    Hold,
    Drop(DropReason),
}

/// The longest gap that is filled: more is not a gap but a silence, which the detector has understood long before.
const GAP_FILL_MAX: Duration = Duration::from_secs(10);

/// What is sent when the carrier falls silent while the caller speaks: enough for any detector to close the turn.
pub const GAP_FILL: Duration = Duration::from_secs(1);

impl Uplink {
    /// Takes note of a message. The first value is the silence to be sent before it, in bytes.
    pub fn audio(&mut self, bytes: u32, timestamp_ms: u64, fate: Fate, now: CallTime) -> u32 {
        let gap_ms = self.expected_ms.map_or(0, |expected| timestamp_ms.saturating_sub(expected));
        let fill = if self.gap_filled || gap_ms == 0 || planted(Fault::GapsStay) {
            0
        } else {
            u32::try_from(gap_ms.min(GAP_FILL_MAX.as_millis() as u64) * 8).unwrap_or(0)
        };
        self.gap_filled = false;
        // A peer may claim any time.
        self.expected_ms = Some(timestamp_ms.saturating_add(u64::from(bytes) / 8));
        self.last_audio = Some(now);
        self.carrier_spoke(now);
        self.messages += 1;
        match fate {
            Fate::Forward => self.forwarded += 1,
            Fate::Hold => {
                self.held.push_back(bytes);
                self.held_bytes += u64::from(bytes);
            }
            Fate::Drop(reason) => *self.dropped.entry(reason).or_default() += 1,
        }
        fill
    }

    /// The oldest message kept beyond `held_audio_max`, now dropped: its size.
    pub fn overflow(&mut self, config: &CallConfig) -> Option<u32> {
        if playing_time(self.held_bytes) <= config.held_audio_max {
            return None;
        }
        let bytes = self.held.pop_front()?;
        self.held_bytes -= u64::from(bytes);
        *self.dropped.entry(DropReason::ModelNotReady).or_default() += 1;
        Some(bytes)
    }

    /// Everything kept is forwarded: its size.
    pub fn release(&mut self) -> u32 {
        let bytes = u32::try_from(self.held_bytes).unwrap_or(u32::MAX);
        self.forwarded += self.held.len() as u64;
        self.held.clear();
        self.held_bytes = 0;
        bytes
    }

    /// When a gap in the carrier's audio is to be filled, if the caller is speaking (N7).
    pub fn gap_deadline(&self, config: &CallConfig) -> Option<CallTime> {
        (!self.gap_filled).then_some(self.last_audio? + config.gap_fill_after)
    }

    /// Something came from the carrier: its socket lives.
    pub fn carrier_spoke(&mut self, now: CallTime) {
        self.last_message = Some(now);
    }

    /// Another stream of the same call, with a clock of its own.
    pub fn new_stream(&mut self, now: CallTime) {
        self.expected_ms = None;
        self.last_audio = None;
        self.gap_filled = false;
        self.quiet = false;
        self.carrier_spoke(now);
    }

    /// When a carrier that says nothing at all counts as lost (N7).
    pub fn silence_deadline(&self, config: &CallConfig) -> Option<CallTime> {
        Some(self.last_message? + config.carrier_silence_max)
    }

    pub fn is_silent(&self, now: CallTime, config: &CallConfig) -> bool {
        self.silence_deadline(config).is_some_and(|at| at <= now)
    }

    /// There will be no model to forward to.
    pub fn forget_held(&mut self) {
        if !self.held.is_empty() {
            *self.dropped.entry(DropReason::NoModel).or_default() += self.held.len() as u64;
        }
        self.held.clear();
        self.held_bytes = 0;
    }

    pub fn fill_gap(&mut self) {
        self.gap_filled = true;
    }

    /// Kept for a model that is not ready.
    pub fn held(&self) -> Duration {
        playing_time(self.held_bytes)
    }

    pub fn dropped(&self) -> &BTreeMap<DropReason, u64> {
        &self.dropped
    }

    /// The carrier's own clock is put in as it stands: a world in which the caller's audio has timestamps grows with them.
    pub fn fingerprint(&self, print: &mut Fingerprint<'_>, config: &CallConfig) {
        let Uplink {
            messages: _,
            forwarded: _,
            dropped: _,
            held,
            held_bytes: _,
            expected_ms,
            last_audio: _,
            last_message: _,
            gap_filled,
            quiet,
        } = self;
        print.put((held, *expected_ms, *gap_filled, *quiet));
        print.until_some(self.gap_deadline(config));
        print.until_some(self.silence_deadline(config));
    }

    /// The books balance: every message went somewhere (L2).
    pub fn check(&self) -> Result<(), &'static str> {
        let dropped: u64 = self.dropped.values().sum();
        if self.messages == self.forwarded + self.held.len() as u64 + dropped {
            Ok(())
        } else {
            Err("L2: in = forwarded + buffered + dropped")
        }
    }
}
