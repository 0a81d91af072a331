//! Why a message must not be signed.

use std::fmt;

use super::{AttestationRecord, BlockRecord, Record};
use crate::message::{Counted, Message};
use crate::signed::{PublicKey, SignedAttestation, SignedBlock};

/// A verdict, not a fault: the message must not be signed, and here is the evidence.
///
/// A fault of the store is never told this way: see [`RecordError`](crate::RecordError).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSafe {
    /// Another vote for this target, or one that cannot be told from another.
    #[error(
        "a vote for target epoch {} is already recorded (source {}, root {}); \
         a second one (source {}, root {}) would be a double vote",
        recorded.target_epoch, recorded.source_epoch, recorded.signing_root,
        attempted.source_epoch, attempted.signing_root
    )]
    DoubleVote {
        /// What was asked for.
        attempted: SignedAttestation,
        /// What is recorded.
        recorded: AttestationRecord,
    },
    /// The vote surrounds the recorded one, or the recorded one surrounds it.
    #[error(
        "a vote from source {} to target {} could surround or be surrounded: \
         a vote from source {} to target {} is recorded",
        attempted.source_epoch, attempted.target_epoch,
        recorded.source_epoch, recorded.target_epoch
    )]
    SurroundOrStaleSource {
        /// What was asked for.
        attempted: SignedAttestation,
        /// What is recorded.
        recorded: AttestationRecord,
    },
    /// The target lies before the recorded one; what was signed there is no longer known.
    #[error(
        "target epoch {} is older than target epoch {}, which is recorded",
        attempted.target_epoch, recorded.target_epoch
    )]
    StaleTarget {
        /// What was asked for.
        attempted: SignedAttestation,
        /// What is recorded.
        recorded: AttestationRecord,
    },
    /// The source does not lie before the target (both may be 0, in the genesis epoch).
    #[error(
        "source epoch {} does not lie before target epoch {}",
        attempted.source_epoch, attempted.target_epoch
    )]
    SourceExceedsTarget {
        /// What was asked for.
        attempted: SignedAttestation,
    },
    /// Another block in this slot, or one that cannot be told from another.
    #[error(
        "a block of slot {} is already recorded (root {}); \
         a second one (root {}) would be a double proposal",
        recorded.slot, recorded.signing_root, attempted.signing_root
    )]
    DoubleBlockProposal {
        /// What was asked for.
        attempted: SignedBlock,
        /// What is recorded.
        recorded: BlockRecord,
    },
    /// The slot lies before the recorded one; what was signed there is no longer known.
    #[error("slot {} is older than slot {}, which is recorded", attempted.slot, recorded.slot)]
    StaleSlot {
        /// What was asked for.
        attempted: SignedBlock,
        /// What is recorded.
        recorded: BlockRecord,
    },
    /// The target lies further ahead than the present time allows.
    #[error(
        "target epoch {} lies in the future: {target_epoch_max} is the highest now",
        attempted.target_epoch
    )]
    TargetTooFar {
        /// What was asked for.
        attempted: SignedAttestation,
        /// The highest target epoch now.
        target_epoch_max: u64,
    },
    /// The target lies further back than the present time allows.
    #[error(
        "target epoch {} is too old: {target_epoch_min} is the lowest now",
        attempted.target_epoch
    )]
    TargetTooOld {
        /// What was asked for.
        attempted: SignedAttestation,
        /// The lowest target epoch now.
        target_epoch_min: u64,
    },
    /// The slot lies further ahead than the present time allows.
    #[error("slot {} lies in the future: {slot_max} is the highest now", attempted.slot)]
    SlotTooFar {
        /// What was asked for.
        attempted: SignedBlock,
        /// The highest slot now.
        slot_max: u64,
    },
    /// The witness has not been told yet that this epoch or slot may be signed.
    #[error("{} is not reserved with the witness yet", Reserved(attempted))]
    NotReserved {
        /// What was asked for.
        attempted: Message,
    },
    /// The key has signed as many of the kind as it may.
    #[error(
        "the key has already signed {count} of kind {}, and {counted_max} are allowed",
        attempted.kind.as_str()
    )]
    CountExceeded {
        /// What was asked for.
        attempted: Counted,
        /// How many it has signed.
        count: u32,
        /// How many it may sign.
        counted_max: u32,
    },
    /// The key is not enabled in this store: it was disabled, and may sign elsewhere by now.
    #[error("key {public_key} is disabled in this store")]
    KeyDisabled {
        /// The key.
        public_key: PublicKey,
    },
    /// The domain is slashable, counted or unknown: it is not granted by its type alone.
    #[error(
        "domain type 0x{:02x}{:02x}{:02x}{:02x} is not granted without a record",
        domain_type[0], domain_type[1], domain_type[2], domain_type[3]
    )]
    DomainNotPermitted {
        /// The first four bytes of the domain.
        domain_type: [u8; 4],
    },
    /// The store knows of more than this process remembered: another has written to it.
    #[error("the store already holds another record of this kind: {recorded:?}")]
    Superseded {
        /// What is recorded.
        recorded: Record,
    },
}

impl NotSafe {
    /// The stable name of the rule: metric label, audit code and documentation.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DoubleVote { .. } => "double_vote",
            Self::SurroundOrStaleSource { .. } => "surround_or_stale_source",
            Self::StaleTarget { .. } => "stale_target",
            Self::SourceExceedsTarget { .. } => "source_exceeds_target",
            Self::DoubleBlockProposal { .. } => "double_block_proposal",
            Self::StaleSlot { .. } => "stale_slot",
            Self::TargetTooFar { .. } => "target_too_far",
            Self::TargetTooOld { .. } => "target_too_old",
            Self::SlotTooFar { .. } => "slot_too_far",
            Self::NotReserved { .. } => "not_reserved",
            Self::CountExceeded { .. } => "count_exceeded",
            Self::KeyDisabled { .. } => "key_disabled",
            Self::DomainNotPermitted { .. } => "domain_not_permitted",
            Self::Superseded { .. } => "superseded",
        }
    }
}

/// What the witness reserves for a message, in words.
struct Reserved<'a>(&'a Message);

impl fmt::Display for Reserved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Message::Attestation(it) => write!(f, "target epoch {}", it.target_epoch),
            Message::Block(it) => write!(f, "slot {}", it.slot),
            Message::Counted(it) => write!(f, "a {}", it.kind.as_str()),
        }
    }
}
