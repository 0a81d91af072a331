//! From what was written to what holds: every section checked, every path made absolute.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

use tracing_subscriber::EnvFilter;

use super::document::Document;
use super::effective::Origin;
use super::listeners::{RawEntrance, Surroundings};
use super::problem::{Place, Problem, ProblemKind};
use super::raw::{RawConfig, RawListen, RawLog, RawNetwork, RawSlashing};
use super::{
    Config, ListenConfig, LogConfig, LogFormat, MetricsConfig, NETWORKS, NetworkConfig,
    NetworkSource, SlashingConfig, Web3SignerConfig, admin, audit, clients, events, groups, hex,
    listeners, policy, response, tls, tracing, upstream, verify,
};
use crate::limits::{Limits, LimitsError};

/// The forks that may be given another epoch. Phase0 is where a chain begins.
const FORKS: [&str; 7] = ["altair", "bellatrix", "capella", "deneb", "electra", "fulu", "gloas"];

/// Collects what is wrong, so that one run reports all of it.
pub(super) struct Checker<'a> {
    file: &'a Path,
    document: &'a Document<'a>,
    overridden: BTreeMap<String, Place>,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(
        file: &'a Path,
        document: &'a Document<'a>,
        overridden: BTreeMap<String, Place>,
        problems: Vec<Problem>,
    ) -> Self {
        Self { file, document, overridden, problems }
    }

    pub(super) fn wrong(&mut self, path: &str, kind: ProblemKind) {
        let in_file = || Place::File(self.file.to_owned(), self.document.position_of(path));
        let place = self.overridden.get(path).cloned().unwrap_or_else(in_file);
        self.problems.push(Problem { place, path: path.to_owned(), kind });
    }

    pub(super) fn valid<T>(&mut self, path: &str, result: Result<T, ProblemKind>) -> Option<T> {
        result.map_err(|kind| self.wrong(path, kind)).ok()
    }

    pub(super) fn required<T>(&mut self, path: &str, value: Option<T>) -> Option<T> {
        self.valid(path, value.ok_or(ProblemKind::Missing))
    }

    pub(super) fn range(
        &mut self,
        path: &str,
        value: u64,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let (min, max) = (*range.start(), *range.end());
        let wrong = ProblemKind::OutOfRange { value, min, max };
        self.valid(path, range.contains(&value).then_some(value).ok_or(wrong))
    }

    /// A name that may become a label, a key of the witness or a part of a file's name.
    pub(super) fn name(&mut self, path: &str, name: String) -> Option<String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !name.is_empty() && name.bytes().all(plain) {
            return Some(name);
        }
        self.wrong(path, ProblemKind::NotAName { value: name });
        None
    }

    /// The absolute path: from the file's directory, or from the working directory when the value
    /// did not come from the file.
    pub(super) fn resolve(&self, path: &str, value: &str) -> PathBuf {
        let base = match self.overridden.contains_key(path) {
            true => Path::new(""),
            false => self.file.parent().unwrap_or(Path::new("")),
        };
        real(&base.join(value))
    }

    pub(super) fn path(&mut self, path: &str, value: Option<String>) -> Option<PathBuf> {
        let value = self.required(path, value)?;
        if value.is_empty() {
            self.wrong(path, ProblemKind::Empty);
            return None;
        }
        Some(self.resolve(path, &value))
    }

    pub(super) fn address(&mut self, path: &str, value: &str) -> Option<SocketAddr> {
        let wrong = |_| ProblemKind::NotAnAddress { value: value.to_owned() };
        self.valid(path, value.parse().map_err(wrong))
    }
}

/// The absolute path with the links of all that exists of it resolved, so that one place has one
/// name and "inside" can be told.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                resolved.push(component);
                resolved = resolved.canonicalize().unwrap_or(resolved);
            }
        }
    }
    resolved
}

/// # Errors
/// Everything that is wrong.
pub(super) fn config(
    mut checker: Checker<'_>,
    raw: RawConfig,
    origins: BTreeMap<String, Origin>,
) -> Result<Config, Vec<Problem>> {
    let limits = check_limits(&mut checker, raw.limits);
    let network = network(&mut checker, raw.network);
    let tls_problems = checker.problems.len();
    let tls = tls::check(&mut checker, raw.tls);
    let tls_is_wrong = checker.problems.len() > tls_problems;
    let clients = clients::check(&mut checker, raw.clients);
    let around = Surroundings { tls: tls.as_ref(), tls_is_wrong, clients: &clients };
    let listen = listen(&mut checker, raw.listen, &around);
    let first = listen.as_ref().map(|listen| listen.address);
    let listeners = listeners::check(&mut checker, raw.listeners, first, &around);
    let metrics = metrics(&mut checker, raw.metrics.address.as_deref());
    let upstreams = upstream::check(&mut checker, raw.upstream, raw.upstreams, &limits);
    let verify = verify::check(&mut checker, raw.verify);
    let slashing = slashing(&mut checker, raw.slashing);
    let directory = slashing.as_ref().map(|slashing| slashing.directory.as_path());
    let audit = audit::check(&mut checker, raw.audit, directory);
    let groups = groups::check(&mut checker, raw.groups);
    let policy = policy::check(&mut checker, raw.policy);
    let response = response::check(&mut checker, raw.response);
    let admin = admin::check(&mut checker, raw.admin);
    let events = events::check(&mut checker, raw.events);
    let log = log(&mut checker, raw.log);
    let tracing = tracing::check(&mut checker, raw.tracing);
    let web3signer = Web3SignerConfig {
        compat_mismatch_500: raw.web3signer.compat_mismatch_500.unwrap_or(false),
    };
    // A section that is missing has its problems in the list.
    let whole = move || {
        Some(Config {
            network: network?,
            listen: listen?,
            listeners,
            tls,
            clients,
            metrics: metrics?,
            upstreams: upstreams?,
            verify: verify?,
            slashing: slashing?,
            audit: audit?,
            groups,
            policy: policy?,
            response: response?,
            admin,
            events: events?,
            limits,
            log: log?,
            tracing,
            web3signer,
            origins,
        })
    };
    match whole() {
        Some(config) if checker.problems.is_empty() => Ok(config),
        Some(_) | None => Err(checker.problems),
    }
}

fn check_limits(checker: &mut Checker<'_>, limits: Limits) -> Limits {
    for error in limits.check() {
        checker
            .wrong(&format!("limits.{}", LimitsError::field(&error)), ProblemKind::Limits(error));
    }
    limits
}

fn network(checker: &mut Checker<'_>, raw: RawNetwork) -> Option<NetworkConfig> {
    for fork in raw.fork_epochs.keys() {
        if !FORKS.contains(&fork.as_str()) {
            let known = "altair, bellatrix, capella, deneb, electra, fulu, gloas";
            let wrong = ProblemKind::NotOneOf { value: fork.clone(), known };
            checker.wrong(&format!("network.fork_epochs.{fork}"), wrong);
        }
    }
    let source = match (raw.name, raw.config) {
        (Some(_), Some(_)) => {
            checker.wrong("network.config", ProblemKind::TwoNetworks);
            None
        }
        (None, None) => {
            checker.wrong("network.name", ProblemKind::NoNetwork);
            None
        }
        (Some(name), None) => {
            for (field, set) in [
                ("network.genesis_time", raw.genesis_time.is_some()),
                ("network.genesis_validators_root", raw.genesis_validators_root.is_some()),
            ] {
                if set {
                    checker.wrong(field, ProblemKind::OfCustomNetwork);
                }
            }
            if !NETWORKS.contains(&name.as_str()) {
                let known = "mainnet, sepolia, hoodi, gnosis, chiado";
                checker.wrong("network.name", ProblemKind::NotOneOf { value: name, known });
                return None;
            }
            Some(NetworkSource::Builtin(name))
        }
        (None, Some(config)) => {
            let path = checker.path("network.config", Some(config));
            let genesis_time = checker.required("network.genesis_time", raw.genesis_time);
            let root_path = "network.genesis_validators_root";
            let root = checker.required(root_path, raw.genesis_validators_root);
            let root = root.and_then(|root| checker.valid(root_path, hex::parse(&root)));
            Some(NetworkSource::File {
                path: path?,
                genesis_time: genesis_time?,
                genesis_validators_root: root?,
            })
        }
    };
    Some(NetworkConfig { source: source?, fork_epochs: raw.fork_epochs })
}

fn listen(
    checker: &mut Checker<'_>,
    raw: RawListen,
    around: &Surroundings<'_>,
) -> Option<ListenConfig> {
    let address = raw.address.unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let address = checker.address("listen.address", &address);
    let path_prefix = raw.path_prefix.unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let is_prefix = path_prefix.is_empty()
        || (path_prefix.starts_with('/')
            && !path_prefix.ends_with('/')
            && !path_prefix.contains("//")
            && path_prefix.bytes().all(plain));
    if !is_prefix {
        let value = path_prefix.clone();
        checker.wrong("listen.path_prefix", ProblemKind::NotAPathPrefix { value });
    }
    let host_allowlist = raw.host_allowlist.unwrap_or_else(|| vec!["*".to_owned()]);
    if host_allowlist.is_empty() || host_allowlist.iter().any(String::is_empty) {
        checker.wrong("listen.host_allowlist", ProblemKind::Empty);
    }
    let workers = checker.range("listen.workers", raw.workers.unwrap_or(0), 0..=1024);
    let workers = NonZeroUsize::new(usize::try_from(workers?).ok()?);
    let entrance = RawEntrance {
        client: raw.client,
        tls: raw.tls,
        client_auth: None, // that of [tls]
        proxy_protocol_from: raw.proxy_protocol_from,
    };
    let entrance = listeners::check_entrance(checker, "listen", entrance, around);
    Some(ListenConfig { address: address?, path_prefix, host_allowlist, workers, entrance })
}

fn metrics(checker: &mut Checker<'_>, address: Option<&str>) -> Option<MetricsConfig> {
    let address = match address.unwrap_or("127.0.0.1:9001") {
        "off" => None,
        address => Some(checker.address("metrics.address", address)?),
    };
    Some(MetricsConfig { address })
}

fn slashing(checker: &mut Checker<'_>, raw: RawSlashing) -> Option<SlashingConfig> {
    let directory = checker.path("slashing.directory", raw.directory);
    let witness = checker.path("slashing.witness", raw.witness);
    if let (Some(directory), Some(witness)) = (&directory, &witness)
        && witness.starts_with(directory)
    {
        let (witness, directory) = (witness.clone(), directory.clone());
        let wrong = ProblemKind::WitnessInsideDirectory { witness, directory };
        checker.wrong("slashing.witness", wrong);
    }
    let key_set = raw.key_set.unwrap_or_else(|| "default".to_owned());
    let key_set = checker.name("slashing.key_set", key_set);
    let age = raw.min_target_age_epochs.unwrap_or(2);
    let age = checker.range("slashing.min_target_age_epochs", age, 1..=1_000_000);
    Some(SlashingConfig {
        directory: directory?,
        witness: witness?,
        key_set: key_set?,
        min_target_age_epochs: age?,
    })
}

fn log(checker: &mut Checker<'_>, raw: RawLog) -> Option<LogConfig> {
    let default = LogConfig::default();
    let format = match raw.format.as_deref() {
        None => Some(default.format),
        Some("plain") => Some(LogFormat::Plain),
        Some("json") => Some(LogFormat::Json),
        Some("ecs") => Some(LogFormat::Ecs),
        Some(value) => {
            let wrong =
                ProblemKind::NotOneOf { value: value.to_owned(), known: "plain, json, ecs" };
            checker.wrong("log.format", wrong);
            None
        }
    };
    let level = raw.level.unwrap_or(default.level);
    let filter = EnvFilter::builder().parse(&level);
    if level.is_empty() || filter.is_err() {
        checker.wrong("log.level", ProblemKind::NotALogFilter { value: level });
        return None;
    }
    Some(LogConfig { format: format?, level })
}
