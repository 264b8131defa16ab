//! Two voices on one timeline, as a value: told what was said when, it gives back what can no longer change.

use std::collections::VecDeque;
use std::time::Duration;

/// µ-law of no sound at all.
const SILENCE: u8 = 0xFF;

/// Samples of G.711 in a millisecond.
const SAMPLES_PER_MS: u64 = 8;

/// How long a sample may still be placed, replaced or cleared. Longer than any jitter that a call survives with
/// grace; together with the writer's interval, what makes the file at most 500 ms late (C3).
pub(crate) const SETTLES_AFTER: Duration = Duration::from_millis(400);

/// Furthest from now that a sample is placed. Far above any lead; a timestamp beyond it is nonsense, and believing it
/// would cost the memory of the silence before it.
const AHEAD_MAX: Duration = Duration::from_secs(30);

/// A channel gets its room in steps of so many samples.
const ROOM_STEP: usize = 1_024;

/// Stereo µ-law in the making, caller left, agent right. Where both say nothing there is silence; where one side
/// claims a moment twice, the later claim wins.
#[derive(Default, Debug)]
pub(crate) struct Timeline {
    /// Samples given back so far, of each channel.
    settled: u64,
    caller: VecDeque<u8>,
    agent: VecDeque<u8>,
    /// Samples that came after their moment had settled, or claimed a moment too far away.
    unplaced: u64,
}

impl Timeline {
    /// Audio of the caller that begins at `at`.
    pub(crate) fn caller(&mut self, at: Duration, audio: &[u8]) {
        self.unplaced += place(&mut self.caller, self.settled, samples(at), audio);
    }

    /// Audio of the agent, expected to be played from `at` on.
    pub(crate) fn agent(&mut self, at: Duration, audio: &[u8]) {
        self.unplaced += place(&mut self.agent, self.settled, samples(at), audio);
    }

    /// Nothing of the agent from `at` on was played.
    pub(crate) fn cleared(&mut self, at: Duration) {
        let keep = samples(at).saturating_sub(self.settled);
        self.agent.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }

    /// Appends to `out` what is settled by `now`, interleaved.
    pub(crate) fn settle(&mut self, now: Duration, out: &mut Vec<u8>) {
        self.settle_until(samples(now.saturating_sub(SETTLES_AFTER)), out);
    }

    /// Appends to `out` all that was said by `end`: what was still to be played then was not.
    pub(crate) fn finish(&mut self, end: Duration, out: &mut Vec<u8>) {
        let said = self.settled + self.caller.len().max(self.agent.len()) as u64;
        self.settle_until(samples(end).min(said), out);
    }

    /// Length of what was given back.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_millis(self.settled / SAMPLES_PER_MS)
    }

    /// Bytes given back, of both channels.
    pub(crate) fn bytes(&self) -> u64 {
        self.settled * 2
    }

    pub(crate) fn unplaced(&self) -> Duration {
        Duration::from_millis(self.unplaced / SAMPLES_PER_MS)
    }

    fn settle_until(&mut self, end: u64, out: &mut Vec<u8>) {
        while self.settled < end {
            out.push(self.caller.pop_front().unwrap_or(SILENCE));
            out.push(self.agent.pop_front().unwrap_or(SILENCE));
            self.settled += 1;
        }
    }
}

/// Returns how many samples found no place.
fn place(channel: &mut VecDeque<u8>, settled: u64, at: u64, audio: &[u8]) -> u64 {
    let late = settled.saturating_sub(at).min(audio.len() as u64);
    let from = at.max(settled) - settled;
    // `late` is at most the length of a slice.
    let audio = &audio[late as usize..];
    if from + audio.len() as u64 > samples(AHEAD_MAX) {
        return late + audio.len() as u64;
    }
    let from = from as usize;
    let end = from + audio.len();
    if channel.len() < end {
        // Not to twice what waits: that is more than all else that a recording holds.
        channel.reserve_exact((end - channel.len()).next_multiple_of(ROOM_STEP));
        channel.resize(end, SILENCE);
    }
    for (sample, said) in channel.range_mut(from..end).zip(audio) {
        *sample = *said;
    }
    late
}

fn samples(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX).saturating_mul(SAMPLES_PER_MS) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn finished(mut timeline: Timeline, end: Duration) -> Vec<[u8; 2]> {
        let mut out = Vec::new();
        timeline.finish(end, &mut out);
        out.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()
    }

    #[test]
    fn gaps_are_silence() {
        let mut timeline = Timeline::default();
        timeline.caller(ms(1), &[1; 8]);
        timeline.agent(ms(3), &[2; 8]);
        let pairs = finished(timeline, ms(1_000));
        let at = |millis: usize| pairs[millis * 8];
        assert_eq!((at(0), at(1), at(2), at(3)), ([0xFF, 0xFF], [1, 0xFF], [0xFF, 0xFF], [0xFF, 2]));
        assert_eq!(pairs.len(), 4 * 8);
    }

    #[test]
    fn what_was_cleared_is_not_heard() {
        let mut timeline = Timeline::default();
        timeline.agent(ms(0), &[1; 80]);
        timeline.cleared(ms(4));
        timeline.agent(ms(6), &[2; 8]);
        let agent: Vec<u8> = finished(timeline, ms(1_000)).iter().map(|pair| pair[1]).collect();
        assert_eq!(agent, [[1; 32].as_slice(), &[0xFF; 16], &[2; 8]].concat());
    }

    #[test]
    fn what_was_not_played_at_the_end_is_not_in_it() {
        let mut timeline = Timeline::default();
        timeline.agent(ms(0), &[1; 800]);
        assert_eq!(finished(timeline, ms(30)).len(), 240);
    }

    #[test]
    fn only_what_is_old_enough_settles_and_then_stays() {
        let mut timeline = Timeline::default();
        let mut out = Vec::new();
        timeline.caller(ms(0), &[1; 800]);
        timeline.settle(ms(410), &mut out);
        assert_eq!(out.len(), 2 * 80);
        timeline.cleared(ms(0));
        timeline.caller(ms(0), &[9; 160]);
        assert_eq!(timeline.unplaced(), ms(10));
        timeline.settle(ms(420), &mut out);
        assert!(out.chunks_exact(2).skip(80).all(|pair| pair == [9, 0xFF]));
        assert_eq!(timeline.duration(), ms(20));
    }

    #[test]
    fn an_absurd_timestamp_costs_nothing() {
        let mut timeline = Timeline::default();
        timeline.caller(Duration::MAX, &[1; 160]);
        timeline.caller(ms(3_600_000), &[1; 160]);
        assert!(timeline.caller.is_empty());
        assert_eq!(timeline.unplaced(), ms(40));
    }

    proptest! {
        /// Frames of 20 ms, told in any order within the window, with writing in between, make the same recording.
        #[test]
        fn order_within_the_window_does_not_matter(
            frames in proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..SETTLES_AFTER.as_millis() as u64), 0..100),
        ) {
            let mut expected = vec![[SILENCE; 2]; 8 * 2_000];
            let mut told: Vec<_> = frames
                .iter()
                .map(|(caller, slot, delay)| (slot * 20 + delay, *caller, slot * 20))
                .collect();
            told.sort();
            let (mut timeline, mut out) = (Timeline::default(), Vec::new());
            for (now, caller, at) in told {
                timeline.settle(ms(now), &mut out);
                let value = (at % 251) as u8;
                if caller { timeline.caller(ms(at), &[value; 160]) } else { timeline.agent(ms(at), &[value; 160]) }
                for pair in &mut expected[at as usize * 8..][..160] {
                    pair[usize::from(!caller)] = value;
                }
            }
            timeline.finish(ms(2_000), &mut out);
            let pairs: Vec<[u8; 2]> = out.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
            prop_assert_eq!(timeline.unplaced(), ms(0));
            prop_assert_eq!(&pairs[..], &expected[..pairs.len()]);
            prop_assert!(expected[pairs.len()..].iter().all(|pair| *pair == [SILENCE; 2]));
        }

        /// However it is told, what was given back is as long as the clock says, and never changes the past.
        #[test]
        fn settling_follows_the_clock(steps in proptest::collection::vec((0u64..200, 0u64..2_000, 0usize..400), 0..60)) {
            let (mut timeline, mut out, mut now) = (Timeline::default(), Vec::new(), 0);
            for (later, at, len) in steps {
                now += later;
                timeline.agent(ms(at), &vec![1; len]);
                timeline.settle(ms(now), &mut out);
                prop_assert_eq!(out.len() as u64, now.saturating_sub(400) * 16);
            }
        }
    }
}
