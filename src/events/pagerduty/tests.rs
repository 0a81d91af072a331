use super::super::tests::event;
use super::*;

fn sent(event: &Event) -> Value {
    serde_json::from_slice(&body(event, "R0UT1NGKEY", "gate-1").unwrap()).unwrap()
}

#[test]
fn a_page_is_what_the_api_wants() {
    let page = event(Paging::Trigger, "inc-17");
    let expected = json!({
        "routing_key": "R0UT1NGKEY",
        "event_action": "trigger",
        "dedup_key": "inc-17",
        "client": "portcullis",
        "payload": {
            "summary": "two live signers for 500 keys of group west; the second is fenced",
            "source": "gate-1",
            "severity": "critical",
            "timestamp": "2025-11-20T22:18:47.042Z",
            "component": "west",
            "class": "incident.opened",
            "custom_details": {
                "event_id": page.id,
                "details": { "keys": 500, "rule": "client_lease" },
            },
        },
    });
    assert_eq!(sent(&page), expected);
    for (paging, action) in [(Paging::Acknowledge, "acknowledge"), (Paging::Resolve, "resolve")] {
        let sent = sent(&event(paging, "inc-17"));
        assert_eq!((&sent["event_action"], &sent["dedup_key"]), (&json!(action), &json!("inc-17")));
    }
    assert_eq!(body(&event(Paging::None, "a"), "R", "gate-1"), None);
}

#[test]
fn nothing_goes_beyond_the_limits() {
    let mut large = event(Paging::Trigger, &"k".repeat(1_000));
    large.summary = "ß".repeat(3_000);
    large.details = json!({ "keys": vec!["0x0102030405"; 50_000] });
    let bytes = body(&large, "R", "gate-1").unwrap();
    assert!(bytes.len() <= BODY_BYTES_MAX, "{}", bytes.len());
    let sent = sent(&large);
    let length = |text: &Value| text.as_str().unwrap().chars().count();
    assert_eq!(length(&sent["dedup_key"]), DEDUP_KEY_CHARS_MAX);
    assert_eq!(length(&sent["payload"]["summary"]), SUMMARY_CHARS_MAX);
    assert_eq!(sent["payload"]["custom_details"]["details"], "left out: too large");
    assert_eq!(sent["payload"]["custom_details"]["event_id"], large.id.as_str());
}

#[test]
fn long_keys_stay_different_and_short_ones_as_they_are() {
    let long = |end: char| format!("{}{end}", "k".repeat(400));
    assert_ne!(dedup_key(&long('a')), dedup_key(&long('b')));
    assert_eq!(dedup_key(&long('a')), dedup_key(&long('a')));
    assert_eq!(dedup_key(&"k".repeat(255)), "k".repeat(255));
}

#[test]
fn only_its_own_words_are_a_yes() {
    assert!(is_taken(br#"{"status":"success","message":"Event processed","dedup_key":"a"}"#));
    for other in [&b""[..], b"ok", b"{}", br#"{"status":"invalid event"}"#, b"<html></html>"] {
        assert!(!is_taken(other));
    }
}
