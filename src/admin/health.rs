//! Whether the gate is in order.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::{Answer, Desk, Problem, Role, Routes};
use crate::clock::{self, ClockHealth};

pub(super) fn routes() -> Routes {
    Routes::new("health", "Whether the gate is in order").with_schemas(schemas()).get(
        "/v1/health",
        Role::Viewer,
        "health.show",
        json!({
            "summary": "Network, clock, store and the numbers of keys",
            "responses": { "200": {
                "description": "The gate is there. `signs` says whether it signs.",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Health" } } }
            } }
        }),
        show,
    )
}

fn schemas() -> Value {
    json!({
        "Health": {
            "type": "object",
            "properties": {
                "signs": { "type": "boolean" },
                "version": { "type": "string" },
                "network": { "type": "string" },
                "slot": { "type": "integer" },
                "epoch": { "type": "integer" },
                "clock_synchronised": { "type": "boolean" },
                "store_failed": { "type": "boolean" },
                "audit_takes_on": { "type": "boolean" },
                "keys": { "type": "object", "additionalProperties": { "type": "integer" } },
            },
        },
    })
}

async fn show(State(desk): State<Arc<Desk>>) -> Result<Answer, Problem> {
    let gate = &desk.gate;
    let now = gate.clock.now();
    let keys = gate.validators.counts();
    let poisoned = gate.metrics.store.poisoned.get() != 0;
    Answer::of(&json!({
        "signs": !poisoned && keys.enabled > 0,
        "version": env!("CARGO_PKG_VERSION"),
        "network": gate.network.name(),
        "slot": gate.slots.slot(now).0,
        "epoch": gate.slots.epoch(now).0,
        "clock_synchronised": clock::health() != ClockHealth::Unsynchronised,
        "store_failed": poisoned,
        "audit_takes_on": gate.response.audit.reserve().is_ok(),
        "keys": {
            "enabled": keys.enabled,
            "disabled": keys.disabled,
            "halted": keys.halted,
            "awaiting": keys.awaiting,
        },
    }))
}
