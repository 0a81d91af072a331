//! Copies, snapshots, second owners, crashes while opening, and lost leases.

use super::*;
use crate::lease::LeaseLapsed;

fn code(result: &Result<(Store, Table), OpenError>) -> String {
    match result {
        Ok(_) => "opened".into(),
        Err(error) => error.to_string(),
    }
}

/// Enrols key 1, signs one vote and renews, then ends without a seal, as a kill does.
fn signed_and_killed() -> (MemoryDisk, MemoryWitness) {
    let (disk, witness) = made();
    let (store, _) = open(&disk, &witness, at(0)).unwrap();
    let mut one = store.enrol(key(1), Enrolment::New).unwrap();
    sign(&store, &mut one, &vote(99, 100)).unwrap();
    store.renew(at(1)).unwrap();
    (disk, witness)
}

#[test]
fn a_killed_store_opens_again_and_remembers() {
    let (disk, witness) = signed_and_killed();
    for _ in 0..3 {
        let (store, mut table) = open(&disk, &witness, at(2)).unwrap();
        let one = table.get_mut(&key(1)).unwrap();
        assert_eq!(sign(&store, one, &vote(98, 100)), Err("double_vote"));
        assert!(sign(&store, one, &vote(99, 100)).is_ok(), "a repeat of the last record");
    }
}

/// The log of half a million keys took longer to replay on a busy machine than a lease lasts. The
/// lease then ran from before the reading, was over at its end, and the gate ended at every start.
#[test]
fn reading_a_store_may_take_longer_than_a_lease() {
    let (disk, witness) = signed_and_killed();
    let parts = Parts { engine: Box::new(disk.engine()), witness: Box::new(witness.clone()) };
    let params = params(at(2));
    let opening = Opening::of(&params, parts).unwrap();
    let an_hour_later = at(3_602);
    let (store, _) = opening.own(an_hour_later).unwrap();
    assert_eq!(store.fault(an_hour_later.boot), None);
    store.renew(at(3_603)).unwrap();
}

#[test]
fn a_sealed_store_opens_again() {
    let (disk, witness) = signed_and_killed();
    let (store, mut table) = open(&disk, &witness, at(2)).unwrap();
    sign(&store, table.get_mut(&key(1)).unwrap(), &vote(99, 101)).unwrap();
    let before_the_seal = disk.snapshot();
    store.seal(at(3)).unwrap();
    assert!(store.seal(at(3)).is_err(), "only once");
    let sealed = witness.read().unwrap();
    assert!(matches!(store.renew(at(3)), Err(RenewError::Sealed)), "the lease thread may be late");
    assert_eq!(witness.read().unwrap(), sealed, "a late renewal does not break the seal");
    assert!(sign(&store, table.get_mut(&key(1)).unwrap(), &vote(99, 102)).is_err());
    assert!(code(&open(&before_the_seal, &witness, at(4))).contains("stopped cleanly"));
    let (_store, table) = open(&disk, &witness, at(4)).unwrap();
    assert_eq!(table[&key(1)].attestation().unwrap().target_epoch, 101);
}

#[test]
fn a_snapshot_restored_after_later_signatures_signs_nothing() {
    let (disk, witness) = made();
    let (store, _) = open(&disk, &witness, at(0)).unwrap();
    let mut one = store.enrol(key(1), Enrolment::New).unwrap();
    let snapshot = disk.snapshot();
    sign(&store, &mut one, &vote(99, 100)).unwrap();
    store.renew(at(1)).unwrap();
    drop(store);
    let refused = open(&snapshot, &witness, at(2));
    assert!(code(&refused).contains("records are missing"), "{}", code(&refused));
    assert!(open(&disk, &witness, at(2)).is_ok(), "and the original still opens");
}

#[test]
fn a_copy_that_is_opened_takes_the_lease_from_the_original_or_is_refused() {
    let (disk, witness) = signed_and_killed();
    let copy = disk.snapshot();
    let (original, mut table) = open(&disk, &witness, at(2)).unwrap();
    assert!(code(&open(&copy, &witness, at(3))).contains("old copy"));
    assert!(sign(&original, table.get_mut(&key(1)).unwrap(), &vote(99, 101)).is_ok());

    // On a file the lock forbids this; without one the original is poisoned at its next renewal.
    let (second, _) = open(&disk, &witness, at(3)).unwrap();
    assert!(matches!(original.renew(at(4)), Err(RenewError::Lost(_))));
    assert!(matches!(original.poisoned(), Some(Poison::Witness(_))));
    assert!(sign(&original, table.get_mut(&key(1)).unwrap(), &vote(99, 102)).is_err());
    second.renew(at(4)).unwrap();
}

/// Whatever fails at whatever step of an opening, the next opening succeeds.
#[test]
fn no_crash_while_opening_quarantines_an_honest_store() {
    for after in 0..4 {
        for fault in [Fault::Io, Fault::IoAfterWrite] {
            let (disk, witness) = signed_and_killed();
            disk.fail_commit(after, fault);
            let result = open(&disk, &witness, at(2));
            assert_eq!(result.is_err(), after < 2, "commit {after}"); // an opening has two
            drop(result);
            let (_, table) = open(&disk.snapshot(), &witness, at(3)).unwrap();
            assert_eq!(table[&key(1)].attestation().unwrap().target_epoch, 100);
        }
    }
    for failure in [Failure::BeforeWriting, Failure::AfterWriting] {
        let (disk, witness) = signed_and_killed();
        witness.fail_next(failure);
        assert!(open(&disk, &witness, at(2)).is_err(), "{failure:?}");
        assert!(open(&disk, &witness, at(3)).is_ok(), "{failure:?}");
    }
}

#[test]
fn a_renewal_whose_outcome_is_unknown_is_settled_by_the_next() {
    for failure in [Failure::BeforeWriting, Failure::AfterWriting] {
        let (disk, witness) = signed_and_killed();
        let (store, _table) = open(&disk, &witness, at(2)).unwrap();
        witness.fail_next(failure);
        assert!(matches!(store.renew(at(3)), Err(RenewError::Witness(_))), "{failure:?}");
        store.renew(at(4)).unwrap();
        witness.fail_next(failure);
        assert!(store.renew(at(5)).is_err());
        store.seal(at(6)).unwrap();
        drop(store);
        assert!(open(&disk, &witness, at(7)).is_ok(), "{failure:?}");
    }
}

#[test]
fn a_lease_that_was_seen_lapsed_is_not_renewed() {
    let (disk, witness) = signed_and_killed();
    let (store, mut table) = open(&disk, &witness, at(2)).unwrap();
    let place = store.recorder().reserve(Priority::Attestation).unwrap();
    let one = table.get_mut(&key(1)).unwrap();
    let permit = one.check(&vote(99, 101), &OPEN).unwrap().record(place).wait().unwrap();
    assert_eq!(permit.redeem(at(13).boot), Err(LeaseLapsed::Lapsed));
    assert!(matches!(store.renew(at(13)), Err(RenewError::Lapsed(LeaseLapsed::Lapsed))));
}

#[test]
fn what_is_signed_was_reserved_with_the_witness_before() {
    let (disk, witness) = signed_and_killed();
    let (store, mut table) = open(&disk, &witness, at(2)).unwrap();
    let one = table.get_mut(&key(1)).unwrap();
    assert_eq!(sign(&store, one, &vote(100, 103)), Err("not_reserved"));
    assert_eq!(sign(&store, one, &block(3_200 + 65)), Err("not_reserved"));
    assert!(sign(&store, one, &block(3_200 + 64)).is_ok());
    store.renew(Now { epoch: 101, ..at(3) }).unwrap();
    assert!(sign(&store, one, &vote(100, 103)).is_ok());
}

#[test]
fn another_network_key_set_or_root_is_refused() {
    let (disk, witness) = made();
    let change: [fn(&mut OpenParams); 3] = [
        |it| it.network = "othernet".into(),
        |it| it.key_set = "other".into(),
        |it| it.genesis_validators_root = GenesisValidatorsRoot([5; 32]),
    ];
    for change in change {
        let mut params = params(at(0));
        change(&mut params);
        let parts = Parts { engine: Box::new(disk.engine()), witness: Box::new(witness.clone()) };
        let refused = Store::open_with(&params, parts);
        assert!(matches!(refused, Err(OpenError::OtherBinding { .. })));
    }
}

#[cfg(feature = "rocksdb")]
#[test]
fn network_file_systems_are_known_by_their_numbers() {
    assert_eq!(directory::network_file_system(0x6969), Some("nfs"));
    assert_eq!(directory::network_file_system(0xef53), None, "ext4");
    assert_eq!(directory::network_file_system(0x0102_1994), None, "tmpfs");
}
