//! Keys: how they begin, move and end. The same declarations as `portcullis keys` and
//! `portcullis slashing` make, over HTTP and for many keys at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::openapi::{answer, body, query};
use super::work::{Incoming, blocking};
use super::{Answer, Desk, Json, Params, Problem, Role, Routes};
use crate::enrolment::{
    CommandError, Declaration, Declarations, KeyLine, KeyOutcome, Keys, with_causes,
};
use crate::validators::Status;

pub(super) fn routes() -> Routes {
    Routes::new("keys", "Keys: how they begin, move and end")
        .with_schemas(schemas())
        .get("/v1/keys", Role::Viewer, "keys.list", list_document(), list)
        .post("/v1/keys/enrol", Role::Operator, "keys.enrol", enrol_document(), enrol)
        .within(LONG)
        .post("/v1/keys/import", Role::Operator, "keys.import", import_document(), import)
        .within(LONG)
        .post("/v1/keys/disable", Role::Operator, "keys.disable", disable_document(), disable)
        .within(LONG)
        .post("/v1/keys/export", Role::Operator, "keys.export", export_document(), export)
        .within(LONG)
}

fn schemas() -> Value {
    json!({
        "Key": {
            "type": "object",
            "required": ["public_key", "status"],
            "properties": {
                "public_key": { "$ref": "#/components/schemas/PublicKey" },
                "status": { "type": "string", "enum": [
                    "enabled", "disabled", "halted", "awaiting enrolment"
                ] },
                "attestation": {
                    "type": ["array", "null"],
                    "description": "source and target epoch of the last vote",
                    "items": { "type": "integer" },
                },
                "block_slot": { "type": ["integer", "null"] },
                "voluntary_exits": { "type": "integer", "description": "signed, ever" },
                "deposits": { "type": "integer", "description": "signed, ever" },
            },
        },
        "PublicKey": { "type": "string", "pattern": "^(0x)?[0-9a-fA-F]{96}$" },
        "Outcomes": {
            "type": "object",
            "properties": {
                "done": { "type": "integer" },
                "refused": { "type": "integer" },
                "keys": { "type": "array", "items": {
                    "type": "object",
                    "properties": {
                        "public_key": { "$ref": "#/components/schemas/PublicKey" },
                        "done": { "type": ["string", "null"] },
                        "refused": { "type": ["string", "null"], "description": "why not" },
                    },
                } },
            },
        },
    })
}

fn list_document() -> Value {
    json!({
        "summary": "The keys in the order of enrolment, page by page",
        "parameters": [
            query("status", "only these", json!({
                "type": "string", "enum": ["enabled", "disabled", "halted", "awaiting"]
            })),
            query("after", "`next` of the page before", json!({ "type": "integer" })),
            query("limit", "keys on a page, 1000 by default", json!({
                "type": "integer", "minimum": 1, "maximum": PAGE_MAX
            })),
        ],
        "responses": answer("A page; `next` is null on the last", json!({
            "type": "object",
            "properties": {
                "keys": { "type": "array", "items": { "$ref": "#/components/schemas/Key" } },
                "next": { "type": ["integer", "null"] },
            },
        })),
    })
}

fn enrol_document() -> Value {
    json!({
        "summary": "Enrol keys, each for itself",
        "requestBody": body(&["declaration"], json!({
            "keys": { "type": "array", "items": { "$ref": "#/components/schemas/PublicKey" } },
            "awaiting": {
                "type": "boolean",
                "description": "in place of keys: all that the signer has and nobody has enrolled",
            },
            "declaration": {
                "type": "string",
                "enum": ["new", "floor"],
                "description": "new: they never signed anything, anywhere. floor: their old signer \
                    is dead for good; one epoch is lost.",
            },
            "source_epoch": { "type": "integer", "description": "of the floor, without finality" },
            "reason": { "type": "string" },
        })),
        "responses": answer("What became of each", reference("Outcomes")),
    })
}

fn import_document() -> Value {
    json!({
        "summary": "Take over the history in an EIP-3076 interchange file, which is the body",
        "requestBody": { "required": true, "content": {
            "application/json": { "schema": { "type": "object" } }
        } },
        "responses": answer("What became of each key of the file", reference("Outcomes")),
    })
}

fn disable_document() -> Value {
    json!({
        "summary": "Stop keys for good, each once what was admitted for it is on disk",
        "requestBody": body(&["keys", "reason"], json!({
            "keys": { "type": "array", "items": { "$ref": "#/components/schemas/PublicKey" } },
            "reason": { "type": "string" },
        })),
        "responses": answer("What became of each", reference("Outcomes")),
    })
}

fn export_document() -> Value {
    json!({
        "summary": "The history of keys as an EIP-3076 interchange file, to sign elsewhere",
        "requestBody": body(&["keys"], json!({
            "keys": { "type": "array", "items": { "$ref": "#/components/schemas/PublicKey" } },
            "disable": {
                "type": "boolean",
                "description": "disable them first; else one that is enabled is refused",
            },
            "reason": { "type": "string", "description": "required with disable" },
        })),
        "responses": answer("The file", json!({ "type": "object" })),
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    status: Option<String>,
    #[serde(default)]
    after: u32,
    limit: Option<u64>,
}

#[derive(Serialize)]
struct Listed {
    keys: Vec<KeyLine>,
    next: Option<u32>,
}

async fn list(
    State(desk): State<Arc<Desk>>,
    Params(page): Params<Page>,
) -> Result<Answer, Problem> {
    let limit = page.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MAX {
        return Err(Problem::invalid("limit", format!("it is between 1 and {PAGE_MAX}")));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let status = match page.status.as_deref() {
        None => None,
        Some("awaiting") => {
            let listed = blocking(&desk, move |desk| awaiting(desk, page.after, limit)).await?;
            return Answer::of(&listed);
        }
        Some("enabled") => Some(Status::Enabled),
        Some("disabled") => Some(Status::Disabled),
        Some("halted") => Some(Status::Halted),
        Some(_) => {
            return Err(Problem::invalid("status", "enabled, disabled, halted or awaiting"));
        }
    };
    Answer::of(&blocking(&desk, move |desk| enrolled(desk, status, page.after, limit)).await?)
}

fn enrolled(desk: &Desk, status: Option<Status>, after: u32, limit: usize) -> Listed {
    let validators = &desk.gate.validators;
    let mut keys = Vec::new();
    for row in validators.row_indices().skip(after as usize) {
        if keys.len() == limit {
            return Listed { keys, next: u32::try_from(row.place()).ok() };
        }
        keys.extend(validators.with(row, |validator| {
            let found = validator.status();
            let is_wanted = status.is_none_or(|wanted| wanted == found);
            is_wanted.then(|| KeyLine::of(&validator.watermarks.record(), found.as_str()))
        }));
    }
    Listed { keys, next: None }
}

fn awaiting(desk: &Desk, after: u32, limit: usize) -> Listed {
    let mut keys = desk.gate.validators.awaiting().into_iter().skip(after as usize);
    let page: Vec<KeyLine> = keys.by_ref().take(limit).map(|key| KeyLine::awaiting(&key)).collect();
    let next = keys.next().and_then(|_| u32::try_from(after as usize + page.len()).ok());
    Listed { keys: page, next }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrol {
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    awaiting: bool,
    declaration: Declared,
    source_epoch: Option<u64>,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Declared {
    New,
    Floor,
}

async fn enrol(State(desk): State<Arc<Desk>>, Json(asked): Json<Enrol>) -> Result<Answer, Problem> {
    let keys = match (asked.keys.is_empty(), asked.awaiting) {
        (false, false) => Keys::These(asked.keys),
        (true, true) => Keys::Awaiting,
        (true, false) | (false, true) => {
            return Err(Problem::invalid("keys", "name keys, or set awaiting; one of the two"));
        }
    };
    let declaration = match (asked.declaration, asked.source_epoch) {
        (Declared::New, None) => Declaration::New,
        (Declared::New, Some(_)) => {
            return Err(Problem::invalid("source_epoch", "only a floor has one"));
        }
        (Declared::Floor, source_epoch) => Declaration::Floor { source_epoch },
    };
    let result =
        blocking(&desk, move |desk| Declarations::of(&desk.gate).enrol(&keys, declaration));
    outcomes(result.await?.map_err(problem)?, Some(asked.reason))
}

async fn import(State(desk): State<Arc<Desk>>, body: Body) -> Result<Answer, Problem> {
    let file = Incoming::of(body, IMPORT_BYTES_MAX);
    let result = blocking(&desk, move |desk| Declarations::of(&desk.gate).import(file));
    outcomes(result.await?.map_err(problem)?.keys, None)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disable {
    keys: Vec<String>,
    reason: String,
}

async fn disable(
    State(desk): State<Arc<Desk>>,
    Json(asked): Json<Disable>,
) -> Result<Answer, Problem> {
    let reason = given(asked.reason)?;
    let keys = Keys::These(asked.keys);
    let result = blocking(&desk, move |desk| Declarations::of(&desk.gate).disable(&keys));
    outcomes(result.await?.map_err(problem)?, Some(reason))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    keys: Vec<String>,
    #[serde(default)]
    disable: bool,
    #[serde(default)]
    reason: String,
}

async fn export(
    State(desk): State<Arc<Desk>>,
    Json(asked): Json<Export>,
) -> Result<Answer, Problem> {
    let Export { keys, disable, reason } = asked;
    let reason = if disable { given(reason)? } else { reason };
    if keys.is_empty() {
        return Err(Problem::invalid("keys", "none is named"));
    }
    let named = keys.clone();
    let exported = blocking(&desk, move |desk| {
        let (declarations, keys) = (Declarations::of(&desk.gate), Keys::These(keys));
        if disable {
            let outcomes = declarations.disable(&keys)?;
            if let Some(KeyOutcome { public_key, refused: Some(reason), .. }) =
                outcomes.into_iter().find(|outcome| outcome.refused.is_some())
            {
                return Ok(Err(format!("{public_key}: {reason}")));
            }
        }
        let mut file = Vec::new();
        declarations.export(&keys, &mut file).map(|_| Ok(file))
    });
    let file = exported.await?.map_err(problem)?.map_err(Problem::conflict)?;
    let answer = Answer::raw("application/json", file).because(reason);
    Ok(answer.noting(json!({ "keys": named.len(), "disabled": disable })).listing(named))
}

fn given(reason: String) -> Result<String, Problem> {
    if reason.trim().is_empty() {
        return Err(Problem::invalid("reason", "say why: it is kept in the audit log"));
    }
    Ok(reason)
}

fn outcomes(keys: Vec<KeyOutcome>, reason: Option<String>) -> Result<Answer, Problem> {
    let refused = keys.iter().filter(|outcome| outcome.refused.is_some()).count();
    let done = keys.len() - refused;
    let changed = keys.iter().filter(|outcome| outcome.done.is_some());
    let changed: Vec<String> = changed.map(|outcome| outcome.public_key.clone()).collect();
    let answer = Answer::of(&json!({ "done": done, "refused": refused, "keys": keys }))?;
    let answer = answer.because(reason.unwrap_or_default());
    Ok(answer.noting(json!({ "done": done, "refused": refused })).listing(changed))
}

fn problem(error: CommandError) -> Problem {
    let detail = with_causes(&error);
    match error {
        CommandError::NotAKey(_) => Problem::invalid("keys", detail),
        CommandError::SourceFloorTooHigh { .. } => Problem::invalid("source_epoch", detail),
        CommandError::ClockNotSynchronised | CommandError::ClockBehind { .. } => {
            Problem::conflict(detail)
        }
        CommandError::Import(slashing_db::ImportError::Read(_)) => Problem::invalid("", detail),
        CommandError::Export(
            slashing_db::ExportError::Enabled(_) | slashing_db::ExportError::Unknown(_),
        ) => Problem::conflict(detail),
        CommandError::Import(slashing_db::ImportError::NotWritten(_))
        | CommandError::Export(
            slashing_db::ExportError::Write(_) | slashing_db::ExportError::Record(_),
        ) => Problem::internal(detail),
    }
}

const PAGE: u64 = 1_000;
const PAGE_MAX: u64 = 10_000;
/// Ten thousand keys that are synced to a slow disk.
const LONG: Duration = Duration::from_secs(600);
/// The history of half a million keys.
const IMPORT_BYTES_MAX: u64 = 1 << 30;
