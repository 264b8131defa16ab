//! `POST /api/v1/calls`: has an agent call somebody.
//!
//! The answer comes at once, before the carrier was asked: what becomes of the call is in its record. A request with an
//! `Idempotency-Key` is answered the same way however often it is sent, also by a server that was started again.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use call::config::OnMachine;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{App, LiveCall, LiveProgress, Problem, strict};
use crate::agent::Agent;
use crate::calls::{Calls, NoPlace};
use crate::outbound::{Outbound, Progress, Request};
use crate::record::CallFacts;
use crate::store::Placed;

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Longer than any UUID or hash that a key is made of.
const KEY_MAX: usize = 255;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Who is called: `+` and digits, or `sip:…`.
    to: String,
    /// The number that is shown. Default: the agent's `caller_id`, or the first of its `numbers`.
    from: Option<String>,
    /// Which agent calls. Default: the one that has `from` among its numbers; the default agent; the only one.
    agent: Option<String>,
    /// How long it may ring. Default: the setting `outbound.ring_max_ms`.
    ring_max_ms: Option<u64>,
    /// Has the carrier find out whether a machine answers, and says what to do then. Default: it is not looked for.
    on_machine: Option<OnMachine>,
}

pub(in crate::http) async fn call(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wanted: Wanted = strict::json(&headers, body)?;
    let digest = digest(&wanted);
    let key = idempotency_key(&headers)?;
    if let Some(key) = &key
        && let Some(before) = app.store.placed(key).await.map_err(no_keys)?
    {
        return again(before, &digest);
    }
    let request = request(&app, wanted)?;
    let facts = Outbound::facts(&request);
    app.calls.place(&facts, request.agent.max_calls).map_err(|why| {
        let detail = match why {
            NoPlace::Closed => "The server is stopping.",
            NoPlace::Full => {
                "All lines are busy; max_calls is the limit, of all and of each agent. Try again when a call has ended."
            }
        };
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let place = Place { calls: app.calls.clone(), id: facts.id, kept: false };
    let live = LiveCall { facts: facts.clone(), progress: LiveProgress::Placed(Progress::Placing), ended_at: () };
    let answer = serde_json::to_string(&live).map_err(super::unreadable)?;
    let once = key.map(|key| (key, Placed { digest, call: facts.id, answer: answer.clone() }));
    // A task of its own: a client that goes away leaves no key behind without its call.
    let placing = tokio::spawn(place_once(app, facts, request, place, once));
    match placing.await.map_err(not_placed)?? {
        None => Ok(created(answer)),
        Some((before, digest)) => again(before, &digest),
    }
}

/// Places the call, unless the key was used before, while we looked: then the answer that it had, and our digest.
async fn place_once(
    app: Arc<App>,
    facts: CallFacts,
    request: Request,
    place: Place,
    once: Option<(String, Placed)>,
) -> Result<Option<(Placed, String)>, Problem> {
    if let Some((key, placed)) = once
        && let Some(before) = app.store.place_once(&key, &placed, &facts).await.map_err(no_keys)?
    {
        return Ok(Some((before, placed.digest)));
    }
    place.keep();
    app.outbound.place(facts, request).map_err(not_placed)?;
    Ok(None)
}

/// A place among the calls, given back unless the call is placed.
struct Place {
    calls: Calls,
    id: Uuid,
    kept: bool,
}

impl Place {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            self.calls.unplace(self.id);
        }
    }
}

fn request(app: &App, wanted: Wanted) -> Result<Request, Problem> {
    let twilio = &app.config.twilio;
    if twilio.account_sid.is_none() || twilio.auth_token.is_none() {
        let detail = "There is no carrier to call with: TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are not set.";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    let agent = agent(app, &wanted)?;
    number("to", &wanted.to)?;
    let from = match wanted.from.as_ref().or(agent.caller_id.as_ref()).or(agent.numbers.first()) {
        Some(from) => from.clone(),
        None => {
            let name = &agent.name;
            let wrong = format!("say which of your numbers to call from, or give agent `{name}` a `caller_id`");
            return Err(invalid("from", &wrong));
        }
    };
    number("from", &from)?;
    let ring_max = wanted.ring_max_ms.map_or(app.config.outbound.ring_max, Duration::from_millis);
    if !(1..=600).contains(&ring_max.as_secs()) {
        return Err(invalid("ring_max_ms", "the carrier lets it ring for 1000 to 600000 ms"));
    }
    Ok(Request { to: wanted.to, from, agent: agent.clone(), ring_max, on_machine: wanted.on_machine })
}

fn agent<'a>(app: &'a App, wanted: &Wanted) -> Result<&'a Agent, Problem> {
    let agents = &app.config.agents;
    let names = || agents.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = &wanted.agent {
        let named = agents.iter().find(|agent| agent.name == *name);
        return named.ok_or_else(|| invalid("agent", &format!("there is no such agent; there are {}", names())));
    }
    let has_number = |agent: &&Agent| wanted.from.as_ref().is_some_and(|from| agent.numbers.contains(from));
    let by_number = agents.iter().find(has_number);
    let only = agents.first().filter(|_| agents.len() == 1);
    let found = by_number.or_else(|| agents.iter().find(|agent| agent.default)).or(only);
    found.ok_or_else(|| invalid("agent", &format!("say which agent is to call; there are {}", names())))
}

/// E.164, or a SIP address. What the carrier makes of it is in the call's record.
fn number(field: &str, number: &str) -> Result<(), Problem> {
    let sip = number.strip_prefix("sip:").or_else(|| number.strip_prefix("sips:"));
    let good = match (number.strip_prefix('+'), sip) {
        (Some(digits), _) => {
            let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
            all_digits && (7..=15).contains(&digits.len()) && !digits.starts_with('0')
        }
        (None, Some(address)) => {
            let (user, host) = address.split_once('@').unwrap_or_default();
            let plain = number.len() <= 255 && number.bytes().all(|byte| byte.is_ascii_graphic());
            plain && !user.is_empty() && !host.is_empty()
        }
        (None, None) => false,
    };
    if good { Ok(()) } else { Err(invalid(field, "not a number as +15005550006, nor an address as sip:name@host")) }
}

fn invalid(field: &str, wrong: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("`{field}`: {wrong}."))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(IDEMPOTENCY_KEY) {
            true => Err(Problem::new(StatusCode::BAD_REQUEST, "Idempotency-Key is given twice; leave one.")),
            false => Ok(None),
        };
    };
    let key = value.to_str().ok().filter(|key| (1..=KEY_MAX).contains(&key.len()));
    let wrong = || Problem::new(StatusCode::BAD_REQUEST, "Idempotency-Key has to be 1 to 255 printable characters.");
    Ok(Some(key.ok_or_else(wrong)?.to_owned()))
}

/// What was asked for, whatever its spaces and the order of its fields.
fn digest(wanted: &Wanted) -> String {
    let text = serde_json::to_string(wanted).unwrap_or_default();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn again(before: Placed, digest: &str) -> Result<Response, Problem> {
    if before.digest == digest {
        return Ok(created(before.answer));
    }
    let detail = "This Idempotency-Key was used for another call. Use a new one for each call.";
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
}

fn created(answer: String) -> Response {
    let call: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    let location = format!("/api/v1/calls/{}", call["id"].as_str().unwrap_or_default());
    let headers = [(CONTENT_TYPE, "application/json".to_owned()), (LOCATION, location)];
    (StatusCode::CREATED, headers, answer).into_response()
}

fn not_placed(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "a call could not be placed");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The call could not be placed; the server's log says why.")
}

fn no_keys(error: sqlx::Error) -> Problem {
    tracing::error!(%error, "idempotency keys cannot be kept");
    let detail = "The database does not answer, so the call might be placed twice. Try again, with the same key.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}
