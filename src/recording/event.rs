//! What is recorded: the judgement of a request, and what became of it.

use policy::{Observation, Outcome, Rule};
use serde::{Deserialize, Serialize};

/// One thing that happened to a request, in the order in which it happened to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was judged.
    Judged(JudgedEvent),
    /// Nothing refused it: the lease is taken, the budgets are spent, it will be forwarded.
    Admitted {
        /// The key.
        key: u32,
        /// The first bytes of the signing root.
        root: u64,
    },
    /// Its signature was released.
    Released {
        /// The key.
        key: u32,
        /// The first bytes of the signing root.
        root: u64,
        /// Who signed.
        outcome: Outcome,
    },
}

/// The judgement of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgedEvent {
    /// What was seen.
    pub seen: Observation,
    /// Whether it was put off before, and is decided now.
    pub after_hold: bool,
    /// Whether step 5 found it safe; otherwise its word counts, and not that of step 6.
    pub is_safe: bool,
    /// What step 6 said.
    pub said: Said,
    /// The rule that refused.
    pub rule: Option<Rule>,
}

/// What step 6 said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It may be signed.
    Allowed,
    /// It waits.
    Held,
    /// It is not signed.
    Refused,
}

/// What holds for a whole file of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The network's name.
    pub network: String,
    /// When the process that recorded began, in milliseconds of Unix time.
    pub begun_unix_ms: u64,
    /// `SECONDS_PER_SLOT`, in milliseconds.
    pub slot_ms: u32,
    /// `SLOTS_PER_EPOCH`.
    pub slots_per_epoch: u64,
    /// `EPOCHS_PER_SYNC_COMMITTEE_PERIOD`.
    pub epochs_per_sync_period: u64,
    /// `SYNC_COMMITTEE_SIZE`.
    pub sync_committee_size: u32,
    /// The key groups, by their place: `default`, then those of the configuration.
    pub groups: Vec<String>,
    /// The rules, by the numbers that stand for them in this file.
    pub rules: Vec<String>,
}
