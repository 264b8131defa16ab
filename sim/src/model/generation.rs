//! A response being generated: what it will send, and when.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use call::wire::openai::{Content, ErrorBody, Item, StatusDetails};

use super::script::{Behaviour, Reply, ReplyEnd, TranscriptOrder};

pub struct Generation {
    pub id: String,
    /// Whether `response.created` went out.
    pub created: bool,
    pub ending: Ending,
    pub outputs: Vec<Output>,
    /// What is still to come, in order of time.
    pub steps: VecDeque<(Duration, Step)>,
    pub metadata: Option<BTreeMap<String, String>>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Ending {
    Completed,
    /// `turn_detected` or `client_cancelled`.
    Cancelled(&'static str),
    Incomplete(&'static str),
    Failed {
        code: Option<&'static str>,
        message: &'static str,
    },
}

/// An item of the response, and how far it has come.
pub struct Output {
    pub item_id: String,
    pub what: What,
    pub added: bool,
    pub done: bool,
    /// The words given so far.
    pub said: String,
    /// Bytes of µ-law given so far.
    pub given: usize,
}

pub enum What {
    Message { audio: Arc<[u8]>, transcript: String },
    Call { call_id: String, name: String, arguments: String },
}

/// One thing to send. The numbers are indices of outputs.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    Created,
    ItemAdded(usize),
    Words(usize, String),
    Audio(usize, Range<usize>),
    AudioDone(usize),
    TranscriptDone(usize),
    Arguments(usize, String),
    ArgumentsDone(usize),
    /// The content part's end, then the item's.
    ItemDone(usize),
    Done,
}

impl Generation {
    /// Plans a response from `reply`: the order of events is that of the reference's life of a response.
    /// `new_id` makes ids for an item or a call.
    pub fn plan(
        id: String,
        reply: Reply,
        behaviour: &Behaviour,
        now: Duration,
        mut new_id: impl FnMut(&str) -> String,
    ) -> Generation {
        let messages =
            reply.items.into_iter().map(|item| What::Message { audio: item.audio, transcript: item.transcript });
        let mut outputs: Vec<Output> = messages.map(|what| Output::new(new_id("item"), what)).collect();
        for call in reply.calls {
            let what = What::Call { call_id: new_id("call"), name: call.name, arguments: call.arguments };
            outputs.push(Output::new(new_id("item"), what));
        }
        let mut plan = Plan { behaviour, at: now + behaviour.create_latency, steps: VecDeque::new(), deltas: 0 };
        plan.push(Step::Created);
        plan.at += behaviour.first_audio;
        for (index, output) in outputs.iter().enumerate() {
            plan.push(Step::ItemAdded(index));
            match &output.what {
                What::Message { audio, transcript } => plan.message(index, audio.len(), transcript),
                What::Call { arguments, .. } => plan.call(index, arguments),
            }
            plan.push(Step::ItemDone(index));
        }
        if behaviour.audio_done_at_end {
            let messages = outputs.iter().enumerate().filter(|(_, output)| matches!(output.what, What::Message { .. }));
            messages.for_each(|(index, _)| plan.push(Step::AudioDone(index)));
        }
        plan.at += behaviour.done_latency;
        plan.push(Step::Done);
        let ending = match reply.end {
            ReplyEnd::Completed => Ending::Completed,
            ReplyEnd::Incomplete { reason } => Ending::Incomplete(reason),
            ReplyEnd::Failed { code, message } => Ending::Failed { code, message },
        };
        Generation { id, created: false, ending, outputs, steps: plan.steps, metadata: None }
    }

    /// Stops it: some audio that was under way still comes, then what was begun is closed.
    pub fn cancel(&mut self, reason: &'static str, behaviour: &Behaviour, now: Duration) {
        self.ending = Ending::Cancelled(reason);
        let begun = |index: usize| self.outputs[index].added;
        let stragglers: Vec<Step> = self
            .steps
            .drain(..)
            .map(|(_, step)| step)
            .filter(|step| matches!(step, Step::Audio(index, _) if begun(*index)))
            .take(behaviour.stragglers)
            .collect();
        let end = now + behaviour.cancel_latency;
        self.steps.extend(stragglers.into_iter().map(|step| (end, step)));
        for (index, output) in self.outputs.iter().enumerate().filter(|(_, output)| output.added && !output.done) {
            if matches!(output.what, What::Message { .. }) {
                self.steps.push_back((end, Step::AudioDone(index)));
                self.steps.push_back((end, Step::TranscriptDone(index)));
            }
            self.steps.push_back((end, Step::ItemDone(index)));
        }
        self.steps.push_back((end, Step::Done));
    }

    pub fn is_cancelled(&self) -> bool {
        matches!(self.ending, Ending::Cancelled(_))
    }

    /// How an item ends that ends now. Only the last of an incomplete response is incomplete.
    pub fn item_status(&self, index: usize) -> &'static str {
        let cut = match self.ending {
            Ending::Completed => false,
            Ending::Cancelled(_) => true,
            Ending::Incomplete(_) | Ending::Failed { .. } => index + 1 == self.outputs.len(),
        };
        if cut { "incomplete" } else { "completed" }
    }

    pub fn status(&self) -> (&'static str, Option<StatusDetails>) {
        let details = |kind, reason, error| Some(StatusDetails { kind, reason, error });
        match self.ending {
            Ending::Completed => ("completed", None),
            Ending::Cancelled(reason) => ("cancelled", details("cancelled", Some(reason), None)),
            Ending::Incomplete(reason) => ("incomplete", details("incomplete", Some(reason), None)),
            Ending::Failed { code, message } => {
                let error = ErrorBody {
                    kind: "server_error".into(),
                    code: code.map(str::to_owned),
                    message: message.into(),
                    ..Default::default()
                };
                ("failed", details("failed", None, Some(error)))
            }
        }
    }
}

impl Output {
    fn new(item_id: String, what: What) -> Self {
        Output { item_id, what, added: false, done: false, said: String::new(), given: 0 }
    }

    /// The item as events show it.
    pub fn item(&self, status: &str) -> Item {
        let item = Item {
            id: Some(self.item_id.clone()),
            object: Some("realtime.item".into()),
            status: Some(status.into()),
            ..Default::default()
        };
        match &self.what {
            What::Message { .. } => Item {
                kind: "message".into(),
                role: Some("assistant".into()),
                content: Some(if status == "in_progress" { Vec::new() } else { vec![self.content("output_audio")] }),
                ..item
            },
            What::Call { call_id, name, arguments } => Item {
                kind: "function_call".into(),
                call_id: Some(call_id.clone()),
                name: Some(name.clone()),
                arguments: Some(match status {
                    "in_progress" => String::new(),
                    "completed" => arguments.clone(),
                    _ => self.said.clone(),
                }),
                ..item
            },
        }
    }

    pub fn content(&self, kind: &str) -> Content {
        Content { kind: kind.into(), transcript: Some(Some(self.said.clone())), ..Default::default() }
    }
}

struct Plan<'a> {
    behaviour: &'a Behaviour,
    at: Duration,
    steps: VecDeque<(Duration, Step)>,
    deltas: usize,
}

impl Plan<'_> {
    fn push(&mut self, step: Step) {
        self.steps.push_back((self.at, step));
    }

    fn message(&mut self, index: usize, audio_len: usize, transcript: &str) {
        let words: Vec<&str> = transcript.split_inclusive(' ').collect();
        let pieces = self.pieces(audio_len);
        let order = self.behaviour.transcript;
        if order == TranscriptOrder::BeforeAudio {
            self.words(index, &words);
            self.push(Step::TranscriptDone(index));
        }
        let mut said = 0;
        for (number, piece) in pieces.iter().enumerate() {
            if order == TranscriptOrder::Interleaved {
                // One delta ahead of the voice.
                let until = (words.len() * (number + 2)).div_ceil(pieces.len() + 1).min(words.len());
                self.words(index, &words[said..until]);
                said = until;
            }
            self.push(Step::Audio(index, piece.clone()));
            self.at += Duration::from_secs_f64(piece.len() as f64 / 8_000.0 / self.behaviour.speed);
        }
        if order == TranscriptOrder::Interleaved {
            self.words(index, &words[said..]);
        }
        if !self.behaviour.audio_done_at_end {
            self.push(Step::AudioDone(index));
        }
        if order == TranscriptOrder::AfterAudio {
            self.words(index, &words);
        }
        if matches!(order, TranscriptOrder::Interleaved | TranscriptOrder::AfterAudio) {
            self.push(Step::TranscriptDone(index));
        }
    }

    fn words(&mut self, index: usize, words: &[&str]) {
        words.iter().for_each(|word| self.push(Step::Words(index, (*word).to_owned())));
    }

    fn call(&mut self, index: usize, arguments: &str) {
        let mut rest = arguments;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.ceil_char_boundary(8));
            self.push(Step::Arguments(index, piece.to_owned()));
            self.at += Duration::from_millis(5);
            rest = after;
        }
        self.push(Step::ArgumentsDone(index));
    }

    /// The audio cut into deltas. Sizes go on from item to item.
    fn pieces(&mut self, audio_len: usize) -> Vec<Range<usize>> {
        let sizes = &self.behaviour.delta_bytes;
        let mut pieces = Vec::new();
        let mut start = 0;
        while start < audio_len {
            let size = sizes.get(self.deltas % sizes.len().max(1)).copied().unwrap_or(audio_len).max(1);
            let end = (start + size).min(audio_len);
            pieces.push(start..end);
            start = end;
            self.deltas += 1;
        }
        pieces
    }
}
