//! The call record: what the core knows of a call, and what only the server does. Names as in the documentation.

use std::fmt::Write;

use call::config::Direction;
use call::output::{EndReason, EndedBy};
use call::summary::{Summary, Who};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Recording;

/// What is known of a call from the moment it exists: from the carrier's webhook, or from the request to place it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CallFacts {
    pub id: Uuid,
    pub carrier: &'static str,
    /// The carrier's name of it. Empty, and `null` in the record, until the carrier has given it one.
    #[serde(serialize_with = "null_if_empty")]
    pub call_sid: String,
    #[serde(serialize_with = "direction")]
    pub direction: Direction,
    pub from: String,
    pub to: String,
    pub agent: String,
    #[serde(serialize_with = "rfc3339")]
    pub started_at: Timestamp,
}

/// One ended call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CallRecord {
    /// Of this format.
    pub version: u32,
    #[serde(flatten)]
    pub facts: CallFacts,
    /// When the media stream began.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub answered_at: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    pub ended_at: Timestamp,
    pub ended_reason: EndReason,
    pub ended_by: EndedBy,
    #[serde(flatten)]
    pub summary: Summary,
    pub recording: Option<Recording>,
    /// The carrier's own recording (C2), as far as it told us.
    pub carrier_recording: Option<CarrierRecording>,
    /// File of the trace, relative to the call's folder.
    pub trace: Option<String>,
    /// Helper tasks that had to be given up at the end (L8).
    pub abandoned: usize,
    /// What the carrier said of an outbound call that came to nothing.
    pub failure: Option<String>,
}

/// What the carrier says of its own recording of a call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CarrierRecording {
    /// `RE…`.
    pub sid: String,
    pub status: RecordingStatus,
    /// Where the carrier has it.
    pub url: Option<String>,
    pub duration_ms: Option<u64>,
    pub channels: Option<u8>,
    /// The copy of it, relative to the call's folder.
    pub file: Option<String>,
}

/// In the order in which they come about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingStatus {
    InProgress,
    /// There was nothing to be heard.
    Absent,
    Completed,
}

impl CarrierRecording {
    /// Takes what is news: callbacks come in any order, and more than once. Returns whether it was.
    pub(crate) fn update(known: &mut Option<CarrierRecording>, told: CarrierRecording) -> bool {
        let news = known.as_ref().is_none_or(|known| known.status < told.status);
        if news {
            *known = Some(told);
        }
        news
    }
}

impl CallRecord {
    pub(crate) const VERSION: u32 = 1;

    /// Of a call that never had a stream.
    pub(crate) fn without_stream(facts: CallFacts, reason: EndReason, failure: Option<String>) -> Self {
        CallRecord {
            version: CallRecord::VERSION,
            facts,
            answered_at: None,
            ended_at: Timestamp::now(),
            ended_reason: reason,
            ended_by: reason.by(),
            summary: Summary::default(),
            recording: None,
            carrier_recording: None,
            trace: None,
            abandoned: 0,
            failure,
        }
    }

    /// The JSON of a call whose process died: what was known when it began (a [`CallFacts`]), closed as our fault.
    pub(crate) fn of_a_crash(facts: Value, closed_at: Timestamp) -> Value {
        let nobody = CallFacts {
            id: Uuid::nil(),
            carrier: "",
            call_sid: String::new(),
            direction: Direction::Inbound,
            from: String::new(),
            to: String::new(),
            agent: String::new(),
            started_at: closed_at,
        };
        let record = CallRecord { ended_at: closed_at, ..Self::without_stream(nobody, EndReason::Fault, None) };
        let mut record = serde_json::to_value(record).unwrap_or_default();
        if let (Value::Object(record), Value::Object(facts)) = (&mut record, facts) {
            record.extend(facts);
        }
        record
    }

    /// What was said, for people.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for turn in &self.summary.turns {
            let who = match turn.who {
                Who::Caller => "Caller",
                Who::Agent => "Agent",
            };
            let (seconds, millis) = (turn.start_ms / 1_000, turn.start_ms % 1_000);
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            let interrupted = if turn.interrupted { " (interrupted)" } else { "" };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{minutes:02}:{seconds:02}.{millis:03}  {who}: {}{interrupted}", turn.text.trim());
        }
        text
    }
}

/// As the record spells it.
pub(crate) fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}

fn direction<S: serde::Serializer>(direction: &Direction, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(direction_word(*direction))
}

pub(crate) fn null_if_empty<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if text.is_empty() { serializer.serialize_none() } else { serializer.serialize_str(text) }
}

pub(crate) fn rfc3339<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

pub(crate) fn rfc3339_or_null<S: serde::Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call::summary::Turn;

    fn record() -> CallRecord {
        let turn = |who, text: &str, start_ms, interrupted| Turn {
            who,
            text: text.into(),
            start_ms,
            end_ms: start_ms + 900,
            heard_ms: 900,
            interrupted,
        };
        let summary = Summary {
            audio_in: 7,
            turns: vec![turn(Who::Agent, "Hello, Spokes and", 240, true), turn(Who::Caller, "Hi!", 61_005, false)],
            ..Summary::default()
        };
        let second = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        CallRecord {
            version: CallRecord::VERSION,
            facts: CallFacts {
                id: Uuid::nil(),
                carrier: "twilio",
                call_sid: "CA2".into(),
                direction: Direction::Inbound,
                from: "+15005550001".into(),
                to: "+15005550006".into(),
                agent: "front-desk".into(),
                started_at: second(0),
            },
            answered_at: None,
            ended_at: second(9),
            ended_reason: EndReason::CallerHungUp,
            ended_by: EndReason::CallerHungUp.by(),
            summary,
            recording: Some(Recording { file: "recording.wav".into(), duration_ms: 9_000, unplaced_ms: 0 }),
            carrier_recording: None,
            trace: Some("call.trace".into()),
            abandoned: 0,
            failure: None,
        }
    }

    #[test]
    fn the_record_has_the_documented_names() {
        let json = serde_json::to_value(record()).unwrap();
        let names = [
            "id",
            "carrier",
            "call_sid",
            "direction",
            "from",
            "to",
            "agent",
            "started_at",
            "answered_at",
            "ended_at",
            "ended_reason",
            "ended_by",
            "audio_in",
            "audio_out",
            "frames_sent",
            "dropped",
            "turns",
            "interruptions",
            "latency",
            "tools",
            "usage",
            "recording",
            "trace",
        ];
        for name in names {
            assert!(json.get(name).is_some(), "{name} is missing");
        }
        assert_eq!(json["started_at"], "2027-01-15T08:00:00.000Z");
        assert_eq!((&json["ended_reason"], &json["ended_by"]), (&"caller_hung_up".into(), &"caller".into()));
        assert_eq!((&json["audio_in"], &json["answered_at"]), (&7.into(), &serde_json::Value::Null));
        assert_eq!(json["turns"][0]["interrupted"], true);
    }

    #[test]
    fn the_page_about_reasons_has_them_all_and_no_other() {
        const ALL: [EndReason; 15] = [
            EndReason::CallerHungUp,
            EndReason::Goodbye,
            EndReason::Silence,
            EndReason::MaxDuration,
            EndReason::OperatorHungUp,
            EndReason::Stopped,
            EndReason::StreamLost,
            EndReason::NeverStarted,
            EndReason::NotAnswered,
            EndReason::Busy,
            EndReason::Unreachable,
            EndReason::Canceled,
            EndReason::Machine,
            EndReason::ModelFailed,
            EndReason::Fault,
        ];
        // One that is missing above does not compile here.
        let place = |reason| match reason {
            EndReason::CallerHungUp => 0,
            EndReason::Goodbye => 1,
            EndReason::Silence => 2,
            EndReason::MaxDuration => 3,
            EndReason::OperatorHungUp => 4,
            EndReason::Stopped => 5,
            EndReason::StreamLost => 6,
            EndReason::NeverStarted => 7,
            EndReason::NotAnswered => 8,
            EndReason::Busy => 9,
            EndReason::Unreachable => 10,
            EndReason::Canceled => 11,
            EndReason::Machine => 12,
            EndReason::ModelFailed => 13,
            EndReason::Fault => 14,
        };
        let page = include_str!("../../../docs/ended-reasons.md");
        let table = page.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
        let rows: Vec<Vec<&str>> = table.map(|row| row.split(" | ").collect()).skip(1).collect();
        let word = |cell: &str| cell.trim_matches(['|', ' ', '`']).to_owned();
        let named: Vec<(String, String)> = rows.iter().map(|row| (word(row[0]), word(row[1]))).collect();
        let spelled = |value: Value| value.as_str().unwrap().to_owned();
        let known = ALL.map(|reason| {
            assert_eq!(ALL[place(reason)], reason);
            (spelled(serde_json::to_value(reason).unwrap()), spelled(serde_json::to_value(reason.by()).unwrap()))
        });
        assert_eq!(named, known);
        assert!(rows.iter().all(|row| row.len() == 4 && row[2..].iter().all(|cell| word(cell).len() > 5)), "{rows:#?}");
    }

    #[test]
    fn the_transcript_can_be_read() {
        assert_eq!(
            record().transcript(),
            "00:00.240  Agent: Hello, Spokes and (interrupted)\n01:01.005  Caller: Hi!\n"
        );
    }
}
