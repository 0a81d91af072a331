//! The admin API of a real gate, over HTTP: who may call, what it does, what it never says.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Http, Options, World, attestation, key};

mod come_and_go;

const ROLES: [&str; 3] = ["viewer", "operator", "approver"];

/// A token that no log may have.
fn token(name: &str) -> String {
    format!("secret-of-{name}-{}", "0123456789abcdef".repeat(2))
}

/// The world's gate with an admin listener, and the files of its credentials.
fn start(options: Options) -> World {
    let mut credentials = String::new();
    for role in ROLES {
        credentials.push_str(&format!(
            "[[admin.credentials]]\nname = 'the-{role}'\nrole = '{role}'\ntoken_file = '{role}'\n"
        ));
    }
    credentials.push_str(
        "[[admin.credentials]]\nname = 'the-late'\nrole = 'approver'\ntoken_file = 'late'\n\
         expires = '2020-01-01T00:00:00Z'\n",
    );
    let config = format!("{}\n[admin]\naddress = '127.0.0.1:0'\n{credentials}", options.config);
    let mut world = World::prepare(Options { config, ..options });
    for name in ROLES.into_iter().chain(["late"]) {
        fs::write(world.path(name), token(name)).unwrap();
    }
    world.start_gate();
    world
}

/// Where the gate's admin API listens.
fn address(world: &World) -> std::net::SocketAddr {
    let log = world.log();
    let mut line = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let serving = line.rfind(|line| line["event"] == "serving").expect("it serves");
    serving["admin"].as_str().expect("an address").parse().unwrap()
}

fn call(world: &World, (method, path): (&str, &str), token: &str, body: &str) -> (u16, Value) {
    let mut http = Http::connect(address(world));
    let accept = format!("*/*\r\nAuthorization: Bearer {token}");
    let answer = http.request(method, path, Some(&accept), body.as_bytes()).expect("an answer");
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

#[test]
fn the_api_answers_who_is_known_and_nobody_else() {
    let world = start(Options::default());
    let health = ("GET", "/v1/health");
    let (status, answer) = call(&world, health, &token("viewer"), "");
    assert_eq!((status, &answer["keys"]["enabled"]), (200, &Value::from(4)), "{answer}");
    assert_eq!(call(&world, health, "wrong", "").0, 401);
    assert_eq!(call(&world, health, &token("late"), "").0, 401, "it has expired");
    let committed = fs::read_to_string("fixtures/admin-openapi.json").unwrap();
    let (_, served) = call(&world, ("GET", "/openapi.json"), &token("viewer"), "");
    assert_eq!(served, serde_json::from_str::<Value>(&committed).unwrap());
    let url = format!("http://{}", address(&world));
    let shown = world.must(&["admin", "health", "--url", &url, "--token-file", "viewer"]);
    assert!(shown.contains("keys.enabled"), "{shown}");
    let refused = world.run(&["admin", "health", "--url", &url, "--token-file", "late"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("expired") && !said.contains("secret"), "{said}");
    assert!(!world.log().contains("secret-of"), "a token is in the log");
}

#[test]
fn without_the_section_there_is_no_listener() {
    let world = World::start(Options::default());
    let log = world.log();
    let serving = log.lines().find(|line| line.contains("\"serving\"")).expect("it serves");
    let serving: Value = serde_json::from_str(serving).unwrap();
    assert!(serving.get("admin").is_none(), "{serving}");
}

/// What a dry run says is what happens, and a dry run leaves nothing behind.
#[test]
fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let world = start(Options::default());
    let epoch = world.epoch();
    let (first, other) = (attestation(epoch - 1, epoch, 1), attestation(epoch - 1, epoch, 2));
    assert_eq!(world.sign(&key(1), &first).0, 200); // the gate knows the client now
    let dry = |request: &Value| {
        let body = json!({ "key": key(0), "client": "default", "request": request }).to_string();
        let (status, answer) = call(&world, ("POST", "/v1/evaluate"), &token("operator"), &body);
        assert_eq!(status, 200, "{answer}");
        (answer["verdict"].as_str().unwrap().to_owned(), answer["code"].clone())
    };
    assert_eq!(dry(&first).0, "signed");
    assert_eq!(dry(&other).0, "signed", "the dry run before it burnt nothing");
    assert_eq!(world.sign(&key(0), &first).0, 200);
    assert_eq!(dry(&first).0, "signed", "a repeat");
    let (verdict, code) = dry(&other);
    assert_eq!(verdict, "refused", "{code}");
    let (status, refusal) = world.sign(&key(0), &other);
    assert_eq!((status, &refusal["code"]), (412, &code), "{refusal}");
    assert_eq!(dry(&json!({ "type": "ATTESTATION" })).0, "rejected");
    let body = json!({ "key": key(0), "client": "nobody", "request": {} }).to_string();
    let (status, problem) = call(&world, ("POST", "/v1/evaluate"), &token("operator"), &body);
    assert_eq!((status, &problem["field"]), (422, &json!("client")), "{problem}");
    let baseline = ("GET", &*format!("/v1/baselines/{}", key(0)));
    let (_, baseline) = call(&world, baseline, &token("viewer"), "");
    assert_eq!((&baseline["owner"], &baseline["released"]), (&json!("default"), &json!(1)));
    let (_, clients) = call(&world, ("GET", "/v1/clients"), &token("viewer"), "");
    assert_eq!(clients["clients"][0]["keys"], 2, "{clients}");
    assert_eq!(clients["clients"][0]["answered"]["refused"], 1, "{clients}");
}

/// The gate says where its log stands; the log's own check holds it to that.
#[test]
fn a_checkpoint_is_an_anchor() {
    let world = start(Options::default());
    let url = format!("http://{}", address(&world));
    let ask = ["admin", "audit", "checkpoint", "--url", &url, "--token-file", "viewer", "--json"];
    let deadline = Instant::now() + Duration::from_secs(10);
    let asked = loop {
        let asked = world.run(&ask); // the call itself is in the log, and brings the first one
        if asked.status.success() {
            break asked;
        }
        assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&asked.stderr));
    };
    fs::write(world.path("anchor"), &asked.stdout).unwrap();
    let verify = ["audit", "verify", "--config", "gate.toml", "--anchor", "anchor"];
    world.must(&verify);
    let mut other: Value = serde_json::from_slice(&asked.stdout).unwrap();
    other["position"] = json!(other["position"].as_u64().unwrap() + 1);
    fs::write(world.path("anchor"), other.to_string()).unwrap();
    assert!(!world.run(&verify).status.success(), "it is not that log's");
}

/// A draft that nothing was recorded to try it on costs what nobody knows: two publish it.
#[test]
fn two_identities_publish_what_was_not_tried() {
    let world = start(Options::default());
    let url = format!("http://{}", address(&world));
    let admin = |who: &str, arguments: &[&str]| {
        let at = ["admin", "--url", &url, "--token-file", who];
        world.run(&[&at[..], arguments].concat())
    };
    let before = fs::read_to_string(world.path("policy.toml")).unwrap();
    let draft = before.replace("duty_budget = 'off'", "duty_budget = 'monitor'");
    fs::write(world.path("draft"), &draft).unwrap();
    let publish = ["policy", "publish", "draft", "--reason", "stricter", "--json"];
    let asked = admin("operator", &publish);
    assert!(!asked.status.success(), "it waits for a second identity");
    let grant: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let id = grant["id"].as_str().unwrap();
    assert_eq!(fs::read_to_string(world.path("policy.toml")).unwrap(), before);
    assert!(!admin("operator", &["grants", "approve", id]).status.success());
    let with_grant = [&publish[..], &["--grant", id]].concat();
    assert!(!admin("operator", &with_grant).status.success(), "nobody has approved");
    assert!(admin("approver", &["grants", "approve", id]).status.success());
    let done = admin("operator", &with_grant);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(fs::read_to_string(world.path("policy.toml")).unwrap(), draft);
    assert!(!admin("operator", &with_grant).status.success(), "a grant is used once");
    assert!(!world.log().contains("secret-of"), "a token is in the log");
}
