//! Calls with the embedded model: without its weights, and several at once with them.
#![cfg(feature = "voice")]
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use call::trace::{Event, Trace};
use call::{CallTime, CarrierInput, EndReason, Input, ModelInput};
use patchcord::Server;
use patchcord::agent::Provider;
use patchcord::config::{Config, Secret, Vad};
use sim::carrier::stream::{CallerStep, StreamReport};
use sim::carrier::twilio::{CallOptions, CallReport, FakeTwilio, Settings};
use tokio::net::TcpListener;
use voice::Weights;
use voice::speak::{Rate, Said};

/// A server whose only agent follows a flow.
async fn serve(folder: &Path, flow: &str, weights: PathBuf) -> (FakeTwilio, Server, String) {
    let file = folder.join("flow.toml");
    std::fs::write(&file, flow).unwrap();
    serve_with(folder, weights, |config| config.agents[0].model.flow = Some(file)).await
}

/// A server whose only agent has the embedded model.
async fn serve_with(folder: &Path, weights: PathBuf, change: impl FnOnce(&mut Config)) -> (FakeTwilio, Server, String) {
    let settings = Settings::default();
    let carrier = FakeTwilio::start(settings.clone()).await.unwrap();
    let mut config = Config { data: folder.to_owned(), voice_models: Some(weights), ..Config::default() };
    config.agents[0].model.provider = Provider::Local;
    change(&mut config);
    config.twilio.account_sid = Some(settings.account_sid);
    config.twilio.auth_token = Some(Secret::new(settings.auth_token));
    config.twilio.api_url = carrier.api_url().parse().unwrap();
    let server = Server::new(config, TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let base = format!("http://{}", server.address());
    (carrier, server, base)
}

/// µ-law, 8 kHz, one channel.
fn wav(samples: &[u8]) -> Vec<u8> {
    let size = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let mut file = [&b"RIFF"[..], &size(36 + samples.len()), b"WAVEfmt ", &size(16)].concat();
    for (value, bytes) in [(7_u32, 2), (1, 2), (8_000, 4), (8_000, 4), (1, 2), (8, 2)] {
        file.extend(&value.to_le_bytes()[..bytes]);
    }
    [file, b"data".to_vec(), size(samples.len()).to_vec(), samples.to_vec()].concat()
}

const MENU: &str = r#"
    [clips]
    "We are open from nine to five." = "hours.wav"

    [[intent]]
    name = "hours"
    key = "1"
    answer = "We are open from nine to five."
"#;

/// The call goes as any other: only keys are heard, and what was recorded is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_weights_a_caller_gets_a_menu_of_recordings() {
    let data = tempfile::tempdir().unwrap();
    let recorded: Vec<u8> = (0..4_000_u32).map(|index| 0x10 + (index % 97) as u8).collect();
    std::fs::write(data.path().join("hours.wav"), wav(&recorded)).unwrap();
    let (carrier, server, base) = serve(data.path(), MENU, data.path().join("nothing")).await;
    let calls = server.calls();
    tokio::spawn(server.run(futures_util::stream::pending()));
    let caller = vec![
        CallerStep::Pause(Duration::from_millis(300)),
        CallerStep::Press('1'),
        CallerStep::AwaitAgentQuiet(Duration::from_millis(300)),
        CallerStep::HangUp,
    ];
    let options = CallOptions { limit: Duration::from_secs(30), ..CallOptions::default() };
    let report = carrier.call(&base, "+15005550001", "+15005550006", caller, options).await;
    let record = calls.wait_for_finished(1).await.unwrap();
    assert_eq!(record.ended_reason, EndReason::CallerHungUp);
    let played = &report.streams[0].played;
    assert!(played.windows(recorded.len()).any(|window| window == recorded), "{} bytes were played", played.len());
    assert!(record.summary.turns.iter().any(|turn| turn.text == "We are open from nine to five."));
}

/// The weights' folder, or `None` after having said so. Where `CI=true` they have to be there.
fn weights(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("PATCHCORD_VOICE_MODELS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.voice-models"));
    if voice::models::are_here(&folder) {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs the weights");
    println!("SKIPPED {test}: no weights (scripts/voice-models fetches them)");
    None
}

/// A call whose answers are a chat server's: it is told what was recognised and what was heard of it, and its `end_call` is
/// the hang-up after its goodbye was heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_server_answers_and_ends_a_call() {
    let Some(folder) = weights("a_chat_server_answers_and_ends_a_call") else { return };
    let (asked, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let answer = move |axum::Json(request): axum::Json<serde_json::Value>| {
        let turns = request["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "user").count();
        let _ = asked.send(request);
        let event =
            |delta: serde_json::Value| format!("data: {}\n\n", serde_json::json!({"choices": [{"delta": delta}]}));
        let end = serde_json::json!({"index": 0, "id": "c1", "function": {"name": "end_call", "arguments": "{}"}});
        std::future::ready(match turns {
            2 => event(serde_json::json!({"content": "**We open** at nine."})) + "data: [DONE]\n\n",
            _ => {
                let goodbye = event(serde_json::json!({"content": "Have a nice day, goodbye!"}));
                goodbye + &event(serde_json::json!({"tool_calls": [end]})) + "data: [DONE]\n\n"
            }
        })
    };
    let router = axum::Router::new().route("/v1/chat/completions", axum::routing::post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let line = |text: &str| line_of(&folder, text);
    let caller = vec![
        CallerStep::AwaitAgentQuiet(Duration::from_millis(1_000)),
        CallerStep::Say(line("What are your opening hours?")),
        CallerStep::AwaitAgentQuiet(Duration::from_millis(1_000)),
        CallerStep::Say(line("Thank you, that is all I wanted to know.")),
    ];
    let data = tempfile::tempdir().unwrap();
    let (carrier, server, base) = serve_with(data.path(), folder, |config| {
        let agent = &mut config.agents[0];
        agent.greeting = Some("Good morning.".to_owned());
        agent.model.chat.url = Some(url.parse().unwrap());
        agent.model.chat.model = Some("m".to_owned());
    })
    .await;
    let calls = server.calls();
    server.loaded().await.unwrap();
    tokio::spawn(server.run(futures_util::stream::pending()));
    let options = CallOptions { limit: Duration::from_secs(120), ..CallOptions::default() };
    carrier.call(&base, "+15005550001", "+15005550006", caller, options).await;
    let record = calls.wait_for_finished(1).await.unwrap();
    assert_eq!(record.ended_reason, EndReason::Goodbye);
    let (first, second) = (requests.recv().await.unwrap(), requests.recv().await.unwrap());
    assert_eq!(first["messages"][3]["content"], "What are your opening hours?");
    assert!(first["tools"].as_array().unwrap().iter().any(|tool| tool["function"]["name"] == "end_call"));
    assert_eq!(second["messages"][4]["content"], "We open at nine.");
    let turns: Vec<&str> = record.summary.turns.iter().map(|turn| turn.text.as_str()).collect();
    assert!(turns.contains(&"We open at nine.") && turns.contains(&"Have a nice day, goodbye!"), "{turns:?}");
}

/// What makes answers better is not what makes them: where the reader of sentences, word vectors and Smart Turn are damaged,
/// a call is answered by letters and by silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(unix)]
async fn what_is_damaged_and_can_be_done_without_costs_no_call() {
    let Some(folder) = weights("what_is_damaged_and_can_be_done_without_costs_no_call") else { return };
    let line = line_of(&folder, "What are your opening hours?");
    let data = tempfile::tempdir().unwrap();
    let damaged = data.path().join("weights");
    for file in voice::models::packages().flat_map(|package| package.files) {
        let (from, to) = (folder.join(file.path), damaged.join(file.path));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        match ["minilm", "wordllama", "smart-turn"].iter().any(|damaged| Path::new(file.path).starts_with(damaged)) {
            true => std::fs::File::create(to).unwrap().set_len(file.size).unwrap(),
            false if from.is_file() => std::os::unix::fs::symlink(std::path::absolute(from).unwrap(), to).unwrap(),
            false => {}
        }
    }
    let flow = data.path().join("flow.toml");
    std::fs::write(&flow, FLOW).unwrap();
    let (carrier, server, base) = serve_with(data.path(), damaged, |config| {
        config.agents[0].model.flow = Some(flow);
        config.agents[0].audio.vad = Vad::Semantic;
    })
    .await;
    let calls = server.calls();
    server.loaded().await.unwrap();
    tokio::spawn(server.run(futures_util::stream::pending()));
    let caller = vec![
        CallerStep::Pause(Duration::from_millis(700)),
        CallerStep::Say(line),
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(500) },
        CallerStep::HangUp,
    ];
    let options = CallOptions { limit: Duration::from_secs(60), ..CallOptions::default() };
    carrier.call(&base, "+15005550001", "+15005550006", caller, options).await;
    let record = calls.wait_for_finished(1).await.unwrap();
    let answered = record.summary.turns.iter().any(|turn| turn.text.starts_with("We are"));
    assert!(answered && record.ended_reason == EndReason::CallerHungUp, "{:?}", record.summary.turns);
}

/// As the synthesis speaks it.
fn line_of(weights: &Path, text: &str) -> Arc<[u8]> {
    let mut speaker = Weights::open(weights).unwrap().speaker(Arc::new(Said::default())).unwrap();
    let line = speaker.say(text, Rate::Telephone, 1.0).unwrap();
    line.iter().map(|sample| call::g711::encode((sample * 32_767.0) as i16)).collect()
}

const FLOW: &str = r#"
    [[intent]]
    name = "hours"
    examples = ["what are your opening hours"]
    answer = "We are open from nine to five, on every day of the week. On holidays we open at ten. Please bring your key."
"#;

/// As many local calls as there may be: none lies more than the lead ahead, none breaks off in the middle of an answer. How
/// far ahead is told by each call's own clock, as the lead is defined. What then lies at the carrier is that and the time by
/// which it began to play later than was sent, less the time by which what comes after is late itself: to the microsecond,
/// message by message, as measured in this very answer.
///
/// ```sh
/// cargo test -p patchcord --test local -- --ignored
/// ```
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the weights, and a machine that has nothing else to do"]
async fn eight_calls_at_once_are_paced_as_one_is() {
    let folder = weights("eight_calls_at_once_are_paced_as_one_is").expect("it was asked for by name");
    let line = line_of(&folder, "What are your opening hours?");
    let data = tempfile::tempdir().unwrap();
    let (carrier, server, base) = serve(data.path(), FLOW, folder).await;
    let lead = Config::default().agents[0].call.lead;
    let calls = server.calls();
    server.loaded().await.unwrap();
    tokio::spawn(server.run(futures_util::stream::pending()));
    let reports = futures_util::future::join_all((0..patchcord::local::SESSIONS_MAX).map(|number| {
        let caller = vec![
            CallerStep::Pause(Duration::from_millis(700 + 130 * number as u64)),
            CallerStep::Say(line.clone()),
            CallerStep::AwaitAgentQuiet(Duration::from_millis(1_500)),
            CallerStep::HangUp,
        ];
        let options = CallOptions { limit: Duration::from_secs(60), ..CallOptions::default() };
        let (carrier, base) = (&carrier, &base);
        async move { carrier.call(base, &format!("+1500555{number:04}"), "+15005550006", caller, options).await }
    }))
    .await;
    calls.wait_for_finished(reports.len() as u64).await;
    let mut began_late = Vec::new();
    for (trace, report) in traced(data.path(), &reports) {
        let stream = &report.streams[0];
        let (problems, violations) = (&report.problems, &stream.violations);
        assert!(problems.is_empty() && violations.is_empty(), "{problems:?} {violations:?}");
        let sent = sent_by(&trace);
        let ahead = sent.iter().map(|sent| sent.ahead).max().unwrap();
        assert!(ahead <= lead, "{ahead:?} were sent ahead");
        // The trace is of this call, and tells of everything.
        let sizes: Vec<u64> = sent.iter().map(|sent| sent.bytes).collect();
        assert_eq!(stream.pieces.iter().map(|piece| piece.bytes).collect::<Vec<_>>(), sizes);
        // One answer, without a hole in it.
        assert_eq!(stream.audible.len(), 1, "{:?}", stream.audible);
        assert!(stream.audible[0].end - stream.audible[0].start > Duration::from_secs(4), "{:?}", stream.audible);
        let clock = StreamClock::of(stream, &trace, &sent);
        let first = &stream.pieces[0];
        // The later the stream's clock is taken to be, the less may lie there.
        let began = nanos(first.plays_at) - clock.latest(sent[0].at);
        for (sent, piece) in sent.iter().zip(&stream.pieces) {
            let (lies, late) = (nanos(piece.lies()), nanos(piece.received_at) - clock.latest(sent.at));
            let allowed = nanos(lead) + began - late;
            assert!(lies <= allowed && late >= 0, "{lies} ns lay there, {allowed} are explained ({began} and {late})");
        }
        // Of this, the most that it can have been.
        began_late.push(nanos(first.plays_at) - clock.earliest(sent[0].at));
        println!(
            "{ahead:?} ahead, {:?} at the carrier, which began to play {began} to {} ns after the first frame was sent",
            stream.most_buffered(),
            began_late.last().unwrap()
        );
    }
    began_late.sort_unstable();
    assert!(began_late[began_late.len() / 2] < nanos(BEGAN_LATE_MAX), "{began_late:?} ns after it was sent");
}

/// From the sending of an answer's first frame to its playing, in half of the calls: a socket of this machine, and up to a
/// millisecond by which the clocks may differ.
const BEGAN_LATE_MAX: Duration = Duration::from_millis(2);

/// Each call's trace, with the carrier's report of it.
fn traced<'a>(data: &Path, reports: &'a [CallReport]) -> Vec<(Trace, &'a CallReport)> {
    let folders = std::fs::read_dir(data.join("calls")).unwrap().map(|folder| folder.unwrap().path());
    let call = |folder: PathBuf| {
        let record = std::fs::read_to_string(folder.join("call.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let trace = Trace::read(&std::fs::read_to_string(folder.join("call.trace")).unwrap()).unwrap();
        let report = reports.iter().find(|report| report.call_sid == record["call_sid"]).unwrap();
        (trace, report)
    };
    folders.map(call).collect()
}

/// A message of audio that a call sent to the carrier, by its trace.
struct Sent {
    at: CallTime,
    bytes: u64,
    /// What was sent with it and could not have been played yet, if each frame is played as soon as it was sent and those
    /// before it were played.
    ahead: Duration,
}

fn sent_by(trace: &Trace) -> Vec<Sent> {
    let mut all = Vec::new();
    let mut played_until = CallTime::ZERO;
    for (now, event) in &trace.events {
        let Event::Output(output) = event else { continue };
        if output == "clear" {
            played_until = *now;
        }
        let Some(audio) = output.strip_prefix("audio ") else { continue };
        let (span, pad) = audio.split_once(" pad ").unwrap_or((audio, "0"));
        let (_, len) = span.split_once('+').unwrap();
        let bytes = len.parse::<u64>().unwrap() + pad.parse::<u64>().unwrap();
        played_until = played_until.max(*now) + Duration::from_micros(125 * bytes);
        all.push(Sent { at: *now, bytes, ahead: played_until.since(*now) });
    }
    all
}

/// The call's time by the stream's clock, in nanoseconds. No message comes before it was sent, whichever way it goes: so the
/// one clock is ahead of the other by no less than the caller's frames say, and by no more than the agent's.
struct StreamClock {
    ahead: RangeInclusive<i64>,
}

impl StreamClock {
    fn of(stream: &StreamReport, trace: &Trace, sent: &[Sent]) -> StreamClock {
        let received =
            stream.pieces.iter().zip(sent).map(|(piece, sent)| nanos(piece.received_at) - call_nanos(sent.at));
        let said = trace.events.iter().filter_map(|(now, event)| match event {
            Event::Input(Input::Carrier(CarrierInput::Audio { timestamp_ms, .. })) => {
                let said = stream.started_at + Duration::from_millis(timestamp_ms + 20);
                // It came within the microsecond that the trace names.
                Some(nanos(said) - call_nanos(*now) - 1_000)
            }
            _ => None,
        });
        let ahead = said.max().unwrap()..=received.min().unwrap();
        assert!(!ahead.is_empty(), "by {ahead:?} ns something came before it was sent");
        StreamClock { ahead }
    }

    /// At the earliest, the call's time was then.
    fn earliest(&self, at: CallTime) -> i64 {
        call_nanos(at) + self.ahead.start()
    }

    fn latest(&self, at: CallTime) -> i64 {
        call_nanos(at) + self.ahead.end()
    }
}

fn nanos(time: Duration) -> i64 {
    time.as_nanos().try_into().unwrap()
}

fn call_nanos(time: CallTime) -> i64 {
    nanos(time.since(CallTime::ZERO))
}

/// Each answer is another, as long as what was said, and nothing of it was said before.
const ECHO: &str = r#"
    [[intent]]
    name = "begin"
    key = "1"
    answer = "Go on."
    next = "note"

    [[intent]]
    name = "note"
    slots = { said = "text" }
    answer = "I have noted {said}"
    next = "note"
"#;

/// Turns of one call: a call of them is over within two minutes.
const TURNS: usize = 13;

/// What is heard: 16 bits, -36 dBFS.
const LOUD: u16 = 500;

/// How long callers wait in whole calls: from their last loud sample to the agent's first, both where the carrier has them.
/// Callers are recorded prompts without an inner pause (`PATCHCORD_PROMPTS`, as in `voice/tests/measure`), `PATCHCORD_CALLS`
/// at once, of piece `PATCHCORD_PIECE` of the prompts; `PATCHCORD_VAD=semantic` ends turns by how they sound. `PATCHCORD_WAITS`
/// names a file: the turns are added to it, and the figures are of all in it.
///
/// ```sh
/// cargo test -p patchcord --test local -- --ignored --nocapture voice_to_voice
/// ```
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn voice_to_voice() {
    let folder = weights("voice_to_voice").expect("it was asked for by name");
    let number = |name: &str| std::env::var(name).map_or(0, |number| number.parse::<usize>().unwrap());
    let (calls_at_once, piece) = (number("PATCHCORD_CALLS").max(1), number("PATCHCORD_PIECE"));
    let semantic = std::env::var("PATCHCORD_VAD").is_ok_and(|vad| vad == "semantic");
    let prompts = prompts_without_pauses();
    let data = tempfile::tempdir().unwrap();
    let flow = data.path().join("flow.toml");
    std::fs::write(&flow, ECHO).unwrap();
    let (carrier, server, base) = serve_with(data.path(), folder, |config| {
        config.agents[0].model.flow = Some(flow);
        if semantic {
            config.agents[0].audio.vad = Vad::Semantic;
        }
    })
    .await;
    let calls = server.calls();
    server.loaded().await.unwrap();
    tokio::spawn(server.run(futures_util::stream::pending()));
    let reports = futures_util::future::join_all((0..calls_at_once).map(|call| {
        let lines = prompts.iter().cycle().skip((piece * calls_at_once + call) * TURNS).take(TURNS);
        // Nobody speaks at the same moment as somebody else by design.
        let mut caller =
            vec![CallerStep::Pause(Duration::from_millis(1_500 + 370 * call as u64)), CallerStep::Press('1')];
        for line in lines {
            caller.push(CallerStep::AwaitAgentQuiet(Duration::from_millis(700)));
            caller.push(CallerStep::Say(line.clone()));
        }
        caller.extend([CallerStep::AwaitAgentQuiet(Duration::from_millis(700)), CallerStep::HangUp]);
        let options = CallOptions { limit: Duration::from_secs(118), ..CallOptions::default() };
        let (carrier, base) = (&carrier, &base);
        async move { carrier.call(base, &format!("+1500555{call:04}"), "+15005550006", caller, options).await }
    }))
    .await;
    calls.wait_for_finished(reports.len() as u64).await;
    let mut waits = Vec::new();
    for (trace, report) in traced(data.path(), &reports) {
        waits.extend(waits_of(&report.streams[0], &trace));
    }
    let unanswered = reports.len() * TURNS - waits.len();
    println!("{} turns of {} calls at once, {unanswered} without one answer of their own", waits.len(), reports.len());
    if let Some(path) = std::env::var_os("PATCHCORD_WAITS") {
        let mut kept = std::fs::read_to_string(&path).unwrap_or_default();
        kept.extend(waits.iter().map(|[over, thought, sent, heard]| format!("{over} {thought} {sent} {heard}\n")));
        std::fs::write(&path, &kept).unwrap();
        let parts = |line: &str| line.split(' ').map(|part| part.parse().unwrap()).collect::<Vec<f64>>();
        waits = kept.lines().map(|line| parts(line).try_into().unwrap()).collect();
    }
    let print = |name: &str, mut ms: Vec<f64>| {
        ms.sort_by(f64::total_cmp);
        let (half, most) = (ms[ms.len() / 2], ms[ms.len() * 9 / 10]);
        println!(
            "{name}: of {}, median {half:.0} ms, 90 of 100 within {most:.0} ms, longest {:.0} ms",
            ms.len(),
            ms[ms.len() - 1]
        );
    };
    print("voice to voice", waits.iter().map(|parts| parts.iter().sum()).collect());
    for (part, name) in ["until the turn was over", "until there was audio", "until it was sent", "until it was heard"]
        .into_iter()
        .enumerate()
    {
        print(name, waits.iter().map(|parts| parts[part]).collect());
    }
}

/// Recordings of one to three and a half seconds, in none of which it is quiet for 0.3 s.
fn prompts_without_pauses() -> Vec<Arc<[u8]>> {
    let folder = PathBuf::from(std::env::var("PATCHCORD_PROMPTS").expect("PATCHCORD_PROMPTS names no folder"));
    let names = include_str!("../../voice/tests/data/prompts.txt").lines().filter(|line| !line.starts_with('#'));
    let prompts = names.map(|name| {
        let path = folder.join(format!("usr/share/asterisk/sounds/en_US_f_Allison/{name}.wav"));
        patchcord::demo::wav::read(&std::fs::read(path).unwrap()).unwrap()
    });
    let whole = prompts.filter_map(|prompt| {
        let loud: Vec<usize> = (0..prompt.len()).filter(|&at| is_loud(prompt[at])).collect();
        let (first, last) = (*loud.first()?, *loud.last()?);
        let is_whole =
            (8_000..28_000).contains(&(last - first)) && loud.windows(2).all(|pair| pair[1] - pair[0] < 2_400);
        is_whole.then(|| prompt.into())
    });
    whole.collect()
}

fn is_loud(sample: u8) -> bool {
    call::g711::decode(sample).unsigned_abs() > LOUD
}

/// Of each turn of a call that got one answer: how long, in milliseconds, from its last loud sample until the model told that
/// it was over, from then until the model gave audio, until the first of that was sent, and until it was loud at the caller's.
fn waits_of(stream: &StreamReport, trace: &Trace) -> Vec<[f64; 4]> {
    let millis = |time: CallTime| time.as_micros() as f64 / 1_000.0;
    // The stream's clock by the call's: the frame that was least late was not late.
    let audio = trace.events.iter().filter_map(|(now, event)| match event {
        Event::Input(Input::Carrier(CarrierInput::Audio { timestamp_ms, .. })) => {
            Some(millis(*now) - (*timestamp_ms as f64 + 20.0))
        }
        _ => None,
    });
    let ahead = audio.fold(f64::INFINITY, f64::min);
    let told = |is_it: fn(&Event) -> bool| -> Vec<f64> {
        trace.events.iter().filter(|(_, event)| is_it(event)).map(|(now, _)| millis(*now) - ahead).collect()
    };
    let over = told(|event| matches!(event, Event::Input(Input::Model(_, ModelInput::SpeechStopped { .. }))));
    let audio = told(|event| matches!(event, Event::Input(Input::Model(_, ModelInput::Audio { .. }))));
    let sent = told(|event| matches!(event, Event::Output(output) if output.starts_with("audio ")));
    let after = |times: &[f64], at: f64| times.iter().copied().find(|time| *time > at);
    // Of the steps that were taken, every second from the fourth on is a line of the caller's.
    let place = |time: Duration| ((time - stream.started_at).as_micros() / 125) as usize;
    let ended = stream.ended_at.unwrap_or_default();
    let steps: Vec<(usize, usize)> =
        stream.steps.iter().map(|step| (place(step.began_at), place(step.ended_at.unwrap_or(ended)))).collect();
    let mut waits = Vec::new();
    for turn in 0..TURNS {
        let (Some(&(began, until)), Some(&(_, answered))) = (steps.get(3 + 2 * turn), steps.get(4 + 2 * turn)) else {
            break;
        };
        let line = &stream.said[began..(until + 160).min(stream.said.len())];
        let Some(last) = line.iter().rposition(|&sample| is_loud(sample)) else { continue };
        let last = began + last;
        let answer = &stream.played[last..answered.min(stream.played.len())];
        let Some(heard) = answer.iter().position(|&sample| is_loud(sample)) else { continue };
        let ms = |at: usize| at as f64 / 8.0;
        let (last, heard) = (ms(last), ms(last + heard));
        // An end that was told before is one of a part of the turn; two ends are two answers.
        let ends = over.iter().filter(|over| (ms(began)..ms(answered)).contains(*over)).count();
        let times = after(&over, last).and_then(|over| Some((over, after(&audio, over)?)));
        let Some((over, audio)) = times.filter(|_| ends == 1) else { continue };
        let Some(sent) = after(&sent, audio - 0.001) else { continue };
        waits.push([over - last, audio - over, sent - audio, heard - sent]);
    }
    waits
}
