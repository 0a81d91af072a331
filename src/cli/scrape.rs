//! Brings the gauges up to date before they are read.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use prometheus::core::{Atomic, GenericCounter};
use slashing_db::Stats;

use crate::clock::{self, ClockHealth};
use crate::limits::DutyClass;
use crate::metrics::Metrics;
use crate::response::quarantine::{Quarantine, Scope};
use crate::server::stats::ServerStats;
use crate::sign::Gate;
use crate::upstream::discovery::Discovery;

/// Where the figures are that nobody pushes.
pub(super) struct Scrape {
    gate: Weak<Gate>, // the gate holds the metrics, which hold this
    discovery: Arc<Discovery>,
    server: Arc<ServerStats>,
    recorder: Mutex<Stats>, // as of the last scrape
}

fn quarantines(metrics: &Metrics, gate: &Gate) {
    let in_force = gate.response.quarantines.in_force();
    for kind in Scope::KINDS {
        let count = in_force.iter().filter(|one| one.scope.kind() == kind).count();
        metrics.response.quarantines.with_label_values(&[kind]).set(gauge(count as u64));
    }
    for group in gate.judgement.group_names() {
        let is_fence = |one: &&Arc<Quarantine>| {
            one.scope.kind() == "source" && one.scope.group() == Some(&group)
        };
        let count = in_force.iter().filter(is_fence).count();
        metrics.response.breaker.with_label_values(&[&group]).set(gauge(count as u64));
    }
}

impl Scrape {
    pub(super) fn new(
        gate: Weak<Gate>,
        discovery: Arc<Discovery>,
        server: Arc<ServerStats>,
    ) -> Self {
        Self { gate, discovery, server, recorder: Mutex::default() }
    }

    pub(super) fn update(&self, metrics: &Metrics) {
        let Some(gate) = self.gate.upgrade() else { return };
        let counts = gate.validators.counts();
        for (status, count) in [
            ("enabled", counts.enabled),
            ("disabled", counts.disabled),
            ("halted", counts.halted),
            ("awaiting", counts.awaiting),
        ] {
            metrics.keys.with_label_values(&[status]).set(gauge(count));
        }
        metrics.web3signer.signers_loaded.set(gauge(counts.enabled));
        let synchronised = clock::health() == ClockHealth::Synchronised;
        metrics.clock_synchronised.set(i64::from(synchronised));
        for class in DutyClass::ALL {
            metrics.in_flight(class).set(gauge(gate.admission.under_way_of(class) as u64));
        }
        quarantines(metrics, &gate);
        self.signers();
        metrics.verify.queue_length.set(gauge(gate.verifier.queue_length() as u64));
        self.store(metrics, &gate);
        let audit = &gate.response.audit;
        metrics.audit.queue_length.set(gauge(audit.queue_length() as u64));
        metrics.audit.blocked.set(i64::from(audit.is_blocked()));
        self.connections(metrics);
        gate.response.events.update_metrics();
    }

    fn store(&self, metrics: &Metrics, gate: &Gate) {
        let now = gate.clock.now().boot;
        let left_ns = gate.store.lease_end().0.saturating_sub(now.0);
        metrics.store.lease_seconds_left.set(left_ns as f64 / 1e9);
        metrics.store.poisoned.set(i64::from(gate.store.poisoned().is_some()));
        let generation = gate.store.identity().local.claim.generation;
        metrics.store.witness_generation.set(gauge(generation));
        let stats = gate.recorder.stats();
        metrics.store.queue_length.set(gauge(stats.places_taken as u64));
        let mut last = self.recorder.lock();
        replay(&metrics.store.batch_records, &last.batch_entries, &stats.batch_entries, 1.0);
        replay(&metrics.store.commit_seconds, &last.commit_us, &stats.commit_us, 1e-6);
        replay(&metrics.store.durable_wait_seconds, &last.wait_us, &stats.wait_us, 1e-6);
        *last = stats;
    }

    fn signers(&self) {
        for replica in self.discovery.signers().replicas() {
            let metrics = &replica.metrics;
            metrics.up.set(i64::from(replica.is_healthy()));
            raise(&metrics.retries, replica.sum(|stats| stats.retries.load(Relaxed)));
            let all = |counts: &[AtomicU64]| counts.iter().map(|count| count.load(Relaxed)).sum();
            metrics.in_use.set(gauge(replica.sum(|stats| all(&stats.in_use))));
            metrics.waiting.set(gauge(replica.sum(|stats| all(&stats.waiting))));
            metrics.idle.set(gauge(replica.sum(|stats| stats.idle.load(Relaxed))));
        }
    }

    fn connections(&self, metrics: &Metrics) {
        let open = self.server.sum(|worker| &worker.open);
        let idle = self.server.sum(|worker| &worker.idle);
        metrics.connections_idle.set(gauge(idle));
        metrics.connections_active.set(gauge(open.saturating_sub(idle)));
        raise(&metrics.connections_refused, self.server.sum(|worker| &worker.refused));
        let (pool, begun) = (&metrics.web3signer, self.server.sum(|worker| &worker.requests));
        let under_way = self.server.sum(|worker| &worker.in_flight);
        raise(&pool.pool_submitted, begun);
        raise(&pool.pool_completed, begun.saturating_sub(under_way));
        let refused = DutyClass::ALL.iter().map(|class| metrics.overloaded(*class).get()).sum();
        raise(&pool.pool_rejected, refused);
    }
}

/// Adds to `histogram` what the recorder counted since the last scrape, each value as the upper end
/// of its bucket (the recorder counts by powers of two).
fn replay(
    histogram: &prometheus::Histogram,
    last: &slashing_db::Histogram,
    now: &slashing_db::Histogram,
    unit: f64,
) {
    for (power, (now, last)) in now.buckets.iter().zip(&last.buckets).enumerate() {
        let power = i32::try_from(power).unwrap_or(i32::MAX);
        for _ in 0..now.saturating_sub(*last).min(REPLAYED_MAX) {
            histogram.observe(2f64.powi(power) * unit);
        }
    }
}

fn raise<P: Atomic<T = u64>>(counter: &GenericCounter<P>, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A scrape that was long in coming must not hold the metrics' thread for long.
const REPLAYED_MAX: u64 = 1_000_000;
