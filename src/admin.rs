//! The admin API: what people and their scripts ask of a running gate, over HTTP.
//!
//! On a listener, a thread and a runtime of its own: whatever is asked here, no signature waits
//! longer than for a key's own lock. Without `[admin]` there is no listener.
//!
//! | what | where |
//! |---|---|
//! | who calls, and what they may | `admin/auth.rs` |
//! | the way of every call: caller, role, deadline, audit | `admin/guard.rs` |
//! | what a resource is made of; the table of roles | `admin/routes.rs` |
//! | what two people must agree on | `admin/grants.rs` |
//! | one file for each resource | [`resources`] lists them |
//!
//! A resource is a file with `routes() -> Routes`: each of its routes has a path, the least role
//! that may call it, its piece of the OpenAPI document and a handler. It is added to
//! [`resources`], to the table in `admin/tests/roles.rs`, and to `fixtures/admin-openapi.json`
//! (`UPDATE_FIXTURES=1 cargo test -p portcullis --lib --features test-clock admin::`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use slashing_db::SideTableError;

use crate::config::AdminConfig;
use crate::sign::Gate;

pub use self::answer::Answer;
pub use self::auth::{Access, AccessError, Caller, Credential, NotKnown, Role};
pub use self::grants::{Agreement, Grant, Grants, Wanted, pending};
pub use self::input::{Json, Params, Segments};
pub use self::openapi::document;
pub use self::policy::{InForce, PolicyDesk, PolicyProblem, Replayed};
pub use self::problem::Problem;
pub use self::routes::{Method, Route, Routes};
pub use self::serve::serve;
pub use self::work::blocking;

mod answer;
mod audit;
mod auth;
mod baseline;
mod clients;
mod evaluate;
mod events;
mod grants;
mod guard;
mod health;
mod incidents;
mod input;
mod keys;
mod openapi;
mod policy;
mod problem;
mod quarantines;
mod routes;
mod serve;
mod validators;
mod windows;
mod work;

#[cfg(test)]
mod tests;

/// What the handlers work on.
pub struct Desk {
    /// The running gate.
    pub gate: Arc<Gate>,
    /// Who may call.
    pub access: Arc<Access>,
    /// The policy documents.
    pub policy: Box<dyn PolicyDesk>,
    /// What two must agree on.
    pub grants: Grants,
    /// What was configured.
    pub settings: Settings,
    closing: AtomicBool,
}

/// The numbers of `[admin]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a grant is good, in seconds.
    pub grant_ttl_s: u64,
}

impl Settings {
    /// Those of a configuration.
    pub fn of(config: &AdminConfig) -> Self {
        Self { grant_ttl_s: config.grant_ttl_s }
    }
}

impl Desk {
    /// The desk of `gate`.
    ///
    /// # Errors
    /// When the grants that were kept cannot be read.
    pub fn new(
        gate: Arc<Gate>,
        access: Arc<Access>,
        policy: Box<dyn PolicyDesk>,
        settings: Settings,
    ) -> Result<Self, SideTableError> {
        let grants = Grants::kept_in(&gate.response.table, settings.grant_ttl_s)?;
        Ok(Self { gate, access, policy, grants, settings, closing: AtomicBool::new(false) })
    }

    /// Changes nothing from now on: the gate ends, or another takes over. What is only read is
    /// still answered.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Changes again: the successor broke off.
    pub fn open(&self) {
        self.closing.store(false, Ordering::Release);
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

/// Every resource, in the order of the document.
pub fn resources() -> Vec<Routes> {
    vec![
        health::routes(),
        keys::routes(),
        validators::routes(),
        baseline::routes(),
        clients::routes(),
        evaluate::routes(),
        policy::routes(),
        grants::routes(),
        incidents::routes(),
        events::routes(),
        audit::routes(),
        openapi::routes(),
        quarantines::routes(),
        windows::routes(),
    ]
}

/// The whole API.
pub fn router(desk: &Arc<Desk>) -> Router {
    let mut router = Router::new();
    for route in resources().into_iter().flat_map(Routes::into_list) {
        router = router.route(route.path, guard::guarded(desk, route));
    }
    router
        .fallback(|| async { Problem::not_found("no such path; /openapi.json lists them") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .with_state(Arc::clone(desk))
}
