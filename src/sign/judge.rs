//! Step 6: what policy has to say, under the key's lock.
//!
//! Everything that can be put together without the key is put together before its lock is taken.
//! A refused request changes nothing but what is noted of refusals: no watermark, no budget, no
//! lease, no permission.

use std::sync::Arc;

use arc_swap::Guard;
use policy::{
    ClientIndex, Decision, Finding, GroupIndex, Level, Message, Moment, Observation, Outcome,
    OwnerChange, Policy, Source, Verdict,
};

use super::Gate;
use super::not_signed::{Fault, NotSigned, Refusal};
use super::permissions::Permissions;
use crate::clients::Client;
use crate::clock::{Now, SlotClock};
use crate::eth::{Duty, SigningRoot};
use crate::judgement::{Baseline, LeaseWrite, Origin};
use crate::recording::{Event, JudgedEvent, Said};
use crate::response::quarantine::{Asked, Quarantine};
use crate::response::rotation::Overlap;
use crate::validators::{RowIndex, Validator};
use crate::web3signer::request::{BodyProof, Member, Style};

mod observe;
#[cfg(test)]
mod tests;

/// Who asks, as judgements see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker {
    /// Where the connection comes from.
    pub origin: Origin,
    /// The hash of how the head of the request is written.
    pub head: u64,
}

/// What is asked for, as steps 5 to 7 see it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The message.
    pub duty: &'a Duty,
    /// Its signing root.
    pub root: SigningRoot,
    /// What the client proves of the block's body.
    pub proofs: &'a [BodyProof],
    /// Who asks.
    pub source: Source,
}

/// Whether a judgement may still put the request off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It may.
    First,
    /// It was put off once: now it is decided.
    AfterHold,
}

/// A refusal by policy, with its reasons.
#[derive(Debug)]
pub struct PolicyRefusal {
    /// The rule that refused, and what it saw.
    pub finding: Finding,
    /// The whole decision.
    pub decision: Decision,
    /// The group of the key.
    pub group: GroupIndex,
}

/// One request before the judge.
pub(super) struct Case<'a> {
    gate: &'a Gate,
    policy: Guard<Arc<Policy>>,
    row: RowIndex,
    pass: Pass,
    seen: Observation,
}

/// What the judge says of a request that is not refused.
#[derive(Debug)]
pub(super) enum Opinion {
    Allow(Decision),
    /// Until a moment in milliseconds of Unix time.
    HoldUntil(u64),
}

impl Asker {
    /// The source of a request of `client` that is written in this style.
    pub(super) fn source(&self, gate: &Gate, client: &Client, style: Style) -> Source {
        self.source_of(client.place(&gate.judgement.clients).index, style)
    }

    /// The same, of a client by its place.
    pub(super) fn source_of(&self, client: ClientIndex, style: Style) -> Source {
        let Style { first, is_spaced, claims_root } = style;
        // Where members are written in alphabetical order, the type of duty decides which of the
        // last three comes first: they are one.
        let first = match first {
            Member::Type => 1,
            Member::SigningRoot => 2,
            Member::SigningRootSnakeCase => 3,
            Member::ForkInfo | Member::Proofs | Member::Object => 4,
        };
        let style: u64 = first << 2 | u64::from(is_spaced) << 1 | u64::from(claims_root);
        Source {
            client,
            certificate: self.origin.certificate,
            dialect: (self.head ^ style).wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1),
            prefix: self.origin.prefix,
        }
    }
}

impl<'a> Case<'a> {
    pub(super) fn new(gate: &'a Gate, row: RowIndex, ask: &Ask<'_>, now: Now, pass: Pass) -> Self {
        let root = u64::from_be_bytes(*ask.root.0.first_chunk().expect("32 bytes"));
        let seen = Observation {
            key: u32::try_from(row.place()).unwrap_or(u32::MAX),
            group: GroupIndex(0), // the key's row knows it
            at: moment(gate.slots, now),
            source: ask.source,
            message: observe::message(ask.duty),
            root,
            is_repeat: false,
            due_ms: observe::due_ms(gate, ask.duty),
        };
        Self { gate, policy: gate.judgement.policy(), row, pass, seen }
    }

    /// Whether no quarantine holds the request: one load where there is none at all.
    pub(super) fn is_free(
        &self,
        validator: &mut Validator,
        ask: &Ask<'_>,
    ) -> Result<(), Arc<Quarantine>> {
        let quarantines = &self.gate.response.quarantines;
        if quarantines.is_empty() {
            return Ok(());
        }
        let Validator { watermarks, baseline, .. } = validator;
        let public_key = watermarks.public_key();
        let find = || self.gate.judgement.group(public_key);
        let found = quarantines.find(&Asked {
            public_key: &public_key.0,
            group: *baseline.group.get_or_insert_with(find),
            owner: baseline.state.owner(),
            source: ask.source,
            is_exit: matches!(ask.duty, Duty::VoluntaryExit(_)),
        });
        found.map_or(Ok(()), Err)
    }

    /// Looks up what only the key's row knows.
    pub(super) fn open(
        &mut self,
        public_key: &slashing_db::PublicKey,
        baseline: &mut Baseline,
        ask: &Ask<'_>,
    ) {
        let find = || self.gate.judgement.group(public_key);
        self.seen.group = *baseline.group.get_or_insert_with(find);
        if let Message::Block { header, .. } = &mut self.seen.message {
            let known = self.policy.groups.get(usize::from(self.seen.group.0));
            let known = known.map_or(&[][..], |group| &group.fee_recipients);
            observe::prove(header, ask.duty, ask.proofs, &self.gate.network, known);
        }
    }

    /// Step 5 has refused. What policy would have said is noted, and not reported.
    pub(super) fn is_not_safe(&self, baseline: &mut Baseline) {
        let decision = self.judged(&baseline.state);
        if self.pass == Pass::First {
            // It shows that its client is there, and no more: such a request comes again and again.
            let seen = Observation { is_repeat: true, ..self.seen };
            self.gate.judgement.engine.attempted(&self.policy, &baseline.state, &seen);
        }
        let is_refused = decision.verdict == Verdict::Refuse;
        let said = if is_refused { Said::Refused } else { Said::Allowed };
        self.record(said, false, decision.refusal());
        if is_refused {
            self.note_refusal(baseline, &decision);
        }
    }

    /// What policy says.
    pub(super) fn judge(
        &mut self,
        baseline: &mut Baseline,
        is_repeat: bool,
    ) -> Result<Opinion, NotSigned> {
        self.seen.is_repeat = is_repeat;
        let opinion = self.opinion(baseline);
        let (said, finding) = match &opinion {
            Ok(Opinion::Allow(_)) => (Said::Allowed, None),
            Ok(Opinion::HoldUntil(_)) => (Said::Held, None),
            Err(NotSigned::Refused(Refusal::Policy(refusal))) => {
                (Said::Refused, Some(&refusal.finding))
            }
            Err(_) => (Said::Refused, None),
        };
        self.record(said, true, finding);
        opinion
    }

    fn opinion(&self, baseline: &mut Baseline) -> Result<Opinion, NotSigned> {
        let mut decision = self.judged(&baseline.state);
        if self.pass == Pass::First {
            self.gate.judgement.engine.attempted(&self.policy, &baseline.state, &self.seen);
        }
        match decision.verdict {
            Verdict::Allow => return Ok(Opinion::Allow(decision)),
            Verdict::HoldUntil(until) if self.pass == Pass::First => {
                return Ok(Opinion::HoldUntil(until));
            }
            Verdict::HoldUntil(_) => {
                if !decision.findings.iter().any(Finding::refuses) {
                    decision.verdict = Verdict::Allow;
                    return Ok(Opinion::Allow(decision));
                }
                decision.verdict = Verdict::Refuse;
            }
            Verdict::Refuse => {}
        }
        self.note_refusal(baseline, &decision);
        Err(self.refusal(decision))
    }

    /// The refusal of a decision that refuses.
    pub(super) fn refusal(&self, decision: Decision) -> NotSigned {
        match decision.refusal().cloned() {
            Some(finding) => {
                let refusal = PolicyRefusal { finding, decision, group: self.seen.group };
                Refusal::Policy(Box::new(refusal)).into()
            }
            None => Fault::Bug("policy refused without a rule").into(),
        }
    }

    /// The request will be forwarded: the lease is taken, the budgets are spent. Where the key has
    /// gone from one owner to another, that has to be on disk before.
    pub(super) fn admit(&self, baseline: &mut Baseline) -> Option<LeaseWrite> {
        let judgement = &self.gate.judgement;
        baseline.is_dirty = true;
        let change = judgement.engine.admit(&self.policy, &mut baseline.state, &self.seen);
        let Observation { key, root, .. } = self.seen;
        judgement.record(|| Event::Admitted { key, root });
        let by = match change {
            None if !baseline.is_moving() => return None,
            None => None, // this request is not the first since the move
            Some(OwnerChange { former: None, .. }) => {
                judgement.owner_changed(self.row);
                return None;
            }
            Some(OwnerChange { former: Some(_), window }) => {
                baseline.moves = baseline.moves.wrapping_add(1);
                window
            }
        };
        judgement.owner_moved(self.row, by)
    }

    /// Exits and deposits.
    pub(super) fn permissions(&self) -> &'a Permissions {
        &self.gate.permissions
    }

    /// What was seen, for whoever learns from the signature.
    pub(super) fn seen(&self) -> Observation {
        self.seen
    }

    /// For a replay: under the key's lock, so that its order is that of the key.
    fn record(&self, said: Said, is_safe: bool, refusal: Option<&Finding>) {
        self.gate.judgement.record(|| {
            Event::Judged(JudgedEvent {
                seen: self.seen,
                after_hold: self.pass == Pass::AfterHold,
                is_safe,
                said,
                rule: refusal.map(|finding| finding.rule),
            })
        });
    }

    /// What the engine would say with this state of the key. Changes nothing.
    pub(super) fn supposed(&mut self, state: &policy::KeyState, is_repeat: bool) -> Decision {
        self.seen.is_repeat = is_repeat;
        self.judged(state)
    }

    fn judged(&self, state: &policy::KeyState) -> Decision {
        self.gate.judgement.engine.judge(&self.policy, state, &self.seen)
    }

    fn note_refusal(&self, baseline: &mut Baseline, decision: &Decision) {
        let engine = &self.gate.judgement.engine;
        baseline.is_dirty = true;
        let halted = engine.refused(&self.policy, &mut baseline.state, &self.seen, decision);
        if let Some(window) = halted {
            let Observation { key, source, at, .. } = self.seen;
            let (client, at_unix_ms) = (source.client, at.unix_ms);
            self.gate.response.windows.overlapped(Overlap { window, key, client, at_unix_ms });
        }
        if decision.level >= Level::Quarantine {
            self.gate.judgement.owner_changed(self.row); // as grave, and kept as soon
        }
    }
}

/// Learns from a signature that was released, under the key's lock.
pub(super) fn learn(gate: &Gate, row: RowIndex, seen: &Observation, outcome: &Outcome) {
    let policy = gate.judgement.policy();
    gate.validators.with(row, |validator| {
        let baseline = &mut validator.baseline;
        baseline.is_dirty = true;
        gate.judgement.engine.learn(&policy, &mut baseline.state, seen, outcome);
        let Observation { key, root, .. } = *seen;
        gate.judgement.record(|| Event::Released { key, root, outcome: *outcome });
    });
}

/// Now, as the engine counts time.
pub fn moment(slots: SlotClock, now: Now) -> Moment {
    let slot = slots.slot(now);
    Moment {
        unix_ms: now.unix_ns / 1_000_000,
        slot: slot.0,
        epoch: slots.epoch_of(slot).0,
        into_slot_ms: u32::try_from(slots.into_slot(now).as_millis()).unwrap_or(u32::MAX),
    }
}
