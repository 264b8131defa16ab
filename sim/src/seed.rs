//! A seed becomes a whole call: who says what and when, how both peers behave, what the links do, which commands fail.
//!
//! Swarm testing: each seed first draws which things go wrong at all, and how often, and only then the things
//! themselves. A call in which everything goes wrong at once ends early and shows little; ten thousand calls with a few
//! faults each show all pairs of them.
//!
//! [`Plan::from_seed`] is plain data. A seed that fails is made smaller by hand: print the plan, build it with
//! `Plan { faults: Faults::default(), ..Plan::from_seed(seed) }`, and see what is still needed.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use call::bridge::Clips;
use call::config::{CallConfig, Direction, Keys, ModelAbilities, OnMachine, ProtectGreeting, Turns};
use call::input::{Answerer, CallStatus};
use call::wire::openai::SessionSettings;
use call::{END_CALL, EarInput, OperatorInput};

use crate::carrier::stream::{CallerStep, FakeStream, StreamFacts, StreamOptions};
use crate::dice::Dice;
use crate::ears::EarsPlan;
use crate::model::voice::noise;
use crate::model::{
    Behaviour, FakeModel, Reply, ReplyCall, ReplyEnd, ReplyItem, Script, TranscriptOrder, TranscriptionTiming, Voice,
};
use crate::verdict::{self, Facts, Violation};
use crate::world::{ConnectFault, Faults, HangUpFault, LinkFaults, ModelBreak, Setup, ToolFault, World};

/// A call before it happens.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub direction: Direction,
    pub config: CallConfig,
    pub caller: Vec<CallerAct>,
    /// What the model says, response by response; then "Go on."
    pub replies: Vec<PlannedReply>,
    pub behaviour: Behaviour,
    /// The sessions that the model gives after the first is lost; then it is not to be reached any more.
    pub later: Vec<LaterSession>,
    /// Our own clips, in bytes; 0: none.
    pub filler_bytes: usize,
    pub apology_bytes: usize,
    /// Frames of the caller that go to the model in one message.
    pub append_frames: u32,
    pub stream: StreamOptions,
    pub faults: Faults,
    /// Between the webhook and the media stream.
    pub answer_delay: Duration,
    pub carrier_delay: Duration,
    pub model_delay: Duration,
    pub command_delay: Duration,
}

/// What the caller does next.
#[derive(Clone, PartialEq, Debug)]
pub enum CallerAct {
    /// `meaning` is what the transcription makes of it; `None`: it fails.
    Speak {
        meaning: Option<&'static str>,
        length: Duration,
    },
    Pause(Duration),
    AwaitAgentSpeech(Duration),
    AwaitAgentQuiet(Duration),
    Press(char),
    HangUp,
}

#[derive(Clone, Debug, Default)]
pub struct PlannedReply {
    /// Words and length of each spoken item.
    pub says: Vec<(&'static str, Duration)>,
    /// Names of the functions called.
    pub calls: Vec<&'static str>,
    pub end: ReplyEnd,
}

/// What a session says and how it behaves, its temperament its own.
#[derive(Clone, Debug)]
pub struct LaterSession {
    pub replies: Vec<PlannedReply>,
    pub behaviour: Behaviour,
}

/// Nothing new goes wrong after this.
pub const CALM: Duration = Duration::from_secs(20);

/// No call lasts so long, whatever goes wrong: see the liveness rules of [`verdict`].
const LONGEST: Duration = Duration::from_secs(400);

const WORDS: [&str; 6] = [
    "When are you open?",
    "Can I bring it in tomorrow?",
    "No, wait, that is not what I meant.",
    "I would like to change my appointment.",
    "What about Sunday?",
    "Could you say that again please?",
];
const BACK_CHANNEL: [&str; 4] = ["Mhm.", "Okay.", "Yeah, right.", "I see."];
const FAREWELLS: [&str; 3] = ["Bye!", "Okay thanks, bye.", "Goodbye."];
const SAYINGS: [&str; 5] = [
    "We are open from nine to six.",
    "Let me see what I can do for you.",
    "The frame is steel and the brakes are new.",
    "Your appointment is on Monday at ten.",
    "Is there anything else?",
];
const LEAVE: [&str; 3] = ["Thank you for calling, goodbye!", "Have a great day!", "You are welcome. Goodbye."];

/// What becomes of a plan.
pub struct Run {
    pub trace: String,
    pub verdict: Result<Facts, Violation>,
}

impl Plan {
    pub fn from_seed(seed: u64) -> Plan {
        let mut dice = Dice::new(seed);
        // One set of dice for each part, so that a change to one leaves the others of a seed as they were.
        let [mut caller, mut replies, mut config, mut model, mut stream, mut faults, mut rest, mut more, mut losses] =
            std::array::from_fn(|_| dice.split());
        let (mut ears, mut clock, mut others) = (dice.split(), dice.split(), dice.split());
        let mut config = draw_config(&mut config);
        draw_more(&mut more, &mut config);
        let mut faults = draw_faults(&mut faults);
        let mut caller = draw_caller(&mut caller);
        let mut behaviour = draw_behaviour(&mut model);
        let later = draw_losses(&mut losses, &mut config, &mut behaviour, &mut faults);
        draw_keys(&mut more, &config, &mut caller);
        faults.ears = draw_ears(&mut ears, &mut config);
        // What one delta brings is accepted or not, whole; a bound below that says nothing.
        let sizes = later.iter().map(|session| &session.behaviour).chain([&behaviour]);
        if sizes.flat_map(|behaviour| &behaviour.delta_bytes).any(|bytes| *bytes > 4_000) {
            config.response_audio_max = CallConfig::default().response_audio_max;
        }
        // Before it is configured, nothing makes a model speak.
        let configured = faults.slowest() + behaviour.configure_latency + Duration::from_secs(1);
        behaviour.spontaneous.iter_mut().for_each(|at| *at += configured);
        draw_leaps(&mut clock, &mut faults);
        let direction = if rest.percent(75) { Direction::Inbound } else { Direction::Outbound };
        draw_others(&mut others, direction, &mut config, &mut faults);
        permit(&mut config);
        let has_clips = config.reconnect_max.is_some() && losses.percent(60);
        Plan {
            seed,
            later,
            filler_bytes: if has_clips { losses.between(800..=20_000) as usize } else { 0 },
            apology_bytes: if has_clips { losses.between(800..=20_000) as usize } else { 0 },
            append_frames: others.pick(&[1, 1, 1, 2, 5]),
            direction,
            caller,
            replies: draw_replies(&mut replies),
            behaviour,
            stream: draw_stream(&mut stream),
            faults,
            answer_delay: rest.ms(20..=1_500),
            carrier_delay: rest.ms(0..=80),
            model_delay: rest.ms(0..=120),
            command_delay: rest.ms(1..=300),
            config,
        }
    }

    /// Has the call happen, and judges it.
    pub fn run(&self) -> Run {
        let (world, verdict) = self.happen();
        Run { trace: world.trace, verdict }
    }

    /// As [`Plan::run`], for who wants to look at the call itself too.
    pub fn happen(&self) -> (World, Result<Facts, Violation>) {
        let mut world = World::new(self.setup());
        let ran = catch_unwind(AssertUnwindSafe(|| {
            world.run(LONGEST);
            // Nothing that still arrives may bring the call back.
            world.linger(Duration::from_secs(2));
        }));
        let verdict = match ran {
            Ok(()) => verdict::judge(self, &world),
            Err(panic) => {
                let words = panic.downcast_ref::<String>().cloned();
                let what = words.or_else(|| panic.downcast_ref::<&str>().map(|&words| words.to_owned()));
                Err(Violation { rule: "panic", what: what.unwrap_or_default(), at: world.now() })
            }
        };
        (world, verdict)
    }

    fn setup(&self) -> Setup {
        let facts = StreamFacts {
            account_sid: "AC1".into(),
            call_sid: "CA1".into(),
            stream_sid: "MZ1".into(),
            custom_parameters: Vec::new(),
        };
        Setup {
            direction: self.direction,
            settings: SessionSettings { turns: self.config.turns, ..SessionSettings::default() },
            carrier: FakeStream::new(facts, self.steps(), self.stream.clone(), self.answer_delay),
            sessions: self.sessions(),
            clips: self.clips(),
            config: self.config.clone(),
            append_frames: self.append_frames,
            carrier_delay: self.carrier_delay,
            model_delay: self.model_delay,
            answer_delay: self.answer_delay,
            command_delay: self.command_delay,
            tool_output: r#"{"ok":true}"#.into(),
            recorded: false,
            faults: self.faults.clone(),
        }
    }

    /// Our own clips: noise, so that what was played of them can be told from all else.
    pub fn clips(&self) -> Clips {
        Clips {
            filler: noise(self.seed ^ 0xF111, self.filler_bytes).into(),
            apology: noise(self.seed ^ 0xA901, self.apology_bytes).into(),
        }
    }

    /// The temperaments of all sessions.
    pub fn behaviours(&self) -> impl Iterator<Item = &Behaviour> {
        [&self.behaviour].into_iter().chain(self.later.iter().map(|session| &session.behaviour))
    }

    /// What the caller does, as the carrier's end of a stream wants it.
    pub fn steps(&self) -> Vec<CallerStep> {
        self.caller.iter().map(CallerAct::step).collect()
    }

    /// The sessions that the model gives, one for each connection.
    pub fn sessions(&self) -> Vec<FakeModel> {
        let replies = [&self.replies].into_iter().chain(self.later.iter().map(|session| &session.replies));
        let sessions = replies.zip(self.behaviours()).enumerate();
        sessions
            .map(|(index, (replies, behaviour))| {
                let name = if index == 0 { "m".to_owned() } else { format!("m{}", index + 1) };
                FakeModel::new(&name, self.script(index, replies), behaviour.clone())
            })
            .collect()
    }

    fn script(&self, session: usize, replies: &[PlannedReply]) -> Script {
        let mut voices = Dice::new(self.seed ^ 0x5EED ^ (session as u64) << 32);
        let reply = |planned: &PlannedReply| Reply {
            items: planned
                .says
                .iter()
                .map(|(words, length)| ReplyItem::hisses(words, voices.draw(), *length))
                .collect(),
            calls: planned.calls.iter().map(|&name| ReplyCall { name: name.into(), arguments: "{}".into() }).collect(),
            end: planned.end.clone(),
        };
        let meanings = self.caller.iter().filter_map(|act| match act {
            CallerAct::Speak { meaning, .. } => Some(meaning.map(str::to_owned)),
            _ => None,
        });
        // A later session hears of later words, roughly: which ones does not matter.
        Script { caller_says: meanings.skip(session).collect(), replies: replies.iter().map(reply).collect() }
    }
}

impl CallerAct {
    fn step(&self) -> CallerStep {
        match *self {
            // Loud, and nothing else: nobody but the detector listens.
            CallerAct::Speak { length, .. } => CallerStep::Say(vec![0x8F; length.as_millis() as usize * 8].into()),
            CallerAct::Pause(pause) => CallerStep::Pause(pause),
            CallerAct::AwaitAgentSpeech(for_at_least) => CallerStep::AwaitAgentSpeech { for_at_least },
            CallerAct::AwaitAgentQuiet(quiet) => CallerStep::AwaitAgentQuiet(quiet),
            CallerAct::Press(digit) => CallerStep::Press(digit),
            CallerAct::HangUp => CallerStep::HangUp,
        }
    }
}

fn draw_caller(dice: &mut Dice) -> Vec<CallerAct> {
    let mut acts = Vec::new();
    // How this caller is: patient or not, given to noises, in a hurry.
    let moods: Vec<u64> = (0..6).map(|_| dice.between(1..=10)).collect();
    for _ in 0..dice.between(0..=8) {
        let before = match dice.weighted(&[(moods[0], 0), (moods[1], 1), (moods[2], 2), (2, 3)]) {
            0 => CallerAct::Pause(dice.ms(0..=2_500)),
            1 => CallerAct::AwaitAgentQuiet(dice.ms(50..=1_500)),
            2 => CallerAct::AwaitAgentSpeech(dice.ms(20..=2_500)),
            _ => CallerAct::Pause(dice.ms(0..=600)),
        };
        acts.push(before);
        let (meaning, length) = match dice.weighted(&[(10, 0), (moods[3], 1), (moods[4], 2), (2, 3), (1, 4)]) {
            0 => (dice.pick(&WORDS), dice.ms(300..=2_500)),
            1 => (dice.pick(&BACK_CHANNEL), dice.ms(120..=500)),
            2 => ("", dice.ms(40..=400)),
            3 => (dice.pick(&FAREWELLS), dice.ms(250..=900)),
            // A television in the room.
            _ => (dice.pick(&["", "Breaking news."]), dice.ms(2_000..=9_000)),
        };
        acts.push(CallerAct::Speak { meaning: (!dice.percent(5)).then_some(meaning), length });
        if dice.percent(8) {
            acts.push(CallerAct::Press(dice.pick(&['1', '5', '*', '#'])));
        }
    }
    if dice.percent(18) {
        let at = dice.between(0..=acts.len() as u64) as usize;
        acts.truncate(at);
        acts.push(CallerAct::Pause(dice.ms(0..=3_000)));
        acts.push(CallerAct::HangUp);
    }
    acts
}

fn draw_replies(dice: &mut Dice) -> Vec<PlannedReply> {
    const SOMETHING_ELSE: [fn(&mut Dice) -> PlannedReply; 8] = [
        |dice| PlannedReply { says: vec![draw_item(dice, 20..=1_500), draw_item(dice, 200..=3_000)], ..said() },
        |dice| PlannedReply { says: vec![draw_item(dice, 300..=1_500)], calls: vec!["book"], ..said() },
        |dice| PlannedReply { calls: vec!["book", "look_up"][..dice.between(1..=2) as usize].to_vec(), ..said() },
        |dice| PlannedReply {
            says: if dice.percent(50) { vec![draw_item(dice, 300..=1_500)] } else { Vec::new() },
            calls: vec![END_CALL],
            ..said()
        },
        |_| said(),
        |dice| PlannedReply {
            says: if dice.percent(30) { vec![draw_item(dice, 300..=1_500)] } else { Vec::new() },
            end: ReplyEnd::Failed {
                code: dice.pick(&[None, Some("rate_limit_exceeded"), Some("server_error")]),
                message: "The server had an error while processing your request.",
            },
            ..said()
        },
        |dice| PlannedReply {
            says: vec![draw_item(dice, 300..=4_000)],
            end: ReplyEnd::Incomplete { reason: dice.pick(&["max_output_tokens", "content_filter"]) },
            ..said()
        },
        |dice| PlannedReply { says: vec![(dice.pick(&LEAVE), dice.ms(500..=2_500))], ..said() },
    ];
    // Most models have one or two oddities, not all of them.
    let odd: Vec<u64> = SOMETHING_ELSE.iter().map(|_| if dice.percent(35) { dice.between(1..=8) } else { 0 }).collect();
    let mut replies = Vec::new();
    for _ in 0..16 {
        let kind = dice.between(0..=19 + odd.iter().sum::<u64>());
        let weights: Vec<(u64, usize)> = odd.iter().copied().zip(0..).collect();
        let reply: PlannedReply = match kind {
            0..=11 => PlannedReply { says: vec![draw_item(dice, 400..=2_500)], ..said() },
            12..=19 => PlannedReply { says: vec![draw_item(dice, 2_500..=7_000)], ..said() },
            _ => SOMETHING_ELSE[dice.weighted(&weights)](dice),
        };
        // A model that calls tools for ever says nothing for ever, and there is no rule against it.
        let silent = |reply: &PlannedReply| reply.says.is_empty();
        let again = replies.last().is_some_and(silent) && silent(&reply);
        replies.push(if again { PlannedReply { says: vec![draw_item(dice, 400..=2_500)], ..said() } } else { reply });
    }
    replies
}

fn said() -> PlannedReply {
    PlannedReply::default()
}

fn draw_item(dice: &mut Dice, ms: std::ops::RangeInclusive<u64>) -> (&'static str, Duration) {
    // To the byte: tails shorter than a frame are the rule.
    let length = dice.ms(ms) + Duration::from_micros(125) * dice.between(0..=159) as u32;
    (dice.pick(&SAYINGS), length)
}

fn draw_config(dice: &mut Dice) -> CallConfig {
    let model_turns = dice.percent(10);
    let greets = dice.percent(75);
    let short = dice.percent(20);
    CallConfig {
        abilities: ModelAbilities { cancels: !dice.percent(3), truncates: !dice.percent(3) },
        turns: if model_turns { Turns::Model } else { Turns::Client },
        hold: !model_turns && dice.percent(80),
        greeting: greets.then(|| dice.pick(&["Hello, this is the bicycle shop.", "Good morning!"]).to_owned()),
        protect_greeting: match dice.between(0..=9) {
            _ if model_turns || !greets => ProtectGreeting::None,
            0 => ProtectGreeting::All,
            1 | 2 => ProtectGreeting::First(dice.ms(300..=2_500)),
            _ => ProtectGreeting::None,
        },
        carrier_recording: dice.percent(20),
        lead: Duration::from_millis(dice.pick(&[0, 20, 60, 100, 200, 200, 200, 400])),
        group_frames: dice.pick(&[1, 1, 1, 2, 3]),
        response_audio_max: if dice.percent(5) { dice.ms(1_500..=4_000) } else { Duration::from_secs(300) },
        held_audio_max: if dice.percent(5) { dice.ms(20..=500) } else { Duration::from_secs(5) },
        floor_max: if dice.percent(8) { dice.ms(2_500..=5_000) } else { Duration::from_secs(60) },
        announced_max: Duration::from_secs(10),
        tool_timeout: dice.ms(1_000..=4_000),
        hang_up_timeout: dice.ms(1_000..=5_000),
        silence_max: if short && dice.percent(50) { None } else { Some(dice.ms(2_000..=6_000)) },
        call_max: if short { dice.ms(4_000..=25_000) } else { Duration::from_secs(120) },
        call_max_grace: dice.ms(1_000..=8_000),
        carrier_silence_max: if dice.percent(3) { Duration::from_secs(2) } else { Duration::from_secs(15) },
        says_max: dice.pick(&[1, 4]),
        ..CallConfig::default()
    }
}

fn draw_behaviour(dice: &mut Dice) -> Behaviour {
    let slow = |dice: &mut Dice, usual: std::ops::RangeInclusive<u64>, rare: std::ops::RangeInclusive<u64>| {
        let range = if dice.percent(3) { rare } else { usual };
        dice.ms(range)
    };
    Behaviour {
        voice: Voice::Noise,
        speed: dice.pick(&[1.05, 1.5, 5.0, 10.0, 10.0, 50.0]),
        delta_bytes: dice.pick(&[
            vec![1_600],
            vec![160],
            vec![4_000, 800],
            vec![1, 333, 7, 4_000, 159, 161],
            vec![50_000],
        ]),
        configure_latency: slow(dice, 1..=300, 1_000..=5_500),
        create_latency: slow(dice, 1..=200, 500..=5_500),
        first_audio: slow(dice, 10..=700, 1_000..=8_500),
        done_latency: if dice.percent(30) { dice.ms(1..=900) } else { Duration::ZERO },
        cancel_latency: slow(dice, 0..=300, 500..=3_500),
        transcript: dice.pick(&[
            TranscriptOrder::Interleaved,
            TranscriptOrder::Interleaved,
            TranscriptOrder::BeforeAudio,
            TranscriptOrder::AfterAudio,
        ]),
        transcription: match dice.between(0..=9) {
            0 => TranscriptionTiming::After(Duration::ZERO),
            1 => TranscriptionTiming::AfterResponse,
            2 => TranscriptionTiming::Never,
            _ => TranscriptionTiming::After(dice.ms(50..=1_500)),
        },
        stragglers: if dice.percent(30) { dice.between(1..=6) as usize } else { 0 },
        audio_done_at_end: dice.percent(15),
        ignored_creates: u32::from(dice.percent(2)),
        reject_configuration: dice.percent(1).then_some("invalid_value"),
        refuse: dice.percent(1).then_some("invalid_api_key"),
        close_after: dice
            .percent(4)
            .then(|| (dice.between(3..=300), dice.pick(&[None, Some(1_000), Some(1_001), Some(1_008), Some(1_011)]))),
        expires_after: dice.percent(3).then(|| dice.ms(1_000..=18_000)),
        unknown_every: dice.percent(15).then(|| dice.between(1..=20)),
        errors_without_code: dice.percent(15),
        spontaneous: if dice.percent(12) {
            (0..dice.between(1..=4)).map(|_| dice.ms(0..=14_000)).collect()
        } else {
            Vec::new()
        },
        ..Behaviour::default()
    }
}

fn draw_stream(dice: &mut Dice) -> StreamOptions {
    StreamOptions {
        marks_never: dice.percent(7),
        marks_lost: if dice.percent(10) { (0..400).filter(|_| dice.percent(20)).collect() } else { Vec::new() },
        marks_delay: if dice.percent(15) { dice.ms(1..=400) } else { Duration::ZERO },
        post_clear_tail: if dice.percent(6) { dice.ms(1..=60) } else { Duration::ZERO },
        media_gaps: if dice.percent(8) { vec![draw_span(dice, 100..=4_000)] } else { Vec::new() },
        frame_jitter: if dice.percent(15) { (0..7).map(|_| dice.ms(0..=80)).collect() } else { Vec::new() },
        duplicate_start: dice.percent(5),
        media_before_start: dice.percent(5),
        unknown_events: dice.percent(10),
        close_without_stop: dice.percent(8),
        stop_without_close: dice.percent(4),
        echoes: Vec::new(),
        patience: Duration::from_secs(15),
        limit: LONGEST,
    }
}

fn draw_faults(dice: &mut Dice) -> Faults {
    let link = |dice: &mut Dice, bad: bool| {
        if !bad {
            return LinkFaults::default();
        }
        LinkFaults {
            jitter: if dice.percent(60) { dice.ms(1..=150) } else { Duration::ZERO },
            burst: dice.percent(20).then(|| dice.ms(20..=200)),
            stalls: if dice.percent(25) { vec![draw_span(dice, 100..=3_000)] } else { Vec::new() },
        }
    };
    let weather = dice.pick(&[0, 0, 10, 50]);
    let [to_carrier, from_carrier, to_model, from_model] = std::array::from_fn(|_| {
        let bad = dice.percent(weather);
        link(dice, bad)
    });
    let no_stream = dice.percent(2);
    Faults {
        seed: dice.draw(),
        to_carrier,
        from_carrier,
        to_model,
        from_model,
        leaps: Vec::new(),
        freezes: if dice.percent(10) { vec![draw_span(dice, 30..=5_000)] } else { Vec::new() },
        shuffled: dice.percent(50),
        connects: vec![draw_connect(dice, 1)],
        model_breaks: Vec::new(),
        comes_back_after: None,
        hang_ups: if dice.percent(15) {
            let faults = [HangUpFault::Fails, HangUpFault::FailsAndWorks, HangUpFault::Hangs, HangUpFault::Ignored];
            (0..dice.between(1..=4)).map(|_| dice.pick(&faults)).collect()
        } else {
            Vec::new()
        },
        tools: (0..dice.between(1..=4))
            .map(|_| match dice.between(0..=9) {
                0 => ToolFault::Never,
                1 => ToolFault::Fails(dice.ms(1..=2_000)),
                2 => ToolFault::AnswersTwice(dice.ms(1..=2_000)),
                _ => ToolFault::Answers(dice.ms(1..=3_000)),
            })
            .collect(),
        no_stream,
        stream_breaks: Vec::from_iter(dice.percent(3).then(|| {
            let says = [None, Some(CallStatus::InProgress), Some(CallStatus::Completed)];
            (dice.ms(1_000..=18_000), dice.pick(&says))
        })),
        answered_by: None,
        no_last_status: dice.percent(4),
        statuses: if no_stream && dice.percent(50) {
            let status = [CallStatus::Busy, CallStatus::NoAnswer, CallStatus::Failed, CallStatus::Completed];
            vec![(dice.ms(100..=1_000), CallStatus::Ringing), (dice.ms(1_000..=8_000), dice.pick(&status))]
        } else {
            vec![(dice.ms(0..=1_000), CallStatus::InProgress)]
        },
        ears: None,
        operator: if dice.percent(15) {
            (0..dice.between(1..=3))
                .map(|_| {
                    let text = dice.pick(&["The line is bad.", "One moment please.", "A colleague takes over."]);
                    let say = OperatorInput::Say { text: text.to_owned(), force: dice.percent(40) };
                    (dice.ms(100..=18_000), dice.weighted(&[(4, say), (1, OperatorInput::HangUp)]))
                })
                .collect()
        } else {
            Vec::new()
        },
    }
}

/// `bad`: how many attempts of a hundred fail, and how many hang.
fn draw_connect(dice: &mut Dice, bad: u64) -> ConnectFault {
    let drawn = dice.between(0..=99);
    match drawn {
        _ if drawn < bad => ConnectFault::Fails { fatal: dice.percent(50) },
        _ if drawn < bad * 2 => ConnectFault::Hangs,
        _ if drawn < bad * 2 + 13 => ConnectFault::Takes(dice.ms(300..=5_500)),
        _ => ConnectFault::None,
    }
}

/// What else a call may be set up for: keys collected (N10), a stream that comes back (N6), bounds nearly nothing fits
/// into (A1), gaps in what the caller says (N7).
fn draw_more(dice: &mut Dice, config: &mut CallConfig) {
    if dice.percent(40) {
        config.keys = Keys::Collect {
            terminator: dice.pick(&[None, Some('#'), Some('*')]),
            length: dice.pick(&[None, Some(2), Some(4)]),
            pause: dice.ms(300..=3_000),
        };
    }
    if dice.percent(50) {
        config.resume_max = Some(dice.ms(2_000..=20_000));
    }
    if dice.percent(3) {
        config.response_audio_max = dice.ms(600..=1_500);
    }
    if dice.percent(20) {
        config.history_turns = 1_000;
    }
}

/// Callers who press keys. Not operators: of tones, which repeat themselves, nobody could say what was played.
fn draw_keys(dice: &mut Dice, config: &CallConfig, caller: &mut Vec<CallerAct>) {
    let collects = matches!(config.keys, Keys::Collect { .. });
    if dice.percent(if collects { 30 } else { 5 }) {
        let mut at = dice.between(0..=caller.len() as u64) as usize;
        for _ in 0..dice.between(1..=6) {
            caller.insert(at, CallerAct::Press(dice.pick(&['0', '1', '7', '9', '*', '#'])));
            caller.insert(at + 1, CallerAct::Pause(dice.ms(50..=700)));
            at += 2;
        }
    }
}

/// Operators who press keys, servers that stop, and machines that answer (N10, H2, L10).
fn draw_others(dice: &mut Dice, direction: Direction, config: &mut CallConfig, faults: &mut Faults) {
    if dice.percent(4) {
        // Once: of tones that repeat themselves, nobody could say which were played.
        let keys = dice.pick(&["5", "19#", "4", "0*", "7A", "?"]).to_owned();
        faults.operator.push((dice.ms(100..=18_000), OperatorInput::Press(keys)));
    }
    if dice.percent(4) {
        faults.operator.push((dice.ms(100..=18_000), OperatorInput::SayGoodbye));
    }
    if direction == Direction::Outbound && dice.percent(50) {
        let answerer = dice.pick(&[Answerer::Human, Answerer::Machine, Answerer::Unknown]);
        faults.answered_by = Some((dice.ms(500..=9_000), answerer));
        config.on_machine = dice.pick(&[OnMachine::Continue, OnMachine::HangUp]);
    }
}

/// No server would run a call with settings that contradict each other.
fn permit(config: &mut CallConfig) {
    let fits = config.lead.as_millis() / 20;
    config.group_frames = config.group_frames.min(u32::try_from(fits).unwrap_or(u32::MAX)).max(1);
    let mistakes = config.mistakes();
    assert!(mistakes.is_empty(), "{mistakes:?}");
}

/// Sessions that are lost, sockets that break, and what comes after (N4, N6, R9–R11).
fn draw_losses(
    dice: &mut Dice,
    config: &mut CallConfig,
    behaviour: &mut Behaviour,
    faults: &mut Faults,
) -> Vec<LaterSession> {
    config.reconnect_max = if dice.percent(25) { None } else { Some(dice.ms(3_000..=15_000)) };
    config.filler_after = dice.ms(200..=1_500);
    // Most calls lose nothing, some one session, few all they can get.
    let losses = dice.weighted(&[(60, 0), (20, 1), (10, 2), (10, 4)]);
    let unruly = |dice: &mut Dice, behaviour: &mut Behaviour| match dice.between(0..=5) {
        0 | 1 => behaviour.close_after = Some((dice.between(3..=400), dice.pick(&[None, Some(1_001), Some(1_011)]))),
        2 => behaviour.expires_after = Some(dice.ms(300..=8_000)),
        3 => behaviour.ignored_creates = 1,
        4 => behaviour.refuse = Some(dice.pick(&["server_error", "invalid_api_key"])),
        _ => {}
    };
    for _ in 0..losses {
        let how = dice.pick(&[ModelBreak::Drops, ModelBreak::Drops, ModelBreak::Silent]);
        faults.model_breaks.push((dice.ms(500..=18_000), how));
    }
    if dice.percent(10) {
        behaviour.rejected_edits = dice.between(1..=3) as u32;
    }
    if dice.percent(8) {
        behaviour.lingers = dice.ms(1..=600);
    }
    if dice.percent(8) {
        behaviour.transcript = TranscriptOrder::AfterResponse;
    }
    let later = (0..dice.between(1..=4)).map(|_| {
        let mut behaviour = draw_behaviour(dice);
        if losses > 0 && dice.percent(25) {
            unruly(dice, &mut behaviour);
        }
        if dice.percent(10) {
            behaviour.rejected_edits = dice.between(1..=3) as u32;
        }
        let configured = behaviour.configure_latency + Duration::from_secs(1) + faults.slowest();
        behaviour.spontaneous.iter_mut().for_each(|at| *at += configured);
        faults.connects.push(draw_connect(dice, if losses > 0 { 8 } else { 1 }));
        LaterSession { replies: draw_replies(dice), behaviour }
    });
    let later = later.collect();
    if dice.percent(12) {
        for _ in 0..dice.between(1..=2) {
            faults.stream_breaks.push((dice.ms(1_000..=18_000), Some(CallStatus::InProgress)));
        }
    }
    faults.comes_back_after = (!dice.percent(15)).then(|| dice.ms(200..=6_000));
    later
}

/// Ears of our own beside the model's (B4, O3). Most calls have none.
fn draw_ears(dice: &mut Dice, config: &mut CallConfig) -> Option<EarsPlan> {
    if !dice.percent(35) {
        return None;
    }
    config.audio_guard = dice.percent(40);
    config.ears_report_max = dice.ms(100..=1_500);
    let facts = [
        EarInput::SpeechStarted,
        EarInput::SpeechStarted,
        EarInput::SpeechStarted,
        EarInput::SpeechStopped,
        EarInput::Deaf,
        EarInput::Listening,
    ];
    let wrong = if dice.percent(50) { dice.between(1..=8) } else { 0 };
    let quiet = if dice.percent(25) { dice.between(1..=3) } else { 0 };
    let mut from = Duration::ZERO;
    Some(EarsPlan {
        delay: if dice.percent(5) { dice.ms(300..=2_000) } else { dice.ms(0..=200) },
        silence: dice.ms(100..=500),
        wrong: (0..wrong).map(|_| (dice.ms(500..=18_000), dice.pick(&facts))).collect(),
        quiet: (0..quiet)
            .map(|_| {
                let start = from + dice.ms(100..=4_000);
                from = start + dice.ms(20..=2_000);
                start..from
            })
            .collect(),
    })
}

/// A machine that was suspended, for seconds or for minutes.
fn draw_leaps(dice: &mut Dice, faults: &mut Faults) {
    if dice.percent(6) {
        let long = if dice.percent(50) { 180_000 } else { 10_000 };
        let mut leaps: Vec<_> = (0..dice.between(1..=2)).map(|_| (dice.up_to(CALM), dice.ms(500..=long))).collect();
        leaps.sort_unstable();
        faults.leaps = leaps;
    }
}

/// A time of this length that is over before [`CALM`].
fn draw_span(dice: &mut Dice, ms: std::ops::RangeInclusive<u64>) -> Range<Duration> {
    let length = dice.ms(ms);
    let from = dice.up_to(CALM.saturating_sub(length));
    from..from + length
}
