//! What goes to the log, and how much of it. Numbers and words of callers never do (O4).
//!
//! *Minimal* has the decisions and the warnings, *verbose* also how a call came to them: each request for a response
//! (R4), what a goodbye waits for (H2), the pipeline (O2). Nothing is logged for a frame in either (A5).

use std::io::IsTerminal;

use call::Note;
use call::pipeline::Line;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::metrics::name_of;

/// Below `debug`, which is ours in verbose mode, everybody else only warns.
const MINIMAL: &str = "warn,patchcord=info";
const VERBOSE: &str = "warn,patchcord=debug";

/// Starts logging to standard error, as `PATCHCORD_LOG` says; in colours on a terminal, unless `NO_COLOR` is set.
///
/// # Errors
/// If that is neither a mode nor a filter.
pub fn init(env: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    // What reads a file or a pipe would have to take the colours out again.
    let colours = std::io::stderr().is_terminal() && env("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter(env)?).with(lines).init();
    Ok(())
}

/// What is logged: `PATCHCORD_LOG` is `minimal` (the default), `verbose` or levels of targets, as `warn,patchcord=debug`.
/// `DEBUG=1` and `DEBUG=0` are the old names of the first two; a set `PATCHCORD_LOG` wins.
///
/// Levels of targets, and not of spans or fields as well: who filters by those has to remember which spans there are, under
/// a lock that every round of every call would take.
///
/// # Errors
/// If it is none of these.
pub fn filter(env: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Targets> {
    let asked = env("PATCHCORD_LOG").filter(|asked| !asked.is_empty());
    let filter = match (asked.as_deref(), env("DEBUG").as_deref()) {
        (Some("minimal"), _) => MINIMAL,
        (Some("verbose"), _) => VERBOSE,
        (Some(filter), _) => filter,
        (None, Some("0")) => VERBOSE,
        (None, _) => MINIMAL,
    };
    filter.parse().map_err(|error| {
        anyhow::anyhow!("PATCHCORD_LOG: {error}; use minimal, verbose or levels such as warn,patchcord=debug")
    })
}

/// One thing that a call noted, inside the call's span.
pub(crate) fn note(note: &Note) {
    match note {
        // Logged by the driver, which knows the stream (O5).
        Note::MediaStarted => {}
        Note::ModelReady { epoch } => tracing::debug!(%epoch, "model ready"),
        Note::ModelLost { epoch, fatal } => tracing::warn!(%epoch, fatal, "model lost"),
        Note::GoodbyeWanted { why } => tracing::info!(why = name_of(why), "goodbye wanted"),
        Note::GoodbyePending { response } => tracing::info!(response = response.map(|id| id.0), "farewell detected"),
        Note::GoodbyeWithdrawn => tracing::info!("goodbye withdrawn"),
        Note::GoodbyeDone { via } => tracing::info!(via = name_of(via), "goodbye executed"),
        Note::HangingUp { reason, attempt } => tracing::info!(reason = name_of(reason), attempt, "hanging up"),
        Note::Collided { request, reason } => {
            tracing::warn!(%request, reason = name_of(reason), "response collided, will be asked for again");
        }
        Note::ModelComplained { request, error } => tracing::warn!(?request, ?error, "the model complained"),
        Note::Backlog { queue, waiting, line } => backlog(name_of(queue), waiting.as_millis() as u64, line),
        Note::Odd(what) => tracing::warn!(what, "odd"),
        Note::Asking { request, reason, previous, agent_speaking, tx_queue, out_queue } => tracing::debug!(
            %request,
            reason = name_of(reason),
            previous = previous.map(|id| id.0),
            agent_speaking,
            tx_q = tx_queue,
            out_q = out_queue,
            "asking for a response"
        ),
        Note::NotAsking { reason, guard, waits } => {
            tracing::debug!(reason = name_of(reason), guard = name_of(guard), waits, "not asking for a response");
        }
        Note::GoodbyeWaits { waits_for } => tracing::debug!(waits_for, "the goodbye waits"),
        Note::Pipeline(line) => pipeline(line),
        // One for each frame, if it comes to the worst; counted in the record and in the metrics.
        Note::Dropped { .. } => tracing::trace!(?note),
        Note::ResponseBegan { .. }
        | Note::ResponseEnded { .. }
        | Note::AgentStarted { .. }
        | Note::AgentStopped { .. }
        | Note::CallerStarted
        | Note::CallerStopped
        | Note::TurnEnded { .. }
        | Note::EarsHeard
        | Note::Held
        | Note::Resumed { .. }
        | Note::Interrupted { .. }
        | Note::AlreadyEnded
        | Note::ToolStarted { .. }
        | Note::ToolFinished { .. }
        | Note::Dtmf => tracing::debug!(?note),
    }
}

/// A line of the pipeline, with what comes before it. The level of an event has to be written where the event is.
macro_rules! flow {
    ($level:ident, $line:expr, $what:literal $(, $field:ident)*) => {{
        let Line { tx_queue, out_queue, frames, tx_fps, ws_block_ms, delta_rate, speaking, verdict } = *$line;
        tracing::$level!(
            $($field,)*
            tx_q = tx_queue,
            out_q = out_queue,
            tx_fps,
            frames,
            ws_block_ms,
            delta_rate,
            speaking,
            verdict = name_of(verdict),
            $what
        );
    }};
}

/// O2; the call is in the span.
fn pipeline(line: &Line) {
    flow!(debug, line, "pipeline");
}

/// O1: with the full context of the line, in every mode.
fn backlog(queue: String, waiting_ms: u64, line: &Line) {
    flow!(warn, line, "backlog", queue, waiting_ms);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(set: &[(&str, &str)]) -> String {
        let env = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        filter(&env).unwrap().to_string()
    }

    #[test]
    fn o4_the_old_names_are_the_new_ones() {
        let minimal = said(&[("PATCHCORD_LOG", "minimal")]);
        let verbose = said(&[("PATCHCORD_LOG", "verbose")]);
        assert!(minimal.contains("patchcord=info") && verbose.contains("patchcord=debug"));
        assert_eq!(said(&[]), minimal);
        assert_eq!(said(&[("PATCHCORD_LOG", "")]), minimal);
        assert_eq!(said(&[("DEBUG", "1")]), minimal);
        assert_eq!(said(&[("DEBUG", "0")]), verbose);
        assert_eq!(said(&[("DEBUG", "0"), ("PATCHCORD_LOG", "minimal")]), minimal);
        assert_eq!(said(&[("PATCHCORD_LOG", "patchcord=trace")]), "patchcord=trace");
    }

    #[test]
    fn o4_a_filter_that_is_none_is_an_error_that_says_what_to_do() {
        let error = filter(&|_| Some("patchcord=loud".to_owned())).unwrap_err().to_string();
        assert!(error.contains("PATCHCORD_LOG") && error.contains("verbose"), "{error}");
    }
}
