//! What is not urgent comes by the ten thousand, beside a slot's duties: of those none is lost.
//!
//! Registrations may be refused as overloaded, at once; clients send them again an epoch later. An
//! attestation or a block that is refused or late is money. So the classes have shares of their
//! own,
//! from admission to the connections to the signer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use super::support::{GVR, Options, VERSION, World, attestation_at, block, key, randao};

/// How much is sent, and over how many connections.
struct Load {
    keys: u64,
    proposals: u64,
    registrations: usize,
    selection_proofs: usize,
    registration_connections: usize,
    selection_proof_connections: usize,
}

/// Teku and Vero bound the requests that they have under way; Lighthouse and Nimbus do not, and
/// open
/// a connection for each.
const BOUNDED_CONNECTIONS: usize = 32;

/// Well within the gate's own budget of 2.5 s, and within the 3 s after which the least patient
/// client (Nimbus) gives up. Without turns for what is not urgent it takes the whole budget.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// Answers by status and code, and the slowest of each.
#[derive(Debug, Default, Clone)]
struct Tally(BTreeMap<(u16, String), (usize, Duration)>);

impl Tally {
    fn add(&mut self, status: u16, code: String, took: Duration) {
        let (count, slowest) = self.0.entry((status, code)).or_default();
        *count += 1;
        *slowest = took.max(*slowest);
    }

    fn merge(&mut self, other: Self) {
        for (outcome, (count, slowest)) in other.0 {
            let entry = self.0.entry(outcome).or_default();
            *entry = (entry.0 + count, slowest.max(entry.1));
        }
    }

    fn count(&self, status: u16, code: &str) -> usize {
        self.0.get(&(status, code.to_owned())).map_or(0, |(count, _)| *count)
    }

    fn total(&self) -> usize {
        self.0.values().map(|(count, _)| count).sum()
    }

    fn slowest(&self) -> Duration {
        self.0.values().map(|(_, slowest)| *slowest).max().unwrap_or_default()
    }
}

/// One client: its requests, of which the next free connection takes the next, and its answers.
struct Client {
    requests: Vec<Vec<u8>>,
    next: AtomicUsize,
}

impl Client {
    fn new(requests: impl Iterator<Item = (String, Value)>) -> Arc<Self> {
        let requests = requests.map(|(key, body)| http(&key, &body)).collect();
        Arc::new(Self { requests, next: AtomicUsize::new(0) })
    }

    fn sent(&self) -> usize {
        self.next.load(Relaxed).min(self.requests.len())
    }

    /// Sends everything over so many connections, each with one request under way.
    async fn run(self: Arc<Self>, gate: SocketAddr, connections: usize) -> Tally {
        let mut running = JoinSet::new();
        for _ in 0..connections.min(self.requests.len()) {
            running.spawn_local(Arc::clone(&self).run_one(gate));
        }
        let mut tally = Tally::default();
        while let Some(one) = running.join_next().await {
            tally.merge(one.expect("a client's task"));
        }
        tally
    }

    async fn run_one(self: Arc<Self>, gate: SocketAddr) -> Tally {
        let mut tally = Tally::default();
        let mut stream = TcpStream::connect(gate).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let mut buffer = Vec::with_capacity(1024);
        loop {
            let number = self.next.fetch_add(1, Relaxed);
            let Some(request) = self.requests.get(number) else { return tally };
            let begun = Instant::now();
            stream.write_all(request).await.expect("the gate reads");
            let (status, code) = answer(&mut stream, &mut buffer).await;
            tally.add(status, code, begun.elapsed());
        }
    }
}

fn http(key: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST /api/v1/eth2/sign/{key} HTTP/1.1\r\nHost: gate\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reads one answer: its status, and its code if it has none of the signature.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> (u16, String) {
    buffer.clear();
    loop {
        let n = stream.read_buf(buffer).await.expect("the gate answers");
        assert!(n > 0, "closed after {}", String::from_utf8_lossy(buffer));
        let text = std::str::from_utf8(buffer).expect("ASCII");
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length: usize = length.split("\r\n").next().unwrap().parse().expect("a number");
        if body.len() < length {
            continue;
        }
        let status = head.split(' ').nth(1).unwrap().parse().expect("a status");
        let body: Value = serde_json::from_str(body).expect("JSON");
        return (status, body["code"].as_str().unwrap_or_default().to_owned());
    }
}

fn registration(key: &str, timestamp: usize) -> Value {
    json!({
        "type": "VALIDATOR_REGISTRATION",
        "validator_registration": {
            "fee_recipient": "0x00000000000000000000000000000000000000aa",
            "gas_limit": "36000000",
            "timestamp": (1_700_000_000 + timestamp).to_string(),
            "pubkey": key,
        },
    })
}

fn selection_proof(slot: u64) -> Value {
    json!({
        "type": "AGGREGATION_SLOT",
        "fork_info": {
            "fork": { "previous_version": VERSION, "current_version": VERSION, "epoch": "0" },
            "genesis_validators_root": GVR,
        },
        "aggregation_slot": { "slot": slot.to_string() },
    })
}

/// What came of it.
struct Outcome {
    attestations: Tally,
    proposals: Tally,
    registrations: Tally,
    selection_proofs: Tally,
    /// What of the flood was sent when the slot's duties began and when they ended.
    flood_sent: [usize; 2],
    took: Duration,
}

async fn storm(world: &World, load: &Load) -> Outcome {
    let gate = world.gate.as_ref().expect("the gate runs").address;
    let keys: Rc<[String]> = (0..load.keys).map(key).collect();
    let (slot, e) = (world.slot(), world.epoch());
    let key_of = |number: usize| keys[number % keys.len()].clone();
    let registrations = Client::new((0..load.registrations).map(|number| {
        let key = key_of(number);
        let body = registration(&key, number);
        (key, body)
    }));
    let selection_proofs = Client::new((0..load.selection_proofs).map(|number| {
        let ahead = (number / keys.len()) as u64;
        (key_of(number), selection_proof(slot + ahead))
    }));
    let vote = |number: usize| (key_of(number), attestation_at(slot, e - 1, e, 1));
    let half = keys.len() / 2;
    let unbounded = Client::new((0..half).map(vote));
    let bounded = Client::new((half..keys.len()).map(vote));
    // Reveal first, then the block, as a proposer does.
    let proposals = (0..load.proposals).map(|number| {
        let key = key(load.keys - 1 - number);
        let requests = [(key.clone(), randao(e)), (key, block(slot, 1))];
        Client::new(requests.into_iter())
    });
    let proposals: Vec<_> = proposals.collect();

    let begun = Instant::now();
    let flood = [
        tokio::task::spawn_local(
            Arc::clone(&registrations).run(gate, load.registration_connections),
        ),
        tokio::task::spawn_local(
            Arc::clone(&selection_proofs).run(gate, load.selection_proof_connections),
        ),
    ];
    let sent = || registrations.sent() + selection_proofs.sent();
    // The flood stands: every one of its connections has come round, and a tenth is through.
    while sent() < (load.registrations + load.selection_proofs) / 10 {
        tokio::task::yield_now().await;
    }
    let sent_before = sent();
    let mut proposing = JoinSet::new();
    for one in proposals {
        proposing.spawn_local(one.run(gate, 1));
    }
    let (mut attestations, others) =
        tokio::join!(unbounded.run(gate, half), bounded.run(gate, BOUNDED_CONNECTIONS));
    attestations.merge(others);
    let mut proposals = Tally::default();
    while let Some(one) = proposing.join_next().await {
        proposals.merge(one.expect("a proposer's task"));
    }
    let flood_sent = [sent_before, sent()];
    let [registrations, selection_proofs] = flood;
    Outcome {
        attestations,
        proposals,
        registrations: registrations.await.expect("the flood's task"),
        selection_proofs: selection_proofs.await.expect("the flood's task"),
        flood_sent,
        took: begun.elapsed(),
    }
}

fn survive(load: &Load) {
    let connections = load.registration_connections + load.selection_proof_connections;
    let files = portcullis::server::raise_fd_limit();
    assert!(files > (connections + 2 * load.keys as usize) as u64, "{files} open files");
    let world = World::start(Options {
        keys: load.keys,
        signer: vec!["--stub".to_owned()],
        // The stub's signatures are over no message: they cannot be verified.
        config: "[verify]\nmode = \"off\"\n[log]\nlevel = \"warn,portcullis::cli=info\"\n"
            .to_owned(),
        ..Options::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = LocalSet::new().block_on(&runtime, storm(&world, load));
    let Outcome { attestations, proposals, registrations, selection_proofs, .. } = &outcome;
    println!("attestations {attestations:?}\nproposals {proposals:?}");
    println!("registrations {registrations:?}\nselection proofs {selection_proofs:?}");
    println!("sent of the flood {:?}, {:?} in all", outcome.flood_sent, outcome.took);

    assert_eq!(attestations.count(200, ""), load.keys as usize, "{attestations:?}");
    assert_eq!(proposals.count(200, ""), 2 * load.proposals as usize, "{proposals:?}");
    for urgent in [attestations, proposals] {
        assert!(urgent.slowest() < CLIENT_PATIENCE, "{urgent:?}");
    }
    // The flood was there all the time, and each of it got an answer: a signature, or a word.
    let flood = load.registrations + load.selection_proofs;
    assert!(outcome.flood_sent[1] > outcome.flood_sent[0], "the flood stood still");
    assert!(outcome.flood_sent[0] < flood / 2, "the flood was over: {:?}", outcome.flood_sent);
    assert_eq!(registrations.total() + selection_proofs.total(), flood);
    for tally in [registrations, selection_proofs] {
        let told = |(status, code): &(u16, String)| {
            *status == 200 || code == "overloaded" || code.starts_with("upstream_timeout_")
        };
        assert!(tally.0.keys().all(told), "{tally:?}");
        assert!(tally.count(200, "") > 0, "a class is starved: {tally:?}");
    }
}

#[test]
fn a_flood_of_registrations_costs_no_duty() {
    survive(&Load {
        keys: 1_000,
        proposals: 8,
        registrations: 100_000,
        selection_proofs: 20_000,
        registration_connections: 1_500,
        selection_proof_connections: 500,
    });
}
