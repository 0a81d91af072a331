//! What of a request the audit log has: its place before anything is decided, the record of an exit
//! or a deposit before it is forwarded, and the decision.

use policy::GroupIndex;
use tokio::time::{Instant, timeout_at};

use super::{Account, Normal, findings};
use crate::audit::{AuditFull, DecisionRecord, Place, Position};
use crate::eth::{DutyKind, PublicKey};
use crate::metrics::Verdict;
use crate::sign::{Fault, Gate, NotSigned, Rejection, Signed};
use crate::validators::Standing;

impl Account {
    /// Takes the place where it will be written down, before a watermark is touched.
    pub(in crate::sign) fn reserve(&mut self, gate: &Gate) -> Result<(), Fault> {
        let reserve = || gate.response.audit.reserve().map_err(Fault::Audit);
        self.place = Some(reserve()?);
        self.intent = if self.kind.is_some_and(is_lasting) { Some(reserve()?) } else { None };
        Ok(())
    }

    /// What cannot be taken back is written down, and on disk, before it is forwarded: no crash
    /// leaves such a signature that nobody knows of.
    pub(in crate::sign) async fn before_release(
        &mut self,
        gate: &Gate,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let Some(place) = self.intent.take() else { return Ok(()) };
        let position = place.write(self.record(gate, "permitted", "to_be_forwarded", None));
        let synced = gate.response.audit.synced(position);
        timeout_at(deadline, synced).await.map_err(|_| Fault::Audit(AuditFull))
    }

    /// Writes down every decision about a key that is enrolled.
    pub(super) fn audit(
        &mut self,
        gate: &Gate,
        (verdict, code): (Verdict, &'static str),
        result: &Result<Signed, NotSigned>,
        normal: Option<&(Normal, Option<GroupIndex>)>,
    ) -> Option<Position> {
        self.intent = None;
        let place = match self.place.take() {
            Some(place) => place,
            None => self.late_place(gate, result)?,
        };
        let normal = normal.map(|(normal, _)| normal);
        let why = result.as_ref().err().map(|it| findings::told(gate, it, normal));
        Some(place.write(self.record(gate, verdict.as_str(), code, why)))
    }

    /// A place for what ended before one was taken: a body that is no request, a duty that its
    /// content or its time speaks against. What is for no key of ours is counted, and no more:
    /// strangers could fill the disk.
    fn late_place(&self, gate: &Gate, result: &Result<Signed, NotSigned>) -> Option<Place> {
        let is_for_nobody = matches!(
            result,
            Err(NotSigned::Rejected(Rejection::UnknownKey | Rejection::AwaitingEnrolment))
        );
        if is_for_nobody {
            return None;
        }
        let key = self.public_key()?;
        match gate.validators.standing(&slashing_db::PublicKey(key.0)) {
            Standing::Enrolled(_) => {}
            Standing::Awaiting | Standing::Unknown => return None,
        }
        let audit = &gate.response.audit;
        audit.reserve_late().inspect_err(|AuditFull| audit.not_recorded()).ok()
    }

    fn public_key(&self) -> Option<PublicKey> {
        self.identifier.parse().ok()
    }

    fn record(
        &self,
        gate: &Gate,
        verdict: &'static str,
        code: &'static str,
        explanation: Option<String>,
    ) -> DecisionRecord {
        let at = self.came_at.unwrap_or_else(|| gate.clock.now());
        DecisionRecord {
            at_unix_ms: at.unix_ns / 1_000_000,
            request_id: self.trace.request_id.to_string(),
            public_key: self.public_key().map(|key| key.0),
            client: self.client.name().to_owned(),
            peer: self.peer,
            verdict,
            code: code.into(),
            kind: self.kind.map(DutyKind::as_str),
            signing_root: self.root.map(|root| root.0),
            times: self.times.all(),
            store_sequence: self.store_sequence,
            explanation,
        }
    }
}

/// Whether its signature, once released, cannot be taken back and is asked for about once.
const fn is_lasting(kind: DutyKind) -> bool {
    match kind {
        DutyKind::VoluntaryExit | DutyKind::Deposit => true,
        DutyKind::Attestation
        | DutyKind::Block
        | DutyKind::BlockV2
        | DutyKind::RandaoReveal
        | DutyKind::AggregationSlot
        | DutyKind::AggregateAndProof
        | DutyKind::AggregateAndProofV2
        | DutyKind::SyncCommitteeMessage
        | DutyKind::SyncCommitteeSelectionProof
        | DutyKind::SyncCommitteeContributionAndProof
        | DutyKind::ValidatorRegistration => false,
    }
}
