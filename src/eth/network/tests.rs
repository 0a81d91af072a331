#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::{BUILTIN_NAMES, ForkName, Network, NetworkError, Preset};
use crate::eth::DutyKind;
use crate::eth::types::{Epoch, Root, Slot, Version};

fn devnet() -> String {
    std::fs::read_to_string("fixtures/networks/devnet.yaml").unwrap()
}

/// Compares a network with the independent table of `fixtures/networks/networks.json`.
fn check(network: &Network, expected: &serde_json::Value) {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    assert_eq!(network.preset().name, text(&expected["preset"]));
    assert_eq!(network.preset().slots_per_epoch, expected["slots_per_epoch"].as_u64().unwrap());
    assert_eq!(network.slot_duration().as_secs(), expected["seconds_per_slot"].as_u64().unwrap());
    assert_eq!(network.genesis_fork_version().to_string(), text(&expected["genesis_fork_version"]));
    let forks = expected["forks"].as_array().unwrap();
    assert_eq!(network.forks().len(), forks.len());
    for (fork, expected) in network.forks().iter().zip(forks) {
        assert_eq!(fork.name.as_str(), text(&expected["name"]));
        assert_eq!(fork.version.to_string(), text(&expected["version"]));
        assert_eq!(fork.epoch.map(|epoch| epoch.0), expected["epoch"].as_u64());
    }
    if let Some(genesis) = network.genesis() {
        assert_eq!(genesis.time, expected["genesis_time"].as_u64().unwrap());
        assert_eq!(genesis.validators_root.to_string(), text(&expected["genesis_validators_root"]));
    }
}

#[test]
fn networks_are_those_of_the_table() {
    let table = std::fs::read_to_string("fixtures/networks/networks.json").unwrap();
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    for name in ["mainnet", "sepolia", "hoodi", "gnosis"] {
        check(&Network::builtin(name).unwrap(), &table[name]);
    }
    let devnet = Network::from_config_yaml(&devnet()).unwrap();
    assert_eq!(devnet.genesis(), None);
    check(&devnet, &table["devnet"]);
}

#[test]
fn every_builtin_network_is_usable() {
    for name in BUILTIN_NAMES {
        let network = Network::builtin(name).unwrap();
        assert!(network.genesis().is_some());
        assert!(network.epoch_of(ForkName::Fulu).is_some());
    }
    assert_eq!(Network::builtin("goerli"), None);
}

#[test]
fn slots_and_epochs() {
    let gnosis = Network::builtin("gnosis").unwrap();
    let genesis = Duration::from_secs(1_638_993_340);
    assert_eq!(gnosis.slot_at(genesis - Duration::from_millis(1)), None);
    assert_eq!(gnosis.slot_at(genesis), Some(Slot(0)));
    assert_eq!(gnosis.slot_at(genesis + Duration::from_millis(4_999)), Some(Slot(0)));
    assert_eq!(gnosis.slot_at(genesis + Duration::from_millis(5_000)), Some(Slot(1)));
    assert_eq!(gnosis.slot_start(Slot(3)), Some(genesis + Duration::from_secs(15)));
    assert_eq!(gnosis.slot_start(Slot(u64::MAX)), None);
    assert_eq!((gnosis.epoch(Slot(15)), gnosis.epoch(Slot(16))), (Epoch(0), Epoch(1)));
    assert_eq!(gnosis.first_slot(Epoch(2)), Slot(32));
}

#[test]
fn forks_by_epoch_and_version() {
    let mainnet = Network::builtin("mainnet").unwrap();
    assert_eq!(mainnet.fork_at(Epoch(0)), ForkName::Phase0);
    assert_eq!(mainnet.fork_at(Epoch(411_391)), ForkName::Electra);
    assert_eq!(mainnet.fork_at(Epoch(411_392)), ForkName::Fulu);
    assert_eq!(mainnet.fork_at(Epoch(u64::MAX)), ForkName::Fulu);
    assert_eq!(mainnet.version_at(Epoch(194_048)), Version([3, 0, 0, 0]));
    assert!(mainnet.is_known_version(Version([7, 0, 0, 0])));
    assert!(!mainnet.is_known_version(Version([8, 0, 0, 0])));
    // all of hoodi's first five forks begin at epoch 0: the last one counts
    assert_eq!(Network::builtin("hoodi").unwrap().fork_at(Epoch(0)), ForkName::Deneb);
}

#[test]
fn fork_epochs_can_be_moved() {
    let moved = |epochs: &[(ForkName, u64)]| {
        let epochs = epochs.iter().map(|(name, epoch)| (*name, Epoch(*epoch)));
        Network::builtin("mainnet").unwrap().with_fork_epochs(epochs)
    };
    let network = moved(&[(ForkName::Gloas, 500_000)]).unwrap();
    assert_eq!(network.fork_at(Epoch(500_000)), ForkName::Gloas);
    let network = moved(&[(ForkName::Fulu, u64::MAX)]).unwrap();
    assert_eq!(network.fork_at(Epoch(u64::MAX)), ForkName::Electra);
    let early = moved(&[(ForkName::Fulu, 1)]).unwrap_err();
    assert_eq!(early.to_string(), "fulu cannot begin before electra, which it follows");
    assert!(matches!(moved(&[(ForkName::Phase0, 1)]), Err(NetworkError::Phase0Epoch)));
    assert!(matches!(moved(&[(ForkName::Heze, 1)]), Err(NetworkError::UnknownFork { .. })));
}

#[test]
fn configurations_say_what_is_wrong() {
    let error = |from: &str, to: &str| {
        let text = devnet();
        assert!(text.contains(from));
        Network::from_config_yaml(&text.replace(from, to)).unwrap_err().to_string()
    };
    assert_eq!(
        error("PRESET_BASE: 'mainnet'", "PRESET_BASE: huge"),
        r#"PRESET_BASE: expected mainnet, minimal or gnosis, found "huge""#
    );
    assert_eq!(error("PRESET_BASE: 'mainnet'", ""), "PRESET_BASE: missing");
    assert_eq!(error("SECONDS_PER_SLOT: 12", ""), "SECONDS_PER_SLOT: missing");
    assert_eq!(
        error("SECONDS_PER_SLOT: 12", "SECONDS_PER_SLOT: 0"),
        r#"SECONDS_PER_SLOT: expected a positive number, found "0""#
    );
    assert_eq!(
        error("0x0500f7f7", "0x0500f7"),
        r#"ELECTRA_FORK_VERSION: expected 4 bytes of hex, found "0x0500f7""#
    );
    assert_eq!(
        error("FULU_FORK_EPOCH: 60", "FULU_FORK_EPOCH: 0x3c"),
        r#"FULU_FORK_EPOCH: expected an epoch in decimal digits, found "0x3c""#
    );
    assert_eq!(error("FULU_FORK_VERSION: 0x0600f7f7", ""), "FULU_FORK_VERSION: missing");
    assert_eq!(
        error("FULU_FORK_EPOCH: 60", "FULU_FORK_EPOCH: 49"),
        "fulu cannot begin before electra, which it follows"
    );
    assert_eq!(
        error("FULU_FORK_EPOCH: 60", "FULU_FORK_EPOCH: 60\nFULU_FORK_EPOCH: 61"),
        "the network configuration cannot be read"
    );
}

#[test]
fn configurations_may_hold_more_and_other_spellings() {
    let text = devnet().replace("0x0000f7f7", "'0x0000f7f7'").replace(
        "SECONDS_PER_SLOT: 12",
        "SECONDS_PER_SLOT: 12\nSLOT_DURATION_MS: 6500\nBLOB_SCHEDULE:\n  - EPOCH: 1\n    MAX: 2\n\
         TERMINAL_TOTAL_DIFFICULTY: 231707791542740786049188744689299064356246512\n\
         HEZE_FORK_VERSION: 0x0800f7f7\nHEZE_FORK_EPOCH: 18446744073709551615",
    );
    let network = Network::from_config_yaml(&text).unwrap().with_genesis(100, Root([7; 32]));
    assert_eq!(network.slot_duration(), Duration::from_millis(6_500));
    assert_eq!(network.slot_at(Duration::from_millis(106_500)), Some(Slot(1)));
    assert_eq!(network.epoch_of(ForkName::Heze), None);
    assert!(network.is_known_version(Version([8, 0, 0xf7, 0xf7])));
    assert_eq!(network.genesis_fork_version(), Version([0, 0, 0xf7, 0xf7]));
    let minimal = Network::from_config_yaml(&devnet().replace("mainnet", "minimal")).unwrap();
    assert_eq!(*minimal.preset(), Preset::MINIMAL);
}

#[test]
fn duties_are_due_by_the_fork_and_the_length_of_a_slot() {
    let due = |network: &Network, kind, epoch| network.due(kind, Epoch(epoch)).as_millis();
    let mainnet = Network::builtin("mainnet").unwrap();
    let gloas = mainnet.clone().with_fork_epochs([(ForkName::Gloas, Epoch(500_000))]).unwrap();
    assert_eq!(due(&mainnet, DutyKind::Attestation, 500_000), 3_999);
    assert_eq!(due(&gloas, DutyKind::Attestation, 499_999), 3_999);
    assert_eq!(due(&gloas, DutyKind::Attestation, 500_000), 3_000);
    assert_eq!(due(&gloas, DutyKind::SyncCommitteeMessage, 500_000), 3_000);
    assert_eq!(due(&gloas, DutyKind::AggregateAndProofV2, 499_999), 8_000);
    assert_eq!(due(&gloas, DutyKind::SyncCommitteeContributionAndProof, 500_000), 6_000);
    assert_eq!(due(&gloas, DutyKind::BlockV2, 500_000), 0);
    let gnosis = Network::builtin("gnosis").unwrap();
    assert_eq!(due(&gnosis, DutyKind::Attestation, 1), 1_666);
    let text = format!("{}\nATTESTATION_DUE_BPS: 5000\nAGGREGATE_DUE_BPS_GLOAS: 1", devnet());
    let own = Network::from_config_yaml(&text).unwrap();
    assert_eq!(due(&own, DutyKind::Attestation, 0), 6_000);
    let bad = Network::from_config_yaml(&text.replace("5000", "10001")).unwrap_err();
    assert_eq!(
        bad.to_string(),
        r#"ATTESTATION_DUE_BPS: expected at most 10000 basis points, found "10001""#
    );
}
