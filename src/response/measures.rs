//! What people and the gate do about a verdict, kept and told: memory first, then the disk, then
//! the audit log and an event, and only then the one who asked.
//!
//! The record that is written here is of the act. Where somebody asked for it over the admin API,
//! `admin/guard.rs` writes another, of the call.

use std::collections::HashMap;
use std::sync::Arc;

use policy::Struck;
use serde_json::json;

use super::containment::struck_pair;
use super::playbook::Done;
use super::quarantine::name_of;
use super::quarantine::{Change, Order, Quarantine, QuarantineError, QuarantineId, What};
use crate::audit::{ActionRecord, Actor, Position};
use crate::clock::iso8601;
use crate::events::{Event, Paging, Severity};
use crate::sign::Gate;
use crate::sign::judge::moment;

/// Puts in force what was kept of the last run. For the start, before anything is signed.
///
/// # Errors
/// When it cannot be read: what was stopped must not go on by a restart.
pub fn restore(gate: &Gate) -> Result<(), QuarantineError> {
    let quarantines = &gate.response.quarantines;
    quarantines.load(&gate.response.table, &gate.judgement)?;
    let now = moment(gate.slots, gate.clock.now());
    let in_force = quarantines.in_force();
    for one in in_force.iter().filter(|one| one.by_strikes) {
        let Some((row, token)) = struck_pair(gate, &one.scope) else { continue };
        let key = u32::try_from(row.place()).unwrap_or(u32::MAX);
        let until_ms = one.expires_at_ms.unwrap_or(u64::MAX);
        let left_ms = u128::from(until_ms.saturating_sub(now.unix_ms));
        let slots = left_ms.div_ceil(gate.slots.slot_duration().as_millis().max(1));
        let until_slot = now.slot.saturating_add(u64::try_from(slots).unwrap_or(u64::MAX));
        let until_epoch = until_slot / gate.slots.slots_per_epoch();
        let is_contest = one.contest_with.is_some();
        gate.judgement.engine.strike_again(key, token, Struck { until_epoch, is_contest }, now);
    }
    if !in_force.is_empty() {
        tracing::warn!(
            event = "quarantines_kept",
            in_force = in_force.len(),
            "quarantines of the last run hold on"
        );
    }
    Ok(())
}

/// Imposes a quarantine. When it returns, it holds, is on disk and in the audit log.
///
/// # Errors
/// [`QuarantineError`]
pub fn impose(gate: &Gate, order: Order) -> Result<Arc<Quarantine>, QuarantineError> {
    let order = Order { scope: order.scope.normalised(), ..order };
    let imposed = gate.response.quarantines.impose(vec![order], &gate.judgement);
    let id = imposed.into_iter().next().expect("one for each")?;
    settle(gate)?;
    gate.response.quarantines.get(id)
}

/// Releases a quarantine. When it returns, that is on disk and in the audit log.
///
/// # Errors
/// [`QuarantineError`]
pub fn release(
    gate: &Gate,
    id: QuarantineId,
    actor: Actor,
    reason: String,
) -> Result<Arc<Quarantine>, QuarantineError> {
    let at_ms = gate.clock.now().unix_ns / 1_000_000;
    let by = (actor, reason);
    let released = gate.response.quarantines.release(id, by, at_ms, &gate.judgement)?;
    if released.by_strikes
        && let Some((row, token)) = struck_pair(gate, &released.scope)
    {
        gate.judgement.engine.forgive(u32::try_from(row.place()).unwrap_or(u32::MAX), token);
    }
    settle(gate)?;
    Ok(released)
}

/// Writes to disk what has changed, then to the audit log, then tells of it. Gives the positions of
/// what was written.
///
/// # Errors
/// [`QuarantineError::NotKept`]: it holds, and is tried again.
pub fn settle(gate: &Gate) -> Result<HashMap<QuarantineId, Position>, QuarantineError> {
    let mut positions = HashMap::new();
    gate.response.quarantines.save(&gate.response.table, |quarantine, change| {
        positions.insert(quarantine.id, tell(gate, quarantine, change));
    })?;
    Ok(positions)
}

/// What was done about a notice, in words.
pub fn done(
    gate: &Gate,
    imposed: &[QuarantineId],
    positions: &mut HashMap<QuarantineId, Position>,
) -> Vec<Done> {
    let said = imposed.iter().filter_map(|id| {
        let quarantine = gate.response.quarantines.get(*id).ok()?;
        let until = quarantine.expires_at_ms.map_or_else(
            || "until it is released".to_owned(),
            |until| format!("until {}", iso8601(until / 1_000)),
        );
        let scope = &quarantine.scope;
        let what = format!("{scope} put in quarantine {until} by {} ({id})", quarantine.actor);
        Some(Done { what, position: positions.remove(id)? })
    });
    said.collect()
}

fn tell(gate: &Gate, quarantine: &Quarantine, change: &Change) -> Position {
    let (what, subject) = (change.what.as_str(), quarantine.scope.to_string());
    let details = json!({
        "id": quarantine.id.to_string(),
        "scope": quarantine.scope,
        "state": quarantine.state.as_str(),
        "actor": name_of(&change.actor),
        "reason": change.reason,
        "expires_at_ms": quarantine.expires_at_ms,
        "contest_with": quarantine.contest_with,
        "undo": format!("portcullis admin quarantines release {}", quarantine.id),
    });
    let position = gate.response.audit.act(ActionRecord {
        at_unix_ms: change.at_ms,
        actor: change.actor.clone(),
        action: what.to_owned(),
        subject: subject.clone(),
        reason: change.reason.clone(),
        details: details.to_string(),
    });
    let severity = match (change.what, quarantine.by_strikes) {
        // One client and one key, five hundred at a time: the incident tells of them.
        (_, true) => Severity::Info,
        (What::Imposed | What::Closed, false) => Severity::Warning,
        (What::Prolonged | What::HalfOpened | What::Released | What::Expired, false) => {
            Severity::Info
        }
    };
    gate.response.events.emit(Event {
        id: format!("{}-{what}-{}", quarantine.id, change.at_ms),
        at_unix_ms: change.at_ms,
        kind: what.to_owned(),
        severity,
        paging: Paging::None,
        dedup_key: quarantine.id.to_string(),
        summary: format!("{}: {subject}: {}", change.what.in_words(), change.reason),
        subject,
        details,
    });
    position
}
