//! The oracle: a signer that remembers all that ever left, and compares each with all before.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::eth::{Duty, SigningRoot};
use slashing_db::{CountedKind, KeyRecord};

#[derive(Default)]
pub(super) struct History {
    pub(super) votes: BTreeSet<(u64, u64, SigningRoot)>,
    pub(super) blocks: BTreeMap<u64, SigningRoot>,
    pub(super) exits: BTreeSet<SigningRoot>,
    pub(super) deposits: BTreeSet<SigningRoot>,
}

/// Source and target of a vote.
pub(super) fn epochs(duty: &Duty) -> Option<(u64, u64)> {
    match duty {
        Duty::Attestation(vote) => Some((vote.source.epoch.0, vote.target.epoch.0)),
        _ => None,
    }
}

impl History {
    /// Why this must never leave, given all that has left.
    pub(super) fn conflict(&self, duty: &Duty, root: SigningRoot) -> Option<&'static str> {
        if let Some((source, target)) = epochs(duty) {
            return self.votes.iter().find_map(|&(its_source, its_target, its_root)| {
                if target == its_target && root != its_root {
                    Some("double vote")
                } else if source < its_source && target > its_target {
                    Some("surrounds an earlier vote")
                } else if source > its_source && target < its_target {
                    Some("surrounded by an earlier vote")
                } else {
                    None
                }
            });
        }
        match duty {
            Duty::BlockV2(block) => match self.blocks.get(&block.slot().0) {
                Some(signed) if *signed != root => Some("double proposal"),
                Some(_) | None => None,
            },
            _ => None,
        }
    }

    pub(super) fn add(&mut self, duty: &Duty, root: SigningRoot) {
        match duty {
            Duty::Attestation(vote) => {
                self.votes.insert((vote.source.epoch.0, vote.target.epoch.0, root));
            }
            Duty::BlockV2(block) => {
                self.blocks.insert(block.slot().0, root);
            }
            Duty::VoluntaryExit(_) => {
                self.exits.insert(root);
            }
            Duty::Deposit(_) => {
                self.deposits.insert(root);
            }
            _ => {}
        }
    }

    /// Why what leaves now is not covered by what is durable now.
    pub(super) fn uncovered(
        &self,
        duty: &Duty,
        root: SigningRoot,
        sequence: Option<u64>,
        durable: &KeyRecord,
    ) -> Option<String> {
        let (is_covered, number) = match duty {
            Duty::Attestation(vote) => {
                let (source, target) = (vote.source.epoch.0, vote.target.epoch.0);
                durable.attestation.map_or((false, 0), |it| {
                    let is_same = it.signing_root.0 == root.0 || it.signing_root.is_null();
                    let is_covered = it.source_epoch >= source
                        && (it.target_epoch > target || (it.target_epoch == target && is_same));
                    (is_covered, it.sequence)
                })
            }
            Duty::BlockV2(block) => durable.block.map_or((false, 0), |it| {
                let is_same = it.signing_root.0 == root.0 || it.signing_root.is_null();
                let slot = block.slot().0;
                (it.slot > slot || (it.slot == slot && is_same), it.sequence)
            }),
            Duty::VoluntaryExit(_) | Duty::Deposit(_) => {
                let (kind, roots) = match duty {
                    Duty::VoluntaryExit(_) => (CountedKind::VoluntaryExit, &self.exits),
                    _ => (CountedKind::Deposit, &self.deposits),
                };
                let distinct = roots.len() + usize::from(!roots.contains(&root));
                durable.counted[kind as usize]
                    .map_or((false, 0), |it| (it.count as usize >= distinct, it.sequence))
            }
            _ => return sequence.map(|number| format!("record {number} of an unrecorded duty")),
        };
        let is_numbered = sequence.is_some_and(|it| it <= number);
        (!is_covered || !is_numbered).then(|| format!("number {sequence:?}, on disk {durable:?}"))
    }
}
