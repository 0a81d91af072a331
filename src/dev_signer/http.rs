//! The HTTP interface: Web3Signer's routes, content negotiation and error bodies, and
//! `/dev/faults`.

#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Service;
use super::faults::{FaultPlan, FaultSpec};
use super::hex::Hex;
use super::reload::ReloadStatus;
use super::sign::{Outcome, sign};

/// Web3Signer's default idle timeout; it also bounds how long a request's head may take.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The default of the server under Web3Signer.
const BODY_BYTES_MAX: usize = 10 << 20;

const SIGN_PATH: &str = "/api/v1/eth2/sign/";
const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

type Reply = Response<Full<Bytes>>;

/// The fault `hang-up`: hyper closes the connection when a handler fails.
#[derive(Debug, thiserror::Error)]
#[error("hanging up on purpose")]
struct HangUp;

/// Serves one connection until it closes or idles out.
pub(super) async fn serve(
    service: Arc<Service>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: SocketAddr,
) {
    let handler = service_fn(|request| handle(Arc::clone(&service), peer, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), handler);
    if let Err(error) = connection.await {
        tracing::debug!(%peer, %error, source = error.source(), "connection ended");
    }
}

async fn handle(
    service: Arc<Service>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Reply, HangUp> {
    // Some clients join a base URL that ends in a slash with an absolute path.
    let path = format!("/{}", request.uri().path().trim_start_matches('/'));
    if let Some(identifier) = path.strip_prefix(SIGN_PATH).filter(|id| !id.contains('/')) {
        return match *request.method() {
            Method::POST => reply_to_sign(&service, identifier, request).await,
            _ => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
        };
    }
    let (method, headers) = (request.method(), request.headers());
    Ok(match (path.as_str(), method) {
        ("/api/v1/eth2/publicKeys", &Method::GET) => public_keys(&service, headers),
        ("/upcheck", &Method::GET) => upcheck(headers),
        ("/healthcheck", &Method::GET) => healthcheck(&service),
        ("/reload", &Method::GET) => reload_status(&service),
        ("/reload", &Method::POST) => reload(service),
        ("/dev/faults", &Method::GET) => faults(&service),
        ("/dev/faults", &Method::POST) => set_faults(&service, peer, request).await,
        (
            "/api/v1/eth2/publicKeys" | "/upcheck" | "/healthcheck" | "/reload" | "/dev/faults",
            _,
        ) => empty(StatusCode::METHOD_NOT_ALLOWED),
        _ => reply(
            StatusCode::NOT_FOUND,
            Some("text/html; charset=utf-8"),
            "<html><body><h1>Resource not found</h1></body></html>",
        ),
    })
}

async fn reply_to_sign(
    service: &Service,
    identifier: &str,
    request: Request<Incoming>,
) -> Result<Reply, HangUp> {
    let json = wants_json(request.headers());
    let body = match read_body(request).await {
        Ok(body) => body,
        Err(status) => return Ok(reason_phrase(status)),
    };
    match sign(service, identifier, &body).await {
        Outcome::Signature(signature) if json => {
            let body = format!("{{\"signature\":\"{}\"}}", Hex(signature));
            Ok(reply(StatusCode::OK, Some(JSON), body))
        }
        Outcome::Signature(signature) => {
            Ok(reply(StatusCode::OK, Some(TEXT), Hex(signature).to_string()))
        }
        Outcome::BadRequest => Ok(reason_phrase(StatusCode::BAD_REQUEST)),
        Outcome::UnknownKey => Ok(reason_phrase(StatusCode::NOT_FOUND)),
        Outcome::Refused => Ok(reason_phrase(StatusCode::PRECONDITION_FAILED)),
        Outcome::Failed => Ok(reason_phrase(StatusCode::INTERNAL_SERVER_ERROR)),
        Outcome::HangUp => Err(HangUp),
    }
}

/// Web3Signer's rule: JSON when any entry of `Accept` is `application/json` or `*/*`, whatever its
/// weight; text otherwise, and without the header.
fn wants_json(headers: &HeaderMap) -> bool {
    accepts(headers, &["application/json", "*/*"])
}

fn accepts(headers: &HeaderMap, media_types: &[&str]) -> bool {
    let values = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|entry| {
        let media_type = entry.split(';').next().unwrap_or_default().trim();
        media_types.iter().any(|known| known.eq_ignore_ascii_case(media_type))
    })
}

fn public_keys(service: &Service, headers: &HeaderMap) -> Reply {
    let anything = !headers.contains_key(ACCEPT);
    if !anything && !accepts(headers, &["application/json", "application/*", "*/*"]) {
        return empty(StatusCode::NOT_ACCEPTABLE);
    }
    let keys = service.keys.load();
    let public_keys: Vec<Hex<48>> = keys.keys().iter().map(|key| key.public_key).collect();
    reply_json(StatusCode::OK, &public_keys)
}

/// Web3Signer answers 406 to a client that takes only JSON, so this does too.
fn upcheck(headers: &HeaderMap) -> Reply {
    let anything = !headers.contains_key(ACCEPT);
    if !anything && !accepts(headers, &["text/plain", "text/*", "*/*"]) {
        return empty(StatusCode::NOT_ACCEPTABLE);
    }
    reply(StatusCode::OK, Some(TEXT), "OK")
}

fn healthcheck(service: &Service) -> Reply {
    let failed = matches!(*service.reload.lock(), ReloadStatus::Failed { .. });
    let (status, word) = match failed {
        false => (StatusCode::OK, "UP"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "DOWN"),
    };
    let keys_loaded = service.keys.load().keys().len();
    let data = json!({"keys-loaded": keys_loaded, "error-count": u8::from(failed)});
    let loading = json!({"id": "config-files-loading", "status": word, "data": data});
    let checks = json!([
        {"id": "default-check", "status": "UP"},
        {"id": "keys-check", "status": word, "checks": [loading]},
    ]);
    reply_json(status, &json!({"status": word, "checks": checks, "outcome": word}))
}

fn reload_status(service: &Service) -> Reply {
    let body = match &*service.reload.lock() {
        ReloadStatus::Failed { error } => json!({"status": "failed", "lastError": error}),
        status => json!({"status": status.name()}),
    };
    reply_json(StatusCode::OK, &body)
}

fn reload(service: Arc<Service>) -> Reply {
    if super::reload::start(service) {
        let message = "Reload operation accepted and is running in the background. \
                       Use GET /reload to check status.";
        reply_json(StatusCode::ACCEPTED, &json!({"status": "accepted", "message": message}))
    } else {
        let message = "A reload operation is already in progress. Please try again later.";
        reply_json(StatusCode::CONFLICT, &json!({"status": "error", "message": message}))
    }
}

/// The body of `POST /dev/faults`: the faults that replace those in force.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFaults {
    faults: Vec<String>,
    seed: Option<u64>,
}

fn faults(service: &Service) -> Reply {
    let plan = service.faults.lock();
    let faults: Vec<Value> = plan
        .struck()
        .map(|(spec, struck)| json!({"fault": spec.to_string(), "struck": struck}))
        .collect();
    let body = json!({"faults": faults, "seed": plan.seed(), "requests": plan.requests()});
    drop(plan);
    reply_json(StatusCode::OK, &body)
}

async fn set_faults(service: &Service, peer: SocketAddr, request: Request<Incoming>) -> Reply {
    if !peer.ip().to_canonical().is_loopback() {
        let error = "faults are changed from this machine alone";
        return reply_json(StatusCode::FORBIDDEN, &json!({"error": error}));
    }
    let body = match read_body(request).await {
        Ok(body) => body,
        Err(status) => return reason_phrase(status),
    };
    match parse_faults(&body) {
        Ok((specs, seed)) => {
            let mut plan = service.faults.lock();
            let seed = seed.unwrap_or(plan.seed());
            *plan = FaultPlan::new(specs, seed);
        }
        Err(error) => return reply_json(StatusCode::BAD_REQUEST, &json!({"error": error})),
    }
    faults(service)
}

fn parse_faults(body: &[u8]) -> Result<(Vec<FaultSpec>, Option<u64>), String> {
    let body: SetFaults = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let specs: Result<_, _> = body.faults.iter().map(|fault| fault.parse()).collect();
    Ok((specs.map_err(|error: super::faults::FaultSpecError| error.to_string())?, body.seed))
}

async fn read_body(request: Request<Incoming>) -> Result<Bytes, StatusCode> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    body.map(|body| body.to_bytes()).map_err(|error| {
        match error.is::<http_body_util::LengthLimitError>() {
            true => StatusCode::PAYLOAD_TOO_LARGE,
            false => StatusCode::BAD_REQUEST,
        }
    })
}

/// An error as Web3Signer answers it: the bare reason phrase, and no `Content-Type`.
fn reason_phrase(status: StatusCode) -> Reply {
    reply(status, None, status.canonical_reason().unwrap_or_default())
}

fn empty(status: StatusCode) -> Reply {
    reply(status, None, "")
}

fn reply_json(status: StatusCode, body: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(body).expect("string keys and no failing serializer");
    reply(status, Some(JSON), body)
}

/// hyper adds `Content-Length`, because the length of the body is known.
fn reply(status: StatusCode, content_type: Option<&'static str>, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    if let Some(content_type) = content_type {
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    reply
}
