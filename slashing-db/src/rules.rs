//! The rules: may this message be signed, given the last one that was recorded?
//!
//! A key keeps one record of each kind, the highest that it ever signed, with its signing root
//! where one message holds all of the record. A message must go beyond its record, or be the very
//! message of the record. Accepted targets so increase strictly and sources never decrease: no two
//! accepted votes share a target and none surrounds another (EIP-3076, conditions 1 to 5 in their
//! minimal form). Pure functions of their arguments: no clock, no store.

use crate::message::{Bounds, Counted, CountedKind, Message};
use crate::signed::{SignedAttestation, SignedBlock, SigningRoot};

mod not_safe;
#[cfg(test)]
mod tests;

pub use not_safe::NotSafe;

/// The highest attestation of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttestationRecord {
    /// The highest source epoch.
    pub source_epoch: u64,
    /// The highest target epoch.
    pub target_epoch: u64,
    /// The root, where one known message holds both maxima; else null.
    pub signing_root: SigningRoot,
    /// The record's number in its store's order of acceptance: the link to the audit log.
    pub sequence: u64,
}

/// The highest block of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRecord {
    /// The highest slot.
    pub slot: u64,
    /// The root of the block in that slot, or null where it is not known.
    pub signing_root: SigningRoot,
    /// The record's number in its store's order of acceptance.
    pub sequence: u64,
}

/// How many messages of a counted kind a key has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedRecord {
    /// Distinct messages so far.
    pub count: u32,
    /// The root of the last.
    pub signing_root: SigningRoot,
    /// The record's number in its store's order of acceptance.
    pub sequence: u64,
}

/// A record of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The highest attestation.
    Attestation(AttestationRecord),
    /// The highest block.
    Block(BlockRecord),
    /// A counter.
    Counted(CountedKind, CountedRecord),
}

impl AttestationRecord {
    /// The record as a message; its root may be null.
    #[must_use]
    pub const fn message(self) -> SignedAttestation {
        let Self { source_epoch, target_epoch, signing_root, .. } = self;
        SignedAttestation { source_epoch, target_epoch, signing_root }
    }
}

impl BlockRecord {
    /// The record as a message; its root may be null.
    #[must_use]
    pub const fn message(self) -> SignedBlock {
        let Self { slot, signing_root, .. } = self;
        SignedBlock { slot, signing_root }
    }
}

impl Record {
    /// The record's number in its store's order of acceptance.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        match self {
            Self::Attestation(record) => record.sequence,
            Self::Block(record) => record.sequence,
            Self::Counted(_, record) => record.sequence,
        }
    }

    /// The root of the message that made the record.
    #[must_use]
    pub const fn signing_root(&self) -> SigningRoot {
        match self {
            Self::Attestation(record) => record.signing_root,
            Self::Block(record) => record.signing_root,
            Self::Counted(_, record) => record.signing_root,
        }
    }
}

/// What a message that may be signed does to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Safe {
    /// It goes beyond the record and becomes it.
    Advance,
    /// It is the message of the record: nothing new is signed, nothing is written.
    Repeat,
}

/// Judges an attestation. `is_reserved`: the witness knows that its target epoch may be signed.
pub(crate) fn check_attestation(
    recorded: Option<&AttestationRecord>,
    attempted: SignedAttestation,
    bounds: &Bounds,
    is_reserved: bool,
) -> Result<Safe, NotSafe> {
    let SignedAttestation { source_epoch, target_epoch, signing_root } = attempted;
    // Source equal to target is a vote of the genesis epoch alone.
    if source_epoch > target_epoch || (source_epoch == target_epoch && target_epoch != 0) {
        return Err(NotSafe::SourceExceedsTarget { attempted });
    }
    if target_epoch > bounds.target_epoch_max {
        let target_epoch_max = bounds.target_epoch_max;
        return Err(NotSafe::TargetTooFar { attempted, target_epoch_max });
    }
    if target_epoch < bounds.target_epoch_min {
        let target_epoch_min = bounds.target_epoch_min;
        return Err(NotSafe::TargetTooOld { attempted, target_epoch_min });
    }
    if !is_reserved {
        return Err(NotSafe::NotReserved { attempted: Message::Attestation(attempted) });
    }
    let Some(&recorded) = recorded else {
        return Ok(Safe::Advance);
    };
    if target_epoch == recorded.target_epoch {
        let repeats = source_epoch == recorded.source_epoch
            && signing_root.proves_repeat_of(&recorded.signing_root);
        return if repeats {
            Ok(Safe::Repeat)
        } else {
            Err(NotSafe::DoubleVote { attempted, recorded })
        };
    }
    let surrounds = target_epoch > recorded.target_epoch && source_epoch < recorded.source_epoch;
    let surrounded = target_epoch < recorded.target_epoch && source_epoch > recorded.source_epoch;
    if surrounds || surrounded {
        return Err(NotSafe::SurroundOrStaleSource { attempted, recorded });
    }
    if target_epoch < recorded.target_epoch {
        return Err(NotSafe::StaleTarget { attempted, recorded });
    }
    Ok(Safe::Advance)
}

/// Judges a block. `is_reserved`: the witness knows that its slot may be signed.
pub(crate) fn check_block(
    recorded: Option<&BlockRecord>,
    attempted: SignedBlock,
    bounds: &Bounds,
    is_reserved: bool,
) -> Result<Safe, NotSafe> {
    if attempted.slot > bounds.slot_max {
        return Err(NotSafe::SlotTooFar { attempted, slot_max: bounds.slot_max });
    }
    if !is_reserved {
        return Err(NotSafe::NotReserved { attempted: Message::Block(attempted) });
    }
    match recorded {
        Some(&recorded) if attempted.slot == recorded.slot => {
            if attempted.signing_root.proves_repeat_of(&recorded.signing_root) {
                Ok(Safe::Repeat)
            } else {
                Err(NotSafe::DoubleBlockProposal { attempted, recorded })
            }
        }
        Some(&recorded) if attempted.slot < recorded.slot => {
            Err(NotSafe::StaleSlot { attempted, recorded })
        }
        Some(_) | None => Ok(Safe::Advance),
    }
}

/// Judges a message of a counted kind.
pub(crate) fn check_counted(
    recorded: Option<&CountedRecord>,
    attempted: Counted,
    bounds: &Bounds,
) -> Result<Safe, NotSafe> {
    let count = recorded.map_or(0, |record| record.count);
    if recorded.is_some_and(|it| attempted.signing_root.proves_repeat_of(&it.signing_root)) {
        return Ok(Safe::Repeat);
    }
    if count >= bounds.counted_max {
        return Err(NotSafe::CountExceeded { attempted, count, counted_max: bounds.counted_max });
    }
    Ok(Safe::Advance)
}
