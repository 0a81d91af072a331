//! Which keys the signer has, and whether it can be reached.
//!
//! On the control runtime, away from the signing path: asks `/upcheck` every few seconds and
//! `publicKeys` now and then, on `POST /reload`, and when the signer comes back. What it learns
//! never shortens the list that the gate publishes: a key leaves that only by being disabled.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::UpstreamFault;
use super::web3signer::Web3Signer;
use crate::clock;
use crate::sign::Gate;
use crate::validators::{UpstreamDifference, Validators};
use crate::web3signer::response::ReloadStatus;

/// What is known of the signer.
#[derive(Debug)]
pub struct Discovery {
    reachable: AtomicBool,
    reload: Mutex<Reload>,
    wake: Notify,
}

#[derive(Debug)]
enum Reload {
    Idle,
    Running,
    Completed { unix_s: u64 },
    Failed { unix_s: u64, error: String },
}

/// A reload is under way already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadRefused;

/// How often what is asked, and how long an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Between two `/upcheck`.
    pub upcheck_interval: Duration,
    /// Between two `publicKeys`.
    pub refresh_interval: Duration,
    /// For one answer.
    pub timeout: Duration,
    /// The longest list of keys, in bytes.
    pub key_list_bytes_max: usize,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            reachable: AtomicBool::new(true), // until it is known not to be: doubt is no outage
            reload: Mutex::new(Reload::Idle),
            wake: Notify::new(),
        }
    }
}

impl Discovery {
    /// Whether the signer answered when it was last asked.
    pub fn reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Asks for the signer's keys anew.
    ///
    /// # Errors
    /// While that is under way already.
    pub fn reload(&self) -> Result<(), ReloadRefused> {
        let mut reload = self.reload.lock();
        if matches!(*reload, Reload::Running) {
            return Err(ReloadRefused);
        }
        *reload = Reload::Running;
        self.wake.notify_one();
        Ok(())
    }

    /// How the last reload went.
    pub fn reload_status(&self) -> ReloadStatus {
        let (status, ended, error) = match &*self.reload.lock() {
            Reload::Idle => ("idle", None, None),
            Reload::Running => ("running", None, None),
            Reload::Completed { unix_s } => ("completed", Some(*unix_s), None),
            Reload::Failed { unix_s, error } => ("failed", Some(*unix_s), Some(error.clone())),
        };
        ReloadStatus { status, last_operation_time: ended.map(clock::iso8601), last_error: error }
    }

    /// Watches `signer` for ever. Runs until it is dropped.
    pub async fn watch(
        self: Arc<Self>,
        signer: Rc<Web3Signer>,
        gate: Arc<Gate>,
        schedule: Schedule,
    ) {
        let mut refresh_due = true;
        let mut since_refresh = Duration::ZERO;
        loop {
            let was_reachable = self.reachable();
            let up = signer.upcheck(clock::deadline(schedule.timeout)).await;
            self.note_reachable(was_reachable, up);
            let asked_for = matches!(*self.reload.lock(), Reload::Running);
            if asked_for || self.reachable() && (refresh_due || !was_reachable) {
                let result = self.refresh(&signer, &gate.validators, schedule).await;
                refresh_due = result.is_err();
                since_refresh = Duration::ZERO;
                self.ended(result, gate.clock.now().unix_s());
            }
            let woken = tokio::time::timeout(schedule.upcheck_interval, self.wake.notified()).await;
            since_refresh += schedule.upcheck_interval;
            refresh_due |= woken.is_ok() || since_refresh >= schedule.refresh_interval;
        }
    }

    fn note_reachable(&self, was: bool, up: Result<(), UpstreamFault>) {
        self.reachable.store(up.is_ok(), Ordering::Relaxed);
        match up {
            Ok(()) if !was => tracing::info!(event = "upstream_up", "the signer answers again"),
            Err(fault) if was => tracing::error!(
                event = "upstream_down",
                reason = %fault,
                cause = std::error::Error::source(&fault).map(tracing::field::display),
                "the signer does not answer; nothing can be signed"
            ),
            Ok(()) | Err(_) => {}
        }
    }

    async fn refresh(
        &self,
        signer: &Web3Signer,
        validators: &Validators,
        schedule: Schedule,
    ) -> Result<(), UpstreamFault> {
        let deadline = clock::deadline(schedule.timeout);
        let keys = signer.public_keys(deadline, schedule.key_list_bytes_max).await?;
        let UpstreamDifference { newly_awaiting, missing } = validators.seen_at_upstream(&keys);
        if !newly_awaiting.is_empty() {
            tracing::warn!(
                event = "awaiting_enrolment",
                keys = newly_awaiting.len(),
                first = %newly_awaiting[0],
                "the signer has keys that nobody has enrolled; they are neither published nor signed \
                 for until `portcullis keys enrol` or `portcullis slashing import` declares them"
            );
        }
        if !missing.is_empty() {
            tracing::error!(
                event = "missing_at_upstream",
                keys = missing.len(),
                first = %missing[0],
                "the signer lacks keys that are enabled here; their duties will fail"
            );
        }
        Ok(())
    }

    fn ended(&self, result: Result<(), UpstreamFault>, unix_s: u64) {
        *self.reload.lock() = match result {
            Ok(()) => Reload::Completed { unix_s },
            Err(fault) => {
                tracing::error!(
                    event = "key_refresh_failed",
                    reason = %fault,
                    "could not read the signer's list of keys; the published list stays as it is"
                );
                Reload::Failed { unix_s, error: fault.to_string() }
            }
        };
    }
}
