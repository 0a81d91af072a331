//! Keys begin and end by declaration.
//!
//! The library behind `portcullis slashing` and `portcullis keys`: the same functions whether they
//! run in a command of their own on a stopped gate, or inside the running gate for a command that
//! came through the control socket.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};
use slashing_db::{
    Changing, CountedKind, EnrolError, Enrolling, Enrolment, Floor, ImportBounds, ImportReport,
    Imported, KEYS_IN_FLIGHT_MAX, KeyId, KeyRecord, NotWritten, PublicKey, Store, Watermarks,
};
use thiserror::Error;

use crate::bls::{self, BlsError};
use crate::clock::{self, Clock, ClockHealth, SlotClock, iso8601};
use crate::sign::Gate;
use crate::validated_keys::{ValidatedKeys, validate};
use crate::validators::{Standing, Validator, Validators};

#[cfg(test)]
mod tests;

/// How the history of a key that has no record here is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Declaration {
    /// It never signed anything, anywhere.
    New,
    /// Its old signer is dead for good; nothing at or below the present is ever signed again.
    Floor {
        /// The source to start from, where the chain does not finalise: by default one epoch less
        /// than the target.
        source_epoch: Option<u64>,
    },
}

/// Which keys a command is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// These.
    These(Vec<String>),
    /// Every enrolled key.
    All,
    /// Every key that the signer has and nobody has enrolled.
    Awaiting,
}

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOutcome {
    /// The key.
    pub public_key: String,
    /// What was done, in a word; `None` when nothing was.
    pub done: Option<String>,
    /// Why nothing was done.
    pub refused: Option<String>,
}

/// What became of an interchange file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportOutcome {
    /// Entries of the file.
    pub entries: u64,
    /// Each key of the file.
    pub keys: Vec<KeyOutcome>,
    /// Attestations with a source above their target; they count all the same.
    pub inverted_records: u64,
    /// Keys in the store before.
    pub keys_before: usize,
    /// Keys in the store after.
    pub keys_after: usize,
}

/// One line of the list of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// The key.
    pub public_key: String,
    /// `enabled`, `disabled`, `halted` or `awaiting enrolment`.
    pub status: String,
    /// The last vote's source and target epoch.
    pub attestation: Option<(u64, u64)>,
    /// The last proposal's slot.
    pub block_slot: Option<u64>,
    /// Exits signed, ever.
    pub voluntary_exits: u32,
    /// Deposits signed, ever.
    pub deposits: u32,
}

/// A change of a key that is on its way to the disk.
enum InFlight {
    /// With the key as a point, where signatures are verified.
    Enrolling(Box<Enrolling>, Option<bls::PublicKey>),
    Changing(Changing),
}

/// Why nothing was done for a key.
#[derive(Debug, Error)]
enum NotChanged {
    #[error("not enrolled here")]
    NotEnrolled,
    #[error(transparent)]
    NotAPoint(#[from] BlsError),
    #[error(transparent)]
    Enrol(#[from] EnrolError),
}

/// Why a command was not carried out at all.
#[derive(Debug, Error)]
pub enum CommandError {
    /// A key that is not one.
    #[error("{0:?} is not a BLS public key: 96 hexadecimal digits, with or without 0x")]
    NotAKey(String),
    /// A floor is a statement about time.
    #[error(
        "no floor while the kernel says that the clock is not synchronised: a floor from a slow clock \
         lies below what the old signer has signed. Start an NTP client and try again"
    )]
    ClockNotSynchronised,
    /// The clock was set back.
    #[error(
        "no floor while the clock ({now}) stands behind the last durable time of this store ({last}): \
         set the clock right and try again"
    )]
    ClockBehind {
        /// The wall clock.
        now: String,
        /// The store's last durable time.
        last: String,
    },
    /// No vote could ever be signed before the chain has come there, and no record is lowered.
    #[error(
        "no floor with source epoch {source_epoch}: it lies above the floor's target, epoch \
         {target_epoch}, and the key would be silent until the chain has come there"
    )]
    SourceFloorTooHigh {
        /// The source that was named.
        source_epoch: u64,
        /// The floor's target.
        target_epoch: u64,
    },
    /// The interchange file, or the store under it.
    #[error(transparent)]
    Import(#[from] slashing_db::ImportError),
    /// The export.
    #[error(transparent)]
    Export(#[from] slashing_db::ExportError),
}

/// The declarations on one store and the keys that were loaded from it.
pub struct Declarations<'a> {
    /// The store.
    pub store: &'a Store,
    /// Its keys.
    pub validators: &'a Validators,
    /// The network's slots.
    pub slots: SlotClock,
    /// Time.
    pub clock: &'a Clock,
    /// What the kernel says of the clock.
    pub clock_health: ClockHealth,
    /// The keys as points; `None` where no signature is verified, and any 48 bytes are a key.
    pub validated_keys: Option<&'a ValidatedKeys>,
}

impl<'a> Declarations<'a> {
    /// Those of a running gate.
    pub fn of(gate: &'a Gate) -> Self {
        Self {
            store: &gate.store,
            validators: &gate.validators,
            slots: gate.slots,
            clock: &gate.clock,
            clock_health: clock::health(),
            validated_keys: gate.verifier.keys().map(|keys| &**keys),
        }
    }
}

impl Declarations<'_> {
    /// Every key with its records.
    pub fn list(&self) -> Vec<KeyLine> {
        let mut lines = Vec::new();
        self.validators.for_each(|validator| {
            let status = validator.status().as_str();
            lines.push(KeyLine::of(&validator.watermarks.record(), status));
        });
        lines.extend(self.validators.awaiting().iter().map(KeyLine::awaiting));
        lines
    }

    /// Enrols `keys`, each for itself: one that is refused keeps no other from being enrolled.
    ///
    /// # Errors
    /// Nothing is enrolled if a key cannot be read, or no floor may be set now.
    pub fn enrol(
        &self,
        keys: &Keys,
        declaration: Declaration,
    ) -> Result<Vec<KeyOutcome>, CommandError> {
        let keys = self.select(keys)?;
        let enrolment = self.enrolment(declaration)?;
        let word = match declaration {
            Declaration::New => "enrolled as new",
            Declaration::Floor { .. } => "enrolled with a floor",
        };
        Ok(self.in_flight(&keys, word, |key| self.enrol_one(key, enrolment)))
    }

    /// Begins a change of each key, and waits for the disk for many of them at a time.
    fn in_flight(
        &self,
        keys: &[PublicKey],
        word: &str,
        begin: impl Fn(&PublicKey) -> Result<InFlight, NotChanged>,
    ) -> Vec<KeyOutcome> {
        let _publishing = self.validators.publishing();
        let mut outcomes = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_IN_FLIGHT_MAX) {
            let begun: Vec<_> = keys.iter().map(&begin).collect();
            outcomes.extend(keys.iter().zip(begun).map(|(key, begun)| {
                let done = begun.and_then(|it| self.finish(it));
                outcome(key, word, done.map_err(|error| with_causes(&error)))
            }));
        }
        outcomes
    }

    fn finish(&self, begun: InFlight) -> Result<(), NotChanged> {
        match begun {
            InFlight::Enrolling(enrolling, point) => {
                let watermarks = enrolling.wait()?;
                self.keep_validated(watermarks.id(), point);
                self.validators.add(watermarks);
            }
            InFlight::Changing(changing) => {
                changing.wait().map_err(NotWritten).map_err(EnrolError::from)?;
            }
        }
        Ok(())
    }

    fn enrol_one(&self, key: &PublicKey, enrolment: Enrolment) -> Result<InFlight, NotChanged> {
        let begun = match (self.validators.standing(key), enrolment) {
            (Standing::Awaiting | Standing::Unknown, _) => {
                let point = self.validate(key)?;
                self.store
                    .begin_enrol(*key, enrolment)
                    .map(|enrolling| InFlight::Enrolling(Box::new(enrolling), point))
            }
            (Standing::Enrolled(row), Enrolment::New) => {
                let is_enabled = self.validators.with(row, |it| it.watermarks.is_enabled());
                Err(if is_enabled {
                    EnrolError::AlreadyEnrolled(*key)
                } else {
                    EnrolError::Disabled(*key)
                })
            }
            (Standing::Enrolled(row), Enrolment::Floor(floor)) => self
                .validators
                .with(row, |it| self.store.enable(&mut it.watermarks, floor))
                .map(InFlight::Changing),
        };
        begun.map_err(NotChanged::from)
    }

    /// The key as a point, where signatures are verified. One that is none never gets a signature.
    fn validate(&self, key: &PublicKey) -> Result<Option<bls::PublicKey>, BlsError> {
        let Some(_) = self.validated_keys else { return Ok(None) };
        validate(key).map(Some)
    }

    fn keep_validated(&self, id: KeyId, point: Option<bls::PublicKey>) {
        let (Some(keys), Some(point)) = (self.validated_keys, point) else { return };
        if let Err(error) = keys.add(&[(id, point)]) {
            tracing::warn!(
                event = "validated_keys_not_kept",
                reason = with_causes(&error),
                "a validated key cannot be kept; it is validated again after the next start"
            );
        }
    }

    /// Stops `keys` for good, each once what was admitted for it is on disk.
    ///
    /// # Errors
    /// Nothing is disabled if a key cannot be read.
    pub fn disable(&self, keys: &Keys) -> Result<Vec<KeyOutcome>, CommandError> {
        let keys = self.select(keys)?;
        Ok(self.in_flight(&keys, "disabled", |key| self.disable_one(key)))
    }

    fn disable_one(&self, key: &PublicKey) -> Result<InFlight, NotChanged> {
        let Standing::Enrolled(row) = self.validators.standing(key) else {
            return Err(NotChanged::NotEnrolled);
        };
        // The change is queued behind everything that was admitted under the same lock before it.
        let disable = |it: &mut Validator| self.store.disable(&mut it.watermarks);
        Ok(InFlight::Changing(self.validators.with(row, disable)))
    }

    /// Takes over the history in an EIP-3076 interchange file. Never lowers a record.
    ///
    /// # Errors
    /// A file that cannot be read, or is of another network: nothing is imported then.
    pub fn import(&self, file: impl Read) -> Result<ImportOutcome, CommandError> {
        let epoch = self.slots.epoch(self.clock.now()).0 + 1;
        let bounds = ImportBounds {
            epoch_max: epoch,
            slot_max: (epoch + 1) * self.slots.slots_per_epoch() - 1,
        };
        let _publishing = self.validators.publishing();
        let report = self.store.import(file, &mut Table(self.validators), bounds)?;
        Ok(ImportOutcome::of(&report))
    }

    /// Writes the history of `keys` as an EIP-3076 interchange file, and says how many keys it has.
    ///
    /// # Errors
    /// While one of them is enabled: what it signs next would be missing.
    pub fn export(&self, keys: &Keys, file: impl Write) -> Result<u64, CommandError> {
        let keys = self.select(keys)?;
        Ok(self.store.export(&keys, &mut Table(self.validators), file)?.keys)
    }

    fn select(&self, keys: &Keys) -> Result<Vec<PublicKey>, CommandError> {
        match keys {
            Keys::All => Ok(self.validators.public_keys()),
            Keys::Awaiting => Ok(self.validators.awaiting()),
            Keys::These(keys) => keys
                .iter()
                .map(|key| key.parse().map_err(|_| CommandError::NotAKey(key.clone())))
                .collect(),
        }
    }

    /// With F = epoch(now + one slot): source F - 1, target F, slot now + 1. Nothing that the old
    /// signer can have signed lies above, because every signer refuses what lies further ahead.
    fn enrolment(&self, declaration: Declaration) -> Result<Enrolment, CommandError> {
        let Declaration::Floor { source_epoch } = declaration else {
            return Ok(Enrolment::New);
        };
        if self.clock_health == ClockHealth::Unsynchronised {
            return Err(CommandError::ClockNotSynchronised);
        }
        let now = self.clock.now();
        let last = self.store.identity().last_unix_s;
        if now.unix_s() < last {
            let (now, last) = (iso8601(now.unix_s()), iso8601(last));
            return Err(CommandError::ClockBehind { now, last });
        }
        let reach = now.after(self.slots.slot_duration());
        let target_epoch = self.slots.epoch(reach).0;
        let source_epoch = source_epoch.unwrap_or(target_epoch.saturating_sub(1));
        if source_epoch > target_epoch {
            return Err(CommandError::SourceFloorTooHigh { source_epoch, target_epoch });
        }
        Ok(Enrolment::Floor(Floor { source_epoch, target_epoch, slot: self.slots.slot(now).0 + 1 }))
    }
}

/// How an import reaches the keys in the table. Publishing is left to who imports.
struct Table<'a>(&'a Validators);

impl slashing_db::KeyTable for Table<'_> {
    fn with<R>(
        &mut self,
        public_key: &PublicKey,
        change: impl FnOnce(&mut Watermarks) -> R,
    ) -> Option<R> {
        let Standing::Enrolled(row) = self.0.standing(public_key) else {
            return None;
        };
        Some(self.0.with(row, |validator| change(&mut validator.watermarks)))
    }

    fn insert(&mut self, watermarks: Watermarks) {
        self.0.add(watermarks);
    }
}

impl KeyLine {
    /// The line of an enrolled key.
    pub fn of(record: &KeyRecord, status: &str) -> Self {
        let counted =
            |kind: CountedKind| record.counted[kind as usize].map_or(0, |counted| counted.count);
        Self {
            public_key: record.public_key.to_string(),
            status: status.to_owned(),
            attestation: record.attestation.map(|it| (it.source_epoch, it.target_epoch)),
            block_slot: record.block.map(|it| it.slot),
            voluntary_exits: counted(CountedKind::VoluntaryExit),
            deposits: counted(CountedKind::Deposit),
        }
    }

    /// The line of a key that nobody has enrolled.
    pub fn awaiting(key: &PublicKey) -> Self {
        Self {
            public_key: key.to_string(),
            status: "awaiting enrolment".to_owned(),
            attestation: None,
            block_slot: None,
            voluntary_exits: 0,
            deposits: 0,
        }
    }
}

fn outcome(key: &PublicKey, word: &str, result: Result<(), String>) -> KeyOutcome {
    let public_key = key.to_string();
    match result {
        Ok(()) => KeyOutcome { public_key, done: Some(word.to_owned()), refused: None },
        Err(refused) => KeyOutcome { public_key, done: None, refused: Some(refused) },
    }
}

impl ImportOutcome {
    fn of(report: &ImportReport) -> Self {
        let key = |(key, imported): &(PublicKey, Imported)| match imported {
            Imported::Raised => outcome(key, "raised", Ok(())),
            Imported::Unchanged => outcome(key, "unchanged", Ok(())),
            Imported::Refused(reason) => outcome(key, "", Err(with_causes(reason))),
        };
        Self {
            entries: report.entries,
            keys: report.keys.iter().map(key).collect(),
            inverted_records: report.inverted_records,
            keys_before: report.keys_before,
            keys_after: report.keys_after,
        }
    }
}

/// An error with its causes, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
