//! Slashable pairs in a signing log (consensus-specs, `is_slashable_attestation_data` and
//! `process_proposer_slashing`).

use std::collections::HashMap;

use super::Entry;
use crate::dev_signer::hex::Hex;
use crate::dev_signer::sign_type::SignType;

/// Two entries of one key for which a validator would be slashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Two attestations with one target epoch and different roots.
    DoubleVote(Box<[Entry; 2]>),
    /// The first attestation surrounds the second, whichever was signed first.
    SurroundVote(Box<[Entry; 2]>),
    /// Two blocks with one slot and different roots.
    DoubleProposal(Box<[Entry; 2]>),
}

/// Finds the conflicts in a log: at least one for each entry that conflicts with another, not every
/// pair. What counts is what the signer was asked to sign, so that an answer which a fault changed
/// or withheld is evidence too. An empty result proves that no two requests conflicted.
pub fn find_conflicts(entries: &[Entry]) -> Vec<Conflict> {
    let mut votes: HashMap<Hex<48>, Vec<Vote<'_>>> = HashMap::new();
    let mut blocks: HashMap<(Hex<48>, u64), &Entry> = HashMap::new();
    let mut conflicts = Vec::new();
    for entry in entries {
        if let Some(vote) = Vote::of(entry) {
            votes.entry(entry.pubkey).or_default().push(vote);
        }
        if let Some(slot) = proposal_slot(entry) {
            let first = *blocks.entry((entry.pubkey, slot)).or_insert(entry);
            if first.signing_root != entry.signing_root {
                conflicts.push(Conflict::DoubleProposal(pair(first, entry)));
            }
        }
    }
    for votes in votes.values_mut() {
        find_double_votes(votes, &mut conflicts);
        find_surround_votes(votes, &mut conflicts);
    }
    conflicts.sort_by_key(Conflict::last_seq);
    conflicts
}

impl Conflict {
    /// The two entries.
    pub fn entries(&self) -> &[Entry; 2] {
        match self {
            Self::DoubleVote(pair) | Self::SurroundVote(pair) | Self::DoubleProposal(pair) => pair,
        }
    }

    fn last_seq(&self) -> u64 {
        let [first, second] = self.entries();
        first.seq.max(second.seq)
    }
}

#[derive(Clone, Copy)]
struct Vote<'a> {
    source: u64,
    target: u64,
    entry: &'a Entry,
}

impl<'a> Vote<'a> {
    fn of(entry: &'a Entry) -> Option<Self> {
        if entry.sign_type != SignType::Attestation {
            return None;
        }
        let source = entry.subject.source_epoch?;
        Some(Self { source, target: entry.subject.target_epoch?, entry })
    }
}

fn proposal_slot(entry: &Entry) -> Option<u64> {
    let proposal = matches!(entry.sign_type, SignType::Block | SignType::BlockV2);
    entry.subject.slot.filter(|_| proposal)
}

fn find_double_votes(votes: &[Vote<'_>], conflicts: &mut Vec<Conflict>) {
    let mut first_of: HashMap<u64, &Entry> = HashMap::new();
    for vote in votes {
        let first = *first_of.entry(vote.target).or_insert(vote.entry);
        if first.signing_root != vote.entry.signing_root {
            conflicts.push(Conflict::DoubleVote(pair(first, vote.entry)));
        }
    }
}

/// A vote is surrounded when one with a smaller source has a larger target. With the votes in the
/// order of their sources, the largest target among the smaller sources is the only one to compare
/// with.
fn find_surround_votes(votes: &mut [Vote<'_>], conflicts: &mut Vec<Conflict>) {
    votes.sort_by_key(|vote| (vote.source, vote.entry.seq));
    let mut widest: Option<Vote<'_>> = None;
    for same_source in votes.chunk_by(|a, b| a.source == b.source) {
        if let Some(outer) = widest {
            for inner in same_source.iter().filter(|inner| inner.target < outer.target) {
                conflicts.push(Conflict::SurroundVote(pair(outer.entry, inner.entry)));
            }
        }
        widest = same_source.iter().copied().chain(widest).max_by_key(|vote| vote.target);
    }
}

fn pair(first: &Entry, second: &Entry) -> Box<[Entry; 2]> {
    Box::new([first.clone(), second.clone()])
}
