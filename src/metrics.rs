//! What the process counts and measures, and the page that Prometheus reads.
//!
//! Every metric stands in one table (`metrics/families.rs`). What the signing path touches is
//! looked up once, at the start: an array indexed by duty type, stage or class, no label by name.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{
    Counter, Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

pub use self::audit::AuditMetrics;
pub use self::events::{Delivery, EventMetrics, SinkMetrics};
pub use self::policy::{LEVELS, PolicyMetrics};
use self::process::ProcessCollector;
pub use self::response::{ResponseMetrics, SCOPES};
pub use self::summary::Summary;
pub use self::upstream::{ReplicaMetrics, UpstreamMetrics, UpstreamSetMetrics};
pub use self::web3signer::Web3SignerMetrics;
use crate::limits::DutyClass;

mod audit;
mod events;
mod families;
pub mod http;
mod policy;
mod process;
mod response;
mod summary;
mod upstream;
mod web3signer;

#[cfg(test)]
mod tests;

/// The `type` of a request that was not read far enough to know its duty.
const UNKNOWN_TYPE: &str = "unknown";

/// Buckets for what a client waits for, in seconds.
const REQUEST_BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Buckets for steps within a request, in seconds: parsing takes microseconds, forwarding may take
/// all of the budget.
const STAGE_BUCKETS: [f64; 16] = [
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 1.0, 2.5,
];
/// Buckets for the records of one commit: up to `slashing_db::recorder::BATCH_MAX`.
const BATCH_BUCKETS: [f64; 11] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// How a signing request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With a signature.
    Signed,
    /// By our judgement.
    Refused,
    /// By the client's fault.
    Rejected,
    /// By our fault, or the upstream's.
    Failed,
}

impl Verdict {
    /// Every verdict; `verdict as usize` is the index into this.
    pub const ALL: [Self; 4] = [Self::Signed, Self::Refused, Self::Rejected, Self::Failed];

    /// The value of the label `verdict`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// The stages of a request whose time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for the body.
    Read,
    /// From bytes to a duty.
    Parse,
    /// Computing the signing root, and the rules of content and time.
    Root,
    /// Check, judge and advance, under the key's lock.
    Decide,
    /// Waiting for the record to be durable.
    Record,
    /// Waiting for the upstream.
    Forward,
    /// From the result to the answer.
    Respond,
}

impl Stage {
    /// Every stage, in the order of the path; `stage as usize` is the index into this.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Parse,
        Self::Root,
        Self::Decide,
        Self::Record,
        Self::Forward,
        Self::Respond,
    ];

    /// The value of the label `stage`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Parse => "parse",
            Self::Root => "root",
            Self::Decide => "decide",
            Self::Record => "record",
            Self::Forward => "forward",
            Self::Respond => "respond",
        }
    }
}

/// The labels whose values other modules own, given once at the start: each then shows as 0 from
/// the first scrape on, and `rate` and `increase` see its first step.
#[derive(Clone, Copy, Debug)]
pub struct LabelValues {
    /// Duty types, in the order of their index.
    pub duty_types: &'static [&'static str],
    /// The code of a signed request.
    pub signed_code: &'static str,
    /// Statuses of a key.
    pub key_statuses: &'static [&'static str],
    /// Codes of upstream errors.
    pub upstream_errors: &'static [&'static str],
    /// Names of events.
    pub events: &'static [&'static str],
}

/// Brings gauges up to date before they are read.
type BeforeScrape = Box<dyn Fn(&Metrics) + Send + Sync>;

/// Every metric of the process, in a registry of its own.
pub struct Metrics {
    registry: Registry,
    before_scrape: OnceLock<BeforeScrape>,
    requests: IntCounterVec,
    duty_types: &'static [&'static str],
    signed_code: &'static str,
    signed: Box<[IntCounter]>,
    request_seconds: Box<[Histogram]>,
    stage_seconds: [Histogram; Stage::ALL.len()],
    in_flight: [IntGauge; DutyClass::ALL.len()],
    overloaded: [IntCounter; DutyClass::ALL.len()],
    /// Requests answered with the signature of an identical one.
    pub joins: IntCounter,
    /// Keys, by status.
    pub keys: IntGaugeVec,
    /// Client connections that serve a request.
    pub connections_active: IntGauge,
    /// Client connections between two requests.
    pub connections_idle: IntGauge,
    /// Client connections closed for want of room.
    pub connections_refused: IntCounter,
    /// The signers behind the gate.
    pub upstream: UpstreamMetrics,
    /// What the signer's signatures were worth.
    pub verify: VerifyMetrics,
    /// The recorder, its store and its witness.
    pub store: StoreMetrics,
    /// Who is asking.
    pub clients: ClientMetrics,
    /// What step 6 has to say.
    pub policy: PolicyMetrics,
    /// The audit log.
    pub audit: AuditMetrics,
    /// Refusals and findings that nothing followed from.
    pub notices_lost: IntCounter,
    /// What follows from verdicts.
    pub response: ResponseMetrics,
    /// What becomes of events.
    pub event: EventMetrics,
    /// 1 while the kernel says that the clock is synchronised.
    pub clock_synchronised: IntGauge,
    /// Events, by name.
    pub events: IntCounterVec,
    /// Spans of sampled requests.
    pub trace: TraceMetrics,
    /// What Web3Signer's dashboards read.
    pub web3signer: Web3SignerMetrics,
}

/// What the signer's signatures were worth, and what it cost to know.
pub struct VerifyMetrics {
    /// Signatures, by what came of verifying them.
    pub verdicts: IntCounterVec,
    /// Bad signatures, by the signer that gave them.
    pub bad: IntCounterVec,
    /// Signatures verified together.
    pub batch: Histogram,
    /// Seconds from an answer to the verdict on it.
    pub seconds: Histogram,
    /// Signatures that wait.
    pub queue_length: IntGauge,
    /// CPU time of the threads that verify.
    pub cpu_seconds: Counter,
}

/// The recorder, its store and its witness.
pub struct StoreMetrics {
    /// Records waiting for their commit.
    pub queue_length: IntGauge,
    /// Records in one commit.
    pub batch_records: Histogram,
    /// Seconds of one commit.
    pub commit_seconds: Histogram,
    /// Seconds from queueing a record to knowing it durable.
    pub durable_wait_seconds: Histogram,
    /// 1 once the store has failed.
    pub poisoned: IntGauge,
    /// Seconds until the lease lapses.
    pub lease_seconds_left: Gauge,
    /// The store's generation in its witness.
    pub witness_generation: IntGauge,
}

/// Who is asking. Its clones count together.
#[derive(Clone, Debug)]
pub struct ClientMetrics {
    /// Signing requests, by client and verdict.
    pub requests: IntCounterVec,
    /// Requests that belong to nobody, by code.
    pub refused: IntCounterVec,
    /// Connections that ended before their first request, by reason.
    pub handshake_failures: IntCounterVec,
    /// 1 while the files on disk cannot be used, and older ones hold.
    pub access_files_broken: IntGauge,
    /// When the gate's certificate runs out, in seconds of Unix time; 0 without TLS.
    pub certificate_expires: IntGauge,
}

/// Spans of sampled requests, by what became of them.
pub struct TraceMetrics {
    /// Taken by the collector.
    pub exported: IntCounter,
    /// Dropped because too many waited.
    pub dropped: IntCounter,
    /// Lost because the collector did not take them.
    pub failed: IntCounter,
}

impl Metrics {
    /// Registers everything, and looks up what the signing path touches.
    pub fn new(labels: &LabelValues) -> Self {
        let registry = Registry::new();
        let requests = families::REQUESTS.counters(&registry);
        let signed = |kind: &&str| {
            requests.with_label_values(&[*kind, Verdict::Signed.as_str(), labels.signed_code])
        };
        let seconds = families::REQUEST_SECONDS.histograms(&registry, &REQUEST_BUCKETS);
        let types = labels.duty_types.iter().chain([&UNKNOWN_TYPE]);
        let stages = families::STAGE_SECONDS.histograms(&registry, &STAGE_BUCKETS);
        let in_flight = families::IN_FLIGHT.gauges(&registry);
        let overloaded = families::OVERLOADED.counters(&registry);
        let connections = families::CONNECTIONS.gauges(&registry);
        let keys = families::KEYS.gauges(&registry);
        for status in labels.key_statuses {
            keys.with_label_values(&[*status]).set(0);
        }
        let events = families::EVENTS.counters(&registry);
        for event in labels.events {
            events.with_label_values(&[*event]).reset();
        }
        for family in [families::BUILD_INFO, families::RELEASE] {
            family.gauges(&registry).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        }
        registry.register(Box::new(ProcessCollector::new())).expect("registered once");
        Self {
            signed: labels.duty_types.iter().map(signed).collect(),
            request_seconds: types.map(|kind| seconds.with_label_values(&[*kind])).collect(),
            stage_seconds: Stage::ALL.map(|stage| stages.with_label_values(&[stage.as_str()])),
            in_flight: DutyClass::ALL.map(|class| in_flight.with_label_values(&[class.as_str()])),
            overloaded: DutyClass::ALL.map(|class| overloaded.with_label_values(&[class.as_str()])),
            joins: families::JOINS.counter(&registry),
            keys,
            connections_active: connections.with_label_values(&["active"]),
            connections_idle: connections.with_label_values(&["idle"]),
            connections_refused: families::CONNECTIONS_REFUSED.counter(&registry),
            upstream: UpstreamMetrics::new(&registry, labels.upstream_errors),
            verify: VerifyMetrics::new(&registry),
            store: StoreMetrics::new(&registry),
            clients: ClientMetrics::new(&registry),
            policy: PolicyMetrics::new(&registry),
            audit: AuditMetrics::new(&registry),
            notices_lost: families::NOTICES_LOST.counter(&registry),
            response: ResponseMetrics::new(&registry),
            event: EventMetrics::new(&registry),
            clock_synchronised: families::CLOCK_SYNCHRONISED.gauge(&registry),
            events,
            trace: TraceMetrics::new(&registry),
            web3signer: Web3SignerMetrics::new(&registry),
            requests,
            duty_types: labels.duty_types,
            signed_code: labels.signed_code,
            before_scrape: OnceLock::new(),
            registry,
        }
    }

    /// Counts one answered request. `duty_type` is the index into [`LabelValues::duty_types`], or
    /// `None` when the request was not read so far.
    pub fn answered(
        &self,
        duty_type: Option<usize>,
        verdict: Verdict,
        code: &'static str,
        elapsed: Duration,
    ) {
        let index = duty_type.unwrap_or(self.duty_types.len());
        match duty_type {
            Some(index) if verdict == Verdict::Signed && code == self.signed_code => {
                self.signed[index].inc();
            }
            Some(_) | None => {
                let name = self.duty_types.get(index).copied().unwrap_or(UNKNOWN_TYPE);
                self.requests.with_label_values(&[name, verdict.as_str(), code]).inc();
            }
        }
        self.request_seconds[index].observe(elapsed.as_secs_f64());
        self.web3signer.signing.observe(elapsed);
    }

    /// Adds the time that one request spent in a stage.
    pub fn stage(&self, stage: Stage, elapsed: Duration) {
        self.stage_seconds[stage as usize].observe(elapsed.as_secs_f64());
    }

    /// Requests of the class being served.
    pub fn in_flight(&self, class: DutyClass) -> &IntGauge {
        &self.in_flight[class as usize]
    }

    /// Requests of the class refused for want of room.
    pub fn overloaded(&self, class: DutyClass) -> &IntCounter {
        &self.overloaded[class as usize]
    }

    /// Sets what brings gauges up to date just before they are read: lengths of queues, the lease.
    /// It must not block. Only the first call counts.
    pub fn set_before_scrape(&self, update: impl Fn(&Self) + Send + Sync + 'static) {
        let _ = self.before_scrape.set(Box::new(update));
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When a collector gives a family that the format cannot hold: a bug.
    pub fn encode(&self) -> prometheus::Result<String> {
        if let Some(update) = self.before_scrape.get() {
            update(self);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl VerifyMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            verdicts: families::VERIFIED.counters(registry),
            bad: families::BAD_SIGNATURES.counters(registry),
            batch: families::VERIFY_BATCH.histogram(registry, &BATCH_BUCKETS),
            seconds: families::VERIFY_SECONDS.histogram(registry, &REQUEST_BUCKETS),
            queue_length: families::VERIFY_QUEUE.gauge(registry),
            cpu_seconds: families::VERIFY_CPU.float_counter(registry),
        }
    }
}

impl ClientMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            requests: families::CLIENT_REQUESTS.counters(registry),
            refused: families::CLIENT_REFUSED.counters(registry),
            handshake_failures: families::HANDSHAKE_FAILURES.counters(registry),
            access_files_broken: families::ACCESS_FILES_BROKEN.gauge(registry),
            certificate_expires: families::CERTIFICATE_EXPIRES.gauge(registry),
        }
    }

    /// In a registry that nobody reads.
    pub fn unregistered() -> Self {
        Self::new(&Registry::new())
    }
}

impl StoreMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            queue_length: families::RECORDER_QUEUE.gauge(registry),
            batch_records: families::COMMIT_BATCH.histogram(registry, &BATCH_BUCKETS),
            commit_seconds: families::COMMIT_SECONDS.histogram(registry, &STAGE_BUCKETS),
            durable_wait_seconds: families::DURABLE_SECONDS.histogram(registry, &STAGE_BUCKETS),
            poisoned: families::STORE_POISONED.gauge(registry),
            lease_seconds_left: families::LEASE_SECONDS.float_gauge(registry),
            witness_generation: families::WITNESS_GENERATION.gauge(registry),
        }
    }
}

impl TraceMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let spans = families::TRACE_SPANS.counters(registry);
        let [exported, dropped, failed] =
            ["exported", "dropped", "failed"].map(|outcome| spans.with_label_values(&[outcome]));
        Self { exported, dropped, failed }
    }
}

/// The Markdown table of every metric.
pub fn table() -> String {
    families::markdown()
}
