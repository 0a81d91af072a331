//! `[upstream]` and `[[upstreams]]`: the signers behind the gate.
//!
//! A signer, or several that hold the same keys, is a set of keys with its replicas. One signer is
//! one set with one replica: `upstream.url` is the short way to write that. Sets share no key, and
//! nothing here says which key is where: the gate learns it from the signers.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;

use super::check::Checker;
use super::problem::ProblemKind;
use crate::limits::Limits;
use crate::tls::IdentityFiles;

#[cfg(test)]
mod tests;

/// The most sets: their names are labels of metrics.
pub(super) const SETS_MAX: usize = 64;
/// The most replicas of one set: their names are labels of metrics.
pub const REPLICAS_MAX: usize = 16;

/// The name of the set that `upstream.url` makes.
const SIMPLE_NAME: &str = "default";

/// The signers behind the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamsConfig {
    /// The sets of keys, in the order of the file; at least one.
    pub sets: Vec<UpstreamConfig>,
    /// How often every signer is asked which keys it has.
    pub refresh_interval: Duration,
    /// What `[upstream]` says for those that say nothing themselves.
    pub(super) defaults: Defaults,
    /// Whether `upstream.url` made the one set.
    pub(super) is_simple: bool,
}

/// A set of keys, and the signers that each hold all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Its name, in logs, metrics and answers.
    pub name: String,
    /// Its replicas: `http://host:port` or `https://host:port`, each once.
    pub urls: Vec<Uri>,
    /// For one signing call, all replicas that are asked together; at most
    /// `limits.request_budget_ms`.
    pub timeout: Duration,
    /// Connections that each worker keeps to each replica.
    pub connections_per_worker: usize,
    /// How `https` is spoken.
    pub tls: UpstreamTls,
}

/// What `https` to a signer needs besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The certificates (PEM) that may vouch for the signer; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// What the gate shows to the signer.
    pub identity: Option<IdentityFiles>,
}

/// What holds for every set that does not say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) timeout: Duration,
    pub(super) connections_per_worker: usize,
    pub(super) tls: UpstreamTls,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawUpstream {
    url: Option<String>,
    timeout_ms: Option<u64>,
    connections_per_worker: Option<u64>,
    refresh_interval_s: Option<u64>,
    tls_ca_file: Option<String>,
    tls_certificate_file: Option<String>,
    tls_key_file: Option<String>,
    tls_pkcs12_file: Option<String>,
    tls_password_file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawUpstreamSet {
    name: Option<String>,
    urls: Vec<String>,
    timeout_ms: Option<u64>,
    connections_per_worker: Option<u64>,
    tls_ca_file: Option<String>,
    tls_certificate_file: Option<String>,
    tls_key_file: Option<String>,
    tls_pkcs12_file: Option<String>,
    tls_password_file: Option<String>,
}

/// The names of files, as both forms give them.
struct RawTls {
    ca: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    pkcs12: Option<String>,
    password: Option<String>,
}

/// Checks both forms; what is wrong goes to the checker.
pub(super) fn check(
    checker: &mut Checker<'_>,
    simple: RawUpstream,
    several: Vec<RawUpstreamSet>,
    limits: &Limits,
) -> Option<UpstreamsConfig> {
    let is_simple = several.is_empty();
    let url = match (simple.url, is_simple) {
        (Some(_), false) => {
            checker.wrong("upstream.url", ProblemKind::TwoFormsOfUpstream);
            None
        }
        (None, false) => None,
        (url, true) => {
            let url = checker.required("upstream.url", url);
            url.and_then(|url| checker.valid("upstream.url", url_of(&url)))
        }
    };
    let timeout_ms = simple.timeout_ms.unwrap_or(2_500);
    let timeout = timeout(checker, "upstream.timeout_ms", timeout_ms, limits);
    let connections = simple.connections_per_worker.unwrap_or(64);
    let connections = connections_of(checker, "upstream.connections_per_worker", connections);
    let refresh_s = simple.refresh_interval_s.unwrap_or(60);
    let refresh_s = checker.range("upstream.refresh_interval_s", refresh_s, 1..=86_400);
    let tls = RawTls {
        ca: simple.tls_ca_file,
        certificate: simple.tls_certificate_file,
        key: simple.tls_key_file,
        pkcs12: simple.tls_pkcs12_file,
        password: simple.tls_password_file,
    };
    let tls = tls.check(checker, "upstream");
    let defaults = Defaults {
        timeout: timeout?,
        connections_per_worker: connections?,
        tls: tls?.unwrap_or_default(),
    };
    let sets = if is_simple {
        vec![UpstreamConfig {
            name: SIMPLE_NAME.to_owned(),
            urls: vec![url?],
            timeout: defaults.timeout,
            connections_per_worker: defaults.connections_per_worker,
            tls: defaults.tls.clone(),
        }]
    } else {
        check_sets(checker, several, &defaults, limits)
    };
    let refresh_interval = Duration::from_secs(refresh_s?);
    Some(UpstreamsConfig { sets, refresh_interval, defaults, is_simple })
}

fn check_sets(
    checker: &mut Checker<'_>,
    several: Vec<RawUpstreamSet>,
    defaults: &Defaults,
    limits: &Limits,
) -> Vec<UpstreamConfig> {
    if several.len() > SETS_MAX {
        let value = several.len() as u64;
        let wrong = ProblemKind::OutOfRange { value, min: 1, max: SETS_MAX as u64 };
        checker.wrong("upstreams", wrong);
    }
    let mut sets: Vec<UpstreamConfig> = Vec::new();
    for (index, raw) in several.into_iter().enumerate() {
        let path = format!("upstreams[{index}]");
        let Some(set) = check_set(checker, &path, raw, defaults, limits) else { continue };
        if sets.iter().any(|other| other.name == set.name) {
            let name = set.name.clone();
            checker.wrong(&format!("{path}.name"), ProblemKind::UpstreamNameTwice { name });
        }
        for url in &set.urls {
            if sets.iter().any(|other| other.urls.contains(url)) {
                let url = url.to_string();
                checker.wrong(&format!("{path}.urls"), ProblemKind::UrlTwice { url });
            }
        }
        sets.push(set);
    }
    sets
}

fn check_set(
    checker: &mut Checker<'_>,
    path: &str,
    raw: RawUpstreamSet,
    defaults: &Defaults,
    limits: &Limits,
) -> Option<UpstreamConfig> {
    let at = |field: &str| format!("{path}.{field}");
    let name = checker.required(&at("name"), raw.name);
    let name = name.and_then(|name| checker.name(&at("name"), name));
    let replicas = raw.urls.len() as u64;
    checker.range(&at("urls"), replicas, 1..=REPLICAS_MAX as u64)?;
    let mut urls = Vec::new();
    for (index, url) in raw.urls.iter().enumerate() {
        let path = format!("{path}.urls[{index}]");
        let Some(url) = checker.valid(&path, url_of(url)) else { continue };
        if urls.contains(&url) {
            checker.wrong(&path, ProblemKind::UrlTwice { url: url.to_string() });
        }
        urls.push(url);
    }
    let timeout = match raw.timeout_ms {
        Some(ms) => timeout(checker, &at("timeout_ms"), ms, limits),
        None => Some(defaults.timeout),
    };
    let connections_per_worker = match raw.connections_per_worker {
        Some(connections) => connections_of(checker, &at("connections_per_worker"), connections),
        None => Some(defaults.connections_per_worker),
    };
    let tls = RawTls {
        ca: raw.tls_ca_file,
        certificate: raw.tls_certificate_file,
        key: raw.tls_key_file,
        pkcs12: raw.tls_pkcs12_file,
        password: raw.tls_password_file,
    };
    let own = tls.check(checker, path)?;
    if own.is_some() && !urls.iter().any(is_https) {
        checker.wrong(path, ProblemKind::TlsWithoutHttps);
    }
    Some(UpstreamConfig {
        name: name?,
        urls,
        timeout: timeout?,
        connections_per_worker: connections_per_worker?,
        tls: own.unwrap_or_else(|| defaults.tls.clone()),
    })
}

/// Whether a signer is reached over TLS.
pub fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

impl RawTls {
    /// `Some(None)` when no file is named.
    fn check(self, checker: &mut Checker<'_>, section: &str) -> Option<Option<UpstreamTls>> {
        let at = |field: &str| format!("{section}.{field}");
        let mut file = |field: &str, value: Option<String>| match value {
            Some(value) => checker.path(&at(field), Some(value)).map(Some),
            None => Some(None),
        };
        let ca_file = file("tls_ca_file", self.ca);
        let certificate = file("tls_certificate_file", self.certificate);
        let key = file("tls_key_file", self.key);
        let pkcs12 = file("tls_pkcs12_file", self.pkcs12);
        let password = file("tls_password_file", self.password);
        let identity = match (certificate?, key?, pkcs12?, password?) {
            (None, None, None, None) => None,
            (Some(certificate), Some(key), None, None) => {
                Some(IdentityFiles::Pem { certificate, key })
            }
            (None, None, Some(store), Some(password_file)) => {
                Some(IdentityFiles::Pkcs12 { store, password_file })
            }
            _ => {
                checker.wrong(section, ProblemKind::HalfAnIdentity);
                return None;
            }
        };
        let tls = UpstreamTls { ca_file: ca_file?, identity };
        Some((tls != UpstreamTls::default()).then_some(tls))
    }
}

fn timeout(checker: &mut Checker<'_>, path: &str, ms: u64, limits: &Limits) -> Option<Duration> {
    let budget_ms = limits.request_budget_ms;
    if ms > budget_ms {
        checker.wrong(path, ProblemKind::TimeoutAboveBudget { timeout_ms: ms, budget_ms });
    }
    checker.range(path, ms, 1..=60_000).map(Duration::from_millis)
}

fn connections_of(checker: &mut Checker<'_>, path: &str, connections: u64) -> Option<usize> {
    usize::try_from(checker.range(path, connections, 1..=4_096)?).ok()
}

fn url_of(text: &str) -> Result<Uri, ProblemKind> {
    let wrong = || ProblemKind::NotAnHttpUrl { value: text.to_owned() };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong());
    }
    let authority = uri.authority().ok_or_else(wrong)?;
    if authority.as_str().contains('@') {
        return Err(ProblemKind::UrlWithCredentials);
    }
    if authority.host().is_empty() {
        return Err(wrong());
    }
    match uri.path_and_query().map(|path| path.as_str()) {
        None | Some("/" | "") => Ok(uri),
        Some(_) => Err(ProblemKind::UrlWithPath),
    }
}

impl UpstreamsConfig {
    /// The longest time that a signing call may take at any set.
    pub fn longest_timeout(&self) -> Duration {
        self.sets.iter().map(|set| set.timeout).max().unwrap_or(self.defaults.timeout)
    }

    /// The sets with their URLs, in one line.
    pub fn describe(&self) -> String {
        let sets = self.sets.iter().map(|set| {
            let urls = set.urls.iter().map(|url| url.to_string().trim_end_matches('/').to_owned());
            format!("{}: {}", set.name, urls.collect::<Vec<_>>().join(" "))
        });
        sets.collect::<Vec<_>>().join(", ")
    }

    /// The value of a key of `[upstream]`, if it has one.
    pub(super) fn value_of(&self, field: &str) -> Option<toml::Value> {
        let integer =
            |number: u128| Some(toml::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        match field {
            "url" => self.is_simple.then(|| {
                let url = self.sets[0].urls[0].to_string();
                toml::Value::String(url.trim_end_matches('/').to_owned())
            }),
            "timeout_ms" => integer(self.defaults.timeout.as_millis()),
            "connections_per_worker" => integer(self.defaults.connections_per_worker as u128),
            "refresh_interval_s" => integer(u128::from(self.refresh_interval.as_secs())),
            file => {
                let (_, path) = self.defaults.tls.files().find(|(name, _)| *name == file)?;
                Some(toml::Value::String(path.display().to_string()))
            }
        }
    }

    /// The sets in the form of `[[upstreams]]`, as the effective configuration shows them; empty
    /// when `[upstream]` says it all.
    pub(super) fn as_toml(&self) -> String {
        let sets: &[UpstreamConfig] = if self.is_simple { &[] } else { &self.sets };
        sets.iter().map(UpstreamConfig::as_toml).collect()
    }
}

impl UpstreamConfig {
    fn as_toml(&self) -> String {
        let quoted = |text: &dyn ToString| toml::Value::String(text.to_string()).to_string();
        let urls = self.urls.iter().map(|url| quoted(&url.to_string().trim_end_matches('/')));
        let urls = urls.collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "\n[[upstreams]]\nname = \"{}\"\nurls = [{urls}]\ntimeout_ms = {}\n\
             connections_per_worker = {}\n",
            self.name,
            self.timeout.as_millis(),
            self.connections_per_worker
        );
        // Those of `[upstream]` that this set does not use must not be shown as if it did.
        for (field, path) in self.tls.files().filter(|_| self.urls.iter().any(is_https)) {
            text.push_str(&format!("{field} = {}\n", quoted(&path.display())));
        }
        text
    }
}

impl UpstreamTls {
    /// The files with the names of their keys.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let identity = match &self.identity {
            None => [None, None],
            Some(IdentityFiles::Pem { certificate, key }) => {
                [Some(("tls_certificate_file", certificate)), Some(("tls_key_file", key))]
            }
            Some(IdentityFiles::Pkcs12 { store, password_file }) => {
                [Some(("tls_pkcs12_file", store)), Some(("tls_password_file", password_file))]
            }
        };
        let ca_file = self.ca_file.as_ref().map(|file| ("tls_ca_file", file));
        ca_file.into_iter().chain(identity.into_iter().flatten())
    }
}
