//! Who may use a connection, and the connections that nobody uses.
//!
//! The classes are ordered. Class k and all below it together hold at most their share of the
//! places, so that a flood of the lowest always leaves places for the others; and a place that
//! becomes free goes to the highest class that waits and may have it, first come first served
//! within a class.
//!
//! A connection exists only in a place or idle, and an idle one is taken before a new one is made,
//! so there are never more connections than places.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::ClientConfig;
use super::stats::{self, ClientStats};

/// The number of classes.
pub const CLASSES: usize = 5;

/// How urgent a call is: `Class::new(0)` comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(usize);

impl Class {
    /// The class of rank `rank`.
    ///
    /// # Panics
    /// When there is no such class; ranks are constants.
    #[must_use]
    pub const fn new(rank: usize) -> Self {
        assert!(rank < CLASSES, "there are five classes");
        Self(rank)
    }

    /// Its rank, from 0, the most urgent.
    #[must_use]
    pub const fn rank(self) -> usize {
        self.0
    }
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    waker: Waker,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    since: Instant,
}

#[derive(Debug)]
struct State<C> {
    /// Places that class k and all below it may hold together.
    in_use_max: [usize; CLASSES],
    in_use: [usize; CLASSES],
    /// Waiters that class k and all below it may have together.
    waiting_max: [usize; CLASSES],
    waiting: [VecDeque<Waiter>; CLASSES],
    /// Tickets whose place is kept for them until they come for it.
    granted: Vec<u64>,
    next_ticket: u64,
    /// The least recently used first.
    idle: VecDeque<Idle<C>>,
}

/// Whether `class` may have one more, when class k and all below it may have `max[k]` together.
fn admits(class: Class, held: [usize; CLASSES], max: &[usize; CLASSES]) -> bool {
    let mut of_class_and_below: usize = held[class.0 + 1..].iter().sum();
    (0..=class.0).rev().all(|k| {
        of_class_and_below += held[k];
        of_class_and_below < max[k]
    })
}

impl<C> State<C> {
    fn admits(&self, class: Class) -> bool {
        admits(class, self.in_use, &self.in_use_max)
    }

    fn has_room_to_wait(&self, class: Class) -> bool {
        admits(class, self.waiting.each_ref().map(VecDeque::len), &self.waiting_max)
    }

    /// Grants a place to the first of the highest class that may have one; returns whom to wake.
    fn grant(&mut self) -> Option<Waker> {
        let is_next = |rank: &usize| !self.waiting[*rank].is_empty() && self.admits(Class(*rank));
        let rank = (0..CLASSES).find(is_next)?;
        let waiter = self.waiting[rank].pop_front()?;
        self.in_use[rank] += 1;
        self.granted.push(waiter.ticket);
        Some(waiter.waker)
    }

    /// Whether the ticket's place is ready; then it is taken.
    fn take_granted(&mut self, ticket: u64) -> bool {
        let position = self.granted.iter().position(|granted| *granted == ticket);
        position.map(|position| self.granted.swap_remove(position)).is_some()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pool<C> {
    state: RefCell<State<C>>,
    stats: Arc<ClientStats>,
}

impl<C> Pool<C> {
    pub(super) fn new(config: &ClientConfig, stats: Arc<ClientStats>) -> Rc<Self> {
        // At least one each: a small pool serves every class, if not at the same time.
        let share = |of: usize| {
            config.class_percents.map(|percent| (of * usize::from(percent) / 100).max(1))
        };
        let state = State {
            in_use_max: share(config.connections_max),
            in_use: [0; CLASSES],
            waiting_max: share(config.waiting_max),
            waiting: Default::default(),
            granted: Vec::new(),
            next_ticket: 0,
            idle: VecDeque::new(),
        };
        Rc::new(Self { state: RefCell::new(state), stats })
    }

    /// Waits for a place. `None`, at once, when too many wait already.
    pub(super) fn enter(self: &Rc<Self>, class: Class) -> Enter<C> {
        Enter { pool: Rc::clone(self), class, progress: Progress::Begun }
    }

    /// The idle connection that was used last.
    pub(super) fn take_idle(&self) -> Option<C> {
        let mut state = self.state.borrow_mut();
        let idle = state.idle.pop_back()?;
        stats::set(&self.stats.idle, state.idle.len());
        Some(idle.connection)
    }

    /// Closes the connections that have been idle for `timeout` or longer.
    pub(super) fn close_stale(&self, now: Instant, timeout: Duration) {
        let mut state = self.state.borrow_mut();
        while state.idle.front().is_some_and(|idle| idle.since + timeout <= now) {
            state.idle.pop_front();
        }
        stats::set(&self.stats.idle, state.idle.len());
    }

    fn add_idle(&self, connection: C, since: Instant) {
        let mut state = self.state.borrow_mut();
        state.idle.push_back(Idle { connection, since });
        stats::set(&self.stats.idle, state.idle.len());
    }

    fn release(&self, class: Class) {
        self.state.borrow_mut().in_use[class.0] -= 1;
        self.publish(class);
        loop {
            // The lock ends before the wake-up, which may run anything.
            let granted = self.state.borrow_mut().grant();
            let Some(waker) = granted else { break };
            waker.wake();
        }
    }

    /// Brings the gauges of one class up to date.
    fn publish(&self, class: Class) {
        let state = self.state.borrow();
        stats::set(&self.stats.in_use[class.0], state.in_use[class.0]);
        stats::set(&self.stats.waiting[class.0], state.waiting[class.0].len());
    }
}

/// The right to use one connection, given back on drop.
#[derive(Debug)]
pub(super) struct Place<C> {
    pool: Rc<Pool<C>>,
    class: Class,
}

impl<C> Place<C> {
    /// Gives the place back, with a connection that may be used again.
    pub(super) fn leave(self, connection: C, now: Instant) {
        self.pool.add_idle(connection, now);
    }
}

impl<C> Drop for Place<C> {
    fn drop(&mut self) {
        self.pool.release(self.class);
    }
}

#[derive(Debug, Clone, Copy)]
enum Progress {
    Begun,
    Waiting { ticket: u64 },
    Done,
}

/// Waits for a [`Place`]; leaves its queue when dropped.
#[derive(Debug)]
pub(super) struct Enter<C> {
    pool: Rc<Pool<C>>,
    class: Class,
    progress: Progress,
}

impl<C> Enter<C> {
    fn place(&mut self) -> Place<C> {
        self.progress = Progress::Done;
        self.pool.publish(self.class);
        Place { pool: Rc::clone(&self.pool), class: self.class }
    }
}

impl<C> Future for Enter<C> {
    type Output = Option<Place<C>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Place<C>>> {
        let this = &mut *self;
        let rank = this.class.0;
        let mut state = this.pool.state.borrow_mut();
        match this.progress {
            Progress::Begun => {
                // Those of its class who came earlier go first, even if there is a place.
                if state.waiting[rank].is_empty() && state.admits(this.class) {
                    state.in_use[rank] += 1;
                    drop(state);
                    return Poll::Ready(Some(this.place()));
                }
                if !state.has_room_to_wait(this.class) {
                    this.progress = Progress::Done;
                    return Poll::Ready(None);
                }
                let ticket = state.next_ticket;
                state.next_ticket += 1;
                state.waiting[rank].push_back(Waiter { ticket, waker: cx.waker().clone() });
                this.progress = Progress::Waiting { ticket };
                drop(state);
                this.pool.publish(this.class);
                Poll::Pending
            }
            Progress::Waiting { ticket } => {
                if state.take_granted(ticket) {
                    drop(state);
                    return Poll::Ready(Some(this.place()));
                }
                let waiter = state.waiting[rank].iter_mut().find(|waiter| waiter.ticket == ticket);
                waiter.expect("a ticket waits until it is granted").waker.clone_from(cx.waker());
                Poll::Pending
            }
            Progress::Done => Poll::Ready(None),
        }
    }
}

impl<C> Drop for Enter<C> {
    fn drop(&mut self) {
        let Progress::Waiting { ticket } = self.progress else {
            return;
        };
        let mut state = self.pool.state.borrow_mut();
        let was_granted = state.take_granted(ticket);
        if !was_granted {
            state.waiting[self.class.0].retain(|waiter| waiter.ticket != ticket);
        }
        drop(state);
        if was_granted {
            self.pool.release(self.class);
        }
        self.pool.publish(self.class);
    }
}
