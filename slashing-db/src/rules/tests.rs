#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::signed::SigningRoot;

const OPEN: Bounds =
    Bounds { target_epoch_min: 0, target_epoch_max: 100, slot_max: 100, counted_max: 2 };

fn root(byte: u8) -> SigningRoot {
    SigningRoot([byte; 32])
}

fn attestation(source_epoch: u64, target_epoch: u64, byte: u8) -> SignedAttestation {
    SignedAttestation { source_epoch, target_epoch, signing_root: root(byte) }
}

fn attested(source_epoch: u64, target_epoch: u64, byte: u8) -> AttestationRecord {
    AttestationRecord { source_epoch, target_epoch, signing_root: root(byte), sequence: 7 }
}

fn block(slot: u64, byte: u8) -> SignedBlock {
    SignedBlock { slot, signing_root: root(byte) }
}

fn verdict(result: Result<Safe, NotSafe>) -> &'static str {
    match result {
        Ok(Safe::Advance) => "advance",
        Ok(Safe::Repeat) => "repeat",
        Err(refusal) => refusal.code(),
    }
}

#[test]
fn attestations_against_a_record() {
    // The record: source 5, target 10, root 1.
    let cases = [
        ((5, 11, 2), "advance"),
        ((6, 11, 2), "advance"),
        ((10, 11, 2), "advance"),
        ((5, 11, 0), "advance"),
        ((5, 10, 1), "repeat"),
        ((5, 10, 2), "double_vote"),
        ((5, 10, 0), "double_vote"),
        ((6, 10, 1), "double_vote"),
        ((4, 10, 1), "double_vote"),
        ((4, 11, 2), "surround_or_stale_source"),
        ((0, 100, 2), "surround_or_stale_source"),
        ((6, 9, 2), "surround_or_stale_source"),
        ((5, 9, 2), "stale_target"),
        ((4, 9, 1), "stale_target"),
        ((0, 0, 2), "stale_target"),
        ((11, 11, 2), "source_exceeds_target"),
        ((12, 11, 2), "source_exceeds_target"),
        ((5, 101, 2), "target_too_far"),
    ];
    for ((source, target, byte), expected) in cases {
        let attempted = attestation(source, target, byte);
        let result = check_attestation(Some(&attested(5, 10, 1)), attempted, &OPEN, true);
        assert_eq!(verdict(result), expected, "source {source}, target {target}, root {byte}");
    }
}

#[test]
fn first_attestations() {
    let cases = [
        ((0, 0), "advance"),
        ((0, 1), "advance"),
        ((7, 8), "advance"),
        ((8, 8), "source_exceeds_target"),
        ((9, 8), "source_exceeds_target"),
    ];
    for ((source, target), expected) in cases {
        let result = check_attestation(None, attestation(source, target, 1), &OPEN, true);
        assert_eq!(verdict(result), expected, "source {source}, target {target}");
    }
}

#[test]
fn an_unknown_root_repeats_nothing() {
    let result = check_attestation(Some(&attested(5, 10, 0)), attestation(5, 10, 0), &OPEN, true);
    assert_eq!(verdict(result), "double_vote");
    let recorded = BlockRecord { slot: 8, signing_root: root(0), sequence: 1 };
    let result = check_block(Some(&recorded), block(8, 0), &OPEN, true);
    assert_eq!(verdict(result), "double_block_proposal");
}

#[test]
fn bounds_come_before_records() {
    let bounds = Bounds { target_epoch_min: 11, target_epoch_max: 12, ..OPEN };
    for (target, expected) in
        [(10, "target_too_old"), (11, "advance"), (12, "advance"), (13, "target_too_far")]
    {
        let attempted = attestation(5, target, 1);
        let result = check_attestation(Some(&attested(5, 10, 1)), attempted, &bounds, true);
        assert_eq!(verdict(result), expected, "target {target}");
    }
    let result = check_attestation(None, attestation(0, 5, 1), &OPEN, false);
    assert_eq!(verdict(result), "not_reserved");
    assert_eq!(verdict(check_block(None, block(5, 1), &OPEN, false)), "not_reserved");
}

#[test]
fn blocks_against_a_record() {
    let recorded = BlockRecord { slot: 20, signing_root: root(1), sequence: 3 };
    let cases = [
        ((21, 2), "advance"),
        ((100, 2), "advance"),
        ((101, 2), "slot_too_far"),
        ((20, 1), "repeat"),
        ((20, 2), "double_block_proposal"),
        ((20, 0), "double_block_proposal"),
        ((19, 1), "stale_slot"),
        ((0, 1), "stale_slot"),
    ];
    for ((slot, byte), expected) in cases {
        let result = check_block(Some(&recorded), block(slot, byte), &OPEN, true);
        assert_eq!(verdict(result), expected, "slot {slot}, root {byte}");
    }
    assert_eq!(verdict(check_block(None, block(0, 1), &OPEN, true)), "advance");
}

#[test]
fn counted_messages_run_out() {
    let counted = |byte| Counted { kind: CountedKind::VoluntaryExit, signing_root: root(byte) };
    let recorded = |count| CountedRecord { count, signing_root: root(1), sequence: 1 };
    assert_eq!(verdict(check_counted(None, counted(1), &OPEN)), "advance");
    assert_eq!(verdict(check_counted(Some(&recorded(1)), counted(1), &OPEN)), "repeat");
    assert_eq!(verdict(check_counted(Some(&recorded(1)), counted(2), &OPEN)), "advance");
    assert_eq!(verdict(check_counted(Some(&recorded(2)), counted(2), &OPEN)), "count_exceeded");
    assert_eq!(verdict(check_counted(Some(&recorded(2)), counted(1), &OPEN)), "repeat");
    let none = Bounds { counted_max: 0, ..OPEN };
    assert_eq!(verdict(check_counted(None, counted(1), &none)), "count_exceeded");
}

/// Slashable as the consensus specification says (`is_slashable_attestation_data`); an unknown root
/// differs from every root.
fn is_slashable(one: &SignedAttestation, two: &SignedAttestation) -> bool {
    let same = one.source_epoch == two.source_epoch
        && one.target_epoch == two.target_epoch
        && one.signing_root.proves_repeat_of(&two.signing_root);
    let double = !same && one.target_epoch == two.target_epoch;
    let surrounds = |a: &SignedAttestation, b: &SignedAttestation| {
        a.source_epoch < b.source_epoch && b.target_epoch < a.target_epoch
    };
    double || surrounds(one, two) || surrounds(two, one)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The model keeps the whole history and compares each vote with all of it.
    #[test]
    fn what_is_accepted_the_complete_history_accepts_too(
        votes in prop::collection::vec((0u64..12, 0u64..12, 0u8..4), 1..60)
    ) {
        let mut history: Vec<SignedAttestation> = Vec::new();
        let mut recorded: Option<AttestationRecord> = None;
        let mut accepted = 0;
        let anything_valid =
            votes.iter().any(|(source, target, _)| source < target || (*source, *target) == (0, 0));
        for (source, target, byte) in votes {
            let vote = attestation(source, target, byte);
            match check_attestation(recorded.as_ref(), vote, &OPEN, true) {
                Err(_) => continue,
                Ok(Safe::Repeat) => prop_assert!(history.contains(&vote)),
                Ok(Safe::Advance) => recorded = Some(attested(source, target, byte)),
            }
            accepted += 1;
            prop_assert!(source <= target);
            for earlier in &history {
                prop_assert!(!is_slashable(earlier, &vote), "{earlier:?} and {vote:?}");
            }
            history.push(vote);
        }
        // Refusing everything would prove nothing.
        prop_assert_eq!(accepted > 0, anything_valid);
    }

    #[test]
    fn no_two_blocks_of_one_slot_are_accepted(
        blocks in prop::collection::vec((0u64..12, 0u8..4), 1..60)
    ) {
        let mut history: Vec<SignedBlock> = Vec::new();
        let mut recorded: Option<BlockRecord> = None;
        for (slot, byte) in &blocks {
            let attempted = block(*slot, *byte);
            match check_block(recorded.as_ref(), attempted, &OPEN, true) {
                Err(_) => continue,
                Ok(Safe::Repeat) => {}
                Ok(Safe::Advance) => {
                    let signing_root = root(*byte);
                    recorded = Some(BlockRecord { slot: *slot, signing_root, sequence: 0 });
                }
            }
            for earlier in history.iter().filter(|it| it.slot == *slot) {
                prop_assert!(earlier.signing_root.proves_repeat_of(&attempted.signing_root));
            }
            history.push(attempted);
        }
        prop_assert_eq!(history.first().map(|it| it.slot), blocks.first().map(|it| it.0));
    }
}
