//! How much work the gate takes on at once, and of which class.
//!
//! One count of what is under way, and a share of it for each class: a flood of the lowest class
//! meets its own ceiling while the highest still has all the room above.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::eth::DutyKind;
use crate::limits::{DutyClass, Limits};

#[cfg(test)]
mod tests;

/// Counts the requests under way.
#[derive(Debug)]
pub struct Admission {
    under_way: AtomicUsize,
    by_class: [AtomicUsize; DutyClass::ALL.len()],
    ceilings: [usize; DutyClass::ALL.len()],
}

/// Room for one request; dropping it makes the room free again.
#[derive(Debug)]
pub struct Admitted<'a>(&'a Admission, DutyClass);

impl Admission {
    /// As many at once as `limits` says, of which a class may use what its ceiling leaves it.
    pub fn new(limits: &Limits) -> Self {
        let ceilings = DutyClass::ALL.map(|class| limits.in_flight_ceiling(class));
        Self { under_way: AtomicUsize::new(0), by_class: Default::default(), ceilings }
    }

    /// Takes room for one request of `class`; `None` when the class has used its share.
    pub fn admit(&self, class: DutyClass) -> Option<Admitted<'_>> {
        let ceiling = self.ceilings[class as usize];
        let admit = |now| (now < ceiling).then_some(now + 1);
        self.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, admit).ok()?;
        self.by_class[class as usize].fetch_add(1, Ordering::Relaxed);
        Some(Admitted(self, class))
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// How many of `class` are under way.
    pub fn under_way_of(&self, class: DutyClass) -> usize {
        self.by_class[class as usize].load(Ordering::Relaxed)
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.by_class[self.1 as usize].fetch_sub(1, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How urgent a duty is.
pub fn class_of(kind: DutyKind) -> DutyClass {
    match kind {
        DutyKind::Block | DutyKind::BlockV2 | DutyKind::RandaoReveal => DutyClass::Proposal,
        DutyKind::Attestation | DutyKind::SyncCommitteeMessage => DutyClass::Attestation,
        DutyKind::AggregateAndProof
        | DutyKind::AggregateAndProofV2
        | DutyKind::SyncCommitteeContributionAndProof => DutyClass::Aggregate,
        DutyKind::AggregationSlot | DutyKind::SyncCommitteeSelectionProof => {
            DutyClass::SelectionProof
        }
        DutyKind::ValidatorRegistration | DutyKind::VoluntaryExit | DutyKind::Deposit => {
            DutyClass::Registration
        }
    }
}
