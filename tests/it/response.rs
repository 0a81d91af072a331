//! What follows from a verdict, by a real gate: who is stopped, who is not, and what of it outlives
//! `kill -9`.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::handover::event;
use crate::support::{Http, Options, World, attestation, eventually, key, randao};
#[cfg(feature = "test-clock")]
use crate::{support::SLOT_S, test_clock::Hands};

const CONFIG: &str = "[log]\nlevel = 'debug'\n\
     [[listeners]]\nname = 'for-one'\naddress = '127.0.0.1:0'\nclient = 'one'\n\
     [[listeners]]\nname = 'for-two'\naddress = '127.0.0.1:0'\nclient = 'two'\n\
     [[clients]]\nname = 'one'\n[[clients]]\nname = 'two'\n\
     [admin]\naddress = '127.0.0.1:0'\n\
     [[admin.credentials]]\nname = 'alice'\nrole = 'approver'\ntoken_file = 'alice'\n";
const TOKEN: &str = "alice-0123456789abcdef0123456789abcdef";

/// A gate with two clients and somebody who looks after it.
struct Watched {
    world: World,
    one: SocketAddr,
    two: SocketAddr,
    admin: SocketAddr,
    metrics: SocketAddr,
}

type Said = (u16, String);

fn signed() -> Said {
    (200, String::new())
}

fn refused(code: &str) -> Said {
    (412, code.to_owned())
}

impl Watched {
    fn prepare(keys: u64) -> World {
        let config = CONFIG.to_owned();
        let world = World::prepare(Options { keys, config, policy: None, ..Options::default() });
        fs::write(world.path("alice"), TOKEN).unwrap();
        world
    }

    fn start(keys: u64) -> Self {
        let mut world = Self::prepare(keys);
        world.start_gate();
        Self::of(world)
    }

    fn of(world: World) -> Self {
        let line = event(&world, "gate.log", "serving");
        let addresses = line["addresses"].as_str().unwrap().trim_matches(['[', ']']);
        let listeners: Vec<SocketAddr> =
            addresses.split(", ").map(|address| address.parse().unwrap()).collect();
        let [_, one, two] = listeners[..] else { panic!("{listeners:?}") };
        let named = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        let (admin, metrics) = (named("admin"), named("metrics"));
        Self { world, one, two, admin, metrics }
    }

    /// The same after `kill -9`.
    fn killed(mut self) -> Self {
        self.world.kill_gate();
        self.world.start_gate();
        Self::of(self.world)
    }

    fn one(&self, index: u64, body: &Value) -> Said {
        ask(self.one, index, body, "one")
    }

    fn two(&self, index: u64, body: &Value) -> Said {
        ask(self.two, index, body, "two")
    }

    fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let head = format!("*/*\r\nAuthorization: Bearer {TOKEN}");
        let mut http = Http::connect(self.admin);
        let answer = http.request(method, path, Some(&head), body.as_bytes()).unwrap();
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// The quarantines in force whose scope is of this kind.
    fn quarantines(&self, kind: &str) -> Vec<Value> {
        let (status, answer) = self.call("GET", "/v1/quarantines", "");
        assert_eq!(status, 200, "{answer}");
        let all = answer["quarantines"].as_array().unwrap().iter();
        all.filter(|one| one["scope"]["kind"] == kind).cloned().collect()
    }

    fn impose(&self, scope: &Value) -> String {
        let body = json!({ "scope": scope, "reason": "by hand", "expires_in_s": 3_600 });
        let (status, imposed) = self.call("POST", "/v1/quarantines", &body.to_string());
        assert_eq!(status, 200, "{imposed}");
        imposed["id"].as_str().unwrap().to_owned()
    }

    fn release(&self, id: &str) {
        let path = format!("/v1/quarantines/{id}/release");
        let (status, answer) = self.call("POST", &path, r#"{"reason": "it is over"}"#);
        assert_eq!(status, 200, "{answer}");
    }

    /// What the gate has told of quarantines, by their ids.
    fn told(&self) -> Vec<String> {
        let log = self.world.log();
        let lines = log.lines().filter(|line| line.contains("\"event\":\"quarantine.imposed\""));
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["dedup_key"].as_str().unwrap().to_owned()).collect()
    }

    fn figures(&self, family: &str) -> Vec<String> {
        let page = Http::connect(self.metrics).get("/metrics").body;
        page.lines().filter(|line| line.starts_with(family)).map(str::to_owned).collect()
    }

    /// `one` signs for all keys, so that it has the lease of each.
    fn settle(&self, keys: u64) {
        for index in 0..keys {
            assert_eq!(self.one(index, &randao(self.world.epoch())), signed(), "key {index}");
        }
    }
}

fn ask(address: SocketAddr, index: u64, body: &Value, agent: &str) -> Said {
    let path = format!("/api/v1/eth2/sign/{}", key(index));
    let head = format!("application/json\r\nUser-Agent: {agent}");
    let body = body.to_string();
    let answer =
        Http::connect(address).request("POST", &path, Some(&head), body.as_bytes()).unwrap();
    let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    (answer.status, said["code"].as_str().unwrap_or_default().to_owned())
}

/// A second client asks for the keys of a live one. From the fifth key on it is fenced off from all
/// others of the group; the owner loses nothing; a person ends it.
#[test]
fn a_takeover_is_fenced_off_and_the_owner_signs_on() {
    const KEYS: u64 = 12;
    let gate = Watched::start(KEYS);
    let epoch = gate.world.epoch();
    gate.settle(KEYS);
    for index in 0..6 {
        assert_eq!(gate.two(index, &attestation(epoch - 2, epoch, 9)), refused("client_lease"));
    }
    assert!(gate.quarantines("source").is_empty(), "nothing shows that the owner is there");
    assert_eq!(gate.one(0, &attestation(epoch - 2, epoch, 3)), signed());
    eventually("a fence", || !gate.quarantines("source").is_empty());
    let fence = &gate.quarantines("source")[0];
    assert_eq!(fence["actor"], "gate:breaker", "{fence}");
    assert_eq!((&fence["scope"]["client"], &fence["contest_with"]), (&json!("two"), &json!("one")));
    assert_eq!(gate.two(11, &attestation(epoch - 2, epoch, 9)), refused("quarantined"));
    for index in 1..KEYS {
        assert_eq!(gate.one(index, &attestation(epoch - 2, epoch, 3)), signed(), "key {index}");
    }
    let figure = "portcullis_quarantines{scope=\"source\"} 1";
    assert!(gate.figures("portcullis_quarantines").contains(&figure.to_owned()));
    let figure = "portcullis_breaker_open{group=\"default\"} 1".to_owned();
    assert_eq!(gate.figures("portcullis_breaker_open"), [figure]);
    gate.release(fence["id"].as_str().unwrap());
    let late = gate.two(11, &randao(epoch));
    assert_eq!(late, refused("client_lease"), "the lease is still another's");
    assert_eq!(gate.world.signed().len() as u64, 2 * KEYS, "every duty of the owner, no other");
}

#[cfg(feature = "test-clock")]
/// Two strikes in distinct slots are the engine's; the register has them and releases them.
#[test]
fn a_pair_that_the_engine_struck_is_listed_and_released() {
    let mut world = Watched::prepare(2);
    let epoch = world.epoch();
    let at = (world.genesis_time + (epoch * 32 + 8) * SLOT_S) * 1_000;
    let hands = Hands::new(world.path("clock"), at);
    world.gate_environment.push(hands.environment());
    world.start_gate();
    let gate = Watched::of(world);
    gate.settle(2);
    let strike = |head: u8| gate.two(0, &attestation(epoch - 2, epoch, head));
    assert_eq!(strike(9), refused("client_lease"));
    assert_eq!(strike(9), refused("client_lease"), "the same again is one strike");
    assert_eq!(strike(10), refused("client_lease"), "and so is another in the same slot");
    hands.set(at + SLOT_S * 1_000);
    assert_eq!(strike(11), refused("client_lease"), "the second strike");
    assert_eq!(strike(12), refused("quarantine"));
    eventually("its row", || gate.quarantines("pair").len() == 1);
    let pair = gate.quarantines("pair").remove(0);
    assert_eq!(
        (pair["by_strikes"].as_bool(), &pair["scope"]["client"]),
        (Some(true), &json!("two"))
    );
    assert!(gate.quarantines("source").is_empty());
    assert_eq!(gate.two(1, &randao(epoch)), refused("client_lease"), "another key");
    eventually("it is told", || !gate.told().is_empty());
    let gate = gate.killed();
    assert_eq!(gate.two(0, &attestation(epoch - 2, epoch, 50)), refused("quarantine"));
    gate.release(pair["id"].as_str().unwrap());
    assert_eq!(gate.two(0, &attestation(epoch - 2, epoch, 51)), refused("client_lease"));
    assert_eq!(gate.one(0, &attestation(epoch - 2, epoch, 3)), signed());
}

/// Acceptance: a client that starts again in mid-epoch asks for hundreds of its own former duties
/// with another head, each three times, and from somewhere else; a client whose certificate is new
/// asks for a thousand keys. Nobody is put in quarantine.
#[test]
fn an_honest_bad_day_puts_nobody_in_quarantine() {
    const KEYS: u64 = 100;
    let gate = Watched::start(KEYS);
    let epoch = gate.world.epoch();
    gate.settle(KEYS);
    for index in 0..KEYS {
        assert_eq!(gate.one(index, &attestation(epoch - 2, epoch, 3)), signed());
    }
    for index in 0..KEYS {
        for again in 0..3 {
            let vote = attestation(epoch - 2, epoch, 9);
            let said = ask(gate.one, index, &vote, &format!("started anew {}", again % 2));
            assert_eq!(said, refused("double_vote"), "key {index}");
        }
    }
    for index in 0..KEYS {
        let said = ask(gate.one, index, &randao(epoch), "another certificate");
        assert_eq!(said, signed(), "key {index}");
    }
    assert_eq!(gate.one(0, &attestation(epoch - 2, epoch, 3)), signed(), "the same again");
    for kind in ["pair", "key", "client", "cohort", "source"] {
        assert!(gate.quarantines(kind).is_empty(), "{kind}");
    }
    // A stranger at one key, over and over: that pair, at most.
    for _ in 0..30 {
        assert_eq!(gate.two(0, &randao(epoch)), refused("client_lease"));
    }
    assert_eq!(gate.one(1, &attestation(epoch - 2, epoch, 3)), signed());
    assert!(gate.quarantines("source").is_empty() && gate.quarantines("pair").len() <= 1);
}

/// Whatever was acknowledged, or told, holds after `kill -9`, and what was released does not.
/// `RESPONSE_KILLS` is how often it is tried.
#[test]
fn quarantines_outlive_kill_9_as_acknowledged() {
    let rounds = std::env::var("RESPONSE_KILLS").map_or(3, |rounds| rounds.parse().unwrap());
    let mut gate = Watched::start(8);
    let epoch = gate.world.epoch();
    gate.settle(8);
    let client = json!({ "kind": "client", "client": "two" });
    for round in 0..rounds {
        let id = gate.impose(&client);
        gate = gate.killed();
        assert_eq!(gate.quarantines("client")[0]["id"], *id, "round {round}");
        assert_eq!(gate.two(0, &randao(epoch)), refused("quarantined"), "round {round}");
        gate.release(&id);
        gate = gate.killed();
        assert!(gate.quarantines("client").is_empty(), "round {round}");
        assert_ne!(gate.two(0, &randao(epoch)), refused("quarantined"), "round {round}");
        let frozen = gate.impose(&json!({ "kind": "key", "public_key": key(7) }));
        assert_eq!(gate.one(7, &randao(epoch)), refused("quarantined"));
        let published = Http::connect(gate.one).get("/api/v1/eth2/publicKeys").body;
        assert!(published.contains(&key(7)), "a key in quarantine stays in the list");
        gate.release(&frozen);
    }
}

/// What the gate does by itself is kept before it is told.
#[test]
fn a_fence_that_was_told_outlives_kill_9() {
    let gate = Watched::start(8);
    let epoch = gate.world.epoch();
    gate.settle(8);
    for index in 0..6 {
        assert_eq!(gate.two(index, &randao(epoch)), refused("client_lease"));
    }
    assert_eq!(gate.one(0, &attestation(epoch - 2, epoch, 3)), signed());
    eventually("it is told", || !gate.told().is_empty());
    let told = gate.told();
    let gate = gate.killed();
    let kept: Vec<Value> = gate.quarantines("source");
    assert_eq!(kept.iter().map(|one| one["id"].as_str().unwrap()).collect::<Vec<_>>(), told);
    assert_eq!(gate.two(7, &randao(epoch)), refused("quarantined"));
    assert_eq!(gate.one(7, &randao(epoch)), signed());
}
