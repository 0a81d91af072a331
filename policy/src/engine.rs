//! What spans keys (sources, cohorts, the fleet), and the four things that happen to a request.
//!
//! Locks: a key's lock is held by the caller; the engine's own are taken after it and never the
//! other way round, none across another.

pub(crate) mod counts;
pub(crate) mod fleet;
mod state;
pub(crate) mod strikes;
pub(crate) mod volume;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use self::counts::{Exits, Stamp, credential, day, member};
use self::fleet::Fleet;
use self::strikes::{Strikes, pair};
use self::volume::Volume;
use crate::key::Lease;
use crate::rules::lease::Standing;
use crate::rules::{self, Case};
use crate::table::Table;
use crate::{Decision, GroupIndex, GroupPolicy, KeyState, Level, Message, Moment, Observation};
use crate::{Outcome, Policy, Rule, Window};

/// For so many epochs after the gate came back, nobody's silence means anything: nobody could ask.
const UNKNOWN_EPOCHS: u64 = 2;
/// A key that its owner signed for within so many slots is not taken over, however little else the
/// owner asks for: it may be the last key that it still signs for.
const JUST_SIGNED_SLOTS: u64 = 2;

/// Everything that spans keys. Shared by all threads.
#[derive(Debug)]
pub struct Engine {
    /// How much each client asks for in each group.
    pub(crate) clients: Table<Volume>,
    /// When each credential was last signed for.
    pub(crate) credentials: Table<Stamp>,
    /// The exits of each group on the last day that had any.
    pub(crate) exits: Table<Exits>,
    /// What each source has done to each key.
    pub(crate) strikes: Table<Strikes>,
    /// The rotation windows that are halted.
    pub(crate) halted: Table<Stamp>,
    pub(crate) fleet: Fleet,
    /// The epoch in which the gate came back, and 1; 0 for never.
    pub(crate) resumed: AtomicU64,
}

/// Something that concerns more than one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// What noticed it.
    pub rule: Rule,
    /// The group or source that it is about, in words.
    pub about: String,
    /// What was seen, and what is normal.
    pub reason: String,
    /// Whether it is taken for an event of the network (most sources at once), not of a source.
    pub is_network_event: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            clients: Table::new(65_536),
            credentials: Table::new(65_536),
            exits: Table::new(65_536),
            strikes: Table::new(65_536),
            halted: Table::new(4_096),
            fleet: Fleet::default(),
            resumed: AtomicU64::new(0),
        }
    }
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges a request: reads, and changes nothing.
    pub fn judge(&self, policy: &Policy, key: &KeyState, seen: &Observation) -> Decision {
        let case = Case::new(self, policy, key, seen);
        let mut decision = Decision { findings: rules::findings(&case), ..Decision::default() };
        decision.window = match case.standing {
            Standing::Rotates(place) => Some(place),
            Standing::Apart
            | Standing::Free
            | Standing::Own
            | Standing::Paired
            | Standing::Follows
            | Standing::Contested
            | Standing::Fenced => None,
        };
        rules::conclude(&mut decision);
        decision
    }

    /// Notes that a request was asked for, whatever was decided: the volume of a source, and the
    /// keys that move along. Once for each request, before a hold and not after it.
    pub fn attempted(&self, _policy: &Policy, _key: &KeyState, seen: &Observation) {
        let is_attestation = matches!(seen.message, Message::Attestation { .. });
        let place = member(seen.source.client, seen.group);
        self.clients.change(place, |volume| volume.asked(seen.at, is_attestation));
    }

    /// Takes the lease and spends the budgets of a request that will be forwarded. Says whether the
    /// owner of the key changed, which is to be kept on disk at once.
    pub fn admit(&self, policy: &Policy, key: &mut KeyState, seen: &Observation) -> bool {
        let standing = Case::new(self, policy, key, seen).standing;
        if standing.takes() {
            key.lease.take(&seen.source, seen.at);
        }
        if standing.takes() || matches!(standing, Standing::Own | Standing::Paired) {
            key.lease.signed(seen.at);
        }
        if let Message::VoluntaryExit { .. } = seen.message
            && key.ledger.exit != crate::key::root(seen)
        {
            let today = day(seen.at.unix_ms);
            self.exits.change(u64::from(seen.group.0), |exits| {
                let before = if exits.day == today { exits.count } else { 0 };
                *exits = Exits { day: today, count: before + 1 };
            });
        }
        key.ledger.spend(seen, &policy.chain);
        standing.takes()
    }

    /// Notes what a refusal leads to: strikes, and the quarantine of a source-key pair.
    pub fn refused(
        &self,
        policy: &Policy,
        key: &mut KeyState,
        seen: &Observation,
        decision: &Decision,
    ) {
        if key.lease.token == seen.source.token() {
            return; // the key's own source: what it may not do is refused, the rest goes on
        }
        for finding in decision.findings.iter().filter(|finding| finding.refuses()) {
            let (is_contest, at_once) = match finding.rule {
                Rule::LeaseFence => (true, true),
                Rule::ClientLease => (true, false),
                Rule::DepositCredentials => (false, false),
                Rule::Context if finding.level >= Level::Quarantine => (true, false),
                _ => continue, // no other rule tells a second signer from a mistake
            };
            let place = pair(seen.key, seen.source.token());
            self.strikes.change(place, |strikes| strikes.strike(seen, is_contest, at_once));
            if finding.level == Level::HaltRotation
                && let Some((_, window)) =
                    rules::lease::rotation(&Case::new(self, policy, key, seen))
            {
                let place = counts::window(window);
                self.halted.change(place, |stamp| stamp.ms = seen.at.unix_ms);
            }
        }
    }

    /// Judges an answer before it is released: which shares signed is not known earlier. Reads, and
    /// changes nothing; what it refuses is withheld, and not learned from.
    pub fn judge_answer(
        &self,
        _policy: &Policy,
        _key: &KeyState,
        _seen: &Observation,
        _out: &Outcome,
    ) -> Decision {
        Decision::default()
    }

    /// Learns from a signature that was released.
    pub fn learn(&self, policy: &Policy, key: &mut KeyState, seen: &Observation, _out: &Outcome) {
        let place = credential(&seen.source);
        self.credentials.change(place, |stamp| stamp.ms = stamp.ms.max(seen.at.unix_ms));
        key.sources.released(seen.source.token(), seen.at.epoch);
        if key.released == 0 {
            self.fleet.keys.fetch_add(1, Relaxed);
        }
        key.released = key.released.saturating_add(1);
        match seen.message {
            Message::Attestation { source_epoch, target_epoch, .. } => {
                self.fleet.voted(target_epoch.saturating_sub(source_epoch));
            }
            Message::SyncMessage { .. } => {
                let period = seen.at.epoch / policy.chain.epochs_per_sync_period.max(1);
                let mark = (period as u16).wrapping_add(1);
                if key.ledger.sync_period != mark {
                    key.ledger.sync_period = mark;
                    self.fleet.in_committee(period);
                }
            }
            Message::Block { .. }
            | Message::RandaoReveal { .. }
            | Message::SelectionProof { .. }
            | Message::AggregateAndProof { .. }
            | Message::SyncSelectionProof { .. }
            | Message::SyncContribution { .. }
            | Message::Registration { .. }
            | Message::VoluntaryExit { .. }
            | Message::Deposit { .. } => {}
        }
    }

    /// Once a slot: what spans keys is rolled on, and tested.
    pub fn tick(&self, policy: &Policy, at: Moment) -> Vec<Alarm> {
        self.fleet.tick(at);
        self.strikes.sweep(|strikes| !strikes.is_over(at.epoch));
        let sync = self.fleet.sync_excess(&policy.chain).map(|(found, expected)| Alarm {
            rule: Rule::SyncShare,
            about: "the fleet".to_owned(),
            reason: format!("{found} keys in the sync committee, where {expected:.1} are usual"),
            is_network_event: false,
        });
        sync.into_iter().collect()
    }

    /// Tells the engine that the gate was not there until now: what is known of liveness is unknown
    /// for two epochs, and the sequential tests begin anew.
    pub fn resumed(&self, at: Moment) {
        self.resumed.store(at.epoch + 1, Relaxed);
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
    pub(crate) fn is_halted(&self, window: &Window) -> bool {
        self.halted.read(counts::window(window), |_| ()).is_some()
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
}
