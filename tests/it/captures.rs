//! What two real clients sent, replayed with genesis shifted so that its slot is now.
//!
//! The captures are of Lodestar (JSON, with its own signing root) and of Vero (`text/plain`,
//! without
//! one, `AGGREGATE_AND_PROOF_V2` flat). BLS is deterministic and the keys are the interop keys, so
//! each answer is compared byte for byte with the signature over the root that the client computed.

use std::collections::BTreeMap;
use std::io::Write;

use portcullis::bls::SecretKey;
use portcullis::eth::{Epoch, Network, Signature, SigningRoot, signing_root};
use portcullis::web3signer::request::parse;
use serde_json::Value;
use serde_json::value::RawValue;

use super::support::{Answer, Options, SLOT_S, World, key, unix_s};

/// The devnet on which all three captures were made.
pub(crate) const GVR: &str = "0x83431ec7fcf92cfc44947fc0418e831c25e1d0806590231c439830db7ad54fda";
pub(crate) const KEYS: u64 = 64;

/// One capture: its name in the fixture, its fork versions' last bytes, and the epochs of its
/// forks.
pub(crate) struct Capture {
    source: &'static str,
    versions: &'static str,
    forks: &'static [(&'static str, u8, u64)],
    requests: usize,
}

pub(crate) const CAPTURES: [Capture; 3] = [
    Capture {
        source: "capture",
        versions: "000000",
        forks: &[("ALTAIR", 1, 0), ("BELLATRIX", 2, 0), ("CAPELLA", 3, 0)],
        requests: 27,
    },
    Capture {
        source: "capture-staged-forks",
        versions: "000000",
        forks: &[("ALTAIR", 1, 1), ("BELLATRIX", 2, 2), ("CAPELLA", 3, 3)],
        requests: 90,
    },
    Capture {
        source: "capture-vero-electra-fulu",
        versions: "00f7f7",
        forks: &[
            ("ALTAIR", 1, 0),
            ("BELLATRIX", 2, 0),
            ("CAPELLA", 3, 0),
            ("DENEB", 4, 0),
            ("ELECTRA", 5, 0),
            ("FULU", 6, 2),
        ],
        requests: 51,
    },
];

/// The body of a line, byte for byte.
#[derive(serde::Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
}

impl Capture {
    pub(crate) fn config_yaml(&self) -> String {
        let versions = self.versions;
        let mut yaml = format!(
            "PRESET_BASE: mainnet\nCONFIG_NAME: devnet\nSECONDS_PER_SLOT: {SLOT_S}\n\
             GENESIS_FORK_VERSION: 0x00{versions}\n"
        );
        for (name, number, epoch) in self.forks {
            yaml += &format!("{name}_FORK_VERSION: 0x{number:02x}{versions}\n");
            yaml += &format!("{name}_FORK_EPOCH: {epoch}\n");
        }
        yaml
    }

    /// The requests of this capture, in the order of the slots in which they were sent.
    pub(crate) fn by_slot(&self) -> BTreeMap<i64, Vec<Value>> {
        let text = std::fs::read_to_string("fixtures/captured-requests.jsonl").unwrap();
        let mut slots = BTreeMap::<i64, Vec<Value>>::new();
        for line in text.lines() {
            let mut request: Value = serde_json::from_str(line).unwrap();
            // As it was written: the order of members is a part of how a client speaks.
            let Written { body } = serde_json::from_str(line).unwrap();
            request["written"] = body.get().into();
            if request["source"] == self.source {
                slots.entry(request["slot"].as_i64().unwrap()).or_default().push(request);
            }
        }
        assert_eq!(slots.values().map(Vec::len).sum::<usize>(), self.requests);
        slots
    }

    /// Replays the capture; gives the number of requests by type and format.
    fn replay(&self) -> BTreeMap<(String, String), usize> {
        let yaml = self.config_yaml();
        let network = Network::from_config_yaml(&yaml).unwrap();
        let mut world = World::prepare(Options {
            keys: KEYS,
            genesis_age_s: 0,
            network: Some(yaml),
            genesis_validators_root: GVR,
            ..Options::default()
        });
        let secrets: BTreeMap<String, SecretKey> =
            (0..KEYS).map(|index| (key(index), SecretKey::interop(index))).collect();
        let mut answered = BTreeMap::new();
        for (slot, requests) in self.by_slot() {
            shift(&mut world, slot);
            for request in &requests {
                let root = root(request, &network);
                check(&send(&world, request), request, &secrets, root);
                let kind = request["body"]["type"].as_str().unwrap().to_owned();
                let accept = request["accept"].as_str().unwrap().to_owned();
                *answered.entry((kind, accept)).or_default() += 1;
            }
        }
        let signed = world.signed();
        assert!(portcullis::dev_signer::log::find_conflicts(&signed).is_empty());
        answered
    }
}

/// Starts the gate anew, on the same store, with a genesis that makes it the second second of
/// `slot`, which is negative before genesis.
fn shift(world: &mut World, slot: i64) {
    world.kill_gate();
    let ago = slot * i64::try_from(SLOT_S).unwrap() + 2;
    world.genesis_time = unix_s().checked_add_signed(-ago).unwrap();
    world.write_config("gate.toml", "");
    world.start_gate();
    assert_eq!(i64::try_from(world.slot()).unwrap(), slot.max(0), "genesis was shifted");
}

/// The root of the request: the one that the client computed, where it says so, else ours.
pub(crate) fn root(request: &Value, network: &Network) -> SigningRoot {
    let body = request["body"].to_string();
    let parsed = parse(body.as_bytes()).unwrap();
    let computed =
        signing_root(&parsed.duty, parsed.fork_info.as_ref(), None, network, Epoch(0)).unwrap();
    if let Some(claimed) = request["body"]["signingRoot"].as_str() {
        assert_eq!(computed.to_string(), claimed);
    }
    computed
}

/// Sends the request as the client sent it.
pub(crate) fn send(world: &World, request: &Value) -> Answer {
    let text = |field: &str| request[field].as_str().unwrap();
    let body = text("written");
    let mut gate = world.connect();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nAccept: {}\r\nUser-Agent: {}\r\n\
         Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
        text("path"),
        text("accept"),
        text("user_agent"),
        text("content_type"),
        body.len()
    );
    gate.stream.get_mut().write_all((head + body).as_bytes()).unwrap();
    gate.receive().unwrap()
}

/// Holds the answer against what it must be.
pub(crate) fn check(
    answer: &Answer,
    request: &Value,
    secrets: &BTreeMap<String, SecretKey>,
    SigningRoot(root): SigningRoot,
) {
    let text = |field: &str| request[field].as_str().unwrap();
    assert_eq!(answer.status, 200, "{request}: {}", answer.body);
    let public_key = text("path").rsplit('/').next().unwrap();
    let signature = Signature(secrets[public_key].sign(&root)).to_string();
    let (content_type, expected) = match text("accept") {
        "text/plain" => ("text/plain; charset=utf-8", signature),
        "*/*" => ("application/json; charset=utf-8", format!(r#"{{"signature":"{signature}"}}"#)),
        other => panic!("no capture accepts {other}"),
    };
    assert_eq!(answer.content_type.as_deref(), Some(content_type), "{request}");
    assert_eq!(answer.body, expected, "{request}");
}

#[test]
fn what_lodestar_sent_is_signed() {
    let answered = CAPTURES[0].replay();
    assert_eq!(answered.len(), 9, "{answered:?}");
    assert!(answered.values().all(|count| *count == 3), "{answered:?}");
}

#[test]
fn what_lodestar_sent_over_four_forks_is_signed() {
    assert_eq!(CAPTURES[1].replay().values().sum::<usize>(), 90);
}

#[test]
fn what_vero_sent_is_signed_in_plain_text() {
    let answered = CAPTURES[2].replay();
    assert_eq!(answered.values().sum::<usize>(), 51);
    assert!(answered.keys().all(|(_, accept)| accept == "text/plain"), "{answered:?}");
    assert!(answered.contains_key(&("AGGREGATE_AND_PROOF_V2".to_owned(), "text/plain".to_owned())));
}
