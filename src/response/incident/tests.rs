#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use policy::{Decision, Evidence, Finding, GroupIndex, Level, Mode, Moment, Policy, Rule};
use prometheus::IntCounter;
use tempfile::TempDir;

use super::class::Pages;
use super::*;
use crate::audit::Audit;
use crate::clients::{Client, Clients};
use crate::eth::{DutyKind, SigningRoot};
use crate::events::Severity;
use crate::events::{Event, Events, Paging};
use crate::metrics::Verdict;
use crate::response::Normal;
use crate::response::playbook::{Done, Playbook, Urgency};

mod stories;

/// Incidents on a disk, and what they told.
struct Desk {
    directory: TempDir,
    response: Response,
    clients: Arc<Clients>,
    policy: Policy,
}

impl Desk {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap(), Settings::default())
    }

    fn on(directory: TempDir, settings: Settings) -> Self {
        let table = ResponseTable::open(directory.path()).unwrap();
        let incidents = Incidents::open(&table, settings).unwrap();
        let lost = IntCounter::new("lost", "lost").unwrap();
        let mut response = Response::new(table, Audit::off(), Events::off(), lost);
        response.incidents = incidents;
        let mut policy = Policy::default();
        policy.groups = ["default", "north", "south", "east", "west"]
            .map(|name| policy::GroupPolicy { name: name.to_owned(), ..Default::default() })
            .to_vec();
        Self { directory, response, clients: Clients::anyone(), policy }
    }

    /// As after `kill -9`: what is on disk is all there is.
    fn restart(self) -> Self {
        self.response.table.close();
        Self::on(self.directory, Settings::default())
    }

    fn take(&self, notices: &[Notice]) {
        let batch: Vec<Consequence> = notices.iter().map(|notice| alone(notice, &[])).collect();
        self.response.incidents.take(&self.response, &self.policy, &batch);
    }

    fn list(&self) -> Vec<Arc<Incident>> {
        self.response.incidents.list()
    }

    /// The only incident.
    fn only(&self) -> Arc<Incident> {
        let list = self.list();
        let [only] = &list[..] else { panic!("{} incidents", list.len()) };
        Arc::clone(only)
    }

    fn wish<'a>(&self, actor: &'a Actor, at_unix_ms: u64) -> Wish<'a> {
        Wish { actor, reason: "looked at it", at_unix_ms }
    }

    fn client(&self, name: &str) -> Arc<Client> {
        self.clients.named(name)
    }

    /// A second client asks for a key that another owns.
    fn lease(&self, client: &str, key: u64, at_unix_ms: u64) -> Notice {
        self.refused(client, key, at_unix_ms, Rule::ClientLease)
    }

    fn refused(&self, client: &str, key: u64, at_unix_ms: u64, rule: Rule) -> Notice {
        let evidence =
            Evidence { what: "lease", observed: "two".to_owned(), expected: "one".to_owned() };
        let level = Level::Refuse;
        let findings = vec![Finding { rule, mode: Mode::Enforce, level, evidence }];
        let verdict = policy::Verdict::Refuse;
        let decision = Some(Decision { verdict, level, findings, ..Decision::default() });
        let group = Some(GroupIndex(0));
        Notice { decision, group, ..self.coded(client, key, at_unix_ms, rule.as_str()) }
    }

    /// A refusal without a judgement.
    fn coded(&self, client: &str, key: u64, at_unix_ms: u64, code: &'static str) -> Notice {
        let mut root = [0; 32];
        root[..8].copy_from_slice(&key.to_le_bytes());
        root[8..16].copy_from_slice(&at_unix_ms.to_le_bytes());
        Notice {
            at: Moment { unix_ms: at_unix_ms, slot: 3_200, epoch: 100, into_slot_ms: 4_001 },
            request_id: "request".to_owned(),
            public_key: format!("0x{key:096x}"),
            row: None,
            group: None,
            client: self.client(client),
            peer: "10.1.2.3:4567".parse().unwrap(),
            source: None,
            kind: Some(DutyKind::Attestation),
            root: Some(SigningRoot(root)),
            times: [Some(3_200), None, Some(99), Some(100)],
            verdict: Verdict::Refused,
            code,
            reason: "not now".to_owned(),
            normal: Some(Normal { owner: Some("one".to_owned()), ..Normal::default() }),
            decision: None,
            position: Some(Position(key + 1)),
        }
    }
}

/// What an incident has told so far, from its count and its flags: events go to whoever takes them.
fn pages(incident: &Incident) -> bool {
    incident.paged
}

/// A notice, and what was done about it.
fn alone(notice: &Notice, done: &[Done]) -> Consequence {
    let urgency = Playbook::default().urgency(notice);
    Consequence { notice: notice.clone(), urgency, done: done.to_vec() }
}

const T: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;

#[test]
fn five_hundred_keys_of_one_cause_are_one_incident_with_one_page_and_all_keys() {
    let desk = Desk::new();
    let notices: Vec<Notice> = (0..500).map(|key| desk.lease("two", key, T + key)).collect();
    desk.take(&notices[..1]);
    assert!(pages(&desk.only()));
    let told = desk.only().events;
    assert_eq!(told, 1);
    desk.take(&notices[1..]);
    let incident = desk.only();
    assert_eq!((incident.keys, incident.offences, incident.requests), (500, 500, 500));
    assert_eq!(desk.response.incidents.keys(&incident.id).len(), 500);
    assert_eq!(incident.positions, Some((1, 500)));
    assert!(incident.events < 12, "what joins is told as often as it doubles: {}", incident.events);
    let line = incident.summary();
    for part in ["two from 10.1.2.3", "500 keys", "its owner is one", "client_lease", "4.001 s"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn ten_causes_are_ten_incidents() {
    let desk = Desk::new();
    let rules = [
        Rule::ClientLease,
        Rule::ExitWindow,
        Rule::DepositCredentials,
        Rule::Registration,
        Rule::DormantCredential,
        Rule::HeaderSanity,
    ];
    let mut notices: Vec<Notice> =
        rules.iter().zip(0..).map(|(rule, key)| desk.refused("two", key, T, *rule)).collect();
    notices.extend(["a", "b", "c", "d"].map(|client| desk.lease(client, 7, T)));
    desk.take(&notices);
    desk.take(&notices);
    assert_eq!(desk.list().len(), 10);
    assert!(desk.list().iter().all(|incident| incident.paged && incident.keys == 1));
}

/// A second signer is told no by the lease or, where the owner was faster, by EIP-3076: it is one
/// cause. The owner's own refusals are another.
#[test]
fn what_is_slashable_from_a_stranger_joins_its_lease_and_from_the_owner_pages_nobody() {
    let desk = Desk::new();
    desk.take(&[desk.lease("two", 1, T), desk.coded("two", 2, T + 1, "double_vote")]);
    assert_eq!(desk.only().keys, 2);
    let own: Vec<Notice> =
        (0..400).map(|key| desk.coded("one", key, T + key * 1_000, "double_vote")).collect();
    desk.take(&own);
    let list = desk.list();
    assert_eq!(list.len(), 2);
    let slashable = list.iter().find(|it| it.cause.family == Family::Slashable).unwrap();
    assert_eq!((slashable.keys, slashable.paged), (400, false), "a restart in mid-epoch");
    let later = T + 14 * MINUTE;
    desk.take(&[desk.coded("one", 3, later, "double_vote")]);
    let slashable = desk.response.incidents.get(&slashable.id).unwrap();
    assert!(slashable.paged, "it goes on beyond what a restart explains");
}

#[test]
fn what_lasts_is_counted_without_long_breaks() {
    let desk = Desk::new();
    for minute in 0..60 {
        let at = T + minute * 3 * MINUTE;
        let failed = |n: u64| Notice {
            verdict: Verdict::Failed,
            ..desk.coded("one", n, at + n, "upstream_reset")
        };
        desk.take(&[failed(1), failed(2), failed(3)]);
    }
    assert!(!desk.only().paged, "a few requests now and then");
    for n in 0..32 {
        let notice =
            desk.coded("one", n, T + 240 * MINUTE + n * 1_000, "upstream_timeout_response");
        desk.take(&[Notice { verdict: Verdict::Failed, ..notice }]);
    }
    let newest = &desk.list()[0];
    assert!(newest.paged, "{newest:?}");
}

#[test]
fn a_request_that_is_repeated_is_one_offence() {
    let desk = Desk::new();
    let notice = desk.lease("two", 1, T);
    for after in 0..3 {
        let mut again = notice.clone();
        again.at.unix_ms += after;
        desk.take(&[again]);
    }
    let incident = desk.only();
    assert_eq!((incident.requests, incident.offences, incident.events), (3, 1, 1));
}

#[test]
fn noise_wakes_nobody() {
    let desk = Desk::new();
    for n in 0..1_000 {
        let notice = desk.coded("one", n, T + n * MINUTE, "unknown_key");
        desk.take(&[Notice { verdict: Verdict::Rejected, ..notice }]);
    }
    assert!(!desk.only().paged);
    for family in Family::ALL {
        let pages = family.pages();
        let is_quiet = family.severity() <= Severity::Warning;
        assert!(!is_quiet || pages != Pages::AtOnce, "{family:?} pages with a soft voice");
    }
}

#[test]
fn what_was_done_is_told_with_its_place_in_the_audit_log() {
    let desk = Desk::new();
    let notice = desk.lease("two", 1, T);
    desk.take(std::slice::from_ref(&notice));
    let done = Done { what: "quarantine q-1 of two".to_owned(), position: Position(9) };
    let batch = [alone(&notice, &[done])];
    desk.response.incidents.take(&desk.response, &desk.policy, &batch);
    let incident = desk.only();
    assert_eq!(incident.events, 2, "it is told, and pages nobody again");
    assert!(incident.summary().ends_with("done: quarantine q-1 of two"), "{}", incident.summary());
    assert_eq!(incident.positions, Some((2, 9)));
}

/// An operator who wants to hear of refusals and not to be woken up by them, and one who wants to
/// be woken up by a single fault of a signer.
#[test]
fn a_playbook_hushes_and_calls() {
    let desk = Desk::new();
    let take = |notice: Notice, urgency| {
        let batch = [Consequence { notice, urgency, done: Vec::new() }];
        desk.response.incidents.take(&desk.response, &desk.policy, &batch);
    };
    take(desk.lease("two", 1, T), Urgency::Notify);
    assert!(!desk.only().paged);
    take(desk.lease("two", 2, T + 1), Urgency::Page);
    assert!(desk.only().paged);
    let failed = desk.coded("one", 3, T, "upstream_reset");
    take(Notice { verdict: Verdict::Failed, ..failed }, Urgency::Page);
    assert!(desk.list().iter().all(|incident| incident.paged));
}

#[test]
fn states_follow_each_other_and_nothing_else() {
    let desk = Desk::new();
    desk.take(&[desk.lease("two", 1, T)]);
    let (incidents, response) = (&desk.response.incidents, &desk.response);
    let id = desk.only().id.clone();
    let anna = Actor::Person("anna".to_owned());
    incidents.acknowledge(response, &id, &desk.wish(&anna, T + 1)).unwrap();
    let twice = incidents.acknowledge(response, &id, &desk.wish(&anna, T + 2)).unwrap_err();
    assert_eq!(
        twice.to_string(),
        format!("incident {id} is acknowledged: only an open one can be")
    );
    desk.take(&[desk.lease("two", 2, T + 3)]);
    assert_eq!(desk.only().state, State::Acknowledged, "what joins does not undo it");
    incidents.resolve(response, &id, &desk.wish(&anna, T + 4)).unwrap();
    assert_eq!(desk.only().state, State::Resolved);
    incidents.resolve(response, &id, &desk.wish(&anna, T + 5)).unwrap_err();
    incidents.reopen(response, &id, &desk.wish(&anna, T + 6)).unwrap();
    assert_eq!((desk.only().state, desk.only().reopened), (State::Open, 1));
    let nobody = incidents.resolve(response, "inc-0", &desk.wish(&anna, T)).unwrap_err();
    assert_eq!(nobody.to_string(), "no incident is named inc-0");
    let deeds: Vec<String> = desk.only().deeds.iter().map(|deed| deed.action.clone()).collect();
    assert_eq!(deeds, ["incident.acknowledged", "incident.resolved", "incident.reopened"]);
    assert!(desk.only().deeds.iter().all(|deed| deed.reason == "anna: looked at it"));
}

#[test]
fn what_is_quiet_ends_and_what_comes_soon_after_begins_it_again() {
    let desk = Desk::new();
    desk.take(&[desk.lease("two", 1, T)]);
    let Settings { resolve_after_ms, reopen_within_ms, .. } = Settings::default();
    let tick = |at| desk.response.incidents.tick(&desk.response, at);
    tick(T + resolve_after_ms - 1);
    assert_eq!(desk.only().state, State::Open);
    tick(T + resolve_after_ms);
    assert_eq!(desk.only().state, State::Resolved);
    let events = desk.only().events;
    let again = T + resolve_after_ms + MINUTE;
    desk.take(&[desk.lease("two", 2, again)]);
    let incident = desk.only();
    assert_eq!((incident.state, incident.reopened, incident.paged), (State::Open, 1, true));
    assert_eq!(incident.events, events + 1);
    tick(again + resolve_after_ms);
    desk.take(&[desk.lease("two", 3, again + reopen_within_ms + 1)]);
    assert_eq!(desk.list().len(), 2, "so late it is another one");
}

#[test]
fn a_restart_changes_nothing_and_pages_nobody_twice() {
    let desk = Desk::new();
    desk.take(&(0..50).map(|key| desk.lease("two", key, T + key)).collect::<Vec<_>>());
    let before = desk.only();
    let keys = desk.response.incidents.keys(&before.id);
    let desk = desk.restart();
    assert_eq!(*desk.only(), *before);
    assert_eq!(desk.response.incidents.keys(&before.id), keys);
    assert!(before.unsaid.is_empty(), "what was told is not told again");
    desk.take(&[desk.lease("two", 50, T + MINUTE)]);
    let after = desk.only();
    assert_eq!((after.keys, after.paged, after.events), (51, true, before.events));
}

/// Killed between the commit of an incident and the spool of its page.
#[test]
fn what_a_crash_kept_from_being_told_is_told_under_the_same_id() {
    let desk = Desk::new();
    let notice = desk.lease("two", 1, T);
    let mut change = Change::default();
    let incidents = &desk.response.incidents;
    incidents.join(&mut incidents.kept.write(), &mut change, &desk.policy, &alone(&notice, &[]));
    incidents.commit(&desk.response, &change).unwrap();
    let unsaid: Vec<Event> = desk.only().unsaid.clone();
    assert_eq!(unsaid.len(), 1);
    let desk = desk.restart();
    assert_eq!(desk.only().unsaid, unsaid);
    assert_eq!(unsaid[0].dedup_key, desk.only().id);
    assert_eq!((unsaid[0].paging, unsaid[0].kind.as_str()), (Paging::Trigger, "incident.opened"));
    desk.response.incidents.tell_again(&desk.response);
    assert!(desk.only().unsaid.is_empty());
    assert!(desk.restart().only().unsaid.is_empty());
}

#[test]
fn one_source_in_many_groups_or_windows_pages_a_few_times_at_most() {
    let desk = Desk::new();
    for group in 0..5 {
        let notice = desk.lease("two", 1_000 + u64::from(group), T + u64::from(group));
        desk.take(&[Notice { group: Some(GroupIndex(group)), ..notice }]);
    }
    assert_eq!(desk.list().len(), 3);
    let groups: usize = desk.list().iter().map(|incident| incident.groups.len()).sum();
    assert_eq!(groups, 5);
}

#[test]
fn a_flood_of_causes_stays_within_bounds_and_the_oldest_that_are_over_go_first() {
    let settings = Settings { kept_max: 100, ..Settings::default() };
    let desk = Desk::on(tempfile::tempdir().unwrap(), settings);
    for n in 0..400 {
        desk.take(&[desk.lease(&format!("client-{n}"), n, T + n)]);
    }
    let list = desk.list();
    assert_eq!(list.len(), 256);
    assert_eq!(list[0].keys, 145, "the last of a kind takes the rest");
    desk.response.incidents.tick(&desk.response, T + MINUTE);
    assert_eq!(desk.list().len(), 256, "none that goes on is forgotten");
    desk.response.incidents.tick(&desk.response, T + 7 * HOUR_MS);
    let kept = desk.list();
    assert_eq!((kept.len(), &kept[0].id), (100, &list[0].id));
    let desk = desk.restart();
    assert_eq!(desk.list().len(), 100);
    assert_eq!(desk.response.table.rows(b"incident:key:").unwrap().len(), 99 + 145);
}

#[test]
fn alarms_and_reports_open_incidents_of_their_own() {
    let desk = Desk::new();
    let alarm = Alarm {
        rule: Rule::FleetRates,
        about: "north".to_owned(),
        reason: "300 reveals, 20 expected".to_owned(),
        is_network_event: false,
    };
    let (incidents, response) = (&desk.response.incidents, &desk.response);
    incidents.noticed(Report::of_alarm(&alarm, T));
    incidents.noticed(Report::of_alarm(&alarm, T + 12_000));
    incidents.take_reports(response);
    assert_eq!((desk.only().requests, desk.only().paged), (2, true));
    let network = Alarm { is_network_event: true, rule: Rule::SourceTiming, ..alarm };
    incidents.noticed(Report::of_alarm(&network, T));
    let report = Report {
        at_unix_ms: T,
        family: Family::MissingKeys,
        code: "missing_at_upstream".to_owned(),
        about: "signer-1".to_owned(),
        reason: "3 keys".to_owned(),
    };
    incidents.noticed(report.clone());
    incidents.noticed(Report { at_unix_ms: T + 60_000, ..report });
    incidents.take_reports(response);
    let list = desk.list();
    assert_eq!(list.len(), 3);
    let paged = |family| list.iter().find(|it| it.cause.family == family).unwrap().paged;
    assert!(paged(Family::MissingKeys) && !paged(Family::Watched));
    assert!(list[0].summary().contains("missing_at_upstream") || list.len() == 3);
}

/// Every stable code has a family that somebody chose.
#[test]
fn every_code_has_its_family() {
    for rule in Rule::ALL {
        let _ = Family::of_rule(rule);
    }
    for code in crate::upstream::UpstreamFault::CODES {
        let family = Family::of_code(code, Verdict::Failed, true);
        let fits = [Family::Upstream, Family::FalseSignature, Family::Overload];
        assert!(fits.contains(&family), "{code}: {family:?}");
    }
    let known = [
        ("double_vote", Family::Slashable),
        ("surround_or_stale_source", Family::Slashable),
        ("double_block_proposal", Family::DoubleProposal),
        ("not_reserved", Family::Noise),
        ("lease_lapsed", Family::Gate),
        ("audit_full", Family::Gate),
        ("store_poisoned", Family::Gate),
        ("future_duty", Family::Clock),
        ("signing_root_mismatch", Family::Mismatch),
        ("awaiting_enrolment", Family::Noise),
        ("halted", Family::Gate),
    ];
    for (code, family) in known {
        let verdict = match family {
            Family::Gate => Verdict::Failed,
            Family::Clock | Family::Mismatch | Family::Noise => Verdict::Rejected,
            _ => Verdict::Refused,
        };
        assert_eq!(Family::of_code(code, verdict, true), family, "{code}");
    }
    assert_eq!(Family::of_code("double_vote", Verdict::Refused, false), Family::SecondSigner);
}
