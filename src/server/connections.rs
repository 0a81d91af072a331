//! The open connections of one worker, each in the list of its phase.
//!
//! A list is ordered by the time at which its connections entered the phase, because they enter
//! at its end: the longest in a phase is its head. So the sweep looks at those that are late and
//! at one more, and idle connections cost the others nothing, however many there are.

use std::task::Waker;

use tokio::time::Instant;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Has not come to its first request: a balancer's header or TLS is under way.
    Handshake,
    /// Waits for the first byte of a request.
    Idle,
    /// Has received a part of a request's headers.
    Head,
    /// Answers a request, or is about to end.
    Busy,
    /// Has bytes of an answer that the peer does not take.
    Stalled,
}

const PHASES: usize = 5;

/// What a connection has been told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    Serve,
    /// Finish the request in hand, answer it, and end.
    Finish,
    /// End now.
    Cut,
}

/// A connection's place in [`Connections`]; valid until it is removed.
pub(super) type Id = u32;

const NONE: Id = Id::MAX;

#[derive(Debug)]
struct Slot {
    phase: Phase,
    since: Instant,
    previous: Id,
    next: Id,
    order: Order,
    waker: Option<Waker>,
    is_open: bool,
}

#[derive(Debug, Clone, Copy)]
struct List {
    first: Id,
    last: Id,
    len: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Connections {
    slots: Vec<Slot>,
    free: Vec<Id>,
    lists: [List; PHASES],
    draining: bool,
}

impl Connections {
    pub(super) fn new() -> Self {
        let empty = List { first: NONE, last: NONE, len: 0 };
        Self { slots: Vec::new(), free: Vec::new(), lists: [empty; PHASES], draining: false }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn count(&self, phase: Phase) -> usize {
        self.lists[phase as usize].len
    }

    /// Adds a connection in its first phase.
    pub(super) fn insert(&mut self, phase: Phase, now: Instant) -> Id {
        let slot = Slot {
            phase,
            since: now,
            previous: NONE,
            next: NONE,
            order: Order::Serve,
            waker: None,
            is_open: true,
        };
        let id = if let Some(id) = self.free.pop() {
            self.slots[id as usize] = slot;
            id
        } else {
            self.slots.push(slot);
            Id::try_from(self.slots.len() - 1).expect("fewer connections than 2^32 files")
        };
        self.append(id, phase, now);
        id
    }

    pub(super) fn remove(&mut self, id: Id) {
        self.unlink(id);
        let slot = &mut self.slots[id as usize];
        slot.is_open = false;
        slot.waker = None;
        self.free.push(id);
    }

    pub(super) fn phase(&self, id: Id) -> Phase {
        self.slots[id as usize].phase
    }

    /// Moves a connection to the end of a phase, also when it is in that phase already.
    pub(super) fn enter(&mut self, id: Id, phase: Phase, now: Instant) {
        self.unlink(id);
        self.append(id, phase, now);
    }

    /// The connection that has been in `phase` for the longest time, and since when.
    pub(super) fn longest(&self, phase: Phase) -> Option<(Id, Instant)> {
        let first = self.lists[phase as usize].first;
        (first != NONE).then(|| (first, self.slots[first as usize].since))
    }

    /// What the connection has been told; remembers whom to wake when that changes.
    pub(super) fn order(&mut self, id: Id, waker: &Waker) -> Order {
        let slot = &mut self.slots[id as usize];
        match &mut slot.waker {
            Some(known) => known.clone_from(waker),
            unknown => *unknown = Some(waker.clone()),
        }
        slot.order
    }

    /// Ends a connection now: it is in no phase that can time out or be evicted any more.
    pub(super) fn cut(&mut self, id: Id, now: Instant) {
        self.enter(id, Phase::Busy, now);
        self.tell(id, Order::Cut);
    }

    /// Tells every connection to end after the request in hand; none is added after this.
    pub(super) fn finish_all(&mut self) {
        self.draining = true;
        for id in 0..self.slots.len() {
            let slot = &self.slots[id];
            if slot.is_open && slot.order == Order::Serve {
                self.tell(id as Id, Order::Finish);
            }
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    fn tell(&mut self, id: Id, order: Order) {
        let slot = &mut self.slots[id as usize];
        slot.order = order;
        if let Some(waker) = &slot.waker {
            waker.wake_by_ref();
        }
    }

    fn unlink(&mut self, id: Id) {
        let Slot { phase, previous, next, .. } = self.slots[id as usize];
        let list = &mut self.lists[phase as usize];
        list.len -= 1;
        match previous {
            NONE => list.first = next,
            previous => self.slots[previous as usize].next = next,
        }
        match next {
            NONE => list.last = previous,
            next => self.slots[next as usize].previous = previous,
        }
    }

    fn append(&mut self, id: Id, phase: Phase, now: Instant) {
        let list = &mut self.lists[phase as usize];
        let last = std::mem::replace(&mut list.last, id);
        list.len += 1;
        match last {
            NONE => list.first = id,
            last => self.slots[last as usize].next = id,
        }
        let slot = &mut self.slots[id as usize];
        slot.phase = phase;
        slot.since = now;
        slot.previous = last;
        slot.next = NONE;
    }
}
