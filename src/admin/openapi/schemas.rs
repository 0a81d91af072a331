//! The shapes that operations refer to.

use serde_json::{Value, json};

pub(super) fn all() -> Value {
    let mut all = json!({});
    for part in [base(), incidents()] {
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
    })
}

fn incidents() -> Value {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "integer" });
    let counts = || json!({ "type": "object", "additionalProperties": { "type": "integer" } });
    json!({
        "Incident": {
            "type": "object",
            "required": ["id", "cause", "state", "severity", "paged", "keys", "summary"],
            "properties": {
                "id": { "type": "string", "description": "also the deduplication key of its page" },
                "cause": { "type": "object", "properties": {
                    "family": text(), "scope": text(), "source": text(),
                } },
                "state": { "enum": ["open", "acknowledged", "resolved"] },
                "severity": { "enum": ["info", "warning", "error", "critical"] },
                "paged": { "type": "boolean" },
                "summary": text(),
                "first_seen_unix_ms": number(),
                "last_seen_unix_ms": number(),
                "reopened": number(),
                "requests": number(),
                "offences": { "type": "integer", "description": "distinct messages and keys" },
                "keys": number(),
                "clients": counts(),
                "sources": counts(),
                "codes": counts(),
                "groups": { "type": "array", "items": text() },
                "first": { "type": "object" },
                "last": { "type": "object" },
                "deeds": { "type": "array", "items": { "type": "object" } },
                "positions": { "type": ["array", "null"], "items": number() },
            },
        },
        "Story": {
            "type": "object",
            "required": ["title", "lines", "is_cut"],
            "properties": {
                "title": text(),
                "incident": { "oneOf": [
                    { "$ref": "#/components/schemas/Incident" }, { "type": "null" },
                ] },
                "keys": { "type": "array", "items": { "type": "array" } },
                "is_cut": { "type": "boolean" },
                "lines": { "type": "array", "items": { "type": "object", "properties": {
                    "position": { "type": ["integer", "null"] },
                    "at_unix_ms": number(), "slot": number(), "into_slot_ms": number(),
                    "who": text(), "from": { "type": ["string", "null"] }, "subject": text(),
                    "what": text(), "duty": { "type": ["string", "null"] }, "decided": text(),
                    "why": text(), "normal": { "type": ["string", "null"] },
                } } },
            },
        },
    })
}
