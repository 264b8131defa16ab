//! What goes to the log, and how much of it. Numbers and words of callers never do (O4).

use call::Note;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. `minimal` (the default) has decisions and warnings, `verbose` all that a call
/// notes; anything else is a tracing filter.
///
/// # Errors
/// If the filter is none.
pub fn init(env: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    let filter = match env("PATCHCORD_LOG").as_deref() {
        // The old names: DEBUG=1 was the quiet mode.
        None if env("DEBUG").as_deref() == Some("0") => "warn,patchcord=debug".to_owned(),
        None | Some("minimal" | "") => "warn,patchcord=info".to_owned(),
        Some("verbose") => "warn,patchcord=debug".to_owned(),
        Some(filter) => filter.to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        anyhow::anyhow!("PATCHCORD_LOG: {error}; use minimal, verbose or a filter such as patchcord=debug")
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

/// One thing that a call noted, inside the call's span.
pub(crate) fn note(note: &Note) {
    match note {
        // Logged by the driver, which knows the stream (O5).
        Note::MediaStarted => {}
        Note::ModelReady { epoch } => tracing::debug!(%epoch, "model ready"),
        Note::ModelLost { epoch, fatal } => tracing::warn!(%epoch, fatal, "model lost"),
        Note::GoodbyeWanted { why } => tracing::info!(?why, "goodbye wanted"),
        Note::GoodbyePending { response } => tracing::info!(?response, "farewell detected"),
        Note::GoodbyeWithdrawn => tracing::info!("goodbye withdrawn"),
        Note::GoodbyeDone { via } => tracing::info!(?via, "goodbye executed"),
        Note::HangingUp { reason, attempt } => tracing::info!(?reason, attempt, "hanging up"),
        Note::Collided { request, reason } => {
            tracing::warn!(%request, ?reason, "response collided, will be asked for again")
        }
        Note::ModelComplained { request, error } => tracing::warn!(?request, ?error, "the model complained"),
        Note::Backlog { queue, waiting, line } => {
            tracing::warn!(?queue, waiting_ms = waiting.as_millis() as u64, ?line, "backlog");
        }
        Note::Odd(what) => tracing::warn!(what, "odd"),
        Note::Asking { .. }
        | Note::NotAsking { .. }
        | Note::AgentStarted { .. }
        | Note::AgentStopped { .. }
        | Note::CallerStarted
        | Note::CallerStopped
        | Note::TurnEnded { .. }
        | Note::Held
        | Note::Resumed { .. }
        | Note::Interrupted { .. }
        | Note::Dropped { .. }
        | Note::Pipeline(_)
        | Note::GoodbyeWaits { .. }
        | Note::AlreadyEnded
        | Note::ToolStarted { .. }
        | Note::ToolFinished { .. }
        | Note::Dtmf => tracing::debug!(?note),
    }
}
