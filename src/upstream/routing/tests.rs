#![allow(clippy::unwrap_used)]

use slashing_db::PublicKey;

use super::*;
use crate::tests::Rig;
use crate::validators::Standing;

fn rows(rig: &Rig, count: u8) -> Vec<RowIndex> {
    let row = |key: PublicKey| match rig.validators.standing(&key) {
        Standing::Enrolled(row) => row,
        Standing::Awaiting | Standing::Unknown => panic!("just enrolled"),
    };
    (1..=count).map(|number| row(rig.enrol(number))).collect()
}

fn candidates(routing: &Routing, row: RowIndex) -> Vec<SetIndex> {
    routing.candidates(row).collect()
}

#[test]
fn a_key_that_nobody_has_shown_is_looked_for_where_nobody_has_looked() {
    let (rig, routing) = (Rig::new(), Routing::new(3));
    let row = rows(&rig, 1)[0];
    assert_eq!(candidates(&routing, row), [0, 1, 2]);
    routing.note_read(0);
    routing.note_read(1);
    assert!(!routing.all_read());
    assert_eq!(candidates(&routing, row), [2, 0, 1], "the unread set first");
    routing.learn(row, 1);
    assert_eq!(candidates(&routing, row), [1, 2, 0], "its own set first");
    routing.note_read(2);
    assert!(routing.all_read());
}

#[test]
fn a_key_stays_with_its_set_until_that_set_drops_it() {
    let (rig, routing) = (Rig::new(), Routing::new(2));
    let row = rows(&rig, 1)[0];
    assert_eq!(routing.listed(row, 1, |_| unreachable!()), Ok(()));
    assert_eq!(routing.listed(row, 0, |_| true), Err(TwoSets { kept: 1 }));
    assert_eq!(routing.set_of(row), Some(1), "an alarm, and nothing changes");
    assert_eq!(routing.listed(row, 0, |_| false), Ok(()));
    assert_eq!(routing.set_of(row), Some(0), "it has moved");
}

#[test]
fn one_set_has_every_key() {
    let (rig, routing) = (Rig::new(), Routing::new(1));
    let row = rows(&rig, 1)[0];
    assert_eq!(routing.set_of(row), Some(0));
    assert_eq!(candidates(&routing, row), [0]);
}

#[test]
fn every_row_keeps_its_own_mark_while_the_table_grows() {
    let (rig, routing) = (Rig::new(), Routing::new(64));
    let rows = rows(&rig, 200);
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(routing.set_of(*row), None);
        routing.learn(*row, number % 64);
    }
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(routing.set_of(*row), Some(number % 64));
    }
}
