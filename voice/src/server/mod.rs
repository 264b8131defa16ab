//! A server that speaks the Realtime protocol, generally available shape, over WebSockets: clients cannot tell by the
//! protocol that what answers is on their own machine.
//!
//! <https://platform.openai.com/docs/guides/realtime-websocket>

mod alaw;
mod answer;
pub mod engine;
mod response;
pub mod session;
mod settings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::HOST;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use crate::chat;
use crate::dialogue::Flow;
use crate::error::Result;
use engine::{Done, Engine};
use session::{Answers, Out, SESSION_MAX, Session};

/// What a server offers.
pub struct Offer {
    /// The `model` of a client's URL is the key.
    pub models: BTreeMap<String, Model>,
    /// For every other `model`. `None`: there is no other (404).
    pub otherwise: Option<Model>,
    /// What clients have to show as `Authorization: Bearer`. `None`: anything.
    pub key: Option<String>,
    /// Sessions at once; one more is refused (429).
    pub sessions_max: usize,
}

/// What decides on a model's answers.
#[derive(Clone)]
pub enum Model {
    Flow(Arc<Flow>),
    Chat(Arc<chat::Server>),
}

/// From a connection to its handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A client that takes no message for this long is gone.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// A minute of PCM in base64 is under 4 MB; the vendor's clients append pieces of at most 15 MB.
const MESSAGE_MAX: usize = 16 << 20;

/// Results that one session can have outstanding: see [`session`].
const RESULTS_MAX: usize = 16;

/// Connections that are neither refused nor admitted yet.
const CONNECTIONS_SPARE: usize = 32;

/// Serves on `listener` until it breaks or the future is dropped. The engine may still be loading: clients wait for it as
/// long as for a handshake, as many of them as there may be connections; what cannot be loaded refuses them (503).
pub async fn serve(
    listener: TcpListener,
    engine: impl Future<Output = Result<Engine>> + Send + 'static,
    offer: Offer,
) -> std::io::Result<()> {
    let (loaded, when_loaded) = watch::channel(Loaded::NotYet);
    let mut connections = JoinSet::new();
    connections.spawn(async move {
        let found = match engine.await {
            Ok(engine) => Loaded::Engine(engine),
            Err(error) => {
                tracing::error!(%error, "the embedded model cannot be loaded");
                Loaded::Never
            }
        };
        // Nobody is there to be told once the server is gone.
        let _ = loaded.send(found);
    });
    let free = Arc::new(Semaphore::new(offer.sessions_max));
    let door = Arc::new(Door { free, offer, engine: when_loaded, opened: AtomicU64::new(0) });
    loop {
        // What has ended makes room.
        while connections.try_join_next().is_some() {}
        let full = connections.len() >= door.offer.sessions_max + CONNECTIONS_SPARE;
        tokio::select! {
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, door.clone()));
                }
                Err(error) => {
                    // Of one connection, or of all: out of files, say.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next(), if full => {}
        }
    }
}

/// How far the engine is.
#[derive(Clone)]
enum Loaded {
    NotYet,
    Engine(Engine),
    Never,
}

struct Door {
    offer: Offer,
    engine: watch::Receiver<Loaded>,
    free: Arc<Semaphore>,
    opened: AtomicU64,
}

impl Door {
    /// The engine, once it is loaded. `None`: it never will be.
    async fn engine(&self) -> Option<Engine> {
        let mut engine = self.engine.clone();
        let loaded = engine.wait_for(|loaded| !matches!(loaded, Loaded::NotYet)).await.ok()?;
        match &*loaded {
            Loaded::Engine(engine) => Some(engine.clone()),
            Loaded::NotYet | Loaded::Never => None,
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, door: Arc<Door>) {
    // Events are small and each is waited for.
    let _ = stream.set_nodelay(true);
    let engine = tokio::time::timeout(HANDSHAKE_MAX, door.engine()).await.unwrap_or_default();
    let mut admitted = None;
    // The refusal is as large as the library makes it.
    #[allow(clippy::result_large_err)]
    let check = |request: &Request, response: Response| {
        let (name, model) = asked_for(request, &door.offer)?;
        let place = door.free.clone().try_acquire_owned().map_err(|_| {
            refusal(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_exceeded",
                "There are as many sessions as this machine can hold.",
            )
        })?;
        let engine = engine
            .clone()
            .ok_or_else(|| refusal(StatusCode::SERVICE_UNAVAILABLE, "model_not_loaded", "The model is not loaded."))?;
        admitted = Some((name, model, place, engine));
        Ok(response)
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let handshake = accept_hdr_async_with_config(stream, check, Some(config));
    let socket = match tokio::time::timeout(HANDSHAKE_MAX, handshake).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "no session"),
        Err(_) => return tracing::debug!(%peer, "no handshake in time"),
    };
    let Some((asked_for, model, place, engine)) = admitted else { return };
    let number = door.opened.fetch_add(1, Ordering::Relaxed) + 1;
    let now = Timestamp::now();
    let name = format!("{:x}{number:04x}", now.as_millisecond() & 0xffff_ffff);
    let (answers, chat) = match model {
        Model::Flow(flow) => {
            if flow.asks_about() {
                engine.expect_understanding();
            }
            (Answers::by_flow(flow, now), None)
        }
        Model::Chat(chat) => (Answers::ByChat(chat.limits()), Some(chat)),
    };
    let session = Session::new(&name, &asked_for, now, answers);
    tracing::debug!(%peer, model = asked_for, session = name, "session opened");
    run(socket, session, &engine, chat.as_deref()).await;
    drop(place);
}

/// Carries one session until either side ends it.
async fn run(
    mut socket: WebSocketStream<TcpStream>,
    mut session: Session,
    engine: &Engine,
    chat: Option<&chat::Server>,
) {
    let (results, mut found) = mpsc::channel::<Done>(RESULTS_MAX);
    // Whatever drops it ends the request.
    let mut answering: Option<chat::Answering> = None;
    let over = tokio::time::sleep(SESSION_MAX);
    tokio::pin!(over);
    loop {
        while let Some(out) = session.poll() {
            match out {
                Out::Work(work) => engine.ask(work, &results),
                Out::Ask(request) => answering = chat.map(|chat| chat.ask(&request)),
                Out::StopAsking => answering = None,
                Out::Text(text) => match tokio::time::timeout(WRITE_MAX, socket.send(Message::text(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return,
                },
            }
        }
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    session.receive(&text);
                    if session.judges_turns() {
                        engine.expect_judging();
                    }
                }
                // Pings are answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            Some(done) = found.recv() => session.found(done),
            piece = next_piece(answering.as_mut()) => {
                if let chat::Piece::End(_) = piece {
                    answering = None;
                }
                session.answered(piece);
            }
            () = &mut over => {
                session.expire();
                while let Some(Out::Text(text)) = session.poll() {
                    let _ = tokio::time::timeout(WRITE_MAX, socket.send(Message::text(text))).await;
                }
                let frame = CloseFrame { code: CloseCode::Away, reason: "".into() };
                let _ = tokio::time::timeout(WRITE_MAX, socket.close(Some(frame))).await;
                return;
            }
        }
    }
}

/// The next piece of what was asked, if something was.
async fn next_piece(answering: Option<&mut chat::Answering>) -> chat::Piece {
    match answering {
        Some(answering) => answering.next().await,
        None => std::future::pending().await,
    }
}

/// What this handshake asks for, or why it is refused.
#[allow(clippy::result_large_err)]
fn asked_for(request: &Request, offer: &Offer) -> std::result::Result<(String, Model), ErrorResponse> {
    let uri = request.uri();
    if uri.path() != "/v1/realtime" {
        return Err(refusal(StatusCode::NOT_FOUND, "unknown_url", "The only path is /v1/realtime."));
    }
    // A page in a browser on this machine must not speak with it: browsers say where a page is from, and cannot be told not to.
    if request.headers().get("origin").is_some_and(|origin| !is_from_here(origin, request)) {
        return Err(refusal(StatusCode::FORBIDDEN, "origin_not_allowed", "Not for pages in browsers."));
    }
    if let Some(key) = &offer.key {
        let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        if shown.and_then(|value| value.strip_prefix("Bearer ")) != Some(key) {
            return Err(refusal(StatusCode::UNAUTHORIZED, "invalid_api_key", "Incorrect API key provided."));
        }
    }
    let query = uri.query().unwrap_or_default();
    let model = query.split('&').find_map(|pair| pair.strip_prefix("model=")).filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| refusal(StatusCode::BAD_REQUEST, "missing_model", "The URL needs ?model=…"))?;
    let offered = offer.models.get(model).or(offer.otherwise.as_ref());
    let offered =
        offered.ok_or_else(|| refusal(StatusCode::NOT_FOUND, "model_not_found", "There is no such model here."))?;
    Ok((model.to_owned(), offered.clone()))
}

/// Whether this origin is the address that was connected to. Some clients that are no browsers say so, and no page can: none is
/// served here. It has to be an address, since a name may be a stranger's who has it point to this machine.
fn is_from_here(origin: &HeaderValue, request: &Request) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    origin.is_some() && origin == host && host.is_some_and(|host| host.parse::<SocketAddr>().is_ok())
}

fn refusal(status: StatusCode, code: &str, message: &str) -> ErrorResponse {
    let error = serde_json::json!({"error": {"message": message, "type": "invalid_request_error", "code": code, "param": null}});
    let mut response = ErrorResponse::new(Some(error.to_string()));
    *response.status_mut() = status;
    response
}
