//! The chain: the hash of each record covers the one before it, and so all that went before.

use std::fmt;

use sha2::{Digest, Sha256};

/// The hash of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

/// The bytes of a hash that stand behind its record: enough to tell at which record a log was
/// changed by accident or by hand. What was changed by somebody who computed the hashes anew is
/// found at the next checkpoint.
pub const TAG_BYTES: usize = 8;

impl Hash {
    /// Before the first record of a log.
    pub const NOTHING: Self = Self([0; 32]);

    /// The hash of `record`, which follows the one whose hash this is.
    pub fn next(&self, record: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(record).finalize().into())
    }

    /// What of it stands behind the record.
    pub fn tag(&self) -> [u8; TAG_BYTES] {
        *self.0.first_chunk().expect("32 bytes")
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// `0x` and two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    format!("0x{}", faster_hex::hex_string(bytes))
}

/// The bytes of `text`, with or without `0x`; none if it is something else.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = [0; N];
    let is_whole = digits.len() == 2 * N;
    is_whole.then(|| faster_hex::hex_decode(digits.as_bytes(), &mut bytes).ok())??;
    Some(bytes)
}
