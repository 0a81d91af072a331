//! The audit log, in figures.

use std::time::Duration;

use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge, Registry};

use super::{STAGE_BUCKETS, families};

/// The audit log. Its clones count together.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    /// Records on disk.
    pub records: IntCounter,
    /// Decisions that are not.
    pub queue_length: IntGauge,
    /// Seconds of one write with its sync.
    pub sync_seconds: Histogram,
    /// 1 while nothing is taken on.
    pub blocked: IntGauge,
    /// Decisions about enrolled keys that the log does not have.
    pub unrecorded: IntCounter,
    /// Checkpoints that could not be kept elsewhere.
    pub anchors_failed: IntCounter,
    /// Which part of the disk is free.
    pub space_left: Gauge,
    cpu_seconds: Counter,
}

impl AuditMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            records: families::AUDIT_RECORDS.counter(registry),
            queue_length: families::AUDIT_QUEUE.gauge(registry),
            sync_seconds: families::AUDIT_SYNC_SECONDS.histogram(registry, &STAGE_BUCKETS),
            blocked: families::AUDIT_BLOCKED.gauge(registry),
            unrecorded: families::AUDIT_UNRECORDED.counter(registry),
            anchors_failed: families::AUDIT_ANCHORS_FAILED.counter(registry),
            space_left: families::AUDIT_SPACE_LEFT.float_gauge(registry),
            cpu_seconds: families::AUDIT_CPU.float_counter(registry),
        }
    }

    /// In a registry that nobody reads.
    pub fn unregistered() -> Self {
        Self::new(&Registry::new())
    }

    /// What the thread that writes has used so far.
    pub fn count_cpu(&self, used: Duration) {
        self.cpu_seconds.inc_by((used.as_secs_f64() - self.cpu_seconds.get()).max(0.0));
    }
}
