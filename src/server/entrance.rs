//! A listener, and what it makes of the connections that come to it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::clients::{AddressRange, Client, ClientAuth, Clients};

/// A bound socket and its entrance.
#[derive(Debug)]
pub struct Listener {
    /// Ready to accept, see [`bind`](super::bind).
    pub socket: TcpListener,
    /// What it makes of its connections.
    pub entrance: Arc<Entrance>,
}

/// How the connections of one listener begin, and who is behind them.
#[derive(Debug)]
pub struct Entrance {
    /// The name of the listener, in logs.
    pub name: String,
    /// Who is asking.
    pub clients: Arc<Clients>,
    /// Whose the connections are, as far as they do not say it themselves.
    pub client: Option<Arc<Client>>,
    /// Whether, and how, certificates are asked for; `None` without TLS.
    pub tls: Option<ClientAuth>,
    /// Connections come from these addresses alone, each with a PROXY protocol header; empty when
    /// clients connect themselves.
    pub balancers: Vec<AddressRange>,
}

impl Entrance {
    /// Without TLS, for anyone.
    pub fn open() -> Arc<Self> {
        Arc::new(Self {
            name: "listen".to_owned(),
            clients: Clients::anyone(),
            client: None,
            tls: None,
            balancers: Vec::new(),
        })
    }

    /// Whether something comes before the first request.
    pub(super) fn has_handshake(&self) -> bool {
        self.tls.is_some() || self.expects_balancer()
    }

    pub(super) fn expects_balancer(&self) -> bool {
        !self.balancers.is_empty()
    }

    pub(super) fn is_balancer(&self, peer: SocketAddr) -> bool {
        self.balancers.iter().any(|range| range.contains(peer.ip()))
    }
}
