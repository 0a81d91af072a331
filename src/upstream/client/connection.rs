//! One connection to the upstream, driven by the call that uses it.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::CONTENT_TYPE;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::client::TlsStream;

use super::{Response, Stage};
use crate::upstream::tls::SignerTls;

/// What is sent.
pub(super) type Request = hyper::Request<Full<Bytes>>;

/// Why an exchange failed. The connection cannot be used again.
#[derive(Debug)]
pub(super) enum Failure {
    Http {
        error: hyper::Error,
        /// Whether any byte of an answer had arrived.
        is_answered: bool,
    },
    BodyTooLarge {
        limit: usize,
    },
}

impl Failure {
    /// Whether the connection was already ending when the request was sent, as far as can be
    /// known: it ended, and the upstream had not begun to answer.
    pub(super) fn is_stale(&self) -> bool {
        match self {
            Self::Http { error, is_answered } => !is_answered && !error.is_user(),
            Self::BodyTooLarge { .. } => false,
        }
    }
}

/// See the module.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<Counted>, Full<Bytes>>,
    bytes_read: Rc<Cell<u64>>,
    is_ended: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("is_ended", &self.is_ended).finish_non_exhaustive()
    }
}

impl Connection {
    /// Resolves `host:port` and connects to the first of its addresses that answers.
    ///
    /// An address that does not answer uses up its part of the time, not that of the others.
    ///
    /// With `tls` the signer there must prove that it is the one named.
    pub(super) async fn connect(
        authority: &str,
        tls: Option<(&SignerTls, &ServerName<'static>)>,
        by: Instant,
    ) -> io::Result<Box<Self>> {
        let resolved = timeout_at(by, lookup_host(authority)).await.map_err(timed_out)??;
        let addresses: Vec<SocketAddr> = resolved.collect();
        let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (tried, address) in addresses.iter().enumerate() {
            let left = by.saturating_duration_since(Instant::now());
            let part = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            match timeout(part, TcpStream::connect(address)).await.map_err(timed_out) {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    let stream = timeout_at(by, Stream::over(stream, tls)).await;
                    return Self::handshake(stream.map_err(timed_out)??).await;
                }
                Ok(Err(failed)) | Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    async fn handshake(stream: Stream) -> io::Result<Box<Self>> {
        let bytes_read = Rc::new(Cell::new(0));
        let io = Counted { stream, bytes_read: Rc::clone(&bytes_read) };
        let handshake = http1::Builder::new().handshake(TokioIo::new(io)).await;
        let (sender, driver) = handshake.map_err(io::Error::other)?;
        Ok(Box::new(Self { sender, driver, bytes_read, is_ended: false }))
    }

    /// Whether another request may be sent, as far as is known without waiting: HTTP allows it,
    /// and the upstream has not closed the connection.
    pub(super) fn is_open(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        // The answer may have been read out without hyper having noticed that it is idle again.
        let ended = self.poll_driver(&mut cx).is_ready();
        !ended && self.sender.is_ready()
    }

    fn poll_driver(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        if self.is_ended {
            return Poll::Ready(Ok(()));
        }
        let result = ready!(Pin::new(&mut self.driver).poll(cx));
        self.is_ended = true;
        Poll::Ready(result)
    }

    /// Sends one request and reads its answer, of at most `bytes_max` bytes, to the end.
    pub(super) async fn exchange(
        &mut self,
        request: Request,
        bytes_max: usize,
        stage: &Cell<Stage>,
    ) -> Result<Response, Failure> {
        stage.set(Stage::Response);
        let before = self.bytes_read.get();
        let head = self.head(request).await;
        let (parts, body) = match head {
            Ok(response) => response.into_parts(),
            Err(error) => {
                let is_answered = self.bytes_read.get() != before;
                return Err(Failure::Http { error, is_answered });
            }
        };
        stage.set(Stage::Body);
        let body = self.body(body, bytes_max).await?;
        let content_type = parts.headers.get(CONTENT_TYPE).cloned();
        Ok(Response { status: parts.status.as_u16(), content_type, body })
    }

    async fn head(&mut self, request: Request) -> hyper::Result<hyper::Response<Incoming>> {
        let mut response = std::pin::pin!(self.sender.send_request(request));
        let mut response = response.as_mut();
        poll_fn(|cx| {
            // The driver's own error, if it has one, reaches the call through `response`.
            let _ = self.poll_driver(cx);
            response.as_mut().poll(cx)
        })
        .await
    }

    async fn body(&mut self, mut body: Incoming, bytes_max: usize) -> Result<Bytes, Failure> {
        let too_large = Failure::BodyTooLarge { limit: bytes_max };
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(too_large);
        }
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let frame = poll_fn(|cx| {
                let _ = self.poll_driver(cx);
                Pin::new(&mut body).poll_frame(cx)
            });
            let Some(frame) = frame.await else { break };
            let frame = frame.map_err(|error| Failure::Http { error, is_answered: true })?;
            let Ok(chunk) = frame.into_data() else {
                continue;
            };
            if first.len() + rest.len() + chunk.len() > bytes_max {
                return Err(too_large);
            }
            if first.is_empty() && rest.is_empty() {
                first = chunk;
                continue;
            }
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&chunk);
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    }
}

fn timed_out(_: Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// What the bytes go through.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    async fn over(
        stream: TcpStream,
        tls: Option<(&SignerTls, &ServerName<'static>)>,
    ) -> io::Result<Self> {
        match tls {
            None => Ok(Self::Plain(stream)),
            Some((tls, name)) => Ok(Self::Tls(Box::new(tls.connect(name.clone(), stream).await?))),
        }
    }
}

/// Calls the same method of either stream.
macro_rules! either {
    ($stream:expr, $pinned:ident => $call:expr) => {
        match $stream {
            Stream::Plain(stream) => {
                let $pinned = Pin::new(stream);
                $call
            }
            Stream::Tls(stream) => {
                let $pinned = Pin::new(stream);
                $call
            }
        }
    };
}

/// A stream that counts what is read from it.
struct Counted {
    stream: Stream,
    bytes_read: Rc<Cell<u64>>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(either!(&mut self.stream, stream => stream.poll_read(cx, buf)))?;
        let read = (buf.filled().len() - before) as u64;
        self.bytes_read.set(self.bytes_read.get() + read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(&mut self.stream, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(&mut self.stream, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        either!(&self.stream, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.stream, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.stream, stream => stream.poll_shutdown(cx))
    }
}
