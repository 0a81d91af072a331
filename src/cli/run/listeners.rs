//! The signing side: listeners, and what serves each core.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::signers::connect;
use crate::config::Config;
use crate::limits::Limits;
use crate::server::respond::Compat;
use crate::server::service::{Api, Dialect};
use crate::server::sockets::Sockets;
use crate::server::stats::ServerStats;
use crate::server::{Server, ServerLimits};
use crate::sign::{Gate, Path};
use crate::upstream::discovery::Discovery;

/// Every address that the gate listens on, for whatever.
pub(in crate::cli) fn addresses(config: &Config) -> Vec<SocketAddr> {
    signing_addresses(config).chain(config.metrics.address).collect()
}

fn signing_addresses(config: &Config) -> impl Iterator<Item = SocketAddr> {
    std::iter::once(config.listen.address)
}

/// The sockets of the signing side.
pub(super) fn listen(config: &Config, sockets: &mut Sockets) -> anyhow::Result<Vec<TcpListener>> {
    let listen = |address| {
        let listener = sockets.listen(address);
        listener.with_context(|| format!("cannot listen on {address} (listen.address)"))
    };
    signing_addresses(config).map(listen).collect()
}

/// The same sockets once more, after their server was drained.
pub(super) fn again(config: &Config, sockets: &Sockets) -> anyhow::Result<Vec<TcpListener>> {
    let signing = sockets.held().iter().take(signing_addresses(config).count());
    Ok(signing.map(|(_, listener)| listener.try_clone()).collect::<std::io::Result<_>>()?)
}

/// Serves on `listeners`; counts on in `stats` where a server before it in this process ended.
pub(super) fn serve(
    config: &Config,
    gate: &Arc<Gate>,
    discovery: &Arc<Discovery>,
    listeners: Vec<TcpListener>,
    stats: Option<Arc<ServerStats>>,
) -> anyhow::Result<Server> {
    let workers = config.listen.worker_count().get();
    let stats = stats.unwrap_or_else(|| Arc::new(ServerStats::new(workers)));
    let any_host = config.listen.host_allowlist.iter().any(|name| name == "*");
    let dialect = Arc::new(Dialect {
        path_prefix: config.listen.path_prefix.clone(),
        hosts_allowed: if any_host { Vec::new() } else { config.listen.host_allowlist.clone() },
        compat: Compat { mismatch_500: config.web3signer.compat_mismatch_500 },
    });
    let config_of_signers = config.clone();
    let (gate, discovery) = (Arc::clone(gate), Arc::clone(discovery));
    Ok(Server::resume(listeners, stats, server_limits(&config.limits), move |context| {
        let upstreams = connect(&config_of_signers, discovery.signers(), &gate.verifier)
            .expect("checked when the configuration was loaded");
        let path = Path::new(Arc::clone(&gate), Rc::new(upstreams));
        Rc::new(Api::new(path, context.bodies, Arc::clone(&discovery), Arc::clone(&dialect)))
    })?)
}

pub(super) fn server_limits(limits: &Limits) -> ServerLimits {
    ServerLimits {
        connections_max: limits.connections_max,
        head_bytes_max: limits.header_bytes_max,
        idle_timeout: Duration::from_millis(limits.idle_connection_timeout_ms),
        head_timeout: Duration::from_millis(limits.request_head_timeout_ms),
        body_timeout: Duration::from_millis(limits.request_body_timeout_ms),
        body_bytes_max: limits.body_bytes_max as u64,
        bodies_bytes_max: limits.body_bytes_in_flight_max as u64,
        ..ServerLimits::default()
    }
}
