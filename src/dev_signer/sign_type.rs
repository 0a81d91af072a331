//! What a request asks to be signed.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The sign types of Web3Signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignType {
    /// A phase0 block in full.
    Block,
    /// A block of any fork.
    BlockV2,
    /// An attestation.
    Attestation,
    /// An aggregate and its proof, without a version.
    AggregateAndProof,
    /// An aggregate and its proof, with a version.
    AggregateAndProofV2,
    /// The proof that a validator is an aggregator.
    AggregationSlot,
    /// A proposer's contribution to the randomness.
    RandaoReveal,
    /// A deposit.
    Deposit,
    /// A voluntary exit.
    VoluntaryExit,
    /// A sync committee message.
    SyncCommitteeMessage,
    /// The proof that a validator aggregates for a sync subcommittee.
    SyncCommitteeSelectionProof,
    /// A sync committee contribution and its proof.
    SyncCommitteeContributionAndProof,
    /// A registration with block builders.
    ValidatorRegistration,
}

impl SignType {
    const ALL: [Self; 13] = [
        Self::Block,
        Self::BlockV2,
        Self::Attestation,
        Self::AggregateAndProof,
        Self::AggregateAndProofV2,
        Self::AggregationSlot,
        Self::RandaoReveal,
        Self::Deposit,
        Self::VoluntaryExit,
        Self::SyncCommitteeMessage,
        Self::SyncCommitteeSelectionProof,
        Self::SyncCommitteeContributionAndProof,
        Self::ValidatorRegistration,
    ];

    /// The name in the field `type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "BLOCK",
            Self::BlockV2 => "BLOCK_V2",
            Self::Attestation => "ATTESTATION",
            Self::AggregateAndProof => "AGGREGATE_AND_PROOF",
            Self::AggregateAndProofV2 => "AGGREGATE_AND_PROOF_V2",
            Self::AggregationSlot => "AGGREGATION_SLOT",
            Self::RandaoReveal => "RANDAO_REVEAL",
            Self::Deposit => "DEPOSIT",
            Self::VoluntaryExit => "VOLUNTARY_EXIT",
            Self::SyncCommitteeMessage => "SYNC_COMMITTEE_MESSAGE",
            Self::SyncCommitteeSelectionProof => "SYNC_COMMITTEE_SELECTION_PROOF",
            Self::SyncCommitteeContributionAndProof => "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF",
            Self::ValidatorRegistration => "VALIDATOR_REGISTRATION",
        }
    }

    /// Whether `fork_info` is needed: the domains of the two exceptions are fixed.
    pub(super) fn needs_fork_info(self) -> bool {
        !matches!(self, Self::Deposit | Self::ValidatorRegistration)
    }
}

impl Serialize for SignType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for SignType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl Visitor<'_> for NameVisitor {
            type Value = SignType;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sign type")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<SignType, E> {
                let mut types = SignType::ALL.into_iter();
                types
                    .find(|known| known.name().eq_ignore_ascii_case(name))
                    .ok_or_else(|| E::custom(format_args!("unknown sign type {name:?}")))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}
