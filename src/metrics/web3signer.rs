//! The names that Web3Signer's dashboards read, filled with what they mean here.
//!
//! Left out: `jvm_*`, because there is no JVM, and `http_vertx_worker_queue_delay`, which no
//! dashboard of Web3Signer's shows.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Metric, MetricFamily, MetricType};
use prometheus::{IntCounter, IntGauge, Registry};

use super::families::{self, Family};
use super::summary::{self, Summary};

/// Vert.x' own name for the pool that Web3Signer signs on, for queries that filter by it.
const POOL: [&str; 2] = ["worker", "vert.x-worker-thread"];

/// The names that Web3Signer's dashboards read.
pub struct Web3SignerMetrics {
    /// Keys that can be signed with.
    pub signers_loaded: IntGauge,
    /// Requests for a key that is not here.
    pub missing_identifier: IntCounter,
    /// Requests that could not be read.
    pub malformed: IntCounter,
    /// Requests that slashing protection let pass.
    pub permitted: IntCounter,
    /// Requests refused as slashable.
    pub prevented: IntCounter,
    /// Seconds until a block was recorded.
    pub block_recorded: Summary,
    /// Seconds until an attestation was recorded.
    pub attestation_recorded: Summary,
    /// Requests that a worker has begun.
    pub pool_submitted: IntCounter,
    /// Requests that a worker has ended.
    pub pool_completed: IntCounter,
    /// Requests refused at once because there was no room.
    pub pool_rejected: IntCounter,
    pub(super) signing: Summary,
}

impl Web3SignerMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let (signing, block, attestation) = Default::default();
        summary::register(registry, &families::BLS_SIGNING, &[(&[], &signing)]);
        summary::register(registry, &families::POOL_USAGE, &[(&POOL, &signing)]);
        let recorded = [(&["block"][..], &block), (&["attestation"][..], &attestation)];
        summary::register(registry, &families::DATABASE, &recorded);
        let pool = |family: Family| family.counters(registry).with_label_values(&POOL);
        let metrics = Self {
            signers_loaded: families::SIGNERS_LOADED.gauge(registry),
            missing_identifier: families::MISSING_IDENTIFIER.counter(registry),
            malformed: families::MALFORMED.counter(registry),
            permitted: families::PERMITTED.counter(registry),
            prevented: families::PREVENTED.counter(registry),
            block_recorded: block,
            attestation_recorded: attestation,
            pool_submitted: pool(families::POOL_SUBMITTED),
            pool_completed: pool(families::POOL_COMPLETED),
            pool_rejected: pool(families::POOL_REJECTED),
            signing,
        };
        for (family, counter) in [
            (&families::MISSING_IDENTIFIER_OLD, &metrics.missing_identifier),
            (&families::MALFORMED_OLD, &metrics.malformed),
            (&families::PREVENTED_OLD, &metrics.prevented),
        ] {
            register_old_name(registry, family, counter);
        }
        metrics
    }
}

/// A counter under the name that it had before Web3Signer 24.6.0: the dashboards that people
/// imported then still ask for it.
struct OldName {
    family: &'static Family,
    desc: Desc,
    counter: IntCounter,
}

fn register_old_name(registry: &Registry, family: &'static Family, counter: &IntCounter) {
    let (name, help) = (family.name.to_owned(), family.help.to_owned());
    let desc = Desc::new(name, help, Vec::new(), Default::default());
    let desc = desc.expect("names of the table are valid");
    let counter = counter.clone();
    registry
        .register(Box::new(OldName { family, desc, counter }))
        .expect("each family is registered once");
}

impl Collector for OldName {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut value = Counter::default();
        value.set_value(self.counter.get() as f64);
        let mut metric = Metric::default();
        metric.set_counter(value);
        let mut family = MetricFamily::default();
        family.set_name(self.family.name.to_owned());
        family.set_help(self.family.help.to_owned());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(vec![metric]);
        vec![family]
    }
}
