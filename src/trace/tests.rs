#![allow(clippy::unwrap_used)]

use super::*;

fn begin(headers: &[(&'static str, &str)], tracer: &Tracer) -> RequestTrace {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    RequestTrace::begin(&map, &Ids::default(), tracer, &Clock::System)
}

#[test]
fn a_request_id_is_taken_over_if_it_fits_a_log_line() {
    let off = Tracer::off();
    for good in ["a", "01J9-x_y.z:7/8+9=", &"x".repeat(REQUEST_ID_BYTES_MAX)] {
        let id = begin(&[("x-request-id", good)], &off).request_id;
        assert_eq!(id.to_string(), good);
        assert_eq!(id.header(), good);
    }
    for bad in ["", "two words", "a\"b", "a\\b", "<a>", "\u{e9}", &"x".repeat(129), "a\tb"] {
        let id = begin(&[("x-request-id", bad)], &off).request_id;
        assert!(matches!(id, RequestId::Made(_)), "{bad:?}");
        assert_eq!(id.header(), id.to_string());
        assert_eq!(id.header().len(), 16);
    }
}

#[test]
fn ids_of_our_own_do_not_repeat() {
    let ids = Ids::default();
    let mut made: Vec<u64> = (0..10_000).map(|_| ids.next()).collect();
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), 10_000);
    assert_ne!(Ids::default().next(), Ids::default().next());
}

#[test]
fn a_context_travels_on_though_nothing_is_exported() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut trace = begin(&[("traceparent", parent), ("tracestate", "a=1")], &Tracer::off());
    let outgoing = trace.outgoing().unwrap();
    let span = trace.span_id().unwrap();
    assert_eq!(outgoing.parent, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{span}-01"));
    assert_eq!(outgoing.state.unwrap(), "a=1");
    assert!(trace.span("ATTESTATION", Duration::ZERO).is_none());

    let trace = begin(&[], &Tracer::off());
    assert!(trace.outgoing().is_none() && trace.trace_id().is_none());
}
