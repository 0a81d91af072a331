//! Which shares sign for a key, against which shares sign for its cluster.
//!
//! Where a signer reports who took part, the set of shares is nearly constant: what stands in for
//! another node does so now and then, for any key. A set that is rare in the cluster and becomes
//! usual for one key is bet against. No set counts that the gate chose itself.

use super::{Bytes, LN_S_MAX, Scope, short_slot, step};
use crate::{Message, Observation, Outcome, ShareSet};

/// What an event leaves of the weights of a key's sets.
const KEY_DECAY: f32 = 0.85;

/// The weight of the cluster's habit in what is expected of a key, in events.
const PRIOR_WEIGHT: f32 = 2.0;

/// No single event says more: no fewer than six odd ones refuse.
const LN_E_MAX: f32 = 3.9;

/// What an event leaves of the cluster's weights: the last 2,000 events count. Of 500 a set that
/// stands in once in a thousand is mostly absent.
const CLUSTER_DECAY: f32 = 0.9995;

/// The event that is judged is counted with those that it is held against: so on the average over
/// honest events, q / P0 is at most 1, however few they are. Without it a set that honestly stands
/// in once in a thousand events was taken for one that never does, and a small cluster refused
/// some ten honest signatures in a million days of a validator.
const PSEUDO_EVENT: f32 = 1.0;

/// Nothing is rarer than this: the cluster has not seen enough to say so.
const P0_MIN: f32 = 1e-4;

/// Events of a cluster before its keys are tested.
const WARM_UP_EVENTS: u32 = 200;

/// Sets of a cluster that are told apart; the rest are one.
const SETS_MAX: usize = 64;

/// Keys of which the last set is known, to see whether the cluster moves together.
const KEYS_MAX: usize = 16;

/// Other keys without which a cluster is too small to say what is odd in it.
const OTHERS_MIN: usize = 3;

/// Events over which the keys of a cluster are counted, and the bits that they are counted by.
const COUNTED_EVENTS: u16 = 1_024;
const COUNTED_BITS: u64 = 1_024;

/// Slots without a signature after which a case that may refuse is dropped: two epochs, as for
/// every automatic quarantine. A key that is refused would otherwise never sign its way out.
const EXPIRES_AFTER_SLOTS: u64 = 64;

/// The evidence, in nats, from which on a case may refuse.
const MAY_REFUSE: f32 = 18.0;

/// The unit in which a key's weights are kept: they stay below 1 / (1 - 0.85).
const WEIGHT_ONE: f32 = 8_192.0;

/// The set of an answer that counts: of a vote that is no repeat, and not the gate's choice. Each
/// key votes once an epoch; of other duties a key may have thirty in that time or none, and they
/// would push what its votes showed out of its memory.
pub fn telling(seen: &Observation, out: &Outcome) -> Option<ShareSet> {
    let is_vote = matches!(seen.message, Message::Attestation { .. });
    if is_vote && !seen.is_repeat && !out.chosen_by_gate { out.shares } else { None }
}

/// The sets of one key. 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KeyShares {
    sets: [u32; 4],
    weights: [u16; 4], // in 1 / WEIGHT_ONE; 0: no set
    ln_s: f32,
    last_slot: u32,
}

impl KeyShares {
    /// The length of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 32;

    /// A key of which nothing is known.
    pub const fn new() -> Self {
        Self { sets: [0; 4], weights: [0; 4], ln_s: 0.0, last_slot: 0 }
    }

    /// The evidence gathered against what signs for this key, in nats, at this slot.
    pub fn ln_s(&self, slot: u64, scope: Scope) -> f32 {
        let last = u64::from(self.last_slot);
        let is_old = slot.saturating_sub(last) > EXPIRES_AFTER_SLOTS;
        if last < scope.since_slot || is_old && self.ln_s >= MAY_REFUSE {
            return 0.0;
        }
        self.ln_s.max(0.0)
    }

    /// What [`ln_s`](Self::ln_s) would be after this set: asked before a signature is released.
    pub fn ln_s_with(
        &self,
        key: u32,
        set: ShareSet,
        cluster: &Cluster,
        slot: u64,
        scope: Scope,
    ) -> f32 {
        let before = self.ln_s(slot, scope);
        if scope.rests {
            return before;
        }
        step(before, self.ln_e(key, set, cluster)).max(0.0)
    }

    /// The sets that it has used of late, with their weights.
    pub fn recent(&self) -> impl Iterator<Item = (ShareSet, f32)> {
        let weights = self.weights.iter().map(|weight| f32::from(*weight) / WEIGHT_ONE);
        let all = self.sets.iter().map(|set| ShareSet(*set)).zip(weights);
        all.filter(|(_, weight)| *weight > 0.0)
    }

    /// Learns from a released signature whose set is known and was not the gate's choice.
    pub fn learn(
        &mut self,
        key: u32,
        set: ShareSet,
        cluster: &mut Cluster,
        slot: u64,
        scope: Scope,
    ) {
        self.ln_s = self.ln_s_with(key, set, cluster, slot, scope);
        self.last_slot = short_slot(slot);
        for weight in &mut self.weights {
            *weight = (f32::from(*weight) * KEY_DECAY) as u16;
        }
        let known = (0..4).find(|place| self.sets[*place] == set.0 && self.weights[*place] > 0);
        let lightest = || (0..4).min_by_key(|place| self.weights[*place]).unwrap_or(0);
        let place = known.unwrap_or_else(lightest);
        let before = if known.is_some() { self.weights[place] } else { 0 };
        self.sets[place] = set.0;
        self.weights[place] = before + WEIGHT_ONE as u16;
        cluster.learn(key, set);
    }

    /// The key's own prediction against the cluster's, before either has learned from the event.
    fn ln_e(&self, key: u32, set: ShareSet, cluster: &Cluster) -> f32 {
        let (mut own, mut all) = (0.0, 0.0);
        for (recent, weight) in self.recent() {
            all += weight;
            own += if recent == set { weight } else { 0.0 };
        }
        let p0 = cluster.probability(set, own, all);
        let q = (own + PRIOR_WEIGHT * p0) / (all + PRIOR_WEIGHT);
        let ln_e = (q / p0).ln().min(LN_E_MAX);
        if cluster.can_tell(key, set) { ln_e } else { ln_e.min(0.0) }
    }

    /// As it is kept on disk.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        for place in 0..4 {
            out[place * 4..][..4].copy_from_slice(&self.sets[place].to_le_bytes());
            out[16 + place * 2..][..2].copy_from_slice(&self.weights[place].to_le_bytes());
        }
        out[24..28].copy_from_slice(&self.ln_s.to_le_bytes());
        out[28..32].copy_from_slice(&self.last_slot.to_le_bytes());
        out
    }

    /// From disk; `None` when garbled.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let mut state = Self::new();
        for set in &mut state.sets {
            *set = bytes.u32()?;
        }
        for weight in &mut state.weights {
            // A sum with one event more has to fit.
            *weight = bytes.u16().filter(|weight| f32::from(*weight) < 7.0 * WEIGHT_ONE)?;
        }
        state.ln_s = bytes.f32().filter(|ln_s| *ln_s <= LN_S_MAX)?;
        state.last_slot = bytes.u32()?;
        Some(state)
    }
}

/// The sets of a key group over its last 2,000 events.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    sets: Vec<(u32, f32)>,   // set, weight; at most SETS_MAX
    total: f32,              // of all weights, those of sets that were pushed out included
    novel: f32,              // of events whose set was not told apart
    unit: f32,               // the weight of the next event: it grows, the older ones shrink by it
    events: u32,             // saturating
    bits: [u64; 16],         // keys since they were last counted, by hash
    counting: u16,           // events since then
    keys: f32,               // the last count, 0 before the first
    latest: Vec<(u32, u32)>, // key, set; the latest of each key, at most KEYS_MAX, oldest first
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            sets: Vec::new(),
            total: 0.0,
            novel: 0.0,
            unit: 1.0,
            events: 0,
            bits: [0; 16],
            counting: 0,
            keys: 0.0,
            latest: Vec::new(),
        }
    }
}

impl Cluster {
    /// How probable a set is in this cluster, or any set that it does not know, for a key that has
    /// `own` of its `all` recent events with this set. What the key itself did is left out: in a
    /// small cluster it would soon explain itself.
    pub(super) fn probability(&self, set: ShareSet, own: f32, all: f32) -> f32 {
        let total = self.total / self.unit;
        if total <= 0.0 {
            return 1.0;
        }
        let known = self.sets.iter().find(|(known, _)| *known == set.0);
        let weight = known.map_or(self.novel, |(_, weight)| *weight) / self.unit;
        // The cluster has forgotten some of what the key remembers, the more so the more keys.
        let kept = if self.keys > 0.0 { total * (1.0 - KEY_DECAY) / self.keys } else { 0.0 };
        let kept = kept.min(1.0);
        let of_others = (total - kept * all).max(0.0);
        let of_set = (weight - kept * own).clamp(0.0, of_others);
        ((of_set + PSEUDO_EVENT) / (of_others + PSEUDO_EVENT)).max(P0_MIN)
    }

    /// Counts the keys that sign, by how many bits they leave unset.
    fn count(&mut self, key: u32) {
        let hash = u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let bit = hash % COUNTED_BITS;
        self.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        self.counting += 1;
        if self.counting < COUNTED_EVENTS {
            return;
        }
        let set: u32 = self.bits.iter().map(|bits| bits.count_ones()).sum();
        let unset = (COUNTED_BITS - u64::from(set)).max(1);
        self.keys = (COUNTED_BITS as f32 * (COUNTED_BITS as f32 / unset as f32).ln()).max(1.0);
        (self.bits, self.counting) = ([0; 16], 0);
    }

    /// Whether it knows enough, and does not itself move to this set: then nothing is odd about a
    /// key that does.
    fn can_tell(&self, key: u32, set: ShareSet) -> bool {
        let others = self.latest.iter().filter(|(other, _)| *other != key);
        let (mut all, mut alike) = (0, 0);
        for (_, latest) in others {
            all += 1;
            alike += usize::from(*latest == set.0);
        }
        self.events >= WARM_UP_EVENTS && all >= OTHERS_MIN && alike * 2 < all
    }

    fn learn(&mut self, key: u32, set: ShareSet) {
        self.events = self.events.saturating_add(1);
        self.count(key);
        self.total += self.unit;
        if let Some((_, weight)) = self.sets.iter_mut().find(|(known, _)| *known == set.0) {
            *weight += self.unit;
        } else {
            self.novel += self.unit;
            if self.sets.len() == SETS_MAX {
                self.sets.swap_remove(least(&self.sets));
            }
            self.sets.push((set.0, self.unit));
        }
        if let Some(place) = self.latest.iter().position(|(known, _)| *known == key) {
            self.latest.remove(place);
        } else if self.latest.len() == KEYS_MAX {
            self.latest.remove(0);
        }
        self.latest.push((key, set.0));
        self.unit /= CLUSTER_DECAY;
        if self.unit > 1e6 {
            self.rescale();
        }
    }

    fn rescale(&mut self) {
        for (_, weight) in &mut self.sets {
            *weight /= self.unit;
        }
        self.total /= self.unit;
        self.novel /= self.unit;
        self.unit = 1.0;
    }

    /// As it is kept on disk.
    pub fn put(&self, out: &mut Vec<u8>) {
        for value in [self.total, self.novel, self.unit] {
            out.extend(value.to_le_bytes());
        }
        out.extend(self.events.to_le_bytes());
        out.extend(self.counting.to_le_bytes());
        out.extend(self.keys.to_le_bytes());
        self.bits.iter().for_each(|bits| out.extend(bits.to_le_bytes()));
        out.extend([self.sets.len() as u8, self.latest.len() as u8]);
        for (set, weight) in &self.sets {
            out.extend(set.to_le_bytes());
            out.extend(weight.to_le_bytes());
        }
        for (key, set) in &self.latest {
            out.extend(key.to_le_bytes());
            out.extend(set.to_le_bytes());
        }
    }

    /// From the front of `bytes`, which is moved on; `None` when garbled.
    pub fn take(bytes: &mut &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let mut cluster = Self {
            total: reader.f32()?,
            novel: reader.f32()?,
            unit: reader.f32().filter(|unit| *unit >= 1.0)?,
            events: reader.u32()?,
            counting: reader.u16().filter(|counting| *counting < COUNTED_EVENTS)?,
            keys: reader.f32()?,
            ..Self::default()
        };
        for bits in &mut cluster.bits {
            *bits = reader.u64()?;
        }
        let (sets, latest) = (usize::from(reader.u8()?), usize::from(reader.u8()?));
        if sets > SETS_MAX || latest > KEYS_MAX {
            return None;
        }
        for _ in 0..sets {
            cluster.sets.push((reader.u32()?, reader.f32()?));
        }
        for _ in 0..latest {
            cluster.latest.push((reader.u32()?, reader.u32()?));
        }
        *bytes = reader.0;
        Some(cluster)
    }
}

/// The place of the entry with the least weight.
fn least(sets: &[(u32, f32)]) -> usize {
    let weights = sets.iter().map(|(_, weight)| *weight).enumerate();
    weights.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(place, _)| place)
}
