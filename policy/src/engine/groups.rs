//! What a key group is remembered by, and what a source is.

use super::attendance::Attendance;
use crate::bytes::{Reader, Writer, fold};
use crate::sequential::{Cluster, Rates, SourceTiming};
use crate::table::Row;
use crate::{GroupIndex, Observation, Source};

/// A key group: what it was signed for, by which shares, how often.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) index: u16,
    pub(crate) released: u64,
    pub(crate) cluster: Cluster,
    pub(crate) attendance: Attendance,
    pub(crate) rates: Rates,
    pub(crate) last_ms: u64,
}

/// When a source signs.
#[derive(Debug, Default)]
pub(crate) struct Beat {
    pub(crate) token: u32,
    pub(crate) client: u16,
    /// The last group that it signed for.
    pub(crate) group: u16,
    pub(crate) dialect: u64,
    pub(crate) timing: SourceTiming,
    pub(crate) last_ms: u64,
}

impl Beat {
    /// The source of a released request.
    pub(crate) fn is_of(&mut self, seen: &Observation) {
        self.token = machine(&seen.source);
        self.client = seen.source.client.0;
        self.group = seen.group.0;
        self.dialect = seen.source.dialect;
        self.last_ms = self.last_ms.max(seen.at.unix_ms);
    }
}

/// Signatures released to a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Released {
    pub(crate) count: u64,
    pub(crate) last_ms: u64,
}

impl Released {
    pub(crate) fn one(&mut self, at_ms: u64) {
        self.count += 1;
        self.last_ms = self.last_ms.max(at_ms);
    }
}

/// The token of a source wherever it comes from: behind a network address translation one machine
/// has several addresses, and one beat.
pub(crate) fn machine(source: &Source) -> u32 {
    let prefix = if source.certificate == 0 { source.prefix } else { 0 };
    Source { prefix, ..*source }.token()
}

/// The place of a source in a group; that of a source anywhere is its token alone.
pub(crate) fn place(group: GroupIndex, token: u32) -> u64 {
    (u64::from(group.0) + 1) << 32 | u64::from(token)
}

/// The place of a certificate at a network, whatever it is spoken with; `None` without one.
pub(crate) fn home(source: &Source) -> Option<u64> {
    let (certificate, prefix) = (fold(source.certificate), fold(source.prefix));
    let both = u64::from(certificate) << 32 | u64::from(prefix);
    (certificate != 0).then_some(both | 1 << 63)
}

impl Row for Group {
    fn used_ms(&self) -> u64 {
        self.last_ms
    }

    fn write(&self, out: &mut Writer) {
        out.u16(self.index);
        out.u64(self.released);
        self.cluster.put(&mut out.0);
        self.attendance.write(out);
        self.rates.put(&mut out.0);
        out.u64(self.last_ms);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            index: from.u16()?,
            released: from.u64()?,
            cluster: Cluster::take(&mut from.0)?,
            attendance: Attendance::read(from)?,
            rates: Rates::take(&mut from.0)?,
            last_ms: from.u64()?,
        })
    }
}

impl Row for Beat {
    fn used_ms(&self) -> u64 {
        self.last_ms
    }

    fn write(&self, out: &mut Writer) {
        out.u32(self.token);
        out.all_u16(&[self.client, self.group]);
        out.u64(self.dialect);
        self.timing.put(&mut out.0);
        out.u64(self.last_ms);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let token = from.u32()?;
        let [client, group] = from.all_u16()?;
        let dialect = from.u64()?;
        let timing = SourceTiming::take(&mut from.0)?;
        Some(Self { token, client, group, dialect, timing, last_ms: from.u64()? })
    }
}

impl Row for Released {
    fn used_ms(&self) -> u64 {
        self.last_ms
    }

    fn write(&self, out: &mut Writer) {
        out.u64(self.count);
        out.u64(self.last_ms);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { count: from.u64()?, last_ms: from.u64()? })
    }
}
