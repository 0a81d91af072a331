#![allow(clippy::unwrap_used)]

use super::*;
use crate::lease::BootTime;
use crate::signed::GenesisValidatorsRoot;
use crate::witness::testing::{Failure, MemoryWitness};
use crate::witness::{Witness, WitnessError};

mod model;

pub(super) fn binding() -> Binding {
    Binding::new("hoodi", "main", GenesisValidatorsRoot([3; 32])).unwrap()
}

pub(super) fn host() -> Host {
    Host { boot_id: "boot-a".into(), boot_time: BootTime(5_000_000_000), unix_seconds: 1_000 }
}

pub(super) fn nonce(byte: u8) -> OwnerNonce {
    OwnerNonce([byte; 16])
}

pub(super) fn new_store() -> (Local, WitnessState) {
    let store = StoreId([1; 16]);
    (
        Local::of_new_store(binding(), store, nonce(0)),
        WitnessState::of_new_store(binding(), store, nonce(0), &host()),
    )
}

/// Opens and renews once; gives what is then on disk and at the witness.
fn opened(local: &Local, witness: &WitnessState, byte: u8) -> (Local, WitnessState) {
    let plan = plan_open(local, witness, &host(), nonce(byte)).unwrap();
    let (expected, claimed) = plan.claim();
    assert_eq!(expected, witness);
    let local = plan.confirm();
    let witness = claimed.renewed(&host(), local.reserved_through, local.sequence);
    (local, witness)
}

fn stale(local: &Local, witness: &WitnessState) -> Stale {
    match plan_open(local, witness, &host(), nonce(99)).unwrap_err() {
        OpenRefused::Stale(stale) => stale,
        OpenRefused::LeaseHeld(held) => panic!("{held}"),
    }
}

#[test]
fn each_kind_of_stale_copy_has_its_reason() {
    let (new, first) = new_store();
    let (local, witness) = opened(&new, &first, 1);
    assert_eq!(stale(&new, &witness), Stale::GenerationBehind { local: 0, witness: 1 });
    assert_eq!(stale(&local, &first), Stale::WitnessBehind { local: 1, witness: 0 });

    let (_, twin) = opened(&new, &first, 2);
    let second = Stale::SecondOwner { generation: 1, local: nonce(1), witness: nonce(2) };
    assert_eq!(stale(&local, &twin), second);

    let later = witness.renewed(&host(), local.reserved_through, 7);
    assert_eq!(stale(&local, &later), Stale::SequenceBehind { local: 0, witness: 7 });

    let reserved = ReservedThrough { epoch: 4, slot: 0 };
    let later = witness.renewed(&host(), reserved, 0);
    let expected = Stale::ReservationBehind { local: local.reserved_through, witness: reserved };
    assert_eq!(stale(&local, &later), expected);

    let sealed = witness.sealed(&host(), 0);
    let expected = Stale::SealMismatch { local: 0, local_sealed: false, witness: 0 };
    assert_eq!(stale(&local, &sealed), expected);
    let after = Local { sealed: true, sequence: 1, ..local.clone() };
    let expected = Stale::SealMismatch { local: 1, local_sealed: true, witness: 0 };
    assert_eq!(stale(&after, &sealed), expected);

    let other = WitnessState { store: StoreId([2; 16]), ..witness.clone() };
    let expected = Stale::OtherStore { local: StoreId([1; 16]), witness: StoreId([2; 16]) };
    assert_eq!(stale(&local, &other), expected);

    let chain = Binding::new("hoodi", "main", GenesisValidatorsRoot([4; 32])).unwrap();
    let other = WitnessState { binding: chain, ..witness };
    assert!(matches!(stale(&local, &other), Stale::OtherBinding { .. }));
}

#[test]
fn a_copy_taken_while_opening_is_told_from_a_crash_while_opening() {
    let (new, first) = new_store();
    let plan = plan_open(&new, &first, &host(), nonce(1)).unwrap();
    let copy = plan.pend().clone();
    let (_, claimed) = plan.claim();
    let again = plan_open(&copy, claimed, &host(), nonce(2)).unwrap();
    assert_eq!(again.recovered(), Some(claimed.claim));
    assert_eq!(again.confirm().claim, Claim { generation: 2, nonce: nonce(2) });
    let expected = Stale::CopiedWhileOpening { generation: 1 };
    let renewed = claimed.renewed(&host(), ReservedThrough::default(), 0);
    assert_eq!(stale(&copy, &renewed), expected);
    assert_eq!(stale(&copy, &renewed.sealed(&host(), 0)), expected);
}

#[test]
fn every_reason_tells_the_operator_what_to_do() {
    let (new, first) = new_store();
    let (local, witness) = opened(&new, &first, 1);
    for text in [
        stale(&new, &witness).to_string(),
        stale(&local, &first).to_string(),
        stale(&local, &witness.renewed(&host(), local.reserved_through, 7)).to_string(),
        stale(&local, &witness.sealed(&host(), 0)).to_string(),
    ] {
        let says = |what: &str| text.contains(what);
        assert!(says("Sign with the ") || says("Put the newer witness back"), "{text}");
        assert!(says("stop every other signer") && says("keys enrol --floor"), "{text}");
    }
}

#[test]
fn another_machines_lease_is_waited_for_and_this_ones_is_not() {
    let (new, first) = new_store();
    let (local, witness) = opened(&new, &first, 1);
    let here = host();
    assert!(plan_open(&local, &witness, &here, nonce(2)).is_ok(), "same boot: the lock decides");
    let there = Host { boot_id: "boot-b".into(), boot_time: BootTime(0), unix_seconds: 1_003 };
    let Err(OpenRefused::LeaseHeld(held)) = plan_open(&local, &witness, &there, nonce(2)) else {
        panic!("opened under another machine's lease");
    };
    assert_eq!((held.until_unix_seconds, held.seconds_left), (1_011, 8));
    assert!(plan_takeover(&local, &witness, &there, nonce(2)).is_err());
    let later = Host { unix_seconds: 1_011, ..there };
    assert!(plan_open(&local, &witness, &later, nonce(2)).is_ok());
}

/// Two copies race on a witness without a lock: one claims, the other is refused then and later.
#[test]
fn of_twins_that_open_at_once_one_wins() {
    let (new, first) = new_store();
    let witness = MemoryWitness::new(first.clone());
    let open = |byte| plan_open(&new, &first, &host(), nonce(byte)).unwrap();
    let (one, other) = (open(1), open(2));
    let claim = |plan: &OpenPlan| witness.clone().compare_and_set(plan.claim().0, plan.claim().1);
    claim(&one).unwrap();
    assert!(matches!(claim(&other), Err(WitnessError::Changed { .. })));
    let expected = Stale::GenerationBehind { local: 0, witness: 1 };
    assert_eq!(stale(other.pend(), &witness.read().unwrap()), expected);
}

/// An error of the witness leaves it open whether the claim was taken. Both cases open again.
#[test]
fn a_claim_of_unknown_outcome_is_claimed_again_or_recovered() {
    for failure in [Failure::BeforeWriting, Failure::AfterWriting] {
        let (new, first) = new_store();
        let mut witness = MemoryWitness::new(first.clone());
        let plan = plan_open(&new, &first, &host(), nonce(1)).unwrap();
        witness.fail_next(failure);
        witness.compare_and_set(plan.claim().0, plan.claim().1).unwrap_err();
        let found = witness.read().unwrap();
        let again = plan_open(plan.pend(), &found, &host(), nonce(2)).unwrap();
        assert_eq!(again.recovered().is_some(), failure == Failure::AfterWriting);
        witness.compare_and_set(plan.claim().0, plan.claim().1).unwrap(); // or simply tried again
    }
}

/// The takeover by a restored or another store, with a crash after each of its steps.
#[test]
fn a_takeover_survives_a_crash_after_each_step() {
    let (new, first) = new_store();
    let (_, witness) = opened(&new, &first, 1);
    let witness = witness.renewed(&host(), ReservedThrough { epoch: 9, slot: 300 }, 50);
    let stores = [new.clone(), Local { store: StoreId([2; 16]), sequence: 3, ..new }];
    for local in stores {
        plan_open(&local, &witness, &host(), nonce(9)).unwrap_err();
        let plan = plan_takeover(&local, &witness, &host(), nonce(2)).unwrap();
        let pended = plan.pend();
        // After step 1 the witness still knows the old owner: the takeover is declared again.
        plan_open(pended, &witness, &host(), nonce(9)).unwrap_err();
        plan_takeover(pended, &witness, &host(), nonce(3)).unwrap();
        // After step 2 it is this store's, as any opening; after step 3 and the renewal too.
        let (_, claimed) = plan.claim();
        assert!(plan_open(pended, claimed, &host(), nonce(4)).unwrap().recovered().is_some());
        let confirmed = plan.confirm();
        plan_open(&confirmed, claimed, &host(), nonce(4)).unwrap();
        let renewed = claimed.renewed(&host(), confirmed.reserved_through, confirmed.sequence);
        plan_open(&confirmed, &renewed, &host(), nonce(4)).unwrap();
        assert_eq!(confirmed.reserved_through, ReservedThrough { epoch: 9, slot: 300 });
        assert_eq!(confirmed.claim.generation, 2, "above the old owner's");
    }
}
