//! Step 9: what is said of a request, in figures and in words. One exit, never skipped.

use std::net::SocketAddr;
use std::sync::Arc;

use policy::{Decision, GroupIndex, Level, Source};
use slashing_db::Permit;

use super::{Fault, Gate, NotSigned, Refusal, Rejection, Signed, judge};
use crate::audit::{Place, Position};
use crate::clients::Client;
use crate::clock::{Now, Stopwatch};
use crate::eth::{Duty, DutyKind, SigningRoot, Slot};
use crate::metrics::{Stage, Verdict};
use crate::response::{Normal, Notice};
use crate::trace::{RequestId, RequestTrace, TraceHeaders};
use crate::upstream::verify::{BAD_SIGNATURE, VERIFY_FAILED};
use crate::upstream::{Forwarded, UpstreamFault};
use crate::validators::RowIndex;
use crate::web3signer::request::SigningRequest;

mod audited;
mod findings;

/// What has become known of a request on its way.
pub(super) struct Account {
    client: Arc<Client>,
    peer: SocketAddr,
    identifier: String,
    kind: Option<DutyKind>,
    times: Times,
    root: Option<SigningRoot>,
    joined: bool,
    came_at: Option<Now>,
    judged: Option<(GroupIndex, Decision)>,
    row: Option<RowIndex>,
    source: Option<Source>,
    place: Option<Place>,
    /// A second place, for a duty that is written down before it is forwarded.
    intent: Option<Place>,
    store_sequence: Option<u64>,
    trace: RequestTrace,
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
    pub(super) fn open(
        client: Arc<Client>,
        peer: SocketAddr,
        identifier: &str,
        trace: RequestTrace,
    ) -> Self {
        let (whole, stage) = (Stopwatch::start(), Stopwatch::start());
        let identifier = if identifier.len() <= IDENTIFIER_CHARS_MAX {
            identifier.to_owned() // every request but a stranger's: no walk over its characters
        } else {
            identifier.chars().take(IDENTIFIER_CHARS_MAX).collect()
        };
        Self {
            client,
            peer,
            identifier,
            kind: None,
            times: Times::default(),
            root: None,
            joined: false,
            came_at: None,
            judged: None,
            row: None,
            source: None,
            place: None,
            intent: None,
            store_sequence: None,
            trace,
            whole,
            stage,
        }
    }

    pub(super) fn done(&mut self, gate: &Gate, stage: Stage) {
        let elapsed = self.stage.lap();
        gate.metrics.stage(stage, elapsed);
        self.trace.stage(stage, &self.whole);
        let web3signer = &gate.metrics.web3signer;
        match (stage, self.kind) {
            (Stage::Record, Some(DutyKind::Attestation)) => {
                web3signer.attestation_recorded.observe(elapsed);
            }
            (Stage::Record, Some(DutyKind::Block | DutyKind::BlockV2)) => {
                web3signer.block_recorded.observe(elapsed);
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

    /// When it came, by the clock that its duty is held against.
    pub(super) fn came_at(&mut self, now: Now) {
        self.came_at = Some(now);
    }

    /// Whose key it is for, and how it came along.
    pub(super) fn resolved(&mut self, row: RowIndex, source: Source) {
        self.row = Some(row);
        self.source = Some(source);
    }

    /// It may be forwarded.
    pub(super) fn permitted(&mut self, permit: &Permit) {
        self.store_sequence = permit.sequence();
    }

    /// What policy thought of a request that passed.
    pub(super) fn judged(&mut self, group: GroupIndex, decision: Decision) {
        self.judged = Some((group, decision));
    }

    /// Whose it is.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// What the request is called.
    pub(super) fn request_id(&self) -> &RequestId {
        &self.trace.request_id
    }

    /// What the signer is told of the trace.
    pub(super) fn outgoing(&self) -> Option<TraceHeaders> {
        self.trace.outgoing()
    }

    pub(super) fn close(mut self, gate: &Gate, result: &Result<Signed, NotSigned>) {
        let (verdict, code) = match result {
            Ok(_) => (Verdict::Signed, "ok"),
            Err(not_signed) => (not_signed.verdict(), not_signed.code()),
        };
        let kind = self.kind.map(|kind| kind as usize);
        gate.metrics.answered(kind, verdict, code, self.whole.elapsed());
        self.client.answered(verdict);
        self.count(gate, result);
        self.testify(gate, result);
        let normal = self.normal(gate, result);
        let position = self.audit(gate, (verdict, code), result, normal.as_ref());
        findings::report(&self, gate, result);
        self.notice(gate, (verdict, code), (position, normal), result);
        match result {
            Ok(_) => self.log_signed(),
            Err(not_signed) => self.log_not_signed(gate, not_signed),
        }
        self.export(gate, verdict, code);
    }

    fn count(&self, gate: &Gate, result: &Result<Signed, NotSigned>) {
        let metrics = &gate.metrics;
        match result {
            Ok(_) => {
                metrics.web3signer.permitted.inc();
                metrics.joins.inc_by(u64::from(self.joined));
            }
            Err(NotSigned::Refused(Refusal::Slashable(_))) => metrics.web3signer.prevented.inc(),
            Err(NotSigned::Refused(_)) => {}
            Err(NotSigned::Rejected(Rejection::UnknownKey | Rejection::AwaitingEnrolment)) => {
                metrics.web3signer.missing_identifier.inc();
            }
            Err(NotSigned::Rejected(_)) => metrics.web3signer.malformed.inc(),
            Err(NotSigned::Failed(_)) => {} // each replica that was asked has counted its own
        }
        if let Err(not_signed) = result {
            metrics.events.with_label_values(&[event(not_signed)]).inc();
        }
    }

    /// Notes what a duty for an enrolled key says of the time, also where the time was its fault.
    fn testify(&self, gate: &Gate, result: &Result<Signed, NotSigned>) {
        let says_something = match result {
            Ok(_) => true,
            Err(NotSigned::Rejected(rejection)) => {
                matches!(rejection, Rejection::FutureDuty { .. } | Rejection::PastDuty { .. })
            }
            Err(NotSigned::Refused(_) | NotSigned::Failed(_)) => false,
        };
        let bound_to_its_slot = match self.kind {
            Some(
                DutyKind::Attestation
                | DutyKind::Block
                | DutyKind::BlockV2
                | DutyKind::AggregateAndProof
                | DutyKind::AggregateAndProofV2
                | DutyKind::SyncCommitteeMessage
                | DutyKind::SyncCommitteeContributionAndProof,
            ) => self.times.slot,
            Some(
                DutyKind::RandaoReveal
                | DutyKind::Deposit
                | DutyKind::VoluntaryExit
                | DutyKind::AggregationSlot
                | DutyKind::SyncCommitteeSelectionProof
                | DutyKind::ValidatorRegistration,
            )
            | None => None,
        };
        if let (true, Some(slot), Some(now)) = (says_something, bound_to_its_slot, self.came_at) {
            let place = self.client.place(&gate.judgement.clients);
            place.testimony.note(&gate.slots, Slot(slot), now);
        }
    }

    /// What is normal for the key, where the request was not simply signed.
    fn normal(
        &self,
        gate: &Gate,
        result: &Result<Signed, NotSigned>,
    ) -> Option<(Normal, Option<GroupIndex>)> {
        let judged = self.judged.as_ref().map(|(_, decision)| decision.level);
        let is_quiet = result.is_ok() && judged.is_none_or(|level| level < Level::Alert);
        self.row.filter(|_| !is_quiet).map(|row| Normal::of(gate, row))
    }

    /// Hands it to what acts on it, where it was not simply signed.
    fn notice(
        &self,
        gate: &Gate,
        (verdict, code): (Verdict, &'static str),
        (position, normal): (Option<Position>, Option<(Normal, Option<GroupIndex>)>),
        result: &Result<Signed, NotSigned>,
    ) {
        let judged = match result {
            Err(NotSigned::Refused(Refusal::Policy(it))) => Some((it.group, &it.decision)),
            Ok(_) | Err(_) => self.judged.as_ref().map(|(group, decision)| (*group, decision)),
        };
        let is_quiet = judged.is_none_or(|(_, decision)| decision.level < Level::Alert);
        if result.is_ok() && is_quiet {
            return;
        }
        let Some(came_at) = self.came_at else { return }; // not even a duty
        let (normal, group) = normal.unzip();
        gate.response.notice(|| Notice {
            at: judge::moment(gate.slots, came_at),
            request_id: self.trace.request_id.to_string(),
            public_key: self.identifier.clone(),
            row: self.row,
            group: judged.map(|(group, _)| group).or(group.flatten()),
            client: Arc::clone(&self.client),
            peer: self.peer,
            source: self.source,
            kind: self.kind,
            root: self.root,
            times: self.times.all(),
            verdict,
            code,
            reason: result.as_ref().err().map_or_else(String::new, ToString::to_string),
            normal,
            decision: judged.map(|(_, decision)| decision.clone()),
            position,
        });
    }

    /// Gives the span of a sampled request to the exporter.
    fn export(&mut self, gate: &Gate, verdict: Verdict, code: &'static str) {
        let name = self.kind.map_or("sign", DutyKind::as_str);
        let Some(mut span) = self.trace.span(name, self.whole.elapsed()) else { return };
        let attributes = &mut span.attributes;
        attributes.push(("client.address", self.peer.to_string().into()));
        attributes.push(("portcullis.pubkey", self.identifier.as_str().into()));
        attributes.push(("portcullis.verdict", verdict.as_str().into()));
        attributes.push(("portcullis.code", code.into()));
        attributes.push(("portcullis.joined", self.joined.into()));
        if let Some(kind) = self.kind {
            attributes.push(("portcullis.duty", kind.as_str().into()));
        }
        if let Some(root) = self.root {
            attributes.push(("portcullis.signing_root", root.to_string().into()));
        }
        for (name, number) in [
            ("portcullis.slot", self.times.slot),
            ("portcullis.epoch", self.times.epoch),
            ("portcullis.source_epoch", self.times.source),
            ("portcullis.target_epoch", self.times.target),
        ] {
            attributes.extend(number.map(|number| (name, number.into())));
        }
        span.failed = (verdict == Verdict::Failed).then_some(code);
        gate.tracer.offer(span);
    }

    fn log_signed(&self) {
        tracing::debug!(
            event = SIGNED,
            request_id = %self.trace.request_id,
            trace_id = self.trace.trace_id().map(tracing::field::display),
            span_id = self.trace.span_id().map(tracing::field::display),
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
                    request_id = %self.trace.request_id,
                    trace_id = self.trace.trace_id().map(tracing::field::display),
                    span_id = self.trace.span_id().map(tracing::field::display),
                    code,
                    reason = %not_signed,
                    cause = cause(not_signed),
                    attempts = attempts(not_signed),
                    explanation = findings::explanation(gate, not_signed),
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
        NotSigned::Failed(Fault::Upstream(failure))
            if matches!(failure.fault, UpstreamFault::Refused) =>
        {
            UPSTREAM_REFUSED
        }
        NotSigned::Failed(_) => FAILED,
    }
}

/// Of log lines alone: signatures have counters of their own.
const SIGNED: &str = "signed";
const REFUSED: &str = "refused";
const REJECTED: &str = "rejected";
const FAILED: &str = "failed";
/// The signer refused what our own store had permitted: one of the two stores is wrong.
const UPSTREAM_REFUSED: &str = "upstream_refused_after_permit";

/// The names of the events that are counted.
pub const EVENTS: [&str; 10] = [
    REFUSED,
    REJECTED,
    FAILED,
    UPSTREAM_REFUSED,
    BAD_SIGNATURE,
    VERIFY_FAILED,
    POLICY_FINDING,
    POLICY_ALARM,
    BASELINE_MOVED,
    CLOCK_DISAGREEMENT,
];
/// A rule that is watched, or is not enforced, has something to say of a request that passed.
const POLICY_FINDING: &str = "policy_finding";
/// Something that concerns more than one key.
pub const POLICY_ALARM: &str = "policy_alarm";
/// What is usual for a key has moved further than chance moves it.
pub const BASELINE_MOVED: &str = "baseline_moved";
/// The clients' duties do not lie in their slots by the gate's clock.
pub const CLOCK_DISAGREEMENT: &str = "clock_disagreement";

/// The chain of causes behind `error`, in one line.
fn cause(error: &NotSigned) -> Option<String> {
    let error: &dyn std::error::Error = match error {
        NotSigned::Failed(Fault::Upstream(failure)) => &failure.fault,
        other => other,
    };
    let causes: Vec<String> = std::iter::successors(error.source(), |cause| cause.source())
        .map(ToString::to_string)
        .collect();
    (!causes.is_empty()).then(|| causes.join(": "))
}

/// The replicas that were asked in vain, if any were.
fn attempts(not_signed: &NotSigned) -> Option<String> {
    match not_signed {
        NotSigned::Failed(Fault::Upstream(failure)) => Some(failure.attempts()),
        NotSigned::Failed(_) | NotSigned::Refused(_) | NotSigned::Rejected(_) => None,
    }
}

impl Times {
    const fn all(self) -> [Option<u64>; 4] {
        [self.slot, self.epoch, self.source, self.target]
    }

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

/// A public key has 98 with its `0x`; what a stranger sends in its place may be as long as a head.
const IDENTIFIER_CHARS_MAX: usize = 128;
