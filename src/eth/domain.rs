//! Domains: what keeps a signature for one purpose, fork or network from being good for another.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::merkle::hash_pair;
use super::types::{Epoch, Root, SigningRoot, Version, write_hex};

/// The purpose of a signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DomainType(pub [u8; 4]);

impl DomainType {
    /// Blocks.
    pub const BEACON_PROPOSER: Self = Self([0x00, 0, 0, 0]);
    /// Attestations.
    pub const BEACON_ATTESTER: Self = Self([0x01, 0, 0, 0]);
    /// RANDAO reveals.
    pub const RANDAO: Self = Self([0x02, 0, 0, 0]);
    /// Deposits.
    pub const DEPOSIT: Self = Self([0x03, 0, 0, 0]);
    /// Voluntary exits.
    pub const VOLUNTARY_EXIT: Self = Self([0x04, 0, 0, 0]);
    /// Proofs of being selected as an aggregator of attestations.
    pub const SELECTION_PROOF: Self = Self([0x05, 0, 0, 0]);
    /// Aggregated attestations.
    pub const AGGREGATE_AND_PROOF: Self = Self([0x06, 0, 0, 0]);
    /// Sync committee messages.
    pub const SYNC_COMMITTEE: Self = Self([0x07, 0, 0, 0]);
    /// Proofs of being selected as an aggregator of sync committee messages.
    pub const SYNC_COMMITTEE_SELECTION_PROOF: Self = Self([0x08, 0, 0, 0]);
    /// Aggregated sync committee messages.
    pub const CONTRIBUTION_AND_PROOF: Self = Self([0x09, 0, 0, 0]);
    /// Registrations at block builders (builder-specs).
    pub const APPLICATION_BUILDER: Self = Self([0x00, 0, 0, 0x01]);
}

impl fmt::Debug for DomainType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// A domain type bound to a fork version and a network.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Domain([u8; 32]);

impl Domain {
    /// `compute_domain` of the phase0 specification.
    pub fn compute(kind: DomainType, version: Version, genesis_validators_root: &Root) -> Self {
        let mut current_version = Root::ZERO;
        current_version.0[..4].copy_from_slice(&version.0);
        let fork_data_root = hash_pair(&current_version, genesis_validators_root);
        let mut domain = [0; 32];
        domain[..4].copy_from_slice(&kind.0);
        domain[4..].copy_from_slice(&fork_data_root.0[..28]);
        Self(domain)
    }

    /// `compute_signing_root` of the phase0 specification.
    pub fn signing_root(&self, object_root: &Root) -> SigningRoot {
        SigningRoot(hash_pair(object_root, &Root(self.0)).0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// A fork as a beacon state names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The version before `epoch`.
    pub previous_version: Version,
    /// The version from `epoch` on.
    pub current_version: Version,
    /// When the version changed. Some clients name the epoch of the message instead, so this need
    /// not be an epoch of the schedule.
    pub epoch: Epoch,
}

impl Fork {
    /// The version of a message of `epoch` (`get_domain` of the phase0 specification).
    pub fn version_at(&self, epoch: Epoch) -> Version {
        if epoch < self.epoch { self.previous_version } else { self.current_version }
    }
}

/// The fork and the network that a request is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkInfo {
    /// The fork.
    pub fork: Fork,
    /// The network, by the root of its first validators.
    pub genesis_validators_root: Root,
}
