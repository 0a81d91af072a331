//! SSZ bit fields as JSON carries them: the hex of their serialization.

use std::fmt;

use serde::de::{self, Visitor};
use ssz::{BitList, BitVectorDynamic, Decode, Encode};

use super::merkle::{BYTES_PER_CHUNK, mix_in_length, packed_root};
use super::types::{HexError, Root, decode_hex_list, write_hex};

/// Eight times the bits of the largest list of any preset (`MAX_VALIDATORS_PER_COMMITTEE` times
/// `MAX_COMMITTEES_PER_SLOT`): enough to say of a list that is too long how long it is.
type BitsMax = typenum::U1048576;

/// A `Bitlist[N]` whose limit N is not known yet: it depends on the fork and on the preset.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitlist(BitList<BitsMax>);

/// A `Bitvector[N]` whose length N is not known yet: it depends on the preset. Until it is, all
/// bits of its bytes are of the vector.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitvector(BitVectorDynamic);

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
    /// Returns `None` if there is no delimiter in the last byte, or more bits than in any fork and
    /// preset.
    pub fn from_ssz(bytes: &[u8]) -> Option<Self> {
        BitList::from_ssz_bytes(bytes).ok().map(Self)
    }

    /// The serialized list.
    pub fn to_ssz(&self) -> Vec<u8> {
        self.0.as_ssz_bytes()
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the list holds no bits at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of bits that are set.
    pub fn count_ones(&self) -> usize {
        self.0.num_set_bits()
    }

    /// The bits without the delimiter, in as few bytes as hold them, the last padded with zeros.
    pub fn bytes(&self) -> &[u8] {
        &self.0.as_slice()[..self.len().div_ceil(8)] // an empty list is held in one byte
    }

    /// The hash tree root as `Bitlist[limit]`.
    pub fn tree_hash_root(&self, limit: usize) -> Result<Root, BitsError> {
        let len = self.len();
        if len > limit {
            return Err(BitsError::TooMany { len, limit });
        }
        Ok(mix_in_length(&packed_root(self.bytes(), limit.div_ceil(8 * BYTES_PER_CHUNK)), len))
    }
}

impl Bitvector {
    /// Reads a serialized vector; `None` if there is nothing, for no vector has no bits.
    pub fn from_ssz(bytes: &[u8]) -> Option<Self> {
        BitVectorDynamic::from_ssz_bytes(bytes).ok().map(Self)
    }

    /// The bits, eight in a byte, the first in the lowest place.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The hash tree root as `Bitvector[length]`.
    pub fn tree_hash_root(&self, length: usize) -> Result<Root, BitsError> {
        if self.bytes().len() != length.div_ceil(8) {
            return Err(BitsError::Length { found: self.bytes().len(), expected: length });
        }
        if self.0.highest_set_bit().is_some_and(|bit| bit >= length) {
            return Err(BitsError::BeyondEnd { expected: length });
        }
        Ok(packed_root(self.bytes(), length.div_ceil(8 * BYTES_PER_CHUNK)))
    }
}

impl fmt::Debug for Bitlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.to_ssz())
    }
}

impl fmt::Debug for Bitvector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, self.bytes())
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
        serializer.collect_str(&Hex(self.bytes()))
    }
}

impl<'de> serde::Deserialize<'de> for Bitlist {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserializer.deserialize_str(HexListVisitor)?;
        Self::from_ssz(&bytes).ok_or_else(|| {
            de::Error::custom(
                "expected a bit list, whose last byte is not zero, of at most 2^20 bits",
            )
        })
    }
}

impl<'de> serde::Deserialize<'de> for Bitvector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserializer.deserialize_str(HexListVisitor)?;
        Self::from_ssz(&bytes)
            .ok_or_else(|| de::Error::custom("expected a bit vector, which has at least one byte"))
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
