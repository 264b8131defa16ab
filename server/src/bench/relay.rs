//! The floor: a minimal relay between a carrier's stream and a model, with the same sockets and the same frames as a call
//! and none of its rules. What a bridge costs beyond this, it costs for what it does.
//!
//! It is what one writes in an afternoon: a task a call, messages told apart by their first bytes, audio spliced or cut.
//! It sends no marks, measures nothing, and has no limits; nobody should answer a phone with it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use call::wire::payload::{decode_into, encode_into};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, accept_async_with_config, connect_async_tls_with_config};

use crate::model;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The model's endpoint, `ws://…` or `wss://…`
    #[arg(long)]
    model: String,
    /// What goes to the carrier: paced frames of 20 ms, or each delta as it comes
    #[arg(long, value_enum)]
    sends: Sends,
    /// Certificates to trust
    #[arg(long)]
    ca_file: Option<PathBuf>,
}

#[derive(clap::ValueEnum, serde::Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Sends {
    Frames,
    Deltas,
}

const FRAME_BYTES: usize = 160;
const FRAME: Duration = Duration::from_millis(20);

/// The most that lies unplayed at the carrier when frames are paced: as much as a call gives it by default.
const LEAD: Duration = Duration::from_millis(200);

/// The whole of it is cleared at each read.
const READ_BUFFER: usize = 8 * 1024;

/// Serves until it is killed.
///
/// # Errors
/// If it cannot listen, or the certificates cannot be read.
pub async fn run(args: Args) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port on loopback")?;
    println!("listening {}", listener.local_addr().context("the listener has no address")?);
    serve(listener, args.model, args.ca_file.as_deref(), args.sends).await
}

/// The same, on a listener that there is already.
///
/// # Errors
/// If the listener breaks, or the certificates cannot be read.
pub async fn serve(listener: TcpListener, model: String, ca_file: Option<&Path>, sends: Sends) -> Result<()> {
    let tls = model::tls(ca_file)?;
    let url: Arc<str> = model.into();
    loop {
        let (stream, _) = listener.accept().await.context("the listener broke")?;
        let (url, tls) = (url.clone(), tls.clone());
        tokio::spawn(async move {
            // A call that breaks is over, whatever broke it.
            let _ = relay(stream, &url, tls, sends).await;
        });
    }
}

async fn relay(stream: TcpStream, url: &str, tls: Arc<rustls::ClientConfig>, sends: Sends) -> Result<()> {
    stream.set_nodelay(true)?;
    let settings = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(0);
    let mut carrier = accept_async_with_config(stream, Some(settings)).await?;
    let (mut model, _) = connect_async_tls_with_config(url, Some(settings), true, Some(Connector::Rustls(tls))).await?;
    let mut stream_sid = String::new();
    let mut queue: VecDeque<u8> = VecDeque::new();
    let mut delta = Vec::new();
    let mut base64 = String::new();
    let mut played_until = Instant::now();
    loop {
        let due = played_until - LEAD + FRAME;
        tokio::select! {
            message = carrier.next() => {
                let Some(Message::Text(text)) = message.transpose()? else { break };
                if text.starts_with(r#"{"event":"media""#) {
                    let payload = value(&text, r#""payload":""#);
                    let append = [r#"{"type":"input_audio_buffer.append","audio":""#, payload, r#""}"#].concat();
                    model.send(Message::text(append)).await?;
                } else if text.starts_with(r#"{"event":"start""#) {
                    stream_sid = value(&text, r#""streamSid":""#).to_owned();
                } else if text.starts_with(r#"{"event":"stop""#) {
                    break;
                }
            }
            message = model.next() => {
                let Some(Message::Text(text)) = message.transpose()? else { break };
                if text.starts_with(r#"{"type":"response.output_audio.delta""#) {
                    let payload = value(&text, r#""delta":""#);
                    match sends {
                        Sends::Deltas => carrier.send(media(&stream_sid, payload)).await?,
                        Sends::Frames => {
                            delta.clear();
                            decode_into(payload, &mut delta)?;
                            queue.extend(&delta);
                        }
                    }
                } else if text.starts_with(r#"{"type":"input_audio_buffer.speech_started""#) {
                    queue.clear();
                    played_until = Instant::now();
                    let clear = format!(r#"{{"event":"clear","streamSid":"{stream_sid}"}}"#);
                    carrier.send(Message::text(clear)).await?;
                } else if text.starts_with(r#"{"type":"input_audio_buffer.committed""#) {
                    model.send(Message::text(r#"{"type":"response.create"}"#)).await?;
                }
            }
            () = sleep_until(due), if !queue.is_empty() => {
                let frame: Vec<u8> = queue.drain(..queue.len().min(FRAME_BYTES)).collect();
                base64.clear();
                encode_into(&frame, &mut base64);
                played_until = played_until.max(Instant::now()) + FRAME;
                carrier.send(media(&stream_sid, &base64)).await?;
            }
        }
    }
    model.close(None).await?;
    carrier.close(None).await?;
    Ok(())
}

fn media(stream_sid: &str, payload: &str) -> Message {
    let parts = [r#"{"event":"media","streamSid":""#, stream_sid, r#"","media":{"payload":""#, payload, r#""}}"#];
    Message::text(parts.concat())
}

/// The text between `key` and the next quotation mark.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    text.split_once(key).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(value, _)| value)
}
