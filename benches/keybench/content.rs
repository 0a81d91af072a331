//! The third step of the signing path, with its bounds: network, fork, time (D01, D02, D04 to D07).
//! The gate decides these in its own code; here they are modelled with the same bounds.

use policy::{Message, Moment};

use crate::tape::Claim;
use crate::world::SLOTS_PER_EPOCH;

/// What a request claims about fork and network is right, and what it is about is not beyond one
/// slot in the future nor too old.
pub(crate) fn is_right(message: &Message, claim: Claim, now: Moment) -> bool {
    if claim != Claim::Right {
        return false;
    }
    let last_epoch = (now.slot + 1) / SLOTS_PER_EPOCH;
    match *message {
        Message::Attestation { slot, source_epoch, target_epoch, .. } => {
            slot <= now.slot + 1
                && target_epoch == slot / SLOTS_PER_EPOCH
                && target_epoch <= last_epoch
                && target_epoch + 1 >= now.epoch
                && source_epoch <= target_epoch
        }
        Message::Block { slot, .. }
        | Message::AggregateAndProof { slot }
        | Message::SyncMessage { slot }
        | Message::SyncContribution { slot } => slot <= now.slot + 1,
        Message::RandaoReveal { epoch } => epoch <= now.epoch + 1,
        Message::SelectionProof { .. }
        | Message::SyncSelectionProof { .. }
        | Message::Registration { .. }
        | Message::VoluntaryExit { .. }
        | Message::Deposit { .. } => true,
    }
}
