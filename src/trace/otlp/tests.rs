#![allow(clippy::unwrap_used)]

use super::*;

/// The example of the specification's own encoding rules, as far as it goes for a server's span.
#[test]
fn a_span_is_encoded_as_the_specification_says() {
    let span = Span {
        trace_id: TraceId(0x5b8e_fff7_9803_8103_d269_b633_813f_c60c),
        span_id: SpanId(0xeee1_9b7e_c3c1_b174),
        parent: Some(SpanId(0xeee1_9b7e_c3c1_b173)),
        state: Some(HeaderValue::from_static("a=b")),
        name: "ATTESTATION",
        started_unix_ns: 1_544_712_660_000_000_000,
        ended_unix_ns: 1_544_712_661_000_000_000,
        events: vec![("parse", 1_544_712_660_500_000_000)],
        attributes: vec![("a", "text".into()), ("b", 7.into()), ("c", true.into())],
        failed: Some("upstream_connect"),
    };
    let body = encode("gate", "one", &[Box::new(span)]);
    let body: Value = serde_json::from_slice(&body).unwrap();
    let resource = &body["resourceSpans"][0];
    assert_eq!(
        resource["resource"]["attributes"][0],
        json!({ "key": "service.name", "value": { "stringValue": "gate" } })
    );
    assert_eq!(
        resource["scopeSpans"][0]["spans"],
        json!([{
            "traceId": "5b8efff798038103d269b633813fc60c",
            "spanId": "eee19b7ec3c1b174",
            "parentSpanId": "eee19b7ec3c1b173",
            "traceState": "a=b",
            "name": "ATTESTATION",
            "kind": 2,
            "startTimeUnixNano": "1544712660000000000",
            "endTimeUnixNano": "1544712661000000000",
            "attributes": [
                { "key": "a", "value": { "stringValue": "text" } },
                { "key": "b", "value": { "intValue": "7" } },
                { "key": "c", "value": { "boolValue": true } },
            ],
            "events": [{ "name": "parse", "timeUnixNano": "1544712660500000000" }],
            "status": { "code": 2, "message": "upstream_connect" },
        }])
    );
}
