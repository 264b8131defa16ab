//! The fake model as clients see it that others wrote: OpenAI's own SDKs hold a conversation with it.
//!
//! The scripts are also run against the embedded model (`voice/tests/interop.rs`). `scripts/interop` installs the SDKs. Where it was not run the tests say `SKIPPED`; under `CI=true` that is a failure.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sim::model::server::ModelServer;
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Reply, Script};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

const KEY: &str = "sk-fake";

/// What the scripts say, and expect to have been heard.
const LINES: [&str; 2] = ["When do you open?", "Book a slot on Monday."];

#[tokio::test]
async fn openai_for_python() {
    let interpreter = root().join(".interop/venv/bin/python");
    converse(interpreter.clone(), Command::new(interpreter), "session.py").await.unwrap();
}

#[tokio::test]
async fn openai_for_node() {
    let packages = root().join(".interop/node_modules");
    let mut node = Command::new("node");
    node.env("NODE_PATH", &packages);
    converse(packages.join("openai"), node, "session.mjs").await.unwrap();
}

/// Runs a script against a server of its own, if the SDK is installed.
async fn converse(sdk: PathBuf, mut interpreter: Command, script: &str) -> anyhow::Result<()> {
    if !sdk.exists() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "scripts/interop has not been run");
        println!("SKIPPED: {script}: scripts/interop has not been run");
        return Ok(());
    }
    let server = ModelServer::start(KEY, |_| FakeModel::new("I", conversation(), lenient())).await?;
    let mut child = interpreter
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script))
        .arg(server.url().trim_end_matches("/realtime"))
        .arg(KEY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let lines = LINES.map(|line| STANDARD.encode(hum(line)));
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.join("\n").as_bytes()).await?;
    }
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await??;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");

    // What the SDK did, as the server saw it.
    let sessions = server.sessions();
    let [session] = &sessions[..] else { panic!("{} sessions", sessions.len()) };
    let session = session.lock().expect("no session panicked");
    let record = session.record();
    let errors: Vec<_> = record.client_errors.iter().map(|error| error.code.as_deref()).collect();
    assert_eq!(errors, [Some("response_cancel_not_active")]);
    let [answered, cancelled] = &record.generated[..] else { panic!("{} items", record.generated.len()) };
    assert_eq!(answered.truncated_to_ms, Some(420));
    assert!(cancelled.cancelled && cancelled.deleted);
    Ok(())
}

fn conversation() -> Script {
    let replies = vec![
        Reply::says("We open at nine."),
        Reply::calls("book_slot", r#"{"day":"Monday"}"#),
        Reply::says("You are booked for Monday, and if there is anything else that I can do for you, please ask."),
    ];
    Script { replies, ..Default::default() }.hears(LINES)
}

/// An SDK may send what we never would.
fn lenient() -> Behaviour {
    Behaviour { strict: false, ..Default::default() }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
