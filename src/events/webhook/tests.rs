use super::super::tests::event;
use super::super::{Event, Paging};
use super::*;

#[test]
fn a_body_is_a_cloud_event() {
    let page = event(Paging::Trigger, "inc-17");
    let sent: serde_json::Value = serde_json::from_slice(&body(&page, "gate-1")).unwrap();
    let expected = json!({
        "specversion": "1.0",
        "id": page.id,
        "source": "portcullis/gate-1",
        "type": "portcullis.incident.opened",
        "subject": "west",
        "time": "2025-11-20T22:18:47.042Z",
        "datacontenttype": "application/json",
        "data": {
            "severity": "critical",
            "paging": "trigger",
            "dedup_key": "inc-17",
            "summary": "two live signers for 500 keys of group west; the second is fenced",
            "details": { "keys": 500, "rule": "client_lease" },
        },
    });
    assert_eq!(sent, expected);
    let plain = Event { subject: String::new(), ..page };
    let sent: serde_json::Value = serde_json::from_slice(&body(&plain, "gate-1")).unwrap();
    assert!(sent.get("subject").is_none(), "an empty subject is not allowed");
}

/// The example of the specification of Standard Webhooks.
#[test]
fn a_signature_is_that_of_the_specification() {
    let secret = [
        49, 242, 144, 246, 191, 6, 41, 138, 171, 79, 8, 212, 60, 63, 8, 44, 246, 72, 163, 98, 218,
        45, 164, 176,
    ];
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    let signature = signature(id, 1_614_265_330, br#"{"test": 2432232314}"#, &secret);
    assert_eq!(signature, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn headers_name_the_event_and_sign_it() {
    let with = headers("abc", 17, b"{}", Some("s3cret"));
    assert_eq!(with["content-type"], "application/cloudevents+json");
    assert_eq!((&with["webhook-id"], &with["idempotency-key"]), (&with["webhook-id"], &with[ID]));
    assert_eq!(with["webhook-timestamp"], "17");
    let signature = with["webhook-signature"].to_str().unwrap();
    assert!(signature.starts_with("v1,") && signature.len() == 3 + 44, "{signature}");
    let later = headers("abc", 18, b"{}", Some("s3cret"));
    assert_ne!(later["webhook-signature"], with["webhook-signature"], "the time is signed too");
    assert!(headers("abc", 17, b"{}", None).get("webhook-signature").is_none());
}

#[test]
fn base64_is_that_of_the_specification() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
    assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
}
