//! What a call wants done that takes time: REST requests to the carrier, and tools. None of it holds up the call.

use std::time::Duration;

use call::Outcome;
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::json;
use uuid::Uuid;

use crate::agent::Tool;
use crate::config::Twilio;

/// Most of a tool's answer that goes to the model. More than a model reads with profit, and it pays by the token.
const TOOL_ANSWER_MAX: usize = 64 * 1024;

/// Most of an error's body that is looked at.
const ERROR_BODY_MAX: usize = 16 * 1024;

/// The carrier's code for a call that cannot be changed because it is over.
const CALL_NOT_IN_PROGRESS: u64 = 21_220;

/// Does a call's commands. Cheap to clone: the connections are shared.
#[derive(Clone)]
pub(crate) struct Commands {
    http: Client,
    twilio: Twilio,
}

impl Commands {
    pub(crate) fn new(http: Client, twilio: Twilio) -> Self {
        Commands { http, twilio }
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

    pub(crate) async fn start_recording(self, call_sid: String) -> Outcome {
        let path = format!("Calls/{call_sid}/Recordings.json");
        match self.post_to_carrier(&path, &[("RecordingChannels", "dual")]).await {
            Ok(response) if response.status().is_success() => Outcome::RecordingStarted,
            Ok(response) => {
                tracing::warn!(status = %response.status(), "the carrier refused to record");
                Outcome::RecordingFailed
            }
            Err(why) => {
                tracing::warn!(why, "the carrier could not be asked to record");
                Outcome::RecordingFailed
            }
        }
    }

    /// `arguments` is as the model wrote it, and passed on as text if it is not JSON: the tool knows best what to say.
    pub(crate) async fn run_tool(self, tool: Tool, call: Uuid, arguments: String, limit: Duration) -> Outcome {
        let arguments = serde_json::from_str(&arguments).unwrap_or(serde_json::Value::String(arguments));
        let body = json!({ "call": call, "name": tool.name, "arguments": arguments });
        let answer = async {
            let response = self.http.post(tool.url).timeout(limit).json(&body).send().await?;
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

    /// What the carrier knows of our account, whatever the status of its answer.
    pub(crate) async fn account(&self) -> Result<Response, String> {
        self.ask_carrier(Method::GET, ".json", &[]).await
    }

    async fn post_to_carrier(&self, path: &str, form: &[(&str, &str)]) -> Result<Response, String> {
        self.ask_carrier(Method::POST, &format!("/{path}"), form).await
    }

    /// `path` goes on where the account's name ends.
    async fn ask_carrier(&self, method: Method, path: &str, form: &[(&str, &str)]) -> Result<Response, String> {
        let (Some(sid), Some(token)) = (&self.twilio.account_sid, &self.twilio.auth_token) else {
            return Err("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are not set".to_owned());
        };
        let url: Url =
            self.twilio.api_url.join(&format!("2010-04-01/Accounts/{sid}{path}")).map_err(|error| error.to_string())?;
        let request = self.http.request(method.clone(), url);
        let request = request.timeout(self.twilio.api_timeout).basic_auth(sid, Some(token.reveal()));
        let request = if method == Method::GET { request } else { request.form(form) };
        request.send().await.map_err(cause)
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
