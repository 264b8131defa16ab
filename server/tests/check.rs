//! `patchcord check`, with every finding provoked once: against the simulated carrier and model, on this machine.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::net::SocketAddr;
use std::path::PathBuf;

use call::EndReason;
use patchcord::Server;
use patchcord::check::{self, Args, Finding, Level, Report, Telling, scenarios};
use patchcord::config::{Config, Verify};
use sim::carrier::twilio::{FakeTwilio, Settings};
use sim::model::server::ModelServer;
use sim::model::{Behaviour, FakeModel, Script};
use tempfile::TempDir;
use tokio::net::TcpListener;

const KEY: &str = "sk-0123456789abcdef";
const API_KEY: &str = "an-api-key-of-decent-length";

/// Both vendors on this machine, and a configuration that is right.
struct World {
    carrier: FakeTwilio,
    model: ModelServer,
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl World {
    async fn new(settings: Settings, behaviour: Behaviour) -> Self {
        let (sid, token) = (settings.account_sid.clone(), settings.auth_token.clone());
        let carrier = FakeTwilio::start(settings).await.unwrap();
        let session = move |_: &_| FakeModel::new("m", Script::default(), behaviour.clone());
        let model = ModelServer::start(KEY, session).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let environment = vec![
            ("OPENAI_API_KEY", KEY.to_owned()),
            ("OPENAI_REALTIME_URL", model.url()),
            ("TWILIO_ACCOUNT_SID", sid),
            ("TWILIO_AUTH_TOKEN", token),
            ("TWILIO_API_URL", carrier.api_url()),
            ("PATCHCORD_API_KEY", API_KEY.to_owned()),
            ("PATCHCORD_DATA", folder.path().join("data").to_str().unwrap().to_owned()),
        ];
        World { carrier, model, folder, environment }
    }

    async fn good() -> Self {
        World::new(Settings::default(), Behaviour::default()).await
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.into()));
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("patchcord.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What the doctor says of this file.
    async fn check(&self, text: &str) -> Report {
        self.doctor(Args { config: Some(self.file(text)), ..Args::default() }).await
    }

    async fn doctor(&self, args: Args) -> Report {
        let mut report = Report::new(Telling::Nothing);
        let find =
            |name: &str| self.environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        check::doctor(&args, &find, &mut report).await;
        report
    }

    /// The doctor, and the gate with these calls.
    async fn check_with(&self, args: Args, scenarios: &[scenarios::Scenario]) -> Report {
        let find =
            |name: &str| self.environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        check::examine(&args, &find, scenarios, Telling::Nothing).await
    }
}

fn about<'r>(report: &'r Report, about: &str) -> Vec<&'r Finding> {
    report.findings.iter().filter(|finding| finding.about == about).collect()
}

#[track_caller]
fn assert_only(report: &Report, what: &str, level: Level, words: &str) {
    let found = about(report, what);
    assert!(
        found.iter().any(|finding| finding.level == level && finding.found.contains(words)),
        "no {level:?} `{words}` in {found:#?}"
    );
    assert!(found.iter().all(|finding| finding.level == Level::Ok || finding.advice.is_some()), "{found:#?}");
    assert_eq!(report.is_good(), report.count(Level::Fail) == 0);
    assert_eq!(report.count(Level::Fail), usize::from(level == Level::Fail), "{:#?}", report.findings);
}

#[tokio::test]
async fn o6_all_is_well() {
    let world = World::good().await;
    let args = Args { config: Some(world.file("")), ..Args::default() };
    let report = world.check_with(args, &scenarios::of_this_build()).await;
    assert!(report.is_good(), "{:#?}", report.findings);
    for (what, words) in [
        ("config", "patchcord.toml: 1 agent, at most 100 calls"),
        ("keys", "OPENAI_API_KEY is there"),
        ("audio", "simple_mode=true audio_guard=false music_mode=false noise_gate_min_frames=0 vad=server"),
        ("disk", "can be written"),
        ("model", "gpt-realtime-2.1 for default: connected and configured in"),
        ("carrier", "127.0.0.1 knows the account, and it is active"),
        ("clock", "agrees with the carrier's"),
        ("twiml", "wss://calls.example.org/twilio/media/…"),
        ("sockets", "one call (N3)"),
        ("sockets", "default spoke for"),
    ] {
        assert_only(&report, what, Level::Ok, words);
    }
    // How fast is the machine's business; that it was measured is not.
    let webhooks = about(&report, "webhooks");
    assert!(webhooks.len() == 1 && webhooks[0].found.contains("(the slowest of 100)"), "{webhooks:?}");
    let rules = ["(H5)", "(H6)", "(H7)", "(H8)", "(A8)", "(B1)", "(B4)", "(B2, R6)", "settings of default (all)"];
    let simulated = about(&report, "simulated");
    for (finding, rule) in simulated.iter().zip(rules) {
        assert!(finding.found.ends_with(rule), "{finding:?}");
    }
    assert_eq!(simulated.len(), rules.len());
    // Nothing was asked of the model, nothing of the carrier but its account, and nothing is left.
    let session = world.model.sessions()[0].lock().unwrap().record().clone();
    assert_eq!((session.received.len(), session.responses.len(), world.model.sessions().len()), (1, 0, 1));
    assert!(!world.folder.path().join("data").exists());
    let json = report.json();
    assert_eq!((&json["ok"], &json["findings"][0]["level"]), (&true.into(), &"ok".into()));
}

#[tokio::test]
async fn o6_mistakes_are_all_told_and_the_build_is_looked_at_all_the_same() {
    let world = World::good().await;
    let args = Args { config: Some(world.file("max_calls = 0\n[twilio]\nverfiy = \"always\"")), ..Args::default() };
    let report = world.check_with(args, &[]).await;
    let found: Vec<_> = about(&report, "config").iter().map(|finding| (finding.level, finding.found.clone())).collect();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].0 == Level::Fail && found[0].1.contains("patchcord.toml:1: max_calls: `0`"), "{found:#?}");
    assert!(found[1].0 == Level::Fail && found[1].1.contains("did you mean `verify`?"), "{found:#?}");
    assert!(!report.is_good());
    assert_eq!(about(&report, "sockets").len(), 2);
}

#[tokio::test]
async fn o6_keys_that_are_not_like_keys() {
    let mut world = World::good().await;
    world.set("OPENAI_API_KEY", "sk with a space");
    world.set("TWILIO_ACCOUNT_SID", "SK0123");
    world.set("PATCHCORD_API_KEY", "1234");
    let file = world.file("twilio = { verify = \"unless-loopback\" }");
    let report = world.doctor(Args { config: Some(file), offline: true, ..Args::default() }).await;
    for words in [
        "OPENAI_API_KEY is not like",
        "TWILIO_ACCOUNT_SID is not AC",
        "PATCHCORD_API_KEY is shorter",
        "unsigned webhooks from this machine are believed",
    ] {
        assert_only(&report, "keys", Level::Warn, words);
    }
    assert_only(&report, "network", Level::Warn, "--offline");
    assert!(about(&report, "model").is_empty() && world.model.sessions().is_empty());
}

#[tokio::test]
async fn o6_a_model_that_rejects_the_key() {
    let mut world = World::good().await;
    world.set("OPENAI_API_KEY", "sk-another");
    assert_only(&world.check("").await, "model", Level::Fail, "127.0.0.1 rejected the key");
}

#[tokio::test]
async fn o6_a_model_that_nobody_answers_for() {
    let mut world = World::good().await;
    world.set("OPENAI_REALTIME_URL", format!("ws://{}/v1/realtime", unused().await));
    assert_only(&world.check("").await, "model", Level::Fail, "was not reached");
}

#[tokio::test]
async fn o6_a_model_that_refuses_the_session() {
    let behaviour = Behaviour { reject_configuration: Some("invalid_voice"), ..Behaviour::default() };
    let world = World::new(Settings::default(), behaviour).await;
    assert_only(&world.check("").await, "model", Level::Fail, "refused the session: invalid_voice");
}

#[tokio::test]
async fn o6_a_model_that_never_confirms() {
    let behaviour = Behaviour { configure_latency: std::time::Duration::from_secs(3_600), ..Behaviour::default() };
    let world = World::new(Settings::default(), behaviour).await;
    let report = world.check("[defaults]\nconfigure_timeout_ms = 500").await;
    assert_only(&report, "model", Level::Fail, "did not confirm the configuration within 500 ms");
}

#[tokio::test]
async fn o6_a_carrier_that_rejects_the_account() {
    let mut world = World::good().await;
    world.set("TWILIO_AUTH_TOKEN", "f".repeat(32));
    assert_only(&world.check("").await, "carrier", Level::Fail, "rejected TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN");
    world.set("TWILIO_ACCOUNT_SID", format!("AC{}", "f".repeat(32)));
    assert_only(&world.check("").await, "carrier", Level::Fail, "knows no such account");
}

/// The account is the auth token's to see; the API key is asked for what it is used for.
#[tokio::test]
async fn o6_an_api_key_is_verified_and_a_shared_key_is_said_not_to_be() {
    let (sid, secret) = (format!("SK{}", "a".repeat(32)), "b".repeat(32));
    let settings = Settings { api_key: Some((sid.clone(), secret.clone())), ..Settings::default() };
    let mut world = World::new(settings, Behaviour::default()).await;
    world.set("TWILIO_API_KEY_SID", sid);
    world.set("TWILIO_API_KEY_SECRET", secret.clone());
    let report = world.check("").await;
    assert_only(&report, "carrier", Level::Ok, "127.0.0.1 takes the API key for calls");
    assert_only(&report, "carrier", Level::Ok, "127.0.0.1 knows the account, and it is active");
    let there = "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN and TWILIO_API_KEY_SID and TWILIO_API_KEY_SECRET are there";
    assert_only(&report, "keys", Level::Ok, there);

    world.environment.retain(|(name, _)| *name != "TWILIO_AUTH_TOKEN");
    world.set("TWILIO_SHARED_KEYS", format!("webhooks_sharedkey_{}=secret-one", "0".repeat(26)));
    let report = world.check("").await;
    assert_only(&report, "carrier", Level::Ok, "whether the account is active only the auth token can see");
    assert_only(&report, "clock", Level::Ok, "agrees");
    assert_only(&report, "keys", Level::Ok, "1 SharedKey is believed; not verified");
    assert!(!format!("{:?}", report.findings).contains("secret-one"));

    world.set("TWILIO_SHARED_KEYS", "mine=secret-one");
    world.set("TWILIO_API_KEY_SECRET", "c".repeat(32));
    let report = world.check("").await;
    assert_only(&report, "carrier", Level::Fail, "rejected TWILIO_API_KEY_SID and TWILIO_API_KEY_SECRET");
    assert!(about(&report, "keys").iter().any(|finding| finding.found.contains("SharedKey mine is not like")));
    world.set("TWILIO_API_KEY_SID", "SK1");
    let report = world.check("").await;
    assert!(about(&report, "keys").iter().any(|finding| finding.found.contains("TWILIO_API_KEY_SID is not SK")));
}

#[tokio::test]
async fn o6_a_carrier_that_nobody_answers_for() {
    let mut world = World::good().await;
    world.set("TWILIO_API_URL", format!("http://{}", unused().await));
    assert_only(&world.check("").await, "carrier", Level::Fail, "was not reached");
}

#[tokio::test]
async fn o6_a_clock_that_is_wrong() {
    let world = World::new(Settings { clock_ahead_s: 3_600, ..Settings::default() }, Behaviour::default()).await;
    assert_only(&world.check("").await, "clock", Level::Fail, " s behind the carrier's");
}

#[tokio::test]
async fn o6_a_public_url_that_cannot_be_one() {
    let mut world = World::good().await;
    assert_only(&world.check("").await, "public URL", Level::Warn, "none, so no carrier can reach us");
    world.set("PATCHCORD_PUBLIC_URL", "https://localhost:8443");
    assert_only(&world.check("").await, "public URL", Level::Fail, "is this machine, which no carrier can reach");
}

#[tokio::test]
async fn o6_a_public_url_and_where_it_leads() {
    let mut world = World::good().await;
    // Names of this machine that are not known to be: what resolves them is the system's business.
    let one = running(&world).await;
    let other = running(&world).await;
    world.set("PATCHCORD_LISTEN", one.to_string());
    let public = |address: SocketAddr| format!("http://{NOT_LOOPBACK}:{}", address.port());
    for (address, words) in [(one, "leads to the server at"), (other, "leads to another Patchcord")] {
        world.set("PATCHCORD_PUBLIC_URL", public(address));
        let found = world.check("").await;
        let found: Vec<_> = about(&found, "public URL").iter().map(|finding| finding.found.clone()).collect();
        assert!(found[0].contains("is not encrypted"), "{found:#?}");
        assert!(found[1].contains(words), "{found:#?}");
    }
    // The carrier's REST API is somebody else.
    let api: SocketAddr = world.carrier.api_url().trim_start_matches("http://").parse().unwrap();
    world.set("PATCHCORD_PUBLIC_URL", public(api));
    let found = world.check("").await;
    assert!(about(&found, "public URL")[1].found.contains("is answered by somebody else"));
    world.set("PATCHCORD_PUBLIC_URL", public(unused().await));
    let found = world.check("").await;
    assert!(about(&found, "public URL")[1].found.contains("healthz is not answered"));
    world.set("PATCHCORD_LISTEN", unused().await.to_string());
    let found = world.check("").await;
    let not_running = about(&found, "public URL")[1];
    assert!(not_running.level == Level::Warn && not_running.found.contains("no server runs at"), "{not_running:?}");
}

/// This machine, as an IPv4 address in IPv6: the check does not take it for loopback, and so looks.
const NOT_LOOPBACK: &str = "[::ffff:127.0.0.1]";

/// An address at which nobody listens.
async fn unused() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn running(world: &World) -> SocketAddr {
    // Two servers have two databases.
    let data = tempfile::tempdir_in(world.folder.path()).unwrap().keep();
    let mut config = Config { data, ..Config::default() };
    config.twilio.verify = Verify::UnlessLoopback;
    let server = Server::new(config, TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let address = server.address();
    tokio::spawn(server.run(futures_util::stream::pending()));
    address
}

#[tokio::test]
async fn o6_a_folder_that_cannot_be_written() {
    let mut world = World::good().await;
    let file = world.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    world.set("PATCHCORD_DATA", file.to_str().unwrap());
    assert_only(&world.check("").await, "disk", Level::Fail, "nothing can be written");
}

#[tokio::test]
async fn o3_agents_that_differ_are_told_apart() {
    let world = World::good().await;
    let text = "[agents.a]\ndefault = true\nvad_threshold = 0.7\n[agents.b]\nnumbers = [\"sip:b\"]\nvad = \"semantic\"";
    let report = world.check(text).await;
    let audio = &about(&report, "audio")[0].found;
    assert!(audio.contains("a: simple_mode=true") && audio.contains("vad_threshold=0.7"), "{audio}");
    assert!(audio.contains("; b: simple_mode=true") && audio.contains("vad=semantic vad_eagerness=medium"), "{audio}");
}

/// Files of the right names and sizes are enough for the doctor: what is in them, `patchcord models verify` tells.
#[cfg(feature = "voice")]
fn make<'f>(weights: &std::path::Path, files: impl IntoIterator<Item = &'f voice::models::File>) {
    for file in files {
        let path = weights.join(file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(file.size).unwrap();
    }
}

#[cfg(feature = "voice")]
#[tokio::test]
async fn o6_weights_that_it_can_do_without() {
    let mut world = World::good().await;
    let weights = world.folder.path().join("weights");
    make(&weights, voice::models::files());
    world.set("PATCHCORD_VOICE_MODELS", weights.to_str().unwrap());
    let text = "[defaults]\nvad = \"semantic\"\nmodel = { provider = \"local\" }";
    let report = world.check(text).await;
    assert_only(&report, "model", Level::Warn, "silence alone ends a turn");
    assert_only(&report, "model", Level::Warn, "few are understood");
    assert_eq!(about(&report, "model")[0].advice.as_deref(), Some("run `patchcord models pull --turn-end`"));
    make(&weights, voice::models::TURN_END.files);
    let report = world.check(text).await;
    assert_only(&report, "model", Level::Warn, "few are understood");
    assert!(!format!("{:?}", about(&report, "model")).contains("silence alone"), "{:#?}", report.findings);
    make(&weights, voice::models::WORD_VECTORS.files);
    let report = world.check(text).await;
    assert!(about(&report, "model").iter().all(|finding| finding.level == Level::Ok), "{:#?}", report.findings);
}

/// What is said of missing weights is what to run for all that is configured, in one command; also with `--offline`.
#[cfg(feature = "voice")]
#[tokio::test]
async fn o6_weights_that_are_not_here() {
    let mut world = World::good().await;
    let weights = world.folder.path().join("weights");
    world.set("PATCHCORD_VOICE_MODELS", weights.to_str().unwrap());
    let check = async |text: &str, level: Level, words: &str, advice: Option<&str>| {
        for offline in [false, true] {
            let args = Args { config: Some(world.file(text)), offline, ..Args::default() };
            let report = world.doctor(args).await;
            assert_only(&report, "model", level, words);
            assert_eq!(about(&report, "model")[0].advice.as_deref(), advice);
        }
    };
    let tiny = "[defaults]\nmodel = { provider = \"local\" }";
    let base = format!("recogniser = \"base\"\n{tiny}");
    let both = format!("{base}\nvad = \"semantic\"");
    check(tiny, Level::Fail, "is missing", Some("run `patchcord models pull`")).await;
    check(&base, Level::Fail, "is missing", Some("run `patchcord models pull --recogniser base`")).await;
    let all = "run `patchcord models pull --recogniser base --turn-end`";
    check(&both, Level::Fail, "is missing", Some(all)).await;
    make(&weights, voice::models::files());
    check(tiny, Level::Warn, "few are understood", Some("run `patchcord models pull`")).await;
    // Either of the two will do.
    make(&weights, voice::models::SENTENCES.files);
    check(tiny, Level::Ok, "its weights are in", None).await;
    std::fs::remove_dir_all(weights.join("minilm")).unwrap();
    make(&weights, voice::models::WORD_VECTORS.files);
    check(tiny, Level::Ok, "its weights are in", None).await;
    let lacks = "recogniser = \"base\" and its weights are not in";
    let instead = ", or set recogniser = \"tiny\"";
    let run = format!("run `patchcord models pull --recogniser base`{instead}");
    check(&base, Level::Fail, lacks, Some(&run)).await;
    check(&both, Level::Fail, lacks, Some(&format!("{all}{instead}"))).await;
    make(&weights, voice::models::BASE.files);
    check(&base, Level::Ok, "its weights are in", None).await;
    check(&both, Level::Warn, "silence alone ends a turn", Some(all)).await;
    make(&weights, voice::models::TURN_END.files);
    check(&both, Level::Ok, "its weights are in", None).await;
}

/// The gate is only as good as what it does not let through: each call of the build, with a model that says nothing.
#[test]
fn o6_no_call_of_the_build_passes_whatever_happens() {
    for mut scenario in scenarios::of_this_build() {
        scenario.plan.behaviour.ignored_creates = u32::MAX;
        assert!(scenario.run().is_err(), "{}", scenario.what);
    }
}

#[tokio::test]
async fn o6_a_call_that_goes_wrong_fails_the_check() {
    let world = World::good().await;
    let args = Args { config: Some(world.file("")), offline: true, ..Args::default() };
    let mut scenarios = scenarios::of_this_build();
    scenarios.truncate(2);
    // It never says the words that make a goodbye of it.
    scenarios[0].plan.replies[0].says[0].0 = "Let me see what I can do for you.";
    let report = world.check_with(args, &scenarios).await;
    assert_only(
        &report,
        "simulated",
        Level::Fail,
        "goodbye A: its words first, then its sound (H5): the call ended as",
    );
    assert!(!report.is_good());
}

/// The judgement of all calls counts too, whatever the scenario itself expects.
#[test]
fn o6_a_rule_that_is_broken_is_named() {
    let mut scenario = scenarios::of_this_build().remove(0);
    scenario.expect = |_| Ok(());
    scenario.run().unwrap();
    // The plan says that nothing may lie at the carrier; the call was told otherwise.
    let (mut world, _) = scenario.plan.happen();
    scenario.plan.config.lead = std::time::Duration::ZERO;
    let verdict = sim::verdict::judge(&scenario.plan, &world).unwrap_err();
    assert_eq!(verdict.rule, "A3");
    world.ended = world.ended.map(|(at, _)| (at, EndReason::Fault));
    assert!((scenarios::of_this_build()[0].expect)(&world).is_err());
}

/// A chat server on this machine that answers with `status`, and what it was asked.
#[cfg(feature = "voice")]
async fn chat_server(status: u16) -> (String, tokio::sync::mpsc::UnboundedReceiver<serde_json::Value>) {
    let (asked, requests) = tokio::sync::mpsc::unbounded_channel();
    let answer = move |axum::Json(request): axum::Json<serde_json::Value>| {
        let _ = asked.send(request);
        let event = "data: {\"choices\": [{\"delta\": {\"content\": \"Hi\"}}]}\n\n";
        std::future::ready((axum::http::StatusCode::from_u16(status).unwrap(), event))
    };
    let router = axum::Router::new().route("/v1/chat/completions", axum::routing::post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, requests)
}

#[tokio::test]
#[cfg(feature = "voice")]
async fn o6_a_chat_server_is_asked_for_a_word() {
    let mut world = World::good().await;
    let weights = world.folder.path().join("weights");
    for file in voice::models::files() {
        let path = weights.join(file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    world.set("PATCHCORD_VOICE_MODELS", weights.to_str().unwrap());
    world.set("CHAT_KEY", "sk-chat");
    let text = |url: &str| {
        format!(
            "[defaults]\nmodel = {{ provider = \"local\", chat = {{ url = \"{url}\", model = \"m\", key_env = \"CHAT_KEY\" }} }}"
        )
    };
    let (url, mut requests) = chat_server(200).await;
    assert_only(&world.check(&text(&url)).await, "model", Level::Ok, "the chat server at 127.0.0.1 answered in ");
    // As in a call: a server that takes no tools would be found out.
    let request = requests.recv().await.unwrap();
    assert_eq!((&request["model"], &request["tools"][0]["function"]["name"]), (&"m".into(), &"end_call".into()));
    let (url, _requests) = chat_server(401).await;
    let report = world.check(&text(&url)).await;
    assert_only(&report, "model", Level::Fail, "The chat server answered 401");
    assert!(format!("{:?}", about(&report, "model")).contains("set CHAT_KEY to a key that is valid"));
    let report = world.check(&text(&format!("http://{}/", unused().await))).await;
    assert_only(&report, "model", Level::Fail, "was not reached");
}

/// Whatever an agent's settings are, as long as they are allowed: what the check says of it is not a false alarm. Each
/// limit in turn at its least and at its most.
#[test]
fn o6_no_setting_makes_a_call_break_a_rule() {
    let read = |text: &str| {
        let find = |name: &str| match name {
            "OPENAI_API_KEY" | "TWILIO_ACCOUNT_SID" | "TWILIO_AUTH_TOKEN" => Some("x".to_owned()),
            _ => None,
        };
        Config::parse(&format!("[defaults]\n{text}"), &find).ok().map(|config| config.agents[0].call_config())
    };
    let reference = patchcord::config::reference();
    let agents = reference.split("\n## Agents\n").nth(1).unwrap();
    let mut settings = vec![
        "greeting = \"Hello.\"".to_owned(),
        "turns = \"model\"\nhold = false".to_owned(),
        "hold = false".to_owned(),
        "greeting = \"Hello.\"\nprotect_greeting = \"all\"".to_owned(),
        "farewell_languages = [\"he\"]".to_owned(),
        "group_frames = 3\nlead_ms = 60".to_owned(),
        "silence_max_ms = 0".to_owned(),
    ];
    for row in agents.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let numbers = cells[2].split(' ').filter(|word| word.parse::<u64>().is_ok());
        settings.extend(numbers.map(|number| format!("{} = {number}", cells[0].trim_matches(['|', ' ', '`']))));
    }
    let mut held = 0;
    for text in &settings {
        let Some(config) = read(text) else { continue };
        held += 1;
        scenarios::of_agent("a", config).run().unwrap_or_else(|why| panic!("{text}: {why}"));
    }
    assert!(held > 80, "{held} of {settings:?}");
}
