//! What step 6 judges by, shared by all cores: the policy that holds, the engine with what spans
//! keys, and the places that clients and key groups have in both.
//!
//! The `policy` crate decides and knows nothing of us: no public key, no name, no clock. What it is
//! told of a request is put together in `sign/judge.rs`; what it remembers of a key lies in the
//! key's own row, under the key's lock.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use policy::{Engine, GroupIndex, GroupPolicy, Mode, Policy, Rule};

use crate::config::KeyGroups;

pub use self::names::ClientNames;
pub use self::origin::{Origin, prefix};

mod names;
mod origin;

/// The policy that holds, and what spans keys.
pub struct Judgement {
    /// What spans keys.
    pub engine: Engine,
    /// The named clients, by their place.
    pub clients: ClientNames,
    groups: KeyGroups,
    policy: ArcSwap<Policy>,
}

impl Judgement {
    /// Judges by the built-in policy, until another is [published](Self::publish).
    pub fn new(groups: KeyGroups, engine: Engine, clients: ClientNames) -> Self {
        let policy = ArcSwap::from_pointee(built_in(&groups));
        Self { engine, clients, groups, policy }
    }

    /// The policy that holds now.
    pub fn policy(&self) -> Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// Puts another policy in force, as a whole, from the next judgement on. Key groups that it
    /// does not have get what its first one has.
    pub fn publish(&self, mut policy: Policy) {
        if policy.groups.is_empty() {
            policy.groups.push(GroupPolicy::default());
        }
        for group in self.groups.iter().skip(policy.groups.len() - 1) {
            let rest = GroupPolicy { name: group.name.clone(), ..policy.groups[0].clone() };
            policy.groups.push(rest);
        }
        self.policy.store(Arc::new(policy));
    }

    /// The group of a key: 0 is for the keys that no group of the configuration names.
    pub fn group(&self, public_key: &slashing_db::PublicKey) -> GroupIndex {
        let place = self.groups.of(&public_key.0).map_or(0, |(index, _)| index + 1);
        GroupIndex(u16::try_from(place).unwrap_or(0))
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
