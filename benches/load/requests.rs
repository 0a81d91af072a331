//! The requests: every key votes once in a round, and every round is for a later epoch, so that
//! each vote must pass the watermark and be written.

use std::io;
use std::path::Path;
use std::rc::Rc;

use portcullis::eth::{Epoch, Network, signing_root};
use portcullis::web3signer::request;

use super::keys::KeyHex;

/// The genesis validators root of the measurements' network.
pub(crate) const GVR: &str = "0x7e577e577e577e577e577e577e577e577e577e577e577e577e577e577e577e57";
const VERSION: &str = "0x06007e57";
const SLOTS_PER_EPOCH: u64 = 32;

/// How long ago genesis was, in epochs; how far back a vote may lie; where the votes begin.
pub(crate) const GENESIS_AGE_EPOCHS: u64 = 200_000;
pub(crate) const MIN_TARGET_AGE_EPOCHS: u64 = 180_000;
const FIRST_EPOCH: u64 = 30_000;

/// The network's `config.yaml`.
pub(crate) fn network_config() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/networks/test.yaml"))
}

/// One round's body, as Lighthouse writes it, and its signing root.
pub(crate) struct Round {
    pub(crate) body: String,
    pub(crate) root: [u8; 32],
}

/// Makes the bodies of the rounds.
pub(crate) struct Rounds {
    network: Network,
}

impl Rounds {
    pub(crate) fn new() -> io::Result<Self> {
        let network = Network::from_config_file(network_config()).map_err(io::Error::other)?;
        Ok(Self { network })
    }

    /// The body of round `number`.
    pub(crate) fn round(&self, number: u64) -> Round {
        let body = |root: &str| {
            let target = FIRST_EPOCH + number;
            let (source, slot) = (target - 1, target * SLOTS_PER_EPOCH);
            let (head, from, to) = ("11".repeat(32), "22".repeat(32), "33".repeat(32));
            format!(
                "{{\"type\":\"ATTESTATION\",\"fork_info\":{{\"fork\":{{\"previous_version\":\
                 \"{VERSION}\",\"current_version\":\"{VERSION}\",\"epoch\":\"0\"}},\
                 \"genesis_validators_root\":\"{GVR}\"}},{root}\"attestation\":{{\"slot\":\"{slot}\",\
                 \"index\":\"0\",\"beacon_block_root\":\"0x{head}\",\"source\":{{\"epoch\":\
                 \"{source}\",\"root\":\"0x{from}\"}},\"target\":{{\"epoch\":\"{target}\",\
                 \"root\":\"0x{to}\"}}}}}}"
            )
        };
        let parsed = request::parse(body("").as_bytes()).expect("a good body");
        let (duty, fork_info) = (&parsed.duty, parsed.fork_info.as_ref());
        let now = Epoch(GENESIS_AGE_EPOCHS);
        let root = signing_root(duty, fork_info, None, &self.network, now).expect("a root").0;
        let hex = faster_hex::hex_string(&root);
        Round { body: body(&format!("\"signingRoot\":\"0x{hex}\",")), root }
    }
}

/// The keys that vote, and the next vote of them all.
pub(crate) struct Votes {
    keys: Rc<Vec<KeyHex>>,
    rounds: Rounds,
    /// How many of the keys vote in a round.
    voters: usize,
    /// Where in the keys the next voter stands, and how many voted in this round.
    place: usize,
    voted: usize,
    round: u64,
    request: Vec<u8>,
}

/// Where the key stands in a request.
const KEY_AT: usize = "POST /api/v1/eth2/sign/0x".len();

/// From one voter to the next: prime, so that it meets every key of a number that it does not
/// divide, and far, so that neighbours in the load are no neighbours in memory.
const STRIDE: usize = 7_368_787;

impl Votes {
    /// All of `keys` vote, round after round.
    pub(crate) fn new(keys: Rc<Vec<KeyHex>>) -> io::Result<Self> {
        assert!(!keys.len().is_multiple_of(STRIDE), "the stride has to meet every key");
        let voters = keys.len();
        let (rounds, request) = (Rounds::new()?, Vec::new());
        let mut votes = Self { keys, rounds, voters, place: 0, voted: 0, round: 0, request };
        votes.begin_round();
        Ok(votes)
    }

    /// Begins a new round of which only so many keys are asked: the next burst.
    pub(crate) fn begin_burst(&mut self, voters: usize) {
        assert!(voters <= self.keys.len(), "every key votes once in a burst");
        self.voters = voters;
        self.next_round();
    }

    fn next_round(&mut self) {
        self.round += 1;
        self.begin_round();
    }

    fn begin_round(&mut self) {
        self.voted = 0;
        let Round { body, .. } = self.rounds.round(self.round);
        let key = "0".repeat(96);
        self.request = format!(
            "POST /api/v1/eth2/sign/0x{key} HTTP/1.1\r\nHost: 127.0.0.1:9000\r\n\
             Accept: application/json\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes();
    }

    /// The next request, whole.
    pub(crate) fn next(&mut self) -> &[u8] {
        if self.voted == self.voters {
            self.voters = self.keys.len();
            self.next_round();
        }
        self.voted += 1;
        self.place = (self.place + STRIDE) % self.keys.len();
        self.request[KEY_AT..KEY_AT + 96].copy_from_slice(&self.keys[self.place]);
        &self.request
    }
}
