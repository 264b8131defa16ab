//! Ears in a whole call, in virtual time: the real bridge between the simulated carrier and the simulated model, with
//! the real detector beside it, given what a driver gives it. How much earlier is the agent held than by the model's
//! report, and what interrupts it (B4, B7, O3)?

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use call::config::{CallConfig, Direction};
use call::output::DropReason;
use call::wire::openai::SessionSettings;
use call::{EarInput, Note};
use common::sounds::{RECORDINGS, begins, disturbances, over, recorded, shifted, telephone};
use sim::carrier::stream::{CallerStep, Echo, FakeStream, StreamFacts, StreamOptions};
use sim::ears::Listen;
use sim::joined::record;
use sim::model::{Behaviour, FakeModel, HOSTED_SPEECH_LATENCY, Reply, ReplyItem, Script};
use sim::world::{Faults, Setup, World, no_clips};
use voice::Weights;
use voice::detect::Detector;
use voice::ears::{EarSettings, Listener};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One way, to the carrier and to the model.
const WAY: Duration = ms(20);

/// From a frame to what an ear tells of it, the queue included: what `cost_of_ears` found for half as many calls at
/// once as may be, on a machine that had other work.
const LISTENING: Duration = ms(20);

/// What the simulated model takes for speech is so long.
const LOUD: Duration = ms(30);

const EAR: EarSettings = EarSettings { threshold: 0.5, echo_gate: true, music: false };

/// As a driver has it: `server/src/ears.rs` and the thread behind it, in one.
struct Ear {
    detector: Detector,
    settings: EarSettings,
    listener: Option<Listener>,
}

impl Listen for Ear {
    fn stream_began(&mut self) {
        self.listener = None;
    }

    fn caller(&mut self, at: Duration, audio: &[u8]) -> Vec<EarInput> {
        let mut told = Vec::new();
        let listener = self.listener.get_or_insert_with(|| {
            told.push(EarInput::Listening);
            Listener::new(self.settings)
        });
        told.extend(listener.caller(&mut self.detector, at, audio).unwrap());
        told
    }

    fn agent(&mut self, at: Duration, audio: &[u8]) {
        if let Some(listener) = &mut self.listener {
            listener.agent(at, audio);
        }
    }

    fn cleared(&mut self, at: Duration) {
        if let Some(listener) = &mut self.listener {
            listener.cleared(at);
        }
    }
}

/// What the agent says: 13 s, in the callers' own voice and with their own words, so that only the moment tells them
/// apart.
fn agent() -> Arc<[u8]> {
    let sentences = RECORDINGS.iter().rev().flat_map(|name| recorded(name));
    telephone(&sentences.collect::<Vec<f32>>().repeat(2)).into()
}

/// A call: the caller asks something, the agent speaks for a while, and when it has been heard for a while the line
/// carries this.
struct Scene<'a> {
    weights: &'a Weights,
    line: Vec<f32>,
    after: Duration,
    ears: Option<EarSettings>,
    audio_guard: bool,
    speech_latency: Duration,
    echoes: Vec<Echo>,
}

impl<'a> Scene<'a> {
    fn new(weights: &'a Weights, line: Vec<f32>) -> Self {
        Scene {
            weights,
            line,
            after: ms(1_000),
            ears: Some(EAR),
            audio_guard: false,
            speech_latency: Duration::ZERO,
            echoes: Vec::new(),
        }
    }

    fn happens(self) -> Happened {
        let agent = agent();
        let item = ReplyItem { transcript: "This takes a while.".into(), audio: agent.clone() };
        let script = Script { replies: vec![Reply { items: vec![item], ..Reply::default() }], ..Script::default() };
        let script = script.hears(["Tell me all about it.", "No, something else."]);
        let facts = StreamFacts {
            account_sid: "AC1".into(),
            call_sid: "CA1".into(),
            stream_sid: "MZ1".into(),
            custom_parameters: Vec::new(),
        };
        let caller = vec![
            CallerStep::Pause(ms(500)),
            CallerStep::Say(telephone(&recorded(RECORDINGS[0])).into()),
            CallerStep::AwaitAgentSpeech { for_at_least: self.after },
            CallerStep::Say(telephone(&self.line).into()),
            // Until what may come of it has come.
            CallerStep::Pause(ms(3_000)),
            CallerStep::AwaitAgentQuiet(ms(500)),
            CallerStep::HangUp,
        ];
        let options = StreamOptions { echoes: self.echoes, ..StreamOptions::default() };
        let behaviour = Behaviour { speech_latency: self.speech_latency, ..Behaviour::default() };
        let answered = ms(300);
        let mut world = World::new(Setup {
            append_frames: 1,
            config: CallConfig { audio_guard: self.audio_guard, ..CallConfig::default() },
            direction: Direction::Inbound,
            settings: SessionSettings::default(),
            carrier: FakeStream::new(facts, caller, options, answered),
            sessions: vec![FakeModel::new("m", script, behaviour)],
            clips: no_clips(),
            carrier_delay: WAY,
            model_delay: WAY,
            answer_delay: answered,
            command_delay: ms(5),
            tool_output: String::new(),
            recorded: true,
            faults: Faults::default(),
        });
        if let Some(settings) = self.ears {
            let ear = Ear { detector: self.weights.detector().unwrap(), settings, listener: None };
            world.listen(Box::new(ear), LISTENING);
        }
        assert!(world.run(ms(60_000)), "the call did not end: {:#?}", world.notes);
        Happened { world, agent }
    }
}

struct Happened {
    world: World,
    agent: Arc<[u8]>,
}

impl Happened {
    fn first(&self, is_it: impl Fn(&Note) -> bool) -> Option<Duration> {
        self.world.notes.iter().find(|(_, note)| is_it(note)).map(|(at, _)| *at)
    }

    /// When the first sample of the scene's line was spoken: it is sent from the first whole frame on.
    fn line_began(&self) -> Duration {
        let report = self.world.carrier.report();
        let since = report.steps[3].began_at - report.started_at;
        report.started_at + ms(20) * u32::try_from(since.as_millis().div_ceil(20)).unwrap()
    }

    fn held(&self) -> Option<Duration> {
        self.first(|note| *note == Note::Held)
    }

    fn ears_heard(&self) -> bool {
        self.first(|note| *note == Note::EarsHeard).is_some()
    }

    /// Frames of the caller that the guard kept from the model.
    fn withheld(&self) -> u64 {
        self.world.summary().dropped.get(&DropReason::NoSpeech).copied().unwrap_or(0)
    }

    /// For good: the agent does not take up again what it was saying.
    fn interrupted(&self) -> bool {
        record(&self.world).generated[0].truncated_to_ms.is_some()
    }

    /// All of what the agent said was heard, without a gap, and the model was told nothing else.
    fn undisturbed(&self) -> bool {
        let report = self.world.carrier.report();
        let whole = report.played.windows(self.agent.len()).any(|heard| *heard == *self.agent);
        whole && report.clears.is_empty() && self.held().is_none() && !self.interrupted()
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> u128 {
    sorted[(sorted.len() - 1) * percent / 100].as_millis()
}

/// Each recording, at several places of what the agent says. None of them is what the agent said up to half a second
/// before: that is an echo, whoever says it.
fn speech() -> Vec<(&'static str, Vec<f32>, Duration)> {
    let places = [900, 1_711, 2_600, 3_600];
    let all = RECORDINGS.iter().flat_map(|name| places.map(|after| (*name, recorded(name), ms(after))));
    all.collect()
}

/// The same calls, with ears of our own and without. What a hosted model's report takes is known within bounds only
/// (`HOSTED_SPEECH_LATENCY`), so the difference is asserted at both, and the 150 ms of issue 6 in their middle. Breaks
/// when ears hold later than they did, or not at all. Prints the distributions.
#[test]
fn b4_ears_hold_before_the_models_report() {
    let Some(weights) = common::weights("b4_ears_hold_before_the_models_report") else { return };
    let held = |ears: Option<EarSettings>, speech_latency: Duration| -> Vec<Duration> {
        let calls = speech().into_iter().map(|(name, speech, after)| {
            let onset = Duration::from_secs_f32(begins(&speech));
            let scene = Scene { after, ears, speech_latency, ..Scene::new(&weights, speech) };
            let happened = scene.happens();
            assert_eq!(happened.ears_heard(), ears.is_some(), "{name} after {after:?}");
            happened.held().unwrap() - happened.line_began() - onset
        });
        calls.collect()
    };
    let print = |name: &str, times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort();
        let [least, half, ninety, most] = [0, 50, 90, 100].map(|percent| percentile(&sorted, percent));
        println!("{name}: p50 {half} ms, p90 {ninety} ms, {least} to {most} ms");
        half
    };
    let (soonest, latest) = (*HOSTED_SPEECH_LATENCY.start(), *HOSTED_SPEECH_LATENCY.end());
    let by_ears = held(Some(EAR), latest - LOUD - 2 * WAY);
    print("held by ears, from 5 ms above −34 dBFS at the caller", &by_ears);
    print("held by the simulated model's own report", &held(None, Duration::ZERO));
    for (report, least) in [(soonest, 80), ((soonest + latest) / 2, 150), (latest, 250)] {
        let by_report = held(None, report - LOUD - 2 * WAY);
        print(&format!("held by a report that takes {} ms", report.as_millis()), &by_report);
        let earlier: Vec<Duration> = by_report.iter().zip(&by_ears).map(|(report, ears)| *report - *ears).collect();
        let median = print("  ears are earlier by", &earlier);
        assert!(median >= least, "{median} ms");
    }
}

/// The detector of the simulated model takes whatever is loud for speech; with the guard it does not get to hear it.
/// Breaks when an ear takes any of it for the caller, or the guard lets it through.
#[test]
fn o3_what_is_no_speech_interrupts_nobody() {
    let Some(weights) = common::weights("o3_what_is_no_speech_interrupts_nobody") else { return };
    let (mut disturbed, mut all) = (0, 0);
    for (name, sound) in disturbances() {
        for gain in [0.3, 1.0] {
            let line = shifted(&sound, 0, gain, sound.len());
            let unguarded = Scene::new(&weights, line.clone()).happens();
            disturbed += usize::from(!unguarded.undisturbed());
            let guarded = Scene { audio_guard: true, ..Scene::new(&weights, line) }.happens();
            assert!(guarded.undisturbed(), "{name} × {gain}: {:#?}", guarded.world.notes);
            assert!(guarded.withheld() > 0, "{name} × {gain}");
            all += 1;
        }
    }
    println!("of {all} that are no speech none opens a hold of ours; to loudness alone, unguarded, {disturbed} do");
    assert!(disturbed > 0, "nothing is shown");
}

/// Paths of our own echo, 20 dB below what was played: as it is, and with what a room adds from its walls.
fn echoes() -> Vec<(u64, Vec<Echo>)> {
    let mut all = Vec::new();
    for way_ms in [0, 37, 120, 250, 440] {
        let direct = Echo { way: ms(way_ms), gain_permille: 100 };
        let walls = [(13, 40), (31, -25), (67, 15)].map(|(samples, gain_permille)| Echo {
            way: ms(way_ms) + Duration::from_micros(125 * samples),
            gain_permille,
        });
        all.push((way_ms, vec![direct]));
        all.push((way_ms, [&[direct][..], &walls].concat()));
    }
    all
}

/// Breaks when the gate lets an echo through, in the call's own timing: what is played is told as it is sent, ahead,
/// and taken back by a `clear`.
#[test]
fn b7_our_own_echo_interrupts_nobody() {
    let Some(weights) = common::weights("b7_our_own_echo_interrupts_nobody") else { return };
    let (mut ungated, mut all) = (0, 0);
    for (way_ms, echoes) in echoes() {
        let surfaces = echoes.len();
        let scene = || Scene { audio_guard: true, echoes: echoes.clone(), ..Scene::new(&weights, Vec::new()) };
        let without = Some(EarSettings { echo_gate: false, ..EAR });
        ungated += usize::from(Scene { ears: without, ..scene() }.happens().ears_heard());
        let gated = scene().happens();
        assert!(gated.undisturbed(), "{way_ms} ms, {surfaces}: {:#?}", gated.world.notes);
        assert!(gated.withheld() > 0, "{way_ms} ms, {surfaces}");
        all += 1;
    }
    println!(
        "of {all} echoes at −20 dB none opens a hold of ours or disturbs the agent; without the gate {ungated} do"
    );
    assert!(ungated > all / 2, "{ungated} of {all}: nothing is shown");
}

/// What stops coughs, music and echoes does not stop the caller: over each of them, guarded. Breaks when ears or the
/// guard hear less of a caller than 95 of 100 times.
#[test]
fn b4_speech_over_all_of_it_interrupts() {
    let Some(weights) = common::weights("b4_speech_over_all_of_it_interrupts") else { return };
    let mut backgrounds: Vec<(String, Vec<f32>, Vec<Echo>)> =
        disturbances().into_iter().map(|(name, sound)| (name.to_owned(), sound, Vec::new())).collect();
    backgrounds.push(("silence".into(), Vec::new(), Vec::new()));
    for (way_ms, echoes) in echoes().into_iter().filter(|(way_ms, _)| [37, 250].contains(way_ms)) {
        backgrounds.push((format!("an echo after {way_ms} ms by {} ways", echoes.len()), Vec::new(), echoes));
    }
    let (mut heard, mut interrupted, mut all) = (0, 0, 0);
    for (name, background, echoes) in &backgrounds {
        for (recording, speech, after) in speech() {
            let line = over(&speech, &shifted(background, 0, 0.3, background.len().min(speech.len())));
            let began = Duration::from_secs_f32(begins(&speech));
            let scene = Scene { after, audio_guard: true, echoes: echoes.clone(), ..Scene::new(&weights, line) };
            let happened = scene.happens();
            let onset = happened.line_began() + began;
            let by_ears =
                happened.ears_heard() && happened.held().is_some_and(|at| at >= onset && at < onset + ms(1_000));
            all += 1;
            heard += usize::from(by_ears);
            interrupted += usize::from(happened.interrupted());
            if !by_ears || !happened.interrupted() {
                println!("over {name}: {recording} after {after:?}: held by ears {by_ears}");
            }
        }
    }
    println!("of {all} who speak over something, ears hold for {heard} within a second, and {interrupted} interrupt");
    assert!(heard * 100 >= all * 95 && interrupted * 100 >= all * 95, "{heard} and {interrupted} of {all}");
}
