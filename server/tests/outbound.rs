//! Calls that the server places, through the simulated carrier: what they leave, and what becomes of them when answers
//! and callbacks are late, lost, doubled or out of order.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use call::{Answerer, EndReason, EndedBy};
use common::Stage;
use patchcord::config::Config;
use patchcord::record::CallRecord;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::outbound::{Callee, CreateAnswer, Outcome};
use sim::carrier::twilio::{CallOptions, CallReport};
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};
use tokio::time::timeout;

const OURS: &str = "+15005550006";
const THEIRS: &str = "+15005550001";

/// Far beyond what any of it takes; only a test that fails waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_outbound_and_inbound_records_differ_only_in_direction_numbers_and_who_dialled() {
    let stage = stage(|_| {}).await;
    let script = vec![
        CallerStep::AwaitAgentSpeech { for_at_least: ms(200) },
        CallerStep::AwaitAgentQuiet(ms(300)),
        CallerStep::Say(hum("yes, thank you").into()),
        CallerStep::AwaitAgentQuiet(ms(20_000)),
    ];
    let callee = script.clone();
    stage.carrier.callees(move |_| Callee::answers(callee.clone()));
    let came = stage.carrier.call(&stage.base, THEIRS, OURS, script, CallOptions::default()).await;
    assert_eq!(came.problems, [""; 0]);
    let inbound = ended(&stage, 1).await;

    let placed = stage.place(json!({ "to": THEIRS })).await;
    let outbound = ended(&stage, 2).await;
    let report = stage.carrier.placed(1).await.remove(0);
    assert_eq!((report.problems, report.streams[0].violations.len()), (vec![], 0));
    assert_eq!(stage.carrier.desk_problems(), [""; 0]);
    assert_eq!(outbound["call_sid"], report.call_sid);
    assert_eq!(outbound["id"], placed["id"]);

    // Every name and every type of value is the same.
    assert_eq!(shape(&inbound), shape(&outbound));
    let numbers = |record: &Value| [record["direction"].clone(), record["from"].clone(), record["to"].clone()];
    assert_eq!(numbers(&inbound), [json!("inbound"), json!(THEIRS), json!(OURS)]);
    assert_eq!(numbers(&outbound), [json!("outbound"), json!(OURS), json!(THEIRS)]);
    // What is left when names, numbers and what was measured are taken out.
    let (inbound, outbound) = (told(inbound), told(outbound));
    assert_eq!(inbound, outbound);
    assert_eq!((&inbound["ended_reason"], &inbound["ended_by"]), (&json!("goodbye"), &json!("agent")));
    assert_eq!(inbound["turns"].as_array().unwrap().len(), 3, "{inbound:#}");
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_of_every_outcome_end_right_whatever_happens_to_their_callbacks() {
    const CALLS: usize = 200;
    let stage = stage(|config| config.max_calls = CALLS).await;
    stage.carrier.callees(|create| {
        let number = number_of(&create.to);
        let hangs_up = vec![CallerStep::Pause(ms(40)), CallerStep::HangUp];
        let waits = vec![CallerStep::AwaitAgentQuiet(ms(60_000))];
        // Nothing random: 61 is prime to everything here, so delays cross in every way.
        let late = (0..5).map(|index| ms((number as u64 * 61 + index * 97) % 300)).collect();
        Callee {
            outcome: match kind(number) {
                Kind::Human | Kind::Unscreened => Outcome::Answers(hangs_up),
                Kind::Machine => Outcome::Answers(waits),
                Kind::Busy => Outcome::Busy,
                Kind::NoAnswer => Outcome::NoAnswer,
                Kind::Fails => Outcome::Fails(404),
                Kind::Canceled => Outcome::Canceled,
            },
            answered_by: if kind(number) == Kind::Human { ("human", ms(10)) } else { ("machine_start", ms(10)) },
            rings: ms(number as u64 % 20),
            callbacks_late: late,
            callbacks_twice: Some(ms(number as u64 * 7 % 50)),
            ..Callee::default()
        }
    });
    let placed = (0..CALLS).map(|number| {
        let mut wanted = json!({ "to": number_to(number) });
        if matches!(kind(number), Kind::Human | Kind::Machine) {
            wanted["on_machine"] = "hang_up".into();
        }
        stage.place(wanted)
    });
    let placed: BTreeSet<String> =
        futures_util::future::join_all(placed).await.iter().map(|call| text(&call["id"])).collect();
    assert_eq!(placed.len(), CALLS);

    let reports = timeout(PATIENCE, stage.carrier.placed(CALLS)).await.expect("the carrier's calls end");
    timeout(PATIENCE, stage.calls.wait_for_finished(CALLS as u64)).await.expect("ours end");
    assert_eq!((stage.carrier.creates().len(), stage.carrier.calls_made(), stage.calls.live()), (CALLS, CALLS, 0));
    let records = stage.calls.finished();
    assert_eq!(records.len(), CALLS);
    for report in &reports {
        // No callback was refused, none too many or too late.
        assert_eq!(report.problems, [""; 0]);
        let record = records.iter().find(|record| record.facts.call_sid == report.call_sid).unwrap();
        let number = number_of(&record.facts.to);
        let (reason, by) = match kind(number) {
            Kind::Human | Kind::Unscreened => (EndReason::CallerHungUp, EndedBy::Caller),
            Kind::Machine => (EndReason::Machine, EndedBy::Operator),
            Kind::Busy => (EndReason::Busy, EndedBy::Carrier),
            Kind::NoAnswer => (EndReason::NotAnswered, EndedBy::Carrier),
            Kind::Fails => (EndReason::Unreachable, EndedBy::Carrier),
            Kind::Canceled => (EndReason::Canceled, EndedBy::Operator),
        };
        assert_eq!((record.ended_reason, record.ended_by), (reason, by), "{number}: {record:?}");
        let was_answered = matches!(kind(number), Kind::Human | Kind::Machine | Kind::Unscreened);
        assert_eq!(
            report.documents.iter().filter(|document| document.url.contains("/voice")).count() == 1,
            was_answered
        );
        let failure = (kind(number) == Kind::Fails).then(|| "SIP 404".to_owned());
        // The status that has it may have been overtaken by nothing: there is one last status, if doubled.
        assert_eq!(record.failure, failure);
        let callbacks = report.callbacks.iter().filter(|callback| callback.url.contains("/status")).count();
        assert_eq!(callbacks, if was_answered { 8 } else { 6 }, "each status twice");
        if kind(number) == Kind::Machine {
            assert_eq!(record.summary.answered_by, Some(Answerer::Machine));
            assert_eq!(hang_ups(report), 1);
        }
    }
    // And the store has them all.
    let mut listed = BTreeSet::new();
    let mut query = "direction=outbound&state=ended&limit=77".to_owned();
    loop {
        let page = stage.get(&format!("/api/v1/calls?{query}")).await;
        listed.extend(page["calls"].as_array().unwrap().iter().map(|call| text(&call["id"])));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("direction=outbound&state=ended&limit=77&cursor={next}");
    }
    assert_eq!(listed, placed);
    stage.strike().await;
}

#[tokio::test]
async fn a_create_that_times_out_is_looked_up_and_the_call_adopted() {
    for create in [CreateAnswer::CreatedButHangs, CreateAnswer::CreatedButFails] {
        let stage = stage(|config| config.twilio.api_timeout = ms(200)).await;
        let script = vec![CallerStep::AwaitAgentSpeech { for_at_least: ms(20) }, CallerStep::HangUp];
        stage.carrier.callees(move |_| Callee { create, ..Callee::answers(script.clone()) });
        stage.place(json!({ "to": THEIRS })).await;
        let record = ended(&stage, 1).await;
        assert_eq!(record["ended_reason"], "caller_hung_up", "{record:#}");
        let report = stage.carrier.placed(1).await.remove(0);
        assert_eq!(record["call_sid"], report.call_sid);
        assert_eq!((stage.carrier.creates().len(), stage.carrier.calls_made()), (1, 1), "no second call");
        stage.strike().await;
    }
}

/// Nothing says what became of the create but the carrier's list, and nothing what became of the call but its resource.
#[tokio::test]
async fn a_call_is_found_in_the_carriers_list_when_no_callback_comes() {
    let stage = stage(|config| {
        config.twilio.api_timeout = ms(200);
        config.outbound.check_every = ms(50);
    })
    .await;
    // A call that is not ours to adopt: between the same numbers, but it came in.
    let _other = stage.carrier.call(&stage.base, OURS, THEIRS, vec![CallerStep::HangUp], CallOptions::default()).await;
    ended(&stage, 1).await;
    stage.carrier.callees(|_| Callee {
        create: CreateAnswer::CreatedButHangs,
        rings: ms(600),
        callbacks_lost: true,
        ..Callee::is(Outcome::Busy)
    });
    stage.place(json!({ "to": THEIRS })).await;
    let record = ended(&stage, 2).await;
    let report = stage.carrier.placed(1).await.remove(0);
    assert_eq!((&record["ended_reason"], &record["call_sid"]), (&json!("busy"), &json!(report.call_sid)));
    assert_eq!(stage.carrier.creates().len(), 1);
    stage.strike().await;
}

#[tokio::test]
async fn a_create_that_came_to_nothing_is_not_repeated() {
    let stage = stage(|config| {
        config.twilio.api_timeout = ms(100);
        config.outbound.lookup_max = ms(600);
    })
    .await;
    stage.carrier.callees(|_| Callee { create: CreateAnswer::Hangs, ..Callee::default() });
    stage.place(json!({ "to": THEIRS })).await;
    let record = ended(&stage, 1).await;
    assert_eq!((&record["ended_reason"], &record["call_sid"]), (&json!("unreachable"), &Value::Null));
    assert!(record["failure"].as_str().unwrap().starts_with("no answer to the request"), "{record:#}");
    assert_eq!((stage.carrier.creates().len(), stage.carrier.calls_made()), (1, 0));
    stage.strike().await;
}

#[tokio::test]
async fn a_carrier_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let stage = stage(|_| {}).await;
    stage.carrier.callees(|create| Callee {
        create: match (create.to.as_str(), create.earlier) {
            (THEIRS, 0) => CreateAnswer::TooMany,
            (THEIRS, _) => CreateAnswer::Created,
            _ => CreateAnswer::Refused(21211),
        },
        ..Callee::is(Outcome::NoAnswer)
    });
    stage.place(json!({ "to": THEIRS })).await;
    let record = ended(&stage, 1).await;
    assert_eq!((&record["ended_reason"], stage.carrier.creates().len()), (&json!("not_answered"), 2));

    stage.place(json!({ "to": "+15005550002" })).await;
    let record = ended(&stage, 2).await;
    let failure = json!("21211: +15005550002 cannot be called");
    assert_eq!((&record["ended_reason"], &record["failure"]), (&json!("unreachable"), &failure));
    assert_eq!((&record["ended_by"], stage.carrier.creates().len()), (&json!("carrier"), 3));
    assert!(!stage.calls.folder(record["id"].as_str().unwrap().parse().unwrap()).exists());
    stage.strike().await;
}

#[tokio::test]
async fn a_carrier_that_stays_busy_is_given_up() {
    let stage = stage(|config| config.outbound.create_max = ms(400)).await;
    stage.carrier.callees(|_| Callee { create: CreateAnswer::TooMany, ..Callee::default() });
    stage.place(json!({ "to": THEIRS })).await;
    let record = ended(&stage, 1).await;
    assert_eq!(
        (&record["ended_reason"], &record["failure"]),
        (&json!("unreachable"), &json!("20429: Too Many Requests"))
    );
    stage.strike().await;
}

#[tokio::test]
async fn a_call_that_rings_is_taken_back() {
    let stage = stage(|_| {}).await;
    stage.carrier.callees(|_| Callee { rings: ms(60_000), ..Callee::default() });
    let call = stage.place(json!({ "to": THEIRS })).await;
    assert_eq!(
        (&call["progress"], &call["call_sid"], &call["ended_at"]),
        (&json!("placing"), &Value::Null, &Value::Null)
    );
    let path = format!("/api/v1/calls/{}", text(&call["id"]));
    until(|| async { stage.get(&path).await["progress"] == "ringing" }).await;
    assert_eq!(stage.get("/api/v1/calls?state=live").await["calls"][0]["progress"], "ringing");
    let (status, _) = stage.post(&format!("{path}/hangup"), None, None).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let record = ended(&stage, 1).await;
    assert_eq!((&record["ended_reason"], &record["ended_by"]), (&json!("operator_hung_up"), &json!("operator")));
    let report = stage.carrier.placed(1).await.remove(0);
    assert_eq!((report.status, hang_ups(&report)), ("canceled", 1));
    // Once more is answered as what it is.
    assert_eq!(stage.post(&format!("{path}/hangup"), None, None).await.0, StatusCode::CONFLICT);
    stage.strike().await;
}

#[tokio::test]
async fn a_call_that_talks_is_hung_up() {
    let stage = stage(|_| {}).await;
    stage.carrier.callees(|_| Callee::answers(vec![CallerStep::AwaitAgentQuiet(ms(60_000))]));
    let call = stage.place(json!({ "to": THEIRS })).await;
    let path = format!("/api/v1/calls/{}", text(&call["id"]));
    until(|| async { stage.get(&path).await["progress"] == "connected" }).await;
    assert_eq!(stage.post(&format!("{path}/hangup"), None, None).await.0, StatusCode::ACCEPTED);
    assert_eq!(ended(&stage, 1).await["ended_reason"], "operator_hung_up");
    stage.strike().await;
}

#[tokio::test]
async fn a_call_that_nobody_answers_and_the_carrier_forgets_is_given_up() {
    let stage = stage(|config| {
        config.outbound.answer_max = ms(300);
        config.outbound.check_every = ms(100);
    })
    .await;
    stage.carrier.callees(|_| Callee { rings: ms(60_000), ..Callee::default() });
    stage.place(json!({ "to": THEIRS })).await;
    let record = ended(&stage, 1).await;
    assert_eq!((&record["ended_reason"], &record["ended_by"]), (&json!("not_answered"), &json!("carrier")));
    assert_eq!(stage.carrier.placed(1).await.remove(0).status, "canceled");
    stage.strike().await;
}

/// A machine is left a message if that is wanted.
#[tokio::test]
async fn a_machine_is_spoken_to_where_that_is_wanted() {
    let stage = stage(|_| {}).await;
    let script = vec![CallerStep::AwaitAgentSpeech { for_at_least: ms(100) }, CallerStep::HangUp];
    stage
        .carrier
        .callees(move |_| Callee { answered_by: ("machine_end_beep", ms(0)), ..Callee::answers(script.clone()) });
    stage.place(json!({ "to": THEIRS, "on_machine": "continue" })).await;
    let record = ended(&stage, 1).await;
    assert_eq!((&record["ended_reason"], &record["answered_by"]), (&json!("caller_hung_up"), &json!("machine")));
    stage.strike().await;
}

#[tokio::test]
async fn n9_calls_that_we_place_are_admitted_like_those_that_come() {
    let stage = stage(|config| config.max_calls = 2).await;
    stage.carrier.callees(|_| Callee { rings: ms(60_000), ..Callee::default() });
    let wanted = || Some(json!({ "to": THEIRS }));
    let burst = futures_util::future::join_all((0..20).map(|_| stage.post("/api/v1/calls", wanted(), None))).await;
    let count = |wanted| burst.iter().filter(|(status, _)| *status == wanted).count();
    assert_eq!((count(StatusCode::CREATED), count(StatusCode::SERVICE_UNAVAILABLE)), (2, 18));
    let came = stage.carrier.call(&stage.base, THEIRS, OURS, vec![], CallOptions::default()).await;
    assert_eq!(came.status, "busy");
    // A server that stops takes back what rings.
    let calls = stage.calls.clone();
    stage.strike().await;
    assert!(calls.finished().iter().all(|record| record.ended_reason == EndReason::OperatorHungUp));
    assert_eq!((calls.finished().len(), calls.live()), (2, 0));
}

#[tokio::test]
async fn n3_the_question_what_to_do_is_answered_once_and_only_to_the_call_itself() {
    let stage = stage(|config| config.twilio.verify = patchcord::config::Verify::UnlessLoopback).await;
    stage.carrier.callees(|_| Callee { rings: ms(60_000), ..Callee::default() });
    stage.place(json!({ "to": THEIRS })).await;
    until(|| async { stage.carrier.creates().len() == 1 }).await;
    let create = stage.carrier.creates().remove(0);
    let url = create.form.iter().find(|(name, _)| name == "Url").unwrap().1.clone();
    let ask = |url: String, sid: &'static str| async move {
        let form = [("CallSid", sid), ("From", OURS), ("To", THEIRS), ("CallStatus", "in-progress")];
        reqwest::Client::new().post(url).form(&form).send().await.unwrap().text().await.unwrap()
    };
    let sid = "CA00000000000000000000000000000001";
    until(|| async { stage.get("/api/v1/calls").await["calls"][0]["call_sid"] == sid }).await;
    // Neither with another's name nor with another token is there anything to be had.
    assert!(ask(url.clone(), "CA00000000000000000000000000000009").await.contains("<Hangup/>"));
    let other = format!("{}{}", url.split('=').next().unwrap(), "=0123456789abcdef0123456789abcdef");
    assert!(ask(other, "CA00000000000000000000000000000008").await.contains("<Hangup/>"));
    let (first, second) = tokio::join!(ask(url.clone(), sid), ask(url.clone(), sid));
    assert!(first.contains("<Stream url=") && first == second, "{first} {second}");
    assert_eq!(ask(url, sid).await, first);
    assert_eq!(stage.calls.live(), 1);
    stage.strike().await;
}

#[tokio::test]
async fn the_command_line_follows_a_call_and_says_how_it_went() {
    let stage = stage(|config| config.api_key = Some(patchcord::config::Secret::new("api-key"))).await;
    let script = vec![CallerStep::AwaitAgentSpeech { for_at_least: ms(50) }, CallerStep::HangUp];
    stage.carrier.callees(move |create| match create.to.as_str() {
        THEIRS => Callee::answers(script.clone()),
        _ => Callee::is(Outcome::Busy),
    });
    let run = |to: &'static str, key: &'static str, more: &'static [&'static str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_patchcord"));
        command.args(["call", "--to", to, "--server", &stage.base]).args(more).env("PATCHCORD_API_KEY", key);
        async move { tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap() }
    };
    let out = run(THEIRS, "api-key", &["--agent", "default"]).await;
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{said} {}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("ended: caller hung up, by caller"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");

    let out = run("+15005550002", "api-key", &["--json"]).await;
    assert_eq!(out.status.code(), Some(1));
    let record: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(record["ended_reason"], "busy");

    for (to, key, wrong) in [(THEIRS, "wrong", "Authorization: Bearer"), ("555", "api-key", "`to`: not a number")] {
        let out = run(to, key, &[]).await;
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(1) && said.contains(wrong), "{said}");
    }
    let out = run(THEIRS, "api-key", &["--bogus"]).await;
    assert_eq!(out.status.code(), Some(2));
    stage.strike().await;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Human,
    Machine,
    /// A machine that nobody asked about.
    Unscreened,
    Busy,
    NoAnswer,
    Fails,
    Canceled,
}

fn kind(number: usize) -> Kind {
    use Kind::*;
    [Human, Busy, Machine, NoAnswer, Fails, Unscreened, Canceled][number % 7]
}

fn number_to(number: usize) -> String {
    format!("+1500555{number:04}")
}

fn number_of(to: &str) -> usize {
    to.strip_prefix("+1500555").unwrap().parse().unwrap()
}

async fn stage(change: impl FnOnce(&mut Config)) -> Stage {
    let session = |opening: &sim::model::server::Opening| {
        let script = Script::says(["Thank you, that was all. Goodbye!"]).hears(["Yes, thank you."]);
        FakeModel::new(&format!("s{}", opening.number), script, Behaviour::default())
    };
    Stage::with(session, |config| {
        config.agents[0].numbers = vec![OURS.to_owned()];
        change(config);
    })
    .await
}

/// The last record, once there are so many.
async fn ended(stage: &Stage, count: u64) -> Value {
    let record = timeout(PATIENCE, stage.calls.wait_for_finished(count)).await.expect("the call ends").unwrap();
    serde_json::to_value::<&CallRecord>(&record).unwrap()
}

/// Asks again until it is so. Each question is a request, so this does not spin.
async fn until<F: Future<Output = bool>>(question: impl Fn() -> F) {
    let asking = async {
        while !question().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asking).await.expect("it becomes so");
}

fn hang_ups(report: &CallReport) -> usize {
    let hang_up = |(name, value): &(String, String)| name == "Status" && value == "completed";
    report.rest.iter().filter(|request| request.form.iter().any(hang_up)).count()
}

/// Names and types, not values. Lists count as their first element.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => json!([items.first().map(shape)]),
        Value::String(_) => "string".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => Value::Null,
    }
}

/// What the record says, without names, numbers and measurements.
fn told(mut record: Value) -> Value {
    let fields = record.as_object_mut().unwrap();
    let names = ["id", "call_sid", "direction", "from", "to", "started_at", "answered_at", "ended_at"];
    let measured = ["audio_in", "frames_sent", "latency", "usage"];
    for name in names.into_iter().chain(measured) {
        assert!(fields.remove(name).is_some(), "{name}");
    }
    fields["recording"]["duration_ms"] = 0.into();
    fields["recording"]["unplaced_ms"] = 0.into();
    for turn in fields["turns"].as_array_mut().unwrap() {
        for time in ["start_ms", "end_ms", "heard_ms"] {
            turn[time] = 0.into();
        }
    }
    record
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
