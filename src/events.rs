//! What people and their programs are told: one model of an event, and the ways it leaves.
//!
//! What pages is written to a spool on disk before anything else happens to it, and stays there
//! until somebody has taken it. A way out that is dead costs a signature nothing: what leads out
//! runs on a thread of its own, and who gives an event in waits for the disk of the spool alone.
//!
//! | file | holds |
//! |---|---|
//! | `spool` | pages on disk |
//! | `book` | who has still to be told what: order, backoff, fallbacks; pure |
//! | `bus` | from whoever gives an event in to spool and book |
//! | `deliver`, `sink`, `post` | a task for each sink; one event as a request; HTTP |
//! | `pagerduty`, `slack`, `webhook` | what each wants to hear, within its limits |
//! | `heartbeat` | a sign of life to a dead-man's switch |
//! | `feed` | the last events, for whoever listens |

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::metrics::EventMetrics;

use self::book::Outcome;
use self::bus::Bus;
use self::heartbeat::Heartbeat;

pub use self::feed::Listening;
pub use self::heartbeat::{CanSign, HeartbeatSettings};
pub use self::pagerduty::URL as PAGERDUTY_URL;
pub use self::post::PostError;
pub use self::sink::{SinkKind, SinkSettings, SinkUrl};
pub use self::spool::{SLOTS, SpoolError};

mod book;
mod bus;
mod deliver;
mod feed;
mod heartbeat;
mod pagerduty;
mod post;
mod sink;
mod slack;
mod spool;
#[cfg(test)]
mod stand_in;
mod webhook;

#[cfg(test)]
mod tests;

/// Longer keys are cut, by the least of the sinks' limits.
pub const DEDUP_KEY_CHARS_MAX: usize = pagerduty::DEDUP_KEY_CHARS_MAX;
/// Longer summaries are cut, by the least of the sinks' limits.
pub const SUMMARY_CHARS_MAX: usize = pagerduty::SUMMARY_CHARS_MAX;

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be read some day.
    Info,
    /// To be read today.
    Warning,
    /// To be acted on.
    Error,
    /// To be acted on now.
    Critical,
}

impl Severity {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// What an event does to the page of its deduplication key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paging {
    /// Nothing: it pages nobody.
    None,
    /// It begins or adds to it.
    Trigger,
    /// Somebody looks.
    Acknowledge,
    /// It is over.
    Resolve,
}

impl Paging {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Trigger => "trigger",
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }
}

/// Something that happened, for whoever is outside. Made once, the same for every way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Names this event for ever: the same at each attempt to deliver it. See [`new_id`]; where it
    /// is empty, one is made as the event is given in.
    pub id: String,
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// What, as a stable word with dots: `incident.opened`, `rotation.halted`.
    pub kind: String,
    /// How loud.
    pub severity: Severity,
    /// What it does to a page.
    pub paging: Paging,
    /// Events of one cause have the same: the incident's id, where there is one.
    pub dedup_key: String,
    /// One line for people: what happened, to what, what was done.
    pub summary: String,
    /// What it is about: a key group, the name of a window, a client.
    pub subject: String,
    /// Everything else, by stable names.
    pub details: serde_json::Value,
}

/// How events leave, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the spool is.
    pub directory: PathBuf,
    /// What this gate is called in an event.
    pub source: String,
    /// How old a page is when the fallbacks get it.
    pub fallback_after: Duration,
    /// The ways out, in the order of the file.
    pub sinks: Vec<SinkSettings>,
    /// The dead-man's switch, if there is one.
    pub heartbeat: Option<HeartbeatSettings>,
}

/// Why events cannot leave. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The spool of pages.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// HTTPS to a sink.
    #[error(transparent)]
    Post(#[from] PostError),
    /// The system refuses a thread or what it needs.
    #[error("no thread for events")]
    Thread(#[from] std::io::Error),
}

/// What a sink answered to a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkAnswer {
    /// The sink.
    pub sink: String,
    /// What speaks there.
    pub kind: String,
    /// Whether it pages.
    pub pages: bool,
    /// Why it did not take the event; `None` where it did.
    pub problem: Option<String>,
}

/// Where events are given in. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Events(Option<Arc<Inner>>);

struct Inner {
    bus: Arc<Bus>,
    runtime: tokio::runtime::Handle,
    source: String,
    can_sign: Arc<OnceLock<CanSign>>,
}

impl Events {
    /// Ways out that lead nowhere but to the log.
    pub fn off() -> Self {
        Self::default()
    }

    /// Takes up the pages that the last run left, and starts the thread that delivers.
    ///
    /// # Errors
    /// [`EventsError`]
    pub fn start(settings: &Settings, metrics: &EventMetrics) -> Result<Self, EventsError> {
        let bus = Arc::new(Bus::open(settings, metrics)?);
        let heartbeat = settings.heartbeat.as_ref().map(Heartbeat::new).transpose()?;
        let can_sign = Arc::new(OnceLock::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        for lane in 0..bus.sinks.len() {
            handle.spawn(deliver::deliver(Arc::clone(&bus), lane));
        }
        if let Some(heartbeat) = heartbeat {
            handle.spawn(heartbeat.beat(Arc::clone(&bus), Arc::clone(&can_sign)));
        }
        let forever = std::future::pending::<()>();
        std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || runtime.block_on(forever))?;
        let source = settings.source.clone();
        Ok(Self(Some(Arc::new(Inner { bus, runtime: handle, source, can_sign }))))
    }

    /// Says how to tell whether the gate can sign: the dead-man's switch gets a sign of life from
    /// now on. Only the first call counts.
    pub fn beat_while(&self, can_sign: CanSign) {
        if let Some(inner) = &self.0 {
            let _ = inner.can_sign.set(can_sign);
        }
    }

    /// Gives an event in. When it returns, one that pages is on disk; others may be dropped, and
    /// counted, where too many wait. Never waits for a way out. Not for the signing path: it may
    /// wait for a disk.
    pub fn emit(&self, mut event: Event) {
        if event.id.is_empty() {
            event.id = new_id(event.at_unix_ms);
        }
        log(&event);
        if let Some(inner) = &self.0 {
            inner.bus.emit(event);
        }
    }

    /// Sends an event that says it is a test to every sink, or to the one that is named, and waits
    /// for their answers. Where it pages it is resolved at once, under a key of its own.
    pub fn test(&self, sink: Option<&str>) -> Vec<SinkAnswer> {
        let Some(inner) = &self.0 else { return Vec::new() };
        let (answered, answers) = sync_channel(inner.bus.sinks.len());
        let wanted = |name: &str| sink.is_none_or(|wanted| wanted == name);
        let sinks = inner.bus.sinks.iter().filter(|sink| wanted(&sink.settings.name));
        for sink in sinks.cloned() {
            let (answered, event) = (answered.clone(), test_event(&inner.source));
            inner.runtime.spawn(async move {
                let mut outcome = sink.send(&event).await;
                if outcome == Outcome::Accepted && sink.settings.pages {
                    let id = new_id(event.at_unix_ms);
                    outcome = sink.send(&Event { paging: Paging::Resolve, id, ..event }).await;
                }
                let problem = match outcome {
                    Outcome::Accepted => None,
                    Outcome::Refused(reason) => Some(format!("refused: {reason}")),
                    Outcome::Failed { reason, .. } => Some(reason),
                };
                let kind = sink.settings.kind.as_str().to_owned();
                let (sink, pages) = (sink.settings.name, sink.settings.pages);
                let _ = answered.try_send(SinkAnswer { sink, kind, pages, problem });
            });
        }
        drop(answered);
        let mut answers: Vec<SinkAnswer> = answers.iter().collect();
        answers.sort_by(|a, b| a.sink.cmp(&b.sink));
        answers
    }

    /// Gives a page in that says it is a test, as an incident would, and gives its id.
    pub fn test_page(&self) -> String {
        let source = self.0.as_ref().map_or("portcullis", |inner| inner.source.as_str());
        let event = test_event(source);
        let id = event.id.clone();
        self.emit(event);
        id
    }

    /// The events after the one with this id, as far as they are kept, and those to come; `None`
    /// where events lead nowhere.
    pub fn listen(&self, after: Option<&str>) -> Option<Listening> {
        self.0.as_ref().map(|inner| inner.bus.feed.listen(after))
    }

    /// Brings the gauges up to date.
    pub fn update_metrics(&self) {
        if let Some(inner) = &self.0 {
            inner.bus.update_metrics();
        }
    }

    /// Lets another process have the spool. What is given in from now on is in memory alone.
    pub fn close(&self) {
        if let Some(inner) = &self.0 {
            inner.bus.close();
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("bus", &self.bus).finish_non_exhaustive()
    }
}

/// An id that no other event has: the time, then 80 random bits.
pub fn new_id(at_unix_ms: u64) -> String {
    let mut random = [0; 10];
    let _ = getrandom(&mut random[..], GetRandomFlags::empty()); // it fails before the first boot
    format!("{:012x}{}", at_unix_ms & 0xffff_ffff_ffff, faster_hex::hex_string(&random))
}

fn test_event(source: &str) -> Event {
    let at_unix_ms = clock::unix_ms();
    let id = new_id(at_unix_ms);
    Event {
        dedup_key: format!("test/{source}/{id}"),
        id,
        at_unix_ms,
        kind: "test".to_owned(),
        severity: Severity::Info,
        paging: Paging::Trigger,
        summary: format!("a test of the ways out of {source}; nothing happened"),
        subject: source.to_owned(),
        details: serde_json::json!({ "test": true }),
    }
}

/// From 0 to 1.
fn random() -> f64 {
    let mut random = [0; 4];
    let _ = getrandom(&mut random[..], GetRandomFlags::empty());
    f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX)
}

/// Milliseconds of Unix time as RFC 3339.
fn iso8601(unix_ms: u64) -> String {
    let seconds = clock::iso8601(unix_ms / 1_000);
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), unix_ms % 1_000)
}

/// The first characters of a text, with a mark where there were more.
fn cut(text: &str, most: usize) -> String {
    const MORE: &str = "...";
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - MORE.len()).collect::<String>() + MORE
}

fn log(event: &Event) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                event = event.kind,
                event_id = event.id,
                severity = event.severity.as_str(),
                paging = event.paging.as_str(),
                dedup_key = event.dedup_key,
                subject = event.subject,
                "{}",
                event.summary
            )
        };
    }
    match event.severity {
        Severity::Info => line!(info),
        Severity::Warning => line!(warn),
        Severity::Error | Severity::Critical => line!(error),
    }
}
