//! What follows from verdicts, as `run` sets it up, and the thread that acts on them.

use std::sync::Arc;

use anyhow::Context;

use crate::audit::Audit;
use crate::config::Config;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::response::{Response, ResponseTable};
use crate::sign::Gate;

/// What was kept of the last run, or a beginning.
///
/// # Errors
/// A table that cannot be opened: quarantines that cannot be read must not end by a restart.
pub(super) fn response(config: &Config, metrics: &Metrics) -> anyhow::Result<Response> {
    let directory = config.slashing.directory.join("response");
    let table = ResponseTable::open(&directory).with_context(|| {
        format!("cannot open the table of quarantines and windows in {}", directory.display())
    })?;
    let lost = metrics.notices_lost.clone();
    Ok(Response::new(table, Audit::off(), Events::off(), lost))
}

/// Starts the thread that acts on notices. It ends with the process.
pub(super) fn act(gate: &Arc<Gate>) -> anyhow::Result<()> {
    let notices = gate.response.notices();
    std::thread::Builder::new().name("response".to_owned()).spawn(move || {
        while let Ok(notice) = notices.recv() {
            tracing::debug!(
                event = "noticed",
                code = notice.code,
                pubkey = notice.public_key,
                "noticed"
            );
        }
    })?;
    Ok(())
}
