//! Incidents: what has one cause is one, however many keys it concerns, and wakes a person up once.
//!
//! | file | what |
//! |---|---|
//! | `incident/class.rs` | the kinds of cause, and which of them page |
//! | `incident/cause.rs` | what tells incidents apart |
//! | `incident/record.rs` | one incident, as it is kept |
//! | `incident/kept.rs` | all of them, in memory and on disk |
//! | `incident/tell.rs` | what is said of them, in events and lines |
//! | `incident/story.rs` | its timeline, for people and for scripts |
//!
//! # States
//! `open` until somebody acknowledges it; `resolved` by a person, or by the gate once it has been
//! quiet for long enough. A new offence within a time after that reopens it, and may page again;
//! later it is another incident.
//!
//! # Order
//! In memory, then on disk together with the events that are still to be told, then told. After a
//! crash what may not have been told is told again, under the same ids.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use policy::{Alarm, Policy};
use serde_json::json;
use slashing_db::SideTableError;
use thiserror::Error;

use self::cause::Cause;
use self::class::Family;
use self::kept::{Change, Kept};
pub use self::record::{Deed, Incident, KEYS_MAX, Sighting, State};
use self::tell::Told;
use super::playbook::Consequence;
use super::{Notice, Response, ResponseTable};
use crate::audit::{ActionRecord, Actor, Position};

pub mod cause;
pub mod class;
mod kept;
mod record;
pub mod story;
mod tell;
#[cfg(test)]
mod tests;

/// For how long what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// An incident is over after so many milliseconds without anything new.
    pub resolve_after_ms: u64,
    /// And begins again, if something new comes so soon after its end; in milliseconds.
    pub reopen_within_ms: u64,
    /// How many are kept; the oldest of those that are over go first.
    pub kept_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { resolve_after_ms: 6 * HOUR_MS, reopen_within_ms: 24 * HOUR_MS, kept_max: 4_096 }
    }
}

/// Something that was noticed beside requests: about several keys, or a signer.
#[derive(Clone, Debug)]
pub struct Report {
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// What kind it is.
    pub family: Family,
    /// A stable word: a rule, an event.
    pub code: String,
    /// What it is about: a group, a source, a signer.
    pub about: String,
    /// What was seen, and what is normal.
    pub reason: String,
}

impl Report {
    /// An alarm of the engine.
    pub fn of_alarm(alarm: &Alarm, at_unix_ms: u64) -> Self {
        let family =
            if alarm.is_network_event { Family::Watched } else { Family::of_rule(alarm.rule) };
        Self {
            at_unix_ms,
            family,
            code: alarm.rule.as_str().to_owned(),
            about: alarm.about.clone(),
            reason: alarm.reason.clone(),
        }
    }
}

/// Who wants something of an incident, and why.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// In their words.
    pub reason: &'a str,
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
}

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum NotDone {
    /// There is none of that name.
    #[error("no incident is named {0}")]
    Unknown(String),
    /// It is not in a state for that.
    #[error("incident {id} is {state}: {wanted}", state = .state.as_str())]
    WrongState {
        /// Which.
        id: String,
        /// Its state.
        state: State,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// The disk did not take it.
    #[error("the state of incidents cannot be written; look at the disk of slashing.directory")]
    Table(#[from] SideTableError),
}

/// Every incident that is kept.
#[derive(Debug, Default)]
pub struct Incidents {
    settings: Settings,
    kept: RwLock<Kept>,
    /// Held by who changes one and tells of it, so that what is told is in order.
    turn: Mutex<()>,
    /// What was noticed and waits.
    reports: Mutex<Vec<Report>>,
}

impl Incidents {
    /// What was kept in `table`.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub fn open(table: &ResponseTable, settings: Settings) -> Result<Self, SideTableError> {
        let kept = RwLock::new(Kept::read(table)?);
        Ok(Self { settings, kept, turn: Mutex::default(), reports: Mutex::default() })
    }

    /// Tells again what a crash may have kept from being told: once, before anything new.
    pub fn tell_again(&self, response: &Response) {
        let _turn = self.turn.lock();
        let unsaid = self.kept.read().with_unsaid();
        self.tell(response, unsaid);
    }

    /// Opens or joins the incident of each of these. When it returns, that is on disk and told.
    pub fn take(&self, response: &Response, policy: &Policy, batch: &[Consequence]) {
        if batch.is_empty() {
            return;
        }
        let _turn = self.turn.lock();
        let mut change = Change::default();
        {
            let mut kept = self.kept.write();
            for one in batch {
                self.join(&mut kept, &mut change, policy, one);
            }
        }
        self.settle(response, change);
    }

    /// Hands over something that was noticed beside requests. Waits for nothing: where too much
    /// waits, it is lost, and comes again if it goes on.
    pub fn noticed(&self, report: Report) {
        let mut reports = self.reports.lock();
        if reports.len() < REPORTS_MAX {
            reports.push(report);
        }
    }

    /// Opens or joins the incidents of what was [`noticed`](Self::noticed) meanwhile.
    pub fn take_reports(&self, response: &Response) {
        let reports = std::mem::take(&mut *self.reports.lock());
        if reports.is_empty() {
            return;
        }
        let _turn = self.turn.lock();
        let mut change = Change::default();
        {
            let mut kept = self.kept.write();
            for report in &reports {
                self.note(&mut kept, &mut change, report);
            }
        }
        self.settle(response, change);
    }

    fn note(&self, kept: &mut Kept, change: &mut Change, report: &Report) {
        let Report { at_unix_ms, family, code, about, reason } = report;
        let cause = Cause { family: *family, scope: code.clone(), source: about.clone() };
        let sighting = Sighting {
            at_unix_ms: *at_unix_ms,
            code: code.clone(),
            reason: reason.clone(),
            ..Sighting::default()
        };
        let (id, told) = self.find(kept, cause, &sighting);
        let Some(incident) = kept.get_mut(&id) else { return };
        incident.saw(*at_unix_ms, true);
        *incident.codes.entry(code.clone()).or_default() += 1;
        incident.last = sighting;
        incident.tell(told, incident.is_to_page());
        change.touch(id);
    }

    /// Notes what was done about a live incident: a quarantine that a person imposed, a halt.
    pub fn did(&self, response: &Response, id: &str, deed: Deed) {
        let _turn = self.turn.lock();
        let mut change = Change::default();
        if let Some(incident) = self.kept.write().get_mut(id) {
            incident.add_deed(deed);
            change.touch(id.to_owned());
        }
        self.settle(response, change);
    }

    /// Ends what has been quiet for long, and forgets what is over and beyond the bound.
    pub fn tick(&self, response: &Response, now_unix_ms: u64) {
        let _turn = self.turn.lock();
        let quiet = self.kept.read().quiet_since(now_unix_ms, self.settings.resolve_after_ms);
        for id in quiet {
            let hours = self.settings.resolve_after_ms / HOUR_MS;
            let reason = format!("nothing new for {hours} hours");
            let actor = Actor::Gate("incidents".to_owned());
            let wish = Wish { actor: &actor, reason: &reason, at_unix_ms: now_unix_ms };
            if let Err(error) = self.move_to(response, &id, State::Resolved, &wish) {
                tracing::warn!(event = "incident_not_kept", %error, "an incident stays open");
            }
        }
        let mut change = Change::default();
        change.forgotten = self.kept.write().forget(self.settings.kept_max);
        self.settle(response, change);
    }

    /// Somebody looks at it.
    ///
    /// # Errors
    /// [`NotDone`]
    pub fn acknowledge(
        &self,
        response: &Response,
        id: &str,
        wish: &Wish<'_>,
    ) -> Result<Position, NotDone> {
        let _turn = self.turn.lock();
        self.move_to(response, id, State::Acknowledged, wish)
    }

    /// It is over.
    ///
    /// # Errors
    /// [`NotDone`]
    pub fn resolve(
        &self,
        response: &Response,
        id: &str,
        wish: &Wish<'_>,
    ) -> Result<Position, NotDone> {
        let _turn = self.turn.lock();
        self.move_to(response, id, State::Resolved, wish)
    }

    /// It is not over after all.
    ///
    /// # Errors
    /// [`NotDone`]
    pub fn reopen(
        &self,
        response: &Response,
        id: &str,
        wish: &Wish<'_>,
    ) -> Result<Position, NotDone> {
        let _turn = self.turn.lock();
        self.move_to(response, id, State::Open, wish)
    }

    /// Every incident, the newest first.
    pub fn list(&self) -> Vec<Arc<Incident>> {
        self.kept.read().list()
    }

    /// One incident.
    pub fn get(&self, id: &str) -> Option<Arc<Incident>> {
        self.kept.read().get(id)
    }

    /// The keys of an incident, each with how often it was asked for.
    pub fn keys(&self, id: &str) -> Vec<(String, u64)> {
        self.kept.read().keys(id)
    }

    /// The incident that something of this cause would join.
    pub fn live_for(&self, policy: &Policy, notice: &Notice) -> Option<String> {
        self.kept.read().live(&Cause::of(notice, policy), notice)
    }

    /// The incident of what the clients of a rotation do to each other, while it lasts.
    pub fn live_of_rotation(&self, window: &str) -> Option<String> {
        self.kept.read().live_of(&Cause::of_rotation(window))
    }

    fn join(&self, kept: &mut Kept, change: &mut Change, policy: &Policy, one: &Consequence) {
        let notice = &one.notice;
        let cause = Cause::of(notice, policy);
        let (id, mut told) = match kept.live(&cause, notice) {
            Some(id) => (id, Told::Nothing),
            None => self.find(kept, cause, &Sighting::of(notice)),
        };
        let is_new = kept.is_new_offence(&id, notice);
        let is_new_key = kept.add_key(&id, &notice.public_key);
        let Some(incident) = kept.get_mut(&id) else { return };
        let group = notice.group.and_then(|group| policy.groups.get(usize::from(group.0)));
        let group = group.map_or("", |group| group.name.as_str());
        let is_novel = incident.add(one, group, is_new);
        incident.keys += u64::from(is_new_key);
        let has_doubled = incident.keys >= 2 * incident.told_keys.max(1);
        if told == Told::Nothing && (is_novel || has_doubled || !one.done.is_empty()) {
            told = Told::Joined;
        }
        incident.tell(told, incident.is_to_page_for(one.urgency));
        change.key(&id, &notice.public_key);
        change.touch(id);
    }

    /// The live incident of a cause, one that ended a moment ago, or a new one; and what is told.
    fn find(&self, kept: &mut Kept, cause: Cause, first: &Sighting) -> (String, Told) {
        if let Some(id) = kept.of_cause(&cause) {
            let within = self.settings.reopen_within_ms;
            if let Some(incident) = kept.get_mut(&id) {
                let quiet_ms = first.at_unix_ms.saturating_sub(incident.last_seen_unix_ms);
                if incident.is_live() {
                    return (id, Told::Nothing);
                }
                if quiet_ms <= within {
                    incident.begin_again(first.at_unix_ms);
                    return (id, Told::Reopened);
                }
            }
        }
        (kept.begin(cause, first.clone()), Told::Opened)
    }

    fn move_to(
        &self,
        response: &Response,
        id: &str,
        to: State,
        wish: &Wish<'_>,
    ) -> Result<Position, NotDone> {
        let incident = self.get(id).ok_or_else(|| NotDone::Unknown(id.to_owned()))?;
        let (action, wanted, fits) = match to {
            State::Acknowledged => {
                ("incident.acknowledged", "only an open one can be", incident.state == State::Open)
            }
            State::Resolved => {
                ("incident.resolved", "only one that is not over can be", incident.is_live())
            }
            State::Open => {
                ("incident.reopened", "only one that is over can be", !incident.is_live())
            }
        };
        if !fits {
            return Err(NotDone::WrongState { id: id.to_owned(), state: incident.state, wanted });
        }
        let position = response.audit.act(ActionRecord {
            at_unix_ms: wish.at_unix_ms,
            actor: wish.actor.clone(),
            action: action.to_owned(),
            subject: id.to_owned(),
            reason: wish.reason.to_owned(),
            details: json!({ "cause": incident.cause, "keys": incident.keys }).to_string(),
        });
        let mut change = Change::default();
        if let Some(incident) = self.kept.write().get_mut(id) {
            incident.moved(
                to,
                wish,
                Deed {
                    at_unix_ms: wish.at_unix_ms,
                    action: action.to_owned(),
                    subject: id.to_owned(),
                    reason: format!("{}: {}", tell::name(wish.actor), wish.reason),
                    position: Some(position.0),
                },
            );
            change.touch(id.to_owned());
        }
        self.commit(response, &change)?;
        self.tell(response, change.ids());
        Ok(position)
    }

    /// On disk, then told. Where the disk does not take it, it is told nevertheless: somebody has
    /// to hear of it.
    fn settle(&self, response: &Response, change: Change) {
        if let Err(error) = self.commit(response, &change) {
            tracing::error!(
                event = "incident_not_kept",
                %error,
                "what is known of an incident cannot be written; look at the disk of \
                 slashing.directory"
            );
        }
        self.tell(response, change.ids());
    }

    fn commit(&self, response: &Response, change: &Change) -> Result<(), SideTableError> {
        let rows = self.kept.read().rows(change);
        if rows.is_empty() { Ok(()) } else { response.table.commit(rows) }
    }

    /// Gives in what is still to be told of these, and notes that it is on its way.
    fn tell(&self, response: &Response, ids: Vec<String>) {
        let mut change = Change::default();
        for id in ids {
            let unsaid = self.get(&id).map(|incident| incident.unsaid.clone());
            for event in unsaid.into_iter().flatten() {
                response.events.emit(event);
                change.touch(id.clone());
            }
            if let Some(incident) = self.kept.write().get_mut(&id) {
                incident.unsaid.clear();
            }
        }
        if let Err(error) = self.commit(response, &change) {
            tracing::warn!(event = "incident_not_kept", %error, "it may be told once more");
        }
    }
}

const HOUR_MS: u64 = 3_600_000;
const REPORTS_MAX: usize = 1_024;
