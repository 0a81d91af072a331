//! What a resource is made of. From these come the router, the table of roles and the OpenAPI
//! document: a route cannot be served without its role, nor without being documented.

use std::sync::Arc;
use std::time::Duration;

use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, post};
use serde_json::Value;

use super::Desk;
use super::auth::Role;

/// What is asked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// To be told: changes nothing.
    Get,
    /// To do something.
    Post,
    /// To end something.
    Delete,
}

impl Method {
    /// As HTTP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// One route.
pub struct Route {
    /// What is asked of the path.
    pub method: Method,
    /// The path, as axum and OpenAPI write it: `/v1/keys/{key}`.
    pub path: &'static str,
    /// The least role that may call it.
    pub role: Role,
    /// Its stable name, `keys.disable`: the action in the audit log, and `operationId`.
    pub name: &'static str,
    /// Its OpenAPI operation: `summary`, `parameters`, `requestBody`, `responses`.
    pub document: Value,
    /// The largest body that it reads.
    pub body_bytes_max: usize,
    /// How long it may take.
    pub deadline: Duration,
    /// Whether it changes something: by default what is no GET.
    pub changes: bool,
    pub(super) handler: MethodRouter<Arc<Desk>>,
}

/// The routes of one resource.
pub struct Routes {
    /// Its name, `keys`.
    pub tag: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The shapes that its operations refer to, `#/components/schemas/...`.
    pub schemas: Value,
    list: Vec<Route>,
}

impl Routes {
    /// A resource without routes.
    pub fn new(tag: &'static str, about: &'static str) -> Self {
        Self { tag, about, schemas: Value::Null, list: Vec::new() }
    }

    /// With the shapes that its operations refer to: an object of them by name.
    #[must_use]
    pub fn with_schemas(self, schemas: Value) -> Self {
        Self { schemas, ..self }
    }

    /// Adds a GET.
    #[must_use]
    pub fn get<H, T>(
        self,
        path: &'static str,
        role: Role,
        name: &'static str,
        document: Value,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Desk>>,
        T: 'static,
    {
        self.add(Method::Get, path, role, name, document, get(handler))
    }

    /// Adds a POST.
    #[must_use]
    pub fn post<H, T>(
        self,
        path: &'static str,
        role: Role,
        name: &'static str,
        document: Value,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Desk>>,
        T: 'static,
    {
        self.add(Method::Post, path, role, name, document, post(handler))
    }

    /// Adds a DELETE.
    #[must_use]
    pub fn delete<H, T>(
        self,
        path: &'static str,
        role: Role,
        name: &'static str,
        document: Value,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Desk>>,
        T: 'static,
    {
        self.add(Method::Delete, path, role, name, document, delete(handler))
    }

    fn add(
        mut self,
        method: Method,
        path: &'static str,
        role: Role,
        name: &'static str,
        document: Value,
        handler: MethodRouter<Arc<Desk>>,
    ) -> Self {
        self.list.push(Route {
            method,
            path,
            role,
            name,
            document,
            body_bytes_max: BODY_BYTES_MAX,
            deadline: DEADLINE,
            changes: method != Method::Get,
            handler,
        });
        self
    }

    /// The route added last only looks, though it has a body.
    #[must_use]
    pub fn changing_nothing(mut self) -> Self {
        if let Some(route) = self.list.last_mut() {
            route.changes = false;
        }
        self
    }

    /// The route added last may have a body of this size.
    #[must_use]
    pub fn with_body_up_to(mut self, bytes: usize) -> Self {
        if let Some(route) = self.list.last_mut() {
            route.body_bytes_max = bytes;
        }
        self
    }

    /// The route added last may take this long: imports, streams, long polls.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        if let Some(route) = self.list.last_mut() {
            route.deadline = deadline;
        }
        self
    }

    /// Its routes.
    pub fn list(&self) -> &[Route] {
        &self.list
    }

    pub(super) fn into_list(self) -> Vec<Route> {
        self.list
    }
}

/// Ten thousand keys by name have a megabyte.
const BODY_BYTES_MAX: usize = 2 << 20;
const DEADLINE: Duration = Duration::from_secs(30);
