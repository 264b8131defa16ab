//! Sounds of our own reach the caller's ear.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::time::Duration;

use call::EndReason;
use patchcord::Server;
use patchcord::config::{Config, Secret};
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{CallOptions, FakeTwilio, Settings};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_the_apology_of_an_agent_is_what_its_callers_hear() {
    let settings = Settings::default();
    let carrier = FakeTwilio::start(settings.clone()).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut config = Config { data: data.path().to_owned(), ..Config::default() };
    // Nobody listens there, and it is not tried twice.
    config.openai.url = "ws://127.0.0.1:1".parse().unwrap();
    config.agents[0].call.reconnect_max = None;
    let apology: Vec<u8> = (0..1_600_u32).map(|index| 0x10 + (index % 97) as u8).collect();
    config.agents[0].clips.apology = apology.clone().into();
    config.twilio.account_sid = Some(settings.account_sid);
    config.twilio.auth_token = Some(Secret::new(settings.auth_token));
    config.twilio.api_url = carrier.api_url().parse().unwrap();
    let server = Server::new(config, TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let (calls, base) = (server.calls(), format!("http://{}", server.address()));
    tokio::spawn(server.run(futures_util::stream::pending()));

    let listen = vec![CallerStep::AwaitAgentQuiet(Duration::from_secs(20))];
    let options = CallOptions { limit: Duration::from_secs(30), ..CallOptions::default() };
    let report = carrier.call(&base, "+15005550001", "+15005550006", listen, options).await;
    let record = calls.wait_for_finished(1).await.unwrap();
    assert_eq!(record.ended_reason, EndReason::ModelFailed);
    let played = &report.streams[0].played;
    assert!(played.windows(apology.len()).any(|window| window == apology), "{} bytes were played", played.len());
}
