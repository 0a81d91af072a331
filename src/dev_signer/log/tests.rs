#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;

fn entry(seq: u64, key: u8, sign_type: SignType, root: u8, subject: Subject) -> Entry {
    Entry {
        seq,
        sign_type,
        pubkey: Hex([key; 48]),
        signing_root: Hex([root; 32]),
        subject,
        unix_ms: 1_767_225_600_000,
        fault: None,
        signed_by: None,
        signed_root: None,
    }
}

/// `(key, source, target, root)`.
fn votes(votes: &[(u8, u64, u64, u8)]) -> Vec<Entry> {
    let entry = |(seq, &(key, source, target, root))| {
        let subject = Subject {
            slot: Some(target * 32),
            source_epoch: Some(source),
            target_epoch: Some(target),
            epoch: None,
        };
        entry(seq, key, SignType::Attestation, root, subject)
    };
    (0..).zip(votes).map(entry).collect()
}

/// `(key, slot, root)`.
fn blocks(sign_type: SignType, blocks: &[(u8, u64, u8)]) -> Vec<Entry> {
    let entry = |(seq, &(key, slot, root))| {
        entry(seq, key, sign_type, root, Subject { slot: Some(slot), ..Subject::default() })
    };
    (0..).zip(blocks).map(entry).collect()
}

/// The kind of each conflict and the sequence numbers of its two entries.
fn found(entries: &[Entry]) -> Vec<(&'static str, u64, u64)> {
    let describe = |conflict: &Conflict| {
        let kind = match conflict {
            Conflict::DoubleVote(_) => "double vote",
            Conflict::SurroundVote(_) => "surround",
            Conflict::DoubleProposal(_) => "double proposal",
        };
        let [first, second] = conflict.entries();
        (kind, first.seq, second.seq)
    };
    find_conflicts(entries).iter().map(describe).collect()
}

#[test]
fn conflicting_votes_are_found() {
    type Case = (&'static str, &'static [(u8, u64, u64, u8)], &'static [(&'static str, u64, u64)]);
    let cases: &[Case] = &[
        ("nothing", &[], &[]),
        ("a chain of votes", &[(1, 0, 1, 1), (1, 1, 2, 2), (1, 2, 3, 3)], &[]),
        ("one vote twice", &[(1, 0, 1, 1), (1, 0, 1, 1)], &[]),
        ("two keys", &[(1, 0, 1, 1), (2, 0, 1, 2)], &[]),
        ("one target", &[(1, 0, 1, 1), (1, 0, 1, 2)], &[("double vote", 0, 1)]),
        ("one target, other source", &[(1, 0, 2, 1), (1, 1, 2, 2)], &[("double vote", 0, 1)]),
        ("surrounds", &[(1, 2, 3, 1), (1, 1, 4, 2)], &[("surround", 1, 0)]),
        ("is surrounded", &[(1, 1, 4, 1), (1, 2, 3, 2)], &[("surround", 0, 1)]),
        ("one source", &[(1, 1, 4, 1), (1, 1, 3, 2)], &[]),
        ("surround of two keys", &[(1, 2, 3, 1), (2, 1, 4, 2)], &[]),
        ("beside", &[(1, 1, 2, 1), (1, 2, 3, 2)], &[]),
        ("overlap", &[(1, 1, 3, 1), (1, 2, 4, 2)], &[]),
        (
            "the widest of several",
            &[(1, 0, 9, 1), (1, 1, 2, 2), (1, 5, 6, 3), (1, 8, 10, 4)],
            &[("surround", 0, 1), ("surround", 0, 2)],
        ),
        ("source zero", &[(1, 0, 5, 1), (1, 0, 6, 2), (1, 1, 4, 3)], &[("surround", 1, 2)]),
    ];
    for (name, entries, expected) in cases {
        assert_eq!(found(&votes(entries)), *expected, "{name}");
    }
}

#[test]
fn conflicting_blocks_are_found() {
    for sign_type in [SignType::Block, SignType::BlockV2] {
        assert_eq!(found(&blocks(sign_type, &[(1, 5, 1), (1, 5, 1), (1, 6, 2), (2, 5, 3)])), []);
        let entries = blocks(sign_type, &[(1, 5, 1), (2, 5, 9), (1, 5, 2)]);
        assert_eq!(found(&entries), [("double proposal", 0, 2)]);
    }
    // Two types of one slot are two proposals all the same.
    let mut entries = blocks(SignType::BlockV2, &[(1, 5, 1), (1, 5, 2)]);
    entries[0].sign_type = SignType::Block;
    assert_eq!(found(&entries), [("double proposal", 0, 1)]);
}

#[test]
fn other_types_do_not_conflict() {
    for sign_type in [
        SignType::RandaoReveal,
        SignType::AggregationSlot,
        SignType::AggregateAndProof,
        SignType::SyncCommitteeMessage,
        SignType::ValidatorRegistration,
    ] {
        let mut entries = votes(&[(1, 0, 1, 1), (1, 0, 1, 2), (1, 0, 4, 3), (1, 2, 3, 4)]);
        entries.iter_mut().for_each(|entry| entry.sign_type = sign_type);
        assert_eq!(found(&entries), [], "{}", sign_type.name());
    }
}

/// Comparing each vote with each other is the definition; the sorted search must agree with it.
#[test]
fn surround_votes_agree_with_the_definition() {
    let mut state = 1_u64;
    let mut below = |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut conflicting = 0;
    for _ in 0..2000 {
        let random: Vec<_> = (0..1 + below(5))
            .map(|_| {
                let source = below(8);
                let target = source + 1 + below(4);
                // The root follows from the vote: no double votes here but those of unlike sources.
                (1, source, target, u8::try_from(source * 16 + target).unwrap())
            })
            .collect();
        let entries = votes(&random);
        let expected = random
            .iter()
            .any(|a| random.iter().any(|b| (a.1 < b.1 && b.2 < a.2) || (a.2 == b.2 && a.3 != b.3)));
        assert_eq!(!find_conflicts(&entries).is_empty(), expected, "{random:?}");
        conflicting += usize::from(expected);
    }
    assert!((200..1800).contains(&conflicting), "{conflicting} of 2000 say little");
}

#[test]
fn what_is_appended_is_read_and_the_sequence_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signed.jsonl");
    let mut expected = votes(&[(1, 0, 1, 1), (1, 1, 2, 2), (1, 2, 3, 3)]);
    expected[1].fault = Some("swapped".to_owned());
    expected[1].signed_by = Some(Hex([9; 48]));
    for entries in [&expected[..2], &expected[2..]] {
        let log = SigningLog::open(&path).unwrap();
        entries.iter().for_each(|entry| log.append(entry.clone()).unwrap());
    }
    assert_eq!(read(&path).unwrap(), expected);
    let text = fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    let expected = format!(
        "{{\"seq\":0,\"type\":\"ATTESTATION\",\"pubkey\":\"0x{}\",\"signing_root\":\"0x{}\",\
         \"slot\":32,\"source_epoch\":0,\"target_epoch\":1,\"unix_ms\":1767225600000}}",
        "01".repeat(48),
        "01".repeat(32),
    );
    assert_eq!(first, expected);
}

#[test]
fn a_damaged_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signed.jsonl");
    let log = SigningLog::open(&path).unwrap();
    for entry in votes(&[(1, 0, 1, 1), (1, 1, 2, 2), (1, 2, 3, 3)]) {
        log.append(entry).unwrap();
    }
    let whole = fs::read_to_string(&path).unwrap();
    let second: usize = whole.lines().take(2).map(|line| line.len() + 1).sum();

    fs::write(&path, &whole[..second + 40]).unwrap();
    assert!(matches!(SigningLog::open(&path).unwrap_err(), LogError::Torn(_)));

    let gap = [whole.lines().next().unwrap(), whole.lines().nth(2).unwrap(), ""].join("\n");
    fs::write(&path, gap).unwrap();
    let error = read(&path).unwrap_err();
    assert!(matches!(error, LogError::Sequence { line: 2, expected: 1, found: 2, .. }), "{error}");

    fs::write(&path, format!("{whole}{{}}\n")).unwrap();
    assert!(matches!(read(&path).unwrap_err(), LogError::Line { line: 4, .. }));
}
