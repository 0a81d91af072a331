//! The clients that ask for signatures.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::openapi::answer;
use super::{Answer, Desk, Problem, Role, Routes, blocking};
use crate::metrics::Verdict;

pub(super) fn routes() -> Routes {
    Routes::new("clients", "The clients that ask for signatures").with_schemas(schemas()).get(
        "/v1/clients",
        Role::Viewer,
        "clients.list",
        json!({
            "summary": "Names, the keys that each owns, what it was answered, and what its duties \
                say of the time",
            "responses": answer("The clients", json!({
                "type": "object",
                "properties": { "clients": { "type": "array", "items": {
                    "$ref": "#/components/schemas/Client"
                } } },
            })),
        }),
        list,
    )
}

fn schemas() -> Value {
    json!({ "Client": {
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "keys": { "type": "integer", "description": "that it has the lease of" },
            "last_slot": {
                "type": ["integer", "null"],
                "description": "in which it was signed for last, of the keys that it owns",
            },
            "answered": {
                "type": "object",
                "description": "requests since the start of the gate, by verdict",
                "additionalProperties": { "type": "integer" },
            },
            "testimony_ms": {
                "type": ["integer", "null"],
                "description": "by how much its duties lie outside their slots, less than 0 for \
                    too early; null while there are too few",
            },
        },
    } })
}

async fn list(State(desk): State<Arc<Desk>>) -> Result<Answer, Problem> {
    let clients = blocking(&desk, |desk| {
        let mut owned = BTreeMap::<u16, (u64, Option<u64>)>::new();
        desk.gate.validators.for_each(|validator| {
            let holder = validator.baseline.state.holder();
            if let Some(owner) = holder.owner {
                let (keys, last) = owned.entry(owner.0).or_default();
                *keys += 1;
                *last = (*last).max(holder.last_slot);
            }
        });
        let names = desk.gate.judgement.clients.names();
        let places = (0_u16..).zip(names);
        places.map(|(place, name)| client(desk, &name, owned.get(&place))).collect::<Vec<_>>()
    });
    Answer::of(&json!({ "clients": clients.await? }))
}

fn client(desk: &Desk, name: &str, owned: Option<&(u64, Option<u64>)>) -> Value {
    let gate = &desk.gate;
    let mut answered = json!({});
    for verdict in Verdict::ALL {
        let counter = &gate.metrics.clients.requests;
        answered[verdict.as_str()] =
            json!(counter.with_label_values(&[name, verdict.as_str()]).get());
    }
    json!({
        "name": name,
        "keys": owned.map_or(0, |(keys, _)| *keys),
        "last_slot": owned.and_then(|(_, last)| *last),
        "answered": answered,
        "testimony_ms": gate.judgement.clients.place(name).testimony.look(),
    })
}
