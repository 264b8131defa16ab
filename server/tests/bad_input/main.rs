//! Everything bad that can come in at a door, at all doors at once, while a call goes on that must not notice.
//!
//! * `webhooks.rs`: every webhook with every field hostile, bodies that are none, requests that are none.
//! * `media.rs`: the carrier's socket, after the carrier's signature was right: it may still be wrong about all else.
//! * `model.rs`: the model's socket.
//!
//! Afterwards the other call was judged by what its caller heard, every call ended, and nothing is left of them.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod media;
mod model;
mod webhooks;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use call::{EndReason, Note};
use common::Stage;
use patchcord::agent::Agent;
use patchcord::{Config, Happening, Held};
use sim::carrier::signature::sign;
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{CallOptions, Settings};
use sim::model::voice::hum;
use sim::model::{Behaviour, FakeModel, Script};
use sim::oracle;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite;
use uuid::Uuid;

/// The other call's number, that of the agent whose carrier is hostile, and that of the one whose model is.
const OURS: &str = "+15005550006";
const HOSTILE_CARRIER: &str = "+15005550007";
const HOSTILE_MODEL: &str = "+15005550008";

/// A model that says nothing much.
const QUIET: &str = "quiet";

/// Cases of one door at once.
const AT_ONCE: usize = 24;

/// Two cores carry all of it, and the tests beside it.
const TOLERANCE_MS: u32 = 400;

/// Tasks of the connection by which the other call was hung up: the server's client and the carrier keep it for the next
/// time.
const KEPT_ALIVE: usize = 4;

/// For anything that a case waits for.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_gets_a_clear_answer_disturbs_nobody_and_leaves_nothing() {
    let front = Arc::new(Mutex::new(None));
    let slot = front.clone();
    let change = move |config: &mut Config| {
        let (front, url) = model::Front::before(&config.openai.url);
        *slot.lock().unwrap() = Some(front);
        config.openai.url = url;
        config.max_calls = 2_000;
        // Idle connections of clients are gone soon after the storm, and with them their tasks.
        config.request_head_max = Duration::from_secs(3);
        config.agents[0].default = false;
        config.agents[0].numbers = vec![OURS.to_owned()];
        let mut quiet = Agent { recording: false, trace: None, greeting: None, ..config.agents[0].clone() };
        quiet.model.name = QUIET.to_owned();
        // What is recorded is where the carrier says that it belongs.
        let kept = Agent { recording: true, trace: config.agents[0].trace, ..quiet.clone() };
        let carrier = Agent { name: "carrier".into(), numbers: vec![HOSTILE_CARRIER.into()], ..kept };
        let mut model = Agent { name: "model".into(), numbers: vec![HOSTILE_MODEL.into()], ..quiet };
        model.model.name = model::HOSTILE.to_owned();
        config.agents.extend([carrier, model]);
    };
    let stage = Stage::at(Settings::default(), change, |opening| {
        // To make up what is said takes long, and here nobody listens to it.
        if opening.model == QUIET {
            return FakeModel::new("quiet", Script::default(), Behaviour::default());
        }
        let script = Script::says([
            "This is the first of three answers, and it goes on for quite a while, as such answers do.",
            "The second one is no shorter than the first, so that there is something to be disturbed in.",
            "And that was the last of them, goodbye!",
        ])
        .hears(["One.", "Two.", "Three."]);
        FakeModel::new(&format!("s{}", opening.number), script, Behaviour::default())
    })
    .await;
    let front = Arc::new(front.lock().unwrap().take().unwrap());
    let door = Arc::new(Door::to(&stage));
    // Beside the runtime, so as to keep up with it.
    let events = stage.calls.watch();
    let odd = std::thread::spawn(move || odd_calls(events));
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();

    let other = async {
        let report = stage.carrier.call(&stage.base, "+15005550001", OURS, conversation(), options()).await;
        // Now: the calls that end after it push it out of the memory.
        let record = stage.calls.wait_for_record(|record| record.facts.call_sid == report.call_sid).await;
        (report, record)
    };
    let storms = async {
        let webhooks = tokio::spawn(webhooks::all(door.clone()));
        let media = tokio::spawn(media::all(door.clone()));
        let model = tokio::spawn(model::all(door.clone(), front.clone()));
        (webhooks.await.unwrap(), media.await.unwrap(), model.await.unwrap())
    };
    let ((report, record), (webhooks, media, model)) = tokio::join!(other, storms);
    println!("{webhooks} signed requests; of the other cases, {} have to be in the log", media.len() + model.len());

    // The other call.
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(report.streams[0].violations.is_empty(), "{:?}", report.streams[0].violations);
    assert_eq!(record.ended_reason, EndReason::Goodbye, "{:#?}", record.summary.turns);
    let session = stage
        .model
        .sessions()
        .iter()
        .map(|session| session.lock().unwrap().record().clone())
        .find(|session| session.generated.len() > 1)
        .expect("the other call's session");
    let heard = oracle::judge(&report.streams[0], &session, TOLERANCE_MS).unwrap_or_else(|what| panic!("{what}"));
    assert_eq!(heard.len(), 4);

    // Nothing is left. A client's idle connections are its own.
    drop((door, front));
    let patience = tokio::time::Instant::now() + PATIENCE;
    loop {
        let Held { calls, call_sids, tokens, answers, finished } = stage.calls.held();
        let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        if (calls, call_sids, tokens) == (0, 0, 0) && alive <= tasks + KEPT_ALIVE {
            let faults = |record: &&Arc<patchcord::record::CallRecord>| record.ended_reason == EndReason::Fault;
            assert_eq!(stage.calls.finished().iter().filter(faults).count(), 0);
            assert!(answers <= 1_024 && finished <= 256, "{answers} answers, {finished} records");
            break;
        }
        assert!(tokio::time::Instant::now() < patience, "{calls} calls, {tokens} tokens, {alive} tasks for {tasks}");
        tokio::task::yield_now().await;
    }
    stage.strike().await;

    // What could not be read was said so.
    let odd = tokio::task::spawn_blocking(|| odd.join().unwrap()).await.unwrap();
    for (name, call) in media.iter().chain(&model) {
        assert!(odd.contains(call), "{name}: no word about it in the log");
    }
}

fn options() -> CallOptions {
    CallOptions { limit: Duration::from_secs(90), ..CallOptions::default() }
}

fn conversation() -> Vec<CallerStep> {
    let mut steps = vec![CallerStep::AwaitAgentSpeech { for_at_least: Duration::from_millis(100) }];
    for said in ["this is one", "this is two", "this is three"] {
        // Longer than a busy machine may let the line be silent in the middle of a sentence.
        steps.push(CallerStep::AwaitAgentQuiet(Duration::from_millis(1_200)));
        steps.push(CallerStep::Say(hum(said).into()));
    }
    steps.push(CallerStep::AwaitAgentQuiet(Duration::from_secs(20)));
    steps
}

/// The calls in which something odd was noted: each such note is a warning in the log.
fn odd_calls(mut events: broadcast::Receiver<patchcord::CallEvent>) -> HashSet<Uuid> {
    let mut odd = HashSet::new();
    loop {
        match events.blocking_recv() {
            Ok(event) => {
                if matches!(event.what, Happening::Note(Note::Odd(_) | Note::ModelComplained { .. })) {
                    odd.insert(event.call);
                }
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => panic!("{missed} events were missed"),
            Err(broadcast::error::RecvError::Closed) => return odd,
        }
    }
}

/// The server as the carrier sees it.
struct Door {
    client: reqwest::Client,
    base: String,
    calls: patchcord::Calls,
    account: Settings,
}

impl Door {
    fn to(stage: &Stage) -> Door {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Door { client, base: stage.base.clone(), calls: stage.calls.clone(), account: Settings::default() }
    }

    fn sign(&self, url: &str, form: &[(String, String)]) -> String {
        sign(&self.account.auth_token, url, form)
    }

    /// A form that the carrier signed.
    async fn post(&self, path: &str, form: &[(String, String)]) -> reqwest::Response {
        let url = format!("{}{path}", self.base);
        let signature = self.sign(&url, form);
        self.client.post(&url).header("X-Twilio-Signature", signature).form(form).send().await.unwrap()
    }

    /// Announces a call, and gives the address of its stream.
    async fn announce(&self, call_sid: &str, to: &str) -> String {
        let form = form(&[("CallSid", call_sid), ("From", "+15005550001"), ("To", to), ("CallStatus", "ringing")]);
        let answer = self.post("/twilio/voice", &form).await.text().await.unwrap();
        answer
            .split("<Stream url=\"")
            .nth(1)
            .unwrap_or_else(|| panic!("{answer}"))
            .split('"')
            .next()
            .unwrap()
            .to_owned()
    }

    /// Ends a call as its caller does.
    async fn complete(&self, call_sid: &str) {
        let form = form(&[("CallSid", call_sid), ("CallStatus", "completed")]);
        assert_eq!(self.post("/twilio/status", &form).await.status(), 204);
    }

    /// Of a call that ended, and not by a bug.
    async fn id_of(&self, call_sid: &str) -> Uuid {
        let record = self.calls.wait_for_record(|record| record.facts.call_sid == call_sid).await;
        assert_ne!(record.ended_reason, EndReason::Fault, "{call_sid}");
        let recording = self.calls.folder(record.facts.id).join("recording.wav");
        let bytes = std::fs::metadata(recording).map_or(0, |file| file.len());
        assert!(bytes < 10_000_000, "{call_sid} left a recording of {bytes} bytes");
        record.facts.id
    }

    async fn dial(&self, url: &str, signature: &str) -> Result<media::Stream, tungstenite::Error> {
        let mut request = tungstenite::client::IntoClientRequest::into_client_request(url).unwrap();
        request.headers_mut().insert("x-twilio-signature", signature.parse().unwrap());
        tokio_tungstenite::connect_async(request).await.map(|(stream, _)| stream)
    }
}

fn form(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
