//! From an HTTP request to the path and back: the API of one core.

use std::rc::Rc;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST};

use super::Service;
use super::body::Bodies;
use super::dialect;
use super::respond::{self, Answer, Compat};
use crate::clients::{Client, Session};
use crate::clock::Stopwatch;
use crate::metrics::Stage;
use crate::sign::judge::Asker;
use crate::sign::{Arrival, Fault, NotSigned, Path};
use crate::trace::{Ids, RequestTrace, X_REQUEST_ID};
use crate::upstream::discovery::Discovery;
use crate::web3signer::response::{Check, Format, Health, up_or_down};
use crate::web3signer::route::{Route, route};

/// What differs from one installation to the next in the dialect.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// Served besides the bare paths: some clients keep a prefix of the base URL, others drop it.
    pub path_prefix: String,
    /// Names that `Host` may have; empty means any.
    pub hosts_allowed: Vec<String>,
    /// Web3Signer's own statuses where ours differ.
    pub compat: Compat,
}

/// Web3Signer's API, on one core.
pub struct Api {
    path: Path,
    bodies: Bodies,
    discovery: Arc<Discovery>,
    dialect: Arc<Dialect>,
    ids: Ids,
}

impl Api {
    /// The API over `path`.
    pub fn new(
        path: Path,
        bodies: Bodies,
        discovery: Arc<Discovery>,
        dialect: Arc<Dialect>,
    ) -> Self {
        Self { path, bodies, discovery, dialect, ids: Ids::default() }
    }

    async fn sign(
        &self,
        identifier: String,
        request: Request<Incoming>,
        client: Arc<Client>,
        session: &Session,
        trace: RequestTrace,
    ) -> Answer {
        let accept = request.headers().get_all(ACCEPT).iter();
        let format = Format::negotiate(accept.filter_map(|value| value.to_str().ok()));
        let asker = Asker { origin: session.origin(), head: dialect::hash(request.headers()) };
        let body = self.bodies.read(request.into_body());
        let peer = session.peer();
        let arrival = Arrival { client, peer, identifier, asker, trace, body };
        let result = self.path.sign(arrival).await;
        let respond = Stopwatch::start();
        let answer = respond::signing(&result, format, self.dialect.compat);
        self.path.gate().metrics.stage(Stage::Respond, respond.elapsed());
        answer
    }

    /// The enabled keys, whatever the signers say. A client takes a short list at its word and
    /// stops its validators: before there is anything to go by, there is no list.
    fn public_keys(&self) -> Answer {
        let validators = &self.path.gate().validators;
        if !self.discovery.signers().routing.all_read() && validators.counts().enrolled() == 0 {
            return respond::keys_unknown();
        }
        respond::public_keys(validators.published())
    }

    fn health(&self) -> Health {
        let gate = self.path.gate();
        let counts = gate.validators.counts();
        let signers = self.discovery.signers();
        let store = gate.store.fault(gate.clock.now().boot);
        Health::of(vec![
            Check { id: "default-check", status: up_or_down(true), data: None },
            Check {
                id: "keys-check",
                status: up_or_down(true),
                data: Some(serde_json::json!({
                    "keys-loaded": counts.enabled,
                    "keys-disabled": counts.disabled,
                    "keys-halted": counts.halted,
                    "keys-awaiting-enrolment": counts.awaiting,
                    "error-count": 0,
                })),
            },
            Check {
                id: "slashing-protection-db-health-check",
                status: up_or_down(store.is_none()),
                data: store.map(|reason| serde_json::json!({ "reason": reason.to_string() })),
            },
            Check {
                id: "upstream-check",
                status: up_or_down(signers.any_reachable()),
                data: Some(signers.health()),
            },
        ])
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        session: &Session,
        trace: RequestTrace,
    ) -> Answer {
        if !self.host_allowed(&request) {
            return respond::host_not_allowed();
        }
        let found =
            route(request.method().as_str(), request.uri().path(), &self.dialect.path_prefix);
        if let Ok(Route::Upcheck) = found {
            return respond::upcheck(); // for probes, which are nobody's
        }
        let authorization = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
        let client = match session.client(authorization) {
            Ok(client) => client,
            Err(reason) => return respond::not_identified(&reason),
        };
        match found {
            Ok(Route::Sign { identifier }) => {
                let identifier = identifier.to_owned();
                self.sign(identifier, request, client, session, trace).await
            }
            Ok(Route::PublicKeys) => self.public_keys(),
            Ok(Route::Upcheck) => respond::upcheck(),
            Ok(Route::Healthcheck) => respond::health(&self.health()),
            Ok(Route::Reload) if request.method() == hyper::Method::POST => {
                respond::reload(self.discovery.reload())
            }
            Ok(Route::Reload) => respond::reload_status(&self.discovery.reload_status()),
            Ok(Route::HighWatermark) => respond::high_watermark(),
            Ok(Route::Refused { reason }) => respond::not_offered(reason),
            Err(no_route) => respond::no_route(no_route),
        }
    }

    fn host_allowed(&self, request: &Request<Incoming>) -> bool {
        let allowed = &self.dialect.hosts_allowed;
        let host = || request.headers().get(HOST)?.to_str().ok().map(host_name);
        allowed.is_empty()
            || host().is_some_and(|host| allowed.iter().any(|name| name.eq_ignore_ascii_case(host)))
    }
}

impl Service for Api {
    async fn call(self: Rc<Self>, request: Request<Incoming>, session: Rc<Session>) -> Answer {
        let gate = self.path.gate();
        let trace = RequestTrace::begin(request.headers(), &self.ids, &gate.tracer, &gate.clock);
        let request_id = trace.request_id.header();
        let mut answer = self.answer(request, &session, trace).await;
        answer.headers_mut().insert(X_REQUEST_ID, request_id);
        answer
    }

    fn on_panic(&self) -> Answer {
        let result = Err(NotSigned::Failed(Fault::Bug("a request panicked")));
        respond::signing(&result, Format::Json, self.dialect.compat)
    }
}

/// The name in a `Host` header, without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}
