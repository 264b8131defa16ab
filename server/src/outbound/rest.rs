//! Placing a call by the carrier's REST API, and asking how one stands.
//!
//! Relied on: twilio.com/docs/voice/api/call-resource (create, list, fetch), /docs/voice/answering-machine-detection. The
//! create has no idempotency key, so what matters about a failure is whether a call may have come of it.

use std::time::Duration;

use call::CallStatus;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use crate::commands::{Commands, body_of, cause};
use crate::outside::send;

/// A page of calls is some 50 KiB; an error's body is nothing beside it.
const BODY_MAX: usize = 1 << 20;

/// Most of what the carrier says about a refusal that is worth keeping.
const WHY_MAX: usize = 300;

/// Calls that are looked at when one is looked for. The list begins with the newest.
const PAGE: &str = "50";

/// How far the carrier's clock may be behind ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// What is asked of the carrier.
pub(super) struct Create {
    pub to: String,
    pub from: String,
    /// Asked for what to do with the call when it is answered.
    pub url: String,
    pub status_callback: String,
    /// Where a machine is reported, if it is to be detected.
    pub amd_callback: Option<String>,
    pub ring_max: Duration,
    /// After this the carrier ends the call, should we have forgotten it.
    pub call_max: Duration,
}

/// What a create came to.
pub(super) enum Created {
    /// There is a call, and this is its name.
    Placed(String),
    /// There is none, and asking again will not help.
    Refused(String),
    /// There is none, and asking later may help.
    Later(String),
    /// There may be one.
    Unclear(String),
}

/// A call as the carrier shows it.
#[derive(Deserialize)]
pub(super) struct Resource {
    pub sid: String,
    pub status: String,
    #[serde(default)]
    direction: String,
    #[serde(default)]
    date_created: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    calls: Vec<Resource>,
}

#[derive(Deserialize)]
struct Refusal {
    code: Option<u64>,
    message: Option<String>,
}

impl Create {
    fn form(&self) -> Vec<(&'static str, String)> {
        let mut form = vec![
            ("To", self.to.clone()),
            ("From", self.from.clone()),
            ("Url", self.url.clone()),
            ("Method", "POST".to_owned()),
            ("StatusCallback", self.status_callback.clone()),
            ("StatusCallbackMethod", "POST".to_owned()),
            ("Timeout", self.ring_max.as_secs().to_string()),
            ("TimeLimit", self.call_max.as_secs().to_string()),
        ];
        for event in ["initiated", "ringing", "answered", "completed"] {
            form.push(("StatusCallbackEvent", event.to_owned()));
        }
        if let Some(callback) = &self.amd_callback {
            // Asynchronous: the callee is not kept waiting while the carrier listens.
            form.push(("MachineDetection", "Enable".to_owned()));
            form.push(("AsyncAmd", "true".to_owned()));
            form.push(("AsyncAmdStatusCallback", callback.clone()));
            form.push(("AsyncAmdStatusCallbackMethod", "POST".to_owned()));
        }
        form
    }
}

impl Commands {
    /// One attempt.
    pub(super) async fn create_call(&self, create: &Create) -> Created {
        let request = match self.carrier(Method::POST, "Calls.json") {
            Ok(request) => request,
            Err(why) => return Created::Refused(why),
        };
        let response = match send(request.form(&create.form())).await {
            Ok(response) => response,
            // Nothing was sent.
            Err(error) if error.is_connect() => return Created::Later(cause(error)),
            Err(error) => return Created::Unclear(cause(error)),
        };
        let status = response.status();
        let body = body_of(response, BODY_MAX).await.ok().flatten().unwrap_or_default();
        if status.is_success() {
            return match serde_json::from_str::<Resource>(&body) {
                Ok(call) if is_name(&call.sid) => Created::Placed(call.sid),
                _ => Created::Unclear(format!("the carrier answered {status} without a call")),
            };
        }
        let why = refusal(status, &body);
        match status {
            StatusCode::TOO_MANY_REQUESTS => Created::Later(why),
            status if status.is_client_error() => Created::Refused(why),
            _ => Created::Unclear(why),
        }
    }

    /// Calls of ours between these numbers, begun since then, the newest first. Both the numbers and the age are looked
    /// at: the list's own filter by time knows the start of a call, which one that is queued has not had.
    pub(super) async fn find_calls(&self, to: &str, from: &str, since: Timestamp) -> Result<Vec<String>, String> {
        let query = [("To", to), ("From", from), ("PageSize", PAGE)];
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let page: Page = read(self.carrier(Method::GET, &format!("Calls.json?{query}"))?).await?;
        let since = since.checked_sub(CLOCKS_DIFFER).unwrap_or(since);
        let is_new = |call: &Resource| {
            let created =
                call.date_created.as_deref().and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
            created.is_some_and(|created| created >= since)
        };
        let ours = page.calls.into_iter().filter(|call| call.direction == "outbound-api" && is_new(call));
        Ok(ours.map(|call| call.sid).filter(|sid| is_name(sid)).collect())
    }

    /// How this call stands; `None`: with a word that we do not know.
    pub(super) async fn call_status(&self, sid: &str) -> Result<Option<CallStatus>, String> {
        let call: Resource = read(self.carrier(Method::GET, &format!("Calls/{sid}.json"))?).await?;
        Ok(status(&call.status))
    }
}

/// A call's status as the carrier spells it, in callbacks and in its REST API.
pub(crate) fn status(word: &str) -> Option<CallStatus> {
    Some(match word {
        "queued" | "initiated" | "ringing" => CallStatus::Ringing,
        "in-progress" | "answered" => CallStatus::InProgress,
        "completed" => CallStatus::Completed,
        "busy" => CallStatus::Busy,
        "no-answer" => CallStatus::NoAnswer,
        "failed" => CallStatus::Failed,
        "canceled" => CallStatus::Canceled,
        _ => return None,
    })
}

async fn read<T: serde::de::DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, String> {
    let response = send(request).await.map_err(cause)?;
    let status = response.status();
    let body = body_of(response, BODY_MAX).await.map_err(cause)?.ok_or("the carrier's answer is too long")?;
    if !status.is_success() {
        return Err(refusal(status, &body));
    }
    serde_json::from_str(&body).map_err(|_| "the carrier's answer cannot be read".to_owned())
}

/// The carrier's code and words, for whoever asked for the call. They may name its numbers: not for the log.
fn refusal(status: StatusCode, body: &str) -> String {
    match serde_json::from_str(body) {
        Ok(Refusal { code: Some(code), message: Some(message) }) => {
            format!("{code}: {}", message.chars().take(WHY_MAX).collect::<String>())
        }
        _ => format!("the carrier answered {status}"),
    }
}

/// It goes into REST paths.
fn is_name(sid: &str) -> bool {
    (1..=64).contains(&sid.len()) && sid.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
