//! Steps 5, 6 and 7: check, judge, record, under the key's lock and without awaiting anything.
//!
//! The place in the recorder's queue is taken before the lock, so that nothing under it can fail
//! for want of room; durability is awaited after it. A request that the rules refuse does not burn
//! the watermark: the honest retry must not look like a double vote.

use slashing_db::{
    Bounds, Counted, CountedKind, Message, Pending, Permit, Place, Priority, RecordError,
    ReserveError, SignedAttestation, SignedBlock,
};

use super::Gate;
use super::admission::class_of;
use super::not_signed::{Fault, NotSigned, Refusal};
use super::permissions::Permission;
use crate::clock::Now;
use crate::eth::{Duty, SigningRoot};
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

pub(super) fn decide(
    gate: &Gate,
    row: RowIndex,
    duty: &Duty,
    root: SigningRoot,
    now: Now,
) -> Result<Granted, NotSigned> {
    let Some(message) = message(duty, root) else {
        return gate.validators.with(row, |validator| {
            active(validator)?;
            let permit = validator
                .watermarks
                .permit(duty.domain_type().0, slashing_db::SigningRoot(root.0))?;
            Ok(Granted::AtOnce(permit))
        });
    };
    let place = reserve(gate, duty)?;
    gate.validators.with(row, |validator| record(gate, validator, duty, &message, now, place))
}

fn record(
    gate: &Gate,
    validator: &mut Validator,
    duty: &Duty,
    message: &Message,
    now: Now,
    place: Place,
) -> Result<Granted, NotSigned> {
    active(validator)?;
    let public_key = *validator.watermarks.public_key();
    let permission = match message {
        Message::Attestation(_) | Message::Block(_) => None,
        Message::Counted(counted) => Some(gate.permissions.find(counted.kind, &public_key)),
    };
    let checked = validator.watermarks.check(message, &bounds(gate, now, permission.as_ref()))?;
    let taken = match permission {
        None => None, // slashable: the store alone decides
        Some(None) => return Err(Refusal::NotPermitted { kind: duty.kind() }.into()),
        Some(Some(_)) if checked.is_repeat() => None,
        Some(Some(permission)) => Some(permission.take(duty.kind())?),
    };
    let pending = checked.record(place);
    if let Some(taken) = taken {
        taken.spend();
    }
    Ok(Granted::Recorded(pending))
}

fn active(validator: &Validator) -> Result<(), Refusal> {
    if validator.halted { Err(Refusal::Halted) } else { Ok(()) }
}

/// What only the store may permit, in EIP-3076's words; `None` for a duty that is not slashable.
fn message(duty: &Duty, root: SigningRoot) -> Option<Message> {
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
fn bounds(gate: &Gate, now: Now, permission: Option<&Option<Permission<'_>>>) -> Bounds {
    let reach = now.after(gate.slots.slot_duration());
    Bounds {
        target_epoch_min: gate.target_epoch_min(now).0,
        target_epoch_max: gate.slots.epoch(reach).0,
        slot_max: gate.slots.slot(reach).0,
        counted_max: match permission {
            Some(Some(permission)) => permission.per_key_max(),
            Some(None) | None => u32::MAX, // refused by the judgement, or not counted at all
        },
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
