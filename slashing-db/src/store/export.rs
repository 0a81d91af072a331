//! Export: the records of keys that do not sign here any more.

use std::io::Write;

use super::{KeyTable, Store};
use crate::engine::{Entry, KeyRecord};
use crate::interchange::{WriteError, Writer, Written};
use crate::recorder::RecordError;
use crate::rules::{AttestationRecord, BlockRecord};
use crate::signed::{GenesisValidatorsRoot, PublicKey};

/// Why records were not exported. What was written is not a whole file, and no reader takes it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It may still sign here, so that the file would be behind at once. Disable it first.
    #[error("key {0} is enabled: disable it first, or two signers have it")]
    Enabled(PublicKey),
    /// The store does not know it.
    #[error("key {0} is not in this store")]
    Unknown(PublicKey),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store failed: it is not known what is durable.
    #[error("the slashing store failed")]
    Record(#[source] RecordError),
}

impl Store {
    /// Writes the records of the keys as an EIP-3076 file, one block and one attestation for each,
    /// with their roots. Each must be disabled; that is made sure to be durable before a byte is
    /// written.
    ///
    /// # Errors
    /// [`ExportError`]; before anything is written where a key is enabled or unknown.
    pub fn export<T: KeyTable>(
        &self,
        keys: &[PublicKey],
        table: &mut T,
        output: impl Write,
    ) -> Result<Written, ExportError> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let mut last = None;
        for key in &keys {
            last = Some(disabled(key, table.with(key, |it| it.record()))?);
        }
        // All that was queued before this, the disabling included, is durable once it is.
        if let Some(record) = last {
            self.recorder.send(Entry::key(record)).wait().map_err(ExportError::Record)?;
        }
        let chain = self.binding().genesis_validators_root();
        write(chain, &keys, |key| table.with(key, |it| it.record()), output)
    }
}

/// Writes the records that `find` gives, for keys in ascending order.
pub(super) fn write(
    chain: GenesisValidatorsRoot,
    keys: &[PublicKey],
    mut find: impl FnMut(&PublicKey) -> Option<KeyRecord>,
    output: impl Write,
) -> Result<Written, ExportError> {
    let mut writer = Writer::new(output, chain)?;
    for key in keys {
        let record = disabled(key, find(key))?;
        let block = record.block.map(BlockRecord::message);
        writer.key(*key, block, record.attestation.map(AttestationRecord::message))?;
    }
    Ok(writer.finish()?.0)
}

pub(super) fn disabled(
    key: &PublicKey,
    record: Option<KeyRecord>,
) -> Result<KeyRecord, ExportError> {
    match record {
        None => Err(ExportError::Unknown(*key)),
        Some(record) if record.is_enabled => Err(ExportError::Enabled(*key)),
        Some(record) => Ok(record),
    }
}
