//! What waits to be verified: by root, so that a thread takes all of one root at once.
//!
//! There is no timer. While the threads are busy more signatures come in, and the next batch is
//! larger: alone a signature waits for nobody, and under load the batches grow until the threads
//! keep up.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use parking_lot::{Condvar, Mutex};
use slashing_db::KeyId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Defect;
use crate::clock::Stopwatch;
use crate::eth::{PublicKey, Signature, SigningRoot};
use crate::limits::DutyClass;

/// One signature, and who waits for the verdict on it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) key_id: KeyId,
    pub(super) key: PublicKey,
    pub(super) signature: Signature,
    pub(super) since: Stopwatch,
    /// Dropped without a word when the verification itself fails.
    pub(super) verdict: oneshot::Sender<Result<(), Defect>>,
    /// Its place among those that may wait.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

/// Signatures over one root, to be verified together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) root: SigningRoot,
    pub(super) waiting: Vec<Waiting>,
}

/// Which signatures may share a batch. A root belongs to one type of duty, and so to one class.
/// Those of a signer that lied lately keep to themselves: to find the bad ones takes time, which
/// the honest ones need not wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) class: DutyClass,
    pub(super) suspect: bool,
    pub(super) root: SigningRoot,
}

/// The order in which they are taken: by class, the oldest root first.
type Turn = (DutyClass, bool, u64);

#[derive(Debug, Default)]
struct Lanes {
    waiting: HashMap<Lane, (Turn, Vec<Waiting>)>,
    turns: BTreeMap<Turn, Lane>,
    next: u64,
    closed: bool,
}

/// The queue between the signing path and the threads that verify.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    arrived: Condvar,
}

impl Queue {
    pub(super) fn push(&self, lane: Lane, waiting: Waiting) {
        let mut lanes = self.lanes.lock();
        let Lanes { waiting: held, turns, next, closed } = &mut *lanes;
        if *closed {
            return; // dropped, and its waiter is told so
        }
        match held.entry(lane) {
            Entry::Occupied(mut entry) => entry.get_mut().1.push(waiting),
            Entry::Vacant(entry) => {
                let turn = (lane.class, lane.suspect, *next);
                *next += 1;
                turns.insert(turn, lane);
                entry.insert((turn, vec![waiting]));
                drop(lanes);
                self.arrived.notify_one();
            }
        }
    }

    /// Waits for work; `None` when the queue was closed.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut lanes = self.lanes.lock();
        loop {
            if lanes.closed {
                return None;
            }
            if let Some(batch) = lanes.take_first() {
                return Some(batch);
            }
            self.arrived.wait(&mut lanes);
        }
    }

    /// Ends the threads; what still waits is dropped, and its waiters are told so.
    pub(super) fn close(&self) {
        let mut lanes = self.lanes.lock();
        *lanes = Lanes { closed: true, ..Lanes::default() };
        drop(lanes);
        self.arrived.notify_all();
    }

    /// How many signatures wait.
    pub(super) fn len(&self) -> usize {
        self.lanes.lock().waiting.values().map(|(_, waiting)| waiting.len()).sum()
    }
}

impl Lanes {
    /// All that waits of the lane whose turn it is, up to the largest batch.
    fn take_first(&mut self) -> Option<Batch> {
        let (&turn, &lane) = self.turns.first_key_value()?;
        let Entry::Occupied(mut entry) = self.waiting.entry(lane) else {
            unreachable!("every turn has a lane");
        };
        let max = if lane.suspect { SUSPECT_BATCH_MAX } else { BATCH_MAX };
        let held = &mut entry.get_mut().1;
        let waiting = if held.len() > max {
            held.drain(..max).collect()
        } else {
            self.turns.remove(&turn);
            entry.remove().1
        };
        Some(Batch { root: lane.root, waiting })
    }
}

/// Larger batches save next to nothing a signature and make the first one wait.
pub(super) const BATCH_MAX: usize = 512;
/// To find the bad ones among these takes a tenth of a second at worst.
pub(super) const SUSPECT_BATCH_MAX: usize = 64;
