//! Keys begin, move and end; what is read of them.

use serde_json::json;

use super::*;
use crate::tests::key;

#[tokio::test]
async fn the_list_is_read_page_by_page() {
    let bench = Bench::new();
    let (status, page) = bench.ask("viewer", ("GET", "/v1/keys?limit=1"), Value::Null).await;
    assert_eq!((status, &page["next"]), (200, &json!(1)), "{page}");
    assert_eq!(page["keys"][0]["public_key"], json!(key(1).to_string()));
    let next = ("GET", "/v1/keys?limit=1&after=1");
    let (_, page) = bench.ask("viewer", next, Value::Null).await;
    assert_eq!(page["keys"][0]["public_key"], json!(key(2).to_string()));
    assert_eq!(page["next"], Value::Null);
    for wrong in ["limit=0", "limit=10001", "limit=x", "status=gone", "afetr=1", "after=-1"] {
        let path = format!("/v1/keys?{wrong}");
        let (status, problem) = bench.ask("viewer", ("GET", &path), Value::Null).await;
        assert!(status == 400 || status == 422, "{wrong}: {status} {problem}");
    }
}

#[tokio::test]
async fn a_key_begins_is_disabled_and_leaves_with_its_history() {
    let bench = Bench::new();
    let third = key(3).to_string();
    let enrol = json!({ "keys": [third, "0x12"], "declaration": "new" });
    let (status, problem) = bench.ask("operator", ("POST", "/v1/keys/enrol"), enrol).await;
    assert_eq!((status, &problem["field"]), (422, &json!("keys")), "{problem}");
    let enrol = json!({ "keys": [third, key(1).to_string()], "declaration": "new" });
    let (status, outcome) = bench.ask("operator", ("POST", "/v1/keys/enrol"), enrol).await;
    assert_eq!(status, 200);
    assert_eq!((&outcome["done"], &outcome["refused"]), (&json!(1), &json!(1)), "{outcome}");
    let export = json!({ "keys": [third] });
    let (status, problem) = bench.ask("operator", ("POST", "/v1/keys/export"), export).await;
    assert_eq!(status, 409, "it is enabled: {problem}");
    let silent = json!({ "keys": [third], "reason": " " });
    let (status, problem) = bench.ask("operator", ("POST", "/v1/keys/disable"), silent).await;
    assert_eq!((status, &problem["field"]), (422, &json!("reason")), "{problem}");
    let leave = json!({ "keys": [third], "disable": true, "reason": "it moves" });
    let (status, file) = bench.ask("operator", ("POST", "/v1/keys/export"), leave).await;
    assert_eq!((status, &file["data"][0]["pubkey"]), (200, &json!(third)), "{file}");
    let shown = format!("/v1/validators/{third}");
    let (_, validator) = bench.ask("viewer", ("GET", &shown), Value::Null).await;
    assert_eq!(validator["status"], "disabled");
    let back = file.to_string();
    let import = ("POST", "/v1/keys/import");
    let (status, outcome) = bench.call(import, Some(&token("operator")), back).await;
    assert_eq!((status, outcome["keys"].as_array().map(Vec::len)), (200, Some(1)), "{outcome}");
    let (status, problem) = bench.call(import, Some(&token("operator")), "{\"a\":1}").await;
    assert_eq!(status, 422, "{problem}");
}

#[tokio::test]
async fn what_is_read_of_a_key_is_there() {
    let bench = Bench::new();
    let of_one = |what: &str| format!("/v1/{what}/{}", key(1));
    for what in ["validators", "baselines"] {
        let (status, shown) = bench.ask("viewer", ("GET", &of_one(what)), Value::Null).await;
        assert_eq!((status, &shown["public_key"]), (200, &json!(key(1).to_string())), "{shown}");
        let unknown = format!("/v1/{what}/{}", key(9));
        assert_eq!(bench.ask("viewer", ("GET", &unknown), Value::Null).await.0, 404);
        let none = format!("/v1/{what}/%ff");
        assert_eq!(bench.ask("viewer", ("GET", &none), Value::Null).await.0, 400);
    }
    let (status, clients) = bench.ask("viewer", ("GET", "/v1/clients"), Value::Null).await;
    assert_eq!((status, clients["clients"].is_array()), (200, true));
}

#[tokio::test]
async fn nothing_changes_while_the_gate_closes() {
    let bench = Bench::new();
    bench.desk.close();
    let disable = json!({ "keys": [key(1).to_string()], "reason": "too late" });
    let (status, _) = bench.ask("operator", ("POST", "/v1/keys/disable"), disable.clone()).await;
    assert_eq!(status, 503);
    assert_eq!(bench.ask("viewer", ("GET", "/v1/keys"), Value::Null).await.0, 200);
    bench.desk.open();
    assert_eq!(bench.ask("operator", ("POST", "/v1/keys/disable"), disable).await.0, 200);
}
