//! Blocks: the header, and the phase0 and altair block with its whole body.
//!
//! From Bellatrix on clients send the header of a block alone, so later bodies are not needed. The
//! limits are the same in every preset (consensus-specs, `presets/*/phase0.yaml`).

use serde::{Deserialize, Serialize};

use super::bits::BitsError;
use super::bits::Bitvector;
use super::duty::{Attestation, AttestationData, VoluntaryExit};
use super::merkle::{
    container_root, hash_pair, list_root, mix_in_length, packed_root, vector_root,
};
use super::network::Preset;
use super::types::{PublicKey, Root, Signature, Slot, uint64};

const MAX_PROPOSER_SLASHINGS: usize = 16;
const MAX_ATTESTER_SLASHINGS: usize = 2;
const MAX_ATTESTATIONS: usize = 128;
const MAX_DEPOSITS: usize = 16;
const MAX_VOLUNTARY_EXITS: usize = 16;
/// `DEPOSIT_CONTRACT_TREE_DEPTH` and the mixed-in length.
const DEPOSIT_PROOF_LENGTH: usize = 33;

/// A block's header, whose root is the block's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeaconBlockHeader {
    /// The slot.
    pub slot: Slot,
    /// The proposer.
    #[serde(with = "uint64")]
    pub proposer_index: u64,
    /// The block before.
    pub parent_root: Root,
    /// The state after this block.
    pub state_root: Root,
    /// The root of the body.
    pub body_root: Root,
}

/// A phase0 or altair block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeaconBlock {
    /// The slot.
    pub slot: Slot,
    /// The proposer.
    #[serde(with = "uint64")]
    pub proposer_index: u64,
    /// The block before.
    pub parent_root: Root,
    /// The state after this block.
    pub state_root: Root,
    /// The body.
    pub body: BeaconBlockBody,
}

/// The body of a phase0 or altair block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeaconBlockBody {
    /// The proposer's contribution to the randomness.
    pub randao_reveal: Signature,
    /// The proposer's vote for a state of the deposit contract.
    pub eth1_data: Eth1Data,
    /// Anything.
    pub graffiti: Root,
    /// Proofs of double proposals.
    pub proposer_slashings: Vec<ProposerSlashing>,
    /// Proofs of double and surround votes.
    pub attester_slashings: Vec<AttesterSlashing>,
    /// Attestations.
    pub attestations: Vec<Attestation>,
    /// Deposits.
    pub deposits: Vec<DepositWithProof>,
    /// Exits.
    pub voluntary_exits: Vec<SignedVoluntaryExit>,
    /// The sync committee's votes: in altair, not in phase0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_aggregate: Option<SyncAggregate>,
}

/// A state of the deposit contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eth1Data {
    /// The root of its deposits.
    pub deposit_root: Root,
    /// The number of its deposits.
    #[serde(with = "uint64")]
    pub deposit_count: u64,
    /// The block it is read at.
    pub block_hash: Root,
}

/// Two blocks of one proposer for one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposerSlashing {
    /// One.
    pub signed_header_1: SignedBeaconBlockHeader,
    /// The other.
    pub signed_header_2: SignedBeaconBlockHeader,
}

/// A header and its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBeaconBlockHeader {
    /// The header.
    pub message: BeaconBlockHeader,
    /// The proposer's signature.
    pub signature: Signature,
}

/// Two attestations that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttesterSlashing {
    /// One.
    pub attestation_1: IndexedAttestation,
    /// The other.
    pub attestation_2: IndexedAttestation,
}

/// An attestation that names its attesters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedAttestation {
    /// The attesters.
    #[serde(with = "uint64_list")]
    pub attesting_indices: Vec<u64>,
    /// What they vote for.
    pub data: AttestationData,
    /// Their aggregated signature.
    pub signature: Signature,
}

/// A deposit and the proof that it is in the deposit contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositWithProof {
    /// The branch to the root of the deposits, 33 roots.
    pub proof: Vec<Root>,
    /// The deposit.
    pub data: DepositData,
}

/// A deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositData {
    /// The validator.
    pub pubkey: PublicKey,
    /// Where its stake goes in the end.
    pub withdrawal_credentials: Root,
    /// Gwei.
    #[serde(with = "uint64")]
    pub amount: u64,
    /// The validator's signature.
    pub signature: Signature,
}

/// An exit and its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVoluntaryExit {
    /// The exit.
    pub message: VoluntaryExit,
    /// The validator's signature.
    pub signature: Signature,
}

/// The sync committee's votes for the block before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncAggregate {
    /// Which members vote.
    pub sync_committee_bits: Bitvector,
    /// Their aggregated signature.
    pub sync_committee_signature: Signature,
}

/// Why a block has no root: something in it is larger or smaller than the specification allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A list is too long.
    #[error("{field}: {len} elements, at most {limit} are allowed")]
    TooMany {
        /// The list.
        field: &'static str,
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// A deposit's proof has another length than 33.
    #[error("deposits.proof: {len} roots, {DEPOSIT_PROOF_LENGTH} are expected")]
    DepositProof {
        /// Its length.
        len: usize,
    },
    /// An attestation's bits do not fit.
    #[error("attestations.aggregation_bits: {0}")]
    AggregationBits(BitsError),
    /// The sync aggregate's bits do not fit.
    #[error("sync_aggregate.sync_committee_bits: {0}")]
    SyncCommitteeBits(BitsError),
}

impl BeaconBlockHeader {
    /// The hash tree root.
    pub fn tree_hash_root(&self) -> Root {
        container_root([
            Root::from_uint64(self.slot.0),
            Root::from_uint64(self.proposer_index),
            self.parent_root,
            self.state_root,
            self.body_root,
        ])
    }
}

impl BeaconBlock {
    /// The header of this block, whose root is that of the block.
    pub fn header(&self, preset: &Preset) -> Result<BeaconBlockHeader, BlockError> {
        Ok(BeaconBlockHeader {
            slot: self.slot,
            proposer_index: self.proposer_index,
            parent_root: self.parent_root,
            state_root: self.state_root,
            body_root: self.body.tree_hash_root(preset)?,
        })
    }
}

impl BeaconBlockBody {
    fn tree_hash_root(&self, preset: &Preset) -> Result<Root, BlockError> {
        let list = |field, roots: Vec<Root>, limit| {
            within(field, roots.len(), limit)?;
            Ok(list_root(roots.into_iter(), limit))
        };
        let attester_slashings: Result<Vec<_>, _> =
            self.attester_slashings.iter().map(|it| it.tree_hash_root(preset)).collect();
        let attestations: Result<Vec<_>, _> = self
            .attestations
            .iter()
            .map(|it| it.phase0_root(preset).map_err(BlockError::AggregationBits))
            .collect();
        let deposits: Result<Vec<_>, _> =
            self.deposits.iter().map(DepositWithProof::tree_hash_root).collect();
        let proposer_slashings =
            self.proposer_slashings.iter().map(ProposerSlashing::tree_hash_root).collect();
        let voluntary_exits =
            self.voluntary_exits.iter().map(SignedVoluntaryExit::tree_hash_root).collect();
        let phase0 = [
            self.randao_reveal.tree_hash_root(),
            self.eth1_data.tree_hash_root(),
            self.graffiti,
            list("proposer_slashings", proposer_slashings, MAX_PROPOSER_SLASHINGS)?,
            list("attester_slashings", attester_slashings?, MAX_ATTESTER_SLASHINGS)?,
            list("attestations", attestations?, MAX_ATTESTATIONS)?,
            list("deposits", deposits?, MAX_DEPOSITS)?,
            list("voluntary_exits", voluntary_exits, MAX_VOLUNTARY_EXITS)?,
        ];
        match &self.sync_aggregate {
            None => Ok(container_root(phase0)),
            Some(aggregate) => {
                let mut altair = [Root::ZERO; 9];
                altair[..8].copy_from_slice(&phase0);
                altair[8] = aggregate.tree_hash_root(preset)?;
                Ok(container_root(altair))
            }
        }
    }
}

impl Eth1Data {
    fn tree_hash_root(&self) -> Root {
        let count = Root::from_uint64(self.deposit_count);
        container_root([self.deposit_root, count, self.block_hash])
    }
}

impl ProposerSlashing {
    fn tree_hash_root(&self) -> Root {
        hash_pair(&self.signed_header_1.tree_hash_root(), &self.signed_header_2.tree_hash_root())
    }
}

impl SignedBeaconBlockHeader {
    fn tree_hash_root(&self) -> Root {
        hash_pair(&self.message.tree_hash_root(), &self.signature.tree_hash_root())
    }
}

impl AttesterSlashing {
    fn tree_hash_root(&self, preset: &Preset) -> Result<Root, BlockError> {
        let (one, other) = (&self.attestation_1, &self.attestation_2);
        Ok(hash_pair(&one.tree_hash_root(preset)?, &other.tree_hash_root(preset)?))
    }
}

impl IndexedAttestation {
    fn tree_hash_root(&self, preset: &Preset) -> Result<Root, BlockError> {
        let (len, limit) = (self.attesting_indices.len(), preset.max_validators_per_committee);
        within("attester_slashings.attesting_indices", len, limit)?;
        let packed: Vec<u8> =
            self.attesting_indices.iter().flat_map(|index| index.to_le_bytes()).collect();
        let indices = mix_in_length(&packed_root(&packed, limit.div_ceil(4)), len);
        Ok(container_root([indices, self.data.tree_hash_root(), self.signature.tree_hash_root()]))
    }
}

impl DepositWithProof {
    fn tree_hash_root(&self) -> Result<Root, BlockError> {
        let len = self.proof.len();
        if len != DEPOSIT_PROOF_LENGTH {
            return Err(BlockError::DepositProof { len });
        }
        let proof = vector_root(self.proof.iter().copied(), DEPOSIT_PROOF_LENGTH);
        Ok(hash_pair(&proof, &self.data.tree_hash_root()))
    }
}

impl DepositData {
    fn tree_hash_root(&self) -> Root {
        container_root([
            self.pubkey.tree_hash_root(),
            self.withdrawal_credentials,
            Root::from_uint64(self.amount),
            self.signature.tree_hash_root(),
        ])
    }
}

impl SignedVoluntaryExit {
    fn tree_hash_root(&self) -> Root {
        hash_pair(&self.message.tree_hash_root(), &self.signature.tree_hash_root())
    }
}

impl SyncAggregate {
    fn tree_hash_root(&self, preset: &Preset) -> Result<Root, BlockError> {
        let bits = self
            .sync_committee_bits
            .tree_hash_root(preset.sync_committee_size)
            .map_err(BlockError::SyncCommitteeBits)?;
        Ok(hash_pair(&bits, &self.sync_committee_signature.tree_hash_root()))
    }
}

fn within(field: &'static str, len: usize, limit: usize) -> Result<(), BlockError> {
    if len > limit { Err(BlockError::TooMany { field, len, limit }) } else { Ok(()) }
}

/// Lists of `uint64` in JSON.
mod uint64_list {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::eth::types::Uint64;

    pub(super) fn serialize<S: Serializer>(list: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().copied().map(Uint64))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<u64>, D::Error> {
        Ok(Vec::<Uint64>::deserialize(de)?.into_iter().map(|it| it.0).collect())
    }
}

#[cfg(test)]
mod tests;
