#![allow(clippy::unwrap_used)]

use super::*;
use crate::eth::block::BeaconBlockHeader;
use crate::eth::merkle::hash_pair;
use crate::eth::{Epoch, ForkName, Slot};

const OURS: [u8; 20] = [0xaa; 20];

/// A branch from the fee recipient at `index`, and the root of the body that it leads to.
fn body(index: u64, recipient: [u8; 20]) -> (Vec<Root>, Root) {
    let depth = u8::try_from(index.ilog2()).unwrap();
    let branch: Vec<Root> = (1..=depth).map(|byte| Root([byte; 32])).collect();
    let mut node = (ExecutionAddress(recipient).tree_hash_root(), index);
    for sibling in &branch {
        let (left, right) = if node.1 % 2 == 1 { (sibling, &node.0) } else { (&node.0, sibling) };
        node = (hash_pair(left, right), node.1 / 2);
    }
    (branch, node.0)
}

fn proven(slot: u64, body_root: Root, proof: BodyProof, known: &[[u8; 20]]) -> Header {
    let header = BeaconBlockHeader {
        slot: Slot(slot),
        proposer_index: 1,
        parent_root: Root([1; 32]),
        state_root: Root([2; 32]),
        body_root,
    };
    let duty = Duty::BlockV2(BlockV2::Header { version: ForkName::Fulu, header });
    let Message::Block { mut header, .. } = message(&duty) else { panic!("a block") };
    let network = Network::builtin("mainnet").unwrap();
    prove(&mut header, &duty, &[proof], &network, known);
    header
}

#[test]
fn a_proven_fee_recipient_is_seen_and_a_broken_proof_is_told() {
    let deneb = 269_568 * 32;
    for (slot, index) in [(deneb, 801), (deneb - 1, 401)] {
        let (branch, root) = body(index, OURS);
        let leaf = Some(ExecutionAddress(OURS).tree_hash_root());
        let good = BodyProof { index, branch, leaf };
        let seen = proven(slot, root, good.clone(), &[]);
        assert_eq!((seen.fee_recipient, seen.has_broken_proof), (Some(OURS), false));
        let seen = proven(slot, Root([9; 32]), good.clone(), &[]);
        assert_eq!((seen.fee_recipient, seen.has_broken_proof), (None, true), "another body");
        let lie = BodyProof { leaf: Some(Root([0xbb; 32])), ..good.clone() };
        assert!(proven(slot, root, lie, &[]).has_broken_proof);

        // Nimbus leaves the leaf out.
        let bare = BodyProof { leaf: None, ..good };
        let of = |known: &[[u8; 20]]| proven(slot, root, bare.clone(), known);
        assert_eq!(of(&[[1; 20], OURS]).fee_recipient, Some(OURS));
        assert!(of(&[[1; 20]]).has_broken_proof, "none of those that are right");
        assert_eq!(of(&[]), Header::default(), "nothing to compare with");
    }
}

#[test]
fn the_index_is_of_the_schedules_fork_and_not_of_the_clients() {
    let (branch, root) = body(401, OURS);
    let leaf = Some(ExecutionAddress(OURS).tree_hash_root());
    let seen = proven(400_000 * 32, root, BodyProof { index: 401, branch, leaf }, &[OURS]);
    assert_eq!(seen, Header::default(), "401 is no fee recipient after Deneb");
}

#[test]
fn a_header_of_zeros_is_seen() {
    let header = BeaconBlockHeader {
        slot: Slot(Epoch(500_000).0 * 32),
        proposer_index: 1,
        parent_root: Root([1; 32]),
        state_root: Root::ZERO,
        body_root: Root::ZERO,
    };
    let duty = Duty::BlockV2(BlockV2::Header { version: ForkName::Fulu, header });
    let Message::Block { header, .. } = message(&duty) else { panic!("a block") };
    assert!(!header.zero_parent_root);
    assert!(header.zero_state_root && header.zero_body_root);
}
