//! Quarantines: who is refused what, until when, why.

use std::sync::Arc;

use axum::extract::{Extension, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{Answer, Caller, Desk, Json, Params, Problem, Role, Routes, Segments};
use crate::audit::Actor;
use crate::response::measures;
use crate::response::quarantine::{Order, Quarantine, QuarantineError, QuarantineId, Scope};

pub(super) fn routes() -> Routes {
    Routes::new("quarantines", "Who is refused what, until when, and why")
        .get("/v1/quarantines", Role::Viewer, "quarantines.list", list_document(), list)
        .get("/v1/quarantines/{id}", Role::Viewer, "quarantines.show", show_document(), show)
        .post("/v1/quarantines", Role::Operator, "quarantines.impose", impose_document(), impose)
        .post(
            "/v1/quarantines/{id}/release",
            Role::Operator,
            "quarantines.release",
            release_document(),
            release,
        )
}

/// Which quarantines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Also those that are over.
    #[serde(default)]
    all: bool,
}

/// A quarantine as a person wishes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    scope: Scope,
    reason: String,
    /// Until it is released, if it is left out.
    expires_in_s: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    reason: String,
}

async fn list(
    State(desk): State<Arc<Desk>>,
    Params(wanted): Params<Wanted>,
) -> Result<Answer, Problem> {
    let mut all = desk.gate.response.quarantines.list();
    all.retain(|one| wanted.all || one.state.is_in_force());
    let shown: Vec<Value> = all.iter().map(|one| shown(one)).collect();
    Answer::of(&json!({ "quarantines": shown }))
}

async fn show(
    State(desk): State<Arc<Desk>>,
    Segments(id): Segments<String>,
) -> Result<Answer, Problem> {
    let id: QuarantineId = id.parse().map_err(problem)?;
    Answer::of(&shown(&*desk.gate.response.quarantines.get(id).map_err(problem)?))
}

async fn impose(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<Wish>,
) -> Result<Answer, Problem> {
    if wish.reason.trim().is_empty() {
        return Err(Problem::invalid("reason", "whoever is refused is told why"));
    }
    may_freeze(&wish.scope, &caller)?;
    let at_ms = desk.gate.clock.now().unix_ns / 1_000_000;
    let lasts_ms = match wish.expires_in_s {
        Some(0) => return Err(Problem::invalid("expires_in_s", "at least a second")),
        Some(seconds) => Some(seconds.min(LONGEST_S) * 1_000),
        None => None,
    };
    let order = Order {
        scope: wish.scope,
        reason: wish.reason,
        actor: Actor::Person(caller.name),
        at_ms,
        expires_at_ms: lasts_ms.map(|length| at_ms + length),
        contest_with: None,
        by_strikes: false,
    };
    let imposed = work(&desk, move |desk| measures::impose(&desk.gate, order)).await?;
    done(&imposed)
}

async fn release(
    State(desk): State<Arc<Desk>>,
    Segments(id): Segments<String>,
    Extension(caller): Extension<Caller>,
    Json(because): Json<Because>,
) -> Result<Answer, Problem> {
    let id: QuarantineId = id.parse().map_err(problem)?;
    if because.reason.trim().is_empty() {
        return Err(Problem::invalid("reason", "it is written down with your name"));
    }
    let quarantine = desk.gate.response.quarantines.get(id).map_err(problem)?;
    may_freeze(&quarantine.scope, &caller)?;
    let actor = Actor::Person(caller.name);
    let reason = because.reason;
    let released =
        work(&desk, move |desk| measures::release(&desk.gate, id, actor, reason)).await?;
    done(&released)
}

/// Beside the runtime: it waits for a disk.
async fn work(
    desk: &Arc<Desk>,
    work: impl FnOnce(&Desk) -> Result<Arc<Quarantine>, QuarantineError> + Send + 'static,
) -> Result<Arc<Quarantine>, Problem> {
    let desk = Arc::clone(desk);
    let done = spawn_blocking(move || work(&desk)).await;
    done.map_err(|_| Problem::internal("a fault of the program; please report it"))?
        .map_err(problem)
}

fn done(quarantine: &Quarantine) -> Result<Answer, Problem> {
    let reason = quarantine.ended.as_ref().map_or(&quarantine.reason, |ended| &ended.reason);
    let answer = Answer::of(&shown(quarantine))?;
    Ok(answer
        .about(quarantine.scope.to_string())
        .because(reason)
        .noting(json!({ "id": quarantine.id.to_string(), "scope": quarantine.scope })))
}

/// What stops owners costs duties: a role more than what stops one source.
fn may_freeze(scope: &Scope, caller: &Caller) -> Result<(), Problem> {
    if scope.is_freeze() && caller.role < Role::Approver {
        let wanted = Role::Approver.as_str();
        let detail = format!("a {} stops owners as well: it needs the role {wanted}", scope.kind());
        return Err(Problem::forbidden(detail));
    }
    Ok(())
}

fn problem(error: QuarantineError) -> Problem {
    let told = error.to_string();
    match error {
        QuarantineError::Unknown(_) => Problem::not_found(told),
        QuarantineError::Over(_) | QuarantineError::Already(_) | QuarantineError::Full => {
            Problem::conflict(told)
        }
        QuarantineError::Scope(_) => Problem::invalid("scope", told),
        QuarantineError::NotKept(_) => Problem::internal(told),
    }
}

fn shown(one: &Quarantine) -> Value {
    json!({
        "id": one.id.to_string(),
        "scope": one.scope,
        "about": one.scope.to_string(),
        "state": one.state.as_str(),
        "reason": one.reason,
        "actor": one.actor,
        "imposed_at_ms": one.imposed_at_ms,
        "expires_at_ms": one.expires_at_ms,
        "contest_with": one.contest_with,
        "by_strikes": one.by_strikes,
        "ended": one.ended,
    })
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": { "type": "string" },
            "scope": scope_schema(),
            "about": { "type": "string", "description": "the scope in words" },
            "state": { "type": "string", "enum": ["active", "half_open", "released", "expired"] },
            "reason": { "type": "string" },
            "actor": { "type": "string", "description": "person:NAME, gate:RULE or local" },
            "imposed_at_ms": { "type": "integer", "description": "of Unix time" },
            "expires_at_ms": { "type": ["integer", "null"] },
            "contest_with": {
                "type": ["string", "null"],
                "description": "the client that has the keys: it ends when one of both gives up",
            },
            "by_strikes": { "type": "boolean" },
            "ended": { "type": ["object", "null"], "description": "at_ms, by, reason" },
        },
    })
}

fn scope_schema() -> Value {
    json!({
        "type": "object",
        "required": ["kind"],
        "description": "pair: client and public_key, source or null; key and key_exits: \
            public_key; cohort and cohort_exits: group; client: client; source: client and group",
        "properties": {
            "kind": { "type": "string", "enum": Scope::KINDS },
            "client": { "type": "string" },
            "source": { "type": ["integer", "null"] },
            "public_key": { "type": "string" },
            "group": { "type": "string" },
        },
    })
}

fn one(description: &str) -> Value {
    json!({ "200": {
        "description": description,
        "content": { "application/json": { "schema": schema() } }
    } })
}

fn id() -> Value {
    json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } })
}

fn list_document() -> Value {
    json!({
        "summary": "Quarantines in force, the oldest first",
        "parameters": [{
            "name": "all", "in": "query", "schema": { "type": "boolean" },
            "description": "also those that are over",
        }],
        "responses": { "200": {
            "description": "The quarantines",
            "content": { "application/json": { "schema": {
                "type": "object",
                "properties": { "quarantines": { "type": "array", "items": schema() } },
            } } }
        } },
    })
}

fn show_document() -> Value {
    json!({
        "summary": "One quarantine",
        "parameters": [id()],
        "responses": one("The quarantine"),
    })
}

fn impose_document() -> Value {
    json!({
        "summary": "Stop a client, a key or a key group. Key and key group need the role approver",
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "type": "object",
            "required": ["scope", "reason"],
            "properties": {
                "scope": scope_schema(),
                "reason": { "type": "string", "description": "whoever is refused is told" },
                "expires_in_s": { "type": "integer" },
            },
        } } } },
        "responses": one("It holds, and is on disk"),
    })
}

fn release_document() -> Value {
    json!({
        "summary": "End a quarantine",
        "parameters": [id()],
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "type": "object",
            "required": ["reason"],
            "properties": { "reason": { "type": "string" } },
        } } } },
        "responses": one("It is over, and that is on disk"),
    })
}

/// Ten years.
const LONGEST_S: u64 = 10 * 365 * 86_400;
