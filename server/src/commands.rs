//! What a call wants done that takes time: REST requests to the carrier, and tools. None of it holds up the call.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use call::Outcome;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::agent::Tool;
use crate::config::Twilio;
use crate::outside::send;

/// Most of a tool's answer that goes to the model. More than a model reads with profit, and it pays by the token.
const TOOL_ANSWER_MAX: usize = 64 * 1024;

/// Most of an error's body that is looked at.
const ERROR_BODY_MAX: usize = 16 * 1024;

/// Before another attempt to have the carrier record, if it could not be reached or had too much to do.
const RECORDING_PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1_500)];

/// The carrier's code for a call that cannot be changed because it is over.
const CALL_NOT_IN_PROGRESS: u64 = 21_220;

/// Does a call's commands. Clones are the same.
#[derive(Clone)]
pub(crate) struct Commands(Arc<Means>);

struct Means {
    http: Client,
    twilio: Twilio,
    /// Where the carrier tells how its recordings stand. `None`: nowhere.
    recording_callback: Option<String>,
}

/// Why a recording was not fetched.
pub(crate) struct NotFetched {
    /// Another attempt may go better.
    pub again: bool,
    pub why: String,
}

impl Commands {
    /// `public_url`: where the carrier reaches us, if it does.
    pub(crate) fn new(http: Client, twilio: Twilio, public_url: Option<&Url>) -> Self {
        let recording_callback =
            public_url.map(|origin| format!("{}/twilio/recording", origin.as_str().trim_end_matches('/')));
        Commands(Arc::new(Means { http, twilio, recording_callback }))
    }

    /// One attempt; the call decides about another (H10).
    pub(crate) async fn hang_up(self, call_sid: String) -> Outcome {
        let path = format!("Calls/{call_sid}.json");
        match self.post_to_carrier(&path, &[("Status", "completed")]).await {
            Ok(response) if response.status().is_success() => Outcome::HungUp,
            Ok(response) => {
                let status = response.status();
                if is_over(status, response).await {
                    return Outcome::HungUp;
                }
                tracing::warn!(%status, "the carrier refused to hang up");
                Outcome::HangUpFailed
            }
            Err(why) => {
                tracing::warn!(why, "the carrier could not be asked to hang up");
                Outcome::HangUpFailed
            }
        }
    }

    /// Tries again only where the carrier surely did not begin: one call, one recording (C1).
    pub(crate) async fn start_recording(self, call_sid: String) -> Outcome {
        let path = format!("Calls/{call_sid}/Recordings.json");
        let mut form = vec![("RecordingChannels", "dual")];
        if let Some(callback) = &self.0.recording_callback {
            form.push(("RecordingStatusCallback", callback));
            form.push(("RecordingStatusCallbackEvent", "in-progress completed absent"));
        }
        let mut pauses = RECORDING_PAUSES.into_iter();
        loop {
            let request = match self.carrier(Method::POST, &path) {
                Ok(request) => request.timeout(self.0.twilio.api_timeout).form(&form),
                Err(why) => {
                    tracing::warn!(why, "the carrier cannot be asked to record");
                    return Outcome::RecordingFailed;
                }
            };
            let not_begun = match send(request).await {
                Ok(response) if response.status().is_success() => return Outcome::RecordingStarted,
                Ok(response) => {
                    tracing::warn!(status = %response.status(), "the carrier refused to record");
                    matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
                }
                Err(error) => {
                    let unreached = error.is_connect();
                    tracing::warn!(why = cause(error), "the carrier could not be asked to record");
                    unreached
                }
            };
            match pauses.next().filter(|_| not_begun) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Outcome::RecordingFailed,
            }
        }
    }

    /// Copies a recording that is complete into a file, both channels. Returns how many bytes it has.
    ///
    /// The address is made of the recording's name: a callback's `RecordingUrl` is not where we take our password.
    pub(crate) async fn fetch_recording(&self, recording_sid: &str, to: &Path) -> Result<u64, NotFetched> {
        let fetch = self.write_recording(recording_sid, to);
        match tokio::time::timeout(self.0.twilio.recording_fetch_max, fetch).await {
            Ok(fetched) => fetched,
            Err(_) => Err(NotFetched { again: true, why: "it took too long".to_owned() }),
        }
    }

    async fn write_recording(&self, recording_sid: &str, to: &Path) -> Result<u64, NotFetched> {
        let again = |why: String| NotFetched { again: true, why };
        let never = |why: String| NotFetched { again: false, why };
        let path = format!("Recordings/{recording_sid}.wav?RequestedChannels=2");
        let request = self.carrier(Method::GET, &path).map_err(never)?;
        let mut response = send(request).await.map_err(|error| again(cause(error)))?;
        let status = response.status();
        if !status.is_success() {
            // One that is not there yet is answered 404, and it is not always there when we are told that it is.
            let later = status.is_server_error()
                || matches!(
                    status,
                    StatusCode::NOT_FOUND | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                );
            return Err(NotFetched { again: later, why: format!("the carrier answered {status}") });
        }
        let most = self.0.twilio.recording_bytes_max;
        let too_long = || never(format!("it is longer than {most} bytes; recording_max_bytes is the limit"));
        if response.content_length().is_some_and(|length| length > most) {
            return Err(too_long());
        }
        let unwritten = |error: std::io::Error| never(format!("it could not be written: {error}"));
        let draft = to.with_extension("part");
        let mut file = tokio::fs::File::create(&draft).await.map_err(unwritten)?;
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| again(cause(error)))? {
            bytes += chunk.len() as u64;
            if bytes > most {
                drop(file);
                // The next attempt would write over it anyway.
                let _ = tokio::fs::remove_file(&draft).await;
                return Err(too_long());
            }
            file.write_all(&chunk).await.map_err(unwritten)?;
        }
        file.sync_all().await.map_err(unwritten)?;
        tokio::fs::rename(&draft, to).await.map_err(unwritten)?;
        Ok(bytes)
    }

    /// `arguments` is as the model wrote it, and passed on as text if it is not JSON: the tool knows best what to say.
    pub(crate) async fn run_tool(self, tool: Tool, call: Uuid, arguments: String, limit: Duration) -> Outcome {
        let arguments = serde_json::from_str(&arguments).unwrap_or(serde_json::Value::String(arguments));
        let body = json!({ "call": call, "name": tool.name, "arguments": arguments });
        let answer = async {
            let response = send(self.0.http.post(tool.url).timeout(limit).json(&body)).await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, body_of(response, TOOL_ANSWER_MAX).await?))
        };
        match answer.await {
            Ok((status, Some(body))) if status.is_success() => Outcome::ToolAnswered(body),
            Ok((_, None)) => Outcome::ToolFailed(format!("The answer was longer than {TOOL_ANSWER_MAX} bytes.")),
            Ok((status, Some(_))) => Outcome::ToolFailed(format!("The tool answered {status}.")),
            Err(error) if error.is_timeout() => Outcome::ToolFailed("The tool did not answer in time.".to_owned()),
            Err(error) => {
                tracing::warn!(tool = tool.name, why = cause(error), "the tool could not be reached");
                Outcome::ToolFailed("The tool could not be reached.".to_owned())
            }
        }
    }

    /// What the carrier knows of our account, whatever the status of its answer. With the auth token: of API keys, only
    /// those of the kind "Main" may see it (twilio.com/docs/iam/api-keys/keys-in-console).
    pub(crate) async fn account(&self) -> Result<Response, String> {
        let token_only = Twilio { api_key_sid: None, api_key_secret: None, ..self.0.twilio.clone() };
        let commands =
            Commands(Arc::new(Means { http: self.0.http.clone(), twilio: token_only, recording_callback: None }));
        send(commands.at_carrier(Method::GET, ".json")?).await.map_err(cause)
    }

    /// The newest of the account's calls, whatever the status of the answer: what every key may see that is good for calls.
    pub(crate) async fn newest_call(&self) -> Result<Response, String> {
        send(self.carrier(Method::GET, "Calls.json?PageSize=1")?).await.map_err(cause)
    }

    async fn post_to_carrier(&self, path: &str, form: &[(&str, &str)]) -> Result<Response, String> {
        send(self.carrier(Method::POST, path)?.form(form)).await.map_err(cause)
    }

    /// A request to the account's part of the carrier's REST API, with an API key if there is one.
    pub(crate) fn carrier(&self, method: Method, path: &str) -> Result<RequestBuilder, String> {
        self.at_carrier(method, &format!("/{path}"))
    }

    /// `path` goes on where the account's name ends.
    fn at_carrier(&self, method: Method, path: &str) -> Result<RequestBuilder, String> {
        let Twilio { account_sid, auth_token, api_key_sid, api_key_secret, api_url, api_timeout, .. } = &self.0.twilio;
        let (account, user, password) =
            match (account_sid, api_key_sid.as_ref().zip(api_key_secret.as_ref()), auth_token) {
                (Some(account), Some((sid, secret)), _) => (account, sid, secret),
                (Some(account), None, Some(token)) => (account, account, token),
                _ => return Err("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are not set".to_owned()),
            };
        let url = api_url.join(&format!("2010-04-01/Accounts/{account}{path}")).map_err(|error| error.to_string())?;
        let request = self.0.http.request(method, url).timeout(*api_timeout);
        Ok(request.basic_auth(user, Some(password.reveal())))
    }
}

/// Whether a refusal says that the call is over already, or unknown, which is as good.
async fn is_over(status: StatusCode, response: Response) -> bool {
    if status == StatusCode::NOT_FOUND {
        return true;
    }
    if !status.is_client_error() {
        return false;
    }
    let body = body_of(response, ERROR_BODY_MAX).await.ok().flatten().unwrap_or_default();
    let error: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    error["code"].as_u64() == Some(CALL_NOT_IN_PROGRESS)
        || error["message"].as_str().is_some_and(|message| message.contains("not in-progress"))
}

/// `None` if it is longer than `max` bytes.
pub(crate) async fn body_of(mut response: Response, max: usize) -> Result<Option<String>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(String::from_utf8_lossy(&body).into_owned()))
}

/// The innermost reason, without the URL, which names the call or has a tool's secret in it.
pub(crate) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
