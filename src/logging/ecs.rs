//! Log lines with the names of the Elastic Common Schema, version 8.11.
//!
//! | our field | ECS |
//! |---|---|
//! | `event` | `event.action`, `event.outcome` |
//! | `reason`, `error`; `code`; `backtrace` | `error.message`; `error.code`; `error.stack_trace` |
//! | `peer` | `client.address`, `client.ip`, `client.port` |
//! | `client` | `user.name` |
//! | `request_id`, `trace_id`, `span_id` | `http.request.id`, `trace.id`, `span.id` |
//! | `took_us` | `event.duration`, in nanoseconds |
//! | every other | `portcullis.<field>` |

use std::fmt;
use std::net::SocketAddr;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

const ECS_VERSION: &str = "8.11.0";

/// One JSON object a line.
pub(super) struct Ecs;

impl<S, N> FormatEvent<S, N> for Ecs
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        let thread = std::thread::current();
        let mut fields = Fields::default();
        fields.put("log.level", metadata.level().as_str().to_ascii_lowercase());
        for (name, value) in [
            ("@timestamp", timestamp.as_str()),
            ("ecs.version", ECS_VERSION),
            ("service.name", "portcullis"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("log.logger", metadata.target()),
            ("process.thread.name", thread.name().unwrap_or("unnamed")),
        ] {
            fields.put(name, value);
        }
        event.record(&mut fields);
        writeln!(writer, "{}", Value::Object(fields.0))
    }
}

/// The object under construction.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn field(&mut self, name: &str, value: Value) {
        let ecs = match name {
            "message" => "message",
            "event" => {
                if value == "signed" {
                    self.put("event.outcome", "success");
                }
                "event.action"
            }
            "code" => {
                self.put("event.outcome", "failure"); // a code says why something was not done
                "error.code"
            }
            "reason" | "error" => "error.message",
            "backtrace" => "error.stack_trace",
            "request_id" => "http.request.id",
            "trace_id" => "trace.id",
            "span_id" => "span.id",
            "client" => "user.name",
            "peer" => {
                if let Some(Ok(peer)) = value.as_str().map(str::parse::<SocketAddr>) {
                    self.put("client.ip", peer.ip().to_string());
                    self.put("client.port", peer.port());
                }
                "client.address"
            }
            "took_us" => {
                let ns = value.as_u64().map(|us| us.saturating_mul(1_000));
                return self.put("event.duration", ns);
            }
            other => return self.put(&format!("portcullis.{other}"), value),
        };
        self.put(ecs, value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field.name(), value.into());
    }
}
