//! Quarantines over the API: what each role may stop, and what a wrong wish is told.

use super::*;

const FREEZE: &str =
    r#"{"scope": {"kind": "cohort", "group": "default"}, "reason": "a drill", "expires_in_s": 60}"#;

const FENCE: &str = r#"{
    "scope": {"kind": "source", "client": "default", "group": "default"},
    "reason": "it is not ours"
}"#;

#[tokio::test]
async fn freezes_take_an_approver_and_fences_an_operator() {
    let bench = Bench::new();
    let post = |path| ("POST", path);
    let operator = token("operator");
    let (status, told) = bench.call(post("/v1/quarantines"), Some(&operator), FREEZE).await;
    assert_eq!(status, 403, "{told}");
    let approver = token("approver");
    let (status, frozen) = bench.call(post("/v1/quarantines"), Some(&approver), FREEZE).await;
    assert_eq!((status, frozen["id"].as_str()), (200, Some("q-1")), "{frozen}");
    assert_eq!(
        (frozen["state"].as_str(), frozen["actor"].as_str()),
        (Some("active"), Some("person:approver"))
    );
    let lasts_ms =
        frozen["expires_at_ms"].as_u64().unwrap() - frozen["imposed_at_ms"].as_u64().unwrap();
    assert_eq!(lasts_ms, 60_000);
    let (status, told) = bench.call(post("/v1/quarantines"), Some(&approver), FREEZE).await;
    assert_eq!(status, 409, "{told}");
    let because = r#"{"reason": "the drill is over"}"#;
    let release = post("/v1/quarantines/q-1/release");
    assert_eq!(bench.call(release, Some(&operator), because).await.0, 403);
    let (status, over) = bench.call(release, Some(&approver), because).await;
    assert_eq!((status, over["state"].as_str()), (200, Some("released")), "{over}");
    assert_eq!(over["ended"]["by"], "person:approver");
    assert_eq!(bench.call(release, Some(&approver), because).await.0, 409, "only once");

    let (status, told) = bench.call(post("/v1/quarantines"), Some(&operator), FENCE).await;
    assert_eq!((status, told["expires_at_ms"].is_null()), (200, true), "{told}");
    let viewer = token("viewer");
    let (_, list) = bench.call(("GET", "/v1/quarantines"), Some(&viewer), "").await;
    assert_eq!(list["quarantines"].as_array().unwrap().len(), 1, "{list}");
    let (_, all) = bench.call(("GET", "/v1/quarantines?all=true"), Some(&viewer), "").await;
    assert_eq!(all["quarantines"].as_array().unwrap().len(), 2, "{all}");
}

#[tokio::test]
async fn a_wish_that_names_nothing_is_told_so() {
    let bench = Bench::new();
    let approver = token("approver");
    for (body, status) in [
        (r#"{"scope": {"kind": "client", "client": "nobody"}, "reason": "x"}"#, 422),
        (r#"{"scope": {"kind": "cohort", "group": "nowhere"}, "reason": "x"}"#, 422),
        (r#"{"scope": {"kind": "key", "public_key": "0x12"}, "reason": "x"}"#, 422),
        (r#"{"scope": {"kind": "client", "client": "default"}, "reason": " "}"#, 422),
        (r#"{"scope": {"kind": "moon"}, "reason": "x"}"#, 422),
        (r#"{"scope": {"kind": "client", "client": "default"}}"#, 422),
    ] {
        let (found, told) = bench.call(("POST", "/v1/quarantines"), Some(&approver), body).await;
        assert_eq!(found, status, "{body}: {told}");
    }
    let because = r#"{"reason": "x"}"#;
    for (method, path) in [("POST", "/v1/quarantines/q-9/release"), ("GET", "/v1/quarantines/moon")]
    {
        assert_eq!(bench.call((method, path), Some(&approver), because).await.0, 404, "{path}");
    }
}
