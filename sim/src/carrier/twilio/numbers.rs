//! Phone numbers of the account, and what happens when somebody dials one.
//!
//! Relied on: twilio.com/docs/phone-numbers/api/incomingphonenumber-resource (fields, filters, updates),
//! /docs/api/errors/21402 and 21403. Left out: buying and releasing by REST, applications and trunks in place of URLs,
//! messages. Parameters that Twilio does not know are ignored, as it does, and noted among the desk's problems.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::{Form, Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use reqwest::Url;
use serde_json::{Value, json};

use super::outbound::{may, pairs};
use super::{Answer, CallOptions, CallReport, Callbacks, CallerStep, FakeTwilio, Shared, Webhook, refusal};

/// The numbers by their sid.
#[derive(Default)]
pub(super) struct Numbers(Mutex<BTreeMap<String, Number>>);

/// What is set for a number.
#[derive(Clone, Debug)]
struct Number {
    phone_number: String,
    friendly_name: String,
    /// The URLs are empty, or good.
    voice_url: String,
    voice_method: String,
    status_callback: String,
    status_callback_method: String,
}

/// Parameters of an update that Twilio knows and nothing is done with here.
const IDLE_PARAMETERS: [&str; 18] = [
    "AccountSid",
    "AddressSid",
    "ApiVersion",
    "BundleSid",
    "EmergencyAddressSid",
    "EmergencyStatus",
    "IdentitySid",
    "SmsApplicationSid",
    "SmsFallbackMethod",
    "SmsFallbackUrl",
    "SmsMethod",
    "SmsUrl",
    "TrunkSid",
    "VoiceApplicationSid",
    "VoiceCallerIdLookup",
    "VoiceFallbackMethod",
    "VoiceFallbackUrl",
    "VoiceReceiveMode",
];

impl FakeTwilio {
    /// Gives the account a number that is as new: no URL is set, so nobody answers.
    pub fn buy_number(&self, phone_number: &str) {
        let number = Number {
            phone_number: phone_number.to_owned(),
            friendly_name: phone_number.to_owned(),
            voice_url: String::new(),
            voice_method: "POST".to_owned(),
            status_callback: String::new(),
            status_callback_method: "POST".to_owned(),
        };
        self.shared.numbers.locked().insert(self.shared.name("PN"), number);
    }

    /// Dials a number of the account. What becomes of the call is up to the URLs that are set for the number;
    /// [`FakeTwilio::server_is_at`] says where they lead on this machine.
    ///
    /// Of `options`, the status callback is the number's. It comes once, at the end: the other events are for calls that
    /// the REST API makes.
    pub async fn dial(&self, from: &str, to: &str, script: Vec<CallerStep>, options: CallOptions) -> CallReport {
        let number = self.shared.numbers.locked().values().find(|number| number.phone_number == to).cloned();
        let url = match &number {
            None => Err(format!("{to} is no number of this account")),
            Some(number) => Url::parse(&number.voice_url).map_err(|_| format!("{to} has no VoiceUrl")),
        };
        let method = |of: fn(&Number) -> &String| match number.as_ref().map(|number| of(number).as_str()) {
            Some("GET") => Method::GET,
            _ => Method::POST,
        };
        let origin = url.as_ref().map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        let base = self.shared.desk.server_for(&origin);
        let webhook = Webhook { method: method(|number| &number.voice_method), url };
        let callbacks =
            Callbacks { method: method(|number| &number.status_callback_method), origin, only_completed: true };
        let callback = number.map(|number| number.status_callback).filter(|url| !url.is_empty());
        let options = CallOptions { status_callback: callback, ..options };
        self.ring(&base, (from, to), script, options, webhook, callbacks).await
    }
}

impl Numbers {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Number>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Number {
    /// Changes it as the form says, or not at all.
    fn update(&mut self, form: &[(String, String)]) -> Result<(), (u32, String)> {
        let mut changed = self.clone();
        for (name, value) in form {
            match name.as_str() {
                "FriendlyName" => changed.friendly_name.clone_from(value),
                "VoiceUrl" => changed.voice_url = url(name, value)?,
                "VoiceMethod" => changed.voice_method = method(name, value)?,
                "StatusCallback" => changed.status_callback = url(name, value)?,
                "StatusCallbackMethod" => changed.status_callback_method = method(name, value)?,
                _ => {}
            }
        }
        *self = changed;
        Ok(())
    }

    fn json(&self, account: &str, sid: &str) -> Value {
        json!({
            "sid": sid, "account_sid": account, "phone_number": self.phone_number, "friendly_name": self.friendly_name,
            "voice_url": self.voice_url, "voice_method": self.voice_method, "voice_fallback_url": "",
            "voice_fallback_method": "POST", "voice_caller_id_lookup": false, "voice_application_sid": "",
            "voice_receive_mode": "voice", "status_callback": self.status_callback,
            "status_callback_method": self.status_callback_method, "sms_url": "", "sms_method": "POST",
            "sms_fallback_url": "", "sms_fallback_method": "POST", "sms_application_sid": "", "trunk_sid": null,
            "capabilities": { "voice": true, "sms": true, "mms": true, "fax": false }, "beta": false,
            "address_requirements": "none", "address_sid": null, "bundle_sid": null, "identity_sid": null,
            "emergency_status": "Inactive", "emergency_address_sid": null, "origin": "twilio", "status": "in-use",
            "api_version": "2010-04-01", "uri": uri(account, &format!("/{sid}.json")),
            "date_created": null, "date_updated": null,
        })
    }
}

fn uri(account: &str, rest: &str) -> String {
    format!("/2010-04-01/Accounts/{account}/IncomingPhoneNumbers{rest}")
}

/// Empty takes one back.
fn url(name: &str, value: &str) -> Result<String, (u32, String)> {
    let good = Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if good || value.is_empty() { Ok(value.to_owned()) } else { Err((21402, format!("{name} is not a valid URL"))) }
}

fn method(name: &str, value: &str) -> Result<String, (u32, String)> {
    match value {
        "GET" | "POST" => Ok(value.to_owned()),
        _ => Err((21403, format!("{name} is not a valid method"))),
    }
}

/// GET `/IncomingPhoneNumbers.json`: of its filters, `PhoneNumber` and `FriendlyName`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    if let Err(answer) = may(&shared, &account, &headers) {
        return answer;
    }
    let query = pairs(query);
    let wanted = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let fits = |number: &Number| {
        wanted("PhoneNumber").is_none_or(|pattern| matches(pattern, &number.phone_number))
            && wanted("FriendlyName").is_none_or(|name| number.friendly_name == name)
    };
    let numbers = shared.numbers.locked();
    let found = numbers.iter().filter(|(_, number)| fits(number));
    let found: Vec<Value> = found.map(|(sid, number)| number.json(&account, sid)).collect();
    let first = uri(&account, ".json?PageSize=50&Page=0");
    let end = found.len().saturating_sub(1);
    let page = json!({
        "incoming_phone_numbers": found, "page": 0, "page_size": 50, "start": 0, "end": end, "uri": first,
        "first_page_uri": first, "next_page_uri": null, "previous_page_uri": null,
    });
    (StatusCode::OK, Json(page))
}

/// Part of a number fits, too; `*` is any one digit.
fn matches(pattern: &str, number: &str) -> bool {
    let (pattern, number) = (pattern.as_bytes(), number.as_bytes());
    let fits = |part: &[u8]| pattern.iter().zip(part).all(|(&want, &is)| want == is || want == b'*');
    pattern.is_empty() || number.windows(pattern.len()).any(fits)
}

/// GET `/IncomingPhoneNumbers/{sid}.json`.
pub(super) async fn fetch(
    State(shared): State<Arc<Shared>>,
    Path((account, number)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    on_number(&shared, &account, &number, &headers, |_| Ok(()))
}

/// POST `/IncomingPhoneNumbers/{sid}.json`.
pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    Path((account, number)): Path<(String, String)>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Answer {
    let known = ["FriendlyName", "VoiceUrl", "VoiceMethod", "StatusCallback", "StatusCallbackMethod"];
    for (name, _) in &form {
        if !known.contains(&name.as_str()) && !IDLE_PARAMETERS.contains(&name.as_str()) {
            shared.desk.note(format!("the update has a parameter that Twilio does not know: {name}"));
        }
    }
    on_number(&shared, &account, &number, &headers, |number| number.update(&form))
}

fn on_number(
    shared: &Shared,
    account: &str,
    number: &str,
    headers: &HeaderMap,
    change: impl FnOnce(&mut Number) -> Result<(), (u32, String)>,
) -> Answer {
    if let Err(answer) = may(shared, account, headers) {
        return answer;
    }
    let sid = number.strip_suffix(".json").unwrap_or_default();
    let mut numbers = shared.numbers.locked();
    let Some(number) = numbers.get_mut(sid) else {
        return refusal(StatusCode::NOT_FOUND, 20404, "the requested resource was not found");
    };
    match change(number) {
        Ok(()) => (StatusCode::OK, Json(number.json(account, sid))),
        Err((code, message)) => refusal(StatusCode::BAD_REQUEST, code, &message),
    }
}
