//! Incidents over the API: seen, acknowledged, ended, and each of it once.

use serde_json::json;

use super::*;
use crate::response::incident::Report;
use crate::response::incident::class::Family;

#[tokio::test]
async fn an_incident_is_listed_shown_and_moved_by_who_may() {
    let bench = Bench::new();
    let response = &bench.desk.gate.response;
    response.incidents.noticed(Report {
        at_unix_ms: 1_800_000_000_000,
        family: Family::Fleet,
        code: "fleet_rates".to_owned(),
        about: "north".to_owned(),
        reason: "300 reveals, 20 expected".to_owned(),
    });
    response.incidents.take_reports(response);
    let (status, all) = bench.ask("viewer", ("GET", "/v1/incidents"), Value::Null).await;
    assert_eq!((status, all["incidents"].as_array().unwrap().len()), (200, 1), "{all}");
    let one = &all["incidents"][0];
    assert_eq!((&one["state"], &one["paged"]), (&json!("open"), &json!(true)));
    assert!(one["summary"].as_str().unwrap().contains("300 reveals"), "{one}");
    assert!(one.get("unsaid").is_none() && one.get("burst").is_none(), "{one}");
    let path = format!("/v1/incidents/{}", one["id"].as_str().unwrap());
    let to = |verb: &str| format!("{path}/{verb}");
    let why = || json!({ "reason": "looking" });

    let (status, _) = bench.ask("viewer", ("POST", &to("acknowledge")), why()).await;
    assert_eq!(status, 403);
    let (status, answer) = bench.ask("operator", ("POST", &to("acknowledge")), json!({})).await;
    assert_eq!(status, 422, "{answer}");
    let empty = json!({ "reason": "  " });
    assert_eq!(bench.ask("operator", ("POST", &to("acknowledge")), empty).await.0, 422);
    assert_eq!(bench.ask("operator", ("POST", &to("acknowledge")), why()).await.0, 200);
    let (status, answer) = bench.ask("operator", ("POST", &to("acknowledge")), why()).await;
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")));
    assert_eq!(bench.ask("approver", ("POST", &to("resolve")), why()).await.0, 200);
    let open = ("GET", "/v1/incidents?state=open");
    let (_, none) = bench.ask("viewer", open, Value::Null).await;
    assert_eq!(none["incidents"], json!([]));
    assert_eq!(bench.ask("operator", ("POST", &to("reopen")), why()).await.0, 200);

    let (_, shown) = bench.ask("viewer", ("GET", &path), Value::Null).await;
    assert_eq!((&shown["state"], &shown["reopened"]), (&json!("open"), &json!(1)), "{shown}");
    assert_eq!(shown["deeds"][0]["reason"], "operator: looking");
    let (status, story) = bench.ask("viewer", ("GET", &to("timeline")), Value::Null).await;
    assert_eq!((status, story["lines"].as_array().unwrap().len()), (200, 3), "{story}");
    let markdown = format!("{path}/timeline?format=markdown");
    assert_eq!(bench.ask("viewer", ("GET", &markdown), Value::Null).await.0, 200);
    let nobody = ("GET", "/v1/incidents/inc-0");
    assert_eq!(bench.ask("viewer", nobody, Value::Null).await.0, 404);
    let name = ("GET", "/v1/timeline?subject=window%20one&limit=3");
    let (status, empty) = bench.ask("viewer", name, Value::Null).await;
    assert_eq!((status, &empty["lines"]), (200, &json!([])));
    assert_eq!(bench.ask("viewer", ("GET", "/v1/timeline"), Value::Null).await.0, 400);
}
