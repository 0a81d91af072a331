//! Why a request was not signed, split by who must act.
//!
//! A refusal travels in the `Err` arm so that `?` keeps the path flat; it is still not an error: it
//! is the product working. Every variant has a stable `code`: the same word in the answer's body,
//! the metric label, the log and the README's table.

use std::sync::Arc;

use slashing_db::{LeaseLapsed, NotSafe, RecordError};
use thiserror::Error;

use super::judge::PolicyRefusal;
use crate::audit::AuditFull;
use crate::eth::{DutyKind, Epoch, Root, RootError, Slot, Version};
use crate::limits::DutyClass;
use crate::metrics::Verdict;
use crate::response::quarantine::Quarantine;
use crate::server::body::BodyError;
use crate::upstream::UpstreamFailure;
use crate::web3signer::request::RequestError;

/// A request that got no signature.
#[derive(Debug, Error)]
pub enum NotSigned {
    /// Our verdict: signing it could cost money. 412. Somebody should look.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The client's fault: the request cannot be right. 4xx.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Our fault, or the signer's. 500; nothing was released.
    #[error(transparent)]
    Failed(#[from] Fault),
}

/// Our verdict.
#[derive(Debug, Error)]
pub enum Refusal {
    /// EIP-3076, or a bound of the store.
    #[error(transparent)]
    Slashable(#[from] NotSafe),
    /// An exit or a deposit that no key group of the configuration allows.
    #[error("{} is not allowed for this key: no key group of the configuration permits it", .kind.as_str())]
    NotPermitted {
        /// The duty that was asked for.
        kind: DutyKind,
    },
    /// The group's total of exits or deposits is used up.
    #[error("{} is not allowed: the key group {group:?} has used all {max} of its permissions", .kind.as_str())]
    GroupExhausted {
        /// The duty that was asked for.
        kind: DutyKind,
        /// The key group's name.
        group: String,
        /// Its configured total.
        max: u32,
    },
    /// A rule of the policy.
    #[error(
        "{} ({}): {} is {}, expected {}", .0.finding.rule.as_str(), .0.finding.rule.number(),
        .0.finding.evidence.what, .0.finding.evidence.observed, .0.finding.evidence.expected
    )]
    Policy(Box<PolicyRefusal>),
    /// The gate met a fault of its own while it held this key, and stopped the key until a restart.
    #[error("this key is halted after an internal fault; restart the gate and report the fault")]
    Halted,
    /// The key, the client or both are in quarantine.
    #[error("{0}")]
    Quarantined(Arc<Quarantine>),
}

/// The client's fault.
#[derive(Debug, Error)]
pub enum Rejection {
    /// The body could not be read.
    #[error(transparent)]
    Body(BodyError),
    /// The body is not a signing request.
    #[error(transparent)]
    Malformed(#[from] RequestError),
    /// Rule D01: a network that is not the configured one.
    #[error(
        "fork_info.genesis_validators_root {found} is not {expected}, the one of network {network}"
    )]
    ForeignNetwork {
        /// What the request says.
        found: Root,
        /// What the configuration says.
        expected: Root,
        /// The configured network.
        network: String,
    },
    /// Rule D02: a fork version that the schedule does not have at that epoch.
    #[error(
        "fork_info.fork gives version {found} at epoch {epoch}, where the network's schedule has {expected}"
    )]
    ForkVersion {
        /// The effective version of the request.
        found: Version,
        /// The schedule's version.
        expected: Version,
        /// The epoch that selects it.
        epoch: Epoch,
    },
    /// A root that cannot be computed on this network, or is not the one that the client claims.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Rule D04: the target is not the epoch of the slot.
    #[error(
        "attestation.target.epoch {target} is not {epoch}, the epoch of attestation.slot {slot}"
    )]
    TargetNotOfSlot {
        /// The target epoch.
        target: Epoch,
        /// The attestation's slot.
        slot: Slot,
        /// The epoch of that slot.
        epoch: Epoch,
    },
    /// Rule D05: more than a slot ahead of the wall clock.
    #[error(
        "{field} {found} lies in the future: at most {max} may be signed now; check both clocks"
    )]
    FutureDuty {
        /// The field that is ahead.
        field: &'static str,
        /// Its value.
        found: u64,
        /// The highest value that may be signed now.
        max: u64,
    },
    /// Rule D06: too old to be of use on the chain.
    #[error(
        "attestation.target.epoch {found} is too old: at least {min} is of use now; check both clocks"
    )]
    PastDuty {
        /// The target epoch.
        found: u64,
        /// The lowest target that may be signed now.
        min: u64,
    },
    /// Rule D07: the source lies after the target.
    #[error("attestation.source.epoch {source_epoch} exceeds attestation.target.epoch {target}")]
    SourceExceedsTarget {
        /// The source epoch.
        source_epoch: Epoch,
        /// The target epoch.
        target: Epoch,
    },
    /// Rule D09: a committee index that this fork does not allow (EIP-7549, EIP-7732).
    #[error("{field} is {found}, but from {since} on it is {allowed}")]
    CommitteeIndex {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// The fork that set the rule.
        since: &'static str,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// The path does not name a BLS public key.
    #[error("the path must end in a BLS public key: 96 hexadecimal digits, with or without 0x")]
    BadIdentifier,
    /// Nobody enrolled this key here, and the signer does not have it either.
    #[error("unknown public key")]
    UnknownKey,
    /// The signer has the key, but nobody has enrolled it.
    #[error(
        "this key awaits enrolment: the signer has it, but its slashing-protection history was never declared; \
         enrol it with `portcullis keys enrol` or `portcullis slashing import`"
    )]
    AwaitingEnrolment,
}

/// Our fault, or the signer's.
#[derive(Debug, Error)]
pub enum Fault {
    /// The signer could not be asked, or answered wrongly.
    #[error("{0}")]
    Upstream(Arc<UpstreamFailure>),
    /// The slashing store could not record the duty.
    #[error(transparent)]
    Store(RecordError),
    /// The record was not on disk in time. The same root may be asked for again.
    #[error("the slashing store's disk did not confirm the record in time; look at the disk")]
    RecordTimeout,
    /// The lease would end before the request's budget does. It may still be renewed.
    #[error(
        "the lease on the slashing store is not renewed in time and may end before the signer answers; \
         look at the disks of the store and its witness"
    )]
    LeaseEnding,
    /// The lease on the slashing store lapsed: another gate may own the keys.
    #[error(transparent)]
    Lease(#[from] LeaseLapsed),
    /// What is decided could not be written down.
    #[error(transparent)]
    Audit(AuditFull),
    /// More work than the gate takes on at once.
    #[error("overloaded: too many {} requests are under way", .class.as_str())]
    Overloaded {
        /// The class that is full.
        class: DutyClass,
    },
    /// The bodies of all requests together hold as much as they may.
    #[error("overloaded: too many bytes of request bodies are held")]
    BodiesFull,
    /// A fault of the program.
    #[error("internal fault: {0}; please report it")]
    Bug(&'static str),
}

impl From<BodyError> for NotSigned {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::BudgetExhausted => Self::Failed(Fault::BodiesFull),
            BodyError::TooLarge { .. } | BodyError::Timeout | BodyError::Incomplete => {
                Self::Rejected(Rejection::Body(error))
            }
        }
    }
}

impl From<RecordError> for NotSigned {
    fn from(error: RecordError) -> Self {
        match error.not_safe() {
            Some(not_safe) => Self::Refused(Refusal::Slashable(not_safe)),
            None => Self::Failed(Fault::Store(error)),
        }
    }
}

impl From<Arc<UpstreamFailure>> for NotSigned {
    fn from(failure: Arc<UpstreamFailure>) -> Self {
        Self::Failed(Fault::Upstream(failure)) // shared: twins wait for one answer
    }
}

macro_rules! into_not_signed {
    ($($error:ty => $side:ident),* $(,)?) => {$(
        impl From<$error> for NotSigned {
            fn from(error: $error) -> Self {
                Self::$side(error.into())
            }
        }
    )*};
}

into_not_signed! {
    NotSafe => Refused,
    RequestError => Rejected,
    RootError => Rejected,
    LeaseLapsed => Failed,
}

impl NotSigned {
    /// The stable code of this outcome.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Rejected(rejection) => rejection.code(),
            Self::Failed(fault) => fault.code(),
        }
    }

    /// Who must act: the metric's `verdict` label.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Refused(_) => Verdict::Refused,
            Self::Rejected(_) => Verdict::Rejected,
            Self::Failed(_) => Verdict::Failed,
        }
    }
}

/// The code of what a quarantine refuses.
pub const QUARANTINED: &str = "quarantined";

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Slashable(not_safe) => not_safe.code(),
            Self::NotPermitted { .. } => "not_permitted",
            Self::GroupExhausted { .. } => "group_exhausted",
            Self::Policy(refusal) => refusal.finding.rule.as_str(),
            Self::Halted => "halted",
            Self::Quarantined(_) => QUARANTINED,
        }
    }
}

impl Rejection {
    fn code(&self) -> &'static str {
        match self {
            Self::Body(error) => error.code(),
            Self::Root(RootError::Mismatch { .. }) => "signing_root_mismatch",
            Self::Malformed(_) | Self::Root(_) => "malformed",
            Self::ForeignNetwork { .. } => "foreign_network",
            Self::ForkVersion { .. } => "fork_version",
            Self::TargetNotOfSlot { .. } => "target_not_of_slot",
            Self::FutureDuty { .. } => "future_duty",
            Self::PastDuty { .. } => "past_duty",
            Self::SourceExceedsTarget { .. } => "source_exceeds_target",
            Self::CommitteeIndex { .. } => "committee_index",
            Self::BadIdentifier => "bad_identifier",
            Self::UnknownKey => "unknown_key",
            Self::AwaitingEnrolment => "awaiting_enrolment",
        }
    }
}

impl Fault {
    fn code(&self) -> &'static str {
        match self {
            Self::Upstream(fault) => fault.code(),
            Self::Store(error) => error.code(),
            Self::RecordTimeout => "record_timeout",
            Self::LeaseEnding => "lease_ending",
            Self::Lease(_) => "lease_lapsed",
            Self::Audit(AuditFull) => "audit_full",
            Self::Overloaded { .. } | Self::BodiesFull => "overloaded",
            Self::Bug(_) => "bug",
        }
    }
}
