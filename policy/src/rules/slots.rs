//! When a duty is due: blocks, reveals, sync-committee messages; how far a vote's source lags.

use super::{Case, Word, word};
use crate::{Level, Message};

/// How early a duty may come, in milliseconds: the gossip rules' disparity for the client's clock
/// and once more for the gate's.
const EARLY_MS: u64 = 1_000;

/// How many slots before its epoch begins a reveal may be asked for (D12).
const REVEAL_LEAD_SLOTS: u64 = 2;

/// The latest slot that a duty may be for: the present one, or the next if that is about to begin.
fn latest_slot(case: &Case<'_>) -> u64 {
    let (at, slot_ms) = (case.seen.at, u64::from(case.policy.chain.slot_ms));
    at.slot + u64::from(u64::from(at.into_slot_ms) + EARLY_MS >= slot_ms)
}

/// D11: a block of the present slot; of the one before it is late, and said.
pub(crate) fn block(case: &Case<'_>) -> Word {
    let Message::Block { slot, .. } = case.seen.message else { return None };
    let (now, latest) = (case.seen.at.slot, latest_slot(case));
    let earliest = now.saturating_sub(case.group.block_lag_slots);
    let is_outside = slot < earliest || slot > latest;
    let level = if is_outside { Level::Refuse } else { Level::Alert };
    word(is_outside || slot < now, level, "block.slot", || {
        (slot.to_string(), format!("{now}, or late {earliest} and later"))
    })
}

/// D12: a reveal of the present epoch, or of the next one when that is about to begin. One of the
/// epoch that has just ended is late, and said.
pub(crate) fn randao(case: &Case<'_>) -> Word {
    let Message::RandaoReveal { epoch } = case.seen.message else { return None };
    let per_epoch = case.policy.chain.slots_per_epoch.max(1);
    let (now, at) = (case.seen.at.epoch, case.seen.at);
    let is_next = epoch == now + 1 && at.slot + REVEAL_LEAD_SLOTS >= (now + 1) * per_epoch;
    let is_late = epoch + 1 == now && at.slot <= now * per_epoch;
    let level = if is_late { Level::Alert } else { Level::Refuse };
    word(epoch != now && !is_next, level, "randao_reveal.epoch", || {
        let lead = REVEAL_LEAD_SLOTS;
        (epoch.to_string(), format!("{now}, or {} within {lead} slots of it", now + 1))
    })
}

/// D15: a sync-committee message of the present slot or the one before. A contribution without a
/// selection proof of its own may come from middleware that holds the proof, and is said.
pub(crate) fn sync(case: &Case<'_>) -> Word {
    let (ledger, chain) = (&case.key.ledger, &case.policy.chain);
    match case.seen.message {
        Message::SyncMessage { slot } => {
            let (now, latest) = (case.seen.at.slot, latest_slot(case));
            let earliest = now.saturating_sub(1);
            let is_outside = slot < earliest || slot > latest;
            word(is_outside, Level::Refuse, "sync_committee_message.slot", || {
                (slot.to_string(), format!("{earliest} to {latest}"))
            })
        }
        Message::SyncContribution { slot } => {
            word(!ledger.proved_sync(slot, chain), Level::Alert, "contribution.slot", || {
                let observed = format!("no selection proof for slot {slot}");
                (observed, "a proof that was asked for first".to_owned())
            })
        }
        Message::Attestation { .. }
        | Message::Block { .. }
        | Message::RandaoReveal { .. }
        | Message::SelectionProof { .. }
        | Message::AggregateAndProof { .. }
        | Message::SyncSelectionProof { .. }
        | Message::Registration { .. }
        | Message::VoluntaryExit { .. }
        | Message::Deposit { .. } => None,
    }
}

/// D08: a source further back than the fleet's. Held against the fleet, not a constant: when
/// nothing is finalised, all lag.
pub(crate) fn source_lag(case: &Case<'_>) -> Word {
    let Message::Attestation { source_epoch, target_epoch, .. } = case.seen.message else {
        return None;
    };
    let usual = case.engine.fleet.median_lag()?;
    let lag = target_epoch.saturating_sub(source_epoch);
    word(lag > usual + 2, Level::Alert, "attestation.source.epoch", || {
        let expected = format!("{usual} as in the fleet, and at most 2 more");
        (format!("{lag} epochs behind the target"), expected)
    })
}
