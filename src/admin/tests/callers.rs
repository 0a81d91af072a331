//! Who calls.

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::admin::AccessError;
use crate::clock::Clock;

const HEALTH: (&str, &str) = ("GET", "/v1/health");

#[tokio::test]
async fn a_caller_without_a_token_or_with_another_is_nobody() {
    let bench = Bench::new();
    let almost = format!("{}x", token("viewer"));
    for shown in [None, Some("x"), Some(almost.as_str()), Some("")] {
        let (status, problem) = bench.call(HEALTH, shown, "").await;
        assert_eq!(status, 401, "{shown:?}");
        assert_eq!(problem["code"], "unauthorized");
        assert!(!problem.to_string().contains(&almost), "{problem}");
    }
    assert_eq!(bench.ask("viewer", HEALTH, Value::Null).await.0, 200);
}

#[tokio::test]
async fn a_credential_is_good_until_it_expires() {
    let bench = Bench::new();
    assert_eq!(bench.ask("late", HEALTH, Value::Null).await.0, 200);
    bench.hands.set(bench.desk.gate.clock.now().after(Duration::from_secs(1)));
    let (status, problem) = bench.ask("late", HEALTH, Value::Null).await;
    assert_eq!(status, 401);
    assert!(problem["detail"].as_str().unwrap().contains("expired"), "{problem}");
}

#[tokio::test]
async fn a_token_file_that_changes_holds_from_the_reload_on() {
    let bench = Bench::new();
    let other = token("other");
    fs::write(bench._files.path().join("viewer"), &other).unwrap();
    assert_eq!(bench.call(HEALTH, Some(&other), "").await.0, 401);
    bench.desk.access.reload().unwrap();
    assert_eq!(bench.call(HEALTH, Some(&other), "").await.0, 200);
    assert_eq!(bench.ask("viewer", HEALTH, Value::Null).await.0, 401);
    // A file that cannot be used changes nothing.
    fs::write(bench._files.path().join("viewer"), "short").unwrap();
    assert!(matches!(bench.desk.access.reload(), Err(AccessError::ShortToken(_))));
    assert_eq!(bench.call(HEALTH, Some(&other), "").await.0, 200);
}

#[test]
fn one_token_is_not_two_identities() {
    let files = tempfile::tempdir().unwrap();
    let mut one = credential(files.path(), "one", Role::Operator);
    let other = credential(files.path(), "other", Role::Approver);
    one.token_file.clone_from(&other.token_file);
    let config = AdminConfig {
        address: None,
        identity: None,
        client_ca_file: None,
        grant_ttl_s: 60,
        credentials: vec![one, other],
    };
    let error = Access::load(&config, Clock::System).unwrap_err();
    assert!(matches!(error, AccessError::SameToken(..)), "{error}");
    assert!(!error.to_string().contains(&token("other")));
}

#[tokio::test]
async fn what_is_not_served_is_a_problem_too() {
    let bench = Bench::new();
    let (status, problem) = bench.ask("viewer", ("GET", "/v1/nothing"), Value::Null).await;
    assert_eq!((status, &problem["code"]), (404, &Value::from("not_found")));
    let (status, problem) = bench.ask("viewer", ("PUT", "/v1/health"), Value::Null).await;
    assert_eq!((status, &problem["code"]), (405, &Value::from("method_not_allowed")));
}
