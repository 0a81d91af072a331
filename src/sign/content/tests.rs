#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::tests::{EPOCH, Rig, at, network};
use crate::web3signer::request;

const SLOT: u64 = EPOCH * 32;
const VERSION: &str = "0x06007e57";

/// A gate that stands still in the middle of the first slot of [`EPOCH`], on a network whose Gloas
/// begins at `gloas`.
fn gate(gloas: Option<u64>) -> Gate {
    let rig = Rig::new();
    let mut network = network();
    if let Some(epoch) = gloas {
        network = network.with_fork_epochs([(ForkName::Gloas, Epoch(epoch))]).unwrap();
    }
    rig.hands.set(at(SLOT, 6_000));
    rig.into_gate(network)
}

fn fork_info(version: &str) -> Value {
    json!({
        "fork": { "previous_version": version, "current_version": version, "epoch": "0" },
        "genesis_validators_root": format!("0x{}", "07".repeat(32)),
    })
}

fn attestation(slot: u64, source: u64, target: u64) -> Value {
    let root = format!("0x{}", "01".repeat(32));
    json!({ "type": "ATTESTATION", "fork_info": fork_info(VERSION), "attestation": {
        "slot": slot.to_string(), "index": "0", "beacon_block_root": root,
        "source": { "epoch": source.to_string(), "root": root },
        "target": { "epoch": target.to_string(), "root": root },
    }})
}

/// The code with which step 3 turns the request away at `now`; empty when it does not.
fn code_at(gate: &Gate, request: &Value, now: Now) -> &'static str {
    let request = request::parse(request.to_string().as_bytes()).unwrap();
    root(gate, &request, now, &RequestId::Made(1))
        .map_or_else(|not_signed| not_signed.code(), |_| "")
}

fn code(gate: &Gate, request: &Value) -> &'static str {
    code_at(gate, request, gate.clock.now())
}

#[test]
fn a_vote_is_held_against_the_clock_to_the_slot() {
    let gate = gate(None);
    let last = SLOT + 31;
    // (instant, slot, target, code)
    let cases = [
        (at(SLOT, 0), SLOT, EPOCH, ""),
        (at(SLOT, 0), SLOT + 1, EPOCH, ""), // a slot ahead
        (at(SLOT, 0), SLOT + 2, EPOCH, "future_duty"),
        (at(SLOT, 11_999), SLOT + 2, EPOCH, "future_duty"),
        (at(SLOT + 1, 0), SLOT + 2, EPOCH, ""),
        (at(last - 1, 11_999), last + 1, EPOCH + 1, "future_duty"),
        (at(last, 0), last + 1, EPOCH + 1, ""), // the next epoch's first slot, one slot ahead
        (at(last, 0), SLOT + 63, EPOCH + 1, "future_duty"),
        (at(SLOT, 0), SLOT - 64, EPOCH - 2, ""),
        (at(SLOT, 0), SLOT - 65, EPOCH - 3, "past_duty"),
        (at(SLOT, 0), u64::MAX, u64::MAX, "future_duty"),
        (at(SLOT, 0), SLOT, u64::MAX, "future_duty"),
        (at(SLOT, 0), SLOT, EPOCH - 1, "target_not_of_slot"),
        (at(SLOT, 0), SLOT - 1, EPOCH, "target_not_of_slot"),
    ];
    for (now, slot, target, expected) in cases {
        let vote = attestation(slot, 1, target);
        assert_eq!(code_at(&gate, &vote, now), expected, "{slot} {target}");
    }
    let inverted = attestation(SLOT, EPOCH + 1, EPOCH);
    assert_eq!(code(&gate, &inverted), "source_exceeds_target");
    assert_eq!(code(&gate, &attestation(SLOT, EPOCH, EPOCH)), "", "the store judges equality");
}

#[test]
fn the_forks_say_what_a_committee_index_may_be() {
    let with_index = |index: &str, version: &str| {
        let mut vote = attestation(SLOT, 1, EPOCH);
        vote["attestation"]["index"] = json!(index);
        vote["fork_info"] = fork_info(version);
        vote
    };
    let fulu = gate(None);
    assert_eq!(code(&fulu, &with_index("0", VERSION)), "");
    assert_eq!(code(&fulu, &with_index("1", VERSION)), "committee_index");
    for (fork, allowed) in [
        (ForkName::Phase0, true),
        (ForkName::Deneb, true),
        (ForkName::Electra, false),
        (ForkName::Gloas, false),
    ] {
        assert_eq!(committee_index(fork, 63).is_ok(), allowed, "{fork}");
    }
    assert!(committee_index(ForkName::Gloas, 1).is_ok(), "the payload's status");
    assert!(committee_index(ForkName::Fulu, 1).is_err());
}

#[test]
fn the_network_and_the_version_of_the_dutys_epoch_are_the_schedules() {
    let gate = gate(None);
    let good = attestation(SLOT, 1, EPOCH);
    let mut foreign = good.clone();
    foreign["fork_info"]["genesis_validators_root"] = json!(format!("0x{}", "08".repeat(32)));
    assert_eq!(code(&gate, &foreign), "foreign_network");
    let mut old = good.clone();
    old["fork_info"]["fork"]["current_version"] = json!("0x05007e57");
    assert_eq!(code(&gate, &old), "fork_version");
    // The fork lies ahead of the duty: the version before it counts.
    let mut ahead = old.clone();
    ahead["fork_info"]["fork"] = json!({
        "previous_version": VERSION, "current_version": "0x07007e57",
        "epoch": (EPOCH + 1).to_string(),
    });
    assert_eq!(code(&gate, &ahead), "");
    // An epoch of the fork that is no epoch of the schedule is the client's own affair.
    let mut odd = good;
    odd["fork_info"]["fork"]["epoch"] = json!(EPOCH.to_string());
    assert_eq!(code(&gate, &odd), "");
}

#[test]
fn each_kind_of_duty_has_its_own_reach() {
    let gate = gate(None);
    let of = |kind: &str, field: &str, object: Value| json!({ "type": kind, "fork_info": fork_info(VERSION), field: object });
    let randao =
        |epoch: u64| of("RANDAO_REVEAL", "randao_reveal", json!({ "epoch": epoch.to_string() }));
    assert_eq!(code(&gate, &randao(EPOCH)), "");
    assert_eq!(code(&gate, &randao(EPOCH + 1)), "future_duty");
    let last = at(SLOT + 31, 0);
    assert_eq!(code_at(&gate, &randao(EPOCH + 1), last), "", "prepared in the slot before");
    let message = |slot: u64| {
        let root = format!("0x{}", "01".repeat(32));
        let object = json!({ "beacon_block_root": root, "slot": slot.to_string() });
        of("SYNC_COMMITTEE_MESSAGE", "sync_committee_message", object)
    };
    assert_eq!(code(&gate, &message(SLOT + 1)), "");
    assert_eq!(code(&gate, &message(SLOT + 2)), "future_duty");
    // Prepared epochs ahead, and worth nothing to an attacker.
    let proof =
        |slot: u64| of("AGGREGATION_SLOT", "aggregation_slot", json!({ "slot": slot.to_string() }));
    assert_eq!(code(&gate, &proof(SLOT + 64)), "");
    let registration = json!({ "type": "VALIDATOR_REGISTRATION", "validator_registration": {
        "fee_recipient": format!("0x{}", "aa".repeat(20)), "gas_limit": "1",
        "timestamp": u64::MAX.to_string(), "pubkey": format!("0x{}", "01".repeat(48)),
    }});
    assert_eq!(code(&gate, &registration), "");
    let mut lying = registration;
    lying["signingRoot"] = json!(format!("0x{}", "01".repeat(32)));
    assert_eq!(code(&gate, &lying), "signing_root_mismatch");
}

#[test]
fn a_deposit_is_of_this_network() {
    let gate = gate(None);
    let deposit = |version: &str| {
        json!({ "type": "DEPOSIT", "deposit": {
            "pubkey": format!("0x{}", "01".repeat(48)), "amount": "32000000000",
            "withdrawal_credentials": format!("0x{}", "02".repeat(32)),
            "genesis_fork_version": version,
        }})
    };
    assert_eq!(code(&gate, &deposit("0x00007e57")), "");
    assert_eq!(code(&gate, &deposit("0x00000000")), "fork_version");
}
