//! What two people must agree on: whatever can cost money by itself.
//!
//! The first call asks, and is answered 202 with a pending grant. A second identity, another name
//! with the role approver, approves it. The call is then made again with the grant's id, and is
//! done once. A grant is for exactly what was asked: another body is another grant. It expires.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slashing_db::SideTableError;

use super::openapi::{answer, segment};
use super::{Answer, Caller, Desk, Problem, Role, Routes, Segments, blocking};
use crate::enrolment::with_causes;
use crate::response::ResponseTable;

/// What somebody asked for, and who agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its name.
    pub id: String,
    /// The call that it is for, `policy.publish`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// What it would do, for whoever is to approve.
    pub summary: Value,
    /// The SHA-256 of exactly what was asked.
    pub sha256: String,
    /// Who asked.
    pub asked_by: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds of Unix time.
    pub asked_at_unix_ms: u64,
    /// From when on it is good for nothing.
    pub expires_at_unix_ms: u64,
    /// Who agreed.
    pub approved_by: Option<String>,
}

/// What somebody wants to do that needs two.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The call, `policy.publish`.
    pub action: &'static str,
    /// To what.
    pub subject: &'a str,
    /// What it would do, for whoever is to approve.
    pub summary: Value,
    /// Everything that was asked: a grant is for these very bytes.
    pub content: &'a [u8],
    /// Why.
    pub reason: &'a str,
}

/// Whether two have agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// They have: it is to be done now, once.
    Reached(Grant),
    /// One has asked. The answer is 202 with this grant.
    Pending(Grant),
}

/// The grants that are open.
#[derive(Debug)]
pub struct Grants {
    ttl_ms: u64,
    open: Mutex<BTreeMap<String, Grant>>,
}

impl Grants {
    /// Those that are kept in `table`.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn kept_in(table: &ResponseTable, ttl_s: u64) -> Result<Self, SideTableError> {
        let mut open = BTreeMap::new();
        for (_, value) in table.rows(PREFIX)? {
            if let Ok(grant) = serde_json::from_slice::<Grant>(&value) {
                open.insert(grant.id.clone(), grant);
            }
        }
        Ok(Self { ttl_ms: ttl_s * 1_000, open: Mutex::new(open) })
    }

    /// Every open grant, the oldest first.
    pub fn list(&self, now_unix_ms: u64) -> Vec<Grant> {
        let open = self.open.lock();
        let holds = |grant: &&Grant| now_unix_ms < grant.expires_at_unix_ms;
        let mut grants: Vec<Grant> = open.values().filter(holds).cloned().collect();
        grants.sort_by_key(|grant| grant.asked_at_unix_ms);
        grants
    }
}

impl Desk {
    /// Whether two have agreed to what is wanted: asks for it where no grant is named. Waits for
    /// the disk: call it where that may be.
    ///
    /// # Errors
    /// A grant that is not there, not approved, has expired or is for something else.
    pub fn agreed(
        &self,
        caller: &Caller,
        wanted: &Wanted<'_>,
        grant: Option<&str>,
    ) -> Result<Agreement, Problem> {
        match grant {
            None => self.ask_for(caller, wanted).map(Agreement::Pending),
            Some(id) => self.use_up(caller, wanted, id).map(Agreement::Reached),
        }
    }

    fn ask_for(&self, caller: &Caller, wanted: &Wanted<'_>) -> Result<Grant, Problem> {
        if wanted.reason.trim().is_empty() {
            return Err(Problem::invalid("reason", "say why: somebody else has to agree"));
        }
        let now = self.access.now_unix_ms();
        let grant = Grant {
            id: new_id()?,
            action: wanted.action.to_owned(),
            subject: wanted.subject.to_owned(),
            summary: wanted.summary.clone(),
            sha256: digest(wanted),
            asked_by: caller.name.clone(),
            reason: wanted.reason.to_owned(),
            asked_at_unix_ms: now,
            expires_at_unix_ms: now + self.grants.ttl_ms,
            approved_by: None,
        };
        let mut open = self.grants.open.lock();
        let expired = open.values().filter(|grant| grant.expires_at_unix_ms <= now);
        let expired: Vec<String> = expired.map(|grant| grant.id.clone()).collect();
        if open.len() - expired.len() >= OPEN_MAX {
            return Err(Problem::conflict("too many grants are open; withdraw some"));
        }
        let gone = expired.iter().map(|id| (key(id), None));
        self.commit(gone.chain([row(&grant)?]))?;
        open.retain(|_, grant| grant.expires_at_unix_ms > now);
        open.insert(grant.id.clone(), grant.clone());
        Ok(grant)
    }

    fn use_up(&self, caller: &Caller, wanted: &Wanted<'_>, id: &str) -> Result<Grant, Problem> {
        let mut open = self.grants.open.lock();
        let grant = self.holding(&open, id)?;
        if grant.asked_by != caller.name {
            return Err(Problem::forbidden(format!("{} asked for this grant", grant.asked_by)));
        }
        let is_same = grant.action == wanted.action
            && grant.subject == wanted.subject
            && grant.sha256 == digest(wanted);
        if !is_same {
            let detail = "the grant is for something else: what was asked then is not this";
            return Err(Problem::conflict(detail).about(id));
        }
        let Some(approver) = &grant.approved_by else {
            let detail = "the grant waits for a second identity with the role approver";
            return Err(Problem::conflict(detail).about(id));
        };
        // Whoever approved may have been struck out since.
        let still = self.access.named(approver).is_some_and(|it| it.role >= Role::Approver);
        if !still || *approver == caller.name {
            let detail = format!("{approver} may not approve any more: ask anew");
            return Err(Problem::conflict(detail).about(id));
        }
        self.commit([(key(id), None)])?; // first: a crash after it loses the grant, not the rule
        open.remove(id);
        Ok(grant)
    }

    fn approve(&self, caller: &Caller, id: &str) -> Result<Grant, Problem> {
        let mut open = self.grants.open.lock();
        let mut grant = self.holding(&open, id)?;
        if grant.asked_by == caller.name {
            return Err(Problem::forbidden("nobody approves what they asked for themselves"));
        }
        if let Some(other) = &grant.approved_by {
            return Err(Problem::conflict(format!("{other} has approved it")).about(id));
        }
        grant.approved_by = Some(caller.name.clone());
        self.commit([row(&grant)?])?;
        open.insert(id.to_owned(), grant.clone());
        Ok(grant)
    }

    fn withdraw(&self, caller: &Caller, id: &str) -> Result<Grant, Problem> {
        let mut open = self.grants.open.lock();
        let grant = self.holding(&open, id)?;
        if grant.asked_by != caller.name && caller.role < Role::Approver {
            return Err(Problem::forbidden("only who asked, or an approver, withdraws a grant"));
        }
        self.commit([(key(id), None)])?;
        open.remove(id);
        Ok(grant)
    }

    fn holding(&self, open: &BTreeMap<String, Grant>, id: &str) -> Result<Grant, Problem> {
        let grant = open.get(id).filter(|it| self.access.now_unix_ms() < it.expires_at_unix_ms);
        grant.cloned().ok_or_else(|| {
            Problem::not_found("no such grant: it was used, withdrawn, or has expired").about(id)
        })
    }

    fn commit(
        &self,
        rows: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), Problem> {
        self.gate.response.table.commit(rows).map_err(|error| {
            Problem::internal(format!("the grant cannot be kept: {}", with_causes(&error)))
        })
    }
}

fn key(id: &str) -> Vec<u8> {
    [PREFIX, id.as_bytes()].concat()
}

fn row(grant: &Grant) -> Result<(Vec<u8>, Option<Vec<u8>>), Problem> {
    let value = serde_json::to_vec(grant)
        .map_err(|error| Problem::internal(format!("a grant is not JSON: {error}")))?;
    Ok((key(&grant.id), Some(value)))
}

fn digest(wanted: &Wanted<'_>) -> String {
    faster_hex::hex_string(&Sha256::digest(wanted.content))
}

fn new_id() -> Result<String, Problem> {
    let mut bytes = [0; 16];
    let read = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match read {
        Ok(length) if length == bytes.len() => Ok(faster_hex::hex_string(&bytes)),
        Ok(_) | Err(_) => Err(Problem::internal("the system gives no random numbers")),
    }
}

pub(super) fn routes() -> Routes {
    let about = "What two people must agree on: one asks, another approves, the first does it";
    let id = || segment("id", "the grant");
    let grant = || json!({ "$ref": "#/components/schemas/Grant" });
    Routes::new("grants", about)
        .with_schemas(schemas())
        .get(
            "/v1/grants",
            Role::Viewer,
            "grants.list",
            json!({
                "summary": "The grants that are open",
                "responses": answer("The oldest first", json!({
                    "type": "object",
                    "properties": { "grants": { "type": "array", "items": grant() } },
                })),
            }),
            list,
        )
        .post(
            "/v1/grants/{id}/approve",
            Role::Approver,
            "grants.approve",
            json!({
                "summary": "Agree to what another has asked for",
                "parameters": [id()],
                "responses": answer("The grant, approved", grant()),
            }),
            approve,
        )
        .delete(
            "/v1/grants/{id}",
            Role::Operator,
            "grants.withdraw",
            json!({
                "summary": "Withdraw a grant: who asked, or an approver",
                "parameters": [id()],
                "responses": answer("The grant that was", grant()),
            }),
            withdraw,
        )
}

fn schemas() -> Value {
    json!({ "Grant": {
        "type": "object",
        "properties": {
            "id": { "type": "string" },
            "action": { "type": "string" },
            "subject": { "type": "string" },
            "summary": { "description": "what it would do" },
            "sha256": { "type": "string" },
            "asked_by": { "type": "string" },
            "reason": { "type": "string" },
            "asked_at_unix_ms": { "type": "integer" },
            "expires_at_unix_ms": { "type": "integer" },
            "approved_by": { "type": ["string", "null"] },
        },
    } })
}

async fn list(State(desk): State<Arc<Desk>>) -> Result<Answer, Problem> {
    Answer::of(&json!({ "grants": desk.grants.list(desk.access.now_unix_ms()) }))
}

async fn approve(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Answer, Problem> {
    told(&blocking(&desk, move |desk| desk.approve(&caller, &id)).await??)
}

async fn withdraw(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Answer, Problem> {
    told(&blocking(&desk, move |desk| desk.withdraw(&caller, &id)).await??)
}

fn told(grant: &Grant) -> Result<Answer, Problem> {
    let Grant { id, action, asked_by, sha256, .. } = grant;
    let details = json!({ "of": action, "asked_by": asked_by, "sha256": sha256 });
    Ok(Answer::of(grant)?.about(id).because(&grant.reason).noting(details))
}

/// The answer of a call that waits for a second identity.
///
/// # Errors
/// As [`Answer::of`].
pub fn pending(grant: &Grant) -> Result<Answer, Problem> {
    let Grant { id, subject, sha256, .. } = grant;
    let details = json!({ "pending_grant": id, "sha256": sha256 });
    Ok(Answer::accepted(grant)?.about(subject).because(&grant.reason).noting(details))
}

const PREFIX: &[u8] = b"grant:";
const OPEN_MAX: usize = 1_000;
