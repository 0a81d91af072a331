//! What a client counts, readable from any thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::CLASSES;

/// The counters of one client, which alone writes them.
#[derive(Debug, Default)]
pub struct ClientStats {
    /// Connections made.
    pub connects: AtomicU64,
    /// Connects that failed or timed out.
    pub connect_failures: AtomicU64,
    /// Requests sent over a connection that had been used before.
    pub reuses: AtomicU64,
    /// Requests sent again because a reused connection had ended.
    pub retries: AtomicU64,
    /// Calls refused because too many waited.
    pub overloaded: AtomicU64,
    /// Calls whose deadline passed.
    pub timeouts: AtomicU64,
    /// Calls in hand now, of each class.
    pub in_use: [AtomicU64; CLASSES],
    /// Calls that wait for a connection now, of each class.
    pub waiting: [AtomicU64; CLASSES],
    /// Idle connections now.
    pub idle: AtomicU64,
}

pub(super) fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

pub(super) fn set(gauge: &AtomicU64, value: usize) {
    gauge.store(value as u64, Relaxed);
}
