//! Which source-key pairs are in quarantine, and what brought them there.

use super::Engine;
use crate::bytes::{Reader, Writer};
use crate::key::root;
use crate::table::Row;
use crate::{Moment, Observation};

/// Two strikes within this many epochs put a source in quarantine for the key, for as long.
const EPOCHS: u64 = 2;

/// What a source has done to a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strikes {
    first_epoch: u64,
    last_slot: u64,
    last_root: u32,
    count: u8,
    /// The epoch in which the quarantine is over; 0 without one.
    until_epoch: u64,
    /// Whether it rests on two who want the key at once: then it ends when one of them gives up.
    pub(crate) is_contest: bool,
    used_ms: u64,
}

/// A source-key pair in quarantine, for who keeps a register of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Struck {
    /// The epoch in which it is over.
    pub until_epoch: u64,
    /// Whether it rests on two who want the key at once: then it ends when one of them gives up.
    pub is_contest: bool,
}

impl Engine {
    /// Whether the source with this token is in quarantine for a key.
    pub fn struck(&self, key: u32, token: u32, epoch: u64) -> Option<Struck> {
        let look = |strikes: &Strikes| {
            let until_epoch = strikes.quarantined_until(epoch)?;
            Some(Struck { until_epoch, is_contest: strikes.is_contest })
        };
        self.strikes.read(pair(key, token), look).flatten()
    }

    /// Puts a source in quarantine for a key once more, as a register that outlived the engine has
    /// it.
    pub fn strike_again(&self, key: u32, token: u32, struck: Struck, at: Moment) {
        self.strikes.change(pair(key, token), |strikes| {
            strikes.until_epoch = strikes.until_epoch.max(struck.until_epoch);
            strikes.is_contest = struck.is_contest;
            strikes.used_ms = at.unix_ms;
        });
    }

    /// Forgets what a source has done to a key: somebody has released it.
    pub fn forgive(&self, key: u32, token: u32) {
        self.strikes.change(pair(key, token), |strikes| {
            *strikes = Strikes { used_ms: strikes.used_ms, ..Strikes::default() };
        });
    }
}

/// The place of a source-key pair in the table.
pub(crate) fn pair(key: u32, token: u32) -> u64 {
    u64::from(key) << 32 | u64::from(token)
}

impl Strikes {
    /// A grave refusal. A request that is repeated, or several in one slot, are one strike: a
    /// client that is told no asks again.
    pub(crate) fn strike(&mut self, seen: &Observation, is_contest: bool, at_once: bool) {
        let epoch = seen.at.epoch;
        if epoch > self.first_epoch + EPOCHS {
            *self = Self { first_epoch: epoch, until_epoch: self.until_epoch, ..Self::default() };
        }
        self.used_ms = seen.at.unix_ms;
        let is_new =
            self.count == 0 || (self.last_slot != seen.at.slot && self.last_root != root(seen));
        if is_new {
            self.count = self.count.saturating_add(1);
            self.last_slot = seen.at.slot;
            self.last_root = root(seen);
        }
        self.is_contest = is_contest;
        if at_once || self.count >= 2 {
            self.until_epoch = epoch + EPOCHS;
        }
    }

    /// The epoch in which the quarantine is over, where there is one.
    pub(crate) fn quarantined_until(&self, epoch: u64) -> Option<u64> {
        (epoch < self.until_epoch).then_some(self.until_epoch)
    }

    /// Whether it can be forgotten.
    pub(crate) fn is_over(&self, epoch: u64) -> bool {
        epoch > self.first_epoch + EPOCHS && epoch >= self.until_epoch
    }
}

impl Row for Strikes {
    fn used_ms(&self) -> u64 {
        self.used_ms
    }

    fn write(&self, out: &mut Writer) {
        out.u64(self.first_epoch);
        out.u64(self.last_slot);
        out.u32(self.last_root);
        out.u8(self.count);
        out.u64(self.until_epoch);
        out.u8(self.is_contest.into());
        out.u64(self.used_ms);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            first_epoch: from.u64()?,
            last_slot: from.u64()?,
            last_root: from.u32()?,
            count: from.u8()?,
            until_epoch: from.u64()?,
            is_contest: from.u8()? != 0,
            used_ms: from.u64()?,
        })
    }
}
