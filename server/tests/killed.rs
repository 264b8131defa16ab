//! The model and the carrier's REST API, killed for good while calls go on: those calls end as `docs/ended-reasons.md`
//! says, others go on, and nothing stays behind. By itself in this file: it counts what the process has open. What a disk
//! does that refuses is in `disk_full.rs`.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use call::output::EndedBy as By;
use call::{EndReason, Note};
use common::Stage;
use common::open::Open;
use patchcord::record::CallRecord;
use patchcord::{CallEvent, Config, Happening};
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{CallOptions, CallReport, EndedBy};
use sim::model::server::Opening;
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

const FIRST: &str = "+15005550001";
const SECOND: &str = "+15005550002";

#[test]
fn each_is_killed_in_turn_and_nothing_stays_behind() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        // What the process keeps for good is there after the first.
        killed_model().await;
        let files = Open::when_nothing_runs().await.files.len();
        killed_rest().await;
        Open::no_more_than(files).await;
        killed_model().await;
        Open::no_more_than(files).await;
    });
}

/// The first call loses its session and gets no other one; the second keeps its own.
async fn killed_model() {
    let stage = stage().await;
    let mut events = stage.calls.watch();
    let first = call(&stage, FIRST, vec![CallerStep::Pause(Duration::from_secs(50))]);
    let second = async {
        // So that the sessions are theirs in this order.
        greeted(&mut events).await;
        call(&stage, SECOND, asks_after(Duration::from_secs(4))).await
    };
    let kill = async {
        let mut events = stage.calls.watch();
        greeted(&mut events).await;
        greeted(&mut events).await;
        stage.model.kill(1);
    };
    let (first, second, ()) = tokio::join!(first, second, kill);

    let record = record(&stage, FIRST).await;
    assert_eq!((record.ended_reason, record.ended_by), (EndReason::ModelFailed, By::Model));
    assert_eq!(first.ended_by, EndedBy::Rest, "hung up by us");
    // The greeting, and then the apology: never silence.
    let apology = first.streams[0].audible.last().unwrap();
    assert!(first.streams[0].audible.len() >= 2 && apology.end - apology.start > Duration::from_millis(500));
    went_on(&stage, &second).await;
    assert!(second.ended_at > first.ended_at, "the other call had the rest of its conversation after that");
    assert_eq!(stage.model.sessions().len(), 2, "none was opened again");
    stage.strike().await;
}

/// A call that wants to be hung up cannot be, by REST; one whose caller hangs up does not notice.
async fn killed_rest() {
    let stage = stage().await;
    let mut events = stage.calls.watch();
    let first = call(&stage, FIRST, asks_after(Duration::from_millis(300)));
    let second = call(&stage, SECOND, vec![CallerStep::Pause(Duration::from_secs(3)), CallerStep::HangUp]);
    let kill = async {
        greeted(&mut events).await;
        stage.carrier.kill_rest();
    };
    let (first, second, ()) = tokio::join!(first, second, kill);

    let record = record(&stage, FIRST).await;
    assert_eq!((record.ended_reason, record.ended_by), (EndReason::Goodbye, By::Agent));
    // The socket was the last resort, and the document after it ended the call (H10).
    assert_eq!((first.ended_by, first.rest.len()), (EndedBy::Document, 0));
    assert_eq!(first.problems, [""; 0]);
    let other = self::record(&stage, SECOND).await;
    assert_eq!((other.ended_reason, second.ended_by), (EndReason::CallerHungUp, EndedBy::Caller));
    stage.strike().await;
}

async fn stage() -> Stage {
    let session = |opening: &Opening| {
        let script = Script::says(["That was all, goodbye!"]).hears(["Is that all?"]);
        FakeModel::new(&format!("s{}", opening.number), script, Behaviour::default())
    };
    let impatient = |config: &mut Config| {
        let call = &mut config.agents[0].call;
        call.reconnect_max = Some(Duration::from_secs(1));
        call.reconnect_pause = Duration::from_millis(100);
        call.hang_up_retry = Duration::from_millis(100);
    };
    Stage::with(session, impatient).await
}

async fn call(stage: &Stage, from: &str, caller: Vec<CallerStep>) -> CallReport {
    let status_callback = Some("/twilio/status".to_owned());
    let options = CallOptions { limit: Duration::from_secs(60), status_callback, ..CallOptions::default() };
    stage.carrier.call(&stage.base, from, "+15005550006", caller, options).await
}

/// Hears the greeting, and asks one thing later.
fn asks_after(pause: Duration) -> Vec<CallerStep> {
    vec![
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(100) },
        CallerStep::AwaitAgentQuiet(Duration::from_millis(200)),
        CallerStep::Pause(pause),
        CallerStep::Say(hum("is that all").into()),
        CallerStep::AwaitAgentQuiet(Duration::from_secs(20)),
    ]
}

/// Waits until a call more has spoken to its caller.
async fn greeted(events: &mut broadcast::Receiver<CallEvent>) {
    while !matches!(events.recv().await.unwrap().what, Happening::Note(Note::AgentStarted { .. })) {}
}

async fn record(stage: &Stage, from: &str) -> Arc<CallRecord> {
    stage.calls.wait_for_finished(2).await.unwrap();
    stage.calls.finished().into_iter().find(|record| record.facts.from == from).unwrap()
}

/// The second call came to its goodbye, and was heard out.
async fn went_on(stage: &Stage, report: &CallReport) {
    let record = record(stage, SECOND).await;
    assert_eq!((record.ended_reason, report.ended_by), (EndReason::Goodbye, EndedBy::Rest));
    assert_eq!((&report.problems[..], &report.streams[0].violations[..]), (&[][..], &[][..]));
}
