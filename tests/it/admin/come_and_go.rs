//! Keys that come and go over the admin API while others are signed for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::{call, start, token};
use crate::support::{GVR, Http, Options, World, attestation, key};

/// Not one duty is lost.
#[test]
fn a_thousand_keys_come_and_go_while_others_are_signed_for() {
    come_and_go(1_000, 250);
}

#[test]
#[ignore = "minutes: `make soak` runs it"]
fn soak_ten_thousand_keys_come_and_go_while_others_are_signed_for() {
    come_and_go(10_000, 10_000);
}

fn come_and_go(moving: u64, staying: u64) {
    let keys = staying + moving;
    let mut world = start(Options { keys, enrol: false, ..Options::default() });
    let names: Vec<String> = (0..keys).map(key).collect();
    let (staying, moving) = names.split_at(usize::try_from(staying).unwrap());
    assert_eq!(post(&world, "/v1/keys/enrol", &enrolment(staying))["refused"], 0);
    let gate = world.gate.take().unwrap(); // it ends after those who ask it
    let (epoch, duties) = (world.epoch(), Duties::default());
    std::thread::scope(|scope| {
        for first in 0..CLIENTS {
            let share: Vec<&String> = staying.iter().skip(first).step_by(CLIENTS).collect();
            let duties = &duties;
            scope.spawn(move || duties.sign(gate.address, &share, epoch));
        }
        let _end = End(&duties.is_over);
        move_all(&world, gate.address, moving, epoch);
    });
    let [signed, lost, slowest_us] = [&duties.signed, &duties.lost, &duties.slowest_us]
        .map(|count| count.load(Ordering::Relaxed));
    println!("meanwhile signed: {signed}, lost: {lost}, slowest: {slowest_us} us");
    assert_eq!(lost, 0, "of {signed}");
    assert!(signed > 100, "{signed}");
}

/// Half of the keys are new, half come from a signer that is dead. They vote, leave with their
/// history, and come back from where they have voted once more.
fn move_all(world: &World, gate: SocketAddr, keys: &[String], epoch: u64) {
    let (new, used) = keys.split_at(keys.len() / 2);
    assert_eq!(post(world, "/v1/keys/enrol", &enrolment(new))["done"], new.len());
    let came = post(world, "/v1/keys/import", &history(used, epoch - 1));
    assert_eq!((&came["done"], &came["refused"]), (&json!(used.len()), &json!(0)));
    let mut http = Http::connect(gate);
    let votes = |http: &mut Http, wanted: u16| {
        for name in keys {
            let (status, answer) = http.sign(name, &attestation(epoch - 1, epoch, 1));
            assert_eq!(status, wanted, "{name}: {answer}");
        }
    };
    votes(&mut http, 200);
    let leave = json!({ "keys": keys, "reason": "they leave" });
    assert_eq!(post(world, "/v1/keys/disable", &leave)["done"], keys.len());
    votes(&mut http, 412);
    let file = post(world, "/v1/keys/export", &json!({ "keys": keys }));
    let left = file["data"].as_array().unwrap();
    assert_eq!(left.len(), keys.len());
    let target = json!(epoch.to_string());
    assert!(left.iter().all(|one| one["signed_attestations"][0]["target_epoch"] == target));
    let unchanged = post(world, "/v1/keys/import", &file);
    assert_eq!(unchanged["refused"], keys.len(), "where they are now is not known");
    assert_eq!(post(world, "/v1/keys/import", &history(keys, epoch + 1))["done"], keys.len());
    votes(&mut http, 412); // it is older than what they signed elsewhere
    let list = ("GET", "/v1/keys?status=disabled");
    let (_, disabled) = call(world, list, &token("viewer"), "");
    assert_eq!(disabled["keys"], json!([]));
}

fn enrolment(keys: &[String]) -> Value {
    json!({ "keys": keys, "declaration": "new", "reason": "a test" })
}

/// A file of keys that voted last for `target`.
fn history(keys: &[String], target: u64) -> Value {
    let (source, target) = ((target - 1).to_string(), target.to_string());
    let vote = json!([{ "source_epoch": source, "target_epoch": target }]);
    let of = |key: &String| {
        json!({
            "pubkey": key, "signed_blocks": [], "signed_attestations": vote
        })
    };
    let data: Vec<Value> = keys.iter().map(of).collect();
    let metadata = json!({ "interchange_format_version": "5", "genesis_validators_root": GVR });
    json!({ "metadata": metadata, "data": data })
}

fn post(world: &World, path: &str, body: &Value) -> Value {
    let started = Instant::now();
    let (status, answer) = call(world, ("POST", path), &token("operator"), &body.to_string());
    println!("{path}: {:?}", started.elapsed());
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// What became of the duties of the keys that stay.
#[derive(Default)]
struct Duties {
    is_over: AtomicBool,
    signed: AtomicU64,
    lost: AtomicU64,
    slowest_us: AtomicU64,
}

impl Duties {
    /// Asks for the vote of each key, round by round for a later target; those of the last are
    /// repeated.
    fn sign(&self, gate: SocketAddr, keys: &[&String], epoch: u64) {
        let mut http = Http::connect(gate);
        for target in (epoch - ROUNDS..=epoch).chain(std::iter::repeat(epoch)) {
            let vote = attestation(target - 1, target, 1);
            for name in keys {
                if self.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let started = Instant::now();
                let (status, answer) = http.sign(name, &vote);
                let took = u64::try_from(started.elapsed().as_micros()).unwrap();
                self.slowest_us.fetch_max(took, Ordering::Relaxed);
                let is_signed = status == 200;
                if !is_signed && self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
                    println!("the first that is lost: {target}: {status}: {answer}");
                }
                self.signed.fetch_add(u64::from(is_signed), Ordering::Relaxed);
            }
        }
    }
}

/// Ends those who sign, however the test ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const CLIENTS: usize = 2;
/// Votes of each key before they are repeated.
const ROUNDS: u64 = 2;
