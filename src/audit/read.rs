//! The log read again, from any position, beside a gate that writes it.
//!
//! What is read is taken as it stands: [`super::verify`] says whether it was changed.

use std::io;
use std::path::{Path, PathBuf};

use super::codec::Input;
use super::record::{Position, Record};
use super::segment::{self, Segment, Step};

/// Where a record stands on disk, to go on reading there at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The record.
    pub position: Position,
    /// The first position of its segment.
    pub segment: Position,
    /// Its first byte in the file.
    pub offset: u64,
}

/// A record, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub mark: Mark,
    /// What.
    pub record: Record,
}

/// Why the log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system says no.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bytes make no sense.
    #[error("{}: the bytes from {from} to {to} make no sense; run `portcullis audit verify`",
        path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first byte.
        from: u64,
        /// The byte after the last.
        to: u64,
    },
}

/// Reads the records of a log in their order. It ends at the last whole record; called once more
/// later, it goes on with what was written meanwhile.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    from: Position,
    segment: Option<Segment>,
    next: Position,
}

impl Reader {
    /// Reads from a position on, or from the first record that is kept.
    pub fn open(directory: &Path, from: Position) -> Self {
        let next = Position(0);
        Self { directory: directory.to_owned(), from, segment: None, next }
    }

    /// Reads from a record on whose place is known, without reading what stands before it.
    ///
    /// # Errors
    /// When its segment is not there any more, or cannot be read.
    pub fn resume(directory: &Path, mark: Mark) -> Result<Self, ReadError> {
        let mut reader = Self::open(directory, mark.position);
        let path = directory.join(segment::name(mark.segment));
        let mut segment = open(&path)?;
        segment.seek(mark.offset).map_err(|source| io_error(&path, source))?;
        (reader.segment, reader.next) = (Some(segment), mark.position);
        Ok(reader)
    }

    fn read(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            if self.segment.is_none() && !self.begin()? {
                return Ok(None);
            }
            let Some(segment) = &mut self.segment else { return Ok(None) };
            match segment.step() {
                Err(source) => return Err(io_error(&segment.path, source)),
                Ok(Step::Record { from, to }) => {
                    let position = self.next;
                    self.next = Position(position.0 + 1);
                    if position < self.from {
                        continue;
                    }
                    let record = Input(segment.record()).record();
                    let path = &segment.path;
                    let damaged = || ReadError::Damaged { path: path.clone(), from, to };
                    let record = record.ok_or_else(damaged)?;
                    let mark = Mark { position, segment: segment.header.first, offset: from };
                    return Ok(Some(Entry { mark, record }));
                }
                Ok(end @ (Step::End | Step::Broken { .. })) => {
                    let follower = self.directory.join(segment::name(self.next));
                    // A segment without a record is followed by none.
                    if self.next > segment.header.first && follower.exists() {
                        self.segment = Some(open(&follower)?);
                        continue;
                    }
                    if let Step::Broken { from, .. } = end {
                        let back = segment.seek(from); // it may be whole next time
                        back.map_err(|source| io_error(&segment.path, source))?;
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Opens the segment that has the wanted position, or the oldest.
    fn begin(&mut self) -> Result<bool, ReadError> {
        let segments = segment::list(&self.directory);
        let segments = segments.map_err(|source| io_error(&self.directory, source))?;
        let has_it = |(first, _): &&(Position, PathBuf)| *first <= self.from;
        let Some((first, path)) = segments.iter().rfind(has_it).or(segments.first()) else {
            return Ok(false);
        };
        (self.segment, self.next) = (Some(open(path)?), *first);
        Ok(true)
    }
}

/// The last record of the log in `directory`; 0 where there is none.
///
/// # Errors
/// When the log cannot be read.
pub fn last_position(directory: &Path) -> Result<Position, ReadError> {
    let segments = segment::list(directory).map_err(|source| io_error(directory, source))?;
    let Some((_, path)) = segments.last() else { return Ok(Position(0)) };
    let mut segment = open(path)?;
    let mut last = segment.header.first.0 - 1;
    while let Step::Record { .. } = segment.step().map_err(|source| io_error(path, source))? {
        last += 1;
    }
    Ok(Position(last))
}

fn open(path: &Path) -> Result<Segment, ReadError> {
    let segment = Segment::open(path);
    let segment = segment.map_err(|source| io_error(path, source))?;
    let to = segment::HEADER_BYTES as u64;
    segment.ok_or_else(|| ReadError::Damaged { path: path.to_owned(), from: 0, to })
}

fn io_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io { path: path.to_owned(), source }
}

impl Iterator for Reader {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
