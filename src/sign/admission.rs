//! How much work the gate takes on at once, and of which class.
//!
//! One count of what is under way, and a share of it for each class: a flood of the lowest class
//! meets its own ceiling while the highest still has all the room above.
//!
//! That bounds what waits. What is worked on is bounded on each core by [`Turns`]: even a refusal
//! costs time, and whoever is refused at once comes back at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

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

/// The order in which one core works through what is not urgent.
///
/// A core serves in rounds whoever is ready. A duty needs several of them, and a flood makes each
/// as long as the flood is wide, be it only to refuse it. So of the two lowest classes few are
/// worked on in a round; the others wait here, first come first served, and so do the clients
/// behind them.
#[derive(Debug)]
pub struct Turns {
    selection_proofs: Semaphore,
    registrations: Semaphore,
}

/// The right to be worked on now, where one is needed; dropping it lets the next one in.
#[derive(Debug)]
#[must_use]
pub struct Turn<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            selection_proofs: Semaphore::new(SELECTION_PROOFS_PER_ROUND),
            registrations: Semaphore::new(REGISTRATIONS_PER_ROUND),
        }
    }
}

impl Turns {
    /// Waits for a turn of `class`, at once for the urgent ones. `None` when none came until
    /// `deadline`.
    pub async fn wait(&self, class: DutyClass, deadline: Instant) -> Option<Turn<'_>> {
        let turns = match class {
            DutyClass::Proposal | DutyClass::Attestation | DutyClass::Aggregate => {
                return Some(Turn { _permit: None });
            }
            DutyClass::SelectionProof => &self.selection_proofs,
            DutyClass::Registration => &self.registrations,
        };
        let turn = match turns.try_acquire() {
            Ok(turn) => turn,
            // It is never closed.
            Err(_) => timeout_at(deadline, turns.acquire()).await.ok()?.ok()?,
        };
        // What is done with it is done at once. Held from one round to the next, it is not free
        // again for whoever else is ready in this one.
        yield_now().await;
        Some(Turn { _permit: Some(turn) })
    }
}

/// A round with so many takes less than a millisecond.
const SELECTION_PROOFS_PER_ROUND: usize = 16;
const REGISTRATIONS_PER_ROUND: usize = 8;

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
