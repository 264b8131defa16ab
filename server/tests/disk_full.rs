//! The disk refuses in the middle of a call: calls go on undisturbed, the log says what is lost, and when the disk takes
//! again so does everything. The binary itself, whose files may not grow any more for a while (RLIMIT_FSIZE): like a full
//! disk, for all its files at once, and for whoever may run tests.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{CallOptions, CallReport, EndedBy, FakeTwilio, Settings};
use sim::model::server::{ModelServer, Opening};
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

const OPENAI_KEY: &str = "sk-0123456789abcdef";

/// Far beyond what any of this takes.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_refuses_costs_files_and_no_call() {
    let world = World::new().await;
    let server = world.serve().await;
    let before = server.files();

    let first = world.call(&server, "+15005550001", Duration::from_secs(3));
    let refused = async {
        // In the middle of its recording.
        let recording = server.grown_recording().await;
        server.files_may_grow("0").await;
        let at = std::fs::metadata(&recording).unwrap().len();
        server.says("file=\"recording\"").await;
        let second = world.call(&server, "+15005550002", Duration::ZERO).await;
        (recording, at, second)
    };
    let (first, (recording, at, second)) = tokio::join!(first, refused);
    for report in [&first, &second] {
        assert_eq!((report.ended_by, &report.problems[..]), (EndedBy::Rest, &[][..]));
        assert_eq!(report.streams[0].violations, [""; 0]);
    }
    // What was said was heard, though the disk had refused before the answer began.
    let heard = |report: &CallReport| report.streams[0].audible.iter().map(|span| span.end - span.start).sum();
    let (first, second): (Duration, Duration) = (heard(&first), heard(&second));
    assert!(first.abs_diff(second) < Duration::from_millis(100), "{first:?} {second:?}");
    assert!(std::fs::metadata(&recording).unwrap().len() <= at, "the disk did not refuse");

    // Each loss is told, once, and by its name; nothing is told that is none.
    server.says("calls cannot be written to the database").await;
    server.says_so_often("call ended", 2).await;
    for (words, times) in
        [("file=\"recording\"", 2), ("file=\"trace\"", 2), ("record could not be written", 2), ("cannot keep up", 0)]
    {
        assert_eq!(server.log.borrow().matches(words).count(), times, "{words}: {}", *server.log.borrow());
    }
    assert!(!server.log.borrow().contains("+1500555"), "no number in the log");

    server.files_may_grow("unlimited").await;
    server.says("calls are written to the database again").await;
    let third = world.call(&server, "+15005550003", Duration::ZERO).await;
    assert_eq!(third.ended_by, EndedBy::Rest);
    for (from, kept) in [("+15005550001", false), ("+15005550002", false), ("+15005550003", true)] {
        let record = server.ended(from).await;
        assert_eq!((&record["ended_reason"], &record["ended_by"]), (&"goodbye".into(), &"agent".into()), "{record}");
        assert_eq!((record["recording"].is_object(), record["trace"].is_string()), (kept, kept), "{record}");
    }
    assert_eq!(server.files(), before, "a file is still open");
    server.stop().await;
}

struct World {
    carrier: FakeTwilio,
    model: ModelServer,
    folder: TempDir,
}

impl World {
    async fn new() -> World {
        let session = |opening: &Opening| {
            let script = Script::says(["That was all, goodbye!"]).hears(["Is that all?"]);
            FakeModel::new(&format!("s{}", opening.number), script, Behaviour::default())
        };
        World {
            carrier: FakeTwilio::start(Settings::default()).await.unwrap(),
            model: ModelServer::start(OPENAI_KEY, session).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn serve(&self) -> Server {
        std::fs::write(
            self.folder.path().join("patchcord.toml"),
            "[agents.front-desk]\ndefault = true\ngreeting = \"Hello.\"",
        )
        .unwrap();
        let Settings { account_sid, auth_token, .. } = Settings::default();
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchcord"));
        command.arg("serve").current_dir(self.folder.path()).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.env("OPENAI_REALTIME_URL", self.model.url()).env("OPENAI_API_KEY", OPENAI_KEY);
        command.env("TWILIO_API_URL", self.carrier.api_url()).env("TWILIO_AUTH_TOKEN", auth_token);
        command.env("TWILIO_ACCOUNT_SID", account_sid).env("PATCHCORD_LISTEN", "127.0.0.1:0");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (told, log) = watch::channel(String::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                told.send_modify(|log| *log = format!("{log}{line}\n"));
            }
        });
        let mut server = Server { child, log, base: String::new(), data: self.folder.path().join("patchcord-data") };
        server.says("listening").await;
        let address = server.log.borrow().split("address=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        server.base = format!("http://{address}");
        server
    }

    /// Hears the greeting, asks one thing after a while, and hears the answer.
    async fn call(&self, server: &Server, from: &str, pause: Duration) -> CallReport {
        let caller = vec![
            CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(100) },
            CallerStep::AwaitAgentQuiet(Duration::from_millis(200)),
            CallerStep::Pause(pause),
            CallerStep::Say(hum("is that all").into()),
            CallerStep::AwaitAgentQuiet(Duration::from_secs(20)),
        ];
        let options = CallOptions { limit: Duration::from_secs(60), ..CallOptions::default() };
        let call = self.carrier.call(&server.base, from, "+15005550006", caller, options);
        timeout(PATIENCE, call).await.unwrap()
    }
}

struct Server {
    child: Child,
    log: watch::Receiver<String>,
    base: String,
    data: PathBuf,
}

impl Server {
    /// Waits until the log has these words.
    async fn says(&self, words: &str) {
        self.says_so_often(words, 1).await;
    }

    async fn says_so_often(&self, words: &str, times: usize) {
        let mut log = self.log.clone();
        let said = timeout(PATIENCE, log.wait_for(|log| log.matches(words).count() >= times)).await.map(drop);
        assert!(said.is_ok(), "{words}: {}", *self.log.borrow());
    }

    /// Regular files that it has open.
    fn files(&self) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.child.id().unwrap())).unwrap();
        let links = folder.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let mut files: Vec<PathBuf> = links.filter(|path| path.starts_with(&self.data)).collect();
        files.sort();
        files
    }

    /// The recording of the one call, when some of it is written.
    async fn grown_recording(&self) -> PathBuf {
        let written = async {
            loop {
                let calls = std::fs::read_dir(self.data.join("calls")).into_iter().flatten();
                let files = calls.map(|entry| entry.unwrap().path().join("recording.wav"));
                let mut grown = files.filter(|file| std::fs::metadata(file).is_ok_and(|file| file.len() > 10_000));
                if let Some(file) = grown.next() {
                    return file;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, written).await.unwrap()
    }

    /// The soft limit only: whoever lowers the other cannot raise it again.
    async fn files_may_grow(&self, to: &str) {
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &self.child.id().unwrap().to_string(), &format!("--fsize={to}:")]);
        assert!(prlimit.status().await.unwrap().success());
    }

    /// The record of the call from this number.
    async fn ended(&self, from: &str) -> Value {
        let get = async |path: &str| -> Value {
            reqwest::get(format!("{}/api/v1/calls{path}", self.base)).await.unwrap().json().await.unwrap()
        };
        let listed = async {
            loop {
                let page = get("?state=ended").await;
                let call = page["calls"].as_array().unwrap().iter().find(|call| call["from"] == from).cloned();
                if let Some(call) = call {
                    return get(&format!("/{}", call["id"].as_str().unwrap())).await;
                }
            }
        };
        timeout(PATIENCE, listed).await.unwrap_or_else(|_| panic!("no record: {}", *self.log.borrow()))
    }

    async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        Command::new("kill").args(["-s", "TERM", &pid]).status().await.unwrap();
        let status = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{}", *self.log.borrow());
    }
}
