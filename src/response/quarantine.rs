//! Who is refused what, until when, and why: the register of quarantines, and what the signing path
//! reads of it.
//!
//! Each is in memory first, from where step 4 of the path refuses by it; then on disk, before a
//! person is told that it holds, and before an event says so; it outlives the process. A key in
//! quarantine stays in `publicKeys`, and nothing of it changes: no watermark, no budget, no lease.
//!
//! | state | refused |
//! |---|---|
//! | active | everything in its scope |
//! | half open | everything but [`PROBES`] requests, until it shows whether those are clean |
//! | released, expired | nothing |
//!
//! Those of a client, a cohort or a source become half open when their time is over: too many keys
//! hang on them to let all go at once. The next refusal in its scope closes it again, for as long
//! as before; a slot after the first requests that were let through without one, it is over; and so
//! it is when nobody has asked for [`QUIET_SLOTS`] slots. Those of one key simply end.
//!
//! # Strikes
//! The policy's engine counts strikes and refuses a struck source for its key under the key's own
//! lock, in the very judgement that strikes it, and knows when the contest is over, for it knows
//! the lease. That stays where it is: moving it would put a thread between a decision and its
//! effect. The register has a row for each all the same, with `by_strikes` set, so that it is
//! listed, told, released and put back after a restart like any other; step 4 passes those by.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::table::ResponseTable;
use crate::audit::Actor;
use crate::clock::iso8601;
use crate::enrolment::with_causes;

pub use self::index::{Asked, Names};
use self::index::{Index, Probe};
pub use self::record::{Change, What, name_of};
pub use self::scope::Scope;

mod index;
mod record;
mod scope;
#[cfg(test)]
mod tests;

/// Requests that a half-open quarantine lets through.
pub const PROBES: u32 = 16;
/// A half-open quarantine that nobody asks about for so many slots is over.
pub const QUIET_SLOTS: u64 = 32;

/// The name of a quarantine: a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QuarantineId(pub u64);

impl fmt::Display for QuarantineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q-{}", self.0)
    }
}

impl std::str::FromStr for QuarantineId {
    type Err = QuarantineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("q-").unwrap_or(text).parse();
        number.map(Self).map_err(|_| QuarantineError::Unknown(text.to_owned()))
    }
}

/// What a quarantine does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It refuses.
    Active,
    /// It lets a few through.
    HalfOpen,
    /// Somebody has ended it, or the contest is over.
    Released,
    /// Its time is over.
    Expired,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Active, Self::HalfOpen, Self::Released, Self::Expired];

    /// Its name in lists and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::HalfOpen => "half_open",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }

    /// Whether it still refuses anything.
    pub const fn is_in_force(self) -> bool {
        match self {
            Self::Active | Self::HalfOpen => true,
            Self::Released | Self::Expired => false,
        }
    }
}

/// How a quarantine ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When, in milliseconds of Unix time.
    pub at_ms: u64,
    /// By whom, as [`name_of`] writes it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// One quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Its name.
    pub id: QuarantineId,
    /// What is refused.
    pub scope: Scope,
    /// Why, in the words of who imposed it.
    pub reason: String,
    /// Who imposed it, as [`name_of`] writes it.
    pub actor: String,
    /// Since when, in milliseconds of Unix time.
    pub imposed_at_ms: u64,
    /// Until when; `None` for until it is released.
    pub expires_at_ms: Option<u64>,
    /// What it does now.
    pub state: State,
    /// The client that had the keys, where it rests on two who want them at once: it ends when one
    /// of them gives up.
    pub contest_with: Option<String>,
    /// Whether the policy's engine holds it.
    pub by_strikes: bool,
    /// How it ended.
    pub ended: Option<Ended>,
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = iso8601(self.imposed_at_ms / 1_000);
        write!(f, "{}, in quarantine since {since} by {}, ", self.scope, self.actor)?;
        match (self.state, self.expires_at_ms) {
            (State::HalfOpen, _) => f.write_str("half open now")?,
            (_, Some(until)) => write!(f, "until {}", iso8601(until / 1_000))?,
            (_, None) => f.write_str("until it is released")?,
        }
        let id = self.id;
        write!(f, ": {}; `portcullis admin quarantines release {id}` ends it", self.reason)
    }
}

/// A quarantine as it is wished.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is to be refused.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// Who wants it.
    pub actor: Actor,
    /// When, in milliseconds of Unix time.
    pub at_ms: u64,
    /// Until when; `None` for until it is released.
    pub expires_at_ms: Option<u64>,
    /// See [`Quarantine::contest_with`].
    pub contest_with: Option<String>,
    /// See [`Quarantine::by_strikes`].
    pub by_strikes: bool,
}

/// Why nothing was done, or not all of it.
#[derive(Debug, Error)]
pub enum QuarantineError {
    /// There is none of that name.
    #[error("no quarantine is called {0}")]
    Unknown(String),
    /// It is over already.
    #[error("quarantine {0} is over already")]
    Over(QuarantineId),
    /// The same scope is in quarantine already.
    #[error("that is in quarantine already: {0}")]
    Already(QuarantineId),
    /// The scope names what is not there.
    #[error("{0}")]
    Scope(String),
    /// There are too many.
    #[error("too many quarantines are in force; release some, or stop the client that causes them")]
    Full,
    /// It holds in memory, and would not outlive a restart.
    #[error("it holds now, but could not be written to disk and ends with the process: {0}")]
    NotKept(String),
}

/// All quarantines.
#[derive(Debug, Default)]
pub struct Quarantines {
    /// How many entries the index has: the only load of a path that has nothing to refuse.
    in_force: AtomicUsize,
    index: ArcSwap<Index>,
    register: Mutex<Register>,
    /// Held from taking what is not on disk until it is: nobody is told earlier.
    saving: Mutex<()>,
}

#[derive(Debug, Default)]
struct Register {
    rows: BTreeMap<u64, Arc<Quarantine>>,
    by_scope: HashMap<Scope, u64>,
    probes: HashMap<u64, Arc<Probe>>,
    last: u64,
    unsaved: Vec<Change>,
}

impl Quarantines {
    /// Whether step 4 has nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.in_force.load(Ordering::Acquire) == 0
    }

    /// The quarantine that refuses a request. For the signing path: waits for nothing.
    pub fn find(&self, asked: &Asked<'_>) -> Option<Arc<Quarantine>> {
        if self.is_empty() { None } else { self.index.load().find(asked) }
    }

    /// Reads what was kept, and puts it in force. For the start.
    ///
    /// # Errors
    /// A table that cannot be read: what was stopped must not go on by a restart.
    pub fn load(&self, table: &ResponseTable, names: &dyn Names) -> Result<(), QuarantineError> {
        let kept =
            record::read(table).map_err(|error| QuarantineError::NotKept(with_causes(&*error)))?;
        let mut register = self.register.lock();
        register.last = kept.last;
        for row in kept.rows {
            register.put(Arc::new(row));
        }
        self.publish(&register, names);
        Ok(())
    }

    /// Every quarantine that is known, the oldest first.
    pub fn list(&self) -> Vec<Arc<Quarantine>> {
        self.register.lock().rows.values().cloned().collect()
    }

    /// Those that still refuse something.
    pub fn in_force(&self) -> Vec<Arc<Quarantine>> {
        let register = self.register.lock();
        register.by_scope.values().filter_map(|id| register.rows.get(id).cloned()).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`QuarantineError::Unknown`]
    pub fn get(&self, id: QuarantineId) -> Result<Arc<Quarantine>, QuarantineError> {
        let found = self.register.lock().rows.get(&id.0).cloned();
        found.ok_or_else(|| QuarantineError::Unknown(id.to_string()))
    }

    /// The one that holds for exactly this scope.
    pub fn of_scope(&self, scope: &Scope) -> Option<Arc<Quarantine>> {
        let register = self.register.lock();
        register.by_scope.get(scope).and_then(|id| register.rows.get(id).cloned())
    }

    /// Puts some in force, in memory. [`save`](Self::save) keeps them. For each its id, or why not.
    pub fn impose(
        &self,
        orders: Vec<Order>,
        names: &dyn Names,
    ) -> Vec<Result<QuarantineId, QuarantineError>> {
        let concerns_path = orders.iter().any(|order| !order.by_strikes);
        let mut register = self.register.lock();
        let imposed = orders.into_iter().map(|order| register.impose(order, names)).collect();
        if concerns_path {
            self.publish(&register, names);
        }
        imposed
    }

    /// Lets an automatic one hold for longer: its cause goes on. Told once, when it begins.
    pub fn prolong(&self, id: QuarantineId, expires_at_ms: u64) {
        let mut register = self.register.lock();
        let Some(row) = register.rows.get(&id.0) else { return };
        if row.expires_at_ms.is_some_and(|until| until < expires_at_ms) {
            let row = Quarantine { expires_at_ms: Some(expires_at_ms), ..Quarantine::clone(row) };
            register.put(Arc::new(row));
            register.unsaved.push(Change::prolonged(id));
        }
    }

    /// Ends one, in memory. [`save`](Self::save) keeps that.
    ///
    /// # Errors
    /// [`QuarantineError::Unknown`], [`QuarantineError::Over`]
    pub fn release(
        &self,
        id: QuarantineId,
        (actor, reason): (Actor, String),
        at_ms: u64,
        names: &dyn Names,
    ) -> Result<Arc<Quarantine>, QuarantineError> {
        self.step(id, What::Released, (actor, reason), at_ms, names)
    }

    /// Its time is over, or it has shown what it is: it half opens, closes again or ends.
    ///
    /// # Errors
    /// [`QuarantineError::Unknown`], [`QuarantineError::Over`]
    pub fn step(
        &self,
        id: QuarantineId,
        what: What,
        (actor, reason): (Actor, String),
        at_ms: u64,
        names: &dyn Names,
    ) -> Result<Arc<Quarantine>, QuarantineError> {
        let mut register = self.register.lock();
        let row = register.rows.get(&id.0);
        let row = row.ok_or_else(|| QuarantineError::Unknown(id.to_string()))?;
        if !row.state.is_in_force() {
            return Err(QuarantineError::Over(id));
        }
        let mut row = Quarantine::clone(row);
        row.state = what.state();
        if what == What::Closed {
            let length = row.expires_at_ms.map(|until| until.saturating_sub(row.imposed_at_ms));
            row.imposed_at_ms = at_ms;
            row.expires_at_ms = length.map(|length| at_ms + length);
        }
        if !row.state.is_in_force() {
            row.ended = Some(Ended { at_ms, by: name_of(&actor), reason: reason.clone() });
        }
        let row = Arc::new(row);
        register.put(Arc::clone(&row));
        register.unsaved.push(Change { id, what, actor, reason, at_ms });
        if !row.by_strikes {
            self.publish(&register, names);
        }
        Ok(row)
    }

    /// Whether a half-open one has let requests through before this slot, and whether nobody asks.
    pub fn probed(&self, id: QuarantineId, slot: u64) -> Probed {
        let register = self.register.lock();
        register.probes.get(&id.0).map_or(Probed::Waits, |probe| probe.at(slot))
    }

    /// Writes what has changed to disk, then hands each change to `tell`. When it returns, all that
    /// was in memory when it was called is on disk.
    ///
    /// # Errors
    /// [`QuarantineError::NotKept`]: it holds in memory, and is tried again the next time.
    pub fn save(
        &self,
        table: &ResponseTable,
        mut tell: impl FnMut(&Quarantine, &Change),
    ) -> Result<(), QuarantineError> {
        let _saving = self.saving.lock();
        let (changes, rows, last, purged) = {
            let mut register = self.register.lock();
            if register.unsaved.is_empty() {
                return Ok(());
            }
            let purged = register.purge();
            let changes = std::mem::take(&mut register.unsaved);
            let row = |change: &Change| register.rows.get(&change.id.0).cloned();
            let rows: Vec<_> = changes.iter().map(row).collect();
            (changes, rows, register.last, purged)
        };
        let written = record::write(table, rows.iter().flatten(), last, &purged);
        if let Err(error) = written {
            self.register.lock().unsaved.splice(0..0, changes);
            return Err(QuarantineError::NotKept(with_causes(&error)));
        }
        for (change, row) in changes.iter().zip(rows) {
            if let (Some(row), true) = (row, change.what != What::Prolonged) {
                tell(&row, change);
            }
        }
        Ok(())
    }

    fn publish(&self, register: &Register, names: &dyn Names) {
        let in_force = register.by_scope.values().filter_map(|id| register.rows.get(id));
        let index = Index::new(in_force, &register.probes, names);
        let entries = index.len();
        self.index.store(Arc::new(index));
        self.in_force.store(entries, Ordering::Release);
    }
}

/// What the requests say that a half-open quarantine has let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// None were let through yet, or just now.
    Waits,
    /// Some were, in an earlier slot.
    Clean,
    /// Nobody has asked for long.
    Quiet,
}

impl Register {
    fn impose(&mut self, order: Order, names: &dyn Names) -> Result<QuarantineId, QuarantineError> {
        order.scope.check(names).map_err(QuarantineError::Scope)?;
        if let Some(id) = self.by_scope.get(&order.scope) {
            return Err(QuarantineError::Already(QuarantineId(*id)));
        }
        if self.by_scope.len() >= IN_FORCE_MAX {
            return Err(QuarantineError::Full);
        }
        self.last += 1;
        let id = QuarantineId(self.last);
        self.put(Arc::new(Quarantine {
            id,
            scope: order.scope,
            reason: order.reason.clone(),
            actor: name_of(&order.actor),
            imposed_at_ms: order.at_ms,
            expires_at_ms: order.expires_at_ms,
            state: State::Active,
            contest_with: order.contest_with,
            by_strikes: order.by_strikes,
            ended: None,
        }));
        let Order { actor, reason, at_ms, .. } = order;
        self.unsaved.push(Change { id, what: What::Imposed, actor, reason, at_ms });
        Ok(id)
    }

    fn put(&mut self, row: Arc<Quarantine>) {
        let id = row.id.0;
        if row.state.is_in_force() {
            self.by_scope.insert(row.scope.clone(), id);
        } else if self.by_scope.get(&row.scope) == Some(&id) {
            self.by_scope.remove(&row.scope);
        }
        match row.state {
            State::HalfOpen => {
                self.probes.entry(id).or_default();
            }
            State::Active | State::Released | State::Expired => {
                self.probes.remove(&id);
            }
        }
        self.rows.insert(id, row);
    }

    /// Forgets the oldest of those that are over, and gives their ids.
    fn purge(&mut self) -> Vec<u64> {
        let excess = self.rows.len().saturating_sub(self.by_scope.len() + ENDED_KEPT_MAX);
        if excess == 0 {
            return Vec::new();
        }
        let is_unsaved = |id: u64| self.unsaved.iter().any(|change| change.id.0 == id);
        let over = self.rows.values().filter(|row| !row.state.is_in_force());
        let over = over.map(|row| row.id.0).filter(|id| !is_unsaved(*id));
        let oldest: Vec<u64> = over.take(excess).collect();
        for id in &oldest {
            self.rows.remove(id);
        }
        oldest
    }
}

/// As many as the engine keeps strikes of.
const IN_FORCE_MAX: usize = 65_536;
/// Those that are over and still listed.
const ENDED_KEPT_MAX: usize = 4_096;
