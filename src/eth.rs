//! The consensus specification, and nothing of ours.
//!
//! The messages a validator signs, how their hash tree roots and signing roots are computed in
//! every fork, and what a network is: its preset, its genesis and its fork schedule. This module
//! uses nothing else of the crate.
//!
//! | to find | look in |
//! |---|---|
//! | public keys, roots, slots, versions | [`types`] |
//! | what a validator can be asked to sign | [`duty`] |
//! | the phase0 and altair block with its whole body | [`block`] |
//! | domains, forks | [`domain`] |
//! | networks and their fork schedules | [`network`] |
//! | the root that is signed | [`mod@signing_root`] |
//! | SSZ: bit fields, Merkle trees | [`bits`], [`merkle`], [`progressive`] |

pub mod bits;
pub mod block;
pub mod domain;
pub mod duty;
pub mod merkle;
pub mod network;
pub mod progressive;
pub mod signing_root;
pub mod types;

pub use domain::{Domain, DomainType, Fork, ForkInfo};
pub use duty::{Duty, DutyKind};
pub use network::{ForkName, Network, Preset};
pub use signing_root::{RootError, effective_fork_version, signing_root};
pub use types::{Epoch, PublicKey, Root, Signature, SigningRoot, Slot, Version};
