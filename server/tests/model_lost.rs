//! The model's connection breaks in the middle of an answer, over real sockets (N4).
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::time::Duration;

use call::EndReason;
use call::wire::openai::ClientEvent;
use common::Stage;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::CallOptions;
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_the_conversation_goes_on_with_another_session_that_knows_it() {
    let stage = Stage::set(|opening| match opening.number {
        // Breaks after some of its first answer: greeting and its events come before.
        1 => {
            let script = Script::says(["This is an answer that will not be heard to its end, for something breaks."])
                .hears(["What do you sell?"]);
            FakeModel::new("first", script, Behaviour { close_after: Some((60, None)), ..Behaviour::default() })
        }
        _ => FakeModel::new("second", Script::says(["We sell bicycles. Goodbye!"]), Behaviour::default()),
    })
    .await;
    let caller = vec![
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(200) },
        CallerStep::AwaitAgentQuiet(Duration::from_millis(200)),
        CallerStep::Say(hum("what do you sell").into()),
        CallerStep::AwaitAgentQuiet(Duration::from_secs(20)),
    ];
    let options = CallOptions { limit: Duration::from_secs(60), ..CallOptions::default() };
    let report = stage.carrier.call(&stage.base, "+15005550001", "+15005550006", caller, options).await;
    let record = stage.calls.wait_for_finished(1).await.unwrap();
    assert!(report.problems.is_empty() && report.streams[0].violations.is_empty(), "{report:?}");
    assert_eq!(record.ended_reason, EndReason::Goodbye, "{:#?}", record.summary.turns);

    let sessions = stage.model.sessions();
    assert_eq!(sessions.len(), 2);
    let second = sessions[1].lock().unwrap().record().clone();
    assert!(second.client_errors.is_empty(), "{:?}", second.client_errors);
    // What it was told before it was asked: the greeting, the question, what was said of the answer.
    let told: Vec<&str> = second
        .received
        .iter()
        .filter_map(|(_, event)| match event {
            ClientEvent::ItemCreate { item, .. } => item.content.as_ref()?.first()?.text.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(told[..2], ["Hello.", "What do you sell?"], "{told:?}");
    // The caller heard both: the rest of the first answer that was there, then the second one whole.
    let second_answer = &second.generated[0].audio;
    let played = &report.streams[0].played;
    assert!(played.windows(second_answer.len()).any(|window| window == &second_answer[..]));
    stage.strike().await;
}
