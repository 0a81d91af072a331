//! The committed document is the served one.

use serde_json::Value;

use super::*;
use crate::admin::{openapi, resources};

const FILE: &str = "fixtures/admin-openapi.json";

/// With `UPDATE_FIXTURES=1` the file is written instead.
#[tokio::test]
async fn the_committed_document_is_the_served_one() {
    let text = format!("{}\n", serde_json::to_string_pretty(&openapi::document()).unwrap());
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(FILE, &text).unwrap();
    }
    assert!(fs::read_to_string(FILE).unwrap() == text, "run this test with UPDATE_FIXTURES=1");
    let (_, served) = Bench::new().ask("viewer", ("GET", "/openapi.json"), Value::Null).await;
    assert_eq!(served, openapi::document());
}

#[test]
fn every_reference_leads_somewhere_and_every_parameter_is_described() {
    let document = openapi::document();
    let mut references = Vec::new();
    collect(&document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for route in resources().iter().flat_map(|resource| resource.list()) {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert!(operation["summary"].is_string(), "{} has no summary", route.name);
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|it| it.starts_with('2')), "{} never succeeds", route.name);
        for name in route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            let parameters = operation["parameters"].as_array();
            let is_described = parameters.is_some_and(|all| {
                all.iter().any(|one| one["name"] == name && one["in"] == "path")
            });
            assert!(is_described, "{} does not describe {{{name}}}", route.name);
        }
    }
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|inner| collect(inner, references));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, references)),
        _ => {}
    }
}
