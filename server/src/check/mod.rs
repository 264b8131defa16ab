//! `patchcord check`: the doctor of a configuration, and the release gate of a build (O6).
//!
//! The doctor looks at what is configured and at who has to be reached; the gate has this very build hold calls, in
//! virtual time (`scenarios.rs`) and over sockets (`sockets.rs`), and judges them from outside. Everything has a time
//! limit, nothing shows a secret, and nothing costs money: the model is configured and asked for nothing.

mod finding;
mod network;
mod place;
pub mod scenarios;
mod sockets;

use std::path::PathBuf;
use std::time::Duration;

use crate::agent::Provider;
use crate::config::{Config, FILE, Mistakes, Verify};

pub use finding::{Finding, Level, Report, Telling};
use scenarios::Scenario;

#[derive(clap::Args, Clone, Debug, Default)]
pub struct Args {
    /// Configuration file [default: patchcord.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print what others may parse.
    #[arg(long)]
    pub json: bool,
    /// Look at nothing outside this machine.
    #[arg(long)]
    pub offline: bool,
}

/// Whether calls can be answered.
pub async fn run(args: Args, env: &(dyn Fn(&str) -> Option<String> + Sync)) -> bool {
    let telling = if args.json { Telling::Json } else { Telling::Lines };
    let report = examine(&args, env, &scenarios::of_this_build(), telling).await;
    report.close();
    report.is_good()
}

/// Everything that [`run`] looks at, with these calls of the build.
pub async fn examine(
    args: &Args,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
    scenarios: &[Scenario],
    telling: Telling,
) -> Report {
    let mut report = Report::new(telling);
    let config = doctor(args, env, &mut report).await;
    gate(config.as_ref(), scenarios, &mut report).await;
    report
}

/// Looks at what is configured, and at who has to be reached. `None`: the configuration has mistakes.
pub async fn doctor(args: &Args, env: &(dyn Fn(&str) -> Option<String> + Sync), report: &mut Report) -> Option<Config> {
    let file = args.config.clone().or_else(|| Some(PathBuf::from(FILE)).filter(|path| path.exists()));
    let config = match Config::load(file.as_deref(), env) {
        Ok(config) => {
            let from = file.map_or("no file, the environment only".to_owned(), |file| file.display().to_string());
            let agents = match config.agents.len() {
                1 => "1 agent".to_owned(),
                more => format!("{more} agents"),
            };
            report.add(Finding::ok("config", format!("{from}: {agents}, at most {} calls", config.max_calls)));
            config
        }
        Err(Mistakes(mistakes)) => {
            for mistake in mistakes {
                report.add(Finding {
                    level: Level::Fail,
                    about: "config",
                    found: mistake,
                    // Each mistake says it itself.
                    advice: None,
                });
            }
            let why = "the configuration has mistakes, so nothing that depends on it was looked at";
            report.add(Finding::warn("config", why, "mend it and check again"));
            return None;
        }
    };
    accounts(&config, report);
    report.add(Finding::ok("audio", config.audio_settings()));
    crate::ears::finding(&config).into_iter().for_each(|finding| report.add(finding));
    let data = config.data.clone();
    let disk = in_time(DISK_MAX, move || place::data_folder(&data)).await;
    report.add(disk.unwrap_or_else(|| {
        let what = format!("{} does not answer", config.data.display());
        Finding::fail("disk", what, "mend the disk, or set PATCHCORD_DATA")
    }));
    if args.offline {
        let embedded = config.agents.iter().filter(|agent| agent.model.provider == Provider::Local);
        embedded.for_each(|agent| report.add(network::embedded_here(&config, agent)));
        let what = "--offline: model, carrier, clock and public URL were not looked at";
        report.add(Finding::warn("network", what, "leave it out before going live"));
    } else {
        network::examine(&config, report).await;
    }
    Some(config)
}

/// Has this build hold these calls, one with the settings of each agent, and some over sockets.
pub async fn gate(config: Option<&Config>, scenarios: &[Scenario], report: &mut Report) {
    for scenario in scenarios {
        report.add(simulated(scenario.clone()).await);
    }
    for agent in config.into_iter().flat_map(|config| &config.agents) {
        report.add(simulated(scenarios::of_agent(&agent.name, agent.call_config())).await);
    }
    sockets::examine(config, report).await;
}

async fn simulated(scenario: Scenario) -> Finding {
    let what = format!("{} ({})", scenario.what, scenario.rules);
    match in_time(SIMULATED_MAX, move || scenario.run()).await.unwrap_or_else(|| Err("it does not end".to_owned())) {
        Ok(()) => Finding::ok("simulated", what),
        Err(why) => {
            let advice = "this build is not to be let near a telephone; please report it";
            Finding::fail("simulated", format!("{what}: {why}"), advice)
        }
    }
}

/// One look at the disk: a network's share that is gone never answers.
const DISK_MAX: Duration = Duration::from_secs(5);

/// One call in virtual time: it takes some milliseconds, of which a slow machine makes seconds.
const SIMULATED_MAX: Duration = Duration::from_secs(20);

/// Does something that cannot be waited for, on a thread that is left to itself if it takes longer.
async fn in_time<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = done.send(work());
    });
    tokio::time::timeout(limit, result).await.ok()?.ok()
}

/// Are the accounts there, and what they look like? What is missing altogether is a mistake of the configuration.
fn accounts(config: &Config, report: &mut Report) {
    let hex = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let check = "compare it with the vendor's console; a space or line end may have come with it";
    match &config.openai.key {
        None => report.add(Finding::warn("keys", "no OPENAI_API_KEY", "right only if the model's endpoint wants none")),
        Some(key) if key.reveal().starts_with("sk-") && key.reveal().bytes().all(|byte| byte.is_ascii_graphic()) => {
            report.add(Finding::ok("keys", "OPENAI_API_KEY is there"));
        }
        Some(_) => report.add(Finding::warn("keys", "OPENAI_API_KEY is not like one of OpenAI's, sk-…", check)),
    }
    let twilio = &config.twilio;
    let mut there = Vec::new();
    let unlike = |what: &str| Finding::warn("keys", what, check);
    match &twilio.account_sid {
        Some(sid) if sid.strip_prefix("AC").is_none_or(|rest| !hex(rest, 32)) => {
            report.add(unlike("TWILIO_ACCOUNT_SID is not AC and 32 hexadecimal digits"));
        }
        Some(_) => there.push("TWILIO_ACCOUNT_SID"),
        None => report.add(Finding::warn(
            "keys",
            "no carrier account, so calls can only be tried out on this machine",
            "set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
        )),
    }
    match &twilio.auth_token {
        Some(token) if !hex(token.reveal(), 32) => {
            report.add(unlike("TWILIO_AUTH_TOKEN is not 32 hexadecimal digits"));
        }
        Some(_) => there.push("TWILIO_AUTH_TOKEN"),
        None => {}
    }
    match (&twilio.api_key_sid, &twilio.api_key_secret) {
        (Some(sid), _) if sid.strip_prefix("SK").is_none_or(|rest| !hex(rest, 32)) => {
            report.add(unlike("TWILIO_API_KEY_SID is not SK and 32 hexadecimal digits"));
        }
        (Some(_), Some(_)) => there.extend(["TWILIO_API_KEY_SID", "TWILIO_API_KEY_SECRET"]),
        (None, _) | (_, None) => {}
    }
    if !there.is_empty() {
        report.add(Finding::ok("keys", format!("{} are there", there.join(" and "))));
    }
    for key in &twilio.shared_keys.0 {
        let like = key.id.strip_prefix("webhooks_sharedkey_").is_some_and(|rest| rest.len() == 26);
        if !like {
            let what = format!("the SharedKey {} is not like one of Twilio's, webhooks_sharedkey_…", key.id);
            report.add(Finding::warn("keys", what, check));
        }
    }
    match twilio.shared_keys.0.len() {
        0 => {}
        count => {
            let believed = if count == 1 { "SharedKey is" } else { "SharedKeys are" };
            // Its secret is shown once, when it is made: nobody can be asked for it.
            let what = format!(
                "{count} {believed} believed; not verified, as the carrier tells their secrets to nobody: the first webhook \
                 that it signs with one shows whether it fits"
            );
            report.add(Finding::ok("keys", what));
        }
    }
    if config.twilio.verify == Verify::UnlessLoopback {
        report.add(Finding::warn(
            "keys",
            "unsigned webhooks from this machine are believed, also those that a tunnel on it passes on without headers",
            "leave out `verify` in [twilio] before going live",
        ));
    }
    match &config.api_key {
        Some(key) if key.reveal().len() < API_KEY_LEAST => {
            let what = format!("PATCHCORD_API_KEY is shorter than {API_KEY_LEAST} characters");
            report.add(Finding::warn("keys", what, "make one with: openssl rand -hex 32"));
        }
        Some(_) => report.add(Finding::ok("keys", "PATCHCORD_API_KEY is there")),
        None => report.add(Finding::ok("keys", "no PATCHCORD_API_KEY: the API answers on loopback only")),
    }
}

/// Characters of a key that nobody guesses.
const API_KEY_LEAST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_never_ends_is_left_to_itself() {
        let (never, ends) = std::sync::mpsc::channel::<()>();
        assert_eq!(in_time(DISK_MAX, move || ends.recv().is_ok()).await, None);
        drop(never);
        assert_eq!(in_time(Duration::MAX, || 7).await, Some(7));
        // Nor is what panicked waited for.
        assert_eq!(in_time::<()>(Duration::MAX, || panic!("on purpose")).await, None);
    }
}
