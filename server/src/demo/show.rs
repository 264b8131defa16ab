//! What the demo prints: the conversation as it happens, then what was checked, then what is left.

use std::path::Path;
use std::time::Duration;

use call::Note;
use call::summary::{Turn, Who};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::Model;
use super::checks::Check;
use crate::{CallEvent, Happening};

/// Columns of a terminal.
const WIDTH: usize = 80;

/// Columns before what is said.
const INDENT: usize = 19;

pub fn opening(length: Duration, model: Model) {
    println!("One phone call through Patchcord, on this machine, in about {} seconds.", length.as_secs());
    match model {
        #[cfg(feature = "voice")]
        Model::Local => {
            println!("The caller is a recorded human voice. The agent is the embedded model: it hears");
            println!("the caller, and answers by a flow of three intents.");
        }
        Model::Fake => {
            println!("The caller is a recorded human voice. The agent's model is simulated: it has a");
            println!("script and hums its words.");
        }
    }
    println!();
}

pub fn still_loading() {
    println!("The model is still being loaded; the phone rings when it is.");
    println!();
}

/// Prints turns and decisions until the calls are over.
pub async fn conversation(mut events: broadcast::Receiver<CallEvent>) {
    let mut asides = Asides::default();
    loop {
        match events.recv().await {
            Ok(event) => asides.happened(&event.what),
            // It is only for show.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// What is said about a turn of the agent's comes after it; it is known as a turn only when it is over.
#[derive(Default)]
struct Asides {
    agent_speaks: bool,
    waiting: Vec<String>,
}

impl Asides {
    fn happened(&mut self, what: &Happening) {
        match what {
            Happening::Turn(turn) => {
                print_turn(turn);
                if turn.who == Who::Agent {
                    self.agent_speaks = false;
                    for what in self.waiting.drain(..) {
                        aside(&what);
                    }
                }
            }
            Happening::Note(Note::AgentStarted { .. }) => self.agent_speaks = true,
            Happening::Note(note) => {
                let Some(what) = in_words(note) else { return };
                if self.agent_speaks {
                    self.waiting.push(what);
                } else {
                    aside(&what);
                }
            }
        }
    }
}

fn print_turn(turn: &Turn) {
    let who = match turn.who {
        Who::Caller => "caller",
        Who::Agent => "agent",
    };
    let cut = if turn.interrupted { " – [interrupted]" } else { "" };
    let seconds = turn.start_ms as f64 / 1_000.0;
    let text = format!("{}{cut}", turn.text);
    let mut lines = wrapped(&text).into_iter();
    println!("{seconds:>7.1} s  {who:<8}{}", lines.next().unwrap_or_default());
    for line in lines {
        println!("{:INDENT$}{line}", "");
    }
}

fn in_words(note: &Note) -> Option<String> {
    Some(match note {
        Note::Held => "the caller speaks into it; playing stops at once".to_owned(),
        Note::Interrupted { unheard_ms, .. } => {
            format!("meant: {:.1} s that nobody heard are taken back", f64::from(*unheard_ms) / 1_000.0)
        }
        Note::Resumed { .. } => "nothing meant: the agent goes on".to_owned(),
        Note::ToolFinished { after, failed: false, .. } => format!("a tool answered after {} ms", after.as_millis()),
        Note::ToolFinished { failed: true, .. } => "a tool failed".to_owned(),
        Note::GoodbyeDone { .. } => "goodbye was heard; hanging up".to_owned(),
        _ => return None,
    })
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
