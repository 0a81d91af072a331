//! What the log has about one key or one name, from an index and not from a scan.
//!
//! Beside each segment that is closed stands a block of it: for each key and name the places of its
//! records, found with two reads. The segment that is being written has its index in memory. Both
//! are made from the segments by whoever asks, or before that by a thread that follows the log; the
//! thread that writes the log knows nothing of it. A block that is lost is made anew. It is no
//! evidence: what it leads to is read from the segment itself.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use self::block::Place;
use super::chain::{TAG_BYTES, unhex};
use super::codec::{About, Input};
use super::read::{Entry, Mark, ReadError};
use super::record::{Position, Record};
use super::segment::{self, LENGTH_BYTES, RECORD_BYTES_MAX, Segment, Step};
use crate::clock;

mod block;
#[cfg(test)]
mod tests;

/// What a timeline is about, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(u64);

impl Subject {
    /// A validator's key. Keys are points of a curve: their bytes are spread as a hash's are.
    pub fn of_key(key: &[u8; 48]) -> Self {
        Self(u64::from_be_bytes(*key.last_chunk().expect("48 bytes")))
    }

    /// A name: of an incident, a window, a client; or a key as it is written.
    pub fn of_name(name: &str) -> Self {
        if let Some(key) = unhex::<48>(name) {
            return Self::of_key(&key);
        }
        let digest: [u8; 32] = Sha256::digest(name).into();
        Self(u64::from_be_bytes(*digest.first_chunk().expect("32 bytes")))
    }
}

impl From<About<'_>> for Subject {
    fn from(about: About<'_>) -> Self {
        match about {
            About::Key(key) => Self::of_key(key),
            About::Name(name) => Self::of_name(name),
        }
    }
}

/// What is wanted of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first position.
    pub from: Position,
    /// The last position.
    pub to: Position,
    /// Nothing before this, in milliseconds of Unix time.
    pub since_unix_ms: u64,
    /// How many records at most; the newest are taken.
    pub newest: usize,
}

impl Span {
    /// All that the log has, as far as `newest` reaches.
    pub fn all(newest: usize) -> Self {
        Self { from: Position(0), to: Position(u64::MAX), since_unix_ms: 0, newest }
    }
}

/// The index over the segments of a directory.
#[derive(Debug, Default)]
pub struct Timeline {
    directory: Option<PathBuf>,
    open: Mutex<Open>,
}

/// The segment that is being written, as far as it was read.
#[derive(Debug, Default)]
struct Open {
    first: Option<Position>,
    /// The byte after the last record that was read.
    end: u64,
    records: u32,
    places: Vec<(Subject, Place)>,
    /// Segments whose block is known to stand beside them.
    closed: BTreeSet<Position>,
}

impl Timeline {
    /// Over the log in a directory.
    pub fn of(directory: PathBuf) -> Self {
        Self { directory: Some(directory), open: Mutex::default() }
    }

    /// Over no log: nothing is found.
    pub fn off() -> Self {
        Self::default()
    }

    /// Reads what was written since the last time, and makes the blocks that are not there yet.
    ///
    /// # Errors
    /// When a file cannot be read. A block that cannot be written is left out until it can be.
    pub fn catch_up(&self) -> Result<(), ReadError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let segments = list(directory)?;
        let mut open = self.open.lock();
        let Some(((last, last_path), closed)) = segments.split_last() else { return Ok(()) };
        for (first, path) in closed {
            if open.closed.contains(first) {
                continue;
            }
            if !block::is_beside(path) {
                if open.first != Some(*first) {
                    open.begin(*first);
                }
                open.read_on(path).map_err(|source| io_error(path, source))?;
                let places = std::mem::take(&mut open.places);
                block::write(path, places).map_err(|source| io_error(path, source))?;
            }
            open.closed.insert(*first);
        }
        let is_another = open.first != Some(*last);
        if is_another {
            open.begin(*last);
        }
        // A segment that is over is deleted a while after the next one was begun.
        let is_kept = |first: &Position| closed.binary_search_by_key(first, |it| it.0).is_ok();
        if is_another || !open.closed.iter().all(is_kept) {
            open.closed.retain(is_kept);
            block::remove_orphans(directory, &segments);
        }
        open.read_on(last_path).map_err(|source| io_error(last_path, source))
    }

    /// The records about any of `subjects`, in order.
    ///
    /// # Errors
    /// When a file cannot be read, or a record makes no sense.
    pub fn find(&self, subjects: &[Subject], span: &Span) -> Result<Vec<Entry>, ReadError> {
        self.find_where(subjects, span, |_| true)
    }

    /// As [`find`](Self::find), and only what is wanted of them.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_where(
        &self,
        subjects: &[Subject],
        span: &Span,
        is_wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Entry>, ReadError> {
        let mut subjects = subjects.to_vec();
        subjects.sort_unstable();
        subjects.dedup();
        let subjects = &subjects[..];
        self.catch_up()?;
        let Some(directory) = &self.directory else { return Ok(Vec::new()) };
        let segments = list(directory)?;
        let mut found = Vec::new();
        let mut next_first = Position(u64::MAX);
        for (first, path) in segments.iter().rev() {
            let is_before = next_first <= span.from;
            if is_before || found.len() >= span.newest {
                break;
            }
            if *first <= span.to {
                let mut places = self.places(*first, path, subjects)?;
                places.sort_unstable_by_key(|place| std::cmp::Reverse(place.ordinal));
                places.dedup();
                let wanted = (subjects, &is_wanted);
                if read_places((*first, path), &places, span, wanted, &mut found)? {
                    break;
                }
            }
            next_first = *first;
        }
        found.reverse();
        Ok(found)
    }

    fn places(
        &self,
        first: Position,
        path: &Path,
        subjects: &[Subject],
    ) -> Result<Vec<Place>, ReadError> {
        {
            let open = self.open.lock();
            if open.first == Some(first) {
                let is_wanted = |it: &&(Subject, Place)| subjects.binary_search(&it.0).is_ok();
                let places = open.places.iter().filter(is_wanted);
                return Ok(places.map(|(_, place)| *place).collect());
            }
        }
        if let Ok(places) = block::find(path, subjects) {
            return Ok(places);
        }
        self.open.lock().closed.remove(&first); // lost or broken since: it is made anew
        self.catch_up()?;
        block::find(path, subjects).map_err(|source| io_error(path, source))
    }

    /// Follows the log on a thread of its own, so that who asks waits for little.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn follow(self: std::sync::Arc<Self>) -> io::Result<()> {
        std::thread::Builder::new().name("audit-index".to_owned()).spawn(move || {
            loop {
                if let Err(error) = self.catch_up() {
                    tracing::warn!(
                        event = "audit_index_behind",
                        %error,
                        "timelines take longer while the index of the audit log is behind"
                    );
                }
                clock::rest(FOLLOW_INTERVAL);
            }
        })?;
        Ok(())
    }
}

impl Open {
    fn begin(&mut self, first: Position) {
        let closed = std::mem::take(&mut self.closed);
        let first = Some(first);
        *self = Self { first, end: segment::HEADER_BYTES as u64, closed, ..Self::default() };
    }

    fn read_on(&mut self, path: &Path) -> io::Result<()> {
        let Some(mut segment) = Segment::open(path)? else { return Ok(()) };
        segment.seek(self.end)?;
        while let Step::Record { from, to } = segment.step()? {
            let (ordinal, places) = (self.records, &mut self.places);
            if let Ok(offset) = u32::try_from(from) {
                let place = Place { offset, ordinal };
                let _ = Input(segment.record()).subjects(|about| {
                    places.push((about.into(), place));
                });
            }
            self.records += 1;
            self.end = to;
        }
        Ok(())
    }
}

/// Reads the records at `places`, the newest first, as far as `span` reaches; says whether that was
/// its end.
fn read_places(
    (first, path): (Position, &Path),
    places: &[Place],
    span: &Span,
    (subjects, is_wanted): (&[Subject], &impl Fn(&Entry) -> bool),
    found: &mut Vec<Entry>,
) -> Result<bool, ReadError> {
    let mut file = None;
    for place in places {
        let position = Position(first.0 + u64::from(place.ordinal));
        if position > span.to {
            continue;
        }
        if position < span.from || found.len() >= span.newest {
            return Ok(true);
        }
        let file = match &mut file {
            Some(file) => file,
            None => file.insert(File::open(path).map_err(|source| io_error(path, source))?),
        };
        let from = u64::from(place.offset);
        let bytes = read_record(file, from).map_err(|source| io_error(path, source))?;
        let to = from + bytes.len() as u64;
        let damaged = || ReadError::Damaged { path: path.to_owned(), from, to };
        let record = Input(&bytes).record().ok_or_else(damaged)?;
        // Half of a hash leads to others now and then.
        let mut is_about = false;
        let _ = Input(&bytes).subjects(|about| {
            is_about |= subjects.binary_search(&about.into()).is_ok();
        });
        if !is_about {
            continue;
        }
        if at_unix_ms(&record).is_some_and(|at| at < span.since_unix_ms) {
            return Ok(true);
        }
        let mark = Mark { position, segment: first, offset: from };
        let entry = Entry { mark, record };
        if is_wanted(&entry) {
            found.push(entry);
        }
    }
    Ok(false)
}

/// The bytes of the record at an offset.
fn read_record(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; USUAL_BYTES];
    let mut read = file.read_at(&mut bytes, offset)?;
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>().filter(|_| read >= LENGTH_BYTES) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > RECORD_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let end = LENGTH_BYTES + length;
    if read < end {
        bytes.resize(end + TAG_BYTES, 0);
        file.read_exact_at(&mut bytes[read..end], offset + read as u64)?;
        read = end;
    }
    bytes.truncate(end.min(read));
    bytes.drain(..LENGTH_BYTES);
    Ok(bytes)
}

/// When it was, in milliseconds of Unix time.
pub fn at_unix_ms(record: &Record) -> Option<u64> {
    match record {
        Record::Decision(it) => Some(it.at_unix_ms),
        Record::Action(it) => Some(it.at_unix_ms),
        Record::Checkpoint(it) => Some(it.at_unix_ms),
        Record::Cut(it) => Some(it.at_unix_ms),
        Record::Gap(it) => Some(it.at_unix_ms),
        Record::Removed(it) => Some(it.at_unix_ms),
    }
}

fn list(directory: &Path) -> Result<Vec<(Position, PathBuf)>, ReadError> {
    segment::list(directory).map_err(|source| io_error(directory, source))
}

fn io_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io { path: path.to_owned(), source }
}

const FOLLOW_INTERVAL: Duration = Duration::from_secs(2);
/// Most records are shorter, with their frame.
const USUAL_BYTES: usize = 512;
