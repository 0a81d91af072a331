//! Checkpoints: Ed25519 over where the log stands and the hash of all before it.
//!
//! A checkpoint stands in the log, and may be kept elsewhere as an [`Anchor`]: whoever has one can
//! tell whether a log still holds what it held then, and that it was not cut.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

use super::chain::{Hash, hex, unhex};
use super::record::{Checkpoint, Position};

#[cfg(test)]
mod tests;

/// The key that signs checkpoints.
pub(super) struct Key(Ed25519KeyPair);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("the key of the audit log's checkpoints, {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a log, and the key that signed it is gone.
    #[error(
        "{} is missing, and there is an audit log that it signed: put the file back, or move the \
         log's directory aside so that a new log begins",
        .0.display()
    )]
    Missing(PathBuf),
    /// The file holds something else.
    #[error("{} holds no Ed25519 key (PKCS#8)", .0.display())]
    NotAKey(PathBuf),
}

impl Key {
    /// Reads the key; makes one, for the owner alone to read, where there is none and `may_make`.
    ///
    /// # Errors
    /// [`KeyError`]
    pub(super) fn open(path: &Path, may_make: bool) -> Result<Self, KeyError> {
        let io_error = |source| KeyError::Io { path: path.to_owned(), source };
        let not_a_key = || KeyError::NotAKey(path.to_owned());
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => {
                let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
                let bytes = made.map_err(|_| not_a_key())?.as_ref().to_vec();
                write_secret(path, &bytes).map_err(io_error)?;
                bytes
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeyError::Missing(path.to_owned()));
            }
            Err(error) => return Err(io_error(error)),
        };
        Ed25519KeyPair::from_pkcs8(&bytes).map(Self).map_err(|_| not_a_key())
    }

    pub(super) fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap_or_default()
    }

    /// Signs `checkpoint`, which stands at `position` after the record with the hash `previous`.
    pub(super) fn sign(
        &self,
        log: &[u8; 16],
        position: Position,
        previous: &Hash,
        checkpoint: &mut Checkpoint,
    ) {
        checkpoint.public_key = self.public_key();
        let signature = self.0.sign(&message(log, position, previous, checkpoint));
        checkpoint.signature = signature.as_ref().try_into().unwrap_or([0; 64]);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&hex(&self.public_key())).finish()
    }
}

impl Checkpoint {
    /// Whether the signature is that of its key, for this place in this log.
    pub(super) fn is_valid(&self, log: &[u8; 16], position: Position, previous: &Hash) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.public_key);
        key.verify(&message(log, position, previous, self), &self.signature).is_ok()
    }
}

fn message(
    log: &[u8; 16],
    position: Position,
    previous: &Hash,
    checkpoint: &Checkpoint,
) -> Vec<u8> {
    let mut message = Vec::with_capacity(128);
    message.extend_from_slice(b"portcullis audit checkpoint 1\0");
    message.extend_from_slice(log);
    message.extend_from_slice(&previous.0);
    let Checkpoint { at_unix_ms, store_sequence, settled, is_last, .. } = checkpoint;
    for number in [position.0, *at_unix_ms, *store_sequence, *settled, u64::from(*is_last)] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    message
}

fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let half = path.with_extension("partial");
    let _ = fs::remove_file(&half);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&half, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// A checkpoint as it is kept elsewhere: one line of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Which log.
    pub log: [u8; 16],
    /// The position of the checkpoint.
    pub position: Position,
    /// The hash of the record before it.
    pub previous: Hash,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
}

impl Anchor {
    /// The line, without its end.
    pub fn to_json(&self) -> Value {
        let Checkpoint { at_unix_ms, store_sequence, settled, is_last, public_key, signature } =
            &self.checkpoint;
        json!({
            "log": hex(&self.log),
            "position": self.position.0,
            "previous": self.previous.to_string(),
            "at_unix_ms": at_unix_ms,
            "store_sequence": store_sequence,
            "settled": settled,
            "is_last": is_last,
            "public_key": hex(public_key),
            "signature": hex(signature),
        })
    }

    /// The anchor of a line; none if it is something else.
    pub fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value.get(name)?.as_str();
        let number = |name: &str| value.get(name)?.as_u64();
        Some(Self {
            log: unhex(text("log")?)?,
            position: Position(number("position")?),
            previous: Hash(unhex(text("previous")?)?),
            checkpoint: Checkpoint {
                at_unix_ms: number("at_unix_ms")?,
                store_sequence: number("store_sequence")?,
                settled: number("settled")?,
                is_last: value.get("is_last")?.as_bool()?,
                public_key: unhex(text("public_key")?)?,
                signature: unhex(text("signature")?)?,
            },
        })
    }

    /// Whether its own key signed it.
    pub fn is_valid(&self) -> bool {
        self.checkpoint.is_valid(&self.log, self.position, &self.previous)
    }
}
