//! One client connection: hyper's HTTP/1.1 over a socket whose progress is watched.
//!
//! hyper drops the future of a request when its client hangs up. By then a watermark may have been
//! advanced, so each request runs in a task of its own, which the connection only waits for.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::Service;
use super::connections::{Id, Order, Phase};
use super::entrance::Entrance;
use super::handshake::{self, HandshakeError};
use super::worker::{Shared, Worker};
use crate::clients::Session;

/// How long a connection that has sent nothing yet is still listened to when its worker drains; as
/// long before that for its handshake. Its client has just connected, and to close it now would
/// meet its first request on the way.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(100);

/// A connection's place among the connections of its worker, which ends with the last clone.
#[derive(Debug)]
pub(super) struct Link {
    shared: Rc<Shared>,
    id: Id,
    peer_closed: Cell<bool>,
    is_answering: Cell<bool>,
    is_stalled: Cell<bool>,
    /// Whether a request ever came.
    is_used: Cell<bool>,
}

impl Link {
    /// Adds a connection to its worker. The sender has counted it as open.
    pub(super) fn open(shared: &Rc<Shared>, phase: Phase, now: Instant) -> Rc<Self> {
        let mut connections = shared.connections.borrow_mut();
        let id = connections.insert(phase, now);
        shared.stats.idle.set(connections.count(Phase::Idle) as u64);
        Rc::new(Self {
            shared: Rc::clone(shared),
            id,
            peer_closed: Cell::new(false),
            is_answering: Cell::new(false),
            is_stalled: Cell::new(false),
            is_used: Cell::new(false),
        })
    }

    fn order(&self, cx: &Context<'_>) -> Order {
        self.shared.connections.borrow_mut().order(self.id, cx.waker())
    }

    /// The handshake is over; the first request may come.
    fn is_begun(&self) {
        self.advance(&[Phase::Handshake], Phase::Idle);
    }

    /// Moves to phase `to` if the connection is in phase `from`.
    fn advance(&self, from: &[Phase], to: Phase) {
        let mut connections = self.shared.connections.borrow_mut();
        if from.contains(&connections.phase(self.id)) {
            connections.enter(self.id, to, Instant::now());
            self.shared.stats.idle.set(connections.count(Phase::Idle) as u64);
        }
    }

    /// Bytes arrived. After an answer they begin the next request's headers; in a request they are
    /// its body, whose time the body's reader keeps.
    ///
    /// The beginning of a pipelined head that arrived together with the request before it is not
    /// seen here. It counts as idle until its next byte.
    fn received(&self) {
        self.advance(&[Phase::Idle], Phase::Head);
    }

    /// The headers of a request are complete.
    fn began_request(&self) {
        self.is_answering.set(true);
        self.is_used.set(true);
        self.advance(&[Phase::Idle, Phase::Head], Phase::Busy);
    }

    /// The answer is ready; writing it out begins.
    fn answered(&self) {
        self.is_answering.set(false);
        self.advance(&[Phase::Busy], Phase::Idle);
    }

    fn stalled(&self) {
        if !self.is_stalled.replace(true) {
            self.advance(&[Phase::Idle, Phase::Head, Phase::Busy], Phase::Stalled);
        }
    }

    fn progressed(&self) {
        if self.is_stalled.replace(false) {
            let to = if self.is_answering.get() { Phase::Busy } else { Phase::Idle };
            self.advance(&[Phase::Stalled], to);
        }
    }

    fn ending(&self) {
        self.advance(&[Phase::Idle, Phase::Head, Phase::Stalled], Phase::Busy);
    }

    fn is_draining(&self) -> bool {
        self.shared.connections.borrow().is_draining()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut connections = self.shared.connections.borrow_mut();
        connections.remove(self.id);
        self.shared.stats.idle.set(connections.count(Phase::Idle) as u64);
        drop(connections);
        self.shared.stats.open.decrement();
        self.shared.note_end();
    }
}

enum End {
    /// HTTP is done with the connection, which may still have to be read out.
    Finished,
    Failed(hyper::Error),
    Cut,
}

/// Begins a connection as its entrance wants it, and serves it.
pub(super) async fn begin<I, S>(
    worker: Rc<Worker<S>>,
    mut io: I,
    peer: SocketAddr,
    entrance: Arc<Entrance>,
    link: Rc<Link>,
) where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service,
{
    let begun = Instant::now();
    let report = |order, peer| match order {
        Order::Serve | Order::Finish => {} // the gate closes
        Order::Cut if begun.elapsed() >= worker.limits().handshake_timeout => {
            HandshakeError::Timeout.report(&entrance, peer, None);
        }
        Order::Cut => HandshakeError::CrowdedOut.report(&entrance, peer, None),
    };
    let source = match unless_told(&link, handshake::source(&mut io, peer, &entrance)).await {
        Ok(Ok(source)) => source,
        Ok(Err(error)) => return error.report(&entrance, peer, None),
        Err(order) => return report(order, peer),
    };
    let Some(auth) = entrance.tls else {
        let session = Rc::new(handshake::plain_session(&entrance, source));
        link.is_begun();
        return serve(worker, io, session, link).await;
    };
    let handshake = handshake::encrypt(io, auth, &entrance, worker.handshake_turns());
    match unless_told(&link, handshake).await {
        Ok(Ok((stream, verified))) => {
            let session = Rc::new(handshake::session(&entrance, source, verified));
            link.is_begun();
            serve(worker, stream, session, link).await;
        }
        Ok(Err(refused)) => {
            refused.error.report(&entrance, source, refused.shown.as_ref());
            let _ = unless_told(&link, refused.close(worker.limits())).await;
        }
        Err(order) => report(order, source),
    }
}

/// Runs `work` for as long as the connection is to go on; a moment longer when the worker drains.
async fn unless_told<T>(link: &Link, work: impl Future<Output = T>) -> Result<T, Order> {
    let mut work = std::pin::pin!(work);
    let mut grace = None;
    poll_fn(|cx| {
        match link.order(cx) {
            Order::Serve => {}
            Order::Finish => {
                let grace = grace.get_or_insert_with(|| Box::pin(sleep(FIRST_REQUEST_GRACE)));
                if grace.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(Order::Finish));
                }
            }
            Order::Cut => return Poll::Ready(Err(Order::Cut)),
        }
        work.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// Serves a connection until either side ends it.
pub(super) async fn serve<I, S>(worker: Rc<Worker<S>>, io: I, session: Rc<Session>, link: Rc<Link>)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service,
{
    let peer = session.peer();
    let dispatch = Dispatch { worker: Rc::clone(&worker), session, link: Rc::clone(&link) };
    let io = TokioIo::new(Watched { io, link: Rc::clone(&link), written_in_turn: 0 });
    let mut http = worker.http().serve_connection(io, dispatch);
    let mut is_finishing = false;
    let mut first_request_grace = None;
    let end = poll_fn(|cx| {
        match link.order(cx) {
            Order::Serve => {}
            Order::Finish if is_finishing => {}
            Order::Finish if !link.is_used.get() => {
                let grace =
                    first_request_grace.get_or_insert_with(|| Box::pin(sleep(FIRST_REQUEST_GRACE)));
                if grace.as_mut().poll(cx).is_ready() {
                    is_finishing = true;
                    Pin::new(&mut http).graceful_shutdown();
                }
            }
            Order::Finish => {
                is_finishing = true;
                Pin::new(&mut http).graceful_shutdown();
            }
            Order::Cut => return Poll::Ready(End::Cut),
        }
        let served = http.poll_without_shutdown(cx).map(|result| match result {
            Ok(()) => End::Finished,
            Err(error) => End::Failed(error),
        });
        if first_request_grace.is_some() && !is_finishing && link.is_used.get() {
            // The first request came: its answer is the last.
            is_finishing = true;
            Pin::new(&mut http).graceful_shutdown();
        }
        served
    })
    .await;
    match end {
        End::Finished => close(http, &link, worker.limits().linger_timeout).await,
        End::Failed(error) => {
            worker.shared().stats.aborted.increment();
            tracing::debug!(%error, %peer, "connection failed");
        }
        End::Cut => tracing::debug!(%peer, "connection cut"),
    }
}

/// Closes a connection so that its last answer arrives.
///
/// Closing a socket that still holds unread bytes resets it, and the reset may overtake the answer:
/// a client that sends 20 MB would see a broken pipe in place of the reason. So our side is closed
/// first, and what still comes is thrown away until the peer closes too (RFC 9112, section 9.6).
async fn close<I, S>(
    http: http1::Connection<TokioIo<Watched<I>>, Dispatch<S>>,
    link: &Link,
    patience: Duration,
) where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service,
{
    if link.peer_closed.get() {
        return;
    }
    link.ending();
    let mut io = http.into_parts().io.into_inner().io;
    let linger = async {
        io.shutdown().await?;
        if link.is_draining() {
            return Ok(()); // its last answer said `Connection: close`, or it was idle
        }
        let mut sink = vec![0; 4096];
        while io.read(&mut sink).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // Late or broken, there is nothing left to do for this peer.
    let _ = timeout(patience, linger).await;
}

/// Hands hyper's requests to the worker's service.
#[derive(Debug)]
struct Dispatch<S> {
    worker: Rc<Worker<S>>,
    session: Rc<Session>,
    link: Rc<Link>,
}

impl<S: Service> hyper::service::Service<Request<Incoming>> for Dispatch<S> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answer<S>;

    fn call(&self, request: Request<Incoming>) -> Answer<S> {
        self.link.began_request();
        let in_flight = InFlight::begin(self.worker.shared());
        let (service, session) = (Rc::clone(self.worker.service()), Rc::clone(&self.session));
        // Boxed, and called within: a future of some kilobytes is not moved from hand to hand.
        let task = tokio::task::spawn_local(Box::pin(async move {
            let _in_flight = in_flight;
            service.call(request, session).await
        }));
        Answer {
            task,
            worker: Rc::clone(&self.worker),
            link: Rc::clone(&self.link),
            is_answered: false,
        }
    }
}

/// Counts a request for as long as its task runs, whatever becomes of its connection.
struct InFlight {
    shared: Rc<Shared>,
}

impl InFlight {
    fn begin(shared: &Rc<Shared>) -> Self {
        shared.stats.requests.increment();
        shared.stats.in_flight.increment();
        Self { shared: Rc::clone(shared) }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.stats.in_flight.decrement();
        self.shared.note_end();
    }
}

/// Waits for the task of one request. Dropping it leaves the task running.
struct Answer<S> {
    task: JoinHandle<Response<Full<Bytes>>>,
    worker: Rc<Worker<S>>,
    link: Rc<Link>,
    is_answered: bool,
}

impl<S: Service> Future for Answer<S> {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.task).poll(cx)).unwrap_or_else(|error| {
            self.worker.shared().stats.panics.increment();
            tracing::error!(%error, "a request panicked");
            self.worker.service().on_panic()
        });
        self.is_answered = true;
        self.link.answered();
        Poll::Ready(Ok(response))
    }
}

impl<S> Drop for Answer<S> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.link.shared.stats.hung_up.increment();
        }
    }
}

/// A socket that tells its [`Link`] what passes through it, and gives the others their turn.
#[derive(Debug)]
struct Watched<I> {
    io: I,
    link: Rc<Link>,
    written_in_turn: usize,
}

/// How much one connection writes before the others of its worker are looked at. The list of half a
/// million keys has 50 MB: to a client that reads as fast as it is written, it would be written in
/// one go, and everything else would wait for a tenth of a second.
const TURN_BYTES: usize = 128 << 10;

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.link.received();
        } else {
            self.link.peer_closed.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I> Watched<I> {
    /// Not ready once after every so many bytes: the worker looks at its sockets, serves others.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.written_in_turn < TURN_BYTES {
            return Poll::Ready(());
        }
        self.written_in_turn = 0;
        std::pin::pin!(tokio::task::yield_now()).poll(cx)
    }

    fn note_written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.written_in_turn += bytes;
        }
        self.note(written)
    }

    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &written {
            Poll::Pending => self.link.stalled(),
            Poll::Ready(Ok(_)) => self.link.progressed(),
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        let buf = &buf[..buf.len().min(TURN_BYTES)];
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note_written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(large) = bufs.iter().position(|buf| buf.len() > TURN_BYTES) {
            return match large {
                0 => self.poll_write(cx, &bufs[0]),
                _ => self.poll_write_vectored(cx, &bufs[..large]),
            };
        }
        ready!(self.poll_turn(cx));
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
