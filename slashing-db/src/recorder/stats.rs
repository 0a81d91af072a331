//! What the recorder measures of itself, as plain numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of a [`Histogram`].
pub const BUCKETS: usize = 24;

/// Counts by powers of two: bucket `i` holds the values up to `2^i` that no lower bucket holds, the
/// last bucket all above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many values fell into each bucket.
    pub buckets: [u64; BUCKETS],
    /// The sum of all values.
    pub sum: u64,
}

/// A snapshot of the recorder's figures, since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Places taken now: reserved, waiting or being written.
    pub places_taken: usize,
    /// Places in all.
    pub places_max: usize,
    /// Requests by the size of their batch.
    pub batch_entries: Histogram,
    /// Durations of commits, in microseconds.
    pub commit_us: Histogram,
    /// Times from hand-over to durability, in microseconds.
    pub wait_us: Histogram,
}

#[derive(Debug, Default)]
pub(crate) struct Counter {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Counter {
    pub(crate) fn add(&self, value: u64) {
        let bits = u64::BITS - value.saturating_sub(1).leading_zeros();
        let bucket = usize::try_from(bits).map_or(BUCKETS - 1, |bits| bits.min(BUCKETS - 1));
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn add_us(&self, duration: Duration) {
        self.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        let buckets = std::array::from_fn(|i| self.buckets[i].load(Ordering::Relaxed));
        Histogram { buckets, sum: self.sum.load(Ordering::Relaxed) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batch_entries: Counter,
    pub(crate) commit_us: Counter,
    pub(crate) wait_us: Counter,
}
