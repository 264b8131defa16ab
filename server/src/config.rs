//! The configuration: a TOML file, the environment over it, and every mistake in either reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use call::farewell::Language;
use call::trace::Words;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::agent::{Agent, Model, Provider, Tool};

/// Everything the server is told before it starts. `Default` is what an empty file and an empty environment give,
/// before they are checked: see [`Config::load`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where `patchcord serve` listens; [`run`](crate::run) takes a listener that was bound already.
    pub listen: SocketAddr,
    /// Origin that the carrier reaches us by, without a path. `None`: the listener's own, which only works on loopback.
    pub public_url: Option<Url>,
    /// Folder of records and recordings.
    pub data: PathBuf,
    /// Key of the control API. `None`: it answers on loopback only.
    pub api_key: Option<Secret>,
    /// Calls at once (N9); one more is told that the line is busy. A core carries some 500 (docs), so this is safe on
    /// the smallest machine.
    pub max_calls: usize,
    /// Bytes that may wait to be written to one peer before its socket counts as lost. Beyond a minute of audio in
    /// either direction, a peer that takes nothing is not coming back.
    pub socket_backlog_max: usize,
    /// Where spans go by OTLP, `http://collector:4318`. `None`: nowhere.
    pub otlp_endpoint: Option<Url>,
    /// How long calls may take to end when the server is told to stop.
    pub shutdown_max: Duration,
    pub openai: OpenAi,
    pub twilio: Twilio,
    /// Never empty.
    pub agents: Vec<Agent>,
}

/// The model account.
#[derive(Clone, Debug)]
pub struct OpenAi {
    /// `ws://` or `wss://`; the model's name is added as a query parameter.
    pub url: Url,
    pub key: Option<Secret>,
    /// Certificates (PEM) to trust besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// From dialling to the end of the WebSocket handshake.
    pub connect_timeout: Duration,
}

/// The carrier account.
#[derive(Clone, Debug)]
pub struct Twilio {
    pub account_sid: Option<String>,
    pub auth_token: Option<Secret>,
    /// Origin of the REST API.
    pub api_url: Url,
    /// One REST request.
    pub api_timeout: Duration,
    pub verify: Verify,
    /// How long the media stream's token is good for: the carrier dials within a second or two.
    pub token_max: Duration,
}

/// Which of the carrier's requests have to be signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    Always,
    /// Unsigned requests pass if they come from a loopback peer and we listen on loopback.
    UnlessLoopback,
}

/// A value that is never shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Secret(value.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is kept in a call's trace.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileTrace {
    /// Lengths of words, and the few words that decisions are made by.
    Masked,
    /// Everything that was said.
    Full,
    Off,
}

impl FileTrace {
    fn words(self) -> Option<Words> {
        match self {
            FileTrace::Masked => Some(Words::Masked),
            FileTrace::Full => Some(Words::Full),
            FileTrace::Off => None,
        }
    }
}

/// All that is wrong with a configuration, each with its place and what to do.
#[derive(Debug, thiserror::Error)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} mistake{plural} in the configuration:", self.0.len())?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            data: PathBuf::from("patchcord-data"),
            api_key: None,
            max_calls: 100,
            socket_backlog_max: 1 << 20,
            otlp_endpoint: None,
            shutdown_max: Duration::from_secs(10),
            openai: OpenAi {
                url: known_url("wss://api.openai.com/v1/realtime"),
                key: None,
                ca_file: None,
                connect_timeout: Duration::from_secs(5),
            },
            twilio: Twilio {
                account_sid: None,
                auth_token: None,
                api_url: known_url("https://api.twilio.com"),
                api_timeout: Duration::from_secs(5),
                verify: Verify::Always,
                token_max: Duration::from_secs(60),
            },
            agents: vec![Agent::default()],
        }
    }
}

impl Config {
    /// Reads the file, if any, then the environment, which wins.
    ///
    /// # Errors
    /// Every mistake of both, not just the first.
    pub fn load(file: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
        let text = match file.map(|path| (path, std::fs::read_to_string(path))) {
            None => String::new(),
            Some((_, Ok(text))) => text,
            Some((path, Err(error))) => {
                let name = path.display();
                return Err(Mistakes(vec![format!("{name}: {error}; give another with --config FILE")]));
            }
        };
        Config::parse(&text, env)
    }

    /// As [`Config::load`], from the file's text.
    ///
    /// # Errors
    /// Every mistake, not just the first.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
        let mut reader = Reader { env, mistakes: Vec::new() };
        let config = reader.config(text);
        if reader.mistakes.is_empty() { Ok(config) } else { Err(Mistakes(reader.mistakes)) }
    }

    /// The agent that answers this called number.
    pub fn agent_for(&self, called: &str) -> Option<&Agent> {
        let by_number = |agent: &&Agent| agent.numbers.iter().any(|number| number == called);
        self.agents.iter().find(by_number).or_else(|| self.agents.iter().find(|agent| agent.default))
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileTop {
    listen: Option<String>,
    public_url: Option<String>,
    data: Option<PathBuf>,
    max_calls: Option<usize>,
    socket_backlog_max_bytes: Option<usize>,
    shutdown_max_ms: Option<u64>,
    openai: Option<toml::Table>,
    twilio: Option<toml::Table>,
    agents: Option<BTreeMap<String, toml::Table>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileOpenAi {
    ca_file: Option<PathBuf>,
    connect_timeout_ms: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileTwilio {
    verify: Option<Verify>,
    api_timeout_ms: Option<u64>,
    token_max_ms: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileAgent {
    numbers: Option<Vec<String>>,
    default: Option<bool>,
    instructions: Option<String>,
    greeting: Option<String>,
    language: Option<String>,
    model: Option<toml::Table>,
    hold: Option<bool>,
    silence_max_ms: Option<u64>,
    call_max_ms: Option<u64>,
    carrier_recording: Option<bool>,
    recording: Option<bool>,
    trace: Option<FileTrace>,
    tools: Option<Vec<toml::Table>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileModel {
    provider: Option<Provider>,
    name: Option<String>,
    voice: Option<String>,
    transcription: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileTool {
    name: Option<String>,
    description: Option<String>,
    parameters: Option<serde_json::Value>,
    url: Option<String>,
}

/// Reads everything that can be read, and notes what cannot.
struct Reader<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    fn config(&mut self, text: &str) -> Config {
        let table = toml::from_str::<toml::Table>(text).unwrap_or_else(|error| {
            self.mistakes.push(format!("not TOML: {}", error.to_string().trim_end()));
            toml::Table::new()
        });
        let top: FileTop = self.section("", table);
        let openai: FileOpenAi = self.section("openai", top.openai.unwrap_or_default());
        let twilio: FileTwilio = self.section("twilio", top.twilio.unwrap_or_default());
        let default = Config::default();

        let mut config = Config {
            listen: self
                .setting("PATCHCORD_LISTEN", top.listen)
                .and_then(|text| self.parsed("PATCHCORD_LISTEN / listen", &text, "an address such as 127.0.0.1:8080"))
                .unwrap_or(default.listen),
            public_url: self.setting("PATCHCORD_PUBLIC_URL", top.public_url).and_then(|text| self.origin(&text)),
            data: self.var("PATCHCORD_DATA").map(PathBuf::from).or(top.data).unwrap_or(default.data),
            api_key: self.secret("PATCHCORD_API_KEY"),
            max_calls: top.max_calls.unwrap_or(default.max_calls),
            socket_backlog_max: top.socket_backlog_max_bytes.unwrap_or(default.socket_backlog_max),
            otlp_endpoint: self.url("OTEL_EXPORTER_OTLP_ENDPOINT", &["http", "https"]),
            shutdown_max: top.shutdown_max_ms.map_or(default.shutdown_max, Duration::from_millis),
            openai: OpenAi {
                url: self.url("OPENAI_REALTIME_URL", &["ws", "wss"]).unwrap_or(default.openai.url),
                key: self.secret("OPENAI_API_KEY"),
                ca_file: openai.ca_file,
                connect_timeout: openai
                    .connect_timeout_ms
                    .map_or(default.openai.connect_timeout, Duration::from_millis),
            },
            twilio: Twilio {
                account_sid: self.var("TWILIO_ACCOUNT_SID"),
                auth_token: self.secret("TWILIO_AUTH_TOKEN"),
                api_url: self.url("TWILIO_API_URL", &["http", "https"]).unwrap_or(default.twilio.api_url),
                api_timeout: twilio.api_timeout_ms.map_or(default.twilio.api_timeout, Duration::from_millis),
                verify: twilio.verify.unwrap_or(default.twilio.verify),
                token_max: twilio.token_max_ms.map_or(default.twilio.token_max, Duration::from_millis),
            },
            agents: Vec::new(),
        };
        for (name, table) in top.agents.unwrap_or_default() {
            let agent = self.agent(name, table);
            config.agents.push(agent);
        }
        if config.agents.is_empty() {
            config.agents = default.agents;
        }
        self.check(&config);
        config
    }

    fn agent(&mut self, name: String, table: toml::Table) -> Agent {
        let place = format!("agents.{name}");
        let file: FileAgent = self.section(&place, table);
        let model: FileModel = self.section(&format!("{place}.model"), file.model.unwrap_or_default());
        let default = Agent::default();

        let mut tools = Vec::new();
        for (index, table) in file.tools.unwrap_or_default().into_iter().enumerate() {
            tools.extend(self.tool(&format!("{place}.tools[{index}]"), table));
        }
        if let Some(language) = &file.language
            && Language::from_code(language).is_none()
        {
            self.mistakes.push(format!("{place}.language: `{language}` is not known; use a tag such as \"en\""));
        }
        Agent {
            name,
            numbers: file.numbers.unwrap_or_default(),
            default: file.default.unwrap_or(false),
            instructions: file.instructions.unwrap_or(default.instructions),
            greeting: file.greeting,
            language: file.language,
            model: Model {
                provider: model.provider.unwrap_or(default.model.provider),
                name: model.name.unwrap_or(default.model.name),
                voice: model.voice.unwrap_or(default.model.voice),
                transcription: model.transcription,
            },
            hold: file.hold.unwrap_or(default.hold),
            // 0 is "never": TOML has no null.
            silence_max: match file.silence_max_ms {
                None => default.silence_max,
                Some(0) => None,
                Some(millis) => Some(Duration::from_millis(millis)),
            },
            call_max: file.call_max_ms.map_or(default.call_max, Duration::from_millis),
            carrier_recording: file.carrier_recording.unwrap_or(default.carrier_recording),
            recording: file.recording.unwrap_or(default.recording),
            trace: file.trace.map_or(default.trace, FileTrace::words),
            tools,
        }
    }

    fn tool(&mut self, place: &str, table: toml::Table) -> Option<Tool> {
        let file: FileTool = self.section(place, table);
        let mut required = |key: &str, value: Option<String>| {
            if value.is_none() {
                self.mistakes.push(format!("{place}: `{key}` is missing"));
            }
            value
        };
        let name = required("name", file.name);
        let url = required("url", file.url);
        let description = required("description", file.description);
        let url = self.checked_url(&format!("{place}.url"), &url?, &["http", "https"]);
        let empty = || serde_json::json!({ "type": "object", "properties": {} });
        Some(Tool {
            name: name?,
            description: description?,
            parameters: file.parameters.unwrap_or_else(empty),
            url: url?,
        })
    }

    /// What only shows when settings are seen together.
    fn check(&mut self, config: &Config) {
        let loopback = config.listen.ip().is_loopback();
        let twilio = &config.twilio;
        let mut wrong = |mistake: String| self.mistakes.push(mistake);

        if config.public_url.is_none() && !loopback {
            wrong(format!(
                "public_url is missing: the carrier cannot be told how to reach {}; set PATCHCORD_PUBLIC_URL, \
                 or listen on loopback",
                config.listen
            ));
        }
        if twilio.auth_token.is_none() && (twilio.verify == Verify::Always || !loopback) {
            wrong(
                "TWILIO_AUTH_TOKEN is not set, so no webhook could be trusted: set it, or for trying things out on \
                 this machine listen on loopback and set `verify = \"unless-loopback\"` in [twilio]"
                    .to_owned(),
            );
        }
        if twilio.auth_token.is_some() != twilio.account_sid.is_some() {
            wrong("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN belong together: set both or neither".to_owned());
        }
        if config.max_calls == 0 {
            wrong("max_calls: 0 would refuse every call; set at least 1".to_owned());
        }
        let least = 64 * 1024;
        if config.socket_backlog_max < least {
            wrong(format!("socket_backlog_max_bytes: at least {least}, or one long message is a lost socket"));
        }

        let wants = |provider| config.agents.iter().find(|agent| agent.model.provider == provider);
        if let Some(agent) = wants(Provider::OpenAi)
            && config.openai.key.is_none()
            && config.openai.url == Config::default().openai.url
        {
            wrong(format!(
                "OPENAI_API_KEY is not set, and agent `{}` needs it: set it, or OPENAI_API_KEY_FILE",
                agent.name
            ));
        }
        if let Some(agent) = wants(Provider::Local) {
            wrong(format!("agents.{}.model.provider: \"local\" is not in this build; use \"openai\"", agent.name));
        }

        let mut answered_by = BTreeMap::new();
        for agent in &config.agents {
            let mut tools = BTreeSet::from([call::END_CALL]);
            for tool in &agent.tools {
                if !tools.insert(&tool.name) {
                    wrong(format!("agents.{}.tools: there is a `{}` already; rename one", agent.name, tool.name));
                }
            }
            if agent.numbers.is_empty() && !agent.default {
                wrong(format!("agents.{}: answers nothing; give it `numbers` or `default = true`", agent.name));
            }
            for number in &agent.numbers {
                if !plausible_number(number) {
                    wrong(format!("agents.{}.numbers: `{number}` is not like +15005550006 or sip:…", agent.name));
                }
                if let Some(other) = answered_by.insert(number, &agent.name) {
                    wrong(format!("agents.{}.numbers: {number} is answered by `{other}` already", agent.name));
                }
            }
        }
        if config.agents.iter().filter(|agent| agent.default).count() > 1 {
            wrong("agents: more than one has `default = true`; leave one".to_owned());
        }
    }

    /// Reads one table. A key that cannot be used is noted and left out, so that the next mistake is found too.
    fn section<T: DeserializeOwned + Default>(&mut self, place: &str, mut table: toml::Table) -> T {
        loop {
            match serde_path_to_error::deserialize(toml::Value::Table(table.clone())) {
                Ok(section) => return section,
                Err(error) => {
                    let path = error.path().to_string();
                    let message = error.inner().message().to_owned();
                    let unknown = unknown_field(&message).map(|(key, _)| key.to_owned());
                    let key_path = unknown.clone().unwrap_or_else(|| path.clone());
                    let culprit = unknown.unwrap_or_else(|| first_key(&path).to_owned());
                    let dot = if place.is_empty() { "" } else { "." };
                    self.mistakes.push(format!("{place}{dot}{key_path}: {}", advice(&message)));
                    if table.remove(&culprit).is_none() {
                        return T::default();
                    }
                }
            }
        }
    }

    fn var(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    fn setting(&self, name: &str, file: Option<String>) -> Option<String> {
        self.var(name).or(file)
    }

    /// From `NAME`, or from the file that `NAME_FILE` names.
    fn secret(&mut self, name: &str) -> Option<Secret> {
        let file_name = format!("{name}_FILE");
        match (self.var(name), self.var(&file_name)) {
            (None, None) => None,
            (Some(value), None) => Some(Secret(value)),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) if !text.trim().is_empty() => Some(Secret(text.trim().to_owned())),
                // The mistake is noted; the empty secret keeps it from being noted again as missing.
                Ok(_) => {
                    self.mistakes.push(format!("{file_name}: {path} is empty"));
                    Some(Secret::new(""))
                }
                Err(error) => {
                    self.mistakes.push(format!("{file_name}: {path}: {error}"));
                    Some(Secret::new(""))
                }
            },
            (Some(value), Some(_)) => {
                self.mistakes.push(format!("{name} and {file_name} are both set: unset one"));
                Some(Secret(value))
            }
        }
    }

    fn parsed<T: std::str::FromStr>(&mut self, place: &str, text: &str, wanted: &str) -> Option<T> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.mistakes.push(format!("{place}: `{text}` is not {wanted}"));
        }
        parsed
    }

    fn origin(&mut self, text: &str) -> Option<Url> {
        let place = "PATCHCORD_PUBLIC_URL / public_url";
        let url = self.checked_url(place, text, &["http", "https"])?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            self.mistakes.push(format!("{place}: only scheme, host and port, as in https://calls.example.org"));
            return None;
        }
        Some(url)
    }

    fn url(&mut self, name: &str, schemes: &[&str]) -> Option<Url> {
        let text = self.var(name)?;
        self.checked_url(name, &text, schemes)
    }

    fn checked_url(&mut self, place: &str, text: &str, schemes: &[&str]) -> Option<Url> {
        let url = Url::parse(text).ok().filter(|url| schemes.contains(&url.scheme()) && url.has_host());
        if url.is_none() {
            self.mistakes
                .push(format!("{place}: `{text}` is not a URL that begins with {}://", schemes.join(":// or ")));
        }
        url
    }
}

/// serde's message, with a suggestion when a key was merely misspelt.
fn advice(message: &str) -> String {
    let Some((unknown, known)) = unknown_field(message) else {
        return message.trim_end().to_owned();
    };
    let distance = |name: &&&str| strsim::damerau_levenshtein(name, unknown);
    match known.iter().min_by_key(distance).filter(|name| distance(name) <= 3) {
        Some(name) => format!("no such setting; did you mean `{name}`?"),
        None => format!("no such setting; there are {}", known.join(", ")),
    }
}

/// The field that serde does not know, and those that it does.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut names = message.strip_prefix("unknown field")?.split('`').skip(1).step_by(2);
    Some((names.next()?, names.collect()))
}

fn first_key(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

/// `+` and digits, or an address with a scheme, which is the carrier's business.
fn plausible_number(number: &str) -> bool {
    match number.strip_prefix('+') {
        Some(digits) => (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => number.contains(':'),
    }
}

fn known_url(text: &'static str) -> Url {
    Url::parse(text).expect("a URL written in this file")
}
