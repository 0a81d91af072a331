//! What a call is answered with, and what of it is written down.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::problem::Problem;

/// What of a call goes into its audit record, beside who, which call and which status.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Noted {
    /// To what: a key, a client, the name of a window. The path, if nothing is said.
    pub(super) subject: Option<String>,
    /// Why, in the caller's words.
    pub(super) reason: Option<String>,
    /// What it was given and what came of it.
    pub(super) details: Option<Value>,
    /// What it was done to, where that is much: records of their own.
    pub(super) list: Vec<String>,
}

/// A call that was done.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    noted: Noted,
}

impl Answer {
    /// 200, with a value as JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON: a fault of ours.
    pub fn of(value: &impl Serialize) -> Result<Self, Problem> {
        Self::with_status(StatusCode::OK, value)
    }

    /// 202, with a value as JSON: asked for, and not done yet.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn accepted(value: &impl Serialize) -> Result<Self, Problem> {
        Self::with_status(StatusCode::ACCEPTED, value)
    }

    fn with_status(status: StatusCode, value: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value)
            .map_err(|error| Problem::internal(format!("an answer is not JSON: {error}")))?;
        let mut answer = Self::raw("application/json", body);
        *answer.response.status_mut() = status;
        Ok(answer)
    }

    /// 200, with a body of another kind; it may be a stream.
    pub fn raw(content_type: &'static str, body: impl Into<Body>) -> Self {
        let mut response = Response::new(body.into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { response, noted: Noted::default() }
    }

    /// To what it was done, for the audit log.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.noted.subject = Some(subject.into());
        self
    }

    /// Why it was done, in the caller's words.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.noted.reason = Some(reason.into());
        self
    }

    /// What it was given and what came of it, for the audit log.
    #[must_use]
    pub fn noting(mut self, details: Value) -> Self {
        self.noted.details = Some(details);
        self
    }

    /// All that it was done to, for the audit log: it gets records of its own.
    #[must_use]
    pub fn listing(mut self, list: Vec<String>) -> Self {
        self.noted.list = list;
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(mut self) -> Response {
        self.response.extensions_mut().insert(self.noted);
        self.response
    }
}
