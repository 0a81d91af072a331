//! What the duties of a client say of the time. It changes what is said of the clocks, and never a
//! bound: who could move our clock by asking for something could have anything signed.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};

use crate::clock::{Now, SlotClock};
use crate::eth::Slot;

/// The last duties of one client, held against the gate's clock.
#[derive(Debug, Default)]
pub struct Testimony {
    /// By how many milliseconds each lay outside its slot: less than 0, it came too early.
    outside_ms: [AtomicI64; KEPT],
    noted: AtomicU32,
}

impl Testimony {
    /// Notes a duty that is for `slot` and was asked for at `now`.
    pub fn note(&self, slots: &SlotClock, slot: Slot, now: Now) {
        let start_ms = slots.start_unix_ns(slot) / 1_000_000;
        let slot_ms = u64::try_from(slots.slot_duration().as_millis()).unwrap_or(u64::MAX);
        let now_ms = now.unix_ns / 1_000_000;
        let early = start_ms.saturating_sub(now_ms).saturating_sub(DISPARITY_MS);
        let late = now_ms.saturating_sub(start_ms.saturating_add(slot_ms + DISPARITY_MS));
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let place = self.noted.fetch_add(1, Relaxed) as usize % KEPT;
        self.outside_ms[place].store(signed(late) - signed(early), Relaxed);
    }

    /// As [`take`](Self::take), and leaves it there.
    pub fn look(&self) -> Option<i64> {
        let noted = self.noted.load(Relaxed) as usize;
        let mut outside: Vec<i64> =
            self.outside_ms.iter().take(noted).map(|ms| ms.load(Relaxed)).collect();
        (noted >= NOTED_MIN).then(|| median(&mut outside))
    }

    /// The median of what was noted since the last call; `None` if that is too little to go by.
    pub fn take(&self) -> Option<i64> {
        let noted = self.noted.swap(0, Relaxed) as usize;
        let mut outside: Vec<i64> =
            self.outside_ms.iter().take(noted).map(|ms| ms.load(Relaxed)).collect();
        (noted >= NOTED_MIN).then(|| median(&mut outside))
    }
}

/// The middle one of `values`, of which there is one at least.
pub(super) fn median(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The gossip rules' `MAXIMUM_GOSSIP_CLOCK_DISPARITY`, in milliseconds.
const DISPARITY_MS: u64 = 500;
const KEPT: usize = 32;
const NOTED_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Rig, at};

    #[test]
    fn a_client_that_keeps_our_time_says_nothing() {
        let (slots, testimony) = (Rig::new().slots, Testimony::default());
        for slot in 100..100 + NOTED_MIN as u64 - 1 {
            testimony.note(&slots, Slot(slot), at(slot, 4_000));
        }
        assert_eq!(testimony.take(), None, "too little to go by");
        for slot in 100..140 {
            testimony.note(&slots, Slot(slot), at(slot, 4_000));
        }
        testimony.note(&slots, Slot(141), at(100, 0)); // one that is far off moves no median
        assert_eq!(testimony.take(), Some(0));
        assert_eq!(testimony.take(), None, "each duty testifies once");
    }

    #[test]
    fn all_duties_early_or_late_by_one_measure_are_a_clock_that_is_off() {
        let (slots, testimony) = (Rig::new().slots, Testimony::default());
        for slot in 100..110 {
            testimony.note(&slots, Slot(slot + 2), at(slot, 4_000));
        }
        assert_eq!(testimony.take(), Some(-19_500));
        for slot in 100..110 {
            testimony.note(&slots, Slot(slot), at(slot + 2, 4_000));
        }
        assert_eq!(testimony.take(), Some(15_500));
    }
}
