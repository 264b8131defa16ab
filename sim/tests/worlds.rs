//! Every world is searched to its end, breaks no rule, and reaches what it must.
//!
//! `--nocapture` shows how large each is, and after how many steps what must be reached is reached first.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use sim::explore::{Explorable, explore, fingerprint};
use sim::worlds::{Scope, Step, World, scopes};

/// More than any of the worlds has: one that outgrew this has to be made smaller, or split.
const STATES_MAX: usize = 1_000_000;

/// What a few gigabytes hold.
const LARGER_STATES_MAX: usize = 20_000_000;

#[track_caller]
fn search(scope: Scope, states_max: usize) {
    let began = Instant::now();
    let scope = Rc::new(scope);
    let report = explore(World::new(&scope), states_max);
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
    search(scopes::goodbye(), STATES_MAX);
}

#[test]
fn cancelled() {
    search(scopes::cancelled(), STATES_MAX);
}

#[test]
fn talkative() {
    search(scopes::talkative(), STATES_MAX);
}

#[test]
fn hold() {
    search(scopes::hold(), STATES_MAX);
}

#[test]
fn ears() {
    search(scopes::ears(), STATES_MAX);
}

#[test]
fn ears_goodbye() {
    search(scopes::ears_goodbye(), STATES_MAX);
}

#[test]
fn hang_up() {
    search(scopes::hang_up(), STATES_MAX);
}

#[test]
fn asking() {
    search(scopes::asking(), STATES_MAX);
}

#[test]
fn failing() {
    search(scopes::failing(), STATES_MAX);
}

#[test]
fn tools() {
    search(scopes::tools(), STATES_MAX);
}

#[test]
fn noise() {
    search(scopes::noise(), STATES_MAX);
}

#[test]
fn overtaken() {
    search(scopes::overtaken(), STATES_MAX);
}

#[test]
fn loss() {
    search(scopes::loss(), STATES_MAX);
}

#[test]
fn greeting() {
    search(scopes::greeting(), STATES_MAX);
}

#[test]
fn silence() {
    search(scopes::silence(), STATES_MAX);
}

#[test]
fn unspoken() {
    search(scopes::unspoken(), STATES_MAX);
}

#[test]
fn marks() {
    search(scopes::marks(), STATES_MAX);
}

#[test]
fn larger() {
    if std::env::var_os("PATCHCORD_LARGER_WORLDS").is_none() {
        return println!("SKIPPED: it takes long, and much memory; set PATCHCORD_LARGER_WORLDS, and --release");
    }
    for scope in scopes::larger() {
        search(scope, LARGER_STATES_MAX);
    }
}

/// A search is worth what its fingerprints are worth: where two states have the same, whatever happens next must have
/// the same too. Looked at for every state that was reached twice.
#[test]
fn equal_fingerprints_mean_equal_futures() {
    const STATES_EACH: usize = 5_000;
    let scopes = [
        scopes::goodbye(),
        scopes::cancelled(),
        scopes::talkative(),
        scopes::hold(),
        scopes::ears(),
        scopes::ears_goodbye(),
        scopes::hang_up(),
        scopes::asking(),
        scopes::failing(),
        scopes::tools(),
        scopes::noise(),
        scopes::overtaken(),
        scopes::loss(),
        scopes::greeting(),
        scopes::silence(),
        scopes::marks(),
    ];
    for scope in scopes {
        let name = scope.name;
        let mut futures = HashMap::new();
        let mut queue = VecDeque::from([World::new(&Rc::new(scope))]);
        let mut twice = 0;
        while let Some(world) = queue.pop_front() {
            let after: Vec<World> = world.actions().iter().map(|step| stepped(&world, step)).collect();
            let future: Vec<u128> = after.iter().map(fingerprint).collect();
            match futures.entry(fingerprint(&world)) {
                Entry::Occupied(known) => {
                    twice += 1;
                    assert_eq!(known.get(), &future, "{name}: {:?}", world.actions());
                }
                Entry::Vacant(new) => {
                    new.insert(future);
                    queue.extend(after);
                }
            }
            if futures.len() == STATES_EACH {
                break;
            }
        }
        assert!(twice > STATES_EACH / 2, "{name}: {twice} states reached twice");
    }
}

fn stepped(world: &World, step: &Step) -> World {
    let mut after = world.clone();
    after.apply(step);
    after
}
