//! From a notice to what stops it: in memory, at once, before anything waits for a disk.
//!
//! One thread runs this and nothing slower: what it has done is written down and told by the one
//! behind it.

use std::collections::HashMap;
use std::sync::Arc;

use policy::{ClientIndex, GroupIndex, Level, Moment, Rule};

use super::Notice;
use super::breaker::{Breaker, Evidence, Trip};
use super::playbook::{Action, Trigger};
use super::quarantine::{Order, Probed, Quarantine, QuarantineError, QuarantineId, Scope};
use super::quarantine::{State, What};
use crate::audit::Actor;
use crate::eth::Slot;
use crate::metrics::Verdict;
use crate::sign::{Gate, QUARANTINED};
use crate::validators::{RowIndex, Standing};

/// What containment remembers beside the register.
pub struct Containment {
    gate: Arc<Gate>,
    breaker: Breaker,
    /// Those that are half open: a refusal in their scope closes them.
    half_open: Vec<Arc<Quarantine>>,
    /// The slot in which each fenced source last asked for what it is fenced off from.
    last_asked: HashMap<QuarantineId, u64>,
    /// When this began: what volumes say is of before until some slots later.
    since_slot: u64,
}

/// Who has a key, and in which group it is.
struct Holding {
    group: GroupIndex,
    owner: Option<ClientIndex>,
}

impl Containment {
    /// Goes on from what the register of `gate` holds.
    pub fn new(gate: Arc<Gate>) -> Self {
        let breaker = Breaker::new(gate.response.playbook.breaker);
        let since_slot = gate.slots.slot(gate.clock.now()).0;
        let (half_open, last_asked) = (Vec::new(), HashMap::new());
        let mut contained = Self { gate, breaker, half_open, last_asked, since_slot };
        contained.find_half_open();
        contained
    }

    /// Puts in force what follows from a notice; gives what was imposed.
    pub fn follow(&mut self, notice: &Notice) -> Vec<QuarantineId> {
        if notice.verdict == Verdict::Refused {
            if notice.code == QUARANTINED {
                self.asked_again(notice);
                return Vec::new();
            }
            self.close_again(notice);
        }
        let (Some(row), Some(source)) = (notice.row, notice.source) else { return Vec::new() };
        let mut orders: Vec<Order> = self.struck(notice, row).into_iter().collect();
        let holding = self.holding(row);
        if let (true, Some(owner)) = (is_evidence(notice), holding.owner)
            && !self.are_paired(holding.group, owner, source.client)
        {
            let (at, group) = (notice.at, holding.group);
            let key = u32::try_from(row.place()).unwrap_or(u32::MAX);
            self.breaker.note(Evidence { at, offender: source.client, owner, group, key });
        }
        orders.extend(self.bound(notice, &holding));
        self.impose(orders)
    }

    /// Looks whether the breaker trips by now.
    pub fn look(&mut self, now: Moment) -> Vec<QuarantineId> {
        if self.breaker.is_idle() {
            return Vec::new();
        }
        let judgement = &self.gate.judgement;
        let policy = judgement.policy();
        let trips = self.breaker.tripped(now, |owner, group, since_ms| {
            judgement.engine.is_there_since(&policy, (owner, group), since_ms, now)
        });
        let orders = trips.iter().map(|trip| self.fence(trip, now)).collect();
        self.impose(orders)
    }

    /// What time alone brings, once a slot: ends, and contests that are over.
    pub fn turn(&mut self, now: Moment) {
        for quarantine in self.gate.response.quarantines.in_force() {
            if let Some((what, reason)) = self.due(&quarantine, now) {
                let by = (Actor::Gate(OVER.to_owned()), reason.to_owned());
                let quarantines = &self.gate.response.quarantines;
                let names = &self.gate.judgement;
                let _ = quarantines.step(quarantine.id, what, by, now.unix_ms, names);
                if !what.leaves_in_force() {
                    self.last_asked.remove(&quarantine.id);
                }
            }
        }
        self.find_half_open();
    }

    fn due(&mut self, one: &Quarantine, now: Moment) -> Option<(What, &'static str)> {
        if one.by_strikes {
            return self.strikes_due(one, now);
        }
        if let Scope::Source { group, .. } = &one.scope
            && let Some(owner) = &one.contest_with
            && now.slot > self.since_slot + SETTLED_SLOTS
        {
            let names = &self.gate.judgement;
            let place = (names.clients.index(owner), names.group_named(group)?);
            if names.engine.has_gone(&names.policy(), place, now) {
                return Some((What::Released, "the contest is over: the owner is silent"));
            }
            let asked = *self.last_asked.entry(one.id).or_insert(now.slot);
            if now.slot > asked + self.gate.slots.slots_per_epoch() {
                return Some((What::Released, "the contest is over: the source is silent"));
            }
        }
        if one.state == State::HalfOpen {
            return match self.gate.response.quarantines.probed(one.id, now.slot) {
                Probed::Waits => None,
                Probed::Clean => Some((What::Expired, "what was let through was clean")),
                Probed::Quiet => Some((What::Expired, "nobody asks")),
            };
        }
        let is_over = one.expires_at_ms.is_some_and(|until| now.unix_ms >= until);
        match (is_over, one.scope.half_opens()) {
            (false, _) => None,
            (true, true) => Some((What::HalfOpened, "its time is over")),
            (true, false) => Some((What::Expired, "its time is over")),
        }
    }

    fn strikes_due(&self, one: &Quarantine, now: Moment) -> Option<(What, &'static str)> {
        let (row, token) = struck_pair(&self.gate, &one.scope)?;
        let key = u32::try_from(row.place()).unwrap_or(u32::MAX);
        let judgement = &self.gate.judgement;
        if judgement.engine.struck(key, token, now.epoch).is_none() {
            return Some((What::Expired, "its time is over"));
        }
        let client = one.scope.client().map(|client| judgement.clients.index(client));
        let has_it = one.contest_with.is_some() && self.holding(row).owner == client;
        has_it.then_some((What::Released, "the contest is over: the source has the key"))
    }

    fn holding(&self, row: RowIndex) -> Holding {
        self.gate.validators.with(row, |validator| {
            let public_key = validator.watermarks.public_key();
            let find = || self.gate.judgement.group(public_key);
            let baseline = &mut validator.baseline;
            Holding {
                group: *baseline.group.get_or_insert_with(find),
                owner: baseline.state.owner(),
            }
        })
    }

    /// Whether the policy declares that both sign for the keys of this group.
    fn are_paired(&self, group: GroupIndex, one: ClientIndex, other: ClientIndex) -> bool {
        let policy = self.gate.judgement.policy();
        let active = policy.groups.get(usize::from(group.0)).map(|group| &group.active_clients);
        active.is_some_and(|active| active.contains(&one) && active.contains(&other))
    }

    /// The row of a pair that the engine has struck.
    fn struck(&self, notice: &Notice, row: RowIndex) -> Option<Order> {
        let source = notice.source.filter(|_| notice.verdict == Verdict::Refused)?;
        let key = u32::try_from(row.place()).unwrap_or(u32::MAX);
        let judgement = &self.gate.judgement;
        let struck = judgement.engine.struck(key, source.token(), notice.at.epoch)?;
        let scope = Scope::Pair {
            client: notice.client.name().to_owned(),
            source: Some(source.token()),
            public_key: notice.public_key.clone(),
        };
        let slots = self.gate.slots;
        let until = Slot(struck.until_epoch.saturating_mul(slots.slots_per_epoch()));
        let expires_at_ms = slots.start_unix_ns(until) / 1_000_000;
        let quarantines = &self.gate.response.quarantines;
        if let Some(known) = quarantines.of_scope(&scope.clone().normalised()) {
            quarantines.prolong(known.id, expires_at_ms);
            return None;
        }
        let owner = self.holding(row).owner.filter(|_| struck.is_contest);
        Some(Order {
            scope,
            reason: notice.reason.clone(),
            actor: Actor::Gate("strikes".to_owned()),
            at_ms: notice.at.unix_ms,
            expires_at_ms: Some(expires_at_ms),
            contest_with: owner.map(|owner| self.name(owner)),
            by_strikes: true,
        })
    }

    /// What the playbook binds to a notice.
    fn bound(&self, notice: &Notice, holding: &Holding) -> Vec<Order> {
        if !Trigger::of(notice).is_some_and(Trigger::may_act) {
            return Vec::new();
        }
        let client = notice.client.name().to_owned();
        let is_owner = holding.owner == notice.source.map(|source| source.client);
        let public_key = notice.public_key.clone();
        let group = self.gate.judgement.group_name(holding.group);
        let actions = self.gate.response.playbook.actions(notice).iter();
        let orders = actions.filter_map(|action| {
            let (scope, lasts) = match action {
                Action::Observe | Action::Notify | Action::Page => return None,
                Action::FreezeKey => (Scope::Key { public_key: public_key.clone() }, false),
                // Who has the lease is stopped by a person, or with its key.
                Action::QuarantinePair | Action::FenceSource if is_owner => return None,
                Action::QuarantinePair => {
                    let (client, public_key) = (client.clone(), public_key.clone());
                    (Scope::Pair { client, source: None, public_key }, true)
                }
                Action::FenceSource => {
                    let (client, group) = (client.clone(), group.clone());
                    (Scope::Source { client, group }, true)
                }
            };
            Some(Order {
                scope,
                reason: format!("{}: {}", notice.code, notice.reason),
                actor: Actor::Gate("playbook".to_owned()),
                at_ms: notice.at.unix_ms,
                expires_at_ms: lasts.then(|| self.until(notice.at)),
                contest_with: None,
                by_strikes: false,
            })
        });
        orders.collect()
    }

    fn fence(&self, trip: &Trip, now: Moment) -> Order {
        let owner = self.name(trip.owner);
        let group = self.gate.judgement.group_name(trip.group);
        Order {
            scope: Scope::Source { client: self.name(trip.offender), group },
            reason: format!("it asks for {} keys of {owner}, which is alive", trip.keys),
            actor: Actor::Gate("breaker".to_owned()),
            at_ms: now.unix_ms,
            expires_at_ms: Some(self.until(now)),
            contest_with: Some(owner),
            by_strikes: false,
        }
    }

    fn until(&self, now: Moment) -> u64 {
        let slots = self.gate.slots;
        let epoch = slots.slot_duration() * u32::try_from(slots.slots_per_epoch()).unwrap_or(32);
        let epoch_ms = u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX);
        now.unix_ms.saturating_add(epoch_ms * self.gate.response.playbook.quarantine_epochs)
    }

    fn impose(&self, orders: Vec<Order>) -> Vec<QuarantineId> {
        if orders.is_empty() {
            return Vec::new();
        }
        let orders = orders.into_iter();
        let orders = orders.map(|it| Order { scope: it.scope.normalised(), ..it }).collect();
        let imposed = self.gate.response.quarantines.impose(orders, &self.gate.judgement);
        let ids = imposed.into_iter().filter_map(|imposed| match imposed {
            Ok(id) => Some(id),
            Err(QuarantineError::Already(_)) => None,
            Err(error) => {
                tracing::error!(event = "quarantine_not_imposed", %error, "not stopped");
                None
            }
        });
        ids.collect()
    }

    /// A fenced source asks again for what it is fenced off from: the contest goes on.
    fn asked_again(&mut self, notice: &Notice) {
        let Some(row) = notice.row else { return };
        let group = self.gate.judgement.group_name(self.holding(row).group);
        let scope = Scope::Source { client: notice.client.name().to_owned(), group };
        if let Some(known) = self.gate.response.quarantines.of_scope(&scope) {
            self.last_asked.insert(known.id, notice.at.slot);
        }
    }

    /// One more refusal in its scope, and what is half open is closed.
    fn close_again(&mut self, notice: &Notice) {
        if self.half_open.is_empty() {
            return;
        }
        let Some(row) = notice.row else { return };
        let group = self.gate.judgement.group_name(self.holding(row).group);
        let (quarantines, names) = (&self.gate.response.quarantines, &self.gate.judgement);
        self.half_open.retain(|one| {
            let of_client = one.scope.client().is_none_or(|name| name == notice.client.name());
            let of_group = one.scope.group().is_none_or(|name| name == group);
            if of_client && of_group {
                let by = (Actor::Gate("half_open".to_owned()), notice.reason.clone());
                let _ = quarantines.step(one.id, What::Closed, by, notice.at.unix_ms, names);
            }
            !(of_client && of_group)
        });
    }

    fn find_half_open(&mut self) {
        self.half_open = self.gate.response.quarantines.in_force();
        self.half_open.retain(|one| one.state == State::HalfOpen);
    }

    fn name(&self, client: ClientIndex) -> String {
        let names = self.gate.judgement.clients.names();
        names.into_iter().nth(usize::from(client.0)).unwrap_or_default()
    }
}

/// The row and the source of a pair that the engine holds.
pub(super) fn struck_pair(gate: &Gate, scope: &Scope) -> Option<(RowIndex, u32)> {
    let Scope::Pair { source: Some(token), .. } = scope else { return None };
    match gate.validators.standing(&slashing_db::PublicKey(scope.key()?)) {
        Standing::Enrolled(row) => Some((row, *token)),
        Standing::Awaiting | Standing::Unknown => None,
    }
}

/// Whether a refusal may be one of a second live signer.
fn is_evidence(notice: &Notice) -> bool {
    if notice.verdict != Verdict::Refused {
        return false;
    }
    if notice.is_conflict() {
        return true;
    }
    let refusal = notice.decision.as_ref().and_then(|decision| decision.refusal());
    refusal.is_some_and(|finding| match finding.rule {
        Rule::ClientLease | Rule::LeaseFence => true,
        Rule::Quarantine => finding.level >= Level::Quarantine,
        _ => false, // no other rule tells a second signer from a mistake
    })
}

/// Slots after a start in which nobody is held silent.
const SETTLED_SLOTS: u64 = 16;
/// By whom a quarantine ends whose time is over.
const OVER: &str = "expiry";
