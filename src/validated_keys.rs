//! The enrolled keys as points that are known to be valid, for whoever verifies signatures.
//!
//! To read a compressed key and to check that it lies in the group costs 67 us, which for 500,000
//! keys is half a minute of a core. So each key is validated once, when it is enrolled or when its
//! first signature is verified, and its y coordinate is kept in a table beside the slashing store:
//! that brings it back at the next start for half a microsecond. Losing the table costs that time
//! again and nothing else. A damaged row is found, because its point is not on the curve with the
//! x coordinate of its key, and the key is validated anew.
//!
//! In memory a key has 96 bytes, at the place that its row has in the store.

use std::path::Path;

use parking_lot::{Mutex, RwLock};
use slashing_db::{KeyId, PublicKey, SideTable, SideTableError};

use crate::bls::{self, BlsError, KeySlot};
use crate::validators::Validators;

#[cfg(test)]
mod tests;

/// The keys that were validated, by their row in the store.
#[derive(Debug, Default)]
pub struct ValidatedKeys {
    chunks: RwLock<Vec<Box<[KeySlot]>>>,
    kept: Mutex<Option<SideTable>>,
}

/// What came out of the table at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Keys that need not be validated again.
    pub taken: u64,
    /// Rows that did not belong to their keys: damaged, or of another store.
    pub damaged: u64,
    /// Keys without a usable row, which are validated when they are first needed.
    pub missing: u64,
}

impl ValidatedKeys {
    /// No keys yet, and none kept for the next start.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// No keys yet; those that are validated are kept in a table in `directory`, which is made if
    /// it is not there.
    ///
    /// # Errors
    /// When the table cannot be opened. The keys can still be had [in memory](Self::in_memory).
    pub fn open(directory: &Path) -> Result<Self, SideTableError> {
        let kept = Mutex::new(Some(SideTable::open(directory)?));
        Ok(Self { chunks: RwLock::default(), kept })
    }

    /// Takes the enrolled keys out of the table, as far as they are in it.
    ///
    /// # Errors
    /// When it cannot be read to its end; what was read until then is used.
    pub fn load(&self, validators: &Validators) -> Result<Loaded, SideTableError> {
        let mut loaded = Loaded::default();
        let kept = self.kept.lock();
        let mut failure = None;
        let rows = kept.iter().flat_map(SideTable::iter);
        let rows = rows.map_while(|row| row.map_err(|error| failure = Some(error)).ok());
        let mut rows = rows.filter_map(|(id, row)| Some((decode_id(&id)?, row))).peekable();
        let mut chunks = self.chunks.write();
        // Both are in the order of enrolment, which is that of the ids.
        validators.for_each(|validator| {
            let id = validator.watermarks.id();
            while rows.next_if(|(row_id, _)| *row_id < id.get()).is_some() {}
            let row = rows.next_if(|(row_id, _)| *row_id == id.get());
            let had_row = row.is_some();
            let key = row.and_then(|(_, row)| decode(validator.watermarks.public_key(), &row));
            match key {
                Some(key) => {
                    *slot(&mut chunks, id) = key.into();
                    loaded.taken += 1;
                }
                None => {
                    loaded.damaged += u64::from(had_row);
                    loaded.missing += 1;
                }
            }
        });
        drop(rows);
        failure.map_or(Ok(loaded), Err)
    }

    /// The key in row `id`, if it was validated.
    pub fn get(&self, id: KeyId) -> Option<bls::PublicKey> {
        let (chunk, place) = place(id);
        self.chunks.read().get(chunk)?[place].get()
    }

    /// Remembers validated keys, and keeps them for the next start where there is a table.
    ///
    /// # Errors
    /// When they cannot be kept; they are remembered all the same.
    pub fn add(&self, keys: &[(KeyId, bls::PublicKey)]) -> Result<(), SideTableError> {
        let mut chunks = self.chunks.write();
        for (id, key) in keys {
            *slot(&mut chunks, *id) = (*key).into();
        }
        drop(chunks);
        match &*self.kept.lock() {
            Some(table) => {
                table.put_batch(keys.iter().map(|(id, key)| (encode_id(*id), encode(key))))
            }
            None => Ok(()),
        }
    }

    /// Closes the table, so that another process can open it. What is validated from now on is not
    /// kept.
    pub fn close(&self) {
        *self.kept.lock() = None;
    }

    /// The bytes of memory that the keys take.
    pub fn bytes(&self) -> usize {
        self.chunks.read().len() * KEYS_PER_CHUNK * size_of::<KeySlot>()
    }
}

/// Reads and validates a key: 67 us.
///
/// # Errors
/// When it is not a valid point of the group: nobody can sign with it.
pub fn validate(key: &PublicKey) -> Result<bls::PublicKey, BlsError> {
    bls::PublicKey::from_bytes(&key.0)
}

fn place(id: KeyId) -> (usize, usize) {
    let id = id.get() as usize;
    (id / KEYS_PER_CHUNK, id % KEYS_PER_CHUNK)
}

fn slot(chunks: &mut Vec<Box<[KeySlot]>>, id: KeyId) -> &mut KeySlot {
    let (chunk, place) = place(id);
    while chunks.len() <= chunk {
        chunks.push(vec![KeySlot::default(); KEYS_PER_CHUNK].into());
    }
    &mut chunks[chunk][place]
}

/// Big-endian, so that the rows come in the order of the ids.
fn encode_id(id: KeyId) -> [u8; 4] {
    id.get().to_be_bytes()
}

fn decode_id(id: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(id.try_into().ok()?))
}

fn encode(key: &bls::PublicKey) -> [u8; ROW_BYTES] {
    let mut row = [FORMAT; ROW_BYTES];
    row[1..].copy_from_slice(&key.y());
    row
}

/// The key `public_key`, if the row is its.
fn decode(public_key: &PublicKey, row: &[u8]) -> Option<bls::PublicKey> {
    let (&FORMAT, y) = row.split_first()? else { return None };
    bls::PublicKey::validated_before(&public_key.0, y.try_into().ok()?).ok()
}

/// The first byte of a row: another one is another format, and as good as no row.
const FORMAT: u8 = 1;
const ROW_BYTES: usize = 1 + 48;
/// The table grows by 98 kB and never moves.
const KEYS_PER_CHUNK: usize = 1_024;
