//! The ways by which people are told, as `run` sets them up, and their test.

use std::sync::Arc;

use anyhow::Context;

use crate::audit::{ActionRecord, Actor};
use crate::config::Config;
use crate::control::Reply;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::sign::Gate;

/// Takes up what the last run left to be told.
///
/// # Errors
/// A spool that cannot be opened, or TLS that cannot be set up.
pub(super) fn events(config: &Config, metrics: &Metrics) -> anyhow::Result<Events> {
    let settings = config.events.settings(config.slashing.directory.join("events"));
    Events::start(&settings, &metrics.event)
        .context("cannot tell anybody of what happens (section [events])")
}

/// From now on the dead-man's switch gets a sign of life while the gate can sign.
pub(super) fn beat(gate: &Arc<Gate>) {
    let alive = Arc::downgrade(gate);
    gate.response.events.beat_while(Box::new(move || {
        alive.upgrade().is_some_and(|gate| {
            let can_record = gate.store.fault(gate.clock.now().boot).is_none();
            can_record && !gate.response.audit.is_blocked()
        })
    }));
}

/// Tries the ways out for an operator on this machine.
pub(super) fn test(gate: &Gate, sink: Option<&str>, page: bool) -> Reply {
    let events = &gate.response.events;
    let _ = gate.response.audit.act(ActionRecord {
        at_unix_ms: gate.clock.now().unix_ns / 1_000_000,
        actor: Actor::Local,
        action: "events.tested".to_owned(),
        subject: sink.unwrap_or("all sinks").to_owned(),
        reason: String::new(),
        details: format!("{{\"page\":{page}}}"),
    });
    if page {
        return Reply::PageGiven(events.test_page());
    }
    let answers = events.test(sink);
    if answers.is_empty() {
        return Reply::Refused(match sink {
            None => "the configuration of the running gate has no [[events.sinks]]".to_owned(),
            Some(sink) => {
                format!("no [[events.sinks]] entry of the running gate is named `{sink}`")
            }
        });
    }
    Reply::SinkAnswers(answers)
}
