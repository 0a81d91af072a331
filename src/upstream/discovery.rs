//! Which keys the signers have, and which signers can be reached.
//!
//! On a runtime of its own, away from the signing path: asks every replica `/upcheck` every few
//! seconds and `publicKeys` now and then, on `POST /reload`, and when one comes back. What it
//! learns never shortens the list that the gate publishes: a key leaves that only by being
//! disabled.
//!
//! A set is read when one of its replicas has given its whole list. The keys of a set are those of
//! all its replicas together; when one of them does not answer, what it had said still counts.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::replica::Replica;
use super::signers::Signers;
use super::web3signer::Web3Signer;
use crate::clock;
use crate::response::incident::Report;
use crate::response::incident::class::Family;
use crate::sign::Gate;
use crate::web3signer::response::ReloadStatus;

mod keys;

use keys::{KeyLists, Refresh};

/// What is known of the signers.
#[derive(Debug)]
pub struct Discovery {
    signers: Arc<Signers>,
    reload: Mutex<Reload>,
    wake: Notify,
}

#[derive(Debug)]
enum Reload {
    Idle,
    Running,
    Completed { unix_s: u64 },
    Failed { unix_s: u64, is_partial: bool, error: String },
}

/// A reload is under way already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadRefused;

/// How often what is asked, and how long an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Between two `/upcheck` of one replica.
    pub upcheck_interval: Duration,
    /// For the answer to it.
    pub upcheck_timeout: Duration,
    /// Between two `publicKeys`.
    pub refresh_interval: Duration,
    /// For one list of keys.
    pub key_list_timeout: Duration,
    /// The longest list of keys, in bytes.
    pub key_list_bytes_max: usize,
}

/// A replica with the connections over which it is watched.
pub type Watched = (Arc<Replica>, Rc<Web3Signer>);

impl Discovery {
    /// Nothing is known of `signers` yet.
    pub fn new(signers: Arc<Signers>) -> Self {
        Self { signers, reload: Mutex::new(Reload::Idle), wake: Notify::new() }
    }

    /// The signers.
    pub fn signers(&self) -> &Arc<Signers> {
        &self.signers
    }

    /// Asks all signers for their keys anew.
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
            Reload::Failed { unix_s, is_partial, error } => {
                let status = if *is_partial { "completed_with_errors" } else { "failed" };
                (status, Some(*unix_s), Some(error.clone()))
            }
        };
        ReloadStatus { status, last_operation_time: ended.map(clock::iso8601), last_error: error }
    }

    /// Watches the signers for ever; `sets` holds the replicas of each set, in the order of the
    /// configuration. Runs until it is dropped, where `spawn_local` works.
    pub async fn watch(
        self: Arc<Self>,
        sets: Vec<Vec<Watched>>,
        gate: Arc<Gate>,
        schedule: Schedule,
    ) {
        for (replica, signer) in sets.iter().flatten() {
            let (replica, signer) = (Arc::clone(replica), Rc::clone(signer));
            tokio::task::spawn_local(Arc::clone(&self).upcheck(
                replica,
                signer,
                Arc::clone(&gate),
                schedule,
            ));
        }
        tokio::task::spawn_local(Arc::clone(&self).renew_tls(schedule.upcheck_interval));
        let mut lists = KeyLists::new(Arc::clone(&self.signers), sets);
        loop {
            let refresh = lists.refresh(&gate, schedule).await;
            let is_owed = refresh.failed.iter().any(|(replica, _)| replica.is_reachable());
            self.ended(refresh, gate.clock.now().unix_s());
            let pause = match is_owed {
                true => RETRY.min(schedule.refresh_interval),
                false => schedule.refresh_interval,
            };
            // Woken by a reload, or by a replica that is back.
            let _ = tokio::time::timeout(pause, self.wake.notified()).await;
        }
    }

    /// Asks one replica whether it is there, for ever.
    async fn upcheck(
        self: Arc<Self>,
        replica: Arc<Replica>,
        signer: Rc<Web3Signer>,
        gate: Arc<Gate>,
        schedule: Schedule,
    ) {
        loop {
            let fault = signer.upcheck(clock::deadline(schedule.upcheck_timeout)).await.err();
            let was = replica.note_reachable(fault.is_none(), Instant::now());
            let (upstream, name) = (&*replica.upstream, &*replica.name);
            if let Some(fault) = fault.as_ref().filter(|_| !self.set_reachable(upstream)) {
                gate.response.incidents.noticed(Report {
                    at_unix_ms: gate.clock.now().unix_ns / 1_000_000,
                    family: Family::Upstream,
                    code: "upstream_down".to_owned(),
                    about: upstream.to_owned(),
                    reason: format!(
                        "no signer of {upstream} answers; the last to be asked: {fault}"
                    ),
                });
            }
            match fault {
                None if !was => {
                    tracing::info!(
                        event = "upstream_up",
                        upstream,
                        replica = name,
                        "a signer answers again"
                    );
                    self.wake.notify_one(); // its keys may be others now
                }
                Some(fault) if was => tracing::error!(
                    event = "upstream_down",
                    upstream,
                    replica = name,
                    reason = %fault,
                    cause = std::error::Error::source(&fault).map(tracing::field::display),
                    set_reachable = self.set_reachable(upstream),
                    "a signer does not answer; while no other of its set does, none of its keys can \
                     be signed for"
                ),
                None | Some(_) => {}
            }
            tokio::time::sleep(schedule.upcheck_interval).await;
        }
    }

    /// Reads certificates and keys again when their files have changed, for ever.
    async fn renew_tls(self: Arc<Self>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            for set in &self.signers.sets {
                let Some(tls) = &set.tls else { continue };
                match tls.reload_if_changed() {
                    Ok(false) => {}
                    Ok(true) => tracing::info!(
                        event = "upstream_tls_reloaded",
                        upstream = %set.name,
                        "new connections to the signers use the files as they are now"
                    ),
                    Err(error) => tracing::error!(
                        event = "upstream_tls_not_reloaded",
                        upstream = %set.name,
                        reason = crate::enrolment::with_causes(&error),
                        "the files for TLS to the signers have changed and cannot be used; what was \
                         read before stays in force"
                    ),
                }
            }
        }
    }

    fn set_reachable(&self, upstream: &str) -> bool {
        self.signers.sets.iter().any(|set| &*set.name == upstream && set.is_reachable())
    }

    fn ended(&self, refresh: Refresh, unix_s: u64) {
        let Refresh { is_complete, failed } = refresh;
        *self.reload.lock() = if failed.is_empty() {
            Reload::Completed { unix_s }
        } else {
            let error = failed.iter().map(|(replica, fault)| format!("{replica:?}: {fault}"));
            let error = error.collect::<Vec<_>>().join("; ");
            Reload::Failed { unix_s, is_partial: is_complete, error }
        };
    }
}

/// The list of a replica that is there and did not give it is asked for again after this.
const RETRY: Duration = Duration::from_secs(4);
