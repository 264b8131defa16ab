//! What happened in a call, as the picture wants it: read out of the call's own trace.
//!
//! The trace is played into the call core again (N11), so the picture shows what the core decided and why, not what some
//! other bookkeeping remembered of it.

use std::time::Duration;

use call::summary::{Turn, Who as TurnWho};
use call::trace::{Event as TraceEvent, Trace};
use call::{Call, CallTime, CarrierInput, Command, Input, MarkId, ModelInput, Note, Output};

use super::picture::{Event, EventKind, Mark, Picture, Span, TurnLabel, Who};
use super::wav::Stereo;

/// Pauses of the agent shorter than this are within a turn.
const BREATH: Duration = Duration::from_millis(400);

/// The picture of a call. `recording` has the caller left and the agent right, `turns` are those of its record.
pub fn picture<'a>(
    title: String,
    subtitle: String,
    trace: &Trace,
    turns: &[Turn],
    recording: &'a Stereo,
) -> Picture<'a> {
    let seen = Seen::of(trace);
    let playing = seen.playing();
    let duration = Duration::from_micros(125 * recording.left.len() as u64).max(seen.last);
    Picture {
        title,
        subtitle,
        duration_ms: duration.as_millis() as u64,
        caller: &recording.left,
        agent: &recording.right,
        floor: seen.floor(&playing),
        turns: turns.iter().map(|turn| label(turn, &seen.texts)).collect(),
        heard: stairs(&playing),
        generated: seen.generated,
        sent: seen.sent,
        queue: seen.queue,
        marks: seen.marks.into_iter().map(|(_, mark)| mark).collect(),
        events: seen.events,
    }
}

/// Everything of the trace that the picture shows; times since the stream's beginning.
#[derive(Default)]
struct Seen {
    start: CallTime,
    last: Duration,
    generated: Vec<(f64, f64)>,
    sent: Vec<(f64, f64)>,
    queue: Vec<(f64, f64)>,
    /// From when to when each frame was expected to be heard.
    frames: Vec<(Duration, Duration)>,
    caller: Vec<(Duration, Option<Duration>)>,
    marks: Vec<(MarkId, Mark)>,
    events: Vec<Event>,
    /// All that the agent said in full, heard or not.
    texts: Vec<String>,
}

impl Seen {
    fn of(trace: &Trace) -> Seen {
        let mut call = Call::new(trace.config.clone(), trace.facts);
        let started = trace.events.iter().find_map(|(now, event)| {
            (*event == TraceEvent::Input(Input::Carrier(CarrierInput::Started))).then_some(*now)
        });
        let mut seen = Seen { start: started.unwrap_or_default(), ..Seen::default() };
        let mut agent_bytes = 0;
        let mut epoch = 0;
        let (mut generated, mut sent) = (0.0, 0.0);
        for (now, event) in &trace.events {
            let TraceEvent::Input(input) = event else { continue };
            let at = now.since(seen.start);
            seen.last = at;
            match input {
                Input::Model(_, ModelInput::Audio { bytes, .. }) => agent_bytes = *bytes,
                Input::Model(_, ModelInput::TranscriptDone { text, .. }) => seen.texts.push(text.clone()),
                Input::Carrier(CarrierInput::MarkReturned(id)) => {
                    if let Some((_, mark)) = seen.marks.iter_mut().find(|(known, _)| known == id) {
                        mark.returned_ms = Some(ms(at));
                        mark.flushed = id.epoch != epoch;
                    }
                }
                _ => {}
            }
            call.handle_input(input.clone(), *now);
            while let Some(output) = call.poll_output() {
                match output {
                    Output::KeepAudio => {
                        generated += f64::from(agent_bytes) / 8.0;
                        seen.generated.push((ms(at), generated));
                    }
                    Output::SendAudio { span, plays_at, .. } => {
                        sent += f64::from(span.len) / 8.0;
                        seen.sent.push((ms(at), sent));
                        let begins = plays_at.since(seen.start);
                        seen.frames.push((begins, begins + Duration::from_micros(125 * u64::from(span.len))));
                    }
                    Output::SendMark(id) => {
                        seen.marks.push((id, Mark { sent_ms: ms(at), returned_ms: None, flushed: false }));
                    }
                    Output::Clear => {
                        epoch += 1;
                        seen.frames.retain(|(begins, _)| *begins < at);
                        if let Some((_, ends)) = seen.frames.last_mut() {
                            *ends = (*ends).min(at);
                        }
                        seen.event(at, EventKind::Clear, "");
                    }
                    Output::Do(_, Command::RunTool { name, .. }) => seen.event(at, EventKind::Tool, &name),
                    Output::Note(note) => seen.note(&note, at),
                    _ => {}
                }
            }
            let (tx_queue, out_queue) = call.queues();
            let queued = f64::from(tx_queue + out_queue) * 20.0;
            if seen.queue.last().is_none_or(|(_, before)| *before != queued) {
                seen.queue.push((ms(at), queued));
            }
        }
        // The detector reports the end of speech only after a silence.
        for (_, ends) in &mut seen.caller {
            *ends = ends.map(|ends| ends.saturating_sub(trace.config.vad_silence));
        }
        seen
    }

    fn note(&mut self, note: &Note, at: Duration) {
        match note {
            Note::CallerStarted => self.caller.push((at, None)),
            Note::CallerStopped => {
                if let Some((_, ends)) = self.caller.last_mut() {
                    *ends = Some(at);
                }
            }
            Note::Interrupted { .. } => self.event(at, EventKind::Interruption, ""),
            Note::Held => self.event(at, EventKind::Hold, ""),
            Note::Resumed { .. } => self.event(at, EventKind::Resume, ""),
            Note::GoodbyeDone { .. } => self.event(at, EventKind::Goodbye, "goodbye heard"),
            Note::HangingUp { .. } => self.event(at, EventKind::HangUp, ""),
            _ => {}
        }
    }

    fn event(&mut self, at: Duration, kind: EventKind, label: &str) {
        self.events.push(Event { at_ms: ms(at), kind, label: label.to_owned() });
    }

    /// Stretches in which the agent was heard without a pause.
    fn playing(&self) -> Vec<(Duration, Duration)> {
        let mut playing: Vec<(Duration, Duration)> = Vec::new();
        for &(begins, ends) in &self.frames {
            match playing.last_mut() {
                Some((_, last)) if begins <= *last + Duration::from_millis(1) => *last = ends.max(*last),
                _ => playing.push((begins, ends)),
            }
        }
        playing
    }

    fn floor(&self, playing: &[(Duration, Duration)]) -> Vec<Span> {
        let mut agent: Vec<(Duration, Duration)> = Vec::new();
        for &(begins, ends) in playing {
            match agent.last_mut() {
                Some((_, last)) if begins <= *last + BREATH => *last = ends,
                _ => agent.push((begins, ends)),
            }
        }
        let caller = self.caller.iter().map(|(begins, ends)| (*begins, ends.unwrap_or(self.last).max(*begins)));
        let spans = |who| move |(begins, ends)| Span { start_ms: ms(begins), end_ms: ms(ends), who };
        let mut floor: Vec<Span> =
            caller.map(spans(Who::Caller)).chain(agent.into_iter().map(spans(Who::Agent))).collect();
        floor.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
        floor
    }
}

fn label(turn: &Turn, texts: &[String]) -> TurnLabel {
    let whole = texts.iter().find(|text| text.starts_with(&turn.text) && text.len() > turn.text.len());
    TurnLabel {
        start_ms: turn.start_ms as f64,
        end_ms: turn.end_ms as f64,
        who: match turn.who {
            TurnWho::Caller => Who::Caller,
            TurnWho::Agent => Who::Agent,
        },
        text: turn.text.clone(),
        unheard: match whole.filter(|_| turn.interrupted) {
            Some(whole) => whole[turn.text.len()..].trim().to_owned(),
            None => String::new(),
        },
        interrupted: turn.interrupted,
    }
}

/// Audio heard so far, as a line that rises while the agent is heard.
fn stairs(playing: &[(Duration, Duration)]) -> Vec<(f64, f64)> {
    /// The line is drawn in steps; these are too small to be seen.
    const STEP: Duration = Duration::from_millis(20);
    let mut heard = Duration::ZERO;
    let mut steps = Vec::new();
    for &(begins, ends) in playing {
        let mut at = begins;
        while at < ends {
            let step = STEP.min(ends - at);
            at += step;
            heard += step;
            steps.push((ms(at), ms(heard)));
        }
    }
    steps
}

fn ms(at: Duration) -> f64 {
    at.as_secs_f64() * 1_000.0
}
