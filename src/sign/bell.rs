//! Wakes a core once for all that one commit has made durable.
//!
//! The recorder's thread completes the records of a batch one by one. To wake a task of another
//! thread is a system call, and with records by the dozen these calls cost more than the sync to
//! disk. So those that are ready are gathered here, and the core is woken for the first of them; it
//! wakes the others itself, which costs it nothing.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

#[cfg(test)]
mod tests;

/// The bell of one core.
#[derive(Debug)]
pub(super) struct Bell(Arc<Ready>);

#[derive(Debug, Default)]
struct Ready(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    wakers: Vec<Waker>,
    /// Wakes the core; nothing before it listens for the first time.
    listener: Option<Waker>,
}

impl Bell {
    /// A bell, and a task of this core that listens to it. Must be called where `spawn_local`
    /// works.
    pub(super) fn new() -> Self {
        let ready = Arc::<Ready>::default();
        let weak = Arc::downgrade(&ready);
        let mut wakers = Vec::new();
        tokio::task::spawn_local(poll_fn(move |cx| listen(&weak, &mut wakers, cx)));
        Self(ready)
    }

    /// Awaits `future`, which is completed by another thread.
    pub(super) async fn hear<F: Future + Unpin>(&self, mut future: F) -> F::Output {
        let mut rope: Option<Arc<Rope>> = None;
        poll_fn(|cx| {
            let rope = match rope.take() {
                Some(same) if same.waker.will_wake(cx.waker()) => rope.insert(same),
                Some(_) | None => rope.insert(Arc::new(Rope {
                    ready: Arc::clone(&self.0),
                    waker: cx.waker().clone(),
                })),
            };
            let waker = Waker::from(Arc::clone(rope));
            Pin::new(&mut future).poll(&mut Context::from_waker(&waker))
        })
        .await
    }
}

/// Wakes all that is ready, on their own core. `wakers` is kept for its memory alone.
fn listen(ready: &Weak<Ready>, wakers: &mut Vec<Waker>, cx: &Context<'_>) -> Poll<()> {
    let Some(ready) = ready.upgrade() else {
        return Poll::Ready(());
    };
    let mut state = ready.0.lock();
    mem::swap(&mut state.wakers, wakers);
    if !state.listener.as_ref().is_some_and(|listener| listener.will_wake(cx.waker())) {
        state.listener = Some(cx.waker().clone());
    }
    drop(state);
    wakers.drain(..).for_each(Waker::wake);
    Poll::Pending
}

/// What another thread pulls in place of waking the task.
struct Rope {
    ready: Arc<Ready>,
    waker: Waker,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.ready.0.lock();
        state.wakers.push(self.waker.clone());
        let listener = if state.wakers.len() == 1 { state.listener.clone() } else { None };
        drop(state);
        if let Some(listener) = listener {
            listener.wake();
        }
    }
}
