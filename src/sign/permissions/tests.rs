#![allow(clippy::unwrap_used)]

use slashing_db::{Bounds, Counted, Message, Priority, SigningRoot};

use super::*;
use crate::config::{Config, RunArgs};
use crate::tests::{Rig, key};

const EXIT: CountedKind = CountedKind::VoluntaryExit;

/// The groups of a configuration: `leaving` has the keys 1 to 3, two exits each, three in all.
fn groups() -> KeyGroups {
    let keys: Vec<String> = (1..=3).map(|number| format!("'{}'", key(number))).collect();
    let text = std::fs::read_to_string("fixtures/config/minimal.toml").unwrap()
        + &format!(
            "[[groups]]\nname = 'leaving'\nkeys = [{}]\nallow_voluntary_exit = true\n\
             voluntary_exits_max = 2\nvoluntary_exits_group_max = 3\n\
             [[groups]]\nname = 'depositing'\nkeys = ['{}']\nallow_deposit = true\n",
            keys.join(","),
            key(4)
        );
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("gate.toml");
    std::fs::write(&config, text).unwrap();
    Config::load(&RunArgs { config, ..RunArgs::default() }, []).unwrap().groups
}

fn take<'a>(permissions: &'a Permissions, number: u8) -> Result<Taken<'a>, Refusal> {
    permissions.find(EXIT, &key(number)).unwrap().take(DutyKind::VoluntaryExit)
}

#[test]
fn only_a_group_that_says_so_allows_an_exit_or_a_deposit() {
    let rig = Rig::new();
    let permissions = Permissions::new(groups(), &rig.validators);
    assert_eq!(permissions.find(EXIT, &key(1)).unwrap().per_key_max(), 2);
    assert!(permissions.find(CountedKind::Deposit, &key(1)).is_none(), "exits, not deposits");
    assert!(permissions.find(EXIT, &key(4)).is_none(), "deposits, not exits");
    assert!(permissions.find(CountedKind::Deposit, &key(4)).is_some());
    assert!(permissions.find(EXIT, &key(5)).is_none(), "in no group");
    let none = Permissions::new(KeyGroups::default(), &rig.validators);
    assert!(none.find(EXIT, &key(1)).is_none(), "nothing is allowed by default");
}

#[test]
fn what_is_taken_and_not_recorded_is_given_back() {
    let rig = Rig::new();
    let permissions = Permissions::new(groups(), &rig.validators);
    let held: Vec<_> = (1..=3).map(|number| take(&permissions, number).unwrap()).collect();
    let Err(Refusal::GroupExhausted { kind, group, max }) = take(&permissions, 1) else {
        panic!("three in all");
    };
    assert_eq!((kind, group.as_str(), max), (DutyKind::VoluntaryExit, "leaving", 3));
    drop(held);
    for number in [1, 1, 2] {
        take(&permissions, number).unwrap().spend();
    }
    assert!(take(&permissions, 3).is_err(), "what is spent is spent");
    // Deposits have no total.
    for _ in 0..10 {
        let permission = permissions.find(CountedKind::Deposit, &key(4)).unwrap();
        permission.take(DutyKind::Deposit).unwrap().spend();
    }
}

/// A crash loop gains nothing: the total is counted from the store, not from the process.
#[test]
fn what_the_store_has_counted_is_gone_from_the_total() {
    let rig = Rig::new();
    for number in 1..=3 {
        rig.enrol(number);
    }
    let open = Bounds {
        target_epoch_min: 0,
        target_epoch_max: u64::MAX,
        slot_max: u64::MAX,
        counted_max: 2,
    };
    for (number, root) in [(1, 1), (1, 2), (2, 3)] {
        let signing_root = SigningRoot([root; 32]);
        let message = Message::Counted(Counted { kind: EXIT, signing_root });
        let place = rig.store.recorder().reserve(Priority::Attestation).unwrap();
        let pending = rig
            .with(&key(number), |it| it.watermarks.check(&message, &open).unwrap().record(place));
        drop(pending.wait().unwrap()); // recorded, whether it is signed or not
    }
    let permissions = Permissions::new(groups(), &rig.validators);
    assert!(matches!(take(&permissions, 3), Err(Refusal::GroupExhausted { max: 3, .. })));
}
