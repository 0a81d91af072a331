//! A recording judged once more, by a draft: what it would have refused, and why.
//!
//! The engine begins with nothing and sees what the gate's own saw, in the same order. Where the
//! draft allows what was allowed, a request goes the way that it went; where it allows what was
//! refused, it is taken as signed; where it refuses what was signed, nothing is learned from it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use policy::{
    Chain, ClientIndex, Decision, Engine, Finding, GroupIndex, KeyState, Moment, Observation,
    Outcome, Policy, Verdict,
};

pub use self::places::SharedPlaces;
pub use self::report::{Refusals, RefusedRequest, Report};

use super::event::{Event, Header, JudgedEvent, Said};
use super::read::{Item, ReadError, Segment};

mod places;
mod report;

/// Judges the recording in these files by the draft; `refused` hears of each request that the draft
/// refuses, in the order of the recording.
///
/// # Errors
/// When a file cannot be read, or is none of a recording.
pub fn replay(
    draft: Policy,
    places: &SharedPlaces,
    files: &[PathBuf],
    mut refused: impl FnMut(&RefusedRequest),
) -> Result<Report, ReadError> {
    let mut replay = Replay {
        places,
        draft,
        engine: Engine::new(),
        keys: HashMap::new(),
        open: HashMap::new(),
        held: Vec::new(),
        last: None,
        begun_unix_ms: None,
        by_slot: BTreeMap::new(),
        report: Report::default(),
        refused: &mut refused,
    };
    let mut slots_per_epoch = Chain::default().slots_per_epoch;
    for file in files {
        let mut segment = Segment::open(file)?;
        slots_per_epoch = segment.header().slots_per_epoch;
        let mut names = FileNames::of(segment.header(), &replay.draft, &mut replay.report);
        replay.begin(segment.header());
        loop {
            let items = segment.next_block()?;
            if items.is_empty() {
                break;
            }
            for item in items {
                replay.item(&mut names, item);
            }
        }
        if let Some(missing) = segment.missing() {
            replay.report.missing.push((file.clone(), missing.clone()));
        }
    }
    Ok(replay.finish(slots_per_epoch))
}

/// Who stands behind the places in one file.
struct FileNames {
    groups: Vec<GroupIndex>,
    clients: HashMap<u16, (ClientIndex, String)>,
    keys: HashMap<u32, (u32, [u8; 48])>,
}

impl FileNames {
    fn of(header: &Header, draft: &Policy, report: &mut Report) -> Self {
        let groups = header.groups.iter().map(|name| {
            let place = draft.groups.iter().rposition(|group| group.name == *name);
            if place.is_none() && !report.unknown_groups.contains(name) {
                report.unknown_groups.push(name.clone());
            }
            GroupIndex(place.and_then(|place| u16::try_from(place).ok()).unwrap_or(0))
        });
        Self { groups: groups.collect(), clients: HashMap::new(), keys: HashMap::new() }
    }
}

/// How a request that the draft allows goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    /// The recording says it: what became of it stands further on.
    Recording,
    /// It stands behind us: the gate had decided while the draft still waited.
    Nothing,
}

/// A request that the draft has put off.
struct Held {
    judged: JudgedEvent,
    until_ms: u64,
    who: Who,
}

#[derive(Clone)]
struct Who {
    public_key: [u8; 48],
    client: String,
}

struct Replay<'a> {
    places: &'a SharedPlaces,
    draft: Policy,
    engine: Engine,
    keys: HashMap<u32, KeyState>,
    /// Requests that the draft allows, until their signatures are released.
    open: HashMap<(u32, u64), Vec<Observation>>,
    held: Vec<Held>,
    last: Option<Moment>,
    begun_unix_ms: Option<u64>,
    /// Requests and refusals by slot, for the last epoch.
    by_slot: BTreeMap<u64, (u64, u64)>,
    report: Report,
    refused: &'a mut dyn FnMut(&RefusedRequest),
}

impl Replay<'_> {
    fn begin(&mut self, header: &Header) {
        self.draft.chain = Chain {
            slots_per_epoch: header.slots_per_epoch,
            slot_ms: header.slot_ms,
            epochs_per_sync_period: header.epochs_per_sync_period,
            sync_committee_size: header.sync_committee_size,
            active_validators: self.draft.chain.active_validators,
        };
        if self.begun_unix_ms.replace(header.begun_unix_ms) != Some(header.begun_unix_ms) {
            self.last = None; // another process: the gate was not there in between
        }
    }

    fn item(&mut self, names: &mut FileNames, item: Item) {
        match item {
            Item::Client { place, name } => {
                let shared = self.places.client(&name);
                self.draft.name_client(usize::from(shared.0), name.clone());
                names.clients.insert(place, (shared, name));
            }
            Item::Key { place, public_key } => {
                names.keys.insert(place, (self.places.key(&public_key), public_key));
            }
            Item::Lost(count) => self.report.lost += count,
            Item::Event(Event::Judged(mut judged)) => {
                let seen = &mut judged.seen;
                let client = names.clients.get(&seen.source.client.0);
                let (Some((place, name)), Some((key, public_key))) =
                    (client, names.keys.get(&seen.key))
                else {
                    self.report.lost += 1; // nobody can say whose it was
                    return;
                };
                seen.source.client = *place;
                seen.key = *key;
                seen.group =
                    names.groups.get(usize::from(seen.group.0)).copied().unwrap_or_default();
                let who = Who { public_key: *public_key, client: name.clone() };
                self.judged(judged, who);
            }
            Item::Event(Event::Admitted { key, root }) => {
                if let Some((key, _)) = names.keys.get(&key) {
                    self.admitted(*key, root);
                }
            }
            Item::Event(Event::Released { key, root, outcome }) => {
                if let Some((key, public_key)) = names.keys.get(&key) {
                    self.released(*key, root, &outcome, *public_key);
                }
            }
        }
    }

    fn judged(&mut self, judged: JudgedEvent, who: Who) {
        self.advance(judged.seen.at);
        if judged.after_hold {
            let is_this =
                |held: &Held| (held.judged.seen.key, held.judged.seen.root) == key_root(&judged);
            if let Some(place) = self.held.iter().position(is_this) {
                self.held.swap_remove(place);
                self.decide_finally(&judged, &who, Follow::Recording);
            } else if judged.said == Said::Refused {
                self.allowed_at_once(&judged);
            }
            return;
        }
        self.report.requests += 1;
        self.by_slot.entry(judged.seen.at.slot).or_default().0 += 1;
        let state = self.keys.entry(judged.seen.key).or_default();
        let decision = self.engine.judge(&self.draft, state, &judged.seen);
        // As in the path: what is not safe shows that its client is there, and no more.
        let is_repeat = judged.seen.is_repeat || !judged.is_safe;
        let asked = Observation { is_repeat, ..judged.seen };
        self.engine.attempted(&self.draft, state, &asked);
        if !judged.is_safe {
            self.report.not_safe += 1;
            if decision.verdict == Verdict::Refuse {
                self.engine.refused(&self.draft, state, &judged.seen, &decision);
            }
            return;
        }
        match decision.verdict {
            Verdict::Allow => self.allow(&judged, Follow::Recording),
            Verdict::HoldUntil(until_ms) => {
                self.report.held += 1;
                self.held.push(Held { judged, until_ms, who });
            }
            Verdict::Refuse => self.refuse(&judged, &who, &decision),
        }
    }

    /// The gate itself decides so about a request that was held once.
    fn decide_finally(&mut self, judged: &JudgedEvent, who: &Who, follow: Follow) {
        let state = self.keys.entry(judged.seen.key).or_default();
        let decision = self.engine.judge(&self.draft, state, &judged.seen);
        let refuses = decision.findings.iter().any(Finding::refuses);
        match decision.verdict {
            Verdict::Allow => self.allow(judged, follow),
            Verdict::HoldUntil(_) if !refuses => self.allow(judged, follow),
            Verdict::HoldUntil(_) | Verdict::Refuse => self.refuse(judged, who, &decision),
        }
    }

    fn allow(&mut self, judged: &JudgedEvent, follow: Follow) {
        match (judged.said, follow) {
            (Said::Refused, _) => {
                self.report.allowed_instead += 1;
                self.take_as_signed(&judged.seen);
            }
            (Said::Allowed | Said::Held, Follow::Nothing) => self.take_as_signed(&judged.seen),
            (Said::Allowed | Said::Held, Follow::Recording) => {
                self.open.entry(key_root(judged)).or_default().push(judged.seen);
            }
        }
    }

    /// The gate has refused after a hold what the draft had allowed before it.
    fn allowed_at_once(&mut self, judged: &JudgedEvent) {
        let open = self.open.get_mut(&key_root(judged));
        if let Some(seen) = open.and_then(Vec::pop) {
            self.report.allowed_instead += 1;
            self.take_as_signed(&seen);
        }
    }

    fn take_as_signed(&mut self, seen: &Observation) {
        let state = self.keys.entry(seen.key).or_default();
        self.engine.admit(&self.draft, state, seen);
        let of_one_signer = Outcome { shares: None, chosen_by_gate: false };
        self.engine.learn(&self.draft, state, seen, &of_one_signer);
    }

    fn refuse(&mut self, judged: &JudgedEvent, who: &Who, decision: &Decision) {
        let state = self.keys.entry(judged.seen.key).or_default();
        let refusing = Decision { verdict: Verdict::Refuse, ..decision.clone() };
        self.engine.refused(&self.draft, state, &judged.seen, &refusing);
        self.note(&judged.seen, judged.said != Said::Refused, who, &refusing);
    }

    fn note(&mut self, seen: &Observation, was_signed: bool, who: &Who, decision: &Decision) {
        let Some(finding) = decision.refusal() else { return };
        let group = self.draft.groups.get(usize::from(seen.group.0));
        let group = group.map_or_else(String::new, |group| group.name.clone());
        let evidence = &finding.evidence;
        let request = RefusedRequest {
            public_key: who.public_key,
            group: group.clone(),
            client: who.client.clone(),
            seen: *seen,
            rule: finding.rule,
            evidence: format!(
                "{}: {}, not {}",
                evidence.what, evidence.observed, evidence.expected
            ),
            was_signed,
        };
        (self.refused)(&request);
        self.report.refused += 1;
        self.by_slot.entry(seen.at.slot).or_default().1 += 1;
        let of_rule = self.report.by_rule.entry((finding.rule, group)).or_default();
        of_rule.count += 1;
        of_rule.were_signed += u64::from(was_signed);
        if of_rule.examples.len() < EXAMPLES {
            of_rule.examples.push(request);
        }
    }

    fn admitted(&mut self, key: u32, root: u64) {
        let Some(seen) = self.open.get(&(key, root)).and_then(|open| open.last()) else {
            return; // the draft has refused it, or still holds it
        };
        let state = self.keys.entry(key).or_default();
        self.engine.admit(&self.draft, state, seen);
    }

    fn released(&mut self, key: u32, root: u64, outcome: &Outcome, public_key: [u8; 48]) {
        let Some(open) = self.open.get_mut(&(key, root)).filter(|open| !open.is_empty()) else {
            return;
        };
        let seen = open.remove(0);
        let state = self.keys.entry(key).or_default();
        let decision = self.engine.judge_answer(&self.draft, state, &seen, outcome);
        if decision.verdict == Verdict::Refuse {
            self.engine.refused(&self.draft, state, &seen, &decision);
            let client = self.places.name(seen.source.client);
            self.note(&seen, true, &Who { public_key, client }, &decision);
            return;
        }
        self.engine.learn(&self.draft, state, &seen, outcome);
    }

    /// Brings time forward: what was held is decided, and each slot has its turn.
    fn advance(&mut self, at: Moment) {
        self.end_holds(at.unix_ms);
        let Some(last) = self.last.replace(at) else {
            self.engine.resumed(at);
            return;
        };
        if at.epoch > last.epoch.saturating_add(EPOCHS_AWAY_MAX) {
            self.engine.resumed(at);
        }
        if at.slot > last.slot {
            let first = last.slot.saturating_add(1).max(at.slot.saturating_sub(TURNS_MAX));
            let slot_ms = u64::from(self.draft.chain.slot_ms);
            let began_ms = at.unix_ms.saturating_sub(u64::from(at.into_slot_ms));
            for slot in first..=at.slot {
                let unix_ms = began_ms.saturating_sub((at.slot - slot).saturating_mul(slot_ms));
                let epoch = slot / self.draft.chain.slots_per_epoch.max(1);
                self.engine.tick(&self.draft, Moment { unix_ms, slot, epoch, into_slot_ms: 0 });
            }
            self.forget(at.slot);
        } else if at.slot < last.slot {
            self.last = Some(last); // two cores; time does not go back
        }
    }

    fn end_holds(&mut self, now_ms: u64) {
        // By then the gate's own second look stands in the recording, if there was one.
        let is_over = |held: &Held| held.until_ms.saturating_add(HOLD_GRACE_MS) <= now_ms;
        while let Some(place) = self.held.iter().position(is_over) {
            let Held { mut judged, until_ms, who } = self.held.remove(place);
            let waited_ms = until_ms.saturating_sub(judged.seen.at.unix_ms);
            let at = &mut judged.seen.at;
            at.unix_ms = until_ms;
            let waited_ms = u32::try_from(waited_ms).unwrap_or(u32::MAX);
            at.into_slot_ms = at.into_slot_ms.saturating_add(waited_ms);
            self.decide_finally(&judged, &who, Follow::Nothing);
        }
    }

    /// What was allowed and never released: its signer failed.
    fn forget(&mut self, slot: u64) {
        self.open.retain(|_, open| {
            open.retain(|seen| seen.at.slot.saturating_add(SLOTS_OPEN_MAX) >= slot);
            !open.is_empty()
        });
    }

    fn finish(mut self, slots_per_epoch: u64) -> Report {
        self.end_holds(u64::MAX);
        let last = self.last.map_or(0, |last| last.slot);
        let first = last.saturating_add(1).saturating_sub(slots_per_epoch);
        for (requests, refused) in self.by_slot.range(first..).map(|(_, counts)| counts) {
            self.report.last_epoch_requests += requests;
            self.report.last_epoch_refused += refused;
        }
        self.report
    }
}

fn key_root(judged: &JudgedEvent) -> (u32, u64) {
    (judged.seen.key, judged.seen.root)
}

/// Requests of a rule and a group that are shown.
const EXAMPLES: usize = 3;
/// Epochs of absence after which it is not known who is alive, as in `run`.
const EPOCHS_AWAY_MAX: u64 = 2;
/// Slots whose turns are taken one by one after a gap.
const TURNS_MAX: u64 = 64;
const SLOTS_OPEN_MAX: u64 = 2;
const HOLD_GRACE_MS: u64 = 50;
