#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

use super::*;

/// Runs `test` as a worker runs: on one thread, with local tasks.
fn on_a_core(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.unwrap().block_on(test);
}

#[test]
fn whatever_another_thread_completes_is_heard() {
    on_a_core(async {
        let bell = Rc::new(Bell::new());
        let heard = Rc::new(Cell::new(0));
        let (senders, tasks): (Vec<_>, Vec<_>) = (0..1_000)
            .map(|number| {
                let (sender, receiver) = oneshot::channel::<usize>();
                let (bell, heard) = (Rc::clone(&bell), Rc::clone(&heard));
                let task = tokio::task::spawn_local(async move {
                    assert_eq!(bell.hear(receiver).await, Ok(number));
                    heard.set(heard.get() + 1);
                });
                (sender, task)
            })
            .unzip();
        tokio::task::yield_now().await; // all wait
        let other = thread::spawn(move || {
            for (number, sender) in senders.into_iter().enumerate() {
                sender.send(number).unwrap();
            }
        });
        for task in tasks {
            task.await.unwrap();
        }
        other.join().unwrap();
        assert_eq!(heard.get(), 1_000);
    });
}

/// Counts how often the core is woken.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_core_is_woken_once_for_many() {
    let ready = Arc::<Ready>::default();
    let (core, task) = (Arc::new(Count(0.into())), Arc::new(Count(0.into())));
    let core_waker = Waker::from(Arc::clone(&core));
    let weak = Arc::downgrade(&ready);
    let mut wakers = Vec::new();
    let cx = Context::from_waker(&core_waker);
    assert!(listen(&weak, &mut wakers, &cx).is_pending());
    for _ in 0..64 {
        let rope = Rope { ready: Arc::clone(&ready), waker: Waker::from(Arc::clone(&task)) };
        Arc::new(rope).wake();
    }
    assert_eq!((core.0.load(Relaxed), task.0.load(Relaxed)), (1, 0));
    assert!(listen(&weak, &mut wakers, &cx).is_pending());
    assert_eq!((core.0.load(Relaxed), task.0.load(Relaxed)), (1, 64));
}

#[test]
fn what_becomes_ready_before_anybody_listens_is_not_lost() {
    let ready = Arc::<Ready>::default();
    let task = Arc::new(Count(0.into()));
    let rope = Rope { ready: Arc::clone(&ready), waker: Waker::from(Arc::clone(&task)) };
    Arc::new(rope).wake();
    let cx = Context::from_waker(Waker::noop());
    assert!(listen(&Arc::downgrade(&ready), &mut Vec::new(), &cx).is_pending());
    assert_eq!(task.0.load(Relaxed), 1);
}
