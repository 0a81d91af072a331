//! When in the slot a key signs, against the other keys of the same source in the same slot.
//!
//! Raw times say little: a client that waits for the block moves all its keys along with it. What
//! is tested is how far a key stands from the running median of its source in this slot, less where
//! this very key usually stands, in units of its own spread, against what the source's keys showed
//! while the source was as unsteady as now. It is a hunting aid and an explanation: it never
//! refuses, for it raises its hand hundreds of times more often than its bound says (6.4, no. 7).

use super::histogram::Histogram;
use super::source_level::{Class, Closed, SourceLevel};
use super::{Bytes, LN_S_MAX, Scope, ln_e, short_slot, step};
use crate::{Message, Observation};

/// The weight of an event in a key's location.
const LOCATION_RATE: f32 = 0.03;

/// The weight of an event in a key's spread: slower, so that an attack does not buy itself room.
const SCALE_RATE: f32 = 1.0 / 256.0;

/// How far from its source's median a key's usual place may be, in milliseconds: it cannot follow
/// a drift for ever.
const LOCATION_MAX_MS: f32 = 75.0;

/// Times are in whole milliseconds: no key is steadier than this.
const SCALE_MIN_MS: f32 = 2.0;

/// What an event may weigh in location and spread, in spreads.
const CLIP_SCALES: f32 = 4.0;

/// The smallest p' of the test.
const P_MIN: f32 = 1e-4;

/// Events (epochs) before a key's location counts.
const KEY_WARM_UP: u16 = 20;

/// Events of a source, as unsteady as now, before its keys are tested.
const SOURCE_WARM_UP: u32 = 2_000;

/// Signatures of the same source in the same slot before the next one has a median to stand by.
const PRIOR_MIN: u16 = 3;

/// Slots for which the last slot of a source stands in for too few votes of the present one.
const LAST_SLOTS: u64 = 2;

/// Events at another source after which a key has moved there and its place is learned anew.
const MOVES_AFTER: u8 = 3;

/// The spreads of a source, in milliseconds, below which it is in the first, second, third state.
const DISPERSION_MS: [f32; 3] = [15.0, 40.0, 120.0];

/// The weight of an event in what a source's spread is now.
const DISPERSION_RATE: f32 = 0.15;

/// How far a key's usual place has to have moved to be told, in milliseconds; it is told again
/// when it was back within half of it.
const DRIFT_MS: f32 = 50.0;

/// Epochs for which the place that later ones are compared with stands: 28 days.
const ANCHOR_EPOCHS: u32 = 6_300;

/// The usual place of one key in its source's slot. 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KeyTiming {
    pub(super) location_ms: f32,
    pub(super) scale_ms: f32,
    pub(super) ln_s: f32,
    anchor_ms: f32,
    anchored_epoch: u32,
    pub(super) last_slot: u32,
    pub(super) source: u32, // token; 0: none yet
    n: u16,
    away: u8,      // events in a row at another source
    is_told: bool, // that it has moved away from its anchor
}

impl KeyTiming {
    /// The length of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 31;

    /// A key of which nothing is known.
    pub const fn new() -> Self {
        Self {
            location_ms: 0.0,
            scale_ms: 0.0,
            ln_s: 0.0,
            anchor_ms: 0.0,
            anchored_epoch: 0,
            last_slot: 0,
            source: 0,
            n: 0,
            away: 0,
            is_told: false,
        }
    }

    /// The evidence gathered that this key does not sign when it usually does, in nats.
    pub fn ln_s(&self, scope: Scope) -> f32 {
        if u64::from(self.last_slot) < scope.since_slot { 0.0 } else { self.ln_s.max(0.0) }
    }

    /// Where it usually stands in its source's slot, in milliseconds after the median of those
    /// before it, and its spread; `None` while that is not known.
    pub fn place_ms(&self) -> Option<(f32, f32)> {
        (self.n >= KEY_WARM_UP).then_some((self.location_ms, self.scale_ms))
    }

    /// How far its usual place has moved since it was last written down, in milliseconds: more than
    /// 50 is worth an event (behaviour page, 4.5).
    pub fn drift_ms(&self) -> f32 {
        if self.anchored_epoch == 0 { 0.0 } else { self.location_ms - self.anchor_ms }
    }

    /// Whether its usual place is one at this source; what it shows elsewhere is not compared.
    fn is_at(&mut self, source: u32) -> bool {
        if self.source == source {
            self.away = 0;
            return true;
        }
        self.away = (self.away + 1).min(MOVES_AFTER);
        if self.source != 0 && self.away < MOVES_AFTER {
            return false;
        }
        *self = Self { source, last_slot: self.last_slot, ..Self::new() };
        true
    }

    /// Learns where it stood; by how much its usual place has moved, where that is news.
    fn learn(&mut self, offset_ms: f32, epoch: u64) -> Option<f32> {
        self.n = self.n.saturating_add(1);
        let is_warm = self.n > KEY_WARM_UP;
        let first = 1.0 / f32::from(self.n);
        let clip = if is_warm { CLIP_SCALES * self.scale() } else { f32::MAX };
        let off = (offset_ms - self.location_ms).clamp(-clip, clip);
        let location = self.location_ms + first.max(LOCATION_RATE) * off;
        self.location_ms = location.clamp(-LOCATION_MAX_MS, LOCATION_MAX_MS);
        self.scale_ms += first.max(SCALE_RATE) * (off.abs() - self.scale_ms);
        let epoch = short_slot(epoch);
        let is_old = epoch.saturating_sub(self.anchored_epoch) >= ANCHOR_EPOCHS;
        if self.n == KEY_WARM_UP || is_warm && is_old {
            (self.anchor_ms, self.anchored_epoch) = (self.location_ms, epoch.max(1));
        }
        let drift_ms = self.drift_ms();
        let was_told = self.is_told;
        self.is_told = drift_ms.abs() > if was_told { DRIFT_MS / 2.0 } else { DRIFT_MS };
        (self.is_told && !was_told).then_some(drift_ms)
    }

    fn scale(&self) -> f32 {
        self.scale_ms.max(SCALE_MIN_MS)
    }

    /// As it is kept on disk.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let floats = [self.location_ms, self.scale_ms, self.ln_s, self.anchor_ms];
        let words = [self.anchored_epoch, self.last_slot, self.source];
        let fours = floats.map(f32::to_le_bytes).into_iter().chain(words.map(u32::to_le_bytes));
        for (place, four) in fours.enumerate() {
            out[place * 4..][..4].copy_from_slice(&four);
        }
        out[28..30].copy_from_slice(&self.n.to_le_bytes());
        out[30] = self.away | u8::from(self.is_told) << 7;
        out
    }

    /// From disk; `None` when garbled.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let mut state = Self {
            location_ms: bytes.f32().filter(|ms| ms.abs() <= LOCATION_MAX_MS)?,
            scale_ms: bytes.f32().filter(|ms| *ms >= 0.0)?,
            ln_s: bytes.f32().filter(|ln_s| *ln_s <= LN_S_MAX)?,
            anchor_ms: bytes.f32().filter(|ms| ms.abs() <= LOCATION_MAX_MS)?,
            anchored_epoch: bytes.u32()?,
            last_slot: bytes.u32()?,
            source: bytes.u32()?,
            n: bytes.u16()?,
            away: bytes.u8()?,
            is_told: false,
        };
        (state.is_told, state.away) = (state.away >> 7 == 1, state.away & 0x7f);
        Some(state)
    }
}

/// When a source signs: its present slot, its nulls, and the test of itself. 5 KB.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTiming {
    in_slot: InSlot,
    closed: Option<Closed>,
    pub(super) dispersion_ms: f32,
    /// By how unsteady the source is: how far off its keys were, in their own spreads.
    pub(super) nulls: [Histogram<-6>; 4],
    pub(super) level: SourceLevel,
}

impl Default for SourceTiming {
    fn default() -> Self {
        Self {
            in_slot: InSlot::default(),
            closed: None,
            dispersion_ms: 0.0,
            nulls: [const { Histogram::new() }; 4],
            level: SourceLevel::default(),
        }
    }
}

impl SourceTiming {
    /// Learns from a released signature of this source, for the key whose usual place is `key`.
    /// Looks at first votes of the present slot alone: they are what a slot's beat is made of.
    /// `source` is the token that tells this source from others, never 0. Gives by how much the
    /// key's usual place has moved in 28 days, in milliseconds, where that is news.
    pub fn learn(
        &mut self,
        key: &mut KeyTiming,
        source: u32,
        seen: &Observation,
        scope: Scope,
    ) -> Option<f32> {
        let Message::Attestation { slot, .. } = seen.message else { return None };
        if slot != seen.at.slot || seen.is_repeat {
            return None;
        }
        self.close(slot);
        if self.in_slot.slot > slot {
            return None; // of a slot that was ended meanwhile
        }
        self.in_slot.due_ms = seen.due_ms;
        let median = self.median();
        self.in_slot.insert(seen.at.into_slot_ms.min(u32::from(u16::MAX)) as u16);
        let median = median?;
        if !key.is_at(source) {
            return None;
        }
        let offset = seen.at.into_slot_ms as f32 - f32::from(median);
        let off = (offset - key.location_ms).abs();
        if key.n >= KEY_WARM_UP {
            let null = &mut self.nulls[dispersion(self.dispersion_ms)];
            let magnitude = off / key.scale();
            let before = key.ln_s(scope);
            if null.total() >= SOURCE_WARM_UP && !scope.rests {
                key.ln_s = step(before, ln_e(null.p_value(magnitude), P_MIN));
            } else {
                key.ln_s = before;
            }
            null.add(magnitude);
        }
        self.dispersion_ms += DISPERSION_RATE * (off - self.dispersion_ms);
        key.last_slot = short_slot(slot);
        key.learn(offset, seen.at.epoch)
    }

    /// What a vote of this slot is compared with: the votes before it, or where they are too few
    /// and the source waits for the deadline, and not for the block, the slot before.
    fn median(&self) -> Option<u16> {
        if self.in_slot.seen >= PRIOR_MIN {
            return self.in_slot.median();
        }
        let last = self.closed.filter(|last| {
            let is_alike = last.due_ms == self.in_slot.due_ms;
            is_alike && last.slot + LAST_SLOTS >= self.in_slot.slot
        })?;
        (self.level.class() == Some(Class::Timer)).then_some(last.median_ms)
    }

    /// Ends what is before this slot, and gives the last slot that was ended.
    pub(super) fn close(&mut self, slot: u64) -> Option<Closed> {
        if self.in_slot.slot < slot {
            let ended = std::mem::replace(&mut self.in_slot, InSlot { slot, ..InSlot::default() });
            if let Some(median_ms) = ended.median() {
                let InSlot { slot, due_ms, .. } = ended;
                self.closed = Some(Closed { slot, median_ms, due_ms });
            }
        }
        self.closed
    }

    /// The test of the whole source.
    pub const fn level(&self) -> &SourceLevel {
        &self.level
    }

    /// As it is kept on disk.
    pub fn put(&self, out: &mut Vec<u8>) {
        self.in_slot.put(out);
        let closed = self.closed.unwrap_or_default();
        out.push(u8::from(self.closed.is_some()));
        out.extend(closed.slot.to_le_bytes());
        out.extend(closed.median_ms.to_le_bytes());
        out.extend(closed.due_ms.to_le_bytes());
        out.extend(self.dispersion_ms.to_le_bytes());
        for null in &self.nulls {
            null.put(out);
        }
        self.level.put(out);
    }

    /// From the front of `bytes`, which is moved on; `None` when garbled.
    pub fn take(bytes: &mut &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let in_slot = InSlot::take(&mut reader)?;
        let has_closed = reader.u8()? == 1;
        let closed =
            Closed { slot: reader.u64()?, median_ms: reader.u16()?, due_ms: reader.u32()? };
        let dispersion_ms = reader.f32()?;
        let mut nulls = [const { Histogram::new() }; 4];
        for null in &mut nulls {
            *null = Histogram::take(&mut reader)?;
        }
        let level = SourceLevel::take(&mut reader)?;
        *bytes = reader.0;
        let closed = has_closed.then_some(closed);
        Some(Self { in_slot, closed, dispersion_ms, nulls, level })
    }
}

/// Which of the four states of a source this spread is.
fn dispersion(dispersion_ms: f32) -> usize {
    DISPERSION_MS.iter().filter(|bound| dispersion_ms >= **bound).count()
}

/// Times within a slot that are kept for its median; of more, every second, fourth, and so on.
const TIMES_MAX: usize = 64;

/// The times at which a source signed in its present slot.
#[derive(Clone, Copy, Debug, PartialEq)]
struct InSlot {
    slot: u64,
    due_ms: u32,
    times: [u16; TIMES_MAX], // sorted
    kept: u8,
    stride: u16, // one in so many is kept
    seen: u16,   // saturating
}

impl Default for InSlot {
    fn default() -> Self {
        Self { slot: 0, due_ms: 0, times: [0; TIMES_MAX], kept: 0, stride: 1, seen: 0 }
    }
}

impl InSlot {
    fn median(&self) -> Option<u16> {
        self.times[..usize::from(self.kept)].get(usize::from(self.kept) / 2).copied()
    }

    fn insert(&mut self, time: u16) {
        self.seen = self.seen.saturating_add(1);
        if !self.seen.is_multiple_of(self.stride) {
            return;
        }
        if usize::from(self.kept) == TIMES_MAX {
            for place in 0..TIMES_MAX / 2 {
                self.times[place] = self.times[place * 2];
            }
            self.kept = (TIMES_MAX / 2) as u8;
            self.stride = self.stride.saturating_mul(2);
        }
        let mut place = usize::from(self.kept); // they come in order, or nearly so
        while place > 0 && self.times[place - 1] > time {
            self.times[place] = self.times[place - 1];
            place -= 1;
        }
        self.times[place] = time;
        self.kept += 1;
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.slot.to_le_bytes());
        out.extend(self.due_ms.to_le_bytes());
        out.extend(self.stride.to_le_bytes());
        out.extend(self.seen.to_le_bytes());
        out.push(self.kept);
        for time in &self.times[..usize::from(self.kept)] {
            out.extend(time.to_le_bytes());
        }
    }

    fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (slot, due_ms) = (bytes.u64()?, bytes.u32()?);
        let stride = bytes.u16().filter(|stride| *stride > 0)?;
        let (seen, kept) = (bytes.u16()?, bytes.u8()?);
        let mut in_slot = Self { slot, due_ms, stride, seen, kept, ..Self::default() };
        for time in in_slot.times.get_mut(..usize::from(kept))? {
            *time = bytes.u16()?;
        }
        Some(in_slot)
    }
}
