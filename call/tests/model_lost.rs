//! The model goes away in the middle of a call (N4, R9), and keys (N10).

mod common;

use call::config::{CallConfig, ClipLengths};
use call::{Epoch, Input, ItemId, ModelInput, OperatorInput};
use common::*;

const E2: Epoch = Epoch(2);

fn again(input: ModelInput) -> Input {
    Input::Model(E2, input)
}

/// A filler of 200 ms, an apology of 300 ms.
fn clips() -> CallConfig {
    CallConfig { clips: ClipLengths { filler: 1_600, apology: 2_400 }, ..config() }
}

/// Breaks when a loss that is not fatal is not followed by another connection.
#[test]
fn n4_a_lost_model_is_connected_again_and_told_what_was_said() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, speech_started(I1));
    scene.when(2.0, speech_stopped(I1));
    scene.when(2.0, committed(I1));
    scene.when(2.1, caller_said(I1, "What time is it?"));
    scene.when(2.2, created(R1, Q2));
    scene.when(2.3, audio(R1, A1, 400));
    scene.when(2.4, transcript(R1, A1, "Ten."));
    scene.when(2.4, audio_done(R1, A1));
    scene.when(2.4, done(R1));
    scene.until(3.9);
    scene.skip();
    scene.when(4.0, model_lost());
    scene.expect(["close model", "do c2 connect model e2"]);
    scene.when(4.1, again(ModelInput::Connected));
    scene.expect(["configure"]);
    // In their order; the words themselves are not in the trace's lines.
    scene.when(4.2, again(ModelInput::Configured));
    scene.expect(["remember caller 16", "remember agent 4"]);
    scene.when(5.0, again(ModelInput::Committed { item: I9 }));
    scene.expect(["create q6 CallerTurn"]);
}

/// Breaks when a caller counts as speaking whose end of speech nobody can tell any more.
#[test]
fn n4_whoever_spoke_when_the_model_was_lost_counts_as_silent() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, speech_started(I1));
    scene.when(1.5, model_lost());
    scene.when(2.0, again(ModelInput::Connected));
    scene.when(2.0, again(ModelInput::Configured));
    scene.skip();
    scene.when(2.1, say("Are you still there?"));
    scene.expect(["create q3 Say"]);
}

/// Breaks when a word that was cut off is told as an empty text, or what is still to be played is left out.
#[test]
fn n4_what_will_be_heard_is_told_and_what_was_cut_off_is_not() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.1, audio(R1, A1, 3_000));
    scene.when(1.1, transcript(R1, A1, "Unbelievably, yes."));
    scene.when(1.1, done(R1));
    let mut queued = scene.clone();
    // After 300 ms of the first word.
    scene.when(1.2, speech_started(I2));
    scene.until(3.0);
    scene.noted("Interrupted");
    scene.when(3.0, model_lost());
    scene.when(3.1, again(ModelInput::Connected));
    scene.skip();
    scene.when(3.2, again(ModelInput::Configured));
    scene.expect([]);

    // A second answer, of which nothing was played when the model is lost.
    queued.when(1.2, committed(I2));
    queued.when(1.3, created(R2, Q3));
    queued.when(1.3, audio(R2, A2, 1_000));
    queued.when(1.3, transcript(R2, A2, "And no."));
    queued.when(1.3, done(R2));
    queued.when(1.4, model_lost());
    queued.when(1.5, again(ModelInput::Connected));
    queued.until(1.6);
    queued.skip();
    queued.when(1.6, again(ModelInput::Configured));
    queued.expect(["remember agent 18", "remember agent 7"]);
}

/// A frame that was just sent plays a little later; what waits behind it comes after it all the same.
/// Breaks when the history is ordered by moments that are still to come.
#[test]
fn n4_what_is_told_keeps_the_order_in_which_it_plays() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.1, audio(R1, A1, 1_000));
    scene.when(1.1, audio_done(R1, A1));
    scene.when(1.1, transcript(R1, A1, "One."));
    for (item, text) in [(A2, "Second."), (A3, "The third.")] {
        scene.when(1.1, audio(R1, item, 1_000));
        scene.when(1.1, audio_done(R1, item));
        scene.when(1.1, transcript(R1, item, text));
    }
    scene.when(1.1, done(R1));
    scene.when(1.5, model_lost());
    scene.when(1.6, again(ModelInput::Connected));
    // The first is heard until 2.1, and the second's first frames are on their way.
    scene.until(2.0);
    scene.skip();
    scene.when(2.0, again(ModelInput::Configured));
    let came = scene.came();
    let told: Vec<_> = came.iter().filter(|line| line.starts_with("remember")).collect();
    assert_eq!(told, ["remember agent 4", "remember agent 7", "remember agent 10"]);
}

/// Breaks when the first item of all is taken for one of a session that was lost before it had any.
#[test]
fn n4_items_of_this_session_are_spoken_of_whatever_their_number() {
    const FIRST: ItemId = ItemId(0);
    let mut scene = Scene::with_carrier(CallConfig { hold: false, ..config() });
    scene.when(0.5, model_lost());
    scene.when(0.6, again(ModelInput::Connected));
    scene.when(0.7, again(ModelInput::Configured));
    let audio = ModelInput::Audio { response: R1, item: FIRST, bytes: 16_000 };
    scene.when(1.0, again(ModelInput::ResponseCreated { response: R1, request: None }));
    scene.when(1.0, again(audio));
    scene.until(1.5);
    scene.skip();
    scene.when(1.5, again(ModelInput::SpeechStarted { item: I9, at_ms: 500 }));
    scene.expect(["clear", "cancel r1 q3", "truncate i0 500ms"]);
}

/// Breaks when the pauses between attempts do not grow, or the attempts do not end.
#[test]
fn n4_attempts_come_at_growing_pauses_and_end() {
    let mut scene = Scene::ready(clips());
    scene.when(1.0, model_lost());
    let mut epoch = 2;
    while !scene.call.has_ended() && epoch < 20 {
        let now = scene.now_seconds();
        scene.when(now, Input::Model(Epoch(epoch), ModelInput::Lost { fatal: false }));
        let before = scene.times_with("connect model").len();
        for step in 1..200 {
            scene.until(now + f64::from(step) * 0.1);
            if scene.times_with("connect model").len() > before || !scene.times_with("hang up").is_empty() {
                break;
            }
        }
        if !scene.times_with("hang up").is_empty() {
            break;
        }
        epoch += 1;
    }
    let attempts = scene.times_with("connect model e");
    assert_eq!(&attempts[1..5], [1.0, 1.5, 2.5, 4.5], "{attempts:?}");
    assert!(attempts.last().is_some_and(|last| *last < 16.0), "{attempts:?}");
    scene.noted("HangingUp { reason: ModelFailed");
}

/// Breaks when the turn that was being answered is not asked about again.
#[test]
fn n4_an_unanswered_turn_is_asked_again() {
    for until_answered in [None, Some(100)] {
        let mut scene = Scene::with_carrier(config());
        scene.when(1.0, committed(I1));
        scene.when(1.1, created(R1, Q2));
        if let Some(millis) = until_answered {
            scene.when(1.2, audio(R1, A1, millis));
        }
        scene.when(1.3, model_lost());
        scene.when(1.4, again(ModelInput::Connected));
        scene.skip();
        scene.when(1.5, again(ModelInput::Configured));
        scene.expect(["create q4 CallerTurn"]);
    }
}

/// Breaks when what was accepted is thrown away, or the new session is told about items that it never had.
#[test]
fn n4_accepted_audio_plays_out_and_nothing_about_it_goes_to_the_new_session() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.1, audio(R1, A1, 3_000));
    scene.skip();
    scene.when(1.3, model_lost());
    scene.when(1.4, again(ModelInput::Connected));
    scene.when(1.5, again(ModelInput::Configured));
    scene.until(1.6);
    scene.skip();
    // The caller interrupts what is still playing: of its item the new session knows nothing.
    scene.when(2.0, again(ModelInput::SpeechStarted { item: I9, at_ms: 500 }));
    scene.until(3.3);
    let lines: Vec<String> = scene.log.iter().map(|(_, output)| output.to_string()).collect();
    assert!(lines.iter().any(|line| line == "clear"));
    assert!(!lines.iter().any(|line| line.starts_with("truncate") || line.starts_with("delete")), "{lines:?}");
    scene.noted("Interrupted");
}

/// Breaks when a goodbye of which all audio was there is asked for again, or one of which it was not is forgotten.
#[test]
fn n4_a_goodbye_stays_only_if_its_audio_was_complete() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.1, audio(R1, A1, 1_000));
    scene.when(1.2, transcript(R1, A1, "Goodbye!"));
    let mut incomplete = scene.clone();
    scene.when(1.3, done(R1));
    scene.when(1.4, model_lost());
    scene.until(3.0);
    assert_eq!(scene.times_with("hang up"), [2.1]);

    incomplete.when(1.4, model_lost());
    incomplete.when(1.5, again(ModelInput::Connected));
    incomplete.skip();
    incomplete.when(1.6, again(ModelInput::Configured));
    let lines: Vec<String> = incomplete.log.iter().map(|(_, output)| output.to_string()).collect();
    assert!(lines.iter().any(|line| line.ends_with("Farewell")), "{lines:?}");
}

/// Breaks when a tool that ran on through the loss is forgotten, or told as the answer to a call that nobody made.
#[test]
fn n4_a_tool_that_answers_after_the_loss_is_told_with_its_call() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, tool_call(R1, T1, "look"));
    scene.when(1.3, done(R1));
    scene.when(1.4, model_lost());
    scene.when(1.5, again(ModelInput::Connected));
    scene.when(1.6, again(ModelInput::Configured));
    scene.skip();
    scene.when(2.0, tool_answered(C2));
    scene.expect(["remember call t1", "remember output t1", "create q6 ToolResult"]);
}

/// Breaks when the next session is asked to answer a turn whose tool still runs: it would have it run again.
#[test]
fn n4_n2_a_turn_whose_tool_runs_is_answered_by_its_result() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.2, tool_call(R1, T1, "look"));
    scene.when(1.3, model_lost());
    scene.when(1.4, again(ModelInput::Connected));
    scene.skip();
    scene.when(1.5, again(ModelInput::Configured));
    scene.expect([]);
    scene.when(2.0, tool_answered(C2));
    scene.expect(["remember call t1", "remember output t1", "create q6 ToolResult"]);
}

/// Breaks when the next session does not know of the keys that the caller pressed.
#[test]
fn n4_n10_keys_are_part_of_what_is_told() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, dtmf('5'));
    scene.model_says(1.1, Q4, R1, A1, 100);
    scene.when(2.0, model_lost());
    scene.when(2.1, again(ModelInput::Connected));
    scene.skip();
    scene.when(2.2, again(ModelInput::Configured));
    scene.expect(["remember 1 keys"]);
}

/// Breaks when the caller hears nothing at all of an outage, or is told again and again.
#[test]
fn n4_the_caller_is_asked_to_wait_once_and_told_when_there_is_no_hope() {
    let mut scene = Scene::with_carrier(clips());
    scene.skip();
    scene.when(1.0, model_lost());
    scene.expect(["close model", "do c2 connect model e2"]);
    scene.until(5.0);
    scene.expect(["keep filler", "plays 200ms"]);
    assert_eq!(scene.times_with("keep filler"), [1.7]);
    scene.when(5.0, Input::Model(E2, ModelInput::Lost { fatal: true }));
    scene.until(6.0);
    scene.expect(["close model", "keep apology", "plays 300ms", "do c3 hang up"]);
    scene.noted("HangingUp { reason: ModelFailed");
}

/// Breaks when a caller who has heard goodbye is asked to wait, because the hang-up takes its time.
#[test]
fn n4_nobody_is_asked_to_wait_after_goodbye() {
    let mut scene = Scene::with_carrier(clips());
    scene.when(1.0, committed(I1));
    scene.model_says(1.1, Q2, R1, A1, 200);
    scene.when(1.2, transcript(R1, A1, "Goodbye!"));
    scene.until(1.4);
    scene.noted("HangingUp { reason: Goodbye");
    scene.when(1.5, model_lost());
    scene.skip();
    scene.when(2.9, Input::Model(E2, ModelInput::Lost { fatal: true }));
    scene.until(3.0);
    scene.expect(["close model"]);
}

/// Breaks when the greeting is said again though it was heard, or not said though it was not.
#[test]
fn n4_g1_the_greeting_is_repeated_only_if_less_than_a_second_was_heard() {
    for (heard_until, repeated) in [(1.0, true), (1.9, true), (2.2, false)] {
        let mut scene = Scene::with_carrier(CallConfig { greeting: Some("Hello.".into()), ..config() });
        scene.when(0.5, created(R1, Q2));
        scene.when(1.0, audio(R1, A1, 3_000));
        scene.when(heard_until, model_lost());
        scene.when(heard_until + 0.1, again(ModelInput::Connected));
        scene.when(heard_until + 0.2, again(ModelInput::Configured));
        scene.until(heard_until + 0.3);
        let greetings = scene.times_with("Greeting").len();
        assert_eq!(greetings, 1 + usize::from(repeated), "lost at {heard_until}");
    }
}

/// Breaks when the caller's audio of the outage is thrown away before it has to be.
#[test]
fn n4_t2_the_callers_audio_waits_for_the_new_session() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, model_lost());
    scene.skip();
    for n in 0..10 {
        scene.give(caller_audio(1_000 + n * 20));
    }
    scene.when(1.1, again(ModelInput::Connected));
    scene.skip();
    scene.when(1.2, again(ModelInput::Configured));
    scene.expect(["forward held 1600"]);
}

/// Breaks when a key does not reach the agent, or is not answered.
#[test]
fn n10_keys_reach_the_agent() {
    let mut scene = Scene::ready(config());
    scene.skip();
    scene.when(1.0, dtmf('5'));
    scene.expect(["pressed 1 keys", "create q3 CallerTurn"]);
}

/// Breaks when all keys ever pressed are kept.
#[test]
fn n12_n10_of_many_keys_the_last_are_told_to_a_new_session() {
    let mut scene = Scene::with_carrier(config());
    for n in 0..20 {
        scene.when(1.0 + f64::from(n) * 0.1, dtmf('5'));
    }
    scene.when(4.0, model_lost());
    scene.when(4.1, again(ModelInput::Connected));
    scene.skip();
    scene.when(4.2, again(ModelInput::Configured));
    assert_eq!(scene.came().iter().filter(|line| *line == "remember 1 keys").count(), 16);
}

/// Breaks when collected keys are told one by one, or wait for ever.
#[test]
fn n10_keys_are_collected_to_a_terminator_a_length_or_a_pause() {
    let collecting = || CallConfig {
        keys: call::config::Keys::Collect { terminator: Some('#'), length: Some(4), pause: ms(3_000) },
        ..config()
    };
    let mut scene = Scene::ready(collecting());
    scene.skip();
    for (index, key) in ['1', '2', '#'].into_iter().enumerate() {
        scene.when(1.0 + index as f64 * 0.5, dtmf(key));
    }
    scene.expect(["pressed 2 keys", "create q3 CallerTurn"]);

    let mut scene = Scene::ready(collecting());
    scene.skip();
    for (index, key) in ['1', '2', '3', '4'].into_iter().enumerate() {
        scene.when(1.0 + index as f64 * 0.5, dtmf(key));
    }
    scene.expect(["pressed 4 keys", "create q3 CallerTurn"]);

    let mut scene = Scene::ready(collecting());
    scene.skip();
    scene.when(1.0, dtmf('1'));
    scene.until(3.9);
    scene.expect([]);
    scene.until(4.1);
    scene.expect(["pressed 1 keys", "create q3 CallerTurn"]);
}

/// Breaks when tones do not go through the paced queue.
#[test]
fn n10_keys_are_sent_as_tones_behind_what_is_said() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.when(1.1, audio(R1, A1, 100));
    scene.when(1.1, done(R1));
    scene.skip();
    scene.when(1.1, Input::Operator(OperatorInput::Press("12".into())));
    scene.until(2.0);
    scene.expect(["keep tones for 2 keys", "plays 400ms"]);
}
