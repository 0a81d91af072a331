//! Enrolment, disabling, import and export.

use super::*;

const BOUNDS: ImportBounds = ImportBounds { epoch_max: 101, slot_max: 3_300 };

/// One key's records: (source, target, root) and (slot, root).
pub(super) type Records<'a> = (u8, &'a [(u64, u64, u8)], &'a [(u64, u8)]);

pub(super) fn file(keys: &[Records<'_>]) -> String {
    let root = |byte: &u8| SigningRoot([*byte; 32]);
    let data = keys.iter().map(|(number, votes, blocks)| {
        let votes = votes.iter().map(|(source, target, byte)| {
            format!(
                r#"{{"source_epoch":"{source}","target_epoch":"{target}","signing_root":"{}"}}"#,
                root(byte)
            )
        });
        let blocks = blocks
            .iter()
            .map(|(slot, byte)| format!(r#"{{"slot":"{slot}","signing_root":"{}"}}"#, root(byte)));
        format!(
            r#"{{"pubkey":"{}","signed_attestations":[{}],"signed_blocks":[{}]}}"#,
            key(*number),
            votes.collect::<Vec<_>>().join(","),
            blocks.collect::<Vec<_>>().join(",")
        )
    });
    format!(
        concat!(
            r#"{{"metadata":{{"interchange_format_version":"5","#,
            r#""genesis_validators_root":"{}"}},"data":[{}]}}"#
        ),
        GenesisValidatorsRoot([4; 32]),
        data.collect::<Vec<_>>().join(",")
    )
}

fn opened() -> (MemoryDisk, MemoryWitness, Store, Table) {
    let (disk, witness) = made();
    let (store, table) = open(&disk, &witness, at(0)).unwrap();
    (disk, witness, store, table)
}

fn import(store: &Store, table: &mut Table, file: &str) -> ImportReport {
    store.import(file.as_bytes(), table, BOUNDS).unwrap()
}

const FLOOR: Floor = Floor { source_epoch: 99, target_epoch: 100, slot: 3_201 };

#[test]
fn a_key_begins_once() {
    let (_disk, _witness, store, _) = opened();
    let mut one = store.enrol(key(1), Enrolment::New).unwrap();
    assert!(matches!(store.enrol(key(1), Enrolment::New), Err(EnrolError::AlreadyEnrolled(_))));
    assert!(matches!(
        store.enrol(key(1), Enrolment::Floor(FLOOR)),
        Err(EnrolError::AlreadyEnrolled(_))
    ));
    store.disable(&mut one).wait().unwrap();
    assert!(matches!(store.enrol(key(1), Enrolment::New), Err(EnrolError::Disabled(_))));
    let two = store.enrol(key(2), Enrolment::New).unwrap();
    assert_ne!(one.id(), two.id());
}

#[test]
fn a_floor_refuses_what_the_old_signer_may_have_signed() {
    let (_disk, _witness, store, _) = opened();
    let mut one = store.enrol(key(1), Enrolment::Floor(FLOOR)).unwrap();
    assert_eq!(sign(&store, &mut one, &vote(99, 100)), Err("double_vote"));
    assert_eq!(sign(&store, &mut one, &vote(98, 101)), Err("surround_or_stale_source"));
    assert_eq!(sign(&store, &mut one, &block(3_201)), Err("double_block_proposal"));
    assert!(sign(&store, &mut one, &vote(99, 101)).is_ok());
    assert!(sign(&store, &mut one, &block(3_202)).is_ok());
}

#[test]
fn no_floor_is_taken_from_a_clock_that_went_back() {
    let (_disk, _witness, store, _) = opened();
    store.renew(at(5)).unwrap();
    store.renew(Now { unix_s: at(0).unix_s, ..at(6) }).unwrap();
    let refused = store.enrol(key(1), Enrolment::Floor(FLOOR));
    assert!(matches!(refused, Err(EnrolError::ClockBehind { .. })));
    assert!(store.enrol(key(1), Enrolment::New).is_ok());
}

#[test]
fn a_disabled_key_signs_nothing_and_waits_out_what_was_admitted() {
    let (disk, witness, store, _) = opened();
    let mut one = store.enrol(key(1), Enrolment::New).unwrap();
    disk.pause();
    let place = store.recorder().reserve(Priority::Attestation).unwrap();
    let admitted = one.check(&vote(99, 100), &OPEN).unwrap().record(place);
    let disabling = store.disable(&mut one);
    assert_eq!(sign(&store, &mut one, &vote(99, 101)), Err("key_disabled"));
    disk.resume();
    disabling.wait().unwrap();
    assert!(admitted.wait().is_ok());
    assert_eq!(disk.key(&key(1)).unwrap().attestation.unwrap().target_epoch, 100);
    drop(store);
    let (store, mut table) = open(&disk, &witness, at(2)).unwrap();
    let one = table.get_mut(&key(1)).unwrap();
    assert_eq!(sign(&store, one, &vote(99, 101)), Err("key_disabled"));
    let below = Floor { target_epoch: 99, ..FLOOR };
    assert!(matches!(store.enable(one, below), Err(EnrolError::FloorBelowRecord { .. })));
    store.enable(one, FLOOR).unwrap().wait().unwrap();
    assert_eq!(sign(&store, one, &vote(98, 101)), Err("surround_or_stale_source"));
    assert!(sign(&store, one, &vote(99, 101)).is_ok());
}

#[test]
fn an_import_merges_and_never_lowers() {
    let (disk, _witness, store, mut table) = opened();
    let report = import(
        &store,
        &mut table,
        &file(&[
            (1, &[(10, 20, 1), (12, 15, 2)], &[(300, 3)]),
            (2, &[(1, 2, 1)], &[]),
            (1, &[(5, 19, 4)], &[(299, 3)]),
        ]),
    );
    assert_eq!((report.entries, report.keys.len()), (3, 2));
    assert_eq!((report.keys_before, report.keys_after), (0, 2));
    assert!(report.is_complete());
    let one = table[&key(1)].attestation().copied().unwrap();
    assert_eq!((one.source_epoch, one.target_epoch), (12, 20));
    assert!(one.signing_root.is_null(), "no one record holds both maxima");
    assert_eq!(table[&key(1)].block().unwrap().signing_root, SigningRoot([3; 32]));
    assert_eq!(table[&key(2)].attestation().unwrap().signing_root, SigningRoot([1; 32]));

    let older = file(&[(1, &[(3, 4, 1)], &[(5, 3)]), (2, &[(1, 2, 1)], &[])]);
    let report = import(&store, &mut table, &older);
    assert!(report.keys.iter().all(|(_, it)| *it == Imported::Unchanged));
    assert_eq!(table[&key(1)].attestation().copied(), Some(one));

    let report = import(&store, &mut table, &file(&[(2, &[(1, 2, 9)], &[])]));
    assert_eq!(report.keys[0].1, Imported::Raised, "a contested root is forgotten");
    assert!(disk.key(&key(2)).unwrap().attestation.unwrap().signing_root.is_null());
}

#[test]
fn a_key_with_records_of_the_future_is_refused_and_the_others_go_on() {
    let (_disk, _witness, store, mut table) = opened();
    let report = import(
        &store,
        &mut table,
        &file(&[
            (1, &[(10, 102, 1)], &[]),
            (2, &[(10, 101, 1)], &[(3_300, 1)]),
            (3, &[], &[(3_301, 1)]),
            (4, &[], &[]),
        ]),
    );
    assert!(!report.is_complete());
    assert_eq!(table.keys().copied().collect::<Vec<_>>(), [key(2)]);
    let refused = |index: usize| matches!(report.keys[index].1, Imported::Refused(_));
    assert!(refused(0) && !refused(1) && refused(2) && refused(3));
    assert_eq!(report.keys[3].1, Imported::Refused(NotImported::NoRecords));
}

#[test]
fn a_file_of_another_chain_changes_nothing() {
    let (disk, _witness, store, mut table) = opened();
    let commits = disk.commits();
    let other = file(&[(1, &[(10, 20, 1)], &[])]).replace("0x04", "0x05");
    assert!(matches!(
        store.import(other.as_bytes(), &mut table, BOUNDS),
        Err(ImportError::Read(_))
    ));
    assert_eq!((disk.commits(), table.len()), (commits, 0));
}

/// A crash at any commit of an import; the same import again gives what one whole import gives.
#[test]
fn an_import_that_is_cut_short_is_run_again() {
    let keys: Vec<Records<'_>> =
        (1..=9).map(|number| (number, &[(10, 20, 1)][..], &[(300, 1)][..])).collect();
    let file = file(&keys);
    let mut cut = 0;
    for after in 0..12 {
        for fault in [Fault::Io, Fault::IoAfterWrite] {
            let (disk, witness, store, mut table) = opened();
            disk.fail_commit(after, fault);
            let first = store.import(file.as_bytes(), &mut table, BOUNDS);
            cut += usize::from(first.is_err());
            drop(store);
            let rest = disk.snapshot();
            let (store, mut table) = open(&rest, &witness, at(2)).unwrap();
            import(&store, &mut table, &file);
            assert_eq!(table.len(), 9);
            for number in 1..=9 {
                let stored = rest.key(&key(number)).unwrap();
                assert_eq!(stored.attestation.unwrap().target_epoch, 20);
                assert_eq!(stored.block.unwrap().slot, 300);
                assert!(stored.is_enabled);
            }
        }
    }
    assert!(cut >= 6, "the faults must have hit imports: {cut}");
}

#[test]
fn what_is_exported_is_disabled_and_imports_back_only_when_newer() {
    let (_disk, _witness, store, mut table) = opened();
    table.insert(key(1), store.enrol(key(1), Enrolment::New).unwrap());
    sign(&store, table.get_mut(&key(1)).unwrap(), &vote(99, 100)).unwrap();
    sign(&store, table.get_mut(&key(1)).unwrap(), &block(3_200)).unwrap();
    let mut out = Vec::new();
    let refused = store.export(&[key(1)], &mut table, &mut out);
    assert!(matches!(refused, Err(ExportError::Enabled(_))) && out.is_empty());
    let refused = store.export(&[key(7)], &mut table, &mut out);
    assert!(matches!(refused, Err(ExportError::Unknown(_))));
    store.disable(table.get_mut(&key(1)).unwrap()).wait().unwrap();
    let written = store.export(&[key(1), key(1)], &mut table, &mut out).unwrap();
    assert_eq!((written.keys, written.blocks, written.attestations), (1, 1, 1));
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(&SigningRoot([9; 32]).to_string()), "roots are exported");

    let report = import(&store, &mut table, &text);
    assert_eq!(report.keys[0].1, Imported::Refused(NotImported::NotNewer));
    assert!(!table[&key(1)].is_enabled());
    let newer = file(&[(1, &[(100, 101, 3)], &[(3_200, 8)])]);
    assert_eq!(import(&store, &mut table, &newer).keys[0].1, Imported::Raised);
    assert!(table[&key(1)].is_enabled());
    assert_eq!(import(&store, &mut table, &newer).keys[0].1, Imported::Unchanged);
}

/// A floor raises a key while it signs; on disk as in memory nothing is ever lower than before.
#[test]
fn a_change_of_a_signing_key_keeps_the_order() {
    let (disk, _witness, store, mut table) = opened();
    table.insert(key(1), store.enrol(key(1), Enrolment::New).unwrap());
    disk.pause();
    let mut pending = Vec::new();
    let one = table.get_mut(&key(1)).unwrap();
    for message in [vote(1, 2), block(2)] {
        let place = store.recorder().reserve(Priority::Block).unwrap();
        pending.push(one.check(&message, &OPEN).unwrap().record(place));
    }
    drop(store.disable(one));
    let floor = Floor { source_epoch: 5, target_epoch: 6, slot: 6 };
    let raising = store.enable(one, floor).unwrap();
    for message in [vote(5, 7), block(7)] {
        let place = store.recorder().reserve(Priority::Block).unwrap();
        pending.push(one.check(&message, &OPEN).unwrap().record(place));
    }
    disk.resume();
    raising.wait().unwrap();
    assert!(pending.into_iter().all(|it| it.wait().is_ok()));
    let stored = disk.key(&key(1)).unwrap();
    assert_eq!(stored.attestation, one.attestation().copied());
    assert_eq!(stored.block, one.block().copied());
    assert_eq!((stored.attestation.unwrap().target_epoch, stored.block.unwrap().slot), (7, 7));
}

/// Half a million keys with a sync of their own each took minutes.
#[test]
fn keys_that_are_begun_together_share_a_commit_and_each_hears_of_its_own() {
    let (disk, _witness, store, _table) = opened();
    disk.pause();
    let begin = |number| store.begin_enrol(key(number), Enrolment::New);
    let begun: Vec<_> = (100..200).map(|number| begin(number).unwrap()).collect();
    assert!(matches!(begin(150), Err(EnrolError::AlreadyEnrolled(_))), "named twice");
    let before = disk.commits();
    disk.resume();
    for (number, enrolling) in (100..200).zip(begun) {
        let watermarks = enrolling.wait().unwrap();
        assert_eq!((watermarks.public_key(), watermarks.is_enabled()), (&key(number), true));
        assert!(disk.key(&key(number)).is_some(), "on disk before it is said");
    }
    // The first may have been taken alone, before the others came.
    assert!(disk.commits() <= before + 2, "{} commits", disk.commits() - before);

    disk.pause();
    disk.fail_commit(0, Fault::Io);
    let begun: Vec<_> = (200..210).map(|number| begin(number).unwrap()).collect();
    disk.resume();
    for enrolling in begun {
        assert!(matches!(enrolling.wait(), Err(EnrolError::NotWritten(_))));
    }
    assert!((200..210).all(|number| disk.key(&key(number)).is_none()));
}
