//! Rotation windows: keys go from one client to another, and a script asks whether it may go on.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::openapi::{answer, body, query, segment};
use super::work::blocking;
use super::{Answer, Caller, Desk, Json, Params, Problem, Role, Routes, Segments};
use crate::audit::Actor;
use crate::response::rotation::{Plan, Proceed, WindowError, Wish};

pub(super) fn routes() -> Routes {
    Routes::new("windows", "Rotations: keys go from one client to another, each once")
        .with_schemas(schemas())
        .get("/v1/windows", Role::Viewer, "windows.list", list_document(), list)
        .get("/v1/windows/{id}", Role::Viewer, "windows.show", show_document(), show)
        .get(
            "/v1/windows/{id}/proceed",
            Role::Viewer,
            "windows.proceed",
            proceed_document(),
            proceed,
        )
        .within(WAIT_MAX + Duration::from_secs(30))
        .post("/v1/windows", Role::Operator, "windows.open", open_document(), open)
        .post("/v1/windows/{id}/close", Role::Operator, "windows.close", end_document(CLOSE), close)
        .post("/v1/windows/{id}/halt", Role::Operator, "windows.halt", end_document(HALT), halt)
}

/// A window as a person wishes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    reason: String,
    #[serde(default)]
    keys: Vec<String>,
    group: Option<String>,
    from_client: String,
    to_client: String,
    opens_at_unix_ms: Option<u64>,
    expires_at_unix_ms: Option<u64>,
    /// In place of a time: from its opening on.
    expires_in_s: Option<u64>,
    #[serde(default)]
    overlap_max_ms: u64,
    batches: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    reason: String,
}

/// Which batch, and how long to wait for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    batch: usize,
    #[serde(default)]
    wait_s: u64,
}

impl Wanted {
    fn plan(self, now_ms: u64) -> Result<Plan, Problem> {
        if self.reason.trim().is_empty() {
            return Err(Problem::invalid("reason", "it is written down with your name"));
        }
        let opens = self.opens_at_unix_ms.unwrap_or(now_ms).max(now_ms);
        let expires_at_unix_ms = match (self.expires_at_unix_ms, self.expires_in_s) {
            (Some(at), None) => at,
            (None, Some(seconds)) => opens.saturating_add(seconds.saturating_mul(1_000)),
            (Some(_), Some(_)) | (None, None) => {
                let either = "give either this or expires_at_unix_ms";
                return Err(Problem::invalid("expires_in_s", either));
            }
        };
        Ok(Plan {
            name: self.name,
            reason: self.reason,
            keys: self.keys,
            group: self.group,
            from_client: self.from_client,
            to_client: self.to_client,
            opens_at_unix_ms: self.opens_at_unix_ms,
            expires_at_unix_ms,
            overlap_max_ms: self.overlap_max_ms,
            batches: self.batches,
        })
    }
}

async fn list(State(desk): State<Arc<Desk>>) -> Result<Answer, Problem> {
    Answer::of(&json!({ "windows": desk.gate.response.windows.list(&desk.gate) }))
}

async fn show(
    State(desk): State<Arc<Desk>>,
    Segments(id): Segments<String>,
) -> Result<Answer, Problem> {
    shown(&desk, id).await
}

/// Beside the runtime: it looks at every key.
async fn shown(desk: &Arc<Desk>, id: String) -> Result<Answer, Problem> {
    let page = blocking(desk, move |desk| desk.gate.response.windows.show(&desk.gate, &id)).await?;
    Answer::of(&page.map_err(problem)?)
}

async fn open(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Json(wanted): Json<Wanted>,
) -> Result<Answer, Problem> {
    let plan = wanted.plan(desk.gate.clock.now().unix_ns / 1_000_000)?;
    let (name, reason) = (plan.name.clone(), plan.reason.clone());
    let actor = Actor::Person(caller.name);
    let opened =
        blocking(&desk, move |desk| desk.gate.response.windows.open(&desk.gate, &plan, &actor));
    let id = opened.await?.map_err(problem)?;
    let answer = shown(&desk, id.clone()).await?;
    Ok(answer.about(name).because(reason).noting(json!({ "window": id })))
}

/// Which end a person gives it.
#[derive(Clone, Copy)]
enum End {
    Close,
    Halt,
}

async fn close(
    desk: State<Arc<Desk>>,
    id: Segments<String>,
    caller: Extension<Caller>,
    because: Json<Because>,
) -> Result<Answer, Problem> {
    end(End::Close, desk, id, caller, because).await
}

async fn halt(
    desk: State<Arc<Desk>>,
    id: Segments<String>,
    caller: Extension<Caller>,
    because: Json<Because>,
) -> Result<Answer, Problem> {
    end(End::Halt, desk, id, caller, because).await
}

async fn end(
    how: End,
    State(desk): State<Arc<Desk>>,
    Segments(id): Segments<String>,
    Extension(caller): Extension<Caller>,
    Json(because): Json<Because>,
) -> Result<Answer, Problem> {
    if because.reason.trim().is_empty() {
        return Err(Problem::invalid("reason", "it is written down with your name"));
    }
    let (wanted, why) = (id.clone(), because.reason.clone());
    let ended = blocking(&desk, move |desk| {
        let actor = Actor::Person(caller.name);
        let wish = Wish { actor: &actor, reason: &why };
        let windows = &desk.gate.response.windows;
        match how {
            End::Close => windows.close(&desk.gate, &wanted, &wish),
            End::Halt => windows.halt(&desk.gate, &wanted, &wish),
        }
    });
    ended.await?.map_err(problem)?;
    let answer = shown(&desk, id.clone()).await?;
    Ok(answer.about(id).because(because.reason))
}

/// Waits for a yes or a no without a thread: it is told of each change, and looks once a second for
/// what time alone changes.
async fn proceed(
    State(desk): State<Arc<Desk>>,
    Segments(id): Segments<String>,
    Params(asked): Params<Asked>,
) -> Result<Answer, Problem> {
    let windows = &desk.gate.response.windows;
    let deadline = Instant::now() + Duration::from_secs(asked.wait_s).min(WAIT_MAX);
    let mut changes = windows.changes();
    loop {
        changes.borrow_and_update(); // what changes after this is not missed
        let said = windows.proceed(&desk.gate, &id, asked.batch).map_err(problem)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let (answer, reason) = match said {
            Proceed::Yes => ("yes", None),
            Proceed::No(reason) => ("no", Some(reason)),
            Proceed::NotYet(reason) if left.is_zero() || desk.is_closing() => {
                ("not_yet", Some(reason))
            }
            Proceed::NotYet(_) => {
                let _ = timeout(left.min(LOOK_INTERVAL), changes.changed()).await;
                continue;
            }
        };
        let batch = asked.batch;
        let said = json!({ "window": id, "batch": batch, "answer": answer, "reason": reason });
        return Answer::of(&said);
    }
}

fn problem(error: WindowError) -> Problem {
    let told = error.to_string();
    match error {
        WindowError::Invalid { field, reason } => Problem::invalid(field, reason),
        WindowError::Conflict(_) => Problem::conflict(told),
        WindowError::Unknown(_) => Problem::not_found(told),
        WindowError::Table(_) => Problem::internal(told),
    }
}

fn schemas() -> Value {
    let time = json!({ "type": "integer", "description": "of Unix time" });
    let end = |kind: &str| json!({ "type": [kind, "null"] });
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer" });
    json!({
        "Window": {
            "type": "object",
            "properties": {
                "id": text,
                "name": text,
                "state": { "type": "string", "enum": STATES },
                "from_client": text,
                "to_client": text,
                "opened_by": text,
                "reason": text,
                "opened_at_unix_ms": time,
                "opens_at_unix_ms": time,
                "expires_at_unix_ms": time,
                "overlap_max_ms": { "const": 0 },
                "keys": number,
                "moved": number,
                "contested": { "type": "integer", "description": "both clients asked for them" },
                "ended_at_unix_ms": end("integer"),
                "ended_by": end("string"),
                "ended_because": end("string"),
            },
        },
        "WindowPage": {
            "description": "A window, its batches, and its keys in the order of the batches",
            "allOf": [{ "$ref": "#/components/schemas/Window" }, {
                "type": "object",
                "properties": {
                    "batches": { "type": "array", "items": {
                        "type": "object",
                        "properties": { "number": number, "keys": number, "moved": number },
                    } },
                    "progress": { "type": "array", "items": progress_schema() },
                },
            }],
        },
    })
}

fn progress_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "public_key": { "$ref": "#/components/schemas/PublicKey" },
            "batch": { "type": "integer" },
            "progress": {
                "type": "string",
                "enum": ["pending", "moved", "contested", "failed"],
                "description": "contested: both clients asked, who is not the owner is fenced; \
                    failed: it cannot move, for why",
            },
            "owner": { "type": ["string", "null"] },
            "moved_at_unix_s": { "type": ["integer", "null"] },
            "why": { "type": ["string", "null"] },
        },
    })
}

fn page(description: &str) -> Value {
    answer(description, json!({ "$ref": "#/components/schemas/WindowPage" }))
}

fn list_document() -> Value {
    let window = json!({ "$ref": "#/components/schemas/Window" });
    let windows = json!({ "windows": { "type": "array", "items": window } });
    let list = json!({ "type": "object", "properties": windows });
    json!({
        "summary": "Every rotation window that was opened while the gate ran, the latest first",
        "responses": answer("The windows", list),
    })
}

fn show_document() -> Value {
    json!({
        "summary": "One window with its batches and keys",
        "parameters": [segment("id", "the window's id")],
        "responses": page("The window"),
    })
}

fn open_document() -> Value {
    let text = json!({ "type": "string" });
    let key = json!({ "$ref": "#/components/schemas/PublicKey" });
    let wanted = json!({
        "name": text,
        "reason": text,
        "keys": { "type": "array", "items": key, "description": "in the order of the batches" },
        "group": { "type": "string", "description": "in place of keys: all of a key group" },
        "from_client": text,
        "to_client": text,
        "opens_at_unix_ms": { "type": "integer", "description": "at once, if it is left out" },
        "expires_at_unix_ms": { "type": "integer", "description": "this, or expires_in_s" },
        "expires_in_s": { "type": "integer", "description": "14 days at most" },
        "overlap_max_ms": { "const": 0 },
        "batches": { "type": "integer", "description": "1, if it is left out" },
    });
    json!({
        "summary": "Open or plan a rotation window",
        "requestBody": body(&["name", "reason", "from_client", "to_client"], wanted),
        "responses": page("It holds, and is on disk"),
    })
}

fn end_document(summary: &str) -> Value {
    json!({
        "summary": summary,
        "parameters": [segment("id", "the window's id")],
        "requestBody": body(&["reason"], json!({ "reason": { "type": "string" } })),
        "responses": page("It is so, and on disk"),
    })
}

fn proceed_document() -> Value {
    let number = json!({ "type": "integer" });
    let said = json!({
        "type": "object",
        "properties": {
            "window": { "type": "string" },
            "batch": number,
            "answer": { "type": "string", "enum": ["yes", "not_yet", "no"] },
            "reason": { "type": ["string", "null"] },
        },
    });
    json!({
        "summary": "Whether a script may go on with a batch: not before all earlier keys have moved",
        "description": "yes: go on. not_yet: ask again. no, for ever: the window is halted or over.",
        "parameters": [
            segment("id", "the window's id"),
            {
                "name": "batch", "in": "query", "required": true, "schema": number,
                "description": "from 1; one more than there are asks whether all have moved",
            },
            query("wait_s", "How long to wait for a yes or a no, 300 at most", number.clone()),
        ],
        "responses": answer("The answer", said),
    })
}

const STATES: [&str; 6] = ["planned", "open", "moving", "completed", "halted", "expired"];
const CLOSE: &str = "End a window: no key moves any more; each stays where it is";
const HALT: &str = "Halt a window as an overlap does";
const WAIT_MAX: Duration = Duration::from_secs(300);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
