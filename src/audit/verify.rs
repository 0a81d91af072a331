//! Whether the log stands as it was written: every hash, every signature, every segment's place,
//! and what was anchored elsewhere. The first thing that does not fit is named by its bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::chain::{Hash, hex};
use super::checkpoint::Anchor;
use super::codec::Input;
use super::open::is_locked;
use super::record::{Checkpoint, Position, Record, Removed};
use super::segment::{self, HEADER_BYTES, Segment, Step};

/// What a log is held against.
#[derive(Clone, Debug, Default)]
pub struct Against {
    /// Checkpoints that were kept elsewhere.
    pub anchors: Vec<Anchor>,
    /// Whose signatures count; without it, those of the first checkpoint's key.
    pub public_key: Option<[u8; 32]>,
}

/// A log that stands as it was written.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Names the log.
    pub log: [u8; 16],
    /// Its files.
    pub segments: usize,
    /// The first record that is kept.
    pub first: Position,
    /// The last record.
    pub last: Position,
    /// The last record with a signature over it.
    pub signed_through: Position,
    /// How many checkpoints there are.
    pub checkpoints: u64,
    /// How many anchors were found in it.
    pub anchors: usize,
    /// Records that a later version wrote.
    pub unknown: u64,
    /// Whose signatures they are.
    pub public_key: Option<[u8; 32]>,
    /// Repairs.
    pub repairs: Vec<(Position, Record)>,
    /// A gate writes it: it has not ended.
    pub is_open: bool,
}

/// What does not fit, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// The first byte.
    pub from: u64,
    /// The byte after the last; equal to `from` where bytes are missing.
    pub to: u64,
    /// What.
    pub what: What,
}

/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The header of a segment is not whole, or was changed.
    Header,
    /// The file's name or its place is another segment's.
    Misplaced {
        /// The record that had to come next.
        expected: Position,
        /// The record with which the segment begins.
        found: Position,
    },
    /// It is a segment of another log, or the one before it was changed at its end.
    Unlinked,
    /// Segments before the first are gone, and no record says that they were deleted.
    Beheaded,
    /// A record was changed, moved, put in or taken out.
    Record(Position),
    /// The file ends in the middle of a record.
    Torn(Position),
    /// The signature of a checkpoint is not over what stands before it.
    Signature(Position),
    /// A checkpoint is signed by another key.
    ForeignKey(Position),
    /// What was anchored elsewhere is not what stands here.
    Anchor(Position),
    /// The log ends before a record that was anchored elsewhere.
    CutOff {
        /// The last record.
        end: Position,
        /// The anchored one.
        anchored: Position,
    },
}

/// Why a log does not verify.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file system says no.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is none.
    #[error("there is no audit log in {}", .0.display())]
    NoLog(PathBuf),
    /// It was changed.
    #[error("{0}")]
    Damaged(Damage),
    /// An anchor is not signed by its own key.
    #[error("the anchor of record {} was changed: its signature does not fit", .0.0)]
    BadAnchor(Position),
    /// None of the anchors is of this log.
    #[error("none of the anchors is of this log, {}: it is another log", hex(log))]
    ForeignAnchors {
        /// This log.
        log: [u8; 16],
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: bytes {} to {}: ", self.path.display(), self.from, self.to)?;
        match &self.what {
            What::Header => f.write_str("the header of the segment was changed or is not whole"),
            What::Misplaced { expected, found } => write!(
                f,
                "the segment begins with record {}, where {} has to follow: a segment is missing, \
                 doubled or in another's place",
                found.0, expected.0
            ),
            What::Unlinked => f.write_str(
                "the segment does not go on from the one before it: one of them was changed or is \
                 of another log",
            ),
            What::Beheaded => f.write_str(
                "the segments before this one are gone, and no record says that they were deleted",
            ),
            What::Record(at) => {
                write!(f, "record {} was changed, moved, put in or taken out", at.0)
            }
            What::Torn(at) => write!(
                f,
                "record {} is cut off in its middle; after a kill the gate's next start repairs it",
                at.0
            ),
            What::Signature(at) => write!(
                f,
                "the checkpoint {} does not sign what stands before it: something in these bytes \
                 was written anew",
                at.0
            ),
            What::ForeignKey(at) => write!(f, "the checkpoint {} is signed by another key", at.0),
            What::Anchor(at) => {
                write!(f, "record {} is not what was anchored: the log was written anew", at.0)
            }
            What::CutOff { end, anchored } => write!(
                f,
                "the log ends here with record {}, and record {} was anchored: its end was cut off",
                end.0, anchored.0
            ),
        }
    }
}

/// Reads all of the log in `directory`.
///
/// # Errors
/// The first thing that does not fit.
pub fn verify(directory: &Path, against: &Against) -> Result<Verified, VerifyError> {
    let io_error = |source| VerifyError::Io { path: directory.to_owned(), source };
    // Before its files are listed: a gate that stops meanwhile has ended its log by then.
    let is_open = is_locked(directory);
    let segments = segment::list(directory).map_err(io_error)?;
    let Some((_, first)) = segments.first() else {
        return Err(VerifyError::NoLog(directory.to_owned()));
    };
    let mut walk = Walk::begin(first, against, is_open)?;
    let beheaded = (walk.header.first > Position(1)).then_some(walk.header.previous);
    for (place, (named, path)) in segments.iter().enumerate() {
        walk.segment(*named, path, place + 1 == segments.len())?;
    }
    if let Some(previous) = beheaded {
        let before = Position(walk.verified.first.0 - 1);
        let says_so = |it: &Removed| it.last == before && it.hash == previous.0;
        if !walk.removed.iter().any(says_so) {
            return damage(first, 0, HEADER_BYTES as u64, What::Beheaded);
        }
    }
    walk.verified.segments = segments.len();
    walk.end()
}

struct Walk<'a> {
    against: &'a Against,
    anchors: BTreeMap<Position, &'a Anchor>,
    header: segment::Header,
    verified: Verified,
    hash: Hash,
    removed: Vec<Removed>,
    /// The end of what is signed for, in the segment that is read.
    signed_to: u64,
    /// The segment that is read, and how far.
    path: PathBuf,
    at: u64,
}

impl<'a> Walk<'a> {
    fn begin(first: &Path, against: &'a Against, is_open: bool) -> Result<Self, VerifyError> {
        let io_error = |source| VerifyError::Io { path: first.to_owned(), source };
        let segment = Segment::open(first).map_err(io_error)?;
        let Some(Segment { header, .. }) = segment else {
            return damage(first, 0, HEADER_BYTES as u64, What::Header);
        };
        let mut anchors = BTreeMap::new();
        for anchor in &against.anchors {
            if !anchor.is_valid() {
                return Err(VerifyError::BadAnchor(anchor.position));
            }
            if anchor.log == header.log {
                anchors.insert(anchor.position, anchor);
            }
        }
        if anchors.is_empty() && !against.anchors.is_empty() {
            return Err(VerifyError::ForeignAnchors { log: header.log });
        }
        let verified = Verified {
            log: header.log,
            segments: 0,
            first: header.first,
            last: Position(header.first.0 - 1),
            signed_through: Position(header.first.0 - 1),
            checkpoints: 0,
            anchors: 0,
            unknown: 0,
            public_key: against.public_key,
            repairs: Vec::new(),
            is_open,
        };
        Ok(Self {
            against,
            anchors,
            header,
            verified,
            hash: header.previous,
            removed: Vec::new(),
            signed_to: 0,
            path: first.to_owned(),
            at: 0,
        })
    }

    fn segment(&mut self, named: Position, path: &Path, is_last: bool) -> Result<(), VerifyError> {
        let io_error = |source| VerifyError::Io { path: path.to_owned(), source };
        let header_to = HEADER_BYTES as u64;
        let Some(mut segment) = Segment::open(path).map_err(io_error)? else {
            return damage(path, 0, header_to, What::Header);
        };
        let (expected, found) = (Position(self.verified.last.0 + 1), segment.header.first);
        if found != expected || named != expected {
            return damage(path, 0, header_to, What::Misplaced { expected, found });
        }
        if segment.header.previous != self.hash || segment.header.log != self.header.log {
            return damage(path, 0, header_to, What::Unlinked);
        }
        self.hash = segment.start;
        (self.path, self.at, self.signed_to) = (path.to_owned(), header_to, 0);
        loop {
            let position = Position(self.verified.last.0 + 1);
            match segment.step().map_err(io_error)? {
                Step::End => return Ok(()),
                // The gate is about to write the rest.
                Step::Broken { .. } if is_last && self.verified.is_open => return Ok(()),
                Step::Broken { from, to } => {
                    return damage(path, from, to, What::Torn(position));
                }
                Step::Record { from, to } => {
                    let Some(hash) = segment.hash(&self.hash) else {
                        return damage(path, from, to, What::Record(position));
                    };
                    self.record(position, segment.record(), (from, to))?;
                    (self.hash, self.verified.last, self.at) = (hash, position, to);
                }
            }
        }
    }

    fn record(
        &mut self,
        position: Position,
        payload: &[u8],
        (from, to): (u64, u64),
    ) -> Result<(), VerifyError> {
        let record = Input(payload).record();
        if let Some(anchor) = self.anchors.get(&position) {
            let is_it = record == Some(Record::Checkpoint(anchor.checkpoint));
            if !is_it || anchor.previous != self.hash {
                return damage(&self.path, self.signed_to, to, What::Anchor(position));
            }
            self.verified.anchors += 1;
        }
        match record {
            Some(Record::Checkpoint(it)) => self.checkpoint(position, &it, (from, to))?,
            Some(Record::Removed(it)) => self.removed.push(it),
            Some(repair @ (Record::Cut(_) | Record::Gap(_))) => {
                self.verified.repairs.push((position, repair));
            }
            Some(Record::Decision(_) | Record::Action(_)) => {}
            None => self.verified.unknown += 1,
        }
        Ok(())
    }

    fn checkpoint(
        &mut self,
        position: Position,
        checkpoint: &Checkpoint,
        (from, to): (u64, u64),
    ) -> Result<(), VerifyError> {
        let public_key = *self.verified.public_key.get_or_insert(checkpoint.public_key);
        let is_anchors = |anchor: &&Anchor| anchor.checkpoint.public_key == public_key;
        let is_ours = self.anchors.values().all(is_anchors) || self.against.public_key.is_some();
        if checkpoint.public_key != public_key || !is_ours {
            return damage(&self.path, from, to, What::ForeignKey(position));
        }
        if !checkpoint.is_valid(&self.header.log, position, &self.hash) {
            return damage(&self.path, self.signed_to, to, What::Signature(position));
        }
        self.verified.checkpoints += 1;
        (self.verified.signed_through, self.signed_to) = (position, to);
        Ok(())
    }

    fn end(self) -> Result<Verified, VerifyError> {
        let end = self.verified.last;
        if let Some((anchored, _)) = self.anchors.last_key_value()
            && *anchored > end
        {
            let what = What::CutOff { end, anchored: *anchored };
            return damage(&self.path, self.at, self.at, what);
        }
        Ok(self.verified)
    }
}

fn damage<T>(path: &Path, from: u64, to: u64, what: What) -> Result<T, VerifyError> {
    Err(VerifyError::Damaged(Damage { path: path.to_owned(), from, to, what }))
}
