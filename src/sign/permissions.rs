//! Exits and deposits: refused unless a named key group allows them, and counted for ever.
//!
//! Each permission is spent in the slashing store (per key, durable); a group's total is the sum of
//! its keys' durable counters, so a crash loop gains nothing.

use std::sync::atomic::{AtomicU32, Ordering};

use slashing_db::{CountedKind, PublicKey};

use super::not_signed::Refusal;
use crate::config::KeyGroups;
use crate::eth::DutyKind;
use crate::validators::Validators;

#[cfg(test)]
mod tests;

/// What the configuration allows, by key group.
#[derive(Debug, Default)]
pub struct Permissions {
    groups: KeyGroups,
    exits_used: Vec<AtomicU32>, // by group
}

/// A permission that may be spent on one request.
#[derive(Debug)]
pub struct Permission<'a> {
    group: &'a str,
    per_key_max: u32,
    total: Option<Total<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Total<'a> {
    max: u32,
    used: &'a AtomicU32,
}

/// One of a group's permissions, taken and not yet recorded. Dropping it gives it back.
#[derive(Debug)]
#[must_use]
pub struct Taken<'a>(Option<&'a AtomicU32>);

impl Permissions {
    /// The permissions of `groups`, less what their keys have already used according to the store.
    pub fn new(groups: KeyGroups, validators: &Validators) -> Self {
        let exits_used: Vec<AtomicU32> = groups.iter().map(|_| AtomicU32::new(0)).collect();
        validators.for_each(|validator| {
            let watermarks = &validator.watermarks;
            if let Some((index, _)) = groups.of(&watermarks.public_key().0) {
                let exits = watermarks.counted(CountedKind::VoluntaryExit);
                exits_used[index].fetch_add(exits, Ordering::Relaxed);
            }
        });
        Self { groups, exits_used }
    }

    /// What the group of `public_key` allows of `kind`.
    pub fn find(&self, kind: CountedKind, public_key: &PublicKey) -> Option<Permission<'_>> {
        let (index, group) = self.groups.of(&public_key.0)?;
        let (allowed, per_key_max, total) = match kind {
            CountedKind::VoluntaryExit => (
                group.allow_voluntary_exit,
                group.voluntary_exits_max,
                Some(Total { max: group.voluntary_exits_group_max, used: &self.exits_used[index] }),
            ),
            CountedKind::Deposit => (group.allow_deposit, group.deposits_max, None),
        };
        allowed.then_some(Permission { group: &group.name, per_key_max, total })
    }
}

impl<'a> Permission<'a> {
    /// How many distinct messages one key may sign in its life.
    pub fn per_key_max(&self) -> u32 {
        self.per_key_max
    }

    /// Takes one from the group's total.
    ///
    /// # Errors
    /// When the group has none left.
    pub fn take(&self, kind: DutyKind) -> Result<Taken<'a>, Refusal> {
        let Some(Total { max, used }) = self.total else {
            return Ok(Taken(None));
        };
        used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            (used < max).then(|| used + 1)
        })
        .map(|_| Taken(Some(used)))
        .map_err(|_| Refusal::GroupExhausted { kind, group: self.group.to_owned(), max })
    }
}

impl Taken<'_> {
    /// The store has it: it is spent for good.
    pub fn spend(mut self) {
        self.0 = None;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(used) = self.0 {
            used.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
