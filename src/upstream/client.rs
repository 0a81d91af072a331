//! HTTP/1.1 to one upstream, for one worker: pooled, ordered by class, bounded, cancel safe.
//!
//! - A call first gets a place in the pool, in the order of its [`Class`], then a connection:
//!   the one most recently used, or a new one.
//! - A connection that was idle for too long is not used again, as the upstream may be closing it
//!   in that very moment. When a reused connection ends before the first byte of an answer, the
//!   same bytes are sent once more, on a fresh connection: that is safe for signatures, because
//!   the same root may always be signed again.
//! - A call that is dropped takes its connection with it: half an answer never meets another call.
//!
//! Everything belongs to one thread, and a call drives its connection itself: no task and no
//! wake-up stands between a request and its socket.

mod connection;
mod pool;
mod stats;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::http;
use hyper::{Method, Uri};
use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep, timeout_at};

pub use self::pool::{CLASSES, Class};
pub use self::stats::ClientStats;

use self::connection::{Connection, Failure};
use self::pool::{Place, Pool};
use self::stats::increment;
use super::tls::SignerTls;
use crate::trace::{TRACEPARENT, TRACESTATE, TraceHeaders};

/// The upstream closes idle connections after 30 s (Web3Signer's default); ours end well before.
const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(20);

/// Where an upstream is, and what may be asked of it at one time by one worker.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `host:port`. A name is resolved at each connect, and all its addresses are tried.
    pub authority: String,
    /// How `https` is spoken; `None` for plain `http`.
    pub tls: Option<Arc<SignerTls>>,
    /// Put before every path; empty, or `/prefix` without a slash at its end.
    pub path_prefix: String,
    /// Connections, used and idle, of this client.
    pub connections_max: usize,
    /// Calls that may wait for a connection; beyond it a call is refused at once.
    pub waiting_max: usize,
    /// How long a connection may be idle and still be used again. At most 20 s.
    pub idle_timeout: Duration,
    /// From the lookup of the name to the connection, over all addresses.
    pub connect_timeout: Duration,
    /// What each class, with all classes below it, may use of the connections and of the queue, in
    /// percent: falling, from 1 to 100.
    pub class_percents: [u8; CLASSES],
}

/// Why a [`ClientConfig`] cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `authority` is not `host:port`.
    #[error("the upstream's authority `{0}` is not `host:port`")]
    Authority(String),
    /// The host of `authority` is nothing that a certificate can be for.
    #[error("`{0}` is neither a name nor an address, so that no certificate can be for it")]
    ServerName(String),
    /// `path_prefix` is neither empty nor a path.
    #[error("the upstream's path prefix `{0}` must begin with `/` and not end with it")]
    PathPrefix(String),
    /// No connections, an idle timeout above 20 s, or shares that rise or leave 1 to 100 %.
    #[error("the upstream's {0} is out of range")]
    OutOfRange(&'static str),
}

/// One request to the upstream.
#[derive(Debug, Clone)]
pub struct Call {
    /// How urgent it is.
    pub class: Class,
    /// The method.
    pub method: Method,
    /// The path, beginning with `/`, without the client's prefix.
    pub path: String,
    /// The `Accept` header.
    pub accept: HeaderValue,
    /// The `Content-Type` of the body; none for a request without one.
    pub content_type: Option<HeaderValue>,
    /// The body, which may be sent twice.
    pub body: Bytes,
    /// The trace that it belongs to, if any.
    pub trace: Option<TraceHeaders>,
    /// When the answer is of no use any more: waiting, connecting and reading all end here.
    pub deadline: Instant,
    /// The largest body that the answer may have, in bytes.
    pub response_bytes_max: usize,
}

/// The upstream's answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type`, if there was one.
    pub content_type: Option<HeaderValue>,
    /// The whole body.
    pub body: Bytes,
}

/// What a call was at when its deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for a connection to become free.
    Queue,
    /// Connecting.
    Connect,
    /// Sending the request, or waiting for the headers of the answer.
    Response,
    /// Reading the body of the answer.
    Body,
}

/// Why there is no answer. Whether the upstream has acted is unknown, except after
/// [`UpstreamError::Connect`], [`UpstreamError::Overloaded`] and the first two stages.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection could be made.
    #[error("could not connect to the upstream")]
    Connect(#[source] io::Error),
    /// The signer is there, and TLS with it failed: one side does not trust the other.
    #[error("no TLS connection to the upstream could be made")]
    Tls(#[source] io::Error),
    /// The deadline passed, or, at [`Stage::Connect`], the connect timeout.
    #[error("the upstream did not answer in time ({stage:?})")]
    Timeout {
        /// What the call was at.
        stage: Stage,
    },
    /// The upstream ended the connection before its answer was complete.
    #[error("the upstream ended the connection")]
    Reset(#[source] hyper::Error),
    /// What came back is not HTTP.
    #[error("the upstream's answer is not HTTP")]
    Protocol(#[source] hyper::Error),
    /// The request cannot be expressed in HTTP; the caller's mistake.
    #[error("the request to the upstream is malformed")]
    Request(#[source] http::Error),
    /// The answer is larger than the call allows.
    #[error("the upstream's answer is larger than {limit} bytes")]
    BodyTooLarge {
        /// The largest answer that was allowed, in bytes.
        limit: usize,
    },
    /// As many calls as may already wait for a connection.
    #[error("too many requests wait for the upstream")]
    Overloaded,
}

impl UpstreamError {
    /// The stable name of this error in metrics, audit and documentation.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect(_) => "upstream_connect",
            Self::Tls(_) => "upstream_tls",
            Self::Timeout { stage: Stage::Queue } => "upstream_timeout_queue",
            Self::Timeout { stage: Stage::Connect } => "upstream_timeout_connect",
            Self::Timeout { stage: Stage::Response } => "upstream_timeout_response",
            Self::Timeout { stage: Stage::Body } => "upstream_timeout_body",
            Self::Reset(_) => "upstream_reset",
            Self::Protocol(_) => "upstream_protocol",
            Self::Request(_) => "upstream_request",
            Self::BodyTooLarge { .. } => "upstream_body_too_large",
            Self::Overloaded => "upstream_overloaded",
        }
    }
}

/// A client of one upstream, for one thread.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    host: HeaderValue,
    server_name: Option<ServerName<'static>>, // of `https` alone
    pool: Rc<Pool<Box<Connection>>>,
    stats: Arc<ClientStats>,
}

impl Client {
    /// Makes a client, and a task that closes its idle connections for as long as it lives.
    ///
    /// Connects to nothing yet. Must be called where `spawn_local` works.
    ///
    /// # Errors
    /// What the configuration gets wrong.
    pub fn new(config: ClientConfig) -> Result<Rc<Self>, ConfigError> {
        let host = check(&config)?;
        let server_name =
            config.tls.as_ref().map(|_| server_name(&config.authority)).transpose()?;
        let stats = Arc::<ClientStats>::default();
        let pool = Pool::new(&config, Arc::clone(&stats));
        let client = Rc::new(Self { host, server_name, pool, config, stats });
        let weak = Rc::downgrade(&client);
        let pause = client.config.idle_timeout / 4;
        tokio::task::spawn_local(async move {
            loop {
                sleep(pause).await;
                let Some(client) = weak.upgrade() else { break };
                client.pool.close_stale(Instant::now(), client.config.idle_timeout);
            }
        });
        Ok(client)
    }

    /// `host:port` of the upstream.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.config.authority
    }

    /// The counters, which outlive the client.
    #[must_use]
    pub fn stats(&self) -> Arc<ClientStats> {
        Arc::clone(&self.stats)
    }

    /// Sends one request and reads its answer to the end.
    ///
    /// # Errors
    /// See [`UpstreamError`]. An answer of any status is not an error.
    pub async fn send(&self, call: Call) -> Result<Response, UpstreamError> {
        let stage = Cell::new(Stage::Queue);
        let deadline = call.deadline;
        let result = match timeout_at(deadline, self.send_at(&call, &stage)).await {
            Ok(result) => result,
            Err(_) => Err(UpstreamError::Timeout { stage: stage.get() }),
        };
        match &result {
            Err(UpstreamError::Timeout { .. }) => increment(&self.stats.timeouts),
            Err(UpstreamError::Overloaded) => increment(&self.stats.overloaded),
            _ => {}
        }
        result
    }

    async fn send_at(&self, call: &Call, stage: &Cell<Stage>) -> Result<Response, UpstreamError> {
        let place = self.pool.enter(call.class).await.ok_or(UpstreamError::Overloaded)?;
        if let Some(mut reused) = self.idle_connection() {
            increment(&self.stats.reuses);
            match reused.exchange(self.request(call)?, call.response_bytes_max, stage).await {
                Ok(response) => return Ok(Self::keep(place, reused, response)),
                Err(failure) if failure.is_stale() => increment(&self.stats.retries),
                Err(failure) => return Err(failure.into()),
            }
        }
        stage.set(Stage::Connect);
        // Boxed, as connecting is rare: it would make the future of every call larger.
        let mut fresh = Box::pin(self.connect()).await?;
        match fresh.exchange(self.request(call)?, call.response_bytes_max, stage).await {
            Ok(response) => Ok(Self::keep(place, fresh, response)),
            Err(failure) => Err(failure.into()),
        }
    }

    /// An idle connection that the upstream has not closed, as far as can be known.
    fn idle_connection(&self) -> Option<Box<Connection>> {
        self.pool.close_stale(Instant::now(), self.config.idle_timeout);
        std::iter::from_fn(|| self.pool.take_idle())
            .find_map(|mut idle| idle.is_open().then_some(idle))
    }

    /// Makes the connection idle, if HTTP allows that, before its place is given to the next call.
    fn keep(
        place: Place<Box<Connection>>,
        mut connection: Box<Connection>,
        response: Response,
    ) -> Response {
        if connection.is_open() {
            place.leave(connection, Instant::now());
        }
        response
    }

    async fn connect(&self) -> Result<Box<Connection>, UpstreamError> {
        let by = Instant::now() + self.config.connect_timeout;
        let tls = self.config.tls.as_deref().zip(self.server_name.as_ref());
        let result = Connection::connect(&self.config.authority, tls, by).await;
        increment(match &result {
            Ok(_) => &self.stats.connects,
            Err(_) => &self.stats.connect_failures,
        });
        result.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => UpstreamError::Timeout { stage: Stage::Connect },
            _ if is_of_tls(&error) => UpstreamError::Tls(error),
            _ => UpstreamError::Connect(error),
        })
    }

    fn request(&self, call: &Call) -> Result<connection::Request, UpstreamError> {
        let path = &call.path;
        let uri = if self.config.path_prefix.is_empty() {
            Uri::try_from(path.as_str())
        } else {
            Uri::try_from(format!("{}{path}", self.config.path_prefix))
        };
        let uri = uri.map_err(|error| UpstreamError::Request(error.into()))?;
        let mut request = hyper::Request::new(call.body.clone().into());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(http::header::HOST, self.host.clone());
        headers.insert(http::header::ACCEPT, call.accept.clone());
        headers.insert(http::header::CONNECTION, HeaderValue::from_static("keep-alive"));
        if let Some(content_type) = &call.content_type {
            headers.insert(http::header::CONTENT_TYPE, content_type.clone());
        }
        if let Some(trace) = &call.trace {
            headers.insert(TRACEPARENT, trace.parent.clone());
            headers.extend(trace.state.clone().map(|state| (TRACESTATE, state)));
        }
        Ok(request)
    }
}

/// Checks a configuration; returns its `Host` header.
fn check(config: &ClientConfig) -> Result<HeaderValue, ConfigError> {
    let authority = || ConfigError::Authority(config.authority.clone());
    let (host, port) = config.authority.rsplit_once(':').ok_or_else(authority)?;
    let has_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if host.is_empty() || host.contains('@') || !has_port {
        return Err(authority());
    }
    config.authority.parse::<http::uri::Authority>().map_err(|_| authority())?;
    let prefix = &config.path_prefix;
    if !prefix.is_empty()
        && (!prefix.starts_with('/') || prefix.ends_with('/') || prefix.parse::<Uri>().is_err())
    {
        return Err(ConfigError::PathPrefix(prefix.clone()));
    }
    if config.connections_max == 0 {
        return Err(ConfigError::OutOfRange("number of connections"));
    }
    if config.idle_timeout.is_zero() || config.idle_timeout > IDLE_TIMEOUT_MAX {
        return Err(ConfigError::OutOfRange("idle timeout"));
    }
    let shares = &config.class_percents;
    let in_range = shares.iter().all(|share| (1..=100).contains(share));
    if !in_range || !shares.is_sorted_by(|higher, lower| higher >= lower) {
        return Err(ConfigError::OutOfRange("shares of the classes"));
    }
    HeaderValue::from_str(&config.authority).map_err(|_| authority())
}

/// Whom the certificate of `host:port` must be for.
fn server_name(authority: &str) -> Result<ServerName<'static>, ConfigError> {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_matches(['[', ']']).to_owned();
    ServerName::try_from(host).map_err(|_| ConfigError::ServerName(authority.to_owned()))
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

impl From<Failure> for UpstreamError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Http { error, .. } => {
                if error.is_parse() || error.is_user() {
                    Self::Protocol(error)
                } else {
                    Self::Reset(error)
                }
            }
            Failure::BodyTooLarge { limit } => Self::BodyTooLarge { limit },
        }
    }
}
