//! Paths, methods, hosts and formats.

use std::io::Write;

use serde_json::Value;

use crate::support::{Answer, Http, Options, World, attestation, key, randao};

fn ask(gate: &mut Http, method: &str, path: &str) -> Answer {
    gate.request(method, path, None, b"").expect("an answer")
}

/// What an answer without a signature says; all of them are JSON with a code.
fn told(answer: &Answer) -> Value {
    let told: Value = serde_json::from_str(&answer.body).expect(&answer.body);
    assert!(told.get("signature").is_none(), "{told}");
    told
}

#[test]
fn paths_and_methods() {
    let config = "[listen]\naddress = \"127.0.0.1:0\"\npath_prefix = \"/signers/eu\"\n";
    let world = start_with_listen(config);
    let mut gate = world.connect();
    let sign = format!("/api/v1/eth2/sign/{}", key(0));
    // (method, path, status, code, Allow)
    let cases = [
        ("GET", "/", 404, "no_route", ""),
        ("GET", "/api/v1/eth2", 404, "no_route", ""),
        ("POST", "/api/v1/eth1/sign/0x00", 404, "no_route", ""),
        ("POST", "/api/v1/eth2/sign/", 404, "no_route", ""),
        ("POST", &format!("{sign}/more"), 404, "no_route", ""),
        ("GET", "/metrics", 404, "no_route", ""),
        ("POST", "/signers/us/upcheck", 404, "no_route", ""),
        ("GET", "/../upcheck", 404, "no_route", ""),
        ("GET", &sign, 405, "method_not_allowed", "POST"),
        ("DELETE", &sign, 405, "method_not_allowed", "POST"),
        ("POST", "/upcheck", 405, "method_not_allowed", "GET"),
        ("POST", "/healthcheck", 405, "method_not_allowed", "GET"),
        ("POST", "/api/v1/eth2/publicKeys", 405, "method_not_allowed", "GET"),
        ("PUT", "/reload", 405, "method_not_allowed", "GET, POST"),
        ("PATCH", "/eth/v1/keystores", 405, "method_not_allowed", "GET, POST, DELETE"),
        ("GET", "/eth/v1/keystores", 403, "not_offered", ""),
        ("POST", "/eth/v1/keystores", 403, "not_offered", ""),
        ("DELETE", "/eth/v1/keystores", 403, "not_offered", ""),
        ("GET", "/signer/v1/get_pubkeys", 403, "not_offered", ""),
        ("POST", "/signer/v1/request_signature", 403, "not_offered", ""),
        ("POST", "/signer/v1/generate_proxy_key", 403, "not_offered", ""),
        ("POST", "/api/v1/eth2/ext/sign/0x00", 403, "not_offered", ""),
    ];
    for (method, path, status, code, allow) in cases {
        let answer = ask(&mut gate, method, path);
        let told = told(&answer);
        assert_eq!((answer.status, told["code"].as_str()), (status, Some(code)), "{method} {path}");
        assert_eq!(answer.allow.as_deref().unwrap_or(""), allow, "{method} {path}");
        let reason = told["error"].as_str().unwrap();
        assert!(status != 403 || reason.contains("not offered here: "), "{reason}");
    }
    assert!(world.signed().is_empty());
    served_under_every_spelling(&world);
}

fn served_under_every_spelling(world: &World) {
    let mut gate = world.connect();
    for before in ["", "/", "//", "/signers/eu", "//signers/eu", "/signers/eu/"] {
        assert_eq!(ask(&mut gate, "GET", &format!("{before}/upcheck")).body, "OK", "{before}");
        let path = format!("{before}/api/v1/eth2/sign/{}", key(0));
        let body = randao(world.epoch()).to_string();
        let answer = gate.request("POST", &path, None, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    let keys = ask(&mut gate, "GET", "/signers/eu/api/v1/eth2/publicKeys?x=1").body;
    assert_eq!(serde_json::from_str::<Vec<String>>(&keys).unwrap().len(), 4);
}

/// A world whose `[listen]` is `section` instead of the usual one.
fn start_with_listen(section: &str) -> World {
    let mut world = World::prepare(Options::default());
    let path = world.path("gate.toml");
    let usual = "[listen]\naddress = \"127.0.0.1:0\"\n";
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(usual));
    std::fs::write(&path, text.replace(usual, section)).unwrap();
    world.start_gate();
    world
}

#[test]
fn hosts_that_are_not_listed_are_turned_away() {
    let config =
        "[listen]\naddress = \"127.0.0.1:0\"\nhost_allowlist = [\"gate\", \"localhost\"]\n";
    let world = start_with_listen(config);
    let mut gate = world.connect();
    let mut ask_as = |host: &str| {
        let request = format!("GET /upcheck HTTP/1.1\r\n{host}\r\n");
        gate.stream.get_mut().write_all(request.as_bytes()).unwrap();
        gate.receive().unwrap()
    };
    for host in ["Host: gate\r\n", "Host: gate:9000\r\n", "Host: LOCALHOST\r\n"] {
        assert_eq!(ask_as(host).status, 200, "{host}");
    }
    for host in ["Host: evil.example\r\n", "Host: gate.evil.example\r\n", "Host:\r\n", ""] {
        let answer = ask_as(host);
        let told = told(&answer);
        assert_eq!((answer.status, &told["code"]), (403, &Value::from("host_not_allowed")));
        assert_eq!(told["message"], "Host not authorized.", "Web3Signer's own words");
    }
}

#[test]
fn both_formats_are_negotiated_as_web3signer_does() {
    let world = World::start(Options::default());
    let e = world.epoch();
    let (good, bad) = (attestation(e - 1, e, 1).to_string(), attestation(e - 1, e, 2).to_string());
    let path = format!("/api/v1/eth2/sign/{}", key(0));
    let mut gate = world.connect();
    let json = [
        "application/json",
        "application/json; charset=utf-8",
        "*/*",
        "text/html, application/json;q=0.1",
        "text/plain, */*;q=0.1",
        "APPLICATION/JSON",
    ];
    let text = ["text/plain", "", "application/xml", "text/*", "application/jsonx"];
    let mut signatures = std::collections::BTreeSet::new();
    for accept in json.map(Some).into_iter().chain(text.map(Some)).chain([None]) {
        let wants_json = accept.is_some_and(|accept| json.contains(&accept));
        let answer = gate.request("POST", &path, accept, good.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{accept:?}: {}", answer.body);
        let signature = if wants_json {
            assert_eq!(answer.content_type.as_deref(), Some("application/json; charset=utf-8"));
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(body.as_object().unwrap().len(), 1, "{accept:?}: {body}");
            body["signature"].as_str().unwrap().to_owned()
        } else {
            assert_eq!(answer.content_type.as_deref(), Some("text/plain; charset=utf-8"));
            answer.body // bare, without a newline: one client takes it as it is
        };
        assert_eq!(signature.len(), 194, "{accept:?}: {signature}");
        assert!(signature.starts_with("0x") && signature.is_ascii());
        signatures.insert(signature);
        // A refusal is JSON for everybody, and has no field `signature`.
        let refused = gate.request("POST", &path, accept, bad.as_bytes()).unwrap();
        assert_eq!((refused.status, told(&refused)["code"].as_str()), (412, Some("double_vote")));
        assert_eq!(refused.content_type.as_deref(), Some("application/json; charset=utf-8"));
        // The probe is answered to everybody: Web3Signer's 406 helps nobody.
        let probe = gate.request("GET", "/upcheck", accept, b"").unwrap();
        assert_eq!((probe.status, probe.body.as_str()), (200, "OK"));
    }
    assert_eq!(signatures.len(), 1, "one vote has one signature in every format");
}

#[test]
fn any_content_type_and_none_is_read_as_json() {
    let world = World::start(Options::default());
    let body = randao(world.epoch()).to_string();
    let mut gate = world.connect();
    for content_type in ["", "Content-Type: text/plain\r\n", "Content-Type: application/json\r\n"] {
        let request = format!(
            "POST /api/v1/eth2/sign/{} HTTP/1.1\r\nHost: gate\r\n{content_type}\
             Content-Length: {}\r\n\r\n{body}",
            key(1),
            body.len()
        );
        gate.stream.get_mut().write_all(request.as_bytes()).unwrap();
        assert_eq!(gate.receive().unwrap().status, 200, "{content_type}");
    }
    // In chunks, as some HTTP libraries send what they serialise on the way.
    let (head, tail) = body.split_at(20);
    let chunked = format!(
        "POST /api/v1/eth2/sign/{} HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{head}\r\n{:x}\r\n{tail}\r\n0\r\n\r\n",
        key(1),
        head.len(),
        tail.len()
    );
    gate.stream.get_mut().write_all(chunked.as_bytes()).unwrap();
    assert_eq!(gate.receive().unwrap().status, 200, "in chunks");
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let world = World::start(Options::default());
    let e = world.epoch();
    let mut gate = world.connect();
    let mut expected = Vec::new();
    for round in 0..20 {
        let (number, request, status) = match round % 4 {
            0 => (0, attestation(e - 1, e, 1), 200),
            1 => (77, randao(e), 404),
            2 => (0, attestation(e - 1, e, 2), 412),
            _ => (1, randao(e), 200),
        };
        let path = format!("/api/v1/eth2/sign/{}", key(number));
        gate.send("POST", &path, None, request.to_string().as_bytes()).unwrap();
        expected.push(status);
    }
    let found: Vec<u16> = expected.iter().map(|_| gate.receive().unwrap().status).collect();
    assert_eq!(found, expected);
}
