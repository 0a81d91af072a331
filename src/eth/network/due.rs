//! When in its slot a duty is due.
//!
//! consensus-specs, `configs/mainnet.yaml`, "Time parameters": basis points of a slot, with an
//! earlier set from Gloas on (EIP-7732), because the payload is revealed in the second half.

use std::time::Duration;

use super::{ForkName, Network};
use crate::eth::duty::DutyKind;
use crate::eth::types::Epoch;

/// Basis points of a slot at which duties are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueBps {
    /// `ATTESTATION_DUE_BPS`
    pub attestation: u64,
    /// `AGGREGATE_DUE_BPS`
    pub aggregate: u64,
    /// `SYNC_MESSAGE_DUE_BPS`
    pub sync_message: u64,
    /// `CONTRIBUTION_DUE_BPS`
    pub contribution: u64,
}

/// The two sets of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTimes {
    /// Until Gloas.
    pub before_gloas: DueBps,
    /// `..._DUE_BPS_GLOAS`
    pub from_gloas: DueBps,
}

impl DueTimes {
    /// Those of every network that says nothing else.
    pub const USUAL: Self = Self {
        before_gloas: DueBps {
            attestation: 3_333,
            aggregate: 6_667,
            sync_message: 3_333,
            contribution: 6_667,
        },
        from_gloas: DueBps {
            attestation: 2_500,
            aggregate: 5_000,
            sync_message: 2_500,
            contribution: 5_000,
        },
    };
}

impl Network {
    /// How long after the start of its slot a duty of this kind is due in `epoch`; zero for what is
    /// due at once, or at no time.
    pub fn due(&self, kind: DutyKind, epoch: Epoch) -> Duration {
        let times = match self.fork_at(epoch) {
            ForkName::Phase0
            | ForkName::Altair
            | ForkName::Bellatrix
            | ForkName::Capella
            | ForkName::Deneb
            | ForkName::Electra
            | ForkName::Fulu => self.due_times.before_gloas,
            ForkName::Gloas | ForkName::Heze => self.due_times.from_gloas,
        };
        let bps = match kind {
            DutyKind::Attestation => times.attestation,
            DutyKind::AggregateAndProof | DutyKind::AggregateAndProofV2 => times.aggregate,
            DutyKind::SyncCommitteeMessage => times.sync_message,
            DutyKind::SyncCommitteeContributionAndProof => times.contribution,
            DutyKind::Block
            | DutyKind::BlockV2
            | DutyKind::RandaoReveal
            | DutyKind::Deposit
            | DutyKind::VoluntaryExit
            | DutyKind::AggregationSlot
            | DutyKind::SyncCommitteeSelectionProof
            | DutyKind::ValidatorRegistration => 0,
        };
        let ms = u64::try_from(self.slot_duration().as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(ms.saturating_mul(bps) / BASIS_POINTS)
    }
}

/// `BASIS_POINTS`
pub(super) const BASIS_POINTS: u64 = 10_000;
