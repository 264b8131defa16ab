//! Whole calls in virtual time: what the simulated carrier played, byte by byte, against what the simulated model gave.

use std::sync::Arc;
use std::time::Duration;

use call::config::{CallConfig, Direction};
use call::trace::{Event, Trace, Words};
use call::wire::openai::SessionSettings;
use call::{EndReason, Note};
use sim::carrier::stream::{CallerStep, FakeStream, StreamFacts, StreamOptions};
use sim::joined::record;
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Reply, ReplyItem, Script, TranscriptOrder};
use sim::oracle;
use sim::world::{Faults, RecordedAgent, Setup, ToolFault, World, no_clips};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Before the stream begins.
const ANSWER: Duration = ms(300);

fn say(text: &str) -> CallerStep {
    CallerStep::Say(hum(text).into())
}

struct Scene {
    caller: Vec<CallerStep>,
    script: Script,
    behaviour: Behaviour,
    options: StreamOptions,
    config: CallConfig,
    delay: Duration,
    faults: Faults,
}

impl Scene {
    fn new(script: Script, caller: Vec<CallerStep>) -> Self {
        let config = CallConfig { greeting: Some("Hello, this is the bicycle shop.".into()), ..CallConfig::default() };
        let (behaviour, options) = (Behaviour::default(), StreamOptions::default());
        Scene { caller, script, behaviour, options, config, delay: ms(1), faults: Faults::default() }
    }

    fn run(self) -> World {
        let facts = StreamFacts {
            account_sid: "AC1".into(),
            call_sid: "CA1".into(),
            stream_sid: "MZ1".into(),
            custom_parameters: Vec::new(),
        };
        let mut world = World::new(Setup {
            append_frames: 1,
            config: self.config,
            direction: Direction::Inbound,
            settings: SessionSettings::default(),
            carrier: FakeStream::new(facts, self.caller, self.options, ANSWER),
            sessions: vec![FakeModel::new("m", self.script, self.behaviour)],
            clips: no_clips(),
            carrier_delay: self.delay,
            model_delay: self.delay,
            answer_delay: ANSWER,
            command_delay: ms(5),
            tool_output: r#"{"ok":true}"#.into(),
            recorded: true,
            faults: self.faults,
        });
        assert!(world.run(ms(180_000)), "the call did not end; notes: {:#?}", world.notes);
        world
    }
}

/// A greeting, a question, a long answer that is interrupted, a tool, a goodbye.
fn everything() -> Scene {
    let answer = "We are open from nine to six on weekdays, and from ten to four on Saturdays, and on Sundays we ride.";
    let script = Script {
        replies: vec![
            Reply::says(answer),
            Reply::calls("book", r#"{"day":"monday"}"#),
            Reply::says("Monday at ten is yours. Thank you for calling, goodbye!"),
        ],
        caller_says: vec![Some("When are you open?".into()), Some("Book me in on Monday.".into())],
    };
    Scene::new(
        script,
        vec![
            CallerStep::AwaitAgentQuiet(ms(300)),
            say("When are you open?"),
            CallerStep::AwaitAgentSpeech { for_at_least: ms(2_345) },
            say("Well, then please book me in on Monday, will you?"),
            CallerStep::AwaitAgentQuiet(ms(20_000)),
        ],
    )
}

fn ended(world: &World) -> (Duration, EndReason) {
    world.ended.expect("it ended")
}

#[test]
fn a_whole_call_is_heard_as_it_was_meant() {
    let world = everything().run();
    let (report, record) = (world.carrier.report(), &record(&world));
    let heard = oracle::judge(report, record, 20).unwrap();
    assert_eq!(ended(&world).1, EndReason::Goodbye, "{:#?}", world.notes);
    // Greeting, the interrupted answer, the goodbye.
    assert_eq!(heard.len(), 3, "{heard:?}");
    let lengths: Vec<_> = record.generated.iter().map(|item| item.audio.len()).collect();
    assert_eq!((heard[0].bytes, heard[2].bytes), (lengths[0], lengths[2]));
    assert!(heard[1].bytes < lengths[1] && record.generated[1].truncated_to_ms.is_some());
    // After its last sample was heard the call is over within a second.
    let last = ANSWER + Duration::from_micros(125 * (heard[2].at + heard[2].bytes) as u64);
    let after = ended(&world).0.checked_sub(last).expect("not before it was heard");
    assert!(after < ms(1_000), "{after:?}");

    let summary = world.summary();
    assert_eq!(summary.audio_in, report.frames_sent);
    assert_eq!(summary.interruptions.meant, 1);
    assert_eq!(summary.tools.len(), 1);
    let turns: Vec<_> = summary.turns.iter().map(|turn| (turn.text.as_str(), turn.interrupted)).collect();
    assert_eq!(turns.len(), 5, "{turns:?}");
    assert_eq!(turns[0], ("Hello, this is the bicycle shop.", false));
    assert_eq!(turns[1], ("When are you open?", false));
    assert!(turns[2].1 && turns[2].0.starts_with("We are open from") && !turns[2].0.contains("ride"), "{turns:?}");
    assert_eq!(turns[4].0, "Monday at ten is yours. Thank you for calling, goodbye!");
}

#[test]
fn the_recording_has_what_was_heard() {
    let world = everything().run();
    let report = world.carrier.report();
    let mut agent = vec![0xFF; report.played.len()];
    for event in &world.recorded_agent {
        match event {
            RecordedAgent::Audio { at, audio } => {
                let from = usize::try_from(at.as_micros() / 125).unwrap();
                agent.resize(agent.len().max(from + audio.len()), 0xFF);
                agent[from..from + audio.len()].copy_from_slice(audio);
            }
            RecordedAgent::Cleared { at } => {
                let from = usize::try_from(at.as_micros() / 125).unwrap().min(agent.len());
                agent[from..].fill(0xFF);
            }
        }
    }
    let mut recorded = report.clone();
    recorded.played = agent;
    let heard = oracle::heard(report, &record(&world)).unwrap();
    let kept = oracle::heard(&recorded, &record(&world)).unwrap();
    assert_eq!(heard.len(), kept.len());
    for (heard, kept) in heard.iter().zip(&kept) {
        assert!(heard.at.abs_diff(kept.at) <= 160 && heard.bytes.abs_diff(kept.bytes) <= 160, "{heard:?} {kept:?}");
    }
    let caller: Vec<u8> = world.recorded_caller.iter().flat_map(|(_, audio)| audio.clone()).collect();
    assert_eq!(caller, report.said[..caller.len()]);
}

#[test]
fn truncation_is_where_hearing_stopped_wherever_that_is() {
    for into in (100..6_000).step_by(137) {
        let mut scene = everything();
        scene.caller[2] = CallerStep::AwaitAgentSpeech { for_at_least: ms(into) };
        let world = scene.run();
        oracle::judge(world.carrier.report(), &record(&world), 20)
            .unwrap_or_else(|what| panic!("{into} ms in: {what}"));
    }
}

#[test]
fn a_cough_does_not_interrupt() {
    let script = Script::says(["The frame is steel, the brakes are new, and the saddle has been replaced. Goodbye!"])
        .hears(["Tell me about it.", ""]);
    let world = Scene::new(
        script,
        vec![
            CallerStep::AwaitAgentQuiet(ms(300)),
            say("Tell me about it, would you."),
            CallerStep::AwaitAgentSpeech { for_at_least: ms(1_500) },
            say("hm"),
            CallerStep::AwaitAgentQuiet(ms(20_000)),
        ],
    )
    .run();
    let (report, record) = (world.carrier.report(), &record(&world));
    assert_eq!(ended(&world).1, EndReason::Goodbye);
    let summary = world.summary();
    assert_eq!((summary.interruptions.meant, summary.interruptions.false_alarm), (0, 1), "{:#?}", world.notes);
    // The rest was played from where hearing stopped: both parts together are the whole.
    let audio: &Arc<[u8]> =
        &ReplyItem::says("The frame is steel, the brakes are new, and the saddle has been replaced. Goodbye!").audio;
    let played: usize =
        report.audible.iter().skip(1).map(|span| (span.end - span.start).as_millis() as usize * 8).sum();
    assert!(played.abs_diff(audio.len()) <= 480, "{played} {}", audio.len());
    assert!(record.generated.iter().all(|item| item.truncated_to_ms.is_none() && !item.deleted));
}

#[test]
fn a_misbehaving_model_is_heard_right_all_the_same() {
    let odd: Vec<(&str, Behaviour)> = vec![
        ("odd deltas", Behaviour { delta_bytes: vec![1, 333, 7, 4_000, 159, 161], ..Behaviour::default() }),
        ("stragglers", Behaviour { stragglers: 5, cancel_latency: ms(400), ..Behaviour::default() }),
        ("words first", Behaviour { transcript: TranscriptOrder::BeforeAudio, ..Behaviour::default() }),
        ("words last", Behaviour { transcript: TranscriptOrder::AfterAudio, ..Behaviour::default() }),
        ("dones at the end", Behaviour { audio_done_at_end: true, done_latency: ms(700), ..Behaviour::default() }),
        ("unknown events", Behaviour { unknown_every: Some(3), errors_without_code: true, ..Behaviour::default() }),
        ("real time", Behaviour { speed: 1.1, ..Behaviour::default() }),
    ];
    for (name, behaviour) in odd {
        let mut scene = everything();
        scene.behaviour = behaviour;
        let world = scene.run();
        oracle::judge(world.carrier.report(), &record(&world), 20).unwrap_or_else(|what| panic!("{name}: {what}"));
        assert_eq!(ended(&world).1, EndReason::Goodbye, "{name}");
    }
}

#[test]
fn a_misbehaving_carrier_is_served_all_the_same() {
    let odd: Vec<(&str, StreamOptions)> = vec![
        ("no marks", StreamOptions { marks_never: true, ..StreamOptions::default() }),
        ("lost marks", StreamOptions { marks_lost: vec![0, 3, 4, 9, 20, 21, 22], ..StreamOptions::default() }),
        ("late marks", StreamOptions { marks_delay: ms(350), ..StreamOptions::default() }),
        ("two starts", StreamOptions { duplicate_start: true, media_before_start: true, ..StreamOptions::default() }),
        ("unknown events", StreamOptions { unknown_events: true, ..StreamOptions::default() }),
        (
            "jitter",
            StreamOptions { frame_jitter: vec![ms(0), ms(35), ms(7), ms(60), ms(1)], ..StreamOptions::default() },
        ),
    ];
    for (name, options) in odd {
        let mut scene = everything();
        scene.options = options;
        // Where marks come late, hearing is known as late.
        let world = scene.run();
        oracle::judge(world.carrier.report(), &record(&world), 380).unwrap_or_else(|what| panic!("{name}: {what}"));
        assert_eq!(ended(&world).1, EndReason::Goodbye, "{name}");
    }
}

#[test]
fn a_caller_who_hangs_up_ends_the_call() {
    for (close_without_stop, stop_without_close) in [(false, false), (true, false), (false, true)] {
        let mut scene = everything();
        scene.options = StreamOptions { close_without_stop, stop_without_close, ..StreamOptions::default() };
        scene.caller.truncate(3);
        scene.caller.push(CallerStep::HangUp);
        let world = scene.run();
        let expected = if stop_without_close { EndReason::StreamLost } else { EndReason::CallerHungUp };
        assert_eq!(ended(&world).1, expected, "{close_without_stop} {stop_without_close}");
        assert!(!world.notes.iter().any(|(_, note)| matches!(note, Note::HangingUp { .. })));
    }
}

#[test]
fn the_same_world_twice_is_the_same_call_and_its_trace_replays() {
    let (one, two) = (everything().run(), everything().run());
    assert_eq!(one.trace, two.trace);
    let trace = Trace::read(&one.trace).unwrap();
    assert_eq!(trace.replay(), one.trace);
}

#[test]
fn n11_a_masked_trace_gives_the_same_decisions_and_none_of_the_words() {
    let full = Trace::read(&everything().run().trace).unwrap();
    let masked = full.replay_in(Words::Masked);
    for word in ["open", "bicycle", "Monday", "monday", "weekdays"] {
        assert!(!masked.contains(word), "{word} is in the masked trace");
    }
    assert!(masked.contains("goodbye"), "decisions need it");
    let replayed = Trace::read(&masked).unwrap();
    assert_eq!(replayed.replay(), masked);
    let outputs = |trace: &Trace| -> Vec<String> {
        trace
            .events
            .iter()
            .filter_map(|(now, event)| match event {
                Event::Output(words) => Some(format!("{now} {words}")),
                Event::Input(_) => None,
            })
            .collect()
    };
    assert_eq!(outputs(&replayed), outputs(&full));
}

/// What tools and operators say is nobody else's business either. Breaks when only the callers' and agents' words are masked.
#[test]
fn n11_a_masked_trace_has_no_words_of_tools_and_operators() {
    let mut scene = everything();
    scene.faults.operator = vec![
        (ms(2_000), call::OperatorInput::Say { text: "Secretly rhubarb.".into(), force: false }),
        (ms(3_000), call::OperatorInput::Press("8642".into())),
    ];
    scene.faults.tools = vec![ToolFault::Fails(ms(100)); 8];
    let full = scene.run().trace;
    assert!(full.contains("rhubarb") && full.contains("8642") && full.contains("tool_failed"), "{full}");
    let masked = Trace::read(&full).unwrap().replay_in(Words::Masked);
    for word in ["rhubarb", "8642"] {
        assert!(!masked.contains(word), "{word} is in the masked trace");
    }
    assert_eq!(Trace::read(&masked).unwrap().replay(), masked);
}
