//! The chain as the simulated validator clients see it, and the requests that they make.

use portcullis::eth::block::BeaconBlockHeader;
use portcullis::eth::duty::{AttestationData, BlockV2, Checkpoint, RandaoReveal};
use portcullis::eth::{
    Duty, Epoch, Fork, ForkInfo, ForkName, Network, PublicKey, Root, Slot, Version,
};
use portcullis::web3signer::request::SigningRequest;

pub(super) const SLOTS_PER_EPOCH: u64 = 32;
pub(super) const SLOT_NS: u64 = 12_000_000_000;
pub(super) const GENESIS_S: u64 = 1_700_000_000;
pub(super) const GVR: Root = Root([0x7e; 32]);

/// The network of the integration tests.
pub(super) fn network() -> Network {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/networks/test.yaml");
    let network = Network::from_config_file(path.as_ref()).expect("the test network");
    network.with_genesis(GENESIS_S, GVR)
}

/// The key of a row of the simulation.
pub(super) fn public_key(key: usize) -> PublicKey {
    let mut bytes = [0xa0; 48];
    bytes[40..].copy_from_slice(&(key as u64).to_be_bytes());
    PublicKey(bytes)
}

/// In which slot of its epoch a key attests: fixed here, shuffled by the spec.
pub(super) fn attests_in(key: usize, slot: u64) -> bool {
    let epoch = slot / SLOTS_PER_EPOCH;
    (key as u64 * 7 + epoch * 5) % SLOTS_PER_EPOCH == slot % SLOTS_PER_EPOCH
}

/// The justified epoch: two behind, and standing still for some epochs of every forty.
pub(super) fn justified(epoch: u64) -> u64 {
    match epoch % 40 {
        within @ 20..26 => epoch - within + 18,
        _ => epoch - 2,
    }
}

fn root(of: u64, variant: u8) -> Root {
    let mut bytes = [variant; 32];
    bytes[..8].copy_from_slice(&of.to_be_bytes());
    Root(bytes)
}

/// A vote of `slot` from `source`; `variant` is the head that the client sees.
pub(super) fn vote(slot: u64, source: u64, variant: u8) -> SigningRequest {
    let target = slot / SLOTS_PER_EPOCH;
    let checkpoint = |epoch: u64| Checkpoint { epoch: Epoch(epoch), root: root(epoch, 1) };
    request(Duty::Attestation(AttestationData {
        slot: Slot(slot),
        index: 0,
        beacon_block_root: root(slot, variant),
        source: checkpoint(source),
        target: checkpoint(target),
    }))
}

/// A proposal in `slot`; `variant` is its body.
pub(super) fn block(slot: u64, variant: u8) -> SigningRequest {
    let header = BeaconBlockHeader {
        slot: Slot(slot),
        proposer_index: 1,
        parent_root: root(slot - 1, 1),
        state_root: root(slot, 2),
        body_root: root(slot, variant),
    };
    request(Duty::BlockV2(BlockV2::Header { version: ForkName::Fulu, header }))
}

/// What the proposer of `slot` signs beside its block; it cannot be slashed.
pub(super) fn randao(slot: u64) -> SigningRequest {
    request(Duty::RandaoReveal(RandaoReveal { epoch: Epoch(slot / SLOTS_PER_EPOCH) }))
}

fn request(duty: Duty) -> SigningRequest {
    let version = Version([0x06, 0x00, 0x7e, 0x57]);
    let fork = Fork { previous_version: version, current_version: version, epoch: Epoch(0) };
    let fork_info = Some(ForkInfo { fork, genesis_validators_root: GVR });
    SigningRequest { duty, fork_info, claimed_root: None }
}
