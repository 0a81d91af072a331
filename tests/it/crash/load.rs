//! Clients that ask for honest duties and for everything that conflicts with them, all at once.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::support::{Http, attestation, block, key};

/// The body that an honest client signs; conflicts have another.
const HONEST: u8 = 1;

/// The duties of some keys, as far as they have come, and how they were answered.
pub(super) struct Load {
    keys: Vec<Key>,
    /// One request in so many is left by its client without waiting for the answer.
    pub(super) hang_up_one_in: u64,
    pub(super) begun: AtomicU64,
    pub(super) hung_up: AtomicU64,
    stopped: AtomicBool,
    answers: Mutex<Answers>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    pub(super) signed: u64,
    /// By code; a refusal of conflicts is what the load is for.
    pub(super) refused: BTreeMap<String, u64>,
    /// By status and code: neither signed nor refused.
    pub(super) failed: BTreeMap<String, u64>,
    /// Each signature with what it was asked for, if they are kept.
    pub(super) signatures: Option<Vec<(String, Value, String)>>,
}

struct Key {
    name: String,
    target: AtomicU64,
    slot: AtomicU64,
}

impl Load {
    /// Duties for `keys` keys, for a gate that signs targets from epoch 0 on.
    pub(super) fn new(keys: u64) -> Self {
        let keys = (0..keys).map(|index| Key {
            name: key(index),
            target: AtomicU64::new(10),
            slot: AtomicU64::new(10),
        });
        Self {
            keys: keys.collect(),
            hang_up_one_in: 40,
            begun: AtomicU64::new(0),
            hung_up: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            answers: Mutex::default(),
        }
    }

    /// Runs `clients` clients against `gate` until `end` returns.
    pub(super) fn run<T>(
        &self,
        gate: SocketAddr,
        clients: u64,
        seed: u64,
        end: impl FnOnce() -> T,
    ) -> T {
        self.begun.store(0, Ordering::Relaxed);
        self.stopped.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for client in 0..clients {
                let draws = Draws(seed ^ (client + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let mut it = Client { load: self, gate, draws, connection: None };
                scope.spawn(move || it.work(client, clients));
            }
            // Also when `end` panics: the scope waits for the clients.
            let _stop = Stop(&self.stopped);
            end()
        })
    }

    /// Waits until `count` requests were begun since the clients started.
    pub(super) fn wait_for(&self, count: u64) {
        while self.begun.load(Ordering::Relaxed) < count && !self.is_stopped() {
            std::thread::yield_now();
        }
    }

    /// A vote beyond everything that was asked for.
    pub(super) fn fresh(&self, key: usize) -> Value {
        let target = self.keys[key].target.fetch_add(3, Ordering::Relaxed) + 3;
        attestation(target - 1, target, HONEST)
    }

    /// Keeps each signature from now on.
    pub(super) fn keep_signatures(&self) {
        self.answers.lock().signatures = Some(Vec::new());
    }

    /// What was answered since the last call.
    pub(super) fn take_answers(&self) -> Answers {
        let mut answers = self.answers.lock();
        let kept = answers.signatures.is_some();
        let taken = std::mem::take(&mut *answers);
        answers.signatures = kept.then(Vec::new);
        taken
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Conflicts with the highest duties that anybody asked for: what a forgetful store would sign.
    fn cross_examination(&self, key: usize) -> [(usize, Value); 3] {
        let (target, slot) = self.heights(key);
        [
            (key, attestation(target - 1, target, 200)),
            (key, attestation(target - 2, target + 1, 200)),
            (key, block(slot, 200)),
        ]
    }

    fn heights(&self, key: usize) -> (u64, u64) {
        let key = &self.keys[key];
        (key.target.load(Ordering::Relaxed), key.slot.load(Ordering::Relaxed))
    }

    fn next(&self, draws: &mut Draws) -> (usize, Value) {
        let index = draws.below(self.keys.len() as u64) as usize;
        let (target, slot) = self.heights(index);
        let other = 2 + draws.below(100) as u8;
        let next = |height: &AtomicU64| height.fetch_add(1, Ordering::Relaxed) + 1;
        let request = match draws.below(16) {
            0..=4 => {
                let target = next(&self.keys[index].target);
                attestation(target - 1, target, HONEST)
            }
            5 => attestation(target - 1, target, other), // another head: a double vote
            6 => attestation(target - 3, target, HONEST), // another source: a double vote
            7 => {
                let target = next(&self.keys[index].target); // surrounds the last one
                attestation(target - 3, target, HONEST)
            }
            8 => attestation(target - 2, target - 1, other), // another vote for an older target
            9 => attestation(target - 1, target, HONEST),    // the same again
            10..=12 => block(next(&self.keys[index].slot), HONEST),
            13 => block(slot, other),
            14 => block(slot - 1, other),
            _ => block(slot, HONEST), // the same again
        };
        (index, request)
    }

    fn note(&self, key: &str, request: Value, status: u16, body: &Value) {
        let answers = &mut *self.answers.lock();
        let code = body["code"].as_str().unwrap_or_default();
        match status {
            200 => {
                answers.signed += 1;
                let signature = body["signature"].as_str().expect("a signature");
                if let Some(kept) = &mut answers.signatures {
                    kept.push((key.to_owned(), request, signature.to_owned()));
                }
            }
            412 => *answers.refused.entry(code.to_owned()).or_default() += 1,
            _ => *answers.failed.entry(format!("{status} {code}")).or_default() += 1,
        }
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Client<'a> {
    load: &'a Load,
    gate: SocketAddr,
    draws: Draws,
    connection: Option<Http>,
}

impl Client<'_> {
    /// First its share of the cross-examination, then whatever it draws.
    fn work(&mut self, number: u64, clients: u64) {
        let load = self.load;
        for key in (0..load.keys.len()).skip(number as usize).step_by(clients as usize) {
            for (key, request) in load.cross_examination(key) {
                self.ask(key, request);
            }
        }
        while !load.is_stopped() {
            let (key, request) = load.next(&mut self.draws);
            self.ask(key, request);
        }
    }

    /// Asks once. A connection that breaks is made anew for the next request: the gate was killed.
    fn ask(&mut self, key: usize, request: Value) {
        let load = self.load;
        load.begun.fetch_add(1, Ordering::Relaxed);
        let Some(mut http) = self.connection.take().or_else(|| connect(self.gate)) else {
            std::thread::yield_now();
            return;
        };
        let name = &load.keys[key].name;
        let path = format!("/api/v1/eth2/sign/{name}");
        let body = request.to_string();
        if self.draws.below(load.hang_up_one_in) == 0 {
            load.hung_up.fetch_add(1, Ordering::Relaxed);
            let _ = self.leave(&mut http, &path, body.as_bytes());
            return;
        }
        let answer = http.request("POST", &path, Some("application/json"), body.as_bytes());
        if let Ok(answer) = answer {
            let body = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
            load.note(name, request, answer.status, &body);
            self.connection = Some(http);
        }
    }

    /// Sends a request, or the half of one, and hangs up.
    fn leave(&mut self, http: &mut Http, path: &str, body: &[u8]) -> std::io::Result<()> {
        if self.draws.below(2) == 0 {
            return http.send("POST", path, None, body);
        }
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: gate\r\nContent-Length: {}\r\n\r\n", body.len());
        let stream = http.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body[..body.len() / 2])
    }
}

fn connect(gate: SocketAddr) -> Option<Http> {
    let stream = TcpStream::connect(gate).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    Some(Http { stream: BufReader::new(stream) })
}

/// SplitMix64: a seed tells the whole run's draws.
pub(super) struct Draws(pub(super) u64);

impl Draws {
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

impl Answers {
    /// Adds up.
    pub(super) fn add(&mut self, other: &Self) {
        self.signed += other.signed;
        for (sum, more) in [(&mut self.refused, &other.refused), (&mut self.failed, &other.failed)]
        {
            for (code, count) in more {
                *sum.entry(code.clone()).or_default() += count;
            }
        }
    }
}
