//! Step 6 from outside: who may sign for a key, what a refusal costs, and what outlives the gate.

use std::fs;
use std::net::SocketAddr;

use serde_json::Value;

use crate::handover::{event, successor};
use crate::support::{Http, Options, World, attestation, eventually, key, randao};

/// Two clients, each known by its listener.
const TWO: &str = "[log]\nlevel = 'debug'\n\
     [[listeners]]\nname = 'for-one'\naddress = '127.0.0.1:0'\nclient = 'one'\n\
     [[listeners]]\nname = 'for-two'\naddress = '127.0.0.1:0'\nclient = 'two'\n\
     [[clients]]\nname = 'one'\n[[clients]]\nname = 'two'\n";

/// A gate with two clients and the addresses of both.
struct Pair {
    world: World,
    one: SocketAddr,
    two: SocketAddr,
}

impl Pair {
    fn start(world: World) -> Self {
        let (one, two) = addresses(&world, "gate.log");
        Self { world, one, two }
    }

    fn one(&self, body: &Value) -> (u16, String) {
        ask(self.one, body)
    }

    fn two(&self, body: &Value) -> (u16, String) {
        ask(self.two, body)
    }

    /// The lines of an event, as they stand in the log now.
    fn logged(&self, name: &str) -> Vec<Value> {
        let wanted = format!("\"event\":\"{name}\"");
        let log = self.world.log();
        let lines = log.lines().filter(|line| line.contains(&wanted));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until the owner of a key is on disk.
    fn wait_for_owner(&self) {
        eventually("a new owner on disk", || !self.logged("owners_kept").is_empty());
    }
}

fn two_clients(more: &str) -> Pair {
    let config = format!("{TWO}{more}");
    Pair::start(World::start(Options { config, policy: None, ..Options::default() }))
}

fn addresses(world: &World, log: &str) -> (SocketAddr, SocketAddr) {
    let line = event(world, log, "serving");
    let listeners = line["addresses"].as_str().unwrap().trim_matches(['[', ']']);
    let listeners: Vec<SocketAddr> =
        listeners.split(", ").map(|address| address.parse().unwrap()).collect();
    let [_, one, two] = listeners[..] else { panic!("{listeners:?}") };
    (one, two)
}

/// The status, and the code of what is not signed.
fn ask(address: SocketAddr, body: &Value) -> (u16, String) {
    let (status, answer) = Http::connect(address).sign(&key(0), body);
    (status, answer["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(code: &str) -> (u16, String) {
    (412, code.to_owned())
}

const SIGNED: (u16, String) = (200, String::new());

/// Two clients that both live on one key: the second is refused, burns nothing, and the log says
/// why in terms that can be added up.
#[test]
fn a_second_live_client_is_refused_and_burns_nothing() {
    let pair = two_clients("");
    let epoch = pair.world.epoch();
    assert_eq!(pair.one(&randao(epoch)), SIGNED);
    assert_eq!(pair.two(&attestation(epoch - 2, epoch, 9)), refused("client_lease"));
    assert_eq!(pair.one(&attestation(epoch - 2, epoch, 3)), SIGNED, "the first vote of this epoch");
    // What is slashable is told as that, whoever asks.
    assert_eq!(pair.two(&attestation(epoch - 2, epoch, 9)), refused("double_vote"));
    eventually("the refusal in the log", || !pair.logged("refused").is_empty());
    let line = &pair.logged("refused")[0];
    assert_eq!(
        (line["code"].as_str(), line["client"].as_str()),
        (Some("client_lease"), Some("two"))
    );
    let why: Value = serde_json::from_str(line["explanation"].as_str().unwrap()).unwrap();
    assert_eq!(why["rule_ids"][0], "D23", "{why}");
    assert_eq!(why["findings"][0]["mode"], "enforce");
    let sum: f64 =
        why["terms"].as_array().unwrap().iter().map(|it| it["value_nats"].as_f64().unwrap()).sum();
    assert!((sum - why["log_odds"].as_f64().unwrap()).abs() < 1e-4, "{why}");
    assert!(why["confidence"].as_f64().is_some());
    assert_eq!(pair.world.signed().len(), 2, "the signer saw the two that were signed");
}

#[test]
fn the_owner_of_a_key_outlives_a_gate_that_is_killed() {
    let mut pair = two_clients("");
    let epoch = pair.world.epoch();
    assert_eq!(pair.one(&randao(epoch)), SIGNED);
    pair.wait_for_owner();
    pair.world.kill_gate();
    pair.world.start_gate();
    let pair = Pair::start(pair.world);
    assert_eq!(pair.two(&randao(epoch)), refused("client_lease"));
    assert_eq!(pair.one(&attestation(epoch - 2, epoch, 3)), SIGNED);
}

#[test]
fn the_owner_of_a_key_outlives_a_handover() {
    let mut pair = two_clients("");
    let epoch = pair.world.epoch();
    assert_eq!(pair.one(&randao(epoch)), SIGNED);
    let child = successor(&pair.world, "gate.toml", "successor.log", &["--at-once"]);
    let address = pair.one;
    let new = crate::support::Process { child, address };
    let mut old = pair.world.gate.replace(new).unwrap();
    assert_eq!(old.child.wait().unwrap().code(), Some(0), "the old gate ends in order");
    assert_eq!(pair.two(&randao(epoch)), refused("client_lease"));
    assert_eq!(pair.one(&attestation(epoch - 2, epoch, 3)), SIGNED);
    let kept = event(&pair.world, "successor.log", "baseline");
    assert_eq!((kept["keys"].as_u64(), kept["clients"].as_u64()), (Some(1), Some(2)), "{kept}");
}

/// A baseline that cannot be read is begun anew: it keeps nothing from being signed.
#[test]
fn a_lost_or_broken_baseline_costs_what_it_knew_and_no_duty() {
    let mut pair = two_clients("");
    let epoch = pair.world.epoch();
    assert_eq!(pair.one(&randao(epoch)), SIGNED);
    pair.wait_for_owner();
    pair.world.kill_gate();
    let directory = pair.world.path("slashing/baseline");
    for file in fs::read_dir(&directory).unwrap() {
        fs::write(file.unwrap().path(), b"not a table").unwrap();
    }
    pair.world.start_gate();
    let pair = Pair::start(pair.world);
    event(&pair.world, "gate.log", "baseline_not_kept");
    assert_eq!(pair.two(&randao(epoch)), SIGNED);
}
