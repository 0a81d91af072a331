//! Looking at a store without owning it.

use std::io::Write;
use std::path::Path;

use super::export::{disabled, write};
use super::identity::{Identity, has_unfinished_import};
use super::{ExportError, OpenError};
use crate::engine::rocks::{RocksEngine, is_database};
use crate::engine::{Engine, KeyRecord};
use crate::interchange::Written;
use crate::signed::PublicKey;

/// A store as its directory says at one moment: nothing is locked, nothing is written.
#[derive(Clone, Debug)]
pub struct ReadOnlyStore {
    /// Who it is.
    pub identity: Identity,
    /// Whether an import was cut short.
    pub has_unfinished_import: bool,
    keys: Vec<KeyRecord>,
}

impl super::Store {
    /// Reads a store, beside a process that owns it or without one.
    ///
    /// # Errors
    /// [`OpenError`] when there is none or it cannot be read.
    pub fn open_read_only(directory: &Path) -> Result<ReadOnlyStore, OpenError> {
        if !is_database(directory) {
            return Err(OpenError::NoStore(directory.to_owned()));
        }
        let mut loaded = RocksEngine::open_read_only(directory)?.load()?;
        let identity = Identity::of(&loaded)?;
        let has_unfinished_import = has_unfinished_import(&loaded);
        loaded.keys.sort_unstable_by_key(|key| key.public_key);
        Ok(ReadOnlyStore { identity, has_unfinished_import, keys: loaded.keys })
    }
}

impl ReadOnlyStore {
    /// Every key that was ever enrolled, by public key in ascending order.
    #[must_use]
    pub fn keys(&self) -> &[KeyRecord] {
        &self.keys
    }

    /// One key.
    #[must_use]
    pub fn key(&self, public_key: &PublicKey) -> Option<&KeyRecord> {
        let found = self.keys.binary_search_by_key(public_key, |key| key.public_key);
        found.ok().map(|index| &self.keys[index])
    }

    /// Writes the records of keys that are disabled as an EIP-3076 file.
    ///
    /// # Errors
    /// [`ExportError`]; before anything is written where a key is enabled or unknown.
    pub fn export(&self, keys: &[PublicKey], output: impl Write) -> Result<Written, ExportError> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        for key in &keys {
            disabled(key, self.key(key).copied())?;
        }
        let chain = self.identity.local.binding.genesis_validators_root();
        write(chain, &keys, |key| self.key(key).copied(), output)
    }
}
