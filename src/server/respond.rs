//! The only table of HTTP statuses of the signing side.
//!
//! Contract: Web3Signer's own statuses, with deliberate differences. A mismatch or a missing object
//! is 400 with a reason instead of 500 (some clients retry a 500, and this request is hopeless);
//! every refusal is 412, the only refusal that all clients know; trouble of ours or of the signer's
//! is 500, because the one client that retries does not retry a 503.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use crate::clients::NotIdentified;
use crate::eth::RootError;
use crate::server::body::BodyError;
use crate::sign::{NotSigned, Rejection, Signed};
use crate::upstream::discovery::ReloadRefused;
use crate::web3signer::request::RequestError;
use crate::web3signer::response::{
    ErrorBody, Format, Health, JSON, NO_HIGH_WATERMARK, RELOAD_ACCEPTED, RELOAD_RUNNING,
    ReloadStatus, TEXT,
};
use crate::web3signer::route::NoRoute;

#[cfg(test)]
mod tests;

/// An answer, whole.
pub type Answer = Response<Full<Bytes>>;

/// Whether hopeless requests are answered as Web3Signer answers them, with 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compat {
    /// `web3signer.compat_mismatch_500` of the configuration.
    pub mismatch_500: bool,
}

/// The answer to a signing request.
pub fn signing(result: &Result<Signed, NotSigned>, format: Format, compat: Compat) -> Answer {
    match result {
        Ok(signed) => answer(
            StatusCode::OK,
            Some(format.content_type()),
            format.signature(&signed.signature).into(),
        ),
        Err(not_signed) => {
            error(status(not_signed, compat), &not_signed.to_string(), not_signed.code())
        }
    }
}

fn status(not_signed: &NotSigned, compat: Compat) -> StatusCode {
    let rejection = match not_signed {
        NotSigned::Refused(_) => return StatusCode::PRECONDITION_FAILED,
        NotSigned::Failed(_) => return StatusCode::INTERNAL_SERVER_ERROR,
        NotSigned::Rejected(rejection) => rejection,
    };
    match rejection {
        Rejection::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        Rejection::Body(BodyError::Timeout) => StatusCode::REQUEST_TIMEOUT,
        Rejection::Body(BodyError::Incomplete | BodyError::BudgetExhausted) => {
            StatusCode::BAD_REQUEST
        }
        Rejection::UnknownKey | Rejection::AwaitingEnrolment | Rejection::BadIdentifier => {
            StatusCode::NOT_FOUND
        }
        Rejection::Malformed(RequestError::Missing { field })
            if *field == "type" || field.starts_with("beacon_block.") =>
        {
            StatusCode::BAD_REQUEST // Web3Signer's too
        }
        Rejection::Root(RootError::Mismatch { .. })
        | Rejection::Malformed(
            RequestError::Missing { .. }
            | RequestError::MissingObject { .. }
            | RequestError::MissingForkInfo { .. },
        ) if compat.mismatch_500 => StatusCode::INTERNAL_SERVER_ERROR,
        Rejection::Malformed(_)
        | Rejection::Root(_)
        | Rejection::ForeignNetwork { .. }
        | Rejection::ForkVersion { .. }
        | Rejection::TargetNotOfSlot { .. }
        | Rejection::FutureDuty { .. }
        | Rejection::PastDuty { .. }
        | Rejection::SourceExceedsTarget { .. }
        | Rejection::CommitteeIndex { .. } => StatusCode::BAD_REQUEST,
    }
}

/// The list of keys.
pub fn public_keys(body: Bytes) -> Answer {
    answer(StatusCode::OK, Some(JSON), body)
}

/// The list of keys, while it is not known: no key is enrolled, and not all signers have said which
/// keys they have.
pub fn keys_unknown() -> Answer {
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "no key is enrolled, and not every signer has been asked yet which keys it has",
        "keys_unknown",
    )
}

/// `GET /upcheck`: `OK` whatever the client accepts; some ask for JSON and would get a 406.
pub fn upcheck() -> Answer {
    answer(StatusCode::OK, Some(TEXT), Bytes::from_static(b"OK"))
}

/// `GET /healthcheck`.
pub fn health(health: &Health) -> Answer {
    let status = if health.is_up() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, health)
}

/// `GET /reload`.
pub fn reload_status(status: &ReloadStatus) -> Answer {
    json(StatusCode::OK, status)
}

/// `POST /reload`.
pub fn reload(result: Result<(), ReloadRefused>) -> Answer {
    let (status, body) = match result {
        Ok(()) => (StatusCode::ACCEPTED, RELOAD_ACCEPTED),
        Err(ReloadRefused) => (StatusCode::CONFLICT, RELOAD_RUNNING),
    };
    answer(status, Some(JSON), Bytes::from_static(body.as_bytes()))
}

/// `GET /api/v1/eth2/highWatermark`.
pub fn high_watermark() -> Answer {
    answer(StatusCode::OK, Some(JSON), Bytes::from_static(NO_HIGH_WATERMARK.as_bytes()))
}

/// An endpoint of Web3Signer's that the gate does not offer.
pub fn not_offered(reason: &str) -> Answer {
    error(StatusCode::FORBIDDEN, reason, "not_offered")
}

/// A request line without an endpoint.
pub fn no_route(no_route: NoRoute) -> Answer {
    match no_route {
        NoRoute::NotFound => error(
            StatusCode::NOT_FOUND,
            "no such endpoint; see the README for those that exist",
            "no_route",
        ),
        NoRoute::MethodNotAllowed { allow } => {
            let reason = format!("this endpoint is for {allow} only");
            let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, &reason, "method_not_allowed");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            answer
        }
    }
}

/// A request that belongs to no client.
pub fn not_identified(reason: &NotIdentified) -> Answer {
    let status = match reason {
        NotIdentified::Nobody { ask_password: true } | NotIdentified::WrongPassword => {
            StatusCode::UNAUTHORIZED
        }
        NotIdentified::Nobody { ask_password: false }
        | NotIdentified::Contradiction(..)
        | NotIdentified::ForeignAddress { .. }
        | NotIdentified::CertificateWithdrawn => StatusCode::FORBIDDEN,
    };
    let mut answer = error(status, &reason.to_string(), reason.code());
    if status == StatusCode::UNAUTHORIZED {
        let realm = HeaderValue::from_static("Basic realm=\"portcullis\", charset=\"UTF-8\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
    }
    if *reason == NotIdentified::CertificateWithdrawn {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// A `Host` header that the configuration does not list. Web3Signer's own words.
pub fn host_not_allowed() -> Answer {
    let body = br#"{"message":"Host not authorized.","code":"host_not_allowed"}"#;
    answer(StatusCode::FORBIDDEN, Some(JSON), Bytes::from_static(body))
}

fn error(status: StatusCode, error: &str, code: &str) -> Answer {
    json(status, &ErrorBody { error, code })
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("these bodies always serialise");
    answer(status, Some(JSON), body.into())
}

fn answer(status: StatusCode, content_type: Option<&'static str>, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    if let Some(content_type) = content_type {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    answer
}
