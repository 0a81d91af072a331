#![allow(clippy::unwrap_used)]

use super::{Summary, run};
use crate::web3signer::request::vectors::{self, Vector};

/// Runs the command over the bodies of `vectors`, and returns how many roots were right.
fn check(vectors: Vec<Vector>) -> usize {
    let mut right = 0;
    for (name, vectors) in vectors::by_network(vectors) {
        let input: String =
            vectors.iter().map(|vector| format!("{}\n", vector.body.get())).collect();
        let mut output = Vec::new();
        run(&vectors::network(&name), input.as_bytes(), &mut output).unwrap();
        let output = String::from_utf8(output).unwrap();
        assert_eq!(output.lines().count(), vectors.len(), "one line out for each line in");
        for (line, vector) in output.lines().zip(&vectors) {
            let Vector { kind, fork, signing_root, .. } = vector;
            assert_eq!(line, signing_root.to_string(), "{kind} {fork} {name}");
            right += 1;
        }
    }
    right
}

#[test]
fn every_root_of_the_fixtures() {
    assert_eq!(check(vectors::fixtures()), 308);
}

#[test]
fn every_root_of_the_full_suite() {
    match vectors::full_suite() {
        Some(vectors) => assert_eq!(check(vectors), 1540),
        None => eprintln!("\n*** NOT RUN: the full suite; set VECTORS to its directory ***\n"),
    }
}

#[test]
fn errors_stand_in_the_line_of_their_request() {
    let good = r#"{"type":"RANDAO_REVEAL","randao_reveal":{"epoch":"411392"},"fork_info":{"fork":{
        "previous_version":"0x05000000","current_version":"0x06000000","epoch":"411392"},
        "genesis_validators_root":
        "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"}}"#;
    let good = good.replace(['\n', ' '], "");
    let input = format!("{{}}\n{good}\n\n\u{0}\n{good}");
    let mut output = Vec::new();
    let summary = run(&vectors::network("mainnet"), input.as_bytes(), &mut output).unwrap();
    assert_eq!(summary, Summary { roots: 2, errors: 3 });
    let output = String::from_utf8(output).unwrap();
    let lines: Vec<_> = output.lines().collect();
    let root = "0x176d16f691a45835e5ec78bb2a35a9c6159935f8c8c253c1cefdea58e4677115";
    assert_eq!(lines[0], "error: type: missing");
    assert_eq!(lines[1], root);
    assert_eq!(lines[2], "error: the body is empty");
    assert_eq!(lines[3], "error: the body is not a JSON object");
    assert_eq!(lines[4], root);
    assert_eq!(lines.len(), 5);
}
