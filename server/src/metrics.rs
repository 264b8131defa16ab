//! What the server has measured, as Prometheus reads it (`GET /metrics`, described in `docs/metrics.md`).
//!
//! What calls measure of every frame they keep as plain values of their own (`meter.rs`) and hand over every few seconds
//! and at their end, so that no lock is taken for a frame. Labels are closed lists, or names that the configuration gave.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use call::output::{EndReason, EndedBy};
use call::pipeline::{Queue, Verdict};
use call::summary::Counts;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

use crate::samples::{Bounds, Samples};

/// Content type of what [`Metrics::encode`] writes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Something that is measured many times in a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measure {
    VoiceToVoice,
    ResponseLatency,
    ModelFirstAudio,
    FirstAgentSpeech,
    BargeInStop,
    RelayToModel,
    RelayToCarrier,
    PlayoutLag,
    TruncateError,
    TxQueue,
    TxGap,
    WsBlock,
    DeltaRate,
    DeadAir,
}

/// What people wait for.
const WAITS: Bounds = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0];
/// What the server itself takes: far below a frame, if all is well.
const OWN: Bounds = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0];
/// Around the 20 ms of a frame and the lead of 200 ms (A3).
const PACE: Bounds = &[0.005, 0.01, 0.015, 0.019, 0.021, 0.025, 0.03, 0.04, 0.06, 0.1, 0.2, 0.3, 0.5, 1.0];
/// Audio that waits: to what a runaway response may pile up (A1).
const BACKLOG: Bounds = &[0.0, 0.02, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0];
/// Of the 3 s between two pipeline lines; a tenth of them is somebody's fault (O2).
const BLOCK: Bounds = &[0.0, 0.001, 0.01, 0.05, 0.1, 0.3, 0.6, 1.0, 2.0, 3.0];
/// Models speak faster than they are heard; below 1, the caller hears holes.
const RATE: Bounds = &[0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0];
const SILENCE: Bounds = &[3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];

struct Description {
    name: &'static str,
    /// With its clock and its two points.
    help: &'static str,
    unit: Unit,
    bounds: Bounds,
    /// One of the two measures of `relay_latency`.
    direction: Option<&'static str>,
}

impl Measure {
    pub(crate) const ALL: [Measure; 14] = [
        Measure::VoiceToVoice,
        Measure::ResponseLatency,
        Measure::ModelFirstAudio,
        Measure::FirstAgentSpeech,
        Measure::BargeInStop,
        Measure::RelayToModel,
        Measure::RelayToCarrier,
        Measure::PlayoutLag,
        Measure::TruncateError,
        Measure::TxQueue,
        Measure::TxGap,
        Measure::WsBlock,
        Measure::DeltaRate,
        Measure::DeadAir,
    ];

    pub(crate) fn bounds(self) -> Bounds {
        self.describe().bounds
    }

    fn describe(self) -> Description {
        let seconds = |name, help, bounds| Description { name, help, unit: Unit::Seconds, bounds, direction: None };
        match self {
            Measure::VoiceToVoice => seconds(
                "voice_to_voice",
                "From the caller's last loud sample to the agent's first one, by the samples of the recording",
                WAITS,
            ),
            Measure::ResponseLatency => seconds(
                "response_latency",
                "From the model's report that the caller stopped to the first frame of the answer sent, by the call's clock",
                WAITS,
            ),
            Measure::ModelFirstAudio => seconds(
                "model_first_audio",
                "From response.create sent to the first audio of the response accepted, by the call's clock",
                WAITS,
            ),
            Measure::FirstAgentSpeech => seconds(
                "first_agent_speech",
                "From the carrier's start to the first frame of the agent sent, by the call's clock",
                WAITS,
            ),
            Measure::BargeInStop => seconds(
                "barge_in_stop",
                "From reading the model's report of speech over the agent's to clear written to the carrier's socket, by the server's clock",
                OWN,
            ),
            Measure::RelayToModel => Description { direction: Some("to_model"), ..Measure::RelayToCarrier.describe() },
            Measure::RelayToCarrier => Description {
                direction: Some("to_carrier"),
                ..seconds(
                    "relay_latency",
                    "From a message read from one socket to the message that it makes written to the other, by the server's clock; towards the carrier, of the first frame of an utterance, which is not paced",
                    OWN,
                )
            },
            Measure::PlayoutLag => seconds(
                "playout_lag",
                "Audio sent minus audio heard, as the carrier's marks tell, looked at every 3 s while the agent speaks",
                PACE,
            ),
            Measure::TruncateError => seconds(
                "truncate_error",
                "Where an interrupted item was truncated minus how much of it marks had confirmed as heard: at most so much was not heard",
                PACE,
            ),
            Measure::TxQueue => {
                seconds("tx_queue", "Audio of the agent that waits to be sent, looked at every 3 s", BACKLOG)
            }
            Measure::TxGap => seconds(
                "tx_gap",
                "Between two audio messages handed to the carrier's socket, the second of which waited when the first went, by the server's clock; 0.02 by design",
                PACE,
            ),
            Measure::WsBlock => seconds(
                "ws_block",
                "How long messages waited for the carrier's socket to take them, of every 3 s",
                BLOCK,
            ),
            Measure::DeltaRate => Description {
                unit: Unit::Other("ratio".to_owned()),
                ..seconds(
                    "delta_rate",
                    "Audio of the agent accepted in 3 s, in multiples of real time, where there was any",
                    RATE,
                )
            },
            Measure::DeadAir => seconds(
                "dead_air",
                "Stretches of more than 3 s in which neither the model heard the caller nor the caller the agent, by the server's clock",
                SILENCE,
            ),
        }
    }
}

/// Why a call was not taken (N9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rejected {
    /// As many calls as are allowed go on.
    Busy,
    /// The server is stopping.
    Draining,
    /// No agent answers this number.
    NoAgent,
}

/// The server's metrics. Clones are the same.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    histograms: [Histogram; Measure::ALL.len()],
    active_calls: Family<AgentLabel, Gauge>,
    ended: Family<EndedLabels, Counter>,
    admission_rejects: Family<ReasonLabel, Counter>,
    dropped: Family<ReasonLabel, Counter>,
    audio_in: Counter,
    audio_out: Counter,
    frames_sent: Counter,
    pipeline_lines: Family<VerdictLabel, Counter>,
    backlog_warnings: Family<QueueLabel, Counter>,
    models_lost: Counter,
    ear_holds: Counter,
    ears_deaf: Counter,
    ears_refused: Counter,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct AgentLabel {
    agent: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct EndedLabels {
    agent: String,
    reason: String,
    by: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct VerdictLabel {
    verdict: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct QueueLabel {
    queue: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("patchcord");
        let histograms = histograms(&mut registry);
        let inner = Inner {
            active_calls: registered(&mut registry, "active_calls", "Calls that go on now, by agent"),
            ended: registered(&mut registry, "ended", "Calls that ended, by agent, reason, and who caused it"),
            admission_rejects: registered(
                &mut registry,
                "admission_rejects",
                "Calls that were not taken: all lines busy, the server stopping, or no agent for the number",
            ),
            dropped: registered(
                &mut registry,
                "dropped",
                "Messages of the caller's audio and deltas of the agent's that were not passed on, by reason",
            ),
            audio_in: registered(&mut registry, "audio_in", "Media messages of carriers, counted before any filter"),
            audio_out: registered(&mut registry, "audio_out", "Audio deltas of models that were accepted"),
            frames_sent: registered(&mut registry, "frames_sent", "Frames of 20 ms sent to carriers"),
            pipeline_lines: registered(
                &mut registry,
                "pipeline_lines",
                "Looks at a call's pipeline, one every 3 s, by whose fault it is that the caller waits",
            ),
            backlog_warnings: registered(
                &mut registry,
                "backlog_warnings",
                "Warnings that a queue has grown past what is usual, at most one in 30 s for each queue of a call",
            ),
            models_lost: registered(&mut registry, "models_lost", "Connections to models that were lost in a call"),
            ear_holds: registered(
                &mut registry,
                "ear_holds",
                "Holds that our own ears opened, before the model reported speech or without its ever doing so",
            ),
            ears_deaf: registered(
                &mut registry,
                "ears_deaf",
                "Times that an ear of ours could not follow its call, and was deaf until it could",
            ),
            ears_refused: registered(
                &mut registry,
                "ears_refused",
                "Calls without the ear that their agent wants, since as many as ears_max had one",
            ),
            histograms,
            registry,
        };
        Metrics(Arc::new(inner))
    }
}

fn registered<M: prometheus_client::registry::Metric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn histograms(registry: &mut Registry) -> [Histogram; Measure::ALL.len()] {
    let relay: fn() -> Histogram = || Histogram::new(Measure::RelayToModel.bounds());
    let relay = Family::<DirectionLabel, Histogram, _>::new_with_constructor(relay);
    let Description { name, help, unit, .. } = Measure::RelayToModel.describe();
    registry.register_with_unit(name, help, unit, relay.clone());
    Measure::ALL.map(|measure| match measure.describe() {
        Description { direction: Some(direction), .. } => relay.get_or_create_owned(&DirectionLabel { direction }),
        Description { name, help, unit, bounds, direction: None } => {
            let histogram = Histogram::new(bounds);
            registry.register_with_unit(name, help, unit, histogram.clone());
            histogram
        }
    })
}

impl Metrics {
    /// A call of this agent goes on, until what is returned is dropped.
    pub(crate) fn call_began(&self, agent: &str) -> Active {
        let gauge = self.0.active_calls.get_or_create_owned(&AgentLabel { agent: agent.to_owned() });
        gauge.inc();
        Active(gauge)
    }

    pub(crate) fn call_ended(&self, agent: &str, reason: EndReason, by: EndedBy) {
        let labels = EndedLabels { agent: agent.to_owned(), reason: name_of(reason), by: name_of(by) };
        self.0.ended.get_or_create(&labels).inc();
    }

    pub(crate) fn rejected(&self, why: Rejected) {
        self.0.admission_rejects.get_or_create(&ReasonLabel { reason: name_of(why) }).inc();
    }

    /// Something was measured once.
    pub(crate) fn measured(&self, measure: Measure, value: f64) {
        self.0.histograms[measure as usize].samples().add(value);
    }

    /// The same, many times.
    pub(crate) fn merge(&self, measure: Measure, samples: &Samples) {
        if samples.count() > 0 {
            self.0.histograms[measure as usize].samples().merge(samples);
        }
    }

    /// What a call has counted, and what of it was told before.
    pub(crate) fn counted(&self, now: &Counts, before: &Counts) {
        let Inner { audio_in, audio_out, frames_sent, dropped, .. } = &*self.0;
        audio_in.inc_by(now.audio_in - before.audio_in);
        audio_out.inc_by(now.audio_out - before.audio_out);
        frames_sent.inc_by(now.frames_sent - before.frames_sent);
        for (reason, count) in &now.dropped {
            let more = count - before.dropped.get(reason).unwrap_or(&0);
            if more > 0 {
                dropped.get_or_create(&ReasonLabel { reason: name_of(reason) }).inc_by(more);
            }
        }
    }

    pub(crate) fn pipeline_line(&self, verdict: Verdict) {
        self.0.pipeline_lines.get_or_create(&VerdictLabel { verdict: name_of(verdict) }).inc();
    }

    pub(crate) fn backlog_warning(&self, queue: Queue) {
        self.0.backlog_warnings.get_or_create(&QueueLabel { queue: name_of(queue) }).inc();
    }

    pub(crate) fn model_lost(&self) {
        self.0.models_lost.inc();
    }

    pub(crate) fn ear_held(&self) {
        self.0.ear_holds.inc();
    }

    pub(crate) fn ear_is_deaf(&self) {
        self.0.ears_deaf.inc();
    }

    pub(crate) fn ear_refused(&self) {
        self.0.ears_refused.inc();
    }

    /// All of it as OpenMetrics text.
    ///
    /// # Errors
    /// None that can be: it is written to memory.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

/// A call that goes on.
pub(crate) struct Active(Gauge);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A histogram that is added to in lots.
#[derive(Clone, Debug)]
struct Histogram(Arc<Mutex<Samples>>);

impl Histogram {
    fn new(bounds: Bounds) -> Self {
        Histogram(Arc::new(Mutex::new(Samples::new(bounds))))
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let samples = *self.samples();
        let buckets: Vec<(f64, u64)> = samples.buckets().collect();
        encoder.encode_histogram::<NoLabelSet>(samples.sum(), samples.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

/// A unit variant as it is spelled in records.
pub(crate) fn name_of(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("only variants without fields have names"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call::output::DropReason;
    use std::collections::BTreeMap;

    /// Metrics of a server in which everything has happened once.
    fn eventful() -> (Metrics, Active) {
        let metrics = Metrics::default();
        let active = metrics.call_began("front-desk");
        metrics.call_ended("front-desk", EndReason::Goodbye, EndedBy::Agent);
        metrics.rejected(Rejected::Busy);
        let dropped = BTreeMap::from([(DropReason::StaleResponse, 3)]);
        metrics.counted(&Counts { audio_in: 9, audio_out: 2, frames_sent: 7, dropped }, &Counts::default());
        metrics.pipeline_line(Verdict::ModelSlow);
        metrics.backlog_warning(Queue::Socket);
        metrics.model_lost();
        for measure in Measure::ALL {
            metrics.measured(measure, 0.02);
        }
        (metrics, active)
    }

    /// The rows of the table in `docs/metrics.md`, made of what is served.
    fn rows(text: &str) -> Vec<String> {
        let after = |line: &str, keyword: &str| {
            let (name, rest) = line.strip_prefix(keyword)?.split_once(' ')?;
            Some((name.to_owned(), rest.to_owned()))
        };
        let helps: Vec<_> = text.lines().filter_map(|line| after(line, "# HELP ")).collect();
        let of = |keyword: &str, name: &str| {
            text.lines().filter_map(|line| after(line, keyword)).find(|(known, _)| known == name).map(|(_, rest)| rest)
        };
        let row = |(name, help): (String, String)| {
            let sample = text.lines().find(|line| line.starts_with(&name)).unwrap();
            let labels = sample.split_once('{').map_or("", |(_, labels)| labels.split_once('}').unwrap().0);
            let labels: Vec<&str> = labels
                .split("\",")
                .filter_map(|label| label.split_once('='))
                .map(|(name, _)| name)
                .filter(|name| *name != "le")
                .collect();
            let kind = of("# TYPE ", &name).unwrap();
            let unit = of("# UNIT ", &name).unwrap_or_default();
            let total = if kind == "counter" { "_total" } else { "" };
            format!("| `{name}{total}` | {kind} | {unit} | {} | {help} |", labels.join(", "))
        };
        helps.into_iter().map(row).collect()
    }

    #[test]
    fn every_metric_is_documented_and_nothing_else_is() {
        let (metrics, _active) = eventful();
        let documented = include_str!("../../docs/metrics.md");
        let documented: Vec<&str> = documented.lines().filter(|line| line.starts_with("| `patchcord_")).collect();
        let mut served = rows(&metrics.encode().unwrap());
        served.sort();
        assert_eq!(documented, served, "docs/metrics.md should have:\n{}", served.join("\n"));
    }

    #[test]
    fn what_is_counted_is_told_once() {
        let (metrics, active) = eventful();
        let told = Counts { audio_in: 9, ..Counts::default() };
        metrics.counted(&Counts { audio_in: 10, ..told.clone() }, &told);
        let text = metrics.encode().unwrap();
        for line in [
            "patchcord_audio_in_total 10",
            "patchcord_dropped_total{reason=\"stale_response\"} 3",
            "patchcord_ended_total{agent=\"front-desk\",reason=\"goodbye\",by=\"agent\"} 1",
            "patchcord_active_calls{agent=\"front-desk\"} 1",
            "patchcord_pipeline_lines_total{verdict=\"model_slow\"} 1",
            "patchcord_relay_latency_seconds_count{direction=\"to_model\"} 1",
            "patchcord_relay_latency_seconds_count{direction=\"to_carrier\"} 1",
            "patchcord_delta_rate_ratio_sum 0.02",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is missing:\n{text}");
        }
        drop(active);
        assert!(metrics.encode().unwrap().contains("patchcord_active_calls{agent=\"front-desk\"} 0\n"));
    }

    #[test]
    fn an_agent_s_name_cannot_break_the_text() {
        let metrics = Metrics::default();
        let _active = metrics.call_began("a \"quoted\"\nname\\");
        let text = metrics.encode().unwrap();
        assert!(text.contains(r#"patchcord_active_calls{agent="a \"quoted\"\nname\\"} 1"#), "{text}");
    }

    #[test]
    fn samples_have_their_buckets() {
        assert!(Measure::ALL.iter().enumerate().all(|(index, measure)| *measure as usize == index));
        for measure in Measure::ALL {
            assert!(measure.bounds().is_sorted_by(|a, b| a < b), "{measure:?}");
        }
    }
}
