//! What spans keys (sources, cohorts, the fleet), and the four things that happen to a request.
//!
//! Locks: a key's lock is held by the caller; the engine's own are taken after it and never the
//! other way round, none across another.
//!
//! | file | what |
//! |---|---|
//! | `learn.rs` | what a released signature and the passing of a slot change |
//! | `look.rs` | what rules and the score ask |
//! | `volume.rs` | whether a client or a source is alive |
//! | `moves.rs` | which keys move together |
//! | `strikes.rs` | source-key pairs in quarantine |
//! | `groups.rs`, `fleet.rs`, `counts.rs` | groups and sources; all keys; small rows |
//! | `drifts.rs` | keys whose usual time has moved |
//! | `tail.rs` | honest scores |
//! | `state.rs` | the engine on disk |

pub(crate) mod attendance;
pub(crate) mod counts;
pub(crate) mod drifts;
pub(crate) mod fleet;
pub(crate) mod groups;
mod learn;
mod look;
pub(crate) mod moves;
mod state;
pub(crate) mod strikes;
pub(crate) mod tail;
pub(crate) mod volume;

#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use self::counts::{Exits, Stamp, day, member};
use self::drifts::Drifts;
use self::fleet::Fleet;
use self::groups::{Beat, Group, Released};
use self::moves::Moved;
pub use self::strikes::Struck;
use self::strikes::{Strikes, pair};
use self::tail::Tail;
use self::volume::Volume;
use crate::key::root;
use crate::rules::lease::Standing;
use crate::rules::{self, Case};
use crate::score::{self, Kinship};
use crate::sequential::Incidents;
use crate::sequential::shares::telling;
use crate::table::Table;
use crate::{
    ClientIndex, Decision, Finding, KeyState, Level, Message, Mode, Observation, Outcome, Policy,
};
use crate::{Evidence, Rule, Term, Verdict, WindowId};

/// Everything that spans keys. Shared by all threads.
#[derive(Debug)]
pub struct Engine {
    /// How much each client asks for in each group.
    pub(crate) clients: Table<Volume>,
    /// How much each source asks for.
    pub(crate) sources: Table<Volume>,
    /// The keys that move from one source to another.
    pub(crate) moves: Table<Moved>,
    /// Signatures released to each source, in each group and anywhere.
    pub(crate) released: Table<Released>,
    /// When each credential was last signed for.
    pub(crate) credentials: Table<Stamp>,
    /// The exits of each group on the last day that had any.
    pub(crate) exits: Table<Exits>,
    /// What each source has done to each key.
    pub(crate) strikes: Table<Strikes>,
    /// The rotation windows that are halted.
    pub(crate) halted: Table<Stamp>,
    pub(crate) groups: Table<Group>,
    pub(crate) beats: Table<Beat>,
    /// Sources that do not sign when they usually do, until it shows whether all of them do so.
    pub(crate) incidents: Mutex<Incidents>,
    /// Keys whose usual time has moved, until they are told.
    pub(crate) drifts: Drifts,
    pub(crate) fleet: Fleet,
    pub(crate) tail: Tail,
    /// The epoch, slot and millisecond in which the gate came back; 0 for never.
    pub(crate) resumed: AtomicU64,
    pub(crate) resumed_ms: AtomicU64,
    pub(crate) resumed_slot: AtomicU64,
    /// The 28 days in which what is known of sources was last halved.
    pub(crate) halved: AtomicU64,
}

/// A key has another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerChange {
    /// The one before it; `None` where it is the first.
    pub former: Option<ClientIndex>,
    /// The rotation window that handed it over; `None` where it was free or left.
    pub window: Option<WindowId>,
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
            sources: Table::new(16_384),
            moves: Table::new(16_384),
            released: Table::new(65_536),
            credentials: Table::new(65_536),
            exits: Table::new(65_536),
            strikes: Table::new(65_536),
            halted: Table::new(4_096),
            groups: Table::new(65_536),
            beats: Table::new(4_096),
            incidents: Mutex::new(Incidents::default()),
            drifts: Drifts::default(),
            fleet: Fleet::default(),
            tail: Tail::default(),
            resumed: AtomicU64::new(0),
            resumed_ms: AtomicU64::new(0),
            resumed_slot: AtomicU64::new(0),
            halved: AtomicU64::new(0),
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
        let scope = case.scope();
        let mut decision = Decision {
            terms: case.score.terms,
            ln_s: [key.timing.ln_s(scope), key.shares.ln_s(seen.at.slot, scope)],
            findings: rules::findings(&case),
            window: case.window_id(),
            ..Decision::default()
        };
        rules::conclude(&mut decision);
        let odds = decision.terms.log_odds();
        if odds >= policy.thresholds.alert {
            let days = self.validator_days(&policy.chain);
            decision.expected_false_per_million = self.tail.per_million(odds, days);
        }
        let is_of_others = |finding: &Finding| finding.refuses() && finding.rule != Rule::Context;
        if let Some(until) = score::hold(&case)
            && !decision.findings.iter().any(is_of_others)
        {
            decision.verdict = Verdict::HoldUntil(until);
        }
        decision
    }

    /// Notes that a request was asked for, whatever was decided: the volume of a source, and the
    /// keys that move along. Once for each request, before a hold and not after it.
    pub fn attempted(&self, _policy: &Policy, key: &KeyState, seen: &Observation) {
        // Who is told no asks again and again: as volume it would make the usual look like silence.
        let is_attestation = matches!(seen.message, Message::Attestation { .. }) && !seen.is_repeat;
        let place = member(seen.source.client, seen.group);
        self.clients.change(place, |volume| volume.asked(seen.at, is_attestation));
        let token = seen.source.token();
        self.sources.change(token.into(), |volume| volume.asked(seen.at, is_attestation));
        if token != key.lease.token && !key.lease.is_free() {
            let place = Moved::place(key.lease.token, token);
            self.moves.change(place, |moved| moved.asked(seen.key, seen.at.unix_ms));
        }
    }

    /// Takes the lease and spends the budgets of a request that will be forwarded. Says whether the
    /// owner of the key changed, which is to be kept on disk at once: where there was one before
    /// it, before the request is forwarded.
    pub fn admit(
        &self,
        policy: &Policy,
        key: &mut KeyState,
        seen: &Observation,
    ) -> Option<OwnerChange> {
        let case = Case::new(self, policy, key, seen);
        let (standing, score) = (case.standing, case.score);
        let settles = standing == Standing::Own && score::settles(&case);
        key.score = match score.kinship {
            Kinship::Own => i8::MIN,
            Kinship::Alternate | Kinship::Known | Kinship::Stranger => {
                tail::half_nats(score.terms.log_odds())
            }
        };
        let change = standing.takes().then(|| OwnerChange {
            former: (!key.lease.is_free()).then_some(key.lease.owner),
            window: match standing {
                Standing::Rotates(window) => Some(window),
                Standing::Apart | Standing::Free | Standing::Own | Standing::Paired => None,
                Standing::Follows | Standing::Contested | Standing::Fenced => None,
            },
        });
        if standing.takes() {
            if !key.lease.is_free() {
                let former = member(key.lease.owner, seen.group);
                self.clients.change(former, |volume| volume.leases(false));
            }
            let owner = member(seen.source.client, seen.group);
            self.clients.change(owner, |volume| volume.leases(true));
            key.lease.take(&seen.source, seen.at);
            if let Standing::Rotates(window) = standing {
                key.lease.move_by(window);
            }
        } else if settles {
            key.lease.settle(&seen.source, seen.at);
        }
        if standing.takes() || matches!(standing, Standing::Own | Standing::Paired) {
            key.lease.signed(seen.at);
        }
        if let Message::VoluntaryExit { .. } = seen.message
            && key.ledger.exit != root(seen)
        {
            let today = day(seen.at.unix_ms);
            self.exits.change(u64::from(seen.group.0), |exits| {
                let before = if exits.day == today { exits.count } else { 0 };
                *exits = Exits { day: today, count: before + 1 };
            });
        }
        key.ledger.spend(seen, &policy.chain);
        change
    }

    /// Notes what a refusal leads to: strikes, the quarantine of a source-key pair, the halt of the
    /// rotation window that it gives.
    pub fn refused(
        &self,
        policy: &Policy,
        key: &mut KeyState,
        seen: &Observation,
        decision: &Decision,
    ) -> Option<WindowId> {
        let mut halted = None;
        if key.lease.token == seen.source.token() {
            return halted; // the key's own source: what it may not do is refused, the rest goes on
        }
        for finding in decision.findings.iter().filter(|finding| finding.refuses()) {
            let (is_contest, at_once) = match finding.rule {
                Rule::LeaseFence => (true, true),
                Rule::ClientLease => (true, false),
                Rule::DepositCredentials => (false, false),
                Rule::Context if finding.level >= Level::Refuse => (false, false),
                _ => continue, // no other rule tells a second signer from a mistake
            };
            let place = pair(seen.key, seen.source.token());
            self.strikes.change(place, |strikes| strikes.strike(seen, is_contest, at_once));
            if finding.level == Level::HaltRotation
                && let Some(window) = rules::lease::rotation(&Case::new(self, policy, key, seen))
            {
                self.halt(window.id, seen.at.unix_ms);
                halted = Some(window.id);
            }
        }
        halted
    }

    /// Judges an answer before it is released: which shares signed is not known earlier. Reads, and
    /// changes nothing; what it refuses is withheld, and not learned from.
    pub fn judge_answer(
        &self,
        policy: &Policy,
        key: &KeyState,
        seen: &Observation,
        out: &Outcome,
    ) -> Decision {
        let case = Case::new(self, policy, key, seen);
        let mode = case.group.modes[Rule::Shares as usize];
        let Some(set) = telling(seen, out).filter(|_| mode != Mode::Off) else {
            return Decision::default();
        };
        let look = |group: &Group| {
            key.shares.ln_s_with(seen.key, set, &group.cluster, seen.at.slot, case.scope())
        };
        let ln_s = self.groups.read(u64::from(seen.group.0), look).unwrap_or(0.0);
        let mut decision = Decision { ln_s: [0.0, ln_s], ..Decision::default() };
        decision.terms.0[Term::Prior as usize] = case.score.terms.0[Term::Prior as usize];
        decision.terms.0[Term::Shares as usize] = score::of_shares(ln_s);
        let limit = policy.thresholds.shares;
        if ln_s >= limit {
            let (observed, expected) = score::shares_evidence(&case, ln_s, limit);
            let observed = format!("{observed} and now {:#b}", set.0);
            let evidence = Evidence { what: "shares", observed, expected };
            let finding = Finding { rule: Rule::Shares, mode, level: Level::Hold, evidence };
            decision.findings.push(finding);
        }
        rules::conclude(&mut decision);
        decision
    }
}
