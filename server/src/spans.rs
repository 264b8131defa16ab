//! One call as spans: the call, its turns, its responses and their tools, made of what the call notes. Nothing here knows
//! how they are exported (`telemetry.rs`); without anybody to export them, nothing is made.
//!
//! ```text
//! call ─┬─ turn (caller)
//!       └─ response ─┬─ turn (agent): from its first accepted audio until it was heard
//!                    └─ tool
//! ```
//!
//! No numbers, no words, no digits: ids, names that the configuration gave, reasons, times.

use std::time::SystemTime;

use call::{EndReason, Note, ResponseId, ToolCallId};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::metrics::name_of;
use crate::record::{CallFacts, direction_word};

/// Spans of one call that are open at once: a response or two, and its tools. Beyond, they are not made.
const OPEN_MAX: usize = 64;

/// A span that has ended.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Span {
    /// The call's id is the trace's: who has the one finds the other.
    pub trace: Uuid,
    pub id: u64,
    pub parent: Option<u64>,
    pub name: &'static str,
    pub began: SystemTime,
    pub ended: SystemTime,
    pub attributes: Vec<(&'static str, String)>,
    /// What went wrong.
    pub failure: Option<String>,
}

/// The spans of one call.
pub(crate) struct Spans(Option<Box<Open>>);

struct Open {
    out: mpsc::Sender<Span>,
    call: Span,
    last_id: u64,
    open: Vec<(Of, Span)>,
    /// The last request for a response: when, until it begins.
    asked_at: Option<SystemTime>,
}

/// What a span is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Of {
    CallerTurn,
    AgentTurn(ResponseId),
    Response(ResponseId),
    Tool(ToolCallId),
}

impl Spans {
    /// Those of a call that begins now. `out` takes them as they end; when it is full they are lost, and the call goes on.
    pub(crate) fn new(facts: &CallFacts, out: Option<mpsc::Sender<Span>>) -> Self {
        Spans(out.map(|out| {
            // Random bits of the call's id; unique within the trace is all that they have to be.
            let first_id = facts.id.as_u64_pair().1;
            let now = SystemTime::now();
            let call = Span {
                trace: facts.id,
                id: first_id,
                parent: None,
                name: "call",
                began: now,
                ended: now,
                attributes: vec![
                    ("patchcord.call.id", facts.id.to_string()),
                    ("patchcord.agent", facts.agent.clone()),
                    ("patchcord.carrier", facts.carrier.to_owned()),
                    ("patchcord.direction", direction_word(facts.direction).to_owned()),
                ],
                failure: Some("the call was given up".to_owned()),
            };
            Box::new(Open { out, call, last_id: first_id, open: Vec::new(), asked_at: None })
        }))
    }

    pub(crate) fn note(&mut self, note: &Note) {
        let Some(spans) = &mut self.0 else { return };
        let now = SystemTime::now();
        match note {
            Note::CallerStarted => spans.begin(Of::CallerTurn, None, now, vec![("patchcord.who", "caller".to_owned())]),
            Note::CallerStopped => spans.end(Of::CallerTurn, now),
            Note::Asking { .. } => spans.asked_at = Some(now),
            Note::ResponseBegan { response, reason } => {
                let asked_at = spans.asked_at.take().filter(|_| reason.is_some());
                let reason = reason.map_or_else(|| "model".to_owned(), name_of);
                let attributes = vec![("patchcord.reason", reason)];
                spans.begin(Of::Response(*response), None, asked_at.unwrap_or(now), attributes);
            }
            Note::ResponseEnded { response, cancelled } => {
                spans.add(Of::Response(*response), "patchcord.cancelled", cancelled.to_string());
                spans.end(Of::Response(*response), now);
            }
            Note::AgentStarted { response } => {
                let attributes = vec![("patchcord.who", "agent".to_owned())];
                spans.begin(Of::AgentTurn(*response), Some(Of::Response(*response)), now, attributes);
            }
            Note::AgentStopped { response } => spans.end(Of::AgentTurn(*response), now),
            Note::Interrupted { response: Some(response), heard_ms, .. } => {
                spans.add(Of::AgentTurn(*response), "patchcord.interrupted_after_ms", heard_ms.to_string());
            }
            Note::ToolStarted { call, response } => {
                spans.begin(Of::Tool(*call), Some(Of::Response(*response)), now, Vec::new());
            }
            Note::ToolFinished { call, failed, .. } => {
                if let Some(span) = spans.find(Of::Tool(*call)).filter(|_| *failed) {
                    span.failure = Some("the tool failed".to_owned());
                }
                spans.end(Of::Tool(*call), now);
            }
            _ => {}
        }
    }

    /// A tool that is running is one that the configuration names.
    pub(crate) fn tool_named(&mut self, call: ToolCallId, name: &str) {
        if let Some(spans) = &mut self.0 {
            spans.add(Of::Tool(call), "patchcord.tool", name.to_owned());
        }
    }

    /// The call ended; dropped without, it failed.
    pub(crate) fn ended(&mut self, reason: EndReason) {
        let Some(spans) = &mut self.0 else { return };
        spans.call.attributes.push(("patchcord.ended_reason", name_of(reason)));
        spans.call.attributes.push(("patchcord.ended_by", name_of(reason.by())));
        let failed = matches!(reason, EndReason::ModelFailed | EndReason::StreamLost | EndReason::Fault);
        spans.call.failure = failed.then(|| name_of(reason));
    }
}

impl Open {
    fn begin(&mut self, of: Of, parent: Option<Of>, at: SystemTime, attributes: Vec<(&'static str, String)>) {
        if self.open.len() >= OPEN_MAX || self.find(of).is_some() {
            return;
        }
        self.last_id = self.last_id.wrapping_add(1);
        let parent = parent.and_then(|parent| self.find(parent)).map(|parent| parent.id);
        let name = match of {
            Of::CallerTurn | Of::AgentTurn(_) => "turn",
            Of::Response(_) => "response",
            Of::Tool(_) => "tool",
        };
        let span = Span {
            trace: self.call.trace,
            id: self.last_id,
            parent: Some(parent.unwrap_or(self.call.id)),
            name,
            began: at,
            ended: at,
            attributes,
            failure: None,
        };
        self.open.push((of, span));
    }

    fn find(&mut self, of: Of) -> Option<&mut Span> {
        self.open.iter_mut().find(|(known, _)| *known == of).map(|(_, span)| span)
    }

    fn add(&mut self, of: Of, name: &'static str, value: String) {
        if let Some(span) = self.find(of) {
            span.attributes.push((name, value));
        }
    }

    fn end(&mut self, of: Of, now: SystemTime) {
        if let Some(index) = self.open.iter().position(|(known, _)| *known == of) {
            let (_, span) = self.open.remove(index);
            self.give(span, now);
        }
    }

    fn give(&self, span: Span, now: SystemTime) {
        // Full: whoever exports has not kept up, and says so.
        let _ = self.out.try_send(Span { ended: now, ..span });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = SystemTime::now();
        for (_, span) in std::mem::take(&mut self.open) {
            self.give(span, now);
        }
        let call = self.call.clone();
        self.give(call, now);
    }
}
