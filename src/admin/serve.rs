//! The listener of the admin API: its own thread and runtime, bounded in connections, heads and
//! time, with TLS where it is configured.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use super::auth::ByCertificate;
use super::guard::Peer;
use super::{Desk, router};
use crate::clients::{ClientAuth, Clients, Session, Verified};

/// Serves the API on a thread of its own, for as long as the process lives.
///
/// # Errors
/// When the system gives no thread.
pub fn serve(listener: TcpListener, desk: &Arc<Desk>) -> io::Result<SocketAddr> {
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("admin-work")
        .build()?;
    let desk = Arc::clone(desk);
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let local = LocalSet::new();
        let Err(error) = local.block_on(&runtime, accept(listener, &desk));
        tracing::error!(event = "admin_ended", %error, "the admin listener ended");
    })?;
    Ok(bound)
}

async fn accept(listener: TcpListener, desk: &Arc<Desk>) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let router = router(desk);
    loop {
        let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin listener");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (desk, router) = (Arc::clone(desk), router.clone());
        tokio::task::spawn_local(async move {
            let _ = stream.set_nodelay(true);
            match desk.access.tls() {
                None => converse(stream, peer, None, router).await,
                Some(clients) => shake_hands(stream, peer, &desk, clients, router).await,
            }
            drop(place);
        });
    }
}

async fn shake_hands(
    stream: TcpStream,
    peer: SocketAddr,
    desk: &Desk,
    clients: &Arc<Clients>,
    router: Router,
) {
    let asks = clients.settings().tls.as_ref().map_or(ClientAuth::None, |tls| tls.client_auth);
    let Some(tls) = clients.server_config(asks) else { return };
    let handshake = TlsAcceptor::from(tls.config).accept(stream);
    let stream = match tokio::time::timeout(HEAD_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return refused(desk, peer, &error.to_string()),
        Err(_) => return refused(desk, peer, "it took too long"),
    };
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = shown.iter().map(|it| it.clone().into_owned()).collect::<Vec<_>>();
    let session = (!certificates.is_empty()).then(|| {
        let verified = Verified { certificates, by: tls.id };
        Session::new(Arc::clone(clients), peer, None, verified)
    });
    converse(stream, peer, session, router).await;
}

fn refused(desk: &Desk, peer: SocketAddr, reason: &str) {
    if let Some(unsaid) = desk.access.may_log("admin_handshake") {
        tracing::warn!(
            event = "admin_handshake_failed",
            %peer,
            reason,
            unsaid,
            "a TLS handshake with the admin listener failed"
        );
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    session: Option<Session>,
    router: Router,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        // Looked up with each request: a certificate may be withdrawn meanwhile.
        if let Some(Ok(client)) = session.as_ref().map(|session| session.client(None)) {
            request.extensions_mut().insert(ByCertificate(client.name().to_owned()));
        }
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = connection {
        tracing::debug!(%error, "a connection to the admin listener ended");
    }
}

const CONNECTIONS_MAX: usize = 128;
/// Changes of keys wait for the disk; a few at a time are enough.
const BLOCKING_THREADS_MAX: usize = 8;
/// A caller that has not sent its request by then is gone; so is one that idles longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 64 << 10;
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
