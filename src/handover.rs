//! Handover: a running gate passes its sockets and its store to the gate that follows it.
//!
//! For upgrades and changes of the configuration. The two speak over the control socket of the
//! store's directory, a line of JSON at a time, strictly in turn:
//!
//! | | successor | running gate |
//! |---|---|---|
//! | 1 | has loaded and checked its configuration and read the store: asks ([`Ask`]) | |
//! | 2 | | offers: its listening sockets, by `SCM_RIGHTS` ([`Offer`]) |
//! | 3 | binds what else it listens on, waits for the quiet part of the slot: go | |
//! | 4 | | stops accepting, answers what was begun, seals the store: closed ([`Closed`]) |
//! | 5 | opens the store, serves on the same sockets: serving ([`Serving`]) | |
//! | 6 | | ends with 0 |
//!
//! Connections that arrive between 4 and 5 wait in the kernel's queue. Until the seal the running
//! gate goes on if its successor breaks off. Nothing is ever taken by force: a gate that does not
//! answer keeps its store, and the store's locks say so.

mod line;
mod predecessor;
mod successor;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use slashing_db::BootTime;

pub use self::predecessor::Predecessor;
pub use self::successor::Successor;

/// The version of this conversation. Gates of different versions hand over nothing.
pub const PROTOCOL: u32 = 1;

/// For an answer that needs nothing but a look at what is there.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// From the offer to the word to go: several slots, since the successor waits for a quiet moment.
pub const GO_TIMEOUT: Duration = Duration::from_secs(60);

/// Beyond the drain's own timeout: for the seal.
pub const SEAL_TIMEOUT: Duration = Duration::from_secs(15);

/// From the seal until the successor serves. Half a million keys take some seconds to load.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// What a successor says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Its [`PROTOCOL`].
    pub protocol: u32,
    /// Its version of Portcullis, for the log.
    pub version: String,
    /// Its process, for the log.
    pub pid: u32,
}

impl Ask {
    /// What this process would say.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        }
    }
}

/// What the running gate would pass on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its [`PROTOCOL`].
    pub protocol: u32,
    /// Its version of Portcullis, for the log.
    pub version: String,
    /// Its process, for the log.
    pub pid: u32,
    /// What else a successor must know.
    #[serde(flatten)]
    pub terms: Terms,
    /// Its sockets, in the order in which they come.
    pub sockets: Vec<OfferedSocket>,
}

/// On what terms a gate hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How long it gives the requests that it has begun, in milliseconds.
    pub drain_timeout_ms: u64,
    /// Whether a service manager watches it. A successor from elsewhere would end with the session
    /// that started it, and the manager would take the service for ended.
    pub supervised: bool,
}

/// One listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedSocket {
    /// The address that the configuration gives.
    pub address: SocketAddr,
    /// The address that it is bound to: another where the configuration says port 0.
    pub bound: SocketAddr,
}

/// How the running gate stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// When it stopped accepting, in nanoseconds of `CLOCK_BOOTTIME`: the pause begins.
    pub stopped_boot_ns: u64,
    /// How long the drain took, in milliseconds.
    pub drained_ms: u64,
    /// How long the seal took, in milliseconds.
    pub sealed_ms: u64,
    /// Requests that it finished meanwhile.
    pub finished: u64,
    /// Requests that it cut.
    pub cut: u64,
}

impl Closed {
    /// From the stop to `now`, in milliseconds.
    #[must_use]
    pub const fn pause_ms(&self, now: BootTime) -> u64 {
        now.0.saturating_sub(self.stopped_boot_ns) / 1_000_000
    }
}

/// How the successor started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// From the stop of the one to the first accept of the other, in milliseconds.
    pub pause_ms: u64,
}

/// One line of the conversation after the [`Ask`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// Reads as [`crate::control::Reply::Refused`]: gates that know no handover refuse like that.
    Refused(String),
    Offer(Offer),
    Go,
    Closed(Closed),
    Serving(Serving),
}

impl Word {
    const fn name(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Offer(_) => "offer",
            Self::Go => "go",
            Self::Closed(_) => "closed",
            Self::Serving(_) => "serving",
        }
    }
}

/// Why there is no handover.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// Nobody listens.
    #[error("no gate runs on this store: start one with `portcullis run`")]
    NoGate,
    /// The other side says no.
    #[error("the other side refuses: {0}")]
    Refused(String),
    /// The two speak different versions.
    #[error(
        "this side speaks version {ours} of the handover, the other version {theirs}: stop the \
         running gate, then start the new one with `portcullis run`"
    )]
    Protocol {
        /// Our version.
        ours: u32,
        /// The other side's.
        theirs: u32,
    },
    /// No word came in time.
    #[error("the other side has not answered for {seconds} s")]
    Silent {
        /// How long was waited.
        seconds: u64,
    },
    /// The connection ended.
    #[error("the other side went away")]
    Gone,
    /// A word out of turn.
    #[error("the other side said {0:?} out of turn")]
    OutOfTurn(&'static str),
    /// A word that is none.
    #[error("the other side said what cannot be understood")]
    NotAWord(#[source] serde_json::Error),
    /// What came is not what was announced.
    #[error("the sockets that came are not those that were offered: {0}")]
    Sockets(&'static str),
    /// The system failed.
    #[error("the control socket failed")]
    Io(#[source] io::Error),
}
