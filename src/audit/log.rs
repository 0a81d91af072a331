//! The thread that writes: takes what waits, hashes it, writes it, syncs it, and says so.
//!
//! What could not be written is written again at the same place until it can be: after a failed
//! sync nobody knows what of it is on disk. Meanwhile nothing is taken on.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use super::Settings;
use super::chain::Hash;
use super::checkpoint::{Anchor, Key};
use super::codec::Output;
use super::courier::Courier;
use super::queue::{Queue, Shared};
use super::record::{Checkpoint, Position, Record, Removed};
use super::segment::{self, Header};
use crate::clock::{self, Stopwatch};
use crate::events::{Paging, Severity};

mod reserve;

use reserve::Reserve;

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) file: File,
    pub(super) header: Header,
    /// Its length, all of it synced.
    pub(super) bytes: u64,
}

/// Where the chain stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The last record.
    pub(super) position: Position,
    /// Its hash.
    pub(super) hash: Hash,
    /// The highest number of the slashing store so far.
    pub(super) store_sequence: u64,
    /// Up to this number nothing is under way.
    pub(super) settled: u64,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    pub(super) key: Key,
    pub(super) current: Current,
    pub(super) end: End,
    pub(super) courier: Courier,
    /// Held as long as the log is open.
    pub(super) lock: File,
}

/// The thread's own notes.
struct Run {
    writer: Writer,
    reserve: Reserve,
    /// Numbers of the store by the time at which the log had them.
    recent: VecDeque<(Duration, u64)>,
    since_start: Stopwatch,
    since_checkpoint: Stopwatch,
    since_look: Stopwatch,
    records_since_checkpoint: u64,
    /// The first group of a run ends with a checkpoint.
    is_opening: bool,
    /// Segments whose end is written down, and at which position.
    doomed: Vec<(Position, PathBuf)>,
    /// Memory that was used before.
    spare: Vec<u8>,
    is_space_low: bool,
    said_trouble: bool,
}

/// What is written at once.
struct Group {
    queue: Queue,
    checkpoint: Option<Position>,
    rotates: bool,
}

impl Writer {
    /// Starts the thread; it ends when the log is closed.
    pub(super) fn start(self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let reserve = Reserve::new(&self.settings);
        let run = Run {
            writer: self,
            reserve,
            recent: VecDeque::new(),
            since_start: Stopwatch::start(),
            since_checkpoint: Stopwatch::start(),
            since_look: Stopwatch::start(),
            records_since_checkpoint: 0,
            is_opening: true,
            doomed: Vec::new(),
            spare: Vec::new(),
            is_space_low: false,
            said_trouble: false,
        };
        let spawn = std::thread::Builder::new().name("audit".to_owned());
        *shared.thread.lock() = Some(spawn.spawn(move || run.run())?);
        Ok(())
    }
}

impl Run {
    fn run(mut self) {
        self.look();
        self.retire();
        loop {
            let Some(group) = self.take() else {
                self.look();
                continue;
            };
            let is_last = group.queue.is_closing;
            if !self.settle(group) || is_last {
                break;
            }
            if self.since_look.elapsed() >= LOOK_INTERVAL {
                self.look();
            }
        }
        self.writer.courier.end();
        let _ = rustix::fs::flock(&self.writer.lock, rustix::fs::FlockOperation::Unlock);
    }

    /// What waits, once it has waited as long as it may; nothing where nothing came for a while.
    fn take(&mut self) -> Option<Group> {
        let shared = Arc::clone(&self.writer.shared);
        let longest = self.writer.settings.sync_interval;
        let mut queue = shared.queue.lock();
        loop {
            if queue.is_closing || (queue.is_urgent && !queue.frames.is_empty()) {
                break;
            }
            let waited = queue.since.filter(|_| !queue.frames.is_empty());
            let left = waited.map(|since| longest.saturating_sub(since.elapsed()));
            if left == Some(Duration::ZERO) {
                break;
            }
            let is_over = shared.wake.wait_for(&mut queue, left.unwrap_or(IDLE)).timed_out();
            if is_over && queue.frames.is_empty() {
                if self.records_since_checkpoint > 0 && self.is_due() {
                    break;
                }
                return None;
            }
        }
        let taken = std::mem::take(&mut *queue);
        let is_closing = taken.is_closing;
        (queue.last, queue.is_closing) = (taken.last, is_closing);
        queue.frames = std::mem::take(&mut self.spare);
        let length = self.writer.current.bytes + taken.frames.len() as u64;
        let age = clock::unix_ms().saturating_sub(self.writer.current.header.at_unix_ms);
        let is_old = u128::from(age) >= self.writer.settings.segment_age.as_millis();
        let rotates = !is_closing && (length >= self.writer.settings.segment_bytes || is_old);
        let checkpoint = (is_closing || rotates || self.is_due()).then(|| {
            queue.last += 1;
            Position(queue.last)
        });
        Some(Group { queue: taken, checkpoint, rotates })
    }

    fn is_due(&self) -> bool {
        let Settings { checkpoint_interval, checkpoint_records, .. } = self.writer.settings;
        self.is_opening
            || self.records_since_checkpoint >= checkpoint_records
            || self.since_checkpoint.elapsed() >= checkpoint_interval
    }

    /// Writes a group until it is on disk; `false` if the log is closed before it is.
    fn settle(&mut self, group: Group) -> bool {
        let Group { mut queue, checkpoint, rotates } = group;
        let (places, waiting) = (queue.places, queue.frames.len());
        let records = queue.last - self.writer.end.position.0;
        let mut hash = segment::seal(&mut queue.frames, self.writer.end.hash);
        self.note_sequence(queue.store_sequence);
        let anchor = checkpoint.map(|position| {
            let (anchor, after) = self.sign(position, hash, queue.is_closing, &mut queue.frames);
            hash = after;
            anchor
        });
        if !self.write(&queue.frames) {
            return false;
        }
        let last = checkpoint.unwrap_or(Position(queue.last));
        (self.writer.end.position, self.writer.end.hash) = (last, hash);
        self.writer.current.bytes += queue.frames.len() as u64;
        let shared = &self.writer.shared;
        shared.synced(last, places, waiting);
        shared.metrics.records.inc_by(last.0 - (queue.last - records));
        shared.metrics.count_cpu(clock::thread_cpu());
        self.records_since_checkpoint += records;
        if let Some(anchor) = anchor {
            (self.records_since_checkpoint, self.since_checkpoint) = (0, Stopwatch::start());
            self.is_opening = false;
            *shared.last.lock() = Some(anchor);
            self.writer.courier.anchor(anchor);
        }
        self.delete_doomed();
        if rotates {
            self.rotate();
        }
        queue.frames.clear();
        if queue.frames.capacity() <= SPARE_BYTES_MAX {
            self.spare = queue.frames;
        }
        true
    }

    /// Until a duty that took a number is done, and its decision is here, a while goes by.
    fn note_sequence(&mut self, sequence: u64) {
        let (now, end) = (self.since_start.elapsed(), &mut self.writer.end);
        if sequence > end.store_sequence {
            end.store_sequence = sequence;
            self.recent.push_back((now, sequence));
        }
        while let Some((at, sequence)) = self.recent.front().copied()
            && at + UNDER_WAY_MAX < now
        {
            end.settled = end.settled.max(sequence);
            self.recent.pop_front();
        }
    }

    /// Adds a checkpoint to `frames`, which end with the hash `previous`; gives the hash after it.
    fn sign(
        &self,
        position: Position,
        previous: Hash,
        is_last: bool,
        frames: &mut Vec<u8>,
    ) -> (Anchor, Hash) {
        let End { store_sequence, settled, .. } = self.writer.end;
        let mut checkpoint = Checkpoint {
            at_unix_ms: clock::unix_ms(),
            store_sequence,
            settled,
            is_last,
            public_key: [0; 32],
            signature: [0; 64],
        };
        let log = self.writer.current.header.log;
        self.writer.key.sign(&log, position, &previous, &mut checkpoint);
        let from = frames.len();
        segment::frame(frames, |bytes| Output(bytes).checkpoint(&checkpoint));
        let hash = segment::seal(&mut frames[from..], previous);
        (Anchor { log, position, previous, checkpoint }, hash)
    }

    /// `false` if the log is closed before the bytes are on disk.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let watch = Stopwatch::start();
        let mut tries_after_close = 0;
        while let Err(error) = self.writer.current.append(bytes) {
            let is_full = error.kind() == io::ErrorKind::StorageFull;
            self.block(&error);
            if is_full && self.reserve.release() {
                continue;
            }
            tries_after_close += u32::from(self.writer.shared.queue.lock().is_closing);
            if tries_after_close >= CLOSING_TRIES {
                tracing::error!(
                    event = "audit_not_closed",
                    %error,
                    "the end of the audit log could not be written; the next start shows the gap"
                );
                return false;
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
        let metrics = &self.writer.shared.metrics;
        metrics.sync_seconds.observe(watch.elapsed().as_secs_f64());
        if self.writer.shared.is_blocked.load(std::sync::atomic::Ordering::Relaxed) {
            self.unblock();
        } else {
            metrics.blocked.set(0);
        }
        true
    }

    /// Nothing is taken on from now on.
    fn block(&mut self, error: &io::Error) {
        let shared = &self.writer.shared;
        shared.is_blocked.store(true, Release);
        shared.metrics.blocked.set(1);
        if std::mem::replace(&mut self.said_trouble, true) {
            return;
        }
        tracing::error!(
            event = "audit_blocked",
            directory = %self.writer.settings.directory.display(),
            %error,
            "the audit log cannot be written; nothing is signed until it can"
        );
        let directory = self.writer.settings.directory.display();
        let summary = format!("nothing is signed: the audit log in {directory}: {error}");
        self.writer.courier.tell("audit.blocked", Severity::Critical, Paging::Trigger, summary);
    }

    /// Takes on again, if there is room for what that brings.
    fn unblock(&mut self) {
        if !self.reserve.hold() {
            return;
        }
        let shared = &self.writer.shared;
        shared.is_blocked.store(false, Release);
        shared.metrics.blocked.set(0);
        self.said_trouble = false;
        tracing::warn!(event = "audit_unblocked", "the audit log can be written again");
        let summary = "the audit log can be written again".to_owned();
        self.writer.courier.tell("audit.unblocked", Severity::Info, Paging::Resolve, summary);
    }

    /// Looks after the disk, between groups.
    fn look(&mut self) {
        self.since_look = Stopwatch::start();
        let is_blocked = &self.writer.shared.is_blocked;
        if is_blocked.load(std::sync::atomic::Ordering::Relaxed) {
            self.unblock();
        } else if !self.reserve.hold() {
            self.block(&io::Error::from(io::ErrorKind::StorageFull));
        }
        let Some(left) = reserve::space_left(&self.writer.settings.directory) else { return };
        self.writer.shared.metrics.space_left.set(left);
        let courier = &self.writer.courier;
        let directory = self.writer.settings.directory.display();
        #[allow(clippy::cast_precision_loss)] // at most a hundred
        let (percent, low) =
            ((left * 100.0).round(), self.writer.settings.space_low_percent as f64);
        if left * 100.0 < low && !self.is_space_low {
            self.is_space_low = true;
            tracing::error!(event = "audit_space_low", %directory, percent, "the disk fills up");
            let summary = format!(
                "{percent} % of the disk of the audit log in {directory} are left; when it is full \
                 nothing is signed"
            );
            courier.tell("audit.space_low", Severity::Error, Paging::Trigger, summary);
        } else if left * 100.0 > low + SPACE_AGAIN_PERCENT && self.is_space_low {
            self.is_space_low = false;
            let summary = format!("the disk of the audit log in {directory} has room again");
            courier.tell("audit.space_again", Severity::Info, Paging::Resolve, summary);
        }
    }

    /// Begins another segment. Where that fails this one goes on, and it is tried again.
    fn rotate(&mut self) {
        let End { position, hash, store_sequence, settled } = self.writer.end;
        let header = Header {
            log: self.writer.current.header.log,
            first: Position(position.0 + 1),
            previous: hash,
            at_unix_ms: clock::unix_ms(),
            store_sequence,
            settled,
        };
        match Current::create(&self.writer.settings.directory, header) {
            Ok((current, hash)) => {
                self.writer.current = current;
                self.writer.end.hash = hash;
                self.retire();
            }
            Err(error) => tracing::error!(
                event = "audit_segment_failed",
                %error,
                "no other segment of the audit log could be begun; the present one goes on"
            ),
        }
    }

    /// Writes down which segments are to be deleted: what is over, or too old.
    fn retire(&mut self) {
        let directory = &self.writer.settings.directory;
        let Ok(segments) = segment::list(directory) else { return };
        let length = |path: &Path| fs::metadata(path).map_or(0, |it| it.len());
        let mut total: u64 = segments.iter().map(|(_, path)| length(path)).sum();
        let now = clock::unix_ms();
        for pair in segments.windows(2) {
            let [(first, path), (_, follower)] = pair else { continue };
            let is_doomed = self.doomed.iter().any(|(_, doomed)| doomed == path);
            let Ok(Some(next)) = segment::Segment::open(follower) else { return };
            let age = u128::from(now.saturating_sub(next.header.at_unix_ms));
            let is_over = total > self.writer.settings.kept_bytes_max
                || age >= self.writer.settings.kept_age_max.as_millis();
            if !is_over {
                return;
            }
            let bytes = length(path);
            total -= bytes;
            if is_doomed {
                continue;
            }
            let removed = Removed {
                at_unix_ms: now,
                first: *first,
                last: Position(next.header.first.0 - 1),
                bytes,
                hash: next.header.previous.0,
            };
            let position = self.writer.shared.add(&Record::Removed(removed));
            self.doomed.push((position, path.clone()));
        }
    }

    /// Deletes what the log says was deleted.
    fn delete_doomed(&mut self) {
        let durable = self.writer.end.position;
        self.doomed.retain(|(position, path)| {
            let is_written = *position <= durable;
            if is_written && let Err(error) = fs::remove_file(path) {
                tracing::error!(event = "audit_not_removed", path = %path.display(), %error, "kept");
            }
            !is_written
        });
    }
}

impl Current {
    /// Begins a segment: it is there whole or not at all.
    pub(super) fn create(directory: &Path, header: Header) -> io::Result<(Self, Hash)> {
        let path = directory.join(segment::name(header.first));
        let half = path.with_extension("partial");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&half)?;
        let (bytes, hash) = header.encode();
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        fs::rename(&half, &path)?;
        File::open(directory)?.sync_all()?;
        Ok((Self { file, header, bytes: bytes.len() as u64 }, hash))
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.bytes)?;
        self.file.sync_data()
    }
}

/// How long an idle thread sleeps; the disk is looked at then.
const IDLE: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// A closing gate does not wait for ever for a dead disk.
const CLOSING_TRIES: u32 = 10;
/// No request is under way for so long: twice the longest budget.
const UNDER_WAY_MAX: Duration = Duration::from_secs(15);
const SPARE_BYTES_MAX: usize = 8 << 20;
/// So much more of the disk than what pages has to be left until the page is over.
const SPACE_AGAIN_PERCENT: f64 = 5.0;
