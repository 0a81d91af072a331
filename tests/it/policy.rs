//! Step 6 from outside: who may sign for a key, what a refusal costs, and what outlives the gate.

mod hold;

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

/// A rule that is watched says what it would have refused, and refuses nothing.
#[test]
fn a_rule_that_is_watched_refuses_nothing() {
    const WATCHED: &str =
        "version = 1\n[defaults.modes]\nclient_lease = 'monitor'\nlease_fence = 'monitor'\n";
    let config = TWO.to_owned();
    let pair =
        Pair::start(World::start(Options { config, policy: Some(WATCHED), ..Options::default() }));
    let epoch = pair.world.epoch();
    assert_eq!(pair.one(&randao(epoch)), SIGNED);
    assert_eq!(pair.two(&attestation(epoch - 2, epoch, 3)), SIGNED);
    eventually("the finding in the log", || !pair.logged("policy_finding").is_empty());
    let line = &pair.logged("policy_finding")[0];
    assert_eq!(
        (line["rule"].as_str(), line["mode"].as_str()),
        (Some("client_lease"), Some("monitor"))
    );
    assert_eq!(line["client"], "two");
    let serving = event(&pair.world, "gate.log", "serving");
    let metrics: SocketAddr = serving["metrics"].as_str().unwrap().parse().unwrap();
    let page = Http::connect(metrics).get("/metrics").body;
    let figure = "portcullis_policy_findings_total{group=\"default\",mode=\"monitor\",\
                  rule=\"client_lease\"} 1";
    assert!(page.contains(figure), "{page}");
}

#[cfg(feature = "test-clock")]
mod turned {
    use super::*;
    use crate::support::{SLOT_S, attestation_at};
    use crate::test_clock::{Hands, NOT_RESERVED};

    /// Two clients and a clock that stands in the first slot of an epoch.
    fn stopped() -> (Pair, Hands, u64) {
        let options = Options { config: TWO.to_owned(), policy: None, ..Options::default() };
        let mut world = World::prepare(options);
        let epoch = world.epoch() + 1;
        let hands = Hands::new(world.path("clock"), at(&world, epoch));
        world.gate_environment.push(hands.environment());
        world.start_gate();
        (Pair::start(world), hands, epoch)
    }

    /// Two seconds into the first slot of an epoch.
    fn at(world: &World, epoch: u64) -> u64 {
        (world.genesis_time + epoch * 32 * SLOT_S) * 1_000 + 2_000
    }

    /// Asks until the store has reserved the new epoch.
    fn patiently(address: SocketAddr, body: &Value) -> (u16, String) {
        loop {
            match ask(address, body) {
                (_, code) if code == NOT_RESERVED => std::thread::yield_now(),
                answer => return answer,
            }
        }
    }

    #[test]
    fn a_lease_moves_after_a_silence_and_its_former_owner_is_fenced() {
        let (pair, hands, epoch) = stopped();
        assert_eq!(pair.one(&randao(epoch)), SIGNED);
        assert_eq!(pair.two(&randao(epoch)), refused("client_lease"));
        let later = epoch + 4;
        hands.set(at(&pair.world, later));
        assert_eq!(patiently(pair.two, &attestation(later - 2, later, 3)), SIGNED);
        assert_eq!(pair.one(&randao(later)), refused("lease_fence"));
        assert_eq!(pair.two(&randao(later)), SIGNED);
    }

    #[test]
    fn a_clock_that_no_client_shares_is_told_and_moves_no_bound() {
        let (pair, hands, epoch) = stopped();
        let slot = epoch * 32;
        let early = refused("future_duty").1;
        for ahead in 3..8 {
            let vote = attestation_at(slot + ahead, epoch - 2, epoch, 3);
            assert_eq!(pair.one(&vote), (400, early.clone()));
        }
        hands.set(at(&pair.world, epoch + 1));
        let told = event(&pair.world, "gate.log", "clock_disagreement");
        assert!(told["outside_ms"].as_i64().unwrap() < -30_000, "{told}");
        assert_eq!(told["clients"], 1);
        let vote = attestation_at(slot + 32 + 3, epoch - 2, epoch + 1, 3);
        assert_eq!(pair.one(&vote), (400, early), "the bound stands");
    }
}
