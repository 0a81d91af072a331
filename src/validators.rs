//! The table of keys: who may sign here, each with its own lock.
//!
//! One open-addressing index over one dense vector of rows. A row never moves to another place in
//! the vector and is never removed: a key that is disabled keeps its record for ever. One key, one
//! lock; whoever holds a row's lock holds no other, and awaits nothing.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};
use slashing_db::{PublicKey, Watermarks};

#[cfg(test)]
mod tests;

/// What the gate knows of one key.
#[derive(Debug)]
pub struct Validator {
    /// Its slashing-protection state. Only the store makes one.
    pub watermarks: Watermarks,
    /// Set when a request panicked while it held this key: its state in memory may be half-done.
    pub halted: bool,
}

/// Stops the key it guards if the thread panics while it holds the lock.
pub struct HaltOnPanic<'a>(pub &'a mut Validator);

impl Drop for HaltOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.halted = true;
        }
    }
}

struct Row {
    public_key: PublicKey, // outside the lock: the index compares it
    validator: Mutex<Validator>,
}

#[derive(Default)]
struct Rows {
    index: HashTable<u32>,
    rows: Vec<Row>,
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
    rows: RwLock<Rows>,
    awaiting: RwLock<BTreeSet<PublicKey>>,
    hasher: RandomState, // keys are attacker-visible: the hash is keyed
    changes: AtomicU64,
    published: ArcSwapOption<(u64, Bytes)>,
}

impl Validators {
    /// A table of the keys that the store holds.
    pub fn new(watermarks: Vec<Watermarks>) -> Self {
        let table = Self {
            rows: RwLock::new(Rows {
                index: HashTable::with_capacity(watermarks.len()),
                rows: Vec::with_capacity(watermarks.len()),
            }),
            awaiting: RwLock::default(),
            hasher: RandomState::new(),
            changes: AtomicU64::new(0),
            published: ArcSwapOption::empty(),
        };
        for one in watermarks {
            table.insert(one);
        }
        table
    }

    /// Adds a key that the store has just enrolled.
    ///
    /// # Panics
    /// If the key is in the table already: the store enrols a key once, and two rows would be two
    /// locks for one key.
    pub fn insert(&self, watermarks: Watermarks) {
        let public_key = *watermarks.public_key();
        self.awaiting.write().remove(&public_key);
        let Rows { index, rows } = &mut *self.rows.write();
        let hash = self.hasher.hash_one(public_key);
        assert!(
            index.find(hash, |&row| rows[row as usize].public_key == public_key).is_none(),
            "key {public_key} enrolled twice"
        );
        let place = u32::try_from(rows.len()).expect("fewer than 2^32 keys");
        rows.push(Row {
            public_key,
            validator: Mutex::new(Validator { watermarks, halted: false }),
        });
        index
            .insert_unique(hash, place, |&row| self.hasher.hash_one(rows[row as usize].public_key));
        self.changed();
    }

    /// What is known of `public_key`.
    pub fn standing(&self, public_key: &PublicKey) -> Standing {
        let rows = self.rows.read();
        let hash = self.hasher.hash_one(public_key);
        if let Some(&row) =
            rows.index.find(hash, |&row| rows.rows[row as usize].public_key == *public_key)
        {
            return Standing::Enrolled(RowIndex(row));
        }
        drop(rows);
        if self.awaiting.read().contains(public_key) {
            Standing::Awaiting
        } else {
            Standing::Unknown
        }
    }

    /// Runs `judge` under the key's lock. A panic in it halts the key and goes on unwinding.
    pub fn with<R>(&self, row: RowIndex, judge: impl FnOnce(&mut Validator) -> R) -> R {
        let rows = self.rows.read();
        let mut validator = rows.rows[row.0 as usize].validator.lock();
        let guard = HaltOnPanic(&mut validator);
        judge(&mut *guard.0)
    }

    /// Runs `change` under the key's lock and publishes the set of keys anew.
    pub fn change<R>(&self, row: RowIndex, change: impl FnOnce(&mut Validator) -> R) -> R {
        let result = self.with(row, change);
        self.changed();
        result
    }

    /// Every enrolled key, in the order of enrolment.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.rows.read().rows.iter().map(|row| row.public_key).collect()
    }

    /// The keys that the signer has and nobody has enrolled.
    pub fn awaiting(&self) -> Vec<PublicKey> {
        self.awaiting.read().iter().copied().collect()
    }

    /// Compares what the signer has with what is enrolled, and remembers the difference.
    pub fn seen_at_upstream(&self, seen: &[PublicKey]) -> UpstreamDifference {
        let enrolled = self.enabled_keys();
        let seen: BTreeSet<PublicKey> = seen.iter().copied().collect();
        let known: BTreeSet<PublicKey> = self.public_keys().into_iter().collect();
        let awaiting: BTreeSet<PublicKey> = seen.difference(&known).copied().collect();
        let mut held = self.awaiting.write();
        let newly_awaiting = awaiting.difference(&held).copied().collect();
        *held = awaiting;
        UpstreamDifference {
            newly_awaiting,
            missing: enrolled.into_iter().filter(|key| !seen.contains(key)).collect(),
        }
    }

    /// The body of `GET /api/v1/eth2/publicKeys`: every enabled key, whatever the signer says.
    /// A key leaves it only by being disabled: clients stop the validators that vanish from it.
    pub fn published(&self) -> Bytes {
        let changes = self.changes.load(Ordering::Acquire);
        if let Some(published) = &*self.published.load()
            && published.0 == changes
        {
            return published.1.clone();
        }
        let keys: Vec<String> = self.enabled_keys().iter().map(ToString::to_string).collect();
        let body = Bytes::from(serde_json::to_vec(&keys).expect("strings always serialise"));
        self.published.store(Some(Arc::new((changes, body.clone()))));
        body
    }

    /// How many keys are in which state.
    pub fn counts(&self) -> KeyCounts {
        let mut counts =
            KeyCounts { awaiting: self.awaiting.read().len() as u64, ..KeyCounts::default() };
        self.for_each(|validator| {
            let count = match (validator.halted, validator.watermarks.is_enabled()) {
                (true, _) => &mut counts.halted,
                (false, true) => &mut counts.enabled,
                (false, false) => &mut counts.disabled,
            };
            *count += 1;
        });
        counts
    }

    /// Looks at every key, each under its lock, in the order of enrolment.
    pub fn for_each(&self, mut look: impl FnMut(&Validator)) {
        for row in &self.rows.read().rows {
            look(&row.validator.lock());
        }
    }

    fn enabled_keys(&self) -> Vec<PublicKey> {
        let mut enabled = Vec::new();
        self.for_each(|validator| {
            if validator.watermarks.is_enabled() {
                enabled.push(*validator.watermarks.public_key());
            }
        });
        enabled
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
