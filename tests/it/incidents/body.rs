//! The body of a request, from a row.

use portcullis::eth::{Epoch, Network, Root, merkle, signing_root};
use portcullis::web3signer::request;
use serde_json::{Value, json};

use super::fixture::Row;
use crate::support::{GVR, VERSION, key, root};

/// Where S lies on the chain.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) slot: u64,
    pub(super) unix_s: u64,
}

impl Origin {
    fn slot(self, row: &Row) -> u64 {
        self.slot.checked_add_signed(row.slot()).expect("after genesis")
    }

    fn epoch(self, offset: i64) -> u64 {
        (self.slot / 32).checked_add_signed(offset).expect("after genesis")
    }
}

/// The body that the row's client would have sent, written as one client writes: its type first.
pub(super) fn of(row: &Row, origin: Origin) -> String {
    let body = value(row, origin);
    let rest = body.as_object().expect("an object").iter().filter(|(name, _)| *name != "type");
    let rest: String = rest.map(|(name, value)| format!(",\"{name}\":{value}")).collect();
    format!("{{\"type\":{}{rest}}}", body["type"])
}

fn value(row: &Row, origin: Origin) -> Value {
    let mut body = plain(row, origin);
    for (pointer, value) in &row.with {
        let (parent, name) = pointer.rsplit_once('/').expect("a JSON pointer");
        let parent = body.pointer_mut(parent).unwrap_or_else(|| panic!("no {pointer}"));
        parent[name] = value.clone();
    }
    if let Some(field) = &row.claims {
        let parsed = request::parse(body.to_string().as_bytes()).expect("a request");
        let network = include_str!("../../../fixtures/networks/test.yaml");
        let network = Network::from_config_yaml(network).expect("the tests' network");
        let fork_info = parsed.fork_info.as_ref();
        let root = signing_root(&parsed.duty, fork_info, None, &network, Epoch(0));
        body[field] = root.expect("its root").to_string().into();
    }
    body
}

fn plain(row: &Row, origin: Origin) -> Value {
    let slot = origin.slot(row).to_string();
    let (name, object) = match row.kind.as_str() {
        "ATTESTATION" => {
            let (source, target) = row.vote();
            let checkpoint = |epoch: i64, byte: u8| json!({ "epoch": origin.epoch(epoch).to_string(), "root": root(byte) });
            let vote = json!({
                "slot": slot, "index": "0", "beacon_block_root": root(row.root),
                "source": checkpoint(source, 0xaa), "target": checkpoint(target, 0xbb),
            });
            ("attestation", vote)
        }
        "BLOCK_V2" => ("beacon_block", block(row, &slot)),
        "RANDAO_REVEAL" => {
            ("randao_reveal", json!({ "epoch": origin.epoch(row.epoch()).to_string() }))
        }
        "AGGREGATION_SLOT" => ("aggregation_slot", json!({ "slot": slot })),
        "SYNC_COMMITTEE_MESSAGE" => {
            let message = json!({ "slot": slot, "beacon_block_root": root(row.root) });
            ("sync_committee_message", message)
        }
        "VALIDATOR_REGISTRATION" => (
            "validator_registration",
            json!({
                "fee_recipient": row.fee_recipient.as_deref().expect("a fee recipient"),
                "gas_limit": "36000000",
                "timestamp": (origin.unix_s + row.t_ms / 1_000).to_string(),
                "pubkey": key(row.key),
            }),
        ),
        "VOLUNTARY_EXIT" => (
            "voluntary_exit",
            json!({
                "epoch": origin.epoch(row.epoch()).to_string(), "validator_index": row.key.to_string(),
            }),
        ),
        "DEPOSIT" => (
            "deposit",
            json!({
                "pubkey": key(row.key), "withdrawal_credentials": root(row.root),
                "amount": "32000000000", "genesis_fork_version": "0x00007e57",
            }),
        ),
        other => panic!("no row of type {other:?} is known"),
    };
    let mut body = json!({ "type": row.kind, name: object });
    if name == "beacon_block" && row.fee_recipient.is_some() {
        body["proofs"] = proofs(row);
    }
    if !matches!(name, "deposit" | "validator_registration") {
        body["fork_info"] = json!({
            "fork": { "previous_version": VERSION, "current_version": VERSION, "epoch": "0" },
            "genesis_validators_root": GVR,
        });
    }
    body
}

fn block(row: &Row, slot: &str) -> Value {
    let body_root = if row.fee_recipient.is_some() {
        let up = |(node, index): (Root, u64), sibling: Root| {
            let parent = if index & 1 == 1 {
                merkle::hash_pair(&sibling, &node)
            } else {
                merkle::hash_pair(&node, &sibling)
            };
            (parent, index >> 1)
        };
        branch(row).into_iter().fold((leaf(row), FEE_RECIPIENT_INDEX), up).0.to_string()
    } else {
        root(0x10 + row.root)
    };
    json!({ "version": "FULU", "block_header": {
        "slot": slot, "proposer_index": "7", "parent_root": root(4), "state_root": root(5),
        "body_root": body_root,
    }})
}

/// A proof as Nimbus's `verifying-web3signer` sends it, of a body that only it knows.
fn proofs(row: &Row) -> Value {
    let branch: Vec<String> = branch(row).iter().map(ToString::to_string).collect();
    json!([{
        "index": FEE_RECIPIENT_INDEX.to_string(), "proof": branch, "value": leaf(row).to_string(),
    }])
}

/// The fee recipient, padded to 32 bytes.
fn leaf(row: &Row) -> Root {
    let address = row.fee_recipient.as_deref().expect("a fee recipient");
    format!("{address}{}", "00".repeat(12)).parse().expect("an address")
}

/// The rest of the body, by the siblings alone.
fn branch(row: &Row) -> Vec<Root> {
    (0..FEE_RECIPIENT_INDEX.ilog2()).map(|_| Root([row.root; 32])).collect()
}

/// `body.execution_payload.fee_recipient`: field 9 of 16 places, then field 1 of 32.
const FEE_RECIPIENT_INDEX: u64 = (16 + 9) * 32 + 1;
