//! The signing side's listeners: HTTP/1.1 over TCP, thread per core, bounded in everything.
//!
//! One acceptor thread hands the connections round to the worker threads, so that a client
//! with few connections still uses every core. A worker is a single-threaded runtime with a
//! [`Service`] of its own; no request ever crosses threads.
//!
//! | what could hurt | what holds it |
//! |---|---|
//! | a client hangs up while we sign for it | each request is a task of its own (`connection.rs`) |
//! | a request panics | that request is answered by [`Service::on_panic`], its connection goes on |
//! | handshakes without end, or in a flood | a deadline, a bound, one at a time ([`handshake`]) |
//! | a head or body that never ends, a peer that never reads | a deadline each ([`ServerLimits`]) |
//! | a body larger than any duty, many large ones | refused unread, a budget over all ([`body`]) |
//! | clients that never close (Prysm, on refusals) | idle timeout, eviction of the longest idle |
//! | shutdown in the middle of a slot | what was begun is finished and answered ([`drain`]) |
//!
//! Nothing here knows what a duty is.

pub mod body;
pub mod drain;
pub mod entrance;
pub mod handshake;
pub mod proxy_protocol;
pub mod respond;
pub mod service;
pub mod sockets;
pub mod stats;

mod acceptor;
mod connection;
mod connections;
mod dialect;
mod worker;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::body::{Bodies, BodyBudget};
use self::drain::Drained;
use self::entrance::Listener;
use self::stats::ServerStats;
use crate::clients::Session;

/// How many connections the kernel may hold for us until they are accepted.
///
/// Clients such as Nimbus open one connection per validator, all at once.
const LISTEN_BACKLOG: i32 = 4096;

/// What answers the requests of one worker. Made on the worker's thread and never leaves it.
pub trait Service: 'static {
    /// Answers one request of a session. Runs to its end even when the client hangs up.
    fn call(
        self: Rc<Self>,
        request: Request<Incoming>,
        session: Rc<Session>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + 'static;

    /// The answer to a request whose [`Service::call`] panicked.
    fn on_panic(&self) -> Response<Full<Bytes>>;
}

/// What a worker gives to the service that is made on it.
#[derive(Debug)]
pub struct WorkerContext {
    /// Position of the worker, from 0.
    pub index: usize,
    /// Reads request bodies within this server's limits.
    pub bodies: Bodies,
}

/// The bounds of one [`Server`].
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Open connections over all workers; beyond it the longest idle one is closed.
    pub connections_max: usize,
    /// Size of a request's line and headers; more is answered 431.
    pub head_bytes_max: usize,
    /// Number of a request's headers; more is answered 431.
    pub headers_max: usize,
    /// How long a connection may wait for its next request. Longer than the clients' own pools
    /// (20 to 30 s), so that they close first and never write into a connection that just closed.
    pub idle_timeout: Duration,
    /// From the beginning of a connection to the end of its TLS handshake and of what comes before.
    pub handshake_timeout: Duration,
    /// Handshakes under way on one worker; the oldest gives way to one more.
    pub handshakes_max: usize,
    /// From the first byte of a request to the end of its headers.
    pub head_timeout: Duration,
    /// From the start of reading a body to its end.
    pub body_timeout: Duration,
    /// How long a peer may take no byte of an answer.
    pub stall_timeout: Duration,
    /// How long an answered connection that we close is still read, so that its answer arrives.
    pub linger_timeout: Duration,
    /// Size of one request body.
    pub body_bytes_max: u64,
    /// Bytes of all request bodies held at one time, over all workers.
    pub bodies_bytes_max: u64,
    /// How often each worker looks for connections past one of the timeouts above.
    pub sweep_interval: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 100_000,
            head_bytes_max: 32 << 10,
            headers_max: 100,
            idle_timeout: Duration::from_secs(75),
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1_024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(20),
            linger_timeout: Duration::from_secs(2),
            body_bytes_max: 10 << 20,
            bodies_bytes_max: 256 << 20,
            sweep_interval: Duration::from_secs(1),
        }
    }
}

/// Raises the soft limit of open files to the hard one. Returns the limit that now holds.
///
/// Each client connection is a file, and some clients open one per validator.
#[must_use]
pub fn raise_fd_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "could not raise the limit of open files");
            current.unwrap_or(u64::MAX)
        }
    }
}

/// Binds an address, ready to be given to [`Server::start`].
///
/// # Errors
/// An address that cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    // The standard library listens with a backlog of 128; asking again replaces it.
    rustix::net::listen(&listener, LISTEN_BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A running server: one acceptor, its workers and their counters.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    stats: Arc<ServerStats>,
    acceptor: acceptor::Running,
    workers: Vec<worker::Running>,
}

impl Server {
    /// Starts `workers` threads, each with a service that `make_service` makes on it, and accepts.
    ///
    /// # Errors
    /// A listener, thread or runtime that the system refuses to give.
    pub fn start<S, F>(
        listeners: Vec<Listener>,
        workers: usize,
        limits: ServerLimits,
        make_service: F,
    ) -> io::Result<Self>
    where
        S: Service,
        F: Fn(WorkerContext) -> Rc<S> + Send + Sync + 'static,
    {
        assert!(workers > 0, "a server needs a worker");
        let stats = Arc::new(ServerStats::new(workers));
        Self::resume(listeners, stats, limits, make_service)
    }

    /// As [`Server::start`], counting on where a server before it in this process ended.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn resume<S, F>(
        listeners: Vec<Listener>,
        stats: Arc<ServerStats>,
        limits: ServerLimits,
        make_service: F,
    ) -> io::Result<Self>
    where
        S: Service,
        F: Fn(WorkerContext) -> Rc<S> + Send + Sync + 'static,
    {
        let addresses =
            listeners.iter().map(|it| it.socket.local_addr()).collect::<io::Result<Vec<_>>>()?;
        let workers = stats.workers().len();
        let budget = Arc::new(BodyBudget::new(limits.bodies_bytes_max));
        let limits = Arc::new(limits);
        let make_service = Arc::new(make_service);
        let share = limits.connections_max.div_ceil(workers);
        let workers = (0..workers)
            .map(|index| {
                let bodies =
                    Bodies::new(&limits, Arc::clone(&budget), Arc::clone(stats.worker(index)));
                let make = Arc::clone(&make_service);
                let make = move || make(WorkerContext { index, bodies });
                worker::start(index, share, &limits, Arc::clone(stats.worker(index)), make)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let inboxes = workers.iter().map(worker::Running::inbox).collect();
        let acceptor = acceptor::start(listeners, inboxes, Arc::clone(&stats))?;
        Ok(Self { addresses, stats, acceptor, workers })
    }

    /// The addresses that are listened on, with the ports that the system chose for port 0.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The counters, which outlive the server.
    #[must_use]
    pub fn stats(&self) -> Arc<ServerStats> {
        Arc::clone(&self.stats)
    }

    /// Stops accepting, lets what was begun be finished and answered, and ends every thread.
    ///
    /// Blocks for at most about `timeout`; requests that are still unfinished then are cut.
    #[must_use]
    pub fn drain(self, timeout: Duration) -> Drained {
        self.acceptor.stop();
        tracing::info!(event = "draining", "accepts nothing more and finishes what was begun");
        for worker in &self.workers {
            worker.begin_drain(timeout);
        }
        self.workers.into_iter().map(worker::Running::join).sum()
    }
}
