//! A machine with the gate on it: its clocks, its disk, its witness, and what befalls them.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use policy::{GroupPolicy, Mode, Policy};
use portcullis::clock::{Clock, ManualClock, Now, SlotClock};
use portcullis::config::{Config, RunArgs};
use portcullis::eth::Network;
use portcullis::judgement::{BaselineTable, Judgement, Kept};
use portcullis::logging::LogLimit;
use portcullis::metrics::{LabelValues, Metrics};
use portcullis::response::Response;
use portcullis::sign::admission::Admission;
use portcullis::sign::permissions::Permissions;
use portcullis::sign::{EVENTS, Gate};
use portcullis::upstream::verify::Verifier;
use portcullis::upstream::{InFlight, UpstreamFault};
use portcullis::validators::Validators;
use slashing_db::testing::{Fault, MemoryDisk};
use slashing_db::witness::WitnessError;
use slashing_db::witness::testing::{Failure, MemoryWitness};
use slashing_db::{
    BootTime, Enrolment, GenesisValidatorsRoot, OpenError, OpenParams, Parts, PublicKey, Store,
};

use super::random::Random;

pub(super) const SLOTS_PER_EPOCH: u64 = 8;
pub(super) const EXITS_PER_KEY: usize = 2;
pub(super) const EXITS_IN_ALL: usize = 9;
const SECOND: u64 = 1_000_000_000;
const GENESIS_S: u64 = 1_600_000_000;
const GENESIS_VALIDATORS_ROOT: [u8; 32] = [4; 32];

/// A judgement that says nothing: here the store alone is on trial.
fn off() -> Judgement {
    let network = Network::builtin("mainnet").unwrap();
    let (table, kept) = (BaselineTable::default(), Kept::default());
    let judgement = Judgement::new(CONFIG.groups.clone(), &network, table, kept);
    let mut group = GroupPolicy::default();
    group.modes.fill(Mode::Off);
    judgement.publish(Policy { groups: vec![group], ..Policy::default() });
    judgement
}

/// The configuration: every key may exit, but not often.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("portcullis.toml");
    let group = format!(
        "[[groups]]\nname = 'leaving'\nall = true\nallow_voluntary_exit = true\n\
         voluntary_exits_max = {EXITS_PER_KEY}\nvoluntary_exits_group_max = {EXITS_IN_ALL}\n"
    );
    let minimal = include_str!("../../../fixtures/config/minimal.toml");
    std::fs::write(&config, format!("{minimal}\n{group}")).unwrap();
    Config::load(&RunArgs { config, ..RunArgs::default() }, []).unwrap()
});

static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| {
    Arc::new(Metrics::new(&LabelValues {
        duty_types: &[], // nothing is reported here
        signed_code: "ok",
        key_statuses: &["enabled", "disabled", "halted", "awaiting"],
        upstream_errors: &UpstreamFault::CODES,
        events: &EVENTS,
    }))
});

pub(super) struct Machine {
    pub(super) disk: MemoryDisk,
    pub(super) witness: MemoryWitness,
    pub(super) slots: SlotClock,
    pub(super) keys: Vec<PublicKey>,
    /// The true time, in nanoseconds since genesis.
    pub(super) elapsed: u64,
    /// How far this machine's wall clock stands from it.
    pub(super) skew: i64,
    pub(super) clock: ManualClock,
    boots: u64,
    places_max: usize,
    gate: Option<Gate>,
}

impl Machine {
    /// A new store with `keys` enrolled as new, served by a gate.
    pub(super) fn new(keys: usize, places_max: usize) -> Self {
        let keys = (0..keys).map(|key| PublicKey([key as u8 + 1; 48])).collect();
        let disk = MemoryDisk::new();
        let start = Now { unix_ns: 0, boot: BootTime(0) };
        let mut machine = Self {
            disk,
            witness: MemoryWitness::missing(),
            slots: SlotClock::new(GENESIS_S, Duration::from_secs(12), SLOTS_PER_EPOCH),
            keys,
            elapsed: 200 * SLOTS_PER_EPOCH * 12 * SECOND,
            skew: 0,
            clock: ManualClock::new(start),
            boots: 1,
            places_max,
            gate: None,
        };
        let state = Store::init_with(&machine.params(), &mut machine.disk.engine()).unwrap();
        machine.witness = MemoryWitness::new(state);
        machine.open().unwrap();
        for key in machine.keys.clone() {
            let watermarks = machine.gate().store.enrol(key, Enrolment::New).unwrap();
            machine.gate().validators.insert(watermarks);
        }
        machine
    }

    pub(super) fn gate(&self) -> &Gate {
        self.gate.as_ref().expect("the gate runs")
    }

    pub(super) fn now(&self) -> Now {
        let true_ns = GENESIS_S * SECOND + self.elapsed;
        // Each boot has a clock of its own, which only ever goes on.
        let boot = BootTime(self.elapsed + self.boots * SECOND);
        Now { unix_ns: true_ns.saturating_add_signed(self.skew), boot }
    }

    pub(super) fn store_now(&self) -> slashing_db::Now {
        let now = self.now();
        let (epoch, slot) = (self.slots.epoch(now).0, self.slots.slot(now).0);
        slashing_db::Now { boot: now.boot, unix_s: now.unix_s(), epoch, slot }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.elapsed += seconds * SECOND;
        self.clock.set(self.now());
    }

    fn params(&self) -> OpenParams {
        OpenParams {
            directory: PathBuf::from("store"),
            witness: PathBuf::from("witness"),
            network: "mainnet".into(),
            genesis_validators_root: GenesisValidatorsRoot(GENESIS_VALIDATORS_ROOT),
            key_set: "main".into(),
            now: self.store_now(),
            boot_id: format!("boot {}", self.boots),
            places_max: self.places_max,
            monotonic: || Duration::ZERO,
        }
    }

    fn open(&mut self) -> Result<(), OpenError> {
        let engine = Box::new(self.disk.engine());
        let parts = Parts { engine, witness: Box::new(self.witness.clone()) };
        let (store, watermarks) = Store::open_with(&self.params(), parts)?;
        self.clock.set(self.now());
        let validators = Validators::new(watermarks);
        let store = Arc::new(store);
        self.gate = Some(Gate {
            network: Network::builtin("mainnet").unwrap(),
            genesis_validators_root: portcullis::eth::Root(GENESIS_VALIDATORS_ROOT),
            clock: Clock::Manual(self.clock.clone()),
            slots: self.slots,
            recorder: store.recorder(),
            judgement: off(),
            response: Response::off(),
            permissions: Permissions::new(CONFIG.groups.clone(), &validators),
            validators,
            store,
            admission: Admission::new(&CONFIG.limits),
            in_flight: InFlight::new(2),
            verifier: Arc::new(Verifier::off()),
            metrics: Arc::clone(&METRICS),
            tracer: Default::default(),
            log_limit: LogLimit::default(),
            min_target_age_epochs: CONFIG.slashing.min_target_age_epochs,
            budget: Duration::from_secs(2),
        });
        Ok(())
    }

    /// The power goes: what is not on the disk at this moment never will be. Gives the dead gate.
    pub(super) fn lose_power(&mut self) -> Option<Gate> {
        let left = self.disk.snapshot();
        let before = std::mem::replace(&mut self.disk, left);
        before.resume(); // the dead may go on writing where nobody looks
        self.gate.take()
    }

    /// Opens the store again, through `faults` that befall the opening itself. Gives how many did.
    ///
    /// # Panics
    /// If an honest store is quarantined.
    pub(super) fn restart(&mut self, random: &mut Random, faults: u64) -> u64 {
        for tried in 0.. {
            if tried < faults {
                match random.below(4) {
                    0 => self.disk.fail_commit(random.below(3), Fault::Io),
                    1 => self.disk.fail_commit(random.below(3), Fault::IoAfterWrite),
                    2 => self.witness.fail_next(Failure::BeforeWriting),
                    _ => self.witness.fail_next(Failure::AfterWriting),
                }
            }
            let result = self.open();
            match result {
                Ok(()) => return tried,
                // One more than the faults of now: a failure of the witness may still be due.
                Err(error) => assert!(tried <= faults, "an honest store is not opened: {error:?}"),
            }
            self.disk = self.disk.snapshot();
        }
        unreachable!("the loop ends by returning");
    }

    /// Another machine takes the store over while this one is suspended. Gives the old gate, and
    /// its time when the new one begins to sign.
    pub(super) fn fail_over(&mut self) -> (Gate, Now) {
        let old = self.lose_power().expect("it ran");
        let boots = self.boots;
        self.boots += 1_000;
        let mut waited = 0;
        while let Err(error) = self.open() {
            match error {
                OpenError::Refused(_) => {}
                OpenError::Witness(WitnessError::Io { .. }) => continue, // was due still
                other => panic!("an honest store is not opened: {other:?}"),
            }
            self.pass(1);
            waited += 1;
            assert!(waited <= 12, "a lease of 10 s is waited for");
        }
        assert!(waited > 0, "the lease of a suspended gate is respected");
        let now = self.now();
        (old, Now { boot: BootTime(self.elapsed + boots * SECOND), ..now })
    }
}
