//! The life of a call (L1–L10, N1, N11), and of what is told about it.

mod common;

use call::config::{CallConfig, CallFacts, OnMachine};
use call::input::{Outcome, ResponseStatus, Usage};
use call::trace::{Event, Trace, TraceWriter, Words};
use call::{Answerer, Call, CallStatus, CarrierInput, CommandId, EndReason, EndedBy, Epoch, Input, ModelInput};
use common::*;

/// Breaks when a counter begins with the stream, or differs by direction.
#[test]
fn l1_counters_are_zero_from_the_moment_a_call_exists() {
    for facts in [INBOUND, OUTBOUND] {
        let call = Call::new(config(), facts);
        let summary = call.summary();
        assert_eq!((summary.audio_in, summary.audio_out, summary.frames_sent), (0, 0, 0));
        assert!(summary.dropped.is_empty());
    }
}

/// Breaks when audio before `start` is not counted.
#[test]
fn l1_l2_audio_before_the_start_is_counted() {
    for facts in [INBOUND, OUTBOUND] {
        let mut scene = Scene::made(config(), facts);
        scene.give(Input::Announced);
        scene.give(caller_audio(0));
        assert_eq!(scene.call.summary().audio_in, 1);
        scene.when(0.1, started());
        scene.when(0.1, caller_audio(20));
        assert_eq!(scene.call.summary().audio_in, 2);
    }
}

/// Breaks when a message is counted only if it is forwarded, or dropped without a reason.
#[test]
fn l2_every_message_is_accounted_for() {
    let mut scene = Scene::made(hopeless(), INBOUND);
    scene.give(Input::Announced);
    scene.give(started());
    for n in 0..300 {
        scene.give(caller_audio(n * 20));
    }
    scene.when(1.0, connected());
    scene.when(1.0, configured());
    scene.when(1.0, caller_audio(6_000));
    scene.when(1.1, model_lost());
    scene.when(1.1, caller_audio(6_020));
    let summary = scene.call.summary();
    assert_eq!(summary.audio_in, 302);
    assert_eq!(serde_json::to_string(&summary.dropped).unwrap(), r#"{"model_not_ready":50,"no_model":1}"#);
    let forwarded = scene.log.iter().filter(|(_, output)| output.to_string() == "forward").count();
    assert_eq!(forwarded, 1);
    scene.noted("Dropped { reason: NoModel, bytes: 160 }");
}

/// Breaks when audio that is not accepted counts.
#[test]
fn l2_audio_out_counts_the_deltas_that_were_accepted() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, audio(R1, A1, 100));
    assert_eq!(scene.call.summary().audio_out, 0);
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 100));
    scene.when(1.0, audio(R1, A1, 100));
    assert_eq!(scene.call.summary().audio_out, 2);
    assert_eq!(serde_json::to_string(&scene.call.summary().dropped).unwrap(), r#"{"stale_response":1}"#);
}

/// Every input, first thing in the life of a call. Breaks when one of them reads what is not there yet.
#[test]
fn l3_any_input_may_come_first() {
    for input in every_input() {
        let mut scene = Scene::made(CallConfig { greeting: Some("Hello".to_owned()), ..config() }, INBOUND);
        scene.give(input.clone());
        scene.until(1.0);
        let mut scene = Scene::made(config(), OUTBOUND);
        scene.give(Input::Announced);
        scene.give(input);
        scene.until(100.0);
        let _ = scene.call.summary();
    }
}

/// Breaks when `Call::new` asks for anything.
#[test]
fn l4_making_a_call_starts_nothing() {
    let mut call = Call::new(CallConfig { greeting: Some("Hello".to_owned()), ..config() }, INBOUND);
    assert_eq!(call.poll_output(), None);
    assert_eq!(call.poll_timeout(), None);
}

/// Breaks when the greeting does not wait for the carrier's `start`.
#[test]
fn l4_the_model_may_be_configured_before_the_start_and_speaking_begins_with_it() {
    let mut scene = Scene::made(CallConfig { greeting: Some("Hello".to_owned()), ..config() }, INBOUND);
    scene.give(Input::Announced);
    scene.when(0.1, connected());
    scene.when(0.2, configured());
    scene.when(0.3, say("hello"));
    scene.until(5.0);
    scene.expect(["do c1 connect model e1", "configure"]);
    scene.when(5.0, started());
    scene.expect(["create q2 Greeting"]);
}

/// Breaks when a stream that was not announced finds no model.
#[test]
fn l4_a_stream_that_was_not_announced_connects_the_model_itself() {
    let mut scene = Scene::made(config(), INBOUND);
    scene.give(started());
    scene.expect(["do c1 connect model e1"]);
    scene.when(0.1, Input::Announced);
    scene.expect([]);
}

/// RACES h. Breaks when a second start begins anything anew.
#[test]
fn l5_a_second_start_disturbs_nothing() {
    let mut scene = Scene::ready(CallConfig { greeting: Some("Hello".to_owned()), ..config() });
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 500));
    scene.skip();
    let mut undisturbed = scene.clone();
    scene.when(1.1, started());
    scene.noted("a second start");
    for scene in [&mut scene, &mut undisturbed] {
        scene.when(1.2, done(R1));
        scene.until(3.0);
        scene.expect(["plays 300ms"]);
    }
}

/// Breaks when anything of a call is kept outside of it: two calls told the same would differ.
#[test]
fn l6_no_state_of_a_call_lives_outside_of_it() {
    let mut one = Scene::ready(config());
    let mut other = Scene::ready(config());
    conversation(&mut one);
    // The other one meanwhile, and between.
    conversation(&mut other);
    assert!(one.call == other.call);
    assert_eq!(one.log, other.log);
}

/// In every order of two. Breaks when a stop is taken for the end, or the end comes twice.
#[test]
fn l7_a_lost_stream_is_explained_by_a_status() {
    for (gone, explained, reason) in [
        (stopped(), status(CallStatus::Completed), "ended CallerHungUp"),
        (closed(), status(CallStatus::Completed), "ended CallerHungUp"),
        (stopped(), after_stream(CallStatus::Completed), "ended CallerHungUp"),
        (closed(), after_stream(CallStatus::Failed), "ended CallerHungUp"),
    ] {
        let mut scene = Scene::ready(config());
        scene.when(1.0, gone.clone());
        scene.expect(["close carrier"]);
        scene.until(3.0);
        scene.expect([]);
        scene.when(3.0, explained.clone());
        scene.expect(["close model", reason]);

        let mut scene = Scene::ready(config());
        scene.when(1.0, explained);
        scene.expect(["close carrier", "close model", reason]);
        scene.when(1.1, gone);
        scene.expect([]);
    }
}

/// RACES: a `stop` without a close and a close without a `stop`; both. Breaks when the socket is closed twice.
#[test]
fn l7_a_stop_and_a_close_are_one_loss() {
    for inputs in [[stopped(), closed()], [closed(), stopped()], [closed(), closed()]] {
        let mut scene = Scene::ready(config());
        for input in inputs {
            scene.when(1.0, input);
        }
        scene.until(20.0);
        scene.expect(["close carrier", "close model", "ended StreamLost"]);
        assert_eq!(scene.times_of("ended"), [6.0]);
    }
}

/// Breaks when a status that is not final ends anything, or a stream that broke is blamed on the caller.
#[test]
fn l7_a_call_that_goes_on_without_its_stream_is_ended_by_the_carrier() {
    let mut scene = Scene::ready(CallConfig { resume_max: None, ..config() });
    scene.when(1.0, status(CallStatus::InProgress));
    scene.expect([]);
    scene.when(2.0, after_stream(CallStatus::InProgress));
    scene.expect(["close carrier"]);
    // We answered that with a hang-up.
    scene.when(2.1, status(CallStatus::Completed));
    scene.expect(["close model", "ended StreamLost"]);
}

/// Breaks when a second end is carried out, or not answered.
#[test]
fn l7_a_call_ends_once() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, status(CallStatus::Completed));
    scene.skip();
    for input in every_input() {
        scene.when(2.0, input);
        scene.expect([]);
    }
    scene.noted("AlreadyEnded");
    scene.until(100.0);
    assert_eq!(scene.times_of("ended"), [1.0]);
}

/// Breaks when audio is sent into a stream that is gone.
#[test]
fn l7_nothing_is_sent_to_a_stream_that_is_gone() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 1_000));
    scene.when(1.1, stopped());
    scene.skip();
    scene.when(1.2, audio(R1, A1, 1_000));
    scene.when(1.3, say("hello"));
    scene.when(1.4, speech_started(I2));
    scene.when(1.5, done(R1));
    scene.until(10.0);
    let came = scene.came();
    for line in &came {
        assert!(!line.starts_with("plays") && !line.starts_with("create") && line != "clear", "{came:?}");
    }
}

/// Breaks when a goodbye or a timer survives the end.
#[test]
fn l9_ending_withdraws_the_goodbye_and_every_timer() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 5_000));
    scene.when(1.0, tool_call(R1, T1, "look"));
    scene.when(1.0, transcript(R1, A1, "goodbye"));
    scene.when(1.1, speech_started(I2));
    scene.when(1.2, say("wait"));
    scene.when(1.3, status(CallStatus::Completed));
    assert_eq!(scene.call.poll_timeout(), None);
    scene.skip();
    scene.when(5.0, done(R1));
    scene.when(5.0, Input::TimePassed);
    scene.until(600.0);
    scene.expect([]);
}

/// Breaks when what was due with the end is still done after it.
#[test]
fn l9_what_was_due_at_the_end_is_not_done_any_more() {
    let greeting = CallConfig { greeting: Some("Hello".to_owned()), ..config() };
    let mut scene = Scene::made(greeting, OUTBOUND);
    for input in [Input::Announced, connected(), configured(), started()] {
        scene.give(input);
    }
    scene.skip();
    // The callee was waited for until 2 s, and nobody woke us.
    scene.now = seconds(2.5);
    scene.give(status(CallStatus::Completed));
    scene.expect(["close carrier", "close model", "ended CallerHungUp"]);
}

/// Breaks when the end forgets that the hang-up was issued.
#[test]
fn l9_a_hang_up_that_was_issued_is_not_issued_again_after_the_end() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, operator_hangs_up());
    scene.when(1.1, stopped());
    scene.expect(["do c2 hang up", "close carrier", "close model", "ended OperatorHungUp"]);
    scene.when(1.2, operator_hangs_up());
    scene.when(1.3, Input::Done(CommandId(2), Outcome::HangUpFailed));
    scene.until(60.0);
    scene.expect([]);
}

/// Breaks when a reason blames somebody else.
#[test]
fn l10_every_reason_says_who_ended_the_call() {
    let by = [
        (EndReason::CallerHungUp, EndedBy::Caller),
        (EndReason::Goodbye, EndedBy::Agent),
        (EndReason::Silence, EndedBy::Limit),
        (EndReason::MaxDuration, EndedBy::Limit),
        (EndReason::OperatorHungUp, EndedBy::Operator),
        (EndReason::Stopped, EndedBy::Operator),
        (EndReason::StreamLost, EndedBy::Carrier),
        (EndReason::NeverStarted, EndedBy::Carrier),
        (EndReason::NotAnswered, EndedBy::Carrier),
        (EndReason::Busy, EndedBy::Carrier),
        (EndReason::Unreachable, EndedBy::Carrier),
        (EndReason::Canceled, EndedBy::Operator),
        (EndReason::Machine, EndedBy::Operator),
        (EndReason::ModelFailed, EndedBy::Model),
        (EndReason::Fault, EndedBy::Us),
    ];
    for (reason, who) in by {
        assert_eq!(reason.by(), who, "{reason:?}");
    }
}

/// Breaks when a call that nobody answered counts as the caller's, or one that never came is kept.
#[test]
fn l10_n1_calls_that_never_begin_end_too() {
    let end = |facts: CallFacts, input: Option<Input>| {
        let mut scene = Scene::made(config(), facts);
        scene.give(Input::Announced);
        scene.give(connected());
        scene.give(configured());
        if let Some(input) = input {
            scene.when(10.0, input);
        }
        scene.until(100.0);
        let came = scene.came();
        assert!(came.contains(&"close model".to_owned()));
        assert!(!came.contains(&"close carrier".to_owned()), "there was none");
        came.last().cloned().unwrap()
    };
    assert_eq!(end(INBOUND, None), "ended NeverStarted");
    assert_eq!(end(OUTBOUND, Some(status(CallStatus::NoAnswer))), "ended NotAnswered");
    assert_eq!(end(OUTBOUND, Some(status(CallStatus::Busy))), "ended Busy");
    assert_eq!(end(OUTBOUND, Some(status(CallStatus::Failed))), "ended Unreachable");
    assert_eq!(end(OUTBOUND, Some(status(CallStatus::Canceled))), "ended Canceled");
    // Answered, and hung up before the stream came.
    assert_eq!(end(OUTBOUND, Some(status(CallStatus::Completed))), "ended CallerHungUp");
    assert_eq!(end(OUTBOUND, Some(status(CallStatus::Ringing))), "ended NeverStarted");
    assert_eq!(end(INBOUND, Some(status(CallStatus::Canceled))), "ended CallerHungUp");
}

/// Breaks when a server that stops waits for a stream that is still to come, or for one that broke.
#[test]
fn h1_a_call_that_nobody_is_in_does_not_keep_a_server_from_stopping() {
    let mut scene = Scene::made(config(), INBOUND);
    scene.give(Input::Announced);
    scene.when(1.0, says_goodbye());
    scene.expect(["do c1 connect model e1", "do c2 hang up"]);
    scene.when(1.2, status(CallStatus::Completed));
    scene.expect(["close model", "ended Stopped"]);

    let mut scene = Scene::ready(config());
    scene.when(1.0, closed());
    scene.when(1.1, after_stream(CallStatus::InProgress));
    scene.skip();
    scene.when(1.2, says_goodbye());
    scene.expect(["close model", "ended Stopped"]);
}

/// Breaks when an operator cannot stop a call that rings: it is hung up at the carrier too.
#[test]
fn h1_an_operator_may_hang_up_a_call_whose_stream_is_still_to_come() {
    let mut scene = Scene::made(config(), OUTBOUND);
    scene.give(Input::Announced);
    scene.when(1.0, operator_hangs_up());
    scene.expect(["do c1 connect model e1", "do c2 hang up"]);
    scene.when(1.1, hung_up(C2));
    scene.when(1.2, status(CallStatus::Canceled));
    scene.expect(["close model", "ended OperatorHungUp"]);

    let mut scene = Scene::made(config(), OUTBOUND);
    scene.give(Input::Announced);
    scene.when(1.0, operator_hangs_up());
    scene.when(1.1, hung_up(C2));
    scene.until(100.0);
    assert_eq!(scene.times_of("ended OperatorHungUp"), [4.1]);
}

/// Breaks when a machine is talked to by a call that wanted a human, or hung up on by one that did not mind; or when a
/// second verdict, or one of a human, hangs up.
#[test]
fn l10_a_machine_is_hung_up_on_where_a_human_is_wanted() {
    let answered_by = |answerer| Input::Carrier(CarrierInput::AnsweredBy(answerer));
    let hang_ups = |on_machine, verdicts: &[Answerer]| {
        let mut scene = Scene::made(CallConfig { on_machine, ..config() }, OUTBOUND);
        scene.give(Input::Announced);
        scene.give(started());
        for verdict in verdicts {
            scene.when(3.0, answered_by(*verdict));
        }
        let asked = scene.came().iter().filter(|line| line.ends_with("hang up")).count();
        scene.when(3.2, stopped());
        (asked, scene.call.summary().answered_by, scene.came().last().cloned().unwrap_or_default())
    };
    let (machine, human) = (Answerer::Machine, Answerer::Human);
    let (asked, by, end) = hang_ups(OnMachine::HangUp, &[machine, machine]);
    assert_eq!((asked, by, end.as_str()), (1, Some(machine), "ended Machine"));
    assert_eq!(hang_ups(OnMachine::HangUp, &[human]).0, 0);
    let (asked, by, end) = hang_ups(OnMachine::Continue, &[machine, human]);
    assert_eq!((asked, by, end.as_str()), (0, Some(machine), "close carrier"));
}

/// Breaks when the order of anything depends on the run.
#[test]
fn n11_the_same_inputs_give_the_same_outputs() {
    let mut first = Scene::with_carrier(CallConfig { carrier_recording: true, ..config() });
    conversation(&mut first);
    let replayed = replay(Call::new(CallConfig { carrier_recording: true, ..config() }, INBOUND), &first.told);
    let said: Vec<String> = first.log.iter().map(|(at, output)| format!("{at} {output:?}")).collect();
    assert_eq!(said, replayed);
    assert!(said.len() > 200, "{}", said.len());
}

/// Breaks when a number of a peer's is counted on with nothing said about its size: each of these was a panic.
#[test]
fn r9_n11_numbers_beyond_all_bounds_do_no_harm() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, caller_audio(u64::MAX));
    scene.when(1.0, caller_audio(20));
    scene.when(1.0, committed(I1));
    for (at, response, request) in [(1.1, R1, Q2), (1.2, R2, Q3)] {
        scene.when(at, created(response, request));
        let usage = Usage { input_text: u64::MAX, ..Usage::default() };
        let done = ModelInput::ResponseDone { response, status: ResponseStatus::Completed, usage };
        scene.when(at, Input::Model(Epoch(1), done));
    }
    let mut trace = TraceWriter::new(&config(), &INBOUND, Words::Full);
    for (at, input) in &scene.told {
        trace.input(input, *at);
    }
    trace.flush();
    let mut told = String::new();
    assert!(trace.take(&mut told));
    let read: Vec<Input> = Trace::read(&told)
        .unwrap()
        .events
        .into_iter()
        .filter_map(|(_, event)| match event {
            Event::Input(input) => Some(input),
            Event::Output(_) => None,
        })
        .collect();
    assert_eq!(read, scene.told.iter().map(|(_, input)| input.clone()).collect::<Vec<_>>());
}

/// Breaks when a clone shares anything with its original.
#[test]
fn n11_a_clone_goes_on_as_its_original_does() {
    let mut scene = Scene::with_carrier(config());
    conversation(&mut scene);
    for middle in [10, scene.told.len() / 3, scene.told.len() / 2] {
        let mut call = Call::new(config(), INBOUND);
        for (at, input) in &scene.told[..middle] {
            call.handle_input(input.clone(), *at);
            while call.poll_output().is_some() {}
        }
        let clone = call.clone();
        assert!(clone == call);
        let original = replay(call, &scene.told[middle..]);
        assert_eq!(original, replay(clone, &scene.told[middle..]));
    }
}

/// RACES: time standing still for five seconds and then going on, at every moment of a conversation.
/// Breaks when a deadline that passed long ago is not caught up at once.
#[test]
fn n12_time_may_stand_still_anywhere() {
    let mut scene = Scene::with_carrier(config());
    conversation(&mut scene);
    for n in (0..scene.told.len()).step_by(7) {
        let mut still = Scene::made(config(), INBOUND);
        for (index, (at, input)) in scene.told.iter().enumerate() {
            still.now = if index < n { *at } else { *at + ms(5_000) };
            still.give(input.clone());
        }
    }
}

/// A conversation with a bit of everything.
fn conversation(scene: &mut Scene) {
    scene.when(1.0, caller_audio(0));
    scene.caller_says(1.0, I1);
    scene.when(2.1, created(R1, Q2));
    scene.when(2.2, item_added(R1, A1));
    scene.when(2.2, audio(R1, A1, 3_000));
    scene.when(2.4, speech_started(I2));
    scene.when(2.6, spoke_for(I2, 100));
    scene.when(2.6, committed(I2));
    scene.when(2.7, caller_said(I2, "mhm"));
    scene.when(3.0, tool_call(R1, T1, "look"));
    scene.when(3.0, audio_done(R1, A1));
    scene.when(3.1, done(R1));
    scene.when(3.5, tool_answered(C2));
    scene.when(3.6, created(R2, Q5));
    scene.when(3.7, audio(R2, A2, 2_000));
    scene.when(4.0, say("one more thing"));
    scene.when(4.2, speech_started(I3));
    scene.when(5.5, audio(R2, A2, 500));
    scene.when(5.6, done_cancelled(R2));
    scene.when(6.0, speech_stopped(I3));
    scene.when(6.0, committed(I3));
    scene.when(6.1, caller_said(I3, "bye"));
    scene.until(7.0);
    scene.when(7.0, created(R3, Q7));
    scene.when(7.0, audio(R3, A3, 800));
    scene.when(7.0, done(R3));
    scene.until(12.0);
    scene.when(12.0, stopped());
    scene.when(12.1, status(CallStatus::Completed));
    scene.until(20.0);
}

fn replay(mut call: Call, told: &[(call::CallTime, Input)]) -> Vec<String> {
    let mut said = Vec::new();
    for (at, input) in told {
        call.handle_input(input.clone(), *at);
        while let Some(output) = call.poll_output() {
            said.push(format!("{at} {output:?}"));
        }
    }
    said
}

fn every_input() -> Vec<Input> {
    vec![
        connected(),
        configured(),
        model_lost(),
        speech_started(I1),
        speech_stopped(I1),
        committed(I1),
        caller_said(I1, "bye"),
        created(R1, Q2),
        item_added(R1, A1),
        audio(R1, A1, 100),
        audio_done(R1, A1),
        transcript(R1, A1, "goodbye"),
        tool_call(R1, T1, "look"),
        done(R1),
        collision(Q2),
        caller_audio(0),
        mark_returned(call::MarkId { epoch: 0, seq: 1 }),
        Input::Carrier(call::CarrierInput::Dtmf('1')),
        hung_up(C2),
        hang_up_failed(C2),
        tool_answered(C2),
        Input::TimePassed,
        say("hello"),
        say_now("hello"),
        operator_hangs_up(),
        status(CallStatus::Ringing),
        status(CallStatus::Completed),
        after_stream(CallStatus::InProgress),
        stopped(),
        closed(),
        Input::Announced,
        started(),
    ]
}

/// Breaks when a stream that broke is not asked for again, the caller is greeted twice, or speech is lost between.
#[test]
fn n6_a_stream_that_breaks_is_brought_back_and_goes_on_where_hearing_stopped() {
    let resuming = CallConfig { resume_max: Some(ms(20_000)), greeting: Some("Hello.".into()), ..config() };
    let mut scene = Scene::with_carrier(resuming);
    scene.when(0.1, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 2_000));
    scene.when(1.0, done(R1));
    scene.skip();
    scene.when(1.5, closed());
    scene.expect(["plays 500ms", "close carrier"]);
    scene.when(1.6, after_stream(CallStatus::InProgress));
    scene.expect(["resume stream"]);
    // The carrier may ask twice.
    scene.when(1.7, after_stream(CallStatus::InProgress));
    scene.until(9.0);
    scene.expect([]);
    scene.when(9.0, started());
    scene.until(12.0);
    // 500 ms were heard, of the 700 ms that were sent: the rest is 1,500 ms.
    scene.expect(["plays 1500ms"]);
    assert_eq!(scene.times_with("Greeting").len(), 1);
}

/// Breaks when a caller whose stream broke counts as speaking until it comes back, and after.
#[test]
fn n6_whoever_spoke_when_the_stream_broke_counts_as_silent() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, speech_started(I1));
    scene.when(1.5, closed());
    scene.when(1.6, after_stream(CallStatus::InProgress));
    scene.when(3.0, started());
    scene.skip();
    scene.when(3.1, say("Are you still there?"));
    scene.expect(["create q2 Say"]);
}

/// Breaks when a stream that does not come back keeps the call for ever, or shorter than it may take.
#[test]
fn n6_a_stream_that_does_not_come_back_ends_the_call() {
    for (resume_max, ended) in [(None, 6.0), (Some(ms(20_000)), 21.0)] {
        let mut scene = Scene::ready(CallConfig { resume_max, ..config() });
        scene.when(1.0, closed());
        scene.when(1.1, after_stream(CallStatus::InProgress));
        scene.until(30.0);
        assert_eq!(scene.times_of("ended StreamLost"), [ended]);
    }
}

/// Breaks when a call that never ends is written down without a bound.
#[test]
fn n12_so_many_turns_are_written_down_and_no_more() {
    let mut scene = Scene::ready(hopeless());
    for n in 0..5_000 {
        let item = call::ItemId(n);
        scene.when(1.0 + f64::from(n) * 0.1, speech_started(item));
        scene.when(1.05 + f64::from(n) * 0.1, speech_stopped(item));
        scene.give(caller_said(item, "and"));
    }
    assert_eq!(scene.call.summary().turns.len(), 4_096);
}
