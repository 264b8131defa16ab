//! Twenty calls at once, over real sockets, between the simulated carrier and the simulated model. Each is judged by
//! what its own caller heard; nothing of one may be found in another.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::time::Duration;

use call::EndReason;
use call::summary::Who;
use common::Stage;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{CallOptions, CallReport};
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Record, Script};
use sim::oracle;

const CALLS: usize = 20;

/// Two cores carry twenty calls, two fakes for each, and the tests beside this one.
const TOLERANCE_MS: u32 = 250;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_calls_at_once_end_right_and_share_nothing() {
    let stage = Stage::set(|opening| {
        let number = opening.number;
        let answer = format!("You are caller {number}, and this is rather a long answer to what you said just now.");
        let script = Script::says([answer.as_str(), &format!("That was all for caller {number}, goodbye!")])
            .hears([format!("First of {number}.").as_str(), &format!("Second of {number}.")]);
        FakeModel::new(&format!("s{number}"), script, Behaviour::default())
    })
    .await;
    let reports = futures_util::future::join_all((0..CALLS).map(|number| {
        // Each says something of its own, interrupts at a moment of its own.
        let caller = vec![
            CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(200) },
            CallerStep::AwaitAgentQuiet(Duration::from_millis(200)),
            CallerStep::Say(hum(&format!("caller {number} asks")).into()),
            CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(700 + 40 * number as u64) },
            CallerStep::Say(hum(&format!("caller {number} has heard enough of this")).into()),
            CallerStep::AwaitAgentQuiet(Duration::from_secs(20)),
        ];
        let options = CallOptions { limit: Duration::from_secs(60), ..CallOptions::default() };
        let (carrier, base) = (&stage.carrier, &stage.base);
        async move { carrier.call(base, &format!("+1500555{number:04}"), "+15005550006", caller, options).await }
    }))
    .await;
    stage.calls.wait_for_finished(CALLS as u64).await;

    let sessions: Vec<Record> =
        stage.model.sessions().iter().map(|session| session.lock().unwrap().record().clone()).collect();
    assert_eq!((reports.len(), sessions.len(), stage.calls.live()), (CALLS, CALLS, 0));
    let finished = stage.calls.finished();
    let mut served = [false; CALLS];
    for report in &reports {
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let stream = &report.streams[0];
        let record = finished.iter().find(|record| record.facts.call_sid == report.call_sid).unwrap();
        assert_eq!(record.ended_reason, EndReason::Goodbye);
        // Whose answer was it? The words say so, the audio has to agree, and nobody else's audio does.
        let session = the_session_of(record.summary.turns.iter().map(|turn| turn.text.as_str()));
        assert!(!std::mem::replace(&mut served[session - 1], true), "two callers were given session {session}");
        let heard = oracle::judge(stream, &sessions[session - 1], TOLERANCE_MS)
            .unwrap_or_else(|what| panic!("caller with session {session}: {what}"));
        assert_eq!(heard.len(), 3);
        let goodbye = heard[2].at + heard[2].bytes;
        let after = report.ended_at.saturating_sub(stream.started_at + Duration::from_micros(125 * goodbye as u64));
        assert!(after < Duration::from_secs(1), "the call ended {after:?} after its goodbye");
        let said: Vec<_> =
            record.summary.turns.iter().filter(|turn| turn.who == Who::Caller).map(|turn| &turn.text).collect();
        assert_eq!(said, [&format!("First of {session}."), &format!("Second of {session}.")]);
        assert_eq!(hang_ups(report), 1);
    }
    assert!(served.iter().all(|served| *served));
    stage.strike().await;
}

/// The number that the agent's last answer names: the one before it was cut off, perhaps before it came to that.
fn the_session_of<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    let all = texts.collect::<Vec<_>>().join(" ");
    let number = all.rsplit("caller ").next().unwrap_or_else(|| panic!("nobody is named in {all:?}"));
    number.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn hang_ups(report: &CallReport) -> usize {
    report
        .rest
        .iter()
        .filter(|request| request.form.iter().any(|(name, value)| name == "Status" && value == "completed"))
        .count()
}
