//! The signing side: listeners, and what serves each core.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::signers::connect;
use crate::clients::Clients;
use crate::config::{Config, ListenerConfig};
use crate::limits::Limits;
use crate::server::entrance::{Entrance, Listener};
use crate::server::respond::Compat;
use crate::server::service::{Api, Dialect};
use crate::server::sockets::Sockets;
use crate::server::stats::ServerStats;
use crate::server::{Server, ServerLimits};
use crate::sign::{Gate, Path};
use crate::upstream::discovery::Discovery;

/// Every address that the gate listens on, for whatever.
pub(in crate::cli) fn addresses(config: &Config) -> Vec<SocketAddr> {
    let signing = config.all_listeners().into_iter().map(|listener| listener.address);
    signing.chain(config.metrics.address).chain(config.admin.address).collect()
}

/// The sockets of the signing side.
pub(super) fn listen(
    config: &Config,
    clients: &Arc<Clients>,
    sockets: &mut Sockets,
) -> anyhow::Result<Vec<Listener>> {
    let listen = |listener: ListenerConfig| {
        let ListenerConfig { name, address, .. } = &listener;
        let socket = sockets
            .listen(*address)
            .with_context(|| format!("cannot listen on {address} (listener {name})"))?;
        Ok(with_entrance(socket, listener, clients))
    };
    config.all_listeners().into_iter().map(listen).collect()
}

/// The same sockets once more, after their server was drained.
pub(super) fn again(
    config: &Config,
    clients: &Arc<Clients>,
    sockets: &Sockets,
) -> anyhow::Result<Vec<Listener>> {
    let held = sockets.held().iter().map(|(_, socket)| socket);
    let listener = |(config, socket): (_, &TcpListener)| {
        Ok(with_entrance(socket.try_clone()?, config, clients))
    };
    config.all_listeners().into_iter().zip(held).map(listener).collect()
}

/// Serves on `listeners`; counts on in `stats` where a server before it in this process ended.
pub(super) fn serve(
    config: &Config,
    gate: &Arc<Gate>,
    discovery: &Arc<Discovery>,
    listeners: Vec<Listener>,
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

fn with_entrance(socket: TcpListener, config: ListenerConfig, clients: &Arc<Clients>) -> Listener {
    let ListenerConfig { name, entrance, .. } = config;
    let entrance = Entrance {
        clients: Arc::clone(clients),
        client: entrance.client.map(|client| clients.named(&client)),
        tls: entrance.tls,
        balancers: entrance.proxy_protocol_from,
        name,
    };
    Listener { socket, entrance: Arc::new(entrance) }
}

pub(super) fn server_limits(limits: &Limits) -> ServerLimits {
    ServerLimits {
        connections_max: limits.connections_max,
        head_bytes_max: limits.header_bytes_max,
        idle_timeout: Duration::from_millis(limits.idle_connection_timeout_ms),
        handshake_timeout: Duration::from_millis(limits.request_head_timeout_ms),
        head_timeout: Duration::from_millis(limits.request_head_timeout_ms),
        body_timeout: Duration::from_millis(limits.request_body_timeout_ms),
        body_bytes_max: limits.body_bytes_max as u64,
        bodies_bytes_max: limits.body_bytes_in_flight_max as u64,
        ..ServerLimits::default()
    }
}
