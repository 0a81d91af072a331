#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::tests::{Rig, key};

fn published(validators: &Validators) -> Vec<String> {
    serde_json::from_slice(&validators.published()).unwrap()
}

#[test]
fn a_key_is_found_by_its_bytes_and_by_nothing_else() {
    let rig = Rig::new();
    for number in 1..=200 {
        rig.enrol(number);
    }
    for number in 1..=200 {
        assert_eq!(rig.with(&key(number), |it| *it.watermarks.public_key()), key(number));
        let mut near = key(number);
        near.0[47] ^= 1;
        assert_eq!(rig.validators.standing(&near), Standing::Unknown);
    }
    assert_eq!(rig.validators.public_keys(), (1..=200).map(key).collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "enrolled twice")]
fn one_key_never_gets_two_locks() {
    let (one, other) = (Rig::new(), Rig::new());
    one.enrol(1);
    let again = other.store.enrol(key(1), slashing_db::Enrolment::New).unwrap();
    one.validators.insert(again);
}

#[test]
fn a_panic_halts_its_key_and_no_other() {
    let rig = Rig::new();
    let (struck, other) = (rig.enrol(1), rig.enrol(2));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        rig.with(&struck, |_| panic!("a panic under the lock, as the test wants"));
    }));
    assert!(panicked.is_err());
    assert!(rig.with(&struck, |it| it.halted));
    assert!(!rig.with(&other, |it| it.halted));
    let expected = KeyCounts { enabled: 1, halted: 1, ..KeyCounts::default() };
    assert_eq!(rig.validators.counts(), expected);
    // Its validator is not stopped by a client that no longer sees the key.
    assert_eq!(published(&rig.validators).len(), 2);
}

#[test]
fn what_the_signer_has_is_held_against_what_is_enrolled() {
    let rig = Rig::new();
    rig.enrol(1);
    rig.enrol(2);
    let seen = rig.validators.seen_at_upstream(&[key(1), key(8), key(9), key(8)]);
    assert_eq!(seen.newly_awaiting, [key(8), key(9)]);
    assert_eq!(seen.missing, [key(2)]);
    assert_eq!(rig.validators.standing(&key(9)), Standing::Awaiting);
    // Seen once more, nothing is new.
    let seen = rig.validators.seen_at_upstream(&[key(1), key(2), key(9)]);
    assert_eq!(seen, UpstreamDifference::default());
    assert_eq!(rig.validators.standing(&key(8)), Standing::Unknown, "the signer lost it again");
    rig.enrol(9);
    assert!(matches!(rig.validators.standing(&key(9)), Standing::Enrolled(_)));
    assert_eq!(rig.validators.awaiting(), []);
    let seen = rig.validators.seen_at_upstream(&[key(9)]);
    assert_eq!(seen.newly_awaiting, [], "an enrolled key never awaits");
}

/// Clients stop the validators that vanish from the list, so only disabling takes a key out of it.
#[test]
fn a_key_leaves_the_published_list_by_being_disabled_alone() {
    let rig = Rig::new();
    assert_eq!(published(&rig.validators), [""; 0]);
    rig.enrol(1);
    rig.enrol(2);
    let both = [key(1).to_string(), key(2).to_string()];
    assert_eq!(published(&rig.validators), both);
    rig.validators.seen_at_upstream(&[]);
    assert_eq!(published(&rig.validators), both, "an empty signer takes nothing out");
    rig.validators.seen_at_upstream(&[key(3)]);
    assert_eq!(published(&rig.validators), both, "an awaiting key is not published");
    let Standing::Enrolled(row) = rig.validators.standing(&key(1)) else { panic!("enrolled") };
    rig.validators.change(row, |it| rig.store.disable(&mut it.watermarks)).wait().unwrap();
    assert_eq!(published(&rig.validators), [key(2).to_string()]);
    let expected = KeyCounts { enabled: 1, disabled: 1, awaiting: 1, halted: 0 };
    assert_eq!(rig.validators.counts(), expected);
}

/// One of many keys.
fn numbered(number: u32) -> PublicKey {
    let mut key = [0xaa; 48];
    key[..4].copy_from_slice(&number.to_be_bytes());
    PublicKey(key)
}

/// The numbers, as a walk over all keys finds them.
fn walked(validators: &Validators) -> KeyCounts {
    let mut counts =
        KeyCounts { awaiting: validators.awaiting().len() as u64, ..KeyCounts::default() };
    validators.for_each(|validator| match (validator.halted, validator.watermarks.is_enabled()) {
        (true, _) => counts.halted += 1,
        (false, true) => counts.enabled += 1,
        (false, false) => counts.disabled += 1,
    });
    counts
}

#[test]
fn many_keys_are_found_in_the_order_of_enrolment_over_the_ends_of_chunks() {
    let rig = Rig::new();
    let numbers = 0..10_000;
    let keys: Vec<_> = numbers.clone().map(numbered).collect();
    for keys in keys.chunks(100) {
        let _publishing = rig.validators.publishing();
        let begun: Vec<_> = keys
            .iter()
            .map(|key| rig.store.begin_enrol(*key, slashing_db::Enrolment::New).unwrap())
            .collect();
        for enrolling in begun {
            rig.validators.add(enrolling.wait().unwrap());
        }
    }
    assert_eq!(rig.validators.public_keys(), keys);
    assert_eq!(published(&rig.validators).len(), keys.len());
    for (place, key) in keys.iter().enumerate() {
        let Standing::Enrolled(row) = rig.validators.standing(key) else { panic!("{key}") };
        assert_eq!(row.place(), place);
        assert_eq!(rig.with(key, |it| *it.watermarks.public_key()), *key);
    }
    assert_eq!(rig.validators.standing(&numbered(10_000)), Standing::Unknown);
    assert_eq!(rig.validators.counts(), walked(&rig.validators));
}

/// The numbers are kept as keys change, so that a scrape walks no table: whatever happens to a key,
/// they are what a walk would find.
#[test]
fn the_numbers_of_keys_are_what_a_walk_finds() {
    let rig = Rig::new();
    let right = || assert_eq!(rig.validators.counts(), walked(&rig.validators));
    rig.validators.seen_at_upstream(&(0..20).map(key).collect::<Vec<_>>());
    right();
    for number in 0..10 {
        rig.enrol(number);
        right();
    }
    let row = |number| match rig.validators.standing(&key(number)) {
        Standing::Enrolled(row) => row,
        other => panic!("{other:?}"),
    };
    for number in [3, 4, 4] {
        rig.validators
            .change(row(number), |it| rig.store.disable(&mut it.watermarks))
            .wait()
            .unwrap();
        right();
    }
    for number in [4, 5] {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            rig.validators
                .with(row(number), |_| panic!("a panic under the lock, as the test wants"));
        }));
        assert!(panicked.is_err());
        right();
    }
    let floor = crate::enrolment::Declaration::Floor { source_epoch: None };
    let keys = crate::enrolment::Keys::These(vec![key(3).to_string(), key(11).to_string()]);
    assert!(rig.declarations().enrol(&keys, floor).unwrap().iter().all(|it| it.done.is_some()));
    right();
    rig.validators.seen_at_upstream(&[key(12), key(30)]);
    right();
    let expected = KeyCounts { enabled: 9, disabled: 0, halted: 2, awaiting: 2 };
    assert_eq!(rig.validators.counts(), expected);
    assert_eq!(published(&rig.validators).len(), 10, "all but the one that is disabled and halted");
}

#[test]
fn a_list_is_made_by_who_changes_the_set_and_shared_by_who_reads_it() {
    let rig = Rig::new();
    rig.enrol(1);
    let (one, other) = (rig.validators.published(), rig.validators.published());
    assert_eq!(one.as_ptr(), other.as_ptr(), "no copy for a reader");
    let publishing = rig.validators.publishing();
    rig.validators.add(rig.store.enrol(key(2), slashing_db::Enrolment::New).unwrap());
    assert_eq!(published(&rig.validators).len(), 1);
    drop(publishing);
    assert_eq!(published(&rig.validators).len(), 2);
    let before = rig.validators.published();
    drop(rig.validators.publishing());
    assert_eq!(rig.validators.published().as_ptr(), before.as_ptr(), "nothing had changed");
}

#[test]
fn an_enrolment_beside_votes_of_every_row_loses_none() {
    let rig = Rig::new();
    rig.enrol(0);
    std::thread::scope(|scope| {
        let enrolling = scope.spawn(|| {
            for number in 1..=250 {
                rig.enrol(number);
            }
        });
        while !enrolling.is_finished() {
            for key in rig.validators.public_keys() {
                assert_eq!(rig.with(&key, |it| *it.watermarks.public_key()), key);
            }
        }
    });
    assert_eq!(rig.validators.counts().enabled, 251);
}

/// Half a million of them are in memory at once: who makes them larger says so here.
#[test]
fn a_row_is_small() {
    // The watermarks, the lock, and beside the baseline's state its group and its mark.
    assert!(size_of::<rows::Row>() <= 208 + size_of::<policy::KeyState>() + 16);
    assert!(size_of::<policy::KeyState>() <= 512);
}
