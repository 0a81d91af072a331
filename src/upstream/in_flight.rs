//! Results in flight and just finished, by key and root.
//!
//! A client that retries, a failover, several clients of one cluster: the same root is asked for
//! more than once. The first asks the signer, the others join it, on whatever core they run; if it
//! gets no answer, the next one asks. What is finished is kept for two slots. Bounded: when a shard
//! is full its twins ask for themselves.

use std::collections::HashMap;
use std::collections::hash_map;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
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
    state: State,
}

/// Most are asked for once: nothing is allocated for those.
enum State {
    /// Who waits for the answer beside the one that asks.
    UnderWay(Vec<oneshot::Sender<Outcome>>),
    /// The answer.
    Signed(Signature),
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Key, Entry>,
    swept_at: Option<Slot>,
}

/// The map of results, shared by all cores.
pub struct InFlight {
    shards: [Mutex<Shard>; SHARDS],
    slots_kept: u64,
}

impl InFlight {
    /// An empty map that keeps finished results for `slots_kept` slots.
    pub fn new(slots_kept: u64) -> Self {
        Self { shards: Default::default(), slots_kept }
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
        let is_entered = loop {
            let answer = match self.enter((key, root), slot) {
                Entered::First { is_entered } => break is_entered,
                Entered::Signed(signature) => return (Ok(signature), true),
                Entered::Twin(answer) => answer,
            };
            let joined = match timeout_at(deadline, answer).await {
                Ok(Ok(outcome)) => outcome,
                // The first one vanished without a result.
                Ok(Err(_)) => Err(Arc::new(UpstreamFailure::abandoned())),
                Err(_) => return (Err(Arc::new(UpstreamFault::from(OUT_OF_TIME).into())), true),
            };
            match joined {
                Err(failure) if !failure.fault.is_verdict() && Instant::now() < deadline => {}
                outcome => return (outcome, true),
            }
        };
        let mut under_way =
            is_entered.then(|| UnderWay { map: self, key: (key, root), is_over: false });
        let outcome = ask().await.map_err(Arc::new);
        if let Some(under_way) = &mut under_way {
            under_way.end(&outcome);
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
            shard.entries.retain(|_, entry| {
                entry.since.0 >= oldest || matches!(entry.state, State::UnderWay(_))
            });
        }
        let has_room = shard.entries.len() < ENTRIES_PER_SHARD_MAX;
        match shard.entries.entry(key) {
            hash_map::Entry::Occupied(mut entry) => match &mut entry.get_mut().state {
                State::Signed(signature) => Entered::Signed(*signature),
                State::UnderWay(twins) => {
                    let (twin, answer) = oneshot::channel();
                    twins.push(twin);
                    Entered::Twin(answer)
                }
            },
            hash_map::Entry::Vacant(entry) if has_room => {
                entry.insert(Entry { since: slot, state: State::UnderWay(Vec::new()) });
                Entered::First { is_entered: true }
            }
            hash_map::Entry::Vacant(_) => Entered::First { is_entered: false },
        }
    }

    /// Keys and roots are even by themselves; who sends one root again and again fills one shard,
    /// and asks for himself then.
    fn shard(&self, (key, root): &Key) -> &Mutex<Shard> {
        &self.shards[usize::from(key.0[47] ^ root.0[31]) % SHARDS]
    }
}

enum Entered {
    First {
        /// Whether there was room, so that others can join.
        is_entered: bool,
    },
    Twin(oneshot::Receiver<Outcome>),
    Signed(Signature),
}

/// The asking that others may join. However it ends, only a signature stays in the map.
struct UnderWay<'a> {
    map: &'a InFlight,
    key: Key,
    is_over: bool,
}

impl UnderWay<'_> {
    fn end(&mut self, outcome: &Outcome) {
        self.is_over = true;
        let mut shard = self.map.shard(&self.key).lock();
        let hash_map::Entry::Occupied(mut entry) = shard.entries.entry(self.key) else {
            unreachable!("what is under way is not swept away");
        };
        let state = match outcome {
            Ok(signature) => {
                std::mem::replace(&mut entry.get_mut().state, State::Signed(*signature))
            }
            Err(_) => entry.remove().state, // forgotten before anybody hears of it
        };
        drop(shard);
        if let State::UnderWay(twins) = state {
            for twin in twins {
                let _ = twin.send(outcome.clone()); // who gave up does not hear it
            }
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.map.shard(&self.key).lock().entries.remove(&self.key);
        }
    }
}

const OUT_OF_TIME: UpstreamError = UpstreamError::Timeout { stage: Stage::Response };
const SHARDS: usize = 16;
/// Two slots of 500,000 keys: attestations, sync messages and a burst of selection proofs.
const ENTRIES_PER_SHARD_MAX: usize = 8_192;
