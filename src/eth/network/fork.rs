//! The forks by name.

use std::fmt;
use std::str::FromStr;

use crate::eth::types::{Epoch, Version};

/// A fork of the consensus layer, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForkName {
    /// Phase 0.
    Phase0,
    /// Altair.
    Altair,
    /// Bellatrix.
    Bellatrix,
    /// Capella.
    Capella,
    /// Deneb.
    Deneb,
    /// Electra.
    Electra,
    /// Fulu.
    Fulu,
    /// Gloas.
    Gloas,
    /// Heze.
    Heze,
}

/// A fork of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledFork {
    /// Which one.
    pub name: ForkName,
    /// Its version on this network.
    pub version: Version,
    /// Its first epoch; `None` while it has no date.
    pub epoch: Option<Epoch>,
}

/// A name that no fork has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a fork")]
pub struct UnknownFork;

impl ForkName {
    /// Every fork, in order.
    pub const ALL: [Self; 9] = [
        Self::Phase0,
        Self::Altair,
        Self::Bellatrix,
        Self::Capella,
        Self::Deneb,
        Self::Electra,
        Self::Fulu,
        Self::Gloas,
        Self::Heze,
    ];

    /// The generalized index of `execution_payload.fee_recipient` in a block's body: field 9 of up
    /// to 16, and in it field 1 of up to 16, from Deneb on of up to 32. A blinded body has its
    /// payload's header in the same place. From Gloas on the body has no payload (EIP-7732).
    pub const fn fee_recipient_index(self) -> Option<u64> {
        match self {
            Self::Phase0 | Self::Altair | Self::Gloas | Self::Heze => None,
            Self::Bellatrix | Self::Capella => Some((16 + 9) * 16 + 1),
            Self::Deneb | Self::Electra | Self::Fulu => Some((16 + 9) * 32 + 1),
        }
    }

    /// The name as requests spell it in `version`, in upper case.
    pub const fn as_upper(self) -> &'static str {
        match self {
            Self::Phase0 => "PHASE0",
            Self::Altair => "ALTAIR",
            Self::Bellatrix => "BELLATRIX",
            Self::Capella => "CAPELLA",
            Self::Deneb => "DENEB",
            Self::Electra => "ELECTRA",
            Self::Fulu => "FULU",
            Self::Gloas => "GLOAS",
            Self::Heze => "HEZE",
        }
    }

    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phase0 => "phase0",
            Self::Altair => "altair",
            Self::Bellatrix => "bellatrix",
            Self::Capella => "capella",
            Self::Deneb => "deneb",
            Self::Electra => "electra",
            Self::Fulu => "fulu",
            Self::Gloas => "gloas",
            Self::Heze => "heze",
        }
    }
}

impl fmt::Display for ForkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ForkName {
    type Err = UnknownFork;

    /// In any case.
    fn from_str(name: &str) -> Result<Self, UnknownFork> {
        let same = |fork: &Self| fork.as_str().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(same).ok_or(UnknownFork)
    }
}
