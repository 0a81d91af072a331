//! Whether somebody is alive, by how much it asks for. Being seen at all is not enough: one
//! straggler key kept a dead client "alive" in the measurements (behaviour page, 6.4).

use crate::Moment;
use crate::bytes::{Reader, Writer};
use crate::table::Row;

/// How many complete slots are remembered.
const SLOTS: usize = 16;
/// Attestations that the slots looked at should have held: with fewer, silence is chance.
const EXPECTED: f32 = 16.0;
/// The part of them that shows life.
const ALIVE_PART: f32 = 0.3;
/// Slots before the usual volume is believed.
const WARM_SLOTS: u32 = 64;
/// The slots over which the usual volume is averaged: half of it is forgotten in 18 minutes.
const AVERAGED_SLOTS: f32 = 128.0;
/// A pause longer than this many slots counts as this many: the gate may have been away.
const PAUSE_SLOTS_MAX: u64 = 32;
/// A source of few keys is alive while it was seen within so many of its mean gaps...
const GAPS: f32 = 12.0;
/// ...but at least and at most within this time, in milliseconds.
const SEEN_WITHIN_MS: (f32, f32) = (24_000.0, 768_000.0);

/// How much somebody asks for, slot by slot. Attestations alone are counted, for they alone are
/// spread evenly over the slots; everything shows that somebody is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Volume {
    slot: u64,
    /// The present slot's attestations.
    now: u32,
    /// Those of the complete slots before it, the last one first.
    past: [u16; SLOTS],
    usual: f32,
    slots: u32,
    last_ms: u64,
}

impl Volume {
    /// Somebody asks for something.
    pub(crate) fn asked(&mut self, at: Moment, is_attestation: bool) {
        self.roll(at.slot);
        self.now += u32::from(is_attestation);
        self.last_ms = self.last_ms.max(at.unix_ms);
    }

    fn roll(&mut self, slot: u64) {
        if self.last_ms == 0 {
            self.slot = slot;
        }
        for _ in 0..slot.saturating_sub(self.slot).min(PAUSE_SLOTS_MAX) {
            let weight = (self.slots as f32 + 1.0).min(AVERAGED_SLOTS);
            self.usual += (self.now as f32 - self.usual) / weight;
            self.slots = self.slots.saturating_add(1);
            self.past.rotate_right(1);
            self.past[0] = u16::try_from(self.now).unwrap_or(u16::MAX);
            self.now = 0;
        }
        self.slot = self.slot.max(slot);
    }

    /// Whether it is there at this moment.
    pub(crate) fn is_alive(&self, at: Moment, slot_ms: u32) -> bool {
        let quiet_ms = at.unix_ms.saturating_sub(self.last_ms) as f32;
        if quiet_ms > SEEN_WITHIN_MS.1 {
            return false;
        }
        if self.slots < WARM_SLOTS {
            return true;
        }
        let window = (EXPECTED / self.usual.max(0.01)).ceil().max(2.0);
        if window > SLOTS as f32 {
            let gap_ms = slot_ms as f32 / self.usual.max(0.001);
            return quiet_ms <= (GAPS * gap_ms).clamp(SEEN_WITHIN_MS.0, SEEN_WITHIN_MS.1);
        }
        let window = window as usize;
        let needed = ALIVE_PART * self.usual * window as f32;
        let complete: u32 = self.counts(at.slot).skip(1).take(window).sum();
        let with_present: u32 = self.counts(at.slot).take(window).sum();
        complete.max(with_present) as f32 >= needed
    }

    /// The counts as they are at `slot`: the present one, and those before it.
    fn counts(&self, slot: u64) -> impl Iterator<Item = u32> {
        let passed = slot.saturating_sub(self.slot).min(SLOTS as u64 + 1) as usize;
        let past = self.past.iter().map(|count| u32::from(*count));
        std::iter::repeat_n(0, passed).chain(std::iter::once(self.now)).chain(past)
    }
}

impl Row for Volume {
    fn used_ms(&self) -> u64 {
        self.last_ms
    }

    fn write(&self, out: &mut Writer) {
        out.u64(self.slot);
        out.u32(self.now);
        out.all_u16(&self.past);
        out.f32(self.usual);
        out.u32(self.slots);
        out.u64(self.last_ms);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            slot: from.u64()?,
            now: from.u32()?,
            past: from.all_u16()?,
            usual: from.f32().filter(|usual| usual.is_finite())?,
            slots: from.u32()?,
            last_ms: from.u64()?,
        })
    }
}
