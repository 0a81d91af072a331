//! The table of keys: who may sign here, each with its own lock.
//!
//! A row never moves to another place in the table and is never removed: a key that is disabled
//! keeps its record for ever. One key, one lock; whoever holds a row's lock holds no other, and
//! awaits nothing.
//!
//! Half a million keys are an ordinary table, so nothing here walks all of them for a request: the
//! numbers of keys are kept as they change, and the published list is made by whoever changes the
//! set, not by whoever reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use slashing_db::{PublicKey, Watermarks};

use crate::judgement::Baseline;

use rows::Rows;

mod rows;
#[cfg(test)]
mod tests;

/// What the gate knows of one key.
#[derive(Debug)]
pub struct Validator {
    /// Its slashing-protection state. Only the store makes one.
    pub watermarks: Watermarks,
    /// Set when a request panicked while it held this key: its state in memory may be half-done.
    pub halted: bool,
    /// What is normal for it.
    pub baseline: Baseline,
}

/// Whether a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It may.
    Enabled,
    /// Exported or disabled; its records stay.
    Disabled,
    /// Stopped by a fault of the program, enabled or not.
    Halted,
}

impl Status {
    /// Its name in lists and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Halted => "halted",
        }
    }
}

impl Validator {
    /// Whether it may sign.
    pub fn status(&self) -> Status {
        match (self.halted, self.watermarks.is_enabled()) {
            (true, _) => Status::Halted,
            (false, true) => Status::Enabled,
            (false, false) => Status::Disabled,
        }
    }
}

/// A key under its lock. Whatever was done with it, its table's numbers are right afterwards; and
/// if the thread panics meanwhile, the key is halted.
struct Guarded<'a> {
    validator: &'a mut Validator,
    table: &'a Validators,
    status: Status,
    is_enabled: bool,
}

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.validator.halted = true;
        }
        let status = self.validator.status();
        if status != self.status {
            self.table.statuses[self.status as usize].fetch_sub(1, Ordering::Relaxed);
            self.table.statuses[status as usize].fetch_add(1, Ordering::Relaxed);
        }
        if self.validator.watermarks.is_enabled() != self.is_enabled {
            self.table.changed();
        }
    }
}

/// What the gate knows of a key, seen from the signing path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In the store, enabled or disabled: its lock decides.
    Enrolled(RowIndex),
    /// The signer has it, nobody has enrolled it.
    Awaiting,
    /// Nobody knows it.
    Unknown,
}

/// The place of a key in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowIndex(u32);

impl RowIndex {
    /// The place, from 0: for tables beside this one. It never changes and is never used again.
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

/// How many keys are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// May sign.
    pub enabled: u64,
    /// Exported or disabled; their records stay.
    pub disabled: u64,
    /// Stopped by a fault of the program.
    pub halted: u64,
    /// Seen at the signer, not enrolled.
    pub awaiting: u64,
}

impl KeyCounts {
    /// Every key that was ever enrolled.
    pub fn enrolled(&self) -> u64 {
        self.enabled + self.disabled + self.halted
    }
}

/// The table of keys.
pub struct Validators {
    rows: Rows,
    statuses: [AtomicU64; 3], // by `Status`
    /// What the signer had and nobody had enrolled when it was last asked, in ascending order. A
    /// key that was enrolled since is still in it: who looks here looks into the rows first.
    awaiting: ArcSwap<Vec<PublicKey>>,
    /// How many of them still await.
    awaiting_count: AtomicU64,
    /// Held by who adds a key, or compares all of them with the signer's: not by who signs.
    adding: Mutex<()>,
    /// How often the set of enabled keys has changed.
    changes: AtomicU64,
    published: ArcSwap<Bytes>,
    /// Of which change the published list is. Held by who makes it.
    published_of: Mutex<u64>,
}

/// Publishes the set of keys anew when it is dropped, if it has changed: see
/// [`Validators::publishing`].
#[must_use = "dropped at once, it publishes at once"]
pub struct Publishing<'a>(&'a Validators);

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.0.publish();
    }
}

impl Validators {
    /// A table of the keys that the store holds.
    pub fn new(watermarks: Vec<Watermarks>) -> Self {
        let table = Self {
            rows: Rows::with_capacity(watermarks.len()),
            statuses: Default::default(),
            awaiting: ArcSwap::default(),
            awaiting_count: AtomicU64::new(0),
            adding: Mutex::new(()),
            changes: AtomicU64::new(0),
            published: ArcSwap::from_pointee(Bytes::from_static(b"[]")),
            published_of: Mutex::new(0),
        };
        for one in watermarks {
            table.add(one);
        }
        table.publish();
        table
    }

    /// Adds a key that the store has just enrolled, and publishes it.
    ///
    /// # Panics
    /// If the key is in the table already: the store enrols a key once, and two rows would be two
    /// locks for one key.
    pub fn insert(&self, watermarks: Watermarks) {
        let _publishing = self.publishing();
        self.add(watermarks);
    }

    /// Adds one of many keys that the store has just enrolled: publishing is left to
    /// [`publishing`](Self::publishing).
    ///
    /// # Panics
    /// As [`insert`](Self::insert).
    pub fn add(&self, watermarks: Watermarks) {
        let public_key = *watermarks.public_key();
        let validator = Validator { watermarks, halted: false, baseline: Baseline::default() };
        let status = validator.status();
        let _adding = self.adding.lock();
        self.rows.add(validator);
        self.statuses[status as usize].fetch_add(1, Ordering::Relaxed);
        if self.awaiting.load().binary_search(&public_key).is_ok() {
            self.awaiting_count.fetch_sub(1, Ordering::Relaxed);
        }
        self.changed();
    }

    /// What is known of `public_key`.
    pub fn standing(&self, public_key: &PublicKey) -> Standing {
        if let Some(row) = self.rows.find(public_key) {
            return Standing::Enrolled(row);
        }
        match self.awaiting.load().binary_search(public_key) {
            Ok(_) => Standing::Awaiting,
            Err(_) => Standing::Unknown,
        }
    }

    /// The place of a row as a table beside this one has it, if there is such a row.
    pub fn at_place(&self, place: u32) -> Option<RowIndex> {
        ((place as usize) < self.rows.len()).then_some(RowIndex(place))
    }

    /// Runs `judge` under the key's lock. A panic in it halts the key and goes on unwinding.
    pub fn with<R>(&self, row: RowIndex, judge: impl FnOnce(&mut Validator) -> R) -> R {
        self.rows.with(row, |validator| {
            let (status, is_enabled) = (validator.status(), validator.watermarks.is_enabled());
            let guarded = Guarded { validator, table: self, status, is_enabled };
            judge(&mut *guarded.validator)
        })
    }

    /// Runs `change` under the key's lock and publishes the set of keys anew if it has changed.
    pub fn change<R>(&self, row: RowIndex, change: impl FnOnce(&mut Validator) -> R) -> R {
        let _publishing = self.publishing();
        self.with(row, change)
    }

    /// Publishes the set of keys once, when what this gives is dropped: around a change of many
    /// keys, for the list of half a million takes a tenth of a second to make.
    pub fn publishing(&self) -> Publishing<'_> {
        Publishing(self)
    }

    /// Every enrolled key, in the order of enrolment.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        let mut keys = Vec::with_capacity(self.rows.len());
        self.for_each(|validator| keys.push(*validator.watermarks.public_key()));
        keys
    }

    /// The keys that the signer has and nobody has enrolled, in ascending order.
    pub fn awaiting(&self) -> Vec<PublicKey> {
        let mut awaiting = Vec::clone(&self.awaiting.load());
        awaiting.retain(|key| self.rows.find(key).is_none());
        awaiting
    }

    /// Compares what the signer has with what is enrolled, and remembers the difference.
    ///
    /// Takes some tenths of a second for half a million keys, on the thread that asks. No lock that
    /// a request needs is held for longer than it takes to look at one key.
    pub fn seen_at_upstream(&self, seen: &[PublicKey]) -> UpstreamDifference {
        let mut seen = seen.to_vec();
        seen.sort_unstable();
        seen.dedup();
        let _adding = self.adding.lock(); // a key added meanwhile would be counted as awaiting
        let mut is_seen = vec![false; self.rows.len()];
        seen.retain(|key| match self.rows.find(key) {
            Some(row) => {
                is_seen[row.place()] = true;
                false
            }
            None => true,
        });
        let awaiting = seen;
        let mut missing = Vec::new();
        self.rows.for_each(|row, validator| {
            if validator.watermarks.is_enabled() && !is_seen[row.place()] {
                missing.push(*validator.watermarks.public_key());
            }
        });
        let held = self.awaiting.load();
        let is_new = |key: &&PublicKey| held.binary_search(key).is_err();
        let newly_awaiting = awaiting.iter().filter(is_new).copied().collect();
        self.awaiting_count.store(awaiting.len() as u64, Ordering::Relaxed);
        self.awaiting.store(Arc::new(awaiting));
        UpstreamDifference { newly_awaiting, missing }
    }

    /// The body of `GET /api/v1/eth2/publicKeys`: every enabled key, whatever the signer says.
    /// A key leaves it only by being disabled: clients stop the validators that vanish from it.
    ///
    /// It is at hand whenever it is asked for, and shared by all who ask.
    pub fn published(&self) -> Bytes {
        Bytes::clone(&self.published.load())
    }

    /// How many keys are in which state.
    pub fn counts(&self) -> KeyCounts {
        let of = |status: Status| self.statuses[status as usize].load(Ordering::Relaxed);
        KeyCounts {
            enabled: of(Status::Enabled),
            disabled: of(Status::Disabled),
            halted: of(Status::Halted),
            awaiting: self.awaiting_count.load(Ordering::Relaxed),
        }
    }

    /// Looks at every key, each under its lock, in the order of enrolment.
    pub fn for_each(&self, mut look: impl FnMut(&Validator)) {
        self.rows.for_each(|_, validator| look(validator));
    }

    /// The place of every key that is enrolled by now, in the order of enrolment.
    pub fn row_indices(&self) -> impl Iterator<Item = RowIndex> + use<> {
        (0..u32::try_from(self.rows.len()).unwrap_or(u32::MAX)).map(RowIndex)
    }

    fn publish(&self) {
        let mut published_of = self.published_of.lock();
        let changes = self.changes.load(Ordering::Acquire);
        if *published_of == changes {
            return;
        }
        let mut body = Vec::with_capacity(2 + self.rows.len() * PUBLISHED_KEY_BYTES);
        body.push(b'[');
        self.for_each(|validator| {
            if validator.watermarks.is_enabled() {
                let mut hex = [0; 96];
                let key = &validator.watermarks.public_key().0;
                let hex = faster_hex::hex_encode(key, &mut hex).expect("twice the key's length");
                let comma = if body.len() > 1 { "," } else { "" };
                for part in [comma, "\"0x", hex, "\""] {
                    body.extend_from_slice(part.as_bytes());
                }
            }
        });
        body.push(b']');
        self.published.store(Arc::new(Bytes::from(body)));
        *published_of = changes;
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// How the signer's keys differ from the enrolled ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UpstreamDifference {
    /// Seen for the first time, and not enrolled.
    pub newly_awaiting: Vec<PublicKey>,
    /// Enabled here, and not at the signer: their duties will fail.
    pub missing: Vec<PublicKey>,
}

const PUBLISHED_KEY_BYTES: usize = 1 + 1 + 2 + 96 + 1; // comma, quote, 0x, digits, quote
