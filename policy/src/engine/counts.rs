//! Small rows: what a credential, a group, a window is remembered by.

use crate::bytes::{Reader, Writer, fold};
use crate::table::Row;
use crate::{ClientIndex, GroupIndex, Source};

/// A moment in milliseconds of Unix time: when a credential was last signed for, or a window
/// halted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) ms: u64,
}

impl Row for Stamp {
    fn used_ms(&self) -> u64 {
        self.ms
    }

    fn write(&self, out: &mut Writer) {
        out.u64(self.ms);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { ms: from.u64()? })
    }
}

/// Exits of one group on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exits {
    pub(crate) day: u64,
    pub(crate) count: u32,
}

/// The day of a moment in milliseconds of Unix time.
pub(crate) const fn day(unix_ms: u64) -> u64 {
    unix_ms / 86_400_000
}

impl Row for Exits {
    fn used_ms(&self) -> u64 {
        self.day * 86_400_000
    }

    fn write(&self, out: &mut Writer) {
        out.u64(self.day);
        out.u32(self.count);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { day: from.u64()?, count: from.u32()? })
    }
}

/// The place of a client in a group.
pub(crate) fn member(client: ClientIndex, group: GroupIndex) -> u64 {
    u64::from(client.0) << 16 | u64::from(group.0)
}

/// The place of a credential: a certificate, or a client that has none.
pub(crate) fn credential(source: &Source) -> u64 {
    u64::from(source.client.0) << 32 | u64::from(fold(source.certificate))
}
