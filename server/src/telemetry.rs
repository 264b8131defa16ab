//! Spans by OTLP, to whoever `OTEL_EXPORTER_OTLP_ENDPOINT` names (opentelemetry.io/docs/specs/otlp, HTTP with protobuf).
//!
//! A bounded queue, a task that sends it in batches, a limit for each attempt: whatever becomes of the collector, calls
//! do not notice. What cannot be sent is lost, and the log says so once. The exporter is OpenTelemetry's own, which
//! also knows the other variables of its specification (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES`); the SDK's batch processor is not used, since it blocks a thread of its own on an HTTP
//! client that wants ours.

use std::time::Duration;

use anyhow::Context;
use futures_util::future::{Either, select};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter, SpanLinks};
use reqwest::Url;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::spans::Span;

/// Spans that may wait: those of a few hundred calls while a batch is sent.
const QUEUE_MAX: usize = 4_096;

/// Spans in one request, as in the SDK's own processor.
const BATCH_MAX: usize = 512;

/// How long the first span of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);

/// One request.
const EXPORT_MAX: Duration = Duration::from_secs(5);

/// At the end, for all that is still there.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// The exporter at work.
pub(crate) struct Telemetry {
    spans: mpsc::Sender<Span>,
    stop: mpsc::Sender<()>,
    worker: JoinHandle<()>,
}

impl Telemetry {
    /// Begins to export to this collector, `http://collector:4318`; `/v1/traces` is added, as the specification says.
    ///
    /// # Errors
    /// If there is no exporter to such an address.
    pub(crate) fn start(endpoint: &Url, client: reqwest::Client) -> anyhow::Result<Self> {
        let endpoint = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_MAX)
            .build()
            .context("OTEL_EXPORTER_OTLP_ENDPOINT cannot be exported to")?;
        let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
        let resource = if named { resource } else { resource.with_service_name("patchcord") };
        exporter.set_resource(&resource.build());
        let (spans, inbox) = mpsc::channel(QUEUE_MAX);
        let (stop, stopped) = mpsc::channel(1);
        Ok(Telemetry { spans, stop, worker: tokio::spawn(export_all(exporter, inbox, stopped)) })
    }

    /// Where calls put their spans.
    pub(crate) fn spans(&self) -> mpsc::Sender<Span> {
        self.spans.clone()
    }

    /// Sends what is there, within a limit.
    pub(crate) async fn finish(self) {
        drop(self.spans);
        drop(self.stop);
        if timeout(FLUSH_MAX, self.worker).await.is_err() {
            tracing::warn!("the last spans could not be exported in time");
        }
    }
}

async fn export_all(exporter: impl SpanExporter, mut inbox: mpsc::Receiver<Span>, mut stopped: mpsc::Receiver<()>) {
    let scope = InstrumentationScope::builder("patchcord").with_version(env!("CARGO_PKG_VERSION")).build();
    let mut failing = false;
    let mut batch = Vec::new();
    loop {
        match first_or_stop(&mut inbox, &mut stopped).await {
            Either::Left(Some(span)) => batch.push(span),
            Either::Left(None) => return,
            // Calls may still hold their ends of the queue; what they put in from now on is lost.
            Either::Right(()) => inbox.close(),
        }
        let until = Instant::now() + LINGER;
        while batch.len() < BATCH_MAX
            && let Ok(Some(span)) = timeout_at(until, inbox.recv()).await
        {
            batch.push(span);
        }
        let spans: Vec<SpanData> = batch.drain(..).map(|span| told(span, &scope)).collect();
        if spans.is_empty() {
            continue;
        }
        let lost = spans.len();
        let why = match timeout(EXPORT_MAX, exporter.export(spans)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {EXPORT_MAX:?}")),
        };
        let was_failing = std::mem::replace(&mut failing, why.is_some());
        match why {
            Some(why) if !was_failing => {
                tracing::warn!(why, lost, "spans cannot be exported; is OTEL_EXPORTER_OTLP_ENDPOINT right?");
            }
            Some(why) => tracing::debug!(why, lost, "spans cannot be exported"),
            None if was_failing => tracing::info!("spans are exported again"),
            None => {}
        }
    }
}

/// What comes first; a span that is there before the stop.
async fn first_or_stop(inbox: &mut mpsc::Receiver<Span>, stopped: &mut mpsc::Receiver<()>) -> Either<Option<Span>, ()> {
    let first = std::pin::pin!(inbox.recv());
    let stop = std::pin::pin!(stopped.recv());
    match select(first, stop).await {
        Either::Left((span, _)) => Either::Left(span),
        Either::Right(_) => Either::Right(()),
    }
}

fn told(span: Span, scope: &InstrumentationScope) -> SpanData {
    let trace = TraceId::from_bytes(span.trace.into_bytes());
    let id = SpanId::from(span.id);
    SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::default()),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: false,
        span_kind: if span.parent.is_none() { SpanKind::Server } else { SpanKind::Internal },
        name: span.name.into(),
        start_time: span.began,
        end_time: span.ended,
        attributes: span.attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.failure.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    }
}
