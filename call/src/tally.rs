//! What a call adds up to, for its record. Nothing here decides anything.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::input::{Answerer, Usage};
use crate::output::DropReason;
use crate::summary::{Interruptions, Latency, ToolRun};

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tally {
    /// Model audio deltas that were accepted (L2).
    pub audio_out: u64,
    /// The agent's audio that was not, in deltas.
    pub dropped_out: BTreeMap<DropReason, u64>,
    pub interruptions: Interruptions,
    pub latency: Latency,
    pub tools: Vec<ToolRun>,
    pub usage: Usage,
    /// The carrier's first word on it counts.
    pub answered_by: Option<Answerer>,
}

/// Tool runs and latencies kept for the record; a call that has more has told its story.
pub const SAMPLES_MAX: usize = 512;

impl Tally {
    pub fn dropped(&mut self, reason: DropReason) {
        *self.dropped_out.entry(reason).or_default() += 1;
    }

    /// The first audio of a response came this long after it was asked for.
    pub fn model_first_audio(&mut self, after: Duration) {
        sample(&mut self.latency.model_first_audio, after);
    }

    /// The caller was answered this long after they stopped.
    pub fn response_latency(&mut self, after: Duration) {
        sample(&mut self.latency.response_latency, after);
    }

    /// An item was truncated at a moment that marks had confirmed all but this much before.
    pub fn truncate_error(&mut self, at_most: Duration) {
        sample(&mut self.latency.truncate_error, at_most);
    }

    /// A frame was sent this long after the stream's beginning; the first counts.
    pub fn agent_spoke(&mut self, after: Duration) {
        self.latency.first_agent_speech.get_or_insert(millis(after));
    }

    /// A tool began, at this moment of the stream.
    pub fn tool_started(&mut self, name: &str, at: Duration) {
        if self.tools.len() < SAMPLES_MAX {
            let start_ms = at.as_millis() as u64;
            self.tools.push(ToolRun { name: name.to_owned(), start_ms, took_ms: None, failed: false });
        }
    }

    /// The tool that began at this moment of the stream ended.
    pub fn tool_finished(&mut self, name: &str, at: Duration, after: Duration, failed: bool) {
        let start_ms = at.as_millis() as u64;
        let is_it = |run: &&mut ToolRun| run.name == name && run.start_ms == start_ms && run.took_ms.is_none();
        if let Some(run) = self.tools.iter_mut().find(is_it) {
            run.took_ms = Some(after.as_millis() as u64);
            run.failed = failed;
        }
    }

    pub fn used(&mut self, usage: Usage) {
        let Usage { input_text, input_audio, input_cached, output_text, output_audio } = &mut self.usage;
        for (total, more) in [
            (input_text, usage.input_text),
            (input_audio, usage.input_audio),
            (input_cached, usage.input_cached),
            (output_text, usage.output_text),
            (output_audio, usage.output_audio),
        ] {
            // A model may claim any number.
            *total = total.saturating_add(more);
        }
    }
}

fn sample(samples: &mut Vec<u32>, after: Duration) {
    if samples.len() < SAMPLES_MAX {
        samples.push(millis(after));
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
