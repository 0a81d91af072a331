//! The root that is signed, recomputed from the message.
//!
//! ```text
//! version      = epoch < fork.epoch ? fork.previous_version : fork.current_version
//! fork_data    = ForkData { version, genesis_validators_root }
//! domain       = domain_type ++ hash_tree_root(fork_data)[0..28]
//! signing_root = hash(hash_tree_root(message) ++ domain)
//! ```
//!
//! The version is the request's, as in Web3Signer; [`effective_fork_version`] says which one that
//! is, for whoever wants to hold it against the network's schedule. Where the same message has
//! another form from one fork to the next (aggregates, whole blocks), the network's schedule
//! chooses the form.

use super::bits::BitsError;
use super::block::{BeaconBlock, BlockError};
use super::domain::{Domain, DomainType, ForkInfo};
use super::duty::{
    AggregateAndProof, Attestation, AttestationData, BlockV2, ContributionAndProof, Deposit, Duty,
    DutyKind, SyncAggregatorSelectionData, ValidatorRegistration, VoluntaryExit,
};
use super::merkle::{container_root, hash_pair};
use super::network::{ForkName, Network, Preset};
use super::progressive;
use super::types::{Epoch, Root, SigningRoot, Slot, Version};

/// Why a request has no signing root: whoever made it has to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// The domain is bound to a fork, and the request names none.
    #[error("fork_info: missing, and {kind} cannot be signed without it")]
    MissingForkInfo {
        /// What is to be signed.
        kind: DutyKind,
    },
    /// The client computed another root.
    #[error("signingRoot: the request says {claimed}, its content has {computed}")]
    Mismatch {
        /// The client's root.
        claimed: SigningRoot,
        /// Ours.
        computed: SigningRoot,
    },
    /// The aggregation bits do not fit the fork and the preset.
    #[error("aggregation_bits: {0}")]
    AggregationBits(BitsError),
    /// The committee bits do not fit the preset.
    #[error("committee_bits: {0}")]
    CommitteeBits(BitsError),
    /// An attestation of this fork has committee bits.
    #[error("committee_bits: missing, and slot {slot} is in {fork}")]
    MissingCommitteeBits {
        /// The slot of the attestation.
        slot: Slot,
        /// The network's fork at that slot.
        fork: ForkName,
    },
    /// An attestation of this fork has no committee bits.
    #[error("committee_bits: slot {slot} is in {fork}, which has none")]
    UnexpectedCommitteeBits {
        /// The slot of the attestation.
        slot: Slot,
        /// The network's fork at that slot.
        fork: ForkName,
    },
    /// A whole block is of another fork than its slot.
    #[error("block: of {version}, but slot {slot} is in {fork}")]
    BlockVersion {
        /// The fork that the block is of.
        version: ForkName,
        /// The slot of the block.
        slot: Slot,
        /// The network's fork at that slot.
        fork: ForkName,
    },
    /// Something in a whole block does not fit.
    #[error("block.body.{0}")]
    Block(BlockError),
}

/// The signing root of a message, checked against the root that the client claims, if it claims
/// one.
///
/// `current_epoch` is the epoch in which the question is asked; it decides nothing but the domain
/// of exits, see [`ExitRoots`].
///
/// # Errors
/// The message does not fit the fork or the preset, `fork_info` is missing, or the claimed root is
/// not the root of the message.
pub fn signing_root(
    duty: &Duty,
    fork_info: Option<&ForkInfo>,
    claimed: Option<&SigningRoot>,
    network: &Network,
    current_epoch: Epoch,
) -> Result<SigningRoot, RootError> {
    let computed = if let Duty::VoluntaryExit(exit) = duty {
        let roots = ExitRoots::compute(exit, required(duty.kind(), fork_info)?, network);
        roots.choose(claimed, network.fork_at(current_epoch) >= ForkName::Deneb)
    } else {
        let object_root = duty.object_root(network)?;
        duty.domain(fork_info, network)?.signing_root(&object_root)
    };
    match claimed {
        Some(claimed) if *claimed != computed => {
            Err(RootError::Mismatch { claimed: *claimed, computed })
        }
        Some(_) | None => Ok(computed),
    }
}

/// The epoch of a message, and the version that its request's fork gives it.
///
/// `None` for exits, deposits and registrations, which have rules of their own, and for a request
/// that lacks its `fork_info`.
pub fn effective_fork_version(
    duty: &Duty,
    fork_info: Option<&ForkInfo>,
    network: &Network,
) -> Option<(Epoch, Version)> {
    let epoch = duty.fork_epoch(network)?;
    Some((epoch, fork_info?.fork.version_at(epoch)))
}

/// The two roots that an exit can have.
///
/// From Deneb on an exit is signed in the domain of Capella, for ever (EIP-7044); before that in
/// the domain of its epoch's fork. Clients fill `fork_info` in four different ways, so the request
/// alone does not tell which was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitRoots {
    /// In the domain of Capella; `None` if the network has no such fork.
    pub capella: Option<SigningRoot>,
    /// In the domain of the version that the request's fork gives the exit's epoch.
    pub ordinary: SigningRoot,
}

impl ExitRoots {
    /// Computes both.
    pub fn compute(exit: &VoluntaryExit, fork_info: &ForkInfo, network: &Network) -> Self {
        let object_root = exit.tree_hash_root();
        let root = |version| {
            let genesis = &fork_info.genesis_validators_root;
            Domain::compute(DomainType::VOLUNTARY_EXIT, version, genesis).signing_root(&object_root)
        };
        Self {
            capella: network.version_of(ForkName::Capella).map(root),
            ordinary: root(fork_info.fork.version_at(exit.epoch)),
        }
    }

    /// The root to sign: Capella's where the network has reached Deneb. Before, the ordinary one,
    /// unless the client claims Capella's, with which it prepares for Deneb.
    pub fn choose(&self, claimed: Option<&SigningRoot>, deneb_reached: bool) -> SigningRoot {
        match self.capella {
            Some(capella) if deneb_reached || claimed == Some(&capella) => capella,
            Some(_) | None => self.ordinary,
        }
    }
}

fn required(kind: DutyKind, fork_info: Option<&ForkInfo>) -> Result<&ForkInfo, RootError> {
    fork_info.ok_or(RootError::MissingForkInfo { kind })
}

impl Duty {
    /// The epoch that selects the fork version; `None` where the version is fixed, and for exits.
    fn fork_epoch(&self, network: &Network) -> Option<Epoch> {
        match self {
            Self::Attestation(data) => Some(data.target.epoch),
            Self::RandaoReveal(reveal) => Some(reveal.epoch),
            Self::Block(_)
            | Self::BlockV2(_)
            | Self::AggregationSlot(_)
            | Self::AggregateAndProof(_)
            | Self::AggregateAndProofV2(_)
            | Self::SyncCommitteeMessage(_)
            | Self::SyncCommitteeSelectionProof(_)
            | Self::SyncCommitteeContributionAndProof(_) => {
                self.slot().map(|slot| network.epoch(slot))
            }
            Self::Deposit(_) | Self::VoluntaryExit(_) | Self::ValidatorRegistration(_) => None,
        }
    }

    /// The domain of every message but exits, whose domain [`ExitRoots`] knows.
    fn domain(&self, fork_info: Option<&ForkInfo>, network: &Network) -> Result<Domain, RootError> {
        let kind = self.domain_type();
        if let Self::Deposit(deposit) = self {
            return Ok(Domain::compute(kind, deposit.genesis_fork_version, &Root::ZERO));
        }
        let Some(epoch) = self.fork_epoch(network) else {
            return Ok(Domain::compute(kind, network.genesis_fork_version(), &Root::ZERO));
        };
        let fork_info = required(self.kind(), fork_info)?;
        let version = fork_info.fork.version_at(epoch);
        Ok(Domain::compute(kind, version, &fork_info.genesis_validators_root))
    }

    /// The hash tree root of the message.
    ///
    /// # Errors
    /// Something in the message does not fit the fork of its slot or the preset.
    pub fn object_root(&self, network: &Network) -> Result<Root, RootError> {
        match self {
            Self::Attestation(data) => Ok(data.tree_hash_root()),
            Self::Block(block) => whole_block_root(block, ForkName::Phase0, network),
            Self::BlockV2(BlockV2::Phase0(block)) => {
                whole_block_root(block, ForkName::Phase0, network)
            }
            Self::BlockV2(BlockV2::Altair(block)) => {
                whole_block_root(block, ForkName::Altair, network)
            }
            Self::BlockV2(BlockV2::Header { version: _, header }) => Ok(header.tree_hash_root()),
            Self::RandaoReveal(reveal) => Ok(Root::from_uint64(reveal.epoch.0)),
            Self::Deposit(deposit) => Ok(deposit.tree_hash_root()),
            Self::VoluntaryExit(exit) => Ok(exit.tree_hash_root()),
            Self::AggregationSlot(object) => Ok(Root::from_uint64(object.slot.0)),
            Self::AggregateAndProof(object) | Self::AggregateAndProofV2(object) => {
                object.tree_hash_root(network)
            }
            Self::SyncCommitteeMessage(message) => Ok(message.beacon_block_root),
            Self::SyncCommitteeSelectionProof(data) => Ok(data.tree_hash_root()),
            Self::SyncCommitteeContributionAndProof(object) => {
                object.tree_hash_root(network.preset())
            }
            Self::ValidatorRegistration(registration) => Ok(registration.tree_hash_root()),
        }
    }
}

/// The root of a block that comes with its body, whose form is that of `version`.
fn whole_block_root(
    block: &BeaconBlock,
    version: ForkName,
    network: &Network,
) -> Result<Root, RootError> {
    let fork = network.fork_at(network.epoch(block.slot));
    if fork != version {
        return Err(RootError::BlockVersion { version, slot: block.slot, fork });
    }
    Ok(block.header(network.preset()).map_err(RootError::Block)?.tree_hash_root())
}

impl AttestationData {
    /// The hash tree root.
    pub fn tree_hash_root(&self) -> Root {
        container_root([
            Root::from_uint64(self.slot.0),
            Root::from_uint64(self.index),
            self.beacon_block_root,
            hash_pair(&Root::from_uint64(self.source.epoch.0), &self.source.root),
            hash_pair(&Root::from_uint64(self.target.epoch.0), &self.target.root),
        ])
    }
}

impl Attestation {
    /// The hash tree root as a phase0 attestation: with one committee, without committee bits.
    pub(crate) fn phase0_root(&self, preset: &Preset) -> Result<Root, BitsError> {
        let bits = self.aggregation_bits.tree_hash_root(preset.max_validators_per_committee)?;
        let signature = self.signature.tree_hash_root();
        Ok(container_root([bits, self.data.tree_hash_root(), signature]))
    }

    /// The hash tree root in the form of the fork of its slot.
    fn tree_hash_root(&self, network: &Network) -> Result<Root, RootError> {
        let slot = self.data.slot;
        let fork = network.fork_at(network.epoch(slot));
        if fork < ForkName::Electra {
            return match self.committee_bits {
                None => self.phase0_root(network.preset()).map_err(RootError::AggregationBits),
                Some(_) => Err(RootError::UnexpectedCommitteeBits { slot, fork }),
            };
        }
        let Some(committee_bits) = &self.committee_bits else {
            return Err(RootError::MissingCommitteeBits { slot, fork });
        };
        let preset = network.preset();
        let committees = committee_bits
            .tree_hash_root(preset.max_committees_per_slot)
            .map_err(RootError::CommitteeBits)?;
        let (data, signature) = (self.data.tree_hash_root(), self.signature.tree_hash_root());
        let limit = preset.max_validators_per_committee * preset.max_committees_per_slot;
        if fork < ForkName::Gloas {
            let bits = self.aggregation_bits.tree_hash_root(limit);
            let bits = bits.map_err(RootError::AggregationBits)?;
            return Ok(container_root([bits, data, signature, committees]));
        }
        let bits = progressive::bitlist_root(&self.aggregation_bits);
        Ok(progressive::container_root([bits, data, signature, committees]))
    }
}

impl AggregateAndProof {
    fn tree_hash_root(&self, network: &Network) -> Result<Root, RootError> {
        Ok(container_root([
            Root::from_uint64(self.aggregator_index),
            self.aggregate.tree_hash_root(network)?,
            self.selection_proof.tree_hash_root(),
        ]))
    }
}

impl ContributionAndProof {
    fn tree_hash_root(&self, preset: &Preset) -> Result<Root, RootError> {
        let contribution = &self.contribution;
        let bits = contribution.aggregation_bits.tree_hash_root(preset.sync_subcommittee_size());
        let contribution = container_root([
            Root::from_uint64(contribution.slot.0),
            contribution.beacon_block_root,
            Root::from_uint64(contribution.subcommittee_index),
            bits.map_err(RootError::AggregationBits)?,
            contribution.signature.tree_hash_root(),
        ]);
        Ok(container_root([
            Root::from_uint64(self.aggregator_index),
            contribution,
            self.selection_proof.tree_hash_root(),
        ]))
    }
}

impl Deposit {
    /// The hash tree root of the `DepositMessage`.
    fn tree_hash_root(&self) -> Root {
        container_root([
            self.pubkey.tree_hash_root(),
            self.withdrawal_credentials,
            Root::from_uint64(self.amount),
        ])
    }
}

impl VoluntaryExit {
    /// The hash tree root.
    pub fn tree_hash_root(&self) -> Root {
        hash_pair(&Root::from_uint64(self.epoch.0), &Root::from_uint64(self.validator_index))
    }
}

impl SyncAggregatorSelectionData {
    fn tree_hash_root(&self) -> Root {
        hash_pair(&Root::from_uint64(self.slot.0), &Root::from_uint64(self.subcommittee_index))
    }
}

impl ValidatorRegistration {
    fn tree_hash_root(&self) -> Root {
        container_root([
            self.fee_recipient.tree_hash_root(),
            Root::from_uint64(self.gas_limit),
            Root::from_uint64(self.timestamp),
            self.pubkey.tree_hash_root(),
        ])
    }
}

#[cfg(test)]
mod tests;
