//! What a step measures.

use serde::Serialize;

/// Durations, all of them kept: a step has a few million at most, of four bytes each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    micros: Vec<u32>,
}

/// What is said of many durations, in ms.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Spread {
    pub count: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// More samples of one kind than this say nothing new.
const SAMPLES_MAX: usize = 1 << 23;

impl Samples {
    pub(crate) fn add(&mut self, micros: u64) {
        if self.micros.len() < SAMPLES_MAX {
            self.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    }

    /// The share of the samples that are at most so long; 1 if there are none.
    pub(crate) fn share_within(&self, micros: u32) -> f64 {
        let within = self.micros.iter().filter(|sample| **sample <= micros).count();
        if self.micros.is_empty() { 1.0 } else { within as f64 / self.micros.len() as f64 }
    }

    /// `None` if there are none.
    pub(crate) fn spread(&mut self) -> Option<Spread> {
        self.micros.sort_unstable();
        let last = self.micros.len().checked_sub(1)?;
        let at = |share: f64| f64::from(self.micros[(last as f64 * share).ceil() as usize]) / 1e3;
        Some(Spread { count: last + 1, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) })
    }
}

/// What the load saw in the measured seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Caller's frame sent → the model has it.
    pub uplink: Samples,
    /// First audio of an utterance sent by the model → the carrier has its first frame.
    pub first_frame: Samples,
    /// The model says that the caller speaks → the carrier has the `clear`.
    pub clear: Samples,
    /// How far a message of audio is from the moment at which the pace puts it, after the first of an utterance.
    pub jitter: Samples,
    /// Between two messages of audio of one utterance.
    pub gap: Samples,
    /// Where the model was told that hearing stopped, against where it did.
    pub truncation: Samples,
    /// The webhook is posted → the media stream stands.
    pub setup: Samples,
    /// How late the load itself was with what it had to do.
    pub lateness: Samples,
    pub frames_up: u64,
    pub frames_down: u64,
    pub messages_down: u64,
    /// Frames that came after everything before them had been played, and for how long nothing was there to play.
    pub underruns: u64,
    pub starved_micros: u64,
    pub responses: u64,
    pub barge_ins: u64,
    pub marks: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.spread(), None);
        for micros in (1..=1_000).rev() {
            samples.add(micros * 1_000);
        }
        let spread = samples.spread().unwrap();
        assert_eq!((spread.count, spread.p50_ms, spread.p99_ms, spread.max_ms), (1_000, 501.0, 991.0, 1_000.0));
        assert_eq!(samples.share_within(250_000), 0.25);
        samples.add(u64::MAX);
        assert_eq!(samples.spread().unwrap().max_ms, f64::from(u32::MAX) / 1e3);
    }
}
