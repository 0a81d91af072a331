//! What went wrong, as problem+json (RFC 9457).

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::Noted;

/// Why a call was not done. Its `code` is stable; `detail` is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    field: Option<String>,
    subject: Option<String>,
}

impl Problem {
    fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, code, title, detail: detail.into(), field: None, subject: None }
    }

    /// What was sent cannot be read at all: 400.
    pub fn malformed(detail: impl Into<String>) -> Self {
        let title = "The request cannot be read";
        Self::new(StatusCode::BAD_REQUEST, "malformed", title, detail)
    }

    /// A value that cannot be: 422, with the name of its field.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        let title = "A value is wrong";
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", title, reason);
        Self { field: Some(field.into()), ..problem }
    }

    /// Nobody is known to call: 401.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        let title = "It is not known who calls";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", title, detail)
    }

    /// The caller may not: 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "The caller may not do this", detail)
    }

    /// There is no such thing: 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is no such thing", detail)
    }

    /// The path has no such method: 405.
    pub fn method_not_allowed() -> Self {
        let detail = "this path has other methods; /openapi.json lists them";
        let title = "The method is not served here";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", title, detail)
    }

    /// It contradicts how things are now: 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        let title = "It cannot be done as things are";
        Self::new(StatusCode::CONFLICT, "conflict", title, detail)
    }

    /// The body is larger than any for this path: 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        let title = "The body is too large";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", title, detail)
    }

    /// A fault of ours: 500. The detail says who must act.
    pub fn internal(detail: impl Into<String>) -> Self {
        let title = "The gate failed";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title, detail)
    }

    /// Not now: 503.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let title = "Not now";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title, detail)
    }

    /// It took too long: 504. It may still be done.
    pub fn timeout() -> Self {
        let detail = "the call took too long; whether it was done is in the audit log";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "It took too long", detail)
    }

    /// About what it was, for the audit log.
    #[must_use]
    pub fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is said for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The status that it is answered with.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("urn:portcullis:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Some(field) = &self.field {
            body["field"] = json!(field);
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let noted = Noted {
            subject: self.subject.clone(),
            details: Some(json!({ "code": self.code, "detail": self.detail })),
            ..Noted::default()
        };
        let mut response = (self.status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(noted);
        response
    }
}
