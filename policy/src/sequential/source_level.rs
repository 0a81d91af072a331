//! When a whole source signs, against the sources of its class in the same slot.
//!
//! The keys of a client that is late are late together, and no key of it stands out. Its median is
//! compared with that of its class (those that sign when the block is there, or those that wait for
//! the deadline: as they have shown), or with the deadline where the class is too small. What is
//! usual differs between slots whose block came before the deadline and those where the deadline
//! was waited for: each has its own baseline. Most sources of a class at once are the network, not
//! a source.

use super::shifts::{BETS, Shifts, together};
use super::timing::SourceTiming;
use super::{Bytes, LN_S_MAX, Scope};

/// Slots whose mean is the origin that a baseline's null is counted from.
const ORIGIN_SLOTS: u32 = 16;

/// Slots before a baseline counts.
const WARM_UP_SLOTS: u32 = 300;

/// Other sources of a class without which it has no median that one of them cannot move.
const OTHERS_MIN: usize = 3;

/// The weight of a slot in whether a source signs before the deadline: hours, longer than blocks
/// are late or missing.
const EARLY_RATE: f32 = 1.0 / 1_024.0;

/// The share of slots in which it has to sign before the deadline to be one that waits for blocks.
const EARLY_SHARE: f32 = 0.25;

/// Slots before a source has a class.
const CLASS_SLOTS: u32 = 64;

/// A slot is one with an early block where the median lies so far before the deadline, in ms.
const EARLY_MS: f32 = 100.0;

/// Slots within which the sources of a class alarm together.
const TOGETHER_SLOTS: u64 = 2;

/// Slots after which a source that signed nothing does not count among those of its class.
const ACTIVE_SLOTS: u64 = 64;

/// A slot that a source has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) slot: u64,
    pub(super) median_ms: u16,
    pub(super) due_ms: u32,
}

/// Where a source stands, as differences from an origin that stays: were it to follow the source,
/// all that was seen before would come to lie elsewhere.
#[derive(Clone, Debug, PartialEq)]
struct Baseline {
    slots: u32, // saturating
    origin_ms: f32,
    null: Shifts,
}

impl Baseline {
    const fn new() -> Self {
        Self { slots: 0, origin_ms: 0.0, null: Shifts::new() }
    }

    /// Whether its null is known.
    const fn is_warm(&self) -> bool {
        self.slots >= WARM_UP_SLOTS
    }

    /// Learns from a slot.
    fn learn(&mut self, off_ms: f32) {
        self.slots = self.slots.saturating_add(1);
        if self.slots <= ORIGIN_SLOTS {
            self.origin_ms += off_ms / self.slots as f32;
        } else {
            self.null.add(off_ms);
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.slots.to_le_bytes());
        out.extend(self.origin_ms.to_le_bytes());
        self.null.put(out);
    }

    fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self { slots: bytes.u32()?, origin_ms: bytes.f32()?, null: Shifts::take(bytes)? })
    }
}

/// The test of a whole source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceLevel {
    baselines: [Baseline; 4], // against the class or the deadline, early block or not
    slots: u32,               // saturating
    early: f32,               // the share of them before the deadline
    ln_s: [f32; BETS],
    tested_slot: u64,
    is_open: bool, // an incident: one for each time that the evidence rises, not one a slot
}

impl Default for SourceLevel {
    fn default() -> Self {
        let baselines = [const { Baseline::new() }; 4];
        Self { baselines, slots: 0, early: 0.0, ln_s: [0.0; BETS], tested_slot: 0, is_open: false }
    }
}

/// What a source waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The deadline.
    Timer,
    /// The block, and the deadline where it does not come.
    Block,
}

/// A source that does not sign when it usually does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Incident {
    /// The source's token.
    pub source: u32,
    /// Its class.
    pub class: Class,
    /// The slot in which the evidence was enough.
    pub slot: u64,
    /// The evidence, in nats.
    pub ln_s: f32,
    /// How far its median in this slot stood from where it usually does, in milliseconds.
    pub late_ms: f32,
    /// Whether most sources of the class did the same: then it is the network's doing.
    pub is_network_event: bool,
}

impl SourceLevel {
    /// The evidence gathered that the source does not sign when it usually does, in nats.
    pub fn ln_s(&self, scope: Scope) -> f32 {
        together(&self.before(scope))
    }

    fn before(&self, scope: Scope) -> [f32; BETS] {
        if self.tested_slot < scope.since_slot { [0.0; BETS] } else { self.ln_s }
    }

    /// Its class, once it has shown it.
    pub(super) const fn class(&self) -> Option<Class> {
        match () {
            () if self.slots < CLASS_SLOTS => None,
            () if self.early >= EARLY_SHARE => Some(Class::Block),
            () => Some(Class::Timer),
        }
    }

    /// One slot more: by how much the source stood off, where that is enough evidence now.
    fn test(
        &mut self,
        closed: Closed,
        class_ms: Option<f32>,
        limit: f32,
        scope: Scope,
    ) -> Option<f32> {
        let (own, due) = (f32::from(closed.median_ms), closed.due_ms as f32);
        self.slots = self.slots.saturating_add(1);
        let was_early = if own < due - EARLY_MS { 1.0 } else { 0.0 };
        self.early += EARLY_RATE.max(1.0 / self.slots as f32) * (was_early - self.early);
        let is_early = class_ms.unwrap_or(own) < due - EARLY_MS;
        let place = usize::from(class_ms.is_none()) * 2 + usize::from(is_early);
        self.ln_s = self.before(scope);
        self.tested_slot = closed.slot;
        let baseline = &mut self.baselines[place];
        let off = own - class_ms.unwrap_or(due) - baseline.origin_ms;
        if baseline.is_warm() && !scope.rests {
            baseline.null.step(&mut self.ln_s, off);
        }
        baseline.learn(off);
        let (now, was_open) = (self.ln_s(scope), self.is_open);
        self.is_open = now >= limit || was_open && now > 0.0;
        (self.is_open && !was_open).then(|| off - self.baselines[place].null.median_ms())
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.baselines.iter().for_each(|baseline| baseline.put(out));
        out.extend(self.slots.to_le_bytes());
        out.extend(self.early.to_le_bytes());
        self.ln_s.iter().for_each(|ln_s| out.extend(ln_s.to_le_bytes()));
        out.extend(self.tested_slot.to_le_bytes());
        out.push(u8::from(self.is_open));
    }

    pub(super) fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let mut level = Self::default();
        for baseline in &mut level.baselines {
            *baseline = Baseline::take(bytes)?;
        }
        level.slots = bytes.u32()?;
        level.early = bytes.f32()?;
        for ln_s in &mut level.ln_s {
            *ln_s = bytes.f32().filter(|ln_s| *ln_s <= LN_S_MAX)?;
        }
        level.tested_slot = bytes.u64()?;
        level.is_open = bytes.u8()? == 1;
        Some(level)
    }
}

/// One slot of all sources: first [`note`](Self::note) each, then [`sort`](Self::sort) once, then
/// [`test`](Self::test) each.
#[derive(Clone, Debug)]
pub struct Round {
    slot: u64,
    medians: Vec<(Class, u16)>,
    active: Vec<Class>, // the class of each source that signed of late
}

impl Round {
    /// For the slot before the present one.
    pub const fn ended_before(present_slot: u64) -> Self {
        Self { slot: present_slot.saturating_sub(1), medians: Vec::new(), active: Vec::new() }
    }

    /// Ends the slot for a source and counts it among its class, once it has one.
    pub fn note(&mut self, source: &mut SourceTiming) {
        let Some(closed) = source.close(self.slot + 1) else { return };
        let Some(class) = source.level.class() else { return };
        if closed.slot == self.slot {
            self.medians.push((class, closed.median_ms));
        }
        if self.slot.saturating_sub(closed.slot) <= ACTIVE_SLOTS {
            self.active.push(class);
        }
    }

    /// All sources are noted.
    pub fn sort(&mut self) {
        self.medians.sort_unstable();
        self.active.sort_unstable();
    }

    /// Tests a source that was noted. An incident where the evidence has come to be enough.
    pub fn test(
        &self,
        token: u32,
        source: &mut SourceTiming,
        limit: f32,
        scope: Scope,
    ) -> Option<Incident> {
        let closed = source.close(self.slot + 1).filter(|closed| closed.slot == self.slot)?;
        let class = source.level.class();
        let class_ms = class.and_then(|class| self.others_median(class, closed.median_ms));
        let late_ms = source.level.test(closed, class_ms, limit, scope)?;
        Some(Incident {
            source: token,
            class: class?,
            slot: self.slot,
            ln_s: source.level.ln_s(scope),
            late_ms,
            is_network_event: false,
        })
    }

    /// The median of the other sources of a class, where they are enough.
    fn others_median(&self, class: Class, own: u16) -> Option<f32> {
        let from = self.medians.partition_point(|entry| entry.0 < class);
        let until = self.medians.partition_point(|entry| entry.0 <= class);
        let all = &self.medians[from..until];
        let others = all.len().saturating_sub(1);
        if others < OTHERS_MIN {
            return None;
        }
        let at = all.partition_point(|entry| entry.1 < own);
        let other = |place: usize| f32::from(all[place + usize::from(place >= at)].1);
        Some((other((others - 1) / 2) + other(others / 2)) / 2.0)
    }

    pub(super) fn active(&self, class: Class) -> usize {
        let from = self.active.partition_point(|other| *other < class);
        self.active.partition_point(|other| *other <= class) - from
    }
}

/// Incidents wait two slots before they are told, to see whether the whole class has one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incidents {
    waiting: Vec<Incident>,
}

impl Incidents {
    /// Takes those of this round, and gives those whose time is up.
    pub fn settle(&mut self, round: &Round, new: Vec<Incident>) -> Vec<Incident> {
        self.waiting.extend(new);
        let classes: Vec<Class> = self.waiting.iter().map(|incident| incident.class).collect();
        for incident in &mut self.waiting {
            let alike = classes.iter().filter(|class| **class == incident.class).count();
            // With one source of two there is no telling which of them is the network.
            incident.is_network_event |= alike > 1 && alike * 2 >= round.active(incident.class);
        }
        let is_up = |incident: &Incident| round.slot >= incident.slot + TOGETHER_SLOTS;
        let network: Vec<Class> = self
            .waiting
            .iter()
            .filter(|i| is_up(i) && i.is_network_event)
            .map(|incident| incident.class)
            .collect();
        let is_due = |incident: &Incident| is_up(incident) || network.contains(&incident.class);
        let (due, waiting) = self.waiting.drain(..).partition(is_due);
        self.waiting = waiting;
        due
    }

    /// As it is kept on disk.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend((self.waiting.len() as u32).to_le_bytes());
        for incident in &self.waiting {
            out.extend(incident.source.to_le_bytes());
            out.push(u8::from(incident.class == Class::Block));
            out.extend(incident.slot.to_le_bytes());
            out.extend(incident.ln_s.to_le_bytes());
            out.extend(incident.late_ms.to_le_bytes());
            out.push(u8::from(incident.is_network_event));
        }
    }

    /// From the front of `bytes`, which is moved on; `None` when garbled.
    pub fn take(bytes: &mut &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let mut waiting = Vec::new();
        for _ in 0..reader.u32()? {
            waiting.push(Incident {
                source: reader.u32()?,
                class: if reader.u8()? == 1 { Class::Block } else { Class::Timer },
                slot: reader.u64()?,
                ln_s: reader.f32()?,
                late_ms: reader.f32()?,
                is_network_event: reader.u8()? == 1,
            });
        }
        *bytes = reader.0;
        Some(Self { waiting })
    }
}
