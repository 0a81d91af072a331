//! What the server counts, as plain atomics for whoever exports them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows, or a gauge; each is written by few threads and read by any.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The present value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

/// The counters of one worker, on cache lines of their own: workers never contend for them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerStats {
    /// Connections that are open now, or handed over and about to be.
    pub open: Counter,
    /// Connections that wait for a request now.
    pub idle: Counter,
    /// Requests that are being answered now.
    pub in_flight: Counter,
    /// Connections turned away: no room, and none was idle.
    pub refused: Counter,
    /// Idle connections closed to make room for a new one.
    pub evicted: Counter,
    /// Connections closed because no request came for the idle timeout.
    pub idle_timeouts: Counter,
    /// Connections cut because their handshake did not end.
    pub handshake_timeouts: Counter,
    /// Connections cut in the middle of a request's headers.
    pub head_timeouts: Counter,
    /// Connections cut because the peer did not take its answer.
    pub stall_timeouts: Counter,
    /// Connections that ended with a protocol or transport error.
    pub aborted: Counter,
    /// Rounds of looking for late connections, one each `sweep_interval`: it stands still when the
    /// worker hangs.
    pub sweeps: Counter,
    /// Requests whose headers arrived whole.
    pub requests: Counter,
    /// Requests that panicked.
    pub panics: Counter,
    /// Requests whose connection ended before they were answered; they were finished regardless.
    pub hung_up: Counter,
    /// Bodies refused for their size.
    pub bodies_too_large: Counter,
    /// Bodies that did not arrive in time.
    pub body_timeouts: Counter,
    /// Bodies that broke off.
    pub bodies_incomplete: Counter,
    /// Bodies refused because all bodies together held too much.
    pub bodies_over_budget: Counter,
}

/// The counters of a server.
#[derive(Debug)]
pub struct ServerStats {
    /// Connections accepted.
    pub accepted: Counter,
    /// Calls of accept that failed for want of resources.
    pub accept_errors: Counter,
    workers: Vec<Arc<WorkerStats>>,
}

impl ServerStats {
    /// All at zero, for a server of so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            accepted: Counter::default(),
            accept_errors: Counter::default(),
            workers: (0..workers).map(|_| Arc::default()).collect(),
        }
    }

    /// One counter, added up over the workers: `stats.sum(|worker| &worker.open)`.
    #[must_use]
    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.workers.iter().map(|worker| counter(worker).get()).sum()
    }

    /// The counters of each worker.
    #[must_use]
    pub fn workers(&self) -> &[Arc<WorkerStats>] {
        &self.workers
    }

    pub(super) fn worker(&self, index: usize) -> &Arc<WorkerStats> {
        &self.workers[index]
    }
}
