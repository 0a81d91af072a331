//! Which set of signers has a key.
//!
//! Learned, not configured: from the complete key lists of the signers, and from a signature that a
//! set gave. A key keeps its set for as long as that set lists it; a second set that lists it too is
//! an alarm, and changes nothing. A key that left its set goes to the first set, in the order of the
//! configuration, that lists it. Nothing of this is on disk: after a restart a key whose set has not
//! answered yet is asked for at the sets that have not been read, then at the others, and the
//! first signature says where it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::validators::RowIndex;

#[cfg(test)]
mod tests;

/// The place of a set in the configuration.
pub type SetIndex = usize;

/// A key that two sets list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoSets {
    /// The set that it keeps.
    pub kept: SetIndex,
}

/// See the module. Shared by all cores.
#[derive(Debug)]
pub struct Routing {
    /// By row of the key table: the set plus one, or 0.
    sets: ArcSwap<Box<[AtomicU8]>>,
    growth: Mutex<()>,
    read: Box<[AtomicBool]>,
}

impl Routing {
    /// Nothing learned yet of `sets` sets.
    pub fn new(sets: usize) -> Self {
        Self {
            sets: ArcSwap::from_pointee(Box::default()),
            growth: Mutex::new(()),
            read: (0..sets).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// The set of the key in `row`, if it is known.
    pub fn set_of(&self, row: RowIndex) -> Option<SetIndex> {
        if self.read.len() == 1 {
            return Some(0);
        }
        let sets = self.sets.load();
        let set = sets.get(row.place())?.load(Ordering::Relaxed);
        usize::from(set).checked_sub(1)
    }

    /// The key in `row` is at `set`, from now on.
    pub fn learn(&self, row: RowIndex, set: SetIndex) {
        if self.read.len() > 1 {
            self.store(row, mark(set));
        }
    }

    /// `set` lists the key in `row`; `still_lists` says of a set whether it lists the key too.
    ///
    /// # Errors
    /// When another set has it.
    pub fn listed(
        &self,
        row: RowIndex,
        set: SetIndex,
        still_lists: impl FnOnce(SetIndex) -> bool,
    ) -> Result<(), TwoSets> {
        match self.set_of(row) {
            Some(kept) if kept != set && still_lists(kept) => Err(TwoSets { kept }),
            Some(kept) if kept == set => Ok(()),
            Some(_) | None => {
                self.learn(row, set);
                Ok(())
            }
        }
    }

    /// The key list of `set` was read, whole.
    pub fn note_read(&self, set: SetIndex) {
        self.read[set].store(true, Ordering::Relaxed);
    }

    /// Whether the key list of `set` was ever read.
    pub fn is_read(&self, set: SetIndex) -> bool {
        self.read[set].load(Ordering::Relaxed)
    }

    /// Whether the key lists of all sets were read.
    pub fn all_read(&self) -> bool {
        (0..self.read.len()).all(|set| self.is_read(set))
    }

    /// The sets in the order in which they are asked for the key in `row`: its own, or else those
    /// whose keys are not known, and then all the others.
    pub fn candidates(&self, row: RowIndex) -> impl Iterator<Item = SetIndex> {
        let own = self.set_of(row);
        let others = move |read: bool| {
            let sets = 0..self.read.len();
            sets.filter(move |set| Some(*set) != own && self.is_read(*set) == read)
        };
        own.into_iter().chain(others(false)).chain(others(true))
    }

    fn store(&self, row: RowIndex, mark: u8) {
        let place = row.place();
        let _one_at_a_time = self.growth.lock(); // else a mark is lost while the table is copied
        let sets = self.sets.load_full();
        if let Some(slot) = sets.get(place) {
            slot.store(mark, Ordering::Relaxed);
            return;
        }
        let len = (place + 1).next_power_of_two().max(LEN_MIN);
        let copied = sets.iter().map(|slot| AtomicU8::new(slot.load(Ordering::Relaxed)));
        let grown: Box<[AtomicU8]> =
            copied.chain(std::iter::repeat_with(AtomicU8::default)).take(len).collect();
        grown[place].store(mark, Ordering::Relaxed);
        self.sets.store(Arc::new(grown));
    }
}

fn mark(set: SetIndex) -> u8 {
    u8::try_from(set + 1).expect("the configuration allows 64 sets")
}

const LEN_MIN: usize = 1_024;
