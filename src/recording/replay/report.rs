//! What a replay says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use policy::{Observation, Rule};

use crate::recording::Missing;

/// A request that the draft refuses.
#[derive(Clone, Debug)]
pub struct RefusedRequest {
    /// The public key.
    pub public_key: [u8; 48],
    /// Its group.
    pub group: String,
    /// The name of the client that asked.
    pub client: String,
    /// What was seen.
    pub seen: Observation,
    /// The rule that refuses.
    pub rule: Rule,
    /// What the rule saw, and what it allows.
    pub evidence: String,
    /// Whether the gate had signed it.
    pub was_signed: bool,
}

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Report {
    /// Requests in the recording.
    pub requests: u64,
    /// Those of its last epoch: as many slots as an epoch has, up to its end.
    pub last_epoch_requests: u64,
    /// Requests that step 5 had refused, whatever policy says.
    pub not_safe: u64,
    /// Requests that the draft refuses.
    pub refused: u64,
    /// Those of the last epoch.
    pub last_epoch_refused: u64,
    /// Requests that were refused by policy, and that the draft allows.
    pub allowed_instead: u64,
    /// Requests that the draft puts off.
    pub held: u64,
    /// By rule and key group.
    pub by_rule: BTreeMap<(Rule, String), Refusals>,
    /// Events that the recording does not have, because the gate had no time to write them.
    pub lost: u64,
    /// Files of which something is missing.
    pub missing: Vec<(PathBuf, Missing)>,
    /// Key groups of the recording that the configuration does not have.
    pub unknown_groups: Vec<String>,
}

/// What a rule refuses in a group.
#[derive(Debug, Default)]
pub struct Refusals {
    /// How many requests.
    pub count: u64,
    /// How many of them the gate had signed.
    pub were_signed: u64,
    /// The first of them.
    pub examples: Vec<RefusedRequest>,
}

impl Report {
    /// Whether the draft refuses more than 0.1 % of the last epoch.
    pub fn refuses_too_much(&self) -> bool {
        self.last_epoch_refused * 1_000 > self.last_epoch_requests
    }
}
