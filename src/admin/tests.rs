#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::Request;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::{Access, Desk, InForce, PolicyDesk, PolicyProblem, Replayed, Role, Settings, router};
use crate::config::{AdminConfig, CredentialConfig};
use crate::response::ResponseTable;
use crate::tests::{Rig, network};

mod callers;
mod document;
mod grants;
mod incidents;
mod inputs;
mod keys;
mod quarantines;
mod roles;
mod windows;

/// A policy whose drafts say themselves whether they are strict or wrong.
#[derive(Default)]
pub(super) struct Drafts(parking_lot::Mutex<String>);

impl PolicyDesk for Drafts {
    fn in_force(&self) -> InForce {
        let document = Some(self.0.lock().clone());
        InForce { file: None, document, summary: String::new(), is_recorded: true }
    }

    fn check(&self, document: &str) -> Result<String, PolicyProblem> {
        let is_wrong = document.contains("wrong");
        if is_wrong { Err(PolicyProblem::Document("it is".to_owned())) } else { Ok(String::new()) }
    }

    fn replay(&self, document: &str) -> Result<Replayed, PolicyProblem> {
        self.check(document)?;
        let is_strict = document.contains("strict");
        Ok(Replayed { is_recorded: true, is_strict, report: Value::Null })
    }

    fn publish(&self, document: &str) -> Result<Vec<String>, PolicyProblem> {
        self.check(document)?;
        document.clone_into(&mut self.0.lock());
        Ok(vec!["all of it".to_owned()])
    }
}

/// A desk over a gate in memory with the keys 1 and 2, and the files of its credentials: `viewer`,
/// `operator`, `operator2`, `approver`, each of the role that it is named after.
pub(super) struct Bench {
    pub(super) desk: Arc<Desk>,
    pub(super) hands: crate::clock::ManualClock,
    _files: tempfile::TempDir,
    router: TowerToHyperService<axum::Router>,
}

/// The token of a credential of the bench.
pub(super) fn token(name: &str) -> String {
    format!("{name}-{}", "t".repeat(40))
}

pub(super) fn credential(folder: &std::path::Path, name: &str, role: Role) -> CredentialConfig {
    let file = folder.join(name);
    fs::write(&file, format!("{}\n", token(name))).unwrap();
    CredentialConfig {
        name: name.to_owned(),
        role,
        token_file: Some(file),
        certificate_fingerprints: Vec::new(),
        certificate_names: Vec::new(),
        expires_unix_ms: None,
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::over(ResponseTable::default())
    }

    /// With the grants that are kept in a table.
    pub(super) fn over(table: ResponseTable) -> Self {
        let rig = Rig::new();
        rig.enrol(1);
        rig.enrol(2);
        let (hands, clock) = (rig.hands.clone(), rig.clock.clone());
        let mut gate = rig.into_gate(network());
        gate.response.table = table;
        let gate = Arc::new(gate);
        let files = tempfile::tempdir().unwrap();
        let mut late = credential(files.path(), "late", Role::Approver);
        late.expires_unix_ms = Some(clock.now().unix_ns / 1_000_000 + 1_000);
        let credentials = vec![
            credential(files.path(), "viewer", Role::Viewer),
            credential(files.path(), "operator", Role::Operator),
            credential(files.path(), "operator2", Role::Operator),
            credential(files.path(), "approver", Role::Approver),
            late,
        ];
        let config = AdminConfig {
            address: None,
            identity: None,
            client_ca_file: None,
            grant_ttl_s: 3_600,
            credentials,
        };
        let access = Access::load(&config, clock).unwrap();
        let policy = Box::new(Drafts::default());
        let desk = Desk::new(gate, access, policy, Settings::of(&config));
        let desk = Arc::new(desk.unwrap());
        let router = TowerToHyperService::new(router(&desk));
        Self { desk, hands, _files: files, router }
    }

    /// One call: the status, and the body as JSON if it is that.
    pub(super) async fn call(
        &self,
        (method, path): (&str, &str),
        token: Option<&str>,
        body: impl Into<Body>,
    ) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = self.router.call(request.body(body.into()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body: Bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// One call of somebody, with JSON.
    pub(super) async fn ask(&self, who: &str, call: (&str, &str), body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call(call, Some(&token(who)), body).await
    }
}
