//! A dry run of one signing request.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::openapi::{answer, body};
use super::{Answer, Desk, Json, Problem, Role, Routes, blocking};
use crate::eth::PublicKey;
use crate::sign::{Evaluated, Supposed};

pub(super) fn routes() -> Routes {
    Routes::new("evaluate", "A dry run of one signing request")
        .with_schemas(schemas())
        .post(
            "/v1/evaluate",
            Role::Operator,
            "evaluate.run",
            json!({
                "summary": "What would be said of a request if it came now; nothing is recorded, \
                    learned or forwarded",
                "requestBody": body(&["key", "client", "request"], json!({
                    "key": { "$ref": "#/components/schemas/PublicKey" },
                    "client": { "type": "string", "description": "who is supposed to ask" },
                    "request": {
                        "type": "object",
                        "description": "the body of the signing request, as Web3Signer has it",
                    },
                    "address": { "type": "string", "description": "from where" },
                    "as_usual": {
                        "type": "boolean",
                        "default": true,
                        "description": "the owner of the key comes from where it usually does; \
                            false: from a place that was never seen",
                    },
                })),
                "responses": answer("What would be said", json!({
                    "$ref": "#/components/schemas/Evaluated"
                })),
            }),
            run,
        )
        .changing_nothing()
}

fn schemas() -> Value {
    json!({ "Evaluated": {
        "type": "object",
        "properties": {
            "verdict": {
                "type": "string",
                "enum": ["signed", "held", "refused", "rejected", "failed"],
            },
            "code": { "type": "string" },
            "reason": { "type": "string" },
            "kind": { "type": ["string", "null"] },
            "signing_root": { "type": ["string", "null"] },
            "explanation": { "type": ["object", "null"] },
        },
    } })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    key: String,
    client: String,
    request: Value,
    address: Option<IpAddr>,
    #[serde(default = "yes")]
    as_usual: bool,
}

const fn yes() -> bool {
    true
}

async fn run(State(desk): State<Arc<Desk>>, Json(asked): Json<Asked>) -> Result<Answer, Problem> {
    let key: PublicKey = asked.key.parse().map_err(|_| {
        Problem::invalid("key", "not a BLS public key: 96 hexadecimal digits, with or without 0x")
    })?;
    let subject = asked.key.clone();
    let evaluated = blocking(&desk, move |desk| {
        let Asked { client, request, address, as_usual, .. } = &asked;
        let supposed = Supposed { client, address: *address, as_usual: *as_usual };
        desk.gate.evaluate(&key, &supposed, request.to_string().as_bytes())
    });
    let evaluated = evaluated.await?;
    let evaluated = evaluated.map_err(|error| Problem::invalid("client", error.to_string()))?;
    let Evaluated { verdict, code, reason, kind, signing_root, explanation } = evaluated;
    let answer = Answer::of(&json!({
        "verdict": verdict,
        "code": code,
        "reason": reason,
        "kind": kind,
        "signing_root": signing_root.map(|root| format!("0x{}", faster_hex::hex_string(&root.0))),
        "explanation": explanation,
    }))?;
    Ok(answer.about(subject).noting(json!({ "verdict": verdict, "code": code })))
}
