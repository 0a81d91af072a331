#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::thread;

use super::*;

#[test]
fn lives_until_its_end_and_not_at_it() {
    let lease = Lease::new();
    assert_eq!(lease.is_live(BootTime(0)), Err(LeaseLapsed::NotHeld));
    lease.extend(BootTime(100));
    assert_eq!(lease.is_live(BootTime(0)), Ok(()));
    assert_eq!(lease.is_live(BootTime(99)), Ok(()));
    assert_eq!(lease.is_live(BootTime(100)), Err(LeaseLapsed::Lapsed));
}

#[test]
fn once_seen_lapsed_it_stays_lapsed() {
    let lease = Lease::new();
    lease.extend(BootTime(100));
    assert_eq!(lease.is_live(BootTime(101)), Err(LeaseLapsed::Lapsed));
    lease.extend(BootTime(1_000));
    assert_eq!(lease.is_live(BootTime(102)), Err(LeaseLapsed::Lapsed));
    assert_eq!(lease.is_live(BootTime(0)), Err(LeaseLapsed::Lapsed));
}

#[test]
fn a_lapse_that_nobody_signed_across_is_healed_by_the_renewal() {
    let lease = Lease::new();
    lease.extend(BootTime(100));
    lease.extend(BootTime(1_000));
    assert_eq!(lease.is_live(BootTime(500)), Ok(()));
}

#[test]
fn is_never_shortened() {
    let lease = Lease::new();
    lease.extend(BootTime(100));
    lease.extend(BootTime(50));
    assert_eq!(lease.is_live(BootTime(99)), Ok(()));
}

#[test]
fn poison_outlasts_everything() {
    let lease = Lease::new();
    lease.extend(BootTime(100));
    lease.poison();
    lease.extend(BootTime(u64::MAX));
    assert_eq!(lease.is_live(BootTime(1)), Err(LeaseLapsed::Poisoned));
}

#[test]
fn an_absurd_end_is_an_end_and_no_state() {
    let lease = Lease::new();
    lease.extend(BootTime(u64::MAX));
    assert_eq!(lease.is_live(BootTime(7)), Ok(()));
    assert_eq!(lease.is_live(BootTime(u64::MAX)), Err(LeaseLapsed::Lapsed));
    assert_eq!(BootTime(u64::MAX).lease_end(), BootTime(u64::MAX));
}

#[test]
fn reservations_only_grow_and_begin_with_nothing() {
    let lease = Lease::new();
    assert!(!lease.covers_epoch(0));
    assert!(!lease.covers_slot(0));
    lease.reserve_through(4, 159);
    assert!(lease.covers_epoch(4) && !lease.covers_epoch(5));
    assert!(lease.covers_slot(159) && !lease.covers_slot(160));
    lease.reserve_through(3, 200);
    assert!(lease.covers_epoch(4), "a lower epoch must not lower the reservation");
    assert!(lease.covers_slot(200));
}

/// However renewals and checks interleave, no check succeeds after one has failed.
#[test]
fn no_check_succeeds_after_the_lapse_was_seen() {
    for _ in 0..200 {
        let lease = Arc::new(Lease::new());
        lease.extend(BootTime(10));
        let renewing = Arc::clone(&lease);
        let renewal = thread::spawn(move || (11..100).for_each(|t| renewing.extend(BootTime(t))));
        let mut lapsed = false;
        for now in 5..120 {
            let live = lease.is_live(BootTime(now)).is_ok();
            assert!(!(lapsed && live), "live again at {now}");
            lapsed |= !live;
        }
        assert!(lapsed);
        renewal.join().unwrap();
    }
}
