//! A server between the simulated carrier and the simulated model, over real sockets.
#![allow(dead_code, reason = "each test file has this module for itself, and no use for all of it")]

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
    _data: TempDir,
}

impl Stage {
    /// One agent, who says hello.
    pub async fn set(session: impl Fn(&Opening) -> FakeModel + Send + Sync + 'static) -> Stage {
        Stage::set_with(|_| {}, session).await
    }

    /// As [`Stage::set`], with another configuration.
    pub async fn set_with(
        change: impl FnOnce(&mut Config),
        session: impl Fn(&Opening) -> FakeModel + Send + Sync + 'static,
    ) -> Stage {
        let settings = Settings::default();
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
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(config, listener).unwrap();
        let (calls, base) = (server.calls(), format!("http://{}", server.address()));
        let (stop, stops) = mpsc::unbounded_channel();
        let stops = stream::unfold(stops, |mut stops| async { stops.recv().await.map(|()| ((), stops)) });
        let server = tokio::spawn(server.run(stops));
        Stage { carrier, model, calls, base, server, stop, _data: data }
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
