//! Bounded maps that many threads use at once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;

use crate::bytes::{Reader, Writer};

const SHARDS: usize = 16;

/// Hashes a number that is no secret of anybody: the caller's keys are hashes or small numbers,
/// and every table is bounded.
#[derive(Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }
}

/// What a table holds.
pub(crate) trait Row: Default {
    /// When it was last of use, in milliseconds of Unix time: the oldest makes room.
    fn used_ms(&self) -> u64;
    /// As it is kept on disk.
    fn write(&self, out: &mut Writer);
    /// From disk; `None` when garbled.
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

type Shard<R> = HashMap<u64, R, BuildHasherDefault<Mix>>;

/// One line of memory for each lock, so that two shards do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Aligned<R>(Mutex<Shard<R>>);

/// A map from numbers to rows, in shards, of at most so many rows.
#[derive(Debug)]
pub(crate) struct Table<R> {
    shards: [Aligned<R>; SHARDS],
    rows_per_shard_max: usize,
}

impl<R: Row> Table<R> {
    pub(crate) fn new(rows_max: usize) -> Self {
        let shards = std::array::from_fn(|_| Aligned(Mutex::new(Shard::default())));
        Self { shards, rows_per_shard_max: rows_max.div_ceil(SHARDS).max(1) }
    }

    fn shard(&self, key: u64) -> &Mutex<Shard<R>> {
        let mut mix = Mix::default();
        mix.write_u64(key);
        &self.shards[(mix.finish() >> 20) as usize % SHARDS].0
    }

    /// Reads a row, where there is one.
    pub(crate) fn read<T>(&self, key: u64, look: impl FnOnce(&R) -> T) -> Option<T> {
        self.shard(key).lock().get(&key).map(look)
    }

    /// Changes a row, and begins it where there is none. A full shard gives up its oldest.
    pub(crate) fn change<T>(&self, key: u64, change: impl FnOnce(&mut R) -> T) -> T {
        let mut shard = self.shard(key).lock();
        if shard.len() >= self.rows_per_shard_max && !shard.contains_key(&key) {
            let oldest = shard.iter().map(|(key, row)| (row.used_ms(), *key)).min();
            if let Some((_, oldest)) = oldest {
                shard.remove(&oldest);
            }
        }
        change(shard.entry(key).or_default())
    }

    /// Changes every row, and keeps those for which the change says so.
    pub(crate) fn sweep(&self, mut keep: impl FnMut(&mut R) -> bool) {
        for shard in &self.shards {
            shard.0.lock().retain(|_, row| keep(row));
        }
    }

    /// The rows in the order of their keys: the same rows give the same bytes.
    pub(crate) fn write(&self, out: &mut Writer) {
        let mut rows = Vec::new();
        for shard in &self.shards {
            for (key, row) in shard.0.lock().iter() {
                let mut bytes = Writer::default();
                row.write(&mut bytes);
                rows.push((*key, bytes.0));
            }
        }
        rows.sort_unstable();
        out.u32(rows.len() as u32);
        for (key, bytes) in rows {
            out.u64(key);
            out.bytes(&bytes);
        }
    }

    /// Fills the table; `None` where the bytes do not hold what they say.
    pub(crate) fn fill(&self, from: &mut Reader<'_>) -> Option<()> {
        for _ in 0..from.u32()? {
            let key = from.u64()?;
            let row = R::read(from)?;
            self.change(key, |place| *place = row);
        }
        Some(())
    }
}
