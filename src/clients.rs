//! Who is asking: every request belongs to a named client.
//!
//! | what names a client | strength |
//! |---|---|
//! | its certificate: a fingerprint, a name that an authority signed, a known client | 1 |
//! | the listener it came to, if that one has a client's name | 2 |
//! | user and password (HTTP basic authentication) | 3 |
//! | its address, where nothing else names it | 4 |
//!
//! The first three are claims: where two of them name different clients the request is refused, as
//! one of them is borrowed. A client that lists addresses is served from there only, however it is
//! named. While no client is configured, all that is let in belongs to one named `default`; from
//! the first `[[clients]]` on, who is nobody's is refused.
//!
//! Certificate, listener and address are looked up once for a connection, and again when the files
//! behind them change: a client that was struck out is refused with its next request. Passwords are
//! looked up with each request, if there are any.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::IntCounter;

use crate::clock::Clock;
use crate::judgement::{ClientNames, Origin, Place};
use crate::logging::LogLimit;
use crate::metrics::{ClientMetrics, Verdict};

use self::access::{Access, Standing};
pub use self::access::{AccessError, AccessId, ServerTls, Verified, Warning};
pub use self::address::{AddressRange, NotARange};
pub use self::known_clients::KnownClients;
pub use self::settings::{ClientSettings, Settings, TlsSettings, User};
pub use self::trust::{ClientAuth, Shown, while_shown};

mod access;
mod address;
mod basic;
pub mod known_clients;
mod settings;
mod trust;

#[cfg(test)]
mod tests;

/// The client of every request, while none is configured.
pub const DEFAULT: &str = "default";

/// One client, as the rest of the gate sees it: a name, for its leases, its permissions and its
/// figures.
pub struct Client {
    name: String,
    addresses: Vec<AddressRange>,
    answered: [IntCounter; Verdict::ALL.len()],
    place: OnceLock<Place>,
}

impl Client {
    /// Its name, as configured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts one signing request of its own.
    pub fn answered(&self, verdict: Verdict) {
        self.answered[verdict as usize].inc();
    }

    /// Its place among `names`, for judgements: looked up once.
    pub fn place(&self, names: &ClientNames) -> &Place {
        self.place.get_or_init(|| names.place(&self.name))
    }

    fn may_come_from(&self, peer: SocketAddr) -> bool {
        self.addresses.is_empty() || self.addresses.iter().any(|range| range.contains(peer.ip()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.name).finish()
    }
}

/// What names a client by a claim of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Its certificate.
    Certificate,
    /// The listener that it came to.
    Listener,
    /// User and password.
    Password,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "the certificate",
            Self::Listener => "the listener",
            Self::Password => "the password",
        })
    }
}

/// Why a request belongs to nobody. The client's operator, or the gate's, is to act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIdentified {
    /// Nothing names a client.
    #[error("no client is known by this certificate, listener, user or address")]
    Nobody {
        /// Whether a user and a password could.
        ask_password: bool,
    },
    /// The user is not known, or the password is not the user's.
    #[error("the user or the password is wrong")]
    WrongPassword,
    /// Two claims name two clients.
    #[error("{} is of client {}, {} of client {}: one of them is borrowed", .0.0, .0.1, .1.0, .1.1)]
    Contradiction((Claim, String), (Claim, String)),
    /// The client is not served from this address.
    #[error("client {client} is not served from this address")]
    ForeignAddress {
        /// The client.
        client: String,
    },
    /// The certificate that the connection began with is not accepted any more.
    #[error("the certificate of this connection is not accepted any more")]
    CertificateWithdrawn,
}

impl NotIdentified {
    /// The stable name of this refusal, in answers, metrics and documentation.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Nobody { .. } => "client_unknown",
            Self::WrongPassword => "client_wrong_password",
            Self::Contradiction(..) => "client_contradiction",
            Self::ForeignAddress { .. } => "client_foreign_address",
            Self::CertificateWithdrawn => "client_certificate_withdrawn",
        }
    }

    /// Every code.
    pub const CODES: [&'static str; 5] = [
        "client_unknown",
        "client_wrong_password",
        "client_contradiction",
        "client_foreign_address",
        "client_certificate_withdrawn",
    ];
}

/// Every client, and what names them: read from the configuration and its files, and read again
/// when the files change.
pub struct Clients {
    settings: Settings,
    clock: Clock,
    metrics: ClientMetrics,
    log_limit: LogLimit,
    named: Mutex<BTreeMap<String, Arc<Client>>>,
    access: ArcSwap<Access>,
}

impl Clients {
    /// Reads every file that the settings name.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(
        settings: Settings,
        clock: Clock,
        metrics: ClientMetrics,
    ) -> Result<Arc<Self>, AccessError> {
        let clients = Self {
            settings,
            clock,
            metrics,
            log_limit: LogLimit::default(),
            named: Mutex::default(),
            access: ArcSwap::from_pointee(Access::default()),
        };
        clients.reload()?;
        Ok(Arc::new(clients))
    }

    /// Nobody in particular: all that comes is let in, and belongs to [`DEFAULT`].
    pub fn anyone() -> Arc<Self> {
        Self::load(Settings::default(), Clock::System, ClientMetrics::unregistered())
            .expect("no file is read")
    }

    /// Reads every file again. All of it holds from the next handshake and the next request on, or
    /// none of it.
    ///
    /// # Errors
    /// The first file that cannot be used; what held before goes on.
    pub fn reload(&self) -> Result<(), AccessError> {
        let read = Access::read(&self.settings, &self.clock, |name| self.intern(name));
        self.metrics.access_files_broken.set(i64::from(read.is_err()));
        let access = read?;
        if let Some(expires) = access.certificate_expires() {
            self.metrics.certificate_expires.set(expires);
        }
        self.access.store(Arc::new(access));
        Ok(())
    }

    /// What an operator should look at, though it works.
    pub fn warnings(&self) -> Vec<Warning> {
        self.access.load().warnings().to_vec()
    }

    /// What was configured.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The client of this name, which a listener may bear.
    pub fn named(&self, name: &str) -> Arc<Client> {
        self.intern(name)
    }

    /// How TLS connections begin, on a listener that asks for certificates like this.
    pub fn server_config(&self, auth: ClientAuth) -> Option<ServerTls> {
        self.access.load().server_config(auth)
    }

    /// Counts a connection that ended before its first request, and says whether it may be logged:
    /// how many were left out since the last one.
    pub fn may_log_refused_handshake(&self, code: &'static str) -> Option<u64> {
        self.metrics.handshake_failures.with_label_values(&[code]).inc();
        self.log_limit.may_say(code, self.clock.now())
    }

    fn may_log_refused_request(&self, code: &'static str) -> Option<u64> {
        self.metrics.refused.with_label_values(&[code]).inc();
        self.log_limit.may_say(code, self.clock.now())
    }

    fn intern(&self, name: &str) -> Arc<Client> {
        let mut named = self.named.lock();
        if let Some(client) = named.get(name) {
            return Arc::clone(client);
        }
        let configured = self.settings.clients.iter().find(|client| client.name == name);
        let client = Arc::new(Client {
            name: name.to_owned(),
            addresses: configured.map(|client| client.addresses.clone()).unwrap_or_default(),
            answered: Verdict::ALL
                .map(|verdict| self.metrics.requests.with_label_values(&[name, verdict.as_str()])),
            place: OnceLock::new(),
        });
        named.insert(name.to_owned(), Arc::clone(&client));
        client
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The other end of one connection, for as long as it lasts.
#[derive(Debug)]
pub struct Session {
    clients: Arc<Clients>,
    peer: SocketAddr,
    origin: Origin,
    listener: Option<Arc<Client>>,
    verified: Verified,
    standing: RefCell<Standing>,
}

impl Session {
    /// A connection from `peer` (the source that a balancer tells, if one does), to a listener that
    /// may name its client, with the certificates that were verified in its handshake.
    pub fn new(
        clients: Arc<Clients>,
        peer: SocketAddr,
        listener: Option<Arc<Client>>,
        verified: Verified,
    ) -> Self {
        let access = clients.access.load();
        let standing = access.standing(peer, listener.as_ref(), &verified, clients.clock.now());
        drop(access);
        let origin = Origin::new(peer.ip(), verified.certificates.first());
        Self { clients, peer, origin, listener, verified, standing: RefCell::new(standing) }
    }

    /// Where it comes from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where it comes from, as judgements see it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whose request this is, with its `Authorization` header.
    ///
    /// # Errors
    /// [`NotIdentified`], counted and logged.
    pub fn client(&self, authorization: Option<&[u8]>) -> Result<Arc<Client>, NotIdentified> {
        let client = self.identify(authorization);
        if let Err(reason) = &client
            && let Some(unsaid) = self.clients.may_log_refused_request(reason.code())
        {
            tracing::warn!(
                event = "client_refused",
                code = reason.code(),
                reason = %reason,
                peer = %self.peer,
                listener = self.listener.as_ref().map(|client| client.name()),
                fingerprint = self.shown().map(|shown| tracing::field::display(shown.fingerprint)),
                certificate = self.shown().map(|shown| shown.name),
                unsaid,
                "refused a request whose client is not known"
            );
        }
        client
    }

    fn identify(&self, authorization: Option<&[u8]>) -> Result<Arc<Client>, NotIdentified> {
        let access = self.clients.access.load();
        let mut standing = self.standing.borrow_mut();
        if !standing.is_of(&access) {
            let now = self.clients.clock.now();
            *standing = access.standing(self.peer, self.listener.as_ref(), &self.verified, now);
        }
        access.identify(&standing, self.peer, authorization)
    }

    fn shown(&self) -> Option<Shown> {
        self.verified.certificates.first().map(Shown::of)
    }
}
