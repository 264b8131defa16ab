//! A server between the simulated carrier and the simulated model, over real sockets.

use patchcord::config::{Config, Secret, Verify};
use patchcord::{Calls, Server};
use sim::carrier::twilio::{FakeTwilio, Settings};
use sim::model::FakeModel;
use sim::model::server::{ModelServer, Opening};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub struct Stage {
    pub carrier: FakeTwilio,
    pub model: ModelServer,
    pub calls: Calls,
    /// Origin of the server.
    pub base: String,
    pub server: JoinHandle<anyhow::Result<()>>,
    pub stop: oneshot::Sender<()>,
    _data: TempDir,
}

impl Stage {
    /// One agent, who says hello.
    pub async fn set(session: impl Fn(&Opening) -> FakeModel + Send + Sync + 'static) -> Stage {
        Stage::set_with(session, TcpListener::bind("127.0.0.1:0").await.unwrap(), |_| {}).await
    }

    /// The same with a listener of one's own, and another configuration.
    pub async fn set_with(
        session: impl Fn(&Opening) -> FakeModel + Send + Sync + 'static,
        listener: TcpListener,
        change: impl FnOnce(&mut Config),
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
        let server = Server::new(config, listener).unwrap();
        let (calls, base) = (server.calls(), format!("http://{}", server.address()));
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Stage { carrier, model, calls, base, server, stop, _data: data }
    }

    /// Stops the server, which has nothing left to do.
    pub async fn strike(self) {
        drop(self.stop);
        self.server.await.unwrap().unwrap();
    }
}
