//! The bodies that clients of Web3Signer expect.

use std::fmt::Write;

use serde::Serialize;

use crate::eth::Signature;

#[cfg(test)]
mod tests;

/// The content types of the API, as Web3Signer writes them.
pub const JSON: &str = "application/json; charset=utf-8";
/// See [`JSON`].
pub const TEXT: &str = "text/plain; charset=utf-8";

/// `{"signature":"0x.."}` with 96 bytes in it.
const SIGNATURE_JSON_BYTES: usize = 210;

/// Which of the two answer formats a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"signature":"0x.."}`.
    Json,
    /// The bare `0x..`, without a newline: clients take it verbatim.
    Text,
}

impl Format {
    /// Web3Signer's rule (`getAcceptableContentType`): JSON if any entry of `Accept` is
    /// `application/json` or `*/*`, weights ignored; otherwise, and without the header, text.
    pub fn negotiate<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let json = accept
            .flat_map(|value| value.split(','))
            .map(|entry| entry.split(';').next().unwrap_or_default().trim())
            .any(|entry| entry.eq_ignore_ascii_case("application/json") || entry == "*/*");
        if json { Self::Json } else { Self::Text }
    }

    /// The content type of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Text => TEXT,
        }
    }

    /// The body of an answer with a signature.
    pub fn signature(self, signature: &Signature) -> String {
        match self {
            Self::Json => {
                let mut json = String::with_capacity(SIGNATURE_JSON_BYTES);
                write!(json, r#"{{"signature":"{signature}"}}"#).expect("a string takes all");
                json
            }
            Self::Text => signature.to_string(),
        }
    }
}

/// The body of every answer without a signature. It never has a field `signature`: one client takes
/// that field from any answer, whatever its status.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    /// What was wrong and where, in words.
    pub error: &'a str,
    /// The stable code.
    pub code: &'a str,
}

/// The body of `GET /healthcheck`. Vero polls it and needs `status` and `outcome` to be `"UP"`.
#[derive(Debug, Serialize)]
pub struct Health {
    /// `UP`, or `DOWN` when nothing at all can be signed.
    pub status: &'static str,
    /// The parts.
    pub checks: Vec<Check>,
    /// The same as `status`.
    pub outcome: &'static str,
}

/// One part of the health.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Its name; Web3Signer's own where the meaning is the same.
    pub id: &'static str,
    /// `UP` or `DOWN`.
    pub status: &'static str,
    /// Figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

impl Health {
    /// The health of `checks`: `DOWN` if any is.
    pub fn of(checks: Vec<Check>) -> Self {
        let status = up_or_down(checks.iter().all(|check| check.status == UP));
        Self { status, checks, outcome: status }
    }

    /// Whether anything can be signed.
    pub fn is_up(&self) -> bool {
        self.status == UP
    }
}

/// The word for a state.
pub fn up_or_down(up: bool) -> &'static str {
    if up { UP } else { DOWN }
}

const UP: &str = "UP";
const DOWN: &str = "DOWN";

/// The body of `GET /reload`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReloadStatus {
    /// `idle`, `running`, `completed` or `failed`.
    pub status: &'static str,
    /// When the last one ended, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operation_time: Option<String>,
    /// Why the last one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// `POST /reload` that was accepted (202).
pub const RELOAD_ACCEPTED: &str = r#"{"status":"accepted","message":"Reload operation accepted and is running in the background. Use GET /reload to check status."}"#;
/// `POST /reload` while one runs (409).
pub const RELOAD_RUNNING: &str = r#"{"status":"error","message":"A reload operation is already in progress. Please try again later."}"#;
/// `GET /api/v1/eth2/highWatermark`: the gate has no global high watermark.
pub const NO_HIGH_WATERMARK: &str = "{}";
