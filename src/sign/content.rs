//! Step 3: the signing root, and the rules on content and time that need no history.
//!
//! They run before the store is touched, because one far-future vote would silence its key for
//! ever. The numbers are those of the behaviour rules D01 to D09.

use super::Gate;
use super::not_signed::{NotSigned, Rejection};
use crate::clock::Now;
use crate::eth::duty::AttestationData;
use crate::eth::{Duty, Epoch, ForkName, SigningRoot, effective_fork_version, signing_root};
use crate::trace::RequestId;
use crate::web3signer::request::SigningRequest;

#[cfg(test)]
mod tests;

/// How far ahead of the wall clock a duty may lie before it is worth a line in the log: the gossip
/// rules' `MAXIMUM_GOSSIP_CLOCK_DISPARITY`.
const CLOCK_DISPARITY_NS: u64 = 500_000_000;

/// Computes the root of `request` on the gate's network, and holds it against the client's claim,
/// the network and the clock.
pub(super) fn root(
    gate: &Gate,
    request: &SigningRequest,
    now: Now,
    request_id: &RequestId,
) -> Result<SigningRoot, NotSigned> {
    let root = signing_root(
        &request.duty,
        request.fork_info.as_ref(),
        request.claimed_root.as_ref(),
        &gate.network,
        gate.slots.epoch(now),
    )?;
    network(gate, request)?;
    time(gate, &request.duty, now, request_id)?;
    if let Duty::Attestation(data) = &request.duty {
        vote(gate, data, now)?;
    }
    Ok(root)
}

/// D01 and D02: the network's genesis validators root, and the version that its schedule has at the
/// duty's epoch. Only what enters the root is checked: the fork's epoch and the pair of versions
/// are the client's own affair (they differ between healthy clients).
fn network(gate: &Gate, request: &SigningRequest) -> Result<(), Rejection> {
    let Duty::Deposit(deposit) = &request.duty else {
        return fork(gate, request);
    };
    let (found, expected) = (deposit.genesis_fork_version, gate.network.genesis_fork_version());
    if found == expected {
        Ok(())
    } else {
        Err(Rejection::ForkVersion { found, expected, epoch: Epoch(0) })
    }
}

fn fork(gate: &Gate, request: &SigningRequest) -> Result<(), Rejection> {
    let Some(fork_info) = request.fork_info.as_ref() else {
        return Ok(()); // the parser lets only types through whose domain has none
    };
    let expected = gate.genesis_validators_root;
    if fork_info.genesis_validators_root != expected {
        return Err(Rejection::ForeignNetwork {
            found: fork_info.genesis_validators_root,
            expected,
            network: gate.network.name().to_owned(),
        });
    }
    let effective = effective_fork_version(&request.duty, Some(fork_info), &gate.network);
    let Some((epoch, found)) = effective else {
        return Ok(()); // EIP-7044: an exit's root is of the network's own Capella version
    };
    let expected = gate.network.version_at(epoch);
    if found == expected { Ok(()) } else { Err(Rejection::ForkVersion { found, expected, epoch }) }
}

/// D05 for everything that has a time: nothing more than a slot ahead of the wall clock, and a line
/// in the log beyond the gossip rules' disparity.
fn time(gate: &Gate, duty: &Duty, now: Now, request_id: &RequestId) -> Result<(), Rejection> {
    let reach = now.after(gate.slots.slot_duration());
    let (field, slot) = match duty {
        Duty::Attestation(data) => ("attestation.slot", data.slot),
        Duty::Block(block) => ("block.slot", block.slot),
        Duty::BlockV2(block) => ("beacon_block.slot", block.slot()),
        Duty::AggregateAndProof(object) | Duty::AggregateAndProofV2(object) => {
            ("aggregate_and_proof.aggregate.data.slot", object.aggregate.data.slot)
        }
        Duty::SyncCommitteeMessage(message) => ("sync_committee_message.slot", message.slot),
        Duty::SyncCommitteeContributionAndProof(object) => {
            ("contribution_and_proof.contribution.slot", object.contribution.slot)
        }
        Duty::RandaoReveal(reveal) => {
            // Clients prepare the reveal of an epoch's first block in the slot before it.
            let max = gate.slots.epoch(reach);
            return within("randao_reveal.epoch", reveal.epoch.0, max.0);
        }
        // Selection proofs are prepared epochs ahead; exits, deposits and registrations have rules
        // of their own.
        Duty::AggregationSlot(_)
        | Duty::SyncCommitteeSelectionProof(_)
        | Duty::VoluntaryExit(_)
        | Duty::Deposit(_)
        | Duty::ValidatorRegistration(_) => return Ok(()),
    };
    within(field, slot.0, gate.slots.slot(reach).0)?;
    let ahead_ns = gate.slots.start_unix_ns(slot).saturating_sub(now.unix_ns);
    if ahead_ns > CLOCK_DISPARITY_NS
        && let Some(unsaid) = gate.log_limit.may_say("early_duty", now)
    {
        tracing::info!(
            event = "early_duty",
            %request_id,
            kind = duty.kind().as_str(),
            slot = slot.0,
            ahead_ms = ahead_ns / 1_000_000,
            unsaid,
            "a duty is ahead of the clock; compare the clocks of client and gate"
        );
    }
    Ok(())
}

/// D04, D06, D07 and D09: what a vote says by itself.
fn vote(gate: &Gate, data: &AttestationData, now: Now) -> Result<(), Rejection> {
    let (source, target) = (data.source.epoch, data.target.epoch);
    let reach = now.after(gate.slots.slot_duration());
    within("attestation.target.epoch", target.0, gate.slots.epoch(reach).0)?;
    let epoch = gate.slots.epoch_of(data.slot);
    if target != epoch {
        return Err(Rejection::TargetNotOfSlot { target, slot: data.slot, epoch });
    }
    let min = gate.target_epoch_min(now);
    if target < min {
        return Err(Rejection::PastDuty { found: target.0, min: min.0 });
    }
    if source > target {
        return Err(Rejection::SourceExceedsTarget { source_epoch: source, target });
    }
    committee_index(gate.network.fork_at(epoch), data.index)
}

/// EIP-7549 moved the committee out of the vote; EIP-7732 uses its place for the payload's status.
fn committee_index(fork: ForkName, found: u64) -> Result<(), Rejection> {
    let (since, allowed, max) = match fork {
        ForkName::Phase0
        | ForkName::Altair
        | ForkName::Bellatrix
        | ForkName::Capella
        | ForkName::Deneb => return Ok(()),
        ForkName::Electra | ForkName::Fulu => ("electra", "0", 0),
        ForkName::Gloas | ForkName::Heze => ("gloas", "0 or 1", 1),
    };
    if found <= max {
        return Ok(());
    }
    Err(Rejection::CommitteeIndex { field: "attestation.index", found, since, allowed })
}

fn within(field: &'static str, found: u64, max: u64) -> Result<(), Rejection> {
    if found <= max { Ok(()) } else { Err(Rejection::FutureDuty { field, found, max }) }
}
