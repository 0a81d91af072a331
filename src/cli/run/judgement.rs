//! What step 6 judges by, as `run` sets it up, and the thread that keeps it: once a slot it rolls
//! on what spans keys, once an epoch it writes what has changed, and new owners at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use policy::{Alarm, Moment};
use slashing_db::SideTableError;

use crate::clock::{Clock, SlotClock, Stopwatch};
use crate::config::Config;
use crate::enrolment::with_causes;
use crate::eth::Network;
use crate::judgement::{BaselineTable, Judgement, Kept, NewOwner};
use crate::response::incident::Report;
use crate::sign::judge::moment;
use crate::sign::{BASELINE_MOVED, CLOCK_DISAGREEMENT, Gate, POLICY_ALARM};
use crate::validators::{RowIndex, Validators};

/// What was kept of the last run, or a beginning; the keys are given their states.
pub(super) fn judgement(
    config: &Config,
    network: &Network,
    validators: &Validators,
    slots: SlotClock,
    clock: &Clock,
) -> Judgement {
    let directory = directory(&config.slashing.directory);
    let table = BaselineTable::open(&directory).unwrap_or_else(|error| {
        tracing::warn!(
            event = "baseline_not_kept",
            directory = %directory.display(),
            reason = with_causes(&error),
            "the table of baselines cannot be opened; what is normal is learned anew. It may be \
             deleted while the gate is stopped"
        );
        BaselineTable::default()
    });
    let watch = Stopwatch::start();
    let kept = table.kept().and_then(|kept| Ok((kept, table.load(validators)?)));
    let (kept, keys) = kept.unwrap_or_else(|error| {
        tracing::warn!(
            event = "baseline_damaged",
            reason = with_causes(&error),
            "the table of baselines cannot be read; what is normal is learned anew"
        );
        (Kept::default(), 0)
    });
    tracing::info!(
        event = "baseline",
        keys,
        has_fleet = kept.engine.is_some(),
        clients = kept.clients.len(),
        took_ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX),
        "what is normal was loaded"
    );
    let (had_fleet, kept_at_ms) = (kept.engine.is_some(), kept.at_unix_ms);
    let judgement = Judgement::new(config.groups.clone(), network, table, kept);
    let of_listeners = config.listeners.iter().filter_map(|it| it.entrance.client.as_ref());
    for name in config.clients.iter().map(|client| &client.name).chain(of_listeners) {
        judgement.clients.index(name); // also who has not come yet: keys may be handed to them
    }
    let now = moment(slots, clock.now());
    let epoch_ms = u64::try_from(slots.slot_duration().as_millis()).unwrap_or(u64::MAX)
        * slots.slots_per_epoch();
    if !had_fleet || now.unix_ms.saturating_sub(kept_at_ms) > EPOCHS_AWAY_MAX * epoch_ms {
        judgement.engine.resumed(now);
    }
    judgement
}

/// Starts the thread that keeps `gate`'s baseline. It ends with the process.
pub(super) fn keep(gate: &Arc<Gate>) -> anyhow::Result<()> {
    let changes = gate.judgement.owner_changes();
    let gate = Arc::clone(gate);
    std::thread::Builder::new().name("baseline".to_owned()).spawn(move || {
        let mut keeper =
            Keeper { last: moment(gate.slots, gate.clock.now()), said_clients: 0, gate };
        while keeper.wait(&changes) {}
    })?;
    Ok(())
}

/// Writes what has changed, while requests go on.
pub(super) fn save(gate: &Gate, clock: &Clock) {
    let watch = Stopwatch::start();
    let now_ms = clock.now().unix_ns / 1_000_000;
    if failed(gate.judgement.table.save(&gate.judgement, &gate.validators, now_ms)) {
        return;
    }
    tracing::debug!(
        event = "baseline_saved",
        took_ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX),
        "what is normal was saved"
    );
}

/// Beside the records, in a database of its own: it may be deleted while the gate is stopped.
fn directory(slashing: &Path) -> PathBuf {
    slashing.join("baseline")
}

struct Keeper {
    gate: Arc<Gate>,
    last: Moment,
    said_clients: usize,
}

impl Keeper {
    /// Waits for new owners or the next slot; says whether to go on.
    fn wait(&mut self, changes: &Receiver<NewOwner>) -> bool {
        match changes.recv_timeout(LOOK_INTERVAL) {
            Ok(owner) => {
                self.save_clients();
                let owners = std::iter::once(owner).chain(changes.try_iter());
                self.save_owners(owners.take(ROWS_PER_BATCH).collect());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        let now = moment(self.gate.slots, self.gate.clock.now());
        if now.slot != self.last.slot {
            self.turn(now);
            self.last = now;
        }
        true
    }

    /// What waits for a move to be on disk is not kept waiting by what nobody waits for.
    fn save_owners(&self, owners: Vec<NewOwner>) {
        let (table, validators) = (&self.gate.judgement.table, &self.gate.validators);
        let count = owners.len();
        let (moved, first): (Vec<_>, Vec<_>) = owners.into_iter().partition(NewOwner::is_awaited);
        let rows: Vec<RowIndex> = moved.iter().map(|owner| owner.row).collect();
        let mut is_kept = rows.is_empty() || !failed(table.save_moved(validators, &rows));
        if is_kept {
            let place = |row: RowIndex| u32::try_from(row.place()).unwrap_or(u32::MAX);
            let by = moved.iter().filter_map(|it| Some((it.window?, place(it.row))));
            self.gate.response.windows.moved(by);
            moved.into_iter().for_each(NewOwner::written);
        }
        is_kept &= !failed(table.save_keys(validators, first.iter().map(|owner| owner.row)));
        if is_kept {
            tracing::debug!(event = "owners_kept", owners = count, "new owners are on disk");
        }
    }

    fn turn(&self, now: Moment) {
        let judgement = &self.gate.judgement;
        let leapt = now.epoch > self.last.epoch + EPOCHS_AWAY_MAX;
        if leapt && !self.gate.clock.is_turned() {
            judgement.engine.resumed(now); // suspended, or the clock was set
        }
        for alarm in judgement.engine.tick(&judgement.policy(), now) {
            self.say(&alarm);
        }
        self.say_drifts();
        if now.epoch != self.last.epoch {
            save(&self.gate, &self.gate.clock);
            self.compare_clocks();
        }
    }

    /// Before a lease names a place, the place has a name on disk.
    fn save_clients(&mut self) {
        let judgement = &self.gate.judgement;
        let clients = judgement.clients.names().len();
        if clients != self.said_clients && !failed(judgement.table.save_clients(&judgement.clients))
        {
            self.said_clients = clients;
        }
    }

    fn say(&self, alarm: &Alarm) {
        let metrics = &self.gate.metrics;
        metrics.policy.alarms.with_label_values(&[alarm.rule.as_str()]).inc();
        metrics.events.with_label_values(&[POLICY_ALARM]).inc();
        let now = self.gate.clock.now();
        let report = Report::of_alarm(alarm, now.unix_ns / 1_000_000);
        self.gate.response.incidents.noticed(report);
        let Some(unsaid) = self.gate.log_limit.may_say(alarm.rule.as_str(), now) else { return };
        tracing::warn!(
            event = POLICY_ALARM,
            rule = alarm.rule.as_str(),
            number = alarm.rule.number(),
            about = alarm.about,
            reason = alarm.reason,
            is_network_event = alarm.is_network_event,
            unsaid,
            "policy has something to say of more than one key"
        );
    }

    /// Whoever looks back at an attack that took weeks finds here since when.
    fn say_drifts(&self) {
        let judgement = &self.gate.judgement;
        let (drifts, more) = judgement.engine.drifted(&judgement.policy());
        let moved = drifts.len() as u64 + u64::from(more);
        self.gate.metrics.events.with_label_values(&[BASELINE_MOVED]).inc_by(moved);
        for drift in drifts {
            let now = self.gate.clock.now();
            let unsaid = self.gate.log_limit.may_say(BASELINE_MOVED, now);
            let (Some(unsaid), Some(row)) = (unsaid, self.gate.validators.at_place(drift.key))
            else {
                continue;
            };
            let key = self.gate.validators.with(row, |it| *it.watermarks.public_key());
            tracing::warn!(
                event = BASELINE_MOVED,
                %key,
                later_ms = drift.later_ms,
                unsaid,
                "the key's usual time in its slot, against the other keys of its source, is not \
                 what it was in the last 28 days. Nothing is refused for it"
            );
        }
    }

    /// Says so when the clients' duties do not lie in their slots by the gate's clock. No bound
    /// moves: they may be wrong, and one of them may lie.
    fn compare_clocks(&self) {
        let disagreement = self.gate.judgement.clients.disagreement_ms();
        let Some((outside_ms, clients)) = disagreement else { return };
        #[allow(clippy::cast_precision_loss)] // a figure for people
        self.gate.metrics.policy.clock_disagreement.set(outside_ms as f64 / 1_000.0);
        if outside_ms == 0 {
            return;
        }
        self.gate.metrics.events.with_label_values(&[CLOCK_DISAGREEMENT]).inc();
        tracing::warn!(
            event = CLOCK_DISAGREEMENT,
            outside_ms,
            clients,
            "the duties of the clients lie outside their slots by the gate's clock (less than 0: \
             too early); compare the clocks. Nothing else changes"
        );
    }
}

fn failed(written: Result<(), SideTableError>) -> bool {
    if let Err(error) = &written {
        tracing::warn!(
            event = "baseline_not_saved",
            reason = with_causes(error),
            "what is normal could not be written; after a restart some of it is learned anew"
        );
    }
    written.is_err()
}

/// How long a new slot may go unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Epochs of absence after which it is not known who is alive.
const EPOCHS_AWAY_MAX: u64 = 2;
const ROWS_PER_BATCH: usize = 4_096;
