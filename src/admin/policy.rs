//! The policy: what is in force, what a draft would do, and how it is published.
//!
//! A draft that would have refused more than 0.1 % of the last recorded epoch, or that nothing was
//! recorded to try it on, is strict: two identities publish it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::grants::{Agreement, Wanted, pending};
use super::openapi::{answer, body};
use super::{Answer, Caller, Desk, Json, Problem, Role, Routes, blocking};

/// The running gate's policy, as whoever runs it has it: documents are files of theirs.
pub trait PolicyDesk: Send + Sync {
    /// What is in force.
    fn in_force(&self) -> InForce;

    /// What a document enforces, for a person.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    fn check(&self, document: &str) -> Result<String, PolicyProblem>;

    /// What a document would have refused of what was recorded.
    ///
    /// # Errors
    /// What is wrong with it, or with the recording.
    fn replay(&self, document: &str) -> Result<Replayed, PolicyProblem>;

    /// Puts a document in force; says what has changed.
    ///
    /// # Errors
    /// What is in force stays so.
    fn publish(&self, document: &str) -> Result<Vec<String>, PolicyProblem>;
}

/// Why a document was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyProblem {
    /// The document is wrong: every line says where.
    #[error("{0}")]
    Document(String),
    /// The configuration has no place for one.
    #[error("{0}")]
    NoFile(String),
    /// The gate could not read or write.
    #[error("{0}")]
    Failed(String),
}

/// What is in force.
#[derive(Clone, Debug, Serialize)]
pub struct InForce {
    /// The file; none with the built-in policy.
    pub file: Option<String>,
    /// Its text now. Where it cannot be put in force, what is in force is what it was before.
    pub document: Option<String>,
    /// What is in force, for a person.
    pub summary: String,
    /// Whether requests are recorded, so that drafts can be tried on them.
    pub is_recorded: bool,
}

/// What a draft would have done.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// Whether there was anything to try it on.
    pub is_recorded: bool,
    /// Whether it needs two identities.
    pub is_strict: bool,
    /// The figures, as `portcullis policy replay --json` has them.
    pub report: Value,
}

pub(super) fn routes() -> Routes {
    Routes::new("policy", "What requests are judged by")
        .get("/v1/policy", Role::Viewer, "policy.show", show_document(), show)
        .post("/v1/policy/check", Role::Viewer, "policy.check", check_document(), check)
        .changing_nothing()
        .post("/v1/policy/replay", Role::Operator, "policy.replay", replay_document(), replay)
        .changing_nothing()
        .within(LONG)
        .post("/v1/policy/publish", Role::Operator, "policy.publish", publish_document(), publish)
        .within(LONG)
}

fn show_document() -> Value {
    let shape = json!({
        "type": "object",
        "properties": {
            "file": { "type": ["string", "null"] },
            "document": { "type": ["string", "null"] },
            "summary": { "type": "string" },
            "is_recorded": { "type": "boolean" },
        },
    });
    json!({ "summary": "What is in force", "responses": answer("The policy", shape) })
}

fn document() -> Value {
    json!({ "document": { "type": "string", "description": "TOML" } })
}

fn check_document() -> Value {
    let shape = json!({ "type": "object", "properties": { "summary": { "type": "string" } } });
    json!({
        "summary": "Say what is wrong with a document, or what it enforces",
        "requestBody": body(&["document"], document()),
        "responses": answer("It is good", shape),
    })
}

fn replay_document() -> Value {
    let shape = json!({
        "type": "object",
        "properties": {
            "is_recorded": { "type": "boolean" },
            "is_strict": { "type": "boolean", "description": "two identities publish it" },
            "report": { "type": ["object", "null"] },
        },
    });
    json!({
        "summary": "What a document would have refused of what was recorded",
        "requestBody": body(&["document"], document()),
        "responses": answer("The figures", shape),
    })
}

fn publish_document() -> Value {
    let mut properties = document();
    properties["reason"] = json!({ "type": "string" });
    properties["grant"] = json!({ "type": "string", "description": "the approved grant" });
    let changes = json!({ "type": "array", "items": { "type": "string" } });
    let shape = json!({ "type": "object", "properties": { "changes": changes } });
    let mut responses = answer("What has changed", shape);
    responses["202"] = super::openapi::pending();
    json!({
        "summary": "Try a document on what was recorded, and put it in force",
        "requestBody": body(&["document", "reason"], properties),
        "responses": responses,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    document: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    document: String,
    reason: String,
    grant: Option<String>,
}

async fn show(State(desk): State<Arc<Desk>>) -> Result<Answer, Problem> {
    Answer::of(&blocking(&desk, |desk| desk.policy.in_force()).await?)
}

async fn check(
    State(desk): State<Arc<Desk>>,
    Json(asked): Json<Document>,
) -> Result<Answer, Problem> {
    let checked = blocking(&desk, move |desk| desk.policy.check(&asked.document)).await?;
    Answer::of(&json!({ "summary": checked.map_err(problem)? }))
}

async fn replay(
    State(desk): State<Arc<Desk>>,
    Json(asked): Json<Document>,
) -> Result<Answer, Problem> {
    let replayed = blocking(&desk, move |desk| desk.policy.replay(&asked.document)).await?;
    Answer::of(&replayed.map_err(problem)?)
}

async fn publish(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Json(asked): Json<Publish>,
) -> Result<Answer, Problem> {
    blocking(&desk, move |desk| {
        let replayed = desk.policy.replay(&asked.document).map_err(problem)?;
        let mut by_two = None;
        if replayed.is_strict {
            let wanted = Wanted {
                action: "policy.publish",
                subject: "policy",
                summary: json!(replayed),
                content: asked.document.as_bytes(),
                reason: &asked.reason,
            };
            match desk.agreed(&caller, &wanted, asked.grant.as_deref())? {
                Agreement::Pending(grant) => return pending(&grant),
                Agreement::Reached(grant) => by_two = Some((grant.id, grant.approved_by)),
            }
        }
        let changes = desk.policy.publish(&asked.document).map_err(problem)?;
        let answer = Answer::of(&json!({ "changes": changes }))?.about("policy");
        let answer = answer.because(asked.reason);
        Ok(answer.noting(json!({ "changes": changes, "grant": by_two })))
    })
    .await?
}

fn problem(problem: PolicyProblem) -> Problem {
    match problem {
        PolicyProblem::Document(detail) => Problem::invalid("document", detail),
        PolicyProblem::NoFile(detail) => Problem::conflict(detail),
        PolicyProblem::Failed(detail) => Problem::internal(detail),
    }
}

/// A day's recording of a large installation.
const LONG: Duration = Duration::from_secs(600);
