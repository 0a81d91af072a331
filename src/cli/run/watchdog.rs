//! Signs of life for the service manager, as long as there is life.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::server::stats::ServerStats;
use crate::sign::Gate;
use crate::systemd::{Notify, Progress, watchdog_from_environment};

/// A worker sweeps each second; one that has not for so long hangs.
const WORKER_PATIENCE: Duration = Duration::from_secs(5);

/// Notifies the manager while every worker goes on and the lease is held, if it wants to know.
pub(super) fn watch(
    notify: Arc<Notify>,
    gate: &Arc<Gate>,
    server: Arc<ServerStats>,
) -> anyhow::Result<()> {
    let Some(patience) = watchdog_from_environment() else { return Ok(()) };
    let gate = Arc::clone(gate);
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        let mut progress = Progress::default();
        let mut since = Stopwatch::start();
        loop {
            let sweeps = server.workers().iter().map(|worker| worker.sweeps.get());
            let workers_go_on = progress.goes_on(sweeps, since.lap(), WORKER_PATIENCE);
            let lease = gate.store.fault(gate.clock.now().boot);
            match (workers_go_on, lease) {
                (true, None) => notify.watchdog(),
                (_, lease) => tracing::error!(
                    event = "watchdog_withheld",
                    workers_go_on,
                    lease = lease.map(tracing::field::display),
                    "the service manager gets no sign of life"
                ),
            }
            std::thread::sleep(patience / 3);
        }
    })?;
    Ok(())
}
