//! Networks: the preset, the genesis and the fork schedule.

use std::time::Duration;

use super::types::{Epoch, Root, Slot, Version};

mod builtin;
mod config_yaml;
mod due;
mod fork;

pub use builtin::BUILTIN_NAMES;
pub use due::{DueBps, DueTimes};
pub use fork::{ForkName, ScheduledFork, UnknownFork};

/// The compile-time constants of the specification that roots depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The name, as in `PRESET_BASE`.
    pub name: &'static str,
    /// `SLOTS_PER_EPOCH`.
    pub slots_per_epoch: u64,
    /// `MAX_VALIDATORS_PER_COMMITTEE`.
    pub max_validators_per_committee: usize,
    /// `MAX_COMMITTEES_PER_SLOT`.
    pub max_committees_per_slot: usize,
    /// `SYNC_COMMITTEE_SIZE`.
    pub sync_committee_size: usize,
    /// `EPOCHS_PER_SYNC_COMMITTEE_PERIOD`.
    pub epochs_per_sync_committee_period: u64,
}

impl Preset {
    /// Ethereum's preset.
    pub const MAINNET: Self = Self {
        name: "mainnet",
        slots_per_epoch: 32,
        max_validators_per_committee: 2048,
        max_committees_per_slot: 64,
        sync_committee_size: 512,
        epochs_per_sync_committee_period: 256,
    };
    /// The small preset of test networks.
    pub const MINIMAL: Self = Self {
        name: "minimal",
        slots_per_epoch: 8,
        max_validators_per_committee: 2048,
        max_committees_per_slot: 4,
        sync_committee_size: 32,
        epochs_per_sync_committee_period: 8,
    };
    /// Gnosis Chain's preset.
    pub const GNOSIS: Self = Self {
        name: "gnosis",
        slots_per_epoch: 16,
        max_validators_per_committee: 2048,
        max_committees_per_slot: 64,
        sync_committee_size: 512,
        epochs_per_sync_committee_period: 512,
    };
    /// `SYNC_COMMITTEE_SUBNET_COUNT`, the same in every preset.
    pub const SYNC_COMMITTEE_SUBNET_COUNT: usize = 4;

    /// The preset of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::MAINNET, Self::MINIMAL, Self::GNOSIS].into_iter().find(|it| it.name == name)
    }

    /// The members of a sync subcommittee.
    pub const fn sync_subcommittee_size(&self) -> usize {
        self.sync_committee_size / Self::SYNC_COMMITTEE_SUBNET_COUNT
    }
}

/// How a network began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genesis {
    /// When slot 0 began, in seconds since 1970.
    pub time: u64,
    /// The root of its first validators, which tells networks apart.
    pub validators_root: Root,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    name: String,
    preset: Preset,
    genesis: Option<Genesis>,
    slot_duration: Duration,
    due_times: DueTimes,
    /// In the order of the forks, beginning with phase0; epochs do not decrease.
    forks: Vec<ScheduledFork>,
}

/// Why a network cannot be used: whoever configures the gate has to mend it.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The configuration is not YAML, or not of the standard form.
    #[error("the network configuration cannot be read")]
    Yaml(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The configuration file cannot be read.
    #[error("the network configuration {path} cannot be read")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key of the configuration is missing.
    #[error("{key}: missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// A key of the configuration has a value of another kind.
    #[error("{key}: expected {expected}, found {found:?}")]
    Value {
        /// The key.
        key: String,
        /// What is allowed.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A fork would begin before the fork that it follows.
    #[error("{fork} cannot begin before {earlier}, which it follows")]
    ForkOrder {
        /// The fork.
        fork: ForkName,
        /// The fork before it.
        earlier: ForkName,
    },
    /// Phase0 begins with the network.
    #[error("phase0 begins at epoch 0")]
    Phase0Epoch,
    /// A fork is given an epoch, but the network has no version for it.
    #[error("no version of {fork} is known for {network}")]
    UnknownFork {
        /// The fork.
        fork: ForkName,
        /// The network.
        network: String,
    },
}

impl Network {
    /// A network from its parts, `forks` in the order of [`ForkName`].
    fn new(
        name: String,
        preset: Preset,
        slot_duration: Duration,
        forks: Vec<ScheduledFork>,
    ) -> Result<Self, NetworkError> {
        let due_times = DueTimes::USUAL;
        let network = Self { name, preset, genesis: None, slot_duration, due_times, forks };
        network.check_schedule()?;
        Ok(network)
    }

    fn check_schedule(&self) -> Result<(), NetworkError> {
        let first = self.forks.first().map(|fork| (fork.name, fork.epoch));
        if first != Some((ForkName::Phase0, Some(Epoch(0)))) {
            return Err(NetworkError::Phase0Epoch);
        }
        for pair in self.forks.windows(2) {
            let (earlier, fork) = (&pair[0], &pair[1]);
            let in_order = match (earlier.epoch, fork.epoch) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(before), Some(after)) => before <= after,
            };
            if !in_order || earlier.name >= fork.name {
                let (fork, earlier) = (fork.name, earlier.name);
                return Err(NetworkError::ForkOrder { fork, earlier });
            }
        }
        Ok(())
    }

    /// This network, begun so. A configuration file does not say it.
    #[must_use]
    pub fn with_genesis(mut self, time: u64, validators_root: Root) -> Self {
        self.genesis = Some(Genesis { time, validators_root });
        self
    }

    /// This network with duties that are due at other times.
    #[must_use]
    pub fn with_due_times(mut self, due_times: DueTimes) -> Self {
        self.due_times = due_times;
        self
    }

    /// This network with forks at other epochs.
    pub fn with_fork_epochs(
        mut self,
        epochs: impl IntoIterator<Item = (ForkName, Epoch)>,
    ) -> Result<Self, NetworkError> {
        for (name, epoch) in epochs {
            let Some(fork) = self.forks.iter_mut().find(|fork| fork.name == name) else {
                return Err(NetworkError::UnknownFork { fork: name, network: self.name });
            };
            fork.epoch = (epoch != Epoch::FAR_FUTURE).then_some(epoch);
        }
        self.check_schedule()?;
        Ok(self)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The preset.
    pub fn preset(&self) -> &Preset {
        &self.preset
    }

    /// How it began; `None` if it was read from a configuration file and nobody has said.
    pub fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// How long a slot is.
    pub fn slot_duration(&self) -> Duration {
        self.slot_duration
    }

    /// Every fork that has a version, those without a date included, in order.
    pub fn forks(&self) -> &[ScheduledFork] {
        &self.forks
    }

    /// The epoch of a slot.
    pub fn epoch(&self, slot: Slot) -> Epoch {
        Epoch(slot.0 / self.preset.slots_per_epoch)
    }

    /// The first slot of an epoch; the last slot there is, if there is none.
    pub fn first_slot(&self, epoch: Epoch) -> Slot {
        Slot(epoch.0.saturating_mul(self.preset.slots_per_epoch))
    }

    /// The slot at a time since 1970; `None` before genesis, or if the genesis is not known.
    pub fn slot_at(&self, since_1970: Duration) -> Option<Slot> {
        let genesis = Duration::from_secs(self.genesis?.time);
        let elapsed = since_1970.checked_sub(genesis)?;
        let slot = elapsed.as_nanos() / self.slot_duration.as_nanos();
        Some(Slot(u64::try_from(slot).unwrap_or(u64::MAX)))
    }

    /// When a slot begins, since 1970; `None` if the genesis is not known or the time beyond
    /// counting.
    pub fn slot_start(&self, slot: Slot) -> Option<Duration> {
        let millis = u64::try_from(self.slot_duration.as_millis()).ok()?.checked_mul(slot.0)?;
        Duration::from_secs(self.genesis?.time).checked_add(Duration::from_millis(millis))
    }

    /// The fork of an epoch.
    pub fn fork_at(&self, epoch: Epoch) -> ForkName {
        self.scheduled_at(epoch).name
    }

    /// The fork version of an epoch.
    pub fn version_at(&self, epoch: Epoch) -> Version {
        self.scheduled_at(epoch).version
    }

    fn scheduled_at(&self, epoch: Epoch) -> &ScheduledFork {
        let begun = |fork: &&ScheduledFork| fork.epoch.is_some_and(|start| start <= epoch);
        self.forks.iter().rev().find(begun).expect("phase0 begins at epoch 0")
    }

    /// The version of a fork, if the network has one.
    pub fn version_of(&self, name: ForkName) -> Option<Version> {
        self.forks.iter().find(|fork| fork.name == name).map(|fork| fork.version)
    }

    /// The epoch of a fork, if it has a date.
    pub fn epoch_of(&self, name: ForkName) -> Option<Epoch> {
        self.forks.iter().find(|fork| fork.name == name)?.epoch
    }

    /// `GENESIS_FORK_VERSION`.
    pub fn genesis_fork_version(&self) -> Version {
        self.forks[0].version
    }

    /// Whether a version belongs to this network, of a fork with a date or without.
    pub fn is_known_version(&self, version: Version) -> bool {
        self.forks.iter().any(|fork| fork.version == version)
    }
}

#[cfg(test)]
mod tests;
