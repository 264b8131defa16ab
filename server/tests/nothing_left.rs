//! A server that has stopped leaves no task, no socket and no open file. By itself in this file: it counts the process's.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::time::Duration;

use common::Stage;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::CallOptions;
use sim::model::{Behaviour, FakeModel, Script};
use tokio::runtime::{Handle, Runtime};

/// Tasks, and open descriptors.
fn open() -> (usize, Vec<String>) {
    let folder = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut files: Vec<String> = folder
        .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        // The folder that is being read.
        .filter(|name| !name.ends_with("/fd"))
        .collect();
    files.sort();
    (Handle::current().metrics().num_alive_tasks(), files)
}

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
        settled(|_| true).await;
        let (tasks, files) = open();
        whole_server().await;
        settled(|now| now.0 <= tasks && now.1.len() <= files.len()).await;
    });
}

/// Waits until the peers' ends, which live in this process too, have noticed that the other end is gone.
async fn settled(enough: impl Fn(&(usize, Vec<String>)) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let now = open();
        if now.0 == 0 && enough(&now) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "left open: {now:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
