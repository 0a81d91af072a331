//! No file makes the reader of the interchange format panic, and what it read can be written and
//! read again without losing anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slashing_db::GenesisValidatorsRoot;
use slashing_db::interchange::{Writer, read};

/// The chain of the official EIP-3076 files, so that they serve as seeds.
const CHAIN: GenesisValidatorsRoot = GenesisValidatorsRoot([0; 32]);

fuzz_target!(|file: &[u8]| {
    let Ok(first) = read(file, CHAIN) else { return };
    let mut writer = Writer::new(Vec::new(), CHAIN).expect("memory");
    for (pubkey, summary) in &first.summaries {
        let (block, attestation) = (summary.block(), summary.attestation());
        assert_eq!(block.is_some(), summary.block_records() > 0);
        assert_eq!(attestation.is_some(), summary.attestation_records() > 0);
        writer
            .key(*pubkey, block, attestation)
            .expect("keys in order, in memory");
    }
    let (_, bytes) = writer.finish().expect("memory");
    let again = read(bytes.as_slice(), CHAIN).expect("our own file");
    assert_eq!(again.summaries.len(), first.summaries.len());
    for ((pubkey, summary), (_, before)) in again.summaries.iter().zip(&first.summaries) {
        assert_eq!(summary.block(), before.block(), "{pubkey}");
        assert_eq!(summary.attestation(), before.attestation(), "{pubkey}");
    }
});
