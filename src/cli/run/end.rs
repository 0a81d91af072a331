//! The end of a running gate, and the handover that may come to nothing.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;

use super::hand_over::pass_on;
use super::listeners::serve;
use super::{End, judgement, store};
use crate::admin::Desk;
use crate::cli::Exit;
use crate::clients::Clients;
use crate::clock::{Clock, SlotClock, Stopwatch};
use crate::config::Config;
use crate::handover::Successor;
use crate::server::Server;
use crate::server::drain::Drained;
use crate::server::sockets::Sockets;
use crate::sign::Gate;
use crate::systemd::Notify;
use crate::upstream::discovery::Discovery;

/// Why nothing is signed any more is worth an answer, to what waits and to what arrives meanwhile.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// All that the end needs.
pub(super) struct Running {
    pub(super) config: Config,
    pub(super) gate: Arc<Gate>,
    pub(super) discovery: Arc<Discovery>,
    pub(super) clients: Arc<Clients>,
    pub(super) desk: Option<Arc<Desk>>,
    pub(super) sockets: Arc<Mutex<Sockets>>,
    pub(super) slots: SlotClock,
    pub(super) clock: Clock,
    pub(super) notify: Arc<Notify>,
}

/// How a handover went on this side.
enum Passed {
    On(Exit),
    /// The successor broke off before the seal.
    Not(Server),
}

impl Running {
    /// Waits for the end of the gate, and brings it about.
    pub(super) fn until_the_end(
        self,
        mut server: Server,
        ended: &mpsc::Receiver<End>,
    ) -> anyhow::Result<Exit> {
        loop {
            match ended.recv().unwrap_or(End::Asked("a closed channel")) {
                End::Asked(signal) => {
                    tracing::info!(event = "closing", signal, "the gate closes");
                    return self.close(server);
                }
                End::Store(reason) => {
                    tracing::error!(event = "closing", reason, "the gate closes");
                    std::thread::sleep(LAST_WORDS);
                    self.stop(server);
                    self.gate.response.audit.close();
                    return Ok(Exit::Unsafe);
                }
                End::Handover(successor, _turn) => match self.hand_over(server, &successor)? {
                    Passed::On(exit) => return Ok(exit),
                    Passed::Not(again) => server = again,
                },
            }
        }
    }

    /// Stops accepting, finishes what was begun, closes the store in order.
    fn close(&self, server: Server) -> anyhow::Result<Exit> {
        self.stop(server);
        self.close_baseline();
        self.gate
            .store
            .seal(store::now(self.slots, &self.clock))
            .context("the store could not be closed in order")?;
        tracing::info!(event = "closed", "closed in order");
        Ok(Exit::Done)
    }

    fn stop(&self, server: Server) {
        self.notify.stopping();
        self.close_validated_keys();
        self.sockets.lock().close();
        self.drain(server);
    }

    /// A successor may open their table while this process finishes what it began.
    fn close_validated_keys(&self) {
        if let Some(keys) = self.gate.verifier.keys() {
            keys.close();
        }
    }

    /// What is normal goes to disk, and a successor may open its table.
    fn close_baseline(&self) {
        judgement::save(&self.gate, &self.clock);
        self.gate.judgement.table.close();
        self.gate.response.table.close();
        self.gate.response.audit.close();
        self.gate.response.events.close();
    }

    fn drain(&self, server: Server) -> (Drained, u64) {
        if let Some(desk) = &self.desk {
            desk.close();
        }
        let watch = Stopwatch::start();
        let drained = server.drain(Duration::from_millis(self.config.limits.drain_timeout_ms));
        if let Some(recorder) = self.gate.judgement.recorder() {
            recorder.flush();
        }
        let took_ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            event = "drained",
            finished = drained.finished,
            cut = drained.cut,
            took_ms,
            "drained"
        );
        (drained, took_ms)
    }

    fn hand_over(&self, server: Server, successor: &Successor) -> anyhow::Result<Passed> {
        let stats = server.stats();
        judgement::save(&self.gate, &self.clock); // most of it, while requests go on
        let stopped = self.clock.now();
        let drained = self.drain(server);
        if successor.is_there() {
            self.close_validated_keys();
            self.close_baseline();
            let store = &self.gate.store;
            return pass_on(store, self.slots, &self.clock, successor, stopped, drained)
                .map(Passed::On);
        }
        tracing::warn!(
            event = "handover_broken_off",
            reason = "the successor went away",
            "the handover did not come about; this gate goes on"
        );
        if let Some(desk) = &self.desk {
            desk.open();
        }
        let listeners = super::listeners::again(&self.config, &self.clients, &self.sockets.lock())?;
        serve(&self.config, &self.gate, &self.discovery, listeners, Some(stats)).map(Passed::Not)
    }
}
