//! What follows from verdicts, in figures.

use prometheus::{Histogram, IntGaugeVec, Registry};

use super::families;

/// What follows from verdicts.
pub struct ResponseMetrics {
    /// Quarantines in force, by scope.
    pub quarantines: IntGaugeVec,
    /// Sources that are fenced off, by key group.
    pub breaker: IntGaugeVec,
    /// From a verdict to a quarantine in force, in seconds.
    pub containment: Histogram,
}

impl ResponseMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let (quarantines, breaker) =
            (families::QUARANTINES.gauges(registry), families::BREAKER.gauges(registry));
        for scope in SCOPES {
            quarantines.with_label_values(&[scope]).set(0);
        }
        breaker.with_label_values(&["default"]).set(0);
        Self {
            quarantines,
            breaker,
            containment: families::CONTAINMENT.histogram(registry, &BUCKETS),
        }
    }
}

/// Up to what is promised (5 ms), and beyond.
const BUCKETS: [f64; 10] = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1.0];
/// The values of the label `scope`.
pub const SCOPES: [&str; 7] =
    ["pair", "key", "key_exits", "cohort_exits", "client", "cohort", "source"];
