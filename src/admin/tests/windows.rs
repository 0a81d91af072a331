//! Rotation windows over the API: opened, asked, ended; what a wrong wish is told.

use std::time::Duration;

use serde_json::json;

use super::*;

fn wish(change: &Value) -> Value {
    let keys = [1, 2].map(|number| crate::tests::key(number).to_string());
    let mut wish = json!({
        "name": "to the new cluster", "reason": "planned", "keys": keys, "batches": 2,
        "from_client": "old", "to_client": "new", "expires_in_s": 3_600,
    });
    for (name, value) in change.as_object().unwrap() {
        wish[name] = value.clone();
    }
    wish
}

fn bench() -> Bench {
    let bench = Bench::new();
    for name in ["old", "new"] {
        bench.desk.gate.judgement.clients.index(name);
    }
    bench
}

async fn open(bench: &Bench) -> String {
    let (status, page) = bench.ask("operator", ("POST", "/v1/windows"), wish(&json!({}))).await;
    assert_eq!((status, page["state"].as_str()), (200, Some("open")), "{page}");
    assert_eq!((&page["opened_by"], &page["batches"][1]["keys"]), (&json!("operator"), &json!(1)));
    page["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_window_is_opened_asked_and_ended() {
    let bench = bench();
    let id = open(&bench).await;
    let path = |rest: &str| format!("/v1/windows/{id}{rest}");
    let (_, list) = bench.ask("viewer", ("GET", "/v1/windows"), Value::Null).await;
    assert_eq!(list["windows"][0]["id"], *id, "{list}");
    for (batch, expected) in [(1, "yes"), (2, "not_yet"), (3, "not_yet")] {
        let asked = path(&format!("/proceed?batch={batch}"));
        let (_, said) = bench.ask("viewer", ("GET", &asked), Value::Null).await;
        assert_eq!(said["answer"], expected, "{said}");
    }
    let far = path("/proceed?batch=4");
    assert_eq!(bench.ask("viewer", ("GET", &far), Value::Null).await.0, 422);
    let because = json!({ "reason": "the old cluster stays" });
    assert_eq!(bench.ask("operator", ("POST", &path("/close")), json!({})).await.0, 422);
    let (_, page) = bench.ask("operator", ("POST", &path("/close")), because.clone()).await;
    assert_eq!((&page["state"], &page["ended_by"]), (&json!("expired"), &json!("operator")));
    assert_eq!(bench.ask("operator", ("POST", &path("/halt")), because).await.0, 409);
}

/// Who waits is told at once, and holds no thread: the API has fewer than ask here.
#[tokio::test]
async fn who_waits_is_told_of_a_halt_at_once() {
    let bench = bench();
    let id = open(&bench).await;
    let asked = format!("/v1/windows/{id}/proceed?batch=2&wait_s=300");
    let wait = || bench.ask("viewer", ("GET", &asked), Value::Null);
    let everybody = futures_of(16, wait);
    let halt = async {
        for _ in 0..100 {
            tokio::task::yield_now().await; // so that they wait
        }
        let path = format!("/v1/windows/{id}/halt");
        bench.ask("operator", ("POST", &path), json!({ "reason": "stop" })).await
    };
    let all = async { tokio::join!(everybody, halt) };
    let (told, (status, _)) = tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    assert_eq!(status, 200);
    assert!(told.iter().all(|(status, said)| *status == 200 && said["answer"] == "no"), "{told:?}");
}

async fn futures_of<F: Future>(count: usize, make: impl Fn() -> F) -> Vec<F::Output> {
    let mut all: Vec<_> = (0..count).map(|_| Box::pin(make())).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (one, done) in all.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = one.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_wrong_wish_is_told_its_field() {
    let bench = bench();
    for (change, field) in [
        (json!({ "reason": " " }), "reason"),
        (json!({ "to_client": "nobody" }), "to_client"),
        (json!({ "expires_in_s": null }), "expires_in_s"),
        (json!({ "expires_in_s": 0 }), "expires_at_unix_ms"),
        (json!({ "expires_in_s": u64::MAX }), "expires_at_unix_ms"),
        (json!({ "overlap_max_ms": 1 }), "overlap_max_ms"),
        (json!({ "keys": ["0x12"] }), "keys"),
        (json!({ "batches": 3 }), "batches"),
        (json!({ "name": "" }), "name"),
    ] {
        let (status, told) = bench.ask("operator", ("POST", "/v1/windows"), wish(&change)).await;
        assert_eq!((status, &told["field"]), (422, &json!(field)), "{change}: {told}");
    }
    open(&bench).await;
    let (status, told) = bench.ask("operator", ("POST", "/v1/windows"), wish(&json!({}))).await;
    assert_eq!(status, 409, "two windows for one key: {told}");
}
