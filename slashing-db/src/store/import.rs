//! Import: what other signers signed, merged into the records and never lowering one.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use super::enrol::{EnrolError, KEYS_IN_FLIGHT_MAX, summary_of};
use super::identity::IMPORTING;
use super::{NotWritten, Store};
use crate::engine::{Entry, KeyRecord};
use crate::interchange::{self, AboveBounds, ReadError, Summary};
use crate::recorder::Changing;
use crate::signed::PublicKey;
use crate::watermarks::Watermarks;

/// The highest epoch and slot that a record may have: the present epoch plus one, as a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportBounds {
    /// The highest source or target epoch.
    pub epoch_max: u64,
    /// The highest slot.
    pub slot_max: u64,
}

/// How the store reaches the watermarks that the caller keeps under locks of its own.
pub trait KeyTable {
    /// Runs `change` under the key's lock, if the table has the key.
    fn with<R>(
        &mut self,
        public_key: &PublicKey,
        change: impl FnOnce(&mut Watermarks) -> R,
    ) -> Option<R>;

    /// Takes in a new key, which is durable already.
    fn insert(&mut self, watermarks: Watermarks);
}

impl KeyTable for HashMap<PublicKey, Watermarks> {
    fn with<R>(
        &mut self,
        public_key: &PublicKey,
        change: impl FnOnce(&mut Watermarks) -> R,
    ) -> Option<R> {
        self.get_mut(public_key).map(change)
    }

    fn insert(&mut self, watermarks: Watermarks) {
        Self::insert(self, *watermarks.public_key(), watermarks);
    }
}

/// What became of a key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// Its records were raised, or it was enrolled or enabled by them.
    Raised,
    /// The store had all of it already.
    Unchanged,
    /// Nothing was changed. The other keys went on.
    Refused(NotImported),
}

/// Why a key of the file was not imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotImported {
    /// A record of the future would silence the key until then.
    #[error(transparent)]
    AboveBounds(AboveBounds),
    /// The file names the key without a record, which proves nothing about what it signed.
    #[error("the file has no record of it: enrol it as new, or by a floor")]
    NoRecords,
    /// The key is disabled here, and the file says nothing that the store does not know.
    #[error(
        "it is disabled here, and the file is not newer than its records: it may have \
         signed since; import a newer file, or enable it by a floor"
    )]
    NotNewer,
    /// The store knows the key and the caller's table does not: a bug of the caller.
    #[error("it is in the store but not in the table of keys")]
    NotInTable,
}

/// What an import did, key by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Entries of the file; more than its keys where one comes twice.
    pub entries: u64,
    /// Keys of the file, each with what became of it, in ascending order.
    pub keys: Vec<(PublicKey, Imported)>,
    /// Attestations of the file with a source above their target. They count all the same.
    pub inverted_records: u64,
    /// Keys in the store before and after.
    pub keys_before: usize,
    /// Keys in the store after.
    pub keys_after: usize,
}

impl ImportReport {
    /// Whether every key of the file is in the store now, with all that the file says.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.keys.iter().any(|(_, outcome)| matches!(outcome, Imported::Refused(_)))
    }
}

/// Why an import ended before its end. Run it again: what was merged merges again to the same.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is not taken. Nothing was changed.
    #[error("the interchange file is not taken")]
    Read(#[from] ReadError),
    /// The store could not write.
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
}

/// What is on its way to the disk, and the keys that the table gets once it is there.
#[derive(Default)]
struct Chunk {
    changes: Vec<Changing>,
    new: Vec<KeyRecord>,
}

impl Store {
    /// Merges an interchange file into the records.
    ///
    /// The whole file is read and checked first. Then each key's source, target and slot are raised
    /// to the maximum of both sides, a root is kept only where one uncontested record holds both
    /// maxima, and nothing is lowered. New keys are enrolled, and disabled ones enabled where
    /// the file goes beyond their records. Done again, after a crash or not, it changes nothing.
    ///
    /// # Errors
    /// [`ImportError`]; keys that are refused are in the report instead.
    pub fn import<T: KeyTable>(
        &self,
        input: impl Read,
        table: &mut T,
        bounds: ImportBounds,
    ) -> Result<ImportReport, ImportError> {
        let chain = self.binding().genesis_validators_root();
        let file = interchange::read(input, chain)?;
        let bounds = interchange::Bounds { epoch: bounds.epoch_max, slot: bounds.slot_max };
        let mut report = ImportReport {
            entries: file.entries,
            keys_before: self.keys.lock().known.len(),
            ..ImportReport::default()
        };
        self.journal(b"1")?;
        let mut chunk = Chunk::default();
        for (public_key, summary) in file.summaries {
            let outcome = self.import_key(public_key, &summary, bounds, table, &mut chunk);
            report.inverted_records += summary.inverted_records();
            report.keys.push((public_key, outcome));
            if chunk.changes.len() >= KEYS_IN_FLIGHT_MAX {
                self.settle(std::mem::take(&mut chunk), table)?;
            }
        }
        self.settle(chunk, table)?;
        self.journal(b"0")?;
        report.keys_after = self.keys.lock().known.len();
        Ok(report)
    }

    fn import_key<T: KeyTable>(
        &self,
        public_key: PublicKey,
        summary: &Summary,
        bounds: interchange::Bounds,
        table: &mut T,
        chunk: &mut Chunk,
    ) -> Imported {
        if let Some(above) = summary.above(bounds) {
            return Imported::Refused(NotImported::AboveBounds(above));
        }
        let has_records = summary.attestation().is_some() || summary.block().is_some();
        let known = self.keys.lock().known.contains_key(&public_key);
        if known {
            let merge = |watermarks: &mut Watermarks| self.merge(watermarks, summary);
            return match table.with(&public_key, merge) {
                None => Imported::Refused(NotImported::NotInTable),
                Some(Err(reason)) => Imported::Refused(reason),
                Some(Ok(None)) => Imported::Unchanged,
                Some(Ok(Some(change))) => {
                    chunk.changes.push(change);
                    Imported::Raised
                }
            };
        }
        if !has_records {
            return Imported::Refused(NotImported::NoRecords);
        }
        match self.new_key(public_key) {
            Ok(record) => {
                let raised = self.raised(record, summary);
                let record = KeyRecord { is_enabled: true, ..raised };
                chunk.changes.push(Changing(self.recorder.send(Entry::key(record))));
                chunk.new.push(record);
                Imported::Raised
            }
            // Enrolled by another since: it is not in this table yet.
            Err(
                EnrolError::AlreadyEnrolled(_)
                | EnrolError::Disabled(_)
                | EnrolError::FloorBelowRecord { .. }
                | EnrolError::ClockBehind { .. }
                | EnrolError::NotWritten(_),
            ) => Imported::Refused(NotImported::NotInTable),
        }
    }

    /// Raises a key that is known. Under its lock.
    fn merge(
        &self,
        watermarks: &mut Watermarks,
        summary: &Summary,
    ) -> Result<Option<Changing>, NotImported> {
        self.assert_own(watermarks);
        let before = watermarks.record();
        if !before.is_enabled && !is_newer(&before, summary) {
            return Err(NotImported::NotNewer);
        }
        let after = KeyRecord { is_enabled: true, ..self.raised(before, summary) };
        if after == before {
            return Ok(None);
        }
        watermarks.set_record(after);
        self.keys.lock().known.insert(after.public_key, true);
        Ok(Some(Changing(self.recorder.send(Entry::key(after)))))
    }

    fn settle<T: KeyTable>(&self, chunk: Chunk, table: &mut T) -> Result<(), NotWritten> {
        for change in chunk.changes {
            change.wait().map_err(NotWritten)?;
        }
        for record in chunk.new {
            table.insert(Watermarks::new(record, Arc::clone(&self.health)));
        }
        Ok(())
    }

    fn journal(&self, value: &[u8]) -> Result<(), NotWritten> {
        self.recorder.send(Entry::Meta(IMPORTING, value.to_vec())).wait().map_err(NotWritten)
    }
}

/// Whether a file continues the records: nothing in it lies behind them, and something beyond.
fn is_newer(record: &KeyRecord, file: &Summary) -> bool {
    let held = summary_of(record);
    let (attestation, block) = (file.attestation(), file.block());
    let continues =
        held.attestation().is_none_or(|held| {
            attestation.is_some_and(|it| {
                it.target_epoch >= held.target_epoch && it.source_epoch >= held.source_epoch
            })
        }) && held.block().is_none_or(|held| block.is_some_and(|it| it.slot >= held.slot));
    let target = |it: Option<crate::SignedAttestation>| it.map(|it| it.target_epoch);
    let slot = |it: Option<crate::SignedBlock>| it.map(|it| it.slot);
    continues
        && (target(attestation) > target(held.attestation()) || slot(block) > slot(held.block()))
}
