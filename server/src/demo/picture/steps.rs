//! Quantities that change in steps, as a server counts them.

/// A value that changes in steps: `(at_ms, value)`, in order of time; zero before the first.
#[derive(Clone)]
pub struct Steps(pub Vec<(f64, f64)>);

impl Steps {
    pub fn new(steps: &[(f64, f64)]) -> Steps {
        let mut steps = steps.to_vec();
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        Steps(steps)
    }

    pub fn at(&self, at_ms: f64) -> f64 {
        let next = self.0.partition_point(|&(t, _)| t <= at_ms);
        next.checked_sub(1).map_or(0.0, |last| self.0[last].1)
    }

    pub fn most(&self) -> f64 {
        self.0.iter().map(|&(_, value)| value).fold(0.0, f64::max)
    }

    /// The same, but at these times everything beyond `floor` is thrown away, and what follows counts on from there.
    pub fn dropping_to(self, floor: &Steps, times: &[f64]) -> Steps {
        let mut dropped = 0.0;
        let mut times = times.iter().copied().peekable();
        let mut steps = Vec::with_capacity(self.0.len() + times.len());
        let mut last = 0.0;
        for (at_ms, value) in self.0.into_iter().chain([(f64::INFINITY, 0.0)]) {
            while let Some(drop_ms) = times.next_if(|&drop_ms| drop_ms < at_ms) {
                let excess = last - dropped - floor.at(drop_ms);
                if excess > 0.0 {
                    dropped += excess;
                    steps.push((drop_ms, last - dropped));
                }
            }
            if at_ms.is_finite() {
                steps.push((at_ms, value - dropped));
                last = value;
            }
        }
        Steps(steps)
    }

    /// From when to when the value rose the longest without a pause of half a second.
    pub fn longest_rise(&self, end_ms: f64) -> (f64, f64) {
        const PAUSE_MS: f64 = 500.0;
        let mut longest = (0.0, 0.0);
        let mut start = None;
        for pair in self.0.windows(2) {
            let (from, to) = (pair[0].0, pair[1].0.min(end_ms));
            if to - from > PAUSE_MS {
                start = None;
                continue;
            }
            let start = *start.get_or_insert(from);
            if to - start > longest.1 - longest.0 {
                longest = (start, to);
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_holds_until_the_next() {
        let steps = Steps::new(&[(20.0, 2.0), (10.0, 1.0)]);
        assert_eq!([0.0, 9.0, 10.0, 19.0, 20.0, 99.0].map(|t| steps.at(t)), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn what_is_dropped_stays_dropped() {
        let heard = Steps::new(&[(10.0, 30.0), (50.0, 70.0)]);
        let made = Steps::new(&[(0.0, 100.0), (40.0, 140.0), (60.0, 150.0)]).dropping_to(&heard, &[20.0, 80.0]);
        assert_eq!(made.0, [(0.0, 100.0), (20.0, 30.0), (40.0, 70.0), (60.0, 80.0), (80.0, 70.0)]);
    }

    #[test]
    fn nothing_ahead_is_nothing_to_drop() {
        let heard = Steps::new(&[(0.0, 100.0)]);
        let made = Steps::new(&[(0.0, 100.0)]).dropping_to(&heard, &[20.0]);
        assert_eq!(made.0, [(0.0, 100.0)]);
    }

    #[test]
    fn the_longest_rise_has_no_pause() {
        let steps: Vec<(f64, f64)> = [0.0, 100.0, 200.0, 900.0, 1_000.0, 1_100.0, 1_300.0].map(|t| (t, t)).to_vec();
        assert_eq!(Steps::new(&steps).longest_rise(5_000.0), (900.0, 1_300.0));
    }
}
