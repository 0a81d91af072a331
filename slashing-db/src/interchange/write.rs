//! The writer: one block and one attestation for each key, as a stream.

use std::io::{self, Write};

use super::FORMAT_VERSION;
use crate::signed::{
    GenesisValidatorsRoot, PublicKey, SignedAttestation, SignedBlock, SigningRoot,
};

/// How many were written, to be compared with what the store counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Keys, those without a record included.
    pub keys: u64,
    /// Blocks, at most one for each key.
    pub blocks: u64,
    /// Attestations, at most one for each key.
    pub attestations: u64,
}

/// Why an export failed. What was written is not a whole file and no reader takes it.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Keys must come in ascending order, each once: the same store then gives the same bytes.
    #[error("key {pubkey} does not come after key {previous}")]
    Order {
        /// The key that was written before.
        previous: PublicKey,
        /// The key that comes too late or twice.
        pubkey: PublicKey,
    },
    /// The file could not be written.
    #[error("cannot write the interchange file")]
    Io(#[from] io::Error),
}

/// Writes an interchange file key by key. Give it a buffered output. Without [`Writer::finish`] the
/// file stays cut off, which every reader refuses.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    last: Option<PublicKey>,
    written: Written,
}

impl<W: Write> Writer<W> {
    /// Begins a file of the given chain.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(mut out: W, chain: GenesisValidatorsRoot) -> Result<Self, WriteError> {
        write!(
            out,
            "{{\n\"metadata\": {{\"interchange_format_version\": \"{FORMAT_VERSION}\", \
             \"genesis_validators_root\": \"{chain}\"}},\n\"data\": ["
        )?;
        Ok(Self { out, last: None, written: Written::default() })
    }

    /// Writes one key with its last block and last attestation, if it has them.
    ///
    /// # Errors
    /// [`WriteError::Order`] for keys that are not in strictly ascending order; those of the
    /// output.
    pub fn key(
        &mut self,
        pubkey: PublicKey,
        block: Option<SignedBlock>,
        attestation: Option<SignedAttestation>,
    ) -> Result<(), WriteError> {
        if let Some(previous) = self.last.filter(|last| *last >= pubkey) {
            return Err(WriteError::Order { previous, pubkey });
        }
        let comma = if self.last.is_some() { "," } else { "" };
        write!(self.out, "{comma}\n{{\"pubkey\": \"{pubkey}\", \"signed_blocks\": [")?;
        if let Some(SignedBlock { slot, signing_root }) = block {
            write!(self.out, "{{\"slot\": \"{slot}\"")?;
            self.end_record(signing_root)?;
            self.written.blocks += 1;
        }
        write!(self.out, "], \"signed_attestations\": [")?;
        if let Some(SignedAttestation { source_epoch, target_epoch, signing_root }) = attestation {
            write!(
                self.out,
                "{{\"source_epoch\": \"{source_epoch}\", \"target_epoch\": \"{target_epoch}\""
            )?;
            self.end_record(signing_root)?;
            self.written.attestations += 1;
        }
        write!(self.out, "]}}")?;
        self.last = Some(pubkey);
        self.written.keys += 1;
        Ok(())
    }

    /// EIP-3076 wants an unknown root left out.
    fn end_record(&mut self, signing_root: SigningRoot) -> io::Result<()> {
        if !signing_root.is_null() {
            write!(self.out, ", \"signing_root\": \"{signing_root}\"")?;
        }
        write!(self.out, "}}")
    }

    /// Ends and flushes the file, and gives the output back, so that a file can be synced.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> Result<(Written, W), WriteError> {
        self.out.write_all(b"\n]\n}\n")?;
        self.out.flush()?;
        Ok((self.written, self.out))
    }
}
