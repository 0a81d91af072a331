//! What is told of a window: to the audit log, and outside.

use policy::WindowId;
use serde_json::Value;

use super::record::name_of;
use crate::audit::{ActionRecord, Actor};
use crate::events::{Event, Paging, Severity};
use crate::sign::Gate;

/// What became of a window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct News {
    pub(super) window: WindowId,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) at_unix_ms: u64,
    pub(super) reason: String,
    /// The incident whose page it joins.
    pub(super) page: Option<String>,
    pub(super) details: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Opened,
    Completed,
    Halted,
    HaltedByHand,
    Expired,
    Closed,
}

impl Kind {
    /// The action and the event.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "rotation.opened",
            Self::Completed => "rotation.completed",
            Self::Halted | Self::HaltedByHand => "rotation.halted",
            Self::Expired => "rotation.expired",
            Self::Closed => "rotation.closed",
        }
    }

    /// Who halts a window by hand need not be woken up for it.
    const fn loudness(self) -> (Severity, Paging) {
        match self {
            Self::Opened | Self::Completed => (Severity::Info, Paging::None),
            Self::Closed => (Severity::Info, Paging::Resolve),
            Self::Expired | Self::HaltedByHand => (Severity::Warning, Paging::None),
            Self::Halted => (Severity::Critical, Paging::Trigger),
        }
    }

    const fn said(self) -> &'static str {
        match self {
            Self::Opened => "is opened",
            Self::Completed => "is completed",
            Self::Halted => {
                "is HALTED: no key moves any more, each stays with its owner; stop the old client, \
                 then open another window for the rest"
            }
            Self::HaltedByHand => "is halted by hand",
            Self::Expired => "has expired",
            Self::Closed => "is closed",
        }
    }
}

/// Writes it down, then tells it. An event has the same id whenever it is told.
pub(super) fn tell(gate: &Gate, news: &News, actor: &Actor) {
    let id = name_of(news.window);
    gate.response.audit.act(ActionRecord {
        at_unix_ms: news.at_unix_ms,
        actor: actor.clone(),
        action: news.kind.as_str().to_owned(),
        subject: news.name.clone(),
        reason: news.reason.clone(),
        details: news.details.to_string(),
    });
    let (severity, paging) = match (news.kind.loudness(), &news.page) {
        // The page is the incident's: it ends when that does.
        ((severity, Paging::Resolve), Some(_)) => (severity, Paging::None),
        (loudness, _) => loudness,
    };
    tracing::info!(
        event = news.kind.as_str(),
        window = id,
        name = news.name,
        reason = news.reason,
        "a rotation window {}",
        news.kind.said()
    );
    gate.response.events.emit(Event {
        id: format!("{}-{id}", news.kind.as_str()),
        at_unix_ms: news.at_unix_ms,
        kind: news.kind.as_str().to_owned(),
        severity,
        paging,
        dedup_key: news.page.clone().unwrap_or_else(|| format!("rotation-{id}")),
        summary: format!("rotation {} {} ({})", news.name, news.kind.said(), news.reason),
        subject: news.name.clone(),
        details: news.details.clone(),
    });
}
