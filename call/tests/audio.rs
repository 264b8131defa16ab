//! Audio to the caller: pacing, the lead, marks, and what was heard (A1–A8, C1, C2).

mod common;

use call::config::CallConfig;
use call::{CallTime, Input, MarkId, OperatorInput};
use common::*;

/// A caller's turn is being answered by `R1`, since 1.0 s.
fn answering(config: CallConfig) -> Scene {
    let mut scene = Scene::ready(config);
    begin_answer(&mut scene);
    scene
}

fn begin_answer(scene: &mut Scene) {
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, item_added(R1, A1));
    scene.skip();
}

/// Breaks when `queues` counts everything as paced.
#[test]
fn a1_eight_seconds_are_paced_and_the_rest_waits_behind() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 10_200));
    scene.when(1.0, done(R1));
    scene.when(1.0, say("one more thing"));
    // 200 ms went to the carrier.
    scene.noted("tx_queue: 400, out_queue: 100");
}

/// Breaks when `accept` compares with anything but `response_audio_max`.
#[test]
fn a1_beyond_300_s_the_response_is_cancelled_and_what_was_accepted_plays() {
    let mut scene = answering(config());
    for _ in 0..300 {
        scene.when(1.0, audio(R1, A1, 1_000));
    }
    // 200 ms went to the carrier: the limit, to the byte.
    scene.when(1.0, audio(R1, A1, 200));
    scene.expect(["keep", "plays 200ms", "keep"]);
    scene.when(1.0, audio(R1, A1, 100));
    scene.expect(["cancel r1 q3"]);
    scene.noted("Dropped { reason: QueueFull");
    scene.when(1.0, done_cancelled(R1));
    scene.until(400.0);
    // All that was accepted.
    scene.expect(["plays 300000ms"]);
    assert_eq!(scene.call.summary().audio_out, 301);
}

/// Breaks when a full queue keeps the call from noticing speech, or `accept` refuses beyond `queue_frames`.
#[test]
fn a2_a_full_queue_holds_audio_back_and_nothing_else() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 60_000));
    scene.expect(["keep", "plays 200ms"]);
    scene.when(1.1, speech_started(I2));
    scene.expect(["plays 100ms", "clear"]);
    scene.when(1.2, spoke_for(I2, 100));
    scene.when(1.2, committed(I2));
    scene.when(1.2, caller_said(I2, ""));
    scene.when(1.2, audio_done(R1, A1));
    scene.when(1.2, done(R1));
    scene.until(70.0);
    // 100 ms were heard before; all the rest plays.
    scene.expect(["delete i2", "plays 59900ms"]);
}

/// Breaks when `clear` is followed by `discard` in a hold, or audio that comes during one is dropped.
#[test]
fn a2_audio_that_comes_during_a_hold_is_played_after_it() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 100));
    scene.when(1.05, speech_started(I2));
    scene.when(1.1, audio(R1, A1, 100));
    scene.when(1.15, spoke_for(I2, 50));
    scene.expect(["keep", "plays 100ms", "clear", "keep"]);
    scene.when(1.2, caller_said(I2, ""));
    // 50 ms were heard: 150 ms are left, the last 10 of which wait for a whole frame.
    scene.expect(["plays 140ms"]);
    scene.when(1.2, done(R1));
    scene.until(2.0);
    scene.expect(["plays 20ms"]);
}

/// Breaks when `pace_end` is set to the time of sending rather than carried on.
#[test]
fn a3_frames_go_every_20_ms_on_absolute_deadlines_200_ms_ahead() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 1_000));
    scene.until(3.0);
    let frames = scene.frames();
    assert_eq!(frames.len(), 50);
    assert!(frames[..10].iter().all(|(at, _)| *at == 1_000), "ten at once: {frames:?}");
    for (n, (at, _)) in frames.iter().enumerate().skip(10) {
        assert_eq!(*at, 1_000 + (n as u64 - 9) * 20, "frame {n}");
    }
}

/// Breaks when the lead is measured from the last sending, so that each late wake-up is lost.
#[test]
fn a3_a_late_wake_up_is_caught_up_and_never_beyond_the_lead() {
    for wakes_every in [30, 70, 110, 500] {
        let mut scene = answering(config());
        scene.wakes_every = Some(ms(wakes_every));
        scene.when(1.0, audio(R1, A1, 5_000));
        scene.until(20.0);
        let frames = scene.frames();
        assert_eq!(
            frames.iter().map(|(_, length)| length).sum::<u64>(),
            5_000,
            "all of it, woken every {wakes_every} ms"
        );
        let mut play_end = 0;
        for (at, length) in frames {
            play_end = play_end.max(at) + length;
            assert!(play_end <= at + 200, "{} ms lie at the carrier, woken every {wakes_every} ms", play_end - at);
        }
        if wakes_every < 200 {
            assert_eq!(play_end, 6_000, "no gap was heard, woken every {wakes_every} ms");
        }
    }
}

/// Breaks when catching up sends what should have gone while time stood still.
#[test]
fn a3_after_five_seconds_of_standstill_only_the_lead_is_sent() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 10_000));
    scene.skip();
    scene.now = CallTime::from_millis(6_000);
    scene.give(call::Input::TimePassed);
    scene.expect(["plays 200ms"]);
    scene.until(6.1);
    scene.expect(["plays 100ms"]);
}

/// Breaks when `pace_end_for` takes the lead as it is, 0 included.
#[test]
fn a3_a_lead_of_nothing_sends_each_frame_when_the_one_before_was_played() {
    let mut scene = answering(CallConfig { lead: ms(0), ..config() });
    scene.when(1.0, audio(R1, A1, 100));
    scene.until(2.0);
    let times: Vec<u64> = scene.frames().iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [1_000, 1_020, 1_040, 1_060, 1_080]);
    // Each frame begins as the one before ends, and is no new utterance for that.
    assert_eq!(scene.marks().len(), 1);
}

/// Breaks when what may still be played again is forgotten, or nothing ever is; or when the carrier's part is misjudged.
#[test]
fn a7_what_marks_confirm_may_be_forgotten() {
    let mut scene = Scene::with_carrier(config());
    begin_answer(&mut scene);
    scene.when(1.0, audio(R1, A1, 500));
    assert_eq!((scene.call.audio_needed_from(), scene.call.playout_lag()), (0, ms(200)));
    // Marks followed the first frame, and the fifth after it.
    scene.when(1.19, Input::TimePassed);
    assert_eq!((scene.call.audio_needed_from(), scene.call.playout_lag()), (8 * 120, ms(190)));
    scene.when(2.0, done(R1));
    scene.when(2.1, Input::TimePassed);
    assert_eq!((scene.call.audio_needed_from(), scene.call.playout_lag()), (8 * 500, ms(0)));
}

/// Breaks when frames are cut from the wrong places of what is kept, after another item or what is ours.
#[test]
fn a2_every_byte_that_is_kept_is_sent_once_and_in_order() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.when(1.0, created(R1, Q2));
    scene.when(1.0, audio(R1, A1, 110));
    // The model goes on without having said that the first was all.
    scene.when(1.0, audio(R1, A2, 110));
    scene.when(1.0, done(R1));
    scene.when(1.0, Input::Operator(OperatorInput::Press("1".into())));
    scene.when(1.1, created_by_itself(R2));
    scene.when(1.1, audio(R2, A3, 500));
    scene.when(1.1, done(R2));
    scene.until(5.0);
    let mut kept = 0;
    for (start, len) in scene.spans() {
        assert_eq!(start, kept);
        kept += len;
    }
    assert_eq!(kept, 8 * (110 + 110 + 200 + 500));
    // Each item ends with a frame of its own.
    assert_eq!(scene.spans().iter().filter(|(_, len)| *len == 80).count(), 2);
}

/// Breaks when a new utterance waits for the deadline of the one before.
#[test]
fn a3_the_first_frame_of_an_utterance_goes_at_once() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 20));
    scene.when(1.7, audio(R1, A1, 20));
    assert_eq!(scene.frames(), [(1_000, 20), (1_700, 20)]);
}

/// Breaks when the first frame of an utterance is grouped too, or a group crosses the end of the audio.
#[test]
fn a3_frames_after_the_first_may_be_grouped() {
    let mut scene = answering(CallConfig { group_frames: 3, ..config() });
    scene.when(1.0, audio_bytes(R1, A1, 160 * 10 + 80));
    scene.when(1.0, done(R1));
    scene.until(2.0);
    let lengths: Vec<u64> = scene.frames().iter().map(|(_, length)| *length).collect();
    assert_eq!(lengths, [20, 60, 60, 60, 20]);
    for (at, _) in scene.frames() {
        assert!(at <= 1_020, "the whole lead is used: {:?}", scene.frames());
    }
    // What is left at the end may be less than a group.
    let mut scene = answering(CallConfig { group_frames: 3, ..config() });
    scene.when(1.0, audio_bytes(R1, A1, 160 * 6));
    scene.when(1.0, done(R1));
    scene.until(2.0);
    let lengths: Vec<u64> = scene.frames().iter().map(|(_, length)| *length).collect();
    assert_eq!(lengths, [20, 60, 40]);
}

/// Breaks when a group that could go waits for the clock although the call is awake, and when the pace does not fall in with
/// the caller's frames: the call would be woken for each direction apart.
#[test]
fn a3_a_group_goes_with_the_caller_s_frames() {
    for shift in [0.007, 0.027, 0.047, 0.0575] {
        let mut scene = answering(CallConfig { group_frames: 3, ..config() });
        scene.when(1.0, audio(R1, A1, 5_000));
        for look in 0..30_u32 {
            scene.when(1.0 + shift + 0.06 * f64::from(look), caller_audio(20 * u64::from(look)));
        }
        scene.until(2.8);
        let looks: Vec<u64> = (0..30).map(|look| 1_000 + (shift * 1_000.0) as u64 + 60 * look).collect();
        let frames = scene.frames();
        let steady: Vec<_> = frames.iter().filter(|(at, _)| (1_300..2_800).contains(at)).collect();
        assert!(steady.iter().all(|(at, length)| *length == 60 && looks.contains(at)), "{shift}: {frames:?}");
        assert_eq!(steady.len(), 25);
        // What lies at the carrier: never more than the lead, and never less than it by more than a group and a frame.
        let mut sent = 0;
        for (at, length) in &frames {
            let played = at - 1_000;
            assert!(sent >= played + 120 || *at < 1_060, "{shift}: {at} {frames:?}");
            sent += length;
            assert!(sent <= played + 200, "{shift}: {at} {frames:?}");
        }
    }
}

/// Breaks when nobody's frames come, and the group waits for them; or when it waits so long that it comes too late.
#[test]
fn a3_a_group_does_not_wait_for_long() {
    for (lead, latest) in [(200, 80), (100, 70), (60, 60)] {
        let mut scene = answering(CallConfig { group_frames: 3, lead: ms(lead), ..config() });
        scene.when(1.0, audio(R1, A1, 5_000));
        scene.until(2.5);
        let frames = scene.frames();
        let gaps: Vec<u64> = frames.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert_eq!(gaps.iter().max(), Some(&latest), "{lead}: {frames:?}");
    }
}

/// Breaks when a tail of less than a frame waits for more although its item ended.
#[test]
fn a4_the_queue_drains_with_its_tail_padded() {
    let mut scene = answering(config());
    scene.when(1.0, audio_bytes(R1, A1, 170));
    scene.expect(["keep", "plays 20ms"]);
    scene.when(1.1, audio_done(R1, A1));
    scene.expect(["plays 20ms"]);
    assert!(scene.log.iter().any(|(_, output)| output.to_string() == "audio 160+10 pad 150"));
}

/// Breaks when the padding counts as audio of the item.
#[test]
fn a4_padding_counts_in_no_length() {
    let mut scene = answering(CallConfig { hold: false, ..config() });
    scene.when(1.0, audio_bytes(R1, A1, 1_700));
    scene.when(1.0, audio_done(R1, A1));
    scene.when(1.0, item_added(R1, A2));
    scene.when(1.0, audio(R1, A2, 400));
    // 212.5 ms of the first item and 7.5 ms of padding; 80 ms of the second were heard.
    scene.when(1.3, speech_started(I2));
    scene.expect(["keep", "plays 200ms", "keep", "plays 300ms", "clear", "cancel r1 q3", "truncate i102 80ms"]);
}

/// Breaks when `sent_frame` starts the recording itself, or asks once a frame.
#[test]
fn a5_c2_what_the_first_frame_sets_off_is_a_command() {
    let mut scene = answering(CallConfig { carrier_recording: true, ..config() });
    scene.expect([]);
    scene.when(1.0, audio_bytes(R1, A1, 100));
    // Accepted, not sent: not enough for a frame.
    scene.expect(["keep"]);
    scene.when(1.1, audio(R1, A1, 1_000));
    assert_eq!(scene.times_of("do c2 start recording"), [1.1]);
    scene.until(5.0);
    assert_eq!(scene.times_of("audio").len(), 50);
    assert_eq!(scene.times_of("do").len(), 2, "the model's connection, and the recording");
}

/// Breaks when `Recording::Asked` is set only once it started.
#[test]
fn c1_a_recording_is_asked_for_once() {
    let mut scene = answering(CallConfig { carrier_recording: true, ..config() });
    scene.when(1.0, audio(R1, A1, 100));
    scene.when(1.1, call::Input::Done(C2, call::Outcome::RecordingFailed));
    scene.when(1.2, audio(R1, A1, 100));
    scene.when(1.3, done(R1));
    scene.when(2.0, committed(I2));
    scene.model_says(2.0, Q3, R2, A2, 100);
    scene.until(3.0);
    assert_eq!(scene.times_of("do c2 start recording").len(), 1);
    assert_eq!(scene.times_of("do").len(), 2);
}

/// Breaks when `FRAME_BYTES` is 320, or frames are cut as deltas come.
#[test]
fn a6_frames_are_160_bytes_whatever_the_sizes_of_the_deltas() {
    let mut scene = answering(config());
    for bytes in [1, 159, 161, 319, 7, 993, 1_600, 160] {
        scene.when(1.0, audio_bytes(R1, A1, bytes));
    }
    scene.when(1.0, done(R1));
    scene.until(3.0);
    let frames: Vec<String> =
        scene.log.iter().map(|(_, output)| output.to_string()).filter(|line| line.starts_with("audio")).collect();
    assert_eq!(frames.len(), 22);
    for (n, frame) in frames[..21].iter().enumerate() {
        assert_eq!(*frame, format!("audio {}+160", n * 160));
    }
    assert_eq!(frames[21], "audio 3360+40 pad 120");
}

/// Breaks when marks follow frames only at the end of an item.
#[test]
fn a7_marks_follow_the_first_frame_every_100_ms_and_each_end() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 250));
    scene.when(1.0, audio_done(R1, A1));
    scene.when(1.0, done(R1));
    scene.until(3.0);
    let mut played = 0;
    let mut marked = Vec::new();
    for (_, output) in &scene.log {
        match output.to_string().split_once(' ') {
            Some(("audio", _)) => played += 20,
            Some(("mark", _)) => marked.push(played),
            _ => {}
        }
    }
    assert_eq!(marked, [20, 120, 220, 260]);
}

/// Breaks when the end of an item that is known only after its last frame is never marked.
#[test]
fn a7_an_item_that_ends_after_its_last_frame_was_sent_is_marked_then() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 60));
    let before = scene.marks().len();
    scene.when(1.1, audio_done(R1, A1));
    assert_eq!(scene.marks().len(), before + 1);
}

/// Breaks when a mark's name carries no epoch, or `clear` does not raise it.
#[test]
fn a7_each_clear_raises_the_epoch_of_the_marks() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 1_000));
    scene.when(1.1, speech_started(I2));
    scene.when(1.2, spoke_for(I2, 50));
    scene.when(1.2, caller_said(I2, ""));
    let epochs: Vec<u32> = scene.marks().iter().map(|mark| mark.epoch).collect();
    assert!(epochs.contains(&0) && epochs.contains(&1), "{epochs:?}");
}

/// How much of the answer was heard, if the caller interrupts at this time.
fn heard_at(scene: &Scene, at: f64) -> String {
    let mut scene = scene.clone();
    scene.when(at, speech_started(I3));
    let came = scene.came();
    came.into_iter().find(|line| line.starts_with("truncate") || line.starts_with("delete")).unwrap_or_default()
}

fn without_hold() -> CallConfig {
    CallConfig { hold: false, ..config() }
}

/// Breaks when `heard` counts whole frames only, or all that was sent.
#[test]
fn a7_heard_runs_with_the_clock_within_a_frame() {
    let mut scene = answering(without_hold());
    scene.when(1.0, audio(R1, A1, 1_000));
    assert_eq!(heard_at(&scene, 1.0), "delete i101");
    assert_eq!(heard_at(&scene, 1.0005), "delete i101");
    assert_eq!(heard_at(&scene, 1.001), "truncate i101 1ms");
    assert_eq!(heard_at(&scene, 1.333), "truncate i101 333ms");
}

/// Breaks when a mark that is late moves nothing.
#[test]
fn a7_a_late_mark_puts_the_clock_back() {
    let mut scene = answering(without_hold());
    scene.when(1.0, audio(R1, A1, 1_000));
    let first = scene.marks()[0];
    // The first 20 ms were played only now.
    scene.when(1.1, mark_returned(first));
    assert_eq!(heard_at(&scene, 1.15), "truncate i101 70ms");
}

/// Breaks when an early mark is not believed.
#[test]
fn a7_an_early_mark_puts_the_clock_forward() {
    let mut scene = answering(without_hold());
    scene.when(1.0, audio(R1, A1, 1_000));
    let second = scene.marks()[1];
    // 120 ms were played already, it says.
    scene.when(1.05, mark_returned(second));
    assert_eq!(heard_at(&scene, 1.06), "truncate i101 130ms");
}

/// Breaks when heard is capped by what was accepted instead of what was sent.
#[test]
fn a7_heard_is_never_above_what_was_sent() {
    let mut scene = answering(without_hold());
    scene.when(1.0, audio(R1, A1, 1_000));
    // Nobody woke us for a second: only 200 ms can have been heard.
    scene.now = CallTime::from_millis(2_000);
    scene.give(speech_started(I2));
    assert!(scene.came().contains(&"truncate i101 200ms".to_owned()));
}

/// Breaks when marks of an older epoch count.
#[test]
fn a7_marks_flushed_by_a_clear_say_nothing_about_what_was_heard() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 1_000));
    let flushed = scene.marks();
    scene.when(1.05, speech_started(I2));
    for mark in flushed {
        scene.when(1.06, mark_returned(mark));
    }
    scene.when(1.07, spoke_for(I2, 400));
    scene.when(1.07, caller_said(I2, "stop it"));
    assert!(scene.came().contains(&"truncate i101 50ms".to_owned()));
}

/// Breaks when an unknown mark, or one told twice, moves anything.
#[test]
fn a7_unknown_marks_and_marks_told_twice_change_nothing() {
    let mut scene = answering(without_hold());
    scene.when(1.0, audio(R1, A1, 1_000));
    let first = scene.marks()[0];
    scene.when(1.02, mark_returned(first));
    let before = scene.call.clone();
    for mark in [first, MarkId { epoch: 0, seq: 99 }, MarkId { epoch: 7, seq: 2 }] {
        scene.when(1.02, mark_returned(mark));
    }
    assert!(scene.call == before);
    assert_eq!(heard_at(&scene, 1.1), "truncate i101 100ms");
}

/// RACES: a mark of the previous response returned after the next one started.
/// Breaks when a mark confirms the newest frame instead of its own.
#[test]
fn a7_a_mark_of_the_previous_response_confirms_only_that_one() {
    let mut scene = answering(without_hold());
    scene.when(1.0, audio(R1, A1, 100));
    scene.when(1.0, audio_done(R1, A1));
    scene.when(1.0, done(R1));
    let of_first = *scene.marks().last().unwrap();
    scene.when(1.0, committed(I2));
    scene.when(1.0, created(R2, Q3));
    scene.when(1.0, item_added(R2, A2));
    scene.when(1.0, audio(R2, A2, 1_000));
    scene.when(1.2, mark_returned(of_first));
    assert_eq!(heard_at(&scene, 1.25), "truncate i102 50ms");
}

/// Breaks when `mark_grace` is never applied.
#[test]
fn a8_marks_that_never_return_stall_nothing() {
    let mut scene = answering(config());
    scene.when(1.0, audio(R1, A1, 1_000));
    scene.when(1.0, done(R1));
    scene.when(1.0, transcript(R1, A1, "goodbye"));
    scene.until(30.0);
    // A second of audio, and two of grace.
    assert_eq!(scene.times_of("do c2 hang up"), [4.0]);
    assert_eq!(scene.frames().last().unwrap().0, 1_800);
}
