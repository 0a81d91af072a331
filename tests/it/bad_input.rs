//! What a gate is sent that no client should send: each answered with its status, its code and the
//! field that is wrong, and none of it ever seen by the signer.

use serde_json::{Value, json};

use super::support::{Options, World, attestation, attestation_at, block, key, randao, root};

mod connections;
mod dialect;

/// A request that must be turned down: where from, to which key, status, code, and the words that
/// the reason must have.
struct Case {
    what: &'static str,
    identifier: String,
    body: Vec<u8>,
    expected: (u16, &'static str, &'static str),
}

fn case(
    what: &'static str,
    body: &Value,
    status: u16,
    code: &'static str,
    word: &'static str,
) -> Case {
    raw(what, body.to_string().as_bytes(), status, code, word)
}

fn raw(
    what: &'static str,
    body: &[u8],
    status: u16,
    code: &'static str,
    word: &'static str,
) -> Case {
    Case { what, identifier: key(0), body: body.to_vec(), expected: (status, code, word) }
}

fn of_key(identifier: String, case: Case) -> Case {
    Case { identifier, ..case }
}

/// `value` with what stands at `pointer` replaced.
fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    *value.pointer_mut(pointer).unwrap() = new;
    value
}

/// `value` without the field at `pointer`.
fn without(mut value: Value, pointer: &str) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(field).unwrap();
    value
}

fn plus(mut value: Value, field: &str, new: Value) -> Value {
    value.as_object_mut().unwrap().insert(field.to_owned(), new);
    value
}

/// Not JSON, or not a request.
fn unreadable(good: &Value) -> Vec<Case> {
    let deep = format!(r#"{{"type":"ATTESTATION","x":{}"#, "[".repeat(1 << 17));
    let twice = good.to_string().replacen('{', r#"{"type":"ATTESTATION","#, 1);
    let mut bad_utf8 = good.to_string().into_bytes();
    bad_utf8[10] = 0xff;
    vec![
        raw("an empty body", b"", 400, "malformed", "the body is empty"),
        raw("white space", b" \r\n\t ", 400, "malformed", "the body is empty"),
        raw("broken JSON", br#"{"type": "ATTESTATION","#, 400, "malformed", "body"),
        raw("an array", b"[]", 400, "malformed", "not a JSON object"),
        raw("a string", b"\"ATTESTATION\"", 400, "malformed", "not a JSON object"),
        raw("form data", b"type=ATTESTATION", 400, "malformed", "not a JSON object"),
        raw("nested too deep", deep.as_bytes(), 400, "malformed", "x:"),
        raw("a field twice", twice.as_bytes(), 400, "malformed", "duplicate field `type`"),
        raw("no UTF-8", &bad_utf8, 400, "malformed", ""),
        raw("a NUL", b"\0", 400, "malformed", "not a JSON object"),
        raw("two objects", format!("{good}{{}}").as_bytes(), 400, "malformed", "trailing"),
    ]
}

/// Values of another kind than the field has.
fn mistyped(good: &Value) -> Vec<Case> {
    let at = |pointer: &str, new: Value| with(good.clone(), pointer, new);
    let slot = |what, new| {
        case(what, &at("/attestation/slot", new), 400, "malformed", "attestation.slot:")
    };
    vec![
        slot("a slot that is a boolean", json!(true)),
        slot("a slot that is an object", json!({})),
        slot("a negative slot", json!("-1")),
        slot("a signed slot", json!("+1")),
        slot("a hexadecimal slot", json!("0x10")),
        slot("a slot with a space", json!(" 1")),
        slot("a slot of 2^64", json!("18446744073709551616")),
        slot("a fraction", json!(1.5)),
        slot("nothing", json!("")),
        case(
            "a target that is a list",
            &at("/attestation/target", json!([])),
            400,
            "malformed",
            "attestation.target",
        ),
        case(
            "a short root",
            &at("/attestation/beacon_block_root", json!("0x12")),
            400,
            "malformed",
            "attestation.beacon_block_root:",
        ),
        case(
            "a root of no hex",
            &at("/attestation/target/root", json!(root(1).replace("01", "zz"))),
            400,
            "malformed",
            "attestation.target.root:",
        ),
        case("a number for fork_info", &at("/fork_info", json!(7)), 400, "malformed", "fork_info:"),
        case(
            "a short version",
            &at("/fork_info/fork/current_version", json!("0x06")),
            400,
            "malformed",
            "fork_info.fork.current_version:",
        ),
        case("a number for a type", &at("/type", json!(3)), 400, "malformed", "type:"),
        case(
            "signingRoot without digits",
            &plus(good.clone(), "signingRoot", json!("0x")),
            400,
            "malformed",
            "signingRoot:",
        ),
    ]
}

/// What is not there.
fn missing(good: &Value, slot: u64) -> Vec<Case> {
    let less = |pointer: &str| without(good.clone(), pointer);
    let proposal = block(slot, 1);
    vec![
        case("no type", &less("/type"), 400, "malformed", "type: missing"),
        case("no object", &less("/attestation"), 400, "malformed", "attestation: missing"),
        case(
            "a null object",
            &with(good.clone(), "/attestation", Value::Null),
            400,
            "malformed",
            "attestation: missing",
        ),
        case("no fork_info", &less("/fork_info"), 400, "malformed", "fork_info: missing"),
        case("no fork", &less("/fork_info/fork"), 400, "malformed", "`fork`"),
        case(
            "no genesis_validators_root",
            &less("/fork_info/genesis_validators_root"),
            400,
            "malformed",
            "`genesis_validators_root`",
        ),
        case("no source", &less("/attestation/source"), 400, "malformed", "`source`"),
        case(
            "no epoch in the target",
            &less("/attestation/target/epoch"),
            400,
            "malformed",
            "attestation.target",
        ),
        case(
            "no block",
            &without(proposal.clone(), "/beacon_block"),
            400,
            "malformed",
            "beacon_block: missing",
        ),
        case(
            "no header",
            &without(proposal.clone(), "/beacon_block/block_header"),
            400,
            "malformed",
            "beacon_block.block_header: missing",
        ),
        case(
            "no body_root",
            &without(proposal.clone(), "/beacon_block/block_header/body_root"),
            400,
            "malformed",
            "`body_root`",
        ),
        case(
            "no version",
            &without(proposal, "/beacon_block/version"),
            400,
            "malformed",
            "beacon_block.version: missing",
        ),
    ]
}

/// Types that are unknown, and those of Gloas, which are known and not signed yet.
fn types(good: &Value) -> Vec<Case> {
    let of = |name: &str| with(good.clone(), "/type", json!(name));
    let gloas = [
        "PAYLOAD_ATTESTATION_MESSAGE",
        "PROPOSER_PREFERENCES",
        "EXECUTION_PAYLOAD_ENVELOPE",
        "EXECUTION_PAYLOAD_BID",
        "BUILDER_REQUEST_AUTH",
    ];
    let mut cases: Vec<Case> =
        gloas.into_iter().map(|name| case(name, &of(name), 400, "malformed", name)).collect();
    cases.push(case(
        "an unknown type",
        &of("ATTESTATION_V9"),
        400,
        "malformed",
        "type: \"ATTESTATION_V9\" is not known",
    ));
    cases.push(case("a long type", &of(&"A".repeat(9_000)), 400, "malformed", "type:"));
    cases
}

/// Requests that read well and cannot be right.
fn wrong(good: &Value, e: u64, slot: u64) -> Vec<Case> {
    let at = |pointer: &str, new: Value| with(good.clone(), pointer, new);
    let index = at("/attestation/index", json!("3"));
    let version = |field: &str| at(&format!("/fork_info/fork/{field}"), json!("0x05007e57"));
    vec![
        case(
            "a lying root",
            &plus(good.clone(), "signingRoot", json!(root(9))),
            400,
            "signing_root_mismatch",
            "signingRoot:",
        ),
        case(
            "another network",
            &at("/fork_info/genesis_validators_root", json!(root(3))),
            400,
            "foreign_network",
            "fork_info.genesis_validators_root",
        ),
        case("another fork", &version("current_version"), 400, "fork_version", "fork_info.fork"),
        case(
            "a far future target",
            &attestation(e, e + 5, 1),
            400,
            "future_duty",
            "attestation.slot",
        ),
        case(
            "2^64 - 1",
            &attestation_at(u64::MAX, e, u64::MAX, 1),
            400,
            "future_duty",
            "attestation.slot",
        ),
        case(
            "a target that lies ahead of its slot",
            &attestation_at(e * 32, e, e + 9, 1),
            400,
            "future_duty",
            "attestation.target.epoch",
        ),
        case(
            "a far past target",
            &attestation(e - 9, e - 8, 1),
            400,
            "past_duty",
            "attestation.target.epoch",
        ),
        case(
            "a target of another epoch",
            &attestation_at(e * 32, e - 2, e - 1, 1),
            400,
            "target_not_of_slot",
            "attestation.target.epoch",
        ),
        case(
            "a source above the target",
            &attestation(e + 1, e, 1),
            400,
            "source_exceeds_target",
            "attestation.source.epoch",
        ),
        case("a committee index", &index, 400, "committee_index", "attestation.index"),
        case("a far future block", &block(slot + 50, 1), 400, "future_duty", "beacon_block.slot"),
        case("a far future reveal", &randao(e + 7), 400, "future_duty", "randao_reveal.epoch"),
    ]
}

/// Keys that may not sign here.
fn keys(good: &Value) -> Vec<Case> {
    let lie = plus(good.clone(), "signingRoot", json!(root(9)));
    let bad = |what, identifier: &str| {
        of_key(
            identifier.to_owned(),
            case(what, good, 404, "bad_identifier", "96 hexadecimal digits"),
        )
    };
    vec![
        of_key(key(77), case("an unknown key", good, 404, "unknown_key", "unknown public key")),
        // Which keys there are is told to nobody whose request is wrong.
        of_key(
            key(77),
            case("an unknown key and a lying root", &lie, 400, "signing_root_mismatch", ""),
        ),
        of_key(
            key(2),
            case("a key that awaits", good, 404, "awaiting_enrolment", "portcullis keys enrol"),
        ),
        of_key(key(3), case("a disabled key", good, 412, "key_disabled", "disabled")),
        of_key(
            key(3),
            case("a disabled key's reveal", &randao(3), 412, "key_disabled", "disabled"),
        ),
        bad("no key", "0x"),
        bad("a short key", &key(0)[..96]),
        bad("a long key", &format!("{}00", key(0))),
        bad("no hex", &key(0).replace('a', "g")),
        bad("a key in capitals and 0X", &key(0).replace("0x", "0X")),
        bad("an escaped key", &key(0).replace("0x", "%30x")),
    ]
}

#[test]
fn each_is_told_what_is_wrong_and_the_signer_hears_of_none() {
    let mut world = World::prepare(Options { enrol: false, ..Options::default() });
    for number in [0, 1, 3] {
        world.must(&["keys", "enrol", "--config", "gate.toml", "--new", &key(number)]);
    }
    world.must(&["keys", "disable", "--config", "gate.toml", &key(3)]);
    world.start_gate();
    until_awaiting(&world);
    let (e, slot) = (world.epoch(), world.slot());
    let good = attestation(e - 1, e, 1);
    let cases: Vec<Case> = [
        unreadable(&good),
        mistyped(&good),
        missing(&good, slot),
        types(&good),
        wrong(&good, e, slot),
        keys(&good),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut gate = world.connect(); // one connection for all: none of it may break it
    for Case { what, identifier, body, expected: (status, code, word) } in &cases {
        for accept in [Some("application/json"), Some("text/plain"), None] {
            let path = format!("/api/v1/eth2/sign/{identifier}");
            let answer = gate.request("POST", &path, accept, body).expect(what);
            let told: Value = serde_json::from_str(&answer.body).expect(&answer.body);
            assert_eq!(
                (answer.status, told["code"].as_str()),
                (*status, Some(*code)),
                "{what}: {told}"
            );
            assert!(
                told["error"].as_str().unwrap().contains(word),
                "{what}: {told} does not name {word}"
            );
            assert!(told.get("signature").is_none(), "{what}: {told}");
            assert!(answer.body.len() < 600, "{what}: the answer repeats the request: {told}");
            assert_eq!(answer.content_type.as_deref(), Some("application/json; charset=utf-8"));
        }
    }
    assert!(world.signed().is_empty(), "the signer saw none of it");
    // Nothing of it burnt the watermark, and the gate goes on.
    let (status, told) = gate.sign(&key(0), &good);
    assert_eq!(status, 200, "{told}");
    assert_eq!(world.signed().len(), 1);
    println!("{} bad requests, three times each", cases.len());
}

/// Waits until the gate has read the signer's keys and found the one that nobody enrolled.
fn until_awaiting(world: &World) {
    let begun = std::time::Instant::now();
    while !world.connect().get("/healthcheck").body.contains(r#""keys-awaiting-enrolment":1"#) {
        assert!(begun.elapsed().as_secs() < 20, "{}", world.connect().get("/healthcheck").body);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// The fork that counts is the one of the duty's epoch: what the client says besides is its own.
#[test]
fn what_real_clients_get_wrong_does_no_harm() {
    let world = World::start(Options::default());
    let e = world.epoch();
    let good = attestation(e - 1, e, 1);
    let oddities = [
        plus(good.clone(), "unknown_field", json!({ "deep": [1, 2, 3] })),
        plus(with(good.clone(), "/type", json!("attestation")), "signing_root", Value::Null),
        with(good.clone(), "/fork_info/fork/previous_version", json!("0x00007e57")),
        with(good.clone(), "/attestation/slot", json!(e * 32)),
        plus(good.clone(), "block", Value::Null),
    ];
    let mut gate = world.connect();
    for oddity in &oddities {
        let (status, told) = gate.sign(&key(0), oddity);
        assert_eq!(status, 200, "{oddity}: {told}");
    }
    assert_eq!(world.signed().len(), 1, "all of them are one and the same vote");
}
