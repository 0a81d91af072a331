//! Requests for upstream signers, in our own words.
//!
//! What goes upstream is written from the parsed message: a key that two parsers would read
//! differently cannot get past. The signing root is always in it, so a signer that computes another
//! one refuses.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::eth::block::{BeaconBlock, BeaconBlockHeader};
use crate::eth::duty::{AggregateAndProof, BlockV2, VoluntaryExit};
use crate::eth::signing_root::ExitRoots;
use crate::eth::{Duty, Epoch, Fork, ForkInfo, ForkName, Network, SigningRoot};

/// Writes the request for a signature of `duty`, whose signing root is `root`.
///
/// An exit whose root is in the domain of Capella is sent with Capella's version as both versions
/// of `fork_info`, which gives that domain under every rule that signers have had.
pub fn encode(
    duty: &Duty,
    fork_info: Option<&ForkInfo>,
    root: &SigningRoot,
    network: &Network,
) -> Vec<u8> {
    let fork_info = match (duty, fork_info) {
        (Duty::VoluntaryExit(exit), Some(sent)) => Some(exit_fork_info(exit, sent, root, network)),
        (_, Some(sent)) if duty.kind().needs_fork_info() => Some(*sent),
        (_, Some(_) | None) => None,
    };
    let body = Body { duty, fork_info, root, network };
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, &body).expect("string keys, and nothing that fails");
    bytes
}

/// Room for a vote, which is what is asked most.
const USUAL_BYTES: usize = 768;

fn exit_fork_info(
    exit: &VoluntaryExit,
    sent: &ForkInfo,
    root: &SigningRoot,
    network: &Network,
) -> ForkInfo {
    if ExitRoots::compute(exit, sent, network).capella != Some(*root) {
        return *sent;
    }
    let Some(capella) = network.version_of(ForkName::Capella) else {
        return *sent;
    };
    let epoch = network.epoch_of(ForkName::Capella).unwrap_or(Epoch(0));
    let fork = Fork { previous_version: capella, current_version: capella, epoch };
    ForkInfo { fork, genesis_validators_root: sent.genesis_validators_root }
}

struct Body<'a> {
    duty: &'a Duty,
    fork_info: Option<ForkInfo>,
    root: &'a SigningRoot,
    network: &'a Network,
}

#[derive(Serialize)]
struct WholeBlock<'a> {
    version: &'static str,
    block: &'a BeaconBlock,
}

#[derive(Serialize)]
struct BlockHeader<'a> {
    version: &'static str,
    block_header: &'a BeaconBlockHeader,
}

#[derive(Serialize)]
struct Aggregate<'a> {
    version: &'static str,
    data: &'a AggregateAndProof,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.duty.kind().as_str())?;
        if let Some(fork_info) = &self.fork_info {
            map.serialize_entry("fork_info", fork_info)?;
        }
        map.serialize_entry("signingRoot", self.root)?;
        self.serialize_object(&mut map)?;
        map.end()
    }
}

impl Body<'_> {
    fn serialize_object<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self.duty {
            Duty::Attestation(object) => map.serialize_entry("attestation", object),
            Duty::Block(object) => map.serialize_entry("block", object),
            Duty::BlockV2(block) => {
                let version = block.version().as_upper();
                match block {
                    BlockV2::Phase0(block) | BlockV2::Altair(block) => {
                        map.serialize_entry("beacon_block", &WholeBlock { version, block })
                    }
                    BlockV2::Header { header: block_header, .. } => {
                        map.serialize_entry("beacon_block", &BlockHeader { version, block_header })
                    }
                }
            }
            Duty::RandaoReveal(object) => map.serialize_entry("randao_reveal", object),
            Duty::Deposit(object) => map.serialize_entry("deposit", object),
            Duty::VoluntaryExit(object) => map.serialize_entry("voluntary_exit", object),
            Duty::AggregationSlot(object) => map.serialize_entry("aggregation_slot", object),
            Duty::AggregateAndProof(object) => map.serialize_entry("aggregate_and_proof", object),
            Duty::AggregateAndProofV2(data) => {
                let epoch = self.network.epoch(data.aggregate.data.slot);
                let version = self.network.fork_at(epoch).as_upper();
                map.serialize_entry("aggregate_and_proof", &Aggregate { version, data })
            }
            Duty::SyncCommitteeMessage(object) => {
                map.serialize_entry("sync_committee_message", object)
            }
            Duty::SyncCommitteeSelectionProof(object) => {
                map.serialize_entry("sync_aggregator_selection_data", object)
            }
            Duty::SyncCommitteeContributionAndProof(object) => {
                map.serialize_entry("contribution_and_proof", object)
            }
            Duty::ValidatorRegistration(object) => {
                map.serialize_entry("validator_registration", object)
            }
        }
    }
}
