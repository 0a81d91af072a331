//! The development signer: Web3Signer's interface over keys that protect nothing.
//!
//! It exists so that the gate can be tried, tested and broken without a real signer. It signs
//! whatever signing root a request names, without slashing protection and without recomputing the
//! root; it keeps a log of what it signed, and it can be told to misbehave.

pub mod faults;
pub mod hex;
mod http;
pub mod keys;
pub mod keystore;
pub mod log;
mod reload;
pub mod request;
mod sign;
pub mod sign_type;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use self::faults::{FaultPlan, FaultSpec};
use self::keys::{KeyError, KeyRing, KeySource};
use self::log::{LogError, SigningLog};
use self::reload::ReloadStatus;
pub use self::sign::{DIE_EXIT_CODE, GARBAGE};

/// How many accepted connections may wait for one worker.
const ACCEPTED_PER_WORKER_MAX: usize = 1024;

/// Pause after a failed accept, so that a lack of file descriptors is not a busy loop.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What a development signer is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Allows an address that other machines can reach.
    pub listen_anywhere: bool,
    /// Where the keys come from.
    pub source: KeySource,
    /// Where the signing log is appended to.
    pub log: Option<PathBuf>,
    /// The faults in force from the start.
    pub faults: Vec<FaultSpec>,
    /// The seed of the faults' draws.
    pub fault_seed: u64,
    /// How much later every answer to a sign request leaves.
    pub delay: Duration,
    /// Answers with one fixed signature for each key, which belongs to no message.
    pub stub: bool,
    /// How many threads serve connections and sign; at least one.
    pub workers: usize,
    /// The clock of the signing log: milliseconds since the Unix epoch.
    pub unix_ms: fn() -> u64,
}

/// Why a development signer did not start. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not a loopback address, and `listen_anywhere` is not set.
    #[error(
        "{0} can be reached from other machines; a development signer signs for whoever asks, so \
         this needs --listen-anywhere"
    )]
    NotLoopback(SocketAddr),
    /// The keys could not be loaded.
    #[error("cannot load the keys")]
    Keys(#[from] KeyError),
    /// The signing log could not be opened.
    #[error("cannot open the signing log")]
    Log(#[from] LogError),
    /// The address could not be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A thread or its runtime could not be started.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
}

/// What the workers share.
#[derive(Debug)]
struct Service {
    keys: ArcSwap<KeyRing>,
    source: KeySource,
    stub: bool,
    log: Option<SigningLog>,
    faults: Mutex<FaultPlan>,
    delay: Duration,
    reload: Mutex<ReloadStatus>,
    unix_ms: fn() -> u64,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// A running development signer; dropping it stops it.
#[derive(Debug)]
pub struct DevSigner {
    address: SocketAddr,
    service: Arc<Service>,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl DevSigner {
    /// Loads the keys, binds the address and serves. When this returns, connections are accepted.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_over(config, None)
    }

    /// As [`Self::start`], over TLS.
    pub fn start_over(
        config: Config,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Result<Self, StartError> {
        if !config.listen_anywhere && !config.listen.ip().to_canonical().is_loopback() {
            return Err(StartError::NotLoopback(config.listen));
        }
        let unbound = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        listener.set_nonblocking(true).map_err(unbound)?;
        let keys = KeyRing::load(&config.source, config.stub)?;
        let log = config.log.as_deref().map(SigningLog::open).transpose()?;
        let service = Arc::new(Service {
            keys: ArcSwap::from_pointee(keys),
            source: config.source,
            stub: config.stub,
            log,
            faults: Mutex::new(FaultPlan::new(config.faults, config.fault_seed)),
            delay: config.delay,
            reload: Mutex::new(ReloadStatus::Idle),
            unix_ms: config.unix_ms,
            tls,
        });
        let (stop, stopped) = oneshot::channel();
        let mut signer = Self { address, service, stop: Some(stop), threads: Vec::new() };
        let workers = signer.start_workers(config.workers.max(1)).map_err(StartError::Worker)?;
        signer.start_acceptor(listener, workers, stopped).map_err(StartError::Worker)?;
        Ok(signer)
    }

    /// The address that it listens on, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many keys it holds now.
    pub fn key_count(&self) -> usize {
        self.service.keys.load().keys().len()
    }

    /// One thread and one runtime for each worker: signing is done where the connection is served.
    fn start_workers(&mut self, count: usize) -> io::Result<Vec<mpsc::Sender<Accepted>>> {
        let mut senders = Vec::with_capacity(count);
        for worker in 0..count {
            let (sender, accepted) = mpsc::channel(ACCEPTED_PER_WORKER_MAX);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let service = Arc::clone(&self.service);
            let thread = thread::Builder::new()
                .name(format!("dev-signer-{worker}"))
                .spawn(move || runtime.block_on(serve_accepted(service, accepted)))?;
            self.threads.push(thread);
            senders.push(sender);
        }
        Ok(senders)
    }

    fn start_acceptor(
        &mut self,
        listener: TcpListener,
        workers: Vec<mpsc::Sender<Accepted>>,
        stopped: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let acceptor = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, workers) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("dev-signer-accept".to_owned()).spawn(acceptor)?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for DevSigner {
    /// Stops accepting and drops every connection. A worker ends when the acceptor's senders are
    /// gone.
    fn drop(&mut self) {
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so on standard error already.
            let _ = thread.join();
        }
    }
}

/// A connection on its way to the worker that will serve it.
type Accepted = (TcpStream, SocketAddr);

/// Hands connections round, so that a client with few of them still uses every worker.
async fn accept(listener: tokio::net::TcpListener, workers: Vec<mpsc::Sender<Accepted>>) {
    for worker in workers.iter().cycle() {
        let (stream, peer) = loop {
            match listener.accept().await.and_then(|(stream, peer)| Ok((stream.into_std()?, peer)))
            {
                Ok(accepted) => break accepted,
                Err(error) => tracing::warn!(%error, "cannot accept a connection"),
            }
            tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
        };
        if worker.send((stream, peer)).await.is_err() {
            return;
        }
    }
}

async fn serve_accepted(service: Arc<Service>, mut accepted: mpsc::Receiver<Accepted>) {
    while let Some((stream, peer)) = accepted.recv().await {
        let prepared =
            stream.set_nodelay(true).and_then(|()| tokio::net::TcpStream::from_std(stream));
        match prepared {
            Ok(stream) => {
                tokio::spawn(serve(Arc::clone(&service), stream, peer));
            }
            Err(error) => tracing::debug!(%peer, %error, "connection lost before it was served"),
        }
    }
}

async fn serve(service: Arc<Service>, stream: tokio::net::TcpStream, peer: SocketAddr) {
    let Some(tls) = service.tls.clone() else {
        return http::serve(service, stream, peer).await;
    };
    match tokio::time::timeout(TLS_HANDSHAKE_MAX, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => http::serve(service, stream, peer).await,
        Ok(Err(error)) => tracing::warn!(%peer, %error, "no TLS with this client"),
        Err(_) => tracing::debug!(%peer, "a client took too long over TLS"),
    }
}

/// How long a client may take until TLS stands.
const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(5);
