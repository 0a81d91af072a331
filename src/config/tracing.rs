//! `[tracing]`: where the spans of sampled requests go.

use std::fs;
use std::path::{Path, PathBuf};

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::check::Checker;
use super::problem::ProblemKind;

/// Where the spans of sampled requests go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TracingConfig {
    /// The URL of the OTLP collector (HTTP, JSON), its path included; `None` (`off` in the file)
    /// for no spans at all.
    pub endpoint: Option<Uri>,
    /// The part of the requests without a `traceparent` that is recorded, from 0 to 1. One that
    /// has a `traceparent` is recorded as its flag says.
    pub sample_ratio: f64,
    /// `service.name` of the spans.
    pub service_name: String,
    /// Where `headers` were read from.
    pub headers_file: Option<PathBuf>,
    /// Sent with every export; never shown.
    pub headers: HeaderMap,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTracing {
    pub(super) endpoint: Option<String>,
    pub(super) sample_ratio: Option<f64>,
    pub(super) service_name: Option<String>,
    pub(super) headers_file: Option<String>,
}

/// Checks the section; what is wrong goes to the checker.
pub(super) fn check(checker: &mut Checker<'_>, raw: RawTracing) -> TracingConfig {
    let endpoint = match raw.endpoint.as_deref().unwrap_or("off") {
        "off" => None,
        url => checker.valid("tracing.endpoint", collector(url)),
    };
    let ratio = raw.sample_ratio.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&ratio) {
        checker.wrong("tracing.sample_ratio", ProblemKind::NotARatio { value: ratio });
    }
    let service_name = raw.service_name.unwrap_or_else(|| "portcullis".to_owned());
    if service_name.is_empty() {
        checker.wrong("tracing.service_name", ProblemKind::Empty);
    }
    let file = raw.headers_file.filter(|file| !file.is_empty());
    let headers_file = file.map(|file| checker.resolve("tracing.headers_file", &file));
    let headers = headers_file.as_deref().map(|file| read_headers(checker, file));
    TracingConfig {
        endpoint,
        sample_ratio: ratio,
        service_name,
        headers_file,
        headers: headers.unwrap_or_default(),
    }
}

/// The URL that spans are posted to: without a path of its own, OTLP's.
fn collector(url: &str) -> Result<Uri, ProblemKind> {
    let wrong = || ProblemKind::NotACollector { value: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if authority.as_str().contains('@') {
        return Err(ProblemKind::UrlWithCredentials);
    }
    if uri.scheme_str() != Some("http") || authority.host().is_empty() {
        return Err(wrong());
    }
    match uri.path_and_query().map(|path| path.as_str()) {
        None | Some("" | "/") => {
            format!("http://{authority}/v1/traces").parse().map_err(|_| wrong())
        }
        Some(_) => Ok(uri),
    }
}

/// One header a line, `name: value`; empty lines and those that begin with `#` are skipped.
fn read_headers(checker: &mut Checker<'_>, file: &Path) -> HeaderMap {
    let path = "tracing.headers_file";
    let text = fs::read_to_string(file)
        .map_err(|source| ProblemKind::KeysFile { path: file.to_owned(), source });
    let mut headers = HeaderMap::new();
    for (index, line) in checker.valid(path, text).unwrap_or_default().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let header = line.split_once(':').and_then(|(name, value)| {
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name.trim()).ok()?, value))
        });
        // The line itself is not shown: it may hold a secret.
        let wrong = || ProblemKind::NotAHeader { path: file.to_owned(), line: index + 1 };
        headers.extend(checker.valid(path, header.ok_or_else(wrong)));
    }
    headers
}
