//! Shutdown that finishes what was begun.
//!
//! A worker that drains tells every connection to end after the request it is on: hyper closes
//! idle ones at once and answers the others with `Connection: close`; those that are new and have
//! sent nothing yet are given a moment for their first request. Requests whose client has
//! hung up are waited for as well, since they may have advanced a watermark.

use std::iter::Sum;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Service;
use super::worker::Worker;

/// How a drain ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Requests that were in flight when the drain began, and were finished.
    pub finished: u64,
    /// Requests that were still unfinished at the timeout, and were cut.
    pub cut: u64,
}

impl Sum for Drained {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            finished: sum.finished + one.finished,
            cut: sum.cut + one.cut,
        })
    }
}

/// Ends the connections of one worker, and waits for its requests.
pub(super) async fn drain<S: Service>(worker: &Rc<Worker<S>>, timeout: Duration) -> Drained {
    let begun = worker.shared().stats.in_flight.get();
    let deadline = sleep_until(Instant::now() + timeout);
    tokio::pin!(deadline);
    let mut sweep = interval(worker.limits().sweep_interval);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    worker.shared().connections.borrow_mut().finish_all();
    loop {
        let ended = worker.shared().something_ended.notified();
        if worker.shared().is_quiet() {
            break;
        }
        tokio::select! {
            () = ended => {}
            _ = sweep.tick() => worker.sweep(Instant::now()),
            () = &mut deadline => break,
        }
    }
    let cut = worker.shared().stats.in_flight.get();
    Drained { finished: begun.saturating_sub(cut), cut }
}
