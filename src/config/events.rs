//! `[events]` and `[[events.sinks]]`: who is told, and how.

use std::path::PathBuf;
use std::time::Duration;

use hyper::{Method, Uri};
use serde::Deserialize;

use super::check::Checker;
use super::problem::ProblemKind;
use crate::events::{
    HeartbeatSettings, PAGERDUTY_URL, Settings, Severity, SinkKind, SinkSettings, SinkUrl,
};
use crate::tls::load_password;

#[cfg(test)]
mod tests;

/// The most sinks: their names are labels of metrics, and the spool marks who has a page.
pub(super) const SINKS_MAX: usize = 8;

/// Who is told of what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsConfig {
    /// What the gate is called in an event.
    pub source: String,
    /// How old a page is when the fallbacks get it.
    pub fallback_after: Duration,
    /// The file with the URL of the dead-man's switch; `None` for none.
    pub heartbeat_url_file: Option<PathBuf>,
    /// GET or POST.
    pub heartbeat_method: Method,
    /// From one sign of life to the next.
    pub heartbeat_interval: Duration,
    /// Who may vouch for the dead-man's switch (PEM).
    pub heartbeat_ca_file: Option<PathBuf>,
    /// The ways out, in the order of the file.
    pub sinks: Vec<SinkSettings>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEvents {
    source: Option<String>,
    fallback_after_s: Option<u64>,
    heartbeat_url_file: Option<String>,
    heartbeat_method: Option<String>,
    heartbeat_interval_s: Option<u64>,
    heartbeat_ca_file: Option<String>,
    sinks: Vec<RawSink>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSink {
    name: Option<String>,
    kind: Option<String>,
    url: Option<String>,
    url_file: Option<String>,
    routing_key_file: Option<String>,
    secret_file: Option<String>,
    token_file: Option<String>,
    ca_file: Option<String>,
    timeout_ms: Option<u64>,
    pages: Option<bool>,
    fallback: Option<bool>,
    severity: Option<String>,
}

impl EventsConfig {
    /// How events leave, with the spool in `directory`.
    pub fn settings(&self, directory: PathBuf) -> Settings {
        Settings {
            directory,
            source: self.source.clone(),
            fallback_after: self.fallback_after,
            sinks: self.sinks.clone(),
            heartbeat: self.heartbeat_url_file.clone().map(|url_file| HeartbeatSettings {
                url_file,
                method: self.heartbeat_method.clone(),
                interval: self.heartbeat_interval,
                ca_file: self.heartbeat_ca_file.clone(),
            }),
        }
    }

    /// The value of a key of `[events]`, if it has one.
    pub(super) fn value_of(&self, field: &str) -> Option<toml::Value> {
        let seconds = |length: Duration| {
            Some(toml::Value::Integer(i64::try_from(length.as_secs()).unwrap_or(i64::MAX)))
        };
        let path = |path: &Option<PathBuf>| {
            let path = path.as_ref().map(|path| path.display().to_string());
            Some(toml::Value::String(path.unwrap_or_default()))
        };
        match field {
            "source" => Some(self.source.as_str().into()),
            "fallback_after_s" => seconds(self.fallback_after),
            "heartbeat_url_file" => path(&self.heartbeat_url_file),
            "heartbeat_method" => Some(self.heartbeat_method.as_str().into()),
            "heartbeat_interval_s" => seconds(self.heartbeat_interval),
            "heartbeat_ca_file" => path(&self.heartbeat_ca_file),
            _ => None,
        }
    }

    /// The sinks as the effective configuration shows them.
    pub(super) fn as_toml(&self) -> String {
        self.sinks.iter().map(sink_as_toml).collect()
    }
}

fn sink_as_toml(sink: &SinkSettings) -> String {
    let quoted = |text: &dyn ToString| toml::Value::String(text.to_string()).to_string();
    let mut text = format!(
        "\n[[events.sinks]]\nname = \"{}\"\nkind = \"{}\"\n",
        sink.name,
        sink.kind.as_str()
    );
    match &sink.url {
        SinkUrl::Given(url) => text.push_str(&format!("url = {}\n", quoted(url))),
        SinkUrl::File(file) => text.push_str(&format!("url_file = {}\n", quoted(&file.display()))),
        SinkUrl::None => {}
    }
    let secret = match sink.kind {
        SinkKind::PagerDuty => "routing_key_file",
        SinkKind::Slack | SinkKind::Webhook | SinkKind::Log => "secret_file",
    };
    let files =
        [(secret, &sink.secret_file), ("token_file", &sink.token_file), ("ca_file", &sink.ca_file)];
    for (field, file) in files {
        if let Some(file) = file {
            text.push_str(&format!("{field} = {}\n", quoted(&file.display())));
        }
    }
    let severity = sink.severity.map_or("off", Severity::as_str);
    text.push_str(&format!(
        "timeout_ms = {}\npages = {}\nfallback = {}\nseverity = \"{severity}\"\n",
        sink.timeout.as_millis(),
        sink.pages,
        sink.fallback
    ));
    text
}

/// Checks the section; what is wrong goes to the checker.
pub(super) fn check(checker: &mut Checker<'_>, raw: RawEvents) -> Option<EventsConfig> {
    let source = raw.source.unwrap_or_else(|| "portcullis".to_owned());
    let source = checker.name("events.source", source);
    let after = raw.fallback_after_s.unwrap_or(60);
    let after = checker.range("events.fallback_after_s", after, 1..=3_600);
    let interval = raw.heartbeat_interval_s.unwrap_or(60);
    let interval = checker.range("events.heartbeat_interval_s", interval, 1..=86_400);
    let method = match raw.heartbeat_method.as_deref().unwrap_or("POST") {
        "POST" => Some(Method::POST),
        "GET" => Some(Method::GET),
        value => {
            let wrong = ProblemKind::NotOneOf { value: value.to_owned(), known: "GET, POST" };
            checker.wrong("events.heartbeat_method", wrong);
            None
        }
    };
    let url_file = secret(checker, "events.heartbeat_url_file", raw.heartbeat_url_file);
    let ca_file = raw.heartbeat_ca_file.filter(|file| !file.is_empty());
    let ca_file = ca_file.map(|file| checker.resolve("events.heartbeat_ca_file", &file));
    if raw.sinks.len() > SINKS_MAX {
        let value = raw.sinks.len() as u64;
        let wrong = ProblemKind::OutOfRange { value, min: 0, max: SINKS_MAX as u64 };
        checker.wrong("events.sinks", wrong);
    }
    let mut sinks: Vec<SinkSettings> = Vec::new();
    for (index, raw) in raw.sinks.into_iter().enumerate() {
        let path = format!("events.sinks[{index}]");
        let Some(sink) = check_sink(checker, &path, raw) else { continue };
        if sinks.iter().any(|other| other.name == sink.name) {
            let name = sink.name.clone();
            checker.wrong(&format!("{path}.name"), ProblemKind::SinkNameTwice { name });
        }
        sinks.push(sink);
    }
    if !sinks.is_empty() && sinks.iter().all(|sink| !sink.pages || sink.fallback) {
        let any = sinks.iter().position(|sink| sink.fallback);
        if let Some(index) = any {
            let path = format!("events.sinks[{index}].fallback");
            checker.wrong(&path, ProblemKind::FallbackOfNothing);
        }
    }
    Some(EventsConfig {
        source: source?,
        fallback_after: Duration::from_secs(after?),
        heartbeat_url_file: url_file?,
        heartbeat_method: method?,
        heartbeat_interval: Duration::from_secs(interval?),
        heartbeat_ca_file: ca_file,
        sinks,
    })
}

fn check_sink(checker: &mut Checker<'_>, path: &str, raw: RawSink) -> Option<SinkSettings> {
    let at = |field: &str| format!("{path}.{field}");
    let name = checker.required(&at("name"), raw.name);
    let name = name.and_then(|name| checker.name(&at("name"), name));
    let kind = checker.required(&at("kind"), raw.kind);
    let kind = match kind?.as_str() {
        "pagerduty" => SinkKind::PagerDuty,
        "slack" => SinkKind::Slack,
        "webhook" => SinkKind::Webhook,
        "log" => SinkKind::Log,
        value => {
            let known = "pagerduty, slack, webhook, log";
            let wrong = ProblemKind::NotOneOf { value: value.to_owned(), known };
            checker.wrong(&at("kind"), wrong);
            return None;
        }
    };
    let url = check_url(checker, path, kind, raw.url, raw.url_file);
    let (own, foreign) = match kind {
        SinkKind::PagerDuty => (("routing_key_file", raw.routing_key_file), raw.secret_file),
        SinkKind::Slack | SinkKind::Webhook | SinkKind::Log => {
            (("secret_file", raw.secret_file), raw.routing_key_file)
        }
    };
    let takes_secret = matches!(kind, SinkKind::PagerDuty | SinkKind::Webhook);
    let takes_token = kind == SinkKind::Webhook;
    if foreign.is_some()
        || own.1.is_some() && !takes_secret
        || raw.token_file.is_some() && !takes_token
    {
        checker.wrong(path, ProblemKind::SecretOfAnotherSink { kind: kind.as_str() });
    }
    let secret_file = match kind {
        SinkKind::PagerDuty => {
            let file = checker.required(&at(own.0), own.1)?;
            secret(checker, &at(own.0), Some(file))
        }
        SinkKind::Slack | SinkKind::Webhook | SinkKind::Log => secret(checker, &at(own.0), own.1),
    };
    let token_file = secret(checker, &at("token_file"), raw.token_file);
    let ca_file = raw.ca_file.filter(|file| !file.is_empty());
    let ca_file = ca_file.map(|file| checker.resolve(&at("ca_file"), &file));
    let timeout = raw.timeout_ms.unwrap_or(10_000);
    let timeout = checker.range(&at("timeout_ms"), timeout, 100..=60_000);
    let fallback = raw.fallback.unwrap_or(false);
    let pages = raw.pages.unwrap_or(kind == SinkKind::PagerDuty || fallback);
    if !pages && (fallback || kind == SinkKind::PagerDuty) {
        checker.wrong(&at("pages"), ProblemKind::SinkThatDoesNotPage);
    }
    let severity = check_severity(checker, &at("severity"), kind, raw.severity);
    Some(SinkSettings {
        name: name?,
        kind,
        url: url?,
        secret_file: secret_file?,
        token_file: token_file?,
        ca_file,
        timeout: Duration::from_millis(timeout?),
        pages,
        fallback,
        severity: severity?,
    })
}

/// PagerDuty makes an incident of whatever it gets: events that page nobody never go there.
fn check_severity(
    checker: &mut Checker<'_>,
    path: &str,
    kind: SinkKind,
    severity: Option<String>,
) -> Option<Option<Severity>> {
    let default = match kind {
        SinkKind::PagerDuty | SinkKind::Log => "off",
        SinkKind::Slack => "warning",
        SinkKind::Webhook => "info",
    };
    match severity.as_deref().unwrap_or(default) {
        "off" => Some(None),
        "info" if kind != SinkKind::PagerDuty => Some(Some(Severity::Info)),
        "warning" if kind != SinkKind::PagerDuty => Some(Some(Severity::Warning)),
        "error" if kind != SinkKind::PagerDuty => Some(Some(Severity::Error)),
        "critical" if kind != SinkKind::PagerDuty => Some(Some(Severity::Critical)),
        value => {
            let known = match kind {
                SinkKind::PagerDuty => "off: PagerDuty gets what pages, and that alone",
                SinkKind::Slack | SinkKind::Webhook | SinkKind::Log => {
                    "info, warning, error, critical, off"
                }
            };
            checker.wrong(path, ProblemKind::NotOneOf { value: value.to_owned(), known });
            None
        }
    }
}

fn check_url(
    checker: &mut Checker<'_>,
    path: &str,
    kind: SinkKind,
    url: Option<String>,
    file: Option<String>,
) -> Option<SinkUrl> {
    let at = |field: &str| format!("{path}.{field}");
    match (kind, url, file) {
        (SinkKind::Log, None, None) => Some(SinkUrl::None),
        (SinkKind::Slack, None, None) => {
            checker.wrong(&at("url_file"), ProblemKind::Missing);
            None
        }
        (SinkKind::Webhook, None, None) => {
            checker.wrong(&at("url"), ProblemKind::Missing);
            None
        }
        (SinkKind::PagerDuty, None, None) => {
            Some(SinkUrl::Given(PAGERDUTY_URL.parse().expect("a URL")))
        }
        (SinkKind::Slack, Some(_), _) => {
            checker.wrong(&at("url"), ProblemKind::UrlIsASecret);
            None
        }
        (SinkKind::Log, _, _) | (SinkKind::PagerDuty | SinkKind::Webhook, Some(_), Some(_)) => {
            checker.wrong(path, ProblemKind::SinkUrl);
            None
        }
        (SinkKind::PagerDuty | SinkKind::Webhook, Some(url), None) => {
            checker.valid(&at("url"), url_of(&url)).map(SinkUrl::Given)
        }
        (SinkKind::PagerDuty | SinkKind::Slack | SinkKind::Webhook, None, Some(file)) => {
            secret(checker, &at("url_file"), Some(file))?.map(SinkUrl::File)
        }
    }
}

/// A file that holds a secret, and can be read now; `Some(None)` where none is named.
fn secret(checker: &mut Checker<'_>, path: &str, file: Option<String>) -> Option<Option<PathBuf>> {
    let Some(file) = file.filter(|file| !file.is_empty()) else { return Some(None) };
    let file = checker.resolve(path, &file);
    let read = load_password(&file).map_err(|error| ProblemKind::SecretFile {
        problem: crate::enrolment::with_causes(&error),
    });
    checker.valid(path, read).map(|_| Some(file))
}

fn url_of(text: &str) -> Result<Uri, ProblemKind> {
    let wrong = || ProblemKind::NotAnHttpUrl { value: text.to_owned() };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if authority.as_str().contains('@') {
        return Err(ProblemKind::UrlWithCredentials);
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.host().is_empty() {
        return Err(wrong());
    }
    Ok(uri)
}
