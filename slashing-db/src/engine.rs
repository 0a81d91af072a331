//! Where records become durable: a batch of entries, one commit.

use crate::message::KeyId;
use crate::rules::{AttestationRecord, BlockRecord, CountedRecord, Record};
use crate::signed::PublicKey;

#[cfg(feature = "rocksdb")]
pub(crate) mod rocks;

#[cfg(feature = "rocksdb")]
pub(crate) mod format;

/// One thing to write, or to confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A record that goes beyond the key's last of its kind.
    Advance(KeyId, Record),
    /// A repeat of a record that was handed over before: nothing to write, but it must be there.
    Confirm(KeyId, Record),
    /// A key as a whole: enrolment, import, disabling and enabling.
    Key(Box<KeyRecord>),
    /// A fact about the store itself, under its name.
    Meta(&'static str, Vec<u8>),
}

impl Entry {
    pub(crate) fn key(record: KeyRecord) -> Self {
        Self::Key(Box::new(record))
    }
}

/// All that a store holds about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key's row.
    pub id: KeyId,
    /// The key.
    pub public_key: PublicKey,
    /// Whether it may sign.
    pub is_enabled: bool,
    /// Its highest attestation.
    pub attestation: Option<AttestationRecord>,
    /// Its highest block.
    pub block: Option<BlockRecord>,
    /// Its counters, by [`CountedKind`](crate::CountedKind) in the order of `CountedKind::ALL`.
    pub counted: [Option<CountedRecord>; 2],
}

impl KeyRecord {
    /// A key without any record.
    pub(crate) const fn new(id: KeyId, public_key: PublicKey) -> Self {
        Self {
            id,
            public_key,
            is_enabled: false,
            attestation: None,
            block: None,
            counted: [None; 2],
        }
    }

    /// The number of the newest record, 0 where there is none.
    pub(crate) fn sequence(&self) -> u64 {
        let attestation = self.attestation.map_or(0, |record| record.sequence);
        let block = self.block.map_or(0, |record| record.sequence);
        let counted = self.counted.iter().flatten().map(|record| record.sequence).max();
        attestation.max(block).max(counted.unwrap_or(0))
    }

    /// The record of one kind replaced.
    pub(crate) fn set(&mut self, record: Record) {
        match record {
            Record::Attestation(record) => self.attestation = Some(record),
            Record::Block(record) => self.block = Some(record),
            Record::Counted(kind, record) => self.counted[kind.index()] = Some(record),
        }
    }

    /// The record of the same kind as `like`.
    pub(crate) fn like(&self, like: &Record) -> Option<Record> {
        match like {
            Record::Attestation(_) => self.attestation.map(Record::Attestation),
            Record::Block(_) => self.block.map(Record::Block),
            Record::Counted(kind, _) => {
                self.counted[kind.index()].map(|record| Record::Counted(*kind, record))
            }
        }
    }
}

/// What became of one entry of a committed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Recorded,
    /// It is not: the store knows of this record, which does not allow it.
    Superseded(Record),
}

/// The engine failed, and what it holds is no longer known. It must not be used again.
#[derive(Debug, thiserror::Error)]
#[error("the slashing store failed ({action}); stop, repair the disk, then restart")]
pub struct Fatal {
    /// What was tried.
    pub action: &'static str,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// All that an engine holds, for opening.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Facts about the store, by name.
    pub meta: Vec<(String, Vec<u8>)>,
    /// Every key that was ever enrolled.
    pub keys: Vec<KeyRecord>,
}

/// Where the records are kept. Used by one thread.
pub trait Engine: Send {
    /// Makes a batch durable as one, in order, and says what became of each entry.
    ///
    /// Once it has returned, whatever it called recorded survives the loss of power. Only entries
    /// of the forms [`Entry::Advance`] and [`Entry::Confirm`] can be superseded. A batch of
    /// confirmations need not touch the disk.
    ///
    /// # Errors
    /// [`Fatal`] when it is unknown what was written: nobody in the batch may sign, now or later.
    fn commit(&mut self, batch: &[Entry]) -> Result<Vec<Outcome>, Fatal>;

    /// Reads everything, and verifies what it reads.
    ///
    /// # Errors
    /// [`Fatal`] when something cannot be read or does not decode.
    fn load(&mut self) -> Result<Loaded, Fatal>;

    /// Makes the next opening quick, where that can be done. Called once, last, when a store closes
    /// in order; what was recorded is durable already, so a failure costs nothing but time.
    fn settle(&mut self) {}
}
