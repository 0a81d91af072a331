//! SSZ bit fields as JSON carries them: the hex of their serialization.

use std::fmt;

use serde::de::{self, Visitor};

use super::merkle::{BYTES_PER_CHUNK, mix_in_length, packed_root};
use super::types::{HexError, Root, decode_hex_list, write_hex};

/// A `Bitlist[N]` whose limit N is not known yet: it depends on the fork and on the preset.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitlist {
    /// The bits without the delimiter, in as few bytes as hold them.
    bytes: Vec<u8>,
    len: usize,
}

/// A `Bitvector[N]` whose length N is not known yet: it depends on the preset.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitvector {
    bytes: Vec<u8>,
}

/// Why bits do not fit their place in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BitsError {
    /// A list holds more bits than the specification allows here.
    #[error("{len} bits, at most {limit} are allowed here")]
    TooMany {
        /// Bits in the list.
        len: usize,
        /// The limit, by fork and preset.
        limit: usize,
    },
    /// A vector holds another number of bytes than its bits need.
    #[error("{found} bytes, a vector of {expected} bits is expected here")]
    Length {
        /// Bytes in the vector.
        found: usize,
        /// The length in bits, by preset.
        expected: usize,
    },
    /// A bit is set behind the end of a vector.
    #[error("a bit is set beyond the {expected} bits of the vector")]
    BeyondEnd {
        /// The length in bits, by preset.
        expected: usize,
    },
}

impl Bitlist {
    /// Reads a serialized list: its last set bit is not of the list, it delimits it.
    ///
    /// Returns `None` if there is no delimiter in the last byte.
    pub fn from_ssz(mut bytes: Vec<u8>) -> Option<Self> {
        let last = *bytes.last()?;
        let delimiter = last.checked_ilog2()?;
        let len = 8 * (bytes.len() - 1) + delimiter as usize;
        if delimiter == 0 {
            bytes.pop();
        } else {
            *bytes.last_mut()? = last ^ (1 << delimiter);
        }
        Some(Self { bytes, len })
    }

    /// The serialized list.
    pub fn to_ssz(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(self.len / 8 + 1, 0);
        bytes[self.len / 8] |= 1 << (self.len % 8);
        bytes
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the list holds no bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of bits that are set.
    pub fn count_ones(&self) -> usize {
        self.bytes.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// The bits without the delimiter, the last byte padded with zeros.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash tree root as `Bitlist[limit]`.
    pub fn tree_hash_root(&self, limit: usize) -> Result<Root, BitsError> {
        if self.len > limit {
            return Err(BitsError::TooMany { len: self.len, limit });
        }
        Ok(mix_in_length(&packed_root(&self.bytes, limit.div_ceil(8 * BYTES_PER_CHUNK)), self.len))
    }
}

impl Bitvector {
    /// Reads a serialized vector.
    pub fn from_ssz(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// The bits, eight in a byte, the first in the lowest place.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash tree root as `Bitvector[length]`.
    pub fn tree_hash_root(&self, length: usize) -> Result<Root, BitsError> {
        if self.bytes.len() != length.div_ceil(8) {
            return Err(BitsError::Length { found: self.bytes.len(), expected: length });
        }
        let spare = !length.is_multiple_of(8);
        if spare && self.bytes.last().is_some_and(|last| last >> (length % 8) != 0) {
            return Err(BitsError::BeyondEnd { expected: length });
        }
        Ok(packed_root(&self.bytes, length.div_ceil(8 * BYTES_PER_CHUNK)))
    }
}

impl fmt::Debug for Bitlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.to_ssz())
    }
}

impl fmt::Debug for Bitvector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.bytes)
    }
}

/// Bytes that are written as hex.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, self.0)
    }
}

impl serde::Serialize for Bitlist {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Hex(&self.to_ssz()))
    }
}

impl serde::Serialize for Bitvector {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Hex(&self.bytes))
    }
}

impl<'de> serde::Deserialize<'de> for Bitlist {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserializer.deserialize_str(HexListVisitor)?;
        Self::from_ssz(bytes)
            .ok_or_else(|| de::Error::custom("expected a bit list, whose last byte is not zero"))
    }
}

impl<'de> serde::Deserialize<'de> for Bitvector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexListVisitor).map(Self::from_ssz)
    }
}

struct HexListVisitor;

impl Visitor<'_> for HexListVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of hex")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        decode_hex_list(text).map_err(|error: HexError| E::custom(error))
    }
}

#[cfg(test)]
mod tests;
