//! Holds: speech during the agent's, until it is known whether it was meant (B4, R10).

mod common;

use call::config::CallConfig;
use common::*;

/// `R1` is heard since 1.0 s: ten seconds, complete.
fn talking(config: CallConfig) -> Scene {
    let mut scene = Scene::ready(config);
    scene.when(1.0, committed(I1));
    scene.model_says(1.0, Q2, R1, A1, 10_000);
    scene.skip();
    scene
}

/// The caller began at 2.0 s: 1,000 ms were heard.
fn held() -> Scene {
    let mut scene = talking(config());
    scene.when(2.0, speech_started(I2));
    scene.expect(["plays 1000ms", "clear"]);
    scene.noted("Held");
    scene
}

/// Breaks when a hold tells the model, goes on sending, or forgets what was not heard.
#[test]
fn b4_a_hold_stops_playing_and_tells_the_model_nothing() {
    let mut scene = held();
    scene.until(3.0);
    scene.expect([]);
    assert!(scene.call.audio_needed_from() <= 8_000, "unheard audio is kept");
}

/// Breaks when `hold_max` is not looked at.
#[test]
fn b4_speech_that_goes_on_for_1_2_s_is_an_interruption() {
    let mut scene = held();
    scene.until(3.19);
    scene.expect([]);
    scene.until(4.0);
    scene.expect(["truncate i101 1000ms"]);
    assert_eq!(scene.times_of("truncate"), [3.2]);
}

/// Breaks when playing resumes where sending stopped instead of where hearing did, or the item stays with the model.
#[test]
fn b4_an_empty_transcript_resumes_where_hearing_stopped() {
    let mut scene = held();
    scene.when(2.3, spoke_for(I2, 300));
    scene.when(2.3, committed(I2));
    scene.when(2.5, caller_said(I2, " ... "));
    scene.expect(["delete i2", "plays 200ms"]);
    assert!(scene.log.iter().any(|(_, output)| output.to_string() == "audio 8000+160"));
    scene.until(20.0);
    scene.expect(["plays 8800ms"]);
    assert_eq!(scene.call.summary().interruptions.false_alarm, 1);
}

/// Breaks when what the caller said just before the stream broke is forgotten with the stream (N6).
#[test]
fn b4_n6_a_hold_is_decided_although_the_stream_is_gone() {
    let mut scene = Scene::with_carrier(CallConfig { resume_max: Some(ms(20_000)), ..config() });
    scene.when(1.0, committed(I1));
    scene.model_says(1.0, Q2, R1, A1, 10_000);
    scene.when(2.0, speech_started(I2));
    scene.when(2.9, spoke_for(I2, 400));
    scene.when(2.9, committed(I2));
    scene.when(3.0, closed());
    scene.when(3.1, after_stream(call::CallStatus::InProgress));
    scene.when(3.2, caller_said(I2, "No, wait."));
    scene.noted("Interrupted");
    scene.skip();
    scene.when(5.0, started());
    scene.expect(["create q4 CallerTurn"]);
}

/// Breaks when a stream that comes back plays on while it is still open whether the speech was meant (N6).
#[test]
fn b4_n6_a_stream_that_comes_back_during_a_hold_stays_silent_until_it_is_decided() {
    let mut scene = Scene::with_carrier(CallConfig { resume_max: Some(ms(20_000)), ..config() });
    scene.when(1.0, committed(I1));
    scene.model_says(1.0, Q2, R1, A1, 10_000);
    scene.when(1.9, closed());
    scene.when(2.0, after_stream(call::CallStatus::InProgress));
    // The model heard what was said just before.
    scene.when(2.2, speech_started(I2));
    scene.noted("Held");
    scene.skip();
    scene.when(2.5, started());
    scene.until(3.3);
    scene.expect([]);
    scene.until(3.5);
    scene.expect(["truncate i101 900ms"]);
    assert_eq!(scene.times_of("note Interrupted"), [3.4]);
}

/// Breaks when a back-channel word counts as words.
#[test]
fn b4_a_back_channel_word_resumes() {
    let mut scene = held();
    scene.when(2.5, spoke_for(I2, 500));
    scene.when(2.5, committed(I2));
    scene.when(2.6, caller_said(I2, "mhm"));
    scene.expect(["delete i2", "plays 200ms"]);
    assert_eq!(scene.call.summary().interruptions.back_channel, 1);
}

/// Breaks when words are waited out.
#[test]
fn b4_other_text_is_an_interruption() {
    let mut scene = held();
    scene.when(2.3, spoke_for(I2, 100));
    scene.when(2.3, committed(I2));
    scene.when(2.4, caller_said(I2, "no"));
    scene.expect(["truncate i101 1000ms", "create q4 CallerTurn"]);
    assert_eq!(scene.call.summary().interruptions.meant, 1);
}

/// Breaks when the length is not looked at, counts padding and silence, or the transcript is waited for forever.
#[test]
fn b4_without_a_transcript_300_ms_of_speech_decide() {
    for (length, text) in
        [(299, None), (299, Some(transcription_failed(I2))), (300, None), (300, Some(transcription_failed(I2)))]
    {
        let mut scene = held();
        scene.when(2.4, spoke_for(I2, length));
        scene.when(2.4, committed(I2));
        if let Some(text) = text.clone() {
            scene.when(2.5, text);
        }
        scene.until(3.1);
        let came = scene.came();
        let meant = came.contains(&"truncate i101 1000ms".to_owned());
        assert_eq!(meant, length == 300, "{length} ms, {text:?}: {came:?}");
        let decided = scene.times_of(if meant { "truncate" } else { "delete" })[0];
        assert_eq!(decided, if text.is_some() { 2.5 } else { 3.1 });
    }
}

/// In a pause of the agent's, whose answer turns out to be over. Breaks when a hold that was meant is neither noted nor
/// counted because nothing is left to be heard.
#[test]
fn b4_a_hold_that_was_meant_is_counted_also_when_nothing_is_left_to_be_heard() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 500));
    scene.when(1.1, audio_done(R1, A1));
    scene.when(2.0, speech_started(I2));
    scene.noted("Held");
    scene.when(2.1, done(R1));
    scene.until(4.0);
    assert_eq!(scene.times_of("note Interrupted"), [3.2]);
    assert_eq!(scene.call.summary().interruptions.meant, 1);
}

/// Breaks when a turn is asked for while its hold is open.
#[test]
fn b4_no_create_for_the_item_until_it_is_decided() {
    let mut scene = held();
    scene.when(2.4, spoke_for(I2, 400));
    scene.when(2.4, committed(I2));
    scene.until(3.0);
    scene.expect([]);
    scene.until(3.2);
    scene.expect(["truncate i101 1000ms", "create q4 CallerTurn"]);
}

/// Breaks when only the last speech of a hold is looked at, or each begins it anew.
#[test]
fn b4_two_speeches_in_one_hold_are_judged_together() {
    // The first was long, and stayed without a transcript; the second was a noise.
    let mut scene = held();
    scene.when(2.4, spoke_for(I2, 400));
    scene.when(2.4, committed(I2));
    scene.when(2.6, speech_started(I3));
    scene.when(2.8, spoke_for(I3, 50));
    scene.when(2.8, committed(I3));
    scene.when(2.9, caller_said(I3, ""));
    scene.until(4.0);
    scene.expect(["truncate i101 1000ms", "create q4 CallerTurn"]);
    assert_eq!(scene.times_of("truncate"), [3.5]);

    // Both were noise: both are forgotten.
    let mut scene = held();
    scene.when(2.3, spoke_for(I2, 50));
    scene.when(2.4, speech_started(I3));
    scene.when(2.6, spoke_for(I3, 50));
    scene.until(3.5);
    scene.expect(["plays 400ms"]);
    scene.when(3.5, committed(I2));
    scene.when(3.5, committed(I3));
    scene.expect(["delete i2", "delete i3"]);

    // It still counts from its beginning.
    let mut scene = held();
    scene.when(2.3, spoke_for(I2, 50));
    scene.when(2.8, speech_started(I3));
    scene.until(4.0);
    assert_eq!(scene.times_of("truncate"), [3.2]);

    // What the first was decides, also while the second goes on.
    let mut scene = held();
    scene.when(2.3, spoke_for(I2, 100));
    scene.when(2.3, committed(I2));
    scene.when(2.4, speech_started(I3));
    scene.when(2.5, caller_said(I2, "wait"));
    scene.expect(["truncate i101 1000ms"]);
    scene.when(3.0, speech_stopped(I3));
    scene.when(3.0, committed(I3));
    // Both are answered by one.
    scene.expect(["create q4 CallerTurn"]);
    scene.when(3.1, created(R2, Q4));
    scene.when(3.1, audio(R2, A2, 100));
    scene.when(3.1, done(R2));
    scene.until(5.0);
    scene.expect(["keep", "plays 100ms"]);
}

/// In both orders. Breaks when a commit after the verdict asks for an answer to nothing.
#[test]
fn b4_the_commit_may_come_before_or_after_the_verdict() {
    for meant in [true, false] {
        for commit_at in [2.4, 3.3] {
            let mut scene = held();
            scene.when(2.4, spoke_for(I2, if meant { 400 } else { 100 }));
            if commit_at < 3.0 {
                scene.when(commit_at, committed(I2));
            }
            scene.until(3.3);
            if commit_at > 3.0 {
                scene.when(commit_at, committed(I2));
            }
            let came = scene.came();
            assert_eq!(came.contains(&"delete i2".to_owned()), !meant, "{came:?}");
            assert_eq!(came.iter().any(|line| line.ends_with("CallerTurn")), meant, "{came:?}");
        }
    }
}

/// Breaks when any transcript decides a hold.
#[test]
fn b4_the_transcript_of_an_earlier_turn_decides_nothing() {
    let mut scene = held();
    scene.when(2.2, caller_said(I1, "what is the weather like"));
    scene.expect([]);
    scene.when(2.3, spoke_for(I2, 50));
    scene.when(2.4, caller_said(I2, ""));
    scene.expect(["plays 200ms"]);
}

/// Breaks when a late transcript of what was undone is answered.
#[test]
fn b4_a_transcript_after_the_verdict_changes_nothing() {
    let mut scene = held();
    scene.when(2.3, spoke_for(I2, 50));
    scene.when(2.3, committed(I2));
    scene.until(3.1);
    scene.expect(["delete i2", "plays 300ms"]);
    scene.when(3.1, caller_said(I2, "stop"));
    scene.when(3.1, caller_said(I1, "tell me"));
    scene.expect([]);
}

/// Breaks when a hold opens although nothing is heard.
#[test]
fn b4_speech_while_nothing_is_heard_opens_no_hold() {
    let mut scene = talking(config());
    scene.until(11.5);
    scene.when(11.5, speech_started(I2));
    scene.not_noted("Held");
    scene.when(11.6, spoke_for(I2, 50));
    scene.when(11.6, committed(I2));
    assert!(scene.came().contains(&"create q3 CallerTurn".to_owned()));
}

/// Breaks when the pause of a hold is left behind by its verdict.
#[test]
fn b4_a_response_that_was_asked_for_before_the_hold_goes_on_after_it() {
    let mut scene = talking(config());
    scene.when(1.5, say("one more"));
    scene.when(2.0, speech_started(I2));
    scene.skip();
    scene.when(2.1, created(R2, Q3));
    scene.when(2.2, audio(R2, A2, 1_000));
    scene.when(2.2, done(R2));
    scene.when(2.3, spoke_for(I2, 50));
    scene.expect(["keep"]);
    scene.until(20.0);
    scene.expect(["plays 10000ms"]);
    scene.not_noted("Interrupted");
}

/// Breaks when what was asked for and not heard is lost with the interruption.
#[test]
fn b4_what_was_asked_for_and_not_heard_is_asked_for_again_after_an_interruption() {
    let mut scene = talking(config());
    scene.when(1.5, say("one more"));
    scene.when(1.6, created(R2, Q3));
    scene.when(1.6, item_added(R2, A2));
    scene.when(1.6, audio(R2, A2, 1_000));
    scene.when(2.0, speech_started(I2));
    scene.skip();
    scene.when(2.2, spoke_for(I2, 300));
    scene.when(2.2, committed(I2));
    scene.when(2.3, caller_said(I2, "a question"));
    scene.expect(["cancel r2 q4", "truncate i101 1000ms", "delete i102"]);
    scene.when(2.4, done_cancelled(R2));
    scene.expect(["create q7 CallerTurn"]);
    scene.when(2.5, created(R3, Q7));
    scene.when(2.5, audio(R3, A3, 20));
    scene.when(2.5, done(R3));
    scene.expect(["keep", "plays 20ms", "create q8 Say"]);
}

/// A hold that opens in the middle of a frame; and a second one right after the first.
/// Breaks when a frame is counted twice or lost at the seam.
#[test]
fn b4_nothing_is_lost_or_repeated_at_the_seams() {
    let mut scene = talking(config());
    for (start, item) in [(2.0, I2), (2.6, I3)] {
        scene.when(start + 0.0073, speech_started(item));
        scene.when(start + 0.1, spoke_for(item, 50));
        scene.when(start + 0.1, caller_said(item, ""));
    }
    scene.until(20.0);
    let spans: Vec<(f64, String)> = scene
        .log
        .iter()
        .filter(|(_, output)| output.to_string().starts_with("audio"))
        .map(|(at, output)| (at.as_micros() as f64 / 1e6, output.to_string()))
        .collect();
    // 1,007.3 ms were heard when it was stopped: byte 8,058.
    assert!(spans.iter().any(|(at, span)| *at == 2.1 && span == "audio 8058+160"), "{spans:?}");
    assert_eq!(spans.last().unwrap().1.split_once(" pad ").map(|(span, _)| span.split('+').count()), Some(2));
    // Ten seconds, the two pauses, and the silence that fills up the last frame.
    assert_eq!(scene.times_of("note AgentStopped"), [11.2]);
}

/// Breaks when speech that goes on beyond the floor's limit leaves anything stuck.
#[test]
fn r10_a_caller_who_speaks_for_a_minute_is_interrupting_and_then_silent() {
    let mut scene = held();
    scene.until(61.9);
    assert_eq!(scene.times_of("truncate"), [3.2]);
    scene.when(61.95, say("hello?"));
    assert!(scene.times_of("create").len() == 1);
    scene.until(62.5);
    assert_eq!(scene.times_of("create q4 Say"), [62.0]);
}

/// RACES: DTMF during everything. Breaks when a key counts as speech.
#[test]
fn b4_keys_are_no_speech() {
    let mut scene = held();
    scene.when(2.1, call::Input::Carrier(call::CarrierInput::Dtmf('5')));
    scene.expect(["pressed 1 keys"]);
    scene.noted("Dtmf");
    scene.when(2.3, spoke_for(I2, 50));
    scene.when(2.3, caller_said(I2, ""));
    scene.when(2.4, call::Input::Carrier(call::CarrierInput::Dtmf('#')));
    // The key is answered once the speech was decided to be nothing, and the second key with it.
    scene.expect(["create q4 CallerTurn", "plays 300ms", "pressed 1 keys"]);
}
