#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{self, Read};

use proptest::prelude::*;

use super::*;
use crate::signed::{
    GenesisValidatorsRoot, PublicKey, SignedAttestation, SignedBlock, SigningRoot,
};

mod official;
mod summary;

const CHAIN: GenesisValidatorsRoot = GenesisValidatorsRoot([4; 32]);

fn metadata() -> String {
    format!(
        r#""metadata": {{"interchange_format_version": "5", "genesis_validators_root": "{CHAIN}"}}"#
    )
}

fn file(data: &str) -> String {
    format!(r#"{{{}, "data": [{data}]}}"#, metadata())
}

fn key(byte: u8) -> PublicKey {
    PublicKey([byte; 48])
}

fn root(byte: u8) -> SigningRoot {
    SigningRoot([byte; 32])
}

/// An entry of key 1 with the given records.
fn entry(blocks: &str, attestations: &str) -> String {
    let key = key(1);
    format!(
        r#"{{"pubkey": "{key}", "signed_blocks": [{blocks}],
        "signed_attestations": [{attestations}]}}"#
    )
}

fn read_text(text: &str) -> Result<Interchange, ReadError> {
    read(text.as_bytes(), CHAIN)
}

#[track_caller]
fn refused(text: &str, place: &str, what: &str) {
    let error = read_text(text).unwrap_err();
    assert_eq!(error.place.to_string(), place, "{error}");
    assert!(error.problem.to_string().contains(what), "{error} does not say {what:?}");
}

#[test]
fn metadata_may_come_last() {
    let text = format!(r#"{{"data": [{}], {}}}"#, entry(r#"{"slot": "7"}"#, ""), metadata());
    let interchange = read_text(&text).unwrap();
    assert_eq!(interchange.summaries[&key(1)].block().unwrap().slot, 7);
}

#[test]
fn metadata_is_required_and_must_be_right_wherever_it_stands() {
    let other = GenesisValidatorsRoot([5; 32]);
    let data = entry(r#"{"slot": "7"}"#, "");
    for first in [true, false] {
        let with = |version: &str, chain: &str| {
            let metadata = format!(
                r#""metadata": {{"interchange_format_version": {version}, {chain}"x": 1}}"#
            );
            match first {
                true => format!(r#"{{{metadata}, "data": [{data}]}}"#),
                false => format!(r#"{{"data": [{data}], {metadata}}}"#),
            }
        };
        let chain = format!(r#""genesis_validators_root": "{CHAIN}","#);
        assert!(read_text(&with(r#""5""#, &chain)).is_ok());
        let version = "metadata.interchange_format_version";
        refused(&with(r#""4""#, &chain), version, "version \"4\"");
        refused(&with("5", &chain), version, "expected the version as a string");
        refused(&with(r#""5""#, ""), "metadata", "genesis_validators_root is missing");
        refused(
            &with(r#""5""#, &format!(r#""genesis_validators_root": "{other}","#)),
            "metadata.genesis_validators_root",
            "of another chain",
        );
    }
    refused(r#"{"data": []}"#, "document", "field metadata is missing");
    refused(&format!("{{{}}}", metadata()), "document", "field data is missing");
}

#[test]
fn a_file_without_keys_is_a_file() {
    assert_eq!(read_text(&file("")).unwrap(), Interchange::default());
}

#[test]
fn entries_of_one_key_are_merged_whatever_their_case() {
    let upper = "AB".repeat(48);
    let lower = format!("0x{}", "ab".repeat(48));
    let entry = |key: &str, slot| {
        format!(
            r#"{{"signed_blocks": [{{"slot": {slot}}}], "signed_attestations": [],
            "pubkey": "{key}"}}"#
        )
    };
    let text = file(&format!("{}, {}", entry(&upper, 5), entry(&lower, 3)));
    let interchange = read_text(&text).unwrap();
    assert_eq!(interchange.entries, 2);
    assert_eq!(interchange.summaries.len(), 1);
    let summary = interchange.summaries[&key(0xab)];
    assert_eq!((summary.block().unwrap().slot, summary.block_records()), (5, 2));
}

#[test]
fn integers_are_decimal_strings_or_numbers_of_64_bits() {
    let slot = |text: &str| read_text(&file(&entry(&format!(r#"{{"slot": {text}}}"#), "")));
    for text in ["18446744073709551615", r#""18446744073709551615""#] {
        assert_eq!(slot(text).unwrap().summaries[&key(1)].block().unwrap().slot, u64::MAX);
    }
    assert!(slot("0").is_ok() && slot(r#""0""#).is_ok());
    for text in [
        r#""""#,
        r#""-1""#,
        r#""+1""#,
        r#"" 1""#,
        r#""01""#,
        r#""1.0""#,
        r#""0x1""#,
        r#""1e3""#,
        r#""18446744073709551616""#,
        "18446744073709551616",
        "-1",
        "1.5",
        "1e3",
        "null",
        "true",
        "[]",
        "{}",
        r#""١""#,
    ] {
        let error = slot(text).unwrap_err();
        assert_eq!(error.place.to_string(), "data[0].signed_blocks[0].slot", "{text}: {error}");
    }
}

#[test]
fn an_absent_root_a_null_root_and_a_zero_root_are_unknown() {
    let zero = SigningRoot::NULL;
    for part in ["", r#", "signing_root": null"#, &format!(r#", "signing_root": "{zero}""#)] {
        let text = file(&entry(&format!(r#"{{"slot": "7"{part}}}"#), ""));
        let block = read_text(&text).unwrap().summaries[&key(1)].block().unwrap();
        assert!(block.signing_root.is_null(), "{part}");
    }
    let text = file(&entry(r#"{"slot": "7", "signing_root": ""}"#, ""));
    refused(&text, "data[0].signed_blocks[0].signing_root", "64 hexadecimal digits");
}

#[test]
fn errors_name_the_place() {
    let good = r#"{"source_epoch": "1", "target_epoch": "2"}"#;
    let data = format!(
        "{}, {}",
        entry("", good),
        entry("", &format!(r#"{good}, {good}, {{"source_epoch": "1", "target_epoch": "x"}}"#))
    );
    refused(&file(&data), "data[1].signed_attestations[2].target_epoch", "\"x\" is no unsigned");
    let data = entry("", r#"{"source_epoch": "1"}"#);
    refused(&file(&data), "data[0].signed_attestations[0]", "field target_epoch is missing");
    let data = entry("", r#"{"source_epoch": "1", "target_epoch": "1", "source_epoch": "2"}"#);
    refused(&file(&data), "data[0].signed_attestations[0].source_epoch", "twice");
    refused(&file(r#"{"pubkey": "0xabcd"}"#), "data[0].pubkey", "96 hexadecimal digits");
    let pubkey = key(1);
    let data = format!(r#"{{"pubkey": "{pubkey}", "signed_blocks": []}}"#);
    refused(&file(&data), "data[0]", "field signed_attestations is missing");
    refused(&file("7"), "data[0]", "expected an object");
    refused(&format!(r#"{{{}, "data": {{}}}}"#, metadata()), "data", "expected an array");
}

#[test]
fn unknown_fields_are_passed_over_everywhere() {
    let text = format!(
        r#"{{"x": [1, {{"data": 7}}], {}, "data": [{{"note": "\"}}", "pubkey": "{}",
        "signed_blocks": [{{"slot": "1", "y": {{"slot": 9}}}}], "signed_attestations": []}}],
        "z": null}}"#,
        metadata(),
        key(1)
    );
    assert_eq!(read_text(&text).unwrap().summaries[&key(1)].block().unwrap().slot, 1);
}

#[test]
fn a_cut_file_is_refused_at_every_length() {
    let data = entry(r#"{"slot": "1"}"#, r#"{"source_epoch": "1", "target_epoch": "2"}"#);
    let text = file(&data);
    assert!(read_text(&text).is_ok());
    for len in 0..text.len() {
        assert!(read_text(&text[..len]).is_err(), "{len}");
    }
    refused(&format!("{text} x"), "document", "trailing characters");
}

/// Gives the same bytes over and over, without holding them.
struct Repeat {
    unit: Vec<u8>,
    at: usize,
}

impl Read for Repeat {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.unit[self.at];
            self.at = (self.at + 1) % self.unit.len();
        }
        Ok(buffer.len())
    }
}

#[test]
fn endless_nesting_and_endless_strings_end_soon() {
    let endless = |start: &str, unit: &str| {
        let start = format!(r#"{{{}, {start}"#, metadata()).into_bytes();
        let input = io::Cursor::new(start).chain(Repeat { unit: unit.into(), at: 0 });
        read(input, CHAIN).unwrap_err().problem
    };
    for (start, unit) in [(r#""x": "#, "["), (r#""x": "#, r#"{"a":"#), (r#""data": "#, "[")] {
        let problem = endless(start, unit);
        assert!(
            matches!(problem, Problem::Limit(TooMuch::Depth { .. }) | Problem::Json(_)),
            "{problem:?}"
        );
    }
    for start in [r#""x": ""#, r#"""#, r#""data": [{"pubkey": ""#] {
        for unit in ["a", r#"\""#, r"\\"] {
            let problem = endless(start, unit);
            assert!(matches!(problem, Problem::Limit(TooMuch::String { .. })), "{problem:?}");
        }
    }
}

/// One key with a million records comes through a reader that holds none of them.
#[test]
fn a_million_records_of_one_key_are_streamed() {
    let head = format!(
        r#"{{{}, "data": [{{"pubkey": "{}", "signed_blocks": [], "signed_attestations": ["#,
        metadata(),
        key(1)
    );
    let record = r#"{"source_epoch": "3", "target_epoch": "4"},"#;
    let tail = r#"{"source_epoch": "5", "target_epoch": "9"}]}]}"#;
    let records = 1_000_000;
    let middle = Repeat { unit: record.into(), at: 0 }.take(records * record.len() as u64);
    let input = io::Cursor::new(head).chain(middle).chain(io::Cursor::new(tail));
    let summary = read(input, CHAIN).unwrap().summaries[&key(1)];
    assert_eq!(summary.attestation_records(), records + 1);
    let attestation = summary.attestation().unwrap();
    assert_eq!((attestation.source_epoch, attestation.target_epoch), (5, 9));
}

#[test]
fn a_file_that_cannot_be_read_is_no_bad_file() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let error = read(Broken, CHAIN).unwrap_err();
    assert!(matches!(error.problem, Problem::Io(_)), "{error}");
    assert!(error.to_string().contains("disk on fire"), "{error}");
}

#[test]
fn the_writer_wants_ascending_keys() {
    let mut writer = Writer::new(Vec::new(), CHAIN).unwrap();
    writer.key(key(2), None, None).unwrap();
    for late in [key(2), key(1)] {
        assert!(matches!(writer.key(late, None, None), Err(WriteError::Order { .. })));
    }
    writer.key(key(3), None, None).unwrap();
    assert_eq!(writer.finish().unwrap().0.keys, 2);
}

#[test]
fn an_export_without_finish_is_refused() {
    let mut out = Vec::new();
    Writer::new(&mut out, CHAIN).unwrap().key(key(2), None, None).unwrap();
    assert!(read(out.as_slice(), CHAIN).is_err());
}

fn any_root() -> impl Strategy<Value = SigningRoot> {
    prop_oneof![Just(SigningRoot::NULL), (1_u8..3).prop_map(root)]
}

fn any_block() -> impl Strategy<Value = SignedBlock> {
    let slot = prop_oneof![0_u64..4, any::<u64>()];
    (slot, any_root()).prop_map(|(slot, signing_root)| SignedBlock { slot, signing_root })
}

fn any_attestation() -> impl Strategy<Value = SignedAttestation> {
    let epoch = || prop_oneof![0_u64..4, any::<u64>()];
    (epoch(), epoch(), any_root()).prop_map(|(source_epoch, target_epoch, signing_root)| {
        SignedAttestation { source_epoch, target_epoch, signing_root }
    })
}

type Records = (Option<SignedBlock>, Option<SignedAttestation>);

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        keys in prop::collection::btree_map(
            any::<u8>(),
            (prop::option::of(any_block()), prop::option::of(any_attestation())),
            0..20,
        )
    ) {
        let mut writer = Writer::new(Vec::new(), CHAIN).unwrap();
        for (byte, (block, attestation)) in &keys {
            writer.key(key(*byte), *block, *attestation).unwrap();
        }
        let (written, out) = writer.finish().unwrap();
        serde_json::from_slice::<serde_json::Value>(&out).unwrap();
        let interchange = read(out.as_slice(), CHAIN).unwrap();
        prop_assert_eq!(written.keys, keys.len() as u64);
        prop_assert_eq!(interchange.entries, written.keys);
        let summaries = interchange.summaries.values();
        let sum = |count: fn(&Summary) -> u64| summaries.clone().map(count).sum::<u64>();
        prop_assert_eq!(sum(Summary::block_records), written.blocks);
        prop_assert_eq!(sum(Summary::attestation_records), written.attestations);
        let back: BTreeMap<PublicKey, Records> = interchange
            .summaries
            .iter()
            .map(|(key, summary)| (*key, (summary.block(), summary.attestation())))
            .collect();
        let keys: BTreeMap<PublicKey, Records> =
            keys.into_iter().map(|(byte, records)| (key(byte), records)).collect();
        prop_assert_eq!(back, keys);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(bytes.as_slice(), CHAIN);
    }

    /// A whole file with a few bytes changed is read or refused, never a panic.
    #[test]
    fn no_damage_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut text = file(&entry(
            r#"{"slot": "1", "signing_root": null}"#,
            r#"{"source_epoch": "1", "target_epoch": 2, "x": [{}]}"#,
        ))
        .into_bytes();
        for (index, byte) in changes {
            let len = text.len();
            text[index.index(len)] = byte;
        }
        let _ = read(text.as_slice(), CHAIN);
    }
}
