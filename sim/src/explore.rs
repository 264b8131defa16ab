//! Breadth-first search over everything that can happen in a small world, until nothing new can.
//!
//! A world is a value with a list of things that may happen next. Each is tried from each state; states are told apart
//! by a fingerprint, and only fingerprints are kept, so a world of millions fits into memory. The search goes by
//! levels, so the first trace found to a violation is a shortest one.
//!
//! A search that reaches nothing interesting proves nothing. So a world also names what must *sometimes* be the case;
//! what was never reached is reported, and is as much a failure as a violation.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

pub trait Explorable: Clone {
    type Action: Clone + Debug;

    /// What may happen next.
    fn actions(&self) -> Vec<Self::Action>;

    fn apply(&mut self, action: &Self::Action);

    /// What tells this state from others: without what cannot matter any more.
    fn fingerprint(&self, hasher: &mut impl Hasher);

    /// The rule that this state breaks, or the step to it broke.
    fn violation(&self) -> Option<&'static str>;

    /// Which of the things that must sometimes be the case are, or were in the step to it.
    fn sometimes(&self) -> Vec<&'static str>;
}

/// What a search found.
#[derive(Debug)]
pub struct Report<A> {
    pub states: usize,
    /// Steps of the longest shortest trace.
    pub depth: usize,
    /// Nothing new was left; otherwise the search stopped at its limit.
    pub exhausted: bool,
    /// A shortest trace to each rule that was broken.
    pub violations: BTreeMap<&'static str, Vec<A>>,
    /// After how many steps each was first the case.
    pub sometimes: BTreeMap<&'static str, usize>,
}

/// Searches from `start`, at most `states_max` states. A state that breaks a rule is not searched further.
pub fn explore<W: Explorable>(start: W, states_max: usize) -> Report<W::Action> {
    search(start, states_max, Until::NothingNew)
}

/// Searches until a rule is broken, in as few steps as that can be done.
pub fn hunt<W: Explorable>(start: W, states_max: usize) -> Report<W::Action> {
    search(start, states_max, Until::Broken)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    NothingNew,
    Broken,
}

fn search<W: Explorable>(start: W, states_max: usize, until: Until) -> Report<W::Action> {
    let mut seen = HashSet::new();
    seen.insert(fingerprint(&start));
    // How each state was reached: from which one, by what.
    let mut reached: Vec<Option<(usize, W::Action)>> = vec![None];
    let mut frontier = vec![(0, start)];
    let mut report =
        Report { states: 1, depth: 0, exhausted: true, violations: BTreeMap::new(), sometimes: BTreeMap::new() };
    let mut depth = 0;
    while !frontier.is_empty() {
        report.depth = depth;
        let mut next = Vec::new();
        for (index, world) in frontier {
            for action in world.actions() {
                let mut after = world.clone();
                after.apply(&action);
                // Of the step, too: it may lead to where another came by.
                for name in after.sometimes() {
                    report.sometimes.entry(name).or_insert(depth + 1);
                }
                if let Some(rule) = after.violation() {
                    report.violations.entry(rule).or_insert_with(|| {
                        let mut trace = trace(&reached, index);
                        trace.push(action.clone());
                        trace
                    });
                    if until == Until::Broken {
                        report.exhausted = false;
                        return report;
                    }
                    continue;
                }
                if !seen.insert(fingerprint(&after)) {
                    continue;
                }
                if report.states == states_max {
                    report.exhausted = false;
                    return report;
                }
                report.states += 1;
                reached.push(Some((index, action)));
                next.push((reached.len() - 1, after));
            }
        }
        frontier = next;
        depth += 1;
    }
    report
}

/// 128 bits, so that two states of millions do not meet by accident.
pub fn fingerprint(world: &impl Explorable) -> u128 {
    let mut halves = Halves(DefaultHasher::new(), DefaultHasher::new());
    0x9E37_79B9_7F4A_7C15_u64.hash(&mut halves.1);
    world.fingerprint(&mut halves);
    u128::from(halves.0.finish()) << 64 | u128::from(halves.1.finish())
}

/// Two hashers that are told the same, from different beginnings.
struct Halves(DefaultHasher, DefaultHasher);

impl Hasher for Halves {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

fn trace<A: Clone>(reached: &[Option<(usize, A)>], mut index: usize) -> Vec<A> {
    let mut actions = Vec::new();
    while let Some((before, action)) = &reached[index] {
        actions.push(action.clone());
        index = *before;
    }
    actions.reverse();
    actions
}
