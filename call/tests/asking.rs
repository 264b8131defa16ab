//! Asking the model to speak: one gate, one slot, guards, retries (R1–R11).

mod common;

use call::config::{CallConfig, Turns};
use call::input::{ModelError, ResponseStatus};
use call::{Epoch, Input, ItemId, ModelInput};
use common::*;

fn rate_limited(retry_after_ms: u64) -> ModelError {
    ModelError::RateLimited { retry_after_ms }
}

/// Breaks when `guard` does not look at the slot.
#[test]
fn r1_one_response_at_a_time() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, say("one"));
    scene.when(1.0, say("two"));
    scene.expect(["create q2 Say"]);
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, audio(R1, A1, 100));
    scene.expect(["keep", "plays 100ms"]);
    scene.when(1.3, done(R1));
    scene.expect(["create q3 Say", "mark"]);
}

/// Breaks when a response that the model began by itself does not occupy the slot.
#[test]
fn r1_a_response_that_the_model_began_by_itself_occupies_the_slot() {
    let mut scene = Scene::ready(CallConfig { turns: Turns::Model, ..config() });
    scene.when(1.0, created_by_itself(R1));
    scene.when(1.0, say("one"));
    scene.when(1.1, audio(R1, A1, 100));
    scene.expect(["keep", "plays 100ms"]);
    scene.when(1.2, done(R1));
    scene.expect(["create q2 Say", "mark"]);
}

/// Breaks when the guards are asked in another order.
#[test]
fn r2_the_guards_are_asked_in_their_order() {
    let mut scene = Scene::made(config(), INBOUND);
    scene.give(Input::Announced);
    scene.give(say("hello"));
    scene.noted("NotAsking { reason: Say, guard: NoConnection, waits: true }");
    scene.when(0.1, started());
    scene.when(0.2, connected());
    scene.noted("guard: NotConfigured");
    scene.not_noted("guard: CallerSpeaking");
    scene.skip();
    scene.when(0.3, speech_started(I1));
    scene.when(0.4, configured());
    scene.expect([]);
    scene.noted("guard: CallerSpeaking");
    scene.not_noted("guard: ResponseActive");
    scene.when(0.5, speech_stopped(I1));
    scene.expect(["create q2 Say"]);
    scene.when(0.6, say("again"));
    scene.noted("guard: ResponseActive");
    scene.when(0.7, created(R1, Q2));
    scene.when(0.7, audio(R1, A1, 1_000));
    scene.when(0.7, transcript(R1, A1, "goodbye"));
    // A goodbye comes before an active response.
    scene.noted("guard: GoodbyePending");
}

/// Breaks when guard 3 asks only whether the caller speaks, not whether a hold is open.
#[test]
fn r2_an_undecided_hold_stops_a_create() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 1_000));
    scene.when(1.0, done(R1));
    scene.when(1.1, speech_started(I2));
    scene.when(1.2, say("hello"));
    scene.when(1.3, spoke_for(I2, 50));
    scene.until(1.9);
    scene.expect(["create q2 CallerTurn", "keep", "plays 300ms", "clear"]);
    // Nothing, and it is decided.
    scene.until(2.0);
    scene.expect(["create q3 Say", "plays 200ms"]);
}

/// Breaks when the greeting waits for the caller too.
#[test]
fn r2_the_greeting_does_not_wait_for_the_caller() {
    let mut scene = Scene::made(CallConfig { greeting: Some("Hello".to_owned()), ..config() }, INBOUND);
    for input in [Input::Announced, connected(), configured(), speech_started(I1)] {
        scene.give(input);
    }
    scene.skip();
    scene.when(0.1, started());
    scene.expect(["create q2 Greeting"]);
}

/// Breaks when guard 5 looks at what plays instead of what generates.
#[test]
fn r2_a_response_that_still_plays_does_not_block_its_successor() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, say("one"));
    scene.model_says(1.0, Q2, R1, A1, 5_000);
    scene.skip();
    scene.when(1.1, say("two"));
    scene.expect(["plays 100ms", "create q3 Say"]);
    scene.model_says(1.2, Q3, R2, A2, 1_000);
    scene.until(10.0);
    // Behind it, without a gap.
    assert_eq!(scene.frames().len(), 300);
    assert_eq!(scene.frames().last().unwrap().0, 6_800);
}

/// Breaks when a refused idle prompt waits.
#[test]
fn r3_texts_wait_four_of_them_one_create_each() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, speech_started(I1));
    for text in ["one", "two", "three", "four"] {
        scene.when(1.1, say(text));
    }
    scene.not_noted("waits: false");
    scene.when(1.1, say("five"));
    scene.noted("NotAsking { reason: Say, guard: ResponseActive, waits: false }");
    scene.when(1.2, speech_stopped(I1));
    for (n, (request, response)) in [(Q2, R1), (Q3, R2), (Q4, R3), (Q5, R4)].into_iter().enumerate() {
        assert!(scene.came().contains(&format!("create q{} Say", n + 2)));
        scene.when(2.0 + n as f64, created(response, request));
        scene.when(2.0 + n as f64, audio(response, A1, 20));
        scene.skip();
        scene.when(2.0 + n as f64, done(response));
    }
    scene.until(9.0);
    assert_eq!(scene.times_of("create").len(), 4);
}

/// Breaks when `take` leaves the tool behind.
#[test]
fn r3_a_waiting_turn_and_a_tools_result_are_one_plain_create() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, tool_call(R1, T1, "look"));
    scene.when(1.1, done(R1));
    scene.expect(["create q2 CallerTurn", "do c2 run tool t1 look"]);
    scene.when(1.2, speech_started(I2));
    scene.when(1.3, tool_answered(C2));
    scene.when(1.8, committed(I2));
    scene.expect(["tool output t1"]);
    scene.when(1.9, speech_stopped(I2));
    scene.expect(["create q4 CallerTurn"]);
    scene.model_says(2.0, Q4, R2, A2, 100);
    scene.until(4.0);
    scene.expect(["keep", "plays 100ms"]);
}

/// Breaks when `force` only queues, or creates before the cancellation is confirmed.
#[test]
fn r3_force_interrupts_and_creates_once_that_is_confirmed() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 1_000));
    scene.skip();
    scene.when(1.1, say_now("fire!"));
    scene.expect(["plays 100ms", "clear", "cancel r1 q3", "truncate i101 100ms"]);
    scene.when(1.2, done_cancelled(R1));
    scene.expect(["create q5 Say"]);
}

/// Breaks when a forced text waits behind what its own interruption put back.
#[test]
fn r3_force_comes_before_the_turn_that_it_put_back() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.1, say_now("fire!"));
    scene.expect(["create q2 CallerTurn", "cancel r1 q3"]);
    scene.when(1.2, done_cancelled(R1));
    scene.expect(["create q4 Say"]);
    scene.model_says(1.3, Q4, R2, A2, 100);
    scene.expect(["keep", "plays 100ms", "create q5 CallerTurn"]);
}

/// Breaks when a forced text that another one interrupted is put back before it, to be interrupted again, for ever.
#[test]
fn r3_of_two_forced_texts_both_are_said() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, say_now("fire!"));
    scene.when(1.1, say_now("run!"));
    scene.when(1.2, created(R1, Q2));
    scene.when(1.3, done_cancelled(R1));
    scene.expect(["create q2 Say", "cancel r1 q3", "create q4 Say"]);
    scene.model_says(1.4, Q4, R2, A2, 100);
    scene.expect(["keep", "plays 100ms", "create q5 Say"]);
    scene.model_says(1.6, Q5, R3, A3, 100);
    scene.until(3.0);
    scene.expect(["keep", "plays 100ms"]);
}

/// Breaks when `force` interrupts although a guard before the fifth stops it.
#[test]
fn r3_force_passes_the_fifth_guard_only() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 1_000));
    scene.when(1.0, transcript(R1, A1, "goodbye"));
    scene.when(1.1, say_now("wait!"));
    scene.until(1.5);
    scene.expect(["create q2 CallerTurn", "keep", "plays 700ms"]);
    scene.not_noted("GoodbyeWithdrawn");
    // Nor while it is not known what the caller wants.
    scene.when(1.5, speech_started(I2));
    scene.expect(["clear"]);
    scene.when(1.6, spoke_for(I2, 400));
    scene.when(1.6, committed(I2));
    scene.when(1.6, caller_said(I2, "no, listen"));
    scene.expect(["cancel r1 q3", "truncate i101 500ms"]);
    scene.when(1.7, done_cancelled(R1));
    scene.expect(["create q5 Say"]);
}

/// Breaks when `Asking` is noted after the create, or without the queues.
#[test]
fn r4_each_create_and_each_refusal_is_noted_before_it() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, say("one"));
    scene.model_says(1.0, Q2, R1, A1, 1_000);
    scene.when(1.0, say("two"));
    scene.when(1.0, say("three"));
    let lines: Vec<String> = scene.log.iter().map(|(_, output)| output.to_string()).collect();
    let create = lines.iter().position(|line| line == "create q3 Say").unwrap();
    assert_eq!(
        lines[create - 1],
        "note Asking { request: q3, reason: Say, previous: Some(r1), agent_speaking: true, tx_queue: 40, out_queue: 0 }"
    );
    assert_eq!(scene.times_noted("NotAsking"), 1, "waiting is noted once");
}

/// Breaks when `AgentStarted` is noted on `response.created`.
#[test]
fn r5_the_agent_speaks_from_its_first_accepted_audio() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, item_added(R1, A1));
    scene.not_noted("AgentStarted");
    scene.when(1.3, audio(R1, A1, 20));
    scene.when(1.3, audio(R1, A1, 20));
    scene.noted("AgentStarted { response: r1 }");
    assert_eq!(scene.times_noted("AgentStarted"), 1);
}

/// RACES b. Breaks when `on_audio` takes audio of any response.
#[test]
fn r6_audio_of_a_retired_response_is_dropped() {
    let mut scene = Scene::ready(CallConfig { hold: false, ..config() });
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 100));
    scene.when(1.05, speech_started(I2));
    scene.skip();
    // Cancelled, not done yet; then done; then its successor is active.
    scene.when(1.06, audio(R1, A1, 100));
    scene.when(1.07, done_cancelled(R1));
    scene.when(1.08, audio(R1, A1, 100));
    scene.when(1.1, speech_stopped(I2));
    scene.when(1.1, committed(I2));
    scene.when(1.1, created(R2, Q5));
    scene.when(1.1, audio(R1, A1, 100));
    scene.when(1.1, audio(R3, A3, 100));
    scene.expect(["create q5 CallerTurn"]);
    assert_eq!(scene.times_noted("Dropped { reason: StaleResponse"), 4);
    assert_eq!(scene.call.summary().audio_out, 1);
}

/// Breaks when `AudioDone` retires the response.
#[test]
fn r6_all_audio_items_of_one_response_play() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.skip();
    for item in [A1, A2, A3] {
        scene.when(1.0, audio(R1, item, 100));
        scene.when(1.0, audio_done(R1, item));
    }
    scene.when(1.0, done(R1));
    scene.until(3.0);
    assert_eq!(scene.frames().len(), 15);
    scene.not_noted("Dropped");
}

/// Breaks when `AgentStopped` is noted with `AudioDone`, or with `response.done`.
#[test]
fn r7_the_agent_speaks_until_its_last_frame_was_heard() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 500));
    scene.when(1.0, audio_done(R1, A1));
    scene.until(1.2);
    scene.not_noted("AgentStopped");
    scene.when(1.2, done(R1));
    scene.until(5.0);
    assert_eq!(scene.times_of("note AgentStopped"), [1.5]);
}

/// Breaks when the end of one item ends the generating of all.
#[test]
fn r7_between_two_items_the_agent_goes_on_speaking() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 100));
    scene.when(1.0, audio_done(R1, A1));
    scene.until(1.5);
    scene.when(1.5, audio(R1, A2, 100));
    scene.not_noted("AgentStopped");
    scene.when(1.5, done(R1));
    scene.until(5.0);
    assert_eq!(scene.times_of("note AgentStopped"), [1.6]);
    assert_eq!(scene.times_noted("AgentStarted"), 1);
}

/// RACES a. Breaks when a collision is only noted.
#[test]
fn r8_a_rejected_create_waits_for_the_end_of_the_other_and_is_asked_again() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, say("one"));
    scene.expect(["create q2 Say"]);
    scene.when(1.1, collision(Q2));
    scene.until(2.0);
    scene.expect([]);
    scene.when(2.0, done(R1));
    scene.expect(["create q3 Say"]);
}

/// Breaks when the end of the other response is waited for forever.
#[test]
fn r8_n12_a_collision_with_a_response_that_never_ends_is_given_5_s() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, collision(Q2));
    scene.skip();
    scene.until(10.0);
    assert_eq!(scene.times_of("create q3 CallerTurn"), [6.1]);
}

/// Breaks when an error that names another request counts as the create's.
#[test]
fn r8_a_rejection_is_matched_by_our_id_never_by_guess() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, say("one"));
    scene.when(1.1, collision(Q7));
    scene.when(1.1, Input::Model(E1, ModelInput::Error { request: None, error: ModelError::Collision }));
    scene.when(1.2, created(R1, Q2));
    scene.when(1.2, audio(R1, A1, 100));
    scene.when(1.2, done(R1));
    scene.until(3.0);
    scene.expect(["create q2 Say", "keep", "plays 100ms"]);
}

/// RACES a, the model's response first; in both orders of its rejection and its end.
/// Breaks when the model's own response satisfies a tool's result.
#[test]
fn r8_the_models_own_response_does_not_speak_about_a_tools_result() {
    for rejected_first in [true, false] {
        let mut scene = Scene::ready(CallConfig { turns: Turns::Model, ..config() });
        scene.when(1.0, created_by_itself(R1));
        scene.when(1.0, tool_call(R1, T1, "look"));
        scene.when(1.0, done(R1));
        scene.when(1.5, tool_answered(C2));
        scene.expect(["do c2 run tool t1 look", "tool output t1", "create q3 ToolResult"]);
        scene.when(1.6, created_by_itself(R2));
        scene.when(1.6, audio(R2, A2, 100));
        if rejected_first {
            scene.when(1.7, collision(Q3));
            scene.when(1.8, done(R2));
        } else {
            scene.when(1.7, done(R2));
            scene.expect(["keep", "plays 100ms"]);
            scene.when(1.8, collision(Q3));
        }
        assert!(scene.came().contains(&"create q4 ToolResult".to_owned()), "rejected first: {rejected_first}");
    }
}

/// Breaks when what a merged create asked for besides the turn is forgotten.
#[test]
fn r8_a_tools_result_asked_for_together_with_a_turn_is_not_lost_either() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, tool_call(R1, T1, "look"));
    scene.when(1.0, done(R1));
    scene.when(1.2, speech_started(I2));
    scene.when(1.3, tool_answered(C2));
    scene.when(1.8, committed(I2));
    scene.when(1.9, speech_stopped(I2));
    scene.skip();
    scene.when(2.0, created_by_itself(R2));
    scene.when(2.0, audio(R2, A2, 100));
    scene.when(2.1, collision(Q4));
    scene.when(2.2, done(R2));
    // The turn was answered by the model itself, the result was not.
    scene.expect(["keep", "plays 100ms", "create q5 ToolResult", "mark"]);
}

/// Breaks when a create that was thought rejected and was not replaces the response in the slot without its end.
#[test]
fn r8_an_overtaken_create_that_was_accepted_after_all_is_not_asked_again() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, say("one"));
    scene.when(1.1, created_by_itself(R1));
    scene.when(1.1, audio_bytes(R1, A1, 200));
    scene.when(1.1, done(R1));
    // No other create meanwhile: there is one already.
    scene.when(1.2, say("two"));
    scene.expect(["create q2 Say", "keep", "plays 40ms"]);
    scene.when(1.3, created(R2, Q2));
    scene.when(1.3, audio(R2, A2, 100));
    scene.expect(["keep", "plays 100ms"]);
    scene.when(1.4, done(R2));
    scene.expect(["create q3 Say", "mark"]);
}

/// Breaks when a create that is not wanted any more is forgotten once another response began before it.
#[test]
fn r1_b6_an_overtaken_create_is_cancelled_if_it_begins_and_waited_for_if_not() {
    for begins in [true, false] {
        let mut scene = Scene::ready(config());
        scene.when(1.0, committed(I1));
        scene.when(1.1, speech_started(I2));
        scene.when(1.2, created_by_itself(R1));
        scene.when(1.3, done_cancelled(R1));
        scene.when(1.4, speech_stopped(I2));
        scene.when(1.4, committed(I2));
        scene.expect(["create q2 CallerTurn", "cancel r1 q3"]);
        if begins {
            scene.when(1.5, created(R2, Q2));
            scene.expect(["cancel r2 q4"]);
            scene.when(1.6, done_cancelled(R2));
            scene.expect(["create q5 CallerTurn"]);
        } else {
            scene.when(1.5, collision(Q2));
            scene.expect(["create q4 CallerTurn"]);
        }
    }
}

/// Breaks when an overtaken create waits for its rejection forever.
#[test]
fn r8_n12_an_overtaken_create_of_which_nothing_is_heard_is_asked_again() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, say("one"));
    scene.when(1.1, created_by_itself(R1));
    scene.when(1.1, audio(R1, A1, 100));
    scene.when(1.2, done(R1));
    scene.until(10.0);
    assert_eq!(scene.times_of("create q3 Say"), [6.0]);
}

/// Breaks when an error, an unknown response or an impossible order ends the call.
#[test]
fn r9_no_event_of_the_model_ends_a_call_by_itself() {
    let mut scene = Scene::ready(config());
    for (request, kind) in [
        (Q7, ModelError::Other),
        (Q7, ModelError::NothingToCancel),
        (Q7, ModelError::SessionExpired),
        (Q7, ModelError::Collision),
        (Q7, rate_limited(1_000)),
    ] {
        scene.when(1.0, error(request, kind));
    }
    for input in [
        done(R1),
        audio(R1, A1, 100),
        audio_done(R1, A1),
        transcript(R1, A1, "goodbye"),
        tool_call(R1, T1, "look"),
        item_added(R1, A1),
        committed(I1),
        caller_said(I2, "hello"),
        speech_stopped(I2),
        connected(),
        configured(),
        created(R2, Q7),
        created(R2, Q2),
        created(R3, Q2),
        done(R3),
        done(R3),
        audio_bytes(R2, A1, 0),
    ] {
        scene.when(2.0, input);
    }
    scene.until(6.0);
    assert!(!scene.call.has_ended());
    assert!(scene.times_of("close").is_empty());
}

/// Breaks when a response told to begin twice counts as cancelled.
#[test]
fn r9_a_response_told_twice_to_begin_goes_on() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 100));
    scene.when(1.0, transcript(R1, A1, "goodbye"));
    scene.when(1.0, done(R1));
    scene.until(5.0);
    scene.noted("GoodbyeDone");
}

/// Breaks when a fatal error is taken for a warning.
#[test]
fn r9_a_fatal_error_ends_in_a_hang_up() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 500));
    scene.skip();
    scene.when(1.1, error(Q2, ModelError::Fatal));
    // What was accepted is heard first.
    scene.expect(["plays 100ms", "close model"]);
    scene.until(3.0);
    scene.expect(["plays 200ms", "do c2 hang up"]);
    assert_eq!(scene.times_of("do c2"), [1.5]);
    scene.noted("HangingUp { reason: ModelFailed");
}

/// Breaks when one of the waits has no deadline.
#[test]
fn r10_every_wait_on_the_model_has_a_deadline() {
    // The connection and its configuration.
    let mut scene = Scene::made(hopeless(), INBOUND);
    scene.give(Input::Announced);
    scene.when(0.0, started());
    scene.until(20.0);
    assert_eq!(scene.times_of("close model"), [5.0]);

    let mut scene = Scene::made(hopeless(), INBOUND);
    scene.give(Input::Announced);
    scene.when(0.0, started());
    scene.when(2.0, connected());
    scene.until(20.0);
    assert_eq!(scene.times_of("close model"), [7.0]);

    // Requested.
    let mut scene = Scene::ready(hopeless());
    scene.when(1.0, committed(I1));
    let mut requested = scene.clone();
    requested.until(20.0);
    assert_eq!(requested.times_of("close model"), [6.0]);

    // First audio or tool call.
    scene.when(2.0, created(R1, Q2));
    let mut silent = scene.clone();
    silent.until(20.0);
    assert_eq!(silent.times_of("close model"), [10.0]);
    let mut tool = scene.clone();
    tool.when(3.0, tool_call(R1, T1, "look"));
    tool.until(10.9);
    assert!(tool.times_of("close model").is_empty());
    // The next sign of a response that goes on, or its end.
    tool.until(20.0);
    assert_eq!(tool.times_of("close model"), [11.0]);

    // Cancelling.
    scene.when(3.0, audio(R1, A1, 100));
    scene.when(3.0, say_now("stop"));
    scene.until(20.0);
    assert_eq!(scene.times_of("close model"), [6.0]);
}

/// Breaks when a model that falls silent in the middle of its words is waited for as long as the longest response may
/// last, and the caller with it.
#[test]
fn r10_a_response_that_stops_in_the_middle_is_a_lost_model() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, audio(R1, A1, 400));
    let mut goes_on = scene.clone();
    scene.until(9.1);
    scene.skip();
    scene.until(9.3);
    scene.expect(["close model", "do c2 connect model e2"]);
    assert_eq!(scene.times_of("close model"), [9.2]);

    // Nor is one waited for that cannot be told to stop.
    let cannot = CallConfig {
        abilities: call::config::ModelAbilities { cancels: false, truncates: true },
        hold: false,
        ..config()
    };
    let mut cancelled = Scene::with_carrier(cannot);
    cancelled.when(1.0, committed(I1));
    cancelled.when(1.1, created(R1, Q2));
    cancelled.when(1.2, audio(R1, A1, 400));
    cancelled.when(1.3, speech_started(I2));
    cancelled.when(2.0, audio(R1, A1, 400));
    cancelled.until(14.0);
    assert_eq!(cancelled.times_of("close model"), [10.0]);

    // Any sign of it will do.
    for second in 1..40 {
        goes_on.when(f64::from(second) * 5.0, item_added(R1, ItemId(500 + second)));
    }
    assert!(goes_on.times_of("close model").is_empty());
}

/// Breaks when a turn is left unanswered because the model cancelled its answer by itself.
#[test]
fn r10_a_response_that_the_model_cancels_before_it_speaks_is_asked_for_again() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.skip();
    scene.when(1.2, done_cancelled(R1));
    scene.expect(["create q3 CallerTurn"]);
    scene.when(1.3, created(R2, Q3));
    scene.skip();
    scene.when(1.4, done_cancelled(R2));
    scene.expect([]);
    scene.noted("came to nothing twice");

    // Of one that spoke, the caller has an answer; and a model that hears turns by itself cancels for its own reasons.
    let mut spoke = Scene::ready(config());
    spoke.when(1.0, committed(I1));
    spoke.when(1.1, created(R1, Q2));
    spoke.when(1.1, audio(R1, A1, 100));
    spoke.skip();
    spoke.when(1.2, done_cancelled(R1));
    spoke.until(5.0);
    assert_eq!(spoke.times_with("create").len(), 1);
    let mut own = Scene::ready(CallConfig { turns: Turns::Model, hold: false, ..config() });
    own.when(1.0, created_by_itself(R1));
    own.when(1.2, done_cancelled(R1));
    assert_eq!(own.times_with("create").len(), 0);
}

/// Breaks when "bye", to which the model cancelled its answer, waits for the silence to end the call (H9).
#[test]
fn r10_h9_a_farewell_whose_answer_the_model_cancels_is_answered_all_the_same() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, caller_said(I1, "Bye!"));
    scene.noted("GoodbyePending");
    scene.when(1.3, done_cancelled(R1));
    scene.noted("GoodbyeWithdrawn");
    assert_eq!(scene.times_of("create q3 CallerTurn"), [1.3]);
    scene.model_says(1.5, Q3, R2, A2, 200);
    scene.when(1.6, transcript(R2, A2, "Goodbye!"));
    scene.until(3.0);
    scene.noted("HangingUp { reason: Goodbye");
}

/// The model begins a response by itself before ours; ours begins after all, when that one was heard or interrupted.
/// Breaks when the caller is answered twice.
#[test]
fn r8_b6_an_overtaken_create_that_begins_late_is_cancelled() {
    let mut scene = Scene::with_carrier(CallConfig { hold: false, ..config() });
    scene.when(1.0, committed(I1));
    scene.when(1.1, created_by_itself(R1));
    scene.when(1.2, audio(R1, A1, 1_000));
    let mut heard = scene.clone();
    scene.when(1.5, speech_started(I2));
    scene.when(1.6, done_cancelled(R1));
    scene.skip();
    scene.when(1.7, created(R2, Q2));
    scene.expect(["cancel r2 q5"]);

    heard.when(1.3, done(R1));
    heard.until(2.5);
    heard.skip();
    heard.when(2.6, created(R2, Q2));
    heard.expect(["cancel r2 q3"]);
}

/// One create was for a turn and a tool's result; the model's own response came first, and answered the turn.
/// Breaks when the tool's result is never spoken about.
#[test]
fn r8_a_substitute_answers_the_turn_and_not_the_tool() {
    let mut scene = Scene::with_carrier(CallConfig { hold: false, ..config() });
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, tool_call(R1, T1, "look"));
    scene.when(1.3, done(R1));
    scene.when(2.0, speech_started(I2));
    scene.when(2.2, tool_answered(C2));
    scene.when(2.5, committed(I2));
    scene.skip();
    scene.when(2.6, speech_stopped(I2));
    scene.expect(["create q4 CallerTurn"]);
    scene.when(2.7, created_by_itself(R2));
    scene.when(2.8, audio(R2, A2, 200));
    scene.when(2.9, done(R2));
    scene.skip();
    scene.when(3.5, collision(Q4));
    scene.expect(["create q5 ToolResult"]);
}

/// Breaks when a model that cannot cancel is given up for not having done so.
#[test]
fn r10_a_model_that_cannot_cancel_is_not_expected_to() {
    let mut scene = Scene::ready(CallConfig {
        abilities: call::config::ModelAbilities { cancels: false, truncates: false },
        hold: false,
        ..config()
    });
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 500));
    scene.when(1.1, speech_started(I2));
    scene.expect(["create q2 CallerTurn", "keep", "plays 300ms", "clear"]);
    scene.when(8.0, done(R1));
    scene.until(9.0);
    scene.expect([]);
}

/// Breaks when a failed answer is not asked for again, or asked for a third time.
#[test]
fn r10_a_turn_whose_response_failed_is_asked_for_once_more() {
    for ended in [failed(R1), done(R1), done_with(R1, ResponseStatus::Incomplete)] {
        let mut scene = Scene::ready(config());
        scene.when(1.0, committed(I1));
        scene.when(1.1, created(R1, Q2));
        scene.when(1.2, ended);
        scene.expect(["create q2 CallerTurn", "create q3 CallerTurn"]);
        scene.when(1.3, created(R2, Q3));
        scene.when(1.4, done(R2));
        scene.until(5.0);
        scene.expect([]);
    }
}

/// Breaks when the rate limit is not waited for, or longer than 5 s.
#[test]
fn r10_after_a_rate_limit_it_is_asked_when_that_allows_within_5_s() {
    for (patience, at) in [(2_000, 3.2), (60_000, 6.2)] {
        let mut scene = Scene::ready(config());
        scene.when(1.0, committed(I1));
        scene.when(1.1, created(R1, Q2));
        scene.when(1.2, done_with(R1, ResponseStatus::Failed(rate_limited(patience))));
        scene.until(10.0);
        assert_eq!(scene.times_of("create q3 CallerTurn"), [at]);
        let mut scene = Scene::ready(config());
        scene.when(1.0, committed(I1));
        scene.when(1.2, error(Q2, rate_limited(patience)));
        scene.until(10.0);
        assert_eq!(scene.times_of("create q3 CallerTurn"), [at]);
    }
}

/// Breaks when only a turn is patient, and a text or a goodbye runs into the same limit again.
#[test]
fn r10_a_rate_limit_holds_for_every_reason() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, say("one"));
    scene.when(1.2, error(Q2, rate_limited(2_000)));
    scene.until(10.0);
    assert_eq!(scene.times_of("create q3 Say"), [3.2]);
}

/// Breaks when a text that the model cannot say is asked for forever.
#[test]
fn r10_n12_a_text_that_fails_twice_is_given_up() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, say("one"));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, failed(R1));
    scene.expect(["create q2 Say", "create q3 Say"]);
    scene.when(1.3, created(R2, Q3));
    scene.when(1.4, failed(R2));
    scene.expect([]);
}

/// Breaks when the floor is never freed.
#[test]
fn r10_speech_that_never_stops_frees_the_floor_after_60_s() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, speech_started(I1));
    scene.when(2.0, say("are you there?"));
    scene.until(62.0);
    scene.expect(["create q2 Say"]);
    assert_eq!(scene.times_of("create"), [61.0]);
}

/// Breaks when the epoch is not looked at.
#[test]
fn r11_what_another_connection_says_is_ignored() {
    let mut scene = Scene::ready(config());
    for epoch in [Epoch(0), Epoch(2)] {
        scene.when(1.0, Input::Model(epoch, ModelInput::Committed { item: I1 }));
        scene.when(1.0, Input::Model(epoch, ModelInput::Lost { fatal: true }));
    }
    scene.expect([]);
    scene.when(1.1, committed(I1));
    scene.expect(["create q2 CallerTurn"]);
}

/// RACES: an empty response; a response with only a tool call; `done` without `created`.
/// Breaks when `done` of an unknown response empties the slot.
#[test]
fn r6_the_end_of_an_unknown_response_retires_nothing() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, done(R2));
    scene.when(1.2, say("one"));
    scene.expect(["create q2 CallerTurn"]);
    scene.when(1.3, created(R1, Q2));
    scene.when(1.3, audio(R1, A1, 20));
    scene.expect(["keep", "plays 20ms"]);
}

/// Breaks when a delta without audio counts as speech.
#[test]
fn r5_a_delta_of_no_bytes_is_no_speech() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.skip();
    scene.when(1.2, audio_bytes(R1, A1, 0));
    scene.expect([]);
    scene.not_noted("AgentStarted");
    // It came to nothing, and is asked again (R10).
    scene.when(1.3, done(R1));
    scene.expect(["create q3 CallerTurn"]);
}

/// Breaks when a response that failed for good is tried again.
#[test]
fn r9_a_response_that_fails_for_good_ends_in_a_hang_up() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.skip();
    scene.when(1.2, done_with(R1, ResponseStatus::Failed(ModelError::Fatal)));
    scene.until(5.0);
    assert!(scene.times_of("create").len() == 1);
    scene.noted("HangingUp { reason: ModelFailed");
}

/// Breaks when a request that was interrupted before it began, and is rejected, is asked again besides the turn that
/// interrupted it; or when its slot stays taken.
#[test]
fn b6_a_cancelled_request_that_is_rejected_frees_the_slot() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, speech_started(I2));
    scene.when(1.2, error(Q2, ModelError::Other));
    scene.when(1.5, speech_stopped(I2));
    scene.when(1.5, committed(I2));
    scene.until(3.0);
    assert_eq!(scene.times_of("create"), [1.0, 1.5]);
    scene.not_noted("ModelComplained");
}

/// Breaks when a text that does not wait interrupts again what it has interrupted already.
#[test]
fn r3_a_forced_text_interrupts_once() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, say_now("Please hold the line."));
    scene.when(1.3, caller_audio(0));
    scene.when(1.4, caller_audio(20));
    assert_eq!(scene.times_noted("Interrupted"), 1);
    assert_eq!(scene.times_of("cancel r1").len(), 1);
}
