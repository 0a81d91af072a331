//! How many reveals, proposals and registrations a key group signs, against how much it attests.
//!
//! One key's budget is exact and needs no statistics; many keys that each sign a little more than
//! usual show up in the sum alone. Attestations are the exposure: a group that is down, or that
//! grows, changes both. Two alternatives are bet on, half as much again and four times as much.

use super::{Bytes, LN_S_MAX, Scope};

/// What is counted. Whoever counts leaves out what is asked for twice: the same reveal of several
/// beacon nodes, the same block again, and a key's first registration in an epoch (a client that
/// restarts registers all its keys; how often is not evidence, what is).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // the duties
pub enum Counted {
    RandaoReveal,
    Block,
    Registration,
}

impl Counted {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::RandaoReveal, Self::Block, Self::Registration];

    /// Its name in reasons.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RandaoReveal => "RANDAO reveals",
            Self::Block => "proposals",
            Self::Registration => "repeated registrations",
        }
    }
}

/// What the alternatives hold: the rate is so many times what is usual.
const TIMES: [f32; 2] = [1.5, 4.0];

/// One false alarm in ten years of slots, over both alternatives: ln(2 x 26.3 million).
const LIMIT: f32 = 17.8;

/// What was seen of a duty before more of it is tested. Repeated registrations may be none.
const WARM_UP_EVENTS: f64 = 20.0;

/// Attestations without which a group has no usual rate, however rare the duty is.
const WARM_UP_ATTESTATIONS: f64 = 20_000.0;

/// What a slot leaves of what is usual: it is forgotten by half in 28 days.
const KEPT: f64 = 1.0 - 3.438e-6;

/// A group that signs more of a duty than it usually does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Excess {
    /// Of what.
    pub of: Counted,
    /// How many since the evidence began to rise.
    pub seen: f32,
    /// How many are usual in that time.
    pub expected: f32,
    /// The evidence, in nats.
    pub ln_s: f32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rate {
    usual: f64, // events, forgotten slowly
    ln_s: [f32; 2],
    seen: f32, // since the evidence began to rise
    expected: f32,
    now: u32, // in this slot
    is_open: bool,
}

/// The rates of one key group. 136 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    exposure: f64, // attestations, forgotten as slowly
    pub(super) attestations: u32,
    rates: [Rate; 3],
    tested_slot: u64,
}

impl Rates {
    /// A released attestation that is no repeat.
    pub fn attested(&mut self) {
        self.attestations = self.attestations.saturating_add(1);
    }

    /// A released duty of these kinds.
    pub fn signed(&mut self, counted: Counted) {
        let rate = &mut self.rates[counted as usize];
        rate.now = rate.now.saturating_add(1);
    }

    /// Ends a slot: what has come to be too much.
    pub fn tick(&mut self, slot: u64, scope: Scope) -> Option<Excess> {
        let attestations = std::mem::take(&mut self.attestations);
        if self.tested_slot < scope.since_slot {
            for rate in &mut self.rates {
                *rate = Rate { usual: rate.usual, now: rate.now, ..Rate::default() };
            }
        }
        self.tested_slot = slot;
        let is_warm = self.exposure >= WARM_UP_ATTESTATIONS;
        let mut excess = None;
        for (rate, of) in self.rates.iter_mut().zip(Counted::ALL) {
            let now = std::mem::take(&mut rate.now);
            let is_warm = is_warm && (rate.usual >= WARM_UP_EVENTS || of == Counted::Registration);
            let share = f64::from(attestations) / self.exposure;
            if is_warm && !scope.rests && rate.test(now as f32, share) {
                excess = excess.or(Some(rate.excess(of)));
            }
            rate.usual = rate.usual * KEPT + f64::from(now);
        }
        self.exposure = self.exposure * KEPT + f64::from(attestations);
        excess
    }

    /// As it is kept on disk.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.exposure.to_le_bytes());
        out.extend(self.attestations.to_le_bytes());
        out.extend(self.tested_slot.to_le_bytes());
        for rate in &self.rates {
            out.extend(rate.usual.to_le_bytes());
            for value in [rate.ln_s[0], rate.ln_s[1], rate.seen, rate.expected] {
                out.extend(value.to_le_bytes());
            }
            out.extend(rate.now.to_le_bytes());
            out.push(u8::from(rate.is_open));
        }
    }

    /// From the front of `bytes`, which is moved on; `None` when garbled.
    pub fn take(bytes: &mut &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let mut rates = Self {
            exposure: reader.f64()?,
            attestations: reader.u32()?,
            tested_slot: reader.u64()?,
            rates: [Rate::default(); 3],
        };
        for rate in &mut rates.rates {
            rate.usual = reader.f64()?;
            rate.ln_s = [reader.f32()?, reader.f32()?];
            (rate.seen, rate.expected) = (reader.f32()?, reader.f32()?);
            rate.now = reader.u32()?;
            rate.is_open = reader.u8()? == 1;
        }
        *bytes = reader.0;
        Some(rates)
    }
}

impl Rate {
    /// Bets on one slot that had `share` of all exposure. Whether the evidence has come to be
    /// enough: once, until it is gone again.
    fn test(&mut self, now: f32, share: f64) -> bool {
        // What is usual was counted too: two standard deviations more may be.
        let expected = ((self.usual + 2.0 * (self.usual + 1.0).sqrt()) * share) as f32;
        for (ln_s, times) in self.ln_s.iter_mut().zip(TIMES) {
            let bet = now * times.ln() - (times - 1.0) * expected;
            *ln_s = (ln_s.max(0.0) + bet).min(LN_S_MAX);
        }
        if self.evidence() <= 0.0 {
            (self.seen, self.expected, self.is_open) = (0.0, 0.0, false);
            return false;
        }
        self.seen += now;
        self.expected += expected;
        let was_open = self.is_open;
        self.is_open |= self.evidence() >= LIMIT;
        self.is_open && !was_open
    }

    fn evidence(&self) -> f32 {
        self.ln_s[0].max(self.ln_s[1])
    }

    fn excess(&self, of: Counted) -> Excess {
        Excess { of, seen: self.seen, expected: self.expected, ln_s: self.evidence() }
    }
}
