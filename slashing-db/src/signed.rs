//! The words of EIP-3076: a public key, a signing root, a signed block, a signed attestation.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

#[cfg(test)]
mod tests;

/// Why a text is not the hexadecimal form of a key or root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// Too few or too many digits.
    #[error("expected {expected} hexadecimal digits, found {found}")]
    Length {
        /// Digits that the type has.
        expected: usize,
        /// Bytes of text found, without the `0x`.
        found: usize,
    },
    /// Something that is no hexadecimal digit.
    #[error("no hexadecimal digit at position {position}")]
    Digit {
        /// Position in the text, counted from 0 after the `0x`.
        position: usize,
    },
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return Err(HexError::Length { expected: 2 * N, found: digits.len() });
    }
    let nibble = |position: usize| match digits[position] {
        digit @ b'0'..=b'9' => Ok(digit - b'0'),
        digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(HexError::Digit { position }),
    };
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = nibble(2 * i)? << 4 | nibble(2 * i + 1)?;
    }
    Ok(bytes)
}

fn write_hex(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.write_str("0x")?;
    bytes.iter().try_for_each(|byte| {
        out.write_char(char::from(DIGITS[usize::from(byte >> 4)]))?;
        out.write_char(char::from(DIGITS[usize::from(byte & 15)]))
    })
}

/// A fixed number of bytes that is written as lower-case hexadecimal with `0x`, and read in any
/// case with or without it.
macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, out)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                parse_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                        out.write_str($what)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                input.deserialize_str(Text)
            }
        }
    };
}

hex_bytes! {
    /// A validator's BLS public key in its compressed form. Only a name here: it is not validated.
    PublicKey, 48, "a public key of 48 bytes in hexadecimal"
}

hex_bytes! {
    /// The root that was signed, `compute_signing_root` of the consensus specification.
    ///
    /// The zero root stands for "not known", as an absent `signing_root` of EIP-3076 does. Two
    /// unknown roots are equal bytes but prove nothing: see [`SigningRoot::proves_repeat_of`].
    SigningRoot, 32, "a signing root of 32 bytes in hexadecimal"
}

hex_bytes! {
    /// The root that names a chain: EIP-3076's `genesis_validators_root`.
    GenesisValidatorsRoot, 32, "a genesis validators root of 32 bytes in hexadecimal"
}

impl SigningRoot {
    /// The root of a message whose root is not known.
    pub const NULL: Self = Self([0; 32]);

    /// Whether the root is not known.
    pub fn is_null(&self) -> bool {
        *self == Self::NULL
    }

    /// Whether both roots are known and the same, so that signing again signs nothing new.
    pub fn proves_repeat_of(&self, other: &Self) -> bool {
        self == other && !self.is_null()
    }
}

/// A block that was signed, in EIP-3076's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignedBlock {
    /// The block's slot.
    pub slot: u64,
    /// Its signing root, null where not known.
    pub signing_root: SigningRoot,
}

/// An attestation that was signed, in EIP-3076's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignedAttestation {
    /// Epoch of the source checkpoint.
    pub source_epoch: u64,
    /// Epoch of the target checkpoint.
    pub target_epoch: u64,
    /// Its signing root, null where not known.
    pub signing_root: SigningRoot,
}
