//! What is said of an incident: one line that says who, from where, which keys, what was normal,
//! what was decided and what was done.

use serde_json::json;

use super::Wish;
use super::record::{Deed, Incident, State};
use crate::audit::Actor;
use crate::events::{Event, Paging};

/// What an incident tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Opened,
    Joined,
    Reopened,
}

impl Incident {
    /// Notes what is to be told. It pages once, whatever joins it.
    pub(super) fn tell(&mut self, told: Told, pages: bool) {
        let paging = if pages { Paging::Trigger } else { Paging::None };
        let kind = match told {
            Told::Nothing if !pages => return,
            Told::Nothing | Told::Joined => "incident.joined",
            Told::Opened => "incident.opened",
            Told::Reopened => "incident.reopened",
        };
        self.paged |= pages;
        self.told_keys = self.keys;
        let at_unix_ms = self.last_seen_unix_ms;
        self.say(kind, paging, at_unix_ms, self.summary());
    }

    /// It was over, and is not.
    pub(super) fn begin_again(&mut self, at_unix_ms: u64) {
        self.state = State::Open;
        self.reopened += 1;
        self.paged = false;
        self.burst = (at_unix_ms, 0);
    }

    /// Somebody, or the gate, has moved it to another state.
    pub(super) fn moved(&mut self, to: State, wish: &Wish<'_>, deed: Deed) {
        let word = match to {
            State::Acknowledged => "acknowledged",
            State::Resolved => "resolved",
            State::Open => "reopened",
        };
        let (kind, paging) = match to {
            State::Acknowledged => ("incident.acknowledged", Paging::Acknowledge),
            State::Resolved => ("incident.resolved", Paging::Resolve),
            State::Open => ("incident.reopened", Paging::None), // who reopens it looks at it
        };
        if to == State::Open {
            self.begin_again(wish.at_unix_ms);
        }
        // Nobody was woken up: there is no page to end.
        let paging = if self.paged { paging } else { Paging::None };
        self.state = to;
        self.add_deed(deed);
        let by = name(wish.actor);
        let line = format!("{word} by {by} ({}): {}", wish.reason, self.summary());
        self.say(kind, paging, wish.at_unix_ms, line);
    }

    fn say(&mut self, kind: &str, paging: Paging, at_unix_ms: u64, summary: String) {
        self.events += 1;
        self.unsaid.push(Event {
            id: format!("{}-{}", self.id, self.events),
            at_unix_ms,
            kind: kind.to_owned(),
            severity: self.severity,
            paging,
            dedup_key: self.id.clone(),
            summary,
            subject: self.subject(),
            details: json!({
                "incident": self.id,
                "cause": self.cause,
                "state": self.state.as_str(),
                "keys": self.keys,
                "requests": self.requests,
                "offences": self.offences,
                "codes": self.codes,
                "clients": self.clients,
                "sources": self.sources,
                "groups": self.groups,
                "first": self.first,
                "last": self.last,
                "done": self.deeds.iter().rev().take(DEEDS_TOLD).collect::<Vec<_>>(),
                "audit_positions": self.positions,
            }),
        });
    }

    /// What it is about, in a word or two.
    fn subject(&self) -> String {
        let cause = &self.cause;
        let is_named = !cause.scope.is_empty();
        if is_named { cause.scope.clone() } else { cause.family.as_str().to_owned() }
    }

    /// Who, from where, which keys, what was normal, what was decided and done, in one line.
    pub fn summary(&self) -> String {
        let first = &self.first;
        let what = self.cause.family.in_words();
        if first.client.is_empty() {
            return format!("{what}: {} ({}), {} times", first.reason, first.code, self.requests);
        }
        let keys = match self.keys {
            0 | 1 => format!("key {}", short(&first.public_key)),
            many => format!("{many} keys, the first {}", short(&first.public_key)),
        };
        let group = self.groups.first().map_or(String::new(), |group| format!(" of {group}"));
        let normal = first.normal.as_ref().map_or_else(String::new, |it| format!("; {it}"));
        let codes: Vec<&str> = self.codes.keys().map(String::as_str).collect();
        let mut done: Vec<&str> = self.deeds.iter().map(|deed| deed.action.as_str()).collect();
        done.sort_unstable();
        done.dedup();
        let done = if done.is_empty() { "nothing further".to_owned() } else { done.join(", ") };
        format!(
            "{what}: {} from {} asked for {}, {keys}{group}, at {}.{:03} s into slot {}{normal}; {}: \
             {} ({} requests); done: {done}",
            first.client,
            first.peer,
            first.kind.as_deref().unwrap_or("a signature"),
            first.into_slot_ms / 1_000,
            first.into_slot_ms % 1_000,
            first.slot,
            first.verdict,
            codes.join(", "),
            self.requests,
        )
    }
}

/// Who, in a word.
pub(super) fn name(actor: &Actor) -> String {
    match actor {
        Actor::Gate(name) => format!("the gate ({name})"),
        Actor::Person(name) => name.clone(),
        Actor::Local => "somebody on the gate's machine".to_owned(),
    }
}

/// A key, as much of it as a person compares.
fn short(key: &str) -> String {
    let begin: String = key.chars().take(12).collect();
    if begin.len() < key.len() { format!("{begin}...") } else { begin }
}

/// The last deeds that an event tells of: a page has its bounds.
const DEEDS_TOLD: usize = 16;
