//! From a duty to the numbers that policy looks at.

use policy::{Header, Message};

use crate::eth::duty::BlockV2;
use crate::eth::merkle::is_valid_branch;
use crate::eth::types::ExecutionAddress;
use crate::eth::{Duty, Network, Root};
use crate::sign::Gate;
use crate::web3signer::request::BodyProof;

#[cfg(test)]
mod tests;

/// The numbers of a duty. What a block's header proves is added later.
pub(super) fn message(duty: &Duty) -> Message {
    match duty {
        Duty::Attestation(data) => Message::Attestation {
            slot: data.slot.0,
            source_epoch: data.source.epoch.0,
            target_epoch: data.target.epoch.0,
            index: data.index,
            head: first_bytes(&data.beacon_block_root),
        },
        Duty::Block(block) => Message::Block {
            slot: block.slot.0,
            header: header(&block.parent_root, &block.state_root, None),
        },
        Duty::BlockV2(BlockV2::Phase0(block) | BlockV2::Altair(block)) => Message::Block {
            slot: block.slot.0,
            header: header(&block.parent_root, &block.state_root, None),
        },
        Duty::BlockV2(BlockV2::Header { header: block, .. }) => Message::Block {
            slot: block.slot.0,
            header: header(&block.parent_root, &block.state_root, Some(&block.body_root)),
        },
        Duty::RandaoReveal(reveal) => Message::RandaoReveal { epoch: reveal.epoch.0 },
        Duty::AggregationSlot(object) => Message::SelectionProof { slot: object.slot.0 },
        Duty::AggregateAndProof(object) | Duty::AggregateAndProofV2(object) => {
            Message::AggregateAndProof { slot: object.aggregate.data.slot.0 }
        }
        Duty::SyncCommitteeMessage(object) => Message::SyncMessage { slot: object.slot.0 },
        Duty::SyncCommitteeSelectionProof(object) => {
            Message::SyncSelectionProof { slot: object.slot.0 }
        }
        Duty::SyncCommitteeContributionAndProof(object) => {
            Message::SyncContribution { slot: object.contribution.slot.0 }
        }
        Duty::ValidatorRegistration(object) => Message::Registration {
            fee_recipient: object.fee_recipient.0,
            gas_limit: object.gas_limit,
            timestamp_s: object.timestamp,
        },
        Duty::VoluntaryExit(exit) => Message::VoluntaryExit { epoch: exit.epoch.0 },
        Duty::Deposit(deposit) => Message::Deposit {
            withdrawal_credentials: deposit.withdrawal_credentials.0,
            amount_gwei: deposit.amount,
        },
    }
}

/// When a duty of this kind is due in its slot, by the fork of its own epoch.
pub(super) fn due_ms(gate: &Gate, duty: &Duty) -> u32 {
    let due = duty.slot().map(|slot| gate.network.due(duty.kind(), gate.network.epoch(slot)));
    due.map_or(0, |due| u32::try_from(due.as_millis()).unwrap_or(u32::MAX))
}

fn header(parent_root: &Root, state_root: &Root, body_root: Option<&Root>) -> Header {
    Header {
        zero_parent_root: *parent_root == Root::ZERO,
        zero_state_root: *state_root == Root::ZERO,
        zero_body_root: body_root == Some(&Root::ZERO),
        fee_recipient: None,
        has_broken_proof: false,
    }
}

/// Adds what the client proves of the block's fee recipient.
///
/// Nimbus sends the branch alone where the leaf is what the signer has to know anyway: then the
/// recipients that are right are tried, and a branch that leads from none of them is broken.
pub(super) fn prove(
    header: &mut Header,
    duty: &Duty,
    proofs: &[BodyProof],
    network: &Network,
    known: &[[u8; 20]],
) {
    let Duty::BlockV2(BlockV2::Header { header: block, .. }) = duty else { return };
    // By the schedule and not by the version that the client names: in another fork's tree the
    // same index is another field.
    let fork = network.fork_at(network.epoch(block.slot));
    let Some(index) = fork.fee_recipient_index() else { return };
    for proof in proofs.iter().filter(|proof| proof.index == index) {
        let leads = |leaf: &Root| is_valid_branch(leaf, &proof.branch, index, &block.body_root);
        let found = match &proof.leaf {
            Some(leaf) => leads(leaf).then(|| address(leaf)).flatten(),
            None if known.is_empty() => continue, // nothing to compare with
            None => known
                .iter()
                .find(|address| leads(&ExecutionAddress(**address).tree_hash_root()))
                .copied(),
        };
        match found {
            Some(address) => header.fee_recipient = Some(address),
            None => header.has_broken_proof = true,
        }
    }
}

/// The address in a leaf, whose last twelve bytes are padding.
fn address(leaf: &Root) -> Option<[u8; 20]> {
    let (address, padding) = leaf.0.split_first_chunk()?;
    padding.iter().all(|byte| *byte == 0).then_some(*address)
}

fn first_bytes(root: &Root) -> u64 {
    u64::from_be_bytes(*root.0.first_chunk().expect("32 bytes"))
}
