//! What adds up: tests that gather weak evidence over many events, for a key, a source, a group.
//!
//! | file | what | lives in |
//! |---|---|---|
//! | `histogram.rs` | empirical p-values from log buckets | |
//! | `timing.rs` | when in the slot a key signs: [`KeyTiming`], [`SourceTiming`] | key, source |
//! | `shifts.rs` | bets that something stands elsewhere | |
//! | `source_level.rs` | when a whole source signs: [`SourceLevel`], [`Round`] | source |
//! | `shares.rs` | which shares sign: [`KeyShares`], [`Cluster`] | key, group |
//! | `rates.rs` | how much a group signs: [`Rates`] | group |
//!
//! Every test is a sequence of bets against what is usual: a bet pays e, which is at most 1 on
//! average where nothing happens, and S = max(S, 1) e. Where S is ever to reach e^h, that takes
//! e^h events on average while all is well, however the events hang together (behaviour page, 4.3).
//! Kept as ln S, so that evidence adds up. All learn from what was released, and from all of it:
//! a null that leaves out what it suspects makes ever more suspicious (6.4).

mod histogram;
pub mod rates;
pub mod shares;
mod shifts;
pub mod source_level;
#[cfg(test)]
mod tests;
pub mod timing;

pub use rates::{Excess, Rates};
pub use shares::{Cluster, KeyShares};
pub use source_level::{Incident, Incidents, Round, SourceLevel};
pub use timing::{KeyTiming, SourceTiming};

use std::f32::consts::LN_2;

/// More evidence than this is not kept, so that a test also ends when its cause does.
pub const LN_S_MAX: f32 = 30.0;

/// When a test began, and whether it rests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The slot since which the gate has been there without a break: what was gathered before it
    /// counts for nothing (behaviour page, 4.8).
    pub since_slot: u64,
    /// Whether people work on the nodes: everything is learned, nothing is tested.
    pub rests: bool,
}

/// The bet on a p-value, as a logarithm: e = 0.5 / sqrt(p'), p' = clamp(3p, floor, 1).
fn ln_e(p: f32, floor: f32) -> f32 {
    -LN_2 - 0.5 * (3.0 * p).clamp(floor, 1.0).ln()
}

/// ln S after one more bet.
fn step(ln_s: f32, ln_e: f32) -> f32 {
    (ln_s.max(0.0) + ln_e).min(LN_S_MAX)
}

/// Bytes that are read from the front; every reader gives `None` where they end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// A number; what is not finite is garbled.
    fn f32(&mut self) -> Option<f32> {
        self.take().map(f32::from_le_bytes).filter(|value| value.is_finite())
    }

    fn f64(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes).filter(|value| value.is_finite())
    }
}

/// A slot as the state of a key keeps it: 32 bits last for 1,600 years.
fn short_slot(slot: u64) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}
