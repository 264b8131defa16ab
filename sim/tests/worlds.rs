//! Every world is searched to its end, breaks no rule, and reaches what it must.
//!
//! `--nocapture` shows how large each is, and after how many steps what must be reached is reached first.

use std::rc::Rc;
use std::time::Instant;

use sim::explore::explore;
use sim::worlds::{Scope, World, scopes};

/// More than any of the worlds has: one that outgrew this has to be made smaller, or split.
const STATES_MAX: usize = 1_000_000;

#[track_caller]
fn search(scope: Scope) {
    let began = Instant::now();
    let scope = Rc::new(scope);
    let report = explore(World::new(&scope), STATES_MAX);
    let seconds = began.elapsed().as_secs_f64();
    let mut text = format!("{}: {} states, {} deep, {seconds:.1} s\n", scope.name, report.states, report.depth);
    for (what, depth) in &report.sometimes {
        text += &format!("  {depth:2} steps: {what}\n");
    }
    for (rule, trace) in &report.violations {
        text += &format!("  BROKEN in {} steps: {rule}\n    {trace:?}\n", trace.len());
    }
    println!("{text}");
    assert!(report.violations.is_empty(), "a rule is broken, see above");
    assert!(report.exhausted, "more states than were searched");
    let never: Vec<_> = scope.sometimes.iter().filter(|what| !report.sometimes.contains_key(*what)).collect();
    assert!(never.is_empty(), "never seen: {never:?}");
}

#[test]
fn goodbye() {
    search(scopes::goodbye());
}

#[test]
fn hold() {
    search(scopes::hold());
}

#[test]
fn hang_up() {
    search(scopes::hang_up());
}

#[test]
fn asking() {
    search(scopes::asking());
}

#[test]
fn failing() {
    search(scopes::failing());
}

#[test]
fn tools() {
    search(scopes::tools());
}

#[test]
fn loss() {
    search(scopes::loss());
}

#[test]
fn greeting() {
    search(scopes::greeting());
}

#[test]
fn silence() {
    search(scopes::silence());
}

#[test]
fn marks() {
    search(scopes::marks());
}
