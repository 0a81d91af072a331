//! Incidents, and the timelines of incidents and keys.

use std::sync::Arc;

use axum::extract::{Extension, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{Answer, Caller, Desk, Json, Params, Problem, Role, Routes, Segments};
use crate::audit::Actor;
use crate::response::incident::story::Story;
use crate::response::incident::{Incident, NotDone, State as Stage, Wish};

/// Which incidents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only those in this state.
    state: Option<Stage>,
    /// How many, the newest first.
    limit: Option<usize>,
}

/// How much of a timeline, and how it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Telling {
    limit: Option<usize>,
    format: Option<Format>,
}

/// The timeline of something that has a name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    /// A public key, or the name of a window, an incident, a client.
    subject: String,
    since_unix_ms: Option<u64>,
    limit: Option<usize>,
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Markdown,
}

/// Why a person does it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    reason: String,
}

pub(super) fn routes() -> Routes {
    let about = "What has one cause, from the first refusal to its end";
    let operator = Role::Operator;
    Routes::new("incidents", about)
        .get("/v1/incidents", Role::Viewer, "incidents.list", list_document(), list)
        .get("/v1/incidents/{id}", Role::Viewer, "incidents.show", show_document(), show)
        .get(
            "/v1/incidents/{id}/timeline",
            Role::Viewer,
            "incidents.timeline",
            story_document("The timeline of an incident", &[id(), limit(), format()]),
            timeline,
        )
        .post(
            "/v1/incidents/{id}/acknowledge",
            operator,
            "incidents.acknowledge",
            move_document("Somebody looks at it; it pages nobody until it has ended"),
            |desk, segments, caller, body| {
                move_to(Stage::Acknowledged, desk, segments, caller, body)
            },
        )
        .post(
            "/v1/incidents/{id}/resolve",
            operator,
            "incidents.resolve",
            move_document("It is over"),
            |desk, segments, caller, body| move_to(Stage::Resolved, desk, segments, caller, body),
        )
        .post(
            "/v1/incidents/{id}/reopen",
            operator,
            "incidents.reopen",
            move_document("It is not over after all"),
            |desk, segments, caller, body| move_to(Stage::Open, desk, segments, caller, body),
        )
        .get(
            "/v1/timeline",
            Role::Viewer,
            "timeline.show",
            story_document(
                "What the audit log has about a key or a name",
                &[subject(), since(), limit(), format()],
            ),
            timeline_of,
        )
}

async fn list(
    State(desk): State<Arc<Desk>>,
    Params(wanted): Params<Wanted>,
) -> Result<Answer, Problem> {
    let incidents = desk.gate.response.incidents.list();
    let is_wanted = |it: &&Arc<Incident>| wanted.state.is_none_or(|state| it.state == state);
    let limit = wanted.limit.unwrap_or(LISTED).min(LISTED_MAX);
    let listed: Vec<Value> =
        incidents.iter().filter(is_wanted).take(limit).map(|it| shown(it)).collect();
    Answer::of(&json!({ "incidents": listed }))
}

async fn show(
    State(desk): State<Arc<Desk>>,
    Segments(id): Segments<String>,
) -> Result<Answer, Problem> {
    let incidents = &desk.gate.response.incidents;
    let incident = incidents.get(&id).ok_or_else(|| unknown(&id))?;
    let mut all = shown(&incident);
    all["key_list"] = json!(incidents.keys(&id));
    Answer::of(&all)
}

/// As it is kept, with its line for people, and without what is only ours.
fn shown(incident: &Incident) -> Value {
    let mut all = json!(incident);
    if let Value::Object(fields) = &mut all {
        for ours in ["burst", "events", "told_keys", "unsaid"] {
            fields.remove(ours);
        }
    }
    all["summary"] = json!(incident.summary());
    all
}

async fn timeline(
    State(desk): State<Arc<Desk>>,
    Segments(id): Segments<String>,
    Params(telling): Params<Telling>,
) -> Result<Answer, Problem> {
    let newest = telling.limit.unwrap_or(LINES).min(LINES_MAX);
    let (gate, wanted) = (Arc::clone(&desk.gate), id.clone());
    let told = spawn_blocking(move || gate.response.story_of_incident(gate.slots, &wanted, newest));
    let story = read(told.await)?.ok_or_else(|| unknown(&id))?;
    written(&story, telling.format.unwrap_or_default())
}

async fn timeline_of(
    State(desk): State<Arc<Desk>>,
    Params(about): Params<About>,
) -> Result<Answer, Problem> {
    let newest = about.limit.unwrap_or(LINES).min(LINES_MAX);
    let (gate, since) = (Arc::clone(&desk.gate), about.since_unix_ms.unwrap_or(0));
    let subject = about.subject;
    let told = spawn_blocking(move || gate.response.story_of(gate.slots, &subject, since, newest));
    written(&read(told.await)?, about.format.unwrap_or_default())
}

fn read<T>(
    told: Result<Result<T, crate::audit::read::ReadError>, tokio::task::JoinError>,
) -> Result<T, Problem> {
    told.map_err(|_| Problem::internal("a fault of the program; please report it"))?
        .map_err(|error| Problem::internal(error.to_string()))
}

fn written(story: &Story, format: Format) -> Result<Answer, Problem> {
    match format {
        Format::Json => Answer::of(story),
        Format::Markdown => Ok(Answer::raw("text/markdown; charset=utf-8", story.to_markdown())),
    }
}

async fn move_to(
    to: Stage,
    State(desk): State<Arc<Desk>>,
    Segments(id): Segments<String>,
    Extension(caller): Extension<Caller>,
    Json(because): Json<Because>,
) -> Result<Answer, Problem> {
    let reason = because.reason.trim().to_owned();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
        return Err(Problem::invalid("reason", "must say why, in 1 to 1000 bytes").about(id));
    }
    let (gate, wanted, why) = (Arc::clone(&desk.gate), id.clone(), reason.clone());
    let moved = spawn_blocking(move || {
        let actor = Actor::Person(caller.name);
        let at_unix_ms = gate.clock.now().unix_ns / 1_000_000;
        let wish = Wish { actor: &actor, reason: &why, at_unix_ms };
        let (incidents, response) = (&gate.response.incidents, &gate.response);
        match to {
            Stage::Acknowledged => incidents.acknowledge(response, &wanted, &wish),
            Stage::Resolved => incidents.resolve(response, &wanted, &wish),
            Stage::Open => incidents.reopen(response, &wanted, &wish),
        }
    });
    let moved = moved.await.map_err(|_| Problem::internal("a fault; please report it"))?;
    let position = moved.map_err(|error| match error {
        NotDone::Unknown(_) => unknown(&id),
        NotDone::WrongState { .. } => Problem::conflict(error.to_string()).about(id.clone()),
        NotDone::Table(_) => Problem::internal(error.to_string()).about(id.clone()),
    })?;
    let answer = Answer::of(&json!({ "id": id, "state": to, "position": position.0 }))?;
    Ok(answer.about(id).because(reason))
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("no incident is named {id}")).about(id)
}

fn id() -> Value {
    json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } })
}

fn query(name: &str, about: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": about, "schema": schema })
}

fn limit() -> Value {
    query("limit", "the newest are told", &json!({ "type": "integer" }))
}

fn since() -> Value {
    query("since_unix_ms", "nothing before this", &json!({ "type": "integer" }))
}

fn format() -> Value {
    query("format", "how it is written", &json!({ "enum": ["json", "markdown"] }))
}

fn subject() -> Value {
    let mut subject = query("subject", "a public key or a name", &json!({ "type": "string" }));
    subject["required"] = json!(true);
    subject
}

fn answers(about: &str, schema: &Value) -> Value {
    json!({ "200": { "description": about, "content": { "application/json": { "schema": schema } } } })
}

fn list_document() -> Value {
    let state = json!({ "enum": ["open", "acknowledged", "resolved"] });
    let one = json!({ "$ref": "#/components/schemas/Incident" });
    let all = json!({
        "type": "object",
        "properties": { "incidents": { "type": "array", "items": one } },
    });
    json!({
        "summary": "The incidents, the newest first",
        "parameters": [query("state", "only those in this state", &state), limit()],
        "responses": answers("The incidents", &all),
    })
}

fn show_document() -> Value {
    let incident = json!({ "$ref": "#/components/schemas/Incident" });
    json!({
        "summary": "An incident, with the list of its keys in `key_list`",
        "parameters": [id()],
        "responses": answers("The incident", &incident),
    })
}

fn story_document(summary: &str, parameters: &[Value]) -> Value {
    let mut responses = answers("Line by line", &json!({ "$ref": "#/components/schemas/Story" }));
    responses["200"]["content"]["text/markdown"] = json!({ "schema": { "type": "string" } });
    json!({ "summary": summary, "parameters": parameters, "responses": responses })
}

fn move_document(summary: &str) -> Value {
    let reason = json!({
        "type": "object",
        "required": ["reason"],
        "properties": { "reason": { "type": "string", "maxLength": REASON_BYTES_MAX } },
    });
    let moved = json!({ "type": "object", "properties": {
        "id": { "type": "string" },
        "state": { "type": "string" },
        "position": { "type": "integer", "description": "in the audit log" },
    } });
    json!({
        "summary": summary,
        "parameters": [id()],
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": reason } },
        },
        "responses": answers("It is done and on disk", &moved),
    })
}

const LISTED: usize = 100;
const LISTED_MAX: usize = 10_000;
const LINES: usize = 1_000;
const LINES_MAX: usize = 100_000;
const REASON_BYTES_MAX: usize = 1_000;
