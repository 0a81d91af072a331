//! Step 9: what is said of a request, in figures and in words. One exit, never skipped.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Fault, Gate, NotSigned, Refusal, Rejection, Signed};
use crate::clients::Client;
use crate::clock::{Now, Stopwatch};
use crate::eth::{Duty, DutyKind, SigningRoot};
use crate::metrics::{Stage, Verdict};
use crate::upstream::{Forwarded, UpstreamFault};
use crate::web3signer::request::SigningRequest;

#[cfg(test)]
mod tests;

/// What has become known of a request on its way.
pub(super) struct Account {
    client: Arc<Client>,
    peer: SocketAddr,
    identifier: String,
    kind: Option<DutyKind>,
    times: Times,
    root: Option<SigningRoot>,
    joined: bool,
    whole: Stopwatch,
    stage: Stopwatch,
}

/// The numbers by which a duty is recognised in a log.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    slot: Option<u64>,
    epoch: Option<u64>,
    source: Option<u64>,
    target: Option<u64>,
}

impl Account {
    pub(super) fn open(client: &Arc<Client>, peer: SocketAddr, identifier: &str) -> Self {
        let (whole, stage) = (Stopwatch::start(), Stopwatch::start());
        let identifier = identifier.chars().take(IDENTIFIER_CHARS_MAX).collect();
        Self {
            client: Arc::clone(client),
            peer,
            identifier,
            kind: None,
            times: Times::default(),
            root: None,
            joined: false,
            whole,
            stage,
        }
    }

    pub(super) fn done(&mut self, gate: &Gate, stage: Stage) {
        let elapsed = self.stage.lap();
        gate.metrics.stage(stage, elapsed);
        let web3signer = &gate.metrics.web3signer;
        match (stage, self.kind) {
            (Stage::Record, Some(DutyKind::Attestation)) => {
                web3signer.attestation_recorded.observe(elapsed);
            }
            (Stage::Record, Some(DutyKind::Block | DutyKind::BlockV2)) => {
                web3signer.block_recorded.observe(elapsed);
            }
            (Stage::Forward, _) if !self.joined => {
                gate.metrics.upstream.seconds.observe(elapsed.as_secs_f64());
            }
            (_, _) => {}
        }
    }

    pub(super) fn parsed(&mut self, gate: &Gate, request: &SigningRequest) {
        self.kind = Some(request.duty.kind());
        self.times = Times::of(&request.duty);
        self.done(gate, Stage::Parse);
    }

    pub(super) fn rooted(&mut self, gate: &Gate, root: SigningRoot) {
        self.root = Some(root);
        self.done(gate, Stage::Root);
    }

    pub(super) fn forwarded(&mut self, gate: &Gate, forwarded: &Forwarded) {
        self.joined = forwarded.joined;
        self.done(gate, Stage::Forward);
    }

    pub(super) fn close(self, gate: &Gate, result: &Result<Signed, NotSigned>) {
        let (verdict, code) = match result {
            Ok(_) => (Verdict::Signed, "ok"),
            Err(not_signed) => (not_signed.verdict(), not_signed.code()),
        };
        let kind = self.kind.map(|kind| kind as usize);
        gate.metrics.answered(kind, verdict, code, self.whole.elapsed());
        self.client.answered(verdict);
        self.count(gate, result);
        match result {
            Ok(_) => self.log_signed(),
            Err(not_signed) => self.log_not_signed(gate, not_signed),
        }
    }

    fn count(&self, gate: &Gate, result: &Result<Signed, NotSigned>) {
        let metrics = &gate.metrics;
        match result {
            Ok(_) => {
                metrics.web3signer.permitted.inc();
                if self.joined {
                    metrics.joins.inc();
                } else {
                    metrics.upstream.requests.inc();
                }
            }
            Err(NotSigned::Refused(Refusal::Slashable(_))) => metrics.web3signer.prevented.inc(),
            Err(NotSigned::Refused(_)) => {}
            Err(NotSigned::Rejected(Rejection::UnknownKey | Rejection::AwaitingEnrolment)) => {
                metrics.web3signer.missing_identifier.inc();
            }
            Err(NotSigned::Rejected(_)) => metrics.web3signer.malformed.inc(),
            Err(NotSigned::Failed(Fault::Upstream(fault))) => {
                metrics.upstream.requests.inc();
                metrics.upstream.errors.with_label_values(&[fault.code()]).inc();
                if matches!(**fault, UpstreamFault::Refused) {
                    metrics.upstream.refusals.inc();
                }
            }
            Err(NotSigned::Failed(_)) => {}
        }
        if let Err(not_signed) = result {
            metrics.events.with_label_values(&[event(not_signed)]).inc();
        }
    }

    fn log_signed(&self) {
        tracing::debug!(
            kind = self.kind.map(DutyKind::as_str),
            pubkey = self.identifier,
            root = self.root.map(tracing::field::display),
            slot = self.times.slot,
            epoch = self.times.epoch,
            source = self.times.source,
            target = self.times.target,
            client = self.client.name(),
            peer = %self.peer,
            joined = self.joined,
            took_us = u64::try_from(self.whole.elapsed().as_micros()).unwrap_or(u64::MAX),
            "signed"
        );
    }

    fn log_not_signed(&self, gate: &Gate, not_signed: &NotSigned) {
        let code = not_signed.code();
        let Some(unsaid) = gate.log_limit.may_say(code, gate.clock.now()) else {
            return;
        };
        macro_rules! say {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    event = event(not_signed),
                    code,
                    reason = %not_signed,
                    cause = cause(not_signed),
                    kind = self.kind.map(DutyKind::as_str),
                    pubkey = self.identifier,
                    root = self.root.map(tracing::field::display),
                    slot = self.times.slot,
                    epoch = self.times.epoch,
                    source = self.times.source,
                    target = self.times.target,
                    client = self.client.name(),
                    peer = %self.peer,
                    unsaid,
                    $message
                )
            };
        }
        match not_signed {
            NotSigned::Refused(_) => say!(warn, "refused to sign"),
            NotSigned::Rejected(Rejection::UnknownKey) => {
                say!(info, "rejected a request for an unknown key");
            }
            NotSigned::Rejected(_) => say!(warn, "rejected a request"),
            NotSigned::Failed(_) => say!(error, "could not sign"),
        }
    }
}

/// The name of what happened, for the log and the metrics.
fn event(not_signed: &NotSigned) -> &'static str {
    match not_signed {
        NotSigned::Refused(_) => REFUSED,
        NotSigned::Rejected(_) => REJECTED,
        NotSigned::Failed(Fault::Upstream(fault)) if matches!(**fault, UpstreamFault::Refused) => {
            UPSTREAM_REFUSED
        }
        NotSigned::Failed(_) => FAILED,
    }
}

const REFUSED: &str = "refused";
const REJECTED: &str = "rejected";
const FAILED: &str = "failed";
/// The signer refused what our own store had permitted: one of the two stores is wrong.
const UPSTREAM_REFUSED: &str = "upstream_refused_after_permit";

/// The names of the events that are counted.
pub const EVENTS: [&str; 4] = [REFUSED, REJECTED, FAILED, UPSTREAM_REFUSED];

/// The chain of causes behind `error`, in one line.
fn cause(error: &NotSigned) -> Option<String> {
    let error: &dyn std::error::Error = match error {
        NotSigned::Failed(Fault::Upstream(fault)) => &**fault, // behind an `Arc`, it is no source
        other => other,
    };
    let causes: Vec<String> = std::iter::successors(error.source(), |cause| cause.source())
        .map(ToString::to_string)
        .collect();
    (!causes.is_empty()).then(|| causes.join(": "))
}

impl Times {
    fn of(duty: &Duty) -> Self {
        let slot = duty.slot().map(|slot| slot.0);
        match duty {
            Duty::Attestation(data) => Self {
                slot,
                source: Some(data.source.epoch.0),
                target: Some(data.target.epoch.0),
                epoch: None,
            },
            Duty::RandaoReveal(reveal) => Self { epoch: Some(reveal.epoch.0), ..Self::default() },
            Duty::VoluntaryExit(exit) => Self { epoch: Some(exit.epoch.0), ..Self::default() },
            Duty::Block(_)
            | Duty::BlockV2(_)
            | Duty::AggregationSlot(_)
            | Duty::AggregateAndProof(_)
            | Duty::AggregateAndProofV2(_)
            | Duty::SyncCommitteeMessage(_)
            | Duty::SyncCommitteeSelectionProof(_)
            | Duty::SyncCommitteeContributionAndProof(_)
            | Duty::Deposit(_)
            | Duty::ValidatorRegistration(_) => Self { slot, ..Self::default() },
        }
    }
}

/// Keeps a flood of one kind of bad request from filling the log's disk: so many lines a second and
/// code, and the number of those left out in the next line. The metrics count every one.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<HashMap<&'static str, Said>>);

#[derive(Debug, Default)]
struct Said {
    second: u64,
    lines: u32,
    unsaid: u64,
}

impl LogLimit {
    /// `Some` if a line for `code` may be written now: how many were left out since the last one.
    pub(crate) fn may_say(&self, code: &'static str, now: Now) -> Option<u64> {
        let mut codes = self.0.lock();
        let said = codes.entry(code).or_default();
        if said.second != now.unix_s() {
            (said.second, said.lines) = (now.unix_s(), 0);
        }
        if said.lines >= LINES_PER_SECOND_MAX {
            said.unsaid += 1;
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.unsaid))
    }
}

const LINES_PER_SECOND_MAX: u32 = 50;
/// A public key has 98 with its `0x`; what a stranger sends in its place may be as long as a head.
const IDENTIFIER_CHARS_MAX: usize = 128;
