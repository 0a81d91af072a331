#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::vectors::{self, Vector};
use super::{BodyProof, Member, RequestError, SigningRequest, Style, encode, parse};
use crate::eth::{Duty, Epoch, ForkName, Network, Root, signing_root};

const FORK_INFO: &str = r#""fork_info":{"fork":{"previous_version":"0x05000000",
    "current_version":"0x06000000","epoch":"411392"},"genesis_validators_root":
    "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"}"#;

fn mainnet() -> Network {
    Network::builtin("mainnet").unwrap()
}

/// The root of a request made when Deneb had been reached.
fn root(request: &SigningRequest, network: &Network) -> String {
    let SigningRequest { duty, fork_info, claimed_root, .. } = request;
    let (fork_info, claimed) = (fork_info.as_ref(), claimed_root.as_ref());
    signing_root(duty, fork_info, claimed, network, Epoch(u64::MAX)).unwrap().to_string()
}

/// `encode` and `parse` undo each other, and the root stays the same.
fn check_round_trip(request: &SigningRequest, network: &Network) {
    let SigningRequest { duty, fork_info, claimed_root, .. } = request;
    let (info, claimed) = (fork_info.as_ref(), claimed_root.as_ref());
    let root = signing_root(duty, info, claimed, network, Epoch(u64::MAX)).unwrap();
    let body = encode(duty, info, &root, network);
    let again = parse(&body).unwrap();
    assert_eq!(again.duty, *duty);
    assert_eq!(again.claimed_root, Some(root));
    let exit = matches!(duty, Duty::VoluntaryExit(_));
    assert!(exit || again.fork_info == *fork_info);
    let (info, claimed) = (again.fork_info.as_ref(), Some(&root));
    assert_eq!(signing_root(&again.duty, info, claimed, network, Epoch(u64::MAX)), Ok(root));
}

#[test]
fn encoding_undoes_parsing_for_every_vector() {
    let vectors = vectors::full_suite().unwrap_or_else(vectors::fixtures);
    for (name, vectors) in vectors::by_network(vectors) {
        let network = vectors::network(&name);
        for Vector { body, .. } in vectors {
            check_round_trip(&parse(body.get().as_bytes()).unwrap(), &network);
        }
    }
}

#[test]
fn captured_requests_of_two_clients() {
    let mut with_root = 0;
    let captured = vectors::captured();
    for request in &captured {
        let network = vectors::network(&request.source);
        let parsed = parse(request.body.get().as_bytes()).unwrap();
        with_root += usize::from(parsed.claimed_root.is_some());
        check_round_trip(&parsed, &network); // a claimed root that is not ours is an error
    }
    assert_eq!((captured.len(), with_root), (168, 117));
}

/// The vectors of the wire contract, section 2.8: type, key, object and root. `$r1` stands for a
/// root of sixty-four ones, `$sa` for a signature, `$key` for a public key, `$data` for a vote.
const WIRE_CONTRACT: [[&str; 4]; 11] = [
    [
        "ATTESTATION",
        "attestation",
        "$data",
        "0x7e5ef82a272eb7fedaad63122326080c4ef4dea49f8ca109eeb2d14c31c353b1",
    ],
    [
        "BLOCK_V2",
        "beacon_block",
        r#"{"version":"FULU","block_header":{"slot":"13164545","proposer_index":"7",
        "parent_root":$r4,"state_root":$r5,"body_root":$r6}}"#,
        "0x4fce4aa6bd9f4e669ab0584f7bf3ec52aa74e8c83f38f56363a50be1fdd338ce",
    ],
    [
        "RANDAO_REVEAL",
        "randao_reveal",
        r#"{"epoch":"411392"}"#,
        "0x176d16f691a45835e5ec78bb2a35a9c6159935f8c8c253c1cefdea58e4677115",
    ],
    [
        "AGGREGATION_SLOT",
        "aggregation_slot",
        r#"{"slot":"13164545"}"#,
        "0x76f7a02bb079c37efc84eb5e8b5ca65cb07fbdaa80f2465358755a4deaacb43d",
    ],
    [
        "AGGREGATE_AND_PROOF_V2",
        "aggregate_and_proof",
        r#"{"version":"fulu","data":{"aggregator_index":"9","aggregate":{
        "aggregation_bits":"0x0103","data":$data,"signature":$sa,
        "committee_bits":"0x0100000000000000"},"selection_proof":$sb}}"#,
        "0xdf273061e0eb195506eaef6df95a6a058e9d345bd0982a67563df0af16384f22",
    ],
    [
        "SYNC_COMMITTEE_MESSAGE",
        "sync_committee_message",
        r#"{"beacon_block_root":$r1,"slot":"13164545"}"#,
        "0xddcdac142b31b09866749f137be246b8365288bd3ef4c50d485a2ca076ca08a3",
    ],
    [
        "SYNC_COMMITTEE_SELECTION_PROOF",
        "sync_aggregator_selection_data",
        r#"{"slot":"13164545","subcommittee_index":"2"}"#,
        "0x14a622321572a5a99e6612330a64441a04b2ff34b7bc9cb075dcc31d488963cc",
    ],
    [
        "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF",
        "contribution_and_proof",
        r#"{"aggregator_index":"9","selection_proof":$sb,"contribution":{"slot":"13164545",
        "beacon_block_root":$r1,"subcommittee_index":"2",
        "aggregation_bits":"0x00000000000000000000000000000001","signature":$sa}}"#,
        "0x33c0b55cae7a1d9adf66536bdb5627a9950971a8ea9a97b54417f2b087b5d841",
    ],
    [
        "VALIDATOR_REGISTRATION",
        "validator_registration",
        r#"{"fee_recipient":"0x7777777777777777777777777777777777777777","gas_limit":60000000,
        "timestamp":"1767225600","pubkey":$key}"#,
        "0x7ad4bbb9bbe47bfb0e90c26ca90f408eca18b264f5c5a6bf1a136b254c3df33b",
    ],
    [
        "DEPOSIT",
        "deposit",
        r#"{"pubkey":$key,"withdrawal_credentials":$r9,"amount":"32000000000",
        "genesis_fork_version":"00000000"}"#,
        "0x181b105723dc80e3a12d0a327d70bbbb26f4a79f2c7ce15181b24c398da62dbf",
    ],
    [
        "VOLUNTARY_EXIT",
        "voluntary_exit",
        r#"{"epoch":"411392","validator_index":"7"}"#,
        "0x0488d329b5254cbef4b15e84729965a7d7674a67e991510dbf96b1181694b946",
    ],
];
const DATA: &str = r#"{"slot":"13164545","index":"0","beacon_block_root":$r1,
    "source":{"epoch":"411391","root":$r2},"target":{"epoch":"411392","root":$r3}}"#;

/// The object of a vector, with everything in the place of what stands for it.
fn expand(object: &str) -> String {
    let mut object = object.replace("$data", DATA);
    for digit in '1'..='9' {
        let root = format!("\"0x{}\"", digit.to_string().repeat(64));
        object = object.replace(&format!("$r{digit}"), &root);
    }
    for digit in ["a", "b"] {
        let signature = format!("\"0x{}\"", digit.repeat(192));
        object = object.replace(&format!("$s{digit}"), &signature);
    }
    object.replace("$key", &format!("\"0x{}\"", "8".repeat(96)))
}

#[test]
fn roots_of_the_wire_contract() {
    for [kind, key, object, expected] in WIRE_CONTRACT {
        // `type` last and in another case: neither order nor case matter
        let (kind, object) = (kind.to_lowercase(), expand(object));
        let body = format!(r#"{{"{key}":{object},"proofs":[{{}}],{FORK_INFO},"type":"{kind}"}}"#);
        let request = parse(body.as_bytes()).unwrap();
        assert_eq!(root(&request, &mainnet()), expected, "{kind}");
        check_round_trip(&request, &mainnet());
    }
}

#[test]
fn exits_go_upstream_with_capella_twice() {
    let body = format!(
        r#"{{"type":"VOLUNTARY_EXIT","voluntary_exit":{{"epoch":1,"validator_index":7}},{FORK_INFO}}}"#
    );
    let request = parse(body.as_bytes()).unwrap();
    let network = mainnet();
    let (info, now) = (request.fork_info.as_ref(), Epoch(411_392));
    let root = signing_root(&request.duty, info, None, &network, now).unwrap();
    let fork =
        parse(&encode(&request.duty, info, &root, &network)).unwrap().fork_info.unwrap().fork;
    let capella = network.version_of(ForkName::Capella).unwrap();
    assert_eq!((fork.previous_version, fork.current_version), (capella, capella));
}

fn error(body: &str) -> String {
    parse(body.as_bytes()).unwrap_err().to_string()
}

#[test]
fn epochs_are_uint64_and_nothing_else() {
    let attestation = |epoch: &str| {
        format!(
            r#"{{"type":"ATTESTATION","attestation":{{"slot":"1","index":"0","beacon_block_root":
            "0x{root}","source":{{"epoch":{epoch},"root":"0x{root}"}},"target":{{"epoch":"1","root":
            "0x{root}"}}}},{FORK_INFO}}}"#,
            root = "0".repeat(64)
        )
    };
    parse(attestation("18446744073709551615").as_bytes()).unwrap();
    for epoch in [
        "true",
        "null",
        "-1",
        "1.0",
        "1e3",
        "18446744073709551616",
        "{}",
        "[[[]]]",
        r#""""#,
        r#""+1""#,
        r#"" 1""#,
        r#""01""#,
        r#""0x1""#,
        r#""18446744073709551616""#,
    ] {
        let error = error(&attestation(epoch));
        assert!(error.starts_with("attestation.source.epoch: invalid "), "{error}");
        assert!(error.contains("expected a uint64 as a decimal string or number"), "{error}");
    }
}

/// Bodies and what is said of them; `$reveal` and `$fork` stand for what a RANDAO reveal needs.
const BAD_BODIES: [(&str, &str); 21] = [
    ("", "the body is empty"),
    (" \n", "the body is empty"),
    ("nope", "the body is not a JSON object"),
    ("{}", "type: missing"),
    ("[]", "the body is not a JSON object"),
    (r#"{"type"}"#, "expected `:` at line 1 column 8"),
    (r#"{"type":null}"#, "type: missing"),
    (r#"{"type":7}"#, "type: invalid type: integer `7`, expected the name of a type"),
    (r#"{"type":"FOO\n"}"#, r#"type: "FOO\n" is not known"#),
    (r#"{"type":"ATTESTATION"}"#, "attestation: missing, and ATTESTATION is about it"),
    ("{$reveal}", "fork_info: missing, and RANDAO_REVEAL cannot be signed without"),
    (r#"{$reveal,"fork_info":{}}"#, "fork_info: missing field `fork`"),
    (
        r#"{$reveal,"signingRoot":"0x",$fork}"#,
        "signingRoot: expected 32 bytes of hex, found 0 hex digits",
    ),
    (
        r#"{$reveal,"signing_root":"0xzz",$fork}"#,
        "signing_root: expected 32 bytes of hex, found 2 hex digits",
    ),
    (r#"{$reveal,"type":"RANDAO_REVEAL",$fork}"#, "duplicate field `type`"),
    (r#"{$reveal,"signingRoot":null,"signing_root":null,$fork}"#, "duplicate field `signingRoot`"),
    ("{$reveal,$fork} x", "body: trailing characters"),
    (
        r#"{$reveal,"beacon_block":{"version":"fulu"}}"#,
        r#"beacon_block.version: invalid value: string "fulu", expected the name of a fork in upper"#,
    ),
    (
        r#"{"type":"BLOCK_V2","beacon_block":{"version":"FULU"}}"#,
        "beacon_block.block_header: missing",
    ),
    (r#"{"type":"BLOCK_V2","beacon_block":{}}"#, "beacon_block.version: missing"),
    (
        r#"{"type":"AGGREGATE_AND_PROOF","aggregate_and_proof":{"version":"electra"}}"#,
        "aggregate_and_proof.aggregator_index: missing",
    ),
];

#[test]
fn errors_name_the_field() {
    let reveal = r#""type":"RANDAO_REVEAL","randao_reveal":{"epoch":"1"}"#;
    for (body, expected) in BAD_BODIES {
        let body = body.replace("$reveal", reveal).replace("$fork", FORK_INFO);
        let error = error(&body);
        assert!(error.contains(expected), "{body}\n  {error}\n  {expected}");
    }
}

#[test]
fn bit_fields_that_cannot_be_are_named() {
    let [kind, key, object, _] = WIRE_CONTRACT[4];
    for (good, bad, expected) in [
        ("0x0103", "0x0100", "aggregation_bits: expected a bit list"),
        ("0x0103", "0x", "aggregation_bits: expected a bit list"),
        ("0x0103", "0x010", "aggregation_bits: expected whole bytes of hex"),
        ("0x0100000000000000", "0x", "committee_bits: expected a bit vector"),
    ] {
        let object = expand(object).replace(&format!("\"{good}\""), &format!("\"{bad}\""));
        let error = error(&format!(r#"{{"{key}":{object},{FORK_INFO},"type":"{kind}"}}"#));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn types_of_gloas_are_refused_by_name() {
    for kind in [
        "PAYLOAD_ATTESTATION_MESSAGE",
        "PROPOSER_PREFERENCES",
        "EXECUTION_PAYLOAD_ENVELOPE",
        "EXECUTION_PAYLOAD_BID",
        "BUILDER_REQUEST_AUTH",
    ] {
        let body =
            format!(r#"{{"{}":{{"version":"GLOAS"}},"type":"{kind}"}}"#, kind.to_lowercase());
        assert_eq!(parse(body.as_bytes()), Err(RequestError::NotSupported { kind }));
        assert!(error(&body).contains(&format!("{kind} is not supported yet")));
    }
}

#[test]
fn a_null_root_claims_nothing() {
    let body = format!(
        r#"{{"signingRoot":null,{FORK_INFO},"type":"RANDAO_REVEAL","randao_reveal":{{"epoch":1}}}}"#
    );
    assert_eq!(parse(body.as_bytes()).unwrap().claimed_root, None);
}

#[test]
fn registrations_carry_no_fork_info() {
    let body = format!(
        r#"{{"type":"VALIDATOR_REGISTRATION",{FORK_INFO},"validator_registration":{{"fee_recipient":
        "0x{}","gas_limit":1,"timestamp":1,"pubkey":"0x{}"}}}}"#,
        "0".repeat(40),
        "0".repeat(96)
    );
    assert_eq!(parse(body.as_bytes()).unwrap().fork_info, None);
}

#[test]
fn hostile_nesting_is_an_error_and_no_overflow() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let (open, close) = (open.repeat(1_000_000), close.repeat(1_000_000));
        for key in ["extra", "attestation", "type", "beacon_block", "signingRoot"] {
            assert!(parse(format!(r#"{{"{key}":{open}1{close}}}"#).as_bytes()).is_err());
            assert!(parse(format!(r#"{{"{key}":{open}"#).as_bytes()).is_err());
        }
    }
}

/// What is wrong with a body is told to the client and to the log: a stranger's text in it is cut,
/// or a few bad requests a second would fill the log's disk.
#[test]
fn a_message_about_a_bad_body_stays_short() {
    let long = "a".repeat(1 << 20);
    let bodies = [
        json!({ "type": "ATTESTATION", "attestation": long }),
        json!({ "type": "ATTESTATION", "attestation": { "slot": "1", "index": [long] } }),
        json!({ "type": long }),
        json!({ "type": { long.as_str(): 1 } }),
        json!({ "type": "BLOCK_V2", "beacon_block": { "version": long } }),
        json!({ "type": "RANDAO_REVEAL", "randao_reveal": { "epoch": long } }),
        json!({ "type": "RANDAO_REVEAL", "randao_reveal": long, "signingRoot": long }),
        json!({ "type": "BLOCK", "block": { "body": { "attestations": long } } }),
    ];
    for body in bodies {
        let error = parse(body.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 512, "{} bytes: {}", error.len(), &error[..200]);
    }
}

#[test]
fn proofs_of_a_body_are_read_and_the_style_is_noted() {
    let header = r#""beacon_block":{"version":"FULU","block_header":{"slot":"1","proposer_index":"1",
        "parent_root":"$1","state_root":"$1","body_root":"$1"}}"#;
    let proofs = r#""proofs":[{"index":"801","proof":["$1","$1"],"value":"$a"},
        {"index":3,"proof":["$1"],"value":"$1"},{"index":"2","proof":[]},{}]"#;
    let body = format!(r#"{{"type": "BLOCK_V2",{header},{FORK_INFO},{proofs}}}"#);
    let body = body.replace("$1", &format!("0x{}", "11".repeat(32)));
    let body = body.replace("$a", &format!("0x{}", "22".repeat(20)));
    let request = parse(body.as_bytes()).unwrap();
    let one = Root([0x11; 32]);
    let mut address = [0; 32];
    address[..20].fill(0x22);
    let proof = |index, branch, leaf| BodyProof { index, branch, leaf };
    assert_eq!(
        request.proofs,
        [
            proof(801, vec![one, one], Some(Root(address))),
            proof(3, vec![one], Some(one)),
            proof(2, vec![], None),
        ]
    );
    let spaced = Style { first: Member::Type, is_spaced: true, claims_root: false };
    assert_eq!(request.style, spaced);
    let style = |body: &str| parse(body.as_bytes()).unwrap().style;
    let reveal = r#""randao_reveal":{"epoch":"1"}"#;
    let root = format!(r#""signingRoot":"0x{}""#, "11".repeat(32));
    let first = |body: &str| style(body).first;
    assert_eq!(
        first(&format!(r#"{{{reveal},"type":"RANDAO_REVEAL",{FORK_INFO}}}"#)),
        Member::Object
    );
    let claiming = style(&format!(r#"{{{root},"type":"RANDAO_REVEAL",{FORK_INFO},{reveal}}}"#));
    let expected = Style { first: Member::SigningRoot, is_spaced: false, claims_root: true };
    assert_eq!(claiming, expected);
}
