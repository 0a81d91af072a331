//! One incident, as it is kept: everything in it is bounded, whatever a client sends.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cause::Cause;
use super::class::Pages;
use crate::events::{Event, Severity};
use crate::metrics::Verdict;
use crate::response::playbook::{Consequence, Done, Urgency};
use crate::response::{Normal, Notice};

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has said that they look at it.
    Open,
    /// Somebody looks.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl State {
    /// Its name in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// One incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Names it for ever, and is the deduplication key of its page.
    pub id: String,
    /// What it is about.
    pub cause: Cause,
    /// Where it stands.
    pub state: State,
    /// How loud it is.
    pub severity: Severity,
    /// Whether somebody was woken up for it, since it last began.
    pub paged: bool,
    /// When it was first seen, in milliseconds of Unix time.
    pub first_seen_unix_ms: u64,
    /// When it was last seen, likewise.
    pub last_seen_unix_ms: u64,
    /// How often it has begun again.
    pub reopened: u32,
    /// Requests that belong to it, and what was told beside requests.
    pub requests: u64,
    /// Distinct messages for distinct keys: a client that is told no asks again.
    pub offences: u64,
    /// How many keys it concerns; more than [`KEYS_MAX`] are counted by their requests.
    pub keys: u64,
    /// The clients that asked, with their requests.
    pub clients: BTreeMap<String, u64>,
    /// The addresses that they came from.
    pub sources: BTreeMap<String, u64>,
    /// The codes that were answered.
    pub codes: BTreeMap<String, u64>,
    /// The key groups of the keys.
    pub groups: BTreeSet<String>,
    /// What was seen first.
    pub first: Sighting,
    /// What was seen last.
    pub last: Sighting,
    /// What was done about it: by playbooks and by people, with the places in the audit log.
    pub deeds: Vec<Deed>,
    /// The first and the last of its places in the audit log.
    pub positions: Option<(u64, u64)>,
    /// What lasts without a break: its first millisecond, and its distinct requests.
    pub(super) burst: (u64, u64),
    /// How many of its events were made, for their ids.
    pub(super) events: u64,
    /// How many keys it had when that was last told.
    pub(super) told_keys: u64,
    /// Told, and not yet known to be on its way: given in again after a crash, under the same ids.
    pub(super) unsaid: Vec<Event>,
}

/// One request, as people want to hear of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// The slot, and how far into it.
    pub slot: u64,
    /// In milliseconds.
    pub into_slot_ms: u32,
    /// What it is called in logs.
    pub request_id: String,
    /// The key.
    pub public_key: String,
    /// Who asked.
    pub client: String,
    /// From where.
    pub peer: String,
    /// What for.
    pub kind: Option<String>,
    /// `signed`, `refused`, `rejected` or `failed`.
    pub verdict: String,
    /// The stable code.
    pub code: String,
    /// In words.
    pub reason: String,
    /// What was normal.
    pub normal: Option<Normal>,
    /// Its place in the audit log.
    pub position: Option<u64>,
}

/// Something that was done about an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// What, as a stable word with dots: `quarantine.imposed`, `window.halted`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// By whom, and why.
    pub reason: String,
    /// Its place in the audit log.
    pub position: Option<u64>,
}

impl Sighting {
    pub(super) fn of(notice: &Notice) -> Self {
        Self {
            at_unix_ms: notice.at.unix_ms,
            slot: notice.at.slot,
            into_slot_ms: notice.at.into_slot_ms,
            request_id: notice.request_id.clone(),
            public_key: notice.public_key.clone(),
            client: notice.client.name().to_owned(),
            peer: notice.peer.ip().to_string(),
            kind: notice.kind.map(|kind| kind.as_str().to_owned()),
            verdict: notice.verdict.as_str().to_owned(),
            code: code(notice).to_owned(),
            reason: reason(notice),
            normal: notice.normal.clone(),
            position: notice.position.map(|position| position.0),
        }
    }
}

impl Incident {
    /// One that begins now.
    pub(super) fn begin(id: String, cause: Cause, first: Sighting) -> Self {
        Self {
            id,
            severity: cause.family.severity(),
            cause,
            state: State::Open,
            paged: false,
            first_seen_unix_ms: first.at_unix_ms,
            last_seen_unix_ms: first.at_unix_ms,
            reopened: 0,
            requests: 0,
            offences: 0,
            keys: 0,
            clients: BTreeMap::new(),
            sources: BTreeMap::new(),
            codes: BTreeMap::new(),
            groups: BTreeSet::new(),
            last: first.clone(),
            burst: (first.at_unix_ms, 0),
            first,
            deeds: Vec::new(),
            positions: None,
            events: 0,
            told_keys: 0,
            unsaid: Vec::new(),
        }
    }

    /// Whether it is not over.
    pub fn is_live(&self) -> bool {
        match self.state {
            State::Open | State::Acknowledged => true,
            State::Resolved => false,
        }
    }

    /// Takes a request on. Says whether something of it was never seen before: a code, a client.
    pub(super) fn add(&mut self, one: &Consequence, group: &str, is_new: bool) -> bool {
        let notice = &one.notice;
        self.saw(notice.at.unix_ms, is_new);
        let mut is_novel = count(&mut self.codes, code(notice));
        is_novel |= count(&mut self.clients, notice.client.name());
        count(&mut self.sources, &notice.peer.ip().to_string());
        if !group.is_empty() && self.groups.len() < NAMES_MAX {
            self.groups.insert(group.to_owned());
        }
        self.place(notice.position.map(|position| position.0));
        for Done { what, position } in &one.done {
            self.add_deed(Deed {
                at_unix_ms: notice.at.unix_ms,
                action: what.clone(),
                subject: notice.public_key.clone(),
                reason: "a playbook".to_owned(),
                position: Some(position.0),
            });
        }
        self.last = Sighting::of(notice);
        is_novel
    }

    /// Something that belongs to it happened.
    pub(super) fn saw(&mut self, at_unix_ms: u64, is_new: bool) {
        let (since, offences) = self.burst;
        let break_ms = match self.cause.family.pages() {
            Pages::IfItLasts(lasting) => lasting.break_ms,
            Pages::AtOnce | Pages::Never => u64::MAX,
        };
        self.burst = if at_unix_ms.saturating_sub(self.last_seen_unix_ms) > break_ms {
            (at_unix_ms, u64::from(is_new))
        } else {
            (since, offences + u64::from(is_new))
        };
        self.requests += 1;
        self.offences += u64::from(is_new);
        self.last_seen_unix_ms = self.last_seen_unix_ms.max(at_unix_ms);
    }

    /// Notes what was done about it. Beyond [`DEEDS_MAX`] the audit log alone knows.
    pub(super) fn add_deed(&mut self, deed: Deed) {
        self.place(deed.position);
        if self.deeds.len() < DEEDS_MAX {
            self.deeds.push(deed);
        }
    }

    fn place(&mut self, position: Option<u64>) {
        if let Some(position) = position {
            let (first, last) = self.positions.unwrap_or((position, position));
            self.positions = Some((first.min(position), last.max(position)));
        }
    }

    /// Whether a person is to be woken up now: once for an incident, until it begins again. By
    /// default its family says so; the playbook may hush it, and may call somebody for what its
    /// family would not.
    pub(super) fn is_to_page_for(&self, urgency: Urgency) -> bool {
        match urgency {
            Urgency::Usual => self.is_to_page(),
            Urgency::Page => !self.paged,
            Urgency::Observe | Urgency::Notify => false,
        }
    }

    /// The same, by its family alone.
    pub(super) fn is_to_page(&self) -> bool {
        let by_family = match self.cause.family.pages() {
            Pages::AtOnce => true,
            Pages::Never => false,
            Pages::IfItLasts(_) => self.lasts(),
        };
        by_family && !self.paged
    }

    fn lasts(&self) -> bool {
        match self.cause.family.pages() {
            Pages::IfItLasts(lasting) => {
                let (since, offences) = self.burst;
                offences >= lasting.offences
                    && self.last_seen_unix_ms.saturating_sub(since) >= lasting.for_ms
            }
            Pages::AtOnce | Pages::Never => false,
        }
    }
}

/// What was decided, in one stable word: for what was signed, the rule that had something to say.
fn code(notice: &Notice) -> &'static str {
    match notice.verdict {
        Verdict::Signed => gravest(notice).map_or(notice.code, |finding| finding.rule.as_str()),
        Verdict::Refused | Verdict::Rejected | Verdict::Failed => notice.code,
    }
}

fn reason(notice: &Notice) -> String {
    match notice.verdict {
        Verdict::Signed => gravest(notice).map_or_else(String::new, |finding| {
            let it = &finding.evidence;
            format!("{} is {}, expected {}", it.what, it.observed, it.expected)
        }),
        Verdict::Refused | Verdict::Rejected | Verdict::Failed => notice.reason.clone(),
    }
}

fn gravest(notice: &Notice) -> Option<&policy::Finding> {
    let decision = notice.decision.as_ref()?;
    decision.findings.iter().max_by_key(|finding| finding.level)
}

/// Counts a name, and says whether it is new. Beyond [`NAMES_MAX`] names are not told apart.
fn count(names: &mut BTreeMap<String, u64>, name: &str) -> bool {
    if let Some(count) = names.get_mut(name) {
        *count += 1;
        return false;
    }
    let is_room = names.len() < NAMES_MAX;
    *names.entry(if is_room { name } else { OTHERS }.to_owned()).or_default() += 1;
    is_room
}

/// Keys that are listed by name.
pub const KEYS_MAX: usize = 65_536;
/// Clients, addresses, codes, groups of one incident.
const NAMES_MAX: usize = 64;
const OTHERS: &str = "others";
const DEEDS_MAX: usize = 256;
