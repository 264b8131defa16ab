//! Turns and interruption without holds (T1, T2, B1–B3, B5, B6, G1).

mod common;

use call::config::{CallConfig, ProtectGreeting, Turns};
use call::input::ModelError;
use call::{Input, ItemId, RequestId};
use common::*;

fn no_hold() -> CallConfig {
    CallConfig { hold: false, ..config() }
}

/// A caller's turn is being answered by `R1`, since 1.0 s.
fn answering(config: CallConfig) -> Scene {
    let mut scene = Scene::ready(config);
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, item_added(R1, A1));
    scene.skip();
    scene
}

/// Breaks when a turn waits for its transcription.
#[test]
fn t1_a_committed_turn_is_asked_for_at_once() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, speech_started(I1));
    scene.when(2.0, speech_stopped(I1));
    scene.expect([]);
    scene.when(2.01, committed(I1));
    scene.expect(["create q2 CallerTurn"]);
}

/// Breaks when an empty transcription withdraws the turn.
#[test]
fn t1_an_empty_or_failed_transcription_withdraws_nothing() {
    for text in [caller_said(I1, ""), transcription_failed(I1)] {
        let mut scene = Scene::ready(config());
        scene.caller_says(1.0, I1);
        scene.when(2.1, text);
        scene.model_says(2.2, Q2, R1, A1, 100);
        scene.until(4.0);
        scene.expect(["create q2 CallerTurn", "keep", "plays 100ms"]);
    }
}

/// Breaks when a commit between create and created is asked for on its own.
#[test]
fn t1_commits_before_created_merge_into_one_create() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, committed(I2));
    scene.model_says(1.2, Q2, R1, A1, 100);
    scene.until(3.0);
    scene.expect(["create q2 CallerTurn", "keep", "plays 100ms"]);
}

/// Breaks when a commit after created is taken to be answered.
#[test]
fn t1_a_commit_after_created_is_answered_next() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, committed(I2));
    scene.when(1.3, audio(R1, A1, 20));
    scene.expect(["create q2 CallerTurn", "keep", "plays 20ms"]);
    scene.when(1.4, done(R1));
    scene.expect(["create q3 CallerTurn"]);
}

/// Both before and after created. Breaks when `take_back_unheard` is not called.
#[test]
fn t1_a_caller_who_goes_on_before_the_first_audio_is_answered_once() {
    for created_first in [true, false] {
        let mut scene = Scene::ready(config());
        scene.when(1.0, committed(I1));
        if created_first {
            scene.when(1.1, created(R1, Q2));
            scene.when(1.2, speech_started(I2));
        } else {
            scene.when(1.1, speech_started(I2));
            scene.expect(["create q2 CallerTurn"]);
            scene.when(1.2, created(R1, Q2));
        }
        assert!(scene.came().iter().any(|output| output.starts_with("cancel r1 ")));
        scene.when(1.3, done_cancelled(R1));
        scene.when(1.8, speech_stopped(I2));
        scene.when(1.8, committed(I2));
        scene.expect(["create q4 CallerTurn"]);
        scene.model_says(2.0, Q4, R2, A2, 100);
        scene.until(4.0);
        scene.expect(["keep", "plays 100ms"]);
        scene.not_noted("Interrupted");
        assert_eq!(scene.call.summary().interruptions.meant, 0);
    }
}

/// Breaks when an item announced for a response that was cancelled unheard stays with the model.
#[test]
fn t1_what_was_announced_and_not_said_is_deleted() {
    let mut scene = answering(config());
    scene.when(1.2, speech_started(I2));
    scene.expect(["cancel r1 q3", "delete i101"]);
    scene.when(1.3, item_added(R1, A2));
    scene.expect(["delete i102"]);
}

/// Breaks when `turns = model` asks too.
#[test]
fn t1_a_model_that_answers_by_itself_is_not_asked() {
    let mut scene = Scene::ready(CallConfig { turns: Turns::Model, ..no_hold() });
    scene.caller_says(1.0, I1);
    scene.when(2.1, created_by_itself(R1));
    scene.when(2.2, audio(R1, A1, 1_000));
    scene.when(2.3, speech_started(I2));
    scene.expect(["keep", "plays 300ms", "clear", "cancel r1 q2", "truncate i101 100ms"]);
    scene.when(2.3, error(Q2, ModelError::NothingToCancel));
    scene.when(2.4, done_cancelled(R1));
    scene.when(3.0, committed(I2));
    scene.when(3.1, created_by_itself(R2));
    scene.when(3.2, audio(R2, A2, 100));
    scene.expect(["keep", "plays 100ms"]);
}

/// Breaks when audio before the configuration is forwarded, or lost.
#[test]
fn t2_caller_audio_before_the_configuration_is_kept_and_forwarded_in_order() {
    let mut scene = Scene::made(config(), INBOUND);
    scene.give(Input::Announced);
    scene.skip();
    scene.when(0.1, started());
    for n in 0..10 {
        scene.when(0.1 + f64::from(n) * 0.02, caller_audio(n as u64 * 20));
    }
    scene.when(0.3, connected());
    scene.when(0.31, caller_audio(200));
    scene.expect(["hold", "configure", "hold"]);
    scene.when(0.4, configured());
    scene.when(0.41, caller_audio(220));
    scene.expect(["forward held 1760", "forward"]);
    assert_eq!(scene.call.summary().audio_in, 12);
}

/// Breaks when more than 5 s is kept, or the newest is dropped.
#[test]
fn t2_of_more_than_5_s_the_oldest_is_dropped() {
    let mut scene = Scene::made(config(), INBOUND);
    scene.give(Input::Announced);
    scene.when(0.0, started());
    scene.skip();
    for n in 0..250 {
        scene.give(caller_audio(n * 20));
    }
    scene.expect(["hold"]);
    scene.give(caller_audio(5_000));
    scene.expect(["hold", "drop held 160"]);
    scene.noted("Dropped { reason: ModelNotReady, bytes: 160 }");
    scene.give(connected());
    scene.give(configured());
    scene.expect(["configure", "forward held 40000"]);
}

/// RACES c. Breaks when the order of the five steps changes, or one is left out.
#[test]
fn b1_an_interruption_is_one_step_in_its_order() {
    let mut scene = answering(no_hold());
    scene.when(1.0, audio(R1, A1, 300));
    scene.when(1.0, audio_done(R1, A1));
    scene.when(1.0, item_added(R1, A2));
    scene.when(1.0, audio(R1, A2, 1_000));
    scene.when(1.0, audio_done(R1, A2));
    scene.when(1.0, item_added(R1, A3));
    scene.when(1.5, speech_started(I2));
    // The first was heard in full, the second in part, the third not at all.
    scene.expect([
        "keep",
        "plays 200ms",
        "keep",
        "plays 500ms",
        "clear",
        "cancel r1 q3",
        "truncate i102 200ms",
        "delete i103",
    ]);
    scene.noted("Interrupted { response: Some(r1), heard_ms: 200, unheard_ms: 800 }");
}

/// Breaks when what was cancelled before a word of it was heard is taken back twice.
#[test]
fn b1_b6_who_speaks_again_before_the_cancel_is_done_takes_nothing_back_twice() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, item_added(R1, A1));
    scene.skip();
    scene.when(1.3, speech_started(I2));
    scene.expect(["cancel r1 q3", "delete i101"]);
    scene.when(1.5, speech_stopped(I2));
    scene.when(1.6, speech_started(I3));
    scene.expect([]);
}

/// Breaks when a turn of the agent is told while it is still heard, or never.
#[test]
fn o7_a_turn_is_told_once_its_last_word_was_heard() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.model_says(1.0, Q2, R1, A1, 500);
    scene.when(1.45, Input::TimePassed);
    scene.not_noted("TurnEnded { item: i101 }");
    // As far as it is known; it was not heard to its end yet.
    let turns = scene.call.summary().turns;
    assert_eq!(turns.iter().map(|turn| (turn.heard_ms, turn.interrupted)).collect::<Vec<_>>(), [(450, true)]);
    scene.until(1.55);
    scene.noted("TurnEnded { item: i101 }");
    let turns = scene.call.summary().turns;
    assert_eq!(turns.iter().map(|turn| (turn.heard_ms, turn.interrupted)).collect::<Vec<_>>(), [(500, false)]);
}

/// Breaks when only the last response is edited, or only the first item.
#[test]
fn b1_every_response_of_which_something_is_unheard_is_edited() {
    let mut scene = answering(no_hold());
    scene.when(1.0, audio(R1, A1, 500));
    scene.when(1.0, audio_done(R1, A1));
    scene.when(1.0, done(R1));
    scene.when(1.0, say("two"));
    scene.model_says(1.0, Q3, R2, A2, 500);
    scene.skip();
    scene.when(1.1, speech_started(I2));
    scene.expect(["plays 100ms", "clear", "truncate i101 100ms", "delete i102"]);
}

/// Breaks when an item whose audio was all heard is truncated although nothing more of it follows.
#[test]
fn b1_items_heard_in_full_and_function_calls_are_left_alone() {
    let mut scene = answering(no_hold());
    scene.when(1.0, audio(R1, A1, 100));
    scene.when(1.0, audio_done(R1, A1));
    scene.when(1.0, function_added(R1, A2));
    scene.when(1.0, tool_call(R1, T1, "look"));
    scene.when(1.0, item_added(R1, A3));
    scene.when(1.0, audio(R1, A3, 200));
    scene.skip();
    scene.when(1.2, speech_started(I2));
    scene.expect(["plays 100ms", "clear", "cancel r1 q3", "truncate i103 100ms"]);
}

/// Breaks when an item announced for a cancelled response stays.
#[test]
fn b1_an_item_announced_later_is_deleted_on_arrival() {
    let mut scene = answering(no_hold());
    scene.when(1.0, audio(R1, A1, 500));
    scene.when(1.1, speech_started(I2));
    scene.skip();
    scene.when(1.2, item_added(R1, A2));
    scene.expect(["delete i102"]);
    scene.when(1.2, function_added(R1, A3));
    scene.expect([]);
}

/// Breaks when a rejected edit is not repeated, or repeated twice, or before the response is done.
#[test]
fn b1_a_rejected_truncate_is_repeated_once_after_done() {
    let mut scene = answering(no_hold());
    scene.when(1.0, audio(R1, A1, 500));
    scene.when(1.1, speech_started(I2));
    scene.expect(["keep", "plays 300ms", "clear", "cancel r1 q3", "truncate i101 100ms"]);
    scene.when(1.2, error(Q4, ModelError::Other));
    scene.expect([]);
    scene.when(1.3, done_cancelled(R1));
    scene.expect(["truncate i101 100ms"]);
    scene.when(1.4, error(Q5, ModelError::Other));
    scene.expect([]);
    scene.noted("ModelComplained { request: Some(q5)");
}

/// Sixteen edits are remembered. Breaks when the oldest is repeated all the same, or the newest is not.
#[test]
fn n12_b1_of_many_edits_the_last_may_be_rejected() {
    for (rejected, repeats) in [(Q5, false), (RequestId(6), true), (RequestId(21), true)] {
        let mut scene = answering(no_hold());
        scene.when(1.0, audio(R1, A1, 500));
        scene.when(1.1, speech_started(I2));
        // The truncation was the first; each message announced from now on never happened.
        for n in 0..17 {
            scene.when(1.2, item_added(R1, ItemId(200 + n)));
        }
        scene.skip();
        scene.when(1.3, done_cancelled(R1));
        scene.when(1.4, error(rejected, ModelError::Other));
        assert_eq!(scene.came().iter().any(|line| line.starts_with("delete")), repeats, "{rejected}");
        assert_eq!(scene.has_noted("ModelComplained"), !repeats, "{rejected}");
    }
}

/// Breaks when frames go on after the clear, from the queue or from late deltas.
#[test]
fn b2_after_the_clear_no_frame_of_the_response_is_sent() {
    let mut scene = answering(no_hold());
    scene.when(1.0, audio(R1, A1, 5_000));
    scene.when(1.1, speech_started(I2));
    scene.skip();
    for n in 0..10 {
        scene.when(1.2 + f64::from(n) * 0.02, audio(R1, A1, 100));
    }
    scene.when(1.5, audio_done(R1, A1));
    scene.when(1.6, done_cancelled(R1));
    scene.until(10.0);
    scene.expect([]);
}

/// Breaks when only a generating response can be interrupted.
#[test]
fn b3_an_answer_that_is_complete_can_be_interrupted_while_it_is_heard() {
    let mut scene = answering(no_hold());
    scene.when(1.0, audio(R1, A1, 1_000));
    scene.when(1.0, audio_done(R1, A1));
    scene.when(1.0, done(R1));
    scene.skip();
    // All was sent; the last of it lies at the carrier.
    scene.when(1.9, speech_started(I2));
    scene.expect(["plays 800ms", "clear", "truncate i101 900ms"]);
    scene.when(2.5, speech_stopped(I2));
    scene.when(2.5, committed(I2));
    scene.expect(["create q4 CallerTurn"]);
}

/// Breaks when the end of what plays is taken for the end of speaking.
#[test]
fn b3_an_answer_that_pauses_can_be_interrupted_too() {
    let mut scene = answering(no_hold());
    scene.when(1.0, audio(R1, A1, 100));
    scene.skip();
    // The model pauses in the middle of an item: what it says next is not heard.
    scene.when(1.5, speech_started(I2));
    scene.expect(["clear", "cancel r1 q3", "truncate i101 100ms"]);
    scene.when(1.6, done_cancelled(R1));
    scene.when(2.0, speech_stopped(I2));
    scene.when(2.0, committed(I2));
    scene.expect(["create q5 CallerTurn"]);
    assert_eq!(scene.call.summary().interruptions.meant, 1);
}

/// Breaks when what was heard and confirmed counts as never said, and its turn is answered again.
#[test]
fn b3_t1_a_turn_whose_answer_was_heard_in_part_is_not_asked_for_again() {
    let mut scene = Scene::with_carrier(no_hold());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 100));
    scene.when(1.0, audio_done(R1, A1));
    scene.skip();
    scene.when(2.0, speech_started(I2));
    scene.expect(["cancel r1 q3"]);
    scene.when(2.1, done_cancelled(R1));
    // It was noise: nothing was committed.
    scene.when(2.2, speech_stopped(I2));
    scene.until(5.0);
    scene.expect([]);
}

/// Both orders. Breaks when the wish to cancel is forgotten.
#[test]
fn b6_a_cancel_before_created_is_applied_on_arrival() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, speech_started(I2));
    scene.expect(["create q2 CallerTurn"]);
    scene.when(1.2, created(R1, Q2));
    scene.expect(["cancel r1 q3"]);
    scene.when(1.2, audio(R1, A1, 100));
    scene.expect([]);
    scene.when(1.3, done(R1));
    scene.when(1.5, speech_stopped(I2));
    scene.when(1.5, committed(I2));
    scene.expect(["create q4 CallerTurn"]);
}

/// Breaks when a second reason to cancel cancels again.
#[test]
fn b6_one_cancel_per_response() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 1_000));
    scene.when(1.1, say_now("one"));
    scene.when(1.1, say_now("two"));
    scene.when(1.2, speech_started(I2));
    scene.until(3.0);
    assert_eq!(scene.times_of("cancel").len(), 1);
}

/// In both orders of the answer and of `done`. Breaks when `NothingToCancel` is waited out, or warned about.
#[test]
fn b6_nothing_to_cancel_is_success() {
    for done_first in [true, false] {
        let mut scene = answering(config());
        scene.when(1.0, audio(R1, A1, 1_000));
        scene.when(1.1, say_now("one"));
        scene.skip();
        if done_first {
            scene.when(1.2, done(R1));
            scene.when(1.3, error(Q3, ModelError::NothingToCancel));
        } else {
            scene.when(1.2, error(Q3, ModelError::NothingToCancel));
            scene.when(1.3, done(R1));
        }
        scene.expect(["create q5 Say"]);
        scene.not_noted("ModelComplained");
    }
}

// ── The greeting ─────────────────────────────────────────────────────────────────────────────────────────────────────

fn greeting(protect_greeting: ProtectGreeting) -> CallConfig {
    CallConfig { greeting: Some("Hello, this is Patchcord.".to_owned()), protect_greeting, ..config() }
}

/// In both orders of `start` and the configuration. Breaks when one of the two is not waited for.
#[test]
fn g1_the_greeting_goes_out_on_start_or_on_the_configuration() {
    let mut scene = Scene::made(greeting(ProtectGreeting::None), INBOUND);
    for input in [Input::Announced, connected(), configured()] {
        scene.give(input);
    }
    scene.when(0.5, caller_audio(0));
    assert!(scene.times_of("create").is_empty());
    scene.when(1.0, started());
    assert_eq!(scene.times_of("create q2 Greeting"), [1.0]);

    let mut scene = Scene::made(greeting(ProtectGreeting::None), INBOUND);
    for input in [Input::Announced, started(), connected()] {
        scene.give(input);
    }
    assert!(scene.times_of("create").is_empty());
    scene.when(1.0, configured());
    assert_eq!(scene.times_of("create q2 Greeting"), [1.0]);
}

/// Breaks when the text of the greeting is left to the model.
#[test]
fn g1_the_greeting_is_asked_for_literally_and_once() {
    let mut scene = Scene::ready(greeting(ProtectGreeting::None));
    let (_, create) = scene.log.iter().find(|(_, output)| output.to_string().starts_with("create")).unwrap();
    assert!(format!("{create:?}").contains("Hello, this is Patchcord."));
    scene.model_says(0.5, Q2, R1, A1, 100);
    scene.when(1.0, started());
    scene.when(2.0, committed(I1));
    scene.model_says(2.0, Q3, R2, A2, 100);
    scene.until(5.0);
    assert_eq!(scene.log.iter().filter(|(_, output)| output.to_string().ends_with(" Greeting")).count(), 1);
}

fn outbound() -> Scene {
    let mut scene = Scene::made(greeting(ProtectGreeting::None), OUTBOUND);
    for input in [Input::Announced, connected(), configured(), started()] {
        scene.give(input);
    }
    scene.skip();
    scene
}

/// Breaks when an outbound call greets at once, or never.
#[test]
fn g1_an_outbound_call_greets_after_the_callees_words_or_2_s() {
    let mut scene = outbound();
    scene.caller_says(0.2, I1);
    scene.expect(["create q2 Greeting"]);
    assert_eq!(scene.times_of("create"), [1.2]);
    scene.model_says(1.3, Q2, R1, A1, 100);
    scene.until(10.0);
    scene.expect(["keep", "plays 100ms"]);

    let mut scene = outbound();
    scene.until(10.0);
    assert_eq!(scene.times_of("create q2 Greeting"), [2.0]);
}

/// RACES f. Breaks when the protection is not looked at, or what was said during it is lost.
#[test]
fn b5_a_protected_greeting_is_not_interrupted_and_its_words_are_answered_after_it() {
    let mut scene = Scene::ready(greeting(ProtectGreeting::All));
    scene.when(0.1, created(R1, Q2));
    scene.when(0.1, audio(R1, A1, 3_000));
    scene.when(0.1, done(R1));
    scene.when(0.5, speech_started(I1));
    scene.when(1.0, caller_audio(0));
    scene.when(1.5, speech_stopped(I1));
    scene.when(1.5, committed(I1));
    // Heard by the model meanwhile; the answer is asked for and plays behind the greeting.
    scene.expect(["keep", "plays 1100ms", "forward", "plays 500ms", "create q3 CallerTurn"]);
    scene.model_says(1.6, Q3, R2, A2, 500);
    scene.until(5.0);
    assert_eq!(scene.frames().len(), 175);
    assert!(scene.times_of("clear").is_empty());
}

/// Breaks when the protection never ends, or speech that goes on beyond it does not count.
#[test]
fn b5_a_greeting_protected_for_a_time_can_be_interrupted_after_it() {
    let mut scene = Scene::ready(CallConfig { hold: false, ..greeting(ProtectGreeting::First(ms(1_000))) });
    scene.when(0.1, created(R1, Q2));
    scene.when(0.1, audio(R1, A1, 3_000));
    scene.when(0.5, speech_started(I1));
    scene.skip();
    scene.until(2.0);
    scene.expect(["plays 580ms", "clear", "cancel r1 q3", "truncate i101 1000ms"]);
    assert_eq!(scene.times_of("clear"), [1.1]);
}

/// Breaks when speech that began under protection is found to interrupt again and again.
#[test]
fn b5_speech_that_outlasts_the_protection_interrupts_once() {
    let mut scene = Scene::ready(CallConfig { hold: false, ..greeting(ProtectGreeting::First(ms(1_000))) });
    scene.when(0.1, created(R1, Q2));
    scene.when(0.1, audio(R1, A1, 3_000));
    scene.when(0.5, speech_started(I1));
    scene.when(1.2, done_cancelled(R1));
    scene.skip();
    scene.when(2.0, created_by_itself(R2));
    scene.when(2.0, audio(R2, A2, 500));
    scene.when(2.1, done(R2));
    scene.until(4.0);
    scene.expect(["keep", "plays 500ms"]);
}

/// Breaks when a greeting is protected by default.
#[test]
fn b5_by_default_a_greeting_can_be_interrupted() {
    let mut scene = Scene::ready(CallConfig { hold: false, ..greeting(ProtectGreeting::None) });
    scene.when(0.1, created(R1, Q2));
    scene.when(0.1, audio(R1, A1, 3_000));
    scene.when(0.5, speech_started(I1));
    scene.until(2.0);
    assert_eq!(scene.times_of("clear"), [0.5]);
}

/// Keys of the operator come between two parts of an item; the first was heard to its end.
/// Breaks when the whole item counts as unheard because the caller interrupts before the second.
#[test]
fn b1_n10_an_item_that_keys_came_between_was_heard_as_far_as_it_was() {
    let mut scene = Scene::with_carrier(CallConfig { hold: false, ..config() });
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.1, audio(R1, A1, 600));
    scene.when(1.1, call::Input::Operator(call::OperatorInput::Press("1".into())));
    scene.when(1.1, audio(R1, A1, 1_000));
    scene.when(1.1, audio_done(R1, A1));
    scene.when(1.1, done(R1));
    let mut within = scene.clone();
    // 600 ms of it and 200 ms of keys end at 1.9 s.
    scene.until(1.85);
    scene.skip();
    scene.when(1.85, speech_started(I2));
    scene.expect(["clear", "truncate i101 600ms"]);

    // The same while more of it is still to come.
    let mut goes_on = Scene::with_carrier(CallConfig { hold: false, ..config() });
    goes_on.when(1.0, committed(I1));
    goes_on.when(1.1, created(R1, Q2));
    goes_on.when(1.1, audio(R1, A1, 600));
    goes_on.when(1.1, call::Input::Operator(call::OperatorInput::Press("1".into())));
    goes_on.when(1.1, audio(R1, A1, 1_000));
    let mut second = goes_on.clone();
    goes_on.until(1.85);
    goes_on.skip();
    goes_on.when(1.85, speech_started(I2));
    goes_on.expect(["clear", "cancel r1 q3", "truncate i101 600ms"]);
    second.until(2.2);
    second.skip();
    second.when(2.2, speech_started(I2));
    second.expect(["clear", "cancel r1 q3", "truncate i101 900ms"]);

    within.until(1.5);
    within.skip();
    within.when(1.5, speech_started(I2));
    within.expect(["clear", "truncate i101 400ms"]);
}
