//! The listener of `/metrics` and `/healthz`: its own port, its own thread and runtime, so that no
//! scrape delays a signature.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime;
use tokio::sync::Semaphore;

use super::Metrics;

/// Scrapers connected at once: there are one or two, and people with a browser.
const CONNECTIONS_MAX: usize = 32;
/// A scraper that has not sent its request by then is gone; so is one that idles longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the metrics on a thread of their own until `shutdown` completes. Returns the bound
/// address, which matters where the port was 0.
///
/// # Errors
/// When the address cannot be bound; the error names it and its setting.
pub fn spawn(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<SocketAddr> {
    let named = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on {address} (metrics.address): {error}"),
        )
    };
    spawn_on(TcpListener::bind(address).map_err(named)?, metrics, shutdown)
}

/// As [`spawn`], on a socket that is bound already.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn_on(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<SocketAddr> {
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        runtime.block_on(async move {
            tokio::select! {
                Err(error) = serve(listener, metrics) => {
                tracing::error!(%error, "metrics listener ended");
            }
            () = shutdown => {}
            }
        });
    })?;
    Ok(bound)
}

async fn serve(listener: TcpListener, metrics: Arc<Metrics>) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the metrics listener");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&request, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = connection {
                tracing::debug!(%error, "connection to the metrics listener ended");
            }
            drop(place);
        });
    }
}

fn respond(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let plain = |status, text: &str| answer(status, "text/plain; charset=utf-8", text.to_owned());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => match metrics.encode() {
            Ok(text) => answer(StatusCode::OK, prometheus::TEXT_FORMAT, text),
            Err(error) => {
                tracing::error!(%error, "cannot encode the metrics");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded\n")
            }
        },
        "/healthz" if metrics.store.poisoned.get() != 0 => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "the slashing store has failed; nothing is signed until a restart\n",
        ),
        "/healthz" if metrics.audit.blocked.get() != 0 => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "the audit log's disk is full or does not answer; nothing is signed until it does\n",
        ),
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        _ => plain(StatusCode::NOT_FOUND, "here are /metrics and /healthz\n"),
    }
}

fn answer(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
