//! How far honest life reaches: the scores of what was released, in half nats.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::bytes::{Reader, Writer};

/// Half nats from -32 to 32.
const BUCKETS: usize = 128;

/// Validator-days that have to be seen before a tail is one.
const DAYS_MIN: f32 = 1_000.0;

/// The scores of released requests that did not come from the key's own source.
#[derive(Debug)]
pub(crate) struct Tail([AtomicU64; BUCKETS]);

/// A score in half nats, as a key's state keeps it until the signature is released.
pub(crate) fn half_nats(odds: f32) -> i8 {
    (odds * 2.0).floor().clamp(-64.0, 63.0) as i8
}

impl Default for Tail {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Tail {
    /// A request of this score, in half nats, was released.
    pub(crate) fn released(&self, half_nats: i8) {
        self.0[(i16::from(half_nats) + 64) as usize % BUCKETS].fetch_add(1, Relaxed);
    }

    /// How many in a million validator-days reach this score, counted as if the next one were
    /// honest too; `None` before enough was seen.
    pub(crate) fn per_million(&self, odds: f32, validator_days: f32) -> Option<f32> {
        let from = (i16::from(half_nats(odds)) + 64) as usize;
        let reached: u64 = self.0[from..].iter().map(|count| count.load(Relaxed)).sum();
        (validator_days >= DAYS_MIN).then(|| (reached as f32 + 1.0) * 1e6 / validator_days)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.0.iter().for_each(|count| out.u64(count.load(Relaxed)));
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let tail = Self::default();
        for count in &tail.0 {
            count.store(from.u64()?, Relaxed);
        }
        Some(tail)
    }
}
