#![allow(clippy::unwrap_used)]

use super::*;

fn headers(accept: &[&str]) -> HeaderMap {
    accept.iter().map(|value| (ACCEPT, HeaderValue::from_str(value).unwrap())).collect()
}

/// Wire contract: JSON only when an entry is `application/json` or `*/*`, and weights do not count.
#[test]
fn accept_decides_between_json_and_text() {
    for (accept, json) in [
        (&[][..], false),
        (&["application/json"], true),
        (&["*/*"], true),
        (&["text/plain"], false),
        (&[""], false),
        (&["text/plain, application/json;q=0.1"], true),
        (&["text/html,application/xhtml+xml,*/*;q=0.8"], true),
        (&["Application/JSON; charset=utf-8"], true),
        (&["application/*"], false),
        (&["application/jsonp"], false),
        (&["text/*"], false),
        (&["text/plain", "application/json"], true),
    ] {
        assert_eq!(wants_json(&headers(accept)), json, "{accept:?}");
    }
}

#[test]
fn errors_are_bare_reason_phrases() {
    let reply = reason_phrase(StatusCode::PRECONDITION_FAILED);
    assert_eq!(reply.status(), 412);
    assert!(!reply.headers().contains_key(CONTENT_TYPE));
}

#[test]
fn faults_are_parsed_or_refused_with_the_reason() {
    let (specs, seed) =
        parse_faults(br#"{"faults": ["slow=5", "die:after=2"], "seed": 7}"#).unwrap();
    assert_eq!((specs.len(), seed), (2, Some(7)));
    assert!(parse_faults(br#"{"faults": ["nap"]}"#).unwrap_err().contains("unknown fault \"nap\""));
    assert!(parse_faults(br#"{"fault": []}"#).unwrap_err().contains("unknown field `fault`"));
    assert!(parse_faults(b"").is_err());
}
