//! Calls with the embedded model: without its weights, and several at once with them.
#![cfg(feature = "voice")]
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use call::trace::{Event, Trace};
use call::{CallTime, EndReason};
use patchcord::Server;
use patchcord::agent::Provider;
use patchcord::config::{Config, Secret};
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{CallOptions, FakeTwilio, Settings};
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
            1 => event(serde_json::json!({"content": "**We open** at nine."})) + "data: [DONE]\n\n",
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

    let mut speaker = Weights::open(&folder).unwrap().speaker(Arc::new(Said::default())).unwrap();
    let mut line = |text: &str| -> Arc<[u8]> {
        let line = speaker.say(text, Rate::Telephone, 1.0).unwrap();
        line.iter().map(|sample| call::g711::encode((sample * 32_767.0) as i16)).collect()
    };
    let caller = vec![
        CallerStep::AwaitAgentQuiet(Duration::from_millis(1_000)),
        CallerStep::Say(line("What are your opening hours?")),
        CallerStep::AwaitAgentQuiet(Duration::from_millis(1_000)),
        CallerStep::Say(line("Thank you, that is all I wanted to know.")),
    ];
    let data = tempfile::tempdir().unwrap();
    let (carrier, server, base) = serve_with(data.path(), folder, |config| {
        // However long the weights take to be loaded here.
        config.openai.connect_timeout = Duration::from_secs(60);
        let agent = &mut config.agents[0];
        agent.call.configure_timeout = Duration::from_secs(60);
        agent.greeting = Some("Good morning.".to_owned());
        agent.model.chat.url = Some(url.parse().unwrap());
        agent.model.chat.model = Some("m".to_owned());
    })
    .await;
    let calls = server.calls();
    tokio::spawn(server.run(futures_util::stream::pending()));
    let options = CallOptions { limit: Duration::from_secs(120), ..CallOptions::default() };
    carrier.call(&base, "+15005550001", "+15005550006", caller, options).await;
    let record = calls.wait_for_finished(1).await.unwrap();
    assert_eq!(record.ended_reason, EndReason::Goodbye);
    let (first, second) = (requests.recv().await.unwrap(), requests.recv().await.unwrap());
    assert_eq!(first["messages"][2]["content"], "What are your opening hours?");
    assert!(first["tools"].as_array().unwrap().iter().any(|tool| tool["function"]["name"] == "end_call"));
    assert_eq!(second["messages"][3]["content"], "We open at nine.");
    let turns: Vec<&str> = record.summary.turns.iter().map(|turn| turn.text.as_str()).collect();
    assert!(turns.contains(&"We open at nine.") && turns.contains(&"Have a nice day, goodbye!"), "{turns:?}");
}

const FLOW: &str = r#"
    [[intent]]
    name = "hours"
    examples = ["what are your opening hours"]
    answer = "We are open from nine to five, on every day of the week. On holidays we open at ten. Please bring your key."
"#;

/// As many local calls as there may be: none lies more than the lead ahead, none breaks off in the middle of an answer. How
/// far ahead is told by each call's own clock, as A3 promises it: a carrier that begins to play a little later than a frame
/// was sent has so much more of it lying there, and no sender can know.
///
/// ```sh
/// cargo test -p patchcord --test local -- --ignored
/// ```
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the weights, and a machine that has nothing else to do"]
async fn eight_calls_at_once_are_paced_as_one_is() {
    let folder = weights("eight_calls_at_once_are_paced_as_one_is").expect("it was asked for by name");
    let mut speaker = Weights::open(&folder).unwrap().speaker(Arc::new(Said::default())).unwrap();
    let line = speaker.say("What are your opening hours?", Rate::Telephone, 1.0).unwrap();
    let line: Arc<[u8]> = line.iter().map(|sample| call::g711::encode((sample * 32_767.0) as i16)).collect();
    let data = tempfile::tempdir().unwrap();
    let (carrier, server, base) = serve(data.path(), FLOW, folder).await;
    let lead = Config::default().agents[0].call.lead;
    let calls = server.calls();
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
    let folders = std::fs::read_dir(data.path().join("calls")).unwrap();
    let traces = folders.map(|folder| std::fs::read_to_string(folder.unwrap().path().join("call.trace")).unwrap());
    let sent: Vec<Sent> = traces.map(|trace| Sent::of(&Trace::read(&trace).unwrap())).collect();
    let ahead: Vec<Duration> = sent.iter().map(|sent| sent.most_ahead).collect();
    let lay: Vec<Duration> = reports.iter().map(|report| report.streams[0].most_buffered).collect();
    println!("ahead by the calls' clocks {ahead:?}, by the carrier's {lay:?}");
    assert!(ahead.iter().all(|ahead| *ahead <= lead), "{ahead:?} were sent ahead");
    // The traces are of these calls, and tell of everything.
    let mut traced: Vec<u64> = sent.iter().map(|sent| sent.bytes).collect();
    let mut received: Vec<u64> = reports.iter().map(|report| report.streams[0].received.audio_bytes).collect();
    traced.sort_unstable();
    received.sort_unstable();
    assert_eq!(traced, received);
    for report in &reports {
        let stream = &report.streams[0];
        assert!(
            report.problems.is_empty() && stream.violations.is_empty(),
            "{:?} {:?}",
            report.problems,
            stream.violations
        );
        // One answer, without a hole in it.
        assert_eq!(stream.audible.len(), 1, "{:?}", stream.audible);
        assert!(stream.audible[0].end - stream.audible[0].start > Duration::from_secs(4), "{:?}", stream.audible);
    }
}

/// What a call sent to the carrier, by its trace.
#[derive(Default)]
struct Sent {
    bytes: u64,
    /// The most that was sent and could not have been played yet, if each frame is played as soon as it was sent and those
    /// before it were played.
    most_ahead: Duration,
}

impl Sent {
    fn of(trace: &Trace) -> Sent {
        let mut sent = Sent::default();
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
            sent.bytes += bytes;
            played_until = played_until.max(*now) + Duration::from_micros(125 * bytes);
            sent.most_ahead = sent.most_ahead.max(played_until.since(*now));
        }
        sent
    }
}
