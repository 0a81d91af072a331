//! What step 6 judges by, shared by all cores: the policy that holds, the engine with what spans
//! keys, and the places that clients and key groups have in both.
//!
//! The `policy` crate decides and knows nothing of us: no public key, no name, no clock. What it is
//! told of a request is put together in `sign/judge.rs`; what it remembers of a key lies in the
//! key's own row, under the key's lock.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use policy::{
    Chain, ClientIndex, Engine, GroupIndex, GroupPolicy, Mode, Policy, Rule, Window, WindowId,
};

use crate::clients::DEFAULT;
use crate::config::KeyGroups;
use crate::eth::Network;
use crate::recording::{Event, Recorder};
use crate::response::quarantine::Names;
use crate::validators::RowIndex;

pub use self::baseline::{Baseline, BaselineTable, Kept};
pub use self::names::{ClientNames, Place};
pub use self::origin::{Origin, prefix};
pub use self::owners::{LeaseWrite, NewOwner};
pub use self::testimony::Testimony;

mod baseline;
mod names;
mod origin;
mod owners;
mod testimony;

/// The policy that holds, and what spans keys.
pub struct Judgement {
    /// What spans keys.
    pub engine: Engine,
    /// The named clients, by their place.
    pub clients: ClientNames,
    /// Where all of it is kept.
    pub table: BaselineTable,
    groups: KeyGroups,
    chain: Chain,
    policy: ArcSwap<Policy>,
    parts: Mutex<Parts>,
    owner_changes: OnceLock<SyncSender<NewOwner>>,
    recorder: OnceLock<Recorder>,
}

/// What the policy in force is put together of.
struct Parts {
    document: Policy,
    /// Opened while the gate runs: they stand after those of the document, whichever that is.
    windows: Vec<Window>,
}

impl Judgement {
    /// Judges by the built-in policy, until another is [published](Self::publish), and goes on from
    /// what was kept.
    pub fn new(groups: KeyGroups, network: &Network, table: BaselineTable, kept: Kept) -> Self {
        let chain = chain(network);
        let document = Policy { chain, ..built_in(&groups) };
        let policy = ArcSwap::from_pointee(document.clone());
        Self {
            engine: kept.engine.unwrap_or_default(),
            clients: ClientNames::new(kept.clients),
            table,
            groups,
            chain,
            policy,
            parts: Mutex::new(Parts { document, windows: Vec::new() }),
            owner_changes: OnceLock::new(),
            recorder: OnceLock::new(),
        }
    }

    /// The keys whose owner changes from now on: whoever receives them writes them to disk at once.
    /// Only the first call counts.
    pub fn owner_changes(&self) -> Receiver<NewOwner> {
        let (sender, receiver) = sync_channel(OWNER_CHANGES_MAX);
        let _ = self.owner_changes.set(sender);
        receiver
    }

    /// Says that the owner of a key has changed. Where too many wait, the next snapshot has it.
    pub fn owner_changed(&self, row: RowIndex) {
        if let Some(changes) = self.owner_changes.get() {
            let _ = changes.try_send(NewOwner::first(row));
        }
    }

    /// Says that a key went from one owner to another, or is still to be written since: before
    /// anything is forwarded for the new one, that has to be on disk. `None` where nobody writes.
    pub fn owner_moved(&self, row: RowIndex, by: Option<WindowId>) -> Option<LeaseWrite> {
        let changes = self.owner_changes.get()?;
        let (owner, write) = NewOwner::moved(row, by);
        changes.try_send(owner).is_ok().then_some(write)
    }

    /// Records what is judged from now on. Only the first call counts.
    pub fn record_to(&self, recorder: Recorder) {
        let _ = self.recorder.set(recorder);
    }

    /// The recording, where there is one.
    pub fn recorder(&self) -> Option<&Recorder> {
        self.recorder.get()
    }

    /// Records what happened to a request, where that is wished.
    pub fn record(&self, event: impl FnOnce() -> Event) {
        if let Some(recorder) = self.recorder.get() {
            recorder.record(event());
        }
    }

    /// The policy that holds now.
    pub fn policy(&self) -> Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// Puts another policy in force, as a whole, from the next judgement on. Key groups that it
    /// does not have get what its first one has; the constants of the chain are the network's.
    pub fn publish(&self, mut policy: Policy) {
        if policy.groups.is_empty() {
            policy.groups.push(GroupPolicy::default());
        }
        for group in self.groups.iter().skip(policy.groups.len() - 1) {
            let rest = GroupPolicy { name: group.name.clone(), ..policy.groups[0].clone() };
            policy.groups.push(rest);
        }
        let active_validators = policy.chain.active_validators;
        policy.chain = Chain { active_validators, ..self.chain };
        let mut parts = self.parts.lock();
        parts.document = policy;
        self.put_in_force(&parts);
    }

    /// Puts the windows in force that were opened while the gate runs, in place of those of before,
    /// from the next judgement on. They outlast whatever is [published](Self::publish).
    pub fn set_windows(&self, windows: Vec<Window>) {
        let mut parts = self.parts.lock();
        parts.windows = windows;
        self.put_in_force(&parts);
    }

    /// The policy as it was published: without the windows that were opened since.
    pub fn document(&self) -> Policy {
        let windows = self.parts.lock().document.windows.clone();
        Policy { windows, ..Policy::clone(&self.policy()) }
    }

    fn put_in_force(&self, parts: &Parts) {
        let mut policy = parts.document.clone();
        policy.windows.extend_from_slice(&parts.windows);
        for (place, name) in self.clients.names().into_iter().enumerate() {
            policy.name_client(place, name);
        }
        self.policy.store(Arc::new(policy));
    }

    /// The place of a key group by its name; `default` is the first.
    pub fn group_named(&self, name: &str) -> Option<GroupIndex> {
        let place = match name {
            DEFAULT => 0,
            _ => self.groups.iter().position(|group| group.name == name)? + 1,
        };
        u16::try_from(place).ok().map(GroupIndex)
    }

    /// The names of all key groups, by their places.
    pub fn group_names(&self) -> Vec<String> {
        let named = self.groups.iter().map(|group| group.name.clone());
        std::iter::once(DEFAULT.to_owned()).chain(named).collect()
    }

    /// The name of a key group.
    pub fn group_name(&self, group: GroupIndex) -> String {
        let named = usize::from(group.0).checked_sub(1).and_then(|at| self.groups.iter().nth(at));
        named.map_or_else(|| DEFAULT.to_owned(), |group| group.name.clone())
    }

    /// The group of a key: 0 is for the keys that no group of the configuration names.
    pub fn group(&self, public_key: &slashing_db::PublicKey) -> GroupIndex {
        let place = self.groups.of(&public_key.0).map_or(0, |(index, _)| index + 1);
        GroupIndex(u16::try_from(place).unwrap_or(0))
    }
}

impl Names for Judgement {
    fn client(&self, name: &str) -> Option<ClientIndex> {
        let of_all = || (name == DEFAULT).then(|| self.clients.index(name));
        self.clients.known(name).or_else(of_all)
    }

    fn group(&self, name: &str) -> Option<GroupIndex> {
        self.group_named(name)
    }
}

impl std::fmt::Debug for Judgement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judgement").field("clients", &self.clients).finish_non_exhaustive()
    }
}

/// The policy of an installation that has no policy file: what cannot be wrong is enforced, and
/// what has nothing to compare with is silent. Exits and deposits are then permitted and counted by
/// the key groups of the configuration alone.
pub fn built_in(groups: &KeyGroups) -> Policy {
    let names = std::iter::once("default").chain(groups.iter().map(|group| group.name.as_str()));
    let groups = names.map(|name| {
        let mut group = GroupPolicy { name: name.to_owned(), ..GroupPolicy::default() };
        for rule in [Rule::ExitWindow, Rule::ExitDailyMax, Rule::DepositCredentials] {
            group.modes[rule as usize] = Mode::Off;
        }
        group
    });
    Policy { groups: groups.collect(), ..Policy::default() }
}

/// The constants that rules count with.
pub fn chain(network: &Network) -> Chain {
    let preset = network.preset();
    Chain {
        slots_per_epoch: preset.slots_per_epoch,
        slot_ms: u32::try_from(network.slot_duration().as_millis()).unwrap_or(u32::MAX),
        epochs_per_sync_period: preset.epochs_per_sync_committee_period,
        sync_committee_size: u32::try_from(preset.sync_committee_size).unwrap_or(u32::MAX),
        active_validators: None,
    }
}

/// Owners that change faster than they are written: half a million keys may move within seconds.
const OWNER_CHANGES_MAX: usize = 65_536;
