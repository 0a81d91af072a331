//! Bets that something has left its usual place: earlier or later, by a little or by a lot.
//!
//! A p-value asks only how far out a slot is, so a shift that stays within what single slots show
//! now and then (100 ms, where blocks are seen 60 to 250 ms after they come) is nothing to it, and
//! neither is any shift at all for hours after a larger one has put its own slots into the tail.
//! These bets ask how much more usual the slot would be if everything stood elsewhere: for each
//! range of shifts, its likelihood with the null moved by each of them over its likelihood. Under
//! the null that is at most 1 on average, whatever the null looks like.

use super::{Bytes, step};

/// Bins on both sides of the usual place; beyond, in the outermost ones.
const BINS: usize = 256;
const MIDDLE: usize = BINS / 2;

/// The width of a bin, in milliseconds.
const BIN_MS: f32 = 8.0;

/// All counts are halved here: a week of slots, so that hours of a shift are little of it.
const TOTAL_MAX: u32 = 1 << 16;

/// Shifts in bins, from and until, that are bet on together, later and earlier: 48 to 64 ms, and so
/// on to 1,024. They are narrow, so that a shift that was there before, and has a peak of its own
/// in the null since, is one again: a broad bet would pay less than the peak takes.
const RANGES: [(usize, usize); 11] = [
    (6, 8),
    (8, 10),
    (10, 13),
    (13, 17),
    (17, 22),
    (22, 29),
    (29, 38),
    (38, 50),
    (50, 65),
    (65, 85),
    (85, 128),
];

/// The bets of a slot: each range, later and earlier.
pub(super) const BETS: usize = RANGES.len() * 2;

/// What is not staked: what one contrary slot leaves.
const KEPT: f32 = 0.1;

/// What one slot may say, in nats: as much as the smallest p' of the test, 1e-3. No fewer than six
/// slots are enough evidence.
const LN_E_MAX: f32 = 2.76;

/// Where a source has stood against its usual place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shifts {
    total: u32,
    counts: [u16; BINS],
}

impl Shifts {
    pub(super) const fn new() -> Self {
        Self { total: 0, counts: [0; BINS] }
    }

    /// The bin of so many milliseconds after the usual place.
    fn bin(off_ms: f32) -> usize {
        let bin = (off_ms / BIN_MS).floor() + MIDDLE as f32;
        bin.clamp(0.0, (BINS - 1) as f32) as usize
    }

    /// The usual place: as many slots were before it as after.
    pub(super) fn median_ms(&self) -> f32 {
        let mut below = 0;
        let middle = self.counts.iter().position(|count| {
            below += u32::from(*count);
            below * 2 >= self.total
        });
        (middle.unwrap_or(MIDDLE) as f32 - MIDDLE as f32 + 0.5) * BIN_MS
    }

    pub(super) fn add(&mut self, off_ms: f32) {
        self.counts[Self::bin(off_ms)] += 1;
        self.total += 1;
        if self.total >= TOTAL_MAX {
            for count in &mut self.counts {
                *count /= 2;
            }
            self.total = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
    }

    /// The share of what was seen that lies in the same bin.
    #[cfg(test)]
    pub(super) fn share(&self, off_ms: f32) -> f32 {
        f32::from(self.counts[Self::bin(off_ms)]) / self.total as f32
    }

    /// The bets on a slot, e for each range of shifts. What was seen of its like is the most that
    /// was seen in its bin or in one beside it, so that nothing hangs on where bins begin, and
    /// one: the slot itself.
    pub(super) fn bets(&self, off_ms: f32) -> [f32; BETS] {
        let bin = Self::bin(off_ms);
        let alike = &self.counts[bin.saturating_sub(1)..(bin + 2).min(BINS)];
        let alike = f32::from(alike.iter().copied().max().unwrap_or(0)) + 1.0;
        let seen = |bins: std::ops::Range<usize>| {
            self.counts[bins].iter().map(|count| f32::from(*count)).sum::<f32>()
        };
        let mut bets = [0.0; BETS];
        for (pair, (from, until)) in bets.chunks_exact_mut(2).zip(RANGES) {
            let shifts = (until - from) as f32;
            let later = (bin + 1).saturating_sub(until)..(bin + 1).saturating_sub(from);
            let earlier = (bin + from).min(BINS)..(bin + until).min(BINS);
            for (bet, from_where) in pair.iter_mut().zip([later, earlier]) {
                *bet = KEPT + (1.0 - KEPT) * seen(from_where) / (shifts * alike);
            }
        }
        bets
    }

    /// The evidence after one more slot, bet by bet.
    pub(super) fn step(&self, ln_s: &mut [f32; BETS], off_ms: f32) {
        for (ln_s, bet) in ln_s.iter_mut().zip(self.bets(off_ms)) {
            *ln_s = step(*ln_s, bet.ln().min(LN_E_MAX));
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let first = self.counts.iter().position(|count| *count > 0).unwrap_or(0);
        let end = self.counts.iter().rposition(|count| *count > 0).map_or(first, |last| last + 1);
        out.extend([first as u16, end as u16].map(u16::to_le_bytes).as_flattened());
        for count in &self.counts[first..end] {
            out.extend(count.to_le_bytes());
        }
    }

    pub(super) fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (first, end) = (usize::from(bytes.u16()?), usize::from(bytes.u16()?));
        let mut shifts = Self::new();
        for count in shifts.counts.get_mut(first..end)? {
            *count = bytes.u16()?;
            shifts.total += u32::from(*count);
        }
        (shifts.total < TOTAL_MAX).then_some(shifts)
    }
}

/// What the bets say together: the same stake is on each.
pub(super) fn together(ln_s: &[f32; BETS]) -> f32 {
    let sum: f32 = ln_s.iter().map(|ln_s| ln_s.exp()).sum();
    (sum / BETS as f32).ln().max(0.0)
}
