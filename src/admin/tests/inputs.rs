//! Whatever is sent to whichever route: it is answered, and never as a fault of the gate.

use std::collections::BTreeSet;

use axum::http::Uri;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, json};

use super::*;
use crate::admin::{document, resources};
use crate::tests::key;

/// A call as it goes out.
#[derive(Clone, Debug)]
struct Call {
    method: &'static str,
    uri: String,
    who: &'static str,
    body: Vec<u8>,
}

/// One route, as far as the document tells.
#[derive(Clone, Debug)]
struct Shape {
    method: &'static str,
    path: &'static str,
    queries: Vec<String>,
    fields: Vec<(String, Value)>,
}

#[test]
fn no_input_is_a_fault_of_the_gate() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let bench = runtime.block_on(async { Bench::new() });
    let seen = std::cell::RefCell::new(BTreeSet::new());
    let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&calls(), |call| {
        let status = runtime.block_on(answered(&bench, &call))?;
        seen.borrow_mut().insert(status);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let seen = seen.into_inner();
    // It went deeper than the door.
    for status in [200, 400, 401, 403, 404, 405, 409, 422] {
        assert!(seen.contains(&status), "{status} is not among {seen:?}");
    }
}

/// The status; what is refused is a problem that says the same.
async fn answered(bench: &Bench, call: &Call) -> Result<u16, TestCaseError> {
    let request = Request::builder().method(call.method).uri(&call.uri);
    let request = request.header("authorization", format!("Bearer {}", token(call.who)));
    let request = request.body(Body::from(call.body.clone())).unwrap();
    let response = bench.router.call(request).await.unwrap();
    let status = response.status().as_u16();
    if status < 300 {
        return Ok(status); // it may be a stream without an end
    }
    let kind = response.headers().get("content-type").cloned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    prop_assert!((400..500).contains(&status), "{status}: {problem}");
    prop_assert_eq!(kind.unwrap(), "application/problem+json");
    prop_assert_eq!(&problem["status"], status);
    prop_assert!(problem["code"].is_string() && problem["detail"].is_string(), "{}", problem);
    Ok(status)
}

fn calls() -> impl Strategy<Value = Call> {
    let document = document();
    let (words, names) = vocabulary(&document);
    let shapes: Vec<Shape> = resources()
        .iter()
        .flat_map(|resource| resource.list())
        .map(|route| shape(route.method.as_str(), route.path, &document))
        .collect();
    let shape = select(shapes);
    shape.prop_flat_map(move |shape| {
        let method = prop_oneof![
            12 => Just(shape.method),
            1 => select(vec!["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ];
        let who = select(vec!["approver", "approver", "operator", "viewer", "stranger"]);
        (method, uri(&shape, &words), who, body(&shape, &words, &names))
            .prop_map(|(method, uri, who, body)| Call { method, uri, who, body })
    })
}

fn shape(method: &'static str, path: &'static str, document: &Value) -> Shape {
    let operation = &document["paths"][path][method.to_lowercase()];
    let queries = operation["parameters"].as_array().into_iter().flatten();
    let queries = queries.filter(|it| it["in"] == "query");
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let fields = schema["properties"].as_object().into_iter().flatten();
    Shape {
        method,
        path,
        queries: queries.filter_map(|it| it["name"].as_str().map(str::to_owned)).collect(),
        fields: fields.map(|(name, schema)| (name.clone(), schema.clone())).collect(),
    }
}

/// The words that mean something, and the names of fields.
fn vocabulary(document: &Value) -> (Vec<String>, Vec<String>) {
    let (mut words, mut names) = (BTreeSet::new(), BTreeSet::new());
    collect(document, &mut words, &mut names);
    words.extend((0..4).map(|number| key(number).to_string()));
    let others = ["", " ", "default", "strict", "wrong", "0", "1", "-1", "18446744073709551615"];
    words.extend(others.map(str::to_owned));
    let others = ["2026-01-01T00:00:00Z", "127.0.0.1", "::1", "ATTESTATION", "0x00", "q-1", "w-1"];
    words.extend(others.map(str::to_owned));
    names.extend(["type", "fork_info", "attestation", "signing_root"].map(str::to_owned));
    (words.into_iter().collect(), names.into_iter().collect())
}

fn collect(value: &Value, words: &mut BTreeSet<String>, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let of_enum = fields.get("enum").and_then(Value::as_array).into_iter().flatten();
            words.extend(of_enum.filter_map(|word| word.as_str().map(str::to_owned)));
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                names.extend(properties.keys().cloned());
            }
            fields.values().for_each(|inner| collect(inner, words, names));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, words, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn text(words: &[String]) -> impl Strategy<Value = String> + use<> {
    prop_oneof![6 => select(words.to_vec()), 1 => any::<String>(), 1 => "[0-9a-f]{90,100}"]
}

fn uri(shape: &Shape, words: &[String]) -> impl Strategy<Value = String> + use<> {
    let bytes = prop_oneof![
        4 => text(words).prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..40),
        1 => Just(vec![b'x'; 5_000]),
    ];
    let path = shape.path;
    let segments = vec(bytes, path.matches('{').count());
    let names = [&shape.queries[..], &["unknown".to_owned()]].concat();
    let queries = vec((select(names), vec(text(words), 1)), 0..3);
    (segments, queries).prop_map(move |(segments, queries)| {
        let mut segments = segments.iter();
        let steps = path.split('/').map(|step| match step.starts_with('{') {
            true => escaped(segments.next().unwrap()),
            false => step.to_owned(),
        });
        let mut uri = steps.collect::<Vec<_>>().join("/");
        for (index, (name, value)) in queries.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.push_str(&format!("{name}={}", escaped(value[0].as_bytes())));
        }
        assert!(uri.parse::<Uri>().is_ok(), "{uri}");
        uri
    })
}

fn escaped(bytes: &[u8]) -> String {
    let escaped = bytes.iter().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(*byte).into(),
        other => format!("%{other:02X}"),
    });
    escaped.collect()
}

fn body(shape: &Shape, words: &[String], names: &[String]) -> BoxedStrategy<Vec<u8>> {
    let anything = anything(words, names);
    let fields: Vec<_> = shape
        .fields
        .iter()
        .map(|(name, schema)| {
            let value = prop_oneof![8 => fitting(schema, words, names), 1 => anything.clone()];
            (Just(name.clone()), proptest::option::weighted(0.8, value))
        })
        .collect();
    let fields = fields.prop_map(|fields| {
        let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Value::Object(given.collect::<Map<_, _>>()).to_string().into_bytes()
    });
    let broken = (fields.clone(), any::<proptest::sample::Index>(), any::<u8>());
    let broken = broken.prop_map(|(mut body, at, byte)| {
        let at = at.index(body.len());
        body[at] = byte;
        body
    });
    prop_oneof![
        8 => fields,
        2 => broken,
        1 => anything.prop_map(|value| value.to_string().into_bytes()),
        1 => vec(any::<u8>(), 0..200),
    ]
    .boxed()
}

/// A value as the document describes it.
fn fitting(schema: &Value, words: &[String], names: &[String]) -> BoxedStrategy<Value> {
    let string = || text(words).prop_map(Value::from).boxed();
    match schema["type"].as_str() {
        Some("string") => match schema["enum"].as_array() {
            Some(known) => select(known.clone()).boxed(),
            None => string(),
        },
        Some("integer") => number(),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("array") => {
            vec(fitting(&schema["items"], words, names), 0..6).prop_map(Value::from).boxed()
        }
        Some("object") if schema["properties"].is_object() => {
            let fields = schema["properties"].as_object().unwrap().iter().map(|(name, schema)| {
                let value = fitting(schema, words, names);
                (Just(name.clone()), proptest::option::weighted(0.8, value))
            });
            let fields: Vec<_> = fields.collect();
            let object = |fields: Vec<(String, Option<Value>)>| {
                let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
                Value::Object(given.collect())
            };
            fields.prop_map(object).boxed()
        }
        Some(_) => anything(words, names),
        None => prop_oneof![string(), anything(words, names)].boxed(),
    }
}

fn number() -> BoxedStrategy<Value> {
    prop_oneof![
        (0..100_u64).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        Just(json!(u64::MAX)),
    ]
    .boxed()
}

fn anything(words: &[String], names: &[String]) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        4 => text(words).prop_map(Value::from),
        2 => number(),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    let names = names.to_vec();
    let nested = leaf.prop_recursive(4, 32, 5, move |inner| {
        let field = (select(names.clone()), inner.clone());
        prop_oneof![
            vec(inner, 0..5).prop_map(Value::from),
            vec(field, 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    nested.boxed()
}
