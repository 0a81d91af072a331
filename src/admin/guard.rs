//! The way of every call: who calls, whether they may, a deadline, and a line in the audit log.
//!
//! A call that does something has two records there. `admin.quarantines.impose` is the call: who
//! asked, when, and how it was answered, also where it was refused. `quarantine.imposed` is the
//! act: it is there just as well when a playbook did it or time ended it, has what is needed to
//! undo it, and is what timelines and incidents point at. So with windows and incidents. What is
//! done to keys has the record of the call alone, with a list of the keys.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::{Value, json};

use super::Desk;
use super::answer::Noted;
use super::auth::{ByCertificate, Caller, NotKnown, Role};
use super::problem::Problem;
use super::routes::Route;
use crate::audit::{ActionRecord, Actor};

/// Where a call came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What of a route its guard needs.
#[derive(Clone, Copy)]
struct Terms {
    name: &'static str,
    role: Role,
    deadline: std::time::Duration,
    changes: bool,
}

/// The handler of a route behind its guard.
pub(super) fn guarded(desk: &Arc<Desk>, route: Route) -> MethodRouter<Arc<Desk>> {
    let Route { name, role, deadline, changes, body_bytes_max, handler, .. } = route;
    let terms = Terms { name, role, deadline, changes };
    let desk = Arc::clone(desk);
    let guard = from_fn(move |request: Request, next: Next| {
        let desk = Arc::clone(&desk);
        async move {
            // A task of its own: who hangs up neither stops what was begun nor escapes the log.
            let task = tokio::spawn(call(desk, terms, request, next));
            task.await.unwrap_or_else(|error| {
                tracing::error!(event = "admin_call_failed", call = name, %error, "a call failed");
                Problem::internal("a fault of the program; please report it").into_response()
            })
        }
    });
    handler.route_layer(DefaultBodyLimit::max(body_bytes_max)).route_layer(guard)
}

async fn call(desk: Arc<Desk>, terms: Terms, mut request: Request, next: Next) -> Response {
    let certificate = request.extensions().get::<ByCertificate>();
    let caller = match desk.access.caller(request.headers(), certificate) {
        Ok(caller) => caller,
        Err(reason) => return nobody(&desk, terms, &request, reason),
    };
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(caller.clone());
    let result = match may(&desk, terms, &caller) {
        Err(problem) => problem.into_response(),
        Ok(()) => match tokio::time::timeout(terms.deadline, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::timeout().into_response(),
        },
    };
    write_down(&desk, terms, caller, path, result).await
}

fn may(desk: &Desk, terms: Terms, caller: &Caller) -> Result<(), Problem> {
    if caller.role < terms.role {
        return Err(Problem::forbidden(format!(
            "this needs the role {}; {} is {}",
            terms.role.as_str(),
            caller.name,
            caller.role.as_str()
        )));
    }
    if !terms.changes {
        return Ok(());
    }
    if desk.is_closing() {
        return Err(Problem::unavailable("the gate ends, or another takes over; try again soon"));
    }
    // What could not be written down is not done.
    let place = desk.gate.response.audit.reserve();
    place.map(drop).map_err(|full| Problem::unavailable(full.to_string()))
}

/// Strangers are logged, a few a second, and not written to the audit log: they could fill it.
fn nobody(desk: &Desk, terms: Terms, request: &Request, reason: NotKnown) -> Response {
    if let Some(unsaid) = desk.access.may_log(reason.code()) {
        tracing::warn!(
            event = "admin_caller_unknown",
            code = reason.code(),
            call = terms.name,
            peer = request.extensions().get::<Peer>().map(|peer| tracing::field::display(peer.0)),
            unsaid,
            "refused a call to the admin API: {reason}"
        );
    }
    Problem::unauthorized(reason.to_string()).into_response()
}

async fn write_down(
    desk: &Arc<Desk>,
    terms: Terms,
    caller: Caller,
    path: String,
    mut response: Response,
) -> Response {
    let Noted { subject, reason, details, list } =
        response.extensions_mut().remove::<Noted>().unwrap_or_default();
    let status = response.status().as_u16();
    if terms.changes {
        tracing::info!(
            event = "admin_call",
            call = terms.name,
            caller = caller.name,
            status,
            subject = subject.as_deref().unwrap_or(&path),
            "a call to the admin API"
        );
    }
    let mut all = json!({ "status": status });
    if let Some(details) = details {
        match details {
            Value::Object(fields) => {
                for (name, value) in fields {
                    all[name] = value;
                }
            }
            other => all["details"] = other,
        }
    }
    let record = ActionRecord {
        at_unix_ms: desk.access.now_unix_ms(),
        actor: Actor::Person(caller.name),
        action: format!("admin.{}", terms.name),
        subject: subject.unwrap_or(path),
        reason: reason.unwrap_or_default(),
        details: all.to_string(),
    };
    let audit = desk.gate.response.audit.clone();
    let written = tokio::task::spawn_blocking(move || {
        for part in list.chunks(LISTED_MAX) {
            let details = json!({ "list": part }).to_string();
            audit.act(ActionRecord { details, ..record.clone() });
        }
        audit.act(record)
    });
    let written = written.await;
    match written {
        Ok(_) => response,
        Err(error) => {
            tracing::error!(event = "admin_call_not_audited", %error, "a call was not written down");
            Problem::internal("it was done, and could not be written down").into_response()
        }
    }
}

/// Keys in one record of the audit log.
const LISTED_MAX: usize = 100;
