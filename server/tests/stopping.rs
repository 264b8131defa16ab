//! Stopping a server with calls: nobody new, time for those that go on, a goodbye for the rest.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::time::Duration;

use call::{EndReason, Note};
use common::Stage;
use patchcord::{Calls, Config, Happening};
use reqwest::StatusCode;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{CallOptions, CallReport};
use sim::model::server::Opening;
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};
use tokio::time::Instant;

const CALLER: &str = "+15005550001";
const CALLED: &str = "+15005550006";

async fn stage(change: impl FnOnce(&mut Config)) -> Stage {
    let session = |opening: &Opening| {
        let script = Script::says(["Thank you for calling. Goodbye!"]).hears(["That is all."]);
        FakeModel::new(&format!("s{}", opening.number), script, Behaviour::default())
    };
    Stage::with(session, change).await
}

async fn call(stage: &Stage, caller: Vec<CallerStep>) -> CallReport {
    let options = CallOptions { limit: Duration::from_secs(60), ..CallOptions::default() };
    stage.carrier.call(&stage.base, CALLER, CALLED, caller, options).await
}

/// A caller who listens, and never says a word.
fn listens() -> Vec<CallerStep> {
    vec![CallerStep::Pause(Duration::from_secs(60))]
}

/// Waits until the agent of some call has said something.
async fn agent_has_spoken(calls: &Calls) {
    let mut events = calls.watch();
    while !matches!(events.recv().await.unwrap().what, Happening::Note(Note::AgentStopped { .. })) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_end_by_itself_and_no_other_begins() {
    let stage = stage(|_| {}).await;
    let greeted = agent_has_spoken(&stage.calls);
    let caller = vec![
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(200) },
        CallerStep::AwaitAgentQuiet(Duration::from_millis(1_500)),
        CallerStep::Say(hum("that is all").into()),
        CallerStep::AwaitAgentQuiet(Duration::from_secs(20)),
    ];
    let during = async {
        greeted.await;
        stage.ask_to_stop();
        let readyz = format!("{}/readyz", stage.base);
        while reqwest::get(&readyz).await.unwrap().status() != StatusCode::SERVICE_UNAVAILABLE {}
        assert_eq!(reqwest::get(format!("{}/healthz", stage.base)).await.unwrap().status(), StatusCode::OK);
        let refused = call(&stage, listens()).await;
        assert_eq!((refused.status, refused.streams.len()), ("busy", 0));
    };
    let (report, ()) = futures_util::future::join(call(&stage, caller), during).await;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let (calls, _) = stage.stopped().await;
    assert_eq!(calls.finished().iter().map(|record| record.ended_reason).collect::<Vec<_>>(), [EndReason::Goodbye]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_is_told_goodbye_and_hears_it() {
    let stage = stage(|config| config.drain_max = Duration::ZERO).await;
    let greeted = agent_has_spoken(&stage.calls);
    let during = async {
        greeted.await;
        stage.ask_to_stop();
    };
    let (report, ()) = futures_util::future::join(call(&stage, listens()), during).await;
    let (calls, model) = stage.stopped().await;
    assert_eq!(calls.finished()[0].ended_reason, EndReason::Stopped);
    let session = model.sessions()[0].lock().unwrap().record().clone();
    let farewell = &session.generated.last().unwrap().audio;
    let played = &report.streams[0].played;
    assert_eq!(session.generated.len(), 2);
    assert!(played.windows(farewell.len()).any(|window| window == &farewell[..]), "it was cut off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_that_nobody_says_is_not_waited_for() {
    let stage = stage(|config| {
        config.drain_max = Duration::ZERO;
        config.goodbye_max = Duration::ZERO;
    })
    .await;
    let greeted = agent_has_spoken(&stage.calls);
    let during = async {
        greeted.await;
        stage.ask_to_stop();
    };
    futures_util::future::join(call(&stage, listens()), during).await;
    let (calls, _) = stage.stopped().await;
    assert_eq!(calls.finished()[0].ended_reason, EndReason::OperatorHungUp);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_twice_does_not_wait() {
    let stage = stage(|config| config.drain_max = Duration::from_secs(600)).await;
    let greeted = agent_has_spoken(&stage.calls);
    let during = async {
        greeted.await;
        stage.ask_to_stop();
        stage.ask_to_stop();
        Instant::now()
    };
    let (_, asked) = futures_util::future::join(call(&stage, listens()), during).await;
    let (calls, _) = stage.stopped().await;
    assert!(asked.elapsed() < Duration::from_secs(60), "the drain was waited for");
    assert_eq!(calls.finished()[0].ended_reason, EndReason::OperatorHungUp);
}
