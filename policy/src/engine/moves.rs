//! Keys that move from one source to another together: honest moves come in crowds.

use crate::bytes::{Reader, Writer};
use crate::table::Row;

/// How long a move is remembered, in milliseconds.
const MEMORY_MS: u64 = 60_000;
/// How many keys are told apart: three are a crowd, and the asking one is among them.
const KEYS: usize = 4;

/// The last keys that asked from one source while another was usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    keys: [u32; KEYS],
    first_ms: [u64; KEYS], // 0: no key
    last_ms: [u64; KEYS],
}

impl Moved {
    /// The place of a pair of sources in the table.
    pub(crate) fn place(from: u32, to: u32) -> u64 {
        u64::from(from) << 32 | u64::from(to)
    }

    /// A key asks.
    pub(crate) fn asked(&mut self, key: u32, at_ms: u64) {
        let known = (0..KEYS).find(|place| self.first_ms[*place] != 0 && self.keys[*place] == key);
        let oldest = || (0..KEYS).min_by_key(|place| self.last_ms[*place]).unwrap_or(0);
        let place = known.unwrap_or_else(oldest);
        let is_forgotten = at_ms.saturating_sub(self.last_ms[place]) > MEMORY_MS;
        if known.is_none() || is_forgotten {
            self.keys[place] = key;
            self.first_ms[place] = at_ms.max(1);
        }
        self.last_ms[place] = at_ms.max(self.last_ms[place]);
    }

    /// How many other keys asked of late, and whether this one did.
    pub(crate) fn count(&self, key: u32, at_ms: u64) -> (usize, bool) {
        let is_fresh = |place: &usize| {
            self.first_ms[*place] != 0 && at_ms.saturating_sub(self.last_ms[*place]) <= MEMORY_MS
        };
        let fresh = (0..KEYS).filter(is_fresh);
        let own = fresh.clone().any(|place| self.keys[place] == key);
        (fresh.filter(|place| self.keys[*place] != key).count(), own)
    }
}

impl Row for Moved {
    fn used_ms(&self) -> u64 {
        self.last_ms.into_iter().max().unwrap_or(0)
    }

    fn write(&self, out: &mut Writer) {
        out.all_u32(&self.keys);
        self.first_ms.iter().chain(&self.last_ms).for_each(|ms| out.u64(*ms));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let keys = from.all_u32()?;
        let mut times = [0; 2 * KEYS];
        for time in &mut times {
            *time = from.u64()?;
        }
        let first_ms = std::array::from_fn(|place| times[place]);
        let last_ms = std::array::from_fn(|place| times[KEYS + place]);
        Some(Self { keys, first_ms, last_ms })
    }
}
