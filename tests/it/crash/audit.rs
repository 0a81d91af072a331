//! The audit log under the same kills and the same full disk: what was signed is in it, or is named
//! by a repair; and what could not be written down is not decided.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use portcullis::dev_signer::sign_type::SignType;
use serde_json::Value;
use slashing_db::{AttestationRecord, PublicKey, Store};

use super::write_error::{Mount, ask_health};
use super::{ALL_TARGETS, Rig, Syncs, prepare};
use crate::support::{Options, World, exit, key};

const ROUNDS: u64 = 6;
const SOAK_ROUNDS: u64 = 100;
const SOON: Duration = Duration::from_secs(30);

impl Rig {
    /// Every signature has its decision, or its key a repair.
    fn assert_audited(&self) -> (usize, usize) {
        let verified = self.world.must(&["audit", "verify", "--config", "gate.toml"]);
        assert!(verified.contains("it stands as it was written"), "{verified}");
        let text = self.world.must(&["audit", "export", "--config", "gate.toml"]);
        let records = text.lines().map(|line| serde_json::from_str(line).expect(line));
        let records: Vec<Value> = records.collect();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let decided: BTreeSet<(String, String)> = records
            .iter()
            .filter(|record| record["record"] == "decision")
            .map(|record| (text(&record["pubkey"]), text(&record["signing_root"])))
            .collect();
        let repaired: BTreeSet<String> = records
            .iter()
            .filter(|record| record["record"] == "repair_gap")
            .flat_map(|record| record["records"].as_array().expect("records"))
            .map(|record| text(&record["pubkey"]))
            .collect();
        let mut by_repair = 0;
        for entry in &self.log.entries {
            let (key, root) = (entry.pubkey.to_string(), entry.signing_root.to_string());
            if decided.contains(&(key.clone(), root)) {
                continue;
            }
            by_repair += 1;
            assert!(repaired.contains(&key), "neither decision nor repair: {entry:?}");
        }
        let repairs = records.iter().filter(|it| text(&it["record"]).starts_with("repair_"));
        (by_repair, repairs.count())
    }

    fn recorded(&self, key: &str) -> Option<AttestationRecord> {
        let store = Store::open_read_only(&self.world.path("slashing")).expect("a store");
        let key = portcullis::dev_signer::hex::Hex::parse(key).expect("a key");
        store.key(&PublicKey(key.0)).and_then(|it| it.attestation)
    }

    /// Asks for new duties until one is refused because it could not be written down; then nothing
    /// moves any more, and `/healthz` says so.
    fn assert_nothing_moves_without_the_log(&self) {
        let deadline = Instant::now() + SOON;
        while self.world.sign(&key(0), &self.load.fresh(0)).1["code"] != "audit_full" {
            assert!(Instant::now() < deadline, "it signs on: {}", self.world.log());
        }
        let before = self.recorded(&key(0)).expect("it has signed");
        let signed = self.world.signed().len();
        for _ in 0..20 {
            let (status, body) = self.world.sign(&key(0), &self.load.fresh(0));
            assert_eq!((status, &body["code"]), (500, &Value::from("audit_full")), "{body}");
        }
        assert_eq!(self.recorded(&key(0)), Some(before), "the watermark moved");
        assert_eq!(self.world.signed().len(), signed);
        assert_eq!(ask_health(self.metrics()), Some(503));
    }

    fn stop_in_order(&mut self) {
        let gate = self.world.gate.as_mut().expect("started");
        let pid = rustix::process::Pid::from_child(&gate.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told");
        assert!(gate.child.wait().expect("a child").success());
        self.world.kill_gate();
    }

    fn assert_signs_again(&self) {
        let deadline = Instant::now() + SOON;
        while self.world.sign(&key(0), &self.load.fresh(0)).0 != 200 {
            assert!(Instant::now() < deadline, "it does not sign again: {}", self.world.log());
        }
        assert_eq!(ask_health(self.metrics()), Some(200));
    }
}

fn kill_rounds(rounds: u64) {
    let mut rig = Rig::new();
    let (mut by_repair, mut repairs) = (0, 0);
    for _ in 0..rounds {
        rig.round(Syncs::Honest);
        assert!(rig.start(Syncs::Honest), "{}", rig.world.log());
        rig.assert_serving();
        rig.world.kill_gate(); // with what it has just opened and repaired
        rig.judge();
        rig.assert_safe();
        assert!(rig.start(Syncs::Honest), "{}", rig.world.log());
        (by_repair, repairs) = rig.assert_audited();
        rig.world.kill_gate();
    }
    rig.report("audit under kill -9");
    println!("{by_repair} signatures known by a repair alone, {repairs} repairs");
    assert!(by_repair > 0, "no kill came between a signature and its record");
}

#[test]
fn no_kill_leaves_a_signature_that_the_log_does_not_know_of() {
    kill_rounds(ROUNDS);
}

#[test]
#[ignore = "minutes: `make soak` runs it"]
fn soak_no_kill_leaves_a_signature_that_the_log_does_not_know_of() {
    kill_rounds(SOAK_ROUNDS);
}

#[test]
fn a_full_audit_disk_moves_no_watermark() {
    let world = prepare();
    fs::create_dir(world.path("audit")).expect("a directory");
    let Some(mount) = Mount::over(&world.path("audit")) else {
        eprintln!("a_full_audit_disk_moves_no_watermark: NOT RUN, cannot mount tmpfs");
        return;
    };
    let mut rig = Rig::over(world);
    assert!(rig.start(Syncs::Honest));
    rig.assert_serving();
    mount.fill();
    rig.assert_nothing_moves_without_the_log();
    mount.free();
    rig.assert_signs_again();
    rig.stop_in_order();
    rig.log.read_on();
    let (by_repair, _) = rig.assert_audited();
    assert_eq!(by_repair, 0, "what had its place was written down");
    let log = rig.world.log();
    assert!(log.contains("\"event\":\"audit_blocked\""), "{log}");
    drop(rig); // the gate ends before its disk goes
    drop(mount);
}

#[test]
fn a_stalled_audit_disk_moves_no_watermark_and_releases_no_exit() {
    let leaving = "[[groups]]\nname = \"leaving\"\nall = true\nallow_voluntary_exit = true\n\
                   voluntary_exits_max = 2\nvoluntary_exits_group_max = 9\n";
    let world = World::prepare(Options {
        keys: super::KEYS,
        genesis_age_s: super::EPOCHS * 32 * crate::support::SLOT_S,
        config: format!("{ALL_TARGETS}[audit]\ndirectory = \"audit\"\nstall_ms = 2000\n{leaving}"),
        ..Options::default()
    });
    let stall = world.path("stall");
    let mut rig = Rig::over(world);
    rig.disk.stall_audit_while(&stall);
    assert!(rig.start(Syncs::Honest));
    rig.assert_serving();

    fs::write(&stall, "").expect("written");
    let (status, body) = rig.world.sign(&key(1), &exit(1));
    assert_eq!((status, &body["code"]), (500, &Value::from("audit_full")), "{body}");
    rig.assert_nothing_moves_without_the_log();
    let is_exit =
        |entry: &portcullis::dev_signer::log::Entry| entry.sign_type == SignType::VoluntaryExit;
    assert!(!rig.world.signed().iter().any(is_exit), "an exit left before its record was on disk");

    fs::remove_file(&stall).expect("removed");
    rig.assert_signs_again();
    let (status, body) = rig.world.sign(&key(1), &exit(1));
    assert_eq!(status, 200, "{body}");
    let text = rig.world.must(&["audit", "export", "--config", "gate.toml"]);
    let exits = text.lines().filter(|line| line.contains("VOLUNTARY_EXIT"));
    let verdicts: Vec<Value> = exits
        .map(|line| serde_json::from_str::<Value>(line).expect(line)["verdict"].clone())
        .collect();
    assert_eq!(verdicts[..3], ["permitted", "failed", "permitted"], "{text}");
}

/// Closed in order, the log ends with a checkpoint and needs no repair; a handover passes it on.
#[test]
fn a_stop_in_order_needs_no_repair() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        assert!(rig.start(Syncs::Honest));
        rig.assert_serving();
        rig.stop_in_order();
        rig.log.read_on();
        assert_eq!(rig.assert_audited(), (0, 0));
    }
    let tail = rig.world.must(&["audit", "tail", "--config", "gate.toml", "-n", "1", "--json"]);
    let last: Value = serde_json::from_str(&tail).expect("JSON");
    assert_eq!((&last["record"], &last["is_last"]), (&"checkpoint".into(), &true.into()));

    // One byte of the log, anywhere: found, and named.
    let folder = rig.world.path("audit");
    let files = fs::read_dir(&folder).expect("a directory");
    let mut files = files.map(|it| it.expect("a file").path());
    let segment = files.find(|it| it.extension().is_some_and(|it| it == "audit"));
    let segment = segment.expect("a segment");
    let mut bytes = fs::read(&segment).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).expect("written");
    let output = rig.world.run(&["audit", "verify", "--config", "gate.toml"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("DAMAGED") && said.contains(": bytes "), "{said}");
    assert!(!rig.start(Syncs::Honest), "a gate adds to a log that was changed");
}
