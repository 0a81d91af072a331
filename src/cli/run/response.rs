//! What follows from verdicts, as `run` sets it up, and the thread that acts on them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;
use policy::Moment;

use crate::audit::Audit;
use crate::config::Config;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::response::incident::{Incidents, Settings};
use crate::response::playbook::{Consequence, Urgency};
use crate::response::{Notice, Response, ResponseTable};
use crate::sign::Gate;
use crate::sign::judge::moment;

/// What was kept of the last run, or a beginning.
///
/// # Errors
/// A table that cannot be opened: quarantines that cannot be read must not end by a restart.
pub(super) fn response(config: &Config, metrics: &Metrics) -> anyhow::Result<Response> {
    let directory = config.slashing.directory.join("response");
    let table = ResponseTable::open(&directory).with_context(|| {
        format!("cannot open the table of quarantines and windows in {}", directory.display())
    })?;
    let incidents = Incidents::open(&table, Settings::default())
        .with_context(|| format!("cannot read the incidents in {}", directory.display()))?;
    let lost = metrics.notices_lost.clone();
    let mut response = Response::new(table, Audit::off(), Events::off(), lost);
    response.incidents = incidents;
    Ok(response)
}

/// Starts the thread that acts on notices. It ends with the process.
pub(super) fn act(gate: &Arc<Gate>) -> anyhow::Result<()> {
    let notices = gate.response.notices();
    gate.response.incidents.tell_again(&gate.response);
    let mut follower = Follower { slot: 0, gate: Arc::clone(gate) };
    std::thread::Builder::new()
        .name("response".to_owned())
        .spawn(move || while follower.wait(&notices) {})?;
    Ok(())
}

struct Follower {
    gate: Arc<Gate>,
    slot: u64,
}

impl Follower {
    /// Waits for notices or the next slot; says whether to go on.
    fn wait(&mut self, notices: &Receiver<Notice>) -> bool {
        let batch: Vec<Notice> = match notices.recv_timeout(LOOK_INTERVAL) {
            Ok(first) => {
                let more = notices.try_iter().take(BATCH_MAX - 1);
                std::iter::once(first).chain(more).collect()
            }
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        // What fails here must not end the answers to all that follows.
        let count = batch.len();
        let turn = AssertUnwindSafe(|| {
            self.follow(batch);
            let now = moment(self.gate.slots, self.gate.clock.now());
            if now.slot != self.slot {
                self.slot = now.slot;
                self.turn(now);
            }
        });
        if catch_unwind(turn).is_err() {
            tracing::error!(
                event = "response_failed",
                notices = count,
                "an internal fault while verdicts were followed; please report it"
            );
        }
        true
    }

    /// What follows from each of `notices`, in their order.
    fn follow(&self, notices: Vec<Notice>) {
        let mut followed = Vec::with_capacity(notices.len());
        for notice in notices {
            let urgency = Urgency::of(&notice);
            let consequence = Consequence { notice, urgency, done: Vec::new() };
            // rotation: `windows.follow(&self.gate, &mut consequence)`
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
    }

    /// What follows from the time alone, once a slot.
    fn turn(&self, now: Moment) {
        tracing::trace!(event = "slot", slot = now.slot, "a slot begins");
        self.gate.response.incidents.tick(&self.gate.response, now.unix_ms);
    }
}

const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Notices that are followed together: one commit for all that they lead to.
const BATCH_MAX: usize = 4_096;
