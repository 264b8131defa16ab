//! A server that has stopped leaves no task, no socket and no open file. By itself in this file: it counts the process's.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::time::Duration;

use common::Stage;
use common::open::Open;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::CallOptions;
use sim::model::{Behaviour, FakeModel, Script};
use tokio::runtime::Runtime;

async fn whole_server() {
    let stage = Stage::set(|opening| {
        let script = Script::says(["Fine."]);
        FakeModel::new(&format!("s{}", opening.number), script, Behaviour::default())
    })
    .await;
    let caller = vec![
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(200) },
        CallerStep::AwaitAgentQuiet(Duration::from_millis(200)),
        CallerStep::HangUp,
    ];
    let options = || CallOptions { limit: Duration::from_secs(60), ..CallOptions::default() };
    let callers = (0..5).map(|number| format!("+1500555000{number}")).collect::<Vec<_>>();
    let calls =
        callers.iter().map(|from| stage.carrier.call(&stage.base, from, "+15005550006", caller.clone(), options()));
    futures_util::future::join_all(calls).await;
    stage.calls.wait_for_finished(5).await.unwrap();
    // One that goes on when the server is asked to stop.
    let left = stage.carrier.call(&stage.base, "+15005550009", "+15005550006", caller, options());
    let asked = async {
        let mut events = stage.calls.watch();
        events.recv().await.unwrap();
        stage.ask_to_stop();
    };
    futures_util::future::join(left, asked).await;
    stage.strike().await;
}

#[test]
fn a_server_that_has_stopped_leaves_nothing_open() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        // What the process keeps for good (the runtime's own descriptors, the random generator) is there after one.
        whole_server().await;
        let files = Open::when_nothing_runs().await.files.len();
        whole_server().await;
        Open::no_more_than(files).await;
    });
}
