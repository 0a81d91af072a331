#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::Request;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::{Access, Desk, Role, router};
use crate::config::{AdminConfig, CredentialConfig};
use crate::tests::{Rig, network};

mod callers;
mod document;
mod incidents;
mod roles;

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
        let rig = Rig::new();
        rig.enrol(1);
        rig.enrol(2);
        let (hands, clock) = (rig.hands.clone(), rig.clock.clone());
        let gate = Arc::new(rig.into_gate(network()));
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
            bulk_exit_keys: 16,
            credentials,
        };
        let access = Access::load(&config, clock).unwrap();
        let desk = Arc::new(Desk::new(gate, access));
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
