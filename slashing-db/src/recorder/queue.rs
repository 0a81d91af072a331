//! What waits for the recorder: bounded by places, blocks first, whole-key changes in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::pending::{Completion, Ticket, channel};
use super::stats::Counters;
use super::{BATCH_MAX, Pace, Place, Priority, RecordError, ReserveError};
use crate::engine::Entry;
use crate::health::Health;
use crate::rules::Record;

/// One entry with its waiter. The place that it took is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Request {
    entry: Entry,
    arrival: u64,
    waiter: Waiter,
}

/// Who waits for an entry, and since when.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) completion: Completion,
    pub(crate) queued_at: Duration,
    _place: Option<Place>,
}

impl Request {
    pub(crate) fn split(self) -> (Entry, Waiter) {
        (self.entry, self.waiter)
    }
}

/// What the recorder's thread is doing, so that a sender wakes it only when that is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thread {
    Writing,
    Idle,
    Pausing,
}

#[derive(Debug)]
struct Waiting {
    urgent: VecDeque<Request>,
    normal: VecDeque<Request>,
    /// How many of the normal ones change a key as a whole.
    key_changes: usize,
    arrivals: u64,
    thread: Thread,
    /// As many as the thread waits for while it pauses.
    enough: usize,
    /// Why nothing more is taken in.
    closed: Option<RecordError>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    places_taken: AtomicUsize,
    places_max: usize,
    pub(crate) health: Arc<Health>,
    pub(crate) counters: Counters,
    pub(crate) monotonic: fn() -> Duration,
}

impl Queue {
    pub(crate) fn new(places_max: usize, health: Arc<Health>, monotonic: fn() -> Duration) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                urgent: VecDeque::new(),
                normal: VecDeque::new(),
                key_changes: 0,
                arrivals: 0,
                thread: Thread::Writing,
                enough: 1,
                closed: None,
            }),
            wake: Condvar::new(),
            places_taken: AtomicUsize::new(0),
            places_max,
            health,
            counters: Counters::default(),
            monotonic,
        }
    }

    pub(crate) fn places(&self) -> (usize, usize) {
        (self.places_taken.load(Ordering::Relaxed), self.places_max)
    }

    pub(crate) fn reserve(self: &Arc<Self>, priority: Priority) -> Result<Place, ReserveError> {
        if self.health.is_poisoned() {
            return Err(ReserveError::Poisoned);
        }
        match self.waiting.lock().closed {
            None => {}
            Some(RecordError::ShuttingDown) => return Err(ReserveError::ShuttingDown),
            // It failed since the look above: a fault of the disk is not told as a clean stop.
            Some(RecordError::Poisoned | RecordError::Superseded(_)) => {
                return Err(ReserveError::Poisoned);
            }
        }
        let max = match priority {
            Priority::Block => self.places_max,
            Priority::Attestation => self.places_max - self.places_max / 8,
        };
        self.places_taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < max).then_some(taken + 1)
            })
            .map(|_| Place { queue: Arc::clone(self) })
            .map_err(|_| ReserveError::QueueFull)
    }

    pub(crate) fn give_back(&self) {
        self.places_taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Queues an entry. Never blocks on the disk.
    pub(crate) fn send(&self, entry: Entry, place: Option<Place>) -> Ticket {
        let queued_at = (self.monotonic)();
        let is_urgent = match &entry {
            Entry::Advance(_, record) | Entry::Confirm(_, record) => match record {
                Record::Block(_) => true,
                Record::Attestation(_) | Record::Counted(..) => false,
            },
            Entry::Key(_) => false,
            Entry::Meta(..) => true,
        };
        let is_key_change = matches!(entry, Entry::Key(_));
        let (completion, ticket) = channel();
        let mut waiting = self.waiting.lock();
        if let Some(error) = waiting.closed {
            drop(waiting);
            return Ticket::failed(error);
        }
        let arrival = waiting.arrivals;
        waiting.arrivals += 1;
        waiting.key_changes += usize::from(is_key_change);
        let waiter = Waiter { completion, queued_at, _place: place };
        let request = Request { entry, arrival, waiter };
        if is_urgent {
            waiting.urgent.push_back(request);
        } else {
            waiting.normal.push_back(request);
        }
        let wakes = match waiting.thread {
            Thread::Writing => false,
            Thread::Idle => true,
            Thread::Pausing => is_urgent || waiting.normal.len() >= waiting.enough,
        };
        drop(waiting);
        if wakes {
            self.wake.notify_one();
        }
        ticket
    }

    /// The next batch in the order in which it must be written; nothing when closed and drained.
    pub(crate) fn next_batch(&self, pace: &Pace) -> Option<Vec<Request>> {
        let mut waiting = self.waiting.lock();
        while waiting.is_empty() {
            if waiting.closed.is_some() {
                return None;
            }
            waiting.thread = Thread::Idle;
            self.wake.wait(&mut waiting);
        }
        waiting.enough = pace.enough();
        waiting.thread = Thread::Pausing;
        while waiting.may_grow() {
            let left = pace.until().saturating_sub((self.monotonic)());
            if left.is_zero() || self.wake.wait_for(&mut waiting, left).timed_out() {
                break;
            }
        }
        waiting.thread = Thread::Writing;
        let count = waiting.len().min(BATCH_MAX);
        Some((0..count).map_while(|_| waiting.pop()).collect())
    }

    /// Takes nothing more in. What waits is still written.
    pub(crate) fn close(&self, error: RecordError) {
        let mut waiting = self.waiting.lock();
        waiting.closed.get_or_insert(error);
        self.wake.notify_one();
    }

    /// Fails all that waits, and all that comes.
    pub(crate) fn fail_all(&self, error: RecordError) {
        let mut waiting = self.waiting.lock();
        waiting.closed = Some(error);
        waiting.key_changes = 0;
        let urgent = std::mem::take(&mut waiting.urgent);
        let normal = std::mem::take(&mut waiting.normal);
        drop(waiting);
        for request in urgent.into_iter().chain(normal) {
            request.waiter.completion.complete(Err(error));
        }
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.normal.is_empty()
    }

    fn len(&self) -> usize {
        self.urgent.len() + self.normal.len()
    }

    /// Whether it is right to wait for more.
    fn may_grow(&self) -> bool {
        self.urgent.is_empty() && self.normal.len() < self.enough && self.closed.is_none()
    }

    /// Urgent requests go first, but while a change of a whole key waits, all go in the order of
    /// their arrival: such a change holds the key's block record too, and a block that overtook it
    /// or was overtaken by it would leave the lower record on disk.
    fn pop(&mut self) -> Option<Request> {
        let urgent_first = match (self.urgent.front(), self.normal.front()) {
            (Some(urgent), Some(normal)) => {
                self.key_changes == 0 || urgent.arrival < normal.arrival
            }
            (urgent, _) => urgent.is_some(),
        };
        if urgent_first {
            return self.urgent.pop_front();
        }
        let request = self.normal.pop_front()?;
        self.key_changes -= usize::from(matches!(request.entry, Entry::Key(_)));
        Some(request)
    }
}
