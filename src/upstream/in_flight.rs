//! Results in flight and just finished, by key and root.
//!
//! A client that retries, a failover, several clients of one cluster: the same root is asked for
//! more than once. The first asks the signer, the others join it, on whatever core they run; if it
//! gets no answer, the next one asks. What is finished is kept for two slots. Bounded: when a shard
//! is full its twins ask for themselves.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::client::{Stage, UpstreamError};
use super::{UpstreamFailure, UpstreamFault};
use crate::eth::{PublicKey, Signature, SigningRoot, Slot};

#[cfg(test)]
mod tests;

type Outcome = Result<Signature, Arc<UpstreamFailure>>;
type Key = (PublicKey, SigningRoot);

struct Entry {
    since: Slot,
    outcome: watch::Receiver<Option<Outcome>>,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Key, Entry>,
    swept_at: Option<Slot>,
}

/// The map of results, shared by all cores.
pub struct InFlight {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    slots_kept: u64,
}

impl InFlight {
    /// An empty map that keeps finished results for `slots_kept` slots.
    pub fn new(slots_kept: u64) -> Self {
        Self { shards: Default::default(), hasher: RandomState::new(), slots_kept }
    }

    /// The result for (`key`, `root`): that of the request already under way or finished, or that
    /// of `ask`, which is then the one that others join. Says whether it joined.
    ///
    /// Whoever joined a request that got no answer asks for itself, until `deadline`: it may have
    /// more time left than that one had, and a connection that works.
    pub async fn join_or_ask<F>(
        &self,
        key: PublicKey,
        root: SigningRoot,
        slot: Slot,
        deadline: Instant,
        ask: impl FnOnce() -> F,
    ) -> (Outcome, bool)
    where
        F: Future<Output = Result<Signature, UpstreamFailure>>,
    {
        let sender = loop {
            let mut receiver = match self.enter((key, root), slot) {
                Entered::First(sender) => break sender,
                Entered::Twin(receiver) => receiver,
            };
            let joined = match timeout_at(deadline, receiver.wait_for(Option::is_some)).await {
                Ok(Ok(outcome)) => outcome.clone(),
                Ok(Err(_)) => None, // the first one vanished without a result
                Err(_) => return (Err(Arc::new(UpstreamFault::from(OUT_OF_TIME).into())), true),
            };
            match joined.unwrap_or_else(|| Err(Arc::new(UpstreamFailure::abandoned()))) {
                Err(failure) if !failure.fault.is_verdict() && Instant::now() < deadline => {}
                outcome => return (outcome, true),
            }
        };
        let leave = sender.as_ref().map(|_| Leave { map: self, key: (key, root), kept: false });
        let outcome = ask().await.map_err(Arc::new);
        if let Some(mut leave) = leave {
            leave.kept = outcome.is_ok(); // a failure is forgotten before anybody hears of it
        }
        if let Some(sender) = sender {
            sender.send_replace(Some(outcome.clone()));
        }
        (outcome, false)
    }

    /// How many results are in flight or kept.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }

    /// Whether nothing is in flight or kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn enter(&self, key: Key, slot: Slot) -> Entered {
        let shard = &mut *self.shard(&key).lock();
        if shard.swept_at != Some(slot) {
            shard.swept_at = Some(slot);
            let oldest = slot.0.saturating_sub(self.slots_kept);
            shard.entries.retain(|_, entry| entry.since.0 >= oldest);
        }
        if let Some(entry) = shard.entries.get(&key) {
            return Entered::Twin(entry.outcome.clone());
        }
        if shard.entries.len() >= ENTRIES_PER_SHARD_MAX {
            return Entered::First(None);
        }
        let (sender, outcome) = watch::channel(None);
        shard.entries.insert(key, Entry { since: slot, outcome });
        Entered::First(Some(sender))
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(key);
        &self.shards[usize::try_from(hash % SHARDS as u64).expect("a small remainder")]
    }
}

enum Entered {
    First(Option<watch::Sender<Option<Outcome>>>),
    Twin(watch::Receiver<Option<Outcome>>),
}

/// Takes the entry out again unless its result is worth keeping, however the asking ended.
struct Leave<'a> {
    map: &'a InFlight,
    key: Key,
    kept: bool,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.map.shard(&self.key).lock().entries.remove(&self.key);
        }
    }
}

const OUT_OF_TIME: UpstreamError = UpstreamError::Timeout { stage: Stage::Response };
const SHARDS: usize = 16;
/// Two slots of 500,000 keys: attestations, sync messages and a burst of selection proofs.
const ENTRIES_PER_SHARD_MAX: usize = 8_192;
