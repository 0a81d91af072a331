//! The signing side: listeners, and what serves each core.

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
use crate::server::{self, Server, ServerLimits};
use crate::sign::{Gate, Path};
use crate::upstream::discovery::Discovery;

pub(super) fn serve(
    config: &Config,
    gate: &Arc<Gate>,
    discovery: &Arc<Discovery>,
    clients: &Arc<Clients>,
) -> anyhow::Result<Server> {
    let listeners = config.all_listeners();
    let listeners = listeners.into_iter().map(|listener| bind(listener, clients));
    let listeners = listeners.collect::<anyhow::Result<_>>()?;
    let workers = config.listen.worker_count().get();
    let any_host = config.listen.host_allowlist.iter().any(|name| name == "*");
    let dialect = Arc::new(Dialect {
        path_prefix: config.listen.path_prefix.clone(),
        hosts_allowed: if any_host { Vec::new() } else { config.listen.host_allowlist.clone() },
        compat: Compat { mismatch_500: config.web3signer.compat_mismatch_500 },
    });
    let config_of_signers = config.clone();
    let (gate, discovery) = (Arc::clone(gate), Arc::clone(discovery));
    Ok(Server::start(listeners, workers, server_limits(&config.limits), move |context| {
        let upstreams = connect(&config_of_signers, discovery.signers())
            .expect("checked when the configuration was loaded");
        let path = Path::new(Arc::clone(&gate), Rc::new(upstreams));
        Rc::new(Api::new(path, context.bodies, Arc::clone(&discovery), Arc::clone(&dialect)))
    })?)
}

fn bind(config: ListenerConfig, clients: &Arc<Clients>) -> anyhow::Result<Listener> {
    let ListenerConfig { name, address, entrance } = config;
    let socket = server::bind(address)
        .with_context(|| format!("cannot listen on {address} (listener {name})"))?;
    let entrance = Entrance {
        clients: Arc::clone(clients),
        client: entrance.client.map(|client| clients.named(&client)),
        tls: entrance.tls,
        balancers: entrance.proxy_protocol_from,
        name,
    };
    Ok(Listener { socket, entrance: Arc::new(entrance) })
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
