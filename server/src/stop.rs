//! Stopping: no new calls, time for the live ones, a goodbye for the rest, and then the hang-up.

use std::pin::pin;
use std::time::Duration;

use call::OperatorInput;
use futures_util::future::{Either, select};
use futures_util::{Stream, StreamExt};

use crate::http::App;

/// What hanging up may take when there is no time left. One REST request does it; whoever asks twice does not wait for
/// its retries.
const AT_ONCE_MAX: Duration = Duration::from_secs(2);

/// Returns when the server may go: some time after `stops` asked for the first time. The second time there is no
/// more waiting.
pub(crate) async fn stopped(app: &App, stops: impl Stream<Item = ()>) {
    let mut stops = pin!(stops);
    if stops.next().await.is_none() {
        // Nobody is left who could ask.
        return std::future::pending().await;
    }
    app.calls.close();
    // What nobody has answered yet is taken back: there will be nobody to talk.
    app.outbound.hang_up_all();
    tracing::info!(calls = app.calls.live(), "stopping; a second signal hangs up at once");

    let politely = pin!(politely(app));
    let again = pin!(async {
        if stops.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    });
    let limit = match select(politely, again).await {
        Either::Left(((), _)) => app.config.shutdown_max,
        Either::Right(((), _)) => app.config.shutdown_max.min(AT_ONCE_MAX),
    };
    app.calls.tell_all(&OperatorInput::HangUp);
    if !app.calls.all_ended(limit).await {
        tracing::warn!(calls = app.calls.live(), "stopping with calls going on");
    }
}

async fn politely(app: &App) {
    if app.calls.all_ended(app.config.drain_max).await {
        return;
    }
    tracing::info!(calls = app.calls.live(), "saying goodbye");
    app.calls.tell_all(&OperatorInput::SayGoodbye);
    app.calls.all_ended(app.config.goodbye_max).await;
}
