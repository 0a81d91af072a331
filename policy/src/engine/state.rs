//! The engine on disk.

use std::sync::atomic::Ordering::Relaxed;

use super::Engine;
use super::drifts::Drifts;
use super::fleet::Fleet;
use super::tail::Tail;
use crate::bytes::{Reader, Writer, checksum};
use crate::sequential::Incidents;

/// The form on disk. A state of another version begins anew.
const VERSION: u32 = 2;

impl Engine {
    /// What spans keys, as it is kept on disk: the same state gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.fleet.write(&mut out);
        self.tail.write(&mut out);
        out.u64(self.resumed.load(Relaxed));
        out.u64(self.resumed_slot.load(Relaxed));
        out.u64(self.resumed_ms.load(Relaxed));
        out.u64(self.halved.load(Relaxed));
        self.clients.write(&mut out);
        self.credentials.write(&mut out);
        self.exits.write(&mut out);
        self.strikes.write(&mut out);
        self.halted.write(&mut out);
        self.sources.write(&mut out);
        self.moves.write(&mut out);
        self.released.write(&mut out);
        self.groups.write(&mut out);
        self.beats.write(&mut out);
        self.drifts.write(&mut out);
        self.incidents.lock().put(&mut out.0);
        let mut whole = Writer::default();
        whole.u32(VERSION);
        whole.u32(checksum(&[&out.0]));
        whole.bytes(&out.0);
        whole.0
    }

    /// What spans keys, from disk; `None` when it is of another version or garbled.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (version, sum) = (from.u32()?, from.u32()?);
        if version != VERSION || sum != checksum(&[from.0]) {
            return None;
        }
        let fleet = Fleet::read(&mut from)?;
        let tail = Tail::read(&mut from)?;
        let (resumed, resumed_slot) = (from.u64()?.into(), from.u64()?.into());
        let (resumed_ms, halved) = (from.u64()?.into(), from.u64()?.into());
        let mut engine =
            Self { fleet, tail, resumed, resumed_slot, resumed_ms, halved, ..Self::default() };
        engine.clients.fill(&mut from)?;
        engine.credentials.fill(&mut from)?;
        engine.exits.fill(&mut from)?;
        engine.strikes.fill(&mut from)?;
        engine.halted.fill(&mut from)?;
        engine.sources.fill(&mut from)?;
        engine.moves.fill(&mut from)?;
        engine.released.fill(&mut from)?;
        engine.groups.fill(&mut from)?;
        engine.beats.fill(&mut from)?;
        engine.drifts = Drifts::read(&mut from)?;
        *engine.incidents.lock() = Incidents::take(&mut from.0)?;
        from.0.is_empty().then_some(engine)
    }
}
