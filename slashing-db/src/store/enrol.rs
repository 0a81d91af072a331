//! Which keys may sign: by declaration, never by being asked.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{NotWritten, Store};
use crate::engine::{Entry, KeyRecord};
use crate::health::Health;
use crate::interchange::Summary;
use crate::recorder::{Changing, RecordError};
use crate::rules::{AttestationRecord, BlockRecord};
use crate::signed::{PublicKey, SignedAttestation, SignedBlock, SigningRoot};
use crate::watermarks::Watermarks;

/// Where a key begins whose old signer is declared dead.
///
/// With F the epoch of the present time plus one slot: source F - 1, target F, slot now + 1. All
/// that the old signer can have signed lies below or is refused; one epoch is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The source epoch below which nothing is signed.
    pub source_epoch: u64,
    /// The target epoch up to which nothing is signed.
    pub target_epoch: u64,
    /// The slot up to which nothing is signed.
    pub slot: u64,
}

/// How a key begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// The operator declares that the key never signed anything, anywhere.
    New,
    /// The operator declares the old signer dead.
    Floor(Floor),
}

/// The most keys that one change of many keys hands to the recorder at a time.
///
/// While a key as a whole waits for the disk, everything waits in the order of its arrival. So a
/// change of half a million keys goes there in pieces: large enough that the disk's sync is shared,
/// small enough that a block between two of them waits a millisecond, not the whole change.
pub const KEYS_IN_FLIGHT_MAX: usize = 256;

/// A key on its way to the disk, by [`Store::begin_enrol`]. Dropping it does not take it back.
#[derive(Debug)]
#[must_use = "the key is not durable yet"]
pub struct Enrolling {
    record: KeyRecord,
    changing: Changing,
    health: Arc<Health>,
}

impl Enrolling {
    /// Blocks until the key is durable, and gives its watermarks to the caller's table.
    ///
    /// # Errors
    /// When it was not written.
    pub fn wait(self) -> Result<Watermarks, EnrolError> {
        self.changing.wait().map_err(NotWritten)?;
        Ok(Watermarks::new(self.record, self.health))
    }
}

/// Why a key was not enrolled or enabled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// It may sign already.
    #[error("key {0} is enrolled and enabled already")]
    AlreadyEnrolled(PublicKey),
    /// It was enrolled before and then disabled: it may have signed elsewhere since.
    #[error(
        "key {0} was disabled in this store and may have signed elsewhere since: import its newer \
         records, or enable it by a floor"
    )]
    Disabled(PublicKey),
    /// A floor below what is recorded: the clock is wrong, or the floor is.
    #[error("the floor for key {public_key} lies below its records: check the clock")]
    FloorBelowRecord {
        /// The key.
        public_key: PublicKey,
        /// What is recorded.
        recorded: Box<KeyRecord>,
    },
    /// A floor taken from a clock that has gone back.
    #[error(
        "the clock says {now_unix_s} (unix time), and {last_unix_s} was recorded before: a floor \
         needs a clock that is right"
    )]
    ClockBehind {
        /// The time of the last renewal.
        now_unix_s: u64,
        /// The last durable time.
        last_unix_s: u64,
    },
    /// The store could not write it.
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
}

impl Store {
    /// Enrols a key, durably, and gives its watermarks to the caller's table.
    ///
    /// # Errors
    /// [`EnrolError`]. A key that is known already is never begun anew.
    pub fn enrol(
        &self,
        public_key: PublicKey,
        enrolment: Enrolment,
    ) -> Result<Watermarks, EnrolError> {
        self.begin_enrol(public_key, enrolment)?.wait()
    }

    /// Begins to enrol a key: of many keys, up to [`KEYS_IN_FLIGHT_MAX`] are begun before the first
    /// is waited for, so that they share a commit. Each is on disk as a whole or not at all.
    ///
    /// # Errors
    /// [`EnrolError`]. A key that is known already is never begun anew.
    pub fn begin_enrol(
        &self,
        public_key: PublicKey,
        enrolment: Enrolment,
    ) -> Result<Enrolling, EnrolError> {
        let floor = match enrolment {
            Enrolment::New => None,
            Enrolment::Floor(floor) => Some(floor),
        };
        if floor.is_some() {
            self.require_clock()?;
        }
        let mut record = self.new_key(public_key)?;
        if let Some(floor) = floor {
            record = self.raised(record, &floor.summary());
        }
        record.is_enabled = true;
        let changing = Changing(self.recorder.send(Entry::key(record)));
        Ok(Enrolling { record, changing, health: Arc::clone(&self.health) })
    }

    /// Stops a key from signing: at once in memory, and durably once the result is there, after all
    /// that was admitted before. Only then may its records be exported. Under the key's lock.
    pub fn disable(&self, watermarks: &mut Watermarks) -> Changing {
        self.assert_own(watermarks);
        self.keys.lock().known.insert(*watermarks.public_key(), false);
        let record = KeyRecord { is_enabled: false, ..watermarks.record() };
        watermarks.set_record(record);
        Changing(self.recorder.send(Entry::key(record)))
    }

    /// Lets a disabled key sign again, from a floor. Under the key's lock; what it signs waits
    /// until the change is durable. A newer import enables it too.
    ///
    /// # Errors
    /// [`EnrolError`]
    pub fn enable(
        &self,
        watermarks: &mut Watermarks,
        floor: Floor,
    ) -> Result<Changing, EnrolError> {
        self.assert_own(watermarks);
        let public_key = *watermarks.public_key();
        if watermarks.is_enabled() {
            return Err(EnrolError::AlreadyEnrolled(public_key));
        }
        self.require_clock()?;
        let recorded = watermarks.record();
        let is_below = recorded.attestation.is_some_and(|it| floor.target_epoch < it.target_epoch)
            || recorded.block.is_some_and(|it| floor.slot < it.slot);
        if is_below {
            return Err(EnrolError::FloorBelowRecord { public_key, recorded: Box::new(recorded) });
        }
        let record = KeyRecord { is_enabled: true, ..self.raised(recorded, &floor.summary()) };
        watermarks.set_record(record);
        self.keys.lock().known.insert(public_key, true);
        Ok(Changing(self.recorder.send(Entry::key(record))))
    }

    /// A row for a key that the store has never seen.
    pub(super) fn new_key(&self, public_key: PublicKey) -> Result<KeyRecord, EnrolError> {
        if self.health.is_poisoned() {
            return Err(NotWritten(RecordError::Poisoned).into());
        }
        let mut keys = self.keys.lock();
        match keys.known.get(&public_key) {
            Some(true) => Err(EnrolError::AlreadyEnrolled(public_key)),
            Some(false) => Err(EnrolError::Disabled(public_key)),
            None => {
                let id = keys.take_id();
                keys.known.insert(public_key, true);
                Ok(KeyRecord::new(id, public_key))
            }
        }
    }

    /// The record raised to what a summary says, and never lowered: source, target and slot each to
    /// their maximum, a root only where one uncontested message holds them.
    pub(super) fn raised(&self, mut record: KeyRecord, by: &Summary) -> KeyRecord {
        let merged = summary_of(&record).merge(*by);
        let held = record.attestation.map(AttestationRecord::message);
        if let Some(it) = merged.attestation().filter(|it| Some(*it) != held) {
            record.attestation = Some(AttestationRecord {
                source_epoch: it.source_epoch,
                target_epoch: it.target_epoch,
                signing_root: it.signing_root,
                sequence: self.health.take_sequence(),
            });
        }
        let held = record.block.map(BlockRecord::message);
        if let Some(it) = merged.block().filter(|it| Some(*it) != held) {
            let (slot, signing_root) = (it.slot, it.signing_root);
            let sequence = self.health.take_sequence();
            record.block = Some(BlockRecord { slot, signing_root, sequence });
        }
        record
    }

    fn require_clock(&self) -> Result<(), EnrolError> {
        let last_unix_s = self.last_unix_s.load(Ordering::Relaxed);
        // The time of the last renewal itself, not the highest: a clock that went back shows.
        let now_unix_s = self.now_unix_s.load(Ordering::Relaxed);
        if now_unix_s < last_unix_s {
            return Err(EnrolError::ClockBehind { now_unix_s, last_unix_s });
        }
        Ok(())
    }
}

impl Floor {
    fn summary(&self) -> Summary {
        let mut summary = Summary::new();
        let attestation = SignedAttestation {
            source_epoch: self.source_epoch,
            target_epoch: self.target_epoch,
            signing_root: SigningRoot::NULL,
        };
        summary.add_attestation(
            attestation,
            crate::interchange::InvertedRecord { entry: 0, record: 0 },
        );
        summary.add_block(SignedBlock { slot: self.slot, signing_root: SigningRoot::NULL });
        summary
    }
}

/// What a record says, in the words of an interchange file.
pub(super) fn summary_of(record: &KeyRecord) -> Summary {
    let mut summary = Summary::new();
    if let Some(attestation) = record.attestation {
        let place = crate::interchange::InvertedRecord { entry: 0, record: 0 };
        summary.add_attestation(attestation.message(), place);
    }
    if let Some(block) = record.block {
        summary.add_block(block.message());
    }
    summary
}
