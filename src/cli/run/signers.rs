//! The signers behind the gate, as `run` sets them up.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hyper::Uri;

use super::threads::{local_runtime, on_own_thread};
use crate::clock;
use crate::config::{Config, is_https};
use crate::sign::Gate;
use crate::upstream::client::{Client, ClientConfig, ConfigError};
use crate::upstream::discovery::{Discovery, Schedule, Watched};
use crate::upstream::replica::ReplicaClient;
use crate::upstream::replicas::Replicas;
use crate::upstream::signers::{Signers, authority, tls_of};
use crate::upstream::tls::SignerTls;
use crate::upstream::verify::Verifier;
use crate::upstream::web3signer::Web3Signer;
use crate::upstream::{Upstream, Upstreams};

/// A gate whose records are not synced forgets what it signed: it may speak to no signer but a
/// test's.
#[cfg(feature = "bench-nosync")]
pub(super) fn require_loopback(config: &Config) -> anyhow::Result<()> {
    for url in config.upstreams.sets.iter().flat_map(|set| &set.urls) {
        let host = url.host().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        anyhow::ensure!(
            address.is_ok_and(|address| address.is_loopback()),
            "this build does not sync its records (feature bench-nosync): the URL of every signer \
             must be an address of the loopback, and {host} is none; for real keys build without \
             the feature"
        );
    }
    Ok(())
}

/// Connections of one core to every signer.
pub(super) fn connect(
    config: &Config,
    signers: &Arc<Signers>,
    verifier: &Arc<Verifier>,
) -> Result<Upstreams, ConfigError> {
    let limits = &config.limits;
    let mut sets = Vec::new();
    for (set, shared) in config.upstreams.sets.iter().zip(&signers.sets) {
        let tls = shared.tls.as_ref();
        let mut clients = Vec::new();
        for (url, replica) in set.urls.iter().zip(&shared.replicas) {
            let client = Client::new(client_config(config, url, tls, set.connections_per_worker))?;
            let signer = Web3Signer::new(client, limits.upstream_answer_bytes_max);
            clients.push(ReplicaClient::new(Arc::clone(replica), signer, Arc::clone(verifier)));
        }
        sets.push(Upstream::Web3Signer(Replicas::new(Arc::clone(shared), clients)));
    }
    Ok(Upstreams::new(Arc::clone(signers), sets))
}

pub(super) fn watch_upstreams(
    config: &Config,
    gate: &Arc<Gate>,
    discovery: &Arc<Discovery>,
) -> anyhow::Result<()> {
    let schedule = Schedule {
        upcheck_interval: UPCHECK_INTERVAL,
        upcheck_timeout: UPCHECK_TIMEOUT,
        refresh_interval: config.upstreams.refresh_interval,
        key_list_timeout: KEY_LIST_TIMEOUT,
        key_list_bytes_max: config.limits.upstream_keys_bytes_max,
    };
    let config = config.clone();
    let (gate, discovery) = (Arc::clone(gate), Arc::clone(discovery));
    on_own_thread("discovery", move || async move {
        match watched(&config, discovery.signers()) {
            Ok(sets) => discovery.watch(sets, gate, schedule).await,
            Err(error) => tracing::error!(%error, "the signers are not watched"),
        }
    })
}

fn watched(config: &Config, signers: &Signers) -> Result<Vec<Vec<Watched>>, ConfigError> {
    let answer_bytes_max = config.limits.upstream_answer_bytes_max;
    let sets = config.upstreams.sets.iter().zip(&signers.sets).map(|(set, shared)| {
        let replicas = set.urls.iter().zip(&shared.replicas).map(|(url, replica)| {
            let client =
                Client::new(client_config(config, url, shared.tls.as_ref(), CONTROL_CONNECTIONS))?;
            let signer = Rc::new(Web3Signer::new(client, answer_bytes_max));
            Ok((Arc::clone(replica), signer))
        });
        replicas.collect()
    });
    sets.collect()
}

/// The keys that the configured signers have.
///
/// # Errors
/// When a set of signers has no replica that answers with a list: a part of the keys would look
/// like all of them.
pub(in crate::cli) fn upstream_keys(config: &Config) -> anyhow::Result<Vec<String>> {
    let mut keys = std::collections::BTreeSet::new();
    for set in &config.upstreams.sets {
        let tls = tls_of(set).with_context(|| format!("upstream {}", set.name))?;
        let mut fault = None;
        let mut answered = false;
        for url in &set.urls {
            match keys_of(config, url, tls.as_ref()) {
                Ok(list) => {
                    answered = true;
                    keys.extend(list);
                }
                Err(error) => fault = Some(error),
            }
        }
        if let Some(error) = fault.filter(|_| !answered) {
            return Err(error).with_context(|| format!("cannot read the keys of {}", set.name));
        }
    }
    Ok(keys.iter().map(ToString::to_string).collect())
}

fn keys_of(
    config: &Config,
    url: &Uri,
    tls: Option<&Arc<SignerTls>>,
) -> anyhow::Result<Vec<slashing_db::PublicKey>> {
    let client = client_config(config, url, tls, CONTROL_CONNECTIONS);
    let limits = &config.limits;
    let (bytes_max, answer_max) =
        (limits.upstream_keys_bytes_max, limits.upstream_answer_bytes_max);
    local_runtime()?.block_on(async {
        let signer = Web3Signer::new(Client::new(client)?, answer_max);
        let keys = signer.public_keys(clock::deadline(KEY_LIST_TIMEOUT), bytes_max).await;
        keys.map_err(|fault| anyhow!(fault).context(format!("cannot read the keys of {url}")))
    })
}

fn client_config(
    config: &Config,
    url: &Uri,
    tls: Option<&Arc<SignerTls>>,
    connections_max: usize,
) -> ClientConfig {
    let limits = &config.limits;
    ClientConfig {
        authority: authority(url),
        tls: tls.filter(|_| is_https(url)).cloned(),
        path_prefix: String::new(),
        connections_max,
        waiting_max: limits.requests_in_flight_max,
        idle_timeout: Duration::from_millis(limits.upstream_idle_ms),
        connect_timeout: Duration::from_millis(limits.upstream_connect_timeout_ms),
        class_percents: CLASS_PERCENTS,
    }
}

const UPCHECK_INTERVAL: Duration = Duration::from_secs(2);
const UPCHECK_TIMEOUT: Duration = Duration::from_secs(2);
const KEY_LIST_TIMEOUT: Duration = Duration::from_secs(30);
const CONTROL_CONNECTIONS: usize = 2;
/// What a class, with all below it, may use of the connections to the signer, in per cent.
const CLASS_PERCENTS: [u8; crate::upstream::client::CLASSES] = [100, 95, 85, 70, 40];
