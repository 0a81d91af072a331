//! The signers behind the gate, as all cores share them: sets, replicas, and which key is where.

use std::sync::Arc;
use std::time::Duration;

use super::replica::Replica;
use super::routing::Routing;
use crate::clock::Clock;
use crate::config::UpstreamConfig;
use crate::metrics::{UpstreamMetrics, UpstreamSetMetrics};

/// All signers.
#[derive(Debug)]
pub struct Signers {
    /// The sets, in the order of the configuration.
    pub sets: Vec<Arc<SignerSet>>,
    /// Which set has a key.
    pub routing: Routing,
}

/// The signers that hold the same keys.
#[derive(Debug)]
pub struct SignerSet {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// For one signing call, all replicas that are asked together.
    pub timeout: Duration,
    /// Its replicas, in the order of the configuration.
    pub replicas: Vec<Arc<Replica>>,
    /// Its figures.
    pub metrics: UpstreamSetMetrics,
}

impl Signers {
    /// The signers that the configuration names; nothing is known of them yet.
    pub fn new(config: &[UpstreamConfig], metrics: &UpstreamMetrics, clock: &Clock) -> Self {
        let sets = config.iter().map(|set| Arc::new(SignerSet::new(set, metrics, clock)));
        Self { sets: sets.collect(), routing: Routing::new(config.len()) }
    }

    /// Every replica.
    pub fn replicas(&self) -> impl Iterator<Item = &Arc<Replica>> {
        self.sets.iter().flat_map(|set| &set.replicas)
    }

    /// Every set and replica, for whoever asks how the gate is. A replica that is down is data: the
    /// gate is down only when no replica of any set can be reached.
    pub fn health(&self) -> serde_json::Value {
        self.sets
            .iter()
            .map(|set| {
                let replicas = set.replicas.iter().map(|replica| {
                    serde_json::json!({
                        "replica": &*replica.name,
                        "reachable": replica.is_reachable(),
                        "healthy": replica.is_healthy(),
                    })
                });
                serde_json::json!({
                    "upstream": &*set.name,
                    "reachable": set.is_reachable(),
                    "replicas": replicas.collect::<Vec<_>>(),
                })
            })
            .collect()
    }

    /// Whether any replica of any set answered when it was last asked.
    pub fn any_reachable(&self) -> bool {
        self.replicas().any(|replica| replica.is_reachable())
    }
}

impl SignerSet {
    fn new(config: &UpstreamConfig, metrics: &UpstreamMetrics, clock: &Clock) -> Self {
        let name: Arc<str> = config.name.as_str().into();
        let replica = |url: &hyper::Uri| {
            let replica = authority(url);
            let metrics = metrics.replica(&name, &replica);
            Arc::new(Replica::new(Arc::clone(&name), &replica, metrics, clock.clone()))
        };
        Self {
            timeout: config.timeout,
            replicas: config.urls.iter().map(replica).collect(),
            metrics: metrics.set(&name),
            name,
        }
    }

    /// Whether any of its replicas answered when it was last asked.
    pub fn is_reachable(&self) -> bool {
        self.replicas.iter().any(|replica| replica.is_reachable())
    }
}

/// `host:port` of a signer's URL.
pub fn authority(url: &hyper::Uri) -> String {
    let port = if crate::config::is_https(url) { 443 } else { 80 };
    format!("{}:{}", url.host().unwrap_or_default(), url.port_u16().unwrap_or(port))
}
