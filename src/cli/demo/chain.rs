//! A chain that exists for the demonstration alone: who has which duty in which slot, and what a
//! beacon node would give the client to sign.

use crate::bls;
use crate::clock::SlotClock;
use crate::eth::block::BeaconBlockHeader;
use crate::eth::duty::{AttestationData, BlockV2, Checkpoint, RandaoReveal, ValidatorRegistration};
use crate::eth::merkle::hash_pair;
use crate::eth::types::ExecutionAddress;
use crate::eth::{
    Duty, Epoch, Fork, ForkInfo, ForkName, Network, PublicKey, Root, RootError, SigningRoot, Slot,
    signing_root,
};
use crate::web3signer::request;

/// Validators, with the interop keys of the same indices.
pub(super) const VALIDATORS: usize = 64;
/// The first so many validators are the sync committee.
pub(super) const SYNC_COMMITTEE: usize = 8;
/// What tells this network from all others.
pub(super) const GENESIS_VALIDATORS_ROOT: Root = Root([0xde; 32]);

/// The epoch in which the demonstration begins, and the slot of it: four slots before its end, so
/// that the votes of two epochs are seen.
const FIRST_EPOCH: u64 = 1_000;
const FIRST_SLOT_OF_EPOCH: u64 = 4;

/// The network, its time, and the keys of its validators.
pub(super) struct Chain {
    pub(super) network: Network,
    pub(super) slots: SlotClock,
    pub(super) genesis_time_s: u64,
    pub(super) keys: Vec<bls::PublicKey>,
    fork_info: ForkInfo,
}

impl Chain {
    /// A chain whose first slot of the demonstration begins right after `unix_s`.
    ///
    /// # Errors
    /// When `config` is not a network that has come to Fulu.
    pub(super) fn new(config: &str, unix_s: u64) -> anyhow::Result<Self> {
        let network = Network::from_config_yaml(config)?;
        let (slot, per_epoch) = (network.slot_duration(), network.preset().slots_per_epoch);
        let slots_before = FIRST_EPOCH * per_epoch + FIRST_SLOT_OF_EPOCH - 1;
        let genesis_time_s = unix_s.saturating_sub(slots_before * slot.as_secs());
        let version = network.version_at(Epoch(FIRST_EPOCH));
        let fork = Fork { previous_version: version, current_version: version, epoch: Epoch(0) };
        let keys = (0..VALIDATORS as u64).map(|index| bls::SecretKey::interop(index).public_key());
        Ok(Self {
            network: network.with_genesis(genesis_time_s, GENESIS_VALIDATORS_ROOT),
            slots: SlotClock::new(genesis_time_s, slot, per_epoch),
            genesis_time_s,
            keys: keys.collect(),
            fork_info: ForkInfo { fork, genesis_validators_root: GENESIS_VALIDATORS_ROOT },
        })
    }

    /// The key of a validator.
    pub(super) fn key(&self, validator: usize) -> PublicKey {
        PublicKey(self.keys[validator].to_bytes())
    }

    /// The validator that proposes in `slot`.
    pub(super) fn proposer(slot: Slot) -> usize {
        usize::try_from(slot.0 % VALIDATORS as u64).expect("less than the validators")
    }

    /// The validators that vote in `slot`: each votes once an epoch.
    pub(super) fn committee(&self, slot: Slot) -> Vec<usize> {
        let per_epoch = self.slots.slots_per_epoch();
        (0..VALIDATORS).filter(|index| *index as u64 % per_epoch == slot.0 % per_epoch).collect()
    }

    /// The block of `slot`; `content` tells different blocks of one slot apart.
    pub(super) fn block(&self, slot: Slot, content: u64) -> BeaconBlockHeader {
        BeaconBlockHeader {
            slot,
            proposer_index: Self::proposer(slot) as u64,
            parent_root: marker(slot.0 - 1, 1),
            state_root: marker(slot.0, 2),
            body_root: marker(slot.0, 3 + content),
        }
    }

    /// The honest vote of `slot`: for its block, from the epoch before.
    pub(super) fn vote(&self, slot: Slot) -> AttestationData {
        let epoch = self.slots.epoch_of(slot);
        AttestationData {
            slot,
            index: 0,
            beacon_block_root: self.block(slot, 0).tree_hash_root(),
            source: checkpoint(epoch.0 - 1),
            target: checkpoint(epoch.0),
        }
    }

    /// The proposer's RANDAO reveal of `slot`.
    pub(super) fn randao(&self, slot: Slot) -> Duty {
        Duty::RandaoReveal(RandaoReveal { epoch: self.slots.epoch_of(slot) })
    }

    /// What a validator tells block builders.
    pub(super) fn registration(&self, validator: usize) -> Duty {
        Duty::ValidatorRegistration(ValidatorRegistration {
            fee_recipient: ExecutionAddress([0xfe; 20]),
            gas_limit: 60_000_000,
            timestamp: self.genesis_time_s,
            pubkey: self.key(validator),
        })
    }

    /// The signing root of `duty`.
    ///
    /// # Errors
    /// When the duty does not fit its fork.
    pub(super) fn signing_root(&self, duty: &Duty) -> Result<SigningRoot, RootError> {
        signing_root(duty, Some(&self.fork_info), None, &self.network, Epoch(FIRST_EPOCH))
    }

    /// The body of the request for a signature of `duty`, as clients send it, with `claimed` as its
    /// signing root.
    pub(super) fn request(&self, duty: &Duty, claimed: &SigningRoot) -> Vec<u8> {
        request::encode(duty, Some(&self.fork_info), claimed, &self.network)
    }
}

/// `header` as the duty of its proposer.
pub(super) fn proposal(header: BeaconBlockHeader) -> Duty {
    Duty::BlockV2(BlockV2::Header { version: ForkName::Fulu, header })
}

/// The checkpoint of `epoch`.
pub(super) fn checkpoint(epoch: u64) -> Checkpoint {
    Checkpoint { epoch: Epoch(epoch), root: marker(epoch, 0) }
}

/// A root that stands for something that nobody looks into.
fn marker(number: u64, purpose: u64) -> Root {
    hash_pair(&Root::from_uint64(number), &Root::from_uint64(purpose))
}
