//! Many seeds at once: what was reached how often, and which broke a rule.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::seed::Plan;
use crate::verdict::Violation;

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Survey {
    pub calls: u64,
    pub reached: BTreeMap<String, Times>,
    /// Seeds that broke a rule, in order.
    pub broken: Vec<(u64, Violation)>,
    /// How long the good calls lasted, all together.
    pub talked: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    pub calls: u64,
    pub all: u64,
}

/// Failing seeds that are shown; more say nothing new.
const SHOWN: usize = 50;

/// Runs every seed of the range.
pub fn survey(seeds: Range<u64>, threads: usize) -> Survey {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut survey = Survey::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return survey;
            }
            survey.add(seed);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut whole = Survey::default();
        for thread in threads {
            whole.join(thread.join().expect("a panic within a call is its verdict"));
        }
        whole.broken.sort_by_key(|(seed, _)| *seed);
        whole
    })
}

impl Survey {
    fn add(&mut self, seed: u64) {
        self.calls += 1;
        match Plan::from_seed(seed).run().verdict {
            Ok(facts) => {
                self.talked += facts.at;
                for (what, all) in facts.reached {
                    let times = self.reached.entry(what).or_default();
                    *times = Times { calls: times.calls + 1, all: times.all + all };
                }
            }
            Err(violation) => self.broken.push((seed, violation)),
        }
    }

    fn join(&mut self, other: Survey) {
        self.calls += other.calls;
        self.talked += other.talked;
        self.broken.extend(other.broken);
        for (what, more) in other.reached {
            let times = self.reached.entry(what).or_default();
            *times = Times { calls: times.calls + more.calls, all: times.all + more.all };
        }
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "in calls    times")?;
        for (what, Times { calls, all }) in &self.reached {
            writeln!(f, "{calls:>8} {all:>8}  {what}")?;
        }
        for (seed, Violation { rule, what, at }) in self.broken.iter().take(SHOWN) {
            writeln!(f, "seed {seed}: {rule} broken at {at:?}: {what}")?;
        }
        let mut rules: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, violation) in &self.broken {
            *rules.entry(violation.rule).or_default() += 1;
        }
        let (calls, talked) = (self.calls, self.talked.as_secs());
        write!(f, "{calls} calls, {talked} s on the phone; {} broke a rule {rules:?}", self.broken.len())
    }
}
