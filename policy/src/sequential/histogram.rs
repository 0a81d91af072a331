//! Empirical p-values: how many of what was seen before lie as far out as this.

use super::Bytes;

/// Eight buckets an octave, twelve octaves.
const BUCKETS: usize = 96;

/// The octave's eighth is read from the number's own bits: exponent and three bits of mantissa.
const SHIFT: u32 = 20;

/// All counts are halved here: the last few hundred thousand events count, not the first.
const TOTAL_MAX: u32 = 1 << 18;

/// Counts of magnitudes between `2^LOWEST` and `2^(LOWEST + 12)`; beyond, in the outermost buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Histogram<const LOWEST: i32> {
    total: u32,
    counts: [u32; BUCKETS],
}

impl<const LOWEST: i32> Histogram<LOWEST> {
    pub(super) const fn new() -> Self {
        Self { total: 0, counts: [0; BUCKETS] }
    }

    const fn bucket(magnitude: f32) -> usize {
        let lowest = ((127 + LOWEST) as u32) << 3;
        let eighth = (magnitude.to_bits() >> SHIFT).saturating_sub(lowest) as usize;
        if eighth < BUCKETS { eighth } else { BUCKETS - 1 }
    }

    pub(super) const fn total(&self) -> u32 {
        self.total
    }

    /// The share of what was seen that lies at least as far out, this one included: never 0.
    pub(super) fn p_value(&self, magnitude: f32) -> f32 {
        let tail: u32 = self.counts[Self::bucket(magnitude)..].iter().sum();
        (tail + 1) as f32 / (self.total + 1) as f32
    }

    pub(super) fn add(&mut self, magnitude: f32) {
        self.counts[Self::bucket(magnitude)] += 1;
        self.total += 1;
        if self.total >= TOTAL_MAX {
            for count in &mut self.counts {
                *count /= 2;
            }
            self.total = self.counts.iter().sum();
        }
    }

    /// From the first bucket that counts to the last: most are empty.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let first = self.counts.iter().position(|count| *count > 0).unwrap_or(0);
        let end = self.counts.iter().rposition(|count| *count > 0).map_or(first, |last| last + 1);
        out.extend([first as u8, end as u8]);
        for count in &self.counts[first..end] {
            out.extend(count.to_le_bytes());
        }
    }

    pub(super) fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (first, end) = (usize::from(bytes.u8()?), usize::from(bytes.u8()?));
        let mut histogram = Self::new();
        for count in histogram.counts.get_mut(first..end)? {
            *count = bytes.u32()?;
            histogram.total = histogram.total.checked_add(*count)?;
        }
        (histogram.total < TOTAL_MAX).then_some(histogram)
    }
}
