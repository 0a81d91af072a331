//! The signers behind the gate, as all cores share them: sets, replicas, and which key is where.

use std::sync::Arc;
use std::time::Duration;

use super::replica::Replica;
use super::routing::Routing;
use super::tls::{SignerTls, SignerTlsError};
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
    /// How `https` is spoken with them; `None` when none of them is reached over it.
    pub tls: Option<Arc<SignerTls>>,
    /// Its figures.
    pub metrics: UpstreamSetMetrics,
}

impl Signers {
    /// The signers that the configuration names; nothing is known of them yet.
    ///
    /// # Errors
    /// When the files that TLS needs cannot be used.
    pub fn new(
        config: &[UpstreamConfig],
        metrics: &UpstreamMetrics,
        clock: &Clock,
    ) -> Result<Self, SignerTlsError> {
        let sets = config.iter().map(|set| SignerSet::new(set, metrics, clock).map(Arc::new));
        Ok(Self { sets: sets.collect::<Result<_, _>>()?, routing: Routing::new(config.len()) })
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
    fn new(
        config: &UpstreamConfig,
        metrics: &UpstreamMetrics,
        clock: &Clock,
    ) -> Result<Self, SignerTlsError> {
        let name: Arc<str> = config.name.as_str().into();
        let replica = |url: &hyper::Uri| {
            let replica = authority(url);
            let metrics = metrics.replica(&name, &replica);
            Arc::new(Replica::new(Arc::clone(&name), &replica, metrics, clock.clone()))
        };
        Ok(Self {
            timeout: config.timeout,
            replicas: config.urls.iter().map(replica).collect(),
            tls: tls_of(config)?,
            metrics: metrics.set(&name),
            name,
        })
    }

    /// Whether any of its replicas answered when it was last asked.
    pub fn is_reachable(&self) -> bool {
        self.replicas.iter().any(|replica| replica.is_reachable())
    }
}

/// What `https` to a set needs, if any of its replicas is reached over it.
///
/// # Errors
/// When the files cannot be used.
pub fn tls_of(config: &UpstreamConfig) -> Result<Option<Arc<SignerTls>>, SignerTlsError> {
    let is_needed = config.urls.iter().any(crate::config::is_https);
    is_needed.then(|| SignerTls::load(&config.tls).map(Arc::new)).transpose()
}

/// `host:port` of a signer's URL.
pub fn authority(url: &hyper::Uri) -> String {
    let port = if crate::config::is_https(url) { 443 } else { 80 };
    format!("{}:{}", url.host().unwrap_or_default(), url.port_u16().unwrap_or(port))
}
