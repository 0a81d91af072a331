//! The timeline of an incident or a key: who, from where, when in the slot, what was normal, what
//! was decided and what was done, in the order of the audit log.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{Deed, Incident};
use super::tell;
use crate::audit::chain::hex;
use crate::audit::read::{Entry, ReadError};
use crate::audit::timeline::{Span, Subject};
use crate::audit::{ActionRecord, DecisionRecord, Position, Record};
use crate::clock::{SlotClock, iso8601};
use crate::eth::Slot;
use crate::response::Response;

use super::class::Family;

/// An incident or a key, and what happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// What it is about, in a line.
    pub title: String,
    /// The incident, if it is about one.
    pub incident: Option<Box<Incident>>,
    /// Its keys, each with how often it was asked for.
    pub keys: Vec<(String, u64)>,
    /// What happened, in order.
    pub lines: Vec<Line>,
    /// Whether there is more than was asked for, before the first line.
    pub is_cut: bool,
}

/// One thing that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its place in the audit log; none where there is no log.
    pub position: Option<u64>,
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// The slot that it was.
    pub slot: u64,
    /// How far into it, in milliseconds.
    pub into_slot_ms: u64,
    /// Who: a client, a person, the gate.
    pub who: String,
    /// From where, for a request.
    pub from: Option<String>,
    /// To what: a key, an incident, a window.
    pub subject: String,
    /// What was asked for or done.
    pub what: String,
    /// The slot or epoch that it was for.
    pub duty: Option<String>,
    /// What was decided: `signed`, `refused client_lease`; `done` for an action.
    pub decided: String,
    /// Why.
    pub why: String,
    /// What was normal.
    pub normal: Option<String>,
}

impl Response {
    /// The timeline of an incident: its newest lines, as many as asked for. None if there is no
    /// such incident.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn story_of_incident(
        &self,
        slots: SlotClock,
        id: &str,
        newest: usize,
    ) -> Result<Option<Story>, ReadError> {
        let Some(incident) = self.incidents.get(id) else { return Ok(None) };
        let keys = self.incidents.keys(id);
        let mut subjects: Vec<Subject> =
            keys.iter().map(|(key, _)| Subject::of_name(key)).collect();
        subjects.push(Subject::of_name(id));
        let (from, to) = incident.positions.unwrap_or((1, 0));
        // Of few keys all is told: it shows the owner sign on.
        let is_of_few = keys.len() <= FEW_KEYS || incident.cause.family == Family::Watched;
        let is_told = |entry: &Entry| match &entry.record {
            Record::Decision(it) => is_of_few || it.verdict != "signed",
            Record::Action(_) | Record::Gap(_) => true,
            Record::Checkpoint(_) | Record::Cut(_) | Record::Removed(_) => false,
        };
        let span = Span {
            from: Position(from),
            to: Position(to),
            newest: newest.saturating_add(1),
            ..Span::all(newest)
        };
        let found = self.timeline.find_where(&subjects, &span, is_told)?;
        let mut lines: Vec<Line> = found.iter().map(|entry| Line::of(entry, slots)).collect();
        let is_in = |lines: &[Line], deed: &Deed| {
            lines.iter().any(|line| line.position.is_some() && line.position == deed.position)
        };
        for deed in &incident.deeds {
            if !is_in(&lines, deed) {
                lines.push(Line::of_deed(deed, slots));
            }
        }
        if lines.is_empty() {
            lines.push(Line::of_incident(&incident));
        }
        lines.sort_by_key(|line| (line.position.unwrap_or(u64::MAX), line.at_unix_ms));
        let is_cut = lines.len() > newest;
        lines.drain(..lines.len().saturating_sub(newest));
        let title = format!("Incident {id}: {}", incident.summary());
        Ok(Some(Story {
            title,
            incident: Some(Box::new((*incident).clone())),
            keys,
            lines,
            is_cut,
        }))
    }

    /// The timeline of a key, a window or another name: its newest lines.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn story_of(
        &self,
        slots: SlotClock,
        name: &str,
        since_unix_ms: u64,
        newest: usize,
    ) -> Result<Story, ReadError> {
        let span = Span { since_unix_ms, ..Span::all(newest.saturating_add(1)) };
        let found = self.timeline.find(&[Subject::of_name(name)], &span)?;
        let mut lines: Vec<Line> = found.iter().map(|entry| Line::of(entry, slots)).collect();
        let is_cut = lines.len() > newest;
        lines.drain(..lines.len().saturating_sub(newest));
        Ok(Story { title: name.to_owned(), incident: None, keys: Vec::new(), lines, is_cut })
    }
}

impl Line {
    fn at(at_unix_ms: u64, slots: SlotClock) -> Self {
        let genesis_ms = slots.start_unix_ns(Slot(0)) / 1_000_000;
        let slot_ms = u64::try_from(slots.slot_duration().as_millis()).unwrap_or(u64::MAX).max(1);
        let since = at_unix_ms.saturating_sub(genesis_ms);
        Self { at_unix_ms, slot: since / slot_ms, into_slot_ms: since % slot_ms, ..Self::default() }
    }

    fn of(entry: &Entry, slots: SlotClock) -> Self {
        let line = match &entry.record {
            Record::Decision(it) => Self::of_decision(it, slots),
            Record::Action(it) => Self::of_action(it, slots),
            Record::Gap(it) => Self {
                who: "the gate".to_owned(),
                what: "audit.gap".to_owned(),
                decided: "repaired".to_owned(),
                why: format!(
                    "{} records of the slashing store had no decision in the log",
                    it.records.len() as u64 + it.more
                ),
                ..Self::at(it.at_unix_ms, slots)
            },
            Record::Checkpoint(_) | Record::Cut(_) | Record::Removed(_) => Self::default(),
        };
        Self { position: Some(entry.mark.position.0), ..line }
    }

    fn of_decision(it: &DecisionRecord, slots: SlotClock) -> Self {
        let why: Value = it
            .explanation
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let [slot, epoch, source, target] = it.times;
        let duty = match (slot, epoch, source.zip(target)) {
            (Some(slot), _, Some((source, target))) => {
                Some(format!("slot {slot}, {source} -> {target}"))
            }
            (Some(slot), _, None) => Some(format!("slot {slot}")),
            (None, Some(epoch), _) => Some(format!("epoch {epoch}")),
            (None, None, _) => None,
        };
        let decided = match it.verdict {
            "signed" => "signed".to_owned(),
            verdict => format!("{verdict} {}", it.code),
        };
        Self {
            who: it.client.clone(),
            from: Some(it.peer.ip().to_string()),
            subject: it.public_key.map_or_else(String::new, |key| hex(&key)),
            what: it.kind.unwrap_or("a signature").to_owned(),
            duty,
            decided,
            why: because(&why),
            normal: normal(&why),
            ..Self::at(it.at_unix_ms, slots)
        }
    }

    fn of_action(it: &ActionRecord, slots: SlotClock) -> Self {
        Self {
            who: tell::name(&it.actor),
            subject: it.subject.clone(),
            what: it.action.clone(),
            decided: "done".to_owned(),
            why: it.reason.clone(),
            ..Self::at(it.at_unix_ms, slots)
        }
    }

    fn of_deed(deed: &Deed, slots: SlotClock) -> Self {
        Self {
            position: deed.position,
            who: "the gate".to_owned(),
            subject: deed.subject.clone(),
            what: deed.action.clone(),
            decided: "done".to_owned(),
            why: deed.reason.clone(),
            ..Self::at(deed.at_unix_ms, slots)
        }
    }

    /// What was seen first, where the log has nothing of it: alarms, requests without a key.
    fn of_incident(incident: &Incident) -> Self {
        let first = &incident.first;
        Self {
            position: first.position,
            at_unix_ms: first.at_unix_ms,
            slot: first.slot,
            into_slot_ms: u64::from(first.into_slot_ms),
            who: first.client.clone(),
            from: (!first.peer.is_empty()).then(|| first.peer.clone()),
            subject: first.public_key.clone(),
            what: first.kind.clone().unwrap_or_else(|| incident.cause.source.clone()),
            duty: None,
            decided: format!("{} {}", first.verdict, first.code).trim().to_owned(),
            why: first.reason.clone(),
            normal: first.normal.as_ref().map(ToString::to_string),
        }
    }
}

/// Why, from the explanation of a decision.
fn because(why: &Value) -> String {
    let finding = |it: &Value| {
        let part = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
        format!("{}: {}, expected {}", part("rule"), part("observed"), part("expected"))
    };
    let findings = why["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    match findings.first() {
        Some(first) => finding(first),
        None => why["reason"].as_str().unwrap_or_default().to_owned(),
    }
}

fn normal(why: &Value) -> Option<String> {
    let normal = serde_json::from_value::<crate::response::Normal>(why.get("normal")?.clone());
    normal.ok().map(|normal| normal.to_string())
}

impl Story {
    /// For people, and for what they attach to their report.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# {}\n\n", self.title);
        if let Some(incident) = &self.incident {
            let at = |unix_ms: u64| iso8601(unix_ms / 1_000);
            let _ = writeln!(
                text,
                "- state: {}\n- severity: {:?}\n- first seen: {}\n- last seen: {}\n- requests: {} \
                 ({} distinct)\n- keys: {}",
                incident.state.as_str(),
                incident.severity,
                at(incident.first_seen_unix_ms),
                at(incident.last_seen_unix_ms),
                incident.requests,
                incident.offences,
                incident.keys,
            );
            for (key, requests) in self.keys.iter().take(KEYS_SHOWN) {
                let _ = writeln!(text, "  - {} ({requests})", cell(key));
            }
            if self.keys.len() > KEYS_SHOWN {
                let _ = writeln!(text, "  - and {} more", self.keys.len() - KEYS_SHOWN);
            }
            text.push('\n');
        }
        text.push_str(
            "| audit | time (UTC) | in slot | who | from | key or name | what | decided | why | \
             normal |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        if self.is_cut {
            text.push_str("| ... | | | | | | | | | |\n");
        }
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at_unix_ms, slot, into_slot_ms, .. } = self;
        let position = self.position.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let duty = self.duty.as_ref().map_or_else(String::new, |duty| format!(" ({duty})"));
        write!(
            f,
            "| {position} | {}.{:03} | {slot} + {}.{:03} s | {} | {} | {} | {}{duty} | {} | {} | {} |",
            iso8601(at_unix_ms / 1_000).trim_end_matches('Z'),
            at_unix_ms % 1_000,
            into_slot_ms / 1_000,
            into_slot_ms % 1_000,
            cell(&self.who),
            self.from.as_deref().unwrap_or_default(),
            cell(&self.subject),
            cell(&self.what),
            cell(&self.decided),
            cell(&self.why),
            cell(self.normal.as_deref().unwrap_or_default()),
        )
    }
}

/// A text in a table: what a client sent must not break it.
fn cell(text: &str) -> String {
    text.chars().map(|it| if it == '|' || it.is_control() { ' ' } else { it }).collect()
}

const FEW_KEYS: usize = 8;
const KEYS_SHOWN: usize = 1_000;
