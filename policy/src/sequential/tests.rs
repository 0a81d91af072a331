//! A small world for the tests that add up: sources that sign for many keys, slot after slot.

mod engine;
mod rates;
mod regressions;
mod shares;
mod shifts;
mod source_level;
mod timing;

use super::{KeyTiming, Scope, SourceTiming};
use crate::{GroupIndex, Message, Moment, Observation, Source};

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1, neither of them.
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

const SLOTS_PER_EPOCH: u64 = 32;
const DUE_MS: u32 = 4_000;

/// A vote of `key` in `slot` that arrived so many milliseconds into it.
fn vote(key: u32, slot: u64, into_slot_ms: f64) -> Observation {
    let into_slot_ms = into_slot_ms.clamp(0.0, 11_999.0) as u32;
    let epoch = slot / SLOTS_PER_EPOCH;
    Observation {
        key,
        group: GroupIndex(0),
        at: Moment { unix_ms: slot * 12_000 + u64::from(into_slot_ms), slot, epoch, into_slot_ms },
        source: Source::default(),
        message: Message::Attestation {
            slot,
            source_epoch: epoch.saturating_sub(2),
            target_epoch: epoch,
            index: 0,
            head: slot,
        },
        root: slot,
        is_repeat: false,
        due_ms: DUE_MS,
    }
}

/// A client that signs for its keys when the deadline comes, one after the other.
struct Client {
    token: u32,
    timing: SourceTiming,
    keys: Vec<KeyTiming>,
    jitter_ms: f64,
    queue_ms: f64,  // between one key and the next
    is_fixed: bool, // whether its queue is in the order of the keys
}

impl Client {
    fn new(token: u32, keys: usize) -> Self {
        Self {
            token,
            timing: SourceTiming::default(),
            keys: vec![KeyTiming::new(); keys],
            jitter_ms: 4.0,
            queue_ms: 2.0,
            is_fixed: false,
        }
    }

    /// The times of one slot's votes, in the order in which they come: each key once an epoch.
    fn votes(
        &self,
        random: &mut Random,
        slot: u64,
        late_ms: &mut dyn FnMut(&mut Random, usize) -> f64,
    ) -> Vec<(usize, Observation)> {
        // Its committee is drawn anew each epoch, so that a key meets others each time.
        let mut committee = Random((slot / SLOTS_PER_EPOCH) ^ (u64::from(self.token) << 32));
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        committee.shuffle(&mut order);
        let chunk = |place: usize| self.keys.len() * place / SLOTS_PER_EPOCH as usize;
        let place = (slot % SLOTS_PER_EPOCH) as usize;
        let mut duties = order[chunk(place)..chunk(place + 1)].to_vec();
        if self.is_fixed {
            duties.sort_unstable();
        }
        let mut votes: Vec<(usize, Observation)> = Vec::new();
        for (place, key) in duties.into_iter().enumerate() {
            let queued = self.queue_ms * place as f64;
            let jitter = self.jitter_ms * random.normal();
            let at = f64::from(DUE_MS) + queued + jitter + late_ms(random, key);
            votes.push((key, vote(key as u32, slot, at)));
        }
        votes.sort_by_key(|(key, seen)| (seen.at.into_slot_ms, *key));
        votes
    }

    /// One slot of votes, all of them released.
    fn slot(
        &mut self,
        random: &mut Random,
        slot: u64,
        late_ms: &mut dyn FnMut(&mut Random, usize) -> f64,
    ) {
        for (key, seen) in self.votes(random, slot, late_ms) {
            self.timing.learn(&mut self.keys[key], self.token, &seen, Scope::default());
        }
    }

    fn epochs(
        &mut self,
        random: &mut Random,
        epochs: std::ops::Range<u64>,
        late_ms: &mut dyn FnMut(&mut Random, usize) -> f64,
    ) {
        for slot in epochs.start * SLOTS_PER_EPOCH..epochs.end * SLOTS_PER_EPOCH {
            self.slot(random, slot, late_ms);
        }
    }

    /// Keys with evidence of `limit` nats and more.
    fn alarming(&self, limit: f32) -> usize {
        self.keys.iter().filter(|key| key.ln_s(Scope::default()) >= limit).count()
    }
}
