//! Where the keys are kept: rows that never move, and the index that finds them.
//!
//! Rows lie in chunks of a fixed size. Adding one never moves another, so that half a million keys
//! are enrolled beside signatures without a pause: a vector that grows would copy a hundred
//! megabytes under the lock that every request needs. The index holds row numbers alone, in shards
//! by the key's hash: a shard that grows stops one request in 256, for some hundred microseconds.
//!
//! Locks, in this order: a shard's, then a row's. Whoever holds a row's takes no other.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};
use slashing_db::PublicKey;

use super::{RowIndex, Validator};

const ROWS_PER_CHUNK: usize = 4_096;
const SHARDS: usize = 256;

/// Empty until the row is given to a key, and filled for ever after.
///
/// 208 bytes and the state of the key's baseline, which the same lock and the same lines of memory
/// hold; and some ten in the index.
pub(super) type Row = Mutex<Option<Validator>>;
type Chunks = Vec<Arc<[Row]>>;

pub(super) struct Rows {
    chunks: ArcSwap<Chunks>,
    shards: Box<[RwLock<HashTable<u32>>]>,
    hasher: RandomState, // keys are attacker-visible: the hash is keyed
    /// How many rows are filled. Locked by whoever adds one.
    filled: Mutex<u32>,
}

impl Rows {
    pub(super) fn with_capacity(keys: usize) -> Self {
        let shard = || RwLock::new(HashTable::with_capacity(keys.div_ceil(SHARDS)));
        Self {
            chunks: ArcSwap::default(),
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: RandomState::new(),
            filled: Mutex::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        *self.filled.lock() as usize
    }

    /// The row of a key.
    pub(super) fn find(&self, public_key: &PublicKey) -> Option<RowIndex> {
        let hash = self.hasher.hash_one(public_key);
        let shard = self.shard(hash).read();
        shard.find(hash, |&row| self.is_of(row, public_key)).map(|&row| RowIndex(row))
    }

    /// Fills the next row.
    ///
    /// # Panics
    /// If the key has one: two rows would be two locks for one key.
    pub(super) fn add(&self, validator: Validator) {
        let public_key = *validator.watermarks.public_key();
        let hash = self.hasher.hash_one(public_key);
        let mut filled = self.filled.lock();
        let mut shard = self.shard(hash).write();
        let known = shard.find(hash, |&row| self.is_of(row, &public_key));
        assert!(known.is_none(), "key {public_key} enrolled twice");
        let row = *filled;
        *filled = row.checked_add(1).expect("fewer than 2^32 keys");
        self.make_room(row);
        self.lock(row, |place| *place = Some(validator));
        // Found from here on, and not before it is filled.
        shard.insert_unique(hash, row, |&row| {
            self.with(RowIndex(row), |it| self.hasher.hash_one(it.watermarks.public_key()))
        });
    }

    /// Runs `judge` under the row's lock.
    pub(super) fn with<R>(&self, row: RowIndex, judge: impl FnOnce(&mut Validator) -> R) -> R {
        self.lock(row.0, |place| {
            judge(place.as_mut().expect("a row is filled before its number is given away"))
        })
    }

    /// Every row, each under its lock, in the order in which they were filled.
    pub(super) fn for_each(&self, mut look: impl FnMut(RowIndex, &Validator)) {
        let filled = *self.filled.lock();
        for row in (0..filled).map(RowIndex) {
            self.with(row, |validator| look(row, validator));
        }
    }

    fn lock<R>(&self, row: u32, look: impl FnOnce(&mut Option<Validator>) -> R) -> R {
        let chunks = self.chunks.load();
        let (chunk, place) = place(row);
        let mut row = chunks[chunk][place].lock();
        look(&mut row)
    }

    fn is_of(&self, row: u32, public_key: &PublicKey) -> bool {
        self.with(RowIndex(row), |it| it.watermarks.public_key() == public_key)
    }

    fn make_room(&self, row: u32) {
        let chunks = self.chunks.load();
        if place(row).0 < chunks.len() {
            return;
        }
        let mut longer = Chunks::clone(&chunks);
        longer.push((0..ROWS_PER_CHUNK).map(|_| Mutex::new(None)).collect());
        self.chunks.store(Arc::new(longer));
    }

    fn shard(&self, hash: u64) -> &RwLock<HashTable<u32>> {
        // The table takes its bits from both ends of the hash; these are its middle.
        &self.shards[(hash >> 40) as usize % SHARDS]
    }
}

const fn place(row: u32) -> (usize, usize) {
    (row as usize / ROWS_PER_CHUNK, row as usize % ROWS_PER_CHUNK)
}
