//! The server: carriers' media sockets on one side, a speech-to-speech model on the other, a call between them.
//!
//! [`run`] is the server as a function. Who wants to look at its calls, a test or the demo, takes a [`Server`] instead.

pub mod agent;
pub mod answer;
mod bell;
#[cfg(target_os = "linux")]
pub mod bench;
mod calls;
mod carrier;
pub mod check;
mod commands;
pub mod config;
pub mod demo;
pub mod dial;
mod driver;
mod ears;
mod fetch;
#[cfg(test)]
#[path = "../tests/handoffs/mod.rs"]
mod handoffs;
mod http;
mod inbox;
pub mod init;
#[cfg(feature = "voice")]
pub mod local;
pub mod log;
mod meter;
mod metrics;
mod model;
mod outbound;
mod outside;
mod read_ahead;
pub mod record;
pub mod replay;
mod samples;
#[cfg(test)]
#[path = "../tests/shell/mod.rs"]
mod shell;
mod socket;
mod spans;
mod stop;
mod store;
#[cfg(feature = "otel")]
mod telemetry;
mod together;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::Stream;
use futures_util::future::{Either, select};
use reqwest::Url;
use tokio::net::TcpListener;

pub use calls::{CallEvent, Calls, Happening, Held};
pub use config::Config;

use commands::Commands;
use fetch::Fetcher;
use http::App;
use http::listen::{self, Limits};
use outbound::Outbound;
use store::Store;

/// From dialling to a connection, for REST and tools.
const HTTP_CONNECT_MAX: Duration = Duration::from_secs(5);

/// Serves until `stops` asks to stop. Then no call is taken any more, those that go on have [`Config::drain_max`] to
/// end by themselves, the rest [`Config::goodbye_max`] to say goodbye, and what is left is hung up. When `stops` asks for
/// the second time, that happens at once.
///
/// # Errors
/// If something that the configuration names cannot be used, or the listener breaks.
pub async fn run(config: Config, listener: TcpListener, stops: impl Stream<Item = ()>) -> anyhow::Result<()> {
    Server::new(config, listener)?.run(stops).await
}

/// For REST and tools.
fn http_client(tls: &rustls::ClientConfig) -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .connect_timeout(HTTP_CONNECT_MAX)
        // Neither the carrier nor a tool sends us elsewhere, and a secret is not for whoever it would be.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("no HTTP client")
}

/// A server that is ready to run.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    #[cfg(feature = "otel")]
    telemetry: Option<telemetry::Telemetry>,
}

impl Server {
    /// # Errors
    /// If something that the configuration names cannot be used.
    pub fn new(config: Config, listener: TcpListener) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("the listener has no address")?;
        let public_url = match &config.public_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("http://{address}")).context("the listener's address makes no URL")?,
        };
        let tls = model::tls(config.openai.ca_file.as_deref())?;
        let client = http_client(&tls)?;
        let database =
            config.database.as_ref().map_or_else(|| config.data.join(store::FILE), |database| database.0.clone());
        let store = Store::new(&database, &config.data);
        #[cfg_attr(not(feature = "otel"), expect(unused_mut, reason = "only spans change it"))]
        let mut calls =
            Calls::new(config.max_calls, config.twilio.token_max, config.data.clone()).kept_in(store.clone());
        #[cfg(feature = "otel")]
        let telemetry = match &config.otlp_endpoint {
            Some(endpoint) => Some(telemetry::Telemetry::start(endpoint, client.clone())?),
            None => None,
        };
        #[cfg(feature = "otel")]
        if let Some(telemetry) = &telemetry {
            calls.export_spans_to(telemetry.spans());
        }
        #[cfg(not(feature = "otel"))]
        if config.otlp_endpoint.is_some() {
            tracing::warn!(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this build exports nothing: it lacks the feature otel"
            );
        }
        #[cfg(feature = "voice")]
        let local = local::Local::start(&config, &client)?;
        let ears = ears::start(&config)?;
        let commands = Commands::new(client, config.twilio.clone(), Some(&public_url));
        let app = App {
            outbound: Outbound::new(calls.clone(), commands.clone(), config.outbound.clone(), &public_url),
            public_url,
            on_loopback: address.ip().is_loopback(),
            fetcher: Fetcher::new(calls.clone(), commands.clone()),
            calls,
            commands,
            store,
            tls,
            instance: uuid::Uuid::now_v7().to_string(),
            #[cfg(feature = "voice")]
            local,
            ears,
            config,
        };
        Ok(Server {
            app: Arc::new(app),
            listener,
            address,
            #[cfg(feature = "otel")]
            telemetry,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its calls, which can be looked at while it runs and after.
    pub fn calls(&self) -> Calls {
        self.app.calls.clone()
    }

    /// Waits until the embedded model can answer, if there is one. A call that comes before waits for that with all that is
    /// said in it.
    ///
    /// # Errors
    /// If it never will; the log says why.
    pub fn loaded(&self) -> impl Future<Output = anyhow::Result<()>> + Send + use<> {
        #[cfg(feature = "voice")]
        let loaded = self.app.local.as_ref().map(local::Local::loaded);
        async move {
            #[cfg(feature = "voice")]
            if let Some(loaded) = loaded {
                anyhow::ensure!(loaded.await, "the embedded model cannot be loaded; the log says why");
            }
            Ok(())
        }
    }

    /// As [`run`].
    ///
    /// # Errors
    /// If the listener breaks.
    pub async fn run(self, stops: impl Stream<Item = ()>) -> anyhow::Result<()> {
        let Server { app, listener, address, .. } = self;
        app.store.open().await?;
        tracing::info!("audio settings: {}", app.config.audio_settings());
        tracing::info!(%address, public_url = %app.public_url, agents = app.config.agents.len(), "listening");
        let limits = Limits { connections: app.config.connections_max, head: app.config.request_head_max };
        // Until the calls have ended the webhooks are still answered: the carrier asks what comes after the stream.
        let serving = std::pin::pin!(listen::serve(listener, http::router(app.clone()), limits));
        match select(serving, std::pin::pin!(stop::stopped(&app, stops))).await {
            Either::Left((never, _)) => match never {},
            Either::Right(((), _)) => {}
        }
        app.store.close().await;
        #[cfg(feature = "otel")]
        if let Some(telemetry) = self.telemetry {
            telemetry.finish().await;
        }
        Ok(())
    }
}
