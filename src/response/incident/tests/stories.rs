//! Timelines, over a real log on disk.

use super::*;
use crate::audit::timeline::Timeline;
use crate::audit::{DecisionRecord, Settings as AuditSettings};
use crate::clock::SlotClock;
use crate::metrics::AuditMetrics;
use crate::tests::{GENESIS, network};

/// When slot 3,200 begins.
const S: u64 = (GENESIS + 3_200 * 12) * 1_000;

fn with_log() -> (Desk, TempDir) {
    let mut desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    let settings = AuditSettings {
        sync_interval: std::time::Duration::from_millis(1),
        reserve_bytes: 4_096,
        ..AuditSettings::of(folder.path().join("audit"))
    };
    let directory = settings.directory.clone();
    let opened = Audit::open(settings).unwrap();
    let metrics = AuditMetrics::unregistered();
    desk.response.audit = opened.start(std::iter::empty(), Events::off(), metrics).unwrap();
    desk.response.timeline = Arc::new(Timeline::of(directory));
    (desk, folder)
}

/// Writes a notice down, as the signing path does.
fn written(desk: &Desk, notice: Notice) -> Notice {
    let key = crate::audit::chain::unhex::<48>(&notice.public_key).unwrap();
    let explanation = serde_json::json!({
        "findings": [{ "rule": "client_lease", "observed": "two asks", "expected": "one" }],
        "normal": notice.normal,
    });
    let position = desk.response.audit.reserve().unwrap().write(DecisionRecord {
        at_unix_ms: notice.at.unix_ms,
        request_id: notice.request_id.clone(),
        public_key: Some(key),
        client: notice.client.name().to_owned(),
        peer: notice.peer,
        verdict: notice.verdict.as_str(),
        code: notice.code.into(),
        kind: notice.kind.map(DutyKind::as_str),
        signing_root: notice.root.map(|root| root.0),
        times: notice.times,
        store_sequence: None,
        explanation: (notice.verdict == Verdict::Refused).then(|| explanation.to_string()),
    });
    Notice { position: Some(position), ..notice }
}

fn signed(desk: &Desk, client: &str, key: u64, at: u64) -> u64 {
    let notice = desk.coded(client, key, at, "ok");
    place(&written(desk, Notice { verdict: Verdict::Signed, ..notice }))
}

fn place(notice: &Notice) -> u64 {
    notice.position.unwrap().0
}

#[test]
fn a_timeline_says_who_from_where_when_what_was_normal_what_was_decided_and_done() {
    let (desk, _folder) = with_log();
    let slots = SlotClock::of(&network()).unwrap();
    let before = signed(&desk, "one", 1, S + 1);
    let refused =
        [(2, 1), (3, 2), (4, 99)].map(|(at, key)| written(&desk, desk.lease("two", key, S + at)));
    let [of_one, of_two, _] = refused.each_ref().map(place);
    desk.take(&refused[..2]);
    let after = signed(&desk, "one", 1, S + 5);
    let id = desk.only().id.clone();
    let anna = Actor::Person("anna".to_owned());
    let (incidents, response) = (&desk.response.incidents, &desk.response);
    let acknowledged = incidents.acknowledge(response, &id, &desk.wish(&anna, S + 6)).unwrap();
    response.audit.close();
    let story = response.story_of_incident(slots, &id, 100).unwrap().unwrap();
    let told: Vec<(u64, &str, &str)> = story
        .lines
        .iter()
        .map(|line| (line.position.unwrap(), line.who.as_str(), line.decided.as_str()))
        .collect();
    let expected = [
        (of_one, "two", "refused client_lease"),
        (of_two, "two", "refused client_lease"),
        (after, "one", "signed"),
        (acknowledged.0, "anna", "done"),
    ];
    assert_eq!(told, expected, "the stranger's key is not of it, nor what was before it");
    let first = &story.lines[0];
    assert_eq!((first.slot, first.into_slot_ms), (3_200, 2));
    assert_eq!(first.from.as_deref(), Some("10.1.2.3"));
    assert_eq!(first.normal.as_deref(), Some("its owner is one"));
    assert_eq!(first.why, "client_lease: two asks, expected one");
    assert_eq!(first.duty.as_deref(), Some("slot 3200, 99 -> 100"));
    let text = story.to_markdown();
    for part in ["3200 + 0.002 s", "| two | 10.1.2.3 |", "its owner is one", "| anna |"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(story.keys.len(), 2);
    let newest = response.story_of_incident(slots, &id, 2).unwrap().unwrap();
    assert_eq!((newest.lines.len(), newest.is_cut), (2, true));
    assert_eq!(newest.lines[1].position, Some(acknowledged.0));
    assert!(response.story_of_incident(slots, "inc-0", 2).unwrap().is_none());
    let key = format!("0x{:096x}", 1);
    let of_key = response.story_of(slots, &key, 0, 100).unwrap();
    let positions: Vec<_> = of_key.lines.iter().map(|line| line.position.unwrap()).collect();
    assert_eq!(positions, [before, of_one, after]);
    let later = response.story_of(slots, &key, S + 3, 100).unwrap();
    assert_eq!(later.lines.len(), 1);
}

/// What a client says must not write lines of its own.
#[test]
fn names_do_not_break_the_table() {
    let (desk, _folder) = with_log();
    let mut notice = desk.lease("a | b\nc", 1, S);
    notice = written(&desk, notice);
    desk.take(&[notice]);
    desk.response.audit.close();
    let slots = SlotClock::of(&network()).unwrap();
    let id = desk.only().id.clone();
    let text = desk.response.story_of_incident(slots, &id, 9).unwrap().unwrap().to_markdown();
    let row = text.lines().find(|line| line.contains("client_lease: two")).unwrap();
    assert!(row.contains("| a   b c |"), "{row}");
    assert_eq!(row.matches(" | ").count(), 9, "{row}");
}
