//! Every defect that is planted in the core is found: by a search of the worlds, or by calls drawn from seeds.
//!
//! What finds nothing when nothing is wrong (`worlds.rs`, `seeds.rs`) is thereby known to bite. `--nocapture` shows for
//! each how it was found, in how many steps, and in what time; `docs/proof.md` has the table. `PLANTED=Name,Name` looks at some.

use std::panic;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use call::planted::{self, Fault};
use sim::explore::hunt;
use sim::seed::Plan;
use sim::worlds::{Scope, World, scopes};

/// States of each world that are looked at for a defect: most of what shows at all shows early. What neither shows there
/// nor in any call is searched for further.
const STATES: usize = 6_000;
const STATES_MAX: usize = 150_000;

/// Calls that are drawn for a defect that a search found already, and for one that none did.
const SEEDS: u64 = 300;
const SEEDS_MAX: u64 = 2_000;

struct Found {
    by: String,
    rule: String,
    /// Inputs until it showed.
    steps: usize,
    after: Duration,
}

fn worlds() -> [Scope; 17] {
    [
        scopes::cancelled(),
        scopes::unspoken(),
        scopes::greeting(),
        scopes::hold(),
        scopes::ears(),
        scopes::ears_goodbye(),
        scopes::talkative(),
        scopes::marks(),
        scopes::hang_up(),
        scopes::goodbye(),
        scopes::noise(),
        scopes::overtaken(),
        scopes::loss(),
        scopes::asking(),
        scopes::silence(),
        scopes::failing(),
        scopes::tools(),
    ]
}

/// The fewest steps to a broken rule, in the first world that has one.
fn explored(fault: Fault, states_max: usize) -> Option<Found> {
    let began = Instant::now();
    worlds().into_iter().find_map(|scope| {
        let name = scope.name;
        let report = planted::with(fault, || hunt(World::new(&Rc::new(scope)), states_max));
        let (rule, trace) = report.violations.into_iter().next()?;
        Some(Found { by: format!("world {name}"), rule: rule.to_owned(), steps: trace.len(), after: began.elapsed() })
    })
}

/// The first seed whose call breaks a rule.
fn simulated(fault: Fault, seeds: u64) -> Option<Found> {
    let began = Instant::now();
    (0..seeds).find_map(|seed| {
        let run = planted::with(fault, || Plan::from_seed(seed).run());
        let violation = run.verdict.err()?;
        assert!(Plan::from_seed(seed).run().verdict.is_ok(), "seed {seed} breaks a rule with nothing planted");
        Some(Found {
            by: format!("seed {seed}"),
            rule: format!("{} {}", violation.rule, violation.what),
            steps: run.trace.lines().filter(|line| line.contains(" < ")).count(),
            after: began.elapsed(),
        })
    })
}

/// What was found of a defect, in words, and whether anything was.
fn hunted(fault: Fault) -> (String, bool) {
    let searched = explored(fault, STATES);
    let seeds = if searched.is_some() { SEEDS } else { SEEDS_MAX };
    let mut found = [searched, simulated(fault, seeds)];
    if found.iter().all(Option::is_none) {
        found[0] = explored(fault, STATES_MAX);
    }
    let mut text = format!("{} {fault:?}: {}\n", fault.rule(), fault.what());
    for found in found.iter().flatten() {
        let rule: String = found.rule.chars().take(80).collect();
        text += &format!("    {}, {} steps, {:.1} s: {rule}\n", found.by, found.steps, found.after.as_secs_f64());
    }
    (text, found.iter().any(Option::is_some))
}

#[test]
fn every_planted_defect_is_found() {
    // A broken invariant of the core is a finding here, and nothing to be shown.
    panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let only = std::env::var("PLANTED").ok();
    let hunt = || {
        let mut missed = Vec::new();
        while let Some(&fault) = Fault::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            if only.as_ref().is_some_and(|only| !only.contains(&format!("{fault:?}"))) {
                continue;
            }
            let (text, found) = hunted(fault);
            print!("{text}");
            missed.extend((!found).then_some(fault));
        }
        missed
    };
    let missed: Vec<Fault> = thread::scope(|scope| {
        let hunters = [scope.spawn(hunt), scope.spawn(hunt)];
        hunters.into_iter().flat_map(|hunter| hunter.join().unwrap_or_default()).collect()
    });
    let _ = panic::take_hook();
    assert!(missed.is_empty(), "nobody noticed: {missed:?}");
}
