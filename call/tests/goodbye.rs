//! Goodbye and hang-up (H1–H11), and the races around them.

mod common;

use call::config::CallConfig;
use call::input::ModelError;
use call::{CallStatus, END_CALL};
use common::*;

/// The caller's turn is being answered by `R1`, with 500 ms of audio since 1.0 s; nothing is complete.
fn answering(config: CallConfig) -> Scene {
    let mut scene = Scene::with_carrier(config);
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, item_added(R1, A1));
    scene.when(1.0, audio(R1, A1, 500));
    scene.skip();
    scene
}

/// Breaks when anything but the carrier's REST is tried first, or the socket is not closed 3 s after its success.
#[test]
fn h1_the_carrier_is_asked_first_and_the_socket_closed_when_nothing_follows() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.2, done(R1));
    scene.until(2.0);
    scene.expect(["plays 300ms", "do c2 hang up"]);
    scene.when(2.0, hung_up(C2));
    scene.until(10.0);
    scene.expect(["close carrier", "close model", "ended Goodbye"]);
    assert_eq!(scene.times_of("close carrier"), [5.0]);
}

/// Breaks when a successful hang-up is repeated.
#[test]
fn h1_a_stop_after_the_hang_up_ends_the_call() {
    for stop in [
        stopped(),
        closed(),
        status(CallStatus::Completed),
        after_stream(CallStatus::Completed),
        after_stream(CallStatus::InProgress),
    ] {
        for accepted in [true, false] {
            let mut scene = answering(config());
            scene.when(1.1, transcript(R1, A1, "goodbye"));
            scene.when(1.2, done(R1));
            scene.until(2.0);
            scene.skip();
            if accepted {
                scene.when(2.0, hung_up(C2));
            }
            scene.when(2.1, stop.clone());
            scene.expect(["close carrier", "close model", "ended Goodbye"]);
        }
    }
}

/// Breaks when the success of an attempt that was given up is not taken for one.
#[test]
fn h1_a_hang_up_that_succeeds_after_its_time_is_not_tried_again() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.2, done(R1));
    scene.until(6.7);
    scene.expect(["plays 300ms", "do c2 hang up"]);
    scene.when(6.8, hung_up(C2));
    scene.until(10.0);
    scene.expect(["close carrier", "close model", "ended Goodbye"]);
}

/// Breaks when what is due at the moment of the end is done after it.
#[test]
fn l9_a_hold_that_ends_with_the_call_wants_nothing_any_more() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.2, done(R1));
    scene.when(2.0, hung_up(C2));
    scene.when(3.5, speech_started(I2));
    scene.when(4.3, spoke_for(I2, 500));
    scene.when(4.3, committed(I2));
    scene.skip();
    // Grace of the hang-up and wait for the transcript end in the same moment.
    scene.until(10.0);
    scene.expect(["close carrier", "close model", "ended Goodbye"]);
    assert_eq!(scene.times_of("ended"), [5.0]);
}

/// Each condition of H2, missing until last. Breaks when that one is not asked for.
#[test]
fn h2_it_hangs_up_when_all_conditions_hold_and_not_before() {
    // That response's end.
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.1, audio_done(R1, A1));
    scene.until(5.0);
    assert!(scene.times_of("do c2").is_empty(), "response.done was not seen");
    scene.when(5.0, done(R1));
    assert_eq!(scene.times_of("do c2 hang up"), [5.0]);

    // More audio of it.
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(3.0, audio(R1, A2, 300));
    scene.when(3.0, done(R1));
    scene.until(5.0);
    assert_eq!(scene.times_of("do c2 hang up"), [3.3]);

    // The caller's silence.
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.1, done(R1));
    scene.when(1.4, speech_started(I2));
    scene.when(1.5, spoke_for(I2, 50));
    scene.when(1.6, caller_said(I2, ""));
    scene.until(5.0);
    // 100 ms were left.
    assert_eq!(scene.times_of("do c2 hang up"), [1.7]);
}

/// Breaks when a goodbye that is wanted is not asked for, or hangs up before it was said.
#[test]
fn h2_a_wanted_goodbye_is_one_create_and_bound_to_its_response() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, caller_said(I1, "bye"));
    scene.expect(["create q2 Farewell"]);
    scene.noted("GoodbyeWanted { why: Goodbye }");
    scene.model_says(1.5, Q2, R1, A1, 500);
    // Whatever its words.
    scene.when(1.5, transcript(R1, A1, "see you"));
    scene.until(5.0);
    scene.expect(["keep", "plays 500ms", "do c2 hang up"]);
    assert_eq!(scene.times_of("do c2"), [2.0]);
}

/// Breaks when a farewell that fails is given up at once, or asked for a third time, or keeps the call.
#[test]
fn h2_a_farewell_that_fails_or_is_empty_is_retried_once_and_then_done_without() {
    for (first, second) in [(failed(R1), done(R2)), (done(R1), failed(R2))] {
        let mut scene = Scene::with_carrier(config());
        scene.when(1.0, caller_said(I1, "bye"));
        scene.when(1.1, created(R1, Q2));
        scene.when(1.2, first);
        scene.expect(["create q2 Farewell", "create q3 Farewell"]);
        scene.when(1.3, created(R2, Q3));
        scene.when(1.4, second);
        scene.expect(["do c2 hang up"]);
        scene.noted("GoodbyeDone { via: Unspoken }");
    }
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, caller_said(I1, "bye"));
    scene.when(1.1, error(Q2, ModelError::Other));
    scene.when(1.2, error(Q3, ModelError::Other));
    scene.expect(["create q2 Farewell", "create q3 Farewell", "do c2 hang up"]);
}

/// Breaks when a farewell of which only the tool call came counts as said.
#[test]
fn h2_a_farewell_that_only_calls_the_tool_again_is_empty() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, caller_said(I1, "bye"));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, tool_call(R1, T1, END_CALL));
    scene.when(1.2, done(R1));
    scene.expect(["create q2 Farewell", "tool output t1", "create q4 Farewell"]);
}

/// RACES a, for a farewell. Breaks when a rejected farewell is lost, or counts as its retry.
#[test]
fn h2_r8_a_farewell_that_collides_is_asked_for_again() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, caller_said(I1, "bye"));
    scene.when(1.1, collision(Q2));
    scene.when(1.2, done(R1));
    scene.expect(["create q2 Farewell", "create q3 Farewell"]);
    scene.when(1.3, created(R2, Q3));
    scene.when(1.4, failed(R2));
    scene.expect(["create q4 Farewell"]);
    scene.model_says(1.5, Q4, R3, A1, 100);
    scene.until(3.0);
    scene.expect(["keep", "plays 100ms", "do c2 hang up"]);
}

/// Breaks when `HangUp::Asked` is set after the command, or a second reason asks again.
#[test]
fn h3_a_hang_up_that_was_issued_is_not_issued_again() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.1, done(R1));
    scene.until(1.5);
    scene.expect(["plays 300ms", "do c2 hang up"]);
    scene.when(1.6, operator_hangs_up());
    scene.when(1.7, operator_hangs_up());
    scene.when(1.7, transcript(R1, A1, "goodbye"));
    scene.when(1.8, caller_said(I1, "bye"));
    scene.expect([]);
}

/// Breaks when the response that says goodbye is forgotten for two that end while it plays.
#[test]
fn h4_the_goodbyes_own_response_is_not_forgotten() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.1, done(R1));
    for response in [R2, R3] {
        scene.when(1.2, created_by_itself(response));
        scene.when(1.2, done(response));
    }
    scene.until(2.0);
    scene.expect(["plays 300ms", "do c2 hang up"]);
}

/// Breaks when more than two ended responses are remembered, or fewer.
#[test]
fn h4_the_last_two_responses_are_remembered() {
    for (asked, remembered) in [(R1, false), (R2, true), (R3, true)] {
        let mut scene = Scene::ready(config());
        for (request, response, item) in [(Q2, R1, A1), (Q3, R2, A2), (Q4, R3, A3)] {
            scene.when(scene.now.as_millis() as f64 / 1e3 + 1.0, say("so"));
            let now = scene.now.as_millis() as f64 / 1e3;
            scene.model_says(now, request, response, item, 100);
        }
        let item = call::ItemId(100 + asked.0);
        scene.until(10.0);
        scene.give(transcript(asked, item, "so it is"));
        assert_eq!(scene.call.summary().turns.iter().any(|turn| turn.text == "so it is"), remembered);
    }
}

/// Breaks when the response that said goodbye is forgotten while it is heard, because the model goes on by itself.
#[test]
fn h4_the_response_that_said_goodbye_is_not_forgotten() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.1, done(R1));
    for response in [R2, R3, R4] {
        scene.when(1.2, created_by_itself(response));
        scene.when(1.2, done(response));
    }
    scene.until(5.0);
    assert_eq!(scene.times_of("do c2 hang up"), [1.5]);
}

/// A. Breaks when a goodbye that is pending is not looked at again when its audio completes.
#[test]
fn h5_the_transcript_first_and_completion_later() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.until(2.0);
    scene.when(2.0, done(R1));
    // Its end was not marked before; the mark comes back at once.
    scene.until(2.0);
    scene.noted("GoodbyeDone { via: AudioDone }");
    assert_eq!(scene.times_of("do c2 hang up"), [2.0]);
}

/// B. Breaks when what a response said is forgotten with its end.
#[test]
fn h6_completion_first_and_the_transcript_later() {
    let mut scene = answering(config());
    scene.when(1.1, done(R1));
    scene.until(2.0);
    scene.when(2.0, transcript(R1, A1, "goodbye"));
    scene.noted("GoodbyeDone { via: TranscriptDone }");
    assert_eq!(scene.times_of("do c2 hang up"), [2.0]);
}

/// C, in both orders of the goodbye and the interruption. Breaks when a timer or a late event revives it.
#[test]
fn h7_an_interruption_withdraws_the_goodbye() {
    for hold in [true, false] {
        for goodbye_first in [true, false] {
            let mut scene = answering(CallConfig { hold, ..config() });
            if goodbye_first {
                scene.when(1.1, transcript(R1, A1, "goodbye"));
            }
            scene.when(1.2, speech_started(I2));
            scene.until(2.5);
            if !goodbye_first {
                scene.when(2.5, transcript(R1, A1, "goodbye"));
            }
            scene.when(2.6, done_cancelled(R1));
            scene.when(3.0, speech_stopped(I2));
            scene.when(3.0, committed(I2));
            scene.when(3.1, caller_said(I2, "wait, one more thing"));
            let came = scene.came();
            assert!(came.contains(&"create q5 CallerTurn".to_owned()), "{came:?}");
            scene.when(3.2, transcript(R1, A1, "goodbye"));
            scene.model_says(3.3, Q5, R2, A2, 500);
            scene.until(60.0);
            assert!(scene.times_of("do").len() == 1, "hold: {hold}, goodbye first: {goodbye_first}");
            assert_eq!(scene.has_noted("GoodbyeWithdrawn"), goodbye_first);
        }
    }
}

/// C, the goodbye being complete already. Breaks when only what is cancelled is withdrawn.
#[test]
fn h7_an_interruption_withdraws_a_goodbye_that_was_complete() {
    for hold in [true, false] {
        let mut scene = answering(CallConfig { hold, ..config() });
        scene.when(1.1, transcript(R1, A1, "goodbye"));
        scene.when(1.1, done(R1));
        scene.when(1.2, speech_started(I2));
        scene.until(3.0);
        scene.noted("GoodbyeWithdrawn");
        scene.when(3.0, speech_stopped(I2));
        scene.until(60.0);
        assert_eq!(scene.times_of("do").len(), 1);
    }
}

/// Breaks when a cancelled response can still say goodbye.
#[test]
fn h7_a_cancelled_response_is_no_goodbye() {
    for by_us in [true, false] {
        let mut scene = answering(config());
        scene.when(1.1, transcript(R1, A1, "goodbye"));
        if by_us {
            // More than it may have waiting (A1).
            scene.when(1.2, audio(R1, A1, 301_000));
            assert!(scene.came().contains(&"cancel r1 q3".to_owned()));
        }
        scene.when(1.3, done_cancelled(R1));
        scene.noted("GoodbyeWithdrawn");
        scene.until(10.0);
        assert_eq!(scene.times_of("do").len(), 1);
    }
}

/// While it is heard, and after it was heard. Breaks when a farewell in answer to a goodbye counts as an interruption.
#[test]
fn h7_bye_in_answer_to_a_goodbye_keeps_it() {
    for at in [1.2, 1.6] {
        let mut scene = answering(config());
        scene.when(1.1, transcript(R1, A1, "goodbye"));
        scene.when(at, speech_started(I2));
        scene.when(at + 0.2, done(R1));
        scene.when(at + 0.4, spoke_for(I2, 400));
        scene.when(at + 0.4, committed(I2));
        scene.until(at + 0.5);
        assert_eq!(scene.times_of("do").len(), 1, "it is not known yet what was said");
        scene.when(at + 0.5, caller_said(I2, "bye!"));
        scene.until(5.0);
        scene.not_noted("GoodbyeWithdrawn");
        assert_eq!(scene.times_of("do c2 hang up").len(), 1);
        assert!(scene.times_of("create").len() == 1);
    }
}

/// The goodbye comes to nothing while the caller answers it: what the caller says is then a goodbye of its own.
/// Breaks when a hold remembers what was the case when it opened.
#[test]
fn h9_bye_in_answer_to_a_goodbye_that_was_cut_short_is_answered_by_one() {
    let mut scene = answering(CallConfig { response_audio_max: ms(3_000), ..config() });
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.2, speech_started(I2));
    scene.noted("Held");
    // It talks on and on, and is cut short.
    scene.when(1.3, audio(R1, A1, 3_000));
    scene.noted("GoodbyeWithdrawn");
    scene.when(1.4, done_cancelled(R1));
    scene.when(1.6, spoke_for(I2, 400));
    scene.when(1.6, committed(I2));
    scene.when(1.7, caller_said(I2, "bye!"));
    scene.until(2.0);
    assert_eq!(scene.times_with("Farewell"), [1.7]);
}

/// Breaks when only what is heard can be held: here nothing plays any more, or yet.
#[test]
fn h7_speech_while_a_goodbye_is_pending_opens_a_hold_also_when_nothing_plays() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, caller_said(I1, "bye"));
    scene.when(1.1, speech_started(I2));
    scene.noted("Held");
    scene.when(1.2, spoke_for(I2, 50));
    scene.when(1.2, caller_said(I2, ""));
    scene.model_says(1.3, Q2, R1, A1, 100);
    scene.until(3.0);
    scene.expect(["create q2 Farewell", "keep", "plays 100ms", "do c2 hang up"]);

    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, caller_said(I1, "bye"));
    scene.when(1.1, speech_started(I2));
    scene.when(1.4, spoke_for(I2, 300));
    scene.when(1.4, committed(I2));
    scene.when(1.5, caller_said(I2, "no, stay"));
    scene.when(1.6, created(R1, Q2));
    scene.when(1.7, done_cancelled(R1));
    scene.expect(["create q2 Farewell", "cancel r1 q3", "create q4 CallerTurn"]);
    scene.noted("GoodbyeWithdrawn");
}

/// D, with a carrier that plays as told. Breaks when the queue, or what lies at the carrier, is not waited for.
#[test]
fn h8_a_goodbye_that_is_complete_is_heard_to_its_end_first() {
    for transcript_first in [true, false] {
        let mut scene = Scene::with_carrier(config());
        scene.when(1.0, committed(I1));
        scene.when(1.0, created(R1, Q2));
        scene.when(1.0, audio(R1, A1, 5_000));
        if transcript_first {
            scene.when(1.1, transcript(R1, A1, "goodbye"));
        }
        scene.when(1.2, audio_done(R1, A1));
        scene.when(1.2, done(R1));
        if !transcript_first {
            scene.when(1.3, transcript(R1, A1, "goodbye"));
        }
        scene.until(5.999);
        assert_eq!(scene.times_of("do").len(), 1);
        scene.until(20.0);
        assert_eq!(scene.times_of("do c2 hang up"), [6.0]);
    }
}

/// Breaks when the clock is believed although the marks are late.
#[test]
fn h8_a_late_last_mark_delays_the_hang_up() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.model_says(1.0, Q2, R1, A1, 100);
    scene.when(1.0, transcript(R1, A1, "goodbye"));
    let last = *scene.marks().last().unwrap();
    scene.until(2.0);
    assert_eq!(scene.times_of("do").len(), 1);
    scene.when(2.0, mark_returned(last));
    assert_eq!(scene.times_of("do c2 hang up"), [2.0]);
}

/// Breaks when a goodbye is bound to the latest response instead of its own.
#[test]
fn h2_audio_behind_the_goodbye_is_heard_too() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, say("first"));
    scene.model_says(1.0, Q2, R1, A1, 2_000);
    scene.when(1.1, say("second"));
    scene.when(1.1, created(R2, Q3));
    scene.when(1.1, audio(R2, A2, 1_000));
    scene.when(1.1, transcript(R2, A2, "goodbye"));
    scene.when(1.1, done(R2));
    scene.until(10.0);
    assert_eq!(scene.times_of("do c2 hang up"), [4.0]);
}

/// Breaks when only the goodbye itself has to be heard, and the hang-up cuts off what follows it.
#[test]
fn h2_what_the_model_says_after_its_goodbye_is_heard_too() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.1, done(R1));
    scene.when(1.2, created_by_itself(R2));
    scene.when(1.2, audio(R2, A2, 500));
    scene.when(1.3, done(R2));
    scene.until(5.0);
    assert_eq!(scene.times_of("do c2 hang up"), [2.0]);
}

/// Requested, active, or heard. Breaks when another goodbye is asked for although one is being given.
#[test]
fn h9_a_farewell_of_the_caller_binds_to_the_response_to_that_very_turn() {
    for at in [2.1, 2.3, 2.6] {
        let mut scene = Scene::with_carrier(config());
        scene.caller_says(1.0, I1);
        for (when, input) in [(2.2, created(R1, Q2)), (2.4, audio(R1, A1, 500)), (2.5, done(R1))] {
            if at < when && at > when - 0.15 {
                scene.when(at, caller_said(I1, "bye"));
            }
            scene.when(when, input);
        }
        if at > 2.5 {
            scene.when(at, caller_said(I1, "bye"));
        }
        scene.until(5.0);
        scene.expect(["create q2 CallerTurn", "keep", "plays 500ms", "do c2 hang up"]);
        assert_eq!(scene.times_of("do c2 hang up"), [2.9]);
    }
}

/// Breaks when the response to a turn that was only goodbye was heard, and no other is asked for.
#[test]
fn h9_after_the_response_was_heard_another_is_asked_for() {
    let mut scene = Scene::with_carrier(config());
    scene.caller_says(1.0, I1);
    scene.model_says(2.2, Q2, R1, A1, 100);
    scene.when(3.0, caller_said(I1, "bye"));
    scene.expect(["create q2 CallerTurn", "keep", "plays 100ms", "create q3 Farewell"]);
}

/// Breaks when a late farewell ends a conversation that has gone on since.
#[test]
fn h9_a_farewell_of_an_earlier_turn_is_past() {
    let mut scene = Scene::with_carrier(config());
    scene.caller_says(1.0, I1);
    scene.model_says(2.2, Q2, R1, A1, 100);
    scene.caller_says(3.0, I2);
    scene.when(4.1, caller_said(I1, "bye"));
    scene.model_says(4.2, Q3, R2, A2, 100);
    scene.when(5.0, speech_started(I3));
    scene.when(5.1, caller_said(I2, "bye"));
    scene.until(6.0);
    scene.not_noted("Goodbye");
}

/// Breaks when a farewell that interrupts is answered like any turn.
#[test]
fn h9_bye_in_the_middle_of_the_agents_words_makes_a_goodbye_wanted() {
    let mut scene = answering(config());
    scene.when(1.0, done(R1));
    scene.when(1.2, speech_started(I2));
    scene.when(1.4, spoke_for(I2, 300));
    scene.when(1.4, committed(I2));
    scene.when(1.5, caller_said(I2, "bye"));
    scene.expect(["plays 200ms", "clear", "truncate i101 200ms", "create q4 Farewell"]);
}

/// RACES: two farewells; a farewell inside a sentence that goes on.
/// Breaks when a second farewell starts the goodbye over.
#[test]
fn h2_two_farewells_are_one_goodbye() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.2, audio(R1, A2, 100));
    scene.when(1.2, transcript(R1, A2, "goodbye"));
    scene.when(1.2, caller_said(I1, "bye"));
    scene.when(1.3, done(R1));
    scene.until(5.0);
    assert_eq!(scene.times_noted("GoodbyePending"), 1);
    assert_eq!(scene.times_of("do c2 hang up"), [1.6]);
    assert_eq!(scene.times_of("create").len(), 1);
}

/// Breaks when the failure of a hang-up is final.
#[test]
fn h10_a_hang_up_that_fails_is_retried_and_then_the_socket_closed() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, operator_hangs_up());
    scene.when(1.1, hang_up_failed(C2));
    scene.until(1.7);
    scene.when(1.7, hang_up_failed(C3));
    scene.when(2.3, hang_up_failed(C4));
    scene.expect([
        "do c2 hang up",
        "do c3 hang up",
        "do c4 hang up",
        "close carrier",
        "close model",
        "ended OperatorHungUp",
    ]);
    assert_eq!(scene.times_of("do c3"), [1.6]);
}

/// Breaks when an attempt that is never answered is waited for forever.
#[test]
fn h10_n12_a_hang_up_that_is_never_answered_is_retried_too() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, operator_hangs_up());
    scene.until(60.0);
    assert_eq!(scene.times_of("do c3 hang up"), [6.5]);
    assert_eq!(scene.times_of("do c4 hang up"), [12.0]);
    assert_eq!(scene.times_of("ended OperatorHungUp"), [17.0]);
}

/// Breaks when an answer to an earlier attempt counts for a later one.
#[test]
fn h10_a_late_failure_of_an_earlier_attempt_changes_nothing() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, operator_hangs_up());
    scene.until(6.6);
    scene.when(6.6, hang_up_failed(C2));
    scene.until(7.5);
    scene.expect(["do c2 hang up", "do c3 hang up"]);
}

/// Breaks when `hang_up_retry` of zero leaves its deadline due.
#[test]
fn h10_n12_retries_without_a_pause_are_possible() {
    let mut scene = Scene::ready(CallConfig { hang_up_retry: ms(0), ..config() });
    scene.when(1.0, operator_hangs_up());
    scene.until(60.0);
    assert_eq!(scene.times_of("ended OperatorHungUp"), [16.0]);
}

/// In both orders of the call and the speech. Breaks when `end_call` is run, or binds to nothing.
#[test]
fn h11_end_call_with_speech_binds_to_it() {
    for speech_first in [true, false] {
        let mut scene = Scene::with_carrier(config());
        scene.when(1.0, committed(I1));
        scene.when(1.0, created(R1, Q2));
        if speech_first {
            scene.when(1.1, audio(R1, A1, 500));
            scene.when(1.2, tool_call(R1, T1, END_CALL));
        } else {
            scene.when(1.1, tool_call(R1, T1, END_CALL));
            scene.when(1.1, audio(R1, A1, 500));
        }
        scene.when(1.3, done(R1));
        scene.until(5.0);
        scene.expect(["create q2 CallerTurn", "keep", "plays 400ms", "tool output t1", "plays 100ms", "do c2 hang up"]);
        assert_eq!(scene.times_of("do c2 hang up"), [1.6]);
    }
}

/// Breaks when a model that was interrupted ends the call after all.
#[test]
fn h7_h11_end_call_of_a_cancelled_response_ends_nothing() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.1, speech_started(I2));
    scene.expect(["create q2 CallerTurn", "cancel r1 q3"]);
    scene.when(1.2, tool_call(R1, T1, END_CALL));
    scene.when(1.3, done_cancelled(R1));
    scene.when(2.0, speech_stopped(I2));
    scene.when(2.0, committed(I2));
    scene.expect(["tool output t1", "create q5 CallerTurn"]);
    scene.not_noted("Goodbye");
}

/// Breaks when a call that is ended without a word ends without one.
#[test]
fn h11_end_call_without_speech_makes_a_goodbye_wanted() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.1, tool_call(R1, T1, END_CALL));
    scene.expect(["create q2 CallerTurn"]);
    scene.when(1.2, done(R1));
    scene.expect(["tool output t1", "create q4 Farewell"]);
}

/// Breaks when running tools are waited for, or their results asked about.
#[test]
fn h11_running_tools_do_not_delay_a_hang_up() {
    let mut scene = answering(config());
    scene.when(1.1, tool_call(R1, T1, "look"));
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.2, done(R1));
    scene.when(1.3, tool_answered(C2));
    scene.until(5.0);
    assert_eq!(scene.times_of("do c3 hang up"), [1.5]);
    assert_eq!(scene.times_of("create").len(), 1);
}

/// Breaks when a server that stops cuts the call off, or blames the agent.
#[test]
fn h2_a_server_that_stops_has_goodbye_said_first() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, says_goodbye());
    scene.expect(["create q2 Farewell"]);
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, audio(R1, A1, 500));
    // That it is one was known; what it was for stays.
    scene.when(1.25, transcript(R1, A1, "Goodbye!"));
    scene.when(1.3, done(R1));
    scene.until(3.0);
    scene.expect(["keep", "plays 500ms", "do c2 hang up"]);
    assert_eq!(scene.times_of("do c2 hang up"), [1.7]);
    scene.when(3.0, hung_up(C2));
    scene.when(3.1, stopped());
    assert!(scene.came().contains(&"ended Stopped".to_owned()));
}

/// Breaks when words of goodbye that come before the goodbye that is wanted are given another reason.
#[test]
fn h2_a_goodbye_that_the_agent_says_first_is_the_one_that_was_wanted() {
    let mut scene = answering(config());
    scene.when(1.1, says_goodbye());
    scene.when(1.2, transcript(R1, A1, "Goodbye!"));
    scene.when(1.3, done(R1));
    scene.until(3.0);
    assert_eq!(scene.times_with("create").len(), 1);
    scene.when(3.0, stopped());
    assert!(scene.came().contains(&"ended Stopped".to_owned()));
}

/// Breaks when a goodbye that is under way is said again, or is said to be somebody else's.
#[test]
fn h2_a_goodbye_that_is_under_way_is_the_server_s_too() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.1, says_goodbye());
    scene.when(1.2, done(R1));
    scene.until(3.0);
    assert_eq!(scene.times_of("do c2 hang up").len(), 1);
    assert_eq!(scene.times_with("create").len(), 1);
    scene.when(3.0, stopped());
    assert!(scene.came().contains(&"ended Goodbye".to_owned()));
}

/// RACES: an operator hangs up while a goodbye drains. Breaks when the goodbye is waited for, or both hang up.
#[test]
fn h1_an_operator_who_hangs_up_while_a_goodbye_drains_does_not_wait() {
    let mut scene = answering(config());
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.1, done(R1));
    scene.when(1.2, operator_hangs_up());
    scene.until(3.0);
    assert_eq!(scene.times_of("do c2 hang up"), [1.2]);
    assert_eq!(scene.times_of("do").len(), 2);
    scene.when(3.0, hung_up(C2));
    scene.when(3.1, stopped());
    assert!(scene.came().contains(&"ended OperatorHungUp".to_owned()));
}

/// RACES: a caller who hangs up during the goodbye. Breaks when the agent is said to have ended it.
#[test]
fn h2_a_caller_who_hangs_up_during_the_goodbye_ended_it() {
    for status_first in [true, false] {
        let mut scene = answering(config());
        scene.when(1.1, transcript(R1, A1, "goodbye"));
        scene.when(1.1, done(R1));
        scene.skip();
        if status_first {
            scene.when(1.2, status(CallStatus::Completed));
            scene.when(1.2, stopped());
        } else {
            scene.when(1.2, stopped());
            scene.when(1.2, status(CallStatus::Completed));
        }
        let came = scene.came();
        assert_eq!(came.last().unwrap(), "ended CallerHungUp");
        assert_eq!(came.iter().filter(|line| *line == "close carrier").count(), 1);
        assert_eq!(scene.times_of("do").len(), 1);
    }
}

/// A driver that oversleeps. Breaks when a goodbye needs an event that comes in time.
#[test]
fn h8_a_goodbye_survives_late_wake_ups() {
    let mut scene = answering(config());
    scene.wakes_every = Some(ms(500));
    scene.when(1.1, transcript(R1, A1, "goodbye"));
    scene.when(1.1, done(R1));
    scene.until(10.0);
    assert_eq!(scene.times_of("do c2 hang up").len(), 1);
}

/// The agent's words become known after the caller has interrupted them, and between the end of the speech and its commit.
/// Breaks when they still end the call.
#[test]
fn h7_a_farewell_that_becomes_known_after_it_was_interrupted_is_none() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.model_says(1.1, Q2, R1, A1, 1_000);
    // At its very end: nothing is left to be heard when the hold is decided.
    scene.when(2.095, speech_started(I2));
    scene.until(3.4);
    scene.when(3.5, speech_stopped(I2));
    scene.when(3.5, transcript(R1, A1, "Goodbye!"));
    scene.when(3.6, committed(I2));
    scene.until(4.0);
    scene.not_noted("GoodbyePending");
    scene.not_noted("HangingUp");
    assert_eq!(scene.times_with("CallerTurn").len(), 2);
}

/// The caller's words end as the goodbye is asked for, and are committed after it: they are in the conversation before
/// the farewell is, which is their answer (H2, T1).
/// Breaks when they are asked about besides, or keep the call from ending.
#[test]
fn h2_a_turn_committed_as_the_farewell_is_asked_for_is_answered_by_it() {
    let mut scene = Scene::with_carrier(CallConfig { call_max: ms(2_000), ..config() });
    scene.when(1.5, speech_started(I1));
    scene.until(2.4);
    scene.noted("GoodbyeWanted { why: MaxDuration");
    scene.when(2.5, speech_stopped(I1));
    scene.when(2.5, committed(I1));
    scene.model_says(2.6, Q2, R1, A1, 300);
    scene.until(4.0);
    assert_eq!(scene.times_with("create").len(), 1);
    scene.noted("HangingUp { reason: MaxDuration");
}
