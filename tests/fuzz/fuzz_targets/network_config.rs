//! No configuration makes the reader panic, and whatever it accepts answers every question.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portcullis::eth::types::{Epoch, Root, Slot};
use portcullis::eth::{ForkName, Network};

fuzz_target!(|text: &str| {
    let Ok(network) = Network::from_config_yaml(text) else {
        return;
    };
    let network = network.with_genesis(1, Root::ZERO);
    for number in [0, 1, 1 << 32, u64::MAX] {
        assert!(network.is_known_version(network.version_at(Epoch(number))));
        let slot = network.slot_at(Duration::from_secs(number));
        assert_eq!(slot.is_none(), number == 0);
        if let Some(start) = network.slot_start(Slot(number)) {
            assert_eq!(network.slot_at(start), Some(Slot(number)));
        }
    }
    assert!(network.fork_at(Epoch(0)) >= ForkName::Phase0);
});
