//! One live copy of a store: every way in which a second one comes about, with real gates.
//!
//! None of them signs, and each says why, in words for whoever is paged.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Http, Options, World, attestation, binary, block, key, randao};

const REFUSED: i32 = 1;
const UNSAFE: i32 = 70;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Starts a gate that must not serve; gives what it says.
fn refused(world: &World, config: &str) -> String {
    let Err(status) = world.spawn_gate(config, "second.log") else {
        panic!("a second gate serves: {config}");
    };
    assert_eq!(status.code(), Some(REFUSED));
    let log = fs::read_to_string(world.path("second.log")).unwrap();
    log.lines().filter(|line| line.starts_with("portcullis: ")).collect()
}

/// The configuration of the world with another directory for the store.
fn configure(world: &World, name: &str, directory: &str) {
    let text = fs::read_to_string(world.path("gate.toml")).unwrap();
    let text = text.replace("directory = \"slashing\"", &format!("directory = \"{directory}\""));
    fs::write(world.path(name), text).unwrap();
}

/// Waits until the witness has heard of all that was signed so far: its next renewals.
fn wait_for_renewals(world: &World, count: usize) {
    let mut seen = fs::read(world.path("witness.json")).unwrap();
    for _ in 0..count {
        let before = seen.clone();
        while seen == before {
            std::thread::yield_now();
            // Between the rename and the next look the file is always whole.
            seen = fs::read(world.path("witness.json")).unwrap();
        }
    }
}

#[test]
fn two_gates_on_one_store() {
    let world = World::start(Options::default());
    let said = refused(&world, "gate.toml");
    assert!(said.contains("another process") || said.contains("owns"), "{said}");
    assert_eq!(world.sign(&key(0), &randao(world.epoch())).0, 200, "the first goes on");
}

#[test]
fn a_copied_directory_beside_the_live_gate_and_after_it() {
    let mut world = World::start(Options::default());
    let e = world.epoch();
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e - 1, 1)).0, 200);
    copy(&world.path("slashing"), &world.path("copied"));
    configure(&world, "copy.toml", "copied");
    let said = refused(&world, "copy.toml");
    assert!(said.contains("owns"), "beside the live gate: {said}");
    // What is signed after the copy was taken is not in it.
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200);
    wait_for_renewals(&world, 2);
    world.kill_gate();
    let said = refused(&world, "copy.toml");
    assert!(said.contains("floor"), "after the live gate: {said}");
    world.start_gate();
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 9)).0, 412, "the honest store goes on");
}

#[test]
fn a_snapshot_restored_after_a_kill_or_a_clean_stop() {
    for clean in [false, true] {
        let mut world = World::start(Options::default());
        let (e, slot) = (world.epoch(), world.slot());
        assert_eq!(world.sign(&key(0), &attestation(e - 2, e - 1, 1)).0, 200);
        copy(&world.path("slashing"), &world.path("snapshot"));
        assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200);
        assert_eq!(world.sign(&key(1), &block(slot, 1)).0, 200);
        wait_for_renewals(&world, 2);
        if clean {
            stop(&mut world);
        } else {
            world.kill_gate();
        }
        fs::rename(world.path("slashing"), world.path("aside")).unwrap();
        fs::rename(world.path("snapshot"), world.path("slashing")).unwrap();
        let said = refused(&world, "gate.toml");
        assert!(said.contains("floor"), "clean {clean}: {said}");
        // The commands that write are refused too, and nothing of it harms the honest store.
        let output = world.run(&["keys", "disable", "--config", "gate.toml", &key(0)]);
        assert_eq!(output.status.code(), Some(REFUSED));
        fs::remove_dir_all(world.path("slashing")).unwrap();
        fs::rename(world.path("aside"), world.path("slashing")).unwrap();
        world.start_gate();
        assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 9)).0, 412);
    }
}

fn signal(world: &World, signal: Signal) {
    let gate = &world.gate.as_ref().unwrap().child;
    kill_process(Pid::from_child(gate), signal).unwrap();
}

fn stop(world: &mut World) {
    signal(world, Signal::TERM);
    let mut gate = world.gate.take().unwrap();
    assert_eq!(gate.child.wait().unwrap().code(), Some(0), "{}", world.log());
}

#[test]
fn a_process_suspended_past_its_lease() {
    let mut world = World::start(Options::default());
    let e = world.epoch();
    let address = world.gate.as_ref().unwrap().address;
    let mut waiting = Http::connect(address);
    assert_eq!(waiting.sign(&key(0), &randao(e)).0, 200);
    let before = world.signed().len();
    signal(&world, Signal::STOP);
    // The one wait that cannot be shortened: the lease runs on the machine's own clock.
    std::thread::sleep(Duration::from_millis(10_500));
    let path = format!("/api/v1/eth2/sign/{}", key(1));
    let body = attestation(e - 2, e, 1).to_string();
    waiting.send("POST", &path, Some("application/json"), body.as_bytes()).unwrap();
    signal(&world, Signal::CONT);
    // Refused with the reason, or cut off by the process that ends.
    if let Ok(answer) = waiting.receive() {
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(answer.body.contains("lease_lapsed") || answer.body.contains("closing"));
    }
    let status = world.gate.take().unwrap().child.wait().unwrap();
    assert_eq!(status.code(), Some(UNSAFE));
    assert!(world.log().contains("lease lapsed"), "{}", world.log());
    assert_eq!(world.signed().len(), before, "nothing was signed after the lapse");
    world.start_gate();
    assert_eq!(world.sign(&key(1), &attestation(e - 2, e, 1)).0, 200, "a restart goes on");
}

#[test]
fn fifty_kills_while_opening_never_quarantine_an_honest_store() {
    let mut world = World::start(Options::default());
    let e = world.epoch();
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200);
    world.kill_gate();
    for round in 0..50_u64 {
        let log = world.path("gate.log");
        let mut child = world.gate_command("gate.toml", &log).spawn().unwrap();
        // From before the store is touched to after the gate serves, by steps of a millisecond.
        std::thread::sleep(Duration::from_millis(round * 3 / 2));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    world.start_gate();
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 9)).0, 412);
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200);
}

#[test]
fn a_witness_or_a_store_that_is_gone_or_garbled() {
    let mut world = World::start(Options::default());
    stop(&mut world);
    let (witness, aside) = (world.path("witness.json"), world.path("aside"));
    fs::rename(&witness, &aside).unwrap();
    let said = refused(&world, "gate.toml");
    assert!(said.contains("witness"), "lost: {said}");
    fs::write(&witness, "{}").unwrap();
    let said = refused(&world, "gate.toml");
    assert!(said.contains("witness"), "garbled: {said}");
    fs::rename(&aside, &witness).unwrap();

    fs::rename(world.path("slashing"), &aside).unwrap();
    let said = refused(&world, "gate.toml");
    assert!(said.contains("slashing init"), "no store: {said}");
    let init = world.run(&["slashing", "init", "--config", "gate.toml"]);
    assert_eq!(init.status.code(), Some(REFUSED), "a new store must not replace a known one");
    let said = String::from_utf8_lossy(&init.stderr).into_owned();
    assert!(said.contains("witness"), "{said}");
    fs::remove_dir_all(world.path("slashing")).ok();
    fs::rename(&aside, world.path("slashing")).unwrap();
    world.start_gate();
}

#[test]
fn commands_reach_the_running_gate_and_a_stopped_store() {
    let mut world = World::start(Options { enrol: false, ..Options::default() });
    let e = world.epoch();
    let enrol = ["keys", "enrol", "--config", "gate.toml", "--new"];
    world.must(&[&enrol[..], &[&key(0), &key(1)]].concat());
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200, "at once, without a restart");
    let twice = world.run(&[&enrol[..], &[&key(0)]].concat());
    assert_eq!(twice.status.code(), Some(1));
    let enabled = world.run(&["slashing", "export", "--config", "gate.toml", &key(0)]);
    assert_eq!(enabled.status.code(), Some(1), "an enabled key is not exported");
    world.must(&["keys", "disable", "--config", "gate.toml", &key(0)]);
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).1["code"], "key_disabled");
    let running =
        world.must(&["slashing", "export", "--config", "gate.toml", "--to", "out.json", &key(0)]);
    assert_eq!(running, "");
    stop(&mut world);
    let stopped = world.must(&["slashing", "export", "--config", "gate.toml", &key(0)]);
    assert_eq!(stopped, fs::read_to_string(world.path("out.json")).unwrap());
    assert!(stopped.contains(&format!("\"target_epoch\": \"{e}\"")), "{stopped}");

    // Into a second store, by the same file, twice.
    world.write_config("other.toml", "");
    let text = fs::read_to_string(world.path("other.toml")).unwrap();
    let text = text.replace("\"slashing\"", "\"other\"").replace("witness.json", "other.json");
    fs::write(world.path("other.toml"), text).unwrap();
    world.must(&["slashing", "init", "--config", "other.toml"]);
    for word in ["raised: 1", "unchanged: 1"] {
        let import = world.must(&["slashing", "import", "--config", "other.toml", "out.json"]);
        assert!(import.contains(word), "{import}");
    }
    fs::rename(world.path("other.toml"), world.path("gate.toml")).unwrap();
    world.start_gate();
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 9)).1["code"], "double_vote");
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200, "the same root again");
}

#[test]
fn a_wrong_configuration_ends_with_64_and_names_the_place() {
    let world = World::prepare(Options::default());
    world.write_config("bad.toml", "witnes = \"typo.json\"\n");
    let output = Command::new(binary())
        .args(["run", "--config", "bad.toml"])
        .current_dir(world.dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("bad.toml:") && said.contains("witnes"), "{said}");
}
