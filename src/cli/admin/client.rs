//! One call of the admin API.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::At;
use crate::config::UpstreamTls;
use crate::tls::{self, IdentityFiles};
use crate::upstream::tls::client_config;

type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Who asks which gate.
pub(super) struct Client {
    url: String,
    token: Option<HeaderValue>,
    http: Http,
    runtime: tokio::runtime::Runtime,
    /// Whether the answer is wanted as JSON.
    pub(super) json: bool,
}

/// What was answered.
pub(super) struct Reply {
    /// 200, or 202 for what is asked for and not done yet.
    pub(super) status: u16,
    /// The body as it came.
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn new(at: &At) -> anyhow::Result<Self> {
        let token = at.token_file.as_ref().map(|file| -> anyhow::Result<HeaderValue> {
            let token = tls::load_password(file)?;
            let header = HeaderValue::try_from(format!("Bearer {}", token.as_str().trim()));
            let mut header =
                header.with_context(|| format!("{} holds no token", file.display()))?;
            header.set_sensitive(true);
            Ok(header)
        });
        let identity = at.certificate_file.clone().zip(at.key_file.clone());
        let files = UpstreamTls {
            ca_file: at.ca_file.clone(),
            identity: identity.map(|(certificate, key)| IdentityFiles::Pem { certificate, key }),
        };
        let config = match at.url.starts_with("https://") {
            true => client_config(&files)?,
            false => rustls::ClientConfig::builder_with_provider(tls::provider())
                .with_safe_default_protocol_versions()?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth(),
        };
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_connect_timeout(Some(CONNECT));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        Ok(Self {
            url: at.url.trim_end_matches('/').to_owned(),
            token: token.transpose()?,
            http: hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .build(connector),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            json: at.json,
        })
    }

    /// Asks, with a JSON body if there is one.
    ///
    /// # Errors
    /// When there is no gate, or it says no: in its words.
    pub(super) fn call(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Reply> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(method, path, "application/json", body.into())
    }

    /// Asks for a stream, and gives each of its lines to `each` as it comes.
    ///
    /// # Errors
    /// When there is no gate, it says no, or the stream breaks off.
    pub(super) fn lines(
        &self,
        path: &str,
        after: Option<&str>,
        mut each: impl FnMut(&str) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut request = Request::builder().uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let request = request.body(Full::default()).context("--url or --after is not one")?;
        self.runtime.block_on(async {
            let response = self.http.request(request).await;
            let response =
                response.with_context(|| format!("no admin API answers at {}", self.url))?;
            let status = response.status();
            let (mut body, mut begun) = (response.into_body(), Vec::new());
            while let Some(frame) = body.frame().await {
                let frame = frame.context("the stream broke off")?;
                begun.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while status.is_success()
                    && let Some(end) = begun.iter().position(|byte| *byte == b'\n')
                {
                    let line: Vec<u8> = begun.drain(..=end).collect();
                    each(String::from_utf8_lossy(&line).trim_end())?;
                }
            }
            if !status.is_success() {
                bail!("{status}: {}", String::from_utf8_lossy(&begun));
            }
            Ok(())
        })
    }

    /// Asks, with a body of any kind.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(super) fn send(
        &self,
        method: &Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> anyhow::Result<Reply> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::new(body)).context("--url is not a URL")?;
        let reply = self.runtime.block_on(async {
            let response = self.http.request(request).await;
            let response =
                response.with_context(|| format!("no admin API answers at {}", self.url))?;
            let status = response.status();
            let body = response.into_body().collect().await.context("the answer broke off")?;
            anyhow::Ok((status, body.to_bytes()))
        });
        let (status, body) = reply?;
        if status.is_success() {
            return Ok(Reply { status: status.as_u16(), body });
        }
        bail!("{}", in_words(status, &body));
    }

    /// GET.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Reply> {
        self.call(&Method::GET, path, None)
    }

    /// POST.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Reply> {
        self.call(&Method::POST, path, Some(body))
    }
}

impl Reply {
    /// The body, read.
    ///
    /// # Errors
    /// When the gate answers in another shape: it is of another version.
    pub(super) fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .context("the running gate is of another version: it gave an answer of another kind")
    }
}

/// A problem+json for a person.
fn in_words(status: StatusCode, body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = problem["detail"].as_str();
    let field = problem["field"].as_str().map(|field| format!("{field}: ")).unwrap_or_default();
    match detail {
        Some(detail) => format!("{field}{detail} ({})", status.as_u16()),
        None => format!("the gate answered {status}"),
    }
}

const CONNECT: Duration = Duration::from_secs(5);
