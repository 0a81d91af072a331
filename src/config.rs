//! The configuration: one TOML file, with the environment above it and the command line above both.
//!
//! The file becomes a [`Config`], whose values are checked and whose paths are absolute: relative
//! ones in the file start at the file's directory, those of a flag or a variable at the working
//! directory. Every key that has one value can be set as `PORTCULLIS_<SECTION>_<FIELD>`. Unknown
//! keys and unknown variables are refused, and all that is wrong is reported at once. Secrets are
//! given as paths of files, never as values.
//!
//! `fixtures/config/full.toml` shows every key with its default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use crate::clients::{ClientSettings, Settings, TlsSettings};
use crate::limits::Limits;
use crate::response::playbook::Playbook;

pub use self::admin::{AdminConfig, CredentialConfig};
pub use self::args::{RunArgs, Web3SignerArgs, in_place_of};
pub use self::document::Position;
pub use self::effective::{Origin, Setting};
pub use self::events::EventsConfig;
pub use self::groups::{KeyGroup, KeyGroups, KeySelection};
pub use self::listeners::{EntranceConfig, ListenerConfig};
pub use self::notes::Note;
pub use self::policy::PolicyConfig;
pub use self::problem::{ConfigError, Place, Problem, ProblemKind};
pub use self::tracing::TracingConfig;
pub use self::upstream::{REPLICAS_MAX, UpstreamConfig, UpstreamTls, UpstreamsConfig, is_https};
pub use self::verify::{VerifyConfig, VerifyMode};

mod admin;
mod args;
mod audit;
mod check;
mod clients;
mod document;
mod effective;
mod events;
mod fields;
mod groups;
mod hex;
mod listeners;
mod load;
mod notes;
pub mod policy;
mod problem;
mod raw;
mod redact;
mod response;
mod tls;
mod tracing;
mod upstream;
mod verify;

#[cfg(test)]
mod tests;

/// The exit code of the process when its configuration is wrong: `EX_USAGE` of sysexits.h.
pub const EXIT_CODE: u8 = 64;

/// What the gate runs by.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[network]`: the chain that is signed for.
    pub network: NetworkConfig,
    /// `[listen]`: where validator clients connect.
    pub listen: ListenConfig,
    /// `[[listeners]]`: more places where they connect.
    pub listeners: Vec<ListenerConfig>,
    /// `[tls]`: the gate's certificate, and whose certificates it accepts.
    pub tls: Option<TlsSettings>,
    /// `[[clients]]`: who may ask.
    pub clients: Vec<ClientSettings>,
    /// `[metrics]`: where Prometheus connects.
    pub metrics: MetricsConfig,
    /// `[upstream]`, `[[upstreams]]`: the signers behind the gate.
    pub upstreams: UpstreamsConfig,
    /// `[verify]`: which signatures are checked before they are released.
    pub verify: VerifyConfig,
    /// `[slashing]`: the slashing store and its witness.
    pub slashing: SlashingConfig,
    /// `[[groups]]`: keys that may do more than attest and propose.
    pub groups: KeyGroups,
    /// `[audit]`: the log of decisions and actions; `None` where there is none.
    pub audit: Option<crate::audit::Settings>,
    /// `[policy]`: what is judged by.
    pub policy: PolicyConfig,
    /// `[response]`: what is bound to a verdict.
    pub response: Playbook,
    /// `[admin]`: where people and their scripts reach the gate.
    pub admin: AdminConfig,
    /// `[events]`: who is told of what happened.
    pub events: EventsConfig,
    /// `[limits]`: the bounds of the process.
    pub limits: Limits,
    /// `[log]`: what is logged, and how.
    pub log: LogConfig,
    /// `[tracing]`: where the spans of sampled requests go.
    pub tracing: TracingConfig,
    /// `[web3signer]`: where we answer like Web3Signer against our better judgement.
    pub web3signer: Web3SignerConfig,
    origins: BTreeMap<String, Origin>,
}

/// The chain that is signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Where its constants come from.
    pub source: NetworkSource,
    /// Fork name (`fulu`) to the epoch of its activation, where that differs from the source's.
    pub fork_epochs: BTreeMap<String, u64>,
}

/// Where a network's constants come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkSource {
    /// A network that is built in, by its name: one of [`NETWORKS`].
    Builtin(String),
    /// The consensus layer's standard `config.yaml`, and the two facts about genesis that are not
    /// in it.
    File {
        /// The file.
        path: PathBuf,
        /// The time of slot 0, in seconds of Unix time.
        genesis_time: u64,
        /// The root that every domain is computed from.
        genesis_validators_root: [u8; 32],
    },
}

/// The built-in networks.
pub const NETWORKS: [&str; 5] = ["mainnet", "sepolia", "hoodi", "gnosis", "chiado"];

/// Where validator clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// The address of the signing API.
    pub address: SocketAddr,
    /// Before every path, as a proxy in front may need it: empty, or `/` and more.
    pub path_prefix: String,
    /// The `Host` headers that are served; `*` means any.
    pub host_allowlist: Vec<String>,
    /// Threads that serve requests; `None` (0 in the file) means one for each core.
    pub workers: Option<NonZeroUsize>,
    /// How its connections are known.
    pub entrance: EntranceConfig,
}

impl Config {
    /// What clients are told apart by.
    pub fn client_settings(&self) -> Settings {
        Settings { tls: self.tls.clone(), clients: self.clients.clone() }
    }
}

impl ListenConfig {
    /// The number of threads that serve requests.
    pub fn worker_count(&self) -> NonZeroUsize {
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers.unwrap_or_else(cores)
    }
}

/// Where Prometheus connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// The address of `/metrics` and `/healthz`; `None` (`off` in the file) for no listener.
    pub address: Option<SocketAddr>,
}

/// The slashing store and its witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlashingConfig {
    /// The directory of the store, which `portcullis slashing init` creates.
    pub directory: PathBuf,
    /// The file that says which copy of the store is the live one. Outside the directory, best on
    /// another disk.
    pub witness: PathBuf,
    /// Names the set of keys in the witness: one name for each store on a network.
    pub key_set: String,
    /// An attestation whose target lies this many epochs back or more is refused: none includes it
    /// any more, and only a lost or forged clock asks for it.
    pub min_target_age_epochs: u64,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// A level, or a filter in the syntax of `tracing_subscriber::EnvFilter`; it is valid.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Plain, level: "info".to_owned() }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Plain,
    /// One JSON object a line.
    Json,
    /// One JSON object a line, with the names of the Elastic Common Schema.
    Ecs,
}

/// Where we answer like Web3Signer against our better judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web3SignerConfig {
    /// Answer a signing root that does not match, and a missing object or field, with 500 as
    /// Web3Signer does, in place of 400.
    pub compat_mismatch_500: bool,
}
