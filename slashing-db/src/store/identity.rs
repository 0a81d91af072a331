//! What a store knows of itself, kept in its meta records.

use serde::{Deserialize, Serialize};

use crate::engine::{Entry, Loaded};
use crate::signed::GenesisValidatorsRoot;
use crate::witness::{BadName, Binding, Claim, Local, OwnerNonce, ReservedThrough, StoreId};

/// The meta record that holds the identity.
const NAME: &str = "identity";
/// The meta record that is `1` while an import runs.
pub(super) const IMPORTING: &str = "importing";
const VERSION: u32 = 1;

/// Who a store is, and how far its owner had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What is compared with the witness.
    pub local: Local,
    /// The last time that was made durable, in seconds since 1970.
    pub last_unix_s: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    network: String,
    key_set: String,
    genesis_validators_root: GenesisValidatorsRoot,
    store: [u8; 16],
    claim: (u64, [u8; 16]),
    pending: Option<(u64, [u8; 16])>,
    reserved_through: ReservedThrough,
    sequence: u64,
    sealed: bool,
    last_unix_s: u64,
}

/// Why a store's identity cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is none: the store was never initialised to its end.
    #[error("the directory holds no initialised store: run `portcullis slashing init`")]
    Missing,
    /// It does not decode.
    #[error("the store's identity is damaged")]
    Garbled(#[source] serde_json::Error),
    /// Another release wrote it.
    #[error("the store has format version {0}, this release knows version {VERSION}")]
    Version(u32),
    /// It names what cannot be named.
    #[error(transparent)]
    Name(BadName),
}

impl Identity {
    pub(super) fn entry(&self) -> Entry {
        let pair = |claim: &Claim| (claim.generation, claim.nonce.0);
        let local = &self.local;
        let stored = Stored {
            version: VERSION,
            network: local.binding.network().to_owned(),
            key_set: local.binding.key_set().to_owned(),
            genesis_validators_root: local.binding.genesis_validators_root(),
            store: local.store.0,
            claim: pair(&local.claim),
            pending: local.pending.as_ref().map(pair),
            reserved_through: local.reserved_through,
            sequence: local.sequence,
            sealed: local.sealed,
            last_unix_s: self.last_unix_s,
        };
        let bytes = serde_json::to_vec(&stored).expect("plain fields always serialise");
        Entry::Meta(NAME, bytes)
    }

    /// The identity that was loaded; its sequence is the highest of all records.
    pub(super) fn of(loaded: &Loaded) -> Result<Self, IdentityError> {
        let bytes = meta(loaded, NAME).ok_or(IdentityError::Missing)?;
        let stored: Stored = serde_json::from_slice(bytes).map_err(IdentityError::Garbled)?;
        if stored.version != VERSION {
            return Err(IdentityError::Version(stored.version));
        }
        let claim = |(generation, nonce)| Claim { generation, nonce: OwnerNonce(nonce) };
        let root = stored.genesis_validators_root;
        let binding = Binding::new(&stored.network, &stored.key_set, root);
        let highest = loaded.keys.iter().map(|key| key.sequence()).max().unwrap_or(0);
        Ok(Self {
            local: Local {
                binding: binding.map_err(IdentityError::Name)?,
                store: StoreId(stored.store),
                claim: claim(stored.claim),
                pending: stored.pending.map(claim),
                reserved_through: stored.reserved_through,
                sequence: stored.sequence.max(highest),
                sealed: stored.sealed,
            },
            last_unix_s: stored.last_unix_s,
        })
    }
}

/// A meta record by its name.
pub(super) fn meta<'a>(loaded: &'a Loaded, name: &str) -> Option<&'a [u8]> {
    loaded.meta.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_slice())
}

/// Whether an import was begun and not ended.
pub(super) fn has_unfinished_import(loaded: &Loaded) -> bool {
    meta(loaded, IMPORTING).is_some_and(|value| value == b"1")
}
