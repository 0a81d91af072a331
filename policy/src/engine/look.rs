//! What rules and the score ask of what spans keys.

use std::sync::atomic::Ordering::Relaxed;

use super::Engine;
use super::counts::{Exits, member, window};
use super::groups::place;
use super::strikes::{Strikes, pair};
use crate::key::Lease;
use crate::settings::Chain;
use crate::{GroupIndex, GroupPolicy, Moment, Observation, Policy, Window};

/// For so many epochs after the gate came back, nobody's silence means anything: nobody could ask.
const UNKNOWN_EPOCHS: u64 = 2;
/// A key that its owner signed for within so many slots is not taken over, however little else the
/// owner asks for: it may be the last key that it still signs for.
const JUST_SIGNED_SLOTS: u64 = 2;

impl Engine {
    /// Tells the engine that the gate was not there until now: what is known of liveness is unknown
    /// for two epochs, and the sequential tests begin anew.
    pub fn resumed(&self, at: Moment) {
        self.resumed.store(at.epoch + 1, Relaxed);
        self.resumed_slot.store(at.slot, Relaxed);
    }

    /// The slot in which the gate came back; 0 for never.
    pub(crate) fn resumed_slot(&self) -> u64 {
        self.resumed_slot.load(Relaxed)
    }

    /// The epoch in which the gate came back, while what it missed still matters.
    pub(crate) fn resumed_epoch(&self, epoch: u64) -> Option<u64> {
        let resumed = self.resumed.load(Relaxed).checked_sub(1)?;
        (epoch <= resumed + UNKNOWN_EPOCHS).then_some(resumed)
    }

    /// Whether the owner of a lease has left the key: it was silent for it for `lease_epochs`, or
    /// its liveness has ended. While the gate itself was away, nobody was silent.
    pub(crate) fn has_left(
        &self,
        policy: &Policy,
        group: &GroupPolicy,
        lease: &Lease,
        seen: &Observation,
    ) -> bool {
        let at = seen.at;
        let resumed = self.resumed_epoch(at.epoch);
        let last_epoch = u64::from(lease.last_epoch).max(resumed.unwrap_or(0));
        if at.epoch > last_epoch + group.lease_epochs {
            return true;
        }
        if resumed.is_some() || at.slot <= u64::from(lease.last_slot) + JUST_SIGNED_SLOTS {
            return false;
        }
        let is_alive = |client| {
            let place = member(client, seen.group);
            self.clients.read(place, |volume| volume.is_alive(at, policy.chain.slot_ms))
        };
        // Of its pair, a client that never asked is no reason to wait; of the owner, nothing known
        // is no reason to believe it gone.
        let is_paired = group.active_clients.contains(&lease.owner);
        let mut pair = group.active_clients.iter().filter(|_| is_paired);
        is_alive(lease.owner) == Some(false) && !pair.any(|client| is_alive(*client) == Some(true))
    }

    /// Whether a rotation window was halted.
    pub(crate) fn is_halted(&self, rotation: &Window) -> bool {
        self.halted.read(window(rotation), |_| ()).is_some()
    }

    /// What the asking source has done to this key.
    pub(crate) fn strikes(&self, seen: &Observation) -> Option<Strikes> {
        self.strikes.read(pair(seen.key, seen.source.token()), |strikes| *strikes)
    }

    /// The exits of a group on a day.
    pub(crate) fn exits_of(&self, group: GroupIndex, today: u64) -> u32 {
        let look = |exits: &Exits| if exits.day == today { exits.count } else { 0 };
        self.exits.read(u64::from(group.0), look).unwrap_or(0)
    }

    /// Signatures released in a group.
    pub(crate) fn released_in(&self, group: GroupIndex) -> u64 {
        self.groups.read(u64::from(group.0), |group| group.released).unwrap_or(0)
    }

    /// Signatures released to a source in a group.
    pub(crate) fn released_to(&self, group: GroupIndex, token: u32) -> u64 {
        self.released.read(place(group, token), |released| released.count).unwrap_or(0)
    }

    /// Signatures released to a source in any group.
    pub(crate) fn released_anywhere(&self, token: u32) -> u64 {
        self.released.read(token.into(), |released| released.count).unwrap_or(0)
    }

    /// Validator-days that were seen: attestations released, of which each key has one an epoch.
    pub(crate) fn validator_days(&self, chain: &Chain) -> f32 {
        let epoch_ms = (chain.slots_per_epoch * u64::from(chain.slot_ms)).max(1);
        let epochs_per_day = 86_400_000.0 / epoch_ms as f32;
        self.fleet.attestations.load(Relaxed) as f32 / epochs_per_day
    }
}
