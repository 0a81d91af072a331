//! What the policy costs a request, against one BLS signature of the same run:
//! `cargo bench -p policy --bench policy`.
//!
//! | benchmark | measures |
//! |---|---|
//! | `scored` | a vote from judgement to lesson: judge, attempted, admit, learn; ticks included |
//! | `judge` | the judgement alone, of keys that are not in the cache |
//! | `sign` | one signature |
//!
//! A hundred thousand keys of eight clients in eight groups, half of which report who signed. The
//! last line is the ratio that is promised: a scored event costs at most 0.5 % of a signature.

#![allow(clippy::unwrap_used, missing_docs)] // criterion's macro makes an undocumented function

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use blst::min_pk::SecretKey;
use criterion::{Criterion, criterion_group, criterion_main};
use policy::{
    ClientIndex, ClientPolicy, Engine, GroupIndex, GroupPolicy, KeyState, Message, Moment,
    Observation, Outcome, Policy, ShareSet, Source,
};

const CLIENTS: u32 = 8;
const KEYS: u32 = 100_000;
const SLOTS_PER_EPOCH: u32 = 32;
const KEYS_PER_SLOT: u32 = KEYS / SLOTS_PER_EPOCH;
const SLOT_MS: u64 = 12_000;
const DUE_MS: u32 = 4_000;

/// Epochs of honest life before anything is measured: every test is past its warm-up.
const WARM_UP_EPOCHS: u64 = 24;

struct World {
    policy: Policy,
    engine: Engine,
    keys: Vec<KeyState>,
    events: u64,
    slot: u64,
}

impl World {
    fn new() -> Self {
        let name = |of: &str, number: u32| format!("{of} {number}");
        let groups = (0..CLIENTS).map(|group| GroupPolicy {
            name: name("group", group),
            enrolled: vec![(ClientIndex(group as u16), Vec::new())],
            ..GroupPolicy::default()
        });
        let clients = (0..CLIENTS)
            .map(|client| ClientPolicy { name: name("client", client), ..ClientPolicy::default() });
        let policy =
            Policy { groups: groups.collect(), clients: clients.collect(), ..Policy::default() };
        let keys = vec![KeyState::new(); KEYS as usize];
        Self { policy, engine: Engine::new(), keys, events: 0, slot: 0 }
    }

    /// The next vote of a quiet day: each key once an epoch, in another order each time.
    fn next(&mut self) -> (Observation, Outcome) {
        let (number, per_slot) = (self.events, u64::from(KEYS_PER_SLOT));
        self.events += 1;
        let slot = 1_000_000 + number / per_slot;
        let place = (number % per_slot) as u32;
        let jitter = mix(number);
        // 48,611 has no divisor in common with the number of keys.
        let nth = u64::from((slot % u64::from(SLOTS_PER_EPOCH)) as u32 * KEYS_PER_SLOT + place);
        let key = (nth * 48_611 + slot / u64::from(SLOTS_PER_EPOCH)) % u64::from(KEYS);
        let client = (key as u32) % CLIENTS;
        let into_slot_ms = DUE_MS + place / 40 + (jitter % 16) as u32;
        let epoch = slot / u64::from(SLOTS_PER_EPOCH);
        let seen = Observation {
            key: key as u32,
            group: GroupIndex(client as u16),
            at: moment(slot, into_slot_ms),
            source: Source {
                client: ClientIndex(client as u16),
                certificate: mix(u64::from(client)),
                dialect: 1 + u64::from(client % 2),
                prefix: 0x0a00_0000 + u64::from(client),
            },
            message: Message::Attestation {
                slot,
                source_epoch: epoch - 2,
                target_epoch: epoch,
                index: 0,
                head: slot,
            },
            root: mix(slot << 32 | key),
            is_repeat: false,
            due_ms: DUE_MS,
        };
        let set = if jitter.is_multiple_of(100) { 0b1_0011 } else { 0b0_0111 };
        let shares = client.is_multiple_of(2).then_some(ShareSet(set));
        (seen, Outcome { shares, chosen_by_gate: false })
    }

    fn score(&mut self, seen: &Observation, out: &Outcome) {
        if self.slot < seen.at.slot {
            self.slot = seen.at.slot;
            black_box(self.engine.tick(&self.policy, moment(self.slot, 0)));
        }
        let key = &mut self.keys[seen.key as usize];
        let decision = self.engine.judge(&self.policy, key, seen);
        assert!(decision.refusal().is_none(), "an honest vote is refused: {decision:?}");
        self.engine.attempted(&self.policy, key, seen);
        self.engine.admit(&self.policy, key, seen);
        black_box(self.engine.judge_answer(&self.policy, key, seen, out));
        self.engine.learn(&self.policy, key, seen, out);
    }

    fn live(&mut self, events: u64) {
        for _ in 0..events {
            let (seen, out) = self.next();
            self.score(&seen, &out);
        }
    }
}

const fn moment(slot: u64, into_slot_ms: u32) -> Moment {
    let unix_ms = 1_600_000_000_000 + slot * SLOT_MS + into_slot_ms as u64;
    Moment { unix_ms, slot, epoch: slot / SLOTS_PER_EPOCH as u64, into_slot_ms }
}

const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What `work` takes, so many times over.
fn timed(times: u64, mut work: impl FnMut()) -> Duration {
    #[allow(clippy::disallowed_methods)] // a benchmark measures
    let begin = Instant::now();
    for _ in 0..times {
        work();
    }
    begin.elapsed()
}

fn policy(criterion: &mut Criterion) {
    let mut world = World::new();
    world.live(WARM_UP_EPOCHS * u64::from(KEYS));
    let best = RefCell::new([f64::MAX; 2]); // nanoseconds: scored, sign
    let note = |place: usize, times: u64, taken: Duration| {
        let each = taken.as_nanos() as f64 / times as f64;
        let mut best = best.borrow_mut();
        best[place] = best[place].min(each);
        taken
    };
    criterion.bench_function("scored", |bench| {
        bench.iter_custom(|times| {
            // Making the events up is not what is measured.
            let mut taken = Duration::ZERO;
            let mut left = times;
            while left > 0 {
                let batch = left.min(u64::from(KEYS_PER_SLOT));
                let events: Vec<_> = (0..batch).map(|_| world.next()).collect();
                taken += timed(1, || events.iter().for_each(|(seen, out)| world.score(seen, out)));
                left -= batch;
            }
            note(0, times, taken)
        });
    });
    criterion.bench_function("judge", |bench| {
        let (seen, _) = world.next();
        let mut number = seen.key; // of the same client, each time
        bench.iter(|| {
            number = (number + 48_611 * 8) % KEYS;
            let seen = Observation { key: number, ..seen };
            black_box(world.engine.judge(&world.policy, &world.keys[number as usize], &seen))
        });
    });
    let secret = SecretKey::key_gen(&[7; 32], &[]).unwrap();
    criterion.bench_function("sign", |bench| {
        let domain = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
        bench.iter_custom(|times| {
            let taken = timed(times, || {
                black_box(secret.sign(black_box(&[9; 32]), domain, &[]));
            });
            note(1, times, taken)
        });
    });
    let [scored, sign] = best.into_inner();
    if scored < f64::MAX && sign < f64::MAX {
        let ratio = 100.0 * scored / sign;
        let verdict = if ratio <= 0.5 { "met" } else { "MISSED" };
        println!(
            "scored {scored:.0} ns, sign {sign:.0} ns: {ratio:.2} % (at most 0.5 %: {verdict})"
        );
    }
}

criterion_group! {
    name = pieces;
    config = Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_millis(500))
        .sample_size(20);
    targets = policy
}
criterion_main!(pieces);
