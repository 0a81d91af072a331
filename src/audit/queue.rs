//! The way into the log: places, and the bytes that wait for the thread that writes.
//!
//! A record is encoded where it is made, straight into what the thread takes next: nothing is
//! allocated for it, and what it waits for is a lock that is held for the time of a copy.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::checkpoint::Anchor;
use super::codec::Output;
use super::record::{ActionRecord, DecisionRecord, Position, Record};
use super::{Audit, AuditFull, segment};
use crate::clock::Stopwatch;
use crate::metrics::AuditMetrics;

/// What all handles of a log share with the thread that writes it.
pub(super) struct Shared {
    /// Nothing is kept.
    pub(super) is_off: bool,
    pub(super) queue: Mutex<Queue>,
    /// Wakes the thread that writes.
    pub(super) wake: Condvar,
    /// Wakes those who wait for it.
    pub(super) done: Condvar,
    /// Places that are taken, those of decisions that are not synced yet among them.
    taken: AtomicUsize,
    places_max: usize,
    /// Bytes that wait, or are being written.
    bytes: AtomicUsize,
    /// The disk is full, or cannot be written.
    pub(super) is_blocked: AtomicBool,
    is_closed: AtomicBool,
    /// When the oldest record that is not synced was written in, by `base`, in milliseconds and
    /// from 1 on; 0 where all are synced.
    pub(super) waiting_since: AtomicU64,
    /// When that was first found to be too long ago; 0 where it is not.
    late_since: AtomicU64,
    base: Stopwatch,
    stall_ms: u64,
    /// The last position that is synced.
    pub(super) durable: AtomicU64,
    waiters: Mutex<Vec<(Position, Waker)>>,
    pub(super) last: Mutex<Option<Anchor>>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
    pub(super) metrics: AuditMetrics,
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Whole records, their tags still empty.
    pub(super) frames: Vec<u8>,
    /// How many of them have a place.
    pub(super) places: usize,
    /// How many have none.
    pub(super) actions: usize,
    /// The last position that was given.
    pub(super) last: u64,
    /// The highest number of the slashing store among them.
    pub(super) store_sequence: u64,
    /// When the first of them was written in.
    pub(super) since: Option<Stopwatch>,
    /// Somebody waits for the disk.
    pub(super) is_urgent: bool,
    /// The log is being closed: what waits is the last.
    pub(super) is_closing: bool,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) places_max: usize,
    pub(super) stall: Duration,
}

impl Shared {
    pub(super) fn new(bounds: Bounds, last: Position, metrics: AuditMetrics) -> Self {
        Self {
            is_off: false,
            queue: Mutex::new(Queue { last: last.0, ..Queue::default() }),
            wake: Condvar::new(),
            done: Condvar::new(),
            taken: AtomicUsize::new(0),
            places_max: bounds.places_max,
            bytes: AtomicUsize::new(0),
            is_blocked: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            waiting_since: AtomicU64::new(0),
            late_since: AtomicU64::new(0),
            base: Stopwatch::start(),
            stall_ms: u64::try_from(bounds.stall.as_millis()).unwrap_or(u64::MAX),
            durable: AtomicU64::new(last.0),
            waiters: Mutex::default(),
            last: Mutex::default(),
            thread: Mutex::default(),
            metrics,
        }
    }

    pub(super) fn off() -> Self {
        let bounds = Bounds { places_max: usize::MAX, stall: Duration::MAX };
        Self { is_off: true, ..Self::new(bounds, Position(0), AuditMetrics::unregistered()) }
    }

    /// Milliseconds since the log was opened, from 1 on.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Whether what was written in is not on disk after all the time that it may take. A process
    /// that was suspended finds it late too: the thread that writes then has a moment to show that
    /// it was not the disk.
    fn is_stalled(&self) -> bool {
        let since = self.waiting_since.load(Acquire);
        if since == 0 {
            return false;
        }
        let now = self.now_ms();
        if now.saturating_sub(since) <= self.stall_ms {
            return false;
        }
        let late = self.late_since.compare_exchange(0, now, AcqRel, Acquire);
        late.is_err_and(|late| now.saturating_sub(late) > LATE_MS)
    }

    fn reserve(&self, places_max: usize) -> Result<(), AuditFull> {
        if self.is_off {
            return Ok(());
        }
        if self.is_closed.load(Relaxed) || self.is_blocked.load(Relaxed) {
            return Err(AuditFull);
        }
        if self.is_stalled() {
            self.metrics.blocked.set(1);
            return Err(AuditFull);
        }
        let is_full =
            self.taken.fetch_add(1, AcqRel) >= places_max || self.bytes.load(Relaxed) >= BYTES_MAX;
        if is_full {
            self.give_back(1);
            return Err(AuditFull);
        }
        Ok(())
    }

    fn give_back(&self, places: usize) {
        if !self.is_off {
            self.taken.fetch_sub(places, AcqRel);
        }
    }

    fn push(&self, kind: Entry, write: impl FnOnce(&mut Output<'_>)) -> Position {
        let mut queue = self.queue.lock();
        queue.last += 1;
        let position = Position(queue.last);
        if self.is_off {
            return position;
        }
        let before = queue.frames.len();
        let is_first = before == 0;
        segment::frame(&mut queue.frames, |frames| write(&mut Output(frames)));
        self.bytes.fetch_add(queue.frames.len() - before, Relaxed);
        match kind {
            Entry::Decision { sequence } => {
                queue.places += 1;
                queue.store_sequence = queue.store_sequence.max(sequence.unwrap_or(0));
            }
            Entry::Action => queue.actions += 1,
        }
        if is_first {
            queue.since = Some(Stopwatch::start());
            if self.waiting_since.load(Relaxed) == 0 {
                self.waiting_since.store(self.now_ms(), Release);
            }
            self.wake.notify_one();
        }
        position
    }

    /// A record of the log's own, or an action: it has no place.
    pub(super) fn add(&self, record: &Record) -> Position {
        self.push(Entry::Action, |output| output.record(record))
    }

    /// All up to `position` is synced: `places` are free again, and who waited for it goes on.
    pub(super) fn synced(&self, position: Position, places: usize, bytes: usize) {
        self.give_back(places);
        self.bytes.fetch_sub(bytes, Relaxed);
        self.durable.store(position.0, Release);
        let queue = self.queue.lock();
        let since = if queue.frames.is_empty() { 0 } else { self.now_ms() };
        self.waiting_since.store(since, Release);
        self.late_since.store(0, Release);
        drop(queue);
        self.done.notify_all();
        let mut waiters = self.waiters.lock();
        let ready: Vec<_> = waiters.extract_if(.., |(at, _)| *at <= position).collect();
        drop(waiters);
        ready.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// What waits is to be written at once.
    pub(super) fn hurry(&self) {
        self.queue.lock().is_urgent = true;
        self.wake.notify_one();
    }

    fn wait_until(&self, is_there: impl Fn(&Self, &Queue) -> bool, longest: Duration) -> bool {
        let watch = Stopwatch::start();
        let mut queue = self.queue.lock();
        while !is_there(self, &queue) {
            let left = longest.saturating_sub(watch.elapsed());
            if left.is_zero() {
                return false;
            }
            self.done.wait_for(&mut queue, left);
        }
        true
    }

    /// Nothing is taken on any more; gives the thread, which writes what waits and ends.
    fn close(&self) -> Option<JoinHandle<()>> {
        self.is_closed.store(true, Release);
        self.queue.lock().is_closing = true;
        self.wake.notify_one();
        self.thread.lock().take()
    }

    pub(super) fn queue_length(&self) -> usize {
        self.taken.load(Relaxed)
    }
}

/// How a record came in.
enum Entry {
    Decision { sequence: Option<u64> },
    Action,
}

/// A place in the queue. One that is dropped unused is free again.
#[must_use = "a place that is not used holds up others"]
#[derive(Debug)]
pub struct Place {
    audit: Audit,
    is_used: bool,
}

impl Place {
    /// Writes down a decision. Waits for nothing.
    pub fn write(mut self, decision: DecisionRecord) -> Position {
        self.is_used = true;
        let sequence = decision.store_sequence;
        let shared = &self.audit.0;
        shared.push(Entry::Decision { sequence }, |output| output.decision(&decision))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_used {
            self.audit.0.give_back(1);
        }
    }
}

impl Audit {
    /// Takes a place in the queue. Waits for nothing.
    ///
    /// # Errors
    /// [`AuditFull`]
    pub fn reserve(&self) -> Result<Place, AuditFull> {
        self.0.reserve(self.0.places_max)?;
        Ok(Place { audit: self.clone(), is_used: false })
    }

    /// Takes a place for what was decided before one could be taken: a request that its very
    /// content speaks against. No flood of those takes the places of the others: half of all is
    /// left to them.
    ///
    /// # Errors
    /// [`AuditFull`]
    pub fn reserve_late(&self) -> Result<Place, AuditFull> {
        self.0.reserve(self.0.places_max / 2)?;
        Ok(Place { audit: self.clone(), is_used: false })
    }

    /// Writes down what somebody did. Waits for a place in the queue, not for the disk.
    pub fn act(&self, action: ActionRecord) -> Position {
        let has_room = |_: &Shared, queue: &Queue| queue.actions < ACTIONS_MAX;
        if !self.0.is_off && !self.0.wait_until(has_room, ROOM_WAIT_MAX) {
            tracing::error!(event = "audit_full", "actions wait for the disk of the audit log");
        }
        if self.0.is_closed.load(Acquire) {
            self.0.metrics.unrecorded.inc();
            tracing::error!(
                event = "audit_closed",
                action = action.action,
                subject = action.subject,
                "done after the audit log was closed; it stands here alone"
            );
        }
        self.0.push(Entry::Action, |output| output.action(&action))
    }

    /// Completes once the record at `position` is on disk, which is hurried.
    pub fn synced(&self, position: Position) -> Synced {
        if !self.is_synced(position) {
            self.0.hurry();
        }
        Synced { audit: self.clone(), position }
    }

    /// Whether the record at `position` is on disk.
    pub fn is_synced(&self, position: Position) -> bool {
        self.0.is_off || self.0.durable.load(Acquire) >= position.0
    }

    /// Whether nothing is taken on, because the disk is full or does not answer.
    pub fn is_blocked(&self) -> bool {
        self.0.is_blocked.load(Relaxed) || self.0.is_stalled()
    }

    /// Waits until all that was written in so far is on disk; `false` if that takes too long.
    pub fn flush(&self) -> bool {
        let last = Position(self.0.queue.lock().last);
        if self.is_synced(last) {
            return true;
        }
        self.0.hurry();
        self.0.wait_until(|shared, _| shared.durable.load(Acquire) >= last.0, FLUSH_MAX)
    }

    /// Writes what waits and a last checkpoint, and lets go of the directory: a successor may open
    /// it. Nothing is taken on any more.
    pub fn close(&self) {
        if let Some(thread) = self.0.close() {
            let _ = thread.join();
        }
    }

    /// The last checkpoint.
    pub fn last_checkpoint(&self) -> Option<Anchor> {
        *self.0.last.lock()
    }

    /// Places that are taken.
    pub fn queue_length(&self) -> usize {
        self.0.queue_length()
    }

    /// Counts a decision about an enrolled key that the log does not have.
    pub fn not_recorded(&self) {
        self.0.metrics.unrecorded.inc();
    }
}

/// See [`Audit::synced`].
#[derive(Debug)]
#[must_use = "nothing is waited for until it is polled"]
pub struct Synced {
    audit: Audit,
    position: Position,
}

impl Future for Synced {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.audit.is_synced(self.position) {
            return Poll::Ready(());
        }
        let mut waiters = self.audit.0.waiters.lock();
        // The thread looks at the list after it has said how far it is.
        if self.audit.is_synced(self.position) {
            return Poll::Ready(());
        }
        waiters.push((self.position, cx.waker().clone()));
        Poll::Pending
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shared { is_off, durable, .. } = &*self.0;
        f.debug_struct("Audit").field("is_off", is_off).field("durable", durable).finish()
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self(Arc::new(Shared::off()))
    }
}

/// What may wait for the disk at most: long explanations fill it before the places do.
pub(super) const BYTES_MAX: usize = 6 << 20;
/// How long a disk has that is late by the clock alone.
const LATE_MS: u64 = 250;
/// Actions that wait; people and playbooks make few.
const ACTIONS_MAX: usize = 65_536;
/// A quarantine must not wait for the disk of the log.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(1);
const FLUSH_MAX: Duration = Duration::from_secs(10);
