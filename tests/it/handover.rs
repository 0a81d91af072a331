//! Handover between real gates, under load, and with successors that fail at every stage.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis::dev_signer::log::find_conflicts;
use portcullis::handover::{Ask, Predecessor};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use slashing_db::Store;

use super::support::{Http, Options, Process, SPACE_LOW, World, binary, block, key, randao};

const REFUSED: i32 = 1;
const USAGE: i32 = 64;
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts `portcullis handover`.
pub(crate) fn successor(world: &World, config: &str, log: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(binary());
    command.args(["handover", "--config", config, "--log-format", "json"]).args(arguments);
    command.current_dir(world.dir.path()).env(SPACE_LOW, "0").stdout(Stdio::null());
    command.stderr(File::create(world.path(log)).unwrap()).spawn().unwrap()
}

/// Waits for an event in a log; gives its line.
pub(crate) fn event(world: &World, log: &str, name: &str) -> Value {
    let wanted = format!("\"event\":\"{name}\"");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(world.path(log)).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.contains(&wanted)) {
            return serde_json::from_str(line).unwrap();
        }
        assert!(Instant::now() < deadline, "no {name} in {log}: {text}");
        std::thread::yield_now();
    }
}

/// Ends the load when the test ends, also where it fails.
pub(crate) struct StopAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until `count` has grown by so many.
pub(crate) fn wait_for_more(more: usize, count: impl Fn() -> usize) {
    let (before, deadline) = (count(), Instant::now() + PATIENCE);
    while count() < before + more {
        assert!(Instant::now() < deadline, "the load has stopped");
        std::thread::yield_now();
    }
}

/// Hands over at once and waits for both ends; gives the pause.
fn hand_over(world: &mut World, log: &str) -> u64 {
    let address = world.gate.as_ref().unwrap().address;
    let child = successor(world, "gate.toml", log, &["--at-once"]);
    let mut old = world.gate.replace(Process { child, address }).unwrap();
    assert_eq!(old.child.wait().unwrap().code(), Some(0), "the old gate ends in order");
    event(world, log, "handover")["pause_ms"].as_u64().unwrap()
}

fn generation(world: &World) -> u64 {
    let store = Store::open_read_only(&world.path("slashing")).unwrap();
    store.identity.local.claim.generation
}

/// Proposes in ascending slots with one key: each once, once in conflict, once more the same.
struct Proposer<'a> {
    world: &'a World,
    address: SocketAddr,
    key: String,
    keeps_connection: bool,
    cut: &'a AtomicUsize,
}

impl Proposer<'_> {
    fn run(&self, stop: &AtomicBool) -> u64 {
        let mut connection = None;
        let first = self.world.slot() - 3_000;
        for slot in first..self.world.slot() {
            if stop.load(Ordering::Relaxed) {
                return slot - first;
            }
            for (body, expected) in [(1, 200), (2, 412), (1, 200)] {
                let (status, answer) = self.ask(&mut connection, &block(slot, body));
                assert_eq!(status, expected, "slot {slot}, body {body}: {answer}");
            }
        }
        panic!("the load ended before the test")
    }

    /// Asks until there is an answer. Only a connection that was used before may break.
    fn ask(&self, connection: &mut Option<Http>, body: &Value) -> (u16, String) {
        let (path, body) = (format!("/api/v1/eth2/sign/{}", self.key), body.to_string());
        loop {
            let kept = connection.take();
            let is_used = kept.is_some();
            let mut http = kept.unwrap_or_else(|| Http::connect(self.address));
            match http.request("POST", &path, Some("application/json"), body.as_bytes()) {
                Ok(answer) => {
                    *connection = self.keeps_connection.then_some(http);
                    return (answer.status, answer.body);
                }
                Err(_) if is_used => {
                    self.cut.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("a request on a new connection failed: {error}"),
            }
        }
    }
}

const PROPOSERS: u64 = 6;
const HANDOVERS: usize = 4;

/// Half of the clients keep their connections, half open one for each request and never try again.
#[test]
fn no_request_fails_and_nothing_slashable_leaves_under_load() {
    let mut world = World::start(Options { keys: PROPOSERS, ..Options::default() });
    let before = generation(&world);
    let mut gate = world.gate.take();
    let (stop, cut) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = gate.as_ref().unwrap().address;
    let (rounds, pauses) = std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        let proposers: Vec<_> = (0..PROPOSERS)
            .map(|number| {
                let (world, stop, cut) = (&world, &stop, &cut);
                let keeps_connection = number % 2 == 0;
                let key = key(number);
                let proposer = Proposer { world, address, key, keeps_connection, cut };
                scope.spawn(move || proposer.run(stop))
            })
            .collect();
        let pauses = (0..HANDOVERS).map(|number| {
            wait_for_more(50, || world.signed().len()); // before the first and after each
            let log = format!("successor-{number}.log");
            let child = successor(&world, "gate.toml", &log, &["--at-once"]);
            let mut old = gate.replace(Process { child, address }).unwrap();
            assert_eq!(old.child.wait().unwrap().code(), Some(0), "the old gate ends in order");
            event(&world, &log, "handover")["pause_ms"].as_u64().unwrap()
        });
        let pauses: Vec<_> = pauses.collect();
        drop(stop_at_end);
        let rounds: Vec<_> = proposers.into_iter().map(|it| it.join().unwrap()).collect();
        (rounds, pauses)
    });
    let cut = cut.into_inner();
    println!("slots {rounds:?}, pauses {pauses:?} ms, kept connections closed {cut}");
    assert!(cut <= HANDOVERS * PROPOSERS as usize / 2, "{cut}: one a connection and handover");
    assert!(find_conflicts(&world.signed()).is_empty());
    assert_eq!(generation(&world), before + HANDOVERS as u64);
    // A floor would have raised every watermark to the present slot.
    world.gate = gate;
    let slot = world.slot() - 1;
    assert_eq!(world.sign(&key(0), &block(slot, 1)).0, 200);
    assert_eq!(world.sign(&key(0), &block(slot - 1, 1)).0, 412);
}

#[test]
fn a_wrong_successor_leaves_the_gate_as_it_is() {
    let mut world = World::start(Options::default());
    world.write_config("unknown-key.toml", "witnes = \"typo.json\"\n");
    world.write_config("other-keys.toml", "key_set = \"other\"\n");
    let taken = world.signer.as_ref().unwrap().address;
    let text = fs::read_to_string(world.path("gate.toml")).unwrap();
    let text = text.replacen("address = \"127.0.0.1:0\"", &format!("address = \"{taken}\""), 1);
    fs::write(world.path("taken-port.toml"), text).unwrap();
    let text = fs::read_to_string(world.path("gate.toml")).unwrap();
    let text = text.replace(
        "[upstream]\nurl = \"http:",
        "[upstream]\ntls_ca_file = \"gone.pem\"\nurl = \"https:",
    );
    fs::write(world.path("no-authority.toml"), text).unwrap();
    for (config, code, reason) in [
        ("unknown-key.toml", USAGE, "witnes"),
        ("other-keys.toml", REFUSED, "the store is of key set default"),
        ("no-authority.toml", REFUSED, "gone.pem"),
        ("taken-port.toml", REFUSED, "nothing has changed"),
    ] {
        let mut child = successor(&world, config, "wrong.log", &["--at-once"]);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{config}");
        let said = fs::read_to_string(world.path("wrong.log")).unwrap();
        assert!(said.contains(reason), "{config}: {said}");
        assert_eq!(world.sign(&key(0), &randao(world.epoch())).0, 200, "{config}");
    }
    hand_over(&mut world, "right.log");
    assert_eq!(world.sign(&key(0), &randao(world.epoch())).0, 200);

    world.kill_gate();
    let mut child = successor(&world, "gate.toml", "none.log", &["--at-once"]);
    assert_eq!(child.wait().unwrap().code(), Some(REFUSED));
    let said = fs::read_to_string(world.path("none.log")).unwrap();
    assert!(said.contains("portcullis run"), "no gate to take over from: {said}");
}

/// A successor that dies before the store is sealed costs at most a drain.
#[test]
fn a_successor_killed_before_the_seal_leaves_the_gate_running() {
    let mut world =
        World::start(Options { signer: vec!["--delay-ms=700".to_owned()], ..Options::default() });
    let slot = world.slot();
    // The sockets are passed, and the slot is at its beginning: it waits.
    let mut waiting = successor(&world, "gate.toml", "waiting.log", &[]);
    event(&world, "waiting.log", "handover_waits");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    event(&world, "gate.log", "handover_broken_off");
    assert_eq!(world.sign(&key(0), &block(slot - 9, 1)).0, 200);

    // A request is under way when the gate is told to close.
    let mut slow = world.connect();
    let body = block(slot - 8, 1).to_string();
    let path = format!("/api/v1/eth2/sign/{}", key(0));
    slow.send("POST", &path, Some("application/json"), body.as_bytes()).unwrap();
    let signed = world.signed().len();
    while world.signed().len() == signed {
        std::thread::yield_now(); // signed, and answered only later
    }
    let mut going = successor(&world, "gate.toml", "going.log", &["--at-once"]);
    event(&world, "going.log", "handover_go");
    going.kill().unwrap();
    going.wait().unwrap();
    event(&world, "gate.log", "draining"); // before, a connection is accepted, and closed at once
    let mut queued = world.connect(); // nobody accepts it until the gate goes on
    assert_eq!(slow.receive().unwrap().status, 200);
    assert_eq!(queued.sign(&key(0), &block(slot - 8, 2)).0, 412);
    assert_eq!(queued.sign(&key(0), &block(slot - 7, 1)).0, 200);
    assert_eq!(world.log().matches("handover_broken_off").count(), 2);

    hand_over(&mut world, "third.log");
    assert_eq!(world.sign(&key(0), &block(slot - 7, 2)).0, 412);
    assert_eq!(world.sign(&key(0), &block(slot - 6, 1)).0, 200);
    assert!(find_conflicts(&world.signed()).is_empty());
}

#[test]
fn after_the_seal_a_plain_run_goes_on_without_a_floor() {
    let mut world = World::start(Options::default());
    let slot = world.slot();
    assert_eq!(world.sign(&key(0), &block(slot - 9, 1)).0, 200);
    let (predecessor, sockets) =
        Predecessor::ask(&world.path("slashing"), &Ask::of_this_process()).unwrap();
    predecessor.go().unwrap();
    drop((predecessor, sockets)); // as a successor that dies with the store sealed
    let mut old = world.gate.take().unwrap();
    assert_eq!(old.child.wait().unwrap().code(), Some(1), "so that a service manager starts it");
    assert!(world.log().contains("portcullis run"), "who must act: {}", world.log());
    world.start_gate();
    assert_eq!(world.sign(&key(0), &block(slot - 9, 2)).0, 412);
    assert_eq!(world.sign(&key(0), &block(slot - 8, 1)).0, 200);
}

#[test]
fn of_two_successors_at_once_one_serves() {
    let mut world = World::start(Options::default());
    let address = world.gate.as_ref().unwrap().address;
    let start =
        |log| Process { child: successor(&world, "gate.toml", log, &["--at-once"]), address };
    let mut successors = [start("one.log"), start("two.log")];
    let mut old = world.gate.take().unwrap();
    assert_eq!(old.child.wait().unwrap().code(), Some(0));
    // The second was refused, or came when the first was serving and took over from it.
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        let ended: Vec<_> = successors.iter_mut().map(|it| it.child.try_wait().unwrap()).collect();
        if let Some(status) = ended.iter().flatten().next() {
            assert!(ended.iter().flatten().count() == 1, "both ended: {ended:?}");
            break status.code();
        }
        assert!(Instant::now() < deadline, "two gates serve");
        std::thread::yield_now();
    };
    assert!(matches!(ended, Some(0 | REFUSED)), "{ended:?}");
    for number in 0..4 {
        let mut http = Http::connect(address);
        assert_eq!(http.sign(&key(number), &randao(world.epoch())).0, 200);
    }
}

/// A suspended gate owns its store. It is not overtaken, and goes on when it wakes.
#[test]
fn nothing_is_taken_by_force_from_a_gate_that_does_not_answer() {
    let world = World::start(Options::default());
    let gate = Pid::from_child(&world.gate.as_ref().unwrap().child);
    kill_process(gate, Signal::STOP).unwrap();
    let mut child = successor(&world, "gate.toml", "successor.log", &["--at-once"]);
    let status = child.wait().unwrap();
    kill_process(gate, Signal::CONT).unwrap();
    assert_eq!(status.code(), Some(REFUSED));
    let said = fs::read_to_string(world.path("successor.log")).unwrap();
    assert!(said.contains("nothing is taken by force"), "{said}");
    assert_eq!(world.sign(&key(0), &randao(world.epoch())).0, 200);
}

/// What a service manager hears, from the start through an upgrade by `SIGUSR2` to the end.
#[test]
fn the_service_manager_follows_the_successor() {
    let network = fs::read_to_string("fixtures/networks/test.yaml").unwrap();
    let network = network.replace("SECONDS_PER_SLOT: 12", "SECONDS_PER_SLOT: 1"); // a short wait
    let mut world = World::prepare(Options { network: Some(network), ..Options::default() });
    let manager = UnixDatagram::bind(world.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = world.path("notify").into_os_string().into_string().unwrap();
    world.gate_environment =
        vec![("NOTIFY_SOCKET".to_owned(), path), ("WATCHDOG_USEC".to_owned(), "300000".to_owned())];
    world.start_gate();
    let mut gate = world.gate.take().unwrap();
    let mut heard = Vec::new();
    let mut until = |wanted: &dyn Fn(&str) -> bool| loop {
        let mut bytes = [0; 512];
        let length = manager.recv(&mut bytes).expect("a word to the manager");
        let word = String::from_utf8(bytes[..length].to_vec()).unwrap();
        heard.push(word.clone());
        if wanted(&word) {
            return word;
        }
    };
    let own = format!("READY=1\nMAINPID={}\n", gate.child.id());
    until(&|word| word.starts_with(&own));
    until(&|word| word == "WATCHDOG=1");
    // From elsewhere the manager would not follow it.
    let mut stranger = successor(&world, "gate.toml", "stranger.log", &["--at-once"]);
    assert_eq!(stranger.wait().unwrap().code(), Some(REFUSED));
    let said = fs::read_to_string(world.path("stranger.log")).unwrap();
    assert!(said.contains("SIGUSR2"), "{said}");
    event(&world, "gate.log", "handover_broken_off");
    kill_process(Pid::from_child(&gate.child), Signal::USR2).unwrap();
    let word = until(&|word| word.starts_with("READY=1\nMAINPID=") && !word.starts_with(&own));
    let pid = word.lines().find_map(|line| line.strip_prefix("MAINPID=")).unwrap();
    let successor_pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    assert_eq!(gate.child.wait().unwrap().code(), Some(0));
    until(&|word| word == "WATCHDOG=1");
    kill_process(successor_pid, Signal::TERM).unwrap();
    until(&|word| word == "STOPPING=1");
    let stopped = heard.iter().filter(|word| *word == "STOPPING=1").count();
    assert_eq!(stopped, 1, "to the manager the service never stopped before: {heard:?}");
}
