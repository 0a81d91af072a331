//! The thread that accepts, and hands the connections round.
//!
//! Not the kernel (`SO_REUSEPORT`), which spreads by hash: two connections of one client may land
//! on one core while the other sleeps.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::entrance::{Entrance, Listener};
use super::stats::ServerStats;
use super::worker::Inbox;

/// The pause after an accept that failed for want of files or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Failures between two lines of the log.
const LOG_EVERY: u64 = 100;

/// The acceptor's thread, as its server holds it.
#[derive(Debug)]
pub(super) struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Closes the listeners; returns when no connection can be handed over any more.
    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the acceptor thread had panicked");
        }
    }
}

pub(super) fn start(
    listeners: Vec<Listener>,
    workers: Vec<Inbox>,
    stats: Arc<ServerStats>,
) -> io::Result<Running> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
        let acceptor = Rc::new(Acceptor { workers, stats, next: Cell::new(0) });
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        runtime.block_on(async move {
            let listeners = listeners.into_iter().map(|Listener { socket, entrance }| {
                Ok((tokio::net::TcpListener::from_std(socket)?, entrance))
            });
            match listeners.collect::<io::Result<Vec<_>>>() {
                Ok(listeners) => {
                    for (listener, entrance) in listeners {
                        tokio::task::spawn_local(Rc::clone(&acceptor).accept(listener, entrance));
                    }
                    let _ = ready.send(Ok(()));
                    // Also ends when the server was dropped without a drain.
                    let _ = stopped.await;
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        });
    })?;
    is_ready.recv().unwrap_or_else(|_| Err(io::Error::other("the acceptor ended at its start")))?;
    Ok(Running { stop, thread })
}

struct Acceptor {
    workers: Vec<Inbox>,
    stats: Arc<ServerStats>,
    next: Cell<usize>,
}

impl Acceptor {
    async fn accept(self: Rc<Self>, listener: tokio::net::TcpListener, entrance: Arc<Entrance>) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    self.stats.accepted.increment();
                    match stream.into_std() {
                        Ok(stream) => self.hand_over(stream, peer, &entrance),
                        Err(error) => tracing::warn!(%error, "could not hand a connection over"),
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of files or memory. The connection waits in the kernel's queue.
                    if self.stats.accept_errors.get().is_multiple_of(LOG_EVERY) {
                        tracing::error!(%error, "could not accept a connection");
                    }
                    self.stats.accept_errors.increment();
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn hand_over(&self, stream: TcpStream, peer: SocketAddr, entrance: &Arc<Entrance>) {
        if !self.choose().send(stream, peer, Arc::clone(entrance)) {
            tracing::error!(%peer, "a connection was lost, because its worker has ended");
        }
    }

    /// The next in turn; the emptiest when that one is full.
    fn choose(&self) -> &Inbox {
        let next = self.next.get();
        self.next.set((next + 1) % self.workers.len());
        let in_turn = &self.workers[next];
        if !in_turn.is_full() {
            return in_turn;
        }
        self.workers.iter().min_by_key(|worker| worker.open()).unwrap_or(in_turn)
    }
}

/// Errors that belong to the connection that was to be accepted, not to accepting.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
