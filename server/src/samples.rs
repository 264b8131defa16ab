//! Measurements of one kind, sorted into buckets: a plain value that costs an addition to add to, so that a call can
//! measure each of its frames and hand over the sum now and then.

use call::summary::Spread;

/// Room for the upper bounds of any measure, and for what lies above all of them.
const BUCKETS_MAX: usize = 16;

/// Upper bounds of buckets, ascending, in the measure's unit. What lies above has a bucket of its own.
pub(crate) type Bounds = &'static [f64];

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Samples {
    bounds: Bounds,
    counts: [u64; BUCKETS_MAX],
    sum: f64,
    max: f64,
}

impl Samples {
    pub(crate) const fn new(bounds: Bounds) -> Self {
        assert!(bounds.len() < BUCKETS_MAX);
        Samples { bounds, counts: [0; BUCKETS_MAX], sum: 0.0, max: 0.0 }
    }

    pub(crate) fn add(&mut self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[bucket] += 1;
        self.sum += value;
        self.max = self.max.max(value);
    }

    pub(crate) fn merge(&mut self, other: &Samples) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }

    /// Upper bound and count of each bucket, the last one's bound being infinite.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounds.iter().copied().chain([f64::INFINITY]).zip(self.counts)
    }
}

/// What is left of measurements when it does not matter any more which bucket they were in.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Sum {
    count: u64,
    sum: f64,
    max: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.max = self.max.max(value);
    }

    pub(crate) fn merge(&mut self, samples: &Samples) {
        self.count += samples.count();
        self.sum += samples.sum;
        self.max = self.max.max(samples.max);
    }

    /// Of seconds.
    pub(crate) fn spread(&self) -> Spread {
        let micros = |seconds: f64| (seconds * 1e6).round() as u64;
        Spread { count: self.count, mean_us: micros(self.sum / self.count.max(1) as f64), max_us: micros(self.max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_in_the_first_bucket_that_has_room_for_it() {
        let mut samples = Samples::new(&[0.1, 1.0]);
        for value in [0.05, 0.1, 0.5, 7.0] {
            samples.add(value);
        }
        let buckets: Vec<_> = samples.buckets().collect();
        assert_eq!(buckets, [(0.1, 2), (1.0, 1), (f64::INFINITY, 1)]);
        let mut sum = Sum::default();
        sum.merge(&samples);
        assert_eq!(sum.spread(), Spread { count: 4, mean_us: 1_912_500, max_us: 7_000_000 });
        sum.add(8.0);
        assert_eq!(sum.spread(), Spread { count: 5, mean_us: 3_130_000, max_us: 8_000_000 });
    }

    #[test]
    fn what_is_handed_over_is_added_to_what_is_there() {
        let mut samples = Samples::new(&[1.0]);
        let mut all = Samples::new(&[1.0]);
        samples.add(0.5);
        all.add(2.0);
        all.merge(&samples);
        all.merge(&Samples::new(&[1.0]));
        assert_eq!((all.count(), all.sum()), (2, 2.5));
        assert_eq!(all.buckets().collect::<Vec<_>>(), [(1.0, 1), (f64::INFINITY, 1)]);
    }
}
