//! The fake model behind a real WebSocket on 127.0.0.1, for drivers and for SDKs that others wrote.
//!
//! Checks what OpenAI checks before a session: the path `/v1/realtime` (404), a `model` (400), the bearer key (401).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::session::{FakeModel, Sent};

/// What a client asked for when it connected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// Sessions of this server, counted from 1.
    pub number: u32,
    /// The `model` of the URL.
    pub model: String,
}

/// A running server. It ends when this is dropped, or by [`ModelServer::stop`].
pub struct ModelServer {
    address: SocketAddr,
    sessions: Sessions,
    killed: watch::Sender<Option<u32>>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// Each session that was opened, in order; those that have ended stay.
type Sessions = Arc<Mutex<Vec<Arc<Mutex<FakeModel>>>>>;

impl ModelServer {
    /// Listens on a free port. Clients have to show `key`; each session is what `session` makes of its opening.
    pub async fn start<F>(key: &str, session: F) -> io::Result<ModelServer>
    where
        F: Fn(&Opening) -> FakeModel + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let sessions = Sessions::default();
        let (stop, stopped) = watch::channel(false);
        let (killed, dead) = watch::channel(None);
        let door = Door { key: key.into(), session: Arc::new(session), sessions: sessions.clone(), dead };
        let accepting = tokio::spawn(accept(listener, door, stopped));
        Ok(ModelServer { address, sessions, killed, stop, accepting })
    }

    /// Where to connect: `ws://127.0.0.1:<port>/v1/realtime`, to which a client adds `?model=…`.
    pub fn url(&self) -> String {
        format!("ws://{}/v1/realtime", self.address)
    }

    /// The sessions so far, also those under way: each can be asked for its record.
    pub fn sessions(&self) -> Vec<Arc<Mutex<FakeModel>>> {
        locked(&self.sessions).clone()
    }

    /// Ends the session of this number without a word, and opens no other one from now on (503).
    pub fn kill(&self, number: u32) {
        self.killed.send_replace(Some(number));
    }

    /// Closes all connections (code 1001) and waits until they are.
    pub async fn stop(self) {
        // Nobody listens if the server has ended already, which is as well.
        let _ = self.stop.send(true);
        let _ = self.accepting.await;
    }
}

#[derive(Clone)]
struct Door {
    key: Arc<str>,
    session: Arc<dyn Fn(&Opening) -> FakeModel + Send + Sync>,
    sessions: Sessions,
    /// The session that was killed, and with it all that might come.
    dead: watch::Receiver<Option<u32>>,
}

async fn accept(listener: TcpListener, door: Door, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(connection(stream, door.clone(), stopped.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, door: Door, mut stopped: watch::Receiver<bool>) {
    // Events are small and each is waited for.
    let _ = stream.set_nodelay(true);
    let mut model = String::new();
    // The refusal is as large as the library makes it.
    #[allow(clippy::result_large_err)]
    let check = |request: &Request, response: Response| {
        model = asked_for(request, &door.key)?;
        match *door.dead.borrow() {
            None => Ok(response),
            Some(_) => Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "server_error")),
        }
    };
    let Ok(socket) = accept_hdr_async(stream, check).await else { return };
    let (number, session) = {
        let mut sessions = locked(&door.sessions);
        let number = u32::try_from(sessions.len() + 1).unwrap_or(u32::MAX);
        let session = Arc::new(Mutex::new((door.session)(&Opening { number, model })));
        sessions.push(session.clone());
        (number, session)
    };
    let mut dead = door.dead;
    tokio::select! {
        () = run(socket, &session, &mut stopped) => {}
        // Dropped as it is.
        Ok(_) = dead.wait_for(|dead| *dead == Some(number)) => {}
    }
}

/// Drives one session by the clock until either side ends it, or it is stopped.
pub async fn run<S>(mut socket: WebSocketStream<S>, session: &Mutex<FakeModel>, stopped: &mut watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opened = Instant::now();
    loop {
        loop {
            let sent = locked(session).poll(opened.elapsed());
            match sent {
                Some(Sent::Text(text)) => {
                    if socket.send(Message::text(text)).await.is_err() {
                        return;
                    }
                }
                Some(Sent::Close(Some(code))) => return close(socket, code).await,
                // Dropped without a word: the connection broke.
                Some(Sent::Close(None)) => return,
                None => break,
            }
        }
        let due = locked(session).poll_timeout();
        tokio::select! {
            _ = stopped.changed() => return close(socket, 1001).await,
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => locked(session).receive(&text, opened.elapsed()),
                // Pings are answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            () = sleep_until(due.map(|due| opened + due)) => {}
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Says goodbye, and gives the peer a moment to hear it.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>, code: u16) {
    let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
    if socket.close(Some(frame)).await.is_ok() {
        let drained = async { while let Some(Ok(_)) = socket.next().await {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), drained).await;
    }
}

/// The model that this handshake asks for, or why it is refused.
#[allow(clippy::result_large_err)]
fn asked_for(request: &Request, key: &str) -> Result<String, ErrorResponse> {
    let uri = request.uri();
    if uri.path() != "/v1/realtime" {
        return Err(refusal(StatusCode::NOT_FOUND, "unknown_url"));
    }
    let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if shown.and_then(|value| value.strip_prefix("Bearer ")) != Some(key) {
        return Err(refusal(StatusCode::UNAUTHORIZED, "invalid_api_key"));
    }
    let query = uri.query().unwrap_or_default();
    let model = query.split('&').find_map(|pair| pair.strip_prefix("model=")).filter(|model| !model.is_empty());
    model.map(str::to_owned).ok_or_else(|| refusal(StatusCode::BAD_REQUEST, "missing_model"))
}

fn refusal(status: StatusCode, code: &str) -> ErrorResponse {
    let error =
        serde_json::json!({"error": {"message": code, "type": "invalid_request_error", "code": code, "param": null}});
    let mut response = ErrorResponse::new(Some(error.to_string()));
    *response.status_mut() = status;
    response
}

/// A session whose driver panicked is still worth reading.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
