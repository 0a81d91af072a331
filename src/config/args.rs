//! The arguments of `portcullis run` and `portcullis check-config`: which file, and the few keys
//! that are worth setting by hand.

use std::path::PathBuf;

use clap::Args;

pub use self::web3signer::{Web3SignerArgs, in_place_of};

pub(super) mod web3signer;

/// A flag wins over the environment (`PORTCULLIS_<SECTION>_<FIELD>`), which wins over the file.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where validator clients connect (listen.address)
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// Where Prometheus connects, or `off` (metrics.address)
    #[arg(long, value_name = "IP:PORT")]
    pub metrics: Option<String>,
    /// The signer behind the gate (upstream.url)
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// The built-in network: mainnet, sepolia, hoodi, gnosis or chiado (network.name)
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// The directory of the slashing store (slashing.directory)
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,
    /// `plain`, `json` or `ecs` (log.format)
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// `info`, or a filter such as `info,portcullis::upstream=debug` (log.level)
    #[arg(long, value_name = "FILTER")]
    pub log_level: Option<String>,
    /// Flags that mean what they mean at Web3Signer
    #[command(flatten)]
    pub web3signer: Web3SignerArgs,
}

impl RunArgs {
    /// The keys set by flags: path of the key, the flag, the value.
    pub(super) fn overrides(&self) -> Vec<(&'static str, &'static str, &str)> {
        [
            ("listen.address", "--listen", &self.listen),
            ("metrics.address", "--metrics", &self.metrics),
            ("upstream.url", "--upstream", &self.upstream),
            ("network.name", "--network", &self.network),
            ("slashing.directory", "--data-dir", &self.data_dir),
            ("log.format", "--log-format", &self.log_format),
            ("log.level", "--log-level", &self.log_level),
        ]
        .into_iter()
        .filter_map(|(path, flag, value)| Some((path, flag, value.as_deref()?)))
        .collect()
    }
}
