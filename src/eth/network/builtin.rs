//! The networks that are known by name.
//!
//! Sources: `config.yaml` of eth-clients/{mainnet,sepolia,hoodi} and gnosischain/configs, with the
//! genesis that their beacon chains report.

use std::time::Duration;

use super::{ForkName, Network, Preset, ScheduledFork};
use crate::eth::types::{Epoch, Root, Version};

/// The names that [`Network::builtin`] knows.
pub const BUILTIN_NAMES: [&str; 5] = ["mainnet", "sepolia", "hoodi", "gnosis", "chiado"];

struct Builtin {
    name: &'static str,
    preset: Preset,
    seconds_per_slot: u64,
    genesis_time: u64,
    genesis_validators_root: &'static str,
    /// Versions from phase0 on, without a gap, and epochs; `None` for a fork without a date.
    forks: &'static [(u32, Option<u64>)],
}

const BUILTIN: [Builtin; 5] = [
    Builtin {
        name: "mainnet",
        preset: Preset::MAINNET,
        seconds_per_slot: 12,
        genesis_time: 1_606_824_023,
        genesis_validators_root: "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95",
        forks: &[
            (0x0000_0000, Some(0)),
            (0x0100_0000, Some(74_240)),
            (0x0200_0000, Some(144_896)),
            (0x0300_0000, Some(194_048)),
            (0x0400_0000, Some(269_568)),
            (0x0500_0000, Some(364_032)),
            (0x0600_0000, Some(411_392)),
            (0x0700_0000, None),
        ],
    },
    Builtin {
        name: "sepolia",
        preset: Preset::MAINNET,
        seconds_per_slot: 12,
        genesis_time: 1_655_733_600,
        genesis_validators_root: "0xd8ea171f3c94aea21ebc42a1ed61052acf3f9209c00e4efbaaddac09ed9b8078",
        forks: &[
            (0x9000_0069, Some(0)),
            (0x9000_0070, Some(50)),
            (0x9000_0071, Some(100)),
            (0x9000_0072, Some(56_832)),
            (0x9000_0073, Some(132_608)),
            (0x9000_0074, Some(222_464)),
            (0x9000_0075, Some(272_640)),
            (0x9000_0076, None),
        ],
    },
    Builtin {
        name: "hoodi",
        preset: Preset::MAINNET,
        seconds_per_slot: 12,
        genesis_time: 1_742_213_400,
        genesis_validators_root: "0x212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f",
        forks: &[
            (0x1000_0910, Some(0)),
            (0x2000_0910, Some(0)),
            (0x3000_0910, Some(0)),
            (0x4000_0910, Some(0)),
            (0x5000_0910, Some(0)),
            (0x6000_0910, Some(2_048)),
            (0x7000_0910, Some(50_688)),
            (0x8000_0910, None),
        ],
    },
    Builtin {
        name: "gnosis",
        preset: Preset::GNOSIS,
        seconds_per_slot: 5,
        genesis_time: 1_638_993_340,
        genesis_validators_root: "0xf5dcb5564e829aab27264b9becd5dfaa017085611224cb3036f573368dbb9d47",
        forks: &[
            (0x0000_0064, Some(0)),
            (0x0100_0064, Some(512)),
            (0x0200_0064, Some(385_536)),
            (0x0300_0064, Some(648_704)),
            (0x0400_0064, Some(889_856)),
            (0x0500_0064, Some(1_337_856)),
            (0x0600_0064, Some(1_714_688)),
            (0x0700_0064, None),
        ],
    },
    Builtin {
        name: "chiado",
        preset: Preset::GNOSIS,
        seconds_per_slot: 5,
        genesis_time: 1_665_396_300, // MIN_GENESIS_TIME + GENESIS_DELAY
        genesis_validators_root: "0x9d642dac73058fbf39c0ae41ab1e34e4d889043cb199851ded7095bc99eb4c1e",
        forks: &[
            (0x0000_006f, Some(0)),
            (0x0100_006f, Some(90)),
            (0x0200_006f, Some(180)),
            (0x0300_006f, Some(244_224)),
            (0x0400_006f, Some(516_608)),
            (0x0500_006f, Some(948_224)),
            (0x0600_006f, Some(1_353_216)),
        ],
    },
];

impl Network {
    /// The network of this name: one of [`BUILTIN_NAMES`].
    pub fn builtin(name: &str) -> Option<Self> {
        BUILTIN.iter().find(|known| known.name == name).map(Builtin::network)
    }
}

impl Builtin {
    fn network(&self) -> Network {
        let forks = ForkName::ALL.into_iter().zip(self.forks);
        let forks = forks.map(|(name, (version, epoch))| ScheduledFork {
            name,
            version: Version(version.to_be_bytes()),
            epoch: epoch.map(Epoch),
        });
        let slot_duration = Duration::from_secs(self.seconds_per_slot);
        let root: Root = self.genesis_validators_root.parse().expect("a root of the table above");
        Network::new(self.name.to_owned(), self.preset, slot_duration, forks.collect())
            .expect("a schedule of the table above")
            .with_genesis(self.genesis_time, root)
    }
}
