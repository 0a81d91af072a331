//! What follows from verdicts, as `run` sets it up, and the thread that acts on them.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context;
use policy::Moment;
use slashing_db::Watermarks;

use super::audit;
use crate::audit::Position;
use crate::audit::timeline::Timeline;
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::response::containment::Containment;
use crate::response::incident::{Incidents, Settings};
use crate::response::measures;
use crate::response::playbook::Consequence;
use crate::response::quarantine::{QuarantineError, QuarantineId};
use crate::response::{Notice, Response, ResponseTable};
use crate::sign::Gate;
use crate::sign::judge::moment;

/// What was kept of the last run, or a beginning.
///
/// # Errors
/// A table that cannot be opened: quarantines that cannot be read must not end by a restart. An
/// audit log that does not fit: nothing is added to it.
pub(super) fn response(
    config: &Config,
    metrics: &Metrics,
    watermarks: &[Watermarks],
) -> anyhow::Result<Response> {
    let directory = config.slashing.directory.join("response");
    let table = ResponseTable::open(&directory).with_context(|| {
        format!("cannot open the table of quarantines and windows in {}", directory.display())
    })?;
    let incidents = Incidents::open(&table, Settings::default())
        .with_context(|| format!("cannot read the incidents in {}", directory.display()))?;
    let lost = metrics.notices_lost.clone();
    let events = super::events::events(config, metrics)?;
    let audit = audit::open(config, metrics, watermarks, &events)?;
    let mut response =
        Response::new(table, audit, events, lost).with_playbook(config.response.clone());
    response.incidents = incidents;
    if let Some(settings) = &config.audit {
        response.timeline = Arc::new(Timeline::of(settings.directory.clone()));
        Arc::clone(&response.timeline).follow().context("cannot follow the audit log")?;
    }
    Ok(response)
}

/// Puts in force what holds since the last run, and starts the threads that act on notices: one
/// contains, in memory and at once; the one behind it keeps and tells. They end with the process.
///
/// # Errors
/// Quarantines or windows that cannot be read.
pub(super) fn act(gate: &Arc<Gate>) -> anyhow::Result<()> {
    measures::restore(gate).context("cannot read the quarantines of the last run")?;
    gate.response.windows.resume(gate).context("cannot read the windows of the last run")?;
    let notices = gate.response.notices();
    super::events::beat(gate);
    gate.response.incidents.tell_again(&gate.response);
    let (contained, behind) = sync_channel(CONTAINED_MAX);
    let containment = Containment::new(Arc::clone(gate));
    let (gate_of_guard, tripped) = (Arc::clone(gate), Vec::new());
    let (slot, looked_ms) = (0, 0);
    let mut guard = Guard { gate: gate_of_guard, slot, looked_ms, containment, tripped, contained };
    std::thread::Builder::new()
        .name("containment".to_owned())
        .spawn(move || while guard.wait(&notices) {})?;
    let mut follower = Follower { slot, positions: HashMap::new(), gate: Arc::clone(gate) };
    std::thread::Builder::new()
        .name("response".to_owned())
        .spawn(move || while follower.wait(&behind) {})?;
    Ok(())
}

/// A notice, and the quarantines that were imposed because of it.
type Contained = (Notice, Vec<QuarantineId>);

/// Contains: nothing here waits for a disk.
struct Guard {
    gate: Arc<Gate>,
    slot: u64,
    looked_ms: u64,
    containment: Containment,
    /// What the breaker has imposed since the last notice.
    tripped: Vec<QuarantineId>,
    contained: SyncSender<Contained>,
}

impl Guard {
    fn wait(&mut self, notices: &Receiver<(Stopwatch, Notice)>) -> bool {
        let notice = match notices.recv_timeout(LOOK_INTERVAL) {
            Ok(notice) => Some(notice),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        survive(|| {
            let now = moment(self.gate.slots, self.gate.clock.now());
            if notice.is_none() || now.unix_ms != self.looked_ms {
                self.looked_ms = now.unix_ms; // once a millisecond, however many wait
                self.tripped.extend(self.containment.look(now));
            }
            if let Some((since, notice)) = notice {
                let mut imposed = self.containment.follow(&notice);
                imposed.append(&mut self.tripped);
                if !imposed.is_empty() {
                    self.gate.metrics.response.containment.observe(since.elapsed().as_secs_f64());
                }
                if self.contained.try_send((notice, imposed)).is_err() {
                    self.gate.metrics.notices_lost.inc();
                }
            }
            if now.slot != self.slot {
                self.slot = now.slot;
                self.containment.turn(now);
            }
        });
        true
    }
}

/// Keeps and tells what was done, and what else follows.
struct Follower {
    gate: Arc<Gate>,
    slot: u64,
    /// Where in the audit log the quarantines are that no notice has come for yet.
    positions: HashMap<QuarantineId, Position>,
}

impl Follower {
    /// Waits for notices or the next slot; says whether to go on.
    fn wait(&mut self, contained: &Receiver<Contained>) -> bool {
        let batch: Vec<Contained> = match contained.recv_timeout(LOOK_INTERVAL) {
            Ok(first) => {
                let more = contained.try_iter().take(BATCH_MAX - 1);
                std::iter::once(first).chain(more).collect()
            }
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        survive(|| {
            self.follow(batch);
            let now = moment(self.gate.slots, self.gate.clock.now());
            if now.slot != self.slot {
                self.slot = now.slot;
                self.turn(now);
            }
        });
        true
    }

    /// What follows from each notice, in their order.
    fn follow(&mut self, batch: Vec<Contained>) {
        match measures::settle(&self.gate) {
            Ok(positions) => self.positions.extend(positions),
            Err(error) => self.complain(&error),
        }
        let mut followed = Vec::with_capacity(batch.len());
        for (notice, imposed) in batch {
            let urgency = self.gate.response.playbook.urgency(&notice);
            let done = measures::done(&self.gate, &imposed, &mut self.positions);
            let consequence = Consequence { notice, urgency, done };
            tracing::debug!(
                event = "noticed",
                code = consequence.notice.code,
                pubkey = consequence.notice.public_key,
                urgency = ?consequence.urgency,
                "noticed"
            );
            followed.push(consequence);
        }
        let Gate { response, judgement, .. } = &*self.gate;
        response.incidents.take(response, &judgement.policy(), &followed);
        response.incidents.take_reports(response);
        if response.windows.has_news() {
            // Behind the incidents, whose pages it joins.
            response.windows.follow(&self.gate);
        }
    }

    fn complain(&self, error: &QuarantineError) {
        let limit = &self.gate.log_limit;
        let Some(unsaid) = limit.may_say(NOT_KEPT, self.gate.clock.now()) else { return };
        tracing::error!(
            event = NOT_KEPT,
            reason = %error,
            unsaid,
            "quarantines hold, and would not outlive a restart; look at the disk of \
             slashing.directory"
        );
    }

    /// What follows from the time alone, once a slot.
    fn turn(&self, now: Moment) {
        tracing::trace!(event = "slot", slot = now.slot, "a slot begins");
        self.gate.response.incidents.tick(&self.gate.response, now.unix_ms);
        self.gate.response.windows.reconcile(&self.gate);
        self.gate.response.windows.follow(&self.gate);
    }
}

/// What fails here must not end the answers to all that follows.
fn survive(turn: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(turn)).is_err() {
        tracing::error!(
            event = "response_failed",
            "an internal fault while verdicts were followed; please report it"
        );
    }
}

const NOT_KEPT: &str = "quarantines_not_kept";
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Notices that are followed together: one commit for all that they lead to.
const BATCH_MAX: usize = 4_096;
/// As many as may wait before them.
const CONTAINED_MAX: usize = 65_536;
