//! The specification's plain values, and how JSON spells them.
//!
//! Bytes are written as lower-case hex behind `0x`; read with or without `0x`, in any case, and in
//! the exact length. A `uint64` is written as a decimal string; read as a decimal string or as a
//! JSON number, every value of it exactly.

use std::fmt;

use serde::de::{self, Visitor};

/// Why some text is not the hex of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// The text holds another number of digits than the value has.
    #[error("expected {expected} bytes of hex, found {digits} hex digits")]
    Length {
        /// Bytes that the value has.
        expected: usize,
        /// Digits that the text has, `0x` not counted.
        digits: usize,
    },
    /// The text, of a value of any length, ends in half a byte.
    #[error("expected whole bytes of hex, found {digits} hex digits")]
    OddDigits {
        /// Digits that the text has, `0x` not counted.
        digits: usize,
    },
    /// The text holds something that is not a hex digit.
    #[error("expected hex digits only")]
    Digit,
}

/// Decodes hex of exactly `N` bytes; `0x` may stand before it.
pub fn decode_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if digits.len() != 2 * N {
        return Err(HexError::Length { expected: N, digits: digits.len() });
    }
    let mut bytes = [0; N];
    faster_hex::hex_decode(digits, &mut bytes).map_err(|_| HexError::Digit)?;
    Ok(bytes)
}

/// Decodes hex of any number of bytes; `0x` may stand before it.
pub fn decode_hex_list(text: &str) -> Result<Vec<u8>, HexError> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err(HexError::OddDigits { digits: digits.len() });
    }
    let mut bytes = vec![0; digits.len() / 2];
    faster_hex::hex_decode(digits, &mut bytes).map_err(|_| HexError::Digit)?;
    Ok(bytes)
}

/// Writes `0x` and the lower-case hex of `bytes`.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("0x")?;
    for chunk in bytes.chunks(64) {
        let mut digits = [0; 128];
        let text = faster_hex::hex_encode(chunk, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(text)?;
    }
    Ok(())
}

macro_rules! bytes_type {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The value whose bytes are all zero.
            pub const ZERO: Self = Self([0; $len]);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                decode_hex(text).map(Self)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = [0; 2 + 2 * $len];
                text[..2].copy_from_slice(b"0x");
                faster_hex::hex_encode(&self.0, &mut text[2..]).expect("two digits a byte");
                let text = std::str::from_utf8(&text).expect("hex is ASCII");
                serializer.serialize_str(text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(HexVisitor::<$len>).map(Self)
            }
        }
    };
}

struct HexVisitor<const N: usize>;

impl<const N: usize> Visitor<'_> for HexVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string of {N} bytes of hex")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<[u8; N], E> {
        decode_hex(text).map_err(E::custom)
    }
}

bytes_type! {
    /// A compressed BLS public key. Nothing is said about its being a point of the curve.
    PublicKey, 48
}
bytes_type! {
    /// A compressed BLS signature. Nothing is said about its being a point of the curve.
    Signature, 96
}
bytes_type! {
    /// A hash tree root, and whatever else has 32 bytes.
    Root, 32
}
bytes_type! {
    /// The root that is signed: the hash tree root of an object together with its domain.
    SigningRoot, 32
}
bytes_type! {
    /// A fork version.
    Version, 4
}
bytes_type! {
    /// An address of the execution layer.
    ExecutionAddress, 20
}

/// Why some text is not a `uint64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a uint64 in decimal digits")]
pub struct Uint64Error;

/// Parses a `uint64`: decimal digits alone, no sign, no leading zero.
pub fn parse_uint64(text: &str) -> Result<u64, Uint64Error> {
    let digits = text.as_bytes();
    let canonical = match digits {
        [] => false,
        [b'0', _, ..] => false,
        _ => digits.iter().all(u8::is_ascii_digit),
    };
    if !canonical {
        return Err(Uint64Error);
    }
    text.parse().map_err(|_| Uint64Error) // beyond 2^64 - 1
}

/// `uint64` fields in JSON, for `#[serde(with = "uint64")]`.
pub(crate) mod uint64 {
    use super::{Uint64Visitor, fmt};
    use serde::{Deserializer, Serializer};
    use std::io::Write;

    pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = [0; 20]; // u64::MAX has 20 digits
        let mut rest = &mut digits[..];
        write!(rest, "{value}").expect("a uint64 has at most 20 digits");
        let len = 20 - rest.len();
        serializer.serialize_str(std::str::from_utf8(&digits[..len]).expect("digits are ASCII"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(de: D) -> Result<u64, D::Error> {
        de.deserialize_any(Uint64Visitor)
    }

    pub(super) fn expecting(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a uint64 as a decimal string or number")
    }
}

/// A bare `uint64` of JSON.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Uint64(#[serde(with = "uint64")] pub(crate) u64);

struct Uint64Visitor;

impl Visitor<'_> for Uint64Visitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uint64::expecting(f)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse_uint64(text).map_err(|_| E::invalid_value(de::Unexpected::Str(shorten(text)), &self))
    }
}

/// The beginning of a text that comes from a stranger, for a message.
fn shorten(text: &str) -> &str {
    let end = text.char_indices().nth(32).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

macro_rules! uint64_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Uint64Error;

            fn from_str(text: &str) -> Result<Self, Uint64Error> {
                parse_uint64(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                uint64::serialize(&self.0, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                uint64::deserialize(deserializer).map(Self)
            }
        }
    };
}

uint64_type! {
    /// A slot, counted from genesis.
    Slot
}
uint64_type! {
    /// An epoch, counted from genesis.
    Epoch
}

impl Epoch {
    /// An epoch that never comes; in a configuration, that of a fork without a date.
    pub const FAR_FUTURE: Self = Self(u64::MAX);
}

impl Root {
    /// The chunk of a `uint64`: little endian, padded with zeros.
    pub const fn from_uint64(value: u64) -> Self {
        let mut chunk = [0; 32];
        let bytes = value.to_le_bytes();
        let mut i = 0;
        while i < bytes.len() {
            chunk[i] = bytes[i];
            i += 1;
        }
        Self(chunk)
    }
}

#[cfg(test)]
mod tests;
