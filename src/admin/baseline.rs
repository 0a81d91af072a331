//! What is normal for one key.

use std::sync::Arc;

use axum::extract::State;
use policy::{ClientIndex, Described};
use serde_json::{Value, json};

use super::openapi::{answer, segment};
use super::{Answer, Desk, Problem, Role, Routes, Segments, validators};

pub(super) fn routes() -> Routes {
    Routes::new("baselines", "What is normal for one key").with_schemas(schemas()).get(
        "/v1/baselines/{key}",
        Role::Viewer,
        "baselines.show",
        json!({
            "summary": "Owner, sources, counts and timing of a key",
            "parameters": [segment("key", "the public key")],
            "responses": answer("The baseline", json!({ "$ref": "#/components/schemas/Baseline" })),
        }),
        show,
    )
}

fn schemas() -> Value {
    json!({ "Baseline": {
        "type": "object",
        "properties": {
            "public_key": { "$ref": "#/components/schemas/PublicKey" },
            "owner": { "type": ["string", "null"] },
            "former": { "type": ["object", "null"], "properties": {
                "client": { "type": ["string", "null"] },
                "until_epoch": { "type": "integer" },
                "until_unix_s": { "type": "integer" },
            } },
            "last_slot": { "type": ["integer", "null"] },
            "released": { "type": "integer", "description": "signatures, ever" },
            "sources": { "type": "array", "items": { "type": "object", "properties": {
                "source": { "type": "string", "description": "a number that stands for client, \
                    certificate, dialect and network" },
                "epochs": { "type": "integer" },
                "is_owners": { "type": "boolean" },
            } } },
            "epoch": { "type": "integer" },
            "duties": { "type": "object", "additionalProperties": { "type": "integer" } },
            "timing": { "type": ["object", "null"], "properties": {
                "after_median_ms": { "type": "number" },
                "spread_ms": { "type": "number" },
                "drift_ms": { "type": "number" },
            } },
            "score_nats": { "type": ["number", "null"] },
            "share_sets": { "type": "integer" },
        },
    } })
}

async fn show(
    State(desk): State<Arc<Desk>>,
    Segments(key): Segments<String>,
) -> Result<Answer, Problem> {
    let row = validators::row(&desk, &key)?;
    let (public_key, state) = desk.gate.validators.with(row, |validator| {
        (validator.watermarks.public_key().to_string(), validator.baseline.state.clone())
    });
    let names = desk.gate.judgement.clients.names();
    let mut shown = as_json(&state.describe(), &names);
    shown["public_key"] = json!(public_key);
    Answer::of(&shown).map(|answer| answer.about(public_key))
}

fn as_json(described: &Described, names: &[String]) -> Value {
    let name = |client: ClientIndex| names.get(usize::from(client.0));
    let sources = described.sources.iter().map(|source| {
        json!({
            "source": format!("{:08x}", source.token),
            "epochs": source.epochs,
            "is_owners": source.is_owners,
        })
    });
    let duties = described.duties.iter().map(|(duty, count)| (duty.as_str(), json!(count)));
    let duties: serde_json::Map<String, Value> =
        duties.map(|(duty, count)| (duty.to_owned(), count)).collect();
    json!({
        "owner": described.owner.and_then(name),
        "former": described.former.map(|(client, epoch, unix_s)| json!({
            "client": name(client),
            "until_epoch": epoch,
            "until_unix_s": unix_s,
        })),
        "last_slot": described.last_slot,
        "released": described.released,
        "sources": sources.collect::<Vec<_>>(),
        "epoch": described.epoch,
        "duties": duties,
        "timing": described.place_ms.map(|(place, spread)| json!({
            "after_median_ms": place,
            "spread_ms": spread,
            "drift_ms": described.drift_ms,
        })),
        "score_nats": described.score_nats,
        "share_sets": described.share_sets,
    })
}
