//! Silence, gaps, and the length of a call (N7, N8, N12).

mod common;

use std::time::Duration;

use call::config::CallConfig;
use common::*;

fn quiet() -> CallConfig {
    CallConfig { silence_max: Some(Duration::from_secs(20)), ..config() }
}

/// Breaks when the second silence asks again, or the first says goodbye.
#[test]
fn n8_after_a_silence_the_agent_asks_and_after_the_next_it_says_goodbye() {
    let mut scene = Scene::with_carrier(quiet());
    scene.until(20.5);
    scene.expect(["create q2 IdlePrompt"]);
    assert_eq!(scene.times_of("create q2"), [20.0]);
    scene.model_says(21.0, Q2, R1, A1, 2_000);
    // The agent's speech is not silence: it lasts until 23 s.
    scene.until(43.5);
    scene.expect(["keep", "plays 2000ms", "create q3 Farewell"]);
    assert_eq!(scene.times_of("create q3"), [43.0]);
    scene.model_says(44.0, Q3, R2, A2, 1_000);
    scene.until(46.0);
    scene.expect(["keep", "plays 1000ms", "do c2 hang up"]);
    scene.noted("HangingUp { reason: Silence");
}

/// Breaks when a caller who answered is not asked but dismissed the next time.
#[test]
fn n8_a_caller_who_speaks_in_between_is_asked_again() {
    let mut scene = Scene::with_carrier(quiet());
    scene.until(20.0);
    scene.model_says(21.0, Q2, R1, A1, 100);
    scene.caller_says(25.0, I1);
    scene.model_says(26.1, Q3, R2, A2, 100);
    scene.until(50.0);
    scene.noted("reason: IdlePrompt, previous: Some(r2)");
    assert_eq!(scene.times_of("create").len(), 3);
}

/// Breaks when silence counts while the caller speaks, or is not begun anew afterwards.
#[test]
fn n8_the_callers_speech_is_not_silence() {
    let mut scene = Scene::with_carrier(quiet());
    scene.when(10.0, speech_started(I1));
    scene.until(40.0);
    scene.expect([]);
    scene.when(40.0, speech_stopped(I1));
    scene.until(61.0);
    assert_eq!(scene.times_of("create"), [60.0]);
}

/// Breaks when a silence that is over is remembered by its deadline.
#[test]
fn n8_a_goodbye_for_silence_is_withdrawn_by_words() {
    let mut scene = Scene::with_carrier(quiet());
    scene.until(20.0);
    scene.model_says(20.0, Q2, R1, A1, 100);
    scene.until(40.1);
    scene.skip();
    scene.model_says(40.2, Q3, R2, A2, 1_000);
    scene.when(40.5, speech_started(I1));
    scene.when(41.0, spoke_for(I1, 500));
    scene.when(41.0, committed(I1));
    scene.when(41.1, caller_said(I1, "I am here"));
    scene.noted("GoodbyeWithdrawn");
    assert!(scene.came().contains(&"create q5 CallerTurn".to_owned()));
}

/// Breaks when the length is not limited, or cut without a word.
#[test]
fn n8_at_its_greatest_length_a_call_says_goodbye() {
    let mut scene = Scene::with_carrier(CallConfig { call_max: Duration::from_secs(100), ..config() });
    scene.until(101.0);
    scene.expect(["create q2 Farewell"]);
    assert_eq!(scene.times_of("create"), [100.0]);
    scene.model_says(101.0, Q2, R1, A1, 1_000);
    scene.until(103.0);
    scene.expect(["keep", "plays 1000ms", "do c2 hang up"]);
    scene.noted("HangingUp { reason: MaxDuration");
}

/// Breaks when a caller who talks on keeps the line forever.
#[test]
fn n8_n12_a_caller_who_talks_on_is_hung_up_after_the_grace() {
    let mut scene = Scene::with_carrier(CallConfig { call_max: Duration::from_secs(100), ..config() });
    for (at, item) in [(99.0, I1), (150.0, I2), (200.0, I3)] {
        scene.when(at, speech_started(item));
    }
    scene.until(224.0);
    assert_eq!(scene.times_of("do c2 hang up"), [220.0]);
}

/// Breaks when time that stood still beyond both limits leaves the second one due.
#[test]
fn n8_n12_both_limits_of_the_length_may_pass_at_once() {
    for call_max_grace in [ms(0), ms(1_000)] {
        let mut scene =
            Scene::with_carrier(CallConfig { call_max: Duration::from_secs(100), call_max_grace, ..config() });
        scene.now = seconds(200.0);
        scene.give(call::Input::TimePassed);
        assert_eq!(scene.times_of("do c2 hang up"), [200.0]);
    }
}

/// Breaks when a gap in the carrier's timestamps is not filled, or an overlap is.
#[test]
fn n7_gaps_in_the_callers_audio_are_filled_with_silence() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, caller_audio(0));
    scene.when(1.02, caller_audio(20));
    scene.expect(["forward"]);
    scene.when(1.1, caller_audio(100));
    scene.expect(["forward silence 480", "forward"]);
    scene.when(1.1, caller_audio(110));
    scene.expect(["forward"]);
    // Silence we insert is not the caller's audio.
    assert_eq!(scene.call.summary().audio_in, 4);
}

/// Breaks when a caller whose audio stops in the middle of a word is waited for.
#[test]
fn n7_a_carrier_that_sends_nothing_while_the_caller_speaks_is_filled_in_for() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, caller_audio(0));
    scene.when(1.0, speech_started(I1));
    scene.until(10.0);
    scene.expect(["forward", "forward silence 8000"]);
    assert_eq!(scene.times_of("forward silence"), [1.75]);
    // Not again for the same gap.
    scene.when(10.0, caller_audio(9_000));
    scene.expect(["forward"]);
}

/// Breaks when a carrier that is silent altogether is not lost, or one that only returns marks is.
#[test]
fn n7_a_carrier_that_says_nothing_for_15_s_is_lost() {
    let config = || CallConfig { carrier_silence_max: ms(15_000), ..config() };
    let mut scene = Scene::ready(config());
    scene.when(5.0, caller_audio(0));
    scene.until(30.0);
    scene.expect(["forward", "close carrier", "close model", "ended StreamLost"]);
    assert_eq!(scene.times_of("close carrier"), [20.0]);
    assert_eq!(scene.times_of("ended"), [25.0]);

    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.model_says(1.0, Q2, R1, A1, 60_000);
    scene.until(60.0);
    assert!(scene.times_of("close").is_empty(), "marks are messages too");
}

/// Each wait of a call ends, whatever nobody says. Breaks when one of them has no deadline.
#[test]
fn n12_whatever_is_waited_for_nothing_lasts_forever() {
    let beginnings: [&dyn Fn(&mut Scene); 8] = [
        &|_| {},
        &|scene| scene.give(speech_started(I1)),
        &|scene| scene.give(committed(I1)),
        &|scene| {
            scene.give(committed(I1));
            scene.give(created(R1, Q2));
        },
        &|scene| {
            scene.give(committed(I1));
            scene.give(created(R1, Q2));
            scene.give(tool_call(R1, T1, "look"));
        },
        &|scene| {
            scene.give(committed(I1));
            scene.give(created(R1, Q2));
            scene.give(audio(R1, A1, 1_000));
            scene.give(speech_started(I2));
        },
        &|scene| scene.give(caller_said(I1, "bye")),
        &|scene| scene.give(operator_hangs_up()),
    ];
    for (n, begin) in beginnings.into_iter().enumerate() {
        for told in 0..5 {
            let mut scene = Scene::made(CallConfig::default(), INBOUND);
            let prelude = [call::Input::Announced, connected(), configured(), started()];
            for input in prelude.into_iter().take(told) {
                scene.give(input);
            }
            if told == 0 && n != 7 {
                // Of a call that is only made nobody has to hear again.
                continue;
            }
            begin(&mut scene);
            scene.until(500.0);
            assert!(scene.call.has_ended(), "beginning {n}, {told} of the prelude");
            assert_eq!(scene.times_of("ended").len(), 1);
        }
    }
}
