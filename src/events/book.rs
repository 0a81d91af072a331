//! Who has still to be told what: for each sink the events that wait for it, in memory.
//!
//! Pure: time is passed in, nothing is sent here. The rules:
//! - A sink gets events of one deduplication key in their order, one at a time.
//! - A page waits for every sink that pages. A fallback's turn comes when the page is
//!   [`Terms::fallback_after`] old and nobody has accepted it, or when every other sink refuses it.
//! - A page is over once somebody has accepted it and no sink before the fallbacks still owes it.
//! - What a sink refuses it is asked again after [`REFUSED_AGAIN`], while nobody has accepted it:
//!   a wrong key is mended by then, or somebody has been told by another way.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::spool::Slot;
use super::{Event, Paging, Severity};

#[cfg(test)]
mod tests;

/// Events that page nobody and wait for one sink; more are dropped.
pub(super) const EVENTS_WAITING_MAX: usize = 1_024;
/// How long a sink that refuses a page is left alone with it.
pub(super) const REFUSED_AGAIN: Duration = Duration::from_secs(300);
/// A page that some sink accepted is given up at the others after this.
const OWED_MAX: Duration = Duration::from_secs(24 * 3600);
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// No sink says when to come again that we would believe beyond this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Causes that a fallback was told of and that are not over.
const TOLD_MAX: usize = 4_096;

/// What a sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Whether it pages somebody.
    pub(super) pages: bool,
    /// Whether it pages only when others do not: when a page is this old.
    pub(super) fallback_after: Option<Duration>,
    /// The least severity of what pages nobody; none of it where this is `None`.
    pub(super) least: Option<Severity>,
}

/// What came of sending an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The sink has it.
    Accepted,
    /// The sink will never take it: the request is wrong, or who sends it.
    Refused(String),
    /// Not now. The sink may have said when to come again.
    Failed { reason: String, retry_after: Option<Duration> },
}

/// What there is to do for a sink.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this.
    Send { sequence: u64, event: Arc<Event>, is_page: bool },
    /// Nothing before then, unless something new comes.
    Wait(Option<Instant>),
}

#[derive(Debug)]
struct Waiting {
    event: Arc<Event>,
    is_page: bool,
    attempts: u32,
    not_before: Instant,
    in_flight: bool,
    refused: bool,
}

#[derive(Debug)]
struct Lane {
    terms: Terms,
    waiting: BTreeMap<u64, Waiting>,
    events: usize,
    failures: u32,
    rests_until: Option<Instant>,
    told: HashSet<String>,
}

#[derive(Debug)]
struct Page {
    since: Instant,
    slot: Option<Slot>,
    accepted: bool,
}

/// All that waits.
#[derive(Debug, Default)]
pub(super) struct Book {
    lanes: Vec<Lane>,
    pages: BTreeMap<u64, Page>,
}

/// What is over with an outcome.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// The place of a page that is over.
    pub(super) freed: Option<Slot>,
    /// The place of a page that goes on, to be marked.
    pub(super) marked: Option<Slot>,
    /// Whether the turn of the fallbacks has come.
    pub(super) wakes_fallbacks: bool,
}

impl Book {
    pub(super) fn new(terms: &[Terms]) -> Self {
        let lane = |terms: &Terms| Lane {
            terms: *terms,
            waiting: BTreeMap::new(),
            events: 0,
            failures: 0,
            rests_until: None,
            told: HashSet::new(),
        };
        Self { lanes: terms.iter().map(lane).collect(), pages: BTreeMap::new() }
    }

    /// Whether any sink pages.
    pub(super) fn has_pager(&self) -> bool {
        self.lanes.iter().any(|lane| lane.terms.pages)
    }

    /// Adds a page; `accepted_by` says of a sink whether it has it already.
    pub(super) fn add_page(
        &mut self,
        sequence: u64,
        event: &Arc<Event>,
        slot: Option<Slot>,
        now: Instant,
        accepted_by: impl Fn(usize) -> bool,
    ) {
        let mut accepted = false;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if !lane.terms.pages {
                continue;
            }
            if accepted_by(index) {
                accepted = true;
                continue;
            }
            let is_told = lane.told.contains(&event.dedup_key);
            let wait = lane.terms.fallback_after.filter(|_| !is_told).unwrap_or_default();
            lane.waiting.insert(sequence, Waiting::new(event, true, now + wait));
        }
        self.pages.insert(sequence, Page { since: now, slot, accepted });
        if accepted {
            self.withdraw_from_fallbacks(sequence);
        }
    }

    /// Adds an event for the sinks that do not page, or all of them where it pages nobody; gives
    /// those that have no room.
    pub(super) fn add_event(
        &mut self,
        sequence: u64,
        event: &Arc<Event>,
        now: Instant,
    ) -> Vec<usize> {
        let is_page = event.paging != Paging::None;
        let mut full = Vec::new();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let wanted = lane.terms.least.is_some_and(|least| event.severity >= least);
            if !wanted || is_page && lane.terms.pages {
                continue;
            }
            if lane.events >= EVENTS_WAITING_MAX {
                full.push(index);
                continue;
            }
            lane.events += 1;
            lane.waiting.insert(sequence, Waiting::new(event, false, now));
        }
        full
    }

    /// What to send to a sink now. At most `at_once` go on together, one while it fails.
    pub(super) fn next(&mut self, lane: usize, at_once: usize, now: Instant) -> Next {
        let lane = &mut self.lanes[lane];
        let under_way = lane.waiting.values().filter(|waiting| waiting.in_flight).count();
        let most = if lane.failures > 0 { 1 } else { at_once };
        if under_way >= most {
            return Next::Wait(None); // its end wakes
        }
        if let Some(until) = lane.rests_until.filter(|until| *until > now) {
            return Next::Wait(Some(until));
        }
        let mut earlier = HashSet::new();
        let mut best: Option<(bool, u32, u64)> = None;
        let mut soonest: Option<Instant> = None;
        for (sequence, waiting) in &lane.waiting {
            let key = waiting.event.dedup_key.as_str();
            let is_first = key.is_empty() || !earlier.contains(key);
            if !waiting.refused {
                earlier.insert(key);
            }
            if !is_first || waiting.in_flight {
                continue;
            }
            if waiting.not_before > now {
                let at = waiting.not_before;
                soonest = Some(soonest.map_or(at, |soonest: Instant| soonest.min(at)));
                continue;
            }
            let rank = (!waiting.is_page, waiting.attempts, *sequence);
            best = Some(best.map_or(rank, |best| best.min(rank)));
        }
        let Some((_, _, sequence)) = best else { return Next::Wait(soonest) };
        let waiting = lane.waiting.get_mut(&sequence).expect("chosen among them");
        waiting.in_flight = true;
        Next::Send { sequence, event: Arc::clone(&waiting.event), is_page: waiting.is_page }
    }

    /// Notes what came of sending.
    pub(super) fn settle(
        &mut self,
        lane: usize,
        sequence: u64,
        outcome: &Outcome,
        jitter: f64,
        now: Instant,
    ) -> Settled {
        let index = lane;
        let lane = &mut self.lanes[index];
        let Some(waiting) = lane.waiting.get_mut(&sequence) else { return Settled::default() };
        waiting.in_flight = false;
        waiting.attempts += 1;
        let is_page = waiting.is_page;
        match outcome {
            Outcome::Failed { retry_after, .. } => {
                let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                waiting.not_before = now + backoff(waiting.attempts, jitter).max(asked);
                lane.failures += 1;
                lane.rests_until = Some(now + backoff(lane.failures, jitter).max(asked));
                Settled::default()
            }
            Outcome::Refused(_) => {
                lane.failures = 0;
                if is_page {
                    waiting.refused = true;
                    waiting.not_before = now + REFUSED_AGAIN;
                    return self.page_refused(sequence, now);
                }
                lane.remove(sequence);
                Settled::default()
            }
            Outcome::Accepted => {
                lane.failures = 0;
                lane.rests_until = None;
                let waiting = lane.remove(sequence).expect("it is there");
                if !is_page {
                    return Settled::default();
                }
                lane.note_told(&waiting.event, now);
                self.page_accepted(index, sequence)
            }
        }
    }

    fn page_accepted(&mut self, lane: usize, sequence: u64) -> Settled {
        let is_fallback = self.lanes[lane].terms.fallback_after.is_some();
        let Some(page) = self.pages.get_mut(&sequence) else { return Settled::default() };
        page.accepted = true;
        let marked = page.slot;
        if !is_fallback {
            self.withdraw_from_fallbacks(sequence);
        }
        let freed = self.finish_if_over(sequence);
        let marked = marked.filter(|_| freed.is_none());
        Settled { freed, marked, wakes_fallbacks: false }
    }

    fn page_refused(&mut self, sequence: u64, now: Instant) -> Settled {
        let is_accepted = self.pages.get(&sequence).is_some_and(|page| page.accepted);
        let mut wakes_fallbacks = false;
        if !is_accepted && !self.is_owed(sequence) {
            for lane in self.lanes.iter_mut().filter(|lane| lane.terms.fallback_after.is_some()) {
                if let Some(waiting) = lane.waiting.get_mut(&sequence)
                    && !waiting.refused
                    && waiting.attempts == 0
                {
                    waiting.not_before = waiting.not_before.min(now);
                    wakes_fallbacks = true;
                }
            }
        }
        Settled { freed: self.finish_if_over(sequence), marked: None, wakes_fallbacks }
    }

    /// Whether a sink before the fallbacks may still take the page.
    fn is_owed(&self, sequence: u64) -> bool {
        self.lanes.iter().filter(|lane| lane.terms.fallback_after.is_none()).any(|lane| {
            lane.waiting.get(&sequence).is_some_and(|waiting| waiting.is_page && !waiting.refused)
        })
    }

    /// A fallback need not be told what others have, unless it knows of the cause.
    fn withdraw_from_fallbacks(&mut self, sequence: u64) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.terms.fallback_after.is_some()) {
            let keep = |waiting: &Waiting| {
                waiting.in_flight || lane.told.contains(&waiting.event.dedup_key)
            };
            if lane.waiting.get(&sequence).is_some_and(|waiting| !keep(waiting)) {
                lane.remove(sequence);
            }
        }
    }

    fn finish_if_over(&mut self, sequence: u64) -> Option<Slot> {
        let is_over =
            self.pages.get(&sequence).is_some_and(|page| page.accepted) && !self.is_owed(sequence);
        if is_over { self.finish(sequence) } else { None }
    }

    fn finish(&mut self, sequence: u64) -> Option<Slot> {
        for lane in &mut self.lanes {
            let is_last_try = |waiting: &Waiting| waiting.is_page && waiting.refused;
            if lane.waiting.get(&sequence).is_some_and(is_last_try) {
                lane.remove(sequence);
            }
        }
        self.pages.remove(&sequence).and_then(|page| page.slot)
    }

    /// Gives up, at sinks that still owe them, the pages that somebody accepted a day ago; with
    /// `press`, the earliest of them however young.
    pub(super) fn give_up(&mut self, now: Instant, press: bool) -> Vec<Slot> {
        let is_old = |page: &Page| now.duration_since(page.since) >= OWED_MAX;
        let mut over: Vec<u64> = self
            .pages
            .iter()
            .filter(|(_, page)| page.accepted && (press || is_old(page)))
            .map(|(sequence, _)| *sequence)
            .collect();
        if press {
            over.truncate(1);
        }
        let mut freed = Vec::new();
        for sequence in over {
            for lane in &mut self.lanes {
                if lane.waiting.get(&sequence).is_some_and(|waiting| !waiting.in_flight) {
                    lane.remove(sequence);
                }
            }
            freed.extend(self.finish(sequence));
        }
        freed
    }

    /// Pages that nobody has accepted, and since when the earliest of them waits.
    pub(super) fn undelivered(&self) -> (usize, Option<Instant>) {
        let mut pages = self.pages.values().filter(|page| !page.accepted);
        let since = pages.next().map(|page| page.since);
        (since.map_or(0, |_| 1 + pages.count()), since)
    }

    /// Pages that are not over.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// What is being sent.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        let in_flight = |lane: &Lane| lane.waiting.values().filter(|it| it.in_flight).count();
        self.lanes.iter().map(in_flight).sum()
    }

    /// What waits for a sink.
    pub(super) fn waiting(&self, lane: usize) -> usize {
        self.lanes[lane].waiting.len()
    }
}

impl Lane {
    fn remove(&mut self, sequence: u64) -> Option<Waiting> {
        let removed = self.waiting.remove(&sequence)?;
        if !removed.is_page {
            self.events -= 1;
        }
        Some(removed)
    }

    fn note_told(&mut self, event: &Event, now: Instant) {
        if self.terms.fallback_after.is_none() {
            return;
        }
        match event.paging {
            Paging::Resolve => {
                self.told.remove(&event.dedup_key);
            }
            Paging::Trigger | Paging::Acknowledge if self.told.len() < TOLD_MAX => {
                self.told.insert(event.dedup_key.clone());
                for waiting in self.waiting.values_mut().filter(|other| !other.refused) {
                    if waiting.event.dedup_key == event.dedup_key && waiting.attempts == 0 {
                        waiting.not_before = now.min(waiting.not_before);
                    }
                }
            }
            Paging::Trigger | Paging::Acknowledge | Paging::None => {}
        }
    }
}

impl Waiting {
    fn new(event: &Arc<Event>, is_page: bool, not_before: Instant) -> Self {
        let event = Arc::clone(event);
        Self { event, is_page, attempts: 0, not_before, in_flight: false, refused: false }
    }
}

/// Doubled with each failure up to [`BACKOFF_MAX`]; `jitter` from 0 to 1 takes up to half of it
/// off, so that gates that failed together do not come again together.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(BACKOFF_MAX).mul_f64(1.0 - jitter / 2.0)
}
