//! One live copy: what a store's owner writes down outside the store, and who may open it.
//!
//! A directory can be copied, restored from a snapshot, or started twice. The store cannot tell;
//! the witness can, because it is somewhere else. It names the one owner of a network's key set by
//! generation and nonce, and follows what the owner signs: the owner reserves epochs and slots in
//! it ahead of signing, and renews its [lease](crate::lease) with the audit sequence that is
//! durable by then. Who opens a store compares it with the witness ([`plan_open`]) and claims the
//! next generation. Only then, and only under a lease, it signs.
//!
//! What the owner must do, in this order, for the comparison to mean anything:
//!
//! 1. open: [`OpenPlan::pend`] durable in the store, [`OpenPlan::claim`] by compare-and-set at the
//!    witness, [`OpenPlan::confirm`] durable in the store, then the first renewal;
//! 2. reserve: durable in the store first, then at the witness, then signed for;
//! 3. renew: only a sequence that is durable in the store;
//! 4. seal: no signature any more, seal durable in the store, then at the witness.
//!
//! A witness file on the same machine is no protection against that whole machine being rolled
//! back. And one window is left: what was signed since the last renewal before a kill, at most
//! [`RENEW_INTERVAL_NS`](crate::lease::RENEW_INTERVAL_NS) (1 s) of signatures, the witness has not
//! heard of; a snapshot that lacks just those, restored instead of the owner, looks like the owner.
//! After a clean stop there is no such window, because the seal holds the last sequence.

mod encoding;
mod file;
mod open;
pub mod testing;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

pub use encoding::Garbled;
pub use file::{WitnessFile, read_file};
pub use open::{Local, OpenPlan, OpenRefused, Stale, plan_open, plan_takeover};
use serde::{Deserialize, Serialize};

use crate::lease::{BootTime, LEASE_NS};
use crate::signed::GenesisValidatorsRoot;

/// The way back from a store or a witness that is lost, for the person who reads an error.
pub(crate) const BEGIN_ANEW: &str = "stop every other signer of these keys for good, move the \
    store's directory and its witness aside, run `portcullis slashing init`, then `portcullis keys \
    enrol --floor`";

/// Version of the witness that is read and written.
pub const WITNESS_VERSION: u64 = 1;

/// Declares sixteen random bytes written as 32 hexadecimal digits.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A new one from the kernel's random numbers.
            ///
            /// # Errors
            /// When the kernel gives none.
            pub fn random() -> std::io::Result<Self> {
                let mut bytes = [0; 16];
                let mut filled = 0;
                while filled < bytes.len() {
                    let rest = &mut bytes[filled..];
                    filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
                }
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }
    };
}

random_id! {
    /// The name of a store, drawn when it is created.
    StoreId
}

random_id! {
    /// The name of one opening of a store, drawn for each.
    OwnerNonce
}

/// What a witness is about: the keys of one set on one network have one live store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binding {
    network: String,
    key_set: String,
    genesis_validators_root: GenesisValidatorsRoot,
}

/// A network or key set whose name cannot be the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no name for a network or key set: 1 to 64 of a-z, 0-9, '-', '_' and no more")]
pub struct BadName {
    /// The name.
    pub name: String,
}

impl Binding {
    /// Binds a key set to its network.
    ///
    /// # Errors
    /// [`BadName`]: choose another name.
    pub fn new(
        network: &str,
        key_set: &str,
        genesis_validators_root: GenesisValidatorsRoot,
    ) -> Result<Self, BadName> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        for name in [network, key_set] {
            if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
                return Err(BadName { name: name.to_owned() });
            }
        }
        let (network, key_set) = (network.to_owned(), key_set.to_owned());
        Ok(Self { network, key_set, genesis_validators_root })
    }

    /// The name of the network.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The name of the key set.
    pub fn key_set(&self) -> &str {
        &self.key_set
    }

    /// The chain.
    pub fn genesis_validators_root(&self) -> GenesisValidatorsRoot {
        self.genesis_validators_root
    }

    /// The name of the witness file in its directory. `.` keeps the two names apart.
    pub fn file_name(&self) -> String {
        format!("{}.{}.witness.json", self.network, self.key_set)
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "key set {} on {}", self.key_set, self.network)?;
        write!(out, " (genesis validators root {})", self.genesis_validators_root)
    }
}

/// One opening of a store: its place in the row, and a nonce that tells twins apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Counts the openings of the store.
    pub generation: u64,
    /// Drawn for this opening.
    pub nonce: OwnerNonce,
}

/// The last epoch and slot that the owner may sign for. Never lowered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservedThrough {
    /// The highest target epoch.
    pub epoch: u64,
    /// The highest slot of a block.
    pub slot: u64,
}

impl ReservedThrough {
    /// The higher epoch and the higher slot of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { epoch: self.epoch.max(other.epoch), slot: self.slot.max(other.slot) }
    }

    /// Whether this reserves all that `other` does.
    pub fn covers(&self, other: &Self) -> bool {
        self.epoch >= other.epoch && self.slot >= other.slot
    }
}

/// The machine that a process runs on, and the time there. Passed in: nothing here reads a clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    /// The kernel's boot id, `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// `CLOCK_BOOTTIME`, only comparable within one boot.
    pub boot_time: BootTime,
    /// Seconds since 1970.
    pub unix_seconds: u64,
}

/// A lease as the witness knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseGrant {
    /// The boot id of the owner's machine.
    pub boot_id: String,
    /// When it ends there, in nanoseconds of `CLOCK_BOOTTIME`.
    pub until_boot_ns: u64,
    /// When it ends for all others, in seconds since 1970.
    pub until_unix_seconds: u64,
}

impl LeaseGrant {
    /// A lease of [`LEASE_NS`] from the given moment.
    pub fn from(host: &Host) -> Self {
        Self {
            boot_id: host.boot_id.clone(),
            until_boot_ns: host.boot_time.lease_end().0,
            // One second more: the seconds were cut off, not rounded.
            until_unix_seconds: host.unix_seconds.saturating_add(LEASE_NS / 1_000_000_000 + 1),
        }
    }
}

/// Another machine holds an unexpired lease. Wait until it ends, or stop the gate there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a gate on another machine (or before this one's reboot) holds the lease for \
     {seconds_left} s more, until {until_unix_seconds} (unix time): wait until then, and make \
     sure that the other gate is stopped"
)]
pub struct LeaseHeld {
    /// The boot id of the holder's machine.
    pub boot_id: String,
    /// When it ends, in seconds since 1970.
    pub until_unix_seconds: u64,
    /// From now until then.
    pub seconds_left: u64,
}

/// What the witness knows of the one live store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WitnessState {
    /// The network and key set.
    pub binding: Binding,
    /// The store that owns them.
    pub store: StoreId,
    /// Its last opening.
    pub claim: Claim,
    /// The owner's lease: none from the claim until the opening is confirmed, and after the seal.
    pub lease: Option<LeaseGrant>,
    /// What the owner may sign for.
    pub reserved_through: ReservedThrough,
    /// The highest audit sequence that was durable in the store at the last renewal.
    pub sequence: u64,
    /// Whether the owner stopped cleanly, so that `sequence` is the last.
    pub sealed: bool,
    /// When this was last written, in seconds since 1970.
    pub last_unix_seconds: u64,
}

impl WitnessState {
    /// Of a store that was just created and has signed nothing: generation 0, sealed.
    pub fn of_new_store(binding: Binding, store: StoreId, nonce: OwnerNonce, now: &Host) -> Self {
        Self {
            binding,
            store,
            claim: Claim { generation: 0, nonce },
            lease: None,
            reserved_through: ReservedThrough::default(),
            sequence: 0,
            sealed: true,
            last_unix_seconds: now.unix_seconds,
        }
    }

    /// After a renewal: a new lease from `now`, and what is durable in the store. Nothing falls.
    ///
    /// `now` must have been read before the witness is written. The owner may sign under the lease,
    /// until [`BootTime::lease_end`] of it, once the compare-and-set has succeeded.
    #[must_use]
    pub fn renewed(&self, now: &Host, reserved_through: ReservedThrough, sequence: u64) -> Self {
        Self {
            lease: Some(LeaseGrant::from(now)),
            reserved_through: self.reserved_through.max(reserved_through),
            sequence: self.sequence.max(sequence),
            sealed: false,
            last_unix_seconds: self.last_unix_seconds.max(now.unix_seconds),
            ..self.clone()
        }
    }

    /// After a clean stop: no lease, and `sequence` is the last that the store has.
    #[must_use]
    pub fn sealed(&self, now: &Host, sequence: u64) -> Self {
        Self {
            lease: None,
            sequence: self.sequence.max(sequence),
            sealed: true,
            last_unix_seconds: self.last_unix_seconds.max(now.unix_seconds),
            ..self.clone()
        }
    }

    /// Whether another machine may still be signing under its lease.
    ///
    /// On this machine the lease does not count: there the lock on the witness file tells the
    /// living from the dead, so that a killed gate starts again without waiting. A reboot makes
    /// another machine of this one; what is left of ten seconds is waited for.
    ///
    /// # Errors
    /// [`LeaseHeld`] if so.
    pub fn check_lease(&self, here: &Host) -> Result<(), LeaseHeld> {
        match &self.lease {
            Some(lease)
                if lease.boot_id != here.boot_id
                    && here.unix_seconds < lease.until_unix_seconds =>
            {
                Err(LeaseHeld {
                    boot_id: lease.boot_id.clone(),
                    until_unix_seconds: lease.until_unix_seconds,
                    seconds_left: lease.until_unix_seconds - here.unix_seconds,
                })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Where the witness is kept: a file now, something off the machine later.
///
/// Implementations exclude a second owner on the same machine, as the lock of [`WitnessFile`]
/// does: [`WitnessState::check_lease`] leaves that to them, and one without such a lock must make
/// openers of the same boot wait for [`LeaseGrant::until_boot_ns`].
pub trait Witness: Send {
    /// What the witness says now.
    ///
    /// # Errors
    /// [`WitnessError`] when there is none or it cannot be believed. Never treat that as "nothing
    /// was signed".
    fn read(&self) -> Result<WitnessState, WitnessError>;

    /// Replaces `expected` by `next`, durably, or nothing.
    ///
    /// Calling again with the same two after an error is safe: it also succeeds where `next` is
    /// already there.
    ///
    /// # Errors
    /// [`WitnessError::Changed`]: somebody else owns the store, sign nothing more. After any other
    /// error it is not known which of the two is there; renewals may be tried again until the lease
    /// ends.
    fn compare_and_set(
        &mut self,
        expected: &WitnessState,
        next: &WitnessState,
    ) -> Result<(), WitnessError>;
}

/// Why there is no word from the witness.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// No file. Only `slashing init` creates one.
    #[error(
        "no witness at {}: without it nobody knows whether this store is the live copy. If it was \
         moved, set slashing.witness to where it is now; if it is lost, {}",
        .path.display(),
        BEGIN_ANEW
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is one already.
    #[error(
        "there is a witness at {} already: these keys have a store. Use that store; if it is lost, \
         {}",
        .path.display(),
        BEGIN_ANEW
    )]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// Cut off, changed by hand, or no witness at all.
    #[error(
        "the witness at {} cannot be believed: {problem}. Do not delete it: repair the disk; if it \
         cannot be repaired, {}",
        .path.display(),
        BEGIN_ANEW
    )]
    Garbled {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        problem: Garbled,
    },
    /// A process on this machine holds the lock: the owner, alive or suspended.
    #[error(
        "another process on this machine owns the witness at {}: stop that gate first (a \
        suspended one owns it too)",
        .path.display()
    )]
    Owned {
        /// Where the witness is.
        path: PathBuf,
    },
    /// The lock file was deleted or replaced under its holder.
    #[error(
        "the lock file {} was deleted or replaced while this process held it: another process \
        may own the witness too; stop both, then start one",
        .path.display()
    )]
    LockReplaced {
        /// The lock file.
        path: PathBuf,
    },
    /// The witness would be copied and restored together with the store.
    #[error(
        "the witness {} lies inside the store {}: a copy of the one would be a copy of the other; \
         configure a place outside it, best on another volume",
        .witness.display(),
        .store.display()
    )]
    InsideStore {
        /// The witness.
        witness: PathBuf,
        /// The store's directory.
        store: PathBuf,
    },
    /// Another owner has written since.
    #[error(
        "the witness says generation {}, owner {}, where generation {}, owner {} was expected: \
        another process has taken these keys over; this one must stop",
        .found.claim.generation,
        .found.claim.nonce,
        .expected.claim.generation,
        .expected.claim.nonce
    )]
    Changed {
        /// What the caller believed.
        expected: Box<WitnessState>,
        /// What is there.
        found: Box<WitnessState>,
    },
    /// The file system failed.
    #[error("cannot {action} the witness at {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}
