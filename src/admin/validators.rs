//! One key as the gate has it now: whether it may sign, and what it has signed last.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::openapi::{answer, segment};
use super::{Answer, Desk, Problem, Role, Routes, Segments};
use crate::enrolment::KeyLine;
use crate::validators::{RowIndex, Standing};

pub(super) fn routes() -> Routes {
    Routes::new("validators", "One key as the gate has it now")
        .with_schemas(schemas())
        .get(
            "/v1/validators",
            Role::Viewer,
            "validators.count",
            json!({
                "summary": "How many keys are in which state, by key group too",
                "responses": answer("Numbers", json!({
                    "type": "object",
                    "additionalProperties": true,
                })),
            }),
            count,
        )
        .get(
            "/v1/validators/{key}",
            Role::Viewer,
            "validators.show",
            json!({
                "summary": "Status, watermarks, group and owner of a key",
                "parameters": [segment("key", "the public key")],
                "responses": answer("The validator", json!({
                    "$ref": "#/components/schemas/Validator"
                })),
            }),
            show,
        )
}

fn schemas() -> Value {
    json!({ "Validator": {
        "type": "object",
        "properties": {
            "public_key": { "$ref": "#/components/schemas/PublicKey" },
            "status": { "type": "string" },
            "group": { "type": "string" },
            "owner": { "type": ["string", "null"], "description": "the client that has its lease" },
            "attestation": { "type": ["object", "null"], "properties": {
                "source_epoch": { "type": "integer" },
                "target_epoch": { "type": "integer" },
                "signing_root": { "type": ["string", "null"] },
            } },
            "block": { "type": ["object", "null"], "properties": {
                "slot": { "type": "integer" },
                "signing_root": { "type": ["string", "null"] },
            } },
            "voluntary_exits": { "type": "integer" },
            "deposits": { "type": "integer" },
        },
    } })
}

/// The row of a key that somebody names.
pub(super) fn row(desk: &Desk, key: &str) -> Result<RowIndex, Problem> {
    let parsed: slashing_db::PublicKey = key.parse().map_err(|_| {
        Problem::invalid("key", "not a BLS public key: 96 hexadecimal digits, with or without 0x")
    })?;
    match desk.gate.validators.standing(&parsed) {
        Standing::Enrolled(row) => Ok(row),
        Standing::Awaiting => Err(Problem::not_found("the key awaits enrolment").about(key)),
        Standing::Unknown => Err(Problem::not_found("nobody has enrolled this key").about(key)),
    }
}

async fn count(State(desk): State<Arc<Desk>>) -> Result<Answer, Problem> {
    let keys = desk.gate.validators.counts();
    Answer::of(&json!({
        "enrolled": keys.enrolled(),
        "enabled": keys.enabled,
        "disabled": keys.disabled,
        "halted": keys.halted,
        "awaiting": keys.awaiting,
    }))
}

async fn show(
    State(desk): State<Arc<Desk>>,
    Segments(key): Segments<String>,
) -> Result<Answer, Problem> {
    let row = row(&desk, &key)?;
    let gate = &desk.gate;
    let (line, record, state) = gate.validators.with(row, |validator| {
        let record = validator.watermarks.record();
        let line = KeyLine::of(&record, validator.status().as_str());
        (line, record, validator.baseline.state.clone())
    });
    let names = gate.judgement.clients.names();
    let owner = state.describe().owner.and_then(|it| names.get(usize::from(it.0)));
    let group = usize::from(gate.judgement.group(&record.public_key).0);
    let policy = gate.judgement.policy();
    // A root that is not known is all zeros: it was imported without one.
    let root = |root: slashing_db::SigningRoot| {
        (root.0 != [0; 32]).then(|| format!("0x{}", faster_hex::hex_string(&root.0)))
    };
    Answer::of(&json!({
        "public_key": line.public_key,
        "status": line.status,
        "group": policy.groups.get(group).map(|group| &group.name),
        "owner": owner,
        "attestation": record.attestation.map(|it| json!({
            "source_epoch": it.source_epoch,
            "target_epoch": it.target_epoch,
            "signing_root": root(it.signing_root),
        })),
        "block": record.block.map(|it| json!({
            "slot": it.slot,
            "signing_root": root(it.signing_root),
        })),
        "voluntary_exits": line.voluntary_exits,
        "deposits": line.deposits,
    }))
    .map(|answer| answer.about(line.public_key))
}
