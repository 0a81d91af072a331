//! One process of the gate: the product's own `Gate` on a store in memory, without its sockets.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use portcullis::clock::{Clock, ClockHealth, ManualClock, Now, SlotClock};
use portcullis::enrolment::Declarations;
use portcullis::eth::{DutyKind, Network};
use portcullis::limits::Limits;
use portcullis::metrics::{LabelValues, Metrics};
use portcullis::sign::admission::Admission;
use portcullis::sign::permissions::Permissions;
use portcullis::sign::{Gate, LogLimit};
use portcullis::upstream::InFlight;
use portcullis::validators::Validators;
use slashing_db::testing::MemoryDisk;
use slashing_db::witness::testing::MemoryWitness;
use slashing_db::{
    BootTime, GenesisValidatorsRoot, KeyRecord, OpenError, OpenParams, Parts, Store,
};

use super::chain::{GVR, network};

/// How many epochs a vote's target may lie behind, by the simulated configuration.
pub(super) const TARGET_AGE_MAX: u64 = 3;
/// Few places, so that queues fill up.
pub(super) const PLACES: usize = 8;

const DUTY_TYPES: [&str; DutyKind::ALL.len()] = {
    let mut names = [""; DutyKind::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = DutyKind::ALL[index].as_str();
        index += 1;
    }
    names
};

/// A running gate.
pub(super) struct Process {
    pub(super) gate: Gate,
    pub(super) clock: ManualClock,
    disk: MemoryDisk,
}

impl Drop for Process {
    /// A store that ends waits for its recorder, which must not be held at the disk then.
    fn drop(&mut self) {
        self.disk.resume();
    }
}

/// What the network is, read once.
fn the_network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(network)
}

fn metrics() -> Arc<Metrics> {
    static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();
    let new = || {
        Arc::new(Metrics::new(&LabelValues {
            duty_types: &DUTY_TYPES,
            signed_code: "ok",
            key_statuses: &[],
            upstream_errors: &[],
            events: &[],
        }))
    };
    Arc::clone(METRICS.get_or_init(new))
}

fn slots() -> SlotClock {
    SlotClock::of(the_network()).expect("genesis is known")
}

/// The time in the store's words.
pub(super) fn store_now(now: Now) -> slashing_db::Now {
    let slots = slots();
    slashing_db::Now {
        boot: now.boot,
        unix_s: now.unix_s(),
        epoch: slots.epoch(now).0,
        slot: slots.slot(now).0,
    }
}

pub(super) fn params(now: Now, boot: u64) -> OpenParams {
    OpenParams {
        directory: "store".into(),
        witness: "witness".into(),
        network: "simulated".into(),
        genesis_validators_root: GenesisValidatorsRoot(GVR.0),
        key_set: "main".into(),
        now: store_now(now),
        boot_id: format!("boot {boot}"),
        places_max: PLACES,
        monotonic: || Duration::ZERO, // so that the recorder never pauses of itself
    }
}

impl Process {
    /// Opens the store in its two phases, and puts a gate on it; gives the records as loaded.
    pub(super) fn start(
        disk: &MemoryDisk,
        witness: &MemoryWitness,
        now: Now,
        boot: u64,
    ) -> Result<(Self, Vec<KeyRecord>), OpenError> {
        let parts = Parts { engine: Box::new(disk.engine()), witness: Box::new(witness.clone()) };
        let (store, watermarks) = Store::open_with(&params(now, boot), parts)?;
        let records = watermarks.iter().map(|it| *it.record()).collect();
        let clock = ManualClock::new(now);
        let validators = Validators::new(watermarks);
        let gate = Gate {
            network: the_network().clone(),
            genesis_validators_root: GVR,
            clock: Clock::Manual(clock.clone()),
            slots: slots(),
            permissions: Permissions::new(portcullis::config::KeyGroups::default(), &validators),
            validators,
            recorder: store.recorder(),
            store: Arc::new(store),
            admission: Admission::new(&Limits::default()),
            in_flight: InFlight::new(2),
            metrics: metrics(),
            log_limit: LogLimit::default(),
            min_target_age_epochs: TARGET_AGE_MAX,
            budget: Duration::from_secs(2),
        };
        Ok((Self { gate, clock, disk: disk.clone() }, records))
    }

    /// The operator's commands on this process.
    pub(super) fn declarations(&self) -> Declarations<'_> {
        Declarations {
            store: &self.gate.store,
            validators: &self.gate.validators,
            slots: self.gate.slots,
            clock: &self.gate.clock,
            clock_health: ClockHealth::Synchronised,
        }
    }

    /// What the store's clocks say: `Now` as the lease keeper reads it.
    pub(super) fn now(&self) -> Now {
        self.gate.clock.now()
    }

    /// A lease as of the start, renewed.
    pub(super) fn renew(&self) -> Result<(), slashing_db::RenewError> {
        self.gate.store.renew(store_now(self.now()))
    }

    pub(super) fn set_clock(&self, unix_ns: u64, boot_ns: u64) {
        self.clock.set(Now { unix_ns, boot: BootTime(boot_ns) });
    }
}
