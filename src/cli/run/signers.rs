//! The signers behind the gate, as `run` sets them up.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;

use super::threads::{local_runtime, on_own_thread};
use crate::clock;
use crate::config::Config;
use crate::sign::Gate;
use crate::upstream::client::{Client, ClientConfig};
use crate::upstream::discovery::{Discovery, Schedule};
use crate::upstream::web3signer::Web3Signer;

/// A gate whose records are not synced forgets what it signed: it may speak to no signer but a
/// test's.
#[cfg(feature = "bench-nosync")]
pub(super) fn require_loopback(config: &Config) -> anyhow::Result<()> {
    let host = config.upstream.url.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    anyhow::ensure!(
        address.is_ok_and(|address| address.is_loopback()),
        "this build does not sync its records (feature bench-nosync): upstream.url must be an \
         address of the loopback, and {host} is none; for real keys build without the feature"
    );
    Ok(())
}

pub(super) fn watch_upstream(
    config: &Config,
    gate: &Arc<Gate>,
    discovery: &Arc<Discovery>,
) -> anyhow::Result<()> {
    let client = client_config(config, CONTROL_CONNECTIONS);
    let schedule = Schedule {
        upcheck_interval: UPCHECK_INTERVAL,
        refresh_interval: config.upstream.refresh_interval,
        timeout: KEY_LIST_TIMEOUT,
        key_list_bytes_max: config.limits.upstream_keys_bytes_max,
    };
    let limits = config.limits.clone();
    let (gate, discovery) = (Arc::clone(gate), Arc::clone(discovery));
    on_own_thread("discovery", move || async move {
        match Client::new(client) {
            Ok(client) => {
                let signer = Rc::new(Web3Signer::new(client, limits.upstream_answer_bytes_max));
                discovery.watch(signer, gate, schedule).await;
            }
            Err(error) => tracing::error!(%error, "the signer's keys are not watched"),
        }
    })
}

/// The keys that the configured signer has.
///
/// # Errors
/// When it does not answer with a list.
pub(in crate::cli) fn upstream_keys(config: &Config) -> anyhow::Result<Vec<String>> {
    let client = client_config(config, CONTROL_CONNECTIONS);
    let limits = &config.limits;
    let (bytes_max, answer_max) =
        (limits.upstream_keys_bytes_max, limits.upstream_answer_bytes_max);
    local_runtime()?.block_on(async {
        let signer = Web3Signer::new(Client::new(client)?, answer_max);
        let keys = signer.public_keys(clock::deadline(KEY_LIST_TIMEOUT), bytes_max).await;
        let keys = keys.map_err(|fault| anyhow!(fault).context("cannot read the signer's keys"))?;
        Ok(keys.iter().map(ToString::to_string).collect())
    })
}

pub(super) fn client_config(config: &Config, connections_max: usize) -> ClientConfig {
    let limits = &config.limits;
    let url = &config.upstream.url;
    let host = url.host().unwrap_or_default();
    ClientConfig {
        authority: format!("{host}:{}", url.port_u16().unwrap_or(80)),
        path_prefix: String::new(),
        connections_max,
        waiting_max: limits.requests_in_flight_max,
        idle_timeout: Duration::from_millis(limits.upstream_idle_ms),
        connect_timeout: Duration::from_millis(limits.upstream_connect_timeout_ms),
        class_percents: CLASS_PERCENTS,
    }
}

const UPCHECK_INTERVAL: Duration = Duration::from_secs(2);
const KEY_LIST_TIMEOUT: Duration = Duration::from_secs(30);
const CONTROL_CONNECTIONS: usize = 2;
/// What a class, with all below it, may use of the connections to the signer, in per cent.
const CLASS_PERCENTS: [u8; crate::upstream::client::CLASSES] = [100, 95, 85, 70, 40];
