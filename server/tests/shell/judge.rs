//! Was it well? Judged from outside: by what the carriers played and saw, by the files, and by what is left.

use std::path::Path;
use std::time::Duration;

use call::trace::{Event, Trace};
use call::{CallTime, CarrierInput, EndReason, Input};
use sim::faults::HangUpFault;
use sim::joined::{Stretch, What};
use sim::verdict::in_order;

use super::Aftermath;
use super::carrier::Outcome;
use super::peers::Line;
use super::plan::{CallPlan, Plan};
use crate::metrics::name_of;
use crate::record::CallRecord;

/// What every folder of a call may have in it.
const FILES: [&str; 4] = ["call.json", "call.trace", "recording.wav", "transcript.txt"];

const ENDED_REASONS: &str = include_str!("../../../docs/ended-reasons.md");

/// # Errors
/// The first thing that is wrong, in words.
pub fn judge(plan: &Plan, after: &Aftermath, data: &Path) -> Result<(), String> {
    if let Some(problem) = after.outcomes.iter().flat_map(|outcome| &outcome.problems).next() {
        return Err(problem.clone());
    }
    if let Some(line) = after.log.lines().find(|line| line.trim_start().starts_with("ERROR")) {
        return Err(format!("an error was logged: {line}"));
    }
    let held = after.held;
    if (held.calls, held.call_sids, held.tokens) != (0, 0, 0) {
        return Err(format!("L6: something is left of the calls: {held:?}"));
    }
    if after.tasks > 0 {
        return Err(format!("L8: {} tasks are left", after.tasks));
    }
    let admitted = after.outcomes.iter().filter(|outcome| outcome.admitted).count();
    if after.records.len() != admitted {
        return Err(format!("L7: {} records of {admitted} calls", after.records.len()));
    }
    let folders = std::fs::read_dir(data.join("calls")).map_or(0, Iterator::count);
    if folders != admitted {
        return Err(format!("L6: {folders} folders of {admitted} calls"));
    }
    for (line, outcome) in after.lines.iter().zip(&after.outcomes).filter(|(_, outcome)| outcome.admitted) {
        let of_call = |record: &&std::sync::Arc<CallRecord>| record.facts.call_sid == line.call_sid;
        let records: Vec<_> = after.records.iter().filter(of_call).collect();
        let [record] = records.as_slice() else { return Err(format!("L7: {} records of one call", records.len())) };
        let judged = judge_call(plan, line, outcome, record, data);
        judged.map_err(|why| format!("{}, ended as {:?}: {why}", line.call_sid, record.ended_reason))?;
    }
    Ok(())
}

fn judge_call(plan: &Plan, line: &Line, outcome: &Outcome, record: &CallRecord, data: &Path) -> Result<(), String> {
    judge_end(plan, line, outcome, record)?;
    judge_files(plan, line, outcome, record, &data.join("calls").join(record.facts.id.to_string()))?;
    for stream in &outcome.streams {
        if let Some(violation) = stream.violations.first() {
            return Err(format!("A6: the carrier would warn: {violation}"));
        }
        let allowed = lead(&line.plan, plan) + line.plan.call.stream.post_clear_tail + Duration::from_millis(1);
        if line.plan.carrier_stalls.is_empty() && stream.most_buffered() > allowed {
            return Err(format!("A3: {:?} lay at the carrier, {allowed:?} are allowed", stream.most_buffered()));
        }
    }
    judge_sound(plan, line, outcome)
}

/// What may lie at the carrier.
fn lead(call: &CallPlan, _: &Plan) -> Duration {
    let config = &call.call.config;
    config.lead.max(Duration::from_millis(20) * config.group_frames.max(1))
}

/// Every frame that was played is the model's, and in order (A2, B2).
fn judge_sound(plan: &Plan, line: &Line, outcome: &Outcome) -> Result<(), String> {
    let mut sounds = Vec::new();
    for session in line.sessions.borrow().iter() {
        let session = session.lock().map_err(|_| "the model itself failed")?;
        sounds.extend(session.record().generated.iter().enumerate().map(|(index, item)| Stretch {
            what: What::Item(index),
            from: 0,
            audio: item.audio.clone(),
            since: Duration::ZERO,
        }));
    }
    let played: Vec<u8> = outcome.streams.iter().flat_map(|stream| &stream.played).copied().collect();
    let call = &line.plan.call;
    let mut doubt =
        lead(&line.plan, plan) + call.stream.marks_delay + call.stream.post_clear_tail + Duration::from_millis(20);
    doubt += line.plan.carrier_stalls.iter().map(|stall| stall.end - stall.start).sum::<Duration>();
    doubt += plan.leaps.iter().map(|(_, by)| (*by).min(Duration::from_secs(2))).sum::<Duration>();
    in_order(&played, &sounds, doubt)
        .map_err(|at| format!("A2: at {} ms something was played that is not what the model said next", at / 8))
}

fn judge_end(plan: &Plan, line: &Line, outcome: &Outcome, record: &CallRecord) -> Result<(), String> {
    let reason = record.ended_reason;
    if !ENDED_REASONS.contains(&format!("| `{}` |", name_of(reason))) {
        return Err("L10: a reason that is not in the documentation".to_owned());
    }
    let faults = &line.plan.call.faults;
    let operator =
        |wanted: &dyn Fn(&call::OperatorInput) -> bool| faults.operator.iter().any(|(_, input)| wanted(input));
    let explained = match reason {
        EndReason::Fault | EndReason::Machine => false,
        EndReason::Stopped => !plan.stops.is_empty() || operator(&|input| *input == call::OperatorInput::SayGoodbye),
        EndReason::OperatorHungUp => !plan.stops.is_empty() || operator(&|input| *input == call::OperatorInput::HangUp),
        EndReason::NeverStarted => record.answered_at.is_none(),
        EndReason::Goodbye | EndReason::Silence | EndReason::MaxDuration => line.hang_ups.get() > 0,
        EndReason::CallerHungUp
        | EndReason::StreamLost
        | EndReason::NotAnswered
        | EndReason::Busy
        | EndReason::Unreachable
        | EndReason::Canceled
        | EndReason::ModelFailed => true,
    };
    if !explained {
        return Err("L10: nobody did that".to_owned());
    }
    let slow_command = faults.hang_ups.contains(&HangUpFault::Hangs);
    if record.abandoned > 0 && !slow_command {
        return Err(format!("L8: {} helpers were abandoned, and all answer", record.abandoned));
    }
    if line.recordings.get() > 1 {
        return Err("C1: the carrier was asked twice to record".to_owned());
    }
    let began = outcome.streams.iter().any(|stream| stream.received.audio_bytes > 0);
    if began && record.summary.audio_out == 0 {
        return Err("L1: audio went out and was not counted".to_owned());
    }
    Ok(())
}

fn judge_files(plan: &Plan, line: &Line, outcome: &Outcome, record: &CallRecord, folder: &Path) -> Result<(), String> {
    let files = std::fs::read_dir(folder).map_err(|error| format!("no folder: {error}"))?;
    for file in files.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if !FILES.contains(&name.as_str()) {
            return Err(format!("{name} is left in the call's folder"));
        }
    }
    let written = std::fs::read(folder.join("call.json")).map_err(|error| format!("no record: {error}"))?;
    let written: serde_json::Value = serde_json::from_slice(&written).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(record).map_err(|error| error.to_string())?;
    if written != known {
        return Err(format!("the record on the disk is another: {written} {known}"));
    }
    let trace = std::fs::read_to_string(folder.join("call.trace")).map_err(|error| format!("no trace: {error}"))?;
    let read = Trace::read(&trace).map_err(|error| format!("N11: {error}"))?;
    if let Some(difference) = crate::replay::difference(&trace, &read.replay()) {
        return Err(format!("N11: the trace replays to other bytes\n{difference}"));
    }
    judge_uplink(plan, line, &read)?;
    let began = record.answered_at.is_some();
    if record.recording.is_some() != (began && line.plan.recording) {
        return Err(format!("C3: recording {:?}, began {began}", record.recording));
    }
    if let Some(recording) = &record.recording {
        judge_recording(&folder.join(&recording.file), recording.duration_ms, outcome)?;
    }
    Ok(())
}

/// What the caller says is read when it comes, or with the rest of its group: by the carrier's own stamps, no frame of a
/// stream is read later than another by more than that.
fn judge_uplink(plan: &Plan, line: &Line, trace: &Trace) -> Result<(), String> {
    if !line.plan.carrier_stalls.is_empty() || !plan.leaps.is_empty() {
        return Ok(());
    }
    let group = match line.plan.append_frames() {
        0 | 1 => Duration::ZERO,
        frames => frames * Duration::from_millis(20) + Duration::from_millis(4),
    };
    let jitter = line.plan.call.stream.frame_jitter.iter().max().copied().unwrap_or_default();
    let allowed = group + jitter + Duration::from_millis(1);
    let mut earliest: Option<Duration> = None;
    for (at, event) in &trace.events {
        match event {
            Event::Input(Input::Carrier(CarrierInput::Started)) => earliest = None,
            Event::Input(Input::Carrier(CarrierInput::Audio { timestamp_ms, .. })) => {
                let said = Duration::from_millis(*timestamp_ms);
                let offset = at.since(CallTime::ZERO).saturating_sub(said);
                let least = earliest.map_or(offset, |earliest| earliest.min(offset));
                earliest = Some(least);
                if offset > least + allowed {
                    return Err(format!(
                        "uplink: what was said until {said:?} was read {:?} late, {allowed:?} are allowed",
                        offset - least
                    ));
                }
            }
            Event::Input(_) | Event::Output(_) => {}
        }
    }
    Ok(())
}

/// Written once, to its end: the header says what follows.
fn judge_recording(file: &Path, duration_ms: u64, outcome: &Outcome) -> Result<(), String> {
    let wav = std::fs::read(file).map_err(|error| format!("C3: {error}"))?;
    let size =
        |at: usize| wav.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let audio = u64::from(size(54));
    if wav.len() as u64 != audio + 58 || u64::from(size(4)) != audio + 50 || audio != duration_ms * 16 {
        return Err(format!("C3: {} bytes, the header says {audio}, the record {duration_ms} ms", wav.len()));
    }
    let agent = wav[58..].iter().skip(1).step_by(2).any(|byte| !matches!(byte, 0x7F | 0xFF));
    let heard = outcome.streams.iter().any(|stream| stream.played.iter().any(|byte| !matches!(byte, 0x7F | 0xFF)));
    if heard && !agent {
        return Err("C3: what the agent said is not in the recording".to_owned());
    }
    Ok(())
}
