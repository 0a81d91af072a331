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
