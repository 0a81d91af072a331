//! Signers that lie, stall and die, under the same load, with and without a kill of the gate.

use std::path::Path;

use portcullis::dev_signer::hex::Hex;
use portcullis::eth::{Epoch, Network, Root, signing_root};
use portcullis::web3signer::request;
use serde_json::{Value, json};

use super::{CLIENTS, Rig, Syncs};
use crate::support::Http;

const REQUESTS: u64 = 200;
/// What the signer does, and the code of the failures that it must cause, if any. No signature may
/// leave that is not the right one.
const FAULTS: [(&str, &str); 10] = [
    ("wrong-signature:p=0.3", "upstream_bad_signature"),
    ("swapped:p=0.3", "upstream_bad_signature"),
    ("off-subgroup:p=0.3", "upstream_bad_signature"),
    ("infinity:p=0.3", "upstream_bad_signature"),
    ("garbage:p=0.3", "upstream_bad_signature"), // as long as a signature
    ("error:p=0.3", "upstream_status"),
    ("refuse:p=0.3", "upstream_refused"),
    ("hang-up:p=0.5", "upstream_reset"), // one is asked again, two in a row fail
    ("stall:p=0.03", "upstream_timeout_response"),
    ("slow=20", ""),
];

impl Rig {
    pub(super) fn set_faults(&self, faults: &[&str]) {
        let signer = self.world.signer.as_ref().expect("the signer runs").address;
        let body = json!({ "faults": faults, "seed": 1 }).to_string();
        let answer = Http::connect(signer).request("POST", "/dev/faults", None, body.as_bytes());
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// How many requests the present fault struck.
    fn struck(&self) -> u64 {
        let signer = self.world.signer.as_ref().expect("the signer runs").address;
        let plan = Http::connect(signer).get("/dev/faults").body;
        let plan: Value = serde_json::from_str(&plan).expect("JSON");
        plan["faults"][0]["struck"].as_u64().expect("a count")
    }

    fn run_load(&mut self, requests: u64) {
        let seed = self.draws.below(u64::MAX);
        let load = &self.load;
        load.run(self.gate(), CLIENTS, seed, || load.wait_for(requests));
    }

    /// How many of the signatures that were received are not those that were asked for, and the
    /// codes of the failures.
    fn verify_answers(&mut self) -> (u64, Vec<String>) {
        let network = network();
        let answers = self.load.take_answers();
        let received = answers.signatures.as_ref().expect("they are kept");
        let is_wrong = |(key, request, signature): &&(String, Value, String)| {
            !verifies(&network, key, request, signature)
        };
        let wrong = received.iter().filter(is_wrong).count();
        self.tally.answers.add(&answers);
        (wrong as u64, answers.failed.into_keys().collect())
    }
}

fn network() -> Network {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/networks/test.yaml");
    let root = Hex::parse(crate::support::GVR).expect("a root");
    Network::from_config_file(&path).expect("a network").with_genesis(0, Root(root.0))
}

fn verifies(network: &Network, key: &str, body: &Value, signature: &str) -> bool {
    let request = request::parse(body.to_string().as_bytes()).expect("a request");
    let fork_info = request.fork_info.as_ref();
    let root = signing_root(&request.duty, fork_info, None, network, Epoch(0)).expect("a root");
    let (key, signature) = (Hex::parse(key).expect("a key"), Hex::parse(signature).expect("96"));
    portcullis::bls::verify(&key.0, &root.0, &signature.0).is_ok()
}

#[test]
fn signers_that_lie_and_stall_cause_no_conflict() {
    let mut rig = Rig::new();
    rig.load.hang_up_one_in = 10;
    rig.load.keep_signatures();
    for (fault, code) in FAULTS {
        assert!(rig.start(Syncs::Honest));
        rig.set_faults(&[fault]);
        rig.run_load(REQUESTS);
        assert!(rig.struck() > 0, "{fault} struck nothing");
        let (wrong, failed) = rig.verify_answers();
        println!("{fault}: failures {failed:?}");
        assert_eq!(wrong, 0, "{fault}: wrong signatures left the gate");
        let is_expected = code.is_empty() || failed.iter().any(|found| found.ends_with(code));
        assert!(is_expected, "{fault}: {failed:?}");
        rig.set_faults(&[]);
        rig.assert_serving();
        rig.world.kill_gate(); // idle

        assert!(rig.start(Syncs::Honest));
        rig.set_faults(&[fault]);
        rig.kill_under_load();
        rig.set_faults(&[]);
        rig.assert_safe();
    }
    rig.report("lying and stalling signers");
    assert!(rig.tally.hung_up > 0);
}

#[test]
fn a_signer_that_dies_is_used_again_when_it_is_back() {
    let mut rig = Rig::new();
    let signer = rig.world.signer.as_ref().expect("the signer runs").address.to_string();
    assert!(rig.start(Syncs::Honest));
    for _ in 0..3 {
        rig.set_faults(&["die:after=30"]);
        rig.run_load(REQUESTS);
        let answers = rig.load.take_answers();
        assert!(!answers.failed.is_empty(), "the signer did not die: {answers:?}");
        rig.tally.answers.add(&answers);
        rig.world.start_signer(&signer);
        rig.assert_serving();
    }
    rig.world.kill_gate();
    rig.judge();
    rig.assert_safe();
    rig.report("dying signers");
}
