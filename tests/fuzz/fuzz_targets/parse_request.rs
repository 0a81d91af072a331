//! No body makes the parser, the roots or the encoder panic, and what is sent upstream reads as what
//! was parsed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portcullis::eth::network::BUILTIN_NAMES;
use portcullis::eth::{Duty, Epoch, ForkName, Network, RootError, SigningRoot, signing_root};
use portcullis::web3signer::request::{encode, parse};

static NETWORKS: LazyLock<Vec<Network>> = LazyLock::new(|| {
    let builtin = BUILTIN_NAMES
        .iter()
        .filter_map(|name| Network::builtin(name));
    let gloas = Network::builtin("mainnet").and_then(|mainnet| {
        mainnet
            .with_fork_epochs([(ForkName::Gloas, Epoch(420_000))])
            .ok()
    });
    let minimal = "PRESET_BASE: minimal\nSECONDS_PER_SLOT: 6\nGENESIS_FORK_VERSION: 0x00000001";
    builtin
        .chain(gloas)
        .chain(Network::from_config_yaml(minimal).ok())
        .collect()
});

fuzz_target!(|body: &[u8]| {
    let Ok(request) = parse(body) else { return };
    assert_eq!(NETWORKS.len(), 7);
    for network in NETWORKS.iter() {
        for epoch in [Epoch(0), Epoch(u64::MAX)] {
            let (duty, info) = (&request.duty, request.fork_info.as_ref());
            let root = signing_root(duty, info, request.claimed_root.as_ref(), network, epoch);
            let root = match root {
                Ok(root) => root,
                Err(RootError::Mismatch { computed, .. }) => computed,
                Err(_) => SigningRoot::ZERO,
            };
            let again = parse(&encode(duty, info, &root, network)).expect("our own encoding");
            assert_eq!(again.duty, *duty);
            assert_eq!(again.claimed_root, Some(root));
            assert!(matches!(duty, Duty::VoluntaryExit(_)) || again.fork_info.as_ref() == info);
        }
    }
});
