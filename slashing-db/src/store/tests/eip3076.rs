//! The official tests of EIP-3076, through a real store on RocksDB.
//!
//! Each check says whether a minimal and whether a complete store allows it. This one lies between:
//! it must allow what the minimal one does, and nothing that the complete one refuses.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Deserialize;

use super::*;

const FILES: usize = 38;
const CHECKS: usize = 150;

#[derive(Deserialize)]
struct TestCase {
    name: String,
    genesis_validators_root: GenesisValidatorsRoot,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    should_succeed: bool,
    contains_slashable_data: bool,
    interchange: serde_json::Value,
    blocks: Vec<BlockCheck>,
    attestations: Vec<AttestationCheck>,
}

#[derive(Deserialize)]
struct BlockCheck {
    pubkey: PublicKey,
    slot: String,
    signing_root: SigningRoot,
    should_succeed: bool,
    should_succeed_complete: bool,
}

#[derive(Deserialize)]
struct AttestationCheck {
    pubkey: PublicKey,
    source_epoch: String,
    target_epoch: String,
    signing_root: SigningRoot,
    should_succeed: bool,
    should_succeed_complete: bool,
}

/// (checked, allowed beyond the minimal store)
type Tally = (usize, usize);

struct World {
    store: Store,
    table: Table,
    tally: Tally,
}

impl World {
    fn check(
        &mut self,
        pubkey: PublicKey,
        message: &Message,
        minimal: bool,
        complete: bool,
        at: &str,
    ) {
        let store = &self.store;
        let key = self
            .table
            .entry(pubkey)
            .or_insert_with(|| store.enrol(pubkey, Enrolment::New).unwrap());
        let verdict = sign(store, key, message);
        assert!(verdict.is_ok() || !minimal, "{at}: {message:?} refused: {verdict:?}");
        assert!(verdict.is_err() || complete, "{at}: {message:?} allowed");
        self.tally.0 += 1;
        self.tally.1 += usize::from(verdict.is_ok() && !minimal);
    }

    fn step(&mut self, step: &Step, at: &str) {
        let file = serde_json::to_vec(&step.interchange).unwrap();
        let bounds = ImportBounds { epoch_max: u64::MAX, slot_max: u64::MAX };
        match self.store.import(file.as_slice(), &mut self.table, bounds) {
            Ok(_) => assert!(step.should_succeed, "{at}: imported"),
            Err(error) => {
                assert!(!step.should_succeed || step.contains_slashable_data, "{at}: {error}");
            }
        }
        for it in &step.blocks {
            let slot = it.slot.parse().unwrap();
            let message = Message::Block(SignedBlock { slot, signing_root: it.signing_root });
            self.check(it.pubkey, &message, it.should_succeed, it.should_succeed_complete, at);
        }
        for it in &step.attestations {
            let message = Message::Attestation(SignedAttestation {
                source_epoch: it.source_epoch.parse().unwrap(),
                target_epoch: it.target_epoch.parse().unwrap(),
                signing_root: it.signing_root,
            });
            self.check(it.pubkey, &message, it.should_succeed, it.should_succeed_complete, at);
        }
    }
}

fn run(path: &Path, places: &Path) -> Tally {
    let case: TestCase = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let now = Now { epoch: 1 << 62, slot: 1 << 62, ..at(0) };
    let open = OpenParams {
        directory: places.join(&case.name),
        witness: places.join(format!("{}.witness", case.name)),
        genesis_validators_root: case.genesis_validators_root,
        ..params(now)
    };
    Store::init(&InitParams {
        directory: open.directory.clone(),
        witness: open.witness.clone(),
        network: open.network.clone(),
        genesis_validators_root: open.genesis_validators_root,
        key_set: open.key_set.clone(),
        now,
        boot_id: open.boot_id.clone(),
    })
    .unwrap();
    let mut tally = (0, 0);
    // Each step in a store opened anew: what a step left must be on the disk.
    for (number, step) in case.steps.iter().enumerate() {
        let (store, watermarks) = Store::open(&open).unwrap();
        let table = watermarks.into_iter().map(|it| (*it.public_key(), it)).collect();
        let mut world = World { store, table, tally };
        world.step(step, &format!("{}, step {number}", case.name));
        tally = world.tally;
    }
    tally
}

#[test]
fn eip3076_official_checks_lie_between_minimal_and_complete() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/eip3076-tests");
    let directory = std::env::var("EIP3076_TESTS").unwrap_or_else(|_| default.into());
    let Ok(listing) = std::fs::read_dir(&directory) else {
        // Not by a macro, which the test harness would swallow.
        let missing = "NOT RUN: the official EIP-3076 tests are not at";
        writeln!(std::io::stderr(), "{missing} {directory} (set EIP3076_TESTS)").unwrap();
        return;
    };
    let paths = listing.map(|it| it.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|it| it == "json"));
    let places = tempfile::tempdir().unwrap();
    let tallies: BTreeMap<_, _> = paths
        .map(|path| {
            let tally = run(&path, places.path());
            (path, tally)
        })
        .collect();
    assert_eq!(tallies.len(), FILES);
    assert_eq!(tallies.values().map(|tally| tally.0).sum::<usize>(), CHECKS);
    // The last vote and the last block may be signed again: exactly that goes beyond the minimum.
    assert_eq!(tallies.values().map(|tally| tally.1).sum::<usize>(), 2);
}

#[test]
fn a_store_is_made_once_and_a_half_made_one_is_finished() {
    let places = tempfile::tempdir().unwrap();
    let init = InitParams {
        directory: places.path().join("store"),
        witness: places.path().join("witness"),
        network: "testnet".into(),
        genesis_validators_root: GenesisValidatorsRoot([4; 32]),
        key_set: "main".into(),
        now: at(0),
        boot_id: "this boot".into(),
    };
    let open = OpenParams {
        directory: init.directory.clone(),
        witness: init.witness.clone(),
        ..params(at(1))
    };
    assert!(matches!(Store::open(&open), Err(OpenError::NoStore(_))));
    assert!(!init.directory.exists(), "opening makes nothing");
    Store::init(&init).unwrap();
    assert!(matches!(Store::init(&init), Err(InitError::AlreadyMade(_))));

    // As after a crash between the witness and the end, and before the witness.
    let mark = init.directory.join("HALF-MADE");
    std::fs::write(&mark, b"").unwrap();
    assert!(matches!(Store::open(&open), Err(OpenError::HalfMade(_))));
    Store::init(&init).unwrap();
    std::fs::write(&mark, b"").unwrap();
    std::fs::remove_file(&init.witness).unwrap();
    Store::init(&init).unwrap();
    let (_store, _) = Store::open(&open).unwrap();
    let read = Store::open_read_only(&init.directory).unwrap();
    assert_eq!(read.identity.local.binding.network(), "testnet");
    assert!(Store::open(&open).is_err(), "a second gate on one store");

    let other = InitParams { directory: places.path().join("other"), ..init.clone() };
    assert!(Store::init(&other).is_err(), "these keys have a store");
    std::fs::create_dir(places.path().join("full")).unwrap();
    std::fs::write(places.path().join("full/file"), b"").unwrap();
    let full = InitParams { directory: places.path().join("full"), ..init };
    assert!(matches!(Store::init(&full), Err(InitError::NotEmpty(_))));
}
