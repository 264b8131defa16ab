//! Twilio's own library for Python, against the server and against the simulated Twilio: signatures both ways, documents,
//! the REST API.
//!
//! `scripts/interop` installs it. Where it was not run the tests say `SKIPPED`; under `CI=true` that is a failure.
#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::Stage;
use patchcord::Config;
use patchcord::answer::Answer;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sim::carrier::signature::{Algorithm, SharedKey, sign};
use sim::carrier::stream::CallerStep;
use sim::carrier::twilio::{CallOptions, EndedBy, Settings};
use sim::model::{Behaviour, FakeModel, Script};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

type Form = Vec<(String, String)>;

/// What Twilio sends is text; what is not is nothing that both sides could agree on.
fn forms(count: usize) -> Vec<Form> {
    let name = prop_oneof![Just("CallSid".to_owned()), Just("To".to_owned()), "[A-Za-z][A-Za-z0-9_.-]{0,15}"];
    let value = prop_oneof!["[ -~]{0,30}", "\\PC{0,20}", Just(" lead and trail ".to_owned()), Just(String::new())];
    let forms = prop::collection::vec((name, value), 0..14);
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| forms.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_agree_both_ways() {
    let Some(library) = Library::installed() else { return };
    let stage = stage(|_| {}).await;
    let token = Settings::default().auth_token;
    let urls = [
        "https://calls.example.org/twilio/voice?tenant=acme%20co&v=2",
        "https://calls.example.org:8443/x",
        "https://calls.example.org/?a=%C3%A4&b=+&c=%2B",
        "wss://calls.example.org/twilio/media/0123456789abcdef",
    ];
    let mut cases: Vec<(String, Form)> =
        forms(200).into_iter().enumerate().map(|(index, form)| (urls[index % urls.len()].to_owned(), form)).collect();
    // And some whose signature the server is shown.
    let status = format!("{}/twilio/status", stage.base);
    for (index, mut form) in forms(120).into_iter().enumerate() {
        form.retain(|(name, _)| name != "CallSid" && name != "AccountSid");
        form.push(("CallSid".to_owned(), format!("CA{index}")));
        cases.push((status.clone(), form));
    }
    // By each scheme in turn, but for the server only by the one that it knows the token of.
    let key = |algorithm| SharedKey { id: "webhooks_sharedkey_1".to_owned(), secret: token.clone(), algorithm };
    let [sha1, sha256] = [Algorithm::HmacSha1, Algorithm::HmacSha256].map(key);
    let signed = |index: usize, url: &str, form: &Form| match index % 3 {
        1 if url != status => ("HMAC_SHA1", sha1.sign(url, form)),
        2 if url != status => ("HMAC_SHA256", sha256.sign(url, form)),
        _ => ("", sign(&token, url, form)),
    };
    let ask = |(index, (url, form)): (usize, &(String, Form))| {
        let (algorithm, signature) = signed(index, url, form);
        json!({ "url": url, "form": form, "token": token, "algorithm": algorithm, "signature": signature })
    };
    let asked: Vec<Value> = cases.iter().enumerate().map(ask).collect();
    let body = r#"{"event":"demo","n":1}"#;
    let hash = "2c0666189e06a136563bd761c2f72f38f9bac28ae28ac660caca87f3e6e3fa6f";
    let url = format!("https://calls.example.org/twilio/events?bodySHA256={hash}");
    let signature = sign(&token, &url, &[]);
    let bodies = json!([{ "url": url, "body": body, "token": token, "signature": signature }]);
    let answer = library.ask(&json!({ "signatures": asked, "bodies": bodies })).await;
    assert_eq!(answer["bodies"], json!([true]));
    let client = reqwest::Client::new();
    for (index, ((url, form), answer)) in cases.iter().zip(answer["signatures"].as_array().unwrap()).enumerate() {
        assert_eq!(answer["accepted"], true, "ours is refused: {url} {form:?}");
        assert_eq!(answer["made"], signed(index, url, form).1, "theirs is another: {url} {form:?}");
        if *url == status {
            let made = answer["made"].as_str().unwrap();
            let post = |signature: &str| client.post(url).header("X-Twilio-Signature", signature).form(form).send();
            assert_eq!(post(made).await.unwrap().status(), 204, "the server refuses theirs: {form:?}");
        }
    }
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_those_that_the_library_makes() {
    let Some(library) = Library::installed() else { return };
    let text = "Closed <today> & \"tomorrow\", 'til nine: שלום";
    let say = |voice: Option<&str>, language: Option<&str>| Answer::Say {
        text: text.to_owned(),
        voice: voice.map(str::to_owned),
        language: language.map(str::to_owned),
    };
    let instead = [
        (Answer::Reject, json!({ "reject": "rejected" })),
        (Answer::Busy, json!({ "reject": "busy" })),
        (say(None, None), json!({ "say": text, "voice": null, "language": null })),
        (say(Some("Polly.Amy"), Some("en-GB")), json!({ "say": text, "voice": "Polly.Amy", "language": "en-GB" })),
        (Answer::Dial("+15005550009".to_owned()), json!({ "dial": "+15005550009" })),
        (Answer::Dial("sip:desk@example.org".to_owned()), json!({ "sip": "sip:desk@example.org" })),
    ];
    let mut documents = Vec::new();
    for (answer, wanted) in instead {
        let stage = stage(|config| {
            config.twilio.unknown_number = answer;
            config.agents[0].default = false;
        })
        .await;
        documents.push(json!({ "ours": post(&stage, "/twilio/voice").await, "wanted": wanted }));
        stage.strike().await;
    }
    let stage = stage(|_| {}).await;
    let (connect, base) = (post(&stage, "/twilio/voice").await, stage.base.clone());
    let stream = connect.split("<Stream url=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let (action, status) = (format!("{base}/twilio/after-stream"), format!("{base}/twilio/stream-status"));
    documents.push(json!({ "ours": connect, "wanted": { "stream": stream, "action": action, "status": status } }));
    documents.push(json!({ "ours": post(&stage, "/twilio/after-stream").await, "wanted": { "hangup": null } }));
    let answer = library.ask(&json!({ "documents": documents })).await;
    for document in answer["documents"].as_array().unwrap() {
        assert_eq!(document[0], document[1]);
    }
    assert_eq!(answer["documents"].as_array().unwrap().len(), 8);
    post(&stage, "/twilio/status").await;
    stage.calls.wait_for_finished(1).await;
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_client_gets_along_with_the_simulated_twilio() {
    let Some(library) = Library::installed() else { return };
    let stage = stage(|_| {}).await;
    let options = CallOptions { limit: Duration::from_secs(60), ..CallOptions::default() };
    let caller = vec![CallerStep::Pause(Duration::from_secs(50))];
    let call = stage.carrier.call(&stage.base, "+15005550001", "+15005550006", caller, options);
    let asking = async {
        let mut events = stage.calls.watch();
        events.recv().await.unwrap();
        let call = stage.carrier.call_sids().pop().unwrap();
        let Settings { account_sid, auth_token, .. } = Settings::default();
        let about = json!({ "user": account_sid, "password": auth_token, "account": account_sid,
            "api": stage.carrier.api_url(), "call": call });
        (library.ask(&json!({ "rest": about })).await, call)
    };
    let (report, (answer, call_sid)) = tokio::join!(call, asking);
    let seen = &answer["rest"];
    assert_eq!(seen["fetched"], "in-progress");
    assert_eq!(seen["recording"], json!(["in-progress", call_sid, 2]));
    assert_eq!((&seen["listed"], &seen["fetched_recording"]), (&true.into(), &"StartCallRecordingAPI".into()));
    assert_eq!((&seen["updated"], &seen["after"]), (&"completed".into(), &"completed".into()));
    assert_eq!(seen["again"], json!([400, 21_220]));
    assert_eq!((&seen["unknown"], &seen["stranger"]), (&json!([404, 20_404]), &json!([401, 20_003])));
    assert_eq!(report.ended_by, EndedBy::Rest);
    stage.calls.wait_for_finished(1).await;
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_client_points_a_number_of_the_simulated_twilio_somewhere() {
    let Some(library) = Library::installed() else { return };
    let stage = stage(|_| {}).await;
    let [ours, other] = ["+15005550006", "+15005550007"];
    stage.carrier.buy_number(ours);
    stage.carrier.buy_number(other);
    let (voice, status) = (format!("{}/twilio/voice", stage.base), format!("{}/twilio/status", stage.base));
    let Settings { account_sid, auth_token, .. } = Settings::default();
    let about = json!({ "user": account_sid, "password": auth_token, "account": account_sid,
        "api": stage.carrier.api_url(), "number": ours, "voice_url": voice, "status_callback": status });
    let answer = library.ask(&json!({ "numbers": about })).await;
    let seen = &answer["numbers"];
    assert_eq!(seen["everything"], json!([ours, other]));
    assert_eq!((&seen["set"], &seen["can"]), (&json!([voice, "POST", status, "GET"]), &true.into()));
    assert_eq!((&seen["url"], &seen["method"]), (&json!([400, 21_402]), &json!([400, 21_403])));
    assert_eq!(stage.carrier.desk_problems(), [""; 0]);
    stage.strike().await;
}

async fn stage(change: impl FnOnce(&mut Config)) -> Stage {
    Stage::at(Settings::default(), change, |_| FakeModel::new("m", Script::default(), Behaviour::default())).await
}

async fn post(stage: &Stage, path: &str) -> String {
    let form = [("CallSid", "CA1"), ("From", "+15005550001"), ("To", "+15005550006"), ("CallStatus", "completed")];
    let form: Form = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let url = format!("{}{path}", stage.base);
    let signature = sign(&Settings::default().auth_token, &url, &form);
    let request = reqwest::Client::new().post(&url).header("X-Twilio-Signature", signature).form(&form);
    request.send().await.unwrap().text().await.unwrap()
}

/// The library, behind a script.
struct Library(Command);

impl Library {
    fn installed() -> Option<Library> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let interpreter = here.join("../.interop/venv/bin/python");
        let has_it = interpreter.exists()
            && std::process::Command::new(&interpreter)
                .args(["-c", "import twilio"])
                .output()
                .unwrap()
                .status
                .success();
        if !has_it {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "scripts/interop has not been run");
            println!("SKIPPED: twilio_sdk: scripts/interop has not been run");
            return None;
        }
        let mut command = Command::new(interpreter);
        command.arg(here.join("tests/twilio_sdk/check.py")).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The simulated carrier is on this machine: a proxy from the environment would only be in the way.
        command.env("NO_PROXY", "127.0.0.1");
        Some(Library(command))
    }

    async fn ask(mut self, asked: &Value) -> Value {
        let mut child = self.0.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(asked.to_string().as_bytes()).await.unwrap();
        drop(stdin);
        let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
