//! The connection to the model.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Bytes, Error, Message as WsMessage, Utf8Bytes};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use crate::carrier::{READ_BUFFER, WRITE_BUFFER};
use crate::config::OpenAi;
use crate::outside::{Wire, dial};
use crate::read_ahead::ReadAhead;
use crate::socket::{Message, OutText, Pings, Received, Socket};

pub(crate) type ModelConnection = WebSocketStream<MaybeTlsStream<ReadAhead<Wire>>>;
pub(crate) type ModelSocket = Socket<ModelConnection, WsMessage>;

/// The vendor's client sets no limit, and some events carry a whole item's audio.
const MESSAGE_MAX: usize = 16 << 20;

/// Where and how one call's model is reached.
#[derive(Clone)]
pub(crate) struct Endpoint {
    request: tungstenite::handshake::client::Request,
    tls: Arc<rustls::ClientConfig>,
    connect_timeout: Duration,
    pings: Pings,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Another attempt is useless (R9).
    pub fatal: bool,
    /// What it answered over HTTP, if it did.
    pub status: Option<u16>,
    pub why: String,
}

impl Endpoint {
    /// # Errors
    /// If the key cannot be a header's value.
    pub(crate) fn new(account: &OpenAi, model: &str, tls: Arc<rustls::ClientConfig>) -> anyhow::Result<Self> {
        let mut url = account.url.clone();
        url.query_pairs_mut().append_pair("model", model);
        let mut request = url.as_str().into_client_request().context("the model's URL cannot be dialled")?;
        if let Some(key) = &account.key {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.reveal()))
                .context("OPENAI_API_KEY has characters that no key has")?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let pings = Pings { every: account.ping_every, answer_max: account.pong_max };
        Ok(Endpoint { request, tls, connect_timeout: account.connect_timeout, pings })
    }

    /// How its connections are watched.
    pub(crate) fn pings(&self) -> Pings {
        self.pings
    }

    pub(crate) async fn connect(self) -> Result<ModelConnection, Refused> {
        let settings = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        let connect = async {
            let wire = ReadAhead::new(dial(self.request.uri()).await?);
            let tls = Some(Connector::Rustls(self.tls));
            client_async_tls_with_config(self.request, wire, Some(settings), tls).await
        };
        match tokio::time::timeout(self.connect_timeout, connect).await {
            Ok(Ok((connection, _))) => Ok(connection),
            Ok(Err(error)) => Err(Refused { fatal: is_fatal(&error), status: status(&error), why: describe(&error) }),
            Err(_) => {
                Err(Refused { fatal: false, status: None, why: format!("no answer within {:?}", self.connect_timeout) })
            }
        }
    }
}

/// A rejected key, a model that is not ours to use, or a server that is none: the next attempt would be told the same.
fn is_fatal(error: &Error) -> bool {
    match error {
        Error::Http(response) => matches!(response.status().as_u16(), 401 | 403 | 404),
        Error::Url(_) => true,
        _ => false,
    }
}

fn status(error: &Error) -> Option<u16> {
    match error {
        Error::Http(response) => Some(response.status().as_u16()),
        _ => None,
    }
}

fn describe(error: &Error) -> String {
    match error {
        Error::Http(response) => format!("it answered {}", response.status()),
        other => other.to_string(),
    }
}

/// The public certificate authorities, and those of `ca_file`.
///
/// # Errors
/// If the file cannot be read or has no certificate.
pub(crate) fn tls(ca_file: Option<&Path>) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    // The only provider in the process; whoever comes second finds the first one's.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = ca_file {
        let unusable = || format!("openai.ca_file: {} has to be PEM with certificates", path.display());
        let before = roots.len();
        for certificate in CertificateDer::pem_file_iter(path).with_context(unusable)? {
            roots.add(certificate.with_context(unusable)?).with_context(unusable)?;
        }
        anyhow::ensure!(roots.len() > before, unusable());
    }
    Ok(Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

impl Message for WsMessage {
    type Text = Utf8Bytes;

    fn text(text: OutText) -> Self {
        WsMessage::Text(text.into_utf8())
    }

    fn ping() -> Self {
        WsMessage::Ping(Bytes::new())
    }

    fn received(self) -> Option<Received<Utf8Bytes>> {
        match self {
            WsMessage::Text(text) => Some(Received::Text(text)),
            WsMessage::Close(frame) => Some(Received::Closed(frame.map(|frame| frame.code.into()))),
            WsMessage::Binary(_) | WsMessage::Ping(_) | WsMessage::Pong(_) | WsMessage::Frame(_) => None,
        }
    }
}
