//! The right to have one root signed, once: made here alone, taken by the forwarder.

use std::sync::Arc;

use crate::health::Health;
use crate::lease::{BootTime, LeaseLapsed};
use crate::message::KeyId;
use crate::signed::{PublicKey, SigningRoot};

/// Domain types (consensus specifications, `DOMAIN_*`) that cannot be slashed and need no record.
///
/// A list of what is allowed, not of what is forbidden: `DOMAIN_BEACON_PROPOSER` 0x00,
/// `DOMAIN_BEACON_ATTESTER` 0x01, `DOMAIN_DEPOSIT` 0x03, `DOMAIN_VOLUNTARY_EXIT` 0x04 and every
/// domain that a later fork brings are not on it.
pub(crate) const GRANTED_BY_TYPE: [[u8; 4]; 7] = [
    [0x02, 0, 0, 0], // DOMAIN_RANDAO
    [0x05, 0, 0, 0], // DOMAIN_SELECTION_PROOF
    [0x06, 0, 0, 0], // DOMAIN_AGGREGATE_AND_PROOF
    [0x07, 0, 0, 0], // DOMAIN_SYNC_COMMITTEE
    [0x08, 0, 0, 0], // DOMAIN_SYNC_COMMITTEE_SELECTION_PROOF
    [0x09, 0, 0, 0], // DOMAIN_CONTRIBUTION_AND_PROOF
    [0, 0, 0, 0x01], // DOMAIN_APPLICATION_BUILDER (builder specifications)
];

/// The right to have one root signed with one key.
///
/// Not `Clone`, made by the store alone, and opened only by [`redeem`](Self::redeem), which checks
/// the lease: what was not checked and recorded cannot be forwarded.
#[derive(Debug)]
#[must_use = "a permit that is not redeemed is a duty lost"]
pub struct Permit {
    pub(crate) health: Arc<Health>,
    pub(crate) id: KeyId,
    pub(crate) public_key: PublicKey,
    pub(crate) signing_root: SigningRoot,
    pub(crate) sequence: Option<u64>,
}

/// What to forward, at once: the lease was live a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redeemed {
    id: KeyId,
    public_key: PublicKey,
    signing_root: SigningRoot,
    sequence: Option<u64>,
}

impl Permit {
    /// The number of the record, where the message needed one: the audit log's link to the store.
    #[must_use]
    pub const fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// Opens the permit just before it is used. `now` must be read for this call.
    ///
    /// # Errors
    /// [`LeaseLapsed`] when another may own the store by now, or when the store has failed since.
    pub fn redeem(self, now: BootTime) -> Result<Redeemed, LeaseLapsed> {
        self.health.lease().is_live(now)?;
        let Self { id, public_key, signing_root, sequence, .. } = self;
        Ok(Redeemed { id, public_key, signing_root, sequence })
    }
}

impl Redeemed {
    /// The key's row.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The key that signs.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The root that is signed.
    #[must_use]
    pub const fn signing_root(&self) -> &SigningRoot {
        &self.signing_root
    }

    /// The number of the record, where the message needed one: the audit log's link to the store.
    #[must_use]
    pub const fn sequence(&self) -> Option<u64> {
        self.sequence
    }
}
