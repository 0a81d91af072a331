//! Many threads sign with few keys while others disable, enable and import them. Whatever the
//! order: who is given a permit finds its record on the disk, and no two permits are slashable.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::engine::{Entry, Loaded, Outcome};

const KEYS: u8 = 3;
const SIGNERS: u64 = 4;
const REQUESTS: u64 = 1_500;

type Shared = Arc<HashMap<PublicKey, Mutex<Watermarks>>>;

struct Locked(Shared);

impl KeyTable for Locked {
    fn with<R>(
        &mut self,
        public_key: &PublicKey,
        change: impl FnOnce(&mut Watermarks) -> R,
    ) -> Option<R> {
        self.0.get(public_key).map(|it| change(&mut it.lock()))
    }

    fn insert(&mut self, _: Watermarks) {
        unreachable!("every key is enrolled before the race");
    }
}

/// A disk that takes its time, so that the recorder always finds several requests waiting.
struct Slow(crate::testing::FaultyEngine);

impl Engine for Slow {
    fn commit(&mut self, batch: &[Entry]) -> Result<Vec<Outcome>, Fatal> {
        for _ in 0..200 {
            std::thread::yield_now();
        }
        self.0.commit(batch)
    }

    fn load(&mut self) -> Result<Loaded, Fatal> {
        self.0.load()
    }
}

/// Numbers that look random, from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}

fn message(random: &mut Random, request: u64) -> Message {
    let near = request / 8 + random.below(4);
    let signing_root = SigningRoot([1 + random.below(3) as u8; 32]);
    if random.below(3) == 0 {
        return Message::Block(SignedBlock { slot: near, signing_root });
    }
    let source_epoch = near.saturating_sub(1 + random.below(3));
    Message::Attestation(SignedAttestation { source_epoch, target_epoch: near + 1, signing_root })
}

/// Signs until it has asked often enough; gives what it was given permits for.
fn sign_on(seed: u64, store: &Store, disk: &MemoryDisk, table: &Shared) -> Vec<(u8, Message)> {
    let mut random = Random(seed);
    let mut permitted = Vec::new();
    for request in 0..REQUESTS {
        let number = 1 + random.below(u64::from(KEYS)) as u8;
        let message = message(&mut random, request);
        let place = store.recorder().reserve(Priority::Block).unwrap();
        let pending = {
            let mut watermarks = table[&key(number)].lock();
            watermarks.check(&message, &OPEN).map(|checked| checked.record(place)).ok()
        };
        let Some(pending) = pending else { continue };
        if pending.wait().is_ok() {
            assert_is_recorded(disk, number, &message);
            permitted.push((number, message));
        }
    }
    permitted
}

fn assert_is_recorded(disk: &MemoryDisk, number: u8, message: &Message) {
    let stored = disk.key(&key(number)).unwrap();
    let is_recorded = match message {
        Message::Attestation(it) => stored.attestation.is_some_and(|held| {
            held.target_epoch >= it.target_epoch && held.source_epoch >= it.source_epoch
        }),
        Message::Block(it) => stored.block.is_some_and(|held| held.slot >= it.slot),
        Message::Counted(_) => false,
    };
    assert!(is_recorded, "{message:?} of key {number}, and on the disk is {stored:?}");
}

fn are_slashable(one: &Message, other: &Message) -> bool {
    match (one, other) {
        (Message::Attestation(a), Message::Attestation(b)) => {
            let surrounds = |a: &SignedAttestation, b: &SignedAttestation| {
                a.source_epoch < b.source_epoch && b.target_epoch < a.target_epoch
            };
            a.target_epoch == b.target_epoch && a != b || surrounds(a, b) || surrounds(b, a)
        }
        (Message::Block(a), Message::Block(b)) => a.slot == b.slot && a != b,
        (Message::Attestation(_) | Message::Block(_) | Message::Counted(_), _) => false,
    }
}

/// Disables keys and brings them back, by a floor or by a file, until the signers are done.
fn disturb(seed: u64, store: &Store, disk: &MemoryDisk, table: &Shared, done: &AtomicBool) {
    let mut random = Random(seed);
    let mut changes = 0;
    while !done.load(Ordering::Acquire) || changes < 20 {
        let number = 1 + random.below(u64::from(KEYS)) as u8;
        let disabling = store.disable(&mut table[&key(number)].lock());
        disabling.wait().unwrap();
        let held = disk.key(&key(number)).unwrap();
        assert!(!held.is_enabled, "durable before it is said");
        let target = held.attestation.map_or(1, |it| it.target_epoch) + random.below(2);
        let slot = held.block.map_or(1, |it| it.slot) + 1;
        if random.below(2) == 0 {
            let floor =
                Floor { source_epoch: target.saturating_sub(1), target_epoch: target, slot };
            let enabling = store.enable(&mut table[&key(number)].lock(), floor).unwrap();
            enabling.wait().unwrap();
        } else {
            let source = held.attestation.map_or(0, |it| it.source_epoch);
            let (byte, votes) = (random.below(3) as u8, [(source, target + 1, 2)]);
            let file = keys::file(&[(number, &votes, &[(slot, byte)])]);
            let bounds = ImportBounds { epoch_max: u64::MAX, slot_max: u64::MAX };
            let report = store.import(file.as_bytes(), &mut Locked(Arc::clone(table)), bounds);
            assert!(report.unwrap().is_complete());
        }
        changes += 1;
    }
}

#[test]
fn nothing_slashable_is_permitted_while_keys_are_disabled_enabled_and_imported() {
    let (disk, witness) = made();
    let parts = Parts { engine: Box::new(Slow(disk.engine())), witness: Box::new(witness) };
    let (store, _) = Store::open_with(&params(at(0)), parts).unwrap();
    store.health.lease().reserve_through(u64::MAX, u64::MAX);
    let enrol = |number| Mutex::new(store.enrol(key(number), Enrolment::New).unwrap());
    let table: Shared = Arc::new((1..=KEYS).map(|number| (key(number), enrol(number))).collect());
    let done = AtomicBool::new(false);
    let permitted = std::thread::scope(|scope| {
        let disturbing = scope.spawn(|| disturb(99, &store, &disk, &table, &done));
        let (store, disk, table) = (&store, &disk, &table);
        let signing: Vec<_> = (0..SIGNERS)
            .map(|seed| scope.spawn(move || sign_on(seed, store, disk, table)))
            .collect();
        let signed: Vec<_> = signing.into_iter().map(|it| it.join()).collect();
        done.store(true, Ordering::Release); // whatever became of them: all threads must end
        let permitted: Vec<_> = signed.into_iter().flat_map(|it| it.unwrap()).collect();
        disturbing.join().unwrap();
        permitted
    });
    assert!(!permitted.is_empty());
    for (index, (number, one)) in permitted.iter().enumerate() {
        for (_, other) in permitted[..index].iter().filter(|(it, _)| it == number) {
            assert!(!are_slashable(one, other), "{one:?} and {other:?} of key {number}");
        }
    }
}
