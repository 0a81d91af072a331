//! Keys whose usual time has moved, until somebody asks for them (behaviour page, 4.5). A baseline
//! that can be led away step by step has to say so: nothing is refused for it.

use parking_lot::Mutex;

use crate::bytes::{Reader, Writer};
use crate::{GroupIndex, Mode, Policy, Rule};

/// How many wait to be told; of more, the number is told.
const WAITING_MAX: usize = 256;

/// A key that does not sign when it did in the 28 days before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Its place.
    pub key: u32,
    /// Its group.
    pub group: GroupIndex,
    /// By how much it signs later now, in milliseconds after the median of its source.
    pub later_ms: f32,
}

/// Those that wait to be told.
#[derive(Debug, Default)]
pub(crate) struct Drifts(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    drifts: Vec<Drift>,
    more: u32,
}

impl Drifts {
    pub(crate) fn note(&self, drift: Drift) {
        let mut waiting = self.0.lock();
        if waiting.drifts.len() < WAITING_MAX {
            waiting.drifts.push(drift);
        } else {
            waiting.more += 1;
        }
    }

    /// Those of groups that watch when their keys sign, in the order of keys, and how many more
    /// there were. They are told once.
    pub(crate) fn take(&self, policy: &Policy) -> (Vec<Drift>, u32) {
        let Waiting { mut drifts, more } = std::mem::take(&mut *self.0.lock());
        drifts.retain(|it| policy.group(it.group).modes[Rule::Timing as usize] != Mode::Off);
        drifts.sort_by_key(|drift| drift.key);
        (drifts, more)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        let waiting = self.0.lock();
        out.u32(waiting.more);
        out.u32(waiting.drifts.len() as u32);
        for drift in &waiting.drifts {
            out.u32(drift.key);
            out.u16(drift.group.0);
            out.bytes(&drift.later_ms.to_le_bytes());
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (more, count) = (from.u32()?, from.u32()?);
        let mut drifts = Vec::new();
        for _ in 0..count {
            let (key, group) = (from.u32()?, GroupIndex(from.u16()?));
            drifts.push(Drift { key, group, later_ms: f32::from_bits(from.u32()?) });
        }
        Some(Self(Mutex::new(Waiting { drifts, more })))
    }
}
