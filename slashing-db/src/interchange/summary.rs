//! What is kept of one key's records.

use crate::signed::{SignedAttestation, SignedBlock, SigningRoot};

/// The records of one key, reduced to what a watermark needs.
///
/// Source and target are maximised separately, as EIP-3076 advises minimal stores: the highest
/// source and the highest target together refuse whatever any of the records would refuse. A
/// signing root survives only where a repeat of it is certainly the record: one record carries
/// both maxima, and no other record at that target (or slot) says otherwise.
///
/// Merging is commutative, associative and, the counts aside, idempotent: the order of the records
/// in a file, or of files, means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    attestation: Option<Votes>,
    block: Option<Proposals>,
    attestation_records: u64,
    block_records: u64,
    inverted_records: u64,
    first_inverted: Option<InvertedRecord>,
}

/// An attestation whose source epoch lies above its target epoch, as no honest signer signs it.
///
/// It counts in the maxima all the same: what it would make slashable must stay refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InvertedRecord {
    /// Index in `data`.
    pub entry: u64,
    /// Index in that entry's `signed_attestations`.
    pub record: u64,
}

/// The highest target, the highest source, and what the records at the highest target say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Votes {
    source: u64,
    target: u64,
    // The (source, root) on which all records at `target` agree; none once they do not.
    agreed: Option<(u64, SigningRoot)>,
}

impl Votes {
    fn merge(self, other: Self) -> Self {
        let source = self.source.max(other.source);
        let (target, agreed) = match self.target.cmp(&other.target) {
            std::cmp::Ordering::Greater => (self.target, self.agreed),
            std::cmp::Ordering::Less => (other.target, other.agreed),
            std::cmp::Ordering::Equal if self.agreed == other.agreed => (self.target, self.agreed),
            std::cmp::Ordering::Equal => (self.target, None),
        };
        Self { source, target, agreed }
    }
}

/// The highest slot, and the root on which all records at it agree, null once they do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proposals {
    slot: u64,
    agreed: SigningRoot,
}

impl Proposals {
    fn merge(self, other: Self) -> Self {
        match self.slot.cmp(&other.slot) {
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Equal if self == other => self,
            std::cmp::Ordering::Equal => Self { slot: self.slot, agreed: SigningRoot::NULL },
        }
    }
}

fn merge_options<T>(one: Option<T>, other: Option<T>, merge: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(merge(one, other)),
        (one, other) => one.or(other),
    }
}

impl Summary {
    /// Of no record at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one attestation, found at the given place of a file.
    pub fn add_attestation(&mut self, attestation: SignedAttestation, place: InvertedRecord) {
        let SignedAttestation { source_epoch, target_epoch, signing_root } = attestation;
        let inverted = source_epoch > target_epoch;
        *self = self.merge(Self {
            attestation: Some(Votes {
                source: source_epoch,
                target: target_epoch,
                agreed: (!signing_root.is_null()).then_some((source_epoch, signing_root)),
            }),
            attestation_records: 1,
            inverted_records: u64::from(inverted),
            first_inverted: inverted.then_some(place),
            ..Self::default()
        });
    }

    /// Takes in one block.
    pub fn add_block(&mut self, block: SignedBlock) {
        *self = self.merge(Self {
            block: Some(Proposals { slot: block.slot, agreed: block.signing_root }),
            block_records: 1,
            ..Self::default()
        });
    }

    /// The summary of both sets of records.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            attestation: merge_options(self.attestation, other.attestation, Votes::merge),
            block: merge_options(self.block, other.block, Proposals::merge),
            attestation_records: self.attestation_records.saturating_add(other.attestation_records),
            block_records: self.block_records.saturating_add(other.block_records),
            inverted_records: self.inverted_records.saturating_add(other.inverted_records),
            first_inverted: merge_options(self.first_inverted, other.first_inverted, Ord::min),
        }
    }

    /// The highest source and the highest target, each over all attestations, with the signing root
    /// if one uncontested record carries both; none without attestations.
    pub fn attestation(&self) -> Option<SignedAttestation> {
        self.attestation.map(|votes| SignedAttestation {
            source_epoch: votes.source,
            target_epoch: votes.target,
            signing_root: match votes.agreed {
                Some((source, root)) if source == votes.source => root,
                Some(_) | None => SigningRoot::NULL,
            },
        })
    }

    /// The highest slot over all blocks, with its signing root if it is uncontested; none without
    /// blocks.
    pub fn block(&self) -> Option<SignedBlock> {
        self.block.map(|block| SignedBlock { slot: block.slot, signing_root: block.agreed })
    }

    /// How many attestations were read.
    pub fn attestation_records(&self) -> u64 {
        self.attestation_records
    }

    /// How many blocks were read.
    pub fn block_records(&self) -> u64 {
        self.block_records
    }

    /// How many attestations have their source above their target.
    pub fn inverted_records(&self) -> u64 {
        self.inverted_records
    }

    /// The first of them in the file.
    pub fn first_inverted(&self) -> Option<InvertedRecord> {
        self.first_inverted
    }

    /// What of the records lies above the bounds, if anything: such a key must not be imported, for
    /// it could not sign until that time, and the file is of another network or damaged.
    pub fn above(&self, bounds: Bounds) -> Option<AboveBounds> {
        let above = AboveBounds {
            bounds,
            source_epoch: self.attestation.map(|a| a.source).filter(|e| *e > bounds.epoch),
            target_epoch: self.attestation.map(|a| a.target).filter(|e| *e > bounds.epoch),
            slot: self.block.map(|b| b.slot).filter(|s| *s > bounds.slot),
        };
        let any = above.source_epoch.or(above.target_epoch).or(above.slot);
        any.map(|_| above)
    }
}

/// The highest epoch and slot that a record may have, one epoch ahead of now as a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The highest source or target epoch.
    pub epoch: u64,
    /// The highest slot.
    pub slot: u64,
}

/// What of a key's records lies above the bounds; at least one of the three is some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "records lie in the future: {}{}{}at most epoch {} and slot {} are taken; \
     check that the file is of this network and that the clock is right",
    display_above("source epoch", .source_epoch),
    display_above("target epoch", .target_epoch),
    display_above("slot", .slot),
    .bounds.epoch,
    .bounds.slot
)]
pub struct AboveBounds {
    /// The bounds.
    pub bounds: Bounds,
    /// The highest source epoch, if above.
    pub source_epoch: Option<u64>,
    /// The highest target epoch, if above.
    pub target_epoch: Option<u64>,
    /// The highest slot of a block, if above.
    pub slot: Option<u64>,
}

fn display_above(what: &str, value: &Option<u64>) -> String {
    value.map(|value| format!("{what} {value}; ")).unwrap_or_default()
}
