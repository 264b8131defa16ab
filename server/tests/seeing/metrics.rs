//! `GET /metrics`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use patchcord::config::Secret;
use reqwest::StatusCode;
use sim::model::Behaviour;
use tokio::net::TcpListener;

use crate::common::Stage;
use crate::{conversation, talker};

#[tokio::test]
async fn a_call_is_in_the_metrics_as_it_is_in_its_record() {
    let stage = Stage::set(|_| talker(Behaviour::default())).await;
    let (report, record) = conversation(&stage).await;
    let metrics = Exposition::read(&scrape(&stage).await);

    let latency = &record.summary.latency;
    assert_eq!(metrics.value("patchcord_audio_in_total", ""), record.summary.audio_in as f64);
    assert_eq!(metrics.value("patchcord_audio_out_total", ""), record.summary.audio_out as f64);
    assert_eq!(metrics.value("patchcord_frames_sent_total", ""), record.summary.frames_sent as f64);
    assert_eq!(metrics.value("patchcord_active_calls", "agent=\"default\""), 0.0);
    assert_eq!(metrics.value("patchcord_ended_total", "agent=\"default\",reason=\"goodbye\",by=\"agent\""), 1.0);
    for (name, millis) in [
        ("response_latency", &latency.response_latency),
        ("model_first_audio", &latency.model_first_audio),
        ("voice_to_voice", &latency.voice_to_voice),
        ("barge_in_stop", &latency.barge_in_stop),
        ("truncate_error", &latency.truncate_error),
    ] {
        assert!(!millis.is_empty(), "{name}: {latency:?}");
        let (count, sum) = metrics.histogram(&format!("patchcord_{name}_seconds"), "");
        assert_eq!(count, millis.len() as f64, "{name}");
        let millis: u32 = millis.iter().sum();
        assert!((sum * 1e3 - f64::from(millis)).abs() <= count, "{name}: {sum} s, {millis} ms");
    }
    assert_eq!(metrics.histogram("patchcord_first_agent_speech_seconds", "").0, 1.0);
    for (direction, spread) in [("to_model", latency.relay_to_model), ("to_carrier", latency.relay_to_carrier)] {
        let (count, _) = metrics.histogram("patchcord_relay_latency_seconds", &format!("direction=\"{direction}\""));
        assert!(spread.count > 0, "{direction}");
        assert_eq!(count, spread.count as f64, "{direction}");
    }
    // Every frame of the caller was relayed but those that waited for the model.
    assert!(latency.relay_to_model.count * 10 > record.summary.audio_in * 9, "{latency:?}");
    assert!(latency.tx_gap.count > 50 && latency.tx_gap.max_us >= 20_000, "{:?}", latency.tx_gap);

    let json = serde_json::to_value(latency).unwrap();
    assert_eq!(json["voice_to_voice"], serde_json::json!(latency.voice_to_voice));
    assert_eq!(json["relay_to_model"]["count"], latency.relay_to_model.count);

    // What the caller really waited, by what went over the line at the carrier's end.
    let stream = &report.streams[0];
    let waited = waits(&stream.said, &stream.played);
    assert_eq!(waited.len(), latency.voice_to_voice.len(), "{waited:?} {latency:?}");
    for (real, measured) in waited.iter().zip(&latency.voice_to_voice) {
        assert!(real.abs_diff(*measured) <= 40, "{waited:?} {:?}", latency.voice_to_voice);
    }
    stage.strike().await;
}

/// Between the last byte of the caller's that is no silence and the agent's first after it. Only for calls in which the
/// caller is not answered while speaking.
fn waits(said: &[u8], played: &[u8]) -> Vec<u32> {
    let is_loud = |byte: &u8| i32::from(call::g711::decode(*byte)).abs() > 320;
    let (mut waits, mut last_said) = (Vec::new(), None);
    for at in 0..said.len().min(played.len()) {
        if is_loud(&said[at]) {
            last_said = Some(at);
        } else if is_loud(&played[at])
            && let Some(last_said) = last_said.take_if(|last_said| at > *last_said + 800)
        {
            waits.push(((at - last_said) / 8) as u32);
        }
    }
    waits
}

#[tokio::test]
async fn calls_are_counted_while_they_go_on_and_when_they_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = Stage::listening(
        |_| talker(Behaviour::default()),
        listener,
        |config| {
            config.max_calls = 1;
            config.agents[0].numbers = vec![crate::TO.to_owned()];
            config.agents[0].default = false;
        },
    )
    .await;
    let mut events = stage.calls.watch();
    let call = conversation(&stage);
    let meanwhile = async {
        events.recv().await.unwrap();
        let options = || sim::carrier::twilio::CallOptions::default();
        stage.carrier.call(&stage.base, crate::FROM, crate::TO, Vec::new(), options()).await;
        stage.carrier.call(&stage.base, crate::FROM, "+15005550009", Vec::new(), options()).await;
        let metrics = Exposition::read(&scrape(&stage).await);
        assert_eq!(metrics.value("patchcord_active_calls", "agent=\"default\""), 1.0);
        assert_eq!(metrics.value("patchcord_admission_rejects_total", "reason=\"busy\""), 1.0);
        assert_eq!(metrics.value("patchcord_admission_rejects_total", "reason=\"no_agent\""), 1.0);
    };
    futures_util::future::join(call, meanwhile).await;
    stage.strike().await;
}

#[tokio::test]
async fn metrics_want_the_key_as_the_api_does() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keyed = |config: &mut patchcord::Config| config.api_key = Some(Secret::new("opensesame"));
    let stage = Stage::listening(|_| talker(Behaviour::default()), listener, keyed).await;
    let get = reqwest::Client::new().get(format!("{}/metrics", stage.base));
    let refused = get.try_clone().unwrap().send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let answered = get.bearer_auth("opensesame").send().await.unwrap();
    assert_eq!(answered.status(), StatusCode::OK);
    let kind = answered.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");

    // Without a key, from this machine only: a proxy on it is not this machine.
    let open = Stage::set(|_| talker(Behaviour::default())).await;
    let proxied = reqwest::Client::new().get(format!("{}/metrics", open.base)).header("x-forwarded-for", "192.0.2.1");
    assert_eq!(proxied.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    open.strike().await;
    stage.strike().await;
}

/// Prometheus's own reader for Python. `scripts/interop` installs it.
#[tokio::test]
async fn prometheus_for_python_reads_what_we_read() {
    let stage = Stage::set(|_| talker(Behaviour::default())).await;
    conversation(&stage).await;
    let text = scrape(&stage).await;
    let ours = Exposition::read(&text);
    stage.strike().await;

    let python = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(".interop/venv/bin/python");
    match read_with_python(&python, &text) {
        Some(theirs) => assert_eq!(theirs, format!("{} {}", ours.families.len(), ours.samples.len())),
        None => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "scripts/interop has not been run");
            println!("SKIPPED: scripts/interop has not been run");
        }
    }
}

/// How many families and samples it sees. `None`: it is not installed.
fn read_with_python(python: &Path, text: &str) -> Option<String> {
    let installed = Command::new(python).args(["-c", "import prometheus_client"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let script = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
        families = list(read(sys.stdin.read()))\n\
        print(len(families), sum(len(family.samples) for family in families))";
    let mut child = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn scrape(stage: &Stage) -> String {
    reqwest::get(format!("{}/metrics", stage.base)).await.unwrap().text().await.unwrap()
}

/// OpenMetrics text, read as strictly as its specification allows.
struct Exposition {
    families: BTreeMap<String, String>,
    /// By name and labels.
    samples: BTreeMap<(String, String), f64>,
}

impl Exposition {
    fn read(text: &str) -> Exposition {
        let mut families = BTreeMap::new();
        let mut samples = BTreeMap::new();
        let (mut current, mut helped, mut over) = (None::<String>, BTreeSet::new(), false);
        for line in text.split_terminator('\n') {
            assert!(!over, "something follows the end: {line}");
            if line == "# EOF" {
                over = true;
            } else if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (keyword, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                match keyword {
                    "HELP" => assert!(!rest.is_empty() && helped.insert(name.to_owned()), "{line}"),
                    "TYPE" => {
                        let known = families.insert(name.to_owned(), rest.to_owned());
                        assert!(known.is_none(), "a family comes twice: {line}");
                        current = Some(name.to_owned());
                    }
                    "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                    other => panic!("an unknown comment: {other}"),
                }
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = match series.split_once('{') {
                    Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
                    None => (series, ""),
                };
                let family = current.as_deref().unwrap();
                let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{name} in the family {family}"));
                let suffixes: &[&str] = match families[family].as_str() {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    other => panic!("an unknown type: {other}"),
                };
                assert!(suffixes.contains(&suffix), "{line}");
                let before = samples.insert((name.to_owned(), labels.to_owned()), value.parse::<f64>().unwrap());
                assert!(before.is_none(), "a series comes twice: {line}");
            }
        }
        assert!(over, "it does not end in # EOF");
        assert!(families.keys().all(|name| helped.contains(name) && name.starts_with("patchcord_")));
        Exposition { families, samples }
    }

    fn value(&self, name: &str, labels: &str) -> f64 {
        *self.samples.get(&(name.to_owned(), labels.to_owned())).unwrap_or_else(|| panic!("no {name}{{{labels}}}"))
    }

    /// Count and sum of a histogram, whose buckets have to agree with them.
    fn histogram(&self, name: &str, labels: &str) -> (f64, f64) {
        let count = self.value(&format!("{name}_count"), labels);
        let comma = if labels.is_empty() { "" } else { "," };
        let bucket = |le: &str| self.samples.get(&(format!("{name}_bucket"), format!("le=\"{le}\"{comma}{labels}")));
        let other_way = |le: &str| self.samples.get(&(format!("{name}_bucket"), format!("{labels}{comma}le=\"{le}\"")));
        assert_eq!(bucket("+Inf").or_else(|| other_way("+Inf")), Some(&count), "{name}");
        (count, self.value(&format!("{name}_sum"), labels))
    }
}
