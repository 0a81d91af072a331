#![allow(clippy::unwrap_used)]

use super::*;

const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn of(headers: &[(&'static str, &str)]) -> Option<TraceContext> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    TraceContext::of(&map)
}

#[test]
fn a_valid_parent_is_read_and_passed_on_with_our_span() {
    let context = of(&[("traceparent", VALID)]).unwrap();
    assert_eq!(context.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(context.parent.unwrap().to_string(), "00f067aa0ba902b7");
    assert!(context.is_sampled());
    assert_eq!(
        context.header(SpanId(0xb7)).to_str().unwrap(),
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000b7-01"
    );
    let unsampled = of(&[("traceparent", &VALID.replace("-01", "-00"))]).unwrap();
    assert!(!unsampled.is_sampled());
    // Unknown flags are not passed on (3.2.2.5).
    let more = of(&[("traceparent", &VALID.replace("-01", "-ff"))]).unwrap();
    assert!(more.header(SpanId(1)).to_str().unwrap().ends_with("-01"));
}

#[test]
fn what_is_malformed_is_passed_over() {
    for wrong in [
        "",
        "00",
        &VALID[..54],
        &format!("{VALID}0"),
        &format!("{VALID}-00"),
        &VALID.replace("4bf9", "4BF9"),
        &VALID.replace("4bf9", "+bf9"),
        &VALID.replace("00-4", "ff-4"),
        &VALID.replace("00-4", "0x-4"),
        &VALID.replace('-', "_"),
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        &VALID.replace("-01", "-0g"),
    ] {
        assert_eq!(of(&[("traceparent", wrong)]), None, "{wrong:?}");
    }
    assert_eq!(of(&[("traceparent", VALID), ("traceparent", VALID)]), None);
    assert_eq!(of(&[("tracestate", "a=b")]), None);
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_known() {
    let later = VALID.replace("00-4", "cc-4");
    assert_eq!(of(&[("traceparent", &later)]), of(&[("traceparent", VALID)]));
    assert_eq!(of(&[("traceparent", &format!("{later}-more"))]), of(&[("traceparent", VALID)]));
    assert_eq!(of(&[("traceparent", &format!("{later}.more"))]), None);
}

#[test]
fn the_state_travels_as_it_came_or_not_at_all() {
    let state = |values: &[&str]| {
        let mut headers = vec![("traceparent", VALID)];
        headers.extend(values.iter().map(|value| ("tracestate", *value)));
        let state = of(&headers).unwrap().state;
        state.map(|state| state.to_str().unwrap().to_owned())
    };
    assert_eq!(state(&["a=1, b@c=2,"]).unwrap(), "a=1, b@c=2,");
    assert_eq!(state(&["a=1", "b=2"]).unwrap(), "a=1,b=2");
    for wrong in ["a", "A=1", "=1", "a=", "a=b=c", "a=\t1"] {
        assert_eq!(state(&[wrong]), None, "{wrong:?}");
    }
    assert_eq!(state(&[&format!("a={}", "x".repeat(250))]).unwrap().len(), 252);
    assert_eq!(state(&[&format!("a={}", "x".repeat(257))]), None);
    let many = |count: usize| vec!["a=1"; count].join(",");
    assert!(state(&[&many(32)]).is_some());
    assert_eq!(state(&[&many(33)]), None);
    assert_eq!(state(&[&many(20), &many(20)]), None);
}
