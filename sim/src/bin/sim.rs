//! Simulated calls by seed.
//!
//! `sim --seed N` prints the plan, the trace and the verdict of one. `sim --seeds A..B [--threads N]` runs many, prints
//! how fast, what was reached how often, and each seed that broke a rule.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};
use sim::seed::Plan;
use sim::verdict::Violation;

/// Failing seeds that are listed; more say nothing new.
const LISTED: usize = 50;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // A panic of the core is a verdict like others; its words come with it.
    std::panic::set_hook(Box::new(|_| {}));
    match arguments[..] {
        ["--seed", seed] => one(seed.parse().context("not a seed")?),
        ["--seeds", seeds] => many(range(seeds)?, 1),
        ["--seeds", seeds, "--threads", threads] => many(range(seeds)?, threads.parse().context("not a number")?),
        _ => bail!("sim --seed N | sim --seeds A..B [--threads N]"),
    }
}

fn range(text: &str) -> anyhow::Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("not a range: A..B")?;
    Ok(from.parse().context("not a seed")?..to.parse().context("not a seed")?)
}

fn one(seed: u64) -> anyhow::Result<ExitCode> {
    let plan = Plan::from_seed(seed);
    let run = plan.run();
    println!("{plan:#?}\n\n{}", run.trace);
    match run.verdict {
        Ok(facts) => {
            println!("seed {seed}: ended {:?} at {:?}; {:#?}", facts.ended, facts.at, facts.reached);
            Ok(ExitCode::SUCCESS)
        }
        Err(Violation { rule, what, at }) => {
            println!("seed {seed}: {rule} broken at {at:?}: {what}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What one thread found.
#[derive(Default)]
struct Found {
    reached: BTreeMap<String, (u64, u64)>,
    broken: Vec<(u64, Violation)>,
    simulated_seconds: f64,
}

fn many(seeds: Range<u64>, threads: usize) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut found = Found::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return found;
            }
            match Plan::from_seed(seed).run().verdict {
                Ok(facts) => {
                    found.simulated_seconds += facts.at.as_secs_f64();
                    for (what, times) in facts.reached {
                        let (calls, all) = found.reached.entry(what).or_default();
                        *calls += 1;
                        *all += times;
                    }
                }
                Err(violation) => found.broken.push((seed, violation)),
            }
        }
    };
    let found: Vec<Found> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    });

    let took = began.elapsed().as_secs_f64();
    let mut reached: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut broken = Vec::new();
    let mut simulated_seconds = 0.0;
    for found in found {
        simulated_seconds += found.simulated_seconds;
        broken.extend(found.broken);
        for (what, (calls, all)) in found.reached {
            let sum = reached.entry(what).or_default();
            *sum = (sum.0 + calls, sum.1 + all);
        }
    }
    println!("{:>8} {:>8}", "in calls", "times");
    for (what, (calls, all)) in &reached {
        println!("{calls:>8} {all:>8}  {what}");
    }
    broken.sort_by_key(|(seed, _)| *seed);
    let mut rules: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, violation) in &broken {
        *rules.entry(violation.rule).or_default() += 1;
    }
    for (seed, Violation { rule, what, at }) in broken.iter().take(LISTED) {
        println!("seed {seed}: {rule} broken at {at:?}: {what}");
    }
    let calls = seeds.end.saturating_sub(seeds.start);
    println!(
        "{calls} calls (seeds {}..{}) in {took:.1} s: {:.0} calls a second, {simulated_seconds:.0} s of phone calls; \
         {} broke a rule {rules:?}",
        seeds.start,
        seeds.end,
        calls as f64 / took,
        broken.len(),
    );
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
