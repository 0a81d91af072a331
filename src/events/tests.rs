use std::collections::HashSet;

use serde_json::json;

use super::*;

pub(super) fn event(paging: Paging, dedup_key: &str) -> Event {
    Event {
        id: new_id(1_763_677_127_000),
        at_unix_ms: 1_763_677_127_042,
        kind: "incident.opened".to_owned(),
        severity: Severity::Critical,
        paging,
        dedup_key: dedup_key.to_owned(),
        summary: "two live signers for 500 keys of group west; the second is fenced".to_owned(),
        subject: "west".to_owned(),
        details: json!({ "keys": 500, "rule": "client_lease" }),
    }
}

#[test]
fn ids_differ_and_say_when() {
    let ids: HashSet<String> = (0..10_000).map(|_| new_id(1_763_677_127_042)).collect();
    assert_eq!(ids.len(), 10_000);
    let odd = ids.iter().find(|id| !id.starts_with("019aa3594182") || id.len() != 32);
    assert_eq!(odd, None);
}

#[test]
fn times_are_rfc_3339() {
    assert_eq!(iso8601(1_763_677_127_042), "2025-11-20T22:18:47.042Z");
    assert_eq!(iso8601(0), "1970-01-01T00:00:00.000Z");
}

#[test]
fn a_text_is_cut_by_characters() {
    assert_eq!(cut("äöü", 3), "äöü");
    assert_eq!(cut("äöüß-äöüß", 6), "äöü...");
}

#[test]
fn events_that_lead_nowhere_are_given_in_all_the_same() {
    Events::off().emit(event(Paging::Trigger, "a"));
    assert_eq!(Events::off().test(None), []);
}
