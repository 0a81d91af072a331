//! How much is asked for: selection proofs, aggregates, exits, duties of every type.

use super::{Case, Word, word};
use crate::engine::counts::day;
use crate::key::root;
use crate::{Level, Message};

/// D13: selection proofs for slots that a key can need, and not for too many of them. A reorg at
/// the boundary of an epoch moves a duty to another slot, hence more than one.
pub(crate) fn selection(case: &Case<'_>) -> Word {
    let Message::SelectionProof { slot } = case.seen.message else { return None };
    let now = case.seen.at.slot;
    let earliest = now.saturating_sub(1);
    let latest = now.saturating_add(case.group.selection_lookahead_slots);
    if slot < earliest || slot > latest {
        let evidence = || (slot.to_string(), format!("{earliest} to {latest}"));
        return word(true, Level::Refuse, "aggregation_slot.slot", evidence);
    }
    let others = case.key.ledger.other_selection_slots(slot, &case.policy.chain);
    let max = case.group.selection_slots_max;
    word(others >= max, Level::Refuse, "selection slots of an epoch", || {
        (format!("a proof for slot {slot}, after {others} others"), format!("at most {max}"))
    })
}

/// D14: an aggregate without a selection proof of its own. Middleware may hold the proof: said, not
/// refused.
pub(crate) fn aggregate(case: &Case<'_>) -> Word {
    let Message::AggregateAndProof { slot } = case.seen.message else { return None };
    let is_proved = case.key.ledger.proved(slot, &case.policy.chain);
    word(!is_proved, Level::Alert, "aggregate.slot", || {
        let observed = format!("no selection proof for slot {slot}");
        (observed, "a proof that was asked for first".to_owned())
    })
}

/// D17: the exits of a group in a day. The same exit asked for again is one exit.
pub(crate) fn exits(case: &Case<'_>) -> Word {
    let Message::VoluntaryExit { .. } = case.seen.message else { return None };
    if case.key.ledger.exit == root(case.seen) {
        return None;
    }
    let found = case.engine.exits_of(case.seen.group, day(case.seen.at.unix_ms));
    let max = case.group.exits_daily_max;
    word(found >= max, Level::Hold, "exits of the day", || {
        (format!("{found} exits of group {} today", case.group.name), format!("at most {max}"))
    })
}

/// P05: distinct signing roots of a type in an epoch.
pub(crate) fn duties(case: &Case<'_>) -> Word {
    let duty = case.seen.message.duty_type();
    let max = case.group.budgets[duty as usize];
    let spent = case.key.ledger.count(duty, case.seen.at.epoch);
    if spent < max || case.key.ledger.knows(case.seen) {
        return None;
    }
    word(true, Level::Refuse, "duties of an epoch", || {
        (format!("{spent} of type {duty:?} signed in this epoch"), format!("at most {max}"))
    })
}
