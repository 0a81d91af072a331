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
        Self {
            quarantines: families::QUARANTINES.gauges(registry),
            breaker: families::BREAKER.gauges(registry),
            containment: families::CONTAINMENT.histogram(registry, &BUCKETS),
        }
    }
}

/// Up to what is promised (5 ms), and beyond.
const BUCKETS: [f64; 10] = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1.0];
