#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn envelope(sign_type: &str, field: &str, object: &Value) -> Value {
    json!({
        "type": sign_type,
        "signingRoot": format!("0x{}", "ab".repeat(32)),
        "fork_info": {
            "fork": {
                "previous_version": "0x05000000", "current_version": "0x06000000", "epoch": "1",
            },
            "genesis_validators_root": format!("0x{}", "4b".repeat(32)),
        },
        field: object,
    })
}

fn attestation() -> Value {
    json!({"slot": "64", "index": "0", "source": {"epoch": "1"}, "target": {"epoch": 2}})
}

fn parse(body: &Value) -> Result<SignRequest, SignRequestError> {
    SignRequest::parse(&serde_json::to_vec(body).unwrap())
}

fn slot(slot: u64) -> Subject {
    Subject { slot: Some(slot), ..Subject::default() }
}

fn epoch(epoch: u64) -> Subject {
    Subject { epoch: Some(epoch), ..Subject::default() }
}

#[test]
fn each_type_gives_what_the_log_keeps() {
    let header = json!({"version": "FULU", "block_header": {"slot": "7"}});
    let altair = json!({"version": "ALTAIR", "block": {"slot": "7", "body": {}}});
    let bare = json!({"aggregator_index": "9", "aggregate": {"data": {"slot": "7"}}});
    let wrapped = json!({"version": "electra", "data": bare.clone()});
    let contribution = json!({"contribution": {"slot": "7"}});
    let votes =
        Subject { slot: Some(64), source_epoch: Some(1), target_epoch: Some(2), epoch: None };
    let (at_slot, at_epoch) = (json!({"slot": "7"}), json!({"epoch": "3"}));
    for (sign_type, field, object, expected) in [
        ("ATTESTATION", "attestation", attestation(), votes),
        ("attestation", "attestation", attestation(), votes),
        ("BLOCK", "block", at_slot.clone(), slot(7)),
        ("BLOCK_V2", "beacon_block", header, slot(7)),
        ("BLOCK_V2", "beacon_block", altair, slot(7)),
        ("AGGREGATE_AND_PROOF", "aggregate_and_proof", bare.clone(), slot(7)),
        ("AGGREGATE_AND_PROOF", "aggregate_and_proof", wrapped.clone(), slot(7)),
        ("AGGREGATE_AND_PROOF_V2", "aggregate_and_proof", bare, slot(7)),
        ("AGGREGATE_AND_PROOF_V2", "aggregate_and_proof", wrapped, slot(7)),
        ("AGGREGATION_SLOT", "aggregation_slot", at_slot.clone(), slot(7)),
        ("RANDAO_REVEAL", "randao_reveal", at_epoch.clone(), epoch(3)),
        ("DEPOSIT", "deposit", json!({}), Subject::default()),
        ("VOLUNTARY_EXIT", "voluntary_exit", at_epoch, epoch(3)),
        ("SYNC_COMMITTEE_MESSAGE", "sync_committee_message", at_slot.clone(), slot(7)),
        ("SYNC_COMMITTEE_SELECTION_PROOF", "sync_aggregator_selection_data", at_slot, slot(7)),
        ("SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF", "contribution_and_proof", contribution, slot(7)),
        ("VALIDATOR_REGISTRATION", "validator_registration", json!({}), Subject::default()),
    ] {
        let request = parse(&envelope(sign_type, field, &object)).unwrap();
        assert_eq!(request.subject, expected, "{sign_type}");
        assert_eq!(request.sign_type.name(), sign_type.to_ascii_uppercase());
        assert_eq!(request.signing_root, Hex([0xab; 32]));

        let mut absent = envelope(sign_type, field, &object);
        absent[field].take();
        let error = parse(&absent).unwrap_err();
        assert!(matches!(error, SignRequestError::NoField { .. }), "{sign_type}: {error}");
    }
}

#[test]
fn the_root_has_two_names_and_is_required() {
    let mut body = envelope("ATTESTATION", "attestation", &attestation());
    let root = body["signingRoot"].take();
    for absent in [Value::Null, json!("absent")] {
        if absent.is_string() {
            body.as_object_mut().unwrap().remove("signingRoot");
        }
        let error = parse(&body).unwrap_err();
        assert!(matches!(error, SignRequestError::NoSigningRoot), "{error}");
    }
    body["signing_root"] = root;
    assert_eq!(parse(&body).unwrap().signing_root, Hex([0xab; 32]));
}

#[test]
fn fork_info_is_needed_but_by_deposits_and_registrations() {
    for (sign_type, field, needed) in [
        ("ATTESTATION", "attestation", true),
        ("DEPOSIT", "deposit", false),
        ("VALIDATOR_REGISTRATION", "validator_registration", false),
    ] {
        let mut body = envelope(sign_type, field, &attestation());
        body.as_object_mut().unwrap().remove("fork_info");
        match parse(&body) {
            Ok(_) => assert!(!needed, "{sign_type}"),
            Err(error) => {
                assert!(needed && matches!(error, SignRequestError::NoForkInfo(_)), "{error}");
            }
        }
    }
}

#[test]
fn malformed_requests_are_told_from_incomplete_ones() {
    let good = envelope("ATTESTATION", "attestation", &attestation());
    let with = |path: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    for body in [
        json!([]),
        json!({}),
        with("/type", json!("EXECUTION_PAYLOAD_ENVELOPE")),
        with("/signingRoot", json!("0x")),
        with("/signingRoot", json!(format!("0x{}", "zz".repeat(32)))),
        with("/fork_info", json!({"fork": {}})),
        with("/fork_info/genesis_validators_root", json!("0x00")),
        with("/attestation/slot", json!("0x40")),
        with("/attestation/slot", json!("+64")),
        with("/attestation/slot", json!("")),
        with("/attestation/slot", json!(-1)),
        with("/attestation/slot", json!(1.5)),
        with("/attestation/slot", json!("18446744073709551616")),
        envelope("BLOCK_V2", "beacon_block", &json!({"version": "fulu", "block_header": {}})),
    ] {
        let error = parse(&body).unwrap_err();
        assert!(matches!(error, SignRequestError::Malformed(_)), "{body}: {error}");
    }
    assert!(matches!(SignRequest::parse(b"").unwrap_err(), SignRequestError::Malformed(_)));
    let largest = with("/attestation/slot", json!("18446744073709551615"));
    assert_eq!(parse(&largest).unwrap().subject.slot, Some(u64::MAX));
    let error = parse(&with("/attestation/target", json!({}))).unwrap_err();
    assert_eq!(error.to_string(), "ATTESTATION needs attestation.target.epoch");
}
