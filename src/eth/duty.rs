//! What a validator can be asked to sign: one variant for each type of Web3Signer.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bits::{Bitlist, Bitvector};
use super::block::{BeaconBlock, BeaconBlockHeader};
use super::domain::DomainType;
use super::network::ForkName;
use super::types::{Epoch, ExecutionAddress, PublicKey, Root, Signature, Slot, Version, uint64};

/// A message that a validator is asked to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// A vote for a head, a source and a target.
    Attestation(AttestationData),
    /// A whole phase0 block, by the type's deprecated name.
    Block(Box<BeaconBlock>),
    /// A block of any fork.
    BlockV2(BlockV2),
    /// The proposer's contribution to the randomness of `epoch`.
    RandaoReveal(RandaoReveal),
    /// A deposit of the validator.
    Deposit(Deposit),
    /// The end of the validator.
    VoluntaryExit(VoluntaryExit),
    /// The proof of being an aggregator of attestations in `slot`.
    AggregationSlot(AggregationSlot),
    /// An aggregated attestation, by the type's deprecated name.
    AggregateAndProof(Box<AggregateAndProof>),
    /// An aggregated attestation of any fork.
    AggregateAndProofV2(Box<AggregateAndProof>),
    /// A vote for a head as a member of the sync committee.
    SyncCommitteeMessage(SyncCommitteeMessage),
    /// The proof of being an aggregator of a sync subcommittee.
    SyncCommitteeSelectionProof(SyncAggregatorSelectionData),
    /// An aggregated vote of a sync subcommittee.
    SyncCommitteeContributionAndProof(Box<ContributionAndProof>),
    /// The fee recipient and gas limit that block builders are to use.
    ValidatorRegistration(ValidatorRegistration),
}

/// The kinds of [`Duty`], by Web3Signer's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DutyKind {
    /// `ATTESTATION`
    Attestation,
    /// `BLOCK`
    Block,
    /// `BLOCK_V2`
    BlockV2,
    /// `RANDAO_REVEAL`
    RandaoReveal,
    /// `DEPOSIT`
    Deposit,
    /// `VOLUNTARY_EXIT`
    VoluntaryExit,
    /// `AGGREGATION_SLOT`
    AggregationSlot,
    /// `AGGREGATE_AND_PROOF`
    AggregateAndProof,
    /// `AGGREGATE_AND_PROOF_V2`
    AggregateAndProofV2,
    /// `SYNC_COMMITTEE_MESSAGE`
    SyncCommitteeMessage,
    /// `SYNC_COMMITTEE_SELECTION_PROOF`
    SyncCommitteeSelectionProof,
    /// `SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF`
    SyncCommitteeContributionAndProof,
    /// `VALIDATOR_REGISTRATION`
    ValidatorRegistration,
}

impl DutyKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Attestation,
        Self::Block,
        Self::BlockV2,
        Self::RandaoReveal,
        Self::Deposit,
        Self::VoluntaryExit,
        Self::AggregationSlot,
        Self::AggregateAndProof,
        Self::AggregateAndProofV2,
        Self::SyncCommitteeMessage,
        Self::SyncCommitteeSelectionProof,
        Self::SyncCommitteeContributionAndProof,
        Self::ValidatorRegistration,
    ];

    /// Web3Signer's name, as in a request's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attestation => "ATTESTATION",
            Self::Block => "BLOCK",
            Self::BlockV2 => "BLOCK_V2",
            Self::RandaoReveal => "RANDAO_REVEAL",
            Self::Deposit => "DEPOSIT",
            Self::VoluntaryExit => "VOLUNTARY_EXIT",
            Self::AggregationSlot => "AGGREGATION_SLOT",
            Self::AggregateAndProof => "AGGREGATE_AND_PROOF",
            Self::AggregateAndProofV2 => "AGGREGATE_AND_PROOF_V2",
            Self::SyncCommitteeMessage => "SYNC_COMMITTEE_MESSAGE",
            Self::SyncCommitteeSelectionProof => "SYNC_COMMITTEE_SELECTION_PROOF",
            Self::SyncCommitteeContributionAndProof => "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF",
            Self::ValidatorRegistration => "VALIDATOR_REGISTRATION",
        }
    }

    /// The kind of Web3Signer's name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name))
    }

    /// The domain type of its signatures.
    pub const fn domain_type(self) -> DomainType {
        match self {
            Self::Attestation => DomainType::BEACON_ATTESTER,
            Self::Block | Self::BlockV2 => DomainType::BEACON_PROPOSER,
            Self::RandaoReveal => DomainType::RANDAO,
            Self::Deposit => DomainType::DEPOSIT,
            Self::VoluntaryExit => DomainType::VOLUNTARY_EXIT,
            Self::AggregationSlot => DomainType::SELECTION_PROOF,
            Self::AggregateAndProof | Self::AggregateAndProofV2 => DomainType::AGGREGATE_AND_PROOF,
            Self::SyncCommitteeMessage => DomainType::SYNC_COMMITTEE,
            Self::SyncCommitteeSelectionProof => DomainType::SYNC_COMMITTEE_SELECTION_PROOF,
            Self::SyncCommitteeContributionAndProof => DomainType::CONTRIBUTION_AND_PROOF,
            Self::ValidatorRegistration => DomainType::APPLICATION_BUILDER,
        }
    }

    /// Whether its domain is bound to the network and the fork, so that a request must carry
    /// `fork_info`.
    pub const fn needs_fork_info(self) -> bool {
        match self {
            Self::Deposit | Self::ValidatorRegistration => false,
            Self::Attestation
            | Self::Block
            | Self::BlockV2
            | Self::RandaoReveal
            | Self::VoluntaryExit
            | Self::AggregationSlot
            | Self::AggregateAndProof
            | Self::AggregateAndProofV2
            | Self::SyncCommitteeMessage
            | Self::SyncCommitteeSelectionProof
            | Self::SyncCommitteeContributionAndProof => true,
        }
    }
}

impl fmt::Display for DutyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Duty {
    /// Its kind.
    pub const fn kind(&self) -> DutyKind {
        match self {
            Self::Attestation(_) => DutyKind::Attestation,
            Self::Block(_) => DutyKind::Block,
            Self::BlockV2(_) => DutyKind::BlockV2,
            Self::RandaoReveal(_) => DutyKind::RandaoReveal,
            Self::Deposit(_) => DutyKind::Deposit,
            Self::VoluntaryExit(_) => DutyKind::VoluntaryExit,
            Self::AggregationSlot(_) => DutyKind::AggregationSlot,
            Self::AggregateAndProof(_) => DutyKind::AggregateAndProof,
            Self::AggregateAndProofV2(_) => DutyKind::AggregateAndProofV2,
            Self::SyncCommitteeMessage(_) => DutyKind::SyncCommitteeMessage,
            Self::SyncCommitteeSelectionProof(_) => DutyKind::SyncCommitteeSelectionProof,
            Self::SyncCommitteeContributionAndProof(_) => {
                DutyKind::SyncCommitteeContributionAndProof
            }
            Self::ValidatorRegistration(_) => DutyKind::ValidatorRegistration,
        }
    }

    /// The domain type of its signature.
    pub const fn domain_type(&self) -> DomainType {
        self.kind().domain_type()
    }

    /// The slot it is for; `None` for what is of an epoch or of no time.
    pub fn slot(&self) -> Option<Slot> {
        match self {
            Self::Attestation(data) => Some(data.slot),
            Self::Block(block) => Some(block.slot),
            Self::BlockV2(block) => Some(block.slot()),
            Self::AggregationSlot(object) => Some(object.slot),
            Self::AggregateAndProof(object) | Self::AggregateAndProofV2(object) => {
                Some(object.aggregate.data.slot)
            }
            Self::SyncCommitteeMessage(message) => Some(message.slot),
            Self::SyncCommitteeSelectionProof(data) => Some(data.slot),
            Self::SyncCommitteeContributionAndProof(object) => Some(object.contribution.slot),
            Self::RandaoReveal(_)
            | Self::Deposit(_)
            | Self::VoluntaryExit(_)
            | Self::ValidatorRegistration(_) => None,
        }
    }
}

/// What `BLOCK_V2` carries: the whole block before Bellatrix, its header from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockV2 {
    /// A phase0 block.
    Phase0(Box<BeaconBlock>),
    /// An altair block; its body has a sync aggregate.
    Altair(Box<BeaconBlock>),
    /// The header of a block, whose root is the root of the block.
    Header {
        /// The fork that the client names: Bellatrix or later. The root does not depend on it.
        version: ForkName,
        /// The header.
        header: BeaconBlockHeader,
    },
}

impl BlockV2 {
    /// The fork that the client names.
    pub const fn version(&self) -> ForkName {
        match self {
            Self::Phase0(_) => ForkName::Phase0,
            Self::Altair(_) => ForkName::Altair,
            Self::Header { version, .. } => *version,
        }
    }

    /// The slot of the block.
    pub const fn slot(&self) -> Slot {
        match self {
            Self::Phase0(block) | Self::Altair(block) => block.slot,
            Self::Header { header, .. } => header.slot,
        }
    }
}

/// A block root at an epoch boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epoch.
    pub epoch: Epoch,
    /// The root of its first block.
    pub root: Root,
}

/// What an attester votes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationData {
    /// The attester's slot.
    pub slot: Slot,
    /// The committee before Electra, zero in Electra and Fulu, the payload's status from Gloas on.
    #[serde(with = "uint64")]
    pub index: u64,
    /// The head.
    pub beacon_block_root: Root,
    /// The justified checkpoint that the vote starts from.
    pub source: Checkpoint,
    /// The checkpoint that the vote is for.
    pub target: Checkpoint,
}

/// An attestation of one committee, or of several from Electra on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Which validators of the committees attest.
    pub aggregation_bits: Bitlist,
    /// What they vote for.
    pub data: AttestationData,
    /// Their aggregated signature.
    pub signature: Signature,
    /// Which committees attest; from Electra on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committee_bits: Option<Bitvector>,
}

/// An aggregated attestation and the proof that the signer is to aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregateAndProof {
    /// The signer.
    #[serde(with = "uint64")]
    pub aggregator_index: u64,
    /// The aggregated attestation.
    pub aggregate: Attestation,
    /// The signature of the slot.
    pub selection_proof: Signature,
}

/// `RANDAO_REVEAL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RandaoReveal {
    /// The epoch whose randomness is contributed to.
    pub epoch: Epoch,
}

/// `AGGREGATION_SLOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationSlot {
    /// The slot of the attestations to aggregate.
    pub slot: Slot,
}

/// `DepositMessage` and the version of the network it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// The validator.
    pub pubkey: PublicKey,
    /// Where its stake goes in the end.
    pub withdrawal_credentials: Root,
    /// Gwei.
    #[serde(with = "uint64")]
    pub amount: u64,
    /// The genesis fork version of the network.
    pub genesis_fork_version: Version,
}

/// A validator's wish to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoluntaryExit {
    /// The earliest epoch of the exit.
    pub epoch: Epoch,
    /// The validator.
    #[serde(with = "uint64")]
    pub validator_index: u64,
}

/// A vote for a head as a member of the sync committee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncCommitteeMessage {
    /// The head.
    pub beacon_block_root: Root,
    /// The slot.
    pub slot: Slot,
}

/// Which sync subcommittee the signer may aggregate, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncAggregatorSelectionData {
    /// The slot.
    pub slot: Slot,
    /// The subcommittee.
    #[serde(with = "uint64")]
    pub subcommittee_index: u64,
}

/// The aggregated votes of a sync subcommittee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncCommitteeContribution {
    /// The slot.
    pub slot: Slot,
    /// The head.
    pub beacon_block_root: Root,
    /// The subcommittee.
    #[serde(with = "uint64")]
    pub subcommittee_index: u64,
    /// Which of its members vote.
    pub aggregation_bits: Bitvector,
    /// Their aggregated signature.
    pub signature: Signature,
}

/// A contribution and the proof that the signer is to aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContributionAndProof {
    /// The signer.
    #[serde(with = "uint64")]
    pub aggregator_index: u64,
    /// The contribution.
    pub contribution: SyncCommitteeContribution,
    /// The signature of slot and subcommittee.
    pub selection_proof: Signature,
}

/// What block builders are to know of a validator (`ValidatorRegistrationV1` of builder-specs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorRegistration {
    /// Who receives the fees of its blocks.
    pub fee_recipient: ExecutionAddress,
    /// The gas limit that it wants.
    #[serde(with = "uint64")]
    pub gas_limit: u64,
    /// Seconds since 1970.
    #[serde(with = "uint64")]
    pub timestamp: u64,
    /// The validator.
    pub pubkey: PublicKey,
}
