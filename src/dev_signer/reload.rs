//! `POST /reload`: reads the keys again while requests go on with the old ones.

use std::error::Error;
use std::sync::Arc;
use std::thread;

use super::Service;
use super::keys::KeyRing;

/// How the last reload went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReloadStatus {
    /// None since the start.
    Idle,
    /// Keys are being read.
    Running,
    /// The keys were replaced; what was removed from disk no longer signs.
    Completed,
    /// The old keys stay.
    Failed {
        /// What was wrong, with its causes.
        error: String,
    },
}

impl ReloadStatus {
    /// Web3Signer's name for it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
        }
    }
}

/// Starts a reload on a thread of its own; `false` when one is running.
pub(super) fn start(service: Arc<Service>) -> bool {
    let mut status = service.reload.lock();
    if *status == ReloadStatus::Running {
        return false;
    }
    *status = ReloadStatus::Running;
    drop(status);
    let worker = Arc::clone(&service);
    let spawned = thread::Builder::new().name("reload".to_owned()).spawn(move || run(&worker));
    if let Err(error) = spawned {
        *service.reload.lock() = ReloadStatus::Failed { error: error.to_string() };
    }
    true
}

fn run(service: &Service) {
    let status = match KeyRing::load(&service.source, service.stub) {
        Ok(keys) => {
            tracing::info!(keys = keys.keys().len(), "keys reloaded");
            service.keys.store(Arc::new(keys));
            ReloadStatus::Completed
        }
        Err(error) => {
            let error = with_causes(&error);
            tracing::error!(error, "keys not reloaded");
            ReloadStatus::Failed { error }
        }
    };
    *service.reload.lock() = status;
}

/// An error on one line with what caused it.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
