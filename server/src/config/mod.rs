//! The configuration: a TOML file, the environment over it, and every mistake in either reported at once.
//!
//! To add a setting: give it a field here or in [`Agent`], and a line in `settings.rs`; the reference and the starter
//! file have it from there. A type that no setting had yet is taught in `values.rs`, what has to fit together is looked
//! at in `together.rs`.

mod audio;
mod read;
mod reference;
mod setting;
mod settings;
mod together;
mod values;

#[cfg(feature = "voice")]
pub(crate) use read::secret;
#[cfg(feature = "voice")]
pub(crate) use values::clip;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use crate::agent::Agent;
use crate::answer::Answer;
use read::Reader;

pub use audio::{Audio, Vad};
pub use reference::{reference, starter};

/// The file that is read if no other is named.
pub const FILE: &str = "patchcord.toml";

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
    /// Folder of the embedded model's weights. `None`: `voice-models` in the data folder.
    pub voice_models: Option<PathBuf>,
    /// What the embedded model recognises with.
    pub recogniser: Recogniser,
    /// Key of the control API. `None`: it answers on loopback only.
    pub api_key: Option<Secret>,
    /// Calls at once (N9); one more is told that the line is busy. A core carries some 500 (docs), so this is safe on
    /// the smallest machine.
    pub max_calls: usize,
    /// Bytes that may wait to be written to one peer before its socket counts as lost. Beyond a minute of audio in
    /// either direction, a peer that takes nothing is not coming back.
    pub socket_backlog_max: usize,
    /// Calls at once that an ear of our own listens to.
    pub ears_max: usize,
    /// Frames of each of them that may wait for it.
    pub ears_backlog_frames: usize,
    /// Where spans go by OTLP, `http://collector:4318`. `None`: nowhere.
    pub otlp_endpoint: Option<Url>,
    /// HTTP connections at once, those not counted that became media sockets.
    pub connections_max: usize,
    /// How long a connection may take for a request's head, from the answer before it on.
    pub request_head_max: Duration,
    /// How long calls may go on when the server is told to stop.
    pub drain_max: Duration,
    /// How long the goodbyes of those that still go on may take.
    pub goodbye_max: Duration,
    /// How long hanging up the rest may take.
    pub shutdown_max: Duration,
    pub openai: OpenAi,
    pub twilio: Twilio,
    pub outbound: Outbound,
    /// The database's file. `None`: `patchcord.db` in the data folder.
    pub database: Option<Database>,
    /// Never empty.
    pub agents: Vec<Agent>,
}

/// Sizes of the embedded model's recogniser.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recogniser {
    /// Base if its weights are here, else tiny.
    Best,
    /// Always there; half the memory.
    Tiny,
    /// Errs less often.
    Base,
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
    /// Silence of the model after which it is asked whether it is still there.
    pub ping_every: Duration,
    /// How long it may take to answer then.
    pub pong_max: Duration,
}

/// The carrier account.
#[derive(Clone, Debug)]
pub struct Twilio {
    pub account_sid: Option<String>,
    pub auth_token: Option<Secret>,
    /// What the carrier may sign its requests with besides the auth token.
    pub shared_keys: SharedKeys,
    /// What REST requests are made with in place of the auth token. It can be revoked by itself.
    pub api_key_sid: Option<String>,
    pub api_key_secret: Option<Secret>,
    /// Origin of the REST API.
    pub api_url: Url,
    /// One REST request.
    pub api_timeout: Duration,
    pub verify: Verify,
    /// How long the media stream's token is good for: the carrier dials within a second or two.
    pub token_max: Duration,
    /// What the callers of a number get that no agent answers.
    pub unknown_number: Answer,
    /// What the caller gets who is one too many (N9), where the agent has nothing of its own to say.
    pub busy: Answer,
    /// Whether recordings that the carrier made are copied into their calls' folders.
    pub fetch_recordings: bool,
    /// The largest one that is.
    pub recording_bytes_max: u64,
    /// How long one attempt at it may take.
    pub recording_fetch_max: Duration,
}

/// The customer's keys by which Twilio may sign (`webhooks_sharedkey_…`).
#[derive(Clone, Debug, Default)]
pub struct SharedKeys(pub Vec<SharedKey>);

#[derive(Clone, Debug)]
pub struct SharedKey {
    pub id: String,
    pub secret: Secret,
}

/// The calls that we place.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// How long it rings, unless whoever places the call says otherwise.
    pub ring_max: Duration,
    /// How long the carrier may refuse a call for want of capacity before it is given up.
    pub create_max: Duration,
    /// How long a call is looked for whose request was not answered.
    pub lookup_max: Duration,
    /// Silence of the carrier about a call, after which it is asked how it stands.
    pub check_every: Duration,
    /// From the request to the answer, the time in the carrier's queue included.
    pub answer_max: Duration,
}

/// The file that `DATABASE_URL` names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database(pub PathBuf);

/// Which of the carrier's requests have to be signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// A secret that the file names by its variable in the environment.
#[derive(Clone, Debug)]
pub struct NamedSecret {
    pub variable: String,
    pub secret: Secret,
}

impl PartialEq for NamedSecret {
    /// The environment is the same for all.
    fn eq(&self, other: &Self) -> bool {
        self.variable == other.variable
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
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
            voice_models: None,
            recogniser: Recogniser::Best,
            api_key: None,
            max_calls: 100,
            socket_backlog_max: 1 << 20,
            ears_max: 64,
            ears_backlog_frames: 10,
            otlp_endpoint: None,
            connections_max: 1_024,
            request_head_max: Duration::from_secs(30),
            drain_max: Duration::from_secs(60),
            goodbye_max: Duration::from_secs(15),
            shutdown_max: Duration::from_secs(10),
            openai: OpenAi {
                url: known_url("wss://api.openai.com/v1/realtime"),
                key: None,
                ca_file: None,
                connect_timeout: Duration::from_secs(5),
                ping_every: Duration::from_secs(10),
                pong_max: Duration::from_secs(10),
            },
            twilio: Twilio {
                account_sid: None,
                auth_token: None,
                shared_keys: SharedKeys::default(),
                api_key_sid: None,
                api_key_secret: None,
                api_url: known_url("https://api.twilio.com"),
                api_timeout: Duration::from_secs(5),
                verify: Verify::Always,
                token_max: Duration::from_secs(60),
                unknown_number: Answer::Reject,
                busy: Answer::Busy,
                fetch_recordings: false,
                recording_bytes_max: 256 << 20,
                recording_fetch_max: Duration::from_secs(600),
            },
            outbound: Outbound {
                ring_max: Duration::from_secs(60),
                create_max: Duration::from_secs(60),
                lookup_max: Duration::from_secs(30),
                check_every: Duration::from_secs(30),
                answer_max: Duration::from_secs(600),
            },
            database: None,
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
        let Some(path) = file else { return Reader::new(FILE, "", env).config() };
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Reader::new(&name, &text, env).config(),
            Err(error) => Err(Mistakes(vec![format!("{name}: {error}; give another with --config FILE")])),
        }
    }

    /// As [`Config::load`], from the file's text.
    ///
    /// # Errors
    /// Every mistake, not just the first.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
        Reader::new(FILE, text, env).config()
    }

    /// The audio settings in one line (O3); where agents differ, each kind with their names.
    pub(crate) fn audio_settings(&self) -> String {
        let mut kinds: Vec<(Audio, Vec<&str>)> = Vec::new();
        for agent in &self.agents {
            match kinds.iter_mut().find(|(audio, _)| *audio == agent.audio) {
                Some((_, names)) => names.push(&agent.name),
                None => kinds.push((agent.audio, vec![&agent.name])),
            }
        }
        match &kinds[..] {
            [(audio, _)] => audio.to_string(),
            several => {
                let kinds = several.iter().map(|(audio, names)| format!("{}: {audio}", names.join(", ")));
                kinds.collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// The agent that answers this called number.
    pub fn agent_for(&self, called: &str) -> Option<&Agent> {
        let by_number = |agent: &&Agent| agent.numbers.iter().any(|number| number == called);
        self.agents.iter().find(by_number).or_else(|| self.agents.iter().find(|agent| agent.default))
    }
}

fn known_url(text: &'static str) -> Url {
    Url::parse(text).expect("a URL written in these files")
}
