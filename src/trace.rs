//! What one request is called: in its answer, in the log, at the signer and in a trace.
//!
//! | name | comes from | goes to |
//! |---|---|---|
//! | request id | `X-Request-Id`, or made here | the answer's `X-Request-Id`, the log |
//! | trace context | `traceparent`, `tracestate` (W3C), or made here | the signer; the log |
//! | span | made here | an OTLP collector, if one is configured and the request is sampled |
//!
//! A request that brings no header and is not sampled costs two steps of a counter, and one
//! allocation for the answer's header. Export is never waited for: a full queue drops and counts.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use crate::clock::{Clock, Now, Stopwatch};
use crate::metrics::Stage;

pub use self::context::{SpanId, TraceContext, TraceId};
pub use self::exporter::{Exporter, ExporterConfig, Tracer};
pub use self::otlp::Span;

mod context;
mod exporter;
mod otlp;

#[cfg(test)]
mod tests;

/// The header of the request id, both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context: trace, parent span and flags.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// W3C Trace Context: what tracing systems add.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longer ids of clients are not taken over: they stand in every log line.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What one request is called, in answers and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// By its client.
    Given(HeaderValue),
    /// By us; printed as 16 hexadecimal digits.
    Made(u64),
}

impl RequestId {
    /// The client's id, if it can stand in a log line and in a header as it is.
    fn given(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\<>`".contains(byte);
        let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(plain);
        fits.then(|| Self::Given(value.clone()))
    }

    /// The value of the answer's `X-Request-Id`.
    pub fn header(&self) -> HeaderValue {
        match self {
            Self::Given(value) => value.clone(),
            Self::Made(number) => {
                let mut digits = [0; 16];
                faster_hex::hex_encode(&number.to_be_bytes(), &mut digits)
                    .expect("two digits for each byte");
                HeaderValue::from_bytes(&digits).expect("hexadecimal digits")
            }
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(value) => f.write_str(value.to_str().unwrap_or_default()),
            Self::Made(number) => write!(f, "{number:016x}"),
        }
    }
}

/// Makes ids: random enough to be told apart, and no secret. One for each core.
#[derive(Debug)]
pub struct Ids(Cell<u64>);

impl Default for Ids {
    /// Starts where the system's own randomness says.
    fn default() -> Self {
        Self(Cell::new(RandomState::new().hash_one(0)))
    }
}

impl Ids {
    /// Never 0, which is no valid id in a trace.
    fn next(&self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014): each of the 2^64 values once.
        loop {
            let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.0.set(state);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            match mixed ^ (mixed >> 31) {
                0 => {}
                id => return id,
            }
        }
    }
}

/// What one request is called, and what is recorded of it.
#[derive(Debug)]
pub struct RequestTrace {
    /// Its id.
    pub request_id: RequestId,
    context: Option<TraceContext>,
    span_id: SpanId,
    recording: Option<Box<Recording>>,
}

/// The beginning of a sampled request, and the ends of its stages.
#[derive(Debug)]
struct Recording {
    started: Now,
    stages: Vec<(Stage, Duration)>,
}

/// The trace headers of a request to the signer.
#[derive(Clone, Debug)]
pub struct TraceHeaders {
    /// `traceparent`.
    pub parent: HeaderValue,
    /// `tracestate`, as it came.
    pub state: Option<HeaderValue>,
}

impl RequestTrace {
    /// Reads what the client calls its request, and decides whether a span is made of it: as the
    /// client's flag says, or, without one, for the configured part of the requests.
    pub fn begin(headers: &HeaderMap, ids: &Ids, tracer: &Tracer, clock: &Clock) -> Self {
        let given = headers.get(X_REQUEST_ID).and_then(RequestId::given);
        let request_id = given.unwrap_or_else(|| RequestId::Made(ids.next()));
        let mut context = TraceContext::of(headers);
        if context.is_none() && tracer.samples(&request_id, ids) {
            let trace_id = u128::from(ids.next()) << 64 | u128::from(ids.next());
            context = Some(TraceContext::root(TraceId(trace_id)));
        }
        let is_recorded = tracer.is_on() && context.as_ref().is_some_and(TraceContext::is_sampled);
        let recording = is_recorded.then(|| {
            let stages = Vec::with_capacity(Stage::ALL.len());
            Box::new(Recording { started: clock.now(), stages })
        });
        let span_id = if context.is_some() { SpanId(ids.next()) } else { SpanId(0) };
        Self { request_id, context, span_id, recording }
    }

    /// The trace that the request belongs to.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.context.as_ref().map(|context| context.trace_id)
    }

    /// Our span in that trace.
    pub fn span_id(&self) -> Option<SpanId> {
        self.context.as_ref().map(|_| self.span_id)
    }

    /// What the signer is told, if the request belongs to a trace.
    pub fn outgoing(&self) -> Option<TraceHeaders> {
        self.context.as_ref().map(|context| TraceHeaders {
            parent: context.header(self.span_id),
            state: context.state.clone(),
        })
    }

    /// Notes that a stage has ended now, by the watch that was started with the request.
    pub fn stage(&mut self, stage: Stage, whole: &Stopwatch) {
        if let Some(recording) = &mut self.recording {
            recording.stages.push((stage, whole.elapsed()));
        }
    }

    /// The span of a recorded request that took `took`, without its attributes.
    pub fn span(&mut self, name: &'static str, took: Duration) -> Option<Box<Span>> {
        let recording = self.recording.take()?;
        let context = self.context.as_ref()?;
        let at = |since: Duration| recording.started.after(since).unix_ns;
        Some(Box::new(Span {
            trace_id: context.trace_id,
            span_id: self.span_id,
            parent: context.parent,
            state: context.state.clone(),
            name,
            started_unix_ns: at(Duration::ZERO),
            ended_unix_ns: at(took),
            events: recording
                .stages
                .iter()
                .map(|(stage, end)| (stage.as_str(), at(*end)))
                .collect(),
            attributes: vec![("http.request.id", self.request_id.to_string().into())],
            failed: None,
        }))
    }
}
