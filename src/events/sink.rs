//! One way out: what the configuration says of it, and how an event becomes a request.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Uri};

use super::book::{Outcome, Terms};
use super::post::{Message, PostError, Poster, outcome};
use super::{Event, Severity, pagerduty, slack, webhook};
use crate::clock;
use crate::tls::load_password;

/// What speaks at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// PagerDuty's Events API v2, or what speaks like it.
    PagerDuty,
    /// Slack's incoming webhook, or what speaks like it (Mattermost, Rocket.Chat).
    Slack,
    /// A receiver of CloudEvents.
    Webhook,
    /// The gate's own log, for those whose log pages.
    Log,
}

impl SinkKind {
    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PagerDuty => "pagerduty",
            Self::Slack => "slack",
            Self::Webhook => "webhook",
            Self::Log => "log",
        }
    }
}

/// Where a sink is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkUrl {
    /// In the configuration.
    Given(Uri),
    /// In a file, because who knows it may write: its first line.
    File(PathBuf),
    /// Nowhere: the log.
    None,
}

/// One way out, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// Its name, in logs and metrics.
    pub name: String,
    /// What speaks there.
    pub kind: SinkKind,
    /// Where it is.
    pub url: SinkUrl,
    /// PagerDuty's routing key, or the secret that a webhook's requests are signed with.
    pub secret_file: Option<PathBuf>,
    /// A bearer token of a webhook.
    pub token_file: Option<PathBuf>,
    /// The certificates (PEM) that may vouch for it; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// For one attempt.
    pub timeout: Duration,
    /// Whether it pages somebody.
    pub pages: bool,
    /// Whether it pages only when the others do not.
    pub fallback: bool,
    /// The least severity of events that page nobody which it gets; none of them for `None`.
    pub severity: Option<Severity>,
}

/// One way out.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    pub(super) settings: SinkSettings,
    source: String,
    poster: Poster,
}

impl Sink {
    pub(super) fn new(settings: &SinkSettings, source: &str) -> Result<Self, PostError> {
        let poster = Poster::new(settings.ca_file.as_ref(), settings.timeout)?;
        Ok(Self { settings: settings.clone(), source: source.to_owned(), poster })
    }

    pub(super) fn terms(&self, fallback_after: Duration) -> Terms {
        Terms {
            pages: self.settings.pages,
            fallback_after: self.settings.fallback.then_some(fallback_after),
            least: self.settings.severity,
        }
    }

    /// One attempt.
    pub(super) async fn send(&self, event: &Event) -> Outcome {
        if self.settings.kind == SinkKind::Log {
            log(event);
            return Outcome::Accepted;
        }
        let mut secrets = Vec::new();
        let message = match self.message(event, &mut secrets) {
            Ok(Some(message)) => message,
            Ok(None) => return Outcome::Accepted, // there is nothing to tell it
            Err(reason) => return Outcome::Failed { reason, retry_after: None },
        };
        let is_taken = match self.settings.kind {
            SinkKind::PagerDuty => pagerduty::is_taken,
            SinkKind::Slack => slack::is_taken,
            SinkKind::Webhook | SinkKind::Log => |_: &[u8]| true,
        };
        outcome(self.poster.send(message).await, is_taken, &secrets)
    }

    /// The request for an event. Files are read each time: a changed key holds at once.
    fn message(&self, event: &Event, secrets: &mut Vec<String>) -> Result<Option<Message>, String> {
        let mut read = |file: &Path| -> Result<String, String> {
            let secret = load_password(file).map_err(|error| error.to_string())?;
            let secret = secret.as_str().trim().to_owned();
            secrets.push(secret.clone());
            Ok(secret)
        };
        let settings = &self.settings;
        let url = match &settings.url {
            SinkUrl::Given(url) => url.clone(),
            SinkUrl::File(file) => read(file)?
                .parse()
                .map_err(|_| format!("the first line of {} is no URL", file.display()))?,
            SinkUrl::None => return Ok(None),
        };
        let secret = settings.secret_file.as_deref().map(&mut read).transpose()?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = match settings.kind {
            SinkKind::PagerDuty => {
                pagerduty::body(event, &secret.unwrap_or_default(), &self.source)
            }
            SinkKind::Slack => Some(slack::body(event, &self.source)),
            SinkKind::Webhook => {
                let body = webhook::body(event, &self.source);
                let now = clock::unix_ms() / 1_000;
                headers = webhook::headers(&event.id, now, &body, secret.as_deref());
                Some(body)
            }
            SinkKind::Log => None,
        };
        if let Some(file) = &settings.token_file {
            let token = format!("Bearer {}", read(file)?);
            let mut token = HeaderValue::from_str(&token)
                .map_err(|_| format!("{} holds no token", file.display()))?;
            token.set_sensitive(true);
            headers.insert(AUTHORIZATION, token);
        }
        Ok(body.map(|body| Message { method: Method::POST, url, headers, body }))
    }
}

fn log(event: &Event) {
    tracing::warn!(
        event = "page",
        kind = event.kind,
        event_id = event.id,
        severity = event.severity.as_str(),
        paging = event.paging.as_str(),
        dedup_key = event.dedup_key,
        subject = event.subject,
        details = %event.details,
        "{}",
        event.summary
    );
}
