//! Our own ears beside the model's: holds that open before the model reports, and audio that does not reach it (B4, O3).

mod common;

use call::EarInput::{self, Deaf, Listening, Loud, Quiet, SpeechStarted, SpeechStopped};
use call::config::{CallConfig, ProtectGreeting, Turns};
use call::{CallStatus, Input};
use common::*;

fn ears(input: EarInput) -> Input {
    Input::Ears(input)
}

/// `R1` is heard since 1.0 s: ten seconds, complete. Our own ears listen.
fn talking(config: CallConfig) -> Scene {
    let mut scene = Scene::ready(config);
    scene.give(ears(Listening));
    scene.when(1.0, committed(I1));
    scene.model_says(1.0, Q2, R1, A1, 10_000);
    scene.skip();
    scene
}

/// Our own ears hear the caller at 2.0 s: 1,000 ms were heard.
fn held_by_ears() -> Scene {
    let mut scene = talking(config());
    scene.when(2.0, ears(SpeechStarted));
    scene.expect(["plays 1000ms", "clear"]);
    scene.noted("EarsHeard");
    scene
}

/// Breaks when the model's report is waited for, or is told anything before it.
#[test]
fn b4_our_own_ears_open_the_hold_before_the_model_reports() {
    let mut scene = held_by_ears();
    assert_eq!(scene.times_of("note Held"), [2.0]);
    scene.when(2.3, speech_started(I2));
    scene.expect([]);
    assert_eq!(scene.times_of("note Held"), [2.0], "one hold, not two");
}

/// Breaks when the hold counts from the report, or the report is not part of it.
#[test]
fn b4_speech_that_the_model_reports_later_counts_from_when_our_own_ears_heard_it() {
    let mut scene = held_by_ears();
    scene.when(2.3, speech_started(I2));
    scene.until(4.0);
    scene.expect(["truncate i101 1000ms"]);
    assert_eq!(scene.times_of("truncate"), [3.2]);
    scene.when(4.5, speech_stopped(I2));
    scene.when(4.5, committed(I2));
    scene.expect(["create q4 CallerTurn"]);
}

/// Breaks when what only our own ears heard interrupts, is held for ever, or is told to the model.
#[test]
fn b4_what_the_model_never_reports_is_nothing() {
    for stops in [true, false] {
        let mut scene = held_by_ears();
        if stops {
            scene.when(2.2, ears(SpeechStopped));
        }
        scene.until(2.69);
        scene.expect([]);
        scene.until(20.0);
        scene.expect(["plays 9000ms"]);
        assert_eq!(scene.times_of("note Resumed"), [2.7]);
        assert_eq!(scene.call.summary().interruptions.false_alarm, 1);
        scene.not_noted("Interrupted");
    }
}

/// Breaks when a report that comes after all finds the caller talked over.
#[test]
fn b4_a_report_after_the_limit_opens_a_hold_of_its_own() {
    let mut scene = held_by_ears();
    scene.when(2.9, speech_started(I2));
    scene.expect(["plays 400ms", "clear"]);
    assert_eq!(scene.times_of("note Held"), [2.0, 2.9]);
    scene.until(4.2);
    assert_eq!(scene.times_of("note Interrupted"), [4.1]);
}

/// The model hears the end of speech only after a closing silence of 500 ms. Breaks when that counts as the caller's.
#[test]
fn b4_an_end_that_our_own_ears_heard_is_no_speech_that_goes_on() {
    // 900 ms of "okay, okay".
    let mut scene = held_by_ears();
    scene.when(2.3, speech_started(I2));
    scene.when(3.0, ears(SpeechStopped));
    scene.when(3.5, spoke_for(I2, 900));
    scene.when(3.5, committed(I2));
    scene.when(3.6, caller_said(I2, "okay, okay"));
    scene.expect(["delete i2", "plays 200ms"]);

    // A model that never says that it ended is believed: it hears more than our own ears do.
    let mut scene = held_by_ears();
    scene.when(2.3, speech_started(I2));
    scene.when(3.0, ears(SpeechStopped));
    scene.until(4.0);
    assert_eq!(scene.times_of("note Interrupted"), [3.7]);

    // Ears that heard nothing of it know of no end.
    let mut scene = talking(config());
    scene.when(2.0, speech_started(I2));
    scene.when(2.5, ears(Listening));
    scene.until(4.0);
    assert_eq!(scene.times_of("note Interrupted"), [3.2]);

    // Nor does the end count when it was none.
    for more in [SpeechStarted, Deaf] {
        let mut scene = held_by_ears();
        scene.when(2.3, speech_started(I2));
        scene.when(3.0, ears(SpeechStopped));
        scene.when(3.3, ears(more));
        scene.until(4.0);
        assert_eq!(scene.times_of("note Interrupted"), [3.3]);
    }
}

/// Breaks when our own ears do more than hold: cancel, interrupt, or take a turn.
#[test]
fn b4_our_own_ears_hold_where_the_model_could_and_nowhere_else() {
    // Nothing is heard.
    let mut scene = talking(config());
    scene.until(11.5);
    scene.skip();
    scene.when(11.5, ears(SpeechStarted));
    scene.until(13.0);
    scene.expect([]);
    // A response was asked for, and is not heard yet.
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.skip();
    scene.when(1.2, ears(SpeechStarted));
    scene.expect([]);
    // The model was faster.
    let mut scene = talking(config());
    scene.when(2.0, speech_started(I2));
    scene.when(2.1, ears(SpeechStarted));
    scene.not_noted("EarsHeard");
    // They are for the guard alone; holds are off; or the model has the turns.
    let for_the_guard = CallConfig { ears_hold: false, ..config() };
    let without = CallConfig { hold: false, ..config() };
    let by_model = CallConfig { turns: Turns::Model, ..without.clone() };
    for config in [for_the_guard, without, by_model] {
        let mut scene = Scene::ready(config);
        scene.when(1.0, created_by_itself(R1));
        scene.when(1.0, audio(R1, A1, 10_000));
        scene.when(2.0, ears(SpeechStarted));
        scene.until(3.0);
        scene.not_noted("Held");
        scene.not_noted("Interrupted");
    }
}

/// Breaks when our own ears interrupt a greeting that is protected (B5).
#[test]
fn b4_b5_our_own_ears_open_no_hold_in_a_protected_greeting() {
    let greeting = Some("Hello.".to_owned());
    let mut scene = Scene::ready(CallConfig { greeting, protect_greeting: ProtectGreeting::All, ..config() });
    scene.model_says(1.0, Q2, R1, A1, 5_000);
    scene.when(2.0, ears(SpeechStarted));
    scene.not_noted("Held");
}

/// The caller begins to speak just before the goodbye was heard to its end. Breaks when the hang-up does not wait (H7).
#[test]
fn b4_h7_what_our_own_ears_hear_holds_a_goodbye_too() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.model_says(1.0, Q2, R1, A1, 1_000);
    scene.when(1.1, transcript(R1, A1, "Goodbye!"));
    scene.when(1.9, ears(SpeechStarted));
    scene.when(2.2, speech_started(I2));
    scene.when(2.9, spoke_for(I2, 200));
    scene.when(2.9, committed(I2));
    scene.when(3.0, caller_said(I2, "Wait, one more thing."));
    scene.noted("GoodbyeWithdrawn");
    scene.not_noted("HangingUp");

    // It was nothing: the rest is heard, and then it is hung up.
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.model_says(1.0, Q2, R1, A1, 1_000);
    scene.when(1.1, transcript(R1, A1, "Goodbye!"));
    scene.when(1.9, ears(SpeechStarted));
    scene.until(2.59);
    scene.not_noted("HangingUp");
    scene.until(6.0);
    scene.noted("HangingUp");
}

/// Breaks when a model that is lost, and can report nothing, is waited for (N4); or what a stream that is gone still tells
/// counts (N6).
#[test]
fn b4_n4_n6_without_a_model_or_a_stream_our_own_ears_hold_nothing() {
    let mut scene = talking(config());
    scene.when(2.0, model_lost());
    scene.when(2.1, ears(SpeechStarted));
    scene.not_noted("Held");

    let mut scene = talking(CallConfig { resume_max: Some(ms(20_000)), ..config() });
    scene.when(2.0, closed());
    scene.when(2.1, after_stream(CallStatus::InProgress));
    scene.when(2.2, ears(SpeechStarted));
    scene.not_noted("Held");
    // Theirs was another stream; of this one they know nothing yet.
    scene.when(4.0, started());
    scene.when(4.5, caller_audio(0));
    assert!(scene.came().contains(&"forward".to_owned()));
}

/// Breaks when a frame is lost without a reason, the model's clock stands still, or what was withheld is forwarded (L2).
#[test]
fn o3_l2_a_frame_that_is_too_quiet_is_counted_and_silence_takes_its_place() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, ears(Quiet));
    for frame in 0..5 {
        scene.when(1.02 + f64::from(frame) * 0.02, caller_audio(u64::from(frame as u32) * 20));
    }
    scene.when(1.2, ears(Loud));
    scene.when(1.22, caller_audio(100));
    scene.expect([
        "forward silence 160",
        "forward silence 160",
        "forward silence 160",
        "forward silence 160",
        "forward silence 160",
        "forward",
    ]);
    let summary = scene.call.summary();
    assert_eq!(summary.audio_in, 6);
    assert_eq!(serde_json::to_string(&summary.dropped).unwrap(), r#"{"noise_gate":5}"#);
}

/// Breaks when a gap before a frame that is withheld is not filled (N7).
#[test]
fn o3_n7_a_gap_before_a_frame_that_is_withheld_is_filled_with_it() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, caller_audio(0));
    scene.when(1.01, ears(Quiet));
    scene.when(1.1, caller_audio(80));
    scene.expect(["forward", "forward silence 640"]);
}

/// Breaks when the guard withholds speech, what is said while nobody else speaks, or anything that our own ears, deaf for
/// now, cannot judge.
#[test]
fn o3_the_guard_withholds_what_is_no_speech_while_the_agent_is_heard() {
    let guarded = || CallConfig { audio_guard: true, ..config() };
    let withheld = |scene: &mut Scene| {
        scene.skip();
        scene.give(caller_audio(scene.now.as_millis()));
        let came = scene.came();
        came.iter().any(|line| line.starts_with("forward silence")) && !came.contains(&"forward".to_owned())
    };
    let mut scene = talking(guarded());
    assert!(withheld(&mut scene), "the agent is heard");
    scene.when(1.5, ears(Deaf));
    assert!(!withheld(&mut scene), "nobody knows what that was");
    scene.when(1.6, ears(Listening));
    scene.when(2.0, ears(SpeechStarted));
    assert!(!withheld(&mut scene), "speech");
    scene.when(2.1, ears(SpeechStopped));
    assert!(!withheld(&mut scene), "the agent waits");
    scene.until(3.0);
    assert!(withheld(&mut scene), "it was nothing, and the agent goes on");
    // The model hears the caller: it is to hear them to the end.
    scene.when(3.5, speech_started(I2));
    scene.until(4.0);
    assert!(!withheld(&mut scene));
    assert_eq!(serde_json::to_string(&scene.call.summary().dropped).unwrap(), r#"{"no_speech":2}"#);

    let mut scene = talking(guarded());
    scene.until(12.0);
    assert!(!withheld(&mut scene), "the agent is silent");
    let mut scene = talking(config());
    assert!(!withheld(&mut scene), "there is no guard");
}

/// Breaks when a trace without our own ears, or with them, is not read back (N11).
#[test]
fn n11_what_our_own_ears_told_is_in_the_trace() {
    use call::trace::{Trace, TraceWriter, Words};
    let mut scene = held_by_ears();
    scene.when(2.3, speech_started(I2));
    let mut written = TraceWriter::new(&config(), &INBOUND, Words::Full);
    for (at, input) in &scene.told {
        written.input(input, *at);
    }
    written.flush();
    let mut text = String::new();
    written.take(&mut text);
    let trace = Trace::read(&text).unwrap();
    assert!(trace.replay().contains("note EarsHeard"));
}
