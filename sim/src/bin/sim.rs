//! Simulated calls by seed.
//!
//! `sim --seed N` prints the plan, the trace and the verdict of one. `sim --seeds A..B [--threads N]` runs many, prints
//! how fast, what was reached how often, and each seed that broke a rule.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use sim::seed::Plan;
use sim::survey::survey;
use sim::verdict::Violation;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // A panic of the core is a verdict like others; its words come with it.
    std::panic::set_hook(Box::new(|_| {}));
    match arguments[..] {
        ["--seed", seed] => Ok(one(seed.parse().context("not a seed")?)),
        ["--seeds", seeds] => Ok(many(range(seeds)?, 1)),
        ["--seeds", seeds, "--threads", threads] => Ok(many(range(seeds)?, threads.parse().context("not a number")?)),
        _ => bail!("sim --seed N | sim --seeds A..B [--threads N]"),
    }
}

fn range(text: &str) -> anyhow::Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("not a range: A..B")?;
    Ok(from.parse().context("not a seed")?..to.parse().context("not a seed")?)
}

fn one(seed: u64) -> ExitCode {
    let plan = Plan::from_seed(seed);
    let run = plan.run();
    println!("{plan:#?}\n\n{}", run.trace);
    match run.verdict {
        Ok(facts) => {
            println!("reached: {:#?}", facts.reached);
            println!("seed {seed}: ended {:?} at {:?}", facts.ended, facts.at);
            ExitCode::SUCCESS
        }
        Err(Violation { rule, what, at }) => {
            println!("seed {seed}: {rule} broken at {at:?}: {what}");
            ExitCode::FAILURE
        }
    }
}

fn many(seeds: Range<u64>, threads: usize) -> ExitCode {
    let began = Instant::now();
    let survey = survey(seeds.clone(), threads);
    let took = began.elapsed().as_secs_f64();
    println!("{survey}");
    let speed = survey.calls as f64 / took;
    println!("seeds {}..{} in {took:.1} s on {threads} threads: {speed:.0} calls a second", seeds.start, seeds.end);
    if survey.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
