//! A server between the simulated carrier and the simulated model, over real sockets.
#![allow(dead_code, reason = "each test file has this module for itself, and no use for all of it")]

pub mod open;

use std::time::Duration;

use futures_util::stream;
use patchcord::config::{Config, Secret, Verify};
use patchcord::{Calls, Server};
use sim::carrier::twilio::{FakeTwilio, Settings};
use sim::model::FakeModel;
use sim::model::server::{ModelServer, Opening};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub struct Stage {
    pub carrier: FakeTwilio,
    pub model: ModelServer,
    pub calls: Calls,
    /// Origin of the server.
    pub base: String,
    server: JoinHandle<anyhow::Result<()>>,
    stop: mpsc::UnboundedSender<()>,
    pub data: TempDir,
}

impl Stage {
    /// One agent, who says hello.
    pub async fn set(session: impl Fn(&Opening) -> FakeModel + Send + Sync + 'static) -> Stage {
        Stage::with(session, |_| {}).await
    }

    /// The same, with other settings.
    pub async fn with(
        session: impl Fn(&Opening) -> FakeModel + Send + Sync + 'static,
        change: impl FnOnce(&mut Config),
    ) -> Stage {
        Stage::at(Settings::default(), change, session).await
    }

    /// The same, with another carrier.
    pub async fn at(
        settings: Settings,
        change: impl FnOnce(&mut Config),
        session: impl Fn(&Opening) -> FakeModel + Send + Sync + 'static,
    ) -> Stage {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Stage::build(listener, settings, change, session).await
    }

    /// The same, with a listener of one's own.
    pub async fn listening(
        session: impl Fn(&Opening) -> FakeModel + Send + Sync + 'static,
        listener: TcpListener,
        change: impl FnOnce(&mut Config),
    ) -> Stage {
        Stage::build(listener, Settings::default(), change, session).await
    }

    async fn build(
        listener: TcpListener,
        settings: Settings,
        change: impl FnOnce(&mut Config),
        session: impl Fn(&Opening) -> FakeModel + Send + Sync + 'static,
    ) -> Stage {
        let carrier = FakeTwilio::start(settings.clone()).await.unwrap();
        let model = ModelServer::start("key", session).await.unwrap();
        let data = tempfile::tempdir().unwrap();
        let mut config = Config { data: data.path().to_owned(), ..Config::default() };
        config.openai.url = model.url().parse().unwrap();
        config.openai.key = Some(Secret::new("key"));
        config.twilio.account_sid = Some(settings.account_sid);
        config.twilio.auth_token = Some(Secret::new(settings.auth_token));
        config.twilio.api_url = carrier.api_url().parse().unwrap();
        config.twilio.verify = Verify::Always;
        config.agents[0].greeting = Some("Hello.".to_owned());
        // Where the clock jumps, every moment in which nobody does anything is as long as this.
        config.request_head_max = Duration::from_secs(86_400);
        config.openai.ping_every = Duration::from_secs(86_400);
        change(&mut config);
        let server = Server::new(config, listener).unwrap();
        let (calls, base) = (server.calls(), format!("http://{}", server.address()));
        let (stop, stops) = mpsc::unbounded_channel();
        let stops = stream::unfold(stops, |mut stops| async { stops.recv().await.map(|()| ((), stops)) });
        let server = tokio::spawn(server.run(stops));
        // It answers once its database is open.
        reqwest::get(format!("{base}/healthz")).await.unwrap();
        Stage { carrier, model, calls, base, server, stop, data }
    }

    /// As a signal does.
    pub fn ask_to_stop(&self) {
        self.stop.send(()).unwrap();
    }

    /// Asks the server to stop, unless it was, and waits until it has.
    pub async fn strike(self) {
        let _ = self.stop.send(());
        self.server.await.unwrap().unwrap();
    }

    /// Waits until the server, which was asked to stop, has.
    pub async fn stopped(self) -> (Calls, ModelServer) {
        self.server.await.unwrap().unwrap();
        (self.calls, self.model)
    }
}

/// The control API, as whoever is on this machine.
impl Stage {
    pub async fn get(&self, path: &str) -> serde_json::Value {
        let response = reqwest::get(format!("{}{path}", self.base)).await.unwrap();
        response.json().await.unwrap()
    }

    pub async fn post(
        &self,
        path: &str,
        body: Option<serde_json::Value>,
        idempotency_key: Option<&str>,
    ) -> (reqwest::StatusCode, serde_json::Value) {
        let mut request = reqwest::Client::new().post(format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// Places a call, which has to be accepted.
    pub async fn place(&self, wanted: serde_json::Value) -> serde_json::Value {
        let (status, call) = self.post("/api/v1/calls", Some(wanted), None).await;
        assert_eq!(status, reqwest::StatusCode::CREATED, "{call}");
        call
    }
}
