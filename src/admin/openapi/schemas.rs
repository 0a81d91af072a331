//! The shapes that operations refer to.

use serde_json::{Value, json};

pub(super) fn all() -> Value {
    let mut all = json!({});
    for part in [base()] {
        if let Value::Object(part) = part {
            for (name, schema) in part {
                all[name] = schema;
            }
        }
    }
    all
}

fn base() -> Value {
    json!({
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "code", "detail"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "code": { "type": "string", "description": "stable, for scripts" },
                "detail": { "type": "string", "description": "for people" },
                "field": { "type": "string", "description": "which value is wrong" },
            },
        },
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
