//! The request bodies that tests read.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::eth::types::parse_uint64;
use crate::eth::{Network, SigningRoot};

/// A request body and the signing root it has.
#[derive(Deserialize)]
pub(crate) struct Vector {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) fork: String,
    pub(crate) network_config: String,
    pub(crate) body: Box<RawValue>,
    pub(crate) signing_root: SigningRoot,
}

/// A request that a real client made.
#[derive(Deserialize)]
pub(crate) struct Captured {
    pub(crate) source: String,
    pub(crate) body: Box<RawValue>,
}

fn lines<T: for<'de> Deserialize<'de>>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The vectors in the repository: four of each type and fork.
pub(crate) fn fixtures() -> Vec<Vector> {
    lines(Path::new("fixtures/signing-roots.jsonl"))
}

/// The whole suite, from the directory `VECTORS` or from beside the repository.
pub(crate) fn full_suite() -> Option<Vec<Vector>> {
    let directory = std::env::var_os("VECTORS").map_or("../shared/vectors".into(), PathBuf::from);
    let path = directory.join("signing-roots.jsonl");
    path.exists().then(|| lines(&path))
}

/// The captured requests of two real clients.
pub(crate) fn captured() -> Vec<Captured> {
    lines(Path::new("fixtures/captured-requests.jsonl"))
}

/// The network that a vector or a capture names.
pub(crate) fn network(name: &str) -> Network {
    if let Some(network) = Network::builtin(name) {
        return network;
    }
    // (previous) altair, bellatrix, capella, then deneb, electra and fulu
    let epochs = match name {
        "devnet" => {
            return Network::from_config_file(Path::new("fixtures/networks/devnet.yaml")).unwrap();
        }
        "capture" => "0 0 0",
        "capture-staged-forks" => "1 2 never",
        "capture-vero-electra-fulu" => "0 0 0 0 0 2",
        other => panic!("no network {other}"),
    };
    let suffix = if name == "capture-vero-electra-fulu" { "f7f7" } else { "0000" };
    let mut yaml = format!(
        "PRESET_BASE: mainnet\nSECONDS_PER_SLOT: 2\nGENESIS_FORK_VERSION: 0x0000{suffix}\n"
    );
    let forks = ["ALTAIR", "BELLATRIX", "CAPELLA", "DENEB", "ELECTRA", "FULU"];
    for (number, (fork, epoch)) in forks.iter().zip(epochs.split(' ')).enumerate() {
        yaml += &format!("{fork}_FORK_VERSION: 0x0{}00{suffix}\n", number + 1);
        if parse_uint64(epoch).is_ok() {
            yaml += &format!("{fork}_FORK_EPOCH: {epoch}\n");
        }
    }
    Network::from_config_yaml(&yaml).unwrap()
}

/// Vectors by network and in order.
pub(crate) fn by_network(vectors: Vec<Vector>) -> BTreeMap<String, Vec<Vector>> {
    let mut networks = BTreeMap::<_, Vec<_>>::new();
    for vector in vectors {
        networks.entry(vector.network_config.clone()).or_default().push(vector);
    }
    networks
}
