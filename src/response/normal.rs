//! What was normal for a key when something else was asked for.

use std::fmt;

use policy::{GroupIndex, Holder};
use serde::{Deserialize, Serialize};

use crate::sign::Gate;
use crate::validators::RowIndex;

/// Who signs for a key, and how that usually looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Normal {
    /// The client that has its lease.
    pub owner: Option<String>,
    /// The one that had it before, where it has moved.
    pub former: Option<String>,
    /// The epoch in which it moved.
    pub since_epoch: Option<u64>,
    /// The last slot in which the owner was signed for.
    pub last_slot: Option<u64>,
    /// Signatures released.
    pub signatures: u32,
    /// When it usually signs, in milliseconds beside the usual time of its source.
    pub usual_ms: Option<i64>,
}

impl Normal {
    /// What is normal for the key in `row`, and its group, once somebody has looked. Takes the
    /// key's lock for a moment: not for what is signed.
    pub fn of(gate: &Gate, row: RowIndex) -> (Self, Option<GroupIndex>) {
        let (holder, group) = gate
            .validators
            .with(row, |validator| (validator.baseline.state.holder(), validator.baseline.group));
        let Holder { owner, former, since_epoch, last_slot, released, usual_ms } = holder;
        let names = &gate.judgement.clients;
        #[allow(clippy::cast_possible_truncation)] // milliseconds of a slot
        let usual_ms = usual_ms.map(|ms| ms as i64);
        let normal = Self {
            owner: owner.and_then(|owner| names.name(owner)),
            former: former.and_then(|former| names.name(former)),
            since_epoch,
            last_slot,
            signatures: released,
            usual_ms,
        };
        (normal, group)
    }
}

impl fmt::Display for Normal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(owner) = &self.owner else { return f.write_str("nobody has signed for it yet") };
        write!(f, "its owner is {owner}")?;
        if let (Some(former), Some(epoch)) = (&self.former, self.since_epoch) {
            write!(f, " (after {former}, since epoch {epoch})")?;
        }
        match self.last_slot {
            Some(slot) => write!(f, ", last signed in slot {slot}"),
            None => Ok(()),
        }
    }
}
