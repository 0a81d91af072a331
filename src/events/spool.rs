//! Pages on disk until somebody has taken them.
//!
//! One file of [`SLOTS`] places, allocated when it is made: a disk that is full later, or a flood
//! of anything else, takes no place away from a page. A page is written into a free place and
//! synced before [`Spool::put`] returns; when it is taken its place is marked free, without a sync:
//! a crash then brings it back, and it is delivered once more under the same id.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use sha2::{Digest, Sha256};

use super::Event;

#[cfg(test)]
mod tests;

/// Pages that can wait.
pub const SLOTS: u32 = 1_024;
/// For one page with its details.
const SLOT_BYTES: usize = 16 << 10;
/// Checksum, sequence and length of the text, then the marks.
const HEAD_BYTES: usize = 8 + 8 + 4 + 4 * MARKS;
/// Sinks that can be marked as having accepted a page.
const MARKS: usize = 8;
const MARKS_AT: usize = 20;
const TEXT_BYTES_MAX: usize = SLOT_BYTES - HEAD_BYTES;

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file cannot be made, opened or read.
    #[error("cannot {action} the spool of pages {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has it.
    #[error("another process has the spool of pages {} open", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
}

/// A place in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u32);

/// A page that the last process left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) slot: Slot,
    /// Orders pages: of one cause the earlier is delivered first.
    pub(super) sequence: u64,
    pub(super) event: Event,
    marks: [u32; MARKS],
}

impl Left {
    /// Whether the sink of this name has accepted it.
    pub(super) fn is_accepted_by(&self, sink: &str) -> bool {
        self.marks.contains(&mark(sink, self.sequence))
    }
}

/// The file of pages. One process has it at a time.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    free: Vec<Slot>,
    broken: u64,
}

impl Spool {
    /// Opens the spool in `directory`, which is made if it is not there; gives the pages in it, the
    /// earliest first.
    pub(super) fn open(directory: &Path) -> Result<(Self, Vec<Left>), SpoolError> {
        let path = directory.join("spool");
        let failed = |action| {
            let path = path.clone();
            move |source: io::Error| SpoolError::File { action, path, source }
        };
        fs::create_dir_all(directory).map_err(failed("make"))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(failed("open"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| SpoolError::Taken { path: path.clone() })?;
        let bytes = u64::from(SLOTS) * SLOT_BYTES as u64;
        fallocate(&file, FallocateFlags::empty(), 0, bytes)
            .map_err(|error| failed("allocate")(error.into()))?;
        file.sync_all().map_err(failed("sync"))?;
        File::open(directory).and_then(|dir| dir.sync_all()).map_err(failed("sync"))?;
        let mut spool = Self { file, free: Vec::new(), broken: 0 };
        let left = spool.read().map_err(failed("read"))?;
        Ok((spool, left))
    }

    fn read(&mut self) -> io::Result<Vec<Left>> {
        let mut left = Vec::new();
        let mut bytes = vec![0; SLOT_BYTES];
        for slot in (0..SLOTS).rev().map(Slot) {
            let head = &mut bytes[..HEAD_BYTES];
            self.file.read_exact_at(head, slot.at())?;
            let sequence = u64::from_le_bytes(head[8..16].try_into().expect("8 bytes"));
            if sequence == 0 {
                self.free.push(slot);
                continue;
            }
            self.file.read_exact_at(&mut bytes, slot.at())?;
            match decode(&bytes) {
                Some((event, marks)) => left.push(Left { slot, sequence, event, marks }),
                None => {
                    self.broken += 1; // torn by a crash: it was never told to be on disk
                    self.free.push(slot);
                }
            }
        }
        left.sort_by_key(|page| page.sequence);
        Ok(left)
    }

    /// Places that could not be read when it was opened.
    pub(super) fn broken(&self) -> u64 {
        self.broken
    }

    /// Whether every place is taken.
    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Writes a page; it is on disk when this returns. `None` when every place is taken. Details
    /// that do not fit into a place are left out of it.
    pub(super) fn put(&mut self, sequence: u64, event: &Event) -> io::Result<Option<Slot>> {
        let Some(slot) = self.free.pop() else { return Ok(None) };
        let written = self.file.write_all_at(&encode(sequence, event), slot.at());
        match written.and_then(|()| self.file.sync_data()) {
            Ok(()) => Ok(Some(slot)),
            Err(error) => {
                self.free.push(slot);
                Err(error)
            }
        }
    }

    /// Notes that a sink has accepted a page. Lost in a crash, it is sent there once more.
    pub(super) fn mark(&self, slot: Slot, sequence: u64, sink: &str) -> io::Result<()> {
        let mut marks = [0; 4 * MARKS];
        let at = slot.at() + MARKS_AT as u64;
        self.file.read_exact_at(&mut marks, at)?;
        let is_free = |mark: &&[u8]| mark.iter().all(|byte| *byte == 0);
        if let Some(index) = marks.chunks(4).position(|mark| is_free(&mark)) {
            let own = mark(sink, sequence).to_le_bytes();
            self.file.write_all_at(&own, at + 4 * index as u64)?;
        }
        Ok(())
    }

    /// Gives a place back.
    pub(super) fn free(&mut self, slot: Slot) -> io::Result<()> {
        self.file.write_all_at(&[0; 16], slot.at())?;
        self.free.push(slot);
        Ok(())
    }
}

impl Slot {
    /// A place, for those that have no spool.
    #[cfg(test)]
    pub(super) fn of_test(place: u64) -> Self {
        Self(u32::try_from(place).expect("a small number"))
    }

    fn at(self) -> u64 {
        u64::from(self.0) * SLOT_BYTES as u64
    }
}

fn mark(sink: &str, sequence: u64) -> u32 {
    let mut hash = Sha256::new();
    hash.update(sequence.to_le_bytes());
    hash.update(sink.as_bytes());
    let hash = hash.finalize();
    u32::from_le_bytes(hash[..4].try_into().expect("4 bytes")).max(1)
}

fn encode(sequence: u64, event: &Event) -> Vec<u8> {
    let text = text_of(event);
    let mut bytes = vec![0; HEAD_BYTES];
    bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
    let length = u32::try_from(text.len()).expect("it fits into a place");
    bytes[16..20].copy_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&text);
    let checksum = checksum(&bytes);
    bytes[..8].copy_from_slice(&checksum);
    bytes
}

/// The event as JSON, short enough for a place.
fn text_of(event: &Event) -> Vec<u8> {
    let written = |event: &Event| serde_json::to_vec(event).expect("plain values");
    let text = written(event);
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let cut = |text: &str, chars: usize| -> String {
        text.chars().filter(|char| !char.is_control()).take(chars).collect()
    };
    written(&Event {
        id: cut(&event.id, 128),
        at_unix_ms: event.at_unix_ms,
        kind: cut(&event.kind, 128),
        severity: event.severity,
        paging: event.paging,
        dedup_key: super::pagerduty::dedup_key(&event.dedup_key), // the same key as before
        summary: cut(&event.summary, super::SUMMARY_CHARS_MAX),
        subject: cut(&event.subject, 256),
        details: serde_json::json!({ "left_out": "larger than a place in the spool" }),
    })
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(&bytes[8..MARKS_AT]);
    hash.update(&bytes[HEAD_BYTES..]);
    hash.finalize()[..8].try_into().expect("8 bytes")
}

fn decode(bytes: &[u8]) -> Option<(Event, [u32; MARKS])> {
    let length = u32::from_le_bytes(bytes[16..20].try_into().ok()?);
    let bytes = bytes.get(..HEAD_BYTES + usize::try_from(length).ok()?)?;
    if checksum(bytes) != bytes[..8] {
        return None;
    }
    let mut marks = [0; MARKS];
    for (mark, bytes) in marks.iter_mut().zip(bytes[MARKS_AT..HEAD_BYTES].chunks(4)) {
        *mark = u32::from_le_bytes(bytes.try_into().ok()?);
    }
    Some((serde_json::from_slice(&bytes[HEAD_BYTES..]).ok()?, marks))
}
