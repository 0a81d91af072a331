//! Steps 5, 6 and 7: check, judge, record, under the key's lock and without awaiting anything.
//!
//! The place in the recorder's queue is taken before the lock, so that nothing under it can fail
//! for want of room; durability is awaited after it. A request that the rules refuse does not burn
//! the watermark: the honest retry must not look like a double vote.

use policy::{Decision, Observation};
use slashing_db::{
    Bounds, Counted, CountedKind, Message, Pending, Permit, Place, Priority, RecordError,
    ReserveError, SignedAttestation, SignedBlock,
};

use super::Gate;
use super::admission::class_of;
use super::judge::{Ask, Case, Opinion, Pass};
use super::not_signed::{Fault, NotSigned, Refusal};
use crate::clock::Now;
use crate::eth::{Duty, SigningRoot};
use crate::judgement::LeaseWrite;
use crate::limits::DutyClass;
use crate::validators::{RowIndex, Validator};

/// A duty that passed: with its permit, or with the promise of one once the record is on disk.
#[derive(Debug)]
pub enum Granted {
    /// A duty that is not slashable.
    AtOnce(Permit),
    /// To be awaited.
    Recorded(Pending),
}

/// What steps 5 to 7 say of a request that they do not refuse.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // the small one is rare, and an allocation costs more
pub enum Decided {
    /// It passed.
    Granted(Judged),
    /// It is to wait until this moment (milliseconds of Unix time) and to be decided anew: other
    /// keys may have moved along by then.
    HoldUntil(u64),
}

/// A duty that passed, and what step 6 thought of it.
#[derive(Debug)]
pub struct Judged {
    /// The permit, or the promise of one.
    pub granted: Granted,
    /// Where the key has a new owner: to be awaited.
    pub lease: Option<LeaseWrite>,
    /// What was seen.
    pub seen: Observation,
    /// What was thought.
    pub decision: Decision,
}

pub(super) fn decide(
    gate: &Gate,
    row: RowIndex,
    ask: &Ask<'_>,
    now: Now,
    pass: Pass,
) -> Result<Decided, NotSigned> {
    let mut case = Case::new(gate, row, ask, now, pass);
    let Some(message) = message(ask.duty, ask.root) else {
        return gate.validators.with(row, |validator| permit(&mut case, validator, ask));
    };
    let place = reserve(gate, ask.duty)?;
    let bounds = bounds(gate, now);
    gate.validators
        .with(row, |validator| record(&mut case, validator, ask, &message, bounds, place))
}

/// A duty that is not slashable.
fn permit(
    case: &mut Case<'_>,
    validator: &mut Validator,
    ask: &Ask<'_>,
) -> Result<Decided, NotSigned> {
    active(case, validator, ask)?;
    let Validator { watermarks, baseline, .. } = validator;
    case.open(watermarks.public_key(), baseline, ask);
    let root = slashing_db::SigningRoot(ask.root.0);
    let permit = watermarks.permit(ask.duty.domain_type().0, root);
    let permit = permit.inspect_err(|_| case.is_not_safe(baseline))?;
    let decision = match case.judge(baseline, false)? {
        Opinion::Allow(decision) => decision,
        Opinion::HoldUntil(until) => return Ok(Decided::HoldUntil(until)),
    };
    let lease = case.admit(baseline);
    let (granted, seen) = (Granted::AtOnce(permit), case.seen());
    Ok(Decided::Granted(Judged { granted, lease, seen, decision }))
}

/// A duty that only the store may permit.
fn record(
    case: &mut Case<'_>,
    validator: &mut Validator,
    ask: &Ask<'_>,
    message: &Message,
    mut bounds: Bounds,
    place: Place,
) -> Result<Decided, NotSigned> {
    active(case, validator, ask)?;
    let Validator { watermarks, baseline, .. } = validator;
    let public_key = *watermarks.public_key();
    case.open(&public_key, baseline, ask);
    let permission = match message {
        Message::Attestation(_) | Message::Block(_) => None,
        Message::Counted(counted) => Some(case.permissions().find(counted.kind, &public_key)),
    };
    if let Some(Some(permission)) = &permission {
        bounds.counted_max = permission.per_key_max();
    }
    let checked = watermarks.check(message, &bounds);
    let checked = checked.inspect_err(|_| case.is_not_safe(baseline))?;
    let decision = match case.judge(baseline, checked.is_repeat())? {
        Opinion::Allow(decision) => decision,
        Opinion::HoldUntil(until) => return Ok(Decided::HoldUntil(until)),
    };
    let kind = ask.duty.kind();
    let taken = match permission {
        None => None, // slashable: the store alone decides
        Some(None) => return Err(Refusal::NotPermitted { kind }.into()),
        Some(Some(_)) if checked.is_repeat() => None,
        Some(Some(permission)) => Some(permission.take(kind)?),
    };
    let lease = case.admit(baseline);
    let pending = checked.record(place);
    if let Some(taken) = taken {
        taken.spend();
    }
    let granted = Granted::Recorded(pending);
    Ok(Decided::Granted(Judged { granted, lease, seen: case.seen(), decision }))
}

/// The rest of step 4: what only the key's row knows.
pub(super) fn active(
    case: &Case<'_>,
    validator: &mut Validator,
    ask: &Ask<'_>,
) -> Result<(), Refusal> {
    if validator.halted {
        return Err(Refusal::Halted);
    }
    case.is_free(validator, ask).map_err(Refusal::Quarantined)
}

/// What only the store may permit, in EIP-3076's words; `None` for a duty that is not slashable.
pub(super) fn message(duty: &Duty, root: SigningRoot) -> Option<Message> {
    let signing_root = slashing_db::SigningRoot(root.0);
    match duty {
        Duty::Attestation(data) => Some(Message::Attestation(SignedAttestation {
            source_epoch: data.source.epoch.0,
            target_epoch: data.target.epoch.0,
            signing_root,
        })),
        Duty::Block(block) => {
            Some(Message::Block(SignedBlock { slot: block.slot.0, signing_root }))
        }
        Duty::BlockV2(block) => {
            Some(Message::Block(SignedBlock { slot: block.slot().0, signing_root }))
        }
        Duty::VoluntaryExit(_) => {
            Some(Message::Counted(Counted { kind: CountedKind::VoluntaryExit, signing_root }))
        }
        Duty::Deposit(_) => {
            Some(Message::Counted(Counted { kind: CountedKind::Deposit, signing_root }))
        }
        Duty::RandaoReveal(_)
        | Duty::AggregationSlot(_)
        | Duty::AggregateAndProof(_)
        | Duty::AggregateAndProofV2(_)
        | Duty::SyncCommitteeMessage(_)
        | Duty::SyncCommitteeSelectionProof(_)
        | Duty::SyncCommitteeContributionAndProof(_)
        | Duty::ValidatorRegistration(_) => None,
    }
}

/// What time allows to be recorded: the rules of step 3 have already said so to the client in their
/// own words; this is the store's own line of defence against a poisoned watermark.
pub(super) fn bounds(gate: &Gate, now: Now) -> Bounds {
    let reach = now.after(gate.slots.slot_duration());
    Bounds {
        target_epoch_min: gate.target_epoch_min(now).0,
        target_epoch_max: gate.slots.epoch(reach).0,
        slot_max: gate.slots.slot(reach).0,
        counted_max: u32::MAX, // refused by the judgement, or not counted at all
    }
}

fn reserve(gate: &Gate, duty: &Duty) -> Result<Place, NotSigned> {
    let class = class_of(duty.kind());
    let priority = match class {
        DutyClass::Proposal => Priority::Block,
        DutyClass::Attestation
        | DutyClass::Aggregate
        | DutyClass::SelectionProof
        | DutyClass::Registration => Priority::Attestation,
    };
    gate.recorder.reserve(priority).map_err(|error| {
        NotSigned::Failed(match error {
            ReserveError::QueueFull => Fault::Overloaded { class },
            ReserveError::Poisoned => Fault::Store(RecordError::Poisoned),
            ReserveError::ShuttingDown => Fault::Store(RecordError::ShuttingDown),
        })
    })
}
