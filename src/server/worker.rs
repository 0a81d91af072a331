//! One worker: a thread, its single-threaded runtime, its service and its connections.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::{self, Link};
use super::connections::{Connections, Phase};
use super::drain::{self, Drained};
use super::entrance::Entrance;
use super::stats::WorkerStats;
use super::{ServerLimits, Service, handshake};

/// What a worker is sent. Unbounded: the acceptor is the only sender, and what it sends is bounded
/// by the files that the process may open.
#[derive(Debug)]
pub(super) enum Mail {
    Connection(TcpStream, SocketAddr, Arc<Entrance>),
    Drain(Duration),
}

/// A worker's thread, as its server holds it.
#[derive(Debug)]
pub(super) struct Running {
    inbox: Inbox,
    thread: JoinHandle<Drained>,
}

/// Where a worker receives its connections.
#[derive(Debug, Clone)]
pub(super) struct Inbox {
    mail: UnboundedSender<Mail>,
    stats: Arc<WorkerStats>,
    connections_max: usize,
}

impl Inbox {
    /// Whether the worker would have to turn another connection out.
    pub(super) fn is_full(&self) -> bool {
        self.open() >= self.connections_max as u64
    }

    pub(super) fn open(&self) -> u64 {
        self.stats.open.get()
    }

    /// Hands a connection over; false when the worker has ended.
    pub(super) fn send(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        entrance: Arc<Entrance>,
    ) -> bool {
        self.stats.open.increment();
        let sent = self.mail.send(Mail::Connection(stream, peer, entrance)).is_ok();
        if !sent {
            self.stats.open.decrement();
        }
        sent
    }
}

impl Running {
    pub(super) fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    pub(super) fn begin_drain(&self, timeout: Duration) {
        // A worker that has ended has nothing left to drain; `join` reports it.
        let _ = self.inbox.mail.send(Mail::Drain(timeout));
    }

    pub(super) fn join(self) -> Drained {
        self.thread.join().unwrap_or_else(|_| {
            tracing::error!("a worker thread had panicked");
            Drained::default()
        })
    }
}

/// Starts a worker, and waits until it has made its service.
pub(super) fn start<S: Service>(
    index: usize,
    connections_max: usize,
    limits: &Arc<ServerLimits>,
    stats: Arc<WorkerStats>,
    make_service: impl FnOnce() -> Rc<S> + Send + 'static,
) -> io::Result<Running> {
    let (mail, inbox) = unbounded_channel();
    let (ready, is_ready) = mpsc::sync_channel(1);
    let limits = Arc::clone(limits);
    let worker_stats = Arc::clone(&stats);
    let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(error));
                return Drained::default();
            }
        };
        runtime.block_on(async move {
            let worker = Worker::new(connections_max, limits, worker_stats, make_service());
            let _ = ready.send(Ok(()));
            worker.run(inbox).await
        })
    })?;
    is_ready.recv().unwrap_or_else(|_| Err(io::Error::other("a worker ended while it started")))?;
    Ok(Running { inbox: Inbox { mail, stats, connections_max }, thread })
}

/// What a worker's connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connections: RefCell<Connections>,
    pub(super) stats: Arc<WorkerStats>,
    /// Told when a connection or a request ends during a drain.
    pub(super) something_ended: Notify,
}

impl Shared {
    /// Whether no connection is open and no request is in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.connections.borrow().len() == 0 && self.stats.in_flight.get() == 0
    }

    pub(super) fn note_end(&self) {
        if self.connections.borrow().is_draining() {
            self.something_ended.notify_one();
        }
    }
}

/// The state of one worker; lives on its thread.
#[derive(Debug)]
pub(super) struct Worker<S> {
    shared: Rc<Shared>,
    service: Rc<S>,
    limits: Arc<ServerLimits>,
    connections_max: usize,
    http: http1::Builder,
    handshake_turns: Arc<Semaphore>,
}

impl<S: Service> Worker<S> {
    pub(super) fn new(
        connections_max: usize,
        limits: Arc<ServerLimits>,
        stats: Arc<WorkerStats>,
        service: Rc<S>,
    ) -> Rc<Self> {
        let mut http = http1::Builder::new();
        // hyper's own header timeout also runs while a connection is idle, so it cannot tell a
        // pooled client from a slow one: `sweep` does.
        http.header_read_timeout(None)
            // A client that has closed its sending side still gets its answer.
            .half_close(true)
            .max_headers(limits.headers_max)
            .max_buf_size(limits.head_bytes_max.max(8192));
        let shared = Shared {
            connections: RefCell::new(Connections::new()),
            stats,
            something_ended: Notify::new(),
        };
        let handshake_turns = Arc::new(Semaphore::new(1));
        Rc::new(Self {
            shared: Rc::new(shared),
            service,
            limits,
            connections_max,
            http,
            handshake_turns,
        })
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    pub(super) fn service(&self) -> &Rc<S> {
        &self.service
    }

    pub(super) fn limits(&self) -> &ServerLimits {
        &self.limits
    }

    pub(super) fn handshake_turns(&self) -> &Arc<Semaphore> {
        &self.handshake_turns
    }

    pub(super) fn http(&self) -> &http1::Builder {
        &self.http
    }

    /// Serves what arrives until it is told to drain.
    pub(super) async fn run(self: Rc<Self>, mut inbox: UnboundedReceiver<Mail>) -> Drained {
        let mut sweep = interval(self.limits.sweep_interval);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                mail = inbox.recv() => match mail {
                    Some(Mail::Connection(stream, peer, entrance)) => {
                        self.receive(stream, peer, entrance);
                    }
                    Some(Mail::Drain(timeout)) => return drain::drain(&self, timeout).await,
                    None => return drain::drain(&self, Duration::ZERO).await,
                },
                _ = sweep.tick() => self.sweep(Instant::now()),
            }
        }
    }

    fn receive(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, entrance: Arc<Entrance>) {
        // Answers are small and whole: waiting to fill a segment would only delay them.
        let stream =
            stream.set_nodelay(true).and_then(|()| tokio::net::TcpStream::from_std(stream));
        match stream {
            Ok(stream) => self.serve(stream, peer, entrance),
            Err(error) => {
                self.shared.stats.open.decrement();
                self.shared.stats.aborted.increment();
                tracing::debug!(%error, %peer, "could not take a connection over");
            }
        }
    }

    /// Serves a connection in a task of its own, making room for it where there is none.
    ///
    /// The sender has counted it as open.
    pub(super) fn serve<I>(self: &Rc<Self>, io: I, peer: SocketAddr, entrance: Arc<Entrance>)
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let now = Instant::now();
        if !self.make_room(now) {
            self.shared.stats.open.decrement();
            self.shared.stats.refused.increment();
            return;
        }
        let worker = Rc::clone(self);
        if !entrance.has_handshake() {
            let link = Link::open(&self.shared, Phase::Idle, now);
            let session = Rc::new(handshake::plain_session(&entrance, peer));
            tokio::task::spawn_local(connection::serve(worker, io, session, link));
            return;
        }
        self.make_room_for_handshake(now);
        let link = Link::open(&self.shared, Phase::Handshake, now);
        tokio::task::spawn_local(connection::begin(worker, io, peer, entrance, link));
    }

    fn make_room(&self, now: Instant) -> bool {
        let mut connections = self.shared.connections.borrow_mut();
        if connections.len() < self.connections_max {
            return true;
        }
        let Some((id, _)) = connections.longest(Phase::Idle) else {
            return false;
        };
        connections.cut(id, now);
        self.shared.stats.evicted.increment();
        true
    }

    /// The oldest handshake gives way: it is the one that is least likely to end.
    fn make_room_for_handshake(&self, now: Instant) {
        let mut connections = self.shared.connections.borrow_mut();
        if connections.count(Phase::Handshake) >= self.limits.handshakes_max
            && let Some((id, _)) = connections.longest(Phase::Handshake)
        {
            connections.cut(id, now);
        }
    }

    /// Cuts every connection that has been in its phase for too long.
    pub(super) fn sweep(&self, now: Instant) {
        let Shared { connections, stats, .. } = &*self.shared;
        stats.sweeps.increment();
        let mut connections = connections.borrow_mut();
        for (phase, timeout, counter) in [
            (Phase::Handshake, self.limits.handshake_timeout, &stats.handshake_timeouts),
            (Phase::Idle, self.limits.idle_timeout, &stats.idle_timeouts),
            (Phase::Head, self.limits.head_timeout, &stats.head_timeouts),
            (Phase::Stalled, self.limits.stall_timeout, &stats.stall_timeouts),
        ] {
            while let Some((id, since)) = connections.longest(phase) {
                if since + timeout > now {
                    break;
                }
                connections.cut(id, now);
                counter.increment();
            }
        }
        stats.idle.set(connections.count(Phase::Idle) as u64);
    }
}
