//! The threads beside the signing path: the lease, the store's end, signals.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context;
use slashing_db::{RenewError, Store};
use tokio::signal::unix::{SignalKind, signal};

use super::End;
use crate::cli::store;
use crate::clock::{self, SlotClock};
use crate::sign::Gate;

/// Ends the process when the store fails: it must not go on in memory, and cannot go on on disk.
pub(super) fn watch_store(store: &Store, ends: &mpsc::Sender<End>) {
    let ends = ends.clone();
    store.on_poison(move |poison| {
        let reason = crate::enrolment::with_causes(poison);
        tracing::error!(
            event = "store_poisoned",
            reason,
            "the slashing store failed; nothing is signed"
        );
        let _ = ends.send(End::Store(reason));
    });
}

/// Renews the lease each second, ahead of the epochs that are about to be signed for.
pub(super) fn keep_lease(
    gate: &Arc<Gate>,
    slots: SlotClock,
    ends: mpsc::Sender<End>,
) -> anyhow::Result<()> {
    let gate = Arc::clone(gate);
    std::thread::Builder::new().name("lease".to_owned()).spawn(move || {
        loop {
            clock::rest(RENEW_INTERVAL);
            match gate.store.renew(store::now(slots, &gate.clock)) {
                Ok(()) => {}
                Err(RenewError::Sealed) => return,
                Err(RenewError::Witness(error)) => tracing::error!(
                    event = "lease_not_renewed",
                    reason = crate::enrolment::with_causes(&error),
                    "the witness could not be written; when the lease runs out nothing is signed"
                ),
                Err(error) => {
                    let reason = crate::enrolment::with_causes(&error);
                    tracing::error!(
                        event = "lease_lost",
                        reason,
                        "the lease is lost; nothing is signed"
                    );
                    let _ = ends.send(End::Store(reason));
                    return;
                }
            }
        }
    })?;
    Ok(())
}

pub(super) fn watch_signals(ends: mpsc::Sender<End>) -> anyhow::Result<()> {
    on_own_thread("signals", move || async move {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("cannot wait for signals; end the process with SIGKILL");
            return;
        };
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        let _ = ends.send(End::Asked(name));
    })
}

/// Runs `main` to its end on a single-threaded runtime in a thread of its own.
pub(super) fn on_own_thread<F: Future<Output = ()>>(
    name: &str,
    main: impl FnOnce() -> F + Send + 'static,
) -> anyhow::Result<()> {
    let (started, ready) = mpsc::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || match local_runtime() {
        Ok(runtime) => {
            let _ = started.send(Ok(()));
            runtime.block_on(main());
        }
        Err(error) => {
            let _ = started.send(Err(error));
        }
    })?;
    ready.recv().context("a thread ended as it started")?.context("no runtime")
}

pub(super) fn local_runtime() -> std::io::Result<tokio::runtime::LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
}

const RENEW_INTERVAL: Duration = Duration::from_nanos(slashing_db::lease::RENEW_INTERVAL_NS);
