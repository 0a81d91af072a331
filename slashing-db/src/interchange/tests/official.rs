//! The interchange files of eth-clients/slashing-protection-interchange-tests, as a reader sees
//! them. Their verdicts are the store's to give.

use std::path::PathBuf;
use std::{env, fs};

use serde_json::Value;

use super::*;

fn directory() -> PathBuf {
    let given = env::var_os("EIP3076_TESTS").map(PathBuf::from);
    given.unwrap_or_else(|| {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/eip3076-tests"))
    })
}

fn integer(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

/// The records of one key, read from the JSON tree without this crate's reader.
fn maxima(data: &Value, key: PublicKey) -> (Option<u64>, Option<(u64, u64)>) {
    let of_key = |entry: &&Value| entry["pubkey"].as_str().unwrap().parse::<PublicKey>() == Ok(key);
    let entries: Vec<&Value> = data.as_array().unwrap().iter().filter(of_key).collect();
    let all = |list: &'static str, field: &'static str| {
        let lists = entries.iter().flat_map(move |entry| entry[list].as_array().unwrap());
        lists.map(move |record| integer(&record[field])).max()
    };
    let source = all("signed_attestations", "source_epoch");
    let target = all("signed_attestations", "target_epoch");
    (all("signed_blocks", "slot"), source.zip(target))
}

#[test]
fn eip3076_files_are_read_and_only_the_foreign_one_is_refused() {
    let directory = directory();
    let Ok(listing) = fs::read_dir(&directory) else {
        eprintln!("NOT RUN: no EIP-3076 files in {}; set EIP3076_TESTS", directory.display());
        return;
    };
    let (mut files, mut steps, mut refused) = (0, 0, Vec::new());
    for path in listing.map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        files += 1;
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let chain = file["genesis_validators_root"].as_str().unwrap().parse().unwrap();
        for step in file["steps"].as_array().unwrap() {
            steps += 1;
            let text = step["interchange"].to_string();
            match read(text.as_bytes(), chain) {
                Err(error) => refused.push((file["name"].to_string(), error.place.to_string())),
                Ok(interchange) => {
                    assert_eq!(step["should_succeed"], true, "{}", file["name"]);
                    for (key, summary) in &interchange.summaries {
                        let attestation = summary.attestation();
                        let epochs = attestation.map(|a| (a.source_epoch, a.target_epoch));
                        let slot = summary.block().map(|b| b.slot);
                        let expected = maxima(&step["interchange"]["data"], *key);
                        assert_eq!((slot, epochs), expected, "{}", file["name"]);
                    }
                }
            }
        }
    }
    let foreign = (
        "\"wrong_genesis_validators_root\"".to_owned(),
        "metadata.genesis_validators_root".to_owned(),
    );
    assert_eq!(refused, [foreign]);
    assert_eq!((files, steps), (38, 49), "release v5.3.0 has 38 files with 49 imports");
}
