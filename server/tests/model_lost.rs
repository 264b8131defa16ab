//! The model's connection breaks in the middle of an answer, over real sockets (N4).
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::time::Duration;

use call::EndReason;
use call::Note;
use call::wire::openai::ClientEvent;
use common::Stage;
use patchcord::{Config, Happening};
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::CallOptions;
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

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

/// The first connection dies without a word: nothing is closed, and nothing comes any more. While nobody is waiting for the
/// model, only its silence to a ping shows that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_a_connection_that_is_silently_gone_is_noticed_and_replaced() {
    let (freeze, frozen) = watch::channel(false);
    let change = move |config: &mut Config| {
        config.openai.url = before(&config.openai.url, frozen);
        config.openai.ping_every = Duration::from_secs(1);
        config.openai.pong_max = Duration::from_secs(1);
    };
    let stage = Stage::with(
        |opening| {
            let script = Script::says(["We sell bicycles. Goodbye!"]).hears(["What do you sell?"]);
            FakeModel::new(&format!("s{}", opening.number), script, Behaviour::default())
        },
        change,
    )
    .await;
    let caller = vec![
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(200) },
        CallerStep::AwaitAgentQuiet(Duration::from_millis(200)),
        CallerStep::Pause(Duration::from_secs(4)),
        CallerStep::Say(hum("what do you sell").into()),
        CallerStep::AwaitAgentQuiet(Duration::from_secs(10)),
    ];
    let mut events = stage.calls.watch();
    let options = CallOptions { limit: Duration::from_secs(20), ..CallOptions::default() };
    let call = stage.carrier.call(&stage.base, "+15005550001", "+15005550006", caller, options);
    let dies = async {
        while !matches!(events.recv().await.unwrap().what, Happening::Note(Note::AgentStopped { .. })) {}
        freeze.send_replace(true);
    };
    let (report, ()) = tokio::join!(call, dies);
    let record = stage.calls.wait_for_finished(1).await.unwrap();
    assert_eq!((report.problems.len(), record.ended_reason), (0, EndReason::Goodbye), "{:#?}", record.summary.turns);
    assert_eq!(stage.model.sessions().len(), 2);
    stage.strike().await;
}

/// A way to the model; the first connection over it freezes when it is told to.
fn before(model: &reqwest::Url, frozen: watch::Receiver<bool>) -> reqwest::Url {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut url = model.clone();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let there = (model.host_str().unwrap().to_owned(), model.port().unwrap());
    tokio::spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let mut may_freeze = Some(frozen);
        while let Ok((mut here, _)) = listener.accept().await {
            let mut there = TcpStream::connect(there.clone()).await.unwrap();
            let frozen = may_freeze.take();
            tokio::spawn(async move {
                let freezes = async {
                    match frozen {
                        Some(mut frozen) => _ = frozen.wait_for(|frozen| *frozen).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut here, &mut there) => return,
                    () = freezes => {}
                }
                // Both ends stay open for good.
                std::future::pending::<()>().await;
            });
        }
    });
    url
}
