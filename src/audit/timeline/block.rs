//! The index of one closed segment: places sorted by subject, under a table of their beginnings.
//!
//! ```text
//! magic 8 | segment's bytes 8 | entries 4 | bits 4 | begin of each of 2^bits buckets, and the end
//! entry: 32 bits of the subject below the bucket's | offset 4 | ordinal 4
//! ```
//! All numbers are little endian.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Position, Subject};

/// Where a record stands in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Its first byte.
    pub(super) offset: u32,
    /// How many records stand before it.
    pub(super) ordinal: u32,
}

/// What is read of a block before it is searched.
struct Head {
    segment_bytes: u64,
    entries: u32,
    bits: u32,
}

impl Head {
    fn read(file: &File) -> io::Result<Option<Self>> {
        let mut head = [0; HEAD_BYTES];
        file.read_exact_at(&mut head, 0)?;
        let Some(rest) = head.strip_prefix(&MAGIC) else { return Ok(None) };
        let (bytes, rest) = rest.split_first_chunk().expect("24 bytes");
        let (entries, rest) = rest.split_first_chunk().expect("16 bytes");
        let bits = rest.first_chunk().expect("12 bytes");
        Ok(Some(Self {
            segment_bytes: u64::from_le_bytes(*bytes),
            entries: u32::from_le_bytes(*entries),
            bits: u32::from_le_bytes(*bits).min(BITS_MAX),
        }))
    }

    fn entries_from(&self) -> u64 {
        HEAD_BYTES as u64 + 4 * ((1 << self.bits) + 1)
    }

    fn bytes(&self) -> u64 {
        self.entries_from() + ENTRY_BYTES as u64 * u64::from(self.entries)
    }
}

/// The block of a segment.
fn path_of(segment: &Path) -> PathBuf {
    segment.with_extension(EXTENSION)
}

/// Whether a segment has its block, and that is whole.
pub(super) fn is_beside(segment: &Path) -> bool {
    let is_whole = || -> io::Result<bool> {
        let file = File::open(path_of(segment))?;
        let Some(head) = Head::read(&file)? else { return Ok(false) };
        let bytes = fs::metadata(segment)?.len();
        Ok(head.segment_bytes == bytes && head.bytes() == file.metadata()?.len())
    };
    is_whole().unwrap_or(false)
}

/// Writes the block of a segment, whole or not at all.
pub(super) fn write(segment: &Path, mut places: Vec<(Subject, Place)>) -> io::Result<()> {
    places.sort_unstable();
    let entries = u32::try_from(places.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let bits = (entries / PER_BUCKET).max(1).ilog2().min(BITS_MAX);
    let path = path_of(segment);
    let new = path.with_extension(NEW);
    let file = File::create(&new)?;
    let mut out = BufWriter::with_capacity(1 << 20, &file);
    out.write_all(&MAGIC)?;
    out.write_all(&fs::metadata(segment)?.len().to_le_bytes())?;
    out.write_all(&entries.to_le_bytes())?;
    out.write_all(&bits.to_le_bytes())?;
    let mut begin = 0;
    for bucket in 0..1_u64 << bits {
        let before = |(subject, _): &(Subject, Place)| bucket_of(*subject, bits) < bucket;
        begin += places[begin..].partition_point(before);
        out.write_all(&u32::try_from(begin).expect("below the entries").to_le_bytes())?;
    }
    out.write_all(&entries.to_le_bytes())?;
    for (subject, place) in &places {
        out.write_all(&low(*subject, bits).to_le_bytes())?;
        out.write_all(&place.offset.to_le_bytes())?;
        out.write_all(&place.ordinal.to_le_bytes())?;
    }
    out.flush()?;
    drop(out);
    file.sync_all()?;
    fs::rename(new, path)
}

/// The places of the records about `subjects`; some of others among them, as rarely as 32 bits
/// agree.
pub(super) fn find(segment: &Path, subjects: &[Subject]) -> io::Result<Vec<Place>> {
    let file = File::open(path_of(segment))?;
    let head = Head::read(&file)?.ok_or(io::ErrorKind::InvalidData)?;
    let mut found = Vec::new();
    for subject in subjects {
        let bucket = bucket_of(*subject, head.bits);
        let mut bounds = [0; 8];
        file.read_exact_at(&mut bounds, HEAD_BYTES as u64 + 4 * bucket)?;
        let (begin, end) = bounds.split_first_chunk::<4>().expect("8 bytes");
        let begin = u32::from_le_bytes(*begin);
        let end = u32::from_le_bytes(*end.first_chunk().expect("4 bytes")).min(head.entries);
        let mut entries = vec![0; ENTRY_BYTES * end.saturating_sub(begin) as usize];
        let from = head.entries_from() + ENTRY_BYTES as u64 * u64::from(begin);
        file.read_exact_at(&mut entries, from)?;
        let wanted = low(*subject, head.bits);
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let number = |at: usize| {
                u32::from_le_bytes(*entry[at..].first_chunk().expect("12 bytes are three numbers"))
            };
            if number(0) == wanted {
                found.push(Place { offset: number(4), ordinal: number(8) });
            }
        }
    }
    Ok(found)
}

/// Deletes the blocks of segments that are not kept any longer.
pub(super) fn remove_orphans(directory: &Path, segments: &[(Position, PathBuf)]) {
    let kept: BTreeSet<PathBuf> = segments.iter().map(|(_, path)| path_of(path)).collect();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_block = path.extension().is_some_and(|it| it == EXTENSION || it == NEW);
        if is_block && !kept.contains(&path) {
            let _ = fs::remove_file(path); // it is tried again with the next segment
        }
    }
}

fn bucket_of(subject: Subject, bits: u32) -> u64 {
    subject.0.checked_shr(64 - bits).unwrap_or(0)
}

/// The 32 bits below the bucket's.
#[allow(clippy::cast_possible_truncation)] // the lower half of what was shifted down
fn low(subject: Subject, bits: u32) -> u32 {
    (subject.0 << bits >> 32) as u32
}

/// The last byte is the version of the format.
const MAGIC: [u8; 8] = *b"PCLIDX\0\x01";
const HEAD_BYTES: usize = 24;
const ENTRY_BYTES: usize = 12;
const PER_BUCKET: u32 = 16;
const BITS_MAX: u32 = 24;
const EXTENSION: &str = "index";
const NEW: &str = "index-new";
