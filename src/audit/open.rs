//! The start: what the last run left, and the repairs.
//!
//! Only the last segment is read, so that a start is fast; `audit verify` reads all of them. What a
//! killed gate was in the middle of writing is cut off. Anything else that does not fit keeps the
//! log from being opened: a chain that is broken is evidence, and nothing is added to it.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::chain::Hash;
use super::checkpoint::{Anchor, Key, KeyError};
use super::codec::{CHECKPOINT_BYTES, Input, is_checkpoint_of};
use super::courier::Courier;
use super::log::{Current, End, Writer};
use super::queue::{Bounds, Shared};
use super::record::{Cut, GAP_RECORDS_MAX, Gap, GapRecord, Position, Record};
use super::segment::{self, Header, Segment, Step};
use super::{ActionRecord, Actor, Audit, Settings};
use crate::clock;
use crate::events::Events;
use crate::metrics::AuditMetrics;

/// Why the log cannot be opened. Nothing is signed without it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system says no.
    #[error("the audit log: {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another gate writes it.
    #[error("another gate writes the audit log in {}: each gate needs its own", .0.display())]
    Locked(PathBuf),
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It was changed, or the disk lost what it had confirmed.
    #[error(
        "the audit log was changed or damaged: {}, bytes {from} to {to}. `portcullis audit verify` \
         tells more. Nothing is added to it: keep the directory as evidence, move it aside, and a \
         new log begins", path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// The first byte that does not fit.
        from: u64,
        /// The byte after the last.
        to: u64,
    },
    /// Its end is missing.
    #[error(
        "the audit log in {} ends at record {end}, and its anchor file knows of record {anchored}: \
         its end was cut off. Keep the directory as evidence, move it aside, and a new log begins",
        directory.display()
    )]
    CutOff {
        /// The directory.
        directory: PathBuf,
        /// The last record.
        end: u64,
        /// The last record that is anchored.
        anchored: u64,
    },
}

/// A log whose last run is known, before it is known what the store has to say of it.
#[derive(Debug)]
pub struct Opened {
    settings: Settings,
    key: Key,
    current: Current,
    lock: File,
    end: End,
    tail: Tail,
    repair: Option<Cut>,
}

/// What is known of the end of the last run.
#[derive(Debug, Default)]
struct Tail {
    /// Numbers of the slashing store that the log holds, of late.
    seen: HashSet<u64>,
    is_new: bool,
    was_closed: bool,
}

impl Audit {
    /// Opens the log, or begins one.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(settings: Settings) -> Result<Opened, OpenError> {
        let directory = settings.directory.clone();
        let io_error = |source| OpenError::Io { path: directory.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(io_error)?;
        let lock = lock(&directory)?;
        let segments = segment::list(&directory).map_err(io_error)?;
        let key = Key::open(&settings.key_file, segments.is_empty())?;
        let Some((_, path)) = segments.last() else {
            return begin(settings, key, lock).map_err(io_error);
        };
        let mut scan = Scan::of(path, &key)?;
        let repair = scan.cut_torn_end(&key)?;
        scan.look_back(&segments)?;
        let Scan { file, header, bytes, end, seen, was_closed, .. } = scan;
        if let Some(anchored) = last_anchor(&settings, &header.log)
            && anchored > end.position
        {
            let (end, anchored) = (end.position.0, anchored.0);
            return Err(OpenError::CutOff { directory, end, anchored });
        }
        let current = Current { file, header, bytes };
        let tail = Tail { seen, is_new: false, was_closed: was_closed && repair.is_none() };
        Ok(Opened { settings, key, current, lock, end, tail, repair })
    }
}

impl Opened {
    /// Starts the thread that writes, with a repair record for what `records`, all of the slashing
    /// store, and the log do not both have.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        self,
        records: impl Iterator<Item = GapRecord>,
        events: Events,
        metrics: AuditMetrics,
    ) -> io::Result<Audit> {
        let Self { settings, key, current, lock, mut end, tail, repair } = self;
        let gap = explain(&mut end, &tail, records);
        let bounds = Bounds { places_max: settings.queue_max, stall: settings.stall };
        let shared = Arc::new(Shared::new(bounds, end.position, metrics.clone()));
        let audit = Audit(Arc::clone(&shared));
        if let Some(cut) = repair {
            shared.add(&Record::Cut(cut));
        }
        if let Some(gap) = gap {
            tracing::warn!(
                event = "audit_gap",
                records = gap.records.len() as u64 + gap.more,
                after_close = gap.after_close,
                settled = gap.settled,
                store_sequence = gap.store_sequence,
                "the slashing store holds records that the audit log has no decision for: it says so"
            );
            shared.add(&Record::Gap(gap));
        }
        let details = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "store_sequence": end.store_sequence,
            "is_new": tail.is_new,
            "after_close": tail.was_closed,
        });
        audit.act(ActionRecord {
            at_unix_ms: clock::unix_ms(),
            actor: Actor::Gate("start".to_owned()),
            action: "log.opened".to_owned(),
            subject: String::new(),
            reason: String::new(),
            details: details.to_string(),
        });
        let courier = Courier::start(&settings, events, metrics)?;
        Writer { shared, settings, key, current, end, courier, lock }.start()?;
        Ok(audit)
    }

    /// The last record that the log holds.
    pub fn last(&self) -> Position {
        self.end.position
    }
}

/// What of the store the log has no decision for. From now on all of the store is explained.
fn explain(end: &mut End, tail: &Tail, records: impl Iterator<Item = GapRecord>) -> Option<Gap> {
    let mut gap = Gap {
        at_unix_ms: clock::unix_ms(),
        after_close: tail.was_closed,
        settled: end.settled,
        store_sequence: end.store_sequence,
        records: Vec::new(),
        more: 0,
    };
    for record in records {
        gap.store_sequence = gap.store_sequence.max(record.sequence);
        if record.sequence <= end.settled || tail.seen.contains(&record.sequence) {
            continue;
        }
        if gap.records.len() < GAP_RECORDS_MAX {
            gap.records.push(record);
        } else {
            gap.more += 1;
        }
    }
    (end.store_sequence, end.settled) = (gap.store_sequence, gap.store_sequence);
    // A log that begins has nothing to say of what was before it.
    (!gap.records.is_empty() && !tail.is_new).then_some(gap)
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let io_error = |source| OpenError::Io { path: path.clone(), source };
    let file = options.open(&path).map_err(io_error)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked(directory.to_owned())),
        Err(error) => Err(io_error(error.into())),
    }
}

/// Whether some gate writes the log in `directory`.
pub(super) fn is_locked(directory: &Path) -> bool {
    let Ok(file) = File::open(directory.join("lock")) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

fn begin(settings: Settings, key: Key, lock: File) -> io::Result<Opened> {
    let mut log = [0; 16];
    SystemRandom::new().fill(&mut log).map_err(|_| io::Error::other("no random numbers"))?;
    let header = Header {
        log,
        first: Position(1),
        previous: Hash::NOTHING,
        at_unix_ms: clock::unix_ms(),
        store_sequence: 0,
        settled: 0,
    };
    let (current, hash) = Current::create(&settings.directory, header)?;
    let end = End { position: Position(0), hash, store_sequence: 0, settled: 0 };
    let tail = Tail { is_new: true, ..Tail::default() };
    Ok(Opened { settings, key, current, lock, end, tail, repair: None })
}

/// The last segment, read through.
struct Scan {
    path: PathBuf,
    file: File,
    header: Header,
    /// The length of what is whole.
    bytes: u64,
    /// The length of the file.
    length: u64,
    end: End,
    seen: HashSet<u64>,
    was_closed: bool,
    /// The time of the last checkpoint, or of the segment's beginning.
    signed_at_ms: u64,
}

impl Scan {
    fn of(path: &Path, key: &Key) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io { path: path.to_owned(), source };
        let damaged = |from, to| OpenError::Damaged { path: path.to_owned(), from, to };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io_error)?;
        let length = file.metadata().map_err(io_error)?.len();
        let segment = Segment::open(path).map_err(io_error)?;
        let mut segment = segment.ok_or_else(|| damaged(0, length))?;
        let header = segment.header;
        let mut scan = Self {
            path: path.to_owned(),
            file,
            header,
            bytes: segment::HEADER_BYTES as u64,
            length,
            end: End {
                position: Position(header.first.0 - 1),
                hash: segment.start,
                store_sequence: header.store_sequence,
                settled: header.settled,
            },
            seen: HashSet::new(),
            was_closed: false,
            signed_at_ms: header.at_unix_ms,
        };
        while let Step::Record { from, to } = segment.step().map_err(io_error)? {
            let Some(hash) = segment.hash(&scan.end.hash) else { break };
            if !scan.read(segment.record(), key) {
                return Err(damaged(from, to));
            }
            (scan.end.hash, scan.bytes) = (hash, to);
        }
        Ok(scan)
    }

    /// Takes note of a record that fits; `false` for a checkpoint that our key did not sign.
    fn read(&mut self, payload: &[u8], key: &Key) -> bool {
        let position = Position(self.end.position.0 + 1);
        self.was_closed = false;
        match Input(payload).record() {
            Some(Record::Checkpoint(it)) => {
                let is_ours = it.public_key == key.public_key();
                if !is_ours || !it.is_valid(&self.header.log, position, &self.end.hash) {
                    return false;
                }
                self.end.settled = self.end.settled.max(it.settled);
                self.end.store_sequence = self.end.store_sequence.max(it.store_sequence);
                (self.was_closed, self.signed_at_ms) = (it.is_last, it.at_unix_ms);
            }
            Some(record) => self.note(&record),
            None => {} // of a later version
        }
        self.end.position = position;
        true
    }

    fn note(&mut self, record: &Record) {
        match record {
            Record::Decision(it) => self.seen.extend(it.store_sequence),
            Record::Gap(it) => self.seen.extend(it.records.iter().map(|it| it.sequence)),
            Record::Action(_) | Record::Checkpoint(_) | Record::Cut(_) | Record::Removed(_) => {}
        }
        let highest = match record {
            Record::Decision(it) => it.store_sequence.unwrap_or(0),
            Record::Gap(it) => it.store_sequence,
            Record::Action(_) | Record::Checkpoint(_) | Record::Cut(_) | Record::Removed(_) => 0,
        };
        self.end.store_sequence = self.end.store_sequence.max(highest);
    }

    /// Cuts off what a killed gate was writing: bytes that were never synced, and so have no
    /// checkpoint behind them that the gate went on from.
    fn cut_torn_end(&mut self, key: &Key) -> Result<Option<Cut>, OpenError> {
        let (from, to) = (self.bytes, self.length);
        if from == to {
            return Ok(None);
        }
        let io_error = |source| OpenError::Io { path: self.path.clone(), source };
        let length = usize::try_from(to - from).unwrap_or(usize::MAX);
        let mut torn = vec![0; length];
        self.file.read_exact_at(&mut torn, from).map_err(io_error)?;
        let ours = key.public_key();
        let was_synced = torn.windows(CHECKPOINT_BYTES).enumerate().any(|(at, bytes)| {
            let is_end = at + CHECKPOINT_BYTES + super::chain::TAG_BYTES == torn.len();
            is_checkpoint_of(bytes, &ours).is_some_and(|is_last| is_last || !is_end)
        });
        if was_synced {
            return Err(OpenError::Damaged { path: self.path.clone(), from, to });
        }
        self.file.set_len(from).and_then(|()| self.file.sync_all()).map_err(io_error)?;
        let hash = Sha256::digest(&torn).into();
        let cut = Cut { at_unix_ms: clock::unix_ms(), segment: self.header.first, from, to, hash };
        tracing::warn!(
            event = "audit_cut",
            segment = %self.path.display(),
            from,
            to,
            "the gate was killed as it wrote the audit log; what was not whole is cut off"
        );
        Ok(Some(cut))
    }

    /// Reads older segments as far back as a request of the last run may have been under way.
    fn look_back(&mut self, segments: &[(Position, PathBuf)]) -> Result<(), OpenError> {
        let since_ms = self.signed_at_ms.saturating_sub(LOOK_BACK_MS);
        let mut began_ms = self.header.at_unix_ms;
        for (_, path) in segments.iter().rev().skip(1) {
            if began_ms <= since_ms {
                break;
            }
            let io_error = |source| OpenError::Io { path: path.clone(), source };
            let Some(mut segment) = Segment::open(path).map_err(io_error)? else {
                break; // `verify` says more; nothing is added to this one
            };
            while let Step::Record { .. } = segment.step().map_err(io_error)? {
                if let Some(record) = Input(segment.record()).record() {
                    self.note(&record);
                }
            }
            began_ms = segment.header.at_unix_ms;
        }
        Ok(())
    }
}

/// The highest position of this log that the anchor file has.
fn last_anchor(settings: &Settings, log: &[u8; 16]) -> Option<Position> {
    let text = fs::read_to_string(settings.anchor_file.as_ref()?).ok()?;
    let anchors = text.lines().filter_map(Anchor::parse);
    anchors.filter(|it| it.log == *log && it.is_valid()).map(|it| it.position).max()
}

/// Longer than any request is under way, twice.
const LOOK_BACK_MS: u64 = 60_000;
