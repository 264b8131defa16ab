//! Calls with the embedded model: without its weights, and several at once with them.
#![cfg(feature = "voice")]
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use call::EndReason;
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
    let settings = Settings::default();
    let carrier = FakeTwilio::start(settings.clone()).await.unwrap();
    let mut config = Config { data: folder.to_owned(), voice_models: Some(weights), ..Config::default() };
    std::fs::write(folder.join("flow.toml"), flow).unwrap();
    config.agents[0].model.provider = Provider::Local;
    config.agents[0].model.flow = Some(folder.join("flow.toml"));
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

const FLOW: &str = r#"
    [[intent]]
    name = "hours"
    examples = ["what are your opening hours"]
    answer = "We are open from nine to five, on every day of the week. On holidays we open at ten. Please bring your key."
"#;

/// As many local calls as there may be: none lies more than the lead ahead, none breaks off in the middle of an answer.
///
/// ```sh
/// cargo test -p patchcord --test local -- --ignored
/// ```
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the weights, and a machine that has nothing else to do"]
async fn eight_calls_at_once_are_paced_as_one_is() {
    let named = std::env::var_os("PATCHCORD_VOICE_MODELS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.voice-models"));
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
    for report in &reports {
        let stream = &report.streams[0];
        assert!(
            report.problems.is_empty() && stream.violations.is_empty(),
            "{:?} {:?}",
            report.problems,
            stream.violations
        );
        assert!(stream.most_buffered <= lead, "{:?} lay unplayed", stream.most_buffered);
        // One answer, without a hole in it.
        assert_eq!(stream.audible.len(), 1, "{:?}", stream.audible);
        assert!(stream.audible[0].end - stream.audible[0].start > Duration::from_secs(4), "{:?}", stream.audible);
    }
}
