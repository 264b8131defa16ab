//! The fake model over a real WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sim::model::server::ModelServer;
use sim::model::{Behaviour, FakeModel, Script};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const KEY: &str = "test-key";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[tokio::test]
async fn sessions_run_side_by_side_and_are_reported() {
    let server = ModelServer::start(KEY, |opening| {
        assert_eq!(opening.model, "gpt-realtime-2.1");
        let text = format!("I am number {}.", opening.number);
        let quick = Behaviour { speed: 1_000.0, first_audio: std::time::Duration::ZERO, ..Default::default() };
        FakeModel::new(&opening.number.to_string(), Script::says([&text[..]]), quick)
    })
    .await
    .unwrap();
    let url = format!("{}?model=gpt-realtime-2.1", server.url());
    let mut first = connect(&url, KEY).await.unwrap();
    assert_eq!(next(&mut first).await["session"]["id"], "sess_1");
    let mut second = connect(&url, KEY).await.unwrap();
    assert_eq!(next(&mut second).await["session"]["id"], "sess_2");
    for socket in [&mut first, &mut second] {
        let configure = json!({"type": "session.update", "session": {"type": "realtime"}});
        socket.send(Message::text(configure.to_string())).await.unwrap();
        assert_eq!(next(socket).await["type"], "session.updated");
        socket.send(Message::text(r#"{"type":"response.create"}"#)).await.unwrap();
    }
    for (socket, said) in [(&mut first, "I am number 1."), (&mut second, "I am number 2.")] {
        let done = loop {
            let event = next(socket).await;
            if event["type"] == "response.done" {
                break event;
            }
        };
        assert_eq!(done["response"]["output"][0]["content"][0]["transcript"], said);
    }
    let sessions = server.sessions();
    server.stop().await;
    let close = first.next().await.unwrap().unwrap();
    let Message::Close(Some(frame)) = close else { panic!("{close}") };
    assert_eq!(u16::from(frame.code), 1001);
    let said: Vec<_> =
        sessions.iter().map(|session| session.lock().unwrap().record().generated[0].transcript.clone()).collect();
    assert_eq!(said, ["I am number 1.", "I am number 2."]);
}

#[tokio::test]
async fn strangers_are_refused_at_the_door() {
    let server =
        ModelServer::start(KEY, |_| FakeModel::new("1", Script::default(), Behaviour::default())).await.unwrap();
    let url = server.url();
    for (url, key, status) in
        [(format!("{url}?model=m"), "wrong", 401), (url.clone(), KEY, 400), (url.replace("realtime", "live"), KEY, 404)]
    {
        let Err(Error::Http(response)) = connect(&url, key).await else { panic!("{url} let in") };
        assert_eq!(response.status(), status);
    }
    assert!(server.sessions().is_empty());
}

#[tokio::test]
async fn a_session_may_break_or_close() {
    for code in [None, Some(1011)] {
        let behaviour = Behaviour { close_after: Some((1, code)), ..Default::default() };
        let server = ModelServer::start(KEY, move |_| FakeModel::new("1", Script::default(), behaviour.clone()));
        let server = server.await.unwrap();
        let mut socket = connect(&format!("{}?model=m", server.url()), KEY).await.unwrap();
        assert_eq!(next(&mut socket).await["type"], "session.created");
        match (socket.next().await, code) {
            (Some(Ok(Message::Close(Some(frame)))), Some(code)) => assert_eq!(u16::from(frame.code), code),
            (Some(Err(_)), None) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
}

async fn connect(url: &str, key: &str) -> Result<Socket, Error> {
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().expect("a header"));
    connect_async(request).await.map(|(socket, _)| socket)
}

async fn next(socket: &mut Socket) -> Value {
    let message = socket.next().await.expect("open").expect("whole");
    serde_json::from_str(message.to_text().expect("text")).expect("JSON")
}
