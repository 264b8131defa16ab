//! What one call measures: plain numbers, told by its driver, handed to the metrics every 3 s and at the end.
//!
//! Latencies of the sockets begin when a message was read and end when the one that it caused was written, which the
//! socket tells later; so each carries a [`Stamp`] on its way.

use std::time::Duration;

use call::bridge::Outgoing;
use call::pipeline::Line;
use call::summary::{Counts, Latency};
use call::{Call, Note};
use tokio::time::Instant;

use crate::metrics::{Measure, Metrics};
use crate::samples::{Samples, Sum};

/// A silence that is worth counting. Shorter ones are people thinking.
const DEAD_AIR: Duration = Duration::from_secs(3);

/// Entries of one kind in the record, as in the core.
const SAMPLES_MAX: usize = 512;

/// What ends when the message that carries it has been written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub measure: Measure,
    pub since: Instant,
}

/// Whose message is being handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Carrier,
    Model,
}

pub(crate) struct Meter {
    metrics: Metrics,
    /// Since it was last handed over.
    recent: Recent,
    /// Of the whole call: what its record says.
    whole: Whole,
    /// Counts, and samples of the core's latencies, that were handed over.
    told: Counts,
    told_samples: [usize; 3],
    told_first_speech: bool,

    /// The message that is being handled, and whether it told that the caller speaks.
    cause: Option<(Source, Instant)>,
    speech_reported: bool,
    /// When the last audio went to the carrier, if more was waiting then.
    audio_at: Option<Instant>,
    audio_waits: bool,
    silence: Silence,

    barge_in_stop: Vec<u32>,
    dead_air: Vec<u32>,
}

/// What is measured of messages: too often to take a lock for each. All else is told to the metrics as it comes.
struct Recent {
    relay_to_model: Samples,
    relay_to_carrier: Samples,
    tx_gap: Samples,
}

impl Recent {
    fn new() -> Self {
        let samples = |measure: Measure| Samples::new(measure.bounds());
        Recent {
            relay_to_model: samples(Measure::RelayToModel),
            relay_to_carrier: samples(Measure::RelayToCarrier),
            tx_gap: samples(Measure::TxGap),
        }
    }
}

/// Without buckets, which would be most of what a call's measuring occupies.
#[derive(Default)]
struct Whole {
    relay_to_model: Sum,
    relay_to_carrier: Sum,
    tx_gap: Sum,
    playout_lag: Sum,
}

impl Meter {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Meter {
            metrics,
            recent: Recent::new(),
            whole: Whole::default(),
            told: Counts::default(),
            told_samples: [0; 3],
            told_first_speech: false,
            cause: None,
            speech_reported: false,
            audio_at: None,
            audio_waits: false,
            silence: Silence::default(),
            barge_in_stop: Vec::new(),
            dead_air: Vec::new(),
        }
    }

    /// A message was read; what is asked for from now on, until [`Meter::handled`], comes of it.
    pub(crate) fn received(&mut self, from: Source, now: Instant) {
        self.cause = Some((from, now));
    }

    /// All that was asked for was done.
    pub(crate) fn handled(&mut self, call: &Call) {
        self.cause = None;
        self.speech_reported = false;
        // A single one may be a tail that waits for more of the model.
        self.audio_waits = call.queues().0 > 1;
        if !self.audio_waits {
            self.audio_at = None;
        }
    }

    pub(crate) fn sends_to_model(&self) -> Option<Stamp> {
        let (Source::Carrier, since) = self.cause? else { return None };
        Some(Stamp { measure: Measure::RelayToModel, since })
    }

    pub(crate) fn sends_to_carrier(&mut self, what: Outgoing, now: Instant) -> Option<Stamp> {
        let cause = self.cause.filter(|(source, _)| *source == Source::Model);
        match what {
            Outgoing::Audio => {
                let first = self.audio_at.is_none() && !self.audio_waits;
                if let Some(before) = self.audio_at.replace(now) {
                    self.recent.tx_gap.add((now - before).as_secs_f64());
                }
                let (_, since) = cause.filter(|_| first)?;
                Some(Stamp { measure: Measure::RelayToCarrier, since })
            }
            Outgoing::Clear => {
                self.audio_at = None;
                let (_, since) = cause.filter(|_| self.speech_reported)?;
                Some(Stamp { measure: Measure::BargeInStop, since })
            }
            Outgoing::Mark => None,
        }
    }

    pub(crate) fn written(&mut self, measure: Measure, after: Duration) {
        let seconds = after.as_secs_f64();
        match measure {
            Measure::RelayToModel => self.recent.relay_to_model.add(seconds),
            Measure::RelayToCarrier => self.recent.relay_to_carrier.add(seconds),
            Measure::BargeInStop => {
                self.metrics.measured(measure, seconds);
                keep(&mut self.barge_in_stop, after);
            }
            _ => self.metrics.measured(measure, seconds),
        }
    }

    pub(crate) fn note(&mut self, note: &Note, now: Instant) {
        match note {
            Note::CallerStarted => self.speech_reported = true,
            Note::Backlog { queue, .. } => self.metrics.backlog_warning(*queue),
            Note::ModelLost { .. } => self.metrics.model_lost(),
            Note::EarsHeard => self.metrics.ear_held(),
            _ => {}
        }
        if let Some(silence) = self.silence.note(note, now) {
            self.was_silent(silence);
        }
    }

    pub(crate) fn ear_is_deaf(&self) {
        self.metrics.ear_is_deaf();
    }

    /// A pipeline line is due: the time to hand over what was measured.
    pub(crate) fn line(&mut self, line: &Line, call: &Call) {
        self.metrics.pipeline_line(line.verdict);
        let frames = line.tx_queue.saturating_add(line.out_queue);
        self.metrics.measured(Measure::TxQueue, f64::from(frames) * 0.02);
        self.metrics.measured(Measure::WsBlock, f64::from(line.ws_block_ms) / 1e3);
        if line.delta_rate > 0 {
            self.metrics.measured(Measure::DeltaRate, f64::from(line.delta_rate) / 1e3);
        }
        if line.speaking {
            let lag = call.playout_lag().as_secs_f64();
            self.metrics.measured(Measure::PlayoutLag, lag);
            self.whole.playout_lag.add(lag);
        }
        self.hand_over(call);
    }

    /// The call is over. Returns the latencies of its record.
    pub(crate) fn end(mut self, call: &Call, now: Instant) -> Latency {
        if let Some(silence) = self.silence.end(now) {
            self.was_silent(silence);
        }
        self.hand_over(call);
        Latency {
            barge_in_stop: self.barge_in_stop,
            dead_air: self.dead_air,
            relay_to_model: self.whole.relay_to_model.spread(),
            relay_to_carrier: self.whole.relay_to_carrier.spread(),
            tx_gap: self.whole.tx_gap.spread(),
            playout_lag: self.whole.playout_lag.spread(),
            ..call.latency().clone()
        }
    }

    fn was_silent(&mut self, silence: Duration) {
        self.metrics.measured(Measure::DeadAir, silence.as_secs_f64());
        keep(&mut self.dead_air, silence);
    }

    fn hand_over(&mut self, call: &Call) {
        let latency = call.latency();
        let of_core = [
            (Measure::ModelFirstAudio, &latency.model_first_audio),
            (Measure::ResponseLatency, &latency.response_latency),
            (Measure::TruncateError, &latency.truncate_error),
        ];
        for ((measure, millis), told) in of_core.into_iter().zip(&mut self.told_samples) {
            for millis in &millis[*told..] {
                self.metrics.measured(measure, f64::from(*millis) / 1e3);
            }
            *told = millis.len();
        }
        if let Some(millis) = latency.first_agent_speech
            && !std::mem::replace(&mut self.told_first_speech, true)
        {
            self.metrics.measured(Measure::FirstAgentSpeech, f64::from(millis) / 1e3);
        }
        let Recent { relay_to_model, relay_to_carrier, tx_gap } = std::mem::replace(&mut self.recent, Recent::new());
        for (measure, samples, whole) in [
            (Measure::RelayToModel, relay_to_model, &mut self.whole.relay_to_model),
            (Measure::RelayToCarrier, relay_to_carrier, &mut self.whole.relay_to_carrier),
            (Measure::TxGap, tx_gap, &mut self.whole.tx_gap),
        ] {
            self.metrics.merge(measure, &samples);
            whole.merge(&samples);
        }
        let counts = call.counts();
        self.metrics.counted(&counts, &self.told);
        self.told = counts;
    }
}

fn keep(samples: &mut Vec<u32>, duration: Duration) {
    if samples.len() < SAMPLES_MAX {
        samples.push(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX));
    }
}

/// Since when nobody speaks, as far as is noted: the model tells of the caller, the call of the agent. Clips of our own
/// count as silence.
#[derive(Debug, Default)]
struct Silence {
    caller_speaks: bool,
    /// Responses that are heard.
    agent_speaks: u32,
    since: Option<Instant>,
}

impl Silence {
    /// Returns how long it was silent, if that ended and was too long.
    fn note(&mut self, note: &Note, now: Instant) -> Option<Duration> {
        match note {
            Note::MediaStarted => self.since = self.since.or(Some(now)),
            Note::CallerStarted => self.caller_speaks = true,
            // Without a model nobody tells when the caller stops.
            Note::CallerStopped | Note::ModelLost { .. } => self.caller_speaks = false,
            Note::AgentStarted { .. } => self.agent_speaks += 1,
            Note::AgentStopped { .. } => self.agent_speaks = self.agent_speaks.saturating_sub(1),
            _ => return None,
        }
        if self.caller_speaks || self.agent_speaks > 0 {
            return self.end(now);
        }
        if !matches!(note, Note::MediaStarted) {
            self.since.get_or_insert(now);
        }
        None
    }

    fn end(&mut self, now: Instant) -> Option<Duration> {
        let silence = now - self.since.take()?;
        (silence > DEAD_AIR).then_some(silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call::ResponseId;

    const ONE: ResponseId = ResponseId(1);
    const TWO: ResponseId = ResponseId(2);

    #[test]
    fn dead_air_is_when_neither_speaks_for_more_than_3_s() {
        let zero = Instant::now();
        let mut silence = Silence::default();
        let mut told = Vec::new();
        for (at, note) in [
            (0, Note::MediaStarted),
            (4, Note::AgentStarted { response: ONE }),
            (5, Note::AgentStarted { response: TWO }),
            (6, Note::AgentStopped { response: ONE }),
            (20, Note::CallerStarted),
            (21, Note::AgentStopped { response: TWO }),
            (40, Note::CallerStopped),
            (42, Note::CallerStarted),
            (43, Note::CallerStopped),
            (53, Note::AgentStarted { response: ONE }),
        ] {
            told.extend(silence.note(&note, zero + Duration::from_secs(at)));
        }
        assert_eq!(told, [Duration::from_secs(4), Duration::from_secs(10)]);
        assert_eq!(silence.end(zero + Duration::from_secs(99)), None);
    }

    #[test]
    fn dead_air_lasts_to_the_end_of_the_call_but_begins_with_its_stream() {
        let zero = Instant::now();
        assert_eq!(Silence::default().end(zero + Duration::from_secs(60)), None);
        let mut silence = Silence::default();
        silence.note(&Note::MediaStarted, zero);
        assert_eq!(silence.end(zero + Duration::from_secs(60)), Some(Duration::from_secs(60)));
    }
}
