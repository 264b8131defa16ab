//! Calls that this very build has to get right before it is let near a telephone (O6): sequences of events through the
//! real core and bridge, in virtual time, between the simulated carrier and the simulated model.
//!
//! A scenario is data: who says what, how the peers behave, and what has to come of it. The general judgement is
//! [`sim::verdict`], which knows the rules and looks at what was played and sent; what a scenario expects besides is a
//! question to the call itself. No source text and no log is searched.

use std::time::Duration;

use call::config::{CallConfig, Direction};
use call::output::{DropReason, Via};
use call::{END_CALL, EndReason, Note};
use sim::carrier::stream::StreamOptions;
use sim::model::{Behaviour, GeneratedItem, ReplyEnd, TranscriptOrder, TranscriptionTiming, Voice};
use sim::seed::{CallerAct, Plan, PlannedReply};
use sim::world::{Faults, World};

/// From the last sample of a goodbye to hanging up.
const HANG_UP_MAX: Duration = Duration::from_secs(1);

/// A call, and what has to come of it.
#[derive(Clone)]
pub struct Scenario {
    /// The rules that it is about.
    pub rules: &'static str,
    pub what: String,
    pub plan: Plan,
    pub expect: fn(&World) -> Result<(), String>,
}

impl Scenario {
    /// Has the call happen.
    ///
    /// # Errors
    /// What went wrong, with the rule that was broken if it was one of all calls.
    pub fn run(&self) -> Result<(), String> {
        let (world, verdict) = self.plan.happen();
        let in_words = |broken: sim::verdict::Violation| format!("{} at {:?}: {}", broken.rule, broken.at, broken.what);
        verdict.map_err(in_words)?;
        (self.expect)(&world)
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn speak(meaning: &'static str, millis: u64) -> CallerAct {
    CallerAct::Speak { meaning: Some(meaning), length: ms(millis) }
}

fn says(words: &'static str, millis: u64) -> PlannedReply {
    PlannedReply { says: vec![(words, ms(millis))], calls: Vec::new(), end: ReplyEnd::Completed }
}

const GOODBYE: &str = "Thank you for calling, goodbye!";
const QUIET: CallerAct = CallerAct::AwaitAgentQuiet(ms(300));
/// The caller listens to the end, whatever comes.
const LISTEN: CallerAct = CallerAct::AwaitAgentQuiet(ms(20_000));

/// A greeting, a question, these replies.
fn plan(replies: Vec<PlannedReply>, caller: Vec<CallerAct>) -> Plan {
    let greeting = Some("Hello, this is the bicycle shop.".to_owned());
    Plan {
        seed: 6,
        direction: Direction::Inbound,
        config: CallConfig { greeting, ..CallConfig::default() },
        caller: [vec![QUIET, speak("When are you open?", 900)], caller].concat(),
        replies,
        // Bytes of noise can be told from each other wherever they are played.
        behaviour: Behaviour { voice: Voice::Noise, ..Behaviour::default() },
        later: Vec::new(),
        filler_bytes: 0,
        apology_bytes: 0,
        append_frames: 1,
        stream: StreamOptions::default(),
        faults: Faults::default(),
        answer_delay: ms(300),
        carrier_delay: ms(20),
        model_delay: ms(30),
        command_delay: ms(80),
    }
}

/// What every build has to get right.
pub fn of_this_build() -> Vec<Scenario> {
    let leave = || says(GOODBYE, 1_800);
    let answer = || says("We are open from nine to six on weekdays, and from ten to four on Saturdays.", 6_000);
    let scenario = |rules, what: &str, plan, expect| Scenario { rules, what: what.to_owned(), plan, expect };

    let mut words_first = plan(vec![leave()], vec![LISTEN]);
    words_first.behaviour.transcript = TranscriptOrder::BeforeAudio;
    let mut words_last = plan(vec![leave()], vec![LISTEN]);
    words_last.behaviour.transcript = TranscriptOrder::AfterResponse;
    let changed_mind = plan(
        vec![leave(), answer(), leave()],
        vec![
            CallerAct::AwaitAgentSpeech(ms(600)),
            speak("No, wait, that is not what I meant.", 1_900),
            QUIET,
            speak("Can I bring it in tomorrow?", 1_200),
            LISTEN,
        ],
    );
    let mut all_at_once = plan(vec![says(GOODBYE, 6_000)], vec![LISTEN]);
    all_at_once.behaviour.speed = 50.0;
    let interrupting =
        vec![CallerAct::AwaitAgentSpeech(ms(1_500)), speak("Could you say that again please?", 1_900), LISTEN];
    let barge_in = plan(vec![answer(), leave()], interrupting.clone());
    let cough = vec![CallerAct::AwaitAgentSpeech(ms(1_500)), speak("", 200), LISTEN];
    let mut coughed = plan(vec![answer(), leave()], cough);
    coughed.caller.extend([QUIET, speak("What about Sunday?", 900), LISTEN]);
    // Slow to speak, so that it still generates when it is interrupted; and it goes on after that was said.
    let mut late_deltas = plan(vec![answer(), leave()], interrupting);
    late_deltas.behaviour = Behaviour {
        speed: 1.5,
        stragglers: 5,
        cancel_latency: ms(400),
        delta_bytes: vec![1_333],
        ..late_deltas.behaviour
    };
    let mut no_marks = plan(vec![leave()], vec![LISTEN]);
    no_marks.stream.marks_never = true;

    vec![
        scenario("H5", "goodbye A: its words first, then its sound", words_first, |world| {
            goodbye(world, Some(Via::AudioDone))
        }),
        scenario("H6", "goodbye B: its sound first, then its words", words_last, |world| {
            goodbye(world, Some(Via::TranscriptDone))
        }),
        scenario("H7", "goodbye C: the caller speaks into it, and the call goes on", changed_mind, |world| {
            noted(world, "the goodbye was not withdrawn", |note| matches!(note, Note::GoodbyeWithdrawn))?;
            goodbye(world, None)?;
            // The greeting, the first goodbye, the answer, the second goodbye.
            heard(world, &[true, false, true, true])
        }),
        scenario("H8", "goodbye D: all generated long before it was heard", all_at_once, |world| goodbye(world, None)),
        scenario("A8", "goodbye to a carrier that returns no marks", no_marks, |world| {
            noted(world, "no goodbye was done", |note| matches!(note, Note::GoodbyeDone { .. }))?;
            heard(world, &[true, true])
        }),
        scenario("B1", "barge-in: what was not heard is taken back", barge_in, |world| {
            interrupted(world)?;
            goodbye(world, None)
        }),
        scenario("B4", "a cough: the agent goes on where it stopped", coughed, |world| {
            noted(world, "the agent did not go on", |note| matches!(note, Note::Resumed { .. }))?;
            if world.summary().interruptions.meant > 0 {
                return Err("a cough was taken for an interruption".to_owned());
            }
            goodbye(world, None)
        }),
        scenario("B2, R6", "late deltas of a response that was interrupted", late_deltas, |world| {
            let stale = |note: &Note| matches!(note, Note::Dropped { reason: DropReason::StaleResponse, .. });
            noted(world, "no late delta was dropped", stale)?;
            interrupted(world)?;
            goodbye(world, None)
        }),
    ]
}

/// A plain call with the settings of an agent: question, answer, goodbye.
pub fn of_agent(name: &str, config: CallConfig) -> Scenario {
    // Hung up by the tool, since nobody here knows how the agent says goodbye.
    let leave = PlannedReply { says: vec![(GOODBYE, ms(1_800))], calls: vec![END_CALL], end: ReplyEnd::Completed };
    let mut plan = plan(vec![says("We are open from nine to six.", 2_000), leave], vec![QUIET]);
    plan.caller.extend([speak("Can I bring it in tomorrow?", 1_200), LISTEN]);
    if config.greeting.is_none() {
        plan.caller[0] = CallerAct::Pause(ms(500));
    }
    plan.config = config;
    plan.behaviour.transcription = TranscriptionTiming::After(ms(200));
    // How it ends is the agent's business, a short `call_max_ms` for one; that all rules are kept is not.
    Scenario { rules: "all", what: format!("a call with the settings of {name}"), plan, expect: |_| Ok(()) }
}

fn noted(world: &World, otherwise: &str, wanted: impl Fn(&Note) -> bool) -> Result<(), String> {
    let there = world.notes.iter().any(|(_, note)| wanted(note));
    if there { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// The call ended by a goodbye that was heard to its last sample, and soon after that.
fn goodbye(world: &World, by: Option<Via>) -> Result<(), String> {
    match world.ended {
        Some((_, EndReason::Goodbye)) => {}
        Some((_, other)) => return Err(format!("the call ended as {other:?}")),
        None => return Err("the call did not end".to_owned()),
    }
    let done = world.notes.iter().find_map(|(at, note)| match note {
        Note::GoodbyeDone { via } => Some((*at, *via)),
        _ => None,
    });
    let Some((at, via)) = done else { return Err("no goodbye was done".to_owned()) };
    if by.is_some_and(|by| by != via) {
        return Err(format!("the goodbye was done via {via:?}"));
    }
    if !generated(world).last().is_some_and(|item| is_heard(world, item)) {
        return Err("the goodbye was not heard to its end".to_owned());
    }
    let silent = world.carrier.report().audible.last().map_or(Duration::ZERO, |span| span.end);
    if at < silent {
        return Err(format!("hung up at {at:?}, heard to {silent:?}"));
    }
    if at > silent + HANG_UP_MAX {
        return Err(format!("heard to {silent:?}, and hung up only at {at:?}"));
    }
    Ok(())
}

/// What the model said, in order.
fn generated(world: &World) -> &[GeneratedItem] {
    world.sessions.first().map_or(&[], |session| &session.model.record().generated)
}

/// Whether all of an item was played, without a break.
fn is_heard(world: &World, item: &GeneratedItem) -> bool {
    let played = &world.carrier.report().played;
    !item.audio.is_empty() && played.windows(item.audio.len()).any(|window| window == item.audio)
}

/// Which of the items were heard to their end.
fn heard(world: &World, whole: &[bool]) -> Result<(), String> {
    let found: Vec<bool> = generated(world).iter().map(|item| is_heard(world, item)).collect();
    if found == whole { Ok(()) } else { Err(format!("heard to their ends: {found:?}, expected {whole:?}")) }
}

/// Something was interrupted, and the model knows how much of it was heard.
fn interrupted(world: &World) -> Result<(), String> {
    noted(world, "nothing was interrupted", |note| matches!(note, Note::Interrupted { .. }))?;
    let told = generated(world).iter().any(|item| item.truncated_to_ms.is_some());
    if told { Ok(()) } else { Err("the model was not told how much was heard".to_owned()) }
}
