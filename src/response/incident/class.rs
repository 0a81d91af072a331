//! What kinds of cause there are, and which of them wake a person up.
//!
//! | family | what belongs to it | severity | pages |
//! |---|---|---|---|
//! | `second_signer` | leases, quarantines; slashable from a stranger | critical | at once |
//! | `double_proposal` | a second block for a slot, from the owner itself | error | at once |
//! | `slashable` | other refusals by EIP-3076, from the owner itself | warning | if it lasts |
//! | `exit`, `deposit` | exits and deposits that are not allowed | critical | at once |
//! | `fee_recipient` | registrations and proofs with another fee recipient | error | at once |
//! | `credential` | a certificate from elsewhere, a client that may not | error | at once |
//! | `content` | headers that cannot be one | error | at once |
//! | `mismatch` | another root, network or fork than the gate computes | warning | if it lasts |
//! | `budget` | more duties than a key can have, or for other slots | warning | if it lasts |
//! | `clock` | duties of the past or the future | warning | if it lasts |
//! | `noise` | unknown keys, keys that await enrolment, what cannot be read | info | never |
//! | `upstream` | signers that do not answer | error | if it lasts |
//! | `missing_keys` | signers that lack keys | error | if it lasts |
//! | `false_signature` | signers whose answers are not the signatures | critical | at once |
//! | `gate` | the gate's own disks, leases and faults | critical | at once |
//! | `overload` | more work than the gate takes on | error | if it lasts |
//! | `fleet` | what the whole fleet signs, shares that do not answer | error | at once |
//! | `watched` | rules that are watched, and statistics of one key or source | warning | never |
//!
//! What "lasts" is [`Lasting`]: a client that restarts is refused for what is left of an epoch and
//! the next; two copies of it that live under one name go on.

use policy::{Level, Mode, Rule};
use serde::{Deserialize, Serialize};

use crate::events::Severity;
use crate::metrics::Verdict;

/// A kind of cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the table above
pub enum Family {
    SecondSigner,
    DoubleProposal,
    Slashable,
    Exit,
    Deposit,
    FeeRecipient,
    Credential,
    Content,
    Mismatch,
    Budget,
    Clock,
    Noise,
    Upstream,
    MissingKeys,
    FalseSignature,
    Gate,
    Overload,
    Fleet,
    Watched,
}

/// When a family wakes a person up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// With its first decision.
    AtOnce,
    /// Once it has lasted.
    IfItLasts(Lasting),
    /// Never.
    Never,
}

/// How long something has to go on, without a long break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting {
    /// Distinct requests at least.
    pub offences: u64,
    /// From the first to the last of them, in milliseconds.
    pub for_ms: u64,
    /// A longer break ends it, in milliseconds.
    pub break_ms: u64,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 19] = [
        Self::SecondSigner,
        Self::DoubleProposal,
        Self::Slashable,
        Self::Exit,
        Self::Deposit,
        Self::FeeRecipient,
        Self::Credential,
        Self::Content,
        Self::Mismatch,
        Self::Budget,
        Self::Clock,
        Self::Noise,
        Self::Upstream,
        Self::MissingKeys,
        Self::FalseSignature,
        Self::Gate,
        Self::Overload,
        Self::Fleet,
        Self::Watched,
    ];

    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecondSigner => "second_signer",
            Self::DoubleProposal => "double_proposal",
            Self::Slashable => "slashable",
            Self::Exit => "exit",
            Self::Deposit => "deposit",
            Self::FeeRecipient => "fee_recipient",
            Self::Credential => "credential",
            Self::Content => "content",
            Self::Mismatch => "mismatch",
            Self::Budget => "budget",
            Self::Clock => "clock",
            Self::Noise => "noise",
            Self::Upstream => "upstream",
            Self::MissingKeys => "missing_keys",
            Self::FalseSignature => "false_signature",
            Self::Gate => "gate",
            Self::Overload => "overload",
            Self::Fleet => "fleet",
            Self::Watched => "watched",
        }
    }

    /// What it is, as the beginning of a line for people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::SecondSigner => "a second signer",
            Self::DoubleProposal => "a second block for a slot",
            Self::Slashable => "slashable requests",
            Self::Exit => "exits that are not allowed",
            Self::Deposit => "deposits that are not allowed",
            Self::FeeRecipient => "another fee recipient",
            Self::Credential => "a credential out of its place",
            Self::Content => "blocks that cannot be one",
            Self::Mismatch => "another root, network or fork",
            Self::Budget => "more duties than a key can have",
            Self::Clock => "duties of another time",
            Self::Noise => "requests that cannot be served",
            Self::Upstream => "signers that do not answer",
            Self::MissingKeys => "keys that no signer has",
            Self::FalseSignature => "answers that are not the signature",
            Self::Gate => "a fault of the gate",
            Self::Overload => "more work than the gate takes on",
            Self::Fleet => "something that the whole fleet shows",
            Self::Watched => "something unusual that was signed",
        }
    }

    /// How loud it is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::SecondSigner | Self::Exit | Self::Deposit => Severity::Critical,
            Self::FalseSignature | Self::Gate => Severity::Critical,
            Self::DoubleProposal | Self::FeeRecipient | Self::Credential => Severity::Error,
            Self::Content | Self::Upstream | Self::MissingKeys => Severity::Error,
            Self::Overload | Self::Fleet => Severity::Error,
            Self::Slashable | Self::Mismatch | Self::Budget => Severity::Warning,
            Self::Clock | Self::Watched => Severity::Warning,
            Self::Noise => Severity::Info,
        }
    }

    /// When it wakes a person up, unless a playbook says otherwise.
    pub const fn pages(self) -> Pages {
        match self {
            Self::SecondSigner | Self::DoubleProposal | Self::Exit | Self::Deposit => Pages::AtOnce,
            Self::FeeRecipient | Self::Credential | Self::Content => Pages::AtOnce,
            Self::FalseSignature | Self::Gate | Self::Fleet => Pages::AtOnce,
            Self::MissingKeys => Pages::IfItLasts(SEEN_TWICE),
            Self::Slashable | Self::Mismatch | Self::Budget | Self::Clock => {
                Pages::IfItLasts(BEYOND_A_RESTART)
            }
            Self::Upstream | Self::Overload => Pages::IfItLasts(AN_OUTAGE),
            Self::Noise | Self::Watched => Pages::Never,
        }
    }

    /// Whether the client that asked is what its causes are told apart by.
    pub const fn is_of_a_client(self) -> bool {
        match self {
            Self::Upstream | Self::MissingKeys | Self::FalseSignature => false,
            Self::Gate | Self::Overload | Self::Fleet => false,
            Self::SecondSigner | Self::DoubleProposal | Self::Slashable => true,
            Self::Exit | Self::Deposit | Self::FeeRecipient | Self::Credential => true,
            Self::Content | Self::Mismatch | Self::Budget | Self::Clock => true,
            Self::Noise | Self::Watched => true,
        }
    }

    /// The family of what policy refused, or was told by it in an alarm.
    pub const fn of_rule(rule: Rule) -> Self {
        match rule {
            Rule::ClientLease | Rule::LeaseFence | Rule::Quarantine | Rule::Context => {
                Self::SecondSigner
            }
            Rule::Shares => Self::SecondSigner,
            Rule::ExitWindow | Rule::ExitDailyMax => Self::Exit,
            Rule::DepositCredentials => Self::Deposit,
            Rule::Registration | Rule::BlockFeeRecipient => Self::FeeRecipient,
            Rule::ClientPermission | Rule::CertificateAddress => Self::Credential,
            Rule::DormantCredential | Rule::SourceEnrolment => Self::Credential,
            Rule::HeaderSanity => Self::Content,
            Rule::BlockWindow | Rule::RandaoWindow | Rule::SyncWindow => Self::Budget,
            Rule::SelectionBudget | Rule::AggregateWithoutProof => Self::Budget,
            Rule::DutyBudget | Rule::SourceLag => Self::Budget,
            Rule::FleetRates | Rule::SyncShare => Self::Fleet,
            Rule::Timing | Rule::SourceTiming => Self::Watched,
        }
    }

    /// The family of a stable code that is not a rule's. `owner_asked` says whether the client that
    /// asked is the key's owner, or the key has none.
    pub fn of_code(code: &str, verdict: Verdict, owner_asked: bool) -> Self {
        match code {
            "quarantined" | "cohort_fenced" | "window_halted" => Self::SecondSigner,
            "double_vote"
            | "surround_or_stale_source"
            | "stale_target"
            | "superseded"
            | "stale_slot"
            | "double_block_proposal"
                if !owner_asked =>
            {
                Self::SecondSigner
            }
            "double_block_proposal" => Self::DoubleProposal,
            "double_vote"
            | "surround_or_stale_source"
            | "stale_target"
            | "superseded"
            | "stale_slot"
            | "source_exceeds_target"
            | "domain_not_permitted" => Self::Slashable,
            "not_permitted" | "group_exhausted" | "count_exceeded" => Self::Exit,
            "target_too_far" | "target_too_old" | "slot_too_far" | "future_duty" | "past_duty" => {
                Self::Clock
            }
            "signing_root_mismatch"
            | "foreign_network"
            | "fork_version"
            | "target_not_of_slot"
            | "committee_index" => Self::Mismatch,
            // A moment at the turn of an epoch, or a key that ended: whoever asks is told so.
            "not_reserved" | "key_disabled" => Self::Noise,
            "halted" => Self::Gate,
            "upstream_bad_signature" | "upstream_verify_failed" => Self::FalseSignature,
            "overloaded" | "upstream_overloaded" | "queue_full" => Self::Overload,
            code if code.starts_with("upstream_") => Self::Upstream,
            _ => match verdict {
                Verdict::Signed => Self::Watched,
                Verdict::Refused => Self::Credential,
                Verdict::Rejected => Self::Noise,
                Verdict::Failed => Self::Gate,
            },
        }
    }

    /// The family of a finding on a request that was signed nevertheless.
    pub fn of_finding(rule: Rule, mode: Mode, level: Level) -> Self {
        match (mode, level) {
            // Enforced, and grave: it was let pass by a window or a hold, and people should know.
            (Mode::Enforce, Level::Quarantine | Level::HaltRotation) => Self::of_rule(rule),
            (
                Mode::Off | Mode::Monitor | Mode::Enforce,
                Level::Observe
                | Level::Alert
                | Level::Hold
                | Level::Refuse
                | Level::Quarantine
                | Level::HaltRotation,
            ) => Self::Watched,
        }
    }
}

/// Longer than what a restart leaves refused: the rest of an epoch and the one after it. A key has
/// a duty in each epoch.
const BEYOND_A_RESTART: Lasting =
    Lasting { offences: 3, for_ms: 2 * EPOCH_MS, break_ms: 3 * EPOCH_MS };
/// A signer's restart costs a few requests; this costs duties.
const AN_OUTAGE: Lasting = Lasting { offences: 32, for_ms: 24_000, break_ms: 120_000 };
/// A signer that starts may not have read all of its keys when it is first asked.
const SEEN_TWICE: Lasting = Lasting { offences: 2, for_ms: 1, break_ms: 10 * EPOCH_MS };
const EPOCH_MS: u64 = 384_000;
