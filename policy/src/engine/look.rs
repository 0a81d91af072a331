//! What rules and the score ask of what spans keys.

use std::sync::atomic::Ordering::Relaxed;

use super::Engine;
use super::counts::{Exits, member};
use super::groups::{home, place};
use super::strikes::{Strikes, pair};
use super::volume::{Back, Volume};
use crate::key::Lease;
use crate::settings::Chain;
use crate::{ClientIndex, GroupIndex, GroupPolicy, Moment, Observation, Policy, Source, WindowId};

/// A key that its owner signed for within so many slots is not taken over, however little else the
/// owner asks for: it may be the last key that it still signs for.
const JUST_SIGNED_SLOTS: u64 = 2;

impl Engine {
    /// Tells the engine that the gate was not there until now: nobody was silent while nobody could
    /// ask, and the sequential tests begin anew. Whether a client of many keys is alive shows again
    /// after sixteen slots, one of few keys counts as alive for two epochs.
    pub fn resumed(&self, at: Moment) {
        self.resumed.store(at.epoch, Relaxed);
        self.resumed_slot.store(at.slot, Relaxed);
        self.resumed_ms.store(at.unix_ms, Relaxed);
    }

    /// The slot in which the gate came back; 0 for never.
    pub(crate) fn resumed_slot(&self) -> u64 {
        self.resumed_slot.load(Relaxed)
    }

    /// Since when it has been there without a break.
    pub(crate) fn back(&self) -> Back {
        Back { slot: self.resumed_slot(), unix_ms: self.resumed_ms.load(Relaxed) }
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
        let last_epoch = u64::from(lease.last_epoch).max(self.resumed.load(Relaxed));
        if at.epoch > last_epoch + group.lease_epochs {
            return true;
        }
        if at.slot <= u64::from(lease.last_slot) + JUST_SIGNED_SLOTS {
            return false;
        }
        let is_alive = |client| {
            let look = |volume: &Volume| volume.is_alive(at, &policy.chain, self.back());
            self.clients.read(member(client, seen.group), look).flatten()
        };
        // Of its pair, a client that never asked is no reason to wait; of the owner, nothing known
        // is no reason to believe it gone.
        let is_paired = group.active_clients.contains(&lease.owner);
        let mut pair = group.active_clients.iter().filter(|_| is_paired);
        is_alive(lease.owner) == Some(false) && !pair.any(|client| is_alive(*client) == Some(true))
    }

    /// Whether a client has asked for anything in a group after this moment (milliseconds of Unix
    /// time), and its volume does not say that it has gone: of two who want the same keys, the
    /// second is a takeover only while the first is still there.
    pub fn is_there_since(
        &self,
        policy: &Policy,
        (client, group): (ClientIndex, GroupIndex),
        since_ms: u64,
        at: Moment,
    ) -> bool {
        let look = |volume: &Volume| {
            volume.last_ms() > since_ms
                && volume.is_alive(at, &policy.chain, self.back()) != Some(false)
        };
        self.clients.read(member(client, group), look).unwrap_or(false)
    }

    /// Whether a client that was seen in a group has gone, by its volume there.
    pub fn has_gone(
        &self,
        policy: &Policy,
        (client, group): (ClientIndex, GroupIndex),
        at: Moment,
    ) -> bool {
        let look = |volume: &Volume| volume.is_alive(at, &policy.chain, self.back());
        self.clients.read(member(client, group), look).flatten() == Some(false)
    }

    /// Whether a rotation window was halted.
    pub fn is_halted(&self, window: WindowId) -> bool {
        self.halted.read(window.0, |_| ()).is_some()
    }

    /// Halts a rotation window, at a moment in milliseconds of Unix time: no key moves by it from
    /// the next judgement on. Says whether it was not halted before.
    pub fn halt(&self, window: WindowId, unix_ms: u64) -> bool {
        self.halted.change(window.0, |stamp| {
            let is_first = stamp.ms == 0;
            if is_first {
                stamp.ms = unix_ms.max(1);
            }
            is_first
        })
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

    /// Signatures released to this certificate at this network, whatever it is spoken with.
    pub(crate) fn released_at_home(&self, source: &Source) -> u64 {
        let look = |home| self.released.read(home, |released| released.count);
        home(source).and_then(look).unwrap_or(0)
    }

    /// Validator-days that were seen: attestations released, of which each key has one an epoch.
    pub(crate) fn validator_days(&self, chain: &Chain) -> f32 {
        let epoch_ms = (chain.slots_per_epoch * u64::from(chain.slot_ms)).max(1);
        let epochs_per_day = 86_400_000.0 / epoch_ms as f32;
        self.fleet.attestations.load(Relaxed) as f32 / epochs_per_day
    }
}
