#![allow(clippy::unwrap_used)]

use std::sync::Barrier;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::lease::{BootTime, LeaseLapsed};
use crate::message::Counted;
use crate::recorder::{Priority, Recorder};
use crate::signed::{SignedAttestation, SignedBlock};
use crate::testing::MemoryDisk;

const OPEN: Bounds =
    Bounds { target_epoch_min: 0, target_epoch_max: 1_000, slot_max: 1_000, counted_max: 1 };

fn start(disk: &MemoryDisk) -> (Recorder, Watermarks) {
    let health = Arc::new(Health::new(0));
    health.lease().extend(BootTime(100));
    health.lease().reserve_through(1_000, 1_000);
    let engine = Box::new(disk.engine());
    let (recorder, _thread) =
        Recorder::start(engine, Arc::clone(&health), 1_024, || Duration::ZERO).unwrap();
    let mut record = KeyRecord::new(KeyId(1), PublicKey([7; 48]));
    record.is_enabled = true;
    recorder.send(Entry::key(record)).wait().unwrap();
    (recorder, Watermarks::new(record, health))
}

fn vote(source_epoch: u64, target_epoch: u64, byte: u8) -> Message {
    let signing_root = SigningRoot([byte; 32]);
    Message::Attestation(SignedAttestation { source_epoch, target_epoch, signing_root })
}

#[test]
fn a_permit_carries_the_key_the_root_and_the_records_number() {
    let disk = MemoryDisk::new();
    let (recorder, mut watermarks) = start(&disk);
    let place = recorder.reserve(Priority::Attestation).unwrap();
    let checked = watermarks.check(&vote(1, 2, 9), &OPEN).unwrap();
    assert!(!checked.is_repeat());
    let permit = checked.record(place).wait().unwrap();
    let redeemed = permit.redeem(BootTime(99)).unwrap();
    assert_eq!(redeemed.public_key(), watermarks.public_key());
    assert_eq!(redeemed.id(), watermarks.id());
    assert_eq!(redeemed.signing_root(), &SigningRoot([9; 32]));
    let stored = disk.key(watermarks.public_key()).unwrap();
    assert_eq!(stored.attestation, watermarks.attestation().copied());
    assert_eq!(redeemed.sequence(), stored.attestation.map(|it| it.sequence));
}

#[test]
fn a_permit_is_void_once_the_lease_has_lapsed() {
    let (recorder, mut watermarks) = start(&MemoryDisk::new());
    let place = recorder.reserve(Priority::Attestation).unwrap();
    let permit = watermarks.check(&vote(1, 2, 9), &OPEN).unwrap().record(place).wait().unwrap();
    assert_eq!(permit.redeem(BootTime(100)), Err(LeaseLapsed::Lapsed));
    let permit = watermarks.permit([2, 0, 0, 0], SigningRoot([1; 32])).unwrap();
    assert_eq!(permit.redeem(BootTime(1)), Err(LeaseLapsed::Lapsed));
}

#[test]
fn what_is_checked_but_not_recorded_burns_nothing() {
    let (_recorder, mut watermarks) = start(&MemoryDisk::new());
    drop(watermarks.check(&vote(1, 2, 9), &OPEN).unwrap());
    assert!(watermarks.attestation().is_none());
    assert!(!watermarks.check(&vote(1, 2, 8), &OPEN).unwrap().is_repeat());
}

#[test]
fn domains_are_granted_by_an_explicit_list() {
    let (_recorder, mut watermarks) = start(&MemoryDisk::new());
    let root = SigningRoot([1; 32]);
    let granted: Vec<u8> =
        (0..=255).filter(|first| watermarks.permit([*first, 0, 0, 0], root).is_ok()).collect();
    assert_eq!(granted, [2, 5, 6, 7, 8, 9]);
    assert!(watermarks.permit([0, 0, 0, 1], root).is_ok());
    for refused in [[1, 0, 0, 1], [2, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 2], [0xff; 4]] {
        let refusal = watermarks.permit(refused, root).unwrap_err();
        assert_eq!(refusal.code(), "domain_not_permitted");
    }
    watermarks.set_record(KeyRecord { is_enabled: false, ..watermarks.record() });
    assert_eq!(watermarks.permit([2, 0, 0, 0], root).unwrap_err().code(), "key_disabled");
    assert_eq!(watermarks.check(&vote(1, 2, 9), &OPEN).unwrap_err().code(), "key_disabled");
}

#[test]
fn a_counted_permission_is_durable_and_a_repeat_does_not_count() {
    let disk = MemoryDisk::new();
    let (recorder, mut watermarks) = start(&disk);
    let kind = CountedKind::VoluntaryExit;
    let exit = |byte| Message::Counted(Counted { kind, signing_root: SigningRoot([byte; 32]) });
    for _ in 0..2 {
        let place = recorder.reserve(Priority::Attestation).unwrap();
        let permit = watermarks.check(&exit(1), &OPEN).unwrap().record(place).wait();
        assert!(permit.is_ok());
    }
    assert_eq!(watermarks.check(&exit(2), &OPEN).unwrap_err().code(), "count_exceeded");
    assert_eq!(disk.key(watermarks.public_key()).unwrap().counted[0].unwrap().count, 1);
    assert_eq!(watermarks.counted(kind), 1);
}

/// Many threads ask for different votes of one epoch and different blocks of one slot at once.
#[test]
fn of_concurrent_twins_exactly_one_root_leaves() {
    const TWINS: u8 = 16;
    for round in 0..20u64 {
        let (recorder, watermarks) = start(&MemoryDisk::new());
        let watermarks = Mutex::new(watermarks);
        let barrier = Barrier::new(usize::from(TWINS));
        let messages = |byte: u8| {
            let signing_root = SigningRoot([byte / 2 + 1; 32]); // each root is asked for twice
            let block = Message::Block(SignedBlock { slot: round, signing_root });
            [vote(round, round + 1, byte / 2 + 1), block]
        };
        let ask = |byte| {
            barrier.wait();
            messages(byte).map(|message| {
                let place = recorder.reserve(Priority::Attestation).unwrap();
                let pending = watermarks.lock().check(&message, &OPEN).map(|it| it.record(place));
                let permit = pending.ok()?.wait().unwrap();
                Some(*permit.redeem(BootTime(1)).unwrap().signing_root())
            })
        };
        let ask = &ask;
        let left = std::thread::scope(|scope| {
            let twins: Vec<_> = (0..TWINS).map(|byte| scope.spawn(move || ask(byte))).collect();
            twins.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
        });
        for kind in 0..2 {
            let mut roots: Vec<_> = left.iter().filter_map(|it| it[kind]).collect();
            assert!(!roots.is_empty() && roots.len() <= 2, "{roots:?}");
            roots.dedup();
            assert_eq!(roots.len(), 1, "{roots:?}");
        }
    }
}

/// Half a million of them are in memory at once: who makes them larger says so here.
#[test]
fn they_are_small() {
    assert_eq!(size_of::<Watermarks>(), 192);
}
