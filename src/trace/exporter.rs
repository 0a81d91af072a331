//! Sends spans to an OTLP collector over HTTP, from a thread of its own.
//!
//! Nothing waits for it: the queue is bounded, a full one drops the span and counts it, and so does
//! a collector that does not answer. A batch leaves when it is full or [`BATCH_INTERVAL`] old.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use prometheus::IntCounter;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use super::otlp::{self, Span};
use super::{Ids, RequestId};
use crate::clock::Stopwatch;
use crate::metrics::TraceMetrics;

#[cfg(test)]
mod tests;

/// Spans that wait; beyond it they are dropped.
const QUEUE_MAX: usize = 8_192;
/// Spans of one export.
const BATCH_MAX: usize = 512;
/// How long the first span of a batch waits for others.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// For one export, from connecting to the end of the answer.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer of a collector is a few bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where spans go.
#[derive(Clone, Debug)]
pub struct ExporterConfig {
    /// The whole URL, its path included: `http://host:port/v1/traces`.
    pub endpoint: Uri,
    /// The part of the requests without a `traceparent` that is recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// `service.name`.
    pub service_name: String,
    /// `service.instance.id`: the address that is listened on.
    pub instance: String,
    /// Sent with every export: a token, a tenant.
    pub headers: HeaderMap,
}

/// Whether spans are made, and the way to their exporter.
#[derive(Debug, Default)]
pub struct Tracer(Option<Exporter>);

/// The way to the thread that exports.
#[derive(Debug)]
pub struct Exporter {
    queue: SyncSender<Message>,
    sampled_below: u64,
    dropped: IntCounter,
}

#[derive(Debug)]
enum Message {
    Span(Box<Span>),
    Flush(SyncSender<()>),
}

impl Tracer {
    /// Makes no spans.
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the exporter's thread.
    ///
    /// # Errors
    /// A thread or a runtime that the system refuses to give.
    pub fn start(config: ExporterConfig, metrics: &TraceMetrics) -> io::Result<Self> {
        let (queue, spans) = sync_channel(QUEUE_MAX);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // As a part of the u64s; 1.0 is all of them but one.
        let sampled_below = (config.sample_ratio * u64::MAX as f64) as u64;
        let (exported, failed) = (metrics.exported.clone(), metrics.failed.clone());
        let thread = Thread { config, runtime, exported, failed, is_failing: false };
        thread::Builder::new().name("traces".to_owned()).spawn(move || thread.run(&spans))?;
        let dropped = metrics.dropped.clone();
        Ok(Self(Some(Exporter { queue, sampled_below, dropped })))
    }

    /// Whether spans are made at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a request that brings no context of its own is recorded.
    pub(super) fn samples(&self, request_id: &RequestId, ids: &Ids) -> bool {
        let Some(Exporter { sampled_below, .. }) = &self.0 else { return false };
        let random = match request_id {
            RequestId::Made(random) => *random,
            RequestId::Given(_) => ids.next(),
        };
        *sampled_below > 0 && random <= *sampled_below
    }

    /// Gives a span away. Never waits.
    pub fn offer(&self, span: Box<Span>) {
        if let Some(exporter) = &self.0
            && exporter.queue.try_send(Message::Span(span)).is_err()
        {
            exporter.dropped.inc();
        }
    }

    /// Sends what waits, and waits for that at most as long as `patience`.
    pub fn flush(&self, patience: Duration) {
        let Some(exporter) = &self.0 else { return };
        let (done, is_done) = sync_channel(1);
        if exporter.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(patience); // a dead collector is not waited for
        }
    }
}

/// What runs in the exporter's thread.
struct Thread {
    config: ExporterConfig,
    runtime: Runtime,
    exported: IntCounter,
    failed: IntCounter,
    is_failing: bool,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the collector did not answer in time")]
    Timeout,
    #[error("the collector cannot be reached")]
    Connect(#[from] io::Error),
    #[error("the collector's answer is not HTTP")]
    Http(#[from] hyper::Error),
    #[error("the collector's answer cannot be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the collector answered with status {0}")]
    Status(u16),
}

impl Thread {
    fn run(mut self, queue: &Receiver<Message>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while let Ok(first) = queue.recv() {
            let mut flushed = Vec::new();
            let since = Stopwatch::start();
            let mut next = Ok(first);
            loop {
                match next {
                    Ok(Message::Span(span)) => batch.push(span),
                    Ok(Message::Flush(done)) => flushed.push(done),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
                if batch.len() >= BATCH_MAX || !flushed.is_empty() {
                    break;
                }
                next = queue.recv_timeout(BATCH_INTERVAL.saturating_sub(since.elapsed()));
            }
            if !batch.is_empty() {
                self.export(&batch);
                batch.clear();
            }
            for done in flushed {
                let _ = done.send(()); // whoever asked may have lost patience
            }
        }
    }

    fn export(&mut self, batch: &[Box<Span>]) {
        let body = otlp::encode(&self.config.service_name, &self.config.instance, batch);
        let post = post(&self.config, Bytes::from(body));
        let result = self.runtime.block_on(async {
            tokio::time::timeout(EXPORT_TIMEOUT, post).await.unwrap_or(Err(ExportError::Timeout))
        });
        let count = batch.len() as u64;
        match result {
            Ok(rejected) => {
                self.exported.inc_by(count.saturating_sub(rejected));
                self.failed.inc_by(rejected.min(count));
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(event = "traces_exported", "the trace collector answers again");
                }
            }
            Err(error) => {
                self.failed.inc_by(count);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        event = "traces_not_exported",
                        reason = %error,
                        cause = std::error::Error::source(&error).map(tracing::field::display),
                        "spans are lost until the trace collector answers; signing goes on"
                    );
                }
            }
        }
    }
}

/// Sends one body over a connection of its own; gives the number of spans that were rejected.
async fn post(config: &ExporterConfig, body: Bytes) -> Result<u64, ExportError> {
    let endpoint = &config.endpoint;
    let host = endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, endpoint.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    let path = endpoint.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().expect("a part of a valid URL");
    let headers = request.headers_mut();
    headers.extend(config.headers.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let authority = endpoint.authority().map_or("", |authority| authority.as_str());
    headers.insert(HOST, HeaderValue::from_str(authority).expect("a part of a valid URL"));
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(ExportError::Answer)?.to_bytes();
        if status.is_success() {
            Ok(rejected(&body))
        } else {
            Err(ExportError::Status(status.as_u16()))
        }
    };
    tokio::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        ended = connection => {
            ended?;
            exchange.await // the answer may have arrived whole before the end
        }
    }
}

/// `partialSuccess.rejectedSpans`, which JSON writes as text or as a number.
fn rejected(body: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let count = &answer["partialSuccess"]["rejectedSpans"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0)
}
