//! Whether somebody is alive, by how much it asks for. Being seen at all is not enough: one
//! straggler key kept a dead client "alive" in the measurements (behaviour page, 6.4).

use crate::Moment;
use crate::bytes::{Reader, Writer};
use crate::settings::Chain;
use crate::table::Row;

/// How many complete slots are remembered.
const SLOTS: usize = 16;
/// Attestations that the slots looked at should have held: with fewer, silence is chance.
const EXPECTED: f32 = 16.0;
/// The part of them that shows life.
const ALIVE_PART: f32 = 0.3;
/// Slots before the usual volume is believed.
const WARM_SLOTS: u64 = 64;
/// The slots over which the usual volume is averaged: half of it is forgotten in 18 minutes.
const AVERAGED_SLOTS: f32 = 128.0;
/// Slots after the gate came back in which missing attestations mean nothing.
const BACK_SLOTS: u64 = SLOTS as u64;
/// A source of few keys is alive while it was seen within so many of its mean gaps...
const GAPS: f32 = 12.0;
/// ...but at least and at most within this time, in milliseconds.
const SEEN_WITHIN_MS: (f32, f32) = (24_000.0, 768_000.0);

/// Since when the gate has been there without a break; zeros where it always was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Back {
    pub(crate) slot: u64,
    pub(crate) unix_ms: u64,
}

/// How much somebody asks for, slot by slot. Attestations alone are counted, for they alone are
/// spread evenly over the slots; everything shows that somebody is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Volume {
    slot: u64,
    /// The present slot's attestations.
    now: u32,
    /// Those of the complete slots before it, the last one first.
    past: [u16; SLOTS],
    usual: f32,
    slots: u64,
    last_ms: u64,
    /// Keys whose lease it has, and had when it last asked: each attests once an epoch at most, so
    /// that nobody is held dead for not asking for keys that have moved elsewhere.
    leases: u32,
    leases_then: Option<u32>,
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            slot: 0,
            now: 0,
            past: [0; SLOTS],
            usual: 0.0,
            slots: 0,
            last_ms: 0,
            leases: 0,
            leases_then: None,
        }
    }
}

impl Volume {
    /// Somebody asks for something.
    pub(crate) fn asked(&mut self, at: Moment, is_attestation: bool) {
        self.roll(at.slot);
        self.now += u32::from(is_attestation);
        self.last_ms = self.last_ms.max(at.unix_ms);
        self.leases_then = self.leases_then.map(|_| self.leases);
    }

    /// When it last asked for anything, in milliseconds of Unix time.
    pub(crate) fn last_ms(&self) -> u64 {
        self.last_ms
    }

    /// It gains a lease, or loses one.
    pub(crate) fn leases(&mut self, gains: bool) {
        self.leases = self.leases.saturating_add_signed(if gains { 1 } else { -1 });
        let gained = if gains { self.leases } else { 0 };
        self.leases_then = Some(self.leases_then.unwrap_or(0).max(gained));
    }

    fn roll(&mut self, slot: u64) {
        if self.last_ms == 0 {
            self.slot = slot;
        }
        let passed = slot.saturating_sub(self.slot);
        if passed == 0 {
            return;
        }
        for place in 0..passed.min(SLOTS as u64) {
            self.past.rotate_right(1);
            let now = if place == 0 { self.now } else { 0 };
            self.past[0] = u16::try_from(now).unwrap_or(u16::MAX);
        }
        let weight = (self.slots as f32 + 1.0).min(AVERAGED_SLOTS);
        self.usual += (self.now as f32 - self.usual) / weight;
        self.usual *=
            (1.0 - 1.0 / AVERAGED_SLOTS).powi(i32::try_from(passed - 1).unwrap_or(i32::MAX));
        self.slots += passed;
        self.now = 0;
        self.slot = slot;
    }

    /// Whether it is there at this moment; `None` while the gate has not been back for long enough
    /// to tell.
    pub(crate) fn is_alive(&self, at: Moment, chain: &Chain, back: Back) -> Option<bool> {
        let quiet_ms = at.unix_ms.saturating_sub(self.last_ms.max(back.unix_ms)) as f32;
        if quiet_ms > SEEN_WITHIN_MS.1 {
            return Some(false);
        }
        let was_seen = (self.last_ms >= back.unix_ms).then_some(true);
        if self.slots < WARM_SLOTS {
            return was_seen;
        }
        let leases = self.leases_then.map_or(f32::MAX, |leases| leases as f32);
        let usual = self.usual.min(leases / chain.slots_per_epoch.max(1) as f32);
        let window = (EXPECTED / usual.max(0.01)).ceil().max(2.0);
        if window > SLOTS as f32 {
            let gap_ms = chain.slot_ms as f32 / usual.max(0.001);
            let limit_ms = (GAPS * gap_ms).clamp(SEEN_WITHIN_MS.0, SEEN_WITHIN_MS.1);
            return if quiet_ms > limit_ms { Some(false) } else { was_seen };
        }
        let window = window as usize;
        let needed = ALIVE_PART * usual * window as f32;
        let complete: u32 = self.counts(at.slot).skip(1).take(window).sum();
        let with_present: u32 = self.counts(at.slot).take(window).sum();
        let is_there = complete.max(with_present) as f32 >= needed;
        let may_tell = back.unix_ms == 0 || at.slot >= back.slot + BACK_SLOTS;
        (is_there || may_tell).then_some(is_there)
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
        out.u64(self.slots);
        out.u64(self.last_ms);
        out.u32(self.leases);
        out.u32(self.leases_then.unwrap_or(u32::MAX));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            slot: from.u64()?,
            now: from.u32()?,
            past: from.all_u16()?,
            usual: from.f32().filter(|usual| usual.is_finite())?,
            slots: from.u64()?,
            last_ms: from.u64()?,
            leases: from.u32()?,
            leases_then: Some(from.u32()?).filter(|leases| *leases != u32::MAX),
        })
    }
}
