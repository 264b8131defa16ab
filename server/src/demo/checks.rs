//! Whether the demo's call did what it should: judged by what the carrier played and the model gave, not by what the
//! server says of itself, and then whether the server says the same.

use std::time::Duration;

use call::EndReason;
use call::summary::Who;
use sim::carrier::stream::StreamReport;
use sim::carrier::twilio::CallReport;
use sim::model::Record;
use sim::oracle::{self, Heard};

use super::Left;
use super::cast::Cast;
use super::story::Cue;
use crate::record::CallRecord;

/// Real sockets and a real clock: what a busy machine may add to the 20 ms of virtual time.
const TOLERANCE_MS: u32 = 80;

/// From the last sample of the goodbye to the end of the call.
const HANG_UP_MAX: Duration = Duration::from_secs(1);

/// Of the embedded model's answers, on a machine that may have other things to do.
const WAIT_MAX: Duration = Duration::from_secs(4);

/// A sample that is heard (16 bits, -36 dBFS).
const LOUD: u16 = 500;

pub struct Check {
    pub what: &'static str,
    /// What was found, either way.
    pub result: Result<String, String>,
}

pub fn of(cast: &Cast, report: &CallReport, record: &CallRecord, left: &Left) -> Vec<Check> {
    let Some(stream) = report.streams.first() else {
        let what = format!("the carrier had no media stream: {:?}", report.problems);
        return vec![Check { what: "the call was answered", result: Err(what) }];
    };
    let Some(model) = &cast.model else { return of_the_embedded(cast, stream, record, left) };
    let sessions = model.sessions();
    let Some(session) = sessions.first() else {
        return vec![Check { what: "the model was reached", result: Err("nobody connected to it".to_owned()) }];
    };
    let session = session.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let model = session.record();
    let heard = oracle::judge(stream, model, TOLERANCE_MS);
    let mut checks = vec![
        Check { what: "what was generated was played, or taken back", result: played(&heard, model) },
        Check { what: "the recording has what was heard", result: recorded(stream, model, left) },
        Check { what: "the record counts what the carrier sent", result: counted(stream, record) },
        Check { what: "the trace gives the same call again", result: replayed(left) },
    ];
    if !cast.is_improvised {
        checks.insert(0, Check { what: "the conversation went as it should", result: told(cast, record) });
        checks.insert(
            2,
            Check { what: "the goodbye was heard, then hung up", result: ended(&heard, stream, report, record) },
        );
    }
    checks
}

/// Nobody can look into the embedded model, so its call is judged by what was recorded.
fn of_the_embedded(cast: &Cast, stream: &StreamReport, record: &CallRecord, left: &Left) -> Vec<Check> {
    let mut checks = vec![
        Check { what: "the record counts what the carrier sent", result: counted(stream, record) },
        Check { what: "the trace gives the same call again", result: replayed(left) },
    ];
    if !cast.is_improvised {
        let story = [
            Check { what: "the conversation went as it should", result: told(cast, record) },
            Check { what: "the answers follow from what was heard", result: understood(cast, record) },
            Check { what: "no answer came late", result: answered_in_time(cast, record, left) },
            Check { what: "the goodbye was heard, then hung up", result: hung_up_after_goodbye(record, left) },
        ];
        checks.splice(0..0, story);
    }
    checks
}

/// What the caller said is in the transcript, and what was asked for by it in the last answer.
fn understood(cast: &Cast, record: &CallRecord) -> Result<String, String> {
    let said =
        |who: Who| record.summary.turns.iter().filter(move |turn| turn.who == who).map(|turn| turn.text.as_str());
    let heard: Vec<&str> = said(Who::Caller).collect();
    let last = said(Who::Agent).next_back().unwrap_or_default();
    let digits: String = last.chars().filter(char::is_ascii_digit).collect();
    let mission = cast.story.exchanges.iter().filter_map(|exchange| exchange.tool.as_ref()).next_back();
    match mission {
        Some(mission) if !digits.is_empty() && mission.arguments.contains(&digits) => {
            Ok(format!("\"{}\"", heard.join("\", \"")))
        }
        _ => Err(format!("heard {heard:?}, and answered {last:?}")),
    }
}

/// From the caller's last loud sample to the agent's first after it, by the recording.
fn answered_in_time(cast: &Cast, record: &CallRecord, left: &Left) -> Result<String, String> {
    let loud =
        |samples: &[u8], at: usize| samples.get(at).is_some_and(|&byte| call::g711::decode(byte).unsigned_abs() > LOUD);
    let (caller, agent) = (&left.recording.left, &left.recording.right);
    let turns = &record.summary.turns;
    let mut waits = Vec::new();
    for pair in turns.windows(2).filter(|pair| pair[0].who == Who::Caller && pair[1].who == Who::Agent) {
        // Turns are told with the silence around them; the samples are what was heard.
        let answer_begins = (pair[1].start_ms as usize * 8..agent.len()).find(|&at| loud(agent, at));
        let Some(begins) = answer_begins else { return Err("an answer was not heard".to_owned()) };
        let Some(ended) = (0..begins).rev().find(|&at| loud(caller, at)) else {
            return Err("the caller was not heard".to_owned());
        };
        waits.push((begins - ended) / 8);
    }
    let listed = waits.iter().map(|ms| format!("{ms}")).collect::<Vec<_>>().join(", ");
    if waits.len() != cast.story.exchanges.len() || waits.iter().any(|&ms| ms > WAIT_MAX.as_millis() as usize) {
        return Err(format!("after {listed} ms"));
    }
    Ok(format!("{listed} ms after the caller's last sound"))
}

fn hung_up_after_goodbye(record: &CallRecord, left: &Left) -> Result<String, String> {
    if record.ended_reason != EndReason::Goodbye {
        return Err(format!("the call ended otherwise: {:?}", record.ended_reason));
    }
    let agent = &left.recording.right;
    let last = agent.iter().rposition(|&byte| call::g711::decode(byte).unsigned_abs() > LOUD);
    let last = last.ok_or("the agent was not heard")?;
    let after = Duration::from_micros(125 * (agent.len() - last) as u64);
    if after > HANG_UP_MAX + HANG_UP_MAX {
        return Err(format!("{} ms after its last sound", after.as_millis()));
    }
    Ok(format!("{} ms after its last sound", after.as_millis()))
}

fn told(cast: &Cast, record: &CallRecord) -> Result<String, String> {
    let exchanges = cast.story.exchanges;
    let expected = 1 + 2 * exchanges.len();
    let turns = &record.summary.turns;
    if turns.len() != expected {
        return Err(format!("{} turns in place of {expected}", turns.len()));
    }
    let tools = exchanges.iter().filter(|exchange| exchange.tool.is_some()).count();
    if record.summary.tools.len() != tools || record.summary.tools.iter().any(|tool| tool.failed) {
        return Err(format!("{} of {tools} tools were used", record.summary.tools.len()));
    }
    let interruptions = exchanges.iter().filter(|exchange| matches!(exchange.cue, Cue::IntoReply(_))).count();
    let cut_off = turns.iter().filter(|turn| turn.who == Who::Agent && turn.interrupted).count();
    if cut_off != interruptions {
        return Err(format!("{cut_off} answers were interrupted in place of {interruptions}"));
    }
    Ok(format!("{expected} turns, {cut_off} interrupted, {tools} tools used"))
}

fn played(heard: &Result<Vec<Heard>, String>, model: &Record) -> Result<String, String> {
    let heard = heard.as_ref().map_err(Clone::clone)?;
    let cut_off = model.generated.iter().find_map(|item| {
        let told = item.truncated_to_ms?;
        let bytes = heard.iter().find(|heard| heard.item_id == item.item_id)?.bytes;
        Some(format!("; the model was told {told} ms of one, {} ms were heard", bytes / 8))
    });
    Ok(format!("{} answers, sample for sample{}", heard.len(), cut_off.unwrap_or_default()))
}

fn ended(
    heard: &Result<Vec<Heard>, String>,
    stream: &StreamReport,
    report: &CallReport,
    record: &CallRecord,
) -> Result<String, String> {
    if record.ended_reason != EndReason::Goodbye {
        return Err(format!("the call ended otherwise: {:?}", record.ended_reason));
    }
    let last = heard.as_ref().map_err(Clone::clone)?.last().ok_or("nothing was heard")?;
    let last_sample = stream.started_at + Duration::from_micros(125 * (last.at + last.bytes) as u64);
    let Some(after) = report.ended_at.checked_sub(last_sample) else {
        return Err("the call ended before the goodbye was heard".to_owned());
    };
    if after > HANG_UP_MAX {
        return Err(format!("{} ms after its last sample", after.as_millis()));
    }
    Ok(format!("{} ms after its last sample", after.as_millis()))
}

fn recorded(stream: &StreamReport, model: &Record, left: &Left) -> Result<String, String> {
    let mut recorded = stream.clone();
    recorded.played.clone_from(&left.recording.right);
    let kept = oracle::heard(&recorded, model)?;
    let heard = oracle::heard(stream, model)?;
    if kept.len() != heard.len() {
        return Err(format!("{} of {} answers", kept.len(), heard.len()));
    }
    let apart = kept.iter().zip(&heard).map(|(kept, heard)| kept.at.abs_diff(heard.at) / 8).max().unwrap_or(0);
    if apart > TOLERANCE_MS as usize {
        return Err(format!("{apart} ms apart from what was heard"));
    }
    let caller = &left.recording.left;
    let common = caller.len().min(stream.said.len());
    if caller[..common] != stream.said[..common] || common + 8_000 < stream.said.len() {
        return Err("the caller's side differs from what the caller said".to_owned());
    }
    Ok(format!("{:.1} s in two channels, at most {apart} ms apart", caller.len() as f64 / 8_000.0))
}

fn counted(stream: &StreamReport, record: &CallRecord) -> Result<String, String> {
    let summary = &record.summary;
    // What the carrier sent after the end of the call is nobody's.
    if summary.audio_in > stream.frames_sent || summary.audio_in + 25 < stream.frames_sent {
        return Err(format!("{} frames in, {} were sent", summary.audio_in, stream.frames_sent));
    }
    if summary.frames_sent != stream.received.frames.max(summary.frames_sent) {
        return Err(format!("{} frames out, {} came", summary.frames_sent, stream.received.frames));
    }
    Ok(format!("{} frames in, {} out", summary.audio_in, summary.frames_sent))
}

fn replayed(left: &Left) -> Result<String, String> {
    if left.trace.replay() == left.trace_text {
        Ok(format!("{} lines, to the byte", left.trace_text.lines().count()))
    } else {
        Err("the same inputs gave other outputs".to_owned())
    }
}
