//! Brings the gauges up to date before they are read.

use slashing_db::{Histogram, Store};

use crate::clock::{self, ClockHealth};
use crate::metrics::Metrics;
use crate::sign::Gate;

pub(super) fn update(metrics: &Metrics, gate: &Gate, store: Option<&Store>) {
    let counts = gate.validators.counts();
    for (status, count) in [
        ("enabled", counts.enabled),
        ("disabled", counts.disabled),
        ("halted", counts.halted),
        ("awaiting", counts.awaiting),
    ] {
        metrics.keys.with_label_values(&[status]).set(as_gauge(count));
    }
    metrics.web3signer.signers_loaded.set(as_gauge(counts.enabled));
    let synchronised = clock::health() == ClockHealth::Synchronised;
    metrics.clock_synchronised.set(i64::from(synchronised));
}

fn as_gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
