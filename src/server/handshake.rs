//! What comes before the first request: where a balancer connects from, and TLS.
//!
//! | what could hurt | what holds it |
//! |---|---|
//! | a peer that never ends its handshake | a deadline, kept by the worker's sweep |
//! | very many such peers | a bound for each worker; the oldest gives way to the next |
//! | handshakes in a flood: each costs as much as ten requests | one at a time (`Paced`) |
//! | a refusal that the client cannot read | the alert is sent, and the rest is read out |
//!
//! Every refusal is counted and logged with its reason.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::{AlertDescription, CertificateError, InvalidMessage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ServerLimits;
use super::entrance::Entrance;
use super::proxy_protocol::{self, Proxied, ProxyError};
use crate::clients::{ClientAuth, Session, Shown, Verified, while_shown};

#[cfg(test)]
mod tests;

/// Why a connection never came to its first request.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// A certificate is required.
    #[error("the client showed no certificate")]
    NoCertificate,
    /// Signed by nobody that is trusted, and not known by itself.
    #[error("the client's certificate is of no trusted authority, and not a known one")]
    UnknownAuthority,
    /// There is no authority to trust, and it is not known.
    #[error("the client's certificate is not a known one")]
    UnknownClient,
    /// In the revocation list.
    #[error("the client's certificate is revoked")]
    Revoked,
    /// Its time is over.
    #[error("the client's certificate has expired")]
    Expired,
    /// Its time has not come, or one of the two clocks is wrong.
    #[error("the client's certificate is not valid yet")]
    NotYetValid,
    /// Unusable in another way.
    #[error("the client's certificate cannot be used: {0}")]
    BadCertificate(CertificateError),
    /// The client turned away from our certificate.
    #[error("the client does not accept the gate's certificate: {0:?}")]
    RefusedByClient(AlertDescription),
    /// Plain HTTP, mostly.
    #[error("the client does not speak TLS")]
    NotTls,
    /// No version, cipher or key exchange that both have, or a breach of the protocol.
    #[error("TLS protocol error: {0}")]
    Protocol(rustls::Error),
    /// The connection broke off.
    #[error("the connection broke off in its handshake")]
    Broken(#[source] io::Error),
    /// It took too long.
    #[error("the handshake did not end in time")]
    Timeout,
    /// Too many others were in their handshake.
    #[error("the handshake gave way to newer ones: too many at once")]
    CrowdedOut,
    /// Not one of the balancers that the listener is for.
    #[error("the address is not one of the listener's proxy_protocol_from")]
    UntrustedBalancer,
    /// The balancer's header.
    #[error(transparent)]
    Proxy(ProxyError),
}

impl HandshakeError {
    /// The stable name of this reason, in metrics and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::UnknownAuthority => "unknown_authority",
            Self::UnknownClient => "unknown_client",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BadCertificate(_) => "bad_certificate",
            Self::RefusedByClient(_) => "refused_by_client",
            Self::NotTls => "not_tls",
            Self::Protocol(_) => "protocol",
            Self::Broken(_) | Self::Proxy(ProxyError::Broken(_)) => "broken_off",
            Self::Timeout => "timeout",
            Self::CrowdedOut => "crowded_out",
            Self::UntrustedBalancer => "proxy_untrusted",
            Self::Proxy(ProxyError::Missing) => "proxy_missing",
            Self::Proxy(ProxyError::Version1) => "proxy_version_1",
            Self::Proxy(
                ProxyError::Version(_)
                | ProxyError::Command(_)
                | ProxyError::Transport(_)
                | ProxyError::Length(_),
            ) => "proxy_malformed",
        }
    }

    /// Every code.
    pub const CODES: [&'static str; 17] = [
        "no_certificate",
        "unknown_authority",
        "unknown_client",
        "revoked",
        "expired",
        "not_yet_valid",
        "bad_certificate",
        "refused_by_client",
        "not_tls",
        "protocol",
        "broken_off",
        "timeout",
        "crowded_out",
        "proxy_untrusted",
        "proxy_missing",
        "proxy_version_1",
        "proxy_malformed",
    ];

    fn of_tls(error: io::Error) -> Self {
        let Some(tls) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>())
        else {
            return Self::Broken(error);
        };
        match tls {
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::AlertReceived(alert) => Self::RefusedByClient(*alert),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            other => Self::Protocol(other.clone()),
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::ApplicationVerificationFailure => Self::UnknownClient,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            other => Self::BadCertificate(other.clone()),
        }
    }

    /// Counts it, and logs it unless there are very many.
    pub(super) fn report(&self, entrance: &Entrance, peer: SocketAddr, shown: Option<&Shown>) {
        let code = self.code();
        let Some(unsaid) = entrance.clients.may_log_refused_handshake(code) else {
            return;
        };
        if matches!(self, Self::Broken(_) | Self::Proxy(ProxyError::Broken(_))) {
            // A look at the port, as balancers and probes do.
            tracing::debug!(reason = code, %peer, listener = entrance.name, "{self}");
            return;
        }
        tracing::warn!(
            event = "handshake_refused",
            reason = code,
            detail = %self,
            %peer,
            listener = entrance.name,
            fingerprint = shown.map(|shown| tracing::field::display(shown.fingerprint)),
            certificate = shown.map(|shown| shown.name.as_str()),
            unsaid,
            "refused a connection"
        );
    }
}

/// Where a connection really comes from.
///
/// # Errors
/// [`HandshakeError`]; a listener for balancers serves nobody else.
pub(super) async fn source(
    io: &mut (impl AsyncRead + Unpin),
    peer: SocketAddr,
    entrance: &Entrance,
) -> Result<SocketAddr, HandshakeError> {
    if !entrance.expects_balancer() {
        return Ok(peer);
    }
    if !entrance.is_balancer(peer) {
        return Err(HandshakeError::UntrustedBalancer);
    }
    match proxy_protocol::read(io).await.map_err(HandshakeError::Proxy)? {
        Proxied::Local => Ok(peer),
        Proxied::For(source) => Ok(source),
    }
}

/// A connection that could not begin, with its socket as far as its peer may still be told.
pub(super) struct Refused<I> {
    pub(super) error: HandshakeError,
    pub(super) shown: Option<Shown>,
    io: Paced<I>,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Refused<I> {
    /// Lets the alert arrive: a socket that is closed with bytes unread is reset, and the client
    /// would see that in place of the reason.
    pub(super) async fn close(self, limits: &ServerLimits) {
        let mut io = self.io.io;
        let linger = async {
            io.shutdown().await?;
            let mut sink = vec![0; 4096];
            while io.read(&mut sink).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        // Late or broken, there is nothing left to do for this peer.
        let _ = timeout(limits.linger_timeout, linger).await;
    }
}

/// TLS, from the client's hello to its certificate.
///
/// # Errors
/// Why the connection cannot begin; its peer was sent an alert.
pub(super) async fn encrypt<I>(
    io: I,
    auth: ClientAuth,
    entrance: &Entrance,
    turns: &Arc<Semaphore>,
) -> Result<(TlsStream<Paced<I>>, Verified), Refused<I>>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let state = entrance.clients.server_config(auth).expect("a listener with TLS has a [tls]");
    let io = Paced { io, turns: Some(Arc::clone(turns)), turn: None, waiting: None };
    let accept = TlsAcceptor::from(state.config).accept(io).into_fallible();
    let (accepted, shown) = while_shown(accept).await;
    match accepted {
        Ok(mut stream) => {
            let (io, session) = stream.get_mut();
            io.end_pacing();
            let certificates = session.peer_certificates().unwrap_or_default();
            let certificates = certificates.iter().map(|one| one.clone().into_owned()).collect();
            Ok((stream, Verified { certificates, by: state.id }))
        }
        Err((error, io)) => Err(Refused { error: HandshakeError::of_tls(error), shown, io }),
    }
}

/// A session for a connection that began without TLS.
pub(super) fn plain_session(entrance: &Entrance, source: SocketAddr) -> Session {
    session(entrance, source, Verified::default())
}

/// The session of a connection that has begun.
pub(super) fn session(entrance: &Entrance, source: SocketAddr, verified: Verified) -> Session {
    Session::new(Arc::clone(&entrance.clients), source, entrance.client.clone(), verified)
}

/// A socket that is read only when it is its turn, one on each worker.
///
/// What arrives in a handshake sets off a signature or two: some hundred microseconds in which
/// nobody else on the worker is served. A turn ends when all that had become ready by then, the
/// sockets of others included, has been served once.
pub(super) struct Paced<I> {
    io: I,
    turns: Option<Arc<Semaphore>>,
    turn: Option<OwnedSemaphorePermit>,
    waiting: Option<Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>>>>>,
}

impl<I> Paced<I> {
    fn end_pacing(&mut self) {
        (self.turns, self.turn, self.waiting) = (None, None, None);
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, turns: &Arc<Semaphore>) -> Poll<()> {
        if self.turn.is_none() {
            let turns = Arc::clone(turns);
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::pin(async move { turns.acquire_owned().await.ok() }));
            self.turn = ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
        Poll::Ready(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Paced<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(turns) = self.turns.clone() else {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        };
        ready!(self.poll_turn(cx, &turns));
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let turn = self.turn.take();
        if read.is_ready() {
            tokio::task::spawn_local(async move {
                yield_now().await; // until the runtime has looked at its sockets again
                drop(turn);
            });
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Paced<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
