//! The chat server, asked over HTTP by a task of its own: whoever asked takes the pieces when they like, and stops it by
//! dropping them.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue, InvalidHeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::request::Request;
use super::stream::{Answer, known_code};
use super::{Failure, Finish, Limits, Piece};

/// Where a chat server is, and what it is asked for.
#[derive(Clone, Debug)]
pub struct Server {
    http: Client,
    url: Url,
    model: String,
    key: Option<HeaderValue>,
    limits: Limits,
}

/// Pieces that wait for whoever asked. Beyond that, the server is not read.
const PIECES_MAX: usize = 32;

/// Bytes of an error's body, of which only its code is of interest.
const ERROR_MAX: usize = 16 << 10;

impl Server {
    /// `url` is that of the chat completions themselves (`…/v1/chat/completions`); `key` is shown as a bearer token. The limit
    /// for connecting is the client's.
    ///
    /// # Errors
    /// If the key has characters that no header may have.
    pub fn new(
        http: Client,
        url: Url,
        model: &str,
        key: Option<&str>,
        limits: Limits,
    ) -> Result<Server, InvalidHeaderValue> {
        let key = key.map(|key| HeaderValue::from_str(&format!("Bearer {key}"))).transpose()?;
        let key = key.map(|mut key| {
            key.set_sensitive(true);
            key
        });
        Ok(Server { http, url, model: model.to_owned(), key, limits })
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Asks. Has to be called on a runtime.
    pub fn ask(&self, request: &Request) -> Answering {
        let mut body = request.body(self.limits.messages_max);
        body["model"] = self.model.clone().into();
        body["stream"] = true.into();
        let mut asking = self.http.post(self.url.clone()).json(&body);
        if let Some(key) = &self.key {
            asking = asking.header(AUTHORIZATION, key.clone());
        }
        let (pieces, received) = mpsc::channel(PIECES_MAX);
        let limits = self.limits;
        let task = tokio::spawn(async move {
            let end = answer(asking, limits, &pieces).await;
            if let Err(failure) = &end {
                tracing::warn!(code = failure.code, why = failure.message, "no answer from the chat server");
            }
            // Nobody may be waiting any more.
            let _ = pieces.send(Piece::End(end)).await;
        });
        Answering { received, task }
    }

    /// Whether it answers this: asks, and goes away when the first words have come.
    ///
    /// # Errors
    /// If it does not.
    pub async fn try_out(&self, request: &Request) -> Result<(), Failure> {
        match self.ask(request).next().await {
            Piece::Text(_) | Piece::Call(_) => Ok(()),
            Piece::End(Err(failure)) => Err(failure),
            Piece::End(Ok(_)) => Err(Failure::passing("The chat server answered nothing.")),
        }
    }
}

/// An answer that is under way. Dropping it ends the request.
#[derive(Debug)]
pub struct Answering {
    received: mpsc::Receiver<Piece>,
    task: JoinHandle<()>,
}

impl Answering {
    /// The next piece. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Piece {
        let gone = || Piece::End(Err(Failure::passing("The request to the chat server is gone.")));
        self.received.recv().await.unwrap_or_else(gone)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(asking: RequestBuilder, limits: Limits, pieces: &mpsc::Sender<Piece>) -> Result<Finish, Failure> {
    let over_at = Instant::now() + limits.answer_max;
    let patience = || (Instant::now() + limits.silence_max).min(over_at);
    let mut silent_until = patience();
    let sent = timeout_at(silent_until, asking.send()).await.map_err(|_| silent(limits, over_at))?;
    let mut response = sent.map_err(unreached)?;
    if response.status() != StatusCode::OK {
        return Err(refused(response, silent_until).await);
    }
    let mut answer = Answer::default();
    loop {
        let bytes = match timeout_at(silent_until, response.chunk()).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => {
                let broken =
                    || Failure::passing("The chat server's answer ended in the middle, or was no stream of events.");
                return answer.finish().ok_or_else(broken);
            }
            // What is finished may go without its last words.
            Ok(Err(error)) => return answer.finish().ok_or_else(|| unreached(error)),
            Err(_) => return answer.finish().ok_or_else(|| silent(limits, over_at)),
        };
        let found = answer.take(&bytes)?;
        let has_words = !found.is_empty();
        for piece in found {
            // Whoever asked may be gone, and so will this be.
            let _ = pieces.send(piece).await;
        }
        if answer.is_over() {
            return Ok(answer.finish().unwrap_or(Finish::Completed));
        }
        if has_words {
            silent_until = patience();
        }
        // One that never pauses is never waited for.
        if Instant::now() >= silent_until {
            return answer.finish().ok_or_else(|| silent(limits, over_at));
        }
    }
}

fn silent(limits: Limits, over_at: Instant) -> Failure {
    let ms = |duration: Duration| duration.as_millis();
    Failure::passing(if Instant::now() >= over_at {
        format!("The chat server's answer was not over within {} ms.", ms(limits.answer_max))
    } else {
        format!("The chat server said nothing for {} ms.", ms(limits.silence_max))
    })
}

/// Without the address, which may have a secret in it.
fn unreached(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        why = cause.to_string();
        source = cause.source();
    }
    Failure::passing(format!("The chat server was not reached, or the connection broke: {why}."))
}

/// What another status than 200 means, told by the hosted model's codes.
async fn refused(mut response: Response, until: Instant) -> Failure {
    let status = response.status();
    let wait_s = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let mut body = Vec::new();
    while let Ok(Ok(Some(bytes))) = timeout_at(until, response.chunk()).await
        && body.len() <= ERROR_MAX
    {
        body.extend_from_slice(&bytes);
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = known_code(&body["error"]).unwrap_or(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "invalid_api_key",
        StatusCode::PAYMENT_REQUIRED => "insufficient_quota",
        StatusCode::NOT_FOUND => "model_not_found",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_exceeded",
        _ => "server_error",
    });
    let next = match wait_s {
        Some(seconds) => format!(" Please try again in {seconds}s."),
        None if is_too_long(&body["error"]) => TOO_LONG.to_owned(),
        None => String::new(),
    };
    Failure { code, message: format!("The chat server answered {status}.{next}") }
}

/// What to do where asking again is of no use before it was done.
const TOO_LONG: &str = " The conversation is longer than what its model can read: give it a larger context, or lower \
                        model.chat.messages_max.";

/// As OpenAI and llama.cpp say it; others refuse such a conversation without a name for it, or cut it by themselves.
fn is_too_long(error: &Value) -> bool {
    [&error["code"], &error["type"]]
        .iter()
        .any(|name| *name == "context_length_exceeded" || *name == "exceed_context_size_error")
}
