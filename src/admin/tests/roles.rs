//! The table of roles: who may call what, tried call by call.

use std::collections::BTreeSet;

use super::*;
use crate::admin::resources;

/// Method, path, and the least role that may call it. Written by hand, so that a route whose role
/// is changed has to be changed here too.
const TABLE: &[(&str, &str, Role)] = &[
    ("GET", "/v1/health", Role::Viewer),
    ("GET", "/v1/incidents", Role::Viewer),
    ("GET", "/v1/incidents/{id}", Role::Viewer),
    ("GET", "/v1/incidents/{id}/timeline", Role::Viewer),
    ("POST", "/v1/incidents/{id}/acknowledge", Role::Operator),
    ("POST", "/v1/incidents/{id}/resolve", Role::Operator),
    ("POST", "/v1/incidents/{id}/reopen", Role::Operator),
    ("GET", "/v1/timeline", Role::Viewer),
    ("GET", "/v1/events", Role::Viewer),
    ("GET", "/openapi.json", Role::Viewer),
    ("GET", "/v1/audit/checkpoint", Role::Viewer),
    ("GET", "/v1/keys", Role::Viewer),
    ("POST", "/v1/keys/enrol", Role::Operator),
    ("POST", "/v1/keys/import", Role::Operator),
    ("POST", "/v1/keys/disable", Role::Operator),
    ("POST", "/v1/keys/export", Role::Operator),
    ("GET", "/v1/validators", Role::Viewer),
    ("GET", "/v1/validators/{key}", Role::Viewer),
    ("GET", "/v1/baselines/{key}", Role::Viewer),
    ("GET", "/v1/clients", Role::Viewer),
    ("POST", "/v1/evaluate", Role::Operator),
    ("GET", "/v1/policy", Role::Viewer),
    ("POST", "/v1/policy/check", Role::Viewer),
    ("POST", "/v1/policy/replay", Role::Operator),
    ("POST", "/v1/policy/publish", Role::Operator),
    ("GET", "/v1/grants", Role::Viewer),
    ("POST", "/v1/grants/{id}/approve", Role::Approver),
    ("DELETE", "/v1/grants/{id}", Role::Operator),
    ("GET", "/v1/quarantines", Role::Viewer),
    ("GET", "/v1/quarantines/{id}", Role::Viewer),
    ("POST", "/v1/quarantines", Role::Operator),
    ("POST", "/v1/quarantines/{id}/release", Role::Operator),
    ("GET", "/v1/windows", Role::Viewer),
    ("GET", "/v1/windows/{id}", Role::Viewer),
    ("GET", "/v1/windows/{id}/proceed", Role::Viewer),
    ("POST", "/v1/windows", Role::Operator),
    ("POST", "/v1/windows/{id}/close", Role::Operator),
    ("POST", "/v1/windows/{id}/halt", Role::Operator),
];

#[test]
fn the_table_is_complete() {
    let resources = resources();
    let routes = resources.iter().flat_map(|resource| resource.list());
    let served: BTreeSet<_> =
        routes.map(|route| (route.method.as_str(), route.path, route.role.as_str())).collect();
    let table = TABLE.iter().map(|(method, path, role)| (*method, *path, role.as_str()));
    assert_eq!(served, table.collect());
    let names: BTreeSet<_> =
        resources.iter().flat_map(|it| it.list()).map(|route| route.name).collect();
    assert_eq!(names.len(), served.len(), "two routes have one name");
}

/// Whoever may not is told 403, whoever may is not, nobody is told 401; whatever the body.
#[tokio::test]
async fn every_route_is_held_by_its_role() {
    let bench = Bench::new();
    let callers =
        [("viewer", Role::Viewer), ("operator", Role::Operator), ("approver", Role::Approver)];
    for (method, path, least) in TABLE {
        let path = with_segments(path);
        for body in ["", "{}", "[]", "{"] {
            let (status, _) = bench.call((method, &path), None, body).await;
            assert_eq!(status, 401, "{method} {path} without a token");
            for (who, role) in callers {
                let (status, answer) = bench.call((method, &path), Some(&token(who)), body).await;
                assert_eq!(status == 403, role < *least, "{method} {path} as {who}: {answer}");
                assert_ne!(status, 401, "{method} {path} as {who}");
                assert!(status < 500, "{method} {path} as {who}: {status} {answer}");
            }
        }
    }
}

fn with_segments(path: &str) -> String {
    let steps = path.split('/').map(|step| if step.starts_with('{') { "x" } else { step });
    steps.collect::<Vec<_>>().join("/")
}
