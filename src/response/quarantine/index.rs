//! What the signing path reads: quarantines by what they are looked up with. Never changed, only
//! replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use policy::{ClientIndex, GroupIndex, Source};

use super::{PROBES, Probed, QUIET_SLOTS, Quarantine, Scope, State};

/// Clients and key groups by their names.
pub trait Names {
    /// The place of a client; `None` where nobody is called that.
    fn client(&self, name: &str) -> Option<ClientIndex>;
    /// The place of a key group.
    fn group(&self, name: &str) -> Option<GroupIndex>;
}

/// One request, as quarantines see it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The key.
    pub public_key: &'a [u8; 48],
    /// Its group.
    pub group: GroupIndex,
    /// Who has its lease.
    pub owner: Option<ClientIndex>,
    /// Who asks.
    pub source: Source,
    /// Whether for an exit.
    pub is_exit: bool,
}

/// What a half-open quarantine has let through.
#[derive(Debug)]
pub(super) struct Probe {
    left: AtomicU32,
    /// The slot in which it was first seen used, and the one since which it is looked at; 0 for
    /// not yet.
    used_slot: AtomicU64,
    since_slot: AtomicU64,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            left: AtomicU32::new(PROBES),
            used_slot: AtomicU64::new(0),
            since_slot: AtomicU64::new(0),
        }
    }
}

impl Probe {
    fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// What it says, looked at once a slot.
    pub(super) fn at(&self, slot: u64) -> Probed {
        let first = |place: &AtomicU64| {
            let _ = place.compare_exchange(0, slot, Ordering::Relaxed, Ordering::Relaxed);
            place.load(Ordering::Relaxed)
        };
        let since = first(&self.since_slot);
        if self.left.load(Ordering::Relaxed) < PROBES {
            return if first(&self.used_slot) < slot { Probed::Clean } else { Probed::Waits };
        }
        if slot > since + QUIET_SLOTS { Probed::Quiet } else { Probed::Waits }
    }
}

#[derive(Clone, Debug)]
struct Held {
    quarantine: Arc<Quarantine>,
    probe: Option<Arc<Probe>>,
}

impl Held {
    fn refuses(&self) -> Option<Arc<Quarantine>> {
        let passes = self.probe.as_ref().is_some_and(|probe| probe.take());
        (!passes).then(|| Arc::clone(&self.quarantine))
    }
}

/// A client, one way in which it comes along or any, and what holds it.
type Pair = (ClientIndex, Option<u32>, Held);

/// Quarantines by what they are looked up with.
#[derive(Debug, Default)]
pub(super) struct Index {
    pairs: HashMap<[u8; 48], Vec<Pair>>,
    keys: HashMap<[u8; 48], Held>,
    key_exits: HashMap<[u8; 48], Held>,
    cohort_exits: HashMap<GroupIndex, Held>,
    clients: HashMap<ClientIndex, Held>,
    cohorts: HashMap<GroupIndex, Held>,
    sources: HashMap<(ClientIndex, GroupIndex), Held>,
    len: usize,
}

impl Index {
    pub(super) fn new<'a>(
        in_force: impl Iterator<Item = &'a Arc<Quarantine>>,
        probes: &HashMap<u64, Arc<Probe>>,
        names: &dyn Names,
    ) -> Self {
        let mut index = Self::default();
        for quarantine in in_force.filter(|one| !one.by_strikes) {
            let probe = match quarantine.state {
                State::HalfOpen => probes.get(&quarantine.id.0).cloned(),
                State::Active | State::Released | State::Expired => None,
            };
            let held = Held { quarantine: Arc::clone(quarantine), probe };
            if index.add(held, names).is_some() {
                index.len += 1;
            } else {
                tracing::warn!(
                    event = "quarantine_of_nothing",
                    id = %quarantine.id,
                    scope = %quarantine.scope,
                    "what this quarantine names is not configured any more; it refuses nothing"
                );
            }
        }
        index
    }

    fn add(&mut self, held: Held, names: &dyn Names) -> Option<()> {
        let scope = held.quarantine.scope.clone();
        match &scope {
            Scope::Pair { client, source, .. } => {
                let pair = (names.client(client)?, *source, held);
                self.pairs.entry(scope.key()?).or_default().push(pair);
            }
            Scope::Key { .. } => {
                self.keys.insert(scope.key()?, held);
            }
            Scope::KeyExits { .. } => {
                self.key_exits.insert(scope.key()?, held);
            }
            Scope::CohortExits { group } => {
                self.cohort_exits.insert(names.group(group)?, held);
            }
            Scope::Client { client } => {
                self.clients.insert(names.client(client)?, held);
            }
            Scope::Cohort { group } => {
                self.cohorts.insert(names.group(group)?, held);
            }
            Scope::Source { client, group } => {
                self.sources.insert((names.client(client)?, names.group(group)?), held);
            }
        }
        Some(())
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The quarantine that refuses a request: what stops a key before what stops a source, so that
    /// no half-open one is asked in vain.
    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<Arc<Quarantine>> {
        let (key, group, client) = (asked.public_key, asked.group, asked.source.client);
        let of_exits = || {
            let of_key = || self.key_exits.get(key);
            self.cohort_exits.get(&group).or_else(of_key).and_then(Held::refuses)
        };
        let of_pair = || {
            let fits = |(of, token, _): &&Pair| {
                *of == client && token.is_none_or(|token| token == asked.source.token())
            };
            self.pairs.get(key)?.iter().find(fits)?.2.refuses()
        };
        let of_source = || {
            let fenced = self.sources.get(&(client, group))?;
            if asked.owner == Some(client) { None } else { fenced.refuses() }
        };
        let found = self.keys.get(key).and_then(Held::refuses);
        found
            .or_else(|| if asked.is_exit { of_exits() } else { None })
            .or_else(of_pair)
            .or_else(|| self.cohorts.get(&group).and_then(Held::refuses))
            .or_else(|| self.clients.get(&client).and_then(Held::refuses))
            .or_else(of_source)
    }
}
