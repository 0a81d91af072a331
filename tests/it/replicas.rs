//! Several signers behind one gate: replicas that die, hang, lie and lack keys, sets that share no
//! key, and what the gate says of them. Every signer is a real process.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use portcullis::bls::SecretKey;
use portcullis::dev_signer::log;
use serde_json::{Value, json};

use super::support::{Http, Options, Process, SLOT_S, World, eventually, key, randao};

mod tls;

/// Longer than any answer may take: the request's budget of 2.5 s, and some.
const ANSWERED: Duration = Duration::from_millis(2_900);

/// How old the chain is: each epoch is good for one more root to ask for.
const EPOCHS: u64 = 100_000;

/// A world whose gate has several signers; those that a test stops are `None`.
struct Rig {
    world: World,
    signers: Vec<Option<Process>>,
    addresses: Vec<SocketAddr>,
    arguments: Vec<Vec<String>>,
}

impl Rig {
    /// A signer for each of `arguments`, whose keys are nowhere enrolled; no gate.
    fn signers(arguments: &[&[&str]]) -> Self {
        let genesis_age_s = EPOCHS * 32 * SLOT_S;
        let mut world =
            World::prepare(Options { enrol: false, genesis_age_s, ..Options::default() });
        world.signer = None; // each test starts its own
        let mut rig = Self { world, signers: vec![], addresses: vec![], arguments: vec![] };
        for (number, arguments) in arguments.iter().enumerate() {
            let log = format!("signer-{number}.jsonl");
            let arguments: Vec<&str> = arguments.iter().copied().chain(["--log", &log]).collect();
            let signer = rig.world.spawn_signer("127.0.0.1:0", &arguments);
            rig.addresses.push(signer.address);
            rig.signers.push(Some(signer));
            rig.arguments.push(arguments.into_iter().map(str::to_owned).collect());
        }
        rig
    }

    /// Two signers with the same four keys, all enrolled, and the gate.
    fn twins() -> Self {
        let mut rig = Self::signers(&[&["--interop", "4"], &["--interop", "4"]]);
        rig.configure(&[("both", &[0, 1])], "");
        rig.enrol();
        rig.world.start_gate();
        rig
    }

    /// Gives the gate these sets, each with the numbers of its signers.
    fn configure(&self, sets: &[(&str, &[usize])], extra: &str) {
        let sets: Vec<(&str, Vec<String>)> = sets
            .iter()
            .map(|(name, replicas)| {
                let url = |replica: &usize| format!("http://{}", self.addresses[*replica]);
                (*name, replicas.iter().map(url).collect())
            })
            .collect();
        self.configure_urls(&sets, extra);
    }

    fn configure_urls(&self, sets: &[(&str, Vec<String>)], extra: &str) {
        let path = self.world.path("gate.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, _) = text.split_once("[upstream").unwrap();
        let (_, after) = text.split_once("[slashing]").unwrap();
        let after = after.split("[[upstreams]]").next().unwrap();
        let sets: String = sets
            .iter()
            .map(|(name, urls)| format!("[[upstreams]]\nname = {name:?}\nurls = {urls:?}\n{extra}"))
            .collect();
        let text = format!("{before}[upstream]\nrefresh_interval_s = 1\n[slashing]{after}\n{sets}");
        std::fs::write(path, text).unwrap();
    }

    fn enrol(&self) {
        self.world.must(&["keys", "enrol", "--config", "gate.toml", "--new", "--from-upstream"]);
    }

    fn stop(&mut self, signer: usize) {
        self.signers[signer] = None;
    }

    /// Starts a signer again, where it was.
    fn revive(&mut self, signer: usize) {
        let arguments: Vec<&str> = self.arguments[signer].iter().map(String::as_str).collect();
        let listen = self.addresses[signer].to_string();
        self.signers[signer] = Some(self.world.spawn_signer(&listen, &arguments));
    }

    fn set_faults(&self, signer: usize, faults: &[&str]) {
        let body = json!({ "faults": faults, "seed": 1 }).to_string();
        let mut http = Http::connect(self.addresses[signer]);
        let answer = http.request("POST", "/dev/faults", None, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// How many signatures a signer made.
    fn signed(&self, signer: usize) -> usize {
        let path = self.world.path(&format!("signer-{signer}.jsonl"));
        log::read(&path).unwrap().len()
    }

    /// The value of a metric of the gate; 0 if there is none.
    fn metric(&self, series: &str) -> f64 {
        let page = Http::connect(self.metrics_address()).get("/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    fn metrics_address(&self) -> SocketAddr {
        let log = self.world.log();
        let line = log.lines().find(|line| line.contains(r#""event":"serving""#)).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        line["metrics"].as_str().unwrap().parse().unwrap()
    }

    /// A line of the gate's log with this event and all of `parts`, which it may be about to write.
    fn event(&self, event: &str, parts: &[&str]) -> Value {
        let mut found = None;
        eventually(event, || {
            let log = self.world.log();
            found = log.lines().rev().find_map(|line| {
                let is_it = line.contains(&format!(r#""event":"{event}""#))
                    && parts.iter().all(|part| line.contains(part));
                is_it.then(|| serde_json::from_str(line).unwrap())
            });
            found.is_some()
        });
        found.unwrap()
    }
}

/// A selection proof: a slot of the past is one more root to ask for, and unlike a block or its
/// RANDAO reveal it may be the request that sees whether a replica is back.
fn selection_proof(slot: u64) -> Value {
    let mut request = randao(0);
    request["type"] = "AGGREGATION_SLOT".into();
    request["aggregation_slot"] = json!({ "slot": slot.to_string() });
    request
}

/// Asks, and says how long the answer took.
fn timed(gate: &mut Http, key: &str, body: &Value) -> (u16, Value, Duration) {
    let begun = Instant::now();
    let (status, body) = gate.sign(key, body);
    (status, body, begun.elapsed())
}

/// The secret and public key of a validator that no interop signer has.
fn other_key(number: u8) -> (String, String) {
    let mut secret = [0; 32];
    secret[31] = number + 1;
    let public = SecretKey::from_bytes(&secret).unwrap().public_key().to_bytes();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    (format!("0x{hex}"), portcullis::eth::PublicKey(public).to_string())
}

/// A folder of key files with these keys, for a signer.
fn key_files(world: &World, name: &str, numbers: std::ops::Range<u8>) {
    let folder = world.path(name);
    std::fs::create_dir(&folder).unwrap();
    for number in numbers {
        let text = format!("type: file-raw\nprivateKey: \"{}\"\n", other_key(number).0);
        std::fs::write(folder.join(format!("{number}.yaml")), text).unwrap();
    }
}

/// A replica dies under load and returns: every request is answered, and it gets its share again.
#[test]
fn a_replica_that_dies_and_returns_costs_no_duty() {
    let mut rig = Rig::twins();
    let slot = rig.world.slot();
    let address = rig.world.gate.as_ref().unwrap().address;
    let (asked, answered, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let client = |number: u64| {
        let mut gate = Http::connect(address);
        let mut lost = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let slot = slot - asked.fetch_add(1, Ordering::Relaxed);
            let (status, body) = gate.sign(&key(number), &selection_proof(slot));
            if status != 200 {
                lost.push(body);
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
        lost
    };
    thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..4).map(|number| scope.spawn(move || client(number))).collect();
        let more = |by: u64| {
            let until = answered.load(Ordering::Relaxed) + by;
            eventually("an answer", || answered.load(Ordering::Relaxed) >= until);
        };
        more(40);
        rig.stop(1);
        more(200);
        rig.revive(1);
        let before = rig.signed(1);
        eventually("its share of the load", || rig.signed(1) > before + 20);
        done.store(true, Ordering::Relaxed);
        for client in clients {
            assert_eq!(client.join().unwrap(), Vec::<Value>::new(), "every request is signed");
        }
    });
}

/// A replica that takes the request and never answers costs a third of the budget, and that seldom:
/// while it has a request in hand the other one is asked first, and after three it rests.
#[test]
fn a_replica_that_hangs_is_overtaken_and_then_rests() {
    let rig = Rig::twins();
    let epoch = rig.world.epoch();
    rig.set_faults(0, &["stall"]);
    let mut gate = rig.world.connect();
    for round in 0..24 {
        let (status, body, took) = timed(&mut gate, &key(round % 4), &randao(epoch - round));
        assert_eq!(status, 200, "{body}");
        assert!(took < ANSWERED, "{took:?}");
    }
    let hedges = rig.metric("portcullis_hedges_total{upstream=\"both\"}");
    assert!((1.0..=6.0).contains(&hedges), "{hedges} of 24 had to wait for it");
    // Those that lost end by themselves, at the latest with their budget: no connection is lost.
    let in_use = format!(
        "portcullis_upstream_connections{{replica=\"{}\",state=\"in_use\",upstream=\"both\"}}",
        rig.addresses[0]
    );
    eventually("the end of the calls that lost", || rig.metric(&in_use) == 0.0);
}

/// What one replica cannot or will not do, another does; each failure is laid at the right door.
#[test]
fn a_replica_that_fails_is_replaced_within_the_request() {
    for (fault, code) in [("error", "upstream_status"), ("hang-up", "upstream_reset")] {
        let rig = Rig::twins();
        let epoch = rig.world.epoch();
        rig.set_faults(0, &[fault]);
        let mut gate = rig.world.connect();
        for round in 0..8 {
            let (status, body, took) = timed(&mut gate, &key(round % 4), &randao(epoch - round));
            assert_eq!(status, 200, "{fault}: {body}");
            assert!(took < ANSWERED, "{fault}: {took:?}");
        }
        let line = rig.event("upstream_fault", &[]);
        assert_eq!((&line["code"], &line["upstream"]), (&code.into(), &"both".into()));
        assert_eq!(line["replica"], rig.addresses[0].to_string());
        assert!(line["root"].is_string() && line["pubkey"].is_string(), "{line}");
        assert!(rig.metric("portcullis_failovers_total{upstream=\"both\"}") >= 1.0, "{fault}");
        let errors = format!(
            "portcullis_upstream_errors_total{{code=\"{code}\",replica=\"{}\",upstream=\"both\"}}",
            rig.addresses[0]
        );
        assert!(rig.metric(&errors) >= 1.0, "{fault}");
    }
}

/// A refusal by the signer after our own store said yes is an alarm: nobody else is asked.
#[test]
fn a_refusal_of_a_signer_is_not_taken_to_another() {
    let rig = Rig::twins();
    let epoch = rig.world.epoch();
    rig.set_faults(0, &["refuse"]);
    let mut gate = rig.world.connect(); // one connection is one core, which takes turns
    let answers: Vec<_> = (0..10).map(|round| gate.sign(&key(0), &randao(epoch - round))).collect();
    let refused = answers.iter().filter(|(status, _)| *status == 500).count();
    assert_eq!(refused, 5, "each second one: {answers:?}");
    assert!(
        answers.iter().all(|(status, body)| *status == 200 || body["code"] == "upstream_refused"),
        "{answers:?}"
    );
    assert_eq!((rig.signed(0), rig.signed(1)), (0, 5));
    rig.event("upstream_refused_after_permit", &[]);
}

/// A key that only one replica has is signed for all the same, and the one that lacks it is named.
#[test]
fn a_replica_that_lacks_a_key() {
    let mut rig = Rig::signers(&[&["--interop", "2"], &["--interop", "4"]]);
    rig.configure(&[("both", &[0, 1])], "");
    rig.enrol();
    rig.world.must(&["keys", "enrol", "--config", "gate.toml", "--new", &key(77)]);
    rig.world.start_gate();
    let epoch = rig.world.epoch();
    let mut gate = rig.world.connect();
    for round in 0..6 {
        let (status, body) = gate.sign(&key(3), &randao(epoch - round));
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!((rig.signed(0), rig.signed(1)), (0, 6));
    let line = rig.event("missing_at_upstream", &["both"]);
    assert_eq!(
        (&line["replica"], &line["keys"]),
        (&rig.addresses[0].to_string().into(), &2.into())
    );
    let (status, body) = gate.sign(&key(77), &randao(epoch));
    assert_eq!((status, &body["code"]), (500, &"upstream_unknown_key".into()), "nobody has it");
    rig.stop(1);
    let (status, body) = gate.sign(&key(3), &randao(epoch - 7));
    assert_eq!(status, 500);
    assert_ne!(body["code"], "upstream_unknown_key", "the one that has it is gone: {body}");
}

/// With every replica down or hanging the answer is 500 with a cause, in time for the client.
#[test]
fn with_all_replicas_gone_the_answer_is_in_time() {
    let mut rig = Rig::twins();
    let epoch = rig.world.epoch();
    let mut gate = rig.world.connect();
    rig.set_faults(0, &["stall"]);
    rig.set_faults(1, &["stall"]);
    let (status, body, took) = timed(&mut gate, &key(0), &randao(epoch));
    assert_eq!((status, &body["code"]), (500, &"upstream_timeout_response".into()));
    assert!(took < ANSWERED, "{took:?}");
    rig.stop(0);
    rig.stop(1);
    let (status, body, took) = timed(&mut gate, &key(0), &randao(epoch - 1));
    assert_eq!((status, &body["code"]), (500, &"upstream_connect".into()));
    assert!(took < ANSWERED, "{took:?}");
    let line = rig.event("failed", &["upstream_connect"]);
    let attempts = line["attempts"].as_str().unwrap();
    for address in &rig.addresses {
        assert!(attempts.contains(&format!("both/{address} upstream_connect")), "{attempts}");
    }
    let health = rig.world.connect().get("/healthcheck");
    let mut health = (health.status, health.body);
    eventually("DOWN", || {
        let answer = rig.world.connect().get("/healthcheck");
        health = (answer.status, answer.body);
        health.0 == 503
    });
    // The first one that is back is used at once: no pause is waited for when nobody else is left.
    rig.revive(1);
    assert_eq!(gate.sign(&key(0), &randao(epoch - 2)).0, 200);
    eventually("UP", || rig.world.connect().get("/healthcheck").status == 200);
    let health: Value =
        serde_json::from_str(&rig.world.connect().get("/healthcheck").body).unwrap();
    let checks = health["checks"].as_array().unwrap();
    let upstream = checks.iter().find(|check| check["id"] == "upstream-check").unwrap();
    assert_eq!(upstream["data"][0]["replicas"].as_array().unwrap().len(), 2, "{upstream}");
}

/// One signer that comes and goes: what is asked while it is away fails, and nothing after that.
#[test]
fn a_single_signer_that_flaps_costs_its_absence_alone() {
    let mut rig = Rig::signers(&[&["--interop", "4"]]);
    rig.configure(&[("only", &[0])], "");
    rig.enrol();
    rig.world.start_gate();
    let epoch = rig.world.epoch();
    let mut gate = rig.world.connect();
    for flap in 0..4 {
        assert_eq!(gate.sign(&key(0), &randao(epoch - 4 * flap)).0, 200);
        rig.stop(0);
        for asked in 1..=3 {
            let (status, body) = gate.sign(&key(asked), &randao(epoch - 4 * flap));
            assert_eq!(status, 500, "{body}");
        }
        rig.revive(0);
        for asked in 1..=3 {
            assert_eq!(gate.sign(&key(asked), &randao(epoch - 4 * flap)).0, 200, "at once");
        }
    }
}

/// Two sets without a common key: each key goes to its own, also when a set was away at the start.
#[test]
fn keys_of_two_sets_find_their_way() {
    let mut rig = Rig::signers(&[&["--interop", "3"]]);
    key_files(&rig.world, "east", 0..3);
    let east = ["--key-files", "east", "--log", "signer-1.jsonl"];
    let signer = rig.world.spawn_signer("127.0.0.1:0", &east);
    rig.addresses.push(signer.address);
    rig.signers.push(Some(signer));
    rig.arguments.push(east.map(str::to_owned).to_vec());
    rig.configure(&[("west", &[0]), ("east", &[1])], "");
    rig.enrol();
    rig.world.start_gate();
    let epoch = rig.world.epoch();
    let mut gate = rig.world.connect();
    let sign = |gate: &mut Http, round: u64, is_there: [bool; 2]| {
        for number in 0..3 {
            let keys = [key(u64::from(number)), other_key(number).1];
            for (key, is_there) in keys.iter().zip(is_there) {
                let (status, body) = gate.sign(key, &randao(epoch - round));
                let expected = if is_there { 200 } else { 500 };
                assert_eq!(status, expected, "{body}");
            }
        }
    };
    sign(&mut gate, 0, [true, true]);
    assert_eq!((rig.signed(0), rig.signed(1)), (3, 3), "each by its own");
    let published = gate.get("/api/v1/eth2/publicKeys").body;
    assert_eq!(serde_json::from_str::<Vec<String>>(&published).unwrap().len(), 6);

    // A restart while a set is away: its keys are still known, and it gets them when it is back.
    rig.stop(1);
    rig.world.kill_gate();
    rig.world.start_gate();
    let mut gate = rig.world.connect();
    assert_eq!(gate.get("/api/v1/eth2/publicKeys").body, published, "no short list");
    sign(&mut gate, 1, [true, false]);
    rig.revive(1);
    sign(&mut gate, 2, [true, true]);
    assert_eq!(rig.world.connect().get("/healthcheck").status, 200);
    rig.stop(0);
    sign(&mut gate, 3, [false, true]);
    assert_eq!(rig.world.connect().get("/healthcheck").status, 200, "half of it is not down");
}

/// A key that two sets list is an alarm; it stays where it was, and is signed for.
#[test]
fn a_key_in_two_sets() {
    let mut rig = Rig::signers(&[&["--interop", "4"], &["--interop", "4"]]);
    rig.configure(&[("first", &[0]), ("second", &[1])], "");
    rig.enrol();
    rig.world.start_gate();
    let line = rig.event("key_in_two_upstreams", &[]);
    assert_eq!((&line["upstream"], &line["kept"]), (&"second".into(), &"first".into()));
    assert_eq!(line["keys"], 4);
    let mut gate = rig.world.connect();
    for number in 0..4 {
        assert_eq!(gate.sign(&key(number), &randao(rig.world.epoch())).0, 200);
    }
    assert_eq!((rig.signed(0), rig.signed(1)), (4, 0));
}

/// Before anything is enrolled there is no list until every set has been read; afterwards the list
/// is what is enrolled, whatever the signers say.
#[test]
fn public_keys_are_never_a_short_list() {
    let mut rig = Rig::signers(&[&["--interop", "4"], &["--interop", "4"]]);
    rig.configure(&[("both", &[0, 1])], "");
    rig.stop(0);
    rig.stop(1);
    rig.world.start_gate();
    let mut gate = rig.world.connect();
    let answer = gate.get("/api/v1/eth2/publicKeys");
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("keys_unknown"), "{}", answer.body);
    rig.revive(1); // one replica is the whole set
    eventually("the empty list", || gate.get("/api/v1/eth2/publicKeys").status == 200);
    assert_eq!(gate.get("/api/v1/eth2/publicKeys").body, "[]");
    rig.event("awaiting_enrolment", &[]);
    rig.world.must(&["keys", "enrol", "--config", "gate.toml", "--new", &key(0), &key(1), &key(2)]);
    let published = gate.get("/api/v1/eth2/publicKeys").body;
    assert_eq!(serde_json::from_str::<Vec<String>>(&published).unwrap().len(), 3);

    // The signers forget two of the keys.
    rig.stop(1);
    for signer in 0..2 {
        rig.arguments[signer][1] = "1".to_owned();
        rig.revive(signer);
    }
    eventually("a reload", || {
        let status = gate.request("POST", "/reload", None, b"").unwrap().status;
        assert!([202, 409].contains(&status), "{status}");
        status == 202
    });
    rig.event("missing_at_upstream", &["no signer has these keys"]);
    assert_eq!(gate.get("/api/v1/eth2/publicKeys").body, published);
    rig.stop(0);
    rig.stop(1);
    rig.world.kill_gate();
    rig.world.start_gate();
    let mut gate = rig.world.connect();
    assert_eq!(gate.get("/api/v1/eth2/publicKeys").body, published, "without any signer");
}
