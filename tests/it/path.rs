//! The nine steps, from outside: a request in, a status and a code out, and what the signer saw.

use serde_json::Value;

use super::support::{Options, World, attestation, block, exit, key, randao};

#[test]
fn what_is_signed_once_is_not_signed_otherwise() {
    let world = World::start(Options::default());
    let (e, slot) = (world.epoch(), world.slot());
    let mut gate = world.connect();
    // (key, request, status, code)
    let cases = [
        (0, attestation(e - 2, e, 1), 200, ""),
        (0, attestation(e - 2, e, 1), 200, ""), // the same root again
        (0, attestation(e - 2, e, 9), 412, "double_vote"),
        (0, attestation(e - 3, e, 1), 412, "double_vote"),
        (1, attestation(e - 3, e - 1, 1), 200, ""),
        (1, attestation(e - 4, e, 1), 412, "surround_or_stale_source"),
        (1, attestation(e - 2, e, 1), 200, ""),
        (2, block(slot, 1), 200, ""),
        (2, block(slot, 1), 200, ""),
        (2, block(slot, 2), 412, "double_block_proposal"),
        (2, block(slot - 1, 1), 412, "stale_slot"),
        (3, attestation(e, e + 5, 1), 400, "future_duty"),
        (3, attestation(e - 9, e - 8, 1), 400, "past_duty"),
        (3, block(slot + 50, 1), 400, "future_duty"),
        (3, randao(e), 200, ""),
        (3, exit(e), 412, "not_permitted"),
        (77, randao(e), 404, "unknown_key"),
    ];
    for (index, (number, request, status, code)) in cases.iter().enumerate() {
        let (found, body) = gate.sign(&key(*number), request);
        assert_eq!((found, &body["code"]), (*status, &code_value(code)), "case {index}: {body}");
        assert_eq!(body["signature"].is_string(), *status == 200, "case {index}: {body}");
    }
    // The two repeats were answered from the first result.
    assert_eq!(world.signed().len(), 5);
    assert!(portcullis::dev_signer::log::find_conflicts(&world.signed()).is_empty());
}

fn code_value(code: &str) -> Value {
    if code.is_empty() { Value::Null } else { Value::from(code) }
}

#[test]
fn a_restart_forgets_nothing() {
    let mut world = World::start(Options::default());
    let (e, slot) = (world.epoch(), world.slot());
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200);
    assert_eq!(world.sign(&key(0), &block(slot, 1)).0, 200);
    for _ in 0..3 {
        world.kill_gate();
        world.start_gate();
        assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 2)).0, 412);
        assert_eq!(world.sign(&key(0), &block(slot, 2)).0, 412);
        assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200, "the same root again");
    }
}
