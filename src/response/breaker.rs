//! The breaker of a key group: it tells a takeover of many keys from a client's bad day, and names
//! the source that is to be fenced off.
//!
//! It counts one thing: evidence of a second live signer. That is a request for a key whose lease
//! another client has, refused because that client is alive (D23), because the lease has just moved
//! away from who asks (D24), or because what it asks conflicts with what was signed (EIP-3076); and
//! the client that has the lease has asked for something itself since then, in the same key group,
//! and still signs about as much as usual. Distinct keys count, within a window, each client and
//! key group apart.
//!
//! So none of this moves it: a client that starts again in mid-epoch and asks for what it had
//! signed, for it has the leases itself; a new certificate, which is the same named client; a
//! request that is repeated; the standby that takes over from a client that has died, for the dead
//! ask for nothing. What it fences is the source that asked, never who has the lease: stopping an
//! owner takes a person, or a signer that refuses what the gate has permitted.

use std::collections::HashMap;

use policy::{ClientIndex, GroupIndex, Moment};

#[cfg(test)]
mod tests;

/// When the breaker trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Distinct keys; 0 for never.
    pub keys: usize,
    /// Within so many slots.
    pub window_slots: u64,
}

/// A refused request of a client that does not have the lease of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// When it was asked for.
    pub at: Moment,
    /// Who asked.
    pub offender: ClientIndex,
    /// Who has the lease.
    pub owner: ClientIndex,
    /// The key group.
    pub group: GroupIndex,
    /// The key, by its row.
    pub key: u32,
}

/// A client that is to be fenced off from a key group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trip {
    /// Who asked.
    pub offender: ClientIndex,
    /// The owner of the first of the keys.
    pub owner: ClientIndex,
    /// The key group.
    pub group: GroupIndex,
    /// How many keys it rests on.
    pub keys: usize,
}

#[derive(Clone, Copy, Debug)]
struct Contest {
    owner: ClientIndex,
    first: Moment,
    last_slot: u64,
    is_shown: bool,
}

type Contests = HashMap<u32, Contest>;

/// The evidence of all key groups.
#[derive(Debug)]
pub struct Breaker {
    thresholds: Thresholds,
    contests: HashMap<(ClientIndex, GroupIndex), Contests>,
}

impl Breaker {
    /// A breaker that has seen nothing.
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, contests: HashMap::new() }
    }

    /// Notes one refused request. The same key again is the same evidence.
    pub fn note(&mut self, evidence: Evidence) {
        if evidence.offender == evidence.owner || self.thresholds.keys == 0 {
            return;
        }
        let place = (evidence.offender, evidence.group);
        let contests = self.contests.entry(place).or_default();
        if contests.len() >= KEYS_MAX && !contests.contains_key(&evidence.key) {
            return; // it trips at a hundredth of that
        }
        let new = Contest {
            owner: evidence.owner,
            first: evidence.at,
            last_slot: evidence.at.slot,
            is_shown: false,
        };
        let contest = contests.entry(evidence.key).or_insert(new);
        if contest.owner != evidence.owner {
            *contest = new;
        }
        contest.last_slot = contest.last_slot.max(evidence.at.slot);
    }

    /// Whether anything waits to be looked at.
    pub fn is_idle(&self) -> bool {
        self.contests.is_empty()
    }

    /// Looks at what was noted: `is_there_since` says whether an owner has asked for something
    /// after a moment (milliseconds of Unix time), and is alive. What has tripped is forgotten.
    pub fn tripped(
        &mut self,
        now: Moment,
        is_there_since: impl Fn(ClientIndex, GroupIndex, u64) -> bool,
    ) -> Vec<Trip> {
        let Thresholds { keys: enough, window_slots } = self.thresholds;
        let mut trips = Vec::new();
        self.contests.retain(|(offender, group), contests| {
            contests.retain(|_, contest| contest.last_slot + window_slots >= now.slot);
            if contests.len() < enough {
                return !contests.is_empty();
            }
            for contest in contests.values_mut().filter(|contest| !contest.is_shown) {
                contest.is_shown = is_there_since(contest.owner, *group, contest.first.unix_ms);
            }
            let shown = contests.values().filter(|contest| contest.is_shown);
            let keys = shown.clone().count();
            let Some(first) = shown.min_by_key(|contest| contest.first) else { return true };
            if keys < enough {
                return true;
            }
            let owner = first.owner;
            trips.push(Trip { offender: *offender, owner, group: *group, keys });
            false
        });
        trips
    }
}

/// Keys remembered of one client and key group.
const KEYS_MAX: usize = 4_096;
