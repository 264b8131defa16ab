//! The log of a whole call, in each mode (O4).

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use sim::model::Behaviour;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use crate::common::Stage;
use crate::{FROM, SECRET_WORDS, TO, conversation, talker};

/// A log that is kept.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// All that is logged on this thread in this mode, until the guard is dropped.
    pub fn keep(mode: &str) -> (Kept, DefaultGuard) {
        let kept = Kept::default();
        let filter = patchcord::log::filter(&|name| (name == "PATCHCORD_LOG").then(|| mode.to_owned())).unwrap();
        let lines = tracing_subscriber::fmt::layer().with_writer(kept.clone()).with_ansi(false);
        (kept, tracing::subscriber::set_default(tracing_subscriber::registry().with(filter).with(lines)))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Kept;

    fn make_writer(&'a self) -> Kept {
        self.clone()
    }
}

/// What a call leaves in the log, line by line, in this mode, and what must not be there.
async fn logged(mode: &str) -> Vec<String> {
    let (kept, guard) = Kept::keep(mode);
    let stage = Stage::set(|_| talker(Behaviour::default())).await;
    let (report, record) = conversation(&stage).await;
    stage.strike().await;
    drop(guard);
    let log = kept.text();

    let (_, token) = report.documents[0].body.split_once("/twilio/media/").unwrap();
    let (token, _) = token.split_once('"').unwrap();
    let settings = sim::carrier::twilio::Settings::default();
    let secrets = [FROM, TO, &FROM[1..], &TO[1..], token, &settings.auth_token, "Bearer", "X-Twilio-Signature"];
    for secret in secrets.iter().chain(&SECRET_WORDS) {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    let words = record.summary.turns.iter().flat_map(|turn| turn.text.split(' ')).filter(|word| word.len() > 7);
    for word in words {
        assert!(!log.contains(word), "{word} is in the log:\n{log}");
    }
    log.lines().map(str::to_owned).collect()
}

/// The lines with this message, which has to be there.
fn saying<'a>(log: &'a [String], message: &str) -> Vec<&'a str> {
    let lines: Vec<&str> = log.iter().map(String::as_str).filter(|line| line.contains(message)).collect();
    assert!(!lines.is_empty(), "no line says {message:?}:\n{}", log.join("\n"));
    lines
}

fn assert_decisions(log: &[String]) {
    saying(log, "call announced");
    // O5.
    assert!(saying(log, "media started")[0].contains("stream_known=true"));
    saying(log, "farewell detected");
    let executed = saying(log, "goodbye executed")[0];
    assert!(executed.contains("via=\"audio.done\"") || executed.contains("via=\"transcript.done\""), "{executed}");
    assert!(saying(log, "hanging up")[0].contains("reason=\"goodbye\""));
    let of_call: Vec<&String> = log.iter().filter(|line| line.contains("call{id=")).collect();
    let last = of_call.last().unwrap();
    assert!(
        last.contains("call ended") && last.contains("ended_reason=\"goodbye\"") && last.contains("ended_by=\"agent\""),
        "{last}"
    );
}

#[tokio::test]
async fn o4_minimal_has_the_decisions_and_no_more() {
    let log = logged("minimal").await;
    assert_decisions(&log);
    assert!(!log.iter().any(|line| line.contains("DEBUG") || line.contains("TRACE")), "{}", log.join("\n"));
    // A good call is a short story.
    assert!(log.len() <= 12, "{}", log.join("\n"));
}

#[tokio::test]
async fn o4_verbose_also_has_how_they_came_about() {
    let log = logged("verbose").await;
    assert_decisions(&log);
    // R4.
    let asked = saying(&log, "patchcord::log: asking for a response");
    for reason in ["greeting", "caller_turn"] {
        let line = asked.iter().find(|line| line.contains(&format!("reason=\"{reason}\""))).unwrap();
        for field in ["previous", "agent_speaking=", "tx_q=", "out_q="] {
            assert!(line.contains(field) || (reason == "greeting" && field == "previous"), "{field}: {line}");
        }
    }
    // Which of H2's conditions failed.
    saying(&log, "waits_for=\"its audio to be complete\"");
    saying(&log, "waits_for=\"its last frame to be heard\"");
    // O2.
    let line = saying(&log, "pipeline")[0];
    for field in
        ["tx_q=", "out_q=", "tx_fps=", "frames=", "ws_block_ms=", "delta_rate=", "speaking=", "verdict=\"fine\""]
    {
        assert!(line.contains(field), "{field}: {line}");
    }
    // A5: nothing for each frame.
    assert!(log.len() < 150, "{} lines", log.len());
}
