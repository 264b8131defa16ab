//! What a call says of itself: pipeline lines, their verdict, backlog (O1, O2, O4).

mod common;

use call::config::CallConfig;
use call::pipeline::{Line, Verdict};
use call::{CarrierInput, Input, Note, Output};
use common::*;

fn lines(scene: &Scene) -> Vec<(f64, Line)> {
    let line = |output: &Output| if let Output::Note(Note::Pipeline(line)) = output { Some(*line) } else { None };
    scene.log.iter().filter_map(|(at, output)| Some((at.as_micros() as f64 / 1e6, line(output)?))).collect()
}

/// A response to the caller that has begun at 1.1 s.
fn answering(config: CallConfig) -> Scene {
    let mut scene = Scene::with_carrier(config);
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene
}

/// Breaks when lines come only with an input.
#[test]
fn o2_a_line_every_3_s_also_when_every_peer_is_silent() {
    let mut scene = Scene::ready(config());
    scene.until(10.0);
    let at: Vec<f64> = lines(&scene).into_iter().map(|(at, _)| at).collect();
    assert_eq!(at, [3.0, 6.0, 9.0]);
    assert!(lines(&scene).iter().all(|(_, line)| line.verdict == Verdict::Fine && line.frames == 0));
}

/// Breaks when frames or audio are counted from the beginning of the call, or per line in place of per second.
#[test]
fn o2_a_line_says_what_flowed() {
    let mut scene = answering(config());
    scene.when(1.2, audio(R1, A1, 9_000));
    scene.until(3.0);
    let (_, line) = lines(&scene)[0];
    // From 1.2 s on, 200 ms ahead: 2.0 s of the first three.
    assert_eq!((line.frames, line.tx_fps, line.delta_rate), (100, 33, 3_000));
    assert_eq!((line.tx_queue, line.out_queue, line.speaking), (350, 0, true));
    scene.until(6.0);
    let (_, line) = lines(&scene)[1];
    assert_eq!((line.frames, line.tx_fps, line.delta_rate), (150, 50, 0));
}

/// Breaks when a model that keeps the caller waiting in mid-answer is not blamed.
#[test]
fn o2_a_slow_model_is_told_from_the_others() {
    let mut scene = answering(config());
    for n in 0..10 {
        scene.when(1.2 + f64::from(n) * 0.4, audio(R1, A1, 200));
    }
    scene.until(6.0);
    assert_eq!(lines(&scene)[0].1.verdict, Verdict::ModelSlow);
}

/// Breaks when waiting for the socket, or late marks, do not count.
#[test]
fn o2_a_slow_carrier_is_told_from_the_others() {
    let mut blocked = answering(config());
    blocked.when(1.2, audio(R1, A1, 9_000));
    blocked.when(2.0, Input::Carrier(CarrierInput::WriteBlocked { ms: 400 }));
    blocked.until(6.5);
    let verdicts: Vec<Verdict> = lines(&blocked).into_iter().map(|(_, line)| line.verdict).collect();
    assert_eq!(verdicts, [Verdict::CarrierSlow, Verdict::Fine]);
    assert_eq!(lines(&blocked)[0].1.ws_block_ms, 400);

    // No carrier returns these marks.
    let mut late = Scene::ready(config());
    late.when(1.0, committed(I1));
    late.when(1.1, created(R1, Q2));
    late.when(1.2, audio(R1, A1, 9_000));
    late.until(3.0);
    assert_eq!(lines(&late)[0].1.verdict, Verdict::CarrierSlow);
}

/// Breaks when our own lateness is put on somebody else.
#[test]
fn o2_a_busy_machine_is_told_from_the_others() {
    // Without marks, which would wake us too.
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.wakes_every = Some(ms(250));
    scene.when(1.2, audio(R1, A1, 9_000));
    scene.until(3.1);
    assert_eq!(lines(&scene)[0].1.verdict, Verdict::Cpu);
}

/// Breaks when a backlog is not warned about, or at every line.
#[test]
fn o1_a_backlog_is_warned_about_now_and_then_and_changes_nothing() {
    let long = CallConfig { backlog_agent: ms(10_000), ..config() };
    let mut scene = answering(long.clone());
    scene.when(1.2, audio(R1, A1, 60_000));
    let mut quiet = answering(CallConfig { backlog_agent: ms(600_000), ..long });
    quiet.when(1.2, audio(R1, A1, 60_000));
    for scene in [&mut scene, &mut quiet] {
        scene.until(58.0);
    }
    assert_eq!(scene.times_noted("Backlog { queue: Agent"), 2, "at 3 s and at 33 s");
    assert_eq!(quiet.times_noted("Backlog"), 0);
    let others = |scene: &Scene| -> Vec<String> {
        let all = scene.log.iter().filter(|(_, output)| !matches!(output, Output::Note(_)));
        all.map(|(at, output)| format!("{at} {output}")).collect()
    };
    assert_eq!(others(&scene), others(&quiet));
}

/// Breaks when nobody is told what a goodbye waits for.
#[test]
fn o4_what_a_goodbye_waits_for_is_noted() {
    let mut scene = answering(config());
    scene.when(1.2, audio(R1, A1, 1_000));
    scene.when(1.3, transcript(R1, A1, "Goodbye!"));
    scene.noted("GoodbyeWaits { waits_for: \"its audio to be complete\" }");
    scene.when(1.4, done(R1));
    scene.noted("GoodbyeWaits { waits_for: \"the queue to drain\" }");
    scene.until(2.1);
    scene.noted("GoodbyeWaits { waits_for: \"its last frame to be heard\" }");
}

/// Breaks when a goodbye that everybody has heard is said to wait for something else than it does.
#[test]
fn o4_whom_a_goodbye_waits_for_is_noted() {
    let mut scene = Scene::with_carrier(config());
    scene.when(1.0, committed(I1));
    scene.model_says(1.0, Q2, R1, A1, 500);
    scene.when(1.1, transcript(R1, A1, "Goodbye!"));
    scene.when(1.3, created_by_itself(R2));
    scene.until(2.0);
    scene.noted("GoodbyeWaits { waits_for: \"another response\" }");
    scene.when(2.2, speech_started(I2));
    scene.when(2.3, done(R2));
    scene.noted("GoodbyeWaits { waits_for: \"the caller to stop speaking\" }");
    scene.not_noted("a hold to be decided");
    scene.when(2.4, speech_stopped(I2));
    scene.noted("GoodbyeWaits { waits_for: \"a hold to be decided\" }");
}

/// Breaks when marks that came back are not taken off, or the clock's part is not counted.
#[test]
fn a7_how_much_of_a_truncation_rests_on_the_clock_is_told() {
    let interrupted = |mut scene: Scene| {
        scene.when(1.0, committed(I1));
        scene.model_says(1.0, Q2, R1, A1, 10_000);
        scene.when(2.05, speech_started(I2));
        scene.until(4.0);
        scene.call.summary().latency.truncate_error
    };
    // No mark ever came back: all that counts as heard does so by the clock.
    assert_eq!(interrupted(Scene::ready(config())), [1_050]);
    // One came back for every 100 ms that were heard.
    let by_marks = interrupted(Scene::with_carrier(config()));
    assert!(by_marks.len() == 1 && by_marks[0] <= 100, "{by_marks:?}");
}

/// Breaks when a response is not said to begin, to end, or to be cancelled; or what for.
#[test]
fn r1_the_life_of_a_response_is_noted() {
    let mut scene = Scene::ready(config());
    scene.when(1.0, committed(I1));
    scene.when(1.1, created(R1, Q2));
    scene.noted("ResponseBegan { response: r1, reason: Some(CallerTurn) }");
    scene.when(1.2, audio(R1, A1, 300));
    scene.not_noted("ResponseEnded");
    scene.when(1.3, done(R1));
    scene.noted("ResponseEnded { response: r1, cancelled: false }");
    scene.when(3.0, created_by_itself(R2));
    scene.noted("ResponseBegan { response: r2, reason: None }");
    scene.when(3.1, done_cancelled(R2));
    scene.noted("ResponseEnded { response: r2, cancelled: true }");
}

/// Breaks when what is told while the call goes on is not what is told at its end.
#[test]
fn o2_counts_so_far_are_those_of_the_summary() {
    let mut scene = answering(config());
    scene.when(1.2, audio(R1, A1, 1_000));
    scene.when(1.3, audio(R2, A2, 1_000));
    scene.until(3.0);
    let (counts, summary) = (scene.call.counts(), scene.call.summary());
    assert_eq!((counts.audio_in, counts.audio_out), (summary.audio_in, 1));
    assert_eq!((counts.frames_sent, &counts.dropped), (50, &summary.dropped));
    assert_eq!(counts.dropped.values().sum::<u64>(), 1);
    assert_eq!(scene.call.playout_lag(), ms(0));
}
