//! The score of one world: labels meet rulings here, and only here.

use std::collections::{HashSet, VecDeque};

use policy::{Alarm, Drift, Level, Rule};

use crate::attacks::Attack;
use crate::calendar::Calendar;
use crate::calibration::{Calibration, Truth};
use crate::draw::mix;
use crate::driver::{By, Ruling, Witness};
use crate::label::Label;
use crate::tally::Tally;
use crate::world::{SLOTS_PER_EPOCH, World, begin_of};

/// What is written where nothing was found.
pub(crate) const NEVER: u64 = 0;
/// Cases that are told one by one for each world.
const CASES_MAX: usize = 60;

/// How far one attack has come.
#[derive(Clone, Debug, Default)]
struct Course {
    /// Its harmful requests.
    events: u64,
    /// Which of them was refused first, and which made an alert first; 1 is the first.
    refused: u64,
    alert: u64,
    released: u64,
    /// Harmful requests from the fourth on that were released.
    released_late: u64,
    first_ms: u64,
    timing_ms: u64,
    alarm_slot: u64,
    strict: Option<bool>,
    /// Requests of the rightful new owner (A6, A7) that were refused.
    rivals_refused: u64,
}

/// The witness of one world.
pub(crate) struct Score<'a> {
    world: &'a World,
    calendar: &'a Calendar,
    seed: u64,
    /// The labels of the last slots, with the ordinal of the first of each.
    labels: VecDeque<(u64, Vec<Label>)>,
    next_ordinal: u64,
    courses: Vec<Course>,
    /// Keys that the second signer of an A6 or A7 has signed for.
    signed_by_rival: HashSet<(u32, u32)>,
    alert_incidents: HashSet<(u16, u64, bool)>,
    calibration: Calibration,
    first_scored_ms: u64,
    pub(crate) tally: Tally,
    /// A hash of every decision so far.
    pub(crate) fingerprint: u64,
}

impl<'a> Score<'a> {
    pub(crate) fn new(world: &'a World, calendar: &'a Calendar, seed: u64) -> Self {
        Self {
            world,
            calendar,
            seed,
            labels: VecDeque::new(),
            next_ordinal: 0,
            courses: vec![Course::default(); calendar.attacks.len()],
            signed_by_rival: HashSet::new(),
            alert_incidents: HashSet::new(),
            calibration: Calibration::default(),
            first_scored_ms: begin_of(world.first_scored_slot()),
            tally: Tally::default(),
            fingerprint: 0,
        }
    }

    /// The labels of the requests that the gate is about to see.
    pub(crate) fn expect(&mut self, labels: &[Label]) {
        let mut kept = if self.labels.len() >= 3 {
            self.labels.pop_front().map(|(_, labels)| labels).unwrap_or_default()
        } else {
            Vec::new()
        };
        kept.clear();
        kept.extend_from_slice(labels);
        self.labels.push_back((self.next_ordinal, kept));
        self.next_ordinal += labels.len() as u64;
    }

    fn label(&self, ordinal: u64) -> Label {
        let of = self.labels.iter().rev().find(|(first, _)| *first <= ordinal);
        let (first, labels) = of.expect("a request of the last slots");
        labels[(ordinal - first) as usize]
    }

    fn honest(&mut self, ruling: &Ruling<'_>, scenario: u8, is_excluded: bool) {
        if ruling.request.at_ms < self.first_scored_ms {
            return;
        }
        let level = ruling.decision.level;
        if ruling.by == By::Released {
            if level >= Level::Alert {
                self.alert(ruling);
            }
            return;
        }
        let what = if is_excluded { "excluded" } else { "false" };
        self.tally.add(&format!("{what}.B{scenario}"), 1);
        self.tally.add(&format!("{what}_by.{}", cause(ruling)), 1);
        if !is_excluded {
            self.tell(ruling, &format!("B{scenario}"));
        }
    }

    fn calibrate(&mut self, ruling: &Ruling<'_>) {
        if ruling.request.at_ms < self.first_scored_ms {
            return;
        }
        let truth = match self.label(ruling.ordinal) {
            Label::Benign(_) | Label::Excluded(_) => Truth::Honest,
            Label::Victim(_) => Truth::Victim,
            Label::Attack(id) => {
                let class = self.calendar.attacks[id as usize].class;
                let is_of_source = matches!(class, 1..=7 | 13 | 19..=21);
                let is_first = self.courses[id as usize].events == 1;
                Truth::Harmful { is_first_of_source: is_of_source && is_first }
            }
        };
        let is_told = ruling.is_refused_by_policy || ruling.decision.level >= Level::Alert;
        let pages = is_told && !is_timing_alone(ruling);
        let cohort = self.world.cohort_of[ruling.request.key as usize];
        self.calibration.note(&mut self.tally, (ruling, cohort), truth, pages);
    }

    fn alert(&mut self, ruling: &Ruling<'_>) {
        let is_timing = is_timing_alone(ruling);
        let hour = ruling.request.at_ms / 3_600_000;
        let cohort = self.world.cohort_of[ruling.request.key as usize];
        if self.alert_incidents.insert((cohort, hour, is_timing)) {
            self.tally.add(if is_timing { "alerts.timing" } else { "alerts.other" }, 1);
        }
    }

    /// One line about a case, for whoever has to explain it.
    fn tell(&mut self, ruling: &Ruling<'_>, what: &str) {
        if self.tally.cases.len() >= CASES_MAX {
            return;
        }
        let request = ruling.request;
        let since = request.at_ms.saturating_sub(begin_of(crate::world::FIRST_SLOT));
        let cohort = usize::from(self.world.cohort_of[request.key as usize]);
        let evidence = ruling.decision.refusal().map_or_else(String::new, |finding| {
            let evidence = &finding.evidence;
            format!("{}: {} not {}", evidence.what, evidence.observed, evidence.expected)
        });
        self.tally.cases.push(format!(
            "seed {} key {} cohort {cohort} ({:?}, {} keys) epoch {} ms {} {what} client {} {:?} \
             by {} [{evidence}] L {:.2} {:?}",
            self.seed,
            request.key,
            self.world.cohorts[cohort].kind,
            self.world.cohorts[cohort].keys,
            since / 384_000,
            since % 384_000,
            request.source.client.0,
            request.message,
            cause(ruling),
            ruling.decision.terms.log_odds(),
            ruling.decision.terms.0,
        ));
    }

    fn victim(&mut self, ruling: &Ruling<'_>, id: u32) {
        let attack = &self.calendar.attacks[id as usize];
        let is_rival = self.is_rival(attack, ruling);
        if ruling.by == By::Released {
            if is_rival {
                self.signed_by_rival.insert((id, ruling.request.key));
            }
        } else if is_rival {
            self.courses[id as usize].rivals_refused += 1;
        } else {
            self.tally.add(&format!("victim.A{}", attack.class), 1);
        }
        self.tally.add(&format!("victims.A{}", attack.class), 1);
    }

    /// The second signer of an overlap, whose signatures make those of the first ones harmful.
    fn is_rival(&self, attack: &Attack, ruling: &Ruling<'_>) -> bool {
        let host = &self.world.hosts[usize::from(attack.host)].source;
        matches!(attack.class, 6 | 7) && ruling.request.source.certificate != host.certificate
    }

    fn harm(&mut self, ruling: &Ruling<'_>, id: u32) {
        let attack = &self.calendar.attacks[id as usize];
        let is_overlap = matches!(attack.class, 6 | 7);
        let course = &mut self.courses[id as usize];
        if is_overlap && !self.signed_by_rival.contains(&(id, ruling.request.key)) {
            return; // the other one was refused: nobody else signs
        }
        course.events += 1;
        if course.events == 1 {
            course.first_ms = ruling.request.at_ms;
            course.strict = ruling.is_refused_in_strict;
        }
        // What the store or step 3 refuses counts for the attacks that are theirs to see.
        let is_refused = match attack.class {
            16 => ruling.by == By::Content,
            18 => ruling.by == By::Store,
            _ => ruling.is_refused_by_policy,
        };
        if is_refused {
            if course.refused == NEVER {
                course.refused = course.events;
                let top = ruling.decision.terms.top().as_str();
                self.tally.add(&format!("top.A{}.{top}", attack.class), 1);
            }
        } else {
            course.released += 1;
            course.released_late += u64::from(course.events >= 4);
        }
        let is_told = is_refused || ruling.decision.level >= Level::Alert;
        if is_told && course.alert == NEVER {
            course.alert = course.events;
        }
        let is_timing = |finding: &policy::Finding| finding.rule == Rule::Timing;
        if course.timing_ms == 0 && ruling.decision.findings.iter().any(is_timing) {
            course.timing_ms = ruling.request.at_ms;
        }
        let is_missed_at_first = course.events == 1 && !is_refused;
        if is_missed_at_first && matches!(attack.class, 1 | 3 | 5 | 6 | 7 | 13 | 16 | 17 | 18) {
            let what = format!("missed A{} variant {}", attack.class, attack.variant);
            self.tell(ruling, &what);
        }
    }

    /// Says what became of every attack. Every one has to have occurred.
    pub(crate) fn finish(&mut self, occurred: &[u64], scored_epochs: u64) {
        self.tally.add("scored_epochs", scored_epochs);
        self.tally.add("events", self.next_ordinal);
        self.calibration.finish(&mut self.tally);
        for (planted, times) in self.calendar.planted.iter().zip(occurred) {
            self.tally.add(&format!("planted.B{}", planted.scenario), 1);
            if *times == 0 {
                self.tally.add("absent", 1);
                let slot = planted.start - crate::world::FIRST_SLOT;
                let case =
                    format!("ABSENT seed {} B{} at slot {slot}", self.seed, planted.scenario);
                self.tally.cases.push(case);
            }
        }
        for (attack, course) in self.calendar.attacks.iter().zip(&self.courses) {
            let mut course = course.clone();
            let name = |what: &str| match attack.class {
                15 => format!("A15.{}.{what}", if attack.variant % 2 == 0 { 300 } else { 100 }),
                12 => format!("A12.{}.{what}", if attack.variant % 2 == 0 { 2 } else { 0 }),
                class => format!("A{class}.{what}"),
            };
            if course.events == 0 && course.rivals_refused > 0 {
                // The rightful owner was refused from its first request on: nobody signed twice.
                (course.events, course.refused, course.alert) = (1, 1, 1);
                self.tally.add(&format!("barred.A{}", attack.class), 1);
            }
            if attack.class == 15 {
                let slots = course.alarm_slot.saturating_sub(attack.start);
                self.tally
                    .push(name("slots"), if course.alarm_slot == 0 { NEVER } else { slots.max(1) });
                continue;
            }
            if course.events == 0 {
                self.tally.add("absent", 1);
                let case = format!(
                    "ABSENT seed {} A{} variant {} start {}",
                    self.seed, attack.class, attack.variant, attack.start
                );
                self.tally.cases.push(case);
            }
            self.tally.push(name("refused"), course.refused);
            self.tally.push(name("alert"), course.alert);
            self.tally.push(name("released"), course.released);
            self.tally.push(name("late"), course.released_late);
            if let Some(strict) = course.strict {
                self.tally.push(name("strict"), u64::from(strict));
            }
            if matches!(attack.class, 12 | 14) {
                let epochs = course.timing_ms.saturating_sub(course.first_ms) / 384_000 + 1;
                self.tally.push(name("epochs"), if course.timing_ms == 0 { NEVER } else { epochs });
            }
        }
    }
}

/// What refused it.
fn cause(ruling: &Ruling<'_>) -> &'static str {
    match ruling.by {
        By::Content => "step_3",
        By::Store => "store",
        By::Policy | By::Released => {
            ruling.decision.refusal().map_or("score", |finding| finding.rule.as_str())
        }
    }
}

/// Nothing but when in its slot it came.
fn is_timing_alone(ruling: &Ruling<'_>) -> bool {
    let findings = &ruling.decision.findings;
    !findings.is_empty() && findings.iter().all(|finding| finding.rule == Rule::Timing)
}

impl Witness for Score<'_> {
    fn asks_strict(&self, ordinal: u64) -> bool {
        matches!(self.label(ordinal), Label::Attack(id) if self.courses[id as usize].events == 0)
    }

    fn saw(&mut self, ruling: &Ruling<'_>) {
        let decision = ruling.decision;
        let rule = decision.refusal().map_or(0, |finding| finding.rule as u64 + 1);
        self.fingerprint = mix(&[
            self.fingerprint,
            ruling.ordinal,
            ruling.by as u64 | (decision.level as u64) << 8 | rule << 16,
            u64::from(decision.terms.log_odds().to_bits()),
        ]);
        match self.label(ruling.ordinal) {
            Label::Benign(scenario) => self.honest(ruling, scenario, false),
            Label::Excluded(scenario) => self.honest(ruling, scenario, true),
            Label::Attack(id) => self.harm(ruling, id),
            Label::Victim(id) => self.victim(ruling, id),
        }
        self.calibrate(ruling);
    }

    fn heard(&mut self, slot: u64, alarm: &Alarm) {
        let network = if alarm.is_network_event { "network_event" } else { "source" };
        self.tally.add(&format!("alarms.{}.{network}", alarm.rule.as_str()), 1);
        if alarm.rule != Rule::SourceTiming {
            return;
        }
        let mut is_true = false;
        for (attack, course) in self.calendar.attacks.iter().zip(&mut self.courses) {
            let is_on = attack.class == 15 && (attack.start..attack.end).contains(&slot);
            if !is_on {
                continue;
            }
            let source = &self.world.hosts[usize::from(attack.host)].source;
            let name = &self.world.policy.clients[usize::from(source.client.0)].name;
            if is_about(alarm, name, source.token()) {
                is_true = true;
                if course.alarm_slot == 0 {
                    course.alarm_slot = slot;
                }
            }
        }
        if !is_true && slot >= self.world.first_scored_slot() {
            let when = self.calendar.state_of_host(slot, |host| {
                let source = &self.world.hosts[usize::from(host)].source;
                let name = &self.world.policy.clients[usize::from(source.client.0)].name;
                is_about(alarm, name, source.token())
            });
            self.tally.add(&format!("alarms.source_timing.honest_{when}"), 1);
        }
    }

    fn drifted(&mut self, slot: u64, drift: &Drift) {
        if slot < self.world.first_scored_slot() {
            return;
        }
        // The place goes on moving, and back, after what moved it.
        let is_on = |attack: &&Attack| {
            matches!(attack.class, 12 | 14)
                && attack.keys.contains(&drift.key)
                && (attack.start..attack.end + 10 * SLOTS_PER_EPOCH).contains(&slot)
        };
        let class = self.calendar.attacks.iter().find(is_on).map(|attack| attack.class);
        let of = class.map_or_else(|| "honest".to_owned(), |class| format!("A{class}"));
        self.tally.add(&format!("drifts.{of}"), 1);
    }
}

/// Whether an alarm names this source: its client's name, or its token in hexadecimal digits.
fn is_about(alarm: &Alarm, name: &str, token: u32) -> bool {
    let token = format!("{token:08x}");
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    alarm.about.split(|c| !is_part(c)).any(|word| word == name || word == token)
}
