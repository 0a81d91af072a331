//! Networks from the specification's `config.yaml`.
//!
//! Values are read as the text that stands there: `0x0000f7f7` is a version, not a number, whether
//! it is quoted or not. Keys that roots and slots do not depend on are ignored.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::due::BASIS_POINTS;
use super::{DueBps, DueTimes, ForkName, Network, NetworkError, Preset, ScheduledFork};
use crate::eth::types::{Epoch, parse_uint64};

/// The keys that are read, each as text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct ConfigYaml {
    config_name: Option<String>,
    preset_base: Option<String>,
    seconds_per_slot: Option<String>,
    slot_duration_ms: Option<String>,
    genesis_fork_version: Option<String>,
    altair_fork_version: Option<String>,
    altair_fork_epoch: Option<String>,
    bellatrix_fork_version: Option<String>,
    bellatrix_fork_epoch: Option<String>,
    capella_fork_version: Option<String>,
    capella_fork_epoch: Option<String>,
    deneb_fork_version: Option<String>,
    deneb_fork_epoch: Option<String>,
    electra_fork_version: Option<String>,
    electra_fork_epoch: Option<String>,
    fulu_fork_version: Option<String>,
    fulu_fork_epoch: Option<String>,
    gloas_fork_version: Option<String>,
    gloas_fork_epoch: Option<String>,
    heze_fork_version: Option<String>,
    heze_fork_epoch: Option<String>,
    attestation_due_bps: Option<String>,
    attestation_due_bps_gloas: Option<String>,
    aggregate_due_bps: Option<String>,
    aggregate_due_bps_gloas: Option<String>,
    sync_message_due_bps: Option<String>,
    sync_message_due_bps_gloas: Option<String>,
    contribution_due_bps: Option<String>,
    contribution_due_bps_gloas: Option<String>,
}

impl Network {
    /// Reads a network from a `config.yaml`. Its genesis is in none of them: see
    /// [`Network::with_genesis`].
    ///
    /// # Errors
    /// The file cannot be read, or what [`Network::from_config_yaml`] says.
    pub fn from_config_file(path: &Path) -> Result<Self, NetworkError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| NetworkError::File { path: path.to_owned(), source })?;
        Self::from_config_yaml(&text)
    }

    /// Reads a network from the text of a `config.yaml`.
    ///
    /// # Errors
    /// The text is not YAML; a key is missing or has a value of another kind; the forks are not in
    /// order.
    pub fn from_config_yaml(text: &str) -> Result<Self, NetworkError> {
        let config: ConfigYaml =
            serde_saphyr::from_str(text).map_err(|error| NetworkError::Yaml(Box::new(error)))?;
        let name = config.config_name.clone().unwrap_or_else(|| "unnamed".to_owned());
        let forks = config.forks()?;
        let network = Self::new(name, config.preset()?, config.slot_duration()?, forks)?;
        Ok(network.with_due_times(config.due_times()?))
    }
}

impl ConfigYaml {
    fn preset(&self) -> Result<Preset, NetworkError> {
        let name = required("PRESET_BASE", self.preset_base.as_deref())?;
        Preset::from_name(name)
            .ok_or_else(|| value("PRESET_BASE", "mainnet, minimal or gnosis", name))
    }

    /// `SLOT_DURATION_MS`, and in older configurations `SECONDS_PER_SLOT`.
    fn slot_duration(&self) -> Result<Duration, NetworkError> {
        let (key, text, unit) = match (&self.slot_duration_ms, &self.seconds_per_slot) {
            (Some(text), _) => ("SLOT_DURATION_MS", text, 1),
            (None, Some(text)) => ("SECONDS_PER_SLOT", text, 1000),
            (None, None) => {
                return Err(NetworkError::Missing { key: "SECONDS_PER_SLOT".into() });
            }
        };
        let millis = parse_uint64(text).ok().and_then(|count| count.checked_mul(unit));
        match millis {
            Some(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
            _ => Err(value(key, "a positive number", text)),
        }
    }

    /// When duties are due; the usual times where the file, being older, says nothing.
    fn due_times(&self) -> Result<DueTimes, NetworkError> {
        let before_gloas = [
            &self.attestation_due_bps,
            &self.aggregate_due_bps,
            &self.sync_message_due_bps,
            &self.contribution_due_bps,
        ];
        let from_gloas = [
            &self.attestation_due_bps_gloas,
            &self.aggregate_due_bps_gloas,
            &self.sync_message_due_bps_gloas,
            &self.contribution_due_bps_gloas,
        ];
        Ok(DueTimes {
            before_gloas: due_bps("DUE_BPS", before_gloas, DueTimes::USUAL.before_gloas)?,
            from_gloas: due_bps("DUE_BPS_GLOAS", from_gloas, DueTimes::USUAL.from_gloas)?,
        })
    }

    /// The forks that have a version; a version without an epoch is a fork without a date.
    fn forks(&self) -> Result<Vec<ScheduledFork>, NetworkError> {
        let mut forks = Vec::new();
        for name in ForkName::ALL {
            let (version, epoch) = self.fork(name);
            let prefix = if name == ForkName::Phase0 { "GENESIS" } else { name.as_upper() };
            let version_key = format!("{prefix}_FORK_VERSION");
            let epoch_key = format!("{prefix}_FORK_EPOCH");
            let epoch = match epoch {
                None => None,
                Some(text) => match parse_uint64(text) {
                    Ok(u64::MAX) => None,
                    Ok(epoch) => Some(Epoch(epoch)),
                    Err(_) => return Err(value(&epoch_key, "an epoch in decimal digits", text)),
                },
            };
            match (version, epoch) {
                (Some(text), epoch) => {
                    let bad = |_| value(&version_key, "4 bytes of hex", text);
                    forks.push(ScheduledFork { name, version: text.parse().map_err(bad)?, epoch });
                }
                (None, Some(_)) => return Err(NetworkError::Missing { key: version_key }),
                (None, None) => {}
            }
        }
        Ok(forks)
    }

    /// The version and the epoch of a fork, as they stand there.
    fn fork(&self, name: ForkName) -> (Option<&str>, Option<&str>) {
        let (version, epoch) = match name {
            ForkName::Phase0 => return (self.genesis_fork_version.as_deref(), Some("0")),
            ForkName::Altair => (&self.altair_fork_version, &self.altair_fork_epoch),
            ForkName::Bellatrix => (&self.bellatrix_fork_version, &self.bellatrix_fork_epoch),
            ForkName::Capella => (&self.capella_fork_version, &self.capella_fork_epoch),
            ForkName::Deneb => (&self.deneb_fork_version, &self.deneb_fork_epoch),
            ForkName::Electra => (&self.electra_fork_version, &self.electra_fork_epoch),
            ForkName::Fulu => (&self.fulu_fork_version, &self.fulu_fork_epoch),
            ForkName::Gloas => (&self.gloas_fork_version, &self.gloas_fork_epoch),
            ForkName::Heze => (&self.heze_fork_version, &self.heze_fork_epoch),
        };
        (version.as_deref(), epoch.as_deref())
    }
}

fn due_bps(
    suffix: &str,
    texts: [&Option<String>; 4],
    usual: DueBps,
) -> Result<DueBps, NetworkError> {
    let bps = |name: &str, text: &Option<String>, usual: u64| match text.as_deref() {
        None => Ok(usual),
        Some(text) => match parse_uint64(text) {
            Ok(bps) if bps <= BASIS_POINTS => Ok(bps),
            Ok(_) | Err(_) => {
                Err(value(&format!("{name}_{suffix}"), "at most 10000 basis points", text))
            }
        },
    };
    let [attestation, aggregate, sync_message, contribution] = texts;
    Ok(DueBps {
        attestation: bps("ATTESTATION", attestation, usual.attestation)?,
        aggregate: bps("AGGREGATE", aggregate, usual.aggregate)?,
        sync_message: bps("SYNC_MESSAGE", sync_message, usual.sync_message)?,
        contribution: bps("CONTRIBUTION", contribution, usual.contribution)?,
    })
}

fn required<'a>(key: &str, text: Option<&'a str>) -> Result<&'a str, NetworkError> {
    text.ok_or_else(|| NetworkError::Missing { key: key.to_owned() })
}

fn value(key: &str, expected: &'static str, found: &str) -> NetworkError {
    NetworkError::Value { key: key.to_owned(), expected, found: found.chars().take(80).collect() }
}
