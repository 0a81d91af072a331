//! One file of the log: a header, then records.
//!
//! A record is its length (u32, little endian), its bytes, and the first eight bytes of its hash,
//! which covers the length too. The header stands in the chain as a record does: a segment cannot
//! be put in another's place, nor its header be changed.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::chain::{Hash, TAG_BYTES};
use super::record::Position;

/// What a file begins with; the last byte is the version of the format.
const MAGIC: [u8; 8] = *b"PCLAUD\0\x01";
const FIELDS_BYTES: usize = 8 + 16 + 8 + 32 + 8 + 8 + 8;
/// The header with its tag.
pub(super) const HEADER_BYTES: usize = FIELDS_BYTES + TAG_BYTES;
/// What stands before the bytes of a record.
pub(super) const LENGTH_BYTES: usize = 4;
/// A longer record was not written by us.
pub(super) const RECORD_BYTES_MAX: usize = 1 << 20;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Names the log for ever, drawn when it was begun.
    pub log: [u8; 16],
    /// The position of its first record.
    pub first: Position,
    /// The hash of the last record before it.
    pub previous: Hash,
    /// When it was begun, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// The highest number of the slashing store that the log held then.
    pub store_sequence: u64,
    /// Up to this number of the store nothing was under way any more.
    pub settled: u64,
}

impl Header {
    /// Its bytes, and the hash from which its first record goes on.
    pub(super) fn encode(&self) -> (Vec<u8>, Hash) {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.log);
        bytes.extend_from_slice(&self.first.0.to_le_bytes());
        bytes.extend_from_slice(&self.previous.0);
        for number in [self.at_unix_ms, self.store_sequence, self.settled] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let hash = self.previous.next(&bytes);
        bytes.extend_from_slice(&hash.tag());
        (bytes, hash)
    }

    /// The header, and the hash from which the first record goes on; none if it is not whole.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<(Self, Hash)> {
        let mut rest = bytes.strip_prefix(&MAGIC)?;
        let mut take = |length: usize| {
            let (part, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(part)
        };
        let log = take(16)?.try_into().ok()?;
        let first = Position(u64::from_le_bytes(take(8)?.try_into().ok()?));
        let previous = Hash(take(32)?.try_into().ok()?);
        let mut number = || take(8).and_then(|it| it.try_into().ok()).map(u64::from_le_bytes);
        let (at_unix_ms, store_sequence, settled) = (number()?, number()?, number()?);
        let header = Self { log, first, previous, at_unix_ms, store_sequence, settled };
        let (encoded, hash) = header.encode();
        (encoded == bytes).then_some((header, hash))
    }
}

/// What stands next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A record, whole by its length; its bytes are in [`Segment::record`].
    Record {
        /// Where it begins in the file.
        from: u64,
        /// The byte after its end.
        to: u64,
    },
    /// The file ends in the middle of a record, or a length makes no sense.
    Broken {
        /// Where that begins.
        from: u64,
        /// The end of the file.
        to: u64,
    },
    /// The file ends here.
    End,
}

/// A segment that is read.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// The hash from which its first record goes on.
    pub(super) start: Hash,
    file: BufReader<File>,
    at: u64,
    /// The length, the bytes and the tag of the record.
    frame: Vec<u8>,
}

impl Segment {
    /// Opens a file; none if its header is not one of ours, or not whole.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut file = BufReader::with_capacity(READ_BYTES, File::open(path)?);
        let mut bytes = [0; HEADER_BYTES];
        if !fill(&mut file, &mut bytes)? {
            return Ok(None);
        }
        let Some((header, start)) = Header::decode(&bytes) else { return Ok(None) };
        let (path, frame) = (path.to_owned(), Vec::new());
        Ok(Some(Self { path, header, start, file, at: HEADER_BYTES as u64, frame }))
    }

    /// Goes on from a byte at which a record begins.
    pub(super) fn seek(&mut self, at: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.at = at;
        Ok(())
    }

    /// Reads what stands next.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        let from = self.at;
        let mut length = [0; LENGTH_BYTES];
        let end = |file: &BufReader<File>| file.get_ref().metadata().map(|it| it.len());
        if !fill(&mut self.file, &mut length)? {
            let to = end(&self.file)?;
            return Ok(if to <= from { Step::End } else { Step::Broken { from, to } });
        }
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes == 0 || bytes > RECORD_BYTES_MAX {
            return Ok(Step::Broken { from, to: end(&self.file)? });
        }
        self.frame.resize(LENGTH_BYTES + bytes + TAG_BYTES, 0);
        let (head, rest) = self.frame.split_at_mut(LENGTH_BYTES);
        head.copy_from_slice(&length);
        if !fill(&mut self.file, rest)? {
            return Ok(Step::Broken { from, to: end(&self.file)? });
        }
        self.at += self.frame.len() as u64;
        Ok(Step::Record { from, to: self.at })
    }

    /// The bytes of the record that was read last.
    pub(super) fn record(&self) -> &[u8] {
        &self.frame[LENGTH_BYTES..self.frame.len() - TAG_BYTES]
    }

    /// Its hash after `previous`; none if that is not what stands behind it.
    pub(super) fn hash(&self, previous: &Hash) -> Option<Hash> {
        let (record, tag) = self.frame.split_at(self.frame.len() - TAG_BYTES);
        let hash = previous.next(record);
        (hash.tag() == tag).then_some(hash)
    }
}

/// Writes the tags of the records in `frames`, which follow `hash`; gives the hash of the last.
pub(super) fn seal(frames: &mut [u8], mut hash: Hash) -> Hash {
    let mut rest = frames;
    while let Some((length, _)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = LENGTH_BYTES + u32::from_le_bytes(*length) as usize;
        let (frame, after) = rest.split_at_mut(length + TAG_BYTES);
        let (record, tag) = frame.split_at_mut(length);
        hash = hash.next(record);
        tag.copy_from_slice(&hash.tag());
        rest = after;
    }
    hash
}

/// Adds a record that `write` writes to `frames`, with room for its tag.
pub(super) fn frame(frames: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let from = frames.len();
    frames.extend_from_slice(&[0; LENGTH_BYTES]);
    write(frames);
    let length = u32::try_from(frames.len() - from - LENGTH_BYTES).unwrap_or(u32::MAX);
    frames[from..from + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    frames.extend_from_slice(&[0; TAG_BYTES]);
}

/// The name of the segment that begins with `first`: names sort as positions do.
pub(super) fn name(first: Position) -> String {
    format!("{:020}{SUFFIX}", first.0)
}

/// The segments in a directory by their first position, the oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(Position, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(SUFFIX));
        if let Some(first) = number.and_then(|number| number.parse().ok()) {
            files.push((Position(first), path));
        }
    }
    files.sort();
    Ok(files)
}

/// Fills the buffer; `false` if the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

const SUFFIX: &str = ".audit";
const READ_BYTES: usize = 256 << 10;
