//! A call over its two wires, in virtual time: what is said in JSON on one side comes out in JSON on the other.

use std::time::Duration;

use call::bridge::{Bridge, Clips, Effect, Wants};
use call::config::{CallConfig, CallFacts, Direction};
use call::input::Input;
use call::trace::{Trace, Words};
use call::wire::openai::SessionSettings;
use call::{CallTime, Command, EndReason, Epoch, ModelInput, Outcome};

/// What a shell does with a bridge, without sockets.
struct Shell {
    bridge: Bridge,
    now: CallTime,
    to_carrier: Vec<String>,
    to_model: Vec<String>,
    commands: Vec<(call::CommandId, Command)>,
    agent: Vec<(Duration, Vec<u8>)>,
    caller: Vec<(Duration, Vec<u8>)>,
    trace: String,
    ended: Option<EndReason>,
}

impl Shell {
    fn new(config: CallConfig) -> Self {
        let facts = CallFacts { direction: Direction::Inbound };
        let wants = Wants { samples: true, trace: Some(Words::Full) };
        Shell {
            bridge: Bridge::new(config, facts, SessionSettings::default(), Clips::default(), wants),
            now: CallTime::ZERO,
            to_carrier: Vec::new(),
            to_model: Vec::new(),
            commands: Vec::new(),
            agent: Vec::new(),
            caller: Vec::new(),
            trace: String::new(),
            ended: None,
        }
    }

    fn drain(&mut self) {
        while let Some(effect) = self.bridge.poll() {
            match effect {
                Effect::ToCarrier(_, text) => self.to_carrier.push(text.to_owned()),
                Effect::ToModel(text) => self.to_model.push(text.to_owned()),
                Effect::Do(id, command) => self.commands.push((id, command)),
                Effect::RecordAgent { at, audio } => self.agent.push((at, audio.to_vec())),
                Effect::RecordCaller { at, audio } => self.caller.push((at, audio.to_vec())),
                Effect::Trace(lines) => self.trace.push_str(lines),
                Effect::Ended(reason) => self.ended = Some(reason),
                Effect::CloseCarrier
                | Effect::CloseModel
                | Effect::ResumeStream
                | Effect::RecordCleared { .. }
                | Effect::Note(_) => {}
            }
        }
    }

    fn until(&mut self, millis: u64) {
        let until = CallTime::from_millis(millis);
        while let Some(at) = self.bridge.poll_timeout().filter(|at| *at <= until) {
            self.now = at;
            self.bridge.handle_input(Input::TimePassed, at);
            self.drain();
        }
        self.now = until;
    }

    fn carrier(&mut self, millis: u64, text: &str) {
        self.until(millis);
        self.bridge.handle_carrier(text, self.now);
        self.drain();
    }

    fn model(&mut self, millis: u64, text: &str) {
        self.until(millis);
        self.bridge.handle_model(text, self.now);
        self.drain();
    }

    fn tell(&mut self, millis: u64, input: Input) {
        self.until(millis);
        self.bridge.handle_input(input, self.now);
        self.drain();
    }
}

const START: &str = r#"{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"streamSid":"MZ1","accountSid":"AC1","callSid":"CA1","tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},"customParameters":{}}}"#;

fn ready() -> Shell {
    let mut shell = Shell::new(CallConfig { greeting: Some("Hello.".into()), ..CallConfig::default() });
    shell.tell(0, Input::Announced);
    assert!(matches!(shell.commands.as_slice(), [(_, Command::ConnectModel { epoch: Epoch(1) })]));
    shell.tell(5, Input::Model(Epoch(1), ModelInput::Connected));
    assert!(shell.to_model[0].contains("session.update"), "{:?}", shell.to_model);
    shell.carrier(10, r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#);
    shell.carrier(10, START);
    shell
}

fn media(timestamp: u64, payload: &str) -> String {
    format!(
        r#"{{"event":"media","sequenceNumber":"2","streamSid":"MZ1","media":{{"track":"inbound","chunk":"1","timestamp":"{timestamp}","payload":"{payload}"}}}}"#
    )
}

/// Breaks when what one call was told is kept where another call of the thread is told something meanwhile.
#[test]
fn what_a_call_was_told_is_not_disturbed_by_another_call_of_the_thread() {
    let (mut one, mut other) = (ready(), ready());
    let frames = ["f39/".repeat(53), "AAEC".repeat(53)];
    for shell in [&mut one, &mut other] {
        shell.model(40, r#"{"type":"session.updated","event_id":"e1","session":{}}"#);
        shell.to_model.clear();
    }
    one.until(50);
    one.bridge.handle_carrier(&media(40, &frames[0]), one.now);
    other.carrier(50, &media(40, &frames[1]));
    one.drain();
    for (shell, frame) in [(one, &frames[0]), (other, &frames[1])] {
        assert!(shell.to_model[0].contains(frame.as_str()), "{:?}", shell.to_model);
        let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, frame).unwrap();
        assert_eq!(shell.caller, [(Duration::from_millis(40), decoded)]);
    }
}

#[test]
fn a_call_runs_from_carrier_to_model_and_back() {
    let mut shell = ready();
    // Before the session is configured the caller's audio is kept, and then goes first (T2).
    let frame = "f39/".repeat(54).chars().take(212).collect::<String>() + "fw==";
    shell.carrier(30, &media(20, &frame));
    assert_eq!(shell.to_model.len(), 1);
    shell.model(40, r#"{"type":"session.updated","event_id":"e1","session":{}}"#);
    assert!(
        shell.to_model[1].starts_with(r#"{"type":"input_audio_buffer.append","audio":"f39/"#),
        "{}",
        shell.to_model[1]
    );
    assert!(shell.to_model[2].contains("response.create") && shell.to_model[2].contains("Hello."));
    let request =
        shell.to_model[2].split(r#""event_id":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    shell.carrier(50, &media(40, &frame));
    assert!(shell.to_model[3].contains("input_audio_buffer.append"));

    shell.model(60, &format!(r#"{{"type":"response.created","response":{{"id":"resp_A","status":"in_progress","conversation_id":"c","metadata":{{"patchcord_request":"{request}"}}}}}}"#));
    // 400 bytes of audio: two frames and a tail.
    let audio = "AAEC".repeat(133) + "Aw==";
    shell.model(70, &format!(r#"{{"type":"response.output_audio.delta","response_id":"resp_A","item_id":"item_A","output_index":0,"content_index":0,"delta":"{audio}"}}"#));
    assert_eq!(shell.agent.len(), 2);
    shell.model(80, r#"{"type":"response.output_audio.done","response_id":"resp_A","item_id":"item_A"}"#);
    shell.model(80, r#"{"type":"response.output_audio_transcript.done","response_id":"resp_A","item_id":"item_A","transcript":"Hello, goodbye."}"#);
    shell.model(80, r#"{"type":"response.done","response":{"id":"resp_A","status":"completed","output":[]}}"#);
    assert_eq!(shell.agent.len(), 3);
    let sent: Vec<u8> = shell.agent.iter().flat_map(|(_, audio)| audio.clone()).collect();
    let expected: Vec<u8> = (0..400)
        .map(|index| [0, 1, 2][index % 3])
        .enumerate()
        .map(|(index, byte)| if index == 399 { 3 } else { byte })
        .collect();
    assert_eq!(&sent[..400], expected.as_slice());
    assert!(sent[400..].iter().all(|byte| *byte == 0xFF) && sent.len() == 480);
    // From the stream's start at 10 ms: the first frame at 60 ms, the others behind it.
    assert_eq!(shell.agent.iter().map(|(at, _)| at.as_millis()).collect::<Vec<_>>(), [60, 80, 100]);

    // The goodbye is hung up when its last mark comes back, and not before (H8).
    let mark = shell.to_carrier.iter().rev().find(|text| text.contains("mark")).unwrap().clone();
    let name = mark.split(r#""name":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    assert_eq!(shell.commands.len(), 1);
    shell.carrier(
        140,
        &format!(r#"{{"event":"mark","sequenceNumber":"9","streamSid":"MZ1","mark":{{"name":"{name}"}}}}"#),
    );
    let (id, command) = shell.commands.last().unwrap().clone();
    assert_eq!(command, Command::HangUp);
    shell.tell(150, Input::Done(id, Outcome::HungUp));
    shell.carrier(
        160,
        r#"{"event":"stop","sequenceNumber":"10","streamSid":"MZ1","stop":{"accountSid":"AC1","callSid":"CA1"}}"#,
    );
    assert_eq!(shell.ended, Some(EndReason::Goodbye));
    assert_eq!(shell.caller.len(), 2);
    let summary = shell.bridge.summary();
    assert_eq!((summary.audio_in, summary.audio_out, summary.frames_sent), (2, 1, 3));

    // What was traced is enough to do it all again, to the byte (N11).
    let trace = Trace::read(&shell.trace).unwrap();
    assert_eq!(trace.replay(), shell.trace);
}

#[test]
fn what_does_not_belong_to_the_call_changes_nothing() {
    let mut shell = ready();
    let before = shell.to_model.len();
    for text in [
        "",
        "{}",
        "[]",
        r#"{"event":"media","streamSid":"MZ2","media":{"track":"inbound","chunk":"1","timestamp":"20","payload":"f39/"}}"#,
        r#"{"event":"media","streamSid":"MZ1","media":{"track":"inbound","chunk":"1","timestamp":"20","payload":"\",\"x\":\""}}"#,
        r#"{"event":"mark","streamSid":"MZ1","mark":{"name":"not ours"}}"#,
        r#"{"event":"never heard of","streamSid":"MZ1"}"#,
    ] {
        shell.carrier(20, text);
    }
    for text in ["", "null", r#"{"type":"response.output_audio.delta","delta":"***"}"#, r#"{"type":"unheard.of"}"#] {
        shell.model(20, text);
    }
    assert_eq!((shell.to_model.len(), shell.ended), (before, None));
    assert_eq!(shell.bridge.summary().audio_in, 0);
}

/// The audio of an append, in base64.
fn appended(text: &str) -> Option<&str> {
    text.strip_prefix(r#"{"type":"input_audio_buffer.append","audio":""#)?.strip_suffix(r#""}"#)
}

#[test]
fn frames_of_the_caller_are_grouped_on_request_and_stay_in_their_order() {
    let mut shell = ready();
    shell.bridge.group_appends(3);
    shell.model(20, r#"{"type":"session.updated","session":{}}"#);
    shell.to_model.clear();
    for (number, payload) in ["AAAA", "BBBB", "CCCC", "DDDD"].into_iter().enumerate() {
        // All at the same moment of the stream, since they are shorter than a frame.
        shell.carrier(40 + 20 * number as u64, &media(0, payload));
    }
    assert!(shell.to_model.iter().filter_map(|text| appended(text)).eq(["AAAABBBBCCCC"]), "{:?}", shell.to_model);
    // Whatever the model is told, it has heard what came before.
    shell.to_model.clear();
    shell.carrier(
        120,
        r#"{"event":"dtmf","streamSid":"MZ1","sequenceNumber":"9","dtmf":{"track":"inbound_track","digit":"5"}}"#,
    );
    shell.until(2_000);
    assert_eq!(appended(&shell.to_model[0]), Some("DDDD"), "{:?}", shell.to_model);
    assert!(shell.to_model.len() > 1 && shell.to_model[1..].iter().all(|text| appended(text).is_none()));
}

#[test]
fn what_was_gathered_for_a_lost_session_is_not_told_to_the_next() {
    let mut shell = ready();
    shell.bridge.group_appends(3);
    shell.model(20, r#"{"type":"session.updated","session":{}}"#);
    shell.carrier(40, &media(0, "AAAA"));
    shell.tell(50, Input::Model(Epoch(1), ModelInput::Lost { fatal: false }));
    shell.to_model.clear();
    shell.until(2_000);
    shell.tell(2_000, Input::Model(Epoch(2), ModelInput::Connected));
    assert!(shell.to_model[0].contains("session.update"), "{:?}", shell.to_model);
}
