//! Two identities are really two.

use std::time::Duration;

use serde_json::json;

use super::*;

const PUBLISH: (&str, &str) = ("POST", "/v1/policy/publish");

fn draft(text: &str, grant: Option<&str>) -> Value {
    match grant {
        None => json!({ "document": text, "reason": "why not" }),
        Some(grant) => json!({ "document": text, "reason": "why not", "grant": grant }),
    }
}

async fn approve(bench: &Bench, who: &str, id: &str) -> (u16, Value) {
    bench.ask(who, ("POST", &format!("/v1/grants/{id}/approve")), Value::Null).await
}

#[tokio::test]
async fn a_mild_draft_needs_one_and_a_strict_one_two() {
    let bench = Bench::new();
    assert_eq!(bench.ask("operator", PUBLISH, draft("mild", None)).await.0, 200);
    let (status, grant) = bench.ask("operator", PUBLISH, draft("strict", None)).await;
    assert_eq!(status, 202, "{grant}");
    assert_eq!(bench.desk.policy.in_force().document.as_deref(), Some("mild"));
    let id = grant["id"].as_str().unwrap();
    let again = draft("strict", Some(id));
    let (status, problem) = bench.ask("operator", PUBLISH, again.clone()).await;
    assert_eq!(status, 409, "nobody has approved: {problem}");
    assert_eq!(approve(&bench, "operator2", id).await.0, 403, "an operator approves nothing");
    assert_eq!(approve(&bench, "approver", id).await.0, 200);
    assert_eq!(approve(&bench, "approver", id).await.0, 409, "once is enough");
    assert_eq!(bench.ask("operator2", PUBLISH, again.clone()).await.0, 403, "another asked");
    let other = draft("strict, and more", Some(id));
    assert_eq!(bench.ask("operator", PUBLISH, other).await.0, 409, "another draft");
    assert_eq!(bench.ask("operator", PUBLISH, again.clone()).await.0, 200);
    assert_eq!(bench.desk.policy.in_force().document.as_deref(), Some("strict"));
    assert_eq!(bench.ask("operator", PUBLISH, again).await.0, 404, "a grant is used once");
}

#[tokio::test]
async fn nobody_approves_what_they_asked_for() {
    let bench = Bench::new();
    let (status, grant) = bench.ask("approver", PUBLISH, draft("strict", None)).await;
    assert_eq!(status, 202);
    let id = grant["id"].as_str().unwrap();
    assert_eq!(approve(&bench, "approver", id).await.0, 403);
    assert_eq!(approve(&bench, "late", id).await.0, 200);
    // Whoever approved has expired since.
    bench.hands.set(bench.desk.gate.clock.now().after(Duration::from_secs(2)));
    let (status, problem) = bench.ask("approver", PUBLISH, draft("strict", Some(id))).await;
    assert_eq!(status, 409, "{problem}");
}

#[tokio::test]
async fn a_grant_expires_and_can_be_withdrawn() {
    let bench = Bench::new();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (_, grant) = bench.ask("operator", PUBLISH, draft("strict", None)).await;
        ids.push(grant["id"].as_str().unwrap().to_owned());
    }
    let withdraw = format!("/v1/grants/{}", ids[0]);
    assert_eq!(bench.ask("operator2", ("DELETE", &withdraw), Value::Null).await.0, 403);
    assert_eq!(bench.ask("operator", ("DELETE", &withdraw), Value::Null).await.0, 200);
    assert_eq!(approve(&bench, "approver", &ids[0]).await.0, 404);
    assert_eq!(approve(&bench, "approver", &ids[1]).await.0, 200);
    bench.hands.set(bench.desk.gate.clock.now().after(Duration::from_secs(3_600)));
    let (status, _) = bench.ask("operator", PUBLISH, draft("strict", Some(&ids[1]))).await;
    assert_eq!(status, 404);
    let (_, open) = bench.ask("viewer", ("GET", "/v1/grants"), Value::Null).await;
    assert_eq!(open["grants"], json!([]));
}

#[test]
fn grants_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let id = runtime.block_on(async {
        let bench = Bench::over(ResponseTable::open(folder.path()).unwrap());
        let (_, grant) = bench.ask("operator", PUBLISH, draft("strict", None)).await;
        let id = grant["id"].as_str().unwrap().to_owned();
        assert_eq!(approve(&bench, "approver", &id).await.0, 200);
        bench.desk.gate.response.table.close();
        id
    });
    runtime.block_on(async {
        let bench = Bench::over(ResponseTable::open(folder.path()).unwrap());
        let (status, _) = bench.ask("operator", PUBLISH, draft("strict", Some(&id))).await;
        assert_eq!(status, 200);
    });
}
