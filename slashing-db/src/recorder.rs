//! Group commit: one thread that makes records durable and tells each waiter about its own batch.
//!
//! The thread takes all that waits (up to 1,024, blocks first), writes it as one batch with one
//! sync, and completes each request by the result of that very batch. While it writes, the next
//! batch gathers by itself.
//!
//! When a commit begins is for `recorder/pace.rs` to say: an idle gate adds nothing to the time of
//! the disk, a busy one shares commits, and a block never waits.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::{Engine, Entry, Outcome};
use crate::health::{Health, Poison};
use crate::rules::{NotSafe, Record};

mod pace;
mod pending;
mod queue;
mod stats;
#[cfg(test)]
mod tests;

use pace::Pace;
pub(crate) use pending::Ticket;
pub use pending::{Changing, Pending};
use queue::{Queue, Request};
pub use stats::{BUCKETS, Histogram, Stats};

/// The most entries in one batch: beyond it, throughput no longer grows but latency does.
pub const BATCH_MAX: usize = 1024;

/// The nice value that the recorder asks for: starvation, not the disk, is what delays commits.
const NICE: i32 = -10;

/// Why a record has no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The store failed; whether the record was written is not known.
    #[error("the slashing store failed: nothing is signed until a restart")]
    Poisoned,
    /// The store knows of a record that does not allow this one. A verdict, not a fault.
    #[error("the slashing store already holds a record that does not allow this one")]
    Superseded(Record),
    /// The store is being closed.
    #[error("the slashing store is being closed")]
    ShuttingDown,
}

impl RecordError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Poisoned => "store_poisoned",
            Self::Superseded(_) => "superseded",
            Self::ShuttingDown => "closing",
        }
    }

    /// The verdict, where there is one; nothing where the store is at fault.
    #[must_use]
    pub const fn not_safe(&self) -> Option<NotSafe> {
        match *self {
            Self::Superseded(recorded) => Some(NotSafe::Superseded { recorded }),
            Self::Poisoned | Self::ShuttingDown => None,
        }
    }
}

/// Why there is no place in the recorder's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// More waits than the disk can write soon.
    #[error("the slashing store's queue is full")]
    QueueFull,
    /// The store failed.
    #[error("the slashing store failed: nothing is signed until a restart")]
    Poisoned,
    /// The store is being closed.
    #[error("the slashing store is being closed")]
    ShuttingDown,
}

/// Whose place: an eighth of all places is kept for blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// A proposal: rare, and worth most.
    Block,
    /// All else.
    Attestation,
}

/// A place in the queue, taken before the key's lock. Dropped unused, it is given back.
#[must_use = "a place is taken to record something"]
pub struct Place {
    queue: Arc<Queue>,
}

/// The handle by which places are reserved. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: Arc<Queue>,
}

/// The thread; joined, it gives the engine back.
pub(crate) type Thread = JoinHandle<Box<dyn Engine>>;

impl Recorder {
    /// Starts the thread. `monotonic`: a clock that never goes back, for measuring commits.
    pub(crate) fn start(
        engine: Box<dyn Engine>,
        health: Arc<Health>,
        places_max: usize,
        monotonic: fn() -> Duration,
    ) -> std::io::Result<(Self, Thread)> {
        let queue = Arc::new(Queue::new(places_max, health, monotonic));
        let run = {
            let queue = Arc::clone(&queue);
            move || supervise(&queue, engine)
        };
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(run)?;
        Ok((Self { queue }, thread))
    }

    /// Takes a place, before the key's lock is taken: under the lock nothing may fail for want of
    /// room.
    ///
    /// # Errors
    /// [`ReserveError`]; the request is refused at once, nothing waits for a place.
    pub fn reserve(&self, priority: Priority) -> Result<Place, ReserveError> {
        self.queue.reserve(priority)
    }

    /// The figures up to now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (places_taken, places_max) = self.queue.places();
        let counters = &self.queue.counters;
        Stats {
            places_taken,
            places_max,
            batch_entries: counters.batch_entries.snapshot(),
            commit_us: counters.commit_us.snapshot(),
            wait_us: counters.wait_us.snapshot(),
        }
    }

    /// Queues an entry of the store's own, which needs no place.
    pub(crate) fn send(&self, entry: Entry) -> Ticket {
        self.queue.send(entry, None)
    }

    /// Lets the thread write what waits, then end.
    pub(crate) fn close(&self) {
        self.queue.close(RecordError::ShuttingDown);
    }
}

impl Place {
    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.queue.health
    }

    pub(crate) fn send(self, entry: Entry) -> Ticket {
        let queue = Arc::clone(&self.queue);
        queue.send(entry, Some(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.give_back();
    }
}

/// Runs the thread so that neither a failure nor a panic leaves anybody waiting or signing.
fn supervise(queue: &Queue, mut engine: Box<dyn Engine>) -> Box<dyn Engine> {
    // Best effort: without the privilege the recorder runs at normal priority.
    let _ = rustix::process::setpriority_process(None, NICE);
    let result = catch_unwind(AssertUnwindSafe(|| run(queue, engine.as_mut())));
    let poison = match result {
        Ok(Ok(())) => return engine,
        Ok(Err(poison)) => poison,
        Err(_panic) => Poison::RecorderPanicked,
    };
    queue.health.set_poison(poison);
    queue.fail_all(RecordError::Poisoned);
    queue.health.tell(); // last: a callback may take its time
    engine // not dropped here: it keeps its directory locked until the process ends
}

fn run(queue: &Queue, engine: &mut dyn Engine) -> Result<(), Poison> {
    let mut pace = Pace::default();
    while let Some(batch) = queue.next_batch(&pace) {
        if queue.health.is_poisoned() {
            drop(batch); // each waiter is told that the store is lost
            queue.fail_all(RecordError::Poisoned);
            return Ok(());
        }
        let records = batch.len();
        let (took, ended) = write(queue, engine, batch)?;
        pace.committed(records, took, ended);
    }
    Ok(())
}

/// Writes one batch and tells each waiter. Gives the time that the commit took, and its end.
fn write(
    queue: &Queue,
    engine: &mut dyn Engine,
    batch: Vec<Request>,
) -> Result<(Duration, Duration), Poison> {
    let (entries, waiters): (Vec<_>, Vec<_>) = batch.into_iter().map(Request::split).unzip();
    let started = (queue.monotonic)();
    let outcomes = engine.commit(&entries).map_err(|fatal| {
        // Poisoned before anybody hears of it: who is told to retry finds the store closed.
        queue.health.lease().poison();
        Poison::Engine(fatal)
    })?;
    assert_eq!(outcomes.len(), entries.len(), "an engine answers each entry of a batch");
    let ended = (queue.monotonic)();
    let recorded = entries.iter().zip(&outcomes).filter(|(_, it)| **it == Outcome::Recorded);
    queue.health.note_durable(recorded.map(|(entry, _)| sequence(entry)).max().unwrap_or(0));
    queue.counters.batch_entries.add(entries.len() as u64);
    queue.counters.commit_us.add_us(ended.saturating_sub(started));
    let settled = outcomes.into_iter().zip(waiters).filter_map(|(outcome, waiter)| {
        queue.counters.wait_us.add_us(ended.saturating_sub(waiter.queued_at));
        waiter.completion.settle(match outcome {
            Outcome::Recorded => Ok(()),
            Outcome::Superseded(record) => Err(RecordError::Superseded(record)),
        })
    });
    // Woken when all are settled: who is woken first must not be at work before the others wait.
    let wakers: Vec<_> = settled.collect();
    wakers.into_iter().for_each(std::task::Waker::wake);
    Ok((ended.saturating_sub(started), ended))
}

/// The highest number in an entry.
fn sequence(entry: &Entry) -> u64 {
    match entry {
        Entry::Advance(_, record) | Entry::Confirm(_, record) => record.sequence(),
        Entry::Key(key) => key.sequence(),
        Entry::Meta(..) => 0,
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("places", &self.queue.places()).finish()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}
