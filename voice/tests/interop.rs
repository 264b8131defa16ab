//! The embedded model as clients see it that others wrote: OpenAI's own SDKs speak with it, by the scripts that they speak
//! with the simulated model by.
//!
//! `scripts/interop` installs them, `scripts/voice-models` fetches the weights. Where either was not run the tests say
//! `SKIPPED`; under `CI=true` that is a failure.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use voice::dialogue::Flow;
use voice::server::engine::Engine;
use voice::server::{Model, Offer, serve};
use voice::speak::{Rate, Said};

const KEY: &str = "sk-local";

/// The last answer is long, so that there is something left to cancel when its first sound has come.
const FLOW: &str = r#"
    [[intent]]
    name = "hours"
    examples = ["when do you open"]
    answer = "We open at nine."

    [[intent]]
    name = "book"
    examples = ["book a slot on Monday"]
    slots = { day = ["Monday", "Tuesday"] }
    tool = "book_slot"
    answer = """You are booked for {day}. We are looking forward to that. Please bring your bicycle, and its key. The workshop is \
              behind the house. There is a bell at the door. If nobody comes, please call us again. If there is anything else \
              that I can do for you, please ask. Otherwise have a good day."""
"#;

/// The caller's lines.
const LINES: [&str; 2] = ["When do you open?", "Book a slot on Monday."];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_for_python() {
    let interpreter = root().join(".interop/venv/bin/python");
    converse(interpreter.clone(), Command::new(interpreter), "session.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_for_node() {
    let packages = root().join(".interop/node_modules");
    let mut node = Command::new("node");
    node.env("NODE_PATH", &packages);
    converse(packages.join("openai"), node, "session.mjs").await;
}

/// Runs a script against a server of its own, if the SDK is installed.
async fn converse(sdk: PathBuf, mut interpreter: Command, script: &str) {
    if !sdk.exists() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "scripts/interop has not been run");
        return println!("SKIPPED: {script}: scripts/interop has not been run");
    }
    let Some(weights) = common::weights(script) else { return };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("ws://{}/v1", listener.local_addr().unwrap());
    let engine = Engine::start(&weights, 1, 1).unwrap();
    let flow = Some(Arc::new(Flow::read(FLOW).unwrap()));
    let offer =
        Offer { models: BTreeMap::new(), otherwise: flow.map(Model::Flow), key: Some(KEY.into()), sessions_max: 1 };
    tokio::spawn(serve(listener, std::future::ready(Ok(engine)), offer));

    let mut speaker = weights.speaker(Arc::new(Said::default())).unwrap();
    let lines = LINES.map(|line| {
        let samples = speaker.say(line, Rate::Telephone, 1.0).unwrap();
        let coded: Vec<u8> = samples.iter().map(|sample| call::g711::encode((sample * 32_767.0) as i16)).collect();
        STANDARD.encode(coded)
    });
    let mut child = interpreter
        .arg(root().join("sim/tests/interop").join(script))
        .arg(url)
        .arg(KEY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).await.unwrap();
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
