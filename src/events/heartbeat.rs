//! A sign of life to a dead-man's switch: whoever watches there is told when it stays away.
//!
//! It is withheld while the gate cannot sign, and while a page has waited twice as long as a
//! fallback waits: then nobody has heard, and the switch is the last way to tell.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::{HeaderMap, Method};

use super::bus::Bus;
use super::post::{Message, PostError, Poster};
use crate::tls::load_password;

#[cfg(test)]
mod tests;

/// A dead-man's switch, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatSettings {
    /// The file whose first line is its URL.
    pub url_file: PathBuf,
    /// GET or POST.
    pub method: Method,
    /// From one to the next.
    pub interval: Duration,
    /// The certificates (PEM) that may vouch for it; without it those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Whether the gate can sign.
pub type CanSign = Box<dyn Fn() -> bool + Send + Sync>;

/// Sends signs of life.
pub(super) struct Heartbeat {
    settings: HeartbeatSettings,
    poster: Poster,
}

/// How often to look whether the gate has begun.
const BEGIN_INTERVAL: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(10);

impl Heartbeat {
    pub(super) fn new(settings: &HeartbeatSettings) -> Result<Self, PostError> {
        let poster = Poster::new(settings.ca_file.as_ref(), TIMEOUT.min(settings.interval))?;
        Ok(Self { settings: settings.clone(), poster })
    }

    /// Sends them; never ends. None before somebody has said how to tell whether the gate can sign.
    pub(super) async fn beat(self, bus: Arc<Bus>, can_sign: Arc<OnceLock<CanSign>>) {
        let mut is_failing = false;
        while can_sign.get().is_none() {
            tokio::time::sleep(BEGIN_INTERVAL).await;
        }
        loop {
            let can_sign = can_sign.get().is_some_and(|can_sign| can_sign());
            let is_overdue = bus.is_overdue();
            let outcome = if !can_sign || is_overdue {
                tracing::error!(
                    event = "heartbeat_withheld",
                    can_sign,
                    is_overdue,
                    "the dead-man's switch gets no sign of life"
                );
                "withheld"
            } else {
                match self.send().await {
                    Ok(()) => {
                        is_failing = false;
                        "sent"
                    }
                    Err(reason) => {
                        if !std::mem::replace(&mut is_failing, true) {
                            tracing::error!(
                                event = "heartbeat_failed",
                                reason,
                                "the dead-man's switch does not take the sign of life"
                            );
                        }
                        "failed"
                    }
                }
            };
            bus.metrics.heartbeat(outcome);
            tokio::time::sleep(self.settings.interval).await;
        }
    }

    async fn send(&self) -> Result<(), String> {
        let file = &self.settings.url_file;
        let url = load_password(file).map_err(|error| error.to_string())?;
        let url = url.as_str().trim().parse();
        let url = url.map_err(|_| format!("the first line of {} is no URL", file.display()))?;
        let method = self.settings.method.clone();
        let message = Message { method, url, headers: HeaderMap::new(), body: Vec::new() };
        match self.poster.send(message).await?.status {
            200..=299 => Ok(()),
            status => Err(format!("it answered with status {status}")),
        }
    }
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heartbeat").field("settings", &self.settings).finish_non_exhaustive()
    }
}
