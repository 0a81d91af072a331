//! Honest traffic with every rule on `enforce`: what a real client sent, a restart with a renewed
//! certificate, a failover. None of it may be refused, but for the wait that a lease costs.

use std::collections::BTreeMap;
use std::fs;

use policy::Rule;
use portcullis::bls::SecretKey;
use portcullis::eth::Network;
use serde_json::{Value, json};

use super::fixture::Case;
use super::play_over_http;
use super::stage::Stage;
use crate::captures::{CAPTURES, Capture, GVR, KEYS, check, root, send};
use crate::support::{Options, SLOT_S, World, eventually, key};
use crate::test_clock::{Hands, NOT_RESERVED};

/// A policy document in which every rule and every signal refuses.
fn every_rule_enforced(rest: &str) -> String {
    let document = include_str!("../../../fixtures/policy-enforced.toml");
    let lines = document.lines().filter_map(|line| line.strip_suffix(" = \"enforce\""));
    assert!(lines.eq(Rule::ALL.map(Rule::as_str)), "a rule is missing in the document");
    format!("{document}{rest}")
}

/// As [`every_rule_enforced`], as the lines of a case.
fn lines(rest: &str) -> Vec<String> {
    every_rule_enforced(rest).lines().map(str::to_owned).collect()
}

/// What the operator of the devnet knows of its registrations.
const DEVNET: &str = "[defaults]\nfee_recipients = ['0x00000000000000000000000000000000000000aa']\n\
                      gas_limit = { min = 30000000, max = 100000000 }\n";

/// Plays a capture at the times at which it was made, to a gate that is not restarted.
fn replay(capture: &Capture) -> usize {
    let yaml = capture.config_yaml();
    let network = Network::from_config_yaml(&yaml).unwrap();
    let mut world = World::prepare(Options {
        keys: KEYS,
        genesis_age_s: 0,
        policy: None,
        network: Some(yaml),
        genesis_validators_root: GVR,
        ..Options::default()
    });
    // Some requests are older than genesis, and none may be older than the store.
    world.genesis_time += 100 * SLOT_S;
    let slots = capture.by_slot();
    let at = |slot: i64, ms: i64| {
        let slot_ms = i64::try_from(SLOT_S).unwrap() * 1_000;
        (world.genesis_time * 1_000).checked_add_signed(slot * slot_ms + ms).unwrap()
    };
    let hands = Hands::new(world.path("clock"), at(-99, 0));
    let times: Vec<Vec<u64>> = slots
        .iter()
        .map(|(slot, requests)| {
            let ms = |request: &Value| request["ms_into_slot"].as_i64().unwrap();
            requests.iter().map(|request| at(*slot, ms(request))).collect()
        })
        .collect();
    world.gate_environment.push(hands.environment());
    fs::write(world.path("policy.toml"), every_rule_enforced(DEVNET)).unwrap();
    world.write_config("gate.toml", "[policy]\nfile = 'policy.toml'\n");
    world.start_gate();
    let secrets: BTreeMap<String, SecretKey> =
        (0..KEYS).map(|index| (key(index), SecretKey::interop(index))).collect();
    let mut signed = 0;
    for (requests, times) in slots.values().zip(times) {
        for (request, unix_ms) in requests.iter().zip(times) {
            hands.set(unix_ms);
            let mut answer = send(&world, request);
            eventually("a reservation", || {
                let waits = answer.body.contains(NOT_RESERVED);
                if waits {
                    answer = send(&world, request);
                }
                !waits
            });
            check(&answer, request, &secrets, root(request, &network));
            signed += 1;
        }
    }
    signed
}

#[test]
fn what_real_clients_sent_is_not_refused_by_any_rule() {
    for (capture, requests) in CAPTURES.iter().zip([27, 90, 51]) {
        assert_eq!(replay(capture), requests);
    }
}

fn case(value: Value) -> Case {
    serde_json::from_value(value).expect("a case")
}

#[test]
fn a_rolling_restart_with_a_renewed_certificate_costs_no_duty() {
    let vote = |epochs: [u64; 2]| {
        json!({ "t_ms": 4000, "client": "vc", "type": "ATTESTATION", "keys": [0, 7],
                "key_step_ms": 48000, "epochs": epochs })
    };
    play_over_http(
        "a rolling restart",
        &case(json!({
            "name": "a certificate is renewed", "keys": 8,
            "clients": [{ "name": "vc", "certificate": true }],
            "policy": lines(""),
            "rows": [
                vote([0, 9]),
                { "t_ms": 10 * 384_000, "client": "vc", "do": "renew_certificate" },
                vote([10, 12]),
                // Once more, as an epoch ends: the client asks again for a vote that it has.
                { "t_ms": 13 * 384_000 - 200, "client": "vc", "do": "renew_certificate" },
                { "t_ms": 13 * 384_000 - 100, "client": "vc", "type": "RANDAO_REVEAL", "key": 3 },
                { "t_ms": 13 * 384_000 - 90, "client": "vc", "type": "ATTESTATION", "key": 7,
                  "slot": 12 * 32 + 28 },
                vote([13, 14]),
            ],
        })),
    );
}

/// Both clients are enrolled, and no other source is.
const STRICT: &str = "[defaults]\nenrolment = 'strict'\n\
                      enrolled = [{ client = 'A' }, { client = 'B' }]\n";

/// The votes of the keys, epoch by epoch, that were signed for the second client once the first is
/// dead.
fn votes_after_failover(policy: &str) -> (Vec<usize>, Vec<String>) {
    const KEYS: u64 = 8;
    let votes = |client: &str, epochs: [u64; 2], expect: &str| {
        json!({ "t_ms": 4000, "client": client, "type": "ATTESTATION", "keys": [0, KEYS - 1],
                "key_step_ms": 48000, "epochs": epochs, "expect": expect })
    };
    let case = case(json!({
        "name": "a failover", "keys": KEYS, "clients": [{ "name": "A" }, { "name": "B" }],
        "policy": lines(policy),
        "rows": [votes("A", [0, 9], "sign"), votes("B", [10, 15], "any")],
    }));
    let mut stage = Stage::set(&case);
    let mut signed = vec![0; 6];
    let mut codes = Vec::new();
    for row in case.sequence() {
        stage.turn(row.t_ms);
        let (status, code, body) = stage.ask(&row);
        if row.client == "A" {
            assert_eq!(status, 200, "{row}: {body}");
            continue;
        }
        if status == 200 {
            let epoch = usize::try_from(row.t_ms / 384_000 - 10).expect("a few epochs");
            signed[epoch] += 1;
        } else {
            codes.push(code);
        }
    }
    (signed, codes)
}

#[test]
fn a_failover_loses_at_most_the_stated_wait() {
    let (signed, codes) = votes_after_failover(STRICT);
    let is_wait = |code: &String| ["client_lease", "quarantine"].contains(&&**code);
    assert!(codes.iter().all(is_wait), "{codes:?}");
    assert_eq!(signed[3..], [8, 8, 8], "lease_epochs = 2, and the epoch in which it died");
}

#[test]
fn a_declared_failover_loses_nothing() {
    let window = "[[windows]]\nname = 'failover'\nkind = 'rotation'\nfrom_client = 'A'\n\
                  to_client = 'B'\ngroups = ['default']\nfrom = {{S+3800}}\nuntil = {{S+7000}}\n";
    let (signed, codes) = votes_after_failover(&format!("{STRICT}{window}"));
    assert_eq!((signed, codes), (vec![8; 6], Vec::new()));
}
