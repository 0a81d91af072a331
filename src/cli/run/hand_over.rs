//! Handing over to a successor: from its first word on the control socket to the end here.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;
use slashing_db::Store;

use super::End;
use crate::cli::{Exit, store};
use crate::clock::{Clock, SlotClock, Stopwatch};
use crate::enrolment::with_causes;
use crate::handover::{Ask, Closed, Successor, Terms};
use crate::server::drain::Drained;
use crate::server::sockets::Sockets;

/// What the control socket needs to answer a successor.
pub(super) struct Door {
    sockets: Arc<Mutex<Sockets>>,
    terms: Terms,
    ends: mpsc::Sender<End>,
    is_taken: Arc<AtomicBool>,
}

/// One successor at a time: free again when this is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Door {
    pub(super) fn new(
        sockets: &Arc<Mutex<Sockets>>,
        terms: Terms,
        ends: mpsc::Sender<End>,
    ) -> Self {
        Self { sockets: Arc::clone(sockets), terms, ends, is_taken: Arc::default() }
    }

    /// Speaks with a successor until it says go, or does not.
    pub(super) fn answer(&self, ask: &Ask, stream: &UnixStream) {
        let said = (ask.version.as_str(), ask.pid);
        if self.is_taken.swap(true, Ordering::AcqRel) {
            tracing::warn!(event = "handover_refused", ?said, "another handover is under way");
            Successor::refuse(stream, "another handover is under way");
            return;
        }
        let turn = Turn(Arc::clone(&self.is_taken));
        tracing::info!(event = "handover_asked", ?said, "a successor asks for the handover");
        let offered = stream.try_clone().map_err(Into::into).and_then(|stream| {
            let sockets = self.sockets.lock();
            anyhow::ensure!(!sockets.held().is_empty(), "this gate is not serving yet");
            let handles = sockets.held().iter().map(|(at, it)| Ok((*at, it.try_clone()?)));
            let handles = handles.collect::<std::io::Result<Vec<_>>>()?;
            drop(sockets);
            Ok(Successor::offer(stream, ask, &handles, self.terms)?)
        });
        match offered {
            Ok(successor) => {
                let _ = self.ends.send(End::Handover(successor, turn));
            }
            Err(error) => {
                tracing::warn!(
                    event = "handover_broken_off",
                    reason = format!("{error:#}"),
                    "the handover did not come about; this gate goes on"
                );
                Successor::refuse(stream, &format!("{error:#}"));
            }
        }
    }
}

/// Seals the store for `successor` once the server is drained, and waits until it serves.
pub(super) fn pass_on(
    store: &Store,
    slots: SlotClock,
    clock: &Clock,
    successor: &Successor,
    stopped: crate::clock::Now,
    drained: (Drained, u64),
) -> anyhow::Result<Exit> {
    let (drained, drained_ms) = drained;
    let sealing = Stopwatch::start();
    if let Err(error) = store.seal(store::now(slots, clock)) {
        successor.tell_not_closed(&with_causes(&error));
        return Err(anyhow::Error::new(error).context("the store could not be closed in order"));
    }
    let closed = Closed {
        stopped_boot_ns: stopped.boot.0,
        drained_ms,
        sealed_ms: u64::try_from(sealing.elapsed().as_millis()).unwrap_or(u64::MAX),
        finished: drained.finished,
        cut: drained.cut,
    };
    match successor.tell_closed(closed) {
        Ok(serving) => {
            tracing::info!(
                event = "handover",
                pause_ms = serving.pause_ms,
                drained_ms,
                sealed_ms = closed.sealed_ms,
                finished = closed.finished,
                cut = closed.cut,
                successor = successor.ask().pid,
                successor_version = successor.ask().version,
                "the successor serves; this gate ends"
            );
            Ok(Exit::Done)
        }
        Err(error) => {
            tracing::error!(
                event = "handover_failed",
                reason = with_causes(&error),
                successor = successor.ask().pid,
                "the store is sealed and the successor does not serve: nobody signs. Start the gate \
                 with `portcullis run` (a service manager does it); no floor is needed"
            );
            Ok(Exit::NotDone)
        }
    }
}
