//! What a gate must never let through, each asked for once.

use super::chain::{Chain, checkpoint, proposal};
use crate::eth::duty::VoluntaryExit;
use crate::eth::{Duty, Epoch, RootError, SigningRoot, Slot};

/// A request that has to be refused.
pub(super) struct Forbidden {
    /// What it is, for a person.
    pub(super) name: &'static str,
    /// What is asked, and what it would cost.
    pub(super) story: String,
    /// Whom it asks.
    pub(super) validator: usize,
    /// The message.
    pub(super) duty: Duty,
    /// The root that the request claims the message has.
    pub(super) claimed: SigningRoot,
    /// The status and the code of the refusal.
    pub(super) expected: (u16, &'static str),
}

/// All of them, after the duties of the slots up to `last` were done; `last` is in another epoch
/// than the slot `before`, whose committee has not voted since.
///
/// # Errors
/// When a message does not fit its fork.
pub(super) fn all(chain: &Chain, before: Slot, last: Slot) -> Result<Vec<Forbidden>, RootError> {
    let mut all = vec![
        double_proposal(chain, last)?,
        double_vote(chain, last)?,
        surround_vote(chain, before, last)?,
        lying_root(chain, before, last)?,
    ];
    all.extend([far_future_vote(chain, before)?, exit(chain, before)?]);
    Ok(all)
}

pub(super) fn double_proposal(chain: &Chain, slot: Slot) -> Result<Forbidden, RootError> {
    let validator = Chain::proposer(slot);
    let duty = proposal(chain.block(slot, 1));
    Ok(Forbidden {
        name: "double proposal",
        story: format!(
            "validator {validator} has proposed in slot {slot}; now another block for it"
        ),
        validator,
        claimed: chain.signing_root(&duty)?,
        duty,
        expected: (412, "double_block_proposal"),
    })
}

pub(super) fn double_vote(chain: &Chain, slot: Slot) -> Result<Forbidden, RootError> {
    let validator = first_of(chain, slot);
    let mut vote = chain.vote(slot);
    let target = vote.target.epoch;
    vote.beacon_block_root = chain.block(slot, 1).tree_hash_root();
    let duty = Duty::Attestation(vote);
    Ok(Forbidden {
        name: "double vote",
        story: format!(
            "validator {validator} has voted in epoch {target}; now for another head in it"
        ),
        validator,
        claimed: chain.signing_root(&duty)?,
        duty,
        expected: (412, "double_vote"),
    })
}

fn surround_vote(chain: &Chain, before: Slot, slot: Slot) -> Result<Forbidden, RootError> {
    let validator = first_of(chain, before);
    let recorded = chain.vote(before);
    let mut vote = chain.vote(slot);
    vote.source = checkpoint(recorded.source.epoch.0 - 1);
    let story = format!(
        "validator {validator} has voted from epoch {} to {}; now from {} to {}, around it",
        recorded.source.epoch, recorded.target.epoch, vote.source.epoch, vote.target.epoch
    );
    let duty = Duty::Attestation(vote);
    Ok(Forbidden {
        name: "surround vote",
        story,
        validator,
        claimed: chain.signing_root(&duty)?,
        duty,
        expected: (412, "surround_or_stale_source"),
    })
}

/// The content of an honest vote with the root of another one: a signer that trusts the client's
/// root would sign what it has not seen.
fn lying_root(chain: &Chain, before: Slot, slot: Slot) -> Result<Forbidden, RootError> {
    let validator = first_of(chain, before);
    let duty = Duty::Attestation(chain.vote(slot));
    let mut other = chain.vote(slot);
    other.beacon_block_root = chain.block(slot, 1).tree_hash_root();
    Ok(Forbidden {
        name: "lying signing root",
        story: format!("an honest vote of validator {validator}, with the signingRoot of another"),
        validator,
        claimed: chain.signing_root(&Duty::Attestation(other))?,
        duty,
        expected: (400, "signing_root_mismatch"),
    })
}

fn far_future_vote(chain: &Chain, before: Slot) -> Result<Forbidden, RootError> {
    let validator = first_of(chain, before);
    let slot = Slot(before.0 + FAR_SLOTS);
    let duty = Duty::Attestation(chain.vote(slot));
    Ok(Forbidden {
        name: "far-future vote",
        story: format!(
            "validator {validator} for epoch {}; signed, it could not vote until then",
            chain.slots.epoch_of(slot)
        ),
        validator,
        claimed: chain.signing_root(&duty)?,
        duty,
        expected: (400, "future_duty"),
    })
}

fn exit(chain: &Chain, before: Slot) -> Result<Forbidden, RootError> {
    let validator = first_of(chain, before);
    let epoch = Epoch(chain.slots.epoch_of(before).0);
    let duty = Duty::VoluntaryExit(VoluntaryExit { epoch, validator_index: validator as u64 });
    Ok(Forbidden {
        name: "voluntary exit",
        story: format!("validator {validator} is to leave for good, which nobody has allowed"),
        validator,
        claimed: chain.signing_root(&duty)?,
        duty,
        expected: (412, "not_permitted"),
    })
}

fn first_of(chain: &Chain, slot: Slot) -> usize {
    *chain.committee(slot).first().expect("every slot has a committee")
}

const FAR_SLOTS: u64 = 8_000;
