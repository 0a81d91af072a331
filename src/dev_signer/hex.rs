//! Hexadecimal byte strings of a fixed length, as the signer's interface writes them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// `N` bytes, written `0x` and lower case; read with or without `0x`, in either case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hex<const N: usize>(pub [u8; N]);

/// Not `2 * N` hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected_bytes} bytes in hexadecimal")]
pub struct HexError {
    expected_bytes: usize,
}

impl<const N: usize> Hex<N> {
    /// Reads exactly `N` bytes; `0x` is optional.
    pub fn parse(text: &str) -> Result<Self, HexError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mut bytes = [0; N];
        if digits.len() != 2 * N || faster_hex::hex_decode(digits.as_bytes(), &mut bytes).is_err() {
            return Err(HexError { expected_bytes: N });
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", faster_hex::hex_string(&self.0))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HexVisitor<const N: usize>;

        impl<const N: usize> Visitor<'_> for HexVisitor<N> {
            type Value = Hex<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes in hexadecimal")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Hex::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(HexVisitor)
    }
}

/// Reads bytes of any length; `None` when the text is not hexadecimal.
pub(super) fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let mut bytes = vec![0; digits.len() / 2];
    if !bytes.is_empty() {
        faster_hex::hex_decode(digits.as_bytes(), &mut bytes).ok()?;
    }
    Some(bytes)
}
