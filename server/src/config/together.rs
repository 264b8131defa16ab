//! What only shows when settings are seen together.

use std::collections::{BTreeMap, BTreeSet};

use call::config::CallConfig;
use call::farewell::Language;

use super::read::Reader;
use super::settings::AGENT;
use super::{Config, Verify};
use crate::agent::{Agent, Provider};

/// Settings of one agent that make no sense together: the key to blame, and what to do.
pub(super) fn agent(agent: &Agent) -> Vec<(&'static str, String)> {
    let mut wrong = call(&agent.call_config());
    if let Some(language) = &agent.language
        && Language::from_code(language).is_none()
    {
        wrong.push(("language", format!("`{language}` is not known; use a tag such as \"en\"")));
    }
    if agent.model.provider == Provider::Local && cfg!(not(feature = "voice")) {
        let what = "\"local\" is not in this build, which lacks the feature voice; use \"openai\"";
        wrong.push(("model.provider", what.to_owned()));
    }
    if agent.model.flow.is_some() && agent.model.provider != Provider::Local {
        wrong.push(("model.flow", "is for the embedded model only; set provider = \"local\"".to_owned()));
    }
    wrong.extend(chat(agent));
    wrong.extend(agent.audio.without_effect());
    if agent.audio.local_ears && !agent.call.hold {
        let what = "opens holds before the model reports speech, and there are none without `hold` (B4)";
        wrong.push(("local_ears", what.to_owned()));
    }
    let mut tools = BTreeSet::from([call::END_CALL]);
    for tool in &agent.tools {
        if !tools.insert(&tool.name) {
            wrong.push(("tools", format!("there is a `{}` already; rename one", tool.name)));
        }
    }
    wrong
}

/// What a chat server needs, and what it makes no sense with.
fn chat(agent: &Agent) -> Vec<(&'static str, String)> {
    let chat = &agent.model.chat;
    if chat.url.is_none() {
        let named = chat.model.is_some() || chat.key.is_some();
        let what = "missing: say where the chat completions are, or leave model.chat out";
        return named.then(|| ("model.chat.url", what.to_owned())).into_iter().collect();
    }
    let mut wrong = Vec::new();
    if agent.model.provider != Provider::Local {
        let what = "is heard and spoken by the embedded model; set provider = \"local\"";
        wrong.push(("model.chat.url", what.to_owned()));
    }
    if agent.model.flow.is_some() {
        wrong.push(("model.flow", "and model.chat would both decide on the answers; leave one out".to_owned()));
    }
    if chat.model.is_none() {
        wrong.push(("model.chat.model", "missing: name the model that the chat server is to use".to_owned()));
    }
    if chat.silence_max >= agent.call.first_audio_timeout {
        let what = "has to be less than first_audio_timeout_ms, after which the model is taken for lost (R10)";
        wrong.push(("model.chat.silence_max_ms", what.to_owned()));
    }
    wrong
}

/// Whether no model of a vendor can be reached: there is no key, and only servers of one's own need none.
pub(super) fn lacks_model(config: &Config) -> bool {
    config.openai.key.is_none() && config.openai.url == Config::default().openai.url
}

/// What the call itself says of its settings, by the keys that the file has for them.
fn call(config: &CallConfig) -> Vec<(&'static str, String)> {
    // Who has no greeting may have its protection all the same: all agents have it from [defaults], some to no effect.
    let greeting = config.greeting.clone().or_else(|| Some("Hello.".to_owned()));
    let mistakes = CallConfig { greeting, ..config.clone() }.mistakes().into_iter();
    mistakes.map(|mistake| (key_of(mistake.setting), mistake.what)).collect()
}

/// The key that sets this field of a [`CallConfig`]: its name, with the unit if it has one.
fn key_of(field: &'static str) -> &'static str {
    let settings = AGENT.iter().flat_map(|group| group.settings);
    let mut keys = settings.filter_map(|setting| setting.key);
    let is_its = |key: &&str| *key == field || key.strip_suffix("_ms") == Some(field);
    // That of the languages tells what they are for.
    keys.find(is_its).unwrap_or(if field == "languages" { "farewell_languages" } else { field })
}

/// Settings of the server, and of agents among each other.
pub(super) fn server(config: &Config, reader: &mut Reader<'_>) {
    let loopback = config.listen.ip().is_loopback();
    let twilio = &config.twilio;

    match &config.public_url {
        None if !loopback => reader.wrong(
            "public_url",
            &format!(
                "missing: the carrier cannot be told how to reach {}; set PATCHCORD_PUBLIC_URL, or listen on loopback",
                config.listen
            ),
        ),
        Some(url) if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || has_user(url) => {
            reader.wrong("public_url", "only scheme, host and port, as in https://calls.example.org");
        }
        Some(_) | None => {}
    }
    let can_verify = twilio.auth_token.is_some() || !twilio.shared_keys.0.is_empty();
    if !can_verify && (twilio.verify == Verify::Always || !loopback) {
        reader.wrong(
            "TWILIO_AUTH_TOKEN",
            "not set, so no webhook could be trusted: set it (or TWILIO_SHARED_KEYS), or for trying things out on this machine listen on \
             loopback and set `verify = \"unless-loopback\"` in [twilio]",
        );
    }
    if (twilio.auth_token.is_some() || twilio.api_key_sid.is_some()) != twilio.account_sid.is_some() {
        reader.wrong(
            "TWILIO_ACCOUNT_SID",
            "belongs together with TWILIO_AUTH_TOKEN, or with TWILIO_API_KEY_SID and TWILIO_API_KEY_SECRET: set both or \
             neither",
        );
    }
    if twilio.api_key_sid.is_some() != twilio.api_key_secret.is_some() {
        reader.wrong("TWILIO_API_KEY_SID", "belongs together with TWILIO_API_KEY_SECRET: set both or neither");
    }
    if let Some(region) = regional_host_that_stopped(&twilio.api_url) {
        let what = format!(
            "Twilio stopped answering at api.{region}.twilio.com; name an edge too, as in https://api.dublin.ie1.twilio.com \
             or https://api.sydney.au1.twilio.com"
        );
        reader.wrong("TWILIO_API_URL", &what);
    }
    if let Some(agent) = config.agents.iter().find(|agent| agent.model.provider == Provider::OpenAi)
        && lacks_model(config)
    {
        let what = format!("not set, and agent `{}` needs it: set it, or OPENAI_API_KEY_FILE", agent.name);
        reader.wrong("OPENAI_API_KEY", &what);
    }

    let mut answered_by = BTreeMap::new();
    for agent in &config.agents {
        let place = format!("agents.{}", agent.name);
        if agent.numbers.is_empty() && !agent.default {
            reader.wrong(&place, "answers nothing; give it `numbers` or `default = true`");
        }
        if let Some(number) = agent.caller_id.as_ref().filter(|number| !plausible_number(number)) {
            reader.wrong(&format!("{place}.caller_id"), &not_a_number(number));
        }
        for (index, number) in agent.numbers.iter().enumerate() {
            let place = format!("{place}.numbers[{index}]");
            if !plausible_number(number) {
                reader.wrong(&place, &not_a_number(number));
            }
            if let Some(other) = answered_by.insert(number, &agent.name) {
                reader.wrong(&place, &format!("{number} is answered by `{other}` already"));
            }
        }
    }
    let defaults: Vec<&Agent> = config.agents.iter().filter(|agent| agent.default).collect();
    if let [first, .., last] = &defaults[..] {
        let what = format!("`{}` has it already; only one answers what no other does", first.name);
        reader.wrong(&format!("agents.{}.default", last.name), &what);
    }
}

fn has_user(url: &reqwest::Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// `+` and digits, or an address with a scheme, which is the carrier's business.
pub(super) fn plausible_number(number: &str) -> bool {
    match number.strip_prefix('+') {
        Some(digits) => (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => number.contains(':'),
    }
}

pub(super) fn not_a_number(number: &str) -> String {
    format!("`{number}` is not like +15005550006 or sip:…")
}

/// The region, if this is one of the hosts without an edge that Twilio took out of service on 2026-04-28
/// (twilio.com/docs/global-infrastructure/using-the-twilio-rest-api-in-a-non-us-region). `us1` still answers.
fn regional_host_that_stopped(url: &reqwest::Url) -> Option<&str> {
    let region = url.host_str()?.strip_prefix("api.")?.strip_suffix(".twilio.com")?;
    ["ie1", "au1", "br1", "de1", "jp1", "sg1", "us2"].contains(&region).then_some(region)
}
