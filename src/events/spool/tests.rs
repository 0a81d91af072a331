use std::fs;
use std::os::unix::fs::FileExt;

use super::super::tests::event;
use super::super::{Event, Paging};
use super::*;

#[test]
fn pages_outlive_whoever_wrote_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, left) = Spool::open(dir.path()).unwrap();
    assert!(left.is_empty());
    let pages: Vec<Event> = ["a", "b", "c"].map(|key| event(Paging::Trigger, key)).into();
    let slots: Vec<Slot> = (1u64..)
        .zip(&pages)
        .map(|(sequence, page)| spool.put(sequence, page).unwrap().unwrap())
        .collect();
    spool.free(slots[1]).unwrap();
    spool.mark(slots[2], 3, "slack").unwrap();
    drop(spool);
    let (mut spool, left) = Spool::open(dir.path()).unwrap();
    let ids: Vec<(u64, &Event)> = left.iter().map(|page| (page.sequence, &page.event)).collect();
    assert_eq!(ids, [(1, &pages[0]), (3, &pages[2])]);
    assert!(left[1].is_accepted_by("slack"));
    assert!(!left[1].is_accepted_by("oncall") && !left[0].is_accepted_by("slack"));
    let taken = spool.put(4, &pages[1]).unwrap().unwrap(); // the place that was given back
    drop(spool);
    let (_, left) = Spool::open(dir.path()).unwrap();
    assert!(!left.iter().any(|page| page.slot == taken && page.is_accepted_by("slack")));
    assert_eq!(left.len(), 3);
}

#[test]
fn it_has_room_for_so_many_and_says_when_it_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(dir.path()).unwrap();
    let page = event(Paging::Trigger, "a");
    assert_eq!(spool.free.len(), SLOTS as usize);
    spool.free.truncate(3); // each takes a sync
    for sequence in 1..=3 {
        assert!(spool.put(sequence, &page).unwrap().is_some());
    }
    assert!(spool.is_full());
    assert_eq!(spool.put(9_999, &page).unwrap(), None);
    let length = fs::metadata(dir.path().join("spool")).unwrap().len();
    assert_eq!(length, u64::from(SLOTS) * SLOT_BYTES as u64, "all of it was allocated at once");
}

#[test]
fn a_torn_page_is_passed_over_and_the_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    for torn_at in [0, 9, 17, HEAD_BYTES as u64 + 3] {
        fs::remove_file(dir.path().join("spool")).ok();
        let (mut spool, _) = Spool::open(dir.path()).unwrap();
        let torn = spool.put(1, &event(Paging::Trigger, "torn")).unwrap().unwrap();
        spool.put(2, &event(Paging::Trigger, "whole")).unwrap();
        spool.file.write_all_at(&[0xee], torn.at() + torn_at).unwrap();
        drop(spool);
        let (spool, left) = Spool::open(dir.path()).unwrap();
        let keys: Vec<&str> = left.iter().map(|page| page.event.dedup_key.as_str()).collect();
        assert_eq!(keys, ["whole"], "torn at {torn_at}");
        assert_eq!(spool.broken(), 1);
    }
}

#[test]
fn what_is_too_large_for_a_place_keeps_what_matters() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(dir.path()).unwrap();
    let mut large = event(Paging::Trigger, &"k".repeat(300));
    large.summary = "\u{1f512}".repeat(2_000);
    large.details = serde_json::json!({ "keys": vec!["0x00"; 10_000] });
    spool.put(1, &large).unwrap().unwrap();
    drop(spool);
    let (_, left) = Spool::open(dir.path()).unwrap();
    let kept = &left[0].event;
    assert_eq!((&kept.id, &kept.kind, kept.paging), (&large.id, &large.kind, large.paging));
    assert_eq!(kept.summary.chars().count(), 1_024);
    assert_eq!(kept.details["left_out"], "larger than a place in the spool");
}

#[test]
fn a_long_key_stays_the_same_key_in_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(dir.path()).unwrap();
    let mut large = event(Paging::Trigger, &"k".repeat(300));
    large.details = serde_json::json!({ "keys": vec!["0x00"; 10_000] });
    let told = super::super::pagerduty::dedup_key(&large.dedup_key);
    spool.put(1, &large).unwrap().unwrap();
    drop(spool);
    let (_, left) = Spool::open(dir.path()).unwrap();
    assert_eq!(super::super::pagerduty::dedup_key(&left[0].event.dedup_key), told);
}

#[test]
fn one_process_has_it_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Spool::open(dir.path()).unwrap();
    assert!(matches!(Spool::open(dir.path()), Err(SpoolError::Taken { .. })));
    drop(first);
    Spool::open(dir.path()).unwrap();
}
