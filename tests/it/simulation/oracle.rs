//! What must hold, kept apart from the product: the complete history of what left, and of what was
//! admitted.

use std::collections::{BTreeMap, HashMap};

use portcullis::eth::{Duty, SigningRoot};
use slashing_db::{KeyRecord, LeaseLapsed};

use super::chain::{SLOT_NS, SLOTS_PER_EPOCH};

/// A slashable message in plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Vote { source: u64, target: u64 },
    Block { slot: u64 },
}

impl Said {
    pub(super) fn of(duty: &Duty) -> Option<Self> {
        match duty {
            Duty::Attestation(data) => {
                Some(Self::Vote { source: data.source.epoch.0, target: data.target.epoch.0 })
            }
            Duty::BlockV2(block) => Some(Self::Block { slot: block.slot().0 }),
            _ => None,
        }
    }
}

/// Everything that left for one key, ever, whoever sent it.
#[derive(Default)]
struct Left {
    votes: BTreeMap<u64, (u64, SigningRoot)>,
    blocks: BTreeMap<u64, SigningRoot>,
}

/// The signer's side: what was signed, complete, across every crash and owner.
#[derive(Default)]
pub(super) struct Signer {
    keys: HashMap<usize, Left>,
    pub(super) signed: u64,
}

impl Signer {
    /// Signs, unless this is what must never happen. `durable`: what the disk of the gate that asks
    /// holds for the key at this moment.
    pub(super) fn sign(
        &mut self,
        key: usize,
        said: Option<Said>,
        root: SigningRoot,
        durable: &KeyRecord,
    ) {
        self.signed += 1;
        let left = self.keys.entry(key).or_default();
        match said {
            None => {}
            Some(Said::Vote { source, target }) => {
                assert!(covers_vote(durable, source, target, root), "left unrecorded: {durable:?}");
                if let Some((_, other)) = left.votes.get(&target) {
                    assert_eq!(*other, root, "double vote of key {key}, target {target}");
                }
                // The spec's surround, against every earlier vote that can take part in one.
                let surrounding = left.votes.range(target + 1..).any(|(_, it)| it.0 < source);
                let surrounded = source < target
                    && left.votes.range(source + 1..target).any(|(_, it)| it.0 > source);
                assert!(!surrounding && !surrounded, "surround of key {key}: {source}, {target}");
                left.votes.insert(target, (source, root));
            }
            Some(Said::Block { slot }) => {
                assert!(covers_block(durable, slot, root), "left unrecorded: {durable:?}");
                let first = *left.blocks.entry(slot).or_insert(root);
                assert_eq!(first, root, "double proposal of key {key}, slot {slot}");
            }
        }
    }

    /// Whether a store that was just loaded has all that ever left for `key`.
    pub(super) fn assert_remembered(&self, key: usize, loaded: Option<&KeyRecord>) {
        let Some(left) = self.keys.get(&key) else { return };
        if let Some((target, (source, root))) = left.votes.last_key_value() {
            let loaded = loaded.expect("a key that signed is in the store");
            assert!(covers_vote(loaded, *source, *target, *root), "forgotten: {loaded:?}");
        }
        if let Some((slot, root)) = left.blocks.last_key_value() {
            let loaded = loaded.expect("a key that signed is in the store");
            assert!(covers_block(loaded, *slot, *root), "forgotten: {loaded:?}");
        }
    }
}

fn covers_vote(record: &KeyRecord, source: u64, target: u64, root: SigningRoot) -> bool {
    record.attestation.is_some_and(|held| {
        let is_it = held.signing_root.0 == root.0 || held.signing_root.is_null();
        held.source_epoch >= source
            && (held.target_epoch > target || held.target_epoch == target && is_it)
    })
}

fn covers_block(record: &KeyRecord, slot: u64, root: SigningRoot) -> bool {
    record.block.is_some_and(|held| {
        held.slot > slot
            || held.slot == slot && (held.signing_root.0 == root.0 || held.signing_root.is_null())
    })
}

/// What stands against a message of a key in a running gate, in a naive model: every message that
/// was admitted, none forgotten.
#[derive(Clone, Default)]
pub(super) struct Admitted {
    pub(super) is_enrolled: bool,
    pub(super) is_enabled: bool,
    votes: Vec<(u64, u64)>,
    blocks: Vec<u64>,
}

impl Admitted {
    /// What a gate that has just opened knows: the disk's record.
    pub(super) fn loaded(record: &KeyRecord) -> Self {
        Self {
            is_enrolled: true,
            is_enabled: record.is_enabled,
            votes: record.attestation.iter().map(|it| (it.source_epoch, it.target_epoch)).collect(),
            blocks: record.block.iter().map(|it| it.slot).collect(),
        }
    }

    pub(super) fn add(&mut self, said: Said) {
        match said {
            Said::Vote { source, target } => self.votes.push((source, target)),
            Said::Block { slot } => self.blocks.push(slot),
        }
    }
}

/// The circumstances of an answer.
pub(super) struct Circumstances<'a> {
    pub(super) admitted: &'a Admitted,
    /// The slot and epoch by the gate's wall clock, and the slot that one slot ahead of it falls in.
    pub(super) slot: u64,
    pub(super) reach_slot: u64,
    /// What the last renewal reserved at least.
    pub(super) reserved_epoch: u64,
    pub(super) reserved_slot: u64,
    pub(super) waiting: usize,
    pub(super) places: usize,
    pub(super) is_poisoned: bool,
}

/// Whether `code` is true: a refusal whose reason does not hold is a duty lost without reason.
pub(super) fn explains(code: &str, duty: &Duty, it: &Circumstances<'_>) -> bool {
    let epoch_min = (it.slot / SLOTS_PER_EPOCH).saturating_sub(super::process::TARGET_AGE_MAX);
    let reach_epoch = it.reach_slot / SLOTS_PER_EPOCH;
    match code {
        "unknown_key" => return !it.admitted.is_enrolled,
        "key_disabled" => return !it.admitted.is_enabled,
        "store_poisoned" | "closing" => return it.is_poisoned,
        "future_duty" => {
            let slot = duty.slot().map_or(0, |slot| slot.0);
            let epoch = match duty {
                Duty::RandaoReveal(reveal) => reveal.epoch.0,
                _ => slot / SLOTS_PER_EPOCH,
            };
            return slot > it.reach_slot || epoch > reach_epoch;
        }
        _ => {}
    }
    match Said::of(duty) {
        None => false,
        Some(Said::Vote { source, target }) => {
            let mut votes = it.admitted.votes.iter();
            match code {
                "double_vote" => votes.any(|held| held.1 == target),
                "surround_or_stale_source" => votes.any(|held| {
                    held.0 > source && held.1 < target
                        || held.0 < source && held.1 > target
                        || held.0 > source
                }),
                "stale_target" => votes.any(|held| held.1 > target),
                "past_duty" | "target_too_old" => target < epoch_min,
                "source_exceeds_target" => source >= target,
                "not_reserved" => target > it.reserved_epoch,
                "overloaded" => it.waiting >= it.places - it.places / 8,
                _ => false,
            }
        }
        Some(Said::Block { slot }) => {
            let mut blocks = it.admitted.blocks.iter();
            match code {
                "double_block_proposal" => blocks.any(|held| *held == slot),
                "stale_slot" => blocks.any(|held| *held > slot),
                "not_reserved" => slot > it.reserved_slot,
                "overloaded" => it.waiting >= it.places,
                _ => false,
            }
        }
    }
}

/// The lease as the witness granted it, kept apart from the product's own word.
#[derive(Default)]
pub(super) struct LeaseModel {
    until_ns: u64,
    is_over: bool,
}

impl LeaseModel {
    pub(super) fn renewed(&mut self, boot_ns: u64) {
        self.until_ns = boot_ns + 10_000_000_000;
    }

    pub(super) fn is_live(&self, boot_ns: u64) -> bool {
        !self.is_over && boot_ns < self.until_ns
    }

    /// Ended for good: the store failed, or a signature was refused for a lapsed lease.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// Holds what `redeem` said against the model.
    pub(super) fn judge(&mut self, boot_ns: u64, verdict: Option<LeaseLapsed>) {
        let is_live = self.is_live(boot_ns);
        assert_eq!(verdict.is_none(), is_live, "the lease at {boot_ns}: {verdict:?}");
        if !is_live {
            self.end();
        }
    }
}

/// The slot in which `unix_ns` falls.
pub(super) fn slot_of(unix_ns: u64) -> u64 {
    unix_ns.saturating_sub(super::chain::GENESIS_S * 1_000_000_000) / SLOT_NS
}
