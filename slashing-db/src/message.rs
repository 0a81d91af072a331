//! What a validator asks to sign, and what the present time allows.

use crate::signed::{SignedAttestation, SignedBlock, SigningRoot};

/// The row number of a key in its store. Never used again for another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(crate) u32);

/// Messages that are not slashable, but of which a key signs only so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountedKind {
    /// A voluntary exit: it cannot be taken back.
    VoluntaryExit,
    /// A deposit: it moves money.
    Deposit,
}

impl CountedKind {
    /// Every kind, in the order of its stored number.
    pub const ALL: [Self; 2] = [Self::VoluntaryExit, Self::Deposit];

    /// The stable name: metric label, audit code and documentation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VoluntaryExit => "voluntary_exit",
            Self::Deposit => "deposit",
        }
    }

    /// The place of the kind in arrays and in the stored key.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::VoluntaryExit => 0,
            Self::Deposit => 1,
        }
    }
}

/// A message of a counted kind, to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What it is.
    pub kind: CountedKind,
    /// The root that is signed.
    pub signing_root: SigningRoot,
}

/// A message that only the store may permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A vote (`DOMAIN_BEACON_ATTESTER`).
    Attestation(SignedAttestation),
    /// A proposal (`DOMAIN_BEACON_PROPOSER`).
    Block(SignedBlock),
    /// An exit or a deposit.
    Counted(Counted),
}

impl Message {
    /// The root that is signed.
    #[must_use]
    pub const fn signing_root(&self) -> SigningRoot {
        match self {
            Self::Attestation(attestation) => attestation.signing_root,
            Self::Block(block) => block.signing_root,
            Self::Counted(counted) => counted.signing_root,
        }
    }
}

/// What the present time allows. Time is never read in this crate: the caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest target epoch that may still be voted for.
    pub target_epoch_min: u64,
    /// The newest target epoch: one poisoned vote far ahead would silence a key for ever.
    pub target_epoch_max: u64,
    /// The newest slot that may be proposed.
    pub slot_max: u64,
    /// How many distinct messages of a counted kind a key may sign in its life.
    pub counted_max: u32,
}

impl KeyId {
    /// The number itself, for indices and labels.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}
