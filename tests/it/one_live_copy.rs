//! One live copy: whatever is copied, restored, started twice or suspended, one gate signs, and the
//! others say why they do not and who must act.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::chance::Chance;
use super::support::{Http, Options, Process, World, attestation, block, key, randao, unix_s};

/// An error in this is for an operator: it ends with what to do.
const WHO_ACTS: [&str; 5] = ["stop", "slashing init", "keys enrol --floor", "configure", "correct"];

/// Starts a gate that has to refuse; gives its words.
fn refused(world: &World, config: &str) -> String {
    let name = format!("refused-{}.log", unix_s());
    let status = match world.spawn_gate(config, &name) {
        Ok(_) => panic!("a gate serves that must not"),
        Err(status) => status,
    };
    assert_eq!(status.code(), Some(1), "the exit code of a gate that did not start");
    let log = fs::read_to_string(world.path(&name)).unwrap();
    let words = log.lines().last().unwrap_or_default().to_owned();
    assert!(words.starts_with("portcullis: cannot open the slashing store: "), "{words}");
    assert!(WHO_ACTS.iter().any(|word| words.contains(word)), "who must act? {words}");
    words
}

fn assert_says(words: &str, what: &str) {
    assert!(words.contains(what), "{what:?} is not in: {words}");
}

/// `cp -r`, without the control socket.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn copy_store(world: &World, to: &str) {
    copy(&world.path("slashing"), &world.path(to));
}

/// Puts the store `from` in the place of the configured one.
fn restore(world: &World, from: &str) {
    fs::remove_dir_all(world.path("slashing")).unwrap();
    copy(&world.path(from), &world.path("slashing"));
}

/// A configuration like the usual one, but for `change`.
fn config_with(world: &World, name: &str, change: (&str, &str)) {
    let text = fs::read_to_string(world.path("gate.toml")).unwrap();
    assert!(text.contains(change.0));
    fs::write(world.path(name), text.replace(change.0, change.1)).unwrap();
}

fn witness(world: &World) -> Value {
    serde_json::from_str(&fs::read_to_string(world.path("witness.json")).unwrap()).unwrap()
}

/// Waits until the lease was renewed by a renewal that began after this call.
fn wait_for_renewal(world: &World) {
    let mut seen = witness(world);
    for _ in 0..2 {
        let deadline = Instant::now() + Duration::from_secs(10);
        let before = seen.clone();
        while seen == before {
            assert!(Instant::now() < deadline, "no renewal: {seen}");
            std::thread::sleep(Duration::from_millis(20));
            seen = witness(world);
        }
    }
}

fn signal(process: &Process, signal: Signal) {
    kill_process(Pid::from_child(&process.child), signal).unwrap();
}

/// Stops the gate as an operator does; gives how it ended.
fn stop(world: &mut World) -> ExitStatus {
    let mut gate = world.gate.take().unwrap();
    signal(&gate, Signal::TERM);
    gate.child.wait().unwrap()
}

#[test]
fn a_copy_beside_the_live_gate_is_refused() {
    let mut world = World::start(Options::default());
    let (e, slot) = (world.epoch(), world.slot());
    assert_eq!(world.sign(&key(0), &attestation(e - 3, e - 1, 1)).0, 200);
    copy_store(&world, "copy");
    config_with(&world, "copy.toml", ("\"slashing\"", "\"copy\""));
    assert_says(&refused(&world, "copy.toml"), "another process on this machine owns the witness");

    // The live one goes on, dies, and the copy is behind.
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200);
    assert_eq!(world.sign(&key(1), &block(slot, 1)).0, 200);
    wait_for_renewal(&world);
    world.kill_gate();
    assert_says(&refused(&world, "copy.toml"), "records are missing");
    world.start_gate();
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 2)).0, 412);

    // A copy that lacks nothing may take over from a dead gate; then the first one is the old copy.
    world.kill_gate();
    copy_store(&world, "whole");
    config_with(&world, "whole.toml", ("\"slashing\"", "\"whole\""));
    world.gate = Some(world.spawn_gate("whole.toml", "gate.log").expect("the whole copy serves"));
    assert_eq!(world.sign(&key(1), &block(slot, 2)).0, 412);
    world.kill_gate();
    assert_says(&refused(&world, "gate.toml"), "this is an old copy");
}

#[test]
fn a_second_gate_on_one_store_is_refused() {
    let world = World::start(Options::default());
    let words = refused(&world, "gate.toml");
    assert_says(&words, "another process on this machine owns the witness");
    assert_says(&words, "stop that gate first");
    assert_eq!(world.sign(&key(0), &randao(world.epoch())).0, 200, "the first one goes on");
    // A command that would open the store goes through the gate that has it, or is refused too.
    world.must(&["keys", "list", "--config", "gate.toml"]);
    let init = world.run(&["slashing", "init", "--config", "gate.toml"]);
    assert_eq!(init.status.code(), Some(1));
    assert_says(&String::from_utf8_lossy(&init.stderr), "holds a slashing store already");
}

/// What was signed since the last renewal before a kill is the one window that is left: see
/// `slashing_db::witness`. Here a renewal lies between the signature and the end.
#[test]
fn a_snapshot_restored_after_later_signatures_is_refused() {
    let mut world = World::start(Options::default());
    let e = world.epoch();
    copy_store(&world, "before-kill");
    assert_eq!(world.sign(&key(0), &attestation(e - 3, e - 1, 1)).0, 200);
    wait_for_renewal(&world);
    world.kill_gate();
    copy_store(&world, "whole");
    restore(&world, "before-kill");
    assert_says(&refused(&world, "gate.toml"), "restored from a snapshot");
    restore(&world, "whole");
    world.start_gate();

    // After a clean stop there is no window: nobody waits for a renewal here.
    copy_store(&world, "before-stop");
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200);
    assert_eq!(stop(&mut world).code(), Some(0));
    copy_store(&world, "whole-2");
    restore(&world, "before-stop");
    assert_says(&refused(&world, "gate.toml"), "restored from a snapshot");
    restore(&world, "whole-2");
    world.start_gate();
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 2)).0, 412);
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200, "the same root again");
}

/// Twelve seconds of real time: a lease lasts ten.
#[test]
fn a_gate_suspended_past_its_lease_signs_nothing() {
    let mut world = World::start(Options::default());
    let (e, slot) = (world.epoch(), world.slot());
    assert_eq!(world.sign(&key(3), &attestation(e - 3, e - 1, 1)).0, 200);
    let requests = [
        (0, attestation(e - 2, e, 1)),
        (3, attestation(e - 3, e - 1, 1)), // a repeat, whose signature the gate still has
        (1, block(slot, 1)),
        (2, randao(e)),
    ];
    let mut waiting: Vec<Http> = requests.iter().map(|_| world.connect()).collect();
    let mut arriving: Vec<Http> = requests.iter().map(|_| world.connect()).collect();
    for connection in waiting.iter_mut().chain(&mut arriving) {
        assert_eq!(connection.get("/upcheck").status, 200);
    }

    signal(world.gate.as_ref().unwrap(), Signal::STOP);
    let before = world.signed().len();
    let send = |connection: &mut Http, (number, request): &(u64, Value)| {
        let path = format!("/api/v1/eth2/sign/{}", key(*number));
        let accept = Some("application/json");
        connection.send("POST", &path, accept, request.to_string().as_bytes()).unwrap();
    };
    for (connection, request) in waiting.iter_mut().zip(&requests) {
        send(connection, request);
    }
    std::thread::sleep(Duration::from_secs(11));
    // Meanwhile nobody else may have it: the sleeper owns the witness.
    assert_says(&refused(&world, "gate.toml"), "a suspended one owns it too");
    signal(world.gate.as_ref().unwrap(), Signal::CONT);
    for (connection, request) in arriving.iter_mut().zip(&requests) {
        send(connection, request);
    }
    for connection in waiting.iter_mut().chain(&mut arriving) {
        let answer = connection.receive().expect("an answer, not a closed connection");
        assert_eq!(answer.status, 500, "{}", answer.body);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["code"], "lease_lapsed", "{body}");
        assert_says(&answer.body, "restart this process");
    }
    let mut gate = world.gate.take().unwrap();
    assert_eq!(gate.child.wait().unwrap().code(), Some(70));
    assert_eq!(world.signed().len(), before, "nothing reached the signer");
    assert_says(&world.log(), "the lease is lost");
    assert_says(&world.log(), "restart this process");

    world.start_gate();
    for (number, request) in &requests {
        assert_eq!(world.sign(&key(*number), request).0, 200, "{request}");
    }
    assert!(portcullis::dev_signer::log::find_conflicts(&world.signed()).is_empty());
}

#[test]
fn fifty_kills_while_opening_quarantine_nothing() {
    let seed = portcullis::clock::unix_ms();
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let mut world = World::prepare(Options::default());
    let started = Instant::now();
    world.start_gate();
    let startup_us = u64::try_from(started.elapsed().as_micros()).unwrap();
    let (e, slot) = (world.epoch(), world.slot());
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 1)).0, 200);
    world.kill_gate();

    let log = world.path("killed.log");
    let mut had_claimed = 0;
    for round in 0..50 {
        let generation = witness(&world)["witness"]["generation"].clone();
        let mut child = world.gate_command("gate.toml", &log).spawn().unwrap();
        // Every other one in the later half, where the store is opened.
        let first_us = startup_us / 2 * (round % 2);
        let after_us = first_us + chance.below(startup_us - first_us);
        std::thread::sleep(Duration::from_micros(after_us));
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "round {round}: {}", fs::read_to_string(&log).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        had_claimed += u32::from(witness(&world)["witness"]["generation"] != generation);
    }
    println!("{had_claimed} of 50 were killed after they had claimed the witness");
    assert!((1..50).contains(&had_claimed), "the kills fell before or after the openings");
    world.start_gate();
    assert_eq!(world.sign(&key(0), &attestation(e - 2, e, 2)).0, 412, "and nothing is forgotten");
    assert_eq!(world.sign(&key(1), &block(slot, 1)).0, 200);
}

#[test]
fn a_witness_or_store_that_is_lost_damaged_or_misplaced_is_refused() {
    let mut world = World::start(Options::default());
    assert_eq!(stop(&mut world).code(), Some(0));
    let path = world.path("witness.json");
    let whole = fs::read_to_string(&path).unwrap();

    fs::remove_file(&path).unwrap();
    assert_says(&refused(&world, "gate.toml"), "no witness at");
    assert!(!path.exists(), "running makes no witness");
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_says(&refused(&world, "gate.toml"), "cannot be believed");
    let generation = whole.replacen("\"generation\":", "\"generation\": 7", 1);
    fs::write(&path, generation).unwrap();
    assert_says(&refused(&world, "gate.toml"), "cannot be believed");
    fs::write(&path, &whole).unwrap();

    fs::copy(&path, world.path("slashing/witness.json")).unwrap();
    let inside = ("\"witness.json\"", "\"slashing/witness.json\"");
    config_with(&world, "inside.toml", inside);
    let run = world.run(&["run", "--config", "inside.toml"]);
    assert!(!run.status.success());
    assert_says(&String::from_utf8_lossy(&run.stderr), "slashing.witness");
    fs::remove_file(world.path("slashing/witness.json")).unwrap();

    let other = format!("0x{}", "11".repeat(32));
    config_with(&world, "other.toml", (super::support::GVR, &other));
    assert_says(&refused(&world, "other.toml"), "correct the network or slashing.key_set");
    world.start_gate();
    assert_eq!(stop(&mut world).code(), Some(0));

    // The store is gone, its witness is not: neither `run` nor `init` begins anew by itself.
    fs::rename(world.path("slashing"), world.path("lost")).unwrap();
    let words = refused(&world, "gate.toml");
    assert_says(&words, "holds no slashing store, but its witness");
    assert!(!world.path("slashing").exists(), "running makes no store");
    let init = world.run(&["slashing", "init", "--config", "gate.toml"]);
    assert_eq!(init.status.code(), Some(1));
    let words = String::from_utf8_lossy(&init.stderr);
    assert_says(&words, "these keys have a store");
    assert_says(&words, "keys enrol --floor");
}
