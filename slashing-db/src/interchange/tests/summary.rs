//! The summary against a fold over all records that keeps everything.

use super::*;

fn naive_attestation(records: &[SignedAttestation]) -> Option<SignedAttestation> {
    let source_epoch = records.iter().map(|a| a.source_epoch).max()?;
    let target_epoch = records.iter().map(|a| a.target_epoch).max()?;
    let at_target: Vec<_> = records.iter().filter(|a| a.target_epoch == target_epoch).collect();
    let first = at_target[0];
    let uncontested = at_target.iter().all(|a| *a == first) && first.source_epoch == source_epoch;
    let signing_root = if uncontested { first.signing_root } else { SigningRoot::NULL };
    Some(SignedAttestation { source_epoch, target_epoch, signing_root })
}

fn naive_block(records: &[SignedBlock]) -> Option<SignedBlock> {
    let slot = records.iter().map(|b| b.slot).max()?;
    let at_slot: Vec<_> = records.iter().filter(|b| b.slot == slot).collect();
    let uncontested = at_slot.iter().all(|b| *b == at_slot[0]);
    let signing_root = if uncontested { at_slot[0].signing_root } else { SigningRoot::NULL };
    Some(SignedBlock { slot, signing_root })
}

fn summarise(blocks: &[SignedBlock], attestations: &[SignedAttestation]) -> Summary {
    let mut summary = Summary::new();
    for block in blocks {
        summary.add_block(*block);
    }
    for (record, attestation) in (0..).zip(attestations) {
        summary.add_attestation(*attestation, InvertedRecord { entry: 0, record });
    }
    summary
}

fn few_attestations() -> impl Strategy<Value = Vec<SignedAttestation>> {
    let attestation = (0_u64..4, 0_u64..4, any_root()).prop_map(|(source, target, root)| {
        SignedAttestation { source_epoch: source, target_epoch: target, signing_root: root }
    });
    prop::collection::vec(attestation, 0..6)
}

fn few_blocks() -> impl Strategy<Value = Vec<SignedBlock>> {
    let block =
        (0_u64..4, any_root()).prop_map(|(slot, signing_root)| SignedBlock { slot, signing_root });
    prop::collection::vec(block, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn equals_a_fold_over_all_records(blocks in few_blocks(), attestations in few_attestations()) {
        let summary = summarise(&blocks, &attestations);
        prop_assert_eq!(summary.attestation(), naive_attestation(&attestations));
        prop_assert_eq!(summary.block(), naive_block(&blocks));
        prop_assert_eq!(summary.attestation_records(), attestations.len() as u64);
        prop_assert_eq!(summary.block_records(), blocks.len() as u64);
        let inverted = |a: &&SignedAttestation| a.source_epoch > a.target_epoch;
        let all_inverted = attestations.iter().filter(inverted).count() as u64;
        prop_assert_eq!(summary.inverted_records(), all_inverted);
        let first = attestations.iter().position(|a| inverted(&a));
        let found = summary.first_inverted().map(|place| place.record);
        prop_assert_eq!(found, first.map(|i| i as u64));
    }

    #[test]
    fn merging_parts_equals_the_whole(
        blocks in few_blocks(),
        attestations in few_attestations(),
        more_blocks in few_blocks(),
        more_attestations in few_attestations(),
    ) {
        let one = summarise(&blocks, &attestations);
        let other = summarise(&more_blocks, &more_attestations);
        let all_blocks = [blocks, more_blocks].concat();
        let all_attestations = [attestations, more_attestations].concat();
        for merged in [one.merge(other), other.merge(one)] {
            prop_assert_eq!(merged.attestation(), naive_attestation(&all_attestations));
            prop_assert_eq!(merged.block(), naive_block(&all_blocks));
        }
        prop_assert_eq!(one.merge(one).attestation(), one.attestation());
        prop_assert_eq!(one.merge(Summary::new()), one);
    }
}

fn vote(source_epoch: u64, target_epoch: u64, byte: u8) -> SignedAttestation {
    SignedAttestation { source_epoch, target_epoch, signing_root: root(byte) }
}

#[test]
fn a_root_is_kept_only_where_one_record_carries_both_maxima_uncontested() {
    let kept = |records: &[SignedAttestation]| {
        let root = summarise(&[], records).attestation().unwrap().signing_root;
        if root.is_null() { None } else { Some(root.0[0]) }
    };
    assert_eq!(kept(&[vote(1, 2, 7), vote(2, 3, 8)]), Some(8));
    assert_eq!(kept(&[vote(2, 3, 8), vote(2, 3, 8)]), Some(8), "a repeat contests nothing");
    assert_eq!(kept(&[vote(5, 6, 7), vote(2, 9, 8)]), None, "the maxima are of two records");
    assert_eq!(kept(&[vote(2, 3, 8), vote(2, 3, 9)]), None, "another root");
    assert_eq!(kept(&[vote(2, 3, 8), vote(2, 3, 0)]), None, "an unknown root");
    assert_eq!(kept(&[vote(2, 3, 0), vote(2, 3, 8)]), None, "in either order");
    assert_eq!(kept(&[vote(2, 3, 8), vote(2, 3, 9), vote(2, 3, 8)]), None, "for good");
    assert_eq!(kept(&[vote(2, 3, 8), vote(1, 3, 8)]), None, "one root cannot have two sources");
    assert_eq!(kept(&[vote(2, 3, 8), vote(2, 3, 9), vote(2, 4, 7)]), Some(7), "passed by a later");
}

#[test]
fn what_lies_above_the_bounds_is_named() {
    let block = SignedBlock { slot: 100, signing_root: SigningRoot::NULL };
    let summary = summarise(&[block], &[vote(9, 3, 1), vote(2, 8, 1)]);
    assert_eq!(summary.above(Bounds { epoch: 9, slot: 100 }), None);
    let above = summary.above(Bounds { epoch: 8, slot: 99 }).unwrap();
    assert_eq!((above.source_epoch, above.target_epoch, above.slot), (Some(9), None, Some(100)));
    let text = above.to_string();
    assert!(text.contains("source epoch 9; slot 100; at most epoch 8 and slot 99"), "{text}");
    assert_eq!(Summary::new().above(Bounds { epoch: 0, slot: 0 }), None);
}
