//! Who may ask: read at the start, and read again when the files change or SIGHUP says so.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::threads::on_own_thread;
use crate::clients::{Clients, NotIdentified};
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::ClientMetrics;
use crate::server::handshake::HandshakeError;

/// Reads certificates, known clients and passwords.
pub(in crate::cli) fn load(
    config: &Config,
    clock: &Clock,
    metrics: &ClientMetrics,
) -> anyhow::Result<Arc<Clients>> {
    for code in HandshakeError::CODES {
        metrics.handshake_failures.with_label_values(&[code]).reset();
    }
    for code in NotIdentified::CODES {
        metrics.refused.with_label_values(&[code]).reset();
    }
    let clients = Clients::load(config.client_settings(), clock.clone(), metrics.clone())
        .context("cannot tell clients apart")?;
    log_warnings(&clients);
    Ok(clients)
}

/// Reads the files again on SIGHUP, and when they have changed.
pub(super) fn watch(clients: &Arc<Clients>) -> anyhow::Result<()> {
    let clients = Arc::clone(clients);
    on_own_thread("reload", move || async move {
        let files: Vec<PathBuf> =
            clients.settings().files().into_iter().map(Path::to_owned).collect();
        at_each_change(&files, || reload(&clients)).await;
    })
}

/// Calls `reread` on SIGHUP, and when the files have changed and then stood still for a look: a
/// certificate and its key do not change at the same moment.
pub(super) async fn at_each_change(files: &[PathBuf], reread: impl Fn()) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!(?files, "cannot wait for SIGHUP; these files are not read again");
        return;
    };
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut held = stamps(files);
    let mut last = held.clone();
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            _ = looks.tick() => false,
        };
        let now = stamps(files);
        if asked || (now != held && now == last) {
            reread();
            held.clone_from(&now);
        }
        last = now;
    }
}

fn reload(clients: &Clients) {
    match clients.reload() {
        Ok(()) => {
            tracing::info!(event = "access_reloaded", "certificates and passwords were read again");
            log_warnings(clients);
        }
        Err(error) => tracing::error!(
            event = "access_not_reloaded",
            reason = crate::enrolment::with_causes(&error),
            "certificates and passwords could not be read again; those read before still hold"
        ),
    }
}

fn log_warnings(clients: &Clients) {
    for warning in clients.warnings() {
        tracing::warn!(event = "access_warning", "{warning}");
    }
}

/// What tells one content of a file from the next: when it was written, its length, and which file
/// stands behind the name.
type Stamp = Option<(i64, i64, u64, u64)>;

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let file = std::fs::metadata(file).ok()?;
        Some((file.mtime(), file.mtime_nsec(), file.len(), file.ino()))
    };
    files.iter().map(stamp).collect()
}

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
