//! What the demo prints: the conversation as it happens, then what was checked, then what is left.

use std::path::Path;
use std::time::Duration;

use call::Note;
use call::summary::Who;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::checks::Check;
use crate::{CallEvent, Happening};

/// Columns of a terminal.
const WIDTH: usize = 80;

/// Columns before what is said.
const INDENT: usize = 18;

pub fn opening(length: Duration) {
    println!("One phone call through Patchcord, on this machine, in about {} seconds.", length.as_secs());
    println!("The caller is a recorded human voice. The agent's model is simulated: it has a");
    println!("script and hums its words, since there is no speech synthesis yet.");
    println!();
}

/// Prints turns and decisions until the calls are over.
pub async fn conversation(mut events: broadcast::Receiver<CallEvent>) {
    loop {
        match events.recv().await {
            Ok(event) => happened(&event.what),
            // It is only for show.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

fn happened(what: &Happening) {
    match what {
        Happening::Turn(turn) => {
            let who = match turn.who {
                Who::Caller => "caller",
                Who::Agent => "agent",
            };
            let cut = if turn.interrupted { " – [interrupted]" } else { "" };
            let seconds = turn.start_ms as f64 / 1_000.0;
            let text = format!("{}{cut}", turn.text);
            let mut lines = wrapped(&text).into_iter();
            println!("{seconds:>7.1} s  {who:<7}{}", lines.next().unwrap_or_default());
            for line in lines {
                println!("{:INDENT$}{line}", "");
            }
        }
        Happening::Note(Note::Held) => aside("the caller speaks into it; playing stops at once"),
        Happening::Note(Note::Interrupted { unheard_ms, .. }) => {
            aside(&format!("meant: {:.1} s that nobody heard are taken back", f64::from(*unheard_ms) / 1_000.0));
        }
        Happening::Note(Note::Resumed { .. }) => aside("nothing meant: the agent goes on"),
        Happening::Note(Note::ToolFinished { after, failed: false, .. }) => {
            aside(&format!("a tool answered after {} ms", after.as_millis()));
        }
        Happening::Note(Note::ToolFinished { failed: true, .. }) => aside("a tool failed"),
        Happening::Note(Note::GoodbyeDone { .. }) => aside("goodbye was heard; hanging up"),
        Happening::Note(_) => {}
    }
}

fn aside(what: &str) {
    println!("{:INDENT$}({what})", "");
}

/// Words in lines that fit behind the indentation.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH - INDENT => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

pub fn checks(checks: &[Check]) {
    println!();
    for check in checks {
        let (sign, found) = match &check.result {
            Ok(found) => ("ok  ", found),
            Err(found) => ("FAIL", found),
        };
        println!("{sign} {}", check.what);
        println!("     {found}");
    }
}

pub fn files(out: &Path, good: bool) {
    println!();
    println!("In {}:", out.display());
    println!("  recording.wav    both voices: the caller left, the agent right");
    println!("  call.png, .svg   the call in one picture");
    println!("  transcript.txt   what was said and heard");
    println!("  call.json        the call's record");
    println!("  call.trace       every input and output; enough to replay the call");
    if !good {
        println!();
        println!("The call did not do what it should: see FAIL above.");
    }
}
