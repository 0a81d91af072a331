//! Every bound of the process, in one place, with its unit in its name.
//!
//! A bound is a number that keeps one client, one upstream or one bad day from using up the
//! process. Each is a key of `[limits]` in the configuration, so that a site that knows better can
//! say so; the defaults are sized for a gate of some 500,000 keys on a small machine.

use std::fmt;

use serde::{Deserialize, Serialize};
use slashing_db::lease::{LEASE_NS, RENEW_INTERVAL_NS};

#[cfg(test)]
mod tests;

/// The longest budget of a request, in milliseconds: what is left of a lease after three renewals'
/// time, two of which may have failed.
pub const BUDGET_MS_MAX: u64 = (LEASE_NS - 3 * RENEW_INTERVAL_NS) / 1_000_000;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// How urgent a duty is. Admission, recording and forwarding all serve the classes in this order,
/// the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DutyClass {
    /// Blocks and RANDAO reveals: one a slot in the whole chain, and the most that a slot can earn.
    Proposal,
    /// Attestations and sync committee messages: due within seconds, every epoch, for every key.
    Attestation,
    /// Aggregates and sync committee contributions: due later in the slot, from few keys.
    Aggregate,
    /// Selection proofs: computed ahead, and may be asked for again.
    SelectionProof,
    /// Builder registrations, exits and deposits: no slot waits for them, and they come in floods.
    Registration,
}

impl DutyClass {
    /// Every class, the most urgent first; `class as usize` is the index into this.
    pub const ALL: [Self; 5] = [
        Self::Proposal,
        Self::Attestation,
        Self::Aggregate,
        Self::SelectionProof,
        Self::Registration,
    ];

    /// The name of the class in metrics, logs and the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposal => "proposal",
            Self::Attestation => "attestation",
            Self::Aggregate => "aggregate",
            Self::SelectionProof => "selection_proof",
            Self::Registration => "registration",
        }
    }
}

impl fmt::Display for DutyClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The bounds, as `[limits]` of the configuration gives them.
///
/// `_max` counts things, `_bytes_max` bytes, `_ms` milliseconds, `_s` seconds. None may be zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest request body. A full electra block as JSON stays below 4 MiB; 10 MiB leaves room.
    pub body_bytes_max: usize,
    /// Bodies held at once, over all connections: 25 of the largest, or 250,000 attestations.
    pub body_bytes_in_flight_max: usize,
    /// Largest request head. Clients send some 200 bytes; proxies in front add some hundred.
    pub header_bytes_max: usize,
    /// Open connections: above the 10,000 that a fleet behind one address may hold idle.
    pub connections_max: usize,
    /// A connection without a request is closed after this. Clients' pools drop theirs after 20 to
    /// 30 s; they must be the ones who close first, or a request meets a closing connection.
    pub idle_connection_timeout_ms: u64,
    /// From the first byte of a request to the end of its head: closes on a slow-loris.
    pub request_head_timeout_ms: u64,
    /// From the end of the head to the end of the body: closes on a trickled body.
    pub request_body_timeout_ms: u64,
    /// From the end of the body to the answer. An attestation due at 4 s is worth less with every
    /// second; clients give up between 3 s and 10 s, and should hear from us before they do. At
    /// most 7 s: nothing leaves unless the lease on the slashing store covers it.
    pub request_budget_ms: u64,
    /// Requests in flight, of all classes: one slot's attestations of 500,000 keys (15,625).
    /// Only proposals may fill it to the end; the classes below stop at their own ceilings.
    pub requests_in_flight_max: usize,
    /// Attestations are admitted while fewer than this many requests of any class are in flight.
    /// What is above, 512, is for proposals alone.
    pub attestation_in_flight_ceiling: usize,
    /// Likewise for aggregates and contributions: they leave attestations a quarter.
    pub aggregate_in_flight_ceiling: usize,
    /// Likewise for selection proofs: they leave the classes above them one half.
    pub selection_proof_in_flight_ceiling: usize,
    /// Likewise for registrations, which come by the 100,000 at once: an eighth is theirs.
    pub registration_in_flight_ceiling: usize,
    /// Records waiting for the disk. An eighth is kept for blocks; the rest is enough for all the
    /// attestations that are admitted, each of which has at most one.
    pub recorder_queue_max: usize,
    /// A pooled upstream connection is not used again after this long: Web3Signer closes idle ones
    /// after 30 s, and a request must never meet that.
    pub upstream_idle_ms: u64,
    /// Time for a connection to an upstream: above one lost SYN (1 s), below the request's budget.
    pub upstream_connect_timeout_ms: u64,
    /// Largest answer to a signing request: a signature has 194 bytes; errors may be pages.
    pub upstream_answer_bytes_max: usize,
    /// Largest list of public keys: 500,000 keys are 51 MB of JSON.
    pub upstream_keys_bytes_max: usize,
    /// Time for what is in flight to end after SIGTERM: twice the budget; Kubernetes allows 30 s.
    pub drain_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 10 * MIB,
            body_bytes_in_flight_max: 256 * MIB,
            header_bytes_max: 16 * KIB,
            connections_max: 16_384,
            idle_connection_timeout_ms: 75_000,
            request_head_timeout_ms: 10_000,
            request_body_timeout_ms: 10_000,
            request_budget_ms: 2_500,
            requests_in_flight_max: 16_384,
            attestation_in_flight_ceiling: 15_872,
            aggregate_in_flight_ceiling: 12_288,
            selection_proof_in_flight_ceiling: 8_192,
            registration_in_flight_ceiling: 2_048,
            recorder_queue_max: 18_432,
            upstream_idle_ms: 20_000,
            upstream_connect_timeout_ms: 1_500,
            upstream_answer_bytes_max: 64 * KIB,
            upstream_keys_bytes_max: 128 * MIB,
            drain_timeout_ms: 5_000,
        }
    }
}

/// Two bounds that contradict each other, or one that makes no sense alone. The operator's to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A bound of zero refuses everything.
    #[error("must be at least 1")]
    Zero {
        /// The key within `[limits]`.
        field: &'static str,
    },
    /// The bound must be at most what another is.
    #[error("{value} is more than limits.{bound} ({bound_value}), and may not be")]
    Above {
        /// The key within `[limits]`.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The key that it may not exceed.
        bound: &'static str,
        /// The value of that key.
        bound_value: u64,
    },
    /// The lease on the slashing store never covers so long a time.
    #[error(
        "{value} is more than {BUDGET_MS_MAX}, which is what is left of the lease on the slashing \
         store when two renewals have failed; nothing would be signed"
    )]
    BeyondLease {
        /// The key within `[limits]`.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

impl LimitsError {
    /// The key within `[limits]` that is wrong.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Zero { field } | Self::Above { field, .. } | Self::BeyondLease { field, .. } => {
                field
            }
        }
    }
}

impl Limits {
    /// A request of this class is admitted while fewer than this many requests, of all classes
    /// together, are in flight. The ceilings descend with the classes: what lies between two of
    /// them is reserved for the more urgent one.
    pub const fn in_flight_ceiling(&self, class: DutyClass) -> usize {
        match class {
            DutyClass::Proposal => self.requests_in_flight_max,
            DutyClass::Attestation => self.attestation_in_flight_ceiling,
            DutyClass::Aggregate => self.aggregate_in_flight_ceiling,
            DutyClass::SelectionProof => self.selection_proof_in_flight_ceiling,
            DutyClass::Registration => self.registration_in_flight_ceiling,
        }
    }

    /// Every contradiction among the bounds.
    pub fn check(&self) -> Vec<LimitsError> {
        let named = self.named();
        let mut errors: Vec<_> = named
            .iter()
            .filter(|(_, value)| *value == 0)
            .map(|(field, _)| LimitsError::Zero { field })
            .collect();
        if self.request_budget_ms > BUDGET_MS_MAX {
            let (field, value) = ("request_budget_ms", self.request_budget_ms);
            errors.push(LimitsError::BeyondLease { field, value });
        }
        let value = |wanted: &str| {
            named
                .iter()
                .find(|(field, _)| *field == wanted)
                .map(|(_, value)| *value)
                .expect("the pairs below are fields of this struct")
        };
        for (field, bound) in NOT_ABOVE {
            if value(field) > value(bound) {
                errors.push(LimitsError::Above {
                    field,
                    value: value(field),
                    bound,
                    bound_value: value(bound),
                });
            }
        }
        errors
    }

    /// Every bound with its key, in the order of the struct.
    pub fn named(&self) -> [(&'static str, u64); 19] {
        [
            ("body_bytes_max", self.body_bytes_max as u64),
            ("body_bytes_in_flight_max", self.body_bytes_in_flight_max as u64),
            ("header_bytes_max", self.header_bytes_max as u64),
            ("connections_max", self.connections_max as u64),
            ("idle_connection_timeout_ms", self.idle_connection_timeout_ms),
            ("request_head_timeout_ms", self.request_head_timeout_ms),
            ("request_body_timeout_ms", self.request_body_timeout_ms),
            ("request_budget_ms", self.request_budget_ms),
            ("requests_in_flight_max", self.requests_in_flight_max as u64),
            ("attestation_in_flight_ceiling", self.attestation_in_flight_ceiling as u64),
            ("aggregate_in_flight_ceiling", self.aggregate_in_flight_ceiling as u64),
            ("selection_proof_in_flight_ceiling", self.selection_proof_in_flight_ceiling as u64),
            ("registration_in_flight_ceiling", self.registration_in_flight_ceiling as u64),
            ("recorder_queue_max", self.recorder_queue_max as u64),
            ("upstream_idle_ms", self.upstream_idle_ms),
            ("upstream_connect_timeout_ms", self.upstream_connect_timeout_ms),
            ("upstream_answer_bytes_max", self.upstream_answer_bytes_max as u64),
            ("upstream_keys_bytes_max", self.upstream_keys_bytes_max as u64),
            ("drain_timeout_ms", self.drain_timeout_ms),
        ]
    }
}

/// Pairs of keys of which the first may not exceed the second.
const NOT_ABOVE: [(&str, &str); 6] = [
    ("body_bytes_max", "body_bytes_in_flight_max"),
    ("attestation_in_flight_ceiling", "requests_in_flight_max"),
    ("aggregate_in_flight_ceiling", "attestation_in_flight_ceiling"),
    ("selection_proof_in_flight_ceiling", "aggregate_in_flight_ceiling"),
    ("registration_in_flight_ceiling", "selection_proof_in_flight_ceiling"),
    ("upstream_connect_timeout_ms", "request_budget_ms"),
];
