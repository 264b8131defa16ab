//! The README's "A real number in ten minutes", followed word for word by a shell: only origins, keys and the command that
//! runs the binary are put in the place of others.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::outbound::Callee;
use sim::carrier::twilio::{CallOptions, CallReport, EndedBy, FakeTwilio, Settings};
use sim::model::server::{ModelServer, Opening};
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const README: &str = include_str!("../../README.md");
const SECTION: &str = "A real number in ten minutes";

/// What the section has in these places.
const PUBLIC_URL: &str = "https://calls.example.org";
const CARRIER_API: &str = "https://api.twilio.com";
const RUN: &str = "cargo run --release --";
const OURS: &str = "+15005550006";
const THEIRS: &str = "+15005550001";

const OPENAI_KEY: &str = "sk-0123456789abcdef";

/// Far beyond what any of this takes.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_number_in_ten_minutes() {
    let reader = Reader::new().await;
    reader.carrier.callees(|_| Callee::answers(asks()));
    let steps = blocks("sh");
    let serves = steps.iter().position(|block| block.contains("-- serve")).expect("a block that serves");
    let (at_first, later) = steps.split_at(serves + 1);
    // Whoever writes the file by hand has what `init` wrote before them, and the section's text instead.
    let [file] = &blocks("toml")[..] else { panic!("one file") };
    let writes_file = |block: &String| match block.contains("-- init") {
        true => format!("{block}\ncat > patchcord.toml <<'END'\n{file}\nEND\n"),
        false => block.clone(),
    };
    let at_first: Vec<String> = at_first.iter().map(writes_file).collect();

    let unset = reader.dial().await;
    assert_eq!((unset.ended_by, unset.documents.len()), (EndedBy::Failure, 0), "nobody answers the number yet");
    let mut shell = reader.shell(&at_first.concat(), "127.0.0.1:0");
    let (address, log) = shell.listens().await;
    reader.carrier.server_is_at(&format!("http://{address}"));

    // In.
    let report = reader.dial().await;
    assert_eq!(report.problems, [""; 0], "{log}");
    assert_eq!((report.ended_by, report.status), (EndedBy::Rest, "completed"));
    assert_eq!(report.documents[0].url, format!("{PUBLIC_URL}/twilio/voice"));
    let callbacks: Vec<&str> = report.callbacks.iter().map(|callback| callback.url.as_str()).collect();
    assert!(callbacks.contains(&&*format!("{PUBLIC_URL}/twilio/status")), "{callbacks:?}");

    // Out.
    assert_eq!(later.len(), 1, "one block that calls");
    let output = timeout(PATIENCE, reader.command(&later.concat(), &address).output()).await.unwrap().unwrap();
    let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("ended: goodbye, by agent"), "{shown}");
    let placed = timeout(PATIENCE, reader.carrier.placed(1)).await.unwrap();
    assert_eq!((placed[0].ended_by, &placed[0].problems[..]), (EndedBy::Rest, &[][..]));
    assert_eq!(reader.carrier.desk_problems(), [""; 0]);

    for (direction, from, to) in [("inbound", THEIRS, OURS), ("outbound", OURS, THEIRS)] {
        let record = ended(&address, direction).await;
        let about = ["from", "to", "agent", "ended_reason", "ended_by"].map(|name| record[name].as_str().unwrap());
        assert_eq!(about, [from, to, "front-desk", "goodbye", "agent"], "{record}");
        assert!(record["answered_at"].is_string() && record["frames_sent"].as_u64() > Some(50), "{record}");
    }
    assert_eq!(reader.model.sessions().len(), 3, "check's, and one for each call");
    shell.stop().await;
}

/// What makes the test above worth anything: it has everything that the section says.
#[test]
fn the_section_has_all_steps() {
    let blocks = blocks("sh").concat();
    for step in ["-- init\n", "-- check\n", "IncomingPhoneNumbers", "-- serve\n", "-- call --to"] {
        assert_eq!(blocks.matches(step).count(), 1, "{step}");
    }
    assert!(!blocks.contains("127.0.0.1:8080"), "it would meet whoever listens there");
}

/// Asks one thing, and hears the answer.
fn asks() -> Vec<CallerStep> {
    vec![
        CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(100) },
        CallerStep::AwaitAgentQuiet(Duration::from_millis(200)),
        CallerStep::Say(hum("is that all").into()),
        CallerStep::AwaitAgentQuiet(Duration::from_secs(20)),
    ]
}

/// Who reads the README: both accounts, and a folder.
struct Reader {
    carrier: FakeTwilio,
    model: ModelServer,
    folder: TempDir,
}

impl Reader {
    async fn new() -> Reader {
        let settings = Settings { public_origin: Some(PUBLIC_URL.to_owned()), ..Settings::default() };
        let carrier = FakeTwilio::start(settings).await.unwrap();
        carrier.buy_number(OURS);
        // More numbers, that the right one has to be told from.
        carrier.buy_number("+15005550007");
        let session = |opening: &Opening| {
            let script = Script::says(["That was all, goodbye!"]).hears(["Is that all?"]);
            FakeModel::new(&format!("s{}", opening.number), script, Behaviour::default())
        };
        let model = ModelServer::start(OPENAI_KEY, session).await.unwrap();
        Reader { carrier, model, folder: tempfile::tempdir().unwrap() }
    }

    /// Somebody dials the number.
    async fn dial(&self) -> CallReport {
        let options = CallOptions { limit: Duration::from_secs(60), ..CallOptions::default() };
        timeout(PATIENCE, self.carrier.dial(THEIRS, OURS, asks(), options)).await.unwrap()
    }

    /// A shell that does what the text says, and stops at the first command that fails.
    fn command(&self, text: &str, listen: &str) -> Command {
        let Settings { account_sid, auth_token, .. } = Settings::default();
        let mut text = text.to_owned();
        for (theirs, ours) in [
            (RUN, env!("CARGO_BIN_EXE_patchcord")),
            (CARRIER_API, &self.carrier.api_url()),
            ("OPENAI_API_KEY=…", &format!("OPENAI_API_KEY={OPENAI_KEY}")),
            ("TWILIO_ACCOUNT_SID=…", &format!("TWILIO_ACCOUNT_SID={account_sid}")),
            ("TWILIO_AUTH_TOKEN=…", &format!("TWILIO_AUTH_TOKEN={auth_token}")),
        ] {
            text = text.replace(theirs, ours);
        }
        assert!(!text.contains('…'), "something is left to fill in:\n{text}");
        let mut command = Command::new("bash");
        command.args(["-e", "-c", &text]).current_dir(self.folder.path()).env_clear();
        // The origins that the section leaves to defaults.
        command.env("TWILIO_API_URL", self.carrier.api_url()).env("OPENAI_REALTIME_URL", self.model.url());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("PATCHCORD_LISTEN", listen);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// What the shell's commands show.
    fn shown(&self) -> PathBuf {
        self.folder.path().join("shown")
    }

    fn shell(&self, text: &str, listen: &str) -> Shell {
        let shown = std::fs::File::create(self.shown()).unwrap();
        // With a group of its own, so that a signal reaches the server behind it.
        let mut child = self.command(text, listen).process_group(0).stdout(shown).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Shell { child, shown: self.shown(), log: Some(log), rest: None }
    }
}

/// A shell with a server at its end.
struct Shell {
    child: Child,
    shown: PathBuf,
    log: Option<Lines<BufReader<ChildStderr>>>,
    rest: Option<JoinHandle<()>>,
}

impl Shell {
    /// Where the server listens, once it does, and what was said until then.
    async fn listens(&mut self) -> (String, String) {
        let mut lines = self.log.take().unwrap();
        let mut log = String::new();
        let address = loop {
            let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
            let Some(line) = line else {
                let shown = std::fs::read_to_string(&self.shown).unwrap();
                panic!("the shell ended: {:?}\n{shown}{log}", self.child.wait().await)
            };
            log.push_str(&line);
            log.push('\n');
            if line.contains("listening") {
                let after = line.split("address=").nth(1).unwrap_or_else(|| panic!("{line:?}"));
                break after.split(' ').next().unwrap().to_owned();
            }
        };
        // A pipe that nobody reads would stop it.
        self.rest = Some(tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} }));
        (address, log)
    }

    /// As Ctrl-C does.
    async fn stop(&mut self) {
        self.signal("INT");
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
    }

    fn signal(&self, name: &str) {
        if let Some(group) = self.child.id() {
            std::process::Command::new("kill").args(["-s", name, "--", &format!("-{group}")]).status().unwrap();
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

/// The record of the call in this direction, once it is over.
async fn ended(address: &str, direction: &str) -> Value {
    let asked = async {
        loop {
            let url = format!("http://{address}/api/v1/calls?state=ended&direction={direction}");
            let page: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
            if let [call] = &page["calls"].as_array().unwrap()[..] {
                let url = format!("http://{address}/api/v1/calls/{}", call["id"].as_str().unwrap());
                return reqwest::get(url).await.unwrap().json().await.unwrap();
            }
        }
    };
    timeout(PATIENCE, asked).await.expect("a record")
}

/// The section's blocks in this language, without the indentation that a list gives them.
fn blocks(language: &str) -> Vec<String> {
    let section = README.split("\n## ").find(|section| section.starts_with(SECTION)).expect("the section");
    let fence = format!("```{language}");
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in section.lines() {
        let indent = line.len() - line.trim_start().len();
        match &mut open {
            None if line.trim() == fence => open = Some((indent, String::new())),
            Some((_, text)) if line.trim() == "```" => {
                blocks.push(std::mem::take(text));
                open = None;
            }
            Some((indent, text)) => {
                text.push_str(line.get(*indent..).unwrap_or_default());
                text.push('\n');
            }
            None => {}
        }
    }
    blocks
}
