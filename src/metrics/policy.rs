//! What step 6 has to say, in figures.

use prometheus::{Gauge, IntCounter, IntCounterVec, Registry};

use super::families;

/// What step 6 has to say.
pub struct PolicyMetrics {
    /// Findings, by rule, mode and key group.
    pub findings: IntCounterVec,
    /// Alarms about more than one key, by rule.
    pub alarms: IntCounterVec,
    /// By how much the clients' duties say that the clocks differ, in seconds.
    pub clock_disagreement: Gauge,
    /// Events that a recording does not have.
    pub recording_dropped: IntCounter,
    levels: [IntCounter; LEVELS.len()],
}

impl PolicyMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let levels = families::POLICY_LEVEL.counters(registry);
        Self {
            findings: families::POLICY_FINDINGS.counters(registry),
            alarms: families::POLICY_ALARMS.counters(registry),
            clock_disagreement: families::CLOCK_DISAGREEMENT.float_gauge(registry),
            recording_dropped: families::POLICY_RECORDING_DROPPED.counter(registry),
            levels: LEVELS.map(|level| levels.with_label_values(&[level])),
        }
    }

    /// Judgements of a level, by its place in [`LEVELS`].
    pub fn level(&self, place: usize) -> &IntCounter {
        &self.levels[place]
    }
}

/// The values of the label `level`, in ascending order.
pub const LEVELS: [&str; 6] = ["observe", "alert", "hold", "refuse", "quarantine", "halt_rotation"];
