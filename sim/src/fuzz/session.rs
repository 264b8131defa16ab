//! Whole calls under whatever comes.

use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use call::bridge::{Bridge, Clips, Effect, Wants};
use call::config::{CallConfig, CallFacts, Direction, Keys, ProtectGreeting, Turns};
use call::farewell::Language;
use call::fingerprint::Fingerprint;
use call::id::{ItemId, MarkId, RequestId, ResponseId, ToolCallId};
use call::input::{CallStatus, CarrierInput, ItemKind, ModelError, ModelInput, OperatorInput, ResponseStatus, Usage};
use call::trace::{Trace, TraceWriter, Words};
use call::wire::openai::SessionSettings;
use call::{Call, CallTime, Command, CommandId, EarInput, Epoch, Input, Outcome, Output};

/// Things that one input may ask for. No input asks for more than there are items, tools and frames at once.
const OUTPUTS_MAX: usize = 20_000;

/// Inputs of one run: what goes wrong in more goes wrong in as many.
const INPUTS_MAX: usize = 400;

/// A trace: read or refused, and what was read replays to what it replays to.
pub fn trace(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(trace) = Trace::read(&text) else { return };
    if trace.events.len() > INPUTS_MAX {
        return;
    }
    let replayed = trace.replay();
    let again = Trace::read(&replayed).unwrap_or_else(|error| panic!("our own trace cannot be read: {error}"));
    assert_eq!(again.replay(), replayed);
}

/// A call by its wires. Each line is what somebody says, by its first character: `c`arrier, `m`odel, a `t`ime that
/// passes (ms), a command that is `d`one.
pub fn session(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let config = CallConfig { greeting: Some("Hello.".to_owned()), carrier_recording: true, ..CallConfig::default() };
    let wants = Wants { samples: true, trace: None };
    let facts = CallFacts { direction: Direction::Inbound };
    let mut bridge = Bridge::new(config, facts, SessionSettings::default(), Clips::default(), wants);
    let (mut now, mut epoch, mut done) = (CallTime::ZERO, Epoch(0), Vec::new());
    bridge.handle_input(Input::Announced, now);
    drain(&mut bridge, &mut epoch, &mut done);
    for line in text.lines().take(INPUTS_MAX) {
        let Some(kind) = line.chars().next() else { continue };
        let said = &line[kind.len_utf8()..];
        match kind {
            'c' => bridge.handle_carrier(said, now),
            'm' => bridge.handle_model(said, now),
            't' => now = pass(&mut bridge, now, said.trim().parse().unwrap_or(20), &mut epoch, &mut done),
            'o' => bridge.handle_input(Input::Model(epoch, ModelInput::Connected), now),
            'l' => bridge.handle_input(Input::Model(epoch, ModelInput::Lost { fatal: said == "!" }), now),
            'd' => {
                if let Some((command, outcome)) = done.pop() {
                    bridge.handle_input(Input::Done(command, outcome), now);
                }
            }
            _ => continue,
        }
        drain(&mut bridge, &mut epoch, &mut done);
    }
    // What peers say can end a call in many ways, but it cannot keep one: with nobody left who speaks, it ends.
    let day = 24 * 3_600_000;
    pass(&mut bridge, now, day, &mut epoch, &mut done);
    assert!(bridge.call().has_ended(), "a call that nothing ends");
}

fn pass(
    bridge: &mut Bridge,
    now: CallTime,
    ms: u64,
    epoch: &mut Epoch,
    done: &mut Vec<(CommandId, Outcome)>,
) -> CallTime {
    let until = now + Duration::from_millis(ms.min(24 * 3_600_000));
    let mut wakes = 0;
    while let Some(due) = bridge.poll_timeout().filter(|due| *due <= until) {
        bridge.handle_input(Input::TimePassed, due.max(now));
        drain(bridge, epoch, done);
        wakes += 1;
        assert!(wakes < 4_000_000, "a deadline that stays due");
    }
    until
}

/// Takes what the bridge gives; commands come to nothing much, later.
fn drain(bridge: &mut Bridge, epoch: &mut Epoch, done: &mut Vec<(CommandId, Outcome)>) {
    for _ in 0..OUTPUTS_MAX {
        match bridge.poll() {
            None => return,
            Some(Effect::Do(id, command)) => match command {
                Command::ConnectModel { epoch: next } => *epoch = next,
                Command::HangUp => done.push((id, Outcome::HungUp)),
                Command::StartRecording => done.push((id, Outcome::RecordingFailed)),
                Command::RunTool { .. } => done.push((id, Outcome::ToolAnswered("fine".to_owned()))),
            },
            Some(_) => {}
        }
    }
    panic!("one input asked for more than {OUTPUTS_MAX} things");
}

/// By so much later the same call happens once more.
const LATER: Duration = Duration::from_secs(3_600);

/// What tells this state from others at this moment.
fn fingerprint(call: &Call, now: CallTime) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut print = Fingerprint::new(&mut hasher, now);
    // Whoever explores knows what it may speak of.
    (0..8).for_each(|request| print.id(RequestId(request)));
    call.fingerprint(&mut print);
    hasher.finish()
}

/// The core itself, told anything in any order. Replayed from its trace, which has to be the same (N11); and an hour later,
/// which has to make no difference that a fingerprint tells: otherwise exploration would not end.
pub fn call(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let config = bytes.config();
    let facts = CallFacts { direction: bytes.pick([Direction::Inbound, Direction::Outbound]) };
    let mut call = Call::new(config.clone(), facts);
    let mut later = call.clone();
    let mut trace = TraceWriter::new(&config, &facts, Words::Full);
    let mut now = CallTime::ZERO;
    let mut epoch = Epoch(1);
    for _ in 0..INPUTS_MAX {
        if bytes.0.is_empty() {
            break;
        }
        now = match call.poll_timeout() {
            Some(deadline) if bytes.percent(60) => deadline.at.max(now),
            _ => now + bytes.pick([0, 1, 20, 100, 700, 1_200, 5_000, 60_000].map(Duration::from_millis)),
        };
        let input = bytes.input(&mut epoch);
        trace.input(&input, now);
        later.handle_input(input.clone(), now + LATER);
        call.handle_input(input, now);
        let mut outputs = 0;
        while let Some(output) = call.poll_output() {
            later.poll_output();
            if let Output::Do(_, Command::ConnectModel { epoch: next }) = &output {
                epoch = *next;
            }
            trace.output(&output, now);
            outputs += 1;
            assert!(outputs < OUTPUTS_MAX, "one input asked for more than {OUTPUTS_MAX} things");
        }
        assert!(!call.has_ended() || call.poll_timeout().is_none());
        assert_eq!(fingerprint(&call, now), fingerprint(&later, now + LATER), "an hour makes a difference");
    }
    trace.flush();
    let mut told = String::new();
    trace.take(&mut told);
    assert_eq!(Trace::read(&told).expect("our own trace can be read").replay(), told);
}

/// Decisions from bytes; zeroes once they are used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn percent(&mut self, chance: u8) -> bool {
        self.next() % 100 < chance
    }

    fn pick<T, const N: usize>(&mut self, from: [T; N]) -> T {
        let index = usize::from(self.next()) % N;
        from.into_iter().nth(index).expect("the index is below the length")
    }

    /// Small, so that the same comes again.
    fn small(&mut self) -> u32 {
        u32::from(self.next() % 6)
    }

    fn text(&mut self) -> String {
        self.pick(["goodbye", "mhm", "", "I want two tickets.", "bye", "להתראות", "one moment, goodbye is not yet"])
            .to_owned()
    }

    fn config(&mut self) -> CallConfig {
        let default = CallConfig::default();
        CallConfig {
            greeting: self.pick([None, Some("Hello.".to_owned())]),
            protect_greeting: self.pick([
                ProtectGreeting::None,
                ProtectGreeting::All,
                ProtectGreeting::First(Duration::from_millis(500)),
            ]),
            turns: self.pick([Turns::Client, Turns::Client, Turns::Model]),
            languages: vec![Language::ENGLISH],
            lead: Duration::from_millis(self.pick([0, 20, 200])),
            group_frames: self.pick([1, 2, 3]),
            response_audio_max: Duration::from_millis(self.pick([300_000, 100])),
            hold: self.percent(70),
            carrier_recording: self.percent(30),
            reconnect_max: self.pick([None, default.reconnect_max]),
            resume_max: self.pick([None, default.resume_max]),
            silence_max: self.pick([None, default.silence_max]),
            keys: self.pick([
                Keys::Single,
                Keys::Collect { terminator: Some('#'), length: Some(4), pause: Duration::from_secs(3) },
            ]),
            ..default
        }
    }

    fn input(&mut self, epoch: &mut Epoch) -> Input {
        match self.next() % 16 {
            0 => Input::Announced,
            1..=4 => Input::Carrier(self.carrier()),
            5..=11 => {
                let of = if self.percent(95) { *epoch } else { Epoch(self.small()) };
                Input::Model(of, self.model())
            }
            12 => Input::Operator(self.operator()),
            13 => {
                let outcome = self.pick([
                    Outcome::HungUp,
                    Outcome::HangUpFailed,
                    Outcome::RecordingStarted,
                    Outcome::RecordingFailed,
                    Outcome::ToolAnswered("fine".to_owned()),
                    Outcome::ToolFailed("no".to_owned()),
                ]);
                Input::Done(CommandId(self.small()), outcome)
            }
            14 => Input::Ears(self.pick([
                EarInput::Listening,
                EarInput::Deaf,
                EarInput::SpeechStarted,
                EarInput::SpeechStopped,
                EarInput::Quiet,
                EarInput::Loud,
            ])),
            _ => Input::TimePassed,
        }
    }

    fn carrier(&mut self) -> CarrierInput {
        match self.next() % 12 {
            0 | 1 => CarrierInput::Started,
            2..=5 => CarrierInput::Audio {
                bytes: self.pick([160, 0, 1, 4_000_000]),
                timestamp_ms: self.pick([0, 20, 40, 10_000, u64::MAX]),
            },
            6 | 7 => CarrierInput::MarkReturned(MarkId { epoch: self.small(), seq: self.small() }),
            8 => CarrierInput::Dtmf(self.pick(['1', '#', '*', 'A'])),
            9 => self.pick([CarrierInput::Stopped, CarrierInput::Closed]),
            10 => CarrierInput::WriteBlocked { ms: self.pick([1, 500, u32::MAX]) },
            _ => {
                let status = self.pick([
                    CallStatus::Ringing,
                    CallStatus::InProgress,
                    CallStatus::InProgress,
                    CallStatus::Completed,
                    CallStatus::Busy,
                    CallStatus::NoAnswer,
                    CallStatus::Failed,
                    CallStatus::Canceled,
                ]);
                if self.percent(50) { CarrierInput::Status(status) } else { CarrierInput::AfterStream(status) }
            }
        }
    }

    fn model(&mut self) -> ModelInput {
        let (response, item) = (ResponseId(self.small()), ItemId(self.small()));
        match self.next() % 20 {
            0 => ModelInput::Connected,
            1 => ModelInput::Lost { fatal: self.percent(20) },
            2 => ModelInput::Configured,
            3 => ModelInput::SpeechStarted { item, at_ms: self.pick([0, 100, 5_000, u64::MAX]) },
            4 => ModelInput::SpeechStopped { item, at_ms: self.pick([0, 100, 5_000, u64::MAX]) },
            5 | 6 => ModelInput::Committed { item },
            7 => ModelInput::CallerTranscript { item, text: self.percent(80).then(|| self.text()) },
            8..=10 => ModelInput::ResponseCreated {
                response,
                request: self.percent(80).then(|| RequestId(u32::from(self.next() % 12))),
            },
            11 => ModelInput::ItemAdded {
                response,
                item,
                kind: self.pick([ItemKind::Message, ItemKind::FunctionCall, ItemKind::Other]),
            },
            12..=14 => ModelInput::Audio { response, item, bytes: self.pick([160, 1, 0, 8_000, 80_000_000]) },
            15 => ModelInput::AudioDone { response, item },
            16 => ModelInput::TranscriptDelta { response, item, text: self.text() },
            17 => ModelInput::TranscriptDone { response, item, text: self.text() },
            18 => ModelInput::ToolCall {
                response,
                item,
                call: ToolCallId(self.small()),
                name: self.pick(["end_call", "look", ""]).to_owned(),
                arguments: self.pick(["{}", "{", ""]).to_owned(),
            },
            _ => match self.next() % 3 {
                0 => ModelInput::Error {
                    request: self.percent(50).then(|| RequestId(self.small())),
                    error: self.error(),
                },
                _ => ModelInput::ResponseDone {
                    response,
                    status: self.status(),
                    usage: Usage { input_text: self.pick([0, 7, u64::MAX]), ..Usage::default() },
                },
            },
        }
    }

    fn status(&mut self) -> ResponseStatus {
        match self.next() % 6 {
            0..=2 => ResponseStatus::Completed,
            3 => ResponseStatus::Cancelled,
            4 => ResponseStatus::Incomplete,
            _ => ResponseStatus::Failed(self.error()),
        }
    }

    fn error(&mut self) -> ModelError {
        self.pick([
            ModelError::Collision,
            ModelError::NothingToCancel,
            ModelError::RateLimited { retry_after_ms: 700 },
            ModelError::RateLimited { retry_after_ms: u64::MAX },
            ModelError::SessionExpired,
            ModelError::Fatal,
            ModelError::Other,
        ])
    }

    fn operator(&mut self) -> OperatorInput {
        match self.next() % 5 {
            0 => OperatorInput::HangUp,
            1 => OperatorInput::SayGoodbye,
            2 => OperatorInput::Press(self.pick(["1", "12#", "", "x", "☎"]).to_owned()),
            _ => OperatorInput::Say { text: self.text(), force: self.percent(40) },
        }
    }
}
