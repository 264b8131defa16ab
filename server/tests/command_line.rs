//! The binary itself: exit codes, what it prints when it starts, and what it never prints.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use sim::carrier::twilio::{FakeTwilio, Settings};
use sim::model::server::ModelServer;
use sim::model::{Behaviour, FakeModel, Script};

const OPENAI_KEY: &str = "sk-5e46e70a1";
const AUTH_TOKEN: &str = "70ce25ec7e7011a8c0ffee0000000001";
const API_KEY: &str = "a91c0a5e-secret-of-the-api";
const SECRETS: [&str; 3] = [OPENAI_KEY, AUTH_TOKEN, API_KEY];

struct World {
    carrier: FakeTwilio,
    model: ModelServer,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let settings = Settings { auth_token: AUTH_TOKEN.to_owned(), ..Settings::default() };
        let session = |_: &_| FakeModel::new("m", Script::default(), Behaviour::default());
        World {
            carrier: FakeTwilio::start(settings).await.unwrap(),
            model: ModelServer::start(OPENAI_KEY, session).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The binary, in a folder of its own and with nothing of our environment.
    fn patchcord(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchcord"));
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("OPENAI_REALTIME_URL", self.model.url()).env("OPENAI_API_KEY", OPENAI_KEY);
        command.env("TWILIO_API_URL", self.carrier.api_url()).env("TWILIO_AUTH_TOKEN", AUTH_TOKEN);
        command.env("TWILIO_ACCOUNT_SID", Settings::default().account_sid).env("PATCHCORD_API_KEY", API_KEY);
        command.env("PATCHCORD_LISTEN", "127.0.0.1:0");
        command
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }
}

/// Away from the runtime that the carrier and the model run on.
async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn assert_no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in {text}");
        // Nor as the header that it is sent in.
        assert!(!text.contains(&secret[secret.len() / 2..]), "half of {secret} is in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o6_check_succeeds_when_all_is_well_and_says_it_in_lines_and_in_json() {
    let world = World::new().await;
    let (lines, json) =
        tokio::join!(output(world.patchcord(&["check"])), output(world.patchcord(&["check", "--json"])));
    assert_eq!((lines.status.code(), json.status.code()), (Some(0), Some(0)), "{}{}", text(&lines), text(&json));
    let shown = String::from_utf8(lines.stdout.clone()).unwrap();
    let (findings, summary) = shown.trim_end().rsplit_once("\n\n").unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["findings"].as_array().unwrap().len(), findings.lines().count());
    assert_eq!(json["ok"], true);
    assert!(findings.lines().all(|line| line.starts_with("ok    ") || line.starts_with("warn  ")), "{findings}");
    assert!(summary.ends_with(" 0 failed"), "{summary}");
    assert_no_secret(&format!("{}{json}", text(&lines)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o6_check_fails_when_anything_does_and_shows_no_secret_then_either() {
    let world = World::new().await;
    // Each vendor is shown the other's secret, and rejects it.
    let mut wrong = world.patchcord(&["check"]);
    wrong.env("OPENAI_API_KEY", AUTH_TOKEN).env("TWILIO_AUTH_TOKEN", OPENAI_KEY);
    let wrong = output(wrong).await;
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong));
    assert!(text(&wrong).contains("fail  model") && text(&wrong).contains("fail  carrier"), "{}", text(&wrong));
    assert_no_secret(&text(&wrong));

    // Mistakes next to secrets, and secrets where they do not belong.
    world.file(
        "patchcord.toml",
        &format!("max_cals = 3\n[twilio]\nauth_token = \"{AUTH_TOKEN}\"\nverify = {OPENAI_KEY}\n"),
    );
    let mistakes = output(world.patchcord(&["check", "--offline"])).await;
    assert_eq!(mistakes.status.code(), Some(1));
    assert!(
        text(&mistakes).contains("fail  config      patchcord.toml:1: max_cals: no such key"),
        "{}",
        text(&mistakes)
    );
    assert_no_secret(&text(&mistakes));

    let serve = output(world.patchcord(&["serve"])).await;
    assert_eq!(serve.status.code(), Some(1));
    assert!(text(&serve).contains("patchcord.toml:3: twilio.auth_token: no such key; secrets"), "{}", text(&serve));
    assert_no_secret(&text(&serve));

    let usage = output(world.patchcord(&["check", "--nonsense"])).await;
    assert_eq!(usage.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_serve_prints_the_audio_settings_once_and_no_secret() {
    let world = World::new().await;
    world.file("patchcord.toml", "[defaults]\nvad_threshold = 0.6\n");
    for verbosity in ["minimal", "verbose", "trace"] {
        let mut serve = world.patchcord(&["serve"]);
        serve.env("PATCHCORD_LOG", verbosity);
        let log = tokio::task::spawn_blocking(move || {
            let mut child = serve.spawn().unwrap();
            let log = read_until(&mut child, "listening");
            child.kill().unwrap();
            let mut rest = String::new();
            child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
            child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
            child.wait().unwrap();
            log + &rest
        });
        let log = log.await.unwrap();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("simple_mode")).collect();
        assert_eq!(lines.len(), 1, "{log}");
        for setting in [
            "simple_mode=true",
            "audio_guard=false",
            "music_mode=false",
            "noise_gate_min_frames=0",
            "vad_threshold=0.6",
            "min_speech_ms=300",
        ] {
            assert!(lines[0].contains(setting), "{setting} is not in {}", lines[0]);
        }
        assert_no_secret(&log);
    }
}

/// What it logs, up to the first line with these words. Byte by byte, so that nothing after it is lost.
fn read_until(child: &mut Child, words: &str) -> String {
    let stderr = child.stderr.as_mut().unwrap();
    let mut log = String::new();
    let mut reader = BufReader::with_capacity(1, stderr);
    while !log.contains(words) {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "it ended: {log}");
        log.push_str(&line);
    }
    log
}

#[tokio::test]
async fn init_writes_a_file_that_serve_takes() {
    let world = World::new().await;
    let written = output(world.patchcord(&["init"])).await;
    assert_eq!(written.status.code(), Some(0), "{}", text(&written));
    assert!(Path::new(&world.folder.path().join("patchcord.toml")).exists());
    let again = output(world.patchcord(&["init"])).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again).contains("is there already"), "{}", text(&again));
    let check = output(world.patchcord(&["check", "--offline"])).await;
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));
    assert!(text(&check).contains("ok    config      patchcord.toml: 1 agent"), "{}", text(&check));
}

/// A key in a file, as orchestrators hand them over; without weights it goes no further. Breaks when only the variable itself
/// is read, or what cannot be read is passed over.
#[cfg(feature = "voice")]
#[tokio::test]
async fn realtime_takes_the_chat_servers_key_from_a_variable_or_a_file() {
    let world = World::new().await;
    world.file("key", "sk-chat\n");
    world.file("empty", "\n");
    let no_weights = "run `patchcord models pull`";
    for (set, told) in [
        (&[][..], "CHAT_KEY is not set"),
        (&[("CHAT_KEY", "sk-chat")], no_weights),
        (&[("CHAT_KEY_FILE", "key")], no_weights),
        (&[("CHAT_KEY_FILE", "empty")], "CHAT_KEY_FILE: empty is empty"),
        (&[("CHAT_KEY", "sk-chat"), ("CHAT_KEY_FILE", "key")], "CHAT_KEY and CHAT_KEY_FILE are both set"),
    ] {
        let chat = ["realtime", "--chat", "http://127.0.0.1:9/", "--chat-model", "m", "--chat-key-env", "CHAT_KEY"];
        let mut realtime = world.patchcord(&chat);
        realtime.envs(set.iter().copied());
        let realtime = output(realtime).await;
        assert_ne!(realtime.status.code(), Some(0), "{set:?}");
        let said = text(&realtime);
        assert!(said.contains(told) && !said.contains("sk-chat"), "{set:?}: {said}");
    }
}

/// Without any weights, one command fetches all that is wanted, and it is the one that is named.
#[cfg(feature = "voice")]
#[tokio::test]
async fn what_fetches_the_weights_is_what_fetches_those_that_are_wanted() {
    let world = World::new().await;
    let wanted = "recogniser = \"base\"\n[defaults]\nvad = \"semantic\"\nmodel = { provider = \"local\" }\n";
    world.file("patchcord.toml", wanted);
    let mut serve = world.patchcord(&["serve"]);
    let log = tokio::task::spawn_blocking(move || {
        let mut child = serve.spawn().unwrap();
        let log = read_until(&mut child, "listening");
        child.kill().unwrap();
        child.wait().unwrap();
        log
    });
    let log = log.await.unwrap();
    assert!(log.contains("run `patchcord models pull --recogniser base --turn-end`"), "{log}");
    assert_eq!(log.matches("models pull").count(), 1, "{log}");

    let realtime = output(world.patchcord(&["realtime", "--recogniser", "base"])).await;
    assert_ne!(realtime.status.code(), Some(0));
    let said = text(&realtime);
    assert!(said.contains("is missing: run `patchcord models pull --recogniser base`\n"), "{said}");
}
