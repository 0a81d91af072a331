#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::engine::KeyRecord;
use crate::lease::BootTime;
use crate::message::{Bounds, KeyId, Message};
use crate::rules::BlockRecord;
use crate::signed::{PublicKey, SignedAttestation, SignedBlock, SigningRoot};
use crate::testing::{Fault, MemoryDisk};
use crate::watermarks::Watermarks;

const OPEN: Bounds =
    Bounds { target_epoch_min: 0, target_epoch_max: 1_000, slot_max: 1_000, counted_max: 1 };

fn start(disk: &MemoryDisk, places_max: usize) -> (Recorder, Vec<Watermarks>, Arc<Health>) {
    let health = Arc::new(Health::new(0));
    health.lease().extend(BootTime(100));
    health.lease().reserve_through(1_000, 1_000);
    let (recorder, _thread) =
        Recorder::start(Box::new(disk.engine()), Arc::clone(&health), places_max, || {
            Duration::ZERO
        })
        .unwrap();
    let watermarks = (0..4u8).map(|number| {
        let mut record = KeyRecord::new(KeyId(number.into()), PublicKey([number; 48]));
        record.is_enabled = true;
        recorder.send(Entry::key(record)).wait().unwrap();
        Watermarks::new(record, Arc::clone(&health))
    });
    let watermarks = watermarks.collect();
    (recorder, watermarks, health)
}

fn ask(recorder: &Recorder, watermarks: &mut Watermarks, message: &Message) -> Pending {
    let place = recorder.reserve(Priority::Block).unwrap();
    watermarks.check(message, &OPEN).unwrap().record(place)
}

fn vote(target_epoch: u64) -> Message {
    let signing_root = SigningRoot([1; 32]);
    Message::Attestation(SignedAttestation { source_epoch: 0, target_epoch, signing_root })
}

fn block(slot: u64) -> Message {
    Message::Block(SignedBlock { slot, signing_root: SigningRoot([2; 32]) })
}

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(pending: &mut Pending) -> Poll<Result<crate::Permit, RecordError>> {
    std::pin::Pin::new(pending).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_repeat_never_overtakes_the_record_that_it_repeats() {
    let disk = MemoryDisk::new();
    let (recorder, mut watermarks, _health) = start(&disk, 64);
    disk.pause();
    let mut first = ask(&recorder, &mut watermarks[0], &vote(5));
    disk.wait_until_held(); // the record is on its way, not durable
    let mut repeat = ask(&recorder, &mut watermarks[0], &vote(5));
    let mut block_first = ask(&recorder, &mut watermarks[0], &block(5));
    let mut block_repeat = ask(&recorder, &mut watermarks[0], &block(5));
    for pending in [&mut first, &mut repeat, &mut block_first, &mut block_repeat] {
        assert!(poll(pending).is_pending());
    }
    disk.resume();
    let (first, repeat) = (first.wait().unwrap(), repeat.wait().unwrap());
    assert_eq!(first.sequence, repeat.sequence);
    assert_eq!(block_first.wait().unwrap().sequence, block_repeat.wait().unwrap().sequence);
}

#[test]
fn a_repeat_of_a_record_that_is_lost_is_lost_too() {
    let disk = MemoryDisk::new();
    let (recorder, mut watermarks, health) = start(&disk, 64);
    disk.pause();
    disk.fail_commit(0, Fault::Io);
    let first = ask(&recorder, &mut watermarks[0], &vote(5));
    disk.wait_until_held();
    let repeat = ask(&recorder, &mut watermarks[0], &vote(5));
    disk.resume();
    assert_eq!(first.wait().unwrap_err(), RecordError::Poisoned);
    assert_eq!(repeat.wait().unwrap_err(), RecordError::Poisoned);
    assert!(health.is_poisoned());
}

#[test]
fn after_any_failure_nothing_is_signed_for_ever() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::IoAfterWrite, Fault::Panic] {
        let disk = MemoryDisk::new();
        let (recorder, mut watermarks, health) = start(&disk, 64);
        let granted = watermarks[1].permit([2, 0, 0, 0], SigningRoot([1; 32])).unwrap();
        let place = recorder.reserve(Priority::Block).unwrap();
        disk.fail_commit(0, fault);
        let refused = ask(&recorder, &mut watermarks[0], &vote(5)).wait().unwrap_err();
        assert_eq!(refused, RecordError::Poisoned, "{fault:?}");
        let reason = health.wait_for_poison().to_string();
        assert_eq!(reason.contains("panicked"), fault == Fault::Panic, "{reason}");
        let refused = recorder.reserve(Priority::Block).unwrap_err();
        assert_eq!(refused, ReserveError::Poisoned, "{fault:?}");
        let pending = watermarks[2].check(&vote(6), &OPEN).unwrap().record(place);
        assert_eq!(pending.wait().unwrap_err(), RecordError::Poisoned, "{fault:?}");
        assert_eq!(granted.redeem(BootTime(1)), Err(crate::LeaseLapsed::Poisoned), "{fault:?}");
    }
}

#[test]
fn who_waits_for_the_stores_end_is_told_once() {
    let disk = MemoryDisk::new();
    let (recorder, mut watermarks, health) = start(&disk, 64);
    let told = Arc::new(AtomicUsize::new(0));
    let tell = || {
        let told = Arc::clone(&told);
        Box::new(move |_: &Poison| _ = told.fetch_add(1, Ordering::SeqCst))
    };
    health.on_poison(tell());
    disk.fail_commit(0, Fault::NoSpace);
    assert!(ask(&recorder, &mut watermarks[0], &vote(5)).wait().is_err());
    health.wait_for_poison();
    health.on_poison(tell());
    health.set_poison(Poison::RecorderPanicked);
    health.tell();
    assert!(matches!(health.poison(), Some(Poison::Engine(_))), "the first reason stays");
    while told.load(Ordering::SeqCst) < 2 {
        std::thread::yield_now();
    }
    assert_eq!(told.load(Ordering::SeqCst), 2);
}

#[test]
fn all_who_wait_on_a_superseded_record_are_refused() {
    let disk = MemoryDisk::new();
    let (recorder, mut watermarks, _health) = start(&disk, 64);
    let other = BlockRecord { slot: 9, signing_root: SigningRoot([8; 32]), sequence: 77 };
    disk.pause();
    let held = ask(&recorder, &mut watermarks[1], &vote(5));
    disk.wait_until_held();
    disk.overwrite(KeyId(0), Record::Block(other)); // a second owner was faster
    let first = ask(&recorder, &mut watermarks[0], &block(9));
    let repeat = ask(&recorder, &mut watermarks[0], &block(9));
    let later = ask(&recorder, &mut watermarks[0], &block(10));
    disk.resume();
    assert!(held.wait().is_ok());
    for refused in [first.wait().unwrap_err(), repeat.wait().unwrap_err()] {
        assert_eq!(refused, RecordError::Superseded(Record::Block(other)));
        assert_eq!(refused.not_safe().unwrap().code(), "superseded");
    }
    assert!(later.wait().is_ok());
    // The sequence of the other owner's record is not this store's: it is not called durable.
    assert!(recorder.queue.health.durable_sequence() < 77);
}

#[test]
fn an_eighth_of_the_places_is_kept_for_blocks_and_dropped_places_come_back() {
    let (recorder, _watermarks, _health) = start(&MemoryDisk::new(), 16);
    let taken: Vec<_> = (0..14).map(|_| recorder.reserve(Priority::Attestation).unwrap()).collect();
    assert_eq!(recorder.reserve(Priority::Attestation).unwrap_err(), ReserveError::QueueFull);
    let blocks: Vec<_> = (0..2).map(|_| recorder.reserve(Priority::Block).unwrap()).collect();
    assert_eq!(recorder.reserve(Priority::Block).unwrap_err(), ReserveError::QueueFull);
    assert_eq!(recorder.stats().places_taken, 16);
    drop((taken, blocks));
    assert_eq!(recorder.stats().places_taken, 0);
}

#[test]
fn blocks_go_first_but_never_past_a_change_of_a_whole_key() {
    let health = Arc::new(Health::new(0));
    let queue = Queue::new(64, health, || Duration::ZERO);
    let record = |slot| BlockRecord { slot, signing_root: SigningRoot([1; 32]), sequence: slot };
    let block = |slot| Entry::Advance(KeyId(0), Record::Block(record(slot)));
    let meta = |name| Entry::Meta(name, vec![]);
    let counted = |sequence| {
        let signing_root = SigningRoot([1; 32]);
        let counted = crate::rules::CountedRecord { count: 1, signing_root, sequence };
        Entry::Advance(KeyId(0), Record::Counted(crate::CountedKind::Deposit, counted))
    };
    let key = Entry::key(KeyRecord::new(KeyId(0), PublicKey([0; 48])));
    let drained = |entries: Vec<Entry>| {
        let tickets: Vec<_> = entries.into_iter().map(|it| queue.send(it, None)).collect();
        let batch = queue.next_batch(&Pace::default()).unwrap();
        drop(tickets);
        batch.into_iter().map(|it| it.split().0).collect::<Vec<_>>()
    };
    assert_eq!(
        drained(vec![counted(1), block(2), counted(3), meta("a")]),
        [block(2), meta("a"), counted(1), counted(3)]
    );
    let in_order = vec![counted(1), block(2), key, counted(3)];
    assert_eq!(drained(in_order.clone()), in_order);
    let [c1, b2, k, c3] = <[Entry; 4]>::try_from(in_order).unwrap();
    assert_eq!(
        drained(vec![c1.clone(), k.clone(), b2.clone(), c3.clone(), block(5)]),
        [c1, k, b2, block(5), c3]
    );
}

#[test]
fn a_waker_is_woken_when_its_own_record_is_durable() {
    let disk = MemoryDisk::new();
    let (recorder, mut watermarks, _health) = start(&disk, 64);
    disk.pause();
    let mut pending = ask(&recorder, &mut watermarks[0], &vote(5));
    disk.wait_until_held();
    let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    assert!(std::pin::Pin::new(&mut pending).poll(&mut context).is_pending());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    let mut later = ask(&recorder, &mut watermarks[1], &vote(5));
    disk.resume();
    assert!(later_wait(&mut later).is_ok());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert!(std::pin::Pin::new(&mut pending).poll(&mut context).is_ready());
}

fn later_wait(pending: &mut Pending) -> Result<crate::Permit, RecordError> {
    loop {
        if let Poll::Ready(result) = poll(pending) {
            return result;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_closed_recorder_writes_what_waits_then_takes_nothing_more() {
    let disk = MemoryDisk::new();
    let (recorder, mut watermarks, _health) = start(&disk, 64);
    let place = recorder.reserve(Priority::Attestation).unwrap();
    disk.pause();
    let held = ask(&recorder, &mut watermarks[0], &vote(5));
    let waiting = ask(&recorder, &mut watermarks[1], &vote(5));
    recorder.close();
    let late = watermarks[2].check(&vote(5), &OPEN).unwrap().record(place);
    disk.resume();
    assert!(held.wait().is_ok() && waiting.wait().is_ok());
    assert_eq!(late.wait().unwrap_err(), RecordError::ShuttingDown);
    let refused = recorder.reserve(Priority::Block).unwrap_err();
    assert_eq!(refused, ReserveError::ShuttingDown);
}

#[test]
fn what_gathers_during_a_commit_is_one_batch() {
    let disk = MemoryDisk::new();
    let (recorder, mut watermarks, _health) = start(&disk, 4_096);
    disk.pause();
    let held = ask(&recorder, &mut watermarks[0], &vote(1));
    disk.wait_until_held();
    let before = disk.commits();
    let waiting: Vec<_> =
        (2..900).map(|epoch| ask(&recorder, &mut watermarks[1], &vote(epoch))).collect();
    disk.resume();
    assert!(held.wait().is_ok());
    assert!(waiting.into_iter().all(|it| it.wait().is_ok()));
    assert_eq!(disk.commits(), before + 2);
    assert_eq!(recorder.stats().places_taken, 0);
    assert!(recorder.stats().batch_entries.buckets[10] >= 1);
}
