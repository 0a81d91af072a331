//! Crash safety: whatever is killed, cut, filled up or lying, no two conflicting signatures leave,
//! and none leaves without its record.
//!
//! The gate is killed at random moments under a load that is half conflicts. After each kill its
//! write-ahead logs are cut back to what was synced, as a loss of power would: `disk`, over the
//! shim in `crash/sync_trace.c`. The judge is the signer's own log: `oracle`. That the whole can
//! fail is proved with syncs that lie.
// A store that does not sync has one test alone: that the others would find it out.
#![cfg_attr(feature = "bench-nosync", allow(dead_code))]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{Options, SLOT_S, World, key};

#[cfg(not(feature = "bench-nosync"))]
mod audit;
mod disk;
#[cfg(not(feature = "bench-nosync"))]
mod kill;
mod load;
#[cfg(feature = "bench-nosync")]
mod nosync;
mod oracle;
#[cfg(not(feature = "bench-nosync"))]
mod upstream;
#[cfg(not(feature = "bench-nosync"))]
mod write_error;

use disk::{Cut, Disk, Syncs};
use load::{Answers, Draws, Load};
use oracle::SignerLog;

const KEYS: u64 = 16;
const CLIENTS: u64 = 6;
/// Long enough that no run uses up the targets, all of which are allowed: what was forgotten would
/// be signed again, instead of being refused as too old.
const EPOCHS: u64 = 100_000;
const ALL_TARGETS: &str = "min_target_age_epochs = 1000000\n";
const SEED: u64 = 20;

/// A gate under load over a watched disk, and all that was found out about it.
struct Rig {
    world: World,
    disk: Disk,
    load: Load,
    log: SignerLog,
    draws: Draws,
    tally: Tally,
}

/// The sum over all rounds.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    answers: Answers,
    hung_up: u64,
    cut: Cut,
    /// Signatures whose record was not in the store after the cut.
    unrecorded: BTreeSet<String>,
    conflicts: Vec<String>,
    /// The gate did not open its store again.
    refused_to_open: bool,
}

fn prepare() -> World {
    World::prepare(Options {
        keys: KEYS,
        genesis_age_s: EPOCHS * 32 * SLOT_S,
        config: format!("{ALL_TARGETS}[audit]\ndirectory = \"audit\"\n"),
        ..Options::default()
    })
}

impl Rig {
    fn new() -> Self {
        Self::over(prepare())
    }

    /// Watches the store of a world whose gate does not run yet.
    fn over(world: World) -> Self {
        let disk = Disk::watch(&world.path("slashing"), world.dir.path());
        let log = SignerLog::new(world.path("signed.jsonl"));
        let load = Load::new(KEYS);
        Self { world, disk, load, log, draws: Draws(SEED), tally: Tally::default() }
    }

    /// Starts the gate; `false` if it does not open its store.
    fn start(&mut self, syncs: Syncs) -> bool {
        self.world.gate_environment = self.disk.environment(syncs);
        match self.world.spawn_gate("gate.toml", "gate.log") {
            Ok(gate) => self.world.gate = Some(gate),
            Err(_) => self.tally.refused_to_open = true,
        }
        !self.tally.refused_to_open
    }

    fn round(&mut self, syncs: Syncs) {
        if self.start(syncs) {
            self.kill_under_load();
        }
    }

    /// Puts the gate under load and kills it at some moment, then cuts its logs and judges.
    fn kill_under_load(&mut self) {
        let address = self.gate();
        let requests = 100 + self.draws.below(600);
        let moment = Duration::from_micros(self.draws.below(8_000)); // anywhere within a commit
        let seed = self.draws.below(u64::MAX);
        let (load, world) = (&self.load, &mut self.world);
        load.run(address, CLIENTS, seed, || {
            load.wait_for(requests);
            std::thread::sleep(moment);
            world.kill_gate();
        });
        self.tally.rounds += 1;
        self.judge();
    }

    fn gate(&self) -> SocketAddr {
        self.world.gate.as_ref().expect("started").address
    }

    /// The gate signs an honest duty, at once.
    #[track_caller]
    fn assert_serving(&self) {
        let (status, body) = self.world.sign(&key(0), &self.load.fresh(0));
        assert_eq!(status, 200, "{body}: {}", self.world.log());
    }

    /// Cuts the logs of the dead gate, and compares store and signer.
    fn judge(&mut self) {
        let cut = self.disk.cut();
        self.tally.cut.files += cut.files;
        self.tally.cut.bytes += cut.bytes;
        self.log.read_on();
        self.tally.unrecorded.extend(self.log.unrecorded(&self.world.path("slashing")));
        self.tally.conflicts = self.log.conflicts();
        self.tally.hung_up = self.load.hung_up.load(std::sync::atomic::Ordering::Relaxed);
        self.tally.answers.add(&self.load.take_answers());
    }

    /// The invariants, over everything up to now.
    #[track_caller]
    fn assert_safe(&self) {
        let Tally { unrecorded, conflicts, refused_to_open, .. } = &self.tally;
        assert!(conflicts.is_empty(), "conflicting signatures: {conflicts:#?}");
        assert!(unrecorded.is_empty(), "signatures without a record: {unrecorded:#?}");
        assert!(!refused_to_open, "the store did not open: {}", self.world.log());
    }

    fn report(&self, name: &str) {
        let Tally { rounds, answers, hung_up, cut, unrecorded, conflicts, .. } = &self.tally;
        println!(
            "{name}: {rounds} rounds, {} signatures made ({} received), {} refused {:?}, \
             {hung_up} hung up, {} failed {:?}, {} logs cut by {} bytes, \
             conflicts {}, signatures without a record {}",
            self.log.entries.len(),
            answers.signed,
            answers.refused.values().sum::<u64>(),
            answers.refused,
            answers.failed.values().sum::<u64>(),
            answers.failed,
            cut.files,
            cut.bytes,
            conflicts.len(),
            unrecorded.len()
        );
    }
}
