//! One HTTP request to the outside, with a time limit, and what its answer means.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;

use super::book::Outcome;
use crate::tls::{self, TlsFileError};

#[cfg(test)]
mod tests;

/// An answer of a sink is a few bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What is told of an answer.
const ANSWER_CHARS_MAX: usize = 200;
const IDLE: Duration = Duration::from_secs(60);
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION")));

/// Why HTTPS to a sink cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The file of authorities.
    #[error(transparent)]
    Authorities(#[from] TlsFileError),
    /// The cryptography lacks what TLS needs.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// Sends requests over connections that are kept.
#[derive(Clone, Debug)]
pub(super) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

/// A request to be sent.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) method: Method,
    pub(super) url: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// An answer, as far as it counts.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

impl Poster {
    /// Trusts the authorities in `ca_file`, or those of the system.
    pub(super) fn new(ca_file: Option<&PathBuf>, timeout: Duration) -> Result<Self, PostError> {
        let roots = match ca_file {
            Some(file) => tls::load_roots(file)?,
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots // where there are none, https fails and says so
            }
        };
        let config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector.build());
        Ok(Self { client, timeout })
    }

    /// Sends, and reads the whole answer; `Err` says what went wrong, without the URL.
    pub(super) async fn send(&self, message: Message) -> Result<Answer, String> {
        let mut request = Request::new(Full::new(Bytes::from(message.body)));
        *request.method_mut() = message.method;
        *request.uri_mut() = message.url;
        *request.headers_mut() = message.headers;
        request.headers_mut().insert(USER_AGENT, AGENT);
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| causes(&error))?;
            let status = answer.status().as_u16();
            let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| {
                Some(Duration::from_secs(value.to_str().ok()?.trim().parse().ok()?))
            });
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| format!("the answer cannot be read: {error}"))?;
            Ok(Answer { status, retry_after, body: body.to_bytes() })
        };
        let timeout = tokio::time::timeout(self.timeout, exchange).await;
        timeout.unwrap_or_else(|_| Err(format!("no answer within {} ms", self.timeout.as_millis())))
    }
}

/// What an answer means. 429 and 5xx pass; any other status of the client's fault, and a redirect,
/// do not.
pub(super) fn outcome(
    answer: Result<Answer, String>,
    is_taken: fn(&[u8]) -> bool,
    secrets: &[String],
) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(reason) => return Outcome::Failed { reason, retry_after: None },
    };
    let said = || format!("{} {}", answer.status, excerpt(&answer.body, secrets));
    match answer.status {
        200..=299 if is_taken(&answer.body) => Outcome::Accepted,
        200..=299 => {
            let reason = format!("not the answer of such a sink: {}", said());
            Outcome::Failed { reason, retry_after: None }
        }
        300..=428 | 430..=499 => Outcome::Refused(said()),
        _ => Outcome::Failed { reason: said(), retry_after: answer.retry_after },
    }
}

/// The beginning of an answer, fit for a log line: without secrets that it may repeat.
fn excerpt(body: &[u8], secrets: &[String]) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), "***");
    }
    let plain = |char: char| if char.is_control() { ' ' } else { char };
    text.trim().chars().map(plain).take(ANSWER_CHARS_MAX).collect()
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
