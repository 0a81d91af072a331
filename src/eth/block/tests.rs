#![allow(clippy::unwrap_used)]

use super::{BeaconBlock, BlockError};
use crate::eth::network::Preset;
use crate::eth::{Duty, ForkName, Network, RootError};

/// The largest phase0 block of the vectors.
fn a_block() -> BeaconBlock {
    let vectors = std::fs::read_to_string("fixtures/signing-roots.jsonl").unwrap();
    let blocks = vectors.lines().filter(|line| line.contains(r#""type":"BLOCK","#));
    let largest = blocks.max_by_key(|line| line.len()).unwrap();
    let mut vector: serde_json::Value = serde_json::from_str(largest).unwrap();
    serde_json::from_value(vector["body"]["block"].take()).unwrap()
}

#[test]
fn lists_are_bounded() {
    let mut block = a_block();
    let exits = &mut block.body.voluntary_exits;
    let exit: super::SignedVoluntaryExit = serde_json::from_value(serde_json::json!({
        "message": {"epoch": "1", "validator_index": "2"},
        "signature": "00".repeat(96),
    }))
    .unwrap();
    exits.resize(17, exit);
    let too_many = BlockError::TooMany { field: "voluntary_exits", len: 17, limit: 16 };
    assert_eq!(block.header(&Preset::MAINNET), Err(too_many));
    block.body.voluntary_exits.truncate(16);
    assert!(block.header(&Preset::MAINNET).is_ok());
}

#[test]
fn a_whole_block_is_of_the_fork_of_its_slot() {
    let mut block = a_block();
    let mainnet = Network::builtin("mainnet").unwrap();
    block.slot = mainnet.first_slot(mainnet.epoch_of(ForkName::Altair).unwrap());
    let slot = block.slot;
    let (version, fork) = (ForkName::Phase0, ForkName::Altair);
    let refused = Duty::Block(Box::new(block)).object_root(&mainnet);
    assert_eq!(refused, Err(RootError::BlockVersion { version, slot, fork }));
}
