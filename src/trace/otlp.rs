//! Spans in OTLP's JSON encoding, as `POST /v1/traces` takes it.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: ids are hexadecimal, 64-bit
//! integers are strings, enumerations are numbers. Written here rather than by the OpenTelemetry
//! crates: they would bring 26 crates (prost, h2, wasm-bindgen among them) and a runtime of their
//! own for the one message that is sent.

use hyper::header::HeaderValue;
use serde_json::{Value, json};

use super::context::{SpanId, TraceId};

#[cfg(test)]
mod tests;

/// `SPAN_KIND_SERVER`.
const KIND_SERVER: u8 = 2;
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u8 = 2;

/// One request, from its arrival to its answer.
#[derive(Debug)]
pub struct Span {
    /// The trace that it belongs to.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// The client's span, if it sent one.
    pub parent: Option<SpanId>,
    /// `tracestate`, as it came.
    pub state: Option<HeaderValue>,
    /// What was asked for.
    pub name: &'static str,
    /// Nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub ended_unix_ns: u64,
    /// The ends of the stages, in nanoseconds since the Unix epoch.
    pub events: Vec<(&'static str, u64)>,
    /// What is known of the request.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// The code, where the fault is ours or the signer's. What the client did wrong is no error of
    /// a server's span.
    pub failed: Option<&'static str>,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// Text.
    Text(String),
    /// A number.
    Integer(u64),
    /// True or false.
    Boolean(bool),
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Attribute {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

/// The body of one export.
pub(super) fn encode(service_name: &str, instance: &str, spans: &[Box<Span>]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [
        ("service.name", service_name.into()),
        ("service.version", version.into()),
        ("service.instance.id", instance.into()),
    ];
    let spans: Vec<Value> = spans.iter().map(|span| encode_span(span)).collect();
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": encode_attributes(&resource) },
        "scopeSpans": [{
            "scope": { "name": "portcullis", "version": version },
            "spans": spans,
        }],
    }]});
    body.to_string().into_bytes()
}

fn encode_span(span: &Span) -> Value {
    let event = |(name, at): &(&str, u64)| json!({ "name": name, "timeUnixNano": at.to_string() });
    let events: Vec<Value> = span.events.iter().map(event).collect();
    let mut encoded = json!({
        "traceId": span.trace_id.to_string(),
        "spanId": span.span_id.to_string(),
        "name": span.name,
        "kind": KIND_SERVER,
        "startTimeUnixNano": span.started_unix_ns.to_string(),
        "endTimeUnixNano": span.ended_unix_ns.to_string(),
        "attributes": encode_attributes(&span.attributes),
        "events": events,
    });
    if let Some(parent) = span.parent {
        encoded["parentSpanId"] = parent.to_string().into();
    }
    if let Some(state) = span.state.as_ref().and_then(|state| state.to_str().ok()) {
        encoded["traceState"] = state.into();
    }
    if let Some(code) = span.failed {
        encoded["status"] = json!({ "code": STATUS_ERROR, "message": code });
    }
    encoded
}

fn encode_attributes(attributes: &[(&'static str, Attribute)]) -> Vec<Value> {
    let value = |attribute: &Attribute| match attribute {
        Attribute::Text(text) => json!({ "stringValue": text }),
        Attribute::Integer(number) => json!({ "intValue": number.to_string() }),
        Attribute::Boolean(value) => json!({ "boolValue": value }),
    };
    attributes.iter().map(|(key, it)| json!({ "key": key, "value": value(it) })).collect()
}
