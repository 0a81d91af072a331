//! The engine on RocksDB.
//!
//! What matters most is said to RocksDB in so many words: its default recovery mode
//! (`PointInTime`) opens a store whose log is damaged in the middle and silently forgets what came
//! after, acknowledged or not. Nothing here deletes, merges or compacts records away.

use std::io;
use std::path::Path;

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, FlushOptions,
    IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::{Engine, Entry, Fatal, KeyRecord, Loaded, Outcome, format};
use crate::message::{CountedKind, KeyId};
use crate::rules::Record;
use crate::signed::PublicKey;

#[cfg(test)]
mod tests;

const META: &str = "meta";
const KEYS: &str = "keys";
const ATTESTATIONS: &str = "att";
const BLOCKS: &str = "blk";
const COUNTERS: &str = "cnt";
const FAMILIES: [&str; 5] = [META, KEYS, ATTESTATIONS, BLOCKS, COUNTERS];

const WRITE_BUFFER_BYTES: usize = 16 << 20;
/// What a scan reads ahead: the whole store is read once, in order, when it is opened.
const SCAN_READAHEAD_BYTES: usize = 2 << 20;
/// Bounds what an opening has to replay after a crash: a third of a million records, in a second.
const WAL_BYTES_MAX: u64 = 32 << 20;

/// A directory of RocksDB that holds the records.
pub(crate) struct RocksEngine {
    db: DB,
    write_options: WriteOptions,
}

/// The options that every RocksDB of this crate shares.
pub(crate) fn options() -> Options {
    let mut options = Options::default();
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_keep_log_file_num(4);
    options
}

/// A write is durable when it returns, except where a test must prove that this matters.
pub(crate) fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(!cfg!(feature = "bench-nosync"));
    options.disable_wal(false);
    options
}

/// Whether the directory holds a RocksDB.
pub(crate) fn is_database(directory: &Path) -> bool {
    directory.join("CURRENT").exists()
}

impl RocksEngine {
    /// Makes a new one, or goes on with one that was made before.
    pub(crate) fn create(directory: &Path) -> Result<Self, Fatal> {
        let mut options = options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        Self::from(DB::open_cf_descriptors(&options, directory, families()))
    }

    /// Opens one for writing. Never creates.
    pub(crate) fn open(directory: &Path) -> Result<Self, Fatal> {
        Self::from(DB::open_cf_descriptors(&options(), directory, families()))
    }

    /// Opens one for reading, beside a process that writes it.
    pub(crate) fn open_read_only(directory: &Path) -> Result<Self, Fatal> {
        let families = families();
        Self::from(DB::open_cf_descriptors_read_only(&options(), directory, families, false))
    }

    fn from(opened: Result<DB, rocksdb::Error>) -> Result<Self, Fatal> {
        let db = opened.map_err(|error| fatal("open the database", error))?;
        Ok(Self { db, write_options: write_options() })
    }

    fn family(&self, name: &'static str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("every family was named when the database was opened")
    }

    fn put(&self, batch: &mut WriteBatch, id: KeyId, record: &Record) {
        let id = id.get().to_be_bytes();
        match record {
            Record::Attestation(record) => {
                let value = format::encode_attestation(record);
                batch.put_cf(self.family(ATTESTATIONS), id, value);
            }
            Record::Block(record) => {
                batch.put_cf(self.family(BLOCKS), id, format::encode_block(record));
            }
            Record::Counted(kind, record) => {
                let key = counter_key(id, *kind);
                batch.put_cf(self.family(COUNTERS), key, format::encode_counted(record));
            }
        }
    }

    fn put_key(&self, batch: &mut WriteBatch, key: &KeyRecord) {
        batch.put_cf(self.family(KEYS), key.public_key.0, format::encode_key(key));
        if let Some(record) = key.attestation {
            self.put(batch, key.id, &Record::Attestation(record));
        }
        if let Some(record) = key.block {
            self.put(batch, key.id, &Record::Block(record));
        }
        for kind in CountedKind::ALL {
            if let Some(record) = key.counted[kind.index()] {
                self.put(batch, key.id, &Record::Counted(kind, record));
            }
        }
    }

    /// Hands every row of a family to `row`, in ascending order, checksums verified.
    fn scan(
        &self,
        family: &'static str,
        mut row: impl FnMut(&[u8], &[u8]) -> Result<(), Fatal>,
    ) -> Result<(), Fatal> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.fill_cache(false);
        options.set_readahead_size(SCAN_READAHEAD_BYTES);
        let mut rows = self.db.raw_iterator_cf_opt(self.family(family), options);
        rows.seek_to_first();
        while let (Some(key), Some(value)) = (rows.key(), rows.value()) {
            row(key, value)?;
            rows.next();
        }
        rows.status().map_err(|error| fatal("read the database", error))
    }

    /// Passes over every row with the iterator's own settings.
    pub(crate) fn count_rows(&self) -> Result<u64, Fatal> {
        let mut count = 0;
        for family in FAMILIES {
            for row in self.db.iterator_cf(self.family(family), IteratorMode::Start) {
                row.map_err(|error| fatal("read the database", error))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Every key, without its records, by row number.
    fn load_keys(&self) -> Result<Vec<KeyRecord>, Fatal> {
        let mut rows = Vec::new();
        self.scan(KEYS, |key, value| {
            let public_key = PublicKey(key.try_into().map_err(corrupt)?);
            let row = format::decode_key(value).map_err(corrupt)?;
            rows.push((row, public_key));
            Ok(())
        })?;
        rows.sort_unstable_by_key(|((id, _), _)| *id);
        if rows.windows(2).any(|two| two[0].0.0 == two[1].0.0) {
            return Err(corrupt("two keys have the same row number"));
        }
        let record = |((id, is_enabled), public_key)| KeyRecord {
            is_enabled,
            ..KeyRecord::new(id, public_key)
        };
        Ok(rows.into_iter().map(record).collect())
    }
}

/// Finds the keys of records that come by row number, in ascending order: a merge of two sorted
/// lists, where a map of half a million keys would take most of the time of an opening.
struct Merge<'a> {
    keys: &'a mut [KeyRecord],
    at: usize,
}

impl<'a> Merge<'a> {
    const fn into(keys: &'a mut [KeyRecord]) -> Self {
        Self { keys, at: 0 }
    }

    fn key(&mut self, id: &[u8]) -> Result<&mut KeyRecord, Fatal> {
        let id = id.try_into().map(|bytes| KeyId(u32::from_be_bytes(bytes))).map_err(corrupt)?;
        while self.keys.get(self.at).is_some_and(|key| key.id < id) {
            self.at += 1;
        }
        let found = self.keys.get_mut(self.at).filter(|key| key.id == id);
        found.ok_or_else(|| corrupt("a record belongs to no key"))
    }
}

impl Engine for RocksEngine {
    fn commit(&mut self, entries: &[Entry]) -> Result<Vec<Outcome>, Fatal> {
        let mut batch = WriteBatch::default();
        for entry in entries {
            match entry {
                Entry::Advance(id, record) => self.put(&mut batch, *id, record),
                // One process writes and commits in order: what is confirmed was written before,
                // in an earlier batch that succeeded or in this one.
                Entry::Confirm(..) => {}
                Entry::Key(key) => self.put_key(&mut batch, key),
                Entry::Meta(name, value) => batch.put_cf(self.family(META), name, value),
            }
        }
        if !batch.is_empty() {
            self.db
                .write_opt(batch, &self.write_options)
                .map_err(|error| fatal("write and sync a batch", error))?;
        }
        Ok(vec![Outcome::Recorded; entries.len()])
    }

    fn load(&mut self) -> Result<Loaded, Fatal> {
        let mut keys = self.load_keys()?;
        let mut merge = Merge::into(&mut keys);
        self.scan(ATTESTATIONS, |id, value| {
            let record = format::decode_attestation(value).map_err(corrupt)?;
            merge.key(id)?.attestation = Some(record);
            Ok(())
        })?;
        let mut merge = Merge::into(&mut keys);
        self.scan(BLOCKS, |id, value| {
            merge.key(id)?.block = Some(format::decode_block(value).map_err(corrupt)?);
            Ok(())
        })?;
        let mut merge = Merge::into(&mut keys);
        self.scan(COUNTERS, |id, value| {
            let undefined = || corrupt("a counter of no kind");
            let (kind, id) = id.split_last().ok_or_else(undefined)?;
            let counted = &mut merge.key(id)?.counted;
            let slot = counted.get_mut(usize::from(*kind)).ok_or_else(undefined)?;
            *slot = Some(format::decode_counted(value).map_err(corrupt)?);
            Ok(())
        })?;
        let mut meta = Vec::new();
        self.scan(META, |name, value| {
            let name = String::from_utf8(name.to_vec()).map_err(corrupt)?;
            meta.push((name, value.to_vec()));
            Ok(())
        })?;
        Ok(Loaded { meta, keys })
    }

    /// Writes out what only the log holds, so that the next opening has nothing to replay.
    fn settle(&mut self) {
        let families: Vec<_> = FAMILIES.iter().map(|name| self.family(name)).collect();
        // Not written, it is replayed.
        let _ = self.db.flush_cfs_opt(&families, &FlushOptions::default());
    }
}

fn families() -> Vec<ColumnFamilyDescriptor> {
    FAMILIES.into_iter().map(|name| ColumnFamilyDescriptor::new(name, options())).collect()
}

fn counter_key(id: [u8; 4], kind: CountedKind) -> [u8; 5] {
    let [a, b, c, d] = id;
    let kind = match kind {
        CountedKind::VoluntaryExit => 0,
        CountedKind::Deposit => 1,
    };
    [a, b, c, d, kind]
}

pub(crate) fn fatal(action: &'static str, error: rocksdb::Error) -> Fatal {
    Fatal { action, source: io::Error::other(error) }
}

fn corrupt(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fatal {
    let source = io::Error::new(io::ErrorKind::InvalidData, why);
    Fatal { action: "decode a record", source }
}
