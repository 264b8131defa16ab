//! `patchcord replay`: a recorded trace through the call core, on a desk.

use std::path::PathBuf;

use anyhow::{Context, Result};
use call::trace::Trace;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// A call's trace, `call.trace` in its folder.
    trace: PathBuf,
    /// Compare with what was recorded, in place of printing: says where the first difference is.
    #[arg(long)]
    diff: bool,
}

/// Lines before a difference that are shown.
const CONTEXT: usize = 5;

/// Whether the call decides again as it did; without `--diff`, always.
///
/// # Errors
/// If the file is no trace.
pub fn run(args: &Args) -> Result<bool> {
    let path = args.trace.display();
    let recorded = std::fs::read_to_string(&args.trace).with_context(|| format!("{path}"))?;
    let trace = Trace::read(&recorded).with_context(|| format!("{path}"))?;
    let replayed = trace.replay();
    if !args.diff {
        print!("{replayed}");
        return Ok(true);
    }
    match difference(&recorded, &replayed) {
        None => {
            println!("{path}: no difference in {} lines", recorded.lines().count());
            Ok(true)
        }
        Some(difference) => {
            print!("{path}: {difference}");
            Ok(false)
        }
    }
}

/// The first line in which two traces differ, and those before it.
pub(crate) fn difference(recorded: &str, replayed: &str) -> Option<String> {
    if recorded == replayed {
        return None;
    }
    let (old, new): (Vec<_>, Vec<_>) = (recorded.lines().collect(), replayed.lines().collect());
    let at = old.iter().zip(&new).position(|(old, new)| old != new).unwrap_or(old.len().min(new.len()));
    let mut text = format!("the first difference is in line {}\n", at + 1);
    for line in &old[at.saturating_sub(CONTEXT)..at] {
        text += &format!("  {line}\n");
    }
    let end = "(the end)";
    text += &format!("- {}\n", old.get(at).unwrap_or(&end));
    text += &format!("+ {}\n", new.get(at).unwrap_or(&end));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_first_difference_is_shown_with_what_was_before() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        let shown = difference("a\nb\nc\n", "a\nb\nd\n").unwrap();
        assert_eq!(shown, "the first difference is in line 3\n  a\n  b\n- c\n+ d\n");
        assert!(difference("a\n", "a\nb\n").unwrap().ends_with("- (the end)\n+ b\n"));
    }
}
