//! The audit log, as `run` opens it: held against the slashing store.

use anyhow::Context;
use slashing_db::{CountedKind, KeyRecord, Watermarks};

use crate::audit::Audit;
use crate::audit::record::{GapKind, GapRecord};
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::events::Events;
use crate::metrics::Metrics;

/// The log, with a repair record for what the last run did not write down.
///
/// # Errors
/// A log that does not fit: nothing is added to it.
pub(super) fn open(
    config: &Config,
    metrics: &Metrics,
    watermarks: &[Watermarks],
    events: &Events,
) -> anyhow::Result<Audit> {
    let Some(settings) = &config.audit else {
        tracing::warn!(event = "audit_off", "nothing that is decided or done is written down");
        return Ok(Audit::off());
    };
    let watch = Stopwatch::start();
    let opened = Audit::open(settings.clone())?;
    let last = opened.last();
    let records = watermarks.iter().flat_map(records);
    let audit = opened.start(records, events.clone(), metrics.audit.clone());
    let audit = audit.context("cannot start the thread that writes the audit log")?;
    tracing::info!(
        event = "audit",
        directory = %settings.directory.display(),
        last = last.0,
        took_ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX),
        "the audit log is open"
    );
    Ok(audit)
}

/// What the slashing store holds of a key, as the audit log names it.
fn records(watermarks: &Watermarks) -> impl Iterator<Item = GapRecord> {
    let KeyRecord { public_key, attestation, block, counted, .. } = watermarks.record();
    let attestation = attestation.map(|it| (GapKind::Attestation, it.sequence));
    let block = block.map(|it| (GapKind::Block, it.sequence));
    let counted = CountedKind::ALL.into_iter().zip(counted).filter_map(|(kind, record)| {
        let kind = match kind {
            CountedKind::VoluntaryExit => GapKind::VoluntaryExit,
            CountedKind::Deposit => GapKind::Deposit,
        };
        Some((kind, record?.sequence))
    });
    let all = attestation.into_iter().chain(block).chain(counted);
    all.map(move |(kind, sequence)| GapRecord { public_key: public_key.0, kind, sequence })
}
