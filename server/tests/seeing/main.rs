//! What an operator sees of a whole call over real sockets: metrics, log, pipeline lines, spans.
//!
//! Sockets are real and, except where the machine itself has to be slow, the clock is not: it stands still while anybody
//! has something to do, and otherwise jumps to the next deadline. So a minute's call takes as long as its work, and what
//! is measured is what was planned.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

#[path = "../common/mod.rs"]
mod common;
mod log;
mod metrics;
mod pipeline;
#[cfg(feature = "otel")]
mod spans;

use std::sync::Arc;
use std::time::Duration;

use common::Stage;
use patchcord::record::CallRecord;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{CallOptions, CallReport};
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};

/// Numbers and words that nobody but the two who talk has to know.
const FROM: &str = "+15005550001";
const TO: &str = "+15005550006";
const SECRET_WORDS: [&str; 3] = ["marzipan", "rhubarb", "turmeric"];

/// A model that answers twice, the second time with a goodbye.
fn talker(behaviour: Behaviour) -> FakeModel {
    let answer =
        "There is marzipan of the very best kind, and a great deal of it, whenever you would like to have some.";
    let script = Script::says([answer, "All right then, goodbye!"])
        .hears(["Is there any rhubarb left in the shop?", "No, I want turmeric."]);
    FakeModel::new("talker", script, behaviour)
}

/// Has the clock jump meanwhile. Not before and after: opening and closing the database takes other threads, for which
/// a clock that jumps does not wait.
async fn jumping<T>(what: impl Future<Output = T>) -> T {
    tokio::time::pause();
    let done = what.await;
    tokio::time::resume();
    done
}

/// A caller who asks, interrupts the answer, and hears the goodbye.
async fn conversation(stage: &Stage) -> (CallReport, Arc<CallRecord>) {
    let caller = vec![
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(200) },
        CallerStep::AwaitAgentQuiet(Duration::from_millis(200)),
        CallerStep::Say(hum("is there any left in the shop").into()),
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(1_500) },
        CallerStep::Say(hum("no I want something else, thank you").into()),
        CallerStep::AwaitAgentQuiet(Duration::from_secs(20)),
    ];
    let options = CallOptions { limit: Duration::from_secs(60), ..CallOptions::default() };
    let call = async {
        let report = stage.carrier.call(&stage.base, FROM, TO, caller, options).await;
        (report, stage.calls.wait_for_finished(1).await.unwrap())
    };
    let (report, record) = jumping(call).await;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    for session in stage.model.sessions() {
        let errors = session.lock().unwrap().record().client_errors.clone();
        assert!(errors.is_empty(), "{errors:?}");
    }
    assert_eq!(record.ended_reason, call::EndReason::Goodbye, "{record:#?}");
    (report, record)
}
