//! Where the audit log stands, signed.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::openapi::answer;
use super::{Answer, Desk, Problem, Role, Routes};

pub(super) fn routes() -> Routes {
    Routes::new("audit", "Where the audit log stands, signed").with_schemas(schemas()).get(
        "/v1/audit/checkpoint",
        Role::Viewer,
        "audit.checkpoint",
        json!({
            "summary": "The last signed checkpoint, as a line of an anchor file; 404 before the \
                first of a run",
            "responses": answer("Keep it elsewhere: `portcullis audit verify --anchor` tells \
                whether the log still holds what it held then",
                json!({ "$ref": "#/components/schemas/Checkpoint" })),
        }),
        checkpoint,
    )
}

fn schemas() -> Value {
    let hex = |bytes: usize, what: &str| {
        let pattern = format!("^0x[0-9a-f]{{{}}}$", 2 * bytes);
        json!({ "type": "string", "pattern": pattern, "description": what })
    };
    json!({ "Checkpoint": {
        "type": "object",
        "properties": {
            "log": hex(16, "which log"),
            "position": { "type": "integer", "description": "of the checkpoint" },
            "previous": hex(32, "the hash of the record before it, and so of all before that"),
            "at_unix_ms": { "type": "integer" },
            "store_sequence": {
                "type": "integer",
                "description": "the highest number of the slashing store so far",
            },
            "settled": { "type": "integer", "description": "up to it nothing was under way" },
            "is_last": { "type": "boolean", "description": "the log was closed with it" },
            "public_key": hex(32, "Ed25519"),
            "signature": hex(64, "Ed25519"),
        },
    } })
}

async fn checkpoint(State(desk): State<Arc<Desk>>) -> Result<Answer, Problem> {
    let none = || Problem::not_found("there is no checkpoint of this run yet");
    let last = desk.gate.response.audit.last_checkpoint().ok_or_else(none)?;
    Answer::of(&last.to_json())
}
