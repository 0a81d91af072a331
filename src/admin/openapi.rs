//! The OpenAPI document, put together from what each route says of itself.

use serde_json::{Map, Value, json};

use super::routes::{Route, Routes};
use super::{Answer, Problem, Role, resources};

mod schemas;

pub(super) fn routes() -> Routes {
    Routes::new("openapi", "This document").get(
        "/openapi.json",
        Role::Viewer,
        "openapi.show",
        json!({
            "summary": "This document",
            "responses": { "200": {
                "description": "OpenAPI 3.1",
                "content": { "application/json": { "schema": { "type": "object" } } }
            } }
        }),
        || async { Answer::of(&document()) as Result<Answer, Problem> },
    )
}

/// The whole document.
pub fn document() -> Value {
    let resources = resources();
    let mut paths = Map::new();
    for resource in &resources {
        for route in resource.list() {
            let path = paths.entry(route.path).or_insert_with(|| json!({}));
            path[route.method.as_str().to_lowercase()] = operation(resource.tag, route);
        }
    }
    let own = schemas::all();
    let of_all = resources.iter().map(|resource| &resource.schemas).chain([&own]);
    let schemas: Map<String, Value> = of_all
        .filter_map(Value::as_object)
        .flatten()
        .map(|(name, it)| (name.clone(), it.clone()))
        .collect();
    let tags = resources.iter().map(|it| json!({ "name": it.tag, "description": it.about }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis admin API",
            "version": "1",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "What people and their scripts ask of a running gate. `x-role` is the \
                least role that may call: viewer < operator < approver. Every call is in the audit \
                log with the name of its credential.",
        },
        "servers": [{ "url": "http://127.0.0.1:9002" }],
        "security": [{ "token": [] }, { "certificate": [] }],
        "tags": tags.collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
            "responses": { "Problem": {
                "description": "It was not done, and why",
                "content": { "application/problem+json": {
                    "schema": { "$ref": "#/components/schemas/Problem" }
                } }
            } },
            "schemas": schemas,
        },
    })
}

/// The answer of an operation that succeeds, as JSON of this shape.
pub(super) fn answer(description: &str, schema: Value) -> Value {
    json!({ "200": {
        "description": description,
        "content": { "application/json": { "schema": schema } }
    } })
}

/// The answer of an operation that waits for a second identity, under `202`.
pub(super) fn pending() -> Value {
    json!({
        "description": "A second identity has to approve this grant; then call again with its id",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Grant" } } },
    })
}

/// A JSON body with these properties, of which some must be there.
pub(super) fn body(required: &[&str], properties: Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": {
        "type": "object",
        "required": required,
        "additionalProperties": false,
        "properties": properties,
    } } } })
}

/// A parameter after the `?`.
pub(super) fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

/// A variable part of the path.
pub(super) fn segment(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "description": description,
        "schema": { "type": "string" },
    })
}

fn operation(tag: &str, route: &Route) -> Value {
    let mut operation = route.document.clone();
    operation["operationId"] = json!(route.name);
    operation["tags"] = json!([tag]);
    operation["x-role"] = json!(route.role.as_str());
    operation["responses"]["default"] = json!({ "$ref": "#/components/responses/Problem" });
    operation
}
