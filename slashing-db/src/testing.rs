//! An engine in memory that fails as it is told, for tests and simulations. Not for signing.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::engine::{Engine, Entry, Fatal, KeyRecord, Loaded, Outcome};
use crate::message::KeyId;
use crate::rules::Record;
use crate::signed::PublicKey;

/// Opens a store's database for reading and passes over every row, decoding none: how many there
/// are. The yardstick of an opening.
///
/// # Errors
/// [`Fatal`] when it cannot be read.
#[cfg(feature = "rocksdb")]
pub fn iterate_plain(directory: &std::path::Path) -> Result<u64, Fatal> {
    crate::engine::rocks::RocksEngine::open_read_only(directory)?.count_rows()
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device reports an error (`EIO`); nothing of the batch was written.
    Io,
    /// The device is full (`ENOSPC`); nothing of the batch was written.
    NoSpace,
    /// The device reports an error (`EIO`), and yet the whole batch was written.
    IoAfterWrite,
    /// The engine panics.
    Panic,
}

#[derive(Default)]
struct Disk {
    meta: BTreeMap<String, Vec<u8>>,
    keys: BTreeMap<PublicKey, KeyRecord>,
    rows: BTreeMap<KeyId, PublicKey>,
    commits: u64,
    /// Commits up to this number may run.
    allowed: Option<u64>,
    entering: u64,
    fault: Option<(u64, Fault)>,
}

/// What outlives a crash: open a [`FaultyEngine`] on it again and find all that was committed.
///
/// Also the handle by which faults are ordered while an engine runs.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<(Mutex<Disk>, Condvar)>);

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine on this disk.
    #[must_use]
    pub fn engine(&self) -> FaultyEngine {
        FaultyEngine(self.clone())
    }

    /// How many commits have ended, well or badly.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.0.0.lock().commits
    }

    /// Lets the commit after `after` further good ones fail. One fault is ordered at a time.
    pub fn fail_commit(&self, after: u64, fault: Fault) {
        let mut disk = self.0.0.lock();
        disk.fault = Some((disk.commits + after, fault));
    }

    /// Stops commits before they write, until [`resume`](Self::resume).
    pub fn pause(&self) {
        let mut disk = self.0.0.lock();
        disk.allowed = Some(disk.commits);
    }

    /// Lets commits run again.
    pub fn resume(&self) {
        self.0.0.lock().allowed = None;
        self.0.1.notify_all();
    }

    /// Whether a commit has begun and is held by [`pause`](Self::pause).
    #[must_use]
    pub fn is_held(&self) -> bool {
        let disk = self.0.0.lock();
        disk.entering != disk.commits
    }

    /// Blocks until a commit has begun and is held by [`pause`](Self::pause).
    pub fn wait_until_held(&self) {
        let mut disk = self.0.0.lock();
        while disk.entering == disk.commits {
            self.0.1.wait(&mut disk);
        }
    }

    /// Writes a record behind the store's back, as a second owner of a shared database would: what
    /// does not go beyond it is superseded.
    pub fn overwrite(&self, id: KeyId, record: Record) {
        let mut disk = self.0.0.lock();
        let Some(public_key) = disk.rows.get(&id).copied() else {
            return;
        };
        if let Some(key) = disk.keys.get_mut(&public_key) {
            key.set(record);
        }
    }

    /// What is durable for a key.
    #[must_use]
    pub fn key(&self, public_key: &PublicKey) -> Option<KeyRecord> {
        self.0.0.lock().keys.get(public_key).copied()
    }

    /// A copy as a snapshot of the directory would be, without what comes later.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let disk = self.0.0.lock();
        let (meta, keys, rows) = (disk.meta.clone(), disk.keys.clone(), disk.rows.clone());
        Self(Arc::new((Mutex::new(Disk { meta, keys, rows, ..Disk::default() }), Condvar::new())))
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").field("commits", &self.commits()).finish_non_exhaustive()
    }
}

impl Disk {
    fn apply(&mut self, entry: &Entry) -> Outcome {
        match entry {
            Entry::Advance(id, record) => match self.stored(*id, record) {
                Some(stored) if !goes_beyond(record, &stored) => Outcome::Superseded(stored),
                Some(_) | None => {
                    if let Some(key) = self.rows.get(id).and_then(|it| self.keys.get_mut(it)) {
                        key.set(*record);
                    }
                    Outcome::Recorded
                }
            },
            Entry::Confirm(id, record) => match self.stored(*id, record) {
                Some(stored) if stored != *record => Outcome::Superseded(stored),
                Some(_) | None => Outcome::Recorded,
            },
            Entry::Key(key) => {
                self.rows.insert(key.id, key.public_key);
                self.keys.insert(key.public_key, **key);
                Outcome::Recorded
            }
            Entry::Meta(name, value) => {
                self.meta.insert((*name).to_owned(), value.clone());
                Outcome::Recorded
            }
        }
    }

    fn stored(&self, id: KeyId, like: &Record) -> Option<Record> {
        self.rows.get(&id).and_then(|it| self.keys.get(it)).and_then(|key| key.like(like))
    }
}

/// What a shared database would demand of an update before it is written.
fn goes_beyond(new: &Record, old: &Record) -> bool {
    match (new, old) {
        (Record::Attestation(new), Record::Attestation(old)) => {
            new.target_epoch > old.target_epoch && new.source_epoch >= old.source_epoch
        }
        (Record::Block(new), Record::Block(old)) => new.slot > old.slot,
        (Record::Counted(_, new), Record::Counted(_, old)) => new.count > old.count,
        (Record::Attestation(_) | Record::Block(_) | Record::Counted(..), _) => false,
    }
}

/// The engine on a [`MemoryDisk`].
#[derive(Debug)]
pub struct FaultyEngine(MemoryDisk);

impl Engine for FaultyEngine {
    fn commit(&mut self, batch: &[Entry]) -> Result<Vec<Outcome>, Fatal> {
        let (disk, changed) = &*self.0.0;
        let mut disk = disk.lock();
        disk.entering += 1;
        changed.notify_all();
        while disk.allowed.is_some_and(|allowed| disk.commits >= allowed) {
            changed.wait(&mut disk);
        }
        let fault = disk.fault.filter(|(number, _)| *number == disk.commits);
        disk.commits += 1;
        let fatal = |errno: rustix::io::Errno| Fatal {
            action: "commit in memory",
            source: io::Error::from(errno),
        };
        match fault {
            Some((_, Fault::Io)) => return Err(fatal(rustix::io::Errno::IO)),
            Some((_, Fault::NoSpace)) => return Err(fatal(rustix::io::Errno::NOSPC)),
            Some((_, Fault::Panic)) => panic!("a panic of the engine, as ordered"),
            Some((_, Fault::IoAfterWrite)) | None => {}
        }
        let outcomes = batch.iter().map(|entry| disk.apply(entry)).collect();
        match fault {
            Some(_) => Err(fatal(rustix::io::Errno::IO)),
            None => Ok(outcomes),
        }
    }

    fn load(&mut self) -> Result<Loaded, Fatal> {
        let disk = self.0.0.0.lock();
        let meta = disk.meta.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Loaded { meta, keys: disk.keys.values().copied().collect() })
    }
}
