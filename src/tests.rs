//! What the unit tests of several modules stand on: a store in memory, and a clock that is turned
//! by hand. Nothing of it touches a disk, and nothing sleeps.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slashing_db::testing::MemoryDisk;
use slashing_db::witness::testing::MemoryWitness;
use slashing_db::{
    BootTime, Enrolment, GenesisValidatorsRoot, OpenParams, Parts, PublicKey, Store,
};

use crate::clock::{Clock, ClockHealth, ManualClock, Now, SlotClock};
use crate::config::KeyGroups;
use crate::enrolment::Declarations;
use crate::eth::{Network, Root};
use crate::judgement::{BaselineTable, Judgement, Kept};
use crate::limits::Limits;
use crate::logging::LogLimit;
use crate::metrics::{LabelValues, Metrics};
use crate::response::Response;
use crate::sign::Gate;
use crate::sign::admission::Admission;
use crate::sign::permissions::Permissions;
use crate::upstream::InFlight;
use crate::upstream::verify::Verifier;
use crate::validators::{Standing, Validator, Validators};

pub(crate) const GENESIS: u64 = 1_700_000_000;
pub(crate) const CHAIN: [u8; 32] = [7; 32];
/// The epoch in whose first slot every rig begins.
pub(crate) const EPOCH: u64 = 100;

/// A key of one repeated byte.
pub(crate) fn key(number: u8) -> PublicKey {
    PublicKey([number; 48])
}

/// The instant so many milliseconds after the first one of `slot`.
pub(crate) fn at(slot: u64, ms: u64) -> Now {
    let unix_ns = (GENESIS + slot * 12) * 1_000_000_000 + ms * 1_000_000;
    Now { unix_ns, boot: BootTime(unix_ns) }
}

/// The network of the tests, with mainnet's slots.
pub(crate) fn network() -> Network {
    let network = Network::from_config_file(Path::new("fixtures/networks/test.yaml")).unwrap();
    network.with_genesis(GENESIS, Root(CHAIN))
}

/// A store in memory, its keys, and the hands of its clock.
pub(crate) struct Rig {
    pub(crate) disk: MemoryDisk,
    pub(crate) store: Arc<Store>,
    pub(crate) validators: Validators,
    pub(crate) slots: SlotClock,
    pub(crate) hands: ManualClock,
    pub(crate) clock: Clock,
    pub(crate) clock_health: ClockHealth,
}

impl Rig {
    /// A new store without a key, in the first slot of [`EPOCH`].
    pub(crate) fn new() -> Self {
        let disk = MemoryDisk::new();
        let slots = SlotClock::of(&network()).unwrap();
        let now = at(EPOCH * 32, 0);
        let hands = ManualClock::new(now);
        let params = OpenParams {
            directory: PathBuf::new(),
            witness: PathBuf::new(),
            network: "test".to_owned(),
            genesis_validators_root: GenesisValidatorsRoot(CHAIN),
            key_set: "default".to_owned(),
            now: store_now(slots, now),
            boot_id: "one boot".to_owned(),
            places_max: 1_024,
            monotonic: || Duration::ZERO,
        };
        let witness = MemoryWitness::new(Store::init_with(&params, &mut disk.engine()).unwrap());
        let parts = Parts { engine: Box::new(disk.engine()), witness: Box::new(witness) };
        let (store, watermarks) = Store::open_with(&params, parts).unwrap();
        Self {
            disk,
            store: Arc::new(store),
            validators: Validators::new(watermarks),
            slots,
            clock: Clock::Manual(hands.clone()),
            hands,
            clock_health: ClockHealth::Synchronised,
        }
    }

    /// Enrols a key as new.
    pub(crate) fn enrol(&self, number: u8) -> PublicKey {
        self.validators.insert(self.store.enrol(key(number), Enrolment::New).unwrap());
        key(number)
    }

    pub(crate) fn declarations(&self) -> Declarations<'_> {
        Declarations {
            store: &self.store,
            validators: &self.validators,
            slots: self.slots,
            clock: &self.clock,
            clock_health: self.clock_health,
            validated_keys: None,
        }
    }

    /// A gate over this store on `network`, which forwards to nobody.
    pub(crate) fn into_gate(self, network: Network) -> Gate {
        Gate {
            genesis_validators_root: Root(CHAIN),
            network,
            clock: self.clock,
            slots: self.slots,
            recorder: self.store.recorder(),
            judgement: judgement(),
            response: Response::off(),
            permissions: Permissions::default(),
            validators: self.validators,
            store: self.store,
            admission: Admission::new(&Limits::default()),
            in_flight: InFlight::new(2),
            verifier: Arc::new(Verifier::off()),
            metrics: Arc::new(Metrics::new(&LabelValues {
                duty_types: &[],
                signed_code: "ok",
                key_statuses: &[],
                upstream_errors: &[],
                events: &[],
            })),
            tracer: Default::default(),
            log_limit: LogLimit::default(),
            min_target_age_epochs: 2,
            budget: Duration::from_secs(1),
        }
    }

    /// Runs `look` on an enrolled key.
    pub(crate) fn with<R>(&self, key: &PublicKey, look: impl FnOnce(&mut Validator) -> R) -> R {
        let Standing::Enrolled(row) = self.validators.standing(key) else {
            panic!("{key} is not enrolled");
        };
        self.validators.with(row, look)
    }
}

/// The built-in policy, over nothing that was kept.
pub(crate) fn judgement() -> Judgement {
    Judgement::new(KeyGroups::default(), &network(), BaselineTable::default(), Kept::default())
}

pub(crate) fn store_now(slots: SlotClock, now: Now) -> slashing_db::Now {
    slashing_db::Now {
        boot: now.boot,
        unix_s: now.unix_s(),
        epoch: slots.epoch(now).0,
        slot: slots.slot(now).0,
    }
}
