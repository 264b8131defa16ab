//! Is everybody there who has to be: the model, the carrier, and ourselves as the carrier sees us?

use std::net::IpAddr;
use std::time::{Duration, Instant};

use call::wire::openai::{Read, Realtime, SessionSettings};
use call::{ModelInput, ModelOutput, RequestId};
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::DATE;
use reqwest::{Client, Response, StatusCode, Url};
use tokio_tungstenite::tungstenite::Message;

use super::{Finding, Report};
use crate::agent::{Agent, Provider};
use crate::commands::Commands;
use crate::config::Config;
use crate::dial::local_url;
use crate::http::INSTANCE;
use crate::model::{Endpoint, tls};

/// One look at somebody over HTTP: as long as a person waits for a line to appear.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Clocks that differ by less are right: dates count whole seconds, and the answer was on its way.
const SKEW_OK: Duration = Duration::from_secs(5);

/// Beyond this, times in records are wrong for anybody, and what is signed with a time is refused.
const SKEW_MAX: Duration = Duration::from_secs(60);

pub(super) async fn examine(config: &Config, report: &mut Report) {
    let tls = match tls(config.openai.ca_file.as_deref()) {
        Ok(tls) => tls,
        Err(error) => {
            return report.add(Finding::fail("model", format!("{error:#}"), "mend or leave out openai.ca_file"));
        }
    };
    let client = match crate::http_client(&tls) {
        Ok(client) => client,
        Err(error) => return report.add(Finding::fail("network", format!("{error:#}"), "please report it")),
    };
    let sessions = config.agents.iter().map(|agent| model(config, agent, tls.clone(), &client));
    let commands = Commands::new(client.clone(), config.twilio.clone(), None);
    let (models, carrier, public_url) =
        tokio::join!(join_all(sessions), carrier(config, commands), public_url(config, &client));
    for finding in models.into_iter().chain(carrier).chain(public_url) {
        report.add(finding);
    }
}

/// The embedded model has its weights, and its flow can be read. Nobody outside this machine is asked.
pub(super) fn embedded_here(config: &Config, agent: &Agent) -> Finding {
    #[cfg(feature = "voice")]
    return crate::local::finding(config, agent);
    #[cfg(not(feature = "voice"))]
    {
        let _ = config;
        let what = format!("embedded for {}: this build lacks the feature voice", agent.name);
        Finding::fail("model", what, "use provider = \"openai\"")
    }
}

/// The same, and its chat server answers. That costs what a word costs.
async fn embedded(config: &Config, agent: &Agent, client: &Client) -> Finding {
    let here = embedded_here(config, agent);
    #[cfg(feature = "voice")]
    let here = match crate::local::try_chat(agent, client).await {
        Ok(None) => here,
        Ok(Some(took)) => {
            let host = agent.model.chat.url.as_ref().and_then(Url::host_str).unwrap_or_default();
            let found = format!("{}; the chat server at {host} answered in {} ms", here.found, took.as_millis());
            Finding { found, ..here }
        }
        Err((why, next)) => return Finding::fail("model", format!("embedded for {}: {why}", agent.name), next),
    };
    #[cfg(not(feature = "voice"))]
    let _ = client;
    here
}

/// The model takes our session. Nothing is asked of it, so it costs nothing.
async fn model(config: &Config, agent: &Agent, tls: std::sync::Arc<rustls::ClientConfig>, client: &Client) -> Finding {
    if agent.model.provider == Provider::Local {
        return embedded(config, agent, client).await;
    }
    let name = format!("{} for {}", agent.model.name, agent.name);
    let host = config.openai.url.host_str().unwrap_or_default();
    let endpoint = match Endpoint::new(&config.openai, &agent.model.name, tls) {
        Ok(endpoint) => endpoint,
        Err(error) => return Finding::fail("model", format!("{name}: {error:#}"), "mend what it names"),
    };
    let began = Instant::now();
    let connection = match endpoint.connect().await {
        Ok(connection) => connection,
        Err(refused) if refused.status == Some(401) => {
            let what = format!("{name}: {host} rejected the key");
            return Finding::fail("model", what, "set OPENAI_API_KEY to one that is valid");
        }
        Err(refused) if refused.fatal => {
            let what = format!("{name}: {host} refused, {}", refused.why);
            return Finding::fail("model", what, "check the model's name, and whether the key may use it");
        }
        Err(refused) => {
            let what = format!("{name}: {host} was not reached, {}", refused.why);
            return Finding::fail("model", what, "check OPENAI_REALTIME_URL and the way out of this machine");
        }
    };
    let configured = tokio::time::timeout(agent.call.configure_timeout, configure(connection, &agent.session())).await;
    match configured {
        Ok(Ok(())) => {
            let took = began.elapsed().as_millis();
            Finding::ok("model", format!("{name}: connected and configured in {took} ms"))
        }
        Ok(Err(why)) => {
            Finding::fail("model", format!("{name}: {host} {why}"), "change the agent's settings that it names")
        }
        Err(_) => {
            let limit = agent.call.configure_timeout.as_millis();
            let what = format!("{name}: {host} did not confirm the configuration within {limit} ms");
            Finding::fail("model", what, "try again, or raise configure_timeout_ms")
        }
    }
}

/// Sends the session as a call would, and waits for what becomes of it.
async fn configure(mut connection: crate::model::ModelConnection, settings: &SessionSettings) -> Result<(), String> {
    let mut realtime = Realtime::new();
    let mut text = String::new();
    realtime.write(&ModelOutput::Configure { request: RequestId(0) }, settings, &mut text);
    connection.send(Message::text(&text)).await.map_err(|_| "closed the connection".to_owned())?;
    loop {
        match connection.next().await {
            Some(Ok(Message::Text(text))) => match realtime.read(&text) {
                Read::Input(ModelInput::Configured) => {
                    // The peer may have gone already, which is as good.
                    let _ = connection.close(None).await;
                    return Ok(());
                }
                Read::Input(ModelInput::Error { .. }) => return Err(complaint(&text)),
                _ => {}
            },
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err("closed the connection".to_owned()),
            Some(Ok(_)) => {}
        }
    }
}

/// What an error is about, in the vendor's names. Its message is left out: it may repeat part of a key.
fn complaint(event: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(event).unwrap_or_default();
    let name = |field: &str| event["error"][field].as_str().map(str::to_owned);
    let about = name("param").map(|param| format!(" about {param}")).unwrap_or_default();
    let code = name("code").or_else(|| name("type")).unwrap_or_else(|| "an error without a name".to_owned());
    format!("refused the session: {code}{about}")
}

/// The carrier's account and the API key, and what time it is there.
async fn carrier(config: &Config, commands: Commands) -> Vec<Finding> {
    let twilio = &config.twilio;
    if twilio.account_sid.is_none() {
        // Told with the keys.
        return Vec::new();
    }
    let host = twilio.api_url.host_str().unwrap_or_default();
    let unreached = |why| {
        let what = format!("{host} was not reached: {why}");
        vec![Finding::fail("carrier", what, "check TWILIO_API_URL and the way out of this machine")]
    };
    let mut findings = Vec::new();
    let mut date = None;
    if twilio.auth_token.is_some() {
        match commands.account().await {
            Ok(answer) => {
                date = date_of(&answer);
                findings.push(account(host, answer).await);
            }
            Err(why) => return unreached(why),
        }
    }
    if twilio.api_key_sid.is_some() {
        match commands.newest_call().await {
            Ok(answer) => {
                date = date.or(date_of(&answer));
                findings.push(api_key(host, answer.status(), twilio.auth_token.is_some()));
            }
            Err(why) => return unreached(why),
        }
    }
    findings.extend(date.as_deref().map(|date| clock(date, Timestamp::now())));
    findings
}

fn date_of(answer: &Response) -> Option<String> {
    answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned)
}

async fn account(host: &str, answer: Response) -> Finding {
    match answer.status() {
        StatusCode::OK => {
            let body = crate::commands::body_of(answer, BODY_MAX).await.ok().flatten().unwrap_or_default();
            let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            match (body["status"].as_str(), body["type"].as_str()) {
                (Some("active"), Some("Trial")) => {
                    let what = "the account is a trial: callers hear an announcement first, and only verified numbers \
                                can be called";
                    Finding::warn("carrier", what, "upgrade it before going live")
                }
                (Some("active"), _) => Finding::ok("carrier", format!("{host} knows the account, and it is active")),
                (Some(status), _) => {
                    Finding::fail("carrier", format!("the account is {status}"), "ask the carrier about it")
                }
                (None, _) => {
                    let what = format!("{host} answered something that is no account");
                    Finding::fail("carrier", what, "check TWILIO_API_URL")
                }
            }
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let what = format!("{host} rejected TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN");
            Finding::fail("carrier", what, "copy both from the carrier's console again")
        }
        status => refused(host, status),
    }
}

fn api_key(host: &str, status: StatusCode, account_is_known: bool) -> Finding {
    match status {
        StatusCode::OK => {
            let unknown =
                if account_is_known { "" } else { "; whether the account is active only the auth token can see" };
            Finding::ok("carrier", format!("{host} takes the API key for calls{unknown}"))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let what =
                format!("{host} rejected TWILIO_API_KEY_SID and TWILIO_API_KEY_SECRET, so nobody could be hung up");
            let advice = "take a Standard key of this account, from the region of TWILIO_API_URL; a Restricted one has to \
                          be allowed calls and recordings";
            Finding::fail("carrier", what, advice)
        }
        status => refused(host, status),
    }
}

fn refused(host: &str, status: StatusCode) -> Finding {
    match status {
        StatusCode::NOT_FOUND => {
            let what = format!("{host} knows no such account");
            Finding::fail("carrier", what, "check TWILIO_ACCOUNT_SID, and TWILIO_API_URL's region")
        }
        other => Finding::fail("carrier", format!("{host} answered {other}"), "try again later"),
    }
}

/// An account is some 2 KB.
const BODY_MAX: usize = 64 * 1024;

fn clock(date: &str, now: Timestamp) -> Finding {
    let Ok(theirs) = rfc2822::DateTimeParser::new().parse_timestamp(date) else {
        return Finding::warn("clock", "the carrier's date cannot be read", "look at this machine's clock yourself");
    };
    let ahead = now.duration_since(theirs);
    let apart = ahead.unsigned_abs();
    if apart <= SKEW_OK {
        return Finding::ok("clock", "agrees with the carrier's");
    }
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    let found = format!("{} s {side} the carrier's", apart.as_secs());
    let advice = "let this machine keep its time by NTP";
    if apart <= SKEW_MAX { Finding::warn("clock", found, advice) } else { Finding::fail("clock", found, advice) }
}

/// Whether the address that the carrier is told leads to the server that runs here.
async fn public_url(config: &Config, client: &Client) -> Vec<Finding> {
    let Some(url) = &config.public_url else {
        let what = "none, so no carrier can reach us";
        return vec![Finding::warn("public URL", what, "set PATCHCORD_PUBLIC_URL to an https:// origin")];
    };
    let shown = url.as_str().trim_end_matches('/');
    if is_loopback(url) {
        let what = format!("{shown} is this machine, which no carrier can reach");
        return vec![Finding::fail("public URL", what, "set PATCHCORD_PUBLIC_URL to what leads here from outside")];
    }
    let mut findings = Vec::new();
    if url.scheme() != "https" {
        let what = format!("{shown} is not encrypted, and the carrier's media stream has to be (wss)");
        findings.push(Finding::fail("public URL", what, "put TLS in front of us, and use https://"));
    }
    let local = local_url(config.listen);
    let Ok(Some(here)) = instance(client, &local).await else {
        // Whoever answers there, it is not what would be served here.
        let what = format!("no server runs at {}, so whether {shown} leads here is not known", config.listen);
        findings.push(Finding::warn("public URL", what, "check again while `patchcord serve` runs"));
        return findings;
    };
    findings.push(match instance(client, url).await {
        Ok(Some(there)) if here == there => {
            Finding::ok("public URL", format!("{shown} leads to the server at {}", config.listen))
        }
        Ok(Some(_)) => {
            let what = format!("{shown} leads to another Patchcord than the one at {}", config.listen);
            Finding::fail("public URL", what, "mend the tunnel or proxy, or stop the other one")
        }
        Ok(None) => {
            let what = format!("{shown}/healthz is answered by somebody else");
            Finding::fail("public URL", what, format!("let it lead to {}", config.listen))
        }
        Err(why) => {
            let what = format!("{shown}/healthz is not answered: {why}");
            Finding::fail("public URL", what, format!("let it lead to {}", config.listen))
        }
    });
    findings
}

/// Which Patchcord answers at this origin. `None`: somebody else does.
async fn instance(client: &Client, origin: &Url) -> Result<Option<String>, String> {
    let url = origin.join("healthz").map_err(|error| error.to_string())?;
    let answer = client.get(url).timeout(LOOK_MAX).send().await.map_err(crate::commands::cause)?;
    Ok(answer.headers().get(INSTANCE).and_then(|value| value.to_str().ok()).map(str::to_owned))
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn clocks_that_differ_are_told_by_how_much_and_whose_is_ahead() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let found = |date: &str| {
            let finding = clock(date, now);
            (finding.level, finding.found)
        };
        assert_eq!(found("Sun, 01 Mar 2026 11:59:56 GMT").0, Level::Ok);
        let ahead = (Level::Warn, "30 s ahead of the carrier's".to_owned());
        assert_eq!(found("Sun, 01 Mar 2026 11:59:30 GMT"), ahead);
        let behind = (Level::Fail, "3600 s behind the carrier's".to_owned());
        assert_eq!(found("Sun, 01 Mar 2026 13:00:00 GMT"), behind);
        assert_eq!(found("yesterday").0, Level::Warn);
    }

    #[test]
    fn what_is_this_machine_is_known_by_all_its_names() {
        let loopback = |url: &str| is_loopback(&Url::parse(url).unwrap());
        for url in
            ["http://127.0.0.1:8080", "https://localhost", "https://[::1]:1", "https://a.localhost", "http://0.0.0.0"]
        {
            assert!(loopback(url), "{url}");
        }
        assert!(!loopback("https://calls.example.org") && !loopback("https://192.0.2.1"));
    }
}
