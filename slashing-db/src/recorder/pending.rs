//! One request's own channel from the recorder: acknowledged by the result of its own batch.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};

use super::RecordError;
use crate::permit::Permit;

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Result<(), RecordError>),
}

#[derive(Debug)]
struct Slot {
    state: Mutex<State>,
    done: Condvar,
}

/// The recorder's end. Dropped without a result, the store is lost to the waiter.
#[derive(Debug)]
pub(crate) struct Completion(Option<Arc<Slot>>);

/// The waiter's end.
#[derive(Debug)]
pub(crate) struct Ticket(Arc<Slot>);

pub(crate) fn channel() -> (Completion, Ticket) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Waiting(None)), done: Condvar::new() });
    (Completion(Some(Arc::clone(&slot))), Ticket(slot))
}

impl Completion {
    pub(crate) fn complete(mut self, result: Result<(), RecordError>) {
        if let Some(waker) = self.set(result) {
            waker.wake();
        }
    }

    /// Sets the result, and leaves it to the caller to wake whoever awaits it.
    pub(crate) fn settle(mut self, result: Result<(), RecordError>) -> Option<Waker> {
        self.set(result)
    }

    fn set(&mut self, result: Result<(), RecordError>) -> Option<Waker> {
        let slot = self.0.take()?;
        let before = std::mem::replace(&mut *slot.state.lock(), State::Done(result));
        slot.done.notify_all();
        match before {
            State::Waiting(waker) => waker,
            State::Done(_) => None,
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(waker) = self.set(Err(RecordError::Poisoned)) {
            waker.wake();
        }
    }
}

impl Ticket {
    /// A ticket that is done already.
    pub(crate) fn failed(error: RecordError) -> Self {
        Self::with(Err(error))
    }

    /// A ticket for a record that nobody writes: measurements of all else, and nothing that signs.
    pub(crate) fn unrecorded() -> Self {
        Self::with(Ok(()))
    }

    fn with(result: Result<(), RecordError>) -> Self {
        let (completion, ticket) = channel();
        completion.complete(result);
        ticket
    }

    pub(crate) fn wait(&self) -> Result<(), RecordError> {
        let mut state = self.0.state.lock();
        loop {
            match &*state {
                State::Done(result) => return *result,
                State::Waiting(_) => self.0.done.wait(&mut state),
            }
        }
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Result<(), RecordError>> {
        let mut state = self.0.state.lock();
        match &mut *state {
            State::Done(result) => Poll::Ready(*result),
            State::Waiting(waker) => {
                if !waker.as_ref().is_some_and(|old| old.will_wake(context.waker())) {
                    *waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

/// A record on its way to the disk; its output is the [`Permit`].
///
/// Dropping it gives up the permit, not the record.
#[derive(Debug)]
#[must_use = "a record that nobody waits for is a duty lost"]
pub struct Pending {
    ticket: Ticket,
    permit: Option<Permit>,
}

impl Pending {
    pub(crate) const fn new(ticket: Ticket, permit: Permit) -> Self {
        Self { ticket, permit: Some(permit) }
    }

    /// Blocks until the record is durable, for tools that have no executor.
    ///
    /// # Errors
    /// As awaiting it.
    pub fn wait(mut self) -> Result<Permit, RecordError> {
        self.ticket.wait()?;
        Ok(self.take())
    }

    fn take(&mut self) -> Permit {
        self.permit.take().expect("a future is not polled again once it is ready")
    }
}

impl Future for Pending {
    type Output = Result<Permit, RecordError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.ticket.poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(self.take())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A change of a key on its way to the disk. Dropping it does not take the change back.
#[derive(Debug)]
#[must_use = "the change is not durable yet"]
pub struct Changing(pub(crate) Ticket);

impl Changing {
    /// Blocks until the change, and all that the key was asked before it, is durable.
    ///
    /// # Errors
    /// As awaiting it.
    pub fn wait(self) -> Result<(), RecordError> {
        self.0.wait()
    }
}

impl Future for Changing {
    type Output = Result<(), RecordError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}
