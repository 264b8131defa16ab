//! Tools (N2), and their meeting with interruptions (RACES g).

mod common;

use call::config::CallConfig;
use common::*;

/// `R1` called `T1`, which runs as `C2` since 1.0 s.
fn calling(config: CallConfig) -> Scene {
    let mut scene = Scene::ready(config);
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, tool_call(R1, T1, "look"));
    scene.expect(["create q2 CallerTurn", "do c2 run tool t1 look"]);
    scene
}

/// In both orders of the answer and the end of the calling response.
/// Breaks when an output goes out before its response is done, or no create follows.
#[test]
fn n2_an_output_goes_out_once_its_response_is_done() {
    let mut scene = calling(config());
    scene.when(1.1, tool_answered(C2));
    scene.expect([]);
    scene.when(1.2, done(R1));
    scene.expect(["tool output t1", "create q4 ToolResult"]);

    let mut scene = calling(config());
    scene.when(1.1, done(R1));
    scene.expect([]);
    scene.when(1.2, tool_answered(C2));
    scene.expect(["tool output t1", "create q4 ToolResult"]);
}

/// Breaks when each output is asked about on its own.
#[test]
fn n2_one_create_after_all_outputs_which_go_out_as_they_come() {
    let mut scene = calling(config());
    scene.when(1.0, tool_call(R1, T2, "book"));
    scene.when(1.1, done(R1));
    scene.expect(["do c3 run tool t2 book"]);
    scene.when(2.0, tool_answered(C3));
    scene.expect(["tool output t2"]);
    scene.when(3.0, tool_answered(C2));
    scene.expect(["tool output t1", "create q5 ToolResult"]);
}

/// Breaks when a second answer, or one after the time-out, is told too.
#[test]
fn n2_each_call_gets_exactly_one_output() {
    let mut scene = calling(config());
    scene.when(1.0, tool_call(R1, T1, "look"));
    scene.when(1.1, done(R1));
    scene.when(1.2, tool_answered(C2));
    scene.when(1.3, tool_answered(C2));
    scene.expect(["tool output t1", "create q4 ToolResult"]);

    let mut scene = calling(config());
    scene.when(1.1, done(R1));
    scene.until(22.0);
    scene.expect(["tool output t1", "create q4 ToolResult"]);
    assert_eq!(scene.times_of("tool output"), [21.0]);
    scene.when(22.1, tool_answered(C2));
    scene.expect([]);
    scene.noted("failed: true");
}

/// RACES g, the answer before and after the interruption is decided.
/// Breaks when an interruption loses a result, or its create does not wait for the caller.
#[test]
fn n2_a_result_that_comes_while_the_caller_interrupts_is_given_once_and_waits() {
    for answered_at in [1.5, 2.5] {
        let mut scene = calling(config());
        scene.when(1.0, audio(R1, A1, 5_000));
        scene.when(1.1, done(R1));
        scene.when(1.2, speech_started(I2));
        if answered_at < 2.0 {
            scene.when(answered_at, tool_answered(C2));
        }
        scene.until(2.4);
        assert!(scene.times_of("truncate").len() == 1, "interrupted while the tool runs");
        if answered_at > 2.0 {
            scene.when(answered_at, tool_answered(C2));
        }
        assert_eq!(scene.times_of("tool output t1"), [answered_at]);
        assert_eq!(scene.times_of("create").len(), 1);
        scene.when(3.0, speech_stopped(I2));
        scene.when(3.0, committed(I2));
        scene.model_says(3.1, call::RequestId(5), R2, A2, 100);
        scene.until(5.0);
        assert_eq!(scene.times_of("create").len(), 2, "one for the turn and the result");
        assert_eq!(scene.times_of("tool output").len(), 1);
    }
}

/// Breaks when a call that was complete is forgotten because its response was cancelled: the model would wait for it.
#[test]
fn n2_a_complete_call_of_a_cancelled_response_is_run_and_answered() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.1, speech_started(I2));
    scene.when(1.2, tool_call(R1, T1, "look"));
    scene.when(1.3, done_cancelled(R1));
    scene.when(1.4, tool_answered(C2));
    scene.expect(["create q2 CallerTurn", "cancel r1 q3", "do c2 run tool t1 look", "tool output t1"]);
}

/// Breaks when `end_call` of a cancelled response ends the call.
#[test]
fn n2_h7_end_call_of_a_cancelled_response_ends_nothing() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.1, speech_started(I2));
    scene.when(1.2, tool_call(R1, T1, call::END_CALL));
    scene.when(1.3, done_cancelled(R1));
    scene.until(2.0);
    scene.expect(["create q2 CallerTurn", "cancel r1 q3", "tool output t1"]);
    scene.not_noted("Goodbye");
}

/// Breaks when a response with only a tool call counts as empty.
#[test]
fn n2_a_response_with_only_a_tool_call_is_not_asked_for_again() {
    let mut scene = calling(config());
    scene.when(1.1, done(R1));
    scene.until(10.0);
    scene.expect([]);
}

/// Breaks when tools beyond the bound are run, or stay without an output.
#[test]
fn n2_n12_calls_beyond_the_bound_are_answered_with_a_failure() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    for n in 1..=40 {
        scene.when(1.1, tool_call(R1, call::ToolCallId(n), "look"));
    }
    assert_eq!(scene.times_of("do").len(), 33, "the connection, and 32 tools");
    scene.when(1.2, done(R1));
    assert_eq!(scene.times_of("tool output").len(), 8);
    scene.until(40.0);
    assert_eq!(scene.times_of("tool output").len(), 40);
    assert_eq!(scene.times_of("create").len(), 2);
}

/// Breaks when running tools count as silence.
#[test]
fn n2_n8_a_running_tool_is_not_silence() {
    let mut scene = calling(CallConfig { silence_max: Some(ms(2_000)), ..config() });
    scene.when(1.1, done(R1));
    scene.until(10.0);
    scene.expect([]);
}
