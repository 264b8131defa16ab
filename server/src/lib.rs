//! The server: carriers' media sockets on one side, a speech-to-speech model on the other, a call between them.
//!
//! [`run`] is the server as a function. Who wants to look at its calls, a test or the demo, takes a [`Server`] instead.

pub mod agent;
mod calls;
mod carrier;
mod commands;
pub mod config;
pub mod demo;
mod driver;
mod http;
pub mod log;
mod meter;
mod metrics;
mod model;
pub mod record;
pub mod replay;
mod samples;
mod socket;
mod spans;
#[cfg(feature = "otel")]
mod telemetry;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::serve::ListenerExt;
use reqwest::Url;
use tokio::net::TcpListener;

pub use calls::{CallEvent, Calls, Happening};
pub use config::Config;

use commands::Commands;
use http::App;

/// From dialling to a connection, for REST and tools.
const HTTP_CONNECT_MAX: Duration = Duration::from_secs(5);

/// Serves until `shutdown` resolves, then lets the calls say goodbye to the carrier and returns.
///
/// # Errors
/// If something that the configuration names cannot be used, or the listener breaks.
pub async fn run(config: Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    Server::new(config, listener)?.run(shutdown).await
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
        // The only provider in the process; a second server in it finds the first one's.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let address = listener.local_addr().context("the listener has no address")?;
        let public_url = match &config.public_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("http://{address}")).context("the listener's address makes no URL")?,
        };
        let tls = model::tls(config.openai.ca_file.as_deref())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .connect_timeout(HTTP_CONNECT_MAX)
            // Neither the carrier nor a tool sends us elsewhere, and a secret is not for whoever it would be.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("no HTTP client")?;
        #[cfg_attr(not(feature = "otel"), expect(unused_mut, reason = "only spans change it"))]
        let mut calls = Calls::new(config.max_calls, config.twilio.token_max, config.data.clone());
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
        let app = App {
            public_url,
            on_loopback: address.ip().is_loopback(),
            calls,
            commands: Commands::new(client, config.twilio.clone()),
            tls,
            draining: AtomicBool::new(false),
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

    /// As [`run`].
    ///
    /// # Errors
    /// If the listener breaks.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Server { app, listener, address, .. } = self;
        tracing::info!(%address, public_url = %app.public_url, agents = app.config.agents.len(), "listening");
        // Frames of 20 ms must not wait to be grouped.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
        });
        let service = http::router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let mut shutdown = std::pin::pin!(shutdown);
        let serving = async { axum::serve(listener, service).await.context("the listener broke") };
        // Until the calls have ended the webhooks are still answered: the carrier asks what comes after the stream.
        let mut serving = std::pin::pin!(serving);
        let stopped = futures_util::future::select(&mut serving, &mut shutdown);
        if let futures_util::future::Either::Left((broke, _)) = stopped.await {
            return broke;
        }
        app.draining.store(true, Ordering::Relaxed);
        let hang_up = std::pin::pin!(app.calls.hang_up_all(app.config.shutdown_max));
        let stopped = match futures_util::future::select(serving, hang_up).await {
            futures_util::future::Either::Left((broke, _)) => broke,
            futures_util::future::Either::Right(_) => Ok(()),
        };
        #[cfg(feature = "otel")]
        if let Some(telemetry) = self.telemetry {
            telemetry.finish().await;
        }
        stopped
    }
}
