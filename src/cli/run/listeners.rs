//! The signing side: listeners, and what serves each core.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::signers::client_config;
use crate::clients::Clients;
use crate::config::{Config, ListenerConfig};
use crate::limits::Limits;
use crate::server::entrance::{Entrance, Listener};
use crate::server::respond::Compat;
use crate::server::service::{Api, Dialect};
use crate::server::{self, Server, ServerLimits};
use crate::sign::{Gate, Path};
use crate::upstream::Upstream;
use crate::upstream::client::Client;
use crate::upstream::discovery::Discovery;
use crate::upstream::web3signer::Web3Signer;

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
    let client = client_config(config, config.upstream.connections_per_worker);
    let answer_bytes_max = config.limits.upstream_answer_bytes_max;
    let (gate, discovery) = (Arc::clone(gate), Arc::clone(discovery));
    Ok(Server::start(listeners, workers, server_limits(&config.limits), move |context| {
        let client =
            Client::new(client.clone()).expect("checked when the configuration was loaded");
        gate.upstream_stats.lock().push(client.stats());
        let signer = Web3Signer::new(client, answer_bytes_max);
        let path = Path::new(Arc::clone(&gate), Rc::new(Upstream::Web3Signer(signer)));
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
